//! Does what is said about partial evaluation hold for expressions that nobody chose?

use super::generate::{Expressions, PARAMETERS, Random, Type, as_json, assignment, declaration};
use super::{compile, context, evaluate, say};
use idhini_caveat::Outcome;
use idhini_model::Context;
use std::collections::BTreeSet;

const ROUNDS: u64 = 6_000;
const COMPLETIONS: usize = 4;

fn each(test: impl Fn(&idhini_caveat::Caveat, &str, &mut Random)) {
    let declared = declaration();
    for seed in 0..ROUNDS {
        let random = &mut Random::new(seed);
        let text = Expressions { random, wide: true, variables: Vec::new() }.of(Type::Bool, 4);
        let caveat = compile(&declared, &text).unwrap_or_else(|e| panic!("{text}: {e}"));
        test(&caveat, &text, random);
    }
}

/// Counts, so that no property holds because nothing was tried.
#[derive(Default)]
struct Seen {
    decided: usize,
    failed: usize,
    missing: usize,
}

#[test]
fn an_answer_does_not_depend_on_what_was_missing() {
    let seen = std::cell::RefCell::new(Seen::default());
    each(|caveat, text, random| {
        let known = assignment(random);
        let mask = random.below(1 << PARAMETERS.len());
        let partial =
            evaluate(caveat, &Context::default(), &context(&as_json(&known, |i| mask >> i & 1 == 1)));
        let mut seen = seen.borrow_mut();
        let expected = match partial {
            Ok(Outcome::Missing(_)) => return seen.missing += 1,
            Ok(outcome) => {
                seen.decided += 1;
                say(Ok(outcome))
            }
            Err(error) => {
                seen.failed += 1;
                say(Err(error))
            }
        };
        for _ in 0..COMPLETIONS {
            let others = assignment(random);
            let whole: Vec<usize> =
                (0..known.len()).map(|i| if mask >> i & 1 == 1 { known[i] } else { others[i] }).collect();
            let answer = say(evaluate(caveat, &Context::default(), &context(&as_json(&whole, |_| true))));
            assert_eq!(answer, expected, "{text}\nwith {}", as_json(&whole, |_| true));
        }
    });
    let seen = seen.into_inner();
    assert!(seen.decided > 1_000 && seen.failed > 100 && seen.missing > 1_000, "too few of a kind");
}

#[test]
fn missing_names_are_missing_used_and_lead_on() {
    each(|caveat, text, random| {
        let known = assignment(random);
        let mut given = random.below(1 << PARAMETERS.len());
        let used = caveat.used_parameters();
        // Each answer asks for something new, so it ends.
        for _ in 0..=PARAMETERS.len() {
            let partial = context(&as_json(&known, |i| given >> i & 1 == 1));
            let Ok(Outcome::Missing(names)) = evaluate(caveat, &Context::default(), &partial) else { return };
            assert!(!names.is_empty(), "{text}");
            for name in names {
                assert!(used.contains(name.as_str()), "{text} does not use {name}");
                assert!(!partial.0.contains_key(&name), "{text} has {name}");
                let place = PARAMETERS.iter().position(|p| p.0 == name).expect("a declared name");
                given |= 1 << place;
            }
        }
        panic!("{text} never has enough");
    });
}

#[test]
fn nothing_is_missing_when_everything_is_known() {
    each(|caveat, text, random| {
        let known = context(&as_json(&assignment(random), |_| true));
        let answer = evaluate(caveat, &Context::default(), &known);
        assert!(!matches!(answer, Ok(Outcome::Missing(_))), "{text}");
    });
}

#[test]
fn knowing_more_never_takes_an_answer_back() {
    each(|caveat, text, random| {
        let known = assignment(random);
        let less = random.below(1 << PARAMETERS.len());
        let more = less | random.below(1 << PARAMETERS.len());
        let answer = |mask: usize| {
            evaluate(caveat, &Context::default(), &context(&as_json(&known, |i| mask >> i & 1 == 1)))
        };
        match (answer(less), answer(more)) {
            (Ok(Outcome::Missing(_)), _) => {}
            (before, after) => assert_eq!(say(before), say(after), "{text}"),
        }
    });
}

#[test]
fn it_does_not_matter_which_side_a_value_comes_from() {
    each(|caveat, text, random| {
        let known = assignment(random);
        let given = random.below(1 << PARAMETERS.len());
        let stored = random.below(1 << PARAMETERS.len());
        let whole = context(&as_json(&known, |i| given >> i & 1 == 1));
        let left = context(&as_json(&known, |i| given & stored & (1 << i) != 0));
        let right = context(&as_json(&known, |i| given & !stored & (1 << i) != 0));
        caveat.check_stored(&left).unwrap();
        let expected = say(evaluate(caveat, &Context::default(), &whole));
        assert_eq!(say(evaluate(caveat, &left, &right)), expected, "{text}");
        assert_eq!(say(evaluate(caveat, &whole, &right)), expected, "{text}");
    });
}

#[test]
fn operands_of_logic_may_change_places() {
    let declared = declaration();
    for seed in 0..ROUNDS {
        let random = &mut Random::new(seed ^ 0xabcd);
        let mut sub =
            || Expressions { random: &mut *random, wide: true, variables: Vec::new() }.of(Type::Bool, 3);
        let (a, b) = (sub(), sub());
        let known = assignment(random);
        let mask = random.below(1 << PARAMETERS.len());
        let request = context(&as_json(&known, |i| mask >> i & 1 == 1));
        let answer =
            |text: &str| say(evaluate(&compile(&declared, text).unwrap(), &Context::default(), &request));
        for operator in ["&&", "||"] {
            assert_eq!(
                answer(&format!("{a} {operator} {b}")),
                answer(&format!("{b} {operator} {a}")),
                "{a} {operator} {b}"
            );
        }
        assert_eq!(answer(&format!("!({a} && {b})")), answer(&format!("!({a}) || !({b})")), "{a} && {b}");
    }
}

#[test]
fn canonical_text_says_the_same() {
    each(|caveat, text, random| {
        let again = compile(&declaration(), caveat.expression()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(*caveat, again, "{text}");
        let used: BTreeSet<&str> = caveat.used_parameters();
        assert_eq!(used, again.used_parameters());
        let known = assignment(random);
        let mask = random.below(1 << PARAMETERS.len());
        let request = context(&as_json(&known, |i| mask >> i & 1 == 1));
        let answer = |caveat| say(evaluate(caveat, &Context::default(), &request));
        assert_eq!(answer(caveat), answer(&again), "{text}\n{}", caveat.expression());
    });
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

    /// The entry of a fuzzer: any text, any request.
    #[test]
    fn any_text_is_refused_or_evaluated(text in "\\PC{0,40}", number in proptest::num::f64::NORMAL) {
        if let Ok(caveat) = compile("a int, b string, c any", &text) {
            let request = context(&format!(r#"{{"a": {number:e}, "b": "x", "c": [{number:e}]}}"#));
            let _ = evaluate(&caveat, &Context::default(), &request);
        }
    }
}
