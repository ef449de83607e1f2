//! Which types can a parameter be declared with, and which does an expression have?

use std::fmt;
use std::str::FromStr;

/// Deepest nesting of `list<…>` and `map<…>`.
pub const TYPE_DEPTH_MAX: usize = 16;

/// A type that a caveat's parameter can be declared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CaveatType {
    /// Any JSON value; numbers are doubles.
    Any,
    /// `true` or `false`.
    Bool,
    /// Text; compared by code point.
    String,
    /// A signed integer of 64 bits.
    Int,
    /// An unsigned integer of 64 bits.
    Uint,
    /// A double of 64 bits.
    Double,
    /// Bytes; base64 in a context.
    Bytes,
    /// A length of time, such as `1h30m`.
    Duration,
    /// A moment, as RFC 3339 has it.
    Timestamp,
    /// An address of IPv4 or IPv6.
    IpAddress,
    /// A list of values of one type.
    List(Box<CaveatType>),
    /// A map from strings to values of one type.
    Map(Box<CaveatType>),
}

/// Not a type's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a caveat parameter type; they are any, bool, string, int, uint, double, bytes, duration, timestamp, \
     ipaddress, list<T> and map<T>"
)]
pub struct UnknownType(pub String);

/// Prints `list<string>` and the like.
impl fmt::Display for CaveatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaveatType::Any => f.write_str("any"),
            CaveatType::Bool => f.write_str("bool"),
            CaveatType::String => f.write_str("string"),
            CaveatType::Int => f.write_str("int"),
            CaveatType::Uint => f.write_str("uint"),
            CaveatType::Double => f.write_str("double"),
            CaveatType::Bytes => f.write_str("bytes"),
            CaveatType::Duration => f.write_str("duration"),
            CaveatType::Timestamp => f.write_str("timestamp"),
            CaveatType::IpAddress => f.write_str("ipaddress"),
            CaveatType::List(element) => write!(f, "list<{element}>"),
            CaveatType::Map(value) => write!(f, "map<{value}>"),
        }
    }
}

/// Reads `list<string>` and the like.
impl FromStr for CaveatType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<CaveatType, UnknownType> {
        parse(text, 0).ok_or_else(|| UnknownType(text.chars().take(80).collect()))
    }
}

fn parse(text: &str, depth: usize) -> Option<CaveatType> {
    if depth > TYPE_DEPTH_MAX {
        return None;
    }
    let text = text.trim();
    if let Some((name, inner)) = text.split_once('<') {
        let inner = Box::new(parse(inner.strip_suffix('>')?, depth + 1)?);
        return match name.trim_end() {
            "list" => Some(CaveatType::List(inner)),
            "map" => Some(CaveatType::Map(inner)),
            _ => None,
        };
    }
    Some(match text {
        "any" => CaveatType::Any,
        "bool" => CaveatType::Bool,
        "string" => CaveatType::String,
        "int" => CaveatType::Int,
        "uint" => CaveatType::Uint,
        "double" => CaveatType::Double,
        "bytes" => CaveatType::Bytes,
        "duration" => CaveatType::Duration,
        "timestamp" => CaveatType::Timestamp,
        "ipaddress" => CaveatType::IpAddress,
        _ => return None,
    })
}

/// The type of an expression's part, as far as it is known before evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// Known only in evaluation: what `any` declares and `dyn(…)` answers.
    Dyn,
    /// The elements of an empty literal: fits everything.
    Nothing,
    Null,
    Bool,
    Int,
    Uint,
    /// A parameter declared `uint`. SpiceDB checks such parameters as `int`, so that `count == 1` is accepted, and
    /// gives them unsigned values; here they go with both, `1` and `1u`.
    Whole,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    IpAddress,
    /// A type as a value: `int`, `type(x)`.
    Meta,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Optional(Box<Type>),
}

impl From<&CaveatType> for Type {
    fn from(declared: &CaveatType) -> Type {
        match declared {
            CaveatType::Any => Type::Dyn,
            CaveatType::Bool => Type::Bool,
            CaveatType::String => Type::String,
            CaveatType::Int => Type::Int,
            CaveatType::Uint => Type::Whole,
            CaveatType::Double => Type::Double,
            CaveatType::Bytes => Type::Bytes,
            CaveatType::Duration => Type::Duration,
            CaveatType::Timestamp => Type::Timestamp,
            CaveatType::IpAddress => Type::IpAddress,
            CaveatType::List(element) => Type::List(Box::new((&**element).into())),
            CaveatType::Map(value) => Type::Map(Box::new(Type::String), Box::new((&**value).into())),
        }
    }
}

impl Type {
    /// Whether the value might be of any type.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Type::Dyn | Type::Nothing)
    }

    /// Whether a value of one type may stand where the other is asked for. Symmetric, not transitive.
    pub(crate) fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Dyn | Type::Nothing, _) | (_, Type::Dyn | Type::Nothing) => true,
            (Type::Whole, Type::Int | Type::Uint) | (Type::Int | Type::Uint, Type::Whole) => true,
            (Type::Null, nullable) | (nullable, Type::Null) => matches!(
                nullable,
                Type::Null | Type::Duration | Type::Timestamp | Type::IpAddress | Type::Optional(_)
            ),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.fits(b),
            (Type::Map(a, c), Type::Map(b, d)) => a.fits(b) && c.fits(d),
            _ => self == other,
        }
    }

    /// The type of a value that has one of two types.
    pub(crate) fn join(self, other: Type) -> Type {
        match (self, other) {
            (Type::Nothing, one) | (one, Type::Nothing) => one,
            (Type::Whole, Type::Int | Type::Uint | Type::Whole) | (Type::Int | Type::Uint, Type::Whole) => {
                Type::Whole
            }
            (Type::List(a), Type::List(b)) => Type::List(Box::new(a.join(*b))),
            (Type::Optional(a), Type::Optional(b)) => Type::Optional(Box::new(a.join(*b))),
            (Type::Map(a, c), Type::Map(b, d)) => Type::Map(Box::new(a.join(*b)), Box::new(c.join(*d))),
            (Type::Null, nullable) | (nullable, Type::Null) if nullable.fits(&Type::Null) => nullable,
            (a, b) if a == b => a,
            _ => Type::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn | Type::Nothing => f.write_str("any"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint | Type::Whole => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("duration"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::IpAddress => f.write_str("ipaddress"),
            Type::Meta => f.write_str("type"),
            Type::List(element) => write!(f, "list<{element}>"),
            Type::Map(key, value) if **key == Type::String || key.is_open() => write!(f, "map<{value}>"),
            Type::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Type::Optional(value) => write!(f, "optional<{value}>"),
        }
    }
}
