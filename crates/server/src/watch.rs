//! Watch: what changes, told in order, from a token on or from now on, and if asked a snapshot before it.
//!
//! # Invariants
//! * Resuming from the `changes_through` of any message loses nothing that came after it. All parts of an entry but the
//!   last carry the revision before the entry; parts of the snapshot carry a place in it, which only the same question
//!   continues.
//! * Only what is durable and applied here is told; only what was asked for is told.
//! * A slow reader costs one portion of the log and one message; nothing is read ahead of it.
//! * A server that is told to stop ends its watches at once.
//!
//! Cost: O(changes × filters), a message at a time.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use idhini_model::{Change, EntryKind, Relationship, Revision, Timestamp};
use idhini_replica::{Changes, Filter, Part, Portion, Position, Published, check_filter};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use idhini_wire::{context_message, type_name};
use prost::Message as _;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::audit;
use crate::deadline::{Deadline, FUEL};
use crate::lookups::Answers;
use crate::options::STREAMED_BYTES_MAX;
use crate::pin::{Shared, When};
use crate::refusal::Refusal;
use crate::requests;
use crate::seal::{Cursor, QuestionDigest, SealError, Start};
use crate::telemetry;

/// Request metadata that asks for what is there before what changes.
const FROM: &str = "idhini-watch-from";
/// Its one value.
const FROM_BEGINNING: &str = "beginning";
/// Object types, or filters, of one watch.
const FILTERS_MAX: usize = 1_000;
/// Relationships of a snapshot that are fetched between two pauses.
const PORTION_ROWS: usize = 512;
/// Entries that may pass by unseen before a checkpoint says so.
const PASSED_MAX: u64 = 1_000;
/// Silence after which a checkpoint is repeated.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// Says when the server stops.
pub(crate) type Stopping = watch::Receiver<bool>;

/// Watch.
pub(crate) async fn watch(
    shared: &Shared,
    stopping: Stopping,
    request: Request<v1::WatchRequest>,
) -> Result<Response<Answers<v1::WatchResponse>>, Status> {
    let is_from_beginning = is_from_beginning(request.metadata())?;
    let deadline = When::of(request.metadata())?.now_only("Watch")?;
    let mut message = request.into_inner();
    let kinds = Kinds::of(&std::mem::take(&mut message.optional_update_kinds))?;
    let token = message.optional_start_cursor.take();
    let question = QuestionDigest::of("Watch", &message.encode_to_vec());
    let which = Which::of(message, shared)?;
    let start = match token {
        Some(token) => Some(shared.sealer.open_start(question, &token.token).map_err(Refusal::exact_token)?),
        None => None,
    };
    let (after, snapshot) = match start {
        Some(Start::After(revision)) => (revision, None),
        Some(Start::Within(Cursor { revision, instant, place })) => {
            let published = shared.at(revision, deadline).await?;
            let after = place_of(&place)?;
            (revision, Some(Snapshot { published, instant, after, is_begun: true }))
        }
        None => {
            let published = shared.namespace.head();
            let revision = published.revision();
            let instant = shared.namespace.now();
            let snapshot = Snapshot { published, instant, after: None, is_begun: false };
            (revision, is_from_beginning.then_some(snapshot))
        }
    };
    audit::noting(|recording| recording.read_at(after));
    let changes = shared.namespace.changes(after).await.map_err(Refusal::from)?;
    let mut watching = Watching {
        shared: shared.clone(),
        stopping,
        deadline,
        question,
        which,
        kinds,
        snapshot,
        changes,
        through: after,
        passed: 0,
        marked: None,
        batch: Batch::default(),
        ready: VecDeque::new(),
    };
    let answers = async_stream::try_stream! {
        loop {
            yield watching.next().await?;
        }
    };
    Ok(Response::new(Box::pin(answers)))
}

