//! Texts that are, or are not, schemas. Places and outcomes follow SpiceDB 1.54, asked case by case; where this parser
//! accepts more, the test says so.

use super::{accepted, doc, refused_at};

/// The rule as canonical text has it.
fn rule(text: &str) -> String {
    let members =
        format!("relation aaa: user\nrelation bbb: user\nrelation ccc: doc\npermission ppp = {text}");
    let schema = accepted(&format!("use self\n{}", doc(&members)));
    schema.definition("doc").unwrap().permission("ppp").unwrap().expression.to_string()
}

mod rules {
    use super::*;

    #[test]
    fn union_binds_tightest_then_intersection_then_exclusion() {
        for (text, canonical) in [
            ("aaa - bbb + ccc", "aaa - bbb + ccc"),
            ("aaa - (bbb + ccc)", "aaa - bbb + ccc"),
            ("(aaa - bbb) + ccc", "(aaa - bbb) + ccc"),
            ("aaa & bbb + ccc", "aaa & bbb + ccc"),
            ("(aaa & bbb) + ccc", "(aaa & bbb) + ccc"),
            ("aaa + bbb & ccc", "aaa + bbb & ccc"),
            ("aaa + (bbb & ccc)", "aaa + (bbb & ccc)"),
            ("aaa - bbb & ccc", "aaa - (bbb & ccc)"),
            ("aaa & bbb - ccc", "(aaa & bbb) - ccc"),
            ("aaa - bbb - ccc", "(aaa - bbb) - ccc"),
            ("aaa - (bbb - ccc)", "aaa - (bbb - ccc)"),
            ("aaa + (bbb + ccc)", "aaa + bbb + ccc"),
            ("(aaa & bbb) & ccc", "aaa & bbb & ccc"),
            ("aaa - bbb + ccc & nil", "aaa - (bbb + ccc & nil)"),
            ("((((aaa))))", "aaa"),
            ("ccc.any(aaa) + ccc.all(bbb)", "ccc->aaa + ccc.all(bbb)"),
            ("ccc . any ( aaa ) - ccc -> bbb", "ccc->aaa - ccc->bbb"),
            ("self + nil", "self + nil"),
            ("aaa-bbb", "aaa - bbb"),
            // A union of more than names gets parentheses.
            ("aaa & (bbb + (ccc - aaa))", "aaa & (bbb + (ccc - aaa))"),
            ("aaa - (bbb & ccc) + aaa", "aaa - ((bbb & ccc) + aaa)"),
        ] {
            assert_eq!(rule(text), canonical, "{text}");
        }
    }

    #[test]
    fn a_rule_goes_on_after_an_operator_at_the_end_of_a_line() {
        assert_eq!(rule("aaa +\n\n bbb"), "aaa + bbb");
        assert_eq!(rule("\n aaa"), "aaa");
        assert_eq!(rule("ccc->\n bbb"), "ccc->bbb");
    }

    #[test]
    fn a_rule_goes_on_inside_parentheses_and_before_an_operator_where_spicedb_stops() {
        assert_eq!(rule("(aaa\n + bbb\n)"), "aaa + bbb");
        assert_eq!(rule("aaa\n + bbb\n - ccc"), "aaa + bbb - ccc");
        assert_eq!(rule("ccc.all(\naaa\n)"), "ccc.all(aaa)");
    }

