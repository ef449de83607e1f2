//! What the embedded store of logs does with its disk: syncs, full and slow disks, segments that come and go, damage.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use idhini_changelog::embedded::{Listed, Options, Steps, list};
use idhini_changelog::{
    AppendError, Batch, Changelog, EmbeddedStore, LogError, LogId, OpenError, Record, Store, Stored, Writer,
};
use idhini_model::Revision;
use idhini_testkit::disk::{Fault, FaultDisk, Kind};

const SEGMENT_BYTES: u64 = 4000;

/// A store that takes steps when told to.
struct Stepped {
    disk: FaultDisk,
    store: EmbeddedStore,
    steps: Steps,
}

fn options() -> Options {
    let mut options = Options::new(0x5708E);
    options.segment_bytes = SEGMENT_BYTES;
    options
}

fn opened(disk: &FaultDisk) -> Result<Stepped, OpenError> {
    let (store, steps) = EmbeddedStore::open_stepped(Arc::new(disk.clone()), &options())?;
    Ok(Stepped { disk: disk.clone(), store, steps })
}

fn fresh() -> Stepped {
    opened(&FaultDisk::new(1)).unwrap()
}

fn batch(text: &str) -> Batch {
    let record = Record { chunks: vec![Bytes::copy_from_slice(text.as_bytes())] };
    Batch { writer: Writer { id: 1, sequence: 1 }, records: vec![record] }
}

type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

fn poll<T>(future: &mut Waiting<'_, T>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl Stepped {
    fn answer<T>(steps: &mut Steps, mut future: Waiting<'_, T>) -> T {
        loop {
            if let Some(answer) = poll(&mut future) {
                return answer;
            }
            steps.step();
        }
    }

    fn append(&mut self, log: u64, head: u64, text: &str) -> Result<Revision, AppendError> {
        let log = self.store.log(LogId(log));
        Stepped::answer(&mut self.steps, log.append(Revision(head), batch(text)))
    }

    fn trim(&mut self, log: u64, below: u64) {
        let log = self.store.log(LogId(log));
        Stepped::answer(&mut self.steps, log.trim(Revision(below))).unwrap();
    }

    fn read(&mut self, log: u64) -> Result<Vec<Stored>, LogError> {
        let log = self.store.log(LogId(log));
        let head = Stepped::answer(&mut self.steps, log.head())?;
        Stepped::answer(&mut self.steps, log.read(Revision(head.oldest.0 - 1), usize::MAX))
    }

    fn texts(&mut self, log: u64) -> Vec<String> {
        let text = |stored: &Stored| String::from_utf8(stored.record.chunks.concat()).unwrap();
        self.read(log).unwrap().iter().map(text).collect()
    }

    fn compact(&mut self) {
        Stepped::answer(&mut self.steps, Box::pin(self.store.compact())).unwrap();
    }

    fn idle(&mut self) {
        while self.steps.step() {}
    }

    fn close(mut self) -> FaultDisk {
        Stepped::answer(&mut self.steps, Box::pin(self.store.close())).unwrap();
        self.disk.clone()
    }

    fn newest(&self) -> String {
        self.disk.paths().into_iter().filter(|path| path.ends_with(".segment")).max().unwrap()
    }
}

mod groups {
    use super::*;

