//! Which functions are there, for which types, and what do they answer?
//!
//! Every function is strict: it is asked only when all of its arguments are values.

use std::rc::Rc;

use crate::budget::{Budget, Exhausted};
use crate::convert::decimal;
use crate::print::double_text;
use crate::time::{self, Moment, Part};
use crate::typing::Type;
use crate::value::{Bytes, Text, Value};

/// A function, whatever the types of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    ToBool,
    ToInt,
    ToUint,
    ToDouble,
    ToString,
    ToBytes,
    ToDuration,
    ToTimestamp,
    ToDyn,
    TypeOf,
    Part(Part),
    InCidr,
    IsSubtreeOf,
    OptionalNone,
    OptionalOf,
    OptionalOfNonZero,
    HasValue,
    OptionalValue,
}

/// What an argument or a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Anything,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    IpAddress,
    Type,
    List,
    Map,
    /// A map with string keys.
    StringMap,
}

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    /// Whether the first argument stands before the dot.
    pub(crate) member: bool,
    pub(crate) arguments: &'static [Form],
    pub(crate) result: Form,
    pub(crate) function: Function,
}

const fn global(
    name: &'static str,
    arguments: &'static [Form],
    result: Form,
    function: Function,
) -> Signature {
    Signature { name, member: false, arguments, result, function }
}

const fn member(
    name: &'static str,
    arguments: &'static [Form],
    result: Form,
    function: Function,
) -> Signature {
    Signature { name, member: true, arguments, result, function }
}

/// Every function; operators, macros and the optional's own functions, whose results depend on their arguments'
/// types, are the checker's.
pub(crate) static SIGNATURES: &[Signature] = {
    use Form::{
        Anything, Bool, Bytes, Double, Duration, Int, IpAddress, List, Map, String, StringMap, Timestamp,
        Uint,
    };
    use Function as F;
    &[
        global("size", &[String], Int, F::Size),
        global("size", &[Bytes], Int, F::Size),
        global("size", &[List], Int, F::Size),
        global("size", &[Map], Int, F::Size),
        member("size", &[String], Int, F::Size),
        member("size", &[Bytes], Int, F::Size),
        member("size", &[List], Int, F::Size),
        member("size", &[Map], Int, F::Size),
        member("contains", &[String, String], Bool, F::Contains),
        member("startsWith", &[String, String], Bool, F::StartsWith),
        member("endsWith", &[String, String], Bool, F::EndsWith),
        member("matches", &[String, String], Bool, F::Matches),
        global("matches", &[String, String], Bool, F::Matches),
        global("bool", &[Bool], Bool, F::ToBool),
        global("bool", &[String], Bool, F::ToBool),
        global("int", &[Int], Int, F::ToInt),
        global("int", &[Uint], Int, F::ToInt),
        global("int", &[Double], Int, F::ToInt),
        global("int", &[String], Int, F::ToInt),
        global("int", &[Timestamp], Int, F::ToInt),
        global("int", &[Duration], Int, F::ToInt),
        global("uint", &[Uint], Uint, F::ToUint),
        global("uint", &[Int], Uint, F::ToUint),
        global("uint", &[Double], Uint, F::ToUint),
        global("uint", &[String], Uint, F::ToUint),
        global("double", &[Double], Double, F::ToDouble),
        global("double", &[Int], Double, F::ToDouble),
        global("double", &[Uint], Double, F::ToDouble),
        global("double", &[String], Double, F::ToDouble),
        global("string", &[String], String, F::ToString),
        global("string", &[Bool], String, F::ToString),
        global("string", &[Int], String, F::ToString),
        global("string", &[Uint], String, F::ToString),
        global("string", &[Double], String, F::ToString),
        global("string", &[Bytes], String, F::ToString),
        global("string", &[Duration], String, F::ToString),
        global("string", &[Timestamp], String, F::ToString),
        global("bytes", &[Bytes], Bytes, F::ToBytes),
        global("bytes", &[String], Bytes, F::ToBytes),
        global("duration", &[Duration], Duration, F::ToDuration),
        global("duration", &[String], Duration, F::ToDuration),
        global("timestamp", &[Timestamp], Timestamp, F::ToTimestamp),
        global("timestamp", &[String], Timestamp, F::ToTimestamp),
        global("timestamp", &[Int], Timestamp, F::ToTimestamp),
        global("dyn", &[Anything], Anything, F::ToDyn),
        global("type", &[Anything], Form::Type, F::TypeOf),
        member("getFullYear", &[Timestamp], Int, F::Part(Part::FullYear)),
        member("getFullYear", &[Timestamp, String], Int, F::Part(Part::FullYear)),
        member("getMonth", &[Timestamp], Int, F::Part(Part::Month)),
        member("getMonth", &[Timestamp, String], Int, F::Part(Part::Month)),
        member("getDayOfYear", &[Timestamp], Int, F::Part(Part::DayOfYear)),
        member("getDayOfYear", &[Timestamp, String], Int, F::Part(Part::DayOfYear)),
        member("getDayOfMonth", &[Timestamp], Int, F::Part(Part::DayOfMonth)),
        member("getDayOfMonth", &[Timestamp, String], Int, F::Part(Part::DayOfMonth)),
        member("getDate", &[Timestamp], Int, F::Part(Part::Date)),
        member("getDate", &[Timestamp, String], Int, F::Part(Part::Date)),
        member("getDayOfWeek", &[Timestamp], Int, F::Part(Part::DayOfWeek)),
        member("getDayOfWeek", &[Timestamp, String], Int, F::Part(Part::DayOfWeek)),
        member("getHours", &[Timestamp], Int, F::Part(Part::Hours)),
        member("getHours", &[Timestamp, String], Int, F::Part(Part::Hours)),
        member("getHours", &[Duration], Int, F::Part(Part::Hours)),
        member("getMinutes", &[Timestamp], Int, F::Part(Part::Minutes)),
        member("getMinutes", &[Timestamp, String], Int, F::Part(Part::Minutes)),
        member("getMinutes", &[Duration], Int, F::Part(Part::Minutes)),
        member("getSeconds", &[Timestamp], Int, F::Part(Part::Seconds)),
        member("getSeconds", &[Timestamp, String], Int, F::Part(Part::Seconds)),
        member("getSeconds", &[Duration], Int, F::Part(Part::Seconds)),
        member("getMilliseconds", &[Timestamp], Int, F::Part(Part::Milliseconds)),
        member("getMilliseconds", &[Timestamp, String], Int, F::Part(Part::Milliseconds)),
        member("getMilliseconds", &[Duration], Int, F::Part(Part::Milliseconds)),
        member("in_cidr", &[IpAddress, String], Bool, F::InCidr),
        member("isSubtreeOf", &[StringMap, StringMap], Bool, F::IsSubtreeOf),
    ]
};

