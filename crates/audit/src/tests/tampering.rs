//! Whatever is done to a record: it is found, and the first one is named.

use std::sync::LazyLock;

use idhini_model::Timestamp;
use proptest::prelude::*;

use super::{done, event, keys};
use crate::checkpoint::Checkpoint;
use crate::event::Outcome;
use crate::keys::{Keys, Seeds};
use crate::line::{Chain, Hash, Told};
use crate::reading::Line;
use crate::verify::{Against, Fault, Finding, Verified, Verifier};

/// A chain of so many lines, a checkpoint every fifty records, and the last of those.
fn chain(records: usize, by: &Keys) -> (Vec<Vec<u8>>, Checkpoint) {
    let (mut chain, mut lines) = (Chain::EMPTY, Vec::new());
    let mut last = None;
    for number in 0..records {
        let at = Timestamp::from_seconds(1_800_000_000 + number as i64 / 10);
        let mut line = Vec::new();
        if number % 50 == 0 || number + 1 == records {
            let checkpoint = Checkpoint::sign(by, "file", chain.records, chain.head, at);
            chain.push(&mut line, &Told::Checkpoint(&checkpoint));
            last = Some(checkpoint);
        } else {
            let event = event(at, "CheckPermission");
            let outcome =
                if number % 3 == 0 { done(number as u64) } else { Outcome::Unknown { why: "x".into() } };
            chain.push(&mut line, &Told::Decision { event: &event, outcome: &outcome });
        }
        lines.push(line);
    }
    (lines, last.unwrap())
}

fn judged(text: &[u8], kept: &[Checkpoint]) -> Verified {
    let public = keys().public();
    let mut verifier = Verifier::new(&public, Against { kept, ..Against::default() });
    verifier.file("f");
    for (at, bytes) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let has_end = bytes.ends_with(b"\n");
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if !verifier.line(&Line { number: at as u64 + 1, bytes, has_end }) {
            break;
        }
    }
    verifier.end()
}

fn found(lines: &[Vec<u8>], kept: &[Checkpoint]) -> Option<Finding> {
    judged(&lines.concat(), kept).fault
}

/// Three checkpoints and what is between them.
const SMALL: usize = 130;
static CHAIN: LazyLock<(Vec<Vec<u8>>, Checkpoint)> = LazyLock::new(|| chain(SMALL, &keys()));

#[test]
fn a_chain_that_nobody_touched_is_good() {
    let (lines, kept) = &*CHAIN;
    let verified = judged(&lines.concat(), std::slice::from_ref(kept));
    assert_eq!((verified.fault, verified.records, verified.checkpoints), (None, SMALL as u64, 4));
}

#[test]
fn any_bit_of_any_byte_of_a_record_is_found_and_the_record_named() {
    let (lines, _) = chain(5, &keys());
    let bits = if cfg!(debug_assertions) { 3 } else { 8 };
    for at in 0..lines.len() {
        for byte in 0..lines[at].len() {
            for bit in (0..8).cycle().skip(byte).take(bits) {
                let mut lines = lines.clone();
                lines[at][byte] ^= 1 << bit;
                let finding = found(&lines, &[]).unwrap();
                assert_eq!(finding.seq, at as u64 + 1, "byte {byte}, bit {bit}: {finding:?}");
            }
        }
    }
}

#[test]
fn any_record_dropped_repeated_or_swapped_is_found_and_named() {
    let (lines, kept) = &*CHAIN;
    let kept = std::slice::from_ref(kept);
    for at in 0..SMALL {
        let seq = at as u64 + 1;
        let mut dropped = lines.clone();
        dropped.remove(at);
        match (at, found(&dropped, kept)) {
            (0, finding) => assert_eq!(finding.unwrap().fault, Fault::Beheaded),
            // The last is the checkpoint itself, which is kept: all that it covers is there.
            (_, finding) if seq == SMALL as u64 => assert_eq!(finding, None),
            (_, finding) => {
                let Finding { seq: named, line, fault, .. } = finding.unwrap();
                assert_eq!((named, line, fault), (seq, seq, Fault::Dropped { found: seq + 1 }));
            }
        }
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at].clone());
        let finding = found(&repeated, kept).unwrap();
        assert_eq!((finding.seq, finding.line, finding.fault), (seq, seq + 1, Fault::Repeated));
        for other in [at + 1, at + 7, SMALL - 1] {
            if other >= SMALL || other == at {
                continue;
            }
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            let finding = found(&swapped, kept).unwrap();
            let is_named = finding.seq == seq && matches!(finding.fault, Fault::Reordered { .. });
            assert!(is_named || at == 0 && finding.line == 1, "{at} {other}: {finding:?}");
        }
    }
}

