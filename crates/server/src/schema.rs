//! The schema: read, written, reflected, compared.

use std::sync::Arc;

use idhini_replica::ReplicaError;
use idhini_schema::{DependenceError, MemberReference, ReflectionFilter, Schema};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use tonic::{Request, Response, Status};

use crate::audit::Change;
use crate::deadline::Deadline;
use crate::options::SCHEMA_BYTES_MAX;
use crate::pin::{Pinned, Shared, When};
use crate::reflection;
use crate::refusal::Refusal;

/// ReadSchema.
pub(crate) async fn read(
    shared: &Shared,
    request: Request<v1::ReadSchemaRequest>,
) -> Result<Response<v1::ReadSchemaResponse>, Status> {
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let pinned = shared.pin(None, when).await?;
    leave_worker(&pinned, deadline).await?;
    let schema = pinned.published.schema().ok_or_else(Refusal::no_schema)?;
    let schema_text = schema.canonical_text();
    Ok(Response::new(v1::ReadSchemaResponse { schema_text, read_at: pinned.zed_token() }))
}

/// WriteSchema.
pub(crate) async fn write(
    shared: &Shared,
    request: Request<v1::WriteSchemaRequest>,
) -> Result<Response<v1::WriteSchemaResponse>, Status> {
    let change = Change::of(&request);
    let text = bounded(request.into_inner().schema)?;
    let change = change.noting(|recording| {
        recording.note("schema", &text);
        recording.note("schema_hash", blake3::hash(text.as_bytes()));
    });
    let written =
        change.make(|wanted| shared.namespace.write_schema(text, wanted), |revision| Some(*revision));
    let revision = written.await?;
    Ok(Response::new(v1::WriteSchemaResponse { written_at: shared.token(revision) }))
}

fn bounded(text: String) -> Result<String, Refusal> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(Refusal::invalid(format!(
            "the schema has {} bytes; at most {SCHEMA_BYTES_MAX} are taken",
            text.len()
        ))
        .because(ErrorReason::SchemaParseError));
    }
    Ok(text)
}

/// What is told of a long schema takes long.
const LIGHT_SCHEMA_BYTES_MAX: usize = 32 * 1024;

async fn leave_worker(pinned: &Pinned, deadline: Deadline) -> Result<(), Refusal> {
    let is_long = pinned.published.root().schema_text().len() > LIGHT_SCHEMA_BYTES_MAX;
    if is_long { deadline.pause().await } else { Ok(()) }
}

/// The schema of a snapshot; before the first, one that defines nothing.
fn schema_of(pinned: &Pinned) -> Arc<Schema> {
    pinned.published.schema().map_or_else(|| Arc::new(Schema::empty()), Arc::clone)
}

/// ReflectSchema.
pub(crate) async fn reflect(
    shared: &Shared,
    request: Request<v1::ReflectSchemaRequest>,
) -> Result<Response<v1::ReflectSchemaResponse>, Status> {
    let when = When::of(request.metadata())?;
    let message = request.into_inner();
    let mut filters = Vec::with_capacity(message.optional_filters.len());
    for filter in message.optional_filters {
        let text = reflection::filter_text(&filter);
        let filter: ReflectionFilter = reflection::filter(filter);
        // Each filter is judged by itself, so that the refusal can name it.
        Schema::empty().reflect(std::slice::from_ref(&filter)).map_err(|error| {
            Refusal::invalid(error.to_string()).because(ErrorReason::InvalidFilter).with("filter", text)
        })?;
        filters.push(filter);
    }
    let deadline = when.deadline;
    let pinned = shared.pin(message.consistency, when).await?;
    leave_worker(&pinned, deadline).await?;
    let reflected = schema_of(&pinned).reflect(&filters);
    let reflected = reflected.map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok(Response::new(v1::ReflectSchemaResponse {
        definitions: reflected.definitions.into_iter().map(reflection::definition).collect(),
        caveats: reflected.caveats.into_iter().map(reflection::caveat).collect(),
        read_at: pinned.zed_token(),
    }))
}

/// ComputablePermissions.
pub(crate) async fn computable(
    shared: &Shared,
    request: Request<v1::ComputablePermissionsRequest>,
) -> Result<Response<v1::ComputablePermissionsResponse>, Status> {
    let when = When::of(request.metadata())?;
    let message = request.into_inner();
    let deadline = when.deadline;
    let pinned = shared.pin(message.consistency, when).await?;
    leave_worker(&pinned, deadline).await?;
    let member = Some(message.relation_name.as_str()).filter(|name| !name.is_empty());
    let found = schema_of(&pinned).computable(&message.definition_name, member).map_err(refused)?;
    let prefix = message.optional_definition_name_filter;
    let found = found.into_iter().filter(|m| m.definition.starts_with(&prefix)).map(reference);
    Ok(Response::new(v1::ComputablePermissionsResponse {
        permissions: found.collect(),
        read_at: pinned.zed_token(),
    }))
}

/// DependentRelations.
pub(crate) async fn dependent(
    shared: &Shared,
    request: Request<v1::DependentRelationsRequest>,
) -> Result<Response<v1::DependentRelationsResponse>, Status> {
    let when = When::of(request.metadata())?;
    let message = request.into_inner();
    let deadline = when.deadline;
    let pinned = shared.pin(message.consistency, when).await?;
    leave_worker(&pinned, deadline).await?;
    let found = schema_of(&pinned)
        .dependencies(&message.definition_name, &message.permission_name)
        .map_err(refused)?;
    Ok(Response::new(v1::DependentRelationsResponse {
        relations: found.into_iter().map(reference).collect(),
        read_at: pinned.zed_token(),
    }))
}

/// DiffSchema.
pub(crate) async fn diff(
    shared: &Shared,
    request: Request<v1::DiffSchemaRequest>,
) -> Result<Response<v1::DiffSchemaResponse>, Status> {
    let when = When::of(request.metadata())?;
    let message = request.into_inner();
    let deadline = when.deadline;
    let pinned = shared.pin(message.consistency, when).await?;
    leave_worker(&pinned, deadline).await?;
    let text = bounded(message.comparison_schema)?;
    let new = Schema::parse(&text).map_err(|error| Refusal::from(ReplicaError::Schema(error)))?;
    Ok(Response::new(v1::DiffSchemaResponse {
        diffs: reflection::schema_differences(&schema_of(&pinned), &new),
        read_at: pinned.zed_token(),
    }))
}

fn reference(member: MemberReference) -> v1::ReflectionRelationReference {
    v1::ReflectionRelationReference {
        definition_name: member.definition,
        relation_name: member.member,
        is_permission: member.is_permission,
    }
}

fn refused(error: DependenceError) -> Refusal {
    let text = error.to_string();
    match error {
        DependenceError::UnknownDefinition { definition } => Refusal::unknown_definition(&definition),
        DependenceError::UnknownMember { definition, member } => {
            Refusal::unknown_member(&definition, &member)
        }
        DependenceError::NotAPermission { definition, member } => Refusal::invalid(text)
            .because(ErrorReason::UnknownRelationOrPermission)
            .with("definition_name", definition)
            .with("relation_or_permission_name", member),
        _ => Refusal::invalid(text),
    }
}
