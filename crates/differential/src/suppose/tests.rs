use idhini_model::{Context, ResourceRef};
use idhini_testkit::sketch::{CaveatSketch, DefinitionSketch, RelationSketch};

use super::*;
use crate::ours::Ours;
use crate::query::{Reply, Value};
use idhini_testkit::generate::INSTANT_SECONDS;

fn alternative(text: &str) -> Alternative {
    let (subject, caveat) = match text.split_once(" with ") {
        Some((subject, caveat)) => (subject, Some(caveat)),
        None => (text, None),
    };
    let (subject_type, kind) = match (subject.split_once('#'), subject.strip_suffix(":*")) {
        (Some((subject_type, relation)), _) => (subject_type, SubjectKind::Userset(relation.to_owned())),
        (None, Some(subject_type)) => (subject_type, SubjectKind::Wildcard),
        (None, None) => (subject, SubjectKind::Object),
    };
    let expiration = caveat == Some("expiration");
    let caveat = caveat.filter(|c| *c != "expiration").map(str::to_owned);
    Alternative { subject_type: subject_type.to_owned(), kind, caveat, expiration }
}

pub(crate) fn definition(
    name: &str,
    relations: &[(&str, &str)],
    permissions: &[(&str, Expr)],
) -> DefinitionSketch {
    DefinitionSketch {
        name: name.to_owned(),
        relations: relations
            .iter()
            .map(|(name, types)| RelationSketch {
                name: (*name).to_owned(),
                subjects: types.split(" | ").map(alternative).collect(),
            })
            .collect(),
        permissions: permissions
            .iter()
            .map(|(name, rule)| PermissionSketch { name: (*name).to_owned(), rule: rule.clone() })
            .collect(),
    }
}

pub(crate) fn case(
    definitions: Vec<DefinitionSketch>,
    relationships: &[&str],
    asked: (&str, &str, &str),
) -> Case {
    let sunny = CaveatSketch {
        name: "sunny".into(),
        parameters: vec![("flag".into(), "bool".into())],
        body: "flag".into(),
    };
    let (resource, permission, subject) = asked;
    let query = Query::Check {
        resource: resource.parse::<ResourceRef>().expect("a resource"),
        permission: permission.to_owned(),
        subject: subject.parse().expect("a subject"),
    };
    Case {
        sketch: Sketch { caveats: vec![sunny], definitions },
        relationships: relationships.iter().map(|r| r.parse().expect("a relationship")).collect(),
        asked: Posed { query, context: Context::from_json("{\"flag\":true}").expect("JSON") },
        company: Vec::new(),
    }
}

fn value(case: &Case) -> Value {
    let at = Timestamp::from_seconds(INSTANT_SECONDS);
    let ours = Ours::new(&case.sketch.text(), &case.relationships, at).expect("a valid world");
    match ours.engine(&case.asked) {
        Reply::Check(answer) => answer.value,
        other => panic!("{other}"),
    }
}

pub(crate) fn user() -> DefinitionSketch {
    definition("user", &[("friend", "user")], &[])
}

#[test]
fn all_denies_at_a_type_without_the_target_only_by_habit() {
    let arrow = Expr::Arrow("parent".into(), Arrow::All, "viewer".into());
    let case = case(
        vec![
            user(),
            definition("folder", &[("viewer", "user")], &[]),
            definition("document", &[("parent", "folder | user")], &[("view", arrow)]),
        ],
        &["folder:one#viewer@user:amy", "document:one#parent@folder:one", "document:one#parent@user:bob"],
        ("document:one", "view", "user:amy"),
    );
    assert_eq!(value(&case), Value::Has);
    assert_eq!(value(&Habit::AllNeedsTarget.applied(&case)), Value::No);
    assert_eq!(value(&Habit::CaveatedSubjectHidden.applied(&case)), Value::Has);
}