    #[test]
    fn mistakes_in_rules_are_found_where_they_are() {
        for (rule, place, fragment) in [
            ("aaa->bbb->ccc", "4:26", "arrows do not chain"),
            ("(aaa + bbb)->ccc", "4:29", "one relation of the same definition"),
            ("aaa.none(bbb)", "4:22", "expected `any` or `all`"),
            ("aaa.all()", "4:26", "found `)`, expected the name"),
            ("aaa.all(bbb, ccc)", "4:29", "expected `)`"),
            ("nil->aaa", "4:21", "`nil` leads nowhere"),
            ("aaa +", "5:1", "found `}`, expected a relation, a permission"),
            ("+ aaa", "4:18", "found `+`"),
            ("aaa bbb", "4:22", "or the end of the member"),
            ("()", "4:19", "found `)`"),
            ("aaa->nil", "4:23", "keyword"),
            ("aaa | bbb", "4:22", "found `|`"),
            ("aaa, bbb", "4:21", "found `,`"),
            ("aaa#bbb", "4:21", "found `#`"),
            ("!aaa", "4:18", "`!` has no meaning"),
            ("aaa->", "5:1", "found `}`"),
            ("vv", "4:18", "3 to 64 characters"),
            ("é", "4:18", "not a relation or permission name"),
            ("\"aaa\"", "4:18", "found `\"aaa\"`"),
            ("\"aaa", "4:18", "never closed"),
            ("aaa \\", "4:22", "`\\` has no meaning"),
            ("aaa--bbb", "4:22", "found `-`"),
            ("(aaa", "5:1", "expected `)`"),
            ("aaa)", "4:21", "found `)`"),
            ("", "5:1", "found `}`"),
        ] {
            let e =
                refused_at(&doc(&format!("relation aaa: user\npermission ppp = {rule}")), place, fragment);
            assert!(!e.is_type_error, "{e}");
        }
    }
}

mod layout {
    use super::*;

    #[test]
    fn a_newline_or_a_semicolon_ends_a_member() {
        for members in [
            "relation aaa: user\nrelation bbb: user",
            "relation aaa: user; relation bbb: user;",
            "relation aaa: user;; relation bbb: user\r\n",
            "relation aaa: user |\n user:*\nrelation bbb:\n user",
            "; relation aaa: user // x\n\trelation bbb: user /* y */",
        ] {
            assert_eq!(accepted(&doc(members)).definition("doc").unwrap().relations.len(), 2, "{members}");
        }
        refused_at(&doc("relation aaa: user relation bbb: user"), "3:20", "newline or `;`");
    }

    #[test]
    fn a_brace_ends_a_member_and_may_open_on_its_own_line_where_spicedb_stops() {
        accepted(
            "definition user {} definition doc\n{ relation aaa: user permission }"
                .replace(" permission", "")
                .as_str(),
        );
        accepted("definition user {};definition doc { relation aaa: user; permission ppp = aaa };");
    }

    #[test]
    fn nothing_and_comments_alone_are_the_empty_schema() {
        for text in ["", " \n\t\r\n", "// nothing", "/* nothing */", ";", "\u{feff}"] {
            assert!(accepted(text).is_empty(), "{text}");
            assert_eq!(accepted(text).canonical_text(), "");
        }
    }

    #[test]
    fn places_count_characters_and_lines_of_every_system() {
        refused_at("// ünï\r\ndefinition doc {\r\n /* é日 */ relation aaa: ?\r\n}", "3:25", "`?`");
        refused_at("\u{feff}definition ?", "1:12", "`?`");
        refused_at("definition", "1:11", "the end of the text");
    }

    #[test]
    fn mistakes_in_blocks_are_found_where_they_are() {
        for (text, place, fragment) in [
            ("foo", "1:1", "expected `definition`, `caveat` or `use`"),
            ("definition user {", "1:17", "never closed"),
            ("definition user", "1:16", "expected `{`"),
            ("definition relation {}", "1:12", "keyword"),
            ("definition do {}", "1:12", "not a type name"),
            ("definition Doc {}", "1:12", "not a type name"),
            ("definition 1doc {}", "1:12", "not a type name"),
            ("definition aaa/ /bbb {}", "1:17", "found `/`"),
            ("definition /aaa {}", "1:12", "found `/`"),
            ("definition doc-c {}", "1:15", "expected `{`"),
            ("definition user {}\ndefinition user {}", "2:12", "already taken"),
            ("definition user { foo }", "1:19", "expected `relation`, `permission` or `}`"),
            ("definition user { relation aa: user\n}", "1:28", "3 to 64"),
            ("definition user { relation aaa/bbb: user\n}", "1:31", "expected `:`"),
            ("definition user { relation aaa\n}", "2:1", "expected `:`"),
            ("definition user { relation aaa: \n}", "2:1", "the name of a subject type"),
            ("definition user { relation aaa: user | \n}", "2:1", "the name of a subject type"),
            ("definition user { relation aaa: user:foo\n}", "1:38", "expected `*`"),
            ("definition user { relation aaa: user:*#bbb\n}", "1:39", "end of the member"),
            ("definition user { relation aaa: user, user\n}", "1:37", "end of the member"),
            ("definition user { relation aaa: (user)\n}", "1:33", "found `(`"),
            ("definition user { permission aaa\n}", "2:1", "expected `=`"),
            ("definition user { permission aaa: = nil\n}", "1:35", "the name of a subject type"),
            ("definition user { permission aaa: user:* = nil\n}", "1:39", "expected `=`"),
            ("definition user {} /* open", "1:20", "never closed"),
            ("definition user {}\0", "1:19", "U+0000"),
            ("definition\u{a0}user {}", "1:11", "U+00A0"),
        ] {
            let e = refused_at(text, place, fragment);
            assert!(!e.is_type_error, "{e}");
        }
    }

