//! Many worlds in one schema: each world's definitions and caveats carry its number as a prefix.
//!
//! # Invariants
//! * Prefixing renames definitions and caveats everywhere they are named, and nothing else: members, object ids and
//!   parameters stay as they are.
//! * `prefix` then `strip` gives back what there was.

use idhini_model::{Relationship, ResourceRef, SubjectRef};
use idhini_testkit::sketch::{Alternative, Sketch};

use crate::query::{Posed, Query};

/// A world's number as a prefix of names: `w1017/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// The prefix of world `number`; numbers start high enough for the shortest legal segment.
    #[must_use]
    pub fn of(number: usize) -> Prefix {
        Prefix(format!("w{}/", 1000 + number))
    }

    /// No prefix: the world has the server to itself.
    #[must_use]
    pub fn none() -> Prefix {
        Prefix(String::new())
    }

    /// The name within this world.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// The name that [`Prefix::name`] was given; names of elsewhere stay.
    #[must_use]
    pub fn strip<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(&self.0).unwrap_or(name)
    }

    /// Without any occurrence of the prefix: for texts of errors.
    #[must_use]
    pub fn strip_all(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "") }
    }

    /// The schema with its definitions and caveats renamed.
    #[must_use]
    pub fn sketch(&self, sketch: &Sketch) -> Sketch {
        let mut renamed = sketch.clone();
        for caveat in &mut renamed.caveats {
            caveat.name = self.name(&caveat.name);
        }
        for definition in &mut renamed.definitions {
            definition.name = self.name(&definition.name);
            for alternative in definition.relations.iter_mut().flat_map(|r| &mut r.subjects) {
                self.rename_alternative(alternative);
            }
        }
        renamed
    }

    fn rename_alternative(&self, alternative: &mut Alternative) {
        alternative.subject_type = self.name(&alternative.subject_type);
        alternative.caveat = alternative.caveat.as_deref().map(|caveat| self.name(caveat));
    }

    /// The relationship as this world's.
    #[must_use]
    pub fn relationship(&self, relationship: &Relationship) -> Relationship {
        let mut renamed = relationship.clone();
        renamed.resource = self.resource(&relationship.resource);
        renamed.subject = self.subject(&relationship.subject);
        if let Some(caveat) = &mut renamed.caveat {
            caveat.name = self.name(&caveat.name);
        }
        renamed
    }

    /// The resource as this world's.
    #[must_use]
    pub fn resource(&self, resource: &ResourceRef) -> ResourceRef {
        ResourceRef::new(self.name(&resource.object_type), &resource.object_id)
    }

    /// The subject as this world's.
    #[must_use]
    pub fn subject(&self, subject: &SubjectRef) -> SubjectRef {
        SubjectRef { object_type: self.name(&subject.object_type), ..subject.clone() }
    }

    /// The question as this world's.
    #[must_use]
    pub fn query(&self, query: &Query) -> Query {
        match query {
            Query::Check { resource, permission, subject } => Query::Check {
                resource: self.resource(resource),
                permission: permission.clone(),
                subject: self.subject(subject),
            },
            Query::Resources { resource_type, permission, subject } => Query::Resources {
                resource_type: self.name(resource_type),
                permission: permission.clone(),
                subject: self.subject(subject),
            },
            Query::Subjects { resource, permission, subject_type, subject_relation } => Query::Subjects {
                resource: self.resource(resource),
                permission: permission.clone(),
                subject_type: self.name(subject_type),
                subject_relation: subject_relation.clone(),
            },
            Query::Expand { resource, permission } => {
                Query::Expand { resource: self.resource(resource), permission: permission.clone() }
            }
        }
    }

    /// The posed question as this world's; contexts name parameters, which stay.
    #[must_use]
    pub fn posed(&self, posed: &Posed) -> Posed {
        Posed { query: self.query(&posed.query), context: posed.context.clone() }
    }
}

/// One schema that holds all of these.
#[must_use]
pub fn merged(sketches: impl IntoIterator<Item = Sketch>) -> Sketch {
    let mut merged = Sketch::default();
    for sketch in sketches {
        merged.caveats.extend(sketch.caveats);
        merged.definitions.extend(sketch.definitions);
    }
    merged
}

#[cfg(test)]
mod tests;
