//! How are the commonest calls answered? `CheckPermission` in one piece: read from the bytes it came in, evaluated where it
//! stands, answered by bytes that are mostly made already; and `CheckBulkPermissions` the same way (`single/bulk.rs`).
//!
//! This stands where the service is called, inside all that is around every call. It takes only what is plain: one
//! uncompressed message that is well formed, the newest revision, nothing to explain. Whatever else a request
//! is, a mistake or a question of another kind, goes on to the service as it came, whose words a client hears.
//!
//! # Invariants
//! * What is answered here is what the service answers.
//! * What is not answered within its first portion is asked anew on the lane. It is told of once; its quotas pay for that
//!   portion, too, also if it comes to nothing.
//! * A request is not read before it is let in.
//!
//! Cost: nothing is allocated for a check that finds its answer in the first portion but what carries the answer.

mod bulk;

use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use idhini_caveat::EvaluationError;
use idhini_engine::{Answer, Check, EngineError, Limits, Progress};
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp, WILDCARD};
use idhini_model::{validate_name, validate_object_id, validate_type};
use idhini_wire::authzed::api::v1;
use idhini_wire::{PlainCheck, PlainQuestion, PlainRequirement, framed, only_message, timestamp_message};
use prost::Message as _;
use prost_types::Struct;
use tonic::Status;
use tracing::Instrument as _;

use crate::admission::{Standing, revocable};
use crate::checks::{Asked, partial_caveat_info, permissionship};
use crate::deadline::{Deadline, FUEL};
use crate::heads::Head;
use crate::lane::Moving;
use crate::meta::Content;
use crate::pin::{AS_OF, Shared};
use crate::refusal::Refusal;
use crate::requests;
use crate::telemetry::{self, Call};

/// A call that is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Single,
    Bulk,
}

/// Longest request, in bytes: longer than any good one without a context, and than most with one.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Questions that are kept to be filled again.
const SPARE_MAX: usize = 64;
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Headers of an answer, as far as they are ours.
const HEADERS: usize = 3;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Answers checks of a worker.
#[derive(Default)]
pub(crate) struct Checks {
    spare: Mutex<Vec<Asked>>,
    /// The same for the questions of a bulk.
    spare_of_bulks: Mutex<Vec<Asked>>,
    /// What the items of bulks took lately, on the average.
    edges_per_item: AtomicU64,
}

/// A request's body of which a part was read: that part, and what is still to come.
pub(crate) struct Rest<B: Body<Data = Bytes>> {
    read: Bytes,
    /// Longer ones are none for here.
    bytes_max: usize,
    last: Option<Result<Frame<Bytes>, B::Error>>,
    body: B,
}

/// How far a check got at once.
enum Begun {
    /// It is not for here.
    NotPlain,
    Done(Result<Bytes, Refusal>),
    /// It takes longer than a portion.
    Long,
}

impl Checks {
    /// As what a request may be answered here, by all that is known before it is read.
    pub(crate) fn takes<B>(request: &Request<B>) -> Option<Taken> {
        let taken = match request.uri().path() {
            "/authzed.api.v1.PermissionsService/CheckPermission" => Taken::Single,
            "/authzed.api.v1.PermissionsService/CheckBulkPermissions" => Taken::Bulk,
            _ => return None,
        };
        let headers = request.headers();
        let is_plain = request.method() == Method::POST
            && !headers.contains_key(AS_OF)
            && !headers.contains_key(ENCODING);
        is_plain.then_some(taken)
    }

