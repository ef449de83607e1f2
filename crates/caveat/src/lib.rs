//! Is this condition well typed? Is it true, false, or short of which parameters?
//!
//! A caveat is an expression of CEL (the Common Expression Language) over declared parameters. It is parsed and
//! type-checked once, when a schema is written, and evaluated with whatever of its parameters is known: the context
//! stored with a relationship, and the request's. What decides it without the rest is decided; otherwise the answer
//! names every parameter that is missing and would be looked at, and no other.
//!
//! Beyond CEL there are the type `ipaddress` with `ip.in_cidr("10.0.0.0/8")`, and `map.isSubtreeOf(map)`. CEL's
//! messages are not part of it. What SpiceDB 1.54 accepts is accepted, and answered as it answers, apart from the
//! differences below.
//!
//! # Differences from SpiceDB 1.54, all deliberate
//! * Numbers of a context outside of their type's range are refused; it silently takes the nearest.
//! * `isSubtreeOf` compares lists and numbers as `==` does; it fails on lists and holds `1` and `1.0` for different.
//! * An operation with several unknown operands names the parameters of all; it names those of the first only.
//! * An operation with an unknown and a failed operand is unknown in either order; there, the first of them wins.
//! * A `uint` parameter goes with `1u` as with `1`, and converts; it checks such a parameter as an int, and fails to
//!   convert it.
//! * Numbers of unlike types are compared exactly; it rounds to doubles. The least int converts from a double.
//! * A literal pattern of `matches` that is malformed, and map keys of types that CEL does not allow, are refused when
//!   the schema is written.
//! * Messages such as `google.protobuf.Duration{seconds: 1}` are refused; write `duration("1s")`.
//!
//! # Invariants
//! * Text and contexts from outside cause no panic, no unbounded recursion, and no work beyond the budget.
//! * An outcome [`Outcome::True`] or [`Outcome::False`] holds for every value of the parameters that were missing.
//!
//! Pure: no I/O, no clock.
//! Source: the CEL language definition (google/cel-spec); partial evaluation after cel-go.

mod arithmetic;
mod budget;
mod check;
mod code;
mod convert;
mod evaluate;
mod functions;
mod lexer;
mod parser;
mod pattern;
mod print;
mod time;
mod tree;
mod typing;
mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use idhini_model::{Context, ContextValue};

pub use budget::Budget;
pub use typing::{CaveatType, TYPE_DEPTH_MAX, UnknownType};

use evaluate::{Answer, Parameters};
use value::Value;

/// Most characters of an expression.
pub const EXPRESSION_CHARS_MAX: usize = lexer::EXPRESSION_CHARS_MAX;
/// Deepest nesting of an expression.
pub const EXPRESSION_DEPTH_MAX: usize = tree::DEPTH_MAX as usize;
/// Most parameters of a caveat.
pub const PARAMETERS_MAX: usize = 1_000;

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: CaveatType,
}

/// Why an expression is not a caveat; line and column count from 1 inside the expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// Why a stored context does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredContextError {
    /// Nothing of this name is declared.
    #[error("caveat `{caveat}` has no parameter `{parameter}`")]
    UnknownParameter {
        /// The caveat's name.
        caveat: String,
        /// The name that is not declared.
        parameter: String,
    },
    /// The value is not of the declared type.
    #[error("parameter `{parameter}` of caveat `{caveat}`: {message}")]
    IllTyped {
        /// The caveat's name.
        caveat: String,
        /// The parameter's name.
        parameter: String,
        /// What was expected, and what came.
        message: String,
    },
}

/// Why an evaluation has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A value of the context is not of its parameter's type.
    #[error("parameter `{parameter}` of caveat `{caveat}`: {message}")]
    IllTyped {
        /// The caveat's name.
        caveat: String,
        /// The parameter's name.
        parameter: String,
        /// What was expected, and what came.
        message: String,
    },
    /// The expression has no value for these parameters: a division by zero, a key that is not there.
    #[error("caveat `{caveat}` failed: {message}")]
    Failed {
        /// The caveat's name.
        caveat: String,
        /// What failed, and what to do about it.
        message: String,
    },
    /// More work than was allowed.
    #[error("caveat `{caveat}` used up its budget of steps or bytes")]
    Budget {
        /// The caveat's name.
        caveat: String,
    },
}

/// What a caveat says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// All parameters that are missing, and no other.
    Missing(BTreeSet<String>),
}

/// A checked caveat; cheap to clone.
#[derive(Debug, Clone)]
pub struct Caveat {
    name: String,
    parameters: Vec<Parameter>,
    expression: String,
    checked: Arc<check::Checked>,
}

/// By name, parameters and expression, which determine the rest.
impl PartialEq for Caveat {
    fn eq(&self, other: &Caveat) -> bool {
        self.name == other.name && self.parameters == other.parameters && self.expression == other.expression
    }
}

