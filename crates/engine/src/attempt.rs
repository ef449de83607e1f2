//! Can a question be answered at once? A bounded attempt without conditions, which most questions need no more than.
//!
//! What of a plan is *plain* (see [`rules`]) is a question of reachability ([`search`]); intersections and exclusions
//! combine such answers, over three values: no, has, and *open*, which stands for whatever the evaluator would find. A
//! value that does not depend on what is open is the answer, whatever that is; everything else is the evaluator's:
//! conditions, expirations to come, cycles through `-`, and questions that take very many edges.
//!
//! # Invariants
//! * An attempt answers no or has only where the evaluator would, and never in place of a refusal.
//! * What it answers rests on no edge that expires or has a condition, and on no context.
//! * It ends: within its edges, and within a fixed depth of goals that are not plain.
//!
//! Cost: O(edges visited), and nothing is allocated once a thread's lists have grown.

mod closures;
mod marks;
mod rules;
mod search;

use std::cell::Cell;

use idhini_graph::Run;
use idhini_schema::{ArrowKind, ArrowStep, ClassIndex, MemberIndex, NodeIndex, PlanNode, PlanSubject};

use self::search::{Scratch, Search, Told};
use crate::broken::{Variant, is_broken, is_evaluator_broken};
use crate::evaluate::GoalKey;
use crate::question::{BoundSubject, UNNAMED_RESOURCE};
use crate::{Permissionship, Snapshot};

pub use self::closures::ClosureUse;
pub(crate) use self::rules::Rules;

/// Goals that are not plain, one below the other, of which an attempt keeps track.
const DEPTH_MAX: u32 = if cfg!(test) { 3 } else { 24 };

thread_local! {
    /// The lists of a thread's last attempt.
    static KEPT: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Attempts at questions of one subject about one member.
pub(crate) struct Attempt<'a> {
    snapshot: Snapshot<'a>,
    subject: BoundSubject,
    /// `None` once its lists are given back.
    search: Option<Search<'a>>,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attempted {
    /// `None` if it is left open.
    pub(crate) permissionship: Option<Permissionship>,
    /// What was visited.
    pub(crate) edges: u64,
    pub(crate) closures: ClosureUse,
}

impl<'a> Attempt<'a> {
    /// Of questions about this member; `None` if nothing of the schema can be attempted.
    pub(crate) fn open(
        snapshot: Snapshot<'a>,
        member: MemberIndex,
        subject: BoundSubject,
    ) -> Option<Attempt<'a>> {
        let relevant = snapshot.plans.rules.relevant_to(member);
        if relevant.is_empty() || is_evaluator_broken() {
            return None;
        }
        let scratch = KEPT.take().unwrap_or_default();
        let search = Search::new(snapshot, subject, relevant, 0, scratch);
        Some(Attempt { snapshot, subject, search: Some(search) })
    }

    /// The answer, if that many edges tell it.
    pub(crate) fn ask(&mut self, goal: GoalKey, edges_max: u64) -> Attempted {
        let Some(search) = &mut self.search else { return Attempted::default() };
        let (before, uses) = (search.edges(), search.closures());
        search.allow(edges_max);
        let told = Judging { snapshot: self.snapshot, subject: self.subject, search }.goal(goal, 0);
        let permissionship = match told {
            Told::No => Some(Permissionship::No),
            Told::Yes => Some(Permissionship::Has),
            Told::Open => None,
        };
        let after = search.closures();
        let closures =
            ClosureUse { found: after.found - uses.found, computed: after.computed - uses.computed };
        Attempted { permissionship, edges: search.edges() - before, closures }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        KEPT.set(self.search.take().map(Search::into_scratch));
    }
}

/// One question, over the nodes of rules that are not plain.
struct Judging<'a, 's> {
    snapshot: Snapshot<'a>,
    subject: BoundSubject,
    search: &'s mut Search<'a>,
}

