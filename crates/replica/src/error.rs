//! Why can the namespace not do what was asked?

use std::io;
use std::sync::Arc;

use idhini_changelog::{AppendError, LogError};
use idhini_engine::{Answer, EngineError, Permissionship};
use idhini_graph::ApplyError;
use idhini_model::{DecodeError, Relationship, Revision, Timestamp};
use idhini_schema::{RelationshipError, SchemaError};

use crate::control::ControlError;
use crate::{Filter, OverQuota, Precondition};

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
    /// A check that was made a precondition has another answer, or none that is definite.
    #[error(
        "a permission precondition does not hold: the answer is {}", match .answer.permissionship {
            Permissionship::No => "no",
            Permissionship::Conditional => "conditional, and only a definite one satisfies",
            Permissionship::Has => "yes",
        }
    )]
    PermissionPreconditionFailed {
        /// The first that does not.
        precondition: Box<Precondition>,
        /// What the check answers.
        answer: Box<Answer>,
    },
    /// A check that was made a precondition has no answer.
    #[error("a permission precondition has no answer: {0}")]
    Unanswerable(#[from] EngineError),
    /// Judging the preconditions' checks would hold up all other writers.
    #[error(
        "the checks of the preconditions visit more than {cost_max} relationships; check something narrower, or before the write"
    )]
    PreconditionsTooCostly {
        /// What those of one request may spend.
        cost_max: u64,
    },
    /// Setting a relation would change more than it may.
    #[error(
        "more than {changes_max} relationships would be created, replaced or deleted; set the relation in steps, or delete by a filter first"
    )]
    TooManyToSet {
        /// How many may be.
        changes_max: usize,
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
    /// A counter of this name is there already.
    #[error("counter `{name}` is registered already; unregister it first, or choose another name")]
    CounterRegistered {
        /// As asked.
        name: String,
        /// What it was to count.
        filter: Box<Filter>,
    },
    /// There is no counter of this name.
    #[error("no counter `{name}` is registered")]
    CounterNotRegistered {
        /// As asked.
        name: String,
    },
    /// The namespace has as many counters as it may have.
    #[error("{counters_max} counters are registered, and no more may be; unregister one first")]
    TooManyCounters {
        /// How many there may be.
        counters_max: usize,
    },
    /// More would lie stored than a quota allows.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
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
    /// A moment before everything that is kept.
    #[error("the history begins at {oldest}; {asked} is before it")]
    BeforeHistory {
        /// As asked.
        asked: Timestamp,
        /// The moment of the oldest revision that can be asked for.
        oldest: Timestamp,
    },
    /// Getting there would take more work than one request may cause.
    #[error(
        "revision {asked} is more than {changes_max} changes away from every revision at hand; ask for a later one"
    )]
    TooFar {
        /// As asked.
        asked: Revision,
        /// The most changes that are walked.
        changes_max: u64,
    },
    /// Too many writes wait already.
    #[error("{waiting} writes are waiting already; try again later, with fewer at a time")]
    Busy {
        /// How many may wait.
        waiting: usize,
    },
    /// The writes that wait already take too much memory.
    #[error("writes of about {bytes_max} bytes are waiting already; try again later, with less at a time")]
    BusyBytes {
        /// What they may take.
        bytes_max: u64,
    },
    /// What the request changes is too much for one entry of the log.
    #[error(
        "the request changes too much at once: its entry would take {bytes} bytes, and may take {bytes_max}; send it as several, or delete with a limit"
    )]
    TooLarge {
        /// What it would take at least.
        bytes: u64,
        /// What it may take.
        bytes_max: u64,
    },
    /// The log does not write at present; nothing has changed.
    #[error("nothing was written: the log cannot be written at present: {0}; try again later")]
    LogUnavailable(Arc<io::Error>),
    /// The log went away in the middle of the write.
    #[error(
        "the log went away while this was written: whether it took effect is not known ({0}); read before repeating it"
    )]
    OutcomeUnknown(Arc<io::Error>),
    /// The writer stopped in the middle of the write: a mistake of this program.
    #[error(
        "the write failed inside the server: whether it took effect is not known; read before repeating it"
    )]
    WriterGone,
    /// The log refuses the entry for good; nothing has changed.
    #[error("nothing was written: {0}")]
    NotAppended(Arc<AppendError>),
    /// What the log holds beyond this replica cannot be read or applied; nothing has changed.
    #[error("nothing was written, since the log cannot be followed: {0}")]
    LogUnreadable(Arc<FollowError>),
    /// What is kept of the past cannot be read.
    #[error("the past cannot be read: {0}")]
    PastUnreadable(Arc<FollowError>),
    /// The control plane refuses it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The graph refused an effect that was judged against it: a mistake of this program.
    #[error("the graph does not take the entry that was judged against it")]
    Apply(#[from] ApplyError),
}

/// Why entries of the log do not get into the graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The log does not give them.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An entry is not readable.
    #[error("the entry at revision {revision} cannot be read: {source}")]
    Undecodable {
        /// Its place.
        revision: Revision,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An entry does not fit the graph before it.
    #[error("the entry at revision {revision} does not fit what is before it: {source}")]
    DoesNotApply {
        /// Its place.
        revision: Revision,
        /// What does not fit.
        source: ApplyError,
    },
    /// Entries are missing between an image and the log, or between two entries.
    #[error("the log has no entry at revision {missing}, though it goes on to {head}")]
    Gap {
        /// The first that is missing.
        missing: Revision,
        /// Where the log ends.
        head: Revision,
    },
    /// An entry does not have the part that reading it goes on with.
    #[error("the entry at revision {revision} has no part {part}")]
    NoSuchPart {
        /// Its place.
        revision: Revision,
        /// The part, from 0.
        part: usize,
    },
    /// An image is of an entry that the log does not have yet, though only durable ones are imaged.
    #[error(
        "the log ends at revision {head}, but an image says that revision {imaged} was acknowledged: part of the log is missing or was replaced; restore it, or restore a backup"
    )]
    EndsTooSoon {
        /// Where the log ends.
        head: Revision,
        /// What there is an image of.
        imaged: Revision,
    },
    /// An image is of another entry than the log has at its revision.
    #[error(
        "the log's entry at revision {revision} is not the one that an image says was acknowledged: part of the log was replaced; restore it, or restore a backup"
    )]
    Replaced {
        /// What there is an image of.
        revision: Revision,
    },
}

impl ReplicaError {
    /// The same refusal for another request of the same batch.
    pub(crate) fn again(&self) -> ReplicaError {
        match self {
            ReplicaError::LogUnavailable(source) => ReplicaError::LogUnavailable(Arc::clone(source)),
            ReplicaError::OutcomeUnknown(source) => ReplicaError::OutcomeUnknown(Arc::clone(source)),
            ReplicaError::NotAppended(source) => ReplicaError::NotAppended(Arc::clone(source)),
            ReplicaError::LogUnreadable(source) => ReplicaError::LogUnreadable(Arc::clone(source)),
            ReplicaError::PastUnreadable(source) => ReplicaError::PastUnreadable(Arc::clone(source)),
            _ => ReplicaError::WriterGone,
        }
    }
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
