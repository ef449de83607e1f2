//! Does a refusal say where and why, and what to do?

use super::compile;

#[test]
fn errors_point_at_line_and_column_in_characters() {
    for (expression, line, column, part) in [
        ("a == 1 ||\n  a + s == 2", 2, 7, "`+` does not take int and string"),
        ("s == 'é' && x", 1, 13, "`x` is not declared; declare it as a parameter"),
        ("a == ", 1, 6, "expected a value, but the expression ends"),
        ("", 1, 1, "expected a value"),
        ("// nothing", 1, 11, "expected a value"),
        ("a == 1 a", 1, 8, "expected an operator or the end of the expression, but found `a`"),
        ("(a == 1", 1, 8, "expected an operator or `)`"),
        ("[1, 2", 1, 6, "expected `,` or `]`"),
        ("{'a' 1}", 1, 6, "expected `:`"),
        ("a = 1", 1, 3, "write `==`"),
        ("c & c", 1, 3, "write `&&`"),
        ("c | c", 1, 3, "write `||`"),
        ("c ? c", 1, 6, "expected `:`"),
        ("a == 9223372036854775808", 1, 6, "too large for an int"),
        ("a == 99999999999999999999", 1, 6, "too large for 64 bits"),
        ("1e999 == 1.0", 1, 1, "too large for a double"),
        ("a == 1x", 1, 6, "a number ends where a name begins"),
        ("s == 'abc", 1, 6, "never closed"),
        ("s == 'a\nb'", 1, 6, "not closed on its line"),
        ("s == '\\q'", 1, 7, "escape has no meaning"),
        ("s == '\\ud800'", 1, 7, "not a Unicode character"),
        ("s == '\\x4'", 1, 7, "needs 2 digits"),
        ("for == 1", 1, 1, "reserved word"),
        ("c #", 1, 3, "`#` has no meaning"),
        ("a", 1, 1, "this is of type int; compare it"),
        ("dyn(c)", 1, 1, "this is of type any; compare it"),
        ("c && a", 1, 6, "`&&` takes a bool, but this is of type int"),
        ("!a", 1, 2, "`!` takes a bool"),
        ("-s == s", 1, 1, "`-` takes an int or a double"),
        ("a == 1.0", 1, 3, "convert one side with int(…)"),
        ("a + 1.0 == 1.0", 1, 5, "convert one with int(…)"),
        ("s + a == s", 1, 5, "convert with string(…)"),
        ("a == s", 1, 3, "both sides must be of one type"),
        ("l < l", 1, 3, "have no order"),
        ("a in s", 1, 3, "`in` asks a list for an element or a map for a key"),
        ("s in l", 1, 3, "the left side must be of the type of the elements"),
        ("(c ? a : s) == 1", 1, 4, "both values of `? :` must be of one type"),
        ("a.b == 1", 1, 3, "only a map has fields"),
        ("a[0] == 1", 1, 2, "only a list or a map has an index"),
        ("l['x'] == 1", 1, 2, "a list's index is an int"),
        ("m[1] == 1", 1, 2, "keys are of type string"),
        ("has(m)", 1, 1, "write it as in `has(map.field)`"),
        ("foo(a) == 1", 1, 1, "there is no function `foo` for foo(int)"),
        (
            "a.contains(s)",
            1,
            3,
            "`contains` does not take int.contains(string); it takes string.contains(string)",
        ),
        ("s.substring(1) == s", 1, 3, "there is no function `substring`"),
        ("size(a) == 1", 1, 1, "it takes size(string), size(bytes)"),
        ("l.all(1, true)", 1, 7, "names its variable"),
        ("a.all(x, true)", 1, 3, "goes through a list or the keys of a map"),
        ("{[1]: 1} == {}", 1, 2, "a map's key is"),
        ("a{b: 1} == 1", 1, 1, "would build a message"),
        ("google.protobuf.Duration{} == 1", 1, 25, "would build a message"),
        ("s.matches('(')", 1, 3, "is not a pattern of RE2"),
        ("a.in == 1", 1, 3, "expected a field or function after the dot"),
        ("[1, 2,, 3] == l", 1, 7, "expected a value"),
    ] {
        let declared = "a int, c bool, s string, m map<int>, l list<int>";
        let error = compile(declared, expression).expect_err(expression);
        assert!(error.message.contains(part), "{expression}: {}", error.message);
        assert_eq!((error.line, error.column), (line, column), "{expression}: {}", error.message);
    }
}
