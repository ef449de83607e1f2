//! Does a request keep the limits of the contract, and what does it ask of the namespace?
//!
//! # Invariants
//! * Nothing leaves here that is longer, larger or more numerous than [`Limits`] allow.

use idhini_model::{Context, Relationship, SubjectRef, WILDCARD};
use idhini_replica::{
    Delete, Filter, IdFilter, Operation, PermissionQuestion, Precondition, RelationFilter, SubjectFilter,
    Update, Write,
};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use idhini_wire::{member_name, object_id, type_name};
use prost::Message as _;
use prost_types::Struct;
use tonic::{Code, Status};

use crate::options::{CONTEXT_BYTES_MAX, Limits, METADATA_BYTES_MAX};
use crate::refusal::Refusal;

/// Why a client's stream has no next message. That its connection went away is no failure of the server, which the transport
/// cannot tell from one that nobody knows.
pub(crate) fn broken_off(status: Status) -> Status {
    match status.code() {
        Code::Unknown | Code::Aborted => Status::cancelled("the stream of the client broke off"),
        _ => status,
    }
}

/// A message field that the contract requires.
pub(crate) fn required<T>(field: Option<T>, name: &str) -> Result<T, Refusal> {
    field.ok_or_else(|| Refusal::invalid(format!("`{name}` is missing")))
}

/// A permission or relation asked for. The empty name passes: no definition has it, which is what the caller hears.
pub(crate) fn permission(name: String) -> Result<String, Refusal> {
    if name.is_empty() { Ok(name) } else { Ok(member_name(name, "permission")?) }
}

/// One subject, not the wildcard.
pub(crate) fn one_subject(
    message: Option<v1::SubjectReference>,
    field: &'static str,
    what: &str,
) -> Result<SubjectRef, Refusal> {
    let subject: SubjectRef = required(message, "subject")?.try_into()?;
    if subject.is_wildcard() { Err(Refusal::wildcard(field, what)) } else { Ok(subject) }
}

/// The context of a question.
pub(crate) fn context(message: Option<Struct>) -> Result<Context, Refusal> {
    let bytes = message.as_ref().map_or(0, Struct::encoded_len);
    if bytes > CONTEXT_BYTES_MAX {
        return Err(Refusal::invalid(format!(
            "the request's caveat context has {bytes} bytes; at most {CONTEXT_BYTES_MAX} are taken"
        )));
    }
    Ok(idhini_wire::context(message, "context")?)
}

/// A `limit` field; 0 is no limit.
pub(crate) fn limit(given: u32, max: u32) -> Result<Option<u32>, Refusal> {
    if given > max {
        return Err(Refusal::invalid(format!(
            "provided limit {given} is greater than maximum allowed of {max}"
        ))
        .because(ErrorReason::ExceedsMaximumAllowableLimit)
        .with("limit_provided", given)
        .with("maximum_limit_allowed", max));
    }
    Ok(Some(given).filter(|limit| *limit > 0))
}

/// A filter with at least one field.
pub(crate) fn filter(message: v1::RelationshipFilter) -> Result<Filter, Refusal> {
    let invalid = |why: &str, text: String| {
        Refusal::invalid(format!("the relationship filter provided is not valid: {why}"))
            .because(ErrorReason::InvalidFilter)
            .with("filter", text)
    };
    let text = filter_text(&message);
    let named = |name: String| Some(name).filter(|name| !name.is_empty());
    let resource_id = match (named(message.optional_resource_id), named(message.optional_resource_id_prefix))
    {
        (Some(_), Some(_)) => {
            return Err(invalid("`resource_id` and `resource_id_prefix` exclude each other", text));
        }
        (Some(id), None) => Some(IdFilter::Exactly(object_id(id, "optional_resource_id")?)),
        (None, Some(prefix)) => Some(IdFilter::StartsWith(object_id(prefix, "optional_resource_id_prefix")?)),
        (None, None) => None,
    };
    let read = Filter {
        resource_type: named(message.resource_type).map(|t| type_name(t, "resource_type")).transpose()?,
        resource_id,
        relation: named(message.optional_relation)
            .map(|r| member_name(r, "optional_relation"))
            .transpose()?,
        subject: message.optional_subject_filter.map(subject_filter).transpose()?,
    };
    if read.is_empty() { Err(invalid("at least one field must be set", text)) } else { Ok(read) }
}

fn subject_filter(message: v1::SubjectFilter) -> Result<SubjectFilter, Refusal> {
    let subject_id = match message.optional_subject_id {
        id if id.is_empty() => None,
        id if id == WILDCARD => Some(id),
        id => Some(object_id(id, "optional_subject_id")?),
    };
    let relation = match message.optional_relation {
        None => RelationFilter::Any,
        Some(r) if r.relation.is_empty() => RelationFilter::Absent,
        Some(r) => {
            RelationFilter::Named(member_name(r.relation, "optional_subject_filter.optional_relation")?)
        }
    };
    Ok(SubjectFilter { subject_type: type_name(message.subject_type, "subject_type")?, subject_id, relation })
}

