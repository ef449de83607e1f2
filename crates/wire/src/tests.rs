use idhini_model::{Context, ContextError, Relationship, ResourceRef, SubjectRef};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::authzed::api::v1;
use crate::{Malformed, context, context_message};

fn number(n: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(n)) }
}

fn of(name: &str, value: Value) -> Option<Struct> {
    Some(Struct { fields: [(name.to_owned(), value)].into() })
}

#[test]
fn relationships_come_back_as_they_went() {
    for text in [
        "document:readme#viewer@user:tom",
        "team/document:a/b|c=#viewer@team/group:eng#member",
        "document:readme#viewer@user:*",
        r#"document:readme#viewer@user:tom[only_on:{"a":["]",{"b":1.5e0},true],"c":null}]"#,
        "document:readme#viewer@user:tom[only_on][expiration:1969-01-31T12:00:00.5Z]",
    ] {
        let relationship: Relationship = text.parse().unwrap();
        let message = v1::Relationship::from(relationship.clone());
        assert_eq!(Relationship::try_from(message), Ok(relationship));
    }
}

#[test]
fn a_caveat_without_a_name_is_refused_since_it_would_grant_without_a_condition() {
    let mut message =
        v1::Relationship::from("document:readme#viewer@user:tom".parse::<Relationship>().unwrap());
    message.optional_caveat = Some(v1::ContextualizedCaveat::default());
    let refused = Relationship::try_from(message);
    assert!(
        matches!(refused, Err(Malformed::Name { field: "optional_caveat.caveat_name", .. })),
        "{refused:?}"
    );
}

#[test]
fn an_ellipsis_is_no_relation() {
    let mut message =
        v1::Relationship::from("document:readme#viewer@user:tom".parse::<Relationship>().unwrap());
    message.subject.as_mut().unwrap().optional_relation = "...".to_owned();
    let relationship = Relationship::try_from(message).unwrap();
    assert_eq!(relationship.to_string(), "document:readme#viewer@user:tom");
}

#[test]
fn empty_messages_say_what_is_missing() {
    assert_eq!(
        Relationship::try_from(v1::Relationship::default()),
        Err(Malformed::Missing { field: "relationship.resource" })
    );
    assert_eq!(
        SubjectRef::try_from(v1::SubjectReference::default()),
        Err(Malformed::Missing { field: "subject.object" })
    );
}

#[test]
fn a_wildcard_is_a_subject_only_and_has_no_relation() {
    let object = v1::ObjectReference { object_type: "user".into(), object_id: "*".into() };
    assert!(ResourceRef::try_from(object.clone()).is_err());
    let mut subject = v1::SubjectReference { object: Some(object), optional_relation: String::new() };
    assert!(SubjectRef::try_from(subject.clone()).unwrap().is_wildcard());
    subject.optional_relation = "member".to_owned();
    assert!(SubjectRef::try_from(subject).is_err());
}

#[test]
fn contexts_that_the_model_cannot_hold_are_refused() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(
            context(of("a", number(bad)), "context"),
            Err(Malformed::Context { field: "context", source: ContextError::NotFinite })
        );
    }
    let deep = (0..200).fold(number(1.0), |inner, _| Value {
        kind: Some(Kind::ListValue(ListValue { values: vec![inner] })),
    });
    assert_eq!(
        context(of("a", deep), "context"),
        Err(Malformed::Context { field: "context", source: ContextError::TooDeep })
    );
}

#[test]
fn contexts_come_back_as_they_went_and_absence_is_empty() {
    assert_eq!(context(None, "context"), Ok(Context::default()));
    let whole = Context::from_json(r#"{"a":{"b":[1,2.5,"x",false,null,{}]},"c":-3}"#).unwrap();
    assert_eq!(context(Some(context_message(whole.clone())), "context"), Ok(whole));
}

#[test]
fn the_deepest_context_that_text_allows_passes_the_wire_too() {
    let at_most = format!("{{\"a\":{}{}}}", "[".repeat(31), "]".repeat(31));
    let deepest = Context::from_json(&at_most).unwrap();
    assert_eq!(context(Some(context_message(deepest.clone())), "context"), Ok(deepest));
}

#[test]
fn moments_outside_the_calendar_are_refused() {
    let mut message =
        v1::Relationship::from("document:readme#viewer@user:tom".parse::<Relationship>().unwrap());
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
        message.optional_expires_at = Some(prost_types::Timestamp { seconds, nanos });
        assert!(matches!(Relationship::try_from(message.clone()), Err(Malformed::Timestamp { .. })));
    }
}

mod printed {
    use super::v1;
    use crate::{PrintError, from_json, json, text_format};

    fn answer() -> v1::CheckPermissionResponse {
        let context = super::of("hour", super::number(10.0));
        v1::CheckPermissionResponse {
            checked_at: Some(v1::ZedToken { token: "t".to_owned() }),
            permissionship: v1::check_permission_response::Permissionship::HasPermission as i32,
            debug_trace: Some(v1::DebugInformation {
                check: Some(v1::CheckDebugTrace {
                    caveat_evaluation_info: Some(v1::CaveatEvalInfo { context, ..Default::default() }),
                    ..Default::default()
                }),
                schema_used: "a \"b\"\n".to_owned(),
            }),
            optional_expires_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            ..Default::default()
        }
    }

    #[test]
    fn json_is_protobufs_own() {
        let text = json(&answer()).unwrap();
        let expected = concat!(
            r#"{"checkedAt":{"token":"t"},"permissionship":"PERMISSIONSHIP_HAS_PERMISSION","#,
            r#""debugTrace":{"check":{"caveatEvaluationInfo":{"context":{"hour":10.0}}},"schemaUsed":"a \"b\"\n"},"#,
            r#""optionalExpiresAt":"1970-01-01T00:00:01.500Z"}"#
        );
        assert_eq!(text, expected);
        assert_eq!(from_json::<v1::CheckPermissionResponse>(&text).unwrap(), answer());
    }

    #[test]
    fn json_of_another_message_is_refused() {
        for bad in ["", "{", "[]", r#"{"token": 1}"#, r#"{"tokens": "t"}"#, r#"{"token": "t"} x"#] {
            let read = from_json::<v1::ZedToken>(bad);
            assert!(matches!(read, Err(PrintError::Malformed { .. })), "{bad}: {read:?}");
        }
    }

    #[test]
    fn the_text_format_names_fields_as_the_contract_does() {
        let text = text_format(&answer()).unwrap();
        assert!(
            text.contains(r#"checked_at{token:"t"}"#) || text.contains(r#"checked_at {token:"t"}"#),
            "{text}"
        );
        assert!(text.contains("permissionship:PERMISSIONSHIP_HAS_PERMISSION"), "{text}");
    }
}
