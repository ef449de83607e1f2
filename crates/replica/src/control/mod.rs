//! Which namespaces are there, what is locked, whose token is this, and who may do what?
//!
//! The control plane is a namespace like others, `sys`, with a schema of its own: the tree, locks, tokens and grants are
//! relationships in it, written by its writer, durable in its log. What a caller may do is a check of its graph. A *view*
//! follows the log, laid out so that a call is judged by a few look-ups.
//!
//! # Invariants
//! * Whatever was answered as done is in the view, and the version has changed since: nobody who looks at the version
//!   first goes by what was before.
//! * The view is a function of the log; what it cannot read stops it, and then nothing is admitted by it.
//!
//! Cost: a change copies nothing but what it touches; a version is one load.

mod deletion;
mod grants;
mod path;
mod places;
mod quota;
mod record;
mod request;
mod rights;
pub(crate) mod rules;
mod uses;
mod view;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use idhini_changelog::LogId;
use idhini_model::{Change, EntryKind, Revision, SubjectRef, Timestamp};
use tokio::sync::watch;

pub use deletion::DeletionError;
pub use grants::Grant;
pub use path::{DEPTH_MAX, NAME_BYTES_MAX, NamespacePath, PATH_BYTES_MAX, PathError, ROOT};
pub use quota::{AUDIT, AUDIT_DECISIONS, QuotaKind, QuotaOf, Quotas, ReservedError};
pub use record::{
    Accessor, LockMode, LockRecord, NamespaceId, NamespaceRecord, RecordError, SecretHash, TokenRecord,
};
pub use request::{
    Control, ControlChange, ControlError, LIFETIME_SECONDS_MAX, METADATA_KEY_BYTES_MAX, METADATA_MAX,
    METADATA_VALUE_BYTES_MAX, REMARK_BYTES_MAX,
};
pub use rights::{Right, Rights, Role};
pub use uses::UseMark;
pub use view::{Bearer, EffectiveLock, Found, Lock, Token, View};

use self::uses::Uses;
use crate::published::Portion;
use crate::watch::Changes;
use crate::writer::Request;
use crate::{Filter, Ledger, Namespace, ReplicaError, Wanted};

/// The log of the namespace above all others.
pub const ROOT_LOG: LogId = LogId(1);
/// The log of the control plane.
pub const SYS_LOG: LogId = LogId(2);
/// The log of the first namespace that is made; those before it are kept for what comes later.
const FIRST_LOG: LogId = LogId(16);
/// The built-in schema.
pub const SCHEMA: &str = include_str!("schema.zed");
/// Relationships read at a time when a view is begun.
const PORTION_ROWS: usize = 4_096;

/// The control plane of a node.
pub struct ControlPlane {
    sys: Arc<Namespace>,
    /// `None`: what stands is not known, and nothing can be said of it.
    view: RwLock<Option<View>>,
    /// Counts what the view was brought up to,
    version: AtomicU64,
    /// and tells whoever waits for the next number.
    told: watch::Sender<()>,
    /// Where the view stands in the log. One at a time brings it on.
    follows: tokio::sync::Mutex<Option<Following>>,
    uses: Arc<Uses>,
    /// Where it is kept what each namespace may store, once that is known.
    ledger: OnceLock<Arc<Ledger>>,
}

