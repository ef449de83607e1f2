//! When was a token used last?
//!
//! A use is noted in memory, and what was used since is written once a minute, in few entries, by whoever has a clock. A use
//! that was noted in the same minute before costs two loads.
//!
//! # Invariants
//! * A use makes no new version of the view: nobody is let in or refused by it.
//! * What is told is at most about a minute behind, also after a restart.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use idhini_model::{Change, Timestamp};

use super::record::Accessor;
use super::{Control, ControlChange, ControlPlane};
use crate::namespace::locked;
use crate::{Clock, ReplicaError, Wanted};

/// Tokens whose uses are one entry.
const TOKENS_MAX: usize = 1_000;
/// Tokens that have ended whose remains are taken away by one entry.
const SWEPT_MAX: usize = 50;

/// What was used since it was written last.
#[derive(Default)]
pub(super) struct Uses {
    /// Which minute it is; a mark that has this number is noted already. The first is 0.
    round: AtomicU64,
    noted: Mutex<HashMap<Accessor, Timestamp>>,
}

/// Notes the uses of one token; kept by whoever lets its calls in.
pub struct UseMark {
    accessor: Accessor,
    /// One more than the round in which it was noted last.
    noted_in: AtomicU64,
    uses: Arc<Uses>,
    clock: Clock,
}

impl std::fmt::Debug for UseMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("UseMark").field(&self.accessor).finish()
    }
}

impl UseMark {
    /// The token was used.
    pub fn used(&self) {
        let now = self.uses.round.load(Ordering::Relaxed) + 1;
        if self.noted_in.load(Ordering::Relaxed) != now && self.noted_in.swap(now, Ordering::Relaxed) != now {
            self.uses.note(&self.accessor, (self.clock)());
        }
    }
}

impl Uses {
    fn note(&self, accessor: &Accessor, at: Timestamp) {
        let mut noted = locked(&self.noted);
        match noted.get_mut(accessor) {
            Some(noted) => *noted = at,
            None => drop(noted.insert(accessor.clone(), at)),
        }
    }
}

impl ControlPlane {
    /// What notes the uses of a token.
    #[must_use]
    pub fn use_mark(&self, accessor: &Accessor) -> UseMark {
        let (accessor, uses) = (accessor.clone(), Arc::clone(&self.uses));
        UseMark { accessor, noted_in: AtomicU64::new(0), uses, clock: self.sys.clock() }
    }

    /// The token was used: for whoever has no [`UseMark`]. One look-up under a lock.
    pub fn used(&self, accessor: &Accessor) {
        self.uses.note(accessor, self.now());
    }

    /// When a token was used last, if that is not written yet.
    #[must_use]
    pub fn noted(&self, accessor: &Accessor) -> Option<Timestamp> {
        locked(&self.uses.noted).get(accessor).copied()
    }

    /// When a token was used last.
    #[must_use]
    pub fn used_at(&self, accessor: &Accessor) -> Option<Timestamp> {
        self.noted(accessor).or_else(|| self.look(|view| view.used_at(accessor)).ok().flatten())
    }

    /// Writes which tokens were used since it was done last. To be called once a minute, and when the server stops.
    ///
    /// # Errors
    /// As [`ControlPlane::change`]; then they are written the next time.
    pub async fn record_uses(&self) -> Result<(), ReplicaError> {
        let noted: Vec<_> = locked(&self.uses.noted).iter().map(|(token, at)| (token.clone(), *at)).collect();
        self.uses.round.fetch_add(1, Ordering::Relaxed);
        for batch in noted.chunks(TOKENS_MAX) {
            let change = ControlChange::Used { tokens: batch.to_vec() };
            self.change(Control { by: None, change }, Wanted::always()).await?;
            // What was used again meanwhile is written again.
            let mut left = locked(&self.uses.noted);
            for (token, at) in batch {
                if left.get(token) == Some(at) {
                    left.remove(token);
                }
            }
        }
        Ok(())
    }

    /// Takes away what tokens left that have ended: what was granted to them, above all. To be called from time to time.
    ///
    /// # Errors
    /// As [`ControlPlane::change`]; then it is done the next time.
    pub async fn sweep_tokens(&self) -> Result<(), ReplicaError> {
        loop {
            let tokens = self.look_again(|view| view.take_gone(SWEPT_MAX))?;
            if tokens.is_empty() {
                return Ok(());
            }
            let change = ControlChange::Sweep { tokens: tokens.clone() };
            if let Err(error) = self.change(Control { by: None, change }, Wanted::always()).await {
                // A view that is read anew finds them by itself.
                let _ = self.look_again(|view| view.put_back_gone(tokens));
                return Err(error);
            }
        }
    }
}

/// Whether a change only says when a token was used.
pub(super) fn is_use(change: &Change) -> bool {
    let relationship = change.relationship();
    relationship.resource.object_type == "token" && relationship.relation == "used"
}
