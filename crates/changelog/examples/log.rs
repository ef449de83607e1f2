//! How fast are appends to the embedded logs, next to a bare write and sync in the same run? How fast do they open?
//!
//! Usage: `log DIRECTORY [MILLISECONDS_A_CASE]`. Prints one line a case: appends a second, and the median and 99th
//! percentile of their latency in microseconds. The directory is made, and removed at the end.
//! `log --bare FILE MILLISECONDS` only writes and syncs, over a file that is there whole: the quickest sync that the disk
//! has.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use idhini_changelog::embedded::Options;
use idhini_changelog::{Batch, Changelog, EmbeddedStore, FileDisk, LogId, Record, Store, Writer};
use idhini_model::Revision;
use tokio::sync::Mutex;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CALLERS: [usize; 3] = [1, 8, 64];
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
const LOGS: [u64; 3] = [1, 100, 10_000];

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: log DIRECTORY [MILLISECONDS_A_CASE]");
        return ExitCode::from(2);
    };
    let milliseconds = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let done = match std::env::args().nth(2) {
        Some(of) if directory == "--open" => open(&of),
        Some(of) if directory == "--bare" => overwrites(Path::new(&of), std::env::args().nth(3)),
        _ => run(Path::new(&directory), Duration::from_millis(milliseconds)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path, time: Duration) -> Result<(), Failure> {
    fs::create_dir(directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    println!(
        "{:>8} {:>6} {:>7} {:>10} {:>9} {:>9}",
        "logs", "calls", "bytes", "a second", "p50 us", "p99 us"
    );
    for size in SIZES {
        let mut bare = bare(&directory.join("bare"), size, time)?;
        show("bare", "1", size, &mut bare, time);
        for callers in CALLERS {
            for logs in LOGS {
                let at = directory.join("store");
                let mut nanos = runtime.block_on(appends(at.clone(), callers, logs, size, time))?;
                show(&logs.to_string(), &callers.to_string(), size, &mut nanos, time);
                fs::remove_dir_all(at)?;
            }
        }
    }
    runtime.block_on(openings(&directory.join("store")))?;
    fs::remove_dir_all(directory)?;
    Ok(())
}

fn show(logs: &str, callers: &str, size: usize, nanos: &mut [u64], time: Duration) {
    nanos.sort_unstable();
    let at = |share: usize| nanos.get(nanos.len() * share / 100).copied().unwrap_or(0) / 1000;
    let rate = nanos.len() as f64 / time.as_secs_f64();
    println!("{logs:>8} {callers:>6} {size:>7} {rate:>10.0} {:>9} {:>9}", at(50), at(99));
}

/// One thread that appends to a file and syncs it, over and over.
fn bare(path: &Path, size: usize, time: Duration) -> Result<Vec<u64>, Failure> {
    let file = File::create(path)?;
    let (bytes, mut offset, mut nanos) = (vec![7; size], 0, Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < time {
        let start = Instant::now();
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        nanos.push(u64::try_from(start.elapsed().as_nanos())?);
        offset += size as u64;
    }
    fs::remove_file(path)?;
    Ok(nanos)
}

/// The same over what was written before.
fn overwrites(path: &Path, milliseconds: Option<String>) -> Result<(), Failure> {
    const FILE_BYTES: usize = 16 << 20;
    const SIZE: usize = 100;
    let time = Duration::from_millis(milliseconds.ok_or("usage: log --bare FILE MILLISECONDS")?.parse()?);
    let file = File::create(path)?;
    file.write_all_at(&vec![1; FILE_BYTES], 0)?;
    file.sync_all()?;
    let (bytes, mut nanos) = ([7; SIZE], Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < time {
        let start = Instant::now();
        file.write_all_at(&bytes, (nanos.len() * SIZE % (FILE_BYTES - SIZE)) as u64)?;
        file.sync_data()?;
        nanos.push(u64::try_from(start.elapsed().as_nanos())?);
    }
    fs::remove_file(path)?;
    show("bare", "1", SIZE, &mut nanos, time);
    Ok(())
}

struct Target {
    log: Arc<dyn Changelog>,
    head: Mutex<Revision>,
}

impl Target {
    /// Appends behind the last append that is under way, as a namespace's writer does.
    async fn append(&self, batch: Batch) -> Result<(), Failure> {
        let mut head = self.head.lock().await;
        let mut append = self.log.append(*head, batch);
        let first = std::future::poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await;
        head.0 += 1;
        drop(head);
        match first {
            Poll::Ready(answer) => answer?,
            Poll::Pending => append.await?,
        };
        Ok(())
    }
}

async fn appends(
    directory: PathBuf,
    callers: usize,
    logs: u64,
    size: usize,
    time: Duration,
) -> Result<Vec<u64>, Failure> {
    let store = EmbeddedStore::open(Arc::new(FileDisk::open(directory)?), &Options::new(1))?;
    let target = |id| Target { log: store.log(LogId(id)), head: Mutex::new(Revision(0)) };
    let targets: Arc<Vec<Target>> = Arc::new((0..logs).map(target).collect());
    let payload = Bytes::from(vec![7; size]);
    // So that the first segment is there.
    let record = || Record { chunks: vec![payload.clone()] };
    let batch = |sequence| Batch { writer: Writer { id: 1, sequence }, records: vec![record()] };
    for target in targets.iter().take(1) {
        target.append(batch(1)).await?;
    }
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (targets, batch) = (Arc::clone(&targets), batch(2));
            tokio::spawn(async move {
                let (mut nanos, mut at) = (Vec::new(), caller);
                while begin.elapsed() < time {
                    let start = Instant::now();
                    // A step that has no factor in common with the numbers of logs.
                    at += 7919;
                    targets[at % targets.len()].append(batch.clone()).await?;
                    nanos.push(u64::try_from(start.elapsed().as_nanos())?);
                }
                Ok::<_, Failure>(nanos)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    store.close().await?;
    Ok(all)
}

/// 10,000 logs of 100 entries of 100 bytes, closed and killed.
async fn openings(directory: &Path) -> Result<(), Failure> {
    let store = EmbeddedStore::open(Arc::new(FileDisk::open(directory)?), &Options::new(1))?;
    let payload = Bytes::from(vec![7; 100]);
    for round in 0..20 {
        let logs: Vec<_> = (0..10_000).map(|id| store.log(LogId(id))).collect();
        let appends = logs.iter().map(|log| {
            let records = (0..5).map(|_| Record { chunks: vec![payload.clone()] }).collect();
            log.append(Revision(round * 5), Batch { writer: Writer { id: 1, sequence: round + 1 }, records })
        });
        let mut appends: Vec<_> = appends.collect();
        std::future::poll_fn(|context| {
            appends.retain_mut(|append| append.as_mut().poll(context).is_pending());
            if appends.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    store.close().await?;
    let bytes: u64 = store.segments().iter().map(|segment| segment.bytes).sum();
    let entries = store.log(LogId(9_999)).head().await?.revision.0;
    drop(store);
    println!("{} MB of {entries} entries in each of 10,000 logs", bytes >> 20);
    for _ in 0..3 {
        // In a process of its own, which has not yet used any memory.
        let status =
            std::process::Command::new(std::env::current_exe()?).arg("--open").arg(directory).status()?;
        if !status.success() {
            return Err("it does not open".into());
        }
    }
    fs::remove_dir_all(directory)?;
    Ok(())
}

fn open(directory: &str) -> Result<(), Failure> {
    let before = resident_bytes()?;
    let start = Instant::now();
    let store = EmbeddedStore::open(Arc::new(FileDisk::open(directory)?), &Options::new(1))?;
    let took = start.elapsed();
    let resident = resident_bytes()?.saturating_sub(before);
    println!(
        "open in {took:?}, {:.1} MB of memory, {} segments",
        resident as f64 / 1e6,
        store.segments().len()
    );
    Ok(())
}

fn resident_bytes() -> Result<u64, Failure> {
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).ok_or("cannot read /proc/self/statm")?;
    Ok(pages.parse::<u64>()? * PAGE_BYTES)
}
