//! Revisions that are not in memory: which way leads to them, and what do they take?

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use idhini_changelog::{
    AppendError, Batch, BoxFuture, Changelog, Head, LogError, MemoryStore, Store, Stored,
};
use idhini_model::{Revision, Timestamp};

use super::on_disk::{LOG, Left, content, viewer};
use super::{ALWAYS, SCHEMA, relationship, write};
use crate::namespace::RELATIONSHIP_BYTES;
use crate::{Namespace, Operation, Options, Published, ReplicaError};

fn at(left: &Left, namespace: &Arc<Namespace>, revision: u64) -> Result<Arc<Published>, ReplicaError> {
    left.runtime.block_on(namespace.at(Revision(revision)))
}

fn import(left: &Left, namespace: &Arc<Namespace>, count: usize) {
    let all: Vec<_> = (0..count).map(|n| relationship(&format!("document:i{n}#viewer@user:u"))).collect();
    left.runtime.block_on(namespace.import(all, ALWAYS)).unwrap();
}

#[test]
fn a_large_entry_on_one_side_is_gone_round_on_the_other() {
    let options = Options { kept_bytes_max: 0, rebuild_changes_max: 100, ..Options::default() };
    let left = Left::new(options);
    let namespace = left.furnished(0);
    left.runtime.block_on(namespace.image()).unwrap();
    import(&left, &namespace, 500);
    for n in 0..10 {
        left.touch(&namespace, &[viewer(n)]);
    }
    // The image at 1 is nearer to them by revisions.
    for revision in 2..12 {
        let found = at(&left, &namespace, revision).unwrap();
        assert_eq!(found.root().relationship_count(), 500 + revision - 2, "{revision}");
    }
    assert_eq!(at(&left, &namespace, 1).unwrap().root().relationship_count(), 0);
}

#[test]
fn an_image_above_is_a_way_though_the_newest_root_could_be_undone() {
    let options = Options { kept_bytes_max: 0, rebuild_changes_max: 100, ..Options::default() };
    let left = Left::new(options);
    let namespace = left.furnished(0);
    import(&left, &namespace, 500);
    for n in 0..10 {
        left.touch(&namespace, &[viewer(n)]);
    }
    left.runtime.block_on(namespace.image()).unwrap();
    for n in 10..130 {
        left.touch(&namespace, &[viewer(n)]);
    }
    assert_eq!(at(&left, &namespace, 5).unwrap().root().relationship_count(), 503);
    // From neither side.
    let left = Left::new(options);
    let namespace = left.furnished(0);
    import(&left, &namespace, 500);
    for n in 0..130 {
        left.touch(&namespace, &[viewer(n)]);
    }
    assert!(matches!(at(&left, &namespace, 5), Err(ReplicaError::TooFar { changes_max: 100, .. })));
}

/// An import, then entries with an image after every hundred, further from one another than is walked.
fn imaged(count: usize) -> (Left, Arc<Namespace>) {
    let options = Options { kept_bytes_max: 0, rebuild_changes_max: 40, ..Options::default() };
    let left = Left::new(options);
    let namespace = left.furnished(0);
    import(&left, &namespace, 1_000);
    for n in 0..count * 100 {
        if n % 100 == 50 {
            left.runtime.block_on(namespace.image()).unwrap();
        }
        left.touch(&namespace, &[viewer(n)]);
    }
    (left, namespace)
}

#[test]
fn neighbours_share_the_memory_of_one_image() {
    let (left, namespace) = imaged(2);
    let before = namespace.memory_bytes();
    let whole = 1_000 * RELATIONSHIP_BYTES;
    for revision in 40..48 {
        at(&left, &namespace, revision).unwrap();
    }
    let taken = namespace.memory_bytes() - before;
    assert!((whole..whole * 3 / 2).contains(&taken), "{taken} bytes");
}

#[test]
fn rebuilt_revisions_take_no_more_than_the_newest_and_go_when_nobody_asks_for_them() {
    let (left, namespace) = imaged(8);
    let newest = namespace.memory_bytes();
    for image in 0..8 {
        let was = at(&left, &namespace, 55 + image * 100).unwrap();
        assert_eq!(was.root().relationship_count(), 1_000 + 53 + image * 100);
        assert!(namespace.memory_bytes() <= newest * 2, "{} and {newest} bytes", namespace.memory_bytes());
        assert!(namespace.memory_bytes() >= newest + 1_000 * RELATIONSHIP_BYTES);
    }
    let held = namespace.memory_bytes();
    left.seconds.fetch_add(50, Ordering::SeqCst);
    namespace.forget_rebuilt(namespace.now());
    assert_eq!(namespace.memory_bytes(), held);
    left.seconds.fetch_add(20, Ordering::SeqCst);
    namespace.forget_rebuilt(namespace.now());
    assert_eq!(namespace.memory_bytes(), newest);
}

#[test]
fn revisions_are_the_same_whichever_way_they_are_rebuilt() {
    let (left, namespace) = imaged(3);
    let head = namespace.head().revision().0;
    // Each undone from the one after it.
    let undone: Vec<_> = {
        let options = Options { kept_bytes_max: 0, ..Options::default() };
        let opened = Namespace::open(left.log(), None, left.clock(), options);
        let again = left.runtime.block_on(opened).unwrap();
        (0..head).rev().map(|revision| content(at(&left, &again, revision).unwrap().root())).rev().collect()
    };
    let mut answered = 0;
    for revision in (1..head).step_by(3).chain((1..head).rev().step_by(2)).chain((1..head).step_by(37)) {
        let Ok(found) = at(&left, &namespace, revision) else { continue };
        answered += 1;
        assert_eq!(content(found.root()), undone[revision as usize], "{revision}");
    }
    assert!(answered > 150, "{answered}");
}

