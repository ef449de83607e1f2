//! Our own answers, in process: the engine's, and the reference evaluator's as a second voice.
//!
//! # Invariants
//! * Both voices answer from the same schema, relationships, context and instant.
//! * Where they differ there is a mistake of ours, whatever SpiceDB says.

use std::collections::{BTreeMap, BTreeSet};

use idhini_engine::{
    Check, EngineError, Expand, ExpandKind, ExpandTree, Limits, LookupResources, LookupSubjects,
    Permissionship, Plans, Progress, Snapshot,
};
use idhini_graph::Root;
use idhini_model::{Change, Entry, EntryKind, Relationship, Timestamp};
use idhini_schema::{Schema, SchemaError};
use idhini_testkit::reference::{self, Refusal, Tables};
use tonic::Code;

use crate::query::{Answer, Body, EVERYBODY, Fault, Posed, Query, Reply, Subjects, Tree, Value};

/// Items read of one lookup; generated worlds have a few dozen objects.
const ITEMS_MAX: usize = 10_000;

/// Why a world cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unaskable {
    /// Our parser refuses the schema.
    #[error("our parser refuses the schema: {0}")]
    Schema(#[from] SchemaError),
    /// The relationships name what the schema does not define.
    #[error("the relationships do not fit the schema: {0:?}")]
    Data(Refusal),
    /// The graph does not take them.
    #[error("the graph refuses an entry: {0}")]
    Graph(String),
}

/// A world, ready for questions.
pub struct Ours {
    tables: Tables,
    root: Root,
    plans: Plans,
    instant: Timestamp,
}

impl Ours {
    /// Reads the schema and takes the relationships in.
    ///
    /// # Errors
    /// [`Unaskable`].
    pub fn new(schema: &str, relationships: &[Relationship], instant: Timestamp) -> Result<Ours, Unaskable> {
        let schema = Schema::parse(schema)?;
        let tables = Tables::new(&schema, relationships).map_err(Unaskable::Data)?;
        let mut root = Root::empty();
        apply(&mut root, EntryKind::Schema { new: schema.canonical_text(), old: String::new() })?;
        let created: Vec<Change> = relationships.iter().cloned().map(Change::Created).collect();
        if !created.is_empty() {
            apply(&mut root, EntryKind::Relationships(created))?;
        }
        let plans =
            Plans::compile(&root).ok_or_else(|| Unaskable::Graph("no plans for the schema".to_owned()))?;
        Ok(Ours { tables, root, plans, instant })
    }

    /// The reference's answer; it has none to an expansion.
    #[must_use]
    pub fn reference(&self, asked: &Posed) -> Option<Reply> {
        let view = self.tables.view(&asked.context, self.instant);
        let reply = match &asked.query {
            Query::Check { resource, permission, subject } => {
                view.check(resource, permission, subject).map(Reply::Check)
            }
            Query::Resources { resource_type, permission, subject } => {
                view.lookup_resources(resource_type, permission, subject).map(Reply::Resources)
            }
            Query::Subjects { resource, permission, subject_type, subject_relation } => view
                .lookup_subjects(resource, permission, subject_type, subject_relation.as_deref())
                .map(|found| Reply::Subjects(subjects(found))),
            Query::Expand { .. } => return None,
        };
        Some(reply.unwrap_or_else(|refusal| Reply::Fault(refused(&refusal))))
    }

    /// The engine's answer, which is ours.
    #[must_use]
    pub fn engine(&self, asked: &Posed) -> Reply {
        let snapshot = Snapshot { root: &self.root, plans: &self.plans, instant: self.instant };
        let reply = match &asked.query {
            Query::Check { resource, permission, subject } => {
                let question =
                    idhini_engine::Question { resource, permission, subject, context: &asked.context };
                Check::open(snapshot, question, Limits::default())
                    .and_then(|mut check| check.answer())
                    .map(|answer| Reply::Check(converted(answer)))
            }
            Query::Resources { .. } => resources(snapshot, asked),
            Query::Subjects { .. } => found_subjects(snapshot, asked),
            Query::Expand { resource, permission } => {
                Expand::open(snapshot, resource, permission, Limits::default())
                    .and_then(|mut e| e.tree())
                    .map(|expanded| {
                        let mut tree = tree(expanded);
                        tree.sort();
                        Reply::Tree(tree)
                    })
            }
        };
        reply.unwrap_or_else(|error| Reply::Fault(engine_fault(&error)))
    }
}

