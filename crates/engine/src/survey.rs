//! What was found of one goal's rule, node by node?
//!
//! Explaining and naming what is missing both look back at goals that the evaluator has finished. This is the look:
//! children first, each edge once. No goal with a rule of its own is evaluated again, but leaves are looked up anew,
//! and the caveats of edges that the answer could do without are evaluated here for the first time. Resumable within a
//! node's edges, since one relation may hold millions.
//!
//! Cost: O(edges of the goal's rule) and the steps of caveats not evaluated before, charged to the question.

use std::collections::HashMap;
use std::ops::Range;

use idhini_schema::{ArrowKind, ArrowStep, ClassIndex, MemberIndex, NodeIndex, PlanNode, PlanSubject};
use rustc_hash::FxBuildHasher;

use crate::evaluate::{Evaluator, GoalKey};
use crate::question::UNNAMED_RESOURCE;
use crate::value::Bounds;
use crate::{EngineError, Permissionship};

/// Which edges a survey remembers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep {
    /// All whose value satisfies the predicate.
    If(fn(Bounds) -> bool),
    /// For each value at most so many; the first grant to be finished always.
    PerValue(usize),
}

/// What was found of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// `None` while something unvisited leaves it open.
    pub(crate) bounds: Option<Bounds>,
    /// When its grant was finished; later than the rank of whatever that rests on.
    pub(crate) rank: u32,
    /// Which of the survey's edges are its own.
    pub(crate) edges: Range<usize>,
    /// How many of its edges have no, conditional, has, or no value.
    counts: [u64; 4],
}

/// A live edge with what was found of its target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundEdge {
    pub(crate) class: ClassIndex,
    pub(crate) subject: u32,
    /// Together with its target; `None` if the target was not visited.
    pub(crate) bounds: Option<Bounds>,
    pub(crate) rank: u32,
    /// `None` if the edge names the subject itself, or its target was not visited.
    pub(crate) target: Option<GoalKey>,
}

/// A goal's rule being looked at.
pub(crate) struct Survey {
    goal: GoalKey,
    keep: Keep,
    /// The rule's nodes, children first, and how many of them are done.
    order: Vec<NodeIndex>,
    done: usize,
    /// Where the running node stands: its class or step, and the next edge of it.
    position: usize,
    edge_position: u32,
    edges_start: usize,
    join: Join,
    /// The first grant to be finished among the running node's edges.
    first_grant: Option<FoundEdge>,
    found: HashMap<NodeIndex, Found, FxBuildHasher>,
    edges: Vec<FoundEdge>,
}

/// Values being put together.
#[derive(Debug, Clone, Copy)]
struct Join {
    is_and: bool,
    bounds: Bounds,
    rank: Option<u32>,
    is_open: bool,
    counts: [u64; 4],
}

impl Join {
    fn new(is_and: bool) -> Join {
        let bounds = if is_and { Bounds::HAS } else { Bounds::NO };
        Join { is_and, bounds, rank: None, is_open: false, counts: [0; 4] }
    }

    fn take(&mut self, bounds: Option<Bounds>, rank: u32) {
        self.counts[place(bounds)] += 1;
        self.is_open |= bounds.is_none();
        let known = bounds.unwrap_or(Bounds::UNKNOWN);
        self.bounds = if self.is_and { self.bounds.and(known) } else { self.bounds.or(known) };
        if bounds == Some(Bounds::HAS) {
            let of_both = |before: u32| if self.is_and { before.max(rank) } else { before.min(rank) };
            self.rank = Some(self.rank.map_or(rank, of_both));
        }
    }

    fn found(self, edges: Range<usize>) -> Found {
        // What was not visited leaves a value open, unless the rest decides it.
        let is_open = self.is_open && !self.bounds.is_point();
        let bounds = (!is_open).then_some(self.bounds);
        Found { bounds, rank: self.rank.unwrap_or(0), edges, counts: self.counts }
    }
}

fn place(bounds: Option<Bounds>) -> usize {
    match permissionship(bounds) {
        Some(Permissionship::No) => 0,
        Some(Permissionship::Conditional) => 1,
        Some(Permissionship::Has) => 2,
        None => 3,
    }
}

/// A value, if it is one.
pub(crate) fn permissionship(bounds: Option<Bounds>) -> Option<Permissionship> {
    bounds.filter(|b| b.is_point()).map(|b| b.low)
}

impl Found {
    /// How many live edges have this value.
    pub(crate) fn count(&self, value: Option<Permissionship>) -> u64 {
        self.counts[place(value.map(Bounds::point))]
    }
}

