//! How does one frame get on? Its node's children or edges in turn, until they decide it or there are no more.

use idhini_schema::{ArrowKind, ArrowStep, ClassIndex, MemberIndex, NodeIndex, PlanNode, PlanSubject};

use super::{Evaluator, Frame, GoalKey, GoalState, NO_GOAL, Resolved, Returned, Step};
use crate::Permissionship;
use crate::broken::{Variant, is_broken};
use crate::conditions::{Edge, Pass};
use crate::question::UNNAMED_RESOURCE;
use crate::solve::{GateKind, Solver};
use crate::until::Until;
use crate::value::Bounds;

impl Evaluator<'_> {
    /// Works on a frame until it is complete, needs a child, or the portion ends.
    pub(super) fn step(&mut self, frame: &mut Frame) -> Step {
        self.cost += 1;
        let plans = self.snapshot.plans;
        match &plans.plan.nodes[frame.node as usize] {
            PlanNode::Nil => {
                if is_broken(Variant::NilGrants) {
                    frame.bounds = Bounds::HAS;
                }
                Step::Complete
            }
            PlanNode::SelfObject(object_type) => {
                let is_object = self.subject.member.is_none() || is_broken(Variant::SelfMatchesUsersets);
                let is_same = self.subject.object == frame.object && self.subject.object_type == *object_type;
                if is_object && is_same && !is_broken(Variant::SelfIsNil) {
                    frame.bounds = Bounds::HAS;
                }
                Step::Complete
            }
            PlanNode::Member(_) => self.step_children(frame, &[frame.node]),
            PlanNode::Union(children) | PlanNode::Intersection(children) => {
                self.step_children(frame, children)
            }
            PlanNode::Exclusion(base, excluded) => self.step_children(frame, &[*base, *excluded]),
            PlanNode::Relation(classes) => self.step_relation(frame, classes),
            PlanNode::Arrow { kind, steps, .. } => self.step_arrow(frame, *kind, steps),
        }
    }

    fn step_children(&mut self, frame: &mut Frame, children: &[NodeIndex]) -> Step {
        while !self.is_decided(frame) {
            let Some(&child) = children.get(frame.position as usize) else { break };
            frame.position += 1;
            let resolved = match &self.snapshot.plans.plan.nodes[child as usize] {
                PlanNode::Member(member) => self.resolve(GoalKey { member: *member, object: frame.object }),
                _ => Resolved::Fresh(self.frame(child, frame.object, NO_GOAL, self.gates.mark())),
            };
            match resolved {
                Resolved::Known(returned) => self.receive(frame, returned),
                Resolved::Fresh(child) => return Step::Ask(child),
            }
            if self.cost >= self.pause_at {
                return Step::Pause;
            }
        }
        Step::Complete
    }

    fn step_relation(&mut self, frame: &mut Frame, classes: &[ClassIndex]) -> Step {
        let plans = self.snapshot.plans;
        while !self.is_decided(frame) {
            let Some(&class) = classes.get(frame.position as usize) else {
                if self.turns_to_conditional(frame) {
                    continue;
                }
                break;
            };
            if frame.edge_position == 0 {
                match self.direct(class, frame.object, frame.pass) {
                    Edge::Counts(edge) => {
                        frame.edge = edge;
                        frame.edge_until = self.conditions.judged();
                        let (bounds, lowest, until) = (Bounds::HAS, NO_GOAL, Until::NEVER);
                        self.receive(frame, Returned { bounds, gate: None, lowest, until });
                    }
                    Edge::Deferred => frame.has_deferred = true,
                    Edge::Skipped => {}
                }
            }
            let target = match plans.plan.classes[class as usize].subject {
                PlanSubject::Userset(target) if !self.is_missed(target) => target,
                _ => {
                    frame.position += 1;
                    continue;
                }
            };
            let step = self.step_edges(frame, class, target, ArrowKind::Any);
            if !matches!(step, Step::Complete) {
                return step;
            }
        }
        Step::Complete
    }

    fn step_arrow(&mut self, frame: &mut Frame, kind: ArrowKind, steps: &[ArrowStep]) -> Step {
        while !self.is_decided(frame) {
            let Some(&ArrowStep { class, target }) = steps.get(frame.position as usize) else {
                if self.turns_to_conditional(frame) {
                    continue;
                }
                break;
            };
            let subject = self.snapshot.plans.plan.classes[class as usize].subject;
            if (is_broken(Variant::ArrowFollowsFirstTypeOnly) && frame.position > 0)
                || (is_broken(Variant::ArrowMindsSubjectRelations) && subject != PlanSubject::Object)
            {
                frame.position += 1;
                continue;
            }
            let step = self.step_edges(frame, class, target, kind);
            if !matches!(step, Step::Complete) {
                return step;
            }
        }
        Step::Complete
    }

    /// Follows the edges of one class to their targets; `Complete` when the class is done or the frame decided.
    fn step_edges(
        &mut self,
        frame: &mut Frame,
        class: ClassIndex,
        target: MemberIndex,
        kind: ArrowKind,
    ) -> Step {
        let class_id = self.snapshot.plans.class_ids[class as usize];
        // An object without a number has no edges.
        let run =
            (frame.object < UNNAMED_RESOURCE).then(|| self.snapshot.root.subjects(class_id, frame.object));
        while let Some(subject) = run.and_then(|run| run.get(frame.edge_position as usize)) {
            frame.edge_position += 1;
            self.cost += 1;
            let edge = self.conditions.edge(class, frame.object, subject, frame.pass);
            self.cost += self.conditions.take_steps();
            match edge {
                Edge::Skipped => {}
                Edge::Deferred => frame.has_deferred = true,
                Edge::Counts(Bounds::NO)
                    if kind == ArrowKind::Any || is_broken(Variant::AllSkipsFalseConditions) => {}
                Edge::Counts(edge) => {
                    frame.has_met = true;
                    frame.edge = self.condition_of(frame, edge);
                    frame.edge_until = self.conditions.judged();
                    match self.resolve(GoalKey { member: target, object: subject }) {
                        Resolved::Known(returned) => self.receive(frame, returned),
                        Resolved::Fresh(child) => return Step::Ask(child),
                    }
                    if self.is_decided(frame) {
                        return Step::Complete;
                    }
                }
            }
            if self.cost >= self.pause_at {
                return Step::Pause;
            }
        }
        frame.position += 1;
        frame.edge_position = 0;
        Step::Complete
    }

    /// What an edge contributes; itself, but for broken variants.
    fn condition_of(&self, frame: &Frame, edge: Bounds) -> Bounds {
        let is_arrow = matches!(self.snapshot.plans.plan.nodes[frame.node as usize], PlanNode::Arrow { .. });
        if is_broken(Variant::BranchConditionLeaks) {
            return frame.edge.and(edge);
        }
        let drops =
            if is_arrow { Variant::ArrowDropsItsCondition } else { Variant::UsersetDropsItsCondition };
        if is_broken(drops) { Bounds::HAS } else { edge }
    }

    fn is_missed(&self, target: MemberIndex) -> bool {
        is_broken(Variant::UsersetOfPermissionIsMissed)
            && !self.snapshot.plans.plan.members[target as usize].is_relation
    }

    /// Starts over with the edges that have caveats, if there are any.
    fn turns_to_conditional(&self, frame: &mut Frame) -> bool {
        if frame.pass == Pass::Conditional || !frame.has_deferred {
            return false;
        }
        frame.pass = Pass::Conditional;
        frame.position = 0;
        frame.edge_position = 0;
        true
    }

    pub(super) fn kind_of(&self, node: NodeIndex) -> GateKind {
        match &self.snapshot.plans.plan.nodes[node as usize] {
            PlanNode::Union(_) if is_broken(Variant::UnionIsIntersection) => GateKind::And,
            PlanNode::Intersection(_) if is_broken(Variant::IntersectionIsUnion) => GateKind::Or,
            PlanNode::Arrow { .. } if is_broken(Variant::AllIsAny) => GateKind::Or,
            PlanNode::Intersection(_) | PlanNode::Exclusion(..) => GateKind::And,
            PlanNode::Arrow { kind: ArrowKind::All, .. } => GateKind::And,
            _ => GateKind::Or,
        }
    }

    /// Whether no further child can change the frame's value.
    fn is_decided(&self, frame: &Frame) -> bool {
        match self.kind_of(frame.node) {
            GateKind::And => frame.bounds.high == Permissionship::No,
            _ => frame.bounds.low == Permissionship::Has,
        }
    }

    /// Takes a child's value into its parent's frame.
    fn receive(&mut self, frame: &mut Frame, returned: Returned) {
        frame.lowest = frame.lowest.min(returned.lowest);
        let was_decided = self.is_decided(frame);
        let Returned { mut bounds, mut gate, mut until, .. } = returned;
        if gate.is_some() {
            // What is unfinished rests on nothing but what was judged so far.
            until = self.conditions.moments.first();
        }
        match &self.snapshot.plans.plan.nodes[frame.node as usize] {
            PlanNode::Relation(_) | PlanNode::Arrow { .. } => {
                bounds = frame.edge.and(bounds);
                until = self.until_of_edge(frame, bounds, until);
                gate = gate.filter(|_| !bounds.is_point()).map(|target| match frame.edge {
                    Bounds::HAS => target,
                    edge => self.gates.add(GateKind::And, edge, &[target]),
                });
            }
            PlanNode::Exclusion(..) if frame.position == 2 => {
                bounds = match bounds {
                    _ if self.drops_exclusion(frame) => Bounds::HAS,
                    Bounds::CONDITIONAL if is_broken(Variant::ConditionalExclusionTakesNothing) => {
                        Bounds::HAS
                    }
                    Bounds::CONDITIONAL if is_broken(Variant::ConditionalExclusionTakesAll) => Bounds::NO,
                    bounds => bounds.negated(),
                };
                gate = gate.filter(|_| !self.drops_exclusion(frame));
                if is_broken(Variant::UntilForgetsExclusions) {
                    until = Until::NEVER;
                }
                gate = gate.map(|excluded| self.gates.add(GateKind::Not, Bounds::HAS, &[excluded]));
            }
            _ => {}
        }
        let join = match self.kind_of(frame.node) {
            GateKind::And => Bounds::and,
            _ => Bounds::or,
        };
        frame.bounds = match self.kind_of(frame.node) {
            GateKind::Or if is_broken(Variant::LastBranchWins) => bounds,
            _ => join(frame.bounds, bounds),
        };
        frame.until = match self.is_decided(frame) {
            true if was_decided => frame.until,
            true => until,
            false => self.conditions.moments.earlier(frame.until, until),
        };
        match gate {
            Some(gate) => self.scratch.push(gate),
            None => frame.fixed = join(frame.fixed, bounds),
        }
    }

    /// Until when an edge and its target together contribute `bounds`, if the target's own value lasts until `until`.
    fn until_of_edge(&self, frame: &Frame, bounds: Bounds, until: Until) -> Until {
        if is_broken(Variant::UntilForgetsTheWay) {
            return until;
        }
        let moments = &self.conditions.moments;
        if bounds != Bounds::NO || self.kind_of(frame.node) == GateKind::And {
            return moments.earlier(frame.edge_until, until);
        }
        // It contributes nothing, and without the edge nothing as well.
        match moments.earlier(frame.edge_until, until) {
            first if first == frame.edge_until => Until::NEVER,
            _ => until,
        }
    }

    fn drops_exclusion(&self, frame: &Frame) -> bool {
        let parent = self.frames.last().map(|parent| &self.snapshot.plans.plan.nodes[parent.node as usize]);
        let is_under_arrow = frame.goal != NO_GOAL && matches!(parent, Some(PlanNode::Arrow { .. }));
        is_broken(Variant::ExclusionTakesNothing)
            || (is_under_arrow && is_broken(Variant::ExclusionUnderArrowTakesNothing))
    }

    /// Ends a frame: its value goes to its parent, or it waits for its component.
    pub(super) fn complete(&mut self, mut frame: Frame) {
        let is_all = matches!(
            &self.snapshot.plans.plan.nodes[frame.node as usize],
            PlanNode::Arrow { kind: ArrowKind::All, .. }
        );
        if is_all && !frame.has_met && !is_broken(Variant::AllOfNothingHolds) {
            frame.bounds = Bounds::NO;
        }
        let children = &self.scratch[frame.scratch_start as usize..];
        let is_final = frame.bounds.is_point() || children.is_empty();
        let kind = self.kind_of(frame.node);
        if frame.goal == NO_GOAL {
            let gate = (!is_final).then(|| self.gates.add(kind, frame.fixed, children));
            self.scratch.truncate(frame.scratch_start as usize);
            let Frame { bounds, lowest, until, .. } = frame;
            return self.deliver(Returned { bounds, gate, lowest, until });
        }
        self.is_named_later |= frame.bounds == Bounds::CONDITIONAL && frame.lowest < frame.goal;
        let goal = &mut self.goals[frame.goal as usize];
        goal.bounds = frame.bounds;
        goal.until = frame.until;
        if is_final {
            goal.state = GoalState::Done;
            self.clock += 1;
            goal.rank = self.clock;
            self.gates.fill(goal.gate, GateKind::Or, frame.bounds, &[]);
        } else {
            goal.state = GoalState::Pending;
            self.gates.fill(goal.gate, kind, frame.fixed, children);
            self.unfinished.push(frame.goal);
        }
        let gate = (!is_final).then_some(goal.gate);
        self.scratch.truncate(frame.scratch_start as usize);
        let is_head = frame.lowest >= frame.goal;
        if is_head && self.unfinished.len() > frame.unfinished_start as usize {
            // The frame stays until its component is solved.
            self.solver = Some(Solver::new(&self.gates, frame.mark.gates));
            self.frames.push(frame);
            return;
        }
        if is_head {
            self.gates.truncate(frame.mark);
        }
        let lowest = if is_head { NO_GOAL } else { frame.lowest };
        self.deliver(Returned { bounds: frame.bounds, gate, lowest, until: frame.until });
    }

    pub(super) fn close_component(&mut self, solver: &Solver) {
        let Some(frame) = self.frames.pop() else { return };
        let until = self.conditions.moments.first();
        for number in self.unfinished.drain(frame.unfinished_start as usize..) {
            let goal = &mut self.goals[number as usize];
            goal.bounds = solver.bounds(goal.gate);
            goal.rank = self.clock + solver.stamp(goal.gate);
            goal.until = until;
            goal.state = GoalState::Done;
        }
        self.clock += solver.stamps_end();
        self.gates.truncate(frame.mark);
        let bounds = self.goals[frame.goal as usize].bounds;
        self.deliver(Returned { bounds, gate: None, lowest: NO_GOAL, until });
    }

    fn deliver(&mut self, returned: Returned) {
        match self.frames.pop() {
            None => self.end(returned),
            Some(mut parent) => {
                self.receive(&mut parent, returned);
                self.frames.push(parent);
            }
        }
    }
}