/// What is to be told.
#[derive(Debug, Clone, Copy, Default)]
struct Kinds {
    relationships: bool,
    schema: bool,
    checkpoints: bool,
}

/// Which relationships.
enum Which {
    All,
    Types(HashSet<String>),
    Filters(Vec<Filter>),
}

/// A snapshot that is being told.
struct Snapshot {
    published: Arc<Published>,
    instant: Timestamp,
    /// Read up to here.
    after: Option<Position>,
    is_begun: bool,
}

/// One watch.
struct Watching {
    shared: Shared,
    stopping: Stopping,
    deadline: Deadline,
    question: QuestionDigest,
    which: Which,
    kinds: Kinds,
    /// Told before the changes.
    snapshot: Option<Snapshot>,
    changes: Changes,
    /// All entries up to this one were told or passed by.
    through: Revision,
    /// Entries that passed by since something was told.
    passed: u64,
    /// The last checkpoint.
    marked: Option<Revision>,
    /// The message being filled.
    batch: Batch,
    ready: VecDeque<v1::WatchResponse>,
}

/// Updates of one message.
#[derive(Default)]
struct Batch {
    updates: Vec<v1::RelationshipUpdate>,
    bytes: usize,
}

impl Watching {
    /// The next message; waits for it.
    async fn next(&mut self) -> Result<v1::WatchResponse, Refusal> {
        loop {
            if *self.stopping.borrow() {
                return Err(stopped());
            }
            if let Some(message) = self.ready.pop_front() {
                return Ok(message);
            }
            if self.deadline.is_over() {
                return Err(Refusal::out_of_time());
            }
            if let Some(snapshot) = self.snapshot.take() {
                self.read_on(snapshot);
                self.deadline.pause().await?;
                continue;
            }
            let next = self.changes.next();
            match or_over(&mut self.stopping, self.deadline, next).await?? {
                Some(part) => self.tell(part),
                None => self.wait().await?,
            }
        }
    }

    /// Everything that is there was told: says so if that is asked for, and waits for more.
    async fn wait(&mut self) -> Result<(), Refusal> {
        if self.kinds.checkpoints && self.marked != Some(self.through) {
            self.mark();
            return Ok(());
        }
        let grown = self.changes.grown();
        if !self.kinds.checkpoints {
            return or_over(&mut self.stopping, self.deadline, grown).await;
        }
        let grown = tokio::time::timeout(CHECKPOINT_INTERVAL, grown);
        if or_over(&mut self.stopping, self.deadline, grown).await?.is_err() {
            self.mark();
        }
        Ok(())
    }

    fn mark(&mut self) {
        self.marked = Some(self.through);
        self.passed = 0;
        let changes_through = self.shared.token(self.through);
        self.ready.push_back(v1::WatchResponse {
            is_checkpoint: true,
            changes_through,
            ..Default::default()
        });
    }

    /// Makes messages of an entry, or of a part of one.
    fn tell(&mut self, part: Part) {
        let before = Revision(part.revision.0.saturating_sub(1));
        match part.kind {
            EntryKind::Relationships(changes) if self.kinds.relationships => {
                for change in changes {
                    let (operation, relationship) = match change {
                        Change::Created(new) | Change::Replaced { new, .. } => (Operation::Touch, new),
                        Change::Deleted(old) => (Operation::Delete, old),
                    };
                    if self.which.admits(&relationship)
                        && let Some(full) = self.batch.push(operation, relationship)
                    {
                        self.push(full, &part.origin.metadata, self.shared.token(before));
                    }
                }
            }
            EntryKind::Schema { .. } if self.kinds.schema => {
                let changes_through = self.shared.token(part.revision);
                self.ready.push_back(v1::WatchResponse {
                    schema_updated: true,
                    changes_through,
                    ..Default::default()
                });
            }
            EntryKind::Relationships(_)
            | EntryKind::Schema { .. }
            | EntryKind::Renumbering { .. }
            | EntryKind::Counter { .. } => {}
        }
        if !part.is_last {
            return;
        }
        let rest = std::mem::take(&mut self.batch);
        if !rest.updates.is_empty() {
            self.push(rest.updates, &part.origin.metadata, self.shared.token(part.revision));
        }
        self.through = part.revision;
        self.passed = if self.ready.is_empty() { self.passed + 1 } else { 0 };
        if self.kinds.checkpoints && self.passed >= PASSED_MAX {
            self.mark();
        }
    }

