//! LookupResources and LookupSubjects: answers as they are found, no faster than the client takes them.
//!
//! # Invariants
//! * A stream that ends well has answered everything up to its limit; whatever cuts it short is an error.
//! * None answers on behind its deadline, be each answer ever so quickly found: it is looked at before each chunk.
//! * What is found does not wait for what is still to be searched: a chunk leaves when a portion ends. Behind the first one
//!   others have their turn, of which writing it to the connection is one.
//!
//! Cost: the search; then what [`chunks`] says.

pub(crate) mod carried;
mod chunks;

use std::pin::Pin;

use futures_core::Stream;
use idhini_engine::{
    Answer, EngineError, ExcludedSubject, FoundResource, FoundSubject, Limits, LookupResources,
    LookupSubjects, Permissionship, Position, Progress,
};
use idhini_model::{Context, ResourceRef, SubjectRef, WILDCARD};
use idhini_wire::authzed::api::v1;
use idhini_wire::{member_name, type_name};
use tonic::{Request, Response, Status};

use self::chunks::Chunk;
use crate::audit;
use crate::checks::partial_caveat_info;
use crate::deadline::{Deadline, FUEL};
use crate::pin::{Cursors, Shared, When};
use crate::refusal::Refusal;
use crate::requests;
use crate::seal::SealError;
use crate::searches::Search;
use crate::telemetry;

pub(crate) use self::carried::Carrier;

/// What the first chunk may hold, and what may be spent on it once there is something in it: it leaves early.
const FIRST_CHUNK_BYTES: usize = 4 * 1024;
const FIRST_FUEL: u64 = 500;

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// LookupResources.
pub(crate) async fn resources(
    shared: &Shared,
    request: Request<v1::LookupResourcesRequest>,
) -> Result<Response<Answers<v1::LookupResourcesResponse>>, Status> {
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let mut message = request.into_inner();
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = requests::limit(std::mem::take(&mut message.optional_limit), shared.limits.page_rows_max)?;
    let (cursors, place) = shared.pin_page("LookupResources", &message, consistency, cursor, when).await?;
    let after = place.as_deref().map(position).transpose()?;
    let asked = AskedResources::of(message)?;
    let limits = shared.question_limits();
    let chunks = async_stream::try_stream! {
        let _evaluation = telemetry::evaluation_span();
        cursors.pinned().leave_worker(deadline).await?;
        let mut lookup = asked.open(&cursors, after, limits)?;
        let mut filling = Filling::new(&cursors, limit);
        loop {
            let filled = filling.fill(deadline, &mut lookup, |chunk, found| {
                chunk.push_resource(&found);
                true
            });
            if filling.is_limit_met() {
                keep_reached(&cursors, &lookup);
            }
            if let Some(chunk) = filling.chunk.take() {
                yield chunk;
            }
            match filled? {
                Filled::All => break,
                Filled::Chunk => {}
                Filled::First => deadline.breathe().await?,
                Filled::Portion => deadline.pause().await?,
            }
        }
    };
    Ok(carried::response(chunks))
}

/// LookupSubjects.
pub(crate) async fn subjects(
    shared: &Shared,
    request: Request<v1::LookupSubjectsRequest>,
) -> Result<Response<Answers<v1::LookupSubjectsResponse>>, Status> {
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let mut message = request.into_inner();
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit =
        requests::limit(std::mem::take(&mut message.optional_concrete_limit), shared.limits.page_rows_max)?;
    let (cursors, place) = shared.pin_page("LookupSubjects", &message, consistency, cursor, when).await?;
    let after = place.as_deref().map(position).transpose()?;
    let asked = AskedSubjects::of(message)?;
    let limits = shared.question_limits();
    let chunks = async_stream::try_stream! {
        let _evaluation = telemetry::evaluation_span();
        cursors.pinned().leave_worker(deadline).await?;
        let mut lookup = asked.open(&cursors, after, limits)?;
        let mut filling = Filling::new(&cursors, limit);
        loop {
            let filled = filling.fill(deadline, &mut lookup, |chunk, found| {
                // The limit counts concrete subjects.
                let is_counted = found.object_id != WILDCARD;
                if asked.admits(&found) {
                    chunk.push_subject(&found);
                }
                is_counted
            });
            if filling.is_limit_met() {
                keep_named(&cursors, &lookup);
            }
            if let Some(chunk) = filling.chunk.take() {
                yield chunk;
            }
            match filled? {
                Filled::All => break,
                Filled::Chunk => {}
                Filled::First => deadline.breathe().await?,
                Filled::Portion => deadline.pause().await?,
            }
        }
    };
    Ok(carried::response(chunks))
}

