//! Entries of the log into the graph: on a start, behind another writer, into the past.

use idhini_changelog::Stored;
use idhini_graph::Root;
use idhini_model::{Logged, Revision};

use crate::FollowError;

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
