//! CPU profiles: only where they are allowed, and then of what runs.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message;

use super::{Seen, page};
use crate::process::check;

/// As much of pprof's `profile.proto` as tells what was found.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    locations: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    functions: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    texts: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_names_what_takes_the_time() {
    let seen = Seen::start(&["--profiling"]);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (mut permissions, is_over) = (seen.server.permissions().await, Arc::clone(&is_over));
        asking.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                permissions.check_permission(check("document:readme", "view", "user:tom")).await.unwrap();
            }
        });
    }
    let address = seen.metrics.clone();
    let profiling = tokio::task::spawn_blocking(move || page(&address, "/debug/pprof/profile?seconds=2"));
    // Only one at a time.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(seen.page("/debug/pprof/profile?seconds=1").status, 429);
    let taken = profiling.await.unwrap();
    is_over.store(true, Ordering::Relaxed);
    asking.join_all().await;
    assert_eq!(taken.status, 200);
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&taken.body[..]).read_to_end(&mut bytes).unwrap();
    let profile = Profile::decode(&bytes[..]).unwrap();
    assert!(profile.duration_nanos >= 2_000_000_000, "{}", profile.duration_nanos);
    let counted: i64 = profile.samples.iter().map(|sample| sample.values[0]).sum();
    assert!(counted > 5, "{counted} samples");
    // Whatever a sample refers to is there.
    let name = |function: u64| {
        let function = profile.functions.iter().find(|of| of.id == function).unwrap();
        profile.texts[usize::try_from(function.name).unwrap()].as_str()
    };
    let location = |id: u64| profile.locations.iter().find(|of| of.id == id).unwrap();
    let names: Vec<&str> = profile
        .samples
        .iter()
        .flat_map(|sample| sample.locations.iter().flat_map(|id| &location(*id).lines))
        .map(|line| name(line.function))
        .collect();
    assert!(names.iter().any(|name| name.contains("idhini_server::")), "{names:?}");
    // Another one can be taken afterwards, and what is asked for is bounded.
    assert_eq!(seen.page("/debug/pprof/profile?seconds=1").status, 200);
    assert_eq!(seen.page("/debug/pprof/profile?seconds=100000").status, 400);
}
