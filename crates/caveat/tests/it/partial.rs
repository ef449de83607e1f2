//! What does an expression say when parameters are missing? CEL's rules for unknowns, as tables.

use super::ask;

/// Operands: true, false, unknown by `x`, unknown by `y`, an error, and a value that is no bool.
const OPERANDS: [(&str, &str); 6] =
    [("T", "t"), ("F", "f"), ("x", "x"), ("y", "y"), ("E", "1 / zero == 1"), ("N", "number")];
const DECLARED: &str = "t bool, f bool, x bool, y bool, zero int, number any";
const KNOWN: &str = r#"{"t": true, "f": false, "zero": 0, "number": 1}"#;

fn outcome(cell: &str) -> String {
    match cell {
        "T" => "true".to_owned(),
        "F" => "false".to_owned(),
        "E" => "error".to_owned(),
        names => names.chars().map(String::from).collect::<Vec<_>>().join(" "),
    }
}

/// Holds a table with a row for each left and a column for each right operand.
fn hold(table: &str, build: impl Fn(&str, &str) -> String) {
    let rows: Vec<Vec<&str>> = table.trim().lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), OPERANDS.len());
    for (row, (_, left)) in rows.iter().zip(OPERANDS) {
        assert_eq!(row.len(), OPERANDS.len());
        for (cell, (_, right)) in row.iter().zip(OPERANDS) {
            let expression = build(left, right);
            assert_eq!(ask(DECLARED, &expression, KNOWN), outcome(cell), "{expression}");
        }
    }
}

#[test]
fn one_false_decides_a_conjunction() {
    let table = "
        T  F  x  y  E  E
        F  F  F  F  F  F
        x  F  x  xy x  x
        y  F  xy y  y  y
        E  F  x  y  E  E
        E  F  x  y  E  E";
    hold(table, |a, b| format!("{a} && {b}"));
    hold(table, |a, b| format!("t && {a} && {b} && t"));
    hold(table, |a, b| format!("[0, 1].all(i, i == 0 ? {a} : {b})"));
}

#[test]
fn one_true_decides_a_disjunction() {
    let table = "
        T  T  T  T  T  T
        T  F  x  y  E  E
        T  x  x  xy x  x
        T  y  xy y  y  y
        T  E  x  y  E  E
        T  E  x  y  E  E";
    hold(table, |a, b| format!("{a} || {b}"));
    hold(table, |a, b| format!("f || {a} || {b} || f"));
    hold(table, |a, b| format!("[0, 1].exists(i, i == 0 ? {a} : {b})"));
}

#[test]
fn only_the_condition_of_an_unknown_condition_is_missing() {
    // Rows are the condition, columns the branch that it takes; the other branch is an error.
    hold(
        "
        T  F  x  y  E  E
        T  F  x  y  E  E
        x  x  x  x  x  x
        y  y  y  y  y  y
        E  E  E  E  E  E
        E  E  E  E  E  E",
        |condition, branch| match condition {
            "f" => format!("({condition} ? 1 / zero == 1 : {branch}) && t"),
            _ => format!("({condition} ? {branch} : 1 / zero == 1) && t"),
        },
    );
}

/// Builds an expression from two operands.
type Form = fn(&str, &str) -> String;

#[test]
fn strict_operations_are_short_of_all_their_operands() {
    // In order: a value, unknown by `x`, unknown by `y`, an error; for both operands.
    let cells = [
        ["value", "x", "y", "error"],
        ["x", "x", "x y", "x"],
        ["y", "x y", "y", "y"],
        ["error", "x", "y", "error"],
    ];
    let declared = "x int, y int, zero int, one int";
    let known = r#"{"zero": 0, "one": 1}"#;
    let operands = ["one", "x", "y", "(1 / zero)"];
    let forms: [(&str, Form); 26] = [
        ("true", |a, b| format!("{a} + {b} == 2")),
        ("true", |a, b| format!("{a} - {b} == 0")),
        ("true", |a, b| format!("{a} * {b} == 1")),
        ("true", |a, b| format!("{a} / {b} == 1")),
        ("true", |a, b| format!("{a} % {b} == 0")),
        ("true", |a, b| format!("{a} == {b}")),
        ("false", |a, b| format!("{a} != {b}")),
        ("false", |a, b| format!("{a} < {b}")),
        ("true", |a, b| format!("{a} <= {b}")),
        ("false", |a, b| format!("{a} > {b}")),
        ("true", |a, b| format!("{a} >= {b}")),
        ("true", |a, b| format!("{a} in [{b}]")),
        ("true", |a, b| format!("[{a}, {b}].size() == 2")),
        ("true", |a, b| format!("{{'a': {a}, 'b': {b}}}.a == 1")),
        ("true", |a, b| format!("{{{a}: {b}}}[1] == 1")),
        ("true", |a, b| format!("[0, {a}][{b}] == 1")),
        ("true", |a, b| format!("-{a} == -{b}")),
        ("true", |a, b| format!("string({a}) + string({b}) == '11'")),
        ("true", |a, b| format!("string({a}).contains(string({b}))")),
        ("true", |a, b| format!("string({a}).matches(string({b}))")),
        ("true", |a, b| format!("[0, 1].map(i, i == 0 ? {a} : {b}) == [1, 1]")),
        ("true", |a, b| format!("[0, 1].filter(i, (i == 0 ? {a} : {b}) == 1) == [0, 1]")),
        ("false", |a, b| format!("[0, 1].exists_one(i, (i == 0 ? {a} : {b}) == 1)")),
        ("true", |a, b| format!("[0, 1].map(i, (i == 0 ? {a} : {b}) == 1, i) == [0, 1]")),
        ("true", |a, b| format!("optional.of({a}) == optional.of({b})")),
        ("true", |a, b| format!("{a} + {b} + one - one == 2")),
    ];
    let mut count = 0;
    for (value, form) in forms {
        for (row, a) in cells.iter().zip(operands) {
            for (cell, b) in row.iter().zip(operands) {
                let expression = form(a, b);
                let expected = if *cell == "value" { value } else { cell };
                assert_eq!(ask(declared, &expression, known), expected, "{expression}");
                count += 1;
            }
        }
    }
    assert_eq!(count, forms.len() * 16);
}

