//! What do single steps on the graph cost? `cargo bench -p idhini-graph`
//!
//! On the load kit's workload when `IDHINI_WORKLOAD` names its folder, else on a small one of the same shapes.

#![allow(clippy::unwrap_used, reason = "a program for people, on input that they choose")]

#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../../testkit/src/folder.rs"]
mod folder;

use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::LazyLock;

use divan::Bencher;
use idhini_graph::{ClassId, Digest, Image, Manifest, Root};
use idhini_model::{Change, Entry, EntryKind, Relationship};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Edges that are asked for, spread over all of them.
const ASKED: usize = 4_096;

static ROOT: LazyLock<Root> = LazyLock::new(|| folder::Workload::of_environment().unwrap().root);
static EDGES: LazyLock<Vec<(ClassId, u32, u32)>> = LazyLock::new(edges);
/// The same in names.
static RELATIONSHIPS: LazyLock<Vec<Relationship>> =
    LazyLock::new(|| EDGES.iter().map(|&(c, r, s)| ROOT.relationship(c, r, s).unwrap()).collect());

fn main() {
    divan::main();
}

fn edges() -> Vec<(ClassId, u32, u32)> {
    let classes = ROOT.classes().map(|(class, _)| class);
    let all: Vec<_> =
        classes.flat_map(|class| ROOT.edges(class, 0).map(move |(r, s)| (class, r, s))).collect();
    // A stride that meets them all out of order, so that neighbours do not warm each other's lines.
    let stride = (all.len() as f64 * 0.618) as usize | 1;
    (0..ASKED).map(|at| all[at * stride % all.len()]).collect()
}

/// The items in turn, without end.
fn in_turn<T>(items: &'static [T]) -> impl FnMut() -> &'static T {
    let mut all = items.iter().cycle();
    move || all.next().unwrap()
}

#[divan::bench]
fn object_by_name(bencher: Bencher<'_, '_>) {
    let mut next = in_turn(&RELATIONSHIPS);
    let (type_of, root) = (|r: &Relationship| ROOT.class(ROOT.class_of(r).unwrap()).resource_type, &*ROOT);
    let types: HashMap<&str, _> =
        RELATIONSHIPS.iter().map(|r| (&*r.resource.object_type, type_of(r))).collect();
    let mut named = move || next();
    bencher
        .with_inputs(|| {
            let relationship = named();
            (types[&*relationship.resource.object_type], &*relationship.resource.object_id)
        })
        .bench_local_values(|(object_type, id)| root.object(object_type, id));
}

#[divan::bench]
fn edge_by_names(bencher: Bencher<'_, '_>) {
    let mut next = in_turn(&RELATIONSHIPS);
    bencher.bench_local(|| ROOT.edge_of(next()));
}

#[divan::bench]
fn row_of_resource(bencher: Bencher<'_, '_>) {
    let mut next = in_turn(&EDGES);
    bencher.bench_local(|| {
        let &(class, resource, _) = next();
        ROOT.subjects(class, resource).get(0)
    });
}

#[divan::bench]
fn row_of_subject(bencher: Bencher<'_, '_>) {
    let mut next = in_turn(&EDGES);
    bencher.bench_local(|| {
        let &(class, _, subject) = next();
        ROOT.resources(class, subject).get(0)
    });
}

#[divan::bench]
fn contains(bencher: Bencher<'_, '_>) {
    let mut next = in_turn(&EDGES);
    bencher.bench_local(|| {
        let &(class, resource, subject) = next();
        ROOT.subjects(class, resource).contains(subject)
    });
}

/// One relationship deleted while the old root is kept, and put back.
#[divan::bench(sample_count = 1000, sample_size = 1)]
fn apply_one_entry_keeping_the_old_root(bencher: Bencher<'_, '_>) {
    let mut next = in_turn(&RELATIONSHIPS);
    bencher
        .with_inputs(|| {
            let kind = EntryKind::Relationships(vec![Change::Deleted(next().clone())]);
            Entry { revision: ROOT.revision().next(), kind }
        })
        .bench_local_refs(|entry| {
            let mut root = ROOT.clone();
            root.apply(entry).unwrap();
            root
        });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn write_an_image(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        Image::write(&ROOT, ROOT.revision(), |_, bytes| {
            black_box(bytes);
            Ok::<(), Infallible>(())
        })
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn open_an_image(bencher: Bencher<'_, '_>) {
    let mut chunks: HashMap<Digest, Vec<u8>> = HashMap::new();
    let keep = |digest: &Digest, bytes: &[u8]| {
        chunks.insert(*digest, bytes.to_vec());
        Ok::<(), Infallible>(())
    };
    let manifest = Image::write(&ROOT, ROOT.revision(), keep).unwrap().manifest().to_bytes();
    bencher.bench_local(|| {
        let manifest = Manifest::from_bytes(&manifest).unwrap();
        let read =
            |chunk: &idhini_graph::ChunkRef| chunks.get(&chunk.digest).ok_or(std::io::ErrorKind::NotFound);
        Image::open(manifest, 0x5eed, |chunk| read(chunk).map_err(std::io::Error::from)).unwrap()
    });
}
