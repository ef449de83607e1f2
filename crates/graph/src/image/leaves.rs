//! Edges as chunks: leaves as they lie in memory, spilled runs beside them.
//!
//! ```text
//! leaves chunk  kind 1 | leaf…
//! leaf          object − end of the leaf before it v | shape 1 | words v | spilled runs v? | word 4…
//! runs chunk    kind 1 | piece…
//! piece         object v | local class v | count v | number 4…
//! ```
//! A shape is how many objects the leaf covers (0: 64, 1: 8, 2: one), plus 4 if runs of it are spilled. Leaves of
//! chunks begin at multiples of 64 objects; a run goes on in the next piece that has its object and class.
//!
//! Cost: O(bytes), near a copy of memory.

use std::ops::Range;
use std::sync::Arc;

use super::bytes::{Decoded, Reader, put_varint, put_words};
use super::chunks::Cutter;
use super::manifest::Way;
use crate::leaf::{ClassTally, LeafRef, OBJECTS_BITS, SPLIT_BITS, Spilled};
use crate::tree::Tree;
use crate::trie::{Trie, TrieBuilder};

/// Sizes of leaves, as powers of two, by shape.
const SHAPES: [u32; 3] = [OBJECTS_BITS, OBJECTS_BITS - SPLIT_BITS, 0];
const SHAPE_SPILLED: u8 = 4;

/// Where a number of a run has its place among the pieces.
pub(super) fn run_key(object: u32, class: u32, number: u32) -> u128 {
    u128::from(object) << 64 | u128::from(class) << 32 | u128::from(number)
}

/// Writes the leaves that cover these objects.
pub(super) fn put_leaves<E>(
    trie: &Trie,
    objects: Range<u128>,
    cutter: &mut Cutter<'_, '_, E>,
) -> Result<(), E> {
    let mut from = u64::try_from(objects.start).unwrap_or(u64::MAX);
    let (mut group, mut end_before) = (None, 0);
    while let Some((leaf, start)) = trie.leaf_from(from)
        && u128::from(start) < objects.end
    {
        let group_of_leaf = start >> OBJECTS_BITS << OBJECTS_BITS;
        if group.replace(group_of_leaf) != Some(group_of_leaf)
            && cutter.piece_at(u128::from(group_of_leaf))?
        {
            end_before = 0;
        }
        let out = cutter.out();
        put_varint(out, start - end_before);
        let shape = SHAPES.iter().position(|bits| *bits == leaf.bits).unwrap_or(0) as u8;
        out.push(if leaf.spilled.is_empty() { shape } else { shape | SHAPE_SPILLED });
        put_varint(out, leaf.words.len() as u64);
        if !leaf.spilled.is_empty() {
            put_varint(out, leaf.spilled.len() as u64);
        }
        put_words(out, leaf.words);
        from = start + (1 << leaf.bits);
        end_before = from;
    }
    Ok(())
}

/// Writes the spilled numbers that have their places here.
pub(super) fn put_runs<E>(trie: &Trie, places: Range<u128>, cutter: &mut Cutter<'_, '_, E>) -> Result<(), E> {
    let mut from = u64::try_from(places.start >> 64).unwrap_or(u64::MAX);
    while let Some((leaf, start)) = trie.leaf_from(from) {
        for Spilled { slot, class, numbers } in leaf.spilled {
            let object = start as u32 + slot;
            let place = |number: u32| run_key(object, *class, number);
            let first = numbers.nth(0).copied().unwrap_or(0);
            if place(first) >= places.end {
                return Ok(());
            }
            if place(u32::MAX) < places.start {
                continue;
            }
            let rank = if place(0) < places.start { numbers.rank(places.start as u32) } else { 0 };
            for leaf in numbers.leaves_from(rank) {
                let here = leaf.partition_point(|number| place(*number) < places.end);
                let Some(first) = leaf[..here].first() else { break };
                cutter.piece_at(place(*first))?;
                let out = cutter.out();
                put_varint(out, u64::from(object));
                put_varint(out, u64::from(*class));
                put_varint(out, here as u64);
                put_words(out, &leaf[..here]);
            }
        }
        from = start + (1 << leaf.bits);
    }
    Ok(())
}

/// The edges of one type in one direction, being read.
#[derive(Debug)]
pub(super) struct TrieReader {
    objects_end: u32,
    tallies: Vec<ClassTally>,
    /// Object, local class, numbers; ascending.
    runs: Vec<(u32, u32, Vec<u32>)>,
    runs_taken: usize,
    builder: TrieBuilder,
}

impl TrieReader {
    pub(super) fn new(objects_end: u32, tallies: Vec<ClassTally>) -> TrieReader {
        TrieReader { objects_end, tallies, runs: Vec::new(), runs_taken: 0, builder: TrieBuilder::default() }
    }

