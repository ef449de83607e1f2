//! Which relationships have expired and may go?
//!
//! They count as absent already; removing them by an ordinary entry frees their memory and tells no answer apart.
//!
//! Cost: O(log n) for each that has expired, and as much to learn that there is none.

use idhini_graph::ClassId;
use idhini_model::{Change, Timestamp};

use crate::Published;

/// At most `rows_max` relationships that have expired, to be deleted.
pub(crate) fn expired(head: &Published, now: Timestamp, rows_max: usize) -> Vec<Change> {
    let root = head.root();
    root.expired_edges((ClassId(0), 0, 0), now)
        .take(rows_max)
        .filter_map(|(class, resource, subject)| root.relationship(class, resource, subject))
        .map(Change::Deleted)
        .collect()
}

/// Whether there is anything to sweep.
pub(crate) fn is_due(head: &Published, now: Timestamp) -> bool {
    head.root().next_expiration().is_some_and(|at| at <= now)
}