    #[test]
    fn appends_that_wait_together_share_one_write_and_one_sync() {
        let mut stepped = fresh();
        stepped.append(1, 0, "first").unwrap();
        stepped.disk.record();
        let logs: Vec<Arc<dyn Changelog>> = (2..22).map(|id| stepped.store.log(LogId(id))).collect();
        let mut waiting: Vec<Waiting<'_, Result<Revision, AppendError>>> =
            logs.iter().map(|log| log.append(Revision(0), batch("x")) as Waiting<'_, _>).collect();
        assert!(waiting.iter_mut().all(|append| poll(append).is_none()));
        stepped.steps.step();
        assert!(waiting.iter_mut().all(|append| poll(append).unwrap().is_ok()));
        let kinds: Vec<Kind> = stepped.disk.history().iter().map(|operation| operation.kind).collect();
        assert_eq!(kinds, [Kind::Write, Kind::Sync]);
    }

    #[test]
    fn nothing_is_answered_before_its_sync() {
        let disk = FaultDisk::new(1);
        let store = EmbeddedStore::open(Arc::new(disk.clone()), &options()).unwrap();
        let log = store.log(LogId(1));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(log.append(Revision(0), batch("first"))).unwrap();
        disk.hold(Kind::Sync);
        let append = runtime.spawn({
            let log = Arc::clone(&log);
            async move { log.append(Revision(1), batch("second")).await }
        });
        disk.wait_until_held();
        assert!(!append.is_finished());
        // Reads go on, and see what is durable.
        assert_eq!(runtime.block_on(log.head()).unwrap().revision, Revision(1));
        assert_eq!(runtime.block_on(log.read(Revision(0), 1000)).unwrap().len(), 1);
        disk.release();
        assert_eq!(runtime.block_on(append).unwrap().unwrap(), Revision(2));
    }

    #[test]
    fn a_batch_larger_than_a_segment_is_one_batch() {
        let mut stepped = fresh();
        let text = "x".repeat(10 * 4000);
        stepped.append(1, 0, &text).unwrap();
        stepped.append(1, 1, "after").unwrap();
        assert_eq!(stepped.texts(1), [text, "after".to_owned()]);
        let mut again = opened(&stepped.close()).unwrap();
        assert_eq!(again.texts(1).len(), 2);
    }
}

mod ill_disks {
    use super::*;

    #[test]
    fn a_file_whose_sync_failed_is_never_written_again() {
        let mut stepped = fresh();
        stepped.append(1, 0, "a").unwrap();
        let old = stepped.newest();
        let path = old.clone();
        stepped.disk.fail(Fault { kind: Kind::Sync, path, skipped: 0, count: 1, error: ErrorKind::Other });
        stepped.disk.record();
        let refused = stepped.append(1, 1, "b").unwrap_err();
        // A new segment could be begun, so it is known that it never will be there.
        assert!(matches!(refused, AppendError::Unavailable { .. }), "{refused:?}");
        stepped.append(1, 1, "c").unwrap();
        let history = stepped.disk.history();
        let failed = history.iter().position(|operation| operation.error.is_some()).unwrap();
        let later = history[failed + 1..].iter().filter(|operation| operation.path == old);
        assert!(
            later.clone().all(|operation| !matches!(operation.kind, Kind::Write | Kind::Sync)),
            "{later:?}"
        );
        for seed in 0..50 {
            let mut again = opened(&stepped.disk.after_power_cut(seed)).unwrap();
            assert_eq!(again.texts(1), ["a", "c"]);
        }
    }

    #[test]
    fn an_unknown_outcome_is_settled_when_the_disk_is_well_and_not_before() {
        let mut stepped = fresh();
        stepped.append(1, 0, "a").unwrap();
        stepped.append(2, 0, "other").unwrap();
        let (path, error) = ("log/".to_owned(), ErrorKind::Other);
        stepped.disk.fail(Fault { kind: Kind::Sync, path, skipped: 0, count: u64::MAX, error });
        let lost = stepped.append(1, 1, "b").unwrap_err();
        assert!(matches!(lost, AppendError::Unknown { .. }), "{lost:?}");
        assert!(matches!(stepped.read(1), Err(LogError::Unavailable { .. })), "its head is not known");
        assert_eq!(stepped.texts(2), ["other"], "nothing of this log was under way");
        let refused = stepped.append(2, 1, "c").unwrap_err();
        assert!(matches!(refused, AppendError::Unavailable { .. }), "{refused:?}");
        // Cut here, the batch is there or not; nothing else is.
        let mut found = BTreeSet::new();
        for seed in 0..50 {
            let mut again = opened(&stepped.disk.after_power_cut(seed)).unwrap();
            found.insert(again.texts(1));
            assert_eq!(again.texts(2), ["other"]);
        }
        assert_eq!(found.len(), 2, "{found:?}");
        stepped.disk.heal();
        assert_eq!(stepped.texts(1), ["a"]);
        stepped.append(2, 1, "c").unwrap();
        for seed in 0..50 {
            let mut again = opened(&stepped.disk.after_power_cut(seed)).unwrap();
            assert_eq!(again.texts(1), ["a"], "it was said to be absent");
        }
    }