impl Form {
    /// Whether a value of the type may be given.
    pub(crate) fn accepts(self, given: &Type) -> bool {
        match (self, given) {
            (_, Type::Dyn | Type::Nothing) => true,
            (Form::Int | Form::Uint, Type::Whole) => true,
            (Form::StringMap, Type::Map(key, _)) => key.fits(&Type::String),
            (Form::List, given) => matches!(given, Type::List(_)),
            (Form::Map, given) => matches!(given, Type::Map(..)),
            (Form::Anything, _) => true,
            _ => self.as_type() == *given,
        }
    }

    pub(crate) fn as_type(self) -> Type {
        let open = || Box::new(Type::Dyn);
        match self {
            Form::Anything => Type::Dyn,
            Form::Bool => Type::Bool,
            Form::Int => Type::Int,
            Form::Uint => Type::Uint,
            Form::Double => Type::Double,
            Form::String => Type::String,
            Form::Bytes => Type::Bytes,
            Form::Duration => Type::Duration,
            Form::Timestamp => Type::Timestamp,
            Form::IpAddress => Type::IpAddress,
            Form::Type => Type::Meta,
            Form::List => Type::List(open()),
            Form::Map => Type::Map(open(), open()),
            Form::StringMap => Type::Map(Box::new(Type::String), open()),
        }
    }
}

/// What a function answers: a value, or why there is none.
pub(crate) type Applied<'a> = Result<Result<Value<'a>, String>, Exhausted>;

