//! Namespaces whose logs cannot be read at first.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use idhini_changelog::{
    AppendError, Batch, BoxFuture, Changelog, Head, LogError, LogId, MemoryStore, Store, Stored,
};
use idhini_model::Revision;

use super::on_disk::{LOG, Left};
use crate::{Node, NodeOptions, Options, Parts};

/// A store whose logs have no head the first times, after a while.
#[derive(Debug)]
struct Reluctant {
    inner: MemoryStore,
    refusals: Arc<AtomicU64>,
}

struct ReluctantLog {
    inner: Arc<dyn Changelog>,
    refusals: Arc<AtomicU64>,
}

impl fmt::Debug for ReluctantLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReluctantLog")
    }
}

impl Store for Reluctant {
    fn log(&self, id: LogId) -> Arc<dyn Changelog> {
        Arc::new(ReluctantLog { inner: self.inner.log(id), refusals: Arc::clone(&self.refusals) })
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogId>, LogError>> {
        self.inner.logs()
    }

    fn begin(&self, id: LogId, head: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.begin(id, head)
    }

    fn delete(&self, id: LogId) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.delete(id)
    }
}

impl Changelog for ReluctantLog {
    fn append(&self, head: Revision, batch: Batch) -> BoxFuture<'_, Result<Revision, AppendError>> {
        self.inner.append(head, batch)
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        Box::pin(async move {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            let refuses = |left: u64| left.checked_sub(1);
            if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses).is_ok() {
                return Err(LogError::Unavailable { source: Arc::new(std::io::Error::other("not yet")) });
            }
            self.inner.head().await
        })
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        self.inner.read(after, bytes_max)
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.trim(below)
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.grown(beyond)
    }
}

/// A node whose first so many attempts to open a namespace fail.
fn reluctant(left: &Left, refusals: u64) -> Arc<Node> {
    let store = Reluctant { inner: left.store.clone(), refusals: Arc::new(AtomicU64::new(refusals)) };
    let parts = Parts { store: Arc::new(store), disk: None, clock: left.clock(), report: left.report() };
    Arc::new(Node::new(parts, NodeOptions::default()))
}

#[test]
fn who_waits_while_another_fails_opens_the_one_that_all_get() {
    let left = Left::new(Options::default());
    let node = reluctant(&left, 1);
    left.runtime.block_on(async {
        let asking: Vec<_> = (0..3)
            .map(|_| {
                let node = Arc::clone(&node);
                tokio::spawn(async move { node.namespace(LOG).await })
            })
            .collect();
        let mut held = Vec::new();
        for asking in asking {
            held.extend(asking.await.unwrap());
        }
        held.push(node.namespace(LOG).await.unwrap());
        assert_eq!(held.len(), 3);
        assert!(held.iter().all(|namespace| Arc::ptr_eq(namespace, &held[0])));
        assert_eq!(node.usage().0, 1);
    });
}

#[test]
fn what_nobody_could_open_or_waits_for_leaves_nothing_behind() {
    let left = Left::new(Options::default());
    let node = reluctant(&left, 2);
    left.runtime.block_on(async {
        let ask = || {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.namespace(LOG).await })
        };
        let (first, second) = (ask(), ask());
        assert!(first.await.unwrap().is_err() && second.await.unwrap().is_err());
        assert_eq!(node.usage().0, 0);
        let called_off = ask();
        tokio::task::yield_now().await;
        assert_eq!(node.usage().0, 1);
        called_off.abort();
        assert!(called_off.await.unwrap_err().is_cancelled());
        assert_eq!(node.usage().0, 0);
        assert!(node.namespace(LOG).await.is_ok());
    });
}
