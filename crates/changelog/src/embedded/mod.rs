//! The store embedded in Idhini: the logs of all namespaces in shared segment files of one directory.
//!
//! Appends that wait together are written together and share one sync. Where entries stand is kept in memory; the
//! files are read once when the store is opened. The format is drawn in `format.rs`, the step from one segment to the
//! next in `begin.rs`, what a crash may leave and how it is met in `open.rs`.
//!
//! # Invariants
//! * One thread writes; it alone judges heads. Reads go around it.
//! * What was acknowledged is found again whatever ended the process, or opening fails and says where it is missing.
//! * A clean close leaves a mark behind which nothing follows: afterwards, any bit that changed at rest is noticed. After
//!   another ending this holds for all but the last group, which cannot be told from one that was being written.
//! * No log pins a segment: what is alive in a mostly dead one moves.
//!
//! Source: log-structured storage (Rosenblum and Ousterhout, 1991); group commit (DeWitt et al., 1984); what a failed
//! sync leaves (Rebello et al., USENIX ATC 2020).

mod begin;
pub mod broken;
mod compaction;
mod format;
mod group;
mod index;
mod listing;
mod observe;
mod open;
mod queue;
mod reading;
mod scan;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use idhini_model::Revision;
use tokio::sync::oneshot;

#[cfg(feature = "forge")]
pub use format::forge;
pub use format::{Facts, Kind};
pub use listing::{Listed, ListedSegment, list};
pub use observe::{Observer, Written};
pub use open::OpenError;

use self::compaction::Compaction;
use self::index::{Index, Log};
use self::queue::{Queue, Request, Waiting, closed};
use self::reading::Job;
use self::writer::LogWriter;
use crate::disk::Disk;
use crate::{AppendError, Batch, BoxFuture, Changelog, Head, LogError, LogId, Record, Store, Stored};

/// Bytes of a segment, unless configured otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Segments are no longer than this, but for their last group and their start.
pub const SEGMENT_BYTES_MAX: u64 = 512 << 20;

/// A segment moves when more than this of its entries is dead, unless configured otherwise.
const DEAD_PERCENT_MAX: u64 = 50;

/// Threads that read.
const READERS: usize = 2;

/// How a store is to be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The store's id if the directory is empty: random, so that no file of one store is taken for another's.
    pub new_store: u64,
    /// A new segment begins when one has this many bytes.
    pub segment_bytes: u64,
    /// What is alive in a segment moves when more than this of it is dead.
    pub dead_percent_max: u64,
    /// Told what is written.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Logs in files.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    reads: Reads,
}

/// The store's writer in the hands of a test, which says when it takes a step: no threads, no chance.
#[derive(Debug)]
pub struct Steps(LogWriter);

/// A segment, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its number.
    pub number: u32,
    /// Of what is valid in its file.
    pub bytes: u64,
    /// Of the entries that are still needed.
    pub live_bytes: u64,
    /// No longer written.
    pub is_sealed: bool,
}

/// What the store, its logs and its threads have in common.
#[derive(Debug)]
struct Shared {
    index: Index,
    queue: Queue<Request>,
    waiting: Waiting,
    jobs: Arc<Queue<Job>>,
}

/// Who reads.
#[derive(Debug, Clone, Copy)]
enum Reads {
    /// Threads of the store.
    Apart,
    /// Whoever asks.
    InPlace,
}

/// One log of an [`EmbeddedStore`]. Costs nothing until something is appended.
#[derive(Clone)]
struct EmbeddedLog {
    id: LogId,
    shared: Arc<Shared>,
    reads: Reads,
}

impl Options {
    /// The defaults; `new_store` is random.
    #[must_use]
    pub fn new(new_store: u64) -> Options {
        Options {
            new_store,
            segment_bytes: SEGMENT_BYTES,
            dead_percent_max: DEAD_PERCENT_MAX,
            observer: None,
        }
    }
}

