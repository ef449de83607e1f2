//! `ExperimentalService`: older names of calls that have since moved, and counters of relationships.
//!
//! The older names are answered by the calls that took their place; only the messages differ. Counters are state of the
//! namespace, and counted when they are asked for.
//!
//! # Invariants
//! * A count is exact, of one snapshot, and names its revision; what has expired at its instant is not counted.
//! * Nothing is said to be still calculating.
//!
//! Cost of a count: that of [`Count`].

use std::future::poll_fn;

use idhini_replica::{Count, CounterChange, ReplicaError};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::experimental_service_server::ExperimentalService;
use idhini_wire::authzed::api::v1::{ErrorReason, experimental_count_relationships_response};
use idhini_wire::member_name;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::admission::tenant;
use crate::audit::{self, Change};
use crate::deadline::FUEL;
use crate::lookups::Answers;
use crate::pin::{Shared, When};
use crate::refusal::Refusal;
use crate::{checks, relationships, requests, schema, telemetry};

/// The older export has always taken a larger `limit` than the newer one.
const EXPORT_ROWS_MAX: u32 = 100_000;

/// `ExperimentalService` over what a call sees.
#[derive(Debug, Clone)]
pub(crate) struct Experimental;

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl ExperimentalService for Experimental {
    type BulkExportRelationshipsStream = Answers<v1::BulkExportRelationshipsResponse>;

    async fn bulk_import_relationships(
        &self,
        request: Request<Streaming<v1::BulkImportRelationshipsRequest>>,
    ) -> Answer<v1::BulkImportRelationshipsResponse> {
        Ok(relationships::import(&*tenant(&request)?, request).await?.map(Into::into))
    }

    async fn bulk_export_relationships(
        &self,
        request: Request<v1::BulkExportRelationshipsRequest>,
    ) -> Answer<Self::BulkExportRelationshipsStream> {
        let shared = tenant(&request)?;
        let max = shared.limits.export_rows_max.max(EXPORT_ROWS_MAX);
        Ok(relationships::export(&shared, request.map(Into::into), max).await?.map(converted))
    }

    async fn bulk_check_permission(
        &self,
        request: Request<v1::BulkCheckPermissionRequest>,
    ) -> Answer<v1::BulkCheckPermissionResponse> {
        Ok(checks::check_bulk(&*tenant(&request)?, request.map(Into::into)).await?.map(Into::into))
    }

    async fn experimental_reflect_schema(
        &self,
        request: Request<v1::ExperimentalReflectSchemaRequest>,
    ) -> Answer<v1::ExperimentalReflectSchemaResponse> {
        Ok(schema::reflect(&*tenant(&request)?, request.map(Into::into)).await?.map(Into::into))
    }

    async fn experimental_computable_permissions(
        &self,
        request: Request<v1::ExperimentalComputablePermissionsRequest>,
    ) -> Answer<v1::ExperimentalComputablePermissionsResponse> {
        Ok(schema::computable(&*tenant(&request)?, request.map(Into::into)).await?.map(Into::into))
    }

    async fn experimental_dependent_relations(
        &self,
        request: Request<v1::ExperimentalDependentRelationsRequest>,
    ) -> Answer<v1::ExperimentalDependentRelationsResponse> {
        Ok(schema::dependent(&*tenant(&request)?, request.map(Into::into)).await?.map(Into::into))
    }

    async fn experimental_diff_schema(
        &self,
        request: Request<v1::ExperimentalDiffSchemaRequest>,
    ) -> Answer<v1::ExperimentalDiffSchemaResponse> {
        Ok(schema::diff(&*tenant(&request)?, request.map(Into::into)).await?.map(Into::into))
    }

    async fn experimental_register_relationship_counter(
        &self,
        request: Request<v1::ExperimentalRegisterRelationshipCounterRequest>,
    ) -> Answer<v1::ExperimentalRegisterRelationshipCounterResponse> {
        let asked = Change::of(&request);
        let shared = tenant(&request)?;
        let message = request.into_inner();
        let name = counter_name(message.name)?;
        let filter = requests::required(message.relationship_filter, "relationship_filter")?;
        let asked = asked.noting(|recording| recording.note("filter", requests::filter_text(&filter)));
        let filter = Some(requests::filter(filter)?);
        change(&shared, CounterChange { name, filter }, asked).await?;
        Ok(Response::new(v1::ExperimentalRegisterRelationshipCounterResponse {}))
    }

    async fn experimental_count_relationships(
        &self,
        request: Request<v1::ExperimentalCountRelationshipsRequest>,
    ) -> Answer<v1::ExperimentalCountRelationshipsResponse> {
        use experimental_count_relationships_response::CounterResult;
        let when = When::of(request.metadata())?;
        let deadline = when.deadline;
        let shared = tenant(&request)?;
        let name = counter_name(request.into_inner().name)?;
        let pinned = shared.pin(None, when).await?;
        audit::noting(|recording| recording.note("counter", &name));
        let Some(filter) = pinned.published.root().counter(&name) else {
            return Err(Refusal::from(ReplicaError::CounterNotRegistered { name }).into());
        };
        let mut count = Count::new(&pinned.published, filter, pinned.instant);
        let relationship_count = loop {
            match count.advance(FUEL) {
                Some(counted) => break counted,
                None => deadline.pause().await?,
            }
        };
        let read_at = pinned.zed_token();
        let value = v1::ReadCounterValue { relationship_count, read_at };
        telemetry::charge(count.cost());
        Ok(Response::new(v1::ExperimentalCountRelationshipsResponse {
            counter_result: Some(CounterResult::ReadCounterValue(value)),
        }))
    }

    async fn experimental_unregister_relationship_counter(
        &self,
        request: Request<v1::ExperimentalUnregisterRelationshipCounterRequest>,
    ) -> Answer<v1::ExperimentalUnregisterRelationshipCounterResponse> {
        let asked = Change::of(&request);
        let shared = tenant(&request)?;
        let name = counter_name(request.into_inner().name)?;
        change(&shared, CounterChange { name, filter: None }, asked).await?;
        Ok(Response::new(v1::ExperimentalUnregisterRelationshipCounterResponse {}))
    }
}

/// Counters are named as relations are.
fn counter_name(name: String) -> Result<String, Refusal> {
    if name.is_empty() {
        return Err(Refusal::invalid("`name` is missing").because(ErrorReason::Unspecified));
    }
    member_name(name, "name")
        .map_err(|error| Refusal::invalid(format!("a counter is named as a relation is: {error}")))
}

async fn change(shared: &Shared, change: CounterChange, asked: Change) -> Result<(), Refusal> {
    let asked = asked.noting(|recording| recording.note("counter", &change.name));
    let changed =
        asked.make(|wanted| shared.namespace.change_counter(change, wanted), |revision| Some(*revision));
    changed.await.map(drop)
}

/// The same answers in the older call's messages.
fn converted<A: Into<B> + Send + 'static, B: Send + 'static>(mut answers: Answers<A>) -> Answers<B> {
    Box::pin(async_stream::try_stream! {
        while let Some(answer) = poll_fn(|context| answers.as_mut().poll_next(context)).await {
            yield answer?.into();
        }
    })
}
