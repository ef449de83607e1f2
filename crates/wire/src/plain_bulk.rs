//! What do many checks in one call say? `CheckBulkPermissions` read in place, and its answer written in one piece.
//!
//! Read as a single check is (`plain_check.rs`): what is not plain, in the call or in one of its items, leaves the whole
//! call to the generated code. An answer repeats each item; that is the item's bytes as they came.
//!
//! # Invariants
//! * What is read here is what the generated code reads from the same bytes.
//! * An answer made here decodes to the message that the generated code would send. Where a client has encoded its items as
//!   the generated code does, it is the same to the byte.
//!
//! Cost: one walk over the bytes and a list of the items; an answer is one allocation and a copy of the items.
//! Source: the protobuf encoding; the field numbers are those of `proto/`, held by tests.

use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::authzed::api::v1;
use crate::authzed::api::v1::check_bulk_permissions_pair::Response;
use crate::authzed::api::v1::check_permission_response::Permissionship;
use crate::plain_check::{Fields, Value, object, once, plain_requirement, plain_subject, text};
use crate::{PREFIX_BYTES, PlainQuestion, PlainRequirement};

/// A bulk check as its bytes say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainBulk<'b> {
    /// Which revision is wanted; `None` is any.
    pub requirement: Option<PlainRequirement<'b>>,
    /// What is asked, in order.
    pub items: Vec<PlainItem<'b>>,
    /// Whether to explain.
    pub with_tracing: bool,
}

/// One question of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainItem<'b> {
    /// The message as it came.
    pub message: &'b [u8],
    /// What it says.
    pub question: PlainQuestion<'b>,
}

/// The answer to a bulk check, as gRPC carries it; filled item by item.
#[derive(Debug)]
pub struct BulkAnswer(Vec<u8>);

/// What most items' shortest answers and all that is around them take, in bytes.
const AROUND_BYTES: usize = 12;

impl<'b> PlainBulk<'b> {
    /// From the bytes of a `CheckBulkPermissionsRequest`, if they are plain and of no more items than that.
    #[must_use]
    pub fn read(bytes: &'b [u8], items_max: usize) -> Option<PlainBulk<'b>> {
        let (mut requirement, mut with_tracing) = (None, None);
        let mut items = Vec::new();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(value)) => once(&mut requirement, plain_requirement(value)?)?,
                (2, Value::Bytes(value)) if items.len() < items_max => {
                    if items.is_empty() {
                        // Items are about as long as each other.
                        items.reserve((bytes.len() / value.len().max(1)).min(items_max));
                    }
                    items.push(PlainItem::read(value)?);
                }
                (3, Value::Flag(value)) => once(&mut with_tracing, value)?,
                _ => return None,
            }
        }
        Some(PlainBulk {
            requirement: requirement.flatten(),
            items,
            with_tracing: with_tracing.unwrap_or_default(),
        })
    }
}

impl<'b> PlainItem<'b> {
    fn read(message: &'b [u8]) -> Option<PlainItem<'b>> {
        let (mut resource, mut permission, mut subject, mut context) = (None, None, None, None);
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(value)) => once(&mut resource, object(value)?)?,
                (2, Value::Bytes(value)) => once(&mut permission, text(value)?)?,
                (3, Value::Bytes(value)) => once(&mut subject, plain_subject(value)?)?,
                (4, Value::Bytes(value)) => once(&mut context, value)?,
                _ => return None,
            }
        }
        let (subject, subject_relation) = subject?;
        let (resource, permission) = (resource?, permission.unwrap_or_default());
        let question = PlainQuestion { resource, permission, subject, subject_relation, context };
        Some(PlainItem { message, question })
    }
}

impl BulkAnswer {
    /// Of that revision, with nothing in it yet; there is room for plain answers to these items.
    #[must_use]
    pub fn new(token: &str, items: &[PlainItem<'_>]) -> BulkAnswer {
        let of_items: usize = items.iter().map(|item| item.message.len() + AROUND_BYTES).sum();
        let head = v1::CheckBulkPermissionsResponse {
            checked_at: Some(v1::ZedToken { token: token.to_owned() }),
            ..Default::default()
        };
        let mut frame = Vec::with_capacity(PREFIX_BYTES + head.encoded_len() + of_items);
        frame.extend_from_slice(&[0; PREFIX_BYTES]);
        head.encode_raw(&mut frame);
        BulkAnswer(frame)
    }

    /// The next item's answer, which says nothing else.
    pub fn push(&mut self, item: &PlainItem<'_>, permissionship: Permissionship) {
        // A response item is field 2 of its pair, of two bytes: its field 1, and what that is.
        self.put(item, &[tag(2), 2, 1 << 3, permissionship as u8]);
    }

    /// The next item's answer, whatever it says.
    pub fn push_any(&mut self, item: &PlainItem<'_>, response: Response) {
        let pair = v1::CheckBulkPermissionsPair { request: None, response: Some(response) };
        self.put(item, &pair.encode_to_vec());
    }

    /// The whole message.
    #[must_use]
    pub fn finished(self) -> Vec<u8> {
        let BulkAnswer(mut frame) = self;
        // Requests, and so their answers, are far from that long.
        let length = u32::try_from(frame.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
        frame[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// A pair: the item as it came, and its answer as a field.
    fn put(&mut self, item: &PlainItem<'_>, response: &[u8]) {
        let frame = &mut self.0;
        let request = item.message.len();
        let pair = 1 + encoded_len_varint(request as u64) + request + response.len();
        frame.push(tag(2));
        encode_varint(pair as u64, frame);
        frame.push(tag(1));
        encode_varint(request as u64, frame);
        frame.extend_from_slice(item.message);
        frame.extend_from_slice(response);
    }
}

/// Of a message: the field's number, and that a length follows.
const fn tag(field: u8) -> u8 {
    field << 3 | 2
}

#[cfg(test)]
mod tests;
