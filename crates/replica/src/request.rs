//! What can be asked of the writer?

use idhini_model::{Context, Relationship};

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

/// What must hold at the moment of a write, judged together with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// At least one relationship matches.
    MustMatch(Filter),
    /// No relationship matches.
    MustNotMatch(Filter),
}

impl Precondition {
    /// The filter of either kind.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        match self {
            Precondition::MustMatch(filter) | Precondition::MustNotMatch(filter) => filter,
        }
    }
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
