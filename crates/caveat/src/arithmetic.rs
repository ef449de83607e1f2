//! What do `+ - * / %` make of two values?
//!
//! # Invariants
//! * Integers, durations and moments never wrap: beyond their range there is an error. Doubles follow IEEE 754.

use crate::budget::Budget;
use crate::functions::Applied;
use crate::tree::Arithmetic;
use crate::value::{Bytes, Text, Value};

/// An operator on two values.
pub(crate) fn compute<'a>(
    operator: Arithmetic,
    left: &Value<'a>,
    right: &Value<'a>,
    budget: &mut Budget,
) -> Applied<'a> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    let symbol = operator.symbol();
    let overflow = |kind: &str| format!("`{symbol}`: the result is outside of {kind}'s range");
    let by_zero = matches!(operator, Divide | Remainder)
        && matches!((left, right), (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)));
    if by_zero {
        return Ok(Err(format!("`{symbol}` by zero")));
    }
    Ok(match (left, right, operator) {
        (Value::Int(a), Value::Int(b), _) => match operator {
            Add => a.checked_add(*b),
            Subtract => a.checked_sub(*b),
            Multiply => a.checked_mul(*b),
            Divide => a.checked_div(*b),
            Remainder => a.checked_rem(*b),
        }
        .map(Value::Int)
        .ok_or_else(|| overflow("an int")),
        (Value::Uint(a), Value::Uint(b), _) => match operator {
            Add => a.checked_add(*b),
            Subtract => a.checked_sub(*b),
            Multiply => a.checked_mul(*b),
            Divide => a.checked_div(*b),
            Remainder => a.checked_rem(*b),
        }
        .map(Value::Uint)
        .ok_or_else(|| overflow("a uint")),
        (Value::Double(a), Value::Double(b), Add) => Ok(Value::Double(a + b)),
        (Value::Double(a), Value::Double(b), Subtract) => Ok(Value::Double(a - b)),
        (Value::Double(a), Value::Double(b), Multiply) => Ok(Value::Double(a * b)),
        (Value::Double(a), Value::Double(b), Divide) => Ok(Value::Double(a / b)),
        (Value::String(a), Value::String(b), Add) => {
            let text = [a.as_str(), b.as_str()];
            budget.build(text[0].len() + text[1].len())?;
            Ok(Value::String(Text::Built(text.concat().into())))
        }
        (Value::Bytes(a), Value::Bytes(b), Add) => {
            let bytes = [a.as_slice(), b.as_slice()];
            budget.build(bytes[0].len() + bytes[1].len())?;
            Ok(Value::Bytes(Bytes::Built(bytes.concat().into())))
        }
        (Value::List(a), Value::List(b), Add) => {
            budget.build((a.len() + b.len()) * size_of::<Value<'_>>())?;
            let mut items = Vec::with_capacity(a.len() + b.len());
            for list in [a, b] {
                for at in 0..list.len() {
                    items.extend(list.at(at, budget)?);
                }
            }
            Ok(Value::built_list(items))
        }
        (Value::Duration(a), Value::Duration(b), Add) => {
            a.checked_add(*b).map(Value::Duration).ok_or_else(|| overflow("a duration"))
        }
        (Value::Duration(a), Value::Duration(b), Subtract) => {
            a.checked_sub(*b).map(Value::Duration).ok_or_else(|| overflow("a duration"))
        }
        (Value::Timestamp(a), Value::Duration(b), Add) | (Value::Duration(b), Value::Timestamp(a), Add) => {
            a.plus(*b).map(Value::Timestamp).ok_or_else(|| overflow("a timestamp"))
        }
        (Value::Timestamp(a), Value::Duration(b), Subtract) => b
            .checked_neg()
            .and_then(|b| a.plus(b))
            .map(Value::Timestamp)
            .ok_or_else(|| overflow("a timestamp")),
        (Value::Timestamp(a), Value::Timestamp(b), Subtract) => {
            a.since(*b).map(Value::Duration).ok_or_else(|| overflow("a duration"))
        }
        (a, b, _) => Err(format!(
            "`{symbol}` does not take {} and {}; convert one of them first",
            a.type_name(),
            b.type_name()
        )),
    })
}
