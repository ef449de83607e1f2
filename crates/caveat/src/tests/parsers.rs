//! Does our parser read what the `cel` crate's parser reads?
//!
//! Without macros, whose trees differ by design. The crate's parser recurses deeply, so it gets short texts and a
//! large stack.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::parser::Parser;

use crate::parser::parse;
use crate::tree::{Kind, Literal, NodeId, Relation, Tree};

/// The tree in brackets, with the names of operators that CEL gives them.
fn ours(tree: &Tree, id: NodeId) -> String {
    let sub = |id: &NodeId| ours(tree, *id);
    let call = |name: &str, parts: Vec<String>| format!("({name} {})", parts.join(" "));
    // Chains are spelled from the left, as the other parser nests them.
    match &tree.node(id).kind {
        Kind::Literal(literal) => match literal {
            Literal::Null => "null".to_owned(),
            Literal::Bool(value) => format!("{value}"),
            Literal::Int(value) => format!("{value}"),
            Literal::Uint(value) => format!("{value}u"),
            Literal::Double(value) => format!("{value:e}"),
            Literal::String(value) => format!("{value:?}"),
            Literal::Bytes(value) => format!("b{value:?}"),
        },
        Kind::Name { name, root } => format!("{}{name}", if *root { "." } else { "" }),
        Kind::Select { operand, field, optional: false, test } => {
            call(if *test { "has" } else { "select" }, vec![sub(operand), field.to_string()])
        }
        Kind::Select { operand, field, .. } => call("_?._", vec![sub(operand), format!("{field:?}")]),
        Kind::Index { operand, index, optional } => {
            call(if *optional { "_[?_]" } else { "_[_]" }, vec![sub(operand), sub(index)])
        }
        Kind::Call { target, function, arguments } => {
            let target = target.as_ref().map(sub).unwrap_or_default();
            let arguments: Vec<_> = arguments.iter().map(sub).collect();
            format!("({target}.{function} {})", arguments.join(" "))
        }
        Kind::Not(operand) => call("!_", vec![sub(operand)]),
        Kind::Negate(operand) => call("-_", vec![sub(operand)]),
        Kind::Arithmetic { first, rest } => rest.iter().fold(sub(first), |left, (operator, right)| {
            call(&format!("_{}_", operator.symbol()), vec![left, sub(right)])
        }),
        Kind::Relation { relation: Relation::In, left, right } => call("@in", vec![sub(left), sub(right)]),
        Kind::Relation { relation, left, right } => {
            call(&format!("_{}_", relation.symbol()), vec![sub(left), sub(right)])
        }
        Kind::All(operands) => call("_&&_", operands.iter().map(sub).collect()),
        Kind::Any(operands) => call("_||_", operands.iter().map(sub).collect()),
        Kind::Condition { condition, then, otherwise } => {
            call("_?_:_", vec![sub(condition), sub(then), sub(otherwise)])
        }
        Kind::List(elements) => call("list", elements.iter().map(|e| sub(&e.value)).collect()),
        Kind::Map(entries) => {
            call("map", entries.iter().flat_map(|e| [sub(&e.key.unwrap()), sub(&e.value)]).collect())
        }
        Kind::Macro { .. } => unreachable!("the generated texts have no macros"),
    }
}

fn theirs(expression: &Expr) -> String {
    let call = |name: &str, parts: Vec<String>| format!("({name} {})", parts.join(" "));
    match expression {
        Expr::Literal(literal) => match literal {
            LiteralValue::Null => "null".to_owned(),
            LiteralValue::Boolean(value) => format!("{}", value.inner()),
            LiteralValue::Int(value) => format!("{}", value.inner()),
            LiteralValue::UInt(value) => format!("{}u", value.inner()),
            LiteralValue::Double(value) => format!("{:e}", value.inner()),
            LiteralValue::String(value) => format!("{:?}", value.inner()),
            LiteralValue::Bytes(value) => format!("b{:?}", value.inner()),
        },
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) => call(
            if select.test { "has" } else { "select" },
            vec![theirs(&select.operand.expr), select.field.clone()],
        ),
        // A sign before a literal, which is part of it for us wherever it stands.
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == "-_" && is_unsigned(&args[0].expr) => {
            format!("-{}", theirs(&args[0].expr))
        }
        Expr::Call(CallExpr { func_name, target: None, args })
            if func_name.starts_with(['_', '!', '-', '@']) =>
        {
            let mut parts = Vec::new();
            flatten(func_name, args, &mut parts);
            call(func_name, parts)
        }
        Expr::Call(CallExpr { func_name, target, args }) => {
            let target = target.as_ref().map(|t| theirs(&t.expr)).unwrap_or_default();
            let arguments: Vec<_> = args.iter().map(|a| theirs(&a.expr)).collect();
            // Functions are all global: a leading dot says nothing, and we do not keep it.
            format!("({target}.{} {})", func_name.trim_start_matches('.'), arguments.join(" "))
        }
        Expr::List(list) => call("list", list.elements.iter().map(|e| theirs(&e.expr)).collect()),
        Expr::Map(map) => {
            let entry = |e: &EntryExpr| match e {
                EntryExpr::MapEntry(e) => vec![theirs(&e.key.expr), theirs(&e.value.expr)],
                EntryExpr::StructField(_) => Vec::new(),
            };
            call("map", map.entries.iter().flat_map(|e| entry(&e.expr)).collect())
        }
        other => format!("{other:?}"),
    }
}