impl Survey {
    pub(crate) fn open(evaluator: &Evaluator<'_>, goal: GoalKey, keep: Keep) -> Survey {
        let plans = evaluator.snapshot.plans;
        // Parents first, then turned round.
        let mut order = vec![plans.node_of(goal.member)];
        let mut at = 0;
        while let Some(&node) = order.get(at) {
            at += 1;
            match &plans.plan.nodes[node as usize] {
                PlanNode::Union(children) | PlanNode::Intersection(children) => order.extend(children),
                PlanNode::Exclusion(base, excluded) => order.extend([*base, *excluded]),
                PlanNode::Nil
                | PlanNode::SelfObject(_)
                | PlanNode::Member(_)
                | PlanNode::Relation(_)
                | PlanNode::Arrow { .. } => {}
            }
        }
        order.reverse();
        Survey {
            goal,
            keep,
            order,
            done: 0,
            position: 0,
            edge_position: 0,
            edges_start: 0,
            join: Join::new(false),
            first_grant: None,
            found: HashMap::default(),
            edges: Vec::new(),
        }
    }

    pub(crate) fn goal(&self) -> GoalKey {
        self.goal
    }

    /// What was found of one of the rule's nodes. Call it when the survey is done.
    pub(crate) fn of(&self, node: NodeIndex) -> Found {
        self.found.get(&node).cloned().unwrap_or_default()
    }

    /// The remembered edges of a node, in the graph's order but for the first grant of many.
    pub(crate) fn edges(&self, found: &Found) -> &[FoundEdge] {
        self.edges.get(found.edges.clone()).unwrap_or_default()
    }

    /// One of the remembered edges.
    pub(crate) fn edge(&self, at: usize) -> Option<FoundEdge> {
        self.edges.get(at).copied()
    }

    /// Looks on until all is seen (`true`) or the cost reaches `end`.
    ///
    /// # Errors
    /// [`EngineError::Budget`].
    pub(crate) fn advance(&mut self, evaluator: &mut Evaluator<'_>, end: u64) -> Result<bool, EngineError> {
        while let Some(&node) = self.order.get(self.done) {
            if evaluator.cost() >= end {
                return Ok(false);
            }
            if !self.is_begun() {
                evaluator.charge(1)?;
            }
            let Some(found) = self.node(evaluator, node, end)? else { return Ok(false) };
            self.found.insert(node, found);
            self.done += 1;
        }
        Ok(true)
    }

    /// Whether a portion ended among the edges of the next node.
    fn is_begun(&self) -> bool {
        self.position > 0 || self.edge_position > 0
    }

