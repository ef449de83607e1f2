//! The running namespace: who writes, and which revision does a reader get?
//!
//! # Invariants
//! * One writer at a time; it judges against the newest revision and publishes the next.
//! * A write that is no longer wanted when its turn comes, or when it is about to take effect, changes nothing.
//! * The newest revision is always kept; older ones while the budget of [`Options`] allows.
//!
//! Cost: pinning a revision is a shared lock and a reference count.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use idhini_graph::Root;
use idhini_model::{Change, Entry, EntryKind, Relationship, Revision, Timestamp};
use idhini_schema::Schema;

use crate::judge::{self, Bounds};
use crate::schema_change;
use crate::{Delete, Deleted, Published, ReplicaError, Write};

/// Tells the time.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// Whether a write is still wanted: asked when its turn comes and again before it takes effect.
pub type Wanted<'a> = &'a dyn Fn() -> bool;

/// For writes that nobody calls off.
pub const ALWAYS: Wanted<'static> = &|| true;

/// Edges that the preconditions of one request look at, all together: a second or so, while other writers wait.
pub const PRECONDITION_EDGES_MAX: u64 = 10_000_000;

/// How much history a namespace keeps, and how much one request may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Spreads object ids in memory. Outside tests it is random and told to nobody, so that nobody can choose ids that
    /// collide; no answer depends on it.
    pub seed: u64,
    /// Revisions that can be asked for, the newest included; at least one is kept.
    pub history_revisions_max: usize,
    /// Changed relationships between the oldest and the newest of them: what kept roots cost in memory.
    pub history_changes_max: u64,
    /// Edges that the preconditions of one request may look at.
    pub precondition_edges_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 0,
            history_revisions_max: 4096,
            history_changes_max: 100_000,
            precondition_edges_max: PRECONDITION_EDGES_MAX,
        }
    }
}

/// The seed stays secret.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("history_revisions_max", &self.history_revisions_max)
            .field("history_changes_max", &self.history_changes_max)
            .field("precondition_edges_max", &self.precondition_edges_max)
            .finish_non_exhaustive()
    }
}

/// A tenant's relationships and schema, running.
pub struct Namespace {
    history: RwLock<History>,
    writer: Mutex<()>,
    clock: Clock,
    options: Options,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("head", &self.head().revision()).finish_non_exhaustive()
    }
}

/// Dense revisions, oldest first, never empty, each with the number of changes that led to it.
struct History {
    kept: VecDeque<(Arc<Published>, u64)>,
    newest: Arc<Published>,
    changes: u64,
}

impl Namespace {
    /// An empty namespace.
    #[must_use]
    pub fn new(clock: Clock, options: Options) -> Namespace {
        let newest = Arc::new(Published::new(Root::empty_seeded(options.seed), None));
        let kept = VecDeque::from([(Arc::clone(&newest), 0)]);
        let history = RwLock::new(History { kept, newest, changes: 0 });
        Namespace { history, writer: Mutex::new(()), clock, options }
    }

    /// The moment, by the clock that was passed in.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The newest revision.
    #[must_use]
    pub fn head(&self) -> Arc<Published> {
        Arc::clone(&self.history.read().unwrap_or_else(PoisonError::into_inner).newest)
    }

    /// Exactly this revision.
    ///
    /// # Errors
    /// [`ReplicaError::Expired`] if it is no longer kept, [`ReplicaError::NotYet`] if it is still to come.
    pub fn at(&self, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        let applied = history.newest.revision();
        let oldest = history.kept.front().map_or(applied, |(p, _)| p.revision());
        if asked > applied {
            return Err(ReplicaError::NotYet { asked, applied });
        }
        let offset = asked.0.checked_sub(oldest.0).and_then(|o| usize::try_from(o).ok());
        let found = offset.and_then(|o| history.kept.get(o)).map(|(p, _)| Arc::clone(p));
        found.ok_or(ReplicaError::Expired { asked, oldest })
    }

    /// The newest revision, if it is this one or later.
    ///
    /// # Errors
    /// [`ReplicaError::NotYet`].
    pub fn at_least(&self, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        let head = self.head();
        if head.revision() < asked {
            return Err(ReplicaError::NotYet { asked, applied: head.revision() });
        }
        Ok(head)
    }

