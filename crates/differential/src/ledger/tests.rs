use std::collections::BTreeMap;

use idhini_testkit::sketch::{Arrow, Expr};

use super::*;
use crate::compare::difference;
use crate::compare::{Checks, Evidence};
use crate::query::{Fault, Subjects};
use crate::suppose::tests::{case, definition, user};

fn answer(value: Value, missing: &[&str]) -> Answer {
    Answer { value, missing: missing.iter().map(|m| (*m).to_owned()).collect() }
}

fn has() -> Answer {
    answer(Value::Has, &[])
}

fn check(answer: Answer) -> Reply {
    Reply::Check(answer)
}

/// A disagreement as a run would find it: ours is computed, theirs is given.
fn disagreement(case: Case, theirs: Reply, evidence: Evidence) -> Disagreement {
    let mine = ours(&case).expect("a valid world").engine(&case.asked);
    let difference = difference(&theirs, &mine).expect("a difference");
    Disagreement { seed: 0, case, theirs, ours: mine, difference, evidence }
}

fn ids(disagreement: &Disagreement) -> Vec<&'static str> {
    explain(disagreement).iter().map(|entry| entry.id).collect()
}

fn plain() -> Case {
    case(
        vec![user(), definition("document", &[("viewer", "user")], &[])],
        &["document:one#viewer@user:amy"],
        ("document:one", "viewer", "user:amy"),
    )
}

fn asking(query: Query, mut case: Case) -> Case {
    case.asked.query = query;
    case
}

fn resources() -> Query {
    Query::Resources {
        resource_type: "document".into(),
        permission: "viewer".into(),
        subject: "user:amy".parse().expect("a subject"),
    }
}

#[test]
fn a_plainly_wrong_answer_is_unexplained() {
    let wrong = disagreement(plain(), check(no()), Evidence::default());
    assert_eq!(ids(&wrong), Vec::<&str>::new());
    let invalid = Reply::Fault(Fault { code: Code::InvalidArgument, message: String::new() });
    let wrong = disagreement(plain(), invalid, Evidence::default());
    assert_eq!(ids(&wrong), Vec::<&str>::new());
    let empty =
        disagreement(asking(resources(), plain()), Reply::Resources(BTreeMap::new()), Evidence::default());
    assert_eq!(ids(&empty), Vec::<&str>::new());
}

#[test]
fn fewer_missing_parameters_are_known_and_others_are_not() {
    let mut conditional = case(
        vec![user(), definition("document", &[("viewer", "user with sunny")], &[])],
        &["document:one#viewer@user:amy[sunny]"],
        ("document:one", "viewer", "user:amy"),
    );
    conditional.asked.context = Default::default();
    conditional.sketch.caveats[0].parameters.push(("warm".into(), "bool".into()));
    conditional.sketch.caveats[0].body = "flag && warm".into();
    let theirs = |names: &[&str]| check(answer(Value::Conditional, names));
    let fewer = disagreement(conditional.clone(), theirs(&["flag"]), Evidence::default());
    assert_eq!(ids(&fewer), ["missing-parameters"]);
    for other in [&[][..], &["other"], &["flag", "other", "warm"]] {
        let other = disagreement(conditional.clone(), theirs(other), Evidence::default());
        assert_eq!(ids(&other), Vec::<&str>::new());
    }
}

#[test]
fn a_habit_explains_exactly_the_answer_that_follows_from_it() {
    let covered = case(
        vec![user(), definition("document", &[("viewer", "user:*")], &[])],
        &["document:one#viewer@user:*"],
        ("document:one", "viewer", "user:amy#friend"),
    );
    let known = disagreement(covered.clone(), check(has()), Evidence::default());
    assert_eq!(ids(&known), ["wildcard-covers-usersets"]);
    let other = answer(Value::Conditional, &["flag"]);
    let unknown = disagreement(covered, check(other), Evidence::default());
    assert_eq!(ids(&unknown), Vec::<&str>::new());
}

