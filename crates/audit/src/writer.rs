//! The thread of a sink: what waits becomes records, is written and synced together, and whoever waits is told.
//!
//! # Invariants
//! * A waiter hears *taken* only after its record was synced, as far as the sink can.
//! * When an intent is taken there is room for its outcome, for a checkpoint and for the end; a disk that is full later takes
//!   nothing away from that.
//! * The chain goes on from what is in the sink: after a failure it is asked where it stands before anything is written.
//! * What could not be written is put back, dropped and counted, or refused; nothing of it goes unsaid.
//!
//! Cost: one write and one sync for all that waited, one reservation for many.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idhini_model::Timestamp;

use crate::budget::Withheld;
use crate::checkpoint::Checkpoint;
use crate::courier::Courier;
use crate::event::Outcome;
use crate::keys::Keys;
use crate::line::{Chain, Fact, OUTCOME_BYTES_MAX, OWN_BYTES_MAX, Told, repeated_bytes};
use crate::outlet::{Opened, Outlet};
use crate::sink::{Ability, Message, Sink};
use crate::trail::{Clock, Report};

/// Room for what is said about the trail itself, beside records of calls.
const SLACK_BYTES: u64 = 8 * OWN_BYTES_MAX;
/// A full disk counts as one that is not when it has so much room beyond that.
const ROOM_AGAIN_BYTES: u64 = 64 << 10;

/// What the thread has.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) sink: Arc<Sink>,
    pub(crate) outlet: Box<dyn Outlet>,
    pub(crate) parts: Parts,
    state: State,
    name: String,
    chain: Chain,
    /// Whether the next record is the first of a file, and is a checkpoint.
    is_new: bool,
    /// Records that the last checkpoint stands behind, and when.
    signed: (u64, Timestamp),
    /// The second in which it was told last whose refusals were left out.
    withheld_at: Option<i64>,
    /// What is to be said about the trail itself with the next records.
    notes: Vec<(&'static str, Vec<(&'static str, Fact)>)>,
    lines: Vec<u8>,
    checkpoints: Vec<Checkpoint>,
}

/// What it was given.
pub(crate) struct Parts {
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Clock,
    pub(crate) report: Report,
    pub(crate) run: String,
    /// Where its checkpoints are sent, if they are.
    pub(crate) courier: Option<Courier>,
    /// Between two looks whether decisions wait.
    pub(crate) round: Duration,
    pub(crate) retry: Duration,
    pub(crate) checkpoint_seconds: u64,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("run", &self.run).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// To be opened; why not yet, if it was tried.
    Shut,
    Open,
    Full,
}

/// What could not be done.
enum Failed {
    /// There is no room for more than was reserved.
    NoRoom(io::Error),
    Broken(io::Error),
}

/// Where the lines of intents are among those of a batch.
#[derive(Debug, Default)]
struct Written {
    /// Intents, and the room that their outcomes need.
    begun: Vec<(u64, u64)>,
    /// Intents whose outcomes are in the batch.
    ended: Vec<u64>,
    decisions: u64,
}

impl Writer {
    pub(crate) fn new(sink: Arc<Sink>, outlet: Box<dyn Outlet>, parts: Parts) -> Writer {
        Writer {
            sink,
            outlet,
            parts,
            state: State::Shut,
            name: String::new(),
            chain: Chain::EMPTY,
            is_new: false,
            signed: (0, Timestamp::from_seconds(0)),
            withheld_at: None,
            notes: Vec::new(),
            lines: Vec::new(),
            checkpoints: Vec::new(),
        }
    }

    /// Writes until it is told to end.
    pub(crate) fn run(mut self) {
        self.note("start", vec![("run", Fact::Text(self.parts.run.clone()))]);
        self.open();
        loop {
            match self.state {
                State::Open => {
                    self.see_that_it_does_not_hang();
                    let batch = self.sink.next(self.parts.round);
                    self.record(batch);
                }
                State::Full => {
                    let batch = self.sink.next(self.parts.retry);
                    self.try_for_room();
                    let batch = if self.state == State::Full { self.without_decisions(batch) } else { batch };
                    self.record(batch);
                }
                State::Shut => {
                    self.sink.pause(self.parts.retry);
                    self.open();
                }
            }
            let is_over = {
                let waiting = self.sink.waiting();
                waiting.is_closing && (waiting.is_empty() || self.state == State::Shut)
            };
            if is_over {
                break;
            }
        }
        if self.state != State::Shut {
            self.notes.clear();
            self.note("stop", Vec::new());
            self.record_with(Vec::new(), true);
            self.sink.inside(|| self.outlet.close());
        }
        self.sink.closed();
    }

