//! The namespaces of one process: which are open, and how much memory may they take?
//!
//! A namespace is opened when it is first asked for, from its image and its log. Those that nobody uses are closed
//! again, least recently used first, when all together hold more than the budget; nothing is lost by that, since all
//! of a namespace is in its log.
//!
//! # Invariants
//! * A namespace is open at most once.
//! * A namespace that somebody holds is never closed.
//!
//! Cost: an open namespace is found by one look-up.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use idhini_changelog::disk::Disk;
use idhini_changelog::{LogError, LogId, Store};
use idhini_model::Revision;
use tokio::sync::OnceCell;

use crate::images::{ImageFileError, Images, Report};
use crate::maintain::next_to_go;
use crate::namespace::{in_place, locked};
use crate::{Clock, FollowError, Ledger, Namespace, Options};

/// Closed namespaces that are looked after in one round.
const CLOSED_PER_ROUND: usize = 16;
/// Namespaces that are opened to be counted in one round.
const COUNTED_PER_ROUND: usize = 256;

/// Why a namespace cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its log cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Its images cannot be listed.
    #[error(transparent)]
    Images(#[from] ImageFileError),
    /// It is being deleted.
    #[error("log {} is being deleted", .0.0)]
    Deleting(LogId),
}

/// Why something of a namespace is left. Deleting it again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// Its log.
    #[error("its log is not deleted: {0}")]
    Log(#[from] LogError),
    /// Its images.
    #[error("its images are not removed: {0}")]
    Images(#[from] ImageFileError),
}

impl OpenError {
    /// For the operator: without what stands in relationships.
    #[must_use]
    pub fn for_log(&self) -> String {
        match self {
            OpenError::Follow(error) => error.for_log(),
            OpenError::Images(_) | OpenError::Deleting(_) => self.to_string(),
        }
    }
}

/// What a node is made of.
pub struct Parts {
    /// The logs.
    pub store: Arc<dyn Store>,
    /// Where images are; without it there are none.
    pub disk: Option<Arc<dyn Disk>>,
    /// The time.
    pub clock: Clock,
    /// Whom to tell what no caller hears.
    pub report: Report,
}

/// What a node may take.
#[derive(Debug, Clone, Copy)]
pub struct NodeOptions {
    /// Of each namespace.
    pub namespace: Options,
    /// Bytes of the graphs of open namespaces, all together, before those that are not in use are closed.
    pub memory_bytes_max: u64,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions { namespace: Options::default(), memory_bytes_max: 8 << 30 }
    }
}

/// The namespaces of a process.
pub struct Node {
    parts: Parts,
    options: NodeOptions,
    state: Mutex<State>,
    /// What lies stored in each namespace.
    ledger: Arc<Ledger>,
    /// Held by whoever deletes a namespace.
    deleting: tokio::sync::Mutex<()>,
}

type Slot = Arc<OnceCell<Arc<Namespace>>>;

#[derive(Default)]
struct State {
    /// Each with the turn in which it was used last, and its bytes when they were last counted.
    open: HashMap<LogId, (Slot, u64, u64)>,
    turn: u64,
    bytes: u64,
    /// The one that is being deleted: nobody opens it.
    going: Option<LogId>,
    /// Where looking after closed namespaces goes on.
    round: Option<LogId>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Somebody who waits until a namespace is open.
struct Opening<'n> {
    node: &'n Node,
    id: LogId,
    slot: Slot,
}

impl Drop for Opening<'_> {
    /// The last one who waited in vain, or left, takes the slot with it. As long as others wait for it, it stays, since one
    /// of them opens the namespace in it.
    fn drop(&mut self) {
        let mut state = locked(&self.node.state);
        // Given up under the lock, as it was given out, so that the last one to leave sees that it is.
        let slot = std::mem::take(&mut self.slot);
        let is_listed = state.open.get(&self.id).is_some_and(|(listed, ..)| Arc::ptr_eq(listed, &slot));
        if is_listed && slot.get().is_none() && Arc::strong_count(&slot) == 2 {
            state.open.remove(&self.id);
        }
        drop(slot);
    }
}

