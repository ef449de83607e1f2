//! Object ids of one type: which number has this id, which id has this number?
//!
//! Ids lie packed in chunks of 64 by number. The way back is a hash table (see `index.rs`) that holds numbers only: what
//! it finds is held against the id itself.
//!
//! # Invariants
//! * Numbers are dense, in the order of [`Names::insert`]; [`Names::truncate`] is its exact inverse.
//!
//! Cost: a lookup reads one cache line of the index and, as a rule, one id; nothing is allocated. About 9 bytes an
//! id on top of the id itself.

mod index;
mod packed;

use std::sync::Arc;

use crate::memory::{arc_bytes, slice_bytes};
use crate::tree::{Edit, Item, Tree};
use crate::vector::Vector;

#[cfg(test)]
pub(crate) use index::PAGE_FILL;
pub(crate) use packed::NamesBuilder;

use index::Index;

/// Ids in a chunk.
const CHUNK: usize = 64;
/// Where each id of a chunk starts, two bytes each; at most 63 · 1,024.
const STARTS_BYTES: usize = 2 * CHUNK;

#[derive(Debug, Clone)]
pub(crate) struct Names {
    seed: u64,
    count: u32,
    sealed: Vector<Arc<[u8]>>,
    tail: Arc<Tail>,
    index: Index,
    births: Tree<Birth>,
}

/// The chunk that is being filled.
#[derive(Debug, Clone, Default)]
struct Tail {
    starts: Vec<u16>,
    bytes: Vec<u8>,
}

/// An entry gave numbers from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) revision: u64,
    pub(crate) first: u32,
}

impl Item for Birth {
    type Key = u64;
    type Least = ();
    const LEAF_MAX: usize = if cfg!(test) { 4 } else { 128 };

    fn key(&self) -> u64 {
        self.revision
    }

    fn least(&self) {}
}

impl Names {
    pub(crate) fn new(seed: u64) -> Names {
        Names {
            seed,
            count: 0,
            sealed: Vector::new(),
            tail: Arc::default(),
            index: Index::new(),
            births: Tree::new(),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The id of a number; empty if there is none.
    pub(crate) fn id(&self, number: u32) -> &str {
        // INVARIANT: chunks hold what `insert` took from `&str`s, cut where it was joined.
        std::str::from_utf8(self.bytes(number)).unwrap_or_default()
    }

    #[inline]
    fn bytes(&self, number: u32) -> &[u8] {
        bytes_of(&self.sealed, &self.tail, number)
    }

    #[inline]
    pub(crate) fn hash(&self, id: &str) -> u64 {
        hash(self.seed, id.as_bytes())
    }

    #[inline]
    pub(crate) fn number(&self, id: &str) -> Option<u32> {
        self.number_hashed(self.hash(id), id)
    }

    /// The number that an id of this hash has most likely, if it has one. Nothing but the index is read.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<u32> {
        self.index.likely(hash)
    }

    /// As [`Names::number_hashed`], which is asked if the likely one is another id's.
    #[inline]
    pub(crate) fn number_likely(&self, likely: Option<u32>, hash: u64, id: &str) -> Option<u32> {
        match likely {
            Some(number) if self.bytes(number) == id.as_bytes() => Some(number),
            _ => self.number_hashed(hash, id),
        }
    }

    /// As [`Names::number`], for an id whose hash is known.
    #[inline]
    pub(crate) fn number_hashed(&self, hash: u64, id: &str) -> Option<u32> {
        self.index.find(hash, |number| self.bytes(number) == id.as_bytes())
    }

    /// Numbers an id that has no number yet.
    pub(crate) fn insert(&mut self, hash: u64, id: &str) -> u32 {
        let number = self.count;
        let tail = Arc::make_mut(&mut self.tail);
        tail.starts.push(tail.bytes.len() as u16);
        tail.bytes.extend_from_slice(id.as_bytes());
        self.count += 1;
        if tail.starts.len() == CHUNK {
            self.sealed.push(tail.seal());
            self.tail = Arc::default();
        }
        let Names { seed, sealed, tail, index, .. } = self;
        index.insert(hash, number, |number| self::hash(*seed, bytes_of(sealed, tail, number)));
        number
    }

    /// Takes the numbers from `count` on away again.
    pub(crate) fn truncate(&mut self, count: u32) {
        while self.count > count {
            let number = self.count - 1;
            self.index.remove(hash(self.seed, self.bytes(number)), number);
            if self.tail.starts.is_empty()
                && let Some(chunk) = self.sealed.pop()
            {
                self.tail = Arc::new(Tail::unseal(&chunk));
            }
            let tail = Arc::make_mut(&mut self.tail);
            if let Some(start) = tail.starts.pop() {
                tail.bytes.truncate(usize::from(start));
            }
            self.count = number;
        }
    }

    #[cfg(test)]
    pub(crate) fn pages_len(&self) -> usize {
        self.index.pages_len()
    }

    /// Remembers that the entry at `revision` gave the numbers from `first` on, or from an earlier one if it did so before.
    pub(crate) fn record_birth(&mut self, revision: u64, first: u32) {
        if self.has_birth(revision) {
            return;
        }
        self.births.update(&[Edit::Put(Birth { revision, first })]);
    }

    /// Takes back what the entry at `revision` numbered, if anything.
    pub(crate) fn undo_birth(&mut self, revision: u64) {
        if let Some(birth) = self.births.item(revision).copied() {
            self.truncate(birth.first);
            self.births.update(&[Edit::Remove(revision)]);
        }
    }

    /// Whether the entry at `revision` gave numbers; it must be the last that gave any.
    pub(crate) fn has_birth(&self, revision: u64) -> bool {
        self.births.last().is_some_and(|birth| birth.revision == revision)
    }

    pub(crate) fn births(&self) -> impl Iterator<Item = &Birth> {
        self.births.iter()
    }

    /// The same births over other ids, which are numbered from 0 in their order.
    pub(crate) fn renamed<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Names {
        let mut names = Names { births: self.births.clone(), ..Names::new(self.seed) };
        for id in ids {
            names.insert(names.hash(id), id);
        }
        names
    }

    /// Bytes of ids and index, and of births, that `base` does not share.
    pub(crate) fn bytes_held(&self, base: Option<&Names>) -> (u64, u64) {
        fn slice<T>(own: &Arc<[T]>, base: Option<&Arc<[T]>>) -> u64 {
            if base.is_some_and(|base| Arc::ptr_eq(own, base)) { 0 } else { slice_bytes(own) }
        }
        let sealed = self.sealed.bytes(base.map(|base| &base.sealed), &slice);
        let index = self.index.bytes(base.map(|base| &base.index));
        let tail = match base {
            Some(base) if Arc::ptr_eq(&self.tail, &base.tail) => 0,
            _ => arc_bytes::<Tail>() + (2 * self.tail.starts.capacity() + self.tail.bytes.capacity()) as u64,
        };
        (sealed + index + tail, self.births.bytes(base.map(|base| &base.births), &|_| 0))
    }
}

#[inline]
fn bytes_of<'a>(sealed: &'a Vector<Arc<[u8]>>, tail: &'a Tail, number: u32) -> &'a [u8] {
    let (chunk, at) = (number as usize / CHUNK, number as usize % CHUNK);
    if chunk == sealed.len() {
        return tail.id(at);
    }
    sealed.item(chunk).map_or(&[], |chunk| sealed_id(chunk, at))
}

impl Tail {
    fn id(&self, at: usize) -> &[u8] {
        let Some(start) = self.starts.get(at) else { return &[] };
        let end = self.starts.get(at + 1).map_or(self.bytes.len(), |end| usize::from(*end));
        &self.bytes[usize::from(*start)..end]
    }

