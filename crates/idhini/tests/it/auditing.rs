//! The audit trail of the real binary: what is on it, that it is whole, and what becomes of calls when no sink takes records.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::idhini::v1 as own;
use idhini_wire::idhini::v1::access_service_client::AccessServiceClient;
use idhini_wire::idhini::v1::namespace_service_client::NamespaceServiceClient;
use idhini_wire::idhini::v1::permissions_service_client::PermissionsServiceClient as OwnPermissions;
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::process::{KEY, Outcome, SCHEMA, Server, binary, check, folder, of_type, run, touch, with_key};

/// A client with a key.
type Permissions = v1::permissions_service_client::PermissionsServiceClient<
    tonic::service::interceptor::InterceptedService<
        tonic::transport::Channel,
        fn(tonic::Request<()>) -> Result<tonic::Request<()>, Status>,
    >,
>;

/// A server's folder: its schema, its data, its trail.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        Place(folder(&[("s.zed", SCHEMA)]))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn serve(&self) -> Server {
        let [data, schema, trail] = ["data", "s.zed", "trail"].map(|name| self.path(name));
        Server::durable(&["--data-dir", &data, "--schema", &schema, "--audit-dir", &trail])
    }

    fn audit(&self, arguments: &[&str], input: &str) -> Outcome {
        run(
            arguments,
            &[("IDHINI_AUDIT_DIR", &self.path("trail")), ("IDHINI_DATA_DIR", &self.path("data"))],
            input,
        )
    }

    /// The records that these options ask for.
    fn query(&self, options: &[&str]) -> Vec<Value> {
        let asked = self.audit(&[&["audit", "query", "--json"], options].concat(), "");
        assert_eq!((asked.status, asked.stderr.as_str()), (0, ""), "{options:?}");
        asked.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The same once there are so many: decisions and refusals are written within a moment.
    fn query_for(&self, count: usize, options: &[&str]) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let found = self.query(options);
            if found.len() >= count || began.elapsed() > Duration::from_secs(20) {
                assert_eq!(found.len(), count, "{options:?}: {found:?}");
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn file(&self) -> PathBuf {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.path("trail")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.remove(0)
    }
}

async fn check_with(server: &Server, token: &str, request: v1::CheckPermissionRequest) -> Result<(), Status> {
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let channel = server.channel().await;
    let mut client = v1::permissions_service_client::PermissionsServiceClient::new(channel);
    client.check_permission(request).await.map(drop)
}

async fn tell_decisions(server: &Server, path: &str) {
    let mut namespaces = NamespaceServiceClient::with_interceptor(server.channel().await, with_key);
    let set_metadata = [("idhini.audit".to_owned(), "decisions".to_owned())].into();
    let request = own::PatchNamespaceRequest { path: path.to_owned(), set_metadata, ..Default::default() };
    namespaces.patch_namespace(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_decided_and_refused_is_on_record() {
    let place = Place::new();
    let server = place.serve();
    let mut permissions = server.permissions().await;
    let update = "document:a#viewer@user:tom";
    permissions.write_relationships(touch(&[update])).await.unwrap();
    // Nobody has asked for decisions yet.
    permissions.check_permission(check("document:early", "view", "user:tom")).await.unwrap();
    let found = place.query(&["--resource", "document:a"]);
    assert_eq!(found.len(), 1);
    let write = &found[0];
    assert_eq!((write["kind"].as_str(), write["outcome"].as_str()), (Some("outcome"), Some("accepted")));
    assert_eq!(
        (write["call"].as_str(), write["namespace"].as_str()),
        (Some("WriteRelationships"), Some("root"))
    );
    assert_eq!(
        (write["revision"].as_u64(), write["details"]["updates"][0].as_str().unwrap()),
        (Some(2), &*format!("TOUCH {update}"))
    );
    let accessor = write["accessor"].as_str().unwrap().to_owned();
    assert!(accessor.starts_with("preshared_key:"), "{accessor}");

    tell_decisions(&server, "").await;
    let patched = place.query(&["--call", "PatchNamespace"]);
    assert_eq!(patched[0]["details"]["metadata"][0], "idhini.audit=decisions");
    // The short way, the long way, several at once, a stream of them, and what is looked up.
    permissions.check_permission(check("document:a", "view", "user:tom")).await.unwrap();
    let traced = v1::CheckPermissionRequest { with_tracing: true, ..check("document:a", "view", "user:eve") };
    permissions.check_permission(traced).await.unwrap();
    let item = |resource: &str| {
        let v1::CheckPermissionRequest { resource, permission, subject, context, .. } =
            check(resource, "view", "user:tom");
        v1::CheckBulkPermissionsRequestItem { resource, permission, subject, context }
    };
    for with_tracing in [false, true] {
        let items = vec![item("document:a"), item("document:b")];
        let bulk = v1::CheckBulkPermissionsRequest { items, with_tracing, ..Default::default() };
        permissions.check_bulk_permissions(bulk).await.unwrap();
    }
    let lookup = v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: crate::process::subject("user:tom"),
        ..Default::default()
    };
    let mut found = permissions.lookup_resources(lookup).await.unwrap().into_inner();
    while found.message().await.unwrap().is_some() {}
    let read =
        v1::ReadRelationshipsRequest { relationship_filter: Some(of_type("document")), ..Default::default() };
    let mut rows = permissions.read_relationships(read).await.unwrap().into_inner();
    while rows.message().await.unwrap().is_some() {}
    let mut streaming = OwnPermissions::with_interceptor(server.channel().await, with_key);
    let v1::CheckPermissionRequest { resource, permission, subject, .. } =
        check("document:a", "edit", "user:tom");
    let item = own::CheckStreamItem { request_id: 7, resource, permission, subject, ..Default::default() };
    let asked = own::CheckStreamRequest { request: Some(own::check_stream_request::Request::Check(item)) };
    let mut answers = streaming.check_stream(tokio_stream::once(asked)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some() && answers.message().await.unwrap().is_none());

    let checks = place.query_for(2, &["--call", "CheckPermission", "--actor", &accessor]);
    let said = |record: &Value| {
        assert_eq!((record["kind"].as_str(), record["revision"].as_u64()), (Some("decision"), Some(2)));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [
            &record["resource"],
            &record["details"]["permission"],
            &record["details"]["subject"],
            &record["answer"],
        ]
        .map(text)
    };
    assert_eq!(said(&checks[0]), ["document:a", "view", "user:tom", "has"]);
    assert_eq!(said(&checks[1]), ["document:a", "view", "user:eve", "no"]);
    for bulk in place.query_for(2, &["--call", "CheckBulkPermissions", "--resource", "document:b"]) {
        let questions = bulk["details"]["questions"].as_array().unwrap();
        assert_eq!(questions[0], "has document:a#view@user:tom");
        assert_eq!(questions[1], "no document:b#view@user:tom");
    }
    let lookups = place.query_for(1, &["--call", "LookupResources"]);
    assert_eq!(said(&lookups[0]), ["document", "view", "user:tom", ""]);
    let reads = place.query_for(1, &["--call", "ReadRelationships"]);
    assert_eq!(reads[0]["details"]["filter"], "resource_type:\"document\"");
    assert_eq!(lookups[0]["details"]["results"].as_u64(), Some(1));
    assert_eq!(reads[0]["details"]["results"].as_u64(), Some(1));
    // That it began, its one question, and its end.
    let streams = place.query_for(3, &["--call", "CheckStream"]);
    assert_eq!(streams[0]["answer"], "begun");
    assert_eq!(streams[2]["details"]["results"].as_u64(), Some(1));
    let of_item = streams.iter().find(|record| !record["resource"].is_null()).unwrap();
    assert_eq!(said(of_item), ["document:a", "edit", "user:tom", "no"]);

    // Whoever is not let in is told of by what he brought, hashed.
    let secret = "a token that somebody has found";
    check_with(&server, secret, check("document:a", "view", "user:tom")).await.unwrap_err();
    let refused = place.query_for(1, &["--outcome", "refused"]);
    assert_eq!(
        (refused[0]["kind"].as_str(), refused[0]["code"].as_str()),
        (Some("refusal"), Some("PERMISSION_DENIED"))
    );
    let hashed = place.audit(&["audit", "hash"], &format!("{secret}\n"));
    assert_eq!(refused[0]["details"]["token"].as_str().unwrap(), hashed.stdout.trim());

    // No secret stands in a record: not the key, not a token, not an unlock key.
    let mut access = AccessServiceClient::with_interceptor(server.channel().await, with_key);
    let token = own::CreateTokenRequest { description: "of this test".to_owned(), ..Default::default() };
    let token = access.create_token(token).await.unwrap().into_inner().token;
    let mut namespaces = NamespaceServiceClient::with_interceptor(server.channel().await, with_key);
    let team = own::CreateNamespaceRequest { path: "team".to_owned(), ..Default::default() };
    namespaces.create_namespace(team).await.unwrap();
    let lock = own::LockNamespaceRequest {
        path: "team".to_owned(),
        reason: "a leak".to_owned(),
        ..Default::default()
    };
    let unlock_key = namespaces.lock_namespace(lock).await.unwrap().into_inner().unlock_key;
    let locked = place.query(&["--of-namespace", "team", "--call", "LockNamespace"]);
    assert_eq!(locked[0]["details"]["reason"], "a leak");
    server.stop();
    let text = std::fs::read_to_string(place.file()).unwrap();
    for secret in [KEY, &token, &unlock_key, secret] {
        assert!(!secret.is_empty() && !text.contains(secret));
        let hash = place.audit(&["audit", "hash"], secret).stdout;
        assert!(text.contains(hash.trim()), "a secret's hash is not there");
    }
    let verified = place.audit(&["audit", "verify"], "");
    assert_eq!(verified.status, 0, "{}{}", verified.stdout, verified.stderr);
    assert!(place.query(&["--outcome", "none"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_on_record_by_what_ended_it() {
    let place = Place::new();
    let server = place.serve();
    tell_decisions(&server, "").await;
    let mut namespaces = NamespaceServiceClient::with_interceptor(server.channel().await, with_key);
    let team = own::CreateNamespaceRequest { path: "team".to_owned(), ..Default::default() };
    namespaces.create_namespace(team).await.unwrap();
    let watch = || {
        let mut request = tonic::Request::new(v1::WatchRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
        request.metadata_mut().insert("x-idhini-namespace", "team".parse().unwrap());
        request
    };
    let channel = server.channel().await;
    let mut watching = v1::watch_service_client::WatchServiceClient::new(channel);
    // One whose caller leaves, and one that a lock cuts.
    drop(watching.watch(watch()).await.unwrap());
    place.query_for(2, &["--call", "Watch"]);
    let mut changes = watching.watch(watch()).await.unwrap().into_inner();
    let lock = own::LockNamespaceRequest {
        path: "team".to_owned(),
        reason: "a leak".to_owned(),
        ..Default::default()
    };
    namespaces.lock_namespace(lock).await.unwrap();
    let status = loop {
        match changes.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the lock cut nothing"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let told = place.query_for(4, &["--call", "Watch"]);
    let answer = |at: usize| told[at]["answer"].as_str().unwrap_or_default().to_owned();
    assert_eq!([answer(0), answer(1), answer(2)], ["begun", "left", "begun"]);
    let cut = &told[3];
    assert_eq!(
        (cut["outcome"].as_str(), cut["code"].as_str()),
        (Some("refused"), Some("FAILED_PRECONDITION"))
    );
    assert_eq!(cut["why"].as_str(), Some(status.message()));
    assert!(cut["details"]["results"].is_u64(), "{cut}");
    // What was locked says at which revision of the control plane.
    let locked = place.query(&["--call", "LockNamespace"]);
    assert!(locked[0]["revision"].as_u64().is_some_and(|revision| revision > 1), "{}", locked[0]);
}

/// Whatever is put around it, an update that matters is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_cannot_be_hidden_among_others() {
    let place = Place::new();
    let server = place.serve();
    let mut permissions = server.permissions().await;
    let text = |number: usize| format!("document:{}{number}#owner@user:{}", "x".repeat(900), "y".repeat(900));
    let updates: Vec<String> = (0..1_000).map(text).collect();
    permissions
        .write_relationships(touch(&updates.iter().map(String::as_str).collect::<Vec<_>>()))
        .await
        .unwrap();
    let found = place.query(&["--resource", &format!("document:{}999", "x".repeat(900))]);
    assert_eq!(found.len(), 1);
    let told = found[0]["details"]["updates"].as_array().unwrap();
    assert_eq!((told.len(), told[999].as_str()), (1_000, Some(&*format!("TOUCH {}", updates[999]))));
    // Of an import the first are told, and all are fixed.
    let relationship = |number: usize| {
        let update =
            touch(&[&format!("document:i{number}#owner@user:{}", "y".repeat(900))]).updates.remove(0);
        update.relationship.unwrap()
    };
    let relationships: Vec<_> = (0..3_000).map(relationship).collect();
    let sent = v1::ImportBulkRelationshipsRequest { relationships };
    permissions.import_bulk_relationships(tokio_stream::once(sent)).await.unwrap();
    let details = &place.query(&["--call", "ImportBulkRelationships"])[0]["details"];
    assert_eq!((details["count"].as_u64(), details["updates_count"].as_u64()), (Some(3_000), Some(3_000)));
    let told = details["updates"].as_array().unwrap();
    assert!(told.len() > 500 && told.len() < 3_000, "{}", told.len());
    let lines: String =
        (0..3_000).map(|n| format!("CREATE document:i{n}#owner@user:{}\n", "y".repeat(900))).collect();
    assert_eq!(
        details["updates_blake3"].as_str(),
        Some(&*idhini_graph::Digest::of(lines.as_bytes()).to_string()),
    );
    server.stop();
    let verified = place.audit(&["audit", "verify"], "");
    assert_eq!(verified.status, 0, "{}{}", verified.stdout, verified.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_token_that_was_reset_is_on_record_with_the_next_start() {
    let place = Place::new();
    let serve = || {
        let mut command = binary();
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off"]);
        command.args(["--data-dir", &place.path("data"), "--audit-dir", &place.path("trail")]);
        // The client file is this test's own.
        command.env("HOME", &place.0).env("XDG_CONFIG_HOME", &place.0);
        Server::quiet(command)
    };
    serve().stop();
    assert_eq!(place.query(&["--call", "MakeRootToken"]).len(), 1);
    let reset = run(
        &["token", "reset", "--data-dir", &place.path("data")],
        &[("HOME", place.0.to_str().unwrap()), ("XDG_CONFIG_HOME", place.0.to_str().unwrap())],
        "",
    );
    assert_eq!(reset.status, 0, "{}", reset.stderr);
    let token = reset.stdout.trim().to_owned();
    serve().stop();
    let told = place.query(&["--call", "ResetRootToken"]);
    assert_eq!((told.len(), told[0]["outcome"].as_str()), (1, Some("accepted")));
    let hashes = place.audit(&["audit", "hash"], &format!("{token}\n")).stdout;
    let hash = told[0]["details"]["root_token"].as_str().unwrap();
    assert!(hashes.contains(hash), "{hashes} {hash}");
    let starts = place.query(&["--call", "Start"]);
    assert_eq!(starts[1]["details"]["root_token"].as_str(), Some(hash));
    let text = std::fs::read_to_string(place.file()).unwrap();
    assert!(!text.contains(&token));
    // It is told once.
    serve().stop();
    assert_eq!(place.query(&["--call", "ResetRootToken"]).len(), 1);
    // One that was noted and not done, and what cannot be read, are told as not known.
    let other = idhini_graph::Digest::of(b"another");
    let noted = format!("reset-root-token 2026-01-15T08:00:00Z {other} 7\nnone\n");
    std::fs::write(place.0.join("data/audit-untold"), noted).unwrap();
    // Also where the root token does not count.
    place.serve().stop();
    let told = place.query(&["--call", "ResetRootToken", "--outcome", "unknown"]);
    assert_eq!(told.len(), 2);
    assert_eq!(
        (told[0]["details"]["at"].as_str(), told[0]["details"]["uid"].as_u64()),
        (Some("2026-01-15T08:00:00Z"), Some(7))
    );
    assert!(!place.0.join("data/audit-untold").exists());
    let last = place.query(&["--call", "Start"]).pop().unwrap();
    assert!(last["details"]["root_token"].is_null(), "{last}");
    assert_eq!(place.audit(&["audit", "verify"], "").status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_records_edited_at_the_end_are_named_also_after_a_start() {
    let place = Place::new();
    let server = place.serve();
    let mut permissions = server.permissions().await;
    permissions.write_relationships(touch(&["document:a#owner@user:ann"])).await.unwrap();
    let file = place.file();
    server.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.find("document:a#owner@user:ann").unwrap();
    let end = at + text[at..].find('\n').unwrap();
    let edited = text[..=end].replace("@user:ann", "@user:eve");
    std::fs::write(&file, &edited).unwrap();
    for _ in 0..2 {
        place.serve().stop();
        let verified = place.audit(&["audit", "verify"], "");
        assert_eq!(verified.status, 1, "{}", verified.stdout);
        assert!(verified.stdout.contains("was edited"), "{}", verified.stdout);
    }
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&edited));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_edited_or_cut_off_is_found_and_named() {
    let place = Place::new();
    let server = place.serve();
    let mut permissions = server.permissions().await;
    for number in 0..5 {
        permissions
            .write_relationships(touch(&[&format!("document:{number}#owner@user:ann")]))
            .await
            .unwrap();
    }
    server.stop();
    let kept = place.audit(&["audit", "checkpoint"], "");
    assert_eq!(kept.status, 0, "{}", kept.stderr);
    let key = kept.stderr.trim().strip_prefix("verify with --key ").unwrap().to_owned();
    let whole = std::fs::read_to_string(place.file()).unwrap();
    let verify = |text: &str, arguments: &[&str]| {
        std::fs::write(place.file(), text).unwrap();
        // Without the data directory, as an auditor has it.
        let trail = place.path("trail");
        let arguments = [&["audit", "verify", &*trail, "--key", &key], arguments].concat();
        run(&arguments, &[], &kept.stdout)
    };
    assert_eq!(verify(&whole, &["--kept", "-"]).status, 0);
    let edited = whole.replace("document:3#owner@user:ann", "document:3#owner@user:eve");
    let outcome = verify(&edited, &[]);
    let line = whole.lines().position(|line| line.contains("document:3#")).unwrap() + 1;
    assert_eq!(outcome.status, 1);
    assert!(outcome.stdout.contains(&format!("line {line}: record {line} was edited")), "{}", outcome.stdout);
    // Cut behind a checkpoint it looks whole, but not beside one that was kept.
    let end = whole.lines().collect::<Vec<_>>().iter().rposition(|line| line.contains("\"intent\"")).unwrap();
    let cut: String = whole.split_inclusive('\n').take(end).collect();
    assert_eq!(verify(&cut, &[]).status, 0);
    let outcome = verify(&cut, &["--kept", "-", "--json"]);
    assert_eq!(outcome.status, 1, "{}", outcome.stdout);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(found["isWhole"], false);
    assert!(found["fault"]["message"].as_str().unwrap().contains("the trail was cut"), "{found}");
}

/// A server whose trail goes to its standard output, which the test holds.
struct Piped {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    address: String,
}

impl Piped {
    fn start(place: &Place) -> Piped {
        let mut command = binary();
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY, "--audit-stdout"]);
        command.args([
            "--data-dir",
            &place.path("data"),
            "--schema",
            &place.path("s.zed"),
            "--audit-hang-ms-max",
            "300",
        ]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the server did not start");
        }
        let address = line.split(' ').nth(2).unwrap().to_owned();
        Piped { child, out: Some(out), address }
    }

    async fn permissions(&self) -> Permissions {
        let address = format!("http://{}", self.address);
        let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        v1::permissions_service_client::PermissionsServiceClient::with_interceptor(channel, with_key)
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_for_want_of_a_record(status: &Status) -> bool {
    let text = String::from_utf8_lossy(status.details()).into_owned();
    status.code() == Code::Unavailable && text.contains("AUDIT_UNAVAILABLE")
}

/// Writes until one is refused for want of a record; then nothing of what was refused is there, reads go on, and all that
/// was acknowledged is there.
async fn refused_in_the_end(permissions: &mut Permissions) -> usize {
    let mut acknowledged = 0;
    // Long ids, so that a pipe is full soon.
    let id = |number: usize| format!("{number:0>900}");
    let refusal = loop {
        assert!(acknowledged < 5_000, "no write was ever refused");
        let update = format!("document:{}#owner@user:ann", id(acknowledged));
        match permissions.write_relationships(touch(&[&update])).await {
            Ok(_) => acknowledged += 1,
            Err(status) => break status,
        }
    };
    assert!(is_for_want_of_a_record(&refusal), "{refusal:?}");
    let began = Instant::now();
    for _ in 0..20 {
        let update = format!("document:{}#owner@user:ann", id(acknowledged));
        let status = permissions.write_relationships(touch(&[&update])).await.unwrap_err();
        assert!(is_for_want_of_a_record(&status), "{status:?}");
    }
    // A sink that is known not to be able is not waited for.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let read =
        v1::ReadRelationshipsRequest { relationship_filter: Some(of_type("document")), ..Default::default() };
    let mut rows = permissions.read_relationships(read).await.unwrap().into_inner();
    let mut count = 0;
    while rows.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, acknowledged);
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_was_closed_stops_changes_and_nothing_else() {
    let place = Place::new();
    let mut server = Piped::start(&place);
    let mut permissions = server.permissions().await;
    permissions.write_relationships(touch(&["document:before#owner@user:ann"])).await.unwrap();
    permissions
        .delete_relationships(v1::DeleteRelationshipsRequest {
            relationship_filter: Some(of_type("document")),
            ..Default::default()
        })
        .await
        .unwrap();
    drop(server.out.take());
    refused_in_the_end(&mut permissions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_stops_changes_until_it_goes_on() {
    let place = Place::new();
    let mut server = Piped::start(&place);
    let mut permissions = server.permissions().await;
    // Nobody reads the pipe: it is full in the end.
    let acknowledged = refused_in_the_end(&mut permissions).await;
    assert!(acknowledged > 5, "{acknowledged}");
    let mut out = server.out.take().unwrap();
    std::thread::spawn(move || {
        let mut portion = [0; 4096];
        while out.read(&mut portion).is_ok_and(|count| count > 0) {}
    });
    let began = Instant::now();
    while let Err(status) = permissions.write_relationships(touch(&["document:again#owner@user:ann"])).await {
        assert!(is_for_want_of_a_record(&status), "{status:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "the sink goes on, and is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The disk of the trail is full from some write on, as the system says to the server.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_trail_stops_changes_and_nothing_else() {
    let place = Place::new();
    // Made before, so that its file can be named. With `-D` the process that we start becomes the server.
    place.serve().stop();
    let file = place.file();
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=pwrite64", "-P"]).arg(&file);
    command.args(["-e", "inject=pwrite64:error=ENOSPC:when=16+"]);
    let serve = binary();
    command.arg(serve.get_program()).args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
    command.args(["--data-dir", &place.path("data"), "--audit-dir", &place.path("trail")]);
    command.env("IDHINI_METRICS_ADDR", "off");
    let server = Server::quiet(command);
    let address = format!("http://{}", server.address);
    let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let with_key: fn(_) -> _ = with_key;
    let mut permissions =
        v1::permissions_service_client::PermissionsServiceClient::with_interceptor(channel, with_key);
    let acknowledged = refused_in_the_end(&mut permissions).await;
    assert!(acknowledged > 0);
    drop(server);
    // What was acknowledged is on record, whole.
    let written = place.query(&["--call", "WriteRelationships", "--outcome", "accepted"]);
    assert!(
        written.len() <= acknowledged && written.len() + 1 >= acknowledged,
        "{} of {acknowledged}",
        written.len()
    );
    assert!(Path::new(&file).exists());
}
