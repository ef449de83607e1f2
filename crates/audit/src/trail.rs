//! The handle of a trail: what is told, what a call has to wait for, and what a call that is to be refused hears.
//!
//! * A call that changes anything: [`Trail::intent`] before anything is done, [`Intent::settle`] before the answer leaves.
//! * A decision, where the namespace asks for it: [`Trail::decision`], which waits for nobody.
//! * A call that is refused before anything is on record: [`Trail::refusal`], of which a flood is counted instead of written.
//!
//! # Invariants
//! * Without a sink that has the intent there is no [`Intent`], and without it the caller does nothing.
//! * Each intent gets an outcome: one that is dropped without is recorded as *unknown*, and one that a crash left without is
//!   shown by `query` and `verify`.
//! * Nothing here blocks: what may wait is async, and ends when the sinks were found to hang.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use idhini_model::Timestamp;

use crate::budget::{Budget, RefusalOf};
use crate::courier::Courier;
use crate::event::{Event, Outcome};
use crate::file::FileOutlet;
use crate::folder::RealFolder;
use crate::keys::{Keys, SecretHash};
use crate::options::{Options, OptionsError, SyslogAddress};
use crate::outlet::{Outlet, Stdout, Stream};
use crate::sink::{Ability, DECISIONS_BYTES_MAX, Message, Sink, Waiter};
use crate::syslog::Syslog;
use crate::writer::{Parts, Writer};

/// Looks at each sink while one act of it may take its time.
const TICKS: u32 = 4;
/// Bytes of all calls that are on record without their end, about.
const INTENTS_BYTES_MAX: usize = 256 << 20;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Takes what an operator should know: that a sink is not able, and that it is again.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// The handle; clones are the same trail.
#[derive(Debug, Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    sinks: Vec<Arc<Sink>>,
    keys: Arc<Keys>,
    clock: Clock,
    /// The number of the next intent.
    next: AtomicU64,
    open: Arc<AtomicUsize>,
    /// The same in bytes.
    open_bytes: AtomicUsize,
    intents_max: usize,
    refusals: Budget,
    hang: Duration,
    watch: Arc<Watch>,
}

/// Stops the thread that looks whether sinks hang.
#[derive(Debug, Default)]
struct Watch {
    is_over: Mutex<bool>,
    over: Condvar,
}

/// A call that is on record, and may be done now. Dropped without [`Intent::settle`] it is recorded as unknown.
#[derive(Debug)]
#[must_use = "its outcome is to be recorded"]
pub struct Intent {
    trail: Trail,
    id: u64,
    event: Arc<Event>,
    bytes: usize,
    waiter: Option<Arc<Waiter>>,
    is_settled: bool,
}

/// Whether an outcome was on record when [`Intent::settle`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// At least one sink has it, durably.
    Recorded,
    /// No sink could take it now. The room for it is kept, and it is written when one is able again.
    Later,
}

/// The call must be refused: nothing of it is on record, and nothing may be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// None of the sinks took the record.
    #[error("no audit sink takes records: {}", .0.join("; "))]
    NoSink(Vec<String>),
    /// Too many calls are on record without their end.
    #[error("{open} calls are on the audit trail without their end, which is as many as may be")]
    TooMany {
        /// How many.
        open: usize,
    },
    /// The calls that are on record without their end are too large together.
    #[error("the calls on the audit trail without their end have {bytes} bytes, which is as much as may be")]
    TooLarge {
        /// How large, with this one.
        bytes: usize,
    },
}

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// What is asked for is none.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// None of the sinks can be written to.
    #[error("no audit sink takes records: {}", .0.join("; "))]
    NoSink(Vec<String>),
    /// The system has no threads.
    #[error("the audit trail needs threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// What is outside.
pub struct Surroundings {
    /// The keys of the data directory.
    pub keys: Arc<Keys>,
    /// The real clock.
    pub clock: Clock,
    /// Where an operator looks.
    pub report: Report,
}

