//! What a lock refuses, and when.

use super::*;

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
