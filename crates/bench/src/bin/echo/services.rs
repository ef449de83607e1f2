//! The services: what the load clients call is answered, all else is not there.

use std::pin::Pin;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_server::PermissionsService;
use idhini_wire::idhini::v1 as own;
use idhini_wire::idhini::v1::check_stream_request::Request as Asking;
use idhini_wire::idhini::v1::check_stream_response::Response as Answering;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::constant;

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// `authzed.api.v1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authzed;

/// `idhini.v1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own;

fn absent<T>() -> Result<T, Status> {
    Err(Status::unimplemented("the server that does nothing does not even answer this"))
}

/// As many of one message as the limit of the request says.
fn repeated<T: Clone + Send + 'static>(message: T, limit: u32) -> Answer<Answers<T>> {
    let messages = std::iter::repeat_n(message, limit as usize).map(Ok);
    Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
}

#[tonic::async_trait]
impl PermissionsService for Authzed {
    type ReadRelationshipsStream = Answers<v1::ReadRelationshipsResponse>;
    type LookupResourcesStream = Answers<v1::LookupResourcesResponse>;
    type LookupSubjectsStream = Answers<v1::LookupSubjectsResponse>;
    type ExportBulkRelationshipsStream = Answers<v1::ExportBulkRelationshipsResponse>;

    async fn check_permission(
        &self,
        request: Request<v1::CheckPermissionRequest>,
    ) -> Answer<v1::CheckPermissionResponse> {
        std::hint::black_box(request.into_inner());
        Ok(Response::new(constant::check()))
    }

    async fn check_bulk_permissions(
        &self,
        request: Request<v1::CheckBulkPermissionsRequest>,
    ) -> Answer<v1::CheckBulkPermissionsResponse> {
        let item =
            v1::CheckBulkPermissionsResponseItem { permissionship: constant::HAS, ..Default::default() };
        let item = v1::check_bulk_permissions_pair::Response::Item(item);
        let pairs = request.into_inner().items.into_iter().map(|request| v1::CheckBulkPermissionsPair {
            request: Some(request),
            response: Some(item.clone()),
        });
        let pairs = pairs.collect();
        Ok(Response::new(v1::CheckBulkPermissionsResponse { checked_at: constant::token(), pairs }))
    }

    async fn write_relationships(
        &self,
        request: Request<v1::WriteRelationshipsRequest>,
    ) -> Answer<v1::WriteRelationshipsResponse> {
        std::hint::black_box(request.into_inner());
        Ok(Response::new(v1::WriteRelationshipsResponse { written_at: constant::token() }))
    }

    async fn lookup_resources(
        &self,
        request: Request<v1::LookupResourcesRequest>,
    ) -> Answer<Self::LookupResourcesStream> {
        repeated(constant::resource(), request.into_inner().optional_limit)
    }

    async fn lookup_subjects(
        &self,
        request: Request<v1::LookupSubjectsRequest>,
    ) -> Answer<Self::LookupSubjectsStream> {
        repeated(constant::subject(), request.into_inner().optional_concrete_limit)
    }

    async fn import_bulk_relationships(
        &self,
        request: Request<Streaming<v1::ImportBulkRelationshipsRequest>>,
    ) -> Answer<v1::ImportBulkRelationshipsResponse> {
        let mut messages = request.into_inner();
        let mut num_loaded = 0;
        while let Some(message) = messages.message().await? {
            num_loaded += message.relationships.len() as u64;
        }
        Ok(Response::new(v1::ImportBulkRelationshipsResponse { num_loaded }))
    }

    async fn read_relationships(
        &self,
        _: Request<v1::ReadRelationshipsRequest>,
    ) -> Answer<Self::ReadRelationshipsStream> {
        absent()
    }

    async fn delete_relationships(
        &self,
        _: Request<v1::DeleteRelationshipsRequest>,
    ) -> Answer<v1::DeleteRelationshipsResponse> {
        absent()
    }

    async fn expand_permission_tree(
        &self,
        _: Request<v1::ExpandPermissionTreeRequest>,
    ) -> Answer<v1::ExpandPermissionTreeResponse> {
        absent()
    }

    async fn export_bulk_relationships(
        &self,
        _: Request<v1::ExportBulkRelationshipsRequest>,
    ) -> Answer<Self::ExportBulkRelationshipsStream> {
        absent()
    }
}

#[tonic::async_trait]
impl own::permissions_service_server::PermissionsService for Own {
    type CheckStreamStream = Answers<own::CheckStreamResponse>;

    async fn check_stream(
        &self,
        request: Request<Streaming<own::CheckStreamRequest>>,
    ) -> Answer<Self::CheckStreamStream> {
        let answer = |message: Result<own::CheckStreamRequest, Status>| match message.map(|m| m.request) {
            Ok(Some(Asking::Check(item))) => {
                let checked_at = constant::token();
                let permissionship = constant::HAS;
                let answer = own::CheckStreamAnswer { checked_at, permissionship, ..Default::default() };
                let response = Some(Answering::Answer(answer));
                Some(Ok(own::CheckStreamResponse { request_id: item.request_id, response }))
            }
            Ok(_) => None,
            Err(status) => Some(Err(status)),
        };
        Ok(Response::new(Box::pin(request.into_inner().filter_map(answer))))
    }

    async fn write_relationships(
        &self,
        _: Request<own::WriteRelationshipsRequest>,
    ) -> Answer<own::WriteRelationshipsResponse> {
        absent()
    }

    async fn set_relation(&self, _: Request<own::SetRelationRequest>) -> Answer<own::SetRelationResponse> {
        absent()
    }

    async fn read_relationships(
        &self,
        _: Request<own::ReadRelationshipsRequest>,
    ) -> Answer<own::ReadRelationshipsResponse> {
        absent()
    }

    async fn lookup_resources(
        &self,
        _: Request<own::LookupResourcesRequest>,
    ) -> Answer<own::LookupResourcesResponse> {
        absent()
    }

    async fn lookup_subjects(
        &self,
        _: Request<own::LookupSubjectsRequest>,
    ) -> Answer<own::LookupSubjectsResponse> {
        absent()
    }

    async fn export_bulk_relationships(
        &self,
        _: Request<own::ExportBulkRelationshipsRequest>,
    ) -> Answer<own::ExportBulkRelationshipsResponse> {
        absent()
    }

    async fn explain(&self, _: Request<own::ExplainRequest>) -> Answer<own::ExplainResponse> {
        absent()
    }
}
