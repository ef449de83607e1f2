//! A server that is killed while namespaces are made, filled, locked, listed and deleted: after each start what was
//! acknowledged is there, what was begun is whole or gone, and nothing is left of what was deleted, in no log and no file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, FileDisk, Store as _};
use idhini_model::{Relationship, Timestamp};
use idhini_replica::control::SYS_LOG;
use idhini_replica::{Clock, Filter, Images, Namespace, Options, Portion};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::idhini::v1 as own;

use super::{Caller, number, say};
use crate::kills::model::Rng;
use crate::process::{KEY, Server, binary, folder, of_type, touch};

/// Kills of a quick run, and the variable that says how many else.
const KILLS: u32 = 12;
const KILLS_VARIABLE: &str = "IDHINI_NAMESPACE_KILLS";
const SEED_VARIABLE: &str = "IDHINI_NAMESPACE_KILLS_SEED";
/// Each with a part of the tree to itself.
const WRITERS: u64 = 4;
/// They go on for so long at most before the server is killed; some lives last longer.
const LIFE_MS_MAX: u64 = 80;
const LONG_LIFE_MS: u64 = 400;
const START_MS_MAX: u64 = 40;
/// Namespaces that a writer has at a time, at most.
const HELD_MAX: usize = 12;
const SCHEMA: &str = "definition user {}\ndefinition document {\n  relation viewer: user\n}";

/// What a namespace should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    has_schema: bool,
    /// Relationships that were written.
    rows: BTreeSet<u64>,
    lock: Option<String>,
}

/// What was asked for when the server was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Flying {
    Create(String),
    Delete(String),
    Schema(String),
    Row(String, u64),
    Lock(String),
    Unlock(String),
}

/// One who makes and unmakes namespaces below one of their own.
#[derive(Debug)]
struct Writer {
    top: String,
    rng: Rng,
    held: BTreeMap<String, Held>,
    flying: Option<Flying>,
    names: u64,
    done: u64,
}

impl Writer {
    fn new(number: u64, seed: u64) -> Writer {
        let top = format!("w{number}");
        let held = BTreeMap::from([(top.clone(), Held::default())]);
        Writer { top, rng: Rng(seed ^ (number << 32)), held, flying: None, names: 0, done: 0 }
    }

    fn any(&mut self, is_wanted: impl Fn(&str, &Held) -> bool) -> Option<String> {
        let wanted: Vec<&String> =
            self.held.iter().filter(|(path, held)| is_wanted(path, held)).map(|(path, _)| path).collect();
        if wanted.is_empty() {
            return None;
        }
        let at = usize::try_from(self.rng.below(wanted.len() as u64)).unwrap();
        Some(wanted[at].clone())
    }

    /// Whether it is locked, or one above it.
    fn is_locked(&self, path: &str) -> bool {
        self.held.iter().any(|(at, held)| held.lock.is_some() && is_in(path, at))
    }

    fn choose(&mut self) -> Flying {
        let locked: BTreeSet<String> =
            self.held.keys().filter(|path| self.is_locked(path)).cloned().collect();
        let (top, all): (String, BTreeSet<String>) = (self.top.clone(), self.held.keys().cloned().collect());
        let is_open = |path: &str| !locked.contains(path);
        // What is below a locked one is not unlocked.
        let can_be_unlocked = |path: &str, held: &Held| {
            held.lock.is_some() && path.rsplit_once('/').is_none_or(|(above, _)| is_open(above))
        };
        let is_leaf = |path: &str| !all.iter().any(|other| other != path && is_in(other, path));
        let choice = match self.rng.below(10) {
            0..=2 if self.held.len() < HELD_MAX => {
                self.names += 1;
                let name = self.names;
                self.any(|path, _| is_open(path) && path.matches('/').count() < 4)
                    .map(|above| Flying::Create(format!("{above}/n{name}")))
            }
            0..=4 => self.any(|path, _| is_open(path) && path != top && is_leaf(path)).map(Flying::Delete),
            5 => self.any(|path, held| is_open(path) && !held.has_schema).map(Flying::Schema),
            6 | 7 => {
                let row = self.rng.below(1_000);
                self.any(|path, held| is_open(path) && held.has_schema).map(|path| Flying::Row(path, row))
            }
            8 => self.any(|path, _| is_open(path) && path != top).map(Flying::Lock),
            _ => self.any(can_be_unlocked).map(Flying::Unlock),
        };
        // Locked ones are opened before long, and there is always the top to make something in.
        choice.or_else(|| self.any(can_be_unlocked).map(Flying::Unlock)).unwrap_or_else(|| {
            self.names += 1;
            Flying::Create(format!("{top}/n{}", self.names))
        })
    }

