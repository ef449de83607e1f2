//! Why is an answer what it is? The part of the evaluation that the answer rests on, as data.
//!
//! A grant is explained by one witness per alternative and all parts of a conjunction; a denial by everything that was
//! tried; a conditional answer by what is conditional. Goals are listed once and refer to each other by index. The
//! witness of a grant was always finished before what it grants, so grants never explain themselves in a circle.
//!
//! Resumable: goal after goal, and within a goal's edges. What it holds is bounded, however large the graph is.
//!
//! Cost: O(edges of the goals explained), charged to the question's budget.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use idhini_model::{Context, ContextValue, Relationship, ResourceRef};
use idhini_schema::{ArrowKind, NodeIndex, PlanNode};
use rustc_hash::FxBuildHasher;

use crate::conditions::Condition;
use crate::evaluate::{Evaluator, GoalKey};
use crate::question::UNNAMED_RESOURCE;
use crate::survey::{Found, FoundEdge, Keep, Survey, permissionship};
use crate::{EngineError, Permissionship, Progress, Question};

/// The most edges listed under one rule; the rest is counted.
pub const EXPLAINED_EDGES_MAX: usize = 1_000;
/// The most edges listed in one explanation; those of further rules are counted.
pub const EXPLAINED_EDGES_TOTAL_MAX: usize = 100_000;
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
    /// At most [`EXPLAINED_EDGES_MAX`], and [`EXPLAINED_EDGES_TOTAL_MAX`] in one explanation.
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

/// An explanation being put together; resumable.
pub(crate) struct Explaining {
    /// Goals in the order of their numbers; those explained are the first of them.
    order: Vec<GoalKey>,
    numbers: HashMap<GoalKey, usize, FxBuildHasher>,
    running: Option<Survey>,
    explained: Vec<ExplainedGoal>,
    edges: usize,
    is_truncated: bool,
}

impl Explaining {
    /// Explains what the evaluator has finished about `goal`.
    pub(crate) fn open(goal: GoalKey) -> Explaining {
        Explaining {
            order: vec![goal],
            numbers: HashMap::from_iter([(goal, 0)]),
            running: None,
            explained: Vec::new(),
            edges: 0,
            is_truncated: false,
        }
    }

    /// Works on until all is explained or the cost reaches `end`.
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        question: Question<'_>,
        end: u64,
    ) -> Result<Progress<Explanation>, EngineError> {
        while let Some(&goal) = self.order.get(self.explained.len()) {
            let mut survey = self
                .running
                .take()
                .unwrap_or_else(|| Survey::open(evaluator, goal, Keep::PerValue(EXPLAINED_EDGES_MAX)));
            if !survey.advance(evaluator, end)? {
                self.running = Some(survey);
                return Ok(Progress::More);
            }
            let before = self.edges;
            let explained = Explainer { evaluator, question, survey, all: self }.goal(goal);
            self.explained.push(explained);
            evaluator.charge((self.edges - before) as u64)?;
        }
        let goals = std::mem::take(&mut self.explained);
        Ok(Progress::Done(Explanation { goals, is_truncated: self.is_truncated }))
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
}

/// Tells one surveyed goal.
struct Explainer<'e, 'a, 'q> {
    evaluator: &'e mut Evaluator<'a>,
    question: Question<'q>,
    survey: Survey,
    all: &'e mut Explaining,
}

// Recursion in here follows the schema's nesting, which the parser bounds.
impl Explainer<'_, '_, '_> {
    fn goal(&mut self, goal: GoalKey) -> ExplainedGoal {
        let plans = self.evaluator.snapshot.plans;
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
            self.rule(plans.node_of(goal.member))
        };
        ExplainedGoal { resource, member: plans.plan.members[goal.member as usize].name.clone(), rule }
    }

    fn rule(&mut self, node: NodeIndex) -> ExplainedRule {
        let found = self.survey.of(node);
        let plans = self.evaluator.snapshot.plans;
        let kind = match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => RuleKind::Nil,
            PlanNode::SelfObject(_) => RuleKind::SelfObject,
            PlanNode::Member(member) => {
                let goal = GoalKey { member: *member, object: self.survey.goal().object };
                RuleKind::Goal(if found.bounds.is_some() { self.all.number(goal) } else { None })
            }
            PlanNode::Union(children) => {
                RuleKind::Union(self.children(children, &found, Permissionship::Has))
            }
            PlanNode::Intersection(children) => {
                RuleKind::Intersection(self.children(children, &found, Permissionship::No))
            }
            PlanNode::Exclusion(base, excluded) => self.exclusion(*base, *excluded, &found),
            PlanNode::Relation(_) => RuleKind::Relation(self.edges(&found, Permissionship::Has)),
            PlanNode::Arrow { relation, target, kind, .. } => {
                let is_all = *kind == ArrowKind::All;
                let decisive = if is_all { Permissionship::No } else { Permissionship::Has };
                RuleKind::Arrow {
                    relation: plans.plan.members[*relation as usize].name.clone(),
                    target: target.clone(),
                    is_all,
                    edges: self.edges(&found, decisive),
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

    fn edges(&mut self, found: &Found, decisive: Permissionship) -> ExplainedEdges {
        let value = permissionship(found.bounds);
        let is_part = |edge: Option<Permissionship>| rests_on(value, edge, decisive);
        let mut kept: Vec<FoundEdge> = self
            .survey
            .edges(found)
            .iter()
            .filter(|edge| is_part(permissionship(edge.bounds)))
            .copied()
            .collect();
        let mut whole: u64 = Permissionship::ALL
            .map(Some)
            .into_iter()
            .chain([None])
            .filter(|of_edge| is_part(*of_edge))
            .map(|of_edge| found.count(of_edge))
            .sum();
        if value == Some(decisive) {
            kept.sort_by_key(|edge| edge.rank);
            kept.truncate(1);
            whole = kept.len() as u64;
        }
        let left = EXPLAINED_EDGES_TOTAL_MAX.saturating_sub(self.all.edges);
        // A witness is told in any case: without it a grant has no reason.
        kept.truncate(EXPLAINED_EDGES_MAX.min(left.max(1)));
        self.all.edges += kept.len();
        let omitted = whole.saturating_sub(kept.len() as u64);
        let edges = kept.into_iter().filter_map(|edge| self.edge(&edge)).collect();
        ExplainedEdges { edges, omitted }
    }

    fn edge(&mut self, edge: &FoundEdge) -> Option<ExplainedEdge> {
        let snapshot = self.evaluator.snapshot;
        let object = self.survey.goal().object;
        let class = snapshot.plans.class_ids[edge.class as usize];
        let relationship = snapshot.root.relationship(class, object, edge.subject)?;
        let attributes = self.evaluator.conditions.live(edge.class, object, edge.subject)?;
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
        let target = edge.target.and_then(|goal| self.all.number(goal));
        Some(ExplainedEdge { relationship, permissionship: permissionship(edge.bounds), condition, target })
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
