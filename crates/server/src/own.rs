//! `idhini.v1`: what is asked for beyond the contract, each call handed to the module that answers it.
//!
//! # Invariants
//! * Whatever a call has in common with one of the contract's is that call's own code.

mod access;
mod changes;
mod check_stream;
mod control;
mod explain;
mod guesses;
mod namespaces;
mod pages;
mod secrets;
mod writes;

use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::history_service_server::HistoryService;
use idhini_wire::idhini::v1::permissions_service_server::PermissionsService;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(crate) use self::access::Access;
pub(crate) use self::control::{Control, look_after_tokens, record_last_uses};
pub(crate) use self::namespaces::Namespaces;
pub use self::secrets::Randomness;
#[cfg(test)]
pub(crate) use self::secrets::seeded;
use crate::admission::tenant;
use crate::lookups::Answers;
use crate::watch::Stopping;

/// `PermissionsService` over what a call sees.
#[derive(Debug, Clone)]
pub(crate) struct Permissions(pub(crate) Stopping);

/// `HistoryService` over what a call sees.
#[derive(Debug, Clone)]
pub(crate) struct History;

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl PermissionsService for Permissions {
    type CheckStreamStream = Answers<v1::CheckStreamResponse>;

    async fn write_relationships(
        &self,
        request: Request<v1::WriteRelationshipsRequest>,
    ) -> Answer<v1::WriteRelationshipsResponse> {
        writes::write(&*tenant(&request)?, request).await
    }

    async fn set_relation(
        &self,
        request: Request<v1::SetRelationRequest>,
    ) -> Answer<v1::SetRelationResponse> {
        writes::set_relation(&*tenant(&request)?, request).await
    }

    async fn read_relationships(
        &self,
        request: Request<v1::ReadRelationshipsRequest>,
    ) -> Answer<v1::ReadRelationshipsResponse> {
        pages::read(&*tenant(&request)?, request).await
    }

    async fn lookup_resources(
        &self,
        request: Request<v1::LookupResourcesRequest>,
    ) -> Answer<v1::LookupResourcesResponse> {
        pages::resources(&*tenant(&request)?, request).await
    }

    async fn lookup_subjects(
        &self,
        request: Request<v1::LookupSubjectsRequest>,
    ) -> Answer<v1::LookupSubjectsResponse> {
        pages::subjects(&*tenant(&request)?, request).await
    }

    async fn export_bulk_relationships(
        &self,
        request: Request<v1::ExportBulkRelationshipsRequest>,
    ) -> Answer<v1::ExportBulkRelationshipsResponse> {
        pages::export(&*tenant(&request)?, request).await
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        explain::explain(&*tenant(&request)?, request).await
    }

    async fn check_stream(
        &self,
        request: Request<Streaming<v1::CheckStreamRequest>>,
    ) -> Answer<Self::CheckStreamStream> {
        check_stream::check_stream(&*tenant(&request)?, self.0.clone(), request)
    }
}

#[async_trait]
impl HistoryService for History {
    async fn read_changes(
        &self,
        request: Request<v1::ReadChangesRequest>,
    ) -> Answer<v1::ReadChangesResponse> {
        changes::read(&*tenant(&request)?, request).await
    }
}
