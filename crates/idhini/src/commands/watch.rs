//! What changes, as it changes.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tonic::Request;

use super::Asked;
use super::relationship::text_of;
use crate::arguments::{self, Watch, WatchKind};
use crate::client::Server;
use crate::failure::Failure;
use crate::output;

/// Request metadata that asks for what is there before what changes, and the word that says so.
const FROM: &str = "idhini-watch-from";
const BEGINNING: &str = "beginning";

pub(super) async fn run(asked: Asked<'_>, watch: &Watch) -> Result<(), Failure> {
    let server = Server::connect_patiently(asked.connection).await?;
    let start = watch.from.clone().filter(|from| from != BEGINNING);
    let mut request = server.request(request(watch, start.clone()));
    if watch.from.as_deref() == Some(BEGINNING) {
        from_beginning(&mut request);
    }
    let mut answers = server.watches().watch(request).await?.into_inner();
    let mut last = start;
    loop {
        let answer = match answers.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(()),
            Err(status) => {
                return Err(match last {
                    Some(token) => Failure::WatchEnded { token, status },
                    None => Failure::Refused(status),
                });
            }
        };
        match asked.connection.json {
            true => output::message(&answer)?,
            false => told(asked, &answer)?,
        }
        last = answer.changes_through.map(|through| through.token).or(last);
    }
}

/// Asks for what is there before what changes.
pub(super) fn from_beginning<T>(request: &mut Request<T>) {
    request.metadata_mut().insert(FROM, tonic::metadata::MetadataValue::from_static(BEGINNING));
}

fn request(watch: &Watch, start: Option<String>) -> v1::WatchRequest {
    let kind = |kind: &WatchKind| match kind {
        WatchKind::Relationships => v1::WatchKind::IncludeRelationshipUpdates,
        WatchKind::Schema => v1::WatchKind::IncludeSchemaUpdates,
        WatchKind::Checkpoints => v1::WatchKind::IncludeCheckpoints,
    };
    v1::WatchRequest {
        optional_object_types: watch.types.clone(),
        optional_start_cursor: start.map(|token| v1::ZedToken { token }),
        optional_relationship_filters: watch.filters.iter().map(|text| arguments::filter(text)).collect(),
        optional_update_kinds: watch.kinds.iter().map(|k| kind(k) as i32).collect(),
    }
}

fn told(asked: Asked<'_>, answer: &v1::WatchResponse) -> Result<(), Failure> {
    let token = answer.changes_through.clone().unwrap_or_default().token;
    for update in &answer.updates {
        let word = match update.operation() {
            Operation::Delete => "delete",
            Operation::Create | Operation::Touch | Operation::Unspecified => "touch",
        };
        output::line_of(word, &text_of(update.relationship.clone())?, asked.style);
    }
    if answer.schema_updated {
        output::line_of("schema", "was written", asked.style);
    }
    let metadata = match answer.optional_transaction_metadata.clone().filter(|m| !m.fields.is_empty()) {
        Some(metadata) => {
            let context = idhini_wire::context(Some(metadata), "optional_transaction_metadata");
            context.map(|context| format!("  {context}")).unwrap_or_default()
        }
        None => String::new(),
    };
    output::line_of("", &format!("through {token}{metadata}"), asked.style);
    Ok(())
}
