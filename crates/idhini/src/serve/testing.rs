//! A server for test suites: each token that is brought has an empty store of its own, in memory.
//!
//! # Invariants
//! * Nothing is read from or written to a disk, and no two tokens have anything in common.
//! * Backups are not offered.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use idhini_changelog::MemoryStore;
use idhini_replica::{Clock, Node, NodeOptions, Parts, Report};
use idhini_server::{Keys, Listener, NewNode, NewStore, Offer, Options, Randomness, Telemetry};

use super::{Duration, ROUND, give_way, new_identity, node_options, now, observed, seal, stopped};
use crate::configuration::{Configuration, ServeTestingFlags, Server, Settings};
use crate::entropy::{fill, random};
use crate::failure::Failure;
use crate::output::{self, Style};

/// The nodes of all stores that are still there.
type Nodes = Arc<Mutex<Vec<Weak<Node>>>>;

/// Serves until told to stop.
pub(crate) fn run(flags: &ServeTestingFlags, style: Style) -> Result<(), Failure> {
    let settings = Configuration::read(Server::ServeTesting, &flags.0)?.settings;
    observed(&settings, style, |telemetry| serve(&settings, telemetry))
}

async fn serve(settings: &Settings, telemetry: Arc<Telemetry>) -> Result<(), Failure> {
    let listener = Listener::bind(settings.grpc_addr, None).await?;
    let nodes = Nodes::default();
    let options = Options {
        keys: Keys::default(),
        limits: settings.limits,
        // All but the namespace's name, which is each store's own.
        seal: seal(&new_identity()?),
        telemetry,
        drain_max: Duration::from_secs(settings.drain_seconds),
        worker_threads: settings.workers(),
        give_way,
        randomness: Randomness::new(fill),
        trail: None,
    };
    let offer = Offer::StorePerToken {
        new_store: new_store(settings, Arc::clone(&nodes)),
        stores_max: settings.stores_max,
    };
    let stop = stopped()?;
    let looking_after = tokio::spawn(look_after(nodes));
    let address = listener.address();
    output::said(&format!("listening on {address} (each token has a store of its own, in memory)"));
    let served = listener.serve(&offer, &options, stop).await;
    looking_after.abort();
    Ok(served?)
}

fn new_store(settings: &Settings, nodes: Nodes) -> NewStore {
    let settings = settings.clone();
    let report: Report = Arc::new(|text| tracing::warn!("{text}"));
    let clock: Clock = Arc::new(now);
    Arc::new(move || {
        let drawn =
            || -> Result<(NodeOptions, [u8; 16]), Failure> { Ok((node_options(&settings)?, random()?)) };
        let (options, name) = drawn().map_err(std::io::Error::other)?;
        let store = Arc::new(MemoryStore::new());
        let (clock, report) = (Arc::clone(&clock), Arc::clone(&report));
        let node = Arc::new(Node::new(Parts { store, disk: None, clock, report }, options));
        nodes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&node));
        Ok(NewNode { node, namespace: format!("{:032x}", u128::from_be_bytes(name)) })
    })
}

/// Sweeps and trims what is there, for as long as the server runs.
async fn look_after(nodes: Nodes) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let there: Vec<Weak<Node>> = {
            let mut nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.retain(|node| node.strong_count() > 0);
            nodes.clone()
        };
        for node in there {
            if let Some(node) = node.upgrade() {
                node.maintain().await;
            }
        }
    }
}
