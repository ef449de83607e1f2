//! What the workload asks of namespaces: drawn from a seed, most of it sensible where the namespace stands, some not.

use std::sync::Arc;

use idhini_engine::EngineError;
use idhini_model::{CaveatUse, Context, Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_replica::{
    CounterChange, Delete, Filter, IdFilter, Member, Namespace, Operation, PermissionQuestion, Precondition,
    RelationFilter, ReplicaError, SetRelation, SubjectFilter, Update, Wanted, Write,
};
use idhini_testkit::rng::Rng;

use super::model::{Asked, Condition, Doing, Matching, SCHEMAS, State};

const DOCUMENTS: usize = 14;
const USERS: usize = 8;
const IMPORTED: usize = 40;
const GROUPS: usize = 4;
const COUNTERS: usize = 4;

/// Objects with long ids, so that an image of them is worth continuing.
const LONG: usize = 120;
const LONG_BYTES: usize = 900;

/// The namespace whose imports have long ids.
pub const BROAD: u64 = 3;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// This is the revision that has it.
    Done(u64),
    /// The namespace does not want it.
    Refused,
    /// The log took nothing.
    Nothing,
    /// Nobody knows.
    Unknown,
    /// What must not happen.
    Wrong(String),
}

impl Outcome {
    fn of(answer: Result<u64, ReplicaError>) -> Outcome {
        match answer {
            Ok(revision) => Outcome::Done(revision),
            Err(
                ReplicaError::Inadmissible(_)
                | ReplicaError::AlreadyExists { .. }
                | ReplicaError::DuplicateUpdate { .. }
                | ReplicaError::PreconditionFailed { .. }
                | ReplicaError::PermissionPreconditionFailed { .. }
                | ReplicaError::Unanswerable(
                    EngineError::UnknownDefinition { .. } | EngineError::UnknownMember { .. },
                )
                | ReplicaError::TooManyToDelete { .. }
                | ReplicaError::TooManyToSet { .. }
                | ReplicaError::Orphans { .. }
                | ReplicaError::CounterRegistered { .. }
                | ReplicaError::CounterNotRegistered { .. }
                | ReplicaError::UnknownDefinition { .. }
                | ReplicaError::UnknownMember { .. },
            ) => Outcome::Refused,
            Err(error) => Outcome::of_log(&error),
        }
    }

    /// Of a request that is never refused.
    pub fn of_log(error: &ReplicaError) -> Outcome {
        match error {
            ReplicaError::LogUnavailable(_) | ReplicaError::LogUnreadable(_) => Outcome::Nothing,
            ReplicaError::OutcomeUnknown(_) => Outcome::Unknown,
            error => Outcome::Wrong(error.to_string()),
        }
    }
}

/// Asks a namespace.
pub async fn ask(namespace: &Arc<Namespace>, asked: Asked) -> Outcome {
    let wanted = Wanted::always();
    let answer = match asked {
        Asked::Write { updates, condition } => namespace.write(write_of(updates, condition), wanted).await,
        Asked::Set { relation, members, changes_max } => {
            let set = namespace.set_relation(set_of(relation, members, changes_max), wanted).await;
            set.map(|set| set.revision)
        }
        Asked::Import(relationships) => namespace.import(relationships, wanted).await,
        Asked::Delete { matching, limit } => {
            let request = Delete { filter: filter_of(&matching), limit, ..Delete::default() };
            namespace.delete(request, wanted).await.map(|deleted| deleted.revision)
        }
        Asked::Schema(schema) => namespace.write_schema(SCHEMAS[schema].0.to_owned(), wanted).await,
        Asked::Counter { name, matching } => {
            let filter = matching.as_ref().map(filter_of);
            namespace.change_counter(CounterChange { name, filter }, wanted).await
        }
        Asked::Sweep => {
            let swept = namespace.sweep(1_000).await;
            swept.map(|_| namespace.head().revision())
        }
    };
    Outcome::of(answer.map(|revision| revision.0))
}

