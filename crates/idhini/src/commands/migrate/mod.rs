//! From a running SpiceDB to this server: its schema, its relationships at one revision, then everything that it tells of
//! changes, until one cuts over; and then: do both hold the same, and answer the same?
//!
//! # Invariants
//! * Nothing is written to the SpiceDB.
//! * Whatever is applied twice comes to the same: updates are TOUCH and DELETE, in the order they are told.
//! * An interrupted migration leaves nothing that a later one with --resume does not make good.
//! * Both sides are compared at one revision of the SpiceDB, the newest at the end; what the Watch did not tell is made
//!   good and reported, so that nothing rests on the Watch alone.
//!
//! Cost: the relationships once each way over the network for the copy, once for the comparison. Memory: a few messages;
//! with --resume 8 bytes a relationship.

mod changes;
mod compare;
mod copy;
mod samples;
mod source;

use std::time::Duration;

use idhini_schema::Schema;
use tokio::signal;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::changes::Applying;
use self::compare::{Comparison, compare};
use self::source::Changes;
use super::Asked;
use crate::arguments::{Connection, Migrate, Security};
use crate::client::{self, Patience, Server};
use crate::failure::{Failure, STATUS_INTERRUPTED, STATUS_MALFORMED, STATUS_REFUSED};
use crate::output;
use crate::progress;

/// How long is applied what still comes after the cut, if writers go on.
const DRAINING_MAX: Duration = Duration::from_secs(60);
/// Something differs.
const STATUS_DIFFERS: u8 = 1;

/// Why a migration cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The server to fill is not empty.
    #[error("the server at {address} has relationships already")]
    NotEmpty { address: String },
    /// There is nothing to take.
    #[error("the SpiceDB at {address} has no schema")]
    NoSchema { address: String },
    /// A schema that means nothing here.
    #[error("the SpiceDB's schema cannot be taken: {0}")]
    Schema(#[from] idhini_schema::SchemaError),
    /// The SpiceDB says something that has no meaning here.
    #[error("the SpiceDB tells of a relationship that cannot be taken: {0}")]
    Relationship(#[from] idhini_wire::Malformed),
    /// Changes were missed.
    #[error("the SpiceDB does not know any more what changed since the migration began: {0}")]
    Window(String),
    /// The schema changed in a way that cannot be followed step by step.
    #[error(
        "the SpiceDB's schema and relationships changed so that `{0}` fits neither the schema before nor the one after"
    )]
    Unfollowable(String),
    /// Both ends are one server.
    #[error("{address} is both the SpiceDB and the server to fill")]
    Same { address: String },
    /// Somebody does not want to wait for the cut.
    #[error(
        "interrupted a second time: the server to fill may lack what came last, and nothing was compared"
    )]
    Interrupted,
}

impl MigrateError {
    pub(crate) fn status(&self) -> u8 {
        match self {
            MigrateError::NotEmpty { .. } | MigrateError::Same { .. } => STATUS_MALFORMED,
            MigrateError::Interrupted => STATUS_INTERRUPTED,
            _ => STATUS_REFUSED,
        }
    }

    pub(crate) fn next_step(&self) -> &'static str {
        match self {
            MigrateError::NotEmpty { .. } => {
                "add --resume if that is of an interrupted migration: what is not in the SpiceDB is deleted; else start a \
                 server with an empty directory"
            }
            MigrateError::NoSchema { .. } => "write a schema to the SpiceDB, or name another one with --from",
            MigrateError::Schema(_) => {
                "correct the schema in the SpiceDB first; docs/differences.md says what differs"
            }
            MigrateError::Relationship(_) => {
                "delete it in the SpiceDB, then run the command again with --resume"
            }
            MigrateError::Window(_) => {
                "start the SpiceDB with a longer --datastore-gc-window, then run the command again with --resume"
            }
            MigrateError::Same { .. } => {
                "name the server to fill with --addr or IDHINI_ADDR, the SpiceDB with --from"
            }
            MigrateError::Unfollowable(_) | MigrateError::Interrupted => {
                "run the command again with --resume"
            }
        }
    }
}

/// The two servers.
#[derive(Debug, Clone)]
struct Ends {
    source: Server,
    destination: Server,
}

/// Moves, and answers whether all is the same.
pub(super) async fn run(asked: Asked<'_>, migrate: &Migrate) -> Result<u8, Failure> {
    let cut = Notify::new();
    tokio::select! {
        outcome = moved(asked, migrate, &cut) => outcome,
        failure = interrupted_after(&cut) => Err(failure),
    }
}

/// Ends with the first interrupt after the one that cuts over. Before that one, an interrupt ends the process.
async fn interrupted_after(cut: &Notify) -> Failure {
    cut.notified().await;
    match signal::ctrl_c().await {
        Ok(()) => MigrateError::Interrupted.into(),
        Err(source) => Failure::System { what: "signals", source },
    }
}

