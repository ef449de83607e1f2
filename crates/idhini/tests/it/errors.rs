//! Every reason of the contract, provoked: its status, its domain, and every key of its metadata with its value.
//!
//! The list at the end is the whole enum: a reason is provoked here, or it says why it cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tonic::{Code, Status};

use crate::process::{KEY, PATIENCE, SCHEMA, Server, check, folder, object, of_type, reason, subject, touch};

/// What the server never says, and why.
const NEVER: [(ErrorReason, &str); 3] = [
    (
        ErrorReason::SerializationFailure,
        "writes of a namespace are judged one after the other, so none has to be repeated because of another",
    ),
    (
        ErrorReason::InmemoryTooManyConcurrentUpdates,
        "the store in memory queues writes as the one on disk does",
    ),
    (
        ErrorReason::DatastoreNotMigrated,
        "the store has no migrations: a server reads what any earlier one wrote",
    ),
];

/// A status and its reason.
type Refused = (Code, ErrorReason);
/// Keys with their values.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// What was met so far.
#[derive(Default)]
struct Met(BTreeSet<&'static str>);

impl Met {
    /// The error must be this, with these keys and values and no others.
    #[track_caller]
    fn refused<T: std::fmt::Debug>(
        &mut self,
        answer: Result<T, Status>,
        (code, why): Refused,
        wanted: Pairs<'_>,
    ) {
        let status = answer.unwrap_err();
        // The domain is looked at in there.
        let (name, metadata) = reason(&status);
        let wanted: BTreeMap<String, String> =
            wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata: BTreeMap<String, String> = metadata.into_iter().collect();
        let whole = why.as_str_name();
        assert_eq!((status.code(), format!("ERROR_REASON_{name}").as_str()), (code, whole), "{status:?}");
        assert_eq!(metadata, wanted, "{whole}");
        assert!(!status.message().is_empty());
        self.0.insert(whole);
    }
}

/// A value of the context fields of requests.
macro_rules! text_context {
    ($name:expr, $text:expr) => {{
        let value = idhini_model::ContextValue::String($text);
        Some(idhini_wire::context_message(idhini_model::Context([($name.to_owned(), value)].into())))
    }};
}

fn create(text: &str) -> v1::WriteRelationshipsRequest {
    let mut request = touch(&[text]);
    request.updates[0].operation = Operation::Create as i32;
    request
}

macro_rules! first {
    ($call:expr) => {
        async { $call.await?.into_inner().message().await }.await
    };
}

async fn writes(server: &Server, met: &mut Met) {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument};
    use ErrorReason as Why;
    let mut client = server.permissions().await;
    let tom = "document:readme#viewer@user:tom";
    met.refused(
        client.write_relationships(create("document:readme#viewer@group:all#member")).await,
        (AlreadyExists, Why::AttemptToRecreateRelationship),
        &[
            ("relationship", "document:readme#viewer@group:all#member"),
            ("resource_type", "document"),
            ("resource_object_id", "readme"),
            ("resource_relation", "viewer"),
            ("subject_type", "group"),
            ("subject_object_id", "all"),
            ("subject_relation", "member"),
        ],
    );
    met.refused(
        client.write_relationships(touch(&[tom, tom])).await,
        (InvalidArgument, Why::UpdatesOnSameRelationship),
        &[("definition_name", "document"), ("relationship", tom)],
    );
    let many: Vec<String> = (0..1001).map(|n| format!("document:d{n}#viewer@user:tom")).collect();
    met.refused(
        client.write_relationships(touch(&many.iter().map(String::as_str).collect::<Vec<_>>())).await,
        (InvalidArgument, Why::TooManyUpdatesInRequest),
        &[("update_count", "1001"), ("maximum_updates_allowed", "1000")],
    );
    let precondition =
        |operation: i32, filter| vec![v1::Precondition { operation, filter: Some(filter) }; 1_001];
    let mut guarded = v1::WriteRelationshipsRequest {
        optional_preconditions: precondition(2, of_type("document")),
        ..touch(&[tom])
    };
    met.refused(
        client.write_relationships(guarded.clone()).await,
        (InvalidArgument, Why::TooManyPreconditionsInRequest),
        &[("precondition_count", "1001"), ("maximum_updates_allowed", "1000")],
    );
    let absent = v1::RelationshipFilter {
        optional_resource_id: "absent".to_owned(),
        optional_relation: "viewer".to_owned(),
        optional_subject_filter: Some(v1::SubjectFilter {
            subject_type: "group".to_owned(),
            optional_subject_id: "all".to_owned(),
            optional_relation: Some(v1::subject_filter::RelationFilter { relation: "member".to_owned() }),
        }),
        ..of_type("document")
    };
    guarded.optional_preconditions = precondition(2, absent)[..1].to_vec();
    met.refused(
        client.write_relationships(guarded.clone()).await,
        (FailedPrecondition, Why::WriteOrDeletePreconditionFailure),
        &[
            ("precondition_operation", "OPERATION_MUST_MATCH"),
            ("precondition_resource_type", "document"),
            ("precondition_resource_id", "absent"),
            ("precondition_relation", "viewer"),
            ("precondition_subject_type", "group"),
            ("precondition_subject_id", "all"),
            ("precondition_subject_relation", "member"),
        ],
    );
    let prefix =
        v1::RelationshipFilter { optional_resource_id_prefix: "read".to_owned(), ..of_type("document") };
    guarded.optional_preconditions = precondition(1, prefix)[..1].to_vec();
    met.refused(
        client.write_relationships(guarded.clone()).await,
        (FailedPrecondition, Why::WriteOrDeletePreconditionFailure),
        &[
            ("precondition_operation", "OPERATION_MUST_NOT_MATCH"),
            ("precondition_resource_type", "document"),
            ("precondition_resource_id_prefix", "read"),
        ],
    );
    guarded.optional_preconditions = precondition(0, of_type("document"))[..1].to_vec();
    met.refused(client.write_relationships(guarded).await, (InvalidArgument, Why::EmptyPrecondition), &[]);
    let noted = v1::WriteRelationshipsRequest {
        optional_transaction_metadata: text_context!("why", "x".repeat(65_000)),
        ..touch(&[tom])
    };
    met.refused(
        client.write_relationships(noted).await,
        (InvalidArgument, Why::TransactionMetadataTooLarge),
        &[("metadata_byte_size", "65010"), ("maximum_allowed_metadata_byte_size", "65000")],
    );
    let mut heavy = touch(&["document:a#viewer@user:tom[only_on]"]);
    let heavy_caveat = heavy.updates[0].relationship.as_mut().unwrap().optional_caveat.as_mut().unwrap();
    heavy_caveat.context = text_context!("day", "x".repeat(25_000));
    met.refused(
        client.write_relationships(heavy).await,
        (InvalidArgument, Why::MaxRelationshipContextSize),
        &[
            ("relationship", "document:a#viewer@user:tom"),
            ("context_size", "25017"),
            ("max_allowed_size", "25000"),
        ],
    );
}

