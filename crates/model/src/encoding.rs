//! Entries as bytes at rest: written once, read on every start.
//!
//! ```text
//! entry         first chunk, further chunks
//! first chunk   format 1 | seconds z | nanos v | cause 1 | actor s | metadata c | kind 1 | body
//! body          of relationships: changes to the end of the chunk; otherwise the fields of the kind, their bytes
//!               going on in the further chunks
//! change        tags 1 | resource type n | relation n | subject type n | subject relation n? | resource id p
//!               | subject id p | attributes | old attributes
//! attributes    caveat n? | context c? | seconds z? | nanos v?          (each if its tag is set)
//! counter       name s | tags 1 | filter f? | old filter f?             (each if its tag is set)
//! filter        tags 1 | resource type s? | resource id or prefix s? | relation s? | subject type s? | subject id s?
//!               | subject relation s?
//! ```
//! The format is 1; of counters, which came later, it is 2, so that an earlier release says which it lacks.
//!
//! `v` is a varint (7 bits a byte, low ones first), `z` a zigzag varint, `s` a varint length and UTF-8, `c` a count of
//! named values, `n` a name: 0 and the name when the chunk first has it, then its number in the chunk; `p` an id as the
//! length that it shares with the one before it in that place, and the rest; `f` a length and a filter. Each chunk begins without names and ids,
//! so that chunks of changes are read one by one.
//!
//! # Invariants
//! * What is decoded is what was encoded; bytes that no entry encodes to are an error, never a panic.
//! * Decoding allocates in proportion to the bytes.
//!
//! Cost: O(bytes).

mod filter;

use std::collections::{BTreeMap, HashMap};

pub(crate) use self::filter::{filter_bytes, filter_of};
use crate::entry::Cause;
use crate::{
    Attributes, CaveatUse, Change, Context, ContextValue, Entry, EntryKind, Logged, Origin, Relationship,
    ResourceRef, Revision, SubjectRef, Timestamp, VALUE_DEPTH_MAX,
};

/// The newest format that is read.
const FORMAT: u8 = 2;
const KIND_RELATIONSHIPS: u8 = 1;
const KIND_SCHEMA: u8 = 2;
const KIND_RENUMBERING: u8 = 3;
const KIND_COUNTER: u8 = 4;

const TAG_CREATED: u8 = 0;
const TAG_REPLACED: u8 = 1;
const TAG_DELETED: u8 = 2;
const TAG_KINDS: u8 = 3;
const TAG_SUBJECT_RELATION: u8 = 1 << 2;
const TAG_CAVEAT: u8 = 1 << 3;
const TAG_EXPIRES: u8 = 1 << 4;
const TAG_OLD_CAVEAT: u8 = 1 << 5;
const TAG_OLD_EXPIRES: u8 = 1 << 6;

const TAG_NEW: u8 = 1;
const TAG_OLD: u8 = 2;

/// The format of entries of a kind: the first that had it.
fn format_of(kind: u8) -> u8 {
    if kind == KIND_COUNTER { 2 } else { 1 }
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written by a later release.
    #[error("the entry has format {found}; this release reads formats up to {FORMAT}")]
    NewerFormat {
        /// The format found.
        found: u8,
    },
    /// Not what an entry encodes to.
    #[error("chunk {chunk} of the entry is not readable at byte {offset}: {what}")]
    Malformed {
        /// Which chunk, from 0.
        chunk: usize,
        /// Where in it.
        offset: usize,
        /// What was expected.
        what: &'static str,
    },
}

impl Logged {
    /// The entry as chunks of about `chunk_bytes`, without its revision, which is its place in the log.
    #[must_use]
    pub fn to_chunks(&self, chunk_bytes: usize) -> Vec<Vec<u8>> {
        let mut writer = Writer::default();
        writer.bytes.push(format_of(kind_of(&self.entry.kind)));
        writer.moment(self.origin.written_at);
        writer.bytes.push(match self.origin.cause {
            Cause::Request => 0,
            Cause::Sweep => 1,
        });
        writer.string(&self.origin.actor);
        writer.context(&self.origin.metadata);
        writer.bytes.push(kind_of(&self.entry.kind));
        let head_bytes = writer.bytes.len();
        match &self.entry.kind {
            EntryKind::Relationships(changes) => return writer.changes(changes, chunk_bytes),
            EntryKind::Schema { new, old } => {
                writer.string(new);
                writer.string(old);
            }
            EntryKind::Renumbering { removed } => {
                writer.varint(removed.len() as u64);
                for (object_type, number, id) in removed {
                    writer.string(object_type);
                    writer.varint(u64::from(*number));
                    writer.string(id);
                }
            }
            EntryKind::Counter { name, new, old } => {
                writer.string(name);
                let tag = |is_set: bool, tag: u8| if is_set { tag } else { 0 };
                writer.bytes.push(tag(new.is_some(), TAG_NEW) | tag(old.is_some(), TAG_OLD));
                for filter in [new, old].into_iter().flatten() {
                    let bytes = filter_bytes(filter);
                    writer.varint(bytes.len() as u64);
                    writer.bytes.extend_from_slice(&bytes);
                }
            }
        }
        cut(&writer.bytes, head_bytes, chunk_bytes)
    }

