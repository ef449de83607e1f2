//! One rule of the algebra each.

use crate::{CONDITIONAL, HAS, NO, World};

#[test]
fn a_userset_is_a_member_of_itself_without_any_relationship() {
    let world = World::new(
        "definition user {} definition group { relation member: user\n permission in_it = member }",
        "",
    );
    assert_eq!(world.check("group:one member group:one#member"), HAS);
    assert_eq!(world.check("group:one in_it group:one#member"), HAS);
    assert_eq!(world.check("group:one in_it group:one#in_it"), HAS);
    assert_eq!(world.check("group:one member group:one#in_it"), NO);
    assert_eq!(world.check("group:one member group:two#member"), NO);
}

#[test]
fn self_matches_the_object_and_not_its_usersets() {
    let schema = "use self\ndefinition user { relation friend: user\n permission myself = self\n permission known = self + friend }";
    let world = World::new(schema, "user:ann#friend@user:bob");
    assert_eq!(world.check("user:ann myself user:ann"), HAS);
    assert_eq!(world.check("user:new myself user:new"), HAS);
    assert_eq!(world.check("user:new myself user:other"), NO);
    assert_eq!(world.check("user:ann myself user:bob"), NO);
    assert_eq!(world.check("user:ann known user:bob"), HAS);
    assert_eq!(world.check("user:ann myself user:ann#friend"), NO);
}

#[test]
fn a_wildcard_covers_objects_nobody_named_but_no_usersets() {
    let schema = "definition user { relation friend: user } definition doc { relation viewer: user | user:* | user#friend }";
    let world = World::new(schema, "doc:one#viewer@user:*");
    assert_eq!(world.check("doc:one viewer user:unheard_of"), HAS);
    assert_eq!(world.check("doc:one viewer user:unheard_of#friend"), NO);
    assert_eq!(world.check("doc:two viewer user:unheard_of"), NO);
}

