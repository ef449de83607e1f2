//! `NamespaceService`: the tree of tenants, and its locks.

use std::collections::BTreeMap;
use std::sync::Arc;

use idhini_replica::control::{
    ControlChange, Lock, LockMode, NamespaceId, NamespacePath, NamespaceRecord, Right, View,
};
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::namespace_service_server::NamespaceService;
use idhini_wire::{timestamp, timestamp_message};
use prost::Message as _;
use tonic::{Code, Request, Response, async_trait};

use super::control::{Asking, Control};
use super::{Answer, pages, secrets};
use crate::audit;
use crate::options::STREAMED_BYTES_MAX;
use crate::refusal::{Own, Refusal};
use crate::telemetry;

/// `NamespaceService` over the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces(pub(crate) Arc<Control>);

#[async_trait]
impl NamespaceService for Namespaces {
    async fn create_namespace(
        &self,
        request: Request<v1::CreateNamespaceRequest>,
    ) -> Answer<v1::CreateNamespaceResponse> {
        let asking = Asking::of(&request)?;
        let v1::CreateNamespaceRequest { path, custom_metadata } = request.into_inner();
        let path = asking.path(&path)?;
        let id = NamespaceId(secrets::name(&self.0.randomness)?);
        let metadata = custom_metadata.into_iter().collect();
        self.0.change(&asking, ControlChange::Create { path: path.clone(), id, metadata }).await?;
        Ok(Response::new(v1::CreateNamespaceResponse {
            namespace: Some(Control::behind_change(self.made(&path))?),
        }))
    }

    async fn read_namespace(
        &self,
        request: Request<v1::ReadNamespaceRequest>,
    ) -> Answer<v1::ReadNamespaceResponse> {
        let asking = Asking::of(&request)?;
        let path = asking.path(&request.into_inner().path)?;
        let seen = self.0.read(&asking, &path, Right::Belong)?;
        let namespace = namespace(&seen.id, &seen.record, seen.lock.is_some());
        Ok(Response::new(v1::ReadNamespaceResponse { namespace: Some(namespace) }))
    }

    async fn patch_namespace(
        &self,
        request: Request<v1::PatchNamespaceRequest>,
    ) -> Answer<v1::PatchNamespaceResponse> {
        let asking = Asking::of(&request)?;
        let v1::PatchNamespaceRequest { path, set_metadata, drop_metadata } = request.into_inner();
        let path = asking.path(&path)?;
        let mut metadata: BTreeMap<String, Option<String>> =
            set_metadata.into_iter().map(|(key, value)| (key, Some(value))).collect();
        for key in drop_metadata {
            if metadata.insert(key, None).is_some() {
                let text = "a key of the custom metadata is named more than once; set it or drop it, once";
                return Err(Refusal::invalid(text).because(Own::CustomMetadataInvalid).into());
            }
        }
        self.0.change(&asking, ControlChange::Patch { path: path.clone(), metadata }).await?;
        Ok(Response::new(v1::PatchNamespaceResponse {
            namespace: Some(Control::behind_change(self.made(&path))?),
        }))
    }

    async fn delete_namespace(
        &self,
        request: Request<v1::DeleteNamespaceRequest>,
    ) -> Answer<v1::DeleteNamespaceResponse> {
        let asking = Asking::of(&request)?;
        let path = asking.path(&request.into_inner().path)?;
        self.0.change(&asking, ControlChange::Delete { path: path.clone() }).await?;
        self.taken_away(&path).await?;
        Ok(Response::new(v1::DeleteNamespaceResponse {}))
    }