#[test]
fn a_wildcard_covers_a_userset_only_by_habit() {
    let case = case(
        vec![user(), definition("document", &[("viewer", "user:*")], &[])],
        &["document:one#viewer@user:*"],
        ("document:one", "viewer", "user:amy#friend"),
    );
    assert_eq!(value(&case), Value::No);
    assert_eq!(value(&Habit::WildcardCoversUsersets.applied(&case)), Value::Has);
}

#[test]
fn a_caveated_subject_is_hidden_beside_usersets_of_its_type_only_by_habit() {
    for (types, hidden) in [
        ("user with sunny | user#friend", true),
        ("user with sunny | user#friend with sunny", false),
        ("user with sunny | user", false),
        ("user with sunny", false),
    ] {
        let case = case(
            vec![user(), definition("document", &[("viewer", types)], &[])],
            &["document:one#viewer@user:amy[sunny]"],
            ("document:one", "viewer", "user:amy"),
        );
        assert_eq!(value(&case), Value::Has, "{types}");
        let by_habit = if hidden { Value::No } else { Value::Has };
        assert_eq!(value(&Habit::CaveatedSubjectHidden.applied(&case)), by_habit, "{types}");
    }
}

#[test]
fn an_expired_subject_counts_beside_usersets_of_its_type_only_by_habit() {
    for (types, counts) in
        [("user with expiration | user#friend", true), ("user with expiration | user", false)]
    {
        let case = case(
            vec![user(), definition("document", &[("viewer", types)], &[])],
            &["document:one#viewer@user:amy[expiration:2020-09-13T12:26:40Z]"],
            ("document:one", "viewer", "user:amy"),
        );
        assert_eq!(value(&case), Value::No, "{types}");
        let by_habit = if counts { Value::Has } else { Value::No };
        assert_eq!(value(&Habit::ExpiredSubjectCounts.applied(&case)), by_habit, "{types}");
    }
}

fn shared_folder(second: &str) -> Case {
    let arrow = Expr::Arrow("parent".into(), Arrow::All, "viewer".into());
    case(
        vec![
            user(),
            definition("folder", &[("viewer", "user")], &[]),
            definition("document", &[("parent", "folder | folder with sunny")], &[("view", arrow)]),
        ],
        &["folder:one#viewer@user:amy", "document:one#parent@folder:one", second],
        ("document:one", "view", "user:amy"),
    )
}

#[test]
fn splitting_leaves_the_answer_and_nothing_shared() {
    let case = shared_folder("document:two#parent@folder:one[sunny]");
    let split = split_under_all(&case).expect("a shared folder");
    assert_eq!(value(&split), value(&case));
    let parents: BTreeSet<String> = split
        .relationships
        .iter()
        .filter(|r| r.relation == "parent")
        .map(|r| r.subject.object_id.clone())
        .collect();
    assert_eq!(parents.len(), 2);
    assert_eq!(split_under_all(&split), None);
}

#[test]
fn nothing_is_split_where_no_condition_is_shared() {
    assert_eq!(split_under_all(&shared_folder("document:two#parent@folder:one")), None);
    assert_eq!(split_under_all(&shared_folder("document:two#parent@folder:two[sunny]")), None);
}

#[test]
fn reach_follows_usersets_members_and_arrows() {
    let arrow = Expr::Arrow("parent".into(), Arrow::Plain, "viewer".into());
    let sketch = Sketch {
        caveats: Vec::new(),
        definitions: vec![
            definition("user", &[], &[]),
            definition("group", &[("member", "user")], &[("join", Expr::Member("member".into()))]),
            definition("folder", &[("viewer", "group#join"), ("other", "user")], &[]),
            definition("document", &[("parent", "folder")], &[("view", arrow)]),
        ],
    };
    let reached = reach(&sketch, "document", "view");
    let names: Vec<String> = reached.iter().map(|(d, m)| format!("{d}#{m}")).collect();
    assert_eq!(names, ["document#view", "folder#viewer", "group#join", "group#member"]);
}
