//! Any manifest and chunks, behind their digests: an error, or a root that can be read, changed, undone and imaged.
//!
//! Input: the length (4, little-endian) and the bytes of a manifest, then those of each of its chunks in their order.
//! Checksum, addresses and lengths are made to fit, so that only what they protect is in question.
#![no_main]

use std::collections::HashMap;
use std::convert::Infallible;

use idhini_graph::{ChunkRef, ClassId, Digest, Image, Manifest, Root};
use idhini_model::{Change, Entry, EntryKind, Relationship, Revision, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut manifest = next(&mut rest).to_vec();
    manifest.truncate(manifest.len().saturating_sub(Digest::BYTES));
    manifest.extend(Digest::of(&manifest).0);
    let Ok(manifest) = Manifest::from_bytes(&manifest) else { return };
    let mut chunks = HashMap::new();
    let manifest = manifest.readdressed(|_| {
        let bytes = next(&mut rest);
        let chunk = ChunkRef { digest: Digest::of(bytes), bytes: bytes.len() as u64 };
        chunks.insert(chunk.digest, bytes);
        chunk
    });
    if let Ok((root, image)) = Image::open(manifest, 7, |chunk| chunks.get(&chunk.digest).ok_or(())) {
        exercise(&root, &image);
    }
});

fn next<'i>(input: &mut &'i [u8]) -> &'i [u8] {
    let Some((length, rest)) = input.split_first_chunk() else { return &[] };
    let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
    let (bytes, rest) = rest.split_at(length);
    *input = rest;
    bytes
}

/// Does what a replica would do with a root.
fn exercise(root: &Root, image: &Image) {
    let content = root.content();
    let mut relationships: Vec<Relationship> = Vec::new();
    for (class, of_class) in (0..).map(ClassId).zip(&content.classes) {
        assert_eq!(of_class.forward, of_class.reverse);
        for (resource, subject) in &of_class.forward {
            let relationship = root.relationship(class, *resource, *subject).expect("an edge");
            assert_eq!(root.edge_of(&relationship), Some((class, *resource, *subject)));
            relationships.push(relationship);
        }
    }
    let instant = Timestamp::from_seconds(1_900_000_000);
    let expired = relationships.iter().filter(|r| r.expires_at.is_some_and(|at| at <= instant)).count();
    assert_eq!(root.expired_edges((ClassId(0), 0, 0), instant).count(), expired);

    let mut gone = root.clone();
    let kind = EntryKind::Relationships(relationships.into_iter().map(Change::Deleted).collect());
    let all = Entry { revision: root.revision().next(), kind };
    gone.apply(&all).expect("all relationships can be deleted");
    assert_eq!(gone.relationship_count(), 0);
    let mut written = HashMap::new();
    let next = image.write_next(&gone, Revision(0), |digest, bytes| {
        written.insert(*digest, bytes.to_vec());
        Ok::<(), Infallible>(())
    });
    assert!(next.is_ok());
    gone.undo(&all).expect("what was applied can be undone");
    assert_eq!(gone.content(), content);

    written.clear();
    let again = Image::write(root, Revision(0), |digest, bytes| {
        written.insert(*digest, bytes.to_vec());
        Ok::<(), Infallible>(())
    });
    let Ok(again) = again;
    let opened = Image::open(again.manifest().clone(), 8, |chunk| written.get(&chunk.digest).ok_or(()));
    assert_eq!(opened.expect("what was written can be opened").0.content(), content);
}