    #[test]
    fn names_may_be_as_long_as_the_api_allows_and_no_longer() {
        let segment = "a".repeat(64);
        accepted(&format!("definition {segment} {{\n relation {segment}: {segment}\n}}"));
        accepted(&format!("definition {}/{segment} {{}}", &segment[1..]));
        for text in [
            format!("definition a{segment} {{}}"),
            format!("definition {segment}/{segment} {{}}"),
            format!("definition user {{ relation a{segment}: user\n}}"),
            format!("caveat {segment}/{segment}(abc int) {{ abc == 1 }}"),
        ] {
            assert!(super::super::refused(&text).message.len() < 300, "{text}");
        }
    }
}

mod flags {
    use super::*;

    #[test]
    fn flags_make_keywords_and_without_them_the_words_are_names() {
        accepted("definition use {}\ndefinition import {}\ndefinition self { relation and: self }");
        accepted(&doc("relation expiration: user\npermission self = expiration\npermission partial = self"));
        for (flag, word) in [
            ("expiration", "expiration"),
            ("expiration", "and"),
            ("self", "self"),
            ("partial", "partial"),
            ("import", "import"),
            ("typechecking", "typechecking"),
        ] {
            let text = format!("use {flag}\ndefinition {word} {{}}");
            assert!(!refused_at(&text, "2:12", "keyword").is_type_error);
        }
    }

    #[test]
    fn flags_come_first_and_are_known() {
        accepted(
            "use expiration use self; use self\nuse typechecking use partial use import definition user {}",
        );
        refused_at("use foo", "1:5", "`typechecking`");
        refused_at("definition user {}\nuse self", "2:1", "move it up");
    }

    #[test]
    fn what_needs_a_flag_is_refused_without_it() {
        for (text, place, fragment, is_type_error) in [
            (doc("relation aaa: user with expiration"), "3:25", "put `use expiration`", true),
            (doc("permission aaa = self"), "3:18", "put `use self`", true),
            ("partial aaa {}".to_owned(), "1:1", "put `use partial`", false),
            (doc("...aaa"), "3:1", "put `use partial`", false),
            ("import \"a.zed\"".to_owned(), "1:1", "put `use import`", false),
            ("use import\nimport \"a.zed\"".to_owned(), "2:1", "a server reads no files", false),
        ] {
            assert_eq!(refused_at(&text, place, fragment).is_type_error, is_type_error, "{text}");
        }
    }

    #[test]
    fn a_caveat_stands_before_an_expiration() {
        let head = "use expiration\ncaveat cav(abc int) { abc == 1 }\n";
        for traits in ["cav", "expiration", "cav and expiration"] {
            let schema = accepted(&(head.to_owned() + &doc(&format!("relation aaa: user with {traits}"))));
            assert!(schema.canonical_text().contains(&format!("user with {traits}\n")));
        }
        let with = |traits: &str| head.to_owned() + &doc(&format!("relation aaa: user with {traits}"));
        refused_at(&with("expiration and cav"), "5:36", "the caveat comes first");
        refused_at(&with("cav and cav"), "5:33", "expected `expiration`");
        let without = doc("relation aaa: user with expiration") + "caveat expiration(abc int) { abc == 1 }";
        accepted(&without);
    }
}

