//! How is the reason of an answer drawn? As a tree, a line a fact.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_debug_trace::{Permissionship as TracePermissionship, Resolution};

use super::{Style, Verdict, line_of, missing};

/// Deepest trace that is shown.
const TRACE_DEPTH_MAX: usize = 100;

/// Most questions that are proposed where a trace was cut.
const DEEPER_MAX: usize = 3;

/// Prints a check's answer, and why if the answer says so.
pub(crate) fn check(question: &str, verdict: Verdict, answer: &v1::CheckPermissionResponse, style: Style) {
    let note = missing(answer.partial_caveat_info.as_ref());
    line_of(verdict.word(), &format!("{question}{note}"), style);
    let traced = answer.debug_trace.as_ref().and_then(|d| d.check.as_ref());
    if let Some(trace) = traced {
        below(trace, "", 0, style);
        let mut deeper = Vec::new();
        gather_cut(trace, 0, &mut deeper);
        if !deeper.is_empty() {
            line_of("", &format!("… goes on deeper; ask about {}", deeper.join(", ")), style);
        }
    }
}

/// Whether the server left the reasons out: their list is there, and empty.
fn is_cut(trace: &v1::CheckDebugTrace) -> bool {
    matches!(&trace.resolution, Some(Resolution::SubProblems(problems)) if problems.traces.is_empty())
}

/// What to ask about to see the reasons that were left out. Recursion is bounded by `TRACE_DEPTH_MAX`.
fn gather_cut(trace: &v1::CheckDebugTrace, depth: usize, into: &mut Vec<String>) {
    let Some(Resolution::SubProblems(problems)) = &trace.resolution else { return };
    for problem in &problems.traces {
        // One that repeats the goal stands for more reasons than one answer lists: asking again tells no more.
        if is_cut(problem) && question(problem) != question(trace) && into.len() < DEEPER_MAX {
            let what = question(problem);
            if !into.contains(&what) {
                into.push(what);
            }
        } else if depth < TRACE_DEPTH_MAX {
            gather_cut(problem, depth + 1, into);
        }
    }
}

/// What a trace answers, as the command line asks it.
fn question(trace: &v1::CheckDebugTrace) -> String {
    let resource = trace.resource.clone().unwrap_or_default();
    format!("{}:{}#{}", resource.object_type, resource.object_id, trace.permission)
}

/// Recursion is bounded by `TRACE_DEPTH_MAX`.
fn below(trace: &v1::CheckDebugTrace, indent: &str, depth: usize, style: Style) {
    let Some(Resolution::SubProblems(problems)) = &trace.resolution else { return };
    if depth >= TRACE_DEPTH_MAX {
        return line_of("", &format!("{indent}└─ …"), style);
    }
    for (at, problem) in problems.traces.iter().enumerate() {
        let is_last = at + 1 == problems.traces.len();
        let (branch, stem) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        line_of(trace_word(problem), &format!("{indent}{branch}{}", label(problem)), style);
        let indent = format!("{indent}{stem}");
        if let Some(info) = &problem.caveat_evaluation_info {
            line_of("", &format!("{indent}{}", caveat(info)), style);
        }
        below(problem, &indent, depth + 1, style);
    }
}

fn trace_word(trace: &v1::CheckDebugTrace) -> &'static str {
    match trace.result() {
        TracePermissionship::HasPermission => "has",
        TracePermissionship::NoPermission => "no",
        TracePermissionship::ConditionalPermission => "conditional",
        TracePermissionship::Unspecified => "",
    }
}

fn label(trace: &v1::CheckDebugTrace) -> String {
    let note = match &trace.resolution {
        Some(Resolution::WasCachedResult(true)) => " (explained above)",
        _ if is_cut(trace) => " (more than is shown)",
        _ => "",
    };
    if !trace.source.is_empty() {
        return format!("{}{note}", trace.source);
    }
    format!("{}{note}", question(trace))
}

fn caveat(info: &v1::CaveatEvalInfo) -> String {
    use v1::caveat_eval_info::Result as Outcome;
    let outcome = match info.result() {
        Outcome::True => "true".to_owned(),
        Outcome::False => "false".to_owned(),
        Outcome::MissingSomeContext => {
            let missing = info.partial_caveat_info.clone().unwrap_or_default().missing_required_context;
            format!("missing {}", missing.join(", "))
        }
        Outcome::Unevaluated | Outcome::Unspecified => "failed".to_owned(),
    };
    let context = match info.context.clone() {
        Some(context) => {
            idhini_wire::context(Some(context), "context").map(|c| c.to_string()).unwrap_or_default()
        }
        None => "values nested too deep to be sent".to_owned(),
    };
    format!("{} {{ {} }} with {context}: {outcome}", info.caveat_name, info.expression)
}
