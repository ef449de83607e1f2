//! Is the expression well typed, and what does it evaluate?
//!
//! CEL's rules of typing: every name is declared, every operator and function has an overload for its operands'
//! types, the result is a bool. `any` goes with everything and is settled in evaluation.
//!
//! # Invariants
//! * What checks evaluates without meeting an unknown name or a missing place.
//!
//! Cost: linear in the tree times the overloads of a function. Recursion is bounded by `tree::DEPTH_MAX`.
//! Source: the CEL language definition, sections "Type checking" and "List of standard definitions".

use crate::code::{Access, Code, Id, Item, Operation};
use crate::functions::{Form, Function, SIGNATURES, Signature};
use crate::lexer::error_at;
use crate::pattern::Pattern;
use crate::tree::{Arithmetic, Element, Kind, Literal, Macro, Node, NodeId, Relation, Tree};
use crate::typing::Type;
use crate::{CompileError, Parameter};

/// Names of types, which are values of type `type`; no parameter may take one.
const TYPE_NAMES: [&str; 11] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"];
/// Types whose names are spelled with dots.
const QUALIFIED_TYPE_NAMES: [&str; 2] = ["google.protobuf.Duration", "google.protobuf.Timestamp"];

/// Literal patterns that one expression keeps compiled; further ones are compiled when they are used.
const PATTERNS_KEPT_MAX: usize = 32;

/// A checked expression.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) code: Code,
    pub(crate) root: Id,
    /// For each parameter, whether the expression uses it.
    pub(crate) used: Vec<bool>,
}

/// Checks the expression under `root`, which was parsed from `text`.
pub(crate) fn check(
    text: &str,
    tree: &Tree,
    root: NodeId,
    parameters: &[Parameter],
) -> Result<Checked, CompileError> {
    let used = vec![false; parameters.len()];
    let mut checker =
        Checker { text, tree, parameters, variables: Vec::new(), used, code: Code::default(), kept: 0 };
    let (result, id) = checker.node(root)?;
    if result != Type::Bool {
        return checker.error(
            0,
            format!("a caveat's expression is true or false, but this is of type {result}; compare it with something"),
        );
    }
    Ok(Checked { code: checker.code, root: id, used: checker.used })
}

/// Whether a parameter may have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    TYPE_NAMES.contains(&name)
}

struct Checker<'c> {
    text: &'c str,
    tree: &'c Tree,
    parameters: &'c [Parameter],
    /// Variables of the macros around, innermost last.
    variables: Vec<(&'c str, Type)>,
    used: Vec<bool>,
    code: Code,
    /// Literal patterns that are kept compiled.
    kept: usize,
}

type Typed = Result<(Type, Id), CompileError>;

fn boxed(kind: Type) -> Box<Type> {
    Box::new(kind)
}

impl<'c> Checker<'c> {
    fn error<T>(&self, at: u32, message: impl Into<String>) -> Result<T, CompileError> {
        Err(error_at(self.text, at as usize, message))
    }

    fn push(&mut self, kind: Type, operation: Operation) -> Typed {
        Ok((kind, self.code.push(operation)))
    }

    fn node(&mut self, id: NodeId) -> Typed {
        let tree = self.tree;
        let node = tree.node(id);
        match &node.kind {
            Kind::Literal(literal) => self.push(literal_type(literal), Operation::Constant(literal.clone())),
            Kind::Name { name, root } => self.name(node, name, *root),
            Kind::Select { .. } => self.select(id),
            Kind::Index { .. } => self.index(id),
            Kind::Call { .. } => self.call(id),
            Kind::Not(operand) => {
                let operand = self.bool(*operand, "`!`")?;
                self.push(Type::Bool, Operation::Not(operand))
            }
            Kind::Negate(operand) => {
                let (kind, operand) = self.node(*operand)?;
                match kind {
                    Type::Int | Type::Double | Type::Dyn | Type::Nothing => {
                        self.push(kind, Operation::Negate(operand))
                    }
                    Type::Whole => self.push(Type::Int, Operation::Negate(operand)),
                    _ => self
                        .error(node.at, format!("`-` takes an int or a double, but this is of type {kind}")),
                }
            }
            Kind::Arithmetic { .. } => self.arithmetic(id),
            Kind::Relation { .. } => self.relation(id),
            Kind::All(operands) => {
                let operands = self.bools(operands, "`&&`")?;
                self.push(Type::Bool, Operation::All(operands))
            }
            Kind::Any(operands) => {
                let operands = self.bools(operands, "`||`")?;
                self.push(Type::Bool, Operation::Any(operands))
            }
            Kind::Condition { .. } => self.condition(id),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Macro { .. } => self.fold(id),
        }
    }

