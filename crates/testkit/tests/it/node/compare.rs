//! What a reader of a revision sees, against the model's list.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use idhini_model::{Relationship, Timestamp};
use idhini_replica::{Count, Filter, Portion, Published, RelationFilter, SubjectFilter};
use idhini_schema::Schema;

use super::model::{SCHEMAS, State, key};
use super::requests::filter_of;

const ALL: Portion = Portion { rows_max: usize::MAX, edges_max: u64::MAX };

/// Subjects that are asked what they stand in.
const SUBJECTS_MAX: usize = 3;

/// What differs: all that is stored, expired or not, from the resources' side and, for some, from the subjects' side.
pub fn compare(found: &Published, expected: &State) -> Result<(), String> {
    let schema = found.schema().map(|schema| schema.canonical_text());
    if schema.as_ref() != expected.schema.map(|schema| &schema_texts()[schema]) {
        return Err(format!("revision {} has another schema than {:?}", found.revision(), expected.schema));
    }
    let stored = read(found, &Filter::default());
    let is_same = stored.len() == expected.relationships.len()
        && stored
            .iter()
            .zip(&expected.relationships)
            .all(|(found, expected)| found.0 == expected.0 && *found.1 == **expected.1);
    if !is_same || found.root().relationship_count() != stored.len() as u64 {
        let difference = difference(&stored, expected);
        return Err(format!("revision {} is not what it was: {difference}", found.revision()));
    }
    compare_counters(found, expected)?;
    let some = expected.relationships.len() / SUBJECTS_MAX + 1;
    for relationship in expected.relationships.values().step_by(some) {
        let subject = &relationship.subject;
        let relation = match &subject.relation {
            Some(relation) => RelationFilter::Named(relation.clone()),
            None => RelationFilter::Absent,
        };
        let (subject_type, subject_id) = (subject.object_type.clone(), Some(subject.object_id.clone()));
        let asked = SubjectFilter { subject_type, subject_id, relation };
        let of_subject = read(found, &Filter { subject: Some(asked), ..Filter::default() });
        let expected = expected.relationships.values().filter(|stored| stored.subject == *subject);
        if !of_subject.values().eq(expected.map(AsRef::as_ref)) {
            return Err(format!("revision {}: {subject} stands elsewhere", found.revision()));
        }
    }
    Ok(())
}

/// The counters, and what they count before anything expires and when something has.
fn compare_counters(found: &Published, expected: &State) -> Result<(), String> {
    let registered = expected.counters.iter().map(|(name, matching)| (name.as_str(), filter_of(matching)));
    if !found.root().counters().map(|(name, filter)| (name, filter.clone())).eq(registered) {
        let names: Vec<&str> = found.root().counters().map(|(name, _)| name).collect();
        return Err(format!("revision {} has the counters {names:?}", found.revision()));
    }
    let expires = expected.relationships.values().find_map(|relationship| relationship.expires_at);
    for instant in [Some(Timestamp::from_seconds(0)), expires].into_iter().flatten() {
        for (name, matching) in &expected.counters {
            let filter = filter_of(matching);
            let counted = Count::new(found, &filter, instant).advance(u64::MAX);
            let expected = expected.counted(matching, instant.seconds());
            if counted != Some(expected) {
                return Err(format!(
                    "revision {}: `{name}` counts {counted:?} at {instant} and not {expected}",
                    found.revision()
                ));
            }
        }
    }
    Ok(())
}

/// Nothing has expired at the beginning of time.
fn read(found: &Published, filter: &Filter) -> BTreeMap<Arc<str>, Relationship> {
    let page = found.read(filter, Timestamp::from_seconds(0), None, ALL);
    page.rows.into_iter().map(|row| (key(&row.relationship), row.relationship)).collect()
}

fn difference(found: &BTreeMap<Arc<str>, Relationship>, expected: &State) -> String {
    let added = found
        .iter()
        .find(|(key, stored)| expected.relationships.get(*key).is_none_or(|expected| **expected != **stored));
    let missing = expected.relationships.keys().find(|key| !found.contains_key(*key));
    let added = added.map(|(_, stored)| stored.to_string());
    format!(
        "{} instead of {}, with {added:?}, without {missing:?}",
        found.len(),
        expected.relationships.len()
    )
}

/// The schemas as a namespace shows them.
fn schema_texts() -> &'static [String] {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        SCHEMAS.iter().map(|(text, _)| Schema::parse(text).unwrap().canonical_text()).collect()
    })
}
