//! The root: everything that can be asked of the graph at one revision.

use std::cell::Cell;
use std::sync::Arc;

use idhini_model::{Relationship, ResourceRef, Revision, SubjectRef, Timestamp};
use idhini_schema::{ClassKey, Schema, SubjectKind};

use crate::attributes::{AttributeTable, Attributed, key};
use crate::catalog::{Catalog, ClassRecord, TypeRecord};
use crate::counters::{self, Counters};
use crate::edges::{Edges, Rows};
use crate::memory::arc_bytes;
use crate::names::Names;
use crate::tree::Tree;
use crate::trie::Trie;
use crate::vector::Vector;
use crate::version::ClassVersion;
use crate::{Class, ClassId, EdgeAttributes, Memory, Row, Run, TypeId};

/// The graph at one revision; cloning shares everything.
///
/// Numbers and ids that a root did not give are answered as absent: an empty run, an empty id, `None`.
#[derive(Debug, Clone)]
pub struct Root {
    pub(crate) revision: Revision,
    pub(crate) schema: Option<Arc<Schema>>,
    /// What the last schema entry recorded; empty if there is no schema.
    pub(crate) schema_text: Arc<str>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) counters: Arc<Counters>,
    /// By type number.
    pub(crate) types: Vector<Arc<TypeTable>>,
    /// By class number.
    pub(crate) classes: Vector<ClassTable>,
    pub(crate) relationships: u64,
    /// Seed of the tables of ids.
    pub(crate) seed: u64,
    /// Object numbers are below this.
    pub(crate) numbers_end: u32,
    /// Whether any class has a table of attributes.
    pub(crate) is_attributed: bool,
    /// Entries before this one cannot be undone: which numbers they gave is not known any more.
    pub(crate) undoable_from: Revision,
}

/// What a root holds of one type.
#[derive(Debug, Clone)]
pub(crate) struct TypeTable {
    pub(crate) names: Names,
    /// Resource to subjects.
    pub(crate) forward: Trie,
    /// Subject to resources.
    pub(crate) reverse: Trie,
}

/// What a root holds of one class besides its edges.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClassTable {
    pub(crate) edges: u64,
    pub(crate) attributes: Option<Arc<AttributeTable>>,
    pub(crate) version: ClassVersion,
}

impl TypeTable {
    pub(crate) fn new(seed: u64) -> TypeTable {
        TypeTable { names: Names::new(seed), forward: Trie::new(), reverse: Trie::new() }
    }
}

impl Default for Root {
    fn default() -> Root {
        Root::empty()
    }
}

impl Root {
    /// The graph before the first entry.
    #[must_use]
    pub fn empty() -> Root {
        Root::empty_seeded(0)
    }

    /// As [`Root::empty`]; the seed spreads object ids in memory, so that nobody who does not know it can choose ids
    /// that collide. No answer depends on it.
    #[must_use]
    pub fn empty_seeded(seed: u64) -> Root {
        Root {
            revision: Revision(0),
            schema: None,
            schema_text: Arc::from(""),
            catalog: Arc::default(),
            counters: Arc::default(),
            types: Vector::new(),
            classes: Vector::new(),
            relationships: 0,
            seed,
            numbers_end: u32::MAX,
            is_attributed: false,
            undoable_from: Revision(0),
        }
    }

