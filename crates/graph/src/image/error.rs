//! Why do bytes not make an image?

use idhini_schema::SchemaError;

use super::bytes::Malformed;
use super::digest::Digest;

/// Why bytes do not make an image. The remedy is the image before it, and the log from there on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The manifest does not begin as manifests do.
    #[error("this is not the manifest of an image")]
    NotAnImage,
    /// Written by a later release.
    #[error("the image has format {found}; this release reads formats up to {known}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that can be read.
        known: u32,
    },
    /// The manifest's bytes do not have their checksum.
    #[error("the manifest of the image is damaged: its checksum does not fit")]
    ManifestDamaged,
    /// The manifest's checksum fits, but what it says cannot be.
    #[error("the manifest of the image is malformed at byte {offset}: {what}")]
    Manifest {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The bytes are not those that the address names.
    #[error("chunk {digest} of the image is damaged: its bytes do not have this address")]
    ChunkDamaged {
        /// The address.
        digest: Digest,
    },
    /// The chunk has its address, but what it says cannot be.
    #[error("chunk {digest} of the image is malformed at byte {offset}: {what}")]
    Chunk {
        /// The address.
        digest: Digest,
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Each chunk is well formed, but together they are no graph.
    #[error("the chunks of the image contradict each other: {what}")]
    Contradiction {
        /// What is wrong.
        what: &'static str,
    },
    /// The schema's text is not a schema.
    #[error("chunk {digest} of the image: the recorded schema is not one: {source}")]
    Schema {
        /// The address.
        digest: Digest,
        /// Why not.
        source: SchemaError,
    },
}

impl ImageError {
    pub(super) fn chunk(digest: Digest, malformed: Malformed) -> ImageError {
        ImageError::Chunk { digest, offset: malformed.offset, what: malformed.what }
    }
}

/// Why an image could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E> {
    /// Reading a chunk failed.
    #[error("chunk {digest} of the image could not be read")]
    Unreadable {
        /// The chunk's address.
        digest: Digest,
        /// What the reader said.
        source: E,
    },
    /// What was read is not an image.
    #[error(transparent)]
    Image(#[from] ImageError),
}
