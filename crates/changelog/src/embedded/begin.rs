//! How does a segment begin? With all that is known of logs and of the segments before it.
//!
//! ```text
//! header, Segments*, Logs*, Deleted*, Begun        then the frames of groups
//! ```
//!
//! The start is written under another name, synced, and renamed: a file with a segment's name has a whole start, or it
//! is damaged. Which segments are needed, and where each of them ended, is what the newest segment's start says, less
//! what its frames say was removed since: so the step to a new segment, the cut of a failed group and the going of
//! files that hold nothing alive are one atomic step.
//!
//! A file that no segment needs any more becomes a spare one, which the next segment is written over: blocks that are
//! there already cost a sync one device command less, and no journal. What stood in it has the checksums of another
//! segment.

use std::io;
use std::sync::Arc;

use idhini_model::Revision;

use super::broken::{Variant, is_broken};
use super::format::{Facts, HEADER_BYTES, Kind, Place, numbers};
use super::index::{Index, LogEnd};
use crate::disk::{Disk, DiskFile};
use crate::{LogId, Writer};

/// The directory of all segments.
pub(crate) const DIRECTORY: &str = "log";

/// Bytes written at once, at most; more only for one frame.
pub(crate) const WRITE_BYTES_MAX: usize = 1 << 20;

/// Payload of a frame of a start; a multiple of all that stands in one.
const START_PAYLOAD_BYTES: usize = 40 * 16 * 1024;

/// Room that is made ahead of what is written, at most.
const ROOM_STEP_BYTES_MAX: u64 = 4 << 20;

/// And at least.
const ROOM_STEP_BYTES_MIN: u64 = 4 << 10;

/// What stands in a segment's start.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Number and end of the segments before this one that are needed.
    pub segments: Vec<(u32, u64)>,
    pub logs: Vec<LogEnd>,
    pub deleted: Vec<(u64, u64)>,
}

/// The segment that is written.
#[derive(Debug)]
pub(crate) struct Current {
    pub file: Arc<dyn DiskFile>,
    pub place: Place,
    /// Up to here all is durable.
    pub durable: u64,
    /// Up to here the file has room on the disk.
    pub room: Room,
    /// A new segment begins when this is reached.
    pub limit: u64,
    /// The file had another number before: what is not written yet is what stood there then.
    pub is_reused: bool,
}

/// How far a file has room on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    end: u64,
    /// How much more is taken at once.
    step: u64,
}

/// A segment could not be begun.
#[derive(Debug)]
pub(crate) struct NotBegun {
    pub source: io::Error,
    /// The file may be found under its name after a restart: what it says of the segments before it then holds.
    pub may_be_there: bool,
}

pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:010}.segment")
}

pub(crate) fn segment_path(number: u32) -> String {
    format!("{DIRECTORY}/{}", segment_name(number))
}

fn new_path(number: u32) -> String {
    format!("{DIRECTORY}/{number:010}.new")
}

/// The number in the name of a segment's file.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number: u32 = name.strip_suffix(".segment")?.parse().ok()?;
    (segment_name(number) == name && number > 0).then_some(number)
}

/// What a segment's file is called while no segment needs it.
pub(crate) fn spare_path(number: u32) -> String {
    format!("{DIRECTORY}/{number:010}.spare")
}

/// Whether a file is a spare one.
pub(crate) fn is_spare(name: &str) -> bool {
    name.strip_suffix(".spare").is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Whether a file is what is left of a segment that never began.
pub(crate) fn is_unbegun(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|number| number.parse::<u32>().is_ok())
}

impl Start {
    /// All that is known now, with the segments that something alive stands in.
    pub(crate) fn of(index: &Index) -> Start {
        let mut logs = index.ends();
        logs.sort_unstable_by_key(|end| end.log);
        let segments = index.segments().into_iter().filter(|(_, segment)| segment.live_bytes > 0);
        Start {
            segments: segments.map(|(number, segment)| (number, segment.end)).collect(),
            logs,
            deleted: index.deleted(),
        }
    }

    /// Writes the start of a segment of this number and makes it durable, name and all: into a spare file if there is
    /// one, whose blocks are all there, so that writing over them changes nothing but them.
    pub(crate) fn begin(
        &self,
        disk: &dyn Disk,
        place: Place,
        segment_bytes: u64,
        spare: Option<&str>,
    ) -> Result<Current, NotBegun> {
        let number = place.segment;
        let is_reused = spare.is_some();
        let written = new_file(disk, number, spare).and_then(|file| {
            let room = Room::of(&*file, segment_bytes)?;
            self.write(file, place, room)
        });
        let (file, end, room) = match written {
            Ok(written) => written,
            Err(source) => {
                let _ = disk.remove(&new_path(number));
                return Err(NotBegun { source, may_be_there: false });
            }
        };
        let named = disk
            .rename(&new_path(number), &segment_path(number))
            .and_then(|()| disk.sync_directory(DIRECTORY));
        if let Err(source) = named {
            return Err(NotBegun { source, may_be_there: true });
        }
        let limit = end + segment_bytes.max(end);
        Ok(Current { file, place, durable: end, room, limit, is_reused })
    }

    fn write(
        &self,
        file: Arc<dyn DiskFile>,
        place: Place,
        room: Room,
    ) -> io::Result<(Arc<dyn DiskFile>, u64, Room)> {
        let mut out = Out::new(file, place, 0, 0, room);
        out.header()?;
        out.numbers(Kind::Segments, self.segments.iter().map(|(number, end)| [u64::from(*number), *end]))?;
        out.numbers(Kind::Logs, self.logs.iter().map(LogEnd::numbers))?;
        out.numbers(Kind::Deleted, self.deleted.iter().map(|(first, last)| [*first, *last]))?;
        out.frame(&Facts::plain(Kind::Begun, 0), &[])?;
        let (end, room) = out.finish()?;
        Ok((out.file, end, room))
    }

