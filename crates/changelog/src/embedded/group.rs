//! What is written together: batches, what the store itself has to say, and entries that move.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use idhini_model::Revision;
use tokio::sync::OwnedSemaphorePermit;

use super::begin::Out;
use super::format::{Facts, Kind, framed_bytes};
use super::index::{Location, Log};
use super::queue::Answer;
use crate::{AppendError, Batch, LogError, LogId, Record, Writer};

/// What is written together.
#[derive(Default)]
pub(super) struct Group {
    pub parts: Vec<Part>,
    /// Logs as they will be if the group is written.
    pub tentative: HashMap<LogId, Tentative>,
    /// Batches that the group's own batches are in the way of.
    pub late: Vec<(Answer<Revision, AppendError>, AppendError)>,
}

/// A log as it will be.
pub(super) struct Tentative {
    pub head: Revision,
    pub is_deleted: bool,
}

/// One thing of a group.
pub(super) enum Part {
    Batch {
        log: Arc<Log>,
        head: Revision,
        batch: Batch,
        answer: Option<Answer<Revision, AppendError>>,
        _room: OwnedSemaphorePermit,
    },
    Trim {
        log: LogId,
        below: Revision,
    },
    Delete {
        log: LogId,
        answer: Answer<(), LogError>,
    },
    Removed {
        segment: u32,
    },
    Move(Move),
    Closed,
}

/// An entry that is to stand elsewhere.
pub(super) struct Move {
    pub log: Arc<Log>,
    pub revision: Revision,
    pub writer: Writer,
    pub record: Record,
    pub from: Location,
}

impl Group {
    /// What it takes on disk.
    pub(super) fn framed_bytes(&self) -> u64 {
        self.parts.iter().map(Part::framed_bytes).sum()
    }

    /// Tells everyone that it was not written, or that nobody knows.
    pub(super) fn refuse(self, error: &Arc<io::Error>, is_open: bool) {
        let refusal = |is_open| match is_open {
            true => AppendError::Unknown { source: Arc::clone(error) },
            false => AppendError::Unavailable { source: Arc::clone(error) },
        };
        for part in self.parts {
            match part {
                Part::Batch { answer: Some(answer), .. } => drop(answer.send(Err(refusal(is_open)))),
                Part::Delete { answer, .. } => {
                    let source = Arc::clone(error);
                    let _ = answer.send(Err(LogError::Unavailable { source }));
                }
                _ => {}
            }
        }
        for (answer, _) in self.late {
            // Nothing of these was written.
            let _ = answer.send(Err(refusal(false)));
        }
    }
}

impl Part {
    fn framed_bytes(&self) -> u64 {
        let of_records = |records: &[Record]| -> u64 {
            let chunks = records.iter().flat_map(|record| &record.chunks);
            chunks.map(|chunk| framed_bytes(chunk.len()) as u64).sum()
        };
        match self {
            Part::Batch { batch, .. } => of_records(&batch.records),
            Part::Move(moved) => of_records(std::slice::from_ref(&moved.record)),
            Part::Trim { .. } | Part::Delete { .. } | Part::Removed { .. } | Part::Closed => {
                framed_bytes(0) as u64
            }
        }
    }

    /// Adds its frames; where its entries stand.
    pub(super) fn write(&self, segment: u32, out: &mut Out) -> io::Result<Vec<Location>> {
        let plain = |kind, log, revision| Facts { log, revision, ..Facts::plain(kind, 0) };
        let (facts, none) = match self {
            Part::Batch { log, head, batch, .. } => {
                let last = batch.records.len().saturating_sub(1);
                let entries = batch.records.iter().zip(head.0 + 1..).enumerate();
                let write = |(at, (record, revision))| {
                    let entry = EntryFrames {
                        log: log.id,
                        revision: Revision(revision),
                        writer: batch.writer,
                        record,
                        ends_batch: at == last,
                        is_relocated: false,
                    };
                    entry.write(segment, out)
                };
                return entries.map(write).collect();
            }
            Part::Move(moved) => {
                let entry = EntryFrames {
                    log: moved.log.id,
                    revision: moved.revision,
                    writer: moved.writer,
                    record: &moved.record,
                    ends_batch: true,
                    is_relocated: true,
                };
                return Ok(vec![entry.write(segment, out)?]);
            }
            Part::Trim { log, below } => (plain(Kind::Trim, *log, *below), Vec::new()),
            Part::Delete { log, .. } => (plain(Kind::Delete, *log, Revision(0)), Vec::new()),
            Part::Removed { segment } => {
                (plain(Kind::Removed, LogId(u64::from(*segment)), Revision(0)), Vec::new())
            }
            Part::Closed => (Facts::plain(Kind::Closed, 0), Vec::new()),
        };
        out.frame(&facts, &[])?;
        Ok(none)
    }
}

/// An entry on its way into a segment.
struct EntryFrames<'a> {
    log: LogId,
    revision: Revision,
    writer: Writer,
    record: &'a Record,
    ends_batch: bool,
    is_relocated: bool,
}

impl EntryFrames<'_> {
    fn write(&self, segment: u32, out: &mut Out) -> io::Result<Location> {
        let mut location = Location { segment, offset: 0, bytes: 0 };
        let last = self.record.chunks.len().saturating_sub(1);
        for (at, chunk) in self.record.chunks.iter().enumerate() {
            let facts = Facts {
                kind: Kind::Entry,
                is_last_chunk: at == last,
                ends_batch: at == last && self.ends_batch,
                is_relocated: self.is_relocated,
                durable: 0,
                chunk: u32::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?,
                log: self.log,
                revision: self.revision,
                writer: self.writer,
            };
            let (offset, bytes) = out.frame(&facts, chunk)?;
            if at == 0 {
                location.offset = offset;
            }
            location.bytes += bytes;
        }
        Ok(location)
    }
}