    /// An operand that has to be a bool.
    fn bool(&mut self, id: NodeId, of: &str) -> Result<Id, CompileError> {
        let (kind, operand) = self.node(id)?;
        if kind.fits(&Type::Bool) {
            return Ok(operand);
        }
        self.error(self.tree.node(id).at, format!("{of} takes a bool, but this is of type {kind}"))
    }

    fn bools(&mut self, ids: &[NodeId], of: &str) -> Result<Box<[Id]>, CompileError> {
        ids.iter().map(|id| self.bool(*id, of)).collect()
    }

    fn name(&mut self, node: &Node, name: &str, root: bool) -> Typed {
        let variable = self.variables.iter().rposition(|(variable, _)| !root && *variable == name);
        if let Some(slot) = variable {
            let kind = self.variables[slot].1.clone();
            return self.push(kind, Operation::Variable(place(slot)));
        }
        if let Some(slot) = self.parameters.iter().position(|parameter| parameter.name == name) {
            self.used[slot] = true;
            let kind = Type::from(&self.parameters[slot].value_type);
            return self.push(kind, Operation::Parameter(place(slot)));
        }
        if let Some(name) = TYPE_NAMES.into_iter().find(|n| *n == name) {
            return self.push(Type::Meta, Operation::Type(name));
        }
        self.error(
            node.at,
            format!("`{name}` is not declared; declare it as a parameter of the caveat, as in `caveat c({name} int)`"),
        )
    }

