//! What does the control plane know of a namespace, a lock, a token? As relationships record it.
//!
//! A *record* is a relationship that only carries data: `namespace:UUID#record@fact:namespace[record:{…}]`. So it is
//! written, undone, imaged, restored and followed as any other relationship, and in one entry with what is granted.
//!
//! # Invariants
//! * What is read back is what was written; a record of another form is an error that names it, never a default.

use std::collections::BTreeMap;

use idhini_changelog::LogId;
use idhini_graph::Digest;
use idhini_model::{CaveatUse, Context, ContextValue, Relationship, ResourceRef, SubjectRef, Timestamp};

use super::path::NamespacePath;
use super::quota::{QuotaOf, Quotas};

/// The caveat that holds what is recorded, and its parameter.
const CAVEAT: &str = "record";
const FACTS: &str = "facts";
const FACT: &str = "fact";

/// A hash of something secret: BLAKE3 of its text.
pub type SecretHash = [u8; 32];

/// A namespace, for good: a path can be given again, this cannot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub String);

/// A token's name that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accessor(pub String);

/// A namespace as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRecord {
    /// Where it is in the tree.
    pub path: NamespacePath,
    /// Its log.
    pub log: LogId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// What its users keep with it.
    pub metadata: BTreeMap<String, String>,
    /// Whether it is being deleted: nothing is answered of it any more, and what it left is taken away.
    pub is_deleting: bool,
}

/// What a locked namespace refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Every request.
    All,
    /// What changes something; reads and checks go on.
    Writes,
}

/// A lock as it is recorded; it ends by itself when its relationship expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRecord {
    /// What is refused.
    pub mode: LockMode,
    /// Of the key that opens it.
    pub key: SecretHash,
    /// Why; may be empty.
    pub reason: String,
    /// Who locked it.
    pub locked_by: String,
    /// When.
    pub locked_at: Timestamp,
}

/// A token as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The namespace that a call is about which names none.
    pub home: NamespaceId,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// How long it lasts from a renewal on, in seconds; `None`: for ever.
    pub lifetime_seconds: Option<u64>,
    /// The text that lasts as long as it does: any other one is on its way out. Tokens of earlier releases do not say it until
    /// they are rotated.
    pub secret: Option<SecretHash>,
}

/// A record that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record of {of} cannot be read: {what}")]
pub struct RecordError {
    /// Whose.
    pub of: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl LockMode {
    /// As it is asked for and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LockMode::All => "all",
            LockMode::Writes => "writes",
        }
    }

    /// Reads what [`LockMode::as_str`] gives.
    #[must_use]
    pub fn of(text: &str) -> Option<LockMode> {
        [LockMode::All, LockMode::Writes].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Named values, read one by one.
struct Facts<'a> {
    of: &'a Relationship,
    facts: &'a BTreeMap<String, ContextValue>,
}

