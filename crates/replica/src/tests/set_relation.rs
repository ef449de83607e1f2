//! A relation set to exactly these subjects, by the difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use idhini_model::{Change, Context, EntryKind, Relationship};

use super::{ALWAYS, World, must_match, of_type, relationship};
use crate::{Member, Namespace, ReplicaError, Set, SetRelation, Tally};

/// Of relationships written out: all of one resource and relation.
fn set(resource: &str, relation: &str, texts: &[&str]) -> SetRelation {
    let member = |text: &&str| {
        let Relationship { subject, caveat, expires_at, .. } =
            relationship(&format!("{resource}#{relation}@{text}"));
        Member { subject, caveat, expires_at }
    };
    SetRelation {
        resource: resource.parse().unwrap(),
        relation: relation.to_owned(),
        members: texts.iter().map(member).collect(),
        preconditions: Vec::new(),
        changes_max: 1_000,
        metadata: Context::default(),
    }
}

fn done(world: &World, request: SetRelation) -> Result<Set, ReplicaError> {
    world.namespace.runtime.block_on(world.namespace.inner.set_relation(request, ALWAYS))
}

fn tally(created: u64, replaced: u64, deleted: u64) -> Tally {
    Tally { created, replaced, deleted }
}

/// What the last entry changed.
fn last_changes(world: &World) -> Vec<Change> {
    let head = world.namespace.head().revision();
    let mut changes = world.namespace.runtime.block_on(async {
        let before = idhini_model::Revision(head.0 - 1);
        let mut changes = world.namespace.inner.changes(before).await.unwrap();
        let part = changes.next().await.unwrap().unwrap();
        let EntryKind::Relationships(changes) = part.kind else { panic!("{:?}", part.kind) };
        changes
    });
    changes.sort_by_key(|change| change.relationship().to_string());
    changes
}

#[test]
fn only_what_differs_is_changed_and_counted() {
    let world = World::new();
    world.touch(&[
        "document:a#viewer@user:stays",
        "document:a#viewer@user:goes",
        "document:a#viewer@user:changes",
        "document:a#viewer@group:eng#member",
        "document:a#banned@user:other",
        "document:b#viewer@user:other",
    ]);
    let wanted = ["user:stays", "user:comes", "user:changes[only_on]", "user:*"];
    let first = done(&world, set("document:a", "viewer", &wanted)).unwrap();
    assert_eq!(first.tally, tally(2, 1, 2));
    assert_eq!(
        world.texts(),
        [
            "document:a#banned@user:other",
            "document:a#viewer@user:*",
            "document:a#viewer@user:changes[only_on]",
            "document:a#viewer@user:comes",
            "document:a#viewer@user:stays",
            "document:b#viewer@user:other",
        ]
    );
    let changes = last_changes(&world);
    assert!(changes.iter().all(|change| change.relationship().subject.object_id != "stays"), "{changes:?}");
    assert_eq!(changes.len(), 5);
    // Again nothing differs: there is no entry.
    let again = done(&world, set("document:a", "viewer", &wanted)).unwrap();
    assert_eq!(again, Set { revision: first.revision, tally: tally(0, 0, 0) });
    assert_eq!(done(&world, set("document:a", "viewer", &[])).unwrap().tally, tally(0, 0, 4));
    assert_eq!(world.texts(), ["document:a#banned@user:other", "document:b#viewer@user:other"]);
}

#[test]
fn expired_relationships_count_as_absent() {
    let world = World::new();
    world.touch(&[
        "document:a#viewer@user:tom[expiration:1970-01-01T00:33:20Z]",
        "document:a#viewer@user:ann[expiration:1970-01-01T00:33:20Z]",
    ]);
    world.at(2_000);
    let set = done(&world, set("document:a", "viewer", &["user:tom"])).unwrap();
    assert_eq!(set.tally, tally(1, 0, 0));
    assert_eq!(world.texts(), ["document:a#viewer@user:tom"]);
    // The other one is the sweep's.
    assert_eq!(last_changes(&world).len(), 1);
}

