//! What travels beside the answers: request ids, what a call cost, and the server's version when asked.
//!
//! A layer around all services, since the contract wants these behind the answer, as trailers.
//!
//! Cost: one boxed frame adapter a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tower::{Layer, Service};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESPONSE_REQUEST_ID: HeaderName = HeaderName::from_static("io.spicedb.respmeta.requestid");
const DISPATCHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.dispatchedoperationscount");
const CACHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.cachedoperationscount");
const VERSION_ASKED: HeaderName = HeaderName::from_static("io.spicedb.requestversion");
const VERSION: HeaderName = HeaderName::from_static("io.spicedb.debug.version");
const THIS_VERSION: HeaderValue = HeaderValue::from_static(concat!("v", env!("CARGO_PKG_VERSION")));
/// Longest request id of a client that is repeated to it, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a call cost, in edges visited; left in a response's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost(pub(crate) u64);

/// Adds the metadata to every call.
#[derive(Debug, Clone)]
pub(crate) struct MetaLayer {
    process: u32,
    calls: Arc<AtomicU64>,
}

/// One service with the metadata added.
#[derive(Debug, Clone)]
pub(crate) struct Meta<S> {
    inner: S,
    layer: MetaLayer,
}

impl MetaLayer {
    /// `process` tells this process's request ids from another's.
    pub(crate) fn new(process: u32) -> MetaLayer {
        MetaLayer { process, calls: Arc::new(AtomicU64::new(0)) }
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
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut trailers = self.layer.trailers(request.headers());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            // Clients that look for the counts look for them behind every call.
            let Cost(edges) = response.extensions().get().copied().unwrap_or(Cost(0));
            trailers.insert(DISPATCHED, HeaderValue::from(edges));
            trailers.insert(CACHED, HeaderValue::from(0));
            // A refusal has no body: its status stands among the headers, and so does what belongs to it.
            if response.headers().contains_key("grpc-status") {
                response.headers_mut().extend(trailers);
                return Ok(response);
            }
            Ok(response.map(|body| {
                Body::new(body.map_frame(move |mut frame| {
                    if let Some(behind) = frame.trailers_mut() {
                        behind.extend(trailers.clone());
                    }
                    frame
                }))
            }))
        })
    }
}
