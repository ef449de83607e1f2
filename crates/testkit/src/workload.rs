//! Workload folders of the load kit: a schema and relationships, loaded as a log would bring them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use idhini_graph::Root;
use idhini_model::{Change, Entry, EntryKind, Relationship};

/// Relationships per entry.
const ENTRY_CHANGES_MAX: usize = 100_000;

/// What went wrong, for a measuring program to print.
pub type Failure = Box<dyn std::error::Error>;

/// The relationships of a folder in the order of their lines, read as they are asked for.
///
/// # Errors
/// If there is no file; each item if its line cannot be read.
pub fn relationships(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<Relationship, Failure>> + use<>, Failure> {
    let lines = BufReader::new(File::open(folder.join("relationships.txt"))?).lines();
    Ok(lines.map(|line| Ok(line?.parse::<Relationship>()?)))
}

/// The root of a folder: its schema, then its relationships in entries of 100,000.
///
/// # Errors
/// If a file cannot be read, or the schema has no place for a relationship.
pub fn load(folder: &Path) -> Result<Root, Failure> {
    let mut root = Root::empty();
    let schema = std::fs::read_to_string(folder.join("schema.zed"))?;
    apply(&mut root, EntryKind::Schema { new: schema, old: String::new() })?;
    let mut relationships = relationships(folder)?.map(|read| read.map(Change::Created)).peekable();
    while relationships.peek().is_some() {
        let changes = relationships.by_ref().take(ENTRY_CHANGES_MAX).collect::<Result<Vec<Change>, _>>()?;
        apply(&mut root, EntryKind::Relationships(changes))?;
    }
    Ok(root)
}

/// Applies the next entry.
///
/// # Errors
/// If it does not apply.
pub fn apply(root: &mut Root, kind: EntryKind) -> Result<(), Failure> {
    Ok(root.apply(&Entry { revision: root.revision().next(), kind })?)
}

/// What is resident of this process now, and at most so far, in bytes.
///
/// # Errors
/// If the system does not say.
pub fn resident_bytes() -> Result<(u64, u64), Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
        Ok::<u64, Failure>(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}
