//! What do operators, functions and macros answer when everything is known?

use super::ask;

/// Rows of `outcome expression`; `#` begins a remark.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(|l| {
        let (outcome, expression) = l.split_once(' ').expect("`outcome expression`");
        (outcome, expression.trim())
    })
}

fn hold(text: &str, wrap: impl Fn(&str) -> String, declared: &str, request: &str) -> usize {
    let wrong: Vec<String> = rows(text)
        .filter_map(|(outcome, expression)| {
            let answer = ask(declared, &wrap(expression), request);
            (answer != outcome).then(|| format!("{expression}: {answer} instead of {outcome}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rows(text).count()
}

#[test]
fn agrees_with_what_spicedb_answered() {
    let count = hold(
        include_str!("../rows/as_spicedb.txt"),
        |expression| format!("a && ({expression})"),
        "a bool",
        r#"{"a": true}"#,
    );
    assert!(count >= 300);
}

#[test]
fn differs_from_spicedb_where_that_was_decided() {
    hold(
        r#"
        # SpiceDB rounds both to doubles first.
        false   9007199254740993 == dyn(9007199254740992.0)
        true    9007199254740993 > dyn(9007199254740992.0)
        # SpiceDB: out of range, though it is not.
        true    int(-9223372036854775808.0) == -9223372036854775808
        # SpiceDB asks its machine's own zone: nodes would differ.
        error   timestamp(0).getHours('Local') == 0
        # SpiceDB accepts these in a schema, and fails on some of them when asked.
        refused 'a'.matches('(')
        refused {1.5: 1} == {}
        refused {null: 1}.size() == 1
        refused duration(1) == duration('1ns')
        refused google.protobuf.Duration{seconds: 1} == duration('1s')
        # SpiceDB's subtrees know neither lists nor numbers of unlike types.
        true    {'a': [1, 2]}.isSubtreeOf({'a': [1, 2], 'b': 1})
        false   {'a': [1]}.isSubtreeOf({'a': [1, 2]})
        true    {'a': dyn(1)}.isSubtreeOf({'a': dyn(1.0)})
        "#,
        str::to_owned,
        "",
        "{}",
    );
}

#[test]
fn numbers_that_cannot_be_are_errors() {
    hold(
        "
        error 9223372036854775807 + 1 == 0
        error -9223372036854775808 - 1 == 0
        error 9223372036854775807 * 2 == 0
        error -9223372036854775808 / -1 == 0
        error -9223372036854775808 % -1 == 0
        error -(-9223372036854775808) == 0
        error 18446744073709551615u + 1u == 0u
        error 0u - 1u == 0u
        error 18446744073709551615u * 2u == 0u
        error 1 / 0 == 0
        error 1 % 0 == 0
        error 1u / 0u == 0u
        error 1u % 0u == 0u
        true  7 / -2 == -3 && -7 / 2 == -3 && -7 % 2 == -1 && 7 % -2 == 1
        error 0.0 / 0.0 < 1.0
        error !(1.0 >= 0.0 / 0.0)
        true  0.0 / 0.0 != 0.0 / 0.0
        true  1.0 / 0.0 > 1e308 && -1.0 / 0.0 < -1e308
        error duration('2562047h') + duration('2562047h') == duration('0')
        error timestamp('9999-12-31T23:59:59Z') + duration('1s') == timestamp(0)
        error timestamp('0001-01-01T00:00:00Z') - duration('1ns') == timestamp(0)
        error timestamp('9999-01-01T00:00:00Z') - timestamp('0001-01-01T00:00:00Z') == duration('0')
        ",
        str::to_owned,
        "",
        "{}",
    );
}

/// Which pairs of types an operator takes; `.` is refused.
#[test]
fn operators_take_the_pairs_of_types_that_the_definition_lists() {
    const TYPES: [(&str, &str); 12] = [
        ("bool", "true"),
        ("int", "7"),
        ("uint", "7u"),
        ("double", "7.0"),
        ("string", "'x'"),
        ("bytes", "b'x'"),
        ("duration", "duration('1s')"),
        ("timestamp", "timestamp(7)"),
        ("list", "[1]"),
        ("map", "{'x': 1}"),
        ("null", "null"),
        ("type", "int"),
    ];
    // By operator: the pairs that are taken.
    let taken: [(&str, &[(&str, &str)]); 7] = [
        (
            "+",
            &[
                ("int", "int"),
                ("uint", "uint"),
                ("double", "double"),
                ("string", "string"),
                ("bytes", "bytes"),
                ("list", "list"),
                ("duration", "duration"),
                ("timestamp", "duration"),
                ("duration", "timestamp"),
            ],
        ),
        (
            "-",
            &[
                ("int", "int"),
                ("uint", "uint"),
                ("double", "double"),
                ("duration", "duration"),
                ("timestamp", "duration"),
                ("timestamp", "timestamp"),
            ],
        ),
        ("*", &[("int", "int"), ("uint", "uint"), ("double", "double")]),
        ("/", &[("int", "int"), ("uint", "uint"), ("double", "double")]),
        ("%", &[("int", "int"), ("uint", "uint")]),
        (
            "<",
            &[
                ("bool", "bool"),
                ("int", "int"),
                ("uint", "uint"),
                ("double", "double"),
                ("string", "string"),
                ("bytes", "bytes"),
                ("duration", "duration"),
                ("timestamp", "timestamp"),
            ],
        ),
        ("in", &[("int", "list"), ("string", "map")]),
    ];
    let mut count = 0;
    for (operator, pairs) in taken {
        for (left_type, left) in TYPES {
            for (right_type, right) in TYPES {
                let expected = pairs.contains(&(left_type, right_type));
                let arithmetic = !matches!(operator, "<" | "in");
                let expression = match arithmetic {
                    true => format!("type({left} {operator} {right}) != null_type"),
                    false => format!("{left} {operator} {right} || true"),
                };
                assert_eq!(ask("", &expression, "{}") != "refused", expected, "{expression}");
                // Behind dyn, the same pairs are found out in evaluation; and some that only types kept apart.
                let open = match arithmetic {
                    true => format!("type(dyn({left}) {operator} dyn({right})) != null_type"),
                    false => format!("dyn({left}) {operator} dyn({right}) || false"),
                };
                let numbers = ["int", "uint", "double"];
                let lenient = match operator {
                    "<" => numbers.contains(&left_type) && numbers.contains(&right_type),
                    "in" => matches!(right_type, "list" | "map"),
                    _ => false,
                };
                assert_eq!(ask("", &open, "{}") != "error", expected || lenient, "{open}");
                count += 2;
            }
        }
    }
    assert_eq!(count, 7 * 144 * 2);
}

#[test]
fn equality_needs_one_type_unless_it_is_open() {
    hold(
        "
        refused 1 == 1u
        refused 1 == 1.0
        refused 1 == '1'
        refused [1] == ['1']
        refused {'a': 1} == {'a': '1'}
        refused 1 == null
        true    timestamp(0) != null && duration('0') != null
        true    dyn(1) == 1u && dyn(1) == 1.0 && dyn(1u) == 1.0
        false   dyn(1) == '1'
        false   dyn(1) == true
        true    [1, 'a', null] == [1, 'a', null]
        false   [1, 2] == [2, 1]
        true    {'a': 1, 'b': 2} == {'b': 2, 'a': 1}
        true    {1: 'a'} == {1: 'a'}
        true    {dyn(1): 'a'} == {dyn(1u): 'a'}
        false   {'a': 1} == {'a': 1, 'b': 2}
        true    [] == [] && {} == {}
        true    [[]] == [[]]
        true    b'a' == bytes('a')
        true    'e\\u0301' != '\\u00e9'
        ",
        str::to_owned,
        "",
        "{}",
    );
}

#[test]
fn macros_go_through_lists_and_the_keys_of_maps() {
    hold(
        "
        true    [].all(x, 1 / 0 == x)
        false   [].exists(x, 1 / 0 == x)
        false   [].exists_one(x, 1 / 0 == x)
        true    [1, 2, 3].all(x, x > 0)
        false   [1, 2, 3].all(x, x > 1)
        # One element decides, whatever the others fail with.
        false   [0, 1].all(x, 1 / x == 2)
        error   [0, 1].all(x, 1 / x == 1)
        true    [0, 1].exists(x, 1 / x == 1)
        error   [0, 1].exists(x, 1 / x == 2)
        # The others are strict in every element.
        error   [0, 1].exists_one(x, 1 / x == 1)
        error   [0, 1].filter(x, 1 / x == 1) == [1]
        error   [0, 1].map(x, 1 / x) == [1]
        true    [1, 1, 2].exists_one(x, x == 2)
        false   [1, 1, 2].exists_one(x, x == 1)
        true    [1, 2, 3].map(x, x * 2) == [2, 4, 6]
        true    [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]
        true    [1, 2, 3].filter(x, x != 2) == [1, 3]
        true    {'b': 1, 'a': 2}.map(k, k) == ['a', 'b']
        true    {'b': 1, 'a': 2}.filter(k, {'b': 1, 'a': 2}[k] == 2) == ['a']
        true    {'a': 1}.all(k, k == 'a') && {'a': 1}.exists(k, k == 'a') && {'a': 1}.exists_one(k, k == 'a')
        true    [[1, 2], [3]].all(x, x.all(y, y > 0))
        true    [1, 2].map(x, [10, 20].map(y, x * y)) == [[10, 20], [20, 40]]
        # The innermost variable hides the others.
        true    [1].all(x, [2].all(x, x == 2) && x == 1)
        refused [1].all(x, true) && x == 1
        refused 1.all(x, true)
        refused [1].all(1, true)
        refused [1].all(x, x)
        refused [1].all(x)
        refused [1].filter(x, 1) == [1]
        refused [1].map(x, 1, x) == [1]
        error   dyn(1).all(x, true)
        error   [dyn(1)].all(x, x)
        error   [dyn(1)].filter(x, x) == []
        error   [dyn(1)].map(x, x, x) == []
        ",
        str::to_owned,
        "",
        "{}",
    );
}

#[test]
fn a_macros_variable_hides_a_parameter_and_a_leading_dot_finds_it() {
    assert_eq!(ask("x int", "[1].all(x, x == 1)", "{}"), "true");
    assert_eq!(ask("x int", "[1].all(x, .x == 2 && x == 1)", r#"{"x": 2}"#), "true");
    assert_eq!(ask("x int", "[1].all(y, .x == 2)", "{}"), "x");
}

#[test]
fn optionals_say_whether_something_is_there() {
    hold(
        "
        true    {'a': 1}.?a.hasValue() && !{'a': 1}.?b.hasValue()
        true    {'a': 1}.?b.orValue(7) == 7
        true    {'a': 1}.?a.orValue(1 / 0) == 1
        error   {'a': 1}.?b.orValue(1 / 0) == 1
        true    {'a': {'b': 1}}.?a.b.value() == 1
        false   {'a': {'b': 1}}.?x.b.hasValue()
        true    [1][?0] == optional.of(1) && [1][?1] == optional.none() && [1][?-1] == optional.none()
        true    optional.none().or(optional.of(1)).value() == 1
        true    optional.of(2).optMap(x, x * 2).value() == 4
        false   optional.of(2).optMap(x, [x]).optMap(x, x[?1]).value().hasValue()
        true    [?optional.of(1), ?optional.none(), 2] == [1, 2]
        true    {?'a': optional.of(1), ?'b': optional.none()} == {'a': 1}
        true    optional.ofNonZeroValue(1).hasValue() && !optional.ofNonZeroValue(0).hasValue()
        true    has({'a': {'b': 1}}.?a.b)
        error   optional.none().value() == 1
        refused optional.of(1) == 1
        refused optional.of(1).or(2) == optional.of(1)
        refused optional.of(1).orValue('x') == 1
        refused optional.of() == optional.none()
        refused [?1] == [1]
        refused 1.optMap(x, x) == 1
        ",
        str::to_owned,
        "",
        "{}",
    );
}

#[test]
fn addresses_are_in_networks_of_their_own_version() {
    for (network, address, outcome) in [
        ("10.0.0.0/8", "10.255.0.1", "true"),
        ("10.0.0.0/8", "11.0.0.1", "false"),
        ("10.1.2.3/8", "10.255.0.1", "true"),
        ("0.0.0.0/0", "255.255.255.255", "true"),
        ("1.2.3.4/32", "1.2.3.4", "true"),
        ("1.2.3.4/32", "1.2.3.5", "false"),
        ("1.2.0.0/16", "::ffff:1.2.3.4", "false"),
        ("::ffff:1.2.0.0/112", "::ffff:1.2.3.4", "true"),
        ("::/0", "1.2.3.4", "false"),
        ("::/0", "fe80::1", "true"),
        ("::/0", "fe80::1%eth0", "false"),
        ("2001:db8::/33", "2001:db8:7fff::1", "true"),
        ("2001:db8::/33", "2001:db8:8000::1", "false"),
        ("::1/128", "::1", "true"),
        ("10.0.0.0", "10.0.0.0", "error"),
        ("10.0.0.0/33", "10.0.0.0", "error"),
        ("10.0.0.0/08", "10.0.0.0", "error"),
        ("10.0.0.0/+8", "10.0.0.0", "error"),
        ("010.0.0.0/8", "10.0.0.0", "error"),
        ("10.0.0.0/8 ", "10.0.0.0", "error"),
        ("::/129", "::1", "error"),
        ("", "::1", "error"),
    ] {
        let request = format!(r#"{{"ip": "{address}", "net": "{network}"}}"#);
        assert_eq!(
            ask("ip ipaddress, net string", "ip.in_cidr(net)", &request),
            outcome,
            "{address} {network}"
        );
    }
    assert_eq!(ask("a ipaddress, b ipaddress", "a == b", r#"{"a": "::1", "b": "0:0::1"}"#), "true");
    assert_eq!(
        ask("a ipaddress, b ipaddress", "a == b", r#"{"a": "fe80::1", "b": "fe80::1%eth0"}"#),
        "false"
    );
    assert_eq!(ask("a ipaddress", "a < a", "{}"), "refused");
    assert_eq!(ask("a any", "a.in_cidr('::/0')", r#"{"a": "::1"}"#), "error");
}

#[test]
fn a_subtree_is_found_whole_in_the_other_map() {
    for (a, b, outcome) in [
        ("{}", "{}", "true"),
        ("{}", r#"{"x": 1}"#, "true"),
        (r#"{"x": 1}"#, "{}", "false"),
        (r#"{"x": 1}"#, r#"{"x": 1, "y": 2}"#, "true"),
        (r#"{"x": 1}"#, r#"{"x": 2}"#, "false"),
        (r#"{"x": {"y": 1}}"#, r#"{"x": {"y": 1, "z": 2}}"#, "true"),
        (r#"{"x": {"y": {"z": 1}}}"#, r#"{"x": {"y": {"w": 1}}}"#, "false"),
        (r#"{"x": {}}"#, r#"{"x": {"y": 1}}"#, "true"),
        (r#"{"x": {}}"#, r#"{"x": 1}"#, "false"),
        (r#"{"x": 1}"#, r#"{"x": {}}"#, "false"),
        (r#"{"x": null}"#, r#"{"x": null}"#, "true"),
        (r#"{"x": null}"#, "{}", "false"),
        (r#"{"x": [{"a": 1}]}"#, r#"{"x": [{"a": 1, "b": 1}]}"#, "false"),
        (r#"{"x": [1, 2]}"#, r#"{"x": [1, 2]}"#, "true"),
    ] {
        let request = format!(r#"{{"a": {a}, "b": {b}}}"#);
        assert_eq!(ask("a map<any>, b map<any>", "a.isSubtreeOf(b)", &request), outcome, "{a} {b}");
    }
    assert_eq!(ask("a list<any>", "a.isSubtreeOf(a)", "{}"), "refused");
    assert_eq!(ask("", "{1: 1}.isSubtreeOf({1: 1})", "{}"), "refused");
    assert_eq!(ask("a any", "a.isSubtreeOf({'x': 1})", r#"{"a": 1}"#), "error");
}

#[test]
fn uint_parameters_go_with_both_kinds_of_integers() {
    for expression in
        ["n == 1", "n == 1u", "n < 2", "n < 2u", "n in [1]", "n in [1u]", "int(n) + 1 == 2", "n + 1u == 2u"]
    {
        assert_eq!(ask("n uint", expression, r#"{"n": 1}"#), "true", "{expression}");
    }
    // As with SpiceDB: accepted, and of no value.
    assert_eq!(ask("n uint", "n + 1 == 2", r#"{"n": 1}"#), "error");
    assert_eq!(ask("n uint", "n == 1.0", r#"{"n": 1}"#), "refused");
    assert_eq!(ask("n list<uint>", "n == [1]", r#"{"n": [1]}"#), "true");
    assert_eq!(ask("n uint, m uint", "n + m == 3 && n - m < 0", r#"{"n": 1, "m": 2}"#), "error");
}

#[test]
fn patterns_are_those_of_re2() {
    hold(
        r"
        true    'abc'.matches('b')
        true    matches('abc', '^a.c$')
        false   'a\n'.matches('a$')
        true    'a\nb'.matches('(?m)a$')
        false   'é'.matches('^\\w$')
        true    'é'.matches('^\\W$')
        false   '١'.matches('\\d')
        true    'é'.matches('^.$')
        true    'é'.matches('^[^a]$')
        true    'x-y'.matches('^[a\\-z]-[-y]$') == false
        true    '-'.matches('^[a-]$') && '-'.matches('^[-a]$') && ','.matches('^[+--]$')
        true    '['.matches('^[[]$') && ']'.matches('^[]]$') && '^'.matches('^[a^]$')
        true    'a&'.matches('^[a&&b]+$') && 'b'.matches('^[a&&b]$')
        true    'a.b'.matches('^\\Qa.b\\E$') && !'axb'.matches('^\\Qa.b\\E$')
        true    'a'.matches('^\\141$') && 'a'.matches('^\\x61$') && 'a'.matches('^\\x{61}$')
        true    'É'.matches('(?i)^é$') && 'λ'.matches('^\\p{Greek}$') && 'a'.matches('^\\pL$')
        true    'x{'.matches('^x{$') && 'x{,2}'.matches('^x{,2}$') && 'xx'.matches('^x{2}$')
        true    'a b'.matches('\\bb\\b') && !'éb'.matches('^\\Bb')
        true    '<'.matches('^\\<$') && '#'.matches('^\\#$')
        refused 'a'.matches('(?=a)')
        refused 'a'.matches('(a)\\1')
        refused 'a'.matches('a**')
        refused 'a'.matches('[a-\\d]')
        refused 'a'.matches('(?x)a')
        refused 'a'.matches('a{1001}')
        refused 'a'.matches('\\')
        refused 'a'.matches('[a')
        ",
        str::to_owned,
        "",
        "{}",
    );
    assert_eq!(ask("p string", "'abc'.matches(p)", r#"{"p": "("}"#), "error");
    assert_eq!(ask("p string", "'abc'.matches(p)", r#"{"p": "^a"}"#), "true");
}
