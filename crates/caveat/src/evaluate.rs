//! What does the expression say, as far as the known parameters tell?
//!
//! Every operation answers a value, the parameters it would need to know (*unknown*), or an error. CEL's rules:
//! * `&&` and `||` are decided by one false or true, whatever the others are; undecided, unknowns win over errors.
//! * A condition that is unknown makes the whole unknown by its own parameters only: which branch would count is open.
//! * Every other operation is strict: the unknowns of all of its operands together, else its first error.
//! * `all` is an `&&` over the elements, `exists` an `||`; the other macros are strict in every element.
//!
//! # Invariants
//! * An answer true or false is the answer for every value of the unknown parameters.
//! * Every operation and every turn of a loop is charged; nothing runs on once the budget is gone.
//!
//! Cost: no allocation but for values built by the expression. Recursion is bounded by `tree::DEPTH_MAX`; each
//! operation is a function of its own, so that a level takes little stack.
//! Source: the CEL language definition, sections "Evaluation" and "Runtime errors"; partial evaluation after cel-go.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::arithmetic::compute;
use crate::budget::{Budget, Exhausted};
use crate::code::{Access, Code, Id, Item, Operation};
use crate::functions::{Function, apply};
use crate::pattern::Pattern;
use crate::tree::{Arithmetic, Literal, Macro, Relation};
use crate::value::{Bytes, List, Map, Text, Value};

/// Places of parameters, as bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unknowns(SmallVec<[u64; 2]>);

impl Unknowns {
    fn one(place: u32) -> Unknowns {
        let mut unknowns = Unknowns::default();
        let word = place as usize / 64;
        unknowns.0.resize(word + 1, 0);
        unknowns.0[word] = 1 << (place % 64);
        unknowns
    }

    fn join(&mut self, other: Unknowns) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
    }

    /// The places, in their order.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|place| self.0[place / 64] >> (place % 64) & 1 == 1)
    }
}

/// What an operation answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer<'a> {
    Value(Value<'a>),
    Unknown(Unknowns),
    Error(String),
}

type Step<'a> = Result<Answer<'a>, Exhausted>;

fn bool_answer<'a>(value: bool) -> Step<'a> {
    Ok(Answer::Value(Value::Bool(value)))
}

fn error<'a>(message: impl Into<String>) -> Step<'a> {
    Ok(Answer::Error(message.into()))
}

/// Parameters' values by their places; nothing for those that are unknown.
pub(crate) type Parameters<'a> = SmallVec<[Option<Value<'a>>; 8]>;

/// Evaluates the expression under `root`.
pub(crate) fn evaluate<'a>(
    code: &'a Code,
    root: Id,
    parameters: &Parameters<'a>,
    budget: &mut Budget,
) -> Result<Answer<'a>, Exhausted> {
    let mut machine = Machine { code, parameters, variables: Vec::new(), budget };
    machine.run(root)
}

struct Machine<'a, 'e> {
    code: &'a Code,
    parameters: &'e Parameters<'a>,
    /// Values of the macros' variables around, innermost last.
    variables: Vec<Value<'a>>,
    budget: &'e mut Budget,
}

/// What strict operations gather from their operands: unknowns, else the first error.
#[derive(Default)]
struct Strict {
    unknowns: Option<Unknowns>,
    error: Option<String>,
}

impl Strict {
    /// Keeps what is no value.
    fn take<'a>(&mut self, answer: Answer<'a>) -> Option<Value<'a>> {
        match answer {
            Answer::Value(value) => return Some(value),
            Answer::Unknown(unknowns) => self.unknowns.get_or_insert_default().join(unknowns),
            Answer::Error(error) => {
                self.error.get_or_insert(error);
            }
        }
        None
    }

    fn is_clear(&self) -> bool {
        self.unknowns.is_none() && self.error.is_none()
    }

    /// The unknowns, the error, or what is given.
    fn or<'a>(self, value: impl FnOnce() -> Answer<'a>) -> Answer<'a> {
        match (self.unknowns, self.error) {
            (Some(unknowns), _) => Answer::Unknown(unknowns),
            (None, Some(error)) => Answer::Error(error),
            (None, None) => value(),
        }
    }
}

