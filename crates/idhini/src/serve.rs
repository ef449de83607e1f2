//! Running a server: the real clock, real randomness, the real disk.

mod bootstrap;
pub(crate) mod testing;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, FileDisk, MemoryStore, Store};
use idhini_model::SubjectRef;
use idhini_replica::control::{
    Accessor, ControlPlane, NamespaceId, NamespacePath, ROOT, ROOT_LOG, Role, SYS_LOG,
};
use idhini_replica::{Clock, Identity, Node, NodeOptions, Parts, Report};
use idhini_server::{
    Keys, ListenError, Listener, LogObserver, Monitoring, MonitoringListener, Offer, Options, Randomness,
    SealOptions, Served, Telemetry, Tls, Tree,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::tls::Keeper;
pub(crate) use self::tls::TlsFailure;
use crate::arguments::Security;
use crate::client_file::Place;
use crate::clock::now;
use crate::configuration::{
    Configuration, HTTP_ADDRESS, ListenAddress, METRICS_ADDRESS, Observing, ServeFlags, Server, Settings,
};
use crate::entropy::{fill, random};
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::root_token;
use crate::telemetry;
use crate::{audit, authority};

/// How long it takes until everything is looked after again.
const ROUND: Duration = Duration::from_secs(5);
/// How long work may go on that nobody waits for any more, after the calls under way had their time.
const ABANDONED_MAX: Duration = Duration::from_secs(1);

/// Serves until told to stop.
pub(crate) fn run(flags: &ServeFlags, style: Style) -> Result<(), Failure> {
    let configuration = Configuration::read(Server::Serve, &flags.0)?;
    observed(&configuration.settings, style, |telemetry| serve(&configuration, telemetry, style))
}

async fn serve(
    configuration: &Configuration,
    telemetry: Arc<Telemetry>,
    style: Style,
) -> Result<(), Failure> {
    let settings = &configuration.settings;
    // Before the data is touched: a mistake in the address is no reason to wait for it.
    let keeper = Keeper::begin(settings, &telemetry, Arc::new(now))?;
    let tls = keeper.as_ref().map(|keeper| Arc::clone(keeper.tls()));
    let listener = Listener::bind(settings.grpc_addr, tls.clone()).await?;
    let http = http(settings, tls).await?;
    let monitored = Arc::new(OnceLock::new());
    let metrics = monitoring(&settings.observing, &telemetry, &monitored).await?;
    let stored = stored(settings, &telemetry)?;
    // Holds the directory from here on, which has the key.
    let auditing = audit::Running::begin(configuration, stored.disk.as_deref()).await?;
    let namespace = stored.node.namespace(ROOT_LOG).await?;
    bootstrap::load(&namespace, settings).await?;
    let trail = auditing.as_ref().map(audit::Running::trail);
    let (log, to) = (stored.embedded.clone(), trail.clone());
    let served = Served { namespace: Arc::clone(&namespace), log, trail: to };
    // Nobody else sets it.
    let _ = monitored.set(served);
    let address = listener.address().to_string();
    let (keys, token_of_run) = keys(settings, &stored, &address, style)?;
    if let Some(auditing) = &auditing {
        auditing.keyed(stored.disk.as_deref());
    }
    let plane = ControlPlane::open(stored.node.namespace(SYS_LOG).await?, keys.subjects())
        .await
        .map_err(Failure::ControlPlane)?;
    if keys.is_empty() && !has_administrator(&plane) {
        return Err(Failure::NobodyAdministrates);
    }
    plane.govern(stored.node.ledger());
    let (limits, drain_max) = (settings.limits, Duration::from_secs(settings.drain_seconds));
    let (seal, worker_threads) = (seal(&stored.identity), settings.workers());
    let randomness = Randomness::new(fill);
    let options =
        Options { keys, limits, seal, telemetry, drain_max, worker_threads, give_way, randomness, trail };
    if let Err(error) = plane.finish_deletions(&stored.node).await {
        tracing::warn!(
            "what a deleted namespace left could not be removed: {error}; the next start tries again"
        );
    }
    let stop = stopped()?;
    let looking_after = tokio::spawn(look_after(Arc::clone(&stored.node)));
    let to = options.trail.clone();
    let keeping = keeper.map(|keeper| tokio::spawn(keeper.telling(to).keep()));
    output::said(&format!("listening on {address} ({})", stored.place));
    if let Some(address) = metrics {
        output::said(&format!("metrics on http://{address}/metrics"));
    }
    let trail = match auditing {
        Some(auditing) => Some(auditing.started(namespace.head().revision()).await),
        None => None,
    };
    let listener = match http {
        Some(http) => {
            let scheme = if settings.transport.is_secured() { "https" } else { "http" };
            output::said(&format!("http on {scheme}://{}", http.address()));
            listener.beside(http)
        }
        None => listener,
    };
    let offer = Offer::Tree(Tree { node: Arc::clone(&stored.node), root: Arc::clone(&namespace), plane });
    let served = listener.serve(&offer, &options, stop).await;
    looking_after.abort();
    if let Some(keeping) = keeping {
        keeping.abort();
    }
    if let Some(trail) = trail {
        audit::stopped(trail).await;
    }
    if let Some(token) = token_of_run {
        root_token::forget(&token);
    }
    if let Err(error) = namespace.image().await {
        tracing::warn!("{}; the next start reads more of the log instead", error.for_log());
    }
    if let Some(store) = stored.embedded
        && let Err(error) = store.close().await
    {
        tracing::warn!(%error, "the log was not closed cleanly, nothing is lost");
    }
    Ok(served?)
}

/// Of threads that do what takes long, and of those that do what is no call: a tenth and a third of the weight of those that
/// answer, where more threads have something to do than there are processors.
const NICENESS_OF_LANE: i32 = 10;
const NICENESS_BESIDE: i32 = 5;

/// Has the thread that it is called on give way to those that answer calls.
pub(crate) fn give_way() {
    be_nice(NICENESS_OF_LANE);
}

fn be_nice(niceness: i32) {
    // On Linux a thread has its own. Where the system refuses, threads are alike.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, niceness);
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

/// Runs a server on threads of its own, logged and traced as is set. What is not a call runs on these; those that answer
/// calls are the server's own.
fn observed<F: Future<Output = Result<(), Failure>>>(
    settings: &Settings,
    style: Style,
    server: impl FnOnce(Arc<Telemetry>) -> F,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(|| be_nice(NICENESS_BESIDE))
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "threads", source })?;
    let mut traces = None;
    let served = runtime.block_on(async {
        let (to_collector, continues) = telemetry::begin(&settings.observing, style)?;
        traces = Some(to_collector);
        server(Arc::new(Telemetry::new(continues))).await
    });
    if let Some(traces) = traces {
        traces.end();
    }
    // Dropping it instead would wait for the longest write or expansion, however long that takes.
    runtime.shutdown_timeout(ABANDONED_MAX);
    served
}

