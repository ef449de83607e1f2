//! Quotas of namespaces and of their callers, through the real server: each kind, who may set them, and that children are
//! capped by what is above them.

use std::collections::HashMap;
use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use idhini_wire::google;
use idhini_wire::idhini::v1 as own;
use idhini_wire::idhini::v1::access_service_client::AccessServiceClient;
use idhini_wire::idhini::v1::namespace_service_client::NamespaceServiceClient;
use idhini_wire::idhini::v1::permissions_service_client::PermissionsServiceClient as OwnPermissions;
use prost::Message as _;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::eyes::{Seen, until};
use crate::leaving;
use crate::process::{KEY, SCHEMA, check, touch};

/// Until a crowd has waited for too long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with namespaces, each with the schema of the other tests.
struct World {
    seen: Seen,
    channel: Channel,
}

/// A call by somebody about a namespace.
fn by<T>(token: &str, namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.metadata_mut().insert("x-idhini-namespace", namespace.parse().unwrap());
    request
}

/// What a refusal over a quota says: its metadata, and when to ask again.
#[track_caller]
fn over(status: &Status) -> (HashMap<String, String>, Duration) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = google::rpc::Status::decode(status.details()).unwrap().details;
    let find = |name: &str| details.iter().find(|any| any.type_url.ends_with(name)).unwrap().value.as_slice();
    let info = google::rpc::ErrorInfo::decode(find("google.rpc.ErrorInfo")).unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("QUOTA_EXCEEDED", "idhini"));
    let retry = google::rpc::RetryInfo::decode(find("google.rpc.RetryInfo")).unwrap();
    let wait = Duration::try_from(retry.retry_delay.unwrap()).unwrap();
    assert!(!wait.is_zero());
    (info.metadata.into_iter().collect(), wait)
}

#[track_caller]
fn is_over<T: std::fmt::Debug>(answer: Result<T, Status>, quota: &str, of: &str) -> Duration {
    let status = answer.unwrap_err();
    let (metadata, wait) = over(&status);
    assert_eq!((metadata["quota"].as_str(), metadata["namespace"].as_str()), (quota, of), "{status:?}");
    assert!(status.message().contains(quota) && status.message().contains(&format!("`{of}`")), "{status:?}");
    wait
}

impl World {
    async fn new(paths: &[&str]) -> World {
        let seen = Seen::start(&["--worker-threads", "2"]);
        let channel = seen.server.channel().await;
        let world = World { seen, channel };
        for path in paths {
            let message = own::CreateNamespaceRequest { path: (*path).to_owned(), ..Default::default() };
            world.namespaces().create_namespace(by(KEY, "root", message)).await.unwrap();
            let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
            let mut schemas = SchemaServiceClient::new(world.channel.clone());
            schemas.write_schema(by(KEY, path, schema)).await.unwrap();
        }
        world
    }

    fn namespaces(&self) -> NamespaceServiceClient<Channel> {
        NamespaceServiceClient::new(self.channel.clone())
    }

    fn permissions(&self) -> PermissionsServiceClient<Channel> {
        PermissionsServiceClient::new(self.channel.clone())
    }

    async fn patch(&self, token: &str, path: &str, pairs: &[(&str, &str)]) -> Result<(), Status> {
        let (dropped, set): (Vec<_>, Vec<_>) = pairs.iter().partition(|(_, value)| value.is_empty());
        let message = own::PatchNamespaceRequest {
            path: String::new(),
            set_metadata: set.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            drop_metadata: dropped.into_iter().map(|(key, _)| key.to_owned()).collect(),
        };
        self.namespaces().patch_namespace(by(token, path, message)).await.map(drop)
    }

    async fn token(&self, home: &str, role: &str) -> String {
        let roles = vec![role.to_owned()];
        let message = own::CreateTokenRequest { home: String::new(), roles, ..Default::default() };
        let mut access = AccessServiceClient::new(self.channel.clone());
        access.create_token(by(KEY, home, message)).await.unwrap().into_inner().token
    }

    async fn check(&self, token: &str, path: &str) -> Result<(), Status> {
        let asked = check("document:readme", "view", "user:ann");
        self.permissions().check_permission(by(token, path, asked)).await.map(drop)
    }

