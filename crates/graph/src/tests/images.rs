//! Images: what is opened is what was written, goes on like it, and no damage passes for an image.

use std::collections::BTreeMap;
use std::convert::Infallible;

use idhini_model::{EntryKind, Revision};
use proptest::collection::vec;
use proptest::prelude::*;

use super::log::{Command, Run, command};
use super::sketch::{changes, counter_entry, created, deleted, entry, rooted, schema_entry};
use crate::{ApplyError, Content, Digest, Image, Manifest, OpenError, Root};

/// Chunks as a directory would keep them.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(pub(super) BTreeMap<Digest, Vec<u8>>);

impl Kept {
    fn sink(&mut self) -> impl FnMut(&Digest, &[u8]) -> Result<(), Infallible> {
        |digest, bytes| {
            assert_eq!(Digest::of(bytes), *digest);
            assert!(self.0.insert(*digest, bytes.to_vec()).is_none(), "a chunk is written twice");
            Ok(())
        }
    }

    pub(super) fn write(&mut self, root: &Root, floor: Revision) -> Image {
        self.0.clear();
        Image::write(root, floor, self.sink()).unwrap()
    }

    pub(super) fn write_next(&mut self, before: &Image, root: &Root, floor: Revision) -> Image {
        let known = self.0.len() as u64;
        let image = before.write_next(root, floor, self.sink()).unwrap();
        assert_eq!(self.0.len() as u64, known + image.written().chunks);
        image
    }

    pub(super) fn open(&self, manifest: &[u8]) -> Result<(Root, Image), OpenError<Missing>> {
        Image::open(Manifest::from_bytes(manifest)?, 7, |chunk| self.0.get(&chunk.digest).ok_or(Missing))
    }

    /// Drops what the image does not need, as a replica that trims does.
    pub(super) fn retain(&mut self, image: &Image) {
        let needed: Vec<Digest> = image.manifest().chunks().map(|chunk| chunk.digest).collect();
        self.0.retain(|digest, _| needed.contains(digest));
    }
}

#[derive(Debug)]
pub(super) struct Missing;

/// What opening an image must give: the root, without the births below the floor.
pub(super) fn expected(root: &Root, floor: Revision) -> Content {
    let mut root = root.clone();
    root.forget_undo_below(floor);
    root.content()
}

pub(super) fn opened(kept: &Kept, image: &Image) -> (Root, Image) {
    kept.open(&image.manifest().to_bytes()).unwrap()
}

/// Undoes the entries from the floor on, and applies them again, on both alike.
fn goes_on_alike(root: &Root, other: &Root, run: &Run, floor: Revision) {
    let (mut root, mut other) = (root.clone(), other.clone());
    root.forget_undo_below(floor);
    let undone = |entry: &&idhini_model::Entry| entry.revision <= run.root.revision();
    let from = (floor.0.max(1) - 1) as usize;
    let log: Vec<_> = run.log.iter().filter(undone).skip(from).collect();
    for entry in log.iter().rev() {
        root.undo(entry).unwrap();
        other.undo(entry).unwrap();
        assert_eq!(other.content(), root.content());
    }
    if let Some(before) = floor.0.checked_sub(2).and_then(|at| run.log.get(at as usize)) {
        let refused = other.undo(before).unwrap_err();
        assert!(matches!(refused, ApplyError::NotUndoable { .. }), "{refused}");
    }
    for entry in log {
        root.apply(entry).unwrap();
        other.apply(entry).unwrap();
    }
    assert_eq!(other.content(), root.content());
}

fn floor() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(0u8), 3 => 0u8..40]
}

