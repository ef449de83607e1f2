//! What is refused, with which status, reason and metadata: the contract's tables.

use idhini_model::{Context, ContextValue};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tonic::{Code, Status};

use crate::process::{SCHEMA, Server, check, object, of_type, reason, relationship, subject, touch};

/// A value of the context fields of requests.
macro_rules! text_context {
    ($name:expr, $text:expr) => {
        Some(idhini_wire::context_message(Context([($name.to_owned(), ContextValue::String($text))].into())))
    };
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, why: &str, keys: &[&str]) {
    let status = answer.unwrap_err();
    let (reason, metadata) = reason(&status);
    assert_eq!((status.code(), reason.as_str()), (code, why), "{}", status.message());
    for key in keys {
        assert!(metadata.contains_key(*key), "{key} is not in {metadata:?}");
    }
}

fn update(operation: i32, text: &str) -> v1::RelationshipUpdate {
    v1::RelationshipUpdate { operation, relationship: Some(relationship(text)) }
}

fn create(texts: &[&str]) -> v1::WriteRelationshipsRequest {
    let updates = texts.iter().map(|text| update(Operation::Create as i32, text)).collect();
    v1::WriteRelationshipsRequest { updates, ..Default::default() }
}

#[tokio::test]
async fn writes() {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument};
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let tom = "document:readme#viewer@user:tom";
    let many: Vec<String> = (0..1001).map(|n| format!("document:d{n}#viewer@user:tom")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let of = |updates: Vec<v1::RelationshipUpdate>| v1::WriteRelationshipsRequest {
        updates,
        ..Default::default()
    };
    let mut heavy = update(Operation::Touch as i32, "document:a#viewer@user:tom[only_on]");
    let caveat = heavy.relationship.as_mut().unwrap().optional_caveat.as_mut().unwrap();
    caveat.context = text_context!("day", "x".repeat(30_000));
    let with_metadata = v1::WriteRelationshipsRequest {
        optional_transaction_metadata: text_context!("why", "x".repeat(65_000)),
        ..touch(&[tom])
    };
    let wild = v1::RelationshipUpdate {
        operation: Operation::Touch as i32,
        relationship: Some(v1::Relationship { resource: object("document:*"), ..relationship(tom) }),
    };
    let table: Vec<(v1::WriteRelationshipsRequest, Code, &str, &[&str])> = vec![
        (
            create(&["document:readme#owner@user:ann"]),
            AlreadyExists,
            "ATTEMPT_TO_RECREATE_RELATIONSHIP",
            &[
                "relationship",
                "resource_type",
                "resource_object_id",
                "resource_relation",
                "subject_type",
                "subject_object_id",
                "subject_relation",
            ],
        ),
        (
            touch(&[tom, tom]),
            InvalidArgument,
            "UPDATES_ON_SAME_RELATIONSHIP",
            &["definition_name", "relationship"],
        ),
        (
            touch(&many),
            InvalidArgument,
            "TOO_MANY_UPDATES_IN_REQUEST",
            &["update_count", "maximum_updates_allowed"],
        ),
        (of(vec![update(0, tom)]), InvalidArgument, "", &[]),
        (of(vec![update(9, tom)]), InvalidArgument, "", &[]),
        (of(vec![v1::RelationshipUpdate { operation: 2, relationship: None }]), InvalidArgument, "", &[]),
        (of(vec![wild]), InvalidArgument, "", &[]),
        (
            of(vec![heavy]),
            InvalidArgument,
            "MAX_RELATIONSHIP_CONTEXT_SIZE",
            &["relationship", "context_size", "max_allowed_size"],
        ),
        (
            with_metadata,
            InvalidArgument,
            "TRANSACTION_METADATA_TOO_LARGE",
            &["metadata_byte_size", "maximum_allowed_metadata_byte_size"],
        ),
        (
            touch(&["document:a#view@user:tom"]),
            InvalidArgument,
            "CANNOT_UPDATE_PERMISSION",
            &["definition_name", "permission_name"],
        ),
        (
            touch(&["nothing:a#viewer@user:tom"]),
            FailedPrecondition,
            "UNKNOWN_DEFINITION",
            &["definition_name"],
        ),
        (
            touch(&["document:a#viewer@nothing:tom"]),
            FailedPrecondition,
            "UNKNOWN_DEFINITION",
            &["definition_name"],
        ),
        (
            touch(&["document:a#nothing@user:tom"]),
            FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
            &["definition_name", "relation_or_permission_name"],
        ),
        (
            touch(&["document:a#viewer@group:eng#nothing"]),
            FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
            &[],
        ),
        (
            touch(&["document:a#viewer@group:eng"]),
            InvalidArgument,
            "INVALID_SUBJECT_TYPE",
            &["definition_name", "relation_name", "subject_type"],
        ),
        (touch(&["document:a#banned@user:*"]), InvalidArgument, "INVALID_SUBJECT_TYPE", &["subject_type"]),
        (
            touch(&["document:a#banned@user:tom[only_on]"]),
            InvalidArgument,
            "INVALID_SUBJECT_TYPE",
            &["subject_type"],
        ),
        (
            touch(&["document:a#viewer@user:tom[nothing]"]),
            FailedPrecondition,
            "UNKNOWN_CAVEAT",
            &["caveat_name"],
        ),
        (
            touch(&[r#"document:a#viewer@user:tom[only_on:{"colour":1}]"#]),
            InvalidArgument,
            "CAVEAT_PARAMETER_TYPE_ERROR",
            &["caveat_name", "parameter_name"],
        ),
        (
            touch(&[r#"document:a#viewer@user:tom[only_on:{"day":1}]"#]),
            InvalidArgument,
            "CAVEAT_PARAMETER_TYPE_ERROR",
            &["caveat_name", "parameter_name"],
        ),
    ];
    for (request, code, why, keys) in table {
        refused(client.write_relationships(request).await, code, why, keys);
    }
}

#[tokio::test]
async fn preconditions_filters_and_deletes() {
    use Code::{FailedPrecondition, InvalidArgument};
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let guarded = |operation: i32, filter: Option<v1::RelationshipFilter>| v1::WriteRelationshipsRequest {
        optional_preconditions: vec![v1::Precondition { operation, filter }],
        ..touch(&["document:a#viewer@user:tom"])
    };
    let subject_filter = |subject_type: &str| v1::RelationshipFilter {
        optional_subject_filter: Some(v1::SubjectFilter {
            subject_type: subject_type.to_owned(),
            ..Default::default()
        }),
        ..of_type("document")
    };
    let both = v1::RelationshipFilter {
        optional_resource_id: "a".to_owned(),
        optional_resource_id_prefix: "a".to_owned(),
        ..of_type("document")
    };
    let of_relation = |relation: &str| v1::RelationshipFilter {
        optional_relation: relation.to_owned(),
        ..of_type("document")
    };
    let absent = v1::RelationshipFilter { optional_resource_id: "absent".to_owned(), ..of_type("document") };
    refused(
        client.write_relationships(guarded(2, Some(absent))).await,
        FailedPrecondition,
        "WRITE_OR_DELETE_PRECONDITION_FAILURE",
        &["precondition_operation", "precondition_resource_type", "precondition_resource_id"],
    );
    refused(
        client.write_relationships(guarded(1, Some(subject_filter("user")))).await,
        FailedPrecondition,
        "WRITE_OR_DELETE_PRECONDITION_FAILURE",
        &["precondition_subject_type"],
    );
    refused(
        client.write_relationships(guarded(0, Some(of_type("document")))).await,
        InvalidArgument,
        "EMPTY_PRECONDITION",
        &[],
    );
    refused(client.write_relationships(guarded(2, None)).await, InvalidArgument, "EMPTY_PRECONDITION", &[]);
    let filters = [
        (v1::RelationshipFilter::default(), InvalidArgument, "INVALID_FILTER"),
        (both, InvalidArgument, "INVALID_FILTER"),
        (of_type("nothing"), FailedPrecondition, "UNKNOWN_DEFINITION"),
        (of_relation("nothing"), FailedPrecondition, "UNKNOWN_RELATION_OR_PERMISSION"),
        (of_relation("view"), FailedPrecondition, "SCHEMA_TYPE_ERROR"),
        (subject_filter("nothing"), FailedPrecondition, "UNKNOWN_DEFINITION"),
        (subject_filter(""), InvalidArgument, ""),
        (of_type("Document"), InvalidArgument, ""),
    ];
    for (filter, code, why) in filters {
        let read =
            v1::ReadRelationshipsRequest { relationship_filter: Some(filter.clone()), ..Default::default() };
        refused(client.read_relationships(read).await, code, why, &[]);
        let delete = v1::DeleteRelationshipsRequest {
            relationship_filter: Some(filter.clone()),
            ..Default::default()
        };
        refused(client.delete_relationships(delete).await, code, why, &[]);
        refused(client.write_relationships(guarded(1, Some(filter))).await, code, why, &[]);
    }
    let limited = v1::DeleteRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        optional_limit: 2,
        ..Default::default()
    };
    refused(
        client.delete_relationships(limited).await,
        InvalidArgument,
        "TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE",
        &["limit", "filter_resource_type"],
    );
}

#[tokio::test]
async fn questions() {
    use Code::{FailedPrecondition, InvalidArgument};
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let asked = |resource: &str, permission: &str, by: &str| check(resource, permission, by);
    let with_context =
        |context| v1::CheckPermissionRequest { context, ..asked("document:readme", "view", "user:eve") };
    let table: Vec<(v1::CheckPermissionRequest, Code, &str, &[&str])> = vec![
        (
            asked("nothing:a", "view", "user:tom"),
            FailedPrecondition,
            "UNKNOWN_DEFINITION",
            &["definition_name"],
        ),
        (
            asked("document:a", "view", "nothing:tom"),
            FailedPrecondition,
            "UNKNOWN_DEFINITION",
            &["definition_name"],
        ),
        (
            asked("document:a", "nothing", "user:tom"),
            FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
            &["definition_name", "relation_or_permission_name"],
        ),
        (asked("document:a", "", "user:tom"), FailedPrecondition, "UNKNOWN_RELATION_OR_PERMISSION", &[]),
        (
            asked("document:a", "view", "group:a#nothing"),
            FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
            &[],
        ),
        (asked("document:a", "view", "user:*"), InvalidArgument, "WILDCARD_NOT_ALLOWED", &["field"]),
        (asked("document:*", "view", "user:tom"), InvalidArgument, "", &[]),
        (asked("document:a b", "view", "user:tom"), InvalidArgument, "", &[]),
        (asked("document:a", "View", "user:tom"), InvalidArgument, "", &[]),
        (v1::CheckPermissionRequest::default(), InvalidArgument, "", &[]),
        (
            with_context(text_context!("level", "high".to_owned())),
            InvalidArgument,
            "CAVEAT_PARAMETER_TYPE_ERROR",
            &["caveat_name", "parameter_name"],
        ),
        (with_context(text_context!("other", "x".repeat(5_000))), InvalidArgument, "", &[]),
    ];
    for (request, code, why, keys) in table {
        refused(client.check_permission(request).await, code, why, keys);
    }
    let items = vec![v1::CheckBulkPermissionsRequestItem::default(); 10_001];
    let bulk = v1::CheckBulkPermissionsRequest { items, ..Default::default() };
    refused(
        client.check_bulk_permissions(bulk).await,
        InvalidArgument,
        "TOO_MANY_CHECKS_IN_REQUEST",
        &["check_count", "maximum_checks_allowed"],
    );
    let expand = v1::ExpandPermissionTreeRequest {
        resource: object("nothing:a"),
        permission: "view".to_owned(),
        consistency: None,
    };
    refused(
        client.expand_permission_tree(expand).await,
        FailedPrecondition,
        "UNKNOWN_DEFINITION",
        &["definition_name"],
    );
}

#[tokio::test]
async fn lookups() {
    use Code::{FailedPrecondition, InvalidArgument};
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let resources = |by: &str, limit: u32| v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject(by),
        optional_limit: limit,
        ..Default::default()
    };
    let first = |answer: Result<tonic::Response<tonic::Streaming<v1::LookupResourcesResponse>>, Status>| async {
        answer?.into_inner().message().await
    };
    refused(
        first(client.lookup_resources(resources("user:*", 0)).await).await,
        InvalidArgument,
        "WILDCARD_NOT_ALLOWED",
        &["field"],
    );
    refused(
        first(client.lookup_resources(resources("user:a", 1001)).await).await,
        InvalidArgument,
        "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT",
        &["limit_provided", "maximum_limit_allowed"],
    );
    refused(
        first(client.lookup_resources(resources("nothing:a", 0)).await).await,
        FailedPrecondition,
        "UNKNOWN_DEFINITION",
        &[],
    );
    let nameless = v1::LookupResourcesRequest { permission: String::new(), ..resources("user:a", 0) };
    refused(first(client.lookup_resources(nameless).await).await, InvalidArgument, "", &[]);
    let subjects = v1::LookupSubjectsRequest {
        resource: object("document:a"),
        permission: "view".to_owned(),
        subject_object_type: "group".to_owned(),
        optional_subject_relation: "nothing".to_owned(),
        ..Default::default()
    };
    let answer = async { client.lookup_subjects(subjects).await?.into_inner().message().await };
    refused(answer.await, FailedPrecondition, "UNKNOWN_RELATION_OR_PERMISSION", &["definition_name"]);
}

#[tokio::test]
async fn schemas() {
    use Code::{FailedPrecondition, InvalidArgument, NotFound};
    let empty = Server::start(&[]);
    let unread = empty.schemas().await.read_schema(v1::ReadSchemaRequest {}).await.unwrap_err();
    assert_eq!(unread.code(), NotFound);
    refused(
        empty.permissions().await.check_permission(check("document:a", "view", "user:tom")).await,
        FailedPrecondition,
        "UNKNOWN_DEFINITION",
        &[],
    );
    refused(
        empty.permissions().await.write_relationships(touch(&["document:a#viewer@user:tom"])).await,
        FailedPrecondition,
        "UNKNOWN_DEFINITION",
        &[],
    );
    let server = Server::furnished();
    let mut client = server.schemas().await;
    let write = |schema: String| v1::WriteSchemaRequest { schema };
    refused(
        client.write_schema(write("definition user {".to_owned())).await,
        InvalidArgument,
        "SCHEMA_PARSE_ERROR",
        &["start_line_number", "start_column_position"],
    );
    refused(
        client.write_schema(write("definition user {\nrelation abc: nothing\n}".to_owned())).await,
        FailedPrecondition,
        "SCHEMA_TYPE_ERROR",
        &[],
    );
    refused(
        client.write_schema(write("definition user {}".to_owned())).await,
        InvalidArgument,
        "SCHEMA_TYPE_ERROR",
        &["operation", "relationship", "relationship_count", "resource_type"],
    );
    let without = SCHEMA.replace("| user with only_on ", "");
    refused(
        client.write_schema(write(without)).await,
        InvalidArgument,
        "SCHEMA_TYPE_ERROR",
        &["allowed_type"],
    );
    let retyped = SCHEMA.replace("day string", "day int").replace(r#"day == "tuesday""#, "day == 2");
    refused(
        client.write_schema(write(retyped)).await,
        InvalidArgument,
        "SCHEMA_TYPE_ERROR",
        &["caveat_name", "parameter_name", "relationship"],
    );
    let filter =
        v1::ReflectionSchemaFilter { optional_relation_name_filter: "view".to_owned(), ..Default::default() };
    let reflect = v1::ReflectSchemaRequest { optional_filters: vec![filter], ..Default::default() };
    refused(client.reflect_schema(reflect).await, InvalidArgument, "INVALID_FILTER", &["filter"]);
    // Not refused, but matching nothing.
    let optional_filters = vec![v1::ReflectionSchemaFilter::default()];
    let reflect = v1::ReflectSchemaRequest { optional_filters, ..Default::default() };
    let answer = client.reflect_schema(reflect).await.unwrap().into_inner();
    assert!(answer.definitions.is_empty() && answer.caveats.is_empty());
}
