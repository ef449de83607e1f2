//! Sinks that fail: mutating calls are refused, nothing is half done, what was begun is recorded to its end.

use std::io;
use std::time::Duration;

use super::faulty::{FaultyFolder, Mood};
use super::{World, done, keys, wait};
use crate::event::Outcome;
use crate::file::FileOutlet;
use crate::outlet::{Outlet, Stream, Take};
use crate::reading::Line;
use crate::sink::Ability;
use crate::trail::{Settled, Trail, Unavailable};
use crate::verify::{Against, Verified, Verifier};

fn over(world: &World, folders: &[&FaultyFolder]) -> Trail {
    over_rotated(world, folders, 1 << 30)
}

pub(super) fn over_rotated(world: &World, folders: &[&FaultyFolder], rotate_bytes: u64) -> Trail {
    let outlets = folders.iter().enumerate().map(|(at, folder)| {
        let outlet = FileOutlet::new(Box::new((*folder).clone()), rotate_bytes, None);
        (format!("sink {at}"), true, Box::new(outlet) as Box<dyn Outlet>)
    });
    Trail::over(&world.options, world.surroundings(), "run", outlets.collect()).unwrap()
}

pub(super) fn verified(folder: &FaultyFolder) -> Verified {
    let public = keys().public();
    let mut verifier = Verifier::new(&public, Against::default());
    verifier.file("f");
    for (at, line) in folder.text().lines().enumerate() {
        verifier.line(&Line { number: at as u64 + 1, bytes: line.as_bytes(), has_end: true });
    }
    verifier.end()
}

fn count(folder: &FaultyFolder, kind: &str) -> usize {
    folder.text().matches(&format!("\"kind\":\"{kind}\"")).count()
}

/// Waits until something is so.
pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it never came that {what}");
}

fn is_able(trail: &Trail) -> bool {
    trail.abilities().iter().all(|(_, ability)| *ability == Ability::Able)
}

#[test]
fn a_full_disk_refuses_what_is_new_and_takes_the_outcome_of_what_was_begun() {
    let world = World::new();
    let folder = FaultyFolder::new();
    let trail = over(&world, &[&folder]);
    wait(async {
        let mut begun = Vec::new();
        for _ in 0..50 {
            begun.push(trail.intent(world.event("WriteRelationships")).await.unwrap());
        }
        folder.leave_room(0);
        let refused = loop {
            match trail.intent(world.event("WriteSchema")).await {
                Ok(intent) => begun.push(intent),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Unavailable::NoSink(_)), "{refused:?}");
        assert!(matches!(&trail.abilities()[0].1, Ability::Full { .. }));
        let intents = count(&folder, "intent");
        assert_eq!(intents, begun.len());
        for (revision, intent) in begun.into_iter().enumerate() {
            let why = "\"".repeat(5000);
            let outcome = match revision % 2 {
                0 => done(revision as u64),
                _ => Outcome::Refused { code: why.clone().into(), why: why.into() },
            };
            assert_eq!(intent.settle(outcome).await, Settled::Recorded, "{revision}");
        }
        assert_eq!(count(&folder, "outcome"), intents);
    });
    trail.decision(world.event("CheckPermission"), done(1));
    assert!(trail.close());
    // The end and its checkpoint have their room too.
    let verified = verified(&folder);
    assert_eq!((verified.fault, verified.open, verified.unsigned), (None, 0, 0));
    assert!(folder.text().contains("\"kind\":\"stop\""));
}

#[test]
fn a_disk_that_has_room_again_takes_records_again_and_says_what_is_missing() {
    let world = World::new();
    let folder = FaultyFolder::new();
    let trail = over(&world, &[&folder]);
    folder.leave_room(0);
    wait(async {
        while trail.intent(world.event("WriteSchema")).await.is_ok() {}
        for _ in 0..3 {
            trail.intent(world.event("WriteSchema")).await.unwrap_err();
        }
        folder.leave_room(1 << 30);
        until("there is room", || is_able(&trail));
        trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(1)).await;
    });
    trail.close();
    assert_eq!(verified(&folder).fault, None);
    let text = folder.text();
    assert!(text.contains("\"kind\":\"able\""), "{text}");
    assert!(text.contains("\"kind\":\"lost\"") && text.contains("\"changes\":"), "{text}");
}

#[test]
fn a_disk_that_breaks_in_the_middle_of_a_record_leaves_no_part_of_it() {
    for mood in [Mood::Broken, Mood::Unsynced] {
        let world = World::new();
        let folder = FaultyFolder::new();
        let trail = over(&world, &[&folder]);
        wait(async {
            trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(1)).await;
            let begun = trail.intent(world.event("WriteSchema")).await.unwrap();
            folder.be(mood);
            let refused = trail.intent(world.event("DeleteNamespace")).await;
            assert!(matches!(refused, Err(Unavailable::NoSink(_))), "{refused:?}");
            // What is done is done: the answer leaves, and the outcome is recorded when that can be.
            assert_eq!(begun.settle(done(2)).await, Settled::Later);
            folder.be(Mood::Well);
            until("it is well", || is_able(&trail));
            trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(3)).await;
        });
        trail.close();
        let verified = verified(&folder);
        assert_eq!((verified.fault, verified.open), (None, 0), "{mood:?}");
        assert_eq!(folder.text().matches("DeleteNamespace").count(), 0, "{mood:?}");
        assert!(folder.text().contains("\"revision\":2,") && folder.text().contains("\"revision\":3,"));
        assert!(!world.reports.lock().unwrap().is_empty());
    }
}

