//! The real binary, killed at random moments again and again, over one data directory: whatever was acknowledged is
//! there, whatever was refused is not, what was in flight is whole or absent, every token works, and a watch replays all
//! of it in order.
//!
//! Eight writers run until the kill. After the next start a watch from where the last one ended is held against the
//! plainest judge of their requests, entry by entry, and what is read against what that leads to. The seed chooses the
//! requests and the moments; the machine chooses what they meet.

pub mod model;
mod reconnects;
mod replay;
mod writers;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use self::model::Rng;
use self::replay::{Ledger, Watched};
use crate::process::{KEY, Server, binary, folder};

/// Kills of a quick run, and the variable that says how many else.
const KILLS: u64 = 12;
const KILLS_VARIABLE: &str = "IDHINI_KILLS";
const SEED_VARIABLE: &str = "IDHINI_KILLS_SEED";
/// Writers write so long at most before they are killed.
const LIFE_MS_MAX: u64 = 60;
/// Every so many lives one is longer.
const LONG_LIVES: u64 = 10;
const LONG_LIFE_MS: u64 = 400;
/// A process that is killed before it listens lives so long at most.
const START_MS_MAX: u64 = 40;
/// The history of the last third of the lives, in which the log is trimmed.
pub const SHORT_HISTORY: Duration = Duration::from_secs(3);

/// What is tried.
struct Plan {
    kills: u64,
    seed: u64,
    environment: Vec<(&'static str, &'static str)>,
}

/// What was met.
#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    at_start: u64,
    slowest_start: Duration,
    slowest_look: Duration,
    slowest_end: Duration,
    ledger: replay::Counts,
    segments: BTreeSet<PathBuf>,
    images: BTreeSet<PathBuf>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { kills, at_start, ledger, segments, images, .. } = self;
        writeln!(f, "kills                                 {kills}")?;
        writeln!(f, "of these before the server listened   {at_start}")?;
        write!(f, "{ledger}")?;
        writeln!(f, "segments seen                         {}", segments.len())?;
        writeln!(f, "images seen                           {}", images.len())?;
        writeln!(f, "slowest start                         {:?}", self.slowest_start)?;
        writeln!(f, "slowest look at what is there         {:?}", self.slowest_look)?;
        writeln!(f, "slowest end of writers after a kill   {:?}", self.slowest_end)
    }
}

fn command(data: &Path, schema: &Path, plan: &Plan, is_trimming: bool) -> Command {
    let mut command = binary();
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
    command.arg("--data-dir").arg(data).arg("--schema").arg(schema);
    // Small, so that each life has a share in images, in steps from one segment to the next, and in compaction.
    command.args(["--image-changes", "200", "--segment-bytes", "65536"]);
    let short = format!("{}s", SHORT_HISTORY.as_secs());
    command.args(["--history", if is_trimming { &short } else { "forever" }]);
    command.envs(plan.environment.iter().copied());
    command
}

/// Lives and kills; `Err` says what did not hold.
async fn run(plan: &Plan, counts: &mut Counts) -> Result<(), String> {
    let folder = folder(&[("s.zed", &writers::schema(0))]);
    let (data, schema) = (folder.join("data"), folder.join("s.zed"));
    let mut rng = Rng(plan.seed);
    // Before the first kill the schema is there, so that everything is a change of something.
    let server = Server::of(command(&data, &schema, plan, false));
    let mut ledger = Ledger::begin(&server).await?;
    server.kill();
    let mut life = 0;
    let mut requests = Vec::new();
    let mut live = Watched::default();
    let mut is_trimming = false;
    loop {
        if rng.chance(15) {
            let mut child = command(&data, &schema, plan, is_trimming).stdout(Stdio::null()).spawn().unwrap();
            tokio::time::sleep(Duration::from_micros(rng.below(START_MS_MAX * 1_000))).await;
            child.kill().unwrap();
            child.wait().unwrap();
            counts.kills += 1;
            counts.at_start += 1;
        }
        let begun = Instant::now();
        let server = Server::of(command(&data, &schema, plan, is_trimming));
        counts.slowest_start = counts.slowest_start.max(begun.elapsed());
        let begun = Instant::now();
        let verified = ledger.verify(&server, std::mem::take(&mut requests), &live, &mut rng).await;
        counts.ledger = ledger.counts.clone();
        verified.map_err(|wrong| format!("after life {life}: {wrong}"))?;
        counts.slowest_look = counts.slowest_look.max(begun.elapsed());
        look(&data, counts);
        if !is_trimming && counts.kills * 3 >= plan.kills * 2 {
            ledger.replay_all(&server).await.map_err(|wrong| format!("from the first token: {wrong}"))?;
            is_trimming = true;
        }
        if counts.kills >= plan.kills {
            break;
        }
        life += 1;
        ledger.begins();
        let watching = tokio::spawn(replay::watch_live(ledger.watch(&server).await?));
        let writing: Vec<_> = (0..writers::WRITERS)
            .map(|writer| {
                tokio::spawn(writers::write(server.address.clone(), plan.seed, writer, life, || false))
            })
            .collect();
        let long = if life % LONG_LIVES == 0 { LONG_LIFE_MS } else { 0 };
        tokio::time::sleep(Duration::from_micros(rng.below(LIFE_MS_MAX * 1_000) + long * 1_000)).await;
        server.kill();
        counts.kills += 1;
        let begun = Instant::now();
        for writer in writing {
            requests.extend(writer.await.unwrap());
        }
        live = watching.await.unwrap();
        counts.slowest_end = counts.slowest_end.max(begun.elapsed());
    }
    Ok(())
}

/// Notes which segments and images there are.
fn look(data: &Path, counts: &mut Counts) {
    let files = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    counts.segments.extend(files(data.join("log")));
    let logs = files(data.join("images"));
    let images = logs.into_iter().flat_map(files);
    counts.images.extend(images.filter(|path| path.extension().is_some_and(|suffix| suffix == "image")));
}

/// Of the environment, if it is there.
fn number(variable: &str, or: u64) -> u64 {
    std::env::var(variable).map_or(or, |text| text.parse().unwrap())
}

#[expect(clippy::print_stderr, reason = "for whoever runs it with --nocapture, or looks at what failed")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_every_kill_and_nothing_else_does() {
    let plan = Plan {
        kills: number(KILLS_VARIABLE, KILLS),
        seed: number(SEED_VARIABLE, 1),
        environment: Vec::new(),
    };
    let mut counts = Counts::default();
    let held = run(&plan, &mut counts).await;
    say(&format!("seed                                  {}\n{counts}", plan.seed));
    if let Err(wrong) = held {
        panic!("{wrong}");
    }
    // It has met what it is there for.
    assert!(counts.ledger.acknowledged > 0, "{counts}");
    // How much a life is depends on the machine; many lives are enough in any case.
    assert!(plan.kills < 100 || counts.segments.len() > 3 && counts.images.len() > 3, "{counts}");
}

/// The test notices when what it tests is wrong.
#[cfg(feature = "broken")]
mod broken {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_that_answers_before_it_appends_loses_what_it_acknowledged() {
        let environment = vec![("IDHINI_BROKEN_LOG", "AcknowledgesBeforeAppend")];
        let plan = Plan { kills: 200, seed: number(SEED_VARIABLE, 1), environment };
        let mut counts = Counts::default();
        let wrong = run(&plan, &mut counts).await.unwrap_err();
        say(&format!("noticed after {} kills: {wrong}", counts.kills));
        assert!(wrong.contains("acknowledged"), "{wrong}");
    }
}
