//! A leaf: the rows of up to 64 neighbouring objects in one allocation of words.
//!
//! ```text
//! word 0          class shift: how many low bits of a row word are the number
//! then            row ends, two of 16 bits a word, counted in row words (none if the leaf covers one object)
//! then            row words, ascending in each row: local class << class shift | number
//! ```
//! Which row a word belongs to follows from the row ends, so an edge costs four bytes. A run that is too long,
//! or whose class or numbers do not fit the widths of its leaf, is *spilled*: it becomes a tree beside the words.
//!
//! # Invariants
//! * A leaf that covers more than one object has at most [`WORDS_MAX`] row words; above it is split.
//! * Class shifts are from 1 to 31.
//! * A (slot, class) is either in the words or spilled, never both.
//!
//! Cost: a lookup reads two or three cache lines; a change copies at most 2 KiB.

mod check;

use crate::row::Row;
use crate::tree::{Edit, Tree};

pub(crate) use check::{ClassTally, Numbers};

/// Most objects of a leaf, as a power of two.
pub(crate) const OBJECTS_BITS: u32 = 6;
/// Most row words of a leaf. (Unit tests make leaves small, so that few edges split and spill them.)
pub(crate) const WORDS_MAX: usize = if cfg!(test) { 24 } else { 512 };
/// In a leaf that is too full, runs from this length on are spilled before it is split.
pub(crate) const SPILL_MIN: usize = WORDS_MAX / 4;
/// A spilled run that shrinks below this returns into its leaf.
pub(crate) const RETURN_BELOW: usize = SPILL_MIN / 2;
/// What a spilled run weighs in its leaf, in words.
const SPILLED_WEIGHT: usize = if cfg!(test) { 2 } else { 12 };
/// The class shift of a leaf in which everything fits: 64 classes, 67 million objects.
const CLASS_SHIFT_USUAL: u32 = 26;

/// One change of one edge as a trie sees it, ordered by object, local class, number; then the change's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Op(u128);

/// What an [`Op`] does to its edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Insert,
    Remove,
    /// Only attributes change.
    Keep,
}

impl Op {
    /// Indexes are below this.
    pub(crate) const INDEX_END: usize = 1 << 30;

    pub(crate) fn new(object: u32, class: u32, number: u32, index: u32, effect: Effect) -> Op {
        let effect = match effect {
            Effect::Insert => 0,
            Effect::Remove => 1,
            Effect::Keep => 2,
        };
        let low = u128::from(index) << 2 | effect;
        Op(u128::from(object) << 96 | u128::from(class) << 64 | u128::from(number) << 32 | low)
    }

    #[inline]
    pub(crate) fn object(self) -> u32 {
        (self.0 >> 96) as u32
    }

    #[inline]
    pub(crate) fn class(self) -> u32 {
        (self.0 >> 64) as u32
    }

    #[inline]
    pub(crate) fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn index(self) -> usize {
        (self.0 as u32 >> 2) as usize
    }

    pub(crate) fn effect(self) -> Effect {
        match self.0 as u32 & 3 {
            0 => Effect::Insert,
            1 => Effect::Remove,
            _ => Effect::Keep,
        }
    }

    pub(crate) fn same_edge(self, other: Op) -> bool {
        self.0 >> 32 == other.0 >> 32
    }
}

/// One edge inside a leaf, ordered by slot, local class, number. Classes are below 2²⁶.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeafEdge(u64);

impl LeafEdge {
    pub(crate) fn new(slot: u32, class: u32, number: u32) -> LeafEdge {
        LeafEdge(u64::from(slot) << 58 | u64::from(class) << 32 | u64::from(number))
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 >> 58) as u32
    }

    pub(crate) fn class(self) -> u32 {
        (self.0 >> 32) as u32 & ((1 << 26) - 1)
    }

    pub(crate) fn number(self) -> u32 {
        self.0 as u32
    }

    fn same_run(self, other: LeafEdge) -> bool {
        self.0 >> 32 == other.0 >> 32
    }

    pub(crate) fn at_slot(self, slot: u32) -> LeafEdge {
        LeafEdge::new(slot, self.class(), self.number())
    }
}