    /// Answers a request that was let in, or gives it back as it came; of what takes longer the call is told.
    pub(crate) async fn answer<B>(
        &self,
        taken: Taken,
        shared: &Shared,
        request: Request<B>,
        (call, deadline): (&Arc<Call>, Deadline),
        standing: impl FnOnce() -> Option<Standing>,
    ) -> Result<Response<Content>, Request<Rest<B>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if taken == Taken::Bulk {
            // Its state is no part of every check's.
            return Box::pin(self.answer_bulk(shared, request, (call, deadline), standing)).await;
        }
        let (parts, body) = request.into_parts();
        let read = match deadline.within(read(body, REQUEST_BYTES_MAX)).await {
            Ok(read) => read,
            Err(refusal) => return Ok(Status::from(refusal).into_http().map(Content::Messages)),
        };
        let plain = read.whole().and_then(only_message).and_then(PlainCheck::read);
        let Some((mut asked, head)) = plain.and_then(|plain| self.asked(shared, &plain)) else {
            return Err(Request::from_parts(parts, read));
        };
        if let Some(recording) = call.recording() {
            recording.question(&asked);
        }
        let (now, limits) = (shared.namespace.now(), shared.question_limits());
        let answered = match begin(&head, &asked, now, shared.light_limits(), call) {
            Begun::NotPlain => None,
            Begun::Done(answered) => Some(answered),
            Begun::Long => Some(match call.takes_long() {
                Err(refusal) => Err(refusal),
                Ok(()) => {
                    let (own, asked) = (Arc::clone(call), std::mem::replace(&mut asked, empty()));
                    let answering =
                        async move { on_lane(&head, &asked, (now, limits), &own, deadline).await };
                    // Its state is no part of every check's.
                    let moved = Box::pin(revocable(standing(), Moving::new(answering, call)));
                    deadline.within(moved).await.and_then(|stood| stood?)
                }
            }),
        };
        asked.context = Context::default();
        self.put_back(asked);
        match answered {
            None => Err(Request::from_parts(parts, read)),
            Some(Ok(frame)) => Ok(in_one(frame)),
            Some(Err(refusal)) => Ok(Status::from(refusal).into_http().map(Content::Messages)),
        }
    }

    /// The question and the revision that it is asked of, if both are plain.
    fn asked(&self, shared: &Shared, plain: &PlainCheck<'_>) -> Option<(Asked, Arc<Head>)> {
        if plain.with_tracing {
            return None;
        }
        let context = good(&plain.question)?;
        let head = telemetry::snapshot_span().in_scope(|| head(shared, plain.requirement))?;
        let mut asked = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(empty);
        fill_in(&mut asked, &plain.question, context);
        Some((asked, head))
    }

    fn put_back(&self, asked: Asked) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(asked);
        }
    }
}

/// The newest revision, if that is as good as what is required.
fn head(shared: &Shared, requirement: Option<PlainRequirement<'_>>) -> Option<Arc<Head>> {
    let token = match requirement {
        None | Some(PlainRequirement::MinimizeLatency(true) | PlainRequirement::FullyConsistent(true)) => {
            None
        }
        Some(PlainRequirement::AtLeastAsFresh(token)) => Some(token),
        Some(_) => return None,
    };
    let head = shared.head();
    match token.filter(|token| **token != *head.token) {
        None => Some(head),
        Some(token) => {
            let asked = shared.sealer.open_token(token).ok()?;
            (asked <= head.published.revision()).then_some(head)
        }
    }
}

/// Asks a question and answers it if it takes no longer than a portion.
fn begin(head: &Head, asked: &Asked, instant: Timestamp, limits: Limits, call: &Call) -> Begun {
    let Some(snapshot) = head.published.snapshot(instant) else { return Begun::NotPlain };
    let Ok(mut check) = Check::open(snapshot, asked.question(), limits) else { return Begun::NotPlain };
    let advanced = telemetry::evaluation_span().in_scope(|| check.advance(FUEL));
    match advanced {
        Ok(Progress::Done(answer)) => Begun::Done(ended(head, &check, Ok(answer), call)),
        Err(error) if !is_long(&error) => Begun::Done(ended(head, &check, Err(error), call)),
        Ok(Progress::More) | Err(_) => {
            call.prepay(check.cost());
            Begun::Long
        }
    }
}

/// The same where it may take long.
async fn on_lane(
    head: &Head,
    asked: &Asked,
    (instant, limits): (Timestamp, Limits),
    call: &Call,
    deadline: Deadline,
) -> Result<Bytes, Refusal> {
    let definition = &asked.resource.object_type;
    let snapshot = head.published.snapshot(instant).ok_or_else(|| Refusal::unknown_definition(definition))?;
    let mut check = Check::open(snapshot, asked.question(), limits)?;
    let evaluating = deadline.drive_to(FUEL, |fuel| check.advance(fuel));
    match evaluating.instrument(telemetry::evaluation_span()).await {
        Ok(evaluated) => ended(head, &check, evaluated, call),
        Err(refusal) => {
            call.checked(check.cost());
            call.used(check.closures());
            Err(refusal)
        }
    }
}

/// Whether a question failed of light limits only, and is to be asked where there is more time.
pub(crate) fn is_long(error: &EngineError) -> bool {
    matches!(error, EngineError::Caveat(EvaluationError::Budget { .. }))
}

