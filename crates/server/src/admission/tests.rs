use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use idhini_changelog::MemoryStore;
use idhini_replica::control::{Accessor, Control, ControlChange, ROOT_LOG, Role, SYS_LOG};
use idhini_replica::{Node, NodeOptions, Parts};

use super::*;
use crate::options::Options;
use crate::tenants::{Offer, Offered, Tree};

mod certificates;
mod charged;
mod locked;
mod roles;

const SECRET: [u8; 32] = [7; 32];
const ROOT_KEY: &str = "the root's key";
const CHECK: Access = Access::Namespace { right: Right::Check, is_change: false };
const WRITE: Access = Access::Namespace { right: Right::Write, is_change: true };

/// A node, its control plane, and one worker.
struct World {
    tree: Tree,
    admission: Admission,
    options: Options,
    clock: Arc<AtomicI64>,
}

fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

impl World {
    async fn new() -> World {
        let clock = Arc::new(AtomicI64::new(1_000));
        let now = Arc::clone(&clock);
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            disk: None,
            clock: Arc::new(move || Timestamp::from_seconds(now.load(Relaxed))),
            report: Arc::new(|_| {}),
        };
        let node = Arc::new(Node::new(parts, NodeOptions::default()));
        let keys = Keys::new([ROOT_KEY], &SECRET);
        let root = node.namespace(ROOT_LOG).await.unwrap();
        let plane =
            ControlPlane::open(node.namespace(SYS_LOG).await.unwrap(), keys.subjects()).await.unwrap();
        let options = Options::for_tests(keys);
        let tree = Tree { node, root, plane };
        let admission = World::worker(&tree, &options);
        World { tree, admission, options, clock }
    }

    fn worker(tree: &Tree, options: &Options) -> Admission {
        let gate = Arc::new(Gate::new(Arc::clone(&tree.plane), options.keys.clone(), None, Arc::default()));
        let tenants = Offered::new(&Offer::Tree(tree.clone()), options).of_worker();
        Admission::new(Some(gate), &options.telemetry, tenants)
    }

    async fn change(&self, change: ControlChange) {
        self.tree.plane.change(Control { by: None, change }, Wanted::always()).await.unwrap();
    }

    async fn create(&self, at: &str, id: &str) {
        let (id, metadata) = (NamespaceId(id.to_owned()), std::collections::BTreeMap::new());
        self.change(ControlChange::Create { path: path(at), id, metadata }).await;
    }

    /// Takes a namespace away for good.
    async fn delete(&self, at: &str, id: &str) {
        self.change(ControlChange::Delete { path: path(at) }).await;
        self.change(ControlChange::Forget { id: NamespaceId(id.to_owned()) }).await;
    }

    async fn token(&self, text: &str, home: &str, roles: &[Role], lifetime_seconds: Option<u64>) {
        self.change(ControlChange::CreateToken {
            accessor: accessor(text),
            secret: blake3::hash(text.as_bytes()).into(),
            home: path(home),
            description: String::new(),
            lifetime_seconds,
            roles: roles.to_vec(),
        })
        .await;
    }

    async fn lock(&self, at: &str, mode: LockMode, expires_at: Option<Timestamp>) {
        let (key, reason) = ([1; 32], "why".to_owned());
        self.change(ControlChange::Lock { path: path(at), mode, key, reason, expires_at }).await;
    }

    async fn unlock(&self, at: &str) {
        self.change(ControlChange::Unlock { path: path(at), key: None }).await;
    }

    /// What a call on a new connection is let in with.
    async fn call(&self, token: &str, at: Option<&str>, access: Access) -> Result<Entry, Refusal> {
        self.call_on(&Accepted::default(), token, at, access).await
    }

    async fn call_on(
        &self,
        accepted: &Accepted,
        token: &str,
        at: Option<&str>,
        access: Access,
    ) -> Result<Entry, Refusal> {
        self.admitted(accepted, &headers(token, at), access).await
    }

    async fn admitted(
        &self,
        accepted: &Accepted,
        headers: &HeaderMap,
        access: Access,
    ) -> Result<Entry, Refusal> {
        self.admission.admit(accepted, headers, access).await.map_err(|denied| denied.refusal)
    }

    /// The code of a refusal and its text; OK otherwise.
    async fn said(&self, token: &str, at: Option<&str>, access: Access) -> (Code, String) {
        match self.call(token, at, access).await {
            Ok(_) => (Code::Ok, String::new()),
            Err(refusal) => (refusal.code, refusal.message),
        }
    }

    fn standing(&self, entry: &Entry, access: Access) -> Standing {
        let gate = Arc::clone(self.admission.gate().unwrap());
        Standing::new(gate, Arc::clone(entry.pass.as_ref().unwrap()), access)
    }
}