/// A lookup of either kind.
trait Lookup {
    type Found;

    fn advance(&mut self, fuel: u64) -> Result<Progress<Option<Self::Found>>, EngineError>;
    fn cost(&self) -> u64;
}

impl<'a> Lookup for LookupResources<'a> {
    type Found = FoundResource<'a>;

    fn advance(&mut self, fuel: u64) -> Result<Progress<Option<Self::Found>>, EngineError> {
        self.advance(fuel)
    }

    fn cost(&self) -> u64 {
        self.cost()
    }
}

impl<'a> Lookup for LookupSubjects<'a> {
    type Found = FoundSubject<'a>;

    fn advance(&mut self, fuel: u64) -> Result<Progress<Option<Self::Found>>, EngineError> {
        self.advance(fuel)
    }

    fn cost(&self) -> u64 {
        self.cost()
    }
}

/// Why there is a chunk.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    /// There is nothing more, or not within the limit.
    All,
    /// It is full.
    Chunk,
    /// The same, of the first one.
    First,
    /// So much was spent that others must have their turn.
    Portion,
}

/// Chunks being filled, one after the other.
struct Filling {
    chunk: Chunk,
    left: Option<u32>,
    is_first: bool,
    /// At which cost the portion ends.
    portion_end: u64,
}

impl Filling {
    fn new(cursors: &Cursors, limit: Option<u32>) -> Filling {
        Filling { chunk: Chunk::new(cursors), left: limit, is_first: true, portion_end: FUEL }
    }

    fn is_limit_met(&self) -> bool {
        self.left == Some(0)
    }

    /// Fills a chunk. `push` puts what was found in, if it is to be told, and says whether it counts.
    fn fill<L: Lookup>(
        &mut self,
        deadline: Deadline,
        lookup: &mut L,
        mut push: impl FnMut(&mut Chunk, L::Found) -> bool,
    ) -> Result<Filled, Refusal> {
        let before = lookup.cost();
        let filled = self.fill_with(deadline, lookup, &mut push);
        telemetry::charge(lookup.cost() - before);
        if matches!(filled, Ok(Filled::Portion)) {
            self.portion_end = lookup.cost().saturating_add(FUEL);
        }
        let was_first = self.is_first;
        self.is_first &= self.chunk.len() == 0;
        match filled {
            Ok(Filled::Chunk) if was_first => Ok(Filled::First),
            filled => filled,
        }
    }

    fn fill_with<L: Lookup>(
        &mut self,
        deadline: Deadline,
        lookup: &mut L,
        push: &mut impl FnMut(&mut Chunk, L::Found) -> bool,
    ) -> Result<Filled, Refusal> {
        if deadline.is_over() {
            return Err(Refusal::out_of_time());
        }
        let mut end = self.portion_end;
        while !self.is_limit_met() {
            if lookup.cost() >= end {
                return Ok(if end < self.portion_end { Filled::Chunk } else { Filled::Portion });
            }
            let found = match lookup.advance(end - lookup.cost())? {
                Progress::More => continue,
                Progress::Done(None) => return Ok(Filled::All),
                Progress::Done(Some(found)) => found,
            };
            if push(&mut self.chunk, found) {
                self.left = self.left.map(|left| left - 1);
            }
            if self.chunk.is_full() || (self.is_first && self.chunk.len() >= FIRST_CHUNK_BYTES) {
                return Ok(Filled::Chunk);
            }
            if self.is_first && end == self.portion_end && self.chunk.len() > 0 {
                end = end.min(lookup.cost().saturating_add(FIRST_FUEL));
            }
        }
        Ok(Filled::All)
    }
}

