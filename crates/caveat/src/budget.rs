//! What may an evaluation still spend?
//!
//! # Invariants
//! * A budget only falls, on errors too. Once it is used up, evaluation ends at once.

/// What evaluation may still spend; falls, never rises.
///
/// A step is about one operation of the expression; operations on text, lists and maps cost more steps the longer
/// these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Evaluation steps.
    pub steps: u64,
    /// Bytes of values built.
    pub bytes: u64,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Bytes that are read or compared for the price of one step.
const BYTES_PER_STEP: usize = 32;

/// Enough for every caveat that a person writes: a million steps take some tens of milliseconds.
impl Default for Budget {
    fn default() -> Budget {
        Budget { steps: 1_000_000, bytes: 16 << 20 }
    }
}

impl Budget {
    /// Takes `steps`.
    pub(crate) fn spend(&mut self, steps: u64) -> Result<(), Exhausted> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Exhausted)
    }

    /// Takes the price of reading so many bytes.
    pub(crate) fn read(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.spend((bytes / BYTES_PER_STEP) as u64)
    }

    /// Takes the price of building a value of so many bytes.
    pub(crate) fn build(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let left = self.bytes.checked_sub(bytes as u64);
        self.bytes = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Exhausted)?;
        self.read(bytes)
    }
}