mod partials {
    use super::*;

    fn with_partials(text: &str) -> String {
        format!("use partial\ndefinition user {{}}\n{text}")
    }

    #[test]
    fn splices_stand_for_the_members_of_partials_in_their_place() {
        let schema = accepted(&with_partials(
            "definition doc {\n relation aaa: user\n // dropped\n ...one\n relation zzz: user\n}\n\
             partial one {\n // kept\n relation mmm: user\n ... two\n}\npartial two { permission bbb = aaa }",
        ));
        let text = "definition doc {\n\trelation aaa: user\n\n\t// kept\n\trelation mmm: user\n\tpermission bbb = aaa\n\trelation zzz: user\n}";
        assert!(schema.canonical_text().contains(text), "{}", schema.canonical_text());
    }

    #[test]
    fn cycles_unknown_and_duplicate_partials_are_refused() {
        for (text, place, fragment, is_type_error) in [
            ("partial aaa { ...bbb }\npartial bbb { ...aaa }", "4:18", "contains itself", true),
            ("partial aaa { ...aaa }", "3:18", "contains itself", true),
            ("definition doc { ...bbb }", "3:21", "no partial `bbb`", false),
            ("partial aaa { ...bbb }", "3:18", "no partial `bbb`", false),
            ("partial user {}", "3:9", "already taken", false),
            ("partial aaa {}\npartial aaa {}", "4:9", "already taken", false),
            (
                "partial aaa { relation bbb: user }\ndefinition doc { ...aaa\n...aaa }",
                "3:24",
                "two members",
                true,
            ),
        ] {
            assert_eq!(
                refused_at(&with_partials(text), place, fragment).is_type_error,
                is_type_error,
                "{text}"
            );
        }
    }
}

mod caveats {
    use super::*;

    #[test]
    fn bodies_may_hold_braces_strings_and_comments() {
        for body in [
            "{'a': abc}['a'] == 1",
            "{'}': abc}['}'] == 1 // }\n /* } */ && abc == 1",
            "\"\\\"}\" == 'x' && abc == 1",
            "abc == 1 ||\n  '''\n}\n''' == 'x'",
            "r'\\' == 'x' && abc == 1",
            "[1, 2].all(x, x > abc)",
            "\n\n  abc == 1\n\n",
        ] {
            accepted(&format!("caveat cav(abc int) {{{body}}}\ndefinition user {{}}"));
        }
    }

    #[test]
    fn parameters_are_sorted_and_their_names_are_those_of_the_expression_language() {
        let text = "caveat Cav/x(b_ map<list<map<any>>>,\n A int , _c  list < string >\n) { A == 1 && size(b_) == 1 && size(_c) == 0 }";
        let canonical = accepted(text).canonical_text();
        assert!(
            canonical.starts_with("caveat Cav/x(A int, _c list<string>, b_ map<list<map<any>>>) {\n"),
            "{canonical}"
        );
    }

