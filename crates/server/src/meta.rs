//! What travels beside the answers: request ids, what a call cost, and the server's version when asked.
//!
//! Around all services, since the contract wants these behind the answer, as trailers. Every call is begun and ended here,
//! so this is also where it is counted, traced and told of.
//!
//! # Invariants
//! * No two calls of a process have the same id: each worker has its own numbers, those that leave its index as remainder.
//!
//! Cost: one shared record a call; an id is written among others, so that most take no memory of their own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::admission::CutAnswers;
use crate::telemetry::{Call, Finished, Recorder};

pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESPONSE_REQUEST_ID: HeaderName = HeaderName::from_static("io.spicedb.respmeta.requestid");
const DISPATCHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.dispatchedoperationscount");
const CACHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.cachedoperationscount");
const VERSION_ASKED: HeaderName = HeaderName::from_static("io.spicedb.requestversion");
const VERSION: HeaderName = HeaderName::from_static("io.spicedb.debug.version");
const THIS_VERSION: HeaderValue = HeaderValue::from_static(concat!("v", env!("CARGO_PKG_VERSION")));
/// Of a call that was answered.
const GOOD: HeaderValue = HeaderValue::from_static("0");
const NOTHING: HeaderValue = HeaderValue::from_static("0");
/// Longest request id of a client that is repeated to it, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// What stands behind an answer, at most.
const TRAILERS: usize = 6;

/// Adds the metadata to a worker's calls.
#[derive(Debug)]
pub(crate) struct Meta {
    ids: Ids,
    recorder: Arc<Recorder>,
}

/// Which of how many workers this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) of: usize,
}

/// A call that is under way.
pub(crate) struct Begun {
    call: Arc<Call>,
    finished: Finished,
    behind: Behind,
}

/// What is to stand behind an answer.
struct Behind {
    id: Option<HeaderValue>,
    is_version_asked: bool,
}

impl Meta {
    /// `process` tells this process's request ids from another's.
    pub(crate) fn new(process: u32, place: Place, recorder: Arc<Recorder>) -> Meta {
        Meta { ids: Ids::new(process, place), recorder }
    }

    /// Begins a call.
    pub(crate) fn begin<B>(&self, request: &Request<B>) -> Begun {
        let headers = request.headers();
        let given = headers.get(REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).cloned();
        let id = given.or_else(|| self.ids.next());
        let call = Call::begin(&self.recorder, request.uri().path(), id.as_ref(), headers);
        let behind = Behind { id, is_version_asked: headers.contains_key(VERSION_ASKED) };
        Begun { finished: Finished::of(&call), call, behind }
    }
}

impl Begun {
    /// What is known of it.
    pub(crate) fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Adds what travels beside its answer. A refusal ends the call here, an answer when its last message has left.
    pub(crate) fn answered(self, mut response: Response<Content>) -> Response<Reply> {
        let Begun { call, mut finished, behind } = self;
        // A refusal has no body: its status stands among the headers, and so does what belongs to it.
        if let Some(status) = response.headers().get(STATUS) {
            finished.with(Code::from_bytes(status.as_bytes()));
            behind.add_to(response.headers_mut(), &call);
            // Known to be empty, so that the headers end the stream: some clients take no status that anything follows.
            return response.map(|_| Reply::Other(Body::empty()));
        }
        // At once as well, for clients that wait long for what is behind.
        if let Some(id) = &behind.id {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response.map(|content| {
            let messages = Messages::default();
            Reply::Answered(Answered { content, call, finished, behind: Some(behind), messages })
        })
    }
}

impl Behind {
    /// Clients that look for the counts look for them behind every call.
    fn add_to(self, trailers: &mut HeaderMap, call: &Call) {
        if let Some(id) = self.id {
            trailers.insert(REQUEST_ID, id.clone());
            trailers.insert(RESPONSE_REQUEST_ID, id);
        }
        if self.is_version_asked {
            trailers.insert(VERSION, THIS_VERSION);
        }
        trailers.insert(DISPATCHED, HeaderValue::from(call.edges()));
        trailers.insert(CACHED, if call.found() == 0 { NOTHING } else { HeaderValue::from(call.found()) });
    }
}

/// The ids of a worker's calls.
#[derive(Debug)]
struct Ids {
    process: u32,
    step: u64,
    /// Touched by its worker only.
    next: Mutex<(u64, BytesMut)>,
}

impl Ids {
    /// Bytes of an id: two numbers in hexadecimal digits and what stands between them.
    const BYTES_MAX: usize = 8 + 1 + 16;
    /// Bytes that ids are written into, one behind the other; freed when nobody has one of them any more.
    const ROOM_BYTES: usize = 1_024;

    fn new(process: u32, place: Place) -> Ids {
        let next = (place.index as u64, BytesMut::new());
        Ids { process, step: place.of.max(1) as u64, next: Mutex::new(next) }
    }

    fn next(&self) -> Option<HeaderValue> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, room) = &mut *next;
        if room.capacity() < Ids::BYTES_MAX {
            *room = BytesMut::with_capacity(Ids::ROOM_BYTES);
        }
        hexadecimal(room, u64::from(self.process), 8);
        room.put_u8(b'-');
        hexadecimal(room, *number, 1);
        *number = number.wrapping_add(self.step);
        HeaderValue::from_maybe_shared(room.split().freeze()).ok()
    }
}

