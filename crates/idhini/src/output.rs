//! How are answers and failures shown? Aligned text, coloured on a terminal; JSON on request.
//!
//! # Invariants
//! * What comes from a server cannot steer the terminal: control characters are shown, not sent.

use std::io::{IsTerminal as _, Write as _};

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_debug_trace::{Permissionship as TracePermissionship, Resolution};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Deepest trace that is shown.
const TRACE_DEPTH_MAX: usize = 100;

/// Most questions that are proposed where a trace was cut.
const DEEPER_MAX: usize = 3;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Whether colours are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    out: bool,
    err: bool,
}

impl Style {
    /// Colours where a person looks on, unless NO_COLOR is set.
    pub(crate) fn of_terminal() -> Style {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        Style {
            out: wanted && std::io::stdout().is_terminal(),
            err: wanted && std::io::stderr().is_terminal(),
        }
    }
}

impl Style {
    /// Whether standard error has colours.
    pub(crate) fn colours_errors(self) -> bool {
        self.err
    }

    /// Whether a person looks on who would like to see how far it is.
    pub(crate) fn watches(self) -> bool {
        self.err
    }
}

/// What a check answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Has,
    No,
    Conditional,
}

impl Verdict {
    pub(crate) fn of(value: i32) -> Option<Verdict> {
        use v1::check_permission_response::Permissionship;
        match Permissionship::try_from(value).ok()? {
            Permissionship::HasPermission => Some(Verdict::Has),
            Permissionship::NoPermission => Some(Verdict::No),
            Permissionship::ConditionalPermission => Some(Verdict::Conditional),
            Permissionship::Unspecified => None,
        }
    }

    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Verdict::Has => 0,
            Verdict::No => 1,
            Verdict::Conditional => 2,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Has => "has",
            Verdict::No => "no",
            Verdict::Conditional => "conditional",
        }
    }

    /// As the API's JSON has it.
    fn wire_name(self) -> &'static str {
        use v1::check_permission_response::Permissionship;
        match self {
            Verdict::Has => Permissionship::HasPermission.as_str_name(),
            Verdict::No => Permissionship::NoPermission.as_str_name(),
            Verdict::Conditional => Permissionship::ConditionalPermission.as_str_name(),
        }
    }
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    // A closed pipe is the reader's wish, not a failure.
    let _ = writeln!(std::io::stdout().lock(), "{}", visible(text));
}

/// Prints JSON.
pub(crate) fn json(value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints JSON in a line of its own, one of many.
pub(crate) fn json_line(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// Prints a failure and its next step.
pub(crate) fn failure(failure: &Failure, style: Style) {
    let (red, bold, plain) = if style.err { (RED, BOLD, PLAIN) } else { ("", "", "") };
    let text = visible(&failure.to_string());
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{red}{bold}error{plain} {text}");
    let _ = writeln!(err, "{bold}next{plain}  {}", failure.next_step());
}

/// Prints what the operator should know while the server goes on.
pub(crate) fn notice(text: &str, style: Style) {
    let (bold, plain) = if style.err { (BOLD, PLAIN) } else { ("", "") };
    let _ = writeln!(std::io::stderr().lock(), "{bold}notice{plain} {}", visible(text));
}

/// Prints a check's answer, and why if the answer says so.
pub(crate) fn check(question: &str, verdict: Verdict, answer: &v1::CheckPermissionResponse, style: Style) {
    let missing = answer.partial_caveat_info.as_ref().map(|i| i.missing_required_context.join(", "));
    let note =
        missing.filter(|m| !m.is_empty()).map(|m| format!(", missing context: {m}")).unwrap_or_default();
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

fn line_of(word: &str, text: &str, style: Style) {
    let colour = match word {
        "has" => GREEN,
        "no" => RED,
        "conditional" => YELLOW,
        _ => DIM,
    };
    let (colour, plain) = if style.out { (colour, PLAIN) } else { ("", "") };
    let _ = writeln!(std::io::stdout().lock(), "{colour}{word:<11}{plain}  {}", visible(text));
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

/// A check's answer as the API's own JSON; `explanation` beside it, if asked for, is ours.
pub(crate) fn check_json(verdict: Verdict, answer: &v1::CheckPermissionResponse) -> Value {
    let mut value = json!({
        "permissionship": verdict.wire_name(),
        "checkedAt": { "token": answer.checked_at.as_ref().map(|t| t.token.as_str()) },
    });
    if let Some(info) = &answer.partial_caveat_info {
        value["partialCaveatInfo"] = json!({ "missingRequiredContext": info.missing_required_context });
    }
    if let Some(trace) = answer.debug_trace.as_ref().and_then(|d| d.check.as_ref()) {
        value["explanation"] = trace_json(trace, 0);
    }
    value
}

/// Recursion is bounded by `TRACE_DEPTH_MAX`.
fn trace_json(trace: &v1::CheckDebugTrace, depth: usize) -> Value {
    let mut value = json!({ "what": label(trace), "permissionship": trace_word(trace) });
    if let Some(info) = &trace.caveat_evaluation_info {
        value["caveat"] = json!(caveat(info));
    }
    if is_cut(trace) {
        value["isCut"] = json!(true);
    } else if let (Some(Resolution::SubProblems(problems)), true) =
        (&trace.resolution, depth < TRACE_DEPTH_MAX)
    {
        value["because"] = problems.traces.iter().map(|t| trace_json(t, depth + 1)).collect();
    }
    value
}

/// Control characters become visible, line breaks and tabs stay.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Verdict, visible};

    #[test]
    fn a_server_cannot_steer_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\tc\nd\u{9b}"), "a\u{fffd}[2Jb\tc\nd\u{fffd}");
    }

    #[test]
    fn an_answer_that_is_none_has_no_verdict() {
        assert_eq!(Verdict::of(0), None);
        assert_eq!(Verdict::of(9), None);
        assert_eq!(Verdict::of(2).map(Verdict::exit_status), Some(0));
    }
}
