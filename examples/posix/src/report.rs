//! Do they agree, and was it worth asking? Counts, tables and JSON.
//!
//! # Invariants
//! * A run counts as agreement only if nothing differs and at least a fifth of the answers are yes and a fifth no.
//! * Yes and no are the kernel's. An error that is neither is a difference, unless the path changed during the run.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use crate::options::{QUESTIONS_DEFAULT, QUESTIONS_MIN};
use crate::questions::{MODES, PERMISSIONS};

/// Differences that are shown.
pub const DIFFERENCES_SHOWN_MAX: usize = 20;

/// How often something was asked, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often the kernel allowed it.
    pub allowed: u64,
    /// How often it denied it.
    pub denied: u64,
    /// How often the server said something else.
    pub different: u64,
}

impl Tally {
    fn asked(self) -> u64 {
        self.allowed + self.denied
    }

    fn json(self) -> Value {
        json!({"asked": self.asked(), "allowed": self.allowed, "denied": self.denied, "different": self.different})
    }
}

/// What the kernel said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Yes.
    Allowed,
    /// No: the permissions do not suffice.
    Denied,
    /// Neither: another error, by its number.
    Error(u8),
}

impl Kernel {
    /// From an error number, 0 for none.
    pub fn said(error: u8) -> Self {
        match error {
            0 => Self::Allowed,
            error if i32::from(error) == rustix::io::Errno::ACCESS.raw_os_error() => Self::Denied,
            error => Self::Error(error),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Denied => f.write_str("denied"),
            Self::Error(number) => {
                write!(f, "error: {}", std::io::Error::from_raw_os_error((*number).into()))
            }
        }
    }
}

