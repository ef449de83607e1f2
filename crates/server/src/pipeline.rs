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
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use idhini_model::Timestamp;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service as _;

use crate::admission::{Accepted, Admission, Cut, CutAnswers, Denied, Entry, Kind, Standing, revocable};
use crate::audit::Audited;
use crate::conversation;
use crate::deadline::Deadline;
use crate::gateway;
use crate::lane::{Lane, Moving, MovingBody, Place, Tenancy};
use crate::load::Load;
use crate::meta::{Content, Meta, Reply, STATUS};
use crate::newcomers::Newcomer;
use crate::quotas::Counts;
use crate::refusal::Refusal;
use crate::sent;
use crate::single::{self, Checks, Rest};
use crate::telemetry::{Call, Row};

/// Longest request that a worker reads itself, in bytes: what is longer takes long to read, and mostly to answer.
const LIGHT_REQUEST_BYTES_MAX: usize = 32 * 1024;

/// Whoever may not is told so this long after the call came, whatever was looked at meanwhile: so the time tells nothing of
/// what there is, and guessing is slow.
pub(crate) const DENIED_AFTER: Duration = Duration::from_millis(5);

/// A token, as clients of OpenBao and Vault send it.
pub(crate) const VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// How long the end of a stream waits for its client to read it.
const UNREAD_MAX: Duration = Duration::from_millis(500);

/// The way of a worker's calls.
pub(crate) struct Pipeline {
    meta: Meta,
    admission: Admission,
    /// Checks that need not go the long way.
    checks: Checks,
    routes: Routes,
    /// Where it is done what takes long.
    lane: Option<Arc<Lane>>,
    load: Arc<Load>,
}

/// A client's connection.
pub(crate) struct Connection {
    pipeline: Arc<Pipeline>,
    accepted: Accepted,
    newcomer: Newcomer,
}

impl Connection {
    pub(crate) fn new(pipeline: Arc<Pipeline>, accepted: Accepted, newcomer: Newcomer) -> Connection {
        Connection { pipeline, accepted, newcomer }
    }

    pub(crate) fn newcomer(&self) -> &Newcomer {
        &self.newcomer
    }

    pub(crate) fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// Answers whatever comes.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let Connection { pipeline, accepted, newcomer } = &*self;
        newcomer.has_asked();
        let mut request = sent::of(request);
        conceal(request.headers_mut());
        if request.version() != Version::HTTP_2 {
            // Whatever ended the answer before is over with it.
            conversation::ends_with(Box::pin(std::future::pending()));
        }
        if gateway::is_grpc(&request) {
            return Ok(pipeline.call(accepted, request).await);
        }
        let response = Box::pin(gateway::answer(pipeline, accepted, request.map(Body::new))).await;
        Ok(response.map(Reply::Other))
    }
}

impl Pipeline {
    pub(crate) fn new(meta: Meta, admission: Admission, routes: Routes, lane: Option<Arc<Lane>>) -> Pipeline {
        Pipeline {
            meta,
            admission,
            checks: Checks::default(),
            routes: routes.prepare(),
            lane,
            load: Arc::default(),
        }
    }

    /// How much the worker has to do.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// The moment; where there is no control plane nobody asks for it.
    pub(crate) fn now(&self) -> Timestamp {
        self.admission.gate().map_or(Timestamp::from_seconds(0), |gate| gate.now())
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
        if is_denied(&response) {
            tokio::time::sleep_until(call.began() + DENIED_AFTER).await;
        }
        begun.answered(response)
    }

    /// Lets a call in and hands it to whoever answers it.
    async fn served<B>(
        &self,
        accepted: &Accepted,
        request: Request<B>,
        call: &Arc<Call>,
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
                        let charged = self.charged(&denied, accepted, call);
                        return refused(charged.err().unwrap_or(denied.refusal));
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
        if response.headers().contains_key(STATUS) || !kind.answers_stream {
            recording.ended_by(response.headers());
            return response;
        }
        // It ends with its trailers, or when nobody takes its answers any more (`meta.rs`).
        recording.is_streamed();
        if call.name().is_some_and(Row::has_no_end) {
            // It may go on for days.
            recording.begun();
        }
        response
    }

