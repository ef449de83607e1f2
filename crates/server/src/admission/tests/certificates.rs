//! Callers that are known by the certificate of their connection.

use super::*;

fn code(entry: Result<Entry, Refusal>) -> Code {
    entry.map_or_else(|refusal| refusal.code, |_| Code::Ok)
}

/// A connection that was opened with this certificate.
fn opened(name: &str, until: i64) -> Accepted {
    let subject = SubjectRef::object("certificate", name);
    Accepted::new(None, Some(Peer { subject, until: Timestamp::from_seconds(until) }))
}

impl World {
    async fn grant(&self, at: &str, role: Role, subject: SubjectRef) {
        self.change(ControlChange::Grant { path: path(at), role, to: subject }).await;
    }

    async fn without_token(&self, accepted: &Accepted, at: Option<&str>, access: Access) -> Code {
        let mut headers = headers("unused", at);
        headers.remove(AUTHORIZATION);
        code(self.admitted(accepted, &headers, access).await)
    }
}

#[tokio::test]
async fn a_certificate_may_what_was_granted_to_it_until_it_ends() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.grant("a", Role::Checker, SubjectRef::object("certificate", "spiffe://example.org/billing")).await;
    let billing = opened("spiffe://example.org/billing", 2_000);
    assert_eq!(world.without_token(&billing, Some("a"), CHECK).await, Code::Ok);
    assert_eq!(world.without_token(&billing, Some("a"), WRITE).await, Code::PermissionDenied);
    assert_eq!(world.without_token(&billing, None, CHECK).await, Code::PermissionDenied, "at the root");
    let other = opened("spiffe://example.org/other", 2_000);
    assert_eq!(world.without_token(&other, Some("a"), CHECK).await, Code::PermissionDenied);
    assert_eq!(world.without_token(&Accepted::default(), Some("a"), CHECK).await, Code::Unauthenticated);
    world.clock.store(1_999, Relaxed);
    assert_eq!(world.without_token(&billing, Some("a"), CHECK).await, Code::Ok);
    // On the same connection, of which a pass is kept.
    world.clock.store(2_000, Relaxed);
    assert_eq!(world.without_token(&billing, Some("a"), CHECK).await, Code::Unauthenticated);
}

#[tokio::test]
async fn whoever_brings_a_token_is_judged_by_it_whatever_their_certificate() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.grant("root", Role::Admin, SubjectRef::object("certificate", "admin.example")).await;
    world.token("t", "a", &[Role::Checker], None).await;
    let accepted = opened("admin.example", 2_000);
    assert_eq!(world.without_token(&accepted, Some("a"), WRITE).await, Code::Ok);
    assert_eq!(code(world.call_on(&accepted, "t", None, WRITE).await), Code::PermissionDenied);
    assert_eq!(code(world.call_on(&accepted, "t", None, CHECK).await), Code::Ok);
    assert_eq!(code(world.call_on(&accepted, "wrong", Some("a"), CHECK).await), Code::PermissionDenied);
    let mut empty = headers("t", Some("a"));
    empty.insert(AUTHORIZATION, HeaderValue::from_static("Bearer "));
    assert_eq!(code(world.admitted(&accepted, &empty, CHECK).await), Code::Unauthenticated);
    // A token outlasts the certificate of its connection.
    world.clock.store(3_000, Relaxed);
    assert_eq!(code(world.call_on(&accepted, "t", None, CHECK).await), Code::Ok);
}

#[tokio::test]
async fn where_a_certificate_is_required_a_token_is_nothing_without_it() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.token("t", "a", &[Role::Checker], None).await;
    let needing = |accepted: Accepted| accepted.needing_certificate(true);
    // Opened with one that names nobody, it has none.
    for accepted in [needing(Accepted::default()), needing(opened("ended.example", 1_000))] {
        for token in ["t", ROOT_KEY, "unknown"] {
            for access in [CHECK, Access::Own] {
                let said = world.call_on(&accepted, token, Some("a"), access).await;
                assert_eq!(code(said), Code::Unauthenticated, "{token} {access:?}");
            }
        }
        assert_eq!(code(world.call_on(&accepted, "t", None, Access::Open).await), Code::Ok);
    }
    let accepted = needing(opened("client.example", 2_000));
    let entry = world.call_on(&accepted, "t", None, CHECK).await.unwrap();
    let standing = world.standing(&entry, CHECK);
    assert_eq!(code(world.call_on(&accepted, ROOT_KEY, Some("a"), CHECK).await), Code::Ok);
    world.clock.store(1_999, Relaxed);
    assert!(standing.stands());
    // On the same connection, of which a pass is kept, and also of what is under way.
    world.clock.store(2_000, Relaxed);
    assert!(!standing.stands());
    assert!(world.admission.again(&accepted, &headers("t", None), CHECK).is_none());
    assert_eq!(code(world.call_on(&accepted, "t", None, CHECK).await), Code::Unauthenticated);
}
