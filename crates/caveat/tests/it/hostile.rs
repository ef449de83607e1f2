//! Can a text or a context from outside break anything?

#![allow(clippy::disallowed_methods, reason = "that nothing hangs is measured by the clock")]

use super::{ask, compile, context, evaluate, say};
use idhini_caveat::{Budget, Caveat, EXPRESSION_CHARS_MAX, EvaluationError};
use idhini_model::Context;
use std::time::{Duration, Instant};

/// The stack that a worker may be left with; a release build needs a third of it.
const STACK_BYTES: usize = 1536 << 10;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).unwrap().join().unwrap();
}

/// Texts that grow with `n` in every direction that the grammar has.
fn shapes(n: usize) -> Vec<(&'static str, String)> {
    let list = |part: &str, separator: &str| vec![part; n].join(separator);
    vec![
        ("parentheses", "(".repeat(n) + "c" + &")".repeat(n)),
        ("open parentheses", "(".repeat(n)),
        ("lists", "[".repeat(n) + &"]".repeat(n) + " == []"),
        ("open lists", "[".repeat(n)),
        ("maps", "{'a':".repeat(n) + "1" + &"}".repeat(n) + " == {}"),
        ("calls", "dyn(".repeat(n) + "c" + &")".repeat(n) + " == c"),
        ("nots", "!".repeat(n) + "c"),
        ("nested nots", "!(".repeat(n) + "c" + &")".repeat(n)),
        ("negations", "-".repeat(n) + "a == 1"),
        ("nested negations", "-(".repeat(n) + "a" + &")".repeat(n) + " == 1"),
        ("fields", format!("m{} == 1", ".x".repeat(n))),
        ("indexes", format!("m{} == 1", "['x']".repeat(n))),
        ("methods", format!("s{}", ".size()".repeat(n))),
        ("conditions to the right", "c ? c : ".repeat(n) + "c"),
        ("conditions to the left", "(".repeat(n) + "c" + &" ? c : c)".repeat(n)),
        ("nested macros", "[1].all(x, ".repeat(n) + "c" + &")".repeat(n)),
        ("chained macros", format!("[1]{} == [1]", ".map(x, x)".repeat(n))),
        ("disjunction", list("c", " || ")),
        ("conjunction", list("c", " && ")),
        ("alternating", "c || c && (".repeat(n) + "c" + &")".repeat(n)),
        ("sum", list("a", " + ") + " == 1"),
        ("product", list("a", " * ") + " == 1"),
        ("sum to the right", "a + (".repeat(n) + "a" + &")".repeat(n) + " == 1"),
        ("equalities", list("c", " == ")),
        ("elements", format!("a in [{}]", list("a", ", "))),
        ("entries", format!("m == {{{}}}", list("'k': 1", ", "))),
        ("arguments", format!("size({}) == 1", list("a", ", "))),
        ("string", format!("s == '{}'", "x".repeat(n))),
        ("escapes", format!("s == '{}'", "\\n".repeat(n))),
        ("digits", format!("a == {}", "9".repeat(n))),
        ("name", format!("{} == 1", "n".repeat(n))),
        ("comments", "//\n".repeat(n) + "c"),
        ("blanks", " \t\n".repeat(n) + "c"),
        ("quotes", "'".repeat(n)),
        ("backslashes", format!("'{}", "\\".repeat(n))),
        ("not ASCII", "é".repeat(n)),
        ("groups", format!("s.matches('{}{}')", "(".repeat(n), ")".repeat(n))),
        ("classes", format!("s.matches('{}')", "[".repeat(n))),
        ("repetitions", format!("s.matches('a{}')", "{2}".repeat(n))),
        ("alternatives", format!("s.matches('{}')", list("a", "|"))),
    ]
}

