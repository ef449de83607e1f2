//! Sinks that hang: found in their time, passed over, and used again when they answer.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::faulty::{FaultyFolder, Mood};
use super::fuller::{over_rotated, until, verified};
use super::{World, done, wait};
use crate::outlet::{Outlet, Stream, Take};
use crate::sink::Ability;
use crate::trail::{OpenError, Settled, Trail};

fn world() -> World {
    let mut world = World::new();
    world.options.hang_ms_max = 60;
    world
}

#[test]
fn a_sink_that_hangs_is_passed_over_and_comes_back_by_itself() {
    let world = world();
    let (good, slow) = (FaultyFolder::new(), FaultyFolder::new());
    let trail = over_rotated(&world, &[&slow, &good], 1 << 20);
    slow.be(Mood::Hung);
    wait(async {
        for revision in 0..20 {
            let intent = trail.intent(world.event("WriteSchema")).await.unwrap();
            assert_eq!(intent.settle(done(revision)).await, Settled::Recorded);
        }
    });
    until("it is found", || matches!(trail.abilities()[0].1, Ability::Unable { .. }));
    slow.be(Mood::Well);
    until("it is back", || trail.abilities()[0].1 == Ability::Able);
    wait(async { trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(99)).await });
    trail.close();
    for folder in [&good, &slow] {
        let verified = verified(folder);
        assert_eq!((verified.fault, verified.open), (None, 0));
    }
    assert!(slow.text().contains("\"revision\":99,"));
}

#[test]
fn with_all_hung_calls_are_refused_in_time_and_their_late_records_say_so() {
    let world = world();
    let folder = FaultyFolder::new();
    let trail = over_rotated(&world, &[&folder], 1 << 20);
    wait(async {
        let begun = trail.intent(world.event("WriteSchema")).await.unwrap();
        folder.be(Mood::Hung);
        let limit = Duration::from_secs(5);
        let refused = tokio::time::timeout(limit, trail.intent(world.event("DeleteNamespace"))).await;
        refused.expect("a hung sink is not a hung server").unwrap_err();
        // From now on they are refused at once.
        let at_once =
            tokio::time::timeout(Duration::from_millis(50), trail.intent(world.event("WriteSchema")));
        at_once.await.expect("it is known to hang").unwrap_err();
        let settled = tokio::time::timeout(limit, begun.settle(done(1))).await;
        assert_eq!(settled.expect("the answer leaves"), Settled::Later);
        folder.be(Mood::Well);
        until("it is back", || trail.abilities()[0].1 == Ability::Able);
    });
    trail.close();
    let verified = verified(&folder);
    assert_eq!((verified.fault, verified.open), (None, 0), "{}", folder.text());
    let text = folder.text();
    assert!(text.contains("\"revision\":1,"), "{text}");
    let of_late = text.lines().filter(|line| line.contains("DeleteNamespace")).count();
    // It came into the file after all, with the outcome that nothing was done.
    assert!(of_late == 2 && text.contains("\"outcome\":\"refused\""), "{text}");
}

#[test]
fn a_call_that_goes_away_while_it_waits_leaves_an_outcome() {
    let world = world();
    let folder = FaultyFolder::new();
    let trail = over_rotated(&world, &[&folder], 1 << 20);
    folder.be(Mood::Hung);
    wait(async {
        let waiting = trail.intent(world.event("WriteSchema"));
        tokio::time::timeout(Duration::from_millis(5), waiting).await.unwrap_err();
    });
    folder.be(Mood::Well);
    trail.close();
    let verified = verified(&folder);
    assert_eq!((verified.fault, verified.open), (None, 0), "{}", folder.text());
}

/// The writing end of a FIFO that somebody has open and does not read.
#[derive(Debug)]
struct Fifo(OwnedFd);

impl Take for Fifo {
    fn take(&mut self, mut lines: &[u8]) -> std::io::Result<()> {
        while !lines.is_empty() {
            let written = rustix::io::write(&self.0, lines)?;
            lines = &lines[written..];
        }
        Ok(())
    }
}

#[test]
fn a_fifo_that_nobody_reads_hangs_and_refuses_nothing_of_another_sink() {
    let world = world();
    let path = world.scratch.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
    let reader = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let connect = move || Ok(Fifo(rustix::fs::open(&path, OFlags::WRONLY, Mode::empty())?));
    let fifo: Box<dyn Outlet> = Box::new(Stream::new("stdout", "run", connect));
    let outlets = vec![("fifo".to_owned(), true, fifo)];
    let trail = Trail::over(&world.options, world.surroundings(), "run", outlets).unwrap();
    wait(async {
        // The pipe takes some at first.
        let refused = loop {
            let limit = Duration::from_secs(10);
            match tokio::time::timeout(limit, trail.intent(world.event("WriteSchema"))).await {
                Ok(Ok(intent)) => drop(intent),
                Ok(Err(refused)) => break refused,
                Err(_) => panic!("a hung sink is not a hung server"),
            }
        };
        assert!(refused.to_string().contains("has not answered"), "{refused}");
    });
    assert!(!trail.close());
    drop(reader);
}

#[test]
fn a_trail_none_of_whose_sinks_opens_is_not_opened_and_does_not_hang() {
    let world = world();
    let path = world.scratch.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
    // Opening it blocks until somebody reads.
    let connect = move || Ok(Fifo(rustix::fs::open(&path, OFlags::WRONLY, Mode::empty())?));
    let fifo: Box<dyn Outlet> = Box::new(Stream::new("stdout", "run", connect));
    let opened =
        Trail::over(&world.options, world.surroundings(), "run", vec![("fifo".to_owned(), true, fifo)]);
    assert!(matches!(opened, Err(OpenError::NoSink(_))), "{opened:?}");
}

#[test]
fn calls_that_wait_together_share_a_sync() {
    let world = World::new();
    let folder = FaultyFolder::new();
    let trail = Arc::new(over_rotated(&world, &[&folder], 1 << 30));
    folder.be(Mood::Hung);
    wait(async {
        let calls: Vec<_> = (0..200)
            .map(|revision| {
                let (trail, event) = (Arc::clone(&trail), world.event("WriteSchema"));
                tokio::spawn(async move { trail.intent(event).await.unwrap().settle(done(revision)).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        folder.be(Mood::Well);
        for call in calls {
            assert_eq!(call.await.unwrap(), Settled::Recorded);
        }
    });
    trail.close();
    assert_eq!(verified(&folder).fault, None);
    assert!(folder.syncs() < 100, "{}", folder.syncs());
}
