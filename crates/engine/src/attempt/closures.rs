//! What contains this goal, however deep? Remembered from question to question, for as long as it stands.
//!
//! A closure is all that a climbed goal is in, itself included: the groups that contain a group. Who is in the group
//! does not matter to it, so that it stands while members come and go, and serves every subject that is in it.
//!
//! # Invariants
//! * A closure is found by all of its goal, rule and object, and only under the plans and the versions of classes that
//!   it was computed on: those it rests on are among them.
//! * It rests on no edge that has a condition or expires, so that it is the same at every instant.
//! * A change of an edge takes away every closure that passed the edge's subject.
//!
//! Cost: a cache line or two to find one; a change of nesting looks through all. Memory, a thread: for each of
//! [`STATES_MAX`] states at most [`GOALS_MAX`] goals of 8 bytes and twice as many slots of 16.
//! Source: the Leopard index, Zanzibar (USENIX ATC 2019), section 3.2.4.

use std::sync::Arc;

use idhini_graph::{ClassVersion, Root};

use super::marks::{Goal, Marks};
use super::rules::Rules;
use crate::Plans;
use crate::broken::{Variant, is_broken};
use crate::question::UNNAMED_RESOURCE;

/// A closure of more goals is not remembered.
const CLOSURE_MAX: usize = if cfg!(test) { 4 } else { 256 };
/// Goals in the closures of one state; one more, and they are all forgotten.
const GOALS_MAX: usize = if cfg!(test) { 64 } else { 1 << 17 };
/// States of which closures are remembered: of several namespaces, or revisions.
const STATES_MAX: usize = 4;
/// More changed subjects than this, and it takes less to compute anew what is asked for.
const CHANGED_MAX: usize = 64;
const SLOTS_MIN: usize = 256;

/// How often it was known what contains a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClosureUse {
    /// So often it was remembered.
    pub found: u64,
    /// So often it was searched for.
    pub computed: u64,
}

impl std::ops::AddAssign for ClosureUse {
    fn add_assign(&mut self, more: ClosureUse) {
        self.found += more.found;
        self.computed += more.computed;
    }
}

/// The closures that a thread remembers.
#[derive(Debug, Default)]
pub(crate) struct Closures {
    /// The last one used first.
    states: Vec<State>,
    pub(crate) uses: ClosureUse,
    /// For computing one.
    passed: Marks,
}

/// The closures of one state of the nesting classes.
#[derive(Debug)]
struct State {
    plans: Arc<()>,
    /// By number of nesting class.
    versions: Vec<ClassVersion>,
    /// A power of two of them, less than half full.
    slots: Vec<Slot>,
    used: usize,
    goals: Vec<Goal>,
}

/// Where the closure of a goal is.
#[derive(Debug, Clone, Copy)]
struct Slot {
    goal: Goal,
    start: u32,
    len: u16,
    holds: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Closure,
    /// Nothing that can be remembered.
    Uncertain,
    /// It was taken away; others may lie behind it.
    Gone,
}

const FREE: Slot = Slot { goal: Goal { rule: 0, object: 0 }, start: 0, len: 0, holds: Holds::Nothing };

impl Closures {
    /// Turns to the closures that stand in this root, forgetting what does not; none if nothing nests.
    pub(crate) fn turn_to(&mut self, root: &Root, plans: &Plans) {
        let stands =
            |state: &mut State| Arc::ptr_eq(&state.plans, &plans.identity) && state.follow(root, plans);
        match self.states.iter_mut().position(stands) {
            Some(0) => {}
            Some(at) => self.states[..=at].rotate_right(1),
            None => {
                self.states.truncate(STATES_MAX - 1);
                self.states.insert(0, State::new(root, plans));
            }
        }
    }

