//! What did the page before find out? A lookup searches everything before its first answer, and each page after that
//! needs no more of the search than which objects it reached; that is kept for whoever asks for the next page.
//!
//! # Invariants
//! * What is kept is of one question, one revision and one instant: a page answers the same with it and without it.
//! * At most [`SEARCHES_MAX`] are kept, of [`BYTES_MAX`] bytes together; the one used longest ago goes first.
//!
//! Cost: one lock for a page that a limit ends and for a page with a cursor, none for others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use idhini_engine::{NamedSubjects, ReachedResources};
use idhini_model::{Revision, Timestamp};

use crate::seal::QuestionDigest;

/// Searches kept of one namespace.
const SEARCHES_MAX: usize = 256;
/// What they may take together.
const BYTES_MAX: usize = 32 << 20;

/// A question at a revision and an instant.
pub(crate) type Key = (QuestionDigest, Revision, Timestamp);

/// What a search found.
#[derive(Debug, Clone)]
pub(crate) enum Search {
    Resources(ReachedResources),
    Subjects(NamedSubjects),
}

/// What searches found, by question.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    kept: Mutex<Kept<Search>>,
    /// What those of all namespaces take, for whoever looks.
    all_bytes: Arc<AtomicU64>,
}

impl Drop for Searches {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.all_bytes.fetch_sub(kept.bytes as u64, Ordering::Relaxed);
    }
}

impl Searches {
    /// None yet; what they will take is added to `all_bytes`.
    pub(crate) fn new(all_bytes: Arc<AtomicU64>) -> Searches {
        Searches { kept: Mutex::default(), all_bytes }
    }

    /// Keeps what a page has found out for the next one.
    pub(crate) fn keep(&self, key: Key, search: Search) {
        let bytes = match &search {
            Search::Resources(reached) => reached.bytes(),
            Search::Subjects(named) => named.bytes(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.bytes as u64;
        kept.keep(key, search, bytes);
        // Added first: the sum is never below what it was.
        self.all_bytes.fetch_add(kept.bytes as u64, Ordering::Relaxed);
        self.all_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// What the page before has found out, if it is still kept.
    pub(crate) fn find(&self, key: &Key) -> Option<Search> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).find(key)
    }
}

#[derive(Debug)]
struct Kept<T> {
    /// Each with what it takes and the turn in which it was used last.
    searches: HashMap<Key, (T, usize, u64)>,
    bytes: usize,
    turn: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept { searches: HashMap::new(), bytes: 0, turn: 0 }
    }
}

impl<T: Clone> Kept<T> {
    fn keep(&mut self, key: Key, search: T, bytes: usize) {
        if bytes > BYTES_MAX {
            return;
        }
        self.turn += 1;
        if let Some((_, before, _)) = self.searches.insert(key, (search, bytes, self.turn)) {
            self.bytes -= before;
        }
        self.bytes += bytes;
        while self.bytes > BYTES_MAX || self.searches.len() > SEARCHES_MAX {
            let oldest = self.searches.iter().min_by_key(|(_, (_, _, used))| *used).map(|(key, _)| *key);
            let Some((_, bytes, _)) = oldest.and_then(|oldest| self.searches.remove(&oldest)) else { return };
            self.bytes -= bytes;
        }
    }

    fn find(&mut self, key: &Key) -> Option<T> {
        self.turn += 1;
        let (search, _, used) = self.searches.get_mut(key)?;
        *used = self.turn;
        Some(search.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(question: &str, revision: u64, seconds: i64) -> Key {
        let question = QuestionDigest::of("LookupResources", question.as_bytes());
        (question, Revision(revision), Timestamp::from_seconds(seconds))
    }

    #[test]
    fn a_search_is_found_by_its_question_revision_and_instant_only() {
        let mut kept = Kept::default();
        kept.keep(key("a", 1, 1), "found", 8);
        assert_eq!(kept.find(&key("a", 1, 1)), Some("found"));
        for other in [key("b", 1, 1), key("a", 2, 1), key("a", 1, 2)] {
            assert_eq!(kept.find(&other), None);
        }
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut kept = Kept::default();
        for revision in 0..SEARCHES_MAX as u64 {
            kept.keep(key("a", revision, 0), revision, 8);
        }
        assert_eq!(kept.find(&key("a", 0, 0)), Some(0));
        kept.keep(key("a", 1_000, 0), 1_000, 8);
        let is_kept = |kept: &mut Kept<u64>, revision| kept.find(&key("a", revision, 0)).is_some();
        assert!(is_kept(&mut kept, 0) && !is_kept(&mut kept, 1) && is_kept(&mut kept, 2));
        // By bytes as well; what is kept anew counts once, and what is too large for all of it is not kept.
        for _ in 0..3 {
            kept.keep(key("b", 1, 0), 1, BYTES_MAX / 2);
        }
        assert!(kept.bytes <= BYTES_MAX && is_kept(&mut kept, 0));
        kept.keep(key("c", 1, 0), 1, BYTES_MAX);
        assert_eq!((kept.bytes, kept.searches.len()), (BYTES_MAX, 1));
        kept.keep(key("d", 1, 0), 1, BYTES_MAX + 1);
        assert_eq!(kept.searches.len(), 1);
    }
}
