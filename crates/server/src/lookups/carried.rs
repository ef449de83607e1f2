//! How do answers that are encoded already reach the wire? Beside an empty stream of messages, for which they are
//! exchanged behind the service.
//!
//! The service is generated and wants a message per answer. So that a lookup goes the same way as all calls, with the same
//! refusals, headers and trailers, its response carries the chunks as an extension, and [`Carrier`] makes them its body.
//!
//! # Invariants
//! * Whoever forgets the exchange answers an error, not an empty list.
//! * One chunk is asked for when the transport has room for one, and none before.
//! * The status is the last thing: what ends a stream of chunks early is told behind the chunks before it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, Request};
use http_body::Frame;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Response, Status};
use tower::Service;

use super::Answers;

/// Pieces of an answer's body, each of whole gRPC frames.
type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// In a response's extensions, which must be shareable: taken once.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Chunks>>>);

/// A response whose messages are encoded in these chunks.
pub(crate) fn response<T: Send + 'static>(
    chunks: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
) -> Response<Answers<T>> {
    let forgotten = || Status::internal("the answers stayed inside the server");
    let placeholder = futures_util::stream::once(async move { Err(forgotten()) });
    let mut response = Response::new(Box::pin(placeholder) as Answers<T>);
    let chunks: Chunks = Box::pin(chunks);
    response.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(chunks)))));
    response
}

/// A service whose responses may carry chunks.
#[derive(Debug, Clone)]
pub(crate) struct Carrier<S>(pub(crate) S);

impl<S: NamedService> NamedService for Carrier<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Carrier<S>
where
    S: Service<Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = futures_util::future::MapOk<S::Future, fn(http::Response<Body>) -> http::Response<Body>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        futures_util::TryFutureExt::map_ok(self.0.call(request), exchanged)
    }
}

fn exchanged(mut response: http::Response<Body>) -> http::Response<Body> {
    let carried = response.extensions_mut().remove::<Carried>();
    let chunks =
        carried.and_then(|Carried(chunks)| chunks.lock().unwrap_or_else(PoisonError::into_inner).take());
    match chunks {
        Some(chunks) => response.map(|_| Body::new(Chunked { chunks, is_ended: false })),
        None => response,
    }
}

/// The body that chunks are.
struct Chunked {
    chunks: Chunks,
    is_ended: bool,
}

impl http_body::Body for Chunked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Chunked { chunks, is_ended } = self.get_mut();
        if *is_ended {
            return Poll::Ready(None);
        }
        let status = match ready!(chunks.as_mut().poll_next(context)) {
            Some(Ok(chunk)) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        *is_ended = true;
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }
}
