//! Which relationships have expired and may go?
//!
//! They count as absent already; removing them by an ordinary entry frees their memory and tells no answer apart.

use idhini_model::{Change, Timestamp};

use crate::Published;

/// At most `rows_max` relationships that have expired, to be deleted.
pub(crate) fn expired(head: &Published, now: Timestamp, rows_max: usize) -> Vec<Change> {
    let root = head.root();
    let mut changes = Vec::new();
    for (class, _) in root.classes() {
        for (resource, subject, attributes) in root.attributed_edges(class) {
            if changes.len() >= rows_max {
                return changes;
            }
            if attributes.expires_at.is_some_and(|at| at <= now) {
                changes.extend(root.relationship(class, resource, subject).map(Change::Deleted));
            }
        }
    }
    changes
}
