//! What stands in the control plane, laid out to be asked before every call: paths, locks, texts of tokens.
//!
//! # Invariants
//! * A view is a function of the relationships that it was given; their order does not matter.
//! * What has expired is as absent as what was deleted: every question takes the moment.
//!
//! Cost: a namespace is found by one look-up for each name of its path, a token by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use idhini_model::{Relationship, Timestamp};

use super::path::NamespacePath;
use super::record::{
    Accessor, LockMode, LockRecord, NamespaceId, NamespaceRecord, RecordError, SecretHash, TokenRecord,
    hash_of, used_at,
};

/// A lock, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// What is recorded of it.
    pub record: LockRecord,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A lock that a namespace is under, its own or one above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveLock {
    /// The namespace that is locked.
    pub locked: NamespacePath,
    /// Its lock.
    pub lock: Lock,
}

/// A token, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What is recorded of it.
    pub record: Arc<TokenRecord>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Whose a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The token's name.
    pub accessor: Accessor,
    /// What is recorded of it.
    pub token: Token,
    /// When this text ends: with the token, or before if it was replaced.
    pub until: Option<Timestamp>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The namespace there, or the nearest one above that there is.
    pub nearest: (NamespaceId, Arc<NamespaceRecord>),
    /// Whether it is the one asked for.
    pub is_exact: bool,
}

/// The state of the control plane.
#[derive(Debug, Default)]
pub struct View {
    namespaces: HashMap<NamespaceId, Arc<NamespaceRecord>>,
    /// Every namespace by its path, and so those below one behind it.
    paths: BTreeMap<NamespacePath, NamespaceId>,
    locks: HashMap<NamespaceId, Lock>,
    tokens: HashMap<Accessor, Token>,
    /// Every token by its home.
    homes: BTreeSet<(NamespaceId, Accessor)>,
    /// When tokens were used last, as far as it is recorded.
    used: HashMap<Accessor, Timestamp>,
    secrets: HashMap<SecretHash, (Accessor, Option<Timestamp>)>,
    /// Tokens that are gone, of which something may be left.
    gone: BTreeSet<Accessor>,
}

/// Whether something counts at a moment.
fn counts(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_none_or(|at| at > now)
}

impl View {
    /// What is at a path. Takes as many steps whether or not there is anything.
    #[must_use]
    pub fn at(&self, path: &NamespacePath) -> Option<Found> {
        let mut found = None;
        for at in std::iter::once(path.clone()).chain(path.ancestors()) {
            let here = self.paths.get(&at).and_then(|id| Some((id, self.namespaces.get(id)?)));
            let is_exact = at == *path;
            found = found
                .or(here.map(|(id, record)| Found { nearest: (id.clone(), Arc::clone(record)), is_exact }));
        }
        found
    }

    /// The namespace at a path, if there is one.
    pub(super) fn exactly(&self, path: &NamespacePath) -> Option<&Arc<NamespaceRecord>> {
        self.namespaces.get(self.paths.get(path)?)
    }

    /// All namespaces, in the order of their paths.
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<NamespaceRecord>> {
        self.paths.values().filter_map(|id| self.namespaces.get(id))
    }

    /// The namespace at a path and those above it, from the nearest to `root`, as far as they are there.
    pub fn line(&self, path: &NamespacePath) -> impl Iterator<Item = (&NamespaceId, &Arc<NamespaceRecord>)> {
        let up = std::iter::once(path.clone()).chain(path.ancestors());
        up.filter_map(|at| {
            let id = self.paths.get(&at)?;
            Some((id, self.namespaces.get(id)?))
        })
    }

    /// The namespace of this id.
    #[must_use]
    pub fn namespace(&self, id: &NamespaceId) -> Option<&Arc<NamespaceRecord>> {
        self.namespaces.get(id)
    }

