//! Damaged images: nothing that is not what was written passes, and nothing that passes panics later.

use idhini_model::{Change, EntryKind, Revision};
use idhini_schema::SubjectKind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::images::{Kept, Missing, opened, varied};
use super::sketch::{changes, counter_entry, created, deleted, entry, rooted};
use crate::leaf::{ClassTally, LeafRef, Numbers, Spilled};
use crate::names::{Names, NamesBuilder};
use crate::tree::{Edit, Tree};
use crate::{ClassId, Digest, Image, ImageError, Manifest, OpenError, Root};

/// A small image with a patch, and its root.
fn small() -> (Kept, Image, Root) {
    let mut root = rooted();
    let texts = [
        "document:readme#viewer@user:tom",
        "document:readme#viewer@user:*",
        r#"document:plan#viewer@group:eng#member[only_on:{"day":1}]"#,
        "group:eng#member@user:tom[expiration:2030-01-01T00:00:00Z]",
    ];
    let entry = changes(&root, created(&texts));
    root.apply(&entry).unwrap();
    let mut kept = Kept::default();
    let image = kept.write(&root, Revision(0));
    let mut last = changes(&root, created(&["document:plan#viewer@user:ann"]));
    let EntryKind::Relationships(both) = &mut last.kind else { unreachable!() };
    both.extend(deleted(&[texts[2]]));
    root.apply(&last).unwrap();
    let image = kept.write_next(&image, &root, Revision(0));
    assert_eq!(image.manifest().patch_count(), 1);
    (kept, image, root)
}

/// The same with counters: an image with everything.
fn counted() -> (Kept, Image, Root) {
    let (mut kept, image, mut root) = small();
    for relation in ["viewer", "member"] {
        let entry = counter_entry(&root, &format!("{relation}s"), Some(relation));
        root.apply(&entry).unwrap();
    }
    let image = kept.write_next(&image, &root, Revision(0));
    assert_eq!((image.manifest().patch_count(), root.counters().len()), (1, 2));
    (kept, image, root)
}

/// Each damaged form of some bytes: every bit flipped, every end cut off, a byte more.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..8 * bytes.len()).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (0..bytes.len()).map(|end| bytes[..end].to_vec());
    flipped.chain(cut).chain([[bytes, &[0]].concat()])
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (kept, image, root) = counted();
    assert_eq!(opened(&kept, &image).0.content(), root.content());
    let manifest = image.manifest().to_bytes();
    for bytes in damaged(&manifest) {
        assert!(matches!(kept.open(&bytes), Err(OpenError::Image(_))));
    }
    for (digest, good) in &kept.0 {
        for bytes in damaged(good) {
            let mut kept = kept.clone();
            kept.0.insert(*digest, bytes);
            let refused = kept.open(&manifest).unwrap_err();
            let OpenError::Image(ImageError::ChunkDamaged { digest: named }) = refused else {
                panic!("{refused}");
            };
            assert_eq!(named, *digest);
        }
    }
}

#[test]
fn a_chunk_that_cannot_be_read_is_named() {
    let (mut kept, image, _) = small();
    let (digest, _) = kept.0.pop_last().unwrap();
    let refused = kept.open(&image.manifest().to_bytes()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreadable { digest: named, source: Missing } if named == digest));
}

#[test]
fn a_newer_format_is_refused_naming_both() {
    let (_, image, _) = small();
    let mut bytes = image.manifest().to_bytes();
    bytes[8] = 9;
    let refused = Manifest::from_bytes(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "the image has format 9; this release reads formats up to 2");
    assert_eq!(Manifest::from_bytes(b"something else").unwrap_err(), ImageError::NotAnImage);
}

#[test]
fn chunks_that_each_are_good_but_not_together_are_refused() {
    let (mut kept, image, _) = small();
    let (mut others, other, _) = {
        let root = varied();
        let mut kept = Kept::default();
        let image = kept.write(&root, Revision(0));
        (kept, image, root)
    };
    kept.0.append(&mut others.0);
    // Each chunk of one image in the place of each of the other: few fit, and no two roots come of one manifest.
    let manifest = image.manifest();
    let mut fitting = 0;
    for at in 0..manifest.chunks().count() {
        for strange in other.manifest().chunks() {
            let mut place = 0..;
            let mixed =
                manifest.clone().readdressed(|own| if place.next() == Some(at) { strange } else { own });
            if let Ok((root, _)) = kept.open(&mixed.to_bytes()) {
                exercise(&root);
                fitting += 1;
            }
        }
    }
    // Their catalogs are one chunk.
    assert_eq!(fitting, 1);
}