    /// What a goal is in, by place; `None` if that cannot be remembered. Adds the edges visited to `edges`.
    pub(crate) fn of(
        &mut self,
        goal: Goal,
        root: &Root,
        plans: &Plans,
        edges: &mut u64,
    ) -> Option<(usize, usize)> {
        let state = self.states.first_mut()?;
        let slot = state.slots[state.place(goal)];
        *edges += 1;
        match slot.holds {
            Holds::Closure => {
                self.uses.found += 1;
                return Some((slot.start as usize, slot.start as usize + usize::from(slot.len)));
            }
            Holds::Uncertain => return None,
            Holds::Nothing | Holds::Gone => {}
        }
        self.uses.computed += 1;
        state.compute(goal, root, &plans.rules, &plans.class_ids, (&mut self.passed, edges))
    }

    /// The goal at a place.
    #[inline]
    pub(crate) fn goal(&self, place: usize) -> Option<Goal> {
        self.states.first()?.goals.get(place).copied()
    }
}

impl State {
    fn new(root: &Root, plans: &Plans) -> State {
        let version = |class: &u32| root.class_version(plans.class_ids[*class as usize]).cloned();
        State {
            plans: Arc::clone(&plans.identity),
            versions: plans.rules.nesting.iter().map(|class| version(class).unwrap_or_default()).collect(),
            slots: vec![FREE; SLOTS_MIN],
            used: 0,
            goals: Vec::new(),
        }
    }

    /// Follows what changed up to this root; false if the root is none of this state's future.
    fn follow(&mut self, root: &Root, plans: &Plans) -> bool {
        let nesting = || plans.rules.nesting.iter().map(|class| plans.class_ids[*class as usize]);
        let stands =
            |(own, class): (&ClassVersion, _)| root.class_version(class).is_some_and(|new| own.is(new));
        if self.versions.iter().zip(nesting()).all(stands) {
            return true;
        }
        let mut changed = Vec::new();
        for (own, class) in self.versions.iter().zip(nesting()) {
            let is_later = |new: &ClassVersion| new.changed_since(own, |subject| changed.push(subject));
            if !root.class_version(class).is_some_and(is_later) {
                return false;
            }
        }
        for (own, class) in self.versions.iter_mut().zip(nesting()) {
            if let Some(new) = root.class_version(class) {
                *own = new.clone();
            }
        }
        if !is_broken(Variant::ClosuresOutliveChanges) {
            self.take_away(changed);
        }
        true
    }

    /// Takes away the closures that pass one of these objects.
    fn take_away(&mut self, mut changed: Vec<u32>) {
        changed.sort_unstable();
        changed.dedup();
        if changed.len() > CHANGED_MAX {
            return self.forget();
        }
        for slot in &mut self.slots {
            let passes = |goal: &Goal| changed.binary_search(&goal.object).is_ok();
            let is_changed = match slot.holds {
                Holds::Closure => {
                    let start = slot.start as usize;
                    self.goals[start..start + usize::from(slot.len)].iter().any(passes)
                }
                // What it passed is not known.
                Holds::Uncertain => true,
                Holds::Nothing | Holds::Gone => false,
            };
            if is_changed {
                slot.holds = Holds::Gone;
            }
        }
    }

    fn compute(
        &mut self,
        goal: Goal,
        root: &Root,
        rules: &Rules,
        class_ids: &[idhini_graph::ClassId],
        (passed, edges): (&mut Marks, &mut u64),
    ) -> Option<(usize, usize)> {
        if self.goals.len() + CLOSURE_MAX > GOALS_MAX || self.used > GOALS_MAX / 2 {
            self.forget();
        }
        let start = self.goals.len();
        passed.clear();
        passed.insert(goal);
        self.goals.push(goal);
        let mut at = start;
        let mut is_certain = true;
        while let Some(&Goal { rule, object }) = self.goals.get(at).filter(|_| is_certain) {
            at += 1;
            // An object without a number has no edges.
            let rule = Some(&rules.rules[usize::from(rule)]).filter(|_| object < UNNAMED_RESOURCE);
            let Some(rule) = rule.filter(|rule| !rule.climbs.is_empty()) else { continue };
            let row = root.reverse_row(rule.type_id, object);
            *edges += 1;
            for climb in &rule.climbs {
                let class = class_ids[climb.class as usize];
                let has_attributes = root.has_attributes(class);
                for resource in row.run(climb.local) {
                    *edges += 1;
                    let is_sure = !has_attributes || root.attributes(class, resource, object).is_none();
                    let next = Goal { rule: climb.to, object: resource };
                    if is_sure && passed.insert(next) {
                        self.goals.push(next);
                    }
                    if !is_sure || self.goals.len() > start + CLOSURE_MAX {
                        is_certain = false;
                        break;
                    }
                }
                if !is_certain {
                    break;
                }
            }
        }
        if !is_certain {
            self.goals.truncate(start);
        }
        let holds = if is_certain { Holds::Closure } else { Holds::Uncertain };
        let end = self.goals.len();
        // INVARIANT: places are below GOALS_MAX, and a closure has no more goals than CLOSURE_MAX.
        let (place, len) = (u32::try_from(start).unwrap_or(0), u16::try_from(end - start).unwrap_or(0));
        self.put(Slot { goal, start: place, len, holds });
        is_certain.then_some((start, end))
    }

