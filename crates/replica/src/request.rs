//! What can be asked of the writer?

use idhini_model::{CaveatUse, Context, Relationship, ResourceRef, SubjectRef, Timestamp};

use crate::Filter;

/// What an update does to its relationship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Makes it; refused if it is present.
    Create,
    /// Makes it or replaces its attributes.
    Touch,
    /// Removes it; absent is fine.
    Delete,
}

/// One update of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// What to do.
    pub operation: Operation,
    /// To which relationship; a delete looks at its identity only.
    pub relationship: Relationship,
}

impl Update {
    /// Makes a relationship; refused if it is present.
    #[must_use]
    pub fn create(relationship: Relationship) -> Update {
        Update { operation: Operation::Create, relationship }
    }

    /// Makes a relationship or replaces its attributes.
    #[must_use]
    pub fn touch(relationship: Relationship) -> Update {
        Update { operation: Operation::Touch, relationship }
    }

    /// Removes a relationship; absent is fine.
    #[must_use]
    pub fn delete(relationship: Relationship) -> Update {
        Update { operation: Operation::Delete, relationship }
    }
}

/// What must hold at the moment of a write, judged together with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// At least one relationship matches.
    MustMatch(Filter),
    /// No relationship matches.
    MustNotMatch(Filter),
    /// The subject definitely has the permission.
    MustHave(PermissionQuestion),
    /// The subject definitely does not have the permission.
    MustNotHave(PermissionQuestion),
}

impl Precondition {
    /// The filter, if it is about relationships.
    #[must_use]
    pub fn filter(&self) -> Option<&Filter> {
        match self {
            Precondition::MustMatch(filter) | Precondition::MustNotMatch(filter) => Some(filter),
            Precondition::MustHave(_) | Precondition::MustNotHave(_) => None,
        }
    }
}

/// A check that a precondition makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionQuestion {
    /// The object.
    pub resource: ResourceRef,
    /// A permission or relation of its definition.
    pub permission: String,
    /// An object or userset.
    pub subject: SubjectRef,
    /// Values for caveats.
    pub context: Context,
}

/// Updates that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    /// Each relationship at most once.
    pub updates: Vec<Update>,
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// Kept with the entry, for whoever watches.
    pub metadata: Context,
}

impl From<Update> for Write {
    fn from(update: Update) -> Write {
        Write::from(vec![update])
    }
}

impl<const N: usize> From<[Update; N]> for Write {
    fn from(updates: [Update; N]) -> Write {
        Write::from(Vec::from(updates))
    }
}

impl From<Vec<Update>> for Write {
    fn from(updates: Vec<Update>) -> Write {
        Write { updates, ..Write::default() }
    }
}

/// Makes a relation of one resource hold exactly these subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRelation {
    /// The resource.
    pub resource: ResourceRef,
    /// A relation of its definition.
    pub relation: String,
    /// Each subject at most once.
    pub members: Vec<Member>,
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// At most so many relationships are created, replaced or deleted; more are refused.
    pub changes_max: usize,
    /// Kept with the entry, for whoever watches.
    pub metadata: Context,
}

/// A subject of a relation, with the attributes of its relationship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub subject: SubjectRef,
    /// The condition under which the relationship counts.
    pub caveat: Option<CaveatUse>,
    /// The moment from which it does not count.
    pub expires_at: Option<Timestamp>,
}

/// What setting a relation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The revision that has it so.
    pub revision: idhini_model::Revision,
    /// How many relationships of each kind.
    pub tally: Tally,
}

/// Relationships that a request changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// That were absent, or had expired.
    pub created: u64,
    /// That had other attributes.
    pub replaced: u64,
    /// That are gone.
    pub deleted: u64,
}

/// Removes what a filter matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delete {
    /// Which relationships.
    pub filter: Filter,
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Whether to remove some when more than `limit` match; otherwise that is refused.
    pub allow_partial: bool,
    /// Kept with the entry, for whoever watches.
    pub metadata: Context,
}

/// Registers a counter, or takes it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterChange {
    /// The counter's name.
    pub name: String,
    /// What it is to count; `None` takes it away.
    pub filter: Option<Filter>,
}

/// What a delete did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// The revision from which they are gone.
    pub revision: idhini_model::Revision,
    /// How many relationships.
    pub count: u64,
    /// Whether more of them match and are still there.
    pub is_partial: bool,
}
