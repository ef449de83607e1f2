//! Do two replies say the same? If not: in what, about which items?
//!
//! # Invariants
//! * Errors are compared by status code, never by text.
//! * A lookup of subjects is compared by what it says of each subject, not by how it spells that (an entry of one's
//!   own, or `*` without an exclusion).

use std::collections::{BTreeMap, BTreeSet};

use idhini_model::{Context, ResourceRef, SubjectRef};

use crate::query::{Answer, Case, EVERYBODY, Posed, Query, Reply, Subjects, Value};

/// In what two replies differ; the first that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// One is an error, the other not; or they are different errors.
    Faults,
    /// Values differ, for these items (a check has one, named `""`).
    Values(Vec<Item>),
    /// All values are the same, but conditional ones lack different parameters.
    Missing(Vec<Item>),
    /// Expansions have different shapes.
    Trees,
    /// The folded replies are the same, but SpiceDB answered these items more than once.
    Repeats(BTreeSet<String>),
}

/// One item of a lookup that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// What SpiceDB's reply says of it.
    pub theirs: Answer,
    /// What ours says of it.
    pub ours: Answer,
}

/// Two servers that do not agree, with what else was asked to find out why.
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// The world's seed.
    pub seed: u64,
    /// The question with all it needs.
    pub case: Case,
    /// SpiceDB's reply.
    pub theirs: Reply,
    /// Ours.
    pub ours: Reply,
    /// In what they differ.
    pub difference: Difference,
    /// More that was asked.
    pub evidence: Evidence,
}

/// What was asked after a disagreement.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// SpiceDB's replies to the same question, asked alone, several times.
    pub alone: Vec<Reply>,
    /// As `alone`, each time at a new revision; only after nothing else explained the difference.
    pub again: Vec<Reply>,
    /// SpiceDB's reply once the objects that `.all` reaches from several resources are split, where there are such;
    /// only after nothing else explained the difference.
    pub split: Option<Reply>,
    /// For each differing item of a lookup: what the two servers' own checks say of it.
    pub checks: BTreeMap<String, Checks>,
}

/// What checks say of one item of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// SpiceDB's check, asked alone.
    pub theirs: Reply,
    /// SpiceDB's check once shared objects are split, as [`Evidence::split`].
    pub split: Option<Reply>,
    /// The same asked again and again, each time at a new revision; only after nothing else explained the difference.
    pub again: Vec<Reply>,
    /// Our check.
    pub ours: Reply,
}

/// The first difference of two replies; repeated items are not one.
#[must_use]
pub fn difference(theirs: &Reply, ours: &Reply) -> Option<Difference> {
    match (theirs, ours) {
        (Reply::Fault(theirs), Reply::Fault(ours)) => {
            (theirs.code != ours.code).then_some(Difference::Faults)
        }
        (Reply::Check(theirs), Reply::Check(ours)) => {
            let item = Item { id: String::new(), theirs: theirs.clone(), ours: ours.clone() };
            sorted_out(vec![item])
        }
        (Reply::Resources(theirs), Reply::Resources(ours)) => {
            let ids: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            sorted_out(ids.into_iter().map(|id| item(id, theirs.get(id), ours.get(id))).collect())
        }
        (Reply::Subjects(theirs), Reply::Subjects(ours)) => sorted_out(subject_items(theirs, ours)),
        (Reply::Tree(theirs), Reply::Tree(ours)) => (theirs != ours).then_some(Difference::Trees),
        _ => Some(Difference::Faults),
    }
}

fn item(id: &str, theirs: Option<&Answer>, ours: Option<&Answer>) -> Item {
    let or_no = |answer: Option<&Answer>| answer.cloned().unwrap_or_else(no);
    Item { id: id.to_owned(), theirs: or_no(theirs), ours: or_no(ours) }
}

fn no() -> Answer {
    Answer { value: Value::No, missing: BTreeSet::new() }
}

fn sorted_out(items: Vec<Item>) -> Option<Difference> {
    let (values, rest): (Vec<Item>, Vec<Item>) =
        items.into_iter().partition(|item| item.theirs.value != item.ours.value);
    if !values.is_empty() {
        return Some(Difference::Values(values));
    }
    let missing: Vec<Item> =
        rest.into_iter().filter(|item| item.theirs.missing != item.ours.missing).collect();
    (!missing.is_empty()).then_some(Difference::Missing(missing))
}

