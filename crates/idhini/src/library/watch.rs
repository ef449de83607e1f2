//! What changes, in order, as it comes?
//!
//! # Invariants
//! * Each write is told once, in order, after it is durable; a large one in parts, the last of which says so.
//! * Whoever follows holds a portion of the log and no revision, however long it pauses.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use idhini_replica::{Changes, Part};
use tokio::sync::watch;

use crate::Error;
use crate::driver::Calls;

/// Changes as they come. As an iterator it waits for the next, and ends when the last handle is dropped.
///
/// To go on later, keep the `revision` of the last part that said `is_last`, and watch from there.
///
/// ```
/// # use std::time::Duration;
/// # use idhini::{Change, EntryKind, Idhini, Update};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let idhini = Idhini::in_memory()?;
/// # let schema = idhini.write_schema("definition user {} definition group { relation member: user }")?;
/// let mut watch = idhini.watch(schema)?;
/// idhini.write(Update::touch("group:eng#member@user:ann".parse()?))?;
///
/// let part = watch.next_within(Duration::from_secs(10))?.ok_or("nothing came")?;
/// let EntryKind::Relationships(changes) = part.kind else { return Err("no relationships".into()) };
/// assert!(matches!(&changes[..], [Change::Created(ann)] if ann.to_string() == "group:eng#member@user:ann"));
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    /// `None` when it has ended. A watch that is kept idle keeps the directory too.
    changes: Option<Changes>,
    calls: Calls,
    closing: Option<watch::Receiver<()>>,
}

impl Watch {
    pub(crate) fn new(changes: Changes, calls: Calls, closing: Option<watch::Receiver<()>>) -> Watch {
        Watch { changes: Some(changes), calls, closing }
    }

    /// The next part, if it comes within so long; with no time at all, if it is there.
    ///
    /// # Errors
    /// [`Error::Refused`] if what comes next is no longer kept; the watch has ended then.
    pub fn next_within(&mut self, duration: Duration) -> Result<Option<Part>, Error> {
        let (Some(changes), Some(closing)) = (&mut self.changes, &mut self.closing) else { return Ok(None) };
        match self.calls.wait_within(duration, next(changes, closing)) {
            None => Ok(None),
            Some(told) => self.told(told),
        }
    }

    fn told(&mut self, told: Result<Option<Part>, Error>) -> Result<Option<Part>, Error> {
        if !matches!(told, Ok(Some(_))) {
            self.changes = None;
        }
        told
    }
}

impl Iterator for Watch {
    type Item = Result<Part, Error>;

    fn next(&mut self) -> Option<Result<Part, Error>> {
        let (changes, closing) = (self.changes.as_mut()?, self.closing.as_mut()?);
        let told = self.calls.wait(next(changes, closing));
        self.told(told).transpose()
    }
}

/// `None` once everything is closed.
async fn next(changes: &mut Changes, closing: &mut watch::Receiver<()>) -> Result<Option<Part>, Error> {
    loop {
        if closing.has_changed().is_err() {
            return Ok(None);
        }
        match changes.next().await {
            Ok(Some(part)) => return Ok(Some(part)),
            Ok(None) => {}
            // What is closed cannot be read.
            Err(_) if closing.has_changed().is_err() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (mut grown, mut closed) = (pin!(changes.grown()), pin!(closing.changed()));
        poll_fn(|context| match closed.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => grown.as_mut().poll(context),
        })
        .await;
    }
}
