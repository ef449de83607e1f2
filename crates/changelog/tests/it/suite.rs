//! The acceptance suite, for every store of this crate.

use std::sync::{Arc, Mutex};

use idhini_changelog::acceptance::Stores;
use idhini_changelog::embedded::Options;
use idhini_changelog::{BoxFuture, EmbeddedStore, FileDisk, MemoryStore, Store};

use crate::scratch::Scratch;

struct InMemory;

impl Stores for InMemory {
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async { Arc::new(MemoryStore::new()) as Arc<dyn Store> })
    }

    fn reopened(&self, store: Arc<dyn Store>) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async { store })
    }
}

/// Stores in files, of segments so small that every test needs many of them.
struct InFiles {
    scratch: Mutex<Scratch>,
    segment_bytes: u64,
}

impl InFiles {
    fn new(segment_bytes: u64) -> InFiles {
        InFiles { scratch: Mutex::new(Scratch::new()), segment_bytes }
    }

    fn open(&self) -> Arc<dyn Store> {
        let disk = FileDisk::open(self.scratch.lock().unwrap().path()).unwrap();
        let mut options = Options::new(1);
        options.segment_bytes = self.segment_bytes;
        Arc::new(EmbeddedStore::open(Arc::new(disk), &options).unwrap())
    }
}

impl Stores for InFiles {
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        *self.scratch.lock().unwrap() = Scratch::new();
        Box::pin(async { self.open() })
    }

    fn reopened(&self, store: Arc<dyn Store>) -> BoxFuture<'_, Arc<dyn Store>> {
        // The last handle closes the store. Logs that tests hold do not keep it open.
        drop(store);
        Box::pin(async { self.open() })
    }
}

mod memory {
    use super::InMemory;

    idhini_changelog::acceptance!(InMemory);
}

mod embedded {
    use super::InFiles;

    idhini_changelog::acceptance!(InFiles::new(64 << 20));
}

mod embedded_in_small_segments {
    use super::InFiles;

    idhini_changelog::acceptance!(InFiles::new(2_000));
}