#[test]
fn what_cannot_be_set_is_refused_and_leaves_everything_as_it_was() {
    let world = World::new();
    world.touch(&["document:a#viewer@user:tom"]);
    for (request, says) in [
        (set("document:a", "view", &[]), "permission"),
        (set("document:a", "nothing", &[]), "no relation or permission"),
        (set("nothing:a", "viewer", &[]), "no definition"),
        (set("document:a", "viewer", &["user:ann", "group:eng"]), "group"),
        (set("document:a", "viewer", &["user:ann", "user:ann[only_on]"]), "more than once"),
        (
            SetRelation {
                preconditions: vec![must_match(of_type("group"))],
                ..set("document:a", "viewer", &["user:ann"])
            },
            "precondition",
        ),
    ] {
        let text = format!("{request:?}");
        let refused = world.refused(|n| n.runtime.block_on(n.inner.set_relation(request, ALWAYS)));
        assert!(refused.contains(says), "{text}: {refused}");
    }
}

#[test]
fn no_more_is_changed_than_the_request_may() {
    let world = World::new();
    let many: Vec<String> = (0..50).map(|n| format!("user:u{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let limited = |texts: &[&str]| SetRelation { changes_max: 30, ..set("document:a", "viewer", texts) };
    let too_many = |refused: ReplicaError| {
        assert!(matches!(refused, ReplicaError::TooManyToSet { changes_max: 30 }), "{refused:?}");
    };
    too_many(done(&world, limited(&many)).unwrap_err());
    done(&world, limited(&many[..30])).unwrap();
    done(&world, limited(&many)).unwrap();
    too_many(done(&world, limited(&[])).unwrap_err());
    too_many(done(&world, limited(&["user:x", "user:y", "user:z"])).unwrap_err());
    // Many stand there, but few differ.
    assert_eq!(done(&world, limited(&many[..49])).unwrap().tally, tally(0, 0, 1));
    assert_eq!(world.texts().len(), 49);
}

/// The next of a sequence that has no pattern.
fn next(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[test]
fn random_sets_leave_exactly_what_was_asked_and_count_the_difference() {
    let world = World::new();
    let mut state = 7;
    let mut model: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..400 {
        let resource = format!("document:d{}", next(&mut state, 3));
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..next(&mut state, 9) {
            let subject = format!("user:u{}", next(&mut state, 12));
            let attributes = ["", "[only_on]", "[expiration:2100-01-01T00:00:00Z]"];
            let attributes = attributes[next(&mut state, 3) as usize];
            wanted.insert(subject.clone(), format!("{subject}{attributes}"));
        }
        let wanted: Vec<String> = wanted.into_values().collect();
        let texts: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let before = model.insert(resource.clone(), wanted.clone()).unwrap_or_default();
        let subject = |text: &String| text.split('[').next().unwrap().to_owned();
        let subjects = |all: &[String]| all.iter().map(subject).collect::<Vec<_>>();
        let (old, new) = (subjects(&before), subjects(&wanted));
        let created = new.iter().filter(|s| !old.contains(s)).count() as u64;
        let deleted = old.iter().filter(|s| !new.contains(s)).count() as u64;
        let kept = wanted.iter().filter(|text| before.contains(text)).count() as u64;
        let expected = tally(created, wanted.len() as u64 - created - kept, deleted);
        assert_eq!(done(&world, set(&resource, "viewer", &texts)).unwrap().tally, expected);
        let mut all: Vec<String> = model
            .iter()
            .flat_map(|(resource, texts)| texts.iter().map(move |t| format!("{resource}#viewer@{t}")))
            .collect();
        all.sort();
        assert_eq!(world.texts(), all);
    }
}

#[test]
fn sets_that_race_never_mix() {
    let world = World::new();
    let groups: Vec<Vec<String>> =
        (0..8).map(|n| (0..20).map(|m| format!("user:w{n}x{m}")).collect()).collect();
    world.namespace.runtime.block_on(async {
        let setting: Vec<_> = (0..80)
            .map(|n| {
                let texts: Vec<&str> = groups[n % 8].iter().map(String::as_str).collect();
                let (request, inner): (_, Arc<Namespace>) =
                    (set("document:a", "viewer", &texts), Arc::clone(&world.namespace.inner));
                tokio::spawn(async move { inner.set_relation(request, ALWAYS).await.unwrap() })
            })
            .collect();
        for setting in setting {
            let set = setting.await.unwrap();
            assert!(set.tally.created == 20 || set.tally == Tally::default());
        }
    });
    let texts = world.texts();
    let whole = |group: &Vec<String>| {
        let mut all: Vec<String> = group.iter().map(|s| format!("document:a#viewer@{s}")).collect();
        all.sort();
        all == texts
    };
    assert_eq!(groups.iter().filter(|group| whole(group)).count(), 1, "{texts:?}");
}
