//! Types and edge classes: which numbers do they have?
//!
//! # Invariants
//! * Numbers follow the first appearance in the log, and survive schema changes.
//! * What an entry registered, undoing that entry takes away again, and nothing else.
//!
//! Cost: a class is found from four names by binary search, without allocation.

use std::sync::Arc;

use idhini_model::{Relationship, Revision, SubjectRef};
use idhini_schema::{ClassKey, Schema, SubjectKind};

use crate::ApplyError;

/// A type's number: order of first appearance in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

/// An edge class's number: order of first appearance in the log; survives schema changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u32);

/// An edge class, numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its names.
    pub key: ClassKey,
    /// The type of its resources.
    pub resource_type: TypeId,
    /// The type of its subjects.
    pub subject_type: TypeId,
}

/// Classes are below this, so that a leaf edge has room for them.
const CLASSES_END: usize = 1 << 24;

#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    types: Vec<TypeRecord>,
    /// Sorted by name.
    by_name: Vec<(Arc<str>, TypeId)>,
    classes: Vec<ClassRecord>,
}

#[derive(Debug, Clone)]
pub(crate) struct TypeRecord {
    pub(crate) name: Arc<str>,
    pub(crate) since: Revision,
    /// Sorted by name.
    relations: Vec<RelationRecord>,
    /// Local class to class, of the classes whose resources are of this type.
    pub(crate) forward: Vec<ClassId>,
    /// Local class to class, of the classes whose subjects are of this type.
    pub(crate) reverse: Vec<ClassId>,
}

#[derive(Debug, Clone)]
struct RelationRecord {
    name: Box<str>,
    /// Sorted by subject type; those of one type are few, one per userset relation.
    classes: Vec<ClassId>,
}

#[derive(Debug, Clone)]
pub(crate) struct ClassRecord {
    pub(crate) class: Class,
    pub(crate) since: Revision,
    /// Whether the schema in force has it.
    pub(crate) current: bool,
    pub(crate) forward_local: u32,
    pub(crate) reverse_local: u32,
}

impl Catalog {
    pub(crate) fn types(&self) -> &[TypeRecord] {
        &self.types
    }

    pub(crate) fn classes(&self) -> &[ClassRecord] {
        &self.classes
    }

    #[inline]
    pub(crate) fn class(&self, id: ClassId) -> Option<&ClassRecord> {
        self.classes.get(id.0 as usize)
    }

    pub(crate) fn type_id(&self, name: &str) -> Option<TypeId> {
        let at = self.by_name.binary_search_by(|(have, _)| (**have).cmp(name)).ok()?;
        Some(self.by_name[at].1)
    }

    /// The class of this shape; `subject` is `Ok` for a userset's relation, `Err(is_wildcard)` without one.
    fn find(
        &self,
        resource_type: &str,
        relation: &str,
        subject_type: &str,
        fits: impl Fn(&SubjectKind) -> bool,
    ) -> Option<ClassId> {
        let record = &self.types[self.type_id(resource_type)?.0 as usize];
        let at = record.relations.binary_search_by(|have| (*have.name).cmp(relation)).ok()?;
        let classes = &record.relations[at].classes;
        let type_of = |id: &ClassId| self.classes[id.0 as usize].class.key.subject_type.as_str();
        let start = classes.partition_point(|id| type_of(id) < subject_type);
        let of_type = classes[start..].iter().copied().take_while(|id| type_of(id) == subject_type);
        of_type.into_iter().find(|id| fits(&self.classes[id.0 as usize].class.key.subject))
    }

    pub(crate) fn class_id(&self, key: &ClassKey) -> Option<ClassId> {
        self.find(&key.resource_type, &key.relation, &key.subject_type, |kind| *kind == key.subject)
    }

    pub(crate) fn class_of(&self, relationship: &Relationship) -> Option<ClassId> {
        let Relationship { resource, relation, subject, .. } = relationship;
        self.find(&resource.object_type, relation, &subject.object_type, |kind| kind_fits(kind, subject))
    }

