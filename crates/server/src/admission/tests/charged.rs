//! Who is charged for a call, what is said of whose namespace is named, and what is told of whoever calls.

use std::collections::BTreeMap;

use super::*;

const CALLS: &str = "idhini.quota.calls_per_second";
const CALLS_OF_EACH: &str = "idhini.token_quota.calls_per_second";

impl World {
    async fn limit(&self, at: &str, key: &str, value: &str) {
        let metadata = BTreeMap::from([(key.to_owned(), Some(value.to_owned()))]);
        self.change(ControlChange::Patch { path: path(at), metadata }).await;
    }

    async fn pass(&self, token: &str, at: Option<&str>, access: Access) -> Arc<Pass> {
        self.call(token, at, access).await.unwrap().pass.unwrap()
    }

    async fn denied(&self, accepted: &Accepted, headers: &HeaderMap, access: Access) -> Denied {
        self.admission.admit(accepted, headers, access).await.err().unwrap()
    }
}

/// How often a call may begin at once.
fn begins(pass: &Pass, access: Access, counts: Counts) -> usize {
    let Some(line) = &pass.account(access).line else { return usize::MAX };
    let at = Instant::now();
    (0..100).take_while(|_| line.begin(counts, at).is_ok()).count()
}

#[tokio::test]
async fn nobody_names_for_themselves_what_they_may_not_see() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.create("b", "2").await;
    world.token("t", "a", &[Role::Admin], None).await;
    world.token("none", "a", &[], None).await;
    for token in ["t", "none"] {
        let there = world.said(token, Some("b"), Access::Own).await;
        assert_eq!(there.0, Code::PermissionDenied);
        for at in ["nope", "b/x", "root"] {
            assert_eq!(world.said(token, Some(at), Access::Own).await, there, "{token} {at}");
        }
        // Their home they know.
        for at in [None, Some("a")] {
            assert_eq!(world.said(token, at, Access::Own).await.0, Code::Ok, "{token} {at:?}");
        }
    }
    // It has a pass for its home that was kept; that is none for another's.
    let accepted = Accepted::default();
    world.call_on(&accepted, "t", None, CHECK).await.unwrap();
    let said = world.call_on(&accepted, "t", Some("b"), Access::Own).await;
    assert_eq!(said.err().unwrap().code, Code::PermissionDenied);
}

#[tokio::test]
async fn what_a_caller_does_for_itself_is_charged_to_its_home_and_what_it_asks_to_the_namespace() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.create("b", "2").await;
    world.token("t", "a", &[Role::Admin], None).await;
    world
        .change(ControlChange::Grant { path: path("b"), role: Role::Reader, to: accessor("t").subject() })
        .await;
    world.limit("a", CALLS, "3").await;
    world.limit("b", CALLS, "5").await;
    let pass = world.pass("t", Some("b"), Access::Own).await;
    assert_eq!(begins(&pass, Access::Own, Counts::Call), 3);
    assert_eq!(begins(&pass, CHECK, Counts::Call), 5);
    assert_ne!(pass.account(Access::Own).tenancy, pass.account(CHECK).tenancy);
    // Keys of the configuration are of `root`, which nothing limits.
    let pass = world.pass(ROOT_KEY, Some("b"), Access::Own).await;
    assert_eq!(begins(&pass, Access::Own, Counts::Call), usize::MAX);
    assert_eq!(begins(&pass, CHECK, Counts::Call), 0, "it is used up");
    // A certificate is of where it was granted something.
    let subject = SubjectRef::object("certificate", "client.example");
    world.change(ControlChange::Grant { path: path("b"), role: Role::Reader, to: subject.clone() }).await;
    world.limit("b", CALLS, "7").await;
    let accepted = Accepted::new(None, Some(Peer { subject, until: Timestamp::from_seconds(9_000) }));
    let mut headers = headers("unused", Some("b"));
    headers.remove(AUTHORIZATION);
    let entry = world.admitted(&accepted, &headers, Access::Own).await.unwrap();
    assert_eq!(begins(&entry.pass.unwrap(), Access::Own, Counts::Call), 7);
    headers.insert(NAMESPACE, HeaderValue::from_static("a"));
    let denied = world.denied(&accepted, &headers, Access::Own).await;
    assert!(denied.pass.unwrap().own_account.line.is_none(), "who may nothing there uses nothing of it up");
}

