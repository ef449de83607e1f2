//! Counters: who may register which, what they count, and that they are part of their revision.

use idhini_model::{Change, EntryKind};

use super::on_disk::Left;
use super::*;
use crate::{COUNTERS_MAX, Count, CounterChange, FollowError};

impl Driven {
    fn register(&self, name: &str, filter: Filter) -> Result<Revision, ReplicaError> {
        let change = CounterChange { name: name.to_owned(), filter: Some(filter) };
        self.runtime.block_on(self.inner.change_counter(change, ALWAYS))
    }

    fn unregister(&self, name: &str) -> Result<Revision, ReplicaError> {
        let change = CounterChange { name: name.to_owned(), filter: None };
        self.runtime.block_on(self.inner.change_counter(change, ALWAYS))
    }
}

fn of_relation(resource_type: &str, relation: &str) -> Filter {
    Filter { relation: Some(relation.to_owned()), ..of_type(resource_type) }
}

/// The counters of a revision with what they count at a moment.
fn counted(published: &Published, seconds: i64) -> Vec<(String, u64)> {
    let instant = Timestamp::from_seconds(seconds);
    let count = |filter| Count::new(published, filter, instant).advance(u64::MAX).unwrap();
    published.root().counters().map(|(name, filter)| (name.to_owned(), count(filter))).collect()
}

