//! The disk in the middle of each change of a run that goes on: every power cut of a run for the price of one run.

use std::fmt;

use super::FaultDisk;
use super::state::State;
use crate::rng::Rng;

/// The disk in the middle of one change.
#[derive(Clone)]
pub struct Fork {
    /// Which change, counted from 1.
    pub change: u64,
    before: State,
    /// With the change under way, in several ways.
    during: Vec<State>,
}

/// Forks being kept.
pub(super) struct Forks {
    ways: u64,
    is_wanted: Box<dyn Fn(u64) -> bool + Send>,
    kept: Vec<Fork>,
}

impl Fork {
    /// What is there when the power went during the change and is back.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> FaultDisk {
        let way = Rng::new(!seed).below(self.during.len());
        let state = self.during.get(way).unwrap_or(&self.before);
        FaultDisk::with(state.after_power_cut(&mut Rng::new(seed)), seed ^ 0xD15C)
    }

    /// What the next process finds when this one is killed just before the change.
    #[must_use]
    pub fn after_kill(&self, seed: u64) -> FaultDisk {
        FaultDisk::with(self.before.clone(), seed)
    }
}

impl fmt::Debug for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fork").field("change", &self.change).finish_non_exhaustive()
    }
}

impl Forks {
    pub(super) fn new(ways: u64, is_wanted: impl Fn(u64) -> bool + Send + 'static) -> Forks {
        Forks { ways, is_wanted: Box::new(is_wanted), kept: Vec::new() }
    }

    pub(super) fn keep(&mut self, change: u64, before: &State, interrupt: &impl Fn(&mut State, &mut Rng)) {
        if !(self.is_wanted)(change) {
            return;
        }
        let during = (0..self.ways).map(|way| {
            let mut state = before.clone();
            interrupt(&mut state, &mut Rng::new(change.wrapping_mul(1_000_003) ^ way));
            state
        });
        let during = during.collect();
        self.kept.push(Fork { change, before: before.clone(), during });
    }

    pub(super) fn take(&mut self) -> Vec<Fork> {
        std::mem::take(&mut self.kept)
    }
}
