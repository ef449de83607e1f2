//! Applying and undoing entries: one way, walked in either direction.
//!
//! An entry's changes are resolved to numbers, sorted by where they go, verified against what is there, and only
//! then written, a leaf at a time. Numbering happens while resolving and is taken back if verification fails.
//!
//! Cost: O(k log k + what k changes touch); a batch of a million rebuilds each leaf once.

use std::collections::BTreeMap;
use std::sync::Arc;

use idhini_model::{Change, Entry, EntryKind, OBJECT_ID_BYTES_MAX, Relationship, Revision};
use idhini_schema::Schema;

use crate::attributes::{AttributeChange, AttributeTable, Attributes};
use crate::catalog::Catalog;
use crate::leaf::{Effect, Op};
use crate::root::{ClassTable, TypeTable};
use crate::version::SUBJECTS_MAX;
use crate::{ApplyError, ClassId, Root, TypeId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Apply,
    Undo,
}

/// What a change does to its relationship in the direction that it is walked in.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    relationship: &'a Relationship,
    /// `None`: absent.
    before: Option<Attributes<'a>>,
    after: Option<Attributes<'a>>,
}

impl<'a> Step<'a> {
    fn of(change: &'a Change, direction: Direction) -> Step<'a> {
        fn own(relationship: &Relationship) -> Option<Attributes<'_>> {
            Some(Attributes { caveat: relationship.caveat.as_ref(), expires_at: relationship.expires_at })
        }
        let (relationship, before, after) = match change {
            Change::Created(new) => (new, None, own(new)),
            Change::Replaced { new, old } => {
                let old = Attributes { caveat: old.caveat.as_ref(), expires_at: old.expires_at };
                (new, Some(old), own(new))
            }
            Change::Deleted(old) => (old, own(old), None),
        };
        match direction {
            Direction::Apply => Step { relationship, before, after },
            Direction::Undo => Step { relationship, before: after, after: before },
        }
    }

    fn effect(&self) -> Effect {
        match (self.before, self.after) {
            (None, _) => Effect::Insert,
            (Some(_), None) => Effect::Remove,
            (Some(_), Some(_)) => Effect::Keep,
        }
    }
}

/// Where an entry's changes go.
#[derive(Default)]
struct Batch {
    /// Ops by resource type.
    forward: BTreeMap<TypeId, Vec<Op>>,
    /// Ops by subject type.
    reverse: BTreeMap<TypeId, Vec<Op>>,
    /// By type, how many objects it had before this entry numbered the first.
    counts_before: BTreeMap<TypeId, u32>,
}

