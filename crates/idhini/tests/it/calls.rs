use std::collections::BTreeSet;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use prost::Message as _;
use tonic::{Code, Request};

use crate::process::{KEY, SCHEMA, Server, check, object, of_type, reason, relationship, subject, touch};

fn consistency(requirement: Requirement) -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(requirement) })
}

fn token(text: &str) -> v1::ZedToken {
    v1::ZedToken { token: text.to_owned() }
}

#[tokio::test]
async fn without_a_known_key_only_health_is_told() {
    let server = Server::furnished();
    let channel = server.channel().await;
    for (header, code) in [
        (None, Code::Unauthenticated),
        (Some("Basic abc".to_owned()), Code::Unauthenticated),
        (Some("Bearer wrong".to_owned()), Code::PermissionDenied),
        (Some(format!("Bearer {KEY}x")), Code::PermissionDenied),
    ] {
        let with = |mut request: Request<()>| {
            if let Some(header) = &header {
                request.metadata_mut().insert("authorization", header.parse().unwrap());
            }
            Ok(request)
        };
        let mut permissions = PermissionsServiceClient::with_interceptor(channel.clone(), with);
        let mut schemas = SchemaServiceClient::with_interceptor(channel.clone(), with);
        let refused = [
            permissions.check_permission(check("document:readme", "view", "user:tom")).await.unwrap_err(),
            permissions
                .write_relationships(touch(&["document:readme#viewer@user:mallory"]))
                .await
                .unwrap_err(),
            schemas.read_schema(v1::ReadSchemaRequest {}).await.unwrap_err(),
            schemas.write_schema(v1::WriteSchemaRequest::default()).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|status| status.code() == code), "{refused:?}");
        let read = v1::ReadRelationshipsRequest {
            relationship_filter: Some(of_type("document")),
            ..Default::default()
        };
        assert_eq!(permissions.read_relationships(read).await.unwrap_err().code(), code);
        let mut watches = WatchServiceClient::with_interceptor(channel.clone(), with);
        assert_eq!(watches.watch(v1::WatchRequest::default()).await.unwrap_err().code(), code);
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["PermissionsService", "SchemaService", "WatchService"] {
        let service = format!("authzed.api.v1.{service}");
        let request = tonic_health::pb::HealthCheckRequest { service };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
    }
    assert_eq!(server.run(&["check", "document:readme", "view", "user:mallory"]).status, 1);
}

#[tokio::test]
async fn each_consistency_answers_from_the_snapshot_it_promises() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let before = client.write_relationships(touch(&["document:d#viewer@user:a"])).await.unwrap().into_inner();
    let before = before.written_at.unwrap();
    let after = client.write_relationships(touch(&["document:d#viewer@user:b"])).await.unwrap().into_inner();
    let after = after.written_at.unwrap();
    let migrated = token("GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA=");
    let stranger = {
        let other = Server::furnished();
        let mut client = other.permissions().await;
        client
            .check_permission(check("document:d", "view", "user:b"))
            .await
            .unwrap()
            .into_inner()
            .checked_at
            .unwrap()
    };
    let table = [
        (None, Ok((Permissionship::HasPermission, &after))),
        (consistency(Requirement::MinimizeLatency(true)), Ok((Permissionship::HasPermission, &after))),
        (consistency(Requirement::FullyConsistent(true)), Ok((Permissionship::HasPermission, &after))),
        (
            consistency(Requirement::AtLeastAsFresh(before.clone())),
            Ok((Permissionship::HasPermission, &after)),
        ),
        (
            consistency(Requirement::AtExactSnapshot(before.clone())),
            Ok((Permissionship::NoPermission, &before)),
        ),
        (
            consistency(Requirement::AtExactSnapshot(after.clone())),
            Ok((Permissionship::HasPermission, &after)),
        ),
        // Nothing is fresher than the newest, whoever made the token.
        (
            consistency(Requirement::AtLeastAsFresh(migrated.clone())),
            Ok((Permissionship::HasPermission, &after)),
        ),
        (
            consistency(Requirement::AtLeastAsFresh(stranger.clone())),
            Ok((Permissionship::HasPermission, &after)),
        ),
        (consistency(Requirement::AtExactSnapshot(migrated)), Err(Code::OutOfRange)),
        (consistency(Requirement::AtExactSnapshot(stranger)), Err(Code::OutOfRange)),
        (consistency(Requirement::AtLeastAsFresh(token("garbage"))), Err(Code::InvalidArgument)),
        (consistency(Requirement::AtLeastAsFresh(token(""))), Err(Code::InvalidArgument)),
        (consistency(Requirement::AtExactSnapshot(token("garbage"))), Err(Code::InvalidArgument)),
        (consistency(Requirement::MinimizeLatency(false)), Err(Code::InvalidArgument)),
        (consistency(Requirement::FullyConsistent(false)), Err(Code::InvalidArgument)),
    ];
    for (consistency, wanted) in table {
        let request = v1::CheckPermissionRequest {
            consistency: consistency.clone(),
            ..check("document:d", "view", "user:b")
        };
        let answer = client.check_permission(request).await.map(|a| a.into_inner());
        let got = answer.as_ref().map(|a| (a.permissionship(), a.checked_at.as_ref().unwrap()));
        assert_eq!(got.map_err(|status| status.code()), wanted, "{consistency:?}");
    }
}

