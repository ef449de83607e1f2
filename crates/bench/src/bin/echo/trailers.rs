//! The header and the trailers that idhini puts around every answer, always the same.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const THIS_ID: HeaderValue = HeaderValue::from_static("9f3c2a71-1e240");
const BEHIND: [(HeaderName, HeaderValue); 4] = [
    (REQUEST_ID, THIS_ID),
    (HeaderName::from_static("io.spicedb.respmeta.requestid"), THIS_ID),
    (
        HeaderName::from_static("io.spicedb.respmeta.dispatchedoperationscount"),
        HeaderValue::from_static("12"),
    ),
    (HeaderName::from_static("io.spicedb.respmeta.cachedoperationscount"), HeaderValue::from_static("0")),
];

/// Adds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrailersLayer;

/// A service with them added.
#[derive(Debug, Clone)]
pub(crate) struct Trailers<S>(S);

impl<S> Layer<S> for TrailersLayer {
    type Service = Trailers<S>;

    fn layer(&self, inner: S) -> Trailers<S> {
        Trailers(inner)
    }
}

impl<S> Service<Request<Body>> for Trailers<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            // A refusal has no body: what belongs to it stands among the headers.
            if response.headers().contains_key(STATUS) {
                response.headers_mut().extend(BEHIND);
                return Ok(response);
            }
            response.headers_mut().insert(REQUEST_ID, THIS_ID);
            Ok(response.map(|body| Body::new(Answered(body))))
        })
    }
}

struct Answered(Body);

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut polled = Pin::new(&mut self.0).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(behind) = frame.trailers_mut()
        {
            behind.extend(HeaderMap::from_iter(BEHIND));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}
