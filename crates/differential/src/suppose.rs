//! What would we answer if we had one of SpiceDB's habits?
//!
//! A habit is expressed as a change of the world, so that our own evaluator answers as SpiceDB does. A disagreement
//! is put down to a habit only if the answer to the changed world is SpiceDB's answer.

use std::collections::BTreeSet;

use idhini_model::{Relationship, SubjectRef, Timestamp, WILDCARD};
use idhini_schema::SubjectKind;
use idhini_testkit::sketch::{Alternative, Arrow, Expr, PermissionSketch, Sketch};

use crate::query::{Case, Posed, Query};

/// A way in which SpiceDB sees the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// `.all(target)` denies when it meets a type that lacks `target`; we skip the type, as plain arrows do.
    AllNeedsTarget,
    /// A check of a userset counts a wildcard of its type; for us wildcards match objects only.
    WildcardCoversUsersets,
    /// Where a relation admits a userset of a type without a caveat, a check does not see subjects of that type that
    /// stand there under a caveat; we see them.
    CaveatedSubjectHidden,
    /// Where a relation admits a userset of a type without an expiration, a check counts expired subjects of that type
    /// that stand there; for us they are gone.
    ExpiredSubjectCounts,
}

/// Every habit.
pub const HABITS: [Habit; 4] = [
    Habit::AllNeedsTarget,
    Habit::WildcardCoversUsersets,
    Habit::CaveatedSubjectHidden,
    Habit::ExpiredSubjectCounts,
];

/// When that which SpiceDB counts although it expired is made to expire instead.
const FAR_SECONDS: i64 = 4_000_000_000;

impl Habit {
    /// The case as SpiceDB sees it.
    #[must_use]
    pub fn applied(self, case: &Case) -> Case {
        let mut case = case.clone();
        match self {
            Habit::AllNeedsTarget => define_targets(&mut case.sketch),
            Habit::WildcardCoversUsersets => name_userset_beside_wildcards(&mut case),
            Habit::CaveatedSubjectHidden => {
                let Case { sketch, asked, .. } = &case;
                let kept =
                    case.relationships.iter().filter(|r| !is_hidden(sketch, asked, r)).cloned().collect();
                case.relationships = kept;
            }
            Habit::ExpiredSubjectCounts => {
                let Case { sketch, asked, .. } = &case;
                let mut relationships = case.relationships.clone();
                for relationship in &mut relationships {
                    if counts_though_expired(sketch, asked, relationship) {
                        relationship.expires_at = Some(Timestamp::from_seconds(FAR_SECONDS));
                    }
                }
                case.relationships = relationships;
            }
        }
        case
    }
}

/// Gives every type the targets of `.all` that it lacks, as permissions that nobody has.
fn define_targets(sketch: &mut Sketch) {
    let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
    for definition in &sketch.definitions {
        for permission in &definition.permissions {
            permission.rule.walk(&mut |part| {
                let Expr::Arrow(relation, Arrow::All, target) = part else { return };
                let subjects = definition.relation(relation).map_or(&[][..], |r| &r.subjects);
                wanted.extend(subjects.iter().map(|s| (s.subject_type.clone(), target.clone())));
            });
        }
    }
    for definition in &mut sketch.definitions {
        for (_, target) in wanted.iter().filter(|(name, _)| *name == definition.name) {
            if definition.member_names().all(|name| name != target) {
                definition.permissions.push(PermissionSketch { name: target.clone(), rule: Expr::Nil });
            }
        }
    }
}

/// A subject under a caveat, in a relation that also admits its type in another way without one.
fn is_hidden(sketch: &Sketch, asked: &Posed, relationship: &Relationship) -> bool {
    relationship.caveat.is_some()
        && relationship.subject.relation.is_none()
        && admits_otherwise(sketch, asked, relationship, |alternative| alternative.caveat.is_none())
}

/// A subject with an expiration, in a relation that also admits its type in another way without one.
fn counts_though_expired(sketch: &Sketch, asked: &Posed, relationship: &Relationship) -> bool {
    relationship.expires_at.is_some()
        && admits_otherwise(sketch, asked, relationship, |alternative| !alternative.expiration)
}

