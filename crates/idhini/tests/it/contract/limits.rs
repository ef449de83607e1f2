//! Each limit of the contract: at its number a request passes, and one more is refused with its reason.

use idhini_model::{Context, ContextValue};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use prost::Message as _;
use prost_types::Struct;
use tonic::{Code, Status};

use crate::process::{SCHEMA, Server, check, object, of_type, reason, relationship, subject, touch};
use crate::watch::Following;

/// Status and reason of a refusal; OK where there is none.
fn told<T>(answer: Result<T, Status>) -> (Code, String) {
    match answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), reason(&status).0),
    }
}

fn passes() -> (Code, String) {
    (Code::Ok, String::new())
}

fn invalid(why: &str) -> (Code, String) {
    (Code::InvalidArgument, why.to_owned())
}

/// One text field; as a message it takes as many bytes more as its name and the lengths around it.
fn padded(bytes: usize, size: fn(&Struct) -> usize) -> Struct {
    let of = |length: usize| {
        let value = ContextValue::String("x".repeat(length));
        idhini_wire::context_message(Context([("why".to_owned(), value)].into()))
    };
    let around = size(&of(bytes)) - bytes;
    let message = of(bytes - around);
    assert_eq!(size(&message), bytes);
    message
}

/// The first message of a stream, or what it was refused with.
macro_rules! first {
    ($call:expr) => {
        async { $call.await?.into_inner().message().await.map(drop) }.await
    };
}

#[tokio::test]
async fn names_have_3_to_64_characters_and_types_128_with_their_prefixes() {
    let name = |length: usize| "n".repeat(length);
    let prefixed = |length: usize| format!("{}/{}", "p".repeat(63), "t".repeat(length - 64));
    let server = Server::start(&[]);
    let mut schemas = server.schemas().await;
    let mut client = server.permissions().await;
    let table = [
        (name(64), name(3), passes()),
        (name(3), name(64), passes()),
        (prefixed(128), name(64), passes()),
        (name(2), name(3), invalid("SCHEMA_PARSE_ERROR")),
        (name(65), name(3), invalid("SCHEMA_PARSE_ERROR")),
        (name(3), name(2), invalid("SCHEMA_PARSE_ERROR")),
        (name(3), name(65), invalid("SCHEMA_PARSE_ERROR")),
        (prefixed(129), name(3), invalid("SCHEMA_PARSE_ERROR")),
    ];
    for (object_type, relation, wanted) in table {
        let schema =
            format!("definition user {{}}\ndefinition {object_type} {{\n  relation {relation}: user\n}}");
        let written = told(schemas.write_schema(v1::WriteSchemaRequest { schema }).await);
        assert_eq!(written, wanted, "{object_type}#{relation}");
        let asked = check(&format!("{object_type}:a"), &relation, "user:ann");
        // Nothing is written of a name that is none, and no reason is given in the contract.
        let code = if wanted.0 == Code::Ok { passes() } else { invalid("") };
        assert_eq!(told(client.check_permission(asked).await), code, "{object_type}#{relation}");
        let filter = v1::RelationshipFilter { optional_relation: relation.clone(), ..of_type(&object_type) };
        let read = v1::ReadRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
        assert_eq!(told(first!(client.read_relationships(read))), code, "{object_type}#{relation}");
    }
}

#[tokio::test]
async fn object_ids_have_1_to_1024_characters_of_the_alphabet() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let alphabet: String = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain("/_|-=+".chars()).collect();
    let long = |length: usize| alphabet.chars().cycle().take(length).collect::<String>();
    let mut table = vec![
        (alphabet.clone(), passes()),
        (long(1_024), passes()),
        (long(1_025), invalid("")),
        (String::new(), invalid("")),
    ];
    table.extend(
        " !\"#$%&'()*,.:;<>?@[\\]^`{}~\u{e4}\n\0".chars().map(|other| (format!("a{other}"), invalid(""))),
    );
    for (id, wanted) in table {
        let named = |object_type: &str| {
            Some(v1::ObjectReference { object_type: object_type.to_owned(), object_id: id.clone() })
        };
        let of = |as_resource: bool| {
            let mut written = relationship("document:a#owner@user:ann");
            match as_resource {
                true => written.resource = named("document"),
                false => written.subject.as_mut().unwrap().object = named("user"),
            }
            written
        };
        for written in [of(true), of(false)] {
            let mut asked = check("document:a", "view", "user:ann");
            (asked.resource, asked.subject) = (written.resource.clone(), written.subject.clone());
            assert_eq!(told(client.check_permission(asked).await), wanted, "{id:?}");
            let mut request = touch(&["document:a#owner@user:ann"]);
            request.updates[0].relationship = Some(written);
            assert_eq!(told(client.write_relationships(request).await), wanted, "{id:?}");
        }
        let filter =
            v1::RelationshipFilter { optional_resource_id_prefix: id.clone(), ..of_type("document") };
        let read = v1::ReadRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
        // A prefix that is not set is none.
        let wanted = if id.is_empty() { passes() } else { wanted };
        assert_eq!(told(first!(client.read_relationships(read))), wanted, "{id:?}");
    }
}

