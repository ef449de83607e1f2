//! Which values does an evaluation work on? CEL's, borrowed from the contexts and the expression where possible.
//!
//! # Invariants
//! * A list or map of a context was checked against its declared type before it became a value (`convert::check`);
//!   its elements are converted when they are looked at.
//! * Values are equal only if their types are, numbers apart: these compare by what they count.
//!
//! Cost: cloning a value never copies its content. What reads content charges a budget by its length.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use idhini_model::ContextValue;

use crate::CaveatType;
use crate::budget::{Budget, Exhausted};
use crate::convert;
use crate::time::Moment;

/// Text that is borrowed, or was built during this evaluation.
#[derive(Debug, Clone)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Built(Rc<str>),
}

/// Bytes that are borrowed, or were built during this evaluation.
#[derive(Debug, Clone)]
pub(crate) enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Built(Rc<[u8]>),
}

/// An address; two are the same only if their zones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ip<'a> {
    pub(crate) address: std::net::IpAddr,
    /// The `eth0` of `fe80::1%eth0`, or nothing.
    pub(crate) zone: &'a str,
}

#[derive(Debug, Clone)]
pub(crate) enum List<'a> {
    Context(&'a [ContextValue], &'a CaveatType),
    Built(Rc<Vec<Value<'a>>>),
}

#[derive(Debug, Clone)]
pub(crate) enum Map<'a> {
    Context(&'a BTreeMap<String, ContextValue>, &'a CaveatType),
    Built(Rc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// A key of a map; lookups take numbers that count the same for the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Bytes<'a>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Moment),
    Ip(Ip<'a>),
    /// A type, by its name in CEL.
    Type(&'static str),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Rc<Value<'a>>>),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Built(text) => text,
        }
    }
}

impl Bytes<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Built(bytes) => bytes,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Text<'_>) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Text<'_>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Text<'_>) -> Ordering {
        // UTF-8 bytes sort as their code points do.
        self.as_str().cmp(other.as_str())
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            List::Context(items, _) => items.len(),
            List::Built(items) => items.len(),
        }
    }

    /// The element at `index`.
    pub(crate) fn at(&self, index: usize, budget: &mut Budget) -> Result<Option<Value<'a>>, Exhausted> {
        match self {
            List::Context(items, of) => items.get(index).map(|v| element(v, of, budget)).transpose(),
            List::Built(items) => {
                budget.spend(1)?;
                Ok(items.get(index).cloned())
            }
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Map::Context(entries, _) => entries.len(),
            Map::Built(entries) => entries.len(),
        }
    }

    /// The keys in their order, as values.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Context(entries, _) => entries.keys().map(|k| Value::String(Text::Borrowed(k))).collect(),
            Map::Built(entries) => entries.keys().map(|k| k.clone().into()).collect(),
        }
    }

    /// The value of a key; what cannot be a key is not found.
    pub(crate) fn find(&self, key: &Value<'a>, budget: &mut Budget) -> Result<Option<Value<'a>>, Exhausted> {
        budget.spend(1)?;
        match (self, key) {
            (_, Value::String(key)) => self.field(key, budget),
            (Map::Built(entries), Value::Bool(key)) => Ok(entries.get(&Key::Bool(*key)).cloned()),
            (Map::Built(entries), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
                let Some(whole) = key.number().and_then(Number::whole) else { return Ok(None) };
                let int = || i64::try_from(whole).ok().and_then(|n| entries.get(&Key::Int(n)));
                let uint = || u64::try_from(whole).ok().and_then(|n| entries.get(&Key::Uint(n)));
                // A map may have both keys; then the one of the asked type is meant.
                let found =
                    if matches!(key, Value::Uint(_)) { uint().or_else(int) } else { int().or_else(uint) };
                Ok(found.cloned())
            }
            _ => Ok(None),
        }
    }

    /// The value of a string key.
    pub(crate) fn field(&self, key: &Text<'a>, budget: &mut Budget) -> Result<Option<Value<'a>>, Exhausted> {
        budget.read(key.as_str().len())?;
        match self {
            Map::Context(entries, of) => {
                entries.get(key.as_str()).map(|v| element(v, of, budget)).transpose()
            }
            Map::Built(entries) => Ok(entries.get(&Key::String(key.clone())).cloned()),
        }
    }
}

/// An element of a context's list or map. INVARIANT: the context was checked, so it converts.
fn element<'a>(
    value: &'a ContextValue,
    of: &'a CaveatType,
    budget: &mut Budget,
) -> Result<Value<'a>, Exhausted> {
    let converted = convert::value(value, of).unwrap_or(Value::Null);
    match &converted {
        // Decoded anew each time they are looked at.
        Value::Bytes(bytes) => budget.build(bytes.as_slice().len())?,
        _ => budget.spend(1)?,
    }
    Ok(converted)
}

impl<'a> From<Key<'a>> for Value<'a> {
    fn from(key: Key<'a>) -> Value<'a> {
        match key {
            Key::Bool(key) => Value::Bool(key),
            Key::Int(key) => Value::Int(key),
            Key::Uint(key) => Value::Uint(key),
            Key::String(key) => Value::String(key),
        }
    }
}

