//! A workload of the embedded store of logs, beside the plainest model of what must be there whatever happens.
//!
//! Everything is drawn from one seed and nothing runs by itself: the same run can be cut at each of its operations.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use idhini_changelog::embedded::{Options, Steps};
use idhini_changelog::{
    AppendError, Batch, EmbeddedStore, LogError, LogId, OpenError, Record, Store, Writer,
};
use idhini_model::Revision;
use idhini_testkit::disk::FaultDisk;
use idhini_testkit::rng::Rng;

/// Logs that a workload appends to, one after the other when they are deleted.
const LOGS: usize = 6;

/// Steps that the store may take for one answer.
const STEPS_MAX: usize = 10_000;

/// A store, its disk, and what must be in it.
pub struct World {
    pub disk: FaultDisk,
    pub model: Model,
    store: Option<(EmbeddedStore, Steps)>,
    rng: Rng,
    sequence: u64,
    segment_bytes: u64,
}

/// What must be there.
#[derive(Debug, Clone, Default)]
pub struct Model {
    logs: BTreeMap<u64, LogModel>,
    next_log: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
}

#[derive(Debug, Clone, Default)]
struct LogModel {
    /// Acknowledged, from revision 1 on.
    entries: Vec<Entry>,
    /// Batches of an unknown outcome, each building on the one before.
    open: Vec<Vec<Entry>>,
    /// The most that anyone asked to trim.
    trimmed_below: u64,
    is_deleted: bool,
    may_be_deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    log: u64,
    writer: Writer,
    at: usize,
    chunks: Vec<usize>,
}

/// A batch on its way.
struct Appending {
    log: u64,
    entries: Vec<Entry>,
    head: u64,
    is_right: bool,
}

impl Entry {
    fn record(&self) -> Record {
        let chunk = |(at, length): (usize, &usize)| {
            let Writer { id, sequence } = self.writer;
            let seed = [self.log, id, sequence, self.at as u64, at as u64];
            let mut rng = Rng::new(
                seed.iter().fold(7_u64, |seed, part| seed.wrapping_mul(1_000_003).wrapping_add(*part)),
            );
            let mut bytes = Vec::with_capacity(length + 8);
            while bytes.len() < *length {
                bytes.extend_from_slice(&rng.number().to_le_bytes());
            }
            bytes.truncate(*length);
            Bytes::from(bytes)
        };
        Record { chunks: self.chunks.iter().enumerate().map(chunk).collect() }
    }
}

/// Polls futures in their order, then lets the store take steps until all are done.
fn drive<T>(steps: &mut Steps, mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..STEPS_MAX {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            return done.into_iter().flatten().collect();
        }
        steps.step();
    }
    panic!("the store does not answer");
}

impl World {
    pub fn new(seed: u64, segment_bytes: u64) -> World {
        let (disk, model) = (FaultDisk::new(seed), Model { next_log: LOGS as u64 + 1, ..Model::default() });
        let mut world = World { disk, model, store: None, rng: Rng::new(seed), sequence: 0, segment_bytes };
        for log in 1..=LOGS as u64 {
            world.model.logs.insert(log, LogModel::default());
        }
        world
    }

    /// The same world on what a power cut left.
    pub fn after_power_cut(mut self, seed: u64) -> World {
        self.store = None;
        let disk = self.disk.after_power_cut(seed);
        World { disk, rng: Rng::new(seed), ..self }
    }

    pub fn open(&mut self) -> Result<(), OpenError> {
        self.store = None;
        let mut options = Options::new(self.rng.number());
        options.segment_bytes = self.segment_bytes;
        let disk = Arc::new(self.disk.clone());
        self.store = Some(EmbeddedStore::open_stepped(disk, &options)?);
        Ok(())
    }

    /// Does so many things, or as many as it can until the power is cut.
    pub fn act(&mut self, acts: usize) {
        for _ in 0..acts {
            while self.store.is_none() && !self.disk.is_off() {
                if let Err(error @ (OpenError::Damaged { .. } | OpenError::NewerFormat { .. })) = self.open()
                {
                    panic!("{error}");
                }
            }
            if self.disk.is_off() {
                return;
            }
            match self.rng.weighted(&[60, 12, 2, 2, 10, 3, 2]) {
                0 => self.append(),
                1 => self.trim(),
                2 => self.delete(),
                3 => drop(self.compact()),
                4 => self.idle(),
                5 => self.close(),
                _ => self.store = None,
            }
        }
    }

    fn both(&mut self) -> (&EmbeddedStore, &mut Steps) {
        let (store, steps) = self.store.as_mut().unwrap();
        (store, steps)
    }

    fn entry(&mut self, log: u64, writer: Writer, at: usize) -> Entry {
        let rng = &mut self.rng;
        let chunks = match rng.below(10) {
            0 => (0..rng.between(2, 5)).map(|_| rng.between(1, 1500)).collect(),
            1 => vec![rng.between(1, 3000)],
            _ => vec![rng.between(1, 200)],
        };
        Entry { log, writer, at, chunks }
    }

