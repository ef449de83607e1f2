//! The known disagreements: which are they, by what are they recognised, why are they as they are?
//!
//! Each entry has an id, under which `docs/differences.md` explains it with a minimal example. A disagreement is put
//! down to an entry by what can be shown of it: that SpiceDB's own checks contradict its lookup and agree with ours;
//! that it answers otherwise when asked alone; that our evaluator answers the same once it is given SpiceDB's habit
//! (`suppose.rs`). Several entries may be needed for one disagreement; each is then counted.
//!
//! # Invariants
//! * No rule looks at texts of errors or at seeds.
//! * What is not shown stays unexplained.

use std::collections::BTreeSet;

use idhini_caveat::Budget;
use idhini_model::Timestamp;
use idhini_schema::Schema;
use idhini_testkit::generate::INSTANT_SECONDS;
use tonic::Code;

use crate::compare::{Difference, Disagreement, Item, check_of};
use crate::ours::Ours;
use crate::query::{Answer, Body, Case, Posed, Query, Reply, Tree, Value};
use crate::suppose::{HABITS, Habit, reaches_self};

/// One known kind of disagreement.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The id in `docs/differences.md`.
    pub id: &'static str,
    /// Why ours is right or deliberate, in a line.
    pub reason: &'static str,
}

macro_rules! ledger {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $reason:literal;)*) => {
        $($(#[$doc])* pub const $name: Entry = Entry { id: $id, reason: $reason };)*
        /// The ledger.
        pub const LEDGER: &[Entry] = &[$($name),*];
    };
}

ledger! {
    /// A conditional answer names fewer parameters.
    MISSING_PARAMETERS = "missing-parameters",
        "SpiceDB stops at the first missing operand of an operator; we name every parameter that is missing";
    /// `.all` over a type that lacks the target.
    ALL_NEEDS_TARGET = "all-needs-target",
        "SpiceDB denies when `.all` meets a type without the target; we skip the type, as every arrow does";
    /// A wildcard and a userset.
    WILDCARD_COVERS_USERSETS = "wildcard-covers-usersets",
        "SpiceDB's checks let `user:*` cover `user:amy#friend`, its lookups do not; a wildcard covers objects only";
    /// A caveated subject beside usersets of its type.
    CAVEATED_SUBJECT_HIDDEN = "caveated-subject-hidden",
        "SpiceDB's checks overlook `user:amy[cav]` in a relation that also admits `user#friend`; its lookups see it";
    /// An expired subject beside usersets of its type.
    EXPIRED_SUBJECT_COUNTS = "expired-subject-counts",
        "SpiceDB's checks count an expired `user:amy` in a relation that also admits `user#friend`; its lookups do not";
    /// Another answer to the same check.
    UNSTABLE_CHECK = "unstable-check",
        "SpiceDB answers the same check now this way, now that, at unchanged data; ours is always the same one of them";
    /// Conditions of one resource under `.all` applied to others.
    ALL_CONDITIONS_LEAK = "all-conditions-leak",
        "SpiceDB applies one resource's condition under `.all` to other resources that share the followed object";
    /// A failing caveat that the answer does not depend on.
    NEEDLESS_CAVEAT_ERROR = "needless-caveat-error",
        "SpiceDB fails on any caveat it happens to evaluate; we fail only if the answer depends on it";
    /// Items more than once.
    LOOKUP_REPEATS = "lookup-repeats",
        "SpiceDB's lookups answer some items more than once; ours answer each once, in its final state";
    /// `self` under a lookup of subjects.
    SELF_IN_LOOKUP_OF_SUBJECTS = "self-in-lookup-of-subjects",
        "SpiceDB answers the object behind `self` whatever subject type is asked for; its own checks deny";
    /// `self` under a lookup of resources.
    SELF_IN_LOOKUP_OF_RESOURCES = "self-in-lookup-of-resources",
        "SpiceDB fails with an internal error where `self` stands under `&`, `-` or `.all`; we answer";
    /// A lookup of resources against SpiceDB's own checks.
    LOOKUP_OF_RESOURCES_AGAINST_CHECKS = "lookup-of-resources-against-checks",
        "SpiceDB's lookup contradicts its own checks, which agree with ours";
    /// A lookup of subjects against SpiceDB's own checks.
    LOOKUP_OF_SUBJECTS_AGAINST_CHECKS = "lookup-of-subjects-against-checks",
        "SpiceDB's lookup contradicts its own checks, which agree with ours";
    /// Expansions of arrows to types without the target.
    EXPAND_WITHOUT_TARGET = "expand-without-target",
        "SpiceDB shows an empty leaf for an object whose type lacks the arrow's target; we leave it out";
}

/// The entries that together explain a disagreement; none if it is unexplained.
#[must_use]
pub fn explain(disagreement: &Disagreement) -> Vec<&'static Entry> {
    let found = match &disagreement.difference {
        Difference::Faults => fault(disagreement),
        Difference::Repeats(_) => Some(vec![&LOOKUP_REPEATS]),
        Difference::Trees => tree(disagreement),
        Difference::Values(items) | Difference::Missing(items) => values(disagreement, items),
    };
    let mut found = found.unwrap_or_default();
    found.sort_by_key(|entry| entry.id);
    found.dedup();
    found
}

