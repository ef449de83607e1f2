//! Which store, and which of its histories, is a backup of, and what is in it? The file that a backup begins with.
//!
//! ```text
//! backup      idhini backup 2
//!             store 16 hexadecimal digits
//!             timeline a number
//!             taken a moment: what was acknowledged until then is in the backup
//!             log its number, first entry, last entry
//!             image its log, revision
//!             checksum 64 hexadecimal digits: BLAKE3 of the lines before
//! ```
//! Written when the backup is begun, without what is in it, and whenever it was added to. Format 1 never says what is in
//! the backup; format 2 without a moment is of a backup that was begun and never finished.
//!
//! # Invariants
//! * What is read is what was written, to the byte: a restore gives the store's number on.
//! * Nothing is named before it is durable, and what was named once stays named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use idhini_changelog::LogId;
use idhini_changelog::disk::Disk;
use idhini_graph::Digest;
use idhini_model::{Revision, Timestamp};

/// The file's name.
pub(crate) const FACTS: &str = "backup";
/// The file's name until it is whole.
pub(crate) const FACTS_UNFINISHED: &str = "backup.unfinished";
/// Enough for a million images; what is longer is none of ours.
const BYTES_MAX: u64 = 64 << 20;

/// Which store and which of its histories a backup is of, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) store: u64,
    pub(crate) timeline: u32,
    pub(crate) state: State,
}

/// What a backup says of its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing: it is of a release that did not.
    Unsaid,
    /// It was begun and never finished.
    Begun,
    /// What was in it when it was last added to.
    Finished(Contents),
}

/// What is in a backup at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// What was acknowledged until then is there.
    pub(crate) taken: Timestamp,
    /// The first and the last entry of each log; of one without entries, the first is after the last.
    pub(crate) logs: BTreeMap<LogId, (Revision, Revision)>,
    pub(crate) images: BTreeSet<(LogId, Revision)>,
}

impl Facts {
    /// What a directory is a backup of; `None` if it is none.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<Facts>> {
        let bytes = match bytes_of(disk) {
            // A directory that is only looked at opens, and does not read.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
                return Ok(None);
            }
            bytes => bytes?,
        };
        let text = std::str::from_utf8(&bytes).ok();
        let facts = text.and_then(parse).filter(|facts| text == Some(&facts.text()));
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("the file `{FACTS}` is damaged"));
        facts.map(Some).ok_or_else(damaged)
    }

    /// Makes a directory a backup, durable on return; what was there before still is if that fails.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
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

    /// What it says of its contents, if it says anything.
    pub(crate) fn contents(&self) -> Option<&Contents> {
        match &self.state {
            State::Finished(contents) => Some(contents),
            State::Unsaid | State::Begun => None,
        }
    }

    fn text(&self) -> String {
        let format = if self.state == State::Unsaid { 1 } else { 2 };
        let mut lines =
            format!("idhini backup {format}\nstore {:016x}\ntimeline {}\n", self.store, self.timeline);
        if let Some(contents) = self.contents() {
            let _ = writeln!(lines, "taken {}", contents.taken);
            for (log, (oldest, head)) in &contents.logs {
                let _ = writeln!(lines, "log {} {oldest} {head}", log.0);
            }
            for (log, revision) in &contents.images {
                let _ = writeln!(lines, "image {} {revision}", log.0);
            }
        }
        let checksum = Digest::of(lines.as_bytes());
        let _ = writeln!(lines, "checksum {checksum}");
        lines
    }
}

impl Contents {
    /// How a log is shorter than it was, if it is.
    pub(crate) fn shortage(&self, log: LogId, oldest: Revision, head: Revision) -> Option<String> {
        let (from, to) = *self.logs.get(&log)?;
        let is_whole = oldest <= from && to <= head;
        (!is_whole).then(|| {
            format!("the log has revisions {oldest} to {head}, but the backup was made with {from} to {to}")
        })
    }
}

fn bytes_of(disk: &dyn Disk) -> io::Result<Vec<u8>> {
    let file = disk.open(FACTS)?;
    let length = file.bytes_len()?;
    let mut bytes = vec![0; usize::try_from(length.min(BYTES_MAX)).unwrap_or_default()];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// What the lines say; whether they are all there, and whether the checksum fits, is for the caller to see.
fn parse(text: &str) -> Option<Facts> {
    let mut lines = text.lines();
    let format = lines.next()?.strip_prefix("idhini backup ")?;
    let store = u64::from_str_radix(lines.next()?.strip_prefix("store ")?, 16).ok()?;
    let timeline = lines.next()?.strip_prefix("timeline ")?.parse().ok()?;
    if format == "1" {
        return Some(Facts { store, timeline, state: State::Unsaid });
    }
    let Some(taken) = lines.next()?.strip_prefix("taken ") else {
        return Some(Facts { store, timeline, state: State::Begun });
    };
    let (mut logs, mut images) = (BTreeMap::new(), BTreeSet::new());
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["log", log, oldest, head] => {
                let reach = (Revision(oldest.parse().ok()?), Revision(head.parse().ok()?));
                logs.insert(LogId(log.parse().ok()?), reach);
            }
            ["image", log, revision] => {
                images.insert((LogId(log.parse().ok()?), Revision(revision.parse().ok()?)));
            }
            _ => {}
        }
    }
    let contents = Contents { taken: taken.parse().ok()?, logs, images };
    Some(Facts { store, timeline, state: State::Finished(contents) })
}