/// The fields that are set, for people.
pub(crate) fn filter_text(message: &v1::RelationshipFilter) -> String {
    let subject = message.optional_subject_filter.clone().unwrap_or_default();
    let relation = subject.optional_relation.unwrap_or_default().relation;
    let fields = [
        ("resource_type", &message.resource_type),
        ("optional_resource_id", &message.optional_resource_id),
        ("optional_resource_id_prefix", &message.optional_resource_id_prefix),
        ("optional_relation", &message.optional_relation),
        ("subject_type", &subject.subject_type),
        ("optional_subject_id", &subject.optional_subject_id),
        ("optional_subject_relation", &relation),
    ];
    let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
    set.map(|(name, value)| format!("{name}:{value:?}")).collect::<Vec<_>>().join(" ")
}

/// The fields of a failed precondition.
pub(crate) fn precondition_metadata(precondition: &Precondition) -> Vec<(&'static str, String)> {
    let question = match precondition {
        Precondition::MustMatch(filter) | Precondition::MustNotMatch(filter) => {
            return filter_metadata(filter);
        }
        Precondition::MustHave(question) | Precondition::MustNotHave(question) => question,
    };
    let PermissionQuestion { resource, permission, subject, .. } = question;
    let fields = [
        ("precondition_resource_type", Some(&resource.object_type)),
        ("precondition_resource_id", Some(&resource.object_id)),
        ("precondition_permission", Some(permission)),
        ("precondition_subject_type", Some(&subject.object_type)),
        ("precondition_subject_id", Some(&subject.object_id)),
        ("precondition_subject_relation", subject.relation.as_ref()),
    ];
    fields.into_iter().filter_map(|(key, value)| value.map(|v| (key, v.clone()))).collect()
}

/// The fields of a failed precondition's filter that are set, by the contract's keys.
fn filter_metadata(filter: &Filter) -> Vec<(&'static str, String)> {
    let keys = [
        "precondition_resource_type",
        "precondition_resource_id",
        "precondition_resource_id_prefix",
        "precondition_relation",
        "precondition_subject_type",
        "precondition_subject_id",
        "precondition_subject_relation",
    ];
    let fields = keys.into_iter().zip(filter_fields(filter));
    fields.filter_map(|(key, value)| value.map(|v| (key, v.clone()))).collect()
}

/// All fields of the filter of a counter that is not registered, by the contract's keys; empty if not set.
pub(crate) fn counter_metadata(filter: &Filter) -> impl Iterator<Item = (&'static str, String)> {
    let keys = [
        "new_filter_resource_type",
        "new_filter_resource_id",
        "new_filter_resource_id_prefix",
        "new_filter_relation",
        "new_filter_subject_type",
        "new_filter_subject_id",
        "new_filter_subject_relation",
    ];
    keys.into_iter().zip(filter_fields(filter)).map(|(key, value)| (key, value.cloned().unwrap_or_default()))
}

/// Resource type, id, prefix and relation, subject type, id and relation.
fn filter_fields(filter: &Filter) -> [Option<&String>; 7] {
    let (id, prefix) = match &filter.resource_id {
        Some(IdFilter::Exactly(id)) => (Some(id), None),
        Some(IdFilter::StartsWith(prefix)) => (None, Some(prefix)),
        None => (None, None),
    };
    let subject = filter.subject.as_ref();
    // Its key is there all the same: without a relation is not the same as with any.
    static WITHOUT: String = String::new();
    let relation = subject.and_then(|s| match &s.relation {
        RelationFilter::Named(relation) => Some(relation),
        RelationFilter::Absent => Some(&WITHOUT),
        RelationFilter::Any => None,
    });
    [
        filter.resource_type.as_ref(),
        id,
        prefix,
        filter.relation.as_ref(),
        subject.map(|s| &s.subject_type),
        subject.and_then(|s| s.subject_id.as_ref()),
        relation,
    ]
}

/// A write.
pub(crate) fn write(message: v1::WriteRelationshipsRequest, limits: &Limits) -> Result<Write, Refusal> {
    updates_within(message.updates.len(), "WriteRelationships", limits)?;
    let preconditions = preconditions(message.optional_preconditions, limits)?;
    let metadata = metadata(message.optional_transaction_metadata)?;
    let updates = message.updates.into_iter().map(|u| update(u, limits)).collect::<Result<_, _>>()?;
    Ok(Write { updates, preconditions, metadata })
}