    #[test]
    fn a_full_disk_refuses_and_harms_nothing() {
        let mut stepped = fresh();
        let text = "x".repeat(500);
        let mut head = 0;
        stepped.append(2, 0, "idle").unwrap();
        stepped.disk.set_capacity(20_000);
        let refused = loop {
            match stepped.append(1, head, &text) {
                Ok(revision) => head = revision.0,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::Unavailable { .. }), "{refused:?}");
        assert!(head > 20);
        assert_eq!(stepped.texts(1).len() as u64, head, "reads go on");
        assert!(stepped.append(1, head, &text).is_err());
        // Giving up entries makes room, full as the disk is.
        stepped.trim(1, head - 2);
        stepped.idle();
        let mut more = 0;
        while more < 5 {
            head = stepped.append(1, head, &text).unwrap().0;
            more += 1;
        }
        stepped.disk.heal();
        assert_eq!(stepped.append(1, head, "well").unwrap().0, head + 1);
        let mut again = opened(&stepped.close()).unwrap();
        assert_eq!(again.texts(1).len(), 3 + more + 1);
        assert_eq!(again.texts(2), ["idle"]);
    }

    #[test]
    fn what_was_left_unsynced_is_written_again_before_anything_follows_it() {
        let mut stepped = fresh();
        stepped.append(1, 0, "a").unwrap();
        // Written, and not synced: the process is killed.
        let (path, error) = (String::new(), ErrorKind::Other);
        stepped.disk.fail(Fault { kind: Kind::Sync, path, skipped: 0, count: u64::MAX, error });
        stepped.append(1, 1, "b").unwrap_err();
        let disk = stepped.disk.after_kill(1);
        drop(stepped);
        for kind in [Kind::Write, Kind::Sync, Kind::SyncDirectory, Kind::Create] {
            let (path, error) = (String::new(), ErrorKind::ReadOnlyFilesystem);
            disk.fail(Fault { kind, path, skipped: 0, count: u64::MAX, error });
        }
        let mut again = opened(&disk).unwrap();
        assert_eq!(again.texts(1), ["a", "b"], "it is read from a read-only disk");
        assert!(again.append(1, 2, "c").is_err());
        disk.heal();
        again.append(1, 2, "c").unwrap();
        for seed in 0..50 {
            let mut found = opened(&disk.after_power_cut(seed)).unwrap();
            assert_eq!(found.texts(1), ["a", "b", "c"]);
        }
    }

    #[test]
    fn a_closing_mark_that_was_never_synced_is_not_relied_on() {
        for seed in 0..50 {
            let disk = FaultDisk::new(seed);
            let mut stepped = opened(&disk).unwrap();
            stepped.append(1, 0, "a").unwrap();
            for kind in [Kind::Write, Kind::Sync] {
                let (path, error) = (String::new(), ErrorKind::Other);
                disk.fail(Fault { kind, path, skipped: 0, count: 1, error });
            }
            assert!(Stepped::answer(&mut stepped.steps, Box::pin(stepped.store.close())).is_err());
            drop(stepped);
            disk.heal();
            let mut again = opened(&disk).unwrap();
            again.append(1, 1, "b").unwrap();
            drop(again);
            let mut found = opened(&disk.after_power_cut(seed)).unwrap();
            assert_eq!(found.texts(1), ["a", "b"]);
        }
    }

