//! A whole trail: told, written, cut, filled, failed, verified.

mod crash;
mod faulty;
mod fuller;
mod hang;
mod living;
pub(crate) mod scratch;
mod tampering;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use idhini_model::{Revision, Timestamp};
use serde_json::Value;

use self::scratch::Scratch;
use crate::event::{Actor, Detail, Event, Outcome};
use crate::keys::{Keys, Seeds};
use crate::options::{FileOptions, Options};
use crate::trail::{OpenError, Surroundings, Trail};
use crate::verify::{Against, Verified, verify};

/// The keys of all tests.
pub(crate) fn keys() -> Arc<Keys> {
    Arc::new(Keys::new(&Seeds { signing: [7; 32], hashing: [8; 32] }).unwrap())
}

/// A clock that stands still until it is told.
#[derive(Debug, Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn new() -> Hands {
        Hands(Arc::new(AtomicI64::new(1_800_000_000)))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
    }

    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// A directory with a trail, and what is outside of it.
struct World {
    scratch: Scratch,
    hands: Hands,
    reports: Arc<Mutex<Vec<String>>>,
    options: Options,
}

impl World {
    fn new() -> World {
        let scratch = Scratch::new();
        let options = Options {
            file: Some(FileOptions::new(scratch.path("audit"))),
            loss_ms_max: 4,
            hang_ms_max: 500,
            retry_ms: 5,
            ..Options::default()
        };
        World { scratch, hands: Hands::new(), reports: Arc::default(), options }
    }

    fn surroundings(&self) -> Surroundings {
        let (hands, reports) = (self.hands.clone(), Arc::clone(&self.reports));
        Surroundings {
            keys: keys(),
            clock: Arc::new(move || hands.now()),
            report: Arc::new(move |text| reports.lock().unwrap().push(text.to_owned())),
        }
    }

    fn try_open(&self) -> Result<Trail, OpenError> {
        Trail::open(&self.options, self.surroundings())
    }

    fn open(&self) -> Trail {
        self.try_open().unwrap()
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path("audit")
    }

    fn verify(&self) -> Verified {
        verify(&self.directory(), &keys().public(), Against::default(), &mut |_| {}).unwrap()
    }

    /// All records, in order.
    fn records(&self) -> Vec<Value> {
        lines_of(&self.directory()).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn event(&self, call: &'static str) -> Event {
        event(self.hands.now(), call)
    }
}

fn event(at: Timestamp, call: &'static str) -> Event {
    let actor =
        Actor { accessor: Some("acc-1".into()), certificate: None, address: Some("127.0.0.1:4711".into()) };
    Event {
        namespace: Some("root".into()),
        resource: Some("document:readme".into()),
        details: vec![("updates".into(), Detail::Number(2))],
        ..Event::new(at, "req-1".into(), Arc::new(actor), call)
    }
}

fn done(revision: u64) -> Outcome {
    Outcome::done(Some(Revision(revision)))
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    files
}

fn lines_of(directory: &Path) -> Vec<String> {
    let text = files_of(directory).into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    text.collect::<String>().lines().map(str::to_owned).collect()
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

/// Runs something async to its end on this thread.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
