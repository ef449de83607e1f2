//! Which tree does an expression's text spell?
//!
//! By precedence, from CEL's grammar. The `cel` crate's two parsers were tried first and not taken: both recurse on
//! chains such as `a.f().f()…` or `a + a + …` until the stack overflows (a few kilobytes of text end the process),
//! the generated one needs two megabytes of stack for sixteen brackets in a debug build, and the other keeps no
//! positions. They serve the tests as oracle.
//!
//! # Invariants
//! * Recursion is bounded by [`DEPTH_MAX`] levels, counted on every bracket; longer chains of operators are read in
//!   loops, and deeper trees refused.
//! * What an accepted text prints as (`print`) is accepted again.
//!
//! Source: the CEL language definition, section "Syntax".

use crate::CompileError;
use crate::lexer::{Token, Word, error_at, tokens};
use crate::tree::{Arithmetic, DEPTH_MAX, Element, Kind, Literal, Macro, NodeId, Relation, Tree};

/// Parses an expression: its tree and root.
pub(crate) fn parse(text: &str) -> Result<(Tree, NodeId), CompileError> {
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, level: 0, tree: Tree::default() };
    let root = parser.expression()?;
    if parser.peek() != &Word::End {
        return parser.expected("an operator or the end of the expression");
    }
    Ok((parser.tree, root))
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    next: usize,
    level: u16,
    tree: Tree,
}

type Parsed = Result<NodeId, CompileError>;

