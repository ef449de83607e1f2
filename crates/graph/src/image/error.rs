//! Why do bytes not make an image?

use std::fmt;
use std::str::FromStr;

use idhini_schema::SchemaError;

use super::bytes::Malformed;

/// A chunk's address: BLAKE3 of its bytes. Printed and read as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; Digest::BYTES]);

impl Digest {
    /// The length of a digest.
    pub const BYTES: usize = 32;

    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk's address is 64 lower-case hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(DigestError),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(DigestError) };
        if pairs.len() != Digest::BYTES {
            return Err(DigestError);
        }
        let mut digest = [0; Digest::BYTES];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Digest(digest))
    }
}

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