fn set_of(relation: Matching, members: Vec<Relationship>, changes_max: usize) -> SetRelation {
    let member = |Relationship { subject, caveat, expires_at, .. }| Member { subject, caveat, expires_at };
    SetRelation {
        resource: ResourceRef::new(relation.resource_type, relation.resource_id.unwrap()),
        relation: relation.relation.unwrap(),
        members: members.into_iter().map(member).collect(),
        preconditions: Vec::new(),
        changes_max,
        metadata: Context::default(),
    }
}

fn write_of(updates: Vec<(Doing, Relationship)>, condition: Option<Condition>) -> Write {
    let update = |(doing, relationship)| {
        let operation = match doing {
            Doing::Create => Operation::Create,
            Doing::Touch => Operation::Touch,
            Doing::Delete => Operation::Delete,
        };
        Update { operation, relationship }
    };
    let question = |asked: Relationship| PermissionQuestion {
        resource: asked.resource,
        permission: asked.relation,
        subject: asked.subject,
        context: Context::default(),
    };
    let precondition = |condition| match condition {
        Condition::Matches(true, matching) => Precondition::MustMatch(filter_of(&matching)),
        Condition::Matches(false, matching) => Precondition::MustNotMatch(filter_of(&matching)),
        Condition::Has(true, asked) => Precondition::MustHave(question(asked)),
        Condition::Has(false, asked) => Precondition::MustNotHave(question(asked)),
    };
    Write {
        updates: updates.into_iter().map(update).collect(),
        preconditions: condition.into_iter().map(precondition).collect(),
        metadata: Context::default(),
    }
}

pub fn filter_of(matching: &Matching) -> Filter {
    let id = |id: &String| match matching.is_prefix {
        true => IdFilter::StartsWith(id.clone()),
        false => IdFilter::Exactly(id.clone()),
    };
    let subject = |user: &String| SubjectFilter {
        subject_type: "user".to_owned(),
        subject_id: Some(user.clone()),
        relation: RelationFilter::Absent,
    };
    Filter {
        resource_type: Some(matching.resource_type.clone()),
        resource_id: matching.resource_id.as_ref().map(id),
        relation: matching.relation.clone(),
        subject: matching.user.as_ref().map(subject),
    }
}

/// Draws a request for a namespace that stands like this.
pub fn draw(rng: &mut Rng, log: u64, state: &State, now: i64) -> Asked {
    let Some(schema) = state.schema else { return Asked::Schema(rng.below(SCHEMAS.len())) };
    match rng.weighted(&[64, 9, 7, 6, 5, 6]) {
        0 => draw_write(rng, schema, state, now),
        1 if log == BROAD => Asked::Import(draw_broad(rng)),
        1 => {
            let count = rng.between(1, 12);
            // Mostly of documents that are seldom written otherwise.
            let mut imported: Vec<Relationship> =
                (0..count).map(|_| relationship(rng, schema, now)).collect();
            let first = rng.below(IMPORTED);
            for (at, imported) in imported.iter_mut().enumerate().skip(usize::from(rng.chance(20))) {
                if imported.resource.object_type == "document" {
                    imported.resource.object_id = format!("m{}", (first + at) % IMPORTED);
                }
            }
            Asked::Import(imported)
        }
        2 => {
            let limit = rng.chance(40).then(|| rng.below(6) as u64);
            Asked::Delete { matching: draw_matching(rng, log, state), limit }
        }
        3 => Asked::Schema(rng.below(SCHEMAS.len())),
        4 => draw_set(rng, schema, state, now),
        _ => {
            let name = format!("counter{}", rng.below(COUNTERS));
            // What is there is mostly taken away, what is not mostly registered.
            let registers = rng.chance(if state.counters.contains_key(&name) { 30 } else { 90 });
            Asked::Counter { name, matching: registers.then(|| draw_matching(rng, log, state)) }
        }
    }
}

