//! Power cuts, kills and failures at every change that a node makes to its disk: what was acknowledged is there, what was
//! refused is not, what is unknown is there whole or not at all, and images, backups and the past are good.
//!
//! The workload runs once, and the disk is kept as a power cut would leave it in the middle of each of its changes; each
//! of these is opened, compared with the model, written on, cut once more and compared again. Failures change what the
//! workload does, so each takes a run of its own, and those runs are short.
//!
//! Quick by default; `IDHINI_SWEEP_ACTS=2000`, `IDHINI_SWEEP_STEP=1` and `IDHINI_SWEEP_SEEDS=2` ask for the long run,
//! which prints its counts. `IDHINI_SWEEP_CHANGE` meets one change only.

#![allow(clippy::print_stdout, reason = "a long run says how long it was")]

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use idhini_testkit::disk::{Fork, Kind};
use idhini_testkit::rng::Rng;
use tokio::runtime::Runtime;

use super::breaking::{choose, chosen};
use super::running::runtime;
use super::world::{Model, World};

/// Changes between a power cut and the next, at most.
const SECOND_CUT_MAX: usize = 40;

/// Things done between the cuts, at most.
const SECOND_ACTS: usize = 12;

/// Things done until failures are over, at most: they come with changes, and some acts make none.
const FAILING_ACTS_MAX: usize = 600;

/// Each failure takes a run of its own.
const LONGEST_FAILING: usize = 200;

/// How much is swept.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub seed: u64,
    pub acts: usize,
    /// Every so many changes are met,
    pub step: u64,
    /// in so many ways each.
    pub ways: u64,
}

/// One act's forks, and what must be there in each.
type Work = (Vec<Fork>, Model);

pub fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What is wrong after the disk stopped in the middle of a change, and once more a little later.
fn after_cut(runtime: &Rc<Runtime>, fork: &Fork, model: &Model, cut_seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(cut_seed);
    let disk = match rng.chance(25) {
        true => fork.after_kill(cut_seed),
        false => fork.after_power_cut(cut_seed),
    };
    let mut world = World::on(runtime, disk, model.clone(), cut_seed);
    world.when_cut_during(fork.change);
    world.open()?;
    world.verify()?;
    if rng.chance(40) {
        world.kill();
    }
    world.disk.cut_power_at(world.disk.changes() + 1 + rng.below(SECOND_CUT_MAX) as u64);
    world.act(SECOND_ACTS).map_err(|what| format!("until a second cut: {what}"))?;
    world.disk.cut_power();
    let mut world = world.after_power_cut(!cut_seed);
    world.open().map_err(|what| format!("after a second cut: {what}"))?;
    world.verify().map_err(|what| format!("after a second cut: {what}"))?;
    world.goes_on().map_err(|what| format!("after a second cut: {what}"))
}

/// Takes work until there is none; returns how many cuts that were, or the first that went wrong.
fn work(received: &Mutex<Receiver<Work>>, extent: Extent) -> Result<u64, String> {
    let (runtime, mut cuts) = (Rc::new(runtime()), 0);
    loop {
        let Ok((forks, model)) = received.lock().unwrap().recv() else { return Ok(cuts) };
        for fork in &forks {
            for way in 0..extent.ways {
                let cut_seed = fork.change * 1_000 + way;
                after_cut(&runtime, fork, &model, cut_seed).map_err(|what| {
                    format!("{extent:?}, cut during change {}, cut seed {cut_seed}: {what}", fork.change)
                })?;
                cuts += 1;
            }
        }
    }
}

/// Runs a workload once, and meets it at its changes.
pub fn sweep(extent: Extent) -> Result<(World, u64, u64), String> {
    let mut world = World::new(&Rc::new(runtime()), extent.seed);
    // What went wrong is looked at again by itself.
    let only = number_of("IDHINI_SWEEP_CHANGE", 0) as u64;
    let is_wanted = move |change: u64| change.is_multiple_of(extent.step) && (only == 0 || only == change);
    world.disk.keep_forks(2, is_wanted);
    world.disk.record();
    let (sender, receiver) = sync_channel::<Work>(4);
    let receiver = Arc::new(Mutex::new(receiver));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = Arc::clone(&receiver);
            let chosen = chosen();
            thread::spawn(move || {
                choose(chosen);
                work(&receiver, extent)
            })
        })
        .collect();
    drop(receiver);
    let (mut points, mut done) = (0, Ok(()));
    for act in 0..extent.acts {
        done = world.act_once().map_err(|what| format!("{extent:?}, act {act}: {what}"));
        let forks = world.disk.take_forks();
        points += forks.len() as u64;
        // Whoever found something wrong takes no more.
        if done.is_err() || (!forks.is_empty() && sender.send((forks, world.model.clone())).is_err()) {
            break;
        }
    }
    drop(sender);
    let mut cuts = 0;
    for worker in workers {
        cuts += worker.join().unwrap_or_else(|_| Err("it panicked".to_owned()))?;
    }
    done?;
    Ok((world, points, cuts))
}

