//! How often may the key of a lock be guessed? Five times, then once a minute.
//!
//! # Invariants
//! * A guess is counted before it is judged, so that guesses at the same time are not more.
//! * What is not a wrong guess does not count.
//!
//! Cost: one entry for each namespace whose key was guessed wrongly of late, at most [`NAMESPACES_MAX`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use idhini_model::Timestamp;
use idhini_replica::control::NamespaceId;

/// Wrong guesses that are judged at once.
const GUESSES: i64 = 5;
/// How long it takes until one more is judged, in seconds.
const PAUSE_SECONDS: i64 = 60;
/// Namespaces of which guesses are counted; of others none are judged as long as there are so many.
const NAMESPACES_MAX: usize = 10_000;

/// The guesses of late.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    /// The moment, in seconds, at which all of a namespace's guesses are given back.
    free_at: Mutex<HashMap<NamespaceId, i64>>,
}

impl Guesses {
    /// Counts a guess; or says in how many seconds the next one is judged.
    pub(super) fn take(&self, id: &NamespaceId, now: Timestamp) -> Result<(), i64> {
        let now = now.seconds();
        let mut all = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= NAMESPACES_MAX && !all.contains_key(id) {
            all.retain(|_, free_at| *free_at > now);
            if all.len() >= NAMESPACES_MAX {
                return Err(PAUSE_SECONDS);
            }
        }
        let free_at = all.get(id).copied().unwrap_or(now).max(now) + PAUSE_SECONDS;
        let wait = free_at - now - GUESSES * PAUSE_SECONDS;
        if wait > 0 {
            return Err(wait);
        }
        all.insert(id.clone(), free_at);
        Ok(())
    }

    /// It was not a wrong guess.
    pub(super) fn give_back(&self, id: &NamespaceId) {
        let mut all = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free_at) = all.get_mut(id) {
            *free_at -= PAUSE_SECONDS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_guesses_there_is_one_a_minute_for_each_namespace() {
        let (guesses, at) = (Guesses::default(), Timestamp::from_seconds);
        let (one, other) = (NamespaceId("one".to_owned()), NamespaceId("other".to_owned()));
        for _ in 0..GUESSES {
            assert_eq!(guesses.take(&one, at(1_000)), Ok(()));
        }
        assert_eq!(guesses.take(&one, at(1_000)), Err(60));
        assert_eq!(guesses.take(&one, at(1_059)), Err(1));
        assert_eq!(guesses.take(&other, at(1_059)), Ok(()));
        assert_eq!(guesses.take(&one, at(1_060)), Ok(()));
        assert_eq!(guesses.take(&one, at(1_060)), Err(60));
        guesses.give_back(&one);
        assert_eq!(guesses.take(&one, at(1_060)), Ok(()));
        // After a pause that is long enough all are there again, and no more than all.
        for _ in 0..GUESSES {
            assert_eq!(guesses.take(&one, at(9_000)), Ok(()));
        }
        assert_eq!(guesses.take(&one, at(9_000)), Err(60));
    }

    #[test]
    fn no_more_than_so_many_namespaces_are_counted() {
        let (guesses, at) = (Guesses::default(), Timestamp::from_seconds);
        let id = |n: usize| NamespaceId(n.to_string());
        for n in 0..NAMESPACES_MAX {
            assert_eq!(guesses.take(&id(n), at(0)), Ok(()));
        }
        assert_eq!(guesses.take(&id(NAMESPACES_MAX), at(59)), Err(60));
        assert_eq!(guesses.take(&id(0), at(59)), Ok(()));
        assert_eq!(guesses.take(&id(NAMESPACES_MAX), at(60)), Ok(()));
        assert_eq!(guesses.free_at.lock().unwrap().len(), 2);
    }
}
