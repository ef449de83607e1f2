//! What can an operator see of a running namespace?
//!
//! Numbers only: no name, id or context of a relationship is among them.
//!
//! # Invariants
//! * [`ReplicaError::for_log`] and its kin tell causes without what stands in relationships.
//!
//! Cost: reading them takes a look under a short lock; counting costs the writer two additions a batch.

use std::error::Error;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use idhini_changelog::LogError;
use idhini_model::Revision;

use crate::namespace::locked;
use crate::{FollowError, MaintainError, Namespace, ReplicaError};

/// Bounds of the sizes of batches that are told apart, in requests; a last class holds what is above.
pub const BATCH_BOUNDS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// How many requests shared an append, counted since the namespace was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batches {
    /// Batches of each class of [`BATCH_BOUNDS`], and of more.
    pub counts: [u64; BATCH_BOUNDS.len() + 1],
    /// Requests of all.
    pub requests: u64,
}

/// The same, being counted by the one writer.
#[derive(Debug, Default)]
pub(crate) struct BatchTally {
    counts: [AtomicU64; BATCH_BOUNDS.len() + 1],
    requests: AtomicU64,
}

impl BatchTally {
    pub(crate) fn count(&self, requests: usize) {
        let requests = requests as u64;
        let class = BATCH_BOUNDS.partition_point(|bound| *bound < requests);
        if let Some(count) = self.counts.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }

    fn read(&self) -> Batches {
        Batches {
            counts: std::array::from_fn(|at| {
                self.counts.get(at).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}

impl Namespace {
    /// How many requests shared an append.
    #[must_use]
    pub fn batches(&self) -> Batches {
        self.batch_tally.read()
    }

    /// Writes that are not answered yet: how many wait for the writer, and about the bytes of all.
    #[must_use]
    pub fn waiting(&self) -> (usize, u64) {
        locked(&self.queue).waiting()
    }

    /// Revisions that are kept in memory beside the newest, and the bytes of all of them.
    #[must_use]
    pub fn kept(&self) -> (usize, u64) {
        self.history.read().unwrap_or_else(PoisonError::into_inner).beside_newest()
    }

    /// About the bytes of revisions that were rebuilt for questions about the past.
    #[must_use]
    pub fn rebuilt_bytes(&self) -> u64 {
        self.rebuilt.memory_bytes()
    }

    /// Where the log ends.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn log_head(&self) -> Result<Revision, LogError> {
        Ok(self.log.head().await?.revision)
    }
}

impl ReplicaError {
    /// What went wrong below the namespace, for the operator: without what stands in relationships. `None` if it is the
    /// request that is at fault.
    #[must_use]
    pub fn for_log(&self) -> Option<String> {
        Some(match self {
            ReplicaError::LogUnavailable(source) | ReplicaError::OutcomeUnknown(source) => chain(&**source),
            ReplicaError::NotAppended(source) => chain(&**source),
            ReplicaError::LogUnreadable(source) | ReplicaError::PastUnreadable(source) => source.for_log(),
            ReplicaError::WriterGone => "the writer stopped in the middle of a write".to_owned(),
            ReplicaError::Apply(_) => {
                "the graph does not take the entry that was judged against it".to_owned()
            }
            ReplicaError::NotYet { .. } => self.to_string(),
            _ => return None,
        })
    }
}

impl FollowError {
    /// For the operator: without what stands in relationships.
    #[must_use]
    pub fn for_log(&self) -> String {
        match self {
            FollowError::DoesNotApply { revision, .. } => {
                format!("the entry at revision {revision} does not fit what is before it")
            }
            other => chain(other),
        }
    }
}

impl MaintainError {
    /// For the operator: without what stands in relationships.
    #[must_use]
    pub fn for_log(&self) -> String {
        match self {
            MaintainError::Sweep(error) => {
                let cause = error.for_log().unwrap_or_else(|| "the request was refused".to_owned());
                format!("expired relationships were not swept: {cause}")
            }
            MaintainError::Trim(error) => format!("the log was not trimmed: {}", error.for_log()),
            MaintainError::Image(error) => format!("the image was not written: {}", chain(error)),
        }
    }
}

/// An error and what it came from, as far as each says more than the one above it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        let said = below.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = below.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use idhini_graph::ApplyError;
    use idhini_model::Revision;

    use super::{BatchTally, Batches};
    use crate::{FollowError, MaintainError, ReplicaError};

    #[test]
    fn batches_are_counted_in_the_class_that_they_fit() {
        let tally = BatchTally::default();
        for requests in [1, 2, 3, 1_000, 1_001] {
            tally.count(requests);
        }
        let counts = [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1];
        assert_eq!(tally.read(), Batches { counts, requests: 2_007 });
    }

    #[test]
    fn what_is_logged_of_an_error_tells_no_relationship() {
        let relationship: idhini_model::Relationship = "document:secret#viewer@user:ann".parse().unwrap();
        let apply = || ApplyError::Absent { relationship: Box::new(relationship.clone()) };
        let follow = || FollowError::DoesNotApply { revision: Revision(7), source: apply() };
        let told = [
            ReplicaError::Apply(apply()).for_log().unwrap(),
            ReplicaError::LogUnreadable(Arc::new(follow())).for_log().unwrap(),
            MaintainError::Trim(follow()).for_log(),
            MaintainError::Sweep(ReplicaError::Apply(apply())).for_log(),
        ];
        assert!(told.iter().all(|text| !text.contains("secret")), "{told:?}");
        assert!(told[1].contains("revision 7"), "{told:?}");
        let full = ReplicaError::LogUnavailable(Arc::new(io::Error::other("no space left")));
        assert_eq!(full.for_log().as_deref(), Some("no space left"));
        assert_eq!(ReplicaError::NoSchema.for_log(), None);
    }
}
