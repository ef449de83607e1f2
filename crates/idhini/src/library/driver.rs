//! How does a call that blocks drive what is async inside?
//!
//! The replica awaits its log and its writer, whose threads wake whoever waits. So the caller's own thread polls, and
//! sleeps in between; and what the replica spawns, the writer of a batch above all, runs on one thread of the handle.
//!
//! # Invariants
//! * A caller that is itself inside a runtime is served as any other: its runtime is neither used nor asked.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

/// Where what is spawned runs, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Driver {
    calls: Calls,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes calls that block.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Handle);

impl Driver {
    pub(crate) fn start() -> io::Result<Driver> {
        let runtime = Builder::new_current_thread().build()?;
        let calls = Calls(runtime.handle().clone());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("idhini-writer".to_owned()).spawn(move || {
            // Either it is told to stop, or whoever could tell it is gone.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Driver { calls, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }
}

/// Waits until nothing runs any more.
impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}

impl Calls {
    /// Waits for the end.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Some(done) = self.poll_until(work.as_mut(), None) {
                return done;
            }
        }
    }

    /// Waits for the end, so long at most; `None` if it did not come.
    pub(crate) fn wait_within<T>(&self, duration: Duration, work: impl Future<Output = T>) -> Option<T> {
        // What is too far away to be said is waited for without end.
        let until = moment().checked_add(duration);
        self.poll_until(pin!(work), until)
    }

    fn poll_until<T>(&self, work: Pin<&mut impl Future<Output = T>>, until: Option<Instant>) -> Option<T> {
        // What is spawned on the way goes to this handle's thread, whatever runtime the caller is in.
        let _entered = self.0.enter();
        // Nor does the budget of the caller's task count, which would never be filled up here.
        let mut work = pin!(unconstrained(work));
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Some(done);
            }
            if !signal.wait(until) {
                return None;
            }
        }
    }
}

/// Whether there is something new to poll for.
#[derive(Debug, Default)]
struct Signal {
    is_given: Mutex<bool>,
    given: Condvar,
}

impl Signal {
    /// Waits until it is given and takes it; false if the moment comes first.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut is_given = self.is_given.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_given {
            is_given = match until {
                None => self.given.wait(is_given).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(moment());
                    if left.is_zero() {
                        return false;
                    }
                    self.given.wait_timeout(is_given, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *is_given = false;
        true
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.is_given.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.given.notify_one();
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a caller waits is told by the real clock")]
fn moment() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::Driver;

    #[test]
    fn what_is_spawned_runs_and_wakes_the_caller() {
        let driver = Driver::start().unwrap();
        let (give, given) = oneshot::channel();
        let answered = driver.calls().wait(async {
            tokio::spawn(async move { give.send(7) });
            given.await
        });
        assert_eq!(answered, Ok(7));
    }

    #[test]
    fn what_does_not_end_is_waited_for_so_long_only() {
        let driver = Driver::start().unwrap();
        assert_eq!(driver.calls().wait_within(Duration::from_millis(5), pending::<()>()), None);
        assert_eq!(driver.calls().wait_within(Duration::ZERO, ready(1)), Some(1));
        assert_eq!(driver.calls().wait_within(Duration::MAX, ready(2)), Some(2));
    }
}