    #[test]
    fn a_disk_that_became_read_only_is_written_again_when_it_is_well() {
        let mut stepped = fresh();
        stepped.append(1, 0, "a").unwrap();
        for kind in [Kind::Write, Kind::Allocate, Kind::Create] {
            let (path, error) = ("log/".to_owned(), ErrorKind::ReadOnlyFilesystem);
            stepped.disk.fail(Fault { kind, path, skipped: 0, count: u64::MAX, error });
        }
        for _ in 0..3 {
            assert!(stepped.append(1, 1, "b").is_err());
        }
        stepped.disk.heal();
        assert_eq!(stepped.texts(1), ["a"]);
        stepped.append(1, 1, "c").unwrap();
        assert_eq!(stepped.texts(1), ["a", "c"]);
    }
}

mod segments {
    use super::*;

    #[test]
    fn a_trim_lasts_without_anything_after_it() {
        let mut stepped = fresh();
        for head in 0..3 {
            stepped.append(1, head, "x").unwrap();
        }
        let mut again = opened(&stepped.close()).unwrap();
        again.trim(1, 3);
        again.idle();
        for seed in 0..50 {
            let mut found = opened(&again.disk.after_power_cut(seed)).unwrap();
            assert_eq!(found.texts(1).len(), 1);
        }
    }

    #[test]
    fn an_idle_log_pins_no_segment() {
        let mut stepped = fresh();
        stepped.append(2, 0, "idle").unwrap();
        let text = "x".repeat(200);
        for head in 0..500 {
            stepped.append(1, head, &text).unwrap();
            stepped.trim(1, head + 1);
            stepped.idle();
        }
        let segments = stepped.store.segments();
        assert!(segments.len() <= 3, "{segments:?}");
        assert!(stepped.disk.used_bytes() < 3 * 8 * SEGMENT_BYTES);
        assert_eq!(stepped.texts(2), ["idle"]);
        let mut again = opened(&stepped.close()).unwrap();
        assert_eq!(again.texts(2), ["idle"]);
        assert_eq!(again.texts(1), [text]);
    }

    #[test]
    fn a_deleted_log_leaves_no_bytes_after_compaction() {
        let secret = "the secret of a tenant that is gone".repeat(10);
        let has_secret = |disk: &FaultDisk| {
            let holds = |path: &String| {
                let bytes = disk.bytes(path).unwrap();
                bytes.windows(35).any(|window| window == &secret.as_bytes()[..35])
            };
            disk.paths().iter().any(holds)
        };
        let mut stepped = fresh();
        for head in 0..40 {
            stepped.append(1, head, &secret).unwrap();
            stepped.append(2, head, "kept").unwrap();
        }
        stepped.trim(1, 11);
        assert!(has_secret(&stepped.disk));
        Stepped::answer(&mut stepped.steps, stepped.store.delete(LogId(1))).unwrap();
        stepped.compact();
        assert!(!has_secret(&stepped.disk));
        assert_eq!(stepped.texts(2).len(), 40);
        let mut again = opened(&stepped.close()).unwrap();
        assert_eq!(again.texts(2).len(), 40);
        assert!(matches!(again.read(1), Err(LogError::Deleted { .. })));
    }

    #[test]
    fn files_that_are_not_needed_are_written_over() {
        let mut stepped = fresh();
        stepped.append(2, 0, "idle").unwrap();
        let text = "x".repeat(200);
        for head in 0..200 {
            stepped.append(1, head, &text).unwrap();
            stepped.trim(1, head + 1);
            stepped.idle();
        }
        stepped.disk.record();
        for head in 200..400 {
            stepped.append(1, head, &text).unwrap();
            stepped.trim(1, head + 1);
            stepped.idle();
        }
        let history = stepped.disk.history();
        let count = |kind| history.iter().filter(|operation| operation.kind == kind).count();
        assert_eq!(count(Kind::Create), 0, "every new segment is an old file");
        assert!(count(Kind::SyncDirectory) > 5, "and there are new ones");
        for seed in 0..50 {
            let mut again = opened(&stepped.disk.after_power_cut(seed)).unwrap();
            assert_eq!(again.texts(2), ["idle"]);
        }
    }

