//! What does a graph cost as it grows: memory by part, names and rows read, one more relationship, its image?
//!
//! Loads a workload folder of the load kit (see `workload`) of any size and prints everything by relationship or by
//! call. Reads are chained, each to begin when the one before it has ended, so that a figure is a latency; what the
//! allocator holds beyond the parts is in the resident bytes.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use idhini_graph::{ChunkRef, Image, Manifest, Root, TypeId};
use idhini_model::{Change, EntryKind, Relationship};
use idhini_testkit::folder::{Failure, apply, relationships, root_of};
use idhini_testkit::rng::Rng;

/// Relationships that are read, and that are changed.
const READS: usize = 400_000;
const WRITES: usize = 2_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: growth FOLDER (made by the load kit's `gen`)");
        return ExitCode::from(2);
    };
    match run(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path) -> Result<(), Failure> {
    let (before, _) = resident_bytes()?;
    let start = Instant::now();
    let root = root_of(folder)?;
    let seconds = start.elapsed().as_secs_f64();
    let count = root.relationship_count() as f64;
    let (now, most) = resident_bytes()?;
    println!("relationships            {count} in {seconds:.1} s: {:.0} a second", count / seconds);
    let each = |bytes: u64| bytes as f64 / count;
    println!("resident, bytes each     {:.1}, at most {:.1}", each(now - before), each(most - before));
    let memory = root.memory();
    println!(
        "by part, bytes each      {:.2}: names {:.2}, forward {:.2}, reverse {:.2}, other {:.4}",
        each(memory.total_bytes()),
        each(memory.names_bytes),
        each(memory.forward_bytes),
        each(memory.reverse_bytes),
        each(memory.catalog_bytes + memory.attributes_bytes)
    );
    let sample = sample(folder, root.relationship_count())?;
    read(&root, &sample)?;
    write(&root, &sample)?;
    image(&root)
}

/// Relationships from all over the folder, in no order.
fn sample(folder: &Path, count: u64) -> Result<Vec<Relationship>, Failure> {
    let every = (count as usize / READS).max(1);
    let mut sample = relationships(folder)?.step_by(every).take(READS).collect::<Result<Vec<_>, _>>()?;
    let mut rng = Rng::new(1);
    for at in (1..sample.len()).rev() {
        sample.swap(at, rng.below(at + 1));
    }
    // Anew, so that the texts lie in the order in which they are asked for, as those of requests do.
    Ok(sample.clone())
}

fn read(root: &Root, sample: &[Relationship]) -> Result<(), Failure> {
    let type_of = |name: &str| root.type_id(name).ok_or("a type that is not there");
    let mut named: Vec<(TypeId, TypeId, u32, &str, &str)> = Vec::with_capacity(sample.len());
    for relationship in sample {
        let class = root.class_of(relationship).ok_or("a class that is not there")?;
        let (resource, subject) = (&relationship.resource, &relationship.subject);
        let types = (type_of(&resource.object_type)?, type_of(&subject.object_type)?);
        let local = root.forward_local(class);
        named.push((types.0, types.1, local, &resource.object_id, &subject.object_id));
    }
    let names = chained(named.len(), |at| {
        let (resource_type, _, _, resource, _) = named[at];
        root.object(resource_type, resource).unwrap_or(u32::MAX)
    });
    let numbers: Vec<_> =
        named.iter().map(|(t, _, _, id, _)| root.object(*t, id).unwrap_or(u32::MAX)).collect();
    let rows = chained(named.len(), |at| {
        let (resource_type, _, local, ..) = named[at];
        root.forward_row(resource_type, numbers[at]).run(local).len() as u32
    });
    let ids = chained(named.len(), |at| root.object_id(named[at].0, numbers[at]).len() as u32);
    let missing = chained(named.len(), |at| {
        // A user's id is no document's, and the other way round.
        root.object(named[at].0, named[at].4).map_or(0, |number| number)
    });
    let edges = chained(named.len(), |at| {
        let (resource_type, subject_type, local, resource, subject) = named[at];
        let resource = root.object(resource_type, resource);
        let subject = root.object(subject_type, subject);
        match (resource, subject) {
            (Some(resource), Some(subject)) => {
                u32::from(root.forward_row(resource_type, resource).contains(local, subject))
            }
            _ => 2,
        }
    });
    println!(
        "read, ns                 number of an id {names:.0}, id of a number {ids:.0}, class of a row {rows:.0}"
    );
    println!("                         no number {missing:.0}, edge from two ids {edges:.0}");
    Ok(())
}

