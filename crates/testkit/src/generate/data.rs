//! Relationships that a sketch allows.

use idhini_model::{CaveatUse, Relationship, ResourceRef, SubjectRef, Timestamp, WILDCARD};
use idhini_schema::SubjectKind;

use super::{Options, caveats};
use crate::rng::Rng;
use crate::sketch::{Alternative, Sketch};

const IDS: &[&str] = &["one", "two", "3", "four/4", "f-i_v|e", "six+"];
/// Draws that may fail (a duplicate, a wrong level) before fewer relationships are settled for.
const DRAWS_PER_RELATIONSHIP: usize = 4;

/// Object ids by type, and where in the order of an acyclic world each object stands.
pub(super) struct Objects {
    ids: Vec<(String, Vec<String>)>,
}

impl Objects {
    pub(super) fn of(&self, object_type: &str) -> &[String] {
        self.ids.iter().find(|(t, _)| t == object_type).map_or(&[], |(_, ids)| ids)
    }

    /// Acyclic worlds have edges only to higher levels. Ids go round the levels, types in between.
    fn level(&self, object_type: &str, id: &str) -> usize {
        let position = self.ids.iter().position(|(t, _)| t == object_type).unwrap_or(0);
        let types = self.ids.len();
        let index = self.of(object_type).iter().position(|i| i == id).unwrap_or(0);
        if object_type == "user" { usize::MAX - types * index } else { index * types + position }
    }
}

/// How many objects of each type.
pub(super) fn objects(rng: &mut Rng, sketch: &Sketch, fan_out: Option<usize>) -> Objects {
    let wide = rng.pick(&sketch.definitions).name.clone();
    let ids = sketch.definitions.iter().map(|definition| {
        let few = rng.between(2, if definition.name == "user" { 4 } else { 5 });
        let ids: Vec<String> = match fan_out {
            Some(count) if definition.name == wide || definition.name == "user" => {
                (0..count).map(|i| format!("n{i:03}")).collect()
            }
            _ => IDS[..few].iter().map(|id| (*id).to_owned()).collect(),
        };
        (definition.name.clone(), ids)
    });
    Objects { ids: ids.collect() }
}

/// Random relationships, each identity once.
pub(super) fn relationships(
    rng: &mut Rng,
    sketch: &Sketch,
    objects: &Objects,
    options: &Options,
    fan_out: Option<usize>,
    instant: Timestamp,
) -> Vec<Relationship> {
    let places: Vec<(&str, &str, &[Alternative])> = sketch
        .definitions
        .iter()
        .flat_map(|d| d.relations.iter().map(|r| (d.name.as_str(), r.name.as_str(), &r.subjects[..])))
        .collect();
    let mut found: Vec<Relationship> = Vec::new();
    let mut known = std::collections::HashSet::new();
    let mut add = |relationship: Relationship, found: &mut Vec<Relationship>| {
        let key =
            (relationship.resource.clone(), relationship.relation.clone(), relationship.subject.clone());
        if known.insert(key) {
            found.push(relationship);
        }
    };
    if places.is_empty() {
        return found;
    }
    let wanted_max = if rng.chance(30) { 15 } else { 40 };
    let wanted = rng.between(5, wanted_max);
    for _ in 0..wanted * DRAWS_PER_RELATIONSHIP {
        if found.len() >= wanted {
            break;
        }
        let (resource_type, relation, alternatives) = *rng.pick(&places);
        let alternative = rng.pick(alternatives);
        let resource = ResourceRef::new(resource_type, rng.pick(objects.of(resource_type)));
        if let Some(r) =
            relationship(rng, sketch, objects, options, instant, (resource, relation, alternative))
        {
            add(r, &mut found);
        }
    }
    if let Some(count) = fan_out {
        if let Some(links) = chain(rng, sketch, objects, options, instant) {
            links.into_iter().for_each(|link| add(link, &mut found));
        }
        // One relation of one object with many subjects, and one of many objects with one subject.
        for wide_resource in [false, true] {
            let (resource_type, relation, alternatives) = *rng.pick(&places);
            let alternative = rng.pick(alternatives);
            let first = rng.pick(objects.of(resource_type)).clone();
            for index in 0..count {
                let ids = objects.of(resource_type);
                let id = if wide_resource { &ids[index % ids.len()] } else { &first };
                let place = (ResourceRef::new(resource_type, id), relation, alternative);
                if let Some(r) = relationship(rng, sketch, objects, options, instant, place) {
                    add(r, &mut found);
                }
            }
        }
    }
    found
}

