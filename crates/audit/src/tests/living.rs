//! What a trail that lives well records.

use super::{World, done, kinds, lines_of, wait};
use crate::budget::RefusalOf;
use crate::checkpoint::Checkpoint;
use crate::event::{Detail, Outcome};
use crate::keys::Keys;
use crate::options::{CheckpointsTo, FileOptions};
use crate::query::{Filter, query};
use crate::trail::{Settled, Trail, Unavailable};
use crate::verify::{Against, Fault};

fn change(world: &World, trail: &Trail, revision: u64) {
    wait(async {
        let intent = trail.intent(world.event("WriteRelationships")).await.unwrap();
        assert_eq!(intent.settle(done(revision)).await, Settled::Recorded);
    });
}

#[test]
fn an_intent_is_in_the_file_before_the_call_and_its_outcome_before_the_answer() {
    let world = World::new();
    let trail = world.open();
    wait(async {
        let intent = trail.intent(world.event("WriteSchema")).await.unwrap();
        let records = world.records();
        let last = records.last().unwrap();
        assert_eq!((last["kind"].as_str(), last["call"].as_str()), (Some("intent"), Some("WriteSchema")));
        assert_eq!(intent.settle(done(9)).await, Settled::Recorded);
    });
    let records = world.records();
    let outcome = records.last().unwrap();
    assert_eq!(outcome["outcome"], "accepted");
    assert_eq!(outcome["revision"], 9);
    assert_eq!(outcome["accessor"], "acc-1");
    assert_eq!(outcome["address"], "127.0.0.1:4711");
    assert_eq!(outcome["namespace"], "root");
    assert_eq!(outcome["request"], "req-1");
    assert_eq!(outcome["at"], "2027-01-15T08:00:00Z");
    assert_eq!(outcome["intent"], records[records.len() - 2]["intent"]);
    assert!(trail.close());
    assert_eq!(
        kinds(&world.records()),
        ["checkpoint", "start", "checkpoint", "intent", "outcome", "stop", "checkpoint"]
    );
    let verified = world.verify();
    assert_eq!((verified.fault, verified.records, verified.open, verified.unsigned), (None, 7, 0, 0));
}

#[test]
fn a_refusal_says_its_code_and_why() {
    let world = World::new();
    let trail = world.open();
    let refused = Outcome::Refused { code: "PERMISSION_DENIED".into(), why: "not \"permitted\"\n".into() };
    wait(async {
        let intent = trail.intent(world.event("LockNamespace")).await.unwrap();
        intent.settle(refused.clone()).await;
    });
    trail.refusal(world.event("CheckPermission"), refused, RefusalOf::Question);
    trail.close();
    let records = world.records();
    let of = |kind: &str| records.iter().find(|record| record["kind"] == kind).unwrap().clone();
    for kind in ["outcome", "refusal"] {
        assert_eq!(of(kind)["outcome"], "refused", "{kind}");
        assert_eq!(of(kind)["code"], "PERMISSION_DENIED");
        assert_eq!(of(kind)["why"], "not \"permitted\"\n");
    }
}

#[test]
fn an_intent_that_is_dropped_is_recorded_as_unknown_and_one_without_an_outcome_is_shown() {
    let world = World::new();
    let trail = world.open();
    wait(async {
        drop(trail.intent(world.event("WriteSchema")).await.unwrap());
        let open = trail.intent(world.event("DeleteNamespace")).await.unwrap();
        // As a crash does.
        std::mem::forget(open);
    });
    trail.close();
    let unknown = world.records().into_iter().find(|record| record["kind"] == "outcome").unwrap();
    assert_eq!(
        (unknown["outcome"].as_str(), unknown["call"].as_str()),
        (Some("unknown"), Some("WriteSchema"))
    );
    let verified = world.verify();
    assert_eq!((verified.fault, verified.open), (None, 1));
    assert_eq!((verified.open_named[0].seq, verified.open_named[0].line), (6, 6));
    let mut told = Vec::new();
    let open = Filter { outcome: Some("none".to_owned()), ..Filter::default() };
    query(&world.directory(), &open, &mut |row| {
        told.push((row.record["call"].as_str().unwrap().to_owned(), row.is_open));
        true
    })
    .unwrap();
    assert_eq!(told, [("DeleteNamespace".to_owned(), true)]);
}

