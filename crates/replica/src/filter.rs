//! What a filter means under a schema: which names it may use, which classes can match.

use idhini_model::{Filter, RelationFilter, SubjectFilter};
use idhini_schema::{ClassKey, Schema, SubjectKind};

use crate::ReplicaError;

/// Refuses names that the schema does not have: a filter that could never match is a mistake.
///
/// # Errors
/// [`ReplicaError::UnknownDefinition`], [`ReplicaError::UnknownMember`] or [`ReplicaError::NotARelation`].
pub fn check_filter(filter: &Filter, schema: Option<&Schema>) -> Result<(), ReplicaError> {
    if let Some(resource_type) = &filter.resource_type {
        let definition = definition(schema, resource_type)?;
        if let Some(relation) = &filter.relation {
            if definition.permission(relation).is_some() {
                return Err(ReplicaError::NotARelation {
                    definition: resource_type.clone(),
                    permission: relation.clone(),
                });
            }
            if definition.relation(relation).is_none() {
                return Err(unknown_member(resource_type, relation));
            }
        }
    }
    if let Some(subject) = &filter.subject {
        let definition = definition(schema, &subject.subject_type)?;
        if let RelationFilter::Named(relation) = &subject.relation
            && !definition.has_member(relation)
        {
            return Err(unknown_member(&subject.subject_type, relation));
        }
    }
    Ok(())
}

/// Whether relationships of this class can match.
pub(crate) fn admits_class(filter: &Filter, class: &ClassKey) -> bool {
    let resource = filter.resource_type.as_ref().is_none_or(|t| *t == class.resource_type);
    let relation = filter.relation.as_ref().is_none_or(|r| *r == class.relation);
    resource && relation && filter.subject.as_ref().is_none_or(|s| subject_admits_class(s, class))
}

fn subject_admits_class(subject: &SubjectFilter, class: &ClassKey) -> bool {
    subject.subject_type == class.subject_type
        && match (&subject.relation, &class.subject) {
            (RelationFilter::Any, _) => true,
            (RelationFilter::Absent, kind) => !matches!(kind, SubjectKind::Userset(_)),
            (RelationFilter::Named(wanted), SubjectKind::Userset(relation)) => wanted == relation,
            (RelationFilter::Named(_), _) => false,
        }
}

fn definition<'s>(
    schema: Option<&'s Schema>,
    name: &str,
) -> Result<&'s idhini_schema::Definition, ReplicaError> {
    schema
        .and_then(|s| s.definition(name))
        .ok_or_else(|| ReplicaError::UnknownDefinition { definition: name.to_owned() })
}

fn unknown_member(definition: &str, member: &str) -> ReplicaError {
    ReplicaError::UnknownMember { definition: definition.to_owned(), member: member.to_owned() }
}