fn draw_write(rng: &mut Rng, schema: usize, state: &State, now: i64) -> Asked {
    let mut updates = Vec::new();
    for _ in 0..rng.between(1, 5) {
        let doing = *rng.pick(&[Doing::Create, Doing::Touch, Doing::Touch, Doing::Touch, Doing::Delete]);
        let stored: Vec<_> = state.relationships.values().collect();
        let chosen = match doing {
            // What is there more often than chance has it.
            Doing::Delete | Doing::Create if !stored.is_empty() && rng.chance(40) => {
                (***rng.pick(&stored)).clone()
            }
            // Now and then one that has no place.
            _ if rng.chance(2) => {
                let other = rng.below(SCHEMAS.len());
                relationship(rng, other, now)
            }
            _ => relationship(rng, schema, now),
        };
        let chosen = match doing {
            Doing::Delete => Relationship { caveat: None, expires_at: None, ..chosen },
            _ => chosen,
        };
        updates.push((doing, chosen));
    }
    let condition = rng.chance(25).then(|| match rng.chance(40) {
        true => Condition::Has(rng.chance(50), draw_question(rng, state)),
        false => Condition::Matches(rng.chance(50), draw_matching(rng, 0, state)),
    });
    Asked::Write { updates, condition }
}

/// Whether somebody is banned, or views a folder: mostly of what is stored, for otherwise nobody would.
fn draw_question(rng: &mut Rng, state: &State) -> Relationship {
    let plain = |stored: &&Arc<Relationship>| {
        let member = (stored.resource.object_type.as_str(), stored.relation.as_str());
        [("document", "banned"), ("folder", "viewer")].contains(&member)
    };
    let stored: Vec<_> = state.relationships.values().filter(plain).collect();
    if !stored.is_empty() && rng.chance(60) {
        return (**rng.pick(&stored)).as_ref().clone();
    }
    let resource = ResourceRef::new("document", format!("d{}", rng.below(DOCUMENTS)));
    Relationship::new(resource, "banned", SubjectRef::object("user", format!("u{}", rng.below(USERS))))
}

/// A relation to be made to hold some of what it has and some of what it has not.
fn draw_set(rng: &mut Rng, schema: usize, state: &State, now: i64) -> Asked {
    let of = relationship(rng, schema, now);
    let is_there =
        |stored: &&Arc<Relationship>| stored.resource == of.resource && stored.relation == of.relation;
    let mut members: Vec<Relationship> = Vec::new();
    for stored in state.relationships.values().filter(is_there) {
        let counts = stored.expires_at.is_none_or(|at| at > Timestamp::from_seconds(now));
        if counts && rng.chance(50) {
            members.push((**stored).clone());
        }
    }
    for _ in 0..rng.below(12) {
        let Relationship { subject, caveat, expires_at, resource, relation } = relationship(rng, schema, now);
        // Of another relation, but mostly a subject for this one too; now and then the same one twice.
        if (&resource.object_type, &relation) == (&of.resource.object_type, &of.relation) || rng.chance(3) {
            let (resource, relation) = (of.resource.clone(), of.relation.clone());
            members.push(Relationship { resource, relation, subject, caveat, expires_at });
        }
    }
    let relation = Matching {
        resource_type: of.resource.object_type.clone(),
        resource_id: Some(of.resource.object_id.clone()),
        is_prefix: false,
        relation: Some(of.relation.clone()),
        user: None,
    };
    Asked::Set { relation, members, changes_max: if rng.chance(20) { 1 } else { 1_000 } }
}

/// Many with long ids, or a few with very long contexts, whose entry takes several chunks.
fn draw_broad(rng: &mut Rng) -> Vec<Relationship> {
    if rng.chance(4) {
        let day = "t".repeat(14_000);
        let with_context = |n| {
            let context: Context = Context::from_json(&format!("{{\"day\":\"{day}{n}\"}}")).unwrap();
            let caveat = CaveatUse { name: "only_on".to_owned(), context };
            let resource = ResourceRef::new("document", format!("wide{n}"));
            let plain = Relationship::new(resource, "viewer", SubjectRef::object("user", "u0"));
            Relationship { caveat: Some(caveat), ..plain }
        };
        return (0..24).map(with_context).collect();
    }
    let first = rng.below(LONG);
    let long = |n: usize| {
        let n = (first + n) % LONG;
        let mut filling = Rng::new(n as u64);
        let letters = std::iter::repeat_with(|| char::from(b'a' + u8::try_from(filling.below(26)).unwrap()));
        let id: String = letters.take(LONG_BYTES).collect();
        let resource = ResourceRef::new("document", format!("long{n}-{id}"));
        Relationship::new(resource, "viewer", SubjectRef::object("user", format!("u{}", n % USERS)))
    };
    (0..rng.between(10, 40)).map(long).collect()
}