/// What a view is to take in.
struct Following {
    changes: Changes,
    /// Of an entry whose last part was not read yet.
    begun: Vec<Change>,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// The control plane of this namespace; begun if it is empty, with these administrators of the configuration.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub async fn open(
        sys: Arc<Namespace>,
        admins: Vec<SubjectRef>,
    ) -> Result<Arc<ControlPlane>, ReplicaError> {
        let told = sys.announcer.subscribe();
        let plane = ControlPlane::alone(sys, admins).await?;
        tokio::spawn(look_on(Arc::downgrade(&plane), told));
        Ok(plane)
    }

    /// The same, with nobody who looks on.
    async fn alone(sys: Arc<Namespace>, admins: Vec<SubjectRef>) -> Result<Arc<ControlPlane>, ReplicaError> {
        sys.write_schema(SCHEMA.to_owned(), Wanted::always()).await?;
        let (view, version, told) = (RwLock::default(), AtomicU64::new(0), watch::Sender::default());
        let (follows, uses, ledger) = (tokio::sync::Mutex::default(), Arc::default(), OnceLock::new());
        let plane = Arc::new(ControlPlane { sys, view, version, told, follows, uses, ledger });
        // By itself: whoever starts hears what cannot be read.
        let begin = Control { by: None, change: ControlChange::Begin { admins } };
        plane.sys.ask(Request::Control(Box::new(begin)), Wanted::always()).await?;
        plane.catch_up().await?;
        Ok(plane)
    }

    /// Its namespace.
    #[must_use]
    pub fn sys(&self) -> &Arc<Namespace> {
        &self.sys
    }

    /// The moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.sys.now()
    }

    /// Another number whenever the view has changed: what was read after reading this holds for as long as it is the
    /// same, and nothing it rests on has expired.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Tells of every number that comes after this call.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// What was read before does not hold any more.
    fn moved(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.told.send_replace(());
    }

    /// Looks at what stands.
    ///
    /// # Errors
    /// [`ControlError::Undecided`] if that cannot be read at present.
    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> Result<T, ControlError> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let what = || "the control plane cannot be read at present".to_owned();
        view.as_ref().map(look).ok_or_else(|| ControlError::Undecided { what: what() })
    }

    /// The same to change what is kept beside what stands: of which nobody else hears.
    fn look_again<T>(&self, look: impl FnOnce(&mut View) -> T) -> Result<T, ControlError> {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let what = || "the control plane cannot be read at present".to_owned();
        view.as_mut().map(look).ok_or_else(|| ControlError::Undecided { what: what() })
    }

    /// Everything that somebody may do in a namespace, by what stands now.
    ///
    /// # Errors
    /// [`ControlError::Undecided`].
    pub fn rights(&self, who: &SubjectRef, id: &NamespaceId) -> Result<Rights, ControlError> {
        rights::rights(&self.sys.head(), self.now(), who, id)
    }

    /// Does what is asked, and answers at which revision of the control plane; when it answers, the view has it.
    ///
    /// # Errors
    /// [`ReplicaError::Control`]; otherwise as [`Namespace::write`]. [`ReplicaError::OutcomeUnknown`] also if it is done and
    /// the view cannot be brought up to it.
    pub async fn change(&self, control: Control, wanted: Wanted) -> Result<Revision, ReplicaError> {
        let done = self.sys.ask(Request::Control(Box::new(control)), wanted).await?;
        // It is written: whatever fails from here on, that was no refusal.
        let seen = self.catch_up().await;
        seen.map_err(|error| ReplicaError::OutcomeUnknown(Arc::new(io::Error::other(error))))?;
        Ok(done.revision)
    }

    /// Brings the view up to what is published. Whoever leaves in the middle leaves a view of whole entries, and its version.
    ///
    /// # Errors
    /// [`ReplicaError`]: there is no view any more until this succeeds.
    pub async fn catch_up(&self) -> Result<(), ReplicaError> {
        let mut follows = self.follows.lock().await;
        if let Some(following) = follows.as_mut()
            && self.follow(following).await.is_ok()
        {
            return Ok(());
        }
        // The first time, or what came after it was trimmed, or is not as expected: it is read whole. Until it is, nothing
        // stands, also if whoever reads it leaves.
        *follows = None;
        self.put(None);
        let (view, changes) = self.read_whole().await?;
        self.put(Some(view));
        *follows = Some(Following { changes, begun: Vec::new() });
        Ok(())
    }

    fn put(&self, view: Option<View>) {
        let mut put = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(ledger), Some(view)) = (self.ledger.get(), &view) {
            places::all(ledger, view);
        }
        *put = view;
        drop(put);
        self.moved();
    }

    /// Keeps a ledger of what namespaces store up to the tree and its quotas, from now on.
    pub fn govern(&self, ledger: &Arc<Ledger>) {
        let view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if self.ledger.set(Arc::clone(ledger)).is_ok()
            && let Some(view) = &*view
        {
            places::all(ledger, view);
        }
    }

    /// Takes in entry by entry, each as a whole.
    async fn follow(&self, Following { changes, begun }: &mut Following) -> Result<(), ReplicaError> {
        while let Some(part) = changes.next().await? {
            if let EntryKind::Relationships(changes) = part.kind {
                begun.extend(changes);
            }
            if part.is_last {
                let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
                let changes = std::mem::take(begun);
                let taking = view.as_mut().ok_or(ReplicaError::WriterGone)?;
                take_in(taking, &changes)?;
                if let Some(ledger) = self.ledger.get() {
                    places::follow(ledger, taking, &changes);
                }
                // At once: whoever waits for the next entry may leave. Nobody is let in or refused by when a token was used.
                if !changes.iter().all(uses::is_use) {
                    self.moved();
                }
            }
        }
        Ok(())
    }

    /// Everything there is, and what follows.
    async fn read_whole(&self) -> Result<(View, Changes), ReplicaError> {
        let head = self.sys.head();
        let changes = self.sys.changes(head.revision()).await?;
        let (mut view, mut after) = (View::default(), None);
        let always = Timestamp::from_seconds(i64::MIN);
        loop {
            let portion = Portion { rows_max: PORTION_ROWS, edges_max: u64::MAX };
            let page = head.read(&Filter::default(), always, after, portion);
            for row in page.rows {
                view.put(&row.relationship).map_err(ControlError::from)?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok((view, changes))
    }
}

fn take_in(view: &mut View, changes: &[Change]) -> Result<(), ControlError> {
    // A path that is given again is one namespace's before it is the other's.
    for change in changes {
        if let Change::Deleted(gone) = change {
            view.remove(gone);
        }
    }
    for change in changes {
        if let Change::Created(new) | Change::Replaced { new, .. } = change {
            view.put(new)?;
        }
    }
    Ok(())
}

/// Follows what others write, and what was written by whoever left before it was in the view.
async fn look_on(plane: Weak<ControlPlane>, mut told: watch::Receiver<()>) {
    while told.changed().await.is_ok() {
        let Some(plane) = plane.upgrade() else { return };
        // If it fails nothing is admitted, and the next change tries again.
        drop(plane.catch_up().await);
    }
}

#[cfg(test)]
mod tests;
