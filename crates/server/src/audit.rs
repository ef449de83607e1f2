//! What is put on the audit trail of a call: who, what, on which namespace, and how did it end?
//!
//! ```text
//! change:    intent (on record before anything is done) ─► done ─► outcome (on record before the answer leaves)
//! decision:  told when it is answered, where its namespace asks for that
//! refusal:   told when a call is not let in, or a change is refused before anything was on record
//! ```
//!
//! A stream of answers is told when it ends, by whatever ends it, with how many answers have left; one that has no end of its
//! own is told when it begins as well.
//!
//! What a call is about is noted by whoever finds it out, wherever in the call that is: its recording belongs to the task.
//!
//! # Invariants
//! * Nothing is changed whose intent is not on record, where there is a trail: what makes a change is handed to [`Change`].
//! * No secret is told: of token texts and unlock keys there are keyed hashes.
//!
//! Cost: nothing without a trail; of what is told, some texts.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use idhini_audit::{Actor, Detail, Event, LIST_BYTES_MAX, List, Outcome, RefusalOf, Trail, noted};
use idhini_engine::Permissionship;
use idhini_model::{Revision, Timestamp};
use idhini_replica::Wanted;
use idhini_replica::control::{ControlChange, NamespacePath, ROOT};
use tonic::{Code, Request, Status};

use crate::admission::{Access, Kind, Standing, wanted};
use crate::checks::Asked;
use crate::deadline::Deadline;
use crate::refusal::{Own, Refusal};
use crate::telemetry::{self, CODES, Call};

/// Setting of a namespace that asks for every decision in it and below to be told.
pub(crate) const AUDIT_KEY: &str = "idhini.audit";
/// Its value.
pub(crate) const DECISIONS: &str = "decisions";
/// Of an import, which may have millions, the first are told, and all of them are fixed by their hash.
const IMPORT_BYTES_MAX: usize = 1 << 20;
/// What a stream that goes on until somebody ends it is answered with when it begins.
const BEGUN: &str = "begun";
/// The same where its caller left before the end, or the connection ended.
const LEFT: &str = "left";

/// What is known of a call that is told of; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Recording(Arc<Recorded>);

#[derive(Debug)]
struct Recorded {
    trail: Trail,
    is_decision: bool,
    is_change: bool,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    /// None when it is on record.
    event: Option<Event>,
    revision: Option<Revision>,
    answer: Option<Cow<'static, str>>,
    /// Of a stream: answers that have left, and relationships in them where one answer has many.
    results: Option<u64>,
    relationships: Option<u64>,
}

/// Says of a request that was let in whether it is told of; among its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Audited(pub(crate) Option<Recording>);

/// A change that a call asks for.
pub(crate) struct Change {
    wanted: Wanted,
    deadline: Deadline,
    /// What its caller was let in with; none of a call to the control plane.
    standing: Option<Standing>,
    /// None of a call of which nobody has said whether it is told of: it changes nothing.
    audited: Option<Audited>,
}

impl Change {
    /// Of a request to a namespace: it is wanted until its deadline, and as long as its caller may make it.
    pub(crate) fn of<T>(request: &Request<T>) -> Change {
        let deadline = Deadline::of(request.metadata());
        let extensions = request.extensions();
        let (standing, audited) = (extensions.get().cloned(), extensions.get().cloned());
        Change { wanted: wanted(request, deadline), deadline, standing, audited }
    }

    /// Of a request to the control plane, whose writer judges whether its caller may.
    pub(crate) fn of_control(deadline: Deadline, audited: Option<Audited>) -> Change {
        Change { wanted: deadline.wanted(), deadline, standing: None, audited }
    }

