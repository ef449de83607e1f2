//! Which of a surveyed goal's parts does its value rest on, as text?
//!
//! First the shape of the rule without its edges, which is as large as the schema has it. Then its *gaps* are filled in
//! order: goals are numbered, and edges told one by one, so that a portion may end between any two.
//!
//! # Invariants
//! * A goal's bytes are accounted for when it gets its number, with its rule at its largest, and an edge's before it
//!   is kept: together never more than [`EXPLAINED_BYTES_MAX`].
//! * Edges that share a stored caveat share what is told of it.
//!
//! Cost: O(nodes of the rule); [`EDGE_TOLD_COST`] and one for each [`BYTES_TOLD_PER_COST`] for an edge told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use idhini_model::{CaveatUse, Context, ContextValue};
use idhini_schema::{ArrowKind, MemberIndex, NodeIndex, PlanNode};
use rustc_hash::FxBuildHasher;

use super::{
    ConditionOutcome, EXPLAINED_BYTES_MAX, EXPLAINED_EDGES_MAX, EXPLAINED_EDGES_TOTAL_MAX,
    EXPLAINED_GOALS_MAX, ExplainedCondition, ExplainedEdge, ExplainedEdges, ExplainedGoal, ExplainedRule,
    RuleKind,
};
use crate::conditions::Condition;
use crate::evaluate::{Evaluator, GoalKey};
use crate::survey::{Found, FoundEdge, Survey, permissionship};
use crate::{EngineError, Permissionship, Progress, size};

/// What telling an edge costs, in edges visited: its names are copied.
const EDGE_TOLD_COST: u64 = 8;
/// It costs one more for each so many bytes that are copied.
const BYTES_TOLD_PER_COST: usize = 64;
/// Remembered edges are looked through for those to be told; so many cost as much as visiting one.
const EDGES_CHOSEN_PER_COST: usize = 16;

/// What an explanation has told so far, and what it will.
pub(super) struct Told {
    /// Goals in the order of their numbers.
    order: Vec<GoalKey>,
    numbers: HashMap<GoalKey, usize, FxBuildHasher>,
    edges: usize,
    bytes: usize,
    is_truncated: bool,
    /// What is told of stored caveats, by their address: the borrowed root keeps them alive.
    conditions: HashMap<usize, Arc<ExplainedCondition>, FxBuildHasher>,
    /// How many bytes the members' rules take at most, without edges.
    rule_bytes: HashMap<MemberIndex, usize, FxBuildHasher>,
}

/// One goal being told; resumable.
pub(super) struct Telling {
    survey: Survey,
    rule: ExplainedRule,
    /// What the rule's shape leaves open, in order, and how many of them are filled.
    gaps: Vec<Gap>,
    filled: Vec<Filling>,
    running: Option<Edges>,
}

enum Gap {
    Goal(Option<GoalKey>),
    /// The edges of a node, with the value that one of them is enough for.
    Edges(NodeIndex, Permissionship),
}

enum Filling {
    Goal(Option<usize>),
    Edges(ExplainedEdges),
}

/// The edges of one node being told.
struct Edges {
    chosen: std::vec::IntoIter<FoundEdge>,
    explained: ExplainedEdges,
}

impl Told {
    /// The first goal has room in any case.
    pub(super) fn open(evaluator: &Evaluator<'_>, goal: GoalKey) -> Told {
        let mut told = Told {
            order: vec![goal],
            numbers: HashMap::from_iter([(goal, 0)]),
            edges: 0,
            bytes: 0,
            is_truncated: false,
            conditions: HashMap::default(),
            rule_bytes: HashMap::default(),
        };
        told.bytes = told.goal_bytes(evaluator, goal);
        told
    }

