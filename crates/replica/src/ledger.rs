//! How much lies stored in each namespace, with all below it, and how much may?
//!
//! A mirror of the tree of namespaces, by their logs. Whoever writes reserves what an entry adds, at its namespace and at
//! all above it, before it is appended, and settles what there really is when the append is over.
//!
//! # Invariants
//! * A sum is what is settled and reserved in a namespace and in all below it, as far as it is known: one that was not
//!   opened since the start counts nothing until it is (`Ledger::uncounted`).
//! * What only takes away is never refused. What grows is refused as soon as a sum would be beyond its limit, and then
//!   nothing is reserved.
//! * What is settled replaces what was counted and reserved before: no mistake outlives the next settling.
//!
//! Cost: one lock for a batch and for each request that grows, held for as many steps as the namespace is deep. Nothing
//! is reserved where nothing is limited.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use idhini_changelog::LogId;

use crate::control::{DEPTH_MAX, NamespacePath, QuotaKind, Quotas};
use crate::namespace::locked;

/// What lies stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Relationships, expired ones until they are swept.
    pub relationships: u64,
    /// Bytes of the log and of images.
    pub disk_bytes: u64,
}

/// More than a quota allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota `{}` of the namespace `{of}` is used up; delete what is not needed, or have the quota raised by who administrates the namespace above", .kind.as_str()
)]
pub struct OverQuota {
    /// Which.
    pub kind: QuotaKind,
    /// Whose.
    pub of: NamespacePath,
}

/// The stored goods of a node's namespaces.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
    /// Namespaces of which something is limited.
    limited: AtomicUsize,
}

/// One namespace's account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    log: LogId,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<LogId, Place>,
}

#[derive(Debug, Default)]
struct Place {
    path: NamespacePath,
    parent: Option<LogId>,
    limits: Quotas,
    /// Whether it is in the tree; what is written before it is placed there is counted all the same.
    is_placed: bool,
    /// Of this namespace alone; none if it was never counted.
    settled: Option<Stored>,
    reserved: Stored,
    /// Of this and all below it.
    sum: Stored,
}

impl Stored {
    fn of(self, kind: QuotaKind) -> u64 {
        match kind {
            QuotaKind::Relationships => self.relationships,
            QuotaKind::Disk => self.disk_bytes,
            _ => 0,
        }
    }

    fn plus(self, other: Stored) -> Stored {
        Stored {
            relationships: self.relationships.saturating_add(other.relationships),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
        }
    }

    fn minus(self, other: Stored) -> Stored {
        Stored {
            relationships: self.relationships.saturating_sub(other.relationships),
            disk_bytes: self.disk_bytes.saturating_sub(other.disk_bytes),
        }
    }
}

impl Place {
    fn own(&self) -> Stored {
        self.settled.unwrap_or_default().plus(self.reserved)
    }

    fn is_limited(&self) -> bool {
        !self.limits.are_none(true)
    }
}

impl State {
    /// Adds and takes away at a namespace and at all above it.
    fn carry(&mut self, log: Option<LogId>, more: Stored, less: Stored) {
        let mut next = log;
        for _ in 0..=DEPTH_MAX {
            let Some(place) = next.and_then(|log| self.places.get_mut(&log)) else { return };
            place.sum = place.sum.plus(more).minus(less);
            next = place.parent;
        }
    }

    /// What stands in the way of more at a namespace and all above it.
    fn over(&self, log: LogId, more: Stored) -> Option<OverQuota> {
        let mut next = Some(log);
        for _ in 0..=DEPTH_MAX {
            let place = next.and_then(|log| self.places.get(&log))?;
            for kind in [QuotaKind::Relationships, QuotaKind::Disk] {
                let would = place.sum.plus(more).of(kind);
                if more.of(kind) > 0 && place.limits.max(kind).is_some_and(|max| would > max) {
                    return Some(OverQuota { kind, of: place.path.clone() });
                }
            }
            next = place.parent;
        }
        None
    }

    fn is_below_limit(&self, log: LogId) -> bool {
        let mut next = Some(log);
        for _ in 0..=DEPTH_MAX {
            let Some(place) = next.and_then(|log| self.places.get(&log)) else { return false };
            if place.is_limited() {
                return true;
            }
            next = place.parent;
        }
        false
    }
}