impl Parser<'_> {
    fn token(&self) -> &Token {
        // The last token is the end, which is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> &Word {
        &self.token().word
    }

    fn at(&self) -> u32 {
        self.token().start
    }

    fn source(&self) -> &str {
        let token = self.token();
        &self.text[token.start as usize..token.end as usize]
    }

    fn eat(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == &Word::Symbol(symbol);
        self.next += usize::from(found);
        found
    }

    fn need(&mut self, symbol: &'static str, expected: &str) -> Result<(), CompileError> {
        if self.eat(symbol) { Ok(()) } else { self.expected(expected) }
    }

    fn error<T>(&self, at: u32, message: impl Into<String>) -> Result<T, CompileError> {
        Err(error_at(self.text, at as usize, message))
    }

    fn expected<T>(&self, expected: &str) -> Result<T, CompileError> {
        const QUOTED_CHARS_MAX: usize = 40;
        let found = match self.peek() {
            Word::End => "the expression ends".to_owned(),
            _ => format!("found `{}`", self.source().chars().take(QUOTED_CHARS_MAX).collect::<String>()),
        };
        self.error(self.at(), format!("expected {expected}, but {found}"))
    }

    fn push(&mut self, at: u32, kind: Kind) -> Parsed {
        let (id, depth) = self.tree.push(at, kind);
        if depth > DEPTH_MAX { self.too_deep(at) } else { Ok(id) }
    }

    fn too_deep<T>(&self, at: u32) -> Result<T, CompileError> {
        self.error(at, format!("the expression is nested deeper than {DEPTH_MAX} levels"))
    }

    /// `condition ? then : otherwise`, and all that binds tighter.
    fn expression(&mut self) -> Parsed {
        if self.level == DEPTH_MAX {
            return self.too_deep(self.at());
        }
        self.level += 1;
        // Else-branches chain to the right; they are collected here and built from the end.
        let mut branches = Vec::new();
        let mut last = self.operators(0)?;
        loop {
            let at = self.at();
            if !self.eat("?") {
                break;
            }
            let then = self.operators(0)?;
            self.need(":", "`:` and the value for otherwise")?;
            branches.push((at, last, then));
            last = self.operators(0)?;
        }
        self.level -= 1;
        while let Some((at, condition, then)) = branches.pop() {
            last = self.push(at, Kind::Condition { condition, then, otherwise: last })?;
        }
        Ok(last)
    }

    /// Operands joined by operators that bind at least so tightly.
    fn operators(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((operator, strength)) =
            operator(self.peek()).filter(|(_, strength)| *strength >= least)
        {
            let at = self.at();
            self.next += 1;
            let right = self.operators(strength + 1)?;
            left = self.join(at, operator, left, right)?;
        }
        Ok(left)
    }

    fn join(&mut self, at: u32, operator: Operator, left: NodeId, right: NodeId) -> Parsed {
        let all = match operator {
            Operator::Relation(relation) => return self.push(at, Kind::Relation { relation, left, right }),
            // `(a + b) + c` is the chain `a + b + c`: the same operations in the same order.
            Operator::Arithmetic(operator) => {
                if self.tree.extend_arithmetic(left, operator, right) {
                    return self.hold(left);
                }
                return self.push(at, Kind::Arithmetic { first: left, rest: vec![(operator, right)] });
            }
            // `&&` and `||` are associative and commutative: `a || (b || c)` is one disjunction of three.
            Operator::All => true,
            Operator::Any => false,
        };
        let operands = self.tree.take_operands(right, all);
        if self.tree.extend_logic(left, all, &operands) {
            return self.hold(left);
        }
        let operands = [vec![left], operands].concat();
        self.push(at, if all { Kind::All(operands) } else { Kind::Any(operands) })
    }

    /// Holds a node that grew to the limit of depth.
    fn hold(&self, id: NodeId) -> Parsed {
        let node = self.tree.node(id);
        if node.depth > DEPTH_MAX { self.too_deep(node.at) } else { Ok(id) }
    }

    /// `!` or `-`, repeated; an even number of them cancels out.
    fn unary(&mut self) -> Parsed {
        let at = self.at();
        let Some(symbol) = ["!", "-"].into_iter().find(|s| self.peek() == &Word::Symbol(s)) else {
            return self.member();
        };
        let mut odd = false;
        while self.eat(symbol) {
            odd = !odd;
        }
        let minus = symbol == "-";
        if minus && odd && self.is_number() {
            // The sign belongs to the literal, as in `-9223372036854775808`.
            let literal = self.number(true)?;
            return self.postfix(literal);
        }
        let operand = self.member()?;
        self.sign(at, operand, odd, minus)
    }

    fn sign(&mut self, at: u32, operand: NodeId, odd: bool, minus: bool) -> Parsed {
        match (odd, minus) {
            (false, _) => Ok(operand),
            (true, false) => self.push(at, Kind::Not(operand)),
            (true, true) => match self.tree.node(operand).kind {
                Kind::Literal(Literal::Int(n)) if n >= 0 => self.push(at, Kind::Literal(Literal::Int(-n))),
                Kind::Literal(Literal::Double(d)) if d.is_sign_positive() => {
                    self.push(at, Kind::Literal(Literal::Double(-d)))
                }
                _ => self.push(at, Kind::Negate(operand)),
            },
        }
    }

    fn is_number(&self) -> bool {
        is_number(self.peek())
    }

    fn number(&mut self, negative: bool) -> Parsed {
        let at = self.at();
        let literal = match *self.peek() {
            Word::Literal(Literal::Double(d)) => Literal::Double(if negative { -d } else { d }),
            Word::Integer(n) => {
                let signed = if negative { 0i64.checked_sub_unsigned(n) } else { i64::try_from(n).ok() };
                match signed {
                    Some(n) => Literal::Int(n),
                    None => {
                        return self.error(at, "this number is too large for an int; for a uint, append `u`");
                    }
                }
            }
            _ => return self.expected("a number"),
        };
        self.next += 1;
        self.push(at, Kind::Literal(literal))
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.postfix(primary)
    }

    /// `.field`, `.function(…)`, `[index]`, repeated.
    fn postfix(&mut self, mut operand: NodeId) -> Parsed {
        loop {
            let at = self.at();
            if self.eat(".") {
                let optional = self.eat("?");
                if !matches!(self.peek(), Word::Name | Word::Reserved) {
                    return self.expected("a field or function after the dot");
                }
                let name: Box<str> = self.source().into();
                let named_at = self.at();
                self.next += 1;
                if !optional && self.eat("(") {
                    let arguments = self.arguments()?;
                    operand = self.member_call(named_at, operand, name, arguments)?;
                } else {
                    operand =
                        self.push(named_at, Kind::Select { operand, field: name, optional, test: false })?;
                }
            } else if self.eat("[") {
                let optional = self.eat("?");
                let index = self.expression()?;
                self.need("]", "`]` after the index")?;
                operand = self.push(at, Kind::Index { operand, index, optional })?;
            } else if self.peek() == &Word::Symbol("{")
                && matches!(self.tree.node(operand).kind, Kind::Select { .. })
            {
                return self.error(at, "a name with `{…}` would build a message; a caveat has no messages");
            } else {
                return Ok(operand);
            }
        }
    }

    fn member_call(&mut self, at: u32, target: NodeId, function: Box<str>, arguments: Vec<NodeId>) -> Parsed {
        let Some(kind) = Macro::find(&function, arguments.len()) else {
            return self.push(at, Kind::Call { target: Some(target), function, arguments });
        };
        let variable = match &self.tree.node(arguments[0]).kind {
            Kind::Name { name, root: false } => name.clone(),
            _ => {
                let at = self.tree.node(arguments[0]).at;
                return self.error(
                    at,
                    format!(
                        "the first argument of `{function}` names its variable, as in `list.{function}(x, …)`"
                    ),
                );
            }
        };
        let (filter, body) = match arguments[..] {
            [_, filter, body] => (Some(filter), body),
            _ => (None, arguments[arguments.len() - 1]),
        };
        self.push(at, Kind::Macro { kind, range: target, variable, filter, body })
    }

    /// The rest of `f(` up to its `)`.
    fn arguments(&mut self) -> Result<Vec<NodeId>, CompileError> {
        let mut arguments = Vec::new();
        if self.eat(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if !self.eat(",") {
                self.need(")", "`,` or `)` after the argument")?;
                return Ok(arguments);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        match self.peek() {
            Word::Literal(Literal::Double(_)) | Word::Integer(_) => self.number(false),
            Word::Literal(literal) => {
                let literal = literal.clone();
                self.next += 1;
                self.push(at, Kind::Literal(literal))
            }
            // The sign after another operator: `!-1`.
            Word::Symbol("-") if self.tokens.get(self.next + 1).is_some_and(|next| is_number(&next.word)) => {
                self.next += 1;
                self.number(true)
            }
            Word::Name => self.name(false),
            Word::Symbol(".") => {
                self.next += 1;
                if self.peek() == &Word::Name {
                    self.name(true)
                } else {
                    self.expected("a name after the dot")
                }
            }
            Word::Symbol("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.need(")", "an operator or `)`")?;
                Ok(inner)
            }
            Word::Symbol("[") => {
                self.next += 1;
                let elements = self.elements("]", false)?;
                self.push(at, Kind::List(elements))
            }
            Word::Symbol("{") => {
                self.next += 1;
                let entries = self.elements("}", true)?;
                self.push(at, Kind::Map(entries))
            }
            Word::Reserved => {
                let name = self.source().to_owned();
                self.error(at, format!("`{name}` is a reserved word and cannot name anything"))
            }
            _ => self.expected("a value"),
        }
    }

    /// A name, a global call, `has(…)`, or a namespaced call such as `optional.none()`.
    fn name(&mut self, root: bool) -> Parsed {
        let (at, name): (u32, Box<str>) = (self.at(), self.source().into());
        self.next += 1;
        if !self.eat("(") {
            if self.peek() == &Word::Symbol("{") {
                return self
                    .error(at, format!("`{name}{{…}}` would build a message; a caveat has no messages"));
            }
            return self.push(at, Kind::Name { name, root });
        }
        let arguments = self.arguments()?;
        if root || &*name != "has" || arguments.len() != 1 {
            return self.push(at, Kind::Call { target: None, function: name, arguments });
        }
        match self.tree.take(arguments[0]) {
            Kind::Select { operand, field, optional, test: false } => {
                self.push(at, Kind::Select { operand, field, optional, test: true })
            }
            _ => self.error(at, "`has` asks for a field; write it as in `has(map.field)`"),
        }
    }

    /// The rest of `[` or `{`, each element or key perhaps marked by `?`; a comma may stand at the end.
    fn elements(&mut self, close: &'static str, entries: bool) -> Result<Vec<Element>, CompileError> {
        let mut elements = Vec::new();
        if self.eat(",") {
            self.need(close, "the closing bracket")?;
            return Ok(elements);
        }
        while !self.eat(close) {
            let optional = self.eat("?");
            let mut value = self.expression()?;
            let mut key = None;
            if entries {
                self.need(":", "`:` and the entry's value")?;
                key = Some(value);
                value = self.expression()?;
            }
            elements.push(Element { optional, key, value });
            if !self.eat(",") {
                let expected =
                    if entries { "`,` or `}` after the entry" } else { "`,` or `]` after the element" };
                self.need(close, expected)?;
                break;
            }
        }
        Ok(elements)
    }
}

