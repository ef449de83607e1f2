//! On which thread is a batch judged, and what becomes of those who wait if that thread ends?

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use idhini_changelog::{
    AppendError, Batch, BoxFuture, Changelog, Head, LogError, LogId, MemoryStore, Store, Stored,
};
use idhini_model::{Revision, Timestamp};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex as Gate;
use tokio::task::JoinHandle;

use super::{ALL, ALWAYS, SCHEMA, must_match, of_type, texts, write};
use crate::namespace::locked;
use crate::{Filter, Namespace, Operation, Options, ReplicaError, Write};

/// A log that notes who appends, and lets nobody hear of it while the gate is held.
struct Gated {
    inner: Arc<dyn Changelog>,
    gate: Gate<()>,
    /// Whether what is not told yet is in the log.
    is_there_before: AtomicBool,
    /// The thread of each append that began, and the entries in it.
    began: Mutex<Vec<(String, usize)>>,
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gated")
    }
}

impl Changelog for Gated {
    fn append(&self, head: Revision, batch: Batch) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move {
            let here = thread::current().name().unwrap_or_default().to_owned();
            self.began.lock().unwrap().push((here, batch.records.len()));
            if self.is_there_before.load(Ordering::SeqCst) {
                let appended = self.inner.append(head, batch).await;
                drop(self.gate.lock().await);
                return appended;
            }
            drop(self.gate.lock().await);
            self.inner.append(head, batch).await
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        self.inner.head()
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        self.inner.read(after, bytes_max)
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.trim(below)
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.grown(beyond)
    }
}

/// A namespace as a server has it: opened on a runtime of its own, and asked from workers.
struct Served {
    control: Runtime,
    log: Arc<Gated>,
    namespace: Arc<Namespace>,
}

impl Served {
    fn new() -> Served {
        let control = Builder::new_multi_thread().worker_threads(1).thread_name("control").build().unwrap();
        let log = Arc::new(Gated {
            inner: MemoryStore::new().log(LogId(1)),
            gate: Gate::default(),
            is_there_before: AtomicBool::new(false),
            began: Mutex::default(),
        });
        let opened = Namespace::open(
            Arc::clone(&log) as Arc<dyn Changelog>,
            None,
            Arc::new(|| Timestamp::from_seconds(1_000)),
            Options::default(),
        );
        let namespace = control.block_on(opened).unwrap();
        control.block_on(namespace.write_schema(SCHEMA.to_owned(), ALWAYS)).unwrap();
        let served = Served { control, log, namespace };
        served.comes_to_rest();
        served.log.began.lock().unwrap().clear();
        served
    }

    /// Whoever was answered is a moment earlier than the writer, who looks whether anyone else waits.
    fn comes_to_rest(&self) {
        self.waits_until(|served| !locked(&served.namespace.queue).is_driven());
    }

    fn ask(&self, from: &Runtime, request: Write) -> JoinHandle<Result<Revision, ReplicaError>> {
        let namespace = Arc::clone(&self.namespace);
        from.spawn(async move { namespace.write(request, ALWAYS).await })
    }

    /// The threads that appended, and how many entries each time.
    fn began(&self) -> Vec<(String, usize)> {
        self.log.began.lock().unwrap().clone()
    }

    fn texts(&self) -> Vec<String> {
        texts(&self.namespace.head().read(&Filter::default(), self.namespace.now(), None, ALL))
    }

