//! Does an edge count? Its expiration against the instant, its caveat against the context.
//!
//! # Invariants
//! * An expired edge is absent.
//! * A caveat is evaluated once per (caveat, stored context) and evaluation: outcomes are kept by the identity of the
//!   stored [`CaveatUse`], which the borrowed root keeps alive.
//! * A caveat that fails bounds its edge by no and has: it fails the question only if the answer depends on it.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use idhini_caveat::{Budget, EvaluationError, Outcome};
use idhini_graph::EdgeAttributes;
use idhini_model::{CaveatUse, Context};
use idhini_schema::ClassIndex;
use rustc_hash::FxBuildHasher;

use crate::Snapshot;
use crate::broken::{Variant, is_broken};
use crate::until::{Moments, Until};
use crate::value::Bounds;

/// What one evaluation of one caveat may spend, unless its question says less.
pub const CAVEAT_BUDGET: Budget = Budget { steps: 100_000, bytes: 1 << 20 };

/// Whether unconditional edges are wanted, or those with a caveat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Unconditional,
    Conditional,
}

/// What a pass finds of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Expired, or of an earlier pass.
    Skipped,
    /// It has a caveat, so it belongs to the conditional pass.
    Deferred,
    /// It counts this much; `NO` for a caveat that is false.
    Counts(Bounds),
}

/// What a caveat said.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    True,
    False,
    Missing(Arc<BTreeSet<String>>),
    Failed(EvaluationError),
}

impl Condition {
    pub(crate) fn bounds(&self) -> Bounds {
        match self {
            Condition::True => Bounds::HAS,
            Condition::False => Bounds::NO,
            Condition::Missing(_) if is_broken(Variant::ConditionsGrant) => Bounds::HAS,
            Condition::Missing(_) => Bounds::CONDITIONAL,
            Condition::Failed(_) if is_broken(Variant::FailedCaveatGrants) => Bounds::HAS,
            Condition::Failed(_) if is_broken(Variant::FailedCaveatDenies) => Bounds::NO,
            Condition::Failed(_) => Bounds::UNKNOWN,
        }
    }
}

pub(crate) struct Conditions<'a> {
    snapshot: Snapshot<'a>,
    context: &'a Context,
    /// Of one evaluation of one caveat.
    budget: Budget,
    outcomes: HashMap<usize, Condition, FxBuildHasher>,
    /// Steps spent since last taken, in edges.
    steps: u64,
    /// The first caveat that failed on an edge that was judged, until that is forgotten.
    failed: Option<&'a Arc<CaveatUse>>,
    /// When the edges expire that were judged, and the last of them.
    pub(crate) moments: Moments,
    judged: Until,
}

impl<'a> Conditions<'a> {
    pub(crate) fn new(snapshot: Snapshot<'a>, context: &'a Context, budget: Budget) -> Conditions<'a> {
        Conditions {
            snapshot,
            context,
            budget,
            outcomes: HashMap::default(),
            steps: 0,
            failed: None,
            moments: Moments::default(),
            judged: Until::NEVER,
        }
    }

    pub(crate) fn context(&self) -> &'a Context {
        self.context
    }

    /// What was spent on caveats since this was last asked.
    pub(crate) fn take_steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    /// Live attributes: outer `None` if the edge is expired, inner if it has none.
    pub(crate) fn live(
        &self,
        class: ClassIndex,
        resource: u32,
        subject: u32,
    ) -> Option<Option<&'a EdgeAttributes>> {
        let class = self.snapshot.plans.class_ids[class as usize];
        if !self.snapshot.root.has_attributes(class) {
            return Some(None);
        }
        let attributes = self.snapshot.root.attributes(class, resource, subject);
        match attributes.and_then(|a| a.expires_at) {
            Some(_) if is_broken(Variant::ExpirationIsIgnored) => Some(attributes),
            Some(at) if at == self.snapshot.instant && is_broken(Variant::ExpirationIsLate) => {
                Some(attributes)
            }
            Some(at) if at <= self.snapshot.instant => None,
            _ => Some(attributes),
        }
    }

    /// Judges an edge that the graph holds.
    pub(crate) fn edge(&mut self, class: ClassIndex, resource: u32, subject: u32, pass: Pass) -> Edge {
        let Some(attributes) = self.live(class, resource, subject) else { return Edge::Skipped };
        self.judged = match attributes.and_then(|a| a.expires_at) {
            None => Until::NEVER,
            Some(at) => self.moments.add(at),
        };
        match (attributes.and_then(|a| a.caveat.as_ref()), pass) {
            (None, Pass::Unconditional) => Edge::Counts(Bounds::HAS),
            (None, Pass::Conditional) => Edge::Skipped,
            (Some(_), Pass::Unconditional) => Edge::Deferred,
            (Some(caveat), Pass::Conditional) => {
                let condition = self.condition(caveat);
                let (bounds, is_failed) = (condition.bounds(), matches!(condition, Condition::Failed(_)));
                if is_failed {
                    self.failed.get_or_insert(caveat);
                }
                Edge::Counts(bounds)
            }
        }
    }

    /// When the live edge that was judged last expires.
    pub(crate) fn judged(&self) -> Until {
        self.judged
    }

    /// How the first caveat failed that did so in the judging of edges, pass by pass.
    pub(crate) fn failure(&mut self) -> Option<EvaluationError> {
        match self.condition(self.failed?) {
            Condition::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Forgets that a caveat failed; its outcome is kept.
    pub(crate) fn forget_failure(&mut self) {
        self.failed = None;
    }

    /// Judges an edge in one go; `None` if it is expired.
    pub(crate) fn whole_edge(&mut self, class: ClassIndex, resource: u32, subject: u32) -> Option<Bounds> {
        let attributes = self.live(class, resource, subject)?;
        Some(match attributes.and_then(|a| a.caveat.as_ref()) {
            None => Bounds::HAS,
            Some(caveat) => self.condition(caveat).bounds(),
        })
    }

    /// What a stored caveat says under this context.
    pub(crate) fn condition(&mut self, caveat: &Arc<CaveatUse>) -> &Condition {
        let key = match is_broken(Variant::OutcomesAreKeptByName) {
            true => FxBuildHasher.hash_one(&caveat.name) as usize,
            false => Arc::as_ptr(caveat) as usize,
        };
        let (snapshot, context, steps) = (self.snapshot, self.context, &mut self.steps);
        let whole = self.budget;
        self.outcomes.entry(key).or_insert_with(|| {
            let mut budget = whole;
            let outcome = match snapshot.plans.schema.caveat(&caveat.name) {
                Some(compiled) if is_broken(Variant::RequestContextWins) => {
                    compiled.evaluate(context, &caveat.context, &mut budget)
                }
                Some(compiled) => compiled.evaluate(&caveat.context, context, &mut budget),
                // INVARIANT: a schema entry that drops a caveat in use is refused.
                None => Err(EvaluationError::Failed {
                    caveat: caveat.name.clone(),
                    message: "the schema does not define it".to_owned(),
                }),
            };
            *steps += whole.steps.saturating_sub(budget.steps).max(1);
            match outcome {
                Ok(Outcome::True) => Condition::True,
                Ok(Outcome::False) => Condition::False,
                Ok(Outcome::Missing(names)) => Condition::Missing(Arc::new(names)),
                Err(error) => Condition::Failed(error),
            }
        })
    }
}
