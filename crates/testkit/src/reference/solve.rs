//! One question: list the rules it reaches as nodes, iterate them to the fixpoint, read the answer.
//!
//! Every part of every rule is a node of its own, so that "the right side of `-`" and "a conditional child"
//! are plain references to nodes.

use std::collections::BTreeSet;

use super::tables::{EdgeSubject, Member, Names, Object, Rule, Target};
use super::{Answer, EdgeValue, Refusal, Value, View};

/// A node's number.
type NodeId = u32;

/// What a node's value is computed from.
#[derive(Debug, Clone)]
enum Node {
    /// A constant.
    Constant(Value),
    /// What a caveat says of an edge.
    Edge(u32),
    /// The greatest child, or no.
    Max(Vec<NodeId>),
    /// The least child; at least one.
    Min(Vec<NodeId>),
    /// `a - b`.
    Exclusion(NodeId, NodeId),
}

/// All nodes that a question reaches; node 0 is the question.
struct Listing<'v> {
    view: &'v View<'v>,
    names: &'v Names<'v>,
    subject: Target,
    nodes: Vec<Node>,
    /// By object and member: its node, or `NodeId::MAX`.
    variables: Vec<NodeId>,
    members_max: usize,
    pending: Vec<(NodeId, Object, Member)>,
}

/// How a failing caveat counts.
#[derive(Clone, Copy)]
enum Failing {
    /// As anything from no to has.
    Anything,
    /// As this value.
    Fixed(Value),
}

/// The value of `goal` for `subject`.
pub(super) fn answer(
    view: &View<'_>,
    names: &Names<'_>,
    goal: (Object, Member),
    subject: Target,
) -> Result<Answer, Refusal> {
    let nodes = list(view, names, goal, subject);
    let (low, high) = alternate(view, &nodes, Failing::Anything);
    if low[0] == high[0] {
        let missing = if low[0] == Value::Conditional {
            missing_context(view, &nodes, &low, &high)
        } else {
            BTreeSet::new()
        };
        return Ok(Answer { value: low[0], missing });
    }
    let fails = nodes
        .iter()
        .any(|node| matches!(node, Node::Edge(caveat) if *view.edge_value(*caveat) == EdgeValue::Failed));
    let settled = |value| {
        let (low, high) = alternate(view, &nodes, Failing::Fixed(value));
        low[0] == high[0]
    };
    Err(match fails {
        false => Refusal::Cycle,
        true if settled(Value::No) && settled(Value::Has) => Refusal::CaveatFailed,
        true => Refusal::Undefined,
    })
}

fn list(view: &View<'_>, names: &Names<'_>, goal: (Object, Member), subject: Target) -> Vec<Node> {
    let members_max = view.tables.members_max();
    let mut listing = Listing {
        view,
        names,
        subject,
        nodes: Vec::new(),
        variables: vec![NodeId::MAX; names.object_count() * members_max],
        members_max,
        pending: Vec::new(),
    };
    listing.variable(goal.0, goal.1);
    while let Some((node, object, member)) = listing.pending.pop() {
        listing.fill(node, object, member);
    }
    listing.nodes
}

impl Listing<'_> {
    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId::try_from(self.nodes.len() - 1).unwrap_or(NodeId::MAX)
    }

    /// The node of `member` at `object`, filled in later.
    fn variable(&mut self, object: Object, member: Member) -> NodeId {
        let slot = object as usize * self.members_max + member as usize;
        if self.variables[slot] == NodeId::MAX {
            self.variables[slot] = self.add(Node::Constant(Value::No));
            self.pending.push((self.variables[slot], object, member));
        }
        self.variables[slot]
    }

    /// Identity, and the relation's edges or the permission's rule.
    fn fill(&mut self, node: NodeId, object: Object, member: Member) {
        let tables = self.view.tables;
        let identity = self.subject == (object, Some(member));
        let mut children = vec![self.add(stands(identity))];
        if let Some(rule) = tables.rule_of(self.names.definition_of(object), member) {
            children.push(self.rule(object, rule));
        } else {
            for edge in tables.edges_of(object, member) {
                if edge.is_live(self.view.instant) {
                    let target = self.edge_target(&edge.subject);
                    children.push(self.pair(edge.caveat, target));
                }
            }
        }
        self.nodes[node as usize] = Node::Max(children);
    }

    fn rule(&mut self, object: Object, rule: &Rule) -> NodeId {
        let node = match rule {
            Rule::Nil => Node::Constant(Value::No),
            Rule::SelfObject => stands(self.subject == (object, None)),
            Rule::Member(member) => return self.variable(object, *member),
            Rule::Union(parts) => Node::Max(parts.iter().map(|p| self.rule(object, p)).collect()),
            Rule::Intersection(parts) => Node::Min(parts.iter().map(|p| self.rule(object, p)).collect()),
            Rule::Exclusion(base, minus) => {
                Node::Exclusion(self.rule(object, base), self.rule(object, minus))
            }
            Rule::Arrow { relation, all, targets } => self.arrow(object, *relation, *all, targets),
        };
        self.add(node)
    }

    /// Follows the live edges to objects whose definition has the target; their subject relation is ignored.
    fn arrow(&mut self, object: Object, relation: Member, all: bool, targets: &[Option<Member>]) -> Node {
        let mut followed = Vec::new();
        for edge in self.view.tables.edges_of(object, relation) {
            let (EdgeSubject::Object(to) | EdgeSubject::Userset(to, _)) = edge.subject else { continue };
            if let (true, Some(target)) =
                (edge.is_live(self.view.instant), targets[self.names.definition_of(to) as usize])
            {
                let target = self.variable(to, target);
                followed.push(self.pair(edge.caveat, target));
            }
        }
        if all && !followed.is_empty() { Node::Min(followed) } else { Node::Max(followed) }
    }

    fn edge_target(&mut self, subject: &EdgeSubject) -> NodeId {
        let node = match subject {
            EdgeSubject::Object(object) => stands(self.subject == (*object, None)),
            EdgeSubject::Wildcard(definition) => {
                let same = self.names.definition_of(self.subject.0) == *definition;
                stands(same && self.subject.1.is_none())
            }
            EdgeSubject::Userset(object, member) => return self.variable(*object, *member),
        };
        self.add(node)
    }

    fn pair(&mut self, caveat: Option<u32>, target: NodeId) -> NodeId {
        match caveat {
            None => target,
            Some(caveat) => {
                let edge = self.add(Node::Edge(caveat));
                self.add(Node::Min(vec![edge, target]))
            }
        }
    }
}

