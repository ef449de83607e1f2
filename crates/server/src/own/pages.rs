//! The streaming reads, a page at a time.
//!
//! # Invariants
//! * All pages of a question are of one snapshot; their union is what the streaming call answers, each item once.
//! * A page is bounded in items, in bytes, and in edges looked at or in the question's budget.
//! * A page without a next cursor is the last one.
//!
//! Cost: as the streaming call up to the page's end; a lookup goes on with what the page before it reached, or searches
//! again if that is no longer kept.

use idhini_replica::{Position, check_filter};
use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::idhini::v1;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::deadline::{Deadline, FUEL};
use crate::lookups::{self, AskedResources, AskedSubjects, next};
use crate::options::STREAMED_BYTES_MAX;
use crate::pin::{Cursors, Shared, When};
use crate::refusal::Refusal;
use crate::relationships::{self, Batch, PORTION_ROWS, portion};
use crate::requests;
use crate::telemetry;

/// Edges that one page of relationships looks at; beyond it the page ends where it is.
const PAGE_EDGES_MAX: u64 = 1_000_000;

/// ReadRelationships.
pub(crate) async fn read(
    shared: &Shared,
    request: Request<v1::ReadRelationshipsRequest>,
) -> Result<Response<v1::ReadRelationshipsResponse>, Status> {
    let when = When::of(request.metadata())?;
    let mut message = request.into_inner();
    let (consistency, cursor) = (message.consistency.take(), message.optional_cursor.take());
    let when = when.asking_of(message.optional_as_of.take())?;
    let rows_max = size(std::mem::take(&mut message.page_size), shared.limits.page_rows_max)?;
    let (cursors, place) =
        shared.pin_page("idhini.v1.ReadRelationships", &message, consistency, cursor, when).await?;
    let after = place.map(relationships::position).transpose()?;
    let filter = relationships::asked_for(message.relationship_filter)?;
    check_filter(&filter, cursors.pinned().published.schema().map(AsRef::as_ref)).map_err(Refusal::from)?;
    let (relationships, next_cursor) = page(&cursors, &filter, after, rows_max, when.deadline).await?;
    let read_at = cursors.pinned().zed_token();
    Ok(Response::new(v1::ReadRelationshipsResponse { read_at, relationships, next_cursor }))
}

/// ExportBulkRelationships.
pub(crate) async fn export(
    shared: &Shared,
    request: Request<v1::ExportBulkRelationshipsRequest>,
) -> Result<Response<v1::ExportBulkRelationshipsResponse>, Status> {
    let when = When::of(request.metadata())?;
    let mut message = request.into_inner();
    let (consistency, cursor) = (message.consistency.take(), message.optional_cursor.take());
    let when = when.asking_of(message.optional_as_of.take())?;
    let rows_max = size(std::mem::take(&mut message.page_size), shared.limits.export_rows_max)?;
    let (cursors, place) =
        shared.pin_page("idhini.v1.ExportBulkRelationships", &message, consistency, cursor, when).await?;
    let after = place.map(relationships::position).transpose()?;
    let filter = relationships::asked_of_all(message.optional_relationship_filter)?;
    let (relationships, next_cursor) = page(&cursors, &filter, after, rows_max, when.deadline).await?;
    let exported_at = cursors.pinned().zed_token();
    Ok(Response::new(v1::ExportBulkRelationshipsResponse { exported_at, relationships, next_cursor }))
}

/// LookupResources.
pub(crate) async fn resources(
    shared: &Shared,
    request: Request<v1::LookupResourcesRequest>,
) -> Result<Response<v1::LookupResourcesResponse>, Status> {
    let when = When::of(request.metadata())?;
    let mut message = request.into_inner();
    let (consistency, cursor) = (message.consistency.take(), message.optional_cursor.take());
    let when = when.asking_of(message.optional_as_of.take())?;
    let rows_max = size(std::mem::take(&mut message.page_size), shared.limits.page_rows_max)?;
    let (cursors, place) =
        shared.pin_page("idhini.v1.LookupResources", &message, consistency, cursor, when).await?;
    let after = place.as_deref().map(lookups::position).transpose()?;
    let asked = AskedResources::of(authzed::LookupResourcesRequest {
        resource_object_type: message.resource_object_type,
        permission: message.permission,
        subject: message.subject,
        context: message.context,
        ..Default::default()
    })?;
    let mut lookup = asked.open(&cursors, after, shared.question_limits())?;
    let mut found = Found::new(rows_max);
    let mut pace = Pace::new(when.deadline);
    loop {
        let one = next(when.deadline, |fuel| lookup.advance(fuel)).await;
        pace.at(lookup.cost()).await?;
        let Some(one) = one? else { break };
        found.push(v1::FoundResource {
            resource_object_id: one.object_id.to_owned(),
            permissionship: lookups::lookup_permissionship(&one.answer) as i32,
            partial_caveat_info: crate::checks::partial_caveat_info(&one.answer),
        });
        if found.is_full() {
            found.next_cursor = cursors.after(&lookups::place(one.position));
            lookups::keep_reached(&cursors, &lookup);
            break;
        }
    }
    let looked_up_at = cursors.pinned().zed_token();
    let Found { items: resources, next_cursor, .. } = found;
    Ok(Response::new(v1::LookupResourcesResponse { looked_up_at, resources, next_cursor }))
}