#[tokio::test]
async fn a_schema_has_4_mebibytes_and_a_cursor_100_kibibytes() {
    let server = Server::start(&[]);
    let mut schemas = server.schemas().await;
    let padded = |bytes: usize| v1::WriteSchemaRequest {
        schema: format!("{SCHEMA}// {}", "x".repeat(bytes - SCHEMA.len() - 3)),
    };
    assert_eq!(told(schemas.write_schema(padded(4 << 20)).await), passes());
    let (code, _) = told(schemas.write_schema(padded((4 << 20) + 1)).await);
    assert_eq!(code, Code::InvalidArgument);
    let cursor = Some(v1::Cursor { token: "A".repeat(100 * 1024 + 1) });
    let read = v1::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        optional_cursor: cursor,
        ..Default::default()
    };
    assert_eq!(told(first!(server.permissions().await.read_relationships(read))), invalid("INVALID_CURSOR"));
}

#[tokio::test]
async fn a_request_has_1_000_updates_and_1_000_preconditions() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let texts: Vec<String> = (0..1_001).map(|n| format!("document:d{n}#owner@user:ann")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(told(client.write_relationships(touch(&texts[..1_000])).await), passes());
    assert_eq!(told(client.write_relationships(touch(&texts)).await), invalid("TOO_MANY_UPDATES_IN_REQUEST"));
    let held = v1::Precondition { operation: 2, filter: Some(of_type("document")) };
    for (count, wanted) in [(1_000, passes()), (1_001, invalid("TOO_MANY_PRECONDITIONS_IN_REQUEST"))] {
        let optional_preconditions = vec![held.clone(); count];
        let write = v1::WriteRelationshipsRequest {
            optional_preconditions: optional_preconditions.clone(),
            ..touch(&texts[..1])
        };
        assert_eq!(told(client.write_relationships(write).await), wanted, "{count}");
        let delete = v1::DeleteRelationshipsRequest {
            relationship_filter: Some(of_type("group")),
            optional_preconditions,
            ..Default::default()
        };
        assert_eq!(told(client.delete_relationships(delete).await), wanted, "{count}");
    }
}

#[tokio::test]
async fn limit_fields_go_to_1_000_and_those_of_exports_to_10_000() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    for (limit, wanted) in [(1_000, passes()), (1_001, invalid("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"))] {
        let read = v1::ReadRelationshipsRequest {
            relationship_filter: Some(of_type("document")),
            optional_limit: limit,
            ..Default::default()
        };
        assert_eq!(told(first!(client.read_relationships(read))), wanted, "{limit}");
        let resources = v1::LookupResourcesRequest {
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: subject("user:ann"),
            optional_limit: limit,
            ..Default::default()
        };
        assert_eq!(told(first!(client.lookup_resources(resources))), wanted, "{limit}");
        let subjects = v1::LookupSubjectsRequest {
            resource: object("document:readme"),
            permission: "view".to_owned(),
            subject_object_type: "user".to_owned(),
            optional_concrete_limit: limit,
            ..Default::default()
        };
        assert_eq!(told(first!(client.lookup_subjects(subjects))), wanted, "{limit}");
        let delete = v1::DeleteRelationshipsRequest {
            relationship_filter: Some(of_type("group")),
            optional_limit: limit,
            ..Default::default()
        };
        assert_eq!(told(client.delete_relationships(delete).await), wanted, "{limit}");
    }
    for (limit, wanted) in [(10_000, passes()), (10_001, invalid("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"))] {
        let export = v1::ExportBulkRelationshipsRequest { optional_limit: limit, ..Default::default() };
        assert_eq!(told(first!(client.export_bulk_relationships(export))), wanted, "{limit}");
    }
}

