//! Watches that lose their connection again and again, under eight writers: no gap and no repeat, from whichever message
//! they go on.
//!
//! Each watcher goes on from the last message that it saw, as a consumer would, and in the end what it saw is held
//! against the log as one unbroken watch tells it, which is itself held against what the writers asked and heard. Then
//! the same with entries that come in parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idhini_wire::authzed::api::v1;
use tokio::task::JoinHandle;
use tonic::Status;

use super::model::Rng;
use super::replay::{Ledger, Watched, replay};
use super::{Plan, command, number, say, writers};
use crate::process::{PATIENCE, Server, folder, of_type, relationship, touch};

/// Reconnects of a quick run, and the variable that says how many else.
const RECONNECTS: u64 = 100;
const RECONNECTS_VARIABLE: &str = "IDHINI_RECONNECTS";
const SEED_VARIABLE: &str = "IDHINI_RECONNECTS_SEED";
/// A connection ends after so many messages or so long, whichever comes first.
const MESSAGES_MAX: u64 = 12;
const CONNECTED_MS_MAX: u64 = 80;
/// The same where messages are as large as they get.
const LARGE_CONNECTION: (u64, u64) = (4, 20_000);
/// Imports that come in parts, and the relationships of each.
const LARGE: u64 = 3;
const LARGE_RELATIONSHIPS: u64 = 9_000;

/// What a watcher asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Everything,
    /// Relationships alone, without checkpoints.
    Relationships,
    Types,
    Filters,
    Schemas,
}

const FLAVOURS: [Flavour; 5] =
    [Flavour::Everything, Flavour::Relationships, Flavour::Types, Flavour::Filters, Flavour::Schemas];

impl Flavour {
    fn request(self, after: &v1::ZedToken) -> v1::WatchRequest {
        let mut request =
            v1::WatchRequest { optional_start_cursor: Some(after.clone()), ..Default::default() };
        request.optional_update_kinds = match self {
            Flavour::Everything => vec![1, 2, 3],
            Flavour::Relationships => vec![],
            Flavour::Types | Flavour::Filters => vec![1, 3],
            Flavour::Schemas => vec![2, 3],
        };
        match self {
            Flavour::Types => request.optional_object_types = vec!["slot".to_owned(), "bundle".to_owned()],
            Flavour::Filters => {
                let prefix = v1::RelationshipFilter {
                    optional_resource_id_prefix: "d1".to_owned(),
                    ..of_type("document")
                };
                request.optional_relationship_filters = vec![prefix, of_type("slot")];
            }
            _ => {}
        }
        request
    }

    fn admits(self, update: &v1::RelationshipUpdate) -> bool {
        let resource = update.relationship.as_ref().unwrap().resource.as_ref().unwrap();
        let (kind, id) = (resource.object_type.as_str(), resource.object_id.as_str());
        match self {
            Flavour::Everything | Flavour::Relationships => true,
            Flavour::Types => kind == "slot" || kind == "bundle",
            Flavour::Filters => kind == "slot" || kind == "document" && id.starts_with("d1"),
            Flavour::Schemas => false,
        }
    }

    /// What is told of the log to whoever asks for this.
    fn of(self, all: &Watched) -> Watched {
        let tells_schemas = matches!(self, Flavour::Everything | Flavour::Schemas);
        let told = all.iter().filter_map(|message| {
            let mut message = message.clone();
            message.updates.retain(|update| self.admits(update));
            let is_told = message.schema_updated && tells_schemas || !message.updates.is_empty();
            is_told.then_some(message)
        });
        told.collect()
    }
}

/// What a watcher saw, and from where it goes on.
struct Follower {
    address: String,
    flavour: Flavour,
    rng: Rng,
    after: v1::ZedToken,
    seen: Watched,
    checkpoints: u64,
    reconnects: u64,
}

impl Follower {
    /// One connection: some messages, or some time.
    async fn connect(&mut self, (messages_max, ms_max): (u64, u64)) -> Result<(), Status> {
        let (messages, ms) = (self.rng.below(messages_max), self.rng.below(ms_max));
        let mut stream = self.watch().await?;
        tokio::time::timeout(Duration::from_millis(ms), async {
            for _ in 0..messages {
                let message = stream.message().await?.ok_or_else(|| Status::data_loss("a watch ended"))?;
                self.take(message);
            }
            Ok::<_, Status>(())
        })
        .await
        .unwrap_or(Ok(()))?;
        self.reconnects += 1;
        Ok(())
    }