#[test]
fn a_start_carries_the_chain_on() {
    let world = World::new();
    for revision in 1..4 {
        let trail = world.open();
        change(&world, &trail, revision);
        trail.close();
    }
    let verified = world.verify();
    assert_eq!((verified.fault, verified.first), (None, 1));
    assert_eq!(kinds(&world.records()).iter().filter(|kind| **kind == "start").count(), 3);
}

#[test]
fn decisions_are_there_soon_without_anybody_waiting() {
    let world = World::new();
    let trail = world.open();
    for _ in 0..1000 {
        let has = Outcome::Accepted { revision: None, answer: Some("has".into()) };
        trail.decision(world.event("CheckPermission"), has);
    }
    let text = || lines_of(&world.directory()).concat();
    super::fuller::until("all are there", || text().matches("\"answer\":\"has\"").count() == 1000);
    trail.close();
    assert_eq!(world.verify().fault, None);
}

#[test]
fn checkpoints_are_written_in_time_and_sent_elsewhere() {
    let mut world = World::new();
    let elsewhere = world.scratch.path("elsewhere");
    world.options.checkpoints = Some(CheckpointsTo::File(elsewhere.clone()));
    let trail = world.open();
    for revision in 0..10 {
        change(&world, &trail, revision);
        world.hands.forward(31);
    }
    trail.close();
    let verified = world.verify();
    assert!(verified.fault.is_none() && verified.checkpoints >= 10, "{verified:?}");
    let sent = || std::fs::read_to_string(&elsewhere).unwrap_or_default();
    let kept = || -> Vec<Checkpoint> {
        let text = sent();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let all = lines_of(&world.directory()).len() as u64 - 1;
    super::fuller::until("the last is sent", || kept().last().is_some_and(|last| last.records == all));
    let kept = kept();
    assert!(kept.len() >= 11, "{kept:?}");
    let compared = |kept: &[_]| {
        let against = Against { kept, ..Against::default() };
        crate::verify::verify(&world.directory(), &super::keys().public(), against, &mut |_| {}).unwrap()
    };
    assert_eq!(compared(&kept).fault, None);
    // Whatever is cut from the end shows against the last of them.
    let file = &super::files_of(&world.directory())[0];
    let lines = lines_of(&world.directory());
    for left in [lines.len() - 2, lines.len() / 2, 1] {
        std::fs::write(file, lines[..left].join("\n") + "\n").unwrap();
        let found = compared(&kept).fault.unwrap();
        assert_eq!(found.seq, left as u64 + 1);
        assert!(matches!(found.fault, Fault::Cut { .. }), "{found:?}");
    }
}

#[test]
fn files_are_rotated_and_the_oldest_removed_after_that_was_recorded() {
    let mut world = World::new();
    let file = FileOptions { rotate_bytes: 4096, keep_files: Some(3), ..FileOptions::new(world.directory()) };
    world.options.file = Some(file);
    for _ in 0..3 {
        let trail = world.open();
        for revision in 0..60 {
            change(&world, &trail, revision);
        }
        assert!(trail.close());
        let files = super::files_of(&world.directory());
        assert_eq!(files.len(), 3, "{files:?}");
        let verified = world.verify();
        assert!(verified.fault.is_none() && verified.first > 1, "{verified:?}");
    }
    // Whoever removes another one is found.
    std::fs::remove_file(&super::files_of(&world.directory())[0]).unwrap();
    let found = world.verify().fault.unwrap();
    assert_eq!(found.fault, Fault::Beheaded);
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_written() {
    let mut world = World::new();
    world.options.refusals_per_second_max = 10;
    let trail = world.open();
    let refused = || Outcome::Refused { code: "UNAUTHENTICATED".into(), why: "no such token".into() };
    for _ in 0..1000 {
        trail.refusal(world.event("CheckPermission"), refused(), RefusalOf::Question);
    }
    world.hands.forward(1);
    trail.refusal(world.event("CheckPermission"), refused(), RefusalOf::Question);
    // Somebody else's is not hidden by it, nor is a change.
    let mut other = world.event("CheckPermission");
    other.actor = std::sync::Arc::new(crate::Actor { accessor: Some("acc-2".into()), ..Default::default() });
    trail.refusal(other, refused(), RefusalOf::Question);
    (0..50).for_each(|_| {
        trail.refusal(world.event("WriteSchema"), refused(), RefusalOf::AdmittedChange);
    });
    trail.close();
    let records = world.records();
    let of = |name: &str, value: &str| {
        records.iter().filter(|r| r["kind"] == "refusal" && r[name] == value).count()
    };
    assert_eq!((of("accessor", "acc-1"), of("accessor", "acc-2")), (61, 1));
    assert_eq!(of("call", "WriteSchema"), 50);
    let sum = |name: &str| records.iter().filter_map(|record| record[name].as_u64()).sum::<u64>();
    assert_eq!((sum("refusals"), sum("withheld")), (990, 990));
    // With whose they were, which a query finds.
    let filter = Filter { actor: Some("acc-1".to_owned()), ..Filter::default() };
    let mut counted = 0;
    query(&world.directory(), &filter, &mut |row| {
        counted += row.record["withheld"].as_u64().unwrap_or(0);
        true
    })
    .unwrap();
    assert_eq!(counted, 990);
    assert_eq!(world.verify().fault, None);
}

#[test]
fn a_change_of_thousands_of_updates_is_told_whole_and_the_last_one_found() {
    let world = World::new();
    let trail = world.open();
    let mut list = crate::List::new(crate::LIST_BYTES_MAX);
    let text = |number: usize| format!("TOUCH document:{number:0>900}#viewer@user:{number:0>900}");
    (0..1_000).for_each(|number| list.push(&text(number)));
    let mut event = world.event("WriteRelationships");
    event.resource = None;
    event.details = list.details("updates");
    wait(async { trail.intent(event).await.unwrap().settle(done(3)).await });
    let mut decision = world.event("CheckBulkPermissions");
    let questions = (0..1_000).map(|number| format!("has {}", &text(number)[6..]).into()).collect();
    decision.details = vec![("questions".into(), Detail::Texts(questions))];
    trail.decision(decision, done(3));
    trail.close();
    assert_eq!(world.verify().fault, None);
    assert!(lines_of(&world.directory()).iter().all(|line| line.len() < crate::LINE_BYTES_MAX));
    let records = world.records();
    let first = records.iter().position(|record| record["kind"] == "intent").unwrap();
    let parts = records[first]["parts"].as_u64().unwrap();
    assert!(parts > 20, "{parts}");
    for (part, more) in (2..=parts).zip(&records[first + 1..]) {
        assert_eq!((more["kind"].as_str(), more["part"].as_u64()), (Some("more"), Some(part)));
        assert_eq!((&more["of"], &more["request"]), (&records[first]["seq"], &"req-1".into()));
    }
    let last = format!("document:{:0>900}", 999);
    for (call, kind) in [("WriteRelationships", "outcome"), ("CheckBulkPermissions", "decision")] {
        let filter =
            Filter { resource: Some(last.clone()), call: Some(call.to_owned()), ..Filter::default() };
        let mut found = Vec::new();
        query(&world.directory(), &filter, &mut |row| {
            found.push(row.record.clone());
            true
        })
        .unwrap();
        assert_eq!(found.len(), 1, "{call}");
        assert_eq!(found[0]["kind"], kind);
        let name = if kind == "outcome" { "updates" } else { "questions" };
        assert_eq!(found[0]["details"][name].as_array().unwrap().len(), 1_000);
        assert!(found[0]["left_out"].is_null());
    }
    // Without one of its parts it is told still, and that it is not whole: it may be about anything.
    let lines: Vec<String> = lines_of(&world.directory());
    let lost = lines.iter().position(|line| line.contains("\"kind\":\"more\"")).unwrap();
    let without: String =
        lines.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, line)| format!("{line}\n")).collect();
    std::fs::write(&super::files_of(&world.directory())[0], without).unwrap();
    let filter = Filter { resource: Some("folder:other".to_owned()), ..Filter::default() };
    let mut found = Vec::new();
    query(&world.directory(), &filter, &mut |row| {
        found.push((row.record["call"].clone(), row.record["left_out"].clone()));
        true
    })
    .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0.as_str(), found[0].1.is_u64()), (Some("WriteRelationships"), true), "{found:?}");
}

