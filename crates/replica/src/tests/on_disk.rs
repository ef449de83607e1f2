//! Images, maintenance and the node, on real files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use idhini_changelog::disk::Disk;
use idhini_changelog::{Changelog, FileDisk, LogId, MemoryStore, Store};
use idhini_graph::Root;
use idhini_model::{Revision, Timestamp};

use super::{ALWAYS, SCHEMA, relationship, write};
use crate::images::LastEntry;
use crate::{
    Clock, Identity, IdentityError, Images, Namespace, Node, NodeOptions, Operation, Options, Parts,
};

mod damage;
mod lineage;

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("idhini-replica-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A log in memory and a disk for images: what a process leaves behind.
pub(super) struct Left {
    folder: Folder,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: MemoryStore,
    pub(super) seconds: Arc<AtomicI64>,
    reports: Arc<Mutex<Vec<String>>>,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) options: Options,
}

pub(super) const LOG: LogId = LogId(1);

/// What an image says that a backup took over.
fn taken_over() -> LastEntry {
    LastEntry { written_at: Timestamp::from_seconds(1_000), writer: None }
}

impl Left {
    pub(super) fn new(options: Options) -> Left {
        Left::with(options, |disk| Arc::new(disk))
    }

    fn with(options: Options, disk: impl FnOnce(FileDisk) -> Arc<dyn Disk>) -> Left {
        let folder = Folder::new();
        let disk = disk(FileDisk::open(&folder.0).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seconds = Arc::new(AtomicI64::new(1_000));
        Left { folder, disk, store: MemoryStore::new(), seconds, reports: Arc::default(), runtime, options }
    }

    pub(super) fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.seconds);
        Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)))
    }

    pub(super) fn report(&self) -> crate::Report {
        let reports = Arc::clone(&self.reports);
        Arc::new(move |text| reports.lock().unwrap().push(text.to_owned()))
    }

    pub(super) fn images(&self) -> Images {
        Images::open(Arc::clone(&self.disk), LOG, self.report()).unwrap()
    }

    pub(super) fn log(&self) -> Arc<dyn Changelog> {
        self.store.log(LOG)
    }

    /// As a new process would.
    fn open(&self) -> Arc<Namespace> {
        let opened = Namespace::open(self.log(), Some(self.images()), self.clock(), self.options);
        self.runtime.block_on(opened).unwrap()
    }

    pub(super) fn touch(&self, namespace: &Arc<Namespace>, texts: &[String]) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.runtime.block_on(namespace.write(write(Operation::Touch, &texts), ALWAYS)).unwrap();
    }

    pub(super) fn furnished(&self, count: usize) -> Arc<Namespace> {
        let namespace = self.open();
        self.runtime.block_on(namespace.write_schema(SCHEMA.to_owned(), ALWAYS)).unwrap();
        for n in 0..count {
            self.touch(&namespace, &[viewer(n)]);
        }
        namespace
    }

    fn maintain(&self, namespace: &Arc<Namespace>) {
        self.runtime.block_on(namespace.maintain()).unwrap();
    }

    fn oldest(&self) -> Revision {
        self.runtime.block_on(self.log().head()).unwrap().oldest
    }

    fn image_files(&self) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(self.folder.0.join("images/0000000000000001")).unwrap();
        let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

pub(super) fn viewer(n: usize) -> String {
    format!("document:d{n}#viewer@user:u{}", n % 7)
}

/// All that answers rest on. When numbers were given is needed to undo entries only, so what was trimmed may lack it.
pub(super) fn content(root: &Root) -> idhini_graph::Content {
    let mut content = root.content();
    content.types.iter_mut().for_each(|of_type| of_type.births.clear());
    content
}