    /// Goes on until the server is gone.
    async fn write(mut self, root: Caller) -> Result<Writer, String> {
        loop {
            let chosen = self.choose();
            self.flying = Some(chosen.clone());
            match self.ask(&root, &chosen).await {
                Ok(key) => {
                    self.take(chosen, key);
                    self.flying = None;
                    self.done += 1;
                }
                Err(status) if is_gone(&status) => return Ok(self),
                Err(status) => return Err(format!("{chosen:?} of {:?}: {status:?}", self.held)),
            }
            if self.rng.chance(10) {
                match root.list(&self.top, true).await {
                    Ok(all) => self.compare(&all)?,
                    Err(status) if is_gone(&status) => return Ok(self),
                    Err(status) => return Err(format!("a list: {status:?}")),
                }
            }
        }
    }

    async fn ask(&self, root: &Caller, chosen: &Flying) -> Result<Option<String>, tonic::Status> {
        match chosen {
            Flying::Create(path) => {
                root.create(path).await?;
                // What goes with it when it goes.
                root.token(path, "reader").await.map(|_| None)
            }
            Flying::Delete(path) => root.delete(path).await.map(|()| None),
            Flying::Lock(path) => root.lock(path, own::LockMode::Writes).await.map(Some),
            Flying::Unlock(path) => {
                root.unlock(path, self.held[path].lock.as_ref().unwrap()).await.map(|()| None)
            }
            Flying::Schema(path) => {
                let there = root.about(path);
                let request = there.request(v1::WriteSchemaRequest { schema: SCHEMA.to_owned() });
                SchemaServiceClient::new(there.channel.clone()).write_schema(request).await.map(|_| None)
            }
            Flying::Row(path, row) => {
                let there = root.about(path);
                let request = there.request(touch(&[&format!("document:d{row}#viewer@user:tom")]));
                let mut client = PermissionsServiceClient::new(there.channel.clone());
                client.write_relationships(request).await.map(|_| None)
            }
        }
    }

    fn take(&mut self, done: Flying, key: Option<String>) {
        match done {
            Flying::Create(path) => drop(self.held.insert(path, Held::default())),
            Flying::Delete(path) => drop(self.held.remove(&path)),
            Flying::Schema(path) => self.held.get_mut(&path).unwrap().has_schema = true,
            Flying::Row(path, row) => drop(self.held.get_mut(&path).unwrap().rows.insert(row)),
            Flying::Lock(path) => self.held.get_mut(&path).unwrap().lock = key,
            Flying::Unlock(path) => self.held.get_mut(&path).unwrap().lock = None,
        }
    }

    /// What is listed must be what there is.
    fn compare(&self, all: &[own::Namespace]) -> Result<(), String> {
        if let Some(half) = all.iter().find(|of| of.deleting) {
            return Err(format!("{} is half deleted", half.path));
        }
        let listed: BTreeMap<&str, bool> = all.iter().map(|of| (of.path.as_str(), of.locked)).collect();
        let below = self.held.keys().filter(|path| **path != self.top);
        let wanted: BTreeMap<&str, bool> = below.map(|path| (path.as_str(), self.is_locked(path))).collect();
        if listed == wanted { Ok(()) } else { Err(format!("listed {listed:?}, acknowledged {wanted:?}")) }
    }

