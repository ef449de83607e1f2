//! LookupResources: which objects of a type does a subject hold a permission on?
//!
//! Walks up from the subject over reversed edges and the plan read backwards. What is reached through unions and
//! edges that surely count is definite; what an intersection, exclusion, `.all` or condition stood in the way of is a
//! candidate, which the evaluator verifies when its turn comes. Answers come in the order of object numbers.
//!
//! # Invariants
//! * Each resource is answered once, in its final state; a later page goes on behind the position it is given.
//! * What fails it once, it fails with whenever it is asked again.
//! * Every object with the permission is reached: rules are followed as if all that is not plain did hold.
//!
//! Cost: O(edges above the subject) to search, then a shared evaluation per candidate. Memory: two bits per object
//! of the target's type and what the evaluator remembers; until the first answer also the goals passed on the way, and
//! the frontier.
//! Source: the reverse search of Leopard, Zanzibar (USENIX ATC 2019), section 3.2.4.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use idhini_model::{Context, SubjectRef};
use idhini_schema::{ClassIndex, MemberIndex, PlanSubject};
use rustc_hash::FxBuildHasher;

use crate::broken::{Variant, is_broken};
use crate::evaluate::{Evaluator, GoalKey};
use crate::inquire::Inquiry;
use crate::plans::Via;
use crate::question::{BoundSubject, UNNAMED_RESOURCE, UNNAMED_SUBJECT};
use crate::value::Bounds;
use crate::{Answer, EngineError, Limits, Permissionship, Position, Progress, Snapshot};

/// A resource the subject holds the permission on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundResource {
    /// Where to go on behind it.
    pub position: Position,
    /// The object's id.
    pub object_id: String,
    /// Conditional or has, and what is missing.
    pub answer: Answer,
}

/// One lookup, resumable.
pub struct LookupResources<'a> {
    snapshot: Snapshot<'a>,
    evaluator: Evaluator<'a>,
    subject_id: &'a str,
    target: MemberIndex,
    /// Members from which the target can be reached.
    is_relevant: Vec<bool>,
    /// The target's objects, and the goals passed on the way to them with whether they are definite.
    reaching: Reached,
    passed: HashMap<GoalKey, bool, FxBuildHasher>,
    open: Vec<Work>,
    /// All of the target's objects, when they are searched.
    reached: Option<ReachedResources>,
    /// The next number to look at, and the number after the last.
    next: u64,
    end: u64,
    inquiry: Option<(u32, Inquiry)>,
    /// Why it ended early; it then stays so.
    failure: Option<EngineError>,
}

/// What a search has reached: all that a further page of the same question in the same snapshot needs of it.
///
/// Memory: two bits per object of the target's type.
#[derive(Debug, Clone)]
pub struct ReachedResources(Arc<Reached>);

/// The objects that were reached, and those of them that are definite.
#[derive(Debug, Default)]
struct Reached {
    any: Vec<u64>,
    definite: Vec<u64>,
    unnamed: Option<bool>,
}

/// One piece of the frontier.
#[derive(Clone, Copy)]
enum Work {
    Goal(GoalKey, bool),
    Spread(Spread),
}

/// The resources of `from` in `class` that `member` is still to be carried to.
#[derive(Clone, Copy)]
struct Spread {
    class: ClassIndex,
    from: u32,
    member: MemberIndex,
    is_definite: bool,
    position: u32,
}