/// What is wrong after some changes from this one on failed.
pub fn after_failures(runtime: &Rc<Runtime>, seed: u64, change: u64, cut_seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(cut_seed);
    let mut world = World::new(runtime, seed);
    let count = 1 + rng.below(4) as u64;
    let error = *rng.pick(&[ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem]);
    world.disk.fail_changes(change..change + count, error);
    for _ in 0..FAILING_ACTS_MAX {
        if world.disk.changes() >= change + count {
            break;
        }
        world.act_once()?;
        world.serves()?;
        world.hold()?;
    }
    world.disk.heal();
    if world.runs() {
        world.writes().map_err(|what| format!("when the disk is well again: {what}"))?;
        world.serves()?;
    }
    world.act(6)?;
    let mut world = match rng.chance(50) {
        true => {
            world.disk.cut_power();
            world.after_power_cut(cut_seed)
        }
        false => world,
    };
    world.open()?;
    world.verify()?;
    world.goes_on()
}

/// How many changes a workload makes.
fn changes_of(runtime: &Rc<Runtime>, seed: u64, acts: usize) -> u64 {
    let mut world = World::new(runtime, seed);
    world.act(acts).unwrap();
    world.disk.changes()
}

#[test]
fn a_power_cut_at_any_change_of_a_node_loses_nothing_that_was_acknowledged() {
    let extent = Extent {
        seed: 1,
        acts: number_of("IDHINI_SWEEP_ACTS", 60),
        step: number_of("IDHINI_SWEEP_STEP", 2) as u64,
        ways: number_of("IDHINI_SWEEP_SEEDS", 1) as u64,
    };
    let (world, points, cuts) = sweep(extent).unwrap_or_else(|what| panic!("{what}"));
    let (acts, changes, history) = (extent.acts, world.disk.changes(), world.disk.history());
    let count = |kind| history.iter().filter(|operation| operation.kind == kind).count();
    let (writes, syncs) = (count(Kind::Write), count(Kind::Sync) + count(Kind::SyncDirectory));
    println!("seed 1: {acts} acts, {writes} writes, {syncs} syncs, {:?}", world.counts);
    println!(
        "{acts} acts, {changes} changes, {points} points, {cuts} cuts and as many second ones, 0 violations"
    );
    assert!(points >= 80 || std::env::var("IDHINI_SWEEP_CHANGE").is_ok(), "only {points} points");
}

#[test]
fn failures_of_any_change_of_a_node_lose_nothing_and_pass() {
    let acts = number_of("IDHINI_SWEEP_ACTS", 60).min(LONGEST_FAILING);
    let step = number_of("IDHINI_SWEEP_STEP", 8);
    let ways = number_of("IDHINI_SWEEP_SEEDS", 1) as u64;
    let changes = changes_of(&Rc::new(runtime()), 2, acts);
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            thread::spawn(move || {
                let runtime = Rc::new(runtime());
                for change in (1 + worker..=changes).step_by(2 * step) {
                    for way in 0..ways {
                        let cut_seed = change * 1_000 + way;
                        if let Err(what) = after_failures(&runtime, 2, change, cut_seed) {
                            panic!("seed 2, failures from change {change} on, cut seed {cut_seed}: {what}");
                        }
                    }
                }
            })
        })
        .collect();
    let is_good = workers.into_iter().map(thread::JoinHandle::join).all(|outcome| outcome.is_ok());
    assert!(is_good, "what is wrong was said before");
    println!("{acts} acts, failures from every {step} of {changes} changes on, {ways} each, 0 violations");
}