/// Asks a function; `matches` is the evaluator's, which keeps compiled patterns.
pub(crate) fn apply<'a>(function: Function, arguments: &[Value<'a>], budget: &mut Budget) -> Applied<'a> {
    let no_overload = || {
        let given: Vec<_> = arguments.iter().map(Value::type_name).collect();
        format!("{} takes no ({})", function.title(), given.join(", "))
    };
    Ok(match (function, arguments) {
        (Function::Size, [value]) => match size(value, budget)? {
            Some(size) => Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX))),
            None => Err(no_overload()),
        },
        (
            Function::Contains | Function::StartsWith | Function::EndsWith,
            [Value::String(a), Value::String(b)],
        ) => {
            let (a, b) = (a.as_str(), b.as_str());
            budget.read(a.len() + b.len())?;
            Ok(Value::Bool(match function {
                Function::Contains => a.contains(b),
                Function::StartsWith => a.starts_with(b),
                _ => a.ends_with(b),
            }))
        }
        (Function::ToBool, [value @ Value::Bool(_)]) => Ok(value.clone()),
        (Function::ToBool, [Value::String(text)]) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(unreadable(text, "a bool")),
        },
        (Function::ToInt, [value]) => to_int(value).unwrap_or_else(|| Err(no_overload())).map(Value::Int),
        (Function::ToUint, [value]) => to_uint(value).unwrap_or_else(|| Err(no_overload())).map(Value::Uint),
        (Function::ToDouble, [value]) => {
            to_double(value).unwrap_or_else(|| Err(no_overload())).map(Value::Double)
        }
        (Function::ToString, [value]) => to_string(value, budget)?.unwrap_or_else(|| Err(no_overload())),
        (Function::ToBytes, [value @ Value::Bytes(_)]) => Ok(value.clone()),
        (Function::ToBytes, [Value::String(text)]) => Ok(Value::Bytes(match text {
            Text::Borrowed(text) => Bytes::Borrowed(text.as_bytes()),
            Text::Built(text) => {
                budget.build(text.len())?;
                Bytes::Built(text.as_bytes().into())
            }
        })),
        (Function::ToDuration, [value @ Value::Duration(_)]) => Ok(value.clone()),
        (Function::ToDuration, [Value::String(text)]) => time::parse_duration(text.as_str())
            .map(Value::Duration)
            .ok_or_else(|| unreadable(text, "a duration such as 1h30m")),
        (Function::ToTimestamp, [value @ Value::Timestamp(_)]) => Ok(value.clone()),
        (Function::ToTimestamp, [Value::Int(seconds)]) => {
            Moment::new(*seconds, 0).map(Value::Timestamp).ok_or_else(beyond_time)
        }
        (Function::ToTimestamp, [Value::String(text)]) => Moment::parse(text.as_str())
            .map(Value::Timestamp)
            .ok_or_else(|| unreadable(text, "a time such as 2030-01-31T12:00:00Z")),
        (Function::ToDyn, [value]) => Ok(value.clone()),
        (Function::TypeOf, [value]) => Ok(Value::Type(value.type_name())),
        (Function::Part(part), [Value::Timestamp(moment)]) => Ok(Value::Int(moment.part(part, 0))),
        (Function::Part(part), [Value::Timestamp(moment), Value::String(zone)]) => {
            match moment.offset_in(zone.as_str()) {
                Some(offset) => Ok(Value::Int(moment.part(part, offset))),
                None => Err(unreadable(zone, "a time zone such as Europe/Paris or +05:30")),
            }
        }
        (Function::Part(part), [Value::Duration(nanos)]) => {
            time::duration_part(*nanos, part).map(Value::Int).ok_or_else(no_overload)
        }
        (Function::InCidr, [Value::Ip(ip), Value::String(network)]) => {
            match in_network(ip.address, network.as_str()) {
                // An address with a zone is in no network.
                Some(within) => Ok(Value::Bool(within && ip.zone.is_empty())),
                None => Err(unreadable(network, "a network such as 10.0.0.0/8")),
            }
        }
        (Function::IsSubtreeOf, [a @ Value::Map(_), b @ Value::Map(_)]) => {
            Ok(Value::Bool(a.is_subtree_of(b, budget)?))
        }
        (Function::OptionalNone, []) => Ok(Value::Optional(None)),
        (Function::OptionalOf, [value]) => Ok(Value::Optional(Some(Rc::new(value.clone())))),
        (Function::OptionalOfNonZero, [value]) => {
            Ok(Value::Optional((!is_zero(value)).then(|| Rc::new(value.clone()))))
        }
        (Function::HasValue, [Value::Optional(inner)]) => Ok(Value::Bool(inner.is_some())),
        (Function::OptionalValue, [Value::Optional(Some(inner))]) => Ok((**inner).clone()),
        (Function::OptionalValue, [Value::Optional(None)]) => {
            Err("value() was asked of an empty optional; ask hasValue() first, or orValue(…)".to_owned())
        }
        _ => Err(no_overload()),
    })
}

impl Function {
    fn title(self) -> String {
        let signature = SIGNATURES.iter().find(|s| s.function == self);
        match (signature, self) {
            (Some(signature), _) => format!("`{}`", signature.name),
            (None, Function::HasValue) => "`hasValue`".to_owned(),
            (None, Function::OptionalValue) => "`value`".to_owned(),
            _ => "this function".to_owned(),
        }
    }
}

fn unreadable(text: &Text<'_>, wanted: &str) -> String {
    let text: String = text.as_str().chars().take(80).collect();
    format!("`{text}` is not {wanted}")
}

fn beyond_time() -> String {
    "the time is outside of the years 1 to 9999".to_owned()
}

fn size(value: &Value<'_>, budget: &mut Budget) -> Result<Option<usize>, Exhausted> {
    Ok(match value {
        Value::String(text) => {
            budget.read(text.as_str().len())?;
            Some(text.as_str().chars().count())
        }
        Value::Bytes(bytes) => Some(bytes.as_slice().len()),
        Value::List(list) => Some(list.len()),
        Value::Map(map) => Some(map.len()),
        _ => None,
    })
}