#[tokio::test]
async fn what_ends_a_misuse_counts_by_its_caller_alone() {
    let world = World::new().await;
    world.create("a", "1").await;
    for token in ["t", "other"] {
        world.token(token, "a", &[Role::Admin], None).await;
    }
    world.limit("a", CALLS, "2").await;
    let pass = world.pass("t", None, Access::Own).await;
    assert_eq!(begins(&pass, Access::Own, Counts::Call), 2);
    assert_eq!(begins(&pass, Access::Own, Counts::Urgent), 100, "the namespace has used up what it has");
    world.limit("a", CALLS_OF_EACH, "4").await;
    let pass = world.pass("t", None, Access::Own).await;
    assert_eq!(begins(&pass, Access::Own, Counts::Urgent), 4);
    let other = world.pass("other", None, Access::Own).await;
    assert_eq!(begins(&other, Access::Own, Counts::Urgent), 4);
}

#[tokio::test]
async fn to_be_refused_without_end_is_not_free_and_harms_nobody_else() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.create("b", "2").await;
    for token in ["t", "other"] {
        world.token(token, "a", &[Role::Checker], None).await;
    }
    let at = Instant::now();
    let here = Accepted::new(Some(([192, 0, 2, 1], 1).into()), None);
    let there = Accepted::new(Some(([192, 0, 2, 2], 1).into()), None);
    let refused = async |accepted: &Accepted, token: &str| {
        let denied = world.denied(accepted, &headers(token, Some("b")), CHECK).await;
        let times = (0..10_000).take_while(|_| world.admission.charge(&denied, accepted, at).is_ok()).count();
        (times, world.admission.charge(&denied, accepted, at).unwrap_err())
    };
    let (times, refusal) = refused(&here, "unknown").await;
    assert!((100..=1_000).contains(&times), "{times}");
    assert_eq!(refusal.code, Code::ResourceExhausted);
    assert!(refusal.is_because(crate::refusal::Own::TooManyRefusals) && refusal.retry_after.is_some());
    // Whoever comes from there with a token that counts is let in, and told when they are not.
    assert!(world.call_on(&here, "t", None, CHECK).await.is_ok());
    assert_eq!(refused(&here, "t").await.0, times);
    assert_eq!(refused(&here, "other").await.0, times);
    assert_eq!(refused(&there, "unknown").await.0, times);
    assert!(world.call_on(&here, "t", None, CHECK).await.is_ok(), "what is allowed is none of it");
    // It uses up what its home may, and not what it named.
    world.limit("a", CALLS, "2").await;
    world.limit("b", CALLS, "5").await;
    world.token("third", "a", &[Role::Checker], None).await;
    let (times, refusal) = refused(&here, "third").await;
    assert_eq!((times, refusal.metadata["namespace"].as_str()), (2, "a"));
    let pass = world.pass(ROOT_KEY, Some("b"), CHECK).await;
    assert_eq!(begins(&pass, CHECK, Counts::Call), 5);
}

#[tokio::test]
async fn that_a_token_was_used_is_noted_also_by_a_call_that_was_let_in_before() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.token("t", "a", &[Role::Checker], None).await;
    let used = || world.tree.plane.used_at(&accessor("t")).map(Timestamp::seconds);
    assert_eq!(used(), None);
    let accepted = Accepted::default();
    world.call_on(&accepted, "t", None, CHECK).await.unwrap();
    assert_eq!(used(), Some(1_000));
    world.clock.store(1_060, Relaxed);
    world.tree.plane.record_uses().await.unwrap();
    assert_eq!((world.tree.plane.noted(&accessor("t")), used()), (None, Some(1_000)));
    assert!(
        world.admission.again(&accepted, &headers("t", None), CHECK).is_some(),
        "nothing is made anew for it"
    );
    assert_eq!(used(), Some(1_060));
    // Whoever only stands has not called.
    let entry = world.call_on(&accepted, "t", None, CHECK).await.unwrap();
    world.tree.plane.record_uses().await.unwrap();
    world.clock.store(1_120, Relaxed);
    assert!(world.standing(&entry, CHECK).stands());
    assert_eq!(used(), Some(1_060));
}

#[tokio::test]
async fn no_token_is_in_what_is_told_of_its_caller() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.token("secrettext", "a", &[Role::Checker], None).await;
    let pass = world.pass("secrettext", None, CHECK).await;
    let told = format!("{pass:?} {:#?}", pass.credentials).replace("of_secrettext", "");
    assert!(!told.contains("secrettext"), "{told}");
}