/// A long chain through the objects of one type, deeper than evaluators of this kind like to go.
fn chain(
    rng: &mut Rng,
    sketch: &Sketch,
    objects: &Objects,
    options: &Options,
    instant: Timestamp,
) -> Option<Vec<Relationship>> {
    let mut links: Vec<(&str, &str, &Alternative)> = Vec::new();
    for definition in &sketch.definitions {
        for relation in &definition.relations {
            let own = |s: &&Alternative| s.subject_type == definition.name && s.kind != SubjectKind::Wildcard;
            let own = relation.subjects.iter().filter(own);
            links.extend(own.map(|s| (definition.name.as_str(), relation.name.as_str(), s)));
        }
    }
    let longest = links.iter().map(|(t, _, _)| objects.of(t).len()).max()?;
    links.retain(|(t, _, _)| objects.of(t).len() == longest);
    let (object_type, relation, alternative) = *rng.pick(&links);
    let ids = objects.of(object_type);
    let relationships = ids.windows(2).filter_map(|pair| {
        let upwards = objects.level(object_type, &pair[0]) < objects.level(object_type, &pair[1]);
        let (from, to) = if upwards { (&pair[0], &pair[1]) } else { (&pair[1], &pair[0]) };
        let resource = ResourceRef::new(object_type, from);
        let mut link =
            relationship(rng, sketch, objects, options, instant, (resource, relation, alternative))?;
        link.subject.object_id.clone_from(to);
        Some(link)
    });
    Some(relationships.collect())
}

fn relationship(
    rng: &mut Rng,
    sketch: &Sketch,
    objects: &Objects,
    options: &Options,
    instant: Timestamp,
    (resource, relation, alternative): (ResourceRef, &str, &Alternative),
) -> Option<Relationship> {
    let subject_type = &alternative.subject_type;
    let id = rng.pick(objects.of(subject_type));
    let subject = match &alternative.kind {
        SubjectKind::Object => SubjectRef::object(subject_type, id),
        SubjectKind::Wildcard => SubjectRef::object(subject_type, WILDCARD),
        SubjectKind::Userset(member) => SubjectRef::userset(subject_type, id, member),
    };
    let upwards = alternative.kind == SubjectKind::Wildcard
        || objects.level(&resource.object_type, &resource.object_id) < objects.level(subject_type, id);
    if options.acyclic && !upwards {
        return None;
    }
    let mut relationship = Relationship::new(resource, relation, subject);
    if let Some(name) = &alternative.caveat {
        let caveat = sketch.caveats.iter().find(|c| c.name == *name)?;
        let context = caveats::stored_context(rng, caveat);
        relationship.caveat = Some(CaveatUse { name: name.clone(), context });
    }
    if alternative.expiration {
        relationship.expires_at = Some(expiration(rng, options, instant));
    }
    Some(relationship)
}

/// Around the instant: just before, equal, just after, or far away.
fn expiration(rng: &mut Rng, options: &Options, instant: Timestamp) -> Timestamp {
    let at = instant.seconds();
    if options.spicedb {
        // A real server has its own clock: it must stand between these, as the instant does.
        return Timestamp::from_seconds(if rng.chance(70) { at + 200_000_000 } else { 1_600_000_000 });
    }
    let nanos_after = Timestamp::new(at, 1).unwrap_or(instant);
    let nanos_before = Timestamp::new(at - 1, 999_999_999).unwrap_or(instant);
    match rng.weighted(&[25, 10, 10, 20, 25, 10]) {
        0 => instant,
        1 => nanos_before,
        2 => Timestamp::from_seconds(at - 1),
        3 => nanos_after,
        4 => Timestamp::from_seconds(at + 1),
        _ => Timestamp::from_seconds(at + 1_000_000),
    }
}