/// At least so many digits of a number.
fn hexadecimal(into: &mut BytesMut, number: u64, digits_min: u32) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(digits_min);
    for digit in (0..digits).rev() {
        into.put_u8(b"0123456789abcdef"[(number >> (digit * 4) & 0xf) as usize]);
    }
}

/// What is sent to a client behind the headers.
pub(crate) enum Reply {
    /// Of a call that was answered.
    Answered(Answered),
    /// Of one that was refused, or that is answered otherwise than in gRPC.
    Other(Body),
}

/// What a service answers.
pub(crate) enum Content {
    /// One message and a good end; none is left once it has been sent.
    One(Option<Bytes>),
    /// As gRPC streams them.
    Messages(Body),
    /// The same, for as long as the call stands.
    Cut(Box<CutAnswers>),
}

/// An answer's messages, and what is behind them.
pub(crate) struct Answered {
    content: Content,
    call: Arc<Call>,
    finished: Finished,
    /// To be added behind the last message.
    behind: Option<Behind>,
    messages: Messages,
}

/// Counts messages of an answer as it passes, however it is cut into frames of HTTP: each has a byte, its length (4,
/// big-endian) and so many bytes.
#[derive(Debug, Default)]
struct Messages {
    /// Of a message's first five bytes, what has passed.
    head: Vec<u8>,
    /// Bytes of the message that are still to pass.
    left: usize,
}

impl Messages {
    const HEAD_BYTES: usize = 5;

    /// How many of them begin in these bytes, but for a head that is cut: that begins with what comes next.
    fn count(&mut self, mut data: &[u8]) -> u64 {
        let mut count = 0;
        while !data.is_empty() {
            let passed = self.left.min(data.len());
            self.left -= passed;
            data = data.get(passed..).unwrap_or_default();
            let wanted = Messages::HEAD_BYTES - self.head.len();
            let (head, rest) = data.split_at(wanted.min(data.len()));
            self.head.extend(head);
            data = rest;
            if let [_, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.head.clear();
                count += 1;
            }
        }
        count
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Reply::Answered(answered) => answered.poll_frame(context),
            Reply::Other(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Answered(Answered { content: Content::Messages(body), .. }) => body.is_end_stream(),
            Reply::Answered(Answered { content: Content::One(message), behind, .. }) => {
                message.is_none() && behind.is_none()
            }
            Reply::Answered(Answered { content: Content::Cut(answers), .. }) => answers.is_end_stream(),
            Reply::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Reply::Answered(Answered { content: Content::Messages(body), .. }) => body.size_hint(),
            Reply::Answered(_) => http_body::SizeHint::default(),
            Reply::Other(body) => body.size_hint(),
        }
    }
}

impl Answered {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Answered { content, call, finished, behind, messages } = self;
        let mut polled = match content {
            Content::Messages(body) => call.run_now(|| http_body::Body::poll_frame(Pin::new(body), context)),
            Content::Cut(answers) => call.run_now(|| answers.poll_frame(context)),
            Content::One(message) => {
                if let Some(message) = message.take() {
                    return Poll::Ready(Some(Ok(Frame::data(message))));
                }
                let Some(behind) = behind.take() else { return Poll::Ready(None) };
                finished.with(Code::Ok);
                let mut trailers = HeaderMap::with_capacity(TRAILERS);
                trailers.insert(STATUS, GOOD);
                behind.add_to(&mut trailers, call);
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        };
        if let (Poll::Ready(Some(Ok(frame))), Some(recording)) = (&polled, call.recording()) {
            if let Some(data) = frame.data_ref() {
                recording.has_sent(messages.count(data));
            } else if let Some(trailers) = frame.trailers_ref() {
                recording.ended_by(trailers);
            }
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            if let Some(status) = trailers.get(STATUS) {
                finished.with(Code::from_bytes(status.as_bytes()));
            }
            if let Some(behind) = behind.take() {
                behind.add_to(trailers, call);
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let bytes: Vec<u8> = [0_usize, 1, 300, 5, 0]
            .into_iter()
            .flat_map(|length| {
                let head = u32::try_from(length).unwrap().to_be_bytes();
                [&[0][..], &head, &vec![7; length]].concat()
            })
            .collect();
        for size in [1, 2, 3, 4, 5, 6, 7, 100, bytes.len()] {
            let mut messages = Messages::default();
            let count: u64 = bytes.chunks(size).map(|chunk| messages.count(chunk)).sum();
            assert_eq!((count, messages.left), (5, 0), "{size}");
        }
    }

    #[test]
    fn no_two_workers_give_out_the_same_id() {
        let workers = [0, 1, 2].map(|index| Ids::new(0xab, Place { index, of: 3 }));
        let ids: BTreeSet<String> = (0..300)
            .flat_map(|_| workers.iter().map(|ids| ids.next().unwrap().to_str().unwrap().to_owned()))
            .collect();
        assert_eq!(ids.len(), 900);
        let wanted = (0..900).map(|number| format!("000000ab-{number:x}")).collect();
        assert_eq!(ids, wanted);
    }
}
