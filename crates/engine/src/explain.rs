//! Why is an answer what it is? The part of the evaluation that the answer rests on, as data.
//!
//! A grant is explained by one witness per alternative and all parts of a conjunction; a denial by everything that was
//! tried; a conditional answer by what is conditional. Goals are listed once and refer to each other by index. The
//! witness of a grant was always finished before what it grants, so grants never explain themselves in a circle.
//!
//! Cost: O(edges of the goals explained), charged to the question's budget.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use idhini_model::{Context, ContextValue, Relationship, ResourceRef};
use idhini_schema::{ArrowKind, ClassIndex, NodeIndex, PlanNode, PlanSubject};
use rustc_hash::FxBuildHasher;

use crate::conditions::Condition;
use crate::evaluate::{Evaluator, GoalKey};
use crate::question::UNNAMED_RESOURCE;
use crate::value::Bounds;
use crate::{EngineError, Permissionship, Question};

/// The most edges listed under one rule; the rest is counted.
pub const EXPLAINED_EDGES_MAX: usize = 1_000;
/// The most goals listed in one explanation.
pub const EXPLAINED_GOALS_MAX: usize = 10_000;

/// Why an answer is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The first is the question; the others are referred to by index.
    pub goals: Vec<ExplainedGoal>,
    /// Whether goals were left out because there are more than [`EXPLAINED_GOALS_MAX`].
    pub is_truncated: bool,
}

/// One member of one object, and why it is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedGoal {
    /// The object.
    pub resource: ResourceRef,
    /// Its relation or permission.
    pub member: String,
    /// Its rule, with what was found.
    pub rule: ExplainedRule,
}

/// A rule or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Its value; `None` if it has none (a failing caveat, a cycle through an exclusion, or never needed).
    pub permissionship: Option<Permissionship>,
    /// What it is.
    pub kind: RuleKind,
}

/// What a rule consists of, as far as the answer rests on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    /// `nil`.
    Nil,
    /// `self`.
    SelfObject,
    /// The subject is this very userset.
    IsSubject,
    /// Another member of the same object: an index into [`Explanation::goals`].
    Goal(Option<usize>),
    /// Relationships of a relation.
    Relation(ExplainedEdges),
    /// Relationships followed to another member; any of them, or all.
    Arrow {
        /// The relation followed.
        relation: String,
        /// The member asked there.
        target: String,
        /// Whether all must hold.
        is_all: bool,
        /// What was followed.
        edges: ExplainedEdges,
    },
    /// `+`.
    Union(Vec<ExplainedRule>),
    /// `&`.
    Intersection(Vec<ExplainedRule>),
    /// `-`: the base and what is taken away, as far as the answer rests on them.
    Exclusion {
        /// What is taken from.
        base: Option<Box<ExplainedRule>>,
        /// What is taken away.
        excluded: Option<Box<ExplainedRule>>,
    },
}

/// Relationships that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExplainedEdges {
    /// At most [`EXPLAINED_EDGES_MAX`].
    pub edges: Vec<ExplainedEdge>,
    /// How many more there are.
    pub omitted: u64,
}

/// One relationship and what it contributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedEdge {
    /// As stored.
    pub relationship: Relationship,
    /// What the relationship and its target contribute together.
    pub permissionship: Option<Permissionship>,
    /// Its caveat, evaluated.
    pub condition: Option<ExplainedCondition>,
    /// What it leads to: an index into [`Explanation::goals`]. `None` if it names the subject itself.
    pub target: Option<usize>,
}

/// A caveat, evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedCondition {
    /// The caveat's name.
    pub caveat: String,
    /// Its expression.
    pub expression: String,
    /// The values it was evaluated with: declared parameters only, stored ones first.
    pub context: Context,
    /// What came out.
    pub outcome: ConditionOutcome,
}

/// What came out of a caveat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionOutcome {
    /// The relationship counts.
    True,
    /// It does not.
    False,
    /// It would need these parameters.
    Missing(BTreeSet<String>),
    /// It failed.
    Failed(String),
}