fn stretches() -> impl Strategy<Value = Vec<(Vec<Command>, u8)>> {
    vec((vec(command(), 1..8), floor()), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn an_opened_image_is_the_imaged_root_and_goes_on_like_it(commands in vec(command(), 1..30), floor in floor()) {
        let mut run = Run::new();
        run.step(&Command::Schema(0));
        commands.iter().for_each(|command| run.step(command));
        let (mut kept, floor) = (Kept::default(), Revision(u64::from(floor)));
        let image = kept.write(&run.root, floor);
        prop_assert!(image.written().is_base);
        let floor = image.manifest().floor();
        let (root, again) = opened(&kept, &image);
        prop_assert_eq!(root.content(), expected(&run.root, floor));
        prop_assert_eq!(root.schema(), run.root.schema());
        prop_assert_eq!(again.manifest().to_bytes(), image.manifest().to_bytes());
        goes_on_alike(&run.root, &root, &run, floor);
    }

    #[test]
    fn a_chain_of_images_opens_at_each_link(stretches in stretches(), reopens in any::<u16>()) {
        let mut run = Run::new();
        run.step(&Command::Schema(0));
        let mut kept = Kept::default();
        let mut image = kept.write(&run.root, Revision(0));
        for (at, (commands, floor)) in stretches.iter().enumerate() {
            commands.iter().for_each(|command| run.step(command));
            let floor = Revision(u64::from(*floor));
            image = kept.write_next(&image, &run.root, floor);
            kept.retain(&image);
            let (root, again) = opened(&kept, &image);
            let floor = image.manifest().floor();
            prop_assert_eq!(root.content(), expected(&run.root, floor));
            goes_on_alike(&run.root, &root, &run, floor);
            // A replica that was started again goes on from the opened image, on the opened root.
            if reopens >> at & 1 == 1 {
                image = again;
                if reopens >> (15 - at) & 1 == 1 && floor == Revision(0) {
                    run.root = root;
                }
            }
        }
    }
}

/// A root with some of everything: long runs, attributes, several leaves and chunks.
pub(super) fn varied() -> Root {
    let mut root = rooted();
    let mut texts: Vec<String> =
        (0..300).map(|at| format!("document:d{at}#viewer@user:u{}", at % 90)).collect();
    texts.extend((0..150).map(|at| format!("document:d7#viewer@user:v{at}")));
    texts.extend((0..60).map(|at| format!("group:g{}#member@user:u{at}", at % 5)));
    texts.extend((0..40).map(|at| {
        let attributes = match at % 3 {
            0 => format!(r#"[only_on:{{"day":{},"deep":[{{"a":null}},true,"x"]}}]"#, at % 4),
            1 => format!("[expiration:2030-01-{:02}T00:00:00.5Z]", 1 + at % 28),
            _ => "[other][expiration:1969-01-01T00:00:00Z]".to_owned(),
        };
        format!("folder:f{at}#viewer@user:u{at}{attributes}")
    }));
    let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for part in parts.chunks(97) {
        let entry = changes(&root, created(part));
        root.apply(&entry).unwrap();
    }
    root
}

#[test]
fn a_small_change_makes_a_small_patch() {
    let mut root = varied();
    let mut kept = Kept::default();
    let image = kept.write(&root, Revision(0));
    assert!(image.manifest().chunks().count() > 40);
    let entry = changes(&root, deleted(&["document:d3#viewer@user:u3"]));
    root.apply(&entry).unwrap();
    let next = kept.write_next(&image, &root, Revision(0));
    assert!(!next.written().is_base);
    assert_eq!(next.written().chunks, 1);
    assert!(next.written().bytes < 16, "{}", next.written().bytes);
    assert_eq!(opened(&kept, &next).0.content(), root.content());
    // The image before is as good as it was.
    assert_eq!(opened(&kept, &image).0.revision(), image.manifest().revision());
}

#[test]
fn an_image_of_what_is_imaged_writes_nothing() {
    let root = varied();
    let mut kept = Kept::default();
    let image = kept.write(&root, Revision(0));
    let next = kept.write_next(&image, &root, Revision(0));
    assert_eq!((next.written().chunks, next.written().is_base), (0, false));
    let (opened, again) = opened(&kept, &image);
    assert_eq!(kept.write_next(&again, &opened, Revision(0)).written().chunks, 0);
}

#[test]
fn a_base_that_is_brought_up_to_date_keeps_the_chunks_under_which_nothing_changed() {
    let mut root = varied();
    let mut kept = Kept::default();
    let mut image = kept.write(&root, Revision(0));
    let whole: Vec<Digest> = image.manifest().chunks().map(|chunk| chunk.digest).collect();
    let mut images = 0;
    while images == 0 || !image.written().is_base {
        images += 1;
        let fresh = format!("group:g1#member@user:u{}", 60 + images);
        let entry = changes(&root, created(&[&fresh]));
        root.apply(&entry).unwrap();
        image = kept.write_next(&image, &root, Revision(0));
    }
    assert!(images > 1);
    let stays = image.manifest().chunks().filter(|chunk| whole.contains(&chunk.digest)).count();
    assert!(stays * 10 > whole.len() * 8, "{stays} of {}", whole.len());
    kept.retain(&image);
    assert_eq!(opened(&kept, &image).0.content(), root.content());
}

#[test]
fn a_renumbering_starts_a_new_base_of_the_types_that_it_touches() {
    let mut root = varied();
    let entry_of = changes(
        &root,
        deleted(&["folder:f0#viewer@user:u0[only_on:{\"day\":0,\"deep\":[{\"a\":null},true,\"x\"]}]"]),
    );
    root.apply(&entry_of).unwrap();
    let mut kept = Kept::default();
    let image = kept.write(&root, Revision(0));
    let whole: Vec<Digest> = image.manifest().chunks().map(|chunk| chunk.digest).collect();
    let removed = root.unused_objects();
    assert_eq!(removed.len(), 1);
    root.apply(&entry(&root.clone(), EntryKind::Renumbering { removed })).unwrap();
    let next = kept.write_next(&image, &root, Revision(0));
    assert!(next.written().is_base);
    let stays = next.manifest().chunks().filter(|chunk| whole.contains(&chunk.digest)).count();
    assert!(stays * 2 > whole.len(), "{stays} of {}", whole.len());
    kept.retain(&next);
    assert_eq!(opened(&kept, &next).0.content(), root.content());
}

#[test]
fn a_counter_takes_a_chunk_of_its_own_and_a_format_that_earlier_releases_refuse_by_name() {
    let format = |image: &Image| image.manifest().to_bytes()[8];
    let mut root = varied();
    let mut kept = Kept::default();
    let without = kept.write(&root, Revision(0));
    assert_eq!(format(&without), 1);
    let entries = [Some("viewer"), Some("member"), None].map(|relation| {
        let entry = counter_entry(&root, "some", relation);
        root.apply(&entry).unwrap();
        (entry, root.clone())
    });
    let mut before = without;
    for (entry, root) in &entries[..2] {
        let next = kept.write_next(&before, root, Revision(0));
        assert_eq!((next.written().chunks, next.written().is_base, format(&next)), (1, false, 2));
        assert!(next.written().bytes < 32, "{}", next.written().bytes);
        let (mut opened, again) = opened(&kept, &next);
        assert_eq!(opened.content(), root.content());
        assert_eq!(again.manifest().to_bytes(), next.manifest().to_bytes());
        opened.undo(entry).unwrap();
        opened.apply(entry).unwrap();
        assert_eq!(opened.content(), root.content());
        before = next;
    }
    // Without counters it is again what earlier releases open.
    let after = kept.write_next(&before, &entries[2].1, Revision(0));
    assert_eq!((after.written().chunks, format(&after)), (0, 1));
    assert_eq!(opened(&kept, &after).0.content(), entries[2].1.content());
}

#[test]
fn roots_without_entries_and_without_a_schema_have_images() {
    let mut kept = Kept::default();
    let image = kept.write(&Root::empty(), Revision(0));
    assert_eq!(opened(&kept, &image).0.content(), Root::empty().content());
    let mut root = varied();
    let entry = schema_entry(&root, "");
    root.apply(&entry).unwrap();
    let image = kept.write(&root, Revision(0));
    assert_eq!(opened(&kept, &image).0.content(), root.content());
    assert!(opened(&kept, &image).0.schema().is_none());
}

#[test]
fn what_the_sink_says_ends_the_writing() {
    let root = varied();
    let mut taken = 0;
    let refused = Image::write(&root, Revision(0), |_, _| {
        taken += 1;
        if taken == 5 { Err("full") } else { Ok(()) }
    });
    assert_eq!(refused.err(), Some("full"));
    assert_eq!(taken, 5);
}

#[test]
fn entries_below_the_floor_are_refused_to_be_undone() {
    let mut root = rooted();
    let entry_of = changes(&root, created(&["document:readme#viewer@user:tom"]));
    root.apply(&entry_of).unwrap();
    root.forget_undo_below(Revision(3));
    assert_eq!(root.undoable_from(), Revision(3));
    let refused = root.undo(&entry_of).unwrap_err();
    assert_eq!(refused, ApplyError::NotUndoable { found: Revision(2), oldest: Revision(3) });
    // What was given up does not come back by asking for less.
    root.forget_undo_below(Revision(1));
    assert_eq!(root.undoable_from(), Revision(3));
}

#[test]
fn addresses_are_printed_and_read() {
    let digest = Digest::of(b"some bytes");
    let text = digest.to_string();
    assert_eq!(text.parse(), Ok(digest));
    assert_eq!(text.len(), 64);
    for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), &format!("{}g", &text[1..]), ""] {
        assert_eq!(wrong.parse::<Digest>(), Err(crate::DigestError));
    }
}

