//! Who may do everything in a data directory? Whoever has its root token, of which the directory keeps a hash only.
//!
//! ```text
//! root-token  idhini root token 1
//!             hash 64 hexadecimal digits: BLAKE3 of the token
//!             checksum 64 hexadecimal digits: BLAKE3 of the lines before
//! ```
//! A plain hash is enough: the token is drawn at random from more than 2^142 and is no password. It is no part of a backup;
//! a restored directory has none until its first start.

use std::io;

use idhini_changelog::disk::Disk;
use idhini_graph::Digest;

use crate::small_file::{Fault, SmallFile, field};

const FILE: SmallFile = SmallFile { name: "root-token", title: "idhini root token", format: 1 };

/// What is kept of a root token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootToken {
    /// BLAKE3 of its text.
    pub hash: [u8; 32],
}

/// Why it cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootTokenError {
    /// Made by a later release.
    #[error(
        "the file `root-token` of the data directory has format {found}, which this release does not know"
    )]
    NewerFormat {
        /// The format found.
        found: u32,
    },
    /// The file is not what was written.
    #[error("the file `root-token` of the data directory is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The disk does not do it.
    #[error("the file `root-token` of the data directory: {0}")]
    Disk(#[from] io::Error),
}

impl From<Fault> for RootTokenError {
    fn from(fault: Fault) -> RootTokenError {
        match fault {
            Fault::NewerFormat { found } => RootTokenError::NewerFormat { found },
            Fault::Damaged { what } => RootTokenError::Damaged { what },
            Fault::Disk(error) => RootTokenError::Disk(error),
        }
    }
}

impl RootToken {
    /// What is to be kept of this token.
    #[must_use]
    pub fn of(token: &str) -> RootToken {
        RootToken { hash: Digest::of(token.as_bytes()).0 }
    }

    /// That of a data directory, if it has one yet.
    ///
    /// # Errors
    /// [`RootTokenError`].
    pub fn read(disk: &dyn Disk) -> Result<Option<RootToken>, RootTokenError> {
        let Some(fields) = FILE.read(disk)? else { return Ok(None) };
        let hash = field(&fields, "hash").and_then(|hash| hash.parse::<Digest>().ok());
        let Digest(hash) = hash.ok_or(RootTokenError::Damaged { what: "its hash" })?;
        Ok(Some(RootToken { hash }))
    }

    /// Makes this the root token of a data directory, durable on return, in place of the one before.
    ///
    /// # Errors
    /// [`RootTokenError::Disk`]; what was there before still is.
    pub fn write(&self, disk: &dyn Disk) -> Result<(), RootTokenError> {
        Ok(FILE.write(disk, &format!("hash {}\n", Digest(self.hash)))?)
    }
}
