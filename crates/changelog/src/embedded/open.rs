//! What does a directory of segments hold after whatever ended the last process?
//!
//! The newest segment's start says what was so when it began; its frames say what happened since; the segments it
//! needs are read once, to learn where their entries stand. What was never acknowledged is cut off; what was, and is
//! not there, is an error and never a shorter log.
//!
//! # Invariants
//! * Nothing is believed that a checksum does not cover, and every kept entry of every log is found, or opening fails.
//! * What a crash may have left in the page cache only is written again before anyone sees it.
//! * Memory is bounded by the files' own size.
//!
//! Cost: one pass over the segments, in large blocks, with a checksum of every byte.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;

use idhini_model::Revision;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::begin::{DIRECTORY, Start, is_spare, is_unbegun, segment_number, segment_path};
use super::format::{
    ALIGNMENT_BYTES, FORMAT_VERSION, FRAME_BYTES, Facts, HEADER_BYTES, HeaderFlaw, Kind, Place,
};
use super::index::{Index, Kept, Location, LogEnd, NOBODY, Ranges, Segment};
use super::scan::{Assembler, Scan, Step, WholeEntry, header_bytes};
use super::writer::SPARES_MAX;
use crate::LogId;
use crate::disk::{Disk, DiskFile};

/// Bytes that are written again at once.
const REWRITTEN_BYTES_MAX: u64 = 1 << 20;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk does not let us.
    #[error("the log cannot be read: {source}")]
    Unavailable {
        /// What it said.
        #[from]
        source: io::Error,
    },
    /// What was acknowledged is not there as it was written.
    #[error(
        "the log is damaged in segment {segment} at offset {offset}: {damage}; restore a backup, or the segment's \
         file from a copy"
    )]
    Damaged {
        /// The number of the segment.
        segment: u32,
        /// Where in its file.
        offset: u64,
        /// What is wrong there.
        damage: String,
    },
    /// The directory was written by a newer release.
    #[error(
        "segment {segment} of the log has format {found}, and this release knows formats up to {known}: run the \
         release that wrote it, or a newer one"
    )]
    NewerFormat {
        /// The number of the segment.
        segment: u32,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
}

/// What was found.
pub(crate) struct Opened {
    pub index: Index,
    pub store: u64,
    pub next_segment: u32,
    /// Files that nothing needs.
    pub leftovers: Vec<String>,
    /// Files that may be written over.
    pub spares: Vec<String>,
    /// Sealed segments with more in their files than is valid.
    pub overlong: BTreeMap<u32, u64>,
    /// What has to be written again before anything is appended.
    pub tail: Option<Tail>,
}

/// Reads everything. `new_store` is the id of a store in an empty directory.
pub(crate) fn open(disk: &dyn Disk, new_store: u64) -> Result<Opened, OpenError> {
    let names = disk.list(DIRECTORY)?;
    let numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
    let unbegun = names.iter().filter(|name| is_unbegun(name));
    let mut leftovers: Vec<String> = unbegun.map(|name| format!("{DIRECTORY}/{name}")).collect();
    let spares = names.iter().filter(|name| is_spare(name));
    let mut spares: Vec<String> = spares.map(|name| format!("{DIRECTORY}/{name}")).collect();
    leftovers.extend(spares.drain(SPARES_MAX.min(spares.len())..));
    let Some(&newest) = numbers.iter().max() else {
        let (index, overlong) = (Index::default(), BTreeMap::new());
        return Ok(Opened {
            index,
            store: new_store,
            next_segment: 1,
            leftovers,
            spares,
            overlong,
            tail: None,
        });
    };
    // A name that only the cache knows must not be the reason to leave out what an older one says.
    match disk.sync_directory(DIRECTORY) {
        // Nothing is written before a segment begins, which makes the names last too.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
        synced => synced?,
    }
    let file = disk.open(&segment_path(newest))?;
    let place = place_of(&*file, newest, None)?;
    let mut files = vec![(newest, Arc::clone(&file), place, HEADER_BYTES as u64, file.bytes_len()?)];
    let mut replay = Replay::new(file, place)?;
    replay.start()?;
    replay.frames()?;
    files[0].4 = replay.end;
    let mut bytes = replay.end;
    for (number, end) in &replay.segments {
        if *number >= newest {
            return Err(damaged(newest, 0, "it names a segment that comes after it"));
        }
        let path = segment_path(*number);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(*number, 0, "the segment's file is missing"));
            }
            file => file?,
        };
        let place = place_of(&*file, *number, Some(place.store))?;
        bytes += file.bytes_len()?.min(*end);
        files.push((*number, file, place, HEADER_BYTES as u64, *end));
    }
    leftovers.extend(
        numbers
            .iter()
            .filter(|number| **number != newest && !replay.segments.contains_key(number))
            .map(|number| segment_path(*number)),
    );
    let mut places = Places::new(&replay, bytes)?;
    let mut segments = BTreeMap::new();
    let mut overlong = BTreeMap::new();
    for (number, file, place, from, end) in files {
        let entry_bytes = match number == newest {
            true => replay.entry_bytes,
            false => places.scan(&file, place, from, end)?,
        };
        if file.bytes_len()? > end {
            overlong.insert(number, end);
        }
        segments.insert(
            number,
            Segment { file, place, end, entry_bytes, live_bytes: 0, is_sealed: true, has_failed: false },
        );
    }
    // What the newest says comes last: where something was moved to is where it stands.
    for entry in std::mem::take(&mut replay.entries) {
        places.put(&entry);
    }
    let tail = replay.tail.take();
    let index = places.index(&replay, segments, newest)?;
    let next_segment = newest.saturating_add(1);
    Ok(Opened { index, store: place.store, next_segment, leftovers, spares, overlong, tail })
}

