//! Writes with checks as preconditions.

use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tonic::Code;

use crate::own::{deleting, guarded, import, must, own};
use crate::process::{Server, check, of_type, reason, relationship, touch};

#[tokio::test]
async fn a_write_is_done_if_its_checks_hold_and_the_refusal_names_the_one_that_does_not() {
    let server = Server::furnished();
    let mut client = own(&server).await;
    let good = vec![
        must(true, "document:readme", "view", "user:tom"),
        must(false, "document:readme", "view", "user:bob"),
        must(true, "group:all", "member", "group:eng#member"),
    ];
    let written = client.write_relationships(guarded(&["document:new#viewer@user:a"], good.clone())).await;
    assert!(written.unwrap().into_inner().written_at.is_some());
    let failing = |check, answer: &'static str| {
        let mut checks = good.clone();
        checks.push(check);
        (checks, answer)
    };
    for (checks, answer) in [
        failing(must(true, "document:readme", "view", "user:bob"), "PERMISSIONSHIP_NO_PERMISSION"),
        failing(must(false, "document:readme", "view", "user:tom"), "PERMISSIONSHIP_HAS_PERMISSION"),
        // A condition is neither yes nor no.
        failing(must(true, "document:readme", "view", "user:eve"), "PERMISSIONSHIP_CONDITIONAL_PERMISSION"),
        failing(must(false, "document:readme", "view", "user:eve"), "PERMISSIONSHIP_CONDITIONAL_PERMISSION"),
        failing(must(false, "group:all", "member", "group:eng#member"), "PERMISSIONSHIP_HAS_PERMISSION"),
    ] {
        let last = checks.last().unwrap().clone();
        let status =
            client.write_relationships(guarded(&["document:new#viewer@user:b"], checks)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        let (reason, metadata) = reason(&status);
        assert_eq!(reason, "WRITE_OR_DELETE_PRECONDITION_FAILURE");
        let (resource, subject) = (last.resource.clone().unwrap(), last.subject.clone().unwrap());
        let by = subject.object.unwrap();
        for (key, value) in [
            ("precondition_operation", last.operation().as_str_name()),
            ("precondition_resource_type", &resource.object_type),
            ("precondition_resource_id", &resource.object_id),
            ("precondition_permission", &last.permission),
            ("precondition_subject_type", &by.object_type),
            ("precondition_subject_id", &by.object_id),
            ("precondition_answer", answer),
        ] {
            assert_eq!(metadata[key], value, "{key}");
        }
        let is_userset = metadata.get("precondition_subject_relation").is_some_and(|r| r == "member");
        assert_eq!(is_userset, !subject.optional_relation.is_empty());
        let missing = metadata.get("precondition_missing_context").map(String::as_str);
        assert_eq!(missing, answer.contains("CONDITIONAL").then_some("level"));
    }
    assert_eq!(server.run(&["check", "document:new", "view", "user:b"]).status, 1);
}

