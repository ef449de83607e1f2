//! `ExperimentalService`: older names answer as the newer ones do, and counters are exact, durable and of their revision.

use std::collections::HashMap;
use std::path::Path;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::experimental_count_relationships_response::CounterResult;
use idhini_wire::authzed::api::v1::experimental_service_client::ExperimentalServiceClient;
use prost::Message;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::durable::{copied, now, viewers, write};
use crate::process::{
    KEY, RELATIONSHIPS, SCHEMA, Server, folder, object, of_type, reason, relationship, subject, with_key,
};
use crate::watch::{Following, told};

pub type Client =
    ExperimentalServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

pub async fn client(server: &Server) -> Client {
    ExperimentalServiceClient::with_interceptor(server.channel().await, with_key as fn(_) -> _)
}

fn fully() -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(Requirement::FullyConsistent(true)) })
}

pub fn of_relation(resource_type: &str, relation: &str) -> v1::RelationshipFilter {
    v1::RelationshipFilter { optional_relation: relation.to_owned(), ..of_type(resource_type) }
}

pub fn registering(
    name: &str,
    filter: v1::RelationshipFilter,
) -> v1::ExperimentalRegisterRelationshipCounterRequest {
    v1::ExperimentalRegisterRelationshipCounterRequest {
        name: name.to_owned(),
        relationship_filter: Some(filter),
    }
}

fn unregistering(name: &str) -> v1::ExperimentalUnregisterRelationshipCounterRequest {
    v1::ExperimentalUnregisterRelationshipCounterRequest { name: name.to_owned() }
}

pub fn counting(name: &str) -> v1::ExperimentalCountRelationshipsRequest {
    v1::ExperimentalCountRelationshipsRequest { name: name.to_owned() }
}

async fn register(client: &mut Client, name: &str, filter: v1::RelationshipFilter) {
    client.experimental_register_relationship_counter(registering(name, filter)).await.unwrap();
}