#[tokio::test]
async fn a_bulk_check_answers_each_item_by_itself() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let item = |resource: &str, permission: &str, by: &str| v1::CheckBulkPermissionsRequestItem {
        resource: object(resource),
        permission: permission.to_owned(),
        subject: subject(by),
        context: None,
    };
    let items = vec![
        item("document:readme", "view", "user:tom"),
        item("nothing:readme", "view", "user:tom"),
        item("document:readme", "view", "user:bob"),
        item("document:readme", "nothing", "user:tom"),
        item("document:readme", "view", "user:eve"),
        item("document:readme", "view", "user:*"),
        item("document:readme", "view", "user:tom"),
    ];
    for with_tracing in [false, true] {
        let request =
            v1::CheckBulkPermissionsRequest { items: items.clone(), with_tracing, ..Default::default() };
        let pairs = client.check_bulk_permissions(request).await.unwrap().into_inner().pairs;
        let got: Vec<i32> = pairs
            .iter()
            .map(|pair| match pair.response.as_ref().unwrap() {
                v1::check_bulk_permissions_pair::Response::Item(item) => {
                    assert_eq!(item.debug_trace.is_some(), with_tracing);
                    item.permissionship
                }
                v1::check_bulk_permissions_pair::Response::Error(error) => -error.code,
            })
            .collect();
        assert_eq!(got, [2, -9, 1, -9, 3, -3, 2]);
        assert!(pairs.iter().zip(&items).all(|(pair, item)| pair.request.as_ref() == Some(item)));
    }
}

#[tokio::test]
async fn the_traces_of_a_bulk_check_share_one_budget_and_one_schema() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let item = v1::CheckBulkPermissionsRequestItem {
        resource: object("document:readme"),
        permission: "view".to_owned(),
        subject: subject("user:tom"),
        context: None,
    };
    let items = vec![item; 10_000];
    let request = v1::CheckBulkPermissionsRequest { items, with_tracing: true, ..Default::default() };
    let answer = client.check_bulk_permissions(request).await.unwrap().into_inner();
    assert!(answer.encoded_len() < 4 << 20, "{} bytes", answer.encoded_len());
    let traces: Vec<Option<&v1::DebugInformation>> = answer
        .pairs
        .iter()
        .map(|pair| match pair.response.as_ref().unwrap() {
            v1::check_bulk_permissions_pair::Response::Item(item) => {
                assert_eq!(item.permissionship(), Permissionship::HasPermission);
                item.debug_trace.as_ref()
            }
            v1::check_bulk_permissions_pair::Response::Error(error) => panic!("{error:?}"),
        })
        .collect();
    assert!(traces[0].unwrap().schema_used.contains("definition document"));
    assert!(traces[1].unwrap().schema_used.is_empty() && traces[1].unwrap().check.is_some());
    let told = traces.iter().take_while(|trace| trace.is_some()).count();
    assert!((100..9_000).contains(&told), "{told} items have a trace");
    assert!(traces[told..].iter().all(Option::is_none));
}

#[tokio::test]
async fn trailers_tell_the_request_its_cost_and_on_request_the_version() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let mut request = Request::new(check("document:readme", "view", "user:tom"));
    request.metadata_mut().insert("x-request-id", "mine".parse().unwrap());
    request.metadata_mut().insert("io.spicedb.requestversion", "1".parse().unwrap());
    let metadata = client.check_permission(request).await.unwrap().metadata().clone();
    assert_eq!(metadata.get("x-request-id").unwrap(), "mine");
    assert_eq!(metadata.get("io.spicedb.respmeta.requestid").unwrap(), "mine");
    assert!(metadata.contains_key("io.spicedb.debug.version"));
    let edges: u64 = metadata
        .get("io.spicedb.respmeta.dispatchedoperationscount")
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(edges > 0);
    let written = client.write_relationships(touch(&["document:d#viewer@user:tom"])).await.unwrap();
    for count in ["dispatchedoperationscount", "cachedoperationscount"] {
        assert_eq!(written.metadata().get(format!("io.spicedb.respmeta.{count}")).unwrap(), "0");
    }
    let refused = client.check_permission(check("nothing:a", "view", "user:tom")).await.unwrap_err();
    assert!(refused.metadata().contains_key("x-request-id"));
    assert!(!refused.metadata().contains_key("io.spicedb.debug.version"));
}