#[test]
fn records_that_are_cut_before_a_checkpoint_are_named() {
    let (lines, kept) = &*CHAIN;
    for last in 1..SMALL {
        let finding = found(&lines[..last], std::slice::from_ref(kept));
        let has_all = last as u64 >= kept.records;
        assert_eq!(finding.as_ref().map(|f| f.seq), (!has_all).then_some(last as u64 + 1), "{finding:?}");
        // Those in between, with a checkpoint behind them.
        let mut between = lines.clone();
        between.drain(last.saturating_sub(5).max(1)..last);
        if last > 1 {
            let finding = found(&between, &[]).unwrap();
            assert_eq!(finding.seq, last.saturating_sub(5).max(1) as u64 + 1);
        }
    }
}

#[test]
fn a_record_that_was_replaced_with_a_hash_that_fits_is_found() {
    let (lines, kept) = &*CHAIN;
    for at in [1, 49, 51, 99, SMALL - 3] {
        let mut lines = lines.clone();
        rehash(&mut lines[at], b"root", b"team");
        let finding = found(&lines, &[]).unwrap();
        assert_eq!((finding.seq, finding.fault), (at as u64 + 1, Fault::Replaced));
        // With all that follow: the next checkpoint is not signed so, or they are none.
        let mut rewritten = lines.clone();
        relink(&mut rewritten, at + 1);
        let finding = found(&rewritten, &[]).unwrap();
        assert_eq!(finding.fault, Fault::Forged);
        assert_eq!(finding.seq, [51, 101, 130][at / 50]);
        // Without the checkpoints, a kept one shows it; and it shows by itself where there are none for long.
        let is_checkpoint = |line: &Vec<u8>| String::from_utf8_lossy(line).contains("\"checkpoint\"");
        let mut without: Vec<_> = rewritten[..=at].to_vec();
        without.extend(rewritten[at + 1..].iter().filter(|line| !is_checkpoint(line)).cloned());
        relink(&mut without, at + 1);
        let finding = found(&without, std::slice::from_ref(kept)).unwrap();
        assert!(matches!(finding.fault, Fault::Rewritten | Fault::Cut { .. }), "{finding:?}");
    }
}

/// Replaces a text of a line and makes its hash right again.
fn rehash(line: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = line.windows(from.len()).position(|window| window == from).unwrap();
    line.splice(at..at + from.len(), to.iter().copied());
    let body = line.len() - 75;
    let hash = Hash(*blake3::hash(&line[..body]).as_bytes());
    line.truncate(body);
    line.extend(format!(",\"hash\":\"{hash}\"}}\n").into_bytes());
}

/// Numbers and chains the lines from here on anew, whatever they say.
fn relink(lines: &mut [Vec<u8>], from: usize) {
    for at in from..lines.len() {
        let before = String::from_utf8(lines[at - 1].clone()).unwrap();
        let hash = &before[before.len() - 67..before.len() - 3];
        let line = String::from_utf8(lines[at].clone()).unwrap();
        let (_, rest) = line.split_once(",\"prev\":\"").unwrap();
        let body = rest[64..].split_once(",\"hash\":\"").unwrap().0;
        let body = format!("{{\"seq\":{},\"prev\":\"{hash}{body}", at + 1);
        let hash = Hash(*blake3::hash(body.as_bytes()).as_bytes());
        lines[at] = format!("{body},\"hash\":\"{hash}\"}}\n").into_bytes();
    }
}

