//! What does the store write next? One thread takes all that waits, judges it, writes it at once and syncs once.
//!
//! # Invariants
//! * Only this changes files and the index. The index holds what is durable, and no more.
//! * Nothing is answered as appended before the sync that follows its write has succeeded.
//! * After a write or a sync failed, the file is never written again: the next segment says that it ended at its last
//!   durable offset. Until that is durable, nobody knows whether what was being written will be found; then it never
//!   will.
//! * Room on the disk is taken before it is written: a full disk refuses, and harms nothing.
//!
//! Cost: a copy and a checksum of what is written; one write and one sync a group.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use idhini_model::Revision;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::begin::{Current, DIRECTORY, Out, Start, is_full, segment_path, spare_path};
use super::broken::{Variant, is_broken};
use super::compaction::Compaction;
use super::format::Place;
use super::group::{Group, Part, Tentative};
use super::index::{Kept, Location, Log, Segment};
use super::observe::{Observer, Written};
use super::open::Tail;
use super::queue::{Answer, Request, closed};
use crate::disk::Disk;
use crate::{AppendError, Batch, LogError, LogId, Record};

/// Bytes of entries that are written and synced together; more only for one batch.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// No group of batches ends beyond this; with one more batch that is moved, offsets still fit into 32 bits.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// Spare files that are kept.
pub(super) const SPARES_MAX: usize = 2;

/// This part of a segment is room that batches leave free, so that on a full disk there is room to say what is no
/// longer needed.
const RESERVE_PART: u64 = 1024;

/// And so many bytes at least.
const RESERVE_BYTES_MIN: u64 = 1024;

/// The writer of a store: whoever holds it is the only one.
#[derive(Debug)]
pub(crate) struct LogWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segment_bytes: u64,
    pub(super) dead_percent_max: u64,
    pub(super) store: u64,
    pub(super) next_segment: u32,
    /// The segment that is written; `None` if the next write has to begin one.
    pub(super) current: Option<Current>,
    /// Trimmed, and not yet said so on the disk.
    pub(super) trims: BTreeSet<LogId>,
    /// Segments in which nothing is alive, whose going is not yet durable.
    pub(super) doomed: BTreeSet<u32>,
    /// Files that are no longer needed and are still there.
    pub(super) leftovers: Vec<String>,
    /// What has to be written again before anything else is written.
    pub(super) tail: Option<Tail>,
    /// Files that the next segments are written over.
    pub(super) spares: Vec<String>,
    /// Sealed segments whose files are longer than what is valid in them.
    pub(super) overlong: BTreeMap<u32, u64>,
    pub(super) unsettled: Vec<Arc<Log>>,
    pub(super) compaction: Compaction,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// The last attempt failed: nothing is tried on the store's own account until someone asks for something.
    pub(super) is_ill: bool,
}

impl LogWriter {
    /// Runs until the store is closed.
    pub(crate) fn run(mut self) {
        let _end = End(Arc::clone(&self.shared));
        loop {
            let has_own_work = !self.is_ill && self.has_own_work();
            if !has_own_work && !self.shared.queue.wait() {
                return;
            }
            self.step();
        }
    }

    /// Whether there is something to write that nobody waits for.
    pub(crate) fn has_own_work(&self) -> bool {
        !self.trims.is_empty() || !self.doomed.is_empty() || self.compaction.is_wanted()
    }

    /// Takes what waits, and writes one group.
    pub(crate) fn step(&mut self) {
        let mut bytes = 0;
        let requests = self.shared.queue.take_while(|request| {
            let is_first = bytes == 0;
            if let Request::Append { batch, .. } = request {
                bytes += batch.records.iter().map(Record::bytes).sum::<usize>();
            }
            is_first || bytes <= GROUP_BYTES_MAX
        });
        self.process(requests);
    }