    /// Puts a schema's definitions and classes in force, and registers those that are new.
    pub(crate) fn adopt<'a>(
        &mut self,
        revision: Revision,
        definitions: impl IntoIterator<Item = &'a str>,
        classes: &[ClassKey],
    ) -> Result<(), ApplyError> {
        for class in &mut self.classes {
            class.current = false;
        }
        for name in definitions {
            self.register_type(revision, name);
        }
        for key in classes {
            let id = match self.class_id(key) {
                Some(id) => id,
                None => self.register_class(revision, key)?,
            };
            self.classes[id.0 as usize].current = true;
        }
        Ok(())
    }

    fn register_type(&mut self, revision: Revision, name: &str) -> TypeId {
        match self.by_name.binary_search_by(|(have, _)| (**have).cmp(name)) {
            Ok(at) => self.by_name[at].1,
            Err(at) => {
                // Classes are below 2²⁴ and types are no more than definitions of 4 MiB texts: both fit.
                let id = TypeId(self.types.len() as u32);
                let name: Arc<str> = Arc::from(name);
                self.by_name.insert(at, (Arc::clone(&name), id));
                self.types.push(TypeRecord {
                    name,
                    since: revision,
                    relations: Vec::new(),
                    forward: Vec::new(),
                    reverse: Vec::new(),
                });
                id
            }
        }
    }

    fn register_class(&mut self, revision: Revision, key: &ClassKey) -> Result<ClassId, ApplyError> {
        if self.classes.len() >= CLASSES_END {
            return Err(ApplyError::ClassesExhausted);
        }
        let id = ClassId(self.classes.len() as u32);
        let resource_type = self.register_type(revision, &key.resource_type);
        let subject_type = self.register_type(revision, &key.subject_type);
        let resource = &mut self.types[resource_type.0 as usize];
        let forward_local = resource.forward.len() as u32;
        resource.forward.push(id);
        match resource.relations.binary_search_by(|have| (*have.name).cmp(&key.relation)) {
            Ok(at) => {
                let classes = &self.classes;
                let type_of = |id: &ClassId| classes[id.0 as usize].class.key.subject_type.as_str();
                let of_relation = &mut resource.relations[at].classes;
                let place = of_relation.partition_point(|id| type_of(id) <= key.subject_type.as_str());
                of_relation.insert(place, id);
            }
            Err(at) => {
                let name = key.relation.as_str().into();
                resource.relations.insert(at, RelationRecord { name, classes: vec![id] });
            }
        }
        let subject = &mut self.types[subject_type.0 as usize];
        let reverse_local = subject.reverse.len() as u32;
        subject.reverse.push(id);
        let class = Class { key: key.clone(), resource_type, subject_type };
        self.classes.push(ClassRecord {
            class,
            since: revision,
            current: false,
            forward_local,
            reverse_local,
        });
        Ok(id)
    }

    /// Registers a type that an image has. False if it is registered already.
    pub(crate) fn restore_type(&mut self, since: Revision, name: &str) -> bool {
        self.type_id(name).is_none() && self.register_type(since, name).0 as usize + 1 == self.types.len()
    }

    /// Registers a class that an image has. False if it is registered already, or one of its types is not.
    pub(crate) fn restore_class(&mut self, since: Revision, key: &ClassKey) -> bool {
        let has_types =
            [&key.resource_type, &key.subject_type].iter().all(|name| self.type_id(name).is_some());
        has_types && self.class_id(key).is_none() && self.register_class(since, key).is_ok()
    }

    /// Puts a schema in force of which everything is registered. False if something is not.
    pub(crate) fn restore_current(&mut self, schema: Option<&Schema>) -> bool {
        let definitions = schema.map_or(&[][..], Schema::definitions);
        if definitions.iter().any(|definition| self.type_id(&definition.name).is_none()) {
            return false;
        }
        schema.map_or_else(Vec::new, Schema::classes).iter().all(|key| match self.class_id(key) {
            Some(id) => {
                self.classes[id.0 as usize].current = true;
                true
            }
            None => false,
        })
    }

    /// Whether the other catalog has all types and classes of this one under the same numbers.
    pub(crate) fn is_continued_by(&self, other: &Catalog) -> bool {
        let types = self.types.iter().zip(&other.types);
        let classes = self.classes.iter().zip(&other.classes);
        self.types.len() <= other.types.len()
            && self.classes.len() <= other.classes.len()
            && types.into_iter().all(|(own, other)| (&own.name, own.since) == (&other.name, other.since))
            && classes.into_iter().all(|(own, other)| (&own.class, own.since) == (&other.class, other.since))
    }

    /// Takes away what the entry at `revision` registered.
    pub(crate) fn retract(&mut self, revision: Revision) {
        while let Some(record) = self.classes.pop_if(|record| record.since == revision) {
            let Class { key, resource_type, subject_type } = record.class;
            let id = ClassId(self.classes.len() as u32);
            let resource = &mut self.types[resource_type.0 as usize];
            resource.forward.pop();
            if let Ok(at) = resource.relations.binary_search_by(|have| (*have.name).cmp(&key.relation)) {
                let of_relation = &mut resource.relations[at].classes;
                if let Some(place) = of_relation.iter().rposition(|have| *have == id) {
                    of_relation.remove(place);
                }
                if resource.relations[at].classes.is_empty() {
                    resource.relations.remove(at);
                }
            }
            self.types[subject_type.0 as usize].reverse.pop();
        }
        while let Some(record) = self.types.pop_if(|record| record.since == revision) {
            self.by_name.retain(|(name, _)| *name != record.name);
        }
    }

    /// Bytes of names and tables.
    pub(crate) fn bytes(&self) -> u64 {
        let of_type = |record: &TypeRecord| {
            let relations: usize = record
                .relations
                .iter()
                .map(|relation| relation.name.len() + relation.classes.capacity() * size_of::<ClassId>())
                .sum();
            let locals = (record.forward.capacity() + record.reverse.capacity()) * size_of::<ClassId>();
            record.name.len() + relations + locals + record.relations.capacity() * size_of::<RelationRecord>()
        };
        let of_class = |record: &ClassRecord| {
            let ClassKey { resource_type, relation, subject_type, subject } = &record.class.key;
            let userset = if let SubjectKind::Userset(relation) = subject { relation.capacity() } else { 0 };
            resource_type.capacity() + relation.capacity() + subject_type.capacity() + userset
        };
        let tables = self.types.capacity() * size_of::<TypeRecord>()
            + self.by_name.capacity() * size_of::<(Arc<str>, TypeId)>()
            + self.classes.capacity() * size_of::<ClassRecord>();
        let named: usize =
            self.types.iter().map(of_type).sum::<usize>() + self.classes.iter().map(of_class).sum::<usize>();
        (tables + named) as u64
    }
}

fn kind_fits(kind: &SubjectKind, subject: &SubjectRef) -> bool {
    match (kind, &subject.relation) {
        (SubjectKind::Object, None) => !subject.is_wildcard(),
        (SubjectKind::Wildcard, None) => subject.is_wildcard(),
        (SubjectKind::Userset(have), Some(relation)) => have == relation,
        _ => false,
    }
}