    /// Takes a frame of a start.
    pub(crate) fn take(&mut self, kind: Kind, payload: &[u8]) -> Result<(), &'static str> {
        let numbers: Vec<u64> = numbers(payload).collect();
        match kind {
            Kind::Segments => {
                for pair in numbers.chunks_exact(2) {
                    let number = u32::try_from(pair[0]).map_err(|_| "a segment's number is too large")?;
                    self.segments.push((number, pair[1]));
                }
            }
            Kind::Logs => {
                for end in numbers.chunks_exact(5) {
                    self.logs.push(LogEnd::of_numbers(end)?);
                }
            }
            Kind::Deleted => {
                self.deleted.extend(numbers.chunks_exact(2).map(|range| (range[0], range[1])));
            }
            _ => return Err("what is no part of a start stands in one"),
        }
        Ok(())
    }
}

/// A file that is not called a segment yet.
fn new_file(disk: &dyn Disk, number: u32, spare: Option<&str>) -> io::Result<Arc<dyn DiskFile>> {
    let path = new_path(number);
    match disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let Some(spare) = spare else { return disk.create(&path) };
    disk.rename(spare, &path)?;
    disk.open(&path)
}

impl LogEnd {
    fn numbers(&self) -> [u64; 5] {
        [self.log.0, self.head.0, self.oldest.0, self.writer.id, self.writer.sequence]
    }

    fn of_numbers(numbers: &[u64]) -> Result<LogEnd, &'static str> {
        let &[log, head, oldest, id, sequence] = numbers else {
            return Err("a log's end is cut off");
        };
        if head == 0 || head == u64::MAX || oldest == 0 || oldest > head + 1 {
            return Err("a log's end is before its beginning");
        }
        let writer = Writer { id, sequence };
        Ok(LogEnd { log: LogId(log), head: Revision(head), oldest: Revision(oldest), writer })
    }
}

/// Frames on their way into a file.
pub(crate) struct Out {
    file: Arc<dyn DiskFile>,
    place: Place,
    durable: u32,
    buffer: Vec<u8>,
    buffer_at: u64,
    room: Room,
}

impl Out {
    /// Behind `at`, up to which the file is durable as far as `durable`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, place: Place, at: u64, durable: u32, room: Room) -> Out {
        Out { file, place, durable, buffer: Vec::new(), buffer_at: at, room }
    }

    fn header(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(&self.place.header());
        debug_assert_eq!(self.buffer.len(), HEADER_BYTES);
        Ok(())
    }

    /// Adds a frame; returns where it begins and how long it is.
    pub(crate) fn frame(&mut self, facts: &Facts, payload: &[u8]) -> io::Result<(u32, u32)> {
        if self.buffer.len() >= WRITE_BYTES_MAX {
            self.flush()?;
        }
        let offset = self.buffer_at + self.buffer.len() as u64;
        let before = self.buffer.len();
        let facts = Facts { durable: self.durable, ..*facts };
        self.place.encode(offset, &facts, payload, &mut self.buffer);
        let too_far = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let bytes = u32::try_from(self.buffer.len() - before).map_err(too_far)?;
        Ok((u32::try_from(offset).map_err(too_far)?, bytes))
    }

    fn numbers<const N: usize>(&mut self, kind: Kind, all: impl Iterator<Item = [u64; N]>) -> io::Result<()> {
        let mut payload = Vec::new();
        for numbers in all {
            for number in numbers {
                payload.extend_from_slice(&number.to_le_bytes());
            }
            if payload.len() >= START_PAYLOAD_BYTES {
                self.frame(&Facts::plain(kind, 0), &payload)?;
                payload.clear();
            }
        }
        if !payload.is_empty() {
            self.frame(&Facts::plain(kind, 0), &payload)?;
        }
        Ok(())
    }

    /// Writes what is left and makes all of it durable. Returns where it ends, and the file's room.
    pub(crate) fn finish(&mut self) -> io::Result<(u64, Room)> {
        self.flush()?;
        if self.durable == 0 || !is_broken(Variant::SkipsSync) {
            self.file.sync()?;
        }
        Ok((self.buffer_at, self.room))
    }

    fn flush(&mut self) -> io::Result<()> {
        let end = self.buffer_at + self.buffer.len() as u64;
        self.room = self.room.reaching(&*self.file, end)?;
        self.file.write_at(self.buffer_at, &self.buffer)?;
        self.buffer_at = end;
        self.buffer.clear();
        Ok(())
    }
}

impl Room {
    /// What the file has already.
    fn of(file: &dyn DiskFile, segment_bytes: u64) -> io::Result<Room> {
        let step = segment_bytes.clamp(ROOM_STEP_BYTES_MIN, ROOM_STEP_BYTES_MAX);
        Ok(Room { end: file.bytes_len()?, step })
    }

    /// The file was cut off here.
    pub(crate) fn cut(self, end: u64) -> Room {
        Room { end: self.end.min(end), ..self }
    }

    /// Makes room in the file up to `end`, and ahead of it where the disk has it.
    pub(crate) fn reaching(self, file: &dyn DiskFile, end: u64) -> io::Result<Room> {
        if end <= self.end {
            return Ok(self);
        }
        let ahead = end.next_multiple_of(self.step);
        match file.allocate(ahead) {
            Err(error) if is_full(&error) => {
                file.allocate(end)?;
                Ok(Room { end, ..self })
            }
            allocated => allocated.map(|()| Room { end: ahead, ..self }),
        }
    }
}

/// The disk, or whoever's share of it, has no room: nothing is wrong with it otherwise.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
