use tonic::Code;

use super::*;
use crate::query::Fault;

fn has() -> Answer {
    Answer { value: Value::Has, missing: BTreeSet::new() }
}

fn lacking(names: &[&str]) -> Answer {
    Answer { value: Value::Conditional, missing: names.iter().map(|n| (*n).to_owned()).collect() }
}

fn found(items: &[(&str, Answer)]) -> BTreeMap<String, Answer> {
    items.iter().map(|(id, answer)| ((*id).to_owned(), answer.clone())).collect()
}

fn fault(code: Code, message: &str) -> Reply {
    Reply::Fault(Fault { code, message: message.to_owned() })
}

#[test]
fn errors_are_the_same_by_code_and_never_the_same_as_a_denial() {
    let denied = Reply::Check(no());
    let invalid = fault(Code::InvalidArgument, "one text");
    assert_eq!(difference(&invalid, &fault(Code::InvalidArgument, "another text")), None);
    assert_eq!(difference(&invalid, &fault(Code::FailedPrecondition, "one text")), Some(Difference::Faults));
    assert_eq!(difference(&invalid, &denied), Some(Difference::Faults));
}

#[test]
fn values_come_before_missing_parameters() {
    let theirs = found(&[("one", has()), ("two", lacking(&["flag"]))]);
    let ours = found(&[("two", lacking(&["flag", "level"])), ("three", has())]);
    let Some(Difference::Values(items)) =
        difference(&Reply::Resources(theirs.clone()), &Reply::Resources(ours.clone()))
    else {
        panic!("values differ")
    };
    assert_eq!(items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["one", "three"]);
    let only_two = |map: BTreeMap<String, Answer>| {
        Reply::Resources(map.into_iter().filter(|(id, _)| id == "two").collect())
    };
    assert!(matches!(difference(&only_two(theirs), &only_two(ours)), Some(Difference::Missing(_))));
}

#[test]
fn everybody_covers_who_is_not_named_and_nobody_who_is_excluded() {
    let wildcard = Subjects {
        found: found(&[(EVERYBODY, has())]),
        excluded: found(&[("bob", no()), ("eve", lacking(&["flag"]))]),
    };
    assert_eq!(wildcard.value("amy"), Value::Has);
    assert_eq!(wildcard.value("bob"), Value::No);
    assert_eq!(wildcard.value("eve"), Value::Conditional);
    let spelled_out = Subjects {
        found: found(&[(EVERYBODY, has()), ("amy", has()), ("eve", lacking(&["flag"]))]),
        excluded: found(&[("bob", no()), ("eve", no())]),
    };
    assert_eq!(difference(&Reply::Subjects(wildcard.clone()), &Reply::Subjects(spelled_out)), None);
    let forgetful = Subjects { excluded: found(&[("eve", lacking(&["flag"]))]), ..wildcard.clone() };
    let Some(Difference::Values(items)) = difference(&Reply::Subjects(forgetful), &Reply::Subjects(wildcard))
    else {
        panic!("bob is excluded in one of them")
    };
    assert_eq!((items[0].id.as_str(), items.len()), ("bob", 1));
}

#[test]
fn a_lookup_of_everybody_is_settled_by_a_check_of_somebody() {
    let query = Query::Subjects {
        resource: ResourceRef::new("document", "one"),
        permission: "view".into(),
        subject_type: "user".into(),
        subject_relation: None,
    };
    let check = check_of(&query, EVERYBODY, &Context::default()).expect("a check");
    assert_eq!(check.query.to_string(), format!("check document:one#view@user:{SOMEBODY}"));
}
