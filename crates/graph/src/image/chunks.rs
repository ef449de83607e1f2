//! Cutting what a root holds into chunks, and keeping the chunks that still hold it.
//!
//! # Invariants
//! * A chunk holds all that its part has from its key on, up to the next chunk's key.
//! * A chunk that is not stale is neither encoded nor hashed again.
//!
//! Cost: memory for one chunk at a time.

use std::collections::HashSet;
use std::ops::Range;

use super::Written;
use super::digest::Digest;
use super::manifest::{ChunkRef, Placed};

/// A chunk is cut where it has grown to this. (Unit tests cut small ones, so that small roots have many.)
pub(super) const CHUNK_BYTES: usize = if cfg!(test) { 96 } else { 128 * 1024 };
/// A chunk below this is written again with a stale neighbour, so that no crumbs stay.
const CRUMB_BYTES: u64 = CHUNK_BYTES as u64 / 4;

/// Takes chunks with their addresses.
pub(super) type Sink<'s, E> = dyn FnMut(&Digest, &[u8]) -> Result<(), E> + 's;

/// Where written chunks go.
pub(super) struct Store<'s, E> {
    sink: &'s mut Sink<'s, E>,
    /// Chunks that are there already.
    known: HashSet<Digest>,
    pub(super) written: Written,
}

impl<'s, E> Store<'s, E> {
    pub(super) fn new(known: HashSet<Digest>, sink: &'s mut Sink<'s, E>) -> Store<'s, E> {
        Store { sink, known, written: Written::default() }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<ChunkRef, E> {
        let digest = Digest::of(bytes);
        let length = bytes.len() as u64;
        if self.known.insert(digest) {
            (self.sink)(&digest, bytes)?;
            self.written.chunks += 1;
            self.written.bytes += length;
        }
        Ok(ChunkRef { digest, bytes: length })
    }
}

/// Takes pieces and makes chunks of them.
pub(super) struct Cutter<'c, 's, E> {
    store: &'c mut Store<'s, E>,
    /// The first byte of each chunk.
    kind: u8,
    buffer: Vec<u8>,
    key: u128,
    placed: Vec<Placed>,
}

impl<'c, 's, E> Cutter<'c, 's, E> {
    pub(super) fn new(store: &'c mut Store<'s, E>, kind: u8) -> Cutter<'c, 's, E> {
        Cutter { store, kind, buffer: Vec::new(), key: 0, placed: Vec::new() }
    }

    /// A piece begins that may be the first of a chunk; says whether it is.
    pub(super) fn piece_at(&mut self, key: u128) -> Result<bool, E> {
        if !self.buffer.is_empty() && self.buffer.len() < CHUNK_BYTES {
            return Ok(false);
        }
        self.cut()?;
        self.key = key;
        self.buffer.push(self.kind);
        Ok(true)
    }

    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Ends the chunk, if there is one.
    fn cut(&mut self) -> Result<(), E> {
        if !self.buffer.is_empty() {
            let chunk = self.store.put(&self.buffer)?;
            self.placed.push(Placed { key: self.key, chunk, is_stale: false });
            self.buffer.clear();
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Placed>, E> {
        self.cut()?;
        Ok(self.placed)
    }
}

/// The chunks of a part: those of before that are not stale, and new ones for what lies between them.
pub(super) fn refreshed<E>(
    before: &[Placed],
    kind: u8,
    store: &mut Store<'_, E>,
    encode: impl Fn(Range<u128>, &mut Cutter<'_, '_, E>) -> Result<(), E>,
) -> Result<Vec<Placed>, E> {
    let mut fresh = |range| {
        let mut cutter = Cutter::new(store, kind);
        encode(range, &mut cutter)?;
        cutter.finish()
    };
    let goes: Vec<bool> = (0..before.len()).map(|at| goes(before, at)).collect();
    let mut after = Vec::with_capacity(before.len());
    // A gap begins at the first key of all, or at that of the first chunk that goes.
    let mut gap = if before.is_empty() { Some(0) } else { None };
    for (at, (placed, goes)) in before.iter().zip(goes).enumerate() {
        if goes {
            gap = gap.or(Some(if at == 0 { 0 } else { placed.key }));
            continue;
        }
        if let Some(start) = gap.take() {
            after.extend(fresh(start..placed.key)?);
        }
        after.push(*placed);
    }
    if let Some(start) = gap {
        after.extend(fresh(start..u128::MAX)?);
    }
    Ok(after)
}

/// Whether a chunk is to be written again: it is stale, or small beside a stale one.
fn goes(chunks: &[Placed], at: usize) -> bool {
    let is_stale = |at: usize| chunks.get(at).is_some_and(|placed| placed.is_stale);
    let is_crumb = chunks[at].chunk.bytes < CRUMB_BYTES;
    is_stale(at) || is_crumb && (is_stale(at + 1) || at > 0 && is_stale(at - 1))
}

/// Marks the chunks that hold anything between these keys, both included.
pub(super) fn mark_stale(chunks: &mut [Placed], first: u128, last: u128) {
    let start = chunks.partition_point(|placed| placed.key <= first).saturating_sub(1);
    for placed in chunks[start..].iter_mut().take_while(|placed| placed.key <= last) {
        placed.is_stale = true;
    }
    // What lies before the first key belongs to the first chunk.
    if let Some(placed) = chunks.first_mut().filter(|placed| first < placed.key) {
        placed.is_stale = true;
    }
}

/// What a chunk may hold.
pub(super) fn range_of(chunks: &[Placed], at: usize) -> Range<u128> {
    let start = if at == 0 { 0 } else { chunks[at].key };
    start..chunks.get(at + 1).map_or(u128::MAX, |next| next.key)
}
