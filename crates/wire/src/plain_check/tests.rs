use proptest::collection::vec;
use proptest::prelude::*;
use prost_types::value::Kind;
use prost_types::{Struct, Value as Json};

use prost::Message as _;

use super::*;
use v1::consistency::Requirement;

/// As the generated code has it, so that both can be compared.
fn message(plain: PlainCheck<'_>) -> v1::CheckPermissionRequest {
    let object = |(object_type, object_id): (&str, &str)| v1::ObjectReference {
        object_type: object_type.to_owned(),
        object_id: object_id.to_owned(),
    };
    let token = |token: &str| v1::ZedToken { token: token.to_owned() };
    let requirement = plain.requirement.map(|requirement| match requirement {
        PlainRequirement::MinimizeLatency(flag) => Requirement::MinimizeLatency(flag),
        PlainRequirement::AtLeastAsFresh(text) => Requirement::AtLeastAsFresh(token(text)),
        PlainRequirement::AtExactSnapshot(text) => Requirement::AtExactSnapshot(token(text)),
        PlainRequirement::FullyConsistent(flag) => Requirement::FullyConsistent(flag),
    });
    let question = plain.question;
    v1::CheckPermissionRequest {
        consistency: Some(v1::Consistency { requirement }),
        resource: Some(object(question.resource)),
        permission: question.permission.to_owned(),
        subject: Some(v1::SubjectReference {
            object: Some(object(question.subject)),
            optional_relation: question.subject_relation.to_owned(),
        }),
        context: question.context.map(|bytes| Struct::decode(bytes).unwrap_or_default()),
        with_tracing: plain.with_tracing,
    }
}

/// That no requirement is the same as one without content; contexts that do not decode are compared as if absent.
fn normal(mut message: v1::CheckPermissionRequest) -> v1::CheckPermissionRequest {
    message.consistency = Some(message.consistency.unwrap_or_default());
    message
}

/// What is read here is what the generated code reads.
fn agree(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Some(plain) = PlainCheck::read(bytes) else { return Ok(false) };
    match v1::CheckPermissionRequest::decode(bytes) {
        Ok(generated) => prop_assert_eq!(message(plain), normal(generated)),
        // The one thing that is not looked into here, and decoded before it is used.
        Err(error) => {
            prop_assert!(
                plain.question.context.is_some_and(|bytes| Struct::decode(bytes).is_err()),
                "{error}"
            )
        }
    }
    Ok(true)
}

pub(crate) fn texts() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z0-9_]{0,12}", 1 => "\\PC{0,8}", 1 => "[a-z]{120,300}"]
}

fn objects() -> impl Strategy<Value = Option<v1::ObjectReference>> {
    let object = (texts(), texts());
    let object = object.prop_map(|(object_type, object_id)| v1::ObjectReference { object_type, object_id });
    prop_oneof![1 => Just(None), 9 => object.prop_map(Some)]
}

pub(crate) fn requests() -> impl Strategy<Value = v1::CheckPermissionRequest> {
    let token = || texts().prop_map(|token| v1::ZedToken { token });
    let requirement = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|flag| Some(Requirement::MinimizeLatency(flag))),
        any::<bool>().prop_map(|flag| Some(Requirement::FullyConsistent(flag))),
        token().prop_map(|token| Some(Requirement::AtLeastAsFresh(token))),
        token().prop_map(|token| Some(Requirement::AtExactSnapshot(token))),
    ];
    let consistency = requirement.prop_map(|requirement| v1::Consistency { requirement });
    let consistency = prop_oneof![Just(None), consistency.prop_map(Some)];
    let context = texts().prop_map(|text| Struct {
        fields: [(text.clone(), Json { kind: Some(Kind::StringValue(text)) })].into(),
    });
    let context = prop_oneof![2 => Just(None), 1 => context.prop_map(Some)];
    let subject = (objects(), texts());
    let subject =
        subject.prop_map(|(object, optional_relation)| v1::SubjectReference { object, optional_relation });
    let subject = prop_oneof![1 => Just(None), 9 => subject.prop_map(Some)];
    (consistency, objects(), texts(), subject, context, any::<bool>()).prop_map(
        |(consistency, resource, permission, subject, context, with_tracing)| v1::CheckPermissionRequest {
            consistency,
            resource,
            permission,
            subject,
            context,
            with_tracing,
        },
    )
}

