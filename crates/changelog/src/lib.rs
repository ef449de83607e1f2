//! What happened, in which order, durably? The logs of namespaces, whatever store keeps them.
//!
//! A [`Changelog`] is the truth of one namespace: entries in a dense order, each appended only if the log's head is
//! still the one that its writer built on. A [`Store`] keeps the logs of many namespaces together. Entries are bytes
//! here; what they mean is their reader's business.
//!
//! # Invariants
//! * Revisions of a log are dense and increase; a batch is in the log whole or not at all.
//! * What was answered as appended is durable. What was answered as refused never appears. What was answered as
//!   [`AppendError::Unknown`] is settled by [`Changelog::head`]: whoever's batch stands there was appended.
//! * Of what was trimmed nothing is read again; the head outlives trimming.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use idhini_model::Revision;

#[cfg(feature = "acceptance")]
pub mod acceptance;
pub mod disk;
pub mod embedded;
mod file;
mod memory;

pub use embedded::{EmbeddedStore, OpenError};
pub use file::{DirectoryError, FileDisk};
pub use memory::MemoryStore;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Most bytes of one chunk of an entry. Larger entries come in several chunks.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a batch.
pub const BATCH_BYTES_MAX: usize = 1 << 30;

/// Most chunks of all entries of a batch.
pub const BATCH_CHUNKS_MAX: usize = 1 << 20;

/// Which log: one per namespace, given by whoever creates the namespace and never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

/// Who appended a batch: random per running writer, and counted by it. Tells an appended batch of an unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Writer {
    /// Random, for as long as the writer runs.
    pub id: u64,
    /// Counts the writer's batches, from 1.
    pub sequence: u64,
}

/// One entry as a log keeps it: one or more chunks, none longer than [`CHUNK_BYTES_MAX`], none empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// In order; the entry is there only if its last chunk is.
    pub chunks: Vec<Bytes>,
}

/// Entries to be appended together, all or none, with the revisions after the head.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Who appends.
    pub writer: Writer,
    /// In order; not empty.
    pub records: Vec<Record>,
}

/// An entry that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub revision: Revision,
    /// Who appended it.
    pub writer: Writer,
    /// What it says.
    pub record: Record,
}

/// The end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last entry; 0 if there is none.
    pub revision: Revision,
    /// The entry with the lowest revision that can still be read; the one after `revision` if there is none.
    pub oldest: Revision,
    /// Who appended the last entry; `None` if there never was one.
    pub writer: Option<Writer>,
}

/// The ordered, durable history of one namespace.
pub trait Changelog: Send + Sync + fmt::Debug {
    /// Appends `batch` directly after `head`, all or none, durable on return. Returns the revision of its last entry.
    ///
    /// Dropping the future does not take the batch back.
    ///
    /// # Errors
    /// [`AppendError`].
    fn append<'a>(&'a self, head: Revision, batch: Batch) -> BoxFuture<'a, Result<Revision, AppendError>>;

    /// Where the log ends, as whoever appends next will find it.
    ///
    /// # Errors
    /// [`LogError`].
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>>;

    /// Entries after `after`, in order: as many as fit into `bytes_max`, but one at least unless there is none.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] if the entry after `after` is no longer kept.
    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>>;

    /// An entry with its first chunk only, which says when it was written, however long the others are; `None` if it is not
    /// there yet.
    ///
    /// # Errors
    /// As [`Changelog::read`].
    fn beginning(&self, revision: Revision) -> BoxFuture<'_, Result<Option<Stored>, LogError>> {
        Box::pin(async move {
            let read = self.read(Revision(revision.0.saturating_sub(1)), 1).await?;
            Ok(read.into_iter().next().map(|mut stored| {
                stored.record.chunks.truncate(1);
                stored
            }))
        })
    }

    /// Gives up all entries below `below`, which is at most one past the head. Durable some time later: until then a
    /// restart may find them again.
    ///
    /// # Errors
    /// [`LogError`].
    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>>;

    /// Waits until the log's head is beyond this revision.
    ///
    /// # Errors
    /// [`LogError`].
    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>>;

    /// What its entries take where the log keeps them, in bytes; 0 of a log that does not know. Cost: O(entries kept).
    fn stored_bytes(&self) -> u64 {
        0
    }

    /// About what the log takes in the memory of this process, in bytes; 0 if it takes next to nothing.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// The logs of many namespaces.
pub trait Store: Send + Sync + fmt::Debug {
    /// The log of this id; empty if nothing was ever appended to it. Costs nothing until then.
    fn log(&self, id: LogId) -> Arc<dyn Changelog>;

