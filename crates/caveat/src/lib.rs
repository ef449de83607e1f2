//! Is this condition well typed? Is it true, false, or short of which parameters?

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use idhini_model::Context;

/// A type that a caveat's parameter can be declared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum CaveatType { Any, Bool, String, Int, Uint, Double, Bytes, Duration, Timestamp, IpAddress, List(Box<CaveatType>), Map(Box<CaveatType>) }

/// Prints `list<string>` and the like.
impl fmt::Display for CaveatType { fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
/// Reads `list<string>` and the like.
impl FromStr for CaveatType { type Err = UnknownType; fn from_str(_text: &str) -> Result<CaveatType, UnknownType> { todo!() } }

/// Not a type's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a caveat parameter type")]
pub struct UnknownType(pub String);

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter { /// its name
    pub name: String, /// its type
    pub value_type: CaveatType }

/// Why an expression is not a caveat; line and column count from 1 inside the expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[allow(missing_docs)]
pub struct CompileError { pub line: u32, pub column: u32, pub message: String }

/// Why a stored context does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum StoredContextError {
    #[error("caveat `{caveat}` has no parameter `{parameter}`")]
    UnknownParameter { caveat: String, parameter: String },
    #[error("parameter `{parameter}` of caveat `{caveat}`: {message}")]
    IllTyped { caveat: String, parameter: String, message: String },
}

/// Why an evaluation has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum EvaluationError {
    #[error("parameter `{parameter}` of caveat `{caveat}`: {message}")]
    IllTyped { caveat: String, parameter: String, message: String },
    #[error("caveat `{caveat}` failed: {message}")]
    Failed { caveat: String, message: String },
    #[error("caveat `{caveat}` used up its budget of steps or bytes")]
    Budget { caveat: String },
}

/// What evaluation may still spend; falls, never rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget { /// evaluation steps
    pub steps: u64, /// bytes of values built
    pub bytes: u64 }

/// What a caveat says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome { True, False, /// All parameters that are missing, and no other.
    Missing(BTreeSet<String>) }

/// A checked caveat.
#[derive(Debug, Clone, PartialEq)]
pub struct Caveat { name: String, parameters: Vec<Parameter>, expression: String }

impl Caveat {
    /// Parses and type-checks.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn compile(_name: &str, _parameters: Vec<Parameter>, _expression: &str) -> Result<Caveat, CompileError> { todo!() }
    /// The caveat's name.
    #[must_use] pub fn name(&self) -> &str { &self.name }
    /// In the order of declaration.
    #[must_use] pub fn parameters(&self) -> &[Parameter] { &self.parameters }
    /// The expression in canonical text.
    #[must_use] pub fn expression(&self) -> &str { &self.expression }
    /// Names of the parameters that the expression uses.
    #[must_use] pub fn used_parameters(&self) -> BTreeSet<&str> { todo!() }
    /// Checks a context that is to be stored: unknown and ill-typed values are refused.
    ///
    /// # Errors
    /// [`StoredContextError`].
    pub fn check_stored(&self, _context: &Context) -> Result<(), StoredContextError> { todo!() }
    /// Evaluates; the stored context wins over the request's; unknown request keys are ignored.
    ///
    /// # Errors
    /// [`EvaluationError`].
    pub fn evaluate(&self, _stored: &Context, _request: &Context, _budget: &mut Budget) -> Result<Outcome, EvaluationError> { todo!() }
}
