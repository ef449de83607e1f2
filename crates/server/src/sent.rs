//! What does a client send, and has it come to its end?
//!
//! The transport tells a stream that its client took back by an error, which the codec in turn takes for an end as good as
//! any. Whoever imports what was sent must know which it was: half a transaction is none.
//!
//! # Invariants
//! * A body that ends well was ended by its client.
//!
//! Cost: a look at the stream's state at its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use tonic::codegen::StdError;
use tonic::{Code, Status};

/// A request's body.
pub(crate) struct Sent<B> {
    body: B,
    /// Whether the body itself knows that it was ended, so that an end that it does not know of is none.
    knows_its_end: bool,
    is_over: bool,
}

/// The same request.
pub(crate) fn of<B>(request: Request<B>) -> Request<Sent<B>> {
    // In HTTP/1 what breaks off is an error.
    let knows_its_end = request.version() == Version::HTTP_2;
    request.map(|body| Sent { body, knows_its_end, is_over: false })
}

impl<B> Body for Sent<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(frame)) => Poll::Ready(Some(frame.map_err(not_ended))),
            Poll::Ready(None) => {
                self.is_over = true;
                let is_whole = !self.knows_its_end || self.body.is_end_stream();
                Poll::Ready((!is_whole).then(|| Err(broken_off().into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same error, but not as a cancellation, behind which nobody would look for more.
fn not_ended(error: impl Into<StdError>) -> StdError {
    let status = Status::from_error(error.into());
    if status.code() == Code::Cancelled { broken_off().into() } else { status.into() }
}

/// What is known of a client's stream that it did not end.
fn broken_off() -> Status {
    Status::aborted("the stream of the client broke off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};

    /// A body that never says that it was ended, as that of a stream that was taken back.
    fn taken_back(version: Version) -> Request<Sent<impl Body<Data = Bytes, Error = StdError> + Unpin>> {
        let frames = vec![Ok::<_, StdError>(Frame::data(Bytes::from_static(b"half")))];
        let mut request = Request::new(StreamBody::new(futures_util::stream::iter(frames)));
        *request.version_mut() = version;
        of(request)
    }

    #[tokio::test]
    async fn what_was_taken_back_ends_in_an_error_and_what_was_ended_does_not() {
        let error = taken_back(Version::HTTP_2).into_body().collect().await.unwrap_err();
        assert_eq!(error.downcast_ref::<Status>().unwrap().code(), Code::Aborted);
        let whole = taken_back(Version::HTTP_11).into_body().collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "half");
        assert_eq!(Status::from_error(not_ended(Status::cancelled("taken back"))).code(), Code::Aborted);
        let empty = of(Request::new(http_body_util::Empty::<Bytes>::new()));
        assert!(empty.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}