    /// The entry of these chunks, at this revision.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn from_chunks<B: AsRef<[u8]>>(revision: Revision, chunks: &[B]) -> Result<Logged, DecodeError> {
        let (origin, mut kind) = Logged::begun(chunks)?;
        if let EntryKind::Relationships(changes) = &mut kind {
            for (chunk, bytes) in chunks.iter().enumerate().skip(1) {
                Reader::new(chunk, bytes.as_ref()).changes(changes)?;
            }
        }
        Ok(Logged { entry: Entry { revision, kind }, origin })
    }

    /// The beginning of the entry of these chunks: where it came from, and what it changed. Of relationships only those of
    /// the first chunk: [`Logged::changes_of`] reads the others one by one, so that a large entry need not be in memory
    /// whole.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn begun<B: AsRef<[u8]>>(chunks: &[B]) -> Result<(Origin, EntryKind), DecodeError> {
        let (format, mut reader, further) = begun(chunks)?;
        let written_at = reader.moment()?;
        let cause = match reader.byte("a cause")? {
            0 => Cause::Request,
            1 => Cause::Sweep,
            _ => return Err(reader.malformed("a known cause")),
        };
        let actor = reader.string()?.to_owned();
        let metadata = reader.context()?;
        let kind = reader.byte("a kind")?;
        if format != format_of(kind) {
            return Err(reader.malformed("a kind of this format"));
        }
        let origin = Origin { written_at, cause, actor, metadata };
        if kind == KIND_RELATIONSHIPS {
            let mut changes = Vec::new();
            reader.changes(&mut changes)?;
            return Ok((origin, EntryKind::Relationships(changes)));
        }
        // The other kinds are short, or rare.
        let mut whole = reader.rest().to_vec();
        further.iter().for_each(|bytes| whole.extend_from_slice(bytes.as_ref()));
        let mut reader = Reader::new(0, &whole);
        let kind = reader.other_kind(kind)?;
        if !reader.is_at_end() {
            return Err(reader.malformed("the end of the entry"));
        }
        Ok((origin, kind))
    }

    /// The changes of a further chunk of an entry of relationships; `chunk` counts from 0.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn changes_of(chunk: usize, bytes: &[u8]) -> Result<Vec<Change>, DecodeError> {
        let mut changes = Vec::new();
        Reader::new(chunk, bytes).changes(&mut changes)?;
        Ok(changes)
    }

    /// Changes as further chunks of an entry, for [`Logged::changes_of`]; none if there are none.
    #[must_use]
    pub fn chunks_of(changes: &[Change], chunk_bytes: usize) -> Vec<Vec<u8>> {
        if changes.is_empty() { Vec::new() } else { Writer::default().changes(changes, chunk_bytes) }
    }

    /// When the entry of these chunks was written; reads no further.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn written_at_of<B: AsRef<[u8]>>(chunks: &[B]) -> Result<Timestamp, DecodeError> {
        begun(chunks)?.1.moment()
    }
}

fn kind_of(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::Relationships(_) => KIND_RELATIONSHIPS,
        EntryKind::Schema { .. } => KIND_SCHEMA,
        EntryKind::Renumbering { .. } => KIND_RENUMBERING,
        EntryKind::Counter { .. } => KIND_COUNTER,
    }
}

