//! Which snapshot answers this call?
//!
//! # Invariants
//! * A cursor fixes revision and instant, whatever consistency is asked for beside it.
//! * The instant is read once per call.

use std::sync::Arc;

use idhini_caveat::Budget;
use idhini_engine::{CAVEAT_BUDGET, Snapshot};
use idhini_model::{Revision, Timestamp};
use idhini_replica::{Namespace, Published, ReplicaError};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use prost::Message;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tracing::Instrument as _;

use crate::audit;
use crate::deadline::Deadline;
use crate::heads::{Head, Heads};
use crate::options::{Limits, Options};
use crate::refusal::Refusal;
use crate::seal::{Cursor, QuestionDigest, SealError, Sealer, Stamp};
use crate::searches::{Search, Searches};
use crate::telemetry;

/// What all services share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) limits: Limits,
    searches: Arc<Searches>,
    heads: Arc<Heads>,
}

/// What one evaluation of a caveat may spend on a worker: a tenth of a millisecond or so. Most spend less than a hundredth.
const LIGHT_CAVEAT: Budget = Budget { steps: 2_000, ..CAVEAT_BUDGET };

/// Request metadata that asks about a moment in the past, as RFC 3339.
pub(crate) const AS_OF: &str = "idhini-as-of";

/// What a call's metadata says about time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    pub(crate) deadline: Deadline,
    /// The moment that is asked about, if it is not now.
    as_of: Option<Timestamp>,
}

impl When {
    /// From a call's metadata.
    pub(crate) fn of(metadata: &MetadataMap) -> Result<When, Refusal> {
        let as_of = metadata.get(AS_OF).map(|value| {
            let text = value.to_str().unwrap_or_default();
            text.parse().map_err(|error| Refusal::invalid(format!("`{AS_OF}`: {error}")))
        });
        Ok(When { deadline: Deadline::of(metadata), as_of: as_of.transpose()? })
    }

    /// With the moment that the request itself asks about, in `optional_as_of`.
    pub(crate) fn asking_of(self, as_of: Option<prost_types::Timestamp>) -> Result<When, Refusal> {
        const FIELD: &str = "optional_as_of";
        let Some(as_of) = as_of else { return Ok(self) };
        let as_of = idhini_wire::timestamp(as_of, FIELD)?;
        if self.as_of.is_some_and(|of_metadata| of_metadata != as_of) {
            return Err(Refusal::invalid(format!(
                "`{FIELD}` and the metadata `{AS_OF}` are different moments: leave one out"
            )));
        }
        Ok(When { as_of: Some(as_of), ..self })
    }

    /// Of a part of the call that has a deadline of its own.
    pub(crate) fn within(self, deadline: Deadline) -> When {
        When { deadline, ..self }
    }

    /// The deadline of a call that cannot be asked about the past.
    pub(crate) fn now_only(self, call: &str) -> Result<Deadline, Refusal> {
        match self.as_of {
            None => Ok(self.deadline),
            Some(_) => Err(Refusal::invalid(format!("`{AS_OF}` cannot be asked of {call}"))),
        }
    }
}

/// The snapshot of one call.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    pub(crate) published: Arc<Published>,
    pub(crate) instant: Timestamp,
    pub(crate) token: Arc<str>,
}

/// Makes the cursors of one question's pages.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    sealer: Arc<Sealer>,
    searches: Arc<Searches>,
    question: QuestionDigest,
    pinned: Pinned,
}

impl Shared {
    pub(crate) fn new(namespace: Arc<Namespace>, options: &Options) -> Shared {
        let sealer = Arc::new(Sealer::new(&options.seal));
        let searches = Arc::new(Searches::new(Arc::clone(&options.telemetry.searches_bytes)));
        Shared { namespace, sealer, limits: options.limits, searches, heads: Arc::default() }
    }

    /// The same for one worker, which keeps the head from one call to the next.
    pub(crate) fn of_worker(&self, control: Option<Handle>) -> Shared {
        Shared { heads: Arc::new(Heads::of_worker(control)), ..self.clone() }
    }

