//! Which snapshot answers this call?
//!
//! # Invariants
//! * A cursor fixes revision and instant, whatever consistency is asked for beside it.
//! * The instant is read once per call.

use std::sync::Arc;

use idhini_engine::Snapshot;
use idhini_model::Timestamp;
use idhini_replica::{Namespace, Published};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use prost::Message;

use crate::options::{Limits, Options};
use crate::refusal::Refusal;
use crate::seal::{Cursor, QuestionDigest, SealError, Sealer};

/// What all services share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) limits: Limits,
}

/// The snapshot of one call.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    pub(crate) published: Arc<Published>,
    pub(crate) instant: Timestamp,
    pub(crate) token: String,
}

/// Makes the cursors of one question's pages.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    sealer: Arc<Sealer>,
    question: QuestionDigest,
    pinned: Pinned,
}

impl Shared {
    pub(crate) fn new(namespace: Arc<Namespace>, options: &Options) -> Shared {
        Shared { namespace, sealer: Arc::new(Sealer::new(&options.seal)), limits: options.limits }
    }

    /// The snapshot for the consistency asked; the default is the one that costs least.
    pub(crate) fn pin(&self, consistency: Option<v1::Consistency>) -> Result<Pinned, Refusal> {
        let namespace = &self.namespace;
        let published = match consistency.and_then(|c| c.requirement) {
            None | Some(Requirement::MinimizeLatency(true) | Requirement::FullyConsistent(true)) => {
                namespace.head()
            }
            Some(Requirement::MinimizeLatency(false) | Requirement::FullyConsistent(false)) => {
                return Err(Refusal::invalid(
                    "`consistency`: a requirement is set to true or left out, never false",
                ));
            }
            Some(Requirement::AtLeastAsFresh(token)) => match self.sealer.open_token(&token.token) {
                Ok(revision) => namespace.at_least(revision)?,
                // Nothing can be fresher than the newest.
                Err(SealError::Stranger(_)) => namespace.head(),
                Err(error) => return Err(Refusal::token(error)),
            },
            Some(Requirement::AtExactSnapshot(token)) => {
                namespace.at(self.sealer.open_token(&token.token).map_err(Refusal::exact_token)?)?
            }
        };
        Ok(self.pinned(published, namespace.now()))
    }

    /// The snapshot and cursors of a paged question, and where it goes on. `arguments` is the request without cursor,
    /// limit and consistency.
    pub(crate) fn pin_page(
        &self,
        call: &'static str,
        arguments: &impl Message,
        consistency: Option<v1::Consistency>,
        cursor: Option<v1::Cursor>,
    ) -> Result<(Cursors, Option<Vec<u8>>), Refusal> {
        let question = QuestionDigest::of(call, &arguments.encode_to_vec());
        let (pinned, place) = match cursor {
            None => (self.pin(consistency)?, None),
            Some(cursor) => {
                let cursor = self.sealer.open_cursor(question, &cursor.token).map_err(Refusal::cursor)?;
                (self.pinned(self.namespace.at(cursor.revision)?, cursor.instant), Some(cursor.place))
            }
        };
        Ok((Cursors { sealer: Arc::clone(&self.sealer), question, pinned }, place))
    }

    pub(crate) fn token(&self, revision: idhini_model::Revision) -> Option<v1::ZedToken> {
        Some(v1::ZedToken { token: self.sealer.token(revision) })
    }

    fn pinned(&self, published: Arc<Published>, instant: Timestamp) -> Pinned {
        let token = self.sealer.token(published.revision());
        Pinned { published, instant, token }
    }
}

impl Pinned {
    /// What questions are asked of; before the first schema there is no definition of any name.
    pub(crate) fn snapshot(&self, definition: &str) -> Result<Snapshot<'_>, Refusal> {
        self.published.snapshot(self.instant).ok_or_else(|| Refusal::unknown_definition(definition))
    }

    pub(crate) fn zed_token(&self) -> Option<v1::ZedToken> {
        Some(v1::ZedToken { token: self.token.clone() })
    }
}

impl Cursors {
    pub(crate) fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// The cursor behind an answer.
    pub(crate) fn after(&self, place: &[u8]) -> Option<v1::Cursor> {
        let Pinned { published, instant, .. } = &self.pinned;
        let cursor = Cursor { revision: published.revision(), instant: *instant, place: place.to_vec() };
        Some(v1::Cursor { token: self.sealer.cursor(self.question, &cursor) })
    }
}