#[tokio::test]
async fn a_bulk_check_has_10_000_items() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let item = v1::CheckBulkPermissionsRequestItem {
        resource: object("document:readme"),
        permission: "view".to_owned(),
        subject: subject("user:tom"),
        context: None,
    };
    for (count, wanted) in [(10_000, passes()), (10_001, invalid("TOO_MANY_CHECKS_IN_REQUEST"))] {
        let request =
            v1::CheckBulkPermissionsRequest { items: vec![item.clone(); count], ..Default::default() };
        let answer = client.check_bulk_permissions(request).await;
        assert!(answer.as_ref().is_ok_and(|a| a.get_ref().pairs.len() == count) || count > 10_000);
        assert_eq!(told(answer), wanted, "{count}");
    }
}

#[tokio::test]
async fn contexts_have_4_096_bytes_in_questions_and_25_000_in_relationships() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    for (bytes, wanted) in [(4_096, passes()), (4_097, invalid(""))] {
        let context = Some(padded(bytes, Struct::encoded_len));
        let asked = v1::CheckPermissionRequest {
            context: context.clone(),
            ..check("document:readme", "view", "user:eve")
        };
        assert_eq!(told(client.check_permission(asked).await), wanted, "{bytes}");
        let resources = v1::LookupResourcesRequest {
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: subject("user:eve"),
            context: context.clone(),
            ..Default::default()
        };
        assert_eq!(told(first!(client.lookup_resources(resources))), wanted, "{bytes}");
        let subjects = v1::LookupSubjectsRequest {
            resource: object("document:readme"),
            permission: "view".to_owned(),
            subject_object_type: "user".to_owned(),
            context,
            ..Default::default()
        };
        assert_eq!(told(first!(client.lookup_subjects(subjects))), wanted, "{bytes}");
    }
    let schema = SCHEMA
        .replace("level int", "level int, why string")
        .replace("level > 3", r#"level > 3 && why != """#);
    server.schemas().await.write_schema(v1::WriteSchemaRequest { schema }).await.unwrap();
    for (bytes, wanted) in [(25_000, passes()), (25_001, invalid("MAX_RELATIONSHIP_CONTEXT_SIZE"))] {
        let mut request = touch(&["document:a#viewer@user:tom[only_on]"]);
        let caveat = request.updates[0].relationship.as_mut().unwrap().optional_caveat.as_mut().unwrap();
        caveat.context = Some(padded(bytes, Struct::encoded_len));
        let import = v1::ImportBulkRelationshipsRequest {
            relationships: vec![v1::Relationship {
                resource: object("document:b"),
                ..request.updates[0].relationship.clone().unwrap()
            }],
        };
        assert_eq!(told(client.write_relationships(request).await), wanted, "{bytes}");
        assert_eq!(
            told(client.import_bulk_relationships(tokio_stream::iter([import])).await),
            wanted,
            "{bytes}"
        );
    }
}

/// As JSON without blanks: `{"why":"…"}`.
fn json_bytes(message: &Struct) -> usize {
    let Some(prost_types::value::Kind::StringValue(text)) = &message.fields["why"].kind else { return 0 };
    text.len() + r#"{"why":""}"#.len()
}

#[tokio::test]
async fn metadata_of_a_transaction_has_65_000_bytes_and_is_told_by_watch() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let mut following = Following::begin(&server, v1::WatchRequest::default()).await;
    for (bytes, wanted) in [(65_000, passes()), (65_001, invalid("TRANSACTION_METADATA_TOO_LARGE"))] {
        let noted = Some(padded(bytes, json_bytes));
        let write = v1::WriteRelationshipsRequest {
            optional_transaction_metadata: noted.clone(),
            ..touch(&["document:noted#owner@user:ann"])
        };
        assert_eq!(told(client.write_relationships(write).await), wanted, "{bytes}");
        let filter =
            v1::RelationshipFilter { optional_resource_id: "noted".to_owned(), ..of_type("document") };
        let delete = v1::DeleteRelationshipsRequest {
            relationship_filter: Some(filter),
            optional_transaction_metadata: noted.clone(),
            ..Default::default()
        };
        assert_eq!(told(client.delete_relationships(delete).await), wanted, "{bytes}");
        if wanted == passes() {
            for operation in [Operation::Touch, Operation::Delete] {
                let message = following.next().await.unwrap();
                assert_eq!(message.updates[0].operation(), operation);
                assert_eq!(message.optional_transaction_metadata, noted);
            }
        }
    }
}
