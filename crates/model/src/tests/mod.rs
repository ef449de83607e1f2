use crate::{Context, ParseError, Relationship, SubjectRef, Timestamp};

fn round_trip(text: &str) {
    let parsed: Relationship = text.parse().unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(parsed.to_string().parse::<Relationship>().unwrap(), parsed);
}

#[test]
fn relationships_print_as_they_were_read() {
    round_trip("document:readme#viewer@user:tom");
    round_trip("team/document:a/b|c=#viewer@team/group:eng#member");
    round_trip("document:readme#viewer@user:*");
    round_trip(r#"document:readme#viewer@user:tom[only_on:{"a":["]",{"b":1.5e0}],"c":null}]"#);
    round_trip("document:readme#viewer@user:tom[expiration:2030-01-31T12:00:00Z]");
    round_trip("document:readme#viewer@user:tom[A/b_|-]");
    round_trip("document:readme#viewer@user:tom[only_on][expiration:2030-01-31T12:00:00.5Z]");
}

#[test]
fn an_ellipsis_is_no_relation() {
    assert_eq!("user:tom#...".parse::<SubjectRef>().unwrap(), SubjectRef::object("user", "tom"));
}

#[test]
fn malformed_relationships_say_what_was_expected() {
    let error = |text: &str| text.parse::<Relationship>().unwrap_err().to_string();
    assert!(error("document:readme#viewer").contains("`@` and a subject"));
    assert!(error("document:readme@user:tom").contains("`#` and a relation"));
    assert!(error("document:readme#viewer@user:tom[x").contains("[caveat:{…}]"));
    assert!(error("document:readme#viewer@user:tom[aaa][bbb]").contains("at most one caveat"));
    assert!(error("document:*#viewer@user:tom").contains("object id"));
    assert!(error("document:readme#viewer@group:*#member").contains("object id"));
    assert!(error("document:readme#viewer@user:tom[aaa:[1]]").contains("JSON object"));
}

#[test]
fn deep_context_is_refused_not_overflowed() {
    let text = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    assert!(Context::from_json(&text).is_err());
    let hostile = "[".repeat(1_000_000);
    assert!(Context::from_json(&hostile).is_err());
}

#[test]
fn timestamps_before_1970_keep_their_fraction_positive() {
    let t: Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();
    assert_eq!((t.seconds(), t.nanos()), (-1, 250_000_000));
    assert_eq!(t.to_string(), "1969-12-31T23:59:59.25Z");
    assert!(Timestamp::new(0, 1_000_000_000).is_err());
}

#[test]
fn errors_quote_at_most_a_line_of_what_came_in() {
    let long = "x".repeat(1_000_000);
    match long.parse::<Relationship>() {
        Err(ParseError::Expected { text, .. }) => assert!(text.len() < 200),
        other => panic!("{other:?}"),
    }
}

mod encoding;
