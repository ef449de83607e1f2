//! What becomes of a view whose reader leaves in the middle?

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use idhini_changelog::{
    AppendError, Batch, BoxFuture, Changelog, Head, LogError, MemoryStore, Store, Stored,
};
use idhini_model::Revision;

use super::*;
use crate::Options;

/// A log that is waited for with each reading.
#[derive(Debug)]
struct SlowToRead(Arc<dyn Changelog>);

impl Changelog for SlowToRead {
    fn append(&self, head: Revision, batch: Batch) -> BoxFuture<'_, Result<Revision, AppendError>> {
        self.0.append(head, batch)
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        self.0.head()
    }

    fn read(&self, after: Revision, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, LogError>> {
        Box::pin(async move {
            let mut is_asked = false;
            std::future::poll_fn(|_| match std::mem::replace(&mut is_asked, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            self.0.read(after, bytes_max).await
        })
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.0.trim(below)
    }

    fn grown(&self, beyond: Revision) -> BoxFuture<'_, Result<(), LogError>> {
        self.0.grown(beyond)
    }
}

/// Polls a future until it is done, or so many times.
fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    (0..times).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

#[test]
fn whoever_leaves_in_the_middle_leaves_whole_entries_and_their_version() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = Arc::new(SlowToRead(MemoryStore::new().log(SYS_LOG)));
    let plane = {
        let opened = Namespace::open(log, None, Arc::new(|| Timestamp::from_seconds(1)), Options::default());
        let opening = async { ControlPlane::alone(opened.await.unwrap(), Vec::new()).await.unwrap() };
        let mut opening = pin!(opening);
        // What waits for the log is polled again, and what the writer does goes on meanwhile.
        loop {
            let polled = runtime.block_on(async {
                let polled =
                    std::future::poll_fn(|context| Poll::Ready(opening.as_mut().poll(context))).await;
                tokio::task::yield_now().await;
                polled
            });
            if let Poll::Ready(plane) = polled {
                break plane;
            }
        }
    };
    // Entries of more than one portion of the log, by their writer alone.
    let metadata =
        |n: usize| (0..METADATA_MAX).map(|key| (format!("{key}"), format!("{n}").repeat(120))).collect();
    for n in 100..130 {
        let path = format!("a{n}").parse().unwrap();
        let change = ControlChange::Create { path, id: NamespaceId(format!("id{n}")), metadata: metadata(n) };
        runtime
            .block_on(
                plane.sys.ask(Request::Control(Box::new(Control { by: None, change })), Wanted::always()),
            )
            .unwrap();
    }
    let count = || plane.look(|view| view.below(&NamespacePath::root(), false).count()).unwrap();
    let mut seen = (plane.version(), count());
    let mut steps = 0;
    // It waits for the first portion, takes that in, waits for the next, and is left.
    while polled(plane.catch_up(), 2).is_none() {
        let now = (plane.version(), count());
        assert_eq!(now.1 > seen.1, now.0 > seen.0, "{seen:?} {now:?}");
        (seen, steps) = (now, steps + 1);
        assert!(steps < 100, "{now:?}");
    }
    assert!(steps > 1);
    assert_eq!(count(), 30);
}