impl<'a> Machine<'a, '_> {
    fn run(&mut self, id: Id) -> Step<'a> {
        self.budget.spend(1)?;
        let code = self.code;
        match code.at(id) {
            Operation::Constant(literal) => Ok(Answer::Value(constant(literal))),
            Operation::Type(name) => Ok(Answer::Value(Value::Type(name))),
            Operation::Parameter(place) => Ok(match self.parameters.get(*place as usize) {
                Some(Some(value)) => Answer::Value(value.clone()),
                _ => Answer::Unknown(Unknowns::one(*place)),
            }),
            Operation::Variable(place) => match self.variables.get(*place as usize) {
                Some(value) => Ok(Answer::Value(value.clone())),
                None => error("a variable is used outside of its macro"),
            },
            Operation::Select { operand, field, access } => self.select(*operand, field, *access),
            Operation::Index { operand, index, access } => self.index(*operand, *index, *access),
            Operation::Call { function, arguments } => self.call(*function, arguments),
            Operation::Matches { text, pattern } => self.matches(*text, pattern),
            Operation::OrElse { left, right, unwrap } => self.or_else(*left, *right, *unwrap),
            Operation::Not(operand) => self.not(*operand),
            Operation::Negate(operand) => self.negate(*operand),
            Operation::Arithmetic { first, rest } => self.arithmetic(*first, rest),
            Operation::Relation { relation, left, right } => self.relation(*relation, *left, *right),
            Operation::All(operands) => self.logic(operands, false),
            Operation::Any(operands) => self.logic(operands, true),
            Operation::Condition { condition, then, otherwise } => {
                let condition = self.run(*condition)?;
                match condition {
                    Answer::Value(Value::Bool(true)) => self.run(*then),
                    Answer::Value(Value::Bool(false)) => self.run(*otherwise),
                    Answer::Value(other) => not_a_bool("the condition before `?`", &other),
                    other => Ok(other),
                }
            }
            Operation::List(items) => self.list(items),
            Operation::Map(items) => self.map(items),
            Operation::Fold { kind, range, filter, body } => self.fold(*kind, *range, *filter, *body),
        }
    }

    #[inline(never)]
    fn select(&mut self, operand: Id, field: &'a str, access: Access) -> Step<'a> {
        let value = match self.run(operand)? {
            Answer::Value(value) => value,
            other => return Ok(other),
        };
        let value = match value {
            Value::Optional(None) => return Ok(absent(access, String::new)),
            Value::Optional(Some(inner)) => (*inner).clone(),
            value => value,
        };
        let found = match &value {
            Value::Map(map) => map.field(&Text::Borrowed(field), self.budget)?,
            Value::List(_) => return error(format!("a list has no field `{field}`; its index is a number")),
            // `has(x.field)` and `x.?field` ask whether it is there, and so does not be an error.
            _ => None,
        };
        let kind = value.type_name();
        Ok(found.map_or_else(
            || {
                absent(access, || match kind {
                    "map" => format!("the map has no key `{field}`; ask with has(…) first"),
                    _ => format!("a value of type {kind} has no field `{field}`"),
                })
            },
            |value| present(access, value),
        ))
    }

    #[inline(never)]
    fn index(&mut self, operand: Id, index: Id, access: Access) -> Step<'a> {
        let mut strict = Strict::default();
        let operand = strict.take(self.run(operand)?);
        let index = strict.take(self.run(index)?);
        let (Some(operand), Some(index)) = (operand, index) else {
            return Ok(strict.or(|| Answer::Value(Value::Null)));
        };
        let operand = match operand {
            Value::Optional(None) => return Ok(absent(access, String::new)),
            Value::Optional(Some(inner)) => (*inner).clone(),
            operand => operand,
        };
        let found = match &operand {
            Value::List(list) => match index.number().and_then(crate::value::Number::whole) {
                Some(at) => {
                    usize::try_from(at).ok().map(|at| list.at(at, self.budget)).transpose()?.flatten()
                }
                None => {
                    return error(format!("a list's index is a whole number, not a {}", index.type_name()));
                }
            },
            Value::Map(map) => map.find(&index, self.budget)?,
            _ if access == Access::Optional => None,
            other => return error(format!("a value of type {} has no index", other.type_name())),
        };
        Ok(found.map_or_else(
            || {
                absent(access, || match (&operand, &index) {
                    (Value::List(list), _) => {
                        format!("the list has {} elements and none at this index", list.len())
                    }
                    (_, Value::String(key)) => {
                        let key: String = key.as_str().chars().take(80).collect();
                        format!("the map has no key `{key}`; ask with `in` first")
                    }
                    _ => "the map has no such key; ask with `in` first".to_owned(),
                })
            },
            |value| present(access, value),
        ))
    }

    #[inline(never)]
    fn call(&mut self, function: Function, arguments: &[Id]) -> Step<'a> {
        let mut strict = Strict::default();
        let mut values: SmallVec<[Value<'a>; 2]> = SmallVec::new();
        for argument in arguments {
            values.extend(strict.take(self.run(*argument)?));
        }
        if !strict.is_clear() {
            return Ok(strict.or(|| Answer::Value(Value::Null)));
        }
        if function == Function::Matches
            && let [Value::String(text), Value::String(pattern)] = &values[..]
        {
            return self.matches_any(text, pattern);
        }
        Ok(match apply(function, &values, self.budget)? {
            Ok(value) => Answer::Value(value),
            Err(why) => Answer::Error(why),
        })
    }

    #[inline(never)]
    fn matches(&mut self, text: Id, pattern: &Pattern) -> Step<'a> {
        match self.run(text)? {
            Answer::Value(Value::String(text)) => bool_answer(pattern.is_match(text.as_str(), self.budget)?),
            Answer::Value(other) => error(format!("`matches` takes a string, not a {}", other.type_name())),
            other => Ok(other),
        }
    }

    /// `matches` with a pattern that only evaluation knows, or that is too large to keep.
    fn matches_any(&mut self, text: &Text<'a>, source: &Text<'a>) -> Step<'a> {
        match Pattern::compile(source.as_str(), self.budget)? {
            Ok(pattern) => bool_answer(pattern.is_match(text.as_str(), self.budget)?),
            Err(why) => error(why),
        }
    }

    #[inline(never)]
    fn or_else(&mut self, left: Id, right: Id, unwrap: bool) -> Step<'a> {
        match self.run(left)? {
            Answer::Value(Value::Optional(None)) => self.run(right),
            Answer::Value(Value::Optional(Some(inner))) if unwrap => Ok(Answer::Value((*inner).clone())),
            Answer::Value(value @ Value::Optional(Some(_))) => Ok(Answer::Value(value)),
            Answer::Value(other) => {
                error(format!("only an optional has another value, not a {}", other.type_name()))
            }
            other => Ok(other),
        }
    }

    #[inline(never)]
    fn not(&mut self, operand: Id) -> Step<'a> {
        match self.run(operand)? {
            Answer::Value(Value::Bool(value)) => bool_answer(!value),
            Answer::Value(other) => not_a_bool("`!`", &other),
            other => Ok(other),
        }
    }

    #[inline(never)]
    fn negate(&mut self, operand: Id) -> Step<'a> {
        match self.run(operand)? {
            Answer::Value(Value::Int(value)) => match value.checked_neg() {
                Some(value) => Ok(Answer::Value(Value::Int(value))),
                None => error("`-`: the result is outside of an int's range"),
            },
            Answer::Value(Value::Double(value)) => Ok(Answer::Value(Value::Double(-value))),
            Answer::Value(other) => {
                error(format!("`-` takes an int or a double, not a {}", other.type_name()))
            }
            other => Ok(other),
        }
    }

    #[inline(never)]
    fn arithmetic(&mut self, first: Id, rest: &[(Arithmetic, Id)]) -> Step<'a> {
        let mut strict = Strict::default();
        let mut result = strict.take(self.run(first)?);
        for (operator, operand) in rest {
            let right = strict.take(self.run(*operand)?);
            result = match (result, right) {
                (Some(left), Some(right)) => match compute(*operator, &left, &right, self.budget)? {
                    Ok(value) => Some(value),
                    Err(why) => strict.take(Answer::Error(why)),
                },
                _ => None,
            };
        }
        Ok(strict.or(|| Answer::Value(result.unwrap_or(Value::Null))))
    }

    #[inline(never)]
    fn relation(&mut self, relation: Relation, left: Id, right: Id) -> Step<'a> {
        let mut strict = Strict::default();
        let left = strict.take(self.run(left)?);
        let right = strict.take(self.run(right)?);
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(strict.or(|| Answer::Value(Value::Null)));
        };
        let by_order = |test: fn(Ordering) -> bool, budget: &mut Budget| {
            if !left.is_ordered_with(&right) {
                let (a, b) = (left.type_name(), right.type_name());
                return error(format!("`{}` does not take {a} and {b}", relation.symbol()));
            }
            match left.compare(&right, budget)? {
                Some(order) => bool_answer(test(order)),
                None => error(format!("`{}`: NaN has no order", relation.symbol())),
            }
        };
        match relation {
            Relation::Equal => bool_answer(left.equals(&right, self.budget)?),
            Relation::NotEqual => bool_answer(!left.equals(&right, self.budget)?),
            Relation::Less => by_order(Ordering::is_lt, self.budget),
            Relation::LessEqual => by_order(Ordering::is_le, self.budget),
            Relation::Greater => by_order(Ordering::is_gt, self.budget),
            Relation::GreaterEqual => by_order(Ordering::is_ge, self.budget),
            Relation::In => match &right {
                Value::Map(map) => bool_answer(map.find(&left, self.budget)?.is_some()),
                Value::List(list) => {
                    for at in 0..list.len() {
                        if let Some(element) = list.at(at, self.budget)?
                            && left.equals(&element, self.budget)?
                        {
                            return bool_answer(true);
                        }
                    }
                    bool_answer(false)
                }
                other => error(format!("`in` asks a list or a map, not a {}", other.type_name())),
            },
        }
    }

    /// `||` when one true decides, `&&` when one false does.
    #[inline(never)]
    fn logic(&mut self, operands: &[Id], decisive: bool) -> Step<'a> {
        let mut strict = Strict::default();
        for operand in operands {
            let answer = self.run(*operand)?;
            if decides(answer, decisive, &mut strict) {
                return bool_answer(decisive);
            }
        }
        Ok(strict.or(|| Answer::Value(Value::Bool(!decisive))))
    }

    #[inline(never)]
    fn list(&mut self, items: &[Item]) -> Step<'a> {
        let mut strict = Strict::default();
        let mut values = Vec::new();
        for item in items {
            let Some(value) = strict.take(self.run(item.value)?) else { continue };
            match (item.optional, value) {
                (false, value) => values.push(value),
                (true, Value::Optional(inner)) => values.extend(inner.map(|inner| (*inner).clone())),
                (true, other) => {
                    strict.take(Answer::Error(format!("`?` takes an optional, not a {}", other.type_name())));
                }
            }
        }
        self.budget.build(values.len() * size_of::<Value<'_>>())?;
        Ok(strict.or(|| Answer::Value(Value::built_list(values))))
    }

    #[inline(never)]
    fn map(&mut self, items: &[Item]) -> Step<'a> {
        let mut strict = Strict::default();
        let mut entries = BTreeMap::new();
        for item in items {
            let Some(key) = item.key else { continue };
            let key = strict.take(self.run(key)?);
            let value = strict.take(self.run(item.value)?);
            let (Some(key), Some(value)) = (key, value) else { continue };
            let kind = key.type_name();
            let value = match (item.optional, value) {
                (false, value) => value,
                (true, Value::Optional(None)) => continue,
                (true, Value::Optional(Some(inner))) => (*inner).clone(),
                (true, other) => {
                    strict.take(Answer::Error(format!("`?` takes an optional, not a {}", other.type_name())));
                    continue;
                }
            };
            match key.into_key() {
                Some(key) => {
                    entries.insert(key, value);
                }
                None => {
                    strict.take(Answer::Error(format!("a value of type {kind} cannot be a map's key")));
                }
            }
        }
        self.budget.build(entries.len() * 2 * size_of::<Value<'_>>())?;
        Ok(strict.or(|| Answer::Value(Value::Map(Map::Built(Rc::new(entries))))))
    }

    #[inline(never)]
    fn fold(&mut self, kind: Macro, range: Id, filter: Option<Id>, body: Id) -> Step<'a> {
        let range = match self.run(range)? {
            Answer::Value(value) => value,
            other => return Ok(other),
        };
        match (kind, range) {
            (Macro::OptMap, Value::Optional(None)) => Ok(Answer::Value(Value::Optional(None))),
            (Macro::OptMap, Value::Optional(Some(inner))) => Ok(match self.with(&inner, body)? {
                Answer::Value(value) => Answer::Value(Value::Optional(Some(Rc::new(value)))),
                other => other,
            }),
            (Macro::OptMap, other) => {
                error(format!("`optMap` takes an optional, not a {}", other.type_name()))
            }
            (_, Value::List(list)) => self.fold_list(kind, &list, filter, body),
            (_, Value::Map(map)) => {
                self.budget.build(map.len() * size_of::<Value<'_>>())?;
                self.fold_list(kind, &List::Built(Rc::new(map.keys())), filter, body)
            }
            (_, other) => {
                error(format!("`{}` goes through a list or a map, not a {}", kind.name(), other.type_name()))
            }
        }
    }

    /// Evaluates a macro's part for one value of its variable.
    fn with(&mut self, value: &Value<'a>, body: Id) -> Step<'a> {
        self.variables.push(value.clone());
        let answer = self.run(body);
        self.variables.pop();
        answer
    }

    fn fold_list(&mut self, kind: Macro, list: &List<'a>, filter: Option<Id>, body: Id) -> Step<'a> {
        let mut strict = Strict::default();
        let mut values = Vec::new();
        let mut count = 0;
        for at in 0..list.len() {
            let Some(element) = list.at(at, self.budget)? else { break };
            if let Some(filter) = filter {
                match strict.take(self.with(&element, filter)?) {
                    Some(Value::Bool(true)) => {}
                    Some(Value::Bool(false)) | None => continue,
                    Some(other) => {
                        strict.take(not_a_bool("`map`", &other)?);
                        continue;
                    }
                }
            }
            let answer = self.with(&element, body)?;
            match kind {
                Macro::All | Macro::Exists => {
                    let decisive = kind == Macro::Exists;
                    if decides(answer, decisive, &mut strict) {
                        return bool_answer(decisive);
                    }
                }
                Macro::Map | Macro::OptMap => {
                    self.budget.build(size_of::<Value<'_>>())?;
                    values.extend(strict.take(answer));
                }
                Macro::Filter | Macro::ExistsOne => match strict.take(answer) {
                    Some(Value::Bool(true)) => {
                        count += 1;
                        if kind == Macro::Filter {
                            self.budget.build(size_of::<Value<'_>>())?;
                            values.push(element);
                        }
                    }
                    Some(Value::Bool(false)) | None => {}
                    Some(other) => {
                        strict.take(not_a_bool(kind.name(), &other)?);
                    }
                },
            }
        }
        Ok(strict.or(|| {
            Answer::Value(match kind {
                Macro::All => Value::Bool(true),
                Macro::Exists => Value::Bool(false),
                Macro::ExistsOne => Value::Bool(count == 1),
                Macro::Map | Macro::Filter | Macro::OptMap => Value::built_list(values),
            })
        }))
    }
}

/// Whether an operand of `&&` or `||` decides it; if not, what it is short of or fails with is kept.
fn decides(answer: Answer<'_>, decisive: bool, strict: &mut Strict) -> bool {
    match strict.take(answer) {
        Some(Value::Bool(value)) => value == decisive,
        Some(other) => {
            let operator = if decisive { "`||`" } else { "`&&`" };
            strict.take(Answer::Error(format!("{operator} takes a bool, not a {}", other.type_name())));
            false
        }
        None => false,
    }
}

fn not_a_bool<'a>(taker: &str, value: &Value<'_>) -> Step<'a> {
    error(format!("{taker} takes a bool, not a {}", value.type_name()))
}

fn present(access: Access, value: Value<'_>) -> Answer<'_> {
    Answer::Value(match access {
        Access::Plain => value,
        Access::Optional => Value::Optional(Some(Rc::new(value))),
        Access::Test => Value::Bool(true),
    })
}

fn absent<'a>(access: Access, why: impl FnOnce() -> String) -> Answer<'a> {
    match access {
        Access::Plain => Answer::Error(why()),
        Access::Optional => Answer::Value(Value::Optional(None)),
        Access::Test => Answer::Value(Value::Bool(false)),
    }
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(value) => Value::String(Text::Borrowed(value)),
        Literal::Bytes(value) => Value::Bytes(Bytes::Borrowed(value)),
    }
}
