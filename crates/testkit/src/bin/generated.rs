//! Asks the engine generated questions and compares it with the reference:
//! `generated --questions N --seed S --threads T [--failures DIRECTORY]`, or shows the world of one seed with the
//! reference's answers: `generated --show SEED`.
//!
//! Prints progress to standard error and the table of counts to standard output. Exit status 1 if anything
//! differs, or if a kind of question fell below its share.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use idhini_testkit::campaign::{Campaign, options_of, run};
use idhini_testkit::generate::world;
use idhini_testkit::golden::of_world;
use idhini_testkit::tally::Tally;

#[expect(clippy::disallowed_methods, reason = "the program's own clock, for the rate in its output")]
fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|i| arguments.get(i + 1)).cloned()
    };
    let number = |name: &str, default: u64| value(name).map_or(Ok(default), |v| v.parse::<u64>());
    if let Some(seed) = value("--show") {
        let seed = seed.parse().map_err(|e| io::Error::other(format!("not a seed: {e}")))?;
        let world = world(seed, &options_of(seed));
        write!(io::stdout(), "{}", of_world(&format!("seed {seed}"), &world))?;
        return Ok(ExitCode::SUCCESS);
    }
    let wrong = |e| io::Error::other(format!("not a number: {e}"));
    let campaign = Campaign {
        questions: number("--questions", 200_000).map_err(wrong)?,
        seed: number("--seed", 1).map_err(wrong)?,
        threads: usize::try_from(number("--threads", 2).map_err(wrong)?).unwrap_or(1),
    };
    let started = Instant::now();
    let progress = |tally: &Tally| {
        let seconds = started.elapsed().as_secs().max(1);
        let rate = tally.questions / seconds;
        let _ = writeln!(io::stderr(), "{} questions, {rate} a second", tally.questions);
    };
    let outcome = run(&campaign, &progress);
    let mut out = io::stdout().lock();
    writeln!(out, "| what | count | share |\n|---|---|---|\n{}", outcome.tally)?;
    writeln!(
        out,
        "seeds {} to {}, {} threads, {} s; {} differences",
        campaign.seed,
        outcome.seed_last,
        campaign.threads,
        started.elapsed().as_secs(),
        outcome.failures.len(),
    )?;
    for failure in &outcome.failures {
        writeln!(out, "\nseed {}: {}\n{}", failure.seed, failure.difference, failure.golden)?;
        if let Some(directory) = value("--failures").map(PathBuf::from) {
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join(format!("seed-{}.txt", failure.seed)), &failure.golden)?;
        }
    }
    let shortfalls = outcome.tally.shortfalls();
    write!(out, "{shortfalls}")?;
    let good = outcome.failures.is_empty() && shortfalls.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
