//! How are answers and failures shown? Aligned text, coloured on a terminal; JSON on request.
//!
//! # Invariants
//! * What comes from a server cannot steer the terminal: control characters are shown, not sent.

mod trace;

use std::io::{IsTerminal as _, Write as _};

use idhini_wire::authzed::api::v1;
use prost::{Message, Name};
use serde_json::Value;

pub(crate) use self::trace::check;
use crate::failure::{Failure, STATUS_UNHEARD};

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

    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Has => "has",
            Verdict::No => "no",
            Verdict::Conditional => "conditional",
        }
    }

    /// Of an answer of a lookup.
    pub(crate) fn of_lookup(value: i32) -> Option<Verdict> {
        match v1::LookupPermissionship::try_from(value).ok()? {
            v1::LookupPermissionship::HasPermission => Some(Verdict::Has),
            v1::LookupPermissionship::ConditionalPermission => Some(Verdict::Conditional),
            v1::LookupPermissionship::Unspecified => None,
        }
    }
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    taken(writeln!(std::io::stdout().lock(), "{}", visible(text)));
}

/// Prints a line that is not what the command is there for: whether anybody takes it does not matter.
pub(crate) fn said(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", visible(text));
}

/// Ends the process if standard output did not take what was printed. A reader that has left wants no more, and is told
/// nothing, but the status is none of an answer that nobody saw.
pub(crate) fn taken(outcome: std::io::Result<()>) {
    let Err(source) = outcome else { return };
    if source.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(i32::from(STATUS_UNHEARD));
    }
    let why = Failure::Output { source };
    failure(&why, Style::of_terminal());
    std::process::exit(i32::from(why.status()));
}

/// Prints JSON.
pub(crate) fn json(value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    taken(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Prints JSON in a line of its own, one of many.
pub(crate) fn json_line(value: &Value) {
    taken(writeln!(std::io::stdout().lock(), "{value}"));
}

/// Prints a message of the API in protobuf's JSON, in a line of its own.
pub(crate) fn message<M: Message + Name>(message: &M) -> Result<(), Failure> {
    let text = idhini_wire::json(message)?;
    taken(writeln!(std::io::stdout().lock(), "{text}"));
    Ok(())
}

/// Prints bytes as they are: what another program reads.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    taken(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Prints what is told while the work goes on, beside the answers.
pub(crate) fn aside(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(text));
}

/// The parameters that a conditional answer lacks, as an addition to it.
pub(crate) fn missing(info: Option<&v1::PartialCaveatInfo>) -> String {
    let names = info.map(|info| info.missing_required_context.join(", ")).filter(|names| !names.is_empty());
    names.map(|names| format!(", missing context: {names}")).unwrap_or_default()
}

/// Prints a failure and its next step.
pub(crate) fn failure(failure: &Failure, style: Style) {
    let (red, bold, plain) = if style.err { (RED, BOLD, PLAIN) } else { ("", "", "") };
    let text = visible(&failure.to_string());
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{red}{bold}error{plain} {text}");
    let _ = writeln!(err, "{bold}next{plain}  {}", failure.next_step());
}

/// Prints what is wrong with the arguments, which the parser words, and the next step.
pub(crate) fn misuse(error: &clap::Error, next_step: &str, style: Style) {
    let rendered = error.render();
    let text = if style.err { rendered.ansi().to_string() } else { rendered.to_string() };
    // What follows is the next step in its own words.
    let text = text.split_once("For more information").map_or(text.as_str(), |(text, _)| text);
    let (bold, plain) = if style.err { (BOLD, PLAIN) } else { ("", "") };
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}\n\n{bold}next{plain}  {next_step}", text.trim_end());
}

/// Prints what the operator should know while the server goes on.
pub(crate) fn notice(text: &str, style: Style) {
    let (bold, plain) = if style.err { (BOLD, PLAIN) } else { ("", "") };
    let _ = writeln!(std::io::stderr().lock(), "{bold}notice{plain} {}", visible(text));
}

/// Prints a line that begins with a word that has a colour and a column of its own.
pub(crate) fn line_of(word: &str, text: &str, style: Style) {
    let colour = match word {
        "has" | "created" | "touch" | "same" | "passed" | "added" | "accepted" | "open" | "unlocked"
        | "granted" => GREEN,
        "no" | "deleted" | "delete" | "differs" | "failed" | "removed" | "refused" | "locked" | "revoked" => {
            RED
        }
        "conditional" | "replaced" | "schema" | "changed" | "unknown" | "unended" | "deleting" => YELLOW,
        _ => DIM,
    };
    let (colour, plain) = if style.out { (colour, PLAIN) } else { ("", "") };
    taken(writeln!(std::io::stdout().lock(), "{colour}{word:<11}{plain}  {}", visible(text)));
}

/// Prints a part of what was counted, and at the end of them, in bold, all.
pub(crate) fn part(name: &str, text: &str, style: Style) {
    let colour = if name == "all" { BOLD } else { DIM };
    let (colour, plain) = if style.out { (colour, PLAIN) } else { ("", "") };
    taken(writeln!(std::io::stdout().lock(), "  {colour}{:<14}{plain}  {}", visible(name), visible(text)));
}

/// Prints what something is named, and in columns of their own what is known of it.
pub(crate) fn named(name: &str, text: &str, style: Style) {
    let (bold, plain) = if style.out { (BOLD, PLAIN) } else { ("", "") };
    taken(writeln!(std::io::stdout().lock(), "{bold}{}{plain}  {}", visible(name), visible(text)));
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