/// Whether the relation admits the subject's type in a way that makes SpiceDB forget the traits of this one: as a
/// userset, or, when a userset is asked about, in any other way.
fn admits_otherwise(
    sketch: &Sketch,
    asked: &Posed,
    relationship: &Relationship,
    lacks_trait: impl Fn(&Alternative) -> bool,
) -> bool {
    let Query::Check { subject: asked, .. } = &asked.query else { return false };
    let subject = &relationship.subject;
    let definition = sketch.definition(&relationship.resource.object_type);
    let relation = definition.and_then(|d| d.relation(&relationship.relation));
    relation.is_some_and(|relation| {
        relation.subjects.iter().any(|alternative| {
            let is_userset = matches!(alternative.kind, SubjectKind::Userset(_));
            alternative.subject_type == subject.object_type
                && alternative.kind != kind_of(subject)
                && (is_userset || asked.relation.is_some())
                && lacks_trait(alternative)
        })
    })
}

/// How a subject stands in a relation.
#[must_use]
pub fn kind_of(subject: &SubjectRef) -> SubjectKind {
    match &subject.relation {
        Some(relation) => SubjectKind::Userset(relation.clone()),
        None if subject.is_wildcard() => SubjectKind::Wildcard,
        None => SubjectKind::Object,
    }
}

/// A permission that no generated world defines.
const STAND_IN: &str = "stand_in_for_asked";

/// Where a wildcard stands that would cover the asked userset were it an object, the userset stands too.
///
/// It stands there as a permission that means the same, since the schema may forbid the userset itself.
fn name_userset_beside_wildcards(case: &mut Case) {
    let Query::Check { subject, .. } = &case.asked.query else { return };
    let Some(relation) = &subject.relation else { return };
    let stand_in = SubjectRef { relation: Some(STAND_IN.to_owned()), ..subject.clone() };
    let kind = SubjectKind::Userset(STAND_IN.to_owned());
    for relation_sketch in case.sketch.definitions.iter_mut().flat_map(|d| &mut d.relations) {
        let covering = relation_sketch.subjects.iter().filter(|alternative| {
            alternative.kind == SubjectKind::Wildcard && alternative.subject_type == subject.object_type
        });
        let added: Vec<Alternative> =
            covering.map(|a| Alternative { kind: kind.clone(), ..a.clone() }).collect();
        relation_sketch.subjects.extend(added);
    }
    let definition = case.sketch.definitions.iter_mut().find(|d| d.name == subject.object_type);
    let rule = Expr::Member(relation.clone());
    if let Some(definition) = definition {
        definition.permissions.push(PermissionSketch { name: STAND_IN.to_owned(), rule });
    }
    let covering = case.relationships.iter().filter(|r| covers(&r.subject, subject));
    let named: Vec<Relationship> =
        covering.map(|r| Relationship { subject: stand_in.clone(), ..r.clone() }).collect();
    case.relationships.extend(named);
}

fn covers(wildcard: &SubjectRef, subject: &SubjectRef) -> bool {
    wildcard.object_id == WILDCARD && wildcard.object_type == subject.object_type
}

/// Which members a question can reach, by the schema alone: `(definition, member)`.
#[must_use]
pub fn reach(sketch: &Sketch, definition: &str, member: &str) -> BTreeSet<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![(definition.to_owned(), member.to_owned())];
    while let Some((name, member)) = pending.pop() {
        let Some(definition) = sketch.definition(&name) else { continue };
        if !definition.member_names().any(|m| m == member) || !seen.insert((name.clone(), member.clone())) {
            continue;
        }
        for subject in definition.relation(&member).map_or(&[][..], |r| &r.subjects) {
            if let SubjectKind::Userset(next) = &subject.kind {
                pending.push((subject.subject_type.clone(), next.clone()));
            }
        }
        let Some(permission) = definition.permissions.iter().find(|p| p.name == member) else { continue };
        permission.rule.walk(&mut |part| match part {
            Expr::Member(next) => pending.push((name.clone(), next.clone())),
            Expr::Arrow(relation, _, target) => {
                let subjects = definition.relation(relation).map_or(&[][..], |r| &r.subjects);
                pending.extend(subjects.iter().map(|s| (s.subject_type.clone(), target.clone())));
            }
            _ => {}
        });
    }
    seen
}

