//! The one writer of a namespace: who gets which revision, and when may they be told?
//!
//! Requests queue; whoever finds the queue idle starts the writer, which takes all that wait, judges them one after the
//! other on a working graph, appends what they change as one batch, and only then publishes and answers. Requests that
//! wait together share one append. As long as they are light it is a task of the thread that they were asked on, so that
//! only the log's thread is waited for; otherwise one of the runtime that the namespace was opened on.
//!
//! # Invariants
//! * No answer leaves before the entries it rests on are durable: refusals that read the working graph wait too.
//! * If the append fails, the working graph is dropped, and nothing of it is seen or told.
//! * After an append of unknown outcome nothing is judged before the log has said what became of it.
//! * What was not begun is not lost with the thread that would have: it is passed on.
//!
//! Cost: one append for all that wait; judging is charged to each request.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};

use idhini_changelog::{AppendError, BATCH_BYTES_MAX, Batch};
use idhini_model::{Cause, Context, EntryKind, Revision, Timestamp};
use idhini_schema::Schema;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use crate::broken::{Variant, is_broken};
use crate::control::{self, Control};
use crate::history::Kept;
use crate::import::Packed;
use crate::judge::{self, Bounds};
use crate::ledger::Disk;
use crate::namespace::{in_place, locked, still};
use crate::working::{Kinds, Reserve, Working};
use crate::{
    CounterChange, Delete, Namespace, Published, ReplicaError, SetRelation, Tally, Wanted, Write,
    schema_change, set_relation, size, sweep,
};

/// Requests that may wait for the writer; more are refused, so that a log that hangs does not fill the memory.
const WAITING_MAX: usize = 10_000;
/// Requests judged for one append, and changes and bytes after which no further one is taken.
const BATCH_REQUESTS_MAX: usize = 1_000;
const BATCH_CHANGES_MAX: u64 = 100_000;
const BATCH_BYTES_SOFT_MAX: u64 = 8 << 20;
/// Edges that the requests of one batch look at, after which no further one is taken: those judged already wait for it.
const BATCH_COST_MAX: u64 = 1_000_000;
/// Bytes of one request's entries, so that the log takes them with what else is in their batch.
pub const ENTRY_BYTES_MAX: u64 = BATCH_BYTES_MAX as u64 - BATCH_BYTES_SOFT_MAX;
/// What is judged on a thread that also answers calls: so many updates in one batch, a few microseconds each, and bytes.
/// What is more, or may look at more, is judged where waiting is free.
const LIGHT_UPDATES_MAX: usize = 100;
const LIGHT_BYTES_MAX: u64 = 64 << 10;
/// Old roots that hold no more than this are freed at once, wherever that is.
const FREED_HERE_BYTES_MAX: u64 = 64 << 10;

/// What is asked of the writer.
#[derive(Debug)]
pub(crate) enum Request {
    Write(Write),
    SetRelation(SetRelation),
    Import(Packed),
    Delete(Delete),
    Schema(String),
    Counter(CounterChange),
    Control(Box<Control>),
    /// Removes relationships that have expired, at most so many.
    Sweep(usize),
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) revision: Revision,
    /// Relationships changed.
    pub(crate) count: u64,
    pub(crate) is_partial: bool,
    /// Of a relation that was set.
    pub(crate) tally: Tally,
}

struct Waiting {
    request: Request,
    wanted: Wanted,
    reply: oneshot::Sender<Result<Done, ReplicaError>>,
    /// What the request is traced as.
    span: Span,
    held: Held,
}

/// The bytes of a request, counted until it is answered or called off.
struct Held {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Queue {
    /// How many wait, and the bytes of all that are not answered.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        (self.waiting.len(), self.bytes.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn is_driven(&self) -> bool {
        self.is_driven
    }
}

impl Waiting {
    /// Whether somebody waits for the answer and its deadline has not passed.
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && self.wanted.is_so()
    }
}

/// Who waits for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    is_driven: bool,
    /// Of all requests that are not answered.
    bytes: Arc<AtomicU64>,
}

/// One request's answer, to be given when the batch is durable.
struct Judged {
    waiting: Waiting,
    verdict: Result<Done, ReplicaError>,
    /// Whether entries of this batch were before it, so that it may not be told if they fail.
    rests_on_batch: bool,
    /// The request's own entries: a half-open range of the batch's.
    entries: (usize, usize),
}