type Explained = Option<Vec<&'static Entry>>;

fn fault(disagreement: &Disagreement) -> Explained {
    let Disagreement { case, theirs, ours, evidence, .. } = disagreement;
    if let (Some(theirs), None) = (theirs.fault(), ours.fault()) {
        let looks_for_resources = matches!(case.asked.query, Query::Resources { .. });
        match theirs.code {
            Code::InvalidArgument if some_caveat_fails(case) => return Some(vec![&NEEDLESS_CAVEAT_ERROR]),
            Code::Unknown if looks_for_resources && reaches_self(case) => {
                return Some(vec![&SELF_IN_LOOKUP_OF_RESOURCES]);
            }
            _ => {}
        }
    }
    if matches!(case.asked.query, Query::Check { .. }) {
        let told = Told { split: evidence.split.as_ref(), again: &evidence.again };
        return check_value(case, &case.asked, theirs, &told);
    }
    // SpiceDB's lookup answers an item on which its own check fails, as ours does.
    let fails = |reply: &Reply| reply.fault().is_some();
    let is_contradicted =
        evidence.checks.values().any(|c| fails(&c.theirs) && alike(&c.theirs, ours).is_some());
    (theirs.fault().is_none() && is_contradicted).then(|| vec![lookup_entry(disagreement, None)])
}

/// Whether a live relationship's caveat fails to evaluate in the question's context or one of its company's.
fn some_caveat_fails(case: &Case) -> bool {
    const BUDGET: Budget = Budget { steps: 100_000, bytes: 1_000_000 };
    let Ok(schema) = Schema::parse(&case.sketch.text()) else { return false };
    let live = |at: Option<Timestamp>| at.is_none_or(|at| at > Timestamp::from_seconds(INSTANT_SECONDS));
    let contexts = || case.company.iter().chain([&case.asked]).map(|posed| &posed.context);
    case.relationships.iter().filter(|r| live(r.expires_at)).filter_map(|r| r.caveat.as_ref()).any(|used| {
        schema.caveat(&used.name).is_some_and(|caveat| {
            contexts().any(|context| caveat.evaluate(&used.context, context, &mut BUDGET.clone()).is_err())
        })
    })
}

fn tree(disagreement: &Disagreement) -> Explained {
    let (Reply::Tree(theirs), Reply::Tree(ours)) = (&disagreement.theirs, &disagreement.ours) else {
        return None;
    };
    let bare = |tree: &Tree| {
        let mut tree = without_empty(tree);
        tree.iter_mut().for_each(Tree::sort);
        tree
    };
    (bare(theirs) == bare(ours)).then(|| vec![&EXPAND_WITHOUT_TARGET])
}

