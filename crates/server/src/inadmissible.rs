//! How is it said on the wire that the schema has no place for a relationship?

use idhini_replica::RelationshipError;
use idhini_wire::authzed::api::v1::ErrorReason;

use crate::refusal::{Refusal, cannot_update};

/// The refusal of a relationship that has no place.
pub(crate) fn refusal(error: &RelationshipError) -> Refusal {
    let text = error.to_string();
    match error {
        RelationshipError::UnknownDefinition { definition } => Refusal::unknown_definition(definition),
        RelationshipError::UnknownMember { definition, member } => {
            Refusal::unknown_member(definition, member)
        }
        RelationshipError::Permission { definition, permission } => {
            cannot_update(text, definition, permission)
        }
        RelationshipError::SubjectNotAllowed { definition, relation, subject } => Refusal::invalid(text)
            .because(ErrorReason::InvalidSubjectType)
            .with("definition_name", definition)
            .with("relation_name", relation)
            .with("subject_type", subject),
        _ => Refusal::invalid(text).because(ErrorReason::CaveatParameterTypeError),
    }
}
