//! What of one tenant is no good at another's: tokens, revisions, cursors, watches, exports, names, counters, texts, time.

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::experimental_service_client::ExperimentalServiceClient;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use idhini_wire::idhini::v1 as own;
use idhini_wire::idhini::v1::history_service_client::HistoryServiceClient;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Caller, number, say};
use crate::process::{Server, check, of_type, subject, touch};

const SCHEMA: &str =
    "definition user {}\ndefinition document {\n  relation viewer: user\n  permission view = viewer\n}";
/// The variable that says how many pairs of calls are timed.
const TIMED: &str = "ISOLATION_TIMED";

/// Two tenants of a server: whoever administrates one, and knows the other's name.
struct Tenants {
    /// Runs as long as these are there.
    _server: Server,
    root: Caller,
    ann: Caller,
    bob: Caller,
}

impl Tenants {
    async fn new() -> Tenants {
        let server = Server::start(&[]);
        let root = Caller::root(&server).await;
        let mut callers = Vec::new();
        for team in ["team_a", "team_b"] {
            root.create(team).await.unwrap();
            let token = root.token(team, "admin").await.unwrap();
            callers.push(root.with(&token).about(team));
        }
        let [ann, bob] = callers.try_into().unwrap();
        for caller in [&ann, &bob] {
            write_schema(caller).await.unwrap();
        }
        for document in 0..5 {
            ann.permissions().write_relationships(ann.request(touch(&[&secret(document)]))).await.unwrap();
        }
        Tenants { _server: server, root, ann, bob }
    }
}

/// What only the first tenant has.
fn secret(number: usize) -> String {
    format!("document:secret{number}#viewer@user:tom")
}

impl Caller {
    fn permissions(&self) -> PermissionsServiceClient<tonic::transport::Channel> {
        PermissionsServiceClient::new(self.channel.clone())
    }
}

async fn write_schema(caller: &Caller) -> Result<(), Status> {
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::new(caller.channel.clone()).write_schema(caller.request(schema)).await.map(drop)
}

fn read(consistency: Option<Requirement>, cursor: Option<v1::Cursor>) -> v1::ReadRelationshipsRequest {
    v1::ReadRelationshipsRequest {
        consistency: consistency.map(|requirement| v1::Consistency { requirement: Some(requirement) }),
        relationship_filter: Some(of_type("document")),
        optional_limit: 2,
        optional_cursor: cursor,
    }
}

/// Everything that a stream brings.
async fn all<T>(stream: Result<Response<Streaming<T>>, Status>) -> Result<Vec<T>, Status> {
    let (mut stream, mut found) = (stream?.into_inner(), Vec::new());
    while let Some(message) = stream.message().await? {
        found.push(message);
    }
    Ok(found)
}

async fn read_all(
    caller: &Caller,
    request: v1::ReadRelationshipsRequest,
) -> Result<Vec<v1::ReadRelationshipsResponse>, Status> {
    all(caller.permissions().read_relationships(caller.request(request)).await).await
}