impl Trail {
    /// Begins to record. Blocks until the sinks are open, or have not been in their time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: &Options, surroundings: Surroundings) -> Result<Trail, OpenError> {
        options.check()?;
        let run = run(&surroundings.clock);
        let mut outlets: Vec<(String, bool, Box<dyn Outlet>)> = Vec::new();
        if let Some(file) = &options.file {
            let folder = Box::new(RealFolder::new(file.directory.clone()));
            let outlet = FileOutlet::new(folder, file.rotate_bytes, file.keep_files);
            outlets.push((format!("of files in {}", file.directory.display()), true, Box::new(outlet)));
        }
        if let Some(address) = options.syslog.clone() {
            let (name, is_proof) = (format!("syslog {address}"), !matches!(address, SyslogAddress::Udp(_)));
            let outlet = Stream::new("syslog", &run, move || Syslog::connect(&address));
            outlets.push((name, is_proof, Box::new(outlet)));
        }
        if options.stdout {
            outlets.push((
                "standard output".to_owned(),
                true,
                Box::new(Stream::new("stdout", &run, Stdout::connect)),
            ));
        }
        Trail::over(options, surroundings, &run, outlets)
    }

    pub(crate) fn over(
        options: &Options,
        surroundings: Surroundings,
        run: &str,
        outlets: Vec<(String, bool, Box<dyn Outlet>)>,
    ) -> Result<Trail, OpenError> {
        let Surroundings { keys, clock, report } = surroundings;
        let mut courier = None;
        if let Some(to) = options.checkpoints.clone() {
            courier = Some(Courier::start(to, Arc::clone(&report))?);
        }
        let mut sinks = Vec::new();
        for (name, is_proof, outlet) in outlets {
            let sink = Arc::new(Sink::new(name, is_proof, options.queue_records_max));
            let parts = Parts {
                keys: Arc::clone(&keys),
                clock: Arc::clone(&clock),
                report: Arc::clone(&report),
                run: run.to_owned(),
                // One chain is enough to be compared with.
                courier: courier.take(),
                round: Duration::from_millis(options.loss_ms_max / 2),
                retry: Duration::from_millis(options.retry_ms),
                checkpoint_seconds: options.checkpoint_seconds,
            };
            let writer = Writer::new(Arc::clone(&sink), outlet, parts);
            std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run())?;
            sinks.push(sink);
        }
        let hang = Duration::from_millis(options.hang_ms_max);
        let watch = Arc::new(Watch::default());
        let (watched, watching) = (sinks.clone(), Arc::clone(&watch));
        let looks = std::thread::Builder::new().name("audit-watch".to_owned());
        looks.spawn(move || watching.run(&watched, hang, &report))?;
        let inner = Inner {
            sinks,
            keys,
            clock,
            next: AtomicU64::new(1),
            open: Arc::new(AtomicUsize::new(0)),
            intents_max: options.intents_max,
            open_bytes: AtomicUsize::new(0),
            refusals: Budget::new(options.refusals_per_second_max),
            hang,
            watch,
        };
        let trail = Trail(Arc::new(inner));
        // Twice the time: whoever looks whether one hangs says so meanwhile.
        let abilities: Vec<Ability> = trail.0.sinks.iter().map(|sink| sink.decided(2 * hang)).collect();
        let is_able = |(sink, ability): (&Arc<Sink>, &Ability)| sink.is_proof && *ability == Ability::Able;
        match trail.0.sinks.iter().zip(&abilities).any(is_able) {
            true => Ok(trail),
            false => Err(OpenError::NoSink(trail.complaints())),
        }
    }

    /// Puts on record that a call is about to change something. Ready when a sink has it durably.
    ///
    /// One that is dropped while it waits leaves a record that says so.
    ///
    /// # Errors
    /// [`Unavailable`]: the call is to be refused, and nothing done.
    pub async fn intent(&self, event: Event) -> Result<Intent, Unavailable> {
        let bytes = event.bytes();
        let open = self.0.open.fetch_add(1, Ordering::Relaxed);
        let open_bytes = self.0.open_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let proofs = self.0.sinks.iter().filter(|sink| sink.is_proof).count();
        let waiter = Waiter::new(proofs);
        let mut intent = Intent {
            trail: self.clone(),
            id,
            event: Arc::new(event),
            bytes,
            waiter: Some(Arc::clone(&waiter)),
            is_settled: false,
        };
        if open >= self.0.intents_max || open_bytes > INTENTS_BYTES_MAX {
            // Nobody has heard of it.
            intent.is_settled = true;
            return Err(match open >= self.0.intents_max {
                true => Unavailable::TooMany { open },
                false => Unavailable::TooLarge { bytes: open_bytes },
            });
        }
        for sink in &self.0.sinks {
            let waiter = sink.is_proof.then(|| Arc::clone(&waiter));
            sink.offer_intent(Message::Intent { id, event: Arc::clone(&intent.event), waiter, bytes });
        }
        match waiter.wait().await {
            true => {
                intent.waiter = None;
                Ok(intent)
            }
            false => {
                // A sink that hangs may have it in the end.
                let why = "no audit sink took the record in time".into();
                intent.tell(Outcome::Refused { code: "UNAVAILABLE".into(), why }, None, true);
                let mut complaints = self.complaints();
                if complaints.is_empty() {
                    complaints.push("they did not a moment ago".to_owned());
                }
                Err(Unavailable::NoSink(complaints))
            }
        }
    }

    /// Tells of a decision. Waits for nobody; what is too much for a sink is counted there.
    pub fn decision(&self, event: Event, outcome: Outcome) {
        self.tell(event, outcome, false);
    }

    /// Tells of a call that was refused. Beyond a number a second of each actor they are counted instead, with whose they were.
    pub fn refusal(&self, event: Event, outcome: Outcome, of: RefusalOf) {
        let now = (self.0.clock)().seconds();
        match self.0.refusals.admits(&event.actor, of, now) {
            Ok(()) => self.tell(event, outcome, true),
            Err(actor) => {
                for sink in &self.0.sinks {
                    sink.withheld().add(Arc::clone(&actor));
                }
            }
        }
    }

    fn tell(&self, event: Event, outcome: Outcome, is_refusal: bool) {
        let bytes = event.bytes().min(DECISIONS_BYTES_MAX);
        let told = Arc::new((event, outcome));
        if let Some((last, others)) = self.0.sinks.split_last() {
            for sink in others {
                sink.offer_decision(Arc::clone(&told), is_refusal, bytes);
            }
            last.offer_decision(told, is_refusal, bytes);
        }
    }

    /// What a secret is called in records.
    #[must_use]
    pub fn secret_hash(&self, secret: &[u8]) -> SecretHash {
        self.0.keys.secret_hash(secret)
    }

    /// Each sink, and whether it takes records.
    #[must_use]
    pub fn abilities(&self) -> Vec<(String, Ability)> {
        self.0.sinks.iter().map(|sink| (sink.name.clone(), sink.ability())).collect()
    }

    fn complaints(&self) -> Vec<String> {
        let complaint = |(name, ability)| match ability {
            Ability::Able => None,
            Ability::Full { why } | Ability::Unable { why } => Some(format!("{name}: {why}")),
        };
        self.abilities().into_iter().filter_map(complaint).collect()
    }

    /// Writes what waits, a last checkpoint, and ends. Blocks; a sink that hangs is left to itself. False if one was.
    pub fn close(&self) -> bool {
        self.0.sinks.iter().for_each(|sink| sink.close());
        let is_clean = self.0.sinks.iter().filter(|sink| !sink.has_closed(self.0.hang)).count() == 0;
        self.0.watch.end();
        is_clean
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").field("sinks", &self.sinks).finish_non_exhaustive()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.sinks.iter().for_each(|sink| sink.close());
        self.watch.end();
    }
}