/// A run that lives beside its leaf's words.
#[derive(Debug, Clone)]
pub(crate) struct Spilled {
    pub(crate) slot: u32,
    pub(crate) class: u32,
    pub(crate) numbers: Tree<u32>,
}

/// The parts a leaf is made from.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Sorted.
    pub(crate) edges: Vec<LeafEdge>,
    /// Sorted by slot and class.
    pub(crate) spilled: Vec<Spilled>,
}

/// A leaf being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafRef<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) spilled: &'a [Spilled],
    /// Covers 2^bits objects.
    pub(crate) bits: u32,
}

impl<'a> LeafRef<'a> {
    pub(crate) fn head_len(bits: u32) -> usize {
        1 + (1usize << bits) / 2
    }

    #[inline]
    fn class_shift(self) -> u32 {
        self.words[0]
    }

    pub(crate) fn row_words(self) -> &'a [u32] {
        &self.words[Self::head_len(self.bits)..]
    }

    #[inline]
    fn end(self, slot: u32) -> usize {
        if self.bits == 0 {
            return self.words.len() - 1;
        }
        (self.words[1 + slot as usize / 2] >> (16 * (slot & 1)) & 0xffff) as usize
    }

    #[inline]
    fn bounds(self, slot: u32) -> (usize, usize) {
        (if slot == 0 { 0 } else { self.end(slot - 1) }, self.end(slot))
    }

    #[inline]
    fn row_slice(self, slot: u32) -> &'a [u32] {
        let (start, end) = self.bounds(slot);
        let head = Self::head_len(self.bits);
        &self.words[head + start..head + end]
    }

    /// The row of one slot.
    #[inline]
    pub(crate) fn row(self, slot: u32) -> Row<'a> {
        let spilled = if self.spilled.is_empty() { &[] } else { self.spilled_of(slot) };
        Row::new(self.row_slice(slot), self.class_shift(), spilled)
    }

    fn spilled_of(self, slot: u32) -> &'a [Spilled] {
        let start = self.spilled.partition_point(|run| run.slot < slot);
        let rest = &self.spilled[start..];
        &rest[..rest.partition_point(|run| run.slot == slot)]
    }

    fn is_spilled(self, slot: u32, class: u32) -> bool {
        self.spilled.binary_search_by_key(&(slot, class), |run| (run.slot, run.class)).is_ok()
    }

    /// Appends the edges that are in the words, ascending.
    pub(crate) fn word_edges(self, out: &mut Vec<LeafEdge>) {
        let shift = self.class_shift();
        for slot in 0..1u32 << self.bits {
            let row = self.row_slice(slot);
            out.extend(row.iter().map(|word| LeafEdge::new(slot, word >> shift, word & ((1 << shift) - 1))));
        }
    }

    /// Everything, taken apart.
    pub(crate) fn rows(self) -> Rows {
        let mut edges = Vec::with_capacity(self.row_words().len());
        self.word_edges(&mut edges);
        Rows { edges, spilled: self.spilled.to_vec() }
    }

    /// All edges, spilled ones too, ascending.
    pub(crate) fn edges(self, out: &mut Vec<LeafEdge>) {
        out.clear();
        self.word_edges(out);
        for run in self.spilled {
            out.extend(run.numbers.iter().map(|number| LeafEdge::new(run.slot, run.class, *number)));
        }
        if !self.spilled.is_empty() {
            out.sort_unstable();
        }
    }

    /// The common change: a few words in or out, nothing else different. False if it is not that simple.
    ///
    /// `out` then holds the leaf's new words.
    pub(crate) fn splice(self, ops: &[Op], out: &mut Vec<u32>) -> bool {
        let (shift, mask) = (self.class_shift(), (1u32 << self.class_shift()) - 1);
        let slot_mask = (1u32 << self.bits) - 1;
        let simple = |op: &Op| {
            op.class() >> (32 - shift) == 0
                && op.number() <= mask
                && !self.is_spilled(op.object() & slot_mask, op.class())
        };
        let body = self.row_words();
        if body.len() + ops.len() > WORDS_MAX || !ops.iter().all(simple) {
            return false;
        }
        let head = Self::head_len(self.bits);
        let mut growth = [0i16; 1 << OBJECTS_BITS];
        let mut copied = 0;
        out.clear();
        out.extend_from_slice(&self.words[..head]);
        for op in ops {
            let slot = op.object() & slot_mask;
            let word = op.class() << shift | op.number();
            let (start, end) = self.bounds(slot);
            let from = start.max(copied);
            let at = from + body[from..end].partition_point(|have| *have < word);
            out.extend_from_slice(&body[copied..at]);
            copied = at;
            if op.effect() == Effect::Remove {
                debug_assert_eq!(body[at], word);
                copied += 1;
                growth[slot as usize] -= 1;
            } else {
                out.push(word);
                growth[slot as usize] += 1;
            }
        }
        out.extend_from_slice(&body[copied..]);
        if self.bits > 0 {
            let mut grown = 0i16;
            for (slot, growth) in (0..=slot_mask).zip(growth) {
                grown += growth;
                set_end(out, slot, self.end(slot).wrapping_add_signed(isize::from(grown)));
            }
        }
        true
    }
}

