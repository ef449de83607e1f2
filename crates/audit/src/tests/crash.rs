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
        // Of a whole record the line feed alone is missing: it is kept.
        let is_unended = whole.get(length) == Some(&b'\n');
        let is_torn = length > 0 && whole[length - 1] != b'\n' && !is_unended;
        over_rotated(&world, &[&folder], 1 << 30).close();
        assert_eq!(verified(&folder).fault, None, "{length}");
        if is_unended {
            assert!(folder.text().as_bytes().starts_with(&whole[..=length]), "{length}");
        }
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
    std::fs::write(&files_of(&world.directory())[0], &whole[..whole.len() - 2]).unwrap();
    assert_eq!(world.verify().fault.unwrap().fault, Fault::Torn);
    world.open().close();
    let verified = world.verify();
    assert_eq!(verified.fault, None);
    let cuts: Vec<_> = verified.cuts.iter().map(|cut| cut.is_unfinished).collect();
    assert_eq!(cuts, [Some(true)]);
}

/// The end of a trail that somebody put there is no torn write: it stays, and is named after every start.
#[test]
fn whole_lines_edited_at_the_end_stay_for_verify_to_find() {
    for (edited, ends_with) in [(1, "\n"), (3, "\n"), (1, ""), (2, "garbage"), (1, "\n{\"seq\":")] {
        let world = World::new();
        let whole = lived(&world);
        let text = String::from_utf8(whole).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let first = lines.len() - edited;
        for line in &mut lines[first..] {
            *line = line.replace("\"at\":\"2027", "\"at\":\"2026");
        }
        let file = files_of(&world.directory())[0].clone();
        let changed = lines.join("\n") + ends_with;
        std::fs::write(&file, &changed).unwrap();
        for _ in 0..2 {
            world.open().close();
            let found = world.verify().fault.unwrap();
            assert_eq!(found.seq, first as u64 + 1, "{edited} {ends_with:?}");
            assert!(std::fs::read_to_string(&file).unwrap().starts_with(&changed));
        }
        assert!(files_of(&world.directory()).len() > 1);
        assert!(kinds_of(&world).contains(&"strange".to_owned()), "{:?}", kinds_of(&world));
    }
}

fn kinds_of(world: &World) -> Vec<String> {
    let lines = super::lines_of(&world.directory()).into_iter();
    let values = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
    values.filter_map(|value| value["kind"].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_was_cut_off_and_is_no_unfinished_write_is_a_fault_until_it_is_accepted() {
    let world = World::new();
    let whole = lived(&world);
    let lines = whole.iter().filter(|byte| **byte == b'\n').count();
    let name = format!("cut-0000000001-{lines}");
    // As a server that took edited lines for a torn write left it.
    std::fs::write(world.directory().join(&name), &whole[..200]).unwrap();
    let verified = world.verify();
    let found = verified.fault.unwrap();
    assert_eq!((found.fault, found.file.as_str(), found.seq), (Fault::CutOff, &*name, lines as u64 + 1));
    let against = crate::verify::Against { accepts_cuts: true, ..Default::default() };
    let key = super::keys().public();
    let accepted = crate::verify::verify(&world.directory(), &key, against, &mut |_| {}).unwrap();
    assert_eq!((accepted.fault, accepted.cuts.len()), (None, 1));
}

#[test]
fn starts_that_are_killed_again_and_again_in_one_place_leave_a_good_trail() {
    let world = World::new();
    let whole = lived(&world);
    let folder = FaultyFolder::new();
    let end = whole.len();
    folder.put("0000000001.jsonl", &whole[..end - 100]);
    over_rotated(&world, &[&folder], 1 << 30).close();
    // What the second start wrote is torn in its first record, where the first start found the same.
    let text = folder.bytes("0000000001.jsonl");
    let begin = whole[..end - 100].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    folder.put("0000000001.jsonl", &text[..begin + 150]);
    over_rotated(&world, &[&folder], 1 << 30).close();
    assert_eq!(verified(&folder).fault, None);
    let names = crate::folder::Folder::names(&folder).unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("cut-")).count(), 2, "{names:?}");
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
    assert_eq!(world.verify().fault, None);
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
