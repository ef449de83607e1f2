//! Which edges exist at this revision? Immutable roots over copy-on-write tries.

use std::sync::Arc;

use idhini_model::{CaveatUse, Context, Entry, Relationship, Revision, Timestamp};
use idhini_schema::{ClassKey, Schema};

/// A type's number: order of first appearance in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);
/// An edge class's number: order of first appearance in the log; survives schema changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u32);

/// An edge class, numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Class { pub key: ClassKey, pub resource_type: TypeId, pub subject_type: TypeId }

/// Attributes of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EdgeAttributes { pub caveat: Option<Arc<CaveatUse>>, pub expires_at: Option<Timestamp> }

/// The graph at one revision; cloning shares everything.
#[derive(Debug, Clone)]
pub struct Root {}

/// Sorted object numbers of one row.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> { slice: &'a [u32] }

#[allow(missing_docs)]
impl<'a> Run<'a> {
    pub fn len(self) -> usize { self.slice.len() }
    pub fn is_empty(self) -> bool { self.slice.is_empty() }
    pub fn contains(self, _number: u32) -> bool { todo!() }
    /// The `index`th number in ascending order, O(1) or O(log n).
    pub fn get(self, _index: usize) -> Option<u32> { todo!() }
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a { self.slice.iter().copied() }
}

/// Why an entry does not apply.
#[derive(Debug, thiserror::Error)]
#[error("todo")]
pub struct ApplyError;

#[allow(missing_docs)]
impl Root {
    pub fn empty() -> Root { todo!() }
    pub fn revision(&self) -> Revision { todo!() }
    pub fn schema(&self) -> Option<&Arc<Schema>> { todo!() }
    pub fn type_id(&self, _name: &str) -> Option<TypeId> { todo!() }
    pub fn type_name(&self, _id: TypeId) -> &str { todo!() }
    pub fn class_id(&self, _key: &ClassKey) -> Option<ClassId> { todo!() }
    pub fn class(&self, _id: ClassId) -> &Class { todo!() }
    /// The number of an object; the wildcard `*` is numbered like any other object id.
    pub fn object(&self, _object_type: TypeId, _id: &str) -> Option<u32> { todo!() }
    pub fn object_id(&self, _object_type: TypeId, _number: u32) -> &str { todo!() }
    /// Numbers of this type are below this.
    pub fn object_count(&self, _object_type: TypeId) -> u32 { todo!() }
    pub fn subjects(&self, _class: ClassId, _resource: u32) -> Run<'_> { todo!() }
    pub fn resources(&self, _class: ClassId, _subject: u32) -> Run<'_> { todo!() }
    pub fn has_attributes(&self, _class: ClassId) -> bool { todo!() }
    pub fn attributes(&self, _class: ClassId, _resource: u32, _subject: u32) -> Option<&EdgeAttributes> { todo!() }
    /// All edges of a class in ascending (resource, subject), from this resource on.
    pub fn edges(&self, _class: ClassId, _from_resource: u32) -> impl Iterator<Item = (u32, u32)> + '_ { std::iter::empty() }
    pub fn relationship(&self, _class: ClassId, _resource: u32, _subject: u32) -> Option<Relationship> { todo!() }
    /// The stored form of this relationship (same identity), if present.
    pub fn find(&self, _relationship: &Relationship) -> Option<Relationship> { todo!() }
    pub fn relationship_count(&self) -> u64 { todo!() }
    pub fn apply(&mut self, _entry: &Entry) -> Result<(), ApplyError> { todo!() }
    pub fn undo(&mut self, _entry: &Entry) -> Result<(), ApplyError> { todo!() }
    #[doc(hidden)] pub fn _unused(_c: Context) {}
}
