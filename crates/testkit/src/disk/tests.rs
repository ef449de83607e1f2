use std::io;
use std::sync::Arc;
use std::thread;

use idhini_changelog::disk::{Disk, DiskFile};

use super::{Fault, FaultDisk, Kind};

const SEEDS: u64 = 200;

/// A file with `old` durable.
fn with_file(path: &str, old: &[u8]) -> (FaultDisk, Arc<dyn DiskFile>) {
    let disk = FaultDisk::new(1);
    let file = disk.create(path).unwrap();
    file.write_at(0, old).unwrap();
    file.sync().unwrap();
    disk.sync_directory("").unwrap();
    disk.sync_directory("a").unwrap();
    (disk, file)
}

fn after_cuts(disk: &FaultDisk, path: &str) -> Vec<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| disk.after_power_cut(seed).bytes(path)).collect()
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let (disk, file) = with_file("a/b", b"old");
    file.write_at(1, b"new").unwrap();
    file.sync().unwrap();
    assert!(after_cuts(&disk, "a/b").iter().all(|bytes| bytes.as_deref() == Some(b"onew")));
}

#[test]
fn what_was_not_synced_is_kept_or_lost_or_torn_in_sectors() {
    let (disk, file) = with_file("a/b", &[0; 2048]);
    file.write_at(0, &[1; 2048]).unwrap();
    let found: Vec<Vec<u8>> = after_cuts(&disk, "a/b").into_iter().flatten().collect();
    assert!(found.contains(&vec![0; 2048]));
    assert!(found.contains(&vec![1; 2048]));
    let is_hole = |bytes: &Vec<u8>| bytes[..512] == [0; 512] && bytes[512..1024] == [1; 512];
    assert!(found.iter().any(is_hole), "a later sector without an earlier one");
    let is_prefix = |bytes: &Vec<u8>| {
        let ones = bytes.iter().take_while(|byte| **byte == 1).count();
        ones % 512 != 0 && bytes[ones..].iter().all(|byte| *byte == 0)
    };
    assert!(found.iter().any(is_prefix), "torn in the middle of a sector");
}

#[test]
fn later_writes_may_be_there_without_earlier_ones() {
    let (disk, file) = with_file("a/b", &[0; 2]);
    file.write_at(0, &[1]).unwrap();
    file.write_at(1, &[1]).unwrap();
    let found = after_cuts(&disk, "a/b");
    for expected in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        assert!(found.contains(&Some(expected.to_vec())), "{expected:?}");
    }
}

#[test]
fn names_are_durable_when_their_directory_was_synced() {
    let (disk, _) = with_file("a/b", b"old");
    disk.rename("a/b", "a/c").unwrap();
    let states: Vec<_> = (0..SEEDS).map(|seed| disk.after_power_cut(seed).paths()).collect();
    assert!(states.contains(&vec!["a/b".to_owned()]) && states.contains(&vec!["a/c".to_owned()]));
    assert!(states.iter().all(|paths| paths.len() == 1), "a rename is one step");
    disk.sync_directory("a").unwrap();
    let states: Vec<_> = (0..SEEDS).map(|seed| disk.after_power_cut(seed).paths()).collect();
    assert!(states.iter().all(|paths| paths == &["a/c"]));
}