    /// Whether anybody is told of it, so that what it is need not be found out otherwise.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self.audited, Some(Audited(Some(_))))
    }

    /// Notes what the change is.
    pub(crate) fn noting(self, note: impl FnOnce(&Recording)) -> Change {
        if let Some(Audited(Some(recording))) = &self.audited {
            note(recording);
        }
        self
    }

    /// Makes it, on record before and after where there is a trail.
    ///
    /// # Errors
    /// Those of the work; or nothing was done, as there is no record.
    pub(crate) async fn make<T, E, W>(
        self,
        work: impl FnOnce(Wanted) -> W,
        revision: impl FnOnce(&T) -> Option<Revision>,
    ) -> Result<T, Refusal>
    where
        W: Future<Output = Result<T, E>>,
        Refusal: From<E>,
    {
        let Change { wanted, deadline, standing, audited } = self;
        let Audited(recording) = audited.ok_or_else(|| unavailable(&"the call was not let in properly"))?;
        let refused = |error| because_of(Refusal::from(error), deadline, standing.as_ref());
        let Some(recording) = recording else { return work(wanted).await.map_err(refused) };
        let event = recording.locked().event.take();
        let event = event.ok_or_else(|| unavailable(&"the call is on record already"))?;
        let intent = recording.0.trail.intent(event).await.map_err(|error| unavailable(&error))?;
        let done = work(wanted).await.map_err(refused);
        let outcome = match &done {
            Ok(done) => {
                Outcome::Accepted { revision: revision(done), answer: recording.locked().answer.take() }
            }
            Err(refusal) => outcome_of(refusal.code, &refusal.message),
        };
        // Room for it was kept with the intent: it is written now, or when a sink is able again.
        intent.settle(outcome).await;
        done
    }
}

/// A change that its writer called off was not wanted any more: since its time was up, or since its caller may not make it,
/// as its namespace was locked meanwhile.
fn because_of(refusal: Refusal, deadline: Deadline, standing: Option<&Standing>) -> Refusal {
    if refusal.code != Code::DeadlineExceeded || deadline.is_over() {
        return refusal;
    }
    standing.and_then(Standing::refusal).unwrap_or(refusal)
}

impl Told {
    fn of(event: Event) -> Told {
        Told { event: Some(event), revision: None, answer: None, results: None, relationships: None }
    }
}

