//! What does a question about the past cost? `past FOLDER [CHANGES]` over the workload of the load kit's `gen`.
//!
//! Imports the workload, writes CHANGES single relationships (default 200,000), each an entry of its own, with an image
//! every 50,000 as a server has it, and prints the time to pin revisions at growing distances from the newest, rebuilt
//! each time: once without images, undoing all the way, and once with them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use idhini_changelog::{FileDisk, LogId, MemoryStore, Store};
use idhini_model::{Relationship, ResourceRef, Revision, SubjectRef, Timestamp};
use idhini_replica::{Images, Namespace, Operation, Options, Update, Wanted, Write};

const LOG: LogId = LogId(1);
const IMAGE_CHANGES: u64 = 50_000;
const DISTANCES: [u64; 9] = [1, 10, 100, 1_000, 5_000, 25_000, 50_000, 100_000, 199_000];

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: past FOLDER [CHANGES] (a folder made by the load kit's `gen`)");
        return ExitCode::from(2);
    };
    let changes = arguments.next().map_or(Ok(200_000), |text| text.parse());
    let ran = match changes {
        Ok(changes) => run(&folder, changes).await,
        Err(error) => Err(Failure::from(error)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(folder: &str, changes: u64) -> Result<(), Failure> {
    let place = std::env::temp_dir().join(format!("idhini-past-{}", std::process::id()));
    let measured = measure(folder, changes, &place).await;
    // What is left behind harms nobody.
    let _ = std::fs::remove_dir_all(&place);
    measured
}

async fn measure(folder: &str, changes: u64, place: &std::path::Path) -> Result<(), Failure> {
    let disk: Arc<FileDisk> = Arc::new(FileDisk::open(place)?);
    let store = MemoryStore::new();
    let images = || Images::open(Arc::clone(&disk) as _, LOG, Arc::new(|text: &str| eprintln!("{text}")));
    let clock = Arc::new(|| Timestamp::from_seconds(1_800_000_000));
    // One revision is kept, so that every other one is rebuilt.
    let options = Options { kept_bytes_max: 0, ..Options::default() };
    let namespace = Namespace::open(store.log(LOG), Some(images()?), clock.clone(), options).await?;
    let schema = std::fs::read_to_string(format!("{folder}/schema.zed"))?;
    namespace.write_schema(schema, Wanted::always()).await?;
    let text = std::fs::read_to_string(format!("{folder}/relationships.txt"))?;
    let all = text.lines().map(str::parse).collect::<Result<Vec<Relationship>, _>>()?;
    let like = all.first().ok_or("the workload has no relationships")?.clone();
    namespace.import(all, Wanted::always()).await?;
    namespace.image().await?;
    for n in 0..changes {
        let relationship = Relationship {
            resource: ResourceRef::new(like.resource.object_type.as_str(), format!("past{}", n % 1_000)),
            subject: SubjectRef { object_id: format!("past{n}"), ..like.subject.clone() },
            ..like.clone()
        };
        let updates = vec![Update { operation: Operation::Touch, relationship }];
        namespace.write(Write { updates, ..Write::default() }, Wanted::always()).await?;
        if n % IMAGE_CHANGES == IMAGE_CHANGES - 1 {
            namespace.image().await?;
        }
    }
    let head = namespace.head().revision();
    let bare = Namespace::open(store.log(LOG), None, clock, options).await?;
    println!(
        "| changes back | undoing all the way | with an image every {IMAGE_CHANGES} changes |\n|---|---|---|"
    );
    for distance in DISTANCES.into_iter().filter(|distance| *distance < changes) {
        let asked = Revision(head.0 - distance);
        let without = timed(&bare, asked).await?;
        let with = timed(&namespace, asked).await?;
        println!("| {distance} | {without:.2} ms | {with:.2} ms |");
    }
    Ok(())
}

/// Milliseconds to pin a revision that nobody has asked for.
async fn timed(namespace: &Arc<Namespace>, asked: Revision) -> Result<f64, Failure> {
    // Not from one that was asked for before.
    namespace.forget_rebuilt(Timestamp::from_seconds(i64::MAX));
    let started = Instant::now();
    let pinned = namespace.at(asked).await?;
    let took = started.elapsed().as_secs_f64() * 1_000.0;
    if pinned.revision() != asked {
        return Err("another revision was pinned".into());
    }
    Ok(took)
}