/// What a request comes to.
struct Verdict {
    kinds: Kinds,
    /// Whether more was to be done.
    is_partial: bool,
    tally: Tally,
}

/// Whoever takes from the queue, and what it has taken. There is one at a time. If it is torn down in the middle, whose
/// requests were judged hear nothing, and what else waits is passed on.
struct Driver {
    namespace: Arc<Namespace>,
    /// Whether it shares its thread with calls, which must not wait for it.
    is_among_calls: bool,
    taken: VecDeque<Waiting>,
    judged: Vec<Judged>,
    is_done: bool,
}

impl Driver {
    /// Begins on this thread if it can be short; otherwise, and where there is nothing else, where waiting is free.
    fn begin(namespace: Arc<Namespace>, is_light: bool) {
        let is_among_calls = is_light && namespace.is_among_calls();
        // Kept from one round to the next, so that a busy namespace allocates neither anew.
        let (taken, judged) = (VecDeque::new(), Vec::new());
        let driver = Driver { namespace, is_among_calls, taken, judged, is_done: false };
        match is_among_calls {
            true => driver.go_on_here(),
            false => driver.go_aside(),
        }
    }

    /// Judges at once, before the calls that wait for this thread; what follows the append is a task of it.
    fn go_on_here(self) {
        let mut driving = Box::pin(self.drive());
        // Until it is a task there is nobody to wake: it is looked at again at once.
        let mut context = TaskContext::from_waker(Waker::noop());
        // As a task it would not take whoever asked with it, either. They hear that the writer is gone.
        match catch_unwind(AssertUnwindSafe(|| driving.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => drop(tokio::spawn(driving)),
            Ok(Poll::Ready(())) => {}
            Err(_) => tracing::error!("a batch ended by a panic"),
        }
    }

    /// Goes on where waiting is free.
    fn go_aside(mut self) {
        self.is_among_calls = false;
        let namespace = Arc::clone(&self.namespace);
        namespace.spawn(self.drive());
    }

    async fn drive(mut self) {
        while self.has_work() {
            if self.is_among_calls && !self.is_light() {
                return self.go_aside();
            }
            let Driver { namespace, taken, judged, is_among_calls, .. } = &mut self;
            namespace.turn(taken, judged, *is_among_calls).await;
            if *is_among_calls {
                // A log that answers at once would have this go on while anyone writes.
                tokio::task::consume_budget().await;
            }
        }
    }

    /// Takes all that wait if nothing is left of what was taken before; false, and no longer the writer, if nobody waits.
    fn has_work(&mut self) -> bool {
        if self.taken.is_empty() {
            let mut queue = locked(&self.namespace.queue);
            if queue.waiting.is_empty() {
                queue.is_driven = false;
                self.is_done = true;
            } else {
                std::mem::swap(&mut queue.waiting, &mut self.taken);
            }
        }
        !self.is_done
    }

    /// Whether the next batch takes this thread no longer than other calls can wait.
    fn is_light(&self) -> bool {
        let (mut updates, mut bytes) = (0, 0);
        !self.namespace.is_suspect.load(Ordering::Acquire)
            && self.taken.iter().all(|waiting| {
                updates += light_updates(&waiting.request).unwrap_or(LIGHT_UPDATES_MAX + 1);
                bytes += waiting.held.bytes;
                updates <= LIGHT_UPDATES_MAX && bytes <= LIGHT_BYTES_MAX
            })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // What became of a batch is known to nobody here.
        self.namespace.is_suspect.store(true, Ordering::Release);
        let mut queue = locked(&self.namespace.queue);
        let is_passed_on = self.is_among_calls && (!self.taken.is_empty() || !queue.waiting.is_empty());
        if is_passed_on {
            // Only this thread ends.
            self.taken.append(&mut queue.waiting);
            std::mem::swap(&mut queue.waiting, &mut self.taken);
            drop(queue);
            Driver::begin(Arc::clone(&self.namespace), false);
        } else {
            queue.is_driven = false;
            let lost = std::mem::take(&mut queue.waiting);
            drop(queue);
            drop(lost);
        }
    }
}

/// Settles what was reserved for a batch, once.
struct Settling<'n> {
    namespace: &'n Namespace,
    appended_bytes: u64,
    is_done: bool,
}