#[test]
fn more_open_intents_than_may_be_are_refused() {
    let mut world = World::new();
    world.options.intents_max = 2;
    let trail = world.open();
    wait(async {
        let first = trail.intent(world.event("WriteSchema")).await.unwrap();
        let _second = trail.intent(world.event("WriteSchema")).await.unwrap();
        let third = trail.intent(world.event("WriteSchema")).await;
        assert!(matches!(third, Err(Unavailable::TooMany { open: 2 })), "{third:?}");
        first.settle(done(1)).await;
        trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(2)).await;
    });
}

#[test]
fn secrets_are_there_as_the_hash_that_can_be_searched_for() {
    let world = World::new();
    let trail = world.open();
    let mut event = world.event("UnlockNamespace");
    event.details.push(("key".into(), Detail::Secret(trail.secret_hash(b"open sesame"))));
    trail.decision(event, done(1));
    trail.close();
    let text = lines_of(&world.directory()).concat();
    assert!(!text.contains("sesame"));
    assert!(text.contains(&super::keys().secret_hash(b"open sesame").to_string()));
    let other = crate::Seeds { signing: [7; 32], hashing: [9; 32] };
    assert!(!text.contains(&Keys::new(&other).unwrap().secret_hash(b"open sesame").to_string()));
}

