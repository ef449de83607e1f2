//! CheckStream: checks on one stream, each answered when it is finished.
//!
//! Checks that have arrived together are begun together, and what is answered at once leaves in one piece. A check that
//! takes longer becomes a task, evaluated in small portions between which all others have their turn: a slow question does
//! not hold up a quick one.
//!
//! # Invariants
//! * At most [`CHECKS_IN_FLIGHT_MAX`] checks of a stream are read and not answered; nothing more is read until the client
//!   takes an answer. So a slow reader costs bounded memory.
//! * Every check that was read is answered once, with an answer or with its own error, unless the stream ends by the
//!   deadline, an error of the stream itself, or the client's leaving, which ends all its checks.
//! * A server that is told to stop reads nothing more, answers what was read, and says so.
//! * A check that was begun here goes on as a task from where it stands, so that nothing is evaluated twice.
//!
//! Cost: no task for a check that is answered at once, and one write for all that are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use idhini_engine::{ATTEMPT_MAX, Answer, Check, Progress};
use idhini_wire::authzed::api::v1::Consistency;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::check_stream_request::Request as Asking;
use idhini_wire::idhini::v1::check_stream_response::Response as Answering;
use idhini_wire::put_framed;
use tokio::task::{JoinError, JoinSet};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::audit::Items;
use crate::checks::{Asked, partial_caveat_info, permissionship};
use crate::deadline::FUEL;
use crate::lane::Place;
use crate::lookups::{Answers, carried};
use crate::pin::{Pinned, Shared, When};
use crate::refusal::Refusal;
use crate::requests;
use crate::single::is_long;
use crate::telemetry;
use crate::watch::Stopping;

/// Checks of one stream that are read and not answered.
const CHECKS_IN_FLIGHT_MAX: usize = 128;
/// Edges visited before a check becomes a task: as many as an attempt takes.
const FIRST_FUEL: u64 = ATTEMPT_MAX;

/// What comes next on a stream.
enum Event {
    Answered(Option<Result<Answered, JoinError>>),
    Read(Result<Option<v1::CheckStreamRequest>, Status>),
    Stopping,
}

/// An answer, and what it took to find, in edges.
struct Answered {
    response: v1::CheckStreamResponse,
    cost: u64,
}

/// One check, to its answer.
type Checking = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// A stream under way.
struct Stream {
    shared: Arc<Shared>,
    when: When,
    stopping: Stopping,
    asking: Streaming<v1::CheckStreamRequest>,
    settings: Option<v1::CheckStreamSettings>,
    is_first: bool,
    is_open: bool,
    is_stopping: bool,
    /// Dropped with the stream, and its tasks with it.
    running: JoinSet<Answered>,
    /// Answers that have not left yet, as frames, and how many.
    answers: Vec<u8>,
    answers_count: usize,
    /// Edges visited since others had their turn.
    spent: u64,
    /// Where each check is told of, if it is.
    items: Option<Items>,
}

/// CheckStream.
pub(crate) fn check_stream(
    shared: &Shared,
    stopping: Stopping,
    request: Request<Streaming<v1::CheckStreamRequest>>,
) -> Result<Response<Answers<v1::CheckStreamResponse>>, Status> {
    let when = When::of(request.metadata())?;
    let mut stream = Stream::new(shared, stopping, when, request.into_inner());
    let chunks = async_stream::try_stream! {
        let mut ended = Ok(());
        while ended.is_ok() && (stream.is_open || !stream.running.is_empty()) {
            if stream.spent >= FUEL {
                stream.spent = 0;
                if let Some(chunk) = stream.take_answers() {
                    yield chunk;
                }
                ended = when.deadline.breathe().await.map_err(Status::from);
                continue;
            }
            let event = match stream.answers_count {
                0 => when.deadline.within(stream.event(true)).await.map_err(Status::from),
                // What is there already is answered together with this.
                _ => match stream.event(false).now_or_never() {
                    Some(event) => Ok(event),
                    None => {
                        if let Some(chunk) = stream.take_answers() {
                            yield chunk;
                        }
                        continue;
                    }
                },
            };
            ended = event.and_then(|event| stream.turn_to(event));
        }
        if let Some(chunk) = stream.take_answers() {
            yield chunk;
        }
        ended?;
        if stream.is_stopping {
            Err(Refusal::new(Code::Unavailable, "the server is stopping; what has no answer was not read"))?;
        }
    };
    Ok(carried::response(chunks))
}

impl Stream {
    fn new(
        shared: &Shared,
        stopping: Stopping,
        when: When,
        asking: Streaming<v1::CheckStreamRequest>,
    ) -> Stream {
        Stream {
            // Its checks count their readers by themselves.
            shared: Arc::new(shared.clone()),
            when,
            stopping,
            asking,
            settings: None,
            is_first: true,
            is_open: true,
            is_stopping: false,
            running: JoinSet::new(),
            answers: Vec::new(),
            answers_count: 0,
            spent: 0,
            items: telemetry::recording().and_then(|recording| recording.items()),
        }
    }

    /// Whether the server is stopping is heard by whoever waits: looking costs as much as reading. Nothing is lost when
    /// this is dropped before it tells.
    async fn event(&mut self, waits: bool) -> Event {
        let in_flight = self.running.len() + self.answers_count;
        tokio::select! {
            biased;
            answered = self.running.join_next(), if !self.running.is_empty() => Event::Answered(answered),
            // Whoever would say so is gone only when serving has ended.
            _ = self.stopping.wait_for(|is_stopping| *is_stopping), if self.is_open && waits => Event::Stopping,
            read = self.asking.message(), if self.is_open && in_flight < CHECKS_IN_FLIGHT_MAX => Event::Read(read),
            // Everything waits for the client to take what is answered.
            () = std::future::pending() => Event::Answered(None),
        }
    }