fn is_number(word: &Word) -> bool {
    matches!(word, Word::Integer(_) | Word::Literal(Literal::Double(_)))
}

/// An operator between two operands.
#[derive(Clone, Copy)]
enum Operator {
    Any,
    All,
    Relation(Relation),
    Arithmetic(Arithmetic),
}

/// The operator that a word is, and how tightly it binds.
fn operator(word: &Word) -> Option<(Operator, u8)> {
    let symbol = match word {
        Word::In => return Some((Operator::Relation(Relation::In), 2)),
        Word::Symbol(symbol) => *symbol,
        _ => return None,
    };
    Some(match symbol {
        "||" => (Operator::Any, 0),
        "&&" => (Operator::All, 1),
        "==" => (Operator::Relation(Relation::Equal), 2),
        "!=" => (Operator::Relation(Relation::NotEqual), 2),
        "<" => (Operator::Relation(Relation::Less), 2),
        "<=" => (Operator::Relation(Relation::LessEqual), 2),
        ">" => (Operator::Relation(Relation::Greater), 2),
        ">=" => (Operator::Relation(Relation::GreaterEqual), 2),
        "+" => (Operator::Arithmetic(Arithmetic::Add), 3),
        "-" => (Operator::Arithmetic(Arithmetic::Subtract), 3),
        "*" => (Operator::Arithmetic(Arithmetic::Multiply), 4),
        "/" => (Operator::Arithmetic(Arithmetic::Divide), 4),
        "%" => (Operator::Arithmetic(Arithmetic::Remainder), 4),
        _ => return None,
    })
}
