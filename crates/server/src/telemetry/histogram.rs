//! How are values distributed? Counted without a lock.
//!
//! A histogram of the metrics' library takes a mutex for each value; this one adds to two or three numbers.
//!
//! # Invariants
//! * What is read while others count may lack a value in one of the numbers; each of them only grows.
//!
//! Cost: a search among a dozen bounds and two or three additions.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Sums are kept as whole numbers of this part of the unit: nanoseconds, of what is counted in seconds.
const PARTS: f64 = 1e9;

/// Values by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    /// Whole units of all values, and the parts of units of all: together their sum.
    units: AtomicU64,
    parts: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, ascending.
    pub(crate) fn new(bounds: &'static [f64]) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, units: AtomicU64::new(0), parts: AtomicU64::new(0) }
    }

    /// Counts a value, which is not negative.
    pub(crate) fn observe(&self, value: f64) {
        let class = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let units = value.trunc();
        if units > 0.0 {
            self.units.fetch_add(units as u64, Ordering::Relaxed);
        }
        let parts = ((value - units) * PARTS) as u64;
        if parts > 0 {
            self.parts.fetch_add(parts, Ordering::Relaxed);
        }
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let sum =
            self.units.load(Ordering::Relaxed) as f64 + self.parts.load(Ordering::Relaxed) as f64 / PARTS;
        encode(&mut encoder, self.bounds, &counts, sum)
    }
}

/// Writes counts by class: one more than there are bounds.
pub(crate) fn encode(
    encoder: &mut MetricEncoder<'_>,
    bounds: &[f64],
    counts: &[u64],
    sum: f64,
) -> fmt::Result {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
    encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}