/// One question that they answer differently.
#[derive(Debug)]
pub struct Difference {
    /// The path as text.
    pub path: String,
    /// Name and ids of the account.
    pub account: String,
    /// 0 to 7.
    pub mode: u8,
    /// The kernel's answer.
    pub kernel: Kernel,
    /// The server's answer.
    pub server: bool,
    /// The relationships that decide.
    pub facts: Vec<String>,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Facts about the run: name and number, in the order of printing.
    pub read: Vec<(&'static str, u64)>,
    /// What was passed over.
    pub excluded: Vec<(&'static str, u64)>,
    /// Milliseconds each step took.
    pub took_ms: Vec<(&'static str, u64)>,
    /// All questions.
    pub total: Tally,
    /// By drawing.
    pub drawings: BTreeMap<&'static str, Tally>,
    /// By mode of `access(2)`.
    pub modes: [Tally; 8],
    /// By kind of inode.
    pub kinds: BTreeMap<&'static str, Tally>,
    /// By hard case of the made tree.
    pub cases: BTreeMap<String, Tally>,
    /// By account.
    pub accounts: BTreeMap<String, Tally>,
    /// Questions about paths that changed between reading and asking, and were answered differently.
    pub changed: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Who runs with which capabilities.
    pub capabilities: String,
    /// The seed.
    pub seed: u64,
    /// How many questions were wanted.
    pub wanted: usize,
}

impl Report {
    /// What speaks against counting this run as agreement; nothing if it may be.
    pub fn objections(&self) -> Vec<String> {
        let mut objections = Vec::new();
        let asked = self.total.asked();
        if self.total.different > 0 {
            objections.push(format!("{} answers differ", grouped(self.total.different)));
        }
        for (answer, count) in [("allowed", self.total.allowed), ("denied", self.total.denied)] {
            if count * 5 < asked || asked == 0 {
                objections.push(format!("fewer than a fifth of the answers are `{answer}`"));
            }
        }
        let least = u64::try_from(QUESTIONS_MIN).unwrap_or(u64::MAX);
        if self.changed * 100 > asked {
            objections
                .push(format!("{} answers are about paths that changed meanwhile", grouped(self.changed)));
        }
        if self.wanted >= QUESTIONS_DEFAULT && asked < least {
            objections.push(format!("fewer than {} questions were asked", grouped(least)));
        }
        objections
    }

    /// The report as JSON.
    pub fn json(&self) -> Value {
        let numbers = |pairs: &[(&'static str, u64)]| {
            pairs.iter().map(|(name, number)| ((*name).to_owned(), json!(number))).collect::<Value>()
        };
        let modes =
            PERMISSIONS.iter().zip(self.modes).map(|(name, tally)| ((*name).to_owned(), tally.json()));
        let differences = self.differences.iter().map(|difference| {
            json!({
                "path": difference.path, "account": difference.account,
                "permission": PERMISSIONS[usize::from(difference.mode & 7)],
                "kernel": difference.kernel.to_string(),
                "server": if difference.server { "allowed" } else { "denied" },
                "relationships": difference.facts,
            })
        });
        json!({
            "agrees": self.objections().is_empty(),
            "objections": self.objections(),
            "seed": self.seed,
            "total": self.total.json(),
            "changed_during_the_run": self.changed,
            "by_drawing": tallies(&self.drawings),
            "by_permission": modes.collect::<Value>(),
            "by_kind": tallies(&self.kinds),
            "by_case": tallies(&self.cases),
            "by_account": tallies(&self.accounts),
            "read": numbers(&self.read),
            "excluded": numbers(&self.excluded),
            "took_ms": numbers(&self.took_ms),
            "capabilities": self.capabilities,
            "differences": differences.collect::<Vec<_>>(),
        })
    }
}

fn tallies<K: AsRef<str>>(by: &BTreeMap<K, Tally>) -> Value {
    by.iter().map(|(name, tally)| (name.as_ref().to_owned(), tally.json())).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        numbers(f, "read", &self.read)?;
        writeln!(f, "  {}\n", self.capabilities)?;
        numbers(f, "not asked about", &self.excluded)?;
        if self.excluded.is_empty() {
            writeln!(f, "  nothing")?;
        }
        writeln!(f)?;
        numbers(f, "milliseconds", &self.took_ms)?;
        writeln!(f)?;
        let kinds = self.kinds.iter().map(|(name, tally)| ((*name).to_owned(), *tally));
        table(f, "by kind", kinds)?;
        if !self.cases.is_empty() {
            table(
                f,
                "by hard case (made tree)",
                self.cases.iter().map(|(name, tally)| (name.clone(), *tally)),
            )?;
        }
        table(f, "by account", self.accounts.iter().map(|(name, tally)| (name.clone(), *tally)))?;
        let modes = PERMISSIONS.iter().zip(MODES).zip(self.modes);
        table(f, "by permission", modes.map(|((name, mode), tally)| (format!("{name} ({mode})"), tally)))?;
        let drawings = self.drawings.iter().map(|(name, tally)| ((*name).to_owned(), *tally));
        table(
            f,
            &format!("by drawing (seed {})", self.seed),
            drawings.chain([("all".to_owned(), self.total)]),
        )?;
        for difference in &self.differences {
            self.difference(f, difference)?;
        }
        let share = |count: u64| {
            if self.total.asked() == 0 { 0.0 } else { count as f64 * 100.0 / self.total.asked() as f64 }
        };
        writeln!(
            f,
            "{} questions: {} allowed ({:.1} %), {} denied ({:.1} %), {} different, {} on paths that changed meanwhile",
            grouped(self.total.asked()),
            grouped(self.total.allowed),
            share(self.total.allowed),
            grouped(self.total.denied),
            share(self.total.denied),
            grouped(self.total.different),
            grouped(self.changed),
        )?;
        match self.objections().as_slice() {
            [] => writeln!(f, "The server and the kernel agree."),
            objections => writeln!(f, "This run does not count as agreement: {}.", objections.join("; ")),
        }
    }
}

impl Report {
    fn difference(&self, f: &mut fmt::Formatter<'_>, difference: &Difference) -> fmt::Result {
        let Difference { path, account, mode, kernel, server, facts } = difference;
        let mode = usize::from(mode & 7);
        writeln!(f, "DIFFERENT  {path}")?;
        writeln!(f, "  asked:   {} ({}) for {account}", PERMISSIONS[mode], MODES[mode])?;
        writeln!(f, "  kernel:  {kernel}")?;
        writeln!(f, "  server:  {}", if *server { "allowed" } else { "denied" })?;
        facts.iter().try_for_each(|fact| writeln!(f, "    {fact}"))?;
        writeln!(f)
    }
}

fn numbers(f: &mut fmt::Formatter<'_>, title: &str, rows: &[(&'static str, u64)]) -> fmt::Result {
    writeln!(f, "{title}")?;
    let width = rows.iter().map(|(_, number)| grouped(*number).len()).max().unwrap_or(0);
    rows.iter().try_for_each(|(name, number)| writeln!(f, "  {:>width$}  {name}", grouped(*number)))
}

/// A table of tallies, columns as wide as their widest cell.
fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: impl Iterator<Item = (String, Tally)>,
) -> fmt::Result {
    let mut cells =
        vec![[title.to_owned(), "asked".into(), "allowed".into(), "denied".into(), "different".into()]];
    for (name, tally) in rows {
        let [asked, allowed, denied, different] =
            [tally.asked(), tally.allowed, tally.denied, tally.different].map(grouped);
        cells.push([name, asked, allowed, denied, different]);
    }
    let widths: [usize; 5] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for row in &cells {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    writeln!(f)
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
