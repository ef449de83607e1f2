//! What a run asked, what was answered, what disagreed: aligned text for people, JSON on request.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value as Json, json};

/// Counts of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Worlds asked.
    pub worlds: u64,
    /// Questions by call.
    pub calls: BTreeMap<&'static str, u64>,
    /// Questions by our answer.
    pub turnouts: BTreeMap<&'static str, u64>,
    /// Disagreements that the ledger explains.
    pub disagreements: u64,
    /// Those by ledger id; one that needs several entries counts under each.
    pub known: BTreeMap<&'static str, u64>,
    /// Disagreements that no entry of the ledger matches.
    pub unexplained: u64,
    /// Questions on which our own two evaluators differ.
    pub own: u64,
    /// Worlds whose schema or data one of the two refuses though the other does not.
    pub refused_worlds: u64,
}

impl Report {
    /// All questions.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Whether nothing is left to explain.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unexplained == 0 && self.own == 0 && self.refused_worlds == 0
    }

    /// Counts one question.
    pub fn count(&mut self, call: &'static str, turnout: &'static str) {
        *self.calls.entry(call).or_default() += 1;
        *self.turnouts.entry(turnout).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Report) {
        fn sum(mine: &mut BTreeMap<&'static str, u64>, theirs: &BTreeMap<&'static str, u64>) {
            for (name, count) in theirs {
                *mine.entry(name).or_default() += count;
            }
        }
        self.worlds += other.worlds;
        self.disagreements += other.disagreements;
        self.unexplained += other.unexplained;
        self.own += other.own;
        self.refused_worlds += other.refused_worlds;
        sum(&mut self.calls, &other.calls);
        sum(&mut self.turnouts, &other.turnouts);
        sum(&mut self.known, &other.known);
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Json {
        json!({
            "worlds": self.worlds,
            "questions": self.questions(),
            "calls": self.calls,
            "answers": self.turnouts,
            "known_disagreements": self.disagreements,
            "known_by_entry": self.known,
            "unexplained": self.unexplained,
            "own_disagreements": self.own,
            "refused_worlds": self.refused_worlds,
        })
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let questions = self.questions();
        let mut row = |name: &str, count: u64| {
            let per_myriad = (count * 10_000).checked_div(questions).unwrap_or(0);
            writeln!(f, "{name:<44}{count:>9}{:>5}.{:02} %", per_myriad / 100, per_myriad % 100)
        };
        row("questions", questions)?;
        for (name, count) in &self.calls {
            row(&format!("  {name}"), *count)?;
        }
        for (name, count) in &self.turnouts {
            row(&format!("  answered: {name}"), *count)?;
        }
        row("known differences", self.disagreements)?;
        for (id, count) in &self.known {
            row(&format!("  {id}"), *count)?;
        }
        row("unexplained", self.unexplained)?;
        row("engine and reference differ", self.own)?;
        writeln!(f, "{:<44}{:>9}", "worlds", self.worlds)?;
        writeln!(f, "{:<44}{:>9}", "worlds only one server accepts", self.refused_worlds)
    }
}

#[cfg(test)]
mod tests;