    fn seal(&self) -> Arc<[u8]> {
        let starts = self.starts.iter().flat_map(|start| start.to_le_bytes());
        let mut chunk = Vec::with_capacity(STARTS_BYTES + self.bytes.len());
        chunk.extend(starts);
        chunk.extend_from_slice(&self.bytes);
        Arc::from(chunk)
    }

    fn unseal(chunk: &[u8]) -> Tail {
        let (starts, bytes) = chunk.split_at(STARTS_BYTES);
        let starts = starts.chunks_exact(2).map(|start| u16::from_le_bytes([start[0], start[1]])).collect();
        Tail { starts, bytes: bytes.to_vec() }
    }
}

#[inline]
fn sealed_id(chunk: &[u8], at: usize) -> &[u8] {
    let start_of = |at: usize| usize::from(u16::from_le_bytes([chunk[2 * at], chunk[2 * at + 1]]));
    let end = if at + 1 == CHUNK { chunk.len() - STARTS_BYTES } else { start_of(at + 1) };
    &chunk[STARTS_BYTES + start_of(at)..STARTS_BYTES + end]
}

/// Folded multiplication (after Yi's wyhash): enough to spread ids; who must fear chosen ids passes a secret seed.
#[inline]
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd1b5_4a32_d192_ed03;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut state = fold(seed ^ A, bytes.len() as u64 ^ B);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), seed | B);
    }
    // What is left, in one word: the last bytes of ids that have a word or half of one, without a copy of any length.
    let last = match (rest, bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        ([], ..) => return fold(state ^ A, B),
        (_, Some(last), ..) => u64::from_le_bytes(*last),
        (_, None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        ([first, .., last], ..) => {
            u64::from(*first) | u64::from(bytes[bytes.len() / 2]) << 8 | u64::from(*last) << 16
        }
        ([only], ..) => u64::from(*only),
    };
    fold(fold(state ^ last, seed | B) ^ A, B)
}
