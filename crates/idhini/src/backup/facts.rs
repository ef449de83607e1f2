//! Which store, and which of its histories, is a backup of? The file that a backup begins with.
//!
//! ```text
//! backup      idhini backup 1
//!             store 16 hexadecimal digits
//!             timeline a number
//!             checksum 64 hexadecimal digits: BLAKE3 of the lines before
//! ```
//! Written once, when the backup is begun.
//!
//! # Invariants
//! * What is read is what was written, to the byte: a restore gives the store's number on.

use std::io;

use idhini_changelog::disk::Disk;
use idhini_graph::Digest;

/// The file's name.
pub(crate) const FACTS: &str = "backup";
/// The file's name until it is whole.
pub(crate) const FACTS_UNFINISHED: &str = "backup.unfinished";
/// The file is far shorter.
const BYTES_MAX: u64 = 4096;

/// Which store and which of its histories a backup is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) store: u64,
    pub(crate) timeline: u32,
}

impl Facts {
    /// What a directory is a backup of; `None` if it is none.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<Facts>> {
        let file = match disk.open(FACTS) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
                return Ok(None);
            }
            file => file?,
        };
        let length = file.bytes_len()?;
        let mut bytes = vec![0; usize::try_from(length.min(BYTES_MAX)).unwrap_or_default()];
        let read = file.read_at(0, &mut bytes)?;
        let text = bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let facts = text.and_then(parse).filter(|facts| text == Some(&facts.text()));
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("the file `{FACTS}` is damaged"));
        facts.map(Some).ok_or_else(damaged)
    }

    /// Makes a directory a backup, durable on return.
    pub(crate) fn write(self, disk: &dyn Disk) -> io::Result<()> {
        match disk.remove(FACTS_UNFINISHED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(FACTS_UNFINISHED)?;
        file.write_at(0, self.text().as_bytes())?;
        file.sync()?;
        disk.rename(FACTS_UNFINISHED, FACTS)?;
        disk.sync_directory("")
    }

    fn text(self) -> String {
        let lines = format!("idhini backup 1\nstore {:016x}\ntimeline {}\n", self.store, self.timeline);
        format!("{lines}checksum {}\n", Digest::of(lines.as_bytes()))
    }
}

/// What the lines say; whether they are all there, and whether the checksum fits, is for the caller to see.
fn parse(text: &str) -> Option<Facts> {
    let mut lines = text.lines().skip(1);
    let store = u64::from_str_radix(lines.next()?.strip_prefix("store ")?, 16).ok()?;
    let timeline = lines.next()?.strip_prefix("timeline ")?.parse().ok()?;
    Some(Facts { store, timeline })
}