#[test]
fn texts_of_any_length_and_content_make_records_of_bounded_number_and_length() {
    let world = World::new();
    let trail = world.open();
    let nasty: std::sync::Arc<str> = "\u{0}\"\\\n\u{7f}ä…\u{10ffff}".repeat(100_000).into();
    let cut: std::sync::Arc<str> = nasty[..nasty.floor_char_boundary(8 << 10)].into();
    let mut event = world.event("WriteRelationships");
    event.namespace = Some(nasty.clone());
    event.details = vec![("text".into(), Detail::Text(nasty.clone()))];
    event.details.extend((0..200).map(|_| ("list".into(), Detail::Texts(vec![cut.clone(); 50]))));
    wait(async { trail.intent(event).await.unwrap().settle(done(1)).await });
    trail.close();
    assert_eq!(world.verify().fault, None);
    let lines = lines_of(&world.directory());
    assert!(lines.iter().all(|line| line.len() < crate::LINE_BYTES_MAX));
    let intent = world.records().into_iter().find(|record| record["kind"] == "intent").unwrap();
    let namespace = intent["namespace"].as_str().unwrap();
    assert!(namespace.ends_with('…') && nasty.starts_with(&namespace[..namespace.len() - '…'.len_utf8()]));
    assert!(intent["left_out"].as_u64().unwrap() > 150);
    let more = lines.iter().filter(|line| line.contains("\"kind\":\"more\"")).count();
    assert_eq!(more, crate::PARTS_MAX - 1);
}

