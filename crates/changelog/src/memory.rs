//! Logs in memory: gone with the process. For ephemeral servers and for tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use idhini_model::Revision;
use tokio::sync::watch;

use crate::{AppendError, Batch, BoxFuture, Changelog, Head, LogError, LogId, Record, Store, Stored, Writer};

/// Logs of this process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    logs: Arc<Mutex<Logs>>,
}

#[derive(Debug, Default)]
struct Logs {
    open: BTreeMap<LogId, Arc<MemoryLog>>,
    deleted: BTreeSet<LogId>,
}

struct MemoryLog {
    id: LogId,
    kept: Mutex<Kept>,
    head: watch::Sender<Revision>,
}

#[derive(Default)]
struct Kept {
    /// The last of these is the head.
    entries: VecDeque<(Writer, Record)>,
    head: Revision,
    writer: Option<Writer>,
    /// What they take.
    bytes: u64,
    is_deleted: bool,
}

impl MemoryStore {
    /// Without any log.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }
}

impl Store for MemoryStore {
    fn log(&self, id: LogId) -> Arc<dyn Changelog> {
        let mut logs = locked(&self.logs);
        let is_deleted = logs.deleted.contains(&id);
        let log = logs.open.entry(id).or_insert_with(|| {
            let kept = Mutex::new(Kept { is_deleted, ..Kept::default() });
            Arc::new(MemoryLog { id, kept, head: watch::Sender::new(Revision(0)) })
        });
        Arc::clone(log) as Arc<dyn Changelog>
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogId>, LogError>> {
        Box::pin(async {
            let logs = locked(&self.logs);
            let has_past = |log: &MemoryLog| {
                let kept = locked(&log.kept);
                !kept.is_deleted && kept.head > Revision(0)
            };
            Ok(logs.open.iter().filter(|(_, log)| has_past(log)).map(|(id, _)| *id).collect())
        })
    }

    fn begin(&self, id: LogId, head: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            drop(self.log(id));
            let logs = locked(&self.logs);
            let Some(log) = logs.open.get(&id) else { return Ok(()) };
            let mut kept = log.present()?;
            if kept.head > Revision(0) {
                return Err(LogError::Begun { log: id, head: kept.head });
            }
            kept.head = head;
            log.head.send_replace(head);
            Ok(())
        })
    }

    fn delete(&self, id: LogId) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut logs = locked(&self.logs);
            logs.deleted.insert(id);
            if let Some(log) = logs.open.get(&id) {
                let mut kept = locked(&log.kept);
                kept.entries = VecDeque::new();
                kept.bytes = 0;
                kept.is_deleted = true;
                // Whoever waits for it to grow looks again.
                log.head.send_modify(|_| {});
            }
            Ok(())
        })
    }
}

impl Kept {
    fn oldest(&self) -> Revision {
        Revision(self.head.0 + 1 - self.entries.len() as u64)
    }
}

impl Changelog for MemoryLog {
    fn append<'a>(&'a self, head: Revision, batch: Batch) -> BoxFuture<'a, Result<Revision, AppendError>> {
        Box::pin(async move {
            batch.judge()?;
            let mut kept = locked(&self.kept);
            if kept.is_deleted {
                return Err(AppendError::Deleted { log: self.id });
            }
            if kept.head != head {
                return Err(AppendError::HeadMoved { head: kept.head });
            }
            kept.head = Revision(head.0 + batch.records.len() as u64);
            kept.writer = Some(batch.writer);
            kept.bytes += batch.records.iter().map(entry_bytes).sum::<u64>();
            kept.entries.extend(batch.records.into_iter().map(|record| (batch.writer, record)));
            self.head.send_replace(kept.head);
            Ok(kept.head)
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        Box::pin(async {
            let kept = self.present()?;
            Ok(Head { revision: kept.head, oldest: kept.oldest(), writer: kept.writer })
        })
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        Box::pin(async move {
            let kept = self.present()?;
            let oldest = kept.oldest();
            let asked = after.next();
            if asked < oldest {
                return Err(LogError::Trimmed { asked, oldest });
            }
            let (mut read, mut bytes) = (Vec::new(), 0usize);
            let first = usize::try_from(asked.0 - oldest.0).unwrap_or(usize::MAX);
            for ((writer, record), revision) in kept.entries.iter().skip(first).zip(asked.0..) {
                bytes = bytes.saturating_add(record.bytes());
                if bytes > bytes_max && !read.is_empty() {
                    break;
                }
                let (writer, record) = (*writer, record.clone());
                read.push(Stored { revision: Revision(revision), writer, record });
            }
            Ok(read)
        })
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut kept = self.present()?;
            if below > kept.head.next() {
                return Err(LogError::BeyondHead { asked: below, head: kept.head });
            }
            while kept.oldest() < below {
                let Some((_, record)) = kept.entries.pop_front() else { break };
                kept.bytes -= entry_bytes(&record);
            }
            Ok(())
        })
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut head = self.head.subscribe();
            loop {
                drop(self.present()?);
                if *head.borrow_and_update() > beyond {
                    return Ok(());
                }
                // INVARIANT: the sender is part of `self`.
                let _ = head.changed().await;
            }
        })
    }

    fn stored_bytes(&self) -> u64 {
        locked(&self.kept).bytes
    }

    /// All of it.
    fn memory_bytes(&self) -> u64 {
        locked(&self.kept).bytes
    }
}

/// What an entry takes, its chunks included.
fn entry_bytes(record: &Record) -> u64 {
    (size_of::<(Writer, Record)>() + record.chunks.len() * size_of::<Bytes>() + record.bytes()) as u64
}

impl MemoryLog {
    fn present(&self) -> Result<MutexGuard<'_, Kept>, LogError> {
        let kept = locked(&self.kept);
        if kept.is_deleted { Err(LogError::Deleted { log: self.id }) } else { Ok(kept) }
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("log", &self.id).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
