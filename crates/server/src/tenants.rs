//! Whose data does a call see?
//!
//! A server offers a tree of namespaces to all whom it lets in; or, to test suites, an empty store to each token that is
//! brought, made when the token is first seen and kept in memory.
//!
//! # Invariants
//! * A namespace is known by its id, which is never given again, and has a seal of its own: tokens and cursors of one are
//!   refused by every other, also by the one that gets its name after it.
//! * A worker holds a namespace for as long as its calls use it, and a moment longer; then the node may close it.
//! * A token's store is seen by nobody who brings another: it has its own log, graph and seal, so that tokens and cursors
//!   of one store are refused by every other, also by the one that a token gets after its first is gone.
//! * There are never more stores than allowed. One that a call is using does not go; if all are in use, who brings another
//!   token is refused.
//!
//! Cost: a namespace that a connection has used before costs two numbers; else one look-up, and opening it if it is not. A
//! store of a token: one hash and one look-up.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use idhini_changelog::LogId;
use idhini_replica::control::{ControlPlane, NamespaceId};
use idhini_replica::{Namespace, Node};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tonic::Code;

use crate::options::Options;
use crate::pin::Shared;
use crate::refusal::Refusal;
use crate::seal::SealOptions;
use crate::telemetry;

/// Stores of tokens, unless configured otherwise.
pub const STORES_MAX: usize = 1_000;
/// The log of a token's store.
const LOG: LogId = LogId(1);
/// Rounds of letting go after which a worker no longer holds a namespace that none of its calls used.
const IDLE_ROUNDS: u8 = 3;

/// What a server offers, and to whom.
#[derive(Clone)]
pub enum Offer {
    /// A tree of namespaces to all who bring a key or a token, and the logs of its node for backups.
    Tree(Tree),
    /// To each token a store of its own, from the first call that brings it.
    StorePerToken {
        /// Makes a store.
        new_store: NewStore,
        /// How many there are at a time.
        stores_max: usize,
    },
}

/// The namespaces of a node.
#[derive(Clone)]
pub struct Tree {
    /// Has their logs.
    pub node: Arc<Node>,
    /// The one above all others, which stays open.
    pub root: Arc<Namespace>,
    /// Which there are, and who may do what in them.
    pub plane: Arc<ControlPlane>,
}

/// Makes an empty store; fails if the system refuses randomness.
pub type NewStore = Arc<dyn Fn() -> std::io::Result<NewNode> + Send + Sync>;

/// A node with nothing in it.
pub struct NewNode {
    /// The node.
    pub node: Arc<Node>,
    /// What its tokens and cursors are known by: a name that no other store had or will have.
    pub namespace: String,
}

/// What a call sees: a namespace as one worker knows it.
#[derive(Debug, Clone)]
pub(crate) struct Tenant(Arc<Held>);

/// A namespace that is found again for as long as its worker holds it.
pub(crate) struct WeakTenant(Weak<Held>);

#[derive(Debug)]
struct Held {
    shared: Shared,
    /// Of all workers.
    _base: Option<Arc<Shared>>,
    /// Whether a call found it since the last round.
    is_used: AtomicBool,
}

/// Finds what a worker's calls see.
#[derive(Debug)]
pub(crate) enum Tenants {
    Tree {
        bases: Arc<Bases>,
        /// Those that this worker holds, and for how many rounds nobody used them.
        held: Mutex<HashMap<LogId, (Tenant, u8)>>,
    },
    PerToken(Arc<Stores>),
}

/// The namespaces that some worker holds.
pub(crate) struct Bases {
    node: Arc<Node>,
    options: Options,
    /// Where a namespace is opened, and what it does by itself is done: workers have but one thread.
    control: Option<Handle>,
    open: Mutex<HashMap<LogId, Weak<Shared>>>,
}

/// Finds what calls see, of all workers.
pub(crate) enum Offered {
    Tree(Arc<Bases>),
    PerToken(Arc<Stores>),
}

/// The stores of tokens.
pub(crate) struct Stores {
    new_store: NewStore,
    stores_max: usize,
    options: Options,
    /// Where a store is opened, and what it does by itself is done: workers have but one thread.
    control: Option<Handle>,
    state: Mutex<State>,
}