/// At the end of a page: for the next one.
pub(crate) fn keep_reached(cursors: &Cursors, lookup: &LookupResources<'_>) {
    if let Some(reached) = lookup.reached() {
        cursors.keep(Search::Resources(reached.clone()));
    }
}

/// At the end of a page: for the next one.
pub(crate) fn keep_named(cursors: &Cursors, lookup: &LookupSubjects<'_>) {
    if let Some(named) = lookup.named() {
        cursors.keep(Search::Subjects(named.clone()));
    }
}

/// What LookupResources asks, beside consistency and page.
pub(crate) struct AskedResources {
    resource_type: String,
    permission: String,
    subject: SubjectRef,
    context: Context,
}

impl AskedResources {
    pub(crate) fn of(message: v1::LookupResourcesRequest) -> Result<AskedResources, Refusal> {
        let asked = AskedResources {
            resource_type: type_name(message.resource_object_type, "resource_object_type")?,
            // Unlike in the other questions, a missing one is malformed.
            permission: member_name(message.permission, "permission")?,
            subject: requests::one_subject(message.subject, "subject_id", "look up the resources")?,
            context: requests::context(message.context)?,
        };
        audit::noting(|recording| {
            recording.about(&asked.resource_type);
            recording.note("permission", &asked.permission);
            recording.note("subject", &asked.subject);
        });
        Ok(asked)
    }

    pub(crate) fn open<'a>(
        &'a self,
        cursors: &'a Cursors,
        after: Option<Position>,
        limits: Limits,
    ) -> Result<LookupResources<'a>, Refusal> {
        let snapshot = cursors.pinned().snapshot(&self.resource_type)?;
        let of = (self.resource_type.as_str(), self.permission.as_str());
        let lookup = LookupResources::open(snapshot, of, &self.subject, &self.context, after, limits)?;
        Ok(match after.and_then(|_| cursors.search()) {
            Some(Search::Resources(reached)) => lookup.with_reached(reached),
            _ => lookup,
        })
    }
}

/// What LookupSubjects asks, beside consistency and page.
pub(crate) struct AskedSubjects {
    resource: ResourceRef,
    permission: String,
    subject_type: String,
    relation: Option<String>,
    context: Context,
    /// Whether `*` is told.
    with_wildcard: bool,
}

impl AskedSubjects {
    pub(crate) fn of(message: v1::LookupSubjectsRequest) -> Result<AskedSubjects, Refusal> {
        use v1::lookup_subjects_request::WildcardOption;
        let with_wildcard = message.wildcard_option() != WildcardOption::ExcludeWildcards;
        let asked = AskedSubjects {
            resource: requests::required(message.resource, "resource")?.try_into()?,
            permission: requests::permission(message.permission)?,
            subject_type: type_name(message.subject_object_type, "subject_object_type")?,
            relation: match message.optional_subject_relation {
                relation if relation.is_empty() || relation == "..." => None,
                relation => Some(member_name(relation, "optional_subject_relation")?),
            },
            context: requests::context(message.context)?,
            with_wildcard,
        };
        audit::noting(|recording| {
            recording.about(&asked.resource);
            recording.note("permission", &asked.permission);
            recording.note("subject_type", &asked.subject_type);
        });
        Ok(asked)
    }

    pub(crate) fn open<'a>(
        &'a self,
        cursors: &'a Cursors,
        after: Option<Position>,
        limits: Limits,
    ) -> Result<LookupSubjects<'a>, Refusal> {
        let snapshot = cursors.pinned().snapshot(&self.resource.object_type)?;
        let of = (&self.resource, self.permission.as_str());
        let subjects = (self.subject_type.as_str(), self.relation.as_deref());
        let lookup = LookupSubjects::open(snapshot, of, subjects, &self.context, after, limits)?;
        Ok(match after.and_then(|_| cursors.search()) {
            Some(Search::Subjects(named)) => lookup.with_named(named),
            _ => lookup,
        })
    }

    /// Whether this one is to be told.
    pub(crate) fn admits(&self, found: &FoundSubject<'_>) -> bool {
        self.with_wildcard || found.object_id != WILDCARD
    }
}

