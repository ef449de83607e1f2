//! Logs of any entries and images of any bytes, behind their checksums: what is found good can be restored, to its end
//! and to any revision in it, and what was restored is good and has the same in it.
//!
//! Input: the revision that the log begins behind (1), which revision is restored besides the newest (1), two image
//! files, the entries.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use idhini_changelog::{Batch, Changelog, LogId, MemoryStore, Record, Store, Writer};
use idhini_fuzz::image_file::{LOG, parts, path};
use idhini_fuzz::next_entry;
use idhini_model::Revision;
use idhini_replica::{Images, Report, Target, Verified, restore, verify};
use idhini_testkit::disk::FaultDisk;
use libfuzzer_sys::fuzz_target;

const ENTRIES_MAX: usize = 64;

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
}

fn look(disk: &FaultDisk) -> Images {
    let report: Report = Arc::new(|_| {});
    Images::look(Arc::new(disk.clone()), LOG, report).expect("the disk is well")
}

async fn log_of(begin: Revision, mut rest: &[u8]) -> Arc<dyn Changelog> {
    let store = MemoryStore::new();
    if begin > Revision(0) {
        store.begin(LOG, begin).await.expect("nothing was appended before");
    }
    let log = store.log(LOG);
    let entries = std::iter::from_fn(|| next_entry(&mut rest)).take(ENTRIES_MAX);
    let records: Vec<Record> = entries
        .filter(|chunks| chunks.iter().all(|chunk| !chunk.is_empty()))
        .map(|chunks| Record { chunks: chunks.into_iter().map(Bytes::copy_from_slice).collect() })
        .collect();
    if !records.is_empty() {
        let batch = Batch { writer: Writer { id: 1, sequence: 1 }, records };
        log.append(begin, batch).await.expect("the store is well");
    }
    log
}

async fn exercise(mut rest: &[u8]) {
    let Some(([begin, wanted], behind)) = rest.split_first_chunk() else { return };
    rest = behind;
    let disk = FaultDisk::new(1);
    let mut revision = 0;
    for _ in 0..2 {
        let Some(parts) = parts(&mut rest, revision) else { return };
        revision = parts.revision;
        let file = parts.file(&disk);
        disk.put(&path(revision), file);
    }
    let log = log_of(Revision(u64::from(*begin)), rest).await;
    let Ok(good) = verify(&*log, &look(&disk)).await else { return };
    let head = log.head().await.expect("the store is well");
    assert_eq!(good.newest, head.revision);
    let span = good.newest.0 - good.oldest.0 + 1;
    let inside = Revision(good.oldest.0 + u64::from(*wanted) % span);
    let newest = restored(&log, &disk, Target::Newest).await;
    assert_eq!((newest.newest, newest.relationships), (good.newest, good.relationships));
    let earlier = restored(&log, &disk, Target::Revision(inside)).await;
    assert_eq!((earlier.newest, earlier.oldest), (inside, good.oldest.min(inside)));
}

/// What is restored of what is good, and found good there.
async fn restored(log: &Arc<dyn Changelog>, disk: &FaultDisk, target: Target) -> Verified {
    let (store, new) = (MemoryStore::new(), FaultDisk::new(2));
    let (new_log, new_images) = (store.log(LogId(1)), look(&new));
    let begin = async |head| match head {
        Revision(0) => Ok(()),
        head => store.begin(LOG, head).await,
    };
    let from = (Arc::clone(log), look(disk));
    let last = restore(from, target, (begin, &*new_log, &new_images), 2).await.expect("it is good");
    let found = verify(&*new_log, &look(&new)).await.expect("what was restored is good");
    assert_eq!(found.newest, last.revision);
    found
}

fuzz_target!(|input: &[u8]| RUNTIME.with(|runtime| runtime.block_on(exercise(input))));
