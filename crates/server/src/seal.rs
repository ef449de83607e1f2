//! Tokens and cursors: which revision does this one name, and is it ours?
//!
//! A ZedToken names a revision of one namespace; a cursor names besides the question it continues, the instant that
//! the question's first page was asked at, and a place in the answer. Both are sealed: authenticated under a key that
//! never leaves the server, and opaque to clients. A place is a token that says besides how far the snapshot of that
//! revision was told, for a watch that began with one. They are not secret; they hold nothing their holder may not know.
//!
//! ```text
//! version 1 | kind 1 | key id 4 | store 8 | timeline 4 | namespace 8 | revision 8 | body | seal 16
//! body of a cursor or place:  question 16 | seconds 8 | nanos 4 | place …
//! ```
//!
//! # Invariants
//! * No field is believed before its seal is verified; the key id is only used to choose the key. What a token under
//!   another key says of its store and timeline only chooses the words in which it is called a stranger.
//! * A cursor opens for the question it was made for, and for no other.
//!
//! Cost: two keyed BLAKE3 compressions; one for each further cursor of an answer, see [`Stamp`].
//! Source: BLAKE3 (keyed mode, constant-time comparison); Zanzibar (USENIX ATC 2019), section 2.4 on zookies.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use idhini_model::{Revision, Timestamp};

mod stamp;

pub(crate) use stamp::Stamp;

/// Longest token or cursor that is looked at, in bytes of text.
pub const CURSOR_BYTES_MAX: usize = 100 * 1024;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 34;
const SEAL_BYTES: usize = 16;
const QUESTION_BYTES: usize = 16;
const CURSOR_BODY_BYTES_MIN: usize = QUESTION_BYTES + 12;

/// What tells this store's tokens from all others'.
#[derive(Debug, Clone)]
pub struct SealOptions {
    /// The secret; random.
    pub key: [u8; 32],
    /// Which secret it is; random, not secret.
    pub key_id: u32,
    /// Which store; random, for as long as its log lives.
    pub store: u64,
    /// Which history of the store; a restore begins a new one.
    pub timeline: u32,
    /// The namespace's name.
    pub namespace: String,
}

/// Seals and opens.
pub struct Sealer {
    key: [u8; 32],
    key_id: u32,
    store: u64,
    timeline: u32,
    namespace: [u8; 8],
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Token = 1,
    Cursor = 2,
    Place = 3,
}

/// A digest of a question: which call, with which arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionDigest([u8; QUESTION_BYTES]);

/// What a cursor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The revision of the first page.
    pub revision: Revision,
    /// The instant of the first page.
    pub instant: Timestamp,
    /// Where the answer goes on; the call's own business.
    pub place: Vec<u8>,
}

/// Where a watch starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what came after this revision.
    After(Revision),
    /// In the middle of a snapshot.
    Within(Cursor),
}

/// Whose token it is, if it is well formed but not of this store's present history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// It was sealed under a key that is no longer known.
    UnknownKey,
    /// It names a revision of another store.
    OtherStore,
    /// It names a revision of a history that a restore ended.
    EndedTimeline,
    /// It was made by SpiceDB.
    Migrated,
}

impl Stranger {
    /// All kinds, each at its number.
    pub(crate) const ALL: [Stranger; 4] =
        [Stranger::UnknownKey, Stranger::OtherStore, Stranger::EndedTimeline, Stranger::Migrated];

    /// As metrics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stranger::UnknownKey => "unknown_key",
            Stranger::OtherStore => "other_store",
            Stranger::EndedTimeline => "ended_timeline",
            Stranger::Migrated => "migrated",
        }
    }
}

/// Why a token or cursor is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Not one of ours, or changed on the way.
    #[error("it is not one that this service made")]
    Unreadable,
    /// Of another namespace.
    #[error("it belongs to another namespace")]
    OtherNamespace,
    /// Well formed, but of another history.
    #[error("{}", match .0 {
        Stranger::UnknownKey => "it was sealed under a key that is no longer known",
        Stranger::OtherStore => "it belongs to another store, such as an earlier ephemeral server",
        Stranger::EndedTimeline => "it belongs to a history that a restore ended",
        Stranger::Migrated => "it was made by SpiceDB before the data was migrated",
    })]
    Stranger(Stranger),
    /// A cursor of another question.
    #[error(
        "it continues another question; repeat the call with the same arguments besides the cursor and the limit"
    )]
    OtherQuestion,
}

impl QuestionDigest {
    /// Of a call's name and its encoded arguments, without those that may differ between pages.
    #[must_use]
    pub fn of(call: &str, arguments: &[u8]) -> QuestionDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(call.len() as u64).to_be_bytes()).update(call.as_bytes()).update(arguments);
        QuestionDigest(first_bytes(&hasher.finalize()))
    }
}