    /// The newest revision.
    pub(crate) fn head(&self) -> Arc<Head> {
        self.heads.newest(&self.namespace, &self.sealer)
    }

    /// Lets go of what is no longer the newest.
    pub(crate) fn tidy(&self) {
        self.heads.tidy(&self.namespace, &self.sealer);
    }

    /// What one question may spend.
    pub(crate) fn question_limits(&self) -> idhini_engine::Limits {
        idhini_engine::Limits { cost_max: self.limits.cost_max, ..Default::default() }
    }

    /// What one question may spend where it must not take long; one that fails of that is asked elsewhere.
    pub(crate) fn light_limits(&self) -> idhini_engine::Limits {
        light(self.question_limits())
    }

    /// The snapshot for the consistency asked; the default is the one that costs least.
    pub(crate) async fn pin(
        &self,
        consistency: Option<v1::Consistency>,
        when: When,
    ) -> Result<Pinned, Refusal> {
        let pinned = self.pin_for(consistency, when).instrument(telemetry::snapshot_span()).await?;
        audit::noting(|recording| recording.read_at(pinned.published.revision()));
        Ok(pinned)
    }

    async fn pin_for(&self, consistency: Option<v1::Consistency>, when: When) -> Result<Pinned, Refusal> {
        let namespace = &self.namespace;
        let requirement = consistency.and_then(|c| c.requirement);
        if let Some(moment) = when.as_of {
            return self.pin_past(requirement, moment, when.deadline).await;
        }
        let head = match requirement {
            None | Some(Requirement::MinimizeLatency(true) | Requirement::FullyConsistent(true)) => {
                self.head()
            }
            Some(Requirement::MinimizeLatency(false) | Requirement::FullyConsistent(false)) => {
                return Err(Refusal::invalid(
                    "`consistency`: a requirement is set to true or left out, never false",
                ));
            }
            Some(Requirement::AtLeastAsFresh(token)) => match self.sealer.open_token(&token.token) {
                Ok(asked) => self.at_least(asked)?,
                // Nothing can be fresher than the newest.
                Err(SealError::Stranger(stranger)) => {
                    telemetry::met_stranger(stranger);
                    self.head()
                }
                Err(error) => return Err(Refusal::token(error)),
            },
            Some(Requirement::AtExactSnapshot(token)) => {
                let revision = self.sealer.open_token(&token.token).map_err(Refusal::exact_token)?;
                let published = self.at(revision, when.deadline).await?;
                return Ok(self.pinned(published, namespace.now()));
            }
        };
        let (published, token) = (Arc::clone(&head.published), Arc::clone(&head.token));
        Ok(Pinned { published, instant: namespace.now(), token })
    }

    fn at_least(&self, asked: Revision) -> Result<Arc<Head>, ReplicaError> {
        let head = self.head();
        let applied = head.published.revision();
        if applied < asked { Err(ReplicaError::NotYet { asked, applied }) } else { Ok(head) }
    }

    /// The snapshot that was the newest at a moment, its expirations judged at that moment.
    async fn pin_past(
        &self,
        requirement: Option<Requirement>,
        moment: Timestamp,
        deadline: Deadline,
    ) -> Result<Pinned, Refusal> {
        if !matches!(requirement, None | Some(Requirement::MinimizeLatency(true))) {
            return Err(Refusal::invalid(format!(
                "`{AS_OF}` fixes the moment that is asked about: leave `consistency` out"
            )));
        }
        if moment > self.namespace.now() {
            return Err(Refusal::invalid(format!("`{AS_OF}`: {moment} is still to come")));
        }
        let revision = deadline.within(self.namespace.newest_at(moment)).await??;
        let published = self.at(revision, deadline).await?;
        Ok(self.pinned(published, moment))
    }

    /// What is no longer in memory is rebuilt where that holds up nobody, in turns with what other tenants ask.
    pub(crate) async fn at(&self, revision: Revision, deadline: Deadline) -> Result<Arc<Published>, Refusal> {
        if let Some(kept) = self.namespace.kept_at(revision)? {
            return Ok(kept);
        }
        deadline.pause().await?;
        Ok(deadline.within(self.namespace.at(revision)).await??)
    }

