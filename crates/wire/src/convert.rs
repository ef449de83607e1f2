//! Messages to model types and back.
//!
//! # Invariants
//! * Whatever converts is well formed: names and ids have passed the model's validation.
//! * A message that carries what the model cannot say is refused, never trimmed.
//!
//! Cost: linear in the message; strings are moved, not copied.

use idhini_model::{
    CaveatUse, Context, ContextError, ContextValue, NameError, Relationship, ResourceRef, SubjectRef,
    Timestamp, TimestampError, VALUE_DEPTH_MAX, WILDCARD, validate_caveat_name, validate_name,
    validate_object_id, validate_type,
};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::authzed::api::v1;

/// The relation that older clients send for "no relation".
pub const ELLIPSIS: &str = "...";

/// Why a message is not what its field promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A message field that must be there is not.
    #[error("`{field}` is missing")]
    Missing {
        /// The field's name in the contract.
        field: &'static str,
    },
    /// A type, relation, permission or caveat name, or an object id.
    #[error("`{field}`: {source}")]
    Name {
        /// The field's name in the contract.
        field: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
    /// A caveat context.
    #[error("`{field}`: {source}")]
    Context {
        /// The field's name in the contract.
        field: &'static str,
        /// What is wrong with it.
        source: ContextError,
    },
    /// An expiration.
    #[error("`{field}`: {source}")]
    Timestamp {
        /// The field's name in the contract.
        field: &'static str,
        /// What is wrong with it.
        source: TimestampError,
    },
}

impl Malformed {
    fn name(field: &'static str) -> impl Fn(NameError) -> Malformed {
        move |source| Malformed::Name { field, source }
    }
}

impl TryFrom<v1::ObjectReference> for ResourceRef {
    type Error = Malformed;

    /// A concrete object; `*` is refused.
    fn try_from(message: v1::ObjectReference) -> Result<ResourceRef, Malformed> {
        validate_type(&message.object_type).map_err(Malformed::name("object_type"))?;
        validate_object_id(&message.object_id).map_err(Malformed::name("object_id"))?;
        Ok(ResourceRef { object_type: message.object_type, object_id: message.object_id })
    }
}

impl TryFrom<v1::SubjectReference> for SubjectRef {
    type Error = Malformed;

    /// An object, a userset or a wildcard; a wildcard has no relation.
    fn try_from(message: v1::SubjectReference) -> Result<SubjectRef, Malformed> {
        let object = message.object.ok_or(Malformed::Missing { field: "subject.object" })?;
        let relation = match message.optional_relation {
            relation if relation.is_empty() || relation == ELLIPSIS => None,
            relation => Some(relation),
        };
        validate_type(&object.object_type).map_err(Malformed::name("subject.object.object_type"))?;
        if object.object_id != WILDCARD || relation.is_some() {
            validate_object_id(&object.object_id).map_err(Malformed::name("subject.object.object_id"))?;
        }
        if let Some(relation) = &relation {
            validate_name(relation).map_err(Malformed::name("subject.optional_relation"))?;
        }
        Ok(SubjectRef { object_type: object.object_type, object_id: object.object_id, relation })
    }
}

impl TryFrom<v1::Relationship> for Relationship {
    type Error = Malformed;

    fn try_from(message: v1::Relationship) -> Result<Relationship, Malformed> {
        let resource = message.resource.ok_or(Malformed::Missing { field: "relationship.resource" })?;
        let subject = message.subject.ok_or(Malformed::Missing { field: "relationship.subject" })?;
        validate_name(&message.relation).map_err(Malformed::name("relationship.relation"))?;
        Ok(Relationship {
            resource: resource.try_into()?,
            relation: message.relation,
            subject: subject.try_into()?,
            caveat: caveat_use(message.optional_caveat)?,
            expires_at: expires_at(message.optional_expires_at)?,
        })
    }
}

/// "No caveat" is no message. One without a name is a client's mistake, and must not become an unconditional grant.
fn caveat_use(message: Option<v1::ContextualizedCaveat>) -> Result<Option<CaveatUse>, Malformed> {
    let Some(message) = message else { return Ok(None) };
    validate_caveat_name(&message.caveat_name).map_err(Malformed::name("optional_caveat.caveat_name"))?;
    let context = context(message.context, "optional_caveat.context")?;
    Ok(Some(CaveatUse { name: message.caveat_name, context }))
}

/// Reads a moment. `field` is named in the error.
///
/// # Errors
/// [`Malformed::Timestamp`] when it is outside the calendar.
pub fn timestamp(message: prost_types::Timestamp, field: &'static str) -> Result<Timestamp, Malformed> {
    Timestamp::new(message.seconds, i64::from(message.nanos))
        .map_err(|source| Malformed::Timestamp { field, source })
}