    /// All logs with an entry or a trimmed past, ascending.
    ///
    /// # Errors
    /// [`LogError`].
    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogId>, LogError>>;

    /// Begins a log, to which nothing was ever appended, after `head`: as though all up to it had been trimmed. Durable on
    /// return. For what is restored or moved here.
    ///
    /// # Errors
    /// [`LogError::Begun`] if the log has a past; otherwise as for the others.
    fn begin(&self, id: LogId, head: Revision) -> BoxFuture<'_, Result<(), LogError>>;

    /// Deletes a log for good, durable on return: its bytes go with the next compaction, its id is not to be used
    /// again. Appends to it are refused as [`AppendError::Deleted`].
    ///
    /// # Errors
    /// [`LogError`].
    fn delete(&self, id: LogId) -> BoxFuture<'_, Result<(), LogError>>;
}

/// Why a batch was not appended, or may not have been.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Another writer was first. Nothing was written: catch up, judge again and retry.
    #[error("the log's head has moved to revision {}", .head.0)]
    HeadMoved {
        /// Where the log ends now.
        head: Revision,
    },
    /// The store does not write at present. Nothing was written and nothing will be: retry later.
    #[error("the log cannot be written: {source}; it is tried again with the next write")]
    Unavailable {
        /// What the disk or the network said.
        source: Arc<io::Error>,
    },
    /// The store went away while appending: the batch is in the log, or it is not, or that is still open.
    #[error("the log went away while it was written: {source}")]
    Unknown {
        /// What the disk or the network said.
        source: Arc<io::Error>,
    },
    /// An empty or too long batch, an empty or too long chunk, an entry without chunks.
    #[error("the batch is not one: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The log was deleted.
    #[error("log {} was deleted", .log.0)]
    Deleted {
        /// Which one.
        log: LogId,
    },
}

/// Why a log cannot be read or trimmed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// What is asked for is no longer kept.
    #[error("revision {} was trimmed; the oldest kept is {}", .asked.0, .oldest.0)]
    Trimmed {
        /// The first revision that was asked for.
        asked: Revision,
        /// The first that can be read.
        oldest: Revision,
    },
    /// The store cannot be read at present.
    #[error("the log cannot be read: {source}")]
    Unavailable {
        /// What the disk or the network said.
        source: Arc<io::Error>,
    },
    /// What is kept is not what was written.
    #[error("the log is damaged: {damage}")]
    Damaged {
        /// What is wrong, and where.
        damage: String,
    },
    /// Trimming beyond the head.
    #[error("revision {} is beyond the head at {}", .asked.0, .head.0)]
    BeyondHead {
        /// What was asked for.
        asked: Revision,
        /// Where the log ends.
        head: Revision,
    },
    /// Beginning a log that has a past.
    #[error("log {} has begun already; its head is at {}", .log.0, .head.0)]
    Begun {
        /// Which one.
        log: LogId,
        /// Where it ends.
        head: Revision,
    },
    /// The log was deleted.
    #[error("log {} was deleted", .log.0)]
    Deleted {
        /// Which one.
        log: LogId,
    },
}

impl Record {
    /// Bytes of all chunks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

/// Entries may hold what belongs in no log file: sizes only.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("chunks", &self.chunks.len()).field("bytes", &self.bytes()).finish()
    }
}

impl Batch {
    /// What every store refuses before it looks at anything else.
    ///
    /// # Errors
    /// [`AppendError::Malformed`].
    pub fn judge(&self) -> Result<(), AppendError> {
        let malformed = |reason| Err(AppendError::Malformed { reason });
        if self.records.is_empty() {
            return malformed("it has no entries");
        }
        if self.records.iter().any(|record| record.chunks.is_empty()) {
            return malformed("an entry has no chunks");
        }
        let chunks = || self.records.iter().flat_map(|record| &record.chunks);
        if chunks().count() > BATCH_CHUNKS_MAX {
            return malformed("it has more chunks than BATCH_CHUNKS_MAX");
        }
        if chunks().map(Bytes::len).sum::<usize>() > BATCH_BYTES_MAX {
            return malformed("it is longer than BATCH_BYTES_MAX");
        }
        if chunks().any(|chunk| chunk.is_empty() || chunk.len() > CHUNK_BYTES_MAX) {
            return malformed("a chunk is empty or longer than CHUNK_BYTES_MAX");
        }
        Ok(())
    }
}