/// Refuses too many updates, or what would be as many.
pub(crate) fn updates_within(count: usize, call: &str, limits: &Limits) -> Result<(), Refusal> {
    let max = limits.updates_max;
    if count <= max {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "too many updates ({count}) for one {call} call (maximum: {max}); use ImportBulkRelationships"
    ))
    .because(ErrorReason::TooManyUpdatesInRequest)
    .with("update_count", count)
    .with("maximum_updates_allowed", max))
}

/// A delete.
pub(crate) fn delete(message: v1::DeleteRelationshipsRequest, limits: &Limits) -> Result<Delete, Refusal> {
    let limit = limit(message.optional_limit, limits.page_rows_max)?.map(u64::from);
    let filter = filter(required(message.relationship_filter, "relationship_filter")?)?;
    let preconditions = preconditions(message.optional_preconditions, limits)?;
    let metadata = metadata(message.optional_transaction_metadata)?;
    let allow_partial = message.optional_allow_partial_deletions;
    Ok(Delete { filter, preconditions, limit, allow_partial, metadata })
}

fn update(message: v1::RelationshipUpdate, limits: &Limits) -> Result<Update, Refusal> {
    use v1::relationship_update::Operation as Asked;
    let operation = match Asked::try_from(message.operation) {
        Ok(Asked::Create) => Operation::Create,
        Ok(Asked::Touch) => Operation::Touch,
        Ok(Asked::Delete) => Operation::Delete,
        Ok(Asked::Unspecified) | Err(_) => {
            return Err(Refusal::invalid(format!(
                "`operation` of an update is {}; it must be CREATE (1), TOUCH (2) or DELETE (3)",
                message.operation
            )));
        }
    };
    Ok(Update {
        operation,
        relationship: relationship(required(message.relationship, "relationship")?, limits)?,
    })
}

/// A relationship to be stored.
pub(crate) fn relationship(message: v1::Relationship, limits: &Limits) -> Result<Relationship, Refusal> {
    let context = message.optional_caveat.as_ref().and_then(|caveat| caveat.context.as_ref());
    let bytes = context.map_or(0, Struct::encoded_len);
    let relationship: Relationship = message.try_into()?;
    let max = limits.relationship_context_bytes_max;
    if bytes > max {
        let mut named = relationship;
        named.caveat = None;
        return Err(Refusal::invalid(format!(
            "the caveat context of `{named}` has {bytes} bytes; at most {max} are stored"
        ))
        .because(ErrorReason::MaxRelationshipContextSize)
        .with("relationship", &named)
        .with("context_size", bytes)
        .with("max_allowed_size", max));
    }
    Ok(relationship)
}

pub(crate) fn preconditions(
    messages: Vec<v1::Precondition>,
    limits: &Limits,
) -> Result<Vec<Precondition>, Refusal> {
    preconditions_within(messages.len(), limits)?;
    messages.into_iter().map(precondition).collect()
}

/// Refuses too many preconditions.
pub(crate) fn preconditions_within(count: usize, limits: &Limits) -> Result<(), Refusal> {
    let max = limits.preconditions_max;
    if count <= max {
        return Ok(());
    }
    Err(Refusal::invalid(format!("precondition count of {count} is greater than maximum allowed of {max}"))
        .because(ErrorReason::TooManyPreconditionsInRequest)
        .with("precondition_count", count)
        .with("maximum_updates_allowed", max))
}

fn precondition(message: v1::Precondition) -> Result<Precondition, Refusal> {
    use v1::precondition::Operation as Asked;
    let empty = |what: &str| {
        Refusal::invalid(format!("a precondition has no {what}")).because(ErrorReason::EmptyPrecondition)
    };
    let asked = Asked::try_from(message.operation);
    let of = match asked {
        Ok(Asked::MustMatch) => Precondition::MustMatch,
        Ok(Asked::MustNotMatch) => Precondition::MustNotMatch,
        Ok(Asked::Unspecified) | Err(_) => {
            return Err(empty("operation: MUST_NOT_MATCH (1) or MUST_MATCH (2)"));
        }
    };
    Ok(of(filter(message.filter.ok_or_else(|| empty("filter"))?)?))
}

/// What a write gives along.
pub(crate) fn metadata(message: Option<Struct>) -> Result<Context, Refusal> {
    let Some(message) = message else { return Ok(Context::default()) };
    let metadata = idhini_wire::context(Some(message), "optional_transaction_metadata")?;
    let bytes = metadata.to_string().len();
    if bytes > METADATA_BYTES_MAX {
        return Err(Refusal::invalid(format!(
            "metadata size of {bytes} is greater than maximum allowed of {METADATA_BYTES_MAX}"
        ))
        .because(ErrorReason::TransactionMetadataTooLarge)
        .with("metadata_byte_size", bytes)
        .with("maximum_allowed_metadata_byte_size", METADATA_BYTES_MAX));
    }
    Ok(metadata)
}
