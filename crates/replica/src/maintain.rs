//! What a namespace does by itself: sweeping what has expired, imaging, letting go of the past.
//!
//! # Invariants
//! * The log is never trimmed below what the history promises, nor below what the images that are kept need.
//! * Nothing here holds up a writer for longer than one small batch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use idhini_changelog::Head;
use idhini_model::{Revision, Timestamp};

use crate::broken::{Variant, is_broken};
use crate::images::{ImageFileError, LastEntry};
use crate::namespace::{in_place, locked};
use crate::{FollowError, Namespace, ReplicaError, follow, sweep};

/// Relationships removed by one entry of a sweep.
const SWEPT_ROWS: usize = 1_000;
/// Entries of a sweep before others have their turn again.
const SWEEPS: usize = 20;

/// Why a namespace could not be looked after; it goes on as it is, and the next time may do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintainError {
    /// Sweeping.
    #[error("expired relationships were not swept: {0}")]
    Sweep(ReplicaError),
    /// Imaging, or removing an image.
    #[error("the image was not written: {0}")]
    Image(#[from] ImageFileError),
    /// Trimming.
    #[error("the log was not trimmed: {0}")]
    Trim(FollowError),
}

impl Namespace {
    /// Sweeps, writes an image if one is due, and trims the log. To be called from time to time.
    ///
    /// # Errors
    /// [`MaintainError`]: what failed; the rest was tried all the same.
    pub async fn maintain(self: &Arc<Self>) -> Result<(), MaintainError> {
        let swept = self.sweep_all().await;
        let imaged = if self.is_image_due() { self.image().await } else { Ok(()) };
        let trimmed = self.trim().await;
        swept.and(imaged).and(trimmed)
    }

    async fn sweep_all(self: &Arc<Self>) -> Result<(), MaintainError> {
        for _ in 0..SWEEPS {
            // Looked at here first, so that the writer is only asked when there is something to do.
            if !sweep::is_due(&self.head(), self.now()) {
                break;
            }
            if self.sweep(SWEPT_ROWS).await.map_err(MaintainError::Sweep)? < SWEPT_ROWS as u64 {
                break;
            }
        }
        Ok(())
    }

    /// Whether enough has changed since the last image, or anything has and it is old, or one is damaged.
    fn is_image_due(&self) -> bool {
        let changes = self.changes_since_image.load(Ordering::Relaxed);
        let age = self.now().seconds().saturating_sub(locked(&self.imaged_at).seconds());
        let is_old = changes > 0 && age >= self.options.image_seconds;
        self.images
            .as_ref()
            .is_some_and(|images| changes >= self.options.image_changes || is_old || images.is_due())
    }

    /// Writes an image of the newest revision; nothing if there is one.
    ///
    /// # Errors
    /// [`MaintainError::Image`].
    pub async fn image(self: &Arc<Self>) -> Result<(), MaintainError> {
        // One after the other, even if whoever waits for it leaves.
        let alone = Arc::clone(&self.imaging).lock_owned().await;
        let namespace = Arc::clone(self);
        let changes = self.changes_since_image.load(Ordering::Relaxed);
        let (head, written_at) = self.head_and_moment();
        let log_head = self.log.head().await.map_err(|error| MaintainError::Trim(error.into()))?;
        let writer = follow::writer_at(&*self.log, log_head, head.revision()).await;
        // An image that does not say it is better than none.
        let last = LastEntry { written_at, writer: writer.ok().flatten() };
        let writing = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            let Some(images) = &namespace.images else { return Ok(()) };
            if images.reaches(head.revision())? {
                return Ok(());
            }
            images.write(head.root(), log_head.oldest, last).map(|_| ())
        });
        // The task can only have panicked: there is no image, and the next time it is tried anew.
        let Ok(written) = writing.await else { return Ok(()) };
        written?;
        self.changes_since_image.fetch_sub(changes, Ordering::Relaxed);
        *locked(&self.imaged_at) = self.now();
        Ok(())
    }

    /// Removes all images, and writes none any more.
    pub(crate) async fn remove_images(self: &Arc<Self>) -> Result<(), ImageFileError> {
        let _alone = self.imaging.lock().await;
        match &self.images {
            Some(images) => in_place(true, || images.end()),
            None => Ok(()),
        }
    }

    /// Trims the log below what history and images need, and lets old images go.
    async fn trim(&self) -> Result<(), MaintainError> {
        let Some(history_seconds) = self.options.history_seconds else { return Ok(()) };
        let seconds = i64::try_from(history_seconds).unwrap_or(i64::MAX);
        let horizon = Timestamp::from_seconds(self.now().seconds().saturating_sub(seconds));
        let head = self.log.head().await.map_err(|error| MaintainError::Trim(error.into()))?;
        if let Some(next) = next_to_go(head)
            && self.long_written_at(next).await.map_err(MaintainError::Trim)? > horizon
        {
            return Ok(());
        }
        let first = self.first_after(horizon, head.oldest).await.map_err(MaintainError::Trim)?;
        let before = Revision(first.0.saturating_sub(1));
        // The entry before the history says since when its oldest revision stands. The newest image says it too.
        let unneeded = if first > head.revision { first } else { before };
        let alone = self.imaging.lock().await;
        let below = match &self.images {
            None => unneeded,
            // Without an image the log is all there is.
            Some(images) => match in_place(true, || images.retain(before))? {
                Some(_) if is_broken(Variant::TrimsToNewestImage) => {
                    images.facts().last().map_or(unneeded, |newest| newest.revision.next())
                }
                Some(oldest) => unneeded.min(oldest.next()),
                None => return Ok(()),
            },
        };
        drop(alone);
        let below =
            if is_broken(Variant::TrimsOneTooMany) { below.next().min(head.revision.next()) } else { below };
        if below > head.oldest {
            self.log.trim(below).await.map_err(|error| MaintainError::Trim(error.into()))?;
        }
        Ok(())
    }

    /// When an entry was written that is looked at again and again; read once.
    async fn long_written_at(&self, entry: Revision) -> Result<Timestamp, FollowError> {
        if let Some((revision, at)) = *locked(&self.next_to_go)
            && revision == entry
        {
            return Ok(at);
        }
        let at = self.written_at_revision(entry).await?;
        *locked(&self.next_to_go) = Some((entry, at));
        Ok(at)
    }
}

/// The entry that must be older than the history before any can be trimmed: the second, since the first stays as long as
/// it says since when the history's oldest revision stands.
pub(crate) fn next_to_go(head: Head) -> Option<Revision> {
    (head.oldest <= head.revision).then(|| head.oldest.next().min(head.revision))
}