#[test]
fn no_shape_of_text_overflows_the_stack_or_hangs() {
    on_a_small_stack(|| {
        let request = context(r#"{"a": 1, "c": true, "s": "aaaa", "m": {"x": 1}}"#);
        for n in [1, 10, 100, 240, 260, 1_000, 20_000, 99_990] {
            for (name, text) in shapes(n) {
                let begun = Instant::now();
                if let Ok(caveat) = compile("a int, c bool, s string, m map<any>", &text) {
                    let _ = evaluate(&caveat, &Context::default(), &request);
                    let _ = evaluate(&caveat, &Context::default(), &Context::default());
                    let again = Caveat::compile("cav", caveat.parameters().to_vec(), caveat.expression());
                    assert_eq!(
                        again.map(|c| c.expression().to_owned()).as_deref(),
                        Ok(caveat.expression()),
                        "{name} {n}"
                    );
                }
                assert!(begun.elapsed() < Duration::from_secs(20), "{name} {n} took {:?}", begun.elapsed());
            }
        }
    });
}

#[test]
fn the_deepest_expression_is_accepted_and_evaluated() {
    on_a_small_stack(|| {
        // The alternation goes down two levels at a time.
        for (name, text) in shapes(240).into_iter().filter(|(name, _)| *name != "alternating").take(24) {
            let refused = compile("a int, c bool, s string, m map<any>", &text).err();
            let deep_enough = refused.as_ref().is_none_or(|error| !error.message.contains("nested deeper"));
            assert!(deep_enough, "{name}: {refused:?}");
        }
        let deepest = "[".repeat(248) + "c" + &"]".repeat(248) + " == []";
        assert!(compile("c any", &deepest).is_ok());
        assert!(
            compile("c any", &deepest.replace('c', "[[c]]")).unwrap_err().message.contains("nested deeper")
        );
    });
}

#[test]
fn a_hundred_thousand_characters_are_accepted_and_one_more_is_not() {
    let long = format!("c{}", " || c".repeat(EXPRESSION_CHARS_MAX / 5 - 1));
    assert_eq!(ask("c bool", &long, r#"{"c": false}"#), "false");
    let full = long.clone() + &" ".repeat(EXPRESSION_CHARS_MAX - long.len());
    assert!(compile("c bool", &full).is_ok());
    let error = compile("c bool", &(full + " ")).unwrap_err();
    assert!(error.message.contains("100000 characters"));
    // Characters, not bytes.
    let wide = format!("s == '{}'", "é".repeat(EXPRESSION_CHARS_MAX - 7));
    assert!(compile("s string", &wide).is_ok());
}

#[test]
fn budgets_stop_nested_loops_promptly() {
    let items: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    let request = context(&format!(r#"{{"l": [{}]}}"#, items.join(",")));
    for expression in [
        "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))",
        "l.map(a, l.map(b, l.map(c, a + b + c))).size() == 0",
        "l.exists(a, l.exists(b, a in l && b in l && a + b < 0))",
        "l.all(a, l == l && l + l == l + l)",
        "l.filter(a, l.filter(b, b == a) == [a]) == l",
        "l.all(a, {'l': l} == {'l': l})",
        "l.all(a, {'l': {'l': l}}.isSubtreeOf({'l': {'l': l}}))",
        "l.all(a, string(a).matches(string(a) + '.*'))",
    ] {
        let caveat = compile("l list<int>", expression).unwrap();
        let mut budget = Budget { steps: 100_000, bytes: 1 << 30 };
        let begun = Instant::now();
        let outcome = caveat.evaluate(&Context::default(), &request, &mut budget);
        assert!(matches!(outcome, Err(EvaluationError::Budget { .. })), "{expression}: {outcome:?}");
        assert_eq!(budget.steps, 0);
        assert!(begun.elapsed() < Duration::from_secs(2), "{expression}: {:?}", begun.elapsed());
    }
}

#[test]
fn budgets_stop_values_that_grow() {
    let double = |n: usize| (0..n).fold("s".to_owned(), |inner, _| format!("[{inner}].map(x, x + x)[0]"));
    let request = context(r#"{"s": "0123456789"}"#);
    let caveat = compile("s string", &format!("size({}) == 0", double(60))).unwrap();
    let mut budget = Budget { steps: u64::MAX, bytes: 1 << 20 };
    let outcome = caveat.evaluate(&Context::default(), &request, &mut budget);
    assert!(matches!(outcome, Err(EvaluationError::Budget { .. })), "{outcome:?}");
    assert_eq!(budget.bytes, 0);
}

#[test]
fn budgets_fall_and_are_charged_on_errors_too() {
    let caveat = compile("n int", "1 / n == 1").unwrap();
    let mut budget = Budget { steps: 100, bytes: 100 };
    assert!(caveat.evaluate(&Context::default(), &context(r#"{"n": 0}"#), &mut budget).is_err());
    assert!((1..100).contains(&budget.steps));
    let before = budget;
    assert!(caveat.evaluate(&Context::default(), &context(r#"{"n": "x"}"#), &mut budget).is_err());
    assert!(budget.steps < before.steps);
    let mut empty = Budget { steps: 0, bytes: 0 };
    assert_eq!(say(caveat.evaluate(&Context::default(), &Context::default(), &mut empty)), "budget");
}

#[test]
fn patterns_from_outside_take_linear_time_and_bounded_memory() {
    let text = "a".repeat(4_000) + "b";
    for pattern in [
        "(a+)+$",
        "(a|a)*c",
        "(a|aa)+c",
        "(.*a){20}c",
        "(x+x+)+y",
        "((a{0,100}){0,100}){0,100}",
        "\\\\pL{900}",
    ] {
        let begun = Instant::now();
        let request = format!(r#"{{"s": "{text}", "p": "{pattern}"}}"#);
        let answer = ask("s string, p string", "s.matches(p)", &request);
        assert!(["true", "false", "error", "budget"].contains(&answer.as_str()), "{pattern}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{pattern}: {:?}", begun.elapsed());
    }
    // A pattern that is large once compiled costs a schema nothing.
    let large: Vec<&str> = vec!["s.matches('\\\\pL{900}')"; 3_000];
    let begun = Instant::now();
    assert_eq!(ask("s string", &large.join(" || "), r#"{"s": "a"}"#), "budget");
    assert_eq!(ask("s string", large[0], r#"{"s": "a"}"#), "error");
    assert_eq!(ask("s string", "s.matches('^\\\\pL{2}$')", r#"{"s": "éλ"}"#), "true");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Compiling is charged, so that a loop over patterns ends.
    let many: Vec<String> = (0..1_000).map(|i| format!("\"a{i}{{1,9}}\"")).collect();
    let request = format!(r#"{{"s": "a", "l": [{}]}}"#, many.join(","));
    assert_eq!(ask("s string, l list<string>", "l.exists(p, s.matches(p))", &request), "budget");
}

/// What a fuzzer would feed: anything compiles or is refused, and evaluates or fails, without panic.
#[test]
fn pieces_of_the_language_in_any_order_do_no_harm() {
    const PIECES: &[&str] = &[
        "a",
        "c",
        "s",
        "m",
        "l",
        "x",
        "1",
        "0",
        "1u",
        "1.5",
        "'x'",
        "b'x'",
        "r'\\d'",
        "true",
        "null",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "?",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        " in ",
        ".all(x, ",
        ".exists(x, ",
        ".map(x, ",
        ".filter(x, ",
        "has(m.x)",
        ".size()",
        "size(",
        "string(",
        "int(",
        ".matches(",
        ".?x",
        "[?0]",
        "optional.of(",
        "duration('1h')",
        "timestamp(0)",
        "\"",
        "'",
        "\\",
        "\n",
        "é",
        "//",
        "_",
        "0x",
        "e5",
        "9999999999999999999",
        "dyn(",
        "type(",
        ".getHours(",
        "google.protobuf.Timestamp",
        "b\"\"\"",
        ".orValue(",
        ".optMap(x, ",
        "= ",
        "&",
        "|",
    ];
    on_a_small_stack(|| {
        let request = context(r#"{"a": 1, "s": "x", "m": {"x": [1]}}"#);
        let mut random = super::generate::Random::new(7);
        let mut accepted = 0;
        for _ in 0..60_000 {
            let length = 1 + random.below(12);
            let text: String = (0..length).map(|_| PIECES[random.below(PIECES.len())]).collect();
            let Ok(caveat) = compile("a int, c bool, s string, m map<any>, l list<int>", &text) else {
                continue;
            };
            accepted += 1;
            let mut budget = Budget { steps: 10_000, bytes: 100_000 };
            let _ = caveat.evaluate(&Context::default(), &request, &mut budget);
            let again = Caveat::compile("cav", caveat.parameters().to_vec(), caveat.expression()).unwrap();
            assert_eq!(again, caveat, "{text}");
        }
        assert!(accepted >= 100, "only {accepted} texts were accepted");
    });
}
