//! What can be asked of the control plane?

use std::collections::BTreeMap;

use idhini_model::{SubjectRef, Timestamp};

use super::path::NamespacePath;
use super::quota::ReservedError;
use super::record::{Accessor, LockMode, NamespaceId, RecordError, SecretHash};
use super::rights::Role;

/// Most entries of a namespace's custom metadata.
pub const METADATA_MAX: usize = 64;
/// Longest key of it, in bytes.
pub const METADATA_KEY_BYTES_MAX: usize = 128;
/// Longest value of it, in bytes.
pub const METADATA_VALUE_BYTES_MAX: usize = 512;
/// Longest text that says why a namespace is locked or what a token is for, in bytes.
pub const REMARK_BYTES_MAX: usize = 1_024;
/// Longest that a token lasts without being renewed, in seconds: about a hundred years.
pub const LIFETIME_SECONDS_MAX: u64 = 100 * 366 * 24 * 60 * 60;

/// A change of the control plane.
#[derive(Debug, Clone)]
pub struct Control {
    /// Who asks; `None` is the server itself.
    pub by: Option<SubjectRef>,
    /// For what.
    pub change: ControlChange,
}

/// What is to be changed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ControlChange {
    /// Begins the tree, if it is not begun, and lets these administrate all of it besides who was granted that.
    Begin {
        /// Keys of the configuration and the root token: those that are not here may nothing any more.
        admins: Vec<SubjectRef>,
    },
    /// Makes a namespace below one that is there.
    Create {
        /// Where.
        path: NamespacePath,
        /// What it is known by; drawn at random.
        id: NamespaceId,
        /// What its users keep with it.
        metadata: BTreeMap<String, String>,
    },
    /// Changes what the users of a namespace keep with it; nothing instead of a value drops a key.
    Patch {
        /// Which.
        path: NamespacePath,
        /// What is set or dropped.
        metadata: BTreeMap<String, Option<String>>,
    },
    /// Begins to delete a namespace that has none below it. Asking again is fine.
    Delete {
        /// Which.
        path: NamespacePath,
    },
    /// Forgets a namespace that is being deleted, of which nothing is left elsewhere, with its grants, locks and tokens.
    Forget {
        /// Which.
        id: NamespaceId,
    },
    /// Locks a namespace and all below it.
    Lock {
        /// Which.
        path: NamespacePath,
        /// What is refused.
        mode: LockMode,
        /// Of the key that opens it.
        key: SecretHash,
        /// Why.
        reason: String,
        /// When it ends by itself.
        expires_at: Option<Timestamp>,
    },
    /// Takes a namespace's own lock away.
    Unlock {
        /// Which.
        path: NamespacePath,
        /// Of the key that was given, if one was: an administrator needs none.
        key: Option<SecretHash>,
    },
    /// Makes a token.
    CreateToken {
        /// What it is known by; drawn at random.
        accessor: Accessor,
        /// Of its text.
        secret: SecretHash,
        /// The namespace that a call is about which names none.
        home: NamespacePath,
        /// For people.
        description: String,
        /// How long it lasts, in seconds.
        lifetime_seconds: Option<u64>,
        /// What it may do, in its home and below.
        roles: Vec<Role>,
    },
    /// Lets a token last for its lifetime from now on.
    RenewToken {
        /// Which.
        accessor: Accessor,
    },
    /// Gives a token another text; the one before is good for some time still.
    RotateToken {
        /// Which.
        accessor: Accessor,
        /// Of the new text.
        secret: SecretHash,
        /// How long the old one is good, in seconds.
        overlap_seconds: u64,
    },
    /// Keeps when tokens were used; those that are no longer there are left out.
    Used {
        /// Each with the moment.
        tokens: Vec<(Accessor, Timestamp)>,
    },
    /// Takes away what is left of tokens that have ended, such as what was granted to them; those that have not stay.
    Sweep {
        /// Which.
        tokens: Vec<Accessor>,
    },
    /// Ends a token at once.
    RevokeToken {
        /// Which.
        accessor: Accessor,
    },
    /// Lets somebody play a role in a namespace and in all below it.
    Grant {
        /// Where.
        path: NamespacePath,
        /// What.
        role: Role,
        /// Who.
        to: SubjectRef,
    },
    /// Takes that back.
    Revoke {
        /// Where.
        path: NamespacePath,
        /// What.
        role: Role,
        /// Who.
        from: SubjectRef,
    },
}

