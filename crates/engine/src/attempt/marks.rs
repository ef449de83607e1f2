//! A set of goals that is emptied at no cost: has a search been here?
//!
//! # Invariants
//! * A goal's mark holds all of it, its rule, its object and the search it belongs to, so that no two goals and no two
//!   searches share a mark.
//!
//! Cost: one cache line as a rule; O(size) once in 65,535 searches.
//! Source: open addressing with linear probing (Knuth, volume 3, 6.4).

use super::rules::RuleIndex;
use crate::broken::{Variant, is_broken};

/// A rule of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) rule: RuleIndex,
    pub(crate) object: u32,
}

/// Goals that a search met.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Search, rule, object, from the top; what is of an earlier search is free. A power of two of them, or none.
    slots: Vec<u64>,
    /// Of this search; 0 is of none.
    search: u16,
    len: usize,
}

const SLOTS_MIN: usize = 64;

impl Marks {
    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.search = match self.search.checked_add(1) {
            Some(next) => next,
            None => {
                self.slots.fill(0);
                1
            }
        };
    }

    /// False if it is there already.
    #[inline]
    pub(crate) fn insert(&mut self, goal: Goal) -> bool {
        if 2 * self.len >= self.slots.len() {
            self.grow();
        }
        let mark = self.mark(goal);
        let at = self.place(mark);
        let is_new = self.slots[at] != mark;
        self.slots[at] = mark;
        self.len += usize::from(is_new);
        is_new
    }

    #[inline]
    pub(crate) fn contains(&self, goal: Goal) -> bool {
        let mark = self.mark(goal);
        self.len > 0 && self.slots[self.place(mark)] == mark
    }

    #[inline]
    fn mark(&self, goal: Goal) -> u64 {
        let rule = if is_broken(Variant::MarksForgetTheRule) { 0 } else { goal.rule };
        u64::from(self.search) << 48 | u64::from(rule) << 32 | u64::from(goal.object)
    }

    /// Where a mark is, or would be put.
    #[inline]
    fn place(&self, mark: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while self.slots[at] != mark && self.slots[at] >> 48 == u64::from(self.search) {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![0; (4 * self.len).next_power_of_two().max(SLOTS_MIN)];
        for mark in old.into_iter().filter(|mark| mark >> 48 == u64::from(self.search)) {
            let at = self.place(mark);
            self.slots[at] = mark;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(rule: RuleIndex, object: u32) -> Goal {
        Goal { rule, object }
    }

    #[test]
    fn a_goal_is_there_once_and_no_other_for_it() {
        let mut marks = Marks::default();
        marks.clear();
        let goals = (0..7)
            .flat_map(|rule| (0..500u32).map(move |object| goal(rule, object.wrapping_mul(0x0100_0001))));
        for one in goals.clone() {
            assert!(!marks.contains(one), "{one:?}");
            assert!(marks.insert(one), "{one:?}");
            assert!(!marks.insert(one), "{one:?}");
        }
        assert!(goals.clone().all(|one| marks.contains(one)));
        assert!(!marks.contains(goal(7, 0)) && !marks.contains(goal(0, 1)));
        marks.clear();
        assert!(!goals.into_iter().any(|one| marks.contains(one)));
    }

    #[test]
    fn nothing_of_an_earlier_search_is_met_after_any_number_of_them() {
        let mut marks = Marks::default();
        for search in 0..200_000u32 {
            marks.clear();
            assert!(!marks.contains(goal(1, 1)), "{search}");
            assert!(marks.insert(goal(1, 1)), "{search}");
            assert!(marks.insert(goal(2, search)), "{search}");
        }
    }
}
