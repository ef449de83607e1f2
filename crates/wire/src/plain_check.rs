//! What does the commonest call say? `CheckPermission` read in place and answered in one piece.
//!
//! Only what is *plain* is read: each field at most once, in its shortest form, with all that a check needs. Whatever else
//! the bytes may be, good or bad, is `None` here and left to the generated code, which knows it all and whose words a
//! client hears.
//!
//! # Invariants
//! * What is read here is what the generated code reads from the same bytes.
//! * An answer made here is, to the byte, the one that the generated code makes.
//!
//! Cost: one walk over the bytes, nothing allocated; an answer is one allocation.
//! Source: the protobuf encoding; the field numbers are those of `proto/`, held by tests.

use crate::authzed::api::v1;

/// Before each message of a gRPC stream: whether it is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;

/// A check as its bytes say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainCheck<'b> {
    /// Which revision is wanted; `None` is any.
    pub requirement: Option<PlainRequirement<'b>>,
    /// What is asked.
    pub question: PlainQuestion<'b>,
    /// Whether to explain.
    pub with_tracing: bool,
}

/// What a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainQuestion<'b> {
    /// The type and id of the object asked about.
    pub resource: (&'b str, &'b str),
    /// A permission or relation of it.
    pub permission: &'b str,
    /// The type and id of the subject.
    pub subject: (&'b str, &'b str),
    /// Its relation; empty if there is none.
    pub subject_relation: &'b str,
    /// The bytes of the context's message, if there is one.
    pub context: Option<&'b [u8]>,
}

/// Which revision is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainRequirement<'b> {
    /// That which costs least.
    MinimizeLatency(bool),
    /// That of this token, or a later one.
    AtLeastAsFresh(&'b str),
    /// Exactly that of this token.
    AtExactSnapshot(&'b str),
    /// The newest.
    FullyConsistent(bool),
}

/// The one message of a body, if that is all there is and it is not compressed.
#[must_use]
pub fn only_message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, a, b, c, d] = *prefix else { return None };
    (u32::from_be_bytes([a, b, c, d]) as usize == message.len()).then_some(message)
}

impl<'b> PlainCheck<'b> {
    /// From the bytes of a `CheckPermissionRequest`, if they are plain.
    #[must_use]
    pub fn read(bytes: &'b [u8]) -> Option<PlainCheck<'b>> {
        let (mut requirement, mut resource, mut permission) = (None, None, None);
        let (mut subject, mut context, mut with_tracing) = (None, None, None);
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(value)) => once(&mut requirement, plain_requirement(value)?)?,
                (2, Value::Bytes(value)) => once(&mut resource, object(value)?)?,
                (3, Value::Bytes(value)) => once(&mut permission, text(value)?)?,
                (4, Value::Bytes(value)) => once(&mut subject, plain_subject(value)?)?,
                (5, Value::Bytes(value)) => once(&mut context, value)?,
                (6, Value::Flag(value)) => once(&mut with_tracing, value)?,
                _ => return None,
            }
        }
        let (subject, subject_relation) = subject?;
        let (resource, permission) = (resource?, permission.unwrap_or_default());
        Some(PlainCheck {
            requirement: requirement.flatten(),
            question: PlainQuestion { resource, permission, subject, subject_relation, context },
            with_tracing: with_tracing.unwrap_or_default(),
        })
    }
}

/// A gRPC message with this answer and nothing beside it.
#[must_use]
pub fn plain_answer(token: &str, permissionship: v1::check_permission_response::Permissionship) -> Vec<u8> {
    framed(&v1::CheckPermissionResponse {
        checked_at: Some(v1::ZedToken { token: token.to_owned() }),
        permissionship: permissionship as i32,
        ..Default::default()
    })
}

/// A message as gRPC carries it.
#[must_use]
pub fn framed(message: &impl prost::Message) -> Vec<u8> {
    let mut frame = Vec::new();
    put_framed(message, &mut frame);
    frame
}

