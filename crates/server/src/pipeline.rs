//! What happens to a call between its connection and the service that answers it?
//!
//! ```text
//! connection ─► gateway (JSON becomes gRPC) ─► meta (begun, counted, told of, ended) ─► admission ─► deadline ─► services
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
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service as _;

use crate::admission::{Accepted, Admission, Cut, CutAnswers, Entry, Kind, Standing, revocable};
use crate::deadline::Deadline;
use crate::gateway;
use crate::meta::{Content, Meta, Reply, STATUS};
use crate::sent;
use crate::single::Checks;
use crate::telemetry::Call;

/// The way of a worker's calls.
pub(crate) struct Pipeline {
    meta: Meta,
    admission: Admission,
    /// Checks that need not go the long way.
    checks: Checks,
    routes: Routes,
}

/// A client's connection.
pub(crate) struct Connection {
    pipeline: Arc<Pipeline>,
    accepted: Accepted,
}

impl Connection {
    pub(crate) fn new(pipeline: Arc<Pipeline>, accepted: Accepted) -> Connection {
        Connection { pipeline, accepted }
    }

    pub(crate) fn accepted(&self) -> &Accepted {
        &self.accepted
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
    pub(crate) fn new(meta: Meta, admission: Admission, routes: Routes) -> Pipeline {
        Pipeline { meta, admission, checks: Checks::default(), routes: routes.prepare() }
    }

    /// Lets go of what is no longer needed.
    pub(crate) fn tidy(&self) {
        self.admission.tidy();
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

    /// Lets a call in and hands it to whoever answers it.
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
        let Some(kind) = self.admission.kind(call.row()) else { return refused(no_such_call(&request)) };
        let entry = match self.admission.again(accepted, request.headers(), kind.access) {
            Some((pass, tenant)) => Entry { pass: Some(pass), tenant: Some(tenant) },
            None => {
                // Its state is no part of every check's.
                let admitting = Box::pin(self.admission.admit(accepted, request.headers(), kind.access));
                match deadline.within(admitting).await {
                    Ok(Ok(entry)) => entry,
                    Ok(Err(denied)) => {
                        self.admission.not_admitted(&denied, accepted, request.headers(), call);
                        return refused(denied.refusal);
                    }
                    Err(refusal) => return refused(refusal),
                }
            }
        };
        let recording = self.admission.recording(&entry, kind, call);
        let Some(recording) = recording else {
            return self.answered(request, (call, deadline), kind, entry).await;
        };
        call.is_recorded(recording.clone());
        // Its state is no part of every check's.
        let response = Box::pin(self.answered(request, (call, deadline), kind, entry)).await;
        recording.ended_by(response.headers());
        response
    }

    /// Answers a call that was let in.
    async fn answered<B>(
        &self,
        request: Request<B>,
        (call, deadline): (&Call, Deadline),
        kind: Kind,
        entry: Entry,
    ) -> Response<Content>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError> + Send + Unpin,
    {
        let Some((taken, tenant)) = Checks::takes(&request).zip(entry.tenant.as_ref()) else {
            return self.by_service(request, deadline, kind, entry).await;
        };
        let standing = || self.standing(&entry, kind);
        match self.checks.answer(taken, tenant, request, (call, deadline), standing).await {
            Ok(response) => response,
            Err(request) => self.by_service(request, deadline, kind, entry).await,
        }
    }

    /// What a call was let in with, to look at it again; none where everybody sees something of his own.
    fn standing(&self, entry: &Entry, kind: Kind) -> Option<Standing> {
        let (gate, pass) = self.admission.gate().zip(entry.pass.as_ref())?;
        Some(Standing::new(Arc::clone(gate), Arc::clone(pass), kind.access))
    }

    async fn by_service<B>(
        &self,
        mut request: Request<B>,
        deadline: Deadline,
        kind: Kind,
        entry: Entry,
    ) -> Response<Content>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let standing = self.standing(&entry, kind);
        entry.put_into(request.extensions_mut(), standing.clone());
        // The state of a service's call is large, and would be part of every check's.
        let mut routes = self.routes.clone();
        let answering = match standing.clone().filter(|_| kind.takes_stream && !kind.answers_stream) {
            Some(standing) => {
                let cut = request.map(|body| Body::new(Cut::new(body, standing)));
                Box::pin(routes.call(cut))
            }
            None => Box::pin(routes.call(request)),
        };
        // What changes something is told by its writer whether it still may.
        let is_read = !kind.is_change();
        let answering = revocable(standing.clone().filter(|_| is_read), answering);
        let response = match deadline.within(answering).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(refusal)) | Err(refusal) => return refused(refusal),
        };
        let Some(standing) = standing else { return response.map(Content::Messages) };
        if !is_read
            && !deadline.is_over()
            && was_not_wanted(&response)
            && let Some(refusal) = standing.refusal()
        {
            return refused(refusal);
        }
        match kind.answers_stream && !response.headers().contains_key(STATUS) {
            true => response.map(|body| Content::Cut(Box::new(CutAnswers::new(body, standing)))),
            false => response.map(Content::Messages),
        }
    }
}

/// Whether a change was called off: by its deadline, or since its caller may not make it any more.
fn was_not_wanted(response: &Response<Body>) -> bool {
    let status = response.headers().get(STATUS);
    status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::DeadlineExceeded)
}

fn refused(refusal: impl Into<Status>) -> Response<Content> {
    refusal.into().into_http().map(Content::Messages)
}

fn no_such_call<B>(request: &Request<B>) -> Status {
    Status::unimplemented(format!("there is no call `{}`", request.uri().path().escape_default()))
}