    fn process(&mut self, requests: Vec<Request>) {
        if !self.unsettled.is_empty() {
            // Whether it works is seen by what is judged next.
            let _ = self.begin();
        }
        let mut group = Group::default();
        let mut closing = None;
        for request in requests {
            match request {
                Request::Append { log, head, batch, room, answer } => {
                    self.judge(&mut group, log, head, batch, room, answer);
                }
                Request::Trim { log, below, answer } => drop(answer.send(self.trim(log, below))),
                Request::Delete { log, answer } => {
                    let head = Revision(0);
                    group.tentative.insert(log, Tentative { head, is_deleted: true });
                    group.parts.push(Part::Delete { log, answer });
                }
                Request::Begin { log, head, answer } => drop(answer.send(self.begin_log(&group, log, head))),
                Request::Settle { answer } => drop(answer.send(self.settled())),
                Request::Compact { answer } => self.want_compaction(answer),
                Request::Close { answer } => closing = Some(answer),
            }
        }
        self.write_group(group);
        self.finish_compaction();
        if let Some(answer) = closing {
            self.shared.queue.close();
            for request in self.shared.queue.take_while(|_| true) {
                refuse(request);
            }
            let _ = answer.send(self.close());
            self.shared.index.wake_all();
        }
    }

    /// Begins a log behind `head`; the next segment's start says so.
    fn begin_log(&mut self, group: &Group, id: LogId, head: Revision) -> Result<(), LogError> {
        let Some(log) = self.shared.index.log_or_new(id) else { return Err(LogError::Deleted { log: id }) };
        let has = log.kept().head.max(group.tentative.get(&id).map_or(Revision(0), |t| t.head));
        if has > Revision(0) {
            return Err(LogError::Begun { log: id, head: has });
        }
        if head == Revision(0) {
            return Ok(());
        }
        // Nobody appended what is before it.
        *log.kept() = Kept { head, ..Kept::default() };
        let begun = self.begin();
        log.changed.notify_waiters();
        begun.map_err(|source| {
            // A start that may be found after all does no harm: nothing was appended behind it.
            *log.kept() = Kept::default();
            LogError::Unavailable { source: Arc::new(source) }
        })
    }

    fn settled(&self) -> Result<(), LogError> {
        if self.unsettled.is_empty() { Ok(()) } else { Err(LogError::Unavailable { source: ill() }) }
    }

    /// Refuses a batch or adds it to the group.
    fn judge(
        &self,
        group: &mut Group,
        id: LogId,
        head: Revision,
        batch: Batch,
        room: OwnedSemaphorePermit,
        answer: Answer<Revision, AppendError>,
    ) {
        let Some(log) = self.shared.index.log_or_new(id) else {
            return drop(answer.send(Err(AppendError::Deleted { log: id })));
        };
        let (durable_head, is_unsettled) = {
            let kept = log.kept();
            (kept.head, kept.is_unsettled)
        };
        if is_unsettled {
            return drop(answer.send(Err(AppendError::Unavailable { source: ill() })));
        }
        let tentative = group.tentative.get(&id);
        if tentative.is_some_and(|tentative| tentative.is_deleted) {
            return group.late.push((answer, AppendError::Deleted { log: id }));
        }
        match tentative {
            None if durable_head != head => {
                return drop(answer.send(Err(AppendError::HeadMoved { head: durable_head })));
            }
            Some(tentative) if tentative.head != head => {
                let moved = AppendError::HeadMoved { head: tentative.head };
                return group.late.push((answer, moved));
            }
            _ => {}
        }
        let next = Revision(head.0.saturating_add(batch.records.len() as u64));
        group.tentative.insert(id, Tentative { head: next, is_deleted: false });
        let mut answer = Some(answer);
        if is_broken(Variant::AcknowledgesBeforeAppend)
            && let Some(answer) = answer.take()
        {
            let _ = answer.send(Ok(next));
        }
        group.parts.push(Part::Batch { log, head, batch, answer, _room: room });
    }

    fn trim(&mut self, id: LogId, below: Revision) -> Result<(), LogError> {
        if self.shared.index.is_deleted(id) {
            return Err(LogError::Deleted { log: id });
        }
        let Some(log) = self.shared.index.log(id) else {
            return if below <= Revision(1) { Ok(()) } else { beyond(below, Revision(0)) };
        };
        let (head, oldest) = {
            let kept = log.kept();
            (kept.head, kept.oldest())
        };
        if below > head.next() {
            return beyond(below, head);
        }
        let below = if is_broken(Variant::TrimsOneTooMany) { below.next().min(head.next()) } else { below };
        if below > oldest {
            self.shared.index.trim(&log, below);
            self.trims.insert(id);
            self.compaction.look_again();
            // Someone asked for something: the disk is tried again.
            self.is_ill = false;
        }
        Ok(())
    }