    async fn write(&self, path: &str, numbers: std::ops::Range<usize>) -> Result<(), Status> {
        let texts: Vec<String> = numbers.map(|n| format!("document:d{n}#viewer@user:ann")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.permissions().write_relationships(by(KEY, path, touch(&texts))).await.map(drop)
    }
}

#[tokio::test]
async fn quotas_are_set_from_above_and_judged_when_they_are_set() {
    let world = World::new(&["a", "a/b"]).await;
    let of_b = world.token("a/b", "admin").await;
    let of_a = world.token("a", "admin").await;
    let quota = ("idhini.quota.calls_per_second", "50");
    let refused = world.patch(&of_b, "a/b", &[quota, ("owner", "b")]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("idhini.quota.calls_per_second"), "{refused:?}");
    world.patch(&of_a, "a/b", &[quota]).await.unwrap();
    // What is its own it may, also beside a quota that stays as it is.
    world.patch(&of_b, "a/b", &[quota, ("owner", "b"), ("idhini.audit", "decisions")]).await.unwrap();
    for (pairs, named) in [
        ([("idhini.quota.calls_per_second", "")], "calls_per_second"),
        ([("idhini.token_quota.concurrent_calls", "9")], "concurrent_calls"),
    ] {
        let refused = world.patch(&of_b, "a/b", &pairs).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains(named));
    }
    for (key, value, remedy) in [
        ("idhini.quota.calls", "5", "calls_per_second"),
        ("idhini.quota.calls_per_second", "many", "whole number from 1"),
        ("idhini.quota.relationships", "-1", "whole number from 0"),
        ("idhini.token_quota.disk_bytes", "5", "idhini.quota.disk_bytes"),
        ("idhini.audit", "all", "decisions"),
    ] {
        let refused = world.patch(&of_a, "a/b", &[(key, value)]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(key) && refused.message().contains(remedy), "{refused:?}");
    }
    // Nobody is above `root` but who administrates it.
    let refused = world.patch(&of_a, "root", &[quota]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.patch(KEY, "root", &[quota]).await.unwrap();
    let created = own::CreateNamespaceRequest {
        path: "c".to_owned(),
        custom_metadata: HashMap::from([("idhini.quota.speed".to_owned(), "1".to_owned())]),
    };
    let refused = world.namespaces().create_namespace(by(&of_b, "a/b", created)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_rate_of_calls_is_shared_with_what_is_below_and_locks_go_on() {
    let world = World::new(&["a", "a/b", "a/c", "d"]).await;
    let token = world.token("a/b", "checker").await;
    world.patch(KEY, "a", &[("idhini.quota.calls_per_second", "2")]).await.unwrap();
    // More than the parent's is not had.
    world.patch(KEY, "a/b", &[("idhini.quota.calls_per_second", "1000")]).await.unwrap();
    world.patch(KEY, "a/c", &[("idhini.quota.calls_per_second", "1")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    world.check(&token, "a/b").await.unwrap();
    world.check(KEY, "a/c").await.unwrap();
    is_over(world.check(KEY, "a/c").await, "calls_per_second", "a/c");
    let wait = is_over(world.check(&token, "a/b").await, "calls_per_second", "a");
    assert!(wait <= Duration::from_millis(500), "{wait:?}");
    // Neither another namespace nor who locks this one is in the way of it.
    world.check(KEY, "d").await.unwrap();
    let lock = own::LockNamespaceRequest { path: "a".to_owned(), ..Default::default() };
    world.namespaces().lock_namespace(by(KEY, "root", lock)).await.unwrap();
    let unlock = own::UnlockNamespaceRequest { path: "a".to_owned(), ..Default::default() };
    world.namespaces().unlock_namespace(by(KEY, "root", unlock)).await.unwrap();
    tokio::time::sleep(wait + Duration::from_millis(20)).await;
    world.check(&token, "a/b").await.unwrap();
    let limited = "idhini_limited_total{limit=\"calls_per_second\"}";
    until("both are counted", || world.seen.metric(limited) == Some(2.0)).await;
    // Without the quota there is none, at once.
    world.patch(KEY, "a", &[("idhini.quota.calls_per_second", "")]).await.unwrap();
    for _ in 0..20 {
        world.check(&token, "a/b").await.unwrap();
    }
}

#[tokio::test]
async fn each_caller_has_a_quota_of_its_own() {
    let world = World::new(&["a", "a/b"]).await;
    let (one, other) = (world.token("a/b", "checker").await, world.token("a", "checker").await);
    world.patch(KEY, "a", &[("idhini.token_quota.calls_per_second", "1")]).await.unwrap();
    world.check(&one, "a/b").await.unwrap();
    world.check(&other, "a/b").await.unwrap();
    let refused = world.check(&one, "a/b").await.unwrap_err();
    let (metadata, _) = over(&refused);
    assert_eq!((metadata["quota_of"].as_str(), metadata["namespace"].as_str()), ("caller", "a"));
    is_over(world.check(&other, "a").await, "calls_per_second", "a");
}

#[tokio::test]
async fn calls_under_way_and_watches_are_counted_until_they_end() {
    let world = World::new(&["a", "a/b"]).await;
    let quotas = [("idhini.quota.concurrent_calls", "2"), ("idhini.quota.open_watches", "1")];
    world.patch(KEY, "a", &quotas).await.unwrap();
    let watch = || {
        let mut watches = WatchServiceClient::new(world.channel.clone());
        async move { watches.watch(by(KEY, "a/b", v1::WatchRequest::default())).await }
    };
    let watched = watch().await.unwrap();
    is_over(watch().await, "open_watches", "a");
    // It is none of the calls under way.
    let mut streams = Vec::new();
    for _ in 0..2 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let asked = by(KEY, "a/b", tokio_stream::wrappers::ReceiverStream::new(receiver));
        let mut client = OwnPermissions::new(world.channel.clone());
        let opened = client.check_stream(asked).await.unwrap();
        streams.push((sender, opened));
    }
    is_over(world.check(KEY, "a").await, "concurrent_calls", "a");
    is_over(world.write("a/b", 0..1).await, "concurrent_calls", "a");
    drop((streams, watched));
    let mut tries = 0;
    while world.check(KEY, "a").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        tries += 1;
        assert!(tries < 500, "what has ended is counted still");
    }
    while let Err(status) = watch().await {
        over(&status);
        tokio::time::sleep(Duration::from_millis(20)).await;
        tries += 1;
        assert!(tries < 500, "what has ended is counted still");
    }
}

#[tokio::test]
async fn what_is_visited_has_to_be_paid_before_more_is_asked() {
    let world = World::new(&["a", "a/b"]).await;
    world.write("a/b", 0..300).await.unwrap();
    world.patch(KEY, "a", &[("idhini.quota.cost_per_second", "200")]).await.unwrap();
    let lookup = v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: crate::process::subject("user:ann"),
        ..Default::default()
    };
    let mut found = world.permissions().lookup_resources(by(KEY, "a/b", lookup)).await.unwrap().into_inner();
    let mut count = 0;
    while found.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 300);
    let wait = is_over(world.check(KEY, "a").await, "cost_per_second", "a");
    assert!(wait <= Duration::from_secs(10), "{wait:?}");
    // Reading counts as well.
    world.patch(KEY, "a", &[("idhini.quota.cost_per_second", "1000000")]).await.unwrap();
    world.check(KEY, "a").await.unwrap();
    world.patch(KEY, "a", &[("idhini.quota.cost_per_second", "100")]).await.unwrap();
    let export = v1::ExportBulkRelationshipsRequest::default();
    let mut read =
        world.permissions().export_bulk_relationships(by(KEY, "a/b", export)).await.unwrap().into_inner();
    while read.message().await.unwrap().is_some() {}
    is_over(world.check(KEY, "a").await, "cost_per_second", "a");
}

#[tokio::test]
async fn what_lies_stored_counts_above_and_deleting_makes_room() {
    let world = World::new(&["a", "a/b", "a/c"]).await;
    world.write("a/b", 0..3).await.unwrap();
    world.patch(KEY, "a", &[("idhini.quota.relationships", "10")]).await.unwrap();
    world.write("a/c", 0..6).await.unwrap();
    let wait = is_over(world.write("a/c", 6..8).await, "relationships", "a");
    assert!(wait >= Duration::from_secs(1), "{wait:?}");
    world.write("a/c", 6..7).await.unwrap();
    // What is there already does not grow.
    world.write("a/c", 0..7).await.unwrap();
    let mut import = world.permissions();
    let relationships = vec![crate::process::relationship("document:x#owner@user:ann")];
    let message = v1::ImportBulkRelationshipsRequest { relationships };
    let imported = import.import_bulk_relationships(by(KEY, "a", tokio_stream::once(message.clone()))).await;
    is_over(imported, "relationships", "a");
    let filter = v1::RelationshipFilter {
        resource_type: "document".to_owned(),
        optional_resource_id: "d0".to_owned(),
        ..Default::default()
    };
    let delete = v1::DeleteRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
    world.permissions().delete_relationships(by(KEY, "a/b", delete)).await.unwrap();
    import.import_bulk_relationships(by(KEY, "a", tokio_stream::once(message))).await.unwrap();
    is_over(world.write("a/b", 0..1).await, "relationships", "a");
    // A namespace that goes takes what it has with it.
    let delete = own::DeleteNamespaceRequest { path: "a/c".to_owned() };
    world.namespaces().delete_namespace(by(KEY, "root", delete)).await.unwrap();
    world.write("a/b", 10..17).await.unwrap();
    is_over(world.write("a/b", 0..1).await, "relationships", "a");
}

#[tokio::test]
async fn the_disk_is_counted_by_what_is_appended() {
    let world = World::new(&["a", "a/b"]).await;
    world.patch(KEY, "a", &[("idhini.quota.disk_bytes", "20000")]).await.unwrap();
    let mut written = 0;
    let refused = loop {
        match world.write("a/b", written * 50..(written + 1) * 50).await {
            Ok(()) => written += 1,
            Err(status) => break status,
        }
        assert!(written < 200, "never refused");
    };
    is_over(Err::<(), _>(refused), "disk_bytes", "a");
    assert!(written >= 2, "{written}");
    // What takes away is let through, though it makes an entry.
    let filter = v1::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    let delete = v1::DeleteRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
    world.permissions().delete_relationships(by(KEY, "a/b", delete)).await.unwrap();
    let schema = v1::WriteSchemaRequest { schema: format!("{SCHEMA}\ndefinition more {{}}") };
    let mut schemas = SchemaServiceClient::new(world.channel.clone());
    is_over(schemas.write_schema(by(KEY, "a", schema)).await, "disk_bytes", "a");
}

#[tokio::test]
async fn whoever_names_another_s_namespace_learns_nothing_and_uses_nothing_of_it_up() {
    let world = World::new(&["a", "b"]).await;
    let (of_a, of_b) = (world.token("a", "checker").await, world.token("b", "admin").await);
    world.patch(KEY, "a", &[("idhini.quota.calls_per_second", "2")]).await.unwrap();
    let read = async |token: &str, at: &str| {
        let mut access = AccessServiceClient::new(world.channel.clone());
        access.read_token(by(token, at, own::ReadTokenRequest::default())).await.map(drop)
    };
    let said = async |at: &str| {
        let status = read(&of_b, at).await.unwrap_err();
        (status.code(), status.message().to_owned(), status.details().to_vec())
    };
    let nowhere = said("nope").await;
    assert_eq!(nowhere.0, Code::PermissionDenied);
    for _ in 0..5 {
        assert_eq!((said("a").await, said("root").await), (nowhere.clone(), nowhere.clone()));
    }
    world.check(&of_a, "a").await.unwrap();
    world.check(&of_a, "a").await.unwrap();
    is_over(world.check(&of_a, "a").await, "calls_per_second", "a");
    // Nor does it get around its own by naming another.
    world.patch(KEY, "b", &[("idhini.quota.calls_per_second", "2")]).await.unwrap();
    let heard = [said("root").await.0, said("a").await.0, said("root").await.0];
    assert_eq!(heard, [Code::PermissionDenied, Code::PermissionDenied, Code::ResourceExhausted]);
    is_over(read(&of_b, "b").await, "calls_per_second", "b");
}

#[tokio::test]
async fn what_administrates_counts_and_a_lock_is_refused_only_for_what_its_caller_does() {
    let world = World::new(&["a", "a/b"]).await;
    let (admin, member) = (world.token("a", "admin").await, world.token("a/b", "checker").await);
    world.patch(KEY, "a", &[("idhini.quota.calls_per_second", "2")]).await.unwrap();
    let revoke = async |token: &str, accessor: &str| {
        let mut access = AccessServiceClient::new(world.channel.clone());
        let request = own::RevokeTokenRequest { accessor: accessor.to_owned() };
        access.revoke_token(by(token, "a", request)).await.map(drop)
    };
    let (mut done, mut over_quota) = (0, 0);
    for number in 0..6 {
        match world.patch(&admin, "a", &[("owner", &number.to_string())]).await {
            Ok(()) => done += 1,
            Err(status) => {
                over(&status);
                over_quota += 1;
            }
        }
    }
    assert!(done >= 2 && over_quota >= 2, "{done} {over_quota}");
    while world.check(&member, "a/b").await.is_ok() {}
    // All is used up, below and here; what ends a misuse goes on.
    let namespaces = || NamespaceServiceClient::new(world.channel.clone());
    let lock = || own::LockNamespaceRequest { path: "b".to_owned(), ..Default::default() };
    let unlock = || own::UnlockNamespaceRequest { path: "b".to_owned(), ..Default::default() };
    for _ in 0..3 {
        namespaces().lock_namespace(by(&admin, "a", lock())).await.unwrap();
        namespaces().unlock_namespace(by(&admin, "a", unlock())).await.unwrap();
    }
    assert_eq!(revoke(&admin, "nobody").await.unwrap_err().code(), Code::PermissionDenied);
    // But what its caller may do in a second is not more for it.
    world.patch(KEY, "a", &[("idhini.token_quota.calls_per_second", "4")]).await.unwrap();
    let mut refused = None;
    for _ in 0..20 {
        let locked = namespaces().lock_namespace(by(&admin, "a", lock())).await.map(drop);
        let unlocked = namespaces().unlock_namespace(by(&admin, "a", unlock())).await.map(drop);
        refused = refused.or(locked.err()).or(unlocked.err());
    }
    let (metadata, _) = over(&refused.unwrap());
    assert_eq!((metadata["quota_of"].as_str(), metadata["namespace"].as_str()), ("caller", "a"));
    // Which is nobody else's business.
    for _ in 0..10 {
        let locked = namespaces().lock_namespace(by(KEY, "a", lock())).await.map(drop);
        assert!(locked.is_ok() || locked.unwrap_err().code() == Code::FailedPrecondition);
        namespaces().unlock_namespace(by(KEY, "a", unlock())).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_refused_without_end_hears_no_more_than_that_and_others_are_answered() {
    let world = World::new(&["a", "b"]).await;
    let (one, other) = (world.token("a", "checker").await, world.token("a", "checker").await);
    let flood = async |token: &str, code: Code| {
        let mut heard: HashMap<Code, u32> = HashMap::new();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..3_000 {
            let (mut client, request) =
                (world.permissions(), by(token, "b", check("document:a", "view", "user:a")));
            asking.spawn(async move { client.check_permission(request).await.unwrap_err() });
        }
        while let Some(status) = asking.join_next().await {
            let status = status.unwrap();
            if status.code() == Code::ResourceExhausted {
                let details = google::rpc::Status::decode(status.details()).unwrap().details;
                let info = details.iter().find(|any| any.type_url.ends_with("google.rpc.ErrorInfo")).unwrap();
                let info = google::rpc::ErrorInfo::decode(info.value.as_slice()).unwrap();
                assert_eq!(info.reason, "TOO_MANY_REFUSALS");
                assert!(info.metadata.contains_key("retry_after_milliseconds"));
            }
            *heard.entry(status.code()).or_default() += 1;
        }
        assert!(heard[&code] >= 1_000 && heard[&Code::ResourceExhausted] > 0, "{heard:?}");
        assert_eq!(heard.len(), 2, "{heard:?}");
    };
    flood(&one, Code::PermissionDenied).await;
    world.check(&one, "a").await.unwrap();
    // Another of the same tenant, and whoever comes from the same address.
    assert_eq!(world.check(&other, "b").await.unwrap_err().code(), Code::PermissionDenied);
    flood("of nobody", Code::PermissionDenied).await;
    let new = PermissionsServiceClient::new(world.seen.server.channel().await);
    for token in [&one, &other] {
        let asked = check("document:readme", "view", "user:ann");
        new.clone().check_permission(by(token, "a", asked)).await.unwrap();
    }
    assert_eq!(world.check(&other, "b").await.unwrap_err().code(), Code::PermissionDenied);
}

/// A bulk check that is answered on the lane, as it has many items.
fn long(items: usize) -> v1::CheckBulkPermissionsRequest {
    let items = (0..items).map(|n| {
        let v1::CheckPermissionRequest { resource, permission, subject, .. } =
            check(&format!("document:d{n}"), "view", "user:ann");
        v1::CheckBulkPermissionsRequestItem { resource, permission, subject, context: None }
    });
    v1::CheckBulkPermissionsRequest { items: items.collect(), ..Default::default() }
}

#[tokio::test]
async fn of_a_namespace_that_has_too_much_waiting_more_is_refused_and_of_no_other() {
    let world = World::new(&["a", "a/b", "a/sibling", "d"]).await;
    let schema = v1::WriteSchemaRequest { schema: leaving::SCHEMA.to_owned() };
    SchemaServiceClient::new(world.channel.clone()).write_schema(by(KEY, "a/b", schema)).await.unwrap();
    for part in leaving::slow_relationships().chunks(1_000) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        world.permissions().write_relationships(by(KEY, "a/b", touch(&part))).await.unwrap();
    }
    let ask_slow = |client: &PermissionsServiceClient<Channel>| {
        let (mut client, asked) =
            (client.clone(), by(KEY, "a/b", check("document:slow", "view", "user:nobody")));
        async move { client.check_permission(asked).await.map(drop) }
    };
    let is_crowded = |status: &Status| {
        let details = google::rpc::Status::decode(status.details()).unwrap().details;
        let info = details.iter().find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"));
        let info = google::rpc::ErrorInfo::decode(info.unwrap().value.as_slice()).unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        assert!(info.metadata["retry_after_milliseconds"].parse::<u64>().unwrap() > 0);
        status.message().contains("waits of this namespace already")
    };
    let client = world.permissions();
    // More and more, until one is refused for the crowd; whoever is refused as the server has too much to do comes again.
    let (mut crowd, mut crowding) = (tokio::task::JoinSet::new(), client.clone());
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "nobody is refused for the crowd");
        // Over one connection only so many are under way.
        if crowd.len().is_multiple_of(64) {
            crowding = PermissionsServiceClient::new(world.seen.server.channel().await);
        }
        crowd.spawn(ask_slow(&crowding));
        tokio::time::sleep(Duration::from_millis(2)).await;
        if let Some(ended) = crowd.try_join_next()
            && is_crowded(&ended.unwrap().unwrap_err())
        {
            break;
        }
    }
    for _ in 0..5 {
        let refused = ask_slow(&client).await.unwrap_err();
        assert!(is_crowded(&refused), "{refused:?}");
        // What is short is answered there, too.
        world.check(KEY, "a/b").await.unwrap();
        for beside in ["d", "a/sibling"] {
            world.permissions().check_bulk_permissions(by(KEY, beside, long(300))).await.unwrap();
        }
    }
    drop(crowd);
    // Whoever is let in takes longer than this.
    while let Ok(refused) = tokio::time::timeout(Duration::from_millis(300), ask_slow(&client)).await {
        assert!(begun.elapsed() < PATIENCE, "the crowd is gone and still told of: {refused:?}");
        is_crowded(&refused.unwrap_err());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
