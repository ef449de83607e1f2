//! LookupResources: which objects of a type does a subject hold a permission on?
//!
//! Walks up from the subject over reversed edges and the plan read backwards (see [`routes`]), a run of edges at a time.
//! What is reached through unions and edges that surely count is definite; what an intersection, exclusion, `.all` or
//! condition stood in the way of is a candidate, which the evaluator verifies when its turn comes. Where the permission is
//! a base with a `-` behind it, what reaches the base needs no more than to have no edge that might take it away: of a few
//! each is looked at, of many it is searched from the subject up. The first that are found are told at once (see
//! [`early`]), the others when the search is over, in the order of object numbers.
//!
//! # Invariants
//! * Each resource is answered once, in its final state; a later page goes on behind the position it is given.
//! * What fails it once, it fails with whenever it is asked again.
//! * Every object with the permission is reached: rules are followed as if all that is not plain did hold.
//!
//! Cost: O(edges above the subject) to search, a few nanoseconds an edge; then a shared evaluation per candidate, or a
//! look at its guards. Memory: two bits per object of the target's type and what the evaluator remembers; until the search
//! is over also two bits per object of the types passed on the way, and the frontier.
//! Source: the reverse search of Leopard, Zanzibar (USENIX ATC 2019), section 3.2.4.

mod early;
mod routes;

use std::sync::Arc;

use idhini_model::{Context, SubjectRef};
use idhini_schema::{ClassIndex, MemberIndex, PlanSubject};

use crate::broken::{Variant, is_broken};
use crate::evaluate::{Evaluator, GoalKey};
use crate::inquire::Inquiry;
use crate::question::{BoundSubject, UNNAMED_RESOURCE, UNNAMED_SUBJECT};
use crate::value::Bounds;
use crate::{Answer, EngineError, Limits, Permissionship, Position, Progress, Snapshot};
use early::{Early, Place};
use routes::{Arrival, Guard, Routes, TARGET};

pub use early::{EARLY_EDGES, EARLY_MAX};

/// With so many candidates it is searched at once which of them have guards, instead of asking each.
const GUARDS_SEARCHED_FROM: u64 = 16;
/// How many edges may be followed for that per candidate; asking costs as much.
const GUARD_EDGES: u64 = 32;

/// A resource the subject holds the permission on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundResource<'a> {
    /// Where to go on behind it.
    pub position: Position,
    /// The object's id.
    pub object_id: &'a str,
    /// Conditional or has, and what is missing.
    pub answer: Answer,
}

/// One lookup, resumable.
pub struct LookupResources<'a> {
    snapshot: Snapshot<'a>,
    evaluator: Evaluator<'a>,
    subject_id: &'a str,
    target: MemberIndex,
    routes: Routes,
    /// Whether reaching the base of the rule is not enough, and the edges that may stand in the way.
    is_guarded: bool,
    guards: Vec<Guard>,
    front: Front,
    /// What the base of a rule with a `-` grants, while it is searched who might be excluded from that.
    base: Option<Searched>,
    /// The cost at which that search is given up.
    give_up_at: u64,
    /// All of the target's objects, when they are searched.
    reached: Option<ReachedResources>,
    /// Where answers began.
    place: Place,
    /// How many that are told early have been told, by the pages before too.
    told: usize,
    /// The next number to look at, and the number after the last.
    next: u64,
    end: u64,
    inquiry: Option<(u32, Inquiry)>,
    /// Why it ended early; it then stays so.
    failure: Option<EngineError>,
}

/// What a search has reached: all that a further page of the same question in the same snapshot needs of it.
///
/// Memory: two bits per object of the target's type, a third up to the last one behind a `-`, four bytes for each that is
/// told early.
#[derive(Debug, Clone)]
pub struct ReachedResources(Arc<Searched>);

#[derive(Debug)]
struct Searched {
    /// Who is told early, in this order.
    early: Vec<u32>,
    /// All others.
    target: Reached,
    /// Those from which the subject might be excluded, if they were searched.
    excluded: Option<Vec<u64>>,
}

/// The objects that were reached, and those of them that are definite.
#[derive(Debug, Default)]
struct Reached {
    any: Vec<u64>,
    definite: Vec<u64>,
    unnamed: Option<bool>,
}

/// How far the search is: the objects of each station, and what is still to be followed.
#[derive(Default)]
struct Front {
    reached: Vec<Reached>,
    open: Vec<Work>,
    early: Early,
}

