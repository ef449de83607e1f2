//! An import on its way to the log: relationships packed as the log will have them.
//!
//! A stream of any length is held at some 20 bytes a relationship instead of 300, and what is packed becomes the chunks of
//! the entry as it is. It is judged and applied a chunk at a time: an import is one entry, but is nowhere whole.
//!
//! # Invariants
//! * Chunks hold creations only, in the order in which they were pushed, and none is empty.
//!
//! Cost: O(1) a relationship beside its text.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use idhini_model::{Change, Logged, Relationship, ResourceRef, SubjectRef, Timestamp};

use crate::judge::{identity, is_expired, schema_or_unknown};
use crate::working::CHUNK_BYTES;
use crate::{FollowError, Published, ReplicaError, size};

/// Relationships are packed when they hold so many bytes. (Unit tests pack fewer at a time.)
const UNPACKED_BYTES_MAX: usize = if cfg!(test) { 200_000 } else { 1024 * 1024 };

/// Relationships to be created by one entry.
#[derive(Debug, Default)]
pub struct Import {
    chunks: Vec<Bytes>,
    /// Not packed yet, and about the bytes that they hold.
    unpacked: Vec<Change>,
    unpacked_bytes: usize,
    len: usize,
}

impl Import {
    /// Adds a relationship.
    pub fn push(&mut self, relationship: Relationship) {
        self.len += 1;
        self.unpacked_bytes += size::of_relationship(&relationship);
        self.unpacked.push(Change::Created(relationship));
        if self.unpacked_bytes >= UNPACKED_BYTES_MAX {
            self.pack();
        }
    }

    /// How many relationships there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn pack(&mut self) {
        if !self.unpacked.is_empty() {
            self.chunks.extend(chunks_of(&self.unpacked));
            self.unpacked.clear();
            self.unpacked_bytes = 0;
        }
    }

    /// All of it, packed.
    pub(crate) fn packed(mut self) -> Packed {
        self.pack();
        let bytes = self.chunks.iter().map(Bytes::len).sum();
        Packed { chunks: self.chunks, bytes }
    }
}

impl From<Vec<Relationship>> for Import {
    fn from(relationships: Vec<Relationship>) -> Import {
        let mut import = Import::default();
        relationships.into_iter().for_each(|relationship| import.push(relationship));
        import
    }
}

/// An import that is complete.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) bytes: usize,
}

/// Judges the chunks of one import, each against a root that has those before it.
#[derive(Default)]
pub(crate) struct Judgement {
    /// What was imported although it has expired: it does not tell itself from what was there before.
    expired: HashSet<(ResourceRef, String, SubjectRef)>,
}

/// A chunk, judged.
pub(crate) struct Judged {
    pub(crate) changes: Vec<Change>,
    /// The changes as the log has them.
    pub(crate) chunks: Vec<Bytes>,
}

impl Judgement {
    /// Creations, each at most once in the whole import.
    pub(crate) fn of(
        &mut self,
        head: &Published,
        now: Timestamp,
        chunk: &Bytes,
    ) -> Result<Judged, ReplicaError> {
        let revision = head.revision().next();
        let undecodable = |source| FollowError::Undecodable { revision, source };
        let decoded = Logged::changes_of(0, chunk).map_err(undecodable);
        let mut changes = decoded.map_err(|error| ReplicaError::LogUnreadable(Arc::new(error)))?;
        let replaced = self.stored(head, now, &changes)?;
        if replaced.is_empty() {
            return Ok(Judged { changes, chunks: vec![chunk.clone()] });
        }
        let mut replaced = replaced.into_iter().peekable();
        let mut at = 0;
        changes.retain_mut(|change| {
            let stored = replaced.next_if(|(of, _)| *of == at);
            at += 1;
            match (stored, &*change) {
                (Some((_, stored)), Change::Created(new)) if stored == *new => return false,
                (Some((_, stored)), Change::Created(new)) => {
                    *change = Change::Replaced { new: new.clone(), old: stored.attributes() };
                }
                _ => {}
            }
            true
        });
        Ok(Judged { chunks: chunks_of(&changes).collect(), changes })
    }

    /// What is there already but has expired, by its place among the changes.
    fn stored(
        &mut self,
        head: &Published,
        now: Timestamp,
        changes: &[Change],
    ) -> Result<Vec<(usize, Relationship)>, ReplicaError> {
        let schema = head.schema().map(AsRef::as_ref);
        let mut seen = HashSet::with_capacity(changes.len());
        let mut expired = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let relationship = change.relationship();
            schema_or_unknown(schema, &relationship.resource.object_type)?
                .validate_relationship(relationship)?;
            let exists = || ReplicaError::AlreadyExists { relationship: Box::new(relationship.clone()) };
            if !seen.insert(identity(relationship)) {
                return Err(exists());
            }
            match head.root().find(relationship) {
                None => {}
                Some(stored) if is_expired(&stored, now) => expired.push((at, stored)),
                Some(_) => return Err(exists()),
            }
            if is_expired(relationship, now) || !self.expired.is_empty() {
                let Relationship { resource, relation, subject, .. } = relationship;
                let owned = (resource.clone(), relation.clone(), subject.clone());
                let is_new = match is_expired(relationship, now) {
                    true => self.expired.insert(owned),
                    false => !self.expired.contains(&owned),
                };
                if !is_new {
                    return Err(exists());
                }
            }
        }
        Ok(expired)
    }
}

fn chunks_of(changes: &[Change]) -> impl Iterator<Item = Bytes> + use<> {
    Logged::chunks_of(changes, CHUNK_BYTES).into_iter().map(|chunk| Bytes::from(chunk.into_boxed_slice()))
}
