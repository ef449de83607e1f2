//! What waits for a sink, and whether it is able: shared by those who tell, the thread that writes, and the one that looks
//! whether it hangs.
//!
//! # Invariants
//! * Whoever tells waits for nobody: the lock is held for a few instructions, never while anything is written.
//! * Each intent that is offered is answered once to its waiter by each sink: taken, or failed.
//! * What waits is bounded: decisions by a number and their bytes, intents by the trail, outcomes by the intents that were
//!   written here. For a sink that is not able no decision waits.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idhini_model::Timestamp;
use tokio::sync::Notify;

use crate::budget::Withheld;
use crate::event::{Event, Outcome};

/// Messages that are written together, at most: a bound to how long one waits for others.
const BATCH_MAX: usize = 4096;
/// The same in bytes, about, of memory: records take about as many.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes of decisions that wait for one sink, about.
pub(crate) const DECISIONS_BYTES_MAX: usize = 64 << 20;

/// Something to be recorded.
#[derive(Debug)]
pub(crate) enum Message {
    Intent {
        id: u64,
        event: Arc<Event>,
        waiter: Option<Arc<Waiter>>,
        /// What it takes while it waits, about.
        bytes: usize,
    },
    Outcome {
        id: u64,
        event: Arc<Event>,
        at: Timestamp,
        outcome: Arc<Outcome>,
        waiter: Option<Arc<Waiter>>,
        /// Whether it is told only where the intent was.
        is_for_known: bool,
    },
    Decision {
        told: Arc<(Event, Outcome)>,
        is_refusal: bool,
        /// What it takes while it waits, about.
        bytes: usize,
    },
}

/// Who waits until one of several sinks has a record.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Sinks that have not said anything, and what was decided.
    state: Mutex<(usize, Option<bool>)>,
    notify: Notify,
}

/// Whether a sink can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// It takes records.
    Able,
    /// There is room for the outcomes of what was begun, and for nothing else.
    Full {
        /// What the system said.
        why: String,
    },
    /// It takes nothing, and is tried again.
    Unable {
        /// What the system said, or that it hangs.
        why: String,
    },
}

/// One sink, seen from those who tell.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) name: String,
    /// Whether its having a record lets a call go on.
    pub(crate) is_proof: bool,
    decisions_max: usize,
    waiting: Mutex<Waiting>,
    /// For the thread that writes.
    wake: Condvar,
    /// For whoever waits for it to begin or end.
    turned: Condvar,
    /// Changes whenever the thread goes into the outlet or comes out of it; odd while it is inside.
    beat: AtomicU64,
    /// Decisions that were dropped since that was last told.
    pub(crate) lost: AtomicU64,
    /// Refusals that were too many since that was last told.
    withheld: Mutex<Withheld>,
    /// Intents and outcomes that others have and this one has not.
    pub(crate) missed: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    messages: VecDeque<Message>,
    decisions: usize,
    decisions_bytes: usize,
    /// Intents that are in the sink or on the way into it, with the room that is kept for their outcomes.
    pub(crate) open: HashMap<u64, u64>,
    /// Who waits for what is being written.
    pub(crate) in_flight: Vec<Arc<Waiter>>,
    pub(crate) ability: Option<Ability>,
    is_urgent: bool,
    pub(crate) is_closing: bool,
    pub(crate) is_closed: bool,
}

