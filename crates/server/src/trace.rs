//! How did the answer come about, in the contract's shape? The engine's explanation as nested traces.
//!
//! A goal is one trace, and each relationship that it rests on is one below it, so that a trace reads as a chain of
//! facts. A goal that several things rest on is told once; after that it is marked as known.
//!
//! The contract has no word for reasons that were left out. Where some were, there is a trace whose list of sub-problems
//! is present and empty: the goal itself if none of its reasons is told, otherwise one more of the goal behind those that
//! are. A trace that rests on nothing further has no list.
//!
//! # Invariants
//! * At most [`TRACE_DEPTH_MAX`] traces deep, and no caveat's values where they would nest deeper than
//!   [`MESSAGE_DEPTH_MAX`]: clients refuse such messages whole.
//! * At most [`TRACES_MAX`] traces and about [`TRACE_BYTES_MAX`] bytes of them in one response, whatever it answers.
//! * The trace of a refusal travels among its trailers, as text of at most [`FAILURE_BYTES_MAX`] bytes.

use std::collections::BTreeMap;

use idhini_engine::{
    ConditionOutcome, ExplainedCondition, ExplainedEdge, ExplainedRule, Explanation, Permissionship, RuleKind,
};
use idhini_model::{ContextValue, SubjectRef};
use idhini_schema::Schema;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_debug_trace::{
    PermissionType, Permissionship as TracePermissionship, Resolution, SubProblems,
};
use idhini_wire::{context_message, timestamp_message};
use prost::Message as _;

/// The deepest nesting of messages that all clients read, the response itself counted.
const MESSAGE_DEPTH_MAX: usize = 100;
/// The messages around the first trace where they are most: those of a bulk check.
const MESSAGES_AROUND: usize = 4;
/// The deepest chain of traces; each nests two messages.
pub(crate) const TRACE_DEPTH_MAX: usize = 44;
/// The most traces of one response.
pub(crate) const TRACES_MAX: usize = 20_000;
/// About the most bytes of traces of one response; the trace that goes beyond it is the last.
pub(crate) const TRACE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The longest text of a refusal's trace, in bytes; most clients refuse trailers of more than 8 KiB.
pub(crate) const FAILURE_BYTES_MAX: usize = 2_400;
/// Traces that it is first tried with.
const FAILURE_TRACES_MAX: usize = 32;
/// The longest schema that is told with them, in bytes: clients refuse messages of more than 4 MiB.
const SCHEMA_BYTES_MAX: usize = 512 * 1024;
/// What a trace's place among others takes beside its own fields, at most: tags and lengths.
const TRACE_FRAME_BYTES: usize = 16;

/// What the traces of one response may still take.
#[derive(Debug)]
pub(crate) struct Budget {
    traces: usize,
    bytes: usize,
    is_schema_told: bool,
    is_cut: bool,
}

impl Budget {
    /// Of a response without traces so far.
    pub(crate) fn new() -> Budget {
        Budget { traces: TRACES_MAX, bytes: TRACE_BYTES_MAX, is_schema_told: false, is_cut: false }
    }

    /// The same, and the schema is not told either.
    pub(crate) fn without_schema() -> Budget {
        Budget { is_schema_told: true, ..Budget::new() }
    }

    /// Whether reasons were left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether nothing more may be told.
    pub(crate) fn is_spent(&self) -> bool {
        self.traces == 0 || self.bytes == 0
    }

    /// Accounts for a trace that does not have its sub-problems yet.
    fn charge(&mut self, trace: &v1::CheckDebugTrace) {
        self.traces = self.traces.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(trace.encoded_len() + TRACE_FRAME_BYTES);
    }
}

/// The trace of a check that has no answer, in protobuf's text format and without the schema; as much of it as there is
/// room for among trailers. `None` if that is nothing.
pub(crate) fn of_failure(explanation: &Explanation, schema: &Schema, subject: &SubjectRef) -> Option<String> {
    let mut traces = FAILURE_TRACES_MAX;
    while traces > 0 {
        let mut budget = Budget { traces, ..Budget::without_schema() };
        let information = debug_information(explanation, schema, subject, &mut budget);
        let text = idhini_wire::text_format(&information).ok()?;
        if text.len() <= FAILURE_BYTES_MAX {
            return Some(text);
        }
        traces /= 2;
    }
    None
}

