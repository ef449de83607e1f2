//! What do the bytes of a segment file mean? Headers and frames, to bytes and back.
//!
//! ```text
//! segment  = header, frame, frame, ...            numbers are little-endian
//! header   = magic 8 | version 4 | checksum 4 | store 8 | segment 4 | zero 4
//! frame    = checksum 4 | payload checksum 4 | payload length 4 | durable 4 | chunk 4 | kind 1 | flags 1 | zero 2
//!            | log 8 | revision 8 | writer 8 | sequence 8 | payload | zeros to a multiple of 8
//! ```
//!
//! # Invariants
//! * A frame's checksums cover the store's id, the segment's number and the frame's offset, then all of the frame: what
//!   was written elsewhere, or for a file before this one, is not valid here. The first covers what stands before the
//!   payload, so that a length is believed before what it measures is read.
//! * `durable` is the offset up to which this segment was known to be durable when the frame was written. What is
//!   damaged below the `durable` of any valid frame had been acknowledged.
//! * Decoding reads only the bytes it was given, and allocates nothing.
//!
//! Source: CRC-32C (Castagnoli), which finds every burst of up to 32 bits.

use idhini_model::Revision;

use crate::{CHUNK_BYTES_MAX, LogId, Writer};

/// The newest format that is written and read.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Bytes of a segment's header; its first frame follows.
pub(crate) const HEADER_BYTES: usize = 32;

/// Bytes of a frame before its payload.
pub(crate) const FRAME_BYTES: usize = 56;

/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT_BYTES: usize = 8;

/// Most bytes of a frame as it is on disk.
pub(crate) const FRAME_BYTES_MAX: usize = FRAME_BYTES + CHUNK_BYTES_MAX + ALIGNMENT_BYTES;

const MAGIC: &[u8; 8] = b"idhinlog";

/// Which segment a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The store's random id.
    pub store: u64,
    /// The segment's number.
    pub segment: u32,
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A chunk of an entry.
    Entry,
    /// Entries of `log` below `revision` are given up.
    Trim,
    /// `log` is deleted.
    Delete,
    /// Nothing in the segment that `log` numbers is needed any more; its file goes.
    Removed,
    /// The store was closed here.
    Closed,
    /// At the start of a segment: the segments before it that are needed, and where each ended.
    Segments,
    /// At the start of a segment: logs, their ends and who wrote last.
    Logs,
    /// At the start of a segment: ranges of deleted logs.
    Deleted,
    /// The start of the segment is complete.
    Begun,
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What it says.
    pub kind: Kind,
    /// The last chunk of its entry.
    pub is_last_chunk: bool,
    /// The last frame of its batch: with it the batch is valid.
    pub ends_batch: bool,
    /// Moved here from another segment; moves no head.
    pub is_relocated: bool,
    /// The offset up to which the segment was known to be durable when this was written.
    pub durable: u32,
    /// Which chunk of its entry, from 0.
    pub chunk: u32,
    /// The log it belongs to; the number of the segment in [`Kind::Removed`].
    pub log: LogId,
    /// The entry's place; the first kept in [`Kind::Trim`].
    pub revision: Revision,
    /// Who appended the batch.
    pub writer: Writer,
}

/// A valid frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub facts: Facts,
    pub payload: &'a [u8],
    /// With header and padding.
    pub bytes: usize,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("a frame of {needed} bytes is cut off")]
    Short { needed: usize },
    #[error("there is nothing but zeros")]
    Empty,
    #[error("a frame is longer than any may be")]
    TooLong,
    #[error("a frame is of no known kind")]
    UnknownKind,
    #[error("a checksum does not match")]
    Checksum,
    #[error("a frame claims that what follows it was durable")]
    DurableTooFar,
}

/// Why a file is no segment that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    Newer { found: u32 },
    NotASegment,
    Checksum,
}

const LAST_CHUNK: u8 = 1;
const ENDS_BATCH: u8 = 2;
const RELOCATED: u8 = 4;

