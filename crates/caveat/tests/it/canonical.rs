//! What is an expression's canonical text?

use super::compile;

fn canonical(expression: &str) -> String {
    let declared = "a int, b int, c bool, s string, m map<any>, l list<int>, t timestamp";
    let caveat = compile(declared, expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
    let again =
        compile(declared, caveat.expression()).unwrap_or_else(|e| panic!("{}: {e}", caveat.expression()));
    assert_eq!(caveat, again, "what is printed reads back the same");
    caveat.expression().to_owned()
}

#[test]
fn spaces_quotes_and_parentheses_are_uniform() {
    for (written, printed) in [
        ("a==1||b==2", "a == 1 || b == 2"),
        ("(a==1)||((b==2)||c)", "a == 1 || b == 2 || c"),
        ("a == 1 && (b == 2 || c)", "a == 1 && (b == 2 || c)"),
        ("(a == 1 && b == 2) || c", "a == 1 && b == 2 || c"),
        ("!(c)&&!(a<b)", "!c && !(a < b)"),
        ("!!c", "c"),
        ("!(!c)", "!(!c)"),
        ("- -a == b", "a == b"),
        ("-(-a) == b", "-(-a) == b"),
        ("-(5) == a", "-5 == a"),
        ("-(a+b)==1", "-(a + b) == 1"),
        ("a+b*2-3==-1", "a + b * 2 - 3 == -1"),
        ("(a+b)*2==0x10", "(a + b) * 2 == 16"),
        ("a-(b-1)==1", "a - (b - 1) == 1"),
        ("(a-b)-1==1", "a - b - 1 == 1"),
        ("a*(b*1)==1", "a * (b * 1) == 1"),
        ("c==(a==b)", "c == (a == b)"),
        ("(c==c)==c", "c == c == c"),
        ("c?a==1:b==1", "c ? (a == 1) : (b == 1)"),
        ("(c?a:b)==1", "(c ? a : b) == 1"),
        ("c?c:c?c:c", "c ? c : (c ? c : c)"),
        ("s=='x'&&s==\"y\"&&s==r'\\d'", "s == \"x\" && s == \"y\" && s == \"\\\\d\""),
        ("s=='\"\\'\\n\\x00\\u200b😀é'", "s == \"\\\"'\\n\\x00\\u200b😀é\""),
        ("bytes(s)==b'a\\xff'", "bytes(s) == b\"\\141\\377\""),
        ("double(a)==1.50+1e3+1e-7+1e21", "double(a) == 1.5 + 1000.0 + 1e-07 + 1e+21"),
        ("double(a) == -0.0", "double(a) == -0.0"),
        ("[a,b,]==[1]", "[a, b] == [1]"),
        ("{'x':a,}=={}", "{\"x\": a} == {}"),
        ("m.x.y[0]==m['x']", "m.x.y[0] == m[\"x\"]"),
        (
            "has(m.x)&&m.?x.hasValue()&&m[?'x'].hasValue()",
            "has(m.x) && m.?x.hasValue() && m[?\"x\"].hasValue()",
        ),
        ("[?m.?x]==[1] && {?'a':m.?x}=={}", "[?m.?x] == [1] && {?\"a\": m.?x} == {}"),
        ("l.all( x,x>0 )&&l.exists_one(x,x==1)", "l.all(x, x > 0) && l.exists_one(x, x == 1)"),
        (
            "l.map(x,x>0,x+1)==[1]&&l.filter(x,x>0)==l",
            "l.map(x, x > 0, x + 1) == [1] && l.filter(x, x > 0) == l",
        ),
        ("(l+l).size()==2&&size(l+l)==2", "(l + l).size() == 2 && size(l + l) == 2"),
        ("a in l&&!(a in l)", "a in l && !(a in l)"),
        ("t.getHours('UTC')==1", "t.getHours(\"UTC\") == 1"),
        ("type(t)==google.protobuf.Timestamp", "type(t) == google.protobuf.Timestamp"),
        (".a==1 && l.all(x, .a == x)", "a == 1 && l.all(x, a == x)"),
        ("l.all(a, .a == a)", "l.all(a, .a == a)"),
        ("c // a remark\n  || c // and another", "c || c"),
        ("dyn(-9223372036854775808) == (-1).x || true || (-5)[0] == 1", ""),
    ] {
        if printed.is_empty() {
            assert!(compile("c bool", written).is_err());
        } else {
            assert_eq!(canonical(written), printed, "{written}");
        }
    }
}

#[test]
fn long_lines_are_broken_at_their_logical_operators() {
    let terms: Vec<String> = (1..=12).map(|i| format!("a == {i}")).collect();
    assert_eq!(
        canonical(&terms.join(" || ")),
        "a == 1 || a == 2 || a == 3 || a == 4 || a == 5 || a == 6 || a == 7 || a == 8 ||\n\
         a == 9 || a == 10 || a == 11 || a == 12"
    );
}

#[test]
fn a_text_that_spaces_would_make_too_long_is_kept() {
    let dense = format!("c{}", "||c".repeat(33_000));
    assert_eq!(canonical(&format!(" {dense} ")), dense);
    let airy = format!("c{}", "  ||  c".repeat(14_000));
    assert_eq!(canonical(&airy).replace(['\n', ' '], ""), airy.replace(' ', ""));
}

#[test]
fn caveats_are_equal_by_what_they_say() {
    let one = compile("a int", "a==1").unwrap();
    assert_eq!(one, compile("a int", "(a) == 1").unwrap());
    assert_ne!(one, compile("a int", "a == 2").unwrap());
    assert_ne!(one, compile("a uint", "a == 1").unwrap());
    assert_ne!(one, compile("a int, b int", "a == 1").unwrap());
    assert_eq!(one.name(), "cav");
    assert_eq!(one.clone().parameters(), one.parameters());
}
