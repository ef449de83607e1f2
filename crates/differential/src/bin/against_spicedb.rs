//! Asks a running SpiceDB and Idhini the same generated questions:
//! `against_spicedb --addr HOST:PORT --token KEY [--questions 100000] [--seed 1] [--without-caveats] [--json]
//! [--examples] [--shrink 12] [--only KIND]`.
//! or holds both to the examples of a document: `against_spicedb --addr HOST:PORT --document docs/differences.md`.
//!
//! Ends with 0 if every disagreement is in the ledger.

use std::io::{self, Write};
use std::process::ExitCode;

use idhini_differential::document::{examples, wrong_of_ours, wrong_of_theirs};
use idhini_differential::report::Report;
use idhini_differential::reproduce::{minimal, narrate};
use idhini_differential::run::{Findings, Plan, run};
use idhini_differential::spicedb::SpiceDb;

/// Unexplained disagreements that are shrunk and printed.
const SHRUNK_MAX: usize = 12;
/// Remarks that are printed.
const REMARKS_MAX: usize = 40;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|a| a == name);
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|i| arguments.get(i + 1)).map(String::as_str)
    };
    let addr = value("--addr").ok_or("--addr HOST:PORT is missing")?;
    let plan = Plan {
        questions: value("--questions").unwrap_or("100000").parse()?,
        seed: value("--seed").unwrap_or("1").parse()?,
        without_caveats: flag("--without-caveats"),
    };
    let server = SpiceDb::connect(addr, value("--token").unwrap_or("differential")).await?;
    if let Some(path) = value("--document") {
        return hold(&server, path).await;
    }
    let mut progress = |report: &Report| {
        let (asked, open) = (report.questions(), report.unexplained);
        let known = report.disagreements;
        let _ = writeln!(io::stderr(), "{asked} asked, {known} known differences, {open} unexplained");
    };
    let mut findings = run(&server, plan, &mut progress).await?;
    let shrunk_max = value("--shrink").map_or(Ok(SHRUNK_MAX), str::parse)?;
    let mut out = io::stdout().lock();
    for remark in findings.remarks.iter().take(REMARKS_MAX) {
        writeln!(out, "{remark}")?;
    }
    explain(&server, &mut findings, (flag("--examples"), shrunk_max, value("--only")), &mut out).await?;
    for (kind, count) in &findings.kinds {
        writeln!(out, "unexplained {count:>7}  {kind}")?;
    }
    if flag("--json") {
        writeln!(out, "{}", findings.report.json())?;
    } else {
        write!(out, "{}", findings.report)?;
    }
    Ok(if findings.report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Holds both servers to the examples of a document.
async fn hold(server: &SpiceDb, path: &str) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let examples = examples(&std::fs::read_to_string(path)?)?;
    let mut out = io::stdout().lock();
    let mut wrong = Vec::new();
    for example in &examples {
        wrong.extend(wrong_of_ours(example));
        wrong.extend(wrong_of_theirs(server, example).await?);
    }
    for line in &wrong {
        writeln!(out, "{line}")?;
    }
    let questions: usize = examples.iter().map(|example| example.questions.len()).sum();
    writeln!(out, "{} examples, {questions} questions, {} answered otherwise", examples.len(), wrong.len())?;
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shrinks and prints what no entry explains, and on request an example of each entry.
async fn explain(
    server: &SpiceDb,
    findings: &mut Findings,
    (with_examples, shrunk_max, only): (bool, usize, Option<&str>),
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let shrunk = findings.unexplained.drain(..).filter(|d| only.is_none_or(|o| d.signature().contains(o)));
    for disagreement in shrunk.take(shrunk_max) {
        let (minimal, steps) = minimal(server, disagreement, None).await?;
        writeln!(out, "--- unexplained ({steps} tries)\n{}", narrate(&minimal))?;
    }
    if with_examples {
        for (id, disagreements) in std::mem::take(&mut findings.examples) {
            if only.is_some_and(|only| !id.contains(only)) {
                continue;
            }
            for disagreement in disagreements {
                let (minimal, steps) = minimal(server, disagreement, Some(id)).await?;
                writeln!(out, "--- {id} ({steps} tries)\n{}", narrate(&minimal))?;
            }
        }
    }
    Ok(())
}
