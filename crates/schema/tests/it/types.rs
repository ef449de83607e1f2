//! Texts that parse: do they make sense? Outcomes follow SpiceDB 1.54, asked case by case.

use super::{accepted, doc, refused, refused_at};

/// Refused as a type error.
fn senseless(text: &str, place: &str, fragment: &str) {
    assert!(refused_at(text, place, fragment).is_type_error, "{text}");
}

#[test]
fn what_is_named_must_exist() {
    senseless(&doc("relation aaa: nope"), "3:15", "no definition `nope`");
    senseless(&doc("relation aaa: user#nope"), "3:20", "no relation or permission `nope`");
    senseless(&doc("relation aaa: user with nope"), "3:25", "no caveat `nope`");
    senseless(&doc("permission aaa = nil + nope"), "3:24", "no relation or permission `nope`");
    senseless(&doc("permission aaa = nil & nope->bbb"), "3:24", "no relation or permission `nope`");
    accepted(&doc("relation aaa: user\npermission bbb = aaa->nope"));
    accepted(&doc("relation aaa: doc#...\npermission bbb = aaa.all(nope)"));
}

#[test]
fn members_and_alternatives_stand_once() {
    senseless(&doc("relation aaa: user\nrelation aaa: user"), "4:10", "two members");
    senseless(&doc("relation aaa: user\npermission aaa = nil"), "4:12", "two members");
    senseless(&doc("relation aaa: user | user"), "3:22", "`user` twice");
    senseless(&doc("relation aaa: user | user#..."), "3:22", "`user` twice");
    senseless(&doc("relation aaa: user:* | doc | user:*"), "3:30", "`user:*` twice");
    senseless(&doc("relation aaa: doc#aaa | doc#aaa"), "3:25", "`doc#aaa` twice");
    let caveat = "caveat cav(abc int) { abc == 1 }";
    senseless(
        &(doc("relation aaa: user with cav | user with cav") + caveat),
        "3:31",
        "`user with cav` twice",
    );
    accepted(&(doc("relation aaa: user with cav | user | user:* with cav | user:*") + caveat));
}

#[test]
fn the_left_side_of_an_arrow_is_a_relation() {
    senseless(
        &doc("relation aaa: doc\npermission bbb = aaa\npermission ccc = nil - bbb->aaa"),
        "5:24",
        "is a permission",
    );
}

#[test]
fn permissions_that_only_name_each_other_are_refused_and_others_may_recur() {
    senseless(&doc("permission aaa = aaa"), "3:12", "only refers to itself");
    senseless(&doc("permission aaa = (aaa)"), "3:12", "only refers to itself");
    senseless(&doc("permission aaa = bbb\npermission bbb = aaa"), "3:12", "only refers to itself");
    senseless(
        &doc("permission aaa = bbb\npermission bbb = ccc\npermission ccc = bbb"),
        "4:12",
        "only refers",
    );
    for rule in ["aaa + rel", "aaa & rel", "rel - aaa", "aaa - rel", "aaa + aaa", "rec->aaa", "rec.all(aaa)"]
    {
        accepted(&doc(&format!("relation rel: user\nrelation rec: doc\npermission aaa = {rule}")));
    }
    accepted(&doc(
        "relation rel: user\npermission aaa = bbb\npermission bbb = ccc + rel\npermission ccc = bbb",
    ));
}

mod wildcards {
    use super::*;

    const USER: &str = "definition user {}\n";

    #[test]
    fn an_arrow_over_a_relation_that_includes_one_is_refused() {
        for rule in ["aaa->bbb", "aaa.all(bbb)", "nil - aaa.any(bbb)"] {
            let text = doc(&format!("relation aaa: doc | user:*\npermission ppp = {rule}"));
            assert!(
                super::super::refused(&text).message.contains("includes the wildcard `user:*`"),
                "{text}"
            );
        }
        senseless(&doc("relation aaa: doc:*\npermission ppp = aaa->aaa"), "4:18", "wildcard `doc:*`");
        // By way of a userset of the same definition.
        senseless(
            &doc("relation aaa: user:*\nrelation bbb: doc#aaa\npermission ppp = bbb->aaa"),
            "5:18",
            "wildcard `user:*`",
        );
    }

    #[test]
    fn an_earlier_arrow_over_a_relation_of_the_same_name_hides_nothing() {
        // SpiceDB accepts the first of these orders and refuses the second.
        let plain = "definition doc {\n relation parent: doc\n permission view = parent->view\n}\n";
        let wild = "definition folder {\n relation parent: doc:*\n permission view = parent->view\n}\n";
        senseless(&format!("{plain}{wild}"), "7:20", "includes the wildcard `doc:*`");
        senseless(&format!("{wild}{plain}"), "3:20", "includes the wildcard `doc:*`");
    }

    #[test]
    fn a_userset_of_another_definition_that_includes_one_is_refused() {
        let group = "definition group {\n relation aaa: group#bbb\n relation bbb: group#ccc\n relation ccc: user:*\n}\n";
        for relation in ["aaa", "bbb", "ccc"] {
            let text = format!("{USER}{group}definition doc {{\n relation xxx: group#{relation}\n}}");
            senseless(&text, "8:16", "wildcards are not transitive");
        }
        // The same name of relation on both sides does not hide it.
        let text = format!(
            "{USER}definition team {{ relation aaa: user:* }}\ndefinition doc {{ relation aaa: team#aaa }}"
        );
        senseless(&text, "3:32", "includes the wildcard `user:*`");
    }