    fn put(&mut self, slot: Slot) {
        let at = self.place(slot.goal);
        self.used += usize::from(self.slots[at].holds == Holds::Nothing);
        self.slots[at] = slot;
        if 2 * self.used >= self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            let kept = |slot: &Slot| matches!(slot.holds, Holds::Closure | Holds::Uncertain);
            self.used = old.iter().filter(|slot| kept(slot)).count();
            self.slots = vec![FREE; (2 * self.used + 1).next_power_of_two().max(SLOTS_MIN)];
            for slot in old.into_iter().filter(kept) {
                let at = self.place(slot.goal);
                self.slots[at] = slot;
            }
        }
    }

    /// Where a goal's closure is, or would be put.
    #[inline]
    fn place(&self, goal: Goal) -> usize {
        let rule = if is_broken(Variant::ClosuresForgetTheRule) { 0 } else { goal.rule };
        let key = u64::from(rule) << 32 | u64::from(goal.object);
        let mask = self.slots.len() - 1;
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while self.slots[at].holds != Holds::Nothing && !is_same(self.slots[at].goal, goal) {
            at = (at + 1) & mask;
        }
        at
    }

    fn forget(&mut self) {
        self.slots = vec![FREE; SLOTS_MIN];
        self.goals.clear();
        self.used = 0;
    }
}

#[inline]
fn is_same(one: Goal, other: Goal) -> bool {
    one.object == other.object && (one.rule == other.rule || is_broken(Variant::ClosuresForgetTheRule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let plans = Arc::default();
        State { plans, versions: Vec::new(), slots: vec![FREE; SLOTS_MIN], used: 0, goals: Vec::new() }
    }

    #[test]
    fn no_two_goals_have_one_closure() {
        let mut state = state();
        let goals = || (0..9).flat_map(|rule| (0..2_000).map(move |object| Goal { rule, object }));
        for (start, goal) in (1..).zip(goals()) {
            assert_eq!(state.slots[state.place(goal)].holds, Holds::Nothing, "{goal:?}");
            state.put(Slot { goal, start, len: 1, holds: Holds::Closure });
        }
        for (start, goal) in (1..).zip(goals()) {
            let slot = state.slots[state.place(goal)];
            assert_eq!((slot.goal, slot.start), (goal, start));
        }
    }

    #[test]
    fn a_change_takes_away_what_passed_it_and_nothing_else() {
        let mut state = state();
        for object in 0..100u32 {
            let goal = Goal { rule: 0, object };
            let start = u32::try_from(state.goals.len()).unwrap();
            state.goals.extend([goal, Goal { rule: 1, object: object / 10 + 1_000 }]);
            state.put(Slot { goal, start, len: 2, holds: Holds::Closure });
        }
        state.take_away(vec![1_003, 7, 7]);
        for object in 0..100 {
            let holds = state.slots[state.place(Goal { rule: 0, object })].holds;
            let is_gone = object == 7 || (30..40).contains(&object);
            assert_eq!(holds, if is_gone { Holds::Gone } else { Holds::Closure }, "{object}");
        }
    }
}
