//! May this schema replace that one? Not if relationships would be left without a place.
//!
//! The schema says which shapes and parameters would be lost; the relationships of those classes are looked at here.
//!
//! Cost: O(schemas + edges of the classes that lose a shape or use a caveat that loses a parameter).

use std::collections::{HashMap, HashSet};

use idhini_model::{Change, Relationship, Timestamp};
use idhini_schema::{AllowedSubject, ClassKey, LostParameter, RelationshipShape, Schema};

use crate::judge::is_expired;
use crate::{Published, ReplicaError, SchemaChange};

/// The expired relationships that must go first; or what stands in the way.
pub(crate) fn judge(head: &Published, now: Timestamp, new: &Schema) -> Result<Vec<Change>, ReplicaError> {
    let Some(old) = head.schema() else { return Ok(Vec::new()) };
    let losses = old.losses(new);
    if losses.is_empty() {
        return Ok(Vec::new());
    }
    let shapes: HashSet<&RelationshipShape> = losses.shapes.iter().collect();
    let parameters: HashMap<(&str, &str), &LostParameter> =
        losses.parameters.iter().map(|p| ((p.caveat.as_str(), p.parameter.as_str()), p)).collect();
    let mut orphans = Orphans { now, first: None, count: 0, expired: Vec::new() };
    for (key, class) in head.classes() {
        let loses_shape = losses.shapes.iter().any(|s| s.class == *key);
        let loses_parameter = alternatives(old, key)
            .any(|a| losses.parameters.iter().any(|p| a.caveat.as_ref() == Some(&p.caveat)));
        if !loses_shape && !loses_parameter {
            continue;
        }
        for (resource, subject) in head.root().edges(*class, 0) {
            let Some(relationship) = head.root().relationship(*class, resource, subject) else { continue };
            let shape = RelationshipShape {
                class: key.clone(),
                caveat: relationship.caveat.as_ref().map(|c| c.name.clone()),
                expiration: relationship.expires_at.is_some(),
            };
            if shapes.contains(&shape) {
                orphans.push(lost_shape(new, shape), relationship);
            } else if let Some(change) = lost_parameter(&parameters, &relationship) {
                orphans.push(change, relationship);
            }
        }
    }
    orphans.finish()
}

/// Relationships without a place, those in the way of the first change counted.
struct Orphans {
    now: Timestamp,
    first: Option<(SchemaChange, Relationship)>,
    count: u64,
    expired: Vec<Change>,
}

impl Orphans {
    fn push(&mut self, change: SchemaChange, relationship: Relationship) {
        if is_expired(&relationship, self.now) {
            self.expired.push(Change::Deleted(relationship));
            return;
        }
        match &self.first {
            None => (self.first, self.count) = (Some((change, relationship)), 1),
            Some((first, _)) => self.count += u64::from(*first == change),
        }
    }

    fn finish(self) -> Result<Vec<Change>, ReplicaError> {
        match self.first {
            None => Ok(self.expired),
            Some((change, example)) => {
                Err(ReplicaError::Orphans { change, example: Box::new(example), count: self.count })
            }
        }
    }
}

/// What a class admits.
fn alternatives<'s>(schema: &'s Schema, key: &ClassKey) -> impl Iterator<Item = &'s AllowedSubject> {
    let relation = schema.definition(&key.resource_type).and_then(|d| d.relation(&key.relation));
    let subjects = relation.map(|r| r.subjects.as_slice()).unwrap_or_default();
    subjects.iter().filter(|s| s.subject_type == key.subject_type && s.kind == key.subject)
}

/// The greatest thing that the new schema takes away from under a shape.
fn lost_shape(new: &Schema, shape: RelationshipShape) -> SchemaChange {
    let RelationshipShape { class, caveat, expiration } = shape;
    let (definition, relation) = (class.resource_type, class.relation);
    match new.definition(&definition) {
        None => SchemaChange::Definition { definition },
        Some(d) if d.relation(&relation).is_none() => SchemaChange::Relation { definition, relation },
        Some(_) => {
            let allowed =
                AllowedSubject { subject_type: class.subject_type, kind: class.subject, caveat, expiration };
            SchemaChange::AllowedSubject { allowed: allowed.to_string(), definition, relation }
        }
    }
}

/// The lost parameter that a relationship stores a value for.
fn lost_parameter(
    lost: &HashMap<(&str, &str), &LostParameter>,
    relationship: &Relationship,
) -> Option<SchemaChange> {
    let used = relationship.caveat.as_ref()?;
    let lost = used.context.0.keys().find_map(|name| lost.get(&(used.name.as_str(), name.as_str())))?;
    let (caveat, parameter) = (lost.caveat.clone(), lost.parameter.clone());
    Some(match lost.new_type {
        None => SchemaChange::ParameterRemoved { caveat, parameter },
        Some(_) => SchemaChange::ParameterRetyped { caveat, parameter },
    })
}