    async fn watch(&self) -> Result<tonic::Streaming<v1::WatchResponse>, Status> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut client =
            v1::watch_service_client::WatchServiceClient::with_interceptor(channel, crate::process::with_key);
        Ok(client.watch(self.flavour.request(&self.after)).await?.into_inner())
    }

    fn take(&mut self, message: v1::WatchResponse) {
        self.after = message.changes_through.clone().unwrap();
        match message.is_checkpoint {
            true => self.checkpoints += 1,
            false => self.seen.push(message),
        }
    }

    /// Without a break, until enough was seen.
    async fn rest(&mut self, is_enough: impl Fn(&Watched) -> bool) -> Result<(), Status> {
        let mut stream = self.watch().await?;
        while !is_enough(&self.seen) {
            let next = tokio::time::timeout(PATIENCE, stream.message()).await;
            let next = next.map_err(|_| Status::deadline_exceeded("a watch does not reach the head"))?;
            self.take(next?.ok_or_else(|| Status::data_loss("a watch ended"))?);
        }
        Ok(())
    }
}

fn follow(mut follower: Follower, reconnects: u64) -> JoinHandle<Follower> {
    tokio::spawn(async move {
        // There must be something to miss, however slowly the machine writes.
        let is_short = |follower: &Follower| {
            follower.flavour == Flavour::Everything && (follower.seen.len() as u64) < reconnects
        };
        while follower.reconnects < reconnects || is_short(&follower) {
            follower.connect((MESSAGES_MAX, CONNECTED_MS_MAX)).await.unwrap();
        }
        follower
    })
}

