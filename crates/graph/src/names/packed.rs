//! Ids as the blocks they lie in: written as they are, and taken back with a new index.

use std::sync::Arc;

use super::index::{Index, Twice};
use super::{Birth, CHUNK, Names, Tail, bytes_of, hash};
use crate::tree::Tree;
use crate::vector::Vector;

use idhini_model::OBJECT_ID_BYTES_MAX;

const BLOCK: &str = "the ids of a block do not lie one after another";
const TEXT: &str = "an object id is not UTF-8";
const LENGTH: &str = "an object id is too long";
const COUNT: &str = "there are more objects than can be numbered";
const FULL: &str = "a block follows one that is not full";
const TWICE: &str = "two objects of a type have the same id";

impl Names {
    /// Ids in a block; the last may have fewer.
    pub(crate) const BLOCK_IDS: u32 = CHUNK as u32;

    /// Appends a block: where each id starts, two bytes each, then the ids. Returns how many ids it has.
    pub(crate) fn put_block(&self, block: usize, out: &mut Vec<u8>) -> usize {
        match self.sealed.item(block) {
            Some(chunk) => {
                out.extend_from_slice(chunk);
                CHUNK
            }
            None => {
                out.extend(self.tail.starts.iter().flat_map(|start| start.to_le_bytes()));
                out.extend_from_slice(&self.tail.bytes);
                self.tail.starts.len()
            }
        }
    }

    /// The first number that has another id, or that only one of them has.
    pub(crate) fn first_difference(old: &Names, new: &Names) -> Option<u32> {
        let block = Vector::first_difference(&old.sealed, &new.sealed, &Arc::ptr_eq);
        let shared = block.unwrap_or_else(|| old.sealed.len().min(new.sealed.len())) * CHUNK;
        if block.is_none() && Arc::ptr_eq(&old.tail, &new.tail) {
            return None;
        }
        // Numbers have 32 bits.
        let (start, end) = (shared as u32, old.count.min(new.count));
        let differs = |number: &u32| old.bytes(*number) != new.bytes(*number);
        (start..end).find(differs).or_else(|| (old.count != new.count).then_some(end))
    }

    /// Whether any birth before this revision is known.
    pub(crate) fn has_births_below(&self, revision: u64) -> bool {
        self.births.nth(0).is_some_and(|first| first.revision < revision)
    }

    pub(crate) fn forget_births_below(&mut self, revision: u64) {
        self.births.remove_below(revision);
    }

    pub(crate) fn births_tree(&self) -> &Tree<Birth> {
        &self.births
    }

    pub(crate) fn births_tree_mut(&mut self) -> &mut Tree<Birth> {
        &mut self.births
    }
}

/// Takes blocks in the order of their numbers.
#[derive(Debug)]
pub(crate) struct NamesBuilder {
    seed: u64,
    sealed: Vec<Arc<[u8]>>,
    tail: Tail,
    hashes: Vec<u64>,
}

impl NamesBuilder {
    pub(crate) fn new(seed: u64) -> NamesBuilder {
        NamesBuilder { seed, sealed: Vec::new(), tail: Tail::default(), hashes: Vec::new() }
    }

    /// How many ids there are so far.
    pub(crate) fn count(&self) -> u32 {
        self.hashes.len() as u32
    }

    /// Takes a block of `count` ids.
    pub(crate) fn push_block(&mut self, count: usize, packed: &[u8]) -> Result<(), &'static str> {
        if !self.tail.starts.is_empty() {
            return Err(FULL);
        }
        if count == 0 || count > CHUNK || packed.len() < 2 * count {
            return Err(BLOCK);
        }
        if self.hashes.len() + count > u32::MAX as usize {
            return Err(COUNT);
        }
        let (starts, bytes) = packed.split_at(2 * count);
        let text = std::str::from_utf8(bytes).map_err(|_| TEXT)?;
        let starts = starts.as_chunks::<2>().0.iter().map(|start| usize::from(u16::from_le_bytes(*start)));
        let ends = starts.clone().skip(1).chain([bytes.len()]);
        for (start, end) in starts.clone().zip(ends) {
            // Each id starts where the one before it ends; both cuts lie between characters.
            let Some(id) = text.get(start..end) else { return Err(BLOCK) };
            if id.len() > OBJECT_ID_BYTES_MAX {
                return Err(LENGTH);
            }
            self.hashes.push(hash(self.seed, id.as_bytes()));
        }
        if starts.clone().next() != Some(0) {
            return Err(BLOCK);
        }
        if count == CHUNK {
            self.sealed.push(Arc::from(packed));
        } else {
            self.tail = Tail { starts: starts.map(|start| start as u16).collect(), bytes: bytes.to_vec() };
        }
        Ok(())
    }

    /// All ids, found by a new index.
    pub(crate) fn finish(self, births: Vec<Birth>) -> Result<Names, &'static str> {
        let NamesBuilder { seed, sealed, tail, hashes } = self;
        let sealed: Vector<_> = sealed.into_iter().collect();
        let id = |number| bytes_of(&sealed, &tail, number);
        let index = Index::of_hashes(&hashes, |one, other| id(one) == id(other)).map_err(|Twice| TWICE)?;
        let (count, births) = (hashes.len() as u32, Tree::from_sorted(births));
        Ok(Names { seed, count, sealed, tail: Arc::new(tail), index, births })
    }
}