#[test]
fn a_file_that_was_removed_is_read_by_whoever_has_it_open() {
    let (disk, file) = with_file("a/b", b"old");
    disk.remove("a/b").unwrap();
    let mut into = [0; 5];
    assert_eq!(file.read_at(1, &mut into).unwrap(), 2);
    assert_eq!(&into[..2], b"ld");
    assert_eq!(disk.open("a/b").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn after_a_failed_sync_no_later_one_helps_but_writing_again_does() {
    let (disk, file) = with_file("a/b", b"old");
    file.write_at(0, b"new").unwrap();
    let path = String::new();
    disk.fail(Fault { kind: Kind::Sync, path, skipped: 0, count: 1, error: io::ErrorKind::Other });
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(disk.bytes("a/b").unwrap(), b"new", "the next process reads it all the same");
    let next = disk.after_kill(0);
    assert!(after_cuts(&next, "a/b").contains(&Some(b"old".to_vec())));
    let file = next.open("a/b").unwrap();
    file.write_at(0, b"new").unwrap();
    file.sync().unwrap();
    assert!(after_cuts(&next, "a/b").iter().all(|bytes| bytes.as_deref() == Some(b"new")));
}

#[test]
fn what_was_lost_does_not_come_back_over_what_was_written_since() {
    let (disk, file) = with_file("a/b", b"old!");
    file.write_at(0, b"lost").unwrap();
    let path = String::new();
    disk.fail(Fault { kind: Kind::Sync, path, skipped: 0, count: 1, error: io::ErrorKind::Other });
    file.sync().unwrap_err();
    file.write_at(1, b"NE").unwrap();
    file.sync().unwrap();
    let found = after_cuts(&disk, "a/b");
    assert!(found.iter().flatten().all(|bytes| &bytes[1..3] == b"NE"));
    assert!(found.iter().flatten().any(|bytes| bytes[0] == b'o'));
}

#[test]
fn the_power_is_cut_in_the_middle_of_a_change_and_stays_off() {
    let (disk, file) = with_file("a/b", b"old");
    disk.cut_power_at(disk.changes() + 2);
    file.write_at(0, b"n").unwrap();
    file.sync().unwrap_err();
    assert!(disk.is_off());
    file.write_at(0, b"x").unwrap_err();
    disk.list("a").unwrap_err();
    let found = after_cuts(&disk, "a/b");
    assert!(found.contains(&Some(b"old".to_vec())) && found.contains(&Some(b"nld".to_vec())));
}

#[test]
fn one_seed_leaves_the_same_state_again() {
    let (disk, file) = with_file("a/b", &[0; 4096]);
    for at in 0..8 {
        file.write_at(at * 512, &[1; 700]).unwrap();
    }
    for seed in 0..SEEDS {
        assert_eq!(disk.after_power_cut(seed).bytes("a/b"), disk.after_power_cut(seed).bytes("a/b"));
    }
}

#[test]
fn a_full_disk_takes_no_more_and_loses_nothing() {
    let (disk, file) = with_file("a/b", b"old");
    disk.set_capacity(5);
    file.allocate(5).unwrap();
    assert_eq!(file.allocate(6).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(5, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(3, b"xy").unwrap();
    disk.heal();
    file.write_at(5, b"z").unwrap();
    assert_eq!(disk.bytes("a/b").unwrap(), b"oldxyz");
}

#[test]
fn what_is_held_waits_for_its_release() {
    let (disk, file) = with_file("a/b", b"old");
    disk.hold(Kind::Sync);
    file.write_at(0, b"new").unwrap();
    let syncing = thread::spawn(move || file.sync());
    disk.wait_until_held();
    assert!(after_cuts(&disk, "a/b").contains(&Some(b"old".to_vec())));
    disk.release();
    syncing.join().unwrap().unwrap();
    assert!(after_cuts(&disk, "a/b").iter().all(|bytes| bytes.as_deref() == Some(b"new")));
}

#[test]
fn a_flipped_bit_is_seen_and_stays() {
    let (disk, file) = with_file("a/b", &[0, 0]);
    disk.flip("a/b", 9);
    let mut into = [0; 2];
    file.read_at(0, &mut into).unwrap();
    assert_eq!(into, [0, 2]);
    assert!(after_cuts(&disk, "a/b").iter().all(|bytes| bytes.as_deref() == Some(&[0, 2])));
}

#[test]
fn a_history_says_what_was_asked_for_and_what_came_of_it() {
    let (disk, file) = with_file("a/b", b"old");
    disk.record();
    file.write_at(3, b"xy").unwrap();
    disk.cut_power();
    file.sync().unwrap_err();
    let history = disk.history();
    assert_eq!((history[0].kind, history[0].offset, history[0].bytes), (Kind::Write, 3, 2));
    assert_eq!((history[1].kind, history[1].error), (Kind::Sync, Some(io::ErrorKind::Other)));
}

#[test]
fn a_fork_is_the_disk_in_the_middle_of_a_change_and_the_run_goes_on() {
    let (disk, file) = with_file("a/b", b"old");
    disk.keep_forks(4, |_| true);
    file.write_at(0, b"new").unwrap();
    file.sync().unwrap();
    file.write_at(0, b"end").unwrap();
    file.sync().unwrap();
    let forks = disk.take_forks();
    assert_eq!(forks.iter().map(|fork| fork.change).collect::<Vec<_>>(), [6, 7, 8, 9]);
    let found = |fork: usize| -> Vec<Vec<u8>> {
        (0..SEEDS).filter_map(|seed| forks[fork].after_power_cut(seed).bytes("a/b")).collect()
    };
    assert!(found(0).contains(&b"old".to_vec()) && found(0).contains(&b"new".to_vec()));
    assert!(found(1).contains(&b"old".to_vec()) && found(1).contains(&b"new".to_vec()));
    assert!(!found(2).contains(&b"old".to_vec()) && found(2).contains(&b"end".to_vec()));
    assert_eq!(forks[1].after_kill(1).bytes("a/b").unwrap(), b"new");
    assert!(disk.take_forks().is_empty() && disk.bytes("a/b").unwrap() == b"end");
}
