//! Until when does an answer stay what it is? Generated worlds are compared with the reference in the test kit.

use idhini_engine::{Check, Limits, Permissionship};

use crate::{CONDITIONAL, HAS, NO, World, with_question};

const SCHEMA: &str = "use expiration
    caveat on(day string) { day == \"tuesday\" }
    definition user {}
    definition group {
        relation member: user | user with expiration | group#member with expiration
    }
    definition document {
        relation viewer: user | user with expiration | group#member | group#member with expiration | user with on and expiration
        relation banned: user | user with expiration
        relation needed: group with expiration
        permission view = viewer - banned
        permission both = viewer & banned
        permission all = needed.all(member)
    }";

const RELATIONSHIPS: &str = "
    document:d#viewer@user:plain
    document:d#viewer@user:soon[expiration:2030-06-01T00:00:00Z]
    document:d#viewer@user:gone[expiration:2029-06-01T00:00:00Z]
    document:d#viewer@group:g#member[expiration:2030-07-01T00:00:00Z]
    group:g#member@user:in
    group:g#member@user:briefly[expiration:2030-02-01T00:00:00Z]
    document:d#viewer@user:banned
    document:d#banned@user:banned[expiration:2030-03-01T00:00:00Z]
    document:d#banned@user:stranger[expiration:2030-03-01T00:00:00Z]
    document:d#viewer@user:first[expiration:2030-04-01T00:00:00Z]
    document:d#banned@user:first[expiration:2030-05-01T00:00:00Z]
    document:d#viewer@user:later[expiration:2030-05-01T00:00:00Z]
    document:d#banned@user:later[expiration:2030-04-01T00:00:00Z]
    document:d#viewer@user:maybe[on][expiration:2030-06-01T00:00:00.5Z]
    document:d#needed@group:g[expiration:2030-08-01T00:00:00Z]
    document:d#needed@group:h[expiration:2030-09-01T00:00:00Z]
    group:h#member@user:in
    group:r#member@group:s#member[expiration:2030-10-01T00:00:00Z]
    group:s#member@group:r#member[expiration:2030-11-01T00:00:00Z]
    group:s#member@user:round[expiration:2030-12-01T00:00:00Z]
    group:t#member@user:apart[expiration:2030-12-01T00:00:00Z]";

fn until(text: &str) -> (Permissionship, Option<String>) {
    let world = World::new(SCHEMA, RELATIONSHIPS);
    with_question(text, |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        let answer = check.answer().unwrap();
        let until = check.until().map(|at| at.to_string());
        // Explaining looks at more, which the answer does not rest on.
        check.explain().unwrap();
        assert_eq!(check.until().map(|at| at.to_string()), until);
        (answer.permissionship, until)
    })
}

#[track_caller]
fn lasts(text: &str, value: Permissionship, wanted: Option<&str>) {
    let wanted =
        wanted.map(|day| if day.contains('T') { day.to_owned() } else { format!("{day}T00:00:00Z") });
    assert_eq!(until(text), (value, wanted), "{text}");
}

#[test]
fn a_grant_lasts_as_long_as_the_relationships_on_its_way() {
    lasts("document:d viewer user:plain", HAS, None);
    lasts("document:d view user:plain", HAS, None);
    lasts("document:d view user:soon", HAS, Some("2030-06-01"));
    lasts("document:d view user:in", HAS, Some("2030-07-01"));
    lasts("document:d view user:briefly", HAS, Some("2030-02-01"));
    lasts("document:d all user:in", HAS, Some("2030-08-01"));
}

#[test]
fn a_denial_lasts_for_good_unless_what_is_taken_away_expires() {
    lasts("document:d view user:nobody", NO, None);
    lasts("document:d view user:gone", NO, None);
    lasts("document:d view user:stranger", NO, None);
    lasts("document:d view user:banned", NO, Some("2030-03-01"));
    // What is expired by then is not given back; the bound is that of the exclusion.
    lasts("document:d view user:first", NO, Some("2030-05-01"));
    lasts("document:d view user:later", NO, Some("2030-04-01"));
    lasts("document:d both user:plain", NO, None);
    lasts("document:d all user:briefly", NO, Some("2030-09-01"));
}

#[test]
fn a_conditional_answer_lasts_as_long_as_its_condition_is_asked_for() {
    lasts("document:d view user:maybe", CONDITIONAL, Some("2030-06-01T00:00:00.5Z"));
    lasts("document:d view user:maybe with {\"day\":\"tuesday\"}", HAS, Some("2030-06-01T00:00:00.5Z"));
    lasts("document:d view user:maybe with {\"day\":\"monday\"}", NO, None);
}

#[test]
fn goals_that_depend_on_each_other_last_until_the_first_of_their_relationships_expires() {
    lasts("group:r member user:round", HAS, Some("2030-10-01"));
    lasts("group:r member user:apart", NO, Some("2030-10-01"));
    // Whoever is in no group at all is in none for good.
    lasts("group:r member user:nobody", NO, None);
}

/// A goal that is conditional whatever comes is finished while one that it depends on is not; what is missing is named
/// through both.
#[test]
fn what_is_missing_lasts_as_long_as_all_the_goals_through_which_it_is_named() {
    const SCHEMA: &str = "use expiration
        caveat one(a string) { a == \"x\" }
        caveat two(b string) { b == \"x\" }
        caveat three(c string) { c == \"x\" }
        definition user {}
        definition group {
            relation member: user | user with one | user with three and expiration | group#member | group#member with two
            relation nobody: user
            permission never = member & nobody
        }
        definition document {
            relation first: group
            relation second: group
            permission view = first->never + second->member
        }";
    const RELATIONSHIPS: &str = "
        document:d#first@group:r
        document:d#second@group:g
        group:r#member@group:g#member
        group:g#member@group:r#member[two]
        group:g#member@user:u[one]
        group:r#member@group:h#member
        group:h#member@user:u[three][expiration:2030-02-01T00:00:00Z]";
    let world = World::new(SCHEMA, RELATIONSHIPS);
    with_question("document:d view user:u", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        let answer = check.answer().unwrap();
        assert_eq!(answer.permissionship, CONDITIONAL);
        let told = (answer.missing.iter().map(String::as_str).collect::<Vec<_>>(), check.until());
        assert_eq!(told, (vec!["a", "b", "c"], Some("2030-02-01T00:00:00Z".parse().unwrap())));
    });
}
