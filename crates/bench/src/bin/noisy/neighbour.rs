//! A tenant at its worst.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http::uri::PathAndQuery;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;

use crate::Failure;
use crate::calling::{Caller, PERMISSIONS, SCHEMAS, encoded, path};
use crate::world::{self, NOISY, check, guarded_check, subject};

/// Items of one bulk check, as many as there may be.
const BULK_ITEMS: usize = 10_000;
/// Of a schema, about as long as one may be.
const SCHEMA_BYTES: usize = 4 * 1024 * 1024 - 1_000;
/// Streams that a slow reader opens for each call that others would have under way.
const SLOW_STREAMS: usize = 8;
/// How long somebody waits who was refused.
const REFUSED_WAIT: Duration = Duration::from_millis(20);

/// How often it says how far it is.
const TELL_INTERVAL: Duration = Duration::from_millis(250);

/// What came of its calls.
#[derive(Debug, Default)]
struct Told {
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Told {
    /// Takes down how a call ended; waits a moment if it was refused.
    async fn of<T>(&self, ended: Result<T, Failure>) {
        match ended {
            Ok(_) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(REFUSED_WAIT).await;
            }
        }
    }
}

/// What it does, as fast as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Behaviour {
    /// Lookups of a hundred thousand results, without a limit.
    Lookups,
    /// Checks at exact snapshots that are no longer in memory, each at another one.
    OldSnapshots,
    /// Bulk checks of 10,000 items.
    Bulk,
    /// Schemas of 4 MiB, one after the other, each caller in a namespace of its own below.
    Schemas,
    /// Checks that depend on conditions that take as long as they may.
    Caveats,
    /// Everything, again and again.
    Exports,
    /// Streams that are opened and not read.
    SlowReaders,
}

