//! What is told before the search is over? The first objects that it reaches definitely, in the order in which it does;
//! all others follow when it is over, in the order of their numbers.
//!
//! # Invariants
//! * Who is told early, and in which order, depends on question and snapshot alone: it is decided by the edges that were
//!   followed and the objects that were left, never by portions, so that a later page finds the same again.
//! * Only who surely has it is told early, as nothing that is found later can add to that.
//! * That order is part of what a position means: whoever changes it, or [`EARLY_MAX`] or [`EARLY_EDGES`], makes positions
//!   of another kind, or a page between an old server and a new one would lose results.
//!
//! Cost: a comparison an object that is reached definitely; four bytes for each that is told early.

use crate::broken::{Variant, is_broken};
use crate::question::UNNAMED_RESOURCE;
use crate::{Limits, Position};

/// Results that LookupResources tells early unless its caller says otherwise: a small page, or the first message or two.
pub const EARLY_MAX: usize = 128;
/// Edges that it follows for them, unless nothing was found until then: some tens of microseconds.
pub const EARLY_EDGES: u64 = 4_096;

/// Who is told early, while it is searched.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Those that were reached.
    found: Vec<u32>,
    /// How many of these may be found, as far as the search is.
    found_max: usize,
    /// How many were looked at.
    seen: usize,
    /// Those of them from whom nothing takes it away.
    told: Vec<u32>,
    /// Edges followed and objects left, and of how many the first are to be told.
    edges: u64,
    edges_max: u64,
}

impl Early {
    pub(super) fn new(limits: Limits) -> Early {
        let Limits { early_max, early_edges, .. } = limits;
        let mut early = Early { found_max: early_max, edges_max: early_edges, ..Early::default() };
        early.count(0);
        early
    }

    /// How many edges may be followed at once: up to where another number may be found.
    pub(super) fn room(&self) -> u64 {
        match self.edges_max.saturating_sub(self.edges) {
            0 => u64::MAX,
            left => left,
        }
    }

    /// So many edges were followed.
    pub(super) fn count(&mut self, edges: u64) {
        self.edges = self.edges.saturating_add(edges);
        if self.edges >= self.edges_max {
            self.found_max = self.found_max.min(1);
        }
    }

    /// This one is reached definitely, for the first time.
    #[inline]
    pub(super) fn add(&mut self, object: u32) {
        if self.found.len() < self.found_max && object < UNNAMED_RESOURCE {
            self.found.push(object);
        }
    }

    /// A portion ends.
    pub(super) fn end_portion(&mut self) {
        if is_broken(Variant::EarlyMindsPortions) {
            self.found_max = self.found.len();
        }
    }

    /// Whether there is one that was not looked at.
    pub(super) fn has_next(&self) -> bool {
        self.seen < self.found.len()
    }

    /// The next one to look at.
    pub(super) fn next(&mut self) -> Option<u32> {
        let next = self.found.get(self.seen).copied();
        self.seen += usize::from(next.is_some());
        next
    }

    /// Nothing takes it away from this one; answers how many are told with it.
    pub(super) fn tell(&mut self, object: u32) -> usize {
        self.told.push(object);
        self.told.len()
    }

    /// All who are told, when the search is over.
    pub(super) fn into_told(self) -> Vec<u32> {
        self.told
    }
}

/// Where answers go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind so many that are told early.
    Early(usize),
    /// Behind all of these, with the object of this number.
    Late(u64),
    /// The same where none is told early, as in the positions of earlier releases.
    ByNumber(u64),
}

const EARLY: u64 = 1 << 40;
const LATE: u64 = 2 << 40;

impl Place {
    pub(super) fn of(position: Option<Position>, limits: Limits) -> Place {
        let skipped = u64::from(is_broken(Variant::PagesSkipOne));
        let Some(Position(position)) = position else {
            return if limits.early_max > 0 { Place::Early(0) } else { Place::ByNumber(0) };
        };
        let behind = (position & (EARLY - 1)) + skipped;
        if position >= LATE {
            Place::Late(behind)
        } else if position >= EARLY {
            Place::Early(usize::try_from(behind).unwrap_or(usize::MAX))
        } else {
            Place::ByNumber(behind)
        }
    }

    /// Behind so many that are told early.
    pub(super) fn behind_early(told: usize) -> Position {
        Position(EARLY | told as u64)
    }

    /// The same, behind an object.
    pub(super) fn behind(self, object: u32) -> Position {
        let next = u64::from(object) + 1;
        match self {
            Place::ByNumber(_) => Position(next),
            Place::Early(_) | Place::Late(_) => Position(LATE | next),
        }
    }
}
