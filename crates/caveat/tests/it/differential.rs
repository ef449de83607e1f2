//! Does the `cel` crate's interpreter answer the same, where both apply?
//!
//! It knows no types before evaluation and no unknowns, so the expressions are well typed and everything is known.
//! Within what the generator makes there is nothing that the crate answers otherwise. Left out are optionals,
//! `isSubtreeOf` and `matches`, which it lacks or understands as the `regex` crate does (RE2 differs: `pattern`).

use super::generate::{Expressions, PARAMETERS, Random, Type, as_json, assignment, declaration};
use super::{compile, context, evaluate, say};
use idhini_model::Context;

const ROUNDS: u64 = 5_000;

fn oracle(text: &str, assignment: &[usize]) -> String {
    let mut known = cel::Context::default();
    for (parameter, chosen) in PARAMETERS.iter().zip(assignment) {
        let literal = cel::Program::compile(parameter.3[*chosen].1).expect("a literal");
        let value = literal.execute(&cel::Context::default()).expect("a value");
        known.add_variable_from_value(parameter.0, value);
    }
    match cel::Program::compile(text).expect("an expression").execute(&known) {
        Ok(cel::Value::Bool(value)) => value.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(_) => "error".to_owned(),
    }
}

#[test]
fn the_cel_crate_answers_the_same() {
    // Its parser takes two megabytes for some brackets in a debug build.
    std::thread::Builder::new().stack_size(512 << 20).spawn(compare).unwrap().join().unwrap();
}

fn compare() {
    let declared = declaration();
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut wrong = Vec::new();
    for seed in 0..ROUNDS {
        let random = &mut Random::new(seed ^ 0x5eed);
        let text = Expressions { random, wide: false, variables: Vec::new() }.of(Type::Bool, 3);
        let known = assignment(random);
        let request = as_json(&known, |_| true);
        let caveat = compile(&declared, &text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let ours = say(evaluate(&caveat, &Context::default(), &context(&request)));
        let theirs = oracle(&text, &known);
        if ours != theirs {
            wrong.push(format!("{text}\n  with {request}\n  ours {ours}, theirs {theirs}"));
        }
        *counts.entry(ours).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} of {ROUNDS}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(counts["true"] > 800 && counts["false"] > 800 && counts["error"] > 300, "{counts:?}");
}
