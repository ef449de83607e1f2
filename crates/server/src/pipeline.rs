//! What happens to a call between its connection and the service that answers it?
//!
//! ```text
//! connection ─► gateway (JSON becomes gRPC) ─► meta (begun, counted, told of, ended) ─► deadline ─► services
//! ```
//!
//! Each worker has a pipeline of its own over what all share, so that no call of one touches the memory of another's.
//!
//! # Invariants
//! * There is one way in: whatever protocol a call comes in, it is authenticated, counted, limited and refused as any other.
//! * A call whose deadline passes before it begins to answer is refused then, whatever it is doing.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

use crate::deadline::Deadline;
use crate::gateway;
use crate::meta::{Meta, Reply};

/// The way of a worker's calls.
pub(crate) struct Pipeline {
    meta: Meta,
    routes: Routes,
}

impl Pipeline {
    pub(crate) fn new(meta: Meta, routes: Routes) -> Pipeline {
        Pipeline { meta, routes: routes.prepare() }
    }

    /// Lets go of what is no longer needed.
    pub(crate) fn tidy(&self) {}

    /// Answers whatever comes from a connection.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        if gateway::is_grpc(&request) {
            return Ok(self.call(request).await);
        }
        let response = Box::pin(gateway::answer(&self, request.map(Body::new))).await;
        Ok(response.map(Reply::Other))
    }

    /// Answers a gRPC call.
    pub(crate) async fn call<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let begun = self.meta.begin(&request);
        let deadline = Deadline::of_headers(request.headers());
        let answering = begun.call().run(async {
            let Ok(response) = self.routes.clone().call(request).await;
            response
        });
        let response = match deadline.within(answering).await {
            Ok(response) => response,
            Err(refusal) => Status::from(refusal).into_http(),
        };
        begun.answered(response)
    }
}