/// Reads a segment's header.
pub(crate) fn place_of(file: &dyn DiskFile, segment: u32, store: Option<u64>) -> Result<Place, OpenError> {
    let place = match Place::of_header(&header_bytes(file)?) {
        Ok(place) => place,
        Err(HeaderFlaw::Newer { found }) => {
            return Err(OpenError::NewerFormat { segment, found, known: FORMAT_VERSION });
        }
        Err(HeaderFlaw::NotASegment) => {
            return Err(damaged(segment, 0, "it does not begin as a segment does"));
        }
        Err(HeaderFlaw::Checksum) => {
            return Err(damaged(segment, 0, "the checksum of its header does not match"));
        }
    };
    if place.segment != segment || store.is_some_and(|store| store != place.store) {
        return Err(damaged(segment, 0, "it is the segment of another number or of another store"));
    }
    Ok(place)
}

fn damaged(segment: u32, offset: u64, damage: impl fmt::Display) -> OpenError {
    OpenError::Damaged { segment, offset, damage: format!("{damage}") }
}

/// The newest segment, read from its start to where it is valid.
struct Replay {
    file: Arc<dyn DiskFile>,
    place: Place,
    scan: Scan,
    segments: BTreeMap<u32, u64>,
    logs: FxHashMap<LogId, LogEnd>,
    deleted: Ranges,
    /// What stands in this segment, relocated or not.
    entries: Vec<WholeEntry>,
    entry_bytes: u64,
    end: u64,
    /// What could not be written again.
    tail: Option<Tail>,
}

impl Replay {
    fn new(file: Arc<dyn DiskFile>, place: Place) -> Result<Replay, OpenError> {
        let end = file.bytes_len()?;
        let scan = Scan::new(Arc::clone(&file), place, HEADER_BYTES as u64, end);
        Ok(Replay {
            file,
            place,
            scan,
            segments: BTreeMap::new(),
            logs: FxHashMap::default(),
            deleted: Ranges::default(),
            entries: Vec::new(),
            entry_bytes: 0,
            end: HEADER_BYTES as u64,
            tail: None,
        })
    }

    /// It was durable before the file had its name: anything wrong in it is damage.
    fn start(&mut self) -> Result<(), OpenError> {
        let segment = self.place.segment;
        let mut start = Start::default();
        loop {
            let at = self.scan.at();
            match self.scan.step()? {
                Step::End => return Err(damaged(segment, at, "its start is cut off")),
                Step::Flawed { flaw } => return Err(damaged(segment, at, flaw)),
                Step::Frame { frame, .. } if frame.facts.kind == Kind::Begun => break,
                Step::Frame { frame, .. } => {
                    let taken = start.take(frame.facts.kind, frame.payload);
                    taken.map_err(|damage| damaged(segment, at, damage))?;
                }
            }
        }
        self.segments = start.segments.into_iter().collect();
        self.logs = start.logs.into_iter().map(|end| (end.log, end)).collect();
        for (first, last) in start.deleted {
            self.deleted.insert(first, last);
        }
        self.end = self.scan.at();
        Ok(())
    }

