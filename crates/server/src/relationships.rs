//! Relationships written, deleted, read back, imported and exported.
//!
//! # Invariants
//! * Writes run off the tasks that answer questions.
//! * An import is one entry: a stream that breaks off leaves nothing behind.

use std::sync::Arc;

use idhini_replica::{Filter, Namespace, Page, Portion, Position, ReplicaError, Wanted};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use prost::Message as _;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::deadline::{Deadline, FUEL};
use crate::lookups::Answers;
use crate::options::STREAMED_BYTES_MAX;
use crate::pin::{Cursors, Shared};
use crate::refusal::Refusal;
use crate::requests;
use crate::seal::SealError;

/// Relationships fetched between two pauses.
const PORTION_ROWS: usize = 512;

/// WriteRelationships.
pub(crate) async fn write(
    shared: &Shared,
    request: Request<v1::WriteRelationshipsRequest>,
) -> Result<Response<v1::WriteRelationshipsResponse>, Status> {
    let deadline = Deadline::of(request.metadata());
    let write = requests::write(request.into_inner(), &shared.limits)?;
    let writing =
        blocking(&shared.namespace, deadline, move |namespace, wanted| namespace.write(write, wanted));
    let revision = writing.await?;
    Ok(Response::new(v1::WriteRelationshipsResponse { written_at: shared.token(revision) }))
}

/// DeleteRelationships.
pub(crate) async fn delete(
    shared: &Shared,
    request: Request<v1::DeleteRelationshipsRequest>,
) -> Result<Response<v1::DeleteRelationshipsResponse>, Status> {
    use v1::delete_relationships_response::DeletionProgress;
    let deadline = Deadline::of(request.metadata());
    let delete = requests::delete(request.into_inner(), &shared.limits)?;
    let deleting =
        blocking(&shared.namespace, deadline, move |namespace, wanted| namespace.delete(&delete, wanted));
    let deleted = deleting.await?;
    let progress = if deleted.is_partial { DeletionProgress::Partial } else { DeletionProgress::Complete };
    Ok(Response::new(v1::DeleteRelationshipsResponse {
        deleted_at: shared.token(deleted.revision),
        deletion_progress: progress as i32,
        relationships_deleted_count: deleted.count,
    }))
}

/// ImportBulkRelationships.
pub(crate) async fn import(
    shared: &Shared,
    request: Request<Streaming<v1::ImportBulkRelationshipsRequest>>,
) -> Result<Response<v1::ImportBulkRelationshipsResponse>, Status> {
    let deadline = Deadline::of(request.metadata());
    let mut stream = request.into_inner();
    let max = shared.limits.import_relationships_max;
    let mut relationships = Vec::new();
    while let Some(message) = stream.message().await? {
        if message.relationships.len() > max - relationships.len() {
            return Err(Refusal::invalid(format!(
                "an import is one transaction of at most {max} relationships; send the rest as another"
            ))
            .because(ErrorReason::ExceedsMaximumAllowableLimit)
            .with("maximum_limit_allowed", max)
            .into());
        }
        for relationship in message.relationships {
            relationships.push(requests::relationship(relationship, &shared.limits)?);
        }
    }
    let num_loaded = relationships.len() as u64;
    if num_loaded > 0 {
        let importing = blocking(&shared.namespace, deadline, move |namespace, wanted| {
            namespace.import(relationships, wanted)
        });
        importing.await?;
    }
    Ok(Response::new(v1::ImportBulkRelationshipsResponse { num_loaded }))
}

