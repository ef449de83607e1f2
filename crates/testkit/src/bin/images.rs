//! What do images of a generated workload cost: writing, opening, the next one after some changes?
//!
//! Reads `schema.zed` and `relationships.txt` of a folder, as `workload` does. Every time is the median of several
//! runs, on the clock and on the processor (what others take of a shared machine is only in the first); chunks are
//! kept in memory: what a disk adds is not in it. Opened roots are held against the imaged ones.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use idhini_graph::{ChunkRef, Digest, Image, Manifest, Root};
use idhini_model::{Change, EntryKind, Relationship, Revision};
use idhini_testkit::rng::Rng;
use idhini_testkit::workload::{self, Failure, load};

/// Changes between two images, each an entry.
const CHANGES: usize = 1_000;
const RUNS: usize = 9;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: images FOLDER (made by the load kit's `gen`)");
        return ExitCode::from(2);
    };
    match run(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Chunks as a directory would keep them.
#[derive(Default)]
struct Kept(HashMap<Digest, Vec<u8>>);

impl Kept {
    fn sink(&mut self) -> impl FnMut(&Digest, &[u8]) -> Result<(), Infallible> {
        |digest, bytes| {
            self.0.insert(*digest, bytes.to_vec());
            Ok(())
        }
    }

    fn open(&self, manifest: &[u8]) -> Result<(Root, Image), Failure> {
        let manifest = Manifest::from_bytes(manifest)?;
        let read = |chunk: &ChunkRef| self.0.get(&chunk.digest).ok_or(std::io::ErrorKind::NotFound);
        Ok(Image::open(manifest, 0x5eed, |chunk| read(chunk).map_err(std::io::Error::from))?)
    }
}

fn run(folder: &str) -> Result<(), Failure> {
    let mut root = load(Path::new(folder))?;
    println!("relationships {}", root.relationship_count());
    let floor = root.revision();
    let whole = median(|| Image::write(&root, floor, |_, _| Ok::<(), Infallible>(())))?;
    let mut kept = Kept::default();
    let mut image = Image::write(&root, floor, kept.sink())?;
    let manifest = image.manifest().to_bytes();
    let whole_bytes = image.written().bytes + manifest.len() as u64;
    println!(
        "whole image            {} {:>10} bytes, {} chunks, of it the manifest {}",
        whole,
        whole_bytes,
        image.written().chunks,
        manifest.len()
    );
    let opened = median(|| kept.open(&manifest))?;
    println!("open                   {opened}");
    let (again, _) = kept.open(&manifest)?;
    let mut expected = root.clone();
    expected.forget_undo_below(floor);
    if again.content() != expected.content() {
        return Err("the opened root differs".into());
    }
    println!(
        "in memory {} bytes as loaded, {} as opened",
        root.memory().total_bytes(),
        again.memory().total_bytes()
    );
    let mut rng = Rng::new(1);
    let mut relationships = all(&root);
    for kind in ["random changes", "random changes", "one neighbourhood"] {
        change(&mut root, &mut relationships, &mut rng, kind == "one neighbourhood")?;
        next(&mut kept, &mut image, &root, floor, whole_bytes, kind)?;
    }
    let mut images = 3;
    while !image.written().is_base {
        change(&mut root, &mut relationships, &mut rng, false)?;
        let before = image.clone();
        image = before.write_next(&root, floor, kept.sink())?;
        images += 1;
        if image.written().is_base {
            let manifest = before.manifest().to_bytes();
            let bytes: u64 = before.manifest().chunks().map(|chunk| chunk.bytes).sum();
            let opened = median(|| kept.open(&manifest))?;
            println!(
                "open, {:>3} patches      {} {:>10} bytes in all",
                before.manifest().patch_count(),
                opened,
                bytes + manifest.len() as u64
            );
            let again = median(|| before.write_next(&root, floor, |_, _| Ok::<(), Infallible>(())))?;
            println!(
                "base again             {} {:>10} bytes, {} chunks, after {images} images",
                again,
                image.written().bytes,
                image.written().chunks
            );
        }
    }
    let (again, _) = kept.open(&image.manifest().to_bytes())?;
    let mut expected = root.clone();
    expected.forget_undo_below(floor);
    if again.content() != expected.content() {
        return Err("the root opened last differs".into());
    }
    Ok(())
}

/// Writes and reports the next image.
fn next(
    kept: &mut Kept,
    image: &mut Image,
    root: &Root,
    floor: Revision,
    whole_bytes: u64,
    kind: &str,
) -> Result<(), Failure> {
    let took = median(|| image.write_next(root, floor, |_, _| Ok::<(), Infallible>(())))?;
    let unchanged = image.clone();
    *image = unchanged.write_next(root, floor, kept.sink())?;
    let manifest = image.manifest().to_bytes();
    let bytes = image.written().bytes + manifest.len() as u64;
    println!(
        "{:>5} {kind:<17}{} {:>10} bytes ({:.2} % of a whole one), of it the manifest {}",
        CHANGES,
        took,
        bytes,
        100.0 * bytes as f64 / whole_bytes as f64,
        manifest.len()
    );
    let opened = median(|| kept.open(&manifest))?;
    println!("open                   {opened}");
    Ok(())
}

/// How long something takes, on the clock and on the processor.
struct Took {
    clock: Duration,
    processor: Duration,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [clock, processor] = [self.clock, self.processor].map(|took| took.as_secs_f64() * 1e3);
        write!(f, "{clock:>8.2} ms ({processor:>7.2} on the processor)")
    }
}

fn median<T, E>(mut once: impl FnMut() -> Result<T, E>) -> Result<Took, Failure>
where
    Failure: From<E>,
{
    let (mut clock, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (start, start_processor) = (Instant::now(), processor_time()?);
        let made = once()?;
        clock.push(start.elapsed());
        processor.push(processor_time()?.saturating_sub(start_processor));
        drop(made);
    }
    clock.sort_unstable();
    processor.sort_unstable();
    Ok(Took { clock: clock[RUNS / 2], processor: processor[RUNS / 2] })
}

/// What this thread has had of a processor.
fn processor_time() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().ok_or("cannot read /proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

fn all(root: &Root) -> Vec<Relationship> {
    let classes = root.classes().map(|(class, _)| class);
    let edges = classes.flat_map(|class| root.edges(class, 0).map(move |(r, s)| (class, r, s)));
    edges.filter_map(|(class, r, s)| root.relationship(class, r, s)).collect()
}

/// Deletes a relationship and creates another, a thousand changes in all, each an entry of its own.
fn change(
    root: &mut Root,
    relationships: &mut Vec<Relationship>,
    rng: &mut Rng,
    is_near: bool,
) -> Result<(), Failure> {
    let from = rng.below(relationships.len() - CHANGES);
    for at in 0..CHANGES / 2 {
        let place = if is_near { from + at } else { rng.below(relationships.len()) };
        let old = relationships[place].clone();
        let mut new = old.clone();
        // Half of the new ones name a new object.
        new.resource.object_id = match at % 2 {
            0 => format!("{}-{}", old.resource.object_id, root.revision()),
            _ => relationships[if is_near { from + at + 1 } else { rng.below(relationships.len()) }]
                .resource
                .object_id
                .clone(),
        };
        apply(root, Change::Deleted(old))?;
        if root.find(&new).is_none() {
            apply(root, Change::Created(new.clone()))?;
            relationships[place] = new;
        } else {
            relationships.swap_remove(place);
        }
    }
    Ok(())
}

fn apply(root: &mut Root, change: Change) -> Result<(), Failure> {
    workload::apply(root, EntryKind::Relationships(vec![change]))
}