/// Does what a replica would do with a root.
pub(super) fn exercise(root: &Root) {
    let content = root.content();
    let mut relationships = Vec::new();
    for (class, of_class) in content.classes.iter().enumerate() {
        let class = ClassId(class as u32);
        assert_eq!(of_class.forward, of_class.reverse);
        for (resource, subject) in &of_class.forward {
            let relationship = root.relationship(class, *resource, *subject).unwrap();
            assert_eq!(root.edge_of(&relationship), Some((class, *resource, *subject)));
            relationships.push(relationship);
        }
    }
    assert_eq!(relationships.len() as u64, root.relationship_count());
    let mut gone = root.clone();
    let all = relationships.into_iter().map(Change::Deleted).collect();
    let all = entry(root, EntryKind::Relationships(all));
    gone.apply(&all).unwrap();
    assert_eq!(gone.relationship_count(), 0);
    let unused: u32 = content.types.iter().map(|of_type| of_type.objects.len() as u32).sum();
    assert_eq!(gone.unused_objects().len() as u32, unused);
    gone.undo(&all).unwrap();
    assert_eq!(gone.content(), content);
    let mut kept = Kept::default();
    let image = kept.write(root, Revision(0));
    assert_eq!(opened(&kept, &image).0.content(), content);
}

/// What is done to the bytes of a chunk.
#[derive(Debug, Clone)]
enum Blow {
    Set(u8),
    Flip(u8),
    Insert(u8),
    Remove,
    CutHere,
    /// Copies the bytes that lie so far before.
    Repeat(u8),
}

fn blows() -> impl Strategy<Value = Vec<(u16, u16, Blow)>> {
    let blow = prop_oneof![
        prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()].prop_map(Blow::Set),
        (0u8..8).prop_map(Blow::Flip),
        any::<u8>().prop_map(Blow::Insert),
        Just(Blow::Remove),
        Just(Blow::CutHere),
        (1u8..40).prop_map(Blow::Repeat),
    ];
    vec((any::<u16>(), any::<u16>(), blow), 1..4)
}

fn strike(bytes: &mut Vec<u8>, at: u16, blow: &Blow) {
    let at = usize::from(at) % bytes.len().max(1);
    match blow {
        _ if bytes.is_empty() => {}
        Blow::Set(byte) => bytes[at] = *byte,
        Blow::Flip(bit) => bytes[at] ^= 1 << bit,
        Blow::Insert(byte) => bytes.insert(at, *byte),
        Blow::Remove => {
            bytes.remove(at);
        }
        Blow::CutHere => bytes.truncate(at),
        Blow::Repeat(back) => {
            let from = at.saturating_sub(usize::from(*back));
            let copy = bytes[from..at].to_vec();
            bytes.splice(at..at, copy);
        }
    }
}

/// The image with some chunks struck, and digests that fit what they are now.
fn struck(kept: &Kept, image: &Image, blows: &[(u16, u16, Blow)]) -> (Kept, Vec<u8>) {
    let mut kept = kept.clone();
    let mut manifest = image.manifest().clone();
    for (chunk, at, blow) in blows {
        let chunks: Vec<_> = manifest.chunks().collect();
        let old = chunks[usize::from(*chunk) % chunks.len()];
        let mut bytes = kept.0[&old.digest].clone();
        strike(&mut bytes, *at, blow);
        let new = crate::ChunkRef { digest: Digest::of(&bytes), bytes: bytes.len() as u64 };
        kept.0.insert(new.digest, bytes);
        manifest = manifest.readdressed(|chunk| if chunk == old { new } else { chunk });
    }
    (kept, manifest.to_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn chunks_damaged_behind_their_digests_are_refused_or_make_a_sound_root(blows in blows()) {
        let (kept, image, _) = counted();
        let (kept, manifest) = struck(&kept, &image, &blows);
        if let Ok((root, _)) = kept.open(&manifest) {
            exercise(&root);
        }
    }

    #[test]
    fn manifests_damaged_behind_their_checksum_are_refused_or_make_a_sound_root(
        blows in blows()
    ) {
        let (kept, image, _) = counted();
        let bytes = image.manifest().to_bytes();
        let mut body = bytes[..bytes.len() - Digest::BYTES].to_vec();
        blows.iter().for_each(|(_, at, blow)| strike(&mut body, *at, blow));
        body.extend(Digest::of(&body).0);
        if let Ok((root, _)) = kept.open(&body) {
            exercise(&root);
        }
    }
}

proptest! {
    #[test]
    fn larger_chunks_damaged_behind_their_digests_are_refused_or_make_a_sound_root(
        blows in vec(blows(), 1..60)
    ) {
        let mut root = varied();
        let mut kept = Kept::default();
        let image = kept.write(&root, Revision(0));
        let entry = changes(&root, deleted(&["document:d3#viewer@user:u3"]));
        root.apply(&entry).unwrap();
        let image = kept.write_next(&image, &root, Revision(0));
        for blows in &blows {
            let (kept, manifest) = struck(&kept, &image, blows);
            if let Ok((root, _)) = kept.open(&manifest) {
                exercise(&root);
            }
        }
    }
}

/// What is wrong with a leaf of these words over one object, in a type with a plain class and a wildcard one, whose
/// subjects are `0`, `1` and the wildcard with number 2.
fn wrong(words: &[u32], spilled: &[Spilled]) -> Option<&'static str> {
    let mut names = Names::new(1);
    for id in ["0", "1", "*"] {
        names.insert(names.hash(id), id);
    }
    let kinds = [SubjectKind::Object, SubjectKind::Wildcard];
    let tally = |(class, kind)| ClassTally::new(1, class, Numbers::of_subjects(kind, &names), true);
    let mut tallies: Vec<ClassTally> = (0..).zip(&kinds).map(tally).collect();
    LeafRef { words, spilled, bits: 0 }.check(4, 5, &mut tallies).err()
}

