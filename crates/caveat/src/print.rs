//! How is an expression written? Its canonical text.
//!
//! One space around operators, double quotes, decimal integers, comments dropped, parentheses where they mean
//! something (and around the parts of a condition), lines broken after `&&` or `||` beyond [`COLUMN_WRAP`]: the form
//! in which SpiceDB 1.54 prints caveats, except that doubles with an exponent are printed so that they can be read
//! back (it appends `.0` to them).
//!
//! # Invariants
//! * What is printed parses to the same tree, and prints the same again.
//!
//! Cost: linear in the tree. Recursion is bounded by the tree's depth, at most `DEPTH_MAX`.

use std::fmt::Write;

use crate::tree::{Element, Kind, Literal, NodeId, Tree};

/// A line is broken at the next `&&` or `||` once it is this long, in bytes.
const COLUMN_WRAP: usize = 80;

/// How tightly an operation binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Condition,
    Any,
    All,
    Relation,
    Sum,
    Product,
    Unary,
    Member,
}

/// Prints the expression under `root`.
pub(crate) fn print(tree: &Tree, root: NodeId) -> String {
    let mut printer = Printer { tree, text: String::new(), wrapped_at: 0, variables: Vec::new() };
    printer.node(root);
    printer.text
}

/// A double as Go prints it: the shortest digits, with an exponent below 10⁻⁴ and from 10⁶ on.
pub(crate) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(e) if !(-4..6).contains(&e) => {
            format!("{mantissa}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
        }
        _ => value.to_string(),
    }
}

struct Printer<'t> {
    tree: &'t Tree,
    text: String,
    wrapped_at: usize,
    /// Variables of the macros around.
    variables: Vec<&'t str>,
}

impl<'t> Printer<'t> {
    fn strength(&self, id: NodeId) -> Strength {
        match &self.tree.node(id).kind {
            Kind::Condition { .. } => Strength::Condition,
            Kind::Any(_) => Strength::Any,
            Kind::All(_) => Strength::All,
            Kind::Relation { .. } => Strength::Relation,
            Kind::Arithmetic { rest, .. } if rest[0].0.is_product() => Strength::Product,
            Kind::Arithmetic { .. } => Strength::Sum,
            Kind::Not(_) | Kind::Negate(_) => Strength::Unary,
            // A sign before a literal binds like any other.
            Kind::Literal(Literal::Int(n)) if *n < 0 => Strength::Unary,
            Kind::Literal(Literal::Double(d)) if d.is_sign_negative() => Strength::Unary,
            _ => Strength::Member,
        }
    }

    /// Whether a part of a condition, or an operand of `!`, is put in parentheses for the reader.
    fn is_complex(&self, id: NodeId) -> bool {
        match &self.tree.node(id).kind {
            Kind::Index { .. } => true,
            Kind::Call { target: None, arguments, .. } => arguments.len() > 1,
            _ => self.strength(id) < Strength::Unary,
        }
    }

    fn wrapped(&mut self, id: NodeId, parentheses: bool) {
        if parentheses {
            self.text.push('(');
        }
        self.node(id);
        if parentheses {
            self.text.push(')');
        }
    }

    fn at_least(&mut self, id: NodeId, strength: Strength) {
        self.wrapped(id, self.strength(id) < strength);
    }

    fn node(&mut self, id: NodeId) {
        let tree = self.tree;
        match &tree.node(id).kind {
            Kind::Literal(literal) => self.literal(literal),
            // A leading dot says that no variable of a macro is meant; it stays where there is one.
            Kind::Name { name, root } => {
                let hidden = *root && self.variables.contains(&&**name);
                self.text.push_str(if hidden { "." } else { "" });
                self.text.push_str(name);
            }
            Kind::Select { operand, field, optional, test } => {
                self.text.push_str(if *test { "has(" } else { "" });
                self.at_least(*operand, Strength::Member);
                self.text.push_str(if *optional { ".?" } else { "." });
                self.text.push_str(field);
                self.text.push_str(if *test { ")" } else { "" });
            }
            Kind::Index { operand, index, optional } => {
                self.at_least(*operand, Strength::Member);
                self.text.push_str(if *optional { "[?" } else { "[" });
                self.node(*index);
                self.text.push(']');
            }
            Kind::Call { target, function, arguments } => {
                if let Some(target) = target {
                    self.at_least(*target, Strength::Member);
                    self.text.push('.');
                }
                self.text.push_str(function);
                self.arguments(arguments.iter().copied());
            }
            Kind::Macro { kind, range, variable, filter, body } => {
                self.at_least(*range, Strength::Member);
                let _ = write!(self.text, ".{}({variable}", kind.name());
                self.variables.push(variable);
                for part in filter.iter().chain([body]) {
                    self.text.push_str(", ");
                    self.node(*part);
                }
                self.variables.pop();
                self.text.push(')');
            }
            Kind::Not(operand) => self.unary('!', *operand),
            Kind::Negate(operand) => self.unary('-', *operand),
            Kind::Arithmetic { first, rest } => {
                let own = if rest[0].0.is_product() { Strength::Product } else { Strength::Sum };
                self.at_least(*first, own);
                for (operator, operand) in rest {
                    let _ = write!(self.text, " {} ", operator.symbol());
                    self.wrapped(*operand, self.strength(*operand) <= own);
                }
            }
            Kind::Relation { relation, left, right } => {
                self.at_least(*left, Strength::Relation);
                let _ = write!(self.text, " {} ", relation.symbol());
                self.wrapped(*right, self.strength(*right) <= Strength::Relation);
            }
            Kind::All(operands) => self.logic(operands, "&&", Strength::All),
            Kind::Any(operands) => self.logic(operands, "||", Strength::Any),
            Kind::Condition { condition, then, otherwise } => {
                for (part, before) in [(condition, ""), (then, " ? "), (otherwise, " : ")] {
                    self.text.push_str(before);
                    self.wrapped(*part, self.is_complex(*part));
                }
            }
            Kind::List(elements) => self.elements('[', elements, ']'),
            Kind::Map(entries) => self.elements('{', entries, '}'),
        }
    }

