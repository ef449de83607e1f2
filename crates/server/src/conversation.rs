//! How are the calls of one connection run?
//!
//! Most calls have their answer as soon as they are looked at. Those that came together are looked at together, by the
//! task of their connection, and their answers leave together: a task of its own for each would cost more than a check.
//! A call that is not finished then becomes a task, and so do those behind it, or behind the first millisecond of calls
//! that are: a connection of expensive calls has no longer turn than any other.
//!
//! # Invariants
//! * A call that fails to end properly takes neither its connection nor another call with it.
//! * What was looked at here is looked at again as a task, so that nothing that happened in between is missed.
//! * A call that something else ends is over then, also if its client takes nothing and so nobody asks for more of it. In
//!   HTTP/1, whose calls belong to their connection, the connection is over with it.
//!
//! Cost: one allocation a call.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::Instant;

/// How often a connection is looked at for more calls before others have their turn,
const ROUNDS_MAX: usize = 8;
/// and how long its calls may take together, about: one of them no more than a portion of an evaluation does.
const TURN_MAX: Duration = Duration::from_millis(1);

/// One call, to its end.
type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What ends a call that has not ended by itself.
pub(crate) type End = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// Of the call that is being looked at.
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// The call that runs here is broken off when this is over. Hyper does not ask for more of an answer while its client
/// takes nothing, so the answer cannot do that by itself.
pub(crate) fn ends_with(end: End) {
    END.set(Some(end));
}

/// Calls of a connection that nobody has looked at yet.
#[derive(Clone, Default)]
pub(crate) struct NewCalls(Arc<Mutex<Vec<Call>>>);

/// A connection with its calls.
pub(crate) struct Conversation<C> {
    connection: Pin<Box<C>>,
    new: NewCalls,
    /// Of the call that the connection runs by itself, as it does in HTTP/1.
    end: Option<End>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for NewCalls {
    fn execute(&self, call: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(until_ended(call)));
    }
}

impl NewCalls {
    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at each, until one takes longer or all together have taken `TURN_MAX`. Returns whether there were any.
    fn run(&self, began: Instant) -> bool {
        let mut calls = self.take().into_iter();
        if calls.len() == 0 {
            return false;
        }
        for call in calls.by_ref() {
            if let Some(longer) = begun(call) {
                drop(tokio::spawn(longer));
                break;
            }
            if began.elapsed() >= TURN_MAX {
                break;
            }
        }
        calls.for_each(|call| drop(tokio::spawn(call)));
        true
    }
}

/// A call until it ends, or what it said meanwhile that ends it.
async fn until_ended(call: impl Future<Output = ()>) {
    let mut call = std::pin::pin!(call);
    let mut end = None::<End>;
    std::future::poll_fn(|context| {
        // Another's that panicked may have said something.
        drop(END.take());
        if call.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        end = END.take().or(end.take());
        match &mut end {
            Some(end) => end.as_mut().poll(context),
            None => Poll::Pending,
        }
    })
    .await;
}

/// Looks at a call; returns it if it has not ended.
fn begun(mut call: Call) -> Option<Call> {
    // As a task it is woken by what it waits for. Until then there is nobody to wake: it is looked at again at once.
    let mut context = Context::from_waker(Waker::noop());
    let looked = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut context)));
    match looked {
        Ok(Poll::Pending) => Some(call),
        Ok(Poll::Ready(())) => None,
        Err(_) => {
            tracing::error!("a call ended by a panic");
            // It may panic again when it is taken apart.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
            None
        }
    }
}

impl<C> Conversation<C> {
    /// Of a connection that hands its calls to `new`.
    pub(crate) fn new(connection: C, new: NewCalls) -> Conversation<C> {
        Conversation { connection: Box::pin(connection), new, end: None }
    }

    pub(crate) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }
}

impl<C: Future> Future for Conversation<C> {
    /// None if it was broken off by what ends its call.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<C::Output>> {
        let began = Instant::now();
        for _ in 0..ROUNDS_MAX {
            // Another's may have said something.
            drop(END.take());
            let polled = self.connection.as_mut().poll(context).map(Some);
            if let Some(end) = END.take() {
                self.end = Some(end);
            }
            if let Some(end) = &mut self.end
                && polled.is_pending()
                && end.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(None);
            }
            let had_calls = self.new.run(began);
            // Its answers are written when the connection is looked at again.
            if polled.is_ready() || !had_calls {
                return polled;
            }
            if began.elapsed() >= TURN_MAX {
                break;
            }
        }
        // There may be more, after whoever else is waiting.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
