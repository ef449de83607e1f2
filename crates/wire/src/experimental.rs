//! Messages of `ExperimentalService` to those of the calls that took their place, and back.
//!
//! They have the same fields under other names of messages, so that one piece of logic answers both.
//!
//! # Invariants
//! * Each field is named: one that a message gains does not compile until it is converted too.
//!
//! Cost: linear in the message; everything is moved, nothing copied.

use crate::authzed::api::v1;

/// Conversions field by field: plain fields, then repeated and then optional ones that are converted themselves.
macro_rules! twins {
    ($($from:ident => $to:ident { $($plain:ident),* ; $($each:ident),* ; $($maybe:ident),* })*) => {
        $(impl From<v1::$from> for v1::$to {
            fn from(message: v1::$from) -> v1::$to {
                let v1::$from { $($plain,)* $($each,)* $($maybe,)* } = message;
                v1::$to {
                    $($plain,)*
                    $($each: $each.into_iter().map(Into::into).collect(),)*
                    $($maybe: $maybe.map(Into::into),)*
                }
            }
        })*
    };
}

twins! {
    BulkImportRelationshipsRequest => ImportBulkRelationshipsRequest { relationships;; }
    ImportBulkRelationshipsResponse => BulkImportRelationshipsResponse { num_loaded;; }
    BulkExportRelationshipsRequest => ExportBulkRelationshipsRequest {
        consistency, optional_limit, optional_cursor, optional_relationship_filter;;
    }
    ExportBulkRelationshipsResponse => BulkExportRelationshipsResponse { after_result_cursor, relationships;; }
    BulkCheckPermissionRequestItem => CheckBulkPermissionsRequestItem { resource, permission, subject, context;; }
    CheckBulkPermissionsRequestItem => BulkCheckPermissionRequestItem { resource, permission, subject, context;; }
    CheckBulkPermissionsResponse => BulkCheckPermissionResponse { checked_at; pairs; }
    CheckBulkPermissionsPair => BulkCheckPermissionPair {; ; request, response }
    ExperimentalReflectSchemaRequest => ReflectSchemaRequest { consistency; optional_filters; }
    ExpSchemaFilter => ReflectionSchemaFilter {
        optional_definition_name_filter, optional_caveat_name_filter, optional_relation_name_filter,
        optional_permission_name_filter;;
    }
    ReflectSchemaResponse => ExperimentalReflectSchemaResponse { read_at; definitions, caveats; }
    ReflectionDefinition => ExpDefinition { name, comment; relations, permissions; }
    ReflectionCaveat => ExpCaveat { name, comment, expression; parameters; }
    ReflectionCaveatParameter => ExpCaveatParameter { name, r#type, parent_caveat_name;; }
    ReflectionRelation => ExpRelation { name, comment, parent_definition_name; subject_types; }
    ReflectionTypeReference => ExpTypeReference { subject_definition_name, optional_caveat_name;; typeref }
    ReflectionPermission => ExpPermission { name, comment, parent_definition_name;; }
    ReflectionRelationReference => ExpRelationReference { definition_name, relation_name, is_permission;; }
    ExperimentalComputablePermissionsRequest => ComputablePermissionsRequest {
        consistency, definition_name, relation_name, optional_definition_name_filter;;
    }
    ComputablePermissionsResponse => ExperimentalComputablePermissionsResponse { read_at; permissions; }
    ExperimentalDependentRelationsRequest => DependentRelationsRequest {
        consistency, definition_name, permission_name;;
    }
    DependentRelationsResponse => ExperimentalDependentRelationsResponse { read_at; relations; }
    ExperimentalDiffSchemaRequest => DiffSchemaRequest { consistency, comparison_schema;; }
    DiffSchemaResponse => ExperimentalDiffSchemaResponse { read_at; diffs; }
    ReflectionSchemaDiff => ExpSchemaDiff {; ; diff }
    ReflectionRelationSubjectTypeChange => ExpRelationSubjectTypeChange {; ; relation, changed_subject_type }
    ReflectionCaveatParameterTypeChange => ExpCaveatParameterTypeChange { previous_type;; parameter }
}

impl From<v1::BulkCheckPermissionRequest> for v1::CheckBulkPermissionsRequest {
    /// The older call has no traces.
    fn from(message: v1::BulkCheckPermissionRequest) -> v1::CheckBulkPermissionsRequest {
        let v1::BulkCheckPermissionRequest { consistency, items } = message;
        let items = items.into_iter().map(Into::into).collect();
        v1::CheckBulkPermissionsRequest { consistency, items, with_tracing: false }
    }
}

impl From<v1::check_bulk_permissions_pair::Response> for v1::bulk_check_permission_pair::Response {
    fn from(response: v1::check_bulk_permissions_pair::Response) -> v1::bulk_check_permission_pair::Response {
        use v1::check_bulk_permissions_pair::Response;
        match response {
            Response::Item(v1::CheckBulkPermissionsResponseItem {
                permissionship,
                partial_caveat_info,
                // Not asked for.
                debug_trace: _,
            }) => v1::bulk_check_permission_pair::Response::Item(v1::BulkCheckPermissionResponseItem {
                permissionship,
                partial_caveat_info,
            }),
            Response::Error(status) => v1::bulk_check_permission_pair::Response::Error(status),
        }
    }
}

impl From<v1::reflection_type_reference::Typeref> for v1::exp_type_reference::Typeref {
    fn from(typeref: v1::reflection_type_reference::Typeref) -> v1::exp_type_reference::Typeref {
        use v1::exp_type_reference::Typeref as To;
        use v1::reflection_type_reference::Typeref as From;
        match typeref {
            From::IsTerminalSubject(is) => To::IsTerminalSubject(is),
            From::OptionalRelationName(name) => To::OptionalRelationName(name),
            From::IsPublicWildcard(is) => To::IsPublicWildcard(is),
        }
    }
}

impl From<v1::reflection_schema_diff::Diff> for v1::exp_schema_diff::Diff {
    fn from(diff: v1::reflection_schema_diff::Diff) -> v1::exp_schema_diff::Diff {
        use v1::exp_schema_diff::Diff as To;
        use v1::reflection_schema_diff::Diff as From;
        match diff {
            From::DefinitionAdded(of) => To::DefinitionAdded(of.into()),
            From::DefinitionRemoved(of) => To::DefinitionRemoved(of.into()),
            From::DefinitionDocCommentChanged(of) => To::DefinitionDocCommentChanged(of.into()),
            From::RelationAdded(of) => To::RelationAdded(of.into()),
            From::RelationRemoved(of) => To::RelationRemoved(of.into()),
            From::RelationDocCommentChanged(of) => To::RelationDocCommentChanged(of.into()),
            From::RelationSubjectTypeAdded(of) => To::RelationSubjectTypeAdded(of.into()),
            From::RelationSubjectTypeRemoved(of) => To::RelationSubjectTypeRemoved(of.into()),
            From::PermissionAdded(of) => To::PermissionAdded(of.into()),
            From::PermissionRemoved(of) => To::PermissionRemoved(of.into()),
            From::PermissionDocCommentChanged(of) => To::PermissionDocCommentChanged(of.into()),
            From::PermissionExprChanged(of) => To::PermissionExprChanged(of.into()),
            From::CaveatAdded(of) => To::CaveatAdded(of.into()),
            From::CaveatRemoved(of) => To::CaveatRemoved(of.into()),
            From::CaveatDocCommentChanged(of) => To::CaveatDocCommentChanged(of.into()),
            From::CaveatExprChanged(of) => To::CaveatExprChanged(of.into()),
            From::CaveatParameterAdded(of) => To::CaveatParameterAdded(of.into()),
            From::CaveatParameterRemoved(of) => To::CaveatParameterRemoved(of.into()),
            From::CaveatParameterTypeChanged(of) => To::CaveatParameterTypeChanged(of.into()),
        }
    }
}
