use proptest::collection::vec;
use proptest::prelude::*;
use prost_types::Struct;

use super::*;
use crate::google::rpc;
use crate::only_message;
use crate::plain_check::tests::{changed, requests, texts};
use v1::consistency::Requirement;

const ITEMS_MAX: usize = 6;

fn bulks() -> impl Strategy<Value = v1::CheckBulkPermissionsRequest> {
    let item = requests().prop_map(|of_one| v1::CheckBulkPermissionsRequestItem {
        resource: of_one.resource,
        permission: of_one.permission,
        subject: of_one.subject,
        context: of_one.context,
    });
    (requests(), vec(item, 0..ITEMS_MAX + 2), any::<bool>()).prop_map(|(of_one, items, with_tracing)| {
        v1::CheckBulkPermissionsRequest { consistency: of_one.consistency, items, with_tracing }
    })
}

fn item(plain: &PlainItem<'_>) -> v1::CheckBulkPermissionsRequestItem {
    let object = |(object_type, object_id): (&str, &str)| v1::ObjectReference {
        object_type: object_type.to_owned(),
        object_id: object_id.to_owned(),
    };
    let PlainQuestion { resource, permission, subject, subject_relation, context } = plain.question;
    v1::CheckBulkPermissionsRequestItem {
        resource: Some(object(resource)),
        permission: permission.to_owned(),
        subject: Some(v1::SubjectReference {
            object: Some(object(subject)),
            optional_relation: subject_relation.to_owned(),
        }),
        context: context.map(|bytes| Struct::decode(bytes).unwrap_or_default()),
    }
}

fn requirement(plain: &PlainBulk<'_>) -> Option<Requirement> {
    let token = |token: &str| v1::ZedToken { token: token.to_owned() };
    plain.requirement.map(|requirement| match requirement {
        PlainRequirement::MinimizeLatency(flag) => Requirement::MinimizeLatency(flag),
        PlainRequirement::AtLeastAsFresh(text) => Requirement::AtLeastAsFresh(token(text)),
        PlainRequirement::AtExactSnapshot(text) => Requirement::AtExactSnapshot(token(text)),
        PlainRequirement::FullyConsistent(flag) => Requirement::FullyConsistent(flag),
    })
}

/// What is read here is what the generated code reads.
fn agree(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Some(plain) = PlainBulk::read(bytes, ITEMS_MAX) else { return Ok(false) };
    match v1::CheckBulkPermissionsRequest::decode(bytes) {
        Ok(generated) => {
            prop_assert_eq!(plain.items.iter().map(item).collect::<Vec<_>>(), generated.items);
            prop_assert_eq!(plain.with_tracing, generated.with_tracing);
            prop_assert_eq!(requirement(&plain), generated.consistency.and_then(|c| c.requirement));
        }
        // The one thing that is not looked into here, and decoded before it is used.
        Err(error) => {
            let mut contexts = plain.items.iter().filter_map(|item| item.question.context);
            prop_assert!(contexts.any(|bytes| Struct::decode(bytes).is_err()), "{error}");
        }
    }
    Ok(true)
}

fn is_whole(item: &v1::CheckBulkPermissionsRequestItem) -> bool {
    item.resource.is_some() && item.subject.as_ref().is_some_and(|s| s.object.is_some())
}

fn responses() -> impl Strategy<Value = Response> {
    let with_item = |permissionship, partial_caveat_info| {
        let debug_trace = None;
        Response::Item(v1::CheckBulkPermissionsResponseItem {
            permissionship,
            partial_caveat_info,
            debug_trace,
        })
    };
    prop_oneof![
        3 => (0..4i32).prop_map(move |value| with_item(value, None)),
        1 => vec(texts(), 0..3).prop_map(move |missing_required_context| {
            with_item(3, Some(v1::PartialCaveatInfo { missing_required_context }))
        }),
        1 => (0..17i32, texts())
            .prop_map(|(code, message)| Response::Error(rpc::Status { code, message, details: Vec::new() })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_whole_is_read_as_the_generated_code_reads_it(bulk in bulks()) {
        let is_read = bulk.items.len() <= ITEMS_MAX && bulk.items.iter().all(is_whole);
        prop_assert_eq!(agree(&bulk.encode_to_vec())?, is_read);
    }

    #[test]
    fn changed_bytes_are_read_as_the_generated_code_reads_them_or_not_here(
        bulk in bulks(),
        changes in vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        agree(&changed(bulk.encode_to_vec(), &changes))?;
    }

    #[test]
    fn messages_behind_one_another_are_read_as_the_generated_code_reads_them_or_not_here(
        bulks in vec(bulks(), 2..4),
        strange in vec(any::<u8>(), 0..6),
    ) {
        let mut bytes: Vec<u8> = bulks.iter().flat_map(prost::Message::encode_to_vec).collect();
        agree(&bytes)?;
        bytes.extend(strange);
        agree(&bytes)?;
    }

    #[test]
    fn any_bytes_are_read_as_the_generated_code_reads_them_or_not_here(bytes in vec(any::<u8>(), 0..64)) {
        agree(&bytes)?;
    }

    /// Whether it is written in full or in short.
    #[test]
    fn an_answer_is_the_one_that_the_generated_code_makes(
        token in "[A-Za-z0-9_-]{0,200}",
        bulk in bulks(),
        responses in vec(responses(), ITEMS_MAX),
    ) {
        let bytes = bulk.encode_to_vec();
        let Some(plain) = PlainBulk::read(&bytes, ITEMS_MAX) else { return Ok(()) };
        let mut answer = BulkAnswer::new(&token, &plain.items);
        let mut wanted = v1::CheckBulkPermissionsResponse {
            checked_at: Some(v1::ZedToken { token }),
            pairs: Vec::new(),
        };
        for ((plain, request), response) in plain.items.iter().zip(bulk.items).zip(responses) {
            match &response {
                Response::Item(item) if item.permissionship > 0 && item.partial_caveat_info.is_none() => {
                    answer.push(plain, Permissionship::try_from(item.permissionship).unwrap());
                }
                _ => answer.push_any(plain, response.clone()),
            }
            wanted.pairs.push(v1::CheckBulkPermissionsPair { request: Some(request), response: Some(response) });
        }
        let frame = answer.finished();
        let message = only_message(&frame).unwrap();
        prop_assert_eq!(message, wanted.encode_to_vec());
    }
}
