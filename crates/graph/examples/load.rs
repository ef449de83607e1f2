//! How fast does a graph load, how large is it, what does one more relationship cost, what does a lookup?
//!
//! `cargo run --release -p idhini-graph --example load -- SCHEMA RELATIONSHIPS [RELATIONSHIPS_AN_ENTRY]`
//!
//! Reads relationships in their text form, one a line, and loads them in entries of the given size (default 1,000;
//! 0 is one entry with all). Times are CPU times of the one thread, so that a busy machine disturbs less.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people, on input that they choose"
)]

use std::hint::black_box;
use std::time::Duration;

use idhini_graph::{ClassId, Root};
use idhini_model::{Change, Entry, EntryKind, Relationship};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Relationships written singly, and lookups made, for a figure.
const WRITES: usize = 5_000;
const LOOKUPS: usize = 2_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(schema), Some(relationships)) = (arguments.next(), arguments.next()) else {
        println!("usage: load SCHEMA RELATIONSHIPS [RELATIONSHIPS_AN_ENTRY]");
        return;
    };
    let size = arguments.next().map_or(1_000, |size| size.parse().unwrap());
    let text = std::fs::read_to_string(relationships).unwrap();
    let schema = std::fs::read_to_string(schema).unwrap();

    let mut root = Root::empty();
    root.apply(&next(&root, EntryKind::Schema { new: schema, old: String::new() })).unwrap();
    load(&mut root, &text, size);
    let loaded = root.relationship_count() as usize;
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    report_memory(&root);

    let pairs = pairs(&root, &lines);
    write_singly(&mut root, &pairs);
    assert_eq!(root.relationship_count() as usize, loaded);
    look_up(&root, &pairs, &lines);
}

fn next(root: &Root, kind: EntryKind) -> Entry {
    Entry { revision: root.revision().next(), kind }
}