#[test]
fn arrows_ignore_the_subject_relation_and_skip_types_without_the_target() {
    let schema = "definition user {} definition team { relation member: user\n permission see = member }
        definition thing {} definition doc { relation owner: team | team#member | thing\n permission view = owner->see\n permission all_view = owner.all(see) }";
    let world = World::new(
        schema,
        "doc:one#owner@team:red#member\ndoc:one#owner@thing:rock\nteam:red#member@user:ann",
    );
    assert_eq!(world.check("doc:one view user:ann"), HAS);
    assert_eq!(world.check("doc:one all_view user:ann"), HAS);
    assert_eq!(world.check("doc:one view user:bob"), NO);
}

#[test]
fn all_needs_at_least_one_and_every_one() {
    let schema = "definition user {} definition team { relation member: user }
        definition doc { relation team: team\n permission view = team.all(member) }";
    let world = World::new(
        schema,
        "doc:two#team@team:red\ndoc:two#team@team:blue\nteam:red#member@user:ann\nteam:blue#member@user:ann\nteam:red#member@user:bob",
    );
    assert_eq!(world.check("doc:none view user:ann"), NO);
    assert_eq!(world.check("doc:two view user:ann"), HAS);
    assert_eq!(world.check("doc:two view user:bob"), NO);
}

const CONDITIONAL_SCHEMA: &str = "caveat is_open(open bool) { open }
    caveat is_close(distance int) { distance < 10 }
    definition user {}
    definition team { relation member: user | user with is_open }
    definition doc {
        relation viewer: user with is_close | user | team#member with is_open | team#member
        relation editor: user with is_open
        relation team: team with is_open | team
        permission either = viewer + editor
        permission both = viewer & editor
        permission without = viewer - editor
        permission all_teams = team.all(member)
    }";

#[test]
fn a_false_caveat_on_an_edge_of_all_makes_it_no() {
    let relationships = "doc:one#team@team:red\ndoc:one#team@team:blue[is_open]\nteam:red#member@user:ann\nteam:blue#member@user:ann";
    let world = World::new(CONDITIONAL_SCHEMA, relationships);
    assert_eq!(world.check("doc:one all_teams user:ann"), CONDITIONAL);
    assert_eq!(world.check(r#"doc:one all_teams user:ann with {"open": true}"#), HAS);
    assert_eq!(world.check(r#"doc:one all_teams user:ann with {"open": false}"#), NO);
}

#[test]
fn what_is_missing_comes_from_conditional_branches_alone() {
    let relationships = "doc:one#viewer@user:ann[is_close]\ndoc:one#editor@user:ann[is_open]\ndoc:two#viewer@user:ann\ndoc:two#editor@user:ann[is_open]";
    let world = World::new(CONDITIONAL_SCHEMA, relationships);
    let missing = |text: &str| {
        let answer = world.try_check(text).unwrap();
        assert_eq!(answer.permissionship, CONDITIONAL, "{text}");
        answer.missing.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(missing("doc:one either user:ann"), "distance open");
    assert_eq!(missing("doc:one both user:ann"), "distance open");
    assert_eq!(missing(r#"doc:one both user:ann with {"distance": 3}"#), "open");
    assert_eq!(missing(r#"doc:one either user:ann with {"distance": 30}"#), "open");
    assert_eq!(missing("doc:two both user:ann"), "open");
    assert_eq!(missing("doc:two without user:ann"), "open");
    assert_eq!(world.check("doc:two either user:ann"), HAS);
    assert_eq!(world.check(r#"doc:one both user:ann with {"distance": 30}"#), NO);
}

#[test]
fn stored_context_wins_over_the_requests() {
    let world = World::new(CONDITIONAL_SCHEMA, r#"doc:one#editor@user:ann[is_open:{"open":false}]"#);
    assert_eq!(world.check(r#"doc:one editor user:ann with {"open": true}"#), NO);
}

#[test]
fn a_failing_caveat_fails_only_what_depends_on_it() {
    let schema = "caveat ratio(part int, whole int) { part / whole > 1 }
        definition user {} definition doc { relation viewer: user with ratio\n relation owner: user\n permission view = viewer + owner\n permission both = viewer & owner }";
    let world = World::new(
        schema,
        "doc:one#viewer@user:ann[ratio]\ndoc:two#viewer@user:ann[ratio]\ndoc:two#owner@user:ann",
    );
    let context = r#"with {"part": 1, "whole": 0}"#;
    assert!(world.try_check(&format!("doc:one view user:ann {context}")).is_err());
    assert_eq!(world.check(&format!("doc:two view user:ann {context}")), HAS);
    assert_eq!(world.check(&format!("doc:one both user:ann {context}")), NO);
    assert_eq!(world.check("doc:one view user:ann"), CONDITIONAL);
}

#[test]
fn an_expired_relationship_is_absent_from_its_instant_on() {
    let schema = "use expiration\ndefinition user {} definition doc { relation viewer: user with expiration\n relation team: doc with expiration\n permission all = team.all(viewer) }";
    let world = World::new(
        schema,
        "doc:one#viewer@user:before[expiration:2029-12-31T23:59:59Z]
         doc:one#viewer@user:at[expiration:2030-01-01T00:00:00Z]
         doc:one#viewer@user:after[expiration:2030-01-01T00:00:00.000000001Z]
         doc:two#team@doc:one[expiration:2031-01-01T00:00:00Z]
         doc:two#team@doc:three[expiration:2030-01-01T00:00:00Z]",
    );
    assert_eq!(world.check("doc:one viewer user:before"), NO);
    assert_eq!(world.check("doc:one viewer user:at"), NO);
    assert_eq!(world.check("doc:one viewer user:after"), HAS);
    assert_eq!(world.check("doc:two all user:after"), HAS);
}

#[test]
fn unknown_names_and_wildcard_subjects_are_refused_not_denied() {
    let world = World::new("definition user {} definition doc { relation viewer: user }", "");
    let error = |text: &str| world.try_check(text).unwrap_err().to_string();
    assert!(error("none:one viewer user:ann").contains("no definition `none`"));
    assert!(error("doc:one editor user:ann").contains("no relation or permission `editor`"));
    assert!(error("doc:one viewer none:ann").contains("no definition `none`"));
    assert!(error("doc:one viewer user:ann#friend").contains("no relation or permission `friend`"));
    assert!(error("doc:one viewer user:*").contains("LookupSubjects"));
}
