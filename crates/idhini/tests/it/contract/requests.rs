//! Sentences about requests that no other test holds.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::delete_relationships_response::DeletionProgress;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tonic::Code;

use crate::durable::{viewers, write};
use crate::process::{Server, check, object, of_type, reason, subject, touch};

#[tokio::test]
async fn a_cursor_fixes_the_revision_whatever_consistency_stands_beside_it() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let first = write(&server, &["document:a1#owner@user:x", "document:a2#owner@user:x"]).await;
    let read = |cursor: Option<v1::Cursor>, requirement: Option<Requirement>| v1::ReadRelationshipsRequest {
        consistency: requirement.map(|r| v1::Consistency { requirement: Some(r) }),
        relationship_filter: Some(v1::RelationshipFilter {
            optional_resource_id_prefix: "a".to_owned(),
            ..of_type("document")
        }),
        optional_limit: 2 - u32::from(cursor.is_none()),
        optional_cursor: cursor,
    };
    let mut page = client.read_relationships(read(None, None)).await.unwrap().into_inner();
    let page = page.message().await.unwrap().unwrap();
    let later = write(&server, &["document:a3#owner@user:x"]).await;
    let nonsense = v1::ZedToken { token: "garbage".to_owned() };
    for requirement in [
        None,
        Some(Requirement::FullyConsistent(true)),
        Some(Requirement::MinimizeLatency(true)),
        Some(Requirement::AtLeastAsFresh(later.clone())),
        Some(Requirement::AtExactSnapshot(later.clone())),
        Some(Requirement::AtLeastAsFresh(nonsense)),
    ] {
        let request = read(page.after_result_cursor.clone(), requirement.clone());
        let mut answers = client.read_relationships(request).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.read_at.as_ref(), Some(&first), "{requirement:?}");
        assert_eq!(answer.relationship.unwrap().resource.unwrap().object_id, "a2", "{requirement:?}");
        assert!(answers.message().await.unwrap().is_none(), "{requirement:?}: what came later is told");
    }
}

#[tokio::test]
async fn a_relationship_is_its_resource_relation_and_subject_and_the_rest_is_replaced() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let plain = "document:t#viewer@user:tom";
    let caveated = r#"document:t#viewer@user:tom[only_on:{"day":"tuesday"}]"#;
    let expiring = "document:t#viewer@user:tom[expiration:2090-01-01T00:00:00Z]";
    let answer = async |server: &Server| {
        let checked =
            server.permissions().await.check_permission(check("document:t", "view", "user:tom")).await;
        let checked = checked.unwrap().into_inner();
        (checked.permissionship(), checked.optional_expires_at.is_some())
    };
    write(&server, &[caveated]).await;
    assert_eq!(answer(&server).await, (Permissionship::ConditionalPermission, false));
    // Created it cannot be, whatever its attributes; touched it gets the new ones.
    for text in [plain, caveated, expiring] {
        let mut create = touch(&[text]);
        create.updates[0].operation = Operation::Create as i32;
        let refused = client.write_relationships(create).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).0.as_str()),
            (Code::AlreadyExists, "ATTEMPT_TO_RECREATE_RELATIONSHIP")
        );
    }
    write(&server, &[expiring]).await;
    assert_eq!(answer(&server).await, (Permissionship::HasPermission, true));
    write(&server, &[plain]).await;
    assert_eq!(answer(&server).await, (Permissionship::HasPermission, false));
    // Two updates of it are two of the same, whatever they do.
    for operation in [Operation::Create, Operation::Touch, Operation::Delete] {
        let mut twice = touch(&[plain, caveated]);
        twice.updates[1].operation = operation as i32;
        let refused = client.write_relationships(twice).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).0.as_str()),
            (Code::InvalidArgument, "UPDATES_ON_SAME_RELATIONSHIP")
        );
    }
    // A delete goes by the identity, and what is absent may be deleted.
    for _ in 0..2 {
        let mut delete = touch(&[caveated]);
        delete.updates[0].operation = Operation::Delete as i32;
        client.write_relationships(delete).await.unwrap();
        assert_eq!(answer(&server).await, (Permissionship::NoPermission, false));
    }
}

