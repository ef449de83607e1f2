//! How is what the control plane records printed? Moments, spans of time, who did it.

use idhini_model::Timestamp;
use idhini_wire::timestamp;

/// A moment, to the second.
pub(super) fn moment(at: Option<prost_types::Timestamp>) -> Option<String> {
    let at = timestamp(prost_types::Timestamp { nanos: 0, ..at? }, "").ok()?;
    Some(at.to_string())
}

/// A moment, or a word where there is none.
pub(super) fn moment_or(at: Option<prost_types::Timestamp>, none: &str) -> String {
    moment(at).unwrap_or_else(|| none.to_owned())
}

/// So many seconds, as the API has them; what is longer than it can say is as long as it can say.
pub(super) fn span(seconds: u64) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}

/// So many seconds from a moment on.
pub(super) fn after(now: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_seconds(now.seconds().saturating_add(seconds))
}

/// The full path, or what the server is asked about without one.
pub(super) fn named(path: Option<String>) -> String {
    path.unwrap_or_default()
}
