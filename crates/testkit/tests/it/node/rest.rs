//! Bits that change while nothing runs: whatever is damaged, no reader gets a wrong answer.
//!
//! An image that is damaged is reported, and one that shares no file with it is used. Where there is no other, and the log
//! is trimmed to it, what is damaged is refused, as a damaged log is.

#![allow(clippy::print_stdout, reason = "a long run says how long it was")]

use std::rc::Rc;
use std::sync::Arc;

use idhini_changelog::LogId;
use idhini_replica::Images;
use idhini_testkit::disk::FaultDisk;
use idhini_testkit::rng::Rng;
use tokio::runtime::Runtime;

use super::running::{Within, runtime};
use super::sweep::number_of;
use super::world::{DATA, LOGS, Model, World};

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
    let said = [
        "is damaged",
        "damaged:",
        "has format",
        "the identity is Err(Damaged",
        "the identity is Err(NewerFormat",
    ];
    match world.open() {
        Err(what) if said.iter().any(|said| what.contains(said)) => {
            seen.refused += 1;
            return Ok(());
        }
        opened => opened?,
    }
    let (mut is_refused, mut reports) = (false, Vec::new());
    for log in 1..=LOGS {
        match world.namespace(log) {
            Ok(Some(namespace)) => world.verify_namespace(log, &namespace)?,
            Err(what)
                if path.contains("images")
                    && what.contains("no entry at revision")
                    && !has_fallback(&rest.after_kill(1), log) =>
            {
                is_refused = true
            }
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

/// Whether the newest image of a log is not the only one on which nothing of it can be damaged too.
fn has_fallback(disk: &FaultDisk, log: u64) -> bool {
    let images = Images::look(Within::of(disk, DATA), LogId(log), Arc::new(|_: &str| ())).unwrap().facts();
    let Some((newest, before)) = images.split_last() else { return false };
    before.iter().any(|image| image.files.is_disjoint(&newest.files))
}

/// A node's disk at rest, with what must be there and what had to be there before the last act.
struct Rest {
    closed: (FaultDisk, Model),
    killed: (FaultDisk, Model, Model),
}

impl Rest {
    /// After so many acts: the process is killed, another finds its way, and closes.
    fn after(runtime: &Rc<Runtime>, seed: u64, acts: usize) -> Rest {
        let mut world = World::new(runtime, seed);
        world.act(acts).unwrap();
        // The last group is one of the last act that wrote to a log.
        let mut before = world.model.clone();
        while world.model.pasts.iter().all(|(log, past)| past.last().0 == before.pasts[log].last().0) {
            before = world.model.clone();
            world.act_once().unwrap();
        }
        let killed = world.disk.after_kill(seed);
        let model = world.model.clone();
        let mut world = World::on(runtime, killed.after_kill(seed), model.clone(), seed);
        world.open().unwrap();
        world.verify().unwrap();
        world.writes().unwrap();
        world.close();
        Rest { closed: (world.disk.after_kill(seed), world.model), killed: (killed, model, before) }
    }
}

/// A bit of any file of a directory.
fn bit_of(rng: &mut Rng, disk: &FaultDisk, directory: &str) -> (String, u64) {
    let mut paths = disk.paths();
    paths.retain(|path| {
        path.starts_with(directory) && disk.bytes(path).is_some_and(|bytes| !bytes.is_empty())
    });
    let path = rng.pick(&paths).clone();
    let bytes = disk.bytes(&path).map_or(0, |bytes| bytes.len());
    (path, rng.below(bytes * 8) as u64)
}

#[test]
fn bits_that_change_at_rest_never_change_an_answer() {
    let flips = number_of("IDHINI_SWEEP_FLIPS", 12);
    let states = number_of("IDHINI_SWEEP_STATES", 3) as u64;
    let runtime = Rc::new(runtime());
    let mut seen = <[Seen; 3]>::default();
    for state in 1..=states {
        let mut rng = Rng::new(state);
        let acts = rng.between(60, 220);
        let Rest { closed: (closed, model), killed: (killed, of_killed, before) } =
            Rest::after(&runtime, state, acts);
        for _ in 0..flips {
            let cases = [
                ("data/images", (&closed, &model, &model)),
                ("data", (&closed, &model, &model)),
                // The last group of a store that was killed cannot be told from one that was being written.
                ("data/log", (&killed, &of_killed, &before)),
            ];
            for (case, ((directory, rest), seen)) in cases.into_iter().zip(&mut seen).enumerate() {
                let (path, bit) = bit_of(&mut rng, rest.0, directory);
                if let Err(what) = with_flip(&runtime, rest, (&path, bit), seen) {
                    panic!("seed {state}, {acts} acts, case {case}, bit {bit} of {path}: {what}");
                }
            }
        }
    }
    let [of_images, of_all, of_killed] = &seen;
    println!("{states} states, {flips} bits each: {of_images:?} in images");
    println!("{of_all:?} in all files, {of_killed:?} in the log of a store that was killed");
    assert!(of_images.reported > 0 && of_all.refused > 0 && of_killed.refused > 0);
}
