//! The ledger of what lies stored is kept up to the tree: which namespace is below which, and what each may store.

use idhini_model::Change;

use super::record::{NamespaceId, NamespaceRecord};
use super::view::View;
use crate::Ledger;

/// Places all namespaces of a view.
pub(super) fn all(ledger: &Ledger, view: &View) {
    ledger.clear();
    // By their paths, those above before those below.
    for record in view.records() {
        place(ledger, view, record);
    }
}

/// Follows what changed, which the view has taken in.
pub(super) fn follow(ledger: &Ledger, view: &View, changes: &[Change]) {
    for change in changes {
        let relationship = change.relationship();
        if relationship.resource.object_type != "namespace" || relationship.relation != "record" {
            continue;
        }
        match change {
            Change::Deleted(gone) => {
                if let Ok(record) = NamespaceRecord::of(gone) {
                    ledger.remove(record.log);
                }
            }
            Change::Created(_) | Change::Replaced { .. } => {
                let id = NamespaceId(relationship.resource.object_id.clone());
                if let Some(record) = view.namespace(&id) {
                    place(ledger, view, record);
                }
            }
        }
    }
}

fn place(ledger: &Ledger, view: &View, record: &NamespaceRecord) {
    let parent = record.path.parent().and_then(|parent| view.exactly(&parent));
    ledger.place(record.log, parent.map(|parent| parent.log), &record.path, record.quotas());
}
