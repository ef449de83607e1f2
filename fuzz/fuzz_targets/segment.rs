//! Segment files of any bytes, behind their checksums: a store that opens has every entry that it says it has, takes
//! another one, and opens again; any other is refused with an error.
//!
//! The first two bytes say how many of the rest belong to the first of two segments; all checksums are made right.
#![no_main]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use idhini_changelog::embedded::{Options, Steps, forge, list};
use idhini_changelog::{Batch, EmbeddedStore, LogId, Record, Store, Writer};
use idhini_model::Revision;
use idhini_testkit::disk::FaultDisk;
use libfuzzer_sys::fuzz_target;

const STORE: std::ops::Range<usize> = 16..24;

fn answer<T>(steps: &mut Steps, future: impl Future<Output = T>) -> T {
    let mut future: Pin<&mut _> = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        steps.step();
    }
}

/// Reads everything; the ends of all logs.
fn walk(store: &EmbeddedStore, steps: &mut Steps) -> Vec<(LogId, Revision)> {
    let logs = answer(steps, store.logs()).unwrap();
    logs.into_iter()
        .map(|id| {
            let log = store.log(id);
            let head = answer(steps, log.head()).unwrap();
            let mut after = Revision(head.oldest.0 - 1);
            while after < head.revision {
                after = answer(steps, log.read(after, 1 << 16)).unwrap().last().unwrap().revision;
            }
            (id, head.revision)
        })
        .collect()
}

fuzz_target!(|input: &[u8]| {
    let [first, second, rest @ ..] = input else { return };
    let split = usize::from(u16::from_le_bytes([*first, *second])).min(rest.len());
    let (first, second) = rest.split_at(split);
    let (mut first, mut second) = (first.to_vec(), second.to_vec());
    if let (Some(store), Some(to)) = (first.get(STORE), second.get_mut(STORE)) {
        to.copy_from_slice(store);
    }
    let disk = FaultDisk::new(1);
    if first.len() > 2 {
        forge(1, &mut first);
        disk.put("log/0000000001.segment", first);
    }
    forge(2, &mut second);
    disk.put("log/0000000002.segment", second);
    for segment in list(&disk).unwrap().into_iter().flatten() {
        segment.each(|_| true).unwrap();
    }
    let mut options = Options::new(7);
    options.segment_bytes = 4096;
    let Ok((store, mut steps)) = EmbeddedStore::open_stepped(Arc::new(disk.clone()), &options) else {
        return;
    };
    let ends = walk(&store, &mut steps);
    let log = ends.first().map_or(LogId(1), |(id, _)| *id);
    let head = ends.first().map_or(Revision(0), |(_, head)| *head);
    if head.0 < u64::MAX - 1 {
        let records = vec![Record { chunks: vec![Bytes::from_static(b"one more")] }];
        let batch = Batch { writer: Writer { id: 1, sequence: 1 }, records };
        // Log 1 may be deleted.
        let _ = answer(&mut steps, store.log(log).append(head, batch));
    }
    let _ = answer(&mut steps, store.compact());
    let before = walk(&store, &mut steps);
    answer(&mut steps, store.close()).unwrap();
    drop((store, steps));
    let (store, mut steps) = EmbeddedStore::open_stepped(Arc::new(disk), &options).unwrap();
    assert_eq!(walk(&store, &mut steps), before);
});
