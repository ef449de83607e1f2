//! ReadChanges: what changed between two moments, a page at a time, as the log has it.
//!
//! # Invariants
//! * The pages of one question end at the revision that its first page was asked at; each change is on one page, in order.
//! * A page ends anywhere, also within an entry of millions; its cursor says behind which change.
//! * A page is bounded in changes, in bytes, and in changes looked at, of which none need match.
//!
//! Cost: reading the log from where the page begins; an entry longer than a portion is read whole, and decoded from the
//! part where the page begins.

use std::sync::Arc;

use idhini_model::{Cause, Change, EntryKind, Origin, Revision};
use idhini_replica::{Filter, Part};
use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::read_changes_request::{End, Start};
use idhini_wire::idhini::v1::relationship_change::Operation;
use idhini_wire::{context_message, timestamp, timestamp_message};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::audit;
use crate::deadline::Deadline;
use crate::options::STREAMED_BYTES_MAX;
use crate::own::pages;
use crate::pin::{Shared, When};
use crate::refusal::Refusal;
use crate::requests;
use crate::seal::{Cursor, QuestionDigest, SealError};

/// Changes that one page looks at; an entry counts as one more. Beyond it the page ends where it is.
const SCANNED_MAX: usize = 100_000;

/// ReadChanges.
pub(crate) async fn read(
    shared: &Shared,
    request: Request<v1::ReadChangesRequest>,
) -> Result<Response<v1::ReadChangesResponse>, Status> {
    let deadline = When::of(request.metadata())?.now_only("ReadChanges")?;
    let mut message = request.into_inner();
    let cursor = message.optional_cursor.take();
    let changes_max = pages::size(std::mem::take(&mut message.page_size), shared.limits.page_rows_max)?;
    let question = QuestionDigest::of("idhini.v1.ReadChanges", &message.encode_to_vec());
    audit::noting(|recording| {
        let filter = message.optional_relationship_filter.as_ref();
        recording.note("filter", filter.map(requests::filter_text).unwrap_or_default());
    });
    let filter = message.optional_relationship_filter.map(requests::filter).transpose()?;
    let (place, through) = match cursor {
        Some(cursor) => {
            let cursor = shared.sealer.open_cursor(question, &cursor.token).map_err(Refusal::cursor)?;
            (Place::of(&cursor.place)?, cursor.revision)
        }
        None => {
            // First the end: what is written meanwhile is behind it.
            let through = end(shared, message.end, deadline).await?;
            let after = start(shared, message.start, deadline).await?;
            if through < after {
                return Err(Refusal::invalid("the end is before the start").into());
            }
            (Place { after, part: 0, offset: 0 }, through)
        }
    };
    let mut page =
        Page { shared, filter, changes_max, transactions: Vec::new(), changes: 0, bytes: 0, scanned: 0 };
    let next = page.fill(place, through, deadline).await?;
    let next_cursor = next.map(|place| {
        let (instant, place) = (shared.namespace.now(), place.to_bytes().to_vec());
        let cursor = Cursor { revision: through, instant, place };
        authzed::Cursor { token: shared.sealer.cursor(question, &cursor) }
    });
    let changes_through = shared.token(through);
    Ok(Response::new(v1::ReadChangesResponse {
        transactions: page.transactions,
        next_cursor,
        changes_through,
    }))
}

/// The revision after which the changes begin.
async fn start(shared: &Shared, start: Option<Start>, deadline: Deadline) -> Result<Revision, Refusal> {
    match start {
        None => Ok(deadline.within(shared.namespace.begin()).await??),
        Some(Start::StartTime(moment)) => newest_at(shared, moment, "start_time", deadline).await,
        Some(Start::StartToken(token)) => of_token(shared, &token),
    }
}

/// The last revision of which the changes are wanted.
async fn end(shared: &Shared, end: Option<End>, deadline: Deadline) -> Result<Revision, Refusal> {
    match end {
        None => Ok(shared.namespace.head().revision()),
        Some(End::EndTime(moment)) => newest_at(shared, moment, "end_time", deadline).await,
        Some(End::EndToken(token)) => {
            let revision = of_token(shared, &token)?;
            shared.namespace.at_least(revision)?;
            Ok(revision)
        }
    }
}

fn of_token(shared: &Shared, token: &authzed::ZedToken) -> Result<Revision, Refusal> {
    shared.sealer.open_token(&token.token).map_err(Refusal::exact_token)
}

async fn newest_at(
    shared: &Shared,
    moment: prost_types::Timestamp,
    field: &'static str,
    deadline: Deadline,
) -> Result<Revision, Refusal> {
    let moment = timestamp(moment, field)?;
    if moment > shared.namespace.now() {
        return Err(Refusal::invalid(format!("`{field}`: {moment} is still to come")));
    }
    Ok(deadline.within(shared.namespace.newest_at(moment)).await??)
}

/// Where a page begins: behind so many changes of a part of the entry after a revision.
#[derive(Debug, Clone, Copy)]
struct Place {
    after: Revision,
    part: u32,
    offset: u32,
}

impl Place {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (revision, rest) = bytes.split_at_mut(8);
        revision.copy_from_slice(&self.after.0.to_be_bytes());
        let (part, offset) = rest.split_at_mut(4);
        part.copy_from_slice(&self.part.to_be_bytes());
        offset.copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    fn of(bytes: &[u8]) -> Result<Place, Refusal> {
        let unreadable = || Refusal::cursor(SealError::Unreadable);
        let (after, rest) = bytes.split_first_chunk::<8>().ok_or_else(unreadable)?;
        let (part, rest) = rest.split_first_chunk::<4>().ok_or_else(unreadable)?;
        let offset = <[u8; 4]>::try_from(rest).map_err(|_| unreadable())?;
        Ok(Place {
            after: Revision(u64::from_be_bytes(*after)),
            part: u32::from_be_bytes(*part),
            offset: u32::from_be_bytes(offset),
        })
    }