impl Recording {
    /// Of a call by this caller; a decision is told whether or not it was refused.
    pub(crate) fn new(trail: &Trail, call: &Call, caller: &Caller<'_>, is_decision: bool) -> Recording {
        let told = Mutex::new(Told::of(caller.event(call)));
        Recording(Arc::new(Recorded { trail: trail.clone(), is_decision, is_change: is_change(call), told }))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_event(&self, work: impl FnOnce(&mut Event)) {
        if let Some(event) = &mut self.locked().event {
            work(event);
        }
    }

    fn detail(&self, name: &'static str, detail: Detail) {
        self.with_event(|event| event.details.push((Cow::Borrowed(name), detail)));
    }

    /// Notes something that the call is about.
    pub(crate) fn note(&self, name: &'static str, text: impl Display) {
        self.detail(name, Detail::Text(noted(&text.to_string()).into()));
    }

    pub(crate) fn note_number(&self, name: &'static str, number: usize) {
        self.detail(name, Detail::Number(number as u64));
    }

    /// Notes texts, all of them that a request of the usual length has; of more the first, and the number and hash of all.
    pub(crate) fn note_all(&self, name: &'static str, texts: impl Iterator<Item = String>) {
        let mut list = List::new(LIST_BYTES_MAX);
        texts.for_each(|text| list.push(&text));
        self.note_list(name, list);
    }

    /// The same of texts that were put together before.
    pub(crate) fn note_list(&self, name: &'static str, list: List) {
        self.with_event(|event| event.details.extend(list.details(name)));
    }

    /// Notes a secret without saying it: `idhini audit hash` finds it again.
    pub(crate) fn note_secret(&self, name: &'static str, secret: &str) {
        self.detail(name, Detail::Secret(self.0.trail.secret_hash(secret.as_bytes())));
    }

    /// Names the object that the call is about.
    pub(crate) fn about(&self, resource: impl Display) {
        self.with_event(|event| event.resource = Some(resource.to_string().into()));
    }

    /// Names the namespace that is changed, where that is another one than the call's.
    fn on(&self, namespace: impl Display) {
        self.with_event(|event| event.namespace = Some(namespace.to_string().into()));
    }

    /// Notes what is asked.
    pub(crate) fn question(&self, asked: &Asked) {
        self.about(&asked.resource);
        self.note("permission", &asked.permission);
        self.note("subject", &asked.subject);
    }

    /// Notes of which revision it is answered.
    pub(crate) fn read_at(&self, revision: Revision) {
        self.locked().revision = Some(revision);
    }

    /// Notes what was answered.
    pub(crate) fn answered(&self, answer: Permissionship) {
        self.locked().answer = Some(Cow::Borrowed(answer_name(answer)));
    }

    /// Its answers are streamed, and end with whatever ends them.
    pub(crate) fn is_streamed(&self) {
        self.has_sent(0);
    }

    /// So many answers of a stream have left.
    pub(crate) fn has_sent(&self, answers: u64) {
        let results = &mut self.locked().results;
        *results = Some(results.unwrap_or(0).saturating_add(answers));
    }

    /// There are so many relationships in them.
    pub(crate) fn has_exported(&self, relationships: usize) {
        let count = &mut self.locked().relationships;
        *count = Some(count.unwrap_or(0).saturating_add(relationships as u64));
    }

    /// Tells that a stream has begun that goes on until somebody ends it.
    pub(crate) fn begun(&self) {
        let told = self.locked();
        if let (true, Some(event)) = (self.0.is_decision, &told.event) {
            let outcome = Outcome::Accepted { revision: told.revision, answer: Some(Cow::Borrowed(BEGUN)) };
            self.0.trail.decision(event.clone(), outcome);
        }
    }

    /// Tells that whoever called has left, or the connection has ended, before the call did, unless its end is on record.
    pub(crate) fn was_left(&self) {
        // A change that was not begun is none; one that was is told of by its own record.
        if !self.0.is_decision {
            return;
        }
        let is_streamed = {
            let mut told = self.locked();
            if told.results.is_some() {
                told.answer = Some(Cow::Borrowed(LEFT));
            }
            told.results.is_some()
        };
        match is_streamed {
            true => self.ended(Code::Ok, ""),
            false => self.ended(Code::Cancelled, "the caller left before it was answered"),
        }
    }

    /// For the questions of a stream, each of which is a decision by itself.
    pub(crate) fn items(&self) -> Option<Items> {
        let event = self.locked().event.clone()?;
        Some(Items { trail: self.0.trail.clone(), event: Arc::new(event) })
    }

    /// Tells how the call is answered, by the headers of its answer, unless that is on record.
    pub(crate) fn ended_by(&self, headers: &HeaderMap) {
        match Status::from_header_map(headers) {
            Some(status) => self.ended(status.code(), status.message()),
            None => self.ended(Code::Ok, ""),
        }
    }

    fn ended(&self, code: Code, message: &str) {
        let Recorded { trail, is_decision, is_change, .. } = &*self.0;
        let mut told = self.locked();
        let Some(mut event) = told.event.take() else { return };
        let counts = [("results", told.results), ("relationships", told.relationships)];
        for (name, count) in counts {
            event.details.extend(count.map(|count| (Cow::Borrowed(name), Detail::Number(count))));
        }
        match (code, is_decision) {
            (Code::Ok, true) => {
                let (revision, answer) = (told.revision, told.answer.take());
                trail.decision(event, Outcome::Accepted { revision, answer });
            }
            // What changes something and ends well is on record; what reads of the control plane is not told.
            (Code::Ok, false) => {}
            (code, true) => trail.decision(event, outcome_of(code, message)),
            (code, false) => {
                let of = match (is_change, code) {
                    (false, _) => RefusalOf::Question,
                    // Quotas are there for those who flood.
                    (true, Code::ResourceExhausted) => RefusalOf::Change,
                    (true, _) => RefusalOf::AdmittedChange,
                };
                trail.refusal(event, outcome_of(code, message), of);
            }
        }
    }
}

/// What the questions of a stream have in common.
#[derive(Debug, Clone)]
pub(crate) struct Items {
    trail: Trail,
    event: Arc<Event>,
}

impl Items {
    /// Tells of a question.
    pub(crate) fn tell(&self, asked: &Asked, answered: Result<(Revision, Permissionship), &Refusal>) {
        let (trail, told) = (self.trail.clone(), Mutex::new(Told::of((*self.event).clone())));
        let item = Recording(Arc::new(Recorded { trail, is_decision: true, is_change: false, told }));
        item.question(asked);
        match answered {
            Ok((revision, answer)) => {
                item.read_at(revision);
                item.answered(answer);
                item.ended(Code::Ok, "");
            }
            Err(refusal) => item.ended(refusal.code, &refusal.message),
        }
    }
}

/// Who calls, on which namespace.
pub(crate) struct Caller<'a> {
    pub(crate) at: Timestamp,
    pub(crate) actor: &'a Arc<Actor>,
    pub(crate) namespace: Option<Arc<str>>,
}

impl Caller<'_> {
    fn event(&self, call: &Call) -> Event {
        let name = call.name().map_or_else(String::new, |row| row.call.clone());
        let event = Event::new(self.at, call.request_id().into(), Arc::clone(self.actor), name);
        Event { namespace: self.namespace.clone(), ..event }
    }
}

