//! Relationships written, deleted, read back, imported and exported.
//!
//! # Invariants
//! * A write whose deadline has passed, or whose client has left, is called off until it is handed to the log.
//! * An import is one entry: a stream that breaks off leaves nothing behind.

use idhini_model::{Relationship, Revision};
use idhini_replica::{Filter, Import, Operation, Page, Portion, Position, Update, Write, check_filter};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use crate::audit::{self, Change};
use crate::deadline::{Deadline, FUEL};
use crate::lookups::Answers;
use crate::options::STREAMED_BYTES_MAX;
use crate::pin::{Cursors, Shared, When};
use crate::refusal::Refusal;
use crate::requests;
use crate::seal::SealError;
use crate::telemetry;

/// Relationships fetched between two pauses.
pub(crate) const PORTION_ROWS: usize = 512;

/// WriteRelationships.
pub(crate) async fn write(
    shared: &Shared,
    request: Request<v1::WriteRelationshipsRequest>,
) -> Result<Response<v1::WriteRelationshipsResponse>, Status> {
    let change = Change::of(&request);
    let write = requests::write(request.into_inner(), &shared.limits)?;
    let revision = written(shared, change, write).await?;
    Ok(Response::new(v1::WriteRelationshipsResponse { written_at: shared.token(revision) }))
}

/// Writes what was asked for.
pub(crate) async fn written(shared: &Shared, change: Change, write: Write) -> Result<Revision, Refusal> {
    let change = change.noting(|recording| {
        recording.note_all("updates", write.updates.iter().map(update_text));
        if !write.preconditions.is_empty() {
            recording.note_number("preconditions", write.preconditions.len());
        }
    });
    change.make(|wanted| shared.namespace.write(write, wanted), |revision| Some(*revision)).await
}

/// Without the caveat's context, which is nobody's business.
fn update_text(update: &Update) -> String {
    let operation = match update.operation {
        Operation::Create => "CREATE",
        Operation::Touch => "TOUCH",
        Operation::Delete => "DELETE",
    };
    relationship_text(operation, &update.relationship)
}

fn relationship_text(operation: &str, relationship: &Relationship) -> String {
    let Relationship { resource, relation, subject, caveat, expires_at } = relationship;
    let mut text = format!("{operation} {resource}#{relation}@{subject}");
    if let Some(caveat) = caveat {
        text.push_str(&format!("[{}]", caveat.name));
    }
    if let Some(at) = expires_at {
        text.push_str(&format!("[expiration:{at}]"));
    }
    text
}

/// DeleteRelationships.
pub(crate) async fn delete(
    shared: &Shared,
    request: Request<v1::DeleteRelationshipsRequest>,
) -> Result<Response<v1::DeleteRelationshipsResponse>, Status> {
    use v1::delete_relationships_response::DeletionProgress;
    let change = Change::of(&request).noting(|recording| {
        let filter = request.get_ref().relationship_filter.as_ref();
        recording.note("filter", filter.map(requests::filter_text).unwrap_or_default());
    });
    let delete = requests::delete(request.into_inner(), &shared.limits)?;
    let deleted = change
        .make(|wanted| shared.namespace.delete(delete, wanted), |deleted| Some(deleted.revision))
        .await?;
    let progress = if deleted.is_partial { DeletionProgress::Partial } else { DeletionProgress::Complete };
    Ok(Response::new(v1::DeleteRelationshipsResponse {
        deleted_at: shared.token(deleted.revision),
        deletion_progress: progress as i32,
        relationships_deleted_count: deleted.count,
    }))
}

/// ImportBulkRelationships, also by its older name, whose messages have another type.
pub(crate) async fn import<M: Into<v1::ImportBulkRelationshipsRequest>>(
    shared: &Shared,
    request: Request<Streaming<M>>,
) -> Result<Response<v1::ImportBulkRelationshipsResponse>, Status> {
    let change = Change::of(&request);
    let deadline = Deadline::of(request.metadata());
    let mut stream = request.into_inner();
    let max = shared.limits.import_relationships_max;
    let mut relationships = Import::default();
    let mut told = change.is_told().then(audit::import_list);
    while let Some(message) = stream.message().await.map_err(requests::broken_off)? {
        let message: v1::ImportBulkRelationshipsRequest = message.into();
        if message.relationships.len() > max - relationships.len() {
            return Err(Refusal::invalid(format!(
                "an import is one transaction of at most {max} relationships; send the rest as another"
            ))
            .because(ErrorReason::ExceedsMaximumAllowableLimit)
            .with("maximum_limit_allowed", max)
            .into());
        }
        for (at, relationship) in message.relationships.into_iter().enumerate() {
            // A long message is no reason to go on for a client that has left.
            if at > 0 && at.is_multiple_of(PORTION_ROWS) {
                deadline.pause().await?;
            }
            let relationship = requests::relationship(relationship, &shared.limits)?;
            if let Some(told) = &mut told {
                told.push(&relationship_text("CREATE", &relationship));
            }
            relationships.push(relationship);
        }
    }
    let count = relationships.len();
    if count > 0 {
        let change = change.noting(|recording| {
            recording.note_number("count", count);
            told.into_iter().for_each(|told| recording.note_list("updates", told));
        });
        change
            .make(|wanted| shared.namespace.import(relationships, wanted), |revision| Some(*revision))
            .await?;
    }
    Ok(Response::new(v1::ImportBulkRelationshipsResponse { num_loaded: count as u64 }))
}

