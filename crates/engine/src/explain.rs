//! Why is an answer what it is? The part of the evaluation that the answer rests on, as data.
//!
//! A grant is explained by one witness per alternative and all parts of a conjunction; a denial by everything that was
//! tried; a conditional answer by what is conditional. Goals are listed once and refer to each other by index. The
//! witness of a grant was always finished before what it grants, so grants never explain themselves in a circle.
//!
//! Resumable: goal after goal, first surveyed and then told, each edge by edge (`telling.rs`). What it holds is bounded
//! in goals, edges and bytes, however large the graph and what it stores are; what is left out is counted or marked.
//!
//! Cost: O(edges of the goals explained), more for those told, charged to the question's budget.

mod telling;

use std::collections::BTreeSet;
use std::sync::Arc;

use idhini_model::{Context, Relationship, ResourceRef};

use crate::evaluate::{Evaluator, GoalKey};
use crate::explain::telling::{Telling, Told};
use crate::survey::{Keep, Survey};
use crate::{EngineError, Permissionship, Progress, Question};

/// The most edges listed under one rule; the rest is counted.
pub const EXPLAINED_EDGES_MAX: usize = 1_000;
/// The most edges listed in one explanation, but for the one that each further grant rests on; the rest is counted.
pub const EXPLAINED_EDGES_TOTAL_MAX: usize = 100_000;
/// The most bytes that the listed goals and edges of one explanation take, names and values included. Edges that are
/// beyond it are counted, be they all that a grant rests on, and goals are left out.
pub const EXPLAINED_BYTES_MAX: usize = 64 << 20;
/// The most goals listed in one explanation.
pub const EXPLAINED_GOALS_MAX: usize = 10_000;

/// Why an answer is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The first is the question; the others are referred to by index.
    pub goals: Vec<ExplainedGoal>,
    /// Whether goals were left out because there are more than [`EXPLAINED_GOALS_MAX`] they would take more than
    /// [`EXPLAINED_BYTES_MAX`], or the question's budget ended.
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
    /// At most [`EXPLAINED_EDGES_MAX`]; [`EXPLAINED_EDGES_TOTAL_MAX`] and [`EXPLAINED_BYTES_MAX`] in one explanation.
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
    /// Its caveat, evaluated; one for all edges that share what they store.
    pub condition: Option<Arc<ExplainedCondition>>,
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
    told: Told,
    explained: Vec<ExplainedGoal>,
    running: Option<Running>,
}

/// The first goal that is not explained yet.
enum Running {
    Surveying(Survey),
    Telling(Box<Telling>),
}

impl Explaining {
    /// Explains what the evaluator has finished about `goal`.
    pub(crate) fn open(evaluator: &Evaluator<'_>, goal: GoalKey) -> Explaining {
        Explaining { told: Told::open(evaluator, goal), explained: Vec::new(), running: None }
    }

    /// Works on until all is explained or the cost reaches `end`.
    ///
    /// # Errors
    /// [`EngineError::Budget`].
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        question: Question<'_>,
        end: u64,
    ) -> Result<Progress<Explanation>, EngineError> {
        while let Some(goal) = self.told.goal(self.explained.len()) {
            let rule = match self.running.take() {
                // What is so by identity has no rule to look at.
                None if evaluator.is_subject(goal) => {
                    evaluator.charge(1)?;
                    ExplainedRule { permissionship: Some(Permissionship::Has), kind: RuleKind::IsSubject }
                }
                None => {
                    let survey = Survey::open(evaluator, goal, Keep::PerValue(EXPLAINED_EDGES_MAX));
                    self.running = Some(Running::Surveying(survey));
                    continue;
                }
                Some(Running::Surveying(mut survey)) => {
                    let is_done = survey.advance(evaluator, end)?;
                    self.running = Some(match is_done {
                        true => Running::Telling(Box::new(Telling::open(evaluator, survey))),
                        false => Running::Surveying(survey),
                    });
                    if !is_done {
                        return Ok(Progress::More);
                    }
                    continue;
                }
                Some(Running::Telling(mut telling)) => {
                    match telling.advance(evaluator, &mut self.told, end)? {
                        Progress::Done(rule) => rule,
                        Progress::More => {
                            self.running = Some(Running::Telling(telling));
                            return Ok(Progress::More);
                        }
                    }
                }
            };
            self.explained.push(explained(evaluator, question, goal, rule));
            if evaluator.cost() >= end && self.told.goal(self.explained.len()).is_some() {
                return Ok(Progress::More);
            }
        }
        let goals = std::mem::take(&mut self.explained);
        Ok(Progress::Done(Explanation { goals, is_truncated: self.told.is_truncated() }))
    }

    /// What was explained before the budget ended. If that is nothing, `goal` with the answer, and what was being
    /// evaluated if that is why there is none.
    pub(crate) fn cut(
        self,
        evaluator: &Evaluator<'_>,
        question: Question<'_>,
        goal: GoalKey,
        answer: Option<Permissionship>,
    ) -> Explanation {
        let mut goals = self.explained;
        if goals.is_empty() {
            let open = if answer.is_none() { evaluator.interrupted() } else { &[] };
            let path = if open.is_empty() { std::slice::from_ref(&goal) } else { open };
            for (at, goal) in path.iter().enumerate() {
                let kind = match at + 1 < path.len() {
                    true => RuleKind::Goal(Some(at + 1)),
                    false => RuleKind::Relation(ExplainedEdges { edges: Vec::new(), omitted: 1 }),
                };
                let rule = ExplainedRule { permissionship: answer, kind };
                goals.push(explained(evaluator, question, *goal, rule));
            }
        }
        let count = goals.len();
        goals.iter_mut().for_each(|goal| goal.rule.forget_from(count));
        Explanation { goals, is_truncated: true }
    }
}

impl ExplainedRule {
    /// Leads no more to goals that are not listed. Recursion follows the schema's nesting, which the parser bounds.
    fn forget_from(&mut self, count: usize) {
        match &mut self.kind {
            RuleKind::Nil | RuleKind::SelfObject | RuleKind::IsSubject => {}
            RuleKind::Goal(target) => *target = target.filter(|at| *at < count),
            RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => {
                edges.edges.iter_mut().for_each(|edge| edge.target = edge.target.filter(|at| *at < count));
            }
            RuleKind::Union(rules) | RuleKind::Intersection(rules) => {
                rules.iter_mut().for_each(|rule| rule.forget_from(count));
            }
            RuleKind::Exclusion { base, excluded } => {
                [base, excluded].into_iter().flatten().for_each(|rule| rule.forget_from(count));
            }
        }
    }
}

fn explained(
    evaluator: &Evaluator<'_>,
    question: Question<'_>,
    goal: GoalKey,
    rule: ExplainedRule,
) -> ExplainedGoal {
    let plans = evaluator.snapshot.plans;
    let object_type = plans.type_of(goal.member) as usize;
    let resource = match evaluator.object_id(goal) {
        Some(id) => ResourceRef::new(plans.plan.types[object_type].name.as_str(), id),
        None => question.resource.clone(),
    };
    ExplainedGoal { resource, member: plans.plan.members[goal.member as usize].name.clone(), rule }
}