    /// Has who is refused pay for it like who is answered: so it is not free to be refused without end.
    fn charged(&self, denied: &Denied, accepted: &Accepted, call: &Call) -> Result<(), Refusal> {
        if !denied.is_of_who_may_not() {
            return Ok(());
        }
        let tenant = denied.tenancy().tenant;
        if let Some(wait) = self.load.refuses(tenant) {
            return Err(Refusal::overloaded(wait));
        }
        self.load.used(tenant, 0);
        self.admission.charge(denied, accepted, call.began())
    }

    /// Answers a call that was let in.
    async fn answered<B>(
        &self,
        request: Request<B>,
        (call, deadline): (&Arc<Call>, Deadline),
        kind: Kind,
        entry: Entry,
    ) -> Response<Content>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError> + Send + Unpin,
    {
        let account = entry.pass.as_ref().map(|pass| pass.account(kind.access));
        if let Some(line) = account.and_then(|account| account.line.as_ref())
            && let Some(counts) = kind.counts
            && let Err(over) = call.meter(line, counts)
        {
            return refused(Refusal::over_quota(&over));
        }
        if let Some(lane) = &self.lane {
            let tenancy = account.map_or_else(Tenancy::of_nobody, |account| account.tenancy);
            if matches!(kind.counts, Some(Counts::Call | Counts::Watch))
                && let Some(wait) = self.load.refuses(tenancy.tenant)
            {
                return refused(Refusal::overloaded(wait));
            }
            let (lane, load) = (Arc::clone(lane), Arc::clone(&self.load));
            let is_counted = !kind.takes_stream && !kind.answers_stream;
            if is_counted {
                load.began();
            }
            let is_refusable = kind.counts == Some(Counts::Call);
            call.may_move_to(Place { lane, tenancy, is_refusable, load, is_counted });
        }
        let Some((taken, tenant)) = Checks::takes(&request).zip(entry.tenant.as_ref()) else {
            return self.by_service(request, (call, deadline), kind, entry).await;
        };
        let standing = || self.standing(&entry, kind);
        match self.checks.answer(taken, tenant, request, (call, deadline), standing).await {
            Ok(response) => response,
            Err(request) => self.by_service(request, (call, deadline), kind, entry).await,
        }
    }

    /// What a call was let in with, to look at it again; none where everybody sees something of his own.
    fn standing(&self, entry: &Entry, kind: Kind) -> Option<Standing> {
        let (gate, pass) = self.admission.gate().zip(entry.pass.as_ref())?;
        Some(Standing::new(Arc::clone(gate), Arc::clone(pass), kind.access))
    }