fn load(root: &mut Root, text: &str, size: usize) {
    let rss_before = rss();
    let (mut parsing, mut applying, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    while lines.peek().is_some() {
        let start = Cpu::now();
        let portion = lines.by_ref().take(if size == 0 { usize::MAX } else { size });
        let changes = portion.map(|line| Change::Created(line.parse().unwrap())).collect();
        let entry = next(root, EntryKind::Relationships(changes));
        parsing += start.elapsed();
        let start = Cpu::now();
        root.apply(&entry).unwrap();
        let took = start.elapsed();
        applying += took;
        longest = longest.max(took);
    }
    let loaded = root.relationship_count() as f64;
    let resident = rss().saturating_sub(rss_before) as f64 / loaded;
    println!("relationships            {loaded}");
    println!("parsed in                {parsing:?}");
    println!(
        "applied in               {applying:?} ({:.0}/s), longest entry {longest:?}",
        loaded / applying.as_secs_f64()
    );
    println!("resident a relationship  {resident:.2} B (with what the allocator keeps of parsed entries)");
}

fn report_memory(root: &Root) {
    let memory = root.memory();
    let each = |bytes: u64| bytes as f64 / root.relationship_count() as f64;
    println!("counted a relationship   {:.2} B", each(memory.total_bytes()));
    println!(
        "  names {:.2}  forward {:.2}  reverse {:.2}  attributes {:.2}  catalog {:.2}",
        each(memory.names_bytes),
        each(memory.forward_bytes),
        each(memory.reverse_bytes),
        each(memory.attributes_bytes),
        each(memory.catalog_bytes)
    );
}

/// Relationships that are not there: the object of one line with the subject of another.
fn pairs(root: &Root, lines: &[&str]) -> Vec<Relationship> {
    let mut random = Random(7);
    let mut pairs = Vec::new();
    while pairs.len() < WRITES {
        let mut pair: Relationship = lines[random.below(lines.len())].parse().unwrap();
        let other: Relationship = lines[random.below(lines.len())].parse().unwrap();
        if other.subject.object_type == pair.subject.object_type
            && other.subject.relation == pair.subject.relation
        {
            pair.subject = other.subject;
            if root.class_of(&pair).is_some() && root.find(&pair).is_none() {
                pairs.push(pair);
            }
        }
    }
    pairs.sort_by_key(Relationship::to_string);
    pairs.dedup();
    // Sorted to find doubles, then out of order again.
    for at in 0..pairs.len() {
        let other = random.below(pairs.len());
        pairs.swap(at, other);
    }
    pairs
}

fn write_singly(root: &mut Root, pairs: &[Relationship]) {
    let entries: Vec<Entry> = pairs
        .iter()
        .zip(root.revision().0 + 1..)
        .map(|(pair, revision)| Entry {
            revision: idhini_model::Revision(revision),
            kind: EntryKind::Relationships(vec![Change::Created(pair.clone())]),
        })
        .collect();
    let mut kept = Vec::with_capacity(entries.len());
    let rss_before = rss();
    let start = Cpu::now();
    for entry in &entries {
        kept.push(root.clone());
        root.apply(entry).unwrap();
    }
    let took = start.elapsed();
    let newer = kept.iter().skip(1).chain([&*root]);
    let copied: u64 = kept.iter().zip(newer).map(|(old, new)| new.memory_beyond(old).total_bytes()).sum();
    let grown = rss().saturating_sub(rss_before) / entries.len() as u64;
    println!(
        "one more, all roots kept {:.2} µs, {} B copied, {grown} B resident",
        micros(took, entries.len()),
        copied / entries.len() as u64
    );
    let start = Cpu::now();
    let roots = kept.len();
    kept.clear();
    println!("dropping an old root     {:.2} µs", micros(start.elapsed(), roots));

    let start = Cpu::now();
    for entry in entries.iter().rev() {
        let before = root.clone();
        root.undo(entry).unwrap();
        drop(before);
    }
    println!("undoing one, drop of the old root included {:.2} µs", micros(start.elapsed(), entries.len()));
    let start = Cpu::now();
    for entry in &entries {
        let before = root.clone();
        root.apply(entry).unwrap();
        drop(before);
    }
    println!("one more, drop of the old root included {:.2} µs", micros(start.elapsed(), entries.len()));
    let start = Cpu::now();
    for entry in entries.iter().rev() {
        root.undo(entry).unwrap();
    }
    println!("undoing one, unshared    {:.2} µs", micros(start.elapsed(), entries.len()));
    let start = Cpu::now();
    for _ in 0..LOOKUPS {
        black_box(root.clone());
    }
    println!("clone and drop of a root {:.1} ns", nanos(start.elapsed(), LOOKUPS));
}

fn look_up(root: &Root, absent: &[Relationship], lines: &[&str]) {
    let mut random = Random(11);
    let sample = |random: &mut Random| lines[random.below(lines.len())].parse::<Relationship>().unwrap();
    let present: Vec<Relationship> = (0..100_000).map(|_| sample(&mut random)).collect();
    let edges: Vec<(ClassId, u32, u32)> = present.iter().map(|r| root.edge_of(r).unwrap()).collect();
    let shuffled: Vec<(ClassId, u32, u32)> = (0..LOOKUPS).map(|_| edges[random.below(edges.len())]).collect();
    let each = |name: &str, run: &mut dyn FnMut(&(ClassId, u32, u32)) -> usize| {
        let start = Cpu::now();
        let sum: usize = shuffled.iter().map(run).sum();
        println!("{name:24} {:.1} ns (sum {sum})", nanos(start.elapsed(), shuffled.len()));
    };
    each("subjects", &mut |(class, r, _)| root.subjects(*class, *r).len());
    each("resources", &mut |(class, _, s)| root.resources(*class, *s).len());
    each("subjects + contains", &mut |(class, r, s)| usize::from(root.subjects(*class, *r).contains(*s)));
    each("subjects + all of them", &mut |(class, r, _)| {
        root.subjects(*class, *r).iter().map(|s| s as usize & 1).sum()
    });
    let absent: Vec<(ClassId, u32, u32)> = absent.iter().map(|r| root.edge_of(r).unwrap()).collect();
    let start = Cpu::now();
    let found = (0..LOOKUPS).filter(|at| {
        let (class, r, s) = absent[at % absent.len()];
        root.subjects(class, r).contains(s)
    });
    assert_eq!(found.count(), 0);
    println!("{:24} {:.1} ns", "contains, absent", nanos(start.elapsed(), LOOKUPS));
    let start = Cpu::now();
    for at in 0..LOOKUPS {
        black_box(root.edge_of(&present[at % present.len()]));
    }
    println!("{:24} {:.1} ns (class and two ids)", "from names to numbers", nanos(start.elapsed(), LOOKUPS));
    let start = Cpu::now();
    let edges: usize = root.classes().map(|(class, _)| root.edges(class, 0).count()).sum();
    println!("{:24} {:.1} ns", "walking edges, each", nanos(start.elapsed(), edges));
    let start = Cpu::now();
    let unused = root.unused_objects().len();
    println!("unused objects           {unused}, found in {:?}", start.elapsed());
}

fn micros(took: Duration, times: usize) -> f64 {
    took.as_secs_f64() * 1e6 / times as f64
}

fn nanos(took: Duration, times: usize) -> f64 {
    took.as_secs_f64() * 1e9 / times as f64
}

/// A moment in this thread's own CPU time.
struct Cpu(u64);

impl Cpu {
    fn now() -> Cpu {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Cpu(text.split(' ').next().unwrap().parse().unwrap())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(Cpu::now().0 - self.0)
    }
}

/// Resident bytes of this process.
fn rss() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE_BYTES
}

/// A small generator with a fixed seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
