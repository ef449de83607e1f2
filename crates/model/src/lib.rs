//! What is a relationship, a reference, a revision? The words every other crate speaks, and their text.
//!
//! Pure: no I/O, no clock, no protobuf.

mod context;
mod encoding;
mod entry;
mod filter;
mod names;
mod relationship;
mod revision;
mod timestamp;

pub use context::{Context, ContextError, ContextValue, VALUE_DEPTH_MAX};
pub use encoding::DecodeError;
pub use entry::{Attributes, Cause, Change, Entry, EntryKind, Logged, Origin};
pub use filter::{Filter, IdFilter, RelationFilter, SubjectFilter};
pub use names::{
    NAME_BYTES_MAX, NAME_BYTES_MIN, NameError, OBJECT_ID_BYTES_MAX, TYPE_BYTES_MAX, validate_caveat_name,
    validate_name, validate_object_id, validate_type,
};
pub use relationship::{
    CaveatUse, ParseError, Relationship, ResourceRef, SubjectRef, WILDCARD, parse_reference,
};
pub use revision::Revision;
pub use timestamp::{Timestamp, TimestampError};

#[cfg(test)]
mod tests;
