//! From a goal's bounds to an answer: which parameters are missing, or why is there none?
//!
//! Walks what the evaluator has finished, one goal's [`Causes`] after the other. A node whose value is the point
//! *conditional* had all its children visited, since none of them decided it.
//!
//! # Invariants
//! * Only children that are themselves the point *conditional* contribute to what is missing.
//! * Each goal is walked once, so cycles end.
//! * What a question came to it keeps: asked again, it says the same.
//!
//! Cost: O(edges of the conditional goals), charged to the question.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::broken::{Variant, is_broken};
use crate::causes::{Cause, Causes, Like};
use crate::evaluate::{Evaluator, GoalKey};
use crate::refuse::Refusing;
use crate::{Answer, EngineError, Permissionship, Progress};

/// One goal being answered; resumable.
pub(crate) struct Inquiry {
    goal: GoalKey,
    phase: Phase,
}

enum Phase {
    Evaluating,
    /// Its value is *conditional*: what is missing?
    Naming(Box<Naming>),
    /// It has no value: why?
    Refusing(Box<Refusing>),
    Ended(Result<Answer, EngineError>),
}

/// The conditional goals below the asked one.
struct Naming {
    open: Vec<GoalKey>,
    running: Option<Causes>,
    seen: HashSet<GoalKey, FxBuildHasher>,
    missing: BTreeSet<String>,
    /// Which sets of parameters are in `missing` already: thousands of edges may share one. By address, as
    /// the outcomes of caveats are kept for as long as the evaluator is.
    named: HashSet<usize, FxBuildHasher>,
}

impl Inquiry {
    /// Asks the evaluator.
    pub(crate) fn open(evaluator: &mut Evaluator<'_>, goal: GoalKey) -> Inquiry {
        evaluator.ask(goal);
        Inquiry { goal, phase: Phase::Evaluating }
    }

    /// Works on for about `fuel` edges.
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        fuel: u64,
    ) -> Result<Progress<Answer>, EngineError> {
        let progress = self.work(evaluator, fuel);
        match &progress {
            Ok(Progress::More) => {}
            Ok(Progress::Done(answer)) => self.phase = Phase::Ended(Ok(answer.clone())),
            Err(error) => self.phase = Phase::Ended(Err(error.clone())),
        }
        progress
    }

    /// The answer's value, once there is one.
    pub(crate) fn permissionship(&self) -> Option<Permissionship> {
        match &self.phase {
            Phase::Ended(Ok(answer)) => Some(answer.permissionship),
            _ => None,
        }
    }

    fn work(&mut self, evaluator: &mut Evaluator<'_>, fuel: u64) -> Result<Progress<Answer>, EngineError> {
        let end = evaluator.cost().saturating_add(fuel);
        if let Phase::Evaluating = self.phase {
            let Progress::Done(bounds) = evaluator.advance(fuel)? else { return Ok(Progress::More) };
            let decided = |permissionship| Answer { permissionship, missing: BTreeSet::new() };
            match bounds.low {
                _ if !bounds.is_point() && is_broken(Variant::NoAnswerIsDenial) => {
                    return Ok(Progress::Done(decided(Permissionship::No)));
                }
                _ if !bounds.is_point() => self.phase = Phase::Refusing(Box::new(Refusing::open(self.goal))),
                Permissionship::Conditional => self.phase = Phase::Naming(Box::new(Naming::open(self.goal))),
                value => return Ok(Progress::Done(decided(value))),
            }
        }
        match &mut self.phase {
            Phase::Evaluating => Ok(Progress::More),
            Phase::Naming(naming) => naming.advance(evaluator, end),
            Phase::Refusing(refusing) => match refusing.advance(evaluator, end)? {
                Progress::Done(refusal) => Err(refusal),
                Progress::More => Ok(Progress::More),
            },
            Phase::Ended(ended) => ended.clone().map(Progress::Done),
        }
    }
}

impl Naming {
    fn open(goal: GoalKey) -> Naming {
        Naming {
            open: vec![goal],
            running: None,
            seen: HashSet::from_iter([goal]),
            missing: BTreeSet::new(),
            named: HashSet::default(),
        }
    }

    fn advance(&mut self, evaluator: &mut Evaluator<'_>, end: u64) -> Result<Progress<Answer>, EngineError> {
        while let Some(mut causes) =
            self.running.take().or_else(|| Some(Causes::open(evaluator, self.open.pop()?, Like::Conditional)))
        {
            match causes.advance(evaluator, end)? {
                Progress::More => {
                    self.running = Some(causes);
                    return Ok(Progress::More);
                }
                Progress::Done(None) => {}
                Progress::Done(Some(found)) => {
                    for cause in found.into_iter().flatten() {
                        self.take(evaluator, cause)?;
                        if is_broken(Variant::MissingOfOneBranchOnly) {
                            break;
                        }
                    }
                    self.running = Some(causes).filter(|_| !is_broken(Variant::MissingOfOneBranchOnly));
                }
            }
        }
        let missing = std::mem::take(&mut self.missing);
        Ok(Progress::Done(Answer { permissionship: Permissionship::Conditional, missing }))
    }

    fn take(&mut self, evaluator: &mut Evaluator<'_>, cause: Cause) -> Result<(), EngineError> {
        match cause {
            Cause::Parameters(names) if self.named.insert(Arc::as_ptr(&names).addr()) => {
                evaluator.charge(names.len() as u64)?;
                self.missing.extend(names.iter().cloned());
            }
            Cause::Goal(below, _) if self.seen.insert(below) => self.open.push(below),
            Cause::Parameters(_) | Cause::Goal(..) | Cause::Failure(_) => {}
        }
        Ok(())
    }
}

/// A goal as text for people.
pub(crate) fn goal_name(evaluator: &Evaluator<'_>, goal: GoalKey) -> String {
    let plans = evaluator.snapshot.plans;
    let object_type = &plans.plan.types[plans.type_of(goal.member) as usize].name;
    let id = evaluator.object_id(goal).unwrap_or("(unnamed)");
    format!("{object_type}:{id}#{}", plans.plan.members[goal.member as usize].name)
}
