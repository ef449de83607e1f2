//! A directory: kept, held by one at a time, and the server's own.

use std::fs;

use idhini::{Error, Idhini, Options, Update};

use super::{Directory, Seconds, filled, has, relationship, touch};

#[test]
fn what_was_written_is_there_again_whoever_wrote_it() {
    let directory = Directory::new();
    // Of a moment at which nothing is to be swept.
    let seconds = Seconds::default();
    seconds.set(super::BEFORE);
    let open = || seconds.options().open(&directory.0).unwrap();
    let written = {
        let idhini = filled(open());
        touch(&idhini, &["group:eng#member@user:zoe"])
    };
    for _ in 0..2 {
        let idhini = open();
        let snapshot = idhini.snapshot();
        assert_eq!(snapshot.revision(), written);
        assert!(has(&snapshot, "document:readme", "view", "user:zoe"));
        assert!(!has(&snapshot, "document:readme", "view", "user:bob"));
    }
    // The last handle has left an image: a start reads no log before it.
    let images = fs::read_dir(directory.0.join("images/0000000000000001")).unwrap();
    assert!(images.count() > 0);
}

#[test]
fn a_write_is_durable_when_it_returns() {
    let directory = Directory::new();
    let seconds = Seconds::default();
    seconds.set(super::BEFORE);
    let idhini = filled(seconds.options().open(&directory.0).unwrap());
    for n in 0..20 {
        let revision = touch(&idhini, &[&format!("group:eng#member@user:u{n}")]);
        // As if the machine went away now: what is on the disk, looked at without asking the handle.
        let copy = Directory::new();
        copy_all(&directory.0, &copy.0);
        let again = seconds.options().open(&copy.0).unwrap();
        assert_eq!(again.snapshot().revision(), revision);
        assert!(has(&again.snapshot(), "document:readme", "view", &format!("user:u{n}")));
    }
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &into);
        } else if entry.file_name() != "lock" {
            // One that goes meanwhile, as files under way do, is none that anything rests on.
            let _ = fs::copy(entry.path(), into);
        }
    }
}

#[test]
fn who_holds_a_directory_is_said() {
    let directory = Directory::new();
    let idhini = Idhini::open(&directory.0).unwrap();
    let refused = Idhini::open(&directory.0).unwrap_err();
    assert!(matches!(refused, Error::Directory(_)));
    let told = refused.to_string();
    assert!(told.contains(&format!("held by process {}", std::process::id())), "{told}");
    let clone = idhini.clone();
    drop(idhini);
    assert!(Idhini::open(&directory.0).is_err());
    drop(clone);
    assert!(Idhini::open(&directory.0).is_ok());
}

#[test]
fn neither_a_snapshot_nor_a_watch_that_has_ended_holds_the_directory() {
    let directory = Directory::new();
    let idhini = filled(Idhini::open(&directory.0).unwrap());
    let snapshot = idhini.snapshot();
    let mut watch = idhini.watch(snapshot.revision()).unwrap();
    drop(idhini);
    assert!(watch.next().is_none() && watch.next().is_none());
    let again = Idhini::open(&directory.0).unwrap();
    again.write(Update::delete(relationship("group:eng#member@user:ann"))).unwrap();
    assert!(has(&snapshot, "document:readme", "view", "user:ann"));
    assert!(!has(&again.snapshot(), "document:readme", "view", "user:ann"));
}

#[test]
fn what_has_expired_is_swept_and_a_directory_goes_on_where_it_was() {
    let directory = Directory::new();
    let seconds = Seconds::default();
    seconds.set(super::BEFORE);
    {
        filled(seconds.options().open(&directory.0).unwrap());
    }
    // Behind the one expiration, so that the first round sweeps.
    seconds.set(1_900_000_000);
    let idhini = Options { history_seconds: None, ..seconds.options() }.open(&directory.0).unwrap();
    let before = idhini.snapshot();
    let part = idhini.watch(before.revision()).unwrap().next().unwrap().unwrap();
    assert_eq!(part.origin.cause, idhini::Cause::Sweep);
}