/// Charges what a check has cost, and makes its answer.
fn ended(
    head: &Head,
    check: &Check<'_>,
    evaluated: Result<Answer, EngineError>,
    call: &Call,
) -> Result<Bytes, Refusal> {
    call.checked(check.cost());
    call.used(check.closures());
    let answer = evaluated?;
    if let Some(recording) = call.recording() {
        recording.read_at(head.published.revision());
        recording.answered(answer.permissionship);
    }
    let until = check.until();
    match head.answer(answer.permissionship).filter(|_| until.is_none()) {
        Some(made) => Ok(made),
        None => Ok(Bytes::from(framed(&v1::CheckPermissionResponse {
            checked_at: Some(v1::ZedToken { token: head.token.as_ref().to_owned() }),
            permissionship: permissionship(answer.permissionship) as i32,
            partial_caveat_info: partial_caveat_info(&answer),
            debug_trace: None,
            optional_expires_at: until.map(timestamp_message),
        }))),
    }
}

fn in_one(frame: Bytes) -> Response<Content> {
    let mut response = Response::new(Content::One(Some(frame)));
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

fn empty() -> Asked {
    Asked {
        resource: ResourceRef::new(String::new(), String::new()),
        permission: String::new(),
        subject: SubjectRef::object(String::new(), String::new()),
        context: Context::default(),
    }
}

/// The context of a question, if that is one that is answered here.
fn good(question: &PlainQuestion<'_>) -> Option<Context> {
    let PlainQuestion { resource, permission, subject, subject_relation, context } = *question;
    let is_good = validate_type(resource.0).is_ok()
        && validate_object_id(resource.1).is_ok()
        && validate_name(permission).is_ok()
        && validate_type(subject.0).is_ok()
        && subject.1 != WILDCARD
        && validate_object_id(subject.1).is_ok()
        && (subject_relation.is_empty() || validate_name(subject_relation).is_ok());
    match context.filter(|_| is_good) {
        Some(bytes) => requests::context(Some(Struct::decode(bytes).ok()?)).ok(),
        None => is_good.then(Context::default),
    }
}

fn fill_in(asked: &mut Asked, question: &PlainQuestion<'_>, context: Context) {
    fill(&mut asked.resource.object_type, question.resource.0);
    fill(&mut asked.resource.object_id, question.resource.1);
    fill(&mut asked.permission, question.permission);
    fill(&mut asked.subject.object_type, question.subject.0);
    fill(&mut asked.subject.object_id, question.subject.1);
    asked.subject.relation = Some(question.subject_relation).filter(|r| !r.is_empty()).map(str::to_owned);
    asked.context = context;
}

fn fill(field: &mut String, text: &str) {
    field.clear();
    field.push_str(text);
}

/// Reads a body to its end, as far as it may be one that is answered here.
pub(crate) async fn read<B: Body<Data = Bytes> + Unpin>(mut body: B, bytes_max: usize) -> Rest<B> {
    let mut read = Bytes::new();
    let mut last = None;
    while last.is_none() && read.len() <= bytes_max && !body.is_end_stream() {
        let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        else {
            break;
        };
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) if read.is_empty() => read = data,
            Ok(Ok(data)) => {
                let mut both = BytesMut::from(read);
                both.extend_from_slice(&data);
                read = both.freeze();
            }
            Ok(Err(trailers)) => last = Some(Ok(trailers)),
            Err(error) => last = Some(Err(error)),
        }
    }
    Rest { read, bytes_max, last, body }
}

impl<B: Body<Data = Bytes>> Rest<B> {
    /// A body that is read as it comes.
    pub(crate) fn unread(body: B) -> Rest<B> {
        Rest { read: Bytes::new(), bytes_max: 0, last: None, body }
    }

    /// Whether it is longer than was to be read.
    pub(crate) fn is_longer(&self) -> bool {
        self.read.len() > self.bytes_max
    }

    /// All of it, if that was read and nothing is behind it.
    fn whole(&self) -> Option<&[u8]> {
        (self.last.is_none() && self.read.len() <= self.bytes_max).then_some(&self.read)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Rest<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let rest = self.get_mut();
        if !rest.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut rest.read)))));
        }
        match rest.last.take() {
            Some(last) => Poll::Ready(Some(last)),
            None => Pin::new(&mut rest.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