/// Explains what the evaluator has finished about `goal`.
pub(crate) fn explain(
    evaluator: &mut Evaluator<'_>,
    goal: GoalKey,
    question: Question<'_>,
) -> Result<Explanation, EngineError> {
    let mut explainer = Explainer {
        evaluator,
        question,
        object: goal.object,
        numbers: HashMap::from_iter([(goal, 0)]),
        order: vec![goal],
        is_truncated: false,
    };
    let mut goals = Vec::new();
    while let Some(&goal) = explainer.order.get(goals.len()) {
        let explained = explainer.goal(goal)?;
        goals.push(explained);
    }
    Ok(Explanation { goals, is_truncated: explainer.is_truncated })
}

struct Explainer<'e, 'a, 'q> {
    evaluator: &'e mut Evaluator<'a>,
    question: Question<'q>,
    /// The object of the goal being explained.
    object: u32,
    numbers: HashMap<GoalKey, usize, FxBuildHasher>,
    order: Vec<GoalKey>,
    is_truncated: bool,
}

/// A node's value before it is known whether the explanation needs it.
#[derive(Clone, Copy)]
struct Found {
    bounds: Option<Bounds>,
    /// When its grant was finished.
    rank: u32,
}

#[derive(Clone, Copy)]
struct FoundEdge {
    class: ClassIndex,
    subject: u32,
    /// `None` if its target was not visited.
    bounds: Option<Bounds>,
    rank: u32,
    target: Option<GoalKey>,
}