    #[test]
    fn starts_that_follow_each_other_leave_few_segments() {
        let mut disk = FaultDisk::new(1);
        for head in 0..100 {
            let mut stepped = opened(&disk).unwrap();
            stepped.append(1, head, "x").unwrap();
            stepped.idle();
            disk = stepped.close();
        }
        let mut stepped = opened(&disk).unwrap();
        assert!(stepped.store.segments().len() <= 16, "{:?}", stepped.store.segments());
        assert_eq!(stepped.texts(1).len(), 100);
    }

    #[test]
    fn opening_what_was_closed_changes_nothing() {
        let mut stepped = fresh();
        stepped.append(1, 0, "a").unwrap();
        let disk = stepped.close();
        let before = disk.changes();
        let mut again = opened(&disk).unwrap();
        assert_eq!(again.texts(1), ["a"]);
        again.idle();
        // The names are made durable, whoever wrote them.
        assert_eq!(disk.changes() - before, 1);
        assert_eq!(again.close().changes() - before, 1);
    }

    #[test]
    fn a_listing_says_what_stands_where() {
        let mut stepped = fresh();
        stepped.append(7, 0, "abc").unwrap();
        let disk = stepped.close();
        let listed = list(&disk).unwrap();
        let segment = listed[0].as_ref().unwrap();
        assert_eq!((listed.len(), segment.number), (1, 1));
        let mut frames = Vec::new();
        segment
            .each(|listed| {
                if let Listed::Frame { facts, payload_bytes, .. } = listed {
                    frames.push((format!("{:?}", facts.kind), facts.log.0, facts.revision.0, payload_bytes));
                }
                true
            })
            .unwrap();
        let expected =
            [("Begun".to_owned(), 0, 0, 0), ("Entry".to_owned(), 7, 1, 3), ("Closed".to_owned(), 0, 0, 0)];
        assert_eq!(frames, expected);
    }
}

mod damage {
    use super::*;

    /// A store of several segments with trimmed, moved and deleted things in it, closed.
    fn closed() -> FaultDisk {
        let mut stepped = fresh();
        for head in 0..24 {
            stepped.append(1, head, &format!("{head} {}", "x".repeat(150))).unwrap();
            stepped.append(2, head, &format!("{head}")).unwrap();
        }
        stepped.trim(1, 12);
        Stepped::answer(&mut stepped.steps, stepped.store.delete(LogId(2))).unwrap();
        stepped.idle();
        stepped.append(3, 0, "last").unwrap();
        stepped.close()
    }

    /// The files that are needed; spare ones may hold anything.
    fn segment_paths(disk: &FaultDisk) -> Vec<String> {
        disk.paths().into_iter().filter(|path| path.ends_with(".segment")).collect()
    }

    fn content(disk: &FaultDisk) -> Result<(Vec<Stored>, Vec<Stored>), OpenError> {
        let mut stepped = opened(disk)?;
        Ok((stepped.read(1).unwrap(), stepped.read(3).unwrap()))
    }

    #[test]
    fn any_bit_that_changed_at_rest_is_noticed() {
        const CLOSING_MARK_BYTES: usize = 56;
        let disk = closed();
        let expected = content(&disk).unwrap();
        let paths = segment_paths(&disk);
        assert!(paths.len() >= 2, "{paths:?}");
        let mut flips = 0;
        for path in &paths {
            let bytes = disk.bytes(path).unwrap().len();
            let is_newest = Some(path) == paths.iter().max();
            for bit in 0..bytes * 8 {
                disk.flip(path, bit as u64);
                match content(&disk) {
                    Err(OpenError::Damaged { .. } | OpenError::NewerFormat { .. }) => {}
                    Err(error) => panic!("{path} bit {bit}: {error}"),
                    // Without its mark the log is like one that a killed process left: nothing is lost.
                    Ok(found) => {
                        assert!(is_newest && bit / 8 >= bytes - CLOSING_MARK_BYTES, "{path} bit {bit}");
                        assert!(found == expected, "{path} bit {bit}");
                    }
                }
                disk.flip(path, bit as u64);
                flips += 1;
            }
        }
        assert!(flips > 15_000);
        assert!(content(&disk).unwrap() == expected);
    }

