//! The page of metrics: every number by name, as Prometheus reads it.
//!
//! The names are explained in `docs/operate.md`; a test holds both to each other.
//!
//! Cost: a few kilobytes of text a scrape; memory by part walks the graph, so it is counted now and then only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use idhini_audit::Ability;
use idhini_changelog::EmbeddedStore;
use idhini_model::Revision;
use idhini_replica::{BATCH_BOUNDS, Batches, Namespace, NamespaceMemory};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::calls::CODES;
use super::{Limited, Telemetry, histogram};
use crate::seal::Stranger;

/// What the process takes, as the system says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// Memory that is resident.
    pub resident_bytes: u64,
    /// Processor time, of user and system.
    pub cpu_seconds: f64,
    /// When it started, in seconds since 1970.
    pub started_at: f64,
    /// Files and sockets that are open.
    pub open_files: u64,
}

/// Everything of one scrape.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) process: Process,
    pub(super) is_ready: bool,
    /// Once it is open.
    pub(super) stored: Option<Stored>,
    /// Of the audit trail.
    pub(super) sinks: Vec<(String, Ability)>,
}

/// What there is of what is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) namespace: Facts,
    pub(super) log: Option<LogFacts>,
    pub(super) memory: NamespaceMemory,
}

/// Of the namespace.
#[derive(Debug)]
pub(super) struct Facts {
    head: Option<Revision>,
    applied: Revision,
    relationships: u64,
    batches: Batches,
    waiting: (usize, u64),
    image: Option<ImageFacts>,
}

#[derive(Debug)]
struct ImageFacts {
    revision: Revision,
    bytes: u64,
    age_seconds: f64,
}

/// Of the log's files.
#[derive(Debug)]
pub(super) struct LogFacts {
    segments: usize,
    bytes: u64,
    live_bytes: u64,
}

impl Facts {
    pub(super) async fn of(namespace: &Namespace) -> Facts {
        let newest = namespace.images().and_then(|images| images.facts().pop());
        let now = namespace.now();
        let image = newest.map(|image| ImageFacts {
            revision: image.revision,
            bytes: image.chunks_bytes,
            age_seconds: seconds_between(image.written_at, now).max(0.0),
        });
        let head = namespace.head();
        Facts {
            // Read after what is applied, so that the lag is never too small.
            applied: head.revision(),
            head: namespace.log_head().await.ok(),
            relationships: head.root().relationship_count(),
            batches: namespace.batches(),
            waiting: namespace.waiting(),
            image,
        }
    }
}

fn seconds_between(from: idhini_model::Timestamp, to: idhini_model::Timestamp) -> f64 {
    to.seconds().saturating_sub(from.seconds()) as f64
}

impl LogFacts {
    pub(super) fn of(store: &EmbeddedStore) -> LogFacts {
        let segments = store.segments();
        LogFacts {
            segments: segments.len(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            live_bytes: segments.iter().map(|segment| segment.live_bytes).sum(),
        }
    }
}

/// As text.
pub(super) fn text_of(page: Page) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = Writing(encoder);
        self.calls(&mut write)?;
        self.questions(&mut write)?;
        self.syncs(&mut write)?;
        self.tls(&mut write)?;
        if let Some(stored) = &self.stored {
            stored.log(&mut write)?;
            stored.namespace(&mut write)?;
            stored.memory(self.telemetry.searches_bytes.load(Ordering::Relaxed), &mut write)?;
        }
        self.sinks(&mut write)?;
        self.process(&mut write)
    }
}