impl Settling<'_> {
    /// Before anybody is answered: what was freed can be taken by whoever hears of it.
    fn settle(&mut self) {
        self.is_done = true;
        self.namespace.settle(Disk::Grown(self.appended_bytes));
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.settle();
        }
    }
}

impl Namespace {
    /// Hands a request to the writer and waits for its answer. Dropping the call calls it off if its turn has not come.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        request: Request,
        wanted: Wanted,
    ) -> Result<Done, ReplicaError> {
        let span = tracing::debug_span!("append");
        let (reply, answer) = oneshot::channel();
        let bytes = size::of_request(&request);
        let is_light = light_updates(&request).is_some();
        let is_idle = {
            let mut queue = locked(&self.queue);
            if queue.waiting.len() >= WAITING_MAX {
                return Err(ReplicaError::Busy { waiting: WAITING_MAX });
            }
            // Grows under this lock only. Whoever comes alone is let in, however large.
            let (waiting, bytes_max) = (queue.bytes.load(Ordering::Relaxed), self.options.waiting_bytes_max);
            if waiting > 0 && waiting.saturating_add(bytes) > bytes_max {
                return Err(ReplicaError::BusyBytes { bytes_max });
            }
            queue.bytes.fetch_add(bytes, Ordering::Relaxed);
            let held = Held { bytes, all: Arc::clone(&queue.bytes) };
            queue.waiting.push_back(Waiting { request, wanted, reply, span: span.clone(), held });
            !std::mem::replace(&mut queue.is_driven, true)
        };
        if is_idle {
            Driver::begin(Arc::clone(self), is_light);
        }
        // The writer answers all it takes, unless it is torn down.
        answer.instrument(span).await.unwrap_or(Err(ReplicaError::WriterGone))
    }

    /// Judges as many requests as one append should carry, appends, publishes, answers.
    async fn turn(
        self: &Arc<Self>,
        taken: &mut VecDeque<Waiting>,
        judged: &mut Vec<Judged>,
        is_among_calls: bool,
    ) {
        if self.is_suspect.load(Ordering::Acquire)
            && let Err(error) = self.catch_up().await
        {
            let error = ReplicaError::LogUnreadable(Arc::new(error));
            return taken.drain(..).for_each(|waiting| answer(waiting, Err(error.again())));
        }
        let _turning = self.turning.lock().await;
        // However this ends, nothing stays reserved.
        let mut settling = Settling { namespace: self, appended_bytes: 0, is_done: false };
        let mut working = self.judge(taken, judged);
        if working.records.is_empty() {
            return judged.drain(..).for_each(|judged| answer(judged.waiting, judged.verdict));
        }
        let head = working.head;
        let sequence = self.batches.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = idhini_changelog::Writer { id: self.options.writer_id, sequence };
        let records = std::mem::take(&mut working.records);
        let written_at = working.written_at;
        if is_broken(Variant::PublishesBeforeAppend) {
            drop(self.publish((Arc::new(working.newest), written_at), working.changes));
            judged.drain(..).for_each(|judged| answer(judged.waiting, judged.verdict));
            let _ = self.log.append(head, Batch { writer, records }).await;
            return;
        }
        self.batch_tally.count(judged.len());
        let syncing = sync_spans(judged, records.len());
        let appended = self.log.append(head, Batch { writer, records }).await;
        drop(syncing);
        let failed = match appended {
            Ok(_) => {
                let dropped = self.publish((Arc::new(working.newest), written_at), working.changes);
                settling.appended_bytes = working.bytes;
                settling.settle();
                judged.drain(..).for_each(|judged| answer(judged.waiting, judged.verdict));
                return self.free(dropped, is_among_calls);
            }
            Err(AppendError::HeadMoved { .. }) => {
                self.is_suspect.store(true, Ordering::Release);
                return put_back(taken, judged);
            }
            Err(AppendError::Unknown { source }) if is_broken(Variant::TakesUnknownForRefused) => {
                ReplicaError::LogUnavailable(source)
            }
            Err(AppendError::Unknown { source }) => {
                self.is_suspect.store(true, Ordering::Release);
                let namespace = Arc::clone(self);
                match self.aside(async move { namespace.find_out(head, writer).await }).await {
                    Some(true) => {
                        return judged.drain(..).for_each(|judged| answer(judged.waiting, judged.verdict));
                    }
                    Some(false) => ReplicaError::LogUnavailable(source),
                    None => ReplicaError::OutcomeUnknown(source),
                }
            }
            Err(AppendError::Unavailable { source }) => ReplicaError::LogUnavailable(source),
            Err(error @ (AppendError::Malformed { .. } | AppendError::Deleted { .. } | _)) => {
                ReplicaError::NotAppended(Arc::new(error))
            }
        };
        for judged in judged.drain(..) {
            let is_of_batch = judged.rests_on_batch || judged.entries.0 < judged.entries.1;
            answer(judged.waiting, if is_of_batch { Err(failed.again()) } else { judged.verdict });
        }
    }

    /// Whether this writer's batch stands after `head`, and then it is published before anything else is judged; `None` if
    /// the log does not say.
    async fn find_out(&self, head: Revision, writer: idhini_changelog::Writer) -> Option<bool> {
        self.log.head().await.ok()?;
        let next = self.log.beginning(head.next()).await.ok()?;
        let is_appended = next.is_some_and(|stored| stored.writer == writer);
        if is_appended {
            self.catch_up().await.ok()?;
        }
        Some(is_appended)
    }

    /// Old roots are freed where nobody waits.
    fn free(&self, dropped: Vec<Kept>, is_among_calls: bool) {
        let bytes: u64 = dropped.iter().map(|(_, bytes)| bytes).sum();
        if is_among_calls && bytes > FREED_HERE_BYTES_MAX {
            self.spawn(async move { drop(dropped) });
        }
    }

    /// Judges requests in order until the batch is full.
    fn judge(&self, taken: &mut VecDeque<Waiting>, judged: &mut Vec<Judged>) -> Working {
        let mut working = Working::on(Published::clone(&self.head()));
        while working.changes < BATCH_CHANGES_MAX
            && working.bytes < BATCH_BYTES_SOFT_MAX
            && working.cost < BATCH_COST_MAX
            && judged.len() < BATCH_REQUESTS_MAX
            && let Some(mut waiting) = taken.pop_front()
        {
            let before = working.records.len();
            let is_heavy = light_updates(&waiting.request).is_none();
            let verdict = in_place(is_heavy, || self.judge_one(&mut waiting, &mut working));
            let entries = (before, working.records.len());
            judged.push(Judged { waiting, verdict, rests_on_batch: before > 0, entries });
        }
        working
    }

    fn judge_one(&self, waiting: &mut Waiting, working: &mut Working) -> Result<Done, ReplicaError> {
        let now = self.now();
        let mut request = std::mem::replace(&mut waiting.request, Request::Sweep(0));
        let is_wanted = || waiting.is_wanted();
        still(&is_wanted)?;
        let spent = Cell::new(0);
        let bounds = Bounds {
            now,
            edges_max: self.options.precondition_edges_max,
            cost_max: self.options.permission_precondition_cost_max,
            is_wanted: &is_wanted,
            spent: &spent,
        };
        let bytes_max = self.options.entry_bytes_max.min(ENTRY_BYTES_MAX);
        let reserve: Reserve<'_> = &|more| match self.account.get() {
            Some(account) => Ok(account.reserve(more)?),
            None => Ok(()),
        };
        if let Request::Import(import) = &request {
            let count = working.import(import, self.written_at(now), bytes_max, (&bounds, reserve));
            waiting.request = request;
            let (revision, tally) = (working.newest.revision(), Tally::default());
            return count.map(|count| Done { revision, count, is_partial: false, tally });
        }
        let judged = verdict(&working.newest, &bounds, &mut request);
        working.cost = working.cost.saturating_add(spent.get());
        let judged = judged.and_then(|judged| still(&is_wanted).map(|()| judged));
        waiting.request = request;
        let Verdict { kinds, is_partial, tally } = judged?;
        let before = working.changes;
        if !kinds.is_empty() {
            working.push(kinds, self.written_at(now), bytes_max, reserve)?;
        }
        let count = working.changes - before;
        Ok(Done { revision: working.newest.revision(), count, is_partial, tally })
    }

    /// The moment that an entry records: the clock's, but never before the entry before it.
    fn written_at(&self, now: Timestamp) -> Timestamp {
        let mut last = locked(&self.last_written_at);
        *last = now.max(*last);
        *last
    }
}

