//! Readers beside writers, and those who follow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use idhini::{Change, EntryKind, Idhini, Part, Revision, Update};

use super::{Directory, Seconds, filled, has, in_memory_and_on_disk, relationship, touch};

const WRITERS: usize = 4;
const WRITES: usize = 25;

/// Writers move ann from one group to another; the readers must never see her in both or in none.
#[test]
fn readers_see_all_of_a_write_or_none_of_it() {
    in_memory_and_on_disk(|idhini, _| {
        touch(idhini, &["group:a#member@user:mover"]);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let read = || {
                let (mut seen, mut last) = (0u64, Revision(0));
                while !is_over.load(Ordering::Acquire) {
                    let snapshot = idhini.snapshot();
                    assert!(snapshot.revision() >= last);
                    last = snapshot.revision();
                    let in_a = has(&snapshot, "group:a", "member", "user:mover");
                    let in_b = has(&snapshot, "group:b", "member", "user:mover");
                    assert_ne!(in_a, in_b, "at {last}");
                    seen += 1;
                }
                seen
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            for n in 0..100 {
                let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
                let member = |group| relationship(&format!("group:{group}#member@user:mover"));
                idhini.write([Update::delete(member(from)), Update::touch(member(to))]).unwrap();
            }
            is_over.store(true, Ordering::Release);
            for reader in readers {
                assert!(reader.join().unwrap() > 0);
            }
        });
    });
}

#[test]
fn a_watch_tells_every_write_once_and_in_order() {
    in_memory_and_on_disk(|idhini, _| {
        let begin = idhini.snapshot().revision();
        let follow = |mut watch: idhini::Watch| {
            let (mut told, mut through) = (Vec::new(), begin);
            while told.len() < WRITERS * WRITES {
                let Part { revision, kind, is_last, .. } = watch.next().unwrap().unwrap();
                assert_eq!((revision, is_last), (through.next(), true));
                through = revision;
                let EntryKind::Relationships(changes) = kind else { panic!("{kind:?}") };
                let [Change::Created(created)] = &changes[..] else { panic!("{changes:?}") };
                told.push(created.subject.object_id.clone());
            }
            (told, watch)
        };
        thread::scope(|scope| {
            // One from the beginning, waiting; another that comes when all is written.
            let early = idhini.watch(begin).unwrap();
            let early = scope.spawn(move || follow(early));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn(move || {
                        for n in 0..WRITES {
                            touch(idhini, &[&format!("group:w{writer}#member@user:{writer}_{n}")]);
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            let (told, mut watch) = early.join().unwrap();
            assert_eq!(watch.next_within(Duration::ZERO).unwrap(), None);
            assert_eq!(follow(idhini.watch(begin).unwrap()).0, told);
            for writer in 0..WRITERS {
                let own = format!("{writer}_");
                let of_writer: Vec<_> = told.iter().filter(|told| told.starts_with(&own)).collect();
                let expected: Vec<String> = (0..WRITES).map(|n| format!("{writer}_{n}")).collect();
                assert_eq!(of_writer, expected.iter().collect::<Vec<_>>());
            }
        });
    });
}

#[test]
fn a_large_write_is_told_in_parts_the_last_of_which_says_so() {
    in_memory_and_on_disk(|idhini, _| {
        let begin = idhini.snapshot().revision();
        let many = (0..40_000).map(|n| relationship(&format!("group:many#member@user:number-{n}"))).collect();
        let imported = idhini.import(many).unwrap();
        let (mut count, mut parts, mut is_over) = (0, 0, false);
        let mut watch = idhini.watch(begin).unwrap();
        while !is_over {
            let part = watch.next().unwrap().unwrap();
            assert_eq!((part.revision, part.number), (imported, parts));
            let EntryKind::Relationships(changes) = part.kind else { panic!("{:?}", part.kind) };
            count += changes.len();
            parts += 1;
            is_over = part.is_last;
        }
        assert!(count == 40_000 && parts > 1, "{count} in {parts} parts");
        assert!(idhini.watch(Revision(1_000)).is_err());
    });
}

#[test]
fn a_watch_that_waits_ends_with_the_last_handle() {
    let idhini = Idhini::in_memory().unwrap();
    let mut watch = idhini.watch(idhini.snapshot().revision()).unwrap();
    let waiting = thread::spawn(move || watch.next().is_none());
    // Most often it waits by then; if not it must end all the same.
    thread::sleep(Duration::from_millis(20));
    drop(idhini);
    assert!(waiting.join().unwrap());
}

/// A writer is in the middle of a large import, on this handle's own threads, while checks are made. Each of them must end
/// before the import does: none waits for it.
#[test]
fn a_check_does_not_wait_for_a_write_that_is_going_on() {
    let directory = Directory::new();
    let seconds = Seconds::default();
    seconds.set(super::BEFORE);
    let idhini = filled(seconds.options().open(&directory.0).unwrap());
    let before = idhini.snapshot().revision();
    let many: Vec<_> =
        (0..100_000).map(|n| relationship(&format!("group:many#member@user:number-{n}"))).collect();
    let is_written = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            idhini.import(many).unwrap();
            is_written.store(true, Ordering::SeqCst);
        });
        let mut checked = 0;
        while !is_written.load(Ordering::SeqCst) {
            let snapshot = idhini.snapshot();
            assert!(has(&snapshot, "document:readme", "view", "user:ann"));
            if snapshot.revision() == before {
                checked += 1;
            }
        }
        assert!(checked > 100, "{checked} checks ended before the import did");
    });
    assert_eq!(idhini.snapshot().revision(), before.next());
}

/// Inside somebody else's runtime, on a thread that may not block for long, and with a task's budget that no runtime fills
/// up: none of that may hold a call up or panic.
#[test]
fn an_async_application_may_call_from_within_its_tasks() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = Directory::new();
    let seconds = Seconds::default();
    seconds.set(super::BEFORE);
    runtime.block_on(async {
        let task = tokio::spawn(async move {
            let idhini = filled(seconds.options().open(&directory.0).unwrap());
            let mut watch = idhini.watch(idhini.snapshot().revision()).unwrap();
            // Far more than a task may do in one go.
            for n in 0..300 {
                touch(&idhini, &[&format!("group:eng#member@user:u{n}")]);
                assert!(watch.next().unwrap().is_ok());
            }
            assert!(has(&idhini.snapshot(), "document:readme", "view", "user:u299"));
            drop(idhini);
            assert!(watch.next().is_none());
            directory
        });
        let directory = task.await.unwrap();
        Idhini::open(&directory.0).unwrap();
    });
}