#[tokio::test]
async fn a_write_with_a_precondition_that_does_not_hold_does_nothing_and_one_that_holds_everything() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let of = |id: &str| v1::RelationshipFilter { optional_resource_id: id.to_owned(), ..of_type("document") };
    let (must_not, must) = (1, 2);
    for (operation, id, holds) in
        [(must, "readme", true), (must, "none", false), (must_not, "none", true), (must_not, "readme", false)]
    {
        let met = v1::Precondition { operation: must, filter: Some(of("readme")) };
        let judged = v1::Precondition { operation, filter: Some(of(id)) };
        let head = viewers(&server, Requirement::FullyConsistent(true)).await;
        let request = v1::WriteRelationshipsRequest {
            optional_preconditions: vec![met.clone(), judged.clone()],
            ..touch(&[
                &format!("document:new{operation}{id}#viewer@user:ann"),
                "document:readme#viewer@user:zoe",
            ])
        };
        let written = client.write_relationships(request).await.map(drop).map_err(|status| reason(&status).0);
        let why = Err("WRITE_OR_DELETE_PRECONDITION_FAILURE".to_owned());
        assert_eq!(written, if holds { Ok(()) } else { why.clone() });
        assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await == head, !holds);
        let head = viewers(&server, Requirement::FullyConsistent(true)).await;
        let request = v1::DeleteRelationshipsRequest {
            relationship_filter: Some(v1::RelationshipFilter {
                optional_resource_id_prefix: "new".to_owned(),
                ..of_type("document")
            }),
            optional_preconditions: vec![met, judged],
            ..Default::default()
        };
        let deleted =
            client.delete_relationships(request).await.map(drop).map_err(|status| reason(&status).0);
        assert_eq!(deleted, if holds { Ok(()) } else { why });
        assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await == head, !holds);
    }
}

#[tokio::test]
async fn a_limited_delete_tells_how_much_it_did_and_whether_that_was_all() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let texts: Vec<String> = (0..10).map(|n| format!("document:x{n}#owner@user:ann")).collect();
    write(&server, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let delete = |limit: u32, partial: bool| v1::DeleteRelationshipsRequest {
        relationship_filter: Some(v1::RelationshipFilter {
            optional_resource_id_prefix: "x".to_owned(),
            ..of_type("document")
        }),
        optional_limit: limit,
        optional_allow_partial_deletions: partial,
        ..Default::default()
    };
    let refused = client.delete_relationships(delete(9, false)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE");
    for (limit, partial, progress, count) in [
        (4, true, DeletionProgress::Partial, 4),
        (4, true, DeletionProgress::Partial, 4),
        (2, false, DeletionProgress::Complete, 2),
        (4, true, DeletionProgress::Complete, 0),
    ] {
        let answer = client.delete_relationships(delete(limit, partial)).await.unwrap().into_inner();
        assert_eq!((answer.deletion_progress(), answer.relationships_deleted_count), (progress, count));
    }
}

#[tokio::test]
async fn a_wildcard_is_for_subjects_without_a_relation() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let schema = "definition user {\n  relation friend: user\n}\ndefinition page {\n  relation viewer: user:* | user#friend\n}";
    server
        .schemas()
        .await
        .write_schema(v1::WriteSchemaRequest {
            schema: crate::process::SCHEMA.replace("definition user {}", schema),
        })
        .await
        .unwrap();
    write(&server, &["page:a#viewer@user:*", "user:tom#friend@user:ann"]).await;
    for (by, wanted) in
        [("user:tom", Permissionship::HasPermission), ("user:tom#friend", Permissionship::NoPermission)]
    {
        let answer = client.check_permission(check("page:a", "viewer", by)).await.unwrap().into_inner();
        assert_eq!(answer.permissionship(), wanted, "{by}");
        let lookup = v1::LookupResourcesRequest {
            resource_object_type: "page".to_owned(),
            permission: "viewer".to_owned(),
            subject: subject(by),
            with_debug: true,
            ..Default::default()
        };
        let found = client.lookup_resources(lookup).await.unwrap().into_inner().message().await.unwrap();
        assert_eq!(found.is_some(), wanted == Permissionship::HasPermission, "{by}");
    }
    let usersets = v1::LookupSubjectsRequest {
        resource: object("page:a"),
        permission: "viewer".to_owned(),
        subject_object_type: "user".to_owned(),
        optional_subject_relation: "friend".to_owned(),
        ..Default::default()
    };
    let found = client.lookup_subjects(usersets).await.unwrap().into_inner().message().await.unwrap();
    assert!(found.is_none(), "{found:?}");
}
