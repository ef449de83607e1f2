use std::collections::BTreeSet;

use idhini_engine::{ExcludedSubject, Position};
use idhini_model::{Revision, Timestamp};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use prost::Message;

use super::super::place;
use super::*;
use crate::seal::{Cursor, QuestionDigest, SealOptions, Sealer};

const REVISION: Revision = Revision(77);
fn instant() -> Timestamp {
    Timestamp::from_seconds(1_900_000_000)
}

fn sealer() -> Sealer {
    Sealer::new(&SealOptions { key: [3; 32], key_id: 5, store: 8, timeline: 1, namespace: "root".to_owned() })
}

fn question() -> QuestionDigest {
    QuestionDigest::of("Lookup", b"of this")
}

fn chunk() -> Chunk {
    let cursor = Cursor { revision: REVISION, instant: instant(), place: vec![PLACE_KIND] };
    Chunk::of(looked_up_at(), sealer().stamp(question(), &cursor))
}

fn looked_up_at() -> Option<v1::ZedToken> {
    Some(v1::ZedToken { token: sealer().token(REVISION) })
}

fn cursor(position: Position) -> Option<v1::Cursor> {
    let cursor = Cursor { revision: REVISION, instant: instant(), place: place(position) };
    Some(v1::Cursor { token: sealer().cursor(question(), &cursor) })
}

/// The messages of a chunk as a client reads them.
fn read<M: Message + Default>(mut chunk: Chunk) -> Vec<M> {
    let Some(bytes) = chunk.take() else { return Vec::new() };
    let (mut messages, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_BYTES>() {
        let [compressed, length @ ..] = *prefix;
        assert_eq!(compressed, 0);
        let (message, behind) = behind.split_at(u32::from_be_bytes(length) as usize);
        messages.push(M::decode(message).unwrap());
        rest = behind;
    }
    assert!(rest.is_empty());
    messages
}

fn answers() -> impl Strategy<Value = Answer> {
    let missing = vec("[a-z_]{1,200}", 0..4).prop_map(BTreeSet::from_iter);
    let conditional =
        missing.prop_map(|missing| Answer { permissionship: Permissionship::Conditional, missing });
    prop_oneof![
        3 => Just(Answer { permissionship: Permissionship::Has, missing: BTreeSet::new() }),
        1 => conditional,
    ]
}

/// Lengths around those from which on a length takes another byte.
fn ids() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9_/|=+-]{1,20}", "[a-z]{100,140}", "[a-z]{1000,1024}", Just("*".to_owned())]
}

fn positions() -> impl Strategy<Value = Position> {
    prop_oneof![any::<u32>().prop_map(u64::from), Just(1 << 32), any::<u64>()].prop_map(Position)
}

proptest! {
    #[test]
    fn resources_decode_to_what_was_found(found in vec((positions(), ids(), answers()), 0..20)) {
        let mut chunk = chunk();
        for (position, id, answer) in &found {
            let (position, answer) = (*position, answer.clone());
            chunk.push_resource(&FoundResource { position, object_id: id, answer });
        }
        let wanted = found.iter().map(|(position, id, answer)| v1::LookupResourcesResponse {
            looked_up_at: looked_up_at(),
            resource_object_id: id.clone(),
            permissionship: lookup_permissionship(answer) as i32,
            partial_caveat_info: partial_caveat_info(answer),
            after_result_cursor: cursor(*position),
        });
        assert_eq!(read::<v1::LookupResourcesResponse>(chunk), wanted.collect::<Vec<_>>());
    }

    #[test]
    fn subjects_decode_to_what_was_found(
        found in vec((positions(), ids(), answers(), vec((ids(), any::<bool>()), 0..3)), 0..20),
    ) {
        let excluded_of = |of: &[(String, bool)]| -> Vec<(String, Answer)> {
            let permissionship = |is_no| if is_no { Permissionship::No } else { Permissionship::Conditional };
            let answer = |is_no| Answer { permissionship: permissionship(is_no), missing: BTreeSet::new() };
            of.iter().map(|(id, is_no)| (id.clone(), answer(*is_no))).collect()
        };
        let mut chunk = chunk();
        for (position, id, answer, except) in &found {
            let except = excluded_of(except);
            let excluded = except.iter().map(|(id, answer)| ExcludedSubject {
                object_id: id,
                answer: answer.clone(),
            });
            let (position, answer, excluded) = (*position, answer.clone(), excluded.collect());
            chunk.push_subject(&FoundSubject { position, object_id: id, answer, excluded });
        }
        let wanted = found.iter().map(|(position, id, answer, except)| {
            let resolved = |id: &str, permissionship: i32, answer: &Answer| v1::ResolvedSubject {
                subject_object_id: id.to_owned(),
                permissionship,
                partial_caveat_info: partial_caveat_info(answer),
            };
            let permissionship = lookup_permissionship(answer) as i32;
            let except = excluded_of(except);
            v1::LookupSubjectsResponse {
                looked_up_at: looked_up_at(),
                subject_object_id: id.clone(),
                excluded_subject_ids: except.iter().map(|(id, _)| id.clone()).collect(),
                permissionship,
                partial_caveat_info: partial_caveat_info(answer),
                subject: Some(resolved(id, permissionship, answer)),
                excluded_subjects: except
                    .iter()
                    .map(|(id, answer)| match answer.permissionship {
                        Permissionship::No => resolved(id, 1, answer),
                        _ => resolved(id, 2, answer),
                    })
                    .collect(),
                after_result_cursor: cursor(*position),
            }
        });
        assert_eq!(read::<v1::LookupSubjectsResponse>(chunk), wanted.collect::<Vec<_>>());
    }
}

#[test]
fn a_chunk_of_plain_answers_is_allocated_once() {
    let mut chunk = chunk();
    let found = |id| FoundResource {
        position: Position(9),
        object_id: id,
        answer: Answer { permissionship: Permissionship::Has, missing: BTreeSet::new() },
    };
    chunk.push_resource(&found("first"));
    let capacity = chunk.bytes.capacity();
    while !chunk.is_full() {
        chunk.push_resource(&found("another"));
    }
    assert_eq!(chunk.bytes.capacity(), capacity);
    assert!(chunk.len() <= 32 * 1024);
    assert!(chunk.take().is_some() && chunk.take().is_none());
}
