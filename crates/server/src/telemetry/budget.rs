//! How many lines may calls cause? Whoever calls a server that is ill must not fill its disk with lines.
//!
//! Cost: one exchange of a number for each line wanted.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// Lines of one second.
const LINES_MAX: u64 = 10;
/// Bits that hold their count.
const COUNT_BITS: u32 = 16;

/// Lines that may still be written.
#[derive(Debug)]
pub(super) struct LineBudget {
    origin: Instant,
    /// A second since the origin, and lines written in it.
    state: AtomicU64,
    untold: AtomicU64,
}

impl LineBudget {
    pub(super) fn new() -> LineBudget {
        LineBudget { origin: Instant::now(), state: AtomicU64::new(0), untold: AtomicU64::new(0) }
    }

    /// Whether another line may be written; if so, also how many were not since the last one.
    pub(super) fn take(&self) -> Option<u64> {
        self.take_at(self.origin.elapsed().as_secs())
    }

    fn take_at(&self, second: u64) -> Option<u64> {
        let taken = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            match (state >> COUNT_BITS == second, state & ((1 << COUNT_BITS) - 1)) {
                (true, count) if count >= LINES_MAX => None,
                (true, _) => Some(state + 1),
                (false, _) => Some((second << COUNT_BITS) + 1),
            }
        });
        match taken {
            Ok(_) => Some(self.untold.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.untold.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, LineBudget};

    #[test]
    fn each_second_has_its_lines_and_the_next_one_tells_how_many_were_left_out() {
        let budget = LineBudget::new();
        for second in [0, 1] {
            assert_eq!(budget.take_at(second), Some(if second == 0 { 0 } else { 2 }));
            for _ in 1..LINES_MAX {
                assert_eq!(budget.take_at(second), Some(0));
            }
            assert_eq!((budget.take_at(second), budget.take_at(second)), (None, None));
        }
    }
}