fn draw_matching(rng: &mut Rng, log: u64, state: &State) -> Matching {
    let plain = Matching {
        resource_type: "document".to_owned(),
        resource_id: None,
        is_prefix: false,
        relation: None,
        user: None,
    };
    let one = |id: String| Matching { resource_id: Some(id), ..plain.clone() };
    match rng.below(8) {
        0 if log == BROAD => Matching { is_prefix: true, ..one("wide".to_owned()) },
        1 if log == BROAD => Matching { is_prefix: true, ..one(format!("long{}", rng.below(10))) },
        2 => Matching { is_prefix: true, ..one(format!("d{}", rng.below(3))) },
        3 => {
            let relation = *rng.pick(&["viewer", "banned", "parent", "editor"]);
            Matching { relation: Some(relation.to_owned()), ..one(format!("d{}", rng.below(DOCUMENTS))) }
        }
        // What stands in the way of another schema, and what was imported.
        4 => {
            let (resource_type, relation) =
                *rng.pick(&[("document", "banned"), ("document", "parent"), ("folder", "viewer")]);
            Matching { resource_type: resource_type.to_owned(), relation: Some(relation.to_owned()), ..plain }
        }
        5 => Matching { is_prefix: true, ..one(format!("m{}", rng.below(4))) },
        6 => Matching { user: Some(format!("u{}", rng.below(USERS))), ..plain },
        _ => {
            let stored: Vec<_> = state.relationships.values().collect();
            if stored.is_empty() {
                return plain;
            }
            let stored = *rng.pick(&stored);
            Matching {
                resource_type: stored.resource.object_type.clone(),
                relation: Some(stored.relation.clone()),
                ..one(stored.resource.object_id.clone())
            }
        }
    }
}

/// A relationship that a schema has a place for.
fn relationship(rng: &mut Rng, schema: usize, now: i64) -> Relationship {
    let shapes = SCHEMAS[schema].1;
    let mut shape = *rng.pick(shapes);
    // Less often what stands in the way of other schemas, more often what expires.
    if ["banned", "parent", "folder"].iter().any(|rare| shape.contains(rare)) && rng.chance(70) {
        shape = *rng.pick(shapes);
    }
    if rng.chance(15) {
        shape = shapes.iter().find(|shape| shape.ends_with("+expiration")).unwrap_or(&shape);
    }
    let (member, subject) = shape.split_once('@').unwrap();
    let (resource_type, relation) = member.split_once('#').unwrap();
    let resource_id = match resource_type {
        "document" => format!("d{}", rng.below(DOCUMENTS)),
        _ => format!("g{}", rng.below(GROUPS)),
    };
    let resource = ResourceRef::new(resource_type, resource_id);
    let (subject, attribute) = subject.split_once('+').unwrap_or((subject, ""));
    let subject = match subject {
        "user" => SubjectRef::object("user", format!("u{}", rng.below(USERS))),
        "user:*" => SubjectRef::object("user", "*"),
        "folder" => SubjectRef::object("folder", format!("g{}", rng.below(GROUPS))),
        _ => SubjectRef::userset("group", format!("g{}", rng.below(GROUPS)), "member"),
    };
    let plain = Relationship::new(resource, relation, subject);
    match attribute {
        "only_on" => {
            let context = Context::from_json(&format!("{{\"level\":{}}}", rng.below(5))).unwrap();
            Relationship { caveat: Some(CaveatUse { name: "only_on".to_owned(), context }), ..plain }
        }
        "expiration" => {
            let expires_at = Timestamp::from_seconds(now + rng.between(1, 60).cast_signed() as i64);
            Relationship { expires_at: Some(expires_at), ..plain }
        }
        _ => plain,
    }
}
