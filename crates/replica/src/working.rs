//! What will one append make so?
//!
//! # Invariants
//! * A request's entries are all in it, or none.
//! * Nobody else sees it before it is published.

use bytes::Bytes;
use idhini_changelog::Record;
use idhini_model::{Cause, Change, Context, Entry, EntryKind, Logged, Origin, Revision, Timestamp};

use crate::import::{Judgement, Packed};
use crate::judge::Bounds;
use crate::namespace::still;
use crate::{Published, ReplicaError, Stored};

/// About how long the chunks of an entry are.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// What one append will make so.
pub(crate) struct Working {
    /// The revision that the batch is built on.
    pub(crate) head: Revision,
    /// As all entries make it. Nobody else holds it, so that what one entry has copied the next one changes in place.
    pub(crate) newest: Published,
    /// The entries as the log has them, their bytes, and when the last of them was written.
    pub(crate) records: Vec<Record>,
    pub(crate) bytes: u64,
    pub(crate) written_at: Timestamp,
    pub(crate) changes: u64,
    /// Edges looked at to judge the requests, refused ones included.
    pub(crate) cost: u64,
}

/// Reserves room for what an entry adds, or says whose quota is in the way.
pub(crate) type Reserve<'r> = &'r dyn Fn(Stored) -> Result<(), ReplicaError>;

/// By how many relationships an entry grows what is stored; `None` of one that only takes away, or that the namespace
/// makes for itself: those are never in the way of a quota.
fn growth(kind: &EntryKind) -> Option<u64> {
    match kind {
        EntryKind::Relationships(changes) => {
            let is_taking = changes.iter().all(|change| matches!(change, Change::Deleted(_)));
            (!is_taking).then(|| grown(changes))
        }
        EntryKind::Counter { new, .. } => new.is_some().then_some(0),
        EntryKind::Schema { .. } => Some(0),
        EntryKind::Renumbering { .. } => None,
    }
}

fn grown(changes: &[Change]) -> u64 {
    let (mut created, mut deleted) = (0u64, 0);
    for change in changes {
        match change {
            Change::Created(_) => created += 1,
            Change::Deleted(_) => deleted += 1,
            Change::Replaced { .. } => {}
        }
    }
    created.saturating_sub(deleted)
}

/// What a request changes: entries in order, none if nothing.
pub(crate) type Kinds = Vec<(EntryKind, Cause, Context)>;

impl Working {
    /// Built on this revision, and nothing in it yet.
    pub(crate) fn on(newest: Published) -> Working {
        let (head, written_at) = (newest.revision(), Timestamp::from_seconds(i64::MIN));
        Working { head, newest, records: Vec::new(), bytes: 0, written_at, changes: 0, cost: 0 }
    }

    /// All of these, or, failing, none.
    pub(crate) fn push(
        &mut self,
        kinds: Kinds,
        written_at: Timestamp,
        bytes_max: u64,
        reserve: Reserve<'_>,
    ) -> Result<(), ReplicaError> {
        // One entry is applied whole or not at all; to go back behind several, the root before them is kept.
        let before = (kinds.len() > 1).then(|| self.newest.clone());
        let count = self.records.len();
        let (mut bytes, mut changes) = (0, 0);
        for (kind, cause, metadata) in kinds {
            changes += kind.weight();
            let grows = growth(&kind);
            let entry = Entry { revision: self.newest.revision().next(), kind };
            let origin = Origin { written_at, cause, actor: String::new(), metadata };
            let logged = Logged { entry, origin };
            let record = record(&logged);
            let own_bytes = bytes_of(&record);
            bytes += own_bytes;
            let applied = match bytes > bytes_max {
                true => Err(ReplicaError::TooLarge { bytes, bytes_max }),
                false => grows
                    .map_or(Ok(()), |relationships| reserve(Stored { relationships, disk_bytes: own_bytes }))
                    .and_then(|()| self.newest.apply(&logged.entry).map_err(ReplicaError::from)),
            };
            self.records.push(record);
            if let Err(error) = applied {
                self.records.truncate(count);
                if let Some(before) = before {
                    self.newest = before;
                }
                return Err(error);
            }
        }
        self.took(bytes, changes, written_at);
        Ok(())
    }

    /// An import, judged and applied a chunk at a time: all of it as one entry, or, failing, nothing.
    pub(crate) fn import(
        &mut self,
        import: &Packed,
        written_at: Timestamp,
        bytes_max: u64,
        (bounds, reserve): (&Bounds<'_>, Reserve<'_>),
    ) -> Result<u64, ReplicaError> {
        let before = self.newest.clone();
        let imported = self.import_chunks(import, written_at, bytes_max, (bounds, reserve));
        if !matches!(imported, Ok(1..)) {
            self.newest = before;
        }
        imported
    }

    fn import_chunks(
        &mut self,
        import: &Packed,
        written_at: Timestamp,
        bytes_max: u64,
        (bounds, reserve): (&Bounds<'_>, Reserve<'_>),
    ) -> Result<u64, ReplicaError> {
        let revision = self.newest.revision().next();
        let (cause, metadata) = (Cause::Request, Context::default());
        let origin = Origin { written_at, cause, actor: String::new(), metadata };
        let head = Logged { entry: Entry { revision, kind: EntryKind::Relationships(Vec::new()) }, origin };
        // The first chunk says where the entry came from, too.
        let mut head = head.to_chunks(CHUNK_BYTES).concat();
        let mut record = Record { chunks: Vec::with_capacity(import.chunks.len()) };
        let (mut judgement, mut count) = (Judgement::default(), 0);
        for chunk in &import.chunks {
            still(bounds.is_wanted)?;
            let judged = judgement.of(&self.newest, bounds.now, chunk)?;
            let disk_bytes = judged.chunks.iter().map(|chunk| chunk.len() as u64).sum();
            reserve(Stored { relationships: grown(&judged.changes), disk_bytes })?;
            self.newest.apply_portion(&judged.changes)?;
            for chunk in judged.chunks {
                record.chunks.push(match record.chunks.is_empty() {
                    true => Bytes::from([&std::mem::take(&mut head), &chunk[..]].concat()),
                    false => chunk,
                });
            }
            count += judged.changes.len() as u64;
        }
        let bytes = bytes_of(&record);
        if bytes > bytes_max {
            return Err(ReplicaError::TooLarge { bytes, bytes_max });
        }
        if count > 0 {
            self.newest.complete_entry();
            self.records.push(record);
            self.took(bytes, count, written_at);
        }
        Ok(count)
    }

    fn took(&mut self, bytes: u64, changes: u64, written_at: Timestamp) {
        self.bytes += bytes;
        self.changes += changes;
        self.written_at = written_at;
    }
}

fn record(logged: &Logged) -> Record {
    Record { chunks: logged.to_chunks(CHUNK_BYTES).into_iter().map(Bytes::from).collect() }
}

fn bytes_of(record: &Record) -> u64 {
    record.chunks.iter().map(|chunk| chunk.len() as u64).sum()
}