impl Sealer {
    /// With this key, for this namespace.
    #[must_use]
    pub fn new(options: &SealOptions) -> Sealer {
        Sealer {
            key: options.key,
            key_id: options.key_id,
            store: options.store,
            timeline: options.timeline,
            namespace: first_bytes(&blake3::hash(options.namespace.as_bytes())),
        }
    }

    /// The token of a revision.
    #[must_use]
    pub fn token(&self, revision: Revision) -> String {
        self.seal(Kind::Token, revision, &[])
    }

    /// The cursor of a place in an answer.
    #[must_use]
    pub fn cursor(&self, question: QuestionDigest, cursor: &Cursor) -> String {
        self.seal_place(Kind::Cursor, question, cursor)
    }

    /// For making many cursors of one answer, whose places begin as this one and have eight bytes more.
    #[must_use]
    pub(crate) fn stamp(&self, question: QuestionDigest, cursor: &Cursor) -> Stamp {
        let mut sealed = self.head(Kind::Cursor, cursor.revision);
        sealed.extend_from_slice(&body(question, cursor));
        Stamp::new(&self.key, sealed)
    }

    /// The token of a place in a snapshot; where a token is wanted, it names the snapshot's revision.
    #[must_use]
    pub fn place(&self, question: QuestionDigest, cursor: &Cursor) -> String {
        self.seal_place(Kind::Place, question, cursor)
    }

    /// The revision that a token names.
    ///
    /// # Errors
    /// [`SealError`]; for [`SealError::Stranger`], full consistency is as fresh as the token can ask for.
    pub fn open_token(&self, token: &str) -> Result<Revision, SealError> {
        let bytes = decode(token).ok_or(SealError::Unreadable)?;
        if is_place(&bytes) {
            return Ok(self.open(Kind::Place, &bytes)?.0);
        }
        match self.open(Kind::Token, &bytes) {
            Ok((revision, [])) => Ok(revision),
            Ok(_) => Err(SealError::Unreadable),
            Err(SealError::Unreadable) if is_migrated(MIGRATED_TOKEN, &bytes) => {
                Err(SealError::Stranger(Stranger::Migrated))
            }
            Err(error) => Err(error),
        }
    }

    /// What a cursor says, if it continues this question.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_cursor(&self, question: QuestionDigest, cursor: &str) -> Result<Cursor, SealError> {
        let bytes = decode(cursor).ok_or(SealError::Unreadable)?;
        match self.open_place(Kind::Cursor, question, &bytes) {
            Err(SealError::Unreadable) if is_migrated(MIGRATED_CURSOR, &bytes) => {
                Err(SealError::Stranger(Stranger::Migrated))
            }
            opened => opened,
        }
    }

    /// Where a watch that asks this question starts.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_start(&self, question: QuestionDigest, token: &str) -> Result<Start, SealError> {
        match decode(token) {
            Some(bytes) if is_place(&bytes) => {
                self.open_place(Kind::Place, question, &bytes).map(Start::Within)
            }
            _ => self.open_token(token).map(Start::After),
        }
    }

    fn open_place(&self, kind: Kind, question: QuestionDigest, bytes: &[u8]) -> Result<Cursor, SealError> {
        let (revision, body) = self.open(kind, bytes)?;
        let (digest, body) = body.split_first_chunk::<QUESTION_BYTES>().ok_or(SealError::Unreadable)?;
        let (seconds, body) = body.split_first_chunk::<8>().ok_or(SealError::Unreadable)?;
        let (nanos, place) = body.split_first_chunk::<4>().ok_or(SealError::Unreadable)?;
        if *digest != question.0 {
            return Err(SealError::OtherQuestion);
        }
        let instant = Timestamp::new(i64::from_be_bytes(*seconds), i64::from(u32::from_be_bytes(*nanos)))
            .map_err(|_| SealError::Unreadable)?;
        Ok(Cursor { revision, instant, place: place.to_vec() })
    }

    fn seal_place(&self, kind: Kind, question: QuestionDigest, cursor: &Cursor) -> String {
        self.seal(kind, cursor.revision, &body(question, cursor))
    }

    fn head(&self, kind: Kind, revision: Revision) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + CURSOR_BODY_BYTES_MIN + 8 + SEAL_BYTES);
        bytes.extend_from_slice(&[VERSION, kind as u8]);
        bytes.extend_from_slice(&self.key_id.to_be_bytes());
        bytes.extend_from_slice(&self.store.to_be_bytes());
        bytes.extend_from_slice(&self.timeline.to_be_bytes());
        bytes.extend_from_slice(&self.namespace);
        bytes.extend_from_slice(&revision.0.to_be_bytes());
        bytes
    }

    fn seal(&self, kind: Kind, revision: Revision, body: &[u8]) -> String {
        let mut bytes = self.head(kind, revision);
        bytes.extend_from_slice(body);
        let seal: [u8; SEAL_BYTES] = first_bytes(&blake3::keyed_hash(&self.key, &bytes));
        bytes.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open<'b>(&self, kind: Kind, bytes: &'b [u8]) -> Result<(Revision, &'b [u8]), SealError> {
        let (sealed, seal) = bytes.split_last_chunk::<SEAL_BYTES>().ok_or(SealError::Unreadable)?;
        let (head, body) = sealed.split_first_chunk::<HEAD_BYTES>().ok_or(SealError::Unreadable)?;
        let [version, of_kind, k0, k1, k2, k3, rest @ ..] = head;
        let ([s0, s1, s2, s3, s4, s5, s6, s7, t0, t1, t2, t3, rest @ ..], is_known) =
            (rest, *version == VERSION && *of_kind == kind as u8);
        let [n0, n1, n2, n3, n4, n5, n6, n7, revision @ ..] = rest;
        if !is_known {
            return Err(SealError::Unreadable);
        }
        let store = u64::from_be_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]);
        let timeline = u32::from_be_bytes([*t0, *t1, *t2, *t3]);
        if u32::from_be_bytes([*k0, *k1, *k2, *k3]) != self.key_id {
            return Err(SealError::Stranger(self.stranger(store, timeline).unwrap_or(Stranger::UnknownKey)));
        }
        // Comparing hashes takes the same time wherever they differ; the shortened seal is compared as one.
        let wanted: [u8; SEAL_BYTES] = first_bytes(&blake3::keyed_hash(&self.key, sealed));
        if !same(&wanted, seal) {
            return Err(SealError::Unreadable);
        }
        if [*n0, *n1, *n2, *n3, *n4, *n5, *n6, *n7] != self.namespace {
            return Err(SealError::OtherNamespace);
        }
        if let Some(stranger) = self.stranger(store, timeline) {
            return Err(SealError::Stranger(stranger));
        }
        Ok((Revision(u64::from_be_bytes(*revision)), body))
    }
}