impl<'a> Judging<'a, '_> {
    fn goal(&mut self, goal: GoalKey, depth: u32) -> Told {
        if self.subject.member == Some(goal.member) && self.subject.object == goal.object {
            return Told::Yes;
        }
        if depth == DEPTH_MAX {
            return Told::Open;
        }
        self.node(self.snapshot.plans.node_of(goal.member), goal.object, depth)
    }

    /// Recursion is bounded by the parser's limit on nesting, and by the depth of goals.
    fn node(&mut self, node: NodeIndex, object: u32, depth: u32) -> Told {
        let plans = self.snapshot.plans;
        if let Some(rule) = plans.rules.of_node(node) {
            return self.search.reach(rule, object);
        }
        self.search.charge();
        if self.search.is_spent() {
            return Told::Open;
        }
        match &plans.plan.nodes[node as usize] {
            PlanNode::Member(member) => self.goal(GoalKey { member: *member, object }, depth + 1),
            PlanNode::Union(children) => any(children, |child| self.node(*child, object, depth)),
            PlanNode::Intersection(children) => all(children, |child| self.node(*child, object, depth)),
            PlanNode::Exclusion(base, excluded) => match self.node(*base, object, depth) {
                Told::No => Told::No,
                of_base => match self.node(*excluded, object, depth) {
                    _ if is_broken(Variant::AttemptExcludesNobody) => of_base,
                    Told::Yes => Told::No,
                    Told::No => of_base,
                    Told::Open => Told::Open,
                },
            },
            PlanNode::Relation(classes) => any(classes, |class| self.class(*class, object, depth)),
            PlanNode::Arrow { kind: ArrowKind::Any, steps, .. } => {
                any(steps, |step| self.step(*step, object, depth))
            }
            PlanNode::Arrow { kind: ArrowKind::All, steps, .. } => self.all_of(steps, object, depth),
            // Always plain.
            PlanNode::Nil | PlanNode::SelfObject(_) => Told::Open,
        }
    }

    /// A relation's edges of one class.
    fn class(&mut self, class: ClassIndex, object: u32, depth: u32) -> Told {
        let plan_class = &self.snapshot.plans.plan.classes[class as usize];
        let is_of_type = plan_class.subject_type == self.subject.object_type;
        let told = match (plan_class.subject, self.subject.member) {
            (PlanSubject::Object, None) if is_of_type => {
                self.edge_to(class, object, Some(self.subject.object))
            }
            (PlanSubject::Wildcard, None) if is_of_type => self.edge_to(class, object, None),
            (PlanSubject::Userset(member), Some(of_subject)) if member == of_subject => {
                self.edge_to(class, object, Some(self.subject.object))
            }
            _ => Told::No,
        };
        match (told, plan_class.subject) {
            (Told::No | Told::Open, PlanSubject::Userset(target)) => {
                match self.step(ArrowStep { class, target }, object, depth) {
                    Told::No => told,
                    below => below,
                }
            }
            _ => told,
        }
    }

    /// Whether there is an edge to a subject, or to whichever there is.
    fn edge_to(&mut self, class: ClassIndex, object: u32, subject: Option<u32>) -> Told {
        self.search.charge();
        let run = self.run(class, object);
        let Some(subject) = subject.or_else(|| run.get(0)).filter(|subject| run.contains(*subject)) else {
            return Told::No;
        };
        match self.search.edge_counts(class, object, subject) {
            Some(true) => Told::Yes,
            Some(false) => Told::No,
            None => Told::Open,
        }
    }

    /// Any of the edges of one class, by their targets. A run may be far longer than what is left to be spent.
    fn step(&mut self, step: ArrowStep, object: u32, depth: u32) -> Told {
        let mut highest = Told::No;
        for subject in self.run(step.class, object) {
            if self.search.is_spent() {
                return Told::Open;
            }
            match self.target(step, object, subject, depth) {
                (Some(true), Told::Yes) => return Told::Yes,
                // Without the edge it is no as well.
                (_, Told::No) | (Some(false), _) => {}
                _ => highest = Told::Open,
            }
        }
        highest
    }

    /// All edges of some classes, by their targets; there must be one.
    fn all_of(&mut self, steps: &[ArrowStep], object: u32, depth: u32) -> Told {
        let (mut is_any, mut lowest) = (false, Told::Yes);
        for step in steps {
            for subject in self.run(step.class, object) {
                if self.search.is_spent() {
                    return Told::Open;
                }
                let (counts, told) = self.target(*step, object, subject, depth);
                is_any |= counts != Some(false);
                match (counts, told) {
                    (Some(false), _) | (Some(true), Told::Yes) => {}
                    (Some(true), Told::No) => return Told::No,
                    // Once it expires, others may be all there are.
                    _ => lowest = Told::Open,
                }
            }
        }
        if is_any { lowest } else { Told::No }
    }

    fn run(&self, class: ClassIndex, object: u32) -> Run<'a> {
        let object = Some(object).filter(|object| *object < UNNAMED_RESOURCE);
        let class_id = self.snapshot.plans.class_ids[class as usize];
        object.map_or(Run::EMPTY, |object| self.snapshot.root.subjects(class_id, object))
    }

    /// Whether an edge counts, if that is sure, and its target.
    fn target(&mut self, step: ArrowStep, object: u32, subject: u32, depth: u32) -> (Option<bool>, Told) {
        self.search.charge();
        if self.search.is_spent() {
            return (None, Told::Open);
        }
        match self.search.edge_counts(step.class, object, subject) {
            Some(false) => (Some(false), Told::No),
            counts => (counts, self.goal(GoalKey { member: step.target, object: subject }, depth + 1)),
        }
    }
}

/// The highest; the rest is not asked once one is the highest there is.
fn any<T>(of: impl IntoIterator<Item = T>, mut ask: impl FnMut(T) -> Told) -> Told {
    let mut highest = Told::No;
    for one in of {
        match ask(one) {
            Told::Yes => return Told::Yes,
            Told::Open => highest = Told::Open,
            Told::No => {}
        }
    }
    highest
}

/// The lowest.
fn all<T>(of: impl IntoIterator<Item = T>, mut ask: impl FnMut(T) -> Told) -> Told {
    let mut lowest = Told::Yes;
    for one in of {
        match ask(one) {
            Told::No => return Told::No,
            Told::Open => lowest = Told::Open,
            Told::Yes => {}
        }
    }
    lowest
}

#[cfg(test)]
mod tests;