#[tokio::test]
async fn an_import_is_one_transaction_and_an_export_returns_it() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let page = |numbers: std::ops::Range<u32>| v1::ImportBulkRelationshipsRequest {
        relationships: numbers
            .map(|n| relationship(&format!("document:d{n}#viewer@user:u{}", n % 97)))
            .collect(),
    };
    let pages: Vec<_> = (0..20).map(|p| page(p * 500..(p + 1) * 500)).collect();
    let loaded =
        client.import_bulk_relationships(tokio_stream::iter(pages.clone())).await.unwrap().into_inner();
    assert_eq!(loaded.num_loaded, 10_000);
    // One that exists, at the very end, undoes everything before it.
    let again = tokio_stream::iter([page(20_000..20_400), page(9_999..10_000)]);
    let refused = client.import_bulk_relationships(again).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).0.as_str()),
        (Code::AlreadyExists, "ATTEMPT_TO_RECREATE_RELATIONSHIP")
    );
    let mut exported = BTreeSet::new();
    let mut stream = client
        .export_bulk_relationships(v1::ExportBulkRelationshipsRequest::default())
        .await
        .unwrap()
        .into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        for r in message.relationships {
            exported.insert(idhini_model::Relationship::try_from(r).unwrap().to_string());
        }
    }
    assert_eq!(exported.len(), 10_000 + 7);
    assert!(
        exported.contains("document:d9999#viewer@user:u8")
            && !exported.contains("document:d20000#viewer@user:u18")
    );
}

#[tokio::test]
async fn an_import_that_breaks_off_leaves_nothing() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let call = {
        let mut client = client.clone();
        let stream = tokio_stream::StreamExt::map_while(
            futures_of(receiver),
            |message: Option<v1::ImportBulkRelationshipsRequest>| message,
        );
        tokio::spawn(async move { client.import_bulk_relationships(stream).await })
    };
    let relationships = vec![relationship("document:half#viewer@user:tom")];
    sender.send(v1::ImportBulkRelationshipsRequest { relationships }).await.unwrap();
    sender.reserve().await.unwrap();
    call.abort();
    let answer =
        client.check_permission(check("document:half", "view", "user:tom")).await.unwrap().into_inner();
    assert_eq!(answer.permissionship(), Permissionship::NoPermission);
}

/// A stream that goes on as long as its sender lives.
fn futures_of<T: Send + 'static>(
    receiver: tokio::sync::mpsc::Receiver<T>,
) -> impl tokio_stream::Stream<Item = Option<T>> + Send {
    let endless =
        tokio_stream::iter(std::iter::repeat(std::sync::Arc::new(tokio::sync::Mutex::new(receiver))));
    tokio_stream::StreamExt::then(endless, |receiver| async move { receiver.lock().await.recv().await })
}

#[tokio::test]
async fn a_reader_that_leaves_or_runs_out_of_time_disturbs_nobody() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let relationships =
        (0..20_000).map(|n| relationship(&format!("document:d{n}#viewer@user:tom"))).collect::<Vec<_>>();
    let pages: Vec<_> = relationships
        .chunks(5_000)
        .map(|chunk| v1::ImportBulkRelationshipsRequest { relationships: chunk.to_vec() })
        .collect();
    client.import_bulk_relationships(tokio_stream::iter(pages)).await.unwrap();
    let read = || v1::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        ..Default::default()
    };
    for _ in 0..20 {
        let mut stream = client.read_relationships(read()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
    }
    let mut hurried = Request::new(read());
    hurried.metadata_mut().insert("grpc-timeout", "1m".parse().unwrap());
    let outcome = async {
        let mut stream = client.read_relationships(hurried).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    let code = outcome.await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    let lookup = v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:tom"),
        ..Default::default()
    };
    let mut stream = client.lookup_resources(lookup).await.unwrap().into_inner();
    let mut found = 0;
    while stream.message().await.unwrap().is_some() {
        found += 1;
    }
    assert_eq!(found, 20_001);
}

