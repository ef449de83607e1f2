//! A backup: another directory of logs and images. Is it whole, and how does one go back to it?
//!
//! A backup is kept as a node keeps its own data: its log is the namespace's log, entry for entry, as far as it was
//! copied, and its images are the node's images. So it is checked by opening it, and restoring is copying to a new
//! directory what leads up to a moment.
//!
//! # Invariants
//! * A restored namespace answers as the original did at the revision that it was restored to, and its past is there
//!   as far as the backup has it.

use std::sync::Arc;

use idhini_changelog::{AppendError, Batch, Changelog, LogError, Record, Writer};
use idhini_graph::Root;
use idhini_model::{Revision, Timestamp};

use crate::broken::{Variant, is_broken};
use crate::follow::{self, READ_BYTES};
use crate::images::{ImageFileError, Images, LastEntry};
use crate::{Clock, FollowError, Namespace, Options, ReplicaError};

/// What verifying a log and its images found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The first revision that can be restored.
    pub oldest: Revision,
    /// The last.
    pub newest: Revision,
    /// When the newest was written.
    pub written_at: Timestamp,
    /// Entries that were read and applied.
    pub entries: u64,
    /// Images, each of them opened, and reached from the one before it by the entries in between.
    pub images: usize,
    /// Relationships of the newest revision.
    pub relationships: u64,
}

/// Which revision is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The last there is.
    Newest,
    /// This one.
    Revision(Revision),
    /// The newest at this moment.
    Moment(Timestamp),
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The revision.
    pub revision: Revision,
    /// When it was written, or by when, if only what came after it is known; `None` of revision 0, which nobody wrote.
    pub written_at: Option<Timestamp>,
}

/// Why a backup is not good, or cannot be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The log cannot be read or does not apply.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// An image is not good.
    #[error(transparent)]
    Image(#[from] ImageFileError),
    /// An image does not say what the log says.
    #[error("the image of revision {revision} is not what the log leads to")]
    Contradiction {
        /// Which image.
        revision: Revision,
    },
    /// There is no image to begin from.
    #[error("the log begins at revision {oldest}, and there is no image to begin from")]
    NoBeginning {
        /// The first entry.
        oldest: Revision,
    },
    /// The revision that is wanted is not there.
    #[error("what is wanted is not in the backup: {0}")]
    NotThere(ReplicaError),
    /// Whoever asks by moments would be answered wrongly.
    #[error("nothing says when revision {revision} was written")]
    NoMoment {
        /// The revision that is wanted.
        revision: Revision,
    },
    /// The new log cannot be written.
    #[error("the new log cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The new log cannot be begun.
    #[error("the new log cannot be begun: {0}")]
    Begin(LogError),
}

/// Opens every image and applies every entry.
///
/// # Errors
/// [`BackupError`] at the first thing that is not good.
pub async fn verify(log: &dyn Changelog, images: &Images) -> Result<Verified, BackupError> {
    let head = log.head().await.map_err(FollowError::from)?;
    let mut facts = images.facts();
    // One that was copied before its entries were is not used until they are there.
    facts.retain(|image| image.revision <= head.revision);
    follow::same_past(log, head, &facts).await?;
    let first = facts.iter().find(|image| image.revision.next() >= head.oldest);
    let (mut root, mut opened) = match first {
        // An image may lack what it takes to undo entries that the log has.
        _ if head.oldest == Revision(1) => (Root::empty(), 0),
        Some(first) => (images.verify(first.revision)?, 1),
        None => return Err(BackupError::NoBeginning { oldest: head.oldest }),
    };
    let mut written_at = facts.last().map_or(Timestamp::from_seconds(0), |image| image.written_at);
    let oldest = Revision(head.oldest.max(root.undoable_from()).0.saturating_sub(1)).min(root.revision());
    let mut entries = undone(log, &root, oldest).await?;
    while root.revision() < head.revision {
        let read = log.read(root.revision(), READ_BYTES).await.map_err(FollowError::from)?;
        for logged in follow::decoded(read, root.revision(), head.revision)? {
            follow::apply(&mut root, &logged)?;
            written_at = logged.origin.written_at;
            entries += 1;
            if facts.iter().any(|image| image.revision == root.revision()) {
                let image = images.verify(root.revision())?;
                if !says_the_same(&image, &root) {
                    return Err(BackupError::Contradiction { revision: root.revision() });
                }
                opened += 1;
            }
        }
    }
    Ok(Verified {
        oldest,
        newest: root.revision(),
        written_at,
        entries,
        images: opened,
        relationships: root.relationship_count(),
    })
}