    /// The snapshot and cursors of a paged question, and where it goes on. `arguments` is the request without cursor,
    /// limit and consistency.
    pub(crate) async fn pin_page(
        &self,
        call: &'static str,
        arguments: &impl Message,
        consistency: Option<v1::Consistency>,
        cursor: Option<v1::Cursor>,
        when: When,
    ) -> Result<(Cursors, Option<Vec<u8>>), Refusal> {
        let question = QuestionDigest::of(call, &arguments.encode_to_vec());
        let (pinned, place) = match cursor {
            None => (self.pin(consistency, when).await?, None),
            Some(cursor) => {
                let cursor = self.sealer.open_cursor(question, &cursor.token).map_err(Refusal::cursor)?;
                let pinning = self.at(cursor.revision, when.deadline);
                let published = pinning.instrument(telemetry::snapshot_span()).await?;
                audit::noting(|recording| recording.read_at(published.revision()));
                (self.pinned(published, cursor.instant), Some(cursor.place))
            }
        };
        let (sealer, searches) = (Arc::clone(&self.sealer), Arc::clone(&self.searches));
        Ok((Cursors { sealer, searches, question, pinned }, place))
    }

    pub(crate) fn token(&self, revision: Revision) -> Option<v1::ZedToken> {
        Some(v1::ZedToken { token: self.sealer.token(revision) })
    }

    fn pinned(&self, published: Arc<Published>, instant: Timestamp) -> Pinned {
        let token = self.sealer.token(published.revision()).into();
        Pinned { published, instant, token }
    }
}

/// The same limits where nothing must take long.
pub(crate) fn light(limits: idhini_engine::Limits) -> idhini_engine::Limits {
    idhini_engine::Limits { caveat_budget: LIGHT_CAVEAT, ..limits }
}

impl Pinned {
    /// Has the call go on where it may take long, if a caveat can take long or the schema is: neither can be cut into
    /// portions.
    pub(crate) async fn leave_worker(&self, deadline: Deadline) -> Result<(), Refusal> {
        let is_heavy = self.published.schema().is_some_and(|schema| !schema.caveats().is_empty());
        if is_heavy { deadline.pause().await } else { Ok(()) }
    }

    /// What questions are asked of; before the first schema there is no definition of any name.
    pub(crate) fn snapshot(&self, definition: &str) -> Result<Snapshot<'_>, Refusal> {
        self.published.snapshot(self.instant).ok_or_else(|| Refusal::unknown_definition(definition))
    }

    pub(crate) fn zed_token(&self) -> Option<v1::ZedToken> {
        Some(v1::ZedToken { token: self.token.as_ref().to_owned() })
    }
}

impl Cursors {
    pub(crate) fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// Keeps what this page has found out for the next one.
    pub(crate) fn keep(&self, search: Search) {
        self.searches.keep(self.key(), search);
    }

    /// What the page before has found out, if it is still kept.
    pub(crate) fn search(&self) -> Option<Search> {
        self.searches.find(&self.key())
    }

    fn key(&self) -> crate::searches::Key {
        (self.question, self.pinned.published.revision(), self.pinned.instant)
    }

    /// What makes the cursors behind many answers, at places that begin with this byte.
    pub(crate) fn stamp(&self, kind: u8) -> Stamp {
        let Pinned { published, instant, .. } = &self.pinned;
        let cursor = Cursor { revision: published.revision(), instant: *instant, place: vec![kind] };
        self.sealer.stamp(self.question, &cursor)
    }

    /// The cursor behind an answer.
    pub(crate) fn after(&self, place: &[u8]) -> Option<v1::Cursor> {
        let Pinned { published, instant, .. } = &self.pinned;
        let cursor = Cursor { revision: published.revision(), instant: *instant, place: place.to_vec() };
        Some(v1::Cursor { token: self.sealer.cursor(self.question, &cursor) })
    }
}
