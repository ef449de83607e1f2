//! Does an explanation tell the truth, and is it enough?
//!
//! Every goal in it must have the value that the reference gives it; every rule must come out from its listed parts
//! alone; every relationship in it must exist, be live and have the condition that it is said to have; and no
//! grant may rest on itself.

use idhini_caveat::{Budget, Outcome};
use idhini_engine::{
    ConditionOutcome, EngineError, ExplainedEdge, ExplainedEdges, ExplainedRule, Explanation, RuleKind,
};

use super::Difference;
use super::asking::{Asking, value};
use crate::generate::Ask;
use crate::reference::{Answer, Refusal, Value, View};

/// Explains the check and verifies every claim.
pub(super) fn holds(
    asking: &Asking<'_>,
    view: &View<'_>,
    wanted: &Result<Answer, Refusal>,
) -> Result<(), Box<Difference>> {
    let Ask::Check { subject, .. } = &asking.question.ask else { return Ok(()) };
    let Ok(mut check) = asking.open_check() else { return Ok(()) };
    let _ = check.answer();
    let explanation = match asking.in_portions(|fuel| check.advance_explanation(fuel)) {
        Some(Ok(explanation)) => explanation,
        Some(Err(EngineError::Caveat(_) | EngineError::Cycle { .. })) if wanted.is_err() => return Ok(()),
        other => return Err(asking.differs("explain", "an explanation".into(), format!("{other:?}"))),
    };
    let Some(first) = explanation.goals.first() else {
        return Err(asking.differs("explain", "a goal".into(), "none".into()));
    };
    let claimed = first.rule.permissionship.map(value);
    if claimed != wanted.as_ref().ok().map(|a| a.value) {
        return Err(asking.differs("explained value", format!("{wanted:?}"), format!("{explanation:?}")));
    }
    for goal in &explanation.goals {
        let Some(claimed) = goal.rule.permissionship.map(value) else { continue };
        let truth = view.check(&goal.resource, &goal.member, subject);
        if truth.as_ref().map(|a| a.value) != Ok(claimed) {
            let what = format!("{}#{} is {truth:?}", goal.resource, goal.member);
            return Err(asking.differs("explained goal", what, format!("{claimed:?} in {explanation:?}")));
        }
        let verifier = Verifier { asking, explanation: &explanation };
        if let Err(reason) = verifier.rule(&goal.rule) {
            let what = format!("{}#{}: {reason}", goal.resource, goal.member);
            return Err(asking.differs("explained rule", what, format!("{explanation:?}")));
        }
    }
    if rests_on_itself(&explanation) {
        return Err(asking.differs("explanation", "no circle".into(), format!("{explanation:?}")));
    }
    Ok(())
}

struct Verifier<'v> {
    asking: &'v Asking<'v>,
    explanation: &'v Explanation,
}