impl<'a> LookupResources<'a> {
    /// Binds the question to a snapshot; answers begin behind `after`.
    ///
    /// # Errors
    /// [`EngineError::UnknownDefinition`], [`EngineError::UnknownMember`], [`EngineError::WildcardSubject`].
    pub fn open(
        snapshot: Snapshot<'a>,
        (resource_type, permission): (&str, &str),
        subject: &'a SubjectRef,
        context: &'a Context,
        after: Option<Position>,
        limits: Limits,
    ) -> Result<LookupResources<'a>, EngineError> {
        let object_type = snapshot.bind_type(resource_type)?;
        let target = snapshot.bind_member(object_type, permission)?;
        let bound = snapshot.bind_subject(subject)?;
        let mut evaluator = Evaluator::new(snapshot, context, bound, limits);
        evaluator.share_budget();
        let mut lookup = LookupResources {
            snapshot,
            evaluator,
            subject_id: &subject.object_id,
            target,
            is_relevant: relevant(snapshot, target),
            reaching: Reached::default(),
            passed: HashMap::default(),
            open: Vec::new(),
            reached: None,
            next: after
                .map_or(0, |Position(position)| position + u64::from(is_broken(Variant::PagesSkipOne))),
            end: u64::from(snapshot.root.object_count(snapshot.plans.type_ids[object_type as usize])),
            inquiry: None,
            failure: None,
        };
        lookup.seed(bound)?;
        Ok(lookup)
    }

    /// Goes on with what a lookup of the same question in the same snapshot has reached, instead of searching again.
    #[must_use]
    pub fn with_reached(mut self, reached: ReachedResources) -> LookupResources<'a> {
        self.open = Vec::new();
        self.reached = Some(reached);
        self
    }

    /// What was reached, when all was: with the first answer, or the end.
    #[must_use]
    pub fn reached(&self) -> Option<&ReachedResources> {
        self.reached.as_ref()
    }

    /// What was spent so far, in edges.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.evaluator.cost()
    }

    /// Works on for about `fuel` edges, until the next resource; `None` when there is no further one.
    ///
    /// # Errors
    /// [`EngineError::Budget`], [`EngineError::Caveat`], [`EngineError::Cycle`].
    pub fn advance(&mut self, fuel: u64) -> Result<Progress<Option<FoundResource>>, EngineError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let progress = self.work(fuel);
        self.failure = progress.as_ref().err().cloned();
        progress
    }

    fn work(&mut self, fuel: u64) -> Result<Progress<Option<FoundResource>>, EngineError> {
        let end = self.evaluator.cost().saturating_add(fuel);
        if self.reached.is_none() {
            if !self.search(end)? {
                return Ok(Progress::More);
            }
            self.reached = Some(ReachedResources(Arc::new(std::mem::take(&mut self.reaching))));
            // Answers may be taken slowly; meanwhile only what they come from is kept.
            self.passed = HashMap::default();
            self.open = Vec::new();
        }
        loop {
            if let Some((object, inquiry)) = &mut self.inquiry {
                let object = *object;
                let left = end.saturating_sub(self.evaluator.cost()).max(1);
                let Progress::Done(answer) = inquiry.advance(&mut self.evaluator, left)? else {
                    return Ok(Progress::More);
                };
                self.inquiry = None;
                if answer.permissionship > Permissionship::No {
                    return Ok(Progress::Done(Some(self.found(object, answer))));
                }
            }
            if self.evaluator.cost() >= end {
                return Ok(Progress::More);
            }
            let Some((object, is_definite)) = self.next_reached() else { return Ok(Progress::Done(None)) };
            self.evaluator.charge(1)?;
            if is_definite {
                let answer = Answer { permissionship: Permissionship::Has, missing: Default::default() };
                return Ok(Progress::Done(Some(self.found(object, answer))));
            }
            let goal = GoalKey { member: self.target, object };
            self.inquiry = Some((object, Inquiry::open(&mut self.evaluator, goal)));
        }
    }

    fn found(&self, object: u32, answer: Answer) -> FoundResource {
        let object_type = self.snapshot.plans.type_ids[self.snapshot.plans.type_of(self.target) as usize];
        let object_id = match object {
            UNNAMED_SUBJECT => self.subject_id,
            object => self.snapshot.root.object_id(object_type, object),
        };
        FoundResource { position: Position(u64::from(object) + 1), object_id: object_id.to_owned(), answer }
    }

    /// The next candidate at or behind `next`; the subject's own object, if no relationship names it, comes last.
    fn next_reached(&mut self) -> Option<(u32, bool)> {
        let ReachedResources(reached) = self.reached.as_ref()?;
        while self.next < self.end {
            let (word, bit) = ((self.next / 64) as usize, self.next % 64);
            let Some(bits) = reached.any.get(word).map(|bits| bits >> bit) else { break };
            if bits == 0 {
                self.next += 64 - bit;
                continue;
            }
            let number = self.next + u64::from(bits.trailing_zeros());
            self.next = number + 1;
            let is_definite =
                has_bit(&reached.definite, number) || is_broken(Variant::LookupTrustsCandidates);
            return u32::try_from(number).ok().map(|number| (number, is_definite));
        }
        let unnamed = u64::from(UNNAMED_SUBJECT);
        let is_definite = reached.unnamed.filter(|_| self.next <= unnamed);
        self.next = unnamed + 1;
        is_definite.map(|is_definite| (UNNAMED_SUBJECT, is_definite))
    }

    fn seed(&mut self, subject: BoundSubject) -> Result<(), EngineError> {
        let plans = self.snapshot.plans;
        if let Some(member) = subject.member {
            self.reach(GoalKey { member, object: subject.object }, true)?;
        } else {
            for of_self in &plans.self_members {
                if plans.type_of(of_self.member) == subject.object_type {
                    self.reach(GoalKey { member: of_self.member, object: subject.object }, of_self.is_pure)?;
                }
            }
        }
        for (class, plan_class) in (0..).zip(&plans.plan.classes) {
            // Usersets that the subject is are reached from the subject as a goal.
            if matches!(plan_class.subject, PlanSubject::Userset(_)) {
                continue;
            }
            if is_broken(Variant::LookupForgetsWildcards) && plan_class.subject == PlanSubject::Wildcard {
                continue;
            }
            let Some(from) = self.evaluator.direct_subject(class) else { continue };
            self.spread(Spread { class, from, member: plan_class.relation, is_definite: true, position: 0 });
        }
        Ok(())
    }

    fn spread(&mut self, spread: Spread) {
        if spread.from < UNNAMED_RESOURCE && self.is_relevant[spread.member as usize] {
            self.open.push(Work::Spread(spread));
        }
    }

    /// Marks a goal and puts what depends on it on the frontier.
    fn reach(&mut self, goal: GoalKey, is_definite: bool) -> Result<(), EngineError> {
        if !self.is_relevant[goal.member as usize] || !self.mark(goal, is_definite) {
            return Ok(());
        }
        let plans = self.snapshot.plans;
        let dependents = &plans.dependents[goal.member as usize];
        self.evaluator.charge(dependents.len() as u64)?;
        for dependent in dependents {
            let (member, is_definite) = (dependent.member, is_definite && dependent.is_pure);
            match dependent.via {
                Via::SameObject => {
                    self.open.push(Work::Goal(GoalKey { member, object: goal.object }, is_definite))
                }
                Via::Class(class) => {
                    self.spread(Spread { class, from: goal.object, member, is_definite, position: 0 });
                }
            }
        }
        Ok(())
    }

    /// Returns whether this is news.
    fn mark(&mut self, goal: GoalKey, is_definite: bool) -> bool {
        if goal.member == self.target {
            return self.reaching.mark(goal.object, is_definite);
        }
        match self.passed.entry(goal) {
            Entry::Vacant(slot) => {
                slot.insert(is_definite);
                true
            }
            Entry::Occupied(mut found) => is_definite && !std::mem::replace(found.get_mut(), true),
        }
    }

    /// Works on the frontier until it is empty (`true`) or the cost reaches `end`.
    fn search(&mut self, end: u64) -> Result<bool, EngineError> {
        let (root, plans) = (self.snapshot.root, self.snapshot.plans);
        while let Some(work) = self.open.pop() {
            self.evaluator.charge(1)?;
            match work {
                Work::Goal(goal, is_definite) => self.reach(goal, is_definite)?,
                Work::Spread(spread) => {
                    let run = root.resources(plans.class_ids[spread.class as usize], spread.from);
                    if let Some(resource) = run.get(spread.position as usize) {
                        // The rest of this run waits below what the resource leads to.
                        self.open.push(Work::Spread(Spread { position: spread.position + 1, ..spread }));
                        let edge = self.evaluator.conditions.whole_edge(spread.class, resource, spread.from);
                        let steps = self.evaluator.conditions.take_steps();
                        self.evaluator.charge(steps)?;
                        if let Some(edge) = edge.filter(|edge| *edge != Bounds::NO) {
                            let is_definite = spread.is_definite && edge == Bounds::HAS;
                            self.reach(GoalKey { member: spread.member, object: resource }, is_definite)?;
                        }
                    }
                }
            }
            if self.evaluator.cost() >= end && !self.open.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl ReachedResources {
    /// About what it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.0.any) + size_of_val(&*self.0.definite)
    }
}

impl Reached {
    /// Returns whether this is news.
    fn mark(&mut self, object: u32, is_definite: bool) -> bool {
        if object == UNNAMED_SUBJECT {
            let is_news = self.unnamed.is_none_or(|was_definite| is_definite && !was_definite);
            self.unnamed = Some(is_definite || self.unnamed == Some(true));
            return is_news;
        }
        let is_new = set_bit(&mut self.any, object);
        let is_newly_definite = is_definite && set_bit(&mut self.definite, object);
        is_new || is_newly_definite
    }
}

fn set_bit(bits: &mut Vec<u64>, at: u32) -> bool {
    let (word, bit) = ((at / 64) as usize, 1u64 << (at % 64));
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    let was_set = bits[word] & bit != 0;
    bits[word] |= bit;
    !was_set
}

fn has_bit(bits: &[u64], at: u64) -> bool {
    bits.get((at / 64) as usize).is_some_and(|word| word & (1 << (at % 64)) != 0)
}

/// Members whose holding may lead to the target's holding.
fn relevant(snapshot: Snapshot<'_>, target: MemberIndex) -> Vec<bool> {
    let plans = snapshot.plans;
    let mut leads_to = vec![Vec::new(); plans.plan.members.len()];
    for (member, dependents) in (0u32..).zip(&plans.dependents) {
        for dependent in dependents {
            leads_to[dependent.member as usize].push(member);
        }
    }
    let mut is_relevant = vec![false; plans.plan.members.len()];
    let mut open = vec![target];
    while let Some(member) = open.pop() {
        if !std::mem::replace(&mut is_relevant[member as usize], true) {
            open.extend(&leads_to[member as usize]);
        }
    }
    is_relevant
}
