//! Why does an entry not apply?

use idhini_model::{Relationship, Revision};
use idhini_schema::SchemaError;

/// Why an entry does not apply to a root, or cannot be undone on it. The root is as it was.
///
/// Each of these means that the log and the root disagree, or that a width ran out; none is a client's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// An entry must be the next one.
    #[error("entry {found} does not follow revision {at}")]
    NotNext {
        /// The root's revision.
        at: Revision,
        /// The entry's.
        found: Revision,
    },
    /// Only the last entry can be undone.
    #[error("entry {found} is not the one that led to revision {at}")]
    NotLast {
        /// The root's revision.
        at: Revision,
        /// The entry's.
        found: Revision,
    },
    /// What undoing the entry needs was given up.
    #[error(
        "entry {found} cannot be undone on this root, which knows what entries from {oldest} on numbered"
    )]
    NotUndoable {
        /// The entry's revision.
        found: Revision,
        /// The oldest that can be undone.
        oldest: Revision,
    },
    /// The schema in force has no place for the relationship.
    #[error("no relation of the schema in force admits `{relationship}`")]
    UnknownClass {
        /// The relationship.
        relationship: Box<Relationship>,
    },
    /// Recorded as absent before.
    #[error("`{relationship}` is recorded as absent, but is present")]
    Present {
        /// The relationship.
        relationship: Box<Relationship>,
    },
    /// Recorded as present before.
    #[error("`{relationship}` is recorded as present, but is absent")]
    Absent {
        /// The relationship.
        relationship: Box<Relationship>,
    },
    /// Recorded with other attributes than it has.
    #[error("`{relationship}` is recorded with other attributes than it has")]
    OtherAttributes {
        /// The relationship as the entry has it.
        relationship: Box<Relationship>,
    },
    /// An entry changes each relationship at most once.
    #[error("`{relationship}` is changed twice in one entry")]
    Repeated {
        /// The relationship.
        relationship: Box<Relationship>,
    },
    /// The type has as many objects as can be numbered; a renumbering may reclaim some.
    #[error("all numbers for objects of type `{object_type}` are given")]
    ObjectsExhausted {
        /// The type.
        object_type: String,
    },
    /// An id longer than object ids are.
    #[error("an object id of type `{object_type}` has {bytes} bytes")]
    ObjectIdTooLong {
        /// The type.
        object_type: String,
        /// The id's length.
        bytes: usize,
    },
    /// More classes than leaves have room for were ever declared.
    #[error("all numbers for edge classes are given")]
    ClassesExhausted,
    /// More changes in one entry than can be indexed.
    #[error("{changes} changes are too many for one entry")]
    TooManyChanges {
        /// How many.
        changes: usize,
    },
    /// The recorded schema text is not a schema.
    #[error("the recorded schema is not one: {0}")]
    Schema(#[from] SchemaError),
    /// The schema recorded as in force is not the one in force.
    #[error("entry {found} records another schema than the one in force")]
    OtherSchema {
        /// The entry's revision.
        found: Revision,
    },
    /// The counter recorded before is not the one that is registered.
    #[error("entry {found} records another counter `{name}` than is registered")]
    OtherCounter {
        /// The entry's revision.
        found: Revision,
        /// The counter's name.
        name: String,
    },
    /// A schema was passed for an entry that records none.
    #[error("entry {found} does not record a schema")]
    NotASchema {
        /// The entry's revision.
        found: Revision,
    },
    /// A renumbering's list is not sorted, or repeats an object.
    #[error("the list of removed objects is out of order at `{object_type}` {number}")]
    RemovedUnsorted {
        /// The type.
        object_type: String,
        /// The object's number.
        number: u32,
    },
    /// A renumbering removes what does not have this number.
    #[error("`{object_type}:{object_id}` does not have the number {number}")]
    RemovedUnknown {
        /// The type.
        object_type: String,
        /// The recorded number.
        number: u32,
        /// The recorded id.
        object_id: String,
    },
    /// A renumbering removes what a relationship names.
    #[error("`{object_type}:{object_id}` is to be removed, but is in use")]
    RemovedInUse {
        /// The type.
        object_type: String,
        /// The object's id.
        object_id: String,
    },
}
