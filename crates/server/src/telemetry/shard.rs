//! What does one worker count? Numbers of its own, so that counting a call touches no memory that another core writes.
//!
//! # Invariants
//! * What is read is the sum over all workers; each number of each worker only grows, but for the calls under way.
//!
//! Cost: as many numbers a worker as there are kinds of calls and statuses, about 400 bytes a kind; reading adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use idhini_engine::ClosureUse;
use idhini_replica::control::QuotaKind;

use super::calls::{CODES, SECONDS_BOUNDS};
use super::histogram::{Distribution, Histogram};
use super::{EDGES_BOUNDS, Telemetry};
use crate::seal::Stranger;

/// Numbers of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    calls: Box<[Counts]>,
    check_edges: Histogram,
    edges: AtomicU64,
    closures_found: AtomicU64,
    closures_computed: AtomicU64,
    strangers: [AtomicU64; Stranger::ALL.len()],
    limited: [AtomicU64; Limited::COUNT],
}

/// What refused a call that might have been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// A quota of a namespace or of a caller.
    Quota(QuotaKind),
    /// The server has too much to do.
    Overload,
    /// Its caller, or who came from its address, was refused too often.
    Refusals,
}

impl Limited {
    const COUNT: usize = QuotaKind::ALL.len() + 2;

    pub(super) fn all() -> impl Iterator<Item = Limited> {
        QuotaKind::ALL.into_iter().map(Limited::Quota).chain([Limited::Overload, Limited::Refusals])
    }

    fn index(self) -> usize {
        match self {
            Limited::Quota(kind) => kind as usize,
            Limited::Overload => QuotaKind::ALL.len(),
            Limited::Refusals => QuotaKind::ALL.len() + 1,
        }
    }

    /// As the metrics name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Limited::Quota(kind) => kind.as_str(),
            Limited::Overload => "overload",
            Limited::Refusals => "refusals",
        }
    }
}

/// Of one kind of call.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counts {
    /// Ended, by code.
    pub(super) ended: [AtomicU64; CODES.len()],
    pub(super) under_way: AtomicI64,
    pub(super) seconds: Histogram,
}

/// What a worker counts its calls with.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) telemetry: Arc<Telemetry>,
    shard: Arc<Shard>,
}

/// What all workers counted of one kind of call.
pub(super) struct Counted {
    pub(super) ended: [u64; CODES.len()],
    pub(super) under_way: i64,
    pub(super) seconds: Distribution,
}

/// All workers' numbers.
pub(super) struct Shards(pub(super) Vec<Arc<Shard>>);

