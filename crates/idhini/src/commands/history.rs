//! What changed about an object, when, and by which entry of the log?
//!
//! Changes of relationships whose resource it is, and of those whose subject it is, are asked for apart, and told in one
//! order. Cost: a page of each in memory.

use std::collections::VecDeque;

use idhini_model::{Relationship, SubjectRef, Timestamp};
use idhini_wire::authzed::api::v1 as api;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::history_service_client::HistoryServiceClient;
use idhini_wire::idhini::v1::read_changes_request::{End, Start};
use idhini_wire::idhini::v1::relationship_change::Operation;
use idhini_wire::idhini::v1::transaction::Cause;
use idhini_wire::timestamp_message;

use super::Asked;
use super::relationship::text_of;
use crate::arguments::HistoryOf;
use crate::client::Server;
use crate::failure::Failure;
use crate::output;

pub(super) async fn run(asked: Asked<'_>, of: &HistoryOf) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let mut of_resource = Pages::new(of, as_resource(&of.of));
    let mut of_subject = Pages::new(of, Some(as_subject(&of.of)));
    loop {
        let resource = of_resource.peek(&server).await?.map(place);
        let subject = of_subject.peek(&server).await?.map(place);
        let is_subject = match (&resource, &subject) {
            (None, None) => return Ok(()),
            (Some(resource), Some(subject)) => subject < resource,
            (resource, _) => resource.is_none(),
        };
        let pages = if is_subject { &mut of_subject } else { &mut of_resource };
        let Some(mut transaction) = pages.waiting.pop_front() else { continue };
        if is_subject {
            // These are told as the resource's.
            transaction.changes.retain(|change| !is_of_resource(&of.of, change));
        }
        if !transaction.changes.is_empty() {
            told(asked, &transaction)?;
        }
    }
}

/// The changes that one filter admits, page by page.
struct Pages {
    /// What is asked next; nothing if there is no more.
    request: Option<v1::ReadChangesRequest>,
    waiting: VecDeque<v1::Transaction>,
}

impl Pages {
    fn new(of: &HistoryOf, filter: Option<api::RelationshipFilter>) -> Pages {
        let request = filter.map(|filter| v1::ReadChangesRequest {
            start: of.since.map(|since| Start::StartTime(timestamp_message(since))),
            end: of.until.map(|until| End::EndTime(timestamp_message(until))),
            optional_relationship_filter: Some(filter),
            ..Default::default()
        });
        Pages { request, waiting: VecDeque::new() }
    }

    /// The next transaction, which stays where it is.
    async fn peek(&mut self, server: &Server) -> Result<Option<&v1::Transaction>, Failure> {
        while self.waiting.is_empty() {
            let Some(request) = self.request.take() else { break };
            let mut client = HistoryServiceClient::new(server.channel());
            let answer = client.read_changes(server.request(request.clone())).await?.into_inner();
            self.waiting.extend(answer.transactions);
            self.request = answer
                .next_cursor
                .map(|cursor| v1::ReadChangesRequest { optional_cursor: Some(cursor), ..request });
        }
        Ok(self.waiting.front())
    }
}

/// What orders transactions: no entry was written before the one before it.
fn place(transaction: &v1::Transaction) -> (i64, i32) {
    transaction.written_at.map_or((0, 0), |at| (at.seconds, at.nanos))
}

/// Relationships whose resource it is; a wildcard is none.
fn as_resource(of: &SubjectRef) -> Option<api::RelationshipFilter> {
    (!of.is_wildcard()).then(|| api::RelationshipFilter {
        resource_type: of.object_type.clone(),
        optional_resource_id: of.object_id.clone(),
        optional_relation: of.relation.clone().unwrap_or_default(),
        ..Default::default()
    })
}

fn as_subject(of: &SubjectRef) -> api::RelationshipFilter {
    let relation = of.relation.clone().map(|relation| api::subject_filter::RelationFilter { relation });
    let filter = api::SubjectFilter {
        subject_type: of.object_type.clone(),
        optional_subject_id: of.object_id.clone(),
        optional_relation: relation,
    };
    api::RelationshipFilter { optional_subject_filter: Some(filter), ..Default::default() }
}

fn is_of_resource(of: &SubjectRef, change: &v1::RelationshipChange) -> bool {
    change.relationship.as_ref().is_some_and(|relationship| {
        let is_resource = relationship.resource.as_ref().is_some_and(|resource| {
            resource.object_type == of.object_type && resource.object_id == of.object_id
        });
        is_resource && of.relation.as_ref().is_none_or(|wanted| *wanted == relationship.relation)
    })
}

fn told(asked: Asked<'_>, transaction: &v1::Transaction) -> Result<(), Failure> {
    if asked.connection.json {
        return output::message(transaction);
    }
    let at = transaction.written_at.unwrap_or_default();
    let at = Timestamp::new(at.seconds, i64::from(at.nanos))
        .map_err(|_| Failure::Answer { missing: "moment of a change" })?
        .to_string();
    let cause = match transaction.cause() {
        Cause::Expiration => "  expired",
        Cause::Request | Cause::Unspecified => "",
    };
    let metadata = transaction.optional_transaction_metadata.clone().filter(|m| !m.fields.is_empty());
    let metadata = metadata
        .and_then(|metadata| idhini_wire::context(Some(metadata), "optional_transaction_metadata").ok())
        .map(|metadata| format!("  {metadata}"))
        .unwrap_or_default();
    for change in &transaction.changes {
        let word = match change.operation() {
            Operation::Created => "created",
            Operation::Replaced => "replaced",
            Operation::Deleted => "deleted",
            Operation::Unspecified => "",
        };
        let text = text_of(change.relationship.clone())?;
        output::line_of(word, &format!("{at:30}  {text}{}{cause}{metadata}", was(change)?), asked.style);
    }
    let revision = transaction.revision.clone().unwrap_or_default().token;
    output::line_of("", &format!("{:30}  entry {revision}", ""), asked.style);
    Ok(())
}

/// What a replaced relationship was before.
fn was(change: &v1::RelationshipChange) -> Result<String, Failure> {
    if change.operation() != Operation::Replaced {
        return Ok(String::new());
    }
    let old = change.relationship.clone().map(|relationship| api::Relationship {
        optional_caveat: change.old_caveat.clone(),
        optional_expires_at: change.old_expires_at,
        ..relationship
    });
    let old = old.and_then(|old| Relationship::try_from(old).ok());
    Ok(format!("  was {}", old.ok_or(Failure::Answer { missing: "relationship" })?))
}
