//! The same final data written in different ways.

use idhini_model::{Attributes, Change, Relationship, Timestamp};

use super::World;
use crate::rng::Rng;

/// What a client would ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Create or replace.
    Touch(Relationship),
    /// Make absent.
    Delete(Relationship),
}

/// Batches of recorded changes that end in the world's relationships.
#[derive(Debug, Clone, Default)]
pub struct WritePlan {
    /// One batch per entry; each relationship at most once in a batch; none empty.
    pub batches: Vec<Vec<Change>>,
}

/// Turns updates into changes, as a writer that judges them would.
#[derive(Debug, Default)]
struct State {
    present: Vec<Relationship>,
}

impl State {
    fn apply(&mut self, update: Update) -> Option<Change> {
        match update {
            Update::Touch(new) => match self.present.iter_mut().find(|r| r.same_identity(&new)) {
                Some(known) if *known == new => None,
                Some(known) => {
                    let old: Attributes = known.attributes();
                    *known = new.clone();
                    Some(Change::Replaced { new, old })
                }
                None => {
                    self.present.push(new.clone());
                    Some(Change::Created(new))
                }
            },
            Update::Delete(gone) => {
                let at = self.present.iter().position(|r| r.same_identity(&gone))?;
                Some(Change::Deleted(self.present.swap_remove(at)))
            }
        }
    }
}

/// Any order, any batches, with detours: other attributes first, deleted and created again, and neighbours
/// that are gone in the end.
pub(super) fn plan(rng: &mut Rng, world: &World) -> WritePlan {
    let mut wanted: Vec<&Relationship> = world.relationships.iter().collect();
    rng.shuffle(&mut wanted);
    let detours = *rng.pick(&[0, 10, 40, 80]);
    let batch_max = *rng.pick(&[1, 3, 8, 1000]);
    let mut updates: Vec<Update> = Vec::new();
    let mut last: Vec<Update> = Vec::new();
    for relationship in wanted {
        if rng.chance(detours) {
            detour(rng, relationship, &mut updates, &mut last);
        } else {
            updates.push(Update::Touch(relationship.clone()));
        }
    }
    updates.extend(last);
    batched(State::default(), updates, batch_max)
}

/// A few entries that delete, replace and create.
pub(super) fn disturbance(rng: &mut Rng, world: &World) -> WritePlan {
    let state = State { present: world.relationships.clone() };
    let mut updates = Vec::new();
    for _ in 0..rng.between(1, 12) {
        if world.relationships.is_empty() {
            break;
        }
        let mut relationship = rng.pick(&world.relationships).clone();
        updates.push(match rng.below(4) {
            0 => Update::Delete(relationship),
            1 => {
                relationship.expires_at = Some(Timestamp::from_seconds(1));
                Update::Touch(relationship)
            }
            2 => {
                relationship.resource.object_id = format!("new{}", rng.below(5));
                Update::Touch(relationship)
            }
            _ => {
                relationship.caveat = None;
                Update::Touch(relationship)
            }
        });
    }
    let batch_max = rng.between(1, 6);
    batched(state, updates, batch_max)
}

fn batched(mut state: State, updates: Vec<Update>, batch_max: usize) -> WritePlan {
    let mut plan = WritePlan::default();
    let mut batch: Vec<Change> = Vec::new();
    for update in updates {
        let (Update::Touch(about) | Update::Delete(about)) = &update;
        let repeats = batch.iter().any(|change| subject_of(change).same_identity(about));
        if repeats || batch.len() >= batch_max {
            plan.batches.push(std::mem::take(&mut batch));
        }
        batch.extend(state.apply(update));
    }
    plan.batches.push(batch);
    plan.batches.retain(|batch| !batch.is_empty());
    plan
}

fn detour(rng: &mut Rng, relationship: &Relationship, updates: &mut Vec<Update>, last: &mut Vec<Update>) {
    match rng.below(4) {
        0 => {
            let mut before = relationship.clone();
            before.caveat = None;
            before.expires_at = Some(Timestamp::from_seconds(1));
            updates.push(Update::Touch(before));
            last.push(Update::Touch(relationship.clone()));
        }
        1 => {
            updates.push(Update::Touch(relationship.clone()));
            updates.push(Update::Delete(relationship.clone()));
            last.push(Update::Touch(relationship.clone()));
        }
        2 => {
            let mut neighbour = relationship.clone();
            neighbour.resource.object_id = format!("gone{}", rng.below(100));
            updates.push(Update::Touch(neighbour.clone()));
            updates.push(Update::Touch(relationship.clone()));
            last.push(Update::Delete(neighbour));
        }
        _ => {
            let mut neighbour = relationship.clone();
            if !neighbour.subject.is_wildcard() {
                neighbour.subject.object_id = format!("gone{}", rng.below(100));
            }
            updates.push(Update::Touch(neighbour.clone()));
            last.push(Update::Delete(neighbour));
            last.push(Update::Touch(relationship.clone()));
        }
    }
}

/// The relationship that a change is about.
fn subject_of(change: &Change) -> &Relationship {
    match change {
        Change::Created(r) | Change::Deleted(r) | Change::Replaced { new: r, .. } => r,
    }
}