impl Verifier<'_> {
    /// The value of a rule by its listed parts; must be what the rule claims. Recursion is bounded by the schema.
    fn rule(&self, rule: &ExplainedRule) -> Result<Option<Value>, String> {
        let Some(claimed) = rule.permissionship.map(value) else { return Ok(None) };
        let goal = |index: usize| -> Result<Value, String> {
            let goal = self.explanation.goals.get(index).ok_or("no such goal")?;
            Ok(goal.rule.permissionship.map_or(Value::No, value))
        };
        let folded = match &rule.kind {
            RuleKind::Nil => Value::No,
            RuleKind::SelfObject => claimed,
            RuleKind::IsSubject => Value::Has,
            RuleKind::Goal(Some(index)) => goal(*index)?,
            RuleKind::Goal(None) => return Err("a goal with a value is left out".into()),
            RuleKind::Union(rules) => self.rules(rules)?.into_iter().max().unwrap_or(Value::No),
            RuleKind::Intersection(rules) => {
                self.rules(rules)?.into_iter().min().ok_or("an intersection of nothing")?
            }
            RuleKind::Exclusion { base, excluded } => {
                let part = |rule: &Option<Box<ExplainedRule>>, default| match rule {
                    Some(rule) => self.rule(rule).map(|v| v.unwrap_or(default)),
                    None => Ok(default),
                };
                part(base, Value::Has)?.min(!part(excluded, Value::No)?)
            }
            RuleKind::Relation(edges) => self.edges(edges, goal)?.into_iter().max().unwrap_or(Value::No),
            RuleKind::Arrow { is_all: false, edges, .. } => {
                self.edges(edges, goal)?.into_iter().max().unwrap_or(Value::No)
            }
            RuleKind::Arrow { edges, .. } => self.edges(edges, goal)?.into_iter().min().unwrap_or(Value::No),
        };
        if folded == claimed {
            Ok(Some(claimed))
        } else {
            Err(format!("its parts give {folded:?}, it claims {claimed:?}"))
        }
    }

    fn rules(&self, rules: &[ExplainedRule]) -> Result<Vec<Value>, String> {
        rules.iter().map(|r| self.rule(r)?.ok_or_else(|| "a part without a value".into())).collect()
    }

    fn edges(
        &self,
        edges: &ExplainedEdges,
        goal: impl Fn(usize) -> Result<Value, String>,
    ) -> Result<Vec<Value>, String> {
        edges
            .edges
            .iter()
            .map(|edge| {
                let condition = self.condition(edge)?;
                let claimed = edge.permissionship.map(value);
                let open = edge.target.and_then(|index| self.explanation.goals.get(index));
                if let (Some(claimed), true) =
                    (claimed, open.is_some_and(|g| g.rule.permissionship.is_none()))
                {
                    // A goal that failed may still be known to be at least what the edge's condition lets through.
                    if claimed != condition {
                        return Err(format!("{} gives no more than {condition:?}", edge.relationship));
                    }
                    return Ok(claimed);
                }
                let target = edge.target.map_or(Ok(Value::Has), &goal)?;
                let folded = condition.min(target);
                if claimed.is_some_and(|claimed| claimed != folded) {
                    return Err(format!("{} gives {folded:?}, it claims {claimed:?}", edge.relationship));
                }
                Ok(folded)
            })
            .collect()
    }

    fn condition(&self, edge: &ExplainedEdge) -> Result<Value, String> {
        let relationship = &edge.relationship;
        if !self.asking.world.relationships.contains(relationship) {
            return Err(format!("{relationship} does not exist"));
        }
        if relationship.expires_at.is_some_and(|at| at <= self.asking.snapshot.instant) {
            return Err(format!("{relationship} has expired"));
        }
        let (used, explained) = match (&relationship.caveat, &edge.condition) {
            (None, None) => return Ok(Value::Has),
            (Some(used), Some(explained)) if used.name == explained.caveat => (used, explained),
            _ => return Err(format!("the condition of {relationship} is not explained")),
        };
        let caveat = self.asking.snapshot.plans.schema().caveat(&used.name).ok_or("no such caveat")?;
        let mut budget = Budget { steps: 100_000, bytes: 1_000_000 };
        let (outcome, value) = match caveat.evaluate(&used.context, self.asking.context, &mut budget) {
            Ok(Outcome::True) => (ConditionOutcome::True, Value::Has),
            Ok(Outcome::False) => (ConditionOutcome::False, Value::No),
            Ok(Outcome::Missing(names)) => (ConditionOutcome::Missing(names), Value::Conditional),
            Err(_) => match &explained.outcome {
                // Its value is open; the target must have decided.
                ConditionOutcome::Failed(_) => return Ok(Value::No),
                other => return Err(format!("{relationship} fails, explained as {other:?}")),
            },
        };
        let again = caveat.evaluate(&Default::default(), &explained.context, &mut budget).ok();
        let says = again.map(|again| match again {
            Outcome::True => ConditionOutcome::True,
            Outcome::False => ConditionOutcome::False,
            Outcome::Missing(names) => ConditionOutcome::Missing(names),
        });
        if explained.outcome != outcome || says != Some(outcome) {
            return Err(format!("the condition of {relationship} is explained as {explained:?}"));
        }
        Ok(value)
    }
}

/// Whether a granted goal is its own witness.
fn rests_on_itself(explanation: &Explanation) -> bool {
    let is_granted = |index: usize| {
        let rule = explanation.goals.get(index).map(|g| &g.rule);
        rule.and_then(|r| r.permissionship).map(value) == Some(Value::Has)
    };
    // Peel granted goals whose witnesses are all peeled.
    let granted: Vec<usize> = (0..explanation.goals.len()).filter(|i| is_granted(*i)).collect();
    let mut done = vec![false; explanation.goals.len()];
    loop {
        let ready = granted.iter().find(|index| {
            let mut witnesses = Vec::new();
            positive_goals(&explanation.goals[**index].rule, &mut witnesses);
            !done[**index] && witnesses.iter().all(|w| !is_granted(*w) || done[*w])
        });
        match ready {
            Some(index) => done[*index] = true,
            None => return granted.iter().any(|index| !done[*index]),
        }
    }
}

fn positive_goals(rule: &ExplainedRule, into: &mut Vec<usize>) {
    match &rule.kind {
        RuleKind::Goal(Some(index)) => into.push(*index),
        RuleKind::Union(rules) | RuleKind::Intersection(rules) => {
            rules.iter().for_each(|r| positive_goals(r, into));
        }
        RuleKind::Exclusion { base: Some(base), .. } => positive_goals(base, into),
        RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => {
            into.extend(edges.edges.iter().filter_map(|e| e.target));
        }
        _ => {}
    }
}