    #[test]
    fn mistakes_in_caveats_are_found_where_they_are() {
        for (text, place, fragment, is_type_error) in [
            ("caveat cav() { true }", "1:12", "at least one", false),
            ("caveat cav(abc int,) { abc == 1 }", "1:20", "expected a parameter", false),
            ("caveat cav(abc: int) { abc == 1 }", "1:15", "the type of parameter `abc`", false),
            ("caveat cav(abc foo) { abc == 1 }", "1:16", "`foo` is not a parameter type", false),
            ("caveat cav(abc list) { abc == 1 }", "1:16", "`list` is not a parameter type", false),
            ("caveat cav(abc int<int>) { abc == 1 }", "1:16", "`int<int>` is not", false),
            ("caveat cav(abc map<string, int>) { true }", "1:26", "take one type", false),
            ("caveat cav(1bc int) { true }", "1:12", "not a parameter's name", false),
            ("caveat cav(with int) { true }", "1:12", "keyword", false),
            ("caveat cav(abc int, abc string) { abc == 1 }", "1:21", "declared twice", false),
            ("caveat cav(abc int, xyz int) {\n abc == 1\n}", "1:21", "not used", true),
            ("caveat cav(abc int) { }", "1:22", "no expression", false),
            ("caveat cav(abc int) { /* x */ }", "1:22", "no expression", false),
            ("caveat cav(abc int)", "1:20", "expected `{`", false),
            ("caveat cav(abc int) { abc == 1", "1:21", "never closed", false),
            ("caveat cav(abc int) { 'x", "1:23", "never closed", false),
            ("caveat cav(abc int) { abc == 1 }\ndefinition cav {}", "2:12", "already taken", false),
        ] {
            assert_eq!(refused_at(text, place, fragment).is_type_error, is_type_error, "{text}");
        }
    }

    #[test]
    fn mistakes_in_expressions_are_found_on_their_own_line_and_column() {
        for (text, line, columns) in [
            ("caveat cav(abc int) { nope == 1 }", 1, 23..=27),
            ("caveat cav(abc int) {\n /* é */ nope == 1\n}", 2, 10..=14),
            ("caveat cav(abc int) {\n abc == 1 &&\n   nope\n}", 3, 4..=8),
            ("caveat cav(abc int) {\n abc\n}", 2, 2..=5),
        ] {
            let e = super::super::refused(text);
            assert!(e.line == line && columns.contains(&e.column) && !e.is_type_error, "{e}\n{text}");
            assert!(e.message.contains("caveat `cav`"), "{e}");
        }
    }
}

mod comments {
    use super::*;

    #[test]
    fn comments_stay_with_what_they_speak_of() {
        let text = "// dropped: above a flag\nuse self // dropped\n\n/* the\n   users */\n///  users\ndefinition user {} // of us\n\n\
            //   caveat\ncaveat cav(/* abc */ abc int) { // body\n abc == 1 }\n\
            definition doc { // docs\n relation aaa: user // first\n  // second\n\n  /** third */\n relation bbb: user | // user\n   user:*; // fourth\n\
            permission ppp = (aaa // left\n  + self)\n // last\n}\n// dropped: at the end";
        let canonical = "use self\n\n// caveat\n// abc\n// body\ncaveat cav(abc int) {\n\tabc == 1\n}\n\n\
            // docs\n// last\ndefinition doc {\n\t// first\n\trelation aaa: user\n\n\
            \t// second\n\t/** third */\n\t// user\n\t// fourth\n\trelation bbb: user | user:*\n\n\
            \t// left\n\tpermission ppp = aaa + self\n}\n\n/*\n * the\n * users\n */\n/// users\n// of us\ndefinition user {}"
            .replace("// abc", "/* abc */").replace("/// users", "///  users");
        let schema = accepted(text);
        assert_eq!(schema.canonical_text(), canonical);
        assert_eq!(accepted(&canonical), schema);
        assert_eq!(schema.caveat_comments("cav"), ["// caveat", "/* abc */", "// body"]);
    }

    #[test]
    fn odd_comments_have_one_form() {
        for (text, canonical) in [
            ("//", "//"),
            ("//x", "// x"),
            ("/**/", "/* */"),
            ("/***/", "/** */"),
            ("/*\n\n*/", "/* */"),
            ("/* a /* b // c */", "/* a /* b // c */"),
            ("// a /* b", "// a /* b"),
            ("/**\r\n * a\r\n *\r\n *  b\r\n */", "/**\n * a\n *\n * b\n */"),
            ("/*a\n*/", "/*\n * a\n */"),
        ] {
            let expected = format!("{canonical}\ndefinition user {{}}");
            let schema = accepted(&format!("{text}\ndefinition user {{}}"));
            assert_eq!(schema.canonical_text(), expected, "{text}");
            assert_eq!(accepted(&expected), schema, "{text}");
        }
    }
}