/// Relationships for which the schema has no place.
async fn misfits(server: &Server, met: &mut Met) {
    use Code::{FailedPrecondition, InvalidArgument};
    use ErrorReason as Why;
    let mut client = server.permissions().await;
    let table: [(&str, Refused, Pairs<'_>); 9] = [
        (
            "nothing:a#viewer@user:tom",
            (FailedPrecondition, Why::UnknownDefinition),
            &[("definition_name", "nothing")],
        ),
        (
            "document:a#nothing@user:tom",
            (FailedPrecondition, Why::UnknownRelationOrPermission),
            &[("definition_name", "document"), ("relation_or_permission_name", "nothing")],
        ),
        (
            "document:a#view@user:tom",
            (InvalidArgument, Why::CannotUpdatePermission),
            &[("definition_name", "document"), ("permission_name", "view")],
        ),
        (
            "document:a#viewer@group:eng",
            (InvalidArgument, Why::InvalidSubjectType),
            &[("definition_name", "document"), ("relation_name", "viewer"), ("subject_type", "group")],
        ),
        (
            "document:a#banned@user:*",
            (InvalidArgument, Why::InvalidSubjectType),
            &[("definition_name", "document"), ("relation_name", "banned"), ("subject_type", "user:*")],
        ),
        (
            "document:a#only@user:tom",
            (InvalidArgument, Why::InvalidSubjectType),
            &[
                ("definition_name", "document"),
                ("relation_name", "only"),
                ("subject_type", "user"),
                ("allowed_caveats", "endless,failing,only_on"),
            ],
        ),
        (
            "document:a#viewer@user:tom[nothing]",
            (FailedPrecondition, Why::UnknownCaveat),
            &[("caveat_name", "nothing")],
        ),
        (
            r#"document:a#viewer@user:tom[only_on:{"colour":1}]"#,
            (InvalidArgument, Why::CaveatParameterTypeError),
            &[("caveat_name", "only_on"), ("parameter_name", "colour")],
        ),
        (
            r#"document:a#viewer@user:tom[only_on:{"day":1}]"#,
            (InvalidArgument, Why::CaveatParameterTypeError),
            &[("caveat_name", "only_on"), ("parameter_name", "day")],
        ),
    ];
    for (text, why, wanted) in table {
        met.refused(client.write_relationships(touch(&[text])).await, why, wanted);
    }
}

async fn reads(server: &Server, met: &mut Met) {
    use Code::{FailedPrecondition, InvalidArgument, ResourceExhausted};
    use ErrorReason as Why;
    let mut client = server.permissions().await;
    let read =
        |filter| v1::ReadRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
    let both = v1::RelationshipFilter {
        optional_resource_id: "a".to_owned(),
        optional_resource_id_prefix: "b".to_owned(),
        ..of_type("document")
    };
    met.refused(
        first!(client.read_relationships(read(both))),
        (InvalidArgument, Why::InvalidFilter),
        &[("filter", r#"resource_type:"document" optional_resource_id:"a" optional_resource_id_prefix:"b""#)],
    );
    let mut request = read(of_type("document"));
    request.optional_limit = 1_001;
    met.refused(
        first!(client.read_relationships(request.clone())),
        (InvalidArgument, Why::ExceedsMaximumAllowableLimit),
        &[("limit_provided", "1001"), ("maximum_limit_allowed", "1000")],
    );
    request.optional_limit = 0;
    request.optional_cursor = Some(v1::Cursor { token: "nothing of ours".to_owned() });
    met.refused(first!(client.read_relationships(request)), (InvalidArgument, Why::InvalidCursor), &[]);
    let limited = v1::DeleteRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        optional_limit: 2,
        ..Default::default()
    };
    met.refused(
        client.delete_relationships(limited).await,
        (InvalidArgument, Why::TooManyRelationshipsForTransactionalDelete),
        &[("limit", "2"), ("filter_resource_type", "document")],
    );
    let items = vec![v1::CheckBulkPermissionsRequestItem::default(); 10_001];
    met.refused(
        client.check_bulk_permissions(v1::CheckBulkPermissionsRequest { items, ..Default::default() }).await,
        (InvalidArgument, Why::TooManyChecksInRequest),
        &[("check_count", "10001"), ("maximum_checks_allowed", "10000")],
    );
    met.refused(
        client.check_permission(check("document:a", "view", "user:*")).await,
        (InvalidArgument, Why::WildcardNotAllowed),
        &[("field", "subject.object_id")],
    );
    let lookup = v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:*"),
        ..Default::default()
    };
    met.refused(
        first!(client.lookup_resources(lookup)),
        (InvalidArgument, Why::WildcardNotAllowed),
        &[("field", "subject_id")],
    );
    met.refused(
        client.check_permission(check("document:failing", "only", "user:tom")).await,
        (InvalidArgument, Why::CaveatEvaluationError),
        &[("caveat_name", "failing")],
    );
    met.refused(
        client.check_permission(check("document:endless", "only", "user:tom")).await,
        (ResourceExhausted, Why::MaximumDepthExceeded),
        &[("caveat_name", "endless")],
    );
    // The tree of a permission that leads to itself by two ways doubles at each level.
    let expand = v1::ExpandPermissionTreeRequest {
        resource: object("folder:a0"),
        permission: "view".to_owned(),
        consistency: None,
    };
    met.refused(
        client.expand_permission_tree(expand).await,
        (ResourceExhausted, Why::MaximumDepthExceeded),
        &[("budget_edges", "1000000")],
    );
    // Of no reason that the contract has, so that it says what it has to say without one.
    met.refused(
        client.check_permission(check("document:circle", "round", "user:tom")).await,
        (FailedPrecondition, Why::Unspecified),
        &[("cycle", "document:circle#round")],
    );
    let context = text_context!("level", "high".to_owned());
    met.refused(
        client
            .check_permission(v1::CheckPermissionRequest {
                context,
                ..check("document:readme", "view", "user:eve")
            })
            .await,
        (InvalidArgument, Why::CaveatParameterTypeError),
        &[("caveat_name", "only_on"), ("parameter_name", "level")],
    );
}

async fn schemas(server: &Server, met: &mut Met, schema: &str) {
    use Code::{FailedPrecondition, InvalidArgument};
    use ErrorReason as Why;
    let mut client = server.schemas().await;
    let mut write =
        async |schema: &str| client.write_schema(v1::WriteSchemaRequest { schema: schema.to_owned() }).await;
    let place = |line: &'static str, column: &'static str| {
        [
            ("start_line_number", line),
            ("start_column_position", column),
            ("end_line_number", line),
            ("end_column_position", column),
            ("source_code", ""),
        ]
    };
    met.refused(
        write("definition user {\n  relation one two\n}").await,
        (InvalidArgument, Why::SchemaParseError),
        &place("1", "15"),
    );
    met.refused(
        write("definition user {\n  relation one: nothing\n}").await,
        (FailedPrecondition, Why::SchemaTypeError),
        &[&place("1", "16")[..], &[("definition_name", "nothing")]].concat(),
    );
    let changed = [
        (
            schema.replace("| user with only_on | user with expiration", "| user with expiration"),
            vec![
                ("operation", "remove_allowed_type"),
                ("resource_type", "document"),
                ("relation", "viewer"),
                ("allowed_type", "user with only_on"),
                ("relationship", r#"document:readme#viewer@user:eve[only_on:{"day":"tuesday"}]"#),
            ],
        ),
        (
            schema.replace("  relation banned: user\n", "").replace(" - banned", ""),
            vec![
                ("operation", "delete_relation"),
                ("resource_type", "document"),
                ("relation", "banned"),
                ("relationship", "document:readme#banned@user:bob"),
            ],
        ),
        (
            schema.replace("day string", "day int").replace(r#"day == "tuesday""#, "day == 2"),
            vec![
                ("operation", "change_parameter_type"),
                ("caveat_name", "only_on"),
                ("parameter_name", "day"),
                ("relationship", r#"document:readme#viewer@user:eve[only_on:{"day":"tuesday"}]"#),
            ],
        ),
    ];
    for (text, mut wanted) in changed {
        wanted.push(("relationship_count", "1"));
        met.refused(write(&text).await, (InvalidArgument, Why::SchemaTypeError), &wanted);
    }
}

async fn counters(server: &Server, met: &mut Met) {
    use Code::FailedPrecondition;
    use ErrorReason as Why;

    use crate::experimental::{client, counting, of_relation, registering};
    let mut client = client(server).await;
    let counter = || registering("viewers", of_relation("document", "viewer"));
    client.experimental_register_relationship_counter(counter()).await.unwrap();
    met.refused(
        client.experimental_register_relationship_counter(counter()).await,
        (FailedPrecondition, Why::CounterAlreadyRegistered),
        &[
            ("counter_name", "viewers"),
            ("new_filter_resource_type", "document"),
            ("new_filter_resource_id", ""),
            ("new_filter_resource_id_prefix", ""),
            ("new_filter_relation", "viewer"),
            ("new_filter_subject_type", ""),
            ("new_filter_subject_id", ""),
            ("new_filter_subject_relation", ""),
        ],
    );
    met.refused(
        client.experimental_count_relationships(counting("absent")).await,
        (FailedPrecondition, Why::CounterNotRegistered),
        &[("counter_name", "absent")],
    );
}

/// A server whose disk has no room for another segment, under strace, which must be there.
fn on_a_full_disk(data: &Path, schema: &Path) -> Server {
    let found = Command::new("strace").arg("-V").output();
    assert!(found.is_ok_and(|output| output.status.success()), "strace is needed: apt-get install strace");
    let mut command = Command::new("strace");
    // The first segments are there at the start.
    command.args(["-D", "-f", "--seccomp-bpf", "-q", "-e", "trace=fallocate", "-o", "/dev/null"]);
    command.args(["-e", "inject=fallocate:error=ENOSPC:when=4+"]).arg(env!("CARGO_BIN_EXE_idhini"));
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY, "--segment-bytes", "65536"]);
    command.arg("--data-dir").arg(data).arg("--schema").arg(schema);
    Server::quiet(command)
}

async fn read_only(met: &mut Met) {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let server = on_a_full_disk(&folder.join("data"), &folder.join("s.zed"));
    let mut client = server.permissions().await;
    let begun = tokio::time::Instant::now();
    let status = loop {
        let long = format!("document:d{}{}#viewer@user:tom", begun.elapsed().as_nanos(), "x".repeat(900));
        match client.write_relationships(touch(&[&long])).await {
            Err(status) => break status,
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "the disk never fills"),
        }
    };
    met.refused(Err::<(), _>(status), (Code::Unavailable, ErrorReason::ServiceReadOnly), &[]);
    // It still answers.
    client.check_permission(check("document:d", "view", "user:tom")).await.unwrap();
}

#[tokio::test]
async fn every_reason_is_provoked_or_says_why_it_never_is() {
    let schema = format!(
        "{}\n{}",
        SCHEMA.replace(
            "definition document {",
            "definition document {\n  relation only: user with only_on | user with failing | user with endless
  relation itself: document\n  permission round = owner - itself->round",
        ),
        "caveat failing(values map<int>) { values[\"absent\"] == 1 }
caveat endless(values list<int>) {
  values.all(one, values.all(two, values.all(three, values.all(four, one + two + three + four < 100))))
}
definition folder {
  relation parent: folder
  permission view = parent->view
}"
    );
    let files = folder(&[("s.zed", &schema), ("r.txt", crate::process::RELATIONSHIPS)]);
    let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
    let server = Server::start(&["--schema", &path("s.zed"), "--relationships", &path("r.txt")]);
    let numbers: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let mut texts = vec![
        r#"document:failing#only@user:tom[failing:{"values":{"there":1}}]"#.to_owned(),
        format!(r#"document:endless#only@user:tom[endless:{{"values":[{}]}}]"#, numbers.join(",")),
        "document:circle#owner@user:tom".to_owned(),
        "document:circle#itself@document:circle".to_owned(),
    ];
    for level in 0..30 {
        for parent in ["a", "b"] {
            texts.push(format!("folder:a{level}#parent@folder:{parent}{}", level + 1));
            texts.push(format!("folder:b{level}#parent@folder:{parent}{}", level + 1));
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    server.permissions().await.write_relationships(touch(&texts)).await.unwrap();
    let mut met = Met::default();
    writes(&server, &mut met).await;
    misfits(&server, &mut met).await;
    reads(&server, &mut met).await;
    schemas(&server, &mut met, &schema).await;
    counters(&server, &mut met).await;
    read_only(&mut met).await;
    let all: BTreeSet<&str> = (0..1_000)
        .filter_map(|number| ErrorReason::try_from(number).ok())
        .map(|why| why.as_str_name())
        .collect();
    for (never, why) in NEVER {
        assert!(!why.is_empty() && met.0.insert(never.as_str_name()), "{never:?} was met");
    }
    assert_eq!(met.0, all);
}

#[test]
fn the_documentation_has_the_same_reasons_as_never_sent() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let page = std::fs::read_to_string(page).unwrap();
    let not_sent = page.split_once("\n## Not sent by this server\n").unwrap().1;
    let told: BTreeSet<&str> = not_sent.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let never: BTreeSet<&str> = NEVER.iter().map(|(never, _)| never.as_str_name()).collect();
    assert_eq!(told, never);
}

#[tokio::test]
async fn a_refusal_with_the_longest_names_fits_among_the_trailers_of_any_client() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let (one, other) = ("x".repeat(1_000), "y".repeat(1_000));
    let long = format!(r#"document:{one}#viewer@user:{other}[only_on:{{"day":"{}"}}]"#, "z".repeat(20_000));
    client.write_relationships(touch(&[&long])).await.unwrap();
    let status = client.write_relationships(create(&long)).await.unwrap_err();
    let (why, metadata) = reason(&status);
    assert_eq!((status.code(), why.as_str()), (Code::AlreadyExists, "ATTEMPT_TO_RECREATE_RELATIONSHIP"));
    assert!(metadata["relationship"].starts_with("document:xxx") && metadata["relationship"].ends_with('…'));
    assert_eq!(metadata["resource_relation"], "viewer");
    // As they travel: the message, and the details in base64.
    assert!(status.message().len() + status.details().len().div_ceil(3) * 4 < 7_000, "{status:?}");
}