#[test]
fn each_way_in_which_a_leaf_can_be_wrong_is_noticed() {
    let edge = |class: u32, number: u32| class << 26 | number;
    let mut numbers = Tree::new();
    numbers.update(&[Edit::Put(0)]);
    let spilled = |class| [Spilled { slot: 0, class, numbers: numbers.clone() }];
    assert_eq!(wrong(&[26, edge(0, 0), edge(0, 1), edge(1, 2)], &[]), None);
    assert_eq!(wrong(&[26, edge(1, 2)], &spilled(0)), None);
    for (words, runs, part) in [
        (&[26, edge(0, 1), edge(0, 0)][..], &[][..], "ascend"),
        (&[26, edge(0, 0), edge(0, 0)], &[], "ascend"),
        (&[26, edge(0, 2)], &[], "does not admit"),
        (&[26, edge(0, 3)], &[], "does not exist"),
        (&[26, edge(1, 1)], &[], "does not admit"),
        (&[26, edge(2, 0)], &[], "class that its type does not have"),
        (&[0, edge(0, 0)], &[], "class shift"),
        (&[32, edge(0, 0)], &[], "class shift"),
        (&[], &[], "rows"),
        (&[26, edge(0, 0)], &spilled(0), "both in its leaf and beside it"),
    ] {
        let found = wrong(words, runs).unwrap_or_default();
        assert!(found.contains(part), "{words:?}: {found}, not {part}");
    }
    // Row ends of a leaf over eight objects: they must not fall, nor pass the words, nor leave any out.
    for (ends, is_good) in [
        ([1, 1, 1, 1, 1, 1, 1, 2], true),
        ([1, 0, 1, 1, 1, 1, 1, 2], false),
        ([1, 1, 1, 1, 1, 1, 1, 3], false),
        ([1, 1, 1, 1, 1, 1, 1, 1], false),
    ] {
        let mut words = vec![26];
        words.extend(ends.chunks(2).map(|pair| pair[0] | pair[1] << 16));
        words.extend([edge(0, 0), edge(0, 0)]);
        let mut names = Names::new(1);
        names.insert(names.hash("0"), "0");
        let all = Numbers::all(&names);
        let leaf = LeafRef { words: &words, spilled: &[], bits: 3 };
        let checked = |objects_end| leaf.check(0, objects_end, &mut [ClassTally::new(1, 0, all, true)]);
        assert_eq!(checked(8).is_ok(), is_good, "{ends:?}");
        assert!(checked(7).is_err(), "a row of an object that does not exist");
    }
}

#[test]
fn each_way_in_which_ids_can_be_wrong_is_noticed() {
    fn block(starts: &[u16], ids: &[u8]) -> Vec<u8> {
        starts.iter().flat_map(|start| start.to_le_bytes()).chain(ids.iter().copied()).collect()
    }
    let build = |count, packed: &[u8]| {
        let mut builder = NamesBuilder::new(3);
        builder.push_block(count, packed)?;
        builder.finish(Vec::new())
    };
    let good = build(3, &block(&[0, 1, 3], "axyö".as_bytes())).unwrap();
    assert_eq!((good.id(0), good.id(1), good.id(2), good.number("xy")), ("a", "xy", "ö", Some(1)));
    for (count, starts, ids, part) in [
        (2, &[0, 1][..], &b"aa"[..], "same id"),
        (2, &[0, 2], b"a", "one after another"),
        (2, &[1, 1], b"ab", "one after another"),
        (3, &[0, 2, 1], b"abc", "one after another"),
        (2, &[0, 1], "ö".as_bytes(), "one after another"),
        (1, &[0], b"\xff", "UTF-8"),
        (1, &[0], &[b'a'; 1025], "too long"),
        (0, &[], b"", "one after another"),
        (65, &[0; 65], b"", "one after another"),
    ] {
        let found = build(count, &block(starts, ids)).err().unwrap_or_default();
        assert!(found.contains(part), "{ids:?}: {found}, not {part}");
    }
    let mut builder = NamesBuilder::new(3);
    builder.push_block(1, &block(&[0], b"a")).unwrap();
    assert!(builder.push_block(1, &block(&[0], b"b")).is_err(), "a block after one that is not full");
}
