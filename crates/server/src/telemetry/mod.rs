//! What can an operator see of a running server? Log lines, spans, metrics, readiness.
//!
//! # Invariants
//! * No secret is seen, and above the level debug no id, context or subject of a relationship.
//! * A call takes no lock, and what it counts are numbers of its kind of call and of the worker that answers it.
//! * A line that nobody wants costs a look at a number.

mod budget;
mod call;
mod calls;
mod exposition;
mod histogram;
mod http;
mod observer;
mod readiness;
mod shard;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::HeaderMap;
use idhini_engine::ClosureUse;
use tracing::Span;

use self::budget::LineBudget;
pub(crate) use self::call::{Call, Finished, carried, recording};
use self::calls::Calls;
pub(crate) use self::calls::{CODES, Row};
pub use self::exposition::Process;
use self::histogram::Histogram;
pub use self::http::{Monitoring, MonitoringListener, Profiled, Profiler, Served};
pub use self::observer::LogObserver;
pub(crate) use self::readiness::Readiness;
pub(crate) use self::shard::{Limited, Recorder};
use self::shard::{Shard, Shards};
use crate::lane::Place;
use crate::quotas::Held;
use crate::refusal::Refusal;
use crate::seal::Stranger;
use crate::tls::TlsCounts;

/// Continues a trace that a caller's metadata names, on a span that is new.
pub type Continue = Arc<dyn Fn(&Span, &HeaderMap) + Send + Sync>;

/// Edges that a check visits are told apart at these.
const EDGES_BOUNDS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5, 1e6, 1e7];
/// How long a sync takes, in seconds.
const SYNC_BOUNDS: &[f64] =
    &[1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Entries that share a sync.
const ENTRIES_BOUNDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4];

/// What one process tells of itself.
pub struct Telemetry {
    calls: Calls,
    /// Of each worker.
    shards: Mutex<Vec<Arc<Shard>>>,
    pub(crate) readiness: Readiness,
    sync_seconds: Histogram,
    sync_entries: Histogram,
    sync_bytes: AtomicU64,
    write_failures: AtomicU64,
    /// What lookups keep for their next pages.
    pub(crate) searches_bytes: Arc<AtomicU64>,
    pub(crate) tls: Arc<TlsCounts>,
    lines: LineBudget,
    continues: Option<Continue>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Of a process that has served nothing yet. Traces that callers began are continued by `continues`.
    #[must_use]
    pub fn new(continues: Option<Continue>) -> Telemetry {
        Telemetry {
            calls: Calls::of_all_services(),
            shards: Mutex::default(),
            readiness: Readiness::default(),
            sync_seconds: Histogram::new(SYNC_BOUNDS),
            sync_entries: Histogram::new(ENTRIES_BOUNDS),
            sync_bytes: AtomicU64::new(0),
            write_failures: AtomicU64::new(0),
            searches_bytes: Arc::default(),
            tls: Arc::default(),
            lines: LineBudget::new(),
            continues,
        }
    }

    /// No longer ready: called as soon as the server is told to stop.
    pub(crate) fn stopping(&self) {
        self.readiness.stop();
    }

    /// All kinds of calls; the first stands for what is none.
    pub(crate) fn rows(&self) -> &[Row] {
        self.calls.rows()
    }

    fn shards(&self) -> Shards {
        Shards(self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The call that runs here visited so many edges more.
pub(crate) fn charge(edges: u64) {
    call::with(|call| call.charge(edges));
}

/// The call that runs here looked at so many relationships to read them: its caller's quotas count that, what is told of
/// questions does not.
pub(crate) fn looked_at(edges: u64) {
    call::with(|call| {
        if let Some(held) = call.held() {
            held.charge(edges);
        }
    });
}

/// The call that runs here has gone through a portion of an evaluation that is charged when it is over.
pub(crate) fn prepay(edges: u64) {
    call::with(|call| call.prepay(edges));
}

/// How long the call that runs here waits before it goes on, since its namespace or caller owes for what was visited.
pub(crate) fn owed() -> Option<Duration> {
    let mut owed = None;
    call::with(|call| owed = call.held().and_then(Held::owed));
    owed
}

/// The call that runs here takes longer than a worker may be held up.
///
/// # Errors
/// When it is told so for the first time and too much of its namespace is long already.
pub(crate) fn takes_long() -> Result<(), Refusal> {
    let mut told = Ok(());
    call::with(|call| told = call.takes_long());
    told
}

/// Where the call that runs here goes on if it is long.
pub(crate) fn place() -> Option<Place> {
    let mut place = None;
    call::with(|call| place = call.place().cloned());
    place
}

/// The call that runs here is refused by this.
pub(crate) fn limited(by: Limited) {
    call::with(|call| call.recorder().limited(by));
}

/// The call that runs here was a check that visited so many edges.
pub(crate) fn checked(edges: u64) {
    call::with(|call| call.checked(edges));
}

/// The call that runs here used closures so often.
pub(crate) fn used(closures: ClosureUse) {
    call::with(|call| call.used(closures));
}

/// The call that runs here brought a token that is treated as full consistency.
pub(crate) fn met_stranger(stranger: Stranger) {
    call::with(|call| call.recorder().met_stranger(stranger));
}

/// Why the call that runs here will fail, for the log: what its caller is not told.
pub(crate) fn failed_because(cause: impl FnOnce() -> Option<String>) {
    call::with(|call| call.failed_because(cause()));
}

/// The span of pinning a snapshot.
pub(crate) fn snapshot_span() -> Span {
    tracing::debug_span!("snapshot")
}

/// The span of evaluating a question.
pub(crate) fn evaluation_span() -> Span {
    tracing::debug_span!("evaluation")
}