    /// The frames behind the start, as far as they are valid.
    fn frames(&mut self) -> Result<(), OpenError> {
        let segment = self.place.segment;
        let mut assembler = Assembler::default();
        let mut batch: Vec<WholeEntry> = Vec::new();
        let (mut durable, mut is_closed) = (self.end, false);
        loop {
            let at = self.scan.at();
            let (facts, entry) = match self.scan.step()? {
                Step::End => break,
                Step::Flawed { .. } => {
                    self.judge_tail()?;
                    break;
                }
                Step::Frame { offset, frame } => {
                    let is_chunk = assembler.is_open() || frame.facts.kind == Kind::Entry;
                    let entry = match is_chunk {
                        true => assembler.take(segment, offset, &frame),
                        false => Ok(None),
                    };
                    (frame.facts, entry.map_err(|damage| damaged(segment, at, damage))?)
                }
            };
            // A durable offset of this group is one of its beginning, or an earlier one: it only moves on.
            durable = durable.max(u64::from(facts.durable));
            is_closed = facts.kind == Kind::Closed;
            if facts.kind != Kind::Entry {
                if !batch.is_empty() {
                    return Err(damaged(segment, at, "a batch ends without its last entry"));
                }
                self.apply(&facts).map_err(|damage| damaged(segment, at, damage))?;
                // The closing mark may stand in the page cache only, as whoever wrote it may have been killed; what is
                // before it was durable when it was written. So the segment ends before it.
                if !is_closed {
                    self.end = self.scan.at();
                }
                continue;
            }
            batch.extend(entry);
            if entry.is_some_and(|entry| entry.ends_batch) {
                for entry in batch.drain(..) {
                    self.append(&entry).map_err(|damage| damaged(segment, at, damage))?;
                }
                self.end = self.scan.at();
            }
        }
        if !is_closed {
            let tail = Tail { file: Arc::clone(&self.file), from: durable, end: self.end };
            match tail.write_again() {
                // It can be read all the same, and is written before anything is appended.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => self.tail = Some(tail),
                written => written?,
            }
        }
        Ok(())
    }

    /// What is flawed was never acknowledged, unless something behind it says so.
    fn judge_tail(&mut self) -> Result<(), OpenError> {
        let at = self.scan.at();
        match self.scan.proof_behind()? {
            None => Ok(()),
            Some((durable, proof)) => {
                let damage = format!("the frame at {proof} says that everything up to {durable} was durable");
                Err(damaged(self.place.segment, at, damage))
            }
        }
    }

    fn append(&mut self, entry: &WholeEntry) -> Result<(), &'static str> {
        self.entry_bytes += u64::from(entry.location.bytes);
        self.entries.push(*entry);
        if entry.is_relocated {
            return Ok(());
        }
        if self.deleted.contains(entry.log.0) {
            return Err("an entry follows its log's deletion");
        }
        if entry.revision.0 == u64::MAX {
            return Err("revisions are used up");
        }
        let end = self.logs.entry(entry.log).or_insert(LogEnd {
            log: entry.log,
            head: Revision(0),
            oldest: Revision(1),
            writer: NOBODY,
        });
        if entry.revision.0 != end.head.0 + 1 {
            return Err("an entry does not follow its log's head");
        }
        end.head = entry.revision;
        end.writer = entry.writer;
        Ok(())
    }

    fn apply(&mut self, facts: &Facts) -> Result<(), &'static str> {
        match facts.kind {
            Kind::Trim if self.deleted.contains(facts.log.0) => {}
            Kind::Trim => {
                let end = self.logs.get_mut(&facts.log).ok_or("a log is trimmed that has no entries")?;
                if facts.revision.0 > end.head.0 + 1 {
                    return Err("a log is trimmed beyond its head");
                }
                end.oldest = end.oldest.max(facts.revision);
            }
            Kind::Delete => {
                self.logs.remove(&facts.log);
                self.deleted.insert(facts.log.0, facts.log.0);
            }
            Kind::Removed => {
                let number = u32::try_from(facts.log.0).map_err(|_| "a segment's number is too large")?;
                self.segments.remove(&number);
            }
            Kind::Closed => {}
            Kind::Entry | Kind::Segments | Kind::Logs | Kind::Deleted | Kind::Begun => {
                return Err("a frame of a segment's start stands behind it");
            }
        }
        Ok(())
    }
}

/// What may stand in the page cache only: a process that ended, or a sync that failed, may have left it there.
#[derive(Debug)]
pub(crate) struct Tail {
    file: Arc<dyn DiskFile>,
    from: u64,
    end: u64,
}

