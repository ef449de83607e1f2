//! The graph through its public face, at the sizes that it ships with.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use idhini_graph::{ClassId, Root, TypeId};
use idhini_model::{Change, Entry, EntryKind, Relationship, ResourceRef, SubjectRef};

const SCHEMA: &str = "
definition user {}
definition group { relation member: user | group#member }
definition document {
    relation viewer: user | user:* | group#member
    relation owner: user
    relation banned: user
}";

fn rooted() -> Root {
    let mut root = Root::empty();
    let kind = EntryKind::Schema { new: SCHEMA.to_owned(), old: String::new() };
    root.apply(&next(&root, kind)).unwrap();
    root
}

fn next(root: &Root, kind: EntryKind) -> Entry {
    Entry { revision: root.revision().next(), kind }
}

fn edge(resource: u32, relation: &str, user: u32) -> Relationship {
    let resource = ResourceRef::new("document", format!("d{resource}"));
    Relationship::new(resource, relation, SubjectRef::object("user", format!("u{user}")))
}

fn create(root: &mut Root, edges: impl IntoIterator<Item = Relationship>) -> Entry {
    let entry = next(root, EntryKind::Relationships(edges.into_iter().map(Change::Created).collect()));
    root.apply(&entry).unwrap();
    entry
}

fn delete(root: &mut Root, edges: impl IntoIterator<Item = Relationship>) -> Entry {
    let entry = next(root, EntryKind::Relationships(edges.into_iter().map(Change::Deleted).collect()));
    root.apply(&entry).unwrap();
    entry
}

struct Names {
    viewer: ClassId,
    document: TypeId,
    user: TypeId,
}

fn names(root: &Root) -> Names {
    let viewer = root.class_of(&edge(0, "viewer", 0)).unwrap();
    let class = root.class(viewer);
    Names { viewer, document: class.resource_type, user: class.subject_type }
}

/// A permutation of `0..len` without a generator of randomness.
fn shuffled(len: u32) -> impl Iterator<Item = u32> {
    let step = (0..).map(|extra| len / 2 + 1 + extra).find(|step| gcd(*step, len) == 1).unwrap_or(1);
    (0..len).map(move |at| (u64::from(at) * u64::from(step) % u64::from(len)) as u32)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Every document has its own user and a user that all have: rows short one way, one long the other way.
fn boundary(objects: u32) {
    let mut root = rooted();
    let edges = |at: u32| [edge(at, "viewer", at), edge(at, "owner", objects)];
    create(&mut root, (0..objects - 1).flat_map(edges));
    let before = root.clone();
    let last = create(&mut root, edges(objects - 1));
    let names = names(&root);
    let owner = root.class_of(&edge(0, "owner", 0)).unwrap();
    for (root, objects) in [(&before, objects - 1), (&root, objects)] {
        assert_eq!(root.object_count(names.document), objects);
        assert_eq!(root.object_count(names.user), objects + 1);
        assert_eq!(root.relationship_count(), 2 * u64::from(objects));
        let all =
            root.object(names.user, &format!("u{}", objects.max(before.object_count(names.document) + 1)));
        let all = all.unwrap();
        assert_eq!(root.resources(owner, all).len(), objects as usize);
        for document in (0..objects).filter(|d| *d < 70 || *d + 70 > objects) {
            let id = root.object_id(names.document, document);
            assert_eq!(root.object(names.document, id), Some(document));
            let own = root.object(names.user, &id.replace('d', "u")).unwrap();
            assert_eq!(root.subjects(names.viewer, document).iter().collect::<Vec<_>>(), [own]);
            assert_eq!(root.resources(names.viewer, own).iter().collect::<Vec<_>>(), [document]);
            assert!(root.resources(owner, all).contains(document));
        }
        assert!(root.edges(names.viewer, 0).map(|(document, _)| document).eq(0..objects));
        assert_eq!(root.edges(names.viewer, objects - 1).count(), 1);
        assert_eq!(root.edges(names.viewer, objects).count(), 0);
        assert!(root.subjects(names.viewer, objects).is_empty());
    }
    let after = root.content();
    root.undo(&last).unwrap();
    assert_eq!(root.content(), before.content());
    root.apply(&last).unwrap();
    assert_eq!(root.content(), after);
}

#[test]
fn leaves_and_levels_begin_and_end_where_they_should() {
    for objects in [63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 4095, 4096, 4097, 16_384, 16_385] {
        boundary(objects);
    }
}

/// One row that grows by `steps` and shrinks again, its neighbours staying as they are.
fn grow_and_shrink(steps: &[u32]) {
    let mut root = rooted();
    create(&mut root, (0..64).map(|document| edge(document, "banned", document)));
    let names = names(&root);
    let mut kept = vec![(root.clone(), 0)];
    let mut log = Vec::new();
    let mut len = 0;
    for step in steps {
        log.push(create(&mut root, (len..len + step).map(|user| edge(7, "viewer", user))));
        len += step;
        kept.push((root.clone(), len));
    }
    for step in steps {
        len -= step;
        log.push(delete(&mut root, (len..len + step).map(|user| edge(7, "viewer", user))));
        kept.push((root.clone(), len));
    }
    for (root, len) in &kept {
        let document = root.object(names.document, "d7").unwrap();
        let run = root.subjects(names.viewer, document);
        let mut users: Vec<u32> =
            (0..*len).map(|u| root.object(names.user, &format!("u{u}")).unwrap()).collect();
        users.sort_unstable();
        assert!(run.iter().eq(users.iter().copied()), "{len}");
        assert_eq!(run.len(), users.len());
        for (at, user) in users.iter().enumerate().step_by(17) {
            assert!(run.contains(*user) && run.get(at) == Some(*user) && run.position(*user) == at);
            assert!(run.iter_from(*user).eq(users[at..].iter().copied()));
        }
        let banned = root.class_of(&edge(0, "banned", 0)).unwrap();
        assert_eq!(root.edges(banned, 0).count(), 64);
    }
    for (entry, (before, _)) in log.iter().zip(&kept).rev() {
        root.undo(entry).unwrap();
        assert_eq!(root.content(), before.content());
    }
}

#[test]
fn a_row_spills_splits_and_returns() {
    grow_and_shrink(&[127, 1, 1, 126, 1, 1, 127, 126, 1, 1, 1]);
    grow_and_shrink(&[2_000, 1, 1]);
    grow_and_shrink(&[1, 63, 64, 65, 500, 513, 3_000]);
}

#[test]
fn a_million_subjects_of_one_object_change_one_by_one() {
    const SUBJECTS: u32 = 1_000_000;
    let mut root = rooted();
    create(&mut root, shuffled(SUBJECTS).map(|user| edge(0, "viewer", user)));
    let names = names(&root);
    let loaded = root.clone();
    assert_eq!(root.subjects(names.viewer, 0).len(), SUBJECTS as usize);
    assert!(root.subjects(names.viewer, 0).iter().eq(0..SUBJECTS));
    let held = |root: &Root| root.memory().total_bytes();
    let per_edge = held(&root) / u64::from(SUBJECTS);
    assert!(per_edge <= 48, "{per_edge} bytes an edge, a user each");

    for user in shuffled(SUBJECTS).step_by(10_007) {
        let before = root.clone();
        delete(&mut root, [edge(0, "viewer", user)]);
        let copied = root.memory_beyond(&before).total_bytes();
        assert!(copied < 32 * 1024, "{copied} bytes copied for one edge less");
    }
    let gone = (SUBJECTS as usize).div_ceil(10_007);
    assert_eq!(root.subjects(names.viewer, 0).len(), SUBJECTS as usize - gone);
    assert_eq!(loaded.subjects(names.viewer, 0).len(), SUBJECTS as usize);
}

#[test]
fn one_entry_and_many_give_the_same_edges() {
    let edges =
        || shuffled(40_000).map(|at| edge(at % 600, if at % 3 == 0 { "owner" } else { "viewer" }, at / 7));
    let distinct: Vec<Relationship> = {
        let mut seen = BTreeSet::new();
        edges().filter(|edge| seen.insert(edge.to_string())).collect()
    };
    let (mut one, mut many) = (rooted(), rooted());
    create(&mut one, distinct.iter().cloned());
    for portion in distinct.chunks(97) {
        create(&mut many, portion.iter().cloned());
    }
    // Numbers depend on the order only, which is the same; births and revision tell the entries apart.
    let (one, many) = (one.content(), many.content());
    assert_eq!(one.classes, many.classes);
    let objects = |content: &idhini_graph::Content| -> Vec<Vec<String>> {
        content.types.iter().map(|object_type| object_type.objects.clone()).collect()
    };
    assert_eq!(objects(&one), objects(&many));
}

#[test]
fn what_nobody_else_holds_is_changed_in_place_and_costs_no_more_than_its_edges() {
    let mut root = rooted();
    for portion in 0..100 {
        create(
            &mut root,
            (0..1_000).map(|at| edge(portion * 200 + at % 200, "viewer", portion * 37 + at / 10)),
        );
    }
    let built = root.memory().edges_bytes();
    assert!(built / root.relationship_count() <= 16, "{built} bytes for {}", root.relationship_count());
}

#[test]
fn a_clone_shares_everything_and_a_change_little() {
    let mut root = rooted();
    create(&mut root, (0..100_000).map(|at| edge(at / 5, "viewer", at % 9_000)));
    let before = root.clone();
    assert_eq!(root.memory_beyond(&before).total_bytes(), 0);
    create(&mut root, [edge(3, "owner", 5)]);
    let copied = root.memory_beyond(&before).total_bytes();
    assert!(copied > 0 && copied < 10_000, "{copied}");
    // Against a root that shares nothing, everything counts.
    let all = root.memory().total_bytes();
    let alone = root.memory_beyond(&Root::empty()).total_bytes();
    assert!(alone >= all * 9 / 10, "{alone} of {all}");
}
