//! Any expression and any context: a checked caveat or an error, then an outcome or an error, within the budget.
#![no_main]

use idhini_caveat::{Budget, Caveat, CaveatType, Parameter};
use idhini_model::Context;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (expression, context) = input;
    let declared = [
        ("any_value", CaveatType::Any),
        ("flag", CaveatType::Bool),
        ("name", CaveatType::String),
        ("number", CaveatType::Int),
        ("count", CaveatType::Uint),
        ("ratio", CaveatType::Double),
        ("raw", CaveatType::Bytes),
        ("lasts", CaveatType::Duration),
        ("when", CaveatType::Timestamp),
        ("address", CaveatType::IpAddress),
        ("items", CaveatType::List(Box::new(CaveatType::String))),
        ("labels", CaveatType::Map(Box::new(CaveatType::Any))),
    ];
    let parameters = declared
        .into_iter()
        .map(|(name, value_type)| Parameter { name: name.to_owned(), value_type })
        .collect();
    let Ok(caveat) = Caveat::compile("fuzzed", parameters, expression) else { return };
    let context = Context::from_json(context).unwrap_or_default();
    let mut budget = Budget { steps: 10_000, bytes: 100_000 };
    let _ = caveat.evaluate(&context, &Context::default(), &mut budget);
    let mut budget = Budget { steps: 10_000, bytes: 100_000 };
    let _ = caveat.evaluate(&Context::default(), &context, &mut budget);
});
