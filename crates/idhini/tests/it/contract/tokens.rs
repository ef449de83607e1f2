//! Tokens and cursors of all kinds of strangers: full consistency where freshness is asked for, and counted; by name
//! an error where a moment is meant; and what cannot be opened, or is of another namespace, is invalid everywhere.

use std::path::{Path, PathBuf};

use idhini_changelog::FileDisk;
use idhini_replica::Identity;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use tonic::{Code, Status};

use crate::durable::write;
use crate::eyes::ready;
use crate::process::{KEY, SCHEMA, Server, binary, check, folder, of_type, reason};

/// What a real SpiceDB 1.54 gave out: with a memory store of its own name and, in earlier versions, without one.
const OF_SPICEDB: &str = "Gh8KEzE3OTU5NTA1NzUyMTc4MTI3NDESCGRhNzM0OGU5";
const OF_SPICEDB_WITHOUT_STORE: &str = "GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA=";
const CURSOR_OF_SPICEDB: &str = "CmIKEzE3OTU5NTA1ODg2MjEzNzU4NjUSGGRvY3VtZW50OmEjdmlld2VyQHVzZXI6dBoQNDBmZDNjOTBhODRiYjVhMCABOh1uby1zY2hlbWEtaGFzaC1pbi1sZWdhY3ktbW9kZQ==";

/// A store on disk, its metrics served.
struct Store {
    server: Server,
    metrics: String,
}

impl Store {
    fn open(data: &Path) -> Store {
        let schema = folder(&[("s.zed", SCHEMA)]).join("s.zed");
        let mut command = binary();
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
        command.args(["--metrics-addr", "127.0.0.1:0", "--history", "forever", "--data-dir"]).arg(data);
        command.arg("--schema").arg(schema);
        let server = Server::of(command);
        let metrics = ready(&server);
        Store { server, metrics }
    }

    /// How many tokens of a kind were treated as full consistency.
    fn counted(&self, kind: &str) -> f64 {
        let series = format!("idhini_stranger_tokens_total{{kind=\"{kind}\"}}");
        let page = crate::eyes::page(&self.metrics, "/metrics");
        crate::eyes::value(&String::from_utf8(page.body).unwrap(), &series).unwrap()
    }
}

/// A token and a cursor of the read below, in the state that a store is in.
struct Given {
    token: String,
    cursor: String,
}

fn read(requirement: Option<Requirement>, cursor: Option<&str>, limit: u32) -> v1::ReadRelationshipsRequest {
    v1::ReadRelationshipsRequest {
        consistency: requirement.map(|r| v1::Consistency { requirement: Some(r) }),
        relationship_filter: Some(of_type("document")),
        optional_cursor: cursor.map(|token| v1::Cursor { token: token.to_owned() }),
        optional_limit: limit,
    }
}

async fn given(server: &Server) -> Given {
    let written = write(server, &["document:a#owner@user:ann", "document:b#owner@user:ann"]).await;
    let mut pages = server.permissions().await.read_relationships(read(None, None, 1)).await.unwrap();
    let cursor = pages.get_mut().message().await.unwrap().unwrap().after_result_cursor.unwrap();
    Given { token: written.token, cursor: cursor.token }
}

async fn checked(
    server: &Server,
    requirement: fn(v1::ZedToken) -> Requirement,
    token: &str,
) -> Result<v1::ZedToken, Status> {
    let requirement = Some(requirement(v1::ZedToken { token: token.to_owned() }));
    let request = v1::CheckPermissionRequest {
        consistency: Some(v1::Consistency { requirement }),
        ..check("document:a", "view", "user:ann")
    };
    let answer = server.permissions().await.check_permission(request).await?.into_inner();
    Ok(answer.checked_at.unwrap())
}

async fn watched(server: &Server, token: &str) -> Status {
    let start = v1::ZedToken { token: token.to_owned() };
    let request = v1::WatchRequest { optional_start_cursor: Some(start), ..Default::default() };
    match server.watches().await.watch(request).await {
        Err(status) => status,
        Ok(stream) => stream.into_inner().message().await.unwrap_err(),
    }
}

async fn continued(server: &Server, cursor: &str) -> Status {
    let mut client = server.permissions().await;
    match client.read_relationships(read(None, Some(cursor), 1)).await {
        Err(status) => status,
        Ok(stream) => stream.into_inner().message().await.unwrap_err(),
    }
}

/// Each call with each token; what is said of a stranger is the same in all of them.
async fn met_as(store: &Store, given: &Given, kind: &str, says: &str) {
    let server = &store.server;
    let head = write(server, &["document:new#owner@user:ann"]).await;
    let before = store.counted(kind);
    assert_eq!(checked(server, Requirement::AtLeastAsFresh, &given.token).await.unwrap(), head, "{kind}");
    assert!((store.counted(kind) - before - 1.0).abs() < 0.1, "{kind} is counted once");
    for status in [
        checked(server, Requirement::AtExactSnapshot, &given.token).await.unwrap_err(),
        watched(server, &given.token).await,
    ] {
        assert_eq!(status.code(), Code::OutOfRange, "{kind}: {status:?}");
        assert!(status.message().contains(says), "{kind}: {status:?}");
    }
    let status = continued(server, &given.cursor).await;
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::InvalidArgument, "INVALID_CURSOR"));
    assert!(status.message().contains(says), "{kind}: {status:?}");
    // None of the three counts as full consistency.
    assert!((store.counted(kind) - before - 1.0).abs() < 0.1, "{kind}");
}