/// LookupSubjects.
pub(crate) async fn subjects(
    shared: &Shared,
    request: Request<v1::LookupSubjectsRequest>,
) -> Result<Response<v1::LookupSubjectsResponse>, Status> {
    let when = When::of(request.metadata())?;
    let mut message = request.into_inner();
    let (consistency, cursor) = (message.consistency.take(), message.optional_cursor.take());
    let when = when.asking_of(message.optional_as_of.take())?;
    let rows_max = size(std::mem::take(&mut message.page_size), shared.limits.page_rows_max)?;
    let (cursors, place) =
        shared.pin_page("idhini.v1.LookupSubjects", &message, consistency, cursor, when).await?;
    let after = place.as_deref().map(lookups::position).transpose()?;
    let asked = AskedSubjects::of(authzed::LookupSubjectsRequest {
        resource: message.resource,
        permission: message.permission,
        subject_object_type: message.subject_object_type,
        optional_subject_relation: message.optional_subject_relation,
        context: message.context,
        wildcard_option: message.wildcard_option,
        ..Default::default()
    })?;
    let mut lookup = asked.open(&cursors, after, shared.question_limits())?;
    let mut found = Found::new(rows_max);
    let mut pace = Pace::new(when.deadline);
    loop {
        let one = next(when.deadline, |fuel| lookup.advance(fuel)).await;
        pace.at(lookup.cost()).await?;
        let Some(one) = one? else { break };
        if !asked.admits(&one) {
            continue;
        }
        found.push(v1::FoundSubject {
            subject: Some(lookups::resolved(one.object_id, &one.answer)),
            excluded_subjects: one.excluded.iter().map(lookups::excluded).collect(),
        });
        if found.is_full() {
            found.next_cursor = cursors.after(&lookups::place(one.position));
            lookups::keep_named(&cursors, &lookup);
            break;
        }
    }
    let looked_up_at = cursors.pinned().zed_token();
    let Found { items: subjects, next_cursor, .. } = found;
    Ok(Response::new(v1::LookupSubjectsResponse { looked_up_at, subjects, next_cursor }))
}

/// A lookup whose answers come quickly has no pause of its own.
struct Pace {
    deadline: Deadline,
    charged: u64,
    paused: u64,
}

impl Pace {
    fn new(deadline: Deadline) -> Pace {
        Pace { deadline, charged: 0, paused: 0 }
    }

    /// The lookup has spent so much: charges it, and lets others run if it was long since the last time.
    async fn at(&mut self, cost: u64) -> Result<(), Refusal> {
        telemetry::charge(cost - self.charged);
        self.charged = cost;
        if cost - self.paused >= FUEL {
            self.paused = cost;
            self.deadline.pause().await?;
        }
        Ok(())
    }
}

/// A page of a lookup being filled.
struct Found<T> {
    items: Vec<T>,
    bytes: usize,
    rows_max: usize,
    next_cursor: Option<authzed::Cursor>,
}

impl<T: Message> Found<T> {
    fn new(rows_max: usize) -> Found<T> {
        Found { items: Vec::new(), bytes: 0, rows_max, next_cursor: None }
    }

    fn push(&mut self, item: T) {
        self.bytes += item.encoded_len();
        self.items.push(item);
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.rows_max || self.bytes >= STREAMED_BYTES_MAX
    }
}

/// The page size; 0 is as many as there may be.
pub(super) fn size(given: u32, max: u32) -> Result<usize, Refusal> {
    Ok(requests::limit(given, max)?.unwrap_or(max) as usize)
}

/// A page of relationships, and the cursor behind it unless it is the last.
async fn page(
    cursors: &Cursors,
    filter: &idhini_replica::Filter,
    mut after: Option<Position>,
    rows_max: usize,
    deadline: Deadline,
) -> Result<(Vec<authzed::Relationship>, Option<authzed::Cursor>), Refusal> {
    let mut batch = Batch::default();
    let mut edges_left = PAGE_EDGES_MAX;
    loop {
        let left = rows_max - batch.relationships.len();
        let read = portion(cursors, filter, after, left.min(PORTION_ROWS));
        edges_left = edges_left.saturating_sub(read.edges);
        let mut rows = read.rows.into_iter();
        for row in rows.by_ref() {
            batch.push(row.relationship.into(), row.position);
            if batch.is_full(rows_max) {
                break;
            }
        }
        let is_read = rows.len() == 0;
        let Some(next) = read.next.filter(|_| is_read).or(batch.last.filter(|_| !is_read)) else {
            return Ok((batch.relationships, None));
        };
        if batch.is_full(rows_max) || edges_left == 0 {
            return Ok((batch.relationships, cursors.after(&next.to_bytes())));
        }
        after = Some(next);
        deadline.pause().await?;
    }
}
