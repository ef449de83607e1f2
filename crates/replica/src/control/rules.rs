//! What does a request of the control plane change? Judged by the writer, on the working graph, like any other write.
//!
//! # Invariants
//! * One request is one entry: nothing of it is seen without the rest.
//! * Only the lock itself is stored; what it means for namespaces below is derived.
//! * Whoever may not is told the same, whether or not there is what was asked for; who may hears what is so.

use std::collections::BTreeMap;

use idhini_changelog::LogId;
use idhini_model::{
    Change, Filter, IdFilter, RelationFilter, Relationship, ResourceRef, SubjectFilter, SubjectRef, Timestamp,
};

use super::path::NamespacePath;
use super::quota;
use super::record::{
    Accessor, LockMode, LockRecord, NamespaceId, NamespaceRecord, SecretHash, TokenRecord, bare, hash_of,
    named, next_log, next_log_of, opens, path_resource, server, used,
};
use super::request::{
    Control, ControlChange, ControlError, LIFETIME_SECONDS_MAX, METADATA_KEY_BYTES_MAX, METADATA_MAX,
    METADATA_VALUE_BYTES_MAX, REMARK_BYTES_MAX,
};
use super::rights::{Right, Role, may};
use super::{FIRST_LOG, ROOT_LOG};
use crate::published::Portion;
use crate::{Published, judge};

/// Edges that one look at the control plane may visit.
const EDGES_MAX: u64 = 10_000_000;
/// Subjects that can be granted a role.
const MEMBERS: [&str; 3] = ["token", "certificate", "external"];

type Judged<T> = Result<T, ControlError>;

/// Judges a request.
pub(crate) fn judge(head: &Published, now: Timestamp, request: &Control) -> Judged<Vec<Change>> {
    let rules = Rules { head, now, by: request.by.as_ref() };
    match &request.change {
        ControlChange::Begin { admins } => rules.begin(admins),
        ControlChange::Create { path, id, metadata } => rules.create(path, id, metadata),
        ControlChange::Patch { path, metadata } => rules.patch(path, metadata),
        ControlChange::Delete { path } => rules.delete(path),
        ControlChange::Forget { id } => rules.forget(id),
        ControlChange::Lock { path, mode, key, reason, expires_at } => {
            let (locked_by, locked_at) = (rules.actor(), now);
            let lock = LockRecord { mode: *mode, key: *key, reason: reason.clone(), locked_by, locked_at };
            rules.lock(path, &lock, *expires_at)
        }
        ControlChange::Unlock { path, key } => rules.unlock(path, key.as_ref()),
        ControlChange::CreateToken { accessor, secret, home, description, lifetime_seconds, roles } => {
            let (id, _) = rules.open(home, Right::Administer)?;
            let (created_at, created_by) = (now, rules.actor());
            let (description, lifetime_seconds) = (description.clone(), *lifetime_seconds);
            let (home, secret_now) = (id, Some(*secret));
            let token = TokenRecord {
                home,
                description,
                created_at,
                created_by,
                lifetime_seconds,
                secret: secret_now,
            };
            rules.create_token(accessor, secret, &token, roles)
        }
        ControlChange::RenewToken { accessor } => rules.renew_token(accessor),
        ControlChange::RotateToken { accessor, secret, overlap_seconds } => {
            rules.rotate_token(accessor, secret, *overlap_seconds)
        }
        ControlChange::Used { tokens } => rules.used(tokens),
        ControlChange::RevokeToken { accessor } => rules.revoke_token(accessor),
        ControlChange::Sweep { tokens } => rules.sweep(tokens),
        ControlChange::Grant { path, role, to } => rules.grant(path, *role, to),
        ControlChange::Revoke { path, role, from } => rules.revoke(path, *role, from),
    }
}

/// What a judgement goes by.
struct Rules<'a> {
    head: &'a Published,
    now: Timestamp,
    by: Option<&'a SubjectRef>,
}