/// Without empty leaves and what is empty for lack of anything else; `None` if nothing is left.
fn without_empty(tree: &Tree) -> Option<Tree> {
    let all = |trees: &[Tree]| trees.iter().filter_map(without_empty).collect::<Vec<_>>();
    let body = match &tree.body {
        Body::Leaf(subjects) if subjects.is_empty() => return None,
        Body::Leaf(subjects) => Body::Leaf(subjects.clone()),
        Body::Union(trees) => Body::Union(all(trees)),
        Body::Intersection(trees) => Body::Intersection(all(trees)),
        Body::Exclusion(trees) => Body::Exclusion(all(trees)),
    };
    let is_empty = match &body {
        Body::Leaf(_) => false,
        Body::Union(trees) | Body::Intersection(trees) | Body::Exclusion(trees) => trees.is_empty(),
    };
    (!is_empty).then(|| Tree { resource: tree.resource.clone(), member: tree.member.clone(), body })
}

fn values(disagreement: &Disagreement, items: &[Item]) -> Explained {
    let mut found = Vec::new();
    for item in items {
        found.extend(one_value(disagreement, item)?);
    }
    Some(found)
}

/// One item: first by what a check says of it, then why the lookup says otherwise than the check.
fn one_value(disagreement: &Disagreement, item: &Item) -> Explained {
    let Disagreement { case, evidence, .. } = disagreement;
    if matches!(case.asked.query, Query::Check { .. }) {
        let told = Told { split: evidence.split.as_ref(), again: &evidence.again };
        return check_value(case, &case.asked, &Reply::Check(item.theirs.clone()), &told);
    }
    if item.theirs.value == item.ours.value
        && let Some(missing) = missing_entry(&item.theirs, &item.ours)
    {
        return Some(missing);
    }
    let checks = evidence.checks.get(&item.id)?;
    let Reply::Check(ours) = &checks.ours else { return None };
    // Our lookup must say what our check says, or the mistake is ours.
    if ours.value != item.ours.value {
        return None;
    }
    let asked = check_of(&case.asked.query, &item.id, &case.asked.context)?;
    let Reply::Check(checked) = &checks.theirs else {
        // SpiceDB's check fails where its lookup answers.
        return some_caveat_fails(case).then(|| vec![&NEEDLESS_CAVEAT_ERROR]);
    };
    let mut found = Vec::new();
    if checked.value != ours.value {
        let told = Told { split: checks.split.as_ref(), again: &checks.again };
        found.extend(check_value(case, &asked, &checks.theirs, &told)?);
    }
    if checked.value != item.theirs.value {
        found.push(lookup_entry(disagreement, Some(item)));
    } else if found.is_empty() {
        // Nothing is left but that the lookup names other parameters than SpiceDB's own check does.
        if checked.missing != ours.missing {
            found.extend(missing_entry(checked, ours)?);
        }
        if checked.missing == item.theirs.missing {
            return None;
        }
        found.push(lookup_entry(disagreement, Some(item)));
    }
    Some(found)
}

/// Whether the lookup agrees with us on this item once shared objects under `.all` are split.
fn leaked(disagreement: &Disagreement, item: &Item) -> Option<&'static Entry> {
    let answer = match disagreement.evidence.split.as_ref()? {
        Reply::Resources(found) => found.get(&item.id).cloned().unwrap_or_else(no),
        Reply::Subjects(subjects) => subjects.found.get(&item.id).cloned().unwrap_or_else(no),
        _ => return None,
    };
    same_but_missing(&answer, &Reply::Check(item.ours.clone())).map(|_| &ALL_CONDITIONS_LEAK)
}

fn no() -> Answer {
    Answer { value: Value::No, missing: BTreeSet::new() }
}

fn lookup_entry(disagreement: &Disagreement, item: Option<&Item>) -> &'static Entry {
    let is_subjects = matches!(disagreement.case.asked.query, Query::Subjects { .. });
    if is_subjects && reaches_self(&disagreement.case) {
        &SELF_IN_LOOKUP_OF_SUBJECTS
    } else if is_subjects {
        &LOOKUP_OF_SUBJECTS_AGAINST_CHECKS
    } else {
        item.and_then(|item| leaked(disagreement, item)).unwrap_or(&LOOKUP_OF_RESOURCES_AGAINST_CHECKS)
    }
}

