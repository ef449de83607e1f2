//! Following what changes: everything once, in order, from wherever one starts.

use idhini_model::{Change, EntryKind};

use super::*;
use crate::{Changes, Part};

fn from(world: &World, after: u64) -> Result<Changes, ReplicaError> {
    world.namespace.runtime.block_on(world.namespace.inner.changes(Revision(after)))
}

/// All parts that are there.
fn rest(world: &World, changes: &mut Changes) -> Result<Vec<Part>, ReplicaError> {
    world.namespace.runtime.block_on(async {
        let mut parts = Vec::new();
        while let Some(part) = changes.next().await? {
            parts.push(part);
        }
        Ok(parts)
    })
}

fn after(world: &World, revision: u64) -> Vec<Part> {
    rest(world, &mut from(world, revision).unwrap()).unwrap()
}

fn revisions(parts: &[Part]) -> Vec<u64> {
    parts.iter().map(|part| part.revision.0).collect()
}

fn shown(part: &Part) -> Vec<String> {
    match &part.kind {
        EntryKind::Relationships(changes) => changes
            .iter()
            .map(|change| match change {
                Change::Created(relationship) => format!("+ {relationship}"),
                Change::Replaced { new, .. } => format!("= {new}"),
                Change::Deleted(relationship) => format!("- {relationship}"),
            })
            .collect(),
        EntryKind::Schema { .. } => vec!["schema".to_owned()],
        EntryKind::Renumbering { .. } => vec!["renumbering".to_owned()],
    }
}

