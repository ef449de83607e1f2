//! The manifest: which chunks make up an image, in which order?
//!
//! ```text
//! manifest  "IDHIMAGE" | format 4 | revision v | floor v | relationships v
//!           | types v, objects v each | classes v, edges v each
//!           | catalog's length v | in format 2: the counters' length v
//!           | parts v, then each: kind 1 | type or class v | chunks v, then each: key − key before v | length v
//!           | patches v, then each: chunks v, then each: length v
//!           | digest 32 of each chunk, in the order of their lengths
//!           | BLAKE3 of all that 32
//! ```
//! The format is 1 where there are no counters, and 2 where there are: what earlier releases can open they do open.
//! The first eight bytes and the format stay as they are in every format to come.
//!
//! # Invariants
//! * Keys of a part's chunks ascend: a chunk holds what lies from its key on, up to the next one's.
//! * Objects, edges and relationships are those of the whole image, patches included; they are held against it.

use std::collections::BTreeMap;

use idhini_model::Revision;

use super::bytes::{Decoded, Malformed, Reader, put_varint, put_wide_varint};
use super::digest::Digest;
use super::error::ImageError;
use crate::{ClassId, TypeId};

const MAGIC: &[u8; 8] = b"IDHIMAGE";
/// The newest format that is read: with counters.
pub(super) const FORMAT: u32 = 2;
/// The format of images without counters.
const WITHOUT_COUNTERS: u32 = 1;

/// The name and the length of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkRef {
    /// The chunk's address.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The way in which a trie is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Resource to subjects.
    Forward,
    /// Subject to resources.
    Reverse,
}

/// What a sequence of chunks holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Object ids, by number.
    Names(TypeId),
    /// When numbers were given, by revision.
    Births(TypeId),
    /// Leaves, by the first object that they cover.
    Leaves(TypeId, Way),
    /// Spilled runs, by object, local class and number.
    Runs(TypeId, Way),
    /// Attributes, by resource and subject.
    Attributes(ClassId),
}

impl Part {
    fn encoded(self) -> (u8, u32) {
        match self {
            Part::Names(id) => (1, id.0),
            Part::Births(id) => (2, id.0),
            Part::Leaves(id, Way::Forward) => (3, id.0),
            Part::Leaves(id, Way::Reverse) => (4, id.0),
            Part::Runs(id, Way::Forward) => (5, id.0),
            Part::Runs(id, Way::Reverse) => (6, id.0),
            Part::Attributes(id) => (7, id.0),
        }
    }

    fn decoded(kind: u8, index: u32) -> Option<Part> {
        Some(match kind {
            1 => Part::Names(TypeId(index)),
            2 => Part::Births(TypeId(index)),
            3 => Part::Leaves(TypeId(index), Way::Forward),
            4 => Part::Leaves(TypeId(index), Way::Reverse),
            5 => Part::Runs(TypeId(index), Way::Forward),
            6 => Part::Runs(TypeId(index), Way::Reverse),
            7 => Part::Attributes(ClassId(index)),
            _ => return None,
        })
    }
}

/// A chunk in its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// What it holds lies from here on.
    pub(super) key: u128,
    pub(super) chunk: ChunkRef,
    /// Whether something has changed there since it was written. Not in the manifest: found by comparing roots.
    pub(super) is_stale: bool,
}

/// The chunks of each part of a root.
pub(super) type Base = BTreeMap<Part, Vec<Placed>>;

/// An image without its chunks.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub(super) revision: Revision,
    pub(super) floor: Revision,
    pub(super) relationships: u64,
    /// By type number.
    pub(super) objects: Vec<u32>,
    /// By class number.
    pub(super) edges: Vec<u64>,
    pub(super) catalog: ChunkRef,
    /// If there are any.
    pub(super) counters: Option<ChunkRef>,
    pub(super) base: Base,
    /// Oldest first.
    pub(super) patches: Vec<Vec<ChunkRef>>,
}

impl Manifest {
    /// The revision of the imaged root.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Entries from this one on can be undone on the opened root.
    #[must_use]
    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// How many relationships the image has.
    #[must_use]
    pub fn relationship_count(&self) -> u64 {
        self.relationships
    }

    /// How many patches lie on the base.
    #[must_use]
    pub fn patch_count(&self) -> usize {
        self.patches.len()
    }

