//! The end of an image's file: what does it say, and where are its chunks?

use std::collections::HashMap;
use std::io;

use idhini_changelog::Writer;
use idhini_graph::{Digest, Manifest};
use idhini_model::{Revision, Timestamp};

use super::facts::facts;
use super::pack::{Pack, read_exactly};
use super::{
    END_BYTES, FORMAT, HEAD_BYTES, ImageFacts, ImageFileError, Images, MAGIC, Place, WITHOUT_WRITER,
};

/// What an image's tail says.
pub(super) struct Tail {
    pub(super) manifest: Manifest,
    pub(super) places: HashMap<Digest, Place>,
    pub(super) facts: ImageFacts,
}

/// What an image says of the entry at its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastEntry {
    /// When it was written.
    pub(crate) written_at: Timestamp,
    /// Who appended it, if that is known.
    pub(crate) writer: Option<Writer>,
}

impl LastEntry {
    const BYTES: usize = 28;

    fn to_bytes(self) -> [u8; LastEntry::BYTES] {
        let Writer { id, sequence } = self.writer.unwrap_or(Writer { id: 0, sequence: 0 });
        let mut bytes = [0; LastEntry::BYTES];
        let fields = self.written_at.seconds().to_le_bytes().into_iter();
        let fields = fields.chain(self.written_at.nanos().to_le_bytes());
        let fields = fields.chain(id.to_le_bytes()).chain(sequence.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }
}

impl Images {
    /// The end of a file: the manifest, and where its chunks are.
    pub(super) fn finish(
        &self,
        pack: &mut Pack,
        manifest: &Manifest,
        places: &HashMap<Digest, Place>,
        last: LastEntry,
    ) -> io::Result<ImageFacts> {
        let manifest_bytes = manifest.to_bytes();
        let mut tail = Vec::with_capacity(16 + LastEntry::BYTES + manifest_bytes.len() + 16 * places.len());
        tail.extend(self.log.0.to_le_bytes());
        tail.extend(last.to_bytes());
        tail.extend((manifest_bytes.len() as u64).to_le_bytes());
        tail.extend(manifest_bytes);
        for chunk in manifest.chunks() {
            let Some(place) = places.get(&chunk.digest) else {
                return Err(io::Error::other(format!("chunk {} of the image was not written", chunk.digest)));
            };
            tail.extend(place.file.0.to_le_bytes());
            tail.extend(place.offset.to_le_bytes());
        }
        let file_bytes = pack.finish(&tail)?;
        Ok(facts(manifest, places, file_bytes, last))
    }

    /// Reads it.
    pub(super) fn tail(&self, revision: Revision) -> Result<Tail, ImageFileError> {
        let path = self.path(revision);
        let disk_error = |source| self.unreadable(revision, &path, source);
        let damaged = |what: &str| self.damaged(revision, what);
        let file = self.disk.open(&path).map_err(disk_error)?;
        let file_bytes = file.bytes_len().map_err(disk_error)?;
        if file_bytes < HEAD_BYTES + END_BYTES {
            return Err(damaged("it is too short"));
        }
        let head = read_exactly(&*file, 0, HEAD_BYTES).map_err(disk_error)?;
        let Some((magic, format)) = head.split_first_chunk::<8>() else {
            return Err(damaged("it has no head"));
        };
        if magic != MAGIC {
            return Err(damaged("it does not begin as images do"));
        }
        let format = u32::from_le_bytes(format.try_into().unwrap_or_default());
        match format {
            WITHOUT_WRITER | FORMAT => {}
            found if found > FORMAT => return Err(ImageFileError::NewerFormat { path: path.clone(), found }),
            _ => return Err(damaged("its format is not one")),
        }
        let end = read_exactly(&*file, file_bytes - END_BYTES, END_BYTES).map_err(disk_error)?;
        let Some((length, digest)) = end.split_first_chunk::<8>() else {
            return Err(damaged("it has no end"));
        };
        let length = u64::from_le_bytes(*length);
        let Some(start) = (file_bytes - END_BYTES).checked_sub(length).filter(|start| *start >= HEAD_BYTES)
        else {
            return Err(damaged("its tail is longer than it"));
        };
        let bytes = read_exactly(&*file, start, length).map_err(disk_error)?;
        if Digest::of(&bytes).0[..] != *digest {
            return Err(damaged("its tail does not have its checksum"));
        }
        self.tail_of(&bytes, format, revision, file_bytes).map_err(|what| damaged(&what))
    }

    fn tail_of(
        &self,
        bytes: &[u8],
        format: u32,
        revision: Revision,
        file_bytes: u64,
    ) -> Result<Tail, String> {
        let short = || "its tail ends too soon".to_owned();
        let (log, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let (seconds, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (nanos, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (writer, rest) = match format {
            WITHOUT_WRITER => (&[0; 16], rest),
            _ => rest.split_first_chunk::<16>().ok_or_else(short)?,
        };
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        if u64::from_le_bytes(*log) != self.log.0 {
            return Err("it is of another log".to_owned());
        }
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (manifest, table) = rest.split_at_checked(length).ok_or_else(short)?;
        let manifest = Manifest::from_bytes(manifest).map_err(|error| error.to_string())?;
        if manifest.revision() != revision {
            return Err(format!("it is of revision {}", manifest.revision()));
        }
        let nanos = i64::from(u32::from_le_bytes(*nanos));
        let written_at =
            Timestamp::new(i64::from_le_bytes(*seconds), nanos).map_err(|error| error.to_string())?;
        let (rows, []) = table.as_chunks::<16>() else { return Err(short()) };
        let chunks: Vec<_> = manifest.chunks().collect();
        if rows.len() != chunks.len() {
            return Err(short());
        }
        let place = |row: &[u8; 16]| {
            let (file, offset) = two_numbers(*row);
            Place { file: Revision(file), offset }
        };
        let places = chunks.iter().map(|chunk| chunk.digest).zip(rows.iter().map(place)).collect();
        let last = LastEntry { written_at, writer: writer_of(*writer) };
        let facts = facts(&manifest, &places, file_bytes, last);
        Ok(Tail { manifest, places, facts })
    }
}

/// Batches are counted from 1.
fn writer_of(bytes: [u8; 16]) -> Option<Writer> {
    let (id, sequence) = two_numbers(bytes);
    (sequence > 0).then_some(Writer { id, sequence })
}

fn two_numbers(bytes: [u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, second @ ..] = bytes;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(second))
}
