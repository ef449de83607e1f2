//! How long is waited for somebody who has connected and asks nothing?
//!
//! Whoever connects is a newcomer until the head of their first request has come: nobody knows them, and they cost a socket
//! and some buffers. They have a limited time, and there is room for a limited number; when that is full, whoever has been
//! silent for longest makes room, so that silence keeps nobody else out.
//!
//! # Invariants
//! * Whoever has asked is no newcomer any more, and is never closed for it.
//! * Of one worker there are never more than [`NEWCOMERS_MAX`].
//!
//! Cost: two look-ups for a connection; nothing for a call behind the first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long may pass between the handshake, or the connection where there is none, and the head of the first request.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Newcomers of one worker, those that shake hands included.
const NEWCOMERS_MAX: usize = 1_024;

/// Those of one worker.
#[derive(Debug, Default)]
pub(crate) struct Newcomers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Whoever came first is first.
    leave: BTreeMap<u64, Arc<Notify>>,
}

/// A connection of which nothing was asked yet.
#[derive(Debug)]
pub(crate) struct Newcomer {
    of: Arc<Newcomers>,
    number: u64,
    leave: Arc<Notify>,
    has_asked: AtomicBool,
}

impl Newcomers {
    /// Somebody has connected.
    pub(crate) fn come(self: &Arc<Self>) -> Newcomer {
        let leave = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        if waiting.leave.len() >= NEWCOMERS_MAX
            && let Some((_, longest)) = waiting.leave.pop_first()
        {
            longest.notify_one();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.leave.insert(number, Arc::clone(&leave));
        drop(waiting);
        Newcomer { of: Arc::clone(self), number, leave, has_asked: AtomicBool::new(false) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newcomer {
    /// The head of a request has come.
    pub(crate) fn has_asked(&self) {
        if !self.has_asked.load(Ordering::Relaxed) && !self.has_asked.swap(true, Ordering::Relaxed) {
            self.of.waiting().leave.remove(&self.number);
        }
    }

    /// Waits until somebody else needs the room.
    pub(crate) async fn is_in_the_way(&self) {
        self.leave.notified().await;
        if self.has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it was silent for too long, or somebody else needs the room; without end once it has asked.
    pub(crate) async fn is_silent(&self) {
        tokio::select! {
            () = self.is_in_the_way() => {}
            () = tokio::time::sleep(SILENCE_MAX) => {
                if self.has_asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.has_asked();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    async fn is_silent(newcomer: &Newcomer, within: Duration) -> bool {
        timeout(within, newcomer.is_silent()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_nothing_is_waited_for_for_so_long_and_whoever_does_for_ever() {
        let newcomers = Arc::new(Newcomers::default());
        let (silent, asking) = (newcomers.come(), newcomers.come());
        asking.has_asked();
        assert!(!is_silent(&silent, SILENCE_MAX - MOMENT).await);
        assert!(is_silent(&silent, SILENCE_MAX + MOMENT).await);
        assert!(!is_silent(&asking, 10 * SILENCE_MAX).await);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_room_whoever_was_silent_for_longest_makes_some() {
        let newcomers = Arc::new(Newcomers::default());
        let mut all: Vec<Newcomer> = (0..NEWCOMERS_MAX).map(|_| newcomers.come()).collect();
        all[0].has_asked();
        // There is room for one, and then for none.
        all.push(newcomers.come());
        assert!(!is_silent(&all[1], MOMENT).await);
        all.push(newcomers.come());
        assert!(is_silent(&all[1], MOMENT).await);
        for other in [&all[0], &all[2], &all[NEWCOMERS_MAX + 1]] {
            assert!(!is_silent(other, MOMENT).await);
        }
        assert_eq!(newcomers.waiting().leave.len(), NEWCOMERS_MAX);
        drop(all);
        assert!(newcomers.waiting().leave.is_empty());
    }
}
