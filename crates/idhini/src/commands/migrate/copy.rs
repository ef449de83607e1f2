//! What the SpiceDB has at one revision, written to the server to fill.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use idhini_model::Relationship;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use prost_types::Struct;
use tokio::task::JoinSet;
use tonic::Status;

use super::source::{Export, again, exact};
use super::{Ends, MigrateError};
use crate::client::Server;
use crate::failure::Failure;
use crate::output::Style;
use crate::progress;

/// Updates in one request: what servers take unless told otherwise.
pub(super) const UPDATES_MAX: usize = 1_000;
/// Requests that are under way together; they write different relationships.
const REQUESTS_MAX: usize = 4;

/// The newest there is.
pub(super) fn newest() -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(Requirement::FullyConsistent(true)) })
}

/// Whether a server has no relationships.
pub(super) async fn is_empty(server: &Server) -> Result<bool, Failure> {
    if server.schema().await?.is_none() {
        return Ok(true);
    }
    Ok(Export::new(server, newest()).next().await?.is_none_or(|relationships| relationships.is_empty()))
}

/// Writes everything that is there at a revision, or only what is missing; answers how much that was.
pub(super) async fn copy(
    ends: &Ends,
    revision: &str,
    missing: Option<&HashSet<u64>>,
    style: Style,
) -> Result<u64, Failure> {
    let counter = progress::counter("copied", style);
    let mut export = Export::new(&ends.source, exact(revision));
    let mut writing = JoinSet::new();
    let mut count = 0;
    while let Some(mut relationships) = export.next().await? {
        if let Some(missing) = missing {
            relationships.retain(|relationship| {
                // What cannot be read is refused where it is written.
                Relationship::try_from(relationship.clone()).map_or(true, |r| missing.contains(&digest(&r)))
            });
        }
        count += relationships.len() as u64;
        counter.inc(relationships.len() as u64);
        let mut updates =
            relationships.into_iter().map(|relationship| update(Operation::Touch, relationship));
        loop {
            let updates: Vec<v1::RelationshipUpdate> = updates.by_ref().take(UPDATES_MAX).collect();
            if updates.is_empty() {
                break;
            }
            send(&mut writing, &ends.destination, updates).await?;
        }
    }
    wait(&mut writing, 0).await?;
    counter.finish_and_clear();
    Ok(count)
}

/// How the server to fill differs from the SpiceDB.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    /// How many relationships were deleted.
    pub(super) deleted: u64,
    /// The digests of those that are missing now.
    pub(super) missing: HashSet<u64>,
}

/// Deletes what the server to fill has and the SpiceDB has not, or has with another caveat or expiration.
pub(super) async fn prune(ends: &Ends, revision: &str, style: Style) -> Result<Pruned, Failure> {
    let counter = progress::counter("looked at", style);
    let mut there = HashSet::new();
    let is_new = ends.destination.schema().await?.is_none();
    let mut export = Export::new(&ends.source, exact(revision));
    while let Some(relationships) = export.next().await? {
        counter.inc(relationships.len() as u64);
        for relationship in relationships {
            there.insert(digest(&Relationship::try_from(relationship).map_err(MigrateError::from)?));
        }
    }
    if is_new {
        return Ok(Pruned { deleted: 0, missing: there });
    }
    let mut missing = there.clone();
    let mut export = Export::new(&ends.destination, newest());
    let mut writing = JoinSet::new();
    let mut stale = Vec::new();
    let mut count = 0;
    loop {
        let relationships = export.next().await?;
        let is_end = relationships.is_none();
        for relationship in relationships.unwrap_or_default() {
            let known = Relationship::try_from(relationship.clone()).map_err(MigrateError::from)?;
            let digest = digest(&known);
            missing.remove(&digest);
            if !there.contains(&digest) {
                stale.push(update(Operation::Delete, relationship));
                count += 1;
            }
            if stale.len() == UPDATES_MAX {
                send(&mut writing, &ends.destination, std::mem::take(&mut stale)).await?;
            }
        }
        if is_end {
            break;
        }
    }
    if !stale.is_empty() {
        send(&mut writing, &ends.destination, stale).await?;
    }
    wait(&mut writing, 0).await?;
    counter.finish_and_clear();
    Ok(Pruned { deleted: count, missing })
}

/// A number that two relationships share only by the rarest chance, attributes included.
pub(super) fn digest(relationship: &Relationship) -> u64 {
    let mut hasher = DefaultHasher::new();
    relationship.to_string().hash(&mut hasher);
    hasher.finish()
}

pub(super) fn update(operation: Operation, relationship: v1::Relationship) -> v1::RelationshipUpdate {
    v1::RelationshipUpdate { operation: operation as i32, relationship: Some(relationship) }
}

type Writing = JoinSet<Result<(), Status>>;

async fn send(
    writing: &mut Writing,
    server: &Server,
    updates: Vec<v1::RelationshipUpdate>,
) -> Result<(), Status> {
    wait(writing, REQUESTS_MAX - 1).await?;
    let server = server.clone();
    writing.spawn(async move { write(&server, updates, None).await });
    Ok(())
}

/// Waits until no more than so many requests are under way.
async fn wait(writing: &mut Writing, left: usize) -> Result<(), Status> {
    while writing.len() > left {
        match writing.join_next().await {
            Some(Ok(outcome)) => outcome?,
            Some(Err(error)) => return Err(Status::internal(error.to_string())),
            None => break,
        }
    }
    Ok(())
}

/// Writes updates that may be written twice; tries again when that may help.
pub(super) async fn write(
    server: &Server,
    updates: Vec<v1::RelationshipUpdate>,
    metadata: Option<Struct>,
) -> Result<(), Status> {
    let request = v1::WriteRelationshipsRequest {
        updates,
        optional_transaction_metadata: metadata,
        ..Default::default()
    };
    let mut tries = 0;
    loop {
        match server.permissions().write_relationships(server.request(request.clone())).await {
            Ok(_) => return Ok(()),
            Err(status) => again(&mut tries, status).await?,
        }
    }
}
