//! What time is it?

use std::time::{SystemTime, UNIX_EPOCH};

use idhini_model::Timestamp;

/// The real clock: what expirations are judged by unless another one is given.
#[expect(clippy::disallowed_methods, reason = "this is the real clock; everyone else is handed it")]
#[must_use]
pub fn now() -> Timestamp {
    let now = SystemTime::now();
    let (seconds, nanos) = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => (-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX), 0),
    };
    Timestamp::new(seconds, i64::from(nanos)).unwrap_or_else(|_| Timestamp::from_seconds(seconds))
}