type Slot = Arc<OnceCell<Shared>>;
/// Tokens are kept as hashes.
type TokenHash = [u8; blake3::OUT_LEN];

#[derive(Default)]
struct State {
    /// Each with the turn in which it was used last.
    stores: HashMap<TokenHash, (Slot, u64)>,
    turn: u64,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offer::Tree(_) => f.write_str("Tree"),
            Offer::StorePerToken { stores_max, .. } => write!(f, "StorePerToken({stores_max})"),
        }
    }
}

impl fmt::Debug for NewNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewNode").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("stores_max", &self.stores_max).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

impl fmt::Debug for Bases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bases").finish_non_exhaustive()
    }
}

impl Deref for Tenant {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0.shared
    }
}

impl Tenant {
    fn of(shared: Shared, base: Option<Arc<Shared>>) -> Tenant {
        Tenant(Arc::new(Held { shared, _base: base, is_used: AtomicBool::new(true) }))
    }

    pub(crate) fn downgrade(&self) -> WeakTenant {
        WeakTenant(Arc::downgrade(&self.0))
    }
}

impl WeakTenant {
    /// The namespace, for a call that uses it.
    pub(crate) fn of_use(&self) -> Option<Tenant> {
        let held = self.0.upgrade()?;
        held.is_used.store(true, Ordering::Relaxed);
        Some(Tenant(held))
    }
}

impl Offered {
    pub(crate) fn new(offer: &Offer, options: &Options) -> Offered {
        let (options, control) = (options.clone(), Handle::try_current().ok());
        match offer {
            Offer::Tree(Tree { node, .. }) => {
                let (node, open) = (Arc::clone(node), Mutex::default());
                Offered::Tree(Arc::new(Bases { node, options, control, open }))
            }
            Offer::StorePerToken { new_store, stores_max } => {
                let (new_store, stores_max) = (Arc::clone(new_store), *stores_max);
                let state = Mutex::default();
                Offered::PerToken(Arc::new(Stores { new_store, stores_max, options, control, state }))
            }
        }
    }

    /// The same for one worker.
    pub(crate) fn of_worker(&self) -> Tenants {
        match self {
            Offered::Tree(bases) => Tenants::Tree { bases: Arc::clone(bases), held: Mutex::default() },
            Offered::PerToken(stores) => Tenants::PerToken(Arc::clone(stores)),
        }
    }
}

impl Tenants {
    /// The namespace of this id and log, opened if it is not.
    pub(crate) async fn of_log(&self, at: &(NamespaceId, LogId)) -> Result<Tenant, Refusal> {
        let Tenants::Tree { bases, held } = self else { return Err(Refusal::not_permitted()) };
        if let Some((tenant, idle_rounds)) = locked(held).get_mut(&at.1) {
            *idle_rounds = 0;
            return Ok(tenant.clone());
        }
        let base = bases.of(at).await?;
        // What it lets go of is freed where that harms nobody.
        let tenant = Tenant::of(base.of_worker(bases.control.clone()), Some(base));
        // Another call may have been faster; this worker's calls are to see the same.
        Ok(locked(held).entry(at.1).or_insert((tenant, 0)).0.clone())
    }

    /// The store of this token.
    pub(crate) async fn of_token(&self, token: &str) -> Result<Tenant, Refusal> {
        let Tenants::PerToken(stores) = self else { return Err(Refusal::not_permitted()) };
        let hash = blake3::hash(token.as_bytes());
        Ok(Tenant::of(stores.of(hash.into()).await?, None))
    }

    /// Lets go of what is no longer the newest, and of namespaces that no call used for some rounds.
    pub(crate) fn tidy(&self) {
        let Tenants::Tree { held, .. } = self else { return };
        let mut gone = Vec::new();
        let mut held = locked(held);
        held.retain(|_, (tenant, idle_rounds)| {
            let is_used = tenant.0.is_used.swap(false, Ordering::Relaxed);
            *idle_rounds = if is_used { 0 } else { idle_rounds.saturating_add(1) };
            let stays = *idle_rounds < IDLE_ROUNDS;
            if stays {
                tenant.tidy();
            } else {
                gone.push(tenant.clone());
            }
            stays
        });
        drop(held);
        drop(gone);
    }
}