async fn moved(asked: Asked<'_>, migrate: &Migrate, cut: &Notify) -> Result<u8, Failure> {
    let ends = connect(asked, migrate).await?;
    let began = ends.source.schema().await?;
    let began = began.ok_or_else(|| MigrateError::NoSchema { address: migrate.from.clone() })?;
    let schema = Schema::parse(&began.schema_text).map_err(MigrateError::from)?;
    let revision = began.read_at.unwrap_or_default().token;
    let missing = if migrate.resume {
        let pruned = copy::prune(&ends, &revision, asked.style).await?;
        output::aside(&format!("deleted {} relationships that are not so in the SpiceDB", pruned.deleted));
        Some(pruned.missing)
    } else if copy::is_empty(&ends.destination).await? {
        None
    } else {
        return Err(MigrateError::NotEmpty { address: asked.connection.addr.clone() }.into());
    };
    changes::write_schema(&ends.destination, began.schema_text).await?;
    let copied = copy::copy(&ends, &revision, missing.as_ref(), asked.style).await?;
    drop(missing);
    output::aside(&format!("copied {copied} relationships"));
    let applying = follow(asked, (migrate, cut), &ends, revision, schema).await?;
    output::aside(&format!(
        "applied {} changes of {} transactions; comparing",
        applying.updates, applying.transactions
    ));
    let comparison = finish(asked, migrate, &ends).await?;
    comparison.show(asked, copied, &applying)?;
    Ok(if comparison.is_same() { 0 } else { STATUS_DIFFERS })
}

/// Compares at the newest revision. What differs was written only now, or was not told: a running Watch of SpiceDB 1.54.0's
/// memory store passed over 0.8 % of the writes of four clients, all of which one begun later told of. It is made good, and
/// compared again.
async fn finish(asked: Asked<'_>, migrate: &Migrate, ends: &Ends) -> Result<Comparison, Failure> {
    let revision = ends.source.schema().await?.and_then(|schema| schema.read_at).unwrap_or_default().token;
    let mut comparison = compare(ends, &revision, asked.style).await?;
    if !comparison.is_same() {
        let pruned = copy::prune(ends, &revision, asked.style).await?;
        let added = copy::copy(ends, &revision, Some(&pruned.missing), asked.style).await?;
        output::aside(&format!(
            "the SpiceDB had not told of everything: {added} relationships were missing, {} too many",
            pruned.deleted
        ));
        comparison = compare(ends, &revision, asked.style).await?;
        comparison.repaired = [added, pruned.deleted];
    }
    let schema = ends.destination.schema().await?.unwrap_or_default();
    let schema = Schema::parse(&schema.schema_text).map_err(MigrateError::from)?;
    let sample = std::mem::take(&mut comparison.sample);
    comparison.checks = samples::compare(ends, &revision, &schema, &sample, migrate, asked.style).await?;
    Ok(comparison)
}

/// The SpiceDB's key is --from-token, or else --token as the flag; what is left of both is the key of the server to fill, or
/// else what the client file has for it.
async fn connect(asked: Asked<'_>, migrate: &Migrate) -> Result<Ends, Failure> {
    let given = &asked.connection.token;
    let (from, to) = match (&migrate.from_token, asked.connection.is_token_flagged) {
        (Some(from), _) => (from.clone(), given.clone()),
        (None, true) => (given.clone(), std::env::var("IDHINI_TOKEN").unwrap_or_default()),
        (None, false) => (String::new(), given.clone()),
    };
    if is_same(&asked.connection.addr, &migrate.from) {
        return Err(MigrateError::Same { address: migrate.from.clone() }.into());
    }
    let to = client::means(&Connection { token: to, ..asked.connection.clone() })?;
    let from = Some(from.as_str()).filter(|key| !key.is_empty());
    let addressed = (asked.connection.addr.as_str(), &to.security);
    let destination = Server::reach(addressed, Some(&to.token), Patience::Endless).await?;
    let destination = destination.about(&to.namespace);
    let security =
        Security { is_tls: migrate.from_tls, ca_file: migrate.from_ca_file.clone(), ..Security::default() };
    let source = Server::reach((&migrate.from, &security), from, Patience::Endless).await?;
    Ok(Ends { source, destination })
}

/// Whether two addresses are one, where that can be seen.
fn is_same(one: &str, other: &str) -> bool {
    let written = |address: &str| match address.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => address.to_owned(),
    };
    written(one) == written(other)
}

/// Applies what changes until told to cut over and there is nothing more to tell.
async fn follow(
    asked: Asked<'_>,
    (migrate, cut): (&Migrate, &Notify),
    ends: &Ends,
    revision: String,
    schema: Schema,
) -> Result<Applying, Failure> {
    let mut changes = Changes::follow(ends.source.clone(), revision);
    let mut applying = Applying::new(ends.clone(), schema);
    let mut is_cut = migrate.until_caught_up;
    if !is_cut {
        output::aside("following the SpiceDB's changes; interrupt (Ctrl-C) to cut over");
    }
    let counter = progress::counter("changes", asked.style);
    let interrupt = signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut drained_by: Option<Instant> = None;
    loop {
        let quiet = tokio::time::sleep(changes.quiet_left());
        tokio::select! {
            answer = changes.next() => {
                if let Some(answer) = answer? {
                    counter.inc(answer.updates.len() as u64);
                    applying.apply(answer).await?;
                }
                if drained_by.is_some_and(|at| Instant::now() > at) {
                    output::aside("the SpiceDB is still being written: what comes now is not applied any more");
                    break;
                }
            }
            () = quiet => {
                if is_cut {
                    break;
                }
                changes.wait_anew();
            }
            outcome = &mut interrupt, if !is_cut => {
                outcome.map_err(|source| Failure::System { what: "signals", source })?;
                cut.notify_one();
                is_cut = true;
                drained_by = Some(Instant::now() + DRAINING_MAX);
                changes.wait_anew();
                output::aside("cutting over: what the SpiceDB still has to tell is applied; interrupt again to give up");
            }
        }
    }
    counter.finish_and_clear();
    applying.finish().await?;
    Ok(applying)
}
