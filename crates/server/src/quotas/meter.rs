//! The meter of one namespace, or of one caller in it.
//!
//! A rate is a bucket that holds a second's worth and is full at rest. It is one number: the moment at which it will be
//! full again. Calls are paid before they run, and refused if the bucket does not hold them; what they visit is paid
//! afterwards, so that the bucket may come to owe, and nothing begins until it does no longer.
//!
//! Every function takes the moment, in nanoseconds since some beginning.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use idhini_replica::control::{NamespacePath, QuotaKind, QuotaOf, Quotas};

use super::{Counts, Over};

/// What a bucket holds: so long of its rate.
const BUCKET_NANOSECONDS: u64 = 1_000_000_000;
/// Stands for no limit.
const UNLIMITED: u64 = u64::MAX;
/// When to try again what waits for another call to end; nobody knows when it does.
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// The same for a watch.
const WATCH_WAIT: Duration = Duration::from_secs(5);
/// Limits of what is done, in the order of [`KINDS`].
const KINDS: [QuotaKind; 4] = [QuotaKind::Calls, QuotaKind::Concurrent, QuotaKind::Cost, QuotaKind::Watches];

/// What was used.
#[derive(Debug)]
pub(super) struct Meter {
    whose: QuotaOf,
    of: NamespacePath,
    /// By kind.
    max: [AtomicU64; KINDS.len()],
    /// Of the control plane when the limits were set.
    version: Mutex<Option<u64>>,
    calls: Bucket,
    cost: Bucket,
    under_way: AtomicU64,
    watches: AtomicU64,
}

/// The moment at which it is full.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

/// What is under way.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) under_way: u64,
    pub(super) watches: u64,
}

impl Meter {
    pub(super) fn new(whose: QuotaOf, of: NamespacePath) -> Meter {
        Meter {
            whose,
            of,
            max: [UNLIMITED; KINDS.len()].map(AtomicU64::new),
            version: Mutex::default(),
            calls: Bucket::default(),
            cost: Bucket::default(),
            under_way: AtomicU64::new(0),
            watches: AtomicU64::new(0),
        }
    }

    /// Sets what may be used, unless that was set by a later version. A rate that changes begins with a full bucket.
    pub(super) fn limit(&self, quotas: Quotas, version: u64) {
        let mut set_by = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if set_by.is_some_and(|set_by| set_by > version) {
            return;
        }
        *set_by = Some(version);
        for (kind, max) in KINDS.into_iter().zip(&self.max) {
            let new = quotas.max(kind).unwrap_or(UNLIMITED);
            if max.swap(new, Relaxed) != new {
                match kind {
                    QuotaKind::Calls => self.calls.fill(),
                    QuotaKind::Cost => self.cost.fill(),
                    _ => {}
                }
            }
        }
    }

    fn max(&self, kind: QuotaKind) -> u64 {
        let at = KINDS.iter().position(|other| *other == kind);
        at.and_then(|at| self.max.get(at)).map_or(UNLIMITED, |max| max.load(Relaxed))
    }

    pub(super) fn is_limiting(&self, kind: QuotaKind) -> bool {
        self.max(kind) != UNLIMITED
    }

    fn over(&self, kind: QuotaKind, wait: Duration) -> Over {
        Over { kind, whose: self.whose, of: self.of.clone(), wait }
    }

    /// Whether it is of one caller, and not of a whole namespace.
    pub(super) fn is_of_caller(&self) -> bool {
        self.whose == QuotaOf::Caller
    }

    /// What is counted until it ends, if that is.
    fn under_way(&self, counts: Counts) -> Option<(&AtomicU64, QuotaKind, Duration)> {
        match counts {
            Counts::Call => Some((&self.under_way, QuotaKind::Concurrent, BUSY_WAIT)),
            Counts::Watch => Some((&self.watches, QuotaKind::Watches, WATCH_WAIT)),
            Counts::Urgent => None,
        }
    }