#[test]
fn a_start_from_an_image_and_the_rest_of_the_log_is_as_it_was() {
    let left = Left::new(Options::default());
    let namespace = left.furnished(20);
    left.runtime.block_on(namespace.image()).unwrap();
    for n in 20..25 {
        left.touch(&namespace, &[viewer(n)]);
    }
    let was = content(namespace.head().root());
    // What the image covers is not needed for a start.
    left.runtime.block_on(left.log().trim(Revision(22))).unwrap();
    let again = left.open();
    assert_eq!(content(again.head().root()), was);
    assert_eq!(again.head().revision(), Revision(26));
    // And the past is where it was, as far as the log goes.
    let past = left.runtime.block_on(again.at(Revision(22))).unwrap();
    assert_eq!(past.root().relationship_count(), 21);
    left.touch(&again, &[viewer(30)]);
    assert!(left.reports.lock().unwrap().is_empty());
}

#[test]
fn an_image_that_is_damaged_anywhere_is_reported_and_the_one_before_it_used() {
    let left = Left::new(Options::default());
    let namespace = left.furnished(10);
    left.runtime.block_on(namespace.image()).unwrap();
    left.touch(&namespace, &[viewer(10)]);
    left.runtime.block_on(namespace.image()).unwrap();
    left.touch(&namespace, &[viewer(11)]);
    let was = content(namespace.head().root());
    let newest = left.image_files().pop().unwrap();
    let good = std::fs::read(&newest).unwrap();
    let mut cases: Vec<Vec<u8>> = (0..good.len())
        .step_by(7)
        .map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            bad
        })
        .collect();
    cases.extend([1, good.len() / 2, good.len() - 1].map(|end| good[..end].to_vec()));
    for bad in cases {
        std::fs::write(&newest, bad).unwrap();
        left.reports.lock().unwrap().clear();
        let again = left.open();
        assert_eq!(content(again.head().root()), was);
        assert_eq!(left.reports.lock().unwrap().len(), 1, "{:?}", left.reports.lock().unwrap());
    }
    std::fs::write(&newest, good).unwrap();
    left.reports.lock().unwrap().clear();
    assert_eq!(content(left.open().head().root()), was);
    assert!(left.reports.lock().unwrap().is_empty());
}

#[test]
fn what_is_looked_after_stays_small_and_never_loses_what_is_promised() {
    let options = Options { history_seconds: Some(100), image_changes: 5, ..Options::default() };
    let left = Left::new(options);
    let mut namespace = left.furnished(3);
    for round in 0..40 {
        left.seconds.fetch_add(20, Ordering::SeqCst);
        for n in 0..3 {
            left.touch(&namespace, &[viewer(round * 3 + n)]);
        }
        left.maintain(&namespace);
        // The history of 100 seconds is five rounds.
        let head = namespace.head().revision();
        let wanted = Revision(head.0.saturating_sub(12).max(1));
        let past = left.runtime.block_on(namespace.at(wanted)).unwrap();
        assert_eq!(past.revision(), wanted);
        if round % 7 == 6 {
            let was = content(namespace.head().root());
            namespace = left.open();
            assert_eq!(content(namespace.head().root()), was);
        }
        if round > 10 {
            assert!(head.0 - left.oldest().0 < 30, "the log is not trimmed: {:?} of {head:?}", left.oldest());
            assert!(left.image_files().len() < 12, "{:?}", left.image_files());
        }
    }
    assert!(left.reports.lock().unwrap().is_empty(), "{:?}", left.reports.lock().unwrap());
}

#[test]
fn a_past_that_is_far_from_the_newest_is_rebuilt_from_an_image() {
    let options = Options { kept_bytes_max: 0, rebuild_changes_max: 12, ..Options::default() };
    let left = Left::new(options);
    let namespace = left.furnished(10);
    left.runtime.block_on(namespace.image()).unwrap();
    for n in 10..40 {
        left.touch(&namespace, &[viewer(n)]);
    }
    assert!(left.runtime.block_on(namespace.at(Revision(25))).is_err(), "12 changes from neither");
    let past = left.runtime.block_on(namespace.at(Revision(15))).unwrap();
    assert_eq!((past.revision(), past.root().relationship_count()), (Revision(15), 14));
}

