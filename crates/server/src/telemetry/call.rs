//! What is known of one call while it runs, and what is told when it ends?
//!
//! The call is found by whatever runs within it, as it is a local of the task wherever the call is polled.
//!
//! # Invariants
//! * A call ends once: with its status, or, if its client leaves, as cancelled.
//! * A failure that is ours is logged once, here, with what caused it; what a client did wrong is not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use idhini_engine::ClosureUse;
use tokio::time::Instant;
use tonic::Code;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::calls::{CODES, Row};
use super::shard::Recorder;
use crate::audit::Recording;
use crate::lane::Place;
use crate::quotas::{Counts, Held, Line, Over};
use crate::refusal::Refusal;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    recorder: Arc<Recorder>,
    row: usize,
    request_id: Option<HeaderValue>,
    began: Instant,
    edges: AtomicU64,
    /// Closures that were remembered.
    found: AtomicU64,
    cause: OnceLock<String>,
    /// Its place at the meters of its namespace and caller, for as long as there is anything of the call.
    held: OnceLock<Held>,
    /// Where it goes on if it is long.
    place: OnceLock<Place>,
    is_long: AtomicBool,
    /// What is put on the audit trail of it, if anything is.
    recording: OnceLock<Recording>,
    span: Span,
}

/// Ends a call when it is dropped, if nobody did before.
#[derive(Debug)]
pub(crate) struct Finished(Option<Arc<Call>>);

/// Does something with the call that runs here, if one does.
pub(super) fn with(work: impl FnOnce(&Call)) {
    let _ = CALL.try_with(|call| work(call));
}

/// What is put on the audit trail of the call that runs here, if anything is.
pub(crate) fn recording() -> Option<Recording> {
    CALL.try_with(|call| call.recording().cloned()).ok().flatten()
}

/// A part of the call that runs here which another task does: it is charged and told of as the rest.
pub(crate) fn carried<T>(part: impl Future<Output = T>) -> impl Future<Output = T> {
    let call = CALL.try_with(Arc::clone).ok();
    async move {
        match call {
            Some(call) => call.run(part).await,
            None => part.await,
        }
    }
}

impl Call {
    /// Begins a call of this path.
    pub(crate) fn begin(
        recorder: &Arc<Recorder>,
        path: &str,
        request_id: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) -> Arc<Call> {
        let telemetry = &recorder.telemetry;
        let row = telemetry.calls.find(path);
        if let Some(counts) = recorder.counts(row) {
            counts.under_way.fetch_add(1, Ordering::Relaxed);
        }
        let mut span = Span::none();
        if let Some(row) = telemetry.calls.row(row) {
            span = tracing::debug_span!(
                "request",
                otel.name = format_args!("{}/{}", row.service, row.call),
                otel.kind = "server",
                otel.status_code = Empty,
                rpc.system = "grpc",
                rpc.service = row.service,
                rpc.method = row.call,
                rpc.grpc.status_code = Empty,
                request_id = request_id.map(text),
                cost = Empty,
            );
        }
        if !span.is_disabled()
            && let Some(continues) = &telemetry.continues
        {
            continues(&span, headers);
        }
        Arc::new(Call {
            recorder: Arc::clone(recorder),
            row,
            request_id: request_id.cloned(),
            began: Instant::now(),
            edges: AtomicU64::new(0),
            found: AtomicU64::new(0),
            cause: OnceLock::new(),
            held: OnceLock::new(),
            place: OnceLock::new(),
            is_long: AtomicBool::new(false),
            recording: OnceLock::new(),
            span,
        })
    }

    /// Which kind of call it is.
    pub(crate) fn row(&self) -> usize {
        self.row
    }

    /// Its name and its service's, if there is such a call.
    pub(crate) fn name(&self) -> Option<&Row> {
        self.recorder.telemetry.calls.row(self.row)
    }