    /// Counts a call that begins.
    pub(super) fn enter(&self, counts: Counts, now: u64) -> Result<(), Over> {
        let under_way = self.under_way(counts);
        let owed = self.owed(now);
        if owed > 0 && under_way.is_some() {
            return Err(self.over(QuotaKind::Cost, Duration::from_nanos(owed)));
        }
        if let Some((under_way, kind, wait)) = under_way
            && under_way.fetch_add(1, Relaxed) >= self.max(kind)
        {
            under_way.fetch_sub(1, Relaxed);
            return Err(self.over(kind, wait));
        }
        if let Err(wait) = self.calls.take(1, self.max(QuotaKind::Calls), now) {
            self.leave(counts);
            return Err(self.over(QuotaKind::Calls, Duration::from_nanos(wait)));
        }
        Ok(())
    }

    /// Takes back that a call began.
    pub(super) fn give_back(&self, counts: Counts) {
        self.leave(counts);
        self.calls.give_back(1, self.max(QuotaKind::Calls));
    }

    /// A call has ended.
    pub(super) fn leave(&self, counts: Counts) {
        if let Some((under_way, ..)) = self.under_way(counts) {
            under_way.fetch_sub(1, Relaxed);
        }
    }

    /// Something was visited.
    pub(super) fn charge(&self, edges: u64, now: u64) {
        self.cost.charge(edges, self.max(QuotaKind::Cost), now);
    }

    /// How long it takes until nothing is owed for what was visited.
    pub(super) fn owed(&self, now: u64) -> u64 {
        match self.is_limiting(QuotaKind::Cost) {
            true => self.cost.0.load(Relaxed).saturating_sub(now.saturating_add(BUCKET_NANOSECONDS)),
            false => 0,
        }
    }

    #[cfg(test)]
    pub(super) fn usage(&self) -> Usage {
        Usage { under_way: self.under_way.load(Relaxed), watches: self.watches.load(Relaxed) }
    }

    /// Whether it says what a new one would.
    pub(super) fn is_at_rest(&self, now: u64) -> bool {
        let is_full = |bucket: &Bucket| bucket.0.load(Relaxed) <= now;
        is_full(&self.calls)
            && is_full(&self.cost)
            && self.under_way.load(Relaxed) == 0
            && self.watches.load(Relaxed) == 0
    }
}

impl Bucket {
    fn fill(&self) {
        self.0.store(0, Relaxed);
    }

    /// Takes from it, or says how long it takes until it holds so much.
    fn take(&self, count: u64, rate: u64, now: u64) -> Result<(), u64> {
        let Some(takes) = duration(count, rate) else { return Ok(()) };
        let mut wait = 0;
        let taken = self.0.fetch_update(Relaxed, Relaxed, |full_at| {
            let new = full_at.max(now).saturating_add(takes);
            wait = new.saturating_sub(now.saturating_add(BUCKET_NANOSECONDS));
            (wait == 0).then_some(new)
        });
        taken.map(drop).map_err(|_| wait)
    }

    /// Takes from it whatever it holds.
    fn charge(&self, count: u64, rate: u64, now: u64) {
        let Some(takes) = duration(count, rate) else { return };
        let charged = |full_at: u64| Some(full_at.max(now).saturating_add(takes));
        let _ = self.0.fetch_update(Relaxed, Relaxed, charged);
    }

    fn give_back(&self, count: u64, rate: u64) {
        let Some(takes) = duration(count, rate) else { return };
        let _ = self.0.fetch_update(Relaxed, Relaxed, |full_at| Some(full_at.saturating_sub(takes)));
    }
}

/// How long so much takes at this rate; none if that is not limited.
fn duration(count: u64, rate: u64) -> Option<u64> {
    if rate == UNLIMITED {
        return None;
    }
    let takes = u128::from(count) * u128::from(BUCKET_NANOSECONDS) / u128::from(rate.max(1));
    Some(u64::try_from(takes).unwrap_or(u64::MAX))
}
