//! By what does a program tell one refusal from another?

use idhini_wire::authzed::api::v1::ErrorReason;

/// The domain that the contract's reasons belong to.
const CONTRACT: &str = "authzed.com";
/// The domain of our own.
const OWN: &str = "idhini";

/// What a refusal is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// One that the contract has.
    Contract(ErrorReason),
    /// One of what only Idhini has.
    Own(Own),
}

/// Of namespaces, locks, tokens, grants and quotas. Each is explained in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    NotPermitted,
    NamespaceNotFound,
    NamespacePathInvalid,
    NamespaceIsRoot,
    NamespaceExists,
    NamespaceHasChildren,
    NamespaceBeingDeleted,
    NamespaceLocked,
    NamespaceAlreadyLocked,
    NamespaceNotLocked,
    UnlockKeyWrong,
    UnlockKeyThrottled,
    LockExpirationInvalid,
    CustomMetadataInvalid,
    RemarkTooLong,
    TokenNotFound,
    TokenLifetimeInvalid,
    RoleUnknown,
    RightUnknown,
    SubjectInvalid,
    AlreadyGranted,
    NotGranted,
    ControlPlaneUnreadable,
    QuotaExceeded,
    Overloaded,
    TooManyRefusals,
    AuditUnavailable,
}

impl Reason {
    pub(crate) fn domain(self) -> &'static str {
        match self {
            Reason::Contract(_) => CONTRACT,
            Reason::Own(_) => OWN,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::Contract(reason) => reason.as_str_name(),
            Reason::Own(reason) => reason.as_str(),
        }
    }
}

impl Own {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Own::NotPermitted => "NOT_PERMITTED",
            Own::NamespaceNotFound => "NAMESPACE_NOT_FOUND",
            Own::NamespacePathInvalid => "NAMESPACE_PATH_INVALID",
            Own::NamespaceIsRoot => "NAMESPACE_IS_ROOT",
            Own::NamespaceExists => "NAMESPACE_EXISTS",
            Own::NamespaceHasChildren => "NAMESPACE_HAS_CHILDREN",
            Own::NamespaceBeingDeleted => "NAMESPACE_BEING_DELETED",
            Own::NamespaceLocked => "NAMESPACE_LOCKED",
            Own::NamespaceAlreadyLocked => "NAMESPACE_ALREADY_LOCKED",
            Own::NamespaceNotLocked => "NAMESPACE_NOT_LOCKED",
            Own::UnlockKeyWrong => "UNLOCK_KEY_WRONG",
            Own::UnlockKeyThrottled => "UNLOCK_KEY_THROTTLED",
            Own::LockExpirationInvalid => "LOCK_EXPIRATION_INVALID",
            Own::CustomMetadataInvalid => "CUSTOM_METADATA_INVALID",
            Own::RemarkTooLong => "REMARK_TOO_LONG",
            Own::TokenNotFound => "TOKEN_NOT_FOUND",
            Own::TokenLifetimeInvalid => "TOKEN_LIFETIME_INVALID",
            Own::RoleUnknown => "ROLE_UNKNOWN",
            Own::RightUnknown => "RIGHT_UNKNOWN",
            Own::SubjectInvalid => "SUBJECT_INVALID",
            Own::AlreadyGranted => "ALREADY_GRANTED",
            Own::NotGranted => "NOT_GRANTED",
            Own::ControlPlaneUnreadable => "CONTROL_PLANE_UNREADABLE",
            Own::QuotaExceeded => "QUOTA_EXCEEDED",
            Own::Overloaded => "OVERLOADED",
            Own::TooManyRefusals => "TOO_MANY_REFUSALS",
            Own::AuditUnavailable => "AUDIT_UNAVAILABLE",
        }
    }
}

impl From<ErrorReason> for Reason {
    fn from(reason: ErrorReason) -> Reason {
        Reason::Contract(reason)
    }
}

impl From<Own> for Reason {
    fn from(reason: Own) -> Reason {
        Reason::Own(reason)
    }
}
