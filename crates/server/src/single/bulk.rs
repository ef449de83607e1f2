//! How is a bulk check answered, the short way? As a single one is, its items together.
//!
//! # Invariants
//! * One item that is not plain leaves all of them to the service.
//!
//! Cost: a few allocations a call, and none an item whose answer is plain.

use std::sync::PoisonError;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use idhini_engine::{Answer, CheckBulk, EngineError, Permissionship, Progress, Snapshot};
use idhini_model::Context;
use idhini_wire::{BulkAnswer, PlainBulk, PlainItem, only_message};
use tonic::Status;
use tracing::Instrument as _;

use super::{Checks, Rest, empty, fill_in, good, head, in_one, read};
use crate::admission::{Standing, revocable};
use crate::audit::answer_name;
use crate::checks::{Asked, bulk_response, item_text, permissionship};
use crate::deadline::{Deadline, FUEL};
use crate::heads::Head;
use crate::meta::Content;
use crate::pin::Shared;
use crate::refusal::Refusal;
use crate::telemetry::{self, Call};

/// Longest request, in bytes: some thousand items. Longer ones gain nothing by being read here.
const REQUEST_BYTES_MAX: usize = 128 * 1024;
/// Questions that are kept to be filled again.
const SPARE_MAX: usize = 256;

impl Checks {
    /// Answers a bulk check, or gives it back as it came.
    pub(super) async fn answer_bulk<B>(
        &self,
        shared: &Shared,
        request: Request<B>,
        (call, deadline): (&Call, Deadline),
        standing: impl FnOnce() -> Option<Standing>,
    ) -> Result<Response<Content>, Request<Rest<B>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let read = match deadline.within(read(body, REQUEST_BYTES_MAX)).await {
            Ok(read) => read,
            Err(refusal) => return Ok(Status::from(refusal).into_http().map(Content::Messages)),
        };
        let message = read.whole().and_then(only_message);
        let plain = message.and_then(|message| PlainBulk::read(message, shared.limits.bulk_items_max));
        let Some(plain) = plain.filter(|plain| !plain.with_tracing) else {
            return Err(Request::from_parts(parts, read));
        };
        let answering = revocable(standing(), self.answered(shared, &plain, call, deadline));
        let answered = match answering.await {
            Ok(Some((asked, answered))) => {
                self.keep(asked);
                answered
            }
            Ok(None) => return Err(Request::from_parts(parts, read)),
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(frame) => Ok(in_one(frame)),
            Err(refusal) => Ok(Status::from(refusal).into_http().map(Content::Messages)),
        }
    }

    /// The answer, and the questions, which are no longer needed; `None` if it is not for here.
    async fn answered(
        &self,
        shared: &Shared,
        plain: &PlainBulk<'_>,
        call: &Call,
        deadline: Deadline,
    ) -> Option<(Vec<Asked>, Result<Bytes, Refusal>)> {
        let head = telemetry::snapshot_span().in_scope(|| head(shared, plain.requirement))?;
        let snapshot = head.published.snapshot(shared.namespace.now())?;
        let asked = self.all_asked(&plain.items)?;
        let of_items = asked.get(..plain.items.len()).unwrap_or_default();
        let answers = evaluated(shared, snapshot, of_items, call, deadline).await;
        if let (Some(recording), Ok(answers)) = (call.recording(), &answers) {
            let told = of_items.iter().zip(answers).map(|(asked, answer)| {
                item_text(asked, answer.as_ref().map_or("error", |answer| answer_name(answer.permissionship)))
            });
            recording.note_all("questions", told);
            recording.read_at(head.published.revision());
        }
        let frame = answers.map(|answers| in_one_piece(&head, &plain.items, answers));
        Some((asked, frame))
    }

    /// The questions, the items' first and maybe some that are spare; `None` if one is not for here.
    fn all_asked(&self, items: &[PlainItem<'_>]) -> Option<Vec<Asked>> {
        let mut asked =
            std::mem::take(&mut *self.spare_of_bulks.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, item) in items.iter().enumerate() {
            let context = good(&item.question)?;
            if at == asked.len() {
                asked.push(empty());
            }
            fill_in(&mut asked[at], &item.question, context);
        }
        Some(asked)
    }

    /// Keeps questions to be filled again.
    fn keep(&self, mut asked: Vec<Asked>) {
        asked.truncate(SPARE_MAX);
        asked.iter_mut().for_each(|asked| asked.context = Context::default());
        *self.spare_of_bulks.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

async fn evaluated(
    shared: &Shared,
    snapshot: Snapshot<'_>,
    asked: &[Asked],
    call: &Call,
    deadline: Deadline,
) -> Result<Vec<Result<Answer, EngineError>>, Refusal> {
    let questions = asked.iter().map(Asked::question).collect();
    let span = telemetry::evaluation_span();
    let mut bulk = span.in_scope(|| CheckBulk::open(snapshot, questions, shared.question_limits()));
    bulk = bulk.within(shared.limits.bulk_cost_max);
    let answers = match span.in_scope(|| bulk.advance(FUEL)) {
        Progress::Done(answers) => Ok(answers),
        Progress::More => {
            let evaluating = async {
                deadline.pause().await?;
                deadline.drive(|fuel| Ok::<_, EngineError>(bulk.advance(fuel))).await
            };
            evaluating.instrument(span).await
        }
    };
    call.charge(bulk.cost());
    call.used(bulk.closures());
    answers
}

fn in_one_piece(head: &Head, items: &[PlainItem<'_>], answers: Vec<Result<Answer, EngineError>>) -> Bytes {
    let mut answer = BulkAnswer::new(&head.token, items);
    for (item, answered) in items.iter().zip(answers) {
        match answered {
            Ok(Answer { permissionship: found @ (Permissionship::Has | Permissionship::No), .. }) => {
                answer.push(item, permissionship(found));
            }
            answered => answer.push_any(item, bulk_response(answered.map_err(Refusal::from), None)),
        }
    }
    Bytes::from(answer.finished())
}