impl Sealer {
    /// What a token is that says this of its origin, if it is not of this history. A restore makes a key of its own, as
    /// every store does, so that this is all that tells the tokens of an ended history from those of another store.
    fn stranger(&self, store: u64, timeline: u32) -> Option<Stranger> {
        if store != self.store {
            Some(Stranger::OtherStore)
        } else if timeline != self.timeline {
            Some(Stranger::EndedTimeline)
        } else {
            None
        }
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("key_id", &self.key_id)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// What a cursor or place says besides its revision.
fn body(question: QuestionDigest, cursor: &Cursor) -> Vec<u8> {
    let mut body = Vec::with_capacity(CURSOR_BODY_BYTES_MIN + cursor.place.len());
    body.extend_from_slice(&question.0);
    body.extend_from_slice(&cursor.instant.seconds().to_be_bytes());
    body.extend_from_slice(&cursor.instant.nanos().to_be_bytes());
    body.extend_from_slice(&cursor.place);
    body
}

/// Both alphabets, since SpiceDB's tokens use the other one.
fn decode(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > CURSOR_BYTES_MAX {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

/// Field of SpiceDB's tokens and of its cursors that holds all there is, as its tag.
const MIGRATED_TOKEN: u8 = 0x1a;
const MIGRATED_CURSOR: u8 = 0x0a;

/// What SpiceDB gives out is a protobuf message: one field, and in that as field 1 the revision's text.
fn is_migrated(tag: u8, bytes: &[u8]) -> bool {
    let Some((of, mut rest)) = bytes.split_first() else { return false };
    let Ok(length) = prost::decode_length_delimiter(&mut rest) else { return false };
    let [0x0a, revision_length, text @ ..] = rest else { return false };
    let revision_length = usize::from(*revision_length);
    *of == tag
        && length == rest.len()
        && revision_length > 0
        && text.len() >= revision_length
        && text[..revision_length].iter().all(u8::is_ascii_graphic)
}

fn is_place(bytes: &[u8]) -> bool {
    matches!(bytes, [version, kind, ..] if *version == VERSION && *kind == Kind::Place as u8)
}

fn first_bytes<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&hash.as_bytes()[..N]);
    first
}

/// Compares in a time that does not tell where two seals differ.
fn same(one: &[u8; SEAL_BYTES], other: &[u8; SEAL_BYTES]) -> bool {
    let widen = |seal: &[u8; SEAL_BYTES]| {
        let mut wide = [0; blake3::OUT_LEN];
        wide[..SEAL_BYTES].copy_from_slice(seal);
        blake3::Hash::from_bytes(wide)
    };
    widen(one) == widen(other)
}

#[cfg(test)]
mod tests;
