//! Random trees and random creating, deleting, locking and unlocking, through a running server, beside the plainest model of
//! the rules: whatever happens, the server says what the model says, to whoever asks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use idhini_wire::authzed::api::v1 as contract;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::idhini::v1::LockMode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tonic::Status;

use super::{Caller, number, say, why};
use crate::process::Server;

/// Sequences of a quick run, and the variable that says how many else.
const CASES: u32 = 40;
const CASES_VARIABLE: &str = "IDHINI_NAMESPACE_CASES";
const ACTS_MAX: usize = 60;
/// Below the namespace that each sequence has to itself.
const PATHS: [&str; 9] = ["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "a/b/a", "b/a/b"];
/// Wrong keys that are judged before one has to wait.
const GUESSES: u32 = 5;
/// All that is said; nothing of what is done.
const REASONS: [&str; 11] = [
    "",
    "no schema",
    "NOT_PERMITTED",
    "NAMESPACE_NOT_FOUND",
    "NAMESPACE_EXISTS",
    "NAMESPACE_HAS_CHILDREN",
    "NAMESPACE_LOCKED",
    "NAMESPACE_ALREADY_LOCKED",
    "NAMESPACE_NOT_LOCKED",
    "UNLOCK_KEY_WRONG",
    "UNLOCK_KEY_THROTTLED",
];

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    /// Administrates what the sequence has to itself.
    Admin,
    /// Reads there.
    Member,
    /// Administrates something else.
    Outsider,
}

/// With which key a lock is opened.
#[derive(Debug, Clone, Copy)]
enum With {
    None,
    TheKey,
    AnotherKey,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Create,
    Delete,
    Lock(LockMode),
    Unlock(With),
    Status,
    List,
    ReadSchema,
    WriteSchema,
}