    async fn list_namespaces(
        &self,
        request: Request<v1::ListNamespacesRequest>,
    ) -> Answer<v1::ListNamespacesResponse> {
        let asking = Asking::of(&request)?;
        let v1::ListNamespacesRequest { path, recursive, page_size, after_path } = request.into_inner();
        let path = asking.path(&path)?;
        let after: NamespacePath = after_path.parse().map_err(Refusal::from)?;
        let rows_max = pages::size(page_size, self.0.page_rows_max)?;
        self.0.read(&asking, &path, Right::Belong)?;
        let page = self.0.plane.look(|view| self.page(view, (&path, &after), recursive, rows_max));
        Ok(Response::new(page.map_err(Refusal::from)?))
    }

    async fn lock_namespace(
        &self,
        request: Request<v1::LockNamespaceRequest>,
    ) -> Answer<v1::LockNamespaceResponse> {
        let asking = Asking::of(&request)?;
        let mode = match request.get_ref().mode() {
            v1::LockMode::Unspecified | v1::LockMode::All => LockMode::All,
            v1::LockMode::Writes => LockMode::Writes,
        };
        let v1::LockNamespaceRequest { path, mode: number, reason, optional_expires_at } =
            request.into_inner();
        if v1::LockMode::try_from(number).is_err() {
            // Nothing that is not known is taken for the one that refuses least or most.
            return Err(Refusal::invalid(format!("`mode`: there is no lock mode {number}")).into());
        }
        let path = asking.path(&path)?;
        let expires_at = optional_expires_at
            .map(|at| timestamp(at, "optional_expires_at"))
            .transpose()
            .map_err(Refusal::from)?;
        let (unlock_key, key) = secrets::key(&self.0.randomness)?;
        audit::noting(|recording| recording.note_secret("unlock_key", &unlock_key));
        self.0.change(&asking, ControlChange::Lock { path, mode, key, reason, expires_at }).await?;
        Ok(Response::new(v1::LockNamespaceResponse { unlock_key }))
    }

    async fn unlock_namespace(
        &self,
        request: Request<v1::UnlockNamespaceRequest>,
    ) -> Answer<v1::UnlockNamespaceResponse> {
        let asking = Asking::of(&request)?;
        let v1::UnlockNamespaceRequest { path, unlock_key } = request.into_inner();
        let path = asking.path(&path)?;
        if unlock_key.is_empty() {
            self.0.change(&asking, ControlChange::Unlock { path, key: None }).await?;
        } else {
            self.guess(&asking, path, &unlock_key).await?;
        }
        Ok(Response::new(v1::UnlockNamespaceResponse {}))
    }

    async fn read_lock(&self, request: Request<v1::ReadLockRequest>) -> Answer<v1::ReadLockResponse> {
        let asking = Asking::of(&request)?;
        let path = asking.path(&request.into_inner().path)?;
        let seen = self.0.beside_lock(&asking, &path, Right::Belong)?;
        let now = self.0.plane.now();
        let own = self.0.plane.look(|view| view.own_lock(&path, now).cloned()).map_err(Refusal::from)?;
        Ok(Response::new(v1::ReadLockResponse {
            own: own.map(|own| lock(&path, &own)),
            effective: seen.lock.map(|effective| lock(&effective.locked, &effective.lock)),
        }))
    }
}

impl Namespaces {
    /// What was just made or changed.
    fn made(&self, path: &NamespacePath) -> Result<v1::Namespace, Refusal> {
        let now = self.0.plane.now();
        let made = self.0.plane.look(|view| {
            let found = view.at(path).filter(|found| found.is_exact)?;
            Some(namespace(&found.nearest.0, &found.nearest.1, view.lock(path, now).is_some()))
        })?;
        // Somebody else may have deleted it since.
        made.ok_or_else(|| Refusal::no_namespace(path))
    }