type Converted<T> = Option<Result<T, String>>;

/// The double's whole part, if it lies in a range.
fn truncated(double: f64, least: i128, most: i128) -> Option<i128> {
    // Beyond 2^100 no range of ours reaches.
    const DOUBLE_MAX: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;
    #[expect(clippy::cast_possible_truncation, reason = "below 2^100")]
    let whole = (double.abs() < DOUBLE_MAX).then(|| double.trunc() as i128);
    whole.filter(|whole| (least..=most).contains(whole))
}

fn to_int(value: &Value<'_>) -> Converted<i64> {
    let overflow = || "the number is outside of an int's range".to_owned();
    Some(match value {
        Value::Int(value) => Ok(*value),
        Value::Uint(value) => i64::try_from(*value).map_err(|_| overflow()),
        Value::Double(value) => truncated(*value, i64::MIN.into(), i64::MAX.into())
            .and_then(|whole| i64::try_from(whole).ok())
            .ok_or_else(overflow),
        Value::String(text) => text.as_str().parse().map_err(|_| unreadable(text, "an int")),
        Value::Timestamp(moment) => Ok(moment.seconds()),
        Value::Duration(nanos) => Ok(*nanos),
        _ => return None,
    })
}

fn to_uint(value: &Value<'_>) -> Converted<u64> {
    let overflow = || "the number is outside of a uint's range".to_owned();
    Some(match value {
        Value::Uint(value) => Ok(*value),
        Value::Int(value) => u64::try_from(*value).map_err(|_| overflow()),
        Value::Double(value) => truncated(*value, 0, u64::MAX.into())
            .and_then(|whole| u64::try_from(whole).ok())
            .ok_or_else(overflow),
        Value::String(text) if text.as_str().starts_with('+') => Err(unreadable(text, "a uint")),
        Value::String(text) => text.as_str().parse().map_err(|_| unreadable(text, "a uint")),
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "what a conversion to double is")]
fn to_double(value: &Value<'_>) -> Converted<f64> {
    Some(match value {
        Value::Double(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Uint(value) => Ok(*value as f64),
        Value::String(text) => {
            match text.as_str().trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
                "nan" if text.as_str().len() == 3 => Ok(f64::NAN),
                "inf" | "infinity" if text.as_str().starts_with('-') => Ok(f64::NEG_INFINITY),
                "inf" | "infinity" => Ok(f64::INFINITY),
                _ => decimal(text.as_str()).ok_or_else(|| unreadable(text, "a double")),
            }
        }
        _ => return None,
    })
}

fn to_string<'a>(
    value: &Value<'a>,
    budget: &mut Budget,
) -> Result<Option<Result<Value<'a>, String>>, Exhausted> {
    let text = match value {
        Value::String(_) => return Ok(Some(Ok(value.clone()))),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::Duration(nanos) => time::duration_text(*nanos),
        Value::Timestamp(moment) => moment.text(),
        Value::Bytes(bytes) => {
            budget.read(bytes.as_slice().len())?;
            match std::str::from_utf8(bytes.as_slice()) {
                Ok(text) => text.to_owned(),
                Err(_) => return Ok(Some(Err("the bytes are not UTF-8, so they are no string".to_owned()))),
            }
        }
        _ => return Ok(None),
    };
    Value::built_text(text, budget).map(|value| Some(Ok(value)))
}

/// Whether the address is in the network; nothing if the text is no network.
fn in_network(address: std::net::IpAddr, network: &str) -> Option<bool> {
    let (base, bits) = network.split_once('/')?;
    let base: std::net::IpAddr = base.parse().ok()?;
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let bits: u32 = bits.parse().ok().filter(|_| plain)?;
    let widest = if base.is_ipv4() { 32 } else { 128 };
    if bits > widest {
        return None;
    }
    let within = |a: u128, b: u128| (a ^ b).checked_shr(widest - bits).unwrap_or(0) == 0;
    Some(match (address, base) {
        (std::net::IpAddr::V4(a), std::net::IpAddr::V4(b)) => within(a.to_bits().into(), b.to_bits().into()),
        (std::net::IpAddr::V6(a), std::net::IpAddr::V6(b)) => within(a.to_bits(), b.to_bits()),
        _ => false,
    })
}

/// Whether a value is its type's zero, so that `optional.ofNonZeroValue` is empty.
fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => true,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.as_str().is_empty(),
        Value::Bytes(bytes) => bytes.as_slice().is_empty(),
        Value::List(list) => list.len() == 0,
        Value::Map(map) => map.len() == 0,
        Value::Optional(inner) => inner.is_none(),
        _ => false,
    }
}
