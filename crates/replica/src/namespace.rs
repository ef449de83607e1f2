//! The running namespace: who writes, and which revision does a reader get?
//!
//! # Invariants
//! * One writer at a time; it judges against the newest revision and publishes the next once the log has it.
//! * A write that is no longer wanted when its turn comes changes nothing.
//! * What is read is durable: a revision is published after its entry was appended, never before.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};

use idhini_changelog::Changelog;
use idhini_graph::Root;
use idhini_model::{Revision, Timestamp};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinError, JoinHandle};

use crate::broken::{Variant, is_broken};
use crate::facts::BatchTally;
use crate::follow::{self, READ_BYTES};
use crate::history::{History, Kept};
use crate::images::Images;
use crate::ledger::{Account, Disk};
use crate::rebuild::Rebuilt;
use crate::watch::Announcer;
use crate::writer::{ENTRY_BYTES_MAX, Queue, Request};
use crate::{
    CounterChange, Delete, Deleted, FollowError, Import, Published, ReplicaError, Set, SetRelation, Write,
};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Edges that the preconditions of one request look at, all together: a second or so, while other writers wait.
pub const PRECONDITION_EDGES_MAX: u64 = 10_000_000;

/// Edges that the checks among the preconditions of one request visit, all together: a tenth of a second or so, while
/// other writers wait.
pub const PERMISSION_PRECONDITION_COST_MAX: u64 = 1_000_000;

/// About what an open namespace takes without relationships (schema, plans, history), and each of these on top.
const NAMESPACE_BYTES: u64 = 64 * 1024;
pub(crate) const RELATIONSHIP_BYTES: u64 = 40;

/// Whether a write is still wanted: asked when its turn comes and until it is handed to the log.
#[derive(Clone, Default)]
pub struct Wanted(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Wanted {
    /// As long as somebody waits for the answer.
    #[must_use]
    pub const fn always() -> Wanted {
        Wanted(None)
    }

    /// As long as this says so.
    #[must_use]
    pub fn while_so(is_wanted: impl Fn() -> bool + Send + Sync + 'static) -> Wanted {
        Wanted(Some(Arc::new(is_wanted)))
    }

    pub(crate) fn is_so(&self) -> bool {
        self.0.as_ref().is_none_or(|is_wanted| is_wanted())
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wanted").field(&self.0.is_some()).finish()
    }
}

/// How much of the past a namespace keeps, and how much one request may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Spreads object ids in memory. Outside tests it is random and told to nobody, so that nobody can choose ids that
    /// collide; no answer depends on it.
    pub seed: u64,
    /// Tells this process's appends from all others'; random.
    pub writer_id: u64,
    /// How long a revision can be asked for after a later one replaced it, in seconds; `None`: forever.
    pub history_seconds: Option<u64>,
    /// Bytes of the revisions that are kept in memory beside the newest.
    pub kept_bytes_max: u64,
    /// An image is written after so many changes,
    pub image_changes: u64,
    /// or when anything has changed and the last one is so old, in seconds.
    pub image_seconds: i64,
    /// Changes undone or redone to rebuild a revision that is not kept in memory.
    pub rebuild_changes_max: u64,
    /// Edges that the filters among the preconditions of one request may look at.
    pub precondition_edges_max: u64,
    /// Edges that the checks among the preconditions of one request may visit.
    pub permission_precondition_cost_max: u64,
    /// Bytes of the entries that one request makes; never more than the log takes.
    pub entry_bytes_max: u64,
    /// Bytes of the requests that wait for the writer, about.
    pub waiting_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 0,
            writer_id: 0,
            history_seconds: Some(24 * 60 * 60),
            kept_bytes_max: 16 << 20,
            image_changes: 50_000,
            image_seconds: 600,
            rebuild_changes_max: 2_000_000,
            precondition_edges_max: PRECONDITION_EDGES_MAX,
            permission_precondition_cost_max: PERMISSION_PRECONDITION_COST_MAX,
            entry_bytes_max: ENTRY_BYTES_MAX,
            waiting_bytes_max: 256 << 20,
        }
    }
}

/// The seed stays secret.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("history_seconds", &self.history_seconds)
            .field("kept_bytes_max", &self.kept_bytes_max)
            .field("image_changes", &self.image_changes)
            .field("image_seconds", &self.image_seconds)
            .field("rebuild_changes_max", &self.rebuild_changes_max)
            .field("precondition_edges_max", &self.precondition_edges_max)
            .field("permission_precondition_cost_max", &self.permission_precondition_cost_max)
            .field("entry_bytes_max", &self.entry_bytes_max)
            .field("waiting_bytes_max", &self.waiting_bytes_max)
            .finish_non_exhaustive()
    }
}

