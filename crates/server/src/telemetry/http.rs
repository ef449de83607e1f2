//! What operators' machines ask for over HTTP: metrics, health, readiness, profiles.
//!
//! # Invariants
//! * The address is a loopback one, as every listener's.
//! * A profile is taken only if the operator allowed it, one at a time, for a bounded time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{StatusCode, Uri, header};
use idhini_audit::Trail;
use idhini_changelog::{BoxFuture, EmbeddedStore};
use idhini_replica::{Namespace, NamespaceMemory};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Telemetry;
use super::exposition::{Facts, LogFacts, Page, Process, Stored, text_of};
use crate::listen::{ListenError, bind_loopback};

/// What the format of the metrics is called.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How old the count of memory by part may be; counting walks the graph.
const MEMORY_AGE_MAX: Duration = Duration::from_secs(60);
/// How long a profile is, unless asked otherwise, and at most.
const PROFILE_SECONDS: u64 = 10;
const PROFILE_SECONDS_MAX: u64 = 120;

/// A CPU profile as pprof reads it, or why there is none.
pub type Profiled = Result<Vec<u8>, String>;
/// Takes a profile for so long.
pub type Profiler = Arc<dyn Fn(Duration) -> BoxFuture<'static, Profiled> + Send + Sync>;

/// Where metrics are served, bound and not yet serving.
#[derive(Debug)]
pub struct MonitoringListener {
    listener: TcpListener,
    address: SocketAddr,
}

/// What is shown.
#[derive(Clone)]
pub struct Monitoring {
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// What is served, as soon as it is open.
    pub served: Arc<OnceLock<Served>>,
    /// What the process takes.
    pub process: Arc<dyn Fn() -> Process + Send + Sync>,
    /// Takes profiles, if that is allowed.
    pub profiler: Option<Profiler>,
}

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// The log's files, if there are any.
    pub log: Option<Arc<EmbeddedStore>>,
    /// The audit trail, if there is one.
    pub trail: Option<Trail>,
}

struct Shown {
    of: Monitoring,
    /// Memory by part, and when its graph was walked.
    memory: Mutex<Option<(Instant, NamespaceMemory)>>,
    is_profiling: AtomicBool,
}

impl MonitoringListener {
    /// Binds a loopback address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenError::LoopbackOnly`], [`ListenError::Bind`].
    pub async fn bind(address: SocketAddr) -> Result<MonitoringListener, ListenError> {
        let (listener, address) = bind_loopback(address).await?;
        Ok(MonitoringListener { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for as long as the process runs.
    pub async fn serve(self, monitoring: Monitoring) {
        let is_profiled = monitoring.profiler.is_some();
        let shown = Shown { of: monitoring, memory: Mutex::default(), is_profiling: AtomicBool::new(false) };
        let mut routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || text(StatusCode::OK, "ok\n".to_owned())))
            .route("/readyz", get(ready));
        if is_profiled {
            routes = routes.route("/debug/pprof/profile", get(profile));
        }
        let served = axum::serve(self.listener, routes.with_state(Arc::new(shown))).await;
        if let Err(error) = served {
            tracing::warn!(%error, "metrics are no longer served");
        }
    }
}

async fn ready(State(shown): State<Arc<Shown>>) -> Response {
    match shown.readiness().await {
        Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(shown): State<Arc<Shown>>) -> Response {
    let Monitoring { telemetry, served, process, .. } = &shown.of;
    let stored = match served.get() {
        None => None,
        Some(Served { namespace, log, .. }) => Some(Stored {
            namespace: Facts::of(namespace).await,
            log: log.as_deref().map(LogFacts::of),
            memory: shown.memory(namespace).await,
        }),
    };
    let is_ready = shown.readiness().await.is_ok();
    let trail = served.get().and_then(|served| served.trail.as_ref());
    let sinks = trail.map(|trail| trail.abilities()).unwrap_or_default();
    let page = Page { telemetry: Arc::clone(telemetry), process: process(), is_ready, stored, sinks };
    match text_of(page) {
        Ok(page) => of_type(StatusCode::OK, METRICS_TYPE, Body::from(page)),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n".to_owned()),
    }
}

impl Shown {
    async fn readiness(&self) -> Result<(), String> {
        let namespace = self.of.served.get().map(|served| &*served.namespace);
        self.of.telemetry.readiness.judge(namespace).await
    }

    /// By part; the graph is walked where that holds nobody up.
    async fn memory(&self, namespace: &Arc<Namespace>) -> NamespaceMemory {
        let mut counted = self.memory.lock().await;
        if let Some((at, memory)) = *counted
            && at.elapsed() < MEMORY_AGE_MAX
        {
            return namespace.memory_since(memory);
        }
        let walked = Arc::clone(namespace);
        // The task can only have panicked: then nothing is known.
        let memory = tokio::task::spawn_blocking(move || walked.memory()).await.unwrap_or_default();
        *counted = Some((Instant::now(), memory));
        memory
    }
}

async fn profile(State(shown): State<Arc<Shown>>, uri: Uri) -> Response {
    let Some(profiler) = &shown.of.profiler else {
        return text(StatusCode::NOT_FOUND, "profiles are not allowed; start with --profiling\n".to_owned());
    };
    let seconds = match seconds(uri.query().unwrap_or_default()) {
        Ok(seconds) => seconds,
        Err(wrong) => return text(StatusCode::BAD_REQUEST, wrong),
    };
    if shown.is_profiling.swap(true, Ordering::AcqRel) {
        return text(StatusCode::TOO_MANY_REQUESTS, "a profile is being taken already\n".to_owned());
    }
    let profiling = Profiling(&shown.is_profiling);
    let taken = profiler(Duration::from_secs(seconds)).await;
    drop(profiling);
    match taken {
        Ok(profile) => of_type(StatusCode::OK, "application/octet-stream", Body::from(profile)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Another profile can be taken when this is gone, also if who asked has left.
struct Profiling<'p>(&'p AtomicBool);

impl Drop for Profiling<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn seconds(query: &str) -> Result<u64, String> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    let Some(given) = given else { return Ok(PROFILE_SECONDS) };
    match given.parse() {
        Ok(seconds @ 1..=PROFILE_SECONDS_MAX) => Ok(seconds),
        _ => Err(format!("`seconds` is a number from 1 to {PROFILE_SECONDS_MAX}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Response {
    of_type(status, "text/plain; charset=utf-8", Body::from(text))
}

fn of_type(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::{PROFILE_SECONDS, seconds};

    #[test]
    fn a_profile_takes_a_bounded_time() {
        assert_eq!(seconds(""), Ok(PROFILE_SECONDS));
        assert_eq!(seconds("debug=0&seconds=3"), Ok(3));
        for bad in ["seconds=0", "seconds=121", "seconds=-1", "seconds=x", "seconds="] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