    /// When it came.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn request_id(&self) -> &str {
        self.request_id.as_ref().map(text).unwrap_or_default()
    }

    /// It is put on the audit trail.
    pub(crate) fn is_recorded(&self, recording: Recording) {
        // It is let in once.
        let _ = self.recording.set(recording);
    }

    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.recording.get()
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Runs a part of the call.
    pub(crate) async fn run<T>(self: &Arc<Self>, part: impl Future<Output = T>) -> T {
        CALL.scope(Arc::clone(self), part).instrument(self.span.clone()).await
    }

    /// The same at once.
    pub(crate) fn run_now<T>(self: &Arc<Self>, part: impl FnOnce() -> T) -> T {
        CALL.sync_scope(Arc::clone(self), || self.span.in_scope(part))
    }

    /// Counts it at the meters of its namespace and caller, or says what is used up.
    pub(crate) fn meter(&self, line: &Arc<Line>, counts: Counts) -> Result<(), Over> {
        let held = line.begin(counts, self.began)?;
        // A call is metered once.
        let _ = self.held.set(held);
        Ok(())
    }

    /// Says where it goes on if it is long.
    pub(crate) fn may_move_to(&self, place: Place) {
        let _ = self.place.set(place);
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.get()
    }

    /// It takes longer than a worker may be held up, and goes on where that holds up nobody.
    ///
    /// # Errors
    /// When it is told so for the first time and too much of its namespace waits there already.
    pub(crate) fn takes_long(&self) -> Result<(), Refusal> {
        if self.is_long() {
            return Ok(());
        }
        if let Some(refusal) = self.place().and_then(Place::refusal) {
            return Err(refusal);
        }
        self.is_long.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it does, as far as is known.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }

    /// Charges a portion of what is charged when it is over.
    pub(crate) fn prepay(&self, edges: u64) {
        if let Some(held) = self.held.get() {
            held.prepay(edges);
        }
    }

    pub(super) fn held(&self) -> Option<&Held> {
        self.held.get()
    }

    pub(crate) fn charge(&self, edges: u64) {
        self.edges.fetch_add(edges, Ordering::Relaxed);
        if let Some(held) = self.held.get() {
            held.charge(edges);
        }
    }

    /// It was a check that visited so many edges.
    pub(crate) fn checked(&self, edges: u64) {
        self.charge(edges);
        self.recorder.checked(edges);
    }

    /// It used closures so often.
    pub(crate) fn used(&self, closures: ClosureUse) {
        if closures.found > 0 {
            self.found.fetch_add(closures.found, Ordering::Relaxed);
        }
        self.recorder.used(closures);
    }

    /// Closures that it found remembered so far.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Edges visited so far.
    pub(crate) fn edges(&self) -> u64 {
        self.edges.load(Ordering::Relaxed)
    }

    /// The first cause is the one that is told.
    pub(super) fn failed_because(&self, cause: Option<String>) {
        if let Some(cause) = cause {
            let _ = self.cause.set(cause);
        }
    }

    fn end(&self, code: Code) {
        // Whoever knows why it ended has said so before.
        if let Some(recording) = self.recording() {
            recording.was_left();
        }
        let telemetry = &self.recorder.telemetry;
        let (edges, took) = (self.edges(), self.began.elapsed());
        if let Some(counts) = self.recorder.counts(self.row) {
            counts.under_way.fetch_sub(1, Ordering::Relaxed);
            if let Some(ended) = counts.ended.get(code as usize) {
                ended.fetch_add(1, Ordering::Relaxed);
            }
            counts.seconds.observe(took.as_secs_f64());
        }
        self.recorder.charge(edges);
        if let Some(place) = self.place.get() {
            place.load.used(place.tenancy.tenant, edges);
            if place.is_counted {
                place.load.ended();
            }
        }
        let Some(row) = telemetry.calls.row(self.row) else { return };
        let is_ours = matches!(code, Code::Internal | Code::Unavailable | Code::DataLoss | Code::Unknown);
        if !self.span.is_disabled() {
            // Collectors take signed numbers as numbers, and others as text.
            self.span.record("rpc.grpc.status_code", i64::from(code as i32));
            self.span.record("cost", i64::try_from(edges).unwrap_or(i64::MAX));
            if is_ours {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        // Ending what would not end by itself is how a server stops.
        let is_expected =
            code == Code::Unavailable && row.is_ended_by_stopping() && telemetry.readiness.is_stopping();
        if is_ours && !is_expected {
            self.tell_failed(row, code, took);
            return;
        }
        tracing::debug!(
            parent: &self.span,
            request_id = self.request_id.as_ref().map(text),
            call = format_args!("{}/{}", row.service, row.call),
            code = CODES.get(code as usize),
            duration_ms = took.as_secs_f64() * 1e3,
            cost = edges,
            "call ended"
        );
    }

    fn tell_failed(&self, row: &Row, code: Code, took: Duration) {
        let Some(untold) = self.recorder.telemetry.lines.take() else { return };
        if untold > 0 {
            tracing::warn!(untold, "so many calls failed and were not told, as too many did");
        }
        tracing::warn!(
            parent: &self.span,
            request_id = self.request_id.as_ref().map(text),
            call = format_args!("{}/{}", row.service, row.call),
            code = CODES.get(code as usize),
            duration_ms = took.as_secs_f64() * 1e3,
            cost = self.edges(),
            cause = self.cause.get(),
            "call failed"
        );
    }
}

impl Finished {
    pub(crate) fn of(call: &Arc<Call>) -> Finished {
        Finished(Some(Arc::clone(call)))
    }

    /// The call ended with this status.
    pub(crate) fn with(&mut self, code: Code) {
        if let Some(call) = self.0.take() {
            call.end(code);
        }
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        self.with(Code::Cancelled);
    }
}

/// Only what a line of text can hold: the id may be the client's.
fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}
