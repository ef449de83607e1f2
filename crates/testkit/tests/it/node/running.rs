//! A node over an embedded store on the fault disk, driven step by step: nothing runs by itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use idhini_changelog::disk::{Disk, DiskFile};
use idhini_changelog::embedded::{Options as LogOptions, Steps};
use idhini_changelog::{
    AppendError, Batch, BoxFuture, Changelog, EmbeddedStore, Head, LogError, LogId, OpenError, Store, Stored,
};
use idhini_model::{Revision, Timestamp};
use idhini_replica::{Clock, Node, NodeOptions, Options, Parts, Report};
use idhini_testkit::disk::FaultDisk;
use tokio::runtime::Runtime;

use super::breaking::{choose, chosen};
use super::model::HISTORY_SECONDS;

/// Small, so that there are many of them.
const SEGMENT_BYTES: u64 = 16_000;

/// Steps that the store may take for one answer.
const STEPS_MAX: usize = 20_000;

/// What two namespaces take: the third is closed whenever another is opened.
const MEMORY_BYTES_MAX: u64 = 2 * 64 * 1024 + 32 * 1024;

/// Something asked for.
pub type Job<T> = Pin<Box<dyn Future<Output = T>>>;

/// When which revision of which log was durable, in changes of the disk.
pub type Stamps = Arc<Mutex<BTreeMap<(u64, u64), u64>>>;

/// A node and its store.
pub struct Running {
    pub node: Arc<Node>,
    pub store: Arc<EmbeddedStore>,
    pub steps: Steps,
}

/// What a node is told by its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    pub seconds: Arc<AtomicI64>,
    pub reports: Arc<Mutex<Vec<String>>>,
    pub stamps: Stamps,
}

impl Surroundings {
    pub fn new(now: i64) -> Surroundings {
        Surroundings {
            seconds: Arc::new(AtomicI64::new(now)),
            reports: Arc::default(),
            stamps: Arc::default(),
        }
    }

    pub fn report(&self) -> Report {
        let reports = Arc::clone(&self.reports);
        Arc::new(move |text| reports.lock().unwrap().push(text.to_owned()))
    }

    /// What was reported since this was last asked.
    pub fn reported(&self) -> Vec<String> {
        std::mem::take(&mut self.reports.lock().unwrap())
    }
}

/// A runtime of one thread, and one more for what blocks.
pub fn runtime() -> Runtime {
    let chosen = chosen();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(1).on_thread_start(move || choose(chosen)).build().unwrap()
}

/// Polls jobs in their order, then lets the stores take steps, until all are done.
///
/// An image is written on the thread for what blocks; where there may be one, it is waited for before anything else goes on.
pub fn drive<T>(
    runtime: &Runtime,
    mut steps: Vec<&mut Steps>,
    mut jobs: Vec<Job<T>>,
    may_image: bool,
) -> Vec<T> {
    let mut done: Vec<Option<T>> = jobs.iter().map(|_| None).collect();
    runtime.block_on(async {
        for _ in 0..STEPS_MAX {
            for (job, done) in jobs.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
                let poll = |context: &mut Context<'_>| match job.as_mut().poll(context) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending => Poll::Ready(None),
                };
                *done = std::future::poll_fn(poll).await;
                if may_image {
                    // That thread does one thing after the other.
                    tokio::task::spawn_blocking(|| ()).await.unwrap();
                }
            }
            if done.iter().all(Option::is_some) {
                return done.into_iter().flatten().collect();
            }
            // The namespaces' writers are tasks.
            tokio::task::yield_now().await;
            for steps in &mut steps {
                steps.step();
            }
        }
        panic!("the store does not answer");
    })
}

pub fn drive_one<T>(runtime: &Runtime, steps: Vec<&mut Steps>, job: Job<T>) -> T {
    drive(runtime, steps, vec![job], false).pop().unwrap()
}

/// Opens the store of a directory of the disk.
pub fn open_store(disk: &Arc<dyn Disk>, new_store: u64) -> Result<(Arc<EmbeddedStore>, Steps), OpenError> {
    let mut options = LogOptions::new(new_store);
    options.segment_bytes = SEGMENT_BYTES;
    let (store, steps) = EmbeddedStore::open_stepped(Arc::clone(disk), &options)?;
    Ok((Arc::new(store), steps))
}

impl Running {
    pub fn open(
        disk: &FaultDisk,
        directory: &Arc<dyn Disk>,
        surroundings: &Surroundings,
        seed: u64,
    ) -> Result<Running, OpenError> {
        let (store, steps) = open_store(directory, seed)?;
        let node = node(disk, directory, surroundings, &store, seed);
        Ok(Running { node, store, steps })
    }
}

