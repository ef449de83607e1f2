//! How fast and how right is the engine in process on a generated workload folder? `workload FOLDER [--rounds N] [--json]`
//!
//! Asks every check of every set one by one and in bulks, and every lookup to its end, ROUNDS times (default 3), and prints
//! the median round: nanoseconds per check from names to answer (median and 99th percentile of single checks; asking the
//! clock is in it, some 25 of them), nanoseconds per item of a bulk, results per second of the lookups, how long the first
//! result of the widest lookup takes, and bytes per relationship: as the graph counts them, and resident, with what the
//! allocator keeps of what was read. Exits with 1 if an answer is wrong. How often checks allocate, `allocations` says.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use idhini_engine::{
    Check, CheckBulk, Limits, LookupResources, LookupSubjects, Permissionship, Plans, Progress, Question,
    Snapshot,
};
use idhini_graph::Root;
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp, WILDCARD};
use idhini_testkit::folder::{self, Failure, Query, Questions};
use serde_json::{Value, json};

// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;
/// Checks of one bulk.
const BULK_ITEMS: usize = 100;
/// How often the widest lookup is asked for its first result.
const FIRST_RESULTS: usize = 21;
/// Of the users that a lookup of subjects does not name, every so manieth is checked to lack the permission.
const UNNAMED_STEP: u32 = 25;
const PERMISSION: &str = "view";

struct Arguments {
    folder: String,
    rounds: usize,
    is_json: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        eprintln!("usage: workload FOLDER [--rounds N] [--json] (a folder made by the load kit's `gen`)");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} wrong answers");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{}: {error}", arguments.folder);
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
        let mut arguments = Arguments { folder: given.next()?, rounds: ROUNDS, is_json: false };
        while let Some(flag) = given.next() {
            match flag.as_str() {
                "--json" => arguments.is_json = true,
                "--rounds" => arguments.rounds = given.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
                _ => return None,
            }
        }
        Some(arguments)
    }
}

/// What is measured of one set, each the median of the rounds.
struct SetOutcome {
    name: &'static str,
    checks: usize,
    wrong: u64,
    median_ns: u64,
    p99_ns: u64,
    mean_ns: u64,
    /// Per item.
    bulk_ns: u64,
}

/// What is measured of one lookup call.
struct LookupOutcome {
    name: &'static str,
    lookups: usize,
    wrong: u64,
    results: u64,
    results_per_s: u64,
    /// Results of the widest, and microseconds to its first.
    widest: u64,
    first_us: f64,
}

fn run(arguments: &Arguments) -> Result<u64, Failure> {
    let before = resident_bytes()?;
    let root = folder::root_of(Path::new(&arguments.folder))?;
    let each = resident_bytes()?.saturating_sub(before) as f64 / root.relationship_count() as f64;
    let questions = Questions::read(Path::new(&arguments.folder))?;
    let plans = Plans::compile(&root).ok_or("the workload has no schema")?;
    let instant = Timestamp::from_seconds(1_800_000_000);
    let snapshot = Snapshot { root: &root, plans: &plans, instant };
    let sets = questions.sets.iter().map(|set| of_set(snapshot, set.name, &set.queries, arguments.rounds));
    let sets = sets.collect::<Result<Vec<_>, _>>()?;
    let lookups = [
        of_resources(snapshot, &questions, arguments.rounds)?,
        of_subjects(snapshot, &questions, arguments.rounds)?,
    ];
    match arguments.is_json {
        true => println!("{}", as_json(&root, each, &sets, &lookups)),
        false => print(&root, each, &sets, &lookups),
    }
    Ok(sets.iter().map(|set| set.wrong).chain(lookups.iter().map(|lookup| lookup.wrong)).sum())
}

fn of_set(
    snapshot: Snapshot<'_>,
    name: &'static str,
    queries: &[Query],
    rounds: usize,
) -> Result<SetOutcome, Failure> {
    let (mut wrong, mut medians, mut p99s, mut means, mut bulks) = (0, vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let (wrong_now, mut nanos) = ask(snapshot, queries)?;
        nanos.sort_unstable();
        let at = |share: usize| nanos.get(nanos.len() * share / 100).copied().unwrap_or(0);
        medians.push(at(50));
        p99s.push(at(99));
        means.push(nanos.iter().sum::<u64>() / nanos.len().max(1) as u64);
        let (wrong_in_bulk, bulk_ns) = ask_in_bulk(snapshot, queries)?;
        bulks.push(bulk_ns);
        wrong += wrong_now + wrong_in_bulk;
    }
    let [median_ns, p99_ns, mean_ns, bulk_ns] = [medians, p99s, means, bulks].map(middle);
    Ok(SetOutcome { name, checks: queries.len(), wrong, median_ns, p99_ns, mean_ns, bulk_ns })
}

fn question<'q>(query: &'q Query, context: &'q Context) -> Question<'q> {
    Question { resource: &query.resource, permission: &query.permission, subject: &query.subject, context }
}

