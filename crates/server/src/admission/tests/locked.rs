//! What a lock refuses, and when.

use idhini_audit::query::{Filter, query};
use idhini_audit::{FileOptions, Seeds, Surroundings};

use super::*;
use crate::audit::{Audited, Change};
use crate::telemetry::Recorder;

#[tokio::test]
async fn a_lock_refuses_everybody_who_belongs_there_and_names_itself() {
    let world = World::new().await;
    for (at, id) in [("a", "1"), ("a/b", "2"), ("c", "3")] {
        world.create(at, id).await;
    }
    world.token("t", "a/b", &[Role::Admin], None).await;
    world.lock("a", LockMode::All, None).await;
    for (token, at) in [("t", None), ("t", Some("a/b")), (ROOT_KEY, Some("a")), (ROOT_KEY, Some("a/b"))] {
        for access in [CHECK, WRITE] {
            let refusal = world.call(token, at, access).await.err().unwrap();
            assert_eq!(refusal.code, Code::FailedPrecondition);
            assert_eq!(refusal.metadata["locked_namespace"], "a");
        }
        // What the lock can be taken away by.
        assert!(world.call(token, at, Access::Own).await.is_ok());
    }
    assert!(world.call(ROOT_KEY, Some("c"), WRITE).await.is_ok());
    world.unlock("a").await;
    assert!(world.call("t", None, WRITE).await.is_ok());
}

#[tokio::test]
async fn a_lock_against_changes_lets_reading_go_on() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.create("a/b", "2").await;
    world.lock("a", LockMode::Writes, None).await;
    for at in ["a", "a/b"] {
        assert_eq!(world.said(ROOT_KEY, Some(at), CHECK).await.0, Code::Ok);
        assert_eq!(world.said(ROOT_KEY, Some(at), WRITE).await.0, Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn once_a_lock_is_answered_nothing_is_let_in_nor_written() {
    let world = World::new().await;
    world.create("a", "1").await;
    let accepted = Accepted::default();
    let entry = world.call_on(&accepted, ROOT_KEY, Some("a"), WRITE).await.unwrap();
    let mut request = Request::new(());
    let standing = world.standing(&entry, WRITE);
    request.extensions_mut().insert(standing.clone());
    let wanted = wanted(&request, Deadline::of_headers(&HeaderMap::new()));
    let tenant = entry.tenant.unwrap();
    let schema = || "definition user {}".to_owned();
    tenant.namespace.write_schema(schema(), wanted.clone()).await.unwrap();
    world.lock("a", LockMode::Writes, None).await;
    assert!(world.admission.again(&accepted, &headers(ROOT_KEY, Some("a")), WRITE).is_none());
    assert!(world.admission.again(&accepted, &headers(ROOT_KEY, Some("a")), CHECK).is_none(), "looks anew");
    let before = tenant.namespace.head().revision();
    let other = "definition user {} definition other {}".to_owned();
    assert!(tenant.namespace.write_schema(other, wanted).await.is_err());
    assert_eq!(tenant.namespace.head().revision(), before);
    assert_eq!(standing.refusal().unwrap().code, Code::FailedPrecondition);
}

#[tokio::test]
async fn what_is_under_way_hears_of_the_lock_without_asking() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.create("b", "2").await;
    let entry = world.call(ROOT_KEY, Some("a"), CHECK).await.unwrap();
    let revoked = tokio::spawn(world.standing(&entry, CHECK).revoked());
    let other = world.call(ROOT_KEY, Some("b"), CHECK).await.unwrap();
    let other = tokio::spawn(world.standing(&other, CHECK).revoked());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!revoked.is_finished());
    world.lock("a", LockMode::All, None).await;
    let refusal = tokio::time::timeout(Duration::from_secs(1), revoked).await.unwrap().unwrap();
    assert_eq!(refusal.metadata["locked_namespace"], "a");
    assert!(!other.is_finished());
}

#[tokio::test]
async fn a_lock_that_ends_by_itself_lets_in_again() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.lock("a", LockMode::All, Some(Timestamp::from_seconds(1_100))).await;
    assert_eq!(world.said(ROOT_KEY, Some("a"), CHECK).await.0, Code::FailedPrecondition);
    world.clock.store(1_100, Relaxed);
    assert_eq!(world.said(ROOT_KEY, Some("a"), CHECK).await.0, Code::Ok);
}

/// A change that is on record as begun, asked for with these headers, and a lock that comes before it is judged.
async fn locked_meanwhile(trail: &Trail, headers: HeaderMap) -> Refusal {
    let world = World::new().await;
    world.create("a", "1").await;
    let entry = world.call(ROOT_KEY, Some("a"), WRITE).await.unwrap();
    let recorder = Recorder::new(&world.options.telemetry);
    let call = Call::begin(&recorder, "/authzed.api.v1.SchemaService/WriteSchema", None, &headers);
    let caller = entry.pass.as_ref().unwrap().as_caller(world.admission.gate().unwrap());
    let mut request = Request::new(());
    *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    request.extensions_mut().insert(world.standing(&entry, WRITE));
    request.extensions_mut().insert(Audited(Some(Recording::new(trail, &call, &caller, false))));
    let namespace = &entry.tenant.as_ref().unwrap().namespace;
    let before = namespace.head().revision();
    let write = |wanted| async {
        world.lock("a", LockMode::Writes, None).await;
        namespace.write_schema("definition user {}".to_owned(), wanted).await
    };
    let refusal = Change::of(&request).make(write, |_| None).await.err().unwrap();
    assert_eq!(namespace.head().revision(), before);
    refusal
}

#[tokio::test]
async fn a_change_that_was_called_off_says_to_its_caller_and_on_record_why() {
    let directory = std::env::temp_dir().join(format!("idhini-called-off-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let file = Some(FileOptions::new(directory.clone()));
    let keys = Arc::new(idhini_audit::Keys::new(&Seeds { signing: [1; 32], hashing: [2; 32] }).unwrap());
    let clock = Arc::new(|| Timestamp::from_seconds(1_000));
    let surroundings = Surroundings { keys, clock, report: Arc::new(|_| {}) };
    let trail = Trail::open(&idhini_audit::Options { file, ..Default::default() }, surroundings).unwrap();
    let locked = locked_meanwhile(&trail, HeaderMap::new()).await;
    assert_eq!(locked.code, Code::FailedPrecondition, "{}", locked.message);
    assert_eq!(locked.metadata["locked_namespace"], "a");
    // Whose time was up as well hears of that.
    let timeout = [(HeaderName::from_static("grpc-timeout"), HeaderValue::from_static("1n"))];
    let late = locked_meanwhile(&trail, timeout.into_iter().collect()).await;
    assert_eq!(late.code, Code::DeadlineExceeded, "{}", late.message);
    trail.close();
    let mut told = Vec::new();
    let filter = Filter { call: Some("WriteSchema".to_owned()), ..Filter::default() };
    query(&directory, &filter, &mut |row| {
        let text = |name: &str| row.record[name].as_str().unwrap_or_default().to_owned();
        told.push([text("outcome"), text("code"), text("why")]);
        true
    })
    .unwrap();
    let refused = |code: &str, why: &str| ["refused", code, why].map(str::to_owned);
    assert_eq!(
        told,
        [refused("FAILED_PRECONDITION", &locked.message), refused("DEADLINE_EXCEEDED", &late.message)],
    );
    std::fs::remove_dir_all(&directory).unwrap();
}