    /// The name of a type that is spelled with dots, unless its first part is declared.
    fn qualified_type(&self, id: NodeId) -> Option<&'static str> {
        let mut parts = Vec::new();
        let mut id = id;
        loop {
            match &self.tree.node(id).kind {
                Kind::Select { operand, field, optional: false, test: false } => {
                    parts.push(&**field);
                    id = *operand;
                }
                Kind::Name { name, .. } => {
                    let declared = self.parameters.iter().any(|p| *p.name == **name)
                        || self.variables.iter().any(|(variable, _)| *variable == &**name);
                    parts.push(name);
                    parts.reverse();
                    let name = parts.join(".");
                    return QUALIFIED_TYPE_NAMES.into_iter().find(|n| !declared && *n == name);
                }
                _ => return None,
            }
            if parts.len() > 2 {
                return None;
            }
        }
    }

    fn select(&mut self, id: NodeId) -> Typed {
        let node = self.tree.node(id);
        let Kind::Select { operand, field, optional, test } = &node.kind else { return self.node(id) };
        if let Some(name) = self.qualified_type(id) {
            return self.push(Type::Meta, Operation::Type(name));
        }
        let (kind, operand) = self.node(*operand)?;
        let (inner, chained) = match kind {
            Type::Optional(inner) => (*inner, true),
            kind => (kind, false),
        };
        let value = match inner {
            Type::Map(key, value) if key.fits(&Type::String) => *value,
            Type::Dyn | Type::Nothing => Type::Dyn,
            _ => {
                return self.error(
                    node.at,
                    format!("only a map has fields, but `{field}` is asked of a value of type {inner}"),
                );
            }
        };
        let access = access(*test, *optional || chained);
        let kind = match access {
            Access::Plain => value,
            Access::Optional => Type::Optional(boxed(value)),
            Access::Test => Type::Bool,
        };
        self.push(kind, Operation::Select { operand, field: field.clone(), access })
    }

    fn index(&mut self, id: NodeId) -> Typed {
        let node = self.tree.node(id);
        let Kind::Index { operand, index, optional } = &node.kind else { return self.node(id) };
        let (kind, operand) = self.node(*operand)?;
        let (by, index) = self.node(*index)?;
        let (inner, chained) = match kind {
            Type::Optional(inner) => (*inner, true),
            kind => (kind, false),
        };
        let value = match &inner {
            Type::List(element) if by.fits(&Type::Int) => (**element).clone(),
            Type::Map(key, value) if by.fits(key) => (**value).clone(),
            Type::Dyn | Type::Nothing => Type::Dyn,
            Type::List(_) => {
                return self.error(node.at, format!("a list's index is an int, but this is of type {by}"));
            }
            Type::Map(key, _) => {
                return self.error(
                    node.at,
                    format!("this map's keys are of type {key}, but the index is of type {by}"),
                );
            }
            _ => {
                return self.error(
                    node.at,
                    format!("only a list or a map has an index, but this is of type {inner}"),
                );
            }
        };
        let access = access(false, *optional || chained);
        let kind = if access == Access::Optional { Type::Optional(boxed(value)) } else { value };
        self.push(kind, Operation::Index { operand, index, access })
    }

    fn arithmetic(&mut self, id: NodeId) -> Typed {
        let Kind::Arithmetic { first, rest } = &self.tree.node(id).kind else { return self.node(id) };
        let (mut kind, first) = self.node(*first)?;
        let mut checked = Vec::with_capacity(rest.len());
        for (operator, operand) in rest {
            let (right, operand_id) = self.node(*operand)?;
            let Some(result) = arithmetic_type(*operator, &kind, &right) else {
                let remedy = match (operator, &kind, &right) {
                    (_, a, b) if is_number(a) && is_number(b) => {
                        "; both sides must be of one type: convert one with int(…), uint(…) or double(…)"
                    }
                    (Arithmetic::Add, Type::String, _) | (Arithmetic::Add, _, Type::String) => {
                        "; to join texts, convert with string(…)"
                    }
                    _ => "",
                };
                return self.error(
                    self.tree.node(*operand).at,
                    format!("`{}` does not take {kind} and {right}{remedy}", operator.symbol()),
                );
            };
            kind = result;
            checked.push((*operator, operand_id));
        }
        self.push(kind, Operation::Arithmetic { first, rest: checked.into() })
    }

    fn relation(&mut self, id: NodeId) -> Typed {
        let node = self.tree.node(id);
        let Kind::Relation { relation, left, right } = &node.kind else { return self.node(id) };
        let relation = *relation;
        let (a, left) = self.node(*left)?;
        let (b, right) = self.node(*right)?;
        let good = match (relation, &b) {
            (Relation::In, Type::List(element)) => a.fits(element),
            (Relation::In, Type::Map(key, _)) => a.fits(key),
            (Relation::In, other) => other.is_open(),
            (Relation::Equal | Relation::NotEqual, _) => a.fits(&b),
            _ => a.fits(&b) && has_order(&a) && has_order(&b),
        };
        if good {
            return self.push(Type::Bool, Operation::Relation { relation, left, right });
        }
        let remedy = match (relation, &b) {
            (Relation::In, Type::List(_) | Type::Map(..)) => {
                "; the left side must be of the type of the elements or keys"
            }
            (Relation::In, _) => "; `in` asks a list for an element or a map for a key",
            _ if is_number(&a) && is_number(&b) => "; convert one side with int(…), uint(…) or double(…)",
            _ if a.fits(&b) => "; values of this type have no order",
            _ => "; both sides must be of one type",
        };
        self.error(node.at, format!("`{}` does not take {a} and {b}{remedy}", relation.symbol()))
    }

    fn condition(&mut self, id: NodeId) -> Typed {
        let node = self.tree.node(id);
        let Kind::Condition { condition, then, otherwise } = &node.kind else { return self.node(id) };
        let condition = self.bool(*condition, "the condition before `?`")?;
        let (a, then) = self.node(*then)?;
        let (b, otherwise) = self.node(*otherwise)?;
        if !a.fits(&b) {
            return self.error(
                node.at,
                format!("both values of `? :` must be of one type, but they are {a} and {b}"),
            );
        }
        self.push(a.join(b), Operation::Condition { condition, then, otherwise })
    }

    fn list(&mut self, elements: &[Element]) -> Typed {
        let mut of = Type::Nothing;
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let (kind, value) = self.element(element)?;
            of = of.join(kind);
            items.push(Item { optional: element.optional, key: None, value });
        }
        self.push(Type::List(boxed(of)), Operation::List(items.into()))
    }

    fn map(&mut self, entries: &[Element]) -> Typed {
        let (mut keys, mut values) = (Type::Nothing, Type::Nothing);
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut key_id = None;
            if let Some(key) = entry.key {
                let (kind, id) = self.node(key)?;
                let good = matches!(kind, Type::Bool | Type::Int | Type::Uint | Type::Whole | Type::String);
                if !good && !kind.is_open() {
                    let at = self.tree.node(key).at;
                    return self.error(
                        at,
                        format!("a map's key is a string, int, uint or bool, but this is of type {kind}"),
                    );
                }
                keys = keys.join(kind);
                key_id = Some(id);
            }
            let (kind, value) = self.element(entry)?;
            values = values.join(kind);
            items.push(Item { optional: entry.optional, key: key_id, value });
        }
        self.push(Type::Map(boxed(keys), boxed(values)), Operation::Map(items.into()))
    }

    /// The value of an element or entry; one marked with `?` is unwrapped.
    fn element(&mut self, element: &Element) -> Typed {
        let (kind, id) = self.node(element.value)?;
        match kind {
            kind if !element.optional => Ok((kind, id)),
            Type::Optional(inner) => Ok((*inner, id)),
            kind if kind.is_open() => Ok((Type::Dyn, id)),
            kind => {
                let at = self.tree.node(element.value).at;
                self.error(
                    at,
                    format!("what is marked with `?` must be an optional, but this is of type {kind}"),
                )
            }
        }
    }

    fn fold(&mut self, id: NodeId) -> Typed {
        let node = self.tree.node(id);
        let tree = self.tree;
        let Kind::Macro { kind, range, variable, filter, body } = &tree.node(id).kind else {
            return self.node(id);
        };
        let (range_type, range) = self.node(*range)?;
        let of = match (kind, range_type) {
            (Macro::OptMap, Type::Optional(inner)) => *inner,
            (Macro::OptMap, other) if !other.is_open() => {
                return self
                    .error(node.at, format!("`optMap` takes an optional, but this is of type {other}"));
            }
            (_, Type::List(element)) => *element,
            (_, Type::Map(key, _)) => *key,
            (_, other) if other.is_open() => Type::Dyn,
            (_, other) => {
                return self.error(
                    node.at,
                    format!(
                        "`{}` goes through a list or the keys of a map, but this is of type {other}",
                        kind.name()
                    ),
                );
            }
        };
        self.variables.push((variable, of.clone()));
        let title = format!("`{}`", kind.name());
        let filter = filter.map(|filter| self.bool(filter, &title)).transpose()?;
        let (result, body) = match kind {
            Macro::Map => self.node(*body).map(|(kind, id)| (Type::List(boxed(kind)), id))?,
            Macro::OptMap => self.node(*body).map(|(kind, id)| (Type::Optional(boxed(kind)), id))?,
            Macro::Filter => (Type::List(boxed(of)), self.bool(*body, &title)?),
            Macro::All | Macro::Exists | Macro::ExistsOne => (Type::Bool, self.bool(*body, &title)?),
        };
        self.variables.pop();
        self.push(result, Operation::Fold { kind: *kind, range, filter, body })
    }

    fn call(&mut self, id: NodeId) -> Typed {
        let tree = self.tree;
        let node = tree.node(id);
        let Kind::Call { target, function, arguments } = &node.kind else { return self.node(id) };
        if let Some(target) = target
            && matches!(&tree.node(*target).kind, Kind::Name { name, .. } if &**name == "optional")
            && matches!(&**function, "none" | "of" | "ofNonZeroValue")
        {
            return self.optional(node, function, arguments);
        }
        let mut types = Vec::with_capacity(arguments.len() + 1);
        let mut ids = Vec::with_capacity(arguments.len() + 1);
        for argument in target.iter().chain(arguments) {
            let (kind, id) = self.node(*argument)?;
            types.push(kind);
            ids.push(id);
        }
        let optional = target.is_some().then(|| self.optional_member(function, &types, &ids)).flatten();
        if let Some((kind, operation)) = optional {
            return self.push(kind, operation);
        }
        let of_name = || SIGNATURES.iter().filter(|s| s.name == &**function);
        let matching = of_name().filter(|s| s.member == target.is_some() && accepts(s, &types));
        let Some(result) = matching.clone().map(|s| s.result.as_type()).reduce(Type::join) else {
            return self.no_overload(node.at, function, target.is_some(), &types);
        };
        let chosen = matching.map(|s| s.function).next().unwrap_or(Function::ToDyn);
        if chosen == Function::Matches
            && self.kept < PATTERNS_KEPT_MAX
            && let Operation::Constant(Literal::String(source)) = self.code.at(ids[1])
        {
            match Pattern::literal(source) {
                Ok(Some(pattern)) => {
                    self.kept += 1;
                    let pattern = Box::new(pattern);
                    return self.push(Type::Bool, Operation::Matches { text: ids[0], pattern });
                }
                Ok(None) => {}
                Err(why) => return self.error(node.at, why),
            }
        }
        self.push(result, Operation::Call { function: chosen, arguments: ids.into() })
    }

    /// `optional.none()`, `optional.of(x)`, `optional.ofNonZeroValue(x)`.
    fn optional(&mut self, node: &Node, function: &str, arguments: &[NodeId]) -> Typed {
        let wanted = usize::from(function != "none");
        if arguments.len() != wanted {
            return self.error(
                node.at,
                format!("`optional.{function}` takes {wanted} arguments, but {} are given", arguments.len()),
            );
        }
        let function = match function {
            "none" => Function::OptionalNone,
            "of" => Function::OptionalOf,
            _ => Function::OptionalOfNonZero,
        };
        let (mut of, mut ids) = (Type::Nothing, Vec::new());
        for argument in arguments {
            let (kind, id) = self.node(*argument)?;
            of = kind;
            ids.push(id);
        }
        self.push(Type::Optional(boxed(of)), Operation::Call { function, arguments: ids.into() })
    }

    /// The member functions of an optional, whose results are of its value's type.
    fn optional_member(&self, function: &str, types: &[Type], ids: &[Id]) -> Option<(Type, Operation)> {
        let inner = match &types[0] {
            Type::Optional(inner) => (**inner).clone(),
            other if other.is_open() => Type::Dyn,
            _ => return None,
        };
        let call = |function| Operation::Call { function, arguments: ids[..1].into() };
        let or_else = |unwrap| Operation::OrElse { left: ids[0], right: ids[1], unwrap };
        match (function, &types[1..]) {
            ("hasValue", []) => Some((Type::Bool, call(Function::HasValue))),
            ("value", []) => Some((inner, call(Function::OptionalValue))),
            ("orValue", [other]) if inner.fits(other) => Some((inner.join(other.clone()), or_else(true))),
            ("or", [Type::Optional(other)]) if inner.fits(other) => {
                Some((Type::Optional(boxed(inner.join((**other).clone()))), or_else(false)))
            }
            ("or", [other]) if other.is_open() => Some((Type::Optional(boxed(Type::Dyn)), or_else(false))),
            _ => None,
        }
    }

    fn no_overload<T>(&self, at: u32, name: &str, member: bool, types: &[Type]) -> Result<T, CompileError> {
        let spell = |member: bool, types: &[String]| match types.split_first() {
            Some((target, rest)) if member => format!("{target}.{name}({})", rest.join(", ")),
            _ => format!("{name}({})", types.join(", ")),
        };
        let given: Vec<_> = types.iter().map(Type::to_string).collect();
        let known: Vec<String> = SIGNATURES
            .iter()
            .filter(|s| s.name == name)
            .map(|s| {
                spell(s.member, &s.arguments.iter().map(|f| f.as_type().to_string()).collect::<Vec<_>>())
            })
            .collect();
        if known.is_empty() {
            return self.error(at, format!("there is no function `{name}` for {}", spell(member, &given)));
        }
        self.error(
            at,
            format!("`{name}` does not take {}; it takes {}", spell(member, &given), known.join(", ")),
        )
    }
}

