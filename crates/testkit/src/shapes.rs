//! Which of the shapes that have misled evaluators before does a question touch?
//!
//! A shape counts for a question when live data realises it somewhere below the question, whoever the subject
//! is. Shapes of the asking itself (pages, duplicates, cache keys) are added by whoever asks.

use idhini_model::{ResourceRef, Timestamp};

use crate::reference::Tables;
use crate::reference::tables::{Edge, EdgeSubject, Member, Object, Rule};

/// A shape that deserves a share of the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Shape {
    ExclusionUnderArrow,
    CaveatOnArrowEdge,
    CaveatUnderAll,
    ConditionsInSeveralBranches,
    WildcardWithCondition,
    WildcardWithExclusion,
    WildcardUnderIntersection,
    UsersetNamesPermission,
    CycleWithoutExclusion,
    CycleThroughExclusion,
    ExpirationAtInstant,
    AllOverSeveralConditional,
    SelfObject,
    Nil,
    ArrowSkipsType,
    DuplicateInBatch,
    LookupAcrossPages,
    SameButContext,
    SameButSubjectRelation,
    SameButInstant,
}

/// Shapes and their names, in the order of printing.
pub const SHAPES: [(Shape, &str); 20] = [
    (Shape::ExclusionUnderArrow, "exclusion under an arrow"),
    (Shape::CaveatOnArrowEdge, "caveat on the arrow's edge"),
    (Shape::CaveatUnderAll, "caveat under `.all`"),
    (Shape::ConditionsInSeveralBranches, "conditions in several branches of an operator"),
    (Shape::WildcardWithCondition, "wildcard with a condition"),
    (Shape::WildcardWithExclusion, "wildcard with an exclusion"),
    (Shape::WildcardUnderIntersection, "wildcard under an intersection"),
    (Shape::UsersetNamesPermission, "userset naming a permission"),
    (Shape::CycleWithoutExclusion, "cycle without an exclusion"),
    (Shape::CycleThroughExclusion, "cycle through an exclusion"),
    (Shape::ExpirationAtInstant, "expiration at the very instant"),
    (Shape::AllOverSeveralConditional, "`.all` over several resources with conditions"),
    (Shape::SelfObject, "`self`"),
    (Shape::Nil, "`nil`"),
    (Shape::ArrowSkipsType, "arrow to a type without the target"),
    (Shape::DuplicateInBatch, "duplicate item in a batch"),
    (Shape::LookupAcrossPages, "lookup across a page boundary"),
    (Shape::SameButContext, "asked before with another context"),
    (Shape::SameButSubjectRelation, "asked before with another subject relation"),
    (Shape::SameButInstant, "asked before at another instant"),
];

/// A set of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShapeSet(u64);

/// Not shapes themselves, but what they are made of.
const EXCLUSION: u64 = 1 << 61;
const CAVEAT: u64 = 1 << 62;
const WILDCARD: u64 = 1 << 63;

impl ShapeSet {
    /// Adds one.
    pub fn insert(&mut self, shape: Shape) {
        self.0 |= bit(shape);
    }

    /// Whether it is in.
    #[must_use]
    pub fn contains(self, shape: Shape) -> bool {
        self.0 & bit(shape) != 0
    }
}

fn bit(shape: Shape) -> u64 {
    1 << shape as u8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Arrow { all: bool },
    Union,
    Intersection,
    Exclusion,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    mask: u64,
    /// Child, and whether it is the right side of `-`.
    children: Vec<(usize, bool)>,
}

/// The shapes below every member of every object of one world at one instant.
#[derive(Debug)]
pub struct Shapes {
    nodes: Vec<Node>,
    members_max: usize,
}

impl Shapes {
    /// Walks all rules over all live relationships.
    #[must_use]
    pub fn new(tables: &Tables, instant: Timestamp) -> Shapes {
        let members_max = tables.members_max();
        let names = tables.names();
        let objects = names.object_count();
        let plain = |_| Node { kind: Kind::Plain, mask: 0, children: Vec::new() };
        let nodes = (0..objects * members_max).map(plain).collect();
        let mut shapes = Shapes { nodes, members_max };
        for object in 0..Object::try_from(objects).unwrap_or(0) {
            let definition = names.definition_of(object);
            for member in 0..tables.member_count(definition) {
                let at = shapes.variable(object, member);
                if let Some(rule) = tables.rule_of(definition, member) {
                    let child = shapes.rule(tables, instant, object, rule);
                    shapes.nodes[at].children.push((child, false));
                } else {
                    for edge in tables.edges_of(object, member) {
                        shapes.relation_edge(tables, instant, at, edge);
                    }
                }
            }
        }
        shapes.mark_cycles();
        shapes.spread();
        shapes
    }