fn set_end(words: &mut [u32], slot: u32, end: usize) {
    let at = 16 * (slot & 1);
    let word = &mut words[1 + slot as usize / 2];
    *word = *word & !(0xffff << at) | (end as u32) << at;
}

/// What a leaf's rows turned into.
#[derive(Debug)]
pub(crate) enum Encoded {
    Empty,
    Words(Vec<u32>, Vec<Spilled>),
    /// Too much for one leaf: taken apart again for leaves of an eighth of the objects each.
    Split(Vec<Rows>),
}

/// How many leaves a leaf splits into, as a power of two.
pub(crate) const SPLIT_BITS: u32 = 3;

impl Rows {
    fn weight(&self) -> usize {
        self.edges.len() + self.spilled.len() * SPILLED_WEIGHT
    }

    /// Applies ops to rows of 2^bits objects.
    pub(crate) fn apply(&mut self, bits: u32, ops: &[Op]) {
        let slot_mask = (1u32 << bits) - 1;
        let old = std::mem::take(&mut self.edges);
        self.edges.reserve(old.len() + ops.len());
        let mut rest = &old[..];
        for run in ops.chunk_by(|a, b| a.object() == b.object() && a.class() == b.class()) {
            let (slot, class) = (run[0].object() & slot_mask, run[0].class());
            if let Ok(at) = self.spilled.binary_search_by_key(&(slot, class), |run| (run.slot, run.class)) {
                self.apply_to_spilled(at, run, &mut rest);
                continue;
            }
            for op in run {
                let edge = LeafEdge::new(slot, class, op.number());
                let before = rest.partition_point(|have| *have < edge);
                self.edges.extend_from_slice(&rest[..before]);
                rest = &rest[before..];
                if op.effect() == Effect::Remove {
                    debug_assert_eq!(rest.first(), Some(&edge));
                    rest = rest.get(1..).unwrap_or_default();
                } else {
                    self.edges.push(edge);
                }
            }
        }
        self.edges.extend_from_slice(rest);
    }

    fn apply_to_spilled(&mut self, at: usize, ops: &[Op], rest: &mut &[LeafEdge]) {
        let edits: Vec<Edit<u32>> = ops
            .iter()
            .map(|op| match op.effect() {
                Effect::Remove => Edit::Remove(op.number()),
                _ => Edit::Put(op.number()),
            })
            .collect();
        let run = &mut self.spilled[at];
        run.numbers.update(&edits);
        if run.numbers.len() < RETURN_BELOW {
            let run = self.spilled.remove(at);
            let before = rest.partition_point(|have| *have < LeafEdge::new(run.slot, run.class, 0));
            self.edges.extend_from_slice(&rest[..before]);
            *rest = &rest[before..];
            self.edges.extend(run.numbers.iter().map(|number| LeafEdge::new(run.slot, run.class, *number)));
        }
    }