fn place(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}

fn access(test: bool, optional: bool) -> Access {
    match (test, optional) {
        (true, _) => Access::Test,
        (false, true) => Access::Optional,
        (false, false) => Access::Plain,
    }
}

fn accepts(signature: &Signature, types: &[Type]) -> bool {
    signature.arguments.len() == types.len()
        && signature.arguments.iter().zip(types).all(|(form, kind): (&Form, _)| form.accepts(kind))
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

fn is_number(kind: &Type) -> bool {
    matches!(kind, Type::Int | Type::Uint | Type::Whole | Type::Double)
}

fn has_order(kind: &Type) -> bool {
    is_number(kind)
        || kind.is_open()
        || matches!(kind, Type::Bool | Type::String | Type::Bytes | Type::Duration | Type::Timestamp)
}

/// The result of an operator, if it takes operands of these types.
fn arithmetic_type(operator: Arithmetic, left: &Type, right: &Type) -> Option<Type> {
    use Arithmetic::{Add, Remainder, Subtract};
    if let (Type::List(a), Type::List(b), Add) = (left, right, operator) {
        return a.fits(b).then(|| Type::List(boxed((**a).clone().join((**b).clone()))));
    }
    let same = [Type::Int, Type::Uint, Type::Double, Type::String, Type::Bytes];
    let numbers = if operator == Remainder { 2 } else { 3 };
    let count = if operator == Add { same.len() } else { numbers };
    let mut overloads: Vec<_> = same[..count].iter().map(|t| (t.clone(), t.clone(), t.clone())).collect();
    let (duration, timestamp) = (|| Type::Duration, || Type::Timestamp);
    if matches!(operator, Add | Subtract) {
        overloads.push((duration(), duration(), duration()));
        overloads.push((timestamp(), duration(), timestamp()));
    }
    match operator {
        Add => overloads.push((duration(), timestamp(), timestamp())),
        Subtract => overloads.push((timestamp(), timestamp(), duration())),
        _ => {}
    }
    let list = matches!((left, right), (Type::List(_), other) | (other, Type::List(_)) if other.is_open());
    if list && operator == Add {
        return Some(Type::List(boxed(Type::Dyn)));
    }
    overloads
        .into_iter()
        .filter(|(a, b, _)| *left != Type::Null && *right != Type::Null && left.fits(a) && right.fits(b))
        .map(|(_, _, result)| result)
        .reduce(|a, b| match (&a, &b) {
            (Type::Int | Type::Uint | Type::Whole, Type::Int | Type::Uint) if a != b => Type::Whole,
            _ => a.join(b),
        })
        .filter(|_| !matches!((left, right), (Type::Dyn, Type::Dyn)))
        .or_else(|| (left.is_open() && right.is_open()).then_some(Type::Dyn))
}
