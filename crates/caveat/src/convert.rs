//! Which value does a context give a parameter of this type?
//!
//! A context is JSON: whole numbers come as doubles or decimal strings, bytes as base64, durations as `1h30m`,
//! moments as RFC 3339, addresses as text. The rules are SpiceDB's, except that numbers outside of their type's range
//! are refused here, where it silently takes the nearest that fits.
//!
//! Cost: [`check`] walks a value once; [`value`] looks at its outermost part only.

use idhini_model::{ContextValue, VALUE_DEPTH_MAX};

use crate::CaveatType;
use crate::budget::{Budget, Exhausted};
use crate::print::double_text;
use crate::time::{Moment, parse_duration};
use crate::value::{Bytes, Ip, List, Map, Text, Value};

/// What the elements of an `any` are.
static ANY: CaveatType = CaveatType::Any;

/// Longest decimal text of a number, in bytes.
const NUMBER_BYTES_MAX: usize = 64;

/// Why a value does not convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Exhausted,
    /// The text for people is made by [`explain`], when it is wanted.
    IllTyped,
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Refusal {
        Refusal::Exhausted
    }
}

/// Checks a value against a type, all the way down.
pub(crate) fn check(value: &ContextValue, of: &CaveatType, budget: &mut Budget) -> Result<(), Refusal> {
    check_at(value, of, 0, budget)
}

fn check_at(value: &ContextValue, of: &CaveatType, depth: usize, budget: &mut Budget) -> Result<(), Refusal> {
    budget.spend(1)?;
    if depth > VALUE_DEPTH_MAX {
        return Err(Refusal::IllTyped);
    }
    match (value, of) {
        (ContextValue::List(items), CaveatType::List(_) | CaveatType::Any) => {
            let of = if let CaveatType::List(of) = of { of } else { &ANY };
            items.iter().try_for_each(|item| check_at(item, of, depth + 1, budget))
        }
        (ContextValue::Map(entries), CaveatType::Map(_) | CaveatType::Any) => {
            let of = if let CaveatType::Map(of) = of { of } else { &ANY };
            entries.values().try_for_each(|entry| check_at(entry, of, depth + 1, budget))
        }
        _ => {
            if let ContextValue::String(text) = value {
                budget.read(text.len())?;
            }
            self::value(value, of).map(|_| ()).ok_or(Refusal::IllTyped)
        }
    }
}

/// What is wrong with an ill-typed value: what was expected, and what came.
pub(crate) fn explain(value: &ContextValue, of: &CaveatType) -> String {
    explain_at(value, of, 0).unwrap_or_else(|| format!("expected {of}"))
}

fn explain_at(value: &ContextValue, of: &CaveatType, depth: usize) -> Option<String> {
    if depth > VALUE_DEPTH_MAX {
        return Some(format!("lists and maps are nested deeper than {VALUE_DEPTH_MAX} levels"));
    }
    match (value, of) {
        (ContextValue::List(items), CaveatType::List(_) | CaveatType::Any) => {
            let of = if let CaveatType::List(of) = of { of } else { &ANY };
            let of_element =
                |(i, item)| explain_at(item, of, depth + 1).map(|why| format!("element {i}: {why}"));
            items.iter().enumerate().find_map(of_element)
        }
        (ContextValue::Map(entries), CaveatType::Map(_) | CaveatType::Any) => {
            let of = if let CaveatType::Map(of) = of { of } else { &ANY };
            let of_entry = |(key, entry): (&String, _)| {
                explain_at(entry, of, depth + 1).map(|why| format!("entry `{}`: {why}", shortened(key)))
            };
            entries.iter().find_map(of_entry)
        }
        _ if self::value(value, of).is_some() => None,
        _ => Some(format!("expected {}, but {} came", form(of), came(value))),
    }
}

/// A type, and how its values look in a context.
fn form(of: &CaveatType) -> String {
    match of {
        CaveatType::Int => "an int (a whole number of 64 bits, or one as a decimal string)".to_owned(),
        CaveatType::Uint => {
            "a uint (a whole number of 64 bits, not negative, or one as a decimal string)".to_owned()
        }
        CaveatType::Double => "a double (a number, or one as a decimal string)".to_owned(),
        CaveatType::Bytes => "bytes (a base64 string)".to_owned(),
        CaveatType::Duration => "a duration (a string such as \"1h30m\")".to_owned(),
        CaveatType::Timestamp => "a timestamp (a string such as \"2030-01-31T12:00:00Z\")".to_owned(),
        CaveatType::IpAddress => "an ipaddress (a string such as \"10.0.0.1\")".to_owned(),
        _ => format!("a {of}"),
    }
}

fn came(value: &ContextValue) -> String {
    match value {
        ContextValue::Null => "null".to_owned(),
        ContextValue::Bool(value) => format!("the bool {value}"),
        ContextValue::Number(value) => format!("the number {}", double_text(*value)),
        ContextValue::String(value) => format!("the string \"{}\"", shortened(value)),
        ContextValue::List(_) => "a list".to_owned(),
        ContextValue::Map(_) => "a map".to_owned(),
    }
}

