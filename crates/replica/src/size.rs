//! About how many bytes does a request hold while it waits?
//!
//! Cost: O(relationships), but of an import O(1); a request of one adds up a dozen lengths.

use idhini_model::{CaveatUse, Context, ContextValue, Relationship, SubjectRef};

use crate::writer::Request;
use crate::{Delete, Filter, Member, Precondition, SetRelation, Write};

/// What a value takes beside its text.
const VALUE_BYTES: usize = 32;

pub(crate) fn of_request(request: &Request) -> u64 {
    let bytes = match request {
        Request::Write(Write { updates, preconditions, metadata }) => {
            let updates = updates.iter().map(|update| of_relationship(&update.relationship));
            updates.sum::<usize>() + of_preconditions(preconditions) + of_context(metadata)
        }
        Request::SetRelation(SetRelation {
            resource, relation, members, preconditions, metadata, ..
        }) => {
            let names = resource.object_type.len() + resource.object_id.len() + relation.len();
            let members = members.iter().map(of_member);
            names + members.sum::<usize>() + of_preconditions(preconditions) + of_context(metadata)
        }
        Request::Import(import) => import.bytes,
        Request::Delete(Delete { preconditions, metadata, .. }) => {
            size_of::<Filter>() + of_preconditions(preconditions) + of_context(metadata)
        }
        Request::Schema(text) => text.len(),
        // Its texts are short.
        Request::Counter(counter) => size_of_val(counter),
        // So are those of what it asks for.
        Request::Control(control) => size_of_val(&**control),
        Request::Sweep(_) => 0,
    };
    bytes as u64
}

pub(crate) fn of_relationship(relationship: &Relationship) -> usize {
    let Relationship { resource, relation, subject, caveat, .. } = relationship;
    let resource = resource.object_type.len() + resource.object_id.len();
    size_of::<Relationship>() + resource + relation.len() + of_subject(subject) + of_caveat(caveat.as_ref())
}

fn of_member(member: &Member) -> usize {
    size_of::<Member>() + of_subject(&member.subject) + of_caveat(member.caveat.as_ref())
}

fn of_subject(subject: &SubjectRef) -> usize {
    let relation = subject.relation.as_ref().map_or(0, String::len);
    subject.object_type.len() + subject.object_id.len() + relation
}

fn of_caveat(caveat: Option<&CaveatUse>) -> usize {
    caveat.map_or(0, |caveat| caveat.name.len() + of_context(&caveat.context))
}

/// Their names are short; contexts need not be.
fn of_preconditions(preconditions: &[Precondition]) -> usize {
    let contexts = preconditions.iter().map(|precondition| match precondition {
        Precondition::MustMatch(_) | Precondition::MustNotMatch(_) => 0,
        Precondition::MustHave(question) | Precondition::MustNotHave(question) => {
            of_context(&question.context)
        }
    });
    size_of_val(preconditions) + contexts.sum::<usize>()
}

fn of_context(context: &Context) -> usize {
    context.0.iter().map(|(name, value)| name.len() + of_value(value)).sum()
}

/// No deeper than a context may be.
fn of_value(value: &ContextValue) -> usize {
    VALUE_BYTES
        + match value {
            ContextValue::Null | ContextValue::Bool(_) | ContextValue::Number(_) => 0,
            ContextValue::String(text) => text.len(),
            ContextValue::List(values) => values.iter().map(of_value).sum(),
            ContextValue::Map(values) => {
                values.iter().map(|(name, value)| name.len() + of_value(value)).sum()
            }
        }
}
