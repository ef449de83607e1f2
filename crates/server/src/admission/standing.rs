//! May what is under way still go on? A caller may lose a right, a token may end, a namespace may be locked.
//!
//! # Invariants
//! * A stream ends within moments of its caller no longer being let in, also one on which nothing happens.
//! * A change that is judged after that is refused and has changed nothing; one that is made already is answered as made.
//!
//! Cost: nothing for a call that is answered at once; for a stream, a look at two things that rarely happen.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

use super::{Access, Gate, Pass};
use crate::refusal::Refusal;

/// How often a moment that is far is looked at again: clocks are set.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What a call that is under way was let in with.
#[derive(Clone)]
pub(crate) struct Standing {
    gate: Arc<Gate>,
    pass: Arc<Pass>,
    access: Access,
}

/// Waits for the moment at which a call is no longer let in.
pub(crate) type Revocation = Pin<Box<dyn Future<Output = Refusal> + Send>>;

impl Standing {
    pub(crate) fn new(gate: Arc<Gate>, pass: Arc<Pass>, access: Access) -> Standing {
        Standing { gate, pass, access }
    }

    /// Whether the call would be let in now.
    pub(crate) fn stands(&self) -> bool {
        self.refusal().is_none()
    }

    /// Why it would not.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.gate.renewed(Arc::clone(&self.pass), self.access).err()
    }

    /// Waits until it would not be let in.
    pub(crate) fn revoked(self) -> Revocation {
        Box::pin(async move {
            let Standing { gate, mut pass, access } = self;
            let mut told = gate.plane.subscribe();
            loop {
                match gate.renewed(pass, access) {
                    Ok(renewed) => pass = renewed,
                    Err(refusal) => return refusal,
                }
                let now = gate.plane.now();
                let ends = pass.until.map(|until| {
                    let seconds = until.seconds().saturating_sub(now.seconds()).max(0);
                    // Timestamps have nanoseconds; a moment later is soon enough.
                    Duration::from_secs(seconds.cast_unsigned()) + Duration::from_millis(20)
                });
                tokio::select! {
                    changed = told.changed() => if changed.is_err() {
                        // Whoever told is gone with the server.
                        return Refusal::new(Code::Unavailable, "the server is stopping");
                    },
                    () = ended(ends) => {}
                }
            }
        })
    }
}

async fn ended(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after.min(LOOK_INTERVAL)).await,
        None => std::future::pending().await,
    }
}

/// Does something for as long as the call stands; it is left in the middle otherwise.
pub(crate) async fn revocable<T>(
    standing: Option<Standing>,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let Some(standing) = standing else { return Ok(work.await) };
    let mut work = std::pin::pin!(work);
    // Most are done when they are first looked at.
    let looked = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    if let Poll::Ready(done) = looked {
        return Ok(done);
    }
    tokio::select! {
        biased;
        refusal = standing.revoked() => Err(refusal),
        done = work => Ok(done),
    }
}

/// What a client streams, until its call no longer stands.
pub(crate) struct Cut<B> {
    body: B,
    revoked: Revocation,
    is_cut: bool,
}

impl<B> Cut<B> {
    pub(crate) fn new(body: B, standing: Standing) -> Cut<B> {
        Cut { body, revoked: standing.revoked(), is_cut: false }
    }
}

impl<B> http_body::Body for Cut<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Cut { body, revoked, is_cut } = self.get_mut();
        if *is_cut {
            return Poll::Ready(None);
        }
        if let Poll::Ready(refusal) = revoked.as_mut().poll(context) {
            *is_cut = true;
            return Poll::Ready(Some(Err(refusal.into())));
        }
        Pin::new(body).poll_frame(context).map_err(|error| Status::from_error(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.is_cut || self.body.is_end_stream()
    }
}

/// Answers that are streamed, until their call no longer stands: then the refusal is their end.
pub(crate) struct CutAnswers {
    body: Body,
    /// None when it was told.
    revoked: Option<Revocation>,
}

impl CutAnswers {
    pub(crate) fn new(body: Body, standing: Standing) -> CutAnswers {
        CutAnswers { body, revoked: Some(standing.revoked()) }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.revoked.is_none() || http_body::Body::is_end_stream(&self.body)
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(revoked) = &mut self.revoked else { return Poll::Ready(None) };
        if let Poll::Ready(refusal) = revoked.as_mut().poll(context) {
            self.revoked = None;
            let mut trailers = http::HeaderMap::new();
            let added = Status::from(refusal).add_header(&mut trailers);
            return Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))));
        }
        http_body::Body::poll_frame(Pin::new(&mut self.body), context)
    }
}