#[test]
fn unary_operations_and_accesses_pass_on_what_they_get() {
    let declared = "x map<any>, n int, o list<int>, b bool, zero int";
    let known = r#"{"zero": 0}"#;
    for (expression, expected) in [
        ("!b", "b"),
        ("-n == 1", "n"),
        ("x.a == 1", "x"),
        ("x.a.b.c == 1", "x"),
        ("has(x.a)", "x"),
        ("has(x.a.b)", "x"),
        ("x.?a.hasValue()", "x"),
        ("x[?'a'].hasValue()", "x"),
        ("'a' in x", "x"),
        ("o[n] == 1", "n o"),
        ("size(o) == 1", "o"),
        ("o.size() == 1", "o"),
        ("type(n) == int", "n"),
        ("dyn(n) == 1", "n"),
        ("o.all(i, i == n)", "o"),
        ("o.exists(i, i == n)", "o"),
        ("o.map(i, i == n).size() == 1", "o"),
        ("x.all(k, k == 'a')", "x"),
        ("optional.of(1).orValue(n) == 1", "true"),
        ("optional.none().orValue(n) == 1", "n"),
        ("x.?a.orValue(n) == 1", "x"),
        ("optional.of(n).optMap(i, i + 1).value() == 1", "n"),
        ("[?optional.of(n)] == [1]", "n"),
        ("{?'a': optional.of(n)} == {'a': 1}", "n"),
        // An error after what is unknown is not found yet.
        ("n / zero == 1", "n"),
        ("has({'a': 1 / zero}.b)", "error"),
        // Nothing is asked for that an operand has decided.
        ("(b || true) && !(b && false)", "true"),
        ("true ? true : b", "true"),
        ("[1, 2].exists(i, i == 2 || i == n)", "true"),
        ("[1, 2].all(i, i == 3 && i == n)", "false"),
        ("[1, 2].exists(i, i == 1 && i == n)", "n"),
    ] {
        assert_eq!(ask(declared, expression, known), expected, "{expression}");
    }
}

#[test]
fn a_branch_asks_for_its_own_parameters_once_the_condition_is_known() {
    let declared = "kind string, amount int, limit int, owner bool";
    let expression = "kind == 'cheap' ? amount < limit : owner";
    for (request, expected) in [
        ("{}", "kind"),
        (r#"{"amount": 1}"#, "kind"),
        (r#"{"kind": "cheap"}"#, "amount limit"),
        (r#"{"kind": "cheap", "amount": 1}"#, "limit"),
        (r#"{"kind": "cheap", "amount": 1, "limit": 2}"#, "true"),
        (r#"{"kind": "dear"}"#, "owner"),
        (r#"{"kind": "dear", "owner": false}"#, "false"),
    ] {
        assert_eq!(ask(declared, expression, request), expected, "{request}");
    }
}

#[test]
fn more_parameters_than_a_machine_word_has_bits() {
    let declared: Vec<String> = (0..200).map(|i| format!("p{i} int")).collect();
    let uses: Vec<String> = (0..200).step_by(3).map(|i| format!("p{i} == 1")).collect();
    let mut expected: Vec<String> = (0..200).step_by(3).map(|i| format!("p{i}")).collect();
    expected.sort();
    assert_eq!(ask(&declared.join(","), &uses.join(" || "), "{}"), expected.join(" "));
}