#[test]
fn a_long_stretch_without_checkpoints_is_found() {
    let (lines, _) = chain(5000, &keys());
    let is_checkpoint = |line: &Vec<u8>| String::from_utf8_lossy(line).contains("\"checkpoint\"");
    let mut without: Vec<_> = lines[..1].to_vec();
    without.extend(lines[1..].iter().filter(|line| !is_checkpoint(line)).cloned());
    relink(&mut without, 1);
    let finding = found(&without, &[]).unwrap();
    assert_eq!(finding.fault, Fault::Unsigned);
    // As many as stand in 240 seconds.
    assert!((2350..2500).contains(&finding.seq), "{finding:?}");
}

#[test]
fn a_trail_of_another_key_and_kept_checkpoints_of_another_are_told_apart() {
    let other = Keys::new(&Seeds { signing: [1; 32], hashing: [8; 32] }).unwrap();
    let (lines, kept) = chain(200, &other);
    assert!(matches!(found(&lines, &[]).unwrap().fault, Fault::OtherKey { .. }));
    let (good, own) = &*CHAIN;
    assert_eq!(found(good, &[kept]).unwrap().fault, Fault::KeptForged);
    let stream = Checkpoint::sign(&keys(), "stdout-1-1", own.records, own.head, own.at);
    assert!(matches!(found(good, &[stream]).unwrap().fault, Fault::KeptOther { .. }));
    let more = Checkpoint { records: own.records + 1, ..own.clone() };
    assert_eq!(found(good, &[more]).unwrap().fault, Fault::KeptForged);
}

#[test]
fn no_records_at_all_are_no_good_trail() {
    assert_eq!(found(&[], &[]).unwrap().fault, Fault::Empty);
    assert!(matches!(found(&[], std::slice::from_ref(&CHAIN.1)).unwrap().fault, Fault::Cut { .. }));
}

/// All of them in a release build, which `./check nightly` runs.
const MANY: usize = if cfg!(debug_assertions) { 6_000 } else { 100_000 };
static LONG: LazyLock<(Vec<Vec<u8>>, Checkpoint)> = LazyLock::new(|| chain(MANY, &keys()));

#[test]
fn of_a_hundred_thousand_records_any_one_that_is_touched_is_named() {
    let (lines, kept) = &*LONG;
    let kept = std::slice::from_ref(kept);
    let length = lines.len();
    for at in [1, 49, 50, 51, 4_999, length / 2, length - 3, length - 2] {
        let seq = at as u64 + 1;
        let mut flipped = lines.clone();
        let middle = flipped[at].len() / 2;
        flipped[at][middle] ^= 4;
        assert_eq!(found(&flipped, kept).unwrap().seq, seq);
        let mut dropped = lines.clone();
        dropped.remove(at);
        assert_eq!(found(&dropped, kept).unwrap().seq, seq);
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 31).min(length - 1));
        assert_eq!(found(&swapped, kept).unwrap().seq, seq);
        assert_eq!(found(&lines[..at], kept).unwrap().seq, seq);
    }
    assert_eq!(found(lines, kept), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 200 } else { 20_000 }, ..ProptestConfig::default() })]

    /// Bytes changed, put in or taken out anywhere: never a panic, never passed over, unless nothing was changed.
    #[test]
    fn whatever_is_done_to_the_text_is_found(
        at in 0usize..1 << 20, length in 0usize..600, with in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let good = CHAIN.0[..60].concat();
        let at = at % good.len();
        let end = (at + length).min(good.len());
        let mut text = good.clone();
        text.splice(at..end, with);
        // What was cut off from the end in whole lines shows against a checkpoint only.
        let is_cut = good.starts_with(&text) && text.ends_with(b"\n");
        if text != good && !is_cut {
            let finding = judged(&text, &[]).fault;
            prop_assert!(finding.is_some());
            // The record in which the first byte differs, or the one that its end belongs to.
            let differs = good.iter().zip(&text).take_while(|(a, b)| a == b).count();
            let seq = good[..differs].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            let named = finding.map(|finding| finding.seq).unwrap_or(0);
            prop_assert!(named == seq || named + 1 == seq, "{} {}", named, seq);
        }
    }
}