impl EmbeddedStore {
    /// Opens the logs in the directory `log` of a disk, which nobody else writes for as long as the store is there.
    /// Blocks while it reads them.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(disk: Arc<dyn Disk>, options: &Options) -> Result<EmbeddedStore, OpenError> {
        let (mut store, Steps(writer)) = EmbeddedStore::open_stepped(disk, options)?;
        let mut threads = vec![thread::Builder::new().name("log-writer".to_owned()).spawn(|| writer.run())?];
        for _ in 0..READERS {
            let jobs = Arc::clone(&store.shared.jobs);
            let reader = thread::Builder::new().name("log-reader".to_owned());
            threads.push(reader.spawn(move || reading::serve(&jobs))?);
        }
        store.threads = Mutex::new(threads);
        store.reads = Reads::Apart;
        Ok(store)
    }

    /// The same without threads: nothing is written but by [`Steps::step`], and reads block whoever polls them.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_stepped(disk: Arc<dyn Disk>, options: &Options) -> Result<(EmbeddedStore, Steps), OpenError> {
        let opened = open::open(&*disk, options.new_store)?;
        let shared = Arc::new(Shared {
            index: opened.index,
            queue: Queue::new(),
            waiting: Waiting::new(),
            jobs: Arc::new(Queue::new()),
        });
        let mut compaction = Compaction::default();
        compaction.look_again();
        let writer = LogWriter {
            shared: Arc::clone(&shared),
            disk,
            segment_bytes: options.segment_bytes.clamp(1, SEGMENT_BYTES_MAX),
            dead_percent_max: options.dead_percent_max.min(100),
            store: opened.store,
            next_segment: opened.next_segment,
            current: None,
            trims: BTreeSet::new(),
            doomed: BTreeSet::new(),
            leftovers: opened.leftovers,
            overlong: opened.overlong,
            spares: opened.spares,
            tail: opened.tail,
            unsettled: Vec::new(),
            compaction,
            observer: options.observer.clone(),
            // An open that is followed by no write writes nothing.
            is_ill: true,
        };
        let store = EmbeddedStore { shared, threads: Mutex::new(Vec::new()), reads: Reads::InPlace };
        Ok((store, Steps(writer)))
    }

    /// All segments, ascending.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentSummary> {
        let segments = self.shared.index.segments().into_iter();
        let summary = |(number, segment): (u32, index::Segment)| SegmentSummary {
            number,
            bytes: segment.end,
            live_bytes: segment.live_bytes,
            is_sealed: segment.is_sealed,
        };
        segments.map(summary).collect()
    }

    /// Moves what is alive out of every segment that holds anything trimmed or deleted, and removes those: of deleted
    /// logs no byte of an entry is left.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the disk does not let us, [`LogError::Damaged`] if a segment cannot be read.
    pub async fn compact(&self) -> Result<(), LogError> {
        self.shared.ask(|answer| Request::Compact { answer }).await
    }

    /// Writes what waits and the closing mark. Whatever is asked afterwards is refused.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the mark could not be written; all that was acknowledged is durable even so.
    pub async fn close(&self) -> Result<(), LogError> {
        self.shared.ask(|answer| Request::Close { answer }).await
    }
}

/// Closes the store if nobody did, and waits for its threads.
impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        let (answer, _) = oneshot::channel();
        let _ = self.shared.queue.push(Request::Close { answer });
        self.shared.jobs.close();
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Steps {
    /// Writes and syncs what waits, as one group; returns whether the store has more to write on its own account.
    pub fn step(&mut self) -> bool {
        self.0.step();
        !self.0.is_ill && self.0.has_own_work()
    }
}

impl Shared {
    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), LogError>>) -> Request,
    ) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        if self.queue.push(request(answer)).is_err() {
            return Err(LogError::Unavailable { source: closed() });
        }
        answered.await.unwrap_or_else(|_| Err(LogError::Unavailable { source: closed() }))
    }
}