/// The trace of one check. The schema is the same for a whole response, so only its first trace has it.
pub(crate) fn debug_information(
    explanation: &Explanation,
    schema: &Schema,
    subject: &SubjectRef,
    budget: &mut Budget,
) -> v1::DebugInformation {
    let told = vec![false; explanation.goals.len()];
    let is_schema_told = std::mem::replace(&mut budget.is_schema_told, true);
    let mut schema_used = if is_schema_told { String::new() } else { schema.canonical_text() };
    if schema_used.len() > SCHEMA_BYTES_MAX {
        schema_used.clear();
    }
    let mut teller = Teller { explanation, schema, subject, told, budget };
    let check = (!explanation.goals.is_empty()).then(|| teller.goal(0, 1));
    v1::DebugInformation { check, schema_used }
}

struct Teller<'e> {
    explanation: &'e Explanation,
    schema: &'e Schema,
    subject: &'e SubjectRef,
    told: Vec<bool>,
    budget: &'e mut Budget,
}

// Recursion is bounded by TRACE_DEPTH_MAX, and within a rule by the parser's limit on nesting.
impl Teller<'_> {
    fn goal(&mut self, at: usize, depth: usize) -> v1::CheckDebugTrace {
        let goal = &self.explanation.goals[at];
        let definition = self.schema.definition(&goal.resource.object_type);
        let is_permission = definition.is_some_and(|d| d.permission(&goal.member).is_some());
        let mut trace = v1::CheckDebugTrace {
            resource: Some(goal.resource.clone().into()),
            permission: goal.member.clone(),
            permission_type: permission_type(is_permission) as i32,
            subject: Some(self.subject.clone().into()),
            result: result(goal.rule.permissionship) as i32,
            ..Default::default()
        };
        if std::mem::replace(&mut self.told[at], true) {
            trace.resolution = Some(Resolution::WasCachedResult(true));
            self.budget.charge(&trace);
            return trace;
        }
        self.budget.charge(&trace);
        let mut reasons = Reasons::default();
        self.rule(&goal.rule, depth, &mut reasons);
        if reasons.is_cut {
            self.budget.is_cut = true;
            match reasons.traces.is_empty() {
                // It may be told where it comes up again less deep.
                true => self.told[at] = false,
                false => reasons.traces.push(cut(trace.clone())),
            }
        }
        trace.resolution = reasons.resolution();
        trace
    }

    fn rule(&mut self, rule: &ExplainedRule, depth: usize, into: &mut Reasons) {
        match &rule.kind {
            RuleKind::Nil | RuleKind::SelfObject | RuleKind::IsSubject => {}
            // The engine lists a bounded number of goals; this one has an answer but is not listed.
            RuleKind::Goal(None) => into.is_cut |= rule.permissionship.is_some(),
            // A relationship and the goal behind it are told together or not at all.
            _ if depth + 2 > TRACE_DEPTH_MAX => into.is_cut = true,
            RuleKind::Goal(Some(at)) => match self.budget.is_spent() {
                true => into.is_cut = true,
                false => into.traces.push(self.goal(*at, depth + 1)),
            },
            RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => {
                into.is_cut |= edges.omitted > 0;
                for edge in &edges.edges {
                    if self.budget.is_spent() {
                        into.is_cut = true;
                        return;
                    }
                    into.traces.push(self.edge(edge, depth + 1));
                }
            }
            RuleKind::Union(parts) | RuleKind::Intersection(parts) => {
                parts.iter().for_each(|part| self.rule(part, depth, into));
            }
            RuleKind::Exclusion { base, excluded } => {
                [base, excluded].into_iter().flatten().for_each(|part| self.rule(part, depth, into));
            }
        }
    }

    fn edge(&mut self, edge: &ExplainedEdge, depth: usize) -> v1::CheckDebugTrace {
        let relationship = &edge.relationship;
        let mut trace = v1::CheckDebugTrace {
            resource: Some(relationship.resource.clone().into()),
            permission: relationship.relation.clone(),
            permission_type: PermissionType::Relation as i32,
            subject: Some(relationship.subject.clone().into()),
            result: result(edge.permissionship) as i32,
            caveat_evaluation_info: edge.condition.as_ref().map(|c| condition(c, depth)),
            optional_expires_at: relationship.expires_at.map(timestamp_message),
            source: relationship.to_string(),
            ..Default::default()
        };
        self.budget.charge(&trace);
        let leads_on = || relationship.subject != *self.subject && !relationship.subject.is_wildcard();
        let is_cut = edge.target.is_none() && self.explanation.is_truncated && leads_on();
        self.budget.is_cut |= is_cut;
        let traces = edge.target.map(|at| self.goal(at, depth + 1)).into_iter().collect();
        trace.resolution = Reasons { traces, is_cut }.resolution();
        trace
    }
}