    fn push(
        &mut self,
        updates: Vec<v1::RelationshipUpdate>,
        metadata: &idhini_model::Context,
        changes_through: Option<v1::ZedToken>,
    ) {
        let metadata = (!metadata.is_empty()).then(|| context_message(metadata.clone()));
        self.ready.push_back(v1::WatchResponse {
            updates,
            changes_through,
            full_revision_metadata: metadata.iter().cloned().collect(),
            optional_transaction_metadata: metadata,
            ..Default::default()
        });
    }

    /// Makes messages of a portion of the snapshot, which goes on unless that was the last.
    fn read_on(&mut self, mut snapshot: Snapshot) {
        if !std::mem::replace(&mut snapshot.is_begun, true)
            && self.kinds.schema
            && snapshot.published.schema().is_some()
        {
            let changes_through = self.place(&snapshot);
            self.ready.push_back(v1::WatchResponse {
                schema_updated: true,
                changes_through,
                ..Default::default()
            });
        }
        if !self.kinds.relationships {
            return;
        }
        let Snapshot { published, instant, after, .. } = &snapshot;
        let portion = Portion { rows_max: PORTION_ROWS, edges_max: FUEL };
        let page = published.read(&self.which.scanned(), *instant, *after, portion);
        telemetry::looked_at(page.edges);
        for row in page.rows {
            if self.which.admits(&row.relationship)
                && let Some(full) = self.batch.push(Operation::Touch, row.relationship)
            {
                let through = self.place(&snapshot);
                self.push(full, &idhini_model::Context::default(), through);
            }
            snapshot.after = Some(row.position);
        }
        if let Some(next) = page.next {
            snapshot.after = Some(next);
            self.snapshot = Some(snapshot);
            return;
        }
        let rest = std::mem::take(&mut self.batch);
        if !rest.updates.is_empty() {
            let through = self.shared.token(self.through);
            self.push(rest.updates, &idhini_model::Context::default(), through);
        }
    }

    /// The token of a place in the snapshot: behind what is told of it before what is in `batch`.
    fn place(&self, snapshot: &Snapshot) -> Option<v1::ZedToken> {
        if !self.kinds.relationships {
            return self.shared.token(self.through);
        }
        let place = snapshot.after.map(|after| after.to_bytes().to_vec()).unwrap_or_default();
        let cursor = Cursor { revision: self.through, instant: snapshot.instant, place };
        Some(v1::ZedToken { token: self.shared.sealer.place(self.question, &cursor) })
    }
}

impl Batch {
    /// Adds an update; gives those before it if they are enough for a message.
    fn push(
        &mut self,
        operation: Operation,
        relationship: Relationship,
    ) -> Option<Vec<v1::RelationshipUpdate>> {
        let update =
            v1::RelationshipUpdate { operation: operation as i32, relationship: Some(relationship.into()) };
        let bytes = update.encoded_len();
        let is_full = self.bytes + bytes > STREAMED_BYTES_MAX && !self.updates.is_empty();
        let full = is_full.then(|| std::mem::take(self).updates);
        self.bytes += bytes;
        self.updates.push(update);
        full
    }
}

