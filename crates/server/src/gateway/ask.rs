//! Calls that a request stands for: each goes the way of all, with the request's own headers.
//!
//! # Invariants
//! * All calls of one request have its request id.
//! * What a request's body says is read when the call that needs it has been let in.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_core::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use idhini_wire::PREFIX_BYTES;
use prost::Message;
use serde_json::{Map, Value};
use tonic::body::Body;
use tonic::{Code, Status};

use super::{Answers, GRPC, streamed};
use crate::admission::Accepted;
use crate::pipeline::Pipeline;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest body, in bytes: all custom metadata that a namespace may have, each character of it escaped.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Asks in the name of whoever sent a request.
pub(super) struct Asking<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) accepted: &'a Accepted,
    /// Of each call.
    pub(super) headers: HeaderMap,
    /// What the last call said beside its answer.
    pub(super) beside: HeaderMap,
}

/// A body that has been read, for calls after the one that needed it first.
pub(super) type Read<T> = Arc<Mutex<Option<T>>>;

impl<'a> Asking<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, accepted: &'a Accepted, mut headers: HeaderMap) -> Asking<'a> {
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        Asking { pipeline, accepted, headers, beside: HeaderMap::new() }
    }

    /// Asks this, and waits for the one answer.
    pub(super) async fn ask<A: Message + Default>(
        &mut self,
        call: &'static str,
        message: &impl Message,
    ) -> Result<A, Status> {
        let body = Body::new(Full::new(frame(message)?));
        self.call(call, body).await
    }

    /// Asks what is made of the fields of a body.
    pub(super) async fn ask_of<Q: Message + Send + 'static, A: Message + Default>(
        &mut self,
        call: &'static str,
        body: Body,
        make: impl FnOnce(Map<String, Value>) -> Result<Q, Status> + Send + 'static,
    ) -> Result<A, Status> {
        let body = streamed(one(async move { frame(&make(fields(body).await?)?) }));
        self.call(call, body).await
    }

    async fn call<A: Message + Default>(&mut self, call: &'static str, body: Body) -> Result<A, Status> {
        let mut request = Request::new(body);
        *request.uri_mut() = call.parse().map_err(|_| Status::internal("a call's path is malformed"))?;
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().clone_from(&self.headers);
        let (parts, body) = self.pipeline.call(self.accepted, request).await.into_parts();
        if let Some(id) = parts.headers.get(REQUEST_ID) {
            self.headers.insert(REQUEST_ID, id.clone());
        }
        self.beside = parts.headers;
        if let Some(status) = Status::from_header_map(&self.beside)
            && status.code() != Code::Ok
        {
            return Err(status);
        }
        let mut answers =
            Answers { body: Body::new(body), read: BytesMut::new(), trailers: HeaderMap::new() };
        let answer = answers.next().await?.ok_or_else(|| Status::internal("the call had no answer"))?;
        // What comes behind the answer says whether it counts.
        while answers.next().await?.is_some() {}
        self.beside.extend(answers.trailers);
        A::decode(answer).map_err(|_| Status::internal("the answer is not what the call answers"))
    }

    /// The id of the request, if it has one by now.
    pub(super) fn request_id(&self) -> &str {
        self.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
    }
}

/// The fields of a body; an empty one has none.
pub(super) async fn fields(body: Body) -> Result<Map<String, Value>, Status> {
    let too_long =
        |_| Status::invalid_argument(format!("the body broke off, or has more than {BODY_BYTES_MAX} bytes"));
    let bytes = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(too_long)?.to_bytes();
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Status::invalid_argument("the body is not a JSON object, such as {}")),
        Err(error) => Err(Status::invalid_argument(format!("the body is not JSON: {error}"))),
    }
}

/// What was kept of a body; nothing if the call did not get that far.
pub(super) fn taken<T>(read: &Read<T>) -> Option<T> {
    read.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn one(
    made: impl Future<Output = Result<Bytes, Status>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
    futures_util::stream::once(made)
}

/// A message as gRPC streams carry it.
fn frame(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).map_err(|_| Status::invalid_argument("the request is too long"))?);
    message.encode(&mut frame).map_err(|_| Status::internal("a message does not fit"))?;
    Ok(frame.freeze())
}