fn ask(snapshot: Snapshot<'_>, queries: &[Query]) -> Result<(u64, Vec<u64>), Failure> {
    let context = Context::default();
    let mut wrong = 0;
    let mut nanos = Vec::with_capacity(queries.len());
    for query in queries {
        // Whoever asks has the names at hand; of ours most have long left the caches.
        let query = &query.clone();
        let start = Instant::now();
        let answer = Check::open(snapshot, question(query, &context), Limits::default())?.answer()?;
        nanos.push(u64::try_from(start.elapsed().as_nanos())?);
        wrong += u64::from((answer.permissionship == Permissionship::Has) != query.is_granted);
    }
    Ok((wrong, nanos))
}

/// Wrong answers, and nanoseconds per item.
fn ask_in_bulk(snapshot: Snapshot<'_>, queries: &[Query]) -> Result<(u64, u64), Failure> {
    let context = Context::default();
    let mut wrong = 0;
    let mut nanos = 0;
    for queries in queries.chunks(BULK_ITEMS) {
        let start = Instant::now();
        let questions = queries.iter().map(|query| question(query, &context)).collect();
        let mut bulk = CheckBulk::open(snapshot, questions, Limits::default());
        let answers = loop {
            if let Progress::Done(answers) = bulk.advance(u64::MAX) {
                break answers;
            }
        };
        nanos += u64::try_from(start.elapsed().as_nanos())?;
        if answers.len() != queries.len() {
            return Err("a bulk has another number of answers than of questions".into());
        }
        for (query, answer) in queries.iter().zip(answers) {
            wrong += u64::from((answer?.permissionship == Permissionship::Has) != query.is_granted);
        }
    }
    Ok((wrong, nanos / queries.len().max(1) as u64))
}

fn of_resources(
    snapshot: Snapshot<'_>,
    questions: &Questions,
    rounds: usize,
) -> Result<LookupOutcome, Failure> {
    let context = Context::default();
    let open = |subject| {
        let target = ("document", PERMISSION);
        LookupResources::open(snapshot, target, subject, &context, None, Limits::default())
    };
    let lookups = &questions.lookup_resources;
    let (mut wrong, mut results, mut rates) = (0, 0, vec![]);
    for _ in 0..rounds {
        results = 0;
        let start = Instant::now();
        for asked in lookups {
            let mut lookup = open(&asked.subject)?;
            let mut found = 0;
            while taken(lookup.advance(u64::MAX))?.is_some() {
                found += 1;
            }
            wrong += u64::from(found != asked.results);
            results += found;
        }
        rates.push(per_second(results, start));
    }
    let widest = lookups.iter().max_by_key(|asked| asked.results).ok_or("there are no lookups")?;
    let mut firsts = Vec::new();
    for _ in 0..FIRST_RESULTS {
        let start = Instant::now();
        let mut lookup = open(&widest.subject)?;
        while taken(lookup.advance(u64::MAX))?.is_none() {}
        firsts.push(u64::try_from(start.elapsed().as_nanos())?);
    }
    let (name, first_us) = ("resources", middle(firsts) as f64 / 1e3);
    let results_per_s = middle(rates);
    Ok(LookupOutcome {
        name,
        lookups: lookups.len(),
        wrong,
        results,
        results_per_s,
        widest: widest.results,
        first_us,
    })
}

fn of_subjects(
    snapshot: Snapshot<'_>,
    questions: &Questions,
    rounds: usize,
) -> Result<LookupOutcome, Failure> {
    let context = Context::default();
    let open = |resource| {
        let asked = (resource, PERMISSION);
        LookupSubjects::open(snapshot, asked, ("user", None), &context, None, Limits::default())
    };
    let lookups = &questions.lookup_subjects;
    let (mut results, mut rates, mut widest) =
        (0, vec![], (0, lookups.first().ok_or("there are no lookups")?));
    for _ in 0..rounds {
        results = 0;
        let start = Instant::now();
        for resource in lookups {
            let mut lookup = open(resource)?;
            let mut found = 0;
            while taken(lookup.advance(u64::MAX))?.is_some() {
                found += 1;
            }
            if found > widest.0 {
                widest = (found, resource);
            }
            results += found;
        }
        rates.push(per_second(results, start));
    }
    let mut firsts = Vec::new();
    for _ in 0..FIRST_RESULTS {
        let start = Instant::now();
        let mut lookup = open(widest.1)?;
        while taken(lookup.advance(u64::MAX))?.is_none() {}
        firsts.push(u64::try_from(start.elapsed().as_nanos())?);
    }
    let mut wrong = 0;
    for resource in lookups {
        let mut lookup = open(resource)?;
        let (mut named, mut excluded) = (HashSet::new(), None);
        while let Some(found) = taken(lookup.advance(u64::MAX))? {
            if found.object_id == WILDCARD {
                excluded = Some(found.excluded.into_iter().map(|e| e.object_id).collect::<HashSet<_>>());
            } else {
                named.insert(found.object_id);
            }
        }
        wrong += wrongly_named(snapshot, resource, &named, excluded.as_ref())?;
    }
    let (name, first_us) = ("subjects", middle(firsts) as f64 / 1e3);
    let results_per_s = middle(rates);
    Ok(LookupOutcome {
        name,
        lookups: lookups.len(),
        wrong,
        results,
        results_per_s,
        widest: widest.0,
        first_us,
    })
}

