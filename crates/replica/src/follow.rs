//! Entries of the log into the graph: on a start, behind another writer, into the past.

use idhini_changelog::{Changelog, Head, LogError, Stored, Writer};
use idhini_graph::Root;
use idhini_model::{Change, Entry, EntryKind, Logged, Revision, Timestamp};

use crate::{FollowError, ImageFacts};

/// Bytes of entries read at a time.
pub(crate) const READ_BYTES: usize = 4 << 20;

/// The entries after `after` up to `last`, which must be the next ones.
pub(crate) fn decoded(
    read: Vec<Stored>,
    after: Revision,
    last: Revision,
) -> Result<Vec<Logged>, FollowError> {
    let decode = |stored: Stored| {
        let revision = stored.revision;
        Logged::from_chunks(revision, &stored.record.chunks)
            .map_err(|source| FollowError::Undecodable { revision, source })
    };
    following(read, after, last)?.into_iter().map(decode).collect()
}

/// As [`decoded`], but as they were read.
pub(crate) fn following(
    mut read: Vec<Stored>,
    after: Revision,
    last: Revision,
) -> Result<Vec<Stored>, FollowError> {
    read.retain(|stored| stored.revision <= last);
    let expected = || (after.0 + 1..).map(Revision);
    if let Some((missing, _)) = expected().zip(&read).find(|(expected, stored)| stored.revision != *expected)
    {
        return Err(FollowError::Gap { missing, head: last });
    }
    if read.is_empty() && after < last {
        return Err(FollowError::Gap { missing: after.next(), head: last });
    }
    Ok(read)
}

/// Applies the next entry as it was read, a chunk at a time: an import is never decoded whole. Returns its weight and when
/// it was written. After an error the root is between two revisions, and is to be dropped.
pub(crate) fn replay(root: &mut Root, stored: &Stored) -> Result<(u64, Timestamp), FollowError> {
    let (revision, chunks) = (stored.revision, &stored.record.chunks);
    let undecodable = |source| FollowError::Undecodable { revision, source };
    let (origin, kind) = Logged::begun(chunks).map_err(undecodable)?;
    let EntryKind::Relationships(first) = &kind else {
        let entry = Entry { revision, kind };
        root.apply(&entry).map_err(|source| FollowError::DoesNotApply { revision, source })?;
        return Ok((entry.kind.weight(), origin.written_at));
    };
    let mut portion = |changes: &[Change]| {
        root.apply_portion(changes).map_err(|source| FollowError::DoesNotApply { revision, source })?;
        Ok::<_, FollowError>(changes.len() as u64)
    };
    let mut count = portion(first)?;
    for (at, chunk) in chunks.iter().enumerate().skip(1) {
        count += portion(&Logged::changes_of(at, chunk).map_err(undecodable)?)?;
    }
    root.complete_entry();
    Ok((count.max(1), origin.written_at))
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
    match log.beginning(revision).await {
        Ok(stored) => Ok(stored.filter(|stored| stored.revision == revision).map(|stored| stored.writer)),
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