fn accessor(text: &str) -> Accessor {
    Accessor(format!("of_{text}"))
}

fn headers(token: &str, at: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers.extend(at.map(|at| (NAMESPACE, at.parse::<HeaderValue>().unwrap())));
    headers
}

#[tokio::test]
async fn a_call_is_about_the_namespace_that_it_names_or_its_tokens_home() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.create("a/b", "2").await;
    world.token("t", "a", &[Role::Checker], None).await;
    let about = async |token: &str, at: Option<&str>| {
        world.call(token, at, CHECK).await.map(|entry| entry.pass.unwrap().namespace.to_string()).ok()
    };
    assert_eq!(about("t", None).await.as_deref(), Some("a"));
    assert_eq!(about("t", Some("a/b")).await.as_deref(), Some("a/b"));
    assert_eq!(about("t", Some("root")).await, None);
    assert_eq!(about(ROOT_KEY, None).await.as_deref(), Some("root"));
    assert_eq!(about(ROOT_KEY, Some("a")).await.as_deref(), Some("a"));
    let mut vaults = headers("t", None);
    vaults.insert(VAULT_NAMESPACE, "a/b/".parse().unwrap());
    let accepted = Accepted::default();
    let entry = world.admitted(&accepted, &vaults, CHECK).await.unwrap();
    assert_eq!(entry.pass.unwrap().namespace, path("a/b"));
    vaults.insert(NAMESPACE, "a".parse().unwrap());
    let refused = world.admitted(&accepted, &vaults, CHECK).await.err().unwrap();
    assert_eq!(refused.code, Code::InvalidArgument);
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_that_is_known() {
    let world = World::new().await;
    for (token, code) in [("", Code::Unauthenticated), ("unknown", Code::PermissionDenied)] {
        for access in [CHECK, WRITE, Access::Own, Access::Server] {
            assert_eq!(world.said(token, None, access).await.0, code, "{token} {access:?}");
        }
        assert_eq!(world.said(token, None, Access::Open).await.0, Code::Ok);
    }
}