impl Recorder {
    /// Of a worker that has counted nothing yet.
    pub(crate) fn new(telemetry: &Arc<Telemetry>) -> Arc<Recorder> {
        let shard = Arc::new(Shard::new(telemetry.calls.rows().len()));
        telemetry.shards.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Arc::clone(&shard));
        Arc::new(Recorder { telemetry: Arc::clone(telemetry), shard })
    }

    /// Of a kind of call, by its row.
    pub(super) fn counts(&self, row: usize) -> Option<&Counts> {
        self.shard.calls.get(row)
    }

    pub(super) fn charge(&self, edges: u64) {
        if edges > 0 {
            self.shard.edges.fetch_add(edges, Ordering::Relaxed);
        }
    }

    pub(super) fn checked(&self, edges: u64) {
        self.shard.check_edges.observe(edges as f64);
    }

    pub(super) fn used(&self, closures: ClosureUse) {
        let counts = [
            (&self.shard.closures_found, closures.found),
            (&self.shard.closures_computed, closures.computed),
        ];
        for (count, more) in counts.into_iter().filter(|(_, more)| *more > 0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub(super) fn limited(&self, by: Limited) {
        if let Some(count) = self.shard.limited.get(by.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn met_stranger(&self, stranger: Stranger) {
        if let Some(count) = self.shard.strangers.get(stranger as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shard {
    fn new(rows: usize) -> Shard {
        Shard {
            calls: (0..rows).map(|_| Counts::new()).collect(),
            check_edges: Histogram::new(EDGES_BOUNDS),
            edges: AtomicU64::new(0),
            closures_found: AtomicU64::new(0),
            closures_computed: AtomicU64::new(0),
            strangers: Default::default(),
            limited: Default::default(),
        }
    }
}

impl Counts {
    fn new() -> Counts {
        Counts {
            ended: Default::default(),
            under_way: AtomicI64::new(0),
            seconds: Histogram::new(SECONDS_BOUNDS),
        }
    }
}

impl Shards {
    /// Of a kind of call, by its row.
    pub(super) fn counted(&self, row: usize) -> Counted {
        let mut counted =
            Counted { ended: [0; CODES.len()], under_way: 0, seconds: Distribution::new(SECONDS_BOUNDS) };
        for counts in self.0.iter().filter_map(|shard| shard.calls.get(row)) {
            for (sum, ended) in counted.ended.iter_mut().zip(&counts.ended) {
                *sum += ended.load(Ordering::Relaxed);
            }
            counted.under_way += counts.under_way.load(Ordering::Relaxed);
            counted.seconds.add(&counts.seconds);
        }
        counted
    }

    pub(super) fn check_edges(&self) -> Distribution {
        let mut sum = Distribution::new(EDGES_BOUNDS);
        self.0.iter().for_each(|shard| sum.add(&shard.check_edges));
        sum
    }

    pub(super) fn edges(&self) -> u64 {
        self.0.iter().map(|shard| shard.edges.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn closures(&self) -> ClosureUse {
        let mut sum = ClosureUse::default();
        for shard in &self.0 {
            sum.found += shard.closures_found.load(Ordering::Relaxed);
            sum.computed += shard.closures_computed.load(Ordering::Relaxed);
        }
        sum
    }

    pub(super) fn limited(&self, by: Limited) -> u64 {
        let refused = self.0.iter().filter_map(|shard| shard.limited.get(by.index()));
        refused.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn strangers(&self, stranger: Stranger) -> u64 {
        let met = self.0.iter().filter_map(|shard| shard.strangers.get(stranger as usize));
        met.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_all_workers_counted() {
        let telemetry = Arc::new(Telemetry::new(None));
        let row = telemetry.calls.find("/authzed.api.v1.PermissionsService/CheckPermission");
        let recorders = [Recorder::new(&telemetry), Recorder::new(&telemetry)];
        for (recorder, edges) in recorders.iter().zip([1, 5]) {
            let counts = recorder.counts(row).unwrap();
            counts.under_way.fetch_add(1, Ordering::Relaxed);
            counts.ended[0].fetch_add(2, Ordering::Relaxed);
            counts.seconds.observe(0.5);
            recorder.charge(edges);
            recorder.checked(edges);
            recorder.used(ClosureUse { found: edges, computed: 1 });
            recorder.met_stranger(Stranger::Migrated);
            recorder.limited(Limited::Overload);
            recorder.limited(Limited::Quota(QuotaKind::Watches));
        }
        let shards = telemetry.shards();
        let Counted { ended, under_way, seconds } = shards.counted(row);
        assert_eq!((ended[0], ended[1], under_way, seconds.count()), (4, 0, 2, 2));
        assert_eq!((shards.edges(), shards.check_edges().count()), (6, 2));
        assert_eq!(shards.closures(), ClosureUse { found: 6, computed: 2 });
        assert_eq!(shards.strangers(Stranger::Migrated), 2);
        assert_eq!(shards.strangers(Stranger::OtherStore), 0);
        let limited: Vec<u64> = Limited::all().map(|by| shards.limited(by)).collect();
        assert_eq!(limited, [0, 0, 0, 0, 0, 2, 2, 0]);
    }
}
