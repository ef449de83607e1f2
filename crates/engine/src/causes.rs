//! What of a goal's rule makes the goal conditional, or leaves it without a value?
//!
//! Surveys the rule, then goes down from its root through the nodes whose value is like the goal's, edge by edge.
//! Resumable, since one relation may hold millions of such edges.
//!
//! Cost: O(edges of the goal's rule) for the survey and one more for each edge that is like the goal, charged to the
//! question.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use idhini_caveat::EvaluationError;
use idhini_schema::{NodeIndex, PlanNode};

use crate::broken::{Variant, is_broken};
use crate::conditions::Condition;
use crate::evaluate::{Evaluator, GoalKey};
use crate::survey::{FoundEdge, Keep, Survey};
use crate::value::Bounds;
use crate::{EngineError, Progress};

/// What of a rule is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Like {
    Conditional,
    /// Without a value.
    Undefined,
}

/// What makes a node conditional, or leaves it undefined.
#[derive(Debug)]
pub(crate) enum Cause {
    Parameters(Arc<BTreeSet<String>>),
    Failure(EvaluationError),
    /// And whether it stands behind a `-`.
    Goal(GoalKey, bool),
}

/// The causes that one edge has: its caveat, its target, or both, in this order. A node has at most one.
pub(crate) type CausesOfEdge = [Option<Cause>; 2];

/// The causes of one goal; resumable.
pub(crate) struct Causes {
    survey: Survey,
    is_surveyed: bool,
    like: Like,
    /// Nodes still to be looked at, the next one last, each with whether it stands behind a `-`.
    open: Vec<(NodeIndex, bool)>,
    /// Edges of the running node still to be looked at.
    edges: Range<usize>,
    is_excluded: bool,
}

impl Like {
    fn is_met(self, bounds: Option<Bounds>) -> bool {
        match self {
            Like::Conditional => bounds == Some(Bounds::CONDITIONAL),
            Like::Undefined => bounds.is_some_and(|bounds| !bounds.is_point()),
        }
    }

    /// A survey that remembers the edges that may be causes.
    fn survey(self, evaluator: &Evaluator<'_>, goal: GoalKey) -> Survey {
        let is_kept: fn(Bounds) -> bool = match self {
            _ if is_broken(Variant::MissingLeaksFromOtherBranches) => |_| true,
            Like::Conditional => |bounds| bounds == Bounds::CONDITIONAL,
            Like::Undefined => |bounds| !bounds.is_point(),
        };
        Survey::open(evaluator, goal, Keep::If(is_kept))
    }
}

impl Causes {
    pub(crate) fn open(evaluator: &Evaluator<'_>, goal: GoalKey, like: Like) -> Causes {
        let root = evaluator.snapshot.plans.node_of(goal.member);
        let survey = like.survey(evaluator, goal);
        Causes {
            survey,
            is_surveyed: false,
            like,
            open: vec![(root, false)],
            edges: 0..0,
            is_excluded: false,
        }
    }

    /// Looks on until there is something, or nothing more (`None`), or the cost reaches `end`.
    ///
    /// # Errors
    /// [`EngineError::Budget`].
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        end: u64,
    ) -> Result<Progress<Option<CausesOfEdge>>, EngineError> {
        if !self.is_surveyed {
            if !self.survey.advance(evaluator, end)? {
                return Ok(Progress::More);
            }
            self.is_surveyed = true;
        }
        loop {
            if evaluator.cost() >= end {
                return Ok(Progress::More);
            }
            let found = if let Some(edge) = self.edges.next() {
                evaluator.charge(1)?;
                self.survey.edge(edge).map(|edge| self.edge(evaluator, edge))
            } else if let Some((node, is_excluded)) = self.open.pop() {
                self.node(evaluator, node, is_excluded).map(|cause| [Some(cause), None])
            } else {
                return Ok(Progress::Done(None));
            };
            if found.is_some() {
                return Ok(Progress::Done(found));
            }
        }
    }

    /// Opens what a node consists of, if it is like the goal. The survey has charged for it.
    fn node(&mut self, evaluator: &mut Evaluator<'_>, node: NodeIndex, is_excluded: bool) -> Option<Cause> {
        let found = self.survey.of(node);
        if !self.like.is_met(found.bounds) && !is_broken(Variant::MissingLeaksFromOtherBranches) {
            return None;
        }
        let plans = evaluator.snapshot.plans;
        match &plans.plan.nodes[node as usize] {
            PlanNode::Nil | PlanNode::SelfObject(_) => {}
            PlanNode::Member(member) => {
                let goal = GoalKey { member: *member, object: self.survey.goal().object };
                return self.goal(evaluator, goal, is_excluded);
            }
            PlanNode::Union(children) | PlanNode::Intersection(children) => {
                self.open.extend(children.iter().rev().map(|child| (*child, is_excluded)));
            }
            PlanNode::Exclusion(base, excluded) => {
                self.open.extend([(*excluded, true), (*base, is_excluded)]);
            }
            PlanNode::Relation(_) | PlanNode::Arrow { .. } => {
                self.edges = found.edges;
                self.is_excluded = is_excluded;
            }
        }
        None
    }

    fn edge(&self, evaluator: &mut Evaluator<'_>, edge: FoundEdge) -> CausesOfEdge {
        let condition = self.condition(evaluator, edge);
        [condition, edge.target.and_then(|target| self.goal(evaluator, target, self.is_excluded))]
    }

    /// A goal below, if its own value is like what is looked for.
    fn goal(&self, evaluator: &mut Evaluator<'_>, goal: GoalKey, is_excluded: bool) -> Option<Cause> {
        let bounds = evaluator.known(goal).map(|(bounds, _)| bounds);
        self.like.is_met(bounds).then_some(Cause::Goal(goal, is_excluded))
    }

    /// The caveat of an edge, if its own outcome is like what is looked for.
    fn condition(&self, evaluator: &mut Evaluator<'_>, edge: FoundEdge) -> Option<Cause> {
        let conditions = &mut evaluator.conditions;
        let attributes = conditions.live(edge.class, self.survey.goal().object, edge.subject).flatten();
        let caveat = attributes.and_then(|a| a.caveat.as_ref())?;
        match conditions.condition(caveat) {
            Condition::Missing(names) if self.like == Like::Conditional => {
                Some(Cause::Parameters(Arc::clone(names)))
            }
            Condition::Failed(error) if self.like == Like::Undefined => Some(Cause::Failure(error.clone())),
            _ => None,
        }
    }
}