/// One call of each kind, of data and of the control plane, by name.
async fn attempts(caller: &Caller) -> Vec<(&'static str, Status)> {
    let channel = || caller.channel.clone();
    let mut permissions = caller.permissions();
    let mut schemas = SchemaServiceClient::new(channel());
    let mut experimental = ExperimentalServiceClient::new(channel());
    let one = |name: &str| own::CreateNamespaceRequest { path: name.to_owned(), ..Default::default() };
    let filter = || Some(of_type("document"));
    let lookup = v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:tom"),
        ..Default::default()
    };
    let delete = v1::DeleteRelationshipsRequest { relationship_filter: filter(), ..Default::default() };
    let export = v1::ExportBulkRelationshipsRequest::default();
    let import = v1::ImportBulkRelationshipsRequest {
        relationships: touch(&[&secret(9)])
            .updates
            .into_iter()
            .filter_map(|update| update.relationship)
            .collect(),
    };
    let counter = v1::ExperimentalRegisterRelationshipCounterRequest {
        name: "mine".to_owned(),
        relationship_filter: filter(),
    };
    let refused =
        |name, answered: Result<(), Status>| (name, answered.err().unwrap_or_else(|| Status::ok(name)));
    vec![
        refused(
            "check",
            permissions
                .check_permission(caller.request(check("document:secret1", "view", "user:tom")))
                .await
                .map(drop),
        ),
        refused(
            "write",
            permissions.write_relationships(caller.request(touch(&[&secret(9)]))).await.map(drop),
        ),
        refused("delete", permissions.delete_relationships(caller.request(delete)).await.map(drop)),
        refused("read", read_all(caller, read(None, None)).await.map(drop)),
        refused("lookup", all(permissions.lookup_resources(caller.request(lookup)).await).await.map(drop)),
        refused(
            "export",
            all(permissions.export_bulk_relationships(caller.request(export)).await).await.map(drop),
        ),
        refused("import", permissions.import_bulk_relationships(stream_of(caller, import)).await.map(drop)),
        refused("schema", schemas.read_schema(caller.request(v1::ReadSchemaRequest {})).await.map(drop)),
        refused("write schema", write_schema(caller).await),
        refused(
            "watch",
            all(WatchServiceClient::new(channel()).watch(caller.request(v1::WatchRequest::default())).await)
                .await
                .map(drop),
        ),
        refused(
            "changes",
            HistoryServiceClient::new(channel())
                .read_changes(caller.request(own::ReadChangesRequest::default()))
                .await
                .map(drop),
        ),
        refused(
            "count",
            experimental.experimental_register_relationship_counter(caller.request(counter)).await.map(drop),
        ),
        refused("list", caller.list("", true).await.map(drop)),
        refused("create", caller.namespaces().create_namespace(caller.request(one("below"))).await.map(drop)),
        refused("delete namespace", caller.delete("").await),
        refused("lock", caller.lock("", own::LockMode::All).await.map(drop)),
        refused("unlock", caller.unlock("", "").await),
        refused("lock status", caller.lock_of("").await.map(drop)),
        refused("token", caller.token("", "admin").await.map(drop)),
    ]
}