#[test]
fn entries_that_were_undone_and_written_otherwise_are_a_patch_too() {
    let mut root = varied();
    let texts = ["group:fresh#member@user:fresh", "group:fresher#member@user:fresh"];
    let log = texts.map(|text| {
        let entry = changes(&root, created(&[text]));
        root.apply(&entry).unwrap();
        entry
    });
    let mut kept = Kept::default();
    let image = kept.write(&root, Revision(0));
    log.iter().rev().for_each(|entry| root.undo(entry).unwrap());
    // The same ids with the same numbers, all in one entry: the image knows of births later than this root.
    let both = changes(&root, created(&texts));
    root.apply(&both).unwrap();
    let next = kept.write_next(&image, &root, Revision(0));
    assert!(!next.written().is_base);
    assert_eq!(opened(&kept, &next).0.content(), root.content());
}

#[test]
fn a_run_that_returns_into_its_leaf_leaves_nothing_of_it_in_chunks_of_runs() {
    let mut root = rooted();
    let texts: Vec<String> = (0..60).map(|at| format!("group:all#member@user:u{at}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let entry = changes(&root, created(&texts));
    root.apply(&entry).unwrap();
    let mut kept = Kept::default();
    let mut image = kept.write(&root, Revision(0));
    // Only the last two stay: they lie in a chunk of which nothing was removed.
    let entry = changes(&root, deleted(&texts[..58]));
    root.apply(&entry).unwrap();
    let mut images = 0;
    while images == 0 || !image.written().is_base {
        let entry = changes(&root, created(&[&format!("document:d#viewer@user:v{images}")]));
        root.apply(&entry).unwrap();
        image = kept.write_next(&image, &root, Revision(0));
        images += 1;
    }
    kept.retain(&image);
    assert_eq!(opened(&kept, &image).0.content(), root.content());
}