/// Who may call; and the root token, if it ends with the server.
fn keys(
    settings: &Settings,
    stored: &Stored,
    address: &str,
    style: Style,
) -> Result<(Keys, Option<String>), Failure> {
    let preshared = &settings.preshared_keys.0;
    if !preshared.is_empty() {
        root_token::replace_at(address);
        return Ok((Keys::new(preshared.iter().map(String::as_str), &stored.identity.key), None));
    }
    if settings.no_root_token {
        return Ok((Keys::default(), None));
    }
    let security = reached(settings);
    let place = Place { address, security: &security };
    match &stored.disk {
        Some(disk) => Ok((root_token::of_directory(&**disk, place, style)?, None)),
        None => root_token::of_run(place, style).map(|(keys, token)| (keys, Some(token))),
    }
}

/// Whether somebody administrates `root` beside the keys of the configuration and the root token.
fn has_administrator(plane: &ControlPlane) -> bool {
    let grants = plane.grants(&NamespacePath::root(), &NamespaceId::root(), usize::MAX);
    let now = plane.now();
    // What was granted to a token that has ended is there for a while still.
    let counts = |to: &SubjectRef| match to.object_type.as_str() {
        "token" => {
            let accessor = Accessor(to.object_id.clone());
            plane.look(|view| view.token(&accessor, now).is_some()).unwrap_or(false)
        }
        _ => true,
    };
    grants.iter().any(|grant| grant.role == Role::Admin && counts(&grant.to))
}

