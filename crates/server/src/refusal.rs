//! Why is a call refused, and how is that said on the wire?
//!
//! # Invariants
//! * Every refusal has one code and, where the contract has one, one reason with its metadata.
//! * A refusal never says "lacks the permission"; that is an answer.

mod control;
mod limits;
mod reason;
mod room;

use std::collections::BTreeMap;
use std::time::Duration;

use idhini_caveat::EvaluationError;
use idhini_engine::{Answer, EngineError};
use idhini_model::Relationship;
use idhini_replica::{Precondition, ReplicaError, SchemaChange};
use idhini_wire::authzed::api::v1::ErrorReason;
use idhini_wire::{Malformed, google};
use prost::Message as _;
use tonic::{Code, Status};

pub(crate) use self::reason::{Own, Reason};
use crate::checks::permissionship;
use crate::requests::{counter_metadata, precondition_metadata};
use crate::seal::{SealError, Stranger};

/// The key under which a refused check tells how it got there.
const DEBUG_TRACE: &str = "debug_trace_proto_text";
const RETRY_INFO_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";
const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// A refused call, or a refused item of a bulk call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
    pub(crate) metadata: BTreeMap<&'static str, String>,
    /// When it may be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, reason: None, message: message.into(), metadata: BTreeMap::new(), retry_after: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(Code::InvalidArgument, message)
    }

    pub(crate) fn because(mut self, reason: impl Into<Reason>) -> Refusal {
        self.reason = Some(reason.into());
        self
    }

    pub(crate) fn is_because(&self, reason: impl Into<Reason>) -> bool {
        self.reason == Some(reason.into())
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike, named at the call")]
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Refusal {
        self.metadata.insert(key, value.to_string());
        self
    }

    /// With the trace of what led to it, if there is one.
    pub(crate) fn with_trace(self, trace: Option<String>) -> Refusal {
        match trace {
            Some(trace) => self.with(DEBUG_TRACE, trace),
            None => self,
        }
    }

    pub(crate) fn unauthenticated() -> Refusal {
        Refusal::new(
            Code::Unauthenticated,
            "no token: send the metadata `authorization: Bearer TOKEN` with a token of this server or one of its keys",
        )
    }

    pub(crate) fn certificate_ended() -> Refusal {
        Refusal::new(
            Code::Unauthenticated,
            "the certificate that this connection was opened with has ended: connect again with a newer one",
        )
    }

    pub(crate) fn certificate_missing() -> Refusal {
        Refusal::new(
            Code::Unauthenticated,
            "a certificate that names its client is required here, whatever else is sent: connect with one that has a SPIFFE id, a DNS name or a common name",
        )
    }

    pub(crate) fn wrong_token() -> Refusal {
        Refusal::new(
            Code::PermissionDenied,
            "the token is none of this server's, nor one of its keys, or it has ended",
        )
    }

    /// Never a code that clients retry by themselves.
    pub(crate) fn outcome_unknown() -> Refusal {
        Refusal::new(
            Code::Unknown,
            "whether this write took effect is not known, as the log went away while it was written or read back; read before repeating it",
        )
    }

    pub(crate) fn out_of_time() -> Refusal {
        Refusal::new(Code::DeadlineExceeded, "the deadline passed before there was an answer")
    }

    pub(crate) fn no_schema() -> Refusal {
        Refusal::new(Code::NotFound, "no schema has been defined; write one with WriteSchema to start")
    }

    pub(crate) fn unknown_definition(definition: &str) -> Refusal {
        Refusal::new(
            Code::FailedPrecondition,
            format!("object definition `{definition}` not found in the schema"),
        )
        .because(ErrorReason::UnknownDefinition)
        .with("definition_name", definition)
    }

    pub(crate) fn unknown_member(definition: &str, member: &str) -> Refusal {
        Refusal::new(
            Code::FailedPrecondition,
            format!("relation/permission `{member}` not found under definition `{definition}`"),
        )
        .because(ErrorReason::UnknownRelationOrPermission)
        .with("definition_name", definition)
        .with("relation_or_permission_name", member)
    }

    pub(crate) fn wildcard(field: &'static str, what: &str) -> Refusal {
        Refusal::invalid(format!(
            "cannot {what} of the wildcard subject `*`; name one subject, or ask LookupSubjects"
        ))
        .because(ErrorReason::WildcardNotAllowed)
        .with("field", field)
    }

    pub(crate) fn cursor(error: SealError) -> Refusal {
        Refusal::invalid(format!("the cursor is not valid: {error}")).because(ErrorReason::InvalidCursor)
    }

    /// For a token that must name its revision exactly.
    pub(crate) fn exact_token(error: SealError) -> Refusal {
        match error {
            SealError::Stranger(Stranger::UnknownKey | Stranger::OtherStore)
            | SealError::Stranger(Stranger::EndedTimeline | Stranger::Migrated) => {
                Refusal::new(Code::OutOfRange, format!("the token's revision cannot be read here: {error}"))
            }
            error => Refusal::token(error),
        }
    }

    pub(crate) fn token(error: SealError) -> Refusal {
        Refusal::invalid(format!("invalid revision requested: the token is not valid: {error}"))
    }

    /// As an item of a bulk answer carries it. Where the contract has no reason, what there is to say of it is said
    /// without.
    pub(crate) fn into_message(self) -> google::rpc::Status {
        let bounded = room::fitted(self);
        let is_told = bounded.reason.is_some() || !bounded.metadata.is_empty();
        let details = is_told.then(|| {
            let reason = bounded.reason.unwrap_or(Reason::Contract(ErrorReason::Unspecified));
            let info = google::rpc::ErrorInfo {
                reason: reason.as_str().to_owned(),
                domain: reason.domain().to_owned(),
                metadata: bounded.metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
            };
            prost_types::Any { type_url: ERROR_INFO_URL.to_owned(), value: info.encode_to_vec() }
        });
        let retry = bounded.retry_after.map(|after| {
            let retry_delay = prost_types::Duration::try_from(after).ok();
            let info = google::rpc::RetryInfo { retry_delay };
            prost_types::Any { type_url: RETRY_INFO_URL.to_owned(), value: info.encode_to_vec() }
        });
        google::rpc::Status {
            code: bounded.code as i32,
            message: bounded.message,
            details: details.into_iter().chain(retry).collect(),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let code = refusal.code;
        let message = refusal.into_message();
        if message.details.is_empty() {
            return Status::new(code, message.message);
        }
        let details = message.encode_to_vec();
        Status::with_details(code, message.message, details.into())
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Refusal {
        Refusal::invalid(error.to_string())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Refusal {
        match &error {
            EngineError::UnknownDefinition { definition } => Refusal::unknown_definition(definition),
            EngineError::UnknownMember { definition, member } => Refusal::unknown_member(definition, member),
            EngineError::WildcardSubject => Refusal::wildcard("subject.object_id", "ask"),
            EngineError::Caveat(caveat) => of_caveat(caveat, &error),
            EngineError::Cycle { cycle } => {
                Refusal::new(Code::FailedPrecondition, error.to_string()).with("cycle", cycle.join(" "))
            }
            EngineError::Budget { cost_max } => Refusal::new(Code::ResourceExhausted, error.to_string())
                .because(ErrorReason::MaximumDepthExceeded)
                .with("budget_edges", cost_max),
            EngineError::BulkBudget { cost_max } => Refusal::new(Code::ResourceExhausted, error.to_string())
                .because(ErrorReason::MaximumDepthExceeded)
                .with("budget", "bulk")
                .with("budget_edges", cost_max),
            _ => Refusal::new(Code::Internal, error.to_string()),
        }
    }
}

fn of_caveat(caveat: &EvaluationError, error: &EngineError) -> Refusal {
    match caveat {
        EvaluationError::IllTyped { caveat, parameter, .. } => Refusal::invalid(error.to_string())
            .because(ErrorReason::CaveatParameterTypeError)
            .with("caveat_name", caveat)
            .with("parameter_name", parameter),
        EvaluationError::Failed { caveat, .. } => Refusal::invalid(error.to_string())
            .because(ErrorReason::CaveatEvaluationError)
            .with("caveat_name", caveat),
        EvaluationError::Budget { caveat } => Refusal::new(Code::ResourceExhausted, error.to_string())
            .because(ErrorReason::MaximumDepthExceeded)
            .with("caveat_name", caveat),
        _ => Refusal::invalid(error.to_string()).because(ErrorReason::CaveatEvaluationError),
    }
}

impl From<ReplicaError> for Refusal {
    fn from(error: ReplicaError) -> Refusal {
        crate::telemetry::failed_because(|| error.for_log());
        let text = error.to_string();
        match error {
            ReplicaError::Control(error) => error.into(),
            ReplicaError::OverQuota(over) => limits::over_stored(text, &over),
            ReplicaError::NoSchema => Refusal::no_schema(),
            ReplicaError::UnknownDefinition { definition } => Refusal::unknown_definition(&definition),
            ReplicaError::UnknownMember { definition, member } => {
                Refusal::unknown_member(&definition, &member)
            }
            ReplicaError::NotARelation { definition, permission } => {
                Refusal::new(Code::FailedPrecondition, text)
                    .because(ErrorReason::SchemaTypeError)
                    .with("definition_name", definition)
                    .with("relation_or_permission_name", permission)
            }
            ReplicaError::Inadmissible(inadmissible) => crate::inadmissible::refusal(&inadmissible),
            ReplicaError::DuplicateUpdate { relationship } => Refusal::invalid(text)
                .because(ErrorReason::UpdatesOnSameRelationship)
                .with("definition_name", &relationship.resource.object_type)
                .with("relationship", &relationship),
            ReplicaError::AlreadyExists { relationship } => already_exists(text, &relationship),
            ReplicaError::PreconditionFailed { precondition } => precondition_failed(&precondition, None),
            ReplicaError::PermissionPreconditionFailed { precondition, answer } => {
                precondition_failed(&precondition, Some(&answer))
            }
            ReplicaError::Unanswerable(error) => error.into(),
            ReplicaError::PreconditionsTooCostly { cost_max } => Refusal::new(Code::ResourceExhausted, text)
                .because(ErrorReason::MaximumDepthExceeded)
                .with("budget", "permission_preconditions")
                .with("budget_edges", cost_max),
            ReplicaError::TooManyToSet { changes_max } => Refusal::invalid(text)
                .because(ErrorReason::TooManyUpdatesInRequest)
                .with("maximum_updates_allowed", changes_max),
            ReplicaError::TooManyToDelete { limit, resource_type } => Refusal::invalid(text)
                .because(ErrorReason::TooManyRelationshipsForTransactionalDelete)
                .with("limit", limit)
                .with("filter_resource_type", resource_type.unwrap_or_default()),
            ReplicaError::CounterRegistered { name, filter } => {
                let mut refusal = Refusal::new(Code::FailedPrecondition, text)
                    .because(ErrorReason::CounterAlreadyRegistered)
                    .with("counter_name", name);
                refusal.metadata.extend(counter_metadata(&filter));
                refusal
            }
            ReplicaError::CounterNotRegistered { name } => Refusal::new(Code::FailedPrecondition, text)
                .because(ErrorReason::CounterNotRegistered)
                .with("counter_name", name),
            ReplicaError::TooManyCounters { .. } => Refusal::new(Code::ResourceExhausted, text),
            ReplicaError::Schema(error) => of_schema(&error),
            ReplicaError::Orphans { change, example, count } => orphans(text, change, &example, count),
            ReplicaError::Expired { .. } | ReplicaError::BeforeHistory { .. } => {
                Refusal::new(Code::OutOfRange, format!("invalid revision: {text}"))
            }
            ReplicaError::TooFar { .. } | ReplicaError::Busy { .. } | ReplicaError::BusyBytes { .. } => {
                Refusal::new(Code::ResourceExhausted, text)
            }
            // Sent again as it is, it would never do.
            ReplicaError::TooLarge { bytes_max, .. } => Refusal::invalid(text).with("limit_bytes", bytes_max),
            // What the disk said stays in the server.
            ReplicaError::LogUnavailable(_) => Refusal::new(
                Code::Unavailable,
                "nothing was written: the log cannot be written at present; try again later",
            )
            .because(ErrorReason::ServiceReadOnly),
            ReplicaError::OutcomeUnknown(_) | ReplicaError::WriterGone => Refusal::outcome_unknown(),
            ReplicaError::LogUnreadable(_) => {
                Refusal::new(Code::Unavailable, "nothing was written: the log cannot be followed at present")
            }
            ReplicaError::PastUnreadable(_) => Refusal::new(
                Code::Unavailable,
                "this revision cannot be rebuilt at present: the log cannot be read",
            ),
            ReplicaError::NotYet { .. } => Refusal::new(Code::Unavailable, text),
            ReplicaError::PreconditionsTooWide { .. } => Refusal::new(Code::ResourceExhausted, text),
            ReplicaError::NotWanted => {
                Refusal::new(Code::DeadlineExceeded, "the deadline passed first; nothing was changed")
            }
            _ => Refusal::new(Code::Internal, text),
        }
    }
}

pub(crate) fn cannot_update(text: String, definition: &str, permission: &str) -> Refusal {
    Refusal::invalid(text)
        .because(ErrorReason::CannotUpdatePermission)
        .with("definition_name", definition)
        .with("permission_name", permission)
}

/// Names the relationship by what identifies it: the caveat's context is nobody's business here.
fn already_exists(text: String, relationship: &Relationship) -> Refusal {
    let plain = Relationship { caveat: None, expires_at: None, ..relationship.clone() };
    Refusal::new(Code::AlreadyExists, text)
        .because(ErrorReason::AttemptToRecreateRelationship)
        .with("relationship", &plain)
        .with("resource_type", &relationship.resource.object_type)
        .with("resource_object_id", &relationship.resource.object_id)
        .with("resource_relation", &relationship.relation)
        .with("subject_type", &relationship.subject.object_type)
        .with("subject_object_id", &relationship.subject.object_id)
        .with("subject_relation", relationship.subject.relation.as_deref().unwrap_or_default())
}

fn precondition_failed(precondition: &Precondition, answer: Option<&Answer>) -> Refusal {
    let operation = match precondition {
        Precondition::MustMatch(_) => "OPERATION_MUST_MATCH",
        Precondition::MustNotMatch(_) => "OPERATION_MUST_NOT_MATCH",
        Precondition::MustHave(_) => "OPERATION_MUST_HAVE",
        Precondition::MustNotHave(_) => "OPERATION_MUST_NOT_HAVE",
    };
    let mut metadata = precondition_metadata(precondition);
    if let Some(answer) = answer {
        metadata
            .push(("precondition_answer", permissionship(answer.permissionship).as_str_name().to_owned()));
        let missing: Vec<&str> = answer.missing.iter().map(String::as_str).collect();
        if !missing.is_empty() {
            metadata.push(("precondition_missing_context", missing.join(",")));
        }
    }
    let text: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let mut refusal = Refusal::new(
        Code::FailedPrecondition,
        format!("unable to satisfy write precondition `{operation}` of {{{}}}", text.join(", ")),
    )
    .because(ErrorReason::WriteOrDeletePreconditionFailure)
    .with("precondition_operation", operation);
    refusal.metadata.extend(metadata);
    refusal
}

/// Lines and columns count from 0 in the metadata.
pub(crate) fn of_schema(error: &idhini_schema::SchemaError) -> Refusal {
    let (line, column) = (error.line.saturating_sub(1), error.column.saturating_sub(1));
    let (code, reason) = match error.is_type_error {
        true => (Code::FailedPrecondition, ErrorReason::SchemaTypeError),
        false => (Code::InvalidArgument, ErrorReason::SchemaParseError),
    };
    let text = format!("error in `schema`, line {}, column {}: {}", error.line, error.column, error.message);
    let mut refusal = Refusal::new(code, text)
        .because(reason)
        .with("start_line_number", line)
        .with("start_column_position", column)
        .with("end_line_number", line)
        .with("end_column_position", column)
        .with("source_code", "");
    refusal.metadata.extend(error.names.iter().cloned());
    refusal
}

fn orphans(text: String, change: SchemaChange, example: &Relationship, count: u64) -> Refusal {
    let refusal = Refusal::invalid(text)
        .because(ErrorReason::SchemaTypeError)
        .with("relationship", example)
        .with("relationship_count", count);
    match change {
        SchemaChange::Definition { definition } => {
            refusal.with("operation", "delete_object_definition").with("resource_type", definition)
        }
        SchemaChange::Relation { definition, relation } => refusal
            .with("operation", "delete_relation")
            .with("resource_type", definition)
            .with("relation", relation),
        SchemaChange::AllowedSubject { definition, relation, allowed } => refusal
            .with("operation", "remove_allowed_type")
            .with("resource_type", definition)
            .with("relation", relation)
            .with("allowed_type", allowed),
        SchemaChange::ParameterRemoved { caveat, parameter } => refusal
            .with("operation", "remove_parameter")
            .with("caveat_name", caveat)
            .with("parameter_name", parameter),
        SchemaChange::ParameterRetyped { caveat, parameter } => refusal
            .with("operation", "change_parameter_type")
            .with("caveat_name", caveat)
            .with("parameter_name", parameter),
    }
}

#[cfg(test)]
mod tests;
