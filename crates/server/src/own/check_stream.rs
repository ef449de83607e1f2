//! CheckStream: checks on one stream, each answered when it is finished.
//!
//! Each check is a task, evaluated in small portions between which all others have their turn: a slow question does not
//! hold up a quick one.
//!
//! # Invariants
//! * At most [`CHECKS_IN_FLIGHT_MAX`] checks of a stream are read and not answered; nothing more is read until the client
//!   takes an answer. So a slow reader costs bounded memory.
//! * Every check that was read is answered once, with an answer or with its own error, unless the stream ends by the
//!   deadline, an error of the stream itself, or the client's leaving, which ends all its checks.
//! * A server that is told to stop reads nothing more, answers what was read, and says so.

use std::time::Duration;

use idhini_engine::Check;
use idhini_wire::authzed::api::v1::Consistency;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::check_stream_request::Request as Asking;
use idhini_wire::idhini::v1::check_stream_response::Response as Answering;
use tokio::task::{JoinError, JoinSet};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::checks::{Asked, partial_caveat_info, permissionship};
use crate::lookups::Answers;
use crate::pin::{Shared, When};
use crate::refusal::Refusal;
use crate::requests;
use crate::telemetry;
use crate::watch::Stopping;

/// Checks of one stream that are read and not answered.
const CHECKS_IN_FLIGHT_MAX: usize = 128;
/// Edges visited between two pauses: a tenth of a millisecond or so, since so many may take turns.
const FUEL: u64 = 1_000;

/// What comes next on a stream.
enum Event {
    Answered(Option<Result<v1::CheckStreamResponse, JoinError>>),
    Read(Result<Option<v1::CheckStreamRequest>, Status>),
    Stopping,
}

/// CheckStream.
pub(crate) fn check_stream(
    shared: &Shared,
    mut stopping: Stopping,
    request: Request<Streaming<v1::CheckStreamRequest>>,
) -> Result<Response<Answers<v1::CheckStreamResponse>>, Status> {
    let when = When::of(request.metadata())?;
    let mut asking = request.into_inner();
    let shared = shared.clone();
    let answers = async_stream::try_stream! {
        let mut settings = None;
        let (mut is_first, mut is_open, mut is_stopping) = (true, true, false);
        // Dropped with the stream, and its tasks with it.
        let mut running = JoinSet::new();
        while is_open || !running.is_empty() {
            let event = async {
                tokio::select! {
                    biased;
                    answered = running.join_next(), if !running.is_empty() => Event::Answered(answered),
                    // Whoever would say so is gone only when serving has ended.
                    _ = stopping.wait_for(|is_stopping| *is_stopping), if is_open => Event::Stopping,
                    read = asking.message(), if is_open && running.len() < CHECKS_IN_FLIGHT_MAX => Event::Read(read),
                }
            };
            match when.deadline.within(event).await? {
                Event::Answered(answered) => {
                    if let Some(answered) = answered {
                        yield answered.map_err(|_| Refusal::new(Code::Internal, "a check failed inside the server"))?;
                    }
                }
                Event::Stopping => (is_open, is_stopping) = (false, true),
                Event::Read(read) => match read.map_err(requests::broken_off)?.map(|message| message.request) {
                    None => is_open = false,
                    Some(Some(Asking::Settings(given))) if is_first => settings = Some(given),
                    Some(Some(Asking::Settings(_))) => {
                        Err(Refusal::invalid("`settings` stands in the first message of a stream only"))?;
                    }
                    Some(Some(Asking::Check(item))) => {
                        running.spawn(telemetry::carried(answer(shared.clone(), when, settings.clone(), item)));
                    }
                    Some(None) => {
                        Err(Refusal::invalid("a message of a stream has neither `settings` nor a `check`"))?;
                    }
                },
            }
            is_first = false;
        }
        if is_stopping {
            Err(Refusal::new(Code::Unavailable, "the server is stopping; what has no answer was not read"))?;
        }
    };
    Ok(Response::new(Box::pin(answers)))
}

async fn answer(
    shared: Shared,
    when: When,
    settings: Option<v1::CheckStreamSettings>,
    item: v1::CheckStreamItem,
) -> v1::CheckStreamResponse {
    let request_id = item.request_id;
    let response = match check(&shared, when, settings.unwrap_or_default(), item).await {
        Ok(answer) => Answering::Answer(answer),
        Err(refusal) => Answering::Error(refusal.into_message()),
    };
    v1::CheckStreamResponse { request_id, response: Some(response) }
}

async fn check(
    shared: &Shared,
    when: When,
    settings: v1::CheckStreamSettings,
    item: v1::CheckStreamItem,
) -> Result<v1::CheckStreamAnswer, Refusal> {
    let when = match item.optional_timeout {
        None => when,
        Some(timeout) => {
            let negative = |_| Refusal::invalid("`optional_timeout` is negative");
            let timeout = Duration::try_from(timeout).map_err(negative)?;
            when.within(when.deadline.or_after(timeout))
        }
    };
    let own: (Option<Consistency>, _) = (item.consistency, item.optional_as_of);
    let (consistency, as_of) = match own {
        (None, None) => (settings.consistency, settings.optional_as_of),
        own => own,
    };
    let when = when.asking_of(as_of)?;
    let asked = Asked::of(item.resource, item.permission, item.subject, item.context)?;
    let pinned = shared.pin(consistency, when).await?;
    let snapshot = pinned.snapshot(&asked.resource.object_type)?;
    let mut check = Check::open(snapshot, asked.question(), shared.question_limits())?;
    let evaluating = when.deadline.drive_by(FUEL, |fuel| check.advance(fuel));
    let answered = evaluating.instrument(telemetry::evaluation_span()).await;
    telemetry::checked(check.cost());
    telemetry::used(check.closures());
    let answer = answered?;
    Ok(v1::CheckStreamAnswer {
        checked_at: pinned.zed_token(),
        permissionship: permissionship(answer.permissionship) as i32,
        partial_caveat_info: partial_caveat_info(&answer),
    })
}