/// A number, whatever its type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    /// The whole number that it is, if it is one.
    pub(crate) fn whole(self) -> Option<i128> {
        // Doubles beyond 2^100 are whole, but equal to no integer that CEL has.
        const DOUBLE_MAX: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;
        match self {
            Number::Whole(whole) => Some(whole),
            #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^100")]
            Number::Double(double) if double.fract() == 0.0 && double.abs() < DOUBLE_MAX => {
                Some(double as i128)
            }
            Number::Double(_) => None,
        }
    }

    /// By what they count, without rounding either; nothing compares with a NaN.
    pub(crate) fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => Some(a.cmp(&b)),
            (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
            (Number::Double(_), Number::Whole(_)) => other.compare(self).map(Ordering::reverse),
            (Number::Whole(a), Number::Double(b)) => {
                if b.is_nan() {
                    return None;
                }
                match Number::Double(b.floor()).whole() {
                    // Equal to the floor means below what was above it.
                    Some(floor) if a == floor && b > b.floor() => Some(Ordering::Less),
                    Some(floor) => Some(a.cmp(&floor)),
                    None if b > 0.0 => Some(Ordering::Less),
                    None => Some(Ordering::Greater),
                }
            }
        }
    }
}

impl<'a> Value<'a> {
    pub(crate) fn built_text(text: String, budget: &mut Budget) -> Result<Value<'a>, Exhausted> {
        budget.build(text.len())?;
        Ok(Value::String(Text::Built(text.into())))
    }

    pub(crate) fn built_list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Built(Rc::new(items)))
    }

    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Value::Int(value) => Some(Number::Whole((*value).into())),
            Value::Uint(value) => Some(Number::Whole((*value).into())),
            Value::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    /// The key that this value is, if it can be one.
    pub(crate) fn into_key(self) -> Option<Key<'a>> {
        match self {
            Value::Bool(key) => Some(Key::Bool(key)),
            Value::Int(key) => Some(Key::Int(key)),
            Value::Uint(key) => Some(Key::Uint(key)),
            Value::String(key) => Some(Key::String(key)),
            _ => None,
        }
    }

    /// The type's name in CEL.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Ip(_) => "ipaddress",
            Value::Type(_) => "type",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
        }
    }

    /// CEL's `==`: never an error; values of unlike types are unequal.
    ///
    /// Recursion follows the nesting of values, which contexts and expressions limit.
    pub(crate) fn equals(&self, other: &Value<'a>, budget: &mut Budget) -> Result<bool, Exhausted> {
        budget.spend(1)?;
        Ok(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => {
                budget.read(a.as_str().len().min(b.as_str().len()))?;
                a == b
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                budget.read(a.as_slice().len().min(b.as_slice().len()))?;
                a.as_slice() == b.as_slice()
            }
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.all_equal(b, budget)?,
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.within(b, &mut Value::equals, budget)?
            }
            (Value::Optional(None), Value::Optional(None)) => true,
            (Value::Optional(Some(a)), Value::Optional(Some(b))) => a.equals(b, budget)?,
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a.compare(b) == Some(Ordering::Equal),
                _ => false,
            },
        })
    }

    /// CEL's order; nothing for values of types that have none together, and for NaN.
    pub(crate) fn compare(
        &self,
        other: &Value<'a>,
        budget: &mut Budget,
    ) -> Result<Option<Ordering>, Exhausted> {
        Ok(match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => {
                budget.read(a.as_str().len().min(b.as_str().len()))?;
                Some(a.cmp(b))
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                budget.read(a.as_slice().len().min(b.as_slice().len()))?;
                Some(a.as_slice().cmp(b.as_slice()))
            }
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a.compare(b),
                _ => None,
            },
        })
    }

    /// Whether values of these two types have an order.
    pub(crate) fn is_ordered_with(&self, other: &Value<'_>) -> bool {
        match self {
            Value::Bool(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Duration(_)
            | Value::Timestamp(_) => std::mem::discriminant(self) == std::mem::discriminant(other),
            _ => self.number().is_some() && other.number().is_some(),
        }
    }

    /// Whether all of this map is found in the other, maps within maps alike; other values must be equal.
    pub(crate) fn is_subtree_of(&self, other: &Value<'a>, budget: &mut Budget) -> Result<bool, Exhausted> {
        match (self, other) {
            (Value::Map(a), Value::Map(b)) => a.within(b, &mut Value::is_subtree_of, budget),
            _ => self.equals(other, budget),
        }
    }
}

type Test<'a, 't> = &'t mut dyn FnMut(&Value<'a>, &Value<'a>, &mut Budget) -> Result<bool, Exhausted>;

impl<'a> Map<'a> {
    /// Whether the other map has every key of this one, with a value that passes the test.
    fn within(&self, other: &Map<'a>, test: Test<'a, '_>, budget: &mut Budget) -> Result<bool, Exhausted> {
        // All keys are laid out before the first is looked at, so all are paid for.
        budget.spend(self.len() as u64)?;
        for key in self.keys() {
            let (Some(a), Some(b)) = (self.find(&key, budget)?, other.find(&key, budget)?) else {
                return Ok(false);
            };
            if !test(&a, &b, budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<'a> List<'a> {
    fn all_equal(&self, other: &List<'a>, budget: &mut Budget) -> Result<bool, Exhausted> {
        for index in 0..self.len() {
            match (self.at(index, budget)?, other.at(index, budget)?) {
                (Some(a), Some(b)) if a.equals(&b, budget)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