impl Ledger {
    /// Places a namespace in the tree, below one that is placed, with these limits; or changes its limits.
    pub(crate) fn place(&self, log: LogId, parent: Option<LogId>, path: &NamespacePath, limits: Quotas) {
        let mut state = locked(&self.state);
        let place = state.places.entry(log).or_default();
        let was_limited = place.is_limited();
        (place.path, place.limits) = (path.clone(), limits);
        let is_limited = place.is_limited();
        let is_new = !std::mem::replace(&mut place.is_placed, true);
        if is_new {
            place.parent = parent;
            let own = place.own();
            state.carry(parent, own, Stored::default());
        }
        drop(state);
        match (was_limited, is_limited) {
            (false, true) => drop(self.limited.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.limited.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Takes a namespace out of the tree, with what it has.
    pub(crate) fn remove(&self, log: LogId) {
        let mut state = locked(&self.state);
        let Some(place) = state.places.remove(&log) else { return };
        if place.is_limited() {
            self.limited.fetch_sub(1, Ordering::Relaxed);
        }
        state.carry(place.parent, Stored::default(), place.own());
    }

    /// Takes the whole tree down; what was counted stays counted.
    pub(crate) fn clear(&self) {
        let mut state = locked(&self.state);
        state.places.retain(|_, place| place.settled.is_some());
        for place in state.places.values_mut() {
            let own = place.own();
            *place = Place { settled: place.settled, reserved: place.reserved, sum: own, ..Place::default() };
        }
        self.limited.store(0, Ordering::Relaxed);
    }

    pub(crate) fn account(self: &Arc<Ledger>, log: LogId) -> Account {
        Account { ledger: Arc::clone(self), log }
    }

    /// What lies in a namespace and below it, as far as it is known.
    #[must_use]
    pub fn stored(&self, log: LogId) -> Stored {
        locked(&self.state).places.get(&log).map(|place| place.sum).unwrap_or_default()
    }

    /// Namespaces that were not counted since the start although something above them is limited; at most so many.
    #[must_use]
    pub fn uncounted(&self, count_max: usize) -> Vec<LogId> {
        if self.limited.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let state = locked(&self.state);
        let uncounted = state.places.iter().filter(|(_, place)| place.settled.is_none() && place.is_placed);
        let limited = uncounted.filter(|(log, _)| state.is_below_limit(**log));
        limited.map(|(log, _)| *log).take(count_max).collect()
    }
}

impl Account {
    /// Whether something is limited here or above: without that nothing needs to be reserved.
    pub(crate) fn is_limited(&self) -> bool {
        self.ledger.limited.load(Ordering::Relaxed) > 0 && locked(&self.ledger.state).is_below_limit(self.log)
    }

    /// Reserves what an entry adds.
    pub(crate) fn reserve(&self, more: Stored) -> Result<(), OverQuota> {
        if self.ledger.limited.load(Ordering::Relaxed) == 0 || more == Stored::default() {
            return Ok(());
        }
        let mut state = locked(&self.ledger.state);
        if let Some(over) = state.over(self.log, more) {
            return Err(over);
        }
        state.places.entry(self.log).or_default();
        state.carry(Some(self.log), more, Stored::default());
        if let Some(place) = state.places.get_mut(&self.log) {
            place.reserved = place.reserved.plus(more);
        }
        Ok(())
    }

    /// Says what there is, as far as each is given: nothing is reserved any more.
    pub(crate) fn settle(&self, relationships: u64, disk: Disk) {
        let mut state = locked(&self.ledger.state);
        let place = state.places.entry(self.log).or_default();
        let before = place.own();
        let disk_before = place.settled.unwrap_or_default().disk_bytes;
        let disk_bytes = match disk {
            Disk::Counted(bytes) => bytes,
            Disk::Grown(bytes) => disk_before.saturating_add(bytes),
        };
        place.settled = Some(Stored { relationships, disk_bytes });
        place.reserved = Stored::default();
        let after = place.own();
        state.carry(Some(self.log), after, before);
    }
}

/// What is known of the bytes on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Disk {
    Counted(u64),
    /// So much was appended since.
    Grown(u64),
}

#[cfg(test)]
mod tests;
