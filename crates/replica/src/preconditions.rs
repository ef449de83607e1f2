//! Does what a request makes a condition hold, at the moment that the request is judged?
//!
//! # Invariants
//! * All is read from the graph that the request is judged against: what earlier requests of the same batch changed counts.
//! * Only a definite answer satisfies: a conditional one neither *has* nor *has not*. An error is an error of the request,
//!   never a condition that holds or fails.
//! * Filters look at a bounded number of edges and checks spend a bounded number, all of one request together, since all
//!   other writers wait; both stop when the request is no longer wanted.
//!
//! Cost: what the filters read and the checks visit.

use idhini_engine::{Answer, Check, EngineError, Limits, Permissionship, Progress, Question};

use crate::judge::{Bounds, PORTION_EDGES};
use crate::namespace::still;
use crate::published::Portion;
use crate::{Filter, PermissionQuestion, Precondition, Published, ReplicaError, check_filter};

/// Edges that a check visits between two questions whether the request is still wanted: a millisecond or so.
const PORTION_FUEL: u64 = 10_000;

/// Refuses filters that could never match.
pub(crate) fn check_filters(head: &Published, preconditions: &[Precondition]) -> Result<(), ReplicaError> {
    let schema = head.schema().map(AsRef::as_ref);
    preconditions.iter().filter_map(Precondition::filter).try_for_each(|filter| check_filter(filter, schema))
}

/// Refuses a request of which a precondition does not hold.
pub(crate) fn hold(
    head: &Published,
    bounds: &Bounds<'_>,
    preconditions: &[Precondition],
) -> Result<(), ReplicaError> {
    let (mut edges_left, mut cost_left) = (bounds.edges_max, bounds.cost_max);
    for precondition in preconditions {
        let failed = || Box::new(precondition.clone());
        match precondition {
            Precondition::MustMatch(filter) | Precondition::MustNotMatch(filter) => {
                let found = any(head, bounds, filter, &mut edges_left)?;
                if found != matches!(precondition, Precondition::MustMatch(_)) {
                    return Err(ReplicaError::PreconditionFailed { precondition: failed() });
                }
            }
            Precondition::MustHave(question) | Precondition::MustNotHave(question) => {
                let answer = answer(head, bounds, question, &mut cost_left)?;
                let wanted = match precondition {
                    Precondition::MustHave(_) => Permissionship::Has,
                    _ => Permissionship::No,
                };
                if answer.permissionship != wanted {
                    return Err(ReplicaError::PermissionPreconditionFailed {
                        precondition: failed(),
                        answer: Box::new(answer),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Whether anything matches.
fn any(
    head: &Published,
    bounds: &Bounds<'_>,
    filter: &Filter,
    edges_left: &mut u64,
) -> Result<bool, ReplicaError> {
    let mut after = None;
    loop {
        let portion = Portion { rows_max: 1, edges_max: PORTION_EDGES.min(*edges_left) };
        let page = head.read(filter, bounds.now, after, portion);
        bounds.charge(page.edges);
        let is_enough = page.edges <= *edges_left;
        *edges_left = edges_left.saturating_sub(page.edges);
        match page.next {
            _ if !page.rows.is_empty() => return Ok(true),
            None => return Ok(false),
            Some(next) if is_enough => after = Some(next),
            Some(_) => return Err(ReplicaError::PreconditionsTooWide { edges_max: bounds.edges_max }),
        }
        still(bounds.is_wanted)?;
    }
}

/// The answer to a check.
fn answer(
    head: &Published,
    bounds: &Bounds<'_>,
    asked: &PermissionQuestion,
    cost_left: &mut u64,
) -> Result<Answer, ReplicaError> {
    let PermissionQuestion { resource, permission, subject, context } = asked;
    let Some(snapshot) = head.snapshot(bounds.now) else {
        return Err(ReplicaError::UnknownDefinition { definition: resource.object_type.clone() });
    };
    let limits = Limits { cost_max: *cost_left, ..Limits::default() };
    let question = Question { resource, permission, subject, context };
    let mut check = Check::open(snapshot, question, limits)?;
    loop {
        let before = check.cost();
        let progress = check.advance(PORTION_FUEL);
        bounds.charge(check.cost() - before);
        match progress {
            Ok(Progress::Done(answer)) => {
                *cost_left = cost_left.saturating_sub(check.cost());
                return Ok(answer);
            }
            Ok(Progress::More) => still(bounds.is_wanted)?,
            Err(EngineError::Budget { .. }) => {
                return Err(ReplicaError::PreconditionsTooCostly { cost_max: bounds.cost_max });
            }
            Err(error) => return Err(error.into()),
        }
    }
}