/// The format, the first chunk behind it, and the further ones.
fn begun<B: AsRef<[u8]>>(chunks: &[B]) -> Result<(u8, Reader<'_>, &[B]), DecodeError> {
    let nothing = DecodeError::Malformed { chunk: 0, offset: 0, what: "a chunk" };
    let (first, further) = chunks.split_first().ok_or(nothing)?;
    let mut reader = Reader::new(0, first.as_ref());
    match reader.byte("the format")? {
        format @ 1..=FORMAT => Ok((format, reader, further)),
        found if found > FORMAT => Err(DecodeError::NewerFormat { found }),
        _ => Err(reader.malformed("a format")),
    }
}

/// Chunks of about `chunk_bytes`, the head whole in the first.
fn cut(bytes: &[u8], head_bytes: usize, chunk_bytes: usize) -> Vec<Vec<u8>> {
    let (first, rest) = bytes.split_at(chunk_bytes.max(head_bytes).min(bytes.len()));
    [first].into_iter().chain(rest.chunks(chunk_bytes.max(1))).map(<[u8]>::to_vec).collect()
}

/// One chunk being written.
#[derive(Default)]
struct Writer<'a> {
    bytes: Vec<u8>,
    names: HashMap<&'a str, u64>,
    resource_id: &'a str,
    subject_id: &'a str,
}

impl<'a> Writer<'a> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn moment(&mut self, at: Timestamp) {
        let seconds = at.seconds();
        self.varint((seconds << 1 ^ seconds >> 63) as u64);
        self.varint(u64::from(at.nanos()));
    }

    fn string(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn name(&mut self, name: &'a str) {
        let next = self.names.len() as u64 + 1;
        match self.names.get(name).copied() {
            Some(number) => self.varint(number),
            None => {
                self.names.insert(name, next);
                self.varint(0);
                self.string(name);
            }
        }
    }

    fn id(&mut self, before: &str, id: &str) {
        let shared = before.bytes().zip(id.bytes()).take_while(|(a, b)| a == b).count();
        // Ids are ASCII as a rule; where they are not, a character is not cut.
        let shared = (0..=shared).rev().find(|at| id.is_char_boundary(*at)).unwrap_or(0);
        self.varint(shared as u64);
        self.string(&id[shared..]);
    }

    fn context(&mut self, context: &Context) {
        self.values(&context.0);
    }

    fn values(&mut self, values: &BTreeMap<String, ContextValue>) {
        self.varint(values.len() as u64);
        for (name, value) in values {
            self.string(name);
            self.value(value);
        }
    }

    /// Recursion follows a value's nesting, which is at most [`VALUE_DEPTH_MAX`].
    fn value(&mut self, value: &ContextValue) {
        match value {
            ContextValue::Null => self.bytes.push(0),
            ContextValue::Bool(false) => self.bytes.push(1),
            ContextValue::Bool(true) => self.bytes.push(2),
            ContextValue::Number(number) => {
                self.bytes.push(3);
                self.bytes.extend_from_slice(&number.to_le_bytes());
            }
            ContextValue::String(text) => {
                self.bytes.push(4);
                self.string(text);
            }
            ContextValue::List(values) => {
                self.bytes.push(5);
                self.varint(values.len() as u64);
                values.iter().for_each(|value| self.value(value));
            }
            ContextValue::Map(values) => {
                self.bytes.push(6);
                self.values(values);
            }
        }
    }

    /// What is written already and these changes, in chunks.
    fn changes(mut self, changes: &'a [Change], chunk_bytes: usize) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        for change in changes {
            if self.bytes.len() >= chunk_bytes {
                chunks.push(std::mem::take(&mut self).bytes);
            }
            self.change(change);
        }
        // An empty further chunk would be no chunk.
        chunks.push(self.bytes);
        chunks
    }

    fn change(&mut self, change: &'a Change) {
        let (relationship, kind, old) = match change {
            Change::Created(relationship) => (relationship, TAG_CREATED, None),
            Change::Replaced { new, old } => (new, TAG_REPLACED, Some(old)),
            Change::Deleted(relationship) => (relationship, TAG_DELETED, None),
        };
        let Relationship { resource, relation, subject, caveat, expires_at } = relationship;
        let tag = |is_set: bool, tag: u8| if is_set { tag } else { 0 };
        self.bytes.push(
            kind | tag(subject.relation.is_some(), TAG_SUBJECT_RELATION)
                | tag(caveat.is_some(), TAG_CAVEAT)
                | tag(expires_at.is_some(), TAG_EXPIRES)
                | tag(old.is_some_and(|old| old.caveat.is_some()), TAG_OLD_CAVEAT)
                | tag(old.is_some_and(|old| old.expires_at.is_some()), TAG_OLD_EXPIRES),
        );
        self.name(&resource.object_type);
        self.name(relation);
        self.name(&subject.object_type);
        if let Some(relation) = &subject.relation {
            self.name(relation);
        }
        self.id(self.resource_id, &resource.object_id);
        self.resource_id = &resource.object_id;
        self.id(self.subject_id, &subject.object_id);
        self.subject_id = &subject.object_id;
        self.attributes(caveat.as_ref(), *expires_at);
        if let Some(old) = old {
            self.attributes(old.caveat.as_ref(), old.expires_at);
        }
    }

    fn attributes(&mut self, caveat: Option<&'a CaveatUse>, expires_at: Option<Timestamp>) {
        if let Some(CaveatUse { name, context }) = caveat {
            self.name(name);
            self.context(context);
        }
        if let Some(at) = expires_at {
            self.moment(at);
        }
    }
}