/// What a request changes in one revision.
fn verdict(head: &Published, bounds: &Bounds<'_>, request: &mut Request) -> Result<Verdict, ReplicaError> {
    let (mut is_partial, mut tally) = (false, Tally::default());
    let (changes, cause, metadata) = match request {
        Request::Write(write) => {
            (judge::write(head, bounds, write.clone())?, Cause::Request, write.metadata.clone())
        }
        Request::SetRelation(set) => {
            let (changes, of_each_kind) = set_relation::judge(head, bounds, set)?;
            tally = of_each_kind;
            (changes, Cause::Request, set.metadata.clone())
        }
        // It is judged in portions.
        Request::Import(_) => (Vec::new(), Cause::Request, Context::default()),
        Request::Delete(delete) => {
            let (changes, is_short) = judge::delete(head, bounds, delete)?;
            is_partial = is_short;
            (changes, Cause::Request, delete.metadata.clone())
        }
        Request::Sweep(rows_max) => {
            (sweep::expired(head, bounds.now, *rows_max), Cause::Sweep, Context::default())
        }
        Request::Control(control) => {
            (control::rules::judge(head, bounds.now, control)?, Cause::Request, Context::default())
        }
        Request::Schema(text) => {
            let kinds = schema_kinds(head, bounds.now, text)?;
            return Ok(Verdict { kinds, is_partial, tally });
        }
        Request::Counter(counter) => {
            let kinds = vec![(judge::counter(head, counter.clone())?, Cause::Request, Context::default())];
            return Ok(Verdict { kinds, is_partial, tally });
        }
    };
    let kinds = match changes.is_empty() {
        true => Vec::new(),
        false => vec![(EntryKind::Relationships(changes), cause, metadata)],
    };
    Ok(Verdict { kinds, is_partial, tally })
}

