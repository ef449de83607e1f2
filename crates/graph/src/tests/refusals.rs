//! Entries that do not apply: a typed error, and nothing changed.

use idhini_model::{Change, Entry, EntryKind, Filter, Revision};

use super::sketch::{
    SCHEMAS, changes, created, deleted, entry, relationship, replaced, rooted, schema_entry,
};
use crate::{ApplyError, Root};

/// A root with a few relationships.
fn filled() -> Root {
    let mut root = rooted();
    let texts = [
        "document:readme#viewer@user:tom",
        "document:readme#viewer@user:ann[only_on]",
        "group:eng#member@user:tom[expiration:2030-01-31T12:00:00Z]",
    ];
    let entry = changes(&root, created(&texts));
    root.apply(&entry).unwrap();
    root
}

/// Asserts that the entry is refused and that the root is as it was, and still takes what is right.
fn refused(root: &Root, entry: &Entry) -> ApplyError {
    let before = root.content();
    let mut root = root.clone();
    let error = root.apply(entry).unwrap_err();
    assert_eq!(root.content(), before);
    let right = changes(&root, created(&["document:new#viewer@user:new"]));
    root.apply(&right).unwrap();
    root.undo(&right).unwrap();
    assert_eq!(root.content(), before);
    error
}

/// Refuses these changes behind and before good ones that number new objects.
fn refused_among_others(root: &Root, bad: &Change) -> ApplyError {
    let good = |at: usize| created(&[&*format!("document:other{at}#viewer@user:other{at}")]);
    let around: Vec<Change> = [good(0), vec![bad.clone()], good(1)].concat();
    refused(root, &changes(root, around))
}

#[test]
fn creating_what_is_present() {
    let root = filled();
    let there = relationship("document:readme#viewer@user:tom");
    let error = refused_among_others(&root, &Change::Created(there.clone()));
    assert_eq!(error, ApplyError::Present { relationship: Box::new(there) });
}

#[test]
fn deleting_what_is_absent() {
    let root = filled();
    for text in [
        "document:readme#viewer@user:nobody",
        "document:nothing#viewer@user:tom",
        "document:readme#banned@user:tom",
    ] {
        let error = refused_among_others(&root, &deleted(&[text])[0]);
        assert_eq!(error, ApplyError::Absent { relationship: Box::new(relationship(text)) });
    }
    let text = "document:readme#viewer@user:nobody";
    let error = refused_among_others(&root, &replaced(text, text));
    assert!(matches!(error, ApplyError::Absent { .. }));
}