impl Explainer<'_, '_, '_> {
    fn goal(&mut self, goal: GoalKey) -> Result<ExplainedGoal, EngineError> {
        let plans = self.evaluator.snapshot.plans;
        self.object = goal.object;
        let object_type = plans.type_of(goal.member);
        let resource = match goal.object {
            object if object >= UNNAMED_RESOURCE => self.question.resource.clone(),
            object => ResourceRef::new(
                plans.plan.types[object_type as usize].name.as_str(),
                self.evaluator.snapshot.root.object_id(plans.type_ids[object_type as usize], object),
            ),
        };
        let rule = if self.evaluator.is_subject(goal) {
            ExplainedRule { permissionship: Some(Permissionship::Has), kind: RuleKind::IsSubject }
        } else {
            self.rule(plans.node_of(goal.member))?
        };
        Ok(ExplainedGoal { resource, member: plans.plan.members[goal.member as usize].name.clone(), rule })
    }

    fn number(&mut self, goal: GoalKey) -> Option<usize> {
        let next = self.order.len();
        if let Some(number) = self.numbers.get(&goal) {
            return Some(*number);
        }
        if next >= EXPLAINED_GOALS_MAX {
            self.is_truncated = true;
            return None;
        }
        self.numbers.insert(goal, next);
        self.order.push(goal);
        Some(next)
    }

    fn rule(&mut self, node: NodeIndex) -> Result<ExplainedRule, EngineError> {
        let found = self.found(node)?;
        let plans = self.evaluator.snapshot.plans;
        let kind = match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => RuleKind::Nil,
            PlanNode::SelfObject(_) => RuleKind::SelfObject,
            PlanNode::Member(member) => {
                let goal = GoalKey { member: *member, object: self.object };
                RuleKind::Goal(if found.bounds.is_some() { self.number(goal) } else { None })
            }
            PlanNode::Union(children) => {
                RuleKind::Union(self.children(children, found, Permissionship::Has)?)
            }
            PlanNode::Intersection(children) => {
                RuleKind::Intersection(self.children(children, found, Permissionship::No)?)
            }
            PlanNode::Exclusion(base, excluded) => self.exclusion(*base, *excluded, found)?,
            PlanNode::Relation(classes) => {
                let edges = self.relation_edges(classes)?;
                RuleKind::Relation(self.edges(&edges, found, Permissionship::Has)?)
            }
            PlanNode::Arrow { relation, target, kind, steps } => {
                let mut edges = Vec::new();
                for step in steps {
                    self.class_edges(step.class, step.target, &mut edges)?;
                }
                let is_all = *kind == ArrowKind::All;
                let decisive = if is_all { Permissionship::No } else { Permissionship::Has };
                RuleKind::Arrow {
                    relation: plans.plan.members[*relation as usize].name.clone(),
                    target: target.clone(),
                    is_all,
                    edges: self.edges(&edges, found, decisive)?,
                }
            }
        };
        Ok(ExplainedRule { permissionship: permissionship(found.bounds), kind })
    }

    /// The children that a value rests on: one with the decisive value, or all that share the value.
    fn children(
        &mut self,
        children: &[NodeIndex],
        found: Found,
        decisive: Permissionship,
    ) -> Result<Vec<ExplainedRule>, EngineError> {
        let value = permissionship(found.bounds);
        let mut kept = Vec::new();
        for &child in children {
            let of_child = self.found(child)?;
            if rests_on(value, permissionship(of_child.bounds), decisive) {
                kept.push((of_child.rank, child));
            }
        }
        if value == Some(decisive) {
            kept.sort_by_key(|(rank, _)| *rank);
            kept.truncate(1);
        }
        kept.into_iter().map(|(_, child)| self.rule(child)).collect()
    }

    fn exclusion(
        &mut self,
        base: NodeIndex,
        excluded: NodeIndex,
        found: Found,
    ) -> Result<RuleKind, EngineError> {
        let of_base = permissionship(self.found(base)?.bounds);
        let of_excluded = permissionship(self.found(excluded)?.bounds);
        let (needs_base, needs_excluded) = match permissionship(found.bounds) {
            Some(Permissionship::No) if of_base == Some(Permissionship::No) => (true, false),
            Some(Permissionship::No) => (false, true),
            Some(Permissionship::Conditional) => {
                let conditional = Some(Permissionship::Conditional);
                (of_base == conditional, of_excluded == conditional)
            }
            _ => (true, true),
        };
        let base = needs_base.then(|| self.rule(base).map(Box::new)).transpose()?;
        let excluded = needs_excluded.then(|| self.rule(excluded).map(Box::new)).transpose()?;
        Ok(RuleKind::Exclusion { base, excluded })
    }

    fn edges(
        &mut self,
        edges: &[FoundEdge],
        found: Found,
        decisive: Permissionship,
    ) -> Result<ExplainedEdges, EngineError> {
        let value = permissionship(found.bounds);
        let mut kept: Vec<&FoundEdge> =
            edges.iter().filter(|e| rests_on(value, permissionship(e.bounds), decisive)).collect();
        if value == Some(decisive) {
            kept.sort_by_key(|edge| edge.rank);
            kept.truncate(1);
        }
        let omitted = kept.len().saturating_sub(EXPLAINED_EDGES_MAX) as u64;
        kept.truncate(EXPLAINED_EDGES_MAX);
        let mut explained = Vec::with_capacity(kept.len());
        for edge in kept {
            explained.extend(self.edge(edge));
        }
        Ok(ExplainedEdges { edges: explained, omitted })
    }

    fn edge(&mut self, edge: &FoundEdge) -> Option<ExplainedEdge> {
        let snapshot = self.evaluator.snapshot;
        let class = snapshot.plans.class_ids[edge.class as usize];
        let relationship = snapshot.root.relationship(class, self.object, edge.subject)?;
        let attributes = self.evaluator.conditions.live(edge.class, self.object, edge.subject)?;
        let condition = attributes.and_then(|a| a.caveat.as_ref()).map(|caveat| {
            let outcome = match self.evaluator.conditions.condition(caveat) {
                Condition::True => ConditionOutcome::True,
                Condition::False => ConditionOutcome::False,
                Condition::Missing(names) => ConditionOutcome::Missing(names.as_ref().clone()),
                Condition::Failed(error) => ConditionOutcome::Failed(error.to_string()),
            };
            let compiled = snapshot.plans.schema.caveat(&caveat.name);
            let request = self.evaluator.conditions.context();
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
        });
        let target = edge.target.and_then(|goal| self.number(goal));
        Some(ExplainedEdge { relationship, permissionship: permissionship(edge.bounds), condition, target })
    }

    /// A node's value as the evaluator found it. Recursion follows the schema's nesting, which the parser bounds.
    fn found(&mut self, node: NodeIndex) -> Result<Found, EngineError> {
        let plans = self.evaluator.snapshot.plans;
        let join_all = |found: Vec<Found>, is_and: bool| {
            let start = if is_and { Bounds::HAS } else { Bounds::NO };
            let all = found.iter().map(|f| f.bounds.unwrap_or(Bounds::UNKNOWN));
            let bounds = all.fold(start, |a, b| if is_and { a.and(b) } else { a.or(b) });
            // What was not visited leaves a value open, unless the rest decides it.
            let is_open = !bounds.is_point() && found.iter().any(|f| f.bounds.is_none());
            let ranks = found.iter().filter(|f| f.bounds == Some(Bounds::HAS)).map(|f| f.rank);
            let rank = if is_and { ranks.max() } else { ranks.min() };
            Found { bounds: (!is_open).then_some(bounds), rank: rank.unwrap_or(0) }
        };
        Ok(match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => Found { bounds: Some(Bounds::NO), rank: 0 },
            PlanNode::SelfObject(object_type) => {
                let subject = self.evaluator.subject();
                let is_subject = subject.member.is_none()
                    && subject.object == self.object
                    && subject.object_type == *object_type;
                Found { bounds: Some(if is_subject { Bounds::HAS } else { Bounds::NO }), rank: 0 }
            }
            PlanNode::Member(member) => {
                let known = self.evaluator.known(GoalKey { member: *member, object: self.object });
                Found { bounds: known.map(|k| k.0), rank: known.map_or(0, |k| k.1) }
            }
            PlanNode::Union(children) => {
                join_all(children.iter().map(|c| self.found(*c)).collect::<Result<_, _>>()?, false)
            }
            PlanNode::Intersection(children) => {
                join_all(children.iter().map(|c| self.found(*c)).collect::<Result<_, _>>()?, true)
            }
            PlanNode::Exclusion(base, excluded) => {
                let (base, mut excluded) = (self.found(*base)?, self.found(*excluded)?);
                excluded.bounds = excluded.bounds.map(Bounds::negated);
                Found { rank: base.rank, ..join_all(vec![base, excluded], true) }
            }
            PlanNode::Relation(classes) => {
                let edges = self.relation_edges(classes)?;
                join_all(edges.iter().map(|e| Found { bounds: e.bounds, rank: e.rank }).collect(), false)
            }
            PlanNode::Arrow { kind, steps, .. } => {
                let mut edges = Vec::new();
                for step in steps {
                    self.class_edges(step.class, step.target, &mut edges)?;
                }
                let is_all = *kind == ArrowKind::All && !edges.is_empty();
                join_all(edges.iter().map(|e| Found { bounds: e.bounds, rank: e.rank }).collect(), is_all)
            }
        })
    }

    fn relation_edges(&mut self, classes: &[ClassIndex]) -> Result<Vec<FoundEdge>, EngineError> {
        let plans = self.evaluator.snapshot.plans;
        let mut edges = Vec::new();
        for &class in classes {
            if let PlanSubject::Userset(target) = plans.plan.classes[class as usize].subject {
                self.class_edges(class, target, &mut edges)?;
                continue;
            }
            let Some(subject) = self.evaluator.direct_subject(class) else { continue };
            if self.evaluator.holds(class, self.object, subject) {
                self.evaluator.charge(1)?;
                let bounds = self.evaluator.conditions.whole_edge(class, self.object, subject);
                edges.extend(bounds.map(|bounds| FoundEdge {
                    class,
                    subject,
                    bounds: Some(bounds),
                    rank: 0,
                    target: None,
                }));
            }
        }
        Ok(edges)
    }

    /// The live edges of a class with what was found of their targets.
    fn class_edges(
        &mut self,
        class: ClassIndex,
        target: u32,
        into: &mut Vec<FoundEdge>,
    ) -> Result<(), EngineError> {
        if self.object >= UNNAMED_RESOURCE {
            return Ok(());
        }
        let snapshot = self.evaluator.snapshot;
        for subject in snapshot.root.subjects(snapshot.plans.class_ids[class as usize], self.object).iter() {
            self.evaluator.charge(1)?;
            let Some(edge) = self.evaluator.conditions.whole_edge(class, self.object, subject) else {
                continue;
            };
            let goal = GoalKey { member: target, object: subject };
            let known = self.evaluator.known(goal);
            let (bounds, rank) = match known {
                _ if edge == Bounds::NO => (Some(Bounds::NO), 0),
                Some((bounds, rank)) => (Some(edge.and(bounds)), rank),
                None => (None, 0),
            };
            into.push(FoundEdge { class, subject, bounds, rank, target: known.map(|_| goal) });
        }
        Ok(())
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

fn permissionship(bounds: Option<Bounds>) -> Option<Permissionship> {
    bounds.filter(|b| b.is_point()).map(|b| b.low)
}
