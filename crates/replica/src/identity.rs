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

/// The format of data directories that is written, and the newest that is read.
pub const DIRECTORY_FORMAT: u32 = 1;

const NAME: &str = "identity";
const UNFINISHED: &str = "identity.unfinished";
/// The file is far shorter.
const BYTES_MAX: u64 = 4096;

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

impl Identity {
    /// The identity of a data directory; `None` if the directory is empty.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn read(disk: &dyn Disk) -> Result<Option<Identity>, IdentityError> {
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let has_data = !disk.list("log")?.is_empty() || !disk.list("images")?.is_empty();
                return if has_data { Err(IdentityError::Missing) } else { Ok(None) };
            }
            Err(error) => return Err(error.into()),
        };
        let bytes_len = file.bytes_len()?;
        if bytes_len > BYTES_MAX {
            return Err(IdentityError::Damaged { what: "it is too long" });
        }
        let mut bytes = vec![0; usize::try_from(bytes_len).unwrap_or_default()];
        let read = file.read_at(0, &mut bytes)?;
        let text = bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok());
        parse(text.ok_or(IdentityError::Damaged { what: "it is not text" })?).map(Some)
    }

    /// Makes this the identity of a data directory, durable on return.
    ///
    /// # Errors
    /// [`IdentityError::Disk`]; what was there before still is.
    pub fn write(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        match disk.remove(UNFINISHED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = disk.create(UNFINISHED)?;
        file.write_at(0, self.text().as_bytes())?;
        file.sync()?;
        disk.rename(UNFINISHED, NAME)?;
        Ok(disk.sync_directory("")?)
    }

    fn text(&self) -> String {
        let mut key = String::new();
        for byte in self.key {
            let _ = write!(key, "{byte:02x}");
        }
        let Identity { store, timeline, key_id, .. } = self;
        let mut text = format!(
            "idhini data {DIRECTORY_FORMAT}\nstore {store:016x}\ntimeline {timeline}\nkey {key_id:08x} {key}\n"
        );
        let checksum = Digest::of(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum}");
        text
    }
}

fn parse(text: &str) -> Result<Identity, IdentityError> {
    let damaged = |what| IdentityError::Damaged { what };
    let format = text.lines().next().and_then(|line| line.strip_prefix("idhini data "));
    let format = format.and_then(|format| format.parse().ok()).ok_or(damaged("its first line"))?;
    if format > DIRECTORY_FORMAT {
        return Err(IdentityError::NewerFormat { found: format });
    }
    let checked = text.rfind("checksum ").ok_or(damaged("it has no checksum"))?;
    let (lines, checksum) = text.split_at(checked);
    if checksum != format!("checksum {}\n", Digest::of(lines.as_bytes())) {
        return Err(damaged("its checksum does not fit"));
    }
    let field = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let store = field("store").and_then(|text| u64::from_str_radix(text, 16).ok());
    let timeline = field("timeline").and_then(|text| text.parse().ok());
    let (key_id, key) = field("key").and_then(|text| text.split_once(' ')).ok_or(damaged("its key"))?;
    let key: Digest = key.parse().map_err(|_| damaged("its key"))?;
    Ok(Identity {
        store: store.ok_or(damaged("its store"))?,
        timeline: timeline.ok_or(damaged("its timeline"))?,
        key_id: u32::from_str_radix(key_id, 16).map_err(|_| damaged("its key"))?,
        key: key.0,
    })
}