/// Writes wait for each other and may be large, so they run where waiting is free. One whose deadline has passed, or
/// whose client has left, is called off while it waits and until it takes effect.
pub(crate) async fn blocking<T: Send + 'static>(
    namespace: &Arc<Namespace>,
    deadline: Deadline,
    work: impl FnOnce(&Namespace, Wanted<'_>) -> Result<T, ReplicaError> + Send + 'static,
) -> Result<T, Refusal> {
    let namespace = Arc::clone(namespace);
    // A client that leaves drops this call, and with it what the work can still see of it.
    let present = Arc::new(());
    let seen = Arc::downgrade(&present);
    let working = tokio::task::spawn_blocking(move || {
        work(&namespace, &|| !deadline.is_over() && seen.strong_count() > 0)
    });
    let worked = working.await;
    drop(present);
    match worked {
        Ok(result) => Ok(result?),
        // The task can only have panicked: whether the write happened is not known to this call.
        Err(_) => {
            Err(Refusal::new(Code::Internal, "the write failed inside the server; read before repeating it"))
        }
    }
}

/// ReadRelationships.
pub(crate) fn read(
    shared: &Shared,
    request: Request<v1::ReadRelationshipsRequest>,
) -> Result<Response<Answers<v1::ReadRelationshipsResponse>>, Status> {
    let deadline = Deadline::of(request.metadata());
    let mut message = request.into_inner();
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = requests::limit(std::mem::take(&mut message.optional_limit), shared.limits.page_rows_max)?;
    let (cursors, place) = shared.pin_page("ReadRelationships", &message, consistency, cursor)?;
    let filter = requests::filter(requests::required(message.relationship_filter, "relationship_filter")?)?;
    filter.check(cursors.pinned().published.schema().map(AsRef::as_ref)).map_err(Refusal::from)?;
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

/// ExportBulkRelationships: everything, in messages of at most `limit` relationships.
pub(crate) fn export(
    shared: &Shared,
    request: Request<v1::ExportBulkRelationshipsRequest>,
) -> Result<Response<Answers<v1::ExportBulkRelationshipsResponse>>, Status> {
    let deadline = Deadline::of(request.metadata());
    let mut message = request.into_inner();
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let max = shared.limits.export_rows_max;
    let rows_max = requests::limit(std::mem::take(&mut message.optional_limit), max)?.unwrap_or(max) as usize;
    let (cursors, place) = shared.pin_page("ExportBulkRelationships", &message, consistency, cursor)?;
    let filter = message.optional_relationship_filter.map(requests::filter).transpose()?.unwrap_or_default();
    let mut after = place.map(position).transpose()?;
    let answers = async_stream::try_stream! {
        let mut batch = Batch::default();
        loop {
            let page = portion(&cursors, &filter, after, PORTION_ROWS.min(rows_max));
            for row in page.rows {
                batch.push(row.relationship.into(), row.position);
                if batch.relationships.len() >= rows_max || batch.bytes >= STREAMED_BYTES_MAX {
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

/// A message of an export being filled.
#[derive(Default)]
struct Batch {
    relationships: Vec<v1::Relationship>,
    bytes: usize,
    last: Option<Position>,
}

impl Batch {
    fn push(&mut self, relationship: v1::Relationship, position: Position) {
        self.bytes += relationship.encoded_len();
        self.relationships.push(relationship);
        self.last = Some(position);
    }

    fn take(&mut self, cursors: &Cursors) -> v1::ExportBulkRelationshipsResponse {
        let Batch { relationships, last, .. } = std::mem::take(self);
        v1::ExportBulkRelationshipsResponse {
            after_result_cursor: last.and_then(|position| cursors.after(&position.to_bytes())),
            relationships,
        }
    }
}

fn portion(cursors: &Cursors, filter: &Filter, after: Option<Position>, rows_max: usize) -> Page {
    let pinned = cursors.pinned();
    pinned.published.read(filter, pinned.instant, after, Portion { rows_max, edges_max: FUEL })
}

fn position(place: Vec<u8>) -> Result<Position, Refusal> {
    let bytes =
        <[u8; Position::BYTES]>::try_from(place).map_err(|_| Refusal::cursor(SealError::Unreadable))?;
    Ok(Position::from_bytes(bytes))
}
