//! How long may a call take? Evaluation in portions, with a look at the deadline between them.
//!
//! A client that goes away needs no look: its call's future is dropped at the next pause.

use std::time::Duration;

use http::HeaderMap;
use idhini_engine::{EngineError, Progress};
use idhini_replica::Wanted;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::lane;
use crate::refusal::Refusal;
use crate::telemetry;

/// Edges visited between two pauses: a few tenths of a millisecond. No less than an attempt takes.
pub(crate) const FUEL: u64 = 5_000;
/// The longest deadline that is kept; `grpc-timeout` can say centuries.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// When a call is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// From a call's metadata.
    pub(crate) fn of(metadata: &MetadataMap) -> Deadline {
        Deadline::of_headers(metadata.as_ref())
    }

    /// From a call's metadata as HTTP has it.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Deadline {
        let asked = headers.get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(timeout);
        Deadline(asked.map(|after| Instant::now() + after.min(DEADLINE_MAX)))
    }

    /// This one, or so long from now if that is sooner.
    pub(crate) fn or_after(self, timeout: Duration) -> Deadline {
        let after = Instant::now() + timeout.min(DEADLINE_MAX);
        Deadline(Some(self.0.map_or(after, |at| at.min(after))))
    }

    /// Whether it has passed.
    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// Waits for it.
    pub(crate) async fn passed(self) {
        match self.0 {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// A write is wanted until the deadline.
    pub(crate) fn wanted(self) -> Wanted {
        match self.0 {
            None => Wanted::always(),
            Some(_) => Wanted::while_so(move || !self.is_over()),
        }
    }

    /// Lets others run, where what takes long is done; and waits, if what was visited so far is more than the quotas have.
    ///
    /// # Errors
    /// When the deadline has passed, or too much of the namespace is done there already.
    pub(crate) async fn pause(self) -> Result<(), Refusal> {
        telemetry::takes_long()?;
        self.breathe().await
    }

    /// The same of what stays where it is.
    ///
    /// # Errors
    /// When the deadline has passed.
    pub(crate) async fn breathe(self) -> Result<(), Refusal> {
        match telemetry::owed() {
            None => lane::yield_turn().await,
            // What is slowed down rather than refused.
            Some(owed) => self.within(tokio::time::sleep(owed)).await?,
        }
        if self.is_over() { Err(Refusal::out_of_time()) } else { Ok(()) }
    }

    /// Waits for something, but not beyond the deadline.
    ///
    /// # Errors
    /// When the deadline has passed.
    pub(crate) async fn within<T>(self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        match self.0 {
            None => Ok(work.await),
            Some(at) => tokio::time::timeout_at(at, work).await.map_err(|_| Refusal::out_of_time()),
        }
    }

    /// Advances an evaluation to its end, portion by portion.
    pub(crate) async fn drive<T>(
        self,
        advance: impl FnMut(u64) -> Result<Progress<T>, EngineError>,
    ) -> Result<T, Refusal> {
        Ok(self.drive_to(FUEL, advance).await??)
    }

    /// The same, but tells what the evaluation failed of from what cut it short.
    pub(crate) async fn drive_to<T>(
        self,
        fuel: u64,
        mut advance: impl FnMut(u64) -> Result<Progress<T>, EngineError>,
    ) -> Result<Result<T, EngineError>, Refusal> {
        loop {
            match advance(fuel) {
                Ok(Progress::Done(answer)) => return Ok(Ok(answer)),
                Err(error) => return Ok(Err(error)),
                Ok(Progress::More) => {
                    telemetry::prepay(fuel);
                    self.pause().await?;
                }
            }
        }
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    const DIGITS_MAX: usize = 8;
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 3600),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::timeout;

    #[test]
    fn timeouts_have_digits_and_a_unit() {
        assert_eq!(timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S", "5é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