/// The first message in which two lists differ, in words.
fn difference(seen: &Watched, wanted: &Watched) -> Option<String> {
    let at = seen.iter().zip(wanted).position(|(seen, wanted)| seen != wanted);
    let at = at.or_else(|| (seen.len() != wanted.len()).then(|| seen.len().min(wanted.len())))?;
    // A message may be large.
    let text = |messages: &Watched| format!("{:.400}", format!("{:?}", messages.get(at)));
    Some(format!("message {at} is {}, not {}", text(seen), text(wanted)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_reconnects_at_random_misses_and_repeats_nothing() {
    let (reconnects, seed) = (number(RECONNECTS_VARIABLE, RECONNECTS), number(SEED_VARIABLE, 1));
    let plan = Plan { kills: 0, seed, environment: Vec::new() };
    let folder = folder(&[("s.zed", &writers::schema(0))]);
    let server = Server::of(command(&folder.join("data"), &folder.join("s.zed"), &plan, false));
    let mut ledger = Ledger::begin(&server).await.unwrap();
    let start = v1::ZedToken { token: ledger.last().to_owned() };
    ledger.begins();
    let is_over = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> = (0..writers::WRITERS)
        .map(|writer| {
            let is_over = Arc::clone(&is_over);
            let is_over = move || is_over.load(Ordering::Relaxed);
            tokio::spawn(writers::write(server.address.clone(), seed, writer, 1, is_over))
        })
        .collect();
    let each = reconnects.div_ceil(FLAVOURS.len() as u64);
    let followers = FLAVOURS.iter().zip(0u64..).map(|(flavour, number)| {
        let (rng, after) = (Rng(seed ^ (number << 32)), start.clone());
        let (address, flavour) = (server.address.clone(), *flavour);
        follow(Follower { address, flavour, rng, after, seen: vec![], checkpoints: 0, reconnects: 0 }, each)
    });
    let followers: Vec<_> = followers.collect();
    let mut done = Vec::new();
    for follower in followers {
        done.push(follower.await.unwrap());
    }
    is_over.store(true, Ordering::Relaxed);
    let mut requests = Vec::new();
    for writer in writing {
        requests.extend(writer.await.unwrap());
    }
    let asked = requests.len();
    // The log as it is, and whether it is what was asked for and heard.
    let mut rng = Rng(seed);
    ledger.verify(&server, requests, &Watched::default(), &mut rng).await.unwrap();
    let all = replay(&server, &start.token, ledger.last()).await.unwrap();
    let (mut total, mut checkpoints) = (0, 0);
    for follower in &mut done {
        let wanted = follower.flavour.of(&all);
        follower.rest(|seen| seen.len() >= wanted.len()).await.unwrap();
        if let Some(wrong) = difference(&follower.seen, &wanted) {
            panic!("{:?} with seed {seed}: {wrong}", follower.flavour);
        }
        total += follower.reconnects;
        checkpoints += follower.checkpoints;
        say(&format!(
            "{:<15} {:>5} reconnects {:>6} messages",
            format!("{:?}", follower.flavour),
            follower.reconnects,
            wanted.len()
        ));
    }
    say(&format!(
        "seed {seed}: {total} reconnects, {checkpoints} checkpoints, {asked} requests, {} entries",
        all.len()
    ));
    assert!(total >= reconnects && all.len() as u64 >= each && checkpoints > 0);
    in_parts(&server, ledger.last(), reconnects.div_ceil(4), &mut rng).await;
}

/// Entries of several messages: until the last of them came, an entry is told again from its beginning.
async fn in_parts(server: &Server, head: &str, reconnects: u64, rng: &mut Rng) {
    let start = v1::ZedToken { token: head.to_owned() };
    let mut client = server.permissions().await;
    let importing = tokio::spawn(async move {
        for large in 0..LARGE {
            let long = "x".repeat(400);
            let text =
                |n: u64| format!(r#"document:large{large}x{n}{long}#viewer@user:u0[marked:{{"by":"i"}}]"#);
            let messages: Vec<_> = (0..LARGE_RELATIONSHIPS / 1_000)
                .map(|page| v1::ImportBulkRelationshipsRequest {
                    relationships: (page * 1_000..(page + 1) * 1_000)
                        .map(|n| relationship(&text(n)))
                        .collect(),
                })
                .collect();
            client.import_bulk_relationships(tokio_stream::iter(messages)).await.unwrap();
            let small = format!(r#"slot:large{large}#holder@user:one[marked:{{"by":"s"}}]"#);
            client.write_relationships(touch(&[&small])).await.unwrap();
        }
    });
    let mut follower = Follower {
        address: server.address.clone(),
        flavour: Flavour::Relationships,
        rng: rng.clone(),
        after: start.clone(),
        seen: vec![],
        checkpoints: 0,
        reconnects: 0,
    };
    importing.await.unwrap();
    // What was seen of entries that are whole, and the parts of the one that is not.
    let mut whole = Watched::default();
    let mut resumed_within = 0;
    while follower.reconnects < reconnects {
        // From the beginning again where the end was reached.
        if follower.after == start {
            whole.clear();
        }
        follower.seen.clear();
        let before = follower.after.clone();
        follower.connect(LARGE_CONNECTION).await.unwrap();
        let mut last = before;
        let mut parts = Watched::default();
        for message in std::mem::take(&mut follower.seen) {
            let through = message.changes_through.clone().unwrap();
            parts.push(message);
            if through != last {
                whole.append(&mut parts);
                last = through;
            }
        }
        resumed_within += u64::from(!parts.is_empty());
        if whole.len() as u64 >= 2 * LARGE && parts.is_empty() && follower.rng.chance(30) {
            follower.after = start.clone();
        }
    }
    if follower.after == start {
        whole.clear();
    }
    let mut unbroken = Follower { after: start, seen: vec![], ..follower };
    let small =
        |messages: &Watched| messages.iter().filter(|message| message.updates.len() == 1).count() as u64;
    unbroken.rest(|seen| small(seen) >= LARGE).await.unwrap();
    let all = unbroken.seen;
    assert!(all.len() as u64 > 2 * LARGE, "nothing came in parts");
    assert_eq!(difference(&whole, &all[..whole.len()].to_vec()), None);
    say(&format!(
        "{} messages of {} entries, {resumed_within} times resumed within one",
        all.len(),
        2 * LARGE
    ));
    assert!(resumed_within > 0);
}