    pub(super) fn goal(&self, number: usize) -> Option<GoalKey> {
        self.order.get(number).copied()
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The number of a goal; `None` if there is no room for it.
    fn number(&mut self, evaluator: &Evaluator<'_>, goal: GoalKey) -> Option<usize> {
        if let Some(number) = self.numbers.get(&goal) {
            return Some(*number);
        }
        let next = self.order.len();
        let bytes = self.bytes + self.goal_bytes(evaluator, goal);
        if next >= EXPLAINED_GOALS_MAX || bytes > EXPLAINED_BYTES_MAX {
            self.is_truncated = true;
            return None;
        }
        self.bytes = bytes;
        self.numbers.insert(goal, next);
        self.order.push(goal);
        Some(next)
    }

    /// How many bytes a goal takes at most, without edges.
    fn goal_bytes(&mut self, evaluator: &Evaluator<'_>, goal: GoalKey) -> usize {
        let plans = evaluator.snapshot.plans;
        let of_rule = self.rule_bytes.entry(goal.member).or_insert_with(|| {
            let mut bytes = plans.plan.members[goal.member as usize].name.len();
            let mut open = vec![plans.node_of(goal.member)];
            while let Some(node) = open.pop() {
                bytes += size_of::<ExplainedRule>();
                match &plans.plan.nodes[node as usize] {
                    PlanNode::Union(children) | PlanNode::Intersection(children) => open.extend(children),
                    PlanNode::Exclusion(base, excluded) => open.extend([*base, *excluded]),
                    PlanNode::Arrow { relation, target, .. } => {
                        bytes += plans.plan.members[*relation as usize].name.len() + target.len();
                    }
                    PlanNode::Nil | PlanNode::SelfObject(_) | PlanNode::Member(_) | PlanNode::Relation(_) => {
                    }
                }
            }
            bytes
        });
        let object_type = &plans.plan.types[plans.type_of(goal.member) as usize].name;
        let id = evaluator.object_id(goal).map_or(0, str::len);
        size_of::<ExplainedGoal>() + object_type.len() + id + *of_rule
    }

    /// What is told of an edge of `object`, and how much that costs; `None` if there is no room for it.
    fn edge(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        object: u32,
        edge: FoundEdge,
    ) -> (Option<ExplainedEdge>, u64) {
        let snapshot = evaluator.snapshot;
        let class = snapshot.plans.class_ids[edge.class as usize];
        let relationship = snapshot.root.relationship(class, object, edge.subject);
        let attributes = evaluator.conditions.live(edge.class, object, edge.subject);
        let (Some(relationship), Some(attributes)) = (relationship, attributes) else { return (None, 1) };
        let mut bytes = size_of::<ExplainedEdge>() + size::of_relationship(&relationship);
        let condition = attributes.and_then(|a| a.caveat.as_ref()).map(|caveat| {
            let address = Arc::as_ptr(caveat).addr();
            let told = self.conditions.get(&address).cloned().unwrap_or_else(|| {
                let told = told_condition(evaluator, caveat);
                bytes += told.bytes();
                Arc::new(told)
            });
            (address, told)
        });
        let cost = EDGE_TOLD_COST + (bytes / BYTES_TOLD_PER_COST) as u64;
        if self.bytes + bytes > EXPLAINED_BYTES_MAX {
            return (None, cost);
        }
        self.bytes += bytes;
        self.edges += 1;
        let condition =
            condition.map(|(address, told)| Arc::clone(self.conditions.entry(address).or_insert(told)));
        let target = edge.target.and_then(|goal| self.number(evaluator, goal));
        let permissionship = permissionship(edge.bounds);
        (Some(ExplainedEdge { relationship, permissionship, condition, target }), cost)
    }
}

fn told_condition(evaluator: &mut Evaluator<'_>, caveat: &Arc<CaveatUse>) -> ExplainedCondition {
    let outcome = match evaluator.conditions.condition(caveat) {
        Condition::True => ConditionOutcome::True,
        Condition::False => ConditionOutcome::False,
        Condition::Missing(names) => ConditionOutcome::Missing(names.as_ref().clone()),
        Condition::Failed(error) => ConditionOutcome::Failed(error.to_string()),
    };
    let compiled = evaluator.snapshot.plans.schema.caveat(&caveat.name);
    let request = evaluator.conditions.context();
    let mut values: BTreeMap<String, ContextValue> = BTreeMap::new();
    for parameter in compiled.iter().flat_map(|c| c.parameters()) {
        let value = caveat.context.0.get(&parameter.name).or_else(|| request.0.get(&parameter.name));
        values.extend(value.map(|v| (parameter.name.clone(), v.clone())));
    }
    ExplainedCondition {
        caveat: caveat.name.clone(),
        expression: compiled.map_or_else(String::new, |c| c.expression().to_owned()),
        context: Context(values),
        outcome,
    }
}

impl ExplainedCondition {
    fn bytes(&self) -> usize {
        let ExplainedCondition { caveat, expression, context, outcome } = self;
        let of_outcome = match outcome {
            ConditionOutcome::True | ConditionOutcome::False => 0,
            ConditionOutcome::Missing(names) => {
                names.iter().map(|name| size_of::<String>() + name.len()).sum()
            }
            ConditionOutcome::Failed(reason) => reason.len(),
        };
        size_of::<ExplainedCondition>()
            + caveat.len()
            + expression.len()
            + size::of_values(&context.0)
            + of_outcome
    }
}

impl Telling {
    pub(super) fn open(evaluator: &Evaluator<'_>, survey: Survey) -> Telling {
        let mut shaping = Shaping { evaluator, survey: &survey, gaps: Vec::new() };
        let rule = shaping.rule(evaluator.snapshot.plans.node_of(survey.goal().member));
        let gaps = shaping.gaps;
        Telling { survey, rule, gaps, filled: Vec::new(), running: None }
    }

