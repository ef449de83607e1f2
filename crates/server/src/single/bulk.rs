//! How is a bulk check answered, the short way? As a single one is, its items together.
//!
//! # Invariants
//! * One item that is not plain leaves all of them to the service.
//!
//! Cost: a few allocations a call, and none an item whose answer is plain.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use idhini_engine::{Answer, CheckBulk, ClosureUse, EngineError, Limits, Permissionship, Progress, Snapshot};
use idhini_model::Context;
use idhini_wire::{BulkAnswer, PlainBulk, PlainItem, only_message};
use tonic::Status;
use tracing::Instrument as _;

use super::{Checks, Rest, empty, fill_in, good, head, in_one, is_long, read};
use crate::admission::{Standing, revocable};
use crate::audit::answer_name;
use crate::checks::{Asked, bulk_response, item_text, permissionship};
use crate::deadline::{Deadline, FUEL};
use crate::heads::Head;
use crate::lane::{Moving, Place};
use crate::meta::Content;
use crate::pin::Shared;
use crate::refusal::Refusal;
use crate::telemetry::{self, Call};

/// Longest request, in bytes: some thousand items. Longer ones gain nothing by being read here.
const REQUEST_BYTES_MAX: usize = 128 * 1024;
/// Questions that are kept to be filled again.
const SPARE_MAX: usize = 256;
/// Items that a worker answers at once: each takes time, however few edges it visits.
const LIGHT_ITEMS_MAX: usize = 256;
/// Items that it answers at once also if others of their namespace are waiting elsewhere.
const FEW_ITEMS_MAX: usize = 32;

/// How far a bulk check got at once.
enum BegunBulk {
    /// It is not for here.
    NotPlain,
    Done(Bytes),
    /// It takes longer than a portion.
    Long,
}

impl Checks {
    /// Answers a bulk check, or gives it back as it came.
    pub(super) async fn answer_bulk<B>(
        &self,
        shared: &Shared,
        request: Request<B>,
        (call, deadline): (&Arc<Call>, Deadline),
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
        let begun = match self.is_likely_short(plain.items.len(), call) {
            true => self.begin_bulk(shared, &plain, call),
            false => BegunBulk::Long,
        };
        let answered = match begun {
            BegunBulk::NotPlain => None,
            BegunBulk::Done(frame) => Some(Ok(frame)),
            BegunBulk::Long => {
                if let Err(refusal) = call.takes_long() {
                    return Ok(Status::from(refusal).into_http().map(Content::Messages));
                }
                drop(plain);
                let (bytes, shared, own) = (read.read.clone(), shared.clone(), Arc::clone(call));
                let answering = async move { on_lane(&bytes, &shared, &own, deadline).await };
                let moved = revocable(standing(), Moving::new(answering, call));
                match deadline.within(moved).await {
                    Ok(Ok(answered)) => answered,
                    Ok(Err(refusal)) | Err(refusal) => Some(Err(refusal)),
                }
            }
        };
        match answered {
            None => Err(Request::from_parts(parts, read)),
            Some(Ok(frame)) => Ok(in_one(frame)),
            Some(Err(refusal)) => Ok(Status::from(refusal).into_http().map(Content::Messages)),
        }
    }

    /// Whether so many items can be expected to be answered within a portion, as items were lately; few are whatever the
    /// call's namespace has to do besides.
    fn is_likely_short(&self, items: usize, call: &Call) -> bool {
        items <= LIGHT_ITEMS_MAX
            && items as u64 * self.edges_per_item.load(Relaxed) <= FUEL
            && (items <= FEW_ITEMS_MAX || !call.place().is_some_and(Place::is_waited_for))
    }

