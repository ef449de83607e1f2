//! Which revision is the newest, as one worker knows it?
//!
//! A worker keeps the head with the token and the answers that name it, which take two hashes to make, and looks at one
//! number to learn whether it still is the head.
//!
//! # Invariants
//! * What was published before a call began is seen by it, whichever worker answers: the number is read in the call.
//! * An old head is let go of within a second or so, also by a worker that nobody calls, and freed elsewhere: a whole graph
//!   may go with it.
//!
//! Cost: a number that other cores only read, and two locks that no other thread takes.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use idhini_engine::Permissionship;
use idhini_replica::{Namespace, Published};
use idhini_wire::plain_answer;
use tokio::runtime::Handle;

use crate::checks::permissionship;
use crate::seal::Sealer;

/// Old heads that are kept between two rounds of letting go; with more, they go at once.
const GONE_MAX: usize = 64;

/// A revision to be read, and what names it.
#[derive(Debug)]
pub(crate) struct Head {
    /// A worker's own, so that counting its readers is no other core's business.
    pub(crate) published: Arc<Published>,
    pub(crate) token: Arc<str>,
    /// What a check answers that found this and nothing to add.
    has: Bytes,
    no: Bytes,
}

/// The newest head.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// Whether it is kept from one call to the next.
    is_keeping: bool,
    kept: Mutex<Kept>,
    /// Where the old ones are freed.
    control: Option<Handle>,
}

#[derive(Debug, Default)]
struct Kept {
    version: u64,
    head: Option<Arc<Head>>,
    gone: Vec<Arc<Head>>,
}

impl Head {
    pub(crate) fn of(published: &Published, sealer: &Sealer) -> Head {
        let token = sealer.token(published.revision());
        let answer = |found| Bytes::from(plain_answer(&token, permissionship(found)));
        Head {
            has: answer(Permissionship::Has),
            no: answer(Permissionship::No),
            published: Arc::new(published.clone()),
            token: token.into(),
        }
    }

    /// The whole answer of a check that has nothing to add.
    pub(crate) fn answer(&self, found: Permissionship) -> Option<Bytes> {
        match found {
            Permissionship::Has => Some(self.has.clone()),
            Permissionship::No => Some(self.no.clone()),
            Permissionship::Conditional => None,
        }
    }
}

impl Heads {
    /// Of a worker: kept between calls.
    pub(crate) fn of_worker(control: Option<Handle>) -> Heads {
        Heads { is_keeping: true, kept: Mutex::default(), control }
    }

    /// The newest revision.
    pub(crate) fn newest(&self, namespace: &Namespace, sealer: &Sealer) -> Arc<Head> {
        if !self.is_keeping {
            return Arc::new(Head::of(&namespace.head(), sealer));
        }
        // Read before the head, so that what is kept is never older than it says.
        let version = namespace.version();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = kept.head.as_ref().filter(|_| kept.version == version) {
            return Arc::clone(head);
        }
        let newest = Arc::new(Head::of(&namespace.head(), sealer));
        kept.version = version;
        let old = kept.head.replace(Arc::clone(&newest));
        kept.gone.extend(old);
        if kept.gone.len() > GONE_MAX {
            self.free(std::mem::take(&mut kept.gone));
        }
        newest
    }

    /// Lets go of what is no longer the head.
    pub(crate) fn tidy(&self, namespace: &Namespace, sealer: &Sealer) {
        let is_old = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.head.is_some() && kept.version != namespace.version()
        };
        if is_old {
            drop(self.newest(namespace, sealer));
        }
        let gone = std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner).gone);
        if !gone.is_empty() {
            self.free(gone);
        }
    }

    fn free(&self, gone: Vec<Arc<Head>>) {
        match &self.control {
            Some(control) => drop(control.spawn_blocking(move || drop(gone))),
            None => drop(gone),
        }
    }
}

#[cfg(test)]
mod tests;
