//! Which relationships are meant? Filters of reads, deletes and preconditions.

use idhini_model::{Relationship, SubjectRef};
use idhini_schema::{ClassKey, Schema, SubjectKind};

use crate::ReplicaError;

/// Relationships that agree with every field that is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// The resource's definition.
    pub resource_type: Option<String>,
    /// The resource's id.
    pub resource_id: Option<IdFilter>,
    /// The relation's name.
    pub relation: Option<String>,
    /// The subject.
    pub subject: Option<SubjectFilter>,
}

/// One id, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdFilter {
    /// This id.
    Exactly(String),
    /// Ids that begin so.
    StartsWith(String),
}

/// Subjects that agree with every field that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectFilter {
    /// The subject's definition.
    pub subject_type: String,
    /// The subject's id; `*` means the wildcard.
    pub subject_id: Option<String>,
    /// The subject's relation.
    pub relation: RelationFilter,
}

/// What a filter asks of the subject's relation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RelationFilter {
    /// Any relation, or none.
    #[default]
    Any,
    /// No relation.
    Absent,
    /// This one.
    Named(String),
}

impl Filter {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Refuses names that the schema does not have: a filter that could never match is a mistake.
    ///
    /// # Errors
    /// [`ReplicaError::UnknownDefinition`], [`ReplicaError::UnknownMember`] or [`ReplicaError::NotARelation`].
    pub fn check(&self, schema: Option<&Schema>) -> Result<(), ReplicaError> {
        if let Some(resource_type) = &self.resource_type {
            let definition = definition(schema, resource_type)?;
            if let Some(relation) = &self.relation {
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
        if let Some(subject) = &self.subject {
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
    pub(crate) fn admits_class(&self, class: &ClassKey) -> bool {
        let resource = self.resource_type.as_ref().is_none_or(|t| *t == class.resource_type);
        let relation = self.relation.as_ref().is_none_or(|r| *r == class.relation);
        resource && relation && self.subject.as_ref().is_none_or(|s| s.admits_class(class))
    }

    /// Whether this relationship matches.
    #[must_use]
    pub fn admits(&self, relationship: &Relationship) -> bool {
        let resource = &relationship.resource;
        self.resource_type.as_ref().is_none_or(|t| *t == resource.object_type)
            && self.resource_id.as_ref().is_none_or(|i| i.admits(&resource.object_id))
            && self.relation.as_ref().is_none_or(|r| *r == relationship.relation)
            && self.subject.as_ref().is_none_or(|s| s.admits(&relationship.subject))
    }
}

impl IdFilter {
    pub(crate) fn admits(&self, id: &str) -> bool {
        match self {
            IdFilter::Exactly(wanted) => wanted == id,
            IdFilter::StartsWith(prefix) => id.starts_with(prefix.as_str()),
        }
    }
}

impl SubjectFilter {
    fn admits_class(&self, class: &ClassKey) -> bool {
        self.subject_type == class.subject_type
            && match (&self.relation, &class.subject) {
                (RelationFilter::Any, _) => true,
                (RelationFilter::Absent, kind) => !matches!(kind, SubjectKind::Userset(_)),
                (RelationFilter::Named(wanted), SubjectKind::Userset(relation)) => wanted == relation,
                (RelationFilter::Named(_), _) => false,
            }
    }

    fn admits(&self, subject: &SubjectRef) -> bool {
        self.subject_type == subject.object_type
            && self.subject_id.as_ref().is_none_or(|id| *id == subject.object_id)
            && match &self.relation {
                RelationFilter::Any => true,
                RelationFilter::Absent => subject.relation.is_none(),
                RelationFilter::Named(wanted) => subject.relation.as_ref() == Some(wanted),
            }
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
