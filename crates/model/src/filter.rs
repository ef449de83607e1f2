//! Which relationships are meant? What reads, deletes, preconditions and counters ask for.

use crate::encoding::{self, DecodeError};
use crate::{Relationship, SubjectRef};

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
    /// Exactly this relationship, whatever its attributes.
    #[must_use]
    pub fn of(relationship: &Relationship) -> Filter {
        let Relationship { resource, relation, subject, .. } = relationship;
        Filter {
            resource_type: Some(resource.object_type.clone()),
            resource_id: Some(IdFilter::Exactly(resource.object_id.clone())),
            relation: Some(relation.clone()),
            subject: Some(SubjectFilter {
                subject_type: subject.object_type.clone(),
                subject_id: Some(subject.object_id.clone()),
                relation: subject.relation.clone().map_or(RelationFilter::Absent, RelationFilter::Named),
            }),
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
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

    /// The filter as bytes at rest, as [`Filter::from_bytes`] reads them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encoding::filter_bytes(self)
    }

    /// The filter of these bytes.
    ///
    /// # Errors
    /// [`DecodeError`]; its offset is into these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Filter, DecodeError> {
        encoding::filter_of(bytes)
    }
}

impl IdFilter {
    /// Whether this id matches.
    #[must_use]
    pub fn admits(&self, id: &str) -> bool {
        match self {
            IdFilter::Exactly(wanted) => wanted == id,
            IdFilter::StartsWith(prefix) => id.starts_with(prefix.as_str()),
        }
    }
}

impl SubjectFilter {
    /// Whether this subject matches.
    #[must_use]
    pub fn admits(&self, subject: &SubjectRef) -> bool {
        self.subject_type == subject.object_type
            && self.subject_id.as_ref().is_none_or(|id| *id == subject.object_id)
            && match &self.relation {
                RelationFilter::Any => true,
                RelationFilter::Absent => subject.relation.is_none(),
                RelationFilter::Named(wanted) => subject.relation.as_ref() == Some(wanted),
            }
    }
}
