//! What is the value of a goal? One evaluator for every call: goals are members of objects, asked for one subject.
//!
//! Depth first over an explicit stack of frames, one per node of a rule that is being worked on. A goal that rests on
//! an unfinished one leaves a gate (see [`crate::solve`]); when the first goal of a component returns, its gates are
//! solved together. A goal whose bounds meet before that is finished at once: nothing unfinished can change it.
//!
//! # Invariants
//! * Every edge read is from the snapshot the evaluator was opened on.
//! * Only `Done` goals are constants to others. What is provisional goes into gates and is never negated or reused.
//! * `goals` are numbered in the order of activation, so a goal's number is its index in Tarjan's sense.
//! * `cost` rises with each edge, frame and gate visited and never falls, so every question ends.
//!
//! Cost: O(edges visited).
//! Source: Zanzibar (USENIX ATC 2019), section 3.2.3; Tarjan, "Depth-first search and linear graph algorithms" (1972).

mod step;

use std::collections::HashMap;

use idhini_model::{Context, Timestamp, WILDCARD};
use idhini_schema::{ClassIndex, MemberIndex, NodeIndex, PlanNode, PlanSubject};
use rustc_hash::FxBuildHasher;

use crate::broken::{Variant, is_broken};
use crate::conditions::{Conditions, Edge, Pass};
use crate::question::{BoundSubject, UNNAMED_RESOURCE};
use crate::solve::{GateIndex, GateKind, Gates, GatesMark, Solver};
use crate::until::Until;
use crate::value::Bounds;
use crate::{EngineError, Limits, Permissionship, Progress, Snapshot};

/// A member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GoalKey {
    pub(crate) member: MemberIndex,
    pub(crate) object: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoalState {
    /// Its frame is on the stack.
    Open,
    /// Its frame is gone, its component is not complete.
    Pending,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Goal {
    state: GoalState,
    bounds: Bounds,
    gate: GateIndex,
    /// Later than the rank of whatever a grant of this goal rests on.
    rank: u32,
    until: Until,
}

/// What a child tells its parent.
#[derive(Debug, Clone, Copy)]
struct Returned {
    bounds: Bounds,
    /// Set while the value may still change.
    gate: Option<GateIndex>,
    /// The lowest unfinished goal that was met.
    lowest: u32,
    /// Of a value that may still change it means nothing.
    until: Until,
}

const NO_GOAL: u32 = u32::MAX;
/// How many of the goals are told that were being evaluated when a budget ended.
const INTERRUPTED_MAX: usize = 16;

/// A node being evaluated on an object.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: NodeIndex,
    object: u32,
    /// The goal whose rule this node is the root of, or `NO_GOAL`.
    goal: u32,
    /// Which child, class or step is next.
    position: u32,
    /// Which edge of the class is next.
    edge_position: u32,
    pass: Pass,
    /// Whether an edge was put off to the conditional pass.
    has_deferred: bool,
    /// Whether `.all` met a live edge.
    has_met: bool,
    /// The value of the edge whose target is being asked.
    edge: Bounds,
    edge_until: Until,
    /// Everything so far, and the part of it that cannot change any more.
    bounds: Bounds,
    fixed: Bounds,
    until: Until,
    lowest: u32,
    scratch_start: u32,
    unfinished_start: u32,
    mark: GatesMark,
}

enum Step {
    Complete,
    Ask(Frame),
    Pause,
}

enum Resolved {
    Known(Returned),
    Fresh(Frame),
}