    /// The namespaces below one, in the order of their paths: all of them, or those directly in it.
    pub fn below<'v>(
        &'v self,
        path: &'v NamespacePath,
        is_direct: bool,
    ) -> impl Iterator<Item = (&'v NamespaceId, &'v Arc<NamespaceRecord>)> {
        // Between a path and those below it others may stand, such as `a-b` between `a` and `a/b`.
        let beginning =
            self.paths.range(path.clone()..).take_while(|(at, _)| at.as_str().starts_with(path.as_str()));
        let below = beginning.filter(move |(at, _)| *at != path && path.holds(at));
        let wanted = below.filter(move |(at, _)| !is_direct || at.parent().as_ref() == Some(path));
        wanted.filter_map(|(_, id)| Some((id, self.namespaces.get(id)?)))
    }

    /// What users keep under this key with a namespace and with those above it, the nearest first.
    pub fn metadata_of<'v>(
        &'v self,
        path: &NamespacePath,
        key: &'v str,
    ) -> impl Iterator<Item = (&'v NamespacePath, &'v str)> {
        let from_here = std::iter::once(path.clone()).chain(path.ancestors());
        let records = from_here.filter_map(|at| self.namespaces.get(self.paths.get(&at)?));
        records.filter_map(move |record| Some((&record.path, record.metadata.get(key)?.as_str())))
    }

    /// A namespace's own lock.
    #[must_use]
    pub fn own_lock(&self, path: &NamespacePath, now: Timestamp) -> Option<&Lock> {
        let id = self.paths.get(path)?;
        self.locks.get(id).filter(|lock| counts(lock.expires_at, now))
    }

    /// The lock that decides what a namespace refuses: of those on it and above it the highest that refuses everything,
    /// else the highest.
    #[must_use]
    pub fn lock(&self, path: &NamespacePath, now: Timestamp) -> Option<EffectiveLock> {
        if self.locks.is_empty() {
            return None;
        }
        let mut found: Option<EffectiveLock> = None;
        for at in std::iter::once(path.clone()).chain(path.ancestors()) {
            let Some(lock) = self.own_lock(&at, now) else { continue };
            let is_stronger = lock.record.mode == LockMode::All
                || found.as_ref().is_none_or(|found| found.lock.record.mode == LockMode::Writes);
            if is_stronger {
                found = Some(EffectiveLock { locked: at, lock: lock.clone() });
            }
        }
        found
    }

    /// Whose a text is, by its hash.
    #[must_use]
    pub fn bearer(&self, secret: &SecretHash, now: Timestamp) -> Option<Bearer> {
        let (accessor, until) = self.secrets.get(secret).filter(|(_, until)| counts(*until, now))?;
        let token = self.token(accessor, now)?.clone();
        Some(Bearer { accessor: accessor.clone(), token, until: *until })
    }

    /// A token.
    #[must_use]
    pub fn token(&self, accessor: &Accessor, now: Timestamp) -> Option<&Token> {
        self.tokens.get(accessor).filter(|token| counts(token.expires_at, now))
    }

    /// The tokens whose home is a namespace, in the order of their accessors, behind one.
    pub fn tokens_of<'v>(
        &'v self,
        home: &'v NamespaceId,
        after: &Accessor,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'v Accessor, &'v Token)> {
        let behind = (Bound::Excluded((home.clone(), after.clone())), Bound::Unbounded);
        let of_it = self.homes.range(behind).take_while(move |(other, _)| other == home);
        of_it.filter_map(move |(_, accessor)| Some((accessor, self.token(accessor, now)?)))
    }

    /// When a token was used last, as far as it is recorded.
    #[must_use]
    pub fn used_at(&self, accessor: &Accessor) -> Option<Timestamp> {
        self.used.get(accessor).copied()
    }

    /// Some tokens that are gone and of which something may be left; of these it is not told again.
    pub(super) fn take_gone(&mut self, tokens_max: usize) -> Vec<Accessor> {
        let View { gone, tokens, .. } = self;
        let mut taken = Vec::new();
        while taken.len() < tokens_max
            && let Some(accessor) = gone.pop_first()
        {
            // What was granted to one that is there is nothing left behind.
            if !tokens.contains_key(&accessor) {
                taken.push(accessor);
            }
        }
        taken
    }

    /// They were not looked after.
    pub(super) fn put_back_gone(&mut self, tokens: Vec<Accessor>) {
        self.gone.extend(tokens);
    }

    /// The namespaces that are being deleted.
    pub fn deleting(&self) -> impl Iterator<Item = (&NamespaceId, &Arc<NamespaceRecord>)> {
        self.namespaces.iter().filter(|(_, record)| record.is_deleting)
    }

    /// Takes in a relationship that is made, or replaced.
    pub(super) fn put(&mut self, relationship: &Relationship) -> Result<(), RecordError> {
        let Relationship { resource, relation, subject, expires_at, .. } = relationship;
        let expires_at = *expires_at;
        match (resource.object_type.as_str(), relation.as_str()) {
            ("namespace", "record") => {
                let id = NamespaceId(resource.object_id.clone());
                let record = NamespaceRecord::of(relationship)?;
                self.paths.insert(record.path.clone(), id.clone());
                self.namespaces.insert(id, Arc::new(record));
            }
            ("namespace", "lock") => {
                let lock = Lock { record: LockRecord::of(relationship)?, expires_at };
                self.locks.insert(NamespaceId(resource.object_id.clone()), lock);
            }
            ("token", "record") => {
                let token = Token { record: Arc::new(TokenRecord::of(relationship)?), expires_at };
                let accessor = Accessor(resource.object_id.clone());
                // A token keeps its home.
                self.homes.insert((token.record.home.clone(), accessor.clone()));
                self.tokens.insert(accessor, token);
            }
            ("token", "used") => {
                self.used.insert(Accessor(resource.object_id.clone()), used_at(relationship)?);
            }
            ("secret", "opens") => {
                if let Some(secret) = hash_of(&resource.object_id) {
                    self.secrets.insert(secret, (Accessor(subject.object_id.clone()), expires_at));
                }
            }
            // Grants are asked of the graph. One to a token that is not there is of one that is gone.
            ("namespace", _) if subject.object_type == "token" => {
                self.gone.insert(Accessor(subject.object_id.clone()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets go of a relationship that is deleted.
    pub(super) fn remove(&mut self, relationship: &Relationship) {
        let Relationship { resource, relation, .. } = relationship;
        match (resource.object_type.as_str(), relation.as_str()) {
            ("namespace", "record") => {
                let id = NamespaceId(resource.object_id.clone());
                if let Some(record) = self.namespaces.remove(&id)
                    && self.paths.get(&record.path) == Some(&id)
                {
                    self.paths.remove(&record.path);
                }
            }
            ("namespace", "lock") => drop(self.locks.remove(&NamespaceId(resource.object_id.clone()))),
            ("token", "record") => {
                let accessor = Accessor(resource.object_id.clone());
                if let Some(token) = self.tokens.remove(&accessor) {
                    self.gone.insert(accessor.clone());
                    self.homes.remove(&(token.record.home.clone(), accessor));
                }
            }
            ("token", "used") => drop(self.used.remove(&Accessor(resource.object_id.clone()))),
            ("secret", "opens") => {
                if let Some(secret) = hash_of(&resource.object_id) {
                    self.secrets.remove(&secret);
                }
            }
            _ => {}
        }
    }
}
