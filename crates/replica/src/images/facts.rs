//! What is known of an image without opening it?

use std::collections::{BTreeSet, HashMap};

use idhini_changelog::Writer;
use idhini_graph::{Digest, Manifest};
use idhini_model::{Revision, Timestamp};

use super::Place;
use super::tail::LastEntry;

/// What is known of an image without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// What it is an image of.
    pub revision: Revision,
    /// The length of its own file, which lacks the chunks that earlier files hold.
    pub file_bytes: u64,
    /// The files that hold its chunks, by their revisions; its own is one of them.
    pub files: BTreeSet<Revision>,
    /// When its last entry was written.
    pub written_at: Timestamp,
    /// Who appended its last entry, if it says so: only an entry of theirs is the one that it was made of.
    pub writer: Option<Writer>,
    /// How many relationships it has.
    pub relationships: u64,
    /// How many patches it has on its base.
    pub patches: usize,
    /// The bytes of all its chunks.
    pub chunks_bytes: u64,
}

/// From an image's tail.
pub(super) fn facts(
    manifest: &Manifest,
    places: &HashMap<Digest, Place>,
    file_bytes: u64,
    last: LastEntry,
) -> ImageFacts {
    let revision = manifest.revision();
    ImageFacts {
        revision,
        file_bytes,
        files: places.values().map(|place| place.file).chain([revision]).collect(),
        written_at: last.written_at,
        writer: last.writer,
        relationships: manifest.relationship_count(),
        patches: manifest.patch_count(),
        chunks_bytes: manifest.chunks().map(|chunk| chunk.bytes).sum(),
    }
}

/// Of these images, oldest first, the newest that shares no file with the last: whatever is damaged, one of the two is
/// good.
pub(super) fn fallback<'f>(images: &[&'f ImageFacts]) -> Option<&'f ImageFacts> {
    let (newest, before) = images.split_last()?;
    before.iter().rev().find(|image| image.files.is_disjoint(&newest.files)).copied()
}
