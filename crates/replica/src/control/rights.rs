//! Who may do what to Idhini? A permission question to Idhini itself.

use idhini_engine::{Check, Limits, Permissionship, Question};
use idhini_model::{Context, SubjectRef, Timestamp};

use super::record::NamespaceId;
use super::request::ControlError;
use crate::Published;

/// Edges that one such question may look at: a tree has at most [`super::DEPTH_MAX`] levels.
const EDGES_MAX: u64 = 10_000;

/// What somebody can be granted in a namespace, and in all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// The schema.
    SchemaWriter,
    /// Relationships.
    Writer,
    /// Reading everything, and checks.
    Reader,
    /// Checks and lookups.
    Checker,
    /// What was done.
    Auditor,
}

/// A permission of the namespace in the built-in schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Right {
    /// Namespaces, locks, tokens and grants.
    Administer,
    /// Writing the schema.
    WriteSchema,
    /// Writing relationships.
    Write,
    /// Reading relationships, and what changes.
    Read,
    /// Reading the schema.
    ReadSchema,
    /// Checks and lookups.
    Check,
    /// Reading what was done.
    Audit,
    /// Any of these.
    Belong,
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Rights(u8);

impl Role {
    /// All of them.
    pub const ALL: [Role; 6] =
        [Role::Admin, Role::SchemaWriter, Role::Writer, Role::Reader, Role::Checker, Role::Auditor];

    /// The relation that it is.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::SchemaWriter => "schema_writer",
            Role::Writer => "writer",
            Role::Reader => "reader",
            Role::Checker => "checker",
            Role::Auditor => "auditor",
        }
    }

    /// Whether whoever plays it has this right, where it was granted and below.
    #[must_use]
    pub fn gives(self, right: Right) -> bool {
        use Right::{Audit, Belong, Check, Read, ReadSchema, Write, WriteSchema};
        match self {
            Role::Admin => true,
            Role::SchemaWriter => matches!(right, WriteSchema | ReadSchema | Belong),
            Role::Writer => matches!(right, Write | Read | ReadSchema | Check | Belong),
            Role::Reader => matches!(right, Read | ReadSchema | Check | Belong),
            Role::Checker => matches!(right, Check | Belong),
            Role::Auditor => matches!(right, Audit | Belong),
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 8] = [
        Right::Administer,
        Right::WriteSchema,
        Right::Write,
        Right::Read,
        Right::ReadSchema,
        Right::Check,
        Right::Audit,
        Right::Belong,
    ];

    /// The right of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.as_str() == name)
    }

    /// The permission that it is.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Administer => "administer",
            Right::WriteSchema => "write_schema",
            Right::Write => "write",
            Right::Read => "read",
            Right::ReadSchema => "read_schema",
            Right::Check => "check",
            Right::Audit => "audit",
            Right::Belong => "belong",
        }
    }
}

impl Rights {
    /// Whether this is one of them.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & 1 << right as u8 != 0
    }

    fn with(self, right: Right) -> Rights {
        Rights(self.0 | 1 << right as u8)
    }
}

/// Everything that somebody may do in a namespace.
pub(super) fn rights(
    head: &Published,
    now: Timestamp,
    who: &SubjectRef,
    id: &NamespaceId,
) -> Result<Rights, ControlError> {
    let mut rights = Rights::default();
    for right in Right::ALL {
        if may(head, now, who, right, id)? {
            rights = rights.with(right);
        }
    }
    Ok(rights)
}

/// Whether somebody may do this in a namespace. What cannot be answered is an error, never a yes.
pub(super) fn may(
    head: &Published,
    now: Timestamp,
    who: &SubjectRef,
    right: Right,
    id: &NamespaceId,
) -> Result<bool, ControlError> {
    let undecided = |what: String| ControlError::Undecided { what };
    let Some(snapshot) = head.snapshot(now) else { return Err(undecided("there is no schema".to_owned())) };
    let (resource, context) = (id.resource(), Context::default());
    let question =
        Question { resource: &resource, permission: right.as_str(), subject: who, context: &context };
    let limits = Limits { cost_max: EDGES_MAX, ..Limits::default() };
    let mut check = Check::open(snapshot, question, limits).map_err(|error| undecided(error.to_string()))?;
    let answer = check.answer().map_err(|error| undecided(error.to_string()))?;
    Ok(answer.permissionship == Permissionship::Has)
}