/// Counts what is published. Every reader looks at it and nobody writes beside it, so that it stays in the caches of all
/// cores until there is something new.
#[derive(Default)]
#[repr(align(128))]
struct Version(AtomicU64);

/// A tenant's relationships and schema, running.
pub struct Namespace {
    pub(crate) log: Arc<dyn Changelog>,
    pub(crate) images: Option<Images>,
    pub(crate) history: RwLock<History>,
    version: Version,
    /// Where work is done that must not hold up whoever asks for it: the runtime that the namespace was opened on.
    control: Option<Handle>,
    pub(crate) rebuilt: Rebuilt,
    pub(crate) queue: Mutex<Queue>,
    /// Whether the log may have entries that are not applied here.
    pub(crate) is_suspect: AtomicBool,
    /// Held by the writer from before it reads the clock for a batch until the batch is published or failed.
    pub(crate) turning: tokio::sync::Mutex<()>,
    /// Batches handed to the log so far.
    pub(crate) batches: AtomicU64,
    /// No entry records an earlier moment than this; one that was not appended may have.
    pub(crate) last_written_at: Mutex<Timestamp>,
    /// The entry whose age decides whether the log can be trimmed, and when it was written, once that is known.
    pub(crate) next_to_go: Mutex<Option<(Revision, Timestamp)>>,
    /// What is changed and not in an image yet.
    pub(crate) changes_since_image: AtomicU64,
    pub(crate) imaged_at: Mutex<Timestamp>,
    /// Held by whoever writes images or lets them go.
    pub(crate) imaging: Arc<tokio::sync::Mutex<()>>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) batch_tally: BatchTally,
    /// Where what lies stored is counted, of a namespace of a node.
    pub(crate) account: OnceLock<Account>,
    clock: Clock,
    pub(crate) options: Options,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("head", &self.head().revision()).finish_non_exhaustive()
    }
}

