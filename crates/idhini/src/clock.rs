//! What time is it?

use std::time::{SystemTime, UNIX_EPOCH};

use idhini_model::Timestamp;

/// The machine's clock, in whole seconds.
#[expect(clippy::disallowed_methods, reason = "the clock of commands that judge expirations themselves")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