    async fn by_service<B>(
        &self,
        request: Request<B>,
        (call, deadline): (&Arc<Call>, Deadline),
        kind: Kind,
        entry: Entry,
    ) -> Response<Content>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError> + Send + Unpin,
    {
        let (parts, body) = request.into_parts();
        let body = match kind.takes_stream {
            // Read as it comes; what takes it may take long with every message.
            true => Rest::unread(body),
            false => match deadline.within(single::read(body, LIGHT_REQUEST_BYTES_MAX)).await {
                Ok(body) => body,
                Err(refusal) => return refused(refusal),
            },
        };
        let is_long = match (kind.takes_stream, kind.answers_stream) {
            (true, false) => true,
            // Made of short ones.
            (true, true) => false,
            (false, true) => body.is_longer() || call.place().is_some_and(Place::is_waited_for),
            (false, false) => body.is_longer(),
        };
        if is_long && let Err(refusal) = call.takes_long() {
            return refused(refusal);
        }
        let mut request = Request::from_parts(parts, body);
        let standing = self.standing(&entry, kind);
        entry.put_into(request.extensions_mut(), standing.clone());
        request.extensions_mut().insert(Audited(call.recording().cloned()));
        // The state of a service's call is large, and would be part of every check's.
        let mut routes = self.routes.clone();
        let answering = match standing.clone().filter(|_| kind.takes_stream && !kind.answers_stream) {
            Some(standing) => routes.call(request.map(|body| Body::new(Cut::new(body, standing)))),
            None => routes.call(request.map(Body::new)),
        };
        let own = Arc::clone(call);
        let answering = Moving::new(
            async move {
                let Ok(response) = answering.await;
                match own.is_long() && !kind.answers_stream {
                    true => encoded(response).await,
                    false => response,
                }
            },
            call,
        );
        // What changes something is told by its writer whether it still may.
        let is_read = !kind.tells_what_was_done();
        let answering = revocable(standing.clone().filter(|_| is_read), answering);
        let response = match deadline.within(answering).await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) | Err(refusal) => return refused(refusal),
        };
        let is_streamed = kind.answers_stream && !response.headers().contains_key(STATUS);
        let answers = |body| match is_streamed && !kind.takes_stream {
            true => Body::new(MovingBody::new(body, call)),
            false => body,
        };
        if is_streamed {
            conversation::ends_with(Box::pin(overdue(standing.clone(), deadline)));
        }
        let Some(standing) = standing else { return response.map(|body| Content::Messages(answers(body))) };
        if !is_read
            && !deadline.is_over()
            && was_not_wanted(&response)
            && let Some(refusal) = standing.refusal()
        {
            return refused(refusal);
        }
        match is_streamed {
            true => response.map(|body| Content::Cut(Box::new(CutAnswers::new(answers(body), standing)))),
            false => response.map(Content::Messages),
        }
    }
}

/// Until so long after a stream should have ended that whoever reads it has heard so.
async fn overdue(standing: Option<Standing>, deadline: Deadline) {
    let revoked = async {
        match standing {
            Some(standing) => drop(standing.revoked().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = revoked => {}
        () = deadline.passed() => {}
    }
    tokio::time::sleep(UNREAD_MAX).await;
}

/// An answer whose messages are encoded here, not when they are sent.
async fn encoded(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(collected) => Response::from_parts(parts, Body::new(collected)),
        Err(status) => status.into_http(),
    }
}

/// Whether a change was called off: by its deadline, or since its caller may not make it any more.
fn was_not_wanted(response: &Response<Body>) -> bool {
    let status = response.headers().get(STATUS);
    status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::DeadlineExceeded)
}

/// Keeps tokens out of whatever tells of a request.
fn conceal(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, VAULT_TOKEN] {
        if let http::header::Entry::Occupied(mut values) = headers.entry(name) {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

fn is_denied(response: &Response<Content>) -> bool {
    let status = response.headers().get(STATUS);
    status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::PermissionDenied)
}

fn refused(refusal: impl Into<Status>) -> Response<Content> {
    refusal.into().into_http().map(Content::Messages)
}

fn no_such_call<B>(request: &Request<B>) -> Status {
    Status::unimplemented(format!("there is no call `{}`", request.uri().path().escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_in_what_is_told_of_a_request() {
        let builder = Request::builder().header("authorization", "Bearer secrettext");
        let builder = builder.header("authorization", "Bearer secrettext2");
        let mut request = builder.header("x-vault-token", "secrettext").body(()).unwrap();
        assert!(format!("{request:?}").contains("secrettext"));
        conceal(request.headers_mut());
        assert!(!format!("{request:?}").contains("secrettext"), "{request:?}");
        let request = tonic::Request::from_http(request);
        assert!(!format!("{request:?}").contains("secrettext"), "{request:?}");
        assert!(request.metadata().get("authorization").is_some());
    }
}