#[test]
fn of_two_sinks_one_is_enough() {
    let world = World::new();
    let (good, bad) = (FaultyFolder::new(), FaultyFolder::new());
    let trail = over(&world, &[&bad, &good]);
    bad.be(Mood::Broken);
    wait(async {
        for revision in 0..20 {
            let intent = trail.intent(world.event("WriteSchema")).await.unwrap();
            assert_eq!(intent.settle(done(revision)).await, Settled::Recorded);
        }
        good.be(Mood::Broken);
        trail.intent(world.event("WriteSchema")).await.unwrap_err();
        bad.be(Mood::Well);
        until("one is well", || trail.abilities()[0].1 == Ability::Able);
        trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(21)).await;
    });
    good.be(Mood::Well);
    trail.close();
    assert_eq!(verified(&good).fault, None);
    let of_bad = verified(&bad);
    assert_eq!((of_bad.fault, of_bad.open), (None, 0));
    assert!(bad.text().contains("\"changes\":"), "{}", bad.text());
    assert!(count(&good, "outcome") >= 20);
}

#[test]
fn what_was_taken_survives_a_power_cut() {
    let world = World::new();
    let folder = FaultyFolder::new();
    let trail = over_rotated(&world, &[&folder], 3000);
    wait(async {
        for revision in 0..30 {
            trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(revision)).await;
        }
        std::mem::forget(trail.intent(world.event("WriteSchema")).await.unwrap());
    });
    folder.cut_power();
    assert_eq!((count(&folder, "intent"), count(&folder, "outcome")), (31, 30));
    assert!(folder.text().lines().count() > 60);
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted_to_the_last() {
    let mut world = World::new();
    world.options.queue_records_max = 100;
    world.options.hang_ms_max = 40;
    let folder = FaultyFolder::new();
    let trail = over(&world, &[&folder]);
    folder.be(Mood::Hung);
    for _ in 0..10_000 {
        trail.decision(world.event("CheckPermission"), done(1));
    }
    folder.be(Mood::Well);
    trail.close();
    let text = folder.text();
    let counted = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        if value["kind"] == "lost" { value["decisions"].as_u64().unwrap_or(0) } else { 0 }
    };
    let lost: u64 = text.lines().map(counted).sum();
    assert_eq!(count(&folder, "decision") as u64 + lost, 10_000);
    assert!(lost >= 9_000, "{lost}");
    assert_eq!(verified(&folder).fault, None);
}

#[test]
fn decisions_for_a_sink_that_is_not_able_are_dropped_and_take_no_memory() {
    let mut world = World::new();
    world.options.hang_ms_max = 40;
    let folder = FaultyFolder::new();
    let trail = over(&world, &[&folder]);
    folder.be(Mood::Hung);
    trail.decision(world.event("CheckPermission"), done(1));
    until("it is found", || matches!(trail.abilities()[0].1, Ability::Unable { .. }));
    let before = world.event("CheckPermission");
    let arc = std::sync::Arc::clone(&before.actor);
    trail.decision(before, done(2));
    // Nobody holds it any more.
    assert_eq!(std::sync::Arc::strong_count(&arc), 1);
    folder.be(Mood::Well);
    until("it is back", || is_able(&trail));
    trail.close();
    assert!(!folder.text().contains("\"revision\":2,"), "{}", folder.text());
    assert!(folder.text().contains("\"decisions\":1"), "{}", folder.text());
}

#[test]
fn decisions_that_wait_are_bounded_by_their_bytes() {
    let mut world = World::new();
    world.options.hang_ms_max = 60_000;
    let folder = FaultyFolder::new();
    let trail = over(&world, &[&folder]);
    folder.be(Mood::Hung);
    let text: std::sync::Arc<str> = "x".repeat(4 << 20).into();
    for _ in 0..100 {
        let mut event = world.event("CheckBulkPermissions");
        event.details = vec![("questions".into(), crate::Detail::Text(text.clone()))];
        trail.decision(event, done(1));
    }
    folder.be(Mood::Well);
    trail.close();
    // 4 MiB each, about: some fifteen wait, and a batch is on its way.
    let (written, text) = (count(&folder, "decision"), folder.text());
    assert!((10..=24).contains(&written), "{written}");
    assert!(text.contains("\"kind\":\"lost\""));
    assert_eq!(verified(&folder).fault, None);
}

/// A pipe that somebody closes.
#[derive(Debug)]
struct Pipe(io::PipeWriter);

impl Take for Pipe {
    fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.0, lines)
    }
}

#[test]
fn a_pipe_that_is_closed_takes_nothing_and_mutating_calls_are_refused() {
    let world = World::new();
    let (reader, writer) = io::pipe().unwrap();
    let connect = move || Ok(Pipe(writer.try_clone()?));
    let outlet: Box<dyn Outlet> = Box::new(Stream::new("stdout", "run", connect));
    let outlets = vec![("pipe".to_owned(), true, outlet)];
    let trail = Trail::over(&world.options, world.surroundings(), "run", outlets).unwrap();
    wait(async {
        trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(1)).await;
        drop(reader);
        let refused = trail.intent(world.event("WriteSchema")).await.unwrap_err();
        assert!(refused.to_string().contains("pipe: "), "{refused}");
    });
}
