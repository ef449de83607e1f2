//! Why can the namespace not do what was asked?

use idhini_graph::ApplyError;
use idhini_model::{Relationship, Revision};
use idhini_schema::{RelationshipError, SchemaError};

use crate::Precondition;

/// Why the namespace did not do what was asked. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// No schema has been written.
    #[error("the namespace has no schema yet; write one first")]
    NoSchema,
    /// The schema has no such definition.
    #[error("the schema has no definition `{definition}`")]
    UnknownDefinition {
        /// As asked.
        definition: String,
    },
    /// The definition has no such relation or permission.
    #[error("definition `{definition}` has no relation or permission `{member}`")]
    UnknownMember {
        /// As asked.
        definition: String,
        /// As asked.
        member: String,
    },
    /// Relationships stand in relations only.
    #[error(
        "`{permission}` of definition `{definition}` is a permission: it is computed, no relationship stands in it"
    )]
    NotARelation {
        /// As asked.
        definition: String,
        /// As asked.
        permission: String,
    },
    /// The schema does not admit the relationship.
    #[error(transparent)]
    Inadmissible(#[from] RelationshipError),
    /// One request has two updates of one relationship.
    #[error("`{relationship}` is updated more than once in this request; each relationship may occur once")]
    DuplicateUpdate {
        /// The second of them.
        relationship: Box<Relationship>,
    },
    /// CREATE of what is there.
    #[error("`{relationship}` exists already; use TOUCH to replace it, or a precondition")]
    AlreadyExists {
        /// As asked.
        relationship: Box<Relationship>,
    },
    /// A precondition does not hold.
    #[error("a precondition does not hold")]
    PreconditionFailed {
        /// The first that does not.
        precondition: Box<Precondition>,
    },
    /// Judging the preconditions would hold up all other writers.
    #[error(
        "the preconditions look at more than {edges_max} relationships; name a resource's id or a subject's id in their filters"
    )]
    PreconditionsTooWide {
        /// What those of one request may look at.
        edges_max: u64,
    },
    /// Whoever asked no longer waits for it.
    #[error("nobody waits for this write any more; nothing has changed")]
    NotWanted,
    /// More match than may be deleted at once.
    #[error("more than {limit} relationships match, and a partial deletion was not asked for")]
    TooManyToDelete {
        /// As asked.
        limit: u64,
        /// The filter's resource type, if it has one.
        resource_type: Option<String>,
    },
    /// The text is not a schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The schema would leave relationships without a place.
    #[error("{change}, as {count} relationships stand in its way, such as `{example}`; delete them first")]
    Orphans {
        /// What the schema would take away.
        change: SchemaChange,
        /// One of the relationships.
        example: Box<Relationship>,
        /// How many there are.
        count: u64,
    },
    /// The revision is no longer kept.
    #[error("revision {asked} is older than the oldest kept revision {oldest}")]
    Expired {
        /// As asked.
        asked: Revision,
        /// The oldest that can be asked for.
        oldest: Revision,
    },
    /// The revision is not there yet.
    #[error("revision {asked} is not applied yet; this replica is at {applied}")]
    NotYet {
        /// As asked.
        asked: Revision,
        /// The newest here.
        applied: Revision,
    },
    /// The graph refused an effect that was judged against it: a mistake of this program.
    #[error("the graph does not take the entry that was judged against it")]
    Apply(#[from] ApplyError),
}

/// What a new schema takes away although it is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaChange {
    /// A definition.
    Definition {
        /// Its name.
        definition: String,
    },
    /// A relation.
    Relation {
        /// Its definition.
        definition: String,
        /// Its name.
        relation: String,
    },
    /// One alternative of a relation's type.
    AllowedSubject {
        /// The relation's definition.
        definition: String,
        /// The relation.
        relation: String,
        /// The alternative as schemas write it: `user with only_on`.
        allowed: String,
    },
    /// A caveat's parameter.
    ParameterRemoved {
        /// The caveat.
        caveat: String,
        /// The parameter.
        parameter: String,
    },
    /// A caveat's parameter's type.
    ParameterRetyped {
        /// The caveat.
        caveat: String,
        /// The parameter.
        parameter: String,
    },
}

impl std::fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SchemaChange::Definition { definition } => write!(f, "cannot remove definition `{definition}`"),
            SchemaChange::Relation { definition, relation } => {
                write!(f, "cannot remove relation `{relation}` of definition `{definition}`")
            }
            SchemaChange::AllowedSubject { definition, relation, allowed } => {
                write!(f, "cannot remove `{allowed}` from relation `{relation}` of definition `{definition}`")
            }
            SchemaChange::ParameterRemoved { caveat, parameter } => {
                write!(f, "cannot remove parameter `{parameter}` of caveat `{caveat}`")
            }
            SchemaChange::ParameterRetyped { caveat, parameter } => {
                write!(f, "cannot change the type of parameter `{parameter}` of caveat `{caveat}`")
            }
        }
    }
}