impl Rules<'_> {
    fn actor(&self) -> String {
        self.by.map_or_else(|| "server".to_owned(), ToString::to_string)
    }

    // What is there.

    fn read(&self, filter: &Filter, rows_max: usize) -> Vec<Relationship> {
        let portion = Portion { rows_max, edges_max: EDGES_MAX };
        self.head.read(filter, self.now, None, portion).rows.into_iter().map(|row| row.relationship).collect()
    }

    /// What is stored of a relationship, if that counts at this moment.
    fn found(&self, relationship: &Relationship) -> Option<Relationship> {
        self.head.root().find(relationship).filter(|stored| !judge::is_expired(stored, self.now))
    }

    fn id_of(&self, path: &NamespacePath) -> Option<NamespaceId> {
        let found = self.read(&of_resource(&path_resource(path)), 1);
        found.into_iter().next().map(|named| NamespaceId(named.subject.object_id))
    }

    fn namespace(&self, id: &NamespaceId) -> Judged<Option<NamespaceRecord>> {
        let record = self.found(&bare(id.resource(), "record", "namespace"));
        Ok(record.as_ref().map(NamespaceRecord::of).transpose()?)
    }

    fn token(&self, accessor: &Accessor) -> Judged<TokenRecord> {
        let record =
            self.found(&bare(accessor.resource(), "record", "token")).ok_or(ControlError::NoToken)?;
        Ok(TokenRecord::of(&record)?)
    }

    fn lock_of(&self, id: &NamespaceId) -> Judged<Option<LockRecord>> {
        let lock = self.found(&bare(id.resource(), "lock", "lock"));
        Ok(lock.as_ref().map(LockRecord::of).transpose()?)
    }

    // Who may.

    fn may(&self, right: Right, id: &NamespaceId) -> Judged<bool> {
        self.by.map_or(Ok(true), |who| may(self.head, self.now, who, right, id))
    }

    /// Whether who asks administrates the namespace that this one is in; of `root`, itself.
    fn may_above(&self, path: &NamespacePath) -> Judged<bool> {
        let above = path.parent().unwrap_or_else(NamespacePath::root);
        match self.id_of(&above) {
            Some(id) => self.may(Right::Administer, &id),
            None => Ok(false),
        }
    }

    /// What is at a path, or nearest above it, and what is exactly there. Looks at the same things whether or not anything is.
    fn places(&self, path: &NamespacePath) -> Judged<(NamespaceId, Option<NamespaceId>)> {
        let mut nearest = None;
        let mut exact = None;
        for at in std::iter::once(path.clone()).chain(path.ancestors()) {
            let id = self.id_of(&at);
            if at == *path {
                exact.clone_from(&id);
            }
            nearest = nearest.or(id);
        }
        Ok((nearest.ok_or(ControlError::NotPermitted)?, exact))
    }

    /// The namespace at a path, for one who has this right there.
    fn seat(&self, path: &NamespacePath, right: Right) -> Judged<(NamespaceId, NamespaceRecord)> {
        let (nearest, exact) = self.places(path)?;
        if !self.may(right, &nearest)? {
            return Err(ControlError::NotPermitted);
        }
        let none = || ControlError::NoNamespace { path: path.clone() };
        let id = exact.ok_or_else(none)?;
        let record = self.namespace(&id)?.ok_or_else(none)?;
        Ok((id, record))
    }

    /// The same, for one who hears first of a lock if they belong there: one of any mode refuses changes.
    fn unlocked_seat(&self, path: &NamespacePath, right: Right) -> Judged<(NamespaceId, NamespaceRecord)> {
        if !self.may(Right::Belong, &self.places(path)?.0)? {
            return Err(ControlError::NotPermitted);
        }
        self.expect_unlocked(std::iter::once(path.clone()).chain(path.ancestors()))?;
        self.seat(path, right)
    }

    /// The same of one that is not about to go.
    fn standing(&self, path: &NamespacePath, right: Right) -> Judged<(NamespaceId, NamespaceRecord)> {
        let (id, record) = self.seat(path, right)?;
        if record.is_deleting {
            return Err(ControlError::BeingDeleted { path: path.clone() });
        }
        Ok((id, record))
    }

    /// The same of one that is not locked either, itself or from above.
    fn open(&self, path: &NamespacePath, right: Right) -> Judged<(NamespaceId, NamespaceRecord)> {
        let found = self.unlocked_seat(path, right)?;
        if found.1.is_deleting {
            return Err(ControlError::BeingDeleted { path: path.clone() });
        }
        Ok(found)
    }

    /// Refuses what is in a locked namespace. Of several locks that counts which [`super::View::lock`] answers.
    fn expect_unlocked(&self, line: impl Iterator<Item = NamespacePath>) -> Judged<()> {
        let mut found: Option<(NamespacePath, LockRecord)> = None;
        for at in line {
            let Some(id) = self.id_of(&at) else { continue };
            let Some(lock) = self.lock_of(&id)? else { continue };
            let is_stronger = lock.mode == LockMode::All
                || found.as_ref().is_none_or(|(_, found)| found.mode == LockMode::Writes);
            if is_stronger {
                found = Some((at, lock));
            }
        }
        match found {
            None => Ok(()),
            Some((locked, LockRecord { mode, reason, .. })) => {
                Err(ControlError::Locked { locked, mode, reason })
            }
        }
    }

    // What it comes to.

    /// Makes a relationship so, whatever is there.
    fn put(&self, relationship: Relationship) -> Option<Change> {
        match self.head.root().find(&relationship) {
            None => Some(Change::Created(relationship)),
            Some(stored) if stored == relationship => None,
            Some(stored) => Some(Change::Replaced { old: stored.attributes(), new: relationship }),
        }
    }

    fn remove(&self, relationship: &Relationship) -> Option<Change> {
        self.head.root().find(relationship).map(Change::Deleted)
    }

    fn begin(&self, admins: &[SubjectRef]) -> Judged<Vec<Change>> {
        let (root, path) = (NamespaceId::root(), NamespacePath::root());
        let mut changes = Vec::new();
        if self.namespace(&root)?.is_none() {
            let record = NamespaceRecord {
                path: path.clone(),
                log: ROOT_LOG,
                created_at: self.now,
                created_by: self.actor(),
                metadata: BTreeMap::new(),
                is_deleting: false,
            };
            changes.extend(self.put(record.to_relationship(&root)));
            changes.extend(self.put(named(&path, &root)));
        }
        let wanted: Vec<Relationship> =
            admins.iter().map(|admin| granted(&root, Role::Admin, admin)).collect();
        for kind in ["preshared_key", "root_token"] {
            let (subject_id, relation) = (None, RelationFilter::Absent);
            let subject = SubjectFilter { subject_type: kind.to_owned(), subject_id, relation };
            let filter = Filter {
                relation: Some(Role::Admin.as_str().to_owned()),
                subject: Some(subject),
                ..of_resource(&root.resource())
            };
            let gone = self.read(&filter, usize::MAX).into_iter().filter(|stored| !wanted.contains(stored));
            changes.extend(gone.map(Change::Deleted));
        }
        changes.extend(wanted.into_iter().filter_map(|admin| self.put(admin)));
        Ok(changes)
    }

    fn create(
        &self,
        path: &NamespacePath,
        id: &NamespaceId,
        metadata: &BTreeMap<String, String>,
    ) -> Judged<Vec<Change>> {
        let Some(parent_path) = path.parent() else { return Err(ControlError::Root { what: "created" }) };
        let parent = match self.open(&parent_path, Right::Administer) {
            Err(ControlError::NoNamespace { path: parent }) => {
                return Err(ControlError::NoParent { path: path.clone(), parent });
            }
            other => other?.0,
        };
        if let Some(id) = self.id_of(path) {
            return Err(match self.namespace(&id)?.is_some_and(|record| record.is_deleting) {
                true => ControlError::BeingDeleted { path: path.clone() },
                false => ControlError::NamespaceExists { path: path.clone() },
            });
        }
        expect_metadata(metadata)?;
        let counted = self.found(&bare(server(), "record", "server"));
        let log = counted.as_ref().map_or(Ok(FIRST_LOG), next_log_of)?;
        let record = NamespaceRecord {
            path: path.clone(),
            log,
            created_at: self.now,
            created_by: self.actor(),
            metadata: metadata.clone(),
            is_deleting: false,
        };
        let made =
            [record.to_relationship(id), named(path, id), below(id, &parent), next_log(LogId(log.0 + 1))];
        Ok(made.into_iter().filter_map(|relationship| self.put(relationship)).collect())
    }

    fn patch(&self, path: &NamespacePath, patch: &BTreeMap<String, Option<String>>) -> Judged<Vec<Change>> {
        let (id, mut record) = self.open(path, Right::Administer)?;
        let is_changed =
            |(key, value): &(&String, &Option<String>)| record.metadata.get(*key) != value.as_ref();
        let from_above = patch.iter().filter(is_changed).find(|(key, _)| quota::is_from_above(key));
        if let Some((key, _)) = from_above
            && !self.may_above(path)?
        {
            return Err(ControlError::QuotaFromAbove { path: path.clone(), key: key.clone() });
        }
        for (key, value) in patch {
            match value {
                Some(value) => drop(record.metadata.insert(key.clone(), value.clone())),
                None => drop(record.metadata.remove(key)),
            }
        }
        expect_metadata(&record.metadata)?;
        Ok(self.put(record.to_relationship(&id)).into_iter().collect())
    }

    fn delete(&self, path: &NamespacePath) -> Judged<Vec<Change>> {
        if path.is_root() {
            return Err(ControlError::Root { what: "deleted" });
        }
        let (id, mut record) = self.unlocked_seat(path, Right::Administer)?;
        if let Some(child) = self.read(&children(&id), 1).into_iter().next() {
            let child = self.namespace(&NamespaceId(child.resource.object_id))?;
            let child = child.map_or_else(|| path.clone(), |child| child.path);
            return Err(ControlError::HasChildren { path: path.clone(), child });
        }
        record.is_deleting = true;
        Ok(self.put(record.to_relationship(&id)).into_iter().collect())
    }

    fn forget(&self, id: &NamespaceId) -> Judged<Vec<Change>> {
        let Some(record) = self.namespace(id)?.filter(|record| record.is_deleting) else {
            return Ok(Vec::new());
        };
        let mut changes = Vec::new();
        let of_it = Filter { relation: None, ..of_resource(&id.resource()) };
        changes.extend(self.all(&of_it).into_iter().map(Change::Deleted));
        changes.extend(self.remove(&named(&record.path, id)));
        let tokens = Filter {
            resource_type: Some("token".to_owned()),
            relation: Some("record".to_owned()),
            ..Filter::default()
        };
        for token in self.all(&tokens) {
            if TokenRecord::of(&token)?.home == *id {
                let gone = self.all_of_token(&Accessor(token.resource.object_id));
                changes.extend(
                    gone.into_iter().filter(|gone| gone.resource != id.resource()).map(Change::Deleted),
                );
            }
        }
        Ok(changes)
    }

    fn lock(
        &self,
        path: &NamespacePath,
        lock: &LockRecord,
        expires_at: Option<Timestamp>,
    ) -> Judged<Vec<Change>> {
        if path.is_root() {
            return Err(ControlError::Root { what: "locked" });
        }
        let (id, _) = self.standing(path, Right::Administer)?;
        expect_remark(&lock.reason)?;
        if expires_at.is_some_and(|at| at <= self.now) {
            return Err(ControlError::EndsBefore);
        }
        self.expect_unlocked(path.ancestors())?;
        if self.lock_of(&id)?.is_some() {
            return Err(ControlError::AlreadyLocked { path: path.clone() });
        }
        Ok(self.put(lock.to_relationship(&id, expires_at)).into_iter().collect())
    }

    fn unlock(&self, path: &NamespacePath, key: Option<&SecretHash>) -> Judged<Vec<Change>> {
        if path.is_root() {
            return Err(ControlError::Root { what: "unlocked" });
        }
        // With a key, whoever belongs there may try it.
        let right = if key.is_some() { Right::Belong } else { Right::Administer };
        let (id, _) = self.standing(path, right)?;
        self.expect_unlocked(path.ancestors())?;
        let Some(lock) = self.lock_of(&id)? else {
            return Err(ControlError::NotLocked { path: path.clone() });
        };
        if let Some(key) = key
            && !is_same(key, &lock.key)
        {
            return Err(ControlError::WrongKey { path: path.clone() });
        }
        Ok(self.remove(&bare(id.resource(), "lock", "lock")).into_iter().collect())
    }

    fn create_token(
        &self,
        accessor: &Accessor,
        secret: &SecretHash,
        token: &TokenRecord,
        roles: &[Role],
    ) -> Judged<Vec<Change>> {
        expect_remark(&token.description)?;
        if self.namespace(&token.home)?.is_none_or(|home| home.is_deleting) {
            return Err(ControlError::NotPermitted);
        }
        let expires_at = token.lifetime_seconds.map(|seconds| self.after(seconds));
        let mut made = vec![token.to_relationship(accessor, expires_at), opens(secret, accessor, expires_at)];
        let subject = accessor.subject();
        let mut roles = roles.to_vec();
        roles.sort_unstable();
        roles.dedup();
        made.extend(roles.into_iter().map(|role| granted(&token.home, role, &subject)));
        Ok(made.into_iter().filter_map(|relationship| self.put(relationship)).collect())
    }

    /// A token that may be changed by who asks: itself, or one of its home's administrators.
    fn own_token(&self, accessor: &Accessor, is_itself_enough: bool) -> Judged<TokenRecord> {
        let is_itself = is_itself_enough && self.by.is_some_and(|by| *by == accessor.subject());
        // Who may not hears the same whether or not there is one.
        let token = match self.token(accessor) {
            Ok(token) => token,
            Err(ControlError::NoToken) if self.may(Right::Administer, &NamespaceId::root())? => {
                return Err(ControlError::NoToken);
            }
            Err(ControlError::NoToken) => return Err(ControlError::NotPermitted),
            Err(error) => return Err(error),
        };
        if !is_itself && !self.may(Right::Administer, &token.home)? {
            return Err(ControlError::NotPermitted);
        }
        if let Some(home) = self.namespace(&token.home)? {
            self.expect_unlocked(std::iter::once(home.path.clone()).chain(home.path.ancestors()))?;
        }
        Ok(token)
    }

    fn renew_token(&self, accessor: &Accessor) -> Judged<Vec<Change>> {
        let token = self.own_token(accessor, true)?;
        let expires_at = token.lifetime_seconds.map(|seconds| self.after(seconds));
        let mut changes: Vec<Change> =
            self.put(token.to_relationship(accessor, expires_at)).into_iter().collect();
        changes.extend(self.last_used(accessor, expires_at));
        let record = self.found(&bare(accessor.resource(), "record", "token"));
        let ends_at = record.and_then(|record| record.expires_at);
        // The texts that lasted as long as the token; one that is on its way out does not stay.
        for opens in self.all(&secrets_of(accessor)) {
            let is_of_token = match token.secret {
                Some(secret) => hash_of(&opens.resource.object_id) == Some(secret),
                // Of an earlier release.
                None => opens.expires_at == ends_at,
            };
            if is_of_token {
                changes.extend(self.put(Relationship { expires_at, ..opens }));
            }
        }
        Ok(changes)
    }

    fn rotate_token(
        &self,
        accessor: &Accessor,
        secret: &SecretHash,
        overlap_seconds: u64,
    ) -> Judged<Vec<Change>> {
        let token = TokenRecord { secret: Some(*secret), ..self.own_token(accessor, true)? };
        let expires_at = token.lifetime_seconds.map(|seconds| self.after(seconds));
        let overlap_ends = self.after(overlap_seconds);
        let mut changes: Vec<Change> =
            self.put(token.to_relationship(accessor, expires_at)).into_iter().collect();
        changes.extend(self.last_used(accessor, expires_at));
        for old in self.all(&secrets_of(accessor)) {
            let ends = old.expires_at.map_or(overlap_ends, |at| at.min(overlap_ends));
            changes.extend(match overlap_seconds {
                0 => Some(Change::Deleted(old)),
                _ => self.put(Relationship { expires_at: Some(ends), ..old }),
            });
        }
        changes.extend(self.put(opens(secret, accessor, expires_at)));
        Ok(changes)
    }

    /// Keeps as long as the token when it was used last.
    fn last_used(&self, accessor: &Accessor, expires_at: Option<Timestamp>) -> Option<Change> {
        let stored = self.head.root().find(&bare(accessor.resource(), "used", "used"))?;
        self.put(Relationship { expires_at, ..stored })
    }

    fn used(&self, tokens: &[(Accessor, Timestamp)]) -> Judged<Vec<Change>> {
        let mut changes = Vec::new();
        for (accessor, at) in tokens {
            if let Some(record) = self.found(&bare(accessor.resource(), "record", "token")) {
                changes.extend(self.put(used(accessor, *at, record.expires_at)));
            }
        }
        Ok(changes)
    }

    fn revoke_token(&self, accessor: &Accessor) -> Judged<Vec<Change>> {
        self.own_token(accessor, true)?;
        Ok(self.all_of_token(accessor).into_iter().map(Change::Deleted).collect())
    }

    /// Takes away what tokens left that have ended.
    fn sweep(&self, tokens: &[Accessor]) -> Judged<Vec<Change>> {
        let mut changes = Vec::new();
        for accessor in tokens {
            match self.token(accessor) {
                Err(ControlError::NoToken) => {
                    changes.extend(self.all_of_token(accessor).into_iter().map(Change::Deleted));
                }
                // It was renewed, or cannot be read.
                other => drop(other?),
            }
        }
        Ok(changes)
    }

    fn grant(&self, path: &NamespacePath, role: Role, to: &SubjectRef) -> Judged<Vec<Change>> {
        let (id, _) = self.open(path, Right::Administer)?;
        if to.relation.is_some() || to.is_wildcard() || !MEMBERS.contains(&to.object_type.as_str()) {
            return Err(ControlError::NoSuchMember { subject: to.to_string() });
        }
        if to.object_type == "token" && self.token(&Accessor(to.object_id.clone())).is_err() {
            return Err(ControlError::NoToken);
        }
        let change = self.put(granted(&id, role, to));
        change.map(|change| vec![change]).ok_or(ControlError::AlreadyGranted)
    }

    fn revoke(&self, path: &NamespacePath, role: Role, from: &SubjectRef) -> Judged<Vec<Change>> {
        let (id, _) = self.open(path, Right::Administer)?;
        let change = self.remove(&granted(&id, role, from));
        change.map(|change| vec![change]).ok_or(ControlError::NotGranted)
    }

    /// All that matches, expired or not.
    fn all(&self, filter: &Filter) -> Vec<Relationship> {
        let portion = Portion { rows_max: usize::MAX, edges_max: EDGES_MAX };
        let always = Timestamp::from_seconds(i64::MIN);
        self.head.read(filter, always, None, portion).rows.into_iter().map(|row| row.relationship).collect()
    }

    /// A token's record, texts and grants.
    fn all_of_token(&self, accessor: &Accessor) -> Vec<Relationship> {
        let own = self.all(&of_resource(&accessor.resource()));
        let of_others = Filter { subject: Some(exactly("token", &accessor.0)), ..Filter::default() };
        own.into_iter().chain(self.all(&of_others)).collect()
    }

    fn after(&self, seconds: u64) -> Timestamp {
        let seconds = seconds.min(LIFETIME_SECONDS_MAX).cast_signed();
        Timestamp::from_seconds(self.now.seconds().saturating_add(seconds))
    }
}

