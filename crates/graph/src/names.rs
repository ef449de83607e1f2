//! Object ids of one type: which number has this id, which id has this number?
//!
//! Ids lie packed in chunks of 64 by number. The way back is a hash table by linear hashing (Litwin 1980), its
//! buckets in a persistent vector: it grows by one bucket at a time and looks the same whatever the order of
//! growing and shrinking was.
//!
//! # Invariants
//! * Numbers are dense, in the order of [`Names::insert`]; [`Names::truncate`] is its exact inverse.
//! * Every number is in exactly the bucket that its id's hash names for the current number of buckets.
//!
//! Cost: a lookup compares one cache line of tags and, as a rule, one id; nothing is allocated. About 8 bytes an
//! id on top of the id itself.

mod packed;

use std::sync::Arc;

use crate::memory::{arc_bytes, slice_bytes};
use crate::tree::{Edit, Item, Tree};
use crate::vector::Vector;

pub(crate) use packed::NamesBuilder;

/// Ids in a chunk.
const CHUNK: usize = 64;
/// Where each id of a chunk starts, two bytes each; at most 63 · 1,024.
const STARTS_BYTES: usize = 2 * CHUNK;
/// Average numbers in a bucket.
pub(crate) const BUCKET_FILL: usize = if cfg!(test) { 3 } else { 24 };

/// `n` tags, then `n` numbers, the low half first.
type Bucket = Arc<[u16]>;

