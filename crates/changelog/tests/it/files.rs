//! A disk of real files.

use std::fs;
use std::io::ErrorKind;

use idhini_changelog::disk::Disk;
use idhini_changelog::{DirectoryError, FileDisk};

use crate::scratch::Scratch;

#[test]
fn a_directory_is_held_by_one_at_a_time_and_says_by_whom() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("some").join("new");
    let disk = FileDisk::open(&directory).unwrap();
    let held = FileDisk::open(&directory).unwrap_err();
    assert!(
        matches!(held, DirectoryError::Held { pid: Some(pid), .. } if pid == std::process::id()),
        "{held:?}"
    );
    let text = held.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("new"), "{text}");
    drop(disk);
    FileDisk::open(&directory).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("file"), "x").unwrap();
    let error = FileDisk::open(scratch.path().join("file")).unwrap_err();
    assert!(
        matches!(error, DirectoryError::Unusable { .. }) && error.to_string().contains("file"),
        "{error}"
    );
}

#[test]
fn looking_holds_nothing_and_changes_nothing() {
    let scratch = Scratch::new();
    let disk = FileDisk::open(scratch.path()).unwrap();
    disk.create("a/b").unwrap().write_at(0, b"text").unwrap();
    let looking = FileDisk::look(scratch.path());
    let mut into = [0; 9];
    assert_eq!(looking.open("a/b").unwrap().read_at(0, &mut into).unwrap(), 4);
    assert_eq!(&into[..4], b"text");
    assert!(looking.open("a/b").unwrap().write_at(0, b"x").is_err());
    for refused in [looking.create("c").map(drop), looking.rename("a/b", "c"), looking.remove("a/b")] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn files_are_read_and_written_where_they_are_said_to_be() {
    let scratch = Scratch::new();
    let disk = FileDisk::open(scratch.path()).unwrap();
    assert_eq!(disk.list("a").unwrap(), [""; 0]);
    assert_eq!(disk.open("a/b").unwrap_err().kind(), ErrorKind::NotFound);
    let file = disk.create("a/b").unwrap();
    assert_eq!(disk.create("a/b").unwrap_err().kind(), ErrorKind::AlreadyExists);
    file.allocate(5000).unwrap();
    assert_eq!(file.bytes_len().unwrap(), 5000);
    file.allocate(10).unwrap();
    assert_eq!(file.bytes_len().unwrap(), 5000, "an allocation never cuts off");
    file.write_at(4998, b"abcd").unwrap();
    let mut into = [9; 6];
    assert_eq!(file.read_at(4996, &mut into).unwrap(), 6);
    assert_eq!(&into, b"\0\0abcd");
    assert_eq!(file.read_at(5001, &mut into).unwrap(), 1, "only as far as the file goes");
    file.set_bytes_len(5000).unwrap();
    file.sync().unwrap();
    assert_eq!(fs::read(scratch.path().join("a/b")).unwrap().len(), 5000);
    disk.create("a/c").unwrap().write_at(0, b"new").unwrap();
    disk.rename("a/c", "a/b").unwrap();
    disk.sync_directory("a").unwrap();
    assert_eq!(disk.list("a").unwrap(), ["b"]);
    assert_eq!(disk.list("").unwrap(), ["a", "lock"]);
    assert_eq!(file.bytes_len().unwrap(), 5000, "whoever has the old one open has the old one");
    disk.remove("a/b").unwrap();
    assert_eq!(disk.list("a").unwrap(), [""; 0]);
}
