//! Who is told what the store's writer does?
//!
//! For metrics and readiness. The store has no clock: whoever observes it runs the sync and takes the time.
//!
//! Cost: one dynamic call a group, nothing without an observer.

use std::fmt;
use std::io;

use super::group::{Group, Part};
use crate::Record;

/// Told by the store's one writer, which waits meanwhile.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Runs `sync` once, which makes a group durable, and returns what it returns.
    ///
    /// # Errors
    /// Those of `sync`.
    fn observe(&self, group: Written, sync: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;

    /// A group was not written, or nobody knows whether it was.
    fn failed(&self, error: &io::Error);
}

/// What shares one sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Entries appended.
    pub entries: u64,
    /// Bytes of these, without their frames.
    pub bytes: u64,
}

impl Written {
    pub(super) fn of(group: &Group) -> Written {
        let batches = || {
            group.parts.iter().filter_map(|part| match part {
                Part::Batch { batch, .. } => Some(&batch.records),
                _ => None,
            })
        };
        Written {
            entries: batches().map(|records| records.len() as u64).sum(),
            bytes: batches().flatten().map(|record: &Record| record.bytes() as u64).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use idhini_model::Revision;

    use super::{Observer, Written};
    use crate::embedded::Options;
    use crate::{Batch, EmbeddedStore, FileDisk, LogId, Record, Store as _, Writer};

    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<Written>>);

    impl Observer for Seen {
        fn observe(&self, group: Written, sync: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
            self.0.lock().unwrap().push(group);
            sync()
        }

        fn failed(&self, error: &io::Error) {
            panic!("{error}");
        }
    }

    #[tokio::test]
    async fn an_observer_is_told_of_every_group() {
        let folder = std::env::temp_dir().join(format!("idhini-observe-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let seen = Arc::new(Seen::default());
        let mut options = Options::new(7);
        options.observer = Some(Arc::clone(&seen) as Arc<dyn Observer>);
        let store = EmbeddedStore::open(Arc::new(FileDisk::open(&folder).unwrap()), &options).unwrap();
        let record = || Record { chunks: vec![Bytes::from_static(b"five!")] };
        let batch = Batch { writer: Writer { id: 1, sequence: 1 }, records: vec![record(), record()] };
        store.log(LogId(1)).append(Revision(0), batch).await.unwrap();
        assert_eq!(*seen.0.lock().unwrap(), [Written { entries: 2, bytes: 10 }]);
        store.close().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
