//! What does telling cost the thread of a call? `cargo bench -p idhini-audit`

#![allow(clippy::unwrap_used, reason = "a program for people")]

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use idhini_audit::{Actor, Event, FileOptions, Keys, Options, Outcome, Seeds, Surroundings, Trail};
use idhini_model::{Revision, Timestamp};

fn main() {
    divan::main();
}

static TRAIL: LazyLock<Trail> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("idhini-audit-bench-{}", std::process::id()));
    let file = FileOptions { keep_files: Some(2), ..FileOptions::new(directory) };
    let options = Options { file: Some(file), queue_records_max: 1 << 20, ..Options::default() };
    let surroundings = Surroundings {
        keys: Arc::new(Keys::new(&Seeds { signing: [1; 32], hashing: [2; 32] }).unwrap()),
        clock: Arc::new(|| Timestamp::from_seconds(1_800_000_000)),
        report: Arc::new(|_| {}),
    };
    Trail::open(&options, surroundings).unwrap()
});
static ACTOR: LazyLock<Arc<Actor>> = LazyLock::new(|| {
    let address = Some("127.0.0.1:50051".into());
    Arc::new(Actor { accessor: Some("acc-0123456789".into()), certificate: None, address })
});

/// As a check fills it in: names are shared, the request id and the resource are of this call.
fn event(namespace: &Arc<str>) -> Event {
    Event {
        namespace: Some(Arc::clone(namespace)),
        resource: Some("document:readme".into()),
        ..Event::new(
            Timestamp::from_seconds(1_800_000_000),
            "0123456789abcdef".into(),
            Arc::clone(&ACTOR),
            "CheckPermission",
        )
    }
}

/// The event made and handed over.
#[divan::bench(sample_count = 1000, sample_size = 100)]
fn decision(bencher: Bencher) {
    let namespace: Arc<str> = "root".into();
    LazyLock::force(&TRAIL);
    bencher.bench_local(|| {
        let outcome = Outcome::Accepted { revision: Some(Revision(7)), answer: Some(Cow::Borrowed("has")) };
        TRAIL.decision(event(&namespace), outcome);
    });
}

/// A change: intent and outcome, each synced, one call at a time.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn change(bencher: Bencher) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let namespace: Arc<str> = "root".into();
    LazyLock::force(&TRAIL);
    bencher.bench_local(|| {
        runtime.block_on(async {
            let intent = TRAIL.intent(event(&namespace)).await.unwrap();
            intent.settle(Outcome::done(Some(Revision(7)))).await
        })
    });
}