/// What else SpiceDB told about a check.
struct Told<'d> {
    split: Option<&'d Reply>,
    again: &'d [Reply],
}

/// Why a check answers `theirs`.
fn check_value(case: &Case, asked: &Posed, theirs: &Reply, told: &Told<'_>) -> Explained {
    let case = case_asking(case, asked);
    let mine = ours(&case)?.engine(asked);
    if let Some(found) = alike(theirs, &mine).or_else(|| habits(&case, theirs)) {
        return Some(found);
    }
    let agrees = |reply: &Reply| alike(reply, &mine).is_some();
    if told.split.is_some_and(agrees) {
        return Some(vec![&ALL_CONDITIONS_LEAK]);
    }
    // A leak that meets a habit: with the objects split, the habit alone is left.
    if let Some(mut found) = told.split.and_then(|split| habits(&case, split)) {
        found.push(&ALL_CONDITIONS_LEAK);
        return Some(found);
    }
    told.again.iter().any(agrees).then(|| vec![&UNSTABLE_CHECK])
}

/// The fewest habits with which our evaluator answers `theirs`.
fn habits(case: &Case, theirs: &Reply) -> Explained {
    let mut choices: Vec<usize> = (1..1 << HABITS.len()).collect();
    choices.sort_by_key(|choice: &usize| choice.count_ones());
    for choice in choices {
        let habits: Vec<Habit> =
            (0..HABITS.len()).filter(|at| choice & (1 << at) != 0).map(|at| HABITS[at]).collect();
        let supposed = habits.iter().fold(case.clone(), |case, habit| habit.applied(&case));
        let reply = ours(&supposed).map(|ours| ours.engine(&case.asked));
        if let Some(mut found) = reply.and_then(|reply| alike(theirs, &reply)) {
            found.extend(habits.iter().map(|habit| entry_of(*habit)));
            return Some(found);
        }
    }
    None
}

/// The same status, or the same value with the same missing parameters or fewer of them.
fn alike(theirs: &Reply, ours: &Reply) -> Explained {
    match (theirs, ours) {
        (Reply::Check(theirs), ours) => same_but_missing(theirs, ours),
        (Reply::Fault(theirs), Reply::Fault(ours)) => (theirs.code == ours.code).then(Vec::new),
        _ => None,
    }
}

fn entry_of(habit: Habit) -> &'static Entry {
    match habit {
        Habit::AllNeedsTarget => &ALL_NEEDS_TARGET,
        Habit::WildcardCoversUsersets => &WILDCARD_COVERS_USERSETS,
        Habit::CaveatedSubjectHidden => &CAVEATED_SUBJECT_HIDDEN,
        Habit::ExpiredSubjectCounts => &EXPIRED_SUBJECT_COUNTS,
    }
}

fn case_asking(case: &Case, asked: &Posed) -> Case {
    Case { asked: asked.clone(), ..case.clone() }
}

fn ours(case: &Case) -> Option<Ours> {
    Ours::new(&case.sketch.text(), &case.relationships, Timestamp::from_seconds(INSTANT_SECONDS)).ok()
}

/// The same value; the same missing parameters, or fewer of them.
fn same_but_missing(theirs: &Answer, reply: &Reply) -> Explained {
    match reply {
        Reply::Check(ours) if ours == theirs => Some(Vec::new()),
        Reply::Check(ours) if ours.value == theirs.value => missing_entry(theirs, ours),
        _ => None,
    }
}

/// Fewer parameters than ours, but some.
fn missing_entry(theirs: &Answer, ours: &Answer) -> Explained {
    let fewer = |theirs: &BTreeSet<String>, ours: &BTreeSet<String>| {
        !theirs.is_empty() && theirs.is_subset(ours) && theirs != ours
    };
    (theirs.value == Value::Conditional && fewer(&theirs.missing, &ours.missing))
        .then(|| vec![&MISSING_PARAMETERS])
}

#[cfg(test)]
mod tests;