#[test]
fn other_attributes_than_recorded() {
    let root = filled();
    let wrong = [
        deleted(&["document:readme#viewer@user:ann"])[0].clone(),
        deleted(&[r#"document:readme#viewer@user:ann[only_on:{"a":1}]"#])[0].clone(),
        deleted(&["document:readme#viewer@user:tom[only_on]"])[0].clone(),
        deleted(&["group:eng#member@user:tom[expiration:2030-01-31T12:00:01Z]"])[0].clone(),
        replaced("document:readme#viewer@user:ann", "document:readme#viewer@user:ann[never]"),
    ];
    for change in wrong {
        assert!(
            matches!(refused_among_others(&root, &change), ApplyError::OtherAttributes { .. }),
            "{change:?}"
        );
    }
}

#[test]
fn one_relationship_twice() {
    let root = filled();
    let text = "document:plan#viewer@user:new";
    let twice = changes(&root, created(&[text, "document:plan#viewer@user:ann", text]));
    assert_eq!(refused(&root, &twice), ApplyError::Repeated { relationship: Box::new(relationship(text)) });
    let there = "document:readme#viewer@user:tom";
    let twice = changes(&root, [deleted(&[there]), created(&[there])].concat());
    assert!(matches!(refused(&root, &twice), ApplyError::Repeated { .. }));
}

#[test]
fn what_the_schema_does_not_admit() {
    let root = filled();
    for text in [
        "document:readme#nothing@user:tom",
        "nothing:readme#viewer@user:tom",
        "document:readme#viewer@nobody:tom",
        "document:readme#viewer@group:eng#owner",
        "document:readme#viewer@group:eng",
        "document:readme#banned@user:*",
    ] {
        let error = refused_among_others(&root, &created(&[text])[0]);
        assert_eq!(error, ApplyError::UnknownClass { relationship: Box::new(relationship(text)) }, "{text}");
    }
}

#[test]
fn creating_in_a_class_that_the_schema_dropped() {
    let mut root = filled();
    let drop_banned = schema_entry(&root, SCHEMAS[1]);
    root.apply(&drop_banned).unwrap();
    let error = refused_among_others(&root, &created(&["document:readme#banned@user:tom"])[0]);
    assert!(matches!(error, ApplyError::UnknownClass { .. }));
}

#[test]
fn another_revision_than_the_next() {
    let root = filled();
    for revision in [0, 1, 2, 4, u64::MAX] {
        let entry = Entry { revision: Revision(revision), kind: EntryKind::Relationships(Vec::new()) };
        assert_eq!(
            refused(&root, &entry),
            ApplyError::NotNext { at: Revision(2), found: Revision(revision) },
        );
    }
}

#[test]
fn schemas_that_do_not_parse_or_do_not_follow() {
    let root = filled();
    let error = refused(&root, &schema_entry(&root, "definition user {"));
    assert!(matches!(error, ApplyError::Schema(_)));
    let kind = EntryKind::Schema { new: SCHEMAS[1].to_owned(), old: SCHEMAS[2].to_owned() };
    assert_eq!(refused(&root, &entry(&root, kind)), ApplyError::OtherSchema { found: Revision(3) });
    let schema = root.schema().unwrap().clone();
    let none = changes(&root, Vec::new());
    let mut other = root;
    assert_eq!(
        other.apply_schema_parsed(&none, schema).unwrap_err(),
        ApplyError::NotASchema { found: Revision(3) },
    );
}

#[test]
fn more_objects_than_numbers() {
    let mut root = filled();
    root.numbers_end = 3;
    let user = |id: u32| Change::Created(relationship(&format!("document:readme#viewer@user:u{id}")));
    let three = changes(&root, vec![user(0), user(1)]);
    assert_eq!(refused_exhausted(&root, &three), "user");
    let fits = changes(&root, vec![user(0)]);
    root.apply(&fits).unwrap();
    let full = changes(&root, vec![user(1)]);
    assert_eq!(refused_exhausted(&root, &full), "user");
}

fn refused_exhausted(root: &Root, entry: &Entry) -> String {
    let before = root.content();
    let mut root = root.clone();
    match root.apply(entry) {
        Err(ApplyError::ObjectsExhausted { object_type }) => {
            assert_eq!(root.content(), before);
            object_type
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_object_id_longer_than_any() {
    let root = filled();
    let mut change = relationship("document:readme#viewer@user:tom");
    change.subject.object_id = "x".repeat(1025);
    let error = refused_among_others(&root, &Change::Created(change.clone()));
    assert_eq!(error, ApplyError::ObjectIdTooLong { object_type: "user".to_owned(), bytes: 1025 });
    change.subject.object_id = "x".repeat(1024);
    let mut root = root;
    let longest = changes(&root, vec![Change::Created(change.clone())]);
    root.apply(&longest).unwrap();
    assert_eq!(root.find(&change), Some(change));
}

#[test]
fn undoing_what_was_not_last_or_is_recorded_otherwise() {
    let mut root = filled();
    let before = root.content();
    let other = |revision| Entry { revision: Revision(revision), kind: EntryKind::Relationships(Vec::new()) };
    for revision in [0, 1, 3] {
        assert_eq!(
            root.undo(&other(revision)).unwrap_err(),
            ApplyError::NotLast { at: Revision(2), found: Revision(revision) },
        );
    }
    let wrong = |kind| Entry { revision: Revision(2), kind };
    let absent = wrong(EntryKind::Relationships(created(&["document:plan#viewer@user:tom"])));
    assert!(matches!(root.undo(&absent), Err(ApplyError::Absent { .. })));
    let present = wrong(EntryKind::Relationships(deleted(&["document:readme#viewer@user:tom"])));
    assert!(matches!(root.undo(&present), Err(ApplyError::Present { .. })));
    let schema = wrong(EntryKind::Schema { new: SCHEMAS[1].to_owned(), old: String::new() });
    assert!(matches!(root.undo(&schema), Err(ApplyError::OtherSchema { .. })));
    assert_eq!(root.content(), before);
    assert!(matches!(Root::empty().undo(&other(0)), Err(ApplyError::NotLast { .. })));
}

#[test]
fn renumberings_of_what_is_in_use_or_unknown_or_out_of_order() {
    let mut root = filled();
    let gone = changes(&root, deleted(&["document:readme#viewer@user:ann[only_on]"]));
    root.apply(&gone).unwrap();
    let removal = |list: &[(&str, u32, &str)]| EntryKind::Renumbering {
        removed: list.iter().map(|(t, n, id)| ((*t).to_owned(), *n, (*id).to_owned())).collect(),
    };
    assert_eq!(root.unused_objects(), [("user".to_owned(), 1, "ann".to_owned())]);
    let unknown = |list: &[(&str, u32, &str)]| refused(&root, &entry(&root, removal(list)));
    assert!(matches!(unknown(&[("user", 0, "tom")]), ApplyError::RemovedInUse { .. }));
    assert!(matches!(unknown(&[("user", 0, "ann")]), ApplyError::RemovedUnknown { .. }));
    assert!(matches!(unknown(&[("user", 2, "ann")]), ApplyError::RemovedUnknown { .. }));
    assert!(matches!(unknown(&[("nothing", 0, "ann")]), ApplyError::RemovedUnknown { .. }));
    assert!(matches!(unknown(&[("user", 1, "ann"), ("user", 1, "ann")]), ApplyError::RemovedUnsorted { .. }));
    assert!(matches!(
        unknown(&[("user", 1, "ann"), ("group", 0, "eng")]),
        ApplyError::RemovedUnsorted { .. }
    ));

    let right = entry(&root, removal(&[("user", 1, "ann")]));
    root.apply(&right).unwrap();
    let before = root.content();
    for wrong in [[("user", 3, "ann")], [("user", 0, "tom")], [("nothing", 0, "ann")]] {
        let wrong = Entry { revision: root.revision(), kind: removal(&wrong) };
        assert!(matches!(root.undo(&wrong), Err(ApplyError::RemovedUnknown { .. })));
    }
    assert_eq!(root.content(), before);
}

#[test]
fn counters_that_are_recorded_otherwise_than_they_are() {
    let mut root = filled();
    let counted =
        |relation: &str| Box::new(Filter { relation: Some(relation.to_owned()), ..Filter::default() });
    let kind = |new: Option<&str>, old: Option<&str>| EntryKind::Counter {
        name: "some".to_owned(),
        new: new.map(counted),
        old: old.map(counted),
    };
    let of = |root: &Root, new, old| refused(root, &entry(root, kind(new, old)));
    let is_other = |error| matches!(error, ApplyError::OtherCounter { name, .. } if name == "some");
    assert!(is_other(of(&root, None, Some("viewer"))));
    let first = entry(&root, kind(Some("viewer"), None));
    root.apply(&first).unwrap();
    for old in [None, Some("member")] {
        assert!(is_other(of(&root, Some("banned"), old)));
        let wrong = Entry { revision: root.revision(), kind: kind(old, None) };
        assert!(is_other(root.undo(&wrong).unwrap_err()));
    }
    assert_eq!(root.counter("some"), Some(&*counted("viewer")));
    // Another schema and a renumbering leave it as it is.
    let empty = schema_entry(&root, "");
    root.apply(&empty).unwrap();
    assert_eq!(root.counters().collect::<Vec<_>>(), [("some", &*counted("viewer"))]);
    root.undo(&empty).unwrap();
    root.undo(&first).unwrap();
    assert_eq!(root.counters().len(), 0);
}

#[test]
fn questions_about_unknown_numbers_are_answered_with_nothing() {
    use crate::{ClassId, TypeId};
    let root = filled();
    let (class, kind) = (ClassId(999), TypeId(999));
    assert!(root.subjects(class, 0).is_empty() && root.resources(class, 0).is_empty());
    assert!(
        root.subjects(ClassId(0), u32::MAX).is_empty() && root.resources(ClassId(0), u32::MAX).is_empty()
    );
    assert_eq!((root.object(kind, "tom"), root.object_id(kind, 0), root.object_count(kind)), (None, "", 0));
    assert_eq!(root.object_id(TypeId(0), u32::MAX), "");
    assert!(!root.has_edges(kind, 0) && !root.has_edges(TypeId(0), u32::MAX));
    assert_eq!(root.edges(class, 0).count() + root.edges(ClassId(0), u32::MAX).count(), 0);
    assert_eq!(root.relationship(class, 0, 0), None);
    assert!(!root.has_attributes(class) && root.attributes(class, 0, 0).is_none());
}
