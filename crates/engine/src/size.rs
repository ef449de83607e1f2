//! About how many bytes does what is told of a relationship take in memory? For what is bounded by them.
//!
//! Cost: O(values). Recursion is bounded, as a context is at most `VALUE_DEPTH_MAX` deep.

use std::collections::BTreeMap;

use idhini_model::{CaveatUse, ContextValue, Relationship, ResourceRef, SubjectRef};

/// What a map's entry takes beside its key's text and its value.
const ENTRY_BYTES: usize = size_of::<String>() + size_of::<usize>();

/// Of a relationship's names and of what is stored with it, beside the relationship itself.
pub(crate) fn of_relationship(relationship: &Relationship) -> usize {
    let Relationship { resource, relation, subject, caveat, expires_at: _ } = relationship;
    let names = of_resource(resource) + relation.len() + of_subject(subject);
    names + caveat.as_ref().map_or(0, of_caveat_use)
}

/// Of an object's names.
pub(crate) fn of_resource(resource: &ResourceRef) -> usize {
    resource.object_type.len() + resource.object_id.len()
}

/// Of a subject's names.
pub(crate) fn of_subject(subject: &SubjectRef) -> usize {
    let relation = subject.relation.as_ref().map_or(0, String::len);
    subject.object_type.len() + subject.object_id.len() + relation
}

/// Of a caveat's name and stored values.
pub(crate) fn of_caveat_use(caveat: &CaveatUse) -> usize {
    caveat.name.len() + of_values(&caveat.context.0)
}

/// Of named values.
pub(crate) fn of_values(values: &BTreeMap<String, ContextValue>) -> usize {
    values.iter().map(|(name, value)| ENTRY_BYTES + name.len() + of_value(value)).sum()
}

fn of_value(value: &ContextValue) -> usize {
    size_of::<ContextValue>()
        + match value {
            ContextValue::Null | ContextValue::Bool(_) | ContextValue::Number(_) => 0,
            ContextValue::String(text) => text.len(),
            ContextValue::List(items) => items.iter().map(of_value).sum(),
            ContextValue::Map(values) => of_values(values),
        }
}