    /// Adds what the store itself has to write, writes the group, and answers everyone in it.
    fn write_group(&mut self, mut group: Group) {
        let is_asked = !group.parts.is_empty();
        if !is_asked && (self.is_ill || !self.has_own_work()) {
            return;
        }
        if let Err(error) = self.ready(&group) {
            self.is_ill = true;
            self.tell_failed(&error);
            self.compaction.interrupted(&error);
            return group.refuse(&Arc::new(error), false);
        }
        self.is_ill = false;
        self.add_own_work(&mut group);
        if group.parts.is_empty() {
            return;
        }
        match self.write(&group) {
            Ok(places) => self.apply(group, &places),
            Err(Failure::NothingWritten(error)) => {
                // Without the batches there may be room enough to give up what is no longer needed.
                self.is_ill = !(is_asked && is_full(&error));
                self.not_written(&group, &error);
                group.refuse(&Arc::new(error), false);
            }
            Err(Failure::Open(error)) => self.fail(group, error),
        }
    }

    /// What the store itself wanted to write is still to be written.
    fn not_written(&mut self, group: &Group, error: &io::Error) {
        self.tell_failed(error);
        self.compaction.interrupted(error);
        for part in &group.parts {
            if let Part::Trim { log, .. } = part {
                self.trims.insert(*log);
            }
        }
    }

    fn tell_failed(&self, error: &io::Error) {
        if let Some(observer) = &self.observer {
            observer.failed(error);
        }
    }

    /// Has a segment to write to that has space for the group.
    fn ready(&mut self, group: &Group) -> io::Result<()> {
        let bytes = group.framed_bytes();
        let Some(current) = &self.current else {
            return self.begin();
        };
        let is_full = current.durable >= current.limit;
        let fits = current.durable + bytes <= SEGMENT_BYTES_MAX;
        if !is_full && fits {
            return Ok(());
        }
        match self.begin() {
            // Where the old one goes on, it may be longer than wanted.
            Err(_) if fits && self.current.is_some() => Ok(()),
            begun => begun,
        }
    }