    /// Writes relationships, all or none; answers the revision that has them.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing has changed.
    pub fn write(&self, request: Write, is_wanted: Wanted<'_>) -> Result<Revision, ReplicaError> {
        let _one = self.turn(is_wanted)?;
        let head = self.head();
        let changes = judge::write(&head, &self.bounds(is_wanted), request)?;
        self.commit(&head, changes, is_wanted)
    }

    /// Creates relationships, all or none, as one entry.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing has changed.
    pub fn import(
        &self,
        relationships: Vec<Relationship>,
        is_wanted: Wanted<'_>,
    ) -> Result<Revision, ReplicaError> {
        let _one = self.turn(is_wanted)?;
        let head = self.head();
        let changes = judge::import(&head, self.now(), relationships)?;
        self.commit(&head, changes, is_wanted)
    }

    /// Deletes what matches a filter, as one entry.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing has changed.
    pub fn delete(&self, request: &Delete, is_wanted: Wanted<'_>) -> Result<Deleted, ReplicaError> {
        let _one = self.turn(is_wanted)?;
        let head = self.head();
        let (changes, is_partial) = judge::delete(&head, &self.bounds(is_wanted), request)?;
        let count = changes.len() as u64;
        Ok(Deleted { revision: self.commit(&head, changes, is_wanted)?, count, is_partial })
    }

    /// Replaces the schema. Relationships that have expired and would have no place go with it.
    ///
    /// # Errors
    /// [`ReplicaError::Schema`] if the text is not a schema, [`ReplicaError::Orphans`] if relationships stand in its
    /// way; nothing has changed.
    pub fn write_schema(&self, text: &str, is_wanted: Wanted<'_>) -> Result<Revision, ReplicaError> {
        let schema = Schema::parse(text)?;
        let new = schema.canonical_text();
        let _one = self.turn(is_wanted)?;
        let head = self.head();
        let old = head.schema().map(|s| s.canonical_text()).unwrap_or_default();
        if new == old {
            return Ok(head.revision());
        }
        let swept = schema_change::judge(&head, self.now(), &schema)?;
        still(is_wanted)?;
        self.commit(&head, swept, ALWAYS)?;
        self.publish(&self.head(), EntryKind::Schema { new, old }, 1)
    }

    /// The one writer's turn.
    fn turn(&self, is_wanted: Wanted<'_>) -> Result<MutexGuard<'_, ()>, ReplicaError> {
        let turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        still(is_wanted)?;
        Ok(turn)
    }

    fn bounds<'w>(&self, is_wanted: Wanted<'w>) -> Bounds<'w> {
        Bounds { now: self.now(), edges_max: self.options.precondition_edges_max, is_wanted }
    }

    fn commit(
        &self,
        head: &Published,
        changes: Vec<Change>,
        is_wanted: Wanted<'_>,
    ) -> Result<Revision, ReplicaError> {
        still(is_wanted)?;
        if changes.is_empty() {
            return Ok(head.revision());
        }
        let count = changes.len() as u64;
        self.publish(head, EntryKind::Relationships(changes), count)
    }

    /// Applies an entry and lets readers see it. Called by the one writer only.
    fn publish(&self, head: &Published, kind: EntryKind, changes: u64) -> Result<Revision, ReplicaError> {
        let entry = Entry { revision: head.revision().next(), kind };
        let mut root = head.root().clone();
        root.apply(&entry)?;
        let next = Arc::new(Published::new(root, Some(head)));
        let mut dropped = Vec::new();
        {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            history.kept.push_back((Arc::clone(&next), changes));
            history.changes += changes;
            history.newest = next;
            while history.kept.len() > 1
                && (history.kept.len() > self.options.history_revisions_max
                    || history.changes > self.options.history_changes_max)
            {
                // Leaving the oldest revision forgets the changes that led to the next.
                dropped.extend(history.kept.pop_front());
                let forgotten = history.kept.front().map_or(0, |(_, changes)| *changes);
                history.changes = history.changes.saturating_sub(forgotten);
            }
        }
        // Old roots are freed here, where no reader waits.
        drop(dropped);
        Ok(entry.revision)
    }
}

/// Refuses what nobody waits for.
pub(crate) fn still(is_wanted: Wanted<'_>) -> Result<(), ReplicaError> {
    if is_wanted() { Ok(()) } else { Err(ReplicaError::NotWanted) }
}