    /// To be said with the next records; what is newer says it instead.
    fn note(&mut self, kind: &'static str, facts: Vec<(&'static str, Fact)>) {
        self.notes.retain(|(known, _)| *known != kind);
        self.notes.push((kind, facts));
    }

    /// Finds out where the chain stands, and says what there is to say.
    fn open(&mut self) {
        match self.sink.inside(|| self.outlet.open()) {
            Ok(Opened { chain, at, is_new, cut, strange }) => {
                (self.name, self.chain, self.is_new) = (chain, at, is_new);
                self.signed = (at.records, (self.parts.clock)());
                if !cut.is_empty() {
                    self.note("cut", cut);
                }
                if !strange.is_empty() {
                    let name = &self.sink.name;
                    (self.parts.report)(&format!(
                        "the audit sink {name} has something at its end that is no record and stays there: see `idhini audit verify`"
                    ));
                    self.note("strange", strange);
                }
                self.state = State::Open;
                self.record(Vec::new());
                // Otherwise it has been said why not.
                if self.state == State::Open {
                    self.sink.turn(Ability::Able);
                    self.remove_surplus();
                }
            }
            Err(error) => self.shut(&error),
        }
    }

    /// It was found to hang, and goes on.
    fn see_that_it_does_not_hang(&mut self) {
        if let Ability::Unable { why } = self.sink.ability() {
            self.note("able", vec![("was", Fact::Text(why))]);
            (self.parts.report)(&format!("the audit sink {} takes records again", self.sink.name));
            self.sink.turn(Ability::Able);
        }
    }

    fn try_for_room(&mut self) {
        let wanted = self.room_for_open() + ROOM_AGAIN_BYTES;
        if self.sink.inside(|| self.outlet.reserve(wanted)).is_ok() {
            self.state = State::Open;
            self.note("able", vec![("was", Fact::Text("full".to_owned()))]);
            (self.parts.report)(&format!("the audit sink {} has room again", self.sink.name));
            self.sink.turn(Ability::Able);
        }
    }

    /// The sink is not able: it is asked again later.
    fn shut(&mut self, error: &io::Error) {
        let why = error.to_string();
        let is_news = !matches!(self.sink.ability(), Ability::Unable { why: known } if known == why);
        if is_news {
            (self.parts.report)(&format!("the audit sink {} takes no records: {why}", self.sink.name));
        }
        if self.state != State::Shut {
            self.note("able", vec![("was", Fact::Text(why.clone()))]);
        }
        self.state = State::Shut;
        self.sink.turn(Ability::Unable { why });
    }

    fn record(&mut self, batch: Vec<Message>) {
        self.record_with(batch, false);
    }

    /// Writes and syncs a batch, and what else is to be said.
    fn record_with(&mut self, batch: Vec<Message>, is_end: bool) {
        // In a full sink there is room for no more than outcomes, checkpoints and the end.
        let mut counts = if self.state == State::Open { self.take_counts(is_end) } else { Counts::default() };
        let before = (self.chain, self.is_new, self.signed, self.notes.clone());
        let mut batch = batch;
        loop {
            let written = self.compose(&batch, &counts, is_end);
            if self.lines.is_empty() {
                return;
            }
            match self.write(&written) {
                Ok(()) => {
                    self.succeed(batch, &written);
                    return self.rotate();
                }
                Err(failed) => {
                    (self.chain, self.is_new, self.signed, self.notes) = before.clone();
                    for (id, _) in &written.begun {
                        self.sink.waiting().open.remove(id);
                    }
                    match failed {
                        Failed::NoRoom(error) if self.state == State::Open => {
                            self.restore_counts(std::mem::take(&mut counts));
                            batch = self.only_outcomes(batch, &error);
                        }
                        Failed::NoRoom(error) | Failed::Broken(error) => {
                            self.restore_counts(counts);
                            return self.give_up(batch, &error);
                        }
                    }
                }
            }
        }
    }

    /// Formats the batch and what is to be said with it.
    fn compose(&mut self, batch: &[Message], counts: &Counts, is_end: bool) -> Written {
        self.lines.clear();
        self.checkpoints.clear();
        let now = (self.parts.clock)();
        if self.is_new {
            self.sign(now);
            self.is_new = false;
        }
        if self.state == State::Open && !self.notes.is_empty() {
            for (kind, facts) in std::mem::take(&mut self.notes) {
                self.chain.push(&mut self.lines, &Told::Own { kind, at: now, facts: &facts });
            }
            // What waited meanwhile may be old, and stands behind a checkpoint that is not.
            self.sign(now);
        }
        let facts = counts.facts();
        if !facts.is_empty() {
            self.chain.push(&mut self.lines, &Told::Own { kind: "lost", at: now, facts: &facts });
        }
        let (by_actor, others) = counts.withheld.told();
        for (actor, count) in by_actor {
            let facts = [("actor", Fact::Text(actor.to_string())), ("withheld", Fact::Number(count))];
            self.chain.push(&mut self.lines, &Told::Own { kind: "withheld", at: now, facts: &facts });
        }
        if others > 0 {
            let facts = [("withheld", Fact::Number(others))];
            self.chain.push(&mut self.lines, &Told::Own { kind: "withheld", at: now, facts: &facts });
        }
        let mut written = Written::default();
        for message in batch {
            self.compose_one(message, &mut written);
        }
        let (records, since) = self.signed;
        let elapsed = now.seconds().abs_diff(since.seconds());
        // What a checkpoint alone adds is no reason for another.
        if self.chain.records > records && (is_end || elapsed >= self.parts.checkpoint_seconds) {
            self.sign(now);
        }
        written
    }

    fn compose_one(&mut self, message: &Message, written: &mut Written) {
        match message {
            Message::Intent { id, event, .. } => {
                let intent = self.intent(*id);
                self.chain.push(&mut self.lines, &Told::Intent { event, intent: &intent });
                written.begun.push((*id, repeated_bytes(event) + OUTCOME_BYTES_MAX));
            }
            Message::Outcome { id, event, at, outcome, is_for_known, .. } => {
                let is_known = self.sink.waiting().open.contains_key(id)
                    || written.begun.iter().any(|(begun, _)| begun == id);
                // Of a call that nobody waited for, the first that is told is enough.
                if *is_for_known && (!is_known || written.ended.contains(id)) {
                    return;
                }
                let intent = self.intent(*id);
                let told = Told::Outcome { event, intent: &intent, at: *at, outcome };
                self.chain.push(&mut self.lines, &told);
                written.ended.push(*id);
            }
            Message::Decision { told, is_refusal, .. } => {
                let (event, outcome) = &**told;
                let told = match is_refusal {
                    true => Told::Refusal { event, outcome },
                    false => Told::Decision { event, outcome },
                };
                self.chain.push(&mut self.lines, &told);
                written.decisions += 1;
            }
        }
    }

    /// What an intent is called in records, in all sinks and over all starts.
    fn intent(&self, id: u64) -> String {
        format!("{}-{id}", self.parts.run)
    }

    fn sign(&mut self, now: Timestamp) {
        let Chain { records, head } = self.chain;
        let checkpoint = Checkpoint::sign(&self.parts.keys, &self.name, records, head, now);
        self.chain.push(&mut self.lines, &Told::Checkpoint(&checkpoint));
        self.signed = (self.chain.records, now);
        self.checkpoints.push(checkpoint);
    }

    fn room_for_open(&self) -> u64 {
        SLACK_BYTES + self.sink.waiting().open.values().sum::<u64>()
    }

    fn write(&mut self, written: &Written) -> Result<(), Failed> {
        self.sink.waiting().open.extend(written.begun.iter().copied());
        let wanted = self.lines.len() as u64 + self.room_for_open();
        let (state, outlet, lines) = (&self.state, &mut self.outlet, &self.lines);
        self.sink.inside(|| {
            // In a full one what is left to be written has its room.
            if *state == State::Open {
                outlet.reserve(wanted).map_err(|error| match is_for_room(&error) {
                    true => Failed::NoRoom(error),
                    false => Failed::Broken(error),
                })?;
            }
            outlet.write(lines).and_then(|()| outlet.sync()).map_err(Failed::Broken)
        })
    }

    /// The batch is in the sink.
    fn succeed(&mut self, batch: Vec<Message>, written: &Written) {
        {
            let mut waiting = self.sink.waiting();
            for id in &written.ended {
                waiting.open.remove(id);
            }
        }
        let mut late = Vec::new();
        for message in batch {
            let Some(waiter) = message.waiter() else { continue };
            let is_awaited = self.sink.succeeded(waiter);
            if let Message::Intent { id, event, .. } = &message
                && !is_awaited
            {
                late.push(Message::Outcome {
                    id: *id,
                    event: Arc::clone(event),
                    at: (self.parts.clock)(),
                    outcome: Arc::new(too_late()),
                    waiter: None,
                    is_for_known: true,
                });
            }
        }
        if let (Some(courier), Some(last)) = (&self.parts.courier, self.checkpoints.last()) {
            courier.send(last);
        }
        if !late.is_empty() {
            self.sink.put_back(late);
        }
    }

    /// There is room for outcomes alone: they stay, the rest is refused or dropped.
    fn only_outcomes(&mut self, batch: Vec<Message>, error: &io::Error) -> Vec<Message> {
        let why = error.to_string();
        (self.parts.report)(&format!("the audit sink {} has no room: {why}", self.sink.name));
        self.state = State::Full;
        // First: whoever hears that it is refused finds it so.
        self.sink.turn(Ability::Full { why });
        let kept = self.without_intents(batch);
        self.without_decisions(kept)
    }

    /// Decisions are dropped, what else is left.
    fn without_decisions(&self, batch: Vec<Message>) -> Vec<Message> {
        let is_decision = |message: &Message| matches!(message, Message::Decision { .. });
        let (decisions, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_decision);
        self.sink.lost.fetch_add(decisions.len() as u64, Ordering::Relaxed);
        others
    }

    /// Intents fail, what else is left.
    fn without_intents(&self, batch: Vec<Message>) -> Vec<Message> {
        let is_intent = |message: &Message| matches!(message, Message::Intent { .. });
        let (intents, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_intent);
        self.sink.missed.fetch_add(intents.len() as u64, Ordering::Relaxed);
        for waiter in intents.iter().filter_map(Message::waiter) {
            self.sink.failed(waiter);
        }
        others
    }

    /// Nothing of the batch is in the sink.
    fn give_up(&mut self, batch: Vec<Message>, error: &io::Error) {
        self.shut(error);
        let others = self.without_intents(batch);
        self.sink.put_back(others);
    }

    fn rotate(&mut self) {
        if self.state != State::Open || !self.outlet.wants_rotation() {
            return;
        }
        let room = self.room_for_open();
        // One that cannot be made is tried again with the next records; until then the old one goes on.
        if self.sink.inside(|| self.outlet.rotate(room)).is_ok() {
            self.is_new = true;
            self.record(Vec::new());
            self.remove_surplus();
        }
    }

    /// Says that the oldest files are removed, and removes them.
    fn remove_surplus(&mut self) {
        if self.state != State::Open {
            return;
        }
        let Some(surplus) = self.sink.inside(|| self.outlet.surplus()) else { return };
        let files = surplus.files.len() as u64;
        self.note("removed", vec![("files", Fact::Number(files)), ("last", Fact::Number(surplus.last))]);
        self.record(Vec::new());
        if self.state == State::Open
            && let Err(error) = self.sink.inside(|| self.outlet.remove(&surplus))
        {
            (self.parts.report)(&format!("old audit files cannot be removed: {error}"));
        }
    }

    /// Whose refusals were left out is told once a second, as it takes many records.
    fn take_counts(&mut self, is_end: bool) -> Counts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let now = (self.parts.clock)().seconds();
        let withheld = match is_end || self.withheld_at != Some(now) {
            true => std::mem::take(&mut *self.sink.withheld()),
            false => Withheld::default(),
        };
        if withheld.total() > 0 {
            self.withheld_at = Some(now);
        }
        let Sink { lost, missed, .. } = &*self.sink;
        Counts { lost: take(lost), withheld, missed: take(missed) }
    }

    fn restore_counts(&mut self, counts: Counts) {
        self.sink.lost.fetch_add(counts.lost, Ordering::Relaxed);
        self.sink.missed.fetch_add(counts.missed, Ordering::Relaxed);
        if counts.withheld.total() > 0 {
            self.sink.withheld().add_all(counts.withheld);
            self.withheld_at = None;
        }
    }
}

/// What was not recorded.
#[derive(Debug, Default)]
struct Counts {
    lost: u64,
    withheld: Withheld,
    missed: u64,
}

impl Counts {
    fn facts(&self) -> Vec<(&'static str, Fact)> {
        let refusals = self.withheld.total();
        let all = [("decisions", self.lost), ("refusals", refusals), ("changes", self.missed)];
        all.into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name, Fact::Number(count)))
            .collect()
    }
}

/// How a call ended whose intent came into a sink when nobody waited for that any more.
fn too_late() -> Outcome {
    let why = "the call had ended before its record was taken, and nothing was done".into();
    Outcome::Refused { code: "UNAVAILABLE".into(), why }
}

/// Whether a disk has no room, or none for us.
fn is_for_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
