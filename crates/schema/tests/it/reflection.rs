//! A schema as data. Expected answers are those of SpiceDB 1.54 for the same schema and question.

use idhini_schema::{DependenceError, ReflectionFilter, ReflectionFilterError, Schema};

use super::{accepted, doc};

const SCHEMA: &str = "use expiration\nuse self
definition user {}
// group doc
/* two */
definition group {
  // mem doc
  relation member: user | group#member
  relation open: user:*
}
definition org {
  relation admin: user
  permission manage = admin
}
caveat cav(xyz list<string>, abc int) { abc == 1 && 'x' in xyz }
// docs of caveat
caveat abb(abc int) { abc == 2 }
definition folder {
  relation parent: folder
  relation org: org
  relation viewer: user with cav | user with cav and expiration | group#member | user with expiration
  relation banned: user
  permission view = viewer + parent->view + org->manage
  permission zed = view - banned
}
definition doc {
  relation parent: folder
  relation org: org
  relation owner: user | group#member
  relation viewer: user | user:*
  permission selfie = self
  // view doc
  permission view = viewer + owner + parent->view
  permission edit = owner & org.all(manage)
  permission both = view & edit
  permission none = nil
}";

fn filter(definition: &str, caveat: &str, relation: &str, permission: &str) -> ReflectionFilter {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ReflectionFilter {
        definition: some(definition),
        caveat: some(caveat),
        relation: some(relation),
        permission: some(permission),
    }
}

/// Names only: definitions with their relations and permissions, then caveats.
fn names(schema: &Schema, filters: &[ReflectionFilter]) -> String {
    let reflection = schema.reflect(filters).unwrap();
    let mut out: Vec<String> = Vec::new();
    for definition in &reflection.definitions {
        let relations: Vec<&str> = definition.relations.iter().map(|r| r.name.as_str()).collect();
        let permissions: Vec<&str> = definition.permissions.iter().map(|p| p.name.as_str()).collect();
        out.push(format!("{}({}|{})", definition.name, relations.join(","), permissions.join(",")));
    }
    out.extend(reflection.caveats.iter().map(|caveat| caveat.name.clone()));
    out.join(" ")
}

#[test]
fn everything_is_reflected_with_its_comments() {
    let schema = accepted(SCHEMA);
    let all = "doc(parent,org,owner,viewer|selfie,view,edit,both,none) folder(parent,org,viewer,banned|view,zed) \
               group(member,open|) org(admin|manage) user(|) abb cav";
    assert_eq!(names(&schema, &[]), all);
    // A filter that asks for nothing gets nothing, also beside others.
    assert_eq!(names(&schema, &[ReflectionFilter::default()]), "");
    let user = ReflectionFilter { definition: Some("user".to_owned()), ..ReflectionFilter::default() };
    assert_eq!(names(&schema, &[ReflectionFilter::default(), user]), "user(|)");
    let reflection = schema.reflect(&[]).unwrap();
    let group = &reflection.definitions[2];
    assert_eq!(group.comment, "// group doc\n/* two */");
    assert_eq!(group.relations[0].comment, "// mem doc");
    assert_eq!((group.relations[0].definition.as_str(), group.relations[0].subjects.len()), ("group", 2));
    assert_eq!(reflection.definitions[0].permissions[1].comment, "// view doc");
    assert_eq!(reflection.caveats[0].comment, "// docs of caveat");
    let cav = &reflection.caveats[1];
    assert_eq!(cav.expression, "abc == 1 && \"x\" in xyz");
    let parameters: Vec<String> =
        cav.parameters.iter().map(|p| format!("{} {} {}", p.caveat, p.name, p.value_type)).collect();
    assert_eq!(parameters, ["cav abc int", "cav xyz list<string>"]);
}

#[test]
fn filters_are_beginnings_of_names() {
    let schema = accepted(SCHEMA);
    for (filters, expected) in [
        (vec![filter("do", "", "", "")], "doc(parent,org,owner,viewer|selfie,view,edit,both,none)"),
        (vec![filter("doc", "", "vi", "")], "doc(viewer|selfie,view,edit,both,none)"),
        (vec![filter("doc", "", "", "vi")], "doc(parent,org,owner,viewer|view)"),
        (vec![filter("", "c", "", "")], "cav"),
        (
            vec![filter("doc", "", "vi", ""), filter("", "cav", "", "")],
            "doc(viewer|selfie,view,edit,both,none) cav",
        ),
        (vec![filter("doc", "", "vi", ""), filter("doc", "", "", "ed")], "doc(viewer|edit)"),
        // SpiceDB applies the first filter's relation to the second one's definition too, and answers `group(|)`.
        (
            vec![filter("doc", "", "vi", ""), filter("gro", "", "", "")],
            "doc(viewer|selfie,view,edit,both,none) group(member,open|)",
        ),
        (vec![filter("nope", "", "", "")], ""),
    ] {
        assert_eq!(names(&schema, &filters), expected, "{filters:?}");
    }
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let schema = accepted(SCHEMA);
    for (filter, error) in [
        (filter("a", "b", "", ""), ReflectionFilterError::DefinitionAndCaveat),
        (filter("a", "", "b", "c"), ReflectionFilterError::RelationAndPermission),
        (filter("", "", "a", ""), ReflectionFilterError::RelationWithoutDefinition),
        (filter("", "a", "", "b"), ReflectionFilterError::PermissionWithoutDefinition),
    ] {
        assert_eq!(schema.reflect(&[ReflectionFilter::default(), filter]), Err(error));
    }
}

