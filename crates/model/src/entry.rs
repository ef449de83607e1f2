//! What one place in the log records: the change itself, never a question to be judged again.

use crate::{CaveatUse, Context, Relationship, Revision, Timestamp};

/// A relationship's attributes: what TOUCH may replace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The condition under which the relationship counts.
    pub caveat: Option<CaveatUse>,
    /// The moment from which it does not count.
    pub expires_at: Option<Timestamp>,
}

/// One recorded effect on one relationship, with what undoing it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was absent and is now present.
    Created(Relationship),
    /// It was present with other attributes.
    Replaced {
        /// The relationship with its new attributes.
        new: Relationship,
        /// The attributes it had.
        old: Attributes,
    },
    /// It was present and is now absent; the attributes are those it had.
    Deleted(Relationship),
}

/// What kind of change an entry records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// Relationships created, replaced and deleted; each relationship at most once.
    Relationships(Vec<Change>),
    /// The schema's canonical text after and before (empty: there was none).
    Schema {
        /// After the entry.
        new: String,
        /// Before the entry.
        old: String,
    },
    /// Object numbers that no relationship used were reclaimed; survivors keep their order.
    Renumbering {
        /// Per removed object: type, the number it had, its id; sorted by type and number.
        removed: Vec<(String, u32, String)>,
    },
}

impl Change {
    /// The relationship, as it is after the change or, if it is gone, as it was before.
    #[must_use]
    pub fn relationship(&self) -> &Relationship {
        match self {
            Change::Created(relationship) | Change::Deleted(relationship) => relationship,
            Change::Replaced { new, .. } => new,
        }
    }
}

impl EntryKind {
    /// What applying or undoing it costs, in changed relationships or objects; one at least.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self {
            EntryKind::Relationships(changes) => (changes.len() as u64).max(1),
            EntryKind::Schema { .. } => 1,
            EntryKind::Renumbering { removed } => (removed.len() as u64).max(1),
        }
    }
}

/// One place in a namespace's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's place.
    pub revision: Revision,
    /// What it changed.
    pub kind: EntryKind,
}

/// What made an entry be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Request,
    /// Relationships had expired, or object numbers were out of use.
    Sweep,
}

/// Where an entry came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When it was written, by the writer's clock; never before the entry before it.
    pub written_at: Timestamp,
    /// What made it be written.
    pub cause: Cause,
    /// Who asked for it; empty if nobody is known.
    pub actor: String,
    /// What the request gave along, for whoever watches.
    pub metadata: Context,
}

/// An entry as the log keeps it: what it changed, and where that came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place and what it changed.
    pub entry: Entry,
    /// Where it came from.
    pub origin: Origin,
}

impl Relationship {
    /// Caveat and expiration.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        Attributes { caveat: self.caveat.clone(), expires_at: self.expires_at }
    }
}
