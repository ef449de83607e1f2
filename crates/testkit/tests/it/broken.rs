//! Deliberately wrong evaluators: each must be caught by far fewer questions than `./check` asks.

use std::panic;
use std::thread;

use idhini_engine::{VARIANTS, Variant, break_with};
use idhini_testkit::campaign::{difference, options_of};
use idhini_testkit::generate::world;
use idhini_testkit::tally::Tally;

/// `./check` asks 200,000.
const QUESTIONS_MAX: u64 = 100_000;

/// How many questions it takes to catch a variant, and what caught it.
fn caught(variant: Variant) -> Option<(u64, &'static str)> {
    thread::spawn(move || {
        break_with(Some(variant));
        let mut tally = Tally::default();
        for seed in 1.. {
            let world = world(seed, &options_of(seed));
            if let Some(found) = difference(&world, &mut tally) {
                return Some((tally.questions, found.what));
            }
            if tally.questions > QUESTIONS_MAX {
                return None;
            }
        }
        None
    })
    .join()
    .unwrap()
}

#[test]
fn broken_evaluators_are_all_caught() {
    assert!(VARIANTS.len() >= 30);
    // Some variants trip assertions inside the engine: caught as well, and no news.
    panic::set_hook(Box::new(|_| {}));
    let results: Vec<_> = VARIANTS.iter().map(|variant| (*variant, caught(*variant))).collect();
    let _ = panic::take_hook();
    let (mut escaped, mut shown) = (Vec::new(), Vec::new());
    for (variant, found) in results {
        match found {
            Some((questions, what)) => shown.push(format!("{variant:?}: {what}, {questions} questions")),
            None => escaped.push(variant),
        }
    }
    assert!(escaped.is_empty(), "not caught: {escaped:?}; caught:\n{}", shown.join("\n"));
}

#[test]
fn an_evaluator_that_is_not_broken_is_not_caught() {
    let mut tally = Tally::default();
    for seed in 1..100 {
        let found = difference(&world(seed, &options_of(seed)), &mut tally);
        assert_eq!(found, None, "seed {seed}");
    }
}
