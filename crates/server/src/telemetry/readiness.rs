//! Should this server get calls?
//!
//! It is ready while it serves, is caught up with its log, and its last attempt to write the log did not fail. A failed
//! attempt counts for a while only: what is asked for nothing never learns that the disk is well again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use idhini_model::Revision;
use idhini_replica::Namespace;
use tokio::time::Instant;

/// How long a failed attempt to write the log counts, unless another succeeds.
const FAILURE_COUNTS: Duration = Duration::from_secs(30);

/// How it stands with a server.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_serving: AtomicBool,
    is_stopping: AtomicBool,
    /// When writing the log failed, and with what, if it has not succeeded since.
    failed: Mutex<Option<(Instant, String)>>,
    has_failed: AtomicBool,
}

impl Readiness {
    pub(crate) fn serve(&self) {
        self.is_serving.store(true, Ordering::Release);
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub(crate) fn log_failed(&self, error: String) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error));
        self.has_failed.store(true, Ordering::Release);
    }

    pub(crate) fn log_written(&self) {
        if self.has_failed.swap(false, Ordering::AcqRel) {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Why it is not ready; `Ok` if it is.
    pub(crate) async fn judge(&self, namespace: Option<&Namespace>) -> Result<(), String> {
        if self.is_stopping() {
            return Err("the server was told to stop".to_owned());
        }
        let Some(namespace) = namespace.filter(|_| self.is_serving.load(Ordering::Acquire)) else {
            return Err("the server is starting".to_owned());
        };
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, error)) = failed
            && at.elapsed() < FAILURE_COUNTS
        {
            return Err(format!("the log cannot be written: {error}"));
        }
        let applied = namespace.head().revision();
        match namespace.log_head().await {
            Err(error) => Err(format!("the log cannot be read: {error}")),
            Ok(head) => caught_up(head, applied),
        }
    }
}

/// Entries that were appended a moment ago are published a moment later.
fn caught_up(head: Revision, applied: Revision) -> Result<(), String> {
    /// Entries of one batch at most.
    const LAG_MAX: u64 = 1_000;
    match head.0.saturating_sub(applied.0) {
        lag if lag > LAG_MAX => Err(format!("revision {applied} is applied, and the log goes on to {head}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use idhini_model::Revision;

    use super::caught_up;

    #[test]
    fn more_than_a_batch_behind_is_not_caught_up() {
        assert_eq!(caught_up(Revision(1_007), Revision(7)), Ok(()));
        assert!(caught_up(Revision(1_008), Revision(7)).is_err());
    }
}