fn stands(holds: bool) -> Node {
    Node::Constant(if holds { Value::Has } else { Value::No })
}

/// The least and greatest fixpoints of Γ², where Γ reads right sides of `-` from its argument.
///
/// They are reached by alternation: each `low` is an underestimate, each `high` an overestimate, and both
/// close in. Three values and finitely many nodes bound the rounds.
fn alternate(view: &View<'_>, nodes: &[Node], failing: Failing) -> (Vec<Value>, Vec<Value>) {
    let bound = |highest: bool| -> Vec<Value> {
        nodes.iter().map(|node| constant(view, node, failing, highest)).collect()
    };
    let (floor, ceiling) = (bound(false), bound(true));
    let mut low = vec![Value::No; nodes.len()];
    let mut high = least_fixpoint(nodes, &ceiling, &low);
    if floor == ceiling && !nodes.iter().any(|node| matches!(node, Node::Exclusion(..))) {
        return (high.clone(), high);
    }
    loop {
        let next_low = least_fixpoint(nodes, &floor, &high);
        let next_high = least_fixpoint(nodes, &ceiling, &next_low);
        if next_low == low && next_high == high {
            return (low, high);
        }
        (low, high) = (next_low, next_high);
    }
}

/// The value of a node that has no children.
fn constant(view: &View<'_>, node: &Node, failing: Failing, highest: bool) -> Value {
    match (node, failing) {
        (Node::Constant(value), _) => *value,
        (Node::Edge(caveat), failing) => match (view.edge_value(*caveat), failing) {
            (EdgeValue::Point(answer), _) => answer.value,
            (EdgeValue::Failed, Failing::Fixed(value)) => value,
            (EdgeValue::Failed, Failing::Anything) if highest => Value::Has,
            (EdgeValue::Failed, Failing::Anything) => Value::No,
        },
        _ => Value::No,
    }
}

/// Γ: all rules from no upwards until nothing changes; right sides of `-` are read from `other`.
fn least_fixpoint(nodes: &[Node], constants: &[Value], other: &[Value]) -> Vec<Value> {
    let mut values = constants.to_vec();
    loop {
        let mut changed = false;
        // Children are mostly listed after their parents.
        for (at, node) in nodes.iter().enumerate().rev() {
            let value = match node {
                Node::Constant(_) | Node::Edge(_) => continue,
                Node::Max(children) => {
                    children.iter().map(|c| values[*c as usize]).max().unwrap_or(Value::No)
                }
                Node::Min(children) => {
                    children.iter().map(|c| values[*c as usize]).min().unwrap_or(Value::No)
                }
                Node::Exclusion(base, minus) => values[*base as usize].min(!other[*minus as usize]),
            };
            changed |= value != values[at];
            values[at] = value;
        }
        if !changed {
            return values;
        }
    }
}

/// The union over the conditional children of each conditional node, from node 0 down.
fn missing_context(view: &View<'_>, nodes: &[Node], low: &[Value], high: &[Value]) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let mut seen = vec![false; nodes.len()];
    let mut pending: Vec<NodeId> = vec![0];
    while let Some(node) = pending.pop() {
        let at = node as usize;
        if seen[at] || (low[at], high[at]) != (Value::Conditional, Value::Conditional) {
            continue;
        }
        seen[at] = true;
        match &nodes[at] {
            Node::Constant(_) => {}
            Node::Edge(caveat) => {
                if let EdgeValue::Point(answer) = view.edge_value(*caveat) {
                    missing.extend(answer.missing.iter().cloned());
                }
            }
            Node::Max(children) | Node::Min(children) => pending.extend(children),
            Node::Exclusion(base, minus) => pending.extend([*base, *minus]),
        }
    }
    missing
}
