//! How do many small answers leave as one piece? Their messages encoded by hand, one gRPC frame behind the other, in
//! chunks that are sent whole.
//!
//! What all answers of a call have in common is encoded once; an answer without conditions or exclusions is its id and its
//! cursor between constants, and any other is left to prost.
//!
//! # Invariants
//! * A chunk holds whole frames, and each frame decodes to the message that prost would encode.
//!
//! Cost: some copies of a few dozen bytes and a seal per answer; one allocation a chunk.

use bytes::Bytes;
use idhini_engine::{Answer, FoundResource, FoundSubject, Permissionship};
use idhini_wire::authzed::api::v1;
use prost::Message as _;
use prost::encoding::encode_varint;

use super::{PLACE_KIND, excluded, lookup_permissionship, resolved};
use crate::checks::partial_caveat_info;
use crate::pin::Cursors;
use crate::seal::Stamp;

/// A chunk of at least so many bytes is sent: two frames of HTTP/2, as its frames are by default.
const CHUNK_BYTES: usize = 2 * 16 * 1024 - ANSWER_BYTES;
/// What most answers do not exceed, in bytes.
const ANSWER_BYTES: usize = 512;
/// Before each message of a gRPC stream: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Tags of strings and messages: the field's number, and that a length follows.
const fn tag(field: u8) -> u8 {
    field << 3 | 2
}
/// `permissionship` of a LookupResourcesResponse, and of a ResolvedSubject at field 2.
const HAS: u8 = v1::LookupPermissionship::HasPermission as u8;

/// A chunk being filled.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// The field `looked_up_at`, which is the first of each message.
    looked_up_at: Vec<u8>,
    token: Option<v1::ZedToken>,
    stamp: Stamp,
}

impl Chunk {
    pub(super) fn new(cursors: &Cursors) -> Chunk {
        Chunk::of(cursors.pinned().zed_token(), cursors.stamp(PLACE_KIND))
    }

    fn of(token: Option<v1::ZedToken>, stamp: Stamp) -> Chunk {
        let message = v1::LookupResourcesResponse { looked_up_at: token.clone(), ..Default::default() };
        Chunk { bytes: Vec::new(), looked_up_at: message.encode_to_vec(), token, stamp }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    /// What was put in, if anything.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.bytes.is_empty()).then(|| Bytes::from(std::mem::take(&mut self.bytes)))
    }

    pub(super) fn push_resource(&mut self, found: &FoundResource<'_>) {
        let id = found.object_id.as_bytes();
        if !is_plain(&found.answer) {
            let message = v1::LookupResourcesResponse {
                looked_up_at: self.token.clone(),
                resource_object_id: found.object_id.to_owned(),
                permissionship: lookup_permissionship(&found.answer) as i32,
                partial_caveat_info: partial_caveat_info(&found.answer),
                after_result_cursor: Some(self.cursor(found.position.0)),
            };
            return self.push(&message);
        }
        let start = self.begin();
        put(&mut self.bytes, tag(2), id);
        self.bytes.extend_from_slice(&[3 << 3, HAS]);
        self.put_cursor(5, found.position.0);
        self.end(start);
    }

    /// Fills the older fields too, which old clients read.
    pub(super) fn push_subject(&mut self, found: &FoundSubject<'_>) {
        let id = found.object_id.as_bytes();
        if !is_plain(&found.answer) || !found.excluded.is_empty() {
            let subject = resolved(found.object_id, &found.answer);
            let message = v1::LookupSubjectsResponse {
                looked_up_at: self.token.clone(),
                subject_object_id: subject.subject_object_id.clone(),
                excluded_subject_ids: found.excluded.iter().map(|e| e.object_id.to_owned()).collect(),
                permissionship: subject.permissionship,
                partial_caveat_info: subject.partial_caveat_info.clone(),
                subject: Some(subject),
                excluded_subjects: found.excluded.iter().map(excluded).collect(),
                after_result_cursor: Some(self.cursor(found.position.0)),
            };
            return self.push(&message);
        }
        let start = self.begin();
        put(&mut self.bytes, tag(2), id);
        self.bytes.extend_from_slice(&[4 << 3, HAS]);
        self.bytes.push(tag(6));
        encode_varint(field_len(id.len()) as u64 + 2, &mut self.bytes);
        put(&mut self.bytes, tag(1), id);
        self.bytes.extend_from_slice(&[2 << 3, HAS]);
        self.put_cursor(8, found.position.0);
        self.end(start);
    }

    fn cursor(&mut self, place: u64) -> v1::Cursor {
        let mut text = Vec::with_capacity(self.stamp.text_len());
        self.stamp.write(place, &mut text);
        // INVARIANT: a cursor is text of one byte a letter.
        v1::Cursor { token: String::from_utf8(text).unwrap_or_default() }
    }

    fn put_cursor(&mut self, field: u8, place: u64) {
        let length = self.stamp.text_len();
        self.bytes.push(tag(field));
        encode_varint(field_len(length) as u64, &mut self.bytes);
        self.bytes.push(tag(1));
        encode_varint(length as u64, &mut self.bytes);
        self.stamp.write(place, &mut self.bytes);
    }

    fn push(&mut self, message: &impl prost::Message) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; PREFIX_BYTES]);
        // INVARIANT: a vector takes whatever is encoded.
        let _ = message.encode(&mut self.bytes);
        self.end(start);
    }

    /// Begins a frame with what each has in common; answers where.
    fn begin(&mut self) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(CHUNK_BYTES + ANSWER_BYTES);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; PREFIX_BYTES]);
        self.bytes.extend_from_slice(&self.looked_up_at);
        start
    }

    /// Ends the frame that began there.
    fn end(&mut self, start: usize) {
        let length = self.bytes.len() - start - PREFIX_BYTES;
        // INVARIANT: ids, contexts and exclusions of one answer are bounded far below.
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.bytes[start + 1..start + PREFIX_BYTES].copy_from_slice(&length);
    }
}

/// Surely has it: nothing is missing.
fn is_plain(answer: &Answer) -> bool {
    answer.permissionship == Permissionship::Has
}

fn put(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    into.push(tag);
    encode_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

/// How long a field of so many bytes is, with what stands before them.
fn field_len(bytes: usize) -> usize {
    1 + prost::encoding::encoded_len_varint(bytes as u64) + bytes
}

#[cfg(test)]
mod tests;