impl Kinds {
    /// As asked; relationships if nothing is.
    fn of(asked: &[i32]) -> Result<Kinds, Refusal> {
        use v1::WatchKind;
        let mut kinds = Kinds { relationships: asked.is_empty(), ..Kinds::default() };
        for kind in asked {
            match WatchKind::try_from(*kind) {
                Ok(WatchKind::Unspecified | WatchKind::IncludeRelationshipUpdates) => {
                    kinds.relationships = true;
                }
                Ok(WatchKind::IncludeSchemaUpdates) => kinds.schema = true,
                Ok(WatchKind::IncludeCheckpoints) => kinds.checkpoints = true,
                Err(_) => {
                    return Err(Refusal::invalid(format!(
                        "`optional_update_kinds` has {kind}; there are relationship updates (1), schema updates (2) and checkpoints (3)"
                    )));
                }
            }
        }
        Ok(kinds)
    }
}

impl Which {
    /// Object types may be of any schema, as watches outlive schemas; a filter must fit the newest one.
    fn of(message: v1::WatchRequest, shared: &Shared) -> Result<Which, Refusal> {
        let v1::WatchRequest { optional_object_types, optional_relationship_filters, .. } = message;
        let (types, filters) = (optional_object_types, optional_relationship_filters);
        if !types.is_empty() && !filters.is_empty() {
            return Err(Refusal::invalid(
                "`optional_object_types` and `optional_relationship_filters` exclude each other",
            ));
        }
        if types.len().max(filters.len()) > FILTERS_MAX {
            return Err(Refusal::invalid(format!(
                "a watch has at most {FILTERS_MAX} object types or relationship filters"
            )));
        }
        if !types.is_empty() {
            let types = types.into_iter().map(|name| type_name(name, "optional_object_types"));
            return Ok(Which::Types(types.collect::<Result<_, _>>()?));
        }
        if filters.is_empty() {
            return Ok(Which::All);
        }
        let head = shared.namespace.head();
        let read = filters.into_iter().map(|filter| {
            let filter = requests::filter(filter)?;
            check_filter(&filter, head.schema().map(AsRef::as_ref))?;
            Ok(filter)
        });
        Ok(Which::Filters(read.collect::<Result<_, Refusal>>()?))
    }

    fn admits(&self, relationship: &Relationship) -> bool {
        match self {
            Which::All => true,
            Which::Types(types) => types.contains(&relationship.resource.object_type),
            Which::Filters(filters) => filters.iter().any(|filter| filter.admits(relationship)),
        }
    }

    /// A filter that admits all of it, and perhaps more.
    fn scanned(&self) -> Filter {
        match self {
            Which::Types(types) if types.len() == 1 => {
                Filter { resource_type: types.iter().next().cloned(), ..Filter::default() }
            }
            Which::Filters(filters) if filters.len() == 1 => filters.first().cloned().unwrap_or_default(),
            Which::All | Which::Types(_) | Which::Filters(_) => Filter::default(),
        }
    }
}

fn is_from_beginning(metadata: &MetadataMap) -> Result<bool, Refusal> {
    match metadata.get(FROM) {
        None => Ok(false),
        Some(value) if value == FROM_BEGINNING => Ok(true),
        Some(_) => Err(Refusal::invalid(format!("`{FROM}` is `{FROM_BEGINNING}` or left out"))),
    }
}

fn place_of(place: &[u8]) -> Result<Option<Position>, Refusal> {
    if place.is_empty() {
        return Ok(None);
    }
    let bytes = place.try_into().map_err(|_| Refusal::token(SealError::Unreadable))?;
    Ok(Some(Position::from_bytes(bytes)))
}

/// Waits for something, but not beyond the deadline, nor when the server stops.
async fn or_over<T>(
    stopping: &mut Stopping,
    deadline: Deadline,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        // Whoever would say so is gone only when serving has ended.
        _ = stopping.wait_for(|is_stopping| *is_stopping) => Err(stopped()),
        done = deadline.within(work) => done,
    }
}

fn stopped() -> Refusal {
    Refusal::new(
        tonic::Code::Unavailable,
        "the server is stopping; watch again from the last `changes_through`",
    )
}
