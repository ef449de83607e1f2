//! How is it said on the wire that the schema has no place for a relationship?

use idhini_caveat::StoredContextError;
use idhini_schema::{Mismatch, RelationshipError};
use idhini_wire::authzed::api::v1::ErrorReason;
use tonic::Code;

use crate::refusal::{Refusal, cannot_update};

/// The refusal of a relationship that has no place.
pub(crate) fn refusal(error: &RelationshipError) -> Refusal {
    let text = error.to_string();
    match error {
        RelationshipError::UnknownDefinition { definition } => Refusal::unknown_definition(definition),
        RelationshipError::UnknownRelation { definition, relation } => {
            Refusal::unknown_member(definition, relation)
        }
        RelationshipError::CannotWritePermission { definition, permission } => {
            cannot_update(text, definition, permission)
        }
        RelationshipError::CaveatRequired { mismatch } => {
            subject_type(text, mismatch).with("allowed_caveats", mismatch.allowed_caveats().join(","))
        }
        RelationshipError::SubjectTypeNotAllowed { mismatch }
        | RelationshipError::WildcardNotAllowed { mismatch }
        | RelationshipError::CaveatNotAllowed { mismatch }
        | RelationshipError::ExpirationRequired { mismatch }
        | RelationshipError::ExpirationNotAllowed { mismatch } => subject_type(text, mismatch),
        RelationshipError::UnknownCaveat { caveat } => Refusal::new(Code::FailedPrecondition, text)
            .because(ErrorReason::UnknownCaveat)
            .with("caveat_name", caveat),
        RelationshipError::StoredContext(
            StoredContextError::UnknownParameter { caveat, parameter }
            | StoredContextError::IllTyped { caveat, parameter, .. },
        ) => Refusal::invalid(text)
            .because(ErrorReason::CaveatParameterTypeError)
            .with("caveat_name", caveat)
            .with("parameter_name", parameter),
        _ => Refusal::invalid(text),
    }
}

fn subject_type(text: String, mismatch: &Mismatch) -> Refusal {
    Refusal::invalid(text)
        .because(ErrorReason::InvalidSubjectType)
        .with("definition_name", &mismatch.resource_type)
        .with("relation_name", &mismatch.relation)
        .with("subject_type", &mismatch.subject)
}
