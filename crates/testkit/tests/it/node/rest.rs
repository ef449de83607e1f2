//! Bits that change while nothing runs: whatever is damaged, no reader gets a wrong answer.
//!
//! An image that is damaged is reported, and the one before is used. Two images may share a file, and the log may be
//! trimmed to the older of them: what is damaged there is refused, as a damaged log is.

use std::rc::Rc;

use idhini_testkit::disk::FaultDisk;
use idhini_testkit::rng::Rng;
use tokio::runtime::Runtime;

use super::running::runtime;
use super::sweep::number_of;
use super::world::{LOGS, Model, World};

/// What became of flipped bits.
#[derive(Debug, Default)]
struct Seen {
    /// Nothing was read that they stand in.
    harmless: u64,
    /// It was said, and another way was found.
    reported: u64,
    /// It was said, and nothing was opened.
    refused: u64,
}

/// What is read with one bit flipped; what is wrong, if anything.
fn with_flip(
    runtime: &Rc<Runtime>,
    (rest, model, before): (&FaultDisk, &Model, &Model),
    (path, bit): (&str, u64),
    seen: &mut Seen,
) -> Result<(), String> {
    let disk = rest.after_kill(1);
    disk.flip(path, bit);
    let mut world = World::on(runtime, disk, model.clone(), bit);
    world.may_lack_what_came_after(before);
    // A format that nobody has written is taken for a later one.
    let said = ["is damaged", "damaged:", "has format", "the identity is Err(Damaged", "the identity is Err(NewerFormat"];
    match world.open() {
        Err(what) if said.iter().any(|said| what.contains(said)) => {            seen.refused += 1;
            return Ok(());
        }
        opened => opened?,
    }
    let (mut is_refused, mut reports) = (false, Vec::new());
    for log in 1..=LOGS {
        match world.namespace(log) {
            Ok(Some(namespace)) => world.verify_namespace(log, &namespace)?,
            // The one before is needed, and the log does not go back to it.
            Err(what) if path.contains("images") && what.contains("no entry at revision") => is_refused = true,
            Ok(None) => return Err("the disk does nothing".to_owned()),
            Err(what) => return Err(what),
        }
        reports.extend(world.surroundings.reported());
    }
    let is_reported = reports.iter().any(|report| report.contains("an image cannot be used"));
    match (is_refused, is_reported) {
        (true, false) => return Err("it was refused, and nothing was reported".to_owned()),
        (true, true) => seen.refused += 1,
        (false, true) => seen.reported += 1,
        (false, false) => seen.harmless += 1,
    }
    Ok(())
}

#[test]
fn bits_that_change_at_rest_never_change_an_answer() {
    let (runtime, flips) = (Rc::new(runtime()), number_of("IDHINI_SWEEP_FLIPS", 60));
    let (mut of_images, mut of_logs, mut of_killed) = (Seen::default(), Seen::default(), Seen::default());
    for seed in 1..=2 {
        let mut world = World::new(&runtime, seed);
        world.act(120).unwrap();
        if !world.runs() {
            world.open().unwrap();
        }
        let before = world.model.clone();
        world.act_once().unwrap();
        let killed = world.disk.after_kill(seed);
        let model = world.model.clone();
        let mut world = World::on(&runtime, killed.after_kill(seed), model.clone(), seed);
        world.open().unwrap();
        world.verify().unwrap();
        world.writes().unwrap();
        world.close();
        let closed = world.disk.after_kill(seed);
        let mut rng = Rng::new(seed);
        let mut flip = |disk: &FaultDisk, directory: &str, model: &Model, before: &Model, seen: &mut Seen| {
            let mut paths = disk.paths();
            paths.retain(|path| path.starts_with(directory));
            let path = rng.pick(&paths).clone();
            let bytes = disk.bytes(&path).unwrap().len();
            if bytes == 0 {
                return;
            }
            let bit = rng.below(bytes * 8) as u64;
            if let Err(what) = with_flip(&runtime, (disk, model, before), (&path, bit), seen) {
                panic!("seed {seed}, bit {bit} of {path}: {what}");
            }
        };
        for _ in 0..flips {
            flip(&closed, "data/images", &world.model, &world.model, &mut of_images);
            flip(&closed, "data/", &world.model, &world.model, &mut of_logs);
            // The last group of a store that was killed cannot be told from one that was being written.
            flip(&killed, "data/log", &model, &before, &mut of_killed);
        }
    }
    println!("images {of_images:?}, all {of_logs:?}, the log of one that was killed {of_killed:?}");
    assert!(of_images.reported > 0 && of_logs.refused > 0 && of_killed.refused > 0);
}