#[tokio::test]
async fn whoever_does_not_belong_cannot_tell_what_is_there_from_what_is_not() {
    let world = World::new().await;
    for (at, id) in [("a", "1"), ("b", "2"), ("b/c", "3")] {
        world.create(at, id).await;
    }
    world.token("t", "a", &[Role::Admin], None).await;
    let there = world.said("t", Some("b"), CHECK).await;
    assert_eq!(there.0, Code::PermissionDenied);
    for at in ["x", "b/c", "b/x", "b/c/d/e", "A", "a-", "root"] {
        for access in [CHECK, WRITE] {
            assert_eq!(world.said("t", Some(at), access).await, there, "{at}");
        }
    }
    // Locked or not is nothing that they may know either.
    world.lock("b", LockMode::All, None).await;
    assert_eq!(world.said("t", Some("b/c"), CHECK).await, there);
    // Whoever belongs hears what is so.
    assert_eq!(world.said("t", Some("a/x"), CHECK).await.0, Code::NotFound);
    assert_eq!(world.said(ROOT_KEY, Some("x"), CHECK).await.0, Code::NotFound);
    assert_eq!(world.said("t", Some("a//x"), CHECK).await.0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_name_that_is_given_again_is_another_namespace() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.token("t", "a", &[Role::Admin], None).await;
    let accepted = Accepted::default();
    let before = world.call_on(&accepted, "t", None, WRITE).await.unwrap();
    let root_before = world.call_on(&accepted, ROOT_KEY, Some("a"), WRITE).await.unwrap();
    let (standing, root_standing) = (world.standing(&before, WRITE), world.standing(&root_before, WRITE));
    let old = root_before.tenant.unwrap();
    let token = old.sealer.token(idhini_model::Revision(1));
    world.delete("a", "1").await;
    world.create("a", "2").await;
    assert_eq!(world.call_on(&accepted, "t", None, WRITE).await.err().unwrap().code, Code::PermissionDenied);
    let new = world.call_on(&accepted, ROOT_KEY, Some("a"), WRITE).await.unwrap().tenant.unwrap();
    assert!(!Arc::ptr_eq(&new.namespace, &old.namespace));
    assert!(new.sealer.open_token(&token).is_err());
    // What is under way in the old one is not let on in the new one.
    assert!(!standing.stands() && !root_standing.stands());
}

#[tokio::test]
async fn a_connection_is_let_in_by_what_it_brought_before_and_by_nothing_else() {
    let world = World::new().await;
    world.create("a", "1").await;
    for token in ["one", "two"] {
        world.token(token, "a", &[Role::Checker], None).await;
    }
    let accepted = Accepted::default();
    let again = |token: &str, at: Option<&str>, access| {
        world.admission.again(&accepted, &headers(token, at), access).map(|(pass, _)| pass)
    };
    assert!(again("one", None, CHECK).is_none());
    world.call_on(&accepted, "one", None, CHECK).await.unwrap();
    assert_eq!(again("one", None, CHECK).unwrap().caller, accessor("one").subject());
    for (token, at) in [("two", None), ("onf", None), ("one", Some("a")), ("on", None), ("", None)] {
        assert!(again(token, at, CHECK).is_none(), "{token} {at:?}");
    }
    assert!(again("one", None, WRITE).is_none(), "it may not write");
    // Beside another that came later.
    world.call_on(&accepted, "two", None, CHECK).await.unwrap();
    assert!(again("one", None, CHECK).is_some() && again("two", None, CHECK).is_some());
    world.change(ControlChange::RevokeToken { accessor: accessor("one") }).await;
    assert!(again("one", None, CHECK).is_none() && again("two", None, CHECK).is_none());
    let said = world.call_on(&accepted, "one", None, CHECK).await.err().unwrap();
    assert_eq!(said.code, Code::PermissionDenied);
    assert!(world.call_on(&accepted, "two", None, CHECK).await.is_ok());
}

#[tokio::test]
async fn a_connection_keeps_few_passes() {
    let world = World::new().await;
    let accepted = Accepted::default();
    for number in 0..3 * PASSES_MAX {
        let at = format!("n{number}");
        world.create(&at, &at).await;
    }
    for number in 0..3 * PASSES_MAX {
        world.call_on(&accepted, ROOT_KEY, Some(&format!("n{number}")), CHECK).await.unwrap();
        assert!(accepted.kept.lock().unwrap().len() <= PASSES_MAX);
    }
}

#[tokio::test]
async fn a_token_ends_when_its_time_is_over_also_where_it_was_let_in() {
    let world = World::new().await;
    world.create("a", "1").await;
    world.token("t", "a", &[Role::Checker], Some(60)).await;
    let accepted = Accepted::default();
    let entry = world.call_on(&accepted, "t", None, CHECK).await.unwrap();
    let standing = world.standing(&entry, CHECK);
    world.clock.store(1_059, Relaxed);
    assert!(world.admission.again(&accepted, &headers("t", None), CHECK).is_some() && standing.stands());
    world.clock.store(1_060, Relaxed);
    assert!(world.admission.again(&accepted, &headers("t", None), CHECK).is_none() && !standing.stands());
    assert_eq!(world.said("t", None, CHECK).await.0, Code::PermissionDenied);
}

#[tokio::test]
async fn a_namespace_that_no_call_uses_is_let_go_of() {
    let world = World::new().await;
    world.create("a", "1").await;
    let accepted = Accepted::default();
    let tenant = world.call_on(&accepted, ROOT_KEY, Some("a"), CHECK).await.unwrap().tenant.unwrap();
    let namespace = Arc::downgrade(&tenant.namespace);
    drop(tenant);
    let held = || {
        // The node has one, and this look.
        let namespace = namespace.upgrade().unwrap();
        Arc::strong_count(&namespace) > 2
    };
    world.admission.tidy();
    assert!(held());
    for _ in 0..5 {
        world.admission.tidy();
        // A call that is let in again holds it for longer.
        assert!(world.admission.again(&accepted, &headers(ROOT_KEY, Some("a")), CHECK).is_some());
    }
    assert!(held());
    for _ in 0..5 {
        world.admission.tidy();
    }
    assert!(!held());
    assert!(world.call_on(&accepted, ROOT_KEY, Some("a"), CHECK).await.is_ok());
}