const KINDS: [Kind; 9] = [
    Kind::Entry,
    Kind::Trim,
    Kind::Delete,
    Kind::Removed,
    Kind::Closed,
    Kind::Segments,
    Kind::Logs,
    Kind::Deleted,
    Kind::Begun,
];

impl Kind {
    /// From 1, so that zeros are no frame.
    fn code(self) -> u8 {
        self as u8 + 1
    }

    fn of_code(code: u8) -> Option<Kind> {
        KINDS.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl Facts {
    /// A frame that belongs to no entry.
    pub(crate) fn plain(kind: Kind, durable: u32) -> Facts {
        Facts {
            kind,
            is_last_chunk: true,
            ends_batch: true,
            is_relocated: false,
            durable,
            chunk: 0,
            log: LogId(0),
            revision: Revision(0),
            writer: Writer { id: 0, sequence: 0 },
        }
    }

    fn flags(&self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.is_last_chunk, LAST_CHUNK)
            | flag(self.ends_batch, ENDS_BATCH)
            | flag(self.is_relocated, RELOCATED)
    }
}

impl Place {
    /// What a checksum at this offset starts from.
    fn seed(self, offset: u64) -> u32 {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.store.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.segment.to_le_bytes());
        bytes[12..].copy_from_slice(&offset.to_le_bytes());
        crc32c::crc32c(&bytes)
    }

    /// The header of this segment.
    pub(crate) fn header(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.store.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.segment.to_le_bytes());
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Whose header this is. The version comes first: a newer format may differ in everything after it.
    pub(crate) fn of_header(bytes: &[u8]) -> Result<Place, HeaderFlaw> {
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().map_err(|_| HeaderFlaw::NotASegment)?;
        if &bytes[..8] != MAGIC {
            return Err(HeaderFlaw::NotASegment);
        }
        let found = u32_at(bytes, 8);
        if found > FORMAT_VERSION {
            return Err(HeaderFlaw::Newer { found });
        }
        if u32_at(bytes, 12) != header_checksum(bytes) || found != FORMAT_VERSION {
            return Err(HeaderFlaw::Checksum);
        }
        Ok(Place { store: u64_at(bytes, 16), segment: u32_at(bytes, 24) })
    }

    /// Adds a frame that will stand at `offset`.
    pub(crate) fn encode(self, offset: u64, facts: &Facts, payload: &[u8], into: &mut Vec<u8>) {
        let start = into.len();
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        into.extend_from_slice(&[0; 8]);
        for number in [length, facts.durable, facts.chunk] {
            into.extend_from_slice(&number.to_le_bytes());
        }
        into.extend_from_slice(&[facts.kind.code(), facts.flags(), 0, 0]);
        for number in [facts.log.0, facts.revision.0, facts.writer.id, facts.writer.sequence] {
            into.extend_from_slice(&number.to_le_bytes());
        }
        into.extend_from_slice(payload);
        into.resize(start + framed_bytes(payload.len()), 0);
        seal(self.seed(offset), &mut into[start..]);
    }

    /// Whether these bytes, which stand at `offset`, may be a frame that says that more than `durable` was durable.
    pub(crate) fn may_prove(offset: u64, bytes: &[u8], durable: u64) -> bool {
        let Some(header) = bytes.first_chunk::<FRAME_BYTES>() else { return false };
        let claimed = u64::from(u32_at(header, 12));
        claimed > durable && claimed <= offset && Kind::of_code(header[20]).is_some()
    }

    /// How long the frame is that stands at `offset`, where `bytes` begin with it. Its payload is not looked at.
    pub(crate) fn decode_length(self, offset: u64, bytes: &[u8]) -> Result<usize, Flaw> {
        let header: &[u8; FRAME_BYTES] = bytes.first_chunk().ok_or(Flaw::Short { needed: FRAME_BYTES })?;
        self.length(self.seed(offset), offset, header).and_then(|length| {
            let needed = framed_bytes(length);
            if needed <= bytes.len() { Ok(needed) } else { Err(Flaw::Short { needed }) }
        })
    }

