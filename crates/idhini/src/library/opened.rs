//! A namespace of this process, opened as a server opens it, and looked after for as long as somebody has it.
//!
//! # Invariants
//! * A directory is held by one process at a time, and within it by one handle.
//! * When this is dropped, what was written is imaged, the log closed, and the directory free.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, FileDisk, LogId, MemoryStore, Store};
use idhini_engine::COST_MAX;
use idhini_replica::{
    Clock, Identity, Namespace, Node, NodeOptions, Options as NamespaceOptions, Parts, Report,
};
use tokio::sync::watch;

use crate::driver::{Calls, Driver};
use crate::{Error, Idhini, clock};

/// The log of the one namespace, as of a server's.
const ROOT: LogId = LogId(1);
/// How long it takes until everything is looked after again.
const ROUND: Duration = Duration::from_secs(5);

/// How a handle is to be; the defaults are the server's.
#[derive(Clone)]
pub struct Options {
    /// How long a revision can be asked for after a later one replaced it, in seconds; `None`: forever.
    pub history_seconds: Option<u64>,
    /// Bytes of the revisions that are kept in memory beside the newest; others are rebuilt when they are asked for.
    pub kept_bytes_max: u64,
    /// The most edges that one question may visit.
    pub cost_max: u64,
    /// Tells the time: by it expirations are judged, and writes recorded.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Options {
        let NamespaceOptions { history_seconds, kept_bytes_max, .. } = NamespaceOptions::default();
        Options { history_seconds, kept_bytes_max, cost_max: COST_MAX, clock: Arc::new(clock::now) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("history_seconds", &self.history_seconds)
            .field("kept_bytes_max", &self.kept_bytes_max)
            .field("cost_max", &self.cost_max)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// As [`Idhini::in_memory`].
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn in_memory(self) -> Result<Idhini, Error> {
        Opened::new(Arc::new(MemoryStore::new()), None, None, self).map(Idhini::of)
    }

    /// As [`Idhini::open`].
    ///
    /// # Errors
    /// As [`Idhini::open`].
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Idhini, Error> {
        let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(directory.as_ref())?);
        let identity = Identity::read_or_make(&*disk, new_identity)?;
        let embedded = Arc::new(EmbeddedStore::open(Arc::clone(&disk), &LogOptions::new(identity.store))?);
        let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
        Opened::new(store, Some(embedded), Some(disk), self).map(Idhini::of)
    }
}

/// What a handle and its clones share.
pub(crate) struct Opened {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) cost_max: u64,
    /// Whoever follows learns from its end that this is closed.
    closing: Option<watch::Sender<()>>,
    caretaker: Option<Caretaker>,
    embedded: Option<Arc<EmbeddedStore>>,
    driver: Driver,
}

/// The thread that sweeps, images and trims.
struct Caretaker {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Opened {
    fn new(
        store: Arc<dyn Store>,
        embedded: Option<Arc<EmbeddedStore>>,
        disk: Option<Arc<dyn Disk>>,
        Options { history_seconds, kept_bytes_max, cost_max, clock }: Options,
    ) -> Result<Opened, Error> {
        let seed = u64::from_be_bytes(random()?);
        let writer_id = u64::from_be_bytes(random()?);
        let namespace =
            NamespaceOptions { history_seconds, kept_bytes_max, seed, writer_id, ..Default::default() };
        let options = NodeOptions { namespace, ..NodeOptions::default() };
        let report: Report = Arc::new(|text| tracing::warn!("{text}"));
        let node = Arc::new(Node::new(Parts { store, disk, clock, report }, options));
        let driver = Driver::start().map_err(threads)?;
        let namespace = driver.calls().wait(node.namespace(ROOT))?;
        let caretaker = Caretaker::start(driver.calls().clone(), node).map_err(threads)?;
        let (closing, _) = watch::channel(());
        Ok(Opened {
            namespace,
            cost_max,
            closing: Some(closing),
            caretaker: Some(caretaker),
            embedded,
            driver,
        })
    }

    pub(crate) fn calls(&self) -> &Calls {
        self.driver.calls()
    }

    /// Ends when this is closed.
    pub(crate) fn closing(&self) -> Option<watch::Receiver<()>> {
        self.closing.as_ref().map(watch::Sender::subscribe)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        drop(self.closing.take());
        if let Some(Caretaker { stop, thread }) = self.caretaker.take() {
            drop(stop);
            // It can only have panicked, and then it has ended too.
            let _ = thread.join();
        }
        let Some(store) = &self.embedded else { return };
        if let Err(error) = self.calls().wait(self.namespace.image()) {
            tracing::warn!("{}; the next start reads more of the log instead", error.for_log());
        }
        if let Err(error) = self.calls().wait(store.close()) {
            tracing::warn!(%error, "the log was not closed cleanly, nothing is lost");
        }
    }
}

impl Caretaker {
    fn start(calls: Calls, node: Arc<Node>) -> io::Result<Caretaker> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("idhini-caretaker".to_owned()).spawn(move || {
            loop {
                calls.wait(node.maintain());
                if stopped.recv_timeout(ROUND) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Caretaker { stop, thread })
    }
}

/// A store that was not there before.
fn new_identity() -> Result<Identity, Error> {
    Ok(Identity {
        store: u64::from_be_bytes(random()?),
        timeline: 1,
        key_id: u32::from_be_bytes(random()?),
        key: random()?,
    })
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::System { what: "randomness", source: io::Error::other(error) })?;
    Ok(bytes)
}

fn threads(source: io::Error) -> Error {
    Error::System { what: "threads", source }
}
