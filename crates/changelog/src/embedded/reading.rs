//! What stands at these revisions? Reads go around the writer: they copy locations under a lock, and read files
//! without one.
//!
//! A file that was removed stays readable for whoever took its handle before, and one that was written over does not
//! pass its checksums; then the entry, which is the same wherever it was moved, is looked up again. Cost: one read of the disk for entries that stand close to each other; a checksum of what is read.

use std::sync::Arc;

use bytes::Bytes;
use idhini_model::Revision;

use super::format::{FRAME_BYTES, Flaw, Frame, Kind};
use super::index::{Index, Location, Log, Segment};
use super::writer::unavailable;
use crate::{LogError, LogId, Record, Stored};

/// Bytes that are read at once, at most; more only for one entry.
const SPAN_BYTES_MAX: u64 = 1 << 20;

/// Bytes of other logs' entries that are read along, rather than read twice.
const GAP_BYTES_MAX: u64 = 16 << 10;

/// Locations that are copied at once.
const LOCATIONS_MAX: usize = 4096;

/// Entries of one log that stand close to each other in a segment.
struct Span<'a> {
    first: Revision,
    locations: &'a [Location],
}

/// Entries after `after`, as many as fit, but one at least unless there is none.
pub(crate) fn read(
    index: &Index,
    log: &Log,
    after: Revision,
    bytes_max: usize,
) -> Result<Vec<Stored>, LogError> {
    let mut read: Vec<Stored> = Vec::new();
    let mut left = bytes_max;
    'again: loop {
        let next = read.last().map_or(after, |stored| stored.revision).next();
        let locations = match locations(log, next, LOCATIONS_MAX) {
            // Trimmed while we were reading: what we have was there.
            Err(LogError::Trimmed { .. }) if !read.is_empty() => return Ok(read),
            locations => locations?,
        };
        if locations.is_empty() {
            return Ok(read);
        }
        let mut span = Span { first: next, locations: &locations };
        while let Some((head, rest)) = span.split(left) {
            let Some(segment) = index.segment(head.segment()) else {
                // Moved and removed since: the entries say where they stand now.
                continue 'again;
            };
            let found = match head.read(&segment, log.id) {
                // Its file may be written over by now.
                Err(_) if index.segment(head.segment()).is_none() => continue 'again,
                found => found?,
            };
            for stored in found {
                let bytes = stored.record.bytes();
                if bytes > left && !read.is_empty() {
                    return Ok(read);
                }
                left = left.saturating_sub(bytes);
                read.push(stored);
            }
            if left == 0 {
                return Ok(read);
            }
            span = rest;
        }
    }
}

/// One entry.
pub(crate) fn read_entry(
    index: &Index,
    log: LogId,
    revision: Revision,
    location: Location,
) -> Result<Stored, LogError> {
    let span = Span { first: revision, locations: &[location] };
    let segment = index.segment(location.segment).ok_or_else(|| damaged(location, "the segment is gone"))?;
    let mut read = span.read(&segment, log)?;
    read.pop().ok_or_else(|| damaged(location, "no entry stands there"))
}

/// One entry with its first chunk only; `None` if there is no such entry yet.
pub(crate) fn read_beginning(
    index: &Index,
    log: &Log,
    revision: Revision,
) -> Result<Option<Stored>, LogError> {
    loop {
        let Some(location) = locations(log, revision, 1)?.pop() else { return Ok(None) };
        let Some(segment) = index.segment(location.segment) else { continue };
        match beginning(&segment, log.id, revision, location) {
            // Its file may be written over by now.
            Err(_) if index.segment(location.segment).is_none() => {}
            found => return found.map(Some),
        }
    }
}

fn beginning(
    segment: &Segment,
    log: LogId,
    revision: Revision,
    location: Location,
) -> Result<Stored, LogError> {
    let at = u64::from(location.offset);
    let block = |bytes: usize| {
        let mut block = vec![0; bytes.min(location.bytes as usize)];
        let read = segment.file.read_at(at, &mut block).map_err(unavailable)?;
        block.truncate(read);
        Ok(block)
    };
    // The header says how long the chunk is.
    let bytes = match segment.place.decode_length(at, &block(FRAME_BYTES)?) {
        Ok(bytes) | Err(Flaw::Short { needed: bytes }) => bytes,
        Err(flaw) => return Err(damaged(location, &flaw.to_string())),
    };
    let block = block(bytes)?;
    let frame = chunk(segment, location, at, &block, (log, revision))?;
    let chunks = vec![Bytes::copy_from_slice(frame.payload)];
    Ok(Stored { revision, writer: frame.facts.writer, record: Record { chunks } })
}