/// Changes what tells the store of a data directory from others, while no server runs.
fn changed_identity(data: &Path, change: impl FnOnce(&mut Identity)) {
    let disk = FileDisk::open(data).unwrap();
    let mut identity = Identity::read(&disk).unwrap().unwrap();
    change(&mut identity);
    identity.write(&disk).unwrap();
}

/// With another character of the alphabet at this place.
fn changed(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'B' { "C" } else { "B" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

fn data(name: &str) -> PathBuf {
    folder(&[]).join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_store_is_called_so_with_its_own_key_and_with_ours() {
    let (ours, other) = (data("ours"), data("other"));
    let given_there = {
        let other = Store::open(&other);
        let given = given(&other.server).await;
        other.server.stop();
        given
    };
    let store = Store::open(&ours);
    let own = given(&store.server).await;
    met_as(&store, &given_there, "other_store", "it belongs to another store").await;
    store.server.stop();
    // The same key, as in a copy whose identity somebody changed by hand.
    changed_identity(&ours, |identity| identity.store ^= 1);
    let store = Store::open(&ours);
    met_as(&store, &own, "other_store", "it belongs to another store").await;
    store.server.stop();
    // Another key that happens to have the same id opens nothing, and what cannot be opened is no stranger.
    changed_identity(&ours, |identity| (identity.store, identity.key) = (identity.store ^ 1, [7; 32]));
    unreadable(&Store::open(&ours), &own, "not one that this service made").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_history_that_a_restore_ended_is_called_so() {
    let folder = folder(&[]);
    let (first, backup, second) = (folder.join("first"), folder.join("backup"), folder.join("second"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let store = Store::open(&first);
    let given = given(&store.server).await;
    assert_eq!(store.server.run(&["backup", &text(&backup)]).status, 0);
    store.server.stop();
    let restored = crate::process::run(&["restore", &text(&backup), "--data-dir", &text(&second)], &[], "");
    assert_eq!(restored.status, 0, "{}", restored.stderr);
    let store = Store::open(&second);
    met_as(&store, &given, "ended_timeline", "it belongs to a history that a restore ended").await;
    store.server.stop();
    // The same where the key was kept.
    changed_identity(&first, |identity| identity.timeline += 1);
    let store = Store::open(&first);
    met_as(&store, &given, "ended_timeline", "it belongs to a history that a restore ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_under_a_key_that_is_no_longer_known_is_called_so() {
    let data = data("data");
    let store = Store::open(&data);
    let given = given(&store.server).await;
    store.server.stop();
    changed_identity(&data, |identity| (identity.key_id, identity.key) = (identity.key_id ^ 1, [7; 32]));
    let store = Store::open(&data);
    met_as(&store, &given, "unknown_key", "sealed under a key that is no longer known").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_cursors_of_a_spicedb_that_was_migrated_from_are_called_so() {
    let store = Store::open(&data("data"));
    for token in [OF_SPICEDB, OF_SPICEDB_WITHOUT_STORE] {
        let given = Given { token: token.to_owned(), cursor: CURSOR_OF_SPICEDB.to_owned() };
        met_as(&store, &given, "migrated", "it was made by SpiceDB before the data was migrated").await;
    }
}

/// Whatever it is asked for with, it is invalid, and counts as nobody's.
async fn unreadable(store: &Store, given: &Given, says: &str) {
    let server = &store.server;
    let statuses = [
        checked(server, Requirement::AtLeastAsFresh, &given.token).await.unwrap_err(),
        checked(server, Requirement::AtExactSnapshot, &given.token).await.unwrap_err(),
        watched(server, &given.token).await,
        continued(server, &given.cursor).await,
    ];
    for status in statuses {
        assert_eq!(status.code(), Code::InvalidArgument, "{:?}: {status:?}", given.token);
        assert!(status.message().contains(says), "{:?}: {status:?}", given.token);
    }
    for kind in ["unknown_key", "other_store", "ended_timeline", "migrated"] {
        assert!(store.counted(kind) < 0.1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_invalid_in_every_call() {
    let store = Store::open(&data("data"));
    let own = given(&store.server).await;
    // The version, the seal, the end; a cursor for a token and the other way round.
    let last = own.token.len() - 2;
    for (token, cursor) in [
        ("garbage".to_owned(), "garbage".to_owned()),
        (String::new(), String::new()),
        ("AAAA".repeat(40), "GhUK".to_owned()),
        (changed(&own.token, 0), changed(&own.cursor, 0)),
        (changed(&own.token, last), changed(&own.cursor, own.cursor.len() - 2)),
        (own.token[..last].to_owned(), own.cursor[..60].to_owned()),
        (own.cursor.clone(), own.token.clone()),
        ("A".repeat(100 * 1024 + 1), "A".repeat(100 * 1024 + 1)),
    ] {
        unreadable(&store, &Given { token, cursor }, "not one that this service made").await;
    }
}
