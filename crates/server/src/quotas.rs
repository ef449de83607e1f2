//! How much may be asked? Meters of namespaces and of callers, that every call of theirs runs through.
//!
//! A namespace whose metadata limits something has a meter, and so has each of its callers, if those are limited. A call
//! runs through the meters of its namespace and of all above it, so that a child's calls use up what its parents may.
//! Which meters these are is found when a pass is made (`admission.rs`), and kept with it.
//!
//! # Invariants
//! * A call counts at all of its meters or, refused, at none.
//! * What was counted as under way is so until the call has ended, however that comes about.
//! * A meter that is at rest and that nobody holds may go: one that is made anew says the same.
//!
//! Cost: nothing for a call without quotas; one atomic operation for each limit that a call runs through.

mod denials;
mod meter;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idhini_model::SubjectRef;
use idhini_replica::control::{NamespaceId, NamespacePath, QuotaKind, QuotaOf, Quotas, View};
use tokio::time::Instant;

pub(crate) use self::denials::Denials;
use self::meter::Meter;

/// How a call is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Among those under way.
    Call,
    /// Among the watches.
    Watch,
    /// By the rate of its caller alone: what ends a misuse is done also while all else is used up.
    Urgent,
}

/// All meters of a process.
#[derive(Debug)]
pub(crate) struct Meters {
    meters: Mutex<HashMap<Key, Arc<Meter>>>,
    /// Of whoever is refused.
    pub(crate) denials: Denials,
    /// From when meters count nanoseconds.
    began: Instant,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: NamespaceId,
    /// Of one caller, otherwise of all.
    caller: Option<SubjectRef>,
}

/// What limits a call: its namespace and those above it, of which something is limited.
#[derive(Debug, Default)]
pub(crate) struct Limits(Vec<Limit>);

#[derive(Debug)]
struct Limit {
    namespace: NamespaceId,
    path: NamespacePath,
    whose: QuotaOf,
    quotas: Quotas,
}

/// The meters of a call, from the nearest to those of `root`.
#[derive(Debug)]
pub(crate) struct Line {
    meters: Box<[Arc<Meter>]>,
    began: Instant,
}

/// A call that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    line: Arc<Line>,
    counts: Counts,
    /// Charged for portions of an evaluation that is not over.
    prepaid: AtomicU64,
}

/// More than a quota allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) kind: QuotaKind,
    pub(crate) whose: QuotaOf,
    pub(crate) of: NamespacePath,
    /// When it may be tried again.
    pub(crate) wait: Duration,
}

impl Default for Meters {
    fn default() -> Meters {
        Meters { meters: Mutex::default(), denials: Denials::default(), began: Instant::now() }
    }
}

impl Limits {
    /// Of what a call about this path runs through.
    pub(crate) fn of(view: &View, path: &NamespacePath) -> Limits {
        let mut limits = Vec::new();
        for (id, record) in view.line(path) {
            let all = [(QuotaOf::Caller, record.caller_quotas()), (QuotaOf::Namespace, record.quotas())];
            for (whose, quotas) in all.into_iter().filter(|(_, quotas)| !quotas.are_none(false)) {
                limits.push(Limit { namespace: id.clone(), path: record.path.clone(), whose, quotas });
            }
        }
        Limits(limits)
    }
}

impl Meters {
    /// The meters for a caller's calls, as the control plane has them at this version; none if nothing is limited.
    pub(crate) fn line(&self, limits: Limits, caller: &SubjectRef, version: u64) -> Option<Arc<Line>> {
        if limits.0.is_empty() {
            return None;
        }
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let of_line = limits.0.into_iter().map(|Limit { namespace, path, whose, quotas }| {
            let caller = (whose == QuotaOf::Caller).then(|| caller.clone());
            let made = || Arc::new(Meter::new(whose, path));
            let meter = meters.entry(Key { namespace, caller }).or_insert_with(made);
            meter.limit(quotas, version);
            Arc::clone(meter)
        });
        Some(Arc::new(Line { meters: of_line.collect(), began: self.began }))
    }

    /// Lets go of meters that nobody runs through and that are at rest.
    pub(crate) fn tidy(&self) {
        let at = Instant::now();
        self.denials.tidy(at);
        let now = nanoseconds(self.began, at);
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_at_rest(now));
    }
}

impl Line {
    /// Counts a call that begins, or says what is used up.
    pub(crate) fn begin(self: &Arc<Self>, counts: Counts, at: Instant) -> Result<Held, Over> {
        let now = nanoseconds(self.began, at);
        for (entered, meter) in self.counting(counts).enumerate() {
            if let Err(over) = meter.enter(counts, now) {
                self.counting(counts).take(entered).for_each(|meter| meter.give_back(counts));
                return Err(over);
            }
        }
        Ok(Held { line: Arc::clone(self), counts, prepaid: AtomicU64::new(0) })
    }

    /// Those that a call runs through.
    fn counting(&self, counts: Counts) -> impl Iterator<Item = &Arc<Meter>> {
        self.meters.iter().filter(move |meter| counts != Counts::Urgent || meter.is_of_caller())
    }

    fn charge(&self, edges: u64) {
        if edges > 0 && self.meters.iter().any(|meter| meter.is_limiting(QuotaKind::Cost)) {
            let now = nanoseconds(self.began, Instant::now());
            self.meters.iter().for_each(|meter| meter.charge(edges, now));
        }
    }
}

impl Held {
    /// Charges what was visited, as far as it was not charged before.
    pub(crate) fn charge(&self, edges: u64) {
        let mut paid = 0;
        let _ = self.prepaid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |prepaid| {
            paid = prepaid.min(edges);
            (paid > 0).then(|| prepaid - paid)
        });
        self.line.charge(edges - paid);
    }

    /// Charges a portion of an evaluation whose cost is charged when it is over.
    pub(crate) fn prepay(&self, edges: u64) {
        self.prepaid.fetch_add(edges, Ordering::Relaxed);
        self.line.charge(edges);
    }

    /// How long to wait until what was charged is paid; none if nothing is owed.
    pub(crate) fn owed(&self) -> Option<Duration> {
        let limiting = self.line.meters.iter().filter(|meter| meter.is_limiting(QuotaKind::Cost));
        let owed = limiting.map(|meter| meter.owed(nanoseconds(self.line.began, Instant::now()))).max()?;
        (owed > 0).then(|| Duration::from_nanos(owed))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.line.counting(self.counts).for_each(|meter| meter.leave(self.counts));
    }
}

fn nanoseconds(began: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(began).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