    /// Tells on until the rule is whole or the cost reaches `end`.
    pub(super) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        told: &mut Told,
        end: u64,
    ) -> Result<Progress<ExplainedRule>, EngineError> {
        while let Some(gap) = self.gaps.get(self.filled.len()) {
            if evaluator.cost() >= end {
                return Ok(Progress::More);
            }
            match (self.running.take(), gap) {
                (None, Gap::Goal(goal)) => {
                    evaluator.charge(1)?;
                    let number = goal.and_then(|goal| told.number(evaluator, goal));
                    self.filled.push(Filling::Goal(number));
                }
                (None, Gap::Edges(node, decisive)) => {
                    let found = self.survey.of(*node);
                    evaluator.charge(1 + (found.edges.len() / EDGES_CHOSEN_PER_COST) as u64)?;
                    self.running = Some(Edges::choose(&self.survey, &found, *decisive, told.edges));
                }
                (Some(mut edges), _) => {
                    let object = self.survey.goal().object;
                    let cost = match edges.chosen.next() {
                        None => 0,
                        Some(edge) => {
                            let (explained, cost) = told.edge(evaluator, object, edge);
                            edges.take(explained);
                            cost
                        }
                    };
                    evaluator.charge(cost)?;
                    match edges.chosen.len() {
                        0 => self.filled.push(Filling::Edges(edges.explained)),
                        _ => self.running = Some(edges),
                    }
                }
            }
        }
        let empty = ExplainedRule { permissionship: None, kind: RuleKind::Nil };
        let mut rule = std::mem::replace(&mut self.rule, empty);
        fill(&mut rule, &mut std::mem::take(&mut self.filled).into_iter());
        Ok(Progress::Done(rule))
    }
}

impl Edges {
    /// Those that a node's value rests on, as far as there is room for so many.
    fn choose(survey: &Survey, found: &Found, decisive: Permissionship, told: usize) -> Edges {
        let value = permissionship(found.bounds);
        let is_part = |edge: Option<Permissionship>| rests_on(value, edge, decisive);
        let of_survey = survey.edges(found).iter();
        let mut chosen: Vec<FoundEdge> =
            of_survey.filter(|edge| is_part(permissionship(edge.bounds))).copied().collect();
        let values = Permissionship::ALL.map(Some).into_iter().chain([None]);
        let mut whole: u64 = values.filter(|value| is_part(*value)).map(|value| found.count(value)).sum();
        let mut left = EXPLAINED_EDGES_TOTAL_MAX.saturating_sub(told);
        if value == Some(decisive) {
            chosen.sort_by_key(|edge| edge.rank);
            chosen.truncate(1);
            whole = chosen.len() as u64;
            // Without its witness a grant has no reason.
            left = left.max(1);
        }
        chosen.truncate(EXPLAINED_EDGES_MAX.min(left));
        Edges { chosen: chosen.into_iter(), explained: ExplainedEdges { edges: Vec::new(), omitted: whole } }
    }

    /// Takes an edge's text; those behind one that there is no room for are not told.
    fn take(&mut self, edge: Option<ExplainedEdge>) {
        match edge {
            None => self.chosen = Vec::new().into_iter(),
            Some(edge) => {
                self.explained.edges.push(edge);
                self.explained.omitted = self.explained.omitted.saturating_sub(1);
            }
        }
    }
}

/// Puts what the shape of a rule left open in its place. Recursion follows the schema's nesting, which the parser bounds.
fn fill(rule: &mut ExplainedRule, fillings: &mut impl Iterator<Item = Filling>) {
    match &mut rule.kind {
        RuleKind::Nil | RuleKind::SelfObject | RuleKind::IsSubject => {}
        RuleKind::Goal(number) => {
            if let Some(Filling::Goal(told)) = fillings.next() {
                *number = told;
            }
        }
        RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => {
            if let Some(Filling::Edges(told)) = fillings.next() {
                *edges = told;
            }
        }
        RuleKind::Union(rules) | RuleKind::Intersection(rules) => {
            rules.iter_mut().for_each(|rule| fill(rule, fillings));
        }
        RuleKind::Exclusion { base, excluded } => {
            [base, excluded].into_iter().flatten().for_each(|rule| fill(rule, fillings));
        }
    }
}