/// A log that says how many read it at the same time, and can be trimmed under whoever reads next.
struct Watched {
    inner: Arc<dyn Changelog>,
    /// Held by whoever holds appends up.
    holding: tokio::sync::Mutex<()>,
    reading: AtomicU64,
    most: AtomicU64,
    trimmed_below: AtomicU64,
}

impl Watched {
    fn new() -> Arc<Watched> {
        let inner = MemoryStore::new().log(LOG);
        Arc::new(Watched {
            inner,
            holding: tokio::sync::Mutex::default(),
            reading: AtomicU64::new(0),
            most: AtomicU64::new(0),
            trimmed_below: AtomicU64::new(0),
        })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Changelog for Watched {
    fn append(&self, head: Revision, batch: Batch) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move {
            drop(self.holding.lock().await);
            self.inner.append(head, batch).await
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        self.inner.head()
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        Box::pin(async move {
            let below = self.trimmed_below.swap(0, Ordering::SeqCst);
            if below > 0 {
                self.inner.trim(Revision(below)).await?;
            }
            let reading = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(reading, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.reading.fetch_sub(1, Ordering::SeqCst);
            self.inner.read(after, bytes_max).await
        })
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.trim(below)
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.grown(beyond)
    }
}

fn watched(options: Options) -> (Left, Arc<Watched>, Arc<Namespace>) {
    let left = Left::new(options);
    let log = Watched::new();
    let opened = Namespace::open(Arc::clone(&log) as Arc<dyn Changelog>, None, left.clock(), options);
    let namespace = left.runtime.block_on(opened).unwrap();
    left.runtime.block_on(namespace.write_schema(SCHEMA.to_owned(), ALWAYS)).unwrap();
    for n in 0..40 {
        left.seconds.fetch_add(10, Ordering::SeqCst);
        left.touch(&namespace, &[viewer(n)]);
    }
    (left, log, namespace)
}

#[test]
fn few_are_rebuilt_at_a_time_and_those_who_leave_make_room() {
    let (left, log, namespace) = watched(Options { kept_bytes_max: 0, ..Options::default() });
    left.runtime.block_on(async {
        let ask = |revision| {
            let namespace = Arc::clone(&namespace);
            tokio::spawn(async move { namespace.at(Revision(revision)).await.unwrap().revision() })
        };
        let left_early: Vec<_> = (2..20).map(ask).collect();
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        left_early.iter().for_each(tokio::task::JoinHandle::abort);
        let asked: Vec<_> = (2..40).map(ask).collect();
        for (revision, asked) in (2..40).zip(asked) {
            assert_eq!(asked.await.unwrap(), Revision(revision));
        }
    });
    // Those who were called off in the middle of a reading are counted for good.
    let called_off = log.reading.load(Ordering::SeqCst);
    let most = log.most.load(Ordering::SeqCst);
    assert!(most <= 2 + called_off && called_off <= 2, "{most} at a time, {called_off} called off");
}

#[test]
fn a_moment_that_goes_while_it_is_looked_for_is_before_the_history() {
    let (left, log, namespace) = watched(Options::default());
    let at_moment = |seconds| {
        log.trimmed_below.store(30, Ordering::SeqCst);
        left.runtime
            .block_on(namespace.at_moment(Timestamp::from_seconds(seconds)))
            .map(|found| found.revision())
    };
    // Revision 30 was written 290 seconds after the schema.
    assert!(matches!(at_moment(1_050), Err(ReplicaError::BeforeHistory { .. })));
    let (left, log, namespace) = watched(Options::default());
    log.trimmed_below.store(30, Ordering::SeqCst);
    let moment = Timestamp::from_seconds(1_345);
    let found = left.runtime.block_on(namespace.at_moment(moment)).unwrap();
    assert_eq!(found.revision(), Revision(35));
}

/// Otherwise whoever asks what changed from one moment to the next would miss it.
#[test]
fn what_is_on_its_way_to_the_log_is_of_the_moment_at_which_it_was_judged() {
    let (left, log, namespace) = watched(Options::default());
    let moment = namespace.now();
    left.runtime.block_on(async {
        let held = log.holding.lock().await;
        let newest = namespace.head().revision();
        let writing = {
            let (namespace, write) = (Arc::clone(&namespace), write(Operation::Touch, &[&viewer(99)]));
            tokio::spawn(async move { namespace.write(write, ALWAYS).await.unwrap() })
        };
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        left.seconds.fetch_add(1, Ordering::SeqCst);
        // What is long past is answered at once.
        let earlier = Timestamp::from_seconds(moment.seconds() - 1);
        assert_eq!(namespace.newest_at(earlier).await.unwrap().next(), newest);
        let asked = {
            let namespace = Arc::clone(&namespace);
            tokio::spawn(async move { namespace.newest_at(moment).await.unwrap() })
        };
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        drop(held);
        let written = writing.await.unwrap();
        assert_eq!((asked.await.unwrap(), written), (newest.next(), newest.next()));
    });
}