    /// Behind all of a part.
    fn behind(part: &Part) -> Result<Place, Refusal> {
        match part.is_last {
            true => Ok(Place { after: part.revision, part: 0, offset: 0 }),
            false => Place::within(part, part.number + 1, 0),
        }
    }

    fn within(part: &Part, number: usize, offset: usize) -> Result<Place, Refusal> {
        // A log's entry has far fewer parts, and a part far fewer changes.
        let short = |n: usize| {
            u32::try_from(n)
                .map_err(|_| Refusal::new(tonic::Code::Internal, "an entry is too long to be paged"))
        };
        let after = Revision(part.revision.0.saturating_sub(1));
        Ok(Place { after, part: short(number)?, offset: short(offset)? })
    }
}

/// A page being filled.
struct Page<'s> {
    shared: &'s Shared,
    /// `None`: everything.
    filter: Option<Filter>,
    changes_max: usize,
    transactions: Vec<v1::Transaction>,
    changes: usize,
    bytes: usize,
    scanned: usize,
}

impl Page<'_> {
    /// Where the next page begins, if there is one.
    async fn fill(
        &mut self,
        from: Place,
        through: Revision,
        deadline: Deadline,
    ) -> Result<Option<Place>, Refusal> {
        let namespace = &self.shared.namespace;
        let changes = namespace.changes_from(from.after, from.part as usize);
        let mut changes = deadline.within(changes).await??;
        if from.after == through {
            return Ok(None);
        }
        let mut passed = from.offset as usize;
        while let Some(mut part) = deadline.within(changes.next()).await?? {
            let kind = std::mem::replace(&mut part.kind, EntryKind::Relationships(Vec::new()));
            if let Some(place) = self.take(&part, kind, std::mem::take(&mut passed))? {
                return Ok(Some(place));
            }
            if part.is_last && part.revision >= through {
                return Ok(None);
            }
            self.scanned += 1;
            if self.is_full() {
                return Place::behind(&part).map(Some);
            }
            deadline.pause().await?;
        }
        // All that is published was read, and what the answer reaches up to was published before.
        Ok(None)
    }

    /// Takes what is wanted of a part, beginning behind `passed` changes; where it had to stop, if it had to.
    fn take(&mut self, part: &Part, kind: EntryKind, passed: usize) -> Result<Option<Place>, Refusal> {
        match kind {
            EntryKind::Relationships(changes) => {
                for (at, change) in changes.into_iter().enumerate().skip(passed) {
                    if self.is_full() {
                        return Place::within(part, part.number, at).map(Some);
                    }
                    self.scanned += 1;
                    if self.filter.as_ref().is_none_or(|filter| filter.admits(change.relationship())) {
                        self.push(part, relationship_change(change));
                    }
                }
            }
            EntryKind::Schema { .. } if self.filter.is_none() => {
                self.transaction(part).schema_written = true;
                self.changes += 1;
            }
            EntryKind::Schema { .. } | EntryKind::Renumbering { .. } | EntryKind::Counter { .. } => {}
        }
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.changes >= self.changes_max || self.bytes >= STREAMED_BYTES_MAX || self.scanned >= SCANNED_MAX
    }

    fn push(&mut self, part: &Part, change: v1::RelationshipChange) {
        self.changes += 1;
        self.bytes += change.encoded_len();
        self.transaction(part).changes.push(change);
    }

    /// The transaction of a part, which is the last one that was begun, or begins.
    fn transaction(&mut self, part: &Part) -> &mut v1::Transaction {
        let revision = self.shared.token(part.revision);
        let is_begun = self.transactions.last().is_some_and(|last| last.revision == revision);
        if !is_begun {
            let begun = transaction(revision, &part.origin);
            self.bytes += begun.encoded_len();
            self.transactions.push(begun);
        }
        let last = self.transactions.len() - 1;
        &mut self.transactions[last]
    }
}

fn transaction(revision: Option<authzed::ZedToken>, origin: &Arc<Origin>) -> v1::Transaction {
    use v1::transaction::Cause as Wire;
    let cause = match origin.cause {
        Cause::Request => Wire::Request,
        Cause::Sweep => Wire::Expiration,
    };
    let metadata = &origin.metadata;
    v1::Transaction {
        revision,
        written_at: Some(timestamp_message(origin.written_at)),
        cause: cause as i32,
        optional_transaction_metadata: (!metadata.is_empty()).then(|| context_message(metadata.clone())),
        changes: Vec::new(),
        schema_written: false,
    }
}

fn relationship_change(change: Change) -> v1::RelationshipChange {
    let (operation, relationship, old) = match change {
        Change::Created(new) => (Operation::Created, new, None),
        Change::Replaced { new, old } => (Operation::Replaced, new, Some(old)),
        Change::Deleted(old) => (Operation::Deleted, old, None),
    };
    let old = old.unwrap_or_default();
    v1::RelationshipChange {
        operation: operation as i32,
        relationship: Some(relationship.into()),
        old_caveat: old.caveat.map(Into::into),
        old_expires_at: old.expires_at.map(timestamp_message),
    }
}
