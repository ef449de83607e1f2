//! Who waits for the writer, and who for a reader? The store's two queues.
//!
//! Appends wait with at most [`WAITING_BYTES_MAX`] of entries; whoever comes then waits before queueing.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use idhini_model::Revision;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{AppendError, Batch, LogError, LogId};

/// Bytes of entries that may wait for the writer.
pub(crate) const WAITING_BYTES_MAX: usize = 256 << 20;

/// What a permit of [`Waiting::room`] stands for.
const PERMIT_BYTES: usize = 1024;

/// Whoever asked, unless they went away.
pub(crate) type Answer<T, E> = oneshot::Sender<Result<T, E>>;

/// What the writer is asked for.
pub(crate) enum Request {
    Append {
        log: LogId,
        head: Revision,
        batch: Batch,
        /// Given back when the batch is answered.
        room: OwnedSemaphorePermit,
        answer: Answer<Revision, AppendError>,
    },
    Trim {
        log: LogId,
        below: Revision,
        answer: Answer<(), LogError>,
    },
    Delete {
        log: LogId,
        answer: Answer<(), LogError>,
    },
    /// A log that has no past begins behind `head`.
    Begin {
        log: LogId,
        head: Revision,
        answer: Answer<(), LogError>,
    },
    /// Find out what became of batches of an unknown outcome.
    Settle {
        answer: Answer<(), LogError>,
    },
    Compact {
        answer: Answer<(), LogError>,
    },
    Close {
        answer: Answer<(), LogError>,
    },
}

/// A queue that one or more threads take from.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        let state = State { waiting: VecDeque::new(), is_closed: false };
        Queue { state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Adds to the end; gives it back if the queue is closed.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.is_closed {
            return Err(item);
        }
        state.waiting.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes what waits for as long as `wants` says so, without waiting.
    pub(crate) fn take_while(&self, mut wants: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut state = self.state();
        let mut taken = Vec::new();
        while let Some(item) = state.waiting.pop_front_if(|item| wants(item)) {
            taken.push(item);
        }
        taken
    }

    /// Waits until something waits; false if the queue was closed and is empty.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state();
        while state.waiting.is_empty() && !state.is_closed {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.waiting.is_empty()
    }

    /// Takes the first, waiting for it; `None` if the queue was closed and is empty.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            match state.waiting.pop_front() {
                Some(item) => return Some(item),
                None if state.is_closed => return None,
                None => state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Takes nothing more in.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.state().waiting.len()).finish_non_exhaustive()
    }
}

/// Room for entries that wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    room: Arc<Semaphore>,
}

impl Waiting {
    pub(crate) fn new() -> Waiting {
        Waiting { room: Arc::new(Semaphore::new(WAITING_BYTES_MAX / PERMIT_BYTES)) }
    }

    /// Waits until there is room for so many bytes; a batch larger than all of it waits for all of it.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AppendError> {
        let permits = (bytes / PERMIT_BYTES + 1).min(WAITING_BYTES_MAX / PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        room.map_err(|_| AppendError::Unavailable { source: closed() })
    }
}

/// What is said when the store was closed.
pub(crate) fn closed() -> Arc<io::Error> {
    Arc::new(io::Error::new(io::ErrorKind::NotConnected, "the log's store was closed"))
}
