//! How fast and how right is the engine in process on a generated workload folder?
//!
//! Reads `schema.zed`, `relationships.txt` and every `checks_*.txt` (lines `resource permission subject 0|1`) of a
//! folder, asks every check of every set once, and prints wrong answers, nanoseconds per check (median and 99th
//! percentile of single checks from names to answer) and bytes per relationship. Exits with 1 if an answer is wrong.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use idhini_engine::{Check, Limits, Permissionship, Plans, Question, Snapshot};
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp};
use idhini_testkit::workload::{Failure, load, resident_bytes};

struct Query {
    resource: ResourceRef,
    permission: String,
    subject: SubjectRef,
    is_granted: bool,
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: workload FOLDER (made by the load kit's `gen`)");
        return ExitCode::from(2);
    };
    match run(&folder) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} wrong answers");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(folder: &str) -> Result<u64, Failure> {
    let (before, _) = resident_bytes()?;
    let root = load(Path::new(folder))?;
    let plans = Plans::compile(&root).ok_or("the workload has no schema")?;
    let count = root.relationship_count();
    let resident = resident_bytes()?.0.saturating_sub(before);
    println!("relationships {count}   resident bytes each {:.1}", resident as f64 / count as f64);
    println!(
        "{:<20} {:>8} {:>6} {:>10} {:>10} {:>10}",
        "set", "checks", "wrong", "median ns", "p99 ns", "mean ns"
    );
    let snapshot = Snapshot { root: &root, plans: &plans, instant: Timestamp::from_seconds(1_800_000_000) };
    let mut names: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("checks_") && name.ends_with(".txt"))
        .collect();
    names.sort();
    let mut all_wrong = 0;
    for name in names {
        let queries = read_queries(&std::fs::read_to_string(format!("{folder}/{name}"))?)?;
        let (wrong, mut nanos) = ask(snapshot, &queries)?;
        nanos.sort_unstable();
        let set = name.trim_start_matches("checks_").trim_end_matches(".txt");
        let mean = nanos.iter().sum::<u64>() / nanos.len().max(1) as u64;
        let at = |share: usize| nanos.get(nanos.len() * share / 100).copied().unwrap_or(0);
        println!("{set:<20} {:>8} {wrong:>6} {:>10} {:>10} {mean:>10}", queries.len(), at(50), at(99));
        all_wrong += wrong;
    }
    Ok(all_wrong)
}

fn ask(snapshot: Snapshot<'_>, queries: &[Query]) -> Result<(u64, Vec<u64>), Failure> {
    let context = Context::default();
    let mut wrong = 0;
    let mut nanos = Vec::with_capacity(queries.len());
    for query in queries {
        let question = Question {
            resource: &query.resource,
            permission: &query.permission,
            subject: &query.subject,
            context: &context,
        };
        let start = Instant::now();
        let answer = Check::open(snapshot, question, Limits::default())?.answer()?;
        nanos.push(u64::try_from(start.elapsed().as_nanos())?);
        wrong += u64::from((answer.permissionship == Permissionship::Has) != query.is_granted);
    }
    Ok((wrong, nanos))
}

fn read_queries(text: &str) -> Result<Vec<Query>, Failure> {
    text.lines()
        .map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [resource, permission, subject, granted] => Ok(Query {
                resource: resource.parse()?,
                permission: permission.to_owned(),
                subject: subject.parse()?,
                is_granted: granted == "1",
            }),
            _ => Err(format!("cannot read `{line}`").into()),
        })
        .collect()
}
