//! The acceptance suite for the embedded store on a disk that fails when told to.

use std::sync::{Arc, Mutex};

use idhini_changelog::acceptance::{LosesAnswers, Stores, lost_answers_are_settled_by_the_head};
use idhini_changelog::embedded::Options;
use idhini_changelog::{BoxFuture, EmbeddedStore, Store};
use idhini_testkit::disk::{Fault, FaultDisk, Kind};

struct OnFaultDisk {
    disk: Mutex<FaultDisk>,
}

impl OnFaultDisk {
    fn new() -> OnFaultDisk {
        OnFaultDisk { disk: Mutex::new(FaultDisk::new(1)) }
    }

    fn open(&self) -> Arc<dyn Store> {
        let disk = Arc::new(self.disk.lock().unwrap().clone());
        let mut options = Options::new(1);
        options.segment_bytes = 4000;
        Arc::new(EmbeddedStore::open(disk, &options).unwrap())
    }
}

impl Stores for OnFaultDisk {
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        *self.disk.lock().unwrap() = FaultDisk::new(1);
        Box::pin(async { self.open() })
    }

    fn reopened(&self, store: Arc<dyn Store>) -> BoxFuture<'_, Arc<dyn Store>> {
        drop(store);
        Box::pin(async { self.open() })
    }
}

impl LosesAnswers for OnFaultDisk {
    fn disturb(&self) {
        let error = std::io::ErrorKind::Other;
        let fault = Fault { kind: Kind::Sync, path: "log/".to_owned(), skipped: 0, count: u64::MAX, error };
        self.disk.lock().unwrap().fail(fault);
    }

    fn heal(&self) {
        self.disk.lock().unwrap().heal();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_lost_to_failing_syncs_are_settled() {
    lost_answers_are_settled_by_the_head(&OnFaultDisk::new()).await;
}

idhini_changelog::acceptance!(OnFaultDisk::new());
