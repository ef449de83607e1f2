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

/// The most bounds.
const BOUNDS_MAX: usize = 15;
/// Classes: one more than there are bounds.
const CLASSES_MAX: usize = BOUNDS_MAX + 1;

/// Values by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// Held in place, so that those of one worker lie among its own.
    counts: [AtomicU64; CLASSES_MAX],
    /// Whole units of all values, and the parts of units of all: together their sum.
    units: AtomicU64,
    parts: AtomicU64,
}

/// What was counted, of one histogram or of several with the same bounds.
#[derive(Debug)]
pub(crate) struct Distribution {
    bounds: &'static [f64],
    counts: [u64; CLASSES_MAX],
    units: u64,
    parts: u64,
}

impl Histogram {
    /// With these upper bounds, ascending; those beyond the most there may be are left out.
    pub(crate) fn new(bounds: &'static [f64]) -> Histogram {
        let bounds = bounds.get(..BOUNDS_MAX).unwrap_or(bounds);
        let counts = Default::default();
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

    pub(crate) fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut counted = Distribution::new(self.bounds);
        counted.add(self);
        counted.encode(encoder)
    }
}

impl Distribution {
    /// Of nothing yet.
    pub(crate) fn new(bounds: &'static [f64]) -> Distribution {
        let bounds = bounds.get(..BOUNDS_MAX).unwrap_or(bounds);
        Distribution { bounds, counts: [0; CLASSES_MAX], units: 0, parts: 0 }
    }

    /// And what this one counted, which has the same bounds.
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.units += histogram.units.load(Ordering::Relaxed);
        self.parts += histogram.parts.load(Ordering::Relaxed);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.counts.get(..=self.bounds.len()).unwrap_or(&self.counts);
        encode(&mut encoder, self.bounds, counts, self.units as f64 + self.parts as f64 / PARTS)
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

#[cfg(test)]
mod tests {
    use super::{Distribution, Histogram};

    const BOUNDS: &[f64] = &[0.5, 1.0, 10.0];

    #[test]
    fn values_are_counted_in_the_class_that_they_fit_and_add_up() {
        let mut sum = Distribution::new(BOUNDS);
        for values in [[0.25, 0.5, 0.75], [10.0, 1e6, 0.0]] {
            let histogram = Histogram::new(BOUNDS);
            values.into_iter().for_each(|value| histogram.observe(value));
            sum.add(&histogram);
        }
        assert_eq!((&sum.counts[..5], sum.count()), (&[3, 1, 1, 1, 0][..], 6));
        assert_eq!((sum.units, sum.parts), (1_000_010, 1_500_000_000));
    }
}
