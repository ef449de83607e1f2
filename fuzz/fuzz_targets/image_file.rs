//! Image files of any bytes, behind their digests: what is good opens, is handed on chunk by chunk to a directory of
//! its own, and opens there to the same; anything else is refused with an error.
//!
//! Input: two files, the later one may refer to chunks of the earlier. Of each: how much it is after the one before (1),
//! then, each with its length before it (2, little-endian), its chunks, the moment it was written at, its manifest
//! and the places of the manifest's chunks. Head, lengths and digests are made to fit; so is a last byte, if it is odd,
//! not: then a byte of the last file is changed, which must be noticed or say nothing.
#![no_main]

use std::io;
use std::sync::Arc;

use idhini_changelog::LogId;
use idhini_graph::{ChunkRef, Digest, Manifest};
use idhini_model::Revision;
use idhini_replica::{ImageFileError, Images, Report};
use idhini_testkit::disk::FaultDisk;
use libfuzzer_sys::fuzz_target;

const LOG: LogId = LogId(1);
const ROW_BYTES: usize = 16;

/// A file as the input has it.
struct Parts<'i> {
    revision: u64,
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

fn parts<'i>(rest: &mut &'i [u8], after: u64) -> Option<Parts<'i>> {
    let (step, behind) = rest.split_first()?;
    *rest = behind;
    let revision = after + u64::from(*step);
    Some(Parts { revision, chunks: next(rest), moment: next(rest), manifest: next(rest), rows: next(rest) })
}

fn path(revision: u64) -> String {
    format!("images/{:016x}/{revision:020}.image", LOG.0)
}

impl Parts<'_> {
    fn file(&self, disk: &FaultDisk) -> Vec<u8> {
        let mut file = [b"IDHIPACK".as_slice(), &1u32.to_le_bytes(), self.chunks].concat();
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
        moment.resize(12, 0);
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

fn look(disk: &FaultDisk, log: LogId) -> Images {
    let report: Report = Arc::new(|_| {});
    Images::look(Arc::new(disk.clone()), log, report).expect("the disk is well")
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let disk = FaultDisk::new(1);
    let mut revision = 0;
    for _ in 0..2 {
        let Some(parts) = parts(&mut rest, revision) else { break };
        revision = parts.revision;
        let file = parts.file(&disk);
        disk.put(&path(revision), file);
    }
    let images = look(&disk, LOG);
    // Of another log it is not.
    disk.put(&path(revision).replace("0001/", "0002/"), disk.bytes(&path(revision)).unwrap_or_default());
    assert!(look(&disk, LogId(2)).facts().is_empty());
    for facts in images.facts() {
        let Ok(root) = images.verify(facts.revision) else { continue };
        assert_eq!((root.revision(), root.relationship_count()), (facts.revision, facts.relationships));
        let copy = FaultDisk::new(2);
        hand_on(&images, facts.revision, &look(&copy, LOG)).expect("a good image can be handed on");
        let again = look(&copy, LOG);
        let opened = again.verify(facts.revision).expect("what was handed on can be opened");
        assert_eq!(opened.content(), root.content());
        let [found] = again.facts()[..].to_vec().try_into().expect("one image");
        assert_eq!((found.written_at, found.files.len()), (facts.written_at, 1));
        assert_eq!(found.relationships, facts.relationships);
    }
    if let ([at, byte], Some(mut bytes)) = (rest, disk.bytes(&path(revision))) {
        let at = bytes.len() * usize::from(*at) / 256;
        bytes[at] ^= byte;
        let before = images.verify(Revision(revision)).map(|root| root.content()).ok();
        disk.put(&path(revision), bytes);
        if let Ok(after) = look(&disk, LOG).verify(Revision(revision)) {
            assert_eq!(Some(after.content()), before);
        }
    }
});

/// As a backup takes an image over.
fn hand_on(from: &Images, revision: Revision, to: &Images) -> Result<(), ImageFileError> {
    let (manifest, written_at) = from.manifest(revision)?;
    let has = to.has(&manifest)?;
    assert!(has.iter().all(|has| !has));
    let mut asked = std::collections::HashSet::new();
    let places: Vec<usize> = (0..)
        .zip(manifest.chunks())
        .filter(|(_, chunk)| asked.insert(chunk.digest))
        .map(|(at, _)| at)
        .collect();
    let mut chunks = Vec::new();
    from.chunks(revision, &places, |chunk| {
        chunks.push(chunk);
        true
    })?;
    let mut chunks = chunks.into_iter();
    let ends = || io::Error::from(io::ErrorKind::UnexpectedEof);
    to.adopt(&manifest, written_at, || chunks.next().ok_or_else(ends))
}