    /// The shapes below a member of an object; none if nothing names the object.
    #[must_use]
    pub fn of(&self, tables: &Tables, resource: &ResourceRef, member: &str) -> ShapeSet {
        let object = tables.names().object(&resource.object_type, &resource.object_id);
        match (object, tables.member(&resource.object_type, member)) {
            (Ok(object), Ok(member)) => {
                ShapeSet(self.nodes.get(self.variable(object, member)).map_or(0, |n| n.mask))
            }
            _ => ShapeSet::default(),
        }
    }

    /// The shapes below a member of any object of the type.
    #[must_use]
    pub fn of_type(&self, tables: &Tables, resource_type: &str, member: &str) -> ShapeSet {
        let Ok(member) = tables.member(resource_type, member) else { return ShapeSet::default() };
        let masks = tables.objects_of(resource_type).map(|o| self.nodes[self.variable(o, member)].mask);
        ShapeSet(masks.fold(0, |a, b| a | b))
    }

    fn variable(&self, object: Object, member: Member) -> usize {
        object as usize * self.members_max + member as usize
    }

    fn add(&mut self, kind: Kind, mask: u64, children: Vec<(usize, bool)>) -> usize {
        self.nodes.push(Node { kind, mask, children });
        self.nodes.len() - 1
    }

    fn relation_edge(&mut self, tables: &Tables, instant: Timestamp, at: usize, edge: &Edge) {
        if edge.expires_at == Some(instant) {
            self.nodes[at].mask |= bit(Shape::ExpirationAtInstant);
        }
        if !edge.is_live(instant) {
            return;
        }
        let mut mask = if edge.caveat.is_some() { CAVEAT } else { 0 };
        match edge.subject {
            EdgeSubject::Object(_) => {}
            EdgeSubject::Wildcard(_) if edge.caveat.is_some() => {
                mask |= WILDCARD | bit(Shape::WildcardWithCondition);
            }
            EdgeSubject::Wildcard(_) => mask |= WILDCARD,
            EdgeSubject::Userset(to, member) => {
                let permission = tables.rule_of(tables.names().definition_of(to), member).is_some();
                mask |= if permission { bit(Shape::UsersetNamesPermission) } else { 0 };
                let child = self.variable(to, member);
                self.nodes[at].children.push((child, false));
            }
        }
        self.nodes[at].mask |= mask;
    }

    fn rule(&mut self, tables: &Tables, instant: Timestamp, object: Object, rule: &Rule) -> usize {
        let mut parts = |parts: &[Rule]| -> Vec<(usize, bool)> {
            parts.iter().map(|p| (self.rule(tables, instant, object, p), false)).collect()
        };
        match rule {
            Rule::Nil => self.add(Kind::Plain, bit(Shape::Nil), Vec::new()),
            Rule::SelfObject => self.add(Kind::Plain, bit(Shape::SelfObject), Vec::new()),
            Rule::Member(member) => self.variable(object, *member),
            Rule::Union(all) => {
                let children = parts(all);
                self.add(Kind::Union, 0, children)
            }
            Rule::Intersection(all) => {
                let children = parts(all);
                self.add(Kind::Intersection, 0, children)
            }
            Rule::Exclusion(base, minus) => {
                let base = self.rule(tables, instant, object, base);
                let minus = self.rule(tables, instant, object, minus);
                self.add(Kind::Exclusion, EXCLUSION, vec![(base, false), (minus, true)])
            }
            Rule::Arrow { relation, all, targets } => {
                self.arrow(tables, instant, (object, *relation, *all), targets)
            }
        }
    }