impl Root {
    /// Applies the next entry: all of it, or, failing, nothing.
    ///
    /// # Errors
    /// [`ApplyError`] if the entry is not the next one or does not record what this root has.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        self.expect_next(entry)?;
        match &entry.kind {
            EntryKind::Relationships(changes) => {
                self.change_edges(entry.revision, changes, Direction::Apply)?
            }
            EntryKind::Schema { new, old } => {
                let schema = parse(new)?;
                self.put_schema(entry.revision, old, new, schema)?;
            }
            EntryKind::Renumbering { removed } => self.remove_objects(removed)?,
            EntryKind::Counter { name, new, old } => {
                self.change_counter(entry.revision, name, (old.as_deref(), new.as_deref()))?;
            }
        }
        self.revision = entry.revision;
        Ok(())
    }

    /// Applies the next entry, which records a schema, when its new text is parsed already.
    ///
    /// # Errors
    /// As [`Root::apply`]; [`ApplyError::NotASchema`] if the entry records none.
    pub fn apply_schema_parsed(&mut self, entry: &Entry, schema: Arc<Schema>) -> Result<(), ApplyError> {
        self.expect_next(entry)?;
        let EntryKind::Schema { new, old } = &entry.kind else {
            return Err(ApplyError::NotASchema { found: entry.revision });
        };
        self.put_schema(entry.revision, old, new, Some(schema))?;
        self.revision = entry.revision;
        Ok(())
    }

    /// Takes the last entry back: all of it, or, failing, nothing.
    ///
    /// # Errors
    /// [`ApplyError`] if the entry is not the last one or does not record what this root has.
    pub fn undo(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.revision != self.revision || entry.revision == Revision(0) {
            return Err(ApplyError::NotLast { at: self.revision, found: entry.revision });
        }
        if entry.revision < self.undoable_from {
            return Err(ApplyError::NotUndoable { found: entry.revision, oldest: self.undoable_from });
        }
        match &entry.kind {
            EntryKind::Relationships(changes) => {
                self.change_edges(entry.revision, changes, Direction::Undo)?;
                self.undo_births(entry.revision);
            }
            EntryKind::Schema { new, old } => {
                let schema = parse(old)?;
                self.undo_schema(entry.revision, old, new, schema)?;
            }
            EntryKind::Renumbering { removed } => self.restore_objects(removed)?,
            EntryKind::Counter { name, new, old } => {
                self.change_counter(entry.revision, name, (new.as_deref(), old.as_deref()))?;
            }
        }
        self.revision = Revision(entry.revision.0 - 1);
        Ok(())
    }

    /// Applies some of the next entry's changes; [`Root::complete_entry`] follows the last of them. In the order of the
    /// entry, this comes to the same as [`Root::apply`] without all changes in memory at once.
    ///
    /// Until then the root is between two revisions and is to be read by nobody else.
    ///
    /// # Errors
    /// [`ApplyError`] if a change does not record what this root has. None of these changes is applied then, but those
    /// before them are: who applies an entry in portions keeps a clone from before it.
    pub fn apply_portion(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        self.change_edges(self.revision.next(), changes, Direction::Apply)
    }

    /// Ends an entry that was applied in portions.
    pub fn complete_entry(&mut self) {
        self.revision = self.revision.next();
    }

    fn expect_next(&self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.revision == self.revision.next() {
            return Ok(());
        }
        Err(ApplyError::NotNext { at: self.revision, found: entry.revision })
    }

    fn put_schema(
        &mut self,
        revision: Revision,
        old: &str,
        new: &str,
        schema: Option<Arc<Schema>>,
    ) -> Result<(), ApplyError> {
        if *self.schema_text != *old {
            return Err(ApplyError::OtherSchema { found: revision });
        }
        let mut catalog = Catalog::clone(&self.catalog);
        adopt(&mut catalog, revision, schema.as_deref())?;
        self.put_catalog(catalog);
        self.schema = schema;
        self.schema_text = Arc::from(new);
        Ok(())
    }

    fn undo_schema(
        &mut self,
        revision: Revision,
        old: &str,
        new: &str,
        schema: Option<Arc<Schema>>,
    ) -> Result<(), ApplyError> {
        if *self.schema_text != *new {
            return Err(ApplyError::OtherSchema { found: revision });
        }
        let mut catalog = Catalog::clone(&self.catalog);
        catalog.retract(revision);
        // All that the old schema has is registered: this only puts it in force.
        adopt(&mut catalog, revision, schema.as_deref())?;
        self.put_catalog(catalog);
        self.schema = schema;
        self.schema_text = Arc::from(old);
        Ok(())
    }

    /// Puts a catalog in place, and as many tables as it has types and classes.
    pub(crate) fn put_catalog(&mut self, catalog: Catalog) {
        while self.types.len() < catalog.types().len() {
            self.types.push(Arc::new(TypeTable::new(self.seed)));
        }
        while self.types.len() > catalog.types().len() {
            self.types.pop();
        }
        while self.classes.len() < catalog.classes().len() {
            self.classes.push(ClassTable::default());
        }
        while self.classes.len() > catalog.classes().len() {
            self.classes.pop();
        }
        self.catalog = Arc::new(catalog);
    }

    fn undo_births(&mut self, revision: Revision) {
        for id in 0..self.types.len() as u32 {
            let born = self.table(TypeId(id)).is_some_and(|table| table.names.has_birth(revision.0));
            if born && let Some(table) = self.table_mut(TypeId(id)) {
                table.names.undo_birth(revision.0);
            }
        }
    }

    fn change_edges(
        &mut self,
        revision: Revision,
        changes: &[Change],
        way: Direction,
    ) -> Result<(), ApplyError> {
        if changes.len() >= Op::INDEX_END {
            return Err(ApplyError::TooManyChanges { changes: changes.len() });
        }
        let mut batch = Batch::default();
        let verified =
            self.resolve(changes, way, &mut batch).and_then(|()| self.verify(changes, way, &mut batch));
        if let Err(error) = verified {
            for (id, count) in batch.counts_before {
                if let Some(table) = self.table_mut(id) {
                    table.names.truncate(count);
                }
            }
            return Err(error);
        }
        self.write_edges(changes, way, &mut batch);
        for (id, first) in batch.counts_before {
            if let Some(table) = self.table_mut(id) {
                table.names.record_birth(revision.0, first);
            }
        }
        Ok(())
    }

    /// Finds each change's place, numbering the objects of created relationships.
    fn resolve(&mut self, changes: &[Change], way: Direction, batch: &mut Batch) -> Result<(), ApplyError> {
        let catalog = Arc::clone(&self.catalog);
        for (index, change) in changes.iter().enumerate() {
            let step = Step::of(change, way);
            let relationship = step.relationship;
            let creates = way == Direction::Apply && step.before.is_none();
            let class = catalog.class_of(relationship).and_then(|id| catalog.class(id));
            let Some(record) = class.filter(|record| record.current || !creates) else {
                return Err(ApplyError::UnknownClass { relationship: Box::new(relationship.clone()) });
            };
            let (resource_type, subject_type) = (record.class.resource_type, record.class.subject_type);
            let mut number = |id: TypeId, object: &str| {
                if creates { self.numbered(id, object, batch) } else { Ok(self.object(id, object)) }
            };
            let resource = number(resource_type, &relationship.resource.object_id)?;
            let subject = number(subject_type, &relationship.subject.object_id)?;
            let (Some(resource), Some(subject)) = (resource, subject) else {
                return Err(ApplyError::Absent { relationship: Box::new(relationship.clone()) });
            };
            let (index, effect) = (index as u32, step.effect());
            let forward = Op::new(resource, record.forward_local, subject, index, effect);
            batch.forward.entry(resource_type).or_default().push(forward);
            if effect != Effect::Keep {
                let reverse = Op::new(subject, record.reverse_local, resource, index, effect);
                batch.reverse.entry(subject_type).or_default().push(reverse);
            }
        }
        Ok(())
    }

    /// The number of an object, given now if it had none.
    fn numbered(&mut self, id: TypeId, object: &str, batch: &mut Batch) -> Result<Option<u32>, ApplyError> {
        let Some(names) = self.table(id).map(|table| &table.names) else { return Ok(None) };
        let hash = names.hash(object);
        if let Some(number) = names.number_hashed(hash, object) {
            return Ok(Some(number));
        }
        let count = names.count();
        if count >= self.numbers_end {
            return Err(ApplyError::ObjectsExhausted { object_type: self.type_name(id).to_owned() });
        }
        if object.len() > OBJECT_ID_BYTES_MAX {
            let object_type = self.type_name(id).to_owned();
            return Err(ApplyError::ObjectIdTooLong { object_type, bytes: object.len() });
        }
        batch.counts_before.entry(id).or_insert(count);
        Ok(self.table_mut(id).map(|table| table.names.insert(hash, object)))
    }

    /// Sorts the ops, and holds what is recorded as *before* against what is there.
    fn verify(&self, changes: &[Change], way: Direction, batch: &mut Batch) -> Result<(), ApplyError> {
        for (id, ops) in &mut batch.forward {
            ops.sort_unstable();
            let classes = &self.type_record(*id).forward;
            let boxed = |op: Op| Box::new(Step::of(&changes[op.index()], way).relationship.clone());
            if let Some(twice) = ops.windows(2).find(|pair| pair[0].same_edge(pair[1])) {
                return Err(ApplyError::Repeated { relationship: boxed(twice[1]) });
            }
            for run in ops.chunk_by(|a, b| a.object() == b.object() && a.class() == b.class()) {
                let class = classes[run[0].class() as usize];
                let subjects = self.subjects(class, run[0].object());
                for op in run {
                    let present = !subjects.is_empty() && subjects.contains(op.number());
                    match Step::of(&changes[op.index()], way).before {
                        None if present => return Err(ApplyError::Present { relationship: boxed(*op) }),
                        Some(_) if !present => return Err(ApplyError::Absent { relationship: boxed(*op) }),
                        Some(before) if !before.are(self.attributes(class, op.object(), op.number())) => {
                            return Err(ApplyError::OtherAttributes { relationship: boxed(*op) });
                        }
                        _ => {}
                    }
                }
            }
        }
        for ops in batch.reverse.values_mut() {
            ops.sort_unstable();
        }
        Ok(())
    }

    /// Writes verified ops. Nothing here can fail.
    fn write_edges(&mut self, changes: &[Change], way: Direction, batch: &mut Batch) {
        let catalog = Arc::clone(&self.catalog);
        for (id, ops) in &mut batch.forward {
            self.write_attributes(changes, way, &catalog.types()[id.0 as usize].forward, ops);
            ops.retain(|op| op.effect() != Effect::Keep);
            if let Some(table) = self.table_mut(*id) {
                table.forward.update(ops);
            }
        }
        for (id, ops) in &batch.reverse {
            if let Some(table) = self.table_mut(*id) {
                table.reverse.update(ops);
            }
        }
    }

    /// Counts edges, writes attributes where there are some, and makes new versions.
    fn write_attributes(&mut self, changes: &[Change], way: Direction, classes: &[ClassId], ops: &[Op]) {
        let mut edits: BTreeMap<ClassId, Vec<AttributeChange<'_>>> = BTreeMap::new();
        let mut changed: BTreeMap<ClassId, Vec<u32>> = BTreeMap::new();
        let mut grown: BTreeMap<ClassId, i64> = BTreeMap::new();
        for run in ops.chunk_by(|a, b| a.object() == b.object() && a.class() == b.class()) {
            let class = classes[run[0].class() as usize];
            let count = grown.entry(class).or_default();
            let attributed = self.has_attributes(class);
            let subjects = changed.entry(class).or_default();
            // One more than are told stands for all.
            let untold = (SUBJECTS_MAX + 1).saturating_sub(subjects.len());
            subjects.extend(run.iter().take(untold).map(|op| op.number()));
            for op in run {
                let step = Step::of(&changes[op.index()], way);
                *count += match op.effect() {
                    Effect::Insert => 1,
                    Effect::Remove => -1,
                    Effect::Keep => 0,
                };
                if attributed || step.after.is_some_and(|after| !after.is_empty()) {
                    let (resource, subject) = (op.object(), op.number());
                    edits.entry(class).or_default().push(AttributeChange {
                        resource,
                        subject,
                        attributes: step.after,
                    });
                }
            }
        }
        self.grow(grown);
        for (class, subjects) in changed {
            if let Some(table) = self.classes.item_mut(class.0 as usize) {
                table.version = table.version.after(subjects);
            }
        }
        let has_edits = !edits.is_empty();
        for (class, edits) in edits {
            if let Some(table) = self.classes.item_mut(class.0 as usize) {
                table.change_attributes(&edits);
            }
        }
        if has_edits {
            self.note_attributes();
        }
    }

    /// Counts the edges of ops by local class, as if they were written.
    pub(crate) fn count_edges(&mut self, classes: &[ClassId], ops: &[Op]) {
        let mut grown: BTreeMap<ClassId, i64> = BTreeMap::new();
        for op in ops {
            let count = if op.effect() == Effect::Remove { -1 } else { 1 };
            *grown.entry(classes[op.class() as usize]).or_default() += count;
        }
        self.grow(grown);
    }

    fn grow(&mut self, grown: BTreeMap<ClassId, i64>) {
        for (class, count) in grown {
            self.relationships = self.relationships.wrapping_add_signed(count);
            if let Some(table) = self.classes.item_mut(class.0 as usize) {
                table.edges = table.edges.wrapping_add_signed(count);
            }
        }
    }
}

impl ClassTable {
    pub(crate) fn change_attributes(&mut self, edits: &[AttributeChange<'_>]) {
        let table = self.attributes.get_or_insert_with(|| Arc::new(AttributeTable::new()));
        Arc::make_mut(table).update(edits);
        if table.is_empty() {
            self.attributes = None;
        }
    }
}

fn parse(text: &str) -> Result<Option<Arc<Schema>>, ApplyError> {
    if text.is_empty() { Ok(None) } else { Ok(Some(Arc::new(Schema::parse(text)?))) }
}

fn adopt(catalog: &mut Catalog, revision: Revision, schema: Option<&Schema>) -> Result<(), ApplyError> {
    let definitions =
        schema.map_or(&[][..], Schema::definitions).iter().map(|definition| definition.name.as_str());
    catalog.adopt(revision, definitions, &schema.map_or_else(Vec::new, Schema::classes))
}
