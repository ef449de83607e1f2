//! Entries of the log into the graph: on a start, behind another writer, into the past.

use idhini_changelog::{Changelog, Head, LogError, Stored, Writer};
use idhini_graph::Root;
use idhini_model::{Logged, Revision};

use crate::{FollowError, ImageFacts};

/// Bytes of entries read at a time.
pub(crate) const READ_BYTES: usize = 4 << 20;

/// The entries after `after` up to `last`, which must be the next ones.
pub(crate) fn decoded(
    read: Vec<Stored>,
    after: Revision,
    last: Revision,
) -> Result<Vec<Logged>, FollowError> {
    let mut expected = after;
    let mut entries = Vec::with_capacity(read.len());
    for stored in read {
        if expected >= last {
            break;
        }
        expected = expected.next();
        let revision = stored.revision;
        if revision != expected {
            return Err(FollowError::Gap { missing: expected, head: last });
        }
        let logged = Logged::from_chunks(revision, &stored.record.chunks)
            .map_err(|source| FollowError::Undecodable { revision, source })?;
        entries.push(logged);
    }
    if entries.is_empty() && after < last {
        return Err(FollowError::Gap { missing: after.next(), head: last });
    }
    Ok(entries)
}

/// Refuses a log that is not the one that the images were made of.
pub(crate) async fn same_past(
    log: &dyn Changelog,
    head: Head,
    images: &[ImageFacts],
) -> Result<(), FollowError> {
    for image in images {
        let revision = image.revision;
        let Some(writer) = image.writer else { continue };
        let is_another = writer_at(log, head, revision).await?.is_some_and(|found| found != writer);
        if is_another {
            return Err(FollowError::Replaced { revision });
        }
    }
    Ok(())
}

/// Who appended an entry; `None` if the log no longer says.
pub(crate) async fn writer_at(
    log: &dyn Changelog,
    head: Head,
    revision: Revision,
) -> Result<Option<Writer>, LogError> {
    if revision == head.revision {
        return Ok(head.writer);
    }
    if revision < head.oldest || revision > head.revision {
        return Ok(None);
    }
    match log.read(Revision(revision.0 - 1), 1).await {
        Ok(read) => Ok(read.first().filter(|stored| stored.revision == revision).map(|stored| stored.writer)),
        // It went meanwhile.
        Err(LogError::Trimmed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Applies one entry.
pub(crate) fn apply(root: &mut Root, logged: &Logged) -> Result<(), FollowError> {
    let revision = logged.entry.revision;
    root.apply(&logged.entry).map_err(|source| FollowError::DoesNotApply { revision, source })
}

/// Takes one entry back.
pub(crate) fn undo(root: &mut Root, logged: &Logged) -> Result<(), FollowError> {
    let revision = logged.entry.revision;
    root.undo(&logged.entry).map_err(|source| FollowError::DoesNotApply { revision, source })
}
