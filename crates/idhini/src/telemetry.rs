//! Where do log lines, traces and profiles of a server go?
//!
//! Log lines go to standard error; what is traced goes to a collector over OTLP, if one is named.
//!
//! # Invariants
//! * Lines of other libraries are logged from the level warn on only; their spans are never traced.
//! * What cannot be sent to a collector is dropped: a server never waits for one.

mod profile;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt};

use idhini_server::{Continue, Process};

pub(crate) use self::profile::profiler;
use crate::configuration::{LogFormat, LogLevel, Observing};
use crate::failure::Failure;
use crate::output::Style;

/// How long a collector may take to answer, and to take what is left when the server ends.
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(5);
/// What all of our crates' names begin with.
const OURS: &str = "idhini";

/// Traces on their way to a collector.
pub(crate) struct Traces(Option<SdkTracerProvider>);

/// Begins to log, and to trace if a collector is named. Returns also how traces of callers are continued.
pub(crate) fn begin(observing: &Observing, style: Style) -> Result<(Traces, Option<Continue>), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Telemetry { what: error.to_string() };
    let provider = match &observing.otlp_endpoint {
        Some(endpoint) => Some(provider(endpoint, observing.otlp_sampling).map_err(|error| failed(&error))?),
        None => None,
    };
    let tracing = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(OURS))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(filter_fn(is_span_of_ours).with_max_level_hint(LevelFilter::DEBUG))
    });
    let subscriber = Registry::default().with(tracing).with(lines(observing, style));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| failed(&error))?;
    let continues = provider.is_some().then(|| Arc::new(continue_trace) as Continue);
    Ok((Traces(provider), continues))
}

impl Traces {
    /// Sends what is left. Blocks.
    pub(crate) fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(COLLECTOR_TIMEOUT)
        {
            tracing::warn!(%error, "traces were lost: the collector did not take them");
        }
    }
}

fn lines<S>(observing: &Observing, style: Style) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let level = match observing.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let wanted = Targets::new().with_target(OURS, level).with_default(level.min(LevelFilter::WARN));
    let is_human = match observing.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    match is_human {
        true => lines.with_ansi(style.colours_errors()).with_target(false).with_filter(wanted).boxed(),
        false => lines.json().flatten_event(true).with_span_list(false).with_filter(wanted).boxed(),
    }
}

fn is_span_of_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with(OURS)
}

fn provider(endpoint: &str, ratio: f64) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(COLLECTOR_TIMEOUT)
        .build()?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name(OURS).with_attribute(version).build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(provider.with_sampler(sampler).with_resource(resource).build())
}

/// A caller's `traceparent`.
fn continue_trace(span: &tracing::Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        // It is set before anything runs in the span, so that it cannot be too late.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// What this process takes, by the system's own count; zero where it does not say.
pub(crate) fn process() -> impl Fn() -> Process + Send + Sync {
    #[expect(clippy::disallowed_methods, reason = "main reads the real clock")]
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    move || {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Process {
            resident_bytes: resident_pages() * rustix::param::page_size() as u64,
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            started_at,
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        }
    }
}

fn resident_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}