    /// Answers a bulk check if it takes no longer than a portion.
    fn begin_bulk(&self, shared: &Shared, plain: &PlainBulk<'_>, call: &Call) -> BegunBulk {
        let Some(head) = telemetry::snapshot_span().in_scope(|| head(shared, plain.requirement)) else {
            return BegunBulk::NotPlain;
        };
        let Some(snapshot) = head.published.snapshot(shared.namespace.now()) else {
            return BegunBulk::NotPlain;
        };
        let Some(asked) = self.all_asked(&plain.items) else { return BegunBulk::NotPlain };
        let of_items = asked.get(..plain.items.len()).unwrap_or_default();
        let mut bulk = opened(shared, snapshot, of_items, shared.light_limits());
        let advanced = telemetry::evaluation_span().in_scope(|| bulk.advance(FUEL));
        self.items_took(of_items.len(), bulk.cost());
        let answers = match advanced {
            Progress::More => None,
            Progress::Done(answers) => Some(answers),
        };
        let is_answer = |answer: &Result<Answer, EngineError>| !answer.as_ref().is_err_and(is_long);
        let answers = answers.filter(|answers| answers.iter().all(is_answer));
        let spent = (bulk.cost(), bulk.closures());
        let begun = match answers {
            Some(answers) => BegunBulk::Done(ended(&head, (plain, of_items), answers, call, spent)),
            None => {
                call.prepay(spent.0);
                BegunBulk::Long
            }
        };
        drop(bulk);
        self.keep(asked);
        begun
    }

    /// Keeps in mind what items took.
    fn items_took(&self, items: usize, edges: u64) {
        let took = edges / items.max(1) as u64;
        let before = self.edges_per_item.load(Relaxed);
        self.edges_per_item.store((before * 7 + took) / 8, Relaxed);
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

/// The same where it may take long; `None` if it is not for here after all.
async fn on_lane(
    bytes: &[u8],
    shared: &Shared,
    call: &Call,
    deadline: Deadline,
) -> Option<Result<Bytes, Refusal>> {
    let plain = PlainBulk::read(only_message(bytes)?, shared.limits.bulk_items_max)?;
    let head = telemetry::snapshot_span().in_scope(|| head(shared, plain.requirement))?;
    let snapshot = head.published.snapshot(shared.namespace.now())?;
    let mut asked = Vec::with_capacity(plain.items.len());
    for item in &plain.items {
        let context = good(&item.question)?;
        let mut next = empty();
        fill_in(&mut next, &item.question, context);
        asked.push(next);
    }
    let span = telemetry::evaluation_span();
    let mut bulk = span.in_scope(|| opened(shared, snapshot, &asked, shared.question_limits()));
    let evaluating = deadline.drive(|fuel| Ok::<_, EngineError>(bulk.advance(fuel)));
    let answers = evaluating.instrument(span).await;
    let spent = (bulk.cost(), bulk.closures());
    Some(match answers {
        Ok(answers) => Ok(ended(&head, (&plain, &asked), answers, call, spent)),
        Err(refusal) => {
            call.charge(spent.0);
            call.used(spent.1);
            Err(refusal)
        }
    })
}

fn opened<'a>(shared: &Shared, snapshot: Snapshot<'a>, asked: &'a [Asked], limits: Limits) -> CheckBulk<'a> {
    let questions = asked.iter().map(Asked::question).collect();
    CheckBulk::open(snapshot, questions, limits).within(shared.limits.bulk_cost_max)
}

/// Charges what a bulk has cost, and makes its answer.
fn ended(
    head: &Head,
    (plain, asked): (&PlainBulk<'_>, &[Asked]),
    answers: Vec<Result<Answer, EngineError>>,
    call: &Call,
    (cost, closures): (u64, ClosureUse),
) -> Bytes {
    call.charge(cost);
    call.used(closures);
    if let Some(recording) = call.recording() {
        let told = asked.iter().zip(&answers).map(|(asked, answer)| {
            item_text(asked, answer.as_ref().map_or("error", |answer| answer_name(answer.permissionship)))
        });
        recording.note_all("questions", told);
        recording.read_at(head.published.revision());
    }
    in_one_piece(head, &plain.items, answers)
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