/// One chunk being read.
struct Reader<'b> {
    chunk: usize,
    bytes: &'b [u8],
    at: usize,
    names: Vec<&'b str>,
    resource_id: String,
    subject_id: String,
}

type Decoded<T> = Result<T, DecodeError>;

impl<'b> Reader<'b> {
    fn new(chunk: usize, bytes: &'b [u8]) -> Reader<'b> {
        let (resource_id, subject_id) = (String::new(), String::new());
        Reader { chunk, bytes, at: 0, names: Vec::new(), resource_id, subject_id }
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { chunk: self.chunk, offset: self.at, what }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn rest(&self) -> &'b [u8] {
        &self.bytes[self.at..]
    }

    fn byte(&mut self, what: &'static str) -> Decoded<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed(what))?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, count: usize, what: &'static str) -> Decoded<&'b [u8]> {
        let taken = self.rest().get(..count).ok_or_else(|| self.malformed(what))?;
        self.at += count;
        Ok(taken)
    }

    fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte("a number")?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // One way to write each number.
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(self.malformed("a number as it is written"))
    }

    /// How many items follow; each takes a byte at least.
    fn count(&mut self) -> Decoded<usize> {
        let count = self.varint()?;
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest().len());
        count.ok_or_else(|| self.malformed("a count that the entry has room for"))
    }

    fn moment(&mut self) -> Decoded<Timestamp> {
        let zigzag = self.varint()?;
        let seconds = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let nanos = i64::try_from(self.varint()?).unwrap_or(i64::MAX);
        Timestamp::new(seconds, nanos).map_err(|_| self.malformed("a moment"))
    }

    fn string(&mut self) -> Decoded<&'b str> {
        let count = self.count()?;
        let bytes = self.take(count, "a text")?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("UTF-8"))
    }

    fn name(&mut self) -> Decoded<&'b str> {
        match self.varint()? {
            0 => {
                let name = self.string()?;
                self.names.push(name);
                Ok(name)
            }
            number => {
                let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
                self.names.get(at).copied().ok_or_else(|| self.malformed("a name that the chunk has"))
            }
        }
    }

    fn id(&mut self, before: &mut String) -> Decoded<String> {
        let shared = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let rest = self.string()?;
        if !before.is_char_boundary(shared) {
            return Err(self.malformed("what the id shares with the one before it"));
        }
        before.truncate(shared);
        before.push_str(rest);
        Ok(before.clone())
    }

    fn context(&mut self) -> Decoded<Context> {
        Ok(Context(self.values(0)?))
    }

    fn values(&mut self, depth: usize) -> Decoded<BTreeMap<String, ContextValue>> {
        let count = self.count()?;
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let name = self.string()?.to_owned();
            let value = self.value(depth)?;
            if values.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(self.malformed("names in their order"));
            }
            values.insert(name, value);
        }
        Ok(values)
    }

    /// Recursion is bounded by [`VALUE_DEPTH_MAX`].
    fn value(&mut self, depth: usize) -> Decoded<ContextValue> {
        if depth > VALUE_DEPTH_MAX {
            return Err(self.malformed("a value that is nested less deeply"));
        }
        Ok(match self.byte("a value")? {
            0 => ContextValue::Null,
            1 => ContextValue::Bool(false),
            2 => ContextValue::Bool(true),
            3 => {
                let bytes = self.take(8, "a number of 8 bytes")?;
                let number = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
                if !number.is_finite() {
                    return Err(self.malformed("a finite number"));
                }
                ContextValue::Number(number)
            }
            4 => ContextValue::String(self.string()?.to_owned()),
            5 => {
                let count = self.count()?;
                let values: Decoded<Vec<ContextValue>> = (0..count).map(|_| self.value(depth + 1)).collect();
                ContextValue::List(values?)
            }
            6 => ContextValue::Map(self.values(depth + 1)?),
            _ => return Err(self.malformed("a known value")),
        })
    }

    fn changes(&mut self, into: &mut Vec<Change>) -> Decoded<()> {
        while !self.is_at_end() {
            into.push(self.change()?);
        }
        Ok(())
    }

    fn change(&mut self) -> Decoded<Change> {
        let tags = self.byte("a change")?;
        let known = TAG_KINDS | TAG_SUBJECT_RELATION | TAG_CAVEAT | TAG_EXPIRES;
        let known = match tags & TAG_KINDS {
            TAG_REPLACED => known | TAG_OLD_CAVEAT | TAG_OLD_EXPIRES,
            _ => known,
        };
        if tags & !known != 0 {
            return Err(self.malformed("known tags"));
        }
        let resource_type = self.name()?.to_owned();
        let relation = self.name()?.to_owned();
        let subject_type = self.name()?.to_owned();
        let subject_relation = match tags & TAG_SUBJECT_RELATION {
            0 => None,
            _ => Some(self.name()?.to_owned()),
        };
        let mut before = std::mem::take(&mut self.resource_id);
        let resource_id = self.id(&mut before)?;
        self.resource_id = before;
        let mut before = std::mem::take(&mut self.subject_id);
        let subject_id = self.id(&mut before)?;
        self.subject_id = before;
        let Attributes { caveat, expires_at } = self.attributes(tags & TAG_CAVEAT, tags & TAG_EXPIRES)?;
        let relationship = Relationship {
            resource: ResourceRef { object_type: resource_type, object_id: resource_id },
            relation,
            subject: SubjectRef {
                object_type: subject_type,
                object_id: subject_id,
                relation: subject_relation,
            },
            caveat,
            expires_at,
        };
        Ok(match tags & TAG_KINDS {
            TAG_CREATED => Change::Created(relationship),
            TAG_REPLACED => {
                let old = self.attributes(tags & TAG_OLD_CAVEAT, tags & TAG_OLD_EXPIRES)?;
                Change::Replaced { new: relationship, old }
            }
            TAG_DELETED => Change::Deleted(relationship),
            _ => return Err(self.malformed("a known change")),
        })
    }

    fn attributes(&mut self, has_caveat: u8, has_expiration: u8) -> Decoded<Attributes> {
        let caveat = match has_caveat {
            0 => None,
            _ => Some(CaveatUse { name: self.name()?.to_owned(), context: self.context()? }),
        };
        let expires_at = match has_expiration {
            0 => None,
            _ => Some(self.moment()?),
        };
        Ok(Attributes { caveat, expires_at })
    }

    fn other_kind(&mut self, kind: u8) -> Decoded<EntryKind> {
        match kind {
            KIND_SCHEMA => {
                let (new, old) = (self.string()?.to_owned(), self.string()?.to_owned());
                Ok(EntryKind::Schema { new, old })
            }
            KIND_RENUMBERING => {
                let count = self.count()?;
                let mut removed = Vec::new();
                for _ in 0..count {
                    let object_type = self.string()?.to_owned();
                    let number =
                        u32::try_from(self.varint()?).map_err(|_| self.malformed("an object's number"))?;
                    removed.push((object_type, number, self.string()?.to_owned()));
                }
                Ok(EntryKind::Renumbering { removed })
            }
            KIND_COUNTER => {
                let name = self.string()?.to_owned();
                let tags = self.byte("a counter's filters")?;
                if tags & !(TAG_NEW | TAG_OLD) != 0 {
                    return Err(self.malformed("known tags"));
                }
                let mut filter = |tag: u8| match tags & tag {
                    0 => Ok(None),
                    _ => {
                        let count = self.count()?;
                        filter_of(self.take(count, "a filter")?).map(|filter| Some(Box::new(filter)))
                    }
                };
                Ok(EntryKind::Counter { name, new: filter(TAG_NEW)?, old: filter(TAG_OLD)? })
            }
            _ => Err(self.malformed("a known kind of entry")),
        }
    }
}