fn expires_at(message: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Malformed> {
    message.map(|at| timestamp(at, "optional_expires_at")).transpose()
}

/// Reads a context; an absent one is empty. `field` is named in the error.
///
/// # Errors
/// [`Malformed::Context`] when it is too deep or holds a number that is not finite.
pub fn context(message: Option<Struct>, field: &'static str) -> Result<Context, Malformed> {
    let fields = message.unwrap_or_default().fields;
    let read =
        fields.into_iter().map(|(name, value)| Ok((name, value_in(value, 1)?))).collect::<Result<_, _>>();
    read.map(Context).map_err(|source| Malformed::Context { field, source })
}

/// Recursion is bounded by `VALUE_DEPTH_MAX`.
fn value_in(value: Value, depth: usize) -> Result<ContextValue, ContextError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(ContextError::TooDeep);
    }
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => ContextValue::Null,
        Some(Kind::BoolValue(flag)) => ContextValue::Bool(flag),
        Some(Kind::NumberValue(number)) if number.is_finite() => ContextValue::Number(number),
        Some(Kind::NumberValue(_)) => return Err(ContextError::NotFinite),
        Some(Kind::StringValue(text)) => ContextValue::String(text),
        Some(Kind::ListValue(list)) => ContextValue::List(
            list.values.into_iter().map(|item| value_in(item, depth + 1)).collect::<Result<_, _>>()?,
        ),
        Some(Kind::StructValue(map)) => ContextValue::Map(
            map.fields
                .into_iter()
                .map(|(name, item)| Ok((name, value_in(item, depth + 1)?)))
                .collect::<Result<_, ContextError>>()?,
        ),
    })
}

/// Writes a context.
#[must_use]
pub fn context_message(context: Context) -> Struct {
    Struct { fields: context.0.into_iter().map(|(name, value)| (name, value_out(value))).collect() }
}

/// Recursion is bounded: a context is at most `VALUE_DEPTH_MAX` deep.
fn value_out(value: ContextValue) -> Value {
    let kind = match value {
        ContextValue::Null => Kind::NullValue(0),
        ContextValue::Bool(flag) => Kind::BoolValue(flag),
        ContextValue::Number(number) => Kind::NumberValue(number),
        ContextValue::String(text) => Kind::StringValue(text),
        ContextValue::List(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(value_out).collect() })
        }
        ContextValue::Map(map) => Kind::StructValue(context_message(Context(map))),
    };
    Value { kind: Some(kind) }
}

/// Writes a moment.
#[must_use]
pub fn timestamp_message(at: Timestamp) -> prost_types::Timestamp {
    // Nanoseconds are below 10⁹, so they fit.
    prost_types::Timestamp { seconds: at.seconds(), nanos: i32::try_from(at.nanos()).unwrap_or(i32::MAX) }
}

impl From<ResourceRef> for v1::ObjectReference {
    fn from(resource: ResourceRef) -> v1::ObjectReference {
        v1::ObjectReference { object_type: resource.object_type, object_id: resource.object_id }
    }
}

impl From<SubjectRef> for v1::SubjectReference {
    fn from(subject: SubjectRef) -> v1::SubjectReference {
        v1::SubjectReference {
            object: Some(v1::ObjectReference {
                object_type: subject.object_type,
                object_id: subject.object_id,
            }),
            optional_relation: subject.relation.unwrap_or_default(),
        }
    }
}

impl From<CaveatUse> for v1::ContextualizedCaveat {
    fn from(caveat: CaveatUse) -> v1::ContextualizedCaveat {
        let context = (!caveat.context.is_empty()).then(|| context_message(caveat.context));
        v1::ContextualizedCaveat { caveat_name: caveat.name, context }
    }
}

impl From<Relationship> for v1::Relationship {
    fn from(relationship: Relationship) -> v1::Relationship {
        v1::Relationship {
            resource: Some(relationship.resource.into()),
            relation: relationship.relation,
            subject: Some(relationship.subject.into()),
            optional_caveat: relationship.caveat.map(Into::into),
            optional_expires_at: relationship.expires_at.map(timestamp_message),
        }
    }
}

/// A relation's or permission's name in a request.
///
/// # Errors
/// [`Malformed::Name`] naming `field`.
pub fn member_name(name: String, field: &'static str) -> Result<String, Malformed> {
    validate_name(&name).map_err(Malformed::name(field))?;
    Ok(name)
}

/// A definition's name in a request.
///
/// # Errors
/// [`Malformed::Name`] naming `field`.
pub fn type_name(name: String, field: &'static str) -> Result<String, Malformed> {
    validate_type(&name).map_err(Malformed::name(field))?;
    Ok(name)
}

/// An object's id in a request, or the beginning of one.
///
/// # Errors
/// [`Malformed::Name`] naming `field`.
pub fn object_id(id: String, field: &'static str) -> Result<String, Malformed> {
    validate_object_id(&id).map_err(Malformed::name(field))?;
    Ok(id)
}