impl Intent {
    /// Puts the outcome on record, for the answer to leave then. What was done is done: the answer leaves in both cases.
    pub async fn settle(mut self, outcome: Outcome) -> Settled {
        let proofs = self.trail.0.sinks.iter().filter(|sink| sink.is_proof).count();
        let waiter = Waiter::new(proofs);
        self.tell(outcome, Some(&waiter), false);
        if waiter.wait().await { Settled::Recorded } else { Settled::Later }
    }

    /// What was said of it.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    fn tell(&mut self, outcome: Outcome, waiter: Option<&Arc<Waiter>>, is_for_known: bool) {
        self.is_settled = true;
        let (outcome, at) = (Arc::new(outcome), (self.trail.0.clock)());
        for sink in &self.trail.0.sinks {
            let message = Message::Outcome {
                id: self.id,
                event: Arc::clone(&self.event),
                at,
                outcome: Arc::clone(&outcome),
                waiter: waiter.filter(|_| sink.is_proof).cloned(),
                is_for_known,
            };
            sink.offer_outcome(self.id, message);
        }
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        // Whoever waited for the intent has gone before it was known to be taken.
        let is_unheard = self.waiter.take().inspect(|waiter| waiter.abandon()).is_some();
        if !self.is_settled {
            let why = if is_unheard {
                "the call ended before it began"
            } else {
                "the call ended without an outcome"
            };
            self.tell(Outcome::Unknown { why: why.into() }, None, is_unheard);
        }
        self.trail.0.open.fetch_sub(1, Ordering::Relaxed);
        self.trail.0.open_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Watch {
    /// Looks at the sinks again and again.
    fn run(&self, sinks: &[Arc<Sink>], hang: Duration, report: &Report) {
        let mut seen: Vec<(u64, u32)> = sinks.iter().map(|sink| (sink.beat(), 0)).collect();
        loop {
            let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.over.wait_timeout_while(is_over, hang / TICKS, |is_over| !*is_over);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            for (sink, (beat, ticks)) in sinks.iter().zip(&mut seen) {
                let now = sink.beat();
                *ticks = if now == *beat && now % 2 == 1 { *ticks + 1 } else { 0 };
                *beat = now;
                if *ticks == TICKS {
                    let why = format!("it has not answered for {} ms", hang.as_millis());
                    report(&format!("the audit sink {} takes no records: {why}", sink.name));
                    sink.turn(Ability::Unable { why });
                }
            }
        }
    }

    fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.notify_all();
    }
}

/// What a start is called in the names of intents and chains: the moment, to the microsecond, in hexadecimal digits.
fn run(clock: &Clock) -> String {
    let now = clock();
    let micros = i128::from(now.seconds()) * 1_000_000 + i128::from(now.nanos() / 1000);
    format!("{micros:x}")
}
