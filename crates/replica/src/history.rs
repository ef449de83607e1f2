//! Which revisions are at hand, and how does one get at the others?
//!
//! The last roots are kept in memory, as many as the budget of [`Options`] allows: those that a batch of the writer
//! ended with, since a root for each of its entries would cost more than the entries themselves. Any other revision is
//! rebuilt: forward from the nearest image before it, or backward from the root after it, with the log's entries in
//! between.
//!
//! # Invariants
//! * Kept revisions increase, oldest first, and the newest is always among them: whatever a reader has pinned was kept.
//! * A rebuilt revision is what its readers would have seen then: undoing an entry gives the root that was before it.
//!
//! Cost: pinning a kept revision is a shared lock and a reference count; a rebuilt one costs its distance in changes,
//! at most [`Options::rebuild_changes_max`], once for all who ask at the same time.

use std::collections::VecDeque;
use std::sync::Arc;

use idhini_changelog::LogError;
use idhini_graph::Root;
use idhini_model::{Logged, Revision, Timestamp};
use tokio::sync::OnceCell;

use crate::broken::{Variant, is_broken};
use crate::follow::{self, READ_BYTES};
use crate::images::ImageFacts;
use crate::namespace::{in_place, locked};
use crate::{FollowError, Namespace, Options, Published, ReplicaError};

/// Rebuilt revisions that are kept for whoever asks next.
const REBUILT_MAX: usize = 8;

/// A revision in memory, and the number of changes that led to it from the one before.
pub(crate) type Kept = (Arc<Published>, u64);

/// Revisions in memory.
pub(crate) struct History {
    kept: VecDeque<Kept>,
    pub(crate) newest: Arc<Published>,
    /// When the newest one's entry was written.
    pub(crate) written_at: Timestamp,
    changes: u64,
}

/// A revision that is being rebuilt, or was.
pub(crate) type Rebuilt = (Revision, Arc<OnceCell<Arc<Published>>>);

impl History {
    pub(crate) fn new(newest: Arc<Published>, written_at: Timestamp) -> History {
        History { kept: VecDeque::from([(Arc::clone(&newest), 0)]), newest, written_at, changes: 0 }
    }

    /// Takes a later revision in; returns what is no longer kept, to be freed where nobody waits.
    pub(crate) fn push(
        &mut self,
        (newest, written_at): (Arc<Published>, Timestamp),
        changes: u64,
        options: &Options,
    ) -> Vec<Kept> {
        self.newest = Arc::clone(&newest);
        self.written_at = written_at;
        self.kept.push_back((newest, changes));
        self.changes += changes;
        let mut dropped = Vec::new();
        while self.kept.len() > 1
            && (self.kept.len() > options.kept_revisions_max || self.changes > options.kept_changes_max)
        {
            // Leaving the oldest revision forgets the changes that led to the next.
            dropped.extend(self.kept.pop_front());
            let forgotten = self.kept.front().map_or(0, |(_, changes)| *changes);
            self.changes = self.changes.saturating_sub(forgotten);
        }
        dropped
    }

    /// This revision or else the first kept one after it; `None` if it is beyond the newest.
    fn from(&self, asked: Revision) -> Option<&Arc<Published>> {
        let at = self.kept.partition_point(|(published, _)| published.revision() < asked);
        self.kept.get(at).map(|(published, _)| published)
    }
}

impl Namespace {
    /// Exactly this revision, rebuilt if need be.
    ///
    /// # Errors
    /// [`ReplicaError::Expired`] if it is no longer kept, [`ReplicaError::NotYet`] if it is still to come,
    /// [`ReplicaError::TooFar`], [`ReplicaError::PastUnreadable`].
    pub async fn at(&self, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        let above = {
            let history = self.history.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let applied = history.newest.revision();
            let Some(above) = history.from(asked) else {
                return Err(ReplicaError::NotYet { asked, applied });
            };
            if above.revision() == asked {
                return Ok(Arc::clone(above));
            }
            Arc::clone(above)
        };
        let cell = {
            let mut rebuilt = locked(&self.rebuilt);
            match rebuilt.iter().find(|(revision, _)| *revision == asked) {
                Some((_, cell)) => Arc::clone(cell),
                None => {
                    let cell = Arc::new(OnceCell::new());
                    rebuilt.push_back((asked, Arc::clone(&cell)));
                    if rebuilt.len() > REBUILT_MAX {
                        rebuilt.pop_front();
                    }
                    cell
                }
            }
        };
        cell.get_or_try_init(|| self.rebuild(asked, above)).await.map(Arc::clone)
    }