/// What a counter counts, and where.
async fn counted(
    client: &mut Client,
    request: impl tonic::IntoRequest<v1::ExperimentalCountRelationshipsRequest>,
) -> Result<(u64, v1::ZedToken), Status> {
    let answer = client.experimental_count_relationships(request).await?.into_inner();
    match answer.counter_result {
        Some(CounterResult::ReadCounterValue(value)) => {
            Ok((value.relationship_count, value.read_at.unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

async fn count(server: &Server, name: &str) -> Result<u64, Status> {
    Ok(counted(&mut client(server).await, counting(name)).await?.0)
}

fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Both say the same, field by field: the messages differ in their names only.
fn assert_same<O: Message, N: Message + Default + PartialEq + std::fmt::Debug>(older: &O, newer: &N) {
    assert_eq!(N::decode(older.encode_to_vec().as_slice()).as_ref(), Ok(newer));
}

/// The message of the older call that says what this one says.
fn older<N: Message, O: Message + Default>(newer: &N) -> Request<O> {
    Request::new(O::decode(newer.encode_to_vec().as_slice()).unwrap())
}

#[tokio::test]
async fn without_a_key_none_of_the_ten_calls_is_answered_and_health_is_told() {
    let server = Server::furnished();
    let channel = server.channel().await;
    let mut client = ExperimentalServiceClient::new(channel.clone());
    let refused = [
        client.bulk_import_relationships(tokio_stream::iter([])).await.err(),
        client.bulk_export_relationships(v1::BulkExportRelationshipsRequest::default()).await.err(),
        client.bulk_check_permission(v1::BulkCheckPermissionRequest::default()).await.err(),
        client.experimental_reflect_schema(v1::ExperimentalReflectSchemaRequest::default()).await.err(),
        client
            .experimental_computable_permissions(v1::ExperimentalComputablePermissionsRequest::default())
            .await
            .err(),
        client
            .experimental_dependent_relations(v1::ExperimentalDependentRelationsRequest::default())
            .await
            .err(),
        client.experimental_diff_schema(v1::ExperimentalDiffSchemaRequest::default()).await.err(),
        client
            .experimental_register_relationship_counter(registering("documents", of_type("document")))
            .await
            .err(),
        client.experimental_count_relationships(counting("documents")).await.err(),
        client.experimental_unregister_relationship_counter(unregistering("documents")).await.err(),
    ];
    for status in refused {
        assert_eq!(status.unwrap().code(), Code::Unauthenticated);
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let service = "authzed.api.v1.ExperimentalService".to_owned();
    let request = tonic_health::pb::HealthCheckRequest { service };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
}

#[tokio::test]
async fn older_names_of_reflection_answer_what_the_newer_ones_do() {
    let server = Server::furnished();
    let (mut older_names, mut newer_names) = (client(&server).await, server.schemas().await);
    for filters in [vec![], vec![("document", "")], vec![("group", ""), ("", "only_on")]] {
        let filter = |(definition, caveat): (&str, &str)| v1::ReflectionSchemaFilter {
            optional_definition_name_filter: definition.to_owned(),
            optional_caveat_name_filter: caveat.to_owned(),
            ..Default::default()
        };
        let optional_filters = filters.iter().copied().map(filter).collect();
        let asked = v1::ReflectSchemaRequest { consistency: fully(), optional_filters };
        let answer = older_names.experimental_reflect_schema(older(&asked)).await.unwrap();
        let newer = newer_names.reflect_schema(asked).await.unwrap().into_inner();
        assert!(newer.definitions.len() + newer.caveats.len() > 0);
        assert_same(&answer.into_inner(), &newer);
    }
    let asked = v1::ComputablePermissionsRequest {
        consistency: fully(),
        definition_name: "document".to_owned(),
        relation_name: "owner".to_owned(),
        ..Default::default()
    };
    let answer = older_names.experimental_computable_permissions(older(&asked)).await.unwrap();
    let newer = newer_names.computable_permissions(asked).await.unwrap().into_inner();
    assert_eq!(newer.permissions.len(), 2);
    assert_same(&answer.into_inner(), &newer);
    let asked = v1::DependentRelationsRequest {
        consistency: fully(),
        definition_name: "document".to_owned(),
        permission_name: "view".to_owned(),
    };
    let answer = older_names.experimental_dependent_relations(older(&asked)).await.unwrap();
    let newer = newer_names.dependent_relations(asked).await.unwrap().into_inner();
    assert!(newer.relations.len() > 3);
    assert_same(&answer.into_inner(), &newer);
    // A schema that differs in every way that there is a message for.
    let changed = SCHEMA
        .replace("definition user {}", "/** somebody */\ndefinition user {}\ndefinition folder {}")
        .replace("level int", "level string, more bool")
        .replace("level > 3", "level == \"3\" && more")
        .replace("  relation banned: user\n", "  /** who reads */\n  relation reader: user\n")
        .replace(
            "permission edit = owner",
            "/** may */\n  permission edit = owner\n  permission read = reader",
        )
        .replace("viewer + edit - banned", "viewer + reader")
        .replace("user | group#member\n}", "user | folder\n}");
    for (text, minimum) in [(changed.as_str(), 10), (SCHEMA, 0), ("definition user {}", 3)] {
        let comparison_schema = text.to_owned();
        let asked = v1::DiffSchemaRequest { consistency: fully(), comparison_schema };
        let answer = older_names.experimental_diff_schema(older(&asked)).await.unwrap();
        let newer = newer_names.diff_schema(asked).await.unwrap().into_inner();
        assert!(newer.diffs.len() >= minimum, "{:?}", newer.diffs);
        assert_same(&answer.into_inner(), &newer);
    }
    // Refusals are the same too.
    let nothing = v1::DependentRelationsRequest {
        definition_name: "document".to_owned(),
        permission_name: "nothing".to_owned(),
        ..Default::default()
    };
    let refused = older_names.experimental_dependent_relations(older(&nothing)).await.unwrap_err();
    let newer = newer_names.dependent_relations(nothing).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, newer.message()));
    let keys = [("definition_name", "document"), ("relation_or_permission_name", "nothing")];
    assert_eq!(reason(&refused), ("UNKNOWN_RELATION_OR_PERMISSION".to_owned(), metadata(&keys)));
    let bad = v1::ExperimentalDiffSchemaRequest {
        comparison_schema: "definition {".to_owned(),
        ..Default::default()
    };
    let refused = older_names.experimental_diff_schema(bad).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::InvalidArgument, "SCHEMA_PARSE_ERROR"));
    let both = v1::ExperimentalReflectSchemaRequest {
        optional_filters: vec![v1::ExpSchemaFilter {
            optional_definition_name_filter: "document".to_owned(),
            optional_caveat_name_filter: "only_on".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let refused = older_names.experimental_reflect_schema(both).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::InvalidArgument, "INVALID_FILTER"));
    let unknown = v1::ExperimentalComputablePermissionsRequest {
        definition_name: "nothing".to_owned(),
        ..Default::default()
    };
    let refused = older_names.experimental_computable_permissions(unknown).await.unwrap_err();
    let keys = metadata(&[("definition_name", "nothing")]);
    assert_eq!(reason(&refused), ("UNKNOWN_DEFINITION".to_owned(), keys));
}

#[tokio::test]
async fn the_older_bulk_check_answers_each_item_as_the_newer_one_does() {
    let server = Server::furnished();
    let (mut older_name, mut newer_name) = (client(&server).await, server.permissions().await);
    let item = |resource: &str, permission: &str, by: &str| v1::CheckBulkPermissionsRequestItem {
        resource: object(resource),
        permission: permission.to_owned(),
        subject: subject(by),
        context: None,
    };
    let mut with_context = item("document:readme", "view", "user:eve");
    let context = idhini_model::Context::from_json(r#"{"level":5}"#).unwrap();
    with_context.context = Some(idhini_wire::context_message(context));
    let items = vec![
        item("document:readme", "view", "user:tom"),
        item("document:readme", "view", "user:bob"),
        item("document:readme", "view", "user:eve"),
        with_context,
        item("nothing:readme", "view", "user:eve"),
        item("document:readme", "view", "user:*"),
    ];
    let asked = v1::CheckBulkPermissionsRequest { consistency: fully(), items, with_tracing: false };
    let answer = older_name.bulk_check_permission(older(&asked)).await.unwrap().into_inner();
    let errors = answer
        .pairs
        .iter()
        .filter(|pair| matches!(pair.response, Some(v1::bulk_check_permission_pair::Response::Error(_))));
    assert_eq!((answer.pairs.len(), errors.count()), (6, 2));
    let newer = newer_name.check_bulk_permissions(asked).await.unwrap().into_inner();
    assert_same(&answer, &newer);
    let many = vec![v1::BulkCheckPermissionRequestItem::default(); 10_001];
    let asked = v1::BulkCheckPermissionRequest { consistency: None, items: many };
    let refused = older_name.bulk_check_permission(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let keys = metadata(&[("check_count", "10001"), ("maximum_checks_allowed", "10000")]);
    assert_eq!(reason(&refused), ("TOO_MANY_CHECKS_IN_REQUEST".to_owned(), keys));
}

fn importing(
    texts: &[&[&str]],
) -> impl tonic::IntoStreamingRequest<Message = v1::BulkImportRelationshipsRequest> {
    let message = |texts: &&[&str]| v1::BulkImportRelationshipsRequest {
        relationships: texts.iter().map(|text| relationship(text)).collect(),
    };
    tokio_stream::iter(texts.iter().map(message).collect::<Vec<_>>())
}

#[tokio::test]
async fn the_older_import_is_one_transaction() {
    let server = Server::furnished();
    let mut client = client(&server).await;
    let stream = importing(&[
        &["document:n1#viewer@user:tom", "document:n2#viewer@user:eve[only_on:{\"level\":4}]"],
        &[],
        &["document:n3#viewer@user:tom[expiration:2099-01-01T00:00:00Z]"],
    ]);
    assert_eq!(client.bulk_import_relationships(stream).await.unwrap().into_inner().num_loaded, 3);
    assert_eq!(client.bulk_import_relationships(importing(&[])).await.unwrap().into_inner().num_loaded, 0);
    let before = viewers(&server, Requirement::FullyConsistent(true)).await;
    assert_eq!(before, ["n1", "n2", "n3", "readme", "readme", "readme"]);
    let again = importing(&[&["document:n4#viewer@user:tom"], &["document:n1#viewer@user:tom"]]);
    let refused = client.bulk_import_relationships(again).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let (name, keys) = reason(&refused);
    assert_eq!(
        (name.as_str(), keys["relationship"].as_str()),
        ("ATTEMPT_TO_RECREATE_RELATIONSHIP", "document:n1#viewer@user:tom")
    );
    let unknown = importing(&[&["document:n4#viewer@user:tom"], &["nothing:n1#viewer@user:tom"]]);
    let refused = client.bulk_import_relationships(unknown).await.unwrap_err();
    assert_eq!(reason(&refused).0, "UNKNOWN_DEFINITION");
    assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await, before);
}

async fn exported(
    client: &mut Client,
    request: v1::BulkExportRelationshipsRequest,
) -> Result<Vec<v1::BulkExportRelationshipsResponse>, Status> {
    let mut stream = client.bulk_export_relationships(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

#[tokio::test]
async fn the_older_export_pages_as_the_newer_one_and_takes_its_cursors() {
    let server = Server::furnished();
    let mut client = client(&server).await;
    let asked = |optional_limit, optional_cursor| v1::BulkExportRelationshipsRequest {
        consistency: fully(),
        optional_limit,
        optional_cursor,
        optional_relationship_filter: None,
    };
    let relationships = |messages: &[v1::BulkExportRelationshipsResponse]| -> Vec<v1::Relationship> {
        messages.iter().flat_map(|message| message.relationships.clone()).collect()
    };
    let all = exported(&mut client, asked(0, None)).await.unwrap();
    assert_eq!((all.len(), all[0].relationships.len()), (1, 7));
    let all = relationships(&all);
    let pages = exported(&mut client, asked(2, None)).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.relationships.len()).collect::<Vec<_>>(), [2, 2, 2, 1]);
    assert_eq!(relationships(&pages), all);
    // What is written in between is not of the cursor's snapshot.
    write(&server, &["document:later#viewer@user:tom"]).await;
    for (at, page) in pages.iter().enumerate() {
        let cursor = page.after_result_cursor.clone();
        let rest = exported(&mut client, asked(3, cursor.clone())).await.unwrap();
        assert_eq!(relationships(&rest), all[(2 * (at + 1)).min(all.len())..]);
        let newer = v1::ExportBulkRelationshipsRequest { optional_cursor: cursor, ..Default::default() };
        let mut newer =
            server.permissions().await.export_bulk_relationships(newer).await.unwrap().into_inner();
        let mut read = Vec::new();
        while let Some(message) = newer.message().await.unwrap() {
            read.extend(message.relationships);
        }
        assert_eq!(read, relationships(&rest));
    }
    let mut other = asked(0, pages[0].after_result_cursor.clone());
    other.optional_relationship_filter = Some(of_type("document"));
    let refused = exported(&mut client, other).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::InvalidArgument, "INVALID_CURSOR"));
    let filtered = v1::BulkExportRelationshipsRequest {
        optional_relationship_filter: Some(of_type("group")),
        ..asked(0, None)
    };
    assert_eq!(relationships(&exported(&mut client, filtered).await.unwrap()).len(), 2);
    // More than the newer call takes.
    assert_eq!(exported(&mut client, asked(100_000, None)).await.unwrap().len(), 1);
    let refused = exported(&mut client, asked(100_001, None)).await.unwrap_err();
    let keys = metadata(&[("limit_provided", "100001"), ("maximum_limit_allowed", "100000")]);
    assert_eq!(reason(&refused), ("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT".to_owned(), keys));
}

#[tokio::test]
async fn a_counter_counts_exactly_what_counts_at_the_revision_that_it_names() {
    let server = Server::furnished();
    let mut client = client(&server).await;
    for (name, filter, expected) in [
        ("documents", of_type("document"), 5),
        ("viewers", of_relation("document", "viewer"), 3),
        (
            "of_readme",
            v1::RelationshipFilter { optional_resource_id: "readme".into(), ..of_type("document") },
            5,
        ),
        (
            "of_read",
            v1::RelationshipFilter { optional_resource_id_prefix: "read".into(), ..of_type("document") },
            5,
        ),
        (
            "of_nothing",
            v1::RelationshipFilter { optional_resource_id_prefix: "x".into(), ..of_type("document") },
            0,
        ),
        (
            "groups",
            v1::RelationshipFilter {
                optional_subject_filter: Some(v1::SubjectFilter {
                    subject_type: "group".to_owned(),
                    optional_relation: Some(v1::subject_filter::RelationFilter {
                        relation: "member".to_owned(),
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            },
            2,
        ),
    ] {
        register(&mut client, name, filter).await;
        assert_eq!(counted(&mut client, counting(name)).await.unwrap().0, expected, "{name}");
    }
    // What a count took is said behind it: whole classes are not walked.
    for (name, cost_max) in [("documents", 20), ("of_read", 20)] {
        let answer = client.experimental_count_relationships(counting(name)).await.unwrap();
        let cost = answer.metadata().get("io.spicedb.respmeta.dispatchedoperationscount").unwrap();
        let cost = cost.to_str().unwrap();
        assert!((1..=cost_max).contains(&cost.parse::<u64>().unwrap()), "{name}: {cost}");
    }
    let (_, first) = counted(&mut client, counting("viewers")).await.unwrap();
    let soon = soon();
    let written = write(
        &server,
        &["document:plan#viewer@user:ann", &format!("document:plan#viewer@user:gone[expiration:{soon}]")],
    )
    .await;
    // The expiration passes while this is counted.
    let mut counts = Vec::new();
    loop {
        let (count, token) = counted(&mut client, counting("viewers")).await.unwrap();
        counts.push(count);
        if count == 4 {
            break;
        }
        assert_eq!(token, written);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(counts.iter().all(|count| [4, 5].contains(count)), "{counts:?}");
    // The token is good for reading what was counted.
    assert_eq!(viewers(&server, Requirement::AtExactSnapshot(first)).await.len(), 3);
    assert_eq!(count(&server, "documents").await.unwrap(), 6);
}

/// A moment a little later.
#[expect(clippy::disallowed_methods, reason = "the test asks a real server about its own time")]
fn soon() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    idhini_model::Timestamp::from_seconds(since.as_secs().cast_signed() + 3).to_string()
}

#[tokio::test]
async fn counters_are_refused_with_the_reasons_of_the_contract() {
    let server = Server::furnished();
    let mut client = client(&server).await;
    register(&mut client, "viewers", of_relation("document", "viewer")).await;
    let filter = v1::RelationshipFilter {
        optional_resource_id_prefix: "re".to_owned(),
        optional_subject_filter: Some(v1::SubjectFilter {
            subject_type: "group".to_owned(),
            optional_subject_id: "eng".to_owned(),
            optional_relation: Some(v1::subject_filter::RelationFilter { relation: "member".to_owned() }),
        }),
        ..of_relation("document", "viewer")
    };
    let again = registering("viewers", filter);
    let refused = client.experimental_register_relationship_counter(again).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let keys = metadata(&[
        ("counter_name", "viewers"),
        ("new_filter_resource_type", "document"),
        ("new_filter_resource_id", ""),
        ("new_filter_resource_id_prefix", "re"),
        ("new_filter_relation", "viewer"),
        ("new_filter_subject_type", "group"),
        ("new_filter_subject_id", "eng"),
        ("new_filter_subject_relation", "member"),
    ]);
    assert_eq!(reason(&refused), ("COUNTER_ALREADY_REGISTERED".to_owned(), keys));
    let absent = [
        client.experimental_count_relationships(counting("absent")).await.unwrap_err(),
        client.experimental_unregister_relationship_counter(unregistering("absent")).await.unwrap_err(),
    ];
    for refused in absent {
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let keys = metadata(&[("counter_name", "absent")]);
        assert_eq!(reason(&refused), ("COUNTER_NOT_REGISTERED".to_owned(), keys));
    }
    let nothing = ("UNKNOWN_DEFINITION", metadata(&[("definition_name", "nothing")]));
    let no_relation =
        metadata(&[("definition_name", "document"), ("relation_or_permission_name", "nothing")]);
    for (name, filter, code, (why, keys)) in [
        ("some", of_type("nothing"), Code::FailedPrecondition, nothing.clone()),
        // What is to be counted is looked at before the name.
        ("viewers", of_type("nothing"), Code::FailedPrecondition, nothing),
        (
            "some",
            of_relation("document", "nothing"),
            Code::FailedPrecondition,
            ("UNKNOWN_RELATION_OR_PERMISSION", no_relation),
        ),
        (
            "some",
            v1::RelationshipFilter::default(),
            Code::InvalidArgument,
            ("INVALID_FILTER", metadata(&[("filter", "")])),
        ),
        ("", of_type("document"), Code::InvalidArgument, ("UNSPECIFIED", HashMap::new())),
        ("X", of_type("document"), Code::InvalidArgument, ("", HashMap::new())),
        ("a", of_type("document"), Code::InvalidArgument, ("", HashMap::new())),
    ] {
        let refused =
            client.experimental_register_relationship_counter(registering(name, filter)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (code, (why.to_owned(), keys)), "{name}: {refused:?}");
    }
    let without = v1::ExperimentalRegisterRelationshipCounterRequest {
        name: "some".to_owned(),
        relationship_filter: None,
    };
    let refused = client.experimental_register_relationship_counter(without).await.unwrap_err();
    assert!(refused.message().contains("`relationship_filter` is missing"), "{refused:?}");
    for name in ["", "X", &"a".repeat(65)] {
        assert_eq!(counted(&mut client, counting(name)).await.unwrap_err().code(), Code::InvalidArgument);
        let refused =
            client.experimental_unregister_relationship_counter(unregistering(name)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_eq!(count(&server, "viewers").await.unwrap(), 3);
    client.experimental_unregister_relationship_counter(unregistering("viewers")).await.unwrap();
    assert_eq!(reason(&count(&server, "viewers").await.unwrap_err()).0, "COUNTER_NOT_REGISTERED");
}

/// A server on a directory with the usual schema and relationships.
fn durable(data: &Path) -> Server {
    let files = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
    let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
    Server::durable(&[
        "--data-dir",
        data.to_str().unwrap(),
        "--schema",
        &path("s.zed"),
        "--relationships",
        &path("r.txt"),
    ])
}

/// A moment behind everything so far.
async fn behind() -> String {
    let moment = now();
    while now() == moment {
        tokio::task::yield_now().await;
    }
    moment
}

#[tokio::test]
async fn counters_outlive_a_kill_and_a_stop_and_the_past_has_its_own() {
    let data = folder(&[]).join("data");
    let server = durable(&data);
    let before = behind().await;
    let mut experimental = client(&server).await;
    register(&mut experimental, "viewers", of_relation("document", "viewer")).await;
    register(&mut experimental, "members", of_type("group")).await;
    let between = behind().await;
    write(&server, &["document:plan#viewer@user:ann"]).await;
    experimental.experimental_unregister_relationship_counter(unregistering("members")).await.unwrap();
    server.kill();
    let mut server = durable(&data);
    // Once from the log, once from an image.
    for end in [Server::kill as fn(Server), Server::stop] {
        assert_eq!(count(&server, "viewers").await.unwrap(), 4);
        assert_eq!(reason(&count(&server, "members").await.unwrap_err()).0, "COUNTER_NOT_REGISTERED");
        let mut client = client(&server).await;
        let again = registering("viewers", of_type("group"));
        let refused = client.experimental_register_relationship_counter(again).await.unwrap_err();
        assert_eq!(reason(&refused).0, "COUNTER_ALREADY_REGISTERED");
        let as_of = |name: &str, moment: &str| {
            let mut request = Request::new(counting(name));
            request.metadata_mut().insert("idhini-as-of", moment.parse().unwrap());
            let mut client = client.clone();
            async move { counted(&mut client, request).await.map(|(count, _)| count) }
        };
        assert_eq!(as_of("viewers", &between).await.unwrap(), 3);
        assert_eq!(as_of("members", &between).await.unwrap(), 2);
        for name in ["viewers", "members"] {
            assert_eq!(reason(&as_of(name, &before).await.unwrap_err()).0, "COUNTER_NOT_REGISTERED");
        }
        end(server);
        server = durable(&data);
    }
    assert_eq!(count(&server, "viewers").await.unwrap(), 4);
    server.stop();
    let arguments = ["debug", "log", "--data-dir", data.to_str().unwrap(), "--entries"];
    let log = crate::process::run(&arguments, &[], "").stdout;
    assert_eq!(log.lines().filter(|line| line.contains("  counter ")).count(), 3, "{log}");
}

/// As a server left it that was stopped with two counters, and killed after one was exchanged for another: an image with
/// counters, and entries of counters on both sides of it.
#[tokio::test]
async fn a_directory_with_counters_opens_with_all_of_them() {
    let server = Server::durable(&["--data-dir", copied("counters").to_str().unwrap()]);
    assert_eq!(count(&server, "viewers").await.unwrap(), 3);
    assert_eq!(count(&server, "members").await.unwrap(), 1);
    assert_eq!(reason(&count(&server, "of_ann").await.unwrap_err()).0, "COUNTER_NOT_REGISTERED");
    write(&server, &["document:d#viewer@user:bob"]).await;
    assert_eq!(count(&server, "viewers").await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_in_a_backup_and_a_restore_goes_back_to_before_them() {
    let folder = folder(&[]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let server = durable(&folder.join("data"));
    write(&server, &["document:plan#viewer@user:ann"]).await;
    let before = behind().await;
    register(&mut client(&server).await, "viewers", of_relation("document", "viewer")).await;
    write(&server, &["document:plan#viewer@user:bob"]).await;
    let run = |arguments: &[&str]| {
        let outcome = crate::process::run(arguments, &[("IDHINI_TOKEN", KEY)], "");
        assert_eq!(outcome.status, 0, "{arguments:?}: {}", outcome.stderr);
    };
    run(&["--addr", &server.address, "backup", &path("backup")]);
    run(&["backup", "verify", &path("backup")]);
    server.stop();
    run(&["restore", &path("backup"), "--data-dir", &path("newest")]);
    run(&["restore", &path("backup"), "--data-dir", &path("earlier"), "--to", &before]);
    let newest = Server::durable(&["--data-dir", &path("newest")]);
    assert_eq!(count(&newest, "viewers").await.unwrap(), 5);
    let earlier = Server::durable(&["--data-dir", &path("earlier")]);
    assert_eq!(reason(&count(&earlier, "viewers").await.unwrap_err()).0, "COUNTER_NOT_REGISTERED");
    register(&mut client(&earlier).await, "viewers", of_relation("document", "viewer")).await;
    assert_eq!(count(&earlier, "viewers").await.unwrap(), 4);
}

#[tokio::test]
async fn a_watch_passes_counters_and_its_checkpoints_are_behind_them() {
    let server = Server::furnished();
    let mut client = client(&server).await;
    let start = write(&server, &["document:a#viewer@user:ann"]).await;
    let kinds = [v1::WatchKind::IncludeRelationshipUpdates, v1::WatchKind::IncludeCheckpoints];
    let request = v1::WatchRequest {
        optional_start_cursor: Some(start.clone()),
        optional_update_kinds: kinds.map(|kind| kind as i32).to_vec(),
        ..Default::default()
    };
    register(&mut client, "viewers", of_relation("document", "viewer")).await;
    let (_, registered) = counted(&mut client, counting("viewers")).await.unwrap();
    assert_ne!(registered, start);
    let mut following = Following::begin(&server, request).await;
    let checkpoint = following.next().await.unwrap();
    assert_eq!(told(&checkpoint), ["checkpoint"]);
    assert_eq!(checkpoint.changes_through, Some(registered));
    let written = write(&server, &["document:b#viewer@user:ann"]).await;
    let update = following.next().await.unwrap();
    assert_eq!(told(&update), ["+ document:b#viewer@user:ann"]);
    assert_eq!(update.changes_through, Some(written));
}
