//! Reading: in portions, in chunks, and while others append.

use std::sync::Arc;

use bytes::Bytes;
use idhini_model::Revision;

use super::{LOG, Stores, all, append_somewhere, by, texts};
use crate::{Batch, CHUNK_BYTES_MAX, Changelog, LogError, Record, Stored, Writer};

pub async fn large_entries_come_back_in_their_chunks(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let chunk = |length: usize, byte: u8| Bytes::from(vec![byte; length]);
    let records = vec![
        Record {
            chunks: vec![chunk(1, 0), chunk(CHUNK_BYTES_MAX, 1), chunk(7, 2), chunk(CHUNK_BYTES_MAX, 3)],
        },
        Record { chunks: vec![chunk(3, 0)] },
        Record { chunks: (0..100).map(|byte| chunk(100, byte)).collect() },
    ];
    let writer = Writer { id: 1, sequence: 1 };
    log.append(Revision(0), Batch { writer, records: records.clone() }).await.unwrap();
    let same = |read: Vec<Stored>| {
        let read: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
        assert!(read == records, "entries came back as {read:?}");
    };
    let begin_the_same = async |log: &dyn Changelog| {
        for (record, revision) in records.iter().zip(1..) {
            let record = Record { chunks: record.chunks[..1].to_vec() };
            let stored = Stored { revision: Revision(revision), writer, record };
            assert_eq!(log.beginning(Revision(revision)).await.unwrap(), Some(stored));
        }
        assert_eq!(log.beginning(Revision(4)).await.unwrap(), None);
    };
    same(all(&*log, Revision(0)).await);
    begin_the_same(&*log).await;
    drop(log);
    let store = stores.reopened(store).await;
    let log = store.log(LOG);
    same(all(&*log, Revision(0)).await);
    begin_the_same(&*log).await;
    log.trim(Revision(2)).await.unwrap();
    let trimmed = log.beginning(Revision(1)).await;
    assert!(matches!(trimmed, Err(LogError::Trimmed { .. })), "{trimmed:?}");
}

pub async fn reads_give_as_much_as_fits_and_one_entry_at_least(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let texts: Vec<String> = (1..=50_usize).map(|length| "x".repeat(length)).collect();
    let entries: Vec<&str> = texts.iter().map(String::as_str).collect();
    log.append(Revision(0), by(1, &entries)).await.unwrap();
    for bytes_max in [0, 1, 2, 3, 10, 100, 1000, 1275, 10_000] {
        for after in [0, 1, 10, 48, 49] {
            let read = log.read(Revision(after), bytes_max).await.unwrap();
            let revisions: Vec<u64> = read.iter().map(|stored| stored.revision.0).collect();
            let (mut fits, mut bytes) = (Vec::new(), 0);
            for revision in after + 1..=50 {
                bytes += usize::try_from(revision).unwrap();
                if bytes > bytes_max && !fits.is_empty() {
                    break;
                }
                fits.push(revision);
            }
            assert_eq!(revisions, fits, "{bytes_max} bytes after {after}");
        }
    }
}

pub async fn reads_beyond_the_head_give_nothing(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    log.append(Revision(0), by(1, &["a"])).await.unwrap();
    assert_eq!(log.read(Revision(1), 100).await.unwrap(), []);
    assert_eq!(log.read(Revision(100), 100).await.unwrap(), []);
}

pub async fn whoever_waits_is_told_that_the_log_grew(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let waits: Vec<_> = [0, 0, 1]
        .into_iter()
        .map(|beyond| {
            let log = store.log(LOG);
            tokio::spawn(async move { log.grown(Revision(beyond)).await.map(|()| beyond) })
        })
        .collect();
    tokio::task::yield_now().await;
    log.append(Revision(0), by(1, &["a"])).await.unwrap();
    log.append(Revision(1), by(1, &["b"])).await.unwrap();
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
    log.grown(Revision(1)).await.unwrap();
}

pub async fn a_follower_sees_every_entry_once_while_others_append(stores: &dyn Stores) {
    const ENTRIES: u64 = 200;
    let store = stores.fresh().await;
    let followers: Vec<_> = (0..3).map(|_| tokio::spawn(follow(store.log(LOG), ENTRIES))).collect();
    let writers: Vec<_> = (1..=4)
        .map(|id| {
            let log = store.log(LOG);
            tokio::spawn(async move {
                for _ in 0..ENTRIES / 4 {
                    append_somewhere(&*log, by(id, &["entry"])).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for follower in followers {
        assert_eq!(follower.await.unwrap(), (1..=ENTRIES).collect::<Vec<_>>());
    }
    assert_eq!(texts(&all(&*store.log(LOG), Revision(ENTRIES - 1)).await), [(ENTRIES, "entry".into())]);
}

async fn follow(log: Arc<dyn Changelog>, until: u64) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    loop {
        let after = Revision(seen.last().copied().unwrap_or(0));
        if after.0 == until {
            return seen;
        }
        log.grown(after).await.unwrap();
        let read = log.read(after, 64).await.unwrap();
        assert!(!read.is_empty(), "it grew, and there is nothing to read");
        seen.extend(read.iter().map(|stored| stored.revision.0));
    }
}
