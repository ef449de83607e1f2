//! What is said when there is no room: a quota is used up, or the server has too much to do?
//!
//! # Invariants
//! * Of a namespace above the caller's own nothing is told but its path, which is the beginning of theirs.
//! * Every such refusal says when to ask again.

use std::time::Duration;

use idhini_replica::OverQuota;
use idhini_replica::control::{QuotaKind, QuotaOf};
use tonic::Code;

use super::{Own, Refusal};
use crate::quotas::Over;
use crate::telemetry::{self, Limited};

/// When to ask again where room has to be made first: by deleting, or as the history ends.
const STORED_WAIT: Duration = Duration::from_secs(60);
/// Clients that wait for less than this ask more often than there is something to hear.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl Refusal {
    /// With the moment to ask again.
    fn retried_after(mut self, wait: Duration) -> Refusal {
        let wait = wait.max(WAIT_MIN);
        self.retry_after = Some(wait);
        self.with("retry_after_milliseconds", wait.as_millis())
    }

    /// The server has more to do than it can.
    pub(crate) fn overloaded(wait: Duration) -> Refusal {
        let why = "the server has more to do than it can, and answers those first who ask less; ask again";
        Self::shed(why, wait)
    }

    /// Too much of the namespace waits for its turn already.
    pub(crate) fn crowded(wait: Duration) -> Refusal {
        let why = "so much that takes long waits of this namespace already that more would wait for seconds; ask for less at once, or again";
        Self::shed(why, wait)
    }

    fn shed(why: &str, wait: Duration) -> Refusal {
        telemetry::limited(Limited::Overload);
        let text = format!("{why} in {} ms", wait.as_millis());
        Refusal::new(Code::ResourceExhausted, text).because(Own::Overloaded).retried_after(wait)
    }

    /// Whoever asks was refused so often that they hear no more than that.
    pub(crate) fn refused_too_often(wait: Duration) -> Refusal {
        telemetry::limited(Limited::Refusals);
        let text = format!(
            "too many calls with this token, or from this address without one that counts, were refused; ask again in {} ms",
            wait.max(WAIT_MIN).as_millis()
        );
        Refusal::new(Code::ResourceExhausted, text).because(Own::TooManyRefusals).retried_after(wait)
    }

    pub(crate) fn over_quota(over: &Over) -> Refusal {
        telemetry::limited(Limited::Quota(over.kind));
        let Over { kind, whose, of, wait, .. } = over;
        let (whose, key) = match whose {
            QuotaOf::Namespace => ("the namespace", "namespace"),
            QuotaOf::Caller => ("each caller in the namespace", "caller"),
        };
        let name = kind.as_str();
        let text = format!(
            "the quota `{name}` of {whose} `{of}` is used up; ask again in {} ms, or have it raised by who administrates the namespace above",
            wait.max(&WAIT_MIN).as_millis()
        );
        exceeded(text, *kind).with("quota_of", key).with("namespace", of).retried_after(*wait)
    }
}

/// Of what is stored.
pub(super) fn over_stored(text: String, over: &OverQuota) -> Refusal {
    telemetry::limited(Limited::Quota(over.kind));
    exceeded(text, over.kind)
        .with("quota_of", "namespace")
        .with("namespace", &over.of)
        .retried_after(STORED_WAIT)
}

fn exceeded(text: String, kind: QuotaKind) -> Refusal {
    Refusal::new(Code::ResourceExhausted, text).because(Own::QuotaExceeded).with("quota", kind.as_str())
}
