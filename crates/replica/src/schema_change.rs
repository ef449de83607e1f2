//! May this schema replace that one? Not if relationships would be left without a place.
//!
//! Only classes whose alternatives changed are looked at, edge by edge with the rule that also judges writes, so what
//! stays is exactly what could be written anew.
//!
//! Cost: O(edges of the classes that lose alternatives, and of those that use a changed caveat).

use std::collections::BTreeSet;

use idhini_model::{Change, Relationship, Timestamp};
use idhini_schema::{AllowedSubject, ClassKey, Schema, SubjectKind};

use crate::admission::Admission as _;
use crate::judge::is_expired;
use crate::{Published, ReplicaError, SchemaChange};

/// The expired relationships that must go first; or what stands in the way.
pub(crate) fn judge(head: &Published, now: Timestamp, new: &Schema) -> Result<Vec<Change>, ReplicaError> {
    let Some(old) = head.schema() else { return Ok(Vec::new()) };
    let changed = changed_parameters(old, new);
    let mut orphans = Orphans { now, first: None, count: 0, expired: Vec::new() };
    for (key, class) in head.classes() {
        let before = alternatives(old, key);
        let after = alternatives(new, key);
        let uses_changed =
            before.iter().filter_map(|a| a.caveat.as_deref()).any(|c| changed.caveats.contains(c));
        if before.is_subset(&after) && !uses_changed {
            continue;
        }
        for (resource, subject) in head.root().edges(*class, 0) {
            let Some(relationship) = head.root().relationship(*class, resource, subject) else { continue };
            if let Some(change) = changed.of(&relationship) {
                orphans.push(change, relationship);
            } else if new.validate_relationship(&relationship).is_err() {
                orphans.push(lost(new, &relationship), relationship);
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
        let (first, _) = self.first.get_or_insert_with(|| (change.clone(), relationship));
        self.count += u64::from(*first == change);
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

/// What a class admits, as a set.
fn alternatives<'s>(schema: &'s Schema, key: &ClassKey) -> BTreeSet<&'s AllowedSubject> {
    let relation = schema.definition(&key.resource_type).and_then(|d| d.relation(&key.relation));
    let subjects = relation.map(|r| r.subjects.as_slice()).unwrap_or_default();
    subjects.iter().filter(|s| s.subject_type == key.subject_type && s.kind == key.subject).collect()
}

/// What the new schema takes away from under a relationship.
fn lost(new: &Schema, relationship: &Relationship) -> SchemaChange {
    let definition = relationship.resource.object_type.clone();
    let relation = relationship.relation.clone();
    match new.definition(&definition) {
        None => SchemaChange::Definition { definition },
        Some(d) if d.relation(&relation).is_none() => SchemaChange::Relation { definition, relation },
        Some(_) => SchemaChange::AllowedSubject { allowed: allowed(relationship), definition, relation },
    }
}

/// The alternative that a relationship stands under, as schemas write it.
fn allowed(relationship: &Relationship) -> String {
    let subject = &relationship.subject;
    let kind = match &subject.relation {
        Some(relation) => SubjectKind::Userset(relation.clone()),
        None if subject.is_wildcard() => SubjectKind::Wildcard,
        None => SubjectKind::Object,
    };
    let mut text = match kind {
        SubjectKind::Object => subject.object_type.clone(),
        SubjectKind::Wildcard => format!("{}:*", subject.object_type),
        SubjectKind::Userset(relation) => format!("{}#{relation}", subject.object_type),
    };
    let traits = [
        relationship.caveat.as_ref().map(|c| c.name.as_str()),
        relationship.expires_at.map(|_| "expiration"),
    ];
    for (name, word) in traits.into_iter().flatten().zip([" with ", " and "]) {
        text.push_str(word);
        text.push_str(name);
    }
    text
}

/// Parameters that the new schema takes away from caveats, or retypes.
struct ChangedParameters {
    caveats: BTreeSet<String>,
    removed: BTreeSet<(String, String)>,
    retyped: BTreeSet<(String, String)>,
}

fn changed_parameters(old: &Schema, new: &Schema) -> ChangedParameters {
    let mut changed =
        ChangedParameters { caveats: BTreeSet::new(), removed: BTreeSet::new(), retyped: BTreeSet::new() };
    for before in old.caveats() {
        // Without the caveat the alternatives that name it are gone too.
        let Some(after) = new.caveat(before.name()) else { continue };
        for parameter in before.parameters() {
            let named = (before.name().to_owned(), parameter.name.clone());
            match after.parameters().iter().find(|p| p.name == parameter.name) {
                Some(same) if same.value_type == parameter.value_type => continue,
                Some(_) => changed.retyped.insert(named),
                None => changed.removed.insert(named),
            };
            changed.caveats.insert(before.name().to_owned());
        }
    }
    changed
}

impl ChangedParameters {
    /// The changed parameter that a relationship stores a value for.
    fn of(&self, relationship: &Relationship) -> Option<SchemaChange> {
        let used = relationship.caveat.as_ref()?;
        if !self.caveats.contains(&used.name) {
            return None;
        }
        used.context.0.keys().find_map(|parameter| {
            let named = (used.name.clone(), parameter.clone());
            let (caveat, parameter) = named.clone();
            if self.removed.contains(&named) {
                Some(SchemaChange::ParameterRemoved { caveat, parameter })
            } else if self.retyped.contains(&named) {
                Some(SchemaChange::ParameterRetyped { caveat, parameter })
            } else {
                None
            }
        })
    }
}
