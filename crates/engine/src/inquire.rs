//! From a goal's bounds to an answer: which parameters are missing, or why is there none?
//!
//! Walks what the evaluator has finished, one goal's [`Survey`] after the other. A node whose value is the point
//! *conditional* had all its children visited, since none of them decided it.
//!
//! # Invariants
//! * Only children that are themselves the point *conditional* contribute to what is missing.
//! * Each goal is walked once, so cycles end.
//!
//! Cost: O(edges of the conditional goals), charged to the question.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use idhini_caveat::EvaluationError;
use idhini_schema::{NodeIndex, PlanNode};
use rustc_hash::FxBuildHasher;

use crate::broken::{Variant, is_broken};
use crate::conditions::Condition;
use crate::evaluate::{Evaluator, GoalKey};
use crate::question::UNNAMED_RESOURCE;
use crate::refuse::Refusing;
use crate::survey::{Keep, Survey};
use crate::value::Bounds;
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
}

/// The conditional goals below the asked one.
struct Naming {
    open: Vec<GoalKey>,
    running: Option<Survey>,
    seen: HashSet<GoalKey, FxBuildHasher>,
    missing: BTreeSet<String>,
}

/// What of a rule is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Like {
    Conditional,
    /// Without a value.
    Undefined,
}

impl Like {
    fn is_met(self, bounds: Option<Bounds>) -> bool {
        match self {
            Like::Conditional => bounds == Some(Bounds::CONDITIONAL),
            Like::Undefined => bounds.is_some_and(|bounds| !bounds.is_point()),
        }
    }

    /// A survey that remembers what [`causes`] needs.
    pub(crate) fn survey(self, evaluator: &Evaluator<'_>, goal: GoalKey) -> Survey {
        let is_kept: fn(Bounds) -> bool = match self {
            _ if is_broken(Variant::MissingLeaksFromOtherBranches) => |_| true,
            Like::Conditional => |bounds| bounds == Bounds::CONDITIONAL,
            Like::Undefined => |bounds| !bounds.is_point(),
        };
        Survey::open(evaluator, goal, Keep::If(is_kept))
    }
}

/// What makes a node conditional, or leaves it undefined.
pub(crate) enum Cause {
    Parameters(Arc<BTreeSet<String>>),
    Failure(EvaluationError),
    /// And whether it stands behind a `-`.
    Goal(GoalKey, bool),
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
        }
    }
}

impl Naming {
    fn open(goal: GoalKey) -> Naming {
        Naming { open: vec![goal], running: None, seen: HashSet::from_iter([goal]), missing: BTreeSet::new() }
    }

    fn advance(&mut self, evaluator: &mut Evaluator<'_>, end: u64) -> Result<Progress<Answer>, EngineError> {
        while let Some(mut survey) =
            self.running.take().or_else(|| Some(Like::Conditional.survey(evaluator, self.open.pop()?)))
        {
            if !survey.advance(evaluator, end)? {
                self.running = Some(survey);
                return Ok(Progress::More);
            }
            for cause in causes(evaluator, &survey, Like::Conditional) {
                match cause {
                    Cause::Parameters(names) => self.missing.extend(names.iter().cloned()),
                    Cause::Goal(below, _) if self.seen.insert(below) => self.open.push(below),
                    Cause::Goal(..) | Cause::Failure(_) => {}
                }
                if is_broken(Variant::MissingOfOneBranchOnly) {
                    break;
                }
            }
        }
        let missing = std::mem::take(&mut self.missing);
        Ok(Progress::Done(Answer { permissionship: Permissionship::Conditional, missing }))
    }
}

/// A goal as text for people.
pub(crate) fn goal_name(evaluator: &Evaluator<'_>, goal: GoalKey) -> String {
    let plans = evaluator.snapshot.plans;
    let object_type = plans.type_of(goal.member);
    let id = match goal.object {
        object if object >= UNNAMED_RESOURCE => "(unnamed)",
        object => evaluator.snapshot.root.object_id(plans.type_ids[object_type as usize], object),
    };
    format!(
        "{}:{id}#{}",
        plans.plan.types[object_type as usize].name, plans.plan.members[goal.member as usize].name
    )
}

/// What of a surveyed goal's rule has a value like the goal's.
pub(crate) fn causes(evaluator: &mut Evaluator<'_>, survey: &Survey, like: Like) -> Vec<Cause> {
    let root = evaluator.snapshot.plans.node_of(survey.goal().member);
    let mut finder = Finder { evaluator, survey, like, causes: Vec::new() };
    finder.node(root, false);
    finder.causes
}

struct Finder<'f, 'a> {
    evaluator: &'f mut Evaluator<'a>,
    survey: &'f Survey,
    like: Like,
    causes: Vec<Cause>,
}

impl Finder<'_, '_> {
    fn is_like(&self, bounds: Option<Bounds>) -> bool {
        self.like.is_met(bounds) || is_broken(Variant::MissingLeaksFromOtherBranches)
    }

    /// What is like the goal in a node, and whether it stands behind a `-`. Recursion follows the schema's nesting,
    /// which the parser bounds.
    fn node(&mut self, node: NodeIndex, is_excluded: bool) {
        let found = self.survey.of(node);
        if !self.is_like(found.bounds) {
            return;
        }
        let plans = self.evaluator.snapshot.plans;
        match &plans.plan.nodes[node as usize] {
            PlanNode::Nil | PlanNode::SelfObject(_) => {}
            PlanNode::Member(member) => {
                self.goal(GoalKey { member: *member, object: self.survey.goal().object }, is_excluded);
            }
            PlanNode::Union(children) | PlanNode::Intersection(children) => {
                for child in children {
                    self.node(*child, is_excluded);
                }
            }
            PlanNode::Exclusion(base, excluded) => {
                self.node(*base, is_excluded);
                self.node(*excluded, true);
            }
            PlanNode::Relation(_) | PlanNode::Arrow { .. } => {
                for edge in self.survey.edges(&found) {
                    self.condition(edge.class, edge.subject);
                    if let Some(target) = edge.target {
                        self.goal(target, is_excluded);
                    }
                }
            }
        }
    }

    /// A goal below, if its own value is like what is looked for.
    fn goal(&mut self, goal: GoalKey, is_excluded: bool) {
        let bounds = self.evaluator.known(goal).map(|(bounds, _)| bounds);
        if self.like.is_met(bounds) {
            self.causes.push(Cause::Goal(goal, is_excluded));
        }
    }

    /// The caveat of an edge, if its own outcome is like what is looked for.
    fn condition(&mut self, class: u32, subject: u32) {
        let conditions = &mut self.evaluator.conditions;
        let attributes = conditions.live(class, self.survey.goal().object, subject).flatten();
        let Some(caveat) = attributes.and_then(|a| a.caveat.as_ref()) else { return };
        let condition = conditions.condition(caveat).clone();
        match condition {
            Condition::Missing(names) if self.like == Like::Conditional => {
                self.causes.push(Cause::Parameters(names));
            }
            Condition::Failed(error) if self.like == Like::Undefined => {
                self.causes.push(Cause::Failure(error));
            }
            _ => {}
        }
    }
}
