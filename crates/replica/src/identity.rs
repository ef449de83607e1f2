//! Which store is this? The file that a data directory begins with.
//!
//! ```text
//! identity    idhini data 1
//!             store 16 hexadecimal digits
//!             timeline a number
//!             key 8 hexadecimal digits, 64 hexadecimal digits
//!             checksum 64 hexadecimal digits: BLAKE3 of the lines before
//! ```
//! Written once, when the directory is made, and again by whatever begins another timeline. The key seals tokens, so
//! that those of yesterday are still good tomorrow; it is never shown.
//!
//! # Invariants
//! * A directory with data and without an identity is refused, never given a new one.

use std::fmt;
use std::fmt::Write as _;
use std::io;

use idhini_changelog::disk::Disk;
use idhini_graph::Digest;

use crate::small_file::{Fault, SmallFile, field};

/// The format of data directories that is written, and the newest that is read.
pub const DIRECTORY_FORMAT: u32 = 1;

const NAME: &str = "identity";
const FILE: SmallFile = SmallFile { name: NAME, title: "idhini data", format: DIRECTORY_FORMAT };

/// What tells a store and its tokens from all others.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, for as long as the store lives.
    pub store: u64,
    /// Which history of the store this is; a restore begins a new one.
    pub timeline: u32,
    /// Which key, so that a token of an earlier one is known for what it is; random.
    pub key_id: u32,
    /// The key that seals tokens; random and secret.
    pub key: [u8; 32],
}

/// Keys stay secret.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("store", &self.store)
            .field("timeline", &self.timeline)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Why a data directory is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Made by a later release.
    #[error("the data directory has format {found}; this release reads formats up to {DIRECTORY_FORMAT}")]
    NewerFormat {
        /// The format found.
        found: u32,
    },
    /// There is data, but no identity.
    #[error("the data directory has data, but its file `{NAME}` is missing")]
    Missing,
    /// The file is not what was written.
    #[error("the file `{NAME}` of the data directory is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The disk does not do it.
    #[error("the file `{NAME}` of the data directory: {0}")]
    Disk(#[from] io::Error),
}

impl From<Fault> for IdentityError {
    fn from(fault: Fault) -> IdentityError {
        match fault {
            Fault::NewerFormat { found } => IdentityError::NewerFormat { found },
            Fault::Damaged { what } => IdentityError::Damaged { what },
            Fault::Disk(error) => IdentityError::Disk(error),
        }
    }
}

impl Identity {
    /// The identity of a data directory; `None` if the directory is empty.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn read(disk: &dyn Disk) -> Result<Option<Identity>, IdentityError> {
        if let Some(fields) = FILE.read(disk)? {
            return parse(&fields).map(Some);
        }
        let has_data = !disk.list("log")?.is_empty() || !disk.list("images")?.is_empty();
        if has_data { Err(IdentityError::Missing) } else { Ok(None) }
    }

    /// The identity of a data directory; an empty one gets that which `make` makes, durable on return.
    ///
    /// # Errors
    /// [`IdentityError`], and as `make`.
    pub fn read_or_make<E: From<IdentityError>>(
        disk: &dyn Disk,
        make: impl FnOnce() -> Result<Identity, E>,
    ) -> Result<Identity, E> {
        if let Some(identity) = Identity::read(disk)? {
            return Ok(identity);
        }
        let identity = make()?;
        identity.write(disk)?;
        Ok(identity)
    }

    /// Makes this the identity of a data directory, durable on return.
    ///
    /// # Errors
    /// [`IdentityError::Disk`]; what was there before still is.
    pub fn write(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        Ok(FILE.write(disk, &self.fields())?)
    }

    fn fields(&self) -> String {
        let mut key = String::new();
        for byte in self.key {
            let _ = write!(key, "{byte:02x}");
        }
        let Identity { store, timeline, key_id, .. } = self;
        format!("store {store:016x}\ntimeline {timeline}\nkey {key_id:08x} {key}\n")
    }
}

fn parse(fields: &str) -> Result<Identity, IdentityError> {
    let damaged = |what| IdentityError::Damaged { what };
    let store = field(fields, "store").and_then(|text| u64::from_str_radix(text, 16).ok());
    let timeline = field(fields, "timeline").and_then(|text| text.parse().ok());
    let (key_id, key) =
        field(fields, "key").and_then(|text| text.split_once(' ')).ok_or(damaged("its key"))?;
    let key: Digest = key.parse().map_err(|_| damaged("its key"))?;
    Ok(Identity {
        store: store.ok_or(damaged("its store"))?,
        timeline: timeline.ok_or(damaged("its timeline"))?,
        key_id: u32::from_str_radix(key_id, 16).map_err(|_| damaged("its key"))?,
        key: key.0,
    })
}
