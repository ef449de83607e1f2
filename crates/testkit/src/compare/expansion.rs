//! Does an expansion, folded with the algebra, give what a check gives?
//!
//! Expansions show no conditions of arrows and cut cycles, so questions below which these stand are left out.

use std::collections::BTreeSet;

use idhini_caveat::{Budget, Outcome};
use idhini_engine::{EngineError, Expand, ExpandKind, ExpandTree, ExpandedSubject, Limits};
use idhini_model::SubjectRef;

use super::Difference;
use super::asking::Asking;
use crate::generate::Ask;
use crate::reference::{Answer, Refusal, Value, View};
use crate::shapes::{Shape, ShapeSet};

/// A tree repeats what several paths lead to, so a chain of forks would make millions of nodes.
const EXPANDED_COST_MAX: u64 = 5_000;

/// Whether there was something to compare, and it agreed.
pub(super) fn holds(
    asking: &Asking<'_>,
    view: &View<'_>,
    wanted: &Result<Answer, Refusal>,
    shapes: ShapeSet,
) -> Result<bool, Box<Difference>> {
    let Ask::Check { resource, permission, subject } = &asking.question.ask else { return Ok(false) };
    let hidden = [Shape::CaveatOnArrowEdge, Shape::CycleWithoutExclusion, Shape::CycleThroughExclusion];
    let Ok(wanted) = wanted else { return Ok(false) };
    if hidden.iter().any(|shape| shapes.contains(*shape)) {
        return Ok(false);
    }
    let limits = Limits { cost_max: EXPANDED_COST_MAX, ..Limits::default() };
    let asked = Expand::open(asking.snapshot, resource, permission, limits).map_err(Some);
    let asked = asked.and_then(|mut expand| {
        asking.in_portions(|fuel| expand.advance(fuel)).ok_or(None).and_then(|asked| asked.map_err(Some))
    });
    let tree = match asked {
        Ok(tree) => tree,
        // A tree may be too large to show.
        Err(Some(EngineError::Budget { .. })) => return Ok(false),
        Err(error) => return Err(asking.differs("expand", "a tree".into(), format!("{error:?}"))),
    };
    match fold(asking, view, &tree, subject) {
        Some(folded) if folded != wanted.value => {
            Err(asking.differs("expand", format!("{:?}", wanted.value), format!("{folded:?} of {tree:?}")))
        }
        folded => Ok(folded.is_some()),
    }
}

/// `None` where a caveat fails. Recursion is bounded by the depth of an expansion.
fn fold(asking: &Asking<'_>, view: &View<'_>, tree: &ExpandTree, subject: &SubjectRef) -> Option<Value> {
    let is_resource = subject.object_type == tree.resource.object_type
        && subject.object_id == tree.resource.object_id
        && !tree.member.is_empty();
    if is_resource && subject.relation.as_ref() == Some(&tree.member) {
        return Some(Value::Has);
    }
    let all = |trees: &[ExpandTree]| -> Option<Vec<Value>> {
        trees.iter().map(|t| fold(asking, view, t, subject)).collect()
    };
    match &tree.kind {
        ExpandKind::Leaf(subjects) => {
            let values: Option<Vec<Value>> =
                subjects.iter().map(|s| stands(asking, view, s, subject)).collect();
            Some(values?.into_iter().max().unwrap_or(Value::No))
        }
        ExpandKind::Union(trees) => Some(all(trees)?.into_iter().max().unwrap_or(Value::No)),
        ExpandKind::Intersection(trees) => Some(all(trees)?.into_iter().min().unwrap_or(Value::No)),
        ExpandKind::Exclusion(trees) => {
            let values = all(trees)?;
            Some(values.iter().skip(1).fold(*values.first()?, |base, minus| base.min(!*minus)))
        }
    }
}

fn stands(
    asking: &Asking<'_>,
    view: &View<'_>,
    found: &ExpandedSubject,
    subject: &SubjectRef,
) -> Option<Value> {
    let ExpandedSubject { subject: named, attributes } = found;
    if attributes.expires_at.is_some_and(|at| at <= asking.snapshot.instant) {
        return Some(Value::No);
    }
    let condition = match &attributes.caveat {
        None => Value::Has,
        Some(used) => {
            let caveat = asking.snapshot.plans.schema().caveat(&used.name)?;
            let mut budget = Budget { steps: 100_000, bytes: 1_000_000 };
            match caveat.evaluate(&used.context, asking.context, &mut budget).ok()? {
                Outcome::True => Value::Has,
                Outcome::False => Value::No,
                Outcome::Missing(names) => {
                    debug_assert_ne!(names, BTreeSet::new());
                    Value::Conditional
                }
            }
        }
    };
    let target = match &named.relation {
        Some(relation) => {
            let object = idhini_model::ResourceRef::new(&named.object_type, &named.object_id);
            view.check(&object, relation, subject).ok()?.value
        }
        None => {
            let same = named == subject
                || named.is_wildcard()
                    && named.object_type == subject.object_type
                    && subject.relation.is_none();
            if same { Value::Has } else { Value::No }
        }
    };
    Some(condition.min(target))
}