/// One piece of the frontier.
#[derive(Clone, Copy)]
enum Work {
    Leave { station: u32, object: u32, is_definite: bool },
    Spread(Spread),
}

/// The resources of `from` in `class`, from number `next` on, that `member` is still to be carried to.
#[derive(Clone, Copy)]
struct Spread {
    class: ClassIndex,
    from: u32,
    member: MemberIndex,
    is_definite: bool,
    next: u32,
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
        let routes = Routes::to(snapshot.plans, target);
        let guards = routes.guards(&evaluator);
        let place = Place::of(after, limits);
        let early = match place {
            Place::Early(_) | Place::Late(_) => Early::new(limits),
            Place::ByNumber(_) => Early::default(),
        };
        let mut lookup = LookupResources {
            snapshot,
            evaluator,
            subject_id: &subject.object_id,
            target,
            front: Front::of(&routes, early),
            is_guarded: routes.is_guarded(),
            routes,
            guards,
            base: None,
            give_up_at: 0,
            reached: None,
            place,
            told: if let Place::Early(told) = place { told } else { usize::MAX },
            next: if let Place::Late(next) | Place::ByNumber(next) = place { next } else { 0 },
            end: u64::from(snapshot.root.object_count(snapshot.plans.type_ids[object_type as usize])),
            inquiry: None,
            failure: None,
        };
        lookup.seed(bound)?;
        Ok(lookup)
    }

    /// Goes on with what a lookup of the same question and limits in the same snapshot has reached, instead of searching
    /// again.
    #[must_use]
    pub fn with_reached(mut self, reached: ReachedResources) -> LookupResources<'a> {
        if !matches!(self.place, Place::ByNumber(_)) {
            self.front = Front::default();
            self.reached = Some(reached);
        }
        self
    }

    /// What was reached, when all was: with the first answer that is not told early, or the end. Nothing where all are told
    /// by number, as other pages of the question take some for told.
    #[must_use]
    pub fn reached(&self) -> Option<&ReachedResources> {
        self.reached.as_ref().filter(|_| !matches!(self.place, Place::ByNumber(_)))
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
    pub fn advance(&mut self, fuel: u64) -> Result<Progress<Option<FoundResource<'a>>>, EngineError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let progress = self.work(fuel);
        self.failure = progress.as_ref().err().cloned();
        progress
    }

    fn work(&mut self, fuel: u64) -> Result<Progress<Option<FoundResource<'a>>>, EngineError> {
        let end = self.evaluator.cost().saturating_add(fuel);
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
            if let Some(found) = self.next_early()? {
                return Ok(Progress::Done(Some(found)));
            }
            if self.reached.is_none() {
                if self.search_all(end)? {
                    // Answers may be taken slowly; meanwhile only what they come from is kept.
                    self.front = Front::default();
                }
                continue;
            }
            let Some((object, is_definite)) = self.next_reached() else { return Ok(Progress::Done(None)) };
            self.evaluator.charge(1)?;
            if is_definite && !self.is_barred(object)? {
                return Ok(Progress::Done(Some(self.found(object, surely()))));
            }
            let goal = GoalKey { member: self.target, object };
            self.inquiry = Some((object, Inquiry::open(&mut self.evaluator, goal)));
        }
    }

    /// Whether something might take away what the base of the rule grants.
    fn is_barred(&mut self, object: u32) -> Result<bool, EngineError> {
        if !self.is_guarded || is_broken(Variant::LookupTrustsCandidates) {
            return Ok(false);
        }
        let subject = self.evaluator.subject();
        if object == subject.object && self.snapshot.plans.type_of(self.target) == subject.object_type {
            return Ok(true);
        }
        if let Some(ReachedResources(searched)) = &self.reached
            && let Some(excluded) = &searched.excluded
        {
            return Ok(has_bit(excluded, u64::from(object)));
        }
        self.evaluator.charge(self.guards.len() as u64)?;
        Ok(object < UNNAMED_RESOURCE && self.guards.iter().any(|guard| guard.bars(&self.evaluator, object)))
    }

    fn found(&self, object: u32, answer: Answer) -> FoundResource<'a> {
        FoundResource { position: self.place.behind(object), object_id: self.object_id(object), answer }
    }

    fn object_id(&self, object: u32) -> &'a str {
        let object_type = self.snapshot.plans.type_ids[self.snapshot.plans.type_of(self.target) as usize];
        match object {
            UNNAMED_SUBJECT => self.subject_id,
            object => self.snapshot.root.object_id(object_type, object),
        }
    }

    /// The next of those that are told before the search is over.
    fn next_early(&mut self) -> Result<Option<FoundResource<'a>>, EngineError> {
        let object = loop {
            if let Some(ReachedResources(searched)) = &self.reached {
                let Some(&object) = searched.early.get(self.told) else { return Ok(None) };
                self.evaluator.charge(1)?;
                break object;
            }
            let Some(object) = self.front.early.next() else { return Ok(None) };
            self.evaluator.charge(1)?;
            // Who is barred is verified at its number.
            if !self.is_barred(object)? && self.front.early.tell(object) > self.told {
                break object;
            }
        };
        self.told += 1;
        let (position, object_id) = (Place::behind_early(self.told), self.object_id(object));
        Ok(Some(FoundResource { position, object_id, answer: surely() }))
    }

    /// The next candidate at or behind `next`; the subject's own object, if no relationship names it, comes last.
    fn next_reached(&mut self) -> Option<(u32, bool)> {
        let ReachedResources(searched) = self.reached.as_ref()?;
        let reached = &searched.target;
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

    /// Searches what leads to the target, and if there is much of it, what might take it away; until that is over (`true`),
    /// the portion ends, or there is someone to be told.
    fn search_all(&mut self, end: u64) -> Result<bool, EngineError> {
        let mut searched = match self.base.take() {
            Some(base) => base,
            None => {
                if !self.search(end)? {
                    return Ok(false);
                }
                let searched = self.front.take_target();
                let candidates = searched.target.count();
                if self.guards.is_empty() || candidates < GUARDS_SEARCHED_FROM {
                    self.reached = Some(ReachedResources(Arc::new(searched)));
                    return Ok(true);
                }
                self.routes = self.routes.to_excluded(self.snapshot.plans);
                self.front = Front::of(&self.routes, Early::default());
                self.seed(self.evaluator.subject())?;
                self.give_up_at = self.evaluator.cost().saturating_add(candidates * GUARD_EDGES);
                searched
            }
        };
        let is_searched = self.search(end.min(self.give_up_at))?;
        if !is_searched && self.evaluator.cost() < self.give_up_at {
            self.base = Some(searched);
            return Ok(false);
        }
        searched.excluded = is_searched.then(|| self.front.take_target().target.any);
        self.reached = Some(ReachedResources(Arc::new(searched)));
        Ok(true)
    }

    fn seed(&mut self, subject: BoundSubject) -> Result<(), EngineError> {
        let plans = self.snapshot.plans;
        if let Some(member) = subject.member {
            self.front.arrive(&self.routes, member, subject.object, true);
        } else {
            for of_self in &self.routes.selves {
                if plans.type_of(of_self.member) == subject.object_type {
                    self.front.arrive(&self.routes, of_self.member, subject.object, of_self.is_pure);
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
            let member = plan_class.relation;
            if from < UNNAMED_RESOURCE && self.routes.arrival(member).is_some() {
                let spread = Spread { class, from, member, is_definite: true, next: 0 };
                self.front.open.push(Work::Spread(spread));
            }
        }
        self.evaluator.charge(self.front.open.len() as u64)
    }

    /// Works on the frontier until it is empty (`true`), the cost reaches `end`, or there is someone to be told early.
    fn search(&mut self, end: u64) -> Result<bool, EngineError> {
        while let Some(work) = self.front.open.pop() {
            self.evaluator.charge(1)?;
            match work {
                Work::Leave { station, object, is_definite } => {
                    self.front.leave(&self.routes, station, object, is_definite);
                    self.front.early.count(1);
                }
                Work::Spread(spread) => self.spread(spread, end)?,
            }
            if self.evaluator.cost() >= end && !self.front.open.is_empty() {
                self.front.early.end_portion();
                return Ok(false);
            }
            if self.front.early.has_next() {
                return Ok(false);
            }
        }
        Ok(!self.front.early.has_next())
    }

    /// Carries a member over a run of edges, as far as the portion lasts.
    fn spread(&mut self, mut spread: Spread, end: u64) -> Result<(), EngineError> {
        let LookupResources { snapshot, evaluator, routes, front, .. } = self;
        let class = snapshot.plans.class_ids[spread.class as usize];
        let mut run = snapshot.root.resources(class, spread.from).iter_from(spread.next);
        let is_plain = !snapshot.root.has_attributes(class);
        loop {
            // At least one, so that the smallest portion gets on.
            let room = end.saturating_sub(evaluator.cost()).max(1).min(front.early.room());
            let room = if is_plain { usize::try_from(room).unwrap_or(usize::MAX).min(run.len()) } else { 1 };
            if is_plain {
                let arrival = routes.arrival(spread.member);
                for resource in run.by_ref().take(room) {
                    front.arrive_at(routes, arrival, resource, spread.is_definite);
                    spread.next = resource + 1;
                }
                front.early.count(room as u64);
                evaluator.charge(room as u64)?;
            } else if let Some(resource) = run.next() {
                spread.next = resource + 1;
                let edge = evaluator.conditions.whole_edge(spread.class, resource, spread.from);
                let steps = evaluator.conditions.take_steps();
                evaluator.charge(1 + steps)?;
                front.early.count(1);
                if let Some(edge) = edge.filter(|edge| *edge != Bounds::NO) {
                    let is_definite = spread.is_definite && edge == Bounds::HAS;
                    front.arrive(routes, spread.member, resource, is_definite);
                }
            }
            if run.len() == 0 {
                return Ok(());
            }
            if evaluator.cost() >= end || front.early.has_next() {
                front.open.push(Work::Spread(spread));
                return Ok(());
            }
        }
    }
}

impl Front {
    fn of(routes: &Routes, early: Early) -> Front {
        let reached = routes.stations.iter().map(|_| Reached::default()).collect();
        Front { reached, open: Vec::new(), early }
    }

    /// What the search has found; who is told early does not come again.
    fn take_target(&mut self) -> Searched {
        let mut target = self.reached.get_mut(TARGET as usize).map(std::mem::take).unwrap_or_default();
        let early = std::mem::take(&mut self.early).into_told();
        if !is_broken(Variant::EarlyIsToldAgain) {
            early.iter().for_each(|object| target.forget(*object));
        }
        Searched { early, target, excluded: None }
    }

    /// A member holds on an object.
    fn arrive(&mut self, routes: &Routes, member: MemberIndex, object: u32, is_definite: bool) {
        self.arrive_at(routes, routes.arrival(member), object, is_definite);
    }

    /// Marks a station, and puts it on the frontier if it is news.
    #[inline]
    fn arrive_at(&mut self, routes: &Routes, arrival: Option<Arrival>, object: u32, is_definite: bool) {
        let Some(Arrival { station, is_pure }) = arrival else { return };
        let is_definite = is_definite && is_pure;
        if self.reached[station as usize].mark(object, is_definite) {
            if routes.stations[station as usize].leads_on() {
                self.open.push(Work::Leave { station, object, is_definite });
            }
            if station == TARGET && (is_definite || is_broken(Variant::EarlyTrustsCandidates)) {
                self.early.add(object);
            }
        }
    }

    /// Puts what depends on a station's object on the frontier.
    fn leave(&mut self, routes: &Routes, station: u32, object: u32, is_definite: bool) {
        let station = &routes.stations[station as usize];
        for arrival in &station.beside {
            self.arrive_at(routes, Some(*arrival), object, is_definite);
        }
        if object < UNNAMED_RESOURCE {
            let spreads = station.onward.iter().map(|onward| {
                let is_definite = is_definite && onward.is_pure;
                let routes::Onward { class, member, .. } = *onward;
                Work::Spread(Spread { class, from: object, member, is_definite, next: 0 })
            });
            self.open.extend(spreads);
        }
    }
}

impl ReachedResources {
    /// About what it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Searched { early, target, excluded } = &*self.0;
        let excluded = excluded.as_deref().unwrap_or_default();
        let target = size_of_val(&*target.any) + size_of_val(&*target.definite);
        target + size_of_val(&**early) + size_of_val(excluded)
    }
}

impl Reached {
    fn count(&self) -> u64 {
        self.any.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn forget(&mut self, object: u32) {
        if let Some(word) = self.any.get_mut((object / 64) as usize) {
            *word &= !(1 << (object % 64));
        }
    }

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

/// The answer about who is reached definitely.
fn surely() -> Answer {
    Answer { permissionship: Permissionship::Has, missing: Default::default() }
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
