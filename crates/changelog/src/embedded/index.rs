//! Where is each entry of each log, and where does each log end? What the store keeps in memory about its files.
//!
//! # Invariants
//! * The entries of a log that can be read have dense revisions; the last of them is the head.
//! * Only what is durable stands here. Only the writer changes it, readers hold a lock for as long as it takes to copy
//!   some locations.
//! * A lock of a log is taken before that of the segments, never after it.
//!
//! Cost: 12 bytes an entry, and some 200 a log.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use idhini_model::Revision;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::format::Place;
use crate::disk::DiskFile;
use crate::{Head, LogError, LogId, Writer};

/// Where an entry stands, with all of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// The segment's number; never 0.
    pub segment: u32,
    /// Where its first chunk begins.
    pub offset: u32,
    /// Of all its chunks, as they are on disk.
    pub bytes: u32,
}

/// Stands for nobody in a file: writers count from 1.
pub(crate) const NOBODY: Writer = Writer { id: 0, sequence: 0 };

/// All logs and segments of a store.
#[derive(Debug, Default)]
pub(crate) struct Index {
    logs: RwLock<Logs>,
    segments: RwLock<BTreeMap<u32, Segment>>,
}

#[derive(Debug, Default)]
struct Logs {
    known: FxHashMap<LogId, Arc<Log>>,
    deleted: Ranges,
}

/// One log.
pub(crate) struct Log {
    pub id: LogId,
    kept: Mutex<Kept>,
    /// Tells whoever waits that the head moved or that the log is gone.
    pub changed: Notify,
}

/// What is known of a log.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub head: Revision,
    pub writer: Option<Writer>,
    /// The last of these is the head.
    pub entries: VecDeque<Location>,
    pub is_deleted: bool,
    /// A batch was written, and it is not known yet whether it will be found after a restart.
    pub is_unsettled: bool,
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub file: Arc<dyn DiskFile>,
    pub place: Place,
    /// Where its valid bytes end.
    pub end: u64,
    /// Of the frames of entries, whether they are still needed or not.
    pub entry_bytes: u64,
    /// Of those that are still needed.
    pub live_bytes: u64,
    /// No longer written.
    pub is_sealed: bool,
    /// A write or a sync of it failed: the file is not used for anything else.
    pub has_failed: bool,
}

/// What a log's new segments say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub log: LogId,
    pub head: Revision,
    pub oldest: Revision,
    pub writer: Writer,
}

impl Index {
    pub(crate) fn log(&self, id: LogId) -> Option<Arc<Log>> {
        read(&self.logs).known.get(&id).cloned()
    }

    /// The log, from now on known even if it is empty; `None` if it was deleted.
    pub(crate) fn log_or_new(&self, id: LogId) -> Option<Arc<Log>> {
        if let Some(log) = self.log(id) {
            return Some(log);
        }
        let mut logs = write(&self.logs);
        if logs.deleted.contains(id.0) {
            return None;
        }
        Some(Arc::clone(logs.known.entry(id).or_insert_with(|| Arc::new(Log::new(id, Kept::default())))))
    }

    pub(crate) fn is_deleted(&self, id: LogId) -> bool {
        read(&self.logs).deleted.contains(id.0)
    }

    /// Logs with a past, in no order.
    pub(crate) fn ends(&self) -> Vec<LogEnd> {
        let logs: Vec<_> = read(&self.logs).known.values().cloned().collect();
        logs.iter().filter_map(|log| log.kept().end(log.id)).collect()
    }

    pub(crate) fn deleted(&self) -> Vec<(u64, u64)> {
        read(&self.logs).deleted.iter().collect()
    }

    /// Everyone who waits for any log to grow looks again.
    pub(crate) fn wake_all(&self) {
        read(&self.logs).known.values().for_each(|log| log.changed.notify_waiters());
    }

    /// Adds a log as it was found.
    pub(crate) fn insert(&self, id: LogId, kept: Kept) {
        write(&self.logs).known.insert(id, Arc::new(Log::new(id, kept)));
    }

    pub(crate) fn insert_deleted(&self, first: u64, last: u64) {
        write(&self.logs).deleted.insert(first, last);
    }

