//! How often does a check allocate? `allocations FOLDER [--json]`
//!
//! Asks every check of every set of a generated workload folder twice, so that what is made once is there, and counts the
//! allocations of the second time, from names to answer; growing one counts as one. A program of its own, since counting
//! costs time that `workload` must not measure.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program")]

use std::path::Path;
use std::process::ExitCode;

use idhini_engine::{Check, Limits, Plans, Question, Snapshot};
use idhini_model::{Context, Timestamp};
use idhini_testkit::folder::{Failure, Query, Workload};
use serde_json::json;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let counted = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder] => run(folder, false),
        [folder, "--json"] => run(folder, true),
        _ => Err("usage: allocations FOLDER [--json] (a folder made by the load kit's `gen`)".into()),
    };
    match counted {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(folder: &str, is_json: bool) -> Result<(), Failure> {
    let workload = Workload::read(Path::new(folder))?;
    let plans = Plans::compile(&workload.root).ok_or("the workload has no schema")?;
    let instant = Timestamp::from_seconds(1_800_000_000);
    let snapshot = Snapshot { root: &workload.root, plans: &plans, instant };
    let mut lines = Vec::new();
    if !is_json {
        println!("{:<20} {:>8} {:>8} {:>8} {:>8} {:>8}", "set", "checks", "mean", "median", "p99", "most");
    }
    for set in &workload.questions.sets {
        count(snapshot, &set.queries)?;
        let mut counts = count(snapshot, &set.queries)?;
        counts.sort_unstable();
        let (checks, most) = (counts.len(), counts.last().copied().unwrap_or(0));
        let at = |share: usize| counts.get(checks * share / 100).copied().unwrap_or(0);
        let (median, p99) = (at(50), at(99));
        let mean = counts.iter().sum::<u64>() as f64 / checks.max(1) as f64;
        if !is_json {
            println!("{:<20} {checks:>8} {mean:>8.1} {median:>8} {p99:>8} {most:>8}", set.name);
        }
        lines.push(json!({
            "set": set.name, "checks": checks, "mean": mean, "median": median, "p99": p99, "most": most,
        }));
    }
    if is_json {
        println!("{}", json!({ "sets": lines }));
    }
    Ok(())
}

/// Allocations of each check.
fn count(snapshot: Snapshot<'_>, queries: &[Query]) -> Result<Vec<u64>, Failure> {
    let context = Context::default();
    let mut counts = Vec::with_capacity(queries.len());
    for Query { resource, permission, subject, .. } in queries {
        let question = Question { resource, permission, subject, context: &context };
        let mut answered = Ok(());
        let counted = allocation_counter::measure(|| {
            let opened = Check::open(snapshot, question, Limits::default());
            answered = opened.and_then(|mut check| check.answer()).map(drop);
        });
        answered?;
        counts.push(counted.count_total);
    }
    Ok(counts)
}