impl Bases {
    /// The namespace of this log, the same for all workers.
    async fn of(&self, (id, log): &(NamespaceId, LogId)) -> Result<Arc<Shared>, Refusal> {
        if let Some(base) = locked(&self.open).get(log).and_then(Weak::upgrade) {
            return Ok(base);
        }
        let (node, log) = (Arc::clone(&self.node), *log);
        let opened = on(self.control.as_ref(), async move { node.namespace(log).await }).await;
        let opened = opened.map_err(|_| cannot_open())?.map_err(|error| {
            telemetry::failed_because(|| Some(error.for_log()));
            cannot_open()
        })?;
        let seal = SealOptions { namespace: id.0.clone(), ..self.options.seal.clone() };
        let new = Arc::new(Shared::new(opened, &Options { seal, ..self.options.clone() }));
        let mut open = locked(&self.open);
        if let Some(base) = open.get(&log).and_then(Weak::upgrade) {
            return Ok(base);
        }
        open.retain(|_, base| base.strong_count() > 0);
        open.insert(log, Arc::downgrade(&new));
        Ok(new)
    }
}

fn cannot_open() -> Refusal {
    Refusal::new(Code::Unavailable, "the namespace cannot be opened at present; try again")
}

/// Does something on this runtime, or here.
async fn on<T: Send + 'static>(
    control: Option<&Handle>,
    work: impl Future<Output = T> + Send + 'static,
) -> std::io::Result<T> {
    match control {
        Some(control) => control.spawn(work).await.map_err(std::io::Error::other),
        None => Ok(work.await),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stores {
    async fn of(&self, token: TokenHash) -> Result<Shared, Refusal> {
        let slot = self.slot(token)?;
        // Whoever comes first makes it, the others wait.
        slot.get_or_try_init(|| self.make()).await.cloned()
    }

    async fn make(&self) -> Result<Shared, Refusal> {
        let unavailable = |_| Refusal::new(Code::Unavailable, "no store can be made at present; try again");
        let NewNode { node, namespace } = (self.new_store)().map_err(unavailable)?;
        let opened = on(self.control.as_ref(), async move { node.namespace(LOG).await }).await;
        let opened =
            opened.map_err(unavailable)?.map_err(|_| unavailable(std::io::ErrorKind::Other.into()))?;
        let seal = SealOptions { namespace, ..self.options.seal.clone() };
        Ok(Shared::new(opened, &Options { seal, ..self.options.clone() }))
    }

    /// The place of a token's store, in which it may not be yet.
    fn slot(&self, token: TokenHash) -> Result<Slot, Refusal> {
        // Freed where nobody waits for the lock.
        let mut gone = None;
        let mut state = locked(&self.state);
        state.turn += 1;
        let turn = state.turn;
        if let Some((slot, used)) = state.stores.get_mut(&token) {
            *used = turn;
            return Ok(Arc::clone(slot));
        }
        if state.stores.len() >= self.stores_max {
            let idle = state.stores.iter().filter(|(_, (slot, _))| is_idle(slot));
            let least = idle.min_by_key(|(_, (_, used))| *used).map(|(token, _)| *token);
            let Some(least) = least else { return Err(self.too_many()) };
            gone = state.stores.remove(&least);
        }
        let slot = Slot::default();
        state.stores.insert(token, (Arc::clone(&slot), turn));
        drop(state);
        drop(gone);
        Ok(slot)
    }

    fn too_many(&self) -> Refusal {
        let text = format!(
            "{} stores are in use, as many as there may be; end the calls of another token, or start the server with a higher --stores-max",
            self.stores_max
        );
        Refusal::new(Code::ResourceExhausted, text)
    }
}

/// Whether no call is using a store, nor waiting for it.
///
/// INVARIANT: whoever uses it holds its sealer, through a `Shared` or the cursors of a stream; who is about to, its slot.
/// Both are given out under the lock, or cloned from one that was.
fn is_idle(slot: &Slot) -> bool {
    Arc::strong_count(slot) == 1 && slot.get().is_none_or(|shared| Arc::strong_count(&shared.sealer) == 1)
}

#[cfg(test)]
mod tests;