    /// Takes away what is left of a namespace that was marked, also if whoever asked for it leaves.
    async fn taken_away(&self, path: &NamespacePath) -> Result<(), Refusal> {
        let found = self.0.plane.look(|view| view.at(path))?;
        let Some(found) = found.filter(|found| found.is_exact && found.nearest.1.is_deleting) else {
            return Ok(());
        };
        let (control, id) = (Arc::clone(&self.0), found.nearest.0);
        let finishing = async move { control.plane.finish_deletion(&control.node, &id).await };
        let finished = match &self.0.runtime {
            Some(runtime) => runtime.spawn(finishing).await.map_err(|error| error.to_string()),
            None => Ok(finishing.await),
        };
        finished.and_then(|finished| finished.map_err(|error| error.to_string())).map_err(|error| {
            telemetry::failed_because(|| Some(error));
            let text = format!(
                "the namespace `{path}` is closed, but not all that it left could be removed yet; ask again to go on"
            );
            Refusal::new(Code::Unavailable, text).with("namespace", path)
        })
    }

    /// Tries a key, as often as keys may be tried.
    async fn guess(&self, asking: &Asking, path: NamespacePath, key: &str) -> Result<(), Refusal> {
        audit::noting(|recording| recording.note_secret("unlock_key", key));
        let key = Some(secrets::hash(key));
        let unlock = ControlChange::Unlock { path: path.clone(), key };
        // Of others nothing is counted: they hear the same whether or not there is such a namespace.
        let (rights, found) = self.0.rights(asking.caller(), &path)?;
        let Some((id, _)) = found.filter(|_| rights.has(Right::Belong)) else {
            return self.0.change(asking, unlock).await;
        };
        if let Err(seconds) = self.0.guesses.take(&id, self.0.plane.now()) {
            let text = format!(
                "too many wrong keys were tried; try again in {seconds} seconds, or have an administrator unlock it"
            );
            return Err(Refusal::new(Code::ResourceExhausted, text)
                .because(Own::UnlockKeyThrottled)
                .with("namespace", &path)
                .with("retry_after_seconds", seconds));
        }
        let unlocked = self.0.change(asking, unlock).await;
        let is_wrong = unlocked.as_ref().is_err_and(|refusal| refusal.is_because(Own::UnlockKeyWrong));
        if !is_wrong {
            self.0.guesses.give_back(&id);
        }
        unlocked
    }

    fn page(
        &self,
        view: &View,
        (path, after): (&NamespacePath, &NamespacePath),
        is_recursive: bool,
        rows_max: usize,
    ) -> v1::ListNamespacesResponse {
        let now = self.0.plane.now();
        let mut below = view.below(path, !is_recursive).filter(|(_, record)| record.path > *after).peekable();
        let (mut namespaces, mut bytes) = (Vec::new(), 0);
        while namespaces.len() < rows_max
            && bytes < STREAMED_BYTES_MAX
            && let Some((id, record)) = below.next()
        {
            let next = namespace(id, record, view.lock(&record.path, now).is_some());
            bytes += next.encoded_len();
            namespaces.push(next);
        }
        let last = namespaces.last().filter(|_| below.peek().is_some());
        let next_path = last.map(|last| last.path.clone()).unwrap_or_default();
        v1::ListNamespacesResponse { namespaces, next_path }
    }
}

fn namespace(id: &NamespaceId, record: &NamespaceRecord, is_locked: bool) -> v1::Namespace {
    v1::Namespace {
        path: record.path.to_string(),
        id: id.0.clone(),
        custom_metadata: record.metadata.clone().into_iter().collect(),
        created_at: Some(timestamp_message(record.created_at)),
        created_by: record.created_by.clone(),
        locked: is_locked,
        deleting: record.is_deleting,
    }
}

fn lock(path: &NamespacePath, lock: &Lock) -> v1::Lock {
    let mode = match lock.record.mode {
        LockMode::All => v1::LockMode::All,
        LockMode::Writes => v1::LockMode::Writes,
    };
    v1::Lock {
        path: path.to_string(),
        mode: mode as i32,
        reason: lock.record.reason.clone(),
        locked_by: lock.record.locked_by.clone(),
        locked_at: Some(timestamp_message(lock.record.locked_at)),
        expires_at: lock.expires_at.map(timestamp_message),
    }
}