fn is_unsigned(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(LiteralValue::Int(value)) => *value.inner() >= 0,
        Expr::Literal(LiteralValue::Double(value)) => value.inner().is_sign_positive(),
        _ => false,
    }
}

/// Operands of nested `&&` or `||` as one row.
fn flatten(name: &str, operands: &[IdedExpr], parts: &mut Vec<String>) {
    for operand in operands {
        match &operand.expr {
            Expr::Call(inner) if matches!(name, "_&&_" | "_||_") && inner.func_name == name => {
                flatten(name, &inner.args, parts);
            }
            other => parts.push(theirs(other)),
        }
    }
}

const PIECES: &[&str] = &[
    "a",
    "b",
    ".c",
    "foo",
    "1",
    "0x1F",
    "1u",
    "1.5",
    ".5",
    "1e3",
    "-2",
    "'x'",
    "\"y\\n\"",
    "r'\\d'",
    "b'\\xff'",
    "true",
    "null",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".f",
    ".g(",
    "f(",
    ",",
    ":",
    " ? ",
    "!",
    "-",
    " - ",
    " + ",
    "*",
    "/",
    "%",
    " == ",
    " != ",
    "<",
    ">=",
    " && ",
    " || ",
    " in ",
    ".?x",
    "[?",
    "'''q'q'''",
    "has(a.b)",
    "if",
    "\\",
    "=",
    "&",
];

fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as usize
}

/// A text that is mostly grammatical.
fn expression(state: &mut u64, depth: usize) -> String {
    let atom = |state: &mut u64| PIECES[random(state) % 17].to_owned();
    if depth == 0 {
        return atom(state);
    }
    let mut sub = || expression(state, depth - 1);
    let (a, b, c) = (sub(), sub(), sub());
    match random(state) % 20 {
        0 => format!("{a} || {b}"),
        1 => format!("{a} && {b} && {c}"),
        2 => format!("{a} ? {b} : {c}"),
        3 => format!("({a})"),
        4 => format!("{a} + {b} - {c}"),
        5 => format!("{a} * {b} % {c}"),
        6 => format!("{a} == {b}"),
        7 => format!("{a} in {b}"),
        8 => format!("!{a}"),
        9 => format!("-{a}"),
        10 => format!("({a}).f"),
        11 => format!("({a}).g({b}, {c})"),
        12 => format!("({a})[{b}]"),
        13 => format!("[{a}, {b}]"),
        14 => format!("{{{a}: {b}}}"),
        15 => format!("f({a})"),
        16 => format!("!!({a})"),
        17 => format!("--({a})"),
        18 => format!("({a}).?f[?{b}]"),
        _ => PIECES[random(state) % PIECES.len()].to_owned(),
    }
}

fn compare(text: &str) -> bool {
    let parsed = Parser::new().enable_optional_syntax(true).parse(text);
    match (parse(text), parsed) {
        (Ok((tree, root)), Ok(expression)) => {
            assert_eq!(ours(&tree, root), theirs(&expression.expr), "{text}");
            true
        }
        (Err(_), Err(_)) => false,
        (Ok(_), Err(error)) => panic!("only we accept {text}: {error}"),
        (Err(error), Ok(_)) => panic!("only the other accepts {text}: {error}"),
    }
}

#[test]
fn reads_the_trees_that_another_parser_reads() {
    let run = || {
        let (mut state, mut accepted) = (0x9e37_79b9_7f4a_7c15, 0);
        for round in 0..8_000 {
            let text = match round % 4 {
                0 => (0..1 + random(&mut state) % 6)
                    .map(|_| PIECES[random(&mut state) % PIECES.len()])
                    .collect(),
                depth => expression(&mut state, depth),
            };
            accepted += usize::from(compare(&text));
        }
        assert!(accepted > 3_000, "only {accepted} texts were accepted");
    };
    std::thread::Builder::new().stack_size(256 << 20).spawn(run).unwrap().join().unwrap();
}