pub(super) fn of_resource(resource: &ResourceRef) -> Filter {
    Filter {
        resource_type: Some(resource.object_type.clone()),
        resource_id: Some(IdFilter::Exactly(resource.object_id.clone())),
        ..Filter::default()
    }
}

fn exactly(subject_type: &str, id: &str) -> SubjectFilter {
    SubjectFilter {
        subject_type: subject_type.to_owned(),
        subject_id: Some(id.to_owned()),
        relation: RelationFilter::Absent,
    }
}

fn secrets_of(accessor: &Accessor) -> Filter {
    Filter {
        resource_type: Some("secret".to_owned()),
        subject: Some(exactly("token", &accessor.0)),
        ..Filter::default()
    }
}

/// Namespaces directly in this one.
fn children(id: &NamespaceId) -> Filter {
    Filter {
        resource_type: Some("namespace".to_owned()),
        relation: Some("parent".to_owned()),
        subject: Some(exactly("namespace", &id.0)),
        ..Filter::default()
    }
}

fn below(id: &NamespaceId, parent: &NamespaceId) -> Relationship {
    Relationship::new(id.resource(), "parent", SubjectRef::object("namespace", parent.0.as_str()))
}

fn granted(id: &NamespaceId, role: Role, to: &SubjectRef) -> Relationship {
    Relationship::new(id.resource(), role.as_str(), to.clone())
}

fn expect_metadata(metadata: &BTreeMap<String, String>) -> Judged<()> {
    let fits = |(key, value): (&String, &String)| {
        (1..=METADATA_KEY_BYTES_MAX).contains(&key.len()) && value.len() <= METADATA_VALUE_BYTES_MAX
    };
    if metadata.len() > METADATA_MAX || !metadata.iter().all(fits) {
        return Err(ControlError::Metadata);
    }
    Ok(quota::expect(metadata)?)
}

fn expect_remark(text: &str) -> Judged<()> {
    if text.len() <= REMARK_BYTES_MAX { Ok(()) } else { Err(ControlError::Remark) }
}

/// In a time that does not depend on where they differ.
fn is_same(one: &SecretHash, other: &SecretHash) -> bool {
    one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
}
