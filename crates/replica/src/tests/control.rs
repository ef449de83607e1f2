//! The control plane against a plain model of its rules, and what each role may.

use std::collections::{BTreeMap, BTreeSet};

use idhini_model::{CaveatUse, ContextValue, ResourceRef, SubjectRef};

use super::*;
use crate::control::{
    Accessor, Control, ControlChange, ControlError, ControlPlane, LockMode, NamespaceId, NamespacePath,
    Right, Role, SYS_LOG,
};

struct Plane {
    runtime: tokio::runtime::Runtime,
    store: MemoryStore,
    plane: Arc<ControlPlane>,
    seconds: Arc<AtomicI64>,
    drawn: std::cell::Cell<u64>,
}

fn root_token() -> SubjectRef {
    SubjectRef::object("root_token", "this")
}

fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

impl Plane {
    fn new() -> Plane {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (store, seconds) = (MemoryStore::new(), Arc::new(AtomicI64::new(1_000)));
        let plane = open(&runtime, &store, &seconds);
        Plane { runtime, store, plane, seconds, drawn: std::cell::Cell::new(0) }
    }

    /// Another that reads the same log from the beginning.
    fn reopened(&self) -> Arc<ControlPlane> {
        open(&self.runtime, &self.store, &self.seconds)
    }

