//! What does the log's writer do? Takes the time of its syncs, and tells whether it can write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use idhini_changelog::embedded::{Observer, Written};
use tokio::time::Instant;

use super::Telemetry;

/// Observes the store's writer.
#[derive(Debug)]
pub struct LogObserver(pub Arc<Telemetry>);

impl Observer for LogObserver {
    fn observe(&self, group: Written, sync: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let began = Instant::now();
        let synced = sync();
        if synced.is_ok() {
            let LogObserver(telemetry) = self;
            telemetry.sync_seconds.observe(began.elapsed().as_secs_f64());
            telemetry.sync_entries.observe(group.entries as f64);
            telemetry.sync_bytes.fetch_add(group.bytes, Ordering::Relaxed);
            telemetry.readiness.log_written();
        }
        synced
    }

    fn failed(&self, error: &io::Error) {
        self.0.write_failures.fetch_add(1, Ordering::Relaxed);
        self.0.readiness.log_failed(error.to_string());
        tracing::warn!(%error, "the log cannot be written");
    }
}