/// A node with no namespace open.
pub fn node(
    disk: &FaultDisk,
    directory: &Arc<dyn Disk>,
    surroundings: &Surroundings,
    store: &Arc<EmbeddedStore>,
    seed: u64,
) -> Arc<Node> {
    let seconds = Arc::clone(&surroundings.seconds);
    let clock: Clock = Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)));
    let stamps = Arc::clone(&surroundings.stamps);
    let stamped = Stamped { inner: Arc::clone(store), disk: disk.clone(), stamps };
    let parts = Parts {
        store: Arc::new(stamped),
        disk: Some(Arc::clone(directory)),
        clock,
        report: surroundings.report(),
    };
    let namespace = Options {
        seed,
        writer_id: seed,
        history_seconds: Some(HISTORY_SECONDS.cast_unsigned()),
        // About three.
        kept_bytes_max: 6_000,
        image_changes: 14,
        image_seconds: 50,
        ..Options::default()
    };
    Arc::new(Node::new(parts, NodeOptions { namespace, memory_bytes_max: MEMORY_BYTES_MAX }))
}

/// A directory of a disk.
#[derive(Debug)]
pub struct Within {
    pub disk: FaultDisk,
    pub directory: &'static str,
}

impl Within {
    pub fn of(disk: &FaultDisk, directory: &'static str) -> Arc<dyn Disk> {
        Arc::new(Within { disk: disk.clone(), directory })
    }

    fn path(&self, path: &str) -> String {
        match path {
            "" => self.directory.to_owned(),
            path => format!("{}/{path}", self.directory),
        }
    }
}

impl Disk for Within {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path(path))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(&self.path(path))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.disk.list(&self.path(directory))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(&self.path(path))
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.disk.sync_directory(&self.path(directory))
    }
}

/// A store that notes when each revision was acknowledged: at that very moment, not when somebody looks.
#[derive(Debug)]
struct Stamped {
    inner: Arc<EmbeddedStore>,
    disk: FaultDisk,
    stamps: Stamps,
}

#[derive(Debug)]
struct StampedLog {
    id: LogId,
    inner: Arc<dyn Changelog>,
    disk: FaultDisk,
    stamps: Stamps,
}

/// Notes the disk's changes when it is woken.
struct Stamping {
    disk: FaultDisk,
    at: AtomicU64,
    next: Mutex<Waker>,
}

impl Wake for Stamping {
    fn wake(self: Arc<Self>) {
        self.at.fetch_min(self.disk.changes(), Ordering::SeqCst);
        self.next.lock().unwrap().wake_by_ref();
    }
}

impl Store for Stamped {
    fn log(&self, id: LogId) -> Arc<dyn Changelog> {
        let (disk, stamps) = (self.disk.clone(), Arc::clone(&self.stamps));
        Arc::new(StampedLog { id, inner: self.inner.log(id), disk, stamps })
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogId>, LogError>> {
        self.inner.logs()
    }

    fn begin(&self, id: LogId, head: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.begin(id, head)
    }

    fn delete(&self, id: LogId) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.delete(id)
    }
}

impl Changelog for StampedLog {
    fn append<'a>(&'a self, head: Revision, batch: Batch) -> BoxFuture<'a, Result<Revision, AppendError>> {
        Box::pin(async move {
            let mut inner = self.inner.append(head, batch);
            let (disk, at) = (self.disk.clone(), AtomicU64::new(u64::MAX));
            let stamping = Arc::new(Stamping { disk, at, next: Mutex::new(Waker::noop().clone()) });
            let waker = Waker::from(Arc::clone(&stamping));
            let appended = std::future::poll_fn(|context| {
                stamping.next.lock().unwrap().clone_from(context.waker());
                inner.as_mut().poll(&mut Context::from_waker(&waker))
            });
            let answer = appended.await;
            if let Ok(last) = &answer {
                let at = stamping.at.load(Ordering::SeqCst).min(self.disk.changes());
                let revisions = head.0 + 1..=last.0;
                self.stamps.lock().unwrap().extend(revisions.map(|revision| ((self.id.0, revision), at)));
            }
            answer
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        self.inner.head()
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        self.inner.read(after, bytes_max)
    }

    fn beginning(&self, revision: Revision) -> BoxFuture<'_, Result<Option<Stored>, LogError>> {
        self.inner.beginning(revision)
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.trim(below)
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.grown(beyond)
    }
}