    fn arrow(
        &mut self,
        tables: &Tables,
        instant: Timestamp,
        (object, relation, all): (Object, Member, bool),
        targets: &[Option<Member>],
    ) -> usize {
        let mut mask = 0;
        let mut children = Vec::new();
        for edge in tables.edges_of(object, relation) {
            let (EdgeSubject::Object(to) | EdgeSubject::Userset(to, _)) = edge.subject else { continue };
            if edge.expires_at == Some(instant) {
                mask |= bit(Shape::ExpirationAtInstant);
            }
            if !edge.is_live(instant) {
                continue;
            }
            let Some(target) = targets[tables.names().definition_of(to) as usize] else {
                mask |= bit(Shape::ArrowSkipsType);
                continue;
            };
            let mut child = self.variable(to, target);
            if edge.caveat.is_some() {
                mask |= bit(Shape::CaveatOnArrowEdge);
                child = self.add(Kind::Plain, CAVEAT, vec![(child, false)]);
            }
            children.push((child, false));
        }
        self.add(Kind::Arrow { all }, mask, children)
    }

    /// Spreads masks from children to parents until nothing changes.
    fn spread(&mut self) {
        loop {
            let mut changed = false;
            for at in (0..self.nodes.len()).rev() {
                let mask = self.nodes[at].mask | self.derived(at);
                changed |= mask != self.nodes[at].mask;
                self.nodes[at].mask = mask;
            }
            if !changed {
                return;
            }
        }
    }

    fn derived(&self, at: usize) -> u64 {
        let node = &self.nodes[at];
        let masks = || node.children.iter().map(|(c, _)| self.nodes[*c].mask);
        let below = masks().fold(0, |a, b| a | b);
        let conditions = masks().filter(|m| m & CAVEAT != 0).count();
        let mut mask = below;
        let mut when = |holds: bool, shape: Shape| mask |= if holds { bit(shape) } else { 0 };
        match node.kind {
            Kind::Plain => {}
            Kind::Arrow { all } => {
                when(below & EXCLUSION != 0, Shape::ExclusionUnderArrow);
                when(all && conditions > 0, Shape::CaveatUnderAll);
                when(all && conditions > 0 && node.children.len() > 1, Shape::AllOverSeveralConditional);
            }
            Kind::Union => when(conditions > 1, Shape::ConditionsInSeveralBranches),
            Kind::Intersection => {
                when(conditions > 1, Shape::ConditionsInSeveralBranches);
                when(below & WILDCARD != 0, Shape::WildcardUnderIntersection);
            }
            Kind::Exclusion => {
                when(conditions > 1, Shape::ConditionsInSeveralBranches);
                when(below & WILDCARD != 0, Shape::WildcardWithExclusion);
            }
        }
        mask
    }

    /// Marks the members of strongly connected components of more than one node, or with an edge to itself.
    fn mark_cycles(&mut self) {
        let component = components(&self.nodes);
        for at in 0..self.nodes.len() {
            for edge in 0..self.nodes[at].children.len() {
                let (child, negative) = self.nodes[at].children[edge];
                if component[at] == component[child] {
                    let shape =
                        if negative { Shape::CycleThroughExclusion } else { Shape::CycleWithoutExclusion };
                    self.nodes[at].mask |= bit(shape);
                }
            }
        }
        // A cycle through an exclusion has positive edges too: they do not count as a cycle without.
        let mut negative = vec![false; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            negative[component[at]] |= node.mask & bit(Shape::CycleThroughExclusion) != 0;
        }
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if negative[component[at]] {
                node.mask &= !bit(Shape::CycleWithoutExclusion);
            }
        }
    }
}

/// Strongly connected components (Tarjan, without recursion): by node, the number of its component.
fn components(nodes: &[Node]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let mut index = vec![UNSEEN; nodes.len()];
    let mut low = vec![0; nodes.len()];
    let mut component = vec![UNSEEN; nodes.len()];
    let (mut next, mut found) = (0, 0);
    let mut open: Vec<usize> = Vec::new();
    for start in 0..nodes.len() {
        if index[start] != UNSEEN {
            continue;
        }
        let mut path = vec![(start, 0)];
        while let Some((at, edge)) = path.pop() {
            if edge == 0 {
                index[at] = next;
                low[at] = next;
                next += 1;
                open.push(at);
            }
            if let Some((child, _)) = nodes[at].children.get(edge) {
                path.push((at, edge + 1));
                if index[*child] == UNSEEN {
                    path.push((*child, 0));
                } else if component[*child] == UNSEEN {
                    low[at] = low[at].min(index[*child]);
                }
                continue;
            }
            if low[at] == index[at] {
                while let Some(member) = open.pop() {
                    component[member] = found;
                    if member == at {
                        break;
                    }
                }
                found += 1;
            }
            if let Some((parent, _)) = path.last() {
                low[*parent] = low[*parent].min(low[at]);
            }
        }
    }
    component
}