/// The parts of all rules that a case's question can reach, each with its definition's name.
#[must_use]
pub fn parts(case: &Case) -> Vec<(String, Expr)> {
    let (definition, member) = case.asked.query.goal();
    let mut found = Vec::new();
    for (name, member) in reach(&case.sketch, definition, member) {
        let definition = case.sketch.definition(&name);
        let permission = definition.and_then(|d| d.permissions.iter().find(|p| p.name == member));
        if let Some(permission) = permission {
            permission.rule.walk(&mut |part| found.push((name.clone(), part.clone())));
        }
    }
    found
}

/// The case with every object that a `.all` reaches from several resources, at least once under a condition, split
/// into one object per resource; `None` if there is no such object.
///
/// An object that the question names stays whole, since a copy of it would not be the one asked about. So the answer is
/// the same. But SpiceDB, which follows a `.all` for many resources at once and keeps one condition per
/// followed object, has nothing left to mix up.
#[must_use]
pub fn split_under_all(case: &Case) -> Option<Case> {
    let parts = parts(case);
    let all_relations: BTreeSet<(&str, &str)> = parts
        .iter()
        .filter_map(|(definition, part)| match part {
            Expr::Arrow(relation, Arrow::All, _) => Some((definition.as_str(), relation.as_str())),
            _ => None,
        })
        .collect();
    let under_all =
        |r: &Relationship| all_relations.contains(&(r.resource.object_type.as_str(), r.relation.as_str()));
    let named = |subject: &SubjectRef| match &case.asked.query {
        Query::Check { resource, subject: asked, .. } => {
            same_object(subject, asked) || is_object(subject, &resource.object_type, &resource.object_id)
        }
        Query::Resources { subject: asked, .. } => same_object(subject, asked),
        Query::Subjects { resource, .. } | Query::Expand { resource, .. } => {
            is_object(subject, &resource.object_type, &resource.object_id)
        }
    };
    let shared = |edge: &Relationship| {
        if edge.subject.is_wildcard() || named(&edge.subject) {
            return false;
        }
        let same = |r: &&Relationship| under_all(r) && same_object(&r.subject, &edge.subject);
        let mut group = case.relationships.iter().filter(same);
        group.clone().any(|r| r.resource != edge.resource) && group.any(|r| r.caveat.is_some())
    };
    let mut split = case.clone();
    let mut copies: BTreeSet<(String, String, String)> = BTreeSet::new();
    for relationship in &mut split.relationships {
        if under_all(relationship) && shared(relationship) {
            let subject = &mut relationship.subject;
            let copy = format!("{}{COPY}{}", subject.object_id, relationship.resource.object_id);
            copies.insert((subject.object_type.clone(), subject.object_id.clone(), copy.clone()));
            subject.object_id = copy;
        }
    }
    for (object_type, id, copy) in &copies {
        let held = |r: &&Relationship| r.resource.object_type == *object_type && r.resource.object_id == *id;
        let held: Vec<Relationship> = split.relationships.iter().filter(held).cloned().collect();
        split.relationships.extend(held.into_iter().map(|mut r| {
            r.resource.object_id.clone_from(copy);
            r
        }));
    }
    (!copies.is_empty()).then_some(split)
}

/// Stands between an object's id and that of the resource it was copied for; no generated id has it.
pub const COPY: &str = "=for=";

fn is_object(subject: &SubjectRef, object_type: &str, id: &str) -> bool {
    subject.object_type == object_type && subject.object_id == id
}

fn same_object(a: &SubjectRef, b: &SubjectRef) -> bool {
    a.object_type == b.object_type && a.object_id == b.object_id
}

/// Whether the question reaches a `self`.
#[must_use]
pub fn reaches_self(case: &Case) -> bool {
    parts(case).iter().any(|(_, part)| *part == Expr::SelfObject)
}

#[cfg(test)]
pub(crate) mod tests;
