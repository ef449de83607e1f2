//! How does a namespace go, with all that is in it?
//!
//! ```text
//! marked as going ─► closed in the node ─► its log deleted ─► its images removed ─► forgotten
//! ```
//!
//! # Invariants
//! * Whatever the moment at which a process ends, what was begun is found marked, and done from its beginning: each step
//!   may be done again.
//! * It is forgotten last: as long as anything is left of it, its path is not given again.

use std::sync::Arc;

use super::record::NamespaceId;
use super::{Control, ControlChange, ControlPlane};
use crate::{DeleteError, Node, ReplicaError, Wanted};

/// Why a namespace is not gone yet. It stays marked; whoever asks again, or starts the server, goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeletionError {
    /// Its log or images could not be removed.
    #[error(transparent)]
    Left(#[from] DeleteError),
    /// It could not be forgotten.
    #[error(transparent)]
    Kept(#[from] ReplicaError),
}

impl ControlPlane {
    /// Takes away what is left of a namespace that is marked as being deleted; nothing if there is none.
    ///
    /// # Errors
    /// [`DeletionError`].
    pub async fn finish_deletion(&self, node: &Node, id: &NamespaceId) -> Result<(), DeletionError> {
        let going = self.look(|view| view.namespace(id).filter(|record| record.is_deleting).map(Arc::clone));
        let Some(record) = going.map_err(ReplicaError::from)? else { return Ok(()) };
        node.delete(record.log).await?;
        let change = ControlChange::Forget { id: id.clone() };
        self.change(Control { by: None, change }, Wanted::always()).await?;
        Ok(())
    }

    /// The same for all that a process which ended has left; how many there were. To be called before calls are let in.
    ///
    /// # Errors
    /// [`DeletionError`] of the first that could not be finished; the others were tried all the same.
    pub async fn finish_deletions(&self, node: &Node) -> Result<usize, DeletionError> {
        let going: Vec<NamespaceId> = self
            .look(|view| view.deleting().map(|(id, _)| id.clone()).collect())
            .map_err(ReplicaError::from)?;
        let mut failed = None;
        for id in &going {
            if let Err(error) = self.finish_deletion(node, id).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(going.len()), Err)
    }
}