/// Evaluates goals of one subject, in one context, on one snapshot; what it has found it remembers.
pub(crate) struct Evaluator<'a> {
    pub(crate) snapshot: Snapshot<'a>,
    pub(crate) conditions: Conditions<'a>,
    subject: BoundSubject,
    /// The number of `*` among the subject's type.
    wildcard: Option<u32>,
    cost_max: u64,
    /// The cost at which the running question is over its budget, and at which the running portion ends.
    cost_end: u64,
    pause_at: u64,
    cost: u64,
    memo: HashMap<GoalKey, u32, FxBuildHasher>,
    goals: Vec<Goal>,
    frames: Vec<Frame>,
    gates: Gates,
    /// Gates of children of open frames, each frame's behind its parent's.
    scratch: Vec<GateIndex>,
    /// Pending goals in order of completion.
    unfinished: Vec<u32>,
    solver: Option<Solver>,
    clock: u32,
    result: Option<Bounds>,
    /// Of the last result.
    until: Until,
    /// Whether a goal was finished as conditional while one that it depends on was not: what is missing for it may be named
    /// through edges that were not judged then.
    is_named_later: bool,
    /// Whether all questions together may spend `cost_max`, or each.
    shares_budget: bool,
    /// What was being evaluated when the budget ended, outermost first.
    interrupted: Vec<GoalKey>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        snapshot: Snapshot<'a>,
        context: &'a Context,
        subject: BoundSubject,
        limits: Limits,
    ) -> Evaluator<'a> {
        Evaluator {
            snapshot,
            conditions: Conditions::new(snapshot, context, limits.caveat_budget),
            subject,
            wildcard: snapshot.object(subject.object_type, WILDCARD),
            cost_max: limits.cost_max,
            cost_end: limits.cost_max,
            pause_at: 0,
            cost: 0,
            memo: HashMap::default(),
            goals: Vec::new(),
            frames: Vec::new(),
            gates: Gates::default(),
            scratch: Vec::new(),
            unfinished: Vec::new(),
            solver: None,
            clock: 0,
            result: None,
            until: Until::NEVER,
            is_named_later: false,
            shares_budget: false,
            interrupted: Vec::new(),
        }
    }

    /// From now on all questions together may spend what each might have.
    pub(crate) fn share_budget(&mut self) {
        self.shares_budget = true;
        self.cost_end = self.cost.saturating_add(self.cost_max);
    }

    pub(crate) fn subject(&self) -> BoundSubject {
        self.subject
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// Forgets all goals and turns to another subject of the same type; caveats' outcomes are kept.
    pub(crate) fn turn_to(&mut self, subject: BoundSubject) {
        self.subject = subject;
        if is_broken(Variant::MemoKeepsOtherSubject) {
            return;
        }
        self.forget();
    }

    /// Forgets all goals, finished or not.
    pub(crate) fn forget(&mut self) {
        self.memo.clear();
        self.goals.clear();
        self.frames.clear();
        self.gates.clear();
        self.scratch.clear();
        self.unfinished.clear();
        self.solver = None;
        self.result = None;
        self.clock = 0;
        self.conditions.forget_failure();
    }

    /// Opens a question; [`Evaluator::advance`] answers it.
    pub(crate) fn ask(&mut self, goal: GoalKey) {
        if !self.shares_budget {
            self.cost_end = self.cost.saturating_add(self.cost_max);
        }
        match self.resolve(goal) {
            Resolved::Known(returned) => self.end(returned),
            Resolved::Fresh(frame) => {
                self.result = None;
                self.frames.push(frame);
            }
        }
    }

    /// Until when the last result stays what it is while relationships expire; `None` if that changes nothing.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.conditions.moments.at(self.until)
    }

    fn end(&mut self, returned: Returned) {
        self.result = Some(returned.bounds);
        self.until = match returned.bounds {
            Bounds::CONDITIONAL if self.is_named_later => self.conditions.moments.first(),
            _ => returned.until,
        };
    }

    /// Works on the open question for about `fuel` edges.
    ///
    /// # Errors
    /// [`EngineError::Budget`]; what was found so far is forgotten.
    pub(crate) fn advance(&mut self, fuel: u64) -> Result<Progress<Bounds>, EngineError> {
        self.pause_at = self.cost.saturating_add(fuel).min(self.cost_end);
        loop {
            if let Some(bounds) = self.result {
                return if self.cost <= self.cost_end {
                    Ok(Progress::Done(bounds))
                } else {
                    Err(self.over_budget())
                };
            }
            if self.cost >= self.pause_at {
                return self.pause();
            }
            if let Some(mut solver) = self.solver.take() {
                if solver.advance(&self.gates, &mut self.cost, self.pause_at) {
                    self.close_component(&solver);
                } else {
                    self.solver = Some(solver);
                }
                continue;
            }
            // An open question without a frame has its result.
            let Some(mut frame) = self.frames.pop() else { return Ok(Progress::More) };
            match self.step(&mut frame) {
                Step::Ask(child) => self.frames.extend([frame, child]),
                Step::Complete => self.complete(frame),
                Step::Pause => self.frames.push(frame),
            }
        }
    }

    /// Adds to the running question's cost; fails when that is over its budget.
    pub(crate) fn charge(&mut self, edges: u64) -> Result<(), EngineError> {
        self.cost += edges;
        if self.cost >= self.cost_end { Err(self.over_budget()) } else { Ok(()) }
    }

    fn pause(&mut self) -> Result<Progress<Bounds>, EngineError> {
        if self.cost < self.cost_end { Ok(Progress::More) } else { Err(self.over_budget()) }
    }

    fn over_budget(&mut self) -> EngineError {
        if !self.frames.is_empty() {
            self.interrupted = self.path();
        }
        // What is unfinished must not be taken for finished by the next question.
        self.forget();
        EngineError::Budget { cost_max: self.cost_max }
    }

    /// The outermost open goals.
    fn path(&self) -> Vec<GoalKey> {
        let plans = self.snapshot.plans;
        let members = 0..index(plans.plan.members.len());
        let open = self.frames.iter().filter(|frame| frame.goal != NO_GOAL).take(INTERRUPTED_MAX);
        let goal = |frame: &Frame| {
            let member = members.clone().find(|member| plans.node_of(*member) == frame.node)?;
            Some(GoalKey { member, object: frame.object })
        };
        open.filter_map(goal).collect()
    }

    /// What was being evaluated when a question last went over its budget: the outermost goals.
    pub(crate) fn interrupted(&self) -> &[GoalKey] {
        &self.interrupted
    }

    /// A goal that was finished: its bounds and rank. Leaves are looked up anew.
    pub(crate) fn known(&mut self, goal: GoalKey) -> Option<(Bounds, u32)> {
        if let Some((bounds, _)) = self.at_once(goal) {
            return Some((bounds, 0));
        }
        let found = self.goals[*self.memo.get(&goal)? as usize];
        (found.state == GoalState::Done).then_some((found.bounds, found.rank))
    }

    pub(crate) fn is_subject(&self, goal: GoalKey) -> bool {
        self.subject.member == Some(goal.member) && self.subject.object == goal.object
    }

    /// The id of a goal's object, if a relationship names it.
    pub(crate) fn object_id(&self, goal: GoalKey) -> Option<&'a str> {
        let object_type = self.snapshot.plans.type_ids[self.snapshot.plans.type_of(goal.member) as usize];
        (goal.object < UNNAMED_RESOURCE).then(|| self.snapshot.root.object_id(object_type, goal.object))
    }

    /// What needs no frame: the subject itself, and relations of objects and wildcards alone.
    fn at_once(&mut self, goal: GoalKey) -> Option<(Bounds, Until)> {
        if self.is_subject(goal) && !is_broken(Variant::UsersetIsNotItsOwnMember) {
            return Some((Bounds::HAS, Until::NEVER));
        }
        if !self.snapshot.plans.is_leaf[goal.member as usize] {
            return None;
        }
        let plans = self.snapshot.plans;
        let PlanNode::Relation(classes) = &plans.plan.nodes[plans.node_of(goal.member) as usize] else {
            return None;
        };
        let (mut bounds, mut until) = (Bounds::NO, Until::NEVER);
        let mut has_deferred = false;
        for pass in [Pass::Unconditional, Pass::Conditional] {
            if pass == Pass::Conditional && !has_deferred {
                break;
            }
            for &class in classes {
                match self.direct(class, goal.object, pass) {
                    // Without the edge it is no as well.
                    Edge::Counts(Bounds::NO) => {}
                    Edge::Counts(edge) => {
                        bounds = bounds.or(edge);
                        until = self.conditions.moments.earlier(until, self.conditions.judged());
                    }
                    Edge::Deferred => has_deferred = true,
                    Edge::Skipped => {}
                }
                if bounds.low == Permissionship::Has {
                    return Some((bounds, self.conditions.judged()));
                }
            }
        }
        Some((bounds, until))
    }

    /// Which object of a class stands for the subject: itself, the wildcard, or the userset that it is.
    pub(crate) fn direct_subject(&self, class: ClassIndex) -> Option<u32> {
        let plan_class = &self.snapshot.plans.plan.classes[class as usize];
        if plan_class.subject_type != self.subject.object_type {
            return None;
        }
        match (plan_class.subject, self.subject.member) {
            (PlanSubject::Object, None) => Some(self.subject.object),
            (PlanSubject::Wildcard, None) if is_broken(Variant::WildcardGrantsNobody) => None,
            (PlanSubject::Wildcard, None) => self.wildcard,
            (PlanSubject::Wildcard, Some(_)) if is_broken(Variant::WildcardMatchesUsersets) => self.wildcard,
            (PlanSubject::Userset(member), Some(of_subject)) if member == of_subject => {
                Some(self.subject.object)
            }
            _ => None,
        }
    }

    /// Whether the graph has this edge, live or not.
    pub(crate) fn holds(&self, class: ClassIndex, resource: u32, subject: u32) -> bool {
        // An object without a number has no edges.
        resource < UNNAMED_RESOURCE
            && subject < UNNAMED_RESOURCE
            && self
                .snapshot
                .root
                .subjects(self.snapshot.plans.class_ids[class as usize], resource)
                .contains(subject)
    }

    /// The edge of a class that names the subject itself, or its wildcard.
    fn direct(&mut self, class: ClassIndex, resource: u32, pass: Pass) -> Edge {
        self.cost += 1;
        let Some(subject) = self.direct_subject(class) else { return Edge::Skipped };
        if !self.holds(class, resource, subject) {
            return Edge::Skipped;
        }
        let edge = self.conditions.edge(class, resource, subject, pass);
        self.cost += self.conditions.take_steps();
        let is_wildcard = self.snapshot.plans.plan.classes[class as usize].subject == PlanSubject::Wildcard;
        match edge {
            Edge::Counts(_) if is_wildcard && is_broken(Variant::WildcardDropsItsCondition) => {
                Edge::Counts(Bounds::HAS)
            }
            Edge::Counts(_) if !is_wildcard && is_broken(Variant::DirectDropsItsCondition) => {
                Edge::Counts(Bounds::HAS)
            }
            edge => edge,
        }
    }

    fn resolve(&mut self, key: GoalKey) -> Resolved {
        self.cost += 1;
        let finished =
            |bounds, until| Resolved::Known(Returned { bounds, gate: None, lowest: NO_GOAL, until });
        if let Some((bounds, until)) = self.at_once(key) {
            return finished(bounds, until);
        }
        let number = index(self.goals.len());
        match self.memo.entry(key) {
            std::collections::hash_map::Entry::Occupied(found) => {
                let lowest = *found.get();
                let goal = self.goals[lowest as usize];
                if goal.state == GoalState::Done {
                    return finished(goal.bounds, goal.until);
                }
                if is_broken(Variant::VisitedSetIsTheFixpoint) {
                    return finished(Bounds::NO, Until::NEVER);
                }
                let Goal { bounds, gate, until, .. } = goal;
                return Resolved::Known(Returned { bounds, gate: Some(gate), lowest, until });
            }
            std::collections::hash_map::Entry::Vacant(slot) => slot.insert(number),
        };
        let mark = self.gates.mark();
        let gate = self.gates.reserve();
        let (state, bounds) = (GoalState::Open, Bounds::UNKNOWN);
        self.goals.push(Goal { state, bounds, gate, rank: 0, until: Until::NEVER });
        let node = self.snapshot.plans.node_of(key.member);
        Resolved::Fresh(self.frame(node, key.object, number, mark))
    }

    fn frame(&self, node: NodeIndex, object: u32, goal: u32, mark: GatesMark) -> Frame {
        let start = match self.kind_of(node) {
            GateKind::And => Bounds::HAS,
            _ => Bounds::NO,
        };
        Frame {
            node,
            object,
            goal,
            position: 0,
            edge_position: 0,
            pass: Pass::Unconditional,
            has_deferred: false,
            has_met: false,
            edge: Bounds::HAS,
            edge_until: Until::NEVER,
            bounds: start,
            fixed: start,
            until: Until::NEVER,
            lowest: NO_GOAL,
            scratch_start: index(self.scratch.len()),
            unfinished_start: index(self.unfinished.len()),
            mark,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a question's budget keeps its goals and gates below 2^32"
)]
fn index(position: usize) -> u32 {
    position as u32
}
