//! What is evaluated? A checked expression, its names resolved to places.
//!
//! # Invariants
//! * Children stand before their parents, and no path is longer than `tree::DEPTH_MAX`: evaluation recurses no deeper.

use crate::functions::Function;
use crate::pattern::Pattern;
use crate::tree::{Arithmetic, Literal, Macro, Relation};

/// The place of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(u32);

/// A checked expression.
#[derive(Debug, Default)]
pub(crate) struct Code {
    operations: Vec<Operation>,
}

/// How a field or element that is absent is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By an error.
    Plain,
    /// By an empty optional.
    Optional,
    /// By false: `has(…)`.
    Test,
}

/// An element or entry of a literal, and whether it was marked with `?`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) optional: bool,
    pub(crate) key: Option<Id>,
    pub(crate) value: Id,
}

#[derive(Debug)]
pub(crate) enum Operation {
    Constant(Literal),
    /// A type as a value.
    Type(&'static str),
    /// By its place in the declaration.
    Parameter(u32),
    /// A macro's variable, by how many macros stand around it.
    Variable(u32),
    Select {
        operand: Id,
        field: Box<str>,
        access: Access,
    },
    Index {
        operand: Id,
        index: Id,
        access: Access,
    },
    /// A member function's target is its first argument.
    Call {
        function: Function,
        arguments: Box<[Id]>,
    },
    /// `matches` with a literal pattern that is small enough to be kept.
    Matches {
        text: Id,
        pattern: Box<Pattern>,
    },
    /// `left.or(right)`, `left.orValue(right)`.
    OrElse {
        left: Id,
        right: Id,
        unwrap: bool,
    },
    Not(Id),
    Negate(Id),
    Arithmetic {
        first: Id,
        rest: Box<[(Arithmetic, Id)]>,
    },
    Relation {
        relation: Relation,
        left: Id,
        right: Id,
    },
    All(Box<[Id]>),
    Any(Box<[Id]>),
    Condition {
        condition: Id,
        then: Id,
        otherwise: Id,
    },
    List(Box<[Item]>),
    Map(Box<[Item]>),
    Fold {
        kind: Macro,
        range: Id,
        filter: Option<Id>,
        body: Id,
    },
}

impl Code {
    pub(crate) fn push(&mut self, operation: Operation) -> Id {
        let id = Id(u32::try_from(self.operations.len()).unwrap_or(u32::MAX));
        self.operations.push(operation);
        id
    }

    pub(crate) fn at(&self, id: Id) -> &Operation {
        &self.operations[id.0 as usize]
    }
}
