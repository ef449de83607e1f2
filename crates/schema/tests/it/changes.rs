//! From one schema to another: what differs, and what would be orphaned.

use idhini_schema::{Schema, SchemaDiff, SubjectKind};

use super::{accepted, doc};

const USER: &str = "definition user {}\n";

/// What differs, in short.
fn differences(old: &str, new: &str) -> Vec<String> {
    accepted(old).diff(&accepted(new)).iter().map(shown).collect()
}

fn shown(diff: &SchemaDiff) -> String {
    match diff {
        SchemaDiff::DefinitionAdded(d) => format!("+definition {}", d.name),
        SchemaDiff::DefinitionRemoved(d) => format!("-definition {}", d.name),
        SchemaDiff::DefinitionCommentChanged(d) => format!("comment {}: {}", d.name, d.comment),
        SchemaDiff::RelationAdded(r) => format!("+relation {}#{}", r.definition, r.name),
        SchemaDiff::RelationRemoved(r) => format!("-relation {}#{}", r.definition, r.name),
        SchemaDiff::RelationCommentChanged(r) => {
            format!("comment {}#{}: {}", r.definition, r.name, r.comment)
        }
        SchemaDiff::RelationSubjectAdded { relation, subject } => {
            format!("+subject {}#{}: {subject}", relation.definition, relation.name)
        }
        SchemaDiff::RelationSubjectRemoved { relation, subject } => {
            format!("-subject {}#{}: {subject}", relation.definition, relation.name)
        }
        SchemaDiff::PermissionAdded(p) => format!("+permission {}#{}", p.definition, p.name),
        SchemaDiff::PermissionRemoved(p) => format!("-permission {}#{}", p.definition, p.name),
        SchemaDiff::PermissionCommentChanged(p) => {
            format!("comment {}#{}: {}", p.definition, p.name, p.comment)
        }
        SchemaDiff::PermissionExpressionChanged(p) => format!("rule {}#{}", p.definition, p.name),
        SchemaDiff::CaveatAdded(c) => format!("+caveat {}", c.name),
        SchemaDiff::CaveatRemoved(c) => format!("-caveat {}", c.name),
        SchemaDiff::CaveatCommentChanged(c) => format!("comment {}: {}", c.name, c.comment),
        SchemaDiff::CaveatExpressionChanged(c) => format!("expression {}: {}", c.name, c.expression),
        SchemaDiff::CaveatParameterAdded(p) => {
            format!("+parameter {}({} {})", p.caveat, p.name, p.value_type)
        }
        SchemaDiff::CaveatParameterRemoved(p) => {
            format!("-parameter {}({} {})", p.caveat, p.name, p.value_type)
        }
        SchemaDiff::CaveatParameterTypeChanged { parameter: p, previous_type } => {
            format!("parameter {}({} {previous_type} -> {})", p.caveat, p.name, p.value_type)
        }
    }
}

fn caveat(parameters: &str, expression: &str) -> String {
    format!("{USER}caveat cav({parameters}) {{ {expression} }}")
}