    /// Reads a chunk of runs; all of them come before the leaves.
    pub(super) fn runs(&mut self, reader: &mut Reader<'_>, places: &Range<u128>) -> Decoded<()> {
        while !reader.is_at_end() {
            let (object, class) = (reader.narrow()?, reader.narrow()?);
            let count = reader.count(4)?;
            let numbers: Vec<u32> = reader.words(count)?;
            let Some(tally) = self.tallies.get_mut(class as usize) else {
                return Err(reader.malformed("a run of a class that its type does not have"));
            };
            let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
                return Err(reader.malformed("a piece of a run is empty"));
            };
            if object >= self.objects_end || !numbers.iter().all(|number| tally.numbers.contain(*number)) {
                return Err(reader.malformed("a run to or of an object that does not exist"));
            }
            let (first, last) = (run_key(object, class, *first), run_key(object, class, *last));
            if !numbers.is_sorted_by(|a, b| a < b) || !places.contains(&first) || !places.contains(&last) {
                return Err(reader.malformed("the numbers of a run do not ascend"));
            }
            numbers.iter().for_each(|number| tally.add(object, *number));
            match self.runs.last_mut() {
                Some((last_object, last_class, have)) if (*last_object, *last_class) == (object, class) => {
                    if have.last() >= numbers.first() {
                        return Err(reader.malformed("the numbers of a run do not ascend"));
                    }
                    have.extend(numbers);
                }
                Some((last_object, last_class, _)) if (*last_object, *last_class) > (object, class) => {
                    return Err(reader.malformed("runs are out of order"));
                }
                _ => self.runs.push((object, class, numbers)),
            }
        }
        Ok(())
    }

    /// Reads a chunk of leaves.
    pub(super) fn leaves(&mut self, reader: &mut Reader<'_>, objects: &Range<u128>) -> Decoded<()> {
        let mut end_before = 0u64;
        while !reader.is_at_end() {
            let start = reader.varint()?.checked_add(end_before).and_then(|start| u32::try_from(start).ok());
            let start = start.ok_or_else(|| reader.malformed("a leaf of objects beyond all numbers"))?;
            let shape = reader.byte()?;
            let Some(bits) = SHAPES.get(usize::from(shape & !SHAPE_SPILLED)).copied() else {
                return Err(reader.malformed("a leaf is of no known shape"));
            };
            if !self.builder.admits(start, bits) || !objects.contains(&u128::from(start)) {
                return Err(reader.malformed("a leaf is out of place"));
            }
            let count = reader.count(4)?;
            let spilled = if shape & SHAPE_SPILLED == 0 { 0 } else { reader.count(0)? };
            let words: Arc<[u32]> = reader.words(count)?;
            let spilled = self.take_runs(start, bits, spilled);
            let spilled = spilled.ok_or_else(|| reader.malformed("a leaf without its spilled runs"))?;
            if spilled.is_empty() && count <= LeafRef::head_len(bits) {
                return Err(reader.malformed("a leaf is empty"));
            }
            let leaf = LeafRef { words: &words, spilled: &spilled, bits };
            let checked = leaf.check(start, self.objects_end, &mut self.tallies);
            checked.map_err(|what| reader.malformed(what))?;
            end_before = u64::from(start) + (1 << bits);
            self.builder.push(start, bits, words, spilled);
        }
        Ok(())
    }

    /// The next runs, if they are as many as this of these objects, and no more.
    fn take_runs(&mut self, start: u32, bits: u32, count: usize) -> Option<Vec<Spilled>> {
        let rest = self.runs.get_mut(self.runs_taken..)?;
        let is_mine = |object: u32| u64::from(object) < u64::from(start) + (1 << bits);
        let mine = rest.partition_point(|(object, ..)| is_mine(*object));
        if mine != count || rest.first().is_some_and(|(object, ..)| *object < start) {
            return None;
        }
        self.runs_taken += mine;
        let taken = rest[..mine].iter_mut().map(|(object, class, numbers)| Spilled {
            slot: *object - start,
            class: *class,
            numbers: Tree::from_sorted(std::mem::take(numbers)),
        });
        Some(taken.collect())
    }

    /// The trie, and the edges of each local class.
    pub(super) fn finish(self) -> Option<(Trie, Vec<ClassTally>)> {
        (self.runs_taken == self.runs.len()).then(|| (self.builder.finish(), self.tallies))
    }
}

/// Which trie of a type.
pub(super) fn trie_of(table: &crate::root::TypeTable, way: Way) -> &Trie {
    match way {
        Way::Forward => &table.forward,
        Way::Reverse => &table.reverse,
    }
}
