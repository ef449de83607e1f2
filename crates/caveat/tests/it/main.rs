//! Does the caveat language mean what it should, seen from outside?

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod canonical;
mod context;
mod differential;
mod errors;
mod generate;
mod hostile;
mod language;
mod partial;
mod properties;

use idhini_caveat::{Budget, Caveat, CompileError, EvaluationError, Outcome, Parameter};
use idhini_model::Context;

/// Parameters from `name type, name type`; types may not hold commas.
fn parameters(declared: &str) -> Vec<Parameter> {
    let declared = declared.split(',').map(str::trim).filter(|d| !d.is_empty());
    declared
        .map(|d| {
            let (name, value_type) = d.split_once(' ').expect("`name type`");
            Parameter { name: name.to_owned(), value_type: value_type.parse().expect("a type") }
        })
        .collect()
}

fn compile(declared: &str, expression: &str) -> Result<Caveat, CompileError> {
    Caveat::compile("cav", parameters(declared), expression)
}

fn context(json: &str) -> Context {
    Context::from_json(json).expect("a context")
}

fn evaluate(caveat: &Caveat, stored: &Context, request: &Context) -> Result<Outcome, EvaluationError> {
    caveat.evaluate(stored, request, &mut Budget::default())
}

/// `true`, `false`, `error`, `ill-typed`, `budget`, `refused`, or the missing parameters with spaces between them.
fn ask(declared: &str, expression: &str, request: &str) -> String {
    match compile(declared, expression) {
        Ok(caveat) => say(evaluate(&caveat, &Context::default(), &context(request))),
        Err(_) => "refused".to_owned(),
    }
}

fn say(outcome: Result<Outcome, EvaluationError>) -> String {
    match outcome {
        Ok(Outcome::True) => "true".to_owned(),
        Ok(Outcome::False) => "false".to_owned(),
        Ok(Outcome::Missing(names)) => names.into_iter().collect::<Vec<_>>().join(" "),
        Err(EvaluationError::Failed { .. }) => "error".to_owned(),
        Err(EvaluationError::IllTyped { .. }) => "ill-typed".to_owned(),
        Err(EvaluationError::Budget { .. }) => "budget".to_owned(),
        Err(other) => format!("{other}"),
    }
}