    fn change(&self, by: &SubjectRef, change: ControlChange) -> Result<(), ControlError> {
        let control = Control { by: Some(by.clone()), change };
        match self.runtime.block_on(self.plane.change(control, ALWAYS)) {
            Ok(_) => Ok(()),
            Err(ReplicaError::Control(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    fn by_root(&self, change: ControlChange) -> Result<(), ControlError> {
        self.change(&root_token(), change)
    }

    fn id(&self) -> NamespaceId {
        self.drawn.set(self.drawn.get() + 1);
        NamespaceId(format!("id-{}", self.drawn.get()))
    }

    fn create(&self, at: &str) -> Result<(), ControlError> {
        self.by_root(ControlChange::Create { path: path(at), id: self.id(), metadata: BTreeMap::new() })
    }

    fn token(&self, name: &str, home: &str, roles: &[Role], lifetime_seconds: Option<u64>) -> SubjectRef {
        let (accessor, secret) = (Accessor(name.to_owned()), secret(name));
        let (home, description, roles) = (path(home), String::new(), roles.to_vec());
        let token =
            ControlChange::CreateToken { accessor, secret, home, description, lifetime_seconds, roles };
        self.by_root(token).unwrap();
        SubjectRef::object("token", name)
    }
}

fn open(
    runtime: &tokio::runtime::Runtime,
    store: &MemoryStore,
    seconds: &Arc<AtomicI64>,
) -> Arc<ControlPlane> {
    let clock = Arc::clone(seconds);
    let clock: Clock = Arc::new(move || Timestamp::from_seconds(clock.load(Ordering::SeqCst)));
    let sys = Namespace::open(store.log(SYS_LOG), None, clock, Options::default());
    runtime.block_on(async { ControlPlane::open(sys.await.unwrap(), vec![root_token()]).await.unwrap() })
}

fn secret(text: &str) -> [u8; 32] {
    let mut secret = [0; 32];
    secret[..text.len()].copy_from_slice(text.as_bytes());
    secret
}

fn lock(at: &str, mode: LockMode, key: &str, expires_at: Option<i64>) -> ControlChange {
    let expires_at = expires_at.map(Timestamp::from_seconds);
    ControlChange::Lock { path: path(at), mode, key: secret(key), reason: String::new(), expires_at }
}

/// Random numbers, always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// The rules, as plainly as they can be said: which paths there are, and which are locked with what until when.
#[derive(Default)]
struct Model {
    paths: BTreeSet<String>,
    locks: BTreeMap<String, (LockMode, String, Option<i64>)>,
    deleting: BTreeSet<String>,
}

impl Model {
    fn above(at: &str) -> Vec<String> {
        let names: Vec<&str> = at.split('/').collect();
        (1..names.len()).rev().map(|count| names[..count].join("/")).collect()
    }

    fn expire(&mut self, now: i64) {
        self.locks.retain(|_, (.., until)| until.is_none_or(|until| until > now));
    }

    fn is_locked_above(&self, at: &str) -> bool {
        Model::above(at).iter().any(|above| self.locks.contains_key(above))
    }

    /// What refuses: from the top down the first lock of everything, else the first.
    fn effective(&self, at: &str) -> Option<(String, LockMode)> {
        let mut line = vec![at.to_owned()];
        line.extend(Model::above(at));
        let locks: Vec<(String, LockMode)> =
            line.iter().rev().filter_map(|at| Some((at.clone(), self.locks.get(at)?.0))).collect();
        let all = locks.iter().find(|(_, mode)| *mode == LockMode::All).cloned();
        all.or_else(|| locks.first().cloned())
    }

    fn create(&mut self, at: &str) -> bool {
        let parent = Model::above(at).first().cloned();
        let fits = parent.is_none_or(|p| self.paths.contains(&p) && !self.deleting.contains(&p))
            && !self.paths.contains(at)
            && !self.is_locked_above(at);
        if fits {
            self.paths.insert(at.to_owned());
        }
        fits
    }

    fn delete(&mut self, at: &str) -> bool {
        let has_children = self.paths.iter().any(|p| p.starts_with(&format!("{at}/")));
        let fits = self.paths.contains(at) && !has_children && self.effective(at).is_none();
        if fits {
            self.deleting.insert(at.to_owned());
        }
        fits
    }

    fn forget(&mut self, at: &str) {
        if self.deleting.remove(at) {
            self.paths.remove(at);
            self.locks.remove(at);
        }
    }

    fn stands(&self, at: &str) -> bool {
        self.paths.contains(at) && !self.deleting.contains(at) && !self.is_locked_above(at)
    }

    fn lock(&mut self, at: &str, lock: (LockMode, String, Option<i64>)) -> bool {
        let fits = self.stands(at) && !self.locks.contains_key(at);
        if fits {
            self.locks.insert(at.to_owned(), lock);
        }
        fits
    }

    fn unlock(&mut self, at: &str, key: Option<&str>) -> bool {
        let opens = self.locks.get(at).is_some_and(|(_, own, _)| key.is_none_or(|key| key == own));
        let fits = self.stands(at) && opens;
        if fits {
            self.locks.remove(at);
        }
        fits
    }
}

const PATHS: [&str; 9] = ["a", "a-b", "ab", "a/b", "a/b/c", "a/b/d", "ab/c", "a/c", "a/b/c/d"];

#[test]
fn random_trees_and_locks_are_as_a_plain_model_has_them() {
    for seed in 1..=8 {
        let (plane, mut model, mut dice) = (Plane::new(), Model::default(), Dice(seed));
        let mut tally = [[0; 2]; 6];
        for step in 0..400 {
            let at = PATHS[dice.below(PATHS.len())];
            let act = dice.below(6);
            let (asked, wanted) = match act {
                0 | 5 => (plane.create(at), model.create(at)),
                1 if dice.below(3) == 0 => {
                    (plane.by_root(ControlChange::Delete { path: path(at) }), model.delete(at))
                }
                1 => {
                    let id = plane.plane.look(|view| view.at(&path(at))).unwrap();
                    if let Some(found) = id.filter(|found| found.is_exact) {
                        plane.by_root(ControlChange::Forget { id: found.nearest.0 }).unwrap();
                    }
                    model.forget(at);
                    (Ok(()), true)
                }
                2 => {
                    let mode = [LockMode::All, LockMode::Writes][dice.below(2)];
                    let until = (dice.below(3) == 0).then(|| 1_000 + step + 20);
                    let key = format!("key{step}");
                    (plane.by_root(lock(at, mode, &key, until)), model.lock(at, (mode, key, until)))
                }
                3 => {
                    let right = model.locks.get(at).map_or("none".to_owned(), |(_, key, _)| key.clone());
                    let key = [right.as_str(), "wrong"][dice.below(2)];
                    let unlock = ControlChange::Unlock { path: path(at), key: Some(secret(key)) };
                    (plane.by_root(unlock), model.unlock(at, Some(key)))
                }
                _ => {
                    let unlock = ControlChange::Unlock { path: path(at), key: None };
                    (plane.by_root(unlock), model.unlock(at, None))
                }
            };
            assert_eq!(asked.is_ok(), wanted, "seed {seed}, step {step}: {act} of {at}: {asked:?}");
            tally[act][usize::from(wanted)] += 1;
            plane.seconds.store(1_000 + step, Ordering::SeqCst);
            model.expire(1_000 + step);
            agree(&plane.plane, &model, &format!("seed {seed}, step {step}"));
        }
        agree(&plane.reopened(), &model, &format!("seed {seed}, reopened"));
        assert!(
            tally.iter().enumerate().all(|(act, [no, yes])| *yes > 0 && (act == 1 || *no > 0)),
            "{tally:?}"
        );
    }
}

/// Whether paths and effective locks are the same in the view and in the model.
fn agree(plane: &ControlPlane, model: &Model, what: &str) {
    let now = plane.now();
    plane
        .look(|view| {
            let root = NamespacePath::root();
            let below = view.below(&root, false).map(|(_, record)| record.path.to_string());
            assert_eq!(below.collect::<Vec<_>>(), model.paths.iter().cloned().collect::<Vec<_>>(), "{what}");
            for at in PATHS {
                let locked =
                    view.lock(&path(at), now).map(|lock| (lock.locked.to_string(), lock.lock.record.mode));
                assert_eq!(locked, model.effective(at), "{what}: {at}");
                assert_eq!(
                    view.at(&path(at)).is_some_and(|f| f.is_exact),
                    model.paths.contains(at),
                    "{what}: {at}"
                );
                let here = path(at);
                let direct = view.below(&here, true).map(|(_, record)| record.path.to_string());
                let wanted =
                    model.paths.iter().filter(|p| Model::above(p).first().is_some_and(|above| above == at));
                assert!(direct.eq(wanted.cloned()), "{what}: below {at}");
            }
        })
        .unwrap();
}

#[test]
fn a_role_may_what_it_says_there_and_below_and_nothing_above_or_beside() {
    let plane = Plane::new();
    for at in ["a", "a/b", "c"] {
        plane.create(at).unwrap();
    }
    let id = |at: &str| plane.plane.look(|view| view.at(&path(at)).unwrap().nearest.0).unwrap();
    use Right::*;
    let table: [(Role, &[Right]); 6] = [
        (Role::Admin, &[Administer, WriteSchema, Write, Read, ReadSchema, Check, Audit, Belong]),
        (Role::SchemaWriter, &[WriteSchema, ReadSchema, Belong]),
        (Role::Writer, &[Write, Read, ReadSchema, Check, Belong]),
        (Role::Reader, &[Read, ReadSchema, Check, Belong]),
        (Role::Checker, &[Check, Belong]),
        (Role::Auditor, &[Audit, Belong]),
    ];
    for (role, rights) in table {
        let token = plane.token(role.as_str(), "a", &[role], None);
        for at in ["a", "a/b"] {
            let may = plane.plane.rights(&token, &id(at)).unwrap();
            for right in Right::ALL {
                assert_eq!(may.has(right), rights.contains(&right), "{role:?} {right:?} in {at}");
                assert_eq!(role.gives(right), rights.contains(&right), "{role:?} {right:?}");
            }
        }
        for at in ["root", "c"] {
            assert_eq!(plane.plane.rights(&token, &id(at)).unwrap(), Default::default(), "{role:?} in {at}");
        }
    }
}

#[test]
fn who_may_not_hears_the_same_whether_or_not_it_is_there() {
    let plane = Plane::new();
    for at in ["a", "a/b", "c"] {
        plane.create(at).unwrap();
    }
    let checker = plane.token("checker", "a", &[Role::Checker], None);
    let admin = plane.token("admin", "a", &[Role::Admin], None);
    let create =
        |at: &str| ControlChange::Create { path: path(at), id: plane.id(), metadata: BTreeMap::new() };
    for at in ["a/b", "a/x", "c", "x", "x/y"] {
        let attempts = [
            ControlChange::Delete { path: path(at) },
            ControlChange::Patch { path: path(at), metadata: BTreeMap::new() },
            lock(at, LockMode::All, "key", None),
            ControlChange::Unlock { path: path(at), key: None },
            ControlChange::Grant { path: path(at), role: Role::Admin, to: checker.clone() },
        ];
        for attempt in attempts {
            assert_eq!(
                plane.change(&checker, attempt.clone()),
                Err(ControlError::NotPermitted),
                "{attempt:?}"
            );
            if !at.starts_with('a') {
                assert_eq!(
                    plane.change(&admin, attempt.clone()),
                    Err(ControlError::NotPermitted),
                    "{attempt:?}"
                );
            }
        }
    }
    for at in ["c/x", "x/y/z", "d"] {
        assert_eq!(plane.change(&admin, create(at)), Err(ControlError::NotPermitted));
    }
    // Who may know hears what is so, and may.
    let gone = plane.change(&admin, ControlChange::Delete { path: path("a/x") });
    assert_eq!(gone, Err(ControlError::NoNamespace { path: path("a/x") }));
    assert_eq!(plane.change(&admin, create("a/y")), Ok(()));
    let token = ControlChange::RevokeToken { accessor: Accessor("nobody".to_owned()) };
    assert_eq!(plane.change(&admin, token.clone()), Err(ControlError::NotPermitted));
    assert_eq!(plane.by_root(token), Err(ControlError::NoToken));
}

#[test]
fn a_token_ends_when_it_expires_is_rotated_or_revoked_and_goes_with_its_home() {
    let plane = Plane::new();
    plane.create("a").unwrap();
    let bearer = |text: &str| {
        let now = plane.plane.now();
        plane.plane.look(|view| view.bearer(&secret(text), now).map(|bearer| bearer.accessor.0)).unwrap()
    };
    let accessor = |name: &str| Accessor(name.to_owned());
    let first = plane.token("first", "a", &[Role::Writer], Some(100));
    assert_eq!(bearer("first"), Some("first".to_owned()));
    // It renews itself, and gives itself another text.
    plane.seconds.store(1_050, Ordering::SeqCst);
    plane.change(&first, ControlChange::RenewToken { accessor: accessor("first") }).unwrap();
    plane.seconds.store(1_120, Ordering::SeqCst);
    assert_eq!(bearer("first"), Some("first".to_owned()));
    let rotate = ControlChange::RotateToken {
        accessor: accessor("first"),
        secret: secret("2nd"),
        overlap_seconds: 10,
    };
    plane.change(&first, rotate).unwrap();
    assert_eq!((bearer("first"), bearer("2nd")), (Some("first".to_owned()), Some("first".to_owned())));
    plane.seconds.store(1_130, Ordering::SeqCst);
    assert_eq!((bearer("first"), bearer("2nd")), (None, Some("first".to_owned())));
    // Renewing does not bring back what was on its way out.
    plane.change(&first, ControlChange::RenewToken { accessor: accessor("first") }).unwrap();
    assert_eq!((bearer("first"), bearer("2nd")), (None, Some("first".to_owned())));
    plane.seconds.store(1_230, Ordering::SeqCst);
    assert_eq!(bearer("2nd"), None);
    let second = plane.token("second", "a", &[Role::Admin], None);
    let other = plane.token("other", "a", &[Role::Writer], None);
    let revoke = |name: &str| ControlChange::RevokeToken { accessor: accessor(name) };
    assert_eq!(plane.change(&other, revoke("second")), Err(ControlError::NotPermitted));
    plane.change(&second, revoke("other")).unwrap();
    assert_eq!(bearer("other"), None);
    let id = plane.plane.look(|view| view.at(&path("a")).unwrap().nearest.0).unwrap();
    assert_eq!(plane.plane.rights(&other, &id).unwrap(), Default::default());
    // With its home everything goes.
    plane.by_root(ControlChange::Delete { path: path("a") }).unwrap();
    plane.by_root(ControlChange::Forget { id: id.clone() }).unwrap();
    assert_eq!(bearer("second"), None);
    plane.create("a").unwrap();
    let again = plane.plane.look(|view| view.at(&path("a")).unwrap().nearest).unwrap();
    assert_ne!(again.0, id);
    assert_eq!(plane.plane.rights(&second, &again.0).unwrap(), Default::default());
    let left = plane.plane.sys().head().read(&Filter::default(), plane.plane.now(), None, ALL);
    assert!(
        !texts(&left).iter().any(|text| text.contains("second") || text.contains(&id.0)),
        "{:#?}",
        texts(&left)
    );
}

#[test]
fn a_text_that_was_replaced_ends_also_if_that_was_in_the_second_in_which_it_was_made() {
    let plane = Plane::new();
    let bearer = |text: &str| {
        let now = plane.plane.now();
        plane.plane.look(|view| view.bearer(&secret(text), now).is_some()).unwrap()
    };
    let accessor = || Accessor("first".to_owned());
    let first = plane.token("first", "root", &[Role::Writer], Some(100));
    // As long as the token lasts, and in the same second: by their ends the texts are the same.
    for text in ["2nd", "3rd"] {
        let (secret, overlap_seconds) = (secret(text), 100);
        let rotate = ControlChange::RotateToken { accessor: accessor(), secret, overlap_seconds };
        plane.change(&first, rotate).unwrap();
    }
    assert!(bearer("first") && bearer("2nd") && bearer("3rd"));
    plane.seconds.store(1_060, Ordering::SeqCst);
    plane.change(&first, ControlChange::RenewToken { accessor: accessor() }).unwrap();
    plane.seconds.store(1_099, Ordering::SeqCst);
    assert!(bearer("first") && bearer("2nd") && bearer("3rd"));
    plane.seconds.store(1_100, Ordering::SeqCst);
    assert_eq!((bearer("first"), bearer("2nd"), bearer("3rd")), (false, false, true));
    // Nor does it come back.
    plane.change(&first, ControlChange::RenewToken { accessor: accessor() }).unwrap();
    assert_eq!((bearer("first"), bearer("2nd"), bearer("3rd")), (false, false, true));
}

#[test]
fn what_was_granted_to_a_token_that_has_ended_is_taken_away() {
    let plane = Plane::new();
    plane.create("a").unwrap();
    let lasting = plane.token("lasting", "root", &[Role::Reader], None);
    for number in 0..120 {
        let name = format!("short{number}");
        let short = plane.token(&name, "a", &[Role::Writer, Role::Reader], Some(50));
        plane.by_root(ControlChange::Grant { path: path("root"), role: Role::Checker, to: short }).unwrap();
    }
    let to_some = |of: &ControlPlane| {
        let left = of.sys().head().read(&Filter::default(), Timestamp::from_seconds(i64::MIN), None, ALL);
        texts(&left).iter().filter(|text| text.contains("token:short")).count()
    };
    let swept = |of: &Arc<ControlPlane>| {
        plane.runtime.block_on(async {
            of.sys().maintain().await.unwrap();
            of.catch_up().await.unwrap();
            of.sweep_tokens().await.unwrap();
        });
    };
    // Each has its record, its text, and three roles.
    let before = to_some(&plane.plane);
    swept(&plane.plane);
    assert_eq!((before, to_some(&plane.plane)), (120 * 5, 120 * 5));
    plane.seconds.store(1_050, Ordering::SeqCst);
    let renewed = plane.token("short_but_new", "a", &[Role::Reader], Some(50));
    swept(&plane.plane);
    assert_eq!(to_some(&plane.plane), 3);
    let root = NamespaceId::root();
    assert!(plane.plane.rights(&lasting, &root).unwrap().has(Right::Read));
    assert_eq!(plane.plane.grants(&path("root"), &root, 1_000).len(), 2);
    let a = plane.plane.look(|view| view.at(&path("a")).unwrap().nearest.0).unwrap();
    assert!(plane.plane.rights(&renewed, &a).unwrap().has(Right::Read));
    // What a process left that ended in between is found by the next.
    plane.seconds.store(1_100, Ordering::SeqCst);
    plane.runtime.block_on(plane.plane.sys().maintain()).unwrap();
    assert_eq!(to_some(&plane.plane), 1);
    let next = plane.reopened();
    swept(&next);
    assert_eq!(to_some(&next), 0);
    let revision = next.sys().head().revision();
    swept(&next);
    assert_eq!(next.sys().head().revision(), revision, "there is nothing more to be done");
}

#[test]
fn a_change_that_is_written_and_cannot_be_read_back_is_not_said_to_be_refused() {
    let plane = Plane::new();
    plane.create("a").unwrap();
    // As no release writes it.
    let context = Context([("facts".to_owned(), ContextValue::Map(BTreeMap::new()))].into());
    let mut damaged = Relationship::new(
        ResourceRef::new("namespace", "damaged"),
        "record",
        SubjectRef::object("fact", "namespace"),
    );
    damaged.caveat = Some(CaveatUse { name: "record".to_owned(), context });
    let update = Update { operation: Operation::Touch, relationship: damaged };
    let write = Write { updates: vec![update], preconditions: Vec::new(), metadata: Default::default() };
    plane.runtime.block_on(plane.plane.sys().write(write, ALWAYS)).unwrap();
    let before = plane.plane.sys().head().revision();
    let change = ControlChange::Create { path: path("b"), id: plane.id(), metadata: BTreeMap::new() };
    let control = Control { by: Some(root_token()), change };
    let said = plane.runtime.block_on(plane.plane.change(control, ALWAYS));
    assert!(matches!(said, Err(ReplicaError::OutcomeUnknown(_))), "{said:?}");
    assert!(plane.plane.sys().head().revision() > before, "it was made");
    assert!(plane.plane.look(|_| ()).is_err());
}

#[test]
fn root_is_neither_locked_nor_deleted_and_admins_of_the_configuration_come_and_go() {
    let plane = Plane::new();
    let root = || path("root");
    let is_of_root = |result: Result<(), ControlError>| matches!(result, Err(ControlError::Root { .. }));
    assert!(is_of_root(plane.by_root(lock("root", LockMode::All, "key", None))));
    assert!(is_of_root(plane.by_root(ControlChange::Unlock { path: root(), key: None })));
    assert!(is_of_root(plane.by_root(ControlChange::Delete { path: root() })));
    assert!(is_of_root(plane.create("root")));
    let keys =
        |ids: &[&str]| ids.iter().map(|id| SubjectRef::object("preshared_key", *id)).collect::<Vec<_>>();
    let begin = |admins| {
        let control = Control { by: None, change: ControlChange::Begin { admins } };
        plane.runtime.block_on(plane.plane.change(control, ALWAYS)).unwrap();
    };
    begin(keys(&["one", "two"]));
    begin(keys(&["two"]));
    let may =
        |who: &SubjectRef| plane.plane.rights(who, &NamespaceId::root()).unwrap().has(Right::Administer);
    assert_eq!(keys(&["one", "two"]).iter().map(may).collect::<Vec<_>>(), [false, true]);
    assert!(!may(&root_token()));
    let revision = plane.plane.sys().head().revision();
    begin(keys(&["two"]));
    assert_eq!(plane.plane.sys().head().revision(), revision, "what is so makes no entry");
}
