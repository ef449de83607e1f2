//! Image files that fit: the length of every part stands before it, and head, lengths and digests are made right.

use idhini_changelog::LogId;
use idhini_graph::{ChunkRef, Digest, Manifest};
use idhini_testkit::disk::FaultDisk;

/// The log that they are of.
pub const LOG: LogId = LogId(1);

const ROW_BYTES: usize = 16;

/// A file as the input has it.
pub struct Parts<'i> {
    pub revision: u64,
    chunks: &'i [u8],
    moment: &'i [u8],
    manifest: &'i [u8],
    rows: &'i [u8],
}

fn next<'i>(rest: &mut &'i [u8]) -> &'i [u8] {
    let Some((length, behind)) = rest.split_first_chunk() else { return &[] };
    let (bytes, behind) = behind.split_at(usize::from(u16::from_le_bytes(*length)).min(behind.len()));
    *rest = behind;
    bytes
}

/// The next file of an input.
pub fn parts<'i>(rest: &mut &'i [u8], after: u64) -> Option<Parts<'i>> {
    let (step, behind) = rest.split_first()?;
    *rest = behind;
    let revision = after + u64::from(*step);
    Some(Parts { revision, chunks: next(rest), moment: next(rest), manifest: next(rest), rows: next(rest) })
}

/// Where the image of a revision is.
pub fn path(revision: u64) -> String {
    format!("images/{:016x}/{revision:020}.image", LOG.0)
}

impl Parts<'_> {
    /// The file's bytes; those that it may refer to are on the disk.
    pub fn file(&self, disk: &FaultDisk) -> Vec<u8> {
        let mut file = [b"IDHIPACK".as_slice(), &2u32.to_le_bytes(), self.chunks].concat();
        let mut manifest = self.manifest.to_vec();
        manifest.truncate(manifest.len().saturating_sub(Digest::BYTES));
        manifest.extend(Digest::of(&manifest).0);
        // The chunks that the places point to are those that the manifest means.
        if let Ok(read) = Manifest::from_bytes(&manifest) {
            let mut rows = self.rows.chunks_exact(ROW_BYTES);
            let own = file.clone();
            let readdressed = read.readdressed(|chunk| {
                let place = rows.next().and_then(|row| self.place(row, &own, disk, chunk.bytes));
                place
                    .map_or(chunk, |bytes| ChunkRef { digest: Digest::of(&bytes), bytes: bytes.len() as u64 })
            });
            manifest = readdressed.to_bytes();
        }
        let mut tail = LOG.0.to_le_bytes().to_vec();
        let mut moment = self.moment.to_vec();
        moment.resize(28, 0);
        tail.extend(moment);
        tail.extend((manifest.len() as u64).to_le_bytes());
        tail.extend(manifest);
        tail.extend(self.rows);
        file.extend(&tail);
        file.extend((tail.len() as u64).to_le_bytes());
        file.extend(Digest::of(&tail).0);
        file
    }

    /// The bytes at a place of this file or of one that is there.
    fn place(&self, row: &[u8], own: &[u8], disk: &FaultDisk, length: u64) -> Option<Vec<u8>> {
        let (file, offset) = row.split_first_chunk::<8>()?;
        let offset = usize::try_from(u64::from_le_bytes(offset.try_into().ok()?)).ok()?;
        let file = u64::from_le_bytes(*file);
        let bytes = if file == self.revision { own.to_vec() } else { disk.bytes(&path(file))? };
        let end = offset.checked_add(usize::try_from(length).ok()?)?;
        Some(bytes.get(offset..end)?.to_vec())
    }
}
