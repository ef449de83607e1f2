//! From a goal's bounds to an answer: which parameters are missing, or why is there none?
//!
//! Walks what the evaluator has finished and evaluates nothing anew but leaves. A node whose value is the point
//! *conditional* had all its children visited, since none of them decided it.
//!
//! # Invariants
//! * Only children that are themselves the point *conditional* contribute to what is missing.
//! * Each goal is walked once, so cycles end.
//!
//! Cost: O(edges of the conditional goals); paused between goals.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use idhini_caveat::EvaluationError;
use idhini_schema::{ArrowKind, ClassIndex, NodeIndex, PlanNode, PlanSubject};
use rustc_hash::FxBuildHasher;

use crate::broken::{Variant, is_broken};
use crate::conditions::Condition;
use crate::evaluate::{Evaluator, GoalKey};
use crate::question::UNNAMED_RESOURCE;
use crate::refuse::refusal;
use crate::value::Bounds;
use crate::{Answer, EngineError, Permissionship, Progress};

/// One goal being answered; resumable.
pub(crate) struct Inquiry {
    goal: GoalKey,
    walk: Option<Walk>,
}

/// The conditional goals below the asked one.
struct Walk {
    open: Vec<GoalKey>,
    seen: HashSet<GoalKey, FxBuildHasher>,
    missing: BTreeSet<String>,
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
        Inquiry { goal, walk: None }
    }

    /// Works on for about `fuel` edges.
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        fuel: u64,
    ) -> Result<Progress<Answer>, EngineError> {
        if self.walk.is_none() {
            let Progress::Done(bounds) = evaluator.advance(fuel)? else { return Ok(Progress::More) };
            if !bounds.is_point() && is_broken(Variant::NoAnswerIsDenial) {
                return Ok(Progress::Done(Answer {
                    permissionship: Permissionship::No,
                    missing: BTreeSet::new(),
                }));
            }
            if !bounds.is_point() {
                return Err(refusal(evaluator, self.goal));
            }
            if bounds.low != Permissionship::Conditional {
                return Ok(Progress::Done(Answer { permissionship: bounds.low, missing: BTreeSet::new() }));
            }
        }
        let goal = self.goal;
        let walk = self.walk.get_or_insert_with(|| Walk {
            open: vec![goal],
            seen: HashSet::from_iter([goal]),
            missing: BTreeSet::new(),
        });
        let end = evaluator.cost().saturating_add(fuel);
        while let Some(goal) = walk.open.pop() {
            for cause in causes(evaluator, goal, Bounds::CONDITIONAL)? {
                match cause {
                    Cause::Parameters(names) => walk.missing.extend(names.iter().cloned()),
                    Cause::Goal(below, _) if walk.seen.insert(below) => walk.open.push(below),
                    Cause::Goal(..) | Cause::Failure(_) => {}
                }
                if is_broken(Variant::MissingOfOneBranchOnly) {
                    break;
                }
            }
            if evaluator.cost() >= end && !walk.open.is_empty() {
                return Ok(Progress::More);
            }
        }
        let missing = std::mem::take(&mut walk.missing);
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

/// What of a goal's own rule has a value like the goal's: the point *conditional*, or (for `UNKNOWN`) no point.
pub(crate) fn causes(
    evaluator: &mut Evaluator<'_>,
    goal: GoalKey,
    like: Bounds,
) -> Result<Vec<Cause>, EngineError> {
    evaluator.charge(1)?;
    let mut walker = Walker { evaluator, object: goal.object, like, is_excluded: false, causes: Vec::new() };
    let node = walker.evaluator.snapshot.plans.node_of(goal.member);
    walker.node(node)?;
    Ok(walker.causes)
}

struct Walker<'w, 'a> {
    evaluator: &'w mut Evaluator<'a>,
    object: u32,
    like: Bounds,
    is_excluded: bool,
    causes: Vec<Cause>,
}

impl Walker<'_, '_> {
    fn is_like(&self, bounds: Bounds) -> bool {
        if self.like.is_point() { bounds == self.like } else { !bounds.is_point() }
    }

    /// A node's value; what its causes are is kept only if it is like what is looked for. Recursion follows the
    /// schema's nesting, which the parser bounds.
    fn node(&mut self, node: NodeIndex) -> Result<Option<Bounds>, EngineError> {
        let kept = self.causes.len();
        let plans = self.evaluator.snapshot.plans;
        let bounds = match &plans.plan.nodes[node as usize] {
            PlanNode::Nil | PlanNode::SelfObject(_) => self.decided(node),
            PlanNode::Member(member) => self.goal(GoalKey { member: *member, object: self.object }),
            PlanNode::Union(children) => {
                let mut bounds = Bounds::NO;
                for child in children {
                    bounds = bounds.or(self.node(*child)?.unwrap_or(Bounds::NO));
                }
                Some(bounds)
            }
            PlanNode::Intersection(children) => {
                let mut bounds = Bounds::HAS;
                for child in children {
                    bounds = bounds.and(self.node(*child)?.unwrap_or(Bounds::HAS));
                }
                Some(bounds)
            }
            PlanNode::Exclusion(base, excluded) => {
                let base = self.node(*base)?.unwrap_or(Bounds::NO);
                let was_excluded = std::mem::replace(&mut self.is_excluded, true);
                let excluded = self.node(*excluded)?.unwrap_or(Bounds::NO);
                self.is_excluded = was_excluded;
                Some(base.and(excluded.negated()))
            }
            PlanNode::Relation(classes) => Some(self.relation(classes)?),
            PlanNode::Arrow { kind, steps, .. } => {
                let mut bounds: Option<Bounds> = None;
                for step in steps {
                    let of_step = self.edges(step.class, step.target, *kind)?;
                    bounds = match (bounds, of_step, kind) {
                        (Some(a), Some(b), ArrowKind::Any) => Some(a.or(b)),
                        (Some(a), Some(b), ArrowKind::All) => Some(a.and(b)),
                        (a, b, _) => a.or(b),
                    };
                }
                Some(bounds.unwrap_or(Bounds::NO))
            }
        };
        let is_kept = bounds.is_some_and(|bounds| self.is_like(bounds));
        if !is_kept && !is_broken(Variant::MissingLeaksFromOtherBranches) {
            self.causes.truncate(kept);
        }
        Ok(bounds)
    }

    /// `nil` and `self` are never conditional; only whether `self` grants matters to its parents.
    fn decided(&self, node: NodeIndex) -> Option<Bounds> {
        let subject = self.evaluator.subject();
        Some(match self.evaluator.snapshot.plans.plan.nodes[node as usize] {
            PlanNode::SelfObject(object_type)
                if subject.member.is_none()
                    && subject.object == self.object
                    && subject.object_type == object_type =>
            {
                Bounds::HAS
            }
            _ => Bounds::NO,
        })
    }

    /// A goal's value, if it was visited; remembers the goal if its value is like what is looked for.
    fn goal(&mut self, goal: GoalKey) -> Option<Bounds> {
        let (bounds, _) = self.evaluator.known(goal)?;
        if self.is_like(bounds) {
            self.causes.push(Cause::Goal(goal, self.is_excluded));
        }
        Some(bounds)
    }

    fn relation(&mut self, classes: &[ClassIndex]) -> Result<Bounds, EngineError> {
        let plans = self.evaluator.snapshot.plans;
        let mut bounds = Bounds::NO;
        for &class in classes {
            if let Some(subject) = self.evaluator.direct_subject(class)
                && self.evaluator.holds(class, self.object, subject)
                && let Some(edge) = self.edge(class, subject)?
            {
                bounds = bounds.or(edge);
            }
            if let PlanSubject::Userset(target) = plans.plan.classes[class as usize].subject
                && let Some(of_class) = self.edges(class, target, ArrowKind::Any)?
            {
                bounds = bounds.or(of_class);
            }
        }
        Ok(bounds)
    }

    /// Edges of a class with their targets; `None` if there is no live one.
    fn edges(
        &mut self,
        class: ClassIndex,
        target: u32,
        kind: ArrowKind,
    ) -> Result<Option<Bounds>, EngineError> {
        if self.object >= UNNAMED_RESOURCE {
            return Ok(None);
        }
        let snapshot = self.evaluator.snapshot;
        let mut all: Option<Bounds> = None;
        for subject in snapshot.root.subjects(snapshot.plans.class_ids[class as usize], self.object).iter() {
            let kept = self.causes.len();
            let Some(edge) = self.edge(class, subject)? else { continue };
            let target = match edge {
                Bounds::NO => Bounds::NO,
                _ => self.goal(GoalKey { member: target, object: subject }).unwrap_or(Bounds::NO),
            };
            let bounds = edge.and(target);
            if !self.is_like(bounds) && !is_broken(Variant::MissingLeaksFromOtherBranches) {
                self.causes.truncate(kept);
            }
            all = Some(match (all, kind) {
                (None, _) => bounds,
                (Some(all), ArrowKind::Any) => all.or(bounds),
                (Some(all), ArrowKind::All) => all.and(bounds),
            });
        }
        Ok(all)
    }

    /// An edge's value, `None` if expired; remembers its condition if that is like what is looked for.
    fn edge(&mut self, class: ClassIndex, subject: u32) -> Result<Option<Bounds>, EngineError> {
        self.evaluator.charge(1)?;
        let conditions = &mut self.evaluator.conditions;
        let Some(attributes) = conditions.live(class, self.object, subject) else { return Ok(None) };
        let Some(caveat) = attributes.and_then(|a| a.caveat.as_ref()) else { return Ok(Some(Bounds::HAS)) };
        let condition = conditions.condition(caveat).clone();
        let bounds = condition.bounds();
        match condition {
            Condition::Missing(names) if self.is_like(bounds) => self.causes.push(Cause::Parameters(names)),
            Condition::Failed(error) if self.is_like(bounds) => self.causes.push(Cause::Failure(error)),
            _ => {}
        }
        Ok(Some(bounds))
    }
}
