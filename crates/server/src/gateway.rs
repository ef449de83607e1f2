//! How does a client without gRPC call? `POST /v1/…` with JSON, as the published contract maps its calls to paths.
//!
//! Around all services: a JSON call becomes the gRPC call that it stands for and goes through the same pipeline,
//! so that whoever may not call the one may not call the other. `authorization`, `grpc-timeout` and the other request
//! metadata are headers of the same names.
//!
//! A call with one answer answers its JSON. A call with a stream of answers answers a line each, `{"result": …}`, and if
//! it fails a last line `{"error": …}`; a stream without that line is whole only if the response ended properly, which
//! HTTP tells. A call that takes a stream takes a message a line.
//!
//! What clients of OpenBao call is told apart by its path (`address.rs`) and becomes calls of `idhini.v1` (`openbao.rs`).
//!
//! # Invariants
//! * No request holds more than one message at a time.
//! * A refusal has the status, the reason and its metadata as gRPC has them: `google.rpc.Status` as JSON.
//!
//! Cost: two more encodings of each message. A gRPC call pays one comparison.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use idhini_wire::{Described, PREFIX_BYTES, google};
use prost::Message as _;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::admission::Accepted;
use crate::options::MESSAGE_BYTES_MAX;
use crate::pipeline::Pipeline;

mod address;
mod ask;
mod openbao;
mod routes;

use self::address::Target;
use self::routes::Route;

/// Where the calls are.
const PREFIX: &str = "/v1/";
/// Where there is no call.
const NOWHERE: &str = "/";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether a request is a gRPC call as it is.
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && !request.uri().path().starts_with(PREFIX)
}

/// Answers what is not: the call that it stands for goes the way of all.
pub(crate) async fn answer(
    pipeline: &Pipeline,
    accepted: &Accepted,
    request: Request<Body>,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let target = address::target(parts.uri.path()).and_then(|(namespace, target)| {
        address::settle(&mut parts.headers, &namespace)?;
        Ok(target)
    });
    let translated = match target {
        Ok(Target::OpenBao(names)) => {
            return openbao::answer((pipeline, accepted), &names, parts, body).await;
        }
        Ok(Target::Contract(route)) => translated(&mut parts, route, body),
        Err(refusal) => Err(refusal),
    };
    match translated {
        Ok((route, body)) => {
            let response = pipeline.call(accepted, Request::from_parts(parts, body)).await;
            answered(route, response.map(Body::new)).await
        }
        Err(refusal) => {
            // It is counted and has its request id as any call that there is not.
            as_grpc(&mut parts, Uri::from_static(NOWHERE));
            let response = pipeline.call(accepted, Request::from_parts(parts, Body::empty())).await;
            behind(refused(&refusal), response.headers())
        }
    }
}

/// The gRPC call that a JSON call stands for. Its body is read when the call is let in.
fn translated(parts: &mut Parts, route: Route, body: Body) -> Result<(Route, Body), Status> {
    if parts.method != Method::POST {
        let path = parts.uri.path().escape_default();
        return Err(Status::unimplemented(format!("`{path}` takes POST only, with a message as JSON")));
    }
    let body = match route.takes_stream {
        true => streamed(lines_of(route.request.clone(), body)),
        false => streamed(whole(route.request.clone(), body)),
    };
    let uri = format!("/{}", route.call).parse();
    as_grpc(parts, uri.map_err(|_| Status::internal("a call's path is malformed"))?);
    Ok((route, body))
}

fn as_grpc(parts: &mut Parts, uri: Uri) {
    parts.uri = uri;
    parts.method = Method::POST;
    parts.version = Version::HTTP_2;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, GRPC);
    parts.headers.insert(TE, HeaderValue::from_static("trailers"));
}

/// The one message that a body is.
fn whole(described: Described, body: Body) -> impl Stream<Item = Result<Bytes, Status>> {
    async_stream::try_stream! {
        let bytes = Limited::new(body, MESSAGE_BYTES_MAX).collect().await.map_err(too_long)?.to_bytes();
        yield framed(&described, &bytes)?;
    }
}

/// Each line a message; empty ones are none.
fn lines_of(described: Described, mut body: Body) -> impl Stream<Item = Result<Bytes, Status>> {
    async_stream::try_stream! {
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            // What was read before has no end of a line; looked at once only, a long line in many frames stays cheap.
            let mut seen = read.len();
            read.extend_from_slice(&data);
            while let Some(end) = read.iter().skip(seen).position(|byte| *byte == b'\n') {
                let line = read.split_to(seen + end + 1);
                seen = 0;
                if !line.trim_ascii().is_empty() {
                    yield framed(&described, &line).map_err(|status| of_a_line(&status))?;
                }
            }
            if read.len() > MESSAGE_BYTES_MAX {
                Err(too_long("no end of a line"))?;
            }
        }
        if !read.trim_ascii().is_empty() {
            yield framed(&described, &read).map_err(|status| of_a_line(&status))?;
        }
    }
}

fn of_a_line(status: &Status) -> Status {
    Status::new(status.code(), format!("{}; this call takes one whole message a line", status.message()))
}