/// What the command line on this machine has to know of the server's TLS.
fn reached(settings: &Settings) -> Security {
    let own = settings.transport.ca_dir.as_ref().map(|directory| directory.join(authority::CERTIFICATE));
    Security {
        is_tls: settings.transport.is_secured(),
        // Wherever that is run.
        ca_file: own.map(|file| file.canonicalize().unwrap_or(file)),
        ..Security::default()
    }
}

/// What is stored, or will be.
struct Stored {
    node: Arc<Node>,
    identity: Identity,
    embedded: Option<Arc<EmbeddedStore>>,
    /// None if nothing is kept.
    disk: Option<Arc<dyn Disk>>,
    /// For people.
    place: String,
}

/// Serves metrics, health and readiness beside the calls; returns where, or `None` if that is not wanted or the usual
/// port is taken.
async fn monitoring(
    observing: &Observing,
    telemetry: &Arc<Telemetry>,
    served: &Arc<OnceLock<Served>>,
) -> Result<Option<SocketAddr>, Failure> {
    let wanted = observing.metrics_addr.unwrap_or(ListenAddress::At(METRICS_ADDRESS));
    let ListenAddress::At(address) = wanted else { return Ok(None) };
    let listener = match MonitoringListener::bind(address).await {
        Ok(listener) => listener,
        Err(error @ ListenError::Bind { .. }) if observing.metrics_addr.is_none() => {
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
        profiler: observing.profiling.then(telemetry::profiler),
    };
    tokio::spawn(listener.serve(monitoring));
    Ok(Some(address))
}

/// Where HTTP is listened for; `None` if that is not wanted or the usual port is taken.
async fn http(settings: &Settings, tls: Option<Arc<Tls>>) -> Result<Option<Listener>, Failure> {
    let wanted = settings.http_addr.unwrap_or(ListenAddress::At(HTTP_ADDRESS));
    let ListenAddress::At(address) = wanted else { return Ok(None) };
    match Listener::bind(address, tls).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error @ ListenError::Bind { .. }) if settings.http_addr.is_none() => {
            tracing::warn!("HTTP is not served: {error} Choose another port with --http-addr, or `off`");
            Ok(None)
        }
        Err(error) => Err(Failure::Http(error)),
    }
}

/// What is drawn at random for each process, beside what is set.
fn node_options(settings: &Settings) -> Result<NodeOptions, Failure> {
    let mut options = settings.node;
    options.namespace.seed = u64::from_be_bytes(random()?);
    options.namespace.writer_id = u64::from_be_bytes(random()?);
    Ok(options)
}

fn stored(settings: &Settings, telemetry: &Arc<Telemetry>) -> Result<Stored, Failure> {
    let options = node_options(settings)?;
    let report: Report = Arc::new(|text| tracing::warn!("{text}"));
    let clock: Clock = Arc::new(now);
    if settings.ephemeral {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let node = Arc::new(Node::new(Parts { store, disk: None, clock, report }, options));
        let place = "ephemeral: all is gone when it stops".to_owned();
        return Ok(Stored { node, identity: new_identity()?, embedded: None, disk: None, place });
    }
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(&settings.data_dir)?);
    let identity = Identity::read_or_make(&*disk, new_identity)?;
    let mut log = LogOptions::new(identity.store);
    log.segment_bytes = settings.segment_bytes;
    log.observer = Some(Arc::new(LogObserver(Arc::clone(telemetry))));
    let store = EmbeddedStore::open(Arc::clone(&disk), &log)?;
    let store = Arc::new(store);
    let logs: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let node =
        Arc::new(Node::new(Parts { store: logs, disk: Some(Arc::clone(&disk)), clock, report }, options));
    let place = format!("data in {}", settings.data_dir.display());
    Ok(Stored { node, identity, embedded: Some(store), disk: Some(disk), place })
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

/// Ends when the process is told to stop.
fn stopped() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let signals = |kind| signal(kind).map_err(|source| Failure::System { what: "signals", source });
    let (mut interrupt, mut terminate): (Signal, Signal) =
        (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
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
    SealOptions { key, key_id, store, timeline, namespace: ROOT.to_owned() }
}