    /// The revision of the last entry.
    #[must_use]
    #[inline]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The schema in force.
    #[must_use]
    #[inline]
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.schema.as_ref()
    }

    /// The text of the schema in force as the log records it; empty if there is none.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        &self.schema_text
    }

    /// The number of a type that any schema so far defined.
    #[must_use]
    #[inline]
    pub fn type_id(&self, name: &str) -> Option<TypeId> {
        self.catalog.type_id(name)
    }

    /// A type's name.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> &str {
        self.catalog.types().get(id.0 as usize).map_or("", |record| &record.name)
    }

    /// All types that any schema so far defined, in the order of their numbers.
    pub fn types(&self) -> impl ExactSizeIterator<Item = (TypeId, &str)> {
        self.catalog.types().iter().enumerate().map(|(id, record)| (TypeId(id as u32), &*record.name))
    }

    /// The number of a class that any schema so far had.
    #[must_use]
    pub fn class_id(&self, key: &ClassKey) -> Option<ClassId> {
        self.catalog.class_id(key)
    }

    /// The class that a relationship is an edge of; found without allocation.
    #[must_use]
    pub fn class_of(&self, relationship: &Relationship) -> Option<ClassId> {
        self.catalog.class_of(relationship)
    }

    /// A class by its number.
    ///
    /// # Panics
    /// If this root did not number the class.
    #[must_use]
    #[inline]
    pub fn class(&self, id: ClassId) -> &Class {
        &self.catalog.classes()[id.0 as usize].class
    }

    /// All classes that any schema so far had, in the order of their numbers.
    pub fn classes(&self) -> impl ExactSizeIterator<Item = (ClassId, &Class)> {
        self.catalog.classes().iter().enumerate().map(|(id, record)| (ClassId(id as u32), &record.class))
    }

    /// Whether the schema in force has this class.
    #[must_use]
    pub fn class_is_current(&self, id: ClassId) -> bool {
        self.catalog.class(id).is_some_and(|record| record.current)
    }

    /// How many edges a class has.
    #[must_use]
    pub fn class_edges(&self, id: ClassId) -> u64 {
        self.classes.item(id.0 as usize).map_or(0, |table| table.edges)
    }

    /// The number of an object; the wildcard `*` is numbered like any other object id.
    #[must_use]
    #[inline]
    pub fn object(&self, object_type: TypeId, id: &str) -> Option<u32> {
        self.table(object_type)?.names.number(id)
    }

    /// The numbers of two objects: what the one waits for in memory the other waits for too.
    #[must_use]
    #[inline]
    pub fn object_pair(&self, one: (TypeId, &str), other: (TypeId, &str)) -> (Option<u32>, Option<u32>) {
        let (Some(of_one), Some(of_other)) = (self.table(one.0), self.table(other.0)) else {
            return (self.object(one.0, one.1), self.object(other.0, other.1));
        };
        let (hash, other_hash) = (of_one.names.hash(one.1), of_other.names.hash(other.1));
        let (likely, other_likely) = (of_one.names.likely(hash), of_other.names.likely(other_hash));
        let number = of_one.names.number_likely(likely, hash, one.1);
        (number, of_other.names.number_likely(other_likely, other_hash, other.1))
    }

    /// The id of an object.
    #[must_use]
    pub fn object_id(&self, object_type: TypeId, number: u32) -> &str {
        self.table(object_type).map_or("", |table| table.names.id(number))
    }

    /// Numbers of this type are below this.
    #[must_use]
    pub fn object_count(&self, object_type: TypeId) -> u32 {
        self.table(object_type).map_or(0, |table| table.names.count())
    }

    /// Whether any relationship names this object, as resource or as subject.
    #[must_use]
    pub fn has_edges(&self, object_type: TypeId, number: u32) -> bool {
        self.table(object_type).is_some_and(|table| {
            !table.forward.row(number).is_empty() || !table.reverse.row(number).is_empty()
        })
    }

    /// All edges from a resource to its subjects, by local classes of [`Root::forward_local`].
    #[must_use]
    #[inline]
    pub fn forward_row(&self, resource_type: TypeId, resource: u32) -> Row<'_> {
        self.table(resource_type).map_or(Row::EMPTY, |table| table.forward.row(resource))
    }

    /// All edges to a subject from its resources, by local classes of [`Root::reverse_local`].
    #[must_use]
    #[inline]
    pub fn reverse_row(&self, subject_type: TypeId, subject: u32) -> Row<'_> {
        self.table(subject_type).map_or(Row::EMPTY, |table| table.reverse.row(subject))
    }

    /// A class's number in the rows of its resources; it stays as long as the class.
    ///
    /// # Panics
    /// If this root did not number the class.
    #[must_use]
    #[inline]
    pub fn forward_local(&self, class: ClassId) -> u32 {
        self.catalog.classes()[class.0 as usize].forward_local
    }

    /// A class's number in the rows of its subjects; it stays as long as the class.
    ///
    /// # Panics
    /// If this root did not number the class.
    #[must_use]
    #[inline]
    pub fn reverse_local(&self, class: ClassId) -> u32 {
        self.catalog.classes()[class.0 as usize].reverse_local
    }

    /// The subjects that stand in this class's relation to a resource.
    #[must_use]
    #[inline]
    pub fn subjects(&self, class: ClassId, resource: u32) -> Run<'_> {
        match self.forward(class) {
            Some((trie, record)) => trie.row(resource).run(record.forward_local),
            None => Run::EMPTY,
        }
    }

    /// The resources to which a subject stands in this class's relation.
    #[must_use]
    #[inline]
    pub fn resources(&self, class: ClassId, subject: u32) -> Run<'_> {
        let Some(record) = self.catalog.class(class) else { return Run::EMPTY };
        match self.table(record.class.subject_type) {
            Some(table) => table.reverse.row(subject).run(record.reverse_local),
            None => Run::EMPTY,
        }
    }

    /// The state of a class's edges; `None` if this root did not number the class.
    #[must_use]
    #[inline]
    pub fn class_version(&self, class: ClassId) -> Option<&ClassVersion> {
        self.classes.item(class.0 as usize).map(|table| &table.version)
    }

    /// Whether any edge of the class has a caveat or expires.
    #[must_use]
    #[inline]
    pub fn has_attributes(&self, class: ClassId) -> bool {
        self.classes.item(class.0 as usize).is_some_and(|table| table.attributes.is_some())
    }

    /// Whether any edge of any class has a caveat or expires.
    #[must_use]
    #[inline]
    pub fn is_attributed(&self) -> bool {
        self.is_attributed
    }

    /// Looks which classes have attributes, after some may have got or lost them.
    pub(crate) fn note_attributes(&mut self) {
        self.is_attributed = (0..self.classes.len() as u32).any(|class| self.has_attributes(ClassId(class)));
    }

    /// What an edge has besides existing; `None` if it has nothing, or does not exist.
    #[must_use]
    #[inline]
    pub fn attributes(&self, class: ClassId, resource: u32, subject: u32) -> Option<&EdgeAttributes> {
        self.classes.item(class.0 as usize)?.attributes.as_deref()?.attributes(resource, subject)
    }

    /// All edges of a class that have attributes, in ascending (resource, subject).
    pub fn attributed_edges(&self, class: ClassId) -> impl Iterator<Item = (u32, u32, &EdgeAttributes)> {
        let table = self.classes.item(class.0 as usize).and_then(|table| table.attributes.as_deref());
        table.into_iter().flat_map(AttributeTable::iter)
    }

    /// The first edge from this one on, by class, resource and subject, that has expired at this instant.
    ///
    /// Skips what has not expired without reading it; a sweep goes on from the edge after the one that was found.
    #[must_use]
    pub fn next_expired(
        &self,
        (class, resource, subject): (ClassId, u32, u32),
        instant: Timestamp,
    ) -> Option<(ClassId, u32, u32)> {
        let mut from = key(resource, subject);
        for class in class.0..self.classes.len() as u32 {
            let table = self.classes.item(class as usize).and_then(|table| table.attributes.as_deref());
            if let Some(edge) = table.and_then(|table| table.next_expired(from, instant)) {
                return Some((ClassId(class), (edge >> 32) as u32, edge as u32));
            }
            from = 0;
        }
        None
    }

    /// As [`Root::next_expired`], of one class only.
    #[must_use]
    pub fn next_expired_of(
        &self,
        (class, resource, subject): (ClassId, u32, u32),
        instant: Timestamp,
    ) -> Option<(u32, u32)> {
        let table = self.classes.item(class.0 as usize)?.attributes.as_deref()?;
        let edge = table.next_expired(key(resource, subject), instant)?;
        Some(((edge >> 32) as u32, edge as u32))
    }

    /// The edges that have expired at this instant, ascending by class, resource and subject, from this one on.
    pub fn expired_edges(
        &self,
        from: (ClassId, u32, u32),
        instant: Timestamp,
    ) -> impl Iterator<Item = (ClassId, u32, u32)> {
        let after = |(class, resource, subject): (ClassId, u32, u32)| {
            // After the last edge of a class comes the next class.
            match key(resource, subject).checked_add(1) {
                Some(next) => (class, (next >> 32) as u32, next as u32),
                None => (ClassId(class.0 + 1), 0, 0),
            }
        };
        std::iter::successors(self.next_expired(from, instant), move |edge| {
            self.next_expired(after(*edge), instant)
        })
    }

    /// When the first of all edges expires, or expired.
    #[must_use]
    pub fn next_expiration(&self) -> Option<Timestamp> {
        let classes = (0..self.classes.len()).filter_map(|class| self.classes.item(class));
        classes.filter_map(|class| class.attributes.as_deref()?.next_expiration()).min()
    }

    /// All edges of a class in ascending (resource, subject), from this resource on.
    #[must_use]
    pub fn edges(&self, class: ClassId, from_resource: u32) -> Edges<'_> {
        Edges::new(self.rows(class, from_resource))
    }

    /// The resources of a class, from this one on, with their subjects; none is empty.
    pub fn rows_from(&self, class: ClassId, from_resource: u32) -> impl Iterator<Item = (u32, Run<'_>)> {
        self.rows(class, from_resource)
    }

    fn rows(&self, class: ClassId, from_resource: u32) -> Rows<'_> {
        let (trie, local) =
            self.forward(class).map_or((None, 0), |(trie, record)| (Some(trie), record.forward_local));
        Rows::new(trie, local, from_resource)
    }

    /// The stored relationship of an edge, if present.
    #[must_use]
    pub fn relationship(&self, class: ClassId, resource: u32, subject: u32) -> Option<Relationship> {
        if !self.subjects(class, resource).contains(subject) {
            return None;
        }
        let Class { key, resource_type, subject_type } = self.class(class);
        let attributes = self.attributes(class, resource, subject);
        Some(Relationship {
            resource: ResourceRef::new(&*key.resource_type, self.object_id(*resource_type, resource)),
            relation: key.relation.clone(),
            subject: SubjectRef {
                object_type: key.subject_type.clone(),
                object_id: self.object_id(*subject_type, subject).to_owned(),
                relation: match &key.subject {
                    SubjectKind::Userset(relation) => Some(relation.clone()),
                    SubjectKind::Object | SubjectKind::Wildcard => None,
                },
            },
            caveat: attributes.and_then(|attributes| attributes.caveat.as_deref().cloned()),
            expires_at: attributes.and_then(|attributes| attributes.expires_at),
        })
    }

    /// The stored form of this relationship (same identity), if present.
    #[must_use]
    pub fn find(&self, relationship: &Relationship) -> Option<Relationship> {
        let (class, resource, subject) = self.edge_of(relationship)?;
        self.relationship(class, resource, subject)
    }

    /// The edge that a relationship names, whether or not it is present; `None` if a part has no number.
    #[must_use]
    pub fn edge_of(&self, relationship: &Relationship) -> Option<(ClassId, u32, u32)> {
        let class = self.class_of(relationship)?;
        let Class { resource_type, subject_type, .. } = self.class(class);
        let resource = self.object(*resource_type, &relationship.resource.object_id)?;
        Some((class, resource, self.object(*subject_type, &relationship.subject.object_id)?))
    }

    /// How many relationships there are, expired ones included.
    #[must_use]
    pub fn relationship_count(&self) -> u64 {
        self.relationships
    }

    /// Entries from this one on can be undone.
    #[must_use]
    pub fn undoable_from(&self) -> Revision {
        self.undoable_from
    }

    /// Gives up undoing entries before this one, and the memory that it takes. Entries to come can be undone.
    pub fn forget_undo_below(&mut self, floor: Revision) {
        let floor = floor.min(self.revision.next());
        if floor <= self.undoable_from {
            return;
        }
        self.undoable_from = floor;
        for id in (0..self.types.len() as u32).map(TypeId) {
            let has_older = self.table(id).is_some_and(|table| table.names.has_births_below(floor.0));
            if has_older && let Some(table) = self.table_mut(id) {
                table.names.forget_births_below(floor.0);
            }
        }
    }

    /// Whether all that `old` numbered has the same numbers here.
    pub(crate) fn continues(&self, old: &Root) -> bool {
        let tables = (0..old.types.len() as u32).map(TypeId).map(|id| (old.table(id), self.table(id)));
        old.catalog.is_continued_by(&self.catalog)
            && tables.into_iter().all(|tables| match tables {
                (Some(old), Some(new)) => Names::first_difference(&old.names, &new.names)
                    .is_none_or(|number| number >= old.names.count()),
                _ => false,
            })
    }

    pub(crate) fn attribute_tree(&self, class: ClassId) -> Option<&Tree<Attributed>> {
        Some(self.classes.item(class.0 as usize)?.attributes.as_deref()?.edges())
    }

    /// What this root holds, by part. Walks everything.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory_without(None)
    }

    /// What this root holds that `base` does not share: what dropping this root would free if only `base` stayed.
    ///
    /// Walks only what is not shared.
    #[must_use]
    pub fn memory_beyond(&self, base: &Root) -> Memory {
        self.memory_without(Some(base))
    }

    fn memory_without(&self, base: Option<&Root>) -> Memory {
        let memory = Cell::new(Memory::default());
        let of_table = |own: &Arc<TypeTable>, base: Option<&Arc<TypeTable>>| {
            if base.is_some_and(|base| Arc::ptr_eq(own, base)) {
                return 0;
            }
            let (names, births) = own.names.bytes_held(base.map(|base| &base.names));
            let mut sum = memory.get();
            sum.names_bytes += names + births;
            sum.births_bytes += births;
            sum.forward_bytes += own.forward.bytes(base.map(|base| &base.forward));
            sum.reverse_bytes += own.reverse.bytes(base.map(|base| &base.reverse));
            memory.set(sum);
            arc_bytes::<TypeTable>()
        };
        let of_class = |own: &ClassTable, base: Option<&ClassTable>| {
            // Those that later versions know are given back with the last of these.
            let is_own = base.is_none_or(|base| !own.version.is(&base.version));
            let version = if is_own { own.version.bytes() } else { 0 };
            let base = base.and_then(|base| base.attributes.as_ref());
            let Some(own) =
                own.attributes.as_ref().filter(|own| base.is_none_or(|base| !Arc::ptr_eq(own, base)))
            else {
                return version;
            };
            let mut sum = memory.get();
            sum.attributes_bytes += own.bytes(base.map(|base| &**base));
            memory.set(sum);
            version
        };
        let types = self.types.bytes(base.map(|base| &base.types), &of_table);
        let classes = self.classes.bytes(base.map(|base| &base.classes), &of_class);
        let catalog = match base {
            Some(base) if Arc::ptr_eq(&self.catalog, &base.catalog) => 0,
            _ => arc_bytes::<Catalog>() + self.catalog.bytes(),
        };
        let counters = match base {
            Some(base) if Arc::ptr_eq(&self.counters, &base.counters) => 0,
            _ => arc_bytes::<Counters>() + counters::bytes(&self.counters),
        };
        Memory { catalog_bytes: types + classes + catalog + counters, ..memory.get() }
    }

    #[inline]
    pub(crate) fn table(&self, id: TypeId) -> Option<&TypeTable> {
        self.types.item(id.0 as usize).map(|table| &**table)
    }

    /// A type's table for changing.
    pub(crate) fn table_mut(&mut self, id: TypeId) -> Option<&mut TypeTable> {
        self.types.item_mut(id.0 as usize).map(Arc::make_mut)
    }

    #[inline]
    fn forward(&self, class: ClassId) -> Option<(&Trie, &ClassRecord)> {
        let record = self.catalog.class(class)?;
        Some((&self.table(record.class.resource_type)?.forward, record))
    }

    pub(crate) fn type_record(&self, id: TypeId) -> &TypeRecord {
        &self.catalog.types()[id.0 as usize]
    }
}
