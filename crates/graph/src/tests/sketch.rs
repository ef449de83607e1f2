//! The plain model that roots are held against: sets and lists, nothing shared, nothing clever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use idhini_model::{Attributes, Change, Entry, EntryKind, Filter, Relationship, Revision};
use idhini_schema::{ClassKey, Schema, SubjectKind};

use crate::{ClassContent, Content, EdgeAttributes, Root, TypeContent};

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

/// Schemas that a log goes through: classes and types come, go and come again.
pub(super) const SCHEMAS: [&str; 3] = [
    SCHEMA,
    "
definition user {}
definition team {
    relation member: user
    relation guest: user:*
}
definition document {
    relation viewer: user | team#member
    relation editor: user
}
definition group { relation member: user | group#member }",
    "
definition user { relation manager: user }
definition group {
    relation member: user | group#member
    relation admin: user
}
definition document { relation banned: user | group#member }
definition archive { relation document: document }",
];

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

/// Registers a counter of the relationships in one relation, or takes it away.
pub(super) fn counter_entry(root: &Root, name: &str, relation: Option<&str>) -> Entry {
    let counted =
        |relation: &str| Box::new(Filter { relation: Some(relation.to_owned()), ..Filter::default() });
    let old = root.counter(name).cloned().map(Box::new);
    entry(root, EntryKind::Counter { name: name.to_owned(), new: relation.map(counted), old })
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

/// What a log amounts to, kept plainly.
#[derive(Debug, Clone, Default)]
pub(super) struct Sketch {
    pub(super) revision: Revision,
    pub(super) schema_text: String,
    current: Vec<ClassKey>,
    types: Vec<SketchType>,
    classes: Vec<(ClassKey, Revision)>,
    /// By text without attributes.
    pub(super) relationships: BTreeMap<String, Relationship>,
    pub(super) counters: BTreeMap<String, Filter>,
}

#[derive(Debug, Clone)]
struct SketchType {
    name: String,
    since: Revision,
    objects: Vec<String>,
    births: Vec<(Revision, u32)>,
}

pub(super) fn class_key(relationship: &Relationship) -> ClassKey {
    let subject = &relationship.subject;
    ClassKey {
        resource_type: relationship.resource.object_type.clone(),
        relation: relationship.relation.clone(),
        subject_type: subject.object_type.clone(),
        subject: match &subject.relation {
            Some(relation) => SubjectKind::Userset(relation.clone()),
            None if subject.is_wildcard() => SubjectKind::Wildcard,
            None => SubjectKind::Object,
        },
    }
}

pub(super) fn identity(relationship: &Relationship) -> String {
    Relationship { caveat: None, expires_at: None, ..relationship.clone() }.to_string()
}

fn with(relationship: &Relationship, attributes: &Attributes) -> Relationship {
    let Attributes { caveat, expires_at } = attributes.clone();
    Relationship { caveat, expires_at, ..relationship.clone() }
}

impl Sketch {
    /// Applies an entry that is known to be right.
    pub(super) fn apply(&mut self, entry: &Entry) {
        self.revision = entry.revision;
        match &entry.kind {
            EntryKind::Relationships(changes) => changes.iter().for_each(|change| self.change(change)),
            EntryKind::Schema { new, .. } => self.put_schema(new),
            EntryKind::Renumbering { removed } => {
                for object_type in &mut self.types {
                    let gone: BTreeSet<&str> =
                        removed.iter().filter(|r| r.0 == object_type.name).map(|r| r.2.as_str()).collect();
                    object_type.objects.retain(|id| !gone.contains(id.as_str()));
                }
            }
            EntryKind::Counter { name, new, old } => {
                let before = match new {
                    Some(filter) => self.counters.insert(name.clone(), (**filter).clone()),
                    None => self.counters.remove(name),
                };
                assert_eq!(before.as_ref(), old.as_deref());
            }
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Created(new) => {
                self.number(&new.resource.object_type, &new.resource.object_id);
                self.number(&new.subject.object_type, &new.subject.object_id);
                assert!(self.relationships.insert(identity(new), new.clone()).is_none());
            }
            Change::Replaced { new, old } => {
                let before = self.relationships.insert(identity(new), new.clone());
                assert_eq!(before, Some(with(new, old)));
            }
            Change::Deleted(old) => assert_eq!(self.relationships.remove(&identity(old)).as_ref(), Some(old)),
        }
    }

    fn number(&mut self, object_type: &str, id: &str) {
        let revision = self.revision;
        let object_type = self.types.iter_mut().find(|have| have.name == object_type).unwrap();
        if !object_type.objects.iter().any(|have| have == id) {
            if object_type.births.last().is_none_or(|(last, _)| *last != revision) {
                object_type.births.push((revision, object_type.objects.len() as u32));
            }
            object_type.objects.push(id.to_owned());
        }
    }

    fn put_schema(&mut self, text: &str) {
        self.schema_text = text.to_owned();
        self.current.clear();
        if text.is_empty() {
            return;
        }
        let schema = Schema::parse(text).unwrap();
        for definition in schema.definitions() {
            if !self.types.iter().any(|have| have.name == definition.name) {
                let (name, since) = (definition.name.clone(), self.revision);
                self.types.push(SketchType { name, since, objects: Vec::new(), births: Vec::new() });
            }
        }
        for key in schema.classes() {
            if !self.classes.iter().any(|(have, _)| *have == key) {
                self.classes.push((key.clone(), self.revision));
            }
            self.current.push(key);
        }
    }

    pub(super) fn current_classes(&self) -> &[ClassKey] {
        &self.current
    }

    pub(super) fn number_of(&self, object_type: &str, id: &str) -> u32 {
        let object_type = self.types.iter().find(|have| have.name == object_type).unwrap();
        object_type.objects.iter().position(|have| have == id).unwrap() as u32
    }

    /// Objects that no relationship names, sorted by type and number.
    pub(super) fn unused(&self) -> Vec<(String, u32, String)> {
        let used: BTreeSet<(&str, &str)> = self
            .relationships
            .values()
            .flat_map(|r| {
                let subject = (r.subject.object_type.as_str(), r.subject.object_id.as_str());
                [(r.resource.object_type.as_str(), r.resource.object_id.as_str()), subject]
            })
            .collect();
        let mut unused: Vec<(String, u32, String)> = self
            .types
            .iter()
            .flat_map(|t| {
                t.objects.iter().zip(0u32..).map(|(id, number)| (t.name.clone(), number, id.clone()))
            })
            .filter(|(object_type, _, id)| !used.contains(&(object_type.as_str(), id.as_str())))
            .collect();
        unused.sort();
        unused
    }

    pub(super) fn content(&self) -> Content {
        let types = self
            .types
            .iter()
            .cloned()
            .map(|SketchType { name, since, objects, births }| TypeContent { name, since, objects, births });
        let classes = self.classes.iter().map(|(key, since)| {
            let mine = self.relationships.values().filter(|relationship| class_key(relationship) == *key);
            let mut edges: Vec<(u32, u32, EdgeAttributes)> = mine
                .map(|r| {
                    let resource = self.number_of(&r.resource.object_type, &r.resource.object_id);
                    let subject = self.number_of(&r.subject.object_type, &r.subject.object_id);
                    let caveat = r.caveat.clone().map(Arc::new);
                    (resource, subject, EdgeAttributes { caveat, expires_at: r.expires_at })
                })
                .collect();
            edges.sort_by_key(|(resource, subject, _)| (*resource, *subject));
            let forward: Vec<(u32, u32)> = edges.iter().map(|(r, s, _)| (*r, *s)).collect();
            edges.retain(|(_, _, attributes)| attributes.caveat.is_some() || attributes.expires_at.is_some());
            ClassContent {
                key: key.clone(),
                since: *since,
                current: self.current.contains(key),
                reverse: forward.clone(),
                edges: forward.len() as u64,
                forward,
                attributes: edges,
            }
        });
        Content {
            revision: self.revision,
            schema_text: self.schema_text.clone(),
            types: types.collect(),
            classes: classes.collect(),
            counters: self.counters.clone().into_iter().collect(),
            relationships: self.relationships.len() as u64,
            is_attributed: self
                .relationships
                .values()
                .any(|relationship| relationship.caveat.is_some() || relationship.expires_at.is_some()),
        }
    }
}