impl Behaviour {
    pub(crate) const ALL: [Behaviour; 7] = [
        Behaviour::Lookups,
        Behaviour::OldSnapshots,
        Behaviour::Bulk,
        Behaviour::Schemas,
        Behaviour::Caveats,
        Behaviour::Exports,
        Behaviour::SlowReaders,
    ];

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Behaves so until it is ended. Prints now and then how many of its calls were answered and how many refused.
pub(crate) fn run(
    address: &str,
    behaviours: &[Behaviour],
    callers: usize,
    world: Option<&Path>,
) -> Result<(), Failure> {
    let tokens = world::tokens(world.ok_or("no world")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        let told = Arc::<Told>::default();
        for behaviour in behaviours {
            for number in 0..callers {
                let (address, tokens, behaviour) = (address.to_owned(), tokens.clone(), *behaviour);
                let told = Arc::clone(&told);
                all.spawn(async move {
                    let namespace = match behaviour {
                        Behaviour::Schemas => world::child(number),
                        _ => NOISY.to_owned(),
                    };
                    let caller = Caller::connect(&address, &namespace).await?;
                    behave(behaviour, caller, number, (&tokens, &told)).await
                });
            }
        }
        all.spawn(async move {
            loop {
                tokio::time::sleep(TELL_INTERVAL).await;
                let [answered, refused] = [&told.answered, &told.refused].map(|n| n.load(Ordering::Relaxed));
                println!("{answered} {refused}");
            }
        });
        while let Some(ended) = all.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn behave(
    behaviour: Behaviour,
    mut caller: Caller,
    number: usize,
    (tokens, told): (&[String], &Told),
) -> Result<(), Failure> {
    match behaviour {
        Behaviour::Lookups => {
            let lookup = encoded(&v1::LookupResourcesRequest {
                resource_object_type: "document".to_owned(),
                permission: "view".to_owned(),
                subject: subject("user:noisy"),
                ..Default::default()
            });
            read_for_ever(&mut caller, "LookupResources", lookup, told).await
        }
        Behaviour::Exports => {
            let export = encoded(&v1::ExportBulkRelationshipsRequest::default());
            read_for_ever(&mut caller, "ExportBulkRelationships", export, told).await
        }
        Behaviour::OldSnapshots => {
            let questions = tokens.iter().enumerate().map(|(at, token)| {
                let token = v1::ZedToken { token: token.clone() };
                let requirement = Some(Requirement::AtExactSnapshot(token));
                let consistency = Some(v1::Consistency { requirement });
                encoded(&v1::CheckPermissionRequest { consistency, ..check(at, "user:noisy") })
            });
            // Those that are furthest from the newest, in steps that leave what was rebuilt.
            let questions: Vec<Bytes> = questions.take(tokens.len() / 2).collect();
            ask_for_ever(&mut caller, "CheckPermission", &questions, (number * 97, 211), told).await
        }
        Behaviour::Bulk => {
            let items = (0..BULK_ITEMS).map(|n| {
                let v1::CheckPermissionRequest { resource, permission, subject, .. } =
                    check(n * 7, "user:noisy");
                v1::CheckBulkPermissionsRequestItem { resource, permission, subject, context: None }
            });
            let bulk = v1::CheckBulkPermissionsRequest { items: items.collect(), ..Default::default() };
            ask_for_ever(&mut caller, "CheckBulkPermissions", &[encoded(&bulk)], (0, 1), told).await
        }
        Behaviour::Caveats => {
            let questions: Vec<Bytes> = (0..400).map(|n| encoded(&guarded_check(n))).collect();
            ask_for_ever(&mut caller, "CheckPermission", &questions, (number * 31, 1), told).await
        }
        Behaviour::Schemas => {
            // Two that differ, so that each is new. What it takes away the other has not.
            let call = path(SCHEMAS, "WriteSchema")?;
            let schemas = ["a", "b"].map(|which| encoded(&v1::WriteSchemaRequest { schema: schema(which) }));
            loop {
                for schema in &schemas {
                    told.of(caller.ask(call.clone(), schema.clone()).await).await;
                }
            }
        }
        Behaviour::SlowReaders => {
            let export = encoded(&v1::ExportBulkRelationshipsRequest::default());
            let call = path(PERMISSIONS, "ExportBulkRelationships")?;
            loop {
                let mut opened = Vec::new();
                for _ in 0..SLOW_STREAMS {
                    let stream = caller.stream(call.clone(), export.clone()).await;
                    let stream = stream.map(|stream| opened.push(stream));
                    told.of(stream).await;
                }
                for stream in &mut opened {
                    let _ = stream.message().await;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                drop(opened);
            }
        }
    }
}

/// Definitions that nothing uses behind those that are used.
fn schema(which: &str) -> String {
    let mut schema = world::SCHEMA.to_owned();
    let mut number = 0;
    while schema.len() < SCHEMA_BYTES {
        schema += &format!(
            "definition {which}{number} {{\n  relation owner: user\n  relation viewer: user | group#member\n  permission view = owner + viewer\n}}\n"
        );
        number += 1;
    }
    schema
}

async fn read_for_ever(caller: &mut Caller, call: &str, message: Bytes, told: &Told) -> Result<(), Failure> {
    let call = path(PERMISSIONS, call)?;
    loop {
        told.of(read(caller, call.clone(), message.clone()).await).await;
    }
}

/// All of a stream.
async fn read(caller: &mut Caller, call: PathAndQuery, message: Bytes) -> Result<(), Failure> {
    let mut stream = caller.stream(call, message).await?;
    while stream.message().await?.is_some() {}
    Ok(())
}

async fn ask_for_ever(
    caller: &mut Caller,
    call: &str,
    messages: &[Bytes],
    (first, step): (usize, usize),
    told: &Told,
) -> Result<(), Failure> {
    let call = path(PERMISSIONS, call)?;
    let mut at = first;
    loop {
        let message = messages[at % messages.len()].clone();
        at += step;
        told.of(caller.ask(call.clone(), message).await).await;
    }
}