/// Puts a message behind others, as gRPC carries it.
pub fn put_framed(message: &impl prost::Message, into: &mut Vec<u8>) {
    let length = message.encoded_len();
    into.reserve(PREFIX_BYTES + length);
    into.push(0);
    // Answers are far from that long.
    into.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(into);
}

pub(crate) fn plain_requirement(bytes: &[u8]) -> Option<Option<PlainRequirement<'_>>> {
    let mut requirement = None;
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        let read = match field {
            (1, Value::Flag(flag)) => PlainRequirement::MinimizeLatency(flag),
            (2, Value::Bytes(value)) => PlainRequirement::AtLeastAsFresh(token(value)?),
            (3, Value::Bytes(value)) => PlainRequirement::AtExactSnapshot(token(value)?),
            (4, Value::Flag(flag)) => PlainRequirement::FullyConsistent(flag),
            _ => return None,
        };
        once(&mut requirement, read)?;
    }
    Some(requirement)
}

fn token(bytes: &[u8]) -> Option<&str> {
    let mut token = None;
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        let (1, Value::Bytes(value)) = field else { return None };
        once(&mut token, text(value)?)?;
    }
    Some(token.unwrap_or_default())
}

pub(crate) fn object(bytes: &[u8]) -> Option<(&str, &str)> {
    let (mut object_type, mut object_id) = (None, None);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(value)) => once(&mut object_type, text(value)?)?,
            (2, Value::Bytes(value)) => once(&mut object_id, text(value)?)?,
            _ => return None,
        }
    }
    Some((object_type.unwrap_or_default(), object_id.unwrap_or_default()))
}

/// With its relation. Without an object it is none.
pub(crate) fn plain_subject(bytes: &[u8]) -> Option<((&str, &str), &str)> {
    let (mut of, mut relation) = (None, None);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(value)) => once(&mut of, object(value)?)?,
            (2, Value::Bytes(value)) => once(&mut relation, text(value)?)?,
            _ => return None,
        }
    }
    Some((of?, relation.unwrap_or_default()))
}

pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A field that comes twice is not plain: messages would be merged, others replaced.
pub(crate) fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// The value of a field.
pub(crate) enum Value<'b> {
    /// A string or a message.
    Bytes(&'b [u8]),
    /// A number that is 0 or 1.
    Flag(bool),
}

/// The fields of a message that are still to be read.
pub(crate) struct Fields<'b>(pub(crate) &'b [u8]);

impl<'b> Fields<'b> {
    /// The next field by its number; `Some(None)` at the end, `None` if it is not plain.
    #[expect(clippy::option_option, reason = "the end is not a mistake")]
    pub(crate) fn next(&mut self) -> Option<Option<(u8, Value<'b>)>> {
        let Some((tag, rest)) = self.0.split_first() else { return Some(None) };
        let number = tag >> 3;
        let (value, rest) = match (tag & 7, rest.split_first()?) {
            (0, (flag @ (0 | 1), rest)) => (Value::Flag(*flag == 1), rest),
            (2, (length, rest)) => {
                let (length, rest) = match length {
                    // The second byte of a length of two is its high part, which is not 0 in the shortest form.
                    0x80.. => {
                        let (high, rest) = rest.split_first()?;
                        let is_plain = (1..0x80).contains(high);
                        (is_plain.then(|| usize::from(length & 0x7f) | usize::from(*high) << 7)?, rest)
                    }
                    _ => (usize::from(*length), rest),
                };
                let (value, rest) = rest.split_at_checked(length)?;
                (Value::Bytes(value), rest)
            }
            _ => return None,
        };
        self.0 = rest;
        // Longer tags have the highest bit, and no field has the number 0.
        (1..16).contains(&number).then_some(Some((number, value)))
    }
}

#[cfg(test)]
pub(crate) mod tests;