fn subject_items(theirs: &Subjects, ours: &Subjects) -> Vec<Item> {
    let ids: BTreeSet<&String> = [&theirs.found, &theirs.excluded, &ours.found, &ours.excluded]
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    let said = |subjects: &Subjects, id: &str| {
        let value = subjects.value(id);
        let own = [subjects.found.get(id), subjects.excluded.get(id)];
        let missing = own.into_iter().flatten().filter(|a| a.value == value).map(|a| a.missing.clone());
        (value, missing.reduce(|a, b| &a | &b))
    };
    let items = ids.into_iter().map(|id| {
        let ((their_value, their_missing), (our_value, our_missing)) = (said(theirs, id), said(ours, id));
        // Who is only one of everybody in one reply has no list of missing parameters there to compare.
        let (their_missing, our_missing) = match (their_missing, our_missing) {
            (Some(theirs), Some(ours)) => (theirs, ours),
            _ => (BTreeSet::new(), BTreeSet::new()),
        };
        Item {
            id: id.clone(),
            theirs: Answer { value: their_value, missing: their_missing },
            ours: Answer { value: our_value, missing: our_missing },
        }
    });
    items.collect()
}

/// The check that settles what a lookup should say of one item; none for everybody.
#[must_use]
pub fn check_of(query: &Query, id: &str, context: &Context) -> Option<Posed> {
    let query = match query {
        Query::Resources { resource_type, permission, subject } => Query::Check {
            resource: ResourceRef::new(resource_type, id),
            permission: permission.clone(),
            subject: subject.clone(),
        },
        Query::Subjects { resource, permission, subject_type, subject_relation } => Query::Check {
            resource: resource.clone(),
            permission: permission.clone(),
            subject: SubjectRef {
                object_type: subject_type.clone(),
                object_id: if id == EVERYBODY { SOMEBODY.to_owned() } else { id.to_owned() },
                relation: subject_relation.clone(),
            },
        },
        Query::Check { .. } | Query::Expand { .. } => return None,
    };
    Some(Posed { query, context: context.clone() })
}

/// An id that no generated world uses: one of everybody.
const SOMEBODY: &str = "somebody-unnamed";

impl Disagreement {
    /// Call, difference and direction: enough to tell kinds apart before anybody has looked at them.
    #[must_use]
    pub fn signature(&self) -> String {
        let mut sides: Vec<String> = self
            .difference
            .items()
            .iter()
            .map(|i| format!("{:?}/{:?}", i.theirs.value, i.ours.value))
            .collect();
        sides.sort();
        sides.dedup();
        if self.difference == Difference::Faults {
            let side = |r: &Reply| r.fault().map_or("answer".to_owned(), |f| format!("{:?}", f.code));
            sides.push(format!("{}/{}", side(&self.theirs), side(&self.ours)));
        }
        let alone = self.evidence.alone.iter().filter(|r| difference(r, &self.ours).is_some()).count();
        let checks = self.evidence.checks.values();
        let (mut agree, mut disagree) = (0, 0);
        for checks in checks {
            match difference(&checks.theirs, &checks.ours) {
                None => agree += 1,
                Some(_) => disagree += 1,
            }
        }
        let checks = match (agree, disagree) {
            (0, 0) => "",
            (_, 0) => ", checks agree",
            _ => ", checks disagree too",
        };
        let alone = if alone == 0 { ", agrees alone" } else { "" };
        format!(
            "{}: {} {}{alone}{checks}",
            self.case.asked.query.call(),
            self.difference.word(),
            sides.join(" ")
        )
    }
}

impl Difference {
    /// The items that differ.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        match self {
            Difference::Values(items) | Difference::Missing(items) => items,
            Difference::Faults | Difference::Trees | Difference::Repeats(_) => &[],
        }
    }

    /// A word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Difference::Faults => "errors",
            Difference::Values(_) => "values",
            Difference::Missing(_) => "missing context",
            Difference::Trees => "trees",
            Difference::Repeats(_) => "repeats",
        }
    }
}

#[cfg(test)]
mod tests;