/// A namespace that is being deleted, until that is done or given up.
struct Going<'n>(&'n Node);

impl Drop for Going<'_> {
    fn drop(&mut self) {
        locked(&self.0.state).going = None;
    }
}

impl Node {
    /// With no namespace open.
    #[must_use]
    pub fn new(parts: Parts, options: NodeOptions) -> Node {
        let (state, ledger, deleting) = (Mutex::default(), Arc::default(), tokio::sync::Mutex::default());
        Node { parts, options, state, ledger, deleting }
    }

    /// What lies stored in each namespace, as far as it was opened since the start.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The namespace of this log, opened if it is not.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn namespace(&self, id: LogId) -> Result<Arc<Namespace>, OpenError> {
        let slot = {
            let mut state = locked(&self.state);
            if state.going == Some(id) {
                return Err(OpenError::Deleting(id));
            }
            state.turn += 1;
            let turn = state.turn;
            let (slot, used, _) = state.open.entry(id).or_default();
            *used = turn;
            Arc::clone(slot)
        };
        if let Some(open) = slot.get() {
            return Ok(Arc::clone(open));
        }
        let opening = Opening { node: self, id, slot };
        let opened = opening.slot.get_or_try_init(|| self.open(id)).await.map(Arc::clone)?;
        self.count(id, &opened);
        Ok(opened)
    }

    /// Closes a namespace and removes its log and its images for good, durable on return. Whoever still uses it reads on in
    /// memory and writes no more. Its log is not to be used again. Deleting it again is fine.
    ///
    /// # Errors
    /// [`DeleteError`]: something is left.
    pub async fn delete(&self, id: LogId) -> Result<(), DeleteError> {
        let _alone = self.deleting.lock().await;
        let slot = {
            let mut state = locked(&self.state);
            state.going = Some(id);
            state.open.get(&id).map(|(slot, ..)| Arc::clone(slot))
        };
        let _going = Going(self);
        // Whoever is opening it is waited for: what they open is closed, and writes no image afterwards.
        let open = match &slot {
            Some(slot) => slot.get_or_try_init(|| async { Err(()) }).await.ok().map(Arc::clone),
            None => None,
        };
        self.parts.store.delete(id).await?;
        match &open {
            Some(namespace) => namespace.remove_images().await?,
            None => {
                if let Some(disk) = &self.parts.disk {
                    in_place(true, || Images::remove_all(Arc::clone(disk), id))?;
                }
            }
        }
        let closed = {
            let mut state = locked(&self.state);
            let closed = state.open.remove(&id);
            let bytes = closed.as_ref().map_or(0, |(.., bytes)| *bytes);
            state.bytes = state.bytes.saturating_sub(bytes);
            closed
        };
        self.ledger.remove(id);
        // Freed where nobody waits for the lock.
        drop((closed, open, slot));
        Ok(())
    }

    async fn open(&self, id: LogId) -> Result<Arc<Namespace>, OpenError> {
        let images = match &self.parts.disk {
            Some(disk) => {
                let report = Arc::clone(&self.parts.report);
                Some(in_place(true, || Images::open(Arc::clone(disk), id, report))?)
            }
            None => None,
        };
        let log = self.parts.store.log(id);
        let clock = Arc::clone(&self.parts.clock);
        let opened = Namespace::open(log, images, clock, self.options.namespace).await?;
        opened.count_in(self.ledger.account(id));
        Ok(opened)
    }

    /// The logs.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// Open namespaces and the bytes of their graphs.
    #[must_use]
    pub fn usage(&self) -> (usize, u64) {
        let state = locked(&self.state);
        (state.open.len(), state.bytes)
    }

    /// Counts a namespace's bytes anew, and closes others if all are too many.
    fn count(&self, id: LogId, namespace: &Namespace) {
        let bytes = namespace.memory_bytes();
        let mut closed = Vec::new();
        {
            let mut state = locked(&self.state);
            let Some((_, _, counted)) = state.open.get_mut(&id) else { return };
            let before = std::mem::replace(counted, bytes);
            state.bytes = state.bytes.saturating_sub(before).saturating_add(bytes);
            while state.bytes > self.options.memory_bytes_max {
                // INVARIANT: whoever holds a namespace holds it through its `Arc`, which is given out under this lock
                // or cloned from one that was.
                let idle = state.open.iter().filter(|(other, (slot, ..))| {
                    **other != id
                        && Arc::strong_count(slot) == 1
                        && slot.get().is_some_and(|open| Arc::strong_count(open) == 1)
                });
                let Some(least) = idle.min_by_key(|(_, (_, used, _))| *used).map(|(id, _)| *id) else {
                    break;
                };
                if let Some((slot, _, bytes)) = state.open.remove(&least) {
                    state.bytes = state.bytes.saturating_sub(bytes);
                    closed.push(slot);
                }
            }
        }
        // Freed where nobody waits for the lock.
        drop(closed);
    }

    /// Looks after all open namespaces and some that are closed. To be called from time to time.
    pub async fn maintain(&self) {
        let open: Vec<(LogId, Arc<Namespace>)> = {
            let state = locked(&self.state);
            state.open.iter().filter_map(|(id, (slot, ..))| Some((*id, Arc::clone(slot.get()?)))).collect()
        };
        for (id, namespace) in open {
            self.look_after(id, &namespace).await;
        }
        // Something above them is limited, so what lies in them counts.
        for id in self.ledger.uncounted(COUNTED_PER_ROUND) {
            if let Err(error) = self.namespace(id).await {
                (self.parts.report)(&format!("log {} cannot be counted: {}", id.0, error.for_log()));
            }
            tokio::task::yield_now().await;
        }
        match self.closed_with_a_past().await {
            Ok(closed) => {
                for id in closed {
                    match self.namespace(id).await {
                        Ok(namespace) => self.look_after(id, &namespace).await,
                        Err(
                            OpenError::Deleting(_)
                            | OpenError::Follow(FollowError::Log(LogError::Deleted { .. })),
                        ) => {}
                        Err(error) => {
                            (self.parts.report)(&format!(
                                "log {} cannot be opened: {}",
                                id.0,
                                error.for_log()
                            ));
                        }
                    }
                }
            }
            Err(error) => (self.parts.report)(&format!("the logs cannot be listed: {error}")),
        }
    }

    async fn look_after(&self, id: LogId, namespace: &Arc<Namespace>) {
        if let Err(error) = namespace.maintain().await
            // One that was deleted meanwhile cannot be looked after.
            && locked(&self.state).open.contains_key(&id)
        {
            (self.parts.report)(&format!("log {}: {}", id.0, error.for_log()));
        }
        namespace.forget_rebuilt(namespace.now());
        namespace.count_disk();
        self.count(id, namespace);
    }

    /// Some closed namespaces whose logs have entries that might be trimmed, in turn.
    async fn closed_with_a_past(&self) -> Result<Vec<LogId>, LogError> {
        let mut all = self.parts.store.logs().await?;
        let after = locked(&self.state).round;
        let start = all.partition_point(|id| Some(*id) <= after);
        all.rotate_left(start);
        let mut found = Vec::new();
        for id in all.into_iter().take(CLOSED_PER_ROUND) {
            locked(&self.state).round = Some(id);
            if locked(&self.state).open.contains_key(&id) {
                continue;
            }
            let head = self.parts.store.log(id).head().await?;
            if let Some(next) = next_to_go(head)
                && self.has_aged(id, next).await
            {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Whether an entry of a log is older than the history.
    async fn has_aged(&self, id: LogId, entry: Revision) -> bool {
        let Some(history_seconds) = self.options.namespace.history_seconds else { return false };
        let Ok(Some(first)) = self.parts.store.log(id).beginning(entry).await else { return false };
        let written_at = idhini_model::Logged::written_at_of(&first.record.chunks);
        let now = (self.parts.clock)().seconds();
        written_at.is_ok_and(|at| now.saturating_sub(at.seconds()) > history_seconds.cast_signed())
    }
}
