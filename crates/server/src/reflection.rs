//! A schema's reflection and differences as messages.

use idhini_schema::{
    AllowedSubject, CaveatReflection, DefinitionReflection, ParameterReflection, PermissionReflection,
    ReflectionFilter, RelationReflection, Schema, SchemaDiff, SubjectKind,
};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::reflection_schema_diff::Diff;
use idhini_wire::authzed::api::v1::reflection_type_reference::Typeref;

pub(crate) fn filter(message: v1::ReflectionSchemaFilter) -> ReflectionFilter {
    let set = |text: String| Some(text).filter(|text| !text.is_empty());
    ReflectionFilter {
        definition: set(message.optional_definition_name_filter),
        caveat: set(message.optional_caveat_name_filter),
        relation: set(message.optional_relation_name_filter),
        permission: set(message.optional_permission_name_filter),
    }
}

/// The fields that are set, for people.
pub(crate) fn filter_text(message: &v1::ReflectionSchemaFilter) -> String {
    let fields = [
        ("optional_definition_name_filter", &message.optional_definition_name_filter),
        ("optional_caveat_name_filter", &message.optional_caveat_name_filter),
        ("optional_relation_name_filter", &message.optional_relation_name_filter),
        ("optional_permission_name_filter", &message.optional_permission_name_filter),
    ];
    let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
    set.map(|(name, value)| format!("{name}:{value:?}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn definition(reflection: DefinitionReflection) -> v1::ReflectionDefinition {
    v1::ReflectionDefinition {
        name: reflection.name,
        comment: reflection.comment,
        relations: reflection.relations.into_iter().map(relation).collect(),
        permissions: reflection.permissions.into_iter().map(permission).collect(),
    }
}

pub(crate) fn caveat(reflection: CaveatReflection) -> v1::ReflectionCaveat {
    v1::ReflectionCaveat {
        name: reflection.name,
        comment: reflection.comment,
        parameters: reflection.parameters.into_iter().map(parameter).collect(),
        expression: reflection.expression,
    }
}

fn relation(reflection: RelationReflection) -> v1::ReflectionRelation {
    v1::ReflectionRelation {
        name: reflection.name,
        comment: reflection.comment,
        parent_definition_name: reflection.definition,
        subject_types: reflection.subjects.into_iter().map(type_reference).collect(),
    }
}

fn permission(reflection: PermissionReflection) -> v1::ReflectionPermission {
    v1::ReflectionPermission {
        name: reflection.name,
        comment: reflection.comment,
        parent_definition_name: reflection.definition,
    }
}

fn parameter(reflection: ParameterReflection) -> v1::ReflectionCaveatParameter {
    v1::ReflectionCaveatParameter {
        name: reflection.name,
        r#type: reflection.value_type,
        parent_caveat_name: reflection.caveat,
    }
}

fn type_reference(subject: AllowedSubject) -> v1::ReflectionTypeReference {
    v1::ReflectionTypeReference {
        subject_definition_name: subject.subject_type,
        optional_caveat_name: subject.caveat.unwrap_or_default(),
        typeref: Some(match subject.kind {
            SubjectKind::Object => Typeref::IsTerminalSubject(true),
            SubjectKind::Wildcard => Typeref::IsPublicWildcard(true),
            SubjectKind::Userset(relation) => Typeref::OptionalRelationName(relation),
        }),
    }
}

/// What DiffSchema answers about two schemas, but for the token.
#[must_use]
pub fn schema_differences(before: &Schema, after: &Schema) -> Vec<v1::ReflectionSchemaDiff> {
    let diffs = before.diff(after).into_iter();
    diffs.map(|of| v1::ReflectionSchemaDiff { diff: Some(diff(of)) }).collect()
}

fn diff(diff: SchemaDiff) -> Diff {
    let change = |of: RelationReflection, subject: AllowedSubject| v1::ReflectionRelationSubjectTypeChange {
        relation: Some(relation(of)),
        changed_subject_type: Some(type_reference(subject)),
    };
    match diff {
        SchemaDiff::DefinitionAdded(d) => Diff::DefinitionAdded(definition(d)),
        SchemaDiff::DefinitionRemoved(d) => Diff::DefinitionRemoved(definition(d)),
        SchemaDiff::DefinitionCommentChanged(d) => Diff::DefinitionDocCommentChanged(definition(d)),
        SchemaDiff::RelationAdded(r) => Diff::RelationAdded(relation(r)),
        SchemaDiff::RelationRemoved(r) => Diff::RelationRemoved(relation(r)),
        SchemaDiff::RelationCommentChanged(r) => Diff::RelationDocCommentChanged(relation(r)),
        SchemaDiff::RelationSubjectAdded { relation, subject } => {
            Diff::RelationSubjectTypeAdded(change(relation, subject))
        }
        SchemaDiff::RelationSubjectRemoved { relation, subject } => {
            Diff::RelationSubjectTypeRemoved(change(relation, subject))
        }
        SchemaDiff::PermissionAdded(p) => Diff::PermissionAdded(permission(p)),
        SchemaDiff::PermissionRemoved(p) => Diff::PermissionRemoved(permission(p)),
        SchemaDiff::PermissionCommentChanged(p) => Diff::PermissionDocCommentChanged(permission(p)),
        SchemaDiff::PermissionExpressionChanged(p) => Diff::PermissionExprChanged(permission(p)),
        SchemaDiff::CaveatAdded(c) => Diff::CaveatAdded(caveat(c)),
        SchemaDiff::CaveatRemoved(c) => Diff::CaveatRemoved(caveat(c)),
        SchemaDiff::CaveatCommentChanged(c) => Diff::CaveatDocCommentChanged(caveat(c)),
        SchemaDiff::CaveatExpressionChanged(c) => Diff::CaveatExprChanged(caveat(c)),
        SchemaDiff::CaveatParameterAdded(p) => Diff::CaveatParameterAdded(parameter(p)),
        SchemaDiff::CaveatParameterRemoved(p) => Diff::CaveatParameterRemoved(parameter(p)),
        SchemaDiff::CaveatParameterTypeChanged { parameter: p, previous_type } => {
            let parameter = Some(parameter(p));
            Diff::CaveatParameterTypeChanged(v1::ReflectionCaveatParameterTypeChange {
                parameter,
                previous_type,
            })
        }
    }
}
