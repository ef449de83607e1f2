//! Which revisions are at hand, and how does one get at the others?
//!
//! The last roots are kept in memory, as many as fit into the bytes that [`Options`] allows: those that a batch of the
//! writer ended with, since a root for each of its entries would cost more than the entries themselves. Any other revision
//! is rebuilt.
//!
//! What a kept root takes is what the root after it does not share, counted when that one is published. Roots are dropped
//! oldest first, and what two roots share all between them share too, so this is what dropping it gives back, and the sum
//! is what all take beside the newest.
//!
//! # Invariants
//! * Kept revisions increase, oldest first, and the newest is always among them, whatever it takes: whatever a reader has
//!   pinned was kept, and pinning it keeps it whether it still is or not.
//!
//! Cost: pinning a kept revision is a shared lock and a reference count; counting one walks what its batch has copied.

use std::collections::VecDeque;
use std::sync::Arc;

use idhini_changelog::{Head, LogError};
use idhini_model::{Logged, Revision, Timestamp};

use crate::images::ImageFacts;
use crate::{FollowError, Namespace, Options, Published, ReplicaError};

/// A revision in memory, and the bytes that it holds and the one after it does not share; none of the newest.
pub(crate) type Kept = (Arc<Published>, u64);

/// Revisions in memory.
pub(crate) struct History {
    kept: VecDeque<Kept>,
    pub(crate) newest: Arc<Published>,
    /// When the newest one's entry was written.
    pub(crate) written_at: Timestamp,
    /// What all but the newest take.
    bytes: u64,
}

impl History {
    pub(crate) fn new(newest: Arc<Published>, written_at: Timestamp) -> History {
        History { kept: VecDeque::from([(Arc::clone(&newest), 0)]), newest, written_at, bytes: 0 }
    }

    /// Takes a later revision in, whose predecessor holds so many bytes that it does not share; returns what is no longer
    /// kept, to be freed where nobody waits.
    pub(crate) fn push(
        &mut self,
        (newest, written_at): (Arc<Published>, Timestamp),
        beyond_bytes: u64,
        options: &Options,
    ) -> Vec<Kept> {
        self.newest = Arc::clone(&newest);
        self.written_at = written_at;
        if let Some((_, bytes)) = self.kept.back_mut() {
            *bytes = beyond_bytes;
            self.bytes += beyond_bytes;
        }
        self.kept.push_back((newest, 0));
        let mut dropped = Vec::new();
        while self.bytes > options.kept_bytes_max
            && self.kept.len() > 1
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.1;
            dropped.push(oldest);
        }
        dropped
    }

    /// Revisions that are kept beside the newest, and the bytes of all of them.
    pub(crate) fn beside_newest(&self) -> (usize, u64) {
        (self.kept.len() - 1, self.bytes)
    }

    /// The last kept revision before this one.
    pub(crate) fn before(&self, asked: Revision) -> Option<&Arc<Published>> {
        let at = self.kept.partition_point(|(published, _)| published.revision() < asked);
        self.kept.get(at.checked_sub(1)?).map(|(published, _)| published)
    }

    /// This revision or else the first kept one after it; `None` if it is beyond the newest.
    pub(crate) fn from(&self, asked: Revision) -> Option<&Arc<Published>> {
        let at = self.kept.partition_point(|(published, _)| published.revision() < asked);
        self.kept.get(at).map(|(published, _)| published)
    }
}

impl Namespace {
    /// The revision that was the newest at this moment, to be read.
    ///
    /// # Errors
    /// [`ReplicaError::BeforeHistory`], and as [`Namespace::at`].
    pub async fn at_moment(self: &Arc<Self>, asked: Timestamp) -> Result<Arc<Published>, ReplicaError> {
        self.at(self.newest_at(asked).await?).await
    }

    /// Which revision was the newest at this moment? Of a moment that has passed the answer is always the same: it waits for
    /// a batch that is on its way to the log, whose entries may be of that moment.
    ///
    /// # Errors
    /// [`ReplicaError::BeforeHistory`], [`ReplicaError::PastUnreadable`].
    pub async fn newest_at(&self, asked: Timestamp) -> Result<Revision, ReplicaError> {
        let unreadable = |error: FollowError| ReplicaError::PastUnreadable(Arc::new(error));
        if asked >= self.head_and_moment().1 {
            // Whoever writes after this reads the clock after this.
            drop(self.turning.lock().await);
        }
        loop {
            let log_head = self.log.head().await.map_err(|error| unreadable(error.into()))?;
            match self.revision_at(asked, log_head).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(oldest)) => return Err(ReplicaError::BeforeHistory { asked, oldest }),
                // The log was trimmed meanwhile: it begins later now, and so does what is looked for.
                Err(FollowError::Log(LogError::Trimmed { oldest, .. })) if oldest > log_head.oldest => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
    }

    /// The revision that was the newest at this moment; otherwise since when the oldest one stands.
    async fn revision_at(
        &self,
        asked: Timestamp,
        log_head: Head,
    ) -> Result<Result<Revision, Timestamp>, FollowError> {
        let (newest, written_at) = self.head_and_moment();
        if log_head.oldest > newest.revision() {
            // All entries are trimmed: the newest revision stands since some moment before now.
            return Ok(if asked >= written_at { Ok(newest.revision()) } else { Err(written_at) });
        }
        let first = self.first_after(asked, log_head.oldest).await?;
        let found = Revision(first.0 - 1);
        // The log does not say since when the revision before its first entry stands; an image of it does.
        let stood = |image: &ImageFacts| image.revision == found && image.written_at <= asked;
        let is_imaged = || self.images.as_ref().is_some_and(|images| images.facts().iter().any(stood));
        if found < log_head.oldest && found > Revision(0) && !is_imaged() {
            return Ok(Err(self.written_at_revision(log_head.oldest).await?));
        }
        Ok(Ok(found))
    }

    /// The first entry from `oldest` on that was written after this moment, or the one after the newest.
    pub(crate) async fn first_after(
        &self,
        moment: Timestamp,
        oldest: Revision,
    ) -> Result<Revision, FollowError> {
        // The entries' moments never fall, so it is found by halving.
        let (mut low, mut high) = (oldest.0, self.head().revision().0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.written_at_revision(Revision(middle)).await?;
            if at <= moment { low = middle + 1 } else { high = middle }
        }
        Ok(Revision(low))
    }

    /// When the entry at a revision was written.
    pub(crate) async fn written_at_revision(&self, revision: Revision) -> Result<Timestamp, FollowError> {
        let Some(stored) = self.log.beginning(revision).await? else {
            return Err(FollowError::Gap { missing: revision, head: self.head().revision() });
        };
        Logged::written_at_of(&stored.record.chunks)
            .map_err(|source| FollowError::Undecodable { revision, source })
    }
}

#[cfg(test)]
mod tests;