#[test]
fn every_moment_of_the_history_can_be_asked_about_however_much_is_trimmed() {
    let left = Left::new(Options { history_seconds: Some(100), ..Options::default() });
    let namespace = left.furnished(3);
    let pass = |seconds| left.seconds.fetch_add(seconds, Ordering::SeqCst);
    let look_after = || {
        left.runtime.block_on(namespace.image()).unwrap();
        left.maintain(&namespace);
    };
    // Revision 4 stands for long, so that all entries are trimmed; then some are written.
    pass(1_000);
    look_after();
    assert_eq!(left.oldest(), Revision(5));
    for n in 5..9 {
        left.touch(&namespace, &[viewer(n)]);
        look_after();
        pass(30);
    }
    let at = |ago: i64| {
        let moment = Timestamp::from_seconds(left.seconds.load(Ordering::SeqCst) - ago);
        left.runtime.block_on(namespace.at_moment(moment)).map(|found| found.revision().0)
    };
    // Written 120, 90, 60 and 30 seconds ago.
    left.maintain(&namespace);
    assert_eq!([100, 91, 90, 70, 60, 30, 0].map(|ago| at(ago).unwrap()), [5, 5, 6, 6, 7, 8, 8]);
    pass(75);
    look_after();
    assert_eq!([100, 50, 0].map(|ago| at(ago).unwrap()), [8, 8, 8]);
    pass(200);
    look_after();
    left.touch(&namespace, &[viewer(9)]);
    look_after();
    assert_eq!([100, 50, 1, 0].map(|ago| at(ago).unwrap()), [8, 8, 8, 9]);
    assert!(at(400).is_err(), "before the history");
}

#[test]
fn a_past_that_the_newest_image_cannot_undo_is_rebuilt_from_another() {
    let left = Left::new(Options { kept_bytes_max: 0, ..Options::default() });
    let namespace = left.furnished(10);
    // As a backup has it: the newest image knows what its own log had, and the backup's log goes further back.
    let root = namespace.head();
    left.images().write(root.root(), Revision(11), taken_over()).unwrap();
    let again = left.open();
    assert_eq!(again.head().root().undoable_from(), Revision(11));
    let at = |namespace: &Arc<Namespace>, revision| {
        left.runtime.block_on(namespace.at(Revision(revision))).map(|found| found.root().relationship_count())
    };
    assert_eq!([1, 5, 10, 11].map(|revision| at(&again, revision).unwrap()), [0, 4, 9, 10]);
    let verified = left.runtime.block_on(crate::verify(&*left.log(), &left.images())).unwrap();
    assert_eq!((verified.oldest, verified.images), (Revision(0), 1));
    // Where nothing leads there, it is said.
    left.runtime.block_on(left.log().trim(Revision(5))).unwrap();
    let again = left.open();
    assert!(matches!(at(&again, 6), Err(crate::ReplicaError::Expired { oldest: Revision(10), .. })));
    assert_eq!(at(&again, 10).unwrap(), 9);
    let verified = left.runtime.block_on(crate::verify(&*left.log(), &left.images())).unwrap();
    assert_eq!(verified.oldest, Revision(10));
}

#[test]
fn an_image_that_the_log_does_not_lead_on_from_is_no_way_into_the_past() {
    let left = Left::new(Options { kept_bytes_max: 0, ..Options::default() });
    let namespace = left.furnished(5);
    left.runtime.block_on(namespace.image()).unwrap();
    for n in 5..40 {
        left.touch(&namespace, &[viewer(n)]);
    }
    left.runtime.block_on(namespace.image()).unwrap();
    left.runtime.block_on(left.log().trim(Revision(8))).unwrap();
    // Nearer than the newest, but for what was trimmed.
    let past = left.runtime.block_on(namespace.at(Revision(9))).unwrap();
    assert_eq!(past.root().relationship_count(), 8);
}

#[test]
fn a_backup_whose_last_entries_were_not_copied_is_good_up_to_there() {
    let left = Left::new(Options::default());
    let namespace = left.furnished(5);
    let ahead = Left::new(Options::default());
    let further = ahead.furnished(9);
    left.images().write(further.head().root(), Revision(1), taken_over()).unwrap();
    let verified = left.runtime.block_on(crate::verify(&*left.log(), &left.images())).unwrap();
    assert_eq!(verified.newest, namespace.head().revision());
}

