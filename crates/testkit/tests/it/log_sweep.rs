//! Power cuts and failures at every write and sync of a workload of logs: what was acknowledged is there, what was
//! refused is not, what is unknown is there whole or not at all.
//!
//! Quick by default; `IDHINI_SWEEP_ACTS=2000` and `IDHINI_SWEEP_SEEDS=8` ask for the long run, which prints its counts.

#![allow(clippy::print_stdout, reason = "a long run says how long it was")]

use std::collections::BTreeSet;
use std::io::ErrorKind;

use idhini_changelog::embedded::{Listed, list};
use idhini_testkit::disk::Kind;
use idhini_testkit::rng::Rng;

use crate::log_workload::{Model, World};

/// Small, so that there are many of them.
const SEGMENT_BYTES: u64 = 6_000;

/// Changes between a power cut and the next, at most.
const SECOND_CUT_MAX: usize = 30;

fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// How long the workload is in changes of the disk, and what they are.
fn changes_of(seed: u64, acts: usize) -> u64 {
    let mut world = World::new(seed, SEGMENT_BYTES);
    world.disk.record();
    world.act(acts);
    let history = world.disk.history();
    let count = |kind| history.iter().filter(|operation| operation.kind == kind).count();
    let (writes, syncs) = (count(Kind::Write), count(Kind::Sync) + count(Kind::SyncDirectory));
    let Model { acknowledged, refused, .. } = world.model;
    println!(
        "seed {seed}: {acts} acts, {acknowledged} batches, {refused} refused, {writes} writes, {syncs} syncs"
    );
    world.open().unwrap();
    world.verify().unwrap();
    world.disk.changes()
}

/// What is wrong after the power was cut at this change.
pub fn after_cut(seed: u64, acts: usize, change: u64, cut_seed: u64) -> Result<(), String> {
    let mut world = World::new(seed, SEGMENT_BYTES);
    world.disk.cut_power_at(change);
    world.act(acts);
    world.disk.cut_power();
    let mut world = world.after_power_cut(cut_seed);
    world.open().map_err(|error| error.to_string())?;
    world.verify()?;
    // Another cut while the store finds its way back, or soon after.
    let mut rng = Rng::new(cut_seed);
    world.disk.cut_power_at(world.disk.changes() + 1 + rng.below(SECOND_CUT_MAX) as u64);
    world.kill();
    world.act(20);
    world.disk.cut_power();
    let mut world = world.after_power_cut(cut_seed + 1);
    world.open().map_err(|error| format!("after a second cut: {error}"))?;
    world.verify().map_err(|what| format!("after a second cut: {what}"))?;
    world.goes_on()
}

/// What is wrong after some changes from this one on failed.
fn after_failures(seed: u64, acts: usize, change: u64, cut_seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(cut_seed);
    let mut world = World::new(seed, SEGMENT_BYTES);
    let count = 1 + rng.below(4) as u64;
    let error = *rng.pick(&[ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem]);
    world.disk.fail_changes(change..change + count, error);
    while world.disk.changes() < change + count && world.disk.changes() < change + 1000 {
        world.act(acts / 10 + 1);
    }
    world.disk.heal();
    world.act(10);
    if cut_seed.is_multiple_of(2) {
        world.disk.cut_power();
        world = world.after_power_cut(cut_seed);
    } else {
        world.kill();
    }
    world.open().map_err(|error| error.to_string())?;
    world.verify()?;
    world.goes_on()
}

#[test]
fn the_workload_does_everything_that_a_store_does() {
    let mut world = World::new(1, SEGMENT_BYTES);
    world.disk.record();
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        world.act(2);
        for segment in list(&world.disk).unwrap() {
            let each = |listed| {
                if let Listed::Frame { facts, .. } = listed {
                    seen.insert(format!("{:?}", facts.kind));
                    seen.extend(facts.is_relocated.then(|| "relocated".to_owned()));
                    seen.extend((facts.chunk > 0).then(|| "chunk".to_owned()));
                }
                true
            };
            segment.unwrap().each(each).unwrap();
        }
    }
    for expected in [
        "Begun",
        "Closed",
        "Delete",
        "Deleted",
        "Entry",
        "Logs",
        "Removed",
        "Segments",
        "Trim",
        "chunk",
        "relocated",
    ] {
        assert!(seen.contains(expected), "{expected} is not among {seen:?}");
    }
    let history = world.disk.history();
    let has = |kind, path: &str| {
        history.iter().any(|operation| operation.kind == kind && operation.path.ends_with(path))
    };
    assert!(has(Kind::Rename, ".spare") && has(Kind::Remove, ".segment") && has(Kind::SetLength, ".segment"));
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_that_was_acknowledged() {
    let acts = number_of("IDHINI_SWEEP_ACTS", 90);
    let seeds = number_of("IDHINI_SWEEP_SEEDS", 1) as u64;
    let (mut points, mut cuts) = (0, 0);
    let changes = changes_of(1, acts);
    for change in 1..=changes {
        points += 1;
        for seed in 0..seeds {
            let cut_seed = change * 1000 + seed;
            if let Err(what) = after_cut(1, acts, change, cut_seed) {
                panic!("seed 1, cut at change {change}, cut seed {cut_seed}: {what}");
            }
            cuts += 1;
        }
    }
    println!("{acts} acts, {points} points, {cuts} power cuts and as many second ones, 0 violations");
    assert!(points >= 300, "only {points} points");
}

#[test]
fn failures_of_any_change_lose_nothing_and_pass() {
    let acts = number_of("IDHINI_SWEEP_ACTS", 90);
    let seeds = number_of("IDHINI_SWEEP_SEEDS", 1) as u64;
    let changes = changes_of(2, acts);
    for change in 1..=changes {
        for seed in 0..seeds {
            let cut_seed = change * 1000 + seed;
            if let Err(what) = after_failures(2, acts, change, cut_seed) {
                panic!("seed 2, failures from change {change} on, cut seed {cut_seed}: {what}");
            }
        }
    }
    println!("{acts} acts, failures from each of {changes} changes on, {seeds} each, 0 violations");
}

/// Stores that break one rule each must be caught by far fewer cuts than the sweep has.
#[cfg(feature = "broken")]
#[test]
fn broken_stores_are_all_caught() {
    use idhini_changelog::embedded::broken::{VARIANTS, break_with};
    use std::panic;

    assert!(VARIANTS.len() >= 3);
    panic::set_hook(Box::new(|_| {}));
    let mut outcomes = Vec::new();
    for variant in VARIANTS {
        break_with(Some(*variant));
        let caught = (1..400).find_map(|change| {
            let cut = panic::catch_unwind(|| after_cut(1, 120, change, change * 1000));
            match cut {
                Ok(outcome) => outcome.err().map(|what| (change, what)),
                Err(_) => Some((change, "it panicked".to_owned())),
            }
        });
        break_with(None);
        outcomes.push((variant, caught));
    }
    let _ = panic::take_hook();
    for (variant, caught) in outcomes {
        let (change, what) = caught.unwrap_or_else(|| panic!("{variant:?} was not caught"));
        println!("{variant:?}: cut at change {change}: {what}");
    }
}

#[test]
fn workloads_without_failures_answer_as_the_model_does() {
    for seed in 10..20 {
        let mut world = World::new(seed, SEGMENT_BYTES);
        world.act(200);
        world.kill();
        world.open().unwrap();
        world.verify().unwrap();
        world.goes_on().unwrap();
        assert!(world.model.acknowledged > 100 && world.model.refused > 0 && world.model.unknown == 0);
    }
}