fn computable(schema: &Schema, definition: &str, member: &str) -> String {
    let member = (!member.is_empty()).then_some(member);
    let found = schema.computable(definition, member).unwrap();
    let shown: Vec<String> = found.iter().map(|m| format!("{}#{}", m.definition, m.member)).collect();
    shown.join(" ")
}

#[test]
fn computable_members_are_those_that_take_up_who_stands_in_one() {
    let schema = accepted(SCHEMA);
    for (definition, member, expected) in [
        (
            "user",
            "",
            "doc#both doc#edit doc#owner doc#view doc#viewer folder#banned folder#view folder#viewer folder#zed group#member group#open org#admin org#manage",
        ),
        ("group", "member", "doc#both doc#edit doc#owner doc#view folder#view folder#viewer folder#zed"),
        ("group", "open", ""),
        ("org", "admin", "doc#both doc#edit doc#view folder#view folder#zed org#manage"),
        ("org", "manage", "doc#both doc#edit doc#view folder#view folder#zed"),
        ("folder", "parent", ""),
        ("folder", "org", ""),
        ("folder", "viewer", "doc#both doc#view folder#view folder#zed"),
        ("folder", "view", "doc#both doc#view folder#zed"),
        ("folder", "banned", "folder#zed"),
        ("doc", "view", "doc#both"),
        ("doc", "", "doc#selfie"),
    ] {
        assert_eq!(computable(&schema, definition, member), expected, "{definition}#{member}");
    }
    let kinds = schema.computable("doc", Some("owner")).unwrap();
    assert!(kinds.iter().all(|member| member.is_permission));
    assert!(!schema.computable("user", None).unwrap()[2].is_permission);
}

#[test]
fn an_arrow_ignores_the_relation_of_what_it_follows() {
    let schema = accepted(
        "definition user {}\ndefinition folder {\n relation owner: user | folder#owner\n relation viewer: user\n}\n\
         definition doc {\n relation parent: folder#owner\n permission view = parent->viewer\n}",
    );
    assert_eq!(computable(&schema, "folder", "owner"), "doc#parent");
    assert_eq!(computable(&schema, "folder", "viewer"), "doc#view");
    let found = schema.dependencies("doc", "view").unwrap();
    let shown: Vec<&str> = found.iter().map(|m| m.member.as_str()).collect();
    assert_eq!(shown, ["parent", "viewer"]);
}

#[test]
fn an_arrow_that_leads_nowhere_is_no_dependency() {
    let schema = accepted(&doc("relation aaa: user\npermission ppp = aaa->nope + aaa.all(nope)"));
    assert_eq!(schema.dependencies("doc", "ppp").unwrap(), []);
}

#[test]
fn a_wildcard_takes_up_objects_and_not_usersets() {
    // SpiceDB answers `doc#wild` for the userset too, though a wildcard never matches one.
    let schema = accepted(&doc("relation aaa: user\nrelation wild: doc:*"));
    assert_eq!(computable(&schema, "doc", ""), "doc#wild");
    assert_eq!(computable(&schema, "doc", "aaa"), "");
}

#[test]
fn dependencies_are_what_a_permission_is_computed_from() {
    let schema = accepted(SCHEMA);
    for (definition, permission, expected) in [
        ("folder", "view", "folder#org folder#parent folder#viewer group#member org#admin org#manage!"),
        (
            "folder",
            "zed",
            "folder#banned folder#org folder#parent folder#view! folder#viewer group#member org#admin org#manage!",
        ),
        (
            "doc",
            "view",
            "doc#owner doc#parent doc#viewer folder#org folder#parent folder#view! folder#viewer group#member org#admin org#manage!",
        ),
        ("doc", "edit", "doc#org doc#owner group#member org#admin org#manage!"),
        ("doc", "none", ""),
        ("doc", "selfie", ""),
        ("org", "manage", "org#admin"),
    ] {
        let found = schema.dependencies(definition, permission).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|m| format!("{}#{}{}", m.definition, m.member, if m.is_permission { "!" } else { "" }))
            .collect();
        assert_eq!(shown.join(" "), expected, "{definition}#{permission}");
    }
}

#[test]
fn questions_about_what_is_not_there_are_refused() {
    let schema = accepted(&doc("relation aaa: user"));
    let unknown = DependenceError::UnknownDefinition { definition: "nope".into() };
    assert_eq!(schema.computable("nope", Some("aaa")), Err(unknown.clone()));
    assert_eq!(schema.dependencies("nope", "aaa"), Err(unknown));
    let unknown = DependenceError::UnknownMember { definition: "doc".into(), member: "nope".into() };
    assert_eq!(schema.computable("doc", Some("nope")), Err(unknown.clone()));
    assert_eq!(schema.dependencies("doc", "nope"), Err(unknown));
    let relation = DependenceError::NotAPermission { definition: "doc".into(), member: "aaa".into() };
    assert_eq!(schema.dependencies("doc", "aaa"), Err(relation));
}