fn pairs(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn a_name_is_registered_once_and_taken_away_once() {
    let world = World::new();
    let viewers = of_relation("document", "viewer");
    assert_eq!(world.namespace.register("viewers", viewers.clone()).unwrap(), Revision(2));
    let again = world.refused(|namespace| namespace.register("viewers", of_type("group")));
    assert!(again.contains("counter `viewers` is registered already"), "{again}");
    assert_eq!(head(&world).root().counter("viewers"), Some(&viewers));
    assert_eq!(world.namespace.unregister("viewers").unwrap(), Revision(3));
    let absent = world.refused(|namespace| namespace.unregister("viewers"));
    assert!(absent.contains("no counter `viewers` is registered"), "{absent}");
    assert_eq!(world.namespace.register("viewers", of_type("group")).unwrap(), Revision(4));
}

#[test]
fn a_filter_that_names_what_the_schema_lacks_is_refused_before_the_name_is_looked_at() {
    let world = World::new();
    world.namespace.register("some", of_type("document")).unwrap();
    for (filter, says) in [
        (of_type("nothing"), "no definition `nothing`"),
        (of_relation("document", "owner"), "no relation or permission `owner`"),
        (of_relation("document", "view"), "is a permission"),
    ] {
        for name in ["some", "another"] {
            let refused = world.refused(|namespace| namespace.register(name, filter.clone()));
            assert!(refused.contains(says), "{refused}");
        }
    }
}

#[test]
fn only_so_many_counters_are_registered() {
    let world = World::new();
    for number in 0..COUNTERS_MAX {
        world.namespace.register(&format!("counter{number}"), of_type("document")).unwrap();
    }
    let refused = world.refused(|namespace| namespace.register("one_more", of_type("document")));
    assert!(refused.contains("unregister one first"), "{refused}");
    world.namespace.unregister("counter7").unwrap();
    world.namespace.register("one_more", of_type("document")).unwrap();
}

#[test]
fn counters_are_of_their_revision_and_count_what_is_there_then() {
    let world = World::new();
    let text = "document:a#viewer@user:tom";
    world.touch(&[text, "document:b#viewer@user:ann[expiration:1970-01-01T00:20:00Z]"]);
    world.namespace.register("viewers", of_relation("document", "viewer")).unwrap();
    world.touch(&["document:b#viewer@user:bob"]);
    world.at(1_500);
    world.namespace.unregister("viewers").unwrap();
    world.namespace.register("groups", of_type("group")).unwrap();
    assert_eq!(counted(&head(&world), 1_500), pairs(&[("groups", 0)]));
    for (revision, seconds, expected) in [
        (2, 1_000, &[][..]),
        (3, 1_000, &[("viewers", 2)]),
        (4, 1_000, &[("viewers", 3)]),
        (4, 1_200, &[("viewers", 2)]),
        (5, 1_500, &[]),
        (6, 1_500, &[("groups", 0)]),
    ] {
        let published = world.namespace.at(Revision(revision)).unwrap();
        assert_eq!(counted(&published, seconds), pairs(expected), "revision {revision} at {seconds}");
    }
    assert_eq!(counted(&world.namespace.at_moment(1_400).unwrap(), 1_400), pairs(&[("viewers", 2)]));
}

#[test]
fn a_schema_that_drops_what_a_counter_names_leaves_it_with_nothing_to_count() {
    let world = World::new();
    let text = "document:a#banned@user:tom";
    world.touch(&[text]);
    world.namespace.register("banned_ones", of_relation("document", "banned")).unwrap();
    let without = SCHEMA.replace("  relation banned: user\n", "").replace(" - banned", "");
    let orphans = world.refused(|namespace| namespace.write_schema(&without, ALWAYS));
    assert!(orphans.contains("stand in its way"), "{orphans}");
    world.namespace.write(write(Operation::Delete, &[text]), ALWAYS).unwrap();
    world.namespace.write_schema(&without, ALWAYS).unwrap();
    assert_eq!(counted(&head(&world), 1_000), pairs(&[("banned_ones", 0)]));
    world.namespace.write_schema(SCHEMA, ALWAYS).unwrap();
    world.touch(&[text]);
    assert_eq!(counted(&head(&world), 1_000), pairs(&[("banned_ones", 1)]));
}

#[test]
fn whoever_follows_passes_counters() {
    let world = World::new();
    world.namespace.register("viewers", of_relation("document", "viewer")).unwrap();
    world.touch(&["document:a#viewer@user:tom"]);
    let parts = world.namespace.runtime.block_on(async {
        let mut changes = world.namespace.inner.changes(Revision(1)).await.unwrap();
        let mut parts = Vec::new();
        while let Some(part) = changes.next().await.unwrap() {
            parts.push(part);
        }
        parts
    });
    let [counter, write] = &parts[..] else { panic!("{parts:?}") };
    assert!(matches!(&counter.kind, EntryKind::Counter { name, old: None, .. } if name == "viewers"));
    assert!(
        matches!(&write.kind, EntryKind::Relationships(changes) if matches!(changes[..], [Change::Created(_)]))
    );
    assert_eq!((counter.revision, counter.is_last, write.revision), (Revision(2), true, Revision(3)));
}

#[test]
fn counters_come_back_from_the_log_and_from_images() -> Result<(), FollowError> {
    for with_image in [false, true] {
        let left = Left::new(Options::default());
        let namespace = left.furnished(3);
        let change = |name: &str, filter| CounterChange { name: name.to_owned(), filter };
        let ask = |counter| left.runtime.block_on(namespace.change_counter(counter, ALWAYS)).unwrap();
        ask(change("viewers", Some(of_relation("document", "viewer"))));
        ask(change("gone", Some(of_type("group"))));
        if with_image {
            left.runtime.block_on(namespace.image()).unwrap();
        }
        ask(change("gone", None));
        let revision = ask(change("groups", Some(of_type("group"))));
        let expected = pairs(&[("groups", 0), ("viewers", 3)]);
        assert_eq!(counted(&namespace.head(), 1_000), expected);
        drop(namespace);
        let images = with_image.then(|| left.images());
        let opened = Namespace::open(left.log(), images, left.clock(), left.options);
        let namespace = left.runtime.block_on(opened)?;
        assert_eq!((namespace.head().revision(), counted(&namespace.head(), 1_000)), (revision, expected));
        let before = left.runtime.block_on(namespace.at(Revision(revision.0 - 2))).unwrap();
        assert_eq!(counted(&before, 1_000), pairs(&[("gone", 0), ("viewers", 3)]));
    }
    Ok(())
}