/// Takes the entries before a root back to `oldest`; returns how many.
async fn undone(log: &dyn Changelog, root: &Root, oldest: Revision) -> Result<u64, BackupError> {
    let mut root = root.clone();
    let mut above = Vec::new();
    let mut after = oldest;
    while after < root.revision() {
        let read = log.read(after, READ_BYTES).await.map_err(FollowError::from)?;
        let entries = follow::decoded(read, after, root.revision())?;
        after = entries.last().map_or(root.revision(), |last| last.entry.revision);
        above.extend(entries);
    }
    for logged in above.iter().rev() {
        follow::undo(&mut root, logged)?;
    }
    Ok(above.len() as u64)
}

/// When numbers were given is needed to undo entries only; an image lacks what is older than its log.
fn says_the_same(image: &Root, root: &Root) -> bool {
    let content = |root: &Root| {
        let mut content = root.content();
        content.types.iter_mut().for_each(|of_type| of_type.births.clear());
        content
    };
    content(image) == content(root)
}

/// Copies to a new log, which has no past, and its images what leads up to `target`.
///
/// # Errors
/// [`BackupError`]; what was written of the new log is of no use.
pub async fn restore(
    (log, images): (Arc<dyn Changelog>, Images),
    target: Target,
    (begin, new_log, new_images): (
        impl AsyncFnOnce(Revision) -> Result<(), LogError>,
        &dyn Changelog,
        &Images,
    ),
    writer_id: u64,
) -> Result<Restored, BackupError> {
    let options = Options { rebuild_changes_max: u64::MAX, ..Options::default() };
    // Nothing expires here: what is stored is copied as it is.
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(0));
    let head = log.head().await.map_err(FollowError::from)?;
    let namespace =
        Namespace::open(Arc::clone(&log), Some(images.up_to(head.revision)), clock, options).await?;
    let wanted = match target {
        Target::Newest => Ok(namespace.head()),
        Target::Revision(revision) => namespace.at(revision).await,
        Target::Moment(moment) => namespace.at_moment(moment).await,
    };
    let wanted = wanted.map_err(BackupError::NotThere)?;
    let last = wanted.revision();
    let last = if is_broken(Variant::RestoresOneTooFew) { Revision(last.0.max(1) - 1) } else { last };
    let mut at = Revision(head.oldest.0.saturating_sub(1)).min(last);
    begin(at).await.map_err(BackupError::Begin)?;
    let mut written_at = None;
    let mut sequence = 0;
    while at < last {
        let read = log.read(at, READ_BYTES).await.map_err(FollowError::from)?;
        let read: Vec<_> = read.into_iter().take_while(|stored| stored.revision <= last).collect();
        if let Some(stored) = read.last() {
            let moment = idhini_model::Logged::written_at_of(&stored.record.chunks)
                .map_err(|source| FollowError::Undecodable { revision: stored.revision, source })?;
            written_at = Some(moment);
        }
        let records: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
        sequence += 1;
        at = new_log.append(at, Batch { writer: Writer { id: writer_id, sequence }, records }).await?;
    }
    if last > Revision(0) {
        let moment = match written_at.or_else(|| imaged_at(&namespace, last)) {
            Some(moment) => moment,
            None => at_the_latest(&*log, last).await?,
        };
        let head = new_log.head().await.map_err(FollowError::from)?;
        let last_entry = LastEntry { written_at: moment, writer: head.writer };
        new_images.write(wanted.root(), head.oldest, last_entry)?;
        written_at = Some(moment);
    }
    Ok(Restored { revision: last, written_at })
}

/// When the last entry of the image of a revision was written, if there is one.
fn imaged_at(namespace: &Namespace, revision: Revision) -> Option<Timestamp> {
    let images = namespace.images()?.facts();
    images.iter().find(|image| image.revision == revision).map(|image| image.written_at)
}

/// By when a revision was written of which there is neither the entry nor an image: before the entry after it. Whoever
/// asks about an earlier moment is then told that it is not known.
async fn at_the_latest(log: &dyn Changelog, revision: Revision) -> Result<Timestamp, BackupError> {
    let next = log.beginning(revision.next()).await.map_err(FollowError::from)?;
    let next = next.ok_or(BackupError::NoMoment { revision })?;
    let moment = idhini_model::Logged::written_at_of(&next.record.chunks);
    Ok(moment.map_err(|source| FollowError::Undecodable { revision: next.revision, source })?)
}
