//! What does an expression say, as written? Its parsed tree, before names and types are known.
//!
//! # Invariants
//! * Nodes stand in one vector, children before parents: a tree is dropped and walked without recursion on its
//!   shape being a danger to the stack.
//! * No path from the root is longer than [`DEPTH_MAX`].
//! * Macros stay macros (`range.all(x, …)`), so that they print as they were written.

/// Deepest nesting of an expression, in nodes and in brackets.
pub(crate) const DEPTH_MAX: u16 = 250;

/// The place of a node in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// A parsed expression.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

/// One operation, literal or name.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Byte offset into the source at which to point when this node is at fault.
    pub(crate) at: u32,
    /// Nodes on the longest path below, itself included.
    pub(crate) depth: u16,
    pub(crate) kind: Kind,
}

/// A literal's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Box<[u8]>),
}

/// `+ - * / %`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// `== != < <= > >= in`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

/// A macro over the elements of a list, the keys of a map, or the value of an optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    OptMap,
}

/// An element or entry, and whether it was marked with `?`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    pub(crate) optional: bool,
    pub(crate) key: Option<NodeId>,
    pub(crate) value: NodeId,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Literal),
    /// `name`, or `.name` when `root`.
    Name {
        name: Box<str>,
        root: bool,
    },
    /// `operand.field`, `operand.?field`, `has(operand.field)`.
    Select {
        operand: NodeId,
        field: Box<str>,
        optional: bool,
        test: bool,
    },
    /// `operand[index]`, `operand[?index]`.
    Index {
        operand: NodeId,
        index: NodeId,
        optional: bool,
    },
    /// `function(…)`, `target.function(…)`.
    Call {
        target: Option<NodeId>,
        function: Box<str>,
        arguments: Vec<NodeId>,
    },
    Not(NodeId),
    Negate(NodeId),
    /// Operators of one precedence, from the left: `a - b + c`.
    Arithmetic {
        first: NodeId,
        rest: Vec<(Arithmetic, NodeId)>,
    },
    Relation {
        relation: Relation,
        left: NodeId,
        right: NodeId,
    },
    /// Two or more operands of `&&`.
    All(Vec<NodeId>),
    /// Two or more operands of `||`.
    Any(Vec<NodeId>),
    Condition {
        condition: NodeId,
        then: NodeId,
        otherwise: NodeId,
    },
    List(Vec<Element>),
    Map(Vec<Element>),
    /// `range.map(variable, filter, body)`; only `map` may have a filter.
    Macro {
        kind: Macro,
        range: NodeId,
        variable: Box<str>,
        filter: Option<NodeId>,
        body: NodeId,
    },
}

impl Arithmetic {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Remainder => "%",
        }
    }

    /// Whether it binds as tightly as `*`.
    pub(crate) fn is_product(self) -> bool {
        !matches!(self, Arithmetic::Add | Arithmetic::Subtract)
    }
}

impl Relation {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::Less => "<",
            Relation::LessEqual => "<=",
            Relation::Greater => ">",
            Relation::GreaterEqual => ">=",
            Relation::In => "in",
        }
    }
}

impl Macro {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Macro::All => "all",
            Macro::Exists => "exists",
            Macro::ExistsOne => "exists_one",
            Macro::Map => "map",
            Macro::Filter => "filter",
            Macro::OptMap => "optMap",
        }
    }

    /// The macro of this name with so many arguments.
    pub(crate) fn find(name: &str, arguments: usize) -> Option<Macro> {
        match (name, arguments) {
            ("all", 2) => Some(Macro::All),
            ("exists", 2) => Some(Macro::Exists),
            ("exists_one", 2) => Some(Macro::ExistsOne),
            ("map", 2 | 3) => Some(Macro::Map),
            ("filter", 2) => Some(Macro::Filter),
            ("optMap", 2) => Some(Macro::OptMap),
            _ => None,
        }
    }
}

impl Tree {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Adds a node above `children` and answers its depth too; the caller holds it to [`DEPTH_MAX`].
    pub(crate) fn push(&mut self, at: u32, kind: Kind) -> (NodeId, u16) {
        let mut depth = 0;
        kind.children(&mut |child| depth = self.node(child).depth.max(depth));
        let depth = depth.saturating_add(1);
        // An expression's length is limited far below 2³² nodes.
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { at, depth, kind });
        (id, depth)
    }

    /// Adds an operand at the end of a chain of equally strong operators; false if the node is none.
    pub(crate) fn extend_arithmetic(&mut self, chain: NodeId, operator: Arithmetic, operand: NodeId) -> bool {
        let below = self.node(operand).depth;
        let node = &mut self.nodes[chain.0 as usize];
        match &mut node.kind {
            Kind::Arithmetic { rest, .. } if rest[0].0.is_product() == operator.is_product() => {
                rest.push((operator, operand));
                node.depth = node.depth.max(below.saturating_add(1));
                true
            }
            _ => false,
        }
    }

    /// Adds operands at the end of an `&&` (when `all`) or `||`; false if the node is none.
    pub(crate) fn extend_logic(&mut self, logic: NodeId, all: bool, operands: &[NodeId]) -> bool {
        let below = operands.iter().map(|id| self.node(*id).depth).max().unwrap_or(0);
        let node = &mut self.nodes[logic.0 as usize];
        match (&mut node.kind, all) {
            (Kind::All(list), true) | (Kind::Any(list), false) => {
                list.extend(operands);
                node.depth = node.depth.max(below.saturating_add(1));
                true
            }
            _ => false,
        }
    }

    /// The operands of an `&&` (when `all`) or `||`, which is dissolved; a node that is none stands for itself.
    pub(crate) fn take_operands(&mut self, id: NodeId, all: bool) -> Vec<NodeId> {
        match (&self.node(id).kind, all) {
            (Kind::All(_), true) | (Kind::Any(_), false) => {}
            _ => return vec![id],
        }
        match self.take(id) {
            Kind::All(operands) | Kind::Any(operands) => operands,
            _ => Vec::new(),
        }
    }

    /// Takes a node's kind out, to build upon it; what is left stands for nothing.
    pub(crate) fn take(&mut self, id: NodeId) -> Kind {
        std::mem::replace(&mut self.nodes[id.0 as usize].kind, Kind::Literal(Literal::Null))
    }
}

impl Kind {
    fn children(&self, visit: &mut dyn FnMut(NodeId)) {
        match self {
            Kind::Literal(_) | Kind::Name { .. } => {}
            Kind::Select { operand, .. } | Kind::Not(operand) | Kind::Negate(operand) => visit(*operand),
            Kind::Index { operand, index, .. } => [operand, index].into_iter().for_each(|c| visit(*c)),
            Kind::Call { target, arguments, .. } => target.iter().chain(arguments).for_each(|c| visit(*c)),
            Kind::Arithmetic { first, rest } => {
                visit(*first);
                rest.iter().for_each(|(_, c)| visit(*c));
            }
            Kind::Relation { left, right, .. } => [left, right].into_iter().for_each(|c| visit(*c)),
            Kind::All(operands) | Kind::Any(operands) => operands.iter().for_each(|c| visit(*c)),
            Kind::Condition { condition, then, otherwise } => {
                [condition, then, otherwise].into_iter().for_each(|c| visit(*c));
            }
            Kind::List(elements) | Kind::Map(elements) => {
                elements.iter().for_each(|e| e.key.iter().chain([&e.value]).for_each(|c| visit(*c)));
            }
            Kind::Macro { range, filter, body, .. } => {
                filter.iter().chain([range, body]).for_each(|c| visit(*c));
            }
        }
    }
}