#[test]
fn everything_is_told_once_in_order_with_what_was_given_along() {
    let world = World::new();
    world.touch(&["document:a#viewer@user:ann", "document:a#viewer@user:bob"]);
    let mut noted = write(Operation::Touch, &[r#"document:a#viewer@user:ann[only_on:{"level":4}]"#]);
    noted.metadata = Context::from_json(r#"{"why":"a test"}"#).unwrap();
    world.namespace.write(noted.clone(), ALWAYS).unwrap();
    // What changes nothing is no entry.
    world.namespace.write(noted.clone(), ALWAYS).unwrap();
    world.namespace.write(write(Operation::Delete, &["document:a#viewer@user:nobody"]), ALWAYS).unwrap();
    world.namespace.write(write(Operation::Delete, &["document:a#viewer@user:ann"]), ALWAYS).unwrap();
    let parts = after(&world, 0);
    assert!(parts.iter().all(|part| part.is_last));
    assert_eq!(revisions(&parts), [1, 2, 3, 4]);
    let texts: Vec<Vec<String>> = parts.iter().map(shown).collect();
    assert_eq!(
        texts,
        [
            vec!["schema"],
            vec!["+ document:a#viewer@user:ann", "+ document:a#viewer@user:bob"],
            vec![r#"= document:a#viewer@user:ann[only_on:{"level":4}]"#],
            vec![r#"- document:a#viewer@user:ann[only_on:{"level":4}]"#],
        ]
    );
    assert_eq!(parts[2].origin.metadata, noted.metadata);
    assert!(parts[3].origin.metadata.is_empty());
}

#[test]
fn whoever_starts_after_a_revision_gets_exactly_the_rest() {
    let world = World::new();
    // More than is read at a time.
    for n in 0..40 {
        let ids: Vec<String> =
            (0..500).map(|m| format!("document:{n:0>40}x{m}#viewer@user:{m:0>40}")).collect();
        world.touch(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let all = after(&world, 0);
    assert_eq!(revisions(&all), (1..=41).collect::<Vec<_>>());
    for start in 0..=41 {
        assert_eq!(after(&world, start), all[start as usize..], "after {start}");
    }
    assert!(matches!(from(&world, 42), Err(ReplicaError::NotYet { .. })));
}

#[test]
fn a_large_entry_comes_in_parts_of_which_the_last_says_so() {
    let world = World::new();
    let texts: Vec<String> = (0..30_000).map(|n| format!("document:d{n}#viewer@user:u{n}")).collect();
    let imported: Vec<Relationship> = texts.iter().map(|text| relationship(text)).collect();
    world.namespace.import(imported, ALWAYS).unwrap();
    world.touch(&["document:after#viewer@user:ann"]);
    let parts = after(&world, 1);
    let large: Vec<&Part> = parts.iter().filter(|part| part.revision == Revision(2)).collect();
    assert!(large.len() > 1, "the import is too small to come in parts");
    let (last, others) = large.split_last().unwrap();
    assert!(last.is_last && others.iter().all(|part| !part.is_last));
    let told: Vec<String> = large.iter().flat_map(|part| shown(part)).collect();
    assert_eq!(told, texts.iter().map(|text| format!("+ {text}")).collect::<Vec<_>>());
    assert_eq!(shown(parts.last().unwrap()), ["+ document:after#viewer@user:ann"]);
}

#[test]
fn a_large_entry_can_be_read_on_from_any_of_its_parts() {
    let world = World::new();
    let texts: Vec<String> = (0..60_000).map(|n| format!("document:d{n}#viewer@user:u{n}")).collect();
    world.namespace.import(texts.iter().map(|text| relationship(text)).collect(), ALWAYS).unwrap();
    world.touch(&["document:after#viewer@user:ann"]);
    let parts = after(&world, 1);
    let count = parts.iter().filter(|part| part.revision == Revision(2)).count();
    assert!(count > 2, "{count} parts");
    assert!(parts.iter().take(count).map(|part| part.number).eq(0..count));
    let from_part = |part| {
        world.namespace.runtime.block_on(world.namespace.inner.changes_from(Revision(1), part)).unwrap()
    };
    for part in 0..count {
        assert_eq!(rest(&world, &mut from_part(part)).unwrap(), parts[part..], "from part {part}");
    }
    assert!(matches!(rest(&world, &mut from_part(count)), Err(ReplicaError::PastUnreadable(_))));
}

#[test]
fn sweeps_are_told_as_deletions() {
    let world = World::new();
    world.touch(&["document:a#viewer@user:ann[expiration:1970-01-01T00:20:00Z]"]);
    world.at(1_200);
    world.namespace.runtime.block_on(world.namespace.inner.sweep(10)).unwrap();
    assert_eq!(
        shown(after(&world, 2).last().unwrap()),
        ["- document:a#viewer@user:ann[expiration:1970-01-01T00:20:00Z]"]
    );
}

#[test]
fn what_was_trimmed_is_refused_by_name() {
    let world = World::new();
    for n in 0..5 {
        world.touch(&[&format!("document:d{n}#viewer@user:ann")]);
    }
    let mut slow = from(&world, 1).unwrap();
    world.namespace.runtime.block_on(world.log.trim(Revision(4))).unwrap();
    let expired = |result: Result<(), ReplicaError>, wanted: (u64, u64)| match result {
        Err(ReplicaError::Expired { asked, oldest }) => assert_eq!((asked.0, oldest.0), wanted),
        other => panic!("{other:?}"),
    };
    expired(rest(&world, &mut slow).map(|_| ()), (1, 3));
    expired(from(&world, 0).map(|_| ()), (0, 3));
    expired(from(&world, 2).map(|_| ()), (2, 3));
    assert_eq!(revisions(&after(&world, 3)), [4, 5, 6]);
    // At the head nothing of the past is needed.
    world.namespace.runtime.block_on(world.log.trim(Revision(7))).unwrap();
    assert_eq!(revisions(&after(&world, 6)), [0; 0]);
    expired(from(&world, 5).map(|_| ()), (5, 6));
}

#[test]
fn all_who_wait_are_woken_by_what_is_published() {
    let world = World::new();
    let namespace = Arc::clone(&world.namespace.inner);
    world.namespace.runtime.block_on(async {
        let follow = |mut changes: Changes| async move {
            let mut told = Vec::new();
            while told.len() < 20 {
                match changes.next().await.unwrap() {
                    Some(part) => told.push(part.revision.0),
                    None => changes.grown().await,
                }
            }
            told
        };
        let mut followers = Vec::new();
        for _ in 0..5 {
            followers.push(tokio::spawn(follow(namespace.changes(Revision(1)).await.unwrap())));
        }
        for n in 0..20 {
            let text = format!("document:d{n}#viewer@user:ann");
            namespace.write(write(Operation::Touch, &[&text]), ALWAYS).await.unwrap();
            if n % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for follower in followers {
            assert_eq!(follower.await.unwrap(), (2..=21).collect::<Vec<_>>());
        }
    });
}

/// Another writer of the same log: what it appends is told once this replica has it too, not before.
#[test]
fn nothing_is_told_that_cannot_be_read_here() {
    let world = World::new();
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_000));
    let other = Driven::open(Arc::clone(&world.log), clock, Options { writer_id: 2, ..Options::default() });
    let mut changes = from(&world, 1).unwrap();
    other.write(write(Operation::Touch, &["document:a#viewer@user:ann"]), ALWAYS).unwrap();
    assert_eq!(rest(&world, &mut changes).unwrap(), []);
    // Refused by the log, it catches up and judges again.
    world.touch(&["document:b#viewer@user:ann"]);
    let told = rest(&world, &mut changes).unwrap();
    assert_eq!(revisions(&told), [2, 3]);
    assert_eq!(shown(&told[0]), ["+ document:a#viewer@user:ann"]);
}