/// A new schema; relationships that have expired and would have no place go with it, in one batch.
fn schema_kinds(head: &Published, now: Timestamp, text: &str) -> Result<Kinds, ReplicaError> {
    let schema = Schema::parse(text)?;
    let new = schema.canonical_text();
    let old = head.schema().map(|schema| schema.canonical_text()).unwrap_or_default();
    if new == old {
        return Ok(Vec::new());
    }
    let swept = schema_change::judge(head, now, &schema)?;
    let mut kinds = Vec::new();
    if !swept.is_empty() {
        kinds.push((EntryKind::Relationships(swept), Cause::Sweep, Context::default()));
    }
    kinds.push((EntryKind::Schema { new, old }, Cause::Request, Context::default()));
    Ok(kinds)
}

/// The updates of a request whose cost they bound; `None` of one that may look at more, or that changes more.
fn light_updates(request: &Request) -> Option<usize> {
    match request {
        Request::Write(write) if write.preconditions.is_empty() => Some(write.updates.len()),
        Request::Write(_) | Request::SetRelation(_) | Request::Import(_) | Request::Delete(_) => None,
        Request::Schema(_) | Request::Sweep(_) | Request::Counter(_) | Request::Control(_) => None,
    }
    .filter(|updates| *updates <= LIGHT_UPDATES_MAX)
}

/// Each traced request of a batch has the sync that it shares in its own trace, so that none depends on another's being
/// kept. Allocates nothing where nothing is traced.
fn sync_spans(judged: &[Judged], entries: usize) -> Vec<Span> {
    // Collectors take signed numbers as numbers, and others as text.
    let [requests, entries] = [judged.len(), entries].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let traced = judged.iter().map(|judged| &judged.waiting.span).filter(|span| !span.is_disabled());
    let sync = |parent: &Span| tracing::debug_span!(parent: parent, "sync", batch.requests = requests, batch.entries = entries);
    traced.map(sync).collect()
}

/// Nothing was appended since another writer was first: all are judged again, in their order.
fn put_back(taken: &mut VecDeque<Waiting>, judged: &mut Vec<Judged>) {
    judged.drain(..).rev().for_each(|judged| taken.push_front(judged.waiting));
}

/// Whoever has left does not hear it.
fn answer(waiting: Waiting, verdict: Result<Done, ReplicaError>) {
    let _ = waiting.reply.send(verdict);
}
