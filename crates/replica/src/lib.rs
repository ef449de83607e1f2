//! The namespace as a running thing: one writer, the revisions that readers pin, the relationships read back.
//!
//! Thin and in memory: entries are judged, applied and published, not yet logged. No protobuf, no tasks; time is passed
//! in as a function.
//!
//! # Invariants
//! * Revisions are dense; a reader sees all of an entry or none of it.
//! * A request that is refused has changed nothing; an update that changes nothing makes no entry.
//! * Expired relationships are absent to every judgement and every reading.

mod error;
mod filter;
mod judge;
mod namespace;
mod published;
mod request;
mod schema_change;

pub use error::{ReplicaError, SchemaChange};
pub use filter::{Filter, IdFilter, RelationFilter, SubjectFilter};
pub use namespace::{ALWAYS, Clock, Namespace, Options, PRECONDITION_EDGES_MAX, Wanted};
pub use published::{Page, Portion, Position, Published, Row};
pub use request::{Delete, Deleted, Operation, Precondition, Update, Write};

#[cfg(test)]
mod tests;