impl Page {
    fn calls(&self, write: &mut Writing<'_>) -> fmt::Result {
        let shards = self.telemetry.shards();
        let rows = self.telemetry.calls.rows().iter().enumerate();
        let rows: Vec<_> = rows.map(|(at, row)| (row, shards.counted(at))).collect();
        let mut family = write.family("idhini_requests", "Calls that ended", MetricType::Counter)?;
        for (row, counted) in &rows {
            for (code, ended) in CODES.iter().zip(&counted.ended) {
                if *ended > 0 {
                    let labels = [("service", row.service.as_str()), ("call", &row.call), ("code", code)];
                    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(ended, None)?;
                }
            }
        }
        let help = "How long calls took, streams until their end";
        let mut family = write.family("idhini_request_duration_seconds", help, MetricType::Histogram)?;
        for (row, counted) in rows.iter().filter(|(_, counted)| counted.seconds.count() > 0) {
            let labels = [("service", row.service.as_str()), ("call", &row.call)];
            counted.seconds.encode(family.encode_family(&labels)?)?;
        }
        let under_way = rows.iter().map(|(_, counted)| counted.under_way).sum();
        write.gauge("idhini_requests_under_way", "Calls under way", under_way)?;
        let watchers =
            rows.iter().filter(|(row, _)| row.is_watch()).map(|(_, counted)| counted.under_way).sum();
        write.gauge("idhini_watchers", "Watches under way", watchers)
    }

