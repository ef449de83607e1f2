//! The namespace as a running thing: one writer, the revisions that readers pin, the relationships read back.
//!
//! Requests queue for the one writer of the namespace, which judges them, appends what they change to the log and only
//! then publishes and answers. No protobuf; the clock, the log and the disk are passed in.
//!
//! # Invariants
//! * Revisions are dense; a reader sees all of an entry or none of it.
//! * A request that is refused has changed nothing; an update that changes nothing makes no entry.
//! * What is answered or read is durable.
//! * Expired relationships are absent to every judgement and every reading.

mod backup;
pub mod broken;
pub mod control;
mod count;
mod error;
mod facts;
mod filter;
mod follow;
mod history;
mod identity;
mod images;
mod import;
mod judge;
mod ledger;
mod maintain;
mod memory;
mod namespace;
mod node;
mod preconditions;
mod published;
mod rebuild;
mod request;
mod root_token;
mod schema_change;
mod set_relation;
mod size;
mod small_file;
mod sweep;
mod watch;
mod working;
mod writer;

pub use backup::{BackupError, Restored, Target, Verified, restore, verify};
pub use count::Count;
pub use error::{FollowError, ReplicaError, SchemaChange};
pub use facts::{BATCH_BOUNDS, Batches};
pub use filter::check_filter;
pub use identity::{DIRECTORY_FORMAT, Identity, IdentityError};
pub use idhini_model::{Filter, IdFilter, RelationFilter, SubjectFilter};
pub use images::{ImageFacts, ImageFileError, Images, Report};
pub use import::Import;
pub use judge::COUNTERS_MAX;
pub use ledger::{Ledger, OverQuota, Stored};
pub use maintain::MaintainError;
pub use memory::NamespaceMemory;
pub use namespace::{
    Clock, Namespace, Options, PERMISSION_PRECONDITION_COST_MAX, PRECONDITION_EDGES_MAX, Wanted,
};
pub use node::{DeleteError, Node, NodeOptions, OpenError, Parts};
pub use published::{Page, Portion, Position, Published, Row};
pub use request::{
    CounterChange, Delete, Deleted, Member, Operation, PermissionQuestion, Precondition, Set, SetRelation,
    Tally, Update, Write,
};
pub use root_token::{RootToken, RootTokenError};
pub use watch::{Changes, Part};
pub use writer::ENTRY_BYTES_MAX;

#[cfg(test)]
mod tests;