/// Why the control plane does not do it. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Who asks may not; said as well of what is not there to one who may not know that.
    #[error("not permitted")]
    NotPermitted,
    /// There is no such namespace.
    #[error("there is no namespace `{path}`")]
    NoNamespace {
        /// As asked.
        path: NamespacePath,
    },
    /// There is no such token, or it has ended.
    #[error("there is no token with this accessor")]
    NoToken,
    /// What it would be in is not there.
    #[error("there is no namespace `{parent}` to make `{path}` in; make it first")]
    NoParent {
        /// As asked.
        path: NamespacePath,
        /// What is missing.
        parent: NamespacePath,
    },
    /// It is there.
    #[error("there is a namespace `{path}` already")]
    NamespaceExists {
        /// As asked.
        path: NamespacePath,
    },
    /// It is not gone yet.
    #[error("the namespace `{path}` is being deleted; ask again when it is gone")]
    BeingDeleted {
        /// As asked.
        path: NamespacePath,
    },
    /// The root is above all.
    #[error("`root` cannot be {what}")]
    Root {
        /// What was to be done to it.
        what: &'static str,
    },
    /// There are others below it.
    #[error("the namespace `{path}` has others below it, such as `{child}`; delete those first")]
    HasChildren {
        /// As asked.
        path: NamespacePath,
        /// One of them.
        child: NamespacePath,
    },
    /// It has a lock of its own.
    #[error("the namespace `{path}` is locked already")]
    AlreadyLocked {
        /// As asked.
        path: NamespacePath,
    },
    /// It has none.
    #[error("the namespace `{path}` is not locked itself")]
    NotLocked {
        /// As asked.
        path: NamespacePath,
    },
    /// It is locked, or one above it is, and this is not let through.
    #[error("the namespace `{locked}` is locked; unlock it first")]
    Locked {
        /// The one that is locked.
        locked: NamespacePath,
        /// What it refuses.
        mode: LockMode,
        /// Why, as whoever locked it said; may be empty.
        reason: String,
    },
    /// The key is not the one that locking answered.
    #[error("this is not the key that opens the namespace `{path}`")]
    WrongKey {
        /// As asked.
        path: NamespacePath,
    },
    /// Too much metadata.
    #[error(
        "custom metadata has at most {METADATA_MAX} keys of 1 to {METADATA_KEY_BYTES_MAX} bytes, with values of at most {METADATA_VALUE_BYTES_MAX} bytes"
    )]
    Metadata,
    /// Metadata that is reserved, and not as it must be.
    #[error(transparent)]
    Reserved(#[from] ReservedError),
    /// The quotas of a namespace are not its own to change.
    #[error(
        "the quotas of `{path}` (`{key}`) are changed by who administrates the namespace above it; ask there, or leave the key out"
    )]
    QuotaFromAbove {
        /// As asked.
        path: NamespacePath,
        /// The first such key that would change.
        key: String,
    },
    /// Too long a reason or description.
    #[error("a reason or a description has at most {REMARK_BYTES_MAX} bytes")]
    Remark,
    /// A lock that would have ended.
    #[error("the lock would end before it begins; give an expiration in the future")]
    EndsBefore,
    /// A role cannot be given to such a subject.
    #[error("`{subject}` cannot be given a role: only token, certificate and external subjects can")]
    NoSuchMember {
        /// As asked.
        subject: String,
    },
    /// It was granted before.
    #[error("this role was granted before")]
    AlreadyGranted,
    /// It was not granted.
    #[error("this role was not granted there; it may have been granted above")]
    NotGranted,
    /// What is recorded is of a later release, or damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Whether somebody may cannot be said.
    #[error("whether this is permitted cannot be said: {what}")]
    Undecided {
        /// Why.
        what: String,
    },
}
