//! Which frames stand in a segment file, one after the other? And is anything valid behind a damaged place?
//!
//! Reads in large blocks, one pass. Cost: a checksum of every byte; memory of one block or of the longest frame.

use std::io;
use std::sync::Arc;

use super::format::{
    ALIGNMENT_BYTES, FRAME_BYTES, FRAME_BYTES_MAX, Facts, Flaw, Frame, HEADER_BYTES, Kind, Place,
};
use super::index::Location;
use crate::disk::DiskFile;
use crate::{LogId, Writer};
use idhini_model::Revision;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Walks over the frames of a segment.
pub(crate) struct Scan {
    file: Arc<dyn DiskFile>,
    place: Place,
    /// Where the next frame begins.
    at: u64,
    /// Nothing is read from here on.
    end: u64,
    block: Vec<u8>,
    block_at: u64,
}

/// What stands at an offset.
pub(crate) enum Step<'a> {
    Frame { offset: u64, frame: Frame<'a> },
    End,
    Flawed { flaw: Flaw },
}

impl Scan {
    /// From `at` on, as far as `end`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, place: Place, at: u64, end: u64) -> Scan {
        Scan { file, place, at, end, block: Vec::new(), block_at: at }
    }

    /// Where the next frame begins, or where the last one was flawed.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The next frame. After [`Step::Flawed`] it stays where it is.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        if self.at >= self.end {
            return Ok(Step::End);
        }
        self.fill(FRAME_BYTES)?;
        // A frame that reaches beyond the block says how long it is.
        if let Err(Flaw::Short { needed }) = self.place.decode_length(self.at, self.rest()) {
            self.fill(needed)?;
        }
        let offset = self.at;
        let from = usize::try_from(offset - self.block_at).unwrap_or(usize::MAX);
        let rest = self.block.get(from..).unwrap_or_default();
        match self.place.decode(offset, rest) {
            Ok(frame) => {
                self.at += frame.bytes as u64;
                Ok(Step::Frame { offset, frame })
            }
            Err(flaw) => Ok(Step::Flawed { flaw }),
        }
    }

    /// The furthest offset that a valid frame behind the flawed one says was durable, and where that frame stands.
    ///
    /// Tries every place where a frame may begin, since the lengths in between are not to be trusted.
    pub(crate) fn proof_behind(&mut self) -> io::Result<Option<(u64, u64)>> {
        let mut found: Option<(u64, u64)> = None;
        let flawed_at = self.at;
        self.at += ALIGNMENT_BYTES as u64;
        while self.at + FRAME_BYTES as u64 <= self.end {
            self.fill(FRAME_BYTES)?;
            let zeros = self.rest().iter().take_while(|byte| **byte == 0).count() / ALIGNMENT_BYTES;
            if zeros > 1 {
                self.at += ((zeros - 1) * ALIGNMENT_BYTES) as u64;
                continue;
            }
            // Most places are refused by what they say, before any checksum.
            if !Place::may_prove(self.at, self.rest(), flawed_at) {
                self.at += ALIGNMENT_BYTES as u64;
                continue;
            }
            let is_cut = matches!(
                self.place.decode(self.at, self.rest()),
                Err(Flaw::Short { needed }) if self.at + needed as u64 <= self.end
            );
            if is_cut {
                self.fill(FRAME_BYTES_MAX)?;
            }
            match self.place.decode(self.at, self.rest()) {
                Ok(frame) => {
                    let durable = u64::from(frame.facts.durable);
                    let (at, bytes) = (self.at, frame.bytes as u64);
                    if durable > flawed_at && found.is_none_or(|(most, _)| durable > most) {
                        found = Some((durable, at));
                    }
                    self.at += bytes;
                }
                Err(_) => self.at += ALIGNMENT_BYTES as u64,
            }
        }
        self.at = flawed_at;
        Ok(found)
    }

    fn rest(&self) -> &[u8] {
        let from = usize::try_from(self.at - self.block_at).unwrap_or(usize::MAX);
        self.block.get(from..).unwrap_or_default()
    }

    /// Has `wanted` bytes from `at` on in the block, or all there are before the end.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let is_in_block = self.at >= self.block_at && self.rest().len() >= wanted.min(left);
        if is_in_block {
            return Ok(());
        }
        let bytes = wanted.max(BLOCK_BYTES).min(left);
        if self.block.len() < bytes {
            self.block = vec![0; bytes];
        }
        self.block.truncate(bytes);
        self.block_at = self.at;
        let read = self.file.read_at(self.at, &mut self.block)?;
        self.block.truncate(read);
        if read < bytes {
            self.end = self.at + read as u64;
        }
        Ok(())
    }
}

/// The header of a segment file, as far as the file is long enough for one.
pub(crate) fn header_bytes(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// An entry whose chunks all stand in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeEntry {
    pub log: LogId,
    pub revision: Revision,
    pub writer: Writer,
    pub location: Location,
    pub is_relocated: bool,
    pub ends_batch: bool,
}

/// Puts chunks together to entries.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    open: Option<WholeEntry>,
    chunks: u32,
}

impl Assembler {
    /// Whether an entry has begun and not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next frame, which is a chunk of an entry; the entry, if that was its last.
    pub(crate) fn take(
        &mut self,
        segment: u32,
        offset: u64,
        frame: &Frame<'_>,
    ) -> Result<Option<WholeEntry>, &'static str> {
        let Facts { kind, log, revision, writer, chunk, .. } = frame.facts;
        if kind != Kind::Entry {
            return Err("what is no chunk stands between the chunks of an entry");
        }
        let (Ok(offset), Ok(bytes)) = (u32::try_from(offset), u32::try_from(frame.bytes)) else {
            return Err("an entry stands further back than any may");
        };
        let mut entry = match self.open.take() {
            None if chunk == 0 => {
                self.chunks = 0;
                WholeEntry {
                    log,
                    revision,
                    writer,
                    location: Location { segment, offset, bytes: 0 },
                    is_relocated: frame.facts.is_relocated,
                    ends_batch: false,
                }
            }
            None => return Err("the first chunk of an entry is missing"),
            Some(entry) => {
                if (entry.log, entry.revision, entry.writer) != (log, revision, writer) {
                    return Err("an entry ends without its last chunk");
                }
                entry
            }
        };
        if chunk != self.chunks {
            return Err("a chunk of an entry is missing");
        }
        entry.location.bytes = entry.location.bytes.saturating_add(bytes);
        self.chunks = self.chunks.wrapping_add(1);
        if frame.facts.is_last_chunk {
            entry.ends_batch = frame.facts.ends_batch;
            return Ok(Some(entry));
        }
        self.open = Some(entry);
        Ok(None)
    }
}
