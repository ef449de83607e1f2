//! Running a server: the real clock, real randomness, the real disk.

mod bootstrap;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, FileDisk, LogId, MemoryStore, Store};
use idhini_model::Timestamp;
use idhini_replica::{Clock, Identity, Node, NodeOptions, Parts, Report};
use idhini_server::{
    Keys, Limits, ListenError, Listener, LogObserver, Monitoring, MonitoringListener, Options, SealOptions,
    Served, Telemetry,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::{History, MetricsAddress, Serve};
use crate::entropy::random;
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::telemetry;

/// The namespace of a server that has one.
const NAMESPACE: &str = "root";
/// Its log.
const ROOT: LogId = LogId(1);

/// Keys that are not seen among the machine's processes, with commas between them.
const KEYS_VARIABLE: &str = "IDHINI_PRESHARED_KEY";
/// Where metrics are served unless it is said.
const METRICS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// How long it takes until everything is looked after again.
const ROUND: Duration = Duration::from_secs(5);
/// How long work may go on that nobody waits for any more, after the calls under way had their time.
const ABANDONED_MAX: Duration = Duration::from_secs(1);

/// Serves until told to stop.
pub(crate) fn run(serve: &Serve, style: Style) -> Result<(), Failure> {
    let keys = keys(serve)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "threads", source })?;
    let mut traces = None;
    let served = runtime.block_on(async {
        let (to_collector, continues) = telemetry::begin(serve, style)?;
        traces = Some(to_collector);
        let telemetry = Arc::new(Telemetry::new(continues));
        // Before the data is touched: a mistake in the address is no reason to wait for it.
        let listener = Listener::bind(serve.grpc_addr).await?;
        if keys.is_empty() {
            return Err(Failure::Listen(ListenError::NeedsKey));
        }
        let monitored = Arc::new(OnceLock::new());
        let metrics = monitoring(serve, &telemetry, &monitored).await?;
        let stored = stored(serve, &telemetry)?;
        let limits = Limits::default();
        let options = Options { keys, limits, seal: seal(&stored.identity), telemetry };
        let namespace = stored.node.namespace(ROOT).await?;
        bootstrap::load(&namespace, serve).await?;
        let served = Served { namespace: Arc::clone(&namespace), log: stored.embedded.clone() };
        // Nobody else sets it.
        let _ = monitored.set(served);
        let signals = |kind| signal(kind).map_err(|source| Failure::System { what: "signals", source });
        let stop = stopped(signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
        let looking_after = tokio::spawn(look_after(Arc::clone(&stored.node)));
        output::line(&format!("listening on {} ({})", listener.address(), stored.place));
        if let Some(address) = metrics {
            output::line(&format!("metrics on http://{address}/metrics"));
        }
        let served = listener.serve((Arc::clone(&stored.node), Arc::clone(&namespace)), &options, stop).await;
        looking_after.abort();
        if let Err(error) = namespace.image().await {
            tracing::warn!("{}; the next start reads more of the log instead", error.for_log());
        }
        if let Some(store) = stored.embedded
            && let Err(error) = store.close().await
        {
            tracing::warn!(%error, "the log was not closed cleanly, nothing is lost");
        }
        Ok(served?)
    });
    if let Some(traces) = traces {
        traces.end();
    }
    // Dropping it instead would wait for the longest write or expansion, however long that takes.
    runtime.shutdown_timeout(ABANDONED_MAX);
    served
}

/// What is stored, or will be.
struct Stored {
    node: Arc<Node>,
    identity: Identity,
    embedded: Option<Arc<EmbeddedStore>>,
    /// For people.
    place: String,
}

