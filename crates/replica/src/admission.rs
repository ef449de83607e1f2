//! Does the schema have a place for this relationship?

use idhini_caveat::StoredContextError;
use idhini_model::Relationship;
use idhini_schema::{AllowedSubject, Schema, SubjectKind};

/// Why the schema has no place for a relationship.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum RelationshipError {
    #[error("the schema has no definition `{definition}`")]
    UnknownDefinition { definition: String },
    #[error("definition `{definition}` has no relation or permission `{member}`")]
    UnknownMember { definition: String, member: String },
    #[error(
        "`{permission}` of definition `{definition}` is a permission: it is computed, no relationship stands in it"
    )]
    Permission { definition: String, permission: String },
    #[error("subjects of type `{subject}` are not allowed on relation `{definition}#{relation}`")]
    SubjectNotAllowed { definition: String, relation: String, subject: String },
    #[error(transparent)]
    StoredContext(#[from] StoredContextError),
}

pub(crate) trait Admission {
    fn validate_relationship(&self, relationship: &Relationship) -> Result<(), RelationshipError>;
}

impl Admission for Schema {
    fn validate_relationship(&self, r: &Relationship) -> Result<(), RelationshipError> {
        let unknown = |t: &str| RelationshipError::UnknownDefinition { definition: t.to_owned() };
        let member = |t: &str, m: &str| RelationshipError::UnknownMember {
            definition: t.to_owned(),
            member: m.to_owned(),
        };
        let d = self.definition(&r.resource.object_type).ok_or_else(|| unknown(&r.resource.object_type))?;
        if d.permission(&r.relation).is_some() {
            return Err(RelationshipError::Permission {
                definition: d.name.clone(),
                permission: r.relation.clone(),
            });
        }
        let relation = d.relation(&r.relation).ok_or_else(|| member(&d.name, &r.relation))?;
        let s = self.definition(&r.subject.object_type).ok_or_else(|| unknown(&r.subject.object_type))?;
        if let Some(sr) = &r.subject.relation {
            if !s.has_member(sr) {
                return Err(member(&s.name, sr));
            }
        }
        let kind = match &r.subject.relation {
            Some(relation) => SubjectKind::Userset(relation.clone()),
            None if r.subject.is_wildcard() => SubjectKind::Wildcard,
            None => SubjectKind::Object,
        };
        let wanted = AllowedSubject {
            subject_type: s.name.clone(),
            kind,
            caveat: r.caveat.as_ref().map(|c| c.name.clone()),
            expiration: r.expires_at.is_some(),
        };
        if !relation.subjects.contains(&wanted) {
            return Err(RelationshipError::SubjectNotAllowed {
                definition: d.name.clone(),
                relation: r.relation.clone(),
                subject: format!("{wanted:?}"),
            });
        }
        if let (Some(u), Some(c)) = (&r.caveat, r.caveat.as_ref().and_then(|c| self.caveat(&c.name))) {
            c.check_stored(&u.context)?;
        }
        Ok(())
    }
}
