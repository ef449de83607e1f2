//! What travels beside the answers: request ids, what a call cost, and the server's version when asked.
//!
//! A layer around all services, since the contract wants these behind the answer, as trailers.
//!
//! Every call is begun and ended here, so this is also where it is counted, traced and told of.
//!
//! Cost: one boxed body and one shared record a call.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::telemetry::{Call, Finished, Telemetry};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESPONSE_REQUEST_ID: HeaderName = HeaderName::from_static("io.spicedb.respmeta.requestid");
const DISPATCHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.dispatchedoperationscount");
const CACHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.cachedoperationscount");
const VERSION_ASKED: HeaderName = HeaderName::from_static("io.spicedb.requestversion");
const VERSION: HeaderName = HeaderName::from_static("io.spicedb.debug.version");
const THIS_VERSION: HeaderValue = HeaderValue::from_static(concat!("v", env!("CARGO_PKG_VERSION")));
/// Longest request id of a client that is repeated to it, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Adds the metadata to every call.
#[derive(Debug, Clone)]
pub(crate) struct MetaLayer {
    process: u32,
    calls: Arc<AtomicU64>,
    telemetry: Arc<Telemetry>,
}

/// One service with the metadata added.
#[derive(Debug, Clone)]
pub(crate) struct Meta<S> {
    inner: S,
    layer: MetaLayer,
}

impl MetaLayer {
    /// `process` tells this process's request ids from another's.
    pub(crate) fn new(process: u32, telemetry: &Arc<Telemetry>) -> MetaLayer {
        MetaLayer { process, calls: Arc::new(AtomicU64::new(0)), telemetry: Arc::clone(telemetry) }
    }

    fn trailers(&self, request: &HeaderMap) -> HeaderMap {
        let given = request.get(REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).cloned();
        let id = given.or_else(|| {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            HeaderValue::try_from(format!("{:08x}-{call:x}", self.process)).ok()
        });
        let mut trailers = HeaderMap::new();
        if let Some(id) = id {
            trailers.insert(REQUEST_ID, id.clone());
            trailers.insert(RESPONSE_REQUEST_ID, id);
        }
        if request.contains_key(VERSION_ASKED) {
            trailers.insert(VERSION, THIS_VERSION);
        }
        trailers
    }
}

impl<S> Layer<S> for MetaLayer {
    type Service = Meta<S>;

    fn layer(&self, inner: S) -> Meta<S> {
        Meta { inner, layer: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Meta<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let trailers = self.layer.trailers(request.headers());
        let (path, id) = (request.uri().path(), trailers.get(REQUEST_ID));
        let call = Call::begin(&self.layer.telemetry, path, id, request.headers());
        let mut finished = Finished::of(&call);
        let answering = call.run_now(|| self.inner.call(request));
        Box::pin(async move {
            let mut response = call.run(answering).await?;
            // A refusal has no body: its status stands among the headers, and so does what belongs to it.
            if let Some(status) = response.headers().get(STATUS) {
                finished.with(Code::from_bytes(status.as_bytes()));
                response.headers_mut().extend(with_counts(trailers, call.edges()));
                return Ok(response);
            }
            // At once as well, for clients that wait long for what is behind.
            if let Some(id) = trailers.get(REQUEST_ID) {
                response.headers_mut().insert(REQUEST_ID, id.clone());
            }
            let answered = |body| Body::new(Answered { body, call, finished, trailers: Some(trailers) });
            Ok(response.map(answered))
        })
    }
}

/// Clients that look for the counts look for them behind every call.
fn with_counts(mut trailers: HeaderMap, edges: u64) -> HeaderMap {
    trailers.insert(DISPATCHED, HeaderValue::from(edges));
    trailers.insert(CACHED, HeaderValue::from(0));
    trailers
}

/// An answer's messages, and what is behind them.
struct Answered {
    body: Body,
    call: Arc<Call>,
    finished: Finished,
    /// To be added behind the last message.
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Answered { body, call, finished, trailers } = self.get_mut();
        let mut polled = call.run_now(|| Pin::new(body).poll_frame(context));
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(behind) = frame.trailers_mut()
        {
            if let Some(status) = behind.get(STATUS) {
                finished.with(Code::from_bytes(status.as_bytes()));
            }
            behind.extend(with_counts(trailers.take().unwrap_or_default(), call.edges()));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