    /// Settles what was in flight by what there is, and compares the rest.
    async fn verify(&mut self, root: &Caller) -> Result<bool, String> {
        let all = root.list(&self.top, true).await.map_err(|status| status.to_string())?;
        let is_there = |path: &str| all.iter().any(|of| of.path == path);
        let flying = self.flying.take();
        let mut has_happened = false;
        match &flying {
            Some(Flying::Create(path)) if is_there(path) => {
                self.held.insert(path.clone(), Held::default());
                has_happened = true;
            }
            Some(Flying::Delete(path)) if !is_there(path) => {
                self.held.remove(path);
                has_happened = true;
            }
            Some(Flying::Lock(path) | Flying::Unlock(path)) => {
                let lock = root.lock_of(path).await.map_err(|status| status.to_string())?;
                let held = self.held.get_mut(path).unwrap();
                match lock.own {
                    // Its key went with the answer: an administrator opens it.
                    Some(_) if held.lock.is_none() => {
                        root.unlock(path, "").await.map_err(|status| status.to_string())?;
                        has_happened = true;
                    }
                    None => {
                        has_happened = held.lock.is_some();
                        held.lock = None;
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
        let all = root.list(&self.top, true).await.map_err(|status| status.to_string())?;
        self.compare(&all).map_err(|wrong| format!("{wrong}; in flight was {flying:?}"))?;
        for path in self.held.keys().cloned().collect::<Vec<_>>() {
            self.verify_content(root, &path, flying.as_ref()).await?;
        }
        Ok(has_happened)
    }

    async fn verify_content(
        &mut self,
        root: &Caller,
        path: &str,
        flying: Option<&Flying>,
    ) -> Result<(), String> {
        let there = root.about(path);
        let schema = there.request(v1::ReadSchemaRequest {});
        let schema = SchemaServiceClient::new(there.channel.clone()).read_schema(schema).await;
        let held = self.held.get_mut(path).unwrap();
        if flying == Some(&Flying::Schema(path.to_owned())) {
            held.has_schema = schema.is_ok();
        }
        if schema.is_ok() != held.has_schema {
            return Err(format!("{path} has a schema: {}, wanted {}", schema.is_ok(), held.has_schema));
        }
        if !held.has_schema {
            return Ok(());
        }
        let request = v1::ReadRelationshipsRequest {
            relationship_filter: Some(of_type("document")),
            ..Default::default()
        };
        let mut client = PermissionsServiceClient::new(there.channel.clone());
        let failed = |status: tonic::Status| format!("{path}: {status:?}");
        let mut read = client.read_relationships(there.request(request)).await.map_err(failed)?.into_inner();
        let mut rows = BTreeSet::new();
        while let Some(row) = read.message().await.map_err(failed)? {
            let resource = row.relationship.unwrap().resource.unwrap();
            rows.insert(resource.object_id[1..].parse::<u64>().unwrap());
        }
        if let Some(Flying::Row(at, row)) = flying
            && at == path
            && rows.contains(row)
        {
            held.rows.insert(*row);
        }
        if rows == held.rows { Ok(()) } else { Err(format!("{path} has {rows:?}, wanted {:?}", held.rows)) }
    }
}

/// Whether the server went away; every other refusal is none that a writer should get.
fn is_gone(status: &tonic::Status) -> bool {
    use tonic::Code::{Cancelled, Internal, Unavailable, Unknown};
    // A deletion that is not finished says so while the server is there.
    matches!(status.code(), Unavailable | Unknown | Cancelled | Internal)
        && !status.message().contains("ask again")
}

fn is_in(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn command(data: &Path) -> std::process::Command {
    let mut command = binary();
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
    command.arg("--data-dir").arg(data);
    // Small, so that namespaces have images, and logs several segments and compactions.
    command.args(["--image-changes", "3", "--segment-bytes", "32768", "--history", "1s"]);
    command
}

/// What is stored, looked at with no server there: nothing belongs to a namespace that is not there. Answers how many there
/// are.
async fn expect_nothing_left(data: &Path) -> Result<usize, String> {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::look(data));
    let store = EmbeddedStore::open(Arc::clone(&disk), &LogOptions::new(0)).map_err(|e| e.to_string())?;
    let images = Images::look(Arc::clone(&disk), SYS_LOG, Arc::new(|_| {})).map_err(|e| e.to_string())?;
    let clock: Clock = Arc::new(idhini::clock::now);
    let opened = Namespace::open(store.log(SYS_LOG), Some(images), clock, Options::default()).await;
    let head = opened.map_err(|e| e.to_string())?.head();
    let (portion, always) =
        (Portion { rows_max: usize::MAX, edges_max: u64::MAX }, Timestamp::from_seconds(i64::MIN));
    let rows: Vec<Relationship> = head
        .read(&Filter::default(), always, None, portion)
        .rows
        .into_iter()
        .map(|row| row.relationship)
        .collect();
    // Which there are, and their logs.
    let (mut ids, mut logs) = (BTreeSet::new(), BTreeSet::from([SYS_LOG.0]));
    for row in rows.iter().filter(|row| row.resource.object_type == "namespace" && row.relation == "record") {
        let context = row.caveat.as_ref().unwrap().context.to_string();
        let record: serde_json::Value = serde_json::from_str(&context).unwrap();
        let facts = &record["facts"];
        if facts["is_deleting"] != false {
            return Err(format!("{} is still being deleted: {context}", row.resource.object_id));
        }
        ids.insert(row.resource.object_id.clone());
        logs.insert(facts["log"].as_str().unwrap().parse::<u64>().unwrap());
    }
    let tokens: BTreeSet<String> = rows
        .iter()
        .filter(|row| row.resource.object_type == "token" && row.relation == "record")
        .map(|row| row.resource.object_id.clone())
        .collect();
    for row in &rows {
        let is_known = |kind: &str, id: &str| match kind {
            "namespace" => ids.contains(id),
            "token" => tokens.contains(id),
            _ => true,
        };
        let Relationship { resource, subject, .. } = row;
        if !is_known(&resource.object_type, &resource.object_id)
            || !is_known(&subject.object_type, &subject.object_id)
        {
            return Err(format!("left behind: {row}"));
        }
        if resource.object_type == "token" && row.relation == "record" {
            let context = row.caveat.as_ref().unwrap().context.to_string();
            let record: serde_json::Value = serde_json::from_str(&context).unwrap();
            let home = record["facts"]["home"].as_str().unwrap_or_default();
            if !ids.contains(home) {
                return Err(format!("a token is left behind: {row}"));
            }
        }
    }
    let names = rows.iter().filter(|row| row.resource.object_type == "path").count();
    if names != ids.len() {
        return Err(format!("{names} paths for {} namespaces", ids.len()));
    }
    for log in store.logs().await.map_err(|e| e.to_string())? {
        if !logs.contains(&log.0) {
            return Err(format!("log {} is nobody's; there are {logs:?}", log.0));
        }
    }
    for name in disk.list("images").unwrap_or_default() {
        let log = u64::from_str_radix(&name, 16).unwrap();
        let files = disk.list(&format!("images/{name}")).unwrap_or_default();
        if !logs.contains(&log) && !files.is_empty() {
            return Err(format!("images of log {log} are nobody's: {files:?}; there are {logs:?}"));
        }
    }
    Ok(ids.len())
}

/// What was met.
#[derive(Debug, Default)]
struct Counts {
    kills: u32,
    at_start: u32,
    done: u64,
    in_flight: u32,
    happened: u32,
    deletions_cut: u32,
    namespaces: usize,
    slowest_start: Duration,
}

async fn run(kills: u32, seed: u64, counts: &mut Counts) -> Result<(), String> {
    let folder = folder(&[]);
    let data = folder.join("data");
    let mut rng = Rng(seed);
    let server = Server::of(command(&data));
    let root = Caller::root(&server).await;
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
    for writer in &writers {
        root.create(&writer.top).await.map_err(|status| status.to_string())?;
    }
    server.kill();
    for life in 1.. {
        if rng.chance(20) {
            let mut child = command(&data).stdout(Stdio::null()).spawn().unwrap();
            tokio::time::sleep(Duration::from_micros(rng.below(START_MS_MAX * 1_000))).await;
            child.kill().unwrap();
            child.wait().unwrap();
            counts.kills += 1;
            counts.at_start += 1;
        }
        let begun = tokio::time::Instant::now();
        let server = Server::of(command(&data));
        counts.slowest_start = counts.slowest_start.max(begun.elapsed());
        let root = Caller::root(&server).await;
        for writer in &mut writers {
            let flying = writer.flying.clone();
            let has_happened =
                writer.verify(&root).await.map_err(|wrong| format!("after life {life}: {wrong}"))?;
            counts.in_flight += u32::from(flying.is_some());
            counts.happened += u32::from(has_happened);
            counts.deletions_cut += u32::from(matches!(flying, Some(Flying::Delete(_))));
        }
        if counts.kills >= kills {
            server.kill();
            counts.namespaces = expect_nothing_left(&data).await?;
            break;
        }
        let mut writing = Vec::new();
        for writer in writers.drain(..) {
            let root = root.apart(&server).await;
            writing.push(tokio::spawn(writer.write(root)));
        }
        let long = if life % 5 == 0 { LONG_LIFE_MS } else { 0 };
        tokio::time::sleep(Duration::from_micros((rng.below(LIFE_MS_MAX) + long) * 1_000)).await;
        server.kill();
        counts.kills += 1;
        for writer in writing {
            writers.push(writer.await.unwrap()?);
        }
        // A start that answers has left nothing half done, whatever it found.
        if life % 4 == 0 {
            Server::of(command(&data)).kill();
            counts.namespaces =
                expect_nothing_left(&data).await.map_err(|left| format!("after life {life}: {left}"))?;
        }
    }
    counts.done = writers.iter().map(|writer| writer.done).sum();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_half_made_or_half_deleted_after_a_kill() {
    let (kills, seed) = (number(KILLS_VARIABLE, KILLS), u64::from(number(SEED_VARIABLE, 1)));
    let mut counts = Counts::default();
    let held = run(kills, seed, &mut counts).await;
    say(&format!("seed {seed}: {counts:?}"));
    if let Err(wrong) = held {
        panic!("{wrong}");
    }
    assert!(counts.done > 0 && counts.namespaces > 0, "{counts:?}");
    // How much a life is depends on the machine; many lives are enough in any case.
    assert!(kills < 100 || counts.deletions_cut > 0 && counts.happened > 0, "{counts:?}");
}