    fn turn_to(&mut self, event: Event) -> Result<(), Status> {
        match event {
            Event::Answered(None) => {}
            Event::Answered(Some(Ok(answered))) => self.push(&answered.response),
            Event::Answered(Some(Err(_))) => return Err(failed().into()),
            Event::Stopping => (self.is_open, self.is_stopping) = (false, true),
            Event::Read(read) => {
                let is_first = std::mem::replace(&mut self.is_first, false);
                match read.map_err(requests::broken_off)?.map(|message| message.request) {
                    None => self.is_open = false,
                    Some(Some(Asking::Settings(given))) if is_first => self.settings = Some(given),
                    Some(Some(Asking::Settings(_))) => {
                        let told = "`settings` stands in the first message of a stream only";
                        return Err(Refusal::invalid(told).into());
                    }
                    Some(Some(Asking::Check(item))) => self.begin(item)?,
                    Some(None) => {
                        let told = "a message of a stream has neither `settings` nor a `check`";
                        return Err(Refusal::invalid(told).into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Answers a check, or makes it a task.
    fn begin(&mut self, item: v1::CheckStreamItem) -> Result<(), Refusal> {
        let (settings, items) = (self.settings.clone(), self.items.clone());
        let mut check: Checking =
            Box::pin(answer(Arc::clone(&self.shared), self.when, settings, items, item));
        // As a task it is woken by what it waits for. Until then there is nobody to wake: it is looked at again at once.
        let mut context = Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(answered)) => {
                self.spent += answered.cost;
                self.push(&answered.response);
            }
            Ok(Poll::Pending) => {
                self.spent += FIRST_FUEL;
                let check = telemetry::carried(check);
                match telemetry::place() {
                    Some(place) => place.spawn_in(&mut self.running, check),
                    None => drop(self.running.spawn(check)),
                }
            }
            Err(_) => {
                // It may panic again when it is taken apart.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(check)));
                return Err(failed());
            }
        }
        Ok(())
    }

    fn push(&mut self, response: &v1::CheckStreamResponse) {
        put_framed(response, &mut self.answers);
        self.answers_count += 1;
    }

    fn take_answers(&mut self) -> Option<Bytes> {
        self.answers_count = 0;
        let room = self.answers.len();
        let answers = std::mem::take(&mut self.answers);
        (!answers.is_empty()).then(|| {
            // The next are about as many.
            self.answers.reserve(room);
            Bytes::from(answers)
        })
    }
}

fn failed() -> Refusal {
    Refusal::new(Code::Internal, "a check failed inside the server")
}

async fn answer(
    shared: Arc<Shared>,
    when: When,
    settings: Option<v1::CheckStreamSettings>,
    items: Option<Items>,
    item: v1::CheckStreamItem,
) -> Answered {
    let request_id = item.request_id;
    let mut cost = 0;
    let response = match check(&shared, when, settings.unwrap_or_default(), (item, items), &mut cost).await {
        Ok(answer) => Answering::Answer(answer),
        Err(refusal) => Answering::Error(refusal.into_message()),
    };
    Answered { response: v1::CheckStreamResponse { request_id, response: Some(response) }, cost }
}

async fn check(
    shared: &Shared,
    when: When,
    settings: v1::CheckStreamSettings,
    (item, items): (v1::CheckStreamItem, Option<Items>),
    cost: &mut u64,
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
    let answered = evaluated(shared, when, consistency, &asked, cost).await;
    if let Some(items) = items {
        let told =
            answered.as_ref().map(|(pinned, answer)| (pinned.published.revision(), answer.permissionship));
        items.tell(&asked, told);
    }
    let (pinned, answer) = answered?;
    Ok(v1::CheckStreamAnswer {
        checked_at: pinned.zed_token(),
        permissionship: permissionship(answer.permissionship) as i32,
        partial_caveat_info: partial_caveat_info(&answer),
    })
}

async fn evaluated(
    shared: &Shared,
    when: When,
    consistency: Option<Consistency>,
    asked: &Asked,
    cost: &mut u64,
) -> Result<(Pinned, Answer), Refusal> {
    let pinned = shared.pin(consistency, when).await?;
    let snapshot = pinned.snapshot(&asked.resource.object_type)?;
    let mut check = Check::open(snapshot, asked.question(), shared.light_limits())?;
    let evaluating = async {
        match check.advance(FIRST_FUEL) {
            Ok(Progress::Done(answer)) => return Ok(answer),
            Err(error) if !is_long(&error) => return Err(error.into()),
            Ok(Progress::More) | Err(_) => {}
        }
        telemetry::prepay(check.cost());
        // Each is asked for: the stream as a whole is not what is long.
        if let Some(refusal) = telemetry::place().as_ref().and_then(Place::refusal) {
            return Err(refusal);
        }
        // It goes on elsewhere, and is asked anew there.
        when.deadline.breathe().await?;
        check = Check::open(snapshot, asked.question(), shared.question_limits())?;
        when.deadline.drive_to(FUEL, |fuel| check.advance(fuel)).await?.map_err(Refusal::from)
    };
    let answered: Result<_, Refusal> = evaluating.instrument(telemetry::evaluation_span()).await;
    *cost = check.cost();
    telemetry::checked(*cost);
    telemetry::used(check.closures());
    let answer = answered?;
    Ok((pinned, answer))
}
