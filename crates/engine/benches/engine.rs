//! What does a question cost, from names to answer? `cargo bench -p idhini-engine`
//!
//! On the load kit's workload when `IDHINI_WORKLOAD` names its folder, else on a small one of the same shapes. Every
//! answer is held against the right one.

#![allow(clippy::unwrap_used, reason = "a program for people, on input that they choose")]

#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../../testkit/src/folder.rs"]
mod folder;

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use folder::{SETS, Workload};
use idhini_engine::{
    Check, CheckBulk, Limits, LookupResources, LookupSubjects, Permissionship, Plans, Progress, Question,
    Snapshot,
};
use idhini_model::{Context, Timestamp};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BULK_ITEMS: usize = 100;

static WORKLOAD: LazyLock<Workload> = LazyLock::new(|| Workload::of_environment().unwrap());
static PLANS: LazyLock<Plans> = LazyLock::new(|| Plans::compile(&WORKLOAD.root).unwrap());
static CONTEXT: LazyLock<Context> = LazyLock::new(Context::default);

fn main() {
    divan::main();
}

fn snapshot() -> Snapshot<'static> {
    Snapshot { root: &WORKLOAD.root, plans: &PLANS, instant: Timestamp::from_seconds(1_800_000_000) }
}

fn question(query: &'static folder::Query) -> Question<'static> {
    Question {
        resource: &query.resource,
        permission: &query.permission,
        subject: &query.subject,
        context: &CONTEXT,
    }
}

#[divan::bench(args = SETS, sample_count = 1000)]
fn check(bencher: Bencher<'_, '_>, set: &str) {
    let (snapshot, mut queries) = (snapshot(), WORKLOAD.questions.set(set).iter().cycle());
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let query = queries.next().unwrap();
        let answer = Check::open(snapshot, question(query), Limits::default()).unwrap().answer().unwrap();
        assert_eq!(answer.permissionship == Permissionship::Has, query.is_granted);
    });
}

#[divan::bench(args = SETS, sample_count = 200)]
fn check_bulk(bencher: Bencher<'_, '_>, set: &str) {
    let (snapshot, mut bulks) = (snapshot(), WORKLOAD.questions.set(set).chunks_exact(BULK_ITEMS).cycle());
    bencher.counter(ItemsCount::new(BULK_ITEMS)).bench_local(|| {
        let queries = bulks.next().unwrap();
        let mut bulk = CheckBulk::open(snapshot, queries.iter().map(question).collect(), Limits::default());
        let Progress::Done(answers) = bulk.advance(u64::MAX) else { unreachable!("it had fuel without end") };
        for (query, answer) in queries.iter().zip(answers) {
            assert_eq!(answer.unwrap().permissionship == Permissionship::Has, query.is_granted);
        }
    });
}

/// Results a second of the one with the most.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn lookup_resources(bencher: Bencher<'_, '_>) {
    let (snapshot, lookups) = (snapshot(), &WORKLOAD.questions.lookup_resources);
    let widest = lookups.iter().max_by_key(|asked| asked.results).unwrap();
    bencher.counter(ItemsCount::new(widest.results)).bench_local(|| {
        let target = ("document", "view");
        let lookup =
            LookupResources::open(snapshot, target, &widest.subject, &CONTEXT, None, Limits::default());
        let mut lookup = lookup.unwrap();
        let mut results = 0;
        while let Progress::Done(Some(_)) = lookup.advance(u64::MAX).unwrap() {
            results += 1;
        }
        assert_eq!(results, widest.results);
    });
}

/// All of them, one after the other.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn lookup_subjects(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    bencher.bench_local(|| {
        let mut results = 0;
        for resource in &WORKLOAD.questions.lookup_subjects {
            let asked = (resource, "view");
            let of = ("user", None);
            let lookup = LookupSubjects::open(snapshot, asked, of, &CONTEXT, None, Limits::default());
            let mut lookup = lookup.unwrap();
            while let Progress::Done(Some(_)) = lookup.advance(u64::MAX).unwrap() {
                results += 1;
            }
        }
        results
    });
}