/// What becomes of bytes on a bad day.
pub(crate) fn changed(mut bytes: Vec<u8>, changes: &[(u8, prop::sample::Index, u8)]) -> Vec<u8> {
    for (how, at, byte) in changes {
        let place = at.index(bytes.len() + 1);
        match (how % 5, place < bytes.len()) {
            (0, true) => bytes[place] = *byte,
            (1, _) => bytes.insert(place, *byte),
            (2, true) => drop(bytes.remove(place)),
            (3, _) => bytes.truncate(place),
            _ => bytes[..place].rotate_left(usize::from(*byte % 2).min(place)),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_whole_is_read_as_the_generated_code_reads_it(request in requests()) {
        let is_whole = request.resource.is_some() && request.subject.as_ref().is_some_and(|s| s.object.is_some());
        prop_assert_eq!(agree(&request.encode_to_vec())?, is_whole);
    }

    #[test]
    fn changed_bytes_are_read_as_the_generated_code_reads_them_or_not_here(
        request in requests(),
        changes in vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        agree(&changed(request.encode_to_vec(), &changes))?;
    }

    /// Repeated fields, of which the last counts or all are merged, and fields that nobody knows.
    #[test]
    fn messages_behind_one_another_are_read_as_the_generated_code_reads_them_or_not_here(
        requests in vec(requests(), 2..4),
        strange in vec(any::<u8>(), 0..6),
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(prost::Message::encode_to_vec).collect();
        agree(&bytes)?;
        bytes.extend(strange);
        agree(&bytes)?;
    }

    #[test]
    fn any_bytes_are_read_as_the_generated_code_reads_them_or_not_here(bytes in vec(any::<u8>(), 0..64)) {
        agree(&bytes)?;
    }

    #[test]
    fn an_answer_is_the_one_that_the_generated_code_makes(token in "[A-Za-z0-9_-]{0,200}", value in 0..4i32) {
        let permissionship = v1::check_permission_response::Permissionship::try_from(value).unwrap();
        let frame = plain_answer(&token, permissionship);
        let wanted = v1::CheckPermissionResponse {
            checked_at: Some(v1::ZedToken { token }),
            permissionship: value,
            ..Default::default()
        };
        let message = only_message(&frame).unwrap();
        prop_assert_eq!(message, wanted.encode_to_vec());
        prop_assert_eq!(v1::CheckPermissionResponse::decode(message).unwrap(), wanted);
    }
}

#[test]
fn a_message_is_the_only_one_if_nothing_is_missing_or_behind_it_and_it_is_not_compressed() {
    assert_eq!(only_message(&[0, 0, 0, 0, 2, 7, 8]), Some(&[7, 8][..]));
    assert_eq!(only_message(&[0, 0, 0, 0, 0]), Some(&[][..]));
    for bad in [&[1, 0, 0, 0, 1, 7][..], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 1, 7, 8], &[0, 0, 0, 0]] {
        assert_eq!(only_message(bad), None, "{bad:?}");
    }
}

/// The plainest request of all is read here, or nothing would be gained.
#[test]
fn what_clients_send_is_plain() {
    let object = |object_type: &str, object_id: &str| {
        Some(v1::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() })
    };
    let request = v1::CheckPermissionRequest {
        consistency: Some(v1::Consistency { requirement: Some(Requirement::MinimizeLatency(true)) }),
        resource: object("document", "d1"),
        permission: "view".to_owned(),
        subject: Some(v1::SubjectReference {
            object: object("user", "u1"),
            optional_relation: String::new(),
        }),
        ..Default::default()
    };
    let bytes = request.encode_to_vec();
    let PlainCheck { requirement, question: read, .. } = PlainCheck::read(&bytes).unwrap();
    assert_eq!((read.resource, read.permission, read.subject), (("document", "d1"), "view", ("user", "u1")));
    assert_eq!(requirement, Some(PlainRequirement::MinimizeLatency(true)));
}