/// ReadRelationships.
pub(crate) async fn read(
    shared: &Shared,
    request: Request<v1::ReadRelationshipsRequest>,
) -> Result<Response<Answers<v1::ReadRelationshipsResponse>>, Status> {
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let mut message = request.into_inner();
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = requests::limit(std::mem::take(&mut message.optional_limit), shared.limits.page_rows_max)?;
    let (cursors, place) = shared.pin_page("ReadRelationships", &message, consistency, cursor, when).await?;
    let filter = asked_for(message.relationship_filter)?;
    check_filter(&filter, cursors.pinned().published.schema().map(AsRef::as_ref)).map_err(Refusal::from)?;
    let mut after = place.map(position).transpose()?;
    let answers = async_stream::try_stream! {
        let mut left = limit.map_or(usize::MAX, |l| l as usize);
        while left > 0 {
            let page = portion(&cursors, &filter, after, left.min(PORTION_ROWS));
            for row in page.rows {
                left -= 1;
                yield v1::ReadRelationshipsResponse {
                    read_at: cursors.pinned().zed_token(),
                    relationship: Some(row.relationship.into()),
                    after_result_cursor: cursors.after(&row.position.to_bytes()),
                };
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            deadline.pause().await?;
        }
    };
    Ok(Response::new(Box::pin(answers)))
}

/// ExportBulkRelationships, also by its older name: everything, in messages of at most `limit` relationships, of which
/// `max` may be asked for.
pub(crate) async fn export(
    shared: &Shared,
    request: Request<v1::ExportBulkRelationshipsRequest>,
    max: u32,
) -> Result<Response<Answers<v1::ExportBulkRelationshipsResponse>>, Status> {
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let mut message = request.into_inner();
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let rows_max = requests::limit(std::mem::take(&mut message.optional_limit), max)?.unwrap_or(max) as usize;
    let (cursors, place) =
        shared.pin_page("ExportBulkRelationships", &message, consistency, cursor, when).await?;
    let filter = asked_of_all(message.optional_relationship_filter)?;
    let mut after = place.map(position).transpose()?;
    let answers = async_stream::try_stream! {
        let mut batch = Batch::default();
        loop {
            let page = portion(&cursors, &filter, after, PORTION_ROWS.min(rows_max));
            for row in page.rows {
                batch.push(row.relationship.into(), row.position);
                if batch.is_full(rows_max) {
                    yield batch.take(&cursors);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            deadline.pause().await?;
        }
        if !batch.relationships.is_empty() {
            yield batch.take(&cursors);
        }
    };
    Ok(Response::new(Box::pin(answers)))
}

/// The filter that must be there.
pub(crate) fn asked_for(filter: Option<v1::RelationshipFilter>) -> Result<Filter, Refusal> {
    asked_of_all(Some(requests::required(filter, "relationship_filter")?))
}

/// The same where all is asked for without a filter.
pub(crate) fn asked_of_all(filter: Option<v1::RelationshipFilter>) -> Result<Filter, Refusal> {
    audit::noting(|recording| {
        recording.note("filter", filter.as_ref().map(requests::filter_text).unwrap_or_default());
    });
    Ok(filter.map(requests::filter).transpose()?.unwrap_or_default())
}

/// A message of relationships being filled.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) relationships: Vec<v1::Relationship>,
    bytes: usize,
    pub(crate) last: Option<Position>,
}

impl Batch {
    /// Whether it holds so many, or is as long as a message gets.
    pub(crate) fn is_full(&self, rows_max: usize) -> bool {
        self.relationships.len() >= rows_max || self.bytes >= STREAMED_BYTES_MAX
    }

    pub(crate) fn push(&mut self, relationship: v1::Relationship, position: Position) {
        self.bytes += relationship.encoded_len();
        self.relationships.push(relationship);
        self.last = Some(position);
    }

    fn take(&mut self, cursors: &Cursors) -> v1::ExportBulkRelationshipsResponse {
        let Batch { relationships, last, .. } = std::mem::take(self);
        audit::noting(|recording| recording.has_exported(relationships.len()));
        v1::ExportBulkRelationshipsResponse {
            after_result_cursor: last.and_then(|position| cursors.after(&position.to_bytes())),
            relationships,
        }
    }
}

pub(crate) fn portion(cursors: &Cursors, filter: &Filter, after: Option<Position>, rows_max: usize) -> Page {
    let pinned = cursors.pinned();
    let page = pinned.published.read(filter, pinned.instant, after, Portion { rows_max, edges_max: FUEL });
    telemetry::looked_at(page.edges);
    page
}

pub(crate) fn position(place: Vec<u8>) -> Result<Position, Refusal> {
    let bytes =
        <[u8; Position::BYTES]>::try_from(place).map_err(|_| Refusal::cursor(SealError::Unreadable))?;
    Ok(Position::from_bytes(bytes))
}