#[test]
fn calls_that_are_too_large_together_are_refused_until_one_has_ended() {
    let world = World::new();
    let trail = world.open();
    let text: std::sync::Arc<str> = "x".repeat(1 << 20).into();
    let large = || {
        let mut event = world.event("WriteRelationships");
        event.details = vec![("updates".into(), Detail::Texts(vec![text.clone(); 200]))];
        event
    };
    wait(async {
        let first = trail.intent(large()).await.unwrap();
        let second = trail.intent(large()).await;
        assert!(matches!(second, Err(Unavailable::TooLarge { .. })), "{second:?}");
        drop(second);
        trail.intent(world.event("WriteSchema")).await.unwrap().settle(done(1)).await;
        first.settle(done(2)).await;
        trail.intent(large()).await.unwrap().settle(done(3)).await;
    });
    trail.close();
    assert_eq!(world.verify().fault, None);
}

#[test]
fn a_query_finds_by_actor_namespace_resource_call_outcome_and_time() {
    let world = World::new();
    let trail = world.open();
    change(&world, &trail, 1);
    world.hands.forward(10);
    let mut other = world.event("CheckPermission");
    other.namespace = Some("team".into());
    other.resource = Some("folder:howto".into());
    other.actor = std::sync::Arc::new(crate::Actor { address: Some("[::1]:9".into()), ..Default::default() });
    trail.decision(other, Outcome::Unknown { why: "x".into() });
    trail.close();
    let count = |filter: Filter| query(&world.directory(), &filter, &mut |_| true).unwrap().told;
    let text = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    assert_eq!(count(Filter { actor: text("acc-1"), ..none() }), 1);
    assert_eq!(count(Filter { actor: text("127.0.0.1"), ..none() }), 1);
    assert_eq!(count(Filter { actor: text("::1"), ..none() }), 1);
    assert_eq!(count(Filter { actor: text("acc"), ..none() }), 0);
    assert_eq!(count(Filter { namespace: text("team"), ..none() }), 1);
    assert_eq!(count(Filter { resource: text("folder"), ..none() }), 1);
    assert_eq!(count(Filter { resource: text("document:readme"), ..none() }), 1);
    assert_eq!(count(Filter { call: text("WriteRelationships"), ..none() }), 1);
    assert_eq!(count(Filter { outcome: text("unknown"), ..none() }), 1);
    assert_eq!(count(Filter { request: text("req-1"), ..none() }), 2);
    let late = Some(world.hands.now());
    assert_eq!(count(Filter { from: late, call: text("CheckPermission"), ..none() }), 1);
    assert_eq!(count(Filter { until: late, request: text("req-1"), ..none() }), 1);
}

#[test]
fn a_query_finds_an_object_among_the_updates_and_tells_what_was_changed() {
    let world = World::new();
    let trail = world.open();
    let mut event = world.event("WriteRelationships");
    event.resource = None;
    let updates = ["TOUCH document:a#viewer@user:x", "DELETE folder:b#viewer@user:y"].map(Into::into);
    event.details = vec![("updates".into(), Detail::Texts(updates.to_vec()))];
    wait(async {
        let intent = trail.intent(event).await.unwrap();
        intent.settle(done(3)).await;
    });
    trail.close();
    let told = |resource: &str| {
        let filter = Filter { resource: Some(resource.to_owned()), ..Filter::default() };
        let mut told = Vec::new();
        query(&world.directory(), &filter, &mut |row| {
            told.push(row.record.clone());
            true
        })
        .unwrap();
        told
    };
    for resource in ["document:a", "folder:b", "folder"] {
        let told = told(resource);
        assert_eq!(told.len(), 1, "{resource}");
        assert_eq!((&told[0]["kind"], &told[0]["revision"]), (&"outcome".into(), &3.into()));
        assert_eq!(told[0]["details"]["updates"][1], "DELETE folder:b#viewer@user:y");
    }
    assert!(told("document:b").is_empty() && told("user").is_empty());
}