/// Serves metrics, health and readiness beside the calls; returns where, or `None` if that is not wanted or the usual
/// port is taken.
async fn monitoring(
    serve: &Serve,
    telemetry: &Arc<Telemetry>,
    served: &Arc<OnceLock<Served>>,
) -> Result<Option<SocketAddr>, Failure> {
    let wanted = serve.metrics_addr.unwrap_or(MetricsAddress::At(METRICS_ADDRESS));
    let MetricsAddress::At(address) = wanted else { return Ok(None) };
    let listener = match MonitoringListener::bind(address).await {
        Ok(listener) => listener,
        Err(error @ ListenError::Bind { .. }) if serve.metrics_addr.is_none() => {
            tracing::warn!(
                "metrics are not served: {error} Choose another port with --metrics-addr, or `off`"
            );
            return Ok(None);
        }
        Err(error) => return Err(Failure::Metrics(error)),
    };
    let address = listener.address();
    let monitoring = Monitoring {
        telemetry: Arc::clone(telemetry),
        served: Arc::clone(served),
        process: Arc::new(telemetry::process()),
        profiler: serve.profiling.then(telemetry::profiler),
    };
    tokio::spawn(listener.serve(monitoring));
    Ok(Some(address))
}

fn stored(serve: &Serve, telemetry: &Arc<Telemetry>) -> Result<Stored, Failure> {
    let defaults = idhini_replica::Options::default();
    let namespace = idhini_replica::Options {
        seed: u64::from_be_bytes(random()?),
        writer_id: u64::from_be_bytes(random()?),
        history_seconds: match serve.history {
            History::Seconds(seconds) => Some(seconds),
            History::Forever => None,
        },
        image_changes: serve.image_changes.unwrap_or(defaults.image_changes),
        ..defaults
    };
    let options = NodeOptions { namespace, ..NodeOptions::default() };
    let report: Report = Arc::new(|text| tracing::warn!("{text}"));
    let clock: Clock = Arc::new(now);
    if serve.ephemeral {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let node = Arc::new(Node::new(Parts { store, disk: None, clock, report }, options));
        let place = "ephemeral: all is gone when it stops".to_owned();
        return Ok(Stored { node, identity: new_identity()?, embedded: None, place });
    }
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(&serve.data_dir)?);
    let identity = match Identity::read(&*disk)? {
        Some(identity) => identity,
        None => {
            let identity = new_identity()?;
            identity.write(&*disk)?;
            identity
        }
    };
    let mut log = LogOptions::new(identity.store);
    log.segment_bytes = serve.segment_bytes.unwrap_or(log.segment_bytes);
    log.observer = Some(Arc::new(LogObserver(Arc::clone(telemetry))));
    let store = EmbeddedStore::open(Arc::clone(&disk), &log)?;
    let store = Arc::new(store);
    let logs: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let node = Arc::new(Node::new(Parts { store: logs, disk: Some(disk), clock, report }, options));
    let place = format!("data in {}", serve.data_dir.display());
    Ok(Stored { node, identity, embedded: Some(store), place })
}

/// Sweeps, images, trims, for as long as the server runs.
async fn look_after(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        node.maintain().await;
    }
}

/// The keys of the flag, or else of the environment.
fn keys(serve: &Serve) -> Result<Keys, Failure> {
    let of_environment = match serve.preshared_keys.is_empty() {
        true => std::env::var_os(KEYS_VARIABLE).unwrap_or_default(),
        false => OsString::new(),
    };
    let of_environment = of_environment.to_str().ok_or(Failure::Key)?;
    let keys = || serve.preshared_keys.iter().map(String::as_str).chain(of_environment.split(','));
    if keys().all(can_be_sent) { Ok(Keys::new(keys())) } else { Err(Failure::Key) }
}

/// Whether clients can bring a key: it travels in a header, which has printable ASCII and loses spaces at its ends.
fn can_be_sent(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b' '..=b'~')) && key.trim() == key
}

async fn stopped(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A store that was not there before.
fn new_identity() -> Result<Identity, Failure> {
    Ok(Identity {
        store: u64::from_be_bytes(random()?),
        timeline: 1,
        key_id: u32::from_be_bytes(random()?),
        key: random()?,
    })
}

fn seal(identity: &Identity) -> SealOptions {
    let Identity { store, timeline, key_id, key } = identity.clone();
    SealOptions { key, key_id, store, timeline, namespace: NAMESPACE.to_owned() }
}

/// The real clock.
#[expect(clippy::disallowed_methods, reason = "main builds the real clock; everyone else is handed it")]
fn now() -> Timestamp {
    let now = SystemTime::now();
    let (seconds, nanos) = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => (-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX), 0),
    };
    Timestamp::new(seconds, i64::from(nanos)).unwrap_or_else(|_| Timestamp::from_seconds(seconds))
}
