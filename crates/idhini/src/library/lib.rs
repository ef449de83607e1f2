//! Who may do what? Idhini inside a program: the log, the graph and the evaluator, without a server.
//!
//! A handle, [`Idhini`], writes and follows; a [`Snapshot`] answers. Both speak the words of the server: what it answers
//! about a data directory this answers too, and a directory can be opened by either, though not by both at once.
//!
//! ```
//! use idhini::{Idhini, Relationship, ResourceRef, SubjectRef, Update};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let idhini = Idhini::in_memory()?;
//! idhini.write_schema(
//!     "definition user {}
//!      definition document {
//!          relation viewer: user
//!          permission view = viewer
//!      }",
//! )?;
//! idhini.write([Update::touch("document:readme#viewer@user:ann".parse()?)])?;
//!
//! let snapshot = idhini.snapshot();
//! let (readme, ann): (ResourceRef, SubjectRef) = ("document:readme".parse()?, "user:ann".parse()?);
//! assert!(snapshot.check(&readme, "view", &ann)?.has());
//! # Ok(())
//! # }
//! ```
//!
//! # What blocks
//! Every call runs on the thread that makes it, and needs no async runtime, neither its own nor the caller's.
//!
//! * [`Idhini::snapshot`] and everything that a [`Snapshot`] answers wait for nobody: no disk, no writer. They take
//!   processor time, by what the question visits: a check microseconds as a rule, a wide lookup as long as it has
//!   answers, and none more than [`Options::cost_max`] edges.
//! * Writes wait for the disk's sync; [`Idhini::at`] and [`Idhini::as_of`] for the disk, if the revision is no longer in
//!   memory; a [`Watch`] for the next change; dropping the last handle for the last image of the graph.
//!
//! An async application makes checks where it is, and hands what waits to threads for it (`spawn_blocking`).
//!
//! # Invariants
//! * A write that returned is durable, exactly as the server's: it is in the directory however the process ends.
//! * An answer is computed from exactly one snapshot. No error is a denial.
//! * No cargo feature changes what this does; `server` adds the binary.

/// The page of the documentation, whose examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/library.md")]
struct Page;

pub mod clock;
mod driver;
mod error;
mod handle;
mod opened;
mod snapshot;
mod watch;

pub use idhini_engine::{
    Answer, EngineError, ExcludedSubject, FoundResource, FoundSubject, Permissionship, Question,
};
pub use idhini_model::{
    Cause, CaveatUse, Change, Context, ContextValue, EntryKind, Filter, IdFilter, Origin, ParseError,
    RelationFilter, Relationship, ResourceRef, Revision, SubjectFilter, SubjectRef, Timestamp, WILDCARD,
};
pub use idhini_replica::{
    Clock, Delete, Deleted, Member, NamespaceMemory, Operation, Part, PermissionQuestion, Precondition,
    ReplicaError, Set, SetRelation, Tally, Update, Write,
};
pub use idhini_schema::Schema;

pub use self::error::Error;
pub use self::handle::Idhini;
pub use self::opened::Options;
pub use self::snapshot::{Checked, Relationships, Resources, Snapshot, Subjects};
pub use self::watch::Watch;