/// Error texts quote what came from outside, but never megabytes of it.
fn shortened(text: &str) -> String {
    const QUOTED_CHARS_MAX: usize = 80;
    let cut: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if cut.len() == text.len() { cut } else { cut + "…" }
}

/// The value of a type that `from` stands for; elements of lists and maps are not looked at.
pub(crate) fn value<'a>(from: &'a ContextValue, of: &'a CaveatType) -> Option<Value<'a>> {
    Some(match (of, from) {
        (CaveatType::Any, ContextValue::Null) => Value::Null,
        (CaveatType::Any | CaveatType::Bool, ContextValue::Bool(value)) => Value::Bool(*value),
        (CaveatType::Any | CaveatType::String, ContextValue::String(value)) => {
            Value::String(Text::Borrowed(value))
        }
        (CaveatType::Any | CaveatType::Double, ContextValue::Number(value)) => Value::Double(*value),
        (CaveatType::Any, ContextValue::List(items)) => Value::List(List::Context(items, &ANY)),
        (CaveatType::Any, ContextValue::Map(entries)) => Value::Map(Map::Context(entries, &ANY)),
        (CaveatType::List(of), ContextValue::List(items)) => Value::List(List::Context(items, of)),
        (CaveatType::Map(of), ContextValue::Map(entries)) => Value::Map(Map::Context(entries, of)),
        (CaveatType::Int, number) => Value::Int(i64::try_from(whole(number)?).ok()?),
        (CaveatType::Uint, number) => Value::Uint(u64::try_from(whole(number)?).ok()?),
        (CaveatType::Double, ContextValue::String(text)) => Value::Double(decimal(text)?),
        (CaveatType::Bytes, ContextValue::String(text)) => Value::Bytes(Bytes::Built(base64(text)?.into())),
        (CaveatType::Duration, ContextValue::String(text)) => Value::Duration(parse_duration(text)?),
        (CaveatType::Timestamp, ContextValue::String(text)) => Value::Timestamp(Moment::parse(text)?),
        (CaveatType::IpAddress, ContextValue::String(text)) => Value::Ip(address(text)?),
        _ => return None,
    })
}

/// The whole number that a number or a decimal string is.
fn whole(from: &ContextValue) -> Option<i128> {
    // Every double from 2^64 on is outside of both integer types.
    const DOUBLE_MAX: f64 = 18_446_744_073_709_551_616.0;
    match from {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^64")]
        ContextValue::Number(n) if n.fract() == 0.0 && n.abs() < DOUBLE_MAX => Some(*n as i128),
        ContextValue::String(text) => whole_decimal(text),
        _ => None,
    }
}

/// Reads `12`, `-1.0`, `1.5e1`: exactly, whatever its length.
fn whole_decimal(text: &str) -> Option<i128> {
    let (negative, digits, fraction, exponent) = decimal_parts(text)?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits = [digits, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let whole = if shift >= 0 {
        // Beyond 39 digits no 128 bits hold it.
        let zeros = usize::try_from(shift).ok().filter(|zeros| digits.is_empty() || *zeros < 39)?;
        if digits.is_empty() { "0".to_owned() } else { digits.to_owned() + &"0".repeat(zeros) }
    } else {
        let cut = usize::try_from(-i64::from(shift)).ok()?;
        let (whole, rest) = digits.split_at(digits.len().saturating_sub(cut));
        if rest.bytes().any(|b| b != b'0') {
            return None;
        }
        if whole.is_empty() { "0".to_owned() } else { whole.to_owned() }
    };
    let magnitude: i128 = whole.parse().ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Reads a decimal as a double; what is too large for one is refused.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    decimal_parts(text)?;
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Sign, digits, digits of the fraction, exponent.
fn decimal_parts(text: &str) -> Option<(bool, &str, &str, i32)> {
    if text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (digits, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let good = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    (good(digits) && good(fraction) && !(digits.is_empty() && fraction.is_empty())).then_some((
        text.starts_with('-'),
        digits,
        fraction,
        exponent,
    ))
}

/// Standard base64, padded.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| -> Option<u32> {
        Some(match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(body.len() / 4 * 3 + 2);
    for group in body.as_bytes().chunks(4) {
        let mut bits = 0;
        for byte in group {
            bits = bits << 6 | digit(*byte)?;
        }
        bits <<= 6 * (4 - group.len());
        // Two digits make one byte, three make two, four make three.
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

/// An address of either version; one of version 6 may name its zone.
fn address(text: &str) -> Option<Ip<'_>> {
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => {
            Some(Ip { address: address.parse::<std::net::Ipv6Addr>().ok()?.into(), zone })
        }
        Some(_) => None,
        None => Some(Ip { address: text.parse().ok()?, zone: "" }),
    }
}