/// How many users are answered otherwise by a check: of those that are named all, of the others some.
fn wrongly_named(
    snapshot: Snapshot<'_>,
    resource: &ResourceRef,
    named: &HashSet<&str>,
    excluded: Option<&HashSet<&str>>,
) -> Result<u64, Failure> {
    let context = Context::default();
    let (users, _) = snapshot.root.types().find(|(_, name)| *name == "user").ok_or("there are no users")?;
    let mut wrong = 0;
    for number in 0..snapshot.root.object_count(users) {
        let id = snapshot.root.object_id(users, number);
        let is_named = named.contains(id);
        if id == WILDCARD || !(is_named || number % UNNAMED_STEP == 0) {
            continue;
        }
        let is_found = is_named || excluded.is_some_and(|excluded| !excluded.contains(id));
        let subject = SubjectRef { object_type: "user".to_owned(), object_id: id.to_owned(), relation: None };
        let asked = Question { resource, permission: PERMISSION, subject: &subject, context: &context };
        let answer = Check::open(snapshot, asked, Limits::default())?.answer()?;
        wrong += u64::from(is_found != (answer.permissionship == Permissionship::Has));
    }
    Ok(wrong)
}

/// With fuel without end there is always an answer.
fn taken<T, E>(progress: Result<Progress<Option<T>>, E>) -> Result<Option<T>, Failure>
where
    Failure: From<E>,
{
    match progress? {
        Progress::Done(found) => Ok(found),
        Progress::More => Err("a lookup paused though it had fuel".into()),
    }
}

fn per_second(count: u64, start: Instant) -> u64 {
    (count as f64 / start.elapsed().as_secs_f64()) as u64
}

fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn print(root: &Root, bytes_each: f64, sets: &[SetOutcome], lookups: &[LookupOutcome]) {
    println!(
        "relationships {}   bytes each: counted {:.1}, resident {bytes_each:.1}",
        root.relationship_count(),
        counted_bytes_each(root)
    );
    println!(
        "{:<20} {:>8} {:>6} {:>10} {:>10} {:>10} {:>12}",
        "set", "checks", "wrong", "median ns", "p99 ns", "mean ns", "bulk item ns"
    );
    for set in sets {
        let SetOutcome { name, checks, wrong, median_ns, p99_ns, mean_ns, bulk_ns } = set;
        println!(
            "{name:<20} {checks:>8} {wrong:>6} {median_ns:>10} {p99_ns:>10} {mean_ns:>10} {bulk_ns:>12}"
        );
    }
    println!(
        "{:<20} {:>8} {:>6} {:>10} {:>10} {:>10} {:>12}",
        "lookup", "lookups", "wrong", "results", "results/s", "widest", "its first µs"
    );
    for lookup in lookups {
        let LookupOutcome { name, lookups, wrong, results, results_per_s, widest, first_us } = lookup;
        println!(
            "{name:<20} {lookups:>8} {wrong:>6} {results:>10} {results_per_s:>10} {widest:>10} {first_us:>12.1}"
        );
    }
}

fn as_json(root: &Root, bytes_each: f64, sets: &[SetOutcome], lookups: &[LookupOutcome]) -> Value {
    let sets: Vec<Value> = sets
        .iter()
        .map(|set| {
            json!({
                "set": set.name, "checks": set.checks, "wrong": set.wrong, "median_ns": set.median_ns,
                "p99_ns": set.p99_ns, "mean_ns": set.mean_ns, "bulk_item_ns": set.bulk_ns,
            })
        })
        .collect();
    let mut outcome = json!({
        "relationships": root.relationship_count(), "counted_bytes_each": counted_bytes_each(root),
        "resident_bytes_each": bytes_each, "sets": sets,
    });
    for lookup in lookups {
        outcome[format!("lookup_{}", lookup.name)] = json!({
            "lookups": lookup.lookups, "wrong": lookup.wrong, "results": lookup.results,
            "results_per_s": lookup.results_per_s, "widest_results": lookup.widest, "first_us": lookup.first_us,
        });
    }
    outcome
}

fn counted_bytes_each(root: &Root) -> f64 {
    root.memory().total_bytes() as f64 / root.relationship_count() as f64
}

/// Resident pages of this process, in bytes.
fn resident_bytes() -> Result<u64, Failure> {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).ok_or("cannot read /proc/self/statm")?;
    Ok(pages.parse::<u64>()? * PAGE_BYTES)
}
