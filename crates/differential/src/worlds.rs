//! Changes to generated worlds: what the generator leaves out on purpose, and what a search may want left out.

use idhini_model::{Relationship, ResourceRef, SubjectRef};
use idhini_schema::SubjectKind;
use idhini_testkit::generate::World;
use idhini_testkit::rng::Rng;
use idhini_testkit::sketch::{Alternative, Sketch};

use crate::suppose::reach;

/// Worlds that are changed by [`reach_wildcard_through_permission`] if they can be.
const REACHING_PERCENT: usize = 50;
/// Relationships added to such a world.
const ADDED: usize = 3;
/// Keeps these draws apart from the world's own.
const SALT: u64 = 0x51DE_D00E;

/// Takes every caveat out of schema and data.
pub fn drop_caveats(world: &mut World) {
    world.sketch.caveats.clear();
    for relation in world.sketch.definitions.iter_mut().flat_map(|d| &mut d.relations) {
        let mut plain: Vec<Alternative> = Vec::new();
        for alternative in relation.subjects.drain(..) {
            let alternative = Alternative { caveat: None, ..alternative };
            if !plain.contains(&alternative) {
                plain.push(alternative);
            }
        }
        relation.subjects = plain;
    }
    for relationship in &mut world.relationships {
        relationship.caveat = None;
    }
}

/// In about half of the worlds that can have it: a userset that names a permission behind which a wildcard stands.
///
/// Both servers accept such schemas, since their rule against transitive wildcards is about names of relations; the
/// generator, which leaves wildcards where they stand, does not make them. No cycle comes of it: nothing of the
/// userset's type leads back to the type that it is added to.
pub fn reach_wildcard_through_permission(world: &mut World) {
    let mut rng = Rng::new(world.seed ^ SALT);
    if !rng.chance(REACHING_PERCENT) {
        return;
    }
    let places = places(&world.sketch);
    if places.is_empty() {
        return;
    }
    let (d, r, subject_type, permission) = rng.pick(&places).clone();
    let definition = &mut world.sketch.definitions[d];
    let resource_type = definition.name.clone();
    let relation = definition.relations[r].name.clone();
    let userset = Alternative {
        subject_type: subject_type.clone(),
        kind: SubjectKind::Userset(permission.clone()),
        caveat: None,
        expiration: false,
    };
    if !definition.relations[r].subjects.contains(&userset) {
        definition.relations[r].subjects.push(userset);
    }
    let named = |object_type: &str| -> Vec<String> {
        let resources = world.relationships.iter().map(|r| &r.resource);
        let ids = resources.filter(|r| r.object_type == object_type).map(|r| r.object_id.clone());
        ids.chain(["one".to_owned()]).collect()
    };
    let (resources, subjects) = (named(&resource_type), named(&subject_type));
    for _ in 0..ADDED {
        let added = Relationship::new(
            ResourceRef::new(&resource_type, rng.pick(&resources)),
            &relation,
            SubjectRef::userset(&subject_type, rng.pick(&subjects), &permission),
        );
        if world.relationships.iter().all(|known| !known.same_identity(&added)) {
            world.relationships.push(added);
        }
    }
}

/// Definition and relation by index, and the userset that could stand there.
fn places(sketch: &Sketch) -> Vec<(usize, usize, String, String)> {
    let admits_wildcard = |(definition, member): &(String, String)| {
        let relation = sketch.definition(definition).and_then(|d| d.relation(member));
        relation.is_some_and(|r| r.subjects.iter().any(|s| s.kind == SubjectKind::Wildcard))
    };
    let mut found = Vec::new();
    for subject in &sketch.definitions {
        let reached: Vec<_> = subject.member_names().flat_map(|m| reach(sketch, &subject.name, m)).collect();
        for permission in &subject.permissions {
            if !reach(sketch, &subject.name, &permission.name).iter().any(admits_wildcard) {
                continue;
            }
            for (d, definition) in sketch.definitions.iter().enumerate() {
                if definition.name == subject.name || reached.iter().any(|(name, _)| *name == definition.name)
                {
                    continue;
                }
                let relations = 0..definition.relations.len();
                found.extend(relations.map(|r| (d, r, subject.name.clone(), permission.name.clone())));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
