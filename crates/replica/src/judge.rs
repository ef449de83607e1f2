//! What would this request change? Judged against one revision; nothing is applied here.
//!
//! # Invariants
//! * A change names the attributes that the graph holds, expired or not, so that it applies and can be undone.
//! * No relationship occurs twice among the changes of one request.
//! * Long readings stop when the request is no longer wanted.
//!
//! Cost: O(updates), beside what the preconditions (`preconditions.rs`) and the delete's filter read.

use std::cell::Cell;
use std::collections::HashSet;

use idhini_model::{Change, EntryKind, Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_schema::{Schema, SubjectKind};

use crate::namespace::still;
use crate::preconditions::{check_filters, hold};
use crate::published::Portion;
use crate::{CounterChange, Delete, Operation, Published, ReplicaError, Update, Write, check_filter};

/// Relationships that a delete reads at a time.
const DELETE_PORTION_ROWS: usize = 4096;

/// Counters of one namespace. All of them are copied when one is registered, and are in every image.
pub const COUNTERS_MAX: usize = 1_000;

/// Edges looked at between two questions whether the request is still wanted.
pub(crate) const PORTION_EDGES: u64 = 1_000_000;

/// What a judgement goes by beside the revision.
pub(crate) struct Bounds<'w> {
    /// The moment.
    pub(crate) now: Timestamp,
    /// What the preconditions' filters may look at, all together.
    pub(crate) edges_max: u64,
    /// What the preconditions' checks may spend, all together, in edges.
    pub(crate) cost_max: u64,
    /// Whether somebody waits for the answer.
    pub(crate) is_wanted: &'w dyn Fn() -> bool,
    /// Edges looked at so far.
    pub(crate) spent: &'w Cell<u64>,
}

impl Bounds<'_> {
    /// So many edges more were looked at.
    pub(crate) fn charge(&self, edges: u64) {
        self.spent.set(self.spent.get().saturating_add(edges));
    }
}

pub(crate) type Identity<'a> = (&'a ResourceRef, &'a str, &'a SubjectRef);

/// Judges a write.
pub(crate) fn write(
    head: &Published,
    bounds: &Bounds<'_>,
    request: Write,
) -> Result<Vec<Change>, ReplicaError> {
    refuse_duplicates(&request.updates)?;
    check_filters(head, &request.preconditions)?;
    for update in &request.updates {
        admit(head, update)?;
    }
    hold(head, bounds, &request.preconditions)?;
    let mut changes = Vec::with_capacity(request.updates.len());
    for update in request.updates {
        changes.extend(effect(head, bounds.now, update)?);
    }
    Ok(changes)
}

/// Judges a delete: the changes, and whether more match than its limit.
pub(crate) fn delete(
    head: &Published,
    bounds: &Bounds<'_>,
    request: &Delete,
) -> Result<(Vec<Change>, bool), ReplicaError> {
    check_filter(&request.filter, head.schema().map(AsRef::as_ref))?;
    check_filters(head, &request.preconditions)?;
    hold(head, bounds, &request.preconditions)?;
    let limit = request.limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX));
    let mut changes = Vec::new();
    let mut after = None;
    loop {
        let portion = Portion { rows_max: DELETE_PORTION_ROWS, edges_max: PORTION_EDGES };
        let page = head.read(&request.filter, bounds.now, after, portion);
        bounds.charge(page.edges);
        for row in page.rows {
            if changes.len() < limit {
                changes.push(Change::Deleted(row.relationship));
            } else if request.allow_partial {
                return Ok((changes, true));
            } else {
                let limit = request.limit.unwrap_or(u64::MAX);
                let resource_type = request.filter.resource_type.clone();
                return Err(ReplicaError::TooManyToDelete { limit, resource_type });
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((changes, false)),
        }
        still(bounds.is_wanted)?;
    }
}