impl Namespace {
    /// Opens the namespace of this log, as its newest good image and the entries after it make it.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn open(
        log: Arc<dyn Changelog>,
        images: Option<Images>,
        clock: Clock,
        options: Options,
    ) -> Result<Arc<Namespace>, FollowError> {
        let head = log.head().await?;
        if let Some(images) = &images {
            if let Some(imaged) = images.last().filter(|imaged| *imaged > head.revision) {
                return Err(FollowError::EndsTooSoon { head: head.revision, imaged });
            }
            follow::same_past(&*log, head, &images.facts()).await?;
        }
        let newest =
            in_place(true, || images.as_ref().and_then(|images| images.newest(options.seed, head.revision)));
        let is_imaged = newest.is_some();
        let (root, last_written_at) =
            newest.unwrap_or_else(|| (Root::empty_seeded(options.seed), Timestamp::from_seconds(i64::MIN)));
        if root.revision().next() < head.oldest {
            return Err(FollowError::Gap { missing: root.revision().next(), head: head.revision });
        }
        let first = (Arc::new(Published::new(root, None)), last_written_at);
        let namespace = Arc::new(Namespace {
            log,
            images,
            history: RwLock::new(History::new(first.0, first.1)),
            version: Version::default(),
            control: Handle::try_current().ok(),
            rebuilt: Rebuilt::default(),
            queue: Mutex::new(Queue::default()),
            is_suspect: AtomicBool::new(true),
            turning: tokio::sync::Mutex::default(),
            batches: AtomicU64::new(0),
            last_written_at: Mutex::new(last_written_at),
            next_to_go: Mutex::new(None),
            changes_since_image: AtomicU64::new(0),
            imaged_at: Mutex::new(last_written_at),
            imaging: Arc::default(),
            announcer: Arc::default(),
            batch_tally: BatchTally::default(),
            account: OnceLock::new(),
            clock,
            options,
        });
        if !(is_imaged && is_broken(Variant::IgnoresTail)) {
            namespace.catch_up().await?;
        }
        if !is_imaged {
            // What is in no image is as old as the log says at least.
            *locked(&namespace.imaged_at) = *locked(&namespace.last_written_at);
        }
        Ok(namespace)
    }

    /// The images, if there is a disk for them.
    #[must_use]
    pub fn images(&self) -> Option<&Images> {
        self.images.as_ref()
    }

    /// The moment, by the clock that was passed in.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    /// The newest revision.
    #[must_use]
    pub fn head(&self) -> Arc<Published> {
        Arc::clone(&self.history.read().unwrap_or_else(PoisonError::into_inner).newest)
    }

    /// Another number whenever another revision was published, and else the same: what was read of [`Namespace::head`]
    /// after reading this is the newest for as long as this does not change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.0.load(Ordering::Acquire)
    }

    /// Begins what nobody waits for here.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match &self.control {
            Some(control) => drop(control.spawn(work)),
            None => drop(tokio::spawn(work)),
        }
    }

    /// Whether this thread has a runtime to itself, and the namespace was opened on one of several threads: what takes long
    /// here holds up the calls of this one, and need not.
    pub(crate) fn is_among_calls(&self) -> bool {
        let is_single = |runtime: &Handle| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        self.control.as_ref().is_some_and(|control| !is_single(control))
            && Handle::try_current().is_ok_and(|here| is_single(&here))
    }

    /// Does what may take long where it holds nobody up: on the threads of the runtime that the namespace was opened on, if
    /// this one has only one. Called off when it is no longer waited for.
    pub(crate) async fn aside<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match &self.control {
            Some(control) if self.is_among_calls() => {
                match Aside(control.spawn(work)).await {
                    Ok(done) => done,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The other runtime ends, and with it the process.
                        Err(_) => std::future::pending().await,
                    },
                }
            }
            _ => work.await,
        }
    }

    /// The newest revision, and when its entry was written.
    pub(crate) fn head_and_moment(&self) -> (Arc<Published>, Timestamp) {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&history.newest), history.written_at)
    }

    /// Counts what lies stored here from now on.
    pub(crate) fn count_in(&self, account: Account) {
        // Nobody else sets it.
        let _ = self.account.set(account);
        self.settle(Disk::Counted(self.disk_bytes()));
    }

    /// Counts anew what images and a trimmed log have changed, where that matters.
    pub(crate) fn count_disk(&self) {
        if self.account.get().is_some_and(Account::is_limited) {
            self.settle(Disk::Counted(self.disk_bytes()));
        }
    }

    /// Says how much lies stored.
    pub(crate) fn settle(&self, disk: Disk) {
        if let Some(account) = self.account.get() {
            account.settle(self.head().root().relationship_count(), disk);
        }
    }

    /// Bytes of the log's entries and of the files of images. Cost: O(entries kept).
    pub(crate) fn disk_bytes(&self) -> u64 {
        let images = self
            .images
            .as_ref()
            .map_or(0, |images| images.facts().iter().map(|image| image.file_bytes).sum::<u64>());
        self.log.stored_bytes().saturating_add(images)
    }

    /// About what the newest revision, those kept beside it and the rebuilt ones take, in bytes: the newest by its count,
    /// since counting exactly walks the graph.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let newest = self.head().root().relationship_count() * RELATIONSHIP_BYTES;
        NAMESPACE_BYTES + newest + self.kept().1 + self.rebuilt.memory_bytes()
    }

    /// The newest revision, if it is this one or later.
    ///
    /// # Errors
    /// [`ReplicaError::NotYet`].
    pub fn at_least(&self, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        let head = self.head();
        if head.revision() < asked {
            return Err(ReplicaError::NotYet { asked, applied: head.revision() });
        }
        Ok(head)
    }

    /// The oldest revision that can be asked for.
    pub(crate) async fn oldest(&self) -> Result<Revision, FollowError> {
        // The entry after a revision is what undoing it back takes.
        Ok(Revision(self.log.head().await?.oldest.0.saturating_sub(1)))
    }

    /// The revision that the kept history begins after.
    ///
    /// # Errors
    /// [`ReplicaError::PastUnreadable`].
    pub async fn begin(&self) -> Result<Revision, ReplicaError> {
        self.oldest().await.map_err(|error| ReplicaError::PastUnreadable(Arc::new(error)))
    }

    /// Writes relationships, all or none; answers the revision that has them.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing has changed, unless it is one that says that this is not known.
    pub async fn write(self: &Arc<Self>, request: Write, wanted: Wanted) -> Result<Revision, ReplicaError> {
        Ok(self.ask(Request::Write(request), wanted).await?.revision)
    }

    /// Makes a relation of one resource hold exactly the subjects given, as one entry of what differs.
    ///
    /// # Errors
    /// [`ReplicaError::TooManyToSet`] if too much differs; otherwise as [`Namespace::write`].
    pub async fn set_relation(
        self: &Arc<Self>,
        request: SetRelation,
        wanted: Wanted,
    ) -> Result<Set, ReplicaError> {
        let done = self.ask(Request::SetRelation(request), wanted).await?;
        Ok(Set { revision: done.revision, tally: done.tally })
    }

    /// Creates relationships, all or none, as one entry.
    ///
    /// # Errors
    /// As [`Namespace::write`].
    pub async fn import(
        self: &Arc<Self>,
        relationships: impl Into<Import>,
        wanted: Wanted,
    ) -> Result<Revision, ReplicaError> {
        let packed = relationships.into().packed();
        Ok(self.ask(Request::Import(packed), wanted).await?.revision)
    }

    /// Deletes what matches a filter, as one entry.
    ///
    /// # Errors
    /// As [`Namespace::write`].
    pub async fn delete(self: &Arc<Self>, request: Delete, wanted: Wanted) -> Result<Deleted, ReplicaError> {
        let done = self.ask(Request::Delete(request), wanted).await?;
        Ok(Deleted { revision: done.revision, count: done.count, is_partial: done.is_partial })
    }

    /// Replaces the schema. Relationships that have expired and would have no place go with it.
    ///
    /// # Errors
    /// [`ReplicaError::Schema`] if the text is not a schema, [`ReplicaError::Orphans`] if relationships stand in its
    /// way; otherwise as [`Namespace::write`].
    pub async fn write_schema(
        self: &Arc<Self>,
        text: String,
        wanted: Wanted,
    ) -> Result<Revision, ReplicaError> {
        Ok(self.ask(Request::Schema(text), wanted).await?.revision)
    }

    /// Registers a counter or takes one away.
    ///
    /// # Errors
    /// [`ReplicaError::CounterRegistered`], [`ReplicaError::CounterNotRegistered`], [`ReplicaError::TooManyCounters`], or
    /// that the schema does not know what is to be counted; otherwise as [`Namespace::write`].
    pub async fn change_counter(
        self: &Arc<Self>,
        request: CounterChange,
        wanted: Wanted,
    ) -> Result<Revision, ReplicaError> {
        Ok(self.ask(Request::Counter(request), wanted).await?.revision)
    }

    /// Removes relationships that have expired, at most so many, by an ordinary entry; returns how many it were.
    ///
    /// # Errors
    /// As [`Namespace::write`].
    pub async fn sweep(self: &Arc<Self>, rows_max: usize) -> Result<u64, ReplicaError> {
        Ok(self.ask(Request::Sweep(rows_max), Wanted::always()).await?.count)
    }

    /// Lets readers see a later revision, so many changes on; returns what is no longer kept, to be freed where nobody
    /// waits.
    pub(crate) fn publish(
        &self,
        (newest, written_at): (Arc<Published>, Timestamp),
        changes: u64,
    ) -> Vec<Kept> {
        self.changes_since_image.fetch_add(changes, Ordering::Relaxed);
        // Counted before the lock, which readers take too. Nobody else publishes.
        let beyond_bytes = self.head().bytes_beyond(&newest);
        let dropped = {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            let dropped = history.push((newest, written_at), beyond_bytes, &self.options);
            self.version.0.fetch_add(1, Ordering::Release);
            dropped
        };
        self.announcer.announce(self);
        dropped
    }

    /// Applies what the log has beyond this replica. Called by the one writer, and on opening.
    pub(crate) async fn catch_up(&self) -> Result<(), FollowError> {
        let head = self.log.head().await?;
        loop {
            let before = self.head();
            let after = before.revision();
            if after >= head.revision {
                break;
            }
            let read = self.log.read(after, READ_BYTES).await?;
            let mut root = before.root().clone();
            let mut written_at = Timestamp::from_seconds(i64::MIN);
            in_place(true, || {
                for stored in follow::following(read, after, head.revision)? {
                    let (weight, at) = follow::replay(&mut root, &stored)?;
                    self.changes_since_image.fetch_add(weight, Ordering::Relaxed);
                    written_at = at;
                }
                Ok::<_, FollowError>(())
            })?;
            *locked(&self.last_written_at) = written_at;
            self.skip_to(Arc::new(Published::new(root, Some(&before))), written_at);
        }
        self.is_suspect.store(false, Ordering::Release);
        Ok(())
    }

    /// Publishes a revision that is not the next one: what lies between is rebuilt if somebody asks for it.
    fn skip_to(&self, newest: Arc<Published>, written_at: Timestamp) {
        let dropped = {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            let dropped = std::mem::replace(&mut *history, History::new(newest, written_at));
            self.version.0.fetch_add(1, Ordering::Release);
            dropped
        };
        self.announcer.announce(self);
        drop(dropped);
    }
}

/// Work that another runtime does, called off when this is dropped.
struct Aside<T>(JoinHandle<T>);

impl<T> Future for Aside<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Aside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs what may take long without holding up the tasks that share this thread.
pub(crate) fn in_place<T>(is_heavy: bool, work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if is_heavy && runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}

/// Refuses what nobody waits for.
pub(crate) fn still(is_wanted: &dyn Fn() -> bool) -> Result<(), ReplicaError> {
    if is_wanted() { Ok(()) } else { Err(ReplicaError::NotWanted) }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
