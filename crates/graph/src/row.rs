//! One object's edges in one direction, of all classes: which are there, and which of one class?
//!
//! A row is found once and asked for as many classes as a rule names. Classes have their local numbers here, those of
//! [`Root::forward_local`](crate::Root::forward_local) and [`Root::reverse_local`](crate::Root::reverse_local).
//!
//! Cost: a class of a short row is found by one pass over its words without a branch that depends on them, of a
//! longer one by binary search; a number of a known class without finding the class first.

use crate::leaf::Spilled;
use crate::run::Run;

/// Rows of at most this many words are counted through, longer ones searched.
const COUNTED_MAX: usize = 16;

/// All edges of one object in one direction; borrowed from its root.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Ascending: local class << `shift` | number.
    words: &'a [u32],
    /// From 1 to 31.
    shift: u32,
    /// Runs that lie beside the words, ascending by class.
    spilled: &'a [Spilled],
}

impl<'a> Row<'a> {
    /// Of an object without edges.
    pub const EMPTY: Row<'static> = Row { words: &[], shift: 1, spilled: &[] };

    #[inline]
    pub(crate) fn new(words: &'a [u32], shift: u32, spilled: &'a [Spilled]) -> Row<'a> {
        Row { words, shift, spilled }
    }

    /// How many edges there are: the object's degree.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.words.len() + self.spilled.iter().map(|run| run.numbers.len()).sum::<usize>()
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        // No run is empty.
        self.words.is_empty() && self.spilled.is_empty()
    }

    /// The numbers of one class.
    #[must_use]
    #[inline]
    pub fn run(self, local: u32) -> Run<'a> {
        if let Some(spilled) = self.spilled(local) {
            return Run::tree(&spilled.numbers);
        }
        let (low, mask) = (local << self.shift, (1u32 << self.shift) - 1);
        if local >> (u32::BITS - self.shift) != 0 {
            return Run::EMPTY;
        }
        let high = low | mask;
        let (start, end) = if self.words.len() <= COUNTED_MAX {
            let below = self.words.iter().filter(|word| **word < low).count();
            (below, self.words.iter().filter(|word| **word <= high).count())
        } else {
            let start = self.words.partition_point(|word| *word < low);
            (start, start + self.words[start..].partition_point(|word| *word <= high))
        };
        Run::words(self.words.get(start..end).unwrap_or_default(), mask)
    }

    /// Whether there is an edge of this class to this number.
    #[must_use]
    #[inline]
    pub fn contains(self, local: u32, number: u32) -> bool {
        if let Some(spilled) = self.spilled(local) {
            return spilled.numbers.item(number).is_some();
        }
        if local >> (u32::BITS - self.shift) != 0 || number >> self.shift != 0 {
            return false;
        }
        let word = local << self.shift | number;
        if self.words.len() <= COUNTED_MAX {
            self.words.iter().fold(false, |found, have| found | (*have == word))
        } else {
            self.words.binary_search(&word).is_ok()
        }
    }

    /// All edges, as local class and number: ascending, but for the runs that lie beside the words, which come last.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let Row { words, shift, spilled } = self;
        let of_words = words.iter().map(move |word| (word >> shift, word & ((1 << shift) - 1)));
        of_words.chain(spilled.iter().flat_map(|run| run.numbers.iter().map(|number| (run.class, *number))))
    }

    #[inline]
    fn spilled(self, local: u32) -> Option<&'a Spilled> {
        if self.spilled.is_empty() {
            return None;
        }
        let at = self.spilled.binary_search_by_key(&local, |run| run.class);
        at.ok().map(|at| &self.spilled[at])
    }
}
