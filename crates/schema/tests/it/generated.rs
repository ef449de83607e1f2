//! Generated schema texts: what is accepted has one text, and that text means the same.

use proptest::prelude::*;
use proptest::sample::select;

use idhini_schema::Schema;

use super::accepted;

/// Blank or comment, where a token may end.
fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => Just(" "),
        1 => Just("\t "),
        1 => Just(" /* in */ "),
        1 => Just(" // to the end\n"),
        1 => Just(" /*\n * a\n\n b */ "),
        1 => Just("\r\n"),
    ]
}

/// What may stand above something.
fn docs() -> impl Strategy<Value = String> {
    let one = select(vec![
        "",
        "",
        "",
        "// é one\n",
        "//\n",
        "/* two */\n",
        "/** \n * a\n *\n *  b\n */ ",
        "/***/",
        "\n\n",
    ]);
    prop::collection::vec(one, 0..3).prop_map(|parts| parts.concat())
}

fn rule() -> impl Strategy<Value = String> {
    let leaf =
        select(vec!["raa", "rbb", "rcc", "pxx", "nil", "self", "rcc->raa", "rcc.any(pxx)", "rcc.all(nope)"]);
    let leaf = (leaf, gap()).prop_map(|(leaf, gap)| format!("{leaf}{gap}"));
    leaf.prop_recursive(4, 40, 4, |inner| {
        let operator = select(vec!["+", "&", "-"]);
        let chain = (prop::collection::vec(inner.clone(), 2..5), operator.clone(), gap())
            .prop_map(|(terms, operator, gap)| terms.join(&format!("{operator}{gap}")));
        prop_oneof![
            2 => (inner.clone(), gap()).prop_map(|(inner, gap)| format!("({gap}{inner})")),
            2 => chain,
            3 => (inner.clone(), operator, gap(), inner).prop_map(|(a, o, gap, b)| format!("({a}{o}{gap}({b}))")),
        ]
    })
}

fn subjects() -> impl Strategy<Value = String> {
    let base = select(vec!["user", "user:*", "doc", "doc#raa", "doc#pxx", "user#...", "org/team#lead"]);
    let traits =
        select(vec!["", "", " with cav", " with org/cav", " with expiration", " with cav and expiration"]);
    let one = (base, traits, gap()).prop_map(|(base, traits, gap)| format!("{base}{traits}{gap}"));
    prop::collection::hash_set(one, 1..5).prop_map(|set| {
        let mut list: Vec<String> = set.into_iter().collect();
        list.sort();
        list.join("|")
    })
}

fn caveat(name: &'static str) -> impl Strategy<Value = String> {
    let expression = select(vec![
        "abc == 1 && bcd != 'x'",
        "// why\n abc < 3 /* } */ || bcd == \"}\"",
        "(abc + 1) * 2 == 4 ? bcd.startsWith('a') : [1, 2].exists(x, x == abc && bcd == '')",
        "!(abc in [1,2,3]) && {'k': bcd}.k == 'v'",
    ]);
    let parameters = select(vec!["abc int, bcd string", "bcd string,\n // doc\n abc int"]);
    (docs(), parameters, expression)
        .prop_map(move |(docs, p, e)| format!("{docs}caveat {name}({p}) {{\n{e}\n}}\n"))
}

prop_compose! {
    fn schema_text()(
        above in prop::collection::vec(docs(), 9),
        (raa, rbb) in (subjects(), subjects()),
        rules in prop::collection::vec(rule(), 3),
        ends in prop::collection::vec(select(vec!["\n", ";", " // end\n", ";; // after\n", " /* x */\n"]), 6),
        (cav, org_cav) in (caveat("cav"), caveat("org/cav")),
        typed in select(vec!["", ": user", ": user | doc"]),
        (flag, swap, splice) in (select(vec!["", "use typechecking\n"]), any::<bool>(), any::<bool>()),
    ) -> String {
        let [a, b, c, d, e, f, g, h, i] = above.try_into().unwrap_or_default();
        let [ea, eb, ec, ed, ee, ef] = <[&str; 6]>::try_from(ends).unwrap_or_default();
        let [ra, rb, rc] = rules.try_into().unwrap_or_default();
        let tail = format!("{d}permission pyy = {rb}{ec}{e}permission pzz{typed} = {rc}{ed}");
        let (tail, partial) =
            if splice { ("...part\n".to_owned(), format!("{g}partial part {{ {tail} }}\n")) } else { (tail, String::new()) };
        let doc = format!(
            "{a}definition doc {{\n{b}relation raa: {raa}{ea}{c}permission pxx = ({ra}) + (rbb){eb}{tail}{f}relation rbb: {rbb}{ee}relation rcc: doc | org/team{ef}}}\n"
        );
        let others = format!("{h}definition user {{}}\n{i}definition org/team {{\n relation lead: user\n}}\n");
        let blocks = if swap { format!("{doc}{cav}{others}{partial}{org_cav}") } else { format!("{org_cav}{partial}{others}{cav}{doc}") };
        format!("use expiration\nuse self\nuse partial\n{flag}{blocks}")
    }
}

/// How the mistakes that the generator may make begin; any other refusal is a mistake of the parser.
const EXPECTED_MISTAKES: [&str; 5] = [
    "permission `pzz` can hold",
    "an arrow cannot follow",
    "relation `raa` allows",
    "relation `rbb` allows",
    "this rule is nested",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_means_the_same_and_is_a_fixpoint(text in schema_text()) {
        match Schema::parse(&text) {
            Ok(schema) => {
                let canonical = schema.canonical_text();
                let again = accepted(&canonical);
                prop_assert_eq!(&again, &schema, "{}", canonical);
                prop_assert_eq!(again.canonical_text(), canonical);
                prop_assert!(schema.diff(&again).is_empty() && schema.losses(&again).is_empty());
            }
            Err(e) => prop_assert!(EXPECTED_MISTAKES.iter().any(|m| e.message.starts_with(m)), "{}\n{}", e, text),
        }
    }

    #[test]
    fn soup_of_tokens_never_panics_and_errors_point_into_the_text(
        tokens in prop::collection::vec(select(vec![
            "definition ", "doc ", "user ", "{", "}", "relation ", "permission ", ":", "=", "|", "#", "*", "\n", ";", "aaa ",
            "+", "-", "&", "(", ")", "->", ".any(", ".all(", "nil ", "self ", "with ", "and ", "expiration ", "use self\n",
            "use expiration\n", "use partial\n", "partial ", "...", "caveat ", "cav", "(abc int)", "{ abc == 1 }", "import ",
            "\"x\"", "//", "/*", "*/", "é", "/", ",", "\0", "'",
        ]), 0..60)
    ) {
        let text = tokens.concat();
        if let Err(e) = Schema::parse(&text) {
            let lines: Vec<&str> = text.split('\n').collect();
            let line = lines.get(e.line as usize - 1);
            prop_assert!(line.is_some_and(|line| e.column as usize <= line.chars().count() + 1), "{}\n{}", e, text);
        }
    }
}

#[test]
fn most_generated_schemas_are_accepted() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = schema_text();
    let texts = (0..300).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let accepted = texts.filter(|text| Schema::parse(text).is_ok()).count();
    assert!(accepted > 150, "{accepted} of 300");
}