    fn questions(&self, write: &mut Writing<'_>) -> fmt::Result {
        let shards = self.telemetry.shards();
        let help = "Edges that a CheckPermission visited, which is what it is charged";
        shards.check_edges().encode(write.family("idhini_check_edges", help, MetricType::Histogram)?)?;
        let edges = shards.edges();
        write.counter("idhini_edges_visited", "Edges that questions visited", edges)?;
        let help =
            "How often checks needed to know what contains a group, and found it remembered or had to search";
        let mut family = write.family("idhini_closures", help, MetricType::Counter)?;
        let closures = shards.closures();
        for (outcome, count) in [("found", closures.found), ("computed", closures.computed)] {
            family
                .encode_family(&[("outcome", outcome)])?
                .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let help = "Tokens of another store, timeline or key that were treated as full consistency";
        let mut family = write.family("idhini_stranger_tokens", help, MetricType::Counter)?;
        for stranger in Stranger::ALL {
            let count = shards.strangers(stranger);
            let labels = [("kind", stranger.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let help = "Calls refused since a quota was used up, the server had too much to do, or too many were refused";
        let mut family = write.family("idhini_limited", help, MetricType::Counter)?;
        for by in Limited::all() {
            let labels = [("limit", by.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&shards.limited(by), None)?;
        }
        Ok(())
    }

    fn syncs(&self, write: &mut Writing<'_>) -> fmt::Result {
        let telemetry = &self.telemetry;
        let help = "How long it took to write a group of entries and make it durable";
        telemetry.sync_seconds.encode(write.family(
            "idhini_log_sync_duration_seconds",
            help,
            MetricType::Histogram,
        )?)?;
        let help = "Entries that shared a sync";
        telemetry.sync_entries.encode(write.family(
            "idhini_log_sync_entries",
            help,
            MetricType::Histogram,
        )?)?;
        let bytes = telemetry.sync_bytes.load(Ordering::Relaxed);
        write.counter("idhini_log_written_bytes", "Bytes of entries appended", bytes)?;
        let failures = telemetry.write_failures.load(Ordering::Relaxed);
        write.counter("idhini_log_write_failures", "Groups of entries that could not be written", failures)
    }

    /// Nothing where there is none, so that nobody is alarmed by an end that is never.
    fn tls(&self, write: &mut Writing<'_>) -> fmt::Result {
        let Some(counted) = self.telemetry.tls.counted() else { return Ok(()) };
        write.counter("idhini_tls_handshakes", "TLS handshakes that were done", counted.handshakes)?;
        let help = "TLS handshakes that came to nothing";
        let mut family = write.family("idhini_tls_handshake_failures", help, MetricType::Counter)?;
        for (reason, count) in counted.failures {
            family
                .encode_family(&[("reason", reason)])?
                .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let help = "How often another certificate took the place of the one before";
        write.counter("idhini_tls_reloads", help, counted.reloads)?;
        let help = "How often there was another certificate that could not be used";
        write.counter("idhini_tls_reload_failures", help, counted.reload_failures)?;
        let help = "Whether the newest certificate cannot be used, so that the one before is shown";
        write.gauge("idhini_tls_certificate_old", help, i64::from(counted.is_old))?;
        let help = "When the certificate that is shown began to count, since 1970";
        write.gauge("idhini_tls_certificate_start_time_seconds", help, counted.begins_at)?;
        let help = "When the certificate that is shown ends, since 1970";
        write.gauge("idhini_tls_certificate_end_time_seconds", help, counted.ends_at)
    }

    fn sinks(&self, write: &mut Writing<'_>) -> fmt::Result {
        if self.sinks.is_empty() {
            return Ok(());
        }
        let help = "Whether a sink of the audit trail takes records";
        let mut family = write.family("idhini_audit_sink_up", help, MetricType::Gauge)?;
        for (sink, ability) in &self.sinks {
            let is_able = i64::from(*ability == Ability::Able);
            family.encode_family(&[("sink", sink.as_str())])?.encode_gauge(&is_able)?;
        }
        Ok(())
    }

    fn process(&self, write: &mut Writing<'_>) -> fmt::Result {
        let Process { resident_bytes, cpu_seconds, started_at, open_files } = self.process;
        write.gauge("idhini_ready", "Whether the server is ready for calls", i64::from(self.is_ready))?;
        let mut info = write.family("idhini_build", "Which release runs", MetricType::Info)?;
        info.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        write.gauge("process_resident_memory_bytes", "Memory that is resident", whole(resident_bytes))?;
        write.gauge("process_open_fds", "Files and sockets that are open", whole(open_files))?;
        write.gauge_of("process_start_time_seconds", "When it started, since 1970", started_at)?;
        let mut cpu = write.family("process_cpu_seconds", "Processor time", MetricType::Counter)?;
        cpu.encode_counter::<NoLabelSet, _, f64>(&cpu_seconds, None)
    }
}

impl Stored {
    fn log(&self, write: &mut Writing<'_>) -> fmt::Result {
        if let Some(log) = &self.log {
            write.gauge("idhini_log_segments", "Files of the log", whole(log.segments as u64))?;
            write.gauge("idhini_log_bytes", "Bytes of the log's files", whole(log.bytes))?;
            let help = "Bytes of entries in the log that are still needed";
            write.gauge("idhini_log_live_bytes", help, whole(log.live_bytes))?;
        }
        Ok(())
    }

    fn namespace(&self, write: &mut Writing<'_>) -> fmt::Result {
        let Facts { head, applied, relationships, batches, waiting, image, .. } = &self.namespace;
        if let Some(head) = head {
            write.gauge("idhini_head_revision", "The last entry of the log", whole(head.0))?;
            let lag = head.0.saturating_sub(applied.0);
            write.gauge("idhini_lag_revisions", "Entries of the log that are not applied yet", whole(lag))?;
        }
        write.gauge("idhini_applied_revision", "The last entry that readers see", whole(applied.0))?;
        write.gauge("idhini_relationships", "Relationships stored", whole(*relationships))?;
        let help = "Writes that shared an append to the log";
        let mut encoder = write.family("idhini_batch_writes", help, MetricType::Histogram)?;
        let bounds = BATCH_BOUNDS.map(|bound| bound as f64);
        histogram::encode(&mut encoder, &bounds, &batches.counts, batches.requests as f64)?;
        write.gauge("idhini_writes_waiting", "Writes that wait for the writer", whole(waiting.0 as u64))?;
        if let Some(image) = image {
            write.gauge("idhini_image_revision", "What the newest image is of", whole(image.revision.0))?;
            write.gauge("idhini_image_bytes", "Bytes of the newest image", whole(image.bytes))?;
            let help = "How long ago the last entry in the newest image was written";
            write.gauge_of("idhini_image_age_seconds", help, image.age_seconds)?;
        }
        Ok(())
    }

    fn memory(&self, searches_bytes: u64, write: &mut Writing<'_>) -> fmt::Result {
        let help = "Revisions that are kept in memory beside the newest";
        write.gauge("idhini_history_revisions", help, whole(self.memory.revisions))?;
        let mut family = write.family("idhini_memory_bytes", "Memory by part", MetricType::Gauge)?;
        for (part, bytes) in self.memory.parts().into_iter().chain([("searches", searches_bytes)]) {
            family.encode_family(&[("part", part)])?.encode_gauge(&whole(bytes))?;
        }
        Ok(())
    }
}

/// The page being written.
struct Writing<'a>(DescriptorEncoder<'a>);

impl Writing<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.family(name, help, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauge_of(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
