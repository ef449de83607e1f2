//! Counts of what was asked and answered, and the bounds that they must keep.

use std::fmt::{self, Write as _};

use crate::reference::{Refusal, Value};
use crate::shapes::{SHAPES, ShapeSet};

/// Least share of each of the three values, in percent.
pub const VALUE_PERCENT_MIN: u64 = 10;
/// Least share of each shape, in percent.
pub const SHAPE_PERCENT_MIN: u64 = 1;

/// How a question turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turnout {
    /// A check's value; of a lookup: has if anything is definite, conditional if anything is found.
    Value(Value),
    /// No answer.
    Refused(RefusalKind),
}

/// A refusal without its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RefusalKind {
    UnknownName,
    WildcardSubject,
    CaveatFailed,
    Cycle,
}

/// Which call was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Call {
    Check,
    Bulk,
    Resources,
    Subjects,
    Expand,
    Explain,
}

/// Refusals may be this many times rarer than shapes.
const REFUSED_ENOUGH: u64 = 50;

const REFUSALS: [&str; 4] = [
    "refused: unknown name",
    "refused: `*` as subject",
    "refused: caveat failed",
    "refused: cycle without an answer",
];

const CALLS: [(Call, &str); 6] = [
    (Call::Check, "check"),
    (Call::Bulk, "bulk check item"),
    (Call::Resources, "lookup of resources"),
    (Call::Subjects, "lookup of subjects"),
    (Call::Expand, "expand"),
    (Call::Explain, "explain"),
];

/// Counts of questions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Worlds asked.
    pub worlds: u64,
    /// All questions.
    pub questions: u64,
    /// Comparisons of answers, of which a question may cause several.
    pub comparisons: u64,
    /// By [`Call`].
    calls: [u64; 6],
    /// By [`Value`].
    values: [u64; 3],
    /// By [`RefusalKind`].
    refusals: [u64; 4],
    /// By position in [`SHAPES`].
    shapes: [u64; SHAPES.len()],
}

impl From<&Refusal> for RefusalKind {
    fn from(refusal: &Refusal) -> RefusalKind {
        match refusal {
            Refusal::UnknownDefinition(_) | Refusal::UnknownMember { .. } => RefusalKind::UnknownName,
            Refusal::WildcardSubject => RefusalKind::WildcardSubject,
            Refusal::CaveatFailed => RefusalKind::CaveatFailed,
            Refusal::Cycle | Refusal::Undefined => RefusalKind::Cycle,
        }
    }
}

impl Tally {
    /// Counts one question.
    pub fn count(&mut self, call: Call, turnout: Turnout, shapes: ShapeSet) {
        self.questions += 1;
        self.calls[call as usize] += 1;
        match turnout {
            Turnout::Value(value) => self.values[value as usize] += 1,
            Turnout::Refused(kind) => self.refusals[kind as usize] += 1,
        }
        for (counter, (shape, _)) in self.shapes.iter_mut().zip(SHAPES) {
            *counter += u64::from(shapes.contains(shape));
        }
    }

    /// Adds another tally's counts.
    pub fn add(&mut self, other: &Tally) {
        self.worlds += other.worlds;
        self.questions += other.questions;
        self.comparisons += other.comparisons;
        let sum = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        sum(&mut self.calls, &other.calls);
        sum(&mut self.values, &other.values);
        sum(&mut self.refusals, &other.refusals);
        sum(&mut self.shapes, &other.shapes);
    }

    /// The shares that are too small, as text; empty when all is well.
    #[must_use]
    pub fn shortfalls(&self) -> String {
        let mut text = String::new();
        let mut hold = |name: &str, count: u64, percent_min: u64| {
            if count * 100 < self.questions * percent_min {
                let _ = writeln!(text, "{name}: {count} of {} is below {percent_min} %", self.questions);
            }
        };
        for (name, count) in ["no", "conditional", "has"].iter().zip(self.values) {
            hold(name, count, VALUE_PERCENT_MIN);
        }
        for (name, count) in REFUSALS.iter().zip(self.refusals) {
            hold(name, count.saturating_mul(REFUSED_ENOUGH), SHAPE_PERCENT_MIN);
        }
        for ((_, name), count) in SHAPES.iter().zip(self.shapes) {
            hold(name, count, SHAPE_PERCENT_MIN);
        }
        text
    }
}

/// The table of shares, as Markdown.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, count: u64| {
            let per_mille = (count * 1000).checked_div(self.questions).unwrap_or(0);
            writeln!(f, "| {name} | {count} | {}.{} % |", per_mille / 10, per_mille % 10)
        };
        row("questions", self.questions)?;
        for ((_, name), count) in CALLS.iter().zip(self.calls) {
            row(name, count)?;
        }
        for (name, count) in ["no", "conditional", "has"].iter().zip(self.values) {
            row(name, count)?;
        }
        for (name, count) in REFUSALS.iter().zip(self.refusals) {
            row(name, count)?;
        }
        for ((_, name), count) in SHAPES.iter().zip(self.shapes) {
            row(name, count)?;
        }
        writeln!(f, "\n{} worlds, {} comparisons", self.worlds, self.comparisons)
    }
}
