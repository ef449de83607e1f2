//! Image files of any bytes, behind their digests: what is good opens, is handed on chunk by chunk to a directory of
//! its own, and opens there to the same; anything else is refused with an error.
//!
//! Input: two files, the later one may refer to chunks of the earlier. Of each: how much it is after the one before (1),
//! then, each with its length before it (2, little-endian), its chunks, the moment it was written at, its manifest
//! and the places of the manifest's chunks. Head, lengths and digests are made to fit. Two bytes behind both
//! say which byte of the last file is changed how, which must be noticed or say nothing.
#![no_main]

use std::io;
use std::sync::Arc;

use idhini_changelog::LogId;
use idhini_fuzz::image_file::{LOG, parts, path};
use idhini_model::Revision;
use idhini_replica::{ImageFileError, Images, Report};
use idhini_testkit::disk::FaultDisk;
use libfuzzer_sys::fuzz_target;

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
