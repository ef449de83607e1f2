//! Until when does a value stay what it is, while relationships expire and nothing else happens?
//!
//! As time passes, live relationships become absent and absent ones stay so. So a value stays at least until the first
//! of the edges expires that it rests on:
//! * a grant, or a denial by `&`, `-` or `.all`, rests on the child that decided it;
//! * what no child decided rests on all of them;
//! * an edge without effect rests on its target alone, and on nothing if the edge is gone before the target changes;
//! * goals that depend on each other rest on every edge that was judged until they were solved;
//! * a conditional answer through such goals rests on every edge that was judged, since what is missing is named through
//!   all of them.
//!
//! The moment is a bound: the answer may be the same behind it, as the evaluator looks for no second reason. Before it
//! the answer is the same, missing parameters included.
//!
//! Cost: a comparison for each value that is passed on; nothing is kept before an edge that expires is judged.

use idhini_model::Timestamp;

/// A moment by its number among [`Moments`], or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until(u32);

impl Until {
    pub(crate) const NEVER: Until = Until(u32::MAX);
}

/// When the edges expire that were judged.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    moments: Vec<Timestamp>,
    /// The place of the earliest.
    first: usize,
}

impl Moments {
    /// Of an edge that is being judged.
    pub(crate) fn add(&mut self, moment: Timestamp) -> Until {
        // Edges that were written together often expire together.
        if self.moments.last() != Some(&moment) {
            self.moments.push(moment);
            if self.moments.get(self.first).is_some_and(|first| moment < *first) {
                self.first = self.moments.len() - 1;
            }
        }
        number(self.moments.len() - 1)
    }

    /// The earlier of two; the first of them if they are the same.
    pub(crate) fn earlier(&self, one: Until, other: Until) -> Until {
        if other == Until::NEVER || one == other {
            return one;
        }
        if one == Until::NEVER || self.at(other) < self.at(one) { other } else { one }
    }

    /// The earliest of all.
    pub(crate) fn first(&self) -> Until {
        if self.moments.is_empty() { Until::NEVER } else { number(self.first) }
    }

    /// The moment, unless it is never.
    pub(crate) fn at(&self, until: Until) -> Option<Timestamp> {
        self.moments.get(until.0 as usize).copied()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a question's budget keeps its edges below 2^32")]
fn number(place: usize) -> Until {
    Until(place as u32)
}