    /// Lays out rows of 2^bits objects.
    pub(crate) fn encode(mut self, bits: u32) -> Encoded {
        let shift = class_shift(&self.edges);
        let fits = |run: &[LeafEdge]| run_fits(run, shift);
        let full = self.weight() > WORDS_MAX;
        self.spill(|run| !fits(run) || full && run.len() >= SPILL_MIN);
        if bits == 0 && self.edges.len() > WORDS_MAX {
            let longest = self.shortest_to_spill();
            self.spill(|run| run.len() >= longest);
        }
        if self.edges.is_empty() && self.spilled.is_empty() {
            return Encoded::Empty;
        }
        if bits > 0 && self.weight() > WORDS_MAX {
            return Encoded::Split(self.split(bits - SPLIT_BITS));
        }
        let head = LeafRef::head_len(bits);
        let mut words = Vec::with_capacity(head + self.edges.len());
        words.push(shift);
        words.resize(head, 0);
        words.extend(self.edges.iter().map(|edge| edge.class() << shift | edge.number()));
        if bits > 0 {
            let mut end = 0;
            for slot in 0..1u32 << bits {
                end += self.edges[end..].partition_point(|edge| edge.slot() == slot);
                set_end(&mut words, slot, end);
            }
        }
        Encoded::Words(words, self.spilled)
    }

    /// Moves the runs that `leaves` chooses out of the words.
    fn spill(&mut self, leaves: impl Fn(&[LeafEdge]) -> bool) {
        if !self.edges.chunk_by(|a, b| a.same_run(*b)).any(&leaves) {
            return;
        }
        let edges = std::mem::take(&mut self.edges);
        for run in edges.chunk_by(|a, b| a.same_run(*b)) {
            if leaves(run) {
                let mut numbers = Tree::new();
                numbers.update(&run.iter().map(|edge| Edit::Put(edge.number())).collect::<Vec<_>>());
                self.spilled.push(Spilled { slot: run[0].slot(), class: run[0].class(), numbers });
            } else {
                self.edges.extend_from_slice(run);
            }
        }
        self.spilled.sort_unstable_by_key(|run| (run.slot, run.class));
    }

    /// The run length from which on runs must go, so that what remains fits one object's leaf.
    fn shortest_to_spill(&self) -> usize {
        let mut lengths: Vec<usize> = self.edges.chunk_by(|a, b| a.same_run(*b)).map(<[_]>::len).collect();
        lengths.sort_unstable();
        let mut kept = 0;
        let first_too_many = lengths.iter().position(|len| {
            kept += len;
            kept > WORDS_MAX
        });
        first_too_many.map_or(usize::MAX, |at| lengths[at])
    }

    fn split(self, bits: u32) -> Vec<Rows> {
        let mut parts: Vec<Rows> = (0..1 << SPLIT_BITS).map(|_| Rows::default()).collect();
        let slot_mask = (1u32 << bits) - 1;
        for edge in self.edges {
            parts[(edge.slot() >> bits) as usize].edges.push(edge.at_slot(edge.slot() & slot_mask));
        }
        for run in self.spilled {
            let part = &mut parts[(run.slot >> bits) as usize];
            part.spilled.push(Spilled { slot: run.slot & slot_mask, ..run });
        }
        parts
    }
}

fn run_fits(run: &[LeafEdge], shift: u32) -> bool {
    run.last().is_some_and(|last| last.class() >> (32 - shift) == 0 && last.number() >> shift == 0)
}

/// The widths under which most runs fit: the usual ones, or those that fit this leaf.
fn class_shift(edges: &[LeafEdge]) -> u32 {
    let fitting =
        |shift: u32| edges.chunk_by(|a, b| a.same_run(*b)).filter(|run| run_fits(run, shift)).count();
    let wide = |edge: &LeafEdge| edge.number() >> CLASS_SHIFT_USUAL != 0 || edge.class() >> 6 != 0;
    if !edges.iter().any(wide) {
        return CLASS_SHIFT_USUAL;
    }
    let classes = edges.iter().map(|edge| edge.class()).max().unwrap_or(0);
    let numbers = edges.iter().map(|edge| edge.number()).max().unwrap_or(0);
    let class_bits = u32::BITS - classes.leading_zeros();
    let number_bits = u32::BITS - numbers.leading_zeros();
    if class_bits + number_bits <= u32::BITS && (1..=31).contains(&(u32::BITS - class_bits)) {
        return u32::BITS - class_bits;
    }
    (1..=31).max_by_key(|shift| fitting(*shift)).unwrap_or(CLASS_SHIFT_USUAL)
}
