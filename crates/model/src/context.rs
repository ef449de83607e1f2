//! Caveat context: named values as JSON has them.

use std::collections::BTreeMap;
use std::fmt;

/// Deepest nesting of lists and maps in a context.
pub const VALUE_DEPTH_MAX: usize = 32;

/// One value of a context. Numbers are doubles, as in `google.protobuf.Struct`; never NaN or infinite.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextValue {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite double.
    Number(f64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<ContextValue>),
    /// A map with string keys.
    Map(BTreeMap<String, ContextValue>),
}

/// Named values, sorted by name: what a relationship stores for its caveat, or a request brings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context(pub BTreeMap<String, ContextValue>);

/// Why a text or value is not a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Not JSON.
    #[error("caveat context is not JSON: {0}")]
    Syntax(String),
    /// JSON, but not an object.
    #[error("caveat context must be a JSON object such as {{\"region\": \"eu\"}}")]
    NotAnObject,
    /// Nested deeper than [`VALUE_DEPTH_MAX`].
    #[error("caveat context is nested deeper than {VALUE_DEPTH_MAX} levels")]
    TooDeep,
    /// NaN or infinite.
    #[error("caveat context holds a number that is not finite")]
    NotFinite,
}

// Equality is total because numbers are finite: constructors from outside refuse the others.
impl Eq for ContextValue {}
impl Eq for Context {}

impl Context {
    /// Whether no value is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`ContextError`] when the text is not a JSON object of bounded depth.
    pub fn from_json(text: &str) -> Result<Context, ContextError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| ContextError::Syntax(e.to_string()))?;
        match from_json_value(value, 0)? {
            ContextValue::Map(map) => Ok(Context(map)),
            _ => Err(ContextError::NotAnObject),
        }
    }
}

fn from_json_value(value: serde_json::Value, depth: usize) -> Result<ContextValue, ContextError> {
    use serde_json::Value as Json;
    if depth > VALUE_DEPTH_MAX {
        return Err(ContextError::TooDeep);
    }
    Ok(match value {
        Json::Null => ContextValue::Null,
        Json::Bool(b) => ContextValue::Bool(b),
        Json::Number(n) => {
            ContextValue::Number(n.as_f64().filter(|f| f.is_finite()).ok_or(ContextError::NotFinite)?)
        }
        Json::String(s) => ContextValue::String(s),
        Json::Array(items) => ContextValue::List(
            items.into_iter().map(|v| from_json_value(v, depth + 1)).collect::<Result<_, _>>()?,
        ),
        Json::Object(fields) => ContextValue::Map(
            fields
                .into_iter()
                .map(|(k, v)| Ok((k, from_json_value(v, depth + 1)?)))
                .collect::<Result<_, ContextError>>()?,
        ),
    })
}

/// JSON, keys sorted; whole numbers without a fraction.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_map(&self.0, f)
    }
}

/// JSON, keys sorted; whole numbers without a fraction.
impl fmt::Display for ContextValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole doubles up to 2^53 print exactly as integers.
        const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
        match self {
            ContextValue::Null => f.write_str("null"),
            ContextValue::Bool(b) => write!(f, "{b}"),
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            ContextValue::Number(n) if n.fract() == 0.0 && n.abs() <= WHOLE_MAX => write!(f, "{}", *n as i64),
            ContextValue::Number(n) => write!(f, "{n:e}"),
            ContextValue::String(s) => write!(f, "{}", serde_json::Value::from(s.as_str())),
            ContextValue::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            ContextValue::Map(map) => print_map(map, f),
        }
    }
}

fn print_map(map: &BTreeMap<String, ContextValue>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    for (i, (key, value)) in map.iter().enumerate() {
        write!(f, "{}{}:{value}", if i == 0 { "" } else { "," }, serde_json::Value::from(key.as_str()))?;
    }
    f.write_str("}")
}
