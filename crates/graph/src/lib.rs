//! Which edges exist at this revision? Immutable roots over copy-on-write tries.
//!
//! A [`Root`] is the graph after one entry of the log. Cloning it shares everything; applying the next entry to the
//! clone copies only what the entry touches, and what nobody else holds is changed in place.
//!
//! # Invariants
//! * A root is a function of the log up to its revision: numbers of types, classes and objects included.
//! * Undoing an entry gives the root that was before it.
//! * Every edge is in both directions, or in neither.
//! * An entry that does not apply leaves the root as it was.
//!
//! Pure: no files, clocks, tasks or randomness.
//! Source: Zanzibar (USENIX ATC 2019), section 2; persistent tries after Bagwell (2001).

mod apply;
mod attributes;
mod catalog;
mod content;
mod counters;
mod edges;
mod error;
mod image;
mod leaf;
mod memory;
mod names;
mod renumber;
mod root;
mod row;
mod run;
mod tree;
mod trie;
mod vector;
mod version;

pub use attributes::EdgeAttributes;
pub use catalog::{Class, ClassId, TypeId};
pub use content::{ClassContent, Content, TypeContent};
pub use edges::Edges;
pub use error::ApplyError;
pub use image::{ChunkRef, Digest, DigestError, Image, ImageError, Manifest, OpenError, Written};
pub use memory::Memory;
pub use root::Root;
pub use row::Row;
pub use run::{Run, RunIter};
pub use version::ClassVersion;

#[cfg(test)]
mod tests;
