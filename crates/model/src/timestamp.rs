//! A moment in UTC, to the nanosecond; passed in, never read here.

use std::fmt;
use std::str::FromStr;

/// A moment between the years 1 and 9999, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// Why a moment cannot be represented or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Outside the years 1 to 9999, or nanoseconds of a second or more.
    #[error("{seconds} s and {nanos} ns since 1970 is not a moment between the years 1 and 9999")]
    OutOfRange {
        /// Whole seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
        /// Nanoseconds on top.
        nanos: i64,
    },
    /// Not RFC 3339.
    #[error("`{0}` is not a time as RFC 3339 has it, such as 2030-01-31T12:00:00Z")]
    Syntax(String),
}

impl Timestamp {
    const SECONDS_MIN: i64 = -62_135_596_800;
    const SECONDS_MAX: i64 = 253_402_300_799;

    /// `seconds` since 1970-01-01T00:00:00Z and `nanos` (below 10⁹) on top.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`].
    pub fn new(seconds: i64, nanos: i64) -> Result<Timestamp, TimestampError> {
        match u32::try_from(nanos) {
            Ok(n) if n < 1_000_000_000 && (Self::SECONDS_MIN..=Self::SECONDS_MAX).contains(&seconds) => {
                Ok(Timestamp { seconds, nanos: n })
            }
            _ => Err(TimestampError::OutOfRange { seconds, nanos }),
        }
    }

    /// The moment `seconds` after 1970-01-01T00:00:00Z; held to the range of years 1 to 9999.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp { seconds: seconds.clamp(Self::SECONDS_MIN, Self::SECONDS_MAX), nanos: 0 }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded towards the past.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds on top of [`Timestamp::seconds`], below 10⁹.
    #[must_use]
    pub fn nanos(self) -> u32 {
        self.nanos
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        let syntax = || TimestampError::Syntax(text.chars().take(64).collect());
        let moment: jiff::Timestamp = text.parse().map_err(|_| syntax())?;
        let nanos = moment.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| syntax())?;
        Timestamp::new(seconds, i64::from(moment.subsec_nanosecond().rem_euclid(1_000_000_000)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(
            i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos),
        ) {
            Ok(moment) => write!(f, "{moment}"),
            // jiff ends some hours before the last moment of the year 9999.
            Err(_) => write!(f, "{}.{:09}s", self.seconds, self.nanos),
        }
    }
}