    fn unary(&mut self, symbol: char, operand: NodeId) {
        self.text.push(symbol);
        // Bare `!!a` and `--a` would be read as `a`.
        self.wrapped(operand, self.is_complex(operand) || self.strength(operand) == Strength::Unary);
    }

    fn logic(&mut self, operands: &[NodeId], symbol: &str, own: Strength) {
        // The operator's name in CEL's function table, `_&&_`, counts towards the line.
        const NAME_BYTES: usize = 4;
        for (i, operand) in operands.iter().enumerate() {
            if i > 0 && self.text.len() - self.wrapped_at + NAME_BYTES >= COLUMN_WRAP {
                self.wrapped_at = self.text.len();
                let _ = writeln!(self.text, " {symbol}");
            } else if i > 0 {
                let _ = write!(self.text, " {symbol} ");
            }
            self.at_least(*operand, own);
        }
    }

    fn arguments(&mut self, arguments: impl Iterator<Item = NodeId>) {
        self.text.push('(');
        for (i, argument) in arguments.enumerate() {
            self.text.push_str(if i == 0 { "" } else { ", " });
            self.node(argument);
        }
        self.text.push(')');
    }

    fn elements(&mut self, open: char, elements: &[Element], close: char) {
        self.text.push(open);
        for (i, element) in elements.iter().enumerate() {
            self.text.push_str(if i == 0 { "" } else { ", " });
            self.text.push_str(if element.optional { "?" } else { "" });
            if let Some(key) = element.key {
                self.node(key);
                self.text.push_str(": ");
            }
            self.node(element.value);
        }
        self.text.push(close);
    }

    fn literal(&mut self, literal: &Literal) {
        // Writing to a string cannot fail.
        let _ = match literal {
            Literal::Null => write!(self.text, "null"),
            Literal::Bool(value) => write!(self.text, "{value}"),
            Literal::Int(value) => write!(self.text, "{value}"),
            Literal::Uint(value) => write!(self.text, "{value}u"),
            Literal::Double(value) => {
                let digits = double_text(*value);
                let fraction = if digits.contains(['.', 'e']) { "" } else { ".0" };
                write!(self.text, "{digits}{fraction}")
            }
            Literal::String(value) => {
                self.text.push('"');
                value.chars().for_each(|c| self.character(c));
                write!(self.text, "\"")
            }
            Literal::Bytes(value) => {
                self.text.push_str("b\"");
                for byte in value {
                    let _ = write!(self.text, "\\{byte:03o}");
                }
                write!(self.text, "\"")
            }
        };
    }

    fn character(&mut self, character: char) {
        let code = u32::from(character);
        let _ = match character {
            '\x07' => write!(self.text, "\\a"),
            '\x08' => write!(self.text, "\\b"),
            '\x0c' => write!(self.text, "\\f"),
            '\n' => write!(self.text, "\\n"),
            '\r' => write!(self.text, "\\r"),
            '\t' => write!(self.text, "\\t"),
            '\x0b' => write!(self.text, "\\v"),
            '\\' | '"' => write!(self.text, "\\{character}"),
            '\0'..='\x1f' | '\x7f' => write!(self.text, "\\x{code:02x}"),
            ' '..='~' => write!(self.text, "{character}"),
            // What has no shape of its own is shown by its number.
            _ if character.escape_debug().len() == 1 => write!(self.text, "{character}"),
            _ if code <= 0xffff => write!(self.text, "\\u{code:04x}"),
            _ => write!(self.text, "\\U{code:08x}"),
        };
    }
}