/// Tells of a call that was not let in.
pub(crate) fn not_admitted(
    trail: &Trail,
    call: &Call,
    caller: &Caller<'_>,
    token: Option<&str>,
    refusal: &Refusal,
) {
    let mut event = caller.event(call);
    if let Some(token) = token {
        let hash = trail.secret_hash(token.as_bytes());
        event.details.push((Cow::Borrowed("token"), Detail::Secret(hash)));
    }
    let of = if is_change(call) { RefusalOf::Change } else { RefusalOf::Question };
    trail.refusal(event, outcome_of(refusal.code, &refusal.message), of);
}

/// Whether a call changes anything, be it in a namespace or of the control plane.
fn is_change(call: &Call) -> bool {
    let Some(row) = call.name() else { return false };
    match Kind::of(row) {
        Some(kind) if kind.access == Access::Own => {
            !["Read", "List", "CanI"].iter().any(|name| row.call.starts_with(name))
        }
        Some(kind) => kind.is_change(),
        None => false,
    }
}

/// What is told of an import.
pub(crate) fn import_list() -> List {
    List::new(IMPORT_BYTES_MAX)
}

/// Notes something on the recording of the call that runs here, if there is one.
pub(crate) fn noting(note: impl FnOnce(&Recording)) {
    if let Some(recording) = telemetry::recording() {
        note(&recording);
    }
}

/// Notes what is asked of the control plane. Hashes of secrets are no part of it.
pub(crate) fn note_control(recording: &Recording, change: &ControlChange) {
    let path = match change {
        ControlChange::Create { path, id, metadata } => {
            recording.note("id", &id.0);
            recording.note_all("metadata", metadata.iter().map(|(key, value)| format!("{key}={value}")));
            path
        }
        ControlChange::Patch { path, metadata } => {
            let set = |(key, value): (&String, &Option<String>)| match value {
                Some(value) => format!("{key}={value}"),
                None => format!("{key} dropped"),
            };
            recording.note_all("metadata", metadata.iter().map(set));
            path
        }
        ControlChange::Delete { path } => path,
        ControlChange::Lock { path, mode, reason, expires_at, .. } => {
            recording.note("mode", mode.as_str());
            recording.note("reason", reason);
            expires_at.iter().for_each(|at| recording.note("expires_at", at));
            path
        }
        ControlChange::Unlock { path, key } => {
            recording.note("by", if key.is_some() { "key" } else { "right" });
            path
        }
        ControlChange::CreateToken { accessor, home, description, lifetime_seconds, roles, .. } => {
            recording.note("accessor", &accessor.0);
            recording.note("description", description);
            lifetime_seconds.iter().for_each(|seconds| recording.note("lifetime_seconds", seconds));
            recording.note_all("roles", roles.iter().map(|role| role.as_str().to_owned()));
            home
        }
        ControlChange::RenewToken { accessor } | ControlChange::RevokeToken { accessor } => {
            return recording.note("accessor", &accessor.0);
        }
        ControlChange::RotateToken { accessor, overlap_seconds, .. } => {
            recording.note("accessor", &accessor.0);
            return recording.note("overlap_seconds", overlap_seconds);
        }
        ControlChange::Grant { path, role, to: who } | ControlChange::Revoke { path, role, from: who } => {
            recording.note("role", role.as_str());
            recording.note("subject", who);
            path
        }
        // No caller asks for what else there is.
        _ => return,
    };
    recording.on(namespace_name(path));
}

/// What a namespace is called in records: the root has a name as well.
pub(crate) fn namespace_name(path: &NamespacePath) -> &str {
    if path.is_root() { ROOT } else { path.as_str() }
}

fn outcome_of(code: Code, message: &str) -> Outcome {
    let why = Cow::Owned(message.to_owned());
    match code {
        Code::Unknown => Outcome::Unknown { why },
        code => {
            let code = CODES.get(code as usize).copied().unwrap_or("UNKNOWN");
            Outcome::Refused { code: code.into(), why }
        }
    }
}

pub(crate) fn answer_name(answer: Permissionship) -> &'static str {
    match answer {
        Permissionship::No => "no",
        Permissionship::Conditional => "conditional",
        Permissionship::Has => "has",
    }
}

fn unavailable(why: &impl Display) -> Refusal {
    let text = format!(
        "nothing was changed, as no audit record can be made of it: {why}; mend the sink, then repeat the call"
    );
    Refusal::new(Code::Unavailable, text).because(Own::AuditUnavailable)
}
