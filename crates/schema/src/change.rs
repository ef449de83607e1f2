//! Which relationships could a new schema orphan? What a writer must look for before it lets the new one in.
//!
//! # Invariants
//! * A relationship that the old schema allowed and whose shape is not listed is allowed by the new one.
//! * A stored context that the old schema allowed, of a parameter that is not listed, is allowed by the new one.
//!
//! Cost: O(schemas · log).

use std::collections::HashSet;

use idhini_caveat::{Caveat, CaveatType};

use crate::{AllowedSubject, ClassKey, Schema};

/// What a relationship must have for the old schema to allow it: its class and its traits, exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationshipShape {
    /// The edge class.
    pub class: ClassKey,
    /// The caveat it carries, or none.
    pub caveat: Option<String>,
    /// Whether it expires.
    pub expiration: bool,
}

/// A parameter that stored contexts may hold a value for, and that is gone or has another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostParameter {
    /// The caveat.
    pub caveat: String,
    /// The parameter.
    pub parameter: String,
    /// Its type before.
    pub old_type: CaveatType,
    /// Its type afterwards; none if it is gone.
    pub new_type: Option<CaveatType>,
}

/// What a schema change takes away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Losses {
    /// Sorted; relationships of these shapes have no place in the new schema.
    pub shapes: Vec<RelationshipShape>,
    /// By caveat and parameter; caveats that are gone altogether show in `shapes`.
    pub parameters: Vec<LostParameter>,
}

impl Losses {
    /// Whether every relationship of the old schema has its place in the new one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty() && self.parameters.is_empty()
    }
}

impl Schema {
    /// What is lost when `new` takes the place of this schema.
    #[must_use]
    pub fn losses(&self, new: &Schema) -> Losses {
        let mut losses = Losses::default();
        for definition in &self.definitions {
            for relation in &definition.relations {
                let kept = new.definition(&definition.name).and_then(|d| d.relation(&relation.name));
                let kept: HashSet<&AllowedSubject> =
                    kept.into_iter().flat_map(|relation| &relation.subjects).collect();
                for subject in relation.subjects.iter().filter(|subject| !kept.contains(subject)) {
                    losses.shapes.push(RelationshipShape {
                        class: ClassKey {
                            resource_type: definition.name.clone(),
                            relation: relation.name.clone(),
                            subject_type: subject.subject_type.clone(),
                            subject: subject.kind.clone(),
                        },
                        caveat: subject.caveat.clone(),
                        expiration: subject.expiration,
                    });
                }
            }
        }
        losses.shapes.sort();
        for old in &self.caveats {
            if let Some(new) = new.caveat(old.name()) {
                losses.parameters.extend(lost_parameters(old, new));
            }
        }
        losses
    }
}

fn lost_parameters(old: &Caveat, new: &Caveat) -> Vec<LostParameter> {
    let mut lost = Vec::new();
    for parameter in old.parameters() {
        let new_type =
            new.parameters().iter().find(|p| p.name == parameter.name).map(|p| p.value_type.clone());
        if new_type.as_ref() != Some(&parameter.value_type) {
            lost.push(LostParameter {
                caveat: old.name().to_owned(),
                parameter: parameter.name.clone(),
                old_type: parameter.value_type.clone(),
                new_type,
            });
        }
    }
    lost
}