#[tokio::test]
async fn the_longest_schema_is_taken_and_a_longer_one_refused() {
    let server = Server::start(&[]);
    let mut client = server.schemas().await;
    let padded = |bytes: usize| {
        let mut schema = format!("{SCHEMA}// ");
        schema.push_str(&"x".repeat(bytes - schema.len()));
        v1::WriteSchemaRequest { schema }
    };
    client.write_schema(padded(4 << 20)).await.unwrap();
    let refused = client.write_schema(padded((4 << 20) + 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_schema_calls_agree_with_the_schema() {
    let server = Server::furnished();
    let mut client = server.schemas().await;
    let text = client.read_schema(v1::ReadSchemaRequest {}).await.unwrap().into_inner().schema_text;
    let diff =
        |text: &str| v1::DiffSchemaRequest { comparison_schema: text.to_owned(), ..Default::default() };
    assert!(client.diff_schema(diff(&text)).await.unwrap().into_inner().diffs.is_empty());
    let changed = text.replace("permission edit = owner", "permission edit = owner + viewer");
    assert_eq!(client.diff_schema(diff(&changed)).await.unwrap().into_inner().diffs.len(), 1);
    let reflected = client.reflect_schema(v1::ReflectSchemaRequest::default()).await.unwrap().into_inner();
    let names: Vec<&str> = reflected.definitions.iter().map(|d| d.name.as_str()).collect();
    assert_eq!((names, reflected.caveats.len()), (vec!["document", "group", "user"], 1));
    let of = |permission: &str| v1::DependentRelationsRequest {
        definition_name: "document".to_owned(),
        permission_name: permission.to_owned(),
        ..Default::default()
    };
    let relations = client.dependent_relations(of("edit")).await.unwrap().into_inner().relations;
    assert_eq!((relations.len(), relations[0].relation_name.as_str()), (1, "owner"));
    assert_eq!(client.dependent_relations(of("owner")).await.unwrap_err().code(), Code::InvalidArgument);
    let computable = v1::ComputablePermissionsRequest {
        definition_name: "document".to_owned(),
        relation_name: "owner".to_owned(),
        ..Default::default()
    };
    let permissions = client.computable_permissions(computable).await.unwrap().into_inner().permissions;
    let names: BTreeSet<&str> = permissions.iter().map(|p| p.relation_name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["edit", "view"]));
}

#[tokio::test]
async fn a_long_chain_is_answered_and_explained_as_deep_as_clients_can_read() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let mut chain: Vec<String> =
        (0..500).map(|n| format!("group:c{n}#member@group:c{}#member", n + 1)).collect();
    chain.push("group:c500#member@user:deep".to_owned());
    chain.push("document:deep#viewer@group:c0#member".to_owned());
    let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    client.write_relationships(touch(&chain)).await.unwrap();
    for (who, wanted) in
        [("user:deep", Permissionship::HasPermission), ("user:tom", Permissionship::NoPermission)]
    {
        let request =
            v1::CheckPermissionRequest { with_tracing: true, ..check("document:deep", "view", who) };
        let answer = client.check_permission(request).await.unwrap().into_inner();
        assert_eq!(answer.permissionship(), wanted);
        let trace = answer.debug_trace.unwrap();
        assert!(trace.schema_used.contains("definition document"));
        assert_eq!(trace.check.unwrap().permission, "view");
    }
    let expand = v1::ExpandPermissionTreeRequest {
        resource: object("document:deep"),
        permission: "view".to_owned(),
        consistency: None,
    };
    assert!(client.expand_permission_tree(expand).await.unwrap().into_inner().tree_root.is_some());
}

#[tokio::test]
async fn deeply_nested_values_never_make_an_explanation_unreadable() {
    let server = Server::start(&[]);
    let schema = "caveat deep(m map<any>) { size(m) > 0 }
        definition user {}
        definition group { relation member: user | user with deep | group#member }";
    let schema = v1::WriteSchemaRequest { schema: schema.to_owned() };
    server.schemas().await.write_schema(schema).await.unwrap();
    let mut client = server.permissions().await;
    let mut texts: Vec<String> =
        (0..60).map(|n| format!("group:c{n}#member@group:c{}#member", n + 1)).collect();
    for nested in 0..25 {
        let value = format!("{}1{}", r#"{"a":"#.repeat(nested + 1), "}".repeat(nested + 1));
        texts.push(format!(r#"group:c60#member@user:u{nested}[deep:{{"m":{value}}}]"#));
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    client.write_relationships(touch(&texts)).await.unwrap();
    let (mut shown, mut left_out) = (0, 0);
    for hops in 0..61 {
        for nested in [0, 1, 5, 24] {
            let from = format!("group:c{}", 60 - hops);
            let item = v1::CheckBulkPermissionsRequestItem {
                resource: object(&from),
                permission: "member".to_owned(),
                subject: subject(&format!("user:u{nested}")),
                context: None,
            };
            let request = v1::CheckBulkPermissionsRequest {
                items: vec![item],
                with_tracing: true,
                ..Default::default()
            };
            // Decoded by a client of prost, whose limit is that of the others.
            let answer = client.check_bulk_permissions(request).await.unwrap().into_inner();
            let text = format!("{answer:?}");
            shown += usize::from(text.contains("NumberValue(1.0)"));
            left_out += usize::from(
                text.contains("caveat_name: \"deep\"") && text.contains("context: None, partial"),
            );
        }
    }
    assert!(shown > 60 && left_out > 10, "{shown} shown, {left_out} left out");
}

#[tokio::test]
async fn the_deepest_context_of_a_bulk_check_comes_back_readable() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    for depth in [1, 16, idhini_model::VALUE_DEPTH_MAX] {
        let value = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let context = idhini_model::Context::from_json(&value).unwrap();
        let item = v1::CheckBulkPermissionsRequestItem {
            resource: object("document:readme"),
            permission: "view".to_owned(),
            subject: subject("user:tom"),
            context: Some(idhini_wire::context_message(context)),
        };
        let request = v1::CheckBulkPermissionsRequest { items: vec![item], ..Default::default() };
        if let Err(status) = client.check_bulk_permissions(request).await {
            panic!("depth {depth}: {status:?}");
        }
    }
}

#[tokio::test]
async fn a_write_whose_deadline_has_passed_changes_nothing() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let mut late = Request::new(touch(&["document:late#viewer@user:tom"]));
    late.metadata_mut().insert("grpc-timeout", "1n".parse().unwrap());
    let code = client.write_relationships(late).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    // Writes take effect one after the other, so what was to come of the first has come.
    client.write_relationships(touch(&["document:next#viewer@user:tom"])).await.unwrap();
    for (document, wanted) in
        [("document:late", Permissionship::NoPermission), ("document:next", Permissionship::HasPermission)]
    {
        let asked = v1::CheckPermissionRequest {
            consistency: consistency(Requirement::FullyConsistent(true)),
            ..check(document, "view", "user:tom")
        };
        assert_eq!(client.check_permission(asked).await.unwrap().into_inner().permissionship(), wanted);
    }
}

#[tokio::test]
async fn a_check_tells_until_when_its_answer_lasts() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let expiring = "document:e#viewer@user:ann[expiration:2100-01-01T00:00:00.25Z]";
    client.write_relationships(touch(&[expiring, "document:e#viewer@user:bob"])).await.unwrap();
    for (who, seconds) in [("user:ann", Some(4_102_444_800)), ("user:bob", None), ("user:nobody", None)] {
        let answer = client.check_permission(check("document:e", "view", who)).await.unwrap().into_inner();
        let told = answer.optional_expires_at.map(|at| (at.seconds, at.nanos));
        assert_eq!(told, seconds.map(|seconds| (seconds, 250_000_000)), "{who}");
    }
}

#[tokio::test]
async fn a_bulk_check_over_its_budget_answers_what_it_asked_and_refuses_the_rest_each_by_itself() {
    let server = Server::start(&["--bulk-cost-max", "1"]);
    server.schemas().await.write_schema(v1::WriteSchemaRequest { schema: SCHEMA.to_owned() }).await.unwrap();
    let mut client = server.permissions().await;
    client.write_relationships(touch(&["document:readme#viewer@user:tom"])).await.unwrap();
    let items = ["user:tom", "user:ann", "user:eve"].map(|by| v1::CheckBulkPermissionsRequestItem {
        resource: object("document:readme"),
        permission: "view".to_owned(),
        subject: subject(by),
        context: None,
    });
    for with_tracing in [false, true] {
        let request =
            v1::CheckBulkPermissionsRequest { items: items.to_vec(), with_tracing, ..Default::default() };
        let answer = client.check_bulk_permissions(request).await.unwrap().into_inner();
        let codes: Vec<_> = answer
            .pairs
            .into_iter()
            .map(|pair| match pair.response.unwrap() {
                v1::check_bulk_permissions_pair::Response::Item(item) => {
                    assert_eq!(item.permissionship, 2);
                    0
                }
                v1::check_bulk_permissions_pair::Response::Error(error) => {
                    assert!(error.message.contains("ask for fewer at a time"), "{}", error.message);
                    error.code
                }
            })
            .collect();
        let exhausted = Code::ResourceExhausted as i32;
        assert_eq!(codes, [0, exhausted, exhausted], "tracing: {with_tracing}");
    }
}
