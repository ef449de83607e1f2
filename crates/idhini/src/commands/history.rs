//! What changed about an object, when, and by which entry of the log?
//!
//! Cost: reads every entry that is kept, a chunk at a time.

use idhini_model::{Attributes, Cause, Change, EntryKind, Logged, Origin, Relationship, SubjectRef};
use idhini_wire::idhini::admin::v1;
use serde_json::json;

use super::Asked;
use crate::arguments::HistoryOf;
use crate::client::Server;
use crate::failure::Failure;
use crate::output;

const UNREADABLE: Failure = Failure::Answer { missing: "readable entry" };

pub(super) async fn run(asked: Asked<'_>, of: &HistoryOf) -> Result<(), Failure> {
    let server = Server::connect_patiently(asked.connection).await?;
    let described = server.admin().describe(server.request(v1::DescribeRequest {})).await?.into_inner();
    for log in described.logs {
        let request =
            v1::ReadEntriesRequest { log: log.id, after: log.oldest.saturating_sub(1), last: log.head };
        if log.oldest > log.head {
            continue;
        }
        let mut answers = server.admin().read_entries(server.request(request)).await?.into_inner();
        let mut open: Option<Open> = None;
        while let Some(answer) = answers.message().await? {
            for chunk in answer.chunks {
                let changes = match &mut open {
                    None => {
                        let (origin, kind) = Logged::begun(&[&chunk.bytes]).map_err(|_| UNREADABLE)?;
                        open = Some(Open { origin, chunks: 1 });
                        match kind {
                            EntryKind::Relationships(changes) => changes,
                            EntryKind::Schema { .. }
                            | EntryKind::Renumbering { .. }
                            | EntryKind::Counter { .. } => Vec::new(),
                        }
                    }
                    Some(open) => {
                        let at = open.chunks;
                        open.chunks += 1;
                        Logged::changes_of(at, &chunk.bytes).map_err(|_| UNREADABLE)?
                    }
                };
                if let Some(open) = &open {
                    changes.iter().for_each(|change| told(asked, of, chunk.revision, &open.origin, change));
                }
                if chunk.is_last {
                    open = None;
                }
            }
        }
    }
    Ok(())
}

/// An entry that is being read.
struct Open {
    origin: Origin,
    chunks: usize,
}

fn told(asked: Asked<'_>, of: &HistoryOf, revision: u64, origin: &Origin, change: &Change) {
    let at = origin.written_at;
    let is_outside = of.since.is_some_and(|since| at < since) || of.until.is_some_and(|until| at > until);
    let (word, relationship, old) = match change {
        Change::Created(relationship) => ("created", relationship, None),
        Change::Replaced { new, old } => ("replaced", new, Some(old)),
        Change::Deleted(relationship) => ("deleted", relationship, None),
    };
    if is_outside || !concerns(&of.of, relationship) {
        return;
    }
    let cause = match origin.cause {
        Cause::Request => "request",
        Cause::Sweep => "expiration",
    };
    let was = old.map(|Attributes { caveat, expires_at }| {
        let old = Relationship { caveat: caveat.clone(), expires_at: *expires_at, ..relationship.clone() };
        old.to_string()
    });
    if asked.connection.json {
        return output::json_line(&json!({
            "writtenAt": at.to_string(), "entry": revision, "cause": cause, "change": word,
            "relationship": relationship.to_string(), "was": was, "metadata": origin.metadata.to_string(),
        }));
    }
    let was = was.map(|was| format!("  was {was}")).unwrap_or_default();
    let metadata = if origin.metadata.is_empty() { String::new() } else { format!("  {}", origin.metadata) };
    let text =
        format!("{at:30}  entry {revision}  {cause}  {relationship}{was}{metadata}", at = at.to_string());
    output::line_of(word, &text, asked.style);
}

/// As the resource or as the subject; a relation narrows both.
fn concerns(of: &SubjectRef, relationship: &Relationship) -> bool {
    let Relationship { resource, relation, subject, .. } = relationship;
    let is_resource = resource.object_type == of.object_type
        && resource.object_id == of.object_id
        && of.relation.as_ref().is_none_or(|wanted| wanted == relation);
    let is_subject = subject.object_type == of.object_type
        && subject.object_id == of.object_id
        && (of.relation.is_none() || of.relation == subject.relation);
    is_resource || is_subject
}
