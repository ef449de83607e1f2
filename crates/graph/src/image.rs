//! Images: a root as bytes, in chunks that are named by what they hold, and back.
//!
//! An image is a *base* and *patches*. The base is the root of some revision, cut along its subtrees: the leaves of a
//! range of objects, the ids of a range of numbers. A patch is the net difference between two roots. The next image
//! keeps all chunks of the one before it and adds a patch; when patches have grown to a share of the base, or cannot
//! say what happened (objects got other numbers), the base is brought up to date instead, and those of its chunks
//! under which nothing has changed are kept. So an image costs what changed since the last one.
//!
//! Chunks are handed out as they are made, and asked for when an image is opened; where they are kept is not known
//! here. The seed that spreads ids is not in them: indexes are rebuilt.
//!
//! # Invariants
//! * An opened root has the content of the imaged one, but for births below the floor, and goes on like it.
//! * What differs between roots is found by addresses: what they share is neither read nor written.
//! * No bytes make a root that panics: digests are verified, and what they cover is not trusted either. Memory is in
//!   proportion to the bytes.
//!
//! Cost: writing and opening O(bytes), memory for a chunk beyond the root itself; the next image O(what changed). An
//! image pins its root, so that what changed since is in memory twice until the next one.
//! Source: content addressing after Merkle (1987) and Venti (Quinlan and Dorward 2002); base and differences as in
//! log-structured merge trees (O'Neil et al. 1996), with one level.

mod bytes;
mod chunks;
mod digest;
mod error;
mod leaves;
mod manifest;
mod open;
mod patch;
mod stale;
mod tables;
mod write;

pub use digest::{Digest, DigestError};
pub use error::{ImageError, OpenError};
pub use manifest::{ChunkRef, Manifest};

use idhini_model::Revision;

use crate::Root;

/// A root that is in chunks, and which ones.
#[derive(Debug, Clone)]
pub struct Image {
    manifest: Manifest,
    /// What the chunks hold: the next image is compared with it.
    root: Root,
    written: Written,
}

/// What writing an image took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Chunks that the image before did not have.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the base was written or brought up to date; otherwise a patch was added.
    pub is_base: bool,
}

impl Image {
    /// What is to be kept besides the chunks.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What writing this image took; nothing for an opened one.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }

    /// Writes all of a root. Each chunk goes to `sink` once, with its address.
    ///
    /// Entries from `floor` on can be undone on the opened root; the later it is, the less is written.
    ///
    /// # Errors
    /// What `sink` says; nothing is written after that.
    pub fn write<E>(
        root: &Root,
        floor: Revision,
        mut sink: impl FnMut(&Digest, &[u8]) -> Result<(), E>,
    ) -> Result<Image, E> {
        write::whole(root, floor, &mut sink)
    }

    /// Writes what a root has that this image does not. Chunks of this image do not go to `sink` again.
    ///
    /// The root may be any: one that is far from this image costs as much as a whole one.
    ///
    /// # Errors
    /// What `sink` says; nothing is written after that, and this image is as good as before.
    pub fn write_next<E>(
        &self,
        root: &Root,
        floor: Revision,
        mut sink: impl FnMut(&Digest, &[u8]) -> Result<(), E>,
    ) -> Result<Image, E> {
        write::next(self, root, floor, &mut sink)
    }

    /// Makes the root of an image. `read` gives the bytes of a chunk; `seed` is as for
    /// [`Root::empty_seeded`].
    ///
    /// The image that is returned beside the root is this one, ready to be continued.
    ///
    /// # Errors
    /// [`OpenError::Unreadable`] with what `read` said; [`OpenError::Image`] if the bytes are not an image.
    pub fn open<E, B: AsRef<[u8]>>(
        manifest: Manifest,
        seed: u64,
        mut read: impl FnMut(&ChunkRef) -> Result<B, E>,
    ) -> Result<(Root, Image), OpenError<E>> {
        let image = open::open(manifest, seed, &mut read)?;
        Ok((image.root.clone(), image))
    }
}