    /// Forgets a log for good.
    pub(crate) fn delete(&self, id: LogId) {
        let log = {
            let mut logs = write(&self.logs);
            logs.deleted.insert(id.0, id.0);
            logs.known.remove(&id)
        };
        let Some(log) = log else { return };
        let entries = {
            let mut kept = log.kept();
            kept.is_deleted = true;
            std::mem::take(&mut kept.entries)
        };
        self.free(&entries);
        log.changed.notify_waiters();
    }

    /// Gives up entries below `below`.
    pub(crate) fn trim(&self, log: &Log, below: Revision) {
        let mut kept = log.kept();
        let count = below.0.saturating_sub(kept.oldest().0).min(kept.entries.len() as u64);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let given_up: VecDeque<_> = kept.entries.drain(..count).collect();
        if kept.entries.capacity() > 64 && kept.entries.len() < kept.entries.capacity() / 4 {
            kept.entries.shrink_to_fit();
        }
        drop(kept);
        self.free(&given_up);
    }

    /// Says that the entry stands elsewhere now, if it still stands where it was found.
    pub(crate) fn relocate(&self, log: &Log, revision: Revision, from: Location, to: Location) {
        let mut kept = log.kept();
        let Some(location) = kept.location_mut(revision).filter(|location| **location == from) else {
            return;
        };
        *location = to;
        drop(kept);
        self.free([&from]);
        self.segment_mut(to.segment, |segment| segment.live_bytes += u64::from(to.bytes));
    }

    fn free<'a>(&self, locations: impl IntoIterator<Item = &'a Location>) {
        let mut segments = write(&self.segments);
        for location in locations {
            if let Some(segment) = segments.get_mut(&location.segment) {
                segment.live_bytes = segment.live_bytes.saturating_sub(u64::from(location.bytes));
            }
        }
    }

    pub(crate) fn segment(&self, number: u32) -> Option<Segment> {
        read(&self.segments).get(&number).cloned()
    }

    pub(crate) fn segment_mut(&self, number: u32, change: impl FnOnce(&mut Segment)) {
        if let Some(segment) = write(&self.segments).get_mut(&number) {
            change(segment);
        }
    }

    pub(crate) fn insert_segment(&self, number: u32, segment: Segment) {
        write(&self.segments).insert(number, segment);
    }

    pub(crate) fn remove_segment(&self, number: u32) -> Option<Segment> {
        write(&self.segments).remove(&number)
    }

    /// Numbers, ascending.
    pub(crate) fn segments_where(&self, is_meant: impl Fn(&Segment) -> bool) -> Vec<u32> {
        let segments = read(&self.segments);
        segments.iter().filter(|(_, segment)| is_meant(segment)).map(|(number, _)| *number).collect()
    }

    /// Ascending.
    pub(crate) fn segments(&self) -> Vec<(u32, Segment)> {
        read(&self.segments).iter().map(|(number, segment)| (*number, segment.clone())).collect()
    }
}

impl Log {
    fn new(id: LogId, kept: Kept) -> Log {
        Log { id, kept: Mutex::new(kept), changed: Notify::new() }
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn present(&self) -> Result<MutexGuard<'_, Kept>, LogError> {
        let kept = self.kept();
        if kept.is_deleted { Err(LogError::Deleted { log: self.id }) } else { Ok(kept) }
    }
}

impl Kept {
    pub(crate) fn oldest(&self) -> Revision {
        Revision(self.head.0 + 1 - self.entries.len() as u64)
    }

    pub(crate) fn head(&self) -> Head {
        Head { revision: self.head, oldest: self.oldest(), writer: self.writer }
    }

    pub(crate) fn entries_bytes(&self) -> u64 {
        self.entries.iter().map(|location| u64::from(location.bytes)).sum()
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        (size_of::<Log>() + self.entries.capacity() * size_of::<Location>()) as u64
    }

    pub(crate) fn location_mut(&mut self, revision: Revision) -> Option<&mut Location> {
        let at = revision.0.checked_sub(self.oldest().0)?;
        self.entries.get_mut(usize::try_from(at).ok()?)
    }

    /// What outlives the segments; `None` if the log has no past.
    fn end(&self, log: LogId) -> Option<LogEnd> {
        let has_past = self.head > Revision(0) && !self.is_deleted;
        let writer = self.writer.unwrap_or(NOBODY);
        has_past.then(|| LogEnd { log, head: self.head, oldest: self.oldest(), writer })
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A set of numbers that mostly follow each other.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// First to last, both inside; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last.max(first));
        while let Some((&start, &end)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.ranges.insert(first, last);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