    fn waits_until(&self, is_so: impl Fn(&Served) -> bool) {
        for _ in 0..5_000 {
            if is_so(self) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("it never came to be so: {:?}", self.began());
    }
}

/// A thread that answers calls; it runs while something is waited for on it.
fn worker() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn on_a_worker<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("worker".to_owned());
        worker.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn viewer(n: usize) -> String {
    format!("document:d{n}#viewer@user:tom")
}

fn touch(numbers: std::ops::Range<usize>) -> Write {
    let all: Vec<String> = numbers.map(viewer).collect();
    write(Operation::Touch, &all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// It looks for something, and that may take long.
fn heavy(n: usize) -> Write {
    Write { preconditions: vec![must_match(of_type("document"))], ..touch(n..n + 1) }
}

#[test]
fn what_is_light_is_judged_where_it_was_asked_and_what_is_not_elsewhere() {
    let served = Served::new();
    let ask = |request| {
        served.comes_to_rest();
        on_a_worker(|| worker().block_on(served.namespace.write(request, ALWAYS))).unwrap();
        served.log.began.lock().unwrap().pop().unwrap().0
    };
    assert_eq!(ask(touch(0..1)), "worker");
    assert_eq!(ask(touch(1..101)), "worker");
    assert_eq!(ask(touch(101..202)), "control");
    assert_eq!(ask(heavy(300)), "control");
    let mut long = touch(301..302);
    long.metadata.0.insert("why".to_owned(), idhini_model::ContextValue::String("x".repeat(70_000)));
    assert_eq!(ask(long), "control");
    served.namespace.is_suspect.store(true, Ordering::SeqCst);
    assert_eq!(ask(touch(400..401)), "control");
    assert_eq!(ask(touch(401..402)), "worker");
}

#[test]
fn what_is_heavy_and_waits_behind_what_is_light_goes_aside() {
    let served = Served::new();
    let held = served.log.gate.try_lock().unwrap();
    on_a_worker(|| {
        let worker = worker();
        let light = served.ask(&worker, touch(0..1));
        let heavy = served.ask(&worker, heavy(1));
        let behind = served.ask(&worker, touch(2..3));
        let opened = async {
            while served.began().is_empty() {
                tokio::task::yield_now().await;
            }
            drop(held);
        };
        worker.block_on(async {
            opened.await;
            assert_eq!(light.await.unwrap().unwrap(), Revision(2));
            assert_eq!(heavy.await.unwrap().unwrap(), Revision(3));
            assert_eq!(behind.await.unwrap().unwrap(), Revision(4));
        });
    });
    assert_eq!(served.began(), [("worker".to_owned(), 1), ("control".to_owned(), 2)]);
}

#[test]
fn many_that_are_light_are_together_too_many() {
    let served = Served::new();
    let held = served.log.gate.try_lock().unwrap();
    on_a_worker(|| {
        let worker = worker();
        let asked: Vec<_> = (0..4).map(|n| served.ask(&worker, touch(n * 60..n * 60 + 60))).collect();
        worker.block_on(async {
            while served.began().is_empty() {
                tokio::task::yield_now().await;
            }
            drop(held);
            for asked in asked {
                asked.await.unwrap().unwrap();
            }
        });
    });
    let threads: Vec<_> = served.began().into_iter().map(|(thread, _)| thread).collect();
    assert_eq!(threads, ["worker", "control"]);
    assert_eq!(served.texts().len(), 240);
}

/// Ends a worker in the middle of an append while somebody else waits.
fn ended_in_the_middle(is_there_before: bool) -> (Served, Revision) {
    let served = Served::new();
    served.log.is_there_before.store(is_there_before, Ordering::SeqCst);
    let held = served.log.gate.try_lock().unwrap();
    let mut other = None;
    on_a_worker(|| {
        let worker = worker();
        let own = served.ask(&worker, touch(0..1));
        worker.block_on(async {
            while served.began().is_empty() {
                tokio::task::yield_now().await;
            }
        });
        other = Some(served.ask(&served.control, touch(1..2)));
        served.waits_until(|served| served.namespace.waiting().0 == 1);
        drop(worker);
        assert!(served.control.block_on(own).is_err(), "nobody is left to hear of it");
    });
    drop(held);
    let other = other.unwrap();
    served.waits_until(|_| other.is_finished());
    let written = served.control.block_on(other).unwrap().unwrap();
    (served, written)
}

#[test]
fn whoever_waits_for_a_worker_that_ends_is_answered_nevertheless() {
    let (served, written) = ended_in_the_middle(false);
    assert_eq!((written, served.texts()), (Revision(2), vec![viewer(1)]));
    let threads: Vec<_> = served.began().into_iter().map(|(thread, _)| thread).collect();
    assert_eq!(threads, ["worker", "control"]);
    // And the next one finds the queue idle.
    served.comes_to_rest();
    on_a_worker(|| worker().block_on(served.namespace.write(touch(2..3), ALWAYS))).unwrap();
    assert_eq!(served.began().pop().unwrap().0, "worker");
}

#[test]
fn what_an_ended_worker_had_appended_is_looked_for_before_anything_else() {
    let (served, written) = ended_in_the_middle(true);
    assert_eq!((written, served.texts()), (Revision(3), vec![viewer(0), viewer(1)]));
}

#[test]
fn with_the_last_runtime_everybody_hears_of_the_end() {
    let Served { control, log, namespace } = Served::new();
    let held = log.gate.try_lock().unwrap();
    let worker = worker();
    let (own, other) = (Arc::clone(&namespace), Arc::clone(&namespace));
    let own = worker.spawn(async move { own.write(touch(0..1), ALWAYS).await });
    worker.block_on(async {
        while log.began.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    let third = Builder::new_current_thread().build().unwrap();
    let waiting = third.spawn(async move { other.write(touch(1..2), ALWAYS).await });
    third.block_on(tokio::task::yield_now());
    drop(control);
    drop(worker);
    assert!(matches!(third.block_on(waiting).unwrap(), Err(ReplicaError::WriterGone)));
    drop((own, held));
}