/// A rule's shape being made, with what it leaves open.
struct Shaping<'s, 'a> {
    evaluator: &'s Evaluator<'a>,
    survey: &'s Survey,
    gaps: Vec<Gap>,
}

// Recursion in here follows the schema's nesting, which the parser bounds.
impl Shaping<'_, '_> {
    fn rule(&mut self, node: NodeIndex) -> ExplainedRule {
        let found = self.survey.of(node);
        let plans = self.evaluator.snapshot.plans;
        let kind = match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => RuleKind::Nil,
            PlanNode::SelfObject(_) => RuleKind::SelfObject,
            PlanNode::Member(member) => {
                let goal = GoalKey { member: *member, object: self.survey.goal().object };
                self.gaps.push(Gap::Goal(found.bounds.map(|_| goal)));
                RuleKind::Goal(None)
            }
            PlanNode::Union(children) => {
                RuleKind::Union(self.children(children, &found, Permissionship::Has))
            }
            PlanNode::Intersection(children) => {
                RuleKind::Intersection(self.children(children, &found, Permissionship::No))
            }
            PlanNode::Exclusion(base, excluded) => self.exclusion(*base, *excluded, &found),
            PlanNode::Relation(_) => {
                self.gaps.push(Gap::Edges(node, Permissionship::Has));
                RuleKind::Relation(ExplainedEdges::default())
            }
            PlanNode::Arrow { relation, target, kind, .. } => {
                let is_all = *kind == ArrowKind::All;
                let decisive = if is_all { Permissionship::No } else { Permissionship::Has };
                self.gaps.push(Gap::Edges(node, decisive));
                RuleKind::Arrow {
                    relation: plans.plan.members[*relation as usize].name.clone(),
                    target: target.clone(),
                    is_all,
                    edges: ExplainedEdges::default(),
                }
            }
        };
        ExplainedRule { permissionship: permissionship(found.bounds), kind }
    }

    /// The children that a value rests on: one with the decisive value, or all that share the value.
    fn children(
        &mut self,
        children: &[NodeIndex],
        found: &Found,
        decisive: Permissionship,
    ) -> Vec<ExplainedRule> {
        let value = permissionship(found.bounds);
        let mut kept: Vec<(u32, NodeIndex)> = children
            .iter()
            .map(|child| (self.survey.of(*child), *child))
            .filter(|(of_child, _)| rests_on(value, permissionship(of_child.bounds), decisive))
            .map(|(of_child, child)| (of_child.rank, child))
            .collect();
        if value == Some(decisive) {
            kept.sort_by_key(|(rank, _)| *rank);
            kept.truncate(1);
        }
        kept.into_iter().map(|(_, child)| self.rule(child)).collect()
    }

    fn exclusion(&mut self, base: NodeIndex, excluded: NodeIndex, found: &Found) -> RuleKind {
        let of_base = permissionship(self.survey.of(base).bounds);
        let of_excluded = permissionship(self.survey.of(excluded).bounds);
        let (needs_base, needs_excluded) = match permissionship(found.bounds) {
            Some(Permissionship::No) if of_base == Some(Permissionship::No) => (true, false),
            Some(Permissionship::No) => (false, true),
            Some(Permissionship::Conditional) => {
                let conditional = Some(Permissionship::Conditional);
                (of_base == conditional, of_excluded == conditional)
            }
            _ => (true, true),
        };
        RuleKind::Exclusion {
            base: needs_base.then(|| Box::new(self.rule(base))),
            excluded: needs_excluded.then(|| Box::new(self.rule(excluded))),
        }
    }
}

/// Whether a child with value `child` is part of why its parent has `value`.
fn rests_on(value: Option<Permissionship>, child: Option<Permissionship>, decisive: Permissionship) -> bool {
    match value {
        // Decided by one child, so one with the same value; otherwise by all, or by those that are like it.
        Some(value) if value == decisive => child == Some(value),
        Some(Permissionship::Conditional) => child == Some(Permissionship::Conditional),
        Some(_) => true,
        None => child.is_none(),
    }
}
