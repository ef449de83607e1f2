//! The files that say what a data directory and a backup are, behind their checksums: an error, or what is written
//! again to what reads the same. Whatever is not written so by us is no backup's file.
//!
//! The first byte says which file, and whether the checksum of what follows is made right.
#![no_main]

use idhini_changelog::disk::Disk;
use idhini_graph::Digest;
use idhini_replica::Identity;
use idhini_testkit::disk::FaultDisk;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/idhini/src/backup/facts.rs"]
#[rustfmt::skip]
mod facts;

use facts::{FACTS, FACTS_UNFINISHED, Facts};

const IDENTITY: &str = "identity";

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let mut bytes = bytes.to_vec();
    if choice & 2 == 0 {
        let checksum = format!("checksum {}\n", Digest::of(&bytes));
        bytes.extend(checksum.into_bytes());
    }
    let disk = FaultDisk::new(1);
    let again = FaultDisk::new(2);
    if choice & 1 == 0 {
        disk.put(IDENTITY, bytes);
        let Ok(Some(identity)) = Identity::read(&disk) else { return };
        identity.write(&again).expect("the disk is well");
        assert_eq!(Identity::read(&again).expect("what was written can be read"), Some(identity.clone()));
        let key: String = identity.key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!format!("{identity:?}").contains(&key));
        // Its store and its timeline are those of the file, whose other bytes say nothing.
        let written = again.bytes(IDENTITY).expect("it was written");
        assert!(written.starts_with(b"idhini data 1\n"));
    } else {
        disk.put(FACTS, bytes.clone());
        disk.put(FACTS_UNFINISHED, bytes.clone());
        let Ok(facts) = Facts::read(&disk) else { return };
        let facts = facts.expect("there is a file");
        facts.write(&disk).expect("the disk is well");
        assert_eq!(disk.bytes(FACTS).as_deref(), Some(bytes.as_slice()));
        assert!(!disk.list("").expect("the disk is well").contains(&FACTS_UNFINISHED.to_owned()));
        assert_eq!(Facts::read(&disk).expect("what was written can be read"), Some(facts));
        assert_eq!(Facts::read(&again).expect("the disk is well"), None);
    }
});