#[tokio::test]
async fn context_decides_a_check_and_a_filter_may_stand_beside_it() {
    let server = Server::furnished();
    let mut client = own(&server).await;
    let with_level = |level: i32| {
        let context = idhini_model::Context::from_json(&format!(r#"{{"level":{level}}}"#)).unwrap();
        let mut check = must(true, "document:readme", "view", "user:eve");
        check.context = Some(idhini_wire::context_message(context));
        let mut request = guarded(&["document:new#viewer@user:a"], vec![check]);
        request.optional_preconditions = vec![authzed::Precondition {
            operation: authzed::precondition::Operation::MustNotMatch as i32,
            filter: Some(authzed::RelationshipFilter {
                optional_resource_id: "new".to_owned(),
                ..of_type("document")
            }),
        }];
        request
    };
    assert_eq!(client.write_relationships(with_level(1)).await.unwrap_err().code(), Code::FailedPrecondition);
    client.write_relationships(with_level(9)).await.unwrap();
    // Now the filter matches.
    let status = client.write_relationships(with_level(9)).await.unwrap_err();
    assert_eq!(reason(&status).1["precondition_operation"], "OPERATION_MUST_NOT_MATCH");
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error_and_not_a_failed_precondition() {
    let server = Server::furnished();
    let mut client = own(&server).await;
    let mut unspecified = must(true, "document:readme", "view", "user:tom");
    unspecified.operation = 0;
    let mut without_resource = must(true, "document:readme", "view", "user:tom");
    without_resource.resource = None;
    let one = must(true, "document:readme", "view", "user:tom");
    for (checks, code, wanted) in [
        (vec![must(false, "nothing:a", "view", "user:tom")], Code::FailedPrecondition, "UNKNOWN_DEFINITION"),
        (
            vec![must(false, "document:a", "nothing", "user:tom")],
            Code::FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
        ),
        (vec![must(false, "document:a", "view", "user:*")], Code::InvalidArgument, "WILDCARD_NOT_ALLOWED"),
        (vec![unspecified], Code::InvalidArgument, "EMPTY_PRECONDITION"),
        (vec![without_resource], Code::InvalidArgument, ""),
        (vec![one; 1_001], Code::InvalidArgument, "TOO_MANY_PRECONDITIONS_IN_REQUEST"),
    ] {
        let status =
            client.write_relationships(guarded(&["document:n#viewer@user:b"], checks)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).0.as_str()), (code, wanted), "{status:?}");
    }
    assert_eq!(server.run(&["check", "document:n", "view", "user:b"]).status, 1);
}

#[tokio::test]
async fn the_checks_of_one_write_may_not_hold_up_the_writer() {
    let server = Server::furnished();
    // Neither from above nor from below is it told at once that they do not meet.
    import(&server, (0..3_000).map(|n| format!("document:wide#viewer@group:w{n}#member"))).await;
    import(&server, (0..3_000).map(|n| format!("group:x{n}#member@user:nobody"))).await;
    let mut client = own(&server).await;
    let asked = must(false, "document:wide", "view", "user:nobody");
    client.write_relationships(guarded(&["document:n#viewer@user:b"], vec![asked.clone()])).await.unwrap();
    let many = guarded(&["document:n#viewer@user:c"], vec![asked; 900]);
    let status = client.write_relationships(many).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let (reason, metadata) = reason(&status);
    assert_eq!(reason, "MAXIMUM_DEPTH_EXCEEDED");
    assert_eq!(metadata["budget"], "permission_preconditions");
    assert_eq!(metadata["budget_edges"], "1000000");
    assert_eq!(server.run(&["check", "document:n", "view", "user:c"]).status, 1);
}

/// Writers that take a lock by a check that nobody holds it. Whoever has it reads a number and writes the next one without
/// any other care: if two ever had it together, a number would be written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_is_a_lock_that_eight_writers_never_hold_together() {
    const ROUNDS: usize = 12;
    const FREE: &str = "user:anyone";
    let server = Server::furnished();
    let mut client = server.permissions().await;
    client.write_relationships(touch(&["document:number0#owner@user:counter"])).await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..8 {
        let mut own = own(&server).await;
        let mut client = server.permissions().await;
        writers.push(tokio::spawn(async move {
            let mut refusals = 0;
            for _ in 0..ROUNDS {
                // Everybody may view it while it is held. A touch: nothing but the check refuses it.
                let mark = format!("document:lock#owner@user:w{writer}");
                let take = ["document:lock#viewer@user:*", &mark];
                let free = || vec![must(false, "document:lock", "view", FREE)];
                while let Err(status) = own.write_relationships(guarded(&take, free())).await {
                    assert_eq!(reason(&status).0, "WRITE_OR_DELETE_PRECONDITION_FAILURE", "{status:?}");
                    refusals += 1;
                    tokio::task::yield_now().await;
                }
                let number = read_number(&mut client).await;
                let next = relationship(&format!("document:number{}#owner@user:counter", number + 1));
                let mut updates = deleting(&[&format!("document:number{number}#owner@user:counter")]);
                let operation = Operation::Create as i32;
                updates.push(authzed::RelationshipUpdate { operation, relationship: Some(next) });
                let request = authzed::WriteRelationshipsRequest { updates, ..Default::default() };
                client.write_relationships(request).await.unwrap();
                let mut release =
                    guarded(&[], vec![must(true, "document:lock", "edit", &format!("user:w{writer}"))]);
                release.updates = deleting(&take);
                own.write_relationships(release).await.unwrap();
            }
            refusals
        }));
    }
    let mut refusals = 0;
    for writer in writers {
        refusals += writer.await.unwrap();
    }
    assert!(refusals > 0, "nobody ever waited");
    assert_eq!(read_number(&mut client).await, 8 * ROUNDS);
    let held = client.check_permission(check("document:lock", "view", FREE)).await.unwrap().into_inner();
    assert_eq!(held.permissionship, 1);
}

/// The one number that is written.
async fn read_number<T>(
    client: &mut authzed::permissions_service_client::PermissionsServiceClient<T>,
) -> usize
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let filter = authzed::RelationshipFilter {
        optional_resource_id_prefix: "number".to_owned(),
        ..of_type("document")
    };
    let request = authzed::ReadRelationshipsRequest {
        relationship_filter: Some(filter),
        consistency: Some(authzed::Consistency {
            requirement: Some(authzed::consistency::Requirement::FullyConsistent(true)),
        }),
        ..Default::default()
    };
    let mut rows = client.read_relationships(request).await.unwrap().into_inner();
    let mut numbers = Vec::new();
    while let Some(row) = rows.message().await.unwrap() {
        let id = row.relationship.unwrap().resource.unwrap().object_id;
        numbers.push(id.strip_prefix("number").unwrap().parse().unwrap());
    }
    let [number] = numbers[..] else { panic!("{numbers:?}") };
    number
}