/// Judges a counter that is to be registered or taken away.
///
/// A schema may later drop what the filter names: then nothing can match, and nothing is what the counter counts, until
/// a schema has it again.
pub(crate) fn counter(head: &Published, request: CounterChange) -> Result<EntryKind, ReplicaError> {
    let CounterChange { name, filter } = request;
    let old = head.root().counter(&name).cloned();
    match (filter, old) {
        (Some(filter), old) => {
            check_filter(&filter, head.schema().map(AsRef::as_ref))?;
            if old.is_some() {
                return Err(ReplicaError::CounterRegistered { name, filter: Box::new(filter) });
            }
            if head.root().counters().len() >= COUNTERS_MAX {
                return Err(ReplicaError::TooManyCounters { counters_max: COUNTERS_MAX });
            }
            Ok(EntryKind::Counter { name, new: Some(Box::new(filter)), old: None })
        }
        (None, None) => Err(ReplicaError::CounterNotRegistered { name }),
        (None, Some(old)) => Ok(EntryKind::Counter { name, new: None, old: Some(Box::new(old)) }),
    }
}

/// Whether the relationship does not count at this moment.
pub(crate) fn is_expired(relationship: &Relationship, now: Timestamp) -> bool {
    relationship.expires_at.is_some_and(|at| at <= now)
}

pub(crate) fn identity(relationship: &Relationship) -> Identity<'_> {
    (&relationship.resource, &relationship.relation, &relationship.subject)
}

pub(crate) fn refuse_duplicates(updates: &[Update]) -> Result<(), ReplicaError> {
    if updates.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(updates.len());
    match updates.iter().find(|u| !seen.insert(identity(&u.relationship))) {
        Some(update) => {
            Err(ReplicaError::DuplicateUpdate { relationship: Box::new(update.relationship.clone()) })
        }
        None => Ok(()),
    }
}

pub(crate) fn schema_or_unknown<'s>(
    schema: Option<&'s Schema>,
    definition: &str,
) -> Result<&'s Schema, ReplicaError> {
    schema.ok_or_else(|| ReplicaError::UnknownDefinition { definition: definition.to_owned() })
}

/// Whether the schema has a place for the relationship. A delete names no attributes, so only its class is looked at.
pub(crate) fn admit(head: &Published, update: &Update) -> Result<(), ReplicaError> {
    let relationship = &update.relationship;
    let schema = schema_or_unknown(head.schema().map(AsRef::as_ref), &relationship.resource.object_type)?;
    if update.operation == Operation::Delete {
        let mut bare = relationship.clone();
        (bare.caveat, bare.expires_at) = (None, None);
        if has_class(schema, &bare) {
            return Ok(());
        }
        return Ok(schema.validate_relationship(&bare)?);
    }
    Ok(schema.validate_relationship(relationship)?)
}

fn has_class(schema: &Schema, relationship: &Relationship) -> bool {
    let kind = match &relationship.subject.relation {
        Some(relation) => SubjectKind::Userset(relation.clone()),
        None if relationship.subject.is_wildcard() => SubjectKind::Wildcard,
        None => SubjectKind::Object,
    };
    schema
        .definition(&relationship.resource.object_type)
        .and_then(|d| d.relation(&relationship.relation))
        .is_some_and(|r| {
            r.subjects.iter().any(|s| s.subject_type == relationship.subject.object_type && s.kind == kind)
        })
}

pub(crate) fn effect(
    head: &Published,
    now: Timestamp,
    update: Update,
) -> Result<Option<Change>, ReplicaError> {
    let Update { operation, relationship } = update;
    let stored = head.root().find(&relationship);
    Ok(match (operation, stored) {
        (Operation::Delete, stored) => stored.map(Change::Deleted),
        (_, None) => Some(Change::Created(relationship)),
        (Operation::Create, Some(stored)) if !is_expired(&stored, now) => {
            return Err(ReplicaError::AlreadyExists { relationship: Box::new(relationship) });
        }
        (_, Some(stored)) if stored == relationship => None,
        (_, Some(stored)) => Some(Change::Replaced { new: relationship, old: stored.attributes() }),
    })
}
