//! The library: what an application that links it sees, in memory and on a disk.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod allocations;
mod answers;
mod concurrent;
mod directories;
mod past;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use idhini::{Idhini, Options, Relationship, ResourceRef, Revision, Snapshot, SubjectRef, Timestamp, Update};

const SCHEMA: &str = "use expiration
caveat office(hour int) { hour >= 9 && hour < 17 }
definition user {}
definition group {
  relation member: user | group#member
}
definition folder {
  relation parent: folder
  relation viewer: user | user:* | group#member
  permission view = viewer + parent->view
}
definition document {
  relation folder: folder
  relation viewer: user | user with office | user with expiration
  relation banned: user
  permission view = (viewer + folder->view) - banned
}
";

const RELATIONSHIPS: &[&str] = &[
    "group:eng#member@user:ann",
    "group:eng#member@group:interns#member",
    "group:interns#member@user:bob",
    "folder:handbook#viewer@group:eng#member",
    "folder:howto#parent@folder:handbook",
    "document:readme#folder@folder:howto",
    "document:readme#banned@user:bob",
    "document:readme#viewer@user:cleo[office]",
    "document:plan#viewer@user:ann[expiration:2026-01-01T00:00:00Z]",
];

/// A moment before anything expires, in seconds.
const BEFORE: i64 = 1_700_000_000;

/// A clock that tests turn.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicI64>);

impl Seconds {
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    fn options(&self) -> Options {
        let seconds = Arc::clone(&self.0);
        let clock = Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)));
        Options { clock, ..Options::default() }
    }
}

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("idhini-library-{}-{number}", std::process::id());
        Directory(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same in memory and in a directory, which must be held for as long as the handle.
fn in_memory_and_on_disk(act: impl Fn(&Idhini, &Seconds)) {
    let seconds = Seconds::default();
    seconds.set(BEFORE);
    let idhini = seconds.options().in_memory().unwrap();
    act(&filled(idhini), &seconds);
    let directory = Directory::new();
    seconds.set(BEFORE);
    let idhini = seconds.options().open(&directory.0).unwrap();
    act(&filled(idhini), &seconds);
}

fn filled(idhini: Idhini) -> Idhini {
    idhini.write_schema(SCHEMA).unwrap();
    touch(&idhini, RELATIONSHIPS);
    idhini
}

fn touch(idhini: &Idhini, texts: &[&str]) -> Revision {
    idhini.write(texts.iter().map(|text| Update::touch(relationship(text))).collect::<Vec<_>>()).unwrap()
}

fn relationship(text: &str) -> Relationship {
    text.parse().unwrap()
}

fn resource(text: &str) -> ResourceRef {
    text.parse().unwrap()
}

fn subject(text: &str) -> SubjectRef {
    text.parse().unwrap()
}

/// Whether the subject definitely has it.
fn has(snapshot: &Snapshot, object: &str, permission: &str, who: &str) -> bool {
    snapshot.check(&resource(object), permission, &subject(who)).unwrap().has()
}