/// A relationship that carries data.
fn record(
    resource: ResourceRef,
    relation: &str,
    fact: &str,
    facts: impl IntoIterator<Item = (&'static str, ContextValue)>,
) -> Relationship {
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let context = Context([(FACTS.to_owned(), ContextValue::Map(facts))].into());
    let mut relationship = bare(resource, relation, fact);
    relationship.caveat = Some(CaveatUse { name: CAVEAT.to_owned(), context });
    relationship
}

/// The same without its data: to look for it.
pub(super) fn bare(resource: ResourceRef, relation: &str, fact: &str) -> Relationship {
    Relationship::new(resource, relation, SubjectRef::object(FACT, fact))
}

fn text(text: impl Into<String>) -> ContextValue {
    ContextValue::String(text.into())
}

impl<'a> Facts<'a> {
    fn of(relationship: &'a Relationship) -> Result<Facts<'a>, RecordError> {
        let context = relationship.caveat.as_ref().and_then(|caveat| caveat.context.0.get(FACTS));
        match context {
            Some(ContextValue::Map(facts)) => Ok(Facts { of: relationship, facts }),
            _ => Err(Facts { of: relationship, facts: &BTreeMap::new() }.wrong("it has no facts")),
        }
    }

    fn wrong(&self, what: &'static str) -> RecordError {
        let ResourceRef { object_type, object_id } = &self.of.resource;
        RecordError { of: format!("{object_type}:{object_id}"), what }
    }

    fn text(&self, name: &str, what: &'static str) -> Result<&'a str, RecordError> {
        match self.facts.get(name) {
            Some(ContextValue::String(text)) => Ok(text),
            _ => Err(self.wrong(what)),
        }
    }

    fn moment(&self, name: &str, what: &'static str) -> Result<Timestamp, RecordError> {
        self.text(name, what)?.parse().map_err(|_| self.wrong(what))
    }

    fn whole(&self, name: &str, what: &'static str) -> Result<u64, RecordError> {
        self.text(name, what)?.parse().map_err(|_| self.wrong(what))
    }

    fn hash(&self, name: &str, what: &'static str) -> Result<SecretHash, RecordError> {
        hash_of(self.text(name, what)?).ok_or_else(|| self.wrong(what))
    }

    fn is_set(&self, name: &str, what: &'static str) -> Result<bool, RecordError> {
        match self.facts.get(name) {
            None => Ok(false),
            Some(ContextValue::Bool(is_set)) => Ok(*is_set),
            Some(_) => Err(self.wrong(what)),
        }
    }
}

impl NamespaceId {
    /// Of the namespace above all others, in every store.
    #[must_use]
    pub fn root() -> NamespaceId {
        NamespaceId("root".to_owned())
    }

    /// The object that stands for it.
    #[must_use]
    pub fn resource(&self) -> ResourceRef {
        ResourceRef::new("namespace", self.0.as_str())
    }
}

impl NamespaceRecord {
    /// How much may be taken in it and below.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        // What cannot be read is not recorded.
        Quotas::of(&self.metadata, QuotaOf::Namespace).unwrap_or_default()
    }

    /// How much each caller may take in it and below.
    #[must_use]
    pub fn caller_quotas(&self) -> Quotas {
        Quotas::of(&self.metadata, QuotaOf::Caller).unwrap_or_default()
    }

    pub(super) fn to_relationship(&self, id: &NamespaceId) -> Relationship {
        let metadata =
            self.metadata.iter().map(|(name, value)| (name.clone(), text(value.as_str()))).collect();
        record(
            id.resource(),
            "record",
            "namespace",
            [
                ("path", text(self.path.as_str())),
                ("log", text(self.log.0.to_string())),
                ("created_at", text(self.created_at.to_string())),
                ("created_by", text(self.created_by.as_str())),
                ("metadata", ContextValue::Map(metadata)),
                ("is_deleting", ContextValue::Bool(self.is_deleting)),
            ],
        )
    }

    pub(super) fn of(relationship: &Relationship) -> Result<NamespaceRecord, RecordError> {
        let facts = Facts::of(relationship)?;
        let mut metadata = BTreeMap::new();
        let Some(ContextValue::Map(kept)) = facts.facts.get("metadata") else {
            return Err(facts.wrong("its metadata"));
        };
        for (name, value) in kept {
            let ContextValue::String(value) = value else { return Err(facts.wrong("its metadata")) };
            metadata.insert(name.clone(), value.clone());
        }
        for whose in [QuotaOf::Namespace, QuotaOf::Caller] {
            Quotas::of(&metadata, whose).map_err(|_| facts.wrong("its quotas"))?;
        }
        Ok(NamespaceRecord {
            path: facts.text("path", "its path")?.parse().map_err(|_| facts.wrong("its path"))?,
            log: LogId(facts.whole("log", "its log")?),
            created_at: facts.moment("created_at", "when it was made")?,
            created_by: facts.text("created_by", "who made it")?.to_owned(),
            metadata,
            is_deleting: facts.is_set("is_deleting", "whether it is being deleted")?,
        })
    }
}

impl LockRecord {
    pub(super) fn to_relationship(&self, id: &NamespaceId, expires_at: Option<Timestamp>) -> Relationship {
        let mut lock = record(
            id.resource(),
            "lock",
            "lock",
            [
                ("mode", text(self.mode.as_str())),
                ("key", text(Digest(self.key).to_string())),
                ("reason", text(self.reason.as_str())),
                ("locked_by", text(self.locked_by.as_str())),
                ("locked_at", text(self.locked_at.to_string())),
            ],
        );
        lock.expires_at = expires_at;
        lock
    }

    pub(super) fn of(relationship: &Relationship) -> Result<LockRecord, RecordError> {
        let facts = Facts::of(relationship)?;
        Ok(LockRecord {
            mode: LockMode::of(facts.text("mode", "its mode")?).ok_or_else(|| facts.wrong("its mode"))?,
            key: facts.hash("key", "its key")?,
            reason: facts.text("reason", "its reason")?.to_owned(),
            locked_by: facts.text("locked_by", "who locked it")?.to_owned(),
            locked_at: facts.moment("locked_at", "when it was locked")?,
        })
    }
}

impl Accessor {
    /// The object that stands for it.
    #[must_use]
    pub fn resource(&self) -> ResourceRef {
        ResourceRef::new("token", self.0.as_str())
    }

    /// The same as somebody to whom something is granted.
    #[must_use]
    pub fn subject(&self) -> SubjectRef {
        SubjectRef::object("token", self.0.as_str())
    }
}

impl TokenRecord {
    pub(super) fn to_relationship(&self, accessor: &Accessor, expires_at: Option<Timestamp>) -> Relationship {
        let lifetime = self.lifetime_seconds.map(|seconds| ("lifetime_seconds", text(seconds.to_string())));
        let secret = self.secret.map(|secret| ("secret", text(Digest(secret).to_string())));
        let facts = [
            ("home", text(self.home.0.as_str())),
            ("description", text(self.description.as_str())),
            ("created_at", text(self.created_at.to_string())),
            ("created_by", text(self.created_by.as_str())),
        ];
        let mut token =
            record(accessor.resource(), "record", "token", facts.into_iter().chain(lifetime).chain(secret));
        token.expires_at = expires_at;
        token
    }

    pub(super) fn of(relationship: &Relationship) -> Result<TokenRecord, RecordError> {
        let facts = Facts::of(relationship)?;
        let is_there = |name: &str| facts.facts.contains_key(name);
        Ok(TokenRecord {
            home: NamespaceId(facts.text("home", "its home")?.to_owned()),
            description: facts.text("description", "its description")?.to_owned(),
            created_at: facts.moment("created_at", "when it was made")?,
            created_by: facts.text("created_by", "who made it")?.to_owned(),
            lifetime_seconds: is_there("lifetime_seconds")
                .then(|| facts.whole("lifetime_seconds", "its lifetime"))
                .transpose()?,
            secret: is_there("secret").then(|| facts.hash("secret", "its text")).transpose()?,
        })
    }
}

/// When a token was used last; goes with it.
pub(super) fn used(accessor: &Accessor, at: Timestamp, expires_at: Option<Timestamp>) -> Relationship {
    let mut used = record(accessor.resource(), "used", "used", [("at", text(at.to_string()))]);
    used.expires_at = expires_at;
    used
}

pub(super) fn used_at(relationship: &Relationship) -> Result<Timestamp, RecordError> {
    Facts::of(relationship)?.moment("at", "when it was used")
}

/// The log that the next namespace gets.
pub(super) fn next_log(next: LogId) -> Relationship {
    record(server(), "record", "server", [("next_log", text(next.0.to_string()))])
}

pub(super) fn next_log_of(relationship: &Relationship) -> Result<LogId, RecordError> {
    Ok(LogId(Facts::of(relationship)?.whole("next_log", "the next log")?))
}

pub(super) fn server() -> ResourceRef {
    ResourceRef::new("server", "this")
}

/// What says which namespace a path is.
pub(super) fn named(path: &NamespacePath, id: &NamespaceId) -> Relationship {
    Relationship::new(path_resource(path), "names", SubjectRef::object("namespace", id.0.as_str()))
}

/// The object that stands for a path. Object ids have fewer characters than names: others become `=` and two digits.
pub(super) fn path_resource(path: &NamespacePath) -> ResourceRef {
    let mut id = String::with_capacity(path.as_str().len());
    for byte in path.to_string().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'_' | b'-' | b'|' => id.push(char::from(byte)),
            other => id.push_str(&format!("={other:02x}")),
        }
    }
    ResourceRef::new("path", id)
}

/// What says whose secret a hash is of.
pub(super) fn opens(secret: &SecretHash, accessor: &Accessor, expires_at: Option<Timestamp>) -> Relationship {
    let secret = ResourceRef::new("secret", Digest(*secret).to_string());
    let mut opens = Relationship::new(secret, "opens", accessor.subject());
    opens.expires_at = expires_at;
    opens
}

/// The hash that [`opens`] has as its id.
pub(super) fn hash_of(id: &str) -> Option<SecretHash> {
    id.parse().ok().map(|Digest(hash)| hash)
}