/// Where something is done; below the namespace that the sequence has to itself, which is the empty path.
#[derive(Debug, Clone, Copy)]
enum Where {
    At(&'static str),
    /// One of those that are there.
    There(usize),
    /// One of those that have a lock.
    Locked(usize),
}

/// What is done where, by whom.
type Step = (Who, Act, Where);

/// A tree to begin with, whose paths are made by the server's key, and what is done then.
type Story = (Vec<&'static str>, Vec<Step>);

/// What is said of it: a reason, empty if it is done, and for a lock the namespace that has it; and what is shown.
type Said = (String, String);

fn step() -> impl Strategy<Value = Step> {
    let who = prop_oneof![6 => Just(Who::Root), 4 => Just(Who::Admin), 2 => Just(Who::Member), 1 => Just(Who::Outsider)];
    let mode = || prop_oneof![2 => Just(LockMode::All), 1 => Just(LockMode::Writes)];
    let with = prop_oneof![2 => Just(With::TheKey), 1 => Just(With::None), 1 => Just(With::AnotherKey)];
    let act = prop_oneof![
        4 => Just(Act::Create),
        4 => Just(Act::Delete),
        2 => mode().prop_map(Act::Lock),
        5 => with.prop_map(Act::Unlock),
        1 => Just(Act::Status),
        1 => Just(Act::List),
        2 => Just(Act::ReadSchema),
        2 => Just(Act::WriteSchema),
    ];
    let place = prop_oneof![
        5 => select(&PATHS[..]).prop_map(Where::At),
        4 => any::<usize>().prop_map(Where::There),
        2 => any::<usize>().prop_map(Where::Locked),
    ];
    (who, act, place)
}

fn story() -> impl Strategy<Value = Story> {
    // Those above stand before those below; a path may be chosen whose parent is not.
    (subsequence(&PATHS[..], 0..=PATHS.len()), vec(step(), 1..ACTS_MAX))
}

/// One in which everything is said once at least.
fn story_of_everything() -> Story {
    let mut steps = vec![
        (Who::Root, Act::ReadSchema, Where::At("a")),
        (Who::Root, Act::WriteSchema, Where::At("a")),
        (Who::Root, Act::ReadSchema, Where::At("a")),
        (Who::Outsider, Act::Status, Where::At("a")),
        (Who::Member, Act::Status, Where::At("b")),
        (Who::Admin, Act::Create, Where::At("a")),
        (Who::Admin, Act::Delete, Where::At("a")),
        (Who::Admin, Act::Unlock(With::None), Where::At("a")),
        (Who::Admin, Act::Lock(LockMode::All), Where::At("a")),
        (Who::Root, Act::Lock(LockMode::Writes), Where::At("a")),
        (Who::Member, Act::ReadSchema, Where::At("a/a")),
    ];
    let guess = (Who::Member, Act::Unlock(With::AnotherKey), Where::At("a"));
    steps.extend((0..=GUESSES).map(|_| guess));
    steps.push((Who::Admin, Act::Unlock(With::None), Where::At("a")));
    (vec!["a", "a/a"], steps)
}

/// A namespace, as plainly as it can be said.
#[derive(Debug, Default)]
struct Node {
    lock: Option<(LockMode, String)>,
    has_schema: bool,
    wrong_keys: u32,
}

/// The rules.
#[derive(Debug)]
struct Model {
    /// By the path below the top, which is the empty one.
    nodes: BTreeMap<String, Node>,
    top: String,
}

fn done() -> Said {
    (String::new(), String::new())
}

fn no(reason: &str) -> Said {
    (reason.to_owned(), String::new())
}

/// A path and those above it, from the top down.
fn line(path: &str) -> Vec<String> {
    let mut line = vec![String::new()];
    for (at, _) in path.match_indices('/') {
        line.push(path[..at].to_owned());
    }
    if !path.is_empty() {
        line.push(path.to_owned());
    }
    line
}

fn parent(path: &str) -> Option<&str> {
    match path {
        "" => None,
        path => Some(path.rsplit_once('/').map_or("", |(parent, _)| parent)),
    }
}

impl Model {
    /// Which path is meant.
    fn place(&self, place: Where) -> String {
        let of =
            |nodes: Vec<&String>, at: usize| nodes.get(at % nodes.len().max(1)).map(|path| (*path).clone());
        let locked = || self.nodes.iter().filter(|(_, node)| node.lock.is_some()).map(|(path, _)| path);
        let found = match place {
            Where::At(path) => Some(path.to_owned()),
            Where::There(at) => of(self.nodes.keys().collect(), at),
            Where::Locked(at) => of(locked().collect(), at),
        };
        found.unwrap_or_default()
    }

    fn full(&self, path: &str) -> String {
        if path.is_empty() { self.top.clone() } else { format!("{}/{path}", self.top) }
    }

    /// Of those locks the one that decides: the highest that refuses everything, else the highest.
    fn lock_in(&self, line: &[String]) -> Option<(String, LockMode)> {
        let locks =
            || line.iter().filter_map(|at| Some((self.full(at), self.nodes.get(at)?.lock.as_ref()?.0)));
        locks().find(|(_, mode)| *mode == LockMode::All).or_else(|| locks().next())
    }

    fn lock(&self, path: &str) -> Option<(String, LockMode)> {
        self.lock_in(&line(path))
    }

    fn locked(&self, path: &str, is_change: bool) -> Option<Said> {
        let (at, mode) = self.lock(path)?;
        (is_change || mode == LockMode::All).then(|| ("NAMESPACE_LOCKED".to_owned(), at))
    }

    /// What is to be said; what that leads to has happened then. The key of a lock is put in by whoever heard it.
    fn judge(&mut self, who: Who, act: Act, path: &str) -> Said {
        let (belongs, administrates) = match who {
            Who::Root | Who::Admin => (true, true),
            Who::Member => (true, false),
            Who::Outsider => (false, false),
        };
        if !belongs {
            return no("NOT_PERMITTED");
        }
        match act {
            Act::Create => self.create(path, administrates),
            Act::Delete => self.delete(path, administrates),
            Act::Lock(mode) => self.lock_it(path, mode, administrates),
            Act::Unlock(with) => self.unlock(path, with, administrates),
            Act::Status => match self.nodes.get(path) {
                None => no("NAMESPACE_NOT_FOUND"),
                Some(node) => {
                    let own = node.lock.as_ref().map(|(mode, _)| *mode);
                    (String::new(), format!("{own:?} {:?}", self.lock(path)))
                }
            },
            Act::List => match self.locked(path, false) {
                Some(locked) => locked,
                None if !self.nodes.contains_key(path) => no("NAMESPACE_NOT_FOUND"),
                None => (String::new(), self.children(path)),
            },
            Act::ReadSchema => match (self.locked(path, false), self.nodes.get(path)) {
                (Some(locked), _) => locked,
                (None, None) => no("NAMESPACE_NOT_FOUND"),
                (None, Some(Node { has_schema: true, .. })) => done(),
                (None, Some(_)) => no("no schema"),
            },
            Act::WriteSchema => match self.locked(path, true) {
                Some(locked) => locked,
                None if !administrates => no("NOT_PERMITTED"),
                None => match self.nodes.get_mut(path) {
                    None => no("NAMESPACE_NOT_FOUND"),
                    Some(node) => {
                        node.has_schema = true;
                        done()
                    }
                },
            },
        }
    }

    fn create(&mut self, path: &str, administrates: bool) -> Said {
        // The top is there, and what it is in is open to its server's key alone.
        let Some(parent) = parent(path) else {
            return if administrates { no("top") } else { no("NOT_PERMITTED") };
        };
        if let Some(locked) = self.locked(parent, true) {
            return locked;
        }
        if !administrates {
            return no("NOT_PERMITTED");
        }
        if !self.nodes.contains_key(parent) {
            return no("NAMESPACE_NOT_FOUND");
        }
        if self.nodes.contains_key(path) {
            return no("NAMESPACE_EXISTS");
        }
        self.nodes.insert(path.to_owned(), Node::default());
        done()
    }

    fn delete(&mut self, path: &str, administrates: bool) -> Said {
        if let Some(locked) = self.locked(path, true) {
            return locked;
        }
        if !administrates {
            return no("NOT_PERMITTED");
        }
        if !self.nodes.contains_key(path) {
            return no("NAMESPACE_NOT_FOUND");
        }
        if self.nodes.keys().any(|other| !other.is_empty() && parent(other) == Some(path)) {
            return no("NAMESPACE_HAS_CHILDREN");
        }
        self.nodes.remove(path);
        done()
    }

    fn lock_it(&mut self, path: &str, mode: LockMode, administrates: bool) -> Said {
        if !administrates {
            return no("NOT_PERMITTED");
        }
        let above = self.lock_above(path);
        let Some(node) = self.nodes.get_mut(path) else { return no("NAMESPACE_NOT_FOUND") };
        match (above, &node.lock) {
            (Some(locked), _) => locked,
            (None, Some(_)) => no("NAMESPACE_ALREADY_LOCKED"),
            (None, None) => {
                node.lock = Some((mode, String::new()));
                done()
            }
        }
    }

    fn lock_above(&self, path: &str) -> Option<Said> {
        let mut line = line(path);
        line.pop();
        self.lock_in(&line).map(|(at, _)| ("NAMESPACE_LOCKED".to_owned(), at))
    }

    fn unlock(&mut self, path: &str, with: With, administrates: bool) -> Said {
        let above = self.lock_above(path);
        if matches!(with, With::None) && !administrates {
            return no("NOT_PERMITTED");
        }
        let Some(node) = self.nodes.get_mut(path) else { return no("NAMESPACE_NOT_FOUND") };
        let is_guess = !matches!(with, With::None);
        if is_guess && node.wrong_keys >= GUESSES {
            return no("UNLOCK_KEY_THROTTLED");
        }
        match (above, &node.lock, with) {
            (Some(locked), ..) => locked,
            (None, None, _) => no("NAMESPACE_NOT_LOCKED"),
            (None, Some(_), With::AnotherKey) => {
                node.wrong_keys += 1;
                no("UNLOCK_KEY_WRONG")
            }
            (None, Some(_), With::None | With::TheKey) => {
                node.lock = None;
                done()
            }
        }
    }

    /// Which namespaces are directly in one, and whether they are locked.
    fn children(&self, path: &str) -> String {
        let children = self.nodes.keys().filter(|other| !other.is_empty() && parent(other) == Some(path));
        let told = children.map(|child| (self.full(child), self.lock(child).is_some()));
        format!("{:?}", told.collect::<Vec<_>>())
    }

    fn all(&self) -> String {
        let below = self.nodes.keys().filter(|path| !path.is_empty());
        let told = below.map(|path| (self.full(path), self.lock(path).is_some()));
        format!("{:?}", told.collect::<Vec<_>>())
    }
}

/// A server, and who asks it.
struct World {
    runtime: tokio::runtime::Runtime,
    server: Server,
    root: Caller,
    outsider: Caller,
    tops: Cell<u32>,
    /// How often each was said.
    heard: RefCell<BTreeMap<String, u32>>,
}

/// Who asks in one sequence.
struct Cast {
    root: Caller,
    admin: Caller,
    member: Caller,
    outsider: Caller,
}

impl World {
    fn new() -> World {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = Server::start(&[]);
        let (root, outsider) = runtime.block_on(async {
            let root = Caller::root(&server).await;
            root.create("elsewhere").await.unwrap();
            let outsider = root.token("elsewhere", "admin").await.unwrap();
            (root.clone(), root.with(&outsider))
        });
        World { runtime, server, root, outsider, tops: Cell::new(0), heard: RefCell::default() }
    }

    async fn run(&self, (tree, steps): &Story) -> Result<(), String> {
        let top = format!("t{}", self.tops.replace(self.tops.get() + 1));
        let failed = |status: Status| status.to_string();
        self.root.create(&top).await.map_err(failed)?;
        let admin = self.root.token(&top, "admin").await.map_err(failed)?;
        let member = self.root.token(&top, "reader").await.map_err(failed)?;
        let cast = Cast {
            root: self.root.clone(),
            admin: self.root.with(&admin).about(&top),
            member: self.root.with(&member).about(&top),
            outsider: self.outsider.clone(),
        };
        let mut model = Model { nodes: BTreeMap::from([(String::new(), Node::default())]), top };
        let begun = tree.iter().map(|path| (Who::Root, Act::Create, Where::At(path)));
        let all: Vec<Step> = begun.chain(steps.iter().copied()).collect();
        for (at, step) in all.iter().enumerate() {
            let (who, act, path) = (step.0, step.1, model.place(step.2));
            // The top is another's business to make and delete.
            if path.is_empty() && matches!(act, Act::Create | Act::Delete) {
                continue;
            }
            let said = cast.act((who, act, &path), &mut model).await.map_err(failed)?;
            let key = said.2;
            let said = (said.0, said.1);
            let wanted = model.judge(who, act, &path);
            if said != wanted {
                return Err(format!(
                    "step {at}, {step:?} at `{path}`: said {said:?}, wanted {wanted:?}; {model:?}"
                ));
            }
            if let (Some(key), Some(node)) = (key, model.nodes.get_mut(&path))
                && let Some((_, kept)) = &mut node.lock
            {
                *kept = key;
            }
            *self.heard.borrow_mut().entry(said.0).or_default() += 1;
        }
        let all = cast.root.list(&model.top, true).await;
        match (all, model.locked("", false)) {
            (Ok(all), None) => {
                let all: Vec<_> = all.into_iter().map(|of| (of.path, of.locked)).collect();
                let all = format!("{all:?}");
                if all == model.all() { Ok(()) } else { Err(format!("listed {all}, wanted {}", model.all())) }
            }
            (Err(status), Some(_)) if why(&status).0 == "NAMESPACE_LOCKED" => Ok(()),
            (listed, _) => Err(format!("listed {listed:?}; {model:?}")),
        }
    }
}

impl Cast {
    /// What the server says; and the key of a lock that was made.
    async fn act(
        &self,
        (who, act, path): (Who, Act, &str),
        model: &mut Model,
    ) -> Result<(String, String, Option<String>), Status> {
        let caller = match who {
            Who::Root => &self.root,
            Who::Admin => &self.admin,
            Who::Member => &self.member,
            Who::Outsider => &self.outsider,
        };
        let full = model.full(path);
        let there = caller.about(&full);
        // Of what is above it nobody knows but who belongs there, and so paths begin where they do.
        let at = match who {
            Who::Root | Who::Outsider => full.as_str(),
            Who::Admin | Who::Member => path,
        };
        let mut schemas = SchemaServiceClient::new(there.channel.clone());
        let (mut shown, mut key) = (String::new(), None);
        let outcome = match act {
            Act::Create => caller.create(at).await,
            Act::Delete => caller.delete(at).await,
            Act::Lock(mode) => caller.lock(at, mode).await.map(|made| key = Some(made)),
            Act::Unlock(with) => {
                let kept =
                    model.nodes.get(path).and_then(|node| node.lock.as_ref()).map(|(_, key)| key.clone());
                let given = match with {
                    With::None => String::new(),
                    // Where there is no lock any key is as good as another.
                    With::TheKey => kept.unwrap_or_else(|| "x".to_owned()),
                    With::AnotherKey => "not the key".to_owned(),
                };
                caller.unlock(at, &given).await
            }
            Act::Status => caller.lock_of(at).await.map(|of| {
                let own = of.own.map(|lock| lock.mode());
                let effective = of.effective.map(|lock| (lock.path.clone(), lock.mode()));
                shown = format!("{own:?} {effective:?}");
            }),
            Act::List => caller.list(at, false).await.map(|all| {
                let all: Vec<_> = all.into_iter().map(|of| (of.path, of.locked)).collect();
                shown = format!("{all:?}");
            }),
            Act::ReadSchema => {
                schemas.read_schema(there.request(contract::ReadSchemaRequest {})).await.map(drop)
            }
            Act::WriteSchema => {
                let request = contract::WriteSchemaRequest { schema: "definition user {}".to_owned() };
                schemas.write_schema(there.request(request)).await.map(drop)
            }
        };
        let Err(status) = outcome else { return Ok((String::new(), shown, key)) };
        let (reason, metadata) = why(&status);
        if reason.is_empty() && status.message().starts_with("no schema") {
            return Ok(("no schema".to_owned(), String::new(), None));
        }
        if reason.is_empty() {
            return Err(status);
        }
        Ok((reason, metadata.get("locked_namespace").cloned().unwrap_or_default(), None))
    }
}

#[test]
fn whatever_happens_to_a_tree_the_server_says_what_the_rules_say() {
    let world = World::new();
    let cases = number(CASES_VARIABLE, CASES);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let everything = story_of_everything();
    let told = world.runtime.block_on(world.run(&everything));
    told.unwrap_or_else(|why| panic!("{why}\nof {everything:#?}"));
    let held =
        runner.run(&story(), |story| world.runtime.block_on(world.run(&story)).map_err(TestCaseError::fail));
    let heard = world.heard.borrow();
    say(&format!("{cases} sequences on {}; said: {heard:?}", world.server.address));
    match held {
        Ok(()) => {}
        Err(TestError::Fail(why, story)) => panic!("{why}\nof {story:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // It has met what it is there for, if only in what was not left to chance.
    for reason in REASONS {
        assert!(heard.get(reason).is_some_and(|count| *count > 0), "{reason}: {heard:?}");
    }
}