#[derive(Debug, Clone)]
pub(crate) struct Names {
    seed: u64,
    count: u32,
    sealed: Vector<Arc<[u8]>>,
    tail: Arc<Tail>,
    buckets: Vector<Bucket>,
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
            buckets: Vector::new(),
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
        let (chunk, at) = (number as usize / CHUNK, number as usize % CHUNK);
        if chunk == self.sealed.len() {
            return self.tail.id(at);
        }
        self.sealed.item(chunk).map_or(&[], |chunk| sealed_id(chunk, at))
    }

    #[inline]
    pub(crate) fn hash(&self, id: &str) -> u64 {
        hash(self.seed, id.as_bytes())
    }

    #[inline]
    pub(crate) fn number(&self, id: &str) -> Option<u32> {
        self.number_hashed(self.hash(id), id)
    }

    /// As [`Names::number`], for an id whose hash is known.
    #[inline]
    pub(crate) fn number_hashed(&self, hash: u64, id: &str) -> Option<u32> {
        let bucket = self.buckets.item(bucket_of(hash, self.buckets.len()))?;
        let (tags, numbers) = parts(bucket);
        let tag = tag_of(hash);
        let same = tags.iter().zip(numbers).filter(|(have, _)| **have == tag);
        same.map(|(_, number)| joined(*number)).find(|number| self.bytes(*number) == id.as_bytes())
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
        if number as usize >= self.buckets.len() * BUCKET_FILL {
            self.split_bucket();
        }
        self.put(hash, number);
        number
    }

    /// Takes the numbers from `count` on away again.
    pub(crate) fn truncate(&mut self, count: u32) {
        while self.count > count {
            let number = self.count - 1;
            let hash = hash(self.seed, self.bytes(number));
            if let Some(bucket) = self.buckets.item_mut(bucket_of(hash, self.buckets.len())) {
                *bucket = entries(bucket).filter(|(_, have)| *have != number).collect::<Entries>().pack();
            }
            if number as usize <= (self.buckets.len() - 1) * BUCKET_FILL {
                self.join_bucket();
            }
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

    fn put(&mut self, hash: u64, number: u32) {
        if let Some(bucket) = self.buckets.item_mut(bucket_of(hash, self.buckets.len())) {
            *bucket = entries(bucket).chain([(tag_of(hash), number)]).collect::<Entries>().pack();
        }
    }

    /// Adds a bucket, with what the bucket it splits from no longer holds.
    fn split_bucket(&mut self) {
        let new = self.buckets.len();
        if new == 0 {
            self.buckets.push(Arc::from([]));
            return;
        }
        let source = split_source(new);
        let Some(bucket) = self.buckets.item(source).cloned() else { return };
        let moves =
            |(_, number): &(u16, u32)| bucket_of(hash(self.seed, self.bytes(*number)), new + 1) == new;
        let (moved, stay): (Entries, Entries) = entries(&bucket).partition(moves);
        if let Some(bucket) = self.buckets.item_mut(source) {
            *bucket = stay.pack();
        }
        self.buckets.push(moved.pack());
    }

    /// Takes the last bucket away: the inverse of [`Names::split_bucket`].
    fn join_bucket(&mut self) {
        let Some(last) = self.buckets.pop() else { return };
        if self.buckets.len() == 0 {
            return;
        }
        if let Some(bucket) = self.buckets.item_mut(split_source(self.buckets.len())) {
            *bucket = entries(bucket).chain(entries(&last)).collect::<Entries>().pack();
        }
    }

    #[cfg(test)]
    pub(crate) fn buckets_len(&self) -> usize {
        self.buckets.len()
    }

    /// Remembers that the entry at `revision` gave the numbers from `first` on.
    pub(crate) fn record_birth(&mut self, revision: u64, first: u32) {
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
        let buckets = self.buckets.bytes(base.map(|base| &base.buckets), &slice);
        let tail = match base {
            Some(base) if Arc::ptr_eq(&self.tail, &base.tail) => 0,
            _ => arc_bytes::<Tail>() + (2 * self.tail.starts.capacity() + self.tail.bytes.capacity()) as u64,
        };
        (sealed + buckets + tail, self.births.bytes(base.map(|base| &base.births), &|_| 0))
    }
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

/// Tags and numbers of a bucket in the making.
#[derive(Debug, Default)]
struct Entries(Vec<(u16, u32)>);

impl Extend<(u16, u32)> for Entries {
    fn extend<I: IntoIterator<Item = (u16, u32)>>(&mut self, entries: I) {
        self.0.extend(entries);
    }
}

impl FromIterator<(u16, u32)> for Entries {
    fn from_iter<I: IntoIterator<Item = (u16, u32)>>(entries: I) -> Entries {
        Entries(entries.into_iter().collect())
    }
}

impl Entries {
    fn pack(&self) -> Bucket {
        let tags = self.0.iter().map(|(tag, _)| *tag);
        let numbers = self.0.iter().flat_map(|(_, number)| [*number as u16, (*number >> 16) as u16]);
        let mut words = Vec::with_capacity(3 * self.0.len());
        words.extend(tags.chain(numbers));
        Arc::from(words)
    }
}

/// A bucket's tags and its numbers' halves.
#[inline]
fn parts(bucket: &[u16]) -> (&[u16], &[[u16; 2]]) {
    let (tags, halves) = bucket.split_at(bucket.len() / 3);
    (tags, halves.as_chunks().0)
}

#[inline]
fn joined([low, high]: [u16; 2]) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

fn entries(bucket: &[u16]) -> impl Iterator<Item = (u16, u32)> {
    let (tags, numbers) = parts(bucket);
    tags.iter().copied().zip(numbers.iter().copied().map(joined))
}

/// The bucket of a hash among `buckets`: linear hashing's address.
#[inline]
fn bucket_of(hash: u64, buckets: usize) -> usize {
    let buckets = buckets.max(1);
    let wide = buckets.next_power_of_two();
    let at = hash as usize & (wide - 1);
    if at < buckets { at } else { at & (wide / 2 - 1) }
}

/// The bucket that bucket `new` is split from: `new` without its highest bit.
fn split_source(new: usize) -> usize {
    new & !(1 << new.ilog2())
}

/// The high bits, which do not choose the bucket.
#[inline]
fn tag_of(hash: u64) -> u16 {
    (hash >> 48) as u16
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
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = fold(state ^ u64::from_le_bytes(word), seed | B);
    }
    fold(state ^ A, B)
}