/// Nanoseconds a call, each call begun when the one before has ended: the median of portions.
fn chained(calls: usize, mut call: impl FnMut(usize) -> u32) -> f64 {
    const PORTIONS: usize = 100;
    let zero = black_box(0);
    let mut at = 0;
    let mut portions = [0.0; PORTIONS];
    for portion in &mut portions {
        let start = Instant::now();
        for _ in 0..calls / PORTIONS {
            at += 1 + (call(at) as usize & zero);
            at = if at < calls { at } else { 0 };
        }
        *portion = start.elapsed().as_nanos() as f64 / (calls / PORTIONS) as f64;
    }
    portions.sort_by(f64::total_cmp);
    portions[PORTIONS / 2]
}

/// Entries of one relationship, each on the root and with it kept: deleted, and made again for another object.
fn write(root: &Root, sample: &[Relationship]) -> Result<(), Failure> {
    for kind in ["deleted", "created", "created, with a new object"] {
        let (mut nanos, mut bytes) = (Vec::new(), 0);
        let entries = sample.windows(2).filter_map(|pair| {
            let old = pair[0].clone();
            let mut new = old.clone();
            match kind {
                "deleted" => return root.find(&old).map(Change::Deleted),
                "created" if pair[1].resource.object_type == old.resource.object_type => {
                    new.resource = pair[1].resource.clone();
                }
                "created" => return None,
                _ => new.resource.object_id = format!("{}-new", old.resource.object_id),
            }
            root.find(&new).is_none().then_some(Change::Created(new))
        });
        let entries: Vec<Change> = entries.take(WRITES).collect();
        for change in entries {
            let kind = EntryKind::Relationships(vec![change]);
            let mut next = root.clone();
            let start = Instant::now();
            apply(&mut next, kind)?;
            nanos.push(start.elapsed().as_nanos());
            bytes += next.memory_beyond(root).total_bytes();
        }
        nanos.sort_unstable();
        let count = nanos.len();
        let median = nanos.get(count / 2).copied().unwrap_or(0) as f64 / 1e3;
        println!("{kind:<24} {median:.1} µs, {} bytes of a root's own", bytes / count.max(1) as u64);
    }
    Ok(())
}

fn image(root: &Root) -> Result<(), Failure> {
    let mut chunks = std::collections::HashMap::new();
    let start = Instant::now();
    let image = Image::write(root, root.revision(), |digest, bytes| {
        chunks.insert(*digest, bytes.to_vec());
        Ok::<(), Infallible>(())
    })?;
    let wrote = start.elapsed().as_secs_f64();
    let bytes = image.written().bytes as f64 / root.relationship_count() as f64;
    println!("image                    {bytes:.2} bytes each, written in {wrote:.3} s");
    let manifest = Manifest::from_bytes(&image.manifest().to_bytes())?;
    let read = |chunk: &ChunkRef| chunks.get(&chunk.digest).ok_or(std::io::ErrorKind::NotFound);
    let start = Instant::now();
    let (opened, _) = Image::open(manifest, 0x5eed, |chunk| read(chunk).map_err(std::io::Error::from))?;
    println!("                         opened in {:.3} s", start.elapsed().as_secs_f64());
    (opened.relationship_count() == root.relationship_count())
        .then_some(())
        .ok_or("the opened root differs")?;
    Ok(())
}

/// What is resident of this process now, and at most so far, in bytes.
fn resident_bytes() -> Result<(u64, u64), Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
        Ok::<u64, Failure>(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}
