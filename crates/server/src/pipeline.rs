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

use crate::auth::Accepted;
use crate::deadline::Deadline;
use crate::gateway;
use crate::meta::{Content, Meta, Reply};
use crate::sent;
use crate::single::Checks;
use crate::telemetry::Call;

/// The way of a worker's calls.
pub(crate) struct Pipeline {
    meta: Meta,
    /// Checks that need not go the long way, if there is but one namespace.
    checks: Option<Checks>,
    routes: Routes,
}

/// A client's connection.
pub(crate) struct Connection {
    pipeline: Arc<Pipeline>,
    accepted: Accepted,
}

impl Connection {
    pub(crate) fn new(pipeline: Arc<Pipeline>) -> Connection {
        Connection { pipeline, accepted: Accepted::default() }
    }

    /// Answers whatever comes.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let Connection { pipeline, accepted } = &*self;
        let request = sent::of(request);
        if gateway::is_grpc(&request) {
            return Ok(pipeline.call(accepted, request).await);
        }
        let response = Box::pin(gateway::answer(pipeline, accepted, request.map(Body::new))).await;
        Ok(response.map(Reply::Other))
    }
}

impl Pipeline {
    pub(crate) fn new(meta: Meta, checks: Option<Checks>, routes: Routes) -> Pipeline {
        Pipeline { meta, checks, routes: routes.prepare() }
    }

    /// Lets go of what is no longer needed.
    pub(crate) fn tidy(&self) {
        if let Some(checks) = &self.checks {
            checks.tidy();
        }
    }

    /// Answers a gRPC call.
    pub(crate) async fn call<B>(&self, accepted: &Accepted, request: Request<B>) -> Response<Reply>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError> + Send + Unpin,
    {
        let begun = self.meta.begin(&request);
        let deadline = Deadline::of_headers(request.headers());
        let call = begun.call();
        let response = call.run(self.served(accepted, request, call, deadline)).await;
        begun.answered(response)
    }

    /// Hands a call to whoever answers it.
    async fn served<B>(
        &self,
        accepted: &Accepted,
        request: Request<B>,
        call: &Call,
        deadline: Deadline,
    ) -> Response<Content>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError> + Send + Unpin,
    {
        let taken = self.checks.as_ref().and_then(|checks| Some((checks, checks.takes(&request, accepted)?)));
        let Some((checks, taken)) = taken else {
            return self.by_service(request, deadline).await;
        };
        match checks.answer(taken, request, call, deadline).await {
            Ok(response) => response,
            Err(request) => self.by_service(request, deadline).await,
        }
    }

    async fn by_service<B>(&self, request: Request<B>, deadline: Deadline) -> Response<Content>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        // The state of a service's call is large, and would be part of every check's.
        let answering = Box::pin(self.routes.clone().call(request));
        let response = match deadline.within(answering).await {
            Ok(Ok(response)) => response,
            Err(refusal) => Status::from(refusal).into_http(),
        };
        response.map(Content::Messages)
    }
}