    /// The length of a frame's payload, by a header whose checksum matches.
    fn length(self, seed: u32, offset: u64, header: &[u8; FRAME_BYTES]) -> Result<usize, Flaw> {
        if crc32c::crc32c_append(seed, &header[4..]) != u32_at(header, 0) {
            let is_empty = header.iter().all(|byte| *byte == 0);
            return Err(if is_empty { Flaw::Empty } else { Flaw::Checksum });
        }
        let length = usize::try_from(u32_at(header, 8)).unwrap_or(usize::MAX);
        if length > CHUNK_BYTES_MAX {
            return Err(Flaw::TooLong);
        }
        if u64::from(u32_at(header, 12)) > offset {
            return Err(Flaw::DurableTooFar);
        }
        Ok(length)
    }

    /// The frame that stands at `offset`, where `bytes` begin.
    pub(crate) fn decode(self, offset: u64, bytes: &[u8]) -> Result<Frame<'_>, Flaw> {
        let header: &[u8; FRAME_BYTES] = bytes.first_chunk().ok_or(Flaw::Short { needed: FRAME_BYTES })?;
        let seed = self.seed(offset);
        let length = self.length(seed, offset, header)?;
        let kind = Kind::of_code(header[20]).ok_or(Flaw::UnknownKind)?;
        let durable = u32_at(header, 12);
        let needed = framed_bytes(length);
        let frame = bytes.get(..needed).ok_or(Flaw::Short { needed })?;
        if crc32c::crc32c_append(seed, &frame[FRAME_BYTES..]) != u32_at(header, 4) {
            return Err(Flaw::Checksum);
        }
        let flags = header[21];
        let facts = Facts {
            kind,
            is_last_chunk: flags & LAST_CHUNK != 0,
            ends_batch: flags & ENDS_BATCH != 0,
            is_relocated: flags & RELOCATED != 0,
            durable,
            chunk: u32_at(header, 16),
            log: LogId(u64_at(header, 24)),
            revision: Revision(u64_at(header, 32)),
            writer: Writer { id: u64_at(header, 40), sequence: u64_at(header, 48) },
        };
        Ok(Frame { facts, payload: &frame[FRAME_BYTES..FRAME_BYTES + length], bytes: needed })
    }
}

/// What a payload of this length takes on disk.
pub(crate) fn framed_bytes(payload_bytes: usize) -> usize {
    (FRAME_BYTES + payload_bytes).next_multiple_of(ALIGNMENT_BYTES)
}

/// Puts a frame's checksums into it.
fn seal(seed: u32, frame: &mut [u8]) {
    let payload = crc32c::crc32c_append(seed, &frame[FRAME_BYTES..]);
    frame[4..8].copy_from_slice(&payload.to_le_bytes());
    let checksum = crc32c::crc32c_append(seed, &frame[4..FRAME_BYTES]);
    frame[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// Numbers of a payload, which holds nothing else.
pub(crate) fn numbers(payload: &[u8]) -> impl Iterator<Item = u64> + '_ {
    payload.chunks_exact(8).map(|bytes| u64_at(bytes, 0))
}

fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Makes every checksum of a segment's bytes right again, following the lengths that they claim: with this a fuzzer
/// gets past the checksums. Returns how many frames it mended.
#[cfg(feature = "forge")]
pub fn forge(segment: u32, bytes: &mut [u8]) -> usize {
    let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() else { return 0 };
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[24..28].copy_from_slice(&segment.to_le_bytes());
    let checksum = header_checksum(header);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    let place = Place { store: u64_at(header, 16), segment };
    let (mut at, mut mended) = (HEADER_BYTES, 0);
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= FRAME_BYTES) {
        let length = usize::try_from(u32_at(rest, 8)).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
        let Some(frame) = rest.get_mut(..framed_bytes(length)) else { break };
        seal(place.seed(at as u64), frame);
        at += frame.len();
        mended += 1;
    }
    mended
}

#[cfg(test)]
mod tests;
