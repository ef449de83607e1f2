//! What the sweeps rest on: that the workload does everything, that it answers as the model does when nothing fails, that
//! a disk that takes its time holds up nobody who reads, and that rules that are broken are caught.

#![allow(clippy::print_stdout, reason = "what caught a broken rule is worth knowing")]

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, LogId};
use idhini_model::Revision;
use idhini_replica::Images;
use idhini_testkit::disk::{FaultDisk, Kind};

use super::model::{Asked, Doing, State};
use super::requests::{Outcome, ask};
use super::running::{Surroundings, node, runtime};
use super::world::World;

/// What a workload of some hundred acts has to do.
const EXPECTED: &[&str] = &[
    "backup",
    "backup again",
    "backup too old",
    "changes nothing",
    "compaction",
    "counter registered",
    "counter taken away",
    "filtered delete",
    "first schema",
    "image removed",
    "import",
    "incremental image",
    "killed",
    "namespaces closed",
    "opened",
    "past revision read",
    "refused",
    "restore",
    "schema change that sweeps",
    "schema change with relationships",
    "store closed",
    "sweep",
    "trim",
    "whole image",
    "write",
    "write under a check",
    "relation set",
];

#[test]
fn the_workload_of_a_node_does_everything_and_answers_as_the_model_does() {
    let mut world = World::new(&Rc::new(runtime()), 3);
    world.disk.record();
    for act in 0..500 {
        world.act_once().unwrap_or_else(|what| panic!("act {act}: {what}"));
    }
    for expected in EXPECTED {
        let count = world.counts.get(expected).copied().unwrap_or(0);
        assert!(count > 0, "nothing of `{expected}`: {:?}", world.counts);
    }
    let history = world.disk.history();
    let count = |kind, path: &str| {
        history.iter().filter(|operation| operation.kind == kind && operation.path.contains(path)).count()
    };
    // A backup adopts images and entries while the namespaces that it is taken of are written.
    let of_backup = |path: &str| history.iter().position(|operation| operation.path.starts_with(path));
    let first = of_backup("backup/log").unwrap();
    let last = history.iter().rposition(|operation| operation.path.starts_with("backup/log")).unwrap();
    assert!(history[first..last].iter().any(|o| o.kind == Kind::Write && o.path.starts_with("data/log")));
    assert!(of_backup("backup/images").is_some() && of_backup("restored/images").is_some());
    assert!(count(Kind::Rename, ".spare") > 0 && count(Kind::Remove, "data/images") > 0);
    world.kill();
    world.open().unwrap();
    world.verify().unwrap();
    world.goes_on().unwrap();
}

#[test]
fn readers_are_served_while_a_sync_takes_its_time_and_see_the_write_when_it_is_durable() {
    let disk = FaultDisk::new(1);
    let directory: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = Arc::new(EmbeddedStore::open(Arc::clone(&directory), &LogOptions::new(7)).unwrap());
    let node = node(&disk, &directory, &Surroundings::new(1_000), &store, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let namespace = runtime.block_on(node.namespace(LogId(1))).unwrap();
    assert!(matches!(runtime.block_on(ask(&namespace, Asked::Schema(0))), Outcome::Done(1)));
    disk.hold(Kind::Sync);
    let updates = vec![(Doing::Touch, "document:d1#viewer@user:u1".parse().unwrap())];
    let asked = Asked::Write { updates, condition: None };
    let after = State { schema: Some(0), ..State::default() }.judge(&asked, 1_000).unwrap().pop().unwrap();
    let writing = runtime.spawn({
        let namespace = Arc::clone(&namespace);
        async move { ask(&namespace, asked).await }
    });
    disk.wait_until_held();
    thread::sleep(Duration::from_millis(20));
    assert!(!writing.is_finished(), "it is answered and not durable");
    let head = namespace.head();
    assert_eq!((head.revision(), head.root().relationship_count()), (Revision(1), 0));
    disk.release();
    assert!(matches!(runtime.block_on(writing).unwrap(), Outcome::Done(2)));
    super::compare::compare(&namespace.head(), &after).unwrap();
}

#[test]
fn images_that_go_leave_none_behind_that_lacks_a_file() {
    let disk = FaultDisk::new(1);
    let directory: Arc<dyn Disk> = Arc::new(disk.clone());
    let surroundings = Surroundings::new(1_000);
    let store = Arc::new(EmbeddedStore::open(Arc::clone(&directory), &LogOptions::new(7)).unwrap());
    let node = node(&disk, &directory, &surroundings, &store, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let namespace = runtime.block_on(node.namespace(LogId(1))).unwrap();
    let does = |asked| {
        let outcome = runtime.block_on(ask(&namespace, asked));
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        runtime.block_on(namespace.image()).unwrap();
    };
    let long = |n: usize| format!("document:{}{n}#viewer@user:u1", "l".repeat(900)).parse().unwrap();
    does(Asked::Schema(0));
    does(Asked::Import((0..100).map(long).collect()));
    for n in 100..104 {
        does(Asked::Import(vec![long(n)]));
    }
    let images = namespace.images().unwrap();
    assert!(images.facts().iter().any(|image| image.files.len() > 1), "none is continued");
    // Images from here on are whole: names are kept, and files are many times as long as what is in them.
    for n in 104..140 {
        does(Asked::Import(vec![long(n)]));
    }
    surroundings.seconds.store(2_000, Ordering::SeqCst);
    runtime.block_on(namespace.maintain()).unwrap();
    assert!(images.facts().len() < 20, "none has gone");
    for seed in 0..30 {
        let left: Arc<dyn Disk> = Arc::new(disk.after_power_cut(seed));
        let images = Images::open(left, LogId(1), surroundings.report()).unwrap();
        for image in images.facts() {
            images.verify(image.revision).unwrap_or_else(|error| panic!("cut seed {seed}: {error}"));
        }
    }
}

/// Rules that are broken must be caught by far fewer points than the sweep has.
#[cfg(feature = "broken")]
#[test]
fn broken_namespaces_and_stores_are_all_caught() {
    use std::panic;

    use super::breaking::{choose, variants};
    use super::sweep::{Extent, after_failures, sweep};

    panic::set_hook(Box::new(|_| {}));
    let mut outcomes = Vec::new();
    for variant in variants() {
        choose(Some(variant));
        let caught = panic::catch_unwind(|| {
            let by_cuts = |seed| sweep(Extent { seed, acts: 150, step: 9, ways: 1 }).err();
            let runtime = Rc::new(runtime());
            let by_failures = |change| after_failures(&runtime, 2, change, change * 1_000).err();
            by_cuts(1).or_else(|| (1..150).find_map(by_failures)).or_else(|| by_cuts(2))
        });
        choose(None);
        outcomes.push((variant, caught.unwrap_or_else(|_| Some("it panicked".to_owned()))));
    }
    let _ = panic::take_hook();
    let escaped: Vec<_> = outcomes.iter().filter(|(_, caught)| caught.is_none()).collect();
    assert!(escaped.is_empty(), "not caught: {escaped:?}");
    for (variant, caught) in outcomes {
        println!("{variant:?}: {}", caught.unwrap_or_default());
    }
}
