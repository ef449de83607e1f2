//! What is said of namespaces, locks, tokens and grants?
//!
//! # Invariants
//! * Whoever may not hears `NOT_PERMITTED` and nothing else: neither whether there is what was asked for, nor by what it
//!   is locked.

use idhini_replica::control::{ControlError, EffectiveLock, LockMode, NamespacePath, PathError};
use tonic::Code;

use super::{Own, Refusal};

impl Refusal {
    /// To whom may not, whether or not there is what was asked for.
    pub(crate) fn not_permitted() -> Refusal {
        Refusal::new(
            Code::PermissionDenied,
            "not permitted: whoever administrates the namespace can grant it",
        )
        .because(Own::NotPermitted)
    }

    /// To whom may, where there is nothing.
    pub(crate) fn no_namespace(path: &NamespacePath) -> Refusal {
        Refusal::new(Code::NotFound, format!("there is no namespace `{path}`"))
            .because(Own::NamespaceNotFound)
            .with("namespace", path)
    }

    pub(crate) fn namespace_locked(effective: &EffectiveLock) -> Refusal {
        let record = &effective.lock.record;
        locked(&effective.locked, record.mode, &record.reason)
    }

    pub(crate) fn being_deleted(path: &NamespacePath) -> Refusal {
        let text =
            format!("the namespace `{path}` is being deleted; its path can be given again when it is gone");
        Refusal::new(Code::FailedPrecondition, text)
            .because(Own::NamespaceBeingDeleted)
            .with("namespace", path)
    }
}

fn locked(path: &NamespacePath, mode: LockMode, reason: &str) -> Refusal {
    let what = match mode {
        LockMode::All => "is locked",
        LockMode::Writes => "is locked against changes",
    };
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let text = format!("the namespace `{path}` {what}{why}; whoever has the key can unlock it");
    let refusal = Refusal::new(Code::FailedPrecondition, text)
        .because(Own::NamespaceLocked)
        .with("locked_namespace", path)
        .with("lock_mode", mode.as_str());
    if reason.is_empty() { refusal } else { refusal.with("lock_reason", reason) }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Refusal {
        Refusal::invalid(error.to_string()).because(Own::NamespacePathInvalid)
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Refusal {
        let text = error.to_string();
        let failed = |reason: Own| Refusal::new(Code::FailedPrecondition, text.clone()).because(reason);
        let invalid = |reason: Own| Refusal::invalid(text.clone()).because(reason);
        match &error {
            ControlError::NotPermitted => Refusal::not_permitted(),
            ControlError::NoNamespace { path } => Refusal::no_namespace(path),
            ControlError::NoParent { parent, .. } => {
                Refusal::new(Code::NotFound, text).because(Own::NamespaceNotFound).with("namespace", parent)
            }
            ControlError::NoToken => Refusal::new(Code::NotFound, text).because(Own::TokenNotFound),
            ControlError::NamespaceExists { path } => {
                Refusal::new(Code::AlreadyExists, text).because(Own::NamespaceExists).with("namespace", path)
            }
            ControlError::BeingDeleted { path } => Refusal::being_deleted(path),
            ControlError::Root { .. } => invalid(Own::NamespaceIsRoot),
            ControlError::HasChildren { path, child } => {
                failed(Own::NamespaceHasChildren).with("namespace", path).with("child", child)
            }
            ControlError::AlreadyLocked { path } => {
                failed(Own::NamespaceAlreadyLocked).with("namespace", path)
            }
            ControlError::NotLocked { path } => failed(Own::NamespaceNotLocked).with("namespace", path),
            ControlError::Locked { locked: path, mode, reason } => locked(path, *mode, reason),
            ControlError::WrongKey { path } => Refusal::new(Code::PermissionDenied, text)
                .because(Own::UnlockKeyWrong)
                .with("namespace", path),
            ControlError::Metadata => invalid(Own::CustomMetadataInvalid),
            ControlError::Reserved(error) => invalid(Own::CustomMetadataInvalid).with("key", error.key()),
            ControlError::QuotaFromAbove { path, key } => Refusal::new(Code::PermissionDenied, text)
                .because(Own::NotPermitted)
                .with("namespace", path)
                .with("key", key),
            ControlError::Remark => invalid(Own::RemarkTooLong),
            ControlError::EndsBefore => invalid(Own::LockExpirationInvalid),
            ControlError::NoSuchMember { subject } => invalid(Own::SubjectInvalid).with("subject", subject),
            ControlError::AlreadyGranted => {
                Refusal::new(Code::AlreadyExists, text).because(Own::AlreadyGranted)
            }
            ControlError::NotGranted => Refusal::new(Code::NotFound, text).because(Own::NotGranted),
            // What cannot be read stays in the server; it is said in its log.
            ControlError::Undecided { what } => {
                crate::telemetry::failed_because(|| Some(what.clone()));
                unreadable()
            }
            ControlError::Record(error) => {
                crate::telemetry::failed_because(|| Some(error.to_string()));
                unreadable()
            }
            _ => Refusal::new(Code::Internal, text),
        }
    }
}

/// What stands is not known: nobody is let in by that, nor turned away for good.
fn unreadable() -> Refusal {
    let text = "who may do what cannot be read at present; nothing was done, try again later";
    Refusal::new(Code::Unavailable, text).because(Own::ControlPlaneUnreadable)
}