    /// Ends the current segment, if there is one, and begins the next.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if let Some(tail) = &self.tail {
            tail.write_again()?;
            self.tail = None;
        }
        let number = self.next_segment;
        let Some(next) = number.checked_add(1) else {
            return Err(io::Error::other("segment numbers are used up"));
        };
        self.next_segment = next;
        let place = Place { store: self.store, segment: number };
        let start = Start::of(&self.shared.index);
        let spare = self.spares.pop();
        match start.begin(&*self.disk, place, self.segment_bytes, spare.as_deref()) {
            Ok(current) => {
                let segment = Segment {
                    file: Arc::clone(&current.file),
                    place,
                    end: current.durable,
                    entry_bytes: 0,
                    live_bytes: 0,
                    is_sealed: false,
                    has_failed: false,
                };
                self.end_current();
                self.shared.index.insert_segment(number, segment);
                self.current = Some(current);
                self.begun(&start);
                Ok(())
            }
            Err(failed) => {
                if failed.may_be_there {
                    self.leftovers.push(segment_path(number));
                    self.end_current();
                }
                Err(failed.source)
            }
        }
    }

    /// No more is written to the current segment.
    fn end_current(&mut self) {
        if let Some(current) = self.current.take() {
            self.overlong.insert(current.place.segment, current.durable);
            self.shared.index.segment_mut(current.place.segment, |segment| segment.is_sealed = true);
        }
    }

    /// A new segment's start is durable: what it does not name is gone, and what was open is settled.
    fn begun(&mut self, start: &Start) {
        self.trims.clear();
        self.doomed.clear();
        for log in self.unsettled.drain(..) {
            log.kept().is_unsettled = false;
        }
        let kept: BTreeSet<u32> = start.segments.iter().map(|(number, _)| *number).collect();
        let current = self.current.as_ref().map(|current| current.place.segment);
        let all = self.shared.index.segments();
        let gone = all.iter().map(|(number, _)| *number).filter(|number| !kept.contains(number));
        self.remove_segments(gone.filter(|number| Some(*number) != current).collect());
        // What is behind the end of a sealed segment never was, and gives back its room.
        for (number, end) in std::mem::take(&mut self.overlong) {
            if let Some(segment) = self.shared.index.segment(number) {
                let _ = segment.file.set_bytes_len(end);
            }
        }
    }

    /// Files that no segment needs become spare ones or go, as far as the disk lets us; the rest is tried again.
    fn remove_segments(&mut self, numbers: Vec<u32>) {
        for number in numbers {
            let segment = self.shared.index.remove_segment(number);
            self.compaction.forget(number);
            self.overlong.remove(&number);
            let is_full_size =
                segment.is_some_and(|segment| segment.end >= self.segment_bytes && !segment.has_failed);
            let is_spare = is_full_size
                && self.spares.len() < SPARES_MAX
                && !self.compaction.is_asked_for()
                && self.disk.rename(&segment_path(number), &spare_path(number)).is_ok();
            match is_spare {
                true => self.spares.push(spare_path(number)),
                false => self.leftovers.push(segment_path(number)),
            }
        }
        self.remove_leftovers();
    }

    pub(super) fn remove_leftovers(&mut self) {
        if self.leftovers.is_empty() {
            return;
        }
        let disk = &self.disk;
        self.leftovers.retain(|path| match disk.remove(path) {
            Ok(()) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
        // Names that come back are left out by the newest segment's start.
        let _ = self.disk.sync_directory(DIRECTORY);
    }

    fn add_own_work(&mut self, group: &mut Group) {
        for id in std::mem::take(&mut self.trims) {
            let Some(log) = self.shared.index.log(id) else { continue };
            let below = log.kept().oldest();
            group.parts.push(Part::Trim { log: id, below });
        }
        group.parts.extend(self.doomed.iter().map(|segment| Part::Removed { segment: *segment }));
        let moves = self.next_moves();
        group.parts.extend(moves.into_iter().map(Part::Move));
    }

    /// Writes and syncs. Returns where the frames of each part's entries stand.
    fn write(&mut self, group: &Group) -> Result<Vec<Vec<Location>>, Failure> {
        let bytes = group.framed_bytes();
        let Some(current) = &mut self.current else {
            return Err(Failure::NothingWritten(ill_error()));
        };
        let (at, durable) = (current.durable, u32::try_from(current.durable).unwrap_or(u32::MAX));
        let has_batches = group.parts.iter().any(|part| matches!(part, Part::Batch { .. }));
        let reserve =
            if has_batches { (self.segment_bytes / RESERVE_PART).max(RESERVE_BYTES_MIN) } else { 0 };
        match current.room.reaching(&*current.file, at + bytes + reserve) {
            Ok(room) => current.room = room,
            Err(error) if is_full(&error) => return Err(Failure::NothingWritten(error)),
            Err(error) => {
                self.end_current();
                return Err(Failure::NothingWritten(error));
            }
        }
        let mut out = Out::new(Arc::clone(&current.file), current.place, at, durable, current.room);
        let segment = current.place.segment;
        let written: io::Result<Vec<_>> =
            group.parts.iter().map(|part| part.write(segment, &mut out)).collect();
        let places = written.map_err(Failure::Open)?;
        let mut finish = || out.finish().map(|ended| (current.durable, current.room) = ended);
        let finished = match &self.observer {
            Some(observer) => observer.observe(Written::of(group), &mut finish),
            None => finish(),
        };
        finished.map_err(Failure::Open)?;
        let end = current.durable;
        let added = places.iter().flatten().map(|location| u64::from(location.bytes)).sum::<u64>();
        self.shared.index.segment_mut(segment, |segment| {
            segment.end = end;
            segment.entry_bytes += added;
        });
        Ok(places)
    }

    /// All of it is durable.
    fn apply(&mut self, group: Group, places: &[Vec<Location>]) {
        let index = Arc::clone(&self.shared);
        let index = &index.index;
        for (part, places) in group.parts.into_iter().zip(places) {
            match part {
                Part::Batch { log, head, batch, answer, .. } => {
                    let next = Revision(head.0 + places.len() as u64);
                    let live = places.iter().map(|location| u64::from(location.bytes)).sum::<u64>();
                    let mut kept = log.kept();
                    kept.head = next;
                    kept.writer = Some(batch.writer);
                    kept.entries.extend(places);
                    drop(kept);
                    if let Some(first) = places.first() {
                        index.segment_mut(first.segment, |segment| segment.live_bytes += live);
                    }
                    log.changed.notify_waiters();
                    if let Some(answer) = answer {
                        let _ = answer.send(Ok(next));
                    }
                }
                Part::Delete { log, answer } => {
                    index.delete(log);
                    self.trims.remove(&log);
                    self.compaction.look_again();
                    let _ = answer.send(Ok(()));
                }
                Part::Move(moved) => {
                    if let Some(to) = places.first() {
                        index.relocate(&moved.log, moved.revision, moved.from, *to);
                    }
                    self.compaction.look_again();
                }
                Part::Removed { segment } => {
                    self.doomed.remove(&segment);
                    self.remove_segments(vec![segment]);
                }
                Part::Trim { .. } | Part::Closed => {}
            }
        }
        for (answer, refusal) in group.late {
            let _ = answer.send(Err(refusal));
        }
        self.look_for_dead();
    }

    /// Nobody knows what of the group is on the disk.
    fn fail(&mut self, group: Group, error: io::Error) {
        self.is_ill = true;
        let error = Arc::new(error);
        if let Some(current) = &self.current {
            self.shared.index.segment_mut(current.place.segment, |segment| segment.has_failed = true);
        }
        self.end_current();
        for part in &group.parts {
            if let Part::Batch { log, .. } = part {
                log.kept().is_unsettled = true;
                self.unsettled.push(Arc::clone(log));
            }
        }
        self.not_written(&group, &error);
        let is_settled = self.begin().is_ok();
        group.refuse(&error, !is_settled);
    }

    /// The closing mark: from here on every bit that changes at rest is noticed.
    fn close(&mut self) -> Result<(), LogError> {
        if self.current.is_none() && self.unsettled.is_empty() {
            return Ok(());
        }
        if self.current.is_none() {
            self.begin().map_err(unavailable)?;
        }
        let group = Group { parts: vec![Part::Closed], ..Group::default() };
        let written = self.write(&group);
        match written {
            Ok(_) => {
                if let Some(current) = self.current.take() {
                    // Room ahead is given back. If it is not, it holds zeros and does no harm.
                    let _ = current.file.set_bytes_len(current.durable);
                    let _ = current.file.sync();
                }
                Ok(())
            }
            Err(Failure::NothingWritten(error) | Failure::Open(error)) => Err(unavailable(error)),
        }
    }
}

/// However the writer's thread ends, nobody waits for it any longer.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.queue.close();
        // Whoever asked is told by the loss of their answer that nothing is known.
        drop(self.0.queue.take_while(|_| true));
        self.0.index.wake_all();
    }
}

/// Why a group was not written.
enum Failure {
    /// And none of it ever will be found.
    NothingWritten(io::Error),
    /// Any of it may be found.
    Open(io::Error),
}

/// Whoever asks after the store was closed.
pub(super) fn refuse(request: Request) {
    let refused = || LogError::Unavailable { source: closed() };
    match request {
        Request::Append { answer, .. } => {
            let _ = answer.send(Err(AppendError::Unavailable { source: closed() }));
        }
        Request::Trim { answer, .. }
        | Request::Delete { answer, .. }
        | Request::Begin { answer, .. }
        | Request::Settle { answer }
        | Request::Compact { answer }
        | Request::Close { answer } => drop(answer.send(Err(refused()))),
    }
}

fn beyond(asked: Revision, head: Revision) -> Result<(), LogError> {
    Err(LogError::BeyondHead { asked, head })
}

pub(super) fn unavailable(error: io::Error) -> LogError {
    LogError::Unavailable { source: Arc::new(error) }
}

fn ill() -> Arc<io::Error> {
    Arc::new(ill_error())
}

fn ill_error() -> io::Error {
    io::Error::other("the disk has not answered well since a write failed")
}