#[test]
fn the_past_forever_is_kept_whole() {
    let options =
        Options { history_seconds: None, image_changes: 5, kept_bytes_max: 0, ..Options::default() };
    let left = Left::new(options);
    let namespace = left.furnished(3);
    for n in 3..20 {
        left.seconds.fetch_add(1_000_000, Ordering::SeqCst);
        left.touch(&namespace, &[viewer(n)]);
        left.maintain(&namespace);
    }
    assert_eq!(left.oldest(), Revision(1));
    let again = left.open();
    for revision in 1..20 {
        let past = left.runtime.block_on(again.at(Revision(revision))).unwrap();
        assert_eq!(past.root().relationship_count(), revision - 1);
    }
}

#[test]
fn what_has_expired_is_swept_in_small_entries() {
    let left = Left::new(Options::default());
    let namespace = left.furnished(1);
    let expiring = |n: usize| format!("document:e{n}#viewer@user:tom[expiration:1970-01-01T00:33:20Z]");
    left.touch(&namespace, &(0..900).map(expiring).collect::<Vec<_>>());
    left.touch(&namespace, &(900..1_500).map(expiring).collect::<Vec<_>>());
    left.maintain(&namespace);
    assert_eq!(namespace.head().root().relationship_count(), 1_501);
    left.seconds.store(2_000, Ordering::SeqCst);
    let before = namespace.head().revision();
    left.maintain(&namespace);
    assert_eq!(namespace.head().root().relationship_count(), 1);
    assert_eq!(namespace.head().revision().0, before.0 + 2);
    // Before the sweep they are where they were.
    let past = left.runtime.block_on(namespace.at(before)).unwrap();
    assert_eq!(past.root().relationship_count(), 1_501);
}

#[test]
fn a_log_that_lacks_what_no_image_has_is_refused() {
    let left = Left::new(Options::default());
    left.furnished(10);
    left.runtime.block_on(left.log().trim(Revision(5))).unwrap();
    let opened = Namespace::open(left.log(), Some(left.images()), left.clock(), left.options);
    let error = left.runtime.block_on(opened).unwrap_err();
    assert!(error.to_string().contains("no entry at revision 1"), "{error}");
}

#[test]
fn what_was_left_unfinished_is_removed() {
    let left = Left::new(Options::default());
    let namespace = left.furnished(2);
    left.runtime.block_on(namespace.image()).unwrap();
    let unfinished = left.image_files()[0].with_extension("image.unfinished");
    std::fs::write(&unfinished, "half").unwrap();
    left.open();
    assert!(!unfinished.exists());
}

mod node {
    use super::*;

    fn node(left: &Left, memory_bytes_max: u64) -> Node {
        let parts = Parts {
            store: Arc::new(left.store.clone()),
            disk: Some(Arc::clone(&left.disk)),
            clock: left.clock(),
            report: left.report(),
        };
        Node::new(parts, NodeOptions { namespace: left.options, memory_bytes_max })
    }

    #[test]
    fn namespaces_that_nobody_uses_are_closed_and_opened_again_as_they_were() {
        let left = Left::new(Options::default());
        let node = node(&left, 600_000);
        left.runtime.block_on(async {
            for id in 1..=50 {
                let namespace = node.namespace(LogId(id)).await.unwrap();
                namespace.write_schema(SCHEMA.to_owned(), ALWAYS).await.unwrap();
                let text = format!("document:of{id}#viewer@user:tom");
                namespace.import(vec![relationship(&text)], ALWAYS).await.unwrap();
            }
            let (open, bytes) = node.usage();
            assert!(open < 12 && bytes <= 700_000, "{open} open with {bytes} bytes");
            for id in 1..=50 {
                let namespace = node.namespace(LogId(id)).await.unwrap();
                assert_eq!(namespace.head().revision(), Revision(2));
                let root = namespace.head();
                let document = root.root().type_id("document").unwrap();
                assert_eq!(root.root().object_id(document, 0), format!("of{id}"));
            }
        });
    }