    /// A node whose children are done; `None` if the portion ended among its edges.
    fn node(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        node: NodeIndex,
        end: u64,
    ) -> Result<Option<Found>, EngineError> {
        let plans = evaluator.snapshot.plans;
        let known = |bounds, rank| Found { bounds, rank, ..Found::default() };
        Ok(Some(match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => known(Some(Bounds::NO), 0),
            PlanNode::SelfObject(object_type) => {
                let subject = evaluator.subject();
                let is_subject = subject.member.is_none()
                    && subject.object == self.goal.object
                    && subject.object_type == *object_type;
                known(Some(if is_subject { Bounds::HAS } else { Bounds::NO }), 0)
            }
            PlanNode::Member(member) => {
                let found = evaluator.known(GoalKey { member: *member, object: self.goal.object });
                known(found.map(|(bounds, _)| bounds), found.map_or(0, |(_, rank)| rank))
            }
            PlanNode::Union(children) => self.join(children, false),
            PlanNode::Intersection(children) => self.join(children, true),
            PlanNode::Exclusion(base, excluded) => {
                let (base, excluded) = (self.of(*base), self.of(*excluded));
                let mut join = Join::new(true);
                join.take(base.bounds, base.rank);
                join.take(excluded.bounds.map(Bounds::negated), 0);
                Found { rank: base.rank, ..join.found(0..0) }
            }
            PlanNode::Relation(classes) => {
                return self.classes(evaluator, end, false, classes, |evaluator, &class| {
                    match evaluator.snapshot.plans.plan.classes[class as usize].subject {
                        PlanSubject::Userset(target) => (class, Some(target)),
                        PlanSubject::Object | PlanSubject::Wildcard => (class, None),
                    }
                });
            }
            PlanNode::Arrow { kind, steps, .. } => {
                let step = |_: &Evaluator<'_>, step: &ArrowStep| (step.class, Some(step.target));
                return self.classes(evaluator, end, *kind == ArrowKind::All, steps, step);
            }
        }))
    }

    fn join(&self, children: &[NodeIndex], is_and: bool) -> Found {
        let mut join = Join::new(is_and);
        for child in children {
            let found = self.of(*child);
            join.take(found.bounds, found.rank);
        }
        join.found(0..0)
    }

    /// The edges of the running node, class by class.
    fn classes<'e, T>(
        &mut self,
        evaluator: &mut Evaluator<'e>,
        end: u64,
        is_all: bool,
        items: &[T],
        class_of: impl Fn(&Evaluator<'e>, &T) -> (ClassIndex, Option<MemberIndex>),
    ) -> Result<Option<Found>, EngineError> {
        if !self.is_begun() {
            self.join = Join::new(is_all);
            self.edges_start = self.edges.len();
        }
        while let Some(item) = items.get(self.position) {
            match class_of(evaluator, item) {
                (class, Some(target)) => {
                    if !self.class(evaluator, class, target, end)? {
                        return Ok(None);
                    }
                }
                (class, None) => self.direct(evaluator, class)?,
            }
            self.position += 1;
            self.edge_position = 0;
            // Behind the class, so that the smallest portion gets on.
            if evaluator.cost() >= end {
                return Ok(None);
            }
        }
        self.position = 0;
        self.edges.extend(self.first_grant.take());
        if self.join.counts == [0; 4] {
            // Without a live edge `.all` holds of nothing.
            self.join = Join::new(false);
        }
        Ok(Some(self.join.found(self.edges_start..self.edges.len())))
    }

    /// The one edge of a class that names the subject itself or its wildcard.
    fn direct(&mut self, evaluator: &mut Evaluator<'_>, class: ClassIndex) -> Result<(), EngineError> {
        evaluator.charge(1)?;
        let Some(subject) = evaluator.direct_subject(class) else { return Ok(()) };
        if !evaluator.holds(class, self.goal.object, subject) {
            return Ok(());
        }
        if let Some(bounds) = self.judge(evaluator, class, subject)? {
            self.take(FoundEdge { class, subject, bounds: Some(bounds), rank: 0, target: None });
        }
        Ok(())
    }

    /// What an edge says by itself, `None` if it is expired; charged where its caveat had not been evaluated before.
    fn judge(
        &self,
        evaluator: &mut Evaluator<'_>,
        class: ClassIndex,
        subject: u32,
    ) -> Result<Option<Bounds>, EngineError> {
        let edge = evaluator.conditions.whole_edge(class, self.goal.object, subject);
        let steps = evaluator.conditions.take_steps();
        evaluator.charge(steps)?;
        Ok(edge)
    }

    /// The edges of a class with their targets, from where the last portion stopped; `false` if this one ends here.
    fn class(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        class: ClassIndex,
        target: MemberIndex,
        end: u64,
    ) -> Result<bool, EngineError> {
        if self.goal.object >= UNNAMED_RESOURCE {
            return Ok(true);
        }
        let snapshot = evaluator.snapshot;
        let run = snapshot.root.subjects(snapshot.plans.class_ids[class as usize], self.goal.object);
        while let Some(subject) = run.get(self.edge_position as usize) {
            self.edge_position += 1;
            evaluator.charge(1)?;
            if let Some(edge) = self.judge(evaluator, class, subject)? {
                let goal = GoalKey { member: target, object: subject };
                let known = evaluator.known(goal);
                let (bounds, rank) = match known {
                    _ if edge == Bounds::NO => (Some(Bounds::NO), 0),
                    Some((bounds, rank)) => (Some(edge.and(bounds)), rank),
                    None => (None, 0),
                };
                self.take(FoundEdge { class, subject, bounds, rank, target: known.map(|_| goal) });
            }
            // Behind the edge, so that the smallest portion gets on.
            if evaluator.cost() >= end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, edge: FoundEdge) {
        self.join.take(edge.bounds, edge.rank);
        match self.keep {
            Keep::If(is_kept) => {
                if edge.bounds.is_some_and(is_kept) {
                    self.edges.push(edge);
                }
            }
            Keep::PerValue(max) => {
                if self.join.counts[place(edge.bounds)] <= max as u64 {
                    self.edges.push(edge);
                } else if edge.bounds == Some(Bounds::HAS)
                    && !self.join.is_and
                    && self.join.rank == Some(edge.rank)
                    && self.first_grant.is_none_or(|first| edge.rank < first.rank)
                {
                    self.first_grant = Some(edge);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
