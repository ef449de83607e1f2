//! May this relationship be written? Its types against a schema; whether it exists is asked elsewhere.
//!
//! An alternative of a relation must fit exactly, traits included: where only `user with cav` is allowed, a `user`
//! without a caveat is refused, and so is one with a caveat where only `user` is.
//!
//! Cost: O(alternatives of the relation).

use std::fmt::Write as _;

use idhini_caveat::StoredContextError;
use idhini_model::{Relationship, SubjectRef};

use crate::{AllowedSubject, Definition, Relation, Schema, SubjectKind};

/// Most alternatives that an error's text lists.
const LISTED_MAX: usize = 10;

/// Why a relationship has no place in a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationshipError {
    /// The resource's or the subject's type is not defined.
    #[error("there is no definition `{definition}`")]
    UnknownDefinition {
        /// The type.
        definition: String,
    },
    /// The resource or the subject has no such member.
    #[error("definition `{definition}` has no relation or permission `{relation}`")]
    UnknownRelation {
        /// The type.
        definition: String,
        /// What it lacks.
        relation: String,
    },
    /// Permissions are computed, never stored.
    #[error(
        "`{permission}` of definition `{definition}` is a permission: write to the relations it is computed from"
    )]
    CannotWritePermission {
        /// The resource's type.
        definition: String,
        /// The permission.
        permission: String,
    },
    /// The subject's type, or its relation, is not among the alternatives.
    #[error("{0} does not allow {1}: it allows {2}", .mismatch.relation(), .mismatch.found(), .mismatch.allowed())]
    SubjectTypeNotAllowed {
        /// What was written and what is allowed.
        mismatch: Box<Mismatch>,
    },
    /// All of a type where only single subjects are allowed.
    #[error("{0} does not allow the wildcard {1}: it allows {2}", .mismatch.relation(), .mismatch.found(), .mismatch.allowed())]
    WildcardNotAllowed {
        /// What was written and what is allowed.
        mismatch: Box<Mismatch>,
    },
    /// The subject would be allowed with a caveat.
    #[error("{0} does not allow {1} without a caveat: it allows {2}", .mismatch.relation(), .mismatch.found(), .mismatch.allowed())]
    CaveatRequired {
        /// What was written and what is allowed.
        mismatch: Box<Mismatch>,
    },
    /// The subject would be allowed without this caveat.
    #[error("{0} does not allow {1}: it allows {2}", .mismatch.relation(), .mismatch.found(), .mismatch.allowed())]
    CaveatNotAllowed {
        /// What was written and what is allowed.
        mismatch: Box<Mismatch>,
    },
    /// The subject would be allowed with an expiration.
    #[error("{0} does not allow {1} without an expiration: it allows {2}", .mismatch.relation(), .mismatch.found(), .mismatch.allowed())]
    ExpirationRequired {
        /// What was written and what is allowed.
        mismatch: Box<Mismatch>,
    },
    /// The subject would be allowed without an expiration.
    #[error("{0} does not allow {1}: it allows {2}", .mismatch.relation(), .mismatch.found(), .mismatch.allowed())]
    ExpirationNotAllowed {
        /// What was written and what is allowed.
        mismatch: Box<Mismatch>,
    },
    /// The caveat is not defined. SpiceDB reports this as an invalid subject type.
    #[error("there is no caveat `{caveat}`")]
    UnknownCaveat {
        /// The caveat.
        caveat: String,
    },
    /// The stored context does not fit the caveat's parameters.
    #[error(transparent)]
    StoredContext(#[from] StoredContextError),
}

/// A subject that a relation does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The resource's type.
    pub resource_type: String,
    /// The relation written to.
    pub relation: String,
    /// The alternative that would allow the subject.
    pub subject: AllowedSubject,
    /// The alternatives there are.
    pub alternatives: Vec<AllowedSubject>,
}

impl Mismatch {
    /// The caveats that the alternatives for the same subject require, sorted.
    #[must_use]
    pub fn allowed_caveats(&self) -> Vec<&str> {
        let same = self.alternatives.iter().filter(|alternative| same_subject(alternative, &self.subject));
        let mut caveats: Vec<&str> = same.filter_map(|alternative| alternative.caveat.as_deref()).collect();
        caveats.sort_unstable();
        caveats.dedup();
        caveats
    }

    fn relation(&self) -> String {
        format!("relation `{}` of definition `{}`", self.relation, self.resource_type)
    }

    fn found(&self) -> String {
        format!("`{}`", self.subject)
    }