#[test]
fn a_leak_is_shown_by_the_split_world_and_not_by_its_shape() {
    let arrow = Expr::Arrow("parent".into(), Arrow::All, "viewer".into());
    let shared = case(
        vec![
            user(),
            definition("folder", &[("viewer", "user")], &[]),
            definition("document", &[("parent", "folder | folder with sunny")], &[("view", arrow)]),
        ],
        &[
            "folder:one#viewer@user:amy",
            "document:one#parent@folder:one",
            "document:two#parent@folder:one[sunny]",
        ],
        ("document:one", "view", "user:amy"),
    );
    let with = |split| Evidence { split, ..Evidence::default() };
    let shown = disagreement(shared.clone(), check(no()), with(Some(check(has()))));
    assert_eq!(ids(&shown), ["all-conditions-leak"]);
    for not_shown in [None, Some(check(no()))] {
        let unknown = disagreement(shared.clone(), check(no()), with(not_shown));
        assert_eq!(ids(&unknown), Vec::<&str>::new());
    }
}

#[test]
fn an_unstable_check_is_one_that_also_gave_our_answer() {
    let with = |again| Evidence { again, ..Evidence::default() };
    let unstable = disagreement(plain(), check(no()), with(vec![check(no()), check(has())]));
    assert_eq!(ids(&unstable), ["unstable-check"]);
    let steady = disagreement(plain(), check(no()), with(vec![check(no()); 100]));
    assert_eq!(ids(&steady), Vec::<&str>::new());
}

#[test]
fn a_lookup_is_excused_only_if_the_servers_own_check_contradicts_it_and_agrees_with_ours() {
    let evidence = |theirs| {
        let checks = Checks { theirs, ours: check(has()), split: None, again: Vec::new() };
        Evidence { checks: [("one".to_owned(), checks)].into(), ..Evidence::default() }
    };
    let nothing = || Reply::Resources(BTreeMap::new());
    let excused = disagreement(asking(resources(), plain()), nothing(), evidence(check(has())));
    assert_eq!(ids(&excused), ["lookup-of-resources-against-checks"]);
    let consistent = disagreement(asking(resources(), plain()), nothing(), evidence(check(no())));
    assert_eq!(ids(&consistent), Vec::<&str>::new());
}

#[test]
fn self_is_named_only_where_it_is_reached() {
    let query = || Query::Subjects {
        resource: idhini_model::ResourceRef::new("robot", "one"),
        permission: "run".into(),
        subject_type: "user".into(),
        subject_relation: None,
    };
    let theirs = || {
        let found = [("one".to_owned(), has())].into();
        Reply::Subjects(Subjects { found, excluded: BTreeMap::new() })
    };
    let evidence = || {
        let checks = Checks { theirs: check(no()), ours: check(no()), split: None, again: Vec::new() };
        Evidence { checks: [("one".to_owned(), checks)].into(), ..Evidence::default() }
    };
    for (rule, id) in
        [(Expr::SelfObject, "self-in-lookup-of-subjects"), (Expr::Nil, "lookup-of-subjects-against-checks")]
    {
        let world = case(
            vec![user(), definition("robot", &[], &[("run", rule)])],
            &[],
            ("robot:one", "run", "user:amy"),
        );
        assert_eq!(ids(&disagreement(asking(query(), world), theirs(), evidence())), [id]);
    }
}

#[test]
fn an_error_is_needless_only_if_some_caveat_can_fail() {
    let invalid = || Reply::Fault(Fault { code: Code::InvalidArgument, message: String::new() });
    let mut failing = case(
        vec![user(), definition("document", &[("viewer", "user | user with sunny")], &[])],
        &["document:one#viewer@user:amy", "document:two#viewer@user:amy[sunny]"],
        ("document:one", "viewer", "user:amy"),
    );
    assert_eq!(ids(&disagreement(failing.clone(), invalid(), Evidence::default())), Vec::<&str>::new());
    failing.sketch.caveats[0].parameters.push(("share".into(), "int".into()));
    failing.sketch.caveats[0].body = "flag && 100 / share > 10".into();
    failing.asked.context = idhini_model::Context::from_json("{\"flag\":true,\"share\":0}").expect("JSON");
    let needless = disagreement(failing, invalid(), Evidence::default());
    assert_eq!(ids(&needless), ["needless-caveat-error"]);
}

#[test]
fn ids_are_unique_and_reasons_given() {
    let unique: BTreeSet<&str> = LEDGER.iter().map(|entry| entry.id).collect();
    assert_eq!(unique.len(), LEDGER.len());
    assert!(LEDGER.iter().all(|entry| !entry.reason.is_empty()));
}