    #[test]
    fn what_a_later_group_proves_to_have_been_durable_is_not_cut_off() {
        let mut stepped = fresh();
        for head in 0..3 {
            stepped.append(1, head, "some entry").unwrap();
        }
        let disk = stepped.disk.clone();
        let path = stepped.newest();
        drop(stepped);
        let listed = list(&disk).unwrap();
        let mut entries = Vec::new();
        let each = |listed| {
            if let Listed::Frame { offset, facts, .. } = listed
                && facts.revision.0 > 0
            {
                entries.push(offset);
            }
            true
        };
        listed[0].as_ref().unwrap().each(each).unwrap();
        for (at, offset) in entries.iter().enumerate() {
            disk.flip(&path, (offset + 60) * 8);
            let found = opened(&disk).map(|mut stepped| stepped.texts(1).len());
            disk.flip(&path, (offset + 60) * 8);
            match (at, found) {
                // The last one cannot be told from one that was being written.
                (2, found) => assert_eq!(found.unwrap(), 2),
                (_, Err(OpenError::Damaged { segment: 1, offset: named, .. })) => assert_eq!(named, *offset),
                (_, found) => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn a_missing_segment_is_noticed() {
        let disk = closed();
        for path in segment_paths(&disk) {
            let copy = disk.after_power_cut(0);
            let bytes = copy.bytes(&path).unwrap();
            idhini_changelog::disk::Disk::remove(&copy, &path).unwrap();
            let is_newest = Some(&path) == segment_paths(&disk).iter().max();
            match content(&copy) {
                Err(OpenError::Damaged { .. }) => {}
                // Nothing names the newest but itself.
                found => assert!(is_newest, "{path}: {found:?}"),
            }
            copy.put(&path, bytes);
            content(&copy).unwrap();
        }
    }

    #[test]
    fn a_segment_of_another_store_or_number_is_refused() {
        let disk = closed();
        let paths = segment_paths(&disk);
        let (first, second) = (disk.bytes(&paths[0]).unwrap(), disk.bytes(&paths[1]).unwrap());
        disk.put(&paths[0], second);
        assert!(matches!(content(&disk), Err(OpenError::Damaged { .. })));
        disk.put(&paths[0], first);
        let mut options = options();
        options.new_store = 1;
        let other = FaultDisk::new(1);
        let (store, steps) = EmbeddedStore::open_stepped(Arc::new(other.clone()), &options).unwrap();
        let mut stepped = Stepped { disk: other.clone(), store, steps };
        stepped.append(1, 0, "x").unwrap();
        disk.put(&paths[0], other.bytes("log/0000000001.segment").unwrap());
        assert!(matches!(content(&disk), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let disk = closed();
        let path = segment_paths(&disk).pop().unwrap();
        let mut bytes = disk.bytes(&path).unwrap();
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        disk.put(&path, bytes);
        let error = content(&disk).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("format 2") && error.to_string().contains("up to 1"), "{error}");
    }

    #[test]
    fn damage_under_a_running_store_is_an_error_of_the_read() {
        let mut stepped = fresh();
        stepped.append(1, 0, "some entry").unwrap();
        let path = stepped.newest();
        let bytes = stepped.disk.bytes(&path).unwrap();
        let at = bytes.windows(10).position(|window| window == b"some entry").unwrap();
        stepped.disk.flip(&path, at as u64 * 8);
        let error = stepped.read(1).unwrap_err();
        assert!(matches!(error, LogError::Damaged { .. }), "{error:?}");
    }
}