    /// The revision that was the newest at this moment.
    ///
    /// # Errors
    /// [`ReplicaError::BeforeHistory`], and as [`Namespace::at`].
    pub async fn at_moment(&self, asked: Timestamp) -> Result<Arc<Published>, ReplicaError> {
        let unreadable = |error: FollowError| ReplicaError::PastUnreadable(Arc::new(error));
        let log_head = self.log.head().await.map_err(|error| unreadable(error.into()))?;
        let (newest, written_at) = self.head_and_moment();
        if log_head.oldest > newest.revision() {
            // All entries are trimmed: the newest revision stands since some moment before now.
            let oldest = written_at;
            return if asked >= oldest {
                Ok(newest)
            } else {
                Err(ReplicaError::BeforeHistory { asked, oldest })
            };
        }
        let first = self.first_after(asked, log_head.oldest).await.map_err(unreadable)?;
        let found = Revision(first.0 - 1);
        // The log does not say since when the revision before its first entry stands; an image of it does.
        let stood = |image: &ImageFacts| image.revision == found && image.written_at <= asked;
        let is_imaged = || self.images.as_ref().is_some_and(|images| images.facts().iter().any(stood));
        if found < log_head.oldest && found > Revision(0) && !is_imaged() {
            let oldest = self.written_at_revision(log_head.oldest).await.map_err(unreadable)?;
            return Err(ReplicaError::BeforeHistory { asked, oldest });
        }
        self.at(found).await
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
        let before = Revision(revision.0.saturating_sub(1));
        let read = self.log.read(before, 1).await?;
        let Some(stored) = read.first() else {
            return Err(FollowError::Gap { missing: revision, head: self.head().revision() });
        };
        Logged::written_at_of(&stored.record.chunks)
            .map_err(|source| FollowError::Undecodable { revision, source })
    }

    async fn rebuild(&self, asked: Revision, above: Arc<Published>) -> Result<Arc<Published>, ReplicaError> {
        let unreadable = |error: FollowError| ReplicaError::PastUnreadable(Arc::new(error));
        let oldest = self.oldest().await.map_err(unreadable)?;
        if asked < oldest {
            return Err(ReplicaError::Expired { asked, oldest });
        }
        let changes_max = self.options.rebuild_changes_max;
        let too_far = ReplicaError::TooFar { asked, changes_max };
        let root = match in_place(true, || self.start_of(asked, &above, oldest)) {
            Some(root) if root.revision() <= asked => self.redo(root, asked, changes_max).await,
            Some(root) => self.undo(root, asked, changes_max).await,
            None => {
                let oldest = Revision(above.root().undoable_from().0.saturating_sub(1));
                return Err(ReplicaError::Expired { asked, oldest });
            }
        };
        let root = root.map_err(|error| match error {
            // It went while it was looked for.
            FollowError::Log(LogError::Trimmed { oldest, .. }) => {
                ReplicaError::Expired { asked, oldest: Revision(oldest.0.saturating_sub(1)) }
            }
            error => unreadable(error),
        });
        match root? {
            Some(root) => Ok(Arc::new(Published::new(root, Some(&above)))),
            None => Err(too_far),
        }
    }

    /// A root from which the entries lead to `asked`, forward or back: the nearest image, or the oldest root in memory.
    fn start_of(&self, asked: Revision, above: &Published, oldest: Revision) -> Option<Root> {
        let can_be_undone = above.root().undoable_from() <= asked.next();
        // However far away, if there is no other way.
        let reach = if can_be_undone { above.revision() } else { Revision(u64::MAX) };
        let images = self.images.as_ref();
        let below = images.and_then(|images| images.nearest(asked, (oldest, reach), self.options.seed));
        if below.is_some() {
            return below;
        }
        if can_be_undone {
            return Some(above.root().clone());
        }
        // An image has what it takes to undo the entries that its log had, and no others: an older one goes further back.
        let older = images.and_then(|images| images.undoable_to(asked, self.options.seed));
        older.or_else(|| (oldest == Revision(0)).then(|| Root::empty_seeded(self.options.seed)))
    }

    /// Applies the entries after `root` up to `asked`; `None` if they are too many.
    async fn redo(
        &self,
        mut root: Root,
        asked: Revision,
        changes_max: u64,
    ) -> Result<Option<Root>, FollowError> {
        let mut changes = 0;
        while root.revision() < asked {
            let read = self.log.read(root.revision(), READ_BYTES).await?;
            let is_near = in_place(true, || {
                for logged in follow::decoded(read, root.revision(), asked)? {
                    changes += logged.entry.kind.weight();
                    if changes > changes_max {
                        return Ok(false);
                    }
                    follow::apply(&mut root, &logged)?;
                }
                Ok::<_, FollowError>(true)
            });
            if !is_near? {
                return Ok(None);
            }
        }
        Ok(Some(root))
    }

    /// Takes the entries above `asked` back; `None` if they are too many.
    async fn undo(
        &self,
        mut root: Root,
        asked: Revision,
        changes_max: u64,
    ) -> Result<Option<Root>, FollowError> {
        let mut changes = 0;
        let mut above: Vec<Logged> = Vec::new();
        let mut read_to = asked;
        while read_to < root.revision() {
            let read = self.log.read(read_to, READ_BYTES).await?;
            for logged in in_place(true, || follow::decoded(read, read_to, root.revision()))? {
                changes += logged.entry.kind.weight();
                if changes > changes_max {
                    return Ok(None);
                }
                read_to = logged.entry.revision;
                above.push(logged);
            }
        }
        if is_broken(Variant::UndoesNothing) {
            above.clear();
        }
        in_place(true, || above.iter().rev().try_for_each(|logged| follow::undo(&mut root, logged)))?;
        Ok(Some(root))
    }
}
