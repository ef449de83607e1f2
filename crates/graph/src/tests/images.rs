//! Images: what is opened is what was written, goes on like it, and no damage passes for an image.

use std::collections::BTreeMap;
use std::convert::Infallible;

use idhini_model::Revision;
use proptest::collection::vec;
use proptest::prelude::*;

use super::log::{Command, Run, command};
use crate::{ApplyError, Content, Digest, Image, Manifest, OpenError, Root};

/// Chunks as a directory would keep them.
#[derive(Debug, Clone, Default)]
struct Kept(BTreeMap<Digest, Vec<u8>>);

impl Kept {
    fn sink(&mut self) -> impl FnMut(&Digest, &[u8]) -> Result<(), Infallible> {
        |digest, bytes| {
            assert_eq!(Digest::of(bytes), *digest);
            assert!(self.0.insert(*digest, bytes.to_vec()).is_none(), "a chunk is written twice");
            Ok(())
        }
    }

    fn write(&mut self, root: &Root, floor: Revision) -> Image {
        self.0.clear();
        Image::write(root, floor, self.sink()).unwrap()
    }

    fn write_next(&mut self, before: &Image, root: &Root, floor: Revision) -> Image {
        let known = self.0.len() as u64;
        let image = before.write_next(root, floor, self.sink()).unwrap();
        assert_eq!(self.0.len() as u64, known + image.written().chunks);
        image
    }

    fn open(&self, manifest: &[u8]) -> Result<(Root, Image), OpenError<Missing>> {
        Image::open(Manifest::from_bytes(manifest)?, 7, |chunk| self.0.get(&chunk.digest).ok_or(Missing))
    }

    /// Drops what the image does not need, as a replica that trims does.
    fn retain(&mut self, image: &Image) {
        let needed: Vec<Digest> = image.manifest().chunks().map(|chunk| chunk.digest).collect();
        self.0.retain(|digest, _| needed.contains(digest));
    }
}

#[derive(Debug)]
struct Missing;

/// What opening an image must give: the root, without the births below the floor.
fn expected(root: &Root, floor: Revision) -> Content {
    let mut root = root.clone();
    root.forget_undo_below(floor);
    root.content()
}

fn opened(kept: &Kept, image: &Image) -> (Root, Image) {
    let (root, image) = kept.open(&image.manifest().to_bytes()).unwrap();
    (root, image)
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
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn an_opened_image_is_the_imaged_root_and_goes_on_like_it(commands in vec(command(), 1..30), floor in floor()) {
        let mut run = Run::new();
        run.step(&Command::Schema(0));
        commands.iter().for_each(|command| run.step(command));
        let (mut kept, floor) = (Kept::default(), Revision(u64::from(floor)));
        let image = kept.write(&run.root, floor);
        prop_assert!(image.written().is_base);
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