    #[test]
    fn a_userset_of_the_same_definition_or_of_a_permission_is_accepted() {
        accepted(&format!("{USER}definition group {{\n relation member: user:* | group#member\n}}"));
        accepted(&format!(
            "{USER}definition group {{\n relation aaa: user:* | group#bbb\n relation bbb: group#aaa\n}}"
        ));
        accepted(&format!(
            "{USER}definition group {{ relation open: user:*\n permission member = open\n}}\ndefinition doc {{ relation aaa: group#member }}"
        ));
    }
}

mod declared_types {
    use super::*;

    fn checked(members: &str) -> String {
        format!("use typechecking\n{}definition group {{\n relation member: user | doc\n}}\n", doc(members))
    }

    #[test]
    fn every_type_that_the_rule_can_reach_must_be_declared() {
        for rule in [
            "rel",
            "rel & usr",
            "usr - rel",
            "usr + grp",
            "fol->member",
            "other",
            "nil + (usr & fol.all(member))",
        ] {
            let members = format!(
                "relation usr: user\nrelation rel: doc:*\nrelation grp: group#member\nrelation fol: group\npermission other = rel\npermission ppp: user = {rule}"
            );
            senseless(&checked(&members), "9:12", "subjects of type `doc`, which it does not declare");
            accepted(&checked(&members.replace("ppp: user", "ppp: user | doc")));
        }
        senseless(&format!("use self\n{}", checked("permission ppp: user = self")), "5:12", "type `doc`");
    }

    #[test]
    fn more_may_be_declared_than_is_reached() {
        accepted(&checked("relation usr: user\npermission ppp: user | nope | user = usr"));
        accepted(&checked("permission ppp: user = nil\nrelation rec: doc\npermission qqq: user = rec->qqq"));
    }

    #[test]
    fn declarations_are_kept_and_checked_only_with_the_flag() {
        let members = "relation usr: doc\npermission ppp: user = usr";
        let schema = accepted(&doc(members));
        assert!(schema.canonical_text().contains("permission ppp: user = usr"));
        assert!(!schema.canonical_text().contains("use "));
        assert_eq!(accepted(&schema.canonical_text()), schema);
        let schema = accepted(&checked("relation usr: user\npermission ppp: user = usr"));
        assert!(schema.canonical_text().starts_with("use typechecking\n\n"));
        assert_eq!(accepted(&schema.canonical_text()), schema);
        // A flag that nothing needs is not kept.
        assert!(!accepted(&checked("relation usr: user")).canonical_text().contains("use "));
    }
}

#[test]
fn members_are_found_by_name_and_printed_in_the_order_written() {
    let schema = accepted(
        &doc("relation zzz: user\npermission mmm = zzz\nrelation aaa: user | zed\n").replace("zed", "doc"),
    );
    let definition = schema.definition("doc").unwrap();
    assert_eq!(definition.relation("aaa").unwrap().subjects.len(), 2);
    assert!(definition.permission("mmm").is_some() && definition.permission("aaa").is_none());
    assert!(definition.has_member("zzz") && !definition.has_member("nope"));
    assert_eq!(
        schema.canonical_text(),
        "definition doc {\n\trelation zzz: user\n\tpermission mmm = zzz\n\trelation aaa: user | doc\n}\n\ndefinition user {}"
    );
    assert_eq!(schema.classes().len(), 3);
    assert!(schema.definition("nope").is_none() && schema.caveat("nope").is_none());
}

#[test]
fn a_type_error_names_what_it_is_about_by_the_keys_of_the_api() {
    let user = "definition user {}\n";
    let group = "definition group {\n relation member: user:*\n}\n";
    for (text, names) in [
        (doc("relation usr: nobody"), "definition_name=nobody"),
        (doc("relation usr: user#nothing"), "definition_name=user relation_or_permission_name=nothing"),
        (doc("permission ppp = nothing"), "definition_name=doc relation_or_permission_name=nothing"),
        (doc("permission ppp = nothing->usr"), "definition_name=doc relation_or_permission_name=nothing"),
        (
            doc("relation usr: user\nrelation usr: user"),
            "definition_name=doc relation_or_permission_name=usr",
        ),
        (doc("relation usr: user | user"), "definition_name=doc relation_name=usr allowed_relation=user"),
        (doc("relation usr: user with nothing"), "caveat_name=nothing"),
        (
            doc("relation par: user:*\npermission ppp = par->ppp"),
            "definition_name=doc permission_name=ppp accessed_relation_name=par",
        ),
        (format!("{group}{}", doc("relation usr: group#member")), "definition_name=doc relation_name=usr"),
        (format!("caveat ccc(a int, b int) {{ a > 1 }}\n{user}"), "caveat_name=ccc parameter_name=b"),
        ("definition user {".to_owned(), ""),
    ] {
        let mistake = refused(&text);
        let told: Vec<String> = mistake.names.iter().map(|(key, name)| format!("{key}={name}")).collect();
        assert_eq!(told.join(" "), names, "{text}");
        assert_eq!(mistake.is_type_error, !names.is_empty(), "{text}");
    }
}