impl Tail {
    /// The same bytes in the same place harm nothing if they were durable, and are so from now on.
    pub(crate) fn write_again(&self) -> io::Result<()> {
        let mut at = self.from;
        while at < self.end {
            let bytes = (self.end - at).min(REWRITTEN_BYTES_MAX);
            let mut block = vec![0; usize::try_from(bytes).unwrap_or(0)];
            let read = self.file.read_at(at, &mut block)?;
            block.truncate(read);
            self.file.write_at(at, &block)?;
            at += bytes;
        }
        self.file.sync()
    }
}

/// Where the entries of all logs stand.
struct Places {
    logs: FxHashMap<LogId, PlacesOfLog>,
}

struct PlacesOfLog {
    oldest: Revision,
    locations: VecDeque<Location>,
}

/// No entry stands in segment 0.
const NOWHERE: Location = Location { segment: 0, offset: 0, bytes: 0 };

impl Places {
    fn new(replay: &Replay, bytes: u64) -> Result<Places, OpenError> {
        let entries_max = bytes / FRAME_BYTES.next_multiple_of(ALIGNMENT_BYTES) as u64;
        let mut left = entries_max;
        let mut logs = FxHashMap::with_capacity_and_hasher(replay.logs.len(), FxBuildHasher);
        for end in replay.logs.values() {
            let count = end.head.0 + 1 - end.oldest.0;
            left = left.checked_sub(count).ok_or_else(|| {
                let damage = format!(
                    "the logs say that they have more than {entries_max} entries, which is more than fit"
                );
                damaged(replay.place.segment, HEADER_BYTES as u64, damage)
            })?;
            let locations = std::iter::repeat_n(NOWHERE, usize::try_from(count).unwrap_or(0)).collect();
            logs.insert(end.log, PlacesOfLog { oldest: end.oldest, locations });
        }
        Ok(Places { logs })
    }

    /// Reads a sealed segment; returns the bytes of its entries' frames.
    fn scan(
        &mut self,
        file: &Arc<dyn DiskFile>,
        place: Place,
        from: u64,
        end: u64,
    ) -> Result<u64, OpenError> {
        let mut scan = Scan::new(Arc::clone(file), place, from, end);
        let mut assembler = Assembler::default();
        let mut entry_bytes = 0;
        loop {
            let at = scan.at();
            match scan.step()? {
                Step::End if at == end && !assembler.is_open() => return Ok(entry_bytes),
                Step::End => return Err(damaged(place.segment, at, format!("the segment ended at {end}"))),
                Step::Flawed { flaw } => return Err(damaged(place.segment, at, flaw)),
                Step::Frame { frame, .. } if frame.facts.kind != Kind::Entry && !assembler.is_open() => {}
                Step::Frame { offset, frame } => {
                    entry_bytes += frame.bytes as u64;
                    let entry = assembler.take(place.segment, offset, &frame);
                    if let Some(entry) = entry.map_err(|damage| damaged(place.segment, at, damage))? {
                        self.put(&entry);
                    }
                }
            }
        }
    }

    /// Says where an entry stands, if it is one that is kept.
    fn put(&mut self, entry: &WholeEntry) {
        let Some(log) = self.logs.get_mut(&entry.log) else { return };
        let Some(at) = entry.revision.0.checked_sub(log.oldest.0) else { return };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(location) = log.locations.get_mut(at) {
            *location = entry.location;
        }
    }

    fn index(
        self,
        replay: &Replay,
        mut segments: BTreeMap<u32, Segment>,
        newest: u32,
    ) -> Result<Index, OpenError> {
        let index = Index::default();
        for (id, log) in self.logs {
            if let Some(missing) = log.locations.iter().position(|location| *location == NOWHERE) {
                let revision = log.oldest.0 + missing as u64;
                let damage = format!("revision {revision} of log {} is nowhere", id.0);
                return Err(damaged(newest, replay.end, damage));
            }
            for location in &log.locations {
                if let Some(segment) = segments.get_mut(&location.segment) {
                    segment.live_bytes += u64::from(location.bytes);
                }
            }
            let end = replay.logs.get(&id);
            let kept = Kept {
                head: end.map_or(Revision(0), |end| end.head),
                writer: end.map(|end| end.writer).filter(|writer| *writer != NOBODY),
                entries: log.locations,
                is_deleted: false,
                is_unsettled: false,
            };
            index.insert(id, kept);
        }
        for (first, last) in replay.deleted.iter() {
            index.insert_deleted(first, last);
        }
        for (number, segment) in segments {
            index.insert_segment(number, segment);
        }
        Ok(index)
    }
}