impl Caveat {
    /// Parses and type-checks. Whether every parameter is used is the caller's question:
    /// [`Caveat::used_parameters`].
    ///
    /// # Errors
    /// [`CompileError`] pointing at the first mistake.
    pub fn compile(name: &str, parameters: Vec<Parameter>, expression: &str) -> Result<Caveat, CompileError> {
        check_parameters(&parameters)?;
        let (tree, root) = parser::parse(expression)?;
        let checked = check::check(expression, &tree, root, &parameters)?;
        let mut canonical = print::print(&tree, root);
        // Spaces may make a text too long to be read back; then it is kept as it was written.
        if canonical.len() > EXPRESSION_CHARS_MAX && canonical.chars().count() > EXPRESSION_CHARS_MAX {
            canonical = expression.trim().to_owned();
        }
        Ok(Caveat { name: name.to_owned(), parameters, expression: canonical, checked: Arc::new(checked) })
    }

    /// The caveat's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In the order of declaration.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The expression in canonical text. Compiling it gives an equal caveat. A long one has several lines.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Names of the parameters that the expression uses.
    #[must_use]
    pub fn used_parameters(&self) -> BTreeSet<&str> {
        let used = self.parameters.iter().zip(&self.checked.used).filter(|(_, used)| **used);
        used.map(|(parameter, _)| parameter.name.as_str()).collect()
    }

    /// Checks a context that is to be stored: unknown and ill-typed values are refused.
    ///
    /// # Errors
    /// [`StoredContextError`] naming the parameter.
    pub fn check_stored(&self, context: &Context) -> Result<(), StoredContextError> {
        for (name, value) in &context.0 {
            let Some(parameter) = self.parameters.iter().find(|p| p.name == *name) else {
                return Err(StoredContextError::UnknownParameter {
                    caveat: self.name.clone(),
                    parameter: shortened(name),
                });
            };
            // Storing is bounded by the size of a stored context, so no budget is asked for.
            let mut unbounded = Budget { steps: u64::MAX, bytes: u64::MAX };
            if convert::check(value, &parameter.value_type, &mut unbounded).is_err() {
                return Err(StoredContextError::IllTyped {
                    caveat: self.name.clone(),
                    parameter: name.clone(),
                    message: convert::explain(value, &parameter.value_type),
                });
            }
        }
        Ok(())
    }

    /// Evaluates; the stored context wins over the request's; unknown request keys are ignored.
    ///
    /// Every declared parameter's value is checked against its type before anything is evaluated, also where the
    /// outcome would not depend on it: whether a request is well typed does not change with what else is known. A
    /// request's value that a stored one hides is never looked at.
    ///
    /// # Errors
    /// [`EvaluationError`]; none of them is an outcome.
    pub fn evaluate(
        &self,
        stored: &Context,
        request: &Context,
        budget: &mut Budget,
    ) -> Result<Outcome, EvaluationError> {
        let mut values = Parameters::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let given = stored.0.get(&parameter.name).or_else(|| request.0.get(&parameter.name));
            values.push(given.map(|given| self.value(parameter, given, budget)).transpose()?);
        }
        match evaluate::evaluate(&self.checked.code, self.checked.root, &values, budget) {
            Ok(Answer::Value(Value::Bool(true))) => Ok(Outcome::True),
            Ok(Answer::Value(Value::Bool(false))) => Ok(Outcome::False),
            Ok(Answer::Unknown(unknowns)) => {
                let name = |place: usize| self.parameters[place].name.clone();
                Ok(Outcome::Missing(unknowns.places().map(name).collect()))
            }
            Ok(Answer::Error(message)) => Err(EvaluationError::Failed { caveat: self.name.clone(), message }),
            Ok(Answer::Value(other)) => {
                let message = format!("the result is of type {}, not a bool", other.type_name());
                Err(EvaluationError::Failed { caveat: self.name.clone(), message })
            }
            Err(budget::Exhausted) => Err(self.exhausted()),
        }
    }

    fn exhausted(&self) -> EvaluationError {
        EvaluationError::Budget { caveat: self.name.clone() }
    }

    fn value<'a>(
        &self,
        parameter: &'a Parameter,
        given: &'a ContextValue,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvaluationError> {
        match convert::check(given, &parameter.value_type, budget) {
            Ok(()) => {}
            Err(convert::Refusal::Exhausted) => return Err(self.exhausted()),
            Err(convert::Refusal::IllTyped) => return Err(self.ill_typed(parameter, given)),
        }
        convert::value(given, &parameter.value_type).ok_or_else(|| self.ill_typed(parameter, given))
    }

    fn ill_typed(&self, parameter: &Parameter, given: &ContextValue) -> EvaluationError {
        EvaluationError::IllTyped {
            caveat: self.name.clone(),
            parameter: parameter.name.clone(),
            message: convert::explain(given, &parameter.value_type),
        }
    }
}

fn check_parameters(parameters: &[Parameter]) -> Result<(), CompileError> {
    let refuse = |message: String| Err(CompileError { line: 1, column: 1, message });
    if parameters.len() > PARAMETERS_MAX {
        return refuse(format!("a caveat has at most {PARAMETERS_MAX} parameters"));
    }
    let mut names = BTreeSet::new();
    for parameter in parameters {
        if check::is_reserved(&parameter.name) {
            return refuse(format!(
                "a parameter cannot be named `{}`, which is a type's name in CEL",
                parameter.name
            ));
        }
        if !names.insert(&parameter.name) {
            return refuse(format!("parameter `{}` is declared twice", shortened(&parameter.name)));
        }
    }
    Ok(())
}

/// Error texts quote what came from outside, but never megabytes of it.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]
mod tests;