fn stream_of(
    caller: &Caller,
    message: v1::ImportBulkRelationshipsRequest,
) -> Request<impl tokio_stream::Stream<Item = v1::ImportBulkRelationshipsRequest> + use<>> {
    caller.request(()).map(|()| tokio_stream::once(message))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_namespace_is_told_from_none_by_nothing() {
    let tenants = Tenants::new().await;
    let Tenants { ann, bob, .. } = &tenants;
    // Of the same length, so that the paths themselves differ in nothing.
    let (theirs, none) = (attempts(&bob.about("team_a")).await, attempts(&bob.about("team_x")).await);
    for ((name, theirs), (_, none)) in theirs.into_iter().zip(none) {
        assert_eq!(theirs.code(), Code::PermissionDenied, "{name}: {theirs:?}");
        let told = |status: &Status, path: &str| {
            let details = String::from_utf8_lossy(status.details()).replace(path, "PATH");
            (status.code(), status.message().replace(path, "PATH"), details)
        };
        assert_eq!(told(&theirs, "team_a"), told(&none, "team_x"), "{name}");
        assert!(!format!("{theirs:?}").contains("secret"), "{name}: {theirs:?}");
        let mut names: Vec<String> = theirs.metadata().keys().map(|key| format!("{key:?}")).collect();
        let mut others: Vec<String> = none.metadata().keys().map(|key| format!("{key:?}")).collect();
        names.sort();
        others.sort();
        assert_eq!(names, others, "{name}");
    }
    // None of it was done.
    assert_eq!(
        read_all(ann, v1::ReadRelationshipsRequest { optional_limit: 0, ..read(None, None) })
            .await
            .unwrap()
            .len(),
        5
    );
    assert!(ann.list("", true).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_cursors_and_places_of_one_tenant_are_none_of_another() {
    let tenants = Tenants::new().await;
    let Tenants { ann, bob, .. } = &tenants;
    let rows = read_all(ann, read(None, None)).await.unwrap();
    let (at, cursor) = (rows[1].read_at.clone().unwrap(), rows[1].after_result_cursor.clone().unwrap());
    // The cursor goes on where it is from, and nowhere else.
    assert_eq!(read_all(ann, read(None, Some(cursor.clone()))).await.unwrap().len(), 2);
    let refused = read_all(bob, read(None, Some(cursor))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    // A revision is none of another's, neither exactly nor as a lower bound.
    let exactly = read(Some(Requirement::AtExactSnapshot(at.clone())), None);
    assert_eq!(read_all(ann, exactly).await.unwrap().len(), 2);
    for requirement in [Requirement::AtExactSnapshot(at.clone()), Requirement::AtLeastAsFresh(at.clone())] {
        let refused = read_all(bob, read(Some(requirement), None)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    // Nor is it a place to watch from.
    let from = v1::WatchRequest { optional_start_cursor: Some(at), ..Default::default() };
    let mut of_ann = WatchServiceClient::new(ann.channel.clone())
        .watch(ann.request(from.clone()))
        .await
        .unwrap()
        .into_inner();
    ann.permissions().write_relationships(ann.request(touch(&[&secret(7)]))).await.unwrap();
    assert!(of_ann.message().await.unwrap().is_some());
    let refused =
        all(WatchServiceClient::new(bob.channel.clone()).watch(bob.request(from)).await).await.unwrap_err();
    assert!(matches!(refused.code(), Code::OutOfRange | Code::InvalidArgument), "{refused:?}");
    // A page of an export goes on for nobody else.
    let export = v1::ExportBulkRelationshipsRequest { optional_limit: 2, ..Default::default() };
    let pages =
        all(ann.permissions().export_bulk_relationships(ann.request(export.clone())).await).await.unwrap();
    let cursor = pages[0].after_result_cursor.clone();
    let on = v1::ExportBulkRelationshipsRequest { optional_cursor: cursor, ..export };
    assert!(
        !all(ann.permissions().export_bulk_relationships(ann.request(on.clone())).await)
            .await
            .unwrap()
            .is_empty()
    );
    let refused = all(bob.permissions().export_bulk_relationships(bob.request(on)).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_exports_and_counters_tell_of_nothing_but_their_own_namespace() {
    let tenants = Tenants::new().await;
    let Tenants { ann, bob, .. } = &tenants;
    let watch = v1::WatchRequest { optional_update_kinds: vec![1], ..Default::default() };
    let mut watching =
        WatchServiceClient::new(bob.channel.clone()).watch(bob.request(watch)).await.unwrap().into_inner();
    for document in 10..20 {
        ann.permissions().write_relationships(ann.request(touch(&[&secret(document)]))).await.unwrap();
    }
    bob.permissions()
        .write_relationships(bob.request(touch(&["document:own#viewer@user:eve"])))
        .await
        .unwrap();
    let first = loop {
        let message = watching.message().await.unwrap().unwrap();
        if !message.updates.is_empty() {
            break message;
        }
    };
    assert!(format!("{first:?}").contains("own") && !format!("{first:?}").contains("secret"), "{first:?}");
    let export = v1::ExportBulkRelationshipsRequest::default();
    let exported = all(bob.permissions().export_bulk_relationships(bob.request(export)).await).await.unwrap();
    assert_eq!(exported.iter().map(|page| page.relationships.len()).sum::<usize>(), 1);
    // Counters of the same name.
    let mut counts = Vec::new();
    for caller in [&ann, &bob] {
        let mut client = ExperimentalServiceClient::new(caller.channel.clone());
        let name = "documents".to_owned();
        let register = v1::ExperimentalRegisterRelationshipCounterRequest {
            name: name.clone(),
            relationship_filter: Some(of_type("document")),
        };
        client.experimental_register_relationship_counter(caller.request(register)).await.unwrap();
        let counted = client
            .experimental_count_relationships(
                caller.request(v1::ExperimentalCountRelationshipsRequest { name }),
            )
            .await
            .unwrap();
        use v1::experimental_count_relationships_response::CounterResult;
        let Some(CounterResult::ReadCounterValue(value)) = counted.into_inner().counter_result else {
            panic!("no count")
        };
        counts.push(value.relationship_count);
    }
    assert_eq!(counts, [15, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_is_taken_for_another_that_looks_like_it() {
    let tenants = Tenants::new().await;
    let Tenants { bob, root, .. } = &tenants;
    for name in [
        "TEAM_A",
        "Team_a",
        "team_a ",
        " team_a",
        "team_a/",
        "/team_a",
        "team_b/../team_a",
        "team_b//team_a",
        "./team_a",
        "team%5Fa",
        "team\u{ff3f}a",
        "t\u{435}am_a",
        "team_a\u{200b}",
        "team_a\u{301}",
        "root/team_a",
        "team_a.",
        "team-a",
    ] {
        let Ok(value) = tonic::metadata::MetadataValue::try_from(name.as_bytes()) else { continue };
        for header in ["x-idhini-namespace", "x-vault-namespace"] {
            let mut request = bob.request(check("document:secret1", "view", "user:tom"));
            request.metadata_mut().remove("x-idhini-namespace");
            request.metadata_mut().insert(header, value.clone());
            let refused = bob.permissions().check_permission(request).await.unwrap_err();
            assert!(
                matches!(refused.code(), Code::PermissionDenied | Code::InvalidArgument),
                "{name}: {refused:?}"
            );
        }
        // Nor is one made that others could take for another.
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.%".contains(&byte));
        if !is_plain {
            assert!(root.create(name).await.is_err(), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_namespace_that_was_deleted_is_good_where_its_name_is_given_again() {
    let tenants = Tenants::new().await;
    let Tenants { ann, root, .. } = &tenants;
    let rows = read_all(ann, read(None, None)).await.unwrap();
    let (at, cursor) = (rows[1].read_at.clone().unwrap(), rows[1].after_result_cursor.clone().unwrap());
    let unlock = root.lock("team_a", own::LockMode::Writes).await.unwrap();
    root.unlock("team_a", &unlock).await.unwrap();
    root.delete("team_a").await.unwrap();
    root.create("team_a").await.unwrap();
    let refused = read_all(ann, read(None, None)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let heir = root.with(&root.token("team_a", "admin").await.unwrap()).about("team_a");
    write_schema(&heir).await.unwrap();
    for _ in 0..10 {
        // As many revisions as there were.
        heir.permissions()
            .write_relationships(heir.request(touch(&["document:new#viewer@user:eve"])))
            .await
            .unwrap();
    }
    assert_eq!(read_all(&heir, read(None, None)).await.unwrap().len(), 1);
    assert_eq!(read_all(&heir, read(None, Some(cursor))).await.unwrap_err().code(), Code::InvalidArgument);
    let exactly = read(Some(Requirement::AtExactSnapshot(at)), None);
    assert_eq!(read_all(&heir, exactly).await.unwrap_err().code(), Code::InvalidArgument);
}

/// How long a refusal takes does not say whether the namespace is there. What is found is told; that it is far apart, which
/// no noise explains, fails.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_refusal_tells_nothing() {
    let tenants = Tenants::new().await;
    let Tenants { bob, .. } = &tenants;
    let pairs = number(TIMED, 300) as usize;
    let (theirs, none) = (bob.about("team_a"), bob.about("team_x"));
    let mut times: [Vec<Duration>; 2] = [Vec::with_capacity(pairs), Vec::with_capacity(pairs)];
    let mut earlier = 0;
    for pair in 0..pairs {
        let mut took = [Duration::ZERO; 2];
        // In turns, so that what drifts is the same for both.
        for which in [pair % 2, 1 - pair % 2] {
            let caller = [&theirs, &none][which];
            let began = Instant::now();
            caller
                .permissions()
                .check_permission(caller.request(check("document:secret1", "view", "user:tom")))
                .await
                .unwrap_err();
            took[which] = began.elapsed();
        }
        earlier += usize::from(took[0] < took[1]);
        times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
    }
    let [of_theirs, of_none] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    // Of a fair coin: mean and standard deviation.
    let score = (earlier as f64 - pairs as f64 / 2.0) / (pairs as f64 / 4.0).sqrt();
    let apart = of_theirs.as_secs_f64() / of_none.as_secs_f64();
    say(&format!(
        "{pairs} pairs: {of_theirs:?} where it is another's, {of_none:?} where there is none (medians, {apart:.3}); the first was quicker in {earlier}, {score:.2} standard deviations from half"
    ));
    assert!((0.5..2.0).contains(&apart), "{of_theirs:?} and {of_none:?}");
}
