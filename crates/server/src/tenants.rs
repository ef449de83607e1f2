//! Whose data does a call see?
//!
//! A server offers one namespace to all who bring one of its keys; or, to test suites, an empty store to each token that is
//! brought, made when the token is first seen and kept in memory.
//!
//! # Invariants
//! * A token's store is seen by nobody who brings another: it has its own log, graph and seal, so that tokens and cursors
//!   of one store are refused by every other, also by the one that a token gets after its first is gone.
//! * There are never more stores than allowed. One that a call is using does not go; if all are in use, who brings another
//!   token is refused.
//!
//! Cost: nothing for one namespace: no lock, no allocation. A store of a token: one hash and one look-up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use idhini_changelog::LogId;
use idhini_replica::{Namespace, Node};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::auth::bearer;
use crate::options::Options;
use crate::pin::Shared;
use crate::refusal::Refusal;
use crate::seal::SealOptions;

/// Stores of tokens, unless configured otherwise.
pub const STORES_MAX: usize = 1_000;
/// The log of a token's store.
const LOG: LogId = LogId(1);

/// What a server offers, and to whom.
#[derive(Clone)]
pub enum Offer {
    /// A namespace to all who bring a key, and the logs of its node for backups.
    Namespace(Arc<Node>, Arc<Namespace>),
    /// To each token a store of its own, from the first call that brings it.
    StorePerToken {
        /// Makes a store.
        new_store: NewStore,
        /// How many there are at a time.
        stores_max: usize,
    },
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

/// Finds what a call sees.
#[derive(Debug, Clone)]
pub(crate) enum Tenants {
    /// The same for all.
    One(Shared),
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
            Offer::Namespace(..) => f.write_str("Namespace"),
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

impl Tenants {
    pub(crate) fn new(offer: &Offer, options: &Options) -> Tenants {
        match offer {
            Offer::Namespace(_, namespace) => Tenants::One(Shared::new(Arc::clone(namespace), options)),
            Offer::StorePerToken { new_store, stores_max } => Tenants::PerToken(Arc::new(Stores {
                new_store: Arc::clone(new_store),
                stores_max: *stores_max,
                options: options.clone(),
                control: Handle::try_current().ok(),
                state: Mutex::default(),
            })),
        }
    }

    /// The same for one worker; what it lets go of is freed on the runtime that this is called on.
    pub(crate) fn of_worker(&self) -> Tenants {
        match self {
            Tenants::One(shared) => Tenants::One(shared.of_worker(Handle::try_current().ok())),
            Tenants::PerToken(stores) => Tenants::PerToken(Arc::clone(stores)),
        }
    }

    /// What a call with this metadata sees.
    pub(crate) async fn of<'t>(&'t self, metadata: &MetadataMap) -> Result<Cow<'t, Shared>, Refusal> {
        match self {
            Tenants::One(shared) => Ok(Cow::Borrowed(shared)),
            Tenants::PerToken(stores) => {
                let hash = blake3::hash(bearer(metadata)?.as_bytes());
                stores.of(hash.into()).await.map(Cow::Owned)
            }
        }
    }
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
        let opening = async move { node.namespace(LOG).await };
        let opened = match &self.control {
            Some(control) => {
                control.spawn(opening).await.map_err(std::io::Error::other).map_err(unavailable)?
            }
            None => opening.await,
        };
        let opened = opened.map_err(|_| unavailable(std::io::ErrorKind::Other.into()))?;
        let seal = SealOptions { namespace, ..self.options.seal.clone() };
        Ok(Shared::new(opened, &Options { seal, ..self.options.clone() }))
    }

    /// The place of a token's store, in which it may not be yet.
    fn slot(&self, token: TokenHash) -> Result<Slot, Refusal> {
        // Freed where nobody waits for the lock.
        let mut gone = None;
        let mut state = self.locked();
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

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