    fn pick_log(&mut self) -> u64 {
        let logs: Vec<u64> =
            self.model.logs.iter().filter(|(_, log)| !log.is_gone()).map(|(id, _)| *id).collect();
        *self.rng.pick(&logs)
    }

    fn append(&mut self) {
        let mut heads: BTreeMap<u64, u64> = BTreeMap::new();
        let mut appending = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            let log = self.pick_log();
            self.sequence += 1;
            let writer = Writer { id: self.rng.number(), sequence: self.sequence };
            let entries: Vec<Entry> =
                (0..self.rng.between(1, 3)).map(|at| self.entry(log, writer, at)).collect();
            let head = *heads.entry(log).or_insert(self.model.logs[&log].entries.len() as u64);
            let is_right = !self.rng.chance(8);
            if is_right {
                heads.insert(log, head + entries.len() as u64);
            }
            let head = if is_right { head } else { head + 1 + self.rng.below(2) as u64 };
            appending.push(Appending { log, entries, head, is_right });
        }
        let changes = self.disk.changes();
        let answers = {
            let (store, steps) = self.both();
            let logs: Vec<_> = appending.iter().map(|append| store.log(LogId(append.log))).collect();
            let futures = appending.iter().zip(&logs).map(|(append, log)| {
                let records = append.entries.iter().map(Entry::record).collect();
                let batch = Batch { writer: append.entries[0].writer, records };
                log.append(Revision(append.head), batch) as Pin<Box<dyn Future<Output = _>>>
            });
            drive(steps, futures.collect())
        };
        let is_disturbed = self.disk.failed_since(changes);
        for (append, answer) in appending.into_iter().zip(answers) {
            self.model.learn(append, answer, is_disturbed);
        }
        if !self.disk.is_off() {
            self.settle();
        }
    }

    /// Asks the heads of logs with batches of an unknown outcome what became of them.
    fn settle(&mut self) {
        let open: Vec<u64> =
            self.model.logs.iter().filter(|(_, log)| !log.open.is_empty()).map(|(id, _)| *id).collect();
        for id in open {
            for _ in 0..100 {
                let (store, steps) = self.both();
                let log = store.log(LogId(id));
                let head = drive(steps, vec![log.head()]).pop().unwrap();
                match head {
                    Ok(head) => {
                        let log = self.model.logs.get_mut(&id).unwrap();
                        log.settle(head.revision.0, head.writer).unwrap();
                        break;
                    }
                    Err(LogError::Unavailable { .. }) if self.disk.is_off() => return,
                    Err(LogError::Unavailable { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(self.model.logs[&id].open.is_empty(), "log {id} is not settled");
        }
    }

    fn trim(&mut self) {
        let id = self.pick_log();
        let head = self.model.logs[&id].entries.len();
        let below = Revision(self.rng.between(1, head + 1) as u64);
        let (store, steps) = self.both();
        let log = store.log(LogId(id));
        drive(steps, vec![log.trim(below)]).pop().unwrap().unwrap();
        let log = self.model.logs.get_mut(&id).unwrap();
        log.trimmed_below = log.trimmed_below.max(below.0);
        // Readers never see what was trimmed, whether that is durable yet or not.
        let (store, steps) = self.both();
        let log = store.log(LogId(id));
        let found = drive(steps, vec![log.head()]).pop().unwrap().unwrap();
        assert!(found.oldest >= below, "log {id}: {found:?} after trimming below {below:?}");
    }

    fn delete(&mut self) {
        let id = self.pick_log();
        let (store, steps) = self.both();
        let deleted = drive(steps, vec![store.delete(LogId(id))]).pop().unwrap();
        let log = self.model.logs.get_mut(&id).unwrap();
        match deleted {
            Ok(()) => log.is_deleted = true,
            Err(_) => log.may_be_deleted = true,
        }
        let next = self.model.next_log;
        self.model.next_log += 1;
        self.model.logs.insert(next, LogModel::default());
    }

    pub fn compact(&mut self) -> Result<(), LogError> {
        let (store, steps) = self.both();
        let compacting: Pin<Box<dyn Future<Output = _>>> = Box::pin(store.compact());
        drive(steps, vec![compacting]).pop().unwrap()
    }

    fn idle(&mut self) {
        for _ in 0..self.rng.below(20) {
            let (_, steps) = self.both();
            if !steps.step() {
                return;
            }
        }
    }

    pub fn close(&mut self) {
        let (store, steps) = self.both();
        let closing: Pin<Box<dyn Future<Output = _>>> = Box::pin(store.close());
        let _ = drive(steps, vec![closing]);
        self.store = None;
    }

    /// Ends without closing.
    pub fn kill(&mut self) {
        self.store = None;
    }

    /// Compares everything that can be read with the model, which learns what became of what was open.
    pub fn verify(&mut self) -> Result<(), String> {
        let (store, steps) = self.store.as_mut().unwrap();
        let mut expected = Vec::new();
        for (id, model) in &mut self.model.logs {
            let log = store.log(LogId(*id));
            let head = match drive(steps, vec![log.head()]).pop().unwrap() {
                Ok(_) if model.is_deleted => return Err(format!("log {id} was deleted and is there")),
                Err(LogError::Deleted { .. }) if model.is_gone() => {
                    model.is_deleted = true;
                    continue;
                }
                head => head.map_err(|error| format!("log {id}: {error}"))?,
            };
            model.settle(head.revision.0, head.writer).map_err(|what| format!("log {id}: {what}"))?;
            model.may_be_deleted = false;
            if head.oldest.0 > model.trimmed_below.max(1) {
                let asked = model.trimmed_below;
                return Err(format!("log {id}: begins at {:?}, trimmed below {asked}", head.oldest));
            }
            let mut at = head.oldest.0;
            while at <= head.revision.0 {
                let read = drive(steps, vec![log.read(Revision(at - 1), 4000)]).pop().unwrap();
                let read = read.map_err(|error| format!("log {id} after {}: {error}", at - 1))?;
                if read.is_empty() {
                    return Err(format!("log {id}: nothing at {at}, head {:?}", head.revision));
                }
                for stored in read {
                    let entry = usize::try_from(at - 1).ok().and_then(|at| model.entries.get(at));
                    let entry = entry.ok_or_else(|| format!("log {id}: {at} was never acknowledged"))?;
                    if stored.revision.0 != at
                        || stored.writer != entry.writer
                        || stored.record != entry.record()
                    {
                        return Err(format!("log {id}: {stored:?} at {at} instead of {entry:?}"));
                    }
                    at += 1;
                }
            }
            if head.revision.0 > 0 {
                expected.push(LogId(*id));
            }
        }
        let logs = drive(steps, vec![store.logs()]).pop().unwrap();
        if logs.as_ref().ok() != Some(&expected) {
            return Err(format!("logs {logs:?} instead of {expected:?}"));
        }
        Ok(())
    }

    /// Everything still works: each log takes another entry, and all of it is there after a clean end.
    pub fn goes_on(&mut self) -> Result<(), String> {
        let logs: Vec<u64> =
            self.model.logs.iter().filter(|(_, log)| !log.is_gone()).map(|(id, _)| *id).collect();
        for id in logs {
            self.sequence += 1;
            let writer = Writer { id: 0, sequence: self.sequence };
            let entry = self.entry(id, writer, 0);
            let head = self.model.logs[&id].entries.len() as u64;
            let (store, steps) = self.both();
            let log = store.log(LogId(id));
            let batch = Batch { writer, records: vec![entry.record()] };
            let answer = drive(steps, vec![log.append(Revision(head), batch)]).pop().unwrap();
            answer.map_err(|error| format!("log {id} takes no more entries: {error}"))?;
            self.model.logs.get_mut(&id).unwrap().entries.push(entry);
        }
        self.close();
        self.open().map_err(|error| format!("after a clean end: {error}"))?;
        self.verify()
    }
}

impl LogModel {
    fn is_gone(&self) -> bool {
        self.is_deleted || self.may_be_deleted
    }

    /// What was open is there as far as this head, batch by batch, or not at all.
    fn settle(&mut self, head: u64, writer: Option<Writer>) -> Result<(), String> {
        let open = std::mem::take(&mut self.open);
        let mut batches = open.into_iter();
        while (self.entries.len() as u64) < head {
            let Some(batch) = batches.next() else {
                return Err(format!("the head is {head}, and {} were acknowledged", self.entries.len()));
            };
            self.entries.extend(batch);
        }
        if self.entries.len() as u64 != head {
            return Err(format!(
                "the head is {head}, in the middle of a batch or before {}",
                self.entries.len()
            ));
        }
        let last = self.entries.last().map(|entry| entry.writer);
        if last != writer {
            return Err(format!("{writer:?} wrote last, and not {last:?}"));
        }
        Ok(())
    }
}

impl Model {
    fn learn(&mut self, append: Appending, answer: Result<Revision, AppendError>, is_disturbed: bool) {
        let log = self.logs.get_mut(&append.log).unwrap();
        let next = append.head + append.entries.len() as u64;
        match answer {
            Ok(revision) => {
                assert!(append.is_right, "an append to another head was acknowledged");
                assert_eq!(revision.0, next);
                assert!(log.open.is_empty(), "acknowledged on top of what is open");
                log.entries.extend(append.entries);
                self.acknowledged += 1;
            }
            Err(AppendError::HeadMoved { head }) if !append.is_right => {
                assert_ne!(head.0, append.head);
                self.refused += 1;
            }
            Err(AppendError::Unavailable { .. }) if is_disturbed => self.refused += 1,
            Err(AppendError::HeadMoved { .. }) if is_disturbed => self.refused += 1,
            Err(AppendError::Unknown { .. }) if is_disturbed && append.is_right => {
                log.open.push(append.entries);
                self.unknown += 1;
            }
            Err(error) => panic!("log {}: {error}", append.log),
        }
    }
}
