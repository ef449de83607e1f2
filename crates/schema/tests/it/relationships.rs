//! Which relationships a schema allows. Outcomes follow SpiceDB 1.54, asked case by case; the kinds of error are finer.

use idhini_model::{Relationship, SubjectRef};
use idhini_schema::RelationshipError as Error;

use super::accepted;

const SCHEMA: &str = "use expiration
definition user {}
definition group {
  relation member: user | group#member
  permission all_m = member
}
caveat cav(xyz int, abc int) { abc == 1 && xyz == 2 }
caveat other(abc int) { abc == 1 }
definition doc {
  relation plain: user
  relation wild: user:*
  relation grp: group#member | group#all_m
  relation grpobj: group
  relation onlycav: user with cav
  relation both: user with cav | user
  relation two: user with cav | user with other
  relation exp: user with expiration
  relation maybeexp: user with expiration | user
  relation cavexp: user with cav and expiration
  relation mix: user with cav | user with expiration
  relation wcav: user:* with cav
  permission view = plain
}";

/// The kind of error, or `ok`.
fn judged(relationship: &str) -> &'static str {
    let relationship: Relationship =
        relationship.replace("[E]", "[expiration:2040-01-01T00:00:00Z]").parse().unwrap();
    match accepted(SCHEMA).validate_relationship(&relationship) {
        Ok(()) => "ok",
        Err(Error::UnknownDefinition { .. }) => "definition",
        Err(Error::UnknownRelation { .. }) => "relation",
        Err(Error::CannotWritePermission { .. }) => "permission",
        Err(Error::SubjectTypeNotAllowed { .. }) => "subject",
        Err(Error::WildcardNotAllowed { .. }) => "wildcard",
        Err(Error::CaveatRequired { .. }) => "caveat required",
        Err(Error::CaveatNotAllowed { .. }) => "caveat",
        Err(Error::ExpirationRequired { .. }) => "expiration required",
        Err(Error::ExpirationNotAllowed { .. }) => "expiration",
        Err(Error::UnknownCaveat { .. }) => "unknown caveat",
        Err(Error::StoredContext(_)) => "context",
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn an_alternative_must_fit_exactly() {
    for (relationship, expected) in [
        ("doc:a#plain@user:x", "ok"),
        ("nope:a#plain@user:x", "definition"),
        ("doc:a#nope@user:x", "relation"),
        ("doc:a#nope@nope:x", "relation"),
        ("doc:a#plain@nope:x", "definition"),
        ("doc:a#plain@nope:*", "definition"),
        ("doc:a#view@user:x", "permission"),
        ("doc:a#plain@group:x", "subject"),
        ("doc:a#plain@group:x#member", "subject"),
        ("doc:a#plain@group:x#nope", "relation"),
        ("doc:a#plain@user:x#foo", "relation"),
        ("doc:a#plain@user:*", "wildcard"),
        ("doc:a#wild@user:*", "ok"),
        ("doc:a#wild@user:x", "subject"),
        ("doc:a#grp@group:x#member", "ok"),
        ("doc:a#grp@group:x#all_m", "ok"),
        ("doc:a#grp@group:x", "subject"),
        ("doc:a#grpobj@group:x", "ok"),
        ("doc:a#grpobj@group:x#member", "subject"),
        ("doc:a#plain@user:x[cav]", "caveat"),
        ("doc:a#plain@user:x[nope]", "unknown caveat"),
        ("doc:a#onlycav@user:x", "caveat required"),
        ("doc:a#onlycav@user:x[cav]", "ok"),
        ("doc:a#onlycav@user:x[other]", "caveat"),
        ("doc:a#onlycav@user:x[nope]", "unknown caveat"),
        ("doc:a#both@user:x", "ok"),
        ("doc:a#both@user:x[cav]", "ok"),
        ("doc:a#both@user:x[other]", "caveat"),
        ("doc:a#two@user:x", "caveat required"),
        ("doc:a#two@user:x[other]", "ok"),
        ("doc:a#both@user:x[cav:{\"abc\":1}]", "ok"),
        ("doc:a#both@user:x[cav:{\"zzz\":1}]", "context"),
        ("doc:a#both@user:x[cav:{\"abc\":\"q\"}]", "context"),
        ("doc:a#plain@user:x[E]", "expiration"),
        ("doc:a#exp@user:x[E]", "ok"),
        ("doc:a#exp@user:x", "expiration required"),
        ("doc:a#maybeexp@user:x", "ok"),
        ("doc:a#maybeexp@user:x[E]", "ok"),
        ("doc:a#cavexp@user:x", "caveat required"),
        ("doc:a#cavexp@user:x[cav]", "expiration required"),
        ("doc:a#cavexp@user:x[E]", "caveat required"),
        ("doc:a#cavexp@user:x[cav][E]", "ok"),
        ("doc:a#mix@user:x[cav][E]", "expiration"),
        ("doc:a#mix@user:x[cav]", "ok"),
        ("doc:a#mix@user:x[E]", "ok"),
        ("doc:a#mix@user:x", "expiration required"),
        ("doc:a#exp@user:x[cav][E]", "caveat"),
        ("doc:a#wcav@user:*", "caveat required"),
        ("doc:a#wcav@user:*[cav]", "ok"),
        ("doc:a#wcav@user:x[cav]", "subject"),
        ("doc:a#both@user:*[cav]", "wildcard"),
        ("nope:a#plain@nope:x[nope]", "definition"),
    ] {
        assert_eq!(judged(relationship), expected, "{relationship}");
    }
}

#[test]
fn errors_say_what_is_allowed() {
    let schema = accepted(SCHEMA);
    let error = |text: &str| schema.validate_relationship(&text.parse().unwrap()).unwrap_err();
    assert_eq!(
        error("doc:a#two@user:x").to_string(),
        "relation `two` of definition `doc` does not allow `user` without a caveat: it allows `user with cav`, `user with other`"
    );
    match error("doc:a#two@user:x") {
        Error::CaveatRequired { mismatch } => assert_eq!(mismatch.allowed_caveats(), ["cav", "other"]),
        other => panic!("{other}"),
    }
    assert_eq!(
        error("doc:a#wild@user:x").to_string(),
        "relation `wild` of definition `doc` does not allow `user`: it allows `user:*`"
    );
    assert!(error("doc:a#view@user:x").to_string().contains("write to the relations"));
}

#[test]
fn a_wildcard_with_a_relation_is_never_allowed() {
    let mut relationship: Relationship = "doc:a#wild@user:*".parse().unwrap();
    relationship.subject = SubjectRef::userset("group", "*", "member");
    for relation in ["wild", "grp", "plain"] {
        relationship.relation = relation.to_owned();
        let judged = accepted(SCHEMA).validate_relationship(&relationship);
        assert!(matches!(judged, Err(Error::WildcardNotAllowed { .. })), "{judged:?}");
    }
}
