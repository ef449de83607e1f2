//! Which calls are answered? The services of the contract, each call handed to the module that answers it.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_server::PermissionsService;
use idhini_wire::authzed::api::v1::schema_service_server::SchemaService;
use idhini_wire::authzed::api::v1::watch_service_server::WatchService;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::admission::tenant;
use crate::lookups::Answers;
use crate::watch::Stopping;
use crate::{checks, lookups, relationships, schema, watch};

/// `PermissionsService` over what a call sees.
#[derive(Debug, Clone)]
pub(crate) struct Permissions;

/// `SchemaService` over what a call sees.
#[derive(Debug, Clone)]
pub(crate) struct Schemas;

/// `WatchService` over what a call sees.
#[derive(Debug, Clone)]
pub(crate) struct Watches(pub(crate) Stopping);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl PermissionsService for Permissions {
    type ReadRelationshipsStream = Answers<v1::ReadRelationshipsResponse>;
    type LookupResourcesStream = Answers<v1::LookupResourcesResponse>;
    type LookupSubjectsStream = Answers<v1::LookupSubjectsResponse>;
    type ExportBulkRelationshipsStream = Answers<v1::ExportBulkRelationshipsResponse>;

    async fn read_relationships(
        &self,
        request: Request<v1::ReadRelationshipsRequest>,
    ) -> Answer<Self::ReadRelationshipsStream> {
        relationships::read(&*tenant(&request)?, request).await
    }

    async fn write_relationships(
        &self,
        request: Request<v1::WriteRelationshipsRequest>,
    ) -> Answer<v1::WriteRelationshipsResponse> {
        relationships::write(&*tenant(&request)?, request).await
    }

    async fn delete_relationships(
        &self,
        request: Request<v1::DeleteRelationshipsRequest>,
    ) -> Answer<v1::DeleteRelationshipsResponse> {
        relationships::delete(&*tenant(&request)?, request).await
    }

    async fn check_permission(
        &self,
        request: Request<v1::CheckPermissionRequest>,
    ) -> Answer<v1::CheckPermissionResponse> {
        checks::check(&*tenant(&request)?, request).await
    }

    async fn check_bulk_permissions(
        &self,
        request: Request<v1::CheckBulkPermissionsRequest>,
    ) -> Answer<v1::CheckBulkPermissionsResponse> {
        checks::check_bulk(&*tenant(&request)?, request).await
    }

    async fn expand_permission_tree(
        &self,
        request: Request<v1::ExpandPermissionTreeRequest>,
    ) -> Answer<v1::ExpandPermissionTreeResponse> {
        checks::expand(&*tenant(&request)?, request).await
    }

    async fn lookup_resources(
        &self,
        request: Request<v1::LookupResourcesRequest>,
    ) -> Answer<Self::LookupResourcesStream> {
        lookups::resources(&*tenant(&request)?, request).await
    }

    async fn lookup_subjects(
        &self,
        request: Request<v1::LookupSubjectsRequest>,
    ) -> Answer<Self::LookupSubjectsStream> {
        lookups::subjects(&*tenant(&request)?, request).await
    }

    async fn import_bulk_relationships(
        &self,
        request: Request<Streaming<v1::ImportBulkRelationshipsRequest>>,
    ) -> Answer<v1::ImportBulkRelationshipsResponse> {
        relationships::import(&*tenant(&request)?, request).await
    }

    async fn export_bulk_relationships(
        &self,
        request: Request<v1::ExportBulkRelationshipsRequest>,
    ) -> Answer<Self::ExportBulkRelationshipsStream> {
        let shared = tenant(&request)?;
        relationships::export(&shared, request, shared.limits.export_rows_max).await
    }
}

#[async_trait]
impl SchemaService for Schemas {
    async fn read_schema(&self, request: Request<v1::ReadSchemaRequest>) -> Answer<v1::ReadSchemaResponse> {
        schema::read(&*tenant(&request)?, request).await
    }

    async fn write_schema(
        &self,
        request: Request<v1::WriteSchemaRequest>,
    ) -> Answer<v1::WriteSchemaResponse> {
        schema::write(&*tenant(&request)?, request).await
    }

    async fn reflect_schema(
        &self,
        request: Request<v1::ReflectSchemaRequest>,
    ) -> Answer<v1::ReflectSchemaResponse> {
        schema::reflect(&*tenant(&request)?, request).await
    }

    async fn computable_permissions(
        &self,
        request: Request<v1::ComputablePermissionsRequest>,
    ) -> Answer<v1::ComputablePermissionsResponse> {
        schema::computable(&*tenant(&request)?, request).await
    }

    async fn dependent_relations(
        &self,
        request: Request<v1::DependentRelationsRequest>,
    ) -> Answer<v1::DependentRelationsResponse> {
        schema::dependent(&*tenant(&request)?, request).await
    }

    async fn diff_schema(&self, request: Request<v1::DiffSchemaRequest>) -> Answer<v1::DiffSchemaResponse> {
        schema::diff(&*tenant(&request)?, request).await
    }
}

#[async_trait]
impl WatchService for Watches {
    type WatchStream = Answers<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        watch::watch(&*tenant(&request)?, self.0.clone(), request).await
    }
}