/// The next answer. One that is found within a portion needs no pause, so the deadline is looked at before each.
pub(crate) async fn next<T>(
    deadline: Deadline,
    advance: impl FnMut(u64) -> Result<Progress<Option<T>>, EngineError>,
) -> Result<Option<T>, Refusal> {
    if deadline.is_over() {
        return Err(Refusal::out_of_time());
    }
    deadline.drive(advance).await
}

pub(crate) fn resolved(object_id: &str, answer: &Answer) -> v1::ResolvedSubject {
    v1::ResolvedSubject {
        subject_object_id: object_id.to_owned(),
        permissionship: lookup_permissionship(answer) as i32,
        partial_caveat_info: partial_caveat_info(answer),
    }
}

/// On the wire an exclusion is definite, or conditional where the subject has the permission under a condition.
pub(crate) fn excluded(subject: &ExcludedSubject<'_>) -> v1::ResolvedSubject {
    let is_definite = subject.answer.permissionship == Permissionship::No;
    v1::ResolvedSubject {
        subject_object_id: subject.object_id.to_owned(),
        permissionship: match is_definite {
            true => v1::LookupPermissionship::HasPermission,
            false => v1::LookupPermissionship::ConditionalPermission,
        } as i32,
        partial_caveat_info: partial_caveat_info(&subject.answer),
    }
}

pub(crate) fn lookup_permissionship(answer: &Answer) -> v1::LookupPermissionship {
    match answer.permissionship {
        Permissionship::Has => v1::LookupPermissionship::HasPermission,
        Permissionship::Conditional => v1::LookupPermissionship::ConditionalPermission,
        Permissionship::No => v1::LookupPermissionship::Unspecified,
    }
}

/// Of what kind a place is. Those of earlier releases have no kind and are positions alone, which still say what they said.
pub(crate) const PLACE_KIND: u8 = 2;

/// Where a cursor goes on.
pub(crate) fn place(position: Position) -> Vec<u8> {
    [&[PLACE_KIND][..], &position.0.to_be_bytes()].concat()
}

/// What [`place`] made, or an earlier release.
pub(crate) fn position(place: &[u8]) -> Result<Position, Refusal> {
    let bytes = place.strip_prefix(&[PLACE_KIND]).filter(|bytes| bytes.len() == 8).unwrap_or(place);
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| Refusal::cursor(SealError::Unreadable))?;
    Ok(Position(u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn places_are_positions_with_their_kind_or_those_of_earlier_releases() {
        for at in [0, 1, 1 << 32, u64::MAX].map(Position) {
            assert_eq!(position(&place(at)).unwrap(), at);
            assert_eq!(position(&at.0.to_be_bytes()).unwrap(), at);
        }
        for other in [vec![], vec![PLACE_KIND], vec![PLACE_KIND; 7], vec![PLACE_KIND + 1; 9], vec![0; 10]] {
            assert!(position(&other).is_err());
        }
    }

    #[tokio::test]
    async fn answers_that_need_no_pause_end_with_the_deadline() {
        let mut metadata = MetadataMap::new();
        let forever = Deadline::of(&metadata);
        metadata.insert("grpc-timeout", "20m".parse().unwrap());
        let deadline = Deadline::of(&metadata);
        let at_once = |_| Ok(Progress::Done(Some(())));
        let refused = loop {
            match next(deadline, at_once).await {
                Ok(found) => assert_eq!(found, Some(())),
                Err(refusal) => break Status::from(refusal),
            }
        };
        assert_eq!(refused.code(), Code::DeadlineExceeded);
        assert!(next(forever, at_once).await.is_ok());
    }
}