    /// Every chunk that the image needs. One that serves twice is named twice.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkRef> {
        let base = self.base.values().flatten().map(|placed| placed.chunk);
        let patches = self.patches.iter().flatten().copied();
        [self.catalog].into_iter().chain(self.counters).chain(base).chain(patches)
    }

    /// The same manifest of other chunks. For tests that damage images behind their digests.
    #[doc(hidden)]
    #[must_use]
    pub fn readdressed(mut self, mut other: impl FnMut(ChunkRef) -> ChunkRef) -> Manifest {
        self.chunks_mut().for_each(|chunk| *chunk = other(*chunk));
        self
    }

    /// In the order of [`Manifest::chunks`].
    fn chunks_mut(&mut self) -> impl Iterator<Item = &mut ChunkRef> {
        let base = self.base.values_mut().flatten().map(|placed| &mut placed.chunk);
        let patches = self.patches.iter_mut().flatten();
        [&mut self.catalog].into_iter().chain(&mut self.counters).chain(base).chain(patches)
    }

    /// Bytes of the catalog and the base.
    pub(super) fn base_bytes(&self) -> u64 {
        self.catalog.bytes + self.base.values().flatten().map(|placed| placed.chunk.bytes).sum::<u64>()
    }

    pub(super) fn patch_bytes(&self) -> u64 {
        self.patches.iter().flatten().map(|chunk| chunk.bytes).sum()
    }

    /// The manifest as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let format = if self.counters.is_some() { FORMAT } else { WITHOUT_COUNTERS };
        out.extend_from_slice(&format.to_le_bytes());
        put_varint(&mut out, self.revision.0);
        put_varint(&mut out, self.floor.0);
        put_varint(&mut out, self.relationships);
        put_varint(&mut out, self.objects.len() as u64);
        self.objects.iter().for_each(|count| put_varint(&mut out, u64::from(*count)));
        put_varint(&mut out, self.edges.len() as u64);
        self.edges.iter().for_each(|count| put_varint(&mut out, *count));
        put_varint(&mut out, self.catalog.bytes);
        self.counters.iter().for_each(|counters| put_varint(&mut out, counters.bytes));
        put_varint(&mut out, self.base.len() as u64);
        for (part, chunks) in &self.base {
            let (kind, index) = part.encoded();
            out.push(kind);
            put_varint(&mut out, u64::from(index));
            put_varint(&mut out, chunks.len() as u64);
            let mut before = 0;
            for placed in chunks {
                put_wide_varint(&mut out, placed.key - before);
                put_varint(&mut out, placed.chunk.bytes);
                before = placed.key;
            }
        }
        put_varint(&mut out, self.patches.len() as u64);
        for patch in &self.patches {
            put_varint(&mut out, patch.len() as u64);
            patch.iter().for_each(|chunk| put_varint(&mut out, chunk.bytes));
        }
        self.chunks().for_each(|chunk| out.extend_from_slice(&chunk.digest.0));
        let checksum = Digest::of(&out);
        out.extend_from_slice(&checksum.0);
        out
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest, ImageError> {
        let Some((MAGIC, rest)) = bytes.split_first_chunk() else { return Err(ImageError::NotAnImage) };
        let Some((format, _)) = rest.split_first_chunk() else { return Err(ImageError::ManifestDamaged) };
        let found = u32::from_le_bytes(*format);
        if found > FORMAT {
            return Err(ImageError::NewerFormat { found, known: FORMAT });
        }
        let Some((body, checksum)) = bytes.split_last_chunk() else {
            return Err(ImageError::ManifestDamaged);
        };
        if Digest::of(body) != Digest(*checksum) {
            return Err(ImageError::ManifestDamaged);
        }
        let malformed = |Malformed { offset, what }| ImageError::Manifest { offset, what };
        let mut reader = Reader::new(body);
        read(&mut reader).map_err(malformed)
    }
}

fn read(reader: &mut Reader<'_>) -> Decoded<Manifest> {
    reader.take(MAGIC.len())?;
    let format = reader.take(4)?;
    if ![FORMAT, WITHOUT_COUNTERS].iter().any(|known| format == known.to_le_bytes()) {
        return Err(reader.malformed("no such format was ever written"));
    }
    let has_counters = format == FORMAT.to_le_bytes();
    let revision = Revision(reader.varint()?);
    let floor = Revision(reader.varint()?);
    // There is a next revision.
    if revision.0 == u64::MAX || floor > revision.next() {
        return Err(reader.malformed("the floor lies above the root"));
    }
    let relationships = reader.varint()?;
    let types = reader.count(1)?;
    let objects = (0..types).map(|_| reader.narrow()).collect::<Decoded<Vec<u32>>>()?;
    let classes = reader.count(1)?;
    let edges = (0..classes).map(|_| reader.varint()).collect::<Decoded<Vec<u64>>>()?;
    let catalog = unaddressed(reader)?;
    let counters = has_counters.then(|| unaddressed(reader)).transpose()?;
    let mut base = Base::new();
    for _ in 0..reader.count(3)? {
        let kind = reader.byte()?;
        let part = Part::decoded(kind, reader.narrow()?);
        let part = part.ok_or_else(|| reader.malformed("a part is of no known kind"))?;
        if base.last_key_value().is_some_and(|(last, _)| *last >= part) {
            return Err(reader.malformed("parts are out of order"));
        }
        let chunks = keyed(reader)?;
        base.insert(part, chunks);
    }
    let mut patches = Vec::new();
    for _ in 0..reader.count(1)? {
        let chunks = reader.count(1 + Digest::BYTES)?;
        patches.push((0..chunks).map(|_| unaddressed(reader)).collect::<Decoded<Vec<ChunkRef>>>()?);
    }
    let mut manifest =
        Manifest { revision, floor, relationships, objects, edges, catalog, counters, base, patches };
    for chunk in manifest.chunks_mut() {
        chunk.digest = Digest(reader.take(Digest::BYTES)?.try_into().unwrap_or_default());
    }
    reader.expect_end()?;
    Ok(manifest)
}

fn keyed(reader: &mut Reader<'_>) -> Decoded<Vec<Placed>> {
    let mut chunks: Vec<Placed> = Vec::new();
    for _ in 0..reader.count(2 + Digest::BYTES)? {
        let step = reader.wide_varint()?;
        let key = match chunks.last() {
            None => Some(step),
            Some(last) => last.key.checked_add(step).filter(|key| *key > last.key),
        };
        let key = key.ok_or_else(|| reader.malformed("chunks of a part are out of order"))?;
        chunks.push(Placed { key, chunk: unaddressed(reader)?, is_stale: false });
    }
    if chunks.is_empty() {
        return Err(reader.malformed("a part without chunks"));
    }
    Ok(chunks)
}

/// A chunk whose digest comes later.
fn unaddressed(reader: &mut Reader<'_>) -> Decoded<ChunkRef> {
    Ok(ChunkRef { digest: Digest([0; Digest::BYTES]), bytes: reader.varint()? })
}