fn streamed(data: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Body {
    Body::new(StreamBody::new(Box::pin(data.map(|data| data.map(Frame::data)))))
}

fn too_long(_: impl Into<tonic::codegen::StdError>) -> Status {
    Status::invalid_argument(format!(
        "the body broke off, or a message in it has more than {MESSAGE_BYTES_MAX} bytes; send less at a time"
    ))
}

/// A message as gRPC streams carry it. An absent one is the empty one.
fn framed(described: &Described, json: &[u8]) -> Result<Bytes, Status> {
    let text = std::str::from_utf8(json).map_err(|_| Status::invalid_argument("the body is not UTF-8"))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let message = described.encode_json(text).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).map_err(|_| too_long("a message"))?);
    frame.put_slice(&message);
    Ok(frame.freeze())
}

/// The JSON of a call's answer or answers.
async fn answered(route: Route, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        return behind(refused(&status), &parts.headers);
    }
    let mut answers = Answers { body, read: BytesMut::new(), trailers: HeaderMap::new() };
    if route.answers_stream {
        return behind(respond(StatusCode::OK, streamed(lines(route, answers))), &parts.headers);
    }
    let answer = one(&route, &mut answers).await;
    let response = match answer {
        Ok(json) => respond(StatusCode::OK, Body::new(Full::new(Bytes::from(json)))),
        Err(status) => refused(&status),
    };
    behind(behind(response, &parts.headers), &answers.trailers)
}

async fn one(route: &Route, answers: &mut Answers) -> Result<String, Status> {
    let message = answers.next().await?.ok_or_else(|| Status::internal("the call had no answer"))?;
    // What comes behind the answer says whether it counts.
    while answers.next().await?.is_some() {}
    printed(&route.response, &message)
}

fn lines(route: Route, mut answers: Answers) -> impl Stream<Item = Result<Bytes, Status>> {
    async_stream::stream! {
        loop {
            let next = match answers.next().await {
                Ok(None) => break,
                Ok(Some(message)) => printed(&route.response, &message),
                Err(status) => Err(status),
            };
            let is_last = next.is_err();
            let line = match next {
                Ok(json) => format!("{{\"result\":{json}}}\n"),
                Err(status) => format!("{{\"error\":{}}}\n", status_json(&status)),
            };
            yield Ok(Bytes::from(line));
            if is_last {
                break;
            }
        }
    }
}

fn printed(described: &Described, message: &[u8]) -> Result<String, Status> {
    described.full_json(message).map_err(|error| Status::internal(error.to_string()))
}

/// The messages of a gRPC response.
struct Answers {
    body: Body,
    read: BytesMut,
    trailers: HeaderMap,
}

impl Answers {
    /// The next message, or none at a good end.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(mut prefix) = self.read.get(1..PREFIX_BYTES) {
                let end = PREFIX_BYTES + prefix.get_u32() as usize;
                if self.read.len() >= end {
                    return Ok(Some(self.read.split_to(end).freeze().slice(PREFIX_BYTES..)));
                }
            }
            let Some(frame) = self.body.frame().await else {
                return match Status::from_header_map(&self.trailers) {
                    Some(status) if status.code() != Code::Ok => Err(status),
                    Some(_) => Ok(None),
                    None => Err(Status::unknown("the answer broke off")),
                };
            };
            match frame?.into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(frame) => self.trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
    }
}

/// Adds what travels beside an answer, such as its request id.
fn behind(mut response: Response<Body>, metadata: &HeaderMap) -> Response<Body> {
    let of_grpc = |name: &str| name.starts_with("grpc-") || name.starts_with("content-") || name == "trailer";
    // What a call says before its answer and again behind it, such as its request id, is said once here.
    let kept = metadata.iter().filter(|(name, _)| !of_grpc(name.as_str()));
    for (name, value) in kept {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn refused(status: &Status) -> Response<Body> {
    let response = respond(http_status(status), Body::new(Full::new(Bytes::from(status_json(status)))));
    later(response, status)
}

/// Says when to ask again, as HTTP does, if the refusal says so.
fn later(mut response: Response<Body>, status: &Status) -> Response<Body> {
    let told = google::rpc::Status::decode(status.details()).unwrap_or_default();
    let info = told.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"));
    let delay = info.and_then(|any| google::rpc::RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay);
    if let Some(delay) = delay {
        // Whole seconds, and none too soon.
        let seconds = delay.seconds.saturating_add(i64::from(delay.nanos > 0));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `google.rpc.Status` as JSON.
fn status_json(status: &Status) -> String {
    let told = google::rpc::Status::decode(status.details()).ok().filter(|told| told.code != 0);
    let plain = || google::rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    };
    let described = Described::named("google.rpc.Status");
    let json = |message: &google::rpc::Status| {
        described.as_ref().ok().and_then(|d| d.full_json(&message.encode_to_vec()).ok())
    };
    told.as_ref().and_then(json).or_else(|| json(&plain())).unwrap_or_else(|| "{}".to_owned())
}

/// As the published gateways answer; and as OpenBao does, of what the contract does not know.
fn http_status(status: &Status) -> StatusCode {
    match openbao::reason(status).as_deref() {
        Some("NAMESPACE_LOCKED") => return StatusCode::SERVICE_UNAVAILABLE,
        Some("NAMESPACE_HAS_CHILDREN" | "NAMESPACE_BEING_DELETED") => return StatusCode::CONFLICT,
        _ => {}
    }
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests;
