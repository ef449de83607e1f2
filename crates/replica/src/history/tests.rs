//! Is what a kept revision is said to take what dropping it gives back? Held against the allocator, on random writes.

use std::sync::Arc;

use idhini_graph::Root;
use idhini_model::{
    CaveatUse, Change, Context, Entry, EntryKind, Relationship, ResourceRef, Revision, SubjectRef, Timestamp,
};

use super::History;
use crate::{Options, Published};

const SCHEMA: &str = "use expiration
caveat only_on(day string) { day == \"tuesday\" }
definition user {}
definition group { relation member: user | group#member }
definition document { relation viewer: user | user:* | group#member | user with only_on | user with expiration }
";

/// Random and the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A graph that grows and changes as one with so many relationships would.
struct Growing {
    published: Published,
    chance: Chance,
    objects: u64,
}

impl Growing {
    fn new(relationships: u64, seed: u64) -> Growing {
        let mut published = Published::new(Root::empty_seeded(seed), None);
        let kind = EntryKind::Schema { new: SCHEMA.to_owned(), old: String::new() };
        published.apply(&Entry { revision: Revision(1), kind }).unwrap();
        let mut growing = Growing { published, chance: Chance(seed), objects: relationships / 4 + 10 };
        growing.write(relationships);
        growing
    }

    fn relationship(&mut self) -> Relationship {
        let Growing { chance, objects, .. } = self;
        let mut id = |kind: &str| format!("{kind}-{}", chance.below(*objects));
        let (resource, user, group) = (id("resource"), id("user"), id("group"));
        let at = |object_type: &str, id: &str| ResourceRef::new(object_type, id);
        match chance.below(8) {
            0 => {
                let subject = SubjectRef::userset("group", id_of(chance, *objects), "member");
                Relationship::new(at("group", &group), "member", subject)
            }
            1..=3 => Relationship::new(at("group", &group), "member", SubjectRef::object("user", user)),
            4 => Relationship::new(
                at("document", &resource),
                "viewer",
                SubjectRef::userset("group", group, "member"),
            ),
            kind => {
                // Few documents that very many see, so that their rows are of the long kind.
                let resource = if kind == 5 { "popular".to_owned() } else { resource };
                let mut found =
                    Relationship::new(at("document", &resource), "viewer", SubjectRef::object("user", user));
                if kind == 6 {
                    let context =
                        Context::from_json(&format!("{{\"day\": \"{}\"}}", chance.below(20))).unwrap();
                    found.caveat = Some(CaveatUse { name: "only_on".to_owned(), context });
                } else if kind == 7 {
                    found.expires_at = Some(Timestamp::from_seconds(chance.below(1 << 40).cast_signed()));
                }
                found
            }
        }
    }

    /// So many changes in one entry: created, or deleted where they are there.
    fn write(&mut self, count: u64) {
        let mut changes: Vec<Change> = Vec::new();
        let mut named = std::collections::HashSet::new();
        for _ in 0..count {
            let relationship = self.relationship();
            let identity =
                format!("{}#{}@{}", relationship.resource, relationship.relation, relationship.subject);
            if named.insert(identity) {
                changes.push(match self.published.root().find(&relationship) {
                    Some(found) => Change::Deleted(found),
                    None => Change::Created(relationship),
                });
            }
        }
        let revision = self.published.revision().next();
        self.published.apply(&Entry { revision, kind: EntryKind::Relationships(changes) }).unwrap();
    }

    fn write_schema(&mut self, new: String) {
        let revision = self.published.revision().next();
        let old = self.published.root().schema_text().to_owned();
        self.published.apply(&Entry { revision, kind: EntryKind::Schema { new, old } }).unwrap();
    }
}

fn id_of(chance: &mut Chance, objects: u64) -> String {
    format!("group-{}", chance.below(objects))
}

/// What a class's versions take that go at once, each with a few subjects.
const VERSIONS_BYTES_MAX: u64 = 64 * 128;

/// What the allocator gets back when this is dropped.
fn given_back<T>(dropped: T) -> u64 {
    let before = allocation_counter::measure(|| drop(dropped));
    u64::try_from(-before.bytes_current).unwrap()
}

#[test]
fn a_kept_revision_takes_what_dropping_it_gives_back() {
    let options = Options { kept_bytes_max: u64::MAX, ..Options::default() };
    for (relationships, writes, changes) in
        [(0, 200, 1), (100, 200, 1), (1_000, 100, 10), (20_000, 200, 1), (20_000, 20, 300), (60_000, 50, 3)]
    {
        let mut growing = Growing::new(relationships, relationships + 7);
        let moment = Timestamp::from_seconds(0);
        let mut history = History::new(Arc::new(growing.published.clone()), moment);
        for _ in 0..writes {
            let before = Arc::clone(&history.newest);
            growing.write(changes);
            let newest = Arc::new(growing.published.clone());
            let bytes = before.bytes_beyond(&newest);
            assert!(history.push((newest, moment), bytes, &options).is_empty());
        }
        let (count, all) = history.beside_newest();
        assert_eq!(count, writes);
        let said = format!("{relationships} relationships, {changes} changes");
        let mut sum = 0;
        while history.kept.len() > 1 {
            let (oldest, bytes) = history.kept.pop_front().unwrap();
            let freed = given_back(oldest);
            sum += freed;
            // Versions of classes go with the last of those that know them.
            assert!(
                bytes <= freed + freed / 4 + 256 && freed <= bytes + bytes / 4 + 256 + VERSIONS_BYTES_MAX,
                "{said}: {bytes} {freed}"
            );
        }
        assert!(all.abs_diff(sum) <= sum / 10, "{said}: {all} said, {sum} given back");
    }
}

#[test]
fn a_kept_schema_is_counted_too() {
    for definitions in [1, 30, 300] {
        let mut growing = Growing::new(0, 1);
        let with = |n: usize| {
            let more = (0..definitions).map(|d| {
                format!("definition thing{d} {{\n relation owner: user | group#member\n relation parent: thing{d}\n permission view = owner + parent->view\n}}\n")
            });
            format!("{SCHEMA}{}definition last{n} {{}}\n", more.collect::<String>())
        };
        growing.write_schema(with(0));
        let before = growing.published.clone();
        growing.write_schema(with(1));
        let bytes = before.bytes_beyond(&growing.published);
        let freed = given_back(before);
        assert!(
            bytes <= 2 * freed && freed <= 2 * bytes,
            "{definitions} definitions: {bytes} said, {freed} given back"
        );
    }
}

#[test]
fn the_oldest_go_first_and_the_newest_never() {
    let mut growing = Growing::new(100, 3);
    let moment = Timestamp::from_seconds(0);
    let mut history = History::new(Arc::new(growing.published.clone()), moment);
    let options = Options { kept_bytes_max: 100, ..Options::default() };
    let mut push = |history: &mut History, bytes| {
        growing.write(1);
        let newest = Arc::new(growing.published.clone());
        let revision = newest.revision();
        let dropped = history.push((newest, moment), bytes, &options);
        assert_eq!(history.newest.revision(), revision);
        assert!(history.from(revision).is_some());
        (dropped.len(), history.beside_newest())
    };
    assert_eq!(push(&mut history, 60), (0, (1, 60)));
    assert_eq!(push(&mut history, 40), (0, (2, 100)));
    assert_eq!(push(&mut history, 1), (1, (2, 41)));
    // What is too large for all of it is let go of as soon as it is not the newest.
    assert_eq!(push(&mut history, 1_000), (3, (0, 0)));
    assert_eq!(push(&mut history, 5), (0, (1, 5)));
}