/// The frame at `at`, with which `bytes` begin: a chunk of this entry.
fn chunk<'b>(
    segment: &Segment,
    location: Location,
    at: u64,
    bytes: &'b [u8],
    entry: (LogId, Revision),
) -> Result<Frame<'b>, LogError> {
    let frame = segment.place.decode(at, bytes);
    let frame = frame.map_err(|flaw| damaged(location, &flaw.to_string()))?;
    match (frame.facts.kind, (frame.facts.log, frame.facts.revision)) {
        (Kind::Entry, found) if found == entry => Ok(frame),
        _ => Err(damaged(location, "another entry stands there")),
    }
}

fn locations(log: &Log, from: Revision, most: usize) -> Result<Vec<Location>, LogError> {
    let kept = log.present()?;
    let oldest = kept.oldest();
    if from < oldest {
        return Err(LogError::Trimmed { asked: from, oldest });
    }
    let at = usize::try_from(from.0 - oldest.0).unwrap_or(usize::MAX);
    Ok(kept.entries.iter().skip(at).take(most).copied().collect())
}

impl<'a> Span<'a> {
    /// What one read gets, and the rest; `None` at the end.
    fn split(self, bytes_wanted: usize) -> Option<(Span<'a>, Span<'a>)> {
        let first = self.locations.first()?;
        let most = SPAN_BYTES_MAX.min((bytes_wanted as u64).saturating_mul(2));
        let start = u64::from(first.offset);
        let mut end = start;
        let count = self.locations.iter().take_while(|location| {
            let (offset, bytes) = (u64::from(location.offset), u64::from(location.bytes));
            let is_close = location.segment == first.segment
                && offset >= end
                && offset - end <= GAP_BYTES_MAX
                && (offset == start || offset + bytes - start <= most);
            end = if is_close { offset + bytes } else { end };
            is_close
        });
        let count = count.count();
        let (head, rest) = self.locations.split_at(count);
        let next = Revision(self.first.0 + count as u64);
        Some((Span { first: self.first, locations: head }, Span { first: next, locations: rest }))
    }

    fn segment(&self) -> u32 {
        self.locations.first().map_or(0, |location| location.segment)
    }

    fn read(&self, segment: &Segment, log: LogId) -> Result<Vec<Stored>, LogError> {
        let (Some(first), Some(last)) = (self.locations.first(), self.locations.last()) else {
            return Ok(Vec::new());
        };
        let (start, end) = (u64::from(first.offset), u64::from(last.offset) + u64::from(last.bytes));
        if start > end || end > segment.end {
            return Err(damaged(*last, "it is behind the segment's end"));
        }
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
        let read = segment.file.read_at(start, &mut block).map_err(unavailable)?;
        block.truncate(read);
        let mut all = Vec::with_capacity(self.locations.len());
        for (location, revision) in self.locations.iter().zip(self.first.0..) {
            let revision = Revision(revision);
            let mut stored = None;
            let (mut at, end) =
                (u64::from(location.offset), u64::from(location.offset) + u64::from(location.bytes));
            let mut chunks = Vec::new();
            while at < end {
                let from = usize::try_from(at - start).unwrap_or(usize::MAX);
                let rest = block.get(from..).unwrap_or_default();
                let frame = chunk(segment, *location, at, rest, (log, revision))?;
                chunks.push(Bytes::copy_from_slice(frame.payload));
                stored = Some(frame.facts.writer);
                at += frame.bytes as u64;
            }
            let writer = stored.ok_or_else(|| damaged(*location, "no entry stands there"))?;
            all.push(Stored { revision, writer, record: Record { chunks } });
        }
        Ok(all)
    }
}

fn damaged(location: Location, what: &str) -> LogError {
    let damage = format!("segment {} at offset {}: {what}", location.segment, location.offset);
    LogError::Damaged { damage }
}

/// Reads that wait for a thread that may block.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Serves reads until the store is closed.
pub(crate) fn serve(jobs: &Arc<super::queue::Queue<Job>>) {
    while let Some(job) = jobs.pop() {
        job();
    }
}