impl Store for EmbeddedStore {
    fn log(&self, id: LogId) -> Arc<dyn Changelog> {
        Arc::new(EmbeddedLog { id, shared: Arc::clone(&self.shared), reads: self.reads })
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogId>, LogError>> {
        Box::pin(async {
            let mut logs: Vec<LogId> = self.shared.index.ends().iter().map(|end| end.log).collect();
            logs.sort_unstable();
            Ok(logs)
        })
    }

    fn begin(&self, id: LogId, head: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.shared.ask(move |answer| Request::Begin { log: id, head, answer }))
    }

    fn delete(&self, id: LogId) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.shared.ask(move |answer| Request::Delete { log: id, answer }))
    }
}

impl EmbeddedLog {
    /// The log if anything is known of it; `None` if it is empty.
    fn present(&self) -> Result<Option<Arc<Log>>, LogError> {
        match self.shared.index.log(self.id) {
            None if self.shared.index.is_deleted(self.id) => Err(LogError::Deleted { log: self.id }),
            log => Ok(log),
        }
    }

    /// Reads where that may block.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Index) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        if matches!(self.reads, Reads::InPlace) {
            return read(&self.shared.index);
        }
        let (answer, answered) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let job: Job = Box::new(move || {
            let _ = answer.send(read(&shared.index));
        });
        let refused = || Err(LogError::Unavailable { source: closed() });
        if self.shared.jobs.push(job).is_err() {
            return refused();
        }
        answered.await.unwrap_or_else(|_| refused())
    }
}

impl Changelog for EmbeddedLog {
    fn append<'a>(&'a self, head: Revision, batch: Batch) -> BoxFuture<'a, Result<Revision, AppendError>> {
        Box::pin(async move {
            batch.judge()?;
            let bytes = batch.records.iter().map(Record::bytes).sum();
            let room = self.shared.waiting.room(bytes).await?;
            let (answer, answered) = oneshot::channel();
            let request = Request::Append { log: self.id, head, batch, room, answer };
            if self.shared.queue.push(request).is_err() {
                return Err(AppendError::Unavailable { source: closed() });
            }
            let lost = || {
                let source = Arc::new(io::Error::other("the log's writer ended"));
                Err(AppendError::Unknown { source })
            };
            answered.await.unwrap_or_else(|_| lost())
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        Box::pin(async {
            let nothing = Head { revision: Revision(0), oldest: Revision(1), writer: None };
            let Some(log) = self.present()? else { return Ok(nothing) };
            let is_unsettled = log.kept().is_unsettled;
            if is_unsettled {
                self.shared.ask(|answer| Request::Settle { answer }).await?;
            }
            let kept = log.present()?;
            Ok(kept.head())
        })
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        Box::pin(async move {
            let Some(log) = self.present()? else { return Ok(Vec::new()) };
            let is_at_end = log.present()?.head == after;
            if is_at_end {
                return Ok(Vec::new());
            }
            self.reading(move |index| reading::read(index, &log, after, bytes_max)).await
        })
    }

    fn beginning(&self, revision: Revision) -> BoxFuture<'_, Result<Option<Stored>, LogError>> {
        Box::pin(async move {
            let Some(log) = self.present()? else { return Ok(None) };
            self.reading(move |index| reading::read_beginning(index, &log, revision)).await
        })
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.shared.ask(move |answer| Request::Trim { log: self.id, below, answer }))
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let Some(log) = self.shared.index.log_or_new(self.id) else {
                return Err(LogError::Deleted { log: self.id });
            };
            loop {
                // Whoever moves the head after this wakes us, even before we wait.
                let changed = log.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if log.present()?.head > beyond {
                    return Ok(());
                }
                if self.shared.queue.is_closed() {
                    return Err(LogError::Unavailable { source: closed() });
                }
                changed.await;
            }
        })
    }

    fn stored_bytes(&self) -> u64 {
        self.shared.index.log(self.id).map_or(0, |log| log.kept().entries_bytes())
    }

    /// Where its entries stand.
    fn memory_bytes(&self) -> u64 {
        self.shared.index.log(self.id).map_or(0, |log| log.kept().memory_bytes())
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("log", &self.id).finish_non_exhaustive()
    }
}
