//! Which values does a context give, and which are refused?

use super::{ask, compile, context, evaluate, say};
use idhini_caveat::{Caveat, CaveatType, EvaluationError, StoredContextError};
use idhini_model::{Context, ContextValue};

/// Evaluates `v == expected` for a parameter of a type; `ill-typed` if the value is refused.
fn given(value_type: &str, json: &str, test: &str) -> String {
    ask(&format!("v {value_type}"), test, &format!(r#"{{"v": {json}}}"#))
}

#[test]
fn values_convert_by_the_declared_type() {
    for (value_type, json, test) in [
        ("int", "1", "v == 1"),
        ("int", "-1.0", "v == -1"),
        ("int", "\"12\"", "v == 12"),
        ("int", "\"+12\"", "v == 12"),
        ("int", "\"1.0\"", "v == 1"),
        ("int", "\"1.5e1\"", "v == 15"),
        ("int", "\"150e-1\"", "v == 15"),
        ("int", "\"9223372036854775807\"", "v == 9223372036854775807"),
        ("int", "\"-9223372036854775808\"", "v == -9223372036854775808"),
        ("int", "9007199254740992", "v == 9007199254740992"),
        ("int", "-0.0", "v == 0"),
        ("uint", "1", "v == 1u"),
        ("uint", "\"18446744073709551615\"", "v == 18446744073709551615u"),
        ("double", "1", "v == 1.0"),
        ("double", "\"1.5\"", "v == 1.5"),
        ("double", "\"1e300\"", "v == 1e300"),
        ("bool", "true", "v"),
        ("string", "\"é\"", "v == 'é' && size(v) == 1"),
        ("bytes", "\"\"", "v == b''"),
        ("bytes", "\"eA==\"", "v == b'x'"),
        ("bytes", "\"eHg=\"", "v == b'xx'"),
        ("bytes", "\"eHh4\"", "v == b'xxx'"),
        ("bytes", "\"+/+/\"", "v == b'\\xfb\\xff\\xbf'"),
        ("duration", "\"1h30m\"", "v == duration('5400s')"),
        ("duration", "\"-1.5s\"", "v == duration('-1500ms')"),
        ("duration", "\"1µs\"", "v == duration('1000ns')"),
        ("duration", "\".5s\"", "v == duration('500ms')"),
        ("duration", "\"0.1h\"", "v == duration('6m')"),
        ("duration", "\"0\"", "v == duration('0s')"),
        ("timestamp", "\"1970-01-01T00:00:01Z\"", "v == timestamp(1)"),
        ("timestamp", "\"1970-01-01T01:00:00+01:00\"", "v == timestamp(0)"),
        ("timestamp", "\"1970-01-01T00:00:00.5Z\"", "v - timestamp(0) == duration('500ms')"),
        ("timestamp", "\"1970-01-01T00:00:00.0000000019Z\"", "v - timestamp(0) == duration('1ns')"),
        ("timestamp", "\"2024-02-29T00:00:00Z\"", "v.getDayOfYear() == 59"),
        ("list<int>", "[1, \"2\"]", "v == [1, 2]"),
        ("list<list<bytes>>", "[[\"eA==\"], []]", "v == [[b'x'], []]"),
        ("map<duration>", "{\"a\": \"1s\"}", "v.a == duration('1s')"),
        ("any", "1", "v == 1 && type(v) == double"),
        ("any", "null", "v == null"),
        ("any", "[1, \"a\", {\"b\": [true]}]", "v[2].b[0] == true"),
        ("map<any>", "{\"a\": {\"b\": null}}", "has(v.a.b) && v.a.b == null"),
    ] {
        assert_eq!(given(value_type, json, test), "true", "{value_type} {json} {test}");
    }
}

#[test]
fn values_of_another_type_are_refused() {
    for (value_type, values) in [
        (
            "int",
            "1.5 true null [] {} \"\" \"x\" \"1_0\" \"0x1\" \"1e\" \"1.5\" \"9223372036854775808\" 1e19 1e300 \"1e99\" \"1e999999999999\"",
        ),
        ("uint", "-1 \"-1\" 1.5 \"18446744073709551616\" 1e20 null"),
        ("double", "\"x\" \"NaN\" \"inf\" \"1e400\" \"\" \".\" true null"),
        ("bool", "1 \"true\" null"),
        ("string", "1 true null []"),
        ("bytes", "\"eA\" \"e\" \"eHg-\" \"====\" \"e===\" \"eA=A\" 1 null"),
        (
            "duration",
            "90 \"90\" \"1d\" \"\" \"-\" \"1h_30m\" \"PT1H\" \".s\" \"2562048h\" \"99999999999999999999s\" null",
        ),
        (
            "timestamp",
            "5 \"\" \"2020-01-01\" \"2020-01-01T00:00:00\" \"2020-01-01t00:00:00z\" \"2023-02-29T00:00:00Z\" \"2020-01-01T24:00:00Z\" \"2020-01-01T23:59:60Z\" \"2020-13-01T00:00:00Z\" \"2020-01-01T00:00:00.Z\" \"2020-01-01T00:00:00+24:00\" \"0000-01-01T00:00:00Z\" \"0001-01-01T00:00:00+01:00\" null",
        ),
        ("ipaddress", "1 \"\" \"1.2.3\" \"01.2.3.4\" \"1.2.3.4/8\" \"1.2.3.4%eth0\" \"::1%\" null"),
        ("list<int>", "{} \"x\" [1.5] [null] [[1]] null"),
        ("map<int>", "[] \"x\" {\"a\":1.5} {\"a\":null} null"),
        ("map<list<string>>", "{\"a\":\"x\"} {\"a\":[1]}"),
    ] {
        for value in values.split_whitespace() {
            assert_eq!(given(value_type, value, "v == v"), "ill-typed", "{value_type} {value}");
            let caveat = compile(&format!("v {value_type}"), "v == v").unwrap();
            let stored = context(&format!(r#"{{"v": {value}}}"#));
            assert!(
                matches!(caveat.check_stored(&stored), Err(StoredContextError::IllTyped { .. })),
                "{value_type} {value}"
            );
        }
    }
}

#[test]
fn a_refusal_names_the_parameter_what_was_expected_and_what_came() {
    let caveat = compile("ages map<list<int>>", "size(ages) == 0").unwrap();
    let refused =
        evaluate(&caveat, &Context::default(), &context(r#"{"ages": {"ann": [1, "old"]}}"#)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "parameter `ages` of caveat `cav`: entry `ann`: element 1: expected an int (a whole number of 64 bits, or one \
         as a decimal string), but the string \"old\" came"
    );
    let stored = caveat.check_stored(&context(r#"{"size": 1}"#)).unwrap_err();
    assert_eq!(stored.to_string(), "caveat `cav` has no parameter `size`");
}

#[test]
fn stored_values_win_and_what_they_hide_is_not_looked_at() {
    let caveat = compile("a int, b int", "a == 1 && b == 2").unwrap();
    let answer = |stored: &str, request: &str| say(evaluate(&caveat, &context(stored), &context(request)));
    assert_eq!(answer(r#"{"a": 1}"#, r#"{"a": 7, "b": 2}"#), "true");
    assert_eq!(answer(r#"{"a": 7}"#, r#"{"a": 1}"#), "false");
    assert_eq!(answer(r#"{"a": 1}"#, r#"{"a": "ill", "b": 2}"#), "true");
    assert_eq!(answer("{}", r#"{"a": "ill", "b": 7}"#), "ill-typed");
    assert_eq!(answer(r#"{"a": 1, "b": 2}"#, "{}"), "true");
}

#[test]
fn unknown_request_keys_are_ignored_and_unknown_stored_keys_refused() {
    let caveat = compile("a int", "a == 1").unwrap();
    assert_eq!(say(evaluate(&caveat, &Context::default(), &context(r#"{"b": "x"}"#))), "a");
    assert_eq!(
        caveat.check_stored(&context(r#"{"b": 1}"#)),
        Err(StoredContextError::UnknownParameter { caveat: "cav".to_owned(), parameter: "b".to_owned() })
    );
    assert_eq!(caveat.check_stored(&Context::default()), Ok(()));
}

#[test]
fn an_ill_typed_request_fails_whatever_else_is_known() {
    let caveat = compile("done bool, n int", "done || n == 1").unwrap();
    let refused = evaluate(&caveat, &context(r#"{"done": true}"#), &context(r#"{"n": "x"}"#));
    assert!(matches!(refused, Err(EvaluationError::IllTyped { parameter, .. }) if parameter == "n"));
}

#[test]
fn a_context_nested_too_deep_is_refused() {
    let nest = |depth| (0..depth).fold(ContextValue::Null, |inner, _| ContextValue::List(vec![inner]));
    let caveat = compile("v any", "v == v").unwrap();
    let with = |depth| Context([("v".to_owned(), nest(depth))].into());
    assert_eq!(say(evaluate(&caveat, &Context::default(), &with(32))), "true");
    assert_eq!(say(evaluate(&caveat, &Context::default(), &with(33))), "ill-typed");
    assert!(caveat.check_stored(&with(2_000)).is_err());
    // So deep a value cannot even be dropped by the ordinary way of all libraries; it is taken apart by hand.
    let mut deep = with(2_000).0.remove("v");
    while let Some(ContextValue::List(mut items)) = deep {
        deep = items.pop();
    }
}

#[test]
fn types_print_as_they_are_read() {
    for text in [
        "any",
        "bool",
        "string",
        "int",
        "uint",
        "double",
        "bytes",
        "duration",
        "timestamp",
        "ipaddress",
        "list<int>",
        "map<list<any>>",
    ] {
        assert_eq!(text.parse::<CaveatType>().unwrap().to_string(), text);
    }
    assert_eq!(" list < int > ".parse::<CaveatType>().unwrap().to_string(), "list<int>");
    for text in [
        "",
        "Int",
        "list",
        "list<>",
        "list<int",
        "int<int>",
        "list<int,int>",
        "map<string, int>",
        "list<int>>",
    ] {
        assert!(text.parse::<CaveatType>().is_err(), "{text}");
    }
    let deep = "list<".repeat(10_000) + "int" + &">".repeat(10_000);
    assert!(deep.parse::<CaveatType>().is_err());
}

#[test]
fn parameters_have_names_of_their_own() {
    assert!(compile("int int", "int == 1").is_err());
    assert!(compile("map map<int>", "map.a == 1").is_err());
    let twice = compile("a int, a int", "a == 1").unwrap_err();
    assert!(twice.message.contains("twice"));
    assert_eq!(ask("size int", "size == 1 && size([]) == 0", r#"{"size": 1}"#), "true");
    assert_eq!(ask("google map<any>", "google.protobuf == 1", r#"{"google": {"protobuf": 1}}"#), "true");
}

#[test]
fn used_parameters_are_those_that_the_expression_reads() {
    let used = |declared: &str, expression: &str| -> Vec<String> {
        let caveat: Caveat = compile(declared, expression).unwrap();
        caveat.used_parameters().into_iter().map(str::to_owned).collect()
    };
    assert_eq!(used("a int, b int", "a == 1"), ["a"]);
    assert_eq!(used("a int, b int", "[1].all(a, a == b)"), ["b"]);
    assert_eq!(used("a int, b int", "[1].all(a, .a == b) || true"), ["a", "b"]);
    assert!(used("a int", "true").is_empty());
}
