//! What changes if a relation of one resource is to hold exactly these subjects?
//!
//! # Invariants
//! * Only the difference is changed: a relationship that stands as it should makes no change.
//! * Expired relationships count as absent: those of other subjects are left to the sweep.
//! * No more than `changes_max` changes come of it, and no more of the relation is read than shows whether that is so.
//!
//! Cost: O(wanted subjects + changes), and the relation's expired relationships.

use std::collections::HashSet;

use idhini_model::{Change, Relationship, SubjectRef};
use idhini_schema::RelationshipError;

use crate::judge::{Bounds, PORTION_EDGES, admit, effect, is_expired, refuse_duplicates};
use crate::namespace::still;
use crate::preconditions::{check_filters, hold};
use crate::published::Portion;
use crate::{
    Filter, IdFilter, Member, Operation, Published, ReplicaError, SetRelation, Tally, Update, check_filter,
};

/// Relationships read at a time.
const PORTION_ROWS: usize = 4096;

/// Judges it: the changes, and how many of each kind.
pub(crate) fn judge(
    head: &Published,
    bounds: &Bounds<'_>,
    request: &SetRelation,
) -> Result<(Vec<Change>, Tally), ReplicaError> {
    let filter = filter(head, request)?;
    let updates: Vec<Update> = request.members.iter().map(|member| touch(request, member)).collect();
    refuse_duplicates(&updates)?;
    check_filters(head, &request.preconditions)?;
    for update in &updates {
        admit(head, update)?;
    }
    hold(head, bounds, &request.preconditions)?;
    let kept: HashSet<SubjectRef> = request.members.iter().map(|member| member.subject.clone()).collect();
    let mut changes = gone(head, bounds, request, &filter, &kept)?;
    let mut tally = Tally { deleted: changes.len() as u64, ..Tally::default() };
    for update in updates {
        let Some(change) = effect(head, bounds.now, update)? else { continue };
        let was_there = head.root().find(change.relationship()).is_some_and(|s| !is_expired(&s, bounds.now));
        if was_there {
            tally.replaced += 1
        } else {
            tally.created += 1
        }
        changes.push(change);
    }
    if changes.len() > request.changes_max {
        return Err(ReplicaError::TooManyToSet { changes_max: request.changes_max });
    }
    Ok((changes, tally))
}

/// The relation's relationships; refuses what is no relation.
fn filter(head: &Published, request: &SetRelation) -> Result<Filter, ReplicaError> {
    let filter = Filter {
        resource_type: Some(request.resource.object_type.clone()),
        resource_id: Some(IdFilter::Exactly(request.resource.object_id.clone())),
        relation: Some(request.relation.clone()),
        subject: None,
    };
    match check_filter(&filter, head.schema().map(AsRef::as_ref)) {
        Ok(()) => Ok(filter),
        // What a write of such a relationship hears.
        Err(ReplicaError::NotARelation { definition, permission }) => {
            Err(RelationshipError::CannotWritePermission { definition, permission }.into())
        }
        Err(error) => Err(error),
    }
}

/// What stands there and should not.
fn gone(
    head: &Published,
    bounds: &Bounds<'_>,
    request: &SetRelation,
    filter: &Filter,
    kept: &HashSet<SubjectRef>,
) -> Result<Vec<Change>, ReplicaError> {
    let mut changes = Vec::new();
    let mut after = None;
    loop {
        let portion = Portion { rows_max: PORTION_ROWS, edges_max: PORTION_EDGES };
        let page = head.read(filter, bounds.now, after, portion);
        bounds.charge(page.edges);
        for row in page.rows {
            if kept.contains(&row.relationship.subject) {
                continue;
            }
            if changes.len() >= request.changes_max {
                return Err(ReplicaError::TooManyToSet { changes_max: request.changes_max });
            }
            changes.push(Change::Deleted(row.relationship));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(changes),
        }
        still(bounds.is_wanted)?;
    }
}

fn touch(request: &SetRelation, member: &Member) -> Update {
    let Member { subject, caveat, expires_at } = member.clone();
    let (resource, relation) = (request.resource.clone(), request.relation.clone());
    let relationship = Relationship { resource, relation, subject, caveat, expires_at };
    Update { operation: Operation::Touch, relationship }
}