    fn allowed(&self) -> String {
        let mut text = String::new();
        for (position, alternative) in self.alternatives.iter().take(LISTED_MAX).enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}`{alternative}`", if position == 0 { "" } else { ", " });
        }
        if self.alternatives.len() > LISTED_MAX {
            let _ = write!(text, " and {} more", self.alternatives.len() - LISTED_MAX);
        }
        text
    }
}

impl Schema {
    /// Whether a relationship may be written: its types, caveat, stored context and expiration.
    ///
    /// # Errors
    /// [`RelationshipError`] with the first reason against it.
    pub fn validate_relationship(&self, relationship: &Relationship) -> Result<(), RelationshipError> {
        let definition = self.known_definition(&relationship.resource.object_type)?;
        let Some(relation) = definition.relation(&relationship.relation) else {
            let (definition, name) = (definition.name.clone(), relationship.relation.clone());
            return Err(if self.definition(&definition).is_some_and(|d| d.permission(&name).is_some()) {
                RelationshipError::CannotWritePermission { definition, permission: name }
            } else {
                RelationshipError::UnknownRelation { definition, relation: name }
            });
        };
        self.check_subject(&relationship.subject)?;
        let asked = asked_alternative(relationship);
        let is_wildcard_userset =
            relationship.subject.is_wildcard() && relationship.subject.relation.is_some();
        if is_wildcard_userset || !relation.subjects.contains(&asked) {
            return Err(self.mismatch(definition, relation, asked));
        }
        match &relationship.caveat {
            None => Ok(()),
            Some(used) => match self.caveat(&used.name) {
                Some(caveat) => Ok(caveat.check_stored(&used.context)?),
                None => Err(RelationshipError::UnknownCaveat { caveat: used.name.clone() }),
            },
        }
    }

    fn known_definition(&self, name: &str) -> Result<&Definition, RelationshipError> {
        self.definition(name)
            .ok_or_else(|| RelationshipError::UnknownDefinition { definition: name.to_owned() })
    }

    fn check_subject(&self, subject: &SubjectRef) -> Result<(), RelationshipError> {
        let definition = self.known_definition(&subject.object_type)?;
        match &subject.relation {
            Some(relation) if !definition.has_member(relation) => Err(RelationshipError::UnknownRelation {
                definition: definition.name.clone(),
                relation: relation.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Names the one trait that is wrong, where there is one.
    fn mismatch(
        &self,
        definition: &Definition,
        relation: &Relation,
        asked: AllowedSubject,
    ) -> RelationshipError {
        if let Some(caveat) = asked.caveat.as_deref().filter(|name| self.caveat(name).is_none()) {
            return RelationshipError::UnknownCaveat { caveat: caveat.to_owned() };
        }
        let same: Vec<&AllowedSubject> =
            relation.subjects.iter().filter(|s| same_subject(s, &asked)).collect();
        let is_wildcard = asked.kind == SubjectKind::Wildcard;
        let same_caveat = same.iter().any(|s| s.caveat == asked.caveat);
        let same_expiration = same.iter().any(|s| s.expiration == asked.expiration);
        let needs_caveat = asked.caveat.is_none() && same.iter().all(|s| s.caveat.is_some());
        let (is_known, expires) = (!same.is_empty(), asked.expiration);
        let mismatch = Box::new(Mismatch {
            resource_type: definition.name.clone(),
            relation: relation.name.clone(),
            subject: asked,
            alternatives: relation.subjects.clone(),
        });
        match (is_known, needs_caveat, same_caveat, same_expiration) {
            (false, ..) if is_wildcard => RelationshipError::WildcardNotAllowed { mismatch },
            (false, ..) => RelationshipError::SubjectTypeNotAllowed { mismatch },
            (_, true, ..) => RelationshipError::CaveatRequired { mismatch },
            (_, _, false, _) => RelationshipError::CaveatNotAllowed { mismatch },
            // Caveat and expiration are each allowed, but not together, or the expiration alone is wrong.
            _ if expires => RelationshipError::ExpirationNotAllowed { mismatch },
            _ => RelationshipError::ExpirationRequired { mismatch },
        }
    }
}

fn asked_alternative(relationship: &Relationship) -> AllowedSubject {
    let subject = &relationship.subject;
    let kind = match &subject.relation {
        Some(relation) if !subject.is_wildcard() => SubjectKind::Userset(relation.clone()),
        None if !subject.is_wildcard() => SubjectKind::Object,
        _ => SubjectKind::Wildcard,
    };
    AllowedSubject {
        subject_type: subject.object_type.clone(),
        kind,
        caveat: relationship.caveat.as_ref().map(|used| used.name.clone()),
        expiration: relationship.expires_at.is_some(),
    }
}

fn same_subject(a: &AllowedSubject, b: &AllowedSubject) -> bool {
    a.subject_type == b.subject_type && a.kind == b.kind
}