impl Waiter {
    pub(crate) fn new(sinks: usize) -> Arc<Waiter> {
        let decided = if sinks == 0 { Some(false) } else { None };
        Arc::new(Waiter { state: Mutex::new((sinks, decided)), notify: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, (usize, Option<bool>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sink has it. False if nobody waits for it any more: the call was refused, or has gone.
    pub(crate) fn taken(&self) -> bool {
        let is_taken = *self.state().1.get_or_insert(true);
        self.notify.notify_one();
        is_taken
    }

    /// A sink will not have it.
    pub(crate) fn failed(&self) {
        let mut state = self.state();
        state.0 = state.0.saturating_sub(1);
        if state.0 == 0 {
            state.1.get_or_insert(false);
            self.notify.notify_one();
        }
    }

    /// Nobody waits any more.
    pub(crate) fn abandon(&self) {
        self.state().1.get_or_insert(false);
    }

    /// Whether a sink has it.
    pub(crate) async fn wait(&self) -> bool {
        loop {
            let decided = self.state().1;
            match decided {
                Some(decided) => return decided,
                None => self.notify.notified().await,
            }
        }
    }
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn count(&mut self, message: &Message) {
        if let Message::Decision { bytes, .. } = message {
            self.decisions += 1;
            self.decisions_bytes += bytes;
        }
    }

    fn discount(&mut self, message: &Message) {
        if let Message::Decision { bytes, .. } = message {
            self.decisions -= 1;
            self.decisions_bytes -= bytes;
        }
    }
}

impl Message {
    pub(crate) fn waiter(&self) -> Option<&Arc<Waiter>> {
        match self {
            Message::Intent { waiter, .. } | Message::Outcome { waiter, .. } => waiter.as_ref(),
            Message::Decision { .. } => None,
        }
    }

    /// What it takes while it waits, beside what others have as well.
    fn bytes(&self) -> usize {
        match self {
            Message::Intent { bytes, .. } | Message::Decision { bytes, .. } => *bytes,
            Message::Outcome { .. } => size_of::<Message>(),
        }
    }

    fn take_waiter(&mut self) -> Option<Arc<Waiter>> {
        match self {
            Message::Intent { waiter, .. } | Message::Outcome { waiter, .. } => waiter.take(),
            Message::Decision { .. } => None,
        }
    }
}

impl Sink {
    pub(crate) fn new(name: String, is_proof: bool, decisions_max: usize) -> Sink {
        let waiting = Waiting {
            messages: VecDeque::new(),
            decisions: 0,
            decisions_bytes: 0,
            open: HashMap::new(),
            in_flight: Vec::new(),
            ability: None,
            is_urgent: false,
            is_closing: false,
            is_closed: false,
        };
        Sink {
            name,
            is_proof,
            decisions_max,
            waiting: Mutex::new(waiting),
            wake: Condvar::new(),
            turned: Condvar::new(),
            beat: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            withheld: Mutex::default(),
            missed: AtomicU64::new(0),
        }
    }

    pub(crate) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn withheld(&self) -> MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it can be written to; one that is being opened cannot.
    pub(crate) fn ability(&self) -> Ability {
        let opening = || Ability::Unable { why: "it is being opened".to_owned() };
        self.waiting().ability.clone().unwrap_or_else(opening)
    }

    /// To be written before the call goes on.
    pub(crate) fn offer_intent(&self, message: Message) {
        let mut waiting = self.waiting();
        if waiting.ability != Some(Ability::Able) || waiting.is_closing {
            drop(waiting);
            self.missed.fetch_add(1, Ordering::Relaxed);
            if let Some(waiter) = message.waiter() {
                waiter.failed();
            }
            return;
        }
        waiting.messages.push_back(message);
        self.hurry(waiting);
    }

    /// To be written before the answer leaves.
    pub(crate) fn offer_outcome(&self, id: u64, mut message: Message) {
        let mut waiting = self.waiting();
        let is_able = waiting.ability == Some(Ability::Able);
        let is_heard = is_able || waiting.open.contains_key(&id);
        if waiting.is_closed || !is_heard {
            drop(waiting);
            let is_for_known = matches!(message, Message::Outcome { is_for_known: true, .. });
            self.missed.fetch_add(u64::from(!is_for_known), Ordering::Relaxed);
            if let Some(waiter) = message.waiter() {
                waiter.failed();
            }
            return;
        }
        let is_unable = matches!(waiting.ability, Some(Ability::Unable { .. }));
        // It is written when the sink is able again; nobody waits so long.
        if is_unable && let Some(waiter) = message.take_waiter() {
            waiter.failed();
        }
        waiting.messages.push_back(message);
        self.hurry(waiting);
    }

    /// To be written soon. Wakes nobody unless there is little room left.
    pub(crate) fn offer_decision(&self, told: Arc<(Event, Outcome)>, is_refusal: bool, bytes: usize) {
        let mut waiting = self.waiting();
        let is_full = waiting.decisions >= self.decisions_max
            || waiting.decisions_bytes.saturating_add(bytes) > DECISIONS_BYTES_MAX;
        let is_unable = matches!(waiting.ability, Some(Ability::Unable { .. }));
        if is_full || is_unable || waiting.is_closing {
            drop(waiting);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let message = Message::Decision { told, is_refusal, bytes };
        waiting.count(&message);
        waiting.messages.push_back(message);
        let is_half_full = waiting.decisions >= self.decisions_max.div_ceil(2)
            || waiting.decisions_bytes >= DECISIONS_BYTES_MAX / 2;
        if is_half_full && !waiting.is_urgent {
            self.hurry(waiting);
        }
    }

    fn hurry(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let was_urgent = std::mem::replace(&mut waiting.is_urgent, true);
        drop(waiting);
        if !was_urgent {
            self.wake.notify_one();
        }
    }

    /// A record is in the sink. False if nobody waits for it any more.
    pub(crate) fn succeeded(&self, waiter: &Arc<Waiter>) -> bool {
        self.waiting().in_flight.retain(|other| !Arc::ptr_eq(other, waiter));
        waiter.taken()
    }

    /// A record will not be in the sink.
    pub(crate) fn failed(&self, waiter: &Arc<Waiter>) {
        let mut waiting = self.waiting();
        let before = waiting.in_flight.len();
        waiting.in_flight.retain(|other| !Arc::ptr_eq(other, waiter));
        // Otherwise that has been said when the sink was found to hang.
        let is_news = waiting.in_flight.len() < before;
        drop(waiting);
        if is_news {
            waiter.failed();
        }
    }

    /// Puts back what could not be written, in its order; nobody waits for it any more.
    pub(crate) fn put_back(&self, messages: Vec<Message>) {
        let mut waiting = self.waiting();
        for mut message in messages.into_iter().rev() {
            message.take_waiter();
            waiting.count(&message);
            waiting.messages.push_front(message);
        }
        while waiting.decisions > self.decisions_max || waiting.decisions_bytes > DECISIONS_BYTES_MAX {
            let at = waiting.messages.iter().position(|message| matches!(message, Message::Decision { .. }));
            let Some(dropped) = at.and_then(|at| waiting.messages.remove(at)) else { break };
            waiting.discount(&dropped);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is to be written next; nothing after a while in which nothing came. Ends early if something is urgent.
    pub(crate) fn next(&self, patience: Duration) -> Vec<Message> {
        let mut waiting = self.waiting();
        if !waiting.is_urgent && !waiting.is_closing {
            let waited = self.wake.wait_timeout_while(waiting, patience, |w| !w.is_urgent && !w.is_closing);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_MAX
            && bytes < BATCH_BYTES_MAX
            && let Some(message) = waiting.messages.pop_front()
        {
            waiting.discount(&message);
            bytes += message.bytes();
            batch.push(message);
        }
        waiting.is_urgent = !waiting.messages.is_empty();
        waiting.in_flight = batch.iter().filter_map(|message| message.waiter().cloned()).collect();
        batch
    }

    /// Waits while the sink is not able, unless it is closed meanwhile.
    pub(crate) fn pause(&self, patience: Duration) {
        let waiting = self.waiting();
        let _ = self.wake.wait_timeout_while(waiting, patience, |waiting| !waiting.is_closing);
    }

    /// Does something that may block, so that others see that and for how long.
    pub(crate) fn inside<T>(&self, act: impl FnOnce() -> T) -> T {
        self.beat.fetch_add(1, Ordering::Relaxed);
        let done = act();
        self.beat.fetch_add(1, Ordering::Relaxed);
        done
    }

    /// A number that stays the same and odd for as long as one act takes.
    pub(crate) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Relaxed)
    }

    /// Says that it is able, or why not; what waits for intents fails then.
    pub(crate) fn turn(&self, ability: Ability) {
        let mut waiting = self.waiting();
        let is_able = ability == Ability::Able;
        let is_unable = matches!(ability, Ability::Unable { .. });
        waiting.ability = Some(ability);
        let mut failed = Vec::new();
        if is_unable {
            failed.append(&mut waiting.in_flight);
        }
        if !is_able {
            let (intents, others): (VecDeque<_>, VecDeque<_>) =
                waiting.messages.drain(..).partition(|message| matches!(message, Message::Intent { .. }));
            waiting.messages = others;
            self.missed.fetch_add(intents.len() as u64, Ordering::Relaxed);
            failed.extend(intents.iter().filter_map(|message| message.waiter().cloned()));
            if is_unable {
                failed.extend(waiting.messages.iter_mut().filter_map(Message::take_waiter));
            }
        }
        drop(waiting);
        self.turned.notify_all();
        failed.iter().for_each(|waiter| waiter.failed());
    }

    /// Waits until it is known whether it is able.
    pub(crate) fn decided(&self, patience: Duration) -> Ability {
        let waiting = self.waiting();
        let _ = self.turned.wait_timeout_while(waiting, patience, |waiting| waiting.ability.is_none());
        self.ability()
    }

    /// Asks the thread to end.
    pub(crate) fn close(&self) {
        self.waiting().is_closing = true;
        self.wake.notify_all();
    }

    /// The thread has ended.
    pub(crate) fn closed(&self) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        waiting.ability = Some(Ability::Unable { why: "it is closed".to_owned() });
        let left: Vec<_> = waiting.messages.drain(..).collect();
        drop(waiting);
        self.turned.notify_all();
        left.iter().filter_map(Message::waiter).for_each(|waiter| waiter.failed());
    }

    /// Waits until it has; false if it does not in this time.
    pub(crate) fn has_closed(&self, patience: Duration) -> bool {
        let waiting = self.waiting();
        let waited = self.turned.wait_timeout_while(waiting, patience, |waiting| !waiting.is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}
