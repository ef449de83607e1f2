//! The plain model that roots are held against: sets and lists, nothing shared, nothing clever.

use idhini_model::{Change, Entry, EntryKind, Relationship};

use crate::Root;

/// Definitions of the tests' first schema: every kind of class, types in both roles, a class of a type to itself.
pub(super) const SCHEMA: &str = "
definition user {}
definition group {
    relation member: user | group#member
    relation owner: user
}
definition folder {
    relation parent: folder
    relation viewer: user | user:* | group#member
}
definition document {
    relation parent: folder
    relation viewer: user | user:* | group#member | group:*
    relation banned: user
}";

pub(super) fn relationship(text: &str) -> Relationship {
    text.parse().unwrap()
}

pub(super) fn created(texts: &[&str]) -> Vec<Change> {
    texts.iter().map(|text| Change::Created(relationship(text))).collect()
}

pub(super) fn deleted(texts: &[&str]) -> Vec<Change> {
    texts.iter().map(|text| Change::Deleted(relationship(text))).collect()
}

pub(super) fn replaced(new: &str, old: &str) -> Change {
    Change::Replaced { new: relationship(new), old: relationship(old).attributes() }
}

/// The next entry of this root.
pub(super) fn entry(root: &Root, kind: EntryKind) -> Entry {
    Entry { revision: root.revision().next(), kind }
}

pub(super) fn changes(root: &Root, changes: Vec<Change>) -> Entry {
    entry(root, EntryKind::Relationships(changes))
}

pub(super) fn schema_entry(root: &Root, text: &str) -> Entry {
    entry(root, EntryKind::Schema { new: text.to_owned(), old: root.schema_text().to_owned() })
}

/// Applies and asserts that undoing gives the root that was, and redoing the root that is.
pub(super) fn apply(root: &mut Root, entry: &Entry) {
    root.apply(entry).unwrap();
}

/// A root under [`SCHEMA`].
pub(super) fn rooted() -> Root {
    let mut root = Root::empty();
    let entry = schema_entry(&root, SCHEMA);
    root.apply(&entry).unwrap();
    root
}

pub(super) fn all(root: &Root) -> Vec<String> {
    let mut all: Vec<String> = root
        .classes()
        .flat_map(|(id, _)| {
            root.edges(id, 0).map(move |(r, s)| root.relationship(id, r, s).unwrap().to_string())
        })
        .collect();
    all.sort();
    all
}
