//! A crash leaves the file cut anywhere: the next start carries on, and the trail is good.

use super::faulty::FaultyFolder;
use super::fuller::{over_rotated, verified};
use super::{World, done, files_of, kinds, wait};
use crate::verify::Fault;

/// A trail that was closed, and its only file.
fn lived(world: &World) -> Vec<u8> {
    let trail = world.open();
    for revision in 0..3 {
        wait(async { trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(revision)).await });
    }
    trail.close();
    std::fs::read(&files_of(&world.directory())[0]).unwrap()
}

#[test]
fn a_file_cut_at_any_byte_is_carried_on_and_the_cut_is_told() {
    const NAME: &str = "0000000001.jsonl";
    let world = World::new();
    let whole = lived(&world);
    // All of them in a release build, which `./check nightly` runs.
    let step = if cfg!(debug_assertions) { 7 } else { 1 };
    for length in (0..whole.len()).step_by(step).chain([whole.len() - 1, whole.len()]) {
        let folder = FaultyFolder::new();
        folder.put(NAME, &whole[..length]);
        let is_torn = length > 0 && whole[length - 1] != b'\n';
        over_rotated(&world, &[&folder], 1 << 30).close();
        assert_eq!(verified(&folder).fault, None, "{length}");
        let text = folder.text();
        let cut = text.lines().find(|line| line.contains("\"kind\":\"cut\""));
        assert_eq!(cut.is_some(), is_torn, "{length}");
        let begin = whole[..length].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        assert!(text.as_bytes().starts_with(&whole[..begin]) && text.len() > begin, "{length}");
        if let Some(cut) = cut {
            let cut: serde_json::Value = serde_json::from_str(cut).unwrap();
            let aside = folder.bytes(cut["kept_as"].as_str().unwrap());
            assert_eq!(aside, &whole[begin..length]);
            assert_eq!(cut["blake3"].as_str(), Some(blake3::hash(&aside).to_hex().as_str()));
        }
    }
}

#[test]
fn a_torn_line_is_told_by_verify_before_the_next_start_and_no_fault_after_it() {
    let world = World::new();
    let whole = lived(&world);
    std::fs::write(&files_of(&world.directory())[0], &whole[..whole.len() - 1]).unwrap();
    assert_eq!(world.verify().fault.unwrap().fault, Fault::Torn);
    world.open().close();
    assert_eq!(world.verify().fault, None);
}

#[test]
fn zeros_that_a_power_cut_left_are_cut_off() {
    let world = World::new();
    let mut whole = lived(&world);
    whole.extend([0; 5000]);
    std::fs::write(&files_of(&world.directory())[0], &whole).unwrap();
    world.open().close();
    assert_eq!(world.verify().fault, None);
    assert!(kinds(&world.records()).contains(&"cut"));
}

#[test]
fn a_start_behind_a_cut_that_was_not_told_tells_it() {
    let world = World::new();
    let whole = lived(&world);
    let lines = whole.iter().filter(|byte| **byte == b'\n').count();
    // The start before came as far as keeping the rest aside.
    std::fs::write(world.directory().join(format!("cut-0000000001-{lines}")), b"{\"seq\":").unwrap();
    world.open().close();
    let told = world.records().into_iter().find(|record| record["kind"] == "cut").unwrap();
    assert_eq!(told["kept_as"], format!("cut-0000000001-{lines}"));
}

#[test]
fn a_record_that_was_edited_stays_for_verify_to_find() {
    let world = World::new();
    let mut whole = lived(&world);
    let third = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    whole[third + 200] ^= 1;
    std::fs::write(&files_of(&world.directory())[0], &whole).unwrap();
    world.open().close();
    let found = world.verify().fault.unwrap();
    assert_eq!((found.seq, found.fault), (4, Fault::Edited));
    assert!(std::fs::read(&files_of(&world.directory())[0]).unwrap().starts_with(&whole));
}

#[test]
fn a_file_that_is_empty_begins_with_a_checkpoint() {
    let world = World::new();
    lived(&world);
    std::fs::write(world.directory().join("0000000002.jsonl"), b"").unwrap();
    world.open().close();
    let verified = world.verify();
    assert_eq!(verified.fault, None);
    let second = std::fs::read_to_string(&files_of(&world.directory())[1]).unwrap();
    assert!(second.lines().next().unwrap().contains("\"kind\":\"checkpoint\""));
}
