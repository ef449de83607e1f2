//! What the services of the control plane have in common: who asks, about which namespace, and may they read it?
//!
//! # Invariants
//! * What is changed is judged by the control plane's writer, what is read here, by the same rights.
//! * Whoever does not belong to a namespace hears the same whether or not there is one; whoever does hears of its lock
//!   first.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use idhini_model::SubjectRef;
use idhini_replica::control::{
    ControlChange, ControlPlane, EffectiveLock, LockMode, NamespaceId, NamespacePath, NamespaceRecord,
    PathError, ROOT, Right, Rights,
};
use idhini_replica::{Node, control};
use tokio::runtime::Handle;
use tonic::{Request, Status};

use super::guesses::Guesses;
use super::secrets::Randomness;
use crate::admission::{Admitted, Pass};
use crate::audit::{Audited, Change, note_control};
use crate::deadline::Deadline;
use crate::options::Options;
use crate::refusal::{Own, Refusal};

/// How often it is written which tokens were used, and what is left of others is taken away.
const USES_ROUND: Duration = Duration::from_secs(60);

/// What `NamespaceService` and `AccessService` answer from.
pub(crate) struct Control {
    pub(super) plane: Arc<ControlPlane>,
    pub(super) node: Arc<Node>,
    pub(super) randomness: Randomness,
    pub(super) guesses: Guesses,
    pub(super) page_rows_max: u32,
    /// Where a deletion goes on, also when whoever asked for it leaves.
    pub(super) runtime: Option<Handle>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("plane", &self.plane).finish_non_exhaustive()
    }
}

/// Writes once a minute which tokens were used, and takes away what those left that have ended.
pub(crate) async fn look_after_tokens(plane: Arc<ControlPlane>) {
    loop {
        tokio::time::sleep(USES_ROUND).await;
        record_last_uses(&plane).await;
        if let Err(error) = plane.sweep_tokens().await {
            tracing::debug!(?error, "what tokens left that have ended is not taken away yet");
        }
    }
}

/// Writes which tokens were used since that was done last; what cannot be written is, the next time.
pub(crate) async fn record_last_uses(plane: &ControlPlane) {
    if let Err(error) = plane.record_uses().await {
        tracing::debug!(?error, "when tokens were used is not written yet");
    }
}

/// A namespace that exists.
pub(super) type Found = (NamespaceId, Arc<NamespaceRecord>);

/// Who asks, and about what.
pub(super) struct Asking {
    pub(super) pass: Arc<Pass>,
    pub(super) deadline: Deadline,
    audited: Option<Audited>,
}

/// What is at a path, for one who belongs there.
pub(super) struct Seen {
    pub(super) id: NamespaceId,
    pub(super) record: Arc<NamespaceRecord>,
    pub(super) lock: Option<EffectiveLock>,
}

impl Asking {
    pub(super) fn of<T>(request: &Request<T>) -> Result<Asking, Status> {
        let pass = request.extensions().get::<Admitted>();
        let Admitted(pass) = pass.ok_or_else(|| Status::internal("the call was not let in properly"))?;
        let audited = request.extensions().get().cloned();
        Ok(Asking { pass: Arc::clone(pass), deadline: Deadline::of(request.metadata()), audited })
    }

    pub(super) fn caller(&self) -> &SubjectRef {
        &self.pass.caller
    }

    /// The full path of one that is relative to the namespace that the call is about.
    pub(super) fn path(&self, relative: &str) -> Result<NamespacePath, Refusal> {
        let base = &self.pass.namespace;
        if relative == ROOT && !base.is_root() {
            // Never another one than it seems to name.
            return Err(PathError::Reserved { name: relative.to_owned() }.into());
        }
        Ok(base.join(&relative.parse()?)?)
    }
}

impl Control {
    /// Deletions go on on the runtime that this is called on.
    pub(crate) fn new(plane: &Arc<ControlPlane>, node: &Arc<Node>, options: &Options) -> Control {
        Control {
            plane: Arc::clone(plane),
            node: Arc::clone(node),
            randomness: options.randomness.clone(),
            guesses: Guesses::default(),
            page_rows_max: options.limits.page_rows_max,
            runtime: Handle::try_current().ok(),
        }
    }

    /// Does what the caller asks, if the control plane's writer finds that they may.
    pub(super) async fn change(&self, asking: &Asking, change: ControlChange) -> Result<(), Refusal> {
        let asked = Change::of_control(asking.deadline, asking.audited.clone())
            .noting(|recording| note_control(recording, &change));
        let control = control::Control { by: Some(asking.caller().clone()), change };
        asked.make(|wanted| self.plane.change(control, wanted), |revision| Some(*revision)).await.map(drop)
    }

    /// What is read to be answered behind a change. If it cannot be read, the change was made all the same.
    pub(super) fn behind_change<T>(read: Result<T, Refusal>) -> Result<T, Refusal> {
        read.map_err(|refusal| match refusal.is_because(Own::ControlPlaneUnreadable) {
            true => Refusal::outcome_unknown(),
            false => refusal,
        })
    }

    /// What somebody may do at a path, or would if there were a namespace; and that namespace.
    pub(super) fn rights(
        &self,
        who: &SubjectRef,
        path: &NamespacePath,
    ) -> Result<(Rights, Option<Found>), Refusal> {
        let found = self.plane.look(|view| view.at(path))?;
        let found = found.ok_or_else(Refusal::not_permitted)?;
        let rights = self.plane.rights(who, &found.nearest.0)?;
        Ok((rights, found.is_exact.then_some(found.nearest)))
    }

    /// What is at a path, for a caller who has this right there, whether or not it is locked.
    pub(super) fn beside_lock(
        &self,
        asking: &Asking,
        path: &NamespacePath,
        right: Right,
    ) -> Result<Seen, Refusal> {
        self.seen(asking, path, right, |_| Ok(()))
    }

    /// The same where nothing is locked against reading.
    pub(super) fn read(&self, asking: &Asking, path: &NamespacePath, right: Right) -> Result<Seen, Refusal> {
        self.seen(asking, path, right, |lock| match lock {
            Some(lock) if lock.lock.record.mode == LockMode::All => Err(Refusal::namespace_locked(lock)),
            _ => Ok(()),
        })
    }

    fn seen(
        &self,
        asking: &Asking,
        path: &NamespacePath,
        right: Right,
        judge: impl FnOnce(Option<&EffectiveLock>) -> Result<(), Refusal>,
    ) -> Result<Seen, Refusal> {
        let (rights, found) = self.rights(asking.caller(), path)?;
        if !rights.has(Right::Belong) {
            return Err(Refusal::not_permitted());
        }
        let now = self.plane.now();
        let lock = self.plane.look(|view| view.lock(path, now))?;
        judge(lock.as_ref())?;
        if !rights.has(right) {
            return Err(Refusal::not_permitted());
        }
        let (id, record) = found.ok_or_else(|| Refusal::no_namespace(path))?;
        Ok(Seen { id, record, lock })
    }
}
