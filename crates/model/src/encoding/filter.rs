//! A filter as bytes: a byte of tags, then the texts that are set.
//!
//! # Invariants
//! * There is one way to write each filter, and what is read is written the same.

use super::{DecodeError, Decoded, Reader, Writer};
use crate::{Filter, IdFilter, RelationFilter, SubjectFilter};

const TAG_TYPE: u8 = 1;
const TAG_ID: u8 = 1 << 1;
const TAG_PREFIX: u8 = 1 << 2;
const TAG_RELATION: u8 = 1 << 3;
const TAG_SUBJECT: u8 = 1 << 4;
const TAG_SUBJECT_ID: u8 = 1 << 5;
const TAG_ABSENT: u8 = 1 << 6;
const TAG_NAMED: u8 = 1 << 7;

pub(crate) fn filter_bytes(filter: &Filter) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.filter(filter);
    writer.bytes
}

pub(crate) fn filter_of(bytes: &[u8]) -> Result<Filter, DecodeError> {
    let mut reader = Reader::new(0, bytes);
    let filter = reader.filter()?;
    if reader.is_at_end() { Ok(filter) } else { Err(reader.malformed("the end of the filter")) }
}

impl Writer<'_> {
    fn filter(&mut self, filter: &Filter) {
        let Filter { resource_type, resource_id, relation, subject } = filter;
        let tag = |is_set: bool, tag: u8| if is_set { tag } else { 0 };
        let (id, id_tag) = match resource_id {
            None => (None, 0),
            Some(IdFilter::Exactly(id)) => (Some(id), TAG_ID),
            Some(IdFilter::StartsWith(prefix)) => (Some(prefix), TAG_PREFIX),
        };
        let subject_type = subject.as_ref().map(|subject| &subject.subject_type);
        let subject_id = subject.as_ref().and_then(|subject| subject.subject_id.as_ref());
        let (subject_relation, relation_tag) = match subject.as_ref().map(|subject| &subject.relation) {
            None | Some(RelationFilter::Any) => (None, 0),
            Some(RelationFilter::Absent) => (None, TAG_ABSENT),
            Some(RelationFilter::Named(relation)) => (Some(relation), TAG_NAMED),
        };
        self.bytes.push(
            id_tag
                | relation_tag
                | tag(resource_type.is_some(), TAG_TYPE)
                | tag(relation.is_some(), TAG_RELATION)
                | tag(subject_type.is_some(), TAG_SUBJECT)
                | tag(subject_id.is_some(), TAG_SUBJECT_ID),
        );
        let texts =
            [resource_type.as_ref(), id, relation.as_ref(), subject_type, subject_id, subject_relation];
        texts.into_iter().flatten().for_each(|text| self.string(text));
    }
}

impl Reader<'_> {
    fn filter(&mut self) -> Decoded<Filter> {
        let tags = self.byte("a filter")?;
        let has = |tag: u8| tags & tag != 0;
        let is_of_subject = has(TAG_SUBJECT_ID) || has(TAG_ABSENT) || has(TAG_NAMED);
        if has(TAG_ID) && has(TAG_PREFIX)
            || has(TAG_ABSENT) && has(TAG_NAMED)
            || is_of_subject && !has(TAG_SUBJECT)
        {
            return Err(self.malformed("tags that go together"));
        }
        let mut text = |is_there: bool| match is_there {
            true => self.string().map(|text| Some(text.to_owned())),
            false => Ok(None),
        };
        let resource_type = text(has(TAG_TYPE))?;
        let id = text(has(TAG_ID) || has(TAG_PREFIX))?;
        let resource_id = id.map(|id| match has(TAG_ID) {
            true => IdFilter::Exactly(id),
            false => IdFilter::StartsWith(id),
        });
        let relation = text(has(TAG_RELATION))?;
        let subject_type = text(has(TAG_SUBJECT))?;
        let subject_id = text(has(TAG_SUBJECT_ID))?;
        let subject_relation = match text(has(TAG_NAMED))? {
            Some(relation) => RelationFilter::Named(relation),
            None if has(TAG_ABSENT) => RelationFilter::Absent,
            None => RelationFilter::Any,
        };
        let subject = subject_type.map(|subject_type| SubjectFilter {
            subject_type,
            subject_id,
            relation: subject_relation,
        });
        Ok(Filter { resource_type, resource_id, relation, subject })
    }
}