/// What a trace rests on.
#[derive(Default)]
struct Reasons {
    traces: Vec<v1::CheckDebugTrace>,
    is_cut: bool,
}

impl Reasons {
    fn resolution(self) -> Option<Resolution> {
        let is_told = self.is_cut || !self.traces.is_empty();
        Some(match is_told {
            true => Resolution::SubProblems(SubProblems { traces: self.traces }),
            false => Resolution::WasCachedResult(false),
        })
    }
}

/// What stands for reasons that are not told.
fn cut(mut of: v1::CheckDebugTrace) -> v1::CheckDebugTrace {
    of.resolution = Reasons { traces: Vec::new(), is_cut: true }.resolution();
    of
}

fn permission_type(is_permission: bool) -> PermissionType {
    if is_permission { PermissionType::Permission } else { PermissionType::Relation }
}

fn result(value: Option<Permissionship>) -> TracePermissionship {
    match value {
        None => TracePermissionship::Unspecified,
        Some(Permissionship::No) => TracePermissionship::NoPermission,
        Some(Permissionship::Conditional) => TracePermissionship::ConditionalPermission,
        Some(Permissionship::Has) => TracePermissionship::HasPermission,
    }
}

/// Of a relationship whose trace is `depth` traces deep. Values nested too deep for clients are left out.
pub(crate) fn condition(condition: &ExplainedCondition, depth: usize) -> v1::CaveatEvalInfo {
    use v1::caveat_eval_info::Result as Outcome;
    let (outcome, missing) = match &condition.outcome {
        ConditionOutcome::True => (Outcome::True, None),
        ConditionOutcome::False => (Outcome::False, None),
        ConditionOutcome::Missing(names) => (Outcome::MissingSomeContext, Some(names)),
        ConditionOutcome::Failed(_) => (Outcome::Unevaluated, None),
    };
    // The traces with the lists between them, and the evaluation.
    let around = MESSAGES_AROUND + 2 * depth;
    let fits = around + nesting(&condition.context.0) <= MESSAGE_DEPTH_MAX;
    v1::CaveatEvalInfo {
        expression: condition.expression.clone(),
        result: outcome as i32,
        context: fits.then(|| context_message(condition.context.clone())),
        partial_caveat_info: missing
            .map(|names| v1::PartialCaveatInfo { missing_required_context: names.iter().cloned().collect() }),
        caveat_name: condition.caveat.clone(),
    }
}

/// How many messages deep a map of values is: the map, its entries, and what they hold. Recursion is bounded, as a
/// context is at most `VALUE_DEPTH_MAX` deep.
fn nesting(values: &BTreeMap<String, ContextValue>) -> usize {
    fn of(value: &ContextValue) -> usize {
        1 + match value {
            ContextValue::List(items) => 1 + items.iter().map(of).max().unwrap_or(0),
            ContextValue::Map(map) => nesting(map),
            _ => 0,
        }
    }
    1 + values.values().map(of).max().map_or(0, |deepest| 1 + deepest)
}
