//! The schema: read, written, reflected, compared.

use std::sync::Arc;

use idhini_caveat::{Caveat, Parameter};
use idhini_schema::{AllowedSubject, Definition, Permission, Relation, Schema, SubjectKind};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use idhini_wire::authzed::api::v1::reflection_type_reference::Typeref;
use tonic::{Request, Response, Status};

use crate::options::SCHEMA_BYTES_MAX;
use crate::pin::Shared;
use crate::refusal::Refusal;
use crate::relationships::blocking;

/// ReadSchema.
pub(crate) fn read(shared: &Shared) -> Result<Response<v1::ReadSchemaResponse>, Status> {
    let pinned = shared.pin(None)?;
    let schema = pinned.published.schema().ok_or_else(Refusal::no_schema)?;
    let schema_text = schema.canonical_text();
    Ok(Response::new(v1::ReadSchemaResponse { schema_text, read_at: pinned.zed_token() }))
}

/// WriteSchema.
pub(crate) async fn write(
    shared: &Shared,
    request: Request<v1::WriteSchemaRequest>,
) -> Result<Response<v1::WriteSchemaResponse>, Status> {
    let text = bounded(request.into_inner().schema)?;
    let revision = blocking(&shared.namespace, move |namespace| namespace.write_schema(&text)).await?;
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

/// ReflectSchema.
pub(crate) fn reflect(
    shared: &Shared,
    request: Request<v1::ReflectSchemaRequest>,
) -> Result<Response<v1::ReflectSchemaResponse>, Status> {
    let message = request.into_inner();
    let filters = message.optional_filters;
    filters.iter().try_for_each(check_filter)?;
    let pinned = shared.pin(message.consistency)?;
    let (mut definitions, mut caveats) = (Vec::new(), Vec::new());
    if let Some(schema) = pinned.published.schema() {
        definitions = schema.definitions().iter().filter_map(|d| reflected(d, &filters)).collect();
        caveats = schema
            .caveats()
            .iter()
            .filter(|c| filters.is_empty() || filters.iter().any(|f| admits_caveat(f, c.name())))
            .map(|c| caveat(schema, c))
            .collect();
    }
    Ok(Response::new(v1::ReflectSchemaResponse { definitions, caveats, read_at: pinned.zed_token() }))
}

/// Filters are prefixes; members are asked for within a definition, and one kind at a time.
fn check_filter(filter: &v1::ReflectionSchemaFilter) -> Result<(), Refusal> {
    let set = |text: &String| !text.is_empty();
    let definition = set(&filter.optional_definition_name_filter);
    let relation = set(&filter.optional_relation_name_filter);
    let permission = set(&filter.optional_permission_name_filter);
    let why = if definition && set(&filter.optional_caveat_name_filter) {
        "cannot filter by both definition and caveat name"
    } else if relation && permission {
        "cannot filter by both relation and permission name"
    } else if (relation || permission) && !definition {
        "filtering by relation or permission name needs a definition name"
    } else {
        return Ok(());
    };
    let fields = [
        ("optional_definition_name_filter", &filter.optional_definition_name_filter),
        ("optional_caveat_name_filter", &filter.optional_caveat_name_filter),
        ("optional_relation_name_filter", &filter.optional_relation_name_filter),
        ("optional_permission_name_filter", &filter.optional_permission_name_filter),
    ];
    let text: Vec<String> =
        fields.into_iter().filter(|(_, v)| set(v)).map(|(name, v)| format!("{name}:{v:?}")).collect();
    Err(Refusal::invalid(format!("the schema filter provided is not valid: {why}"))
        .because(ErrorReason::InvalidFilter)
        .with("filter", text.join(" ")))
}

fn admits_caveat(filter: &v1::ReflectionSchemaFilter, name: &str) -> bool {
    let prefix = &filter.optional_caveat_name_filter;
    !prefix.is_empty() && name.starts_with(prefix.as_str())
}

/// A filter's prefixes: of relations, and of permissions.
fn member_prefixes(filter: &v1::ReflectionSchemaFilter) -> (&str, &str) {
    (&filter.optional_relation_name_filter, &filter.optional_permission_name_filter)
}

/// A definition with the members that some filter asks for; `None` if no filter asks for it.
fn reflected(
    definition: &Definition,
    filters: &[v1::ReflectionSchemaFilter],
) -> Option<v1::ReflectionDefinition> {
    let of_this: Vec<_> = filters
        .iter()
        .filter(|f| {
            let prefix = &f.optional_definition_name_filter;
            !prefix.is_empty() && definition.name.starts_with(prefix.as_str())
        })
        .collect();
    if of_this.is_empty() && !filters.is_empty() {
        return None;
    }
    // A filter without names of members asks for all; one that names relations asks for no permission, and vice versa.
    let admits = |name: &str, is_relation: bool| {
        let asks = |filter: &v1::ReflectionSchemaFilter| match (member_prefixes(filter), is_relation) {
            (("", ""), _) => true,
            (("", _), true) | ((_, ""), false) => false,
            ((prefix, _), true) | ((_, prefix), false) => name.starts_with(prefix),
        };
        filters.is_empty() || of_this.iter().any(|f| asks(f))
    };
    let relations = definition.relations.iter().filter(|r| admits(&r.name, true));
    let permissions = definition.permissions.iter().filter(|p| admits(&p.name, false));
    Some(v1::ReflectionDefinition {
        relations: relations.map(|r| relation(&definition.name, r)).collect(),
        permissions: permissions.map(|p| permission(&definition.name, p)).collect(),
        ..bare_definition(definition)
    })
}

fn bare_definition(definition: &Definition) -> v1::ReflectionDefinition {
    v1::ReflectionDefinition {
        name: definition.name.clone(),
        comment: definition.comments.join("\n"),
        relations: Vec::new(),
        permissions: Vec::new(),
    }
}

fn relation(definition: &str, relation: &Relation) -> v1::ReflectionRelation {
    v1::ReflectionRelation {
        name: relation.name.clone(),
        comment: relation.comments.join("\n"),
        parent_definition_name: definition.to_owned(),
        subject_types: relation.subjects.iter().map(type_reference).collect(),
    }
}

fn permission(definition: &str, permission: &Permission) -> v1::ReflectionPermission {
    v1::ReflectionPermission {
        name: permission.name.clone(),
        comment: permission.comments.join("\n"),
        parent_definition_name: definition.to_owned(),
    }
}

fn type_reference(subject: &AllowedSubject) -> v1::ReflectionTypeReference {
    v1::ReflectionTypeReference {
        subject_definition_name: subject.subject_type.clone(),
        optional_caveat_name: subject.caveat.clone().unwrap_or_default(),
        typeref: Some(match &subject.kind {
            SubjectKind::Object => Typeref::IsTerminalSubject(true),
            SubjectKind::Wildcard => Typeref::IsPublicWildcard(true),
            SubjectKind::Userset(relation) => Typeref::OptionalRelationName(relation.clone()),
        }),
    }
}

fn caveat(schema: &Schema, caveat: &Arc<Caveat>) -> v1::ReflectionCaveat {
    v1::ReflectionCaveat {
        name: caveat.name().to_owned(),
        comment: schema.caveat_comments(caveat.name()).join("\n"),
        parameters: caveat.parameters().iter().map(|p| parameter(caveat.name(), p)).collect(),
        expression: caveat.expression().to_owned(),
    }
}

fn parameter(caveat: &str, parameter: &Parameter) -> v1::ReflectionCaveatParameter {
    v1::ReflectionCaveatParameter {
        name: parameter.name.clone(),
        r#type: parameter.value_type.to_string(),
        parent_caveat_name: caveat.to_owned(),
    }
}

/// PENDING
pub(crate) fn computable(
    _: &Shared,
    _: Request<v1::ComputablePermissionsRequest>,
) -> Result<Response<v1::ComputablePermissionsResponse>, Status> {
    Err(Status::unimplemented(""))
}
pub(crate) fn dependent(
    _: &Shared,
    _: Request<v1::DependentRelationsRequest>,
) -> Result<Response<v1::DependentRelationsResponse>, Status> {
    Err(Status::unimplemented(""))
}
pub(crate) fn diff(
    _: &Shared,
    _: Request<v1::DiffSchemaRequest>,
) -> Result<Response<v1::DiffSchemaResponse>, Status> {
    Err(Status::unimplemented(""))
}