    #[test]
    fn a_namespace_that_is_held_is_never_opened_a_second_time() {
        let left = Left::new(Options::default());
        let node = node(&left, 1);
        left.runtime.block_on(async {
            let held = node.namespace(LogId(1)).await.unwrap();
            for id in 2..20 {
                node.namespace(LogId(id)).await.unwrap();
            }
            assert!(Arc::ptr_eq(&held, &node.namespace(LogId(1)).await.unwrap()));
        });
    }

    #[test]
    fn an_idle_namespace_lets_its_log_go_when_its_history_is_over() {
        let left = Left::new(Options { history_seconds: Some(100), ..Options::default() });
        let node = node(&left, 1);
        left.runtime.block_on(async {
            for id in 1..=30 {
                let namespace = node.namespace(LogId(id)).await.unwrap();
                namespace.write_schema(SCHEMA.to_owned(), ALWAYS).await.unwrap();
            }
            left.seconds.fetch_add(1_000, Ordering::SeqCst);
            for _ in 0..10 {
                node.maintain().await;
                left.seconds.fetch_add(1_000, Ordering::SeqCst);
            }
            for id in 1..=30 {
                let head = left.store.log(LogId(id)).head().await.unwrap();
                assert!(head.oldest > head.revision, "log {id}: {head:?}");
                assert!(node.namespace(LogId(id)).await.unwrap().head().schema().is_some());
            }
        });
        assert!(left.reports.lock().unwrap().is_empty(), "{:?}", left.reports.lock().unwrap());
    }
}

mod identity {
    use super::*;

    const IDENTITY: Identity = Identity { store: 7, timeline: 3, key_id: 9, key: [0xab; 32] };

    #[test]
    fn it_comes_back_and_shows_no_key() {
        let left = Left::new(Options::default());
        assert_eq!(Identity::read(&*left.disk).unwrap(), None);
        IDENTITY.write(&*left.disk).unwrap();
        let next = Identity { timeline: 4, ..IDENTITY };
        next.write(&*left.disk).unwrap();
        assert_eq!(Identity::read(&*left.disk).unwrap(), Some(next.clone()));
        let shown = format!("{next:?}");
        assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
    }

    #[test]
    fn a_damaged_newer_or_missing_one_is_refused() {
        let left = Left::new(Options::default());
        IDENTITY.write(&*left.disk).unwrap();
        let path = left.folder.0.join("identity");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert!(Identity::read(&*left.disk).is_err(), "byte {at}");
        }
        let newer = String::from_utf8(good).unwrap().replace("idhini data 1", "idhini data 2");
        std::fs::write(&path, newer).unwrap();
        assert!(matches!(Identity::read(&*left.disk), Err(IdentityError::NewerFormat { found: 2 })));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Identity::read(&*left.disk).unwrap(), None);
        left.furnished(1);
        left.runtime.block_on(left.open().image()).unwrap();
        assert!(matches!(Identity::read(&*left.disk), Err(IdentityError::Missing)));
    }
}

mod root_token {
    use super::*;
    use crate::{RootToken, RootTokenError};

    #[test]
    fn it_comes_back_as_a_hash_and_is_replaced_by_the_next() {
        let left = Left::new(Options::default());
        assert_eq!(RootToken::read(&*left.disk).unwrap(), None);
        for text in ["one", "two"] {
            RootToken::of(text).write(&*left.disk).unwrap();
            assert_eq!(RootToken::read(&*left.disk).unwrap(), Some(RootToken::of(text)));
        }
        assert_ne!(RootToken::of("one"), RootToken::of("two"));
    }

    #[test]
    fn a_damaged_or_newer_one_is_refused() {
        let left = Left::new(Options::default());
        RootToken::of("one").write(&*left.disk).unwrap();
        let path = left.folder.0.join("root-token");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert!(RootToken::read(&*left.disk).is_err(), "byte {at}");
        }
        let newer = String::from_utf8(good).unwrap().replace("root token 1", "root token 2");
        std::fs::write(&path, newer).unwrap();
        assert!(matches!(RootToken::read(&*left.disk), Err(RootTokenError::NewerFormat { found: 2 })));
    }
}