fn apply(root: &mut Root, kind: EntryKind) -> Result<(), Unaskable> {
    let entry = Entry { revision: root.revision().next(), kind };
    root.apply(&entry).map_err(|error| Unaskable::Graph(format!("{error:?}")))
}

fn resources(snapshot: Snapshot<'_>, asked: &Posed) -> Result<Reply, EngineError> {
    let Query::Resources { resource_type, permission, subject } = &asked.query else {
        return Ok(Reply::Resources(BTreeMap::new()));
    };
    let what = (resource_type.as_str(), permission.as_str());
    let mut lookup = LookupResources::open(snapshot, what, subject, &asked.context, None, Limits::default())?;
    let mut found = BTreeMap::new();
    while found.len() < ITEMS_MAX {
        match lookup.advance(u64::MAX)? {
            Progress::More => {}
            Progress::Done(None) => break,
            Progress::Done(Some(next)) => {
                found.insert(next.object_id.to_owned(), converted(next.answer));
            }
        }
    }
    Ok(Reply::Resources(found))
}

fn found_subjects(snapshot: Snapshot<'_>, asked: &Posed) -> Result<Reply, EngineError> {
    let Query::Subjects { resource, permission, subject_type, subject_relation } = &asked.query else {
        return Ok(Reply::Subjects(Subjects::default()));
    };
    let what = (resource, permission.as_str());
    let who = (subject_type.as_str(), subject_relation.as_deref());
    let mut lookup = LookupSubjects::open(snapshot, what, who, &asked.context, None, Limits::default())?;
    let mut subjects = Subjects::default();
    while subjects.found.len() < ITEMS_MAX {
        match lookup.advance(u64::MAX)? {
            Progress::More => {}
            Progress::Done(None) => break,
            Progress::Done(Some(next)) => {
                let excluded =
                    next.excluded.into_iter().map(|e| (e.object_id.to_owned(), converted(e.answer)));
                subjects.excluded.extend(excluded);
                subjects.found.insert(next.object_id.to_owned(), converted(next.answer));
            }
        }
    }
    Ok(Reply::Subjects(subjects))
}

fn converted(answer: idhini_engine::Answer) -> Answer {
    let value = match answer.permissionship {
        Permissionship::No => Value::No,
        Permissionship::Conditional => Value::Conditional,
        Permissionship::Has => Value::Has,
    };
    Answer { value, missing: answer.missing }
}

/// Recursion is bounded by the engine's limit on the depth of expansions.
fn tree(expanded: ExpandTree) -> Tree {
    let all = |trees: Vec<ExpandTree>| trees.into_iter().map(tree).collect();
    let body = match expanded.kind {
        ExpandKind::Leaf(subjects) => Body::Leaf(subjects.iter().map(|s| s.subject.to_string()).collect()),
        ExpandKind::Union(trees) => Body::Union(all(trees)),
        ExpandKind::Intersection(trees) => Body::Intersection(all(trees)),
        ExpandKind::Exclusion(trees) => Body::Exclusion(all(trees)),
    };
    Tree { resource: expanded.resource.to_string(), member: expanded.member, body }
}

/// The status that a client is answered, by the contract.
fn engine_fault(error: &EngineError) -> Fault {
    let code = match error {
        EngineError::UnknownDefinition { .. }
        | EngineError::UnknownMember { .. }
        | EngineError::Cycle { .. } => Code::FailedPrecondition,
        EngineError::WildcardSubject | EngineError::Caveat(_) => Code::InvalidArgument,
        EngineError::Budget { .. } => Code::ResourceExhausted,
        _ => Code::Unknown,
    };
    Fault { code, message: error.to_string() }
}

fn subjects(found: reference::Subjects) -> Subjects {
    let mut all: BTreeMap<String, Answer> = found.required;
    all.extend(found.optional);
    let mut excluded = BTreeMap::new();
    if let Some(wildcard) = found.wildcard {
        all.insert(EVERYBODY.to_owned(), wildcard.answer);
        excluded = wildcard.excluded;
    }
    for answer in excluded.values_mut() {
        if answer.value == Value::No {
            answer.missing = BTreeSet::new();
        }
    }
    Subjects { found: all, excluded }
}

/// The status that a client is answered, by the contract.
fn refused(refusal: &Refusal) -> Fault {
    let code = match refusal {
        Refusal::UnknownDefinition(_) | Refusal::UnknownMember { .. } | Refusal::Cycle => {
            Code::FailedPrecondition
        }
        Refusal::WildcardSubject | Refusal::CaveatFailed | Refusal::Undefined => Code::InvalidArgument,
    };
    Fault { code, message: format!("{refusal:?}") }
}
