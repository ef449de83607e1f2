//! How does a call get to the lane? It begins on its worker, and moves when it is told to be long.
//!
//! # Invariants
//! * What has moved runs there to its end, as the same call; whoever no longer waits for it ends it.
//! * Of answers that are streamed at most one message is made ahead of the one that is being sent.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;

use crate::telemetry::Call;

/// A part of a call that moves to the lane when it is long.
pub(crate) enum Moving<F: Future> {
    Here { work: Option<Pin<Box<F>>>, call: Arc<Call> },
    There(Task<F::Output>),
}

/// Ended when nobody waits for it any more.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(context)) {
            Ok(done) => Poll::Ready(done),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The lane ends, and with it the process.
                Err(_) => Poll::Pending,
            },
        }
    }
}

impl<F> Moving<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// Begins here, unless the call is known to be long.
    pub(crate) fn new(work: F, call: &Arc<Call>) -> Moving<F> {
        let mut moving = Moving::Here { work: Some(Box::pin(work)), call: Arc::clone(call) };
        moving.move_if_long();
        moving
    }

    fn move_if_long(&mut self) -> bool {
        let Moving::Here { work, call } = self else { return false };
        let Some(place) = call.place().filter(|_| call.is_long()) else { return false };
        let Some(work) = work.take() else { return false };
        let own = Arc::clone(call);
        *self = Moving::There(Task(place.spawn(async move { own.run(work).await })));
        true
    }
}

impl<F> Future for Moving<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let moving = self.get_mut();
        if let Moving::Here { work: Some(work), .. } = moving {
            let polled = work.as_mut().poll(context);
            if polled.is_ready() || !moving.move_if_long() {
                return polled;
            }
        }
        match moving {
            Moving::There(task) => Pin::new(task).poll(context),
            Moving::Here { .. } => Poll::Pending,
        }
    }
}

/// Answers that are streamed, which move to the lane when they are long.
pub(crate) struct MovingBody {
    call: Arc<Call>,
    made: Made,
    is_over: bool,
}

enum Made {
    Here(Body),
    There { frames: mpsc::Receiver<Result<Frame<Bytes>, Status>>, _task: Task<()> },
}

impl MovingBody {
    pub(crate) fn new(body: Body, call: &Arc<Call>) -> MovingBody {
        MovingBody { call: Arc::clone(call), made: Made::Here(body), is_over: false }
    }
}

impl http_body::Body for MovingBody {
    type Data = Bytes;
    type Error = Status;

    fn is_end_stream(&self) -> bool {
        match &self.made {
            Made::Here(body) => body.is_end_stream(),
            Made::There { .. } => self.is_over,
        }
    }

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Made::Here(body) = &mut this.made {
            if !this.call.is_long() || this.call.place().is_none() {
                let polled = http_body::Body::poll_frame(Pin::new(&mut *body), context);
                if polled.is_ready() || !this.call.is_long() {
                    return polled;
                }
            }
            let Some(place) = this.call.place() else { return Poll::Pending };
            let body = std::mem::take(body);
            let (sender, frames) = mpsc::channel(1);
            let own = Arc::clone(&this.call);
            let task = place.spawn(async move { own.run(sent(body, sender)).await });
            this.made = Made::There { frames, _task: Task(task) };
        }
        let Made::There { frames, .. } = &mut this.made else { return Poll::Pending };
        let frame = ready!(frames.poll_recv(context));
        this.is_over |= frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
        Poll::Ready(frame)
    }
}

/// Sends what a body has, each as soon as there is room for it; before that it is not made.
async fn sent(mut body: Body, sender: mpsc::Sender<Result<Frame<Bytes>, Status>>) {
    while let Ok(room) = sender.reserve().await {
        let Some(frame) = body.frame().await else { return };
        room.send(frame);
    }
}
