//! What is told of a call: who, what, on what, and how it ended?
//!
//! The caller fills these in and hands them over; nothing is formatted or hashed on its thread.
//!
//! # Invariants
//! * No text of an event is a secret: a secret has no way in but as a [`SecretHash`].
//! * An event has a bounded size as a record, whatever its fields hold: texts are cut at [`TEXT_BYTES_MAX`], those of
//!   details at [`DETAIL_BYTES_MAX`], which no update reaches. Details of more than [`DETAILS_BYTES_MAX`] go on in further
//!   records, of which there are at most [`PARTS_MAX`]; what there is more is counted.

use std::borrow::Cow;
use std::sync::Arc;

use idhini_model::{Revision, Timestamp};

use crate::keys::SecretHash;

/// Bytes of one text of an event that are recorded.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Bytes of the name of an object that are recorded: none is longer.
pub const RESOURCE_BYTES_MAX: usize = 2048;
/// Bytes of one text among the details that are recorded: more than a relationship has.
pub const DETAIL_BYTES_MAX: usize = 4096;
/// Bytes of details in one record, about; more go on in the next.
pub const DETAILS_BYTES_MAX: usize = 64 << 10;
/// Records of one event.
pub const PARTS_MAX: usize = 128;
/// What a text of its own takes beside its bytes.
const TEXT_OVERHEAD_BYTES: usize = 32;

/// Who called. One value serves all calls of a connection with the same token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// The token's name that is no secret, if a token was found.
    pub accessor: Option<Arc<str>>,
    /// Whom the client's certificate names, if it has one.
    pub certificate: Option<Arc<str>>,
    /// Where the connection comes from.
    pub address: Option<Arc<str>>,
}

/// A call, before anything is known of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it came.
    pub at: Timestamp,
    /// Its request id.
    pub request: Arc<str>,
    /// Who called.
    pub actor: Arc<Actor>,
    /// What was called, such as `WriteRelationships`.
    pub call: Cow<'static, str>,
    /// On which namespace, if it is about one.
    pub namespace: Option<Arc<str>>,
    /// On which object, such as `document:readme`, if it is about one.
    pub resource: Option<Arc<str>>,
    /// What else there is to know.
    pub details: Vec<(Cow<'static, str>, Detail)>,
}

/// One of the things that else there is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A text.
    Text(Arc<str>),
    /// Several.
    Texts(Vec<Arc<str>>),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// What a secret was, without saying it.
    Secret(SecretHash),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, or answered.
    Accepted {
        /// At which revision.
        revision: Option<Revision>,
        /// What was answered, such as `has`.
        answer: Option<Cow<'static, str>>,
    },
    /// It was refused and changed nothing.
    Refused {
        /// The status, such as `PERMISSION_DENIED`.
        code: Cow<'static, str>,
        /// Why, as the caller was told.
        why: Cow<'static, str>,
    },
    /// Whether it changed anything is not known.
    Unknown {
        /// Why not.
        why: Cow<'static, str>,
    },
}

impl Event {
    /// An event with what every call has.
    #[must_use]
    pub fn new(
        at: Timestamp,
        request: Arc<str>,
        actor: Arc<Actor>,
        call: impl Into<Cow<'static, str>>,
    ) -> Event {
        Event { at, request, actor, call: call.into(), namespace: None, resource: None, details: Vec::new() }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let of_detail = |(name, detail): &(Cow<'static, str>, Detail)| {
            let texts = match detail {
                Detail::Text(text) => text.len(),
                Detail::Texts(texts) => texts.iter().map(|text| text.len() + TEXT_OVERHEAD_BYTES).sum(),
                Detail::Number(_) | Detail::Flag(_) | Detail::Secret(_) => 0,
            };
            name.len() + texts + size_of::<(Cow<'static, str>, Detail)>()
        };
        let own = [Some(&self.request), self.namespace.as_ref(), self.resource.as_ref()];
        let own: usize = own.into_iter().flatten().map(|text| text.len()).sum();
        size_of::<Event>() + own + self.details.iter().map(of_detail).sum::<usize>()
    }
}

impl Outcome {
    /// Done, at this revision.
    #[must_use]
    pub fn done(revision: Option<Revision>) -> Outcome {
        Outcome::Accepted { revision, answer: None }
    }
}

/// As much of a text as is worth keeping: more than is recorded, so that it shows where it was cut.
#[must_use]
pub fn noted(text: &str) -> &str {
    // A character has at most four bytes.
    &text[..text.floor_char_boundary(DETAIL_BYTES_MAX + 4)]
}
