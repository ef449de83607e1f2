//! Texts that nobody writes in good faith: answered with an error or a schema, in linear time, without a panic.

use std::fmt::Write as _;

use idhini_schema::{ARROW_STEPS_MAX, EXPRESSION_DEPTH_MAX, SCHEMA_BYTES_MAX, Schema};

use super::{accepted, doc, refused, refused_at};

#[test]
fn nesting_is_bounded() {
    let nested =
        |depth: usize| doc(&format!("permission aaa = {}nil{}", "(".repeat(depth), ")".repeat(depth)));
    accepted(&nested(EXPRESSION_DEPTH_MAX as usize));
    refused_at(&nested(EXPRESSION_DEPTH_MAX as usize + 1), "3:118", "nested deeper");
    refused_at(&nested(1_000_000), "3:118", "nested deeper");
    let excluded = |count: usize| doc(&format!("permission aaa = nil{}", " - nil".repeat(count)));
    accepted(&excluded(EXPRESSION_DEPTH_MAX as usize));
    assert!(refused(&excluded(500_000)).message.contains("nested deeper"));
    let types = format!("caveat cav(abc {}int{}) {{ true }}", "list<".repeat(500_000), ">".repeat(500_000));
    refused_at(&types, "1:16", "nested deeper");
    let body = format!("caveat cav(abc int) {{ {}abc{} }}", "(".repeat(1_000_000), ")".repeat(1_000_000));
    refused(&body);
    refused(&format!("caveat cav(abc int) {{ {}", "{".repeat(1_000_000)));
}

#[test]
fn a_long_union_is_one_node() {
    let schema = accepted(&doc(&format!("permission aaa = nil{}", " + nil".repeat(200_000))));
    assert!(schema.canonical_text().len() > 1_200_000);
}

#[test]
fn texts_over_the_limit_are_refused_and_garbage_under_it_is_too() {
    refused_at(&" ".repeat(SCHEMA_BYTES_MAX + 1), "1:1", "at most 4194304");
    for piece in [
        "(",
        "{",
        "\"",
        "'",
        "/*",
        "//",
        "a",
        "é",
        "definition ",
        "\n",
        "->",
        "...",
        "\0",
        "\u{10ffff}",
        "use self\n",
    ] {
        let _ = Schema::parse(&piece.repeat(SCHEMA_BYTES_MAX / piece.len()));
        let inside = format!("use partial\ndefinition aaa {{\n{}", piece.repeat(1_000_000 / piece.len()));
        assert!(refused(&inside).message.len() < 500, "{piece}");
    }
}

#[test]
fn canonical_text_of_an_accepted_schema_is_never_too_long_to_be_read_again() {
    // Each `|` grows by two spaces, so a text below the limit can have a canonical text above it.
    let mut text = "definition aaa {}\n".to_owned();
    for number in 0..SCHEMA_BYTES_MAX / 48 {
        let _ = write!(text, "definition d{number:06}{{relation aaa:aaa|aaa:*}}");
    }
    assert!(text.len() < SCHEMA_BYTES_MAX);
    assert!(refused(&text).message.contains("canonical text"));
    let comments = format!("/*{}*/definition aaa {{}}", "a\n".repeat(SCHEMA_BYTES_MAX / 2 - 100));
    assert!(refused(&comments).message.contains("canonical text"));
}

#[test]
fn every_cut_and_every_changed_byte_of_a_schema_is_answered() {
    let text = "use expiration\n/* x */\ncaveat cav(abc list<int>) { abc[0] == 1 && '}' != \"x\" }\ndefinition user {}\n\
        definition doc { // y\n relation aaa: user with cav and expiration | doc#bbb | user:*\n permission bbb = (aaa - nil) & ccc.all(aaa) + ccc->bbb;\n relation ccc: doc }";
    accepted(text);
    for cut in 0..text.len() {
        let _ = Schema::parse(&text[..cut]);
        let _ = Schema::parse(&text[cut..]);
        for replacement in ["}", "{", "\"", "(", "é", "\n", "/", "-", " "] {
            let _ = Schema::parse(&format!("{}{replacement}{}", &text[..cut], &text[cut + 1..]));
        }
    }
}

#[test]
fn partials_cannot_be_a_bomb() {
    // Each level splices the one below twice; not one member is needed to make that exponential.
    let mut text = "use partial\npartial p00 {}\n".to_owned();
    for level in 1..60 {
        let _ = writeln!(text, "partial p{level:02} {{\n...p{:02}\n...p{:02}\n}}", level - 1, level - 1);
    }
    refused_at(
        &format!("{text}definition doc {{\n...p59\n}}"),
        &format!("{}:12", 2 + 1 + 59 * 4),
        "come to more than",
    );
    let wide = format!("use partial\npartial ppp {{\n{}}}\n", relations(20_000));
    let mut copies = wide;
    for number in 0..100 {
        let _ = writeln!(copies, "definition d{number:03} {{\n...ppp\n}}");
    }
    assert!(refused(&copies).message.contains("come to more than"));
}

#[test]
fn a_chain_of_partials_as_long_as_the_text_is_followed() {
    let mut text = "use partial\ndefinition doc {\n...p00000\n}\n".to_owned();
    for level in 0..50_000 {
        let _ = writeln!(text, "partial p{level:05} {{\n...p{:05}\n}}", level + 1);
    }
    accepted(&format!("{text}partial p50000 {{\npermission aaa = nil\n}}"));
}

#[test]
fn arrows_cannot_multiply_without_bound() {
    let mut text = String::new();
    let mut types = Vec::new();
    for number in 0..2_000 {
        let _ = writeln!(text, "definition t{number:04} {{\npermission ttt = nil\n}}");
        types.push(format!("t{number:04}"));
    }
    let _ = write!(text, "definition doc {{\nrelation rel: {}\n", types.join(" | "));
    let arrows = ARROW_STEPS_MAX / 2_000;
    for number in 0..arrows {
        let _ = writeln!(text, "permission p{number:04} = rel->ttt");
    }
    accepted(&format!("{text}}}"));
    assert!(
        refused(&format!("{text}permission last = rel->ttt\n}}")).message.contains("arrows lead to more")
    );
}

#[test]
fn long_chains_of_aliases_and_wildcards_are_linear() {
    let mut text =
        "definition user {}\ndefinition doc {\nrelation r00000: user:*\npermission p00000 = r00000\n"
            .to_owned();
    for number in 1..30_000 {
        let _ = writeln!(text, "relation r{number:05}: doc#r{:05}", number - 1);
        let _ = writeln!(text, "permission p{number:05} = p{:05}", number - 1);
    }
    let schema = accepted(&format!("{text}}}"));
    assert_eq!(schema.computable("user", None).unwrap().len(), 60_000);
    assert_eq!(schema.dependencies("doc", "p29999").unwrap().len(), 30_000);
}

fn relations(count: usize) -> String {
    (0..count).fold(String::new(), |mut out, number| {
        let _ = writeln!(out, "relation r{number:05}: nope");
        out
    })
}
