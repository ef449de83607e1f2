//! How fast does a node of many small namespaces start, and what do they take? `namespaces DIRECTORY [NAMESPACES]`.
//!
//! Makes NAMESPACES (default 10,000) of 100 relationships in DIRECTORY, and then starts anew from it, each time in a
//! process of its own: until the first namespace has given a right answer, until all have, and with a budget that only
//! some fit into. Prints milliseconds, open namespaces, and resident bytes beside those that the process had before.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, FileDisk, LogId};
use idhini_engine::{Check, Limits, Permissionship, Question};
use idhini_model::{Context, Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_replica::{Namespace, Node, NodeOptions, Parts, Wanted};

const RELATIONSHIPS: u64 = 100;
/// Bytes of graphs that may be open together in the last measurement.
const BUDGET_BYTES: u64 = 64 << 20;
/// Namespaces that are made side by side.
const MAKERS: u64 = 64;

const SCHEMA: &str = "definition user {}
definition group { relation member: user | group#member }
definition document {
    relation viewer: user | group#member
    relation banned: user
    permission view = viewer - banned
}";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ran = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [directory] => all(directory, 10_000).await,
        [directory, count] => match count.parse() {
            Ok(count) => all(directory, count).await,
            Err(error) => Err(Failure::from(error)),
        },
        ["--start", directory, asked, budget_bytes] => start(directory, asked, budget_bytes).await,
        _ => {
            eprintln!(
                "usage: namespaces DIRECTORY [NAMESPACES] (the directory is made, and removed at the end)"
            );
            return ExitCode::from(2);
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn all(directory: &str, count: u64) -> Result<(), Failure> {
    std::fs::create_dir(directory)?;
    let measured = measure(directory, count).await;
    std::fs::remove_dir_all(directory)?;
    measured
}

async fn measure(directory: &str, count: u64) -> Result<(), Failure> {
    make(directory, count).await?;
    let bytes = bytes_below(Path::new(directory))?;
    println!("{count} namespaces of {RELATIONSHIPS} relationships, {:.1} MB on disk", megabytes(bytes));
    println!("| start | ms | namespaces open | resident, MB |\n|---|---|---|---|");
    let no_budget = u64::MAX.to_string();
    for (asked, budget_bytes) in
        [("1", &no_budget), (&count.to_string(), &no_budget), (&count.to_string(), &BUDGET_BYTES.to_string())]
    {
        // A process of its own, so that nothing is there but what it opened.
        let status = Command::new(std::env::current_exe()?)
            .args(["--start", directory, asked, budget_bytes])
            .status()?;
        if !status.success() {
            return Err("a start failed".into());
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn bytes_below(directory: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Bytes of this process that are in memory.
fn resident_bytes() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

fn node(directory: &str, memory_bytes_max: u64) -> Result<(Arc<Node>, Arc<EmbeddedStore>), Failure> {
    let disk: Arc<FileDisk> = Arc::new(FileDisk::open(directory)?);
    let store = Arc::new(EmbeddedStore::open(Arc::clone(&disk) as _, &LogOptions::new(1))?);
    let parts = Parts {
        store: Arc::clone(&store) as _,
        disk: Some(disk),
        clock: Arc::new(|| Timestamp::from_seconds(1_800_000_000)),
        report: Arc::new(|text: &str| eprintln!("{text}")),
    };
    Ok((Arc::new(Node::new(parts, NodeOptions { memory_bytes_max, ..NodeOptions::default() })), store))
}

async fn make(directory: &str, count: u64) -> Result<(), Failure> {
    let (node, store) = node(directory, BUDGET_BYTES)?;
    let makers = (0..MAKERS).map(|maker| {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            for id in (1..=count).filter(|id| id % MAKERS == maker) {
                let namespace = node.namespace(LogId(id)).await?;
                namespace.write_schema(SCHEMA.to_owned(), Wanted::always()).await?;
                namespace.import(relationships(id)?, Wanted::always()).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for made in makers.collect::<Vec<_>>() {
        made.await??;
    }
    store.close().await?;
    Ok(())
}

fn relationships(id: u64) -> Result<Vec<Relationship>, Failure> {
    let text = |n: u64| match n % 4 {
        0 => format!("group:g{}#member@user:u{n}", n % 8),
        1 => format!("document:d{n}#viewer@group:g{}#member", n % 8),
        _ => format!("document:d{n}#viewer@user:of{id}-{}", n % 10),
    };
    (0..RELATIONSHIPS).map(|n| Ok(text(n).parse()?)).collect()
}

async fn start(directory: &str, asked: &str, budget_bytes: &str) -> Result<(), Failure> {
    let asked: u64 = asked.parse()?;
    let before = resident_bytes()?;
    let started = Instant::now();
    let (node, store) = node(directory, budget_bytes.parse()?)?;
    for id in 1..=asked {
        let namespace = node.namespace(LogId(id)).await?;
        let (own, other) =
            (may(&namespace, &format!("of{id}-2"))?, may(&namespace, &format!("of{}-2", id + 1))?);
        if (own, other) != (true, false) {
            return Err(format!("namespace {id} answers {own} and {other}").into());
        }
    }
    let took = started.elapsed();
    let (open, _) = node.usage();
    let what = match (asked, budget_bytes == u64::MAX.to_string()) {
        (1, _) => "until the first namespace answers right".to_owned(),
        (_, true) => "until all have answered right".to_owned(),
        (_, false) => format!("the same, with a budget of {:.0} MB", megabytes(BUDGET_BYTES)),
    };
    let resident = resident_bytes()?.saturating_sub(before);
    println!("| {what} | {:.0} | {open} | {:.0} |", took.as_secs_f64() * 1e3, megabytes(resident));
    store.close().await?;
    Ok(())
}

/// Whether this user may view document 2.
fn may(namespace: &Namespace, user: &str) -> Result<bool, Failure> {
    let head = namespace.head();
    let snapshot = head.snapshot(namespace.now()).ok_or("no schema")?;
    let question = Question {
        resource: &ResourceRef::new("document", "d2"),
        permission: "view",
        subject: &SubjectRef::object("user", user),
        context: &Context::default(),
    };
    let answer = Check::open(snapshot, question, Limits::default())?.answer()?;
    Ok(answer.permissionship == Permissionship::Has)
}