#[test]
fn each_kind_of_difference_is_reported_once() {
    let none: [&str; 0] = [];
    for (old, new, expected) in [
        (USER.to_owned(), String::new(), &["-definition user"][..]),
        (USER.to_owned(), doc("relation aaa: user"), &["+definition doc"]),
        (USER.to_owned(), format!("// x\n{USER}"), &["comment user: // x"]),
        (doc("relation aaa: user"), doc("relation bbb: user"), &["-relation doc#aaa", "+relation doc#bbb"]),
        (
            doc("relation aaa: user"),
            doc("permission aaa = nil"),
            &["-relation doc#aaa", "+permission doc#aaa"],
        ),
        (
            doc("permission aaa = nil"),
            doc("relation aaa: user"),
            &["-permission doc#aaa", "+relation doc#aaa"],
        ),
        (
            doc("relation aaa: user"),
            doc("relation aaa: user:* | doc#aaa"),
            &["-subject doc#aaa: user", "+subject doc#aaa: user:*", "+subject doc#aaa: doc#aaa"],
        ),
        (doc("relation aaa: user | doc"), doc("relation aaa: doc | user"), &none),
        (doc("relation aaa: user"), doc("/* x */\nrelation aaa: user"), &["comment doc#aaa: /* x */"]),
        (doc("permission aaa = nil"), doc("// x\npermission aaa = nil"), &["comment doc#aaa: // x"]),
        (doc("permission aaa = nil"), doc("permission aaa = nil + nil"), &["rule doc#aaa"]),
        (doc("permission aaa = nil"), doc("permission aaa: user = nil"), &["rule doc#aaa"]),
        (doc("permission aaa = nil + (nil + nil)"), doc("permission aaa = nil + nil + nil"), &none),
        (doc("relation aaa: user\nrelation bbb: user"), doc("relation bbb: user\nrelation aaa: user"), &none),
        (USER.to_owned(), caveat("abc int", "abc == 1"), &["+caveat cav"]),
        (caveat("abc int", "abc == 1"), USER.to_owned(), &["-caveat cav"]),
        (caveat("abc int", "abc == 1"), caveat("abc int", "abc   == (1)"), &none),
        (caveat("abc int", "abc == 1"), caveat("abc int", "abc == 2"), &["expression cav: abc == 2"]),
        (
            caveat("abc int", "abc != abc"),
            caveat("abc uint", "abc != abc"),
            &["parameter cav(abc int -> uint)"],
        ),
        (
            caveat("abc int, ddd int", "abc == ddd"),
            caveat("abc int, eee list<int>", "abc in eee"),
            &["-parameter cav(ddd int)", "+parameter cav(eee list<int>)", "expression cav: abc in eee"],
        ),
        (caveat("abc int, ddd int", "abc == ddd"), caveat("ddd int, abc int", "abc == ddd"), &none),
        (
            format!("// x\n{}", caveat("abc int", "abc == 1").replace(USER, "")),
            caveat("abc int", "abc == 1").replace(USER, "// y\n"),
            &["comment cav: // y"],
        ),
        (
            doc("relation aaa: user"),
            format!("use expiration\n{}", doc("relation aaa: user with expiration")),
            &["-subject doc#aaa: user", "+subject doc#aaa: user with expiration"],
        ),
    ] {
        assert_eq!(differences(&old, &new), expected, "{old}\n=>\n{new}");
    }
}

/// What is lost, in short.
fn losses(old: &str, new: &str) -> Vec<String> {
    let losses = accepted(old).losses(&accepted(new));
    assert_eq!(losses.is_empty(), losses.shapes.is_empty() && losses.parameters.is_empty());
    let shapes = losses.shapes.iter().map(|shape| {
        let class = &shape.class;
        let kind = match &class.subject {
            SubjectKind::Object => String::new(),
            SubjectKind::Wildcard => ":*".to_owned(),
            SubjectKind::Userset(relation) => format!("#{relation}"),
        };
        let expires = if shape.expiration { " expires" } else { "" };
        format!(
            "{}#{}@{}{kind} {:?}{expires}",
            class.resource_type, class.relation, class.subject_type, shape.caveat
        )
    });
    let parameters = losses.parameters.iter().map(|lost| {
        let new_type = lost.new_type.as_ref().map(ToString::to_string);
        format!("{}({} {} -> {new_type:?})", lost.caveat, lost.parameter, lost.old_type)
    });
    shapes.chain(parameters).collect()
}

#[test]
fn a_change_names_the_relationships_that_it_would_orphan() {
    let head = "use expiration\ncaveat cav(abc int) { abc == 1 }\n".to_owned();
    for (old, new, expected) in [
        (doc("relation aaa: user"), doc("relation aaa: user | user:*\npermission bbb = aaa"), &[][..]),
        (doc("relation aaa: user | user:*"), doc("relation aaa: user"), &["doc#aaa@user:* None"]),
        (doc("relation aaa: user"), doc("permission aaa = nil"), &["doc#aaa@user None"]),
        (
            doc("relation aaa: user | doc#aaa"),
            USER.to_owned(),
            &["doc#aaa@doc#aaa None", "doc#aaa@user None"],
        ),
        (
            head.clone() + &doc("relation aaa: user with cav and expiration | user with cav"),
            head.clone() + &doc("relation aaa: user with expiration | user | user with cav"),
            &["doc#aaa@user Some(\"cav\") expires"],
        ),
        (
            head + &doc("relation aaa: user with cav"),
            doc("relation aaa: user"),
            &["doc#aaa@user Some(\"cav\")"],
        ),
    ] {
        assert_eq!(losses(&old, &new), expected, "{old}\n=>\n{new}");
    }
}

#[test]
fn a_change_names_the_parameters_that_it_would_remove_or_retype() {
    let old = caveat("aaa int, bbb int, ccc int", "aaa == bbb && bbb == ccc");
    let new = caveat("aaa int, bbb uint", "aaa == 1 && bbb == bbb");
    assert_eq!(losses(&old, &new), ["cav(bbb int -> Some(\"uint\"))", "cav(ccc int -> None)"]);
    assert_eq!(losses(&old, USER), [""; 0]);
    assert!(Schema::empty().losses(&accepted(&old)).is_empty());
}
