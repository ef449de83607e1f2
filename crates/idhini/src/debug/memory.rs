//! What is held in memory, and for what: asked of a server, or counted by opening what a directory holds.

use std::sync::Arc;

use idhini_changelog::disk::Disk;
use idhini_changelog::{FileDisk, LogId, Store as _};
use idhini_replica::{Clock, Images, Namespace, OpenError, Options, Report};
use idhini_wire::idhini::admin::v1;
use serde_json::{Map, Value, json};

use super::logs;
use crate::arguments::Connection;
use crate::client::Server;
use crate::clock::now;
use crate::failure::Failure;
use crate::output::{self, Style};

/// Of the namespaces of a running server.
pub(super) async fn of_server(connection: &Connection, style: Style) -> Result<(), Failure> {
    let server = Server::connect(connection).await?.about_all();
    let described = server.admin().describe(server.request(v1::DescribeRequest {})).await?.into_inner();
    let mut all = Vec::new();
    for log in described.logs {
        let asked = server.request(v1::ReadMemoryRequest { log: log.id });
        all.push((LogId(log.id), server.admin().read_memory(asked).await?.into_inner()));
    }
    print(&all, connection.json, style);
    Ok(())
}

/// Of the namespaces of a directory, each opened as a start would.
pub(super) async fn of_directory(disk: Arc<FileDisk>, is_json: bool, style: Style) -> Result<(), Failure> {
    let store = logs(&disk)?;
    let clock: Clock = Arc::new(now);
    let report: Report = Arc::new(move |text| output::notice(text, style));
    let mut all = Vec::new();
    for id in store.logs().await.map_err(Failure::Read)? {
        let images = Images::look(Arc::clone(&disk) as Arc<dyn Disk>, id, Arc::clone(&report))?;
        let opened =
            Namespace::open(store.log(id), Some(images), Arc::clone(&clock), Options::default()).await;
        let memory = opened.map_err(OpenError::from)?.memory();
        let part = |(name, bytes): (&str, u64)| v1::MemoryPart { name: name.to_owned(), bytes };
        all.push((
            id,
            v1::ReadMemoryResponse {
                revision: memory.revision.0,
                relationships: memory.relationships,
                revisions: memory.revisions,
                parts: memory.parts().into_iter().map(part).collect(),
            },
        ));
    }
    print(&all, is_json, style);
    Ok(())
}

fn print(all: &[(LogId, v1::ReadMemoryResponse)], is_json: bool, style: Style) {
    if is_json {
        return output::json(&Value::from_iter(all.iter().map(json_of)));
    }
    for (id, memory) in all {
        let v1::ReadMemoryResponse { revision, relationships, revisions, parts } = memory;
        output::line(&format!(
            "log {}  revision {revision}  {relationships} relationships  {revisions} revisions beside the newest",
            id.0
        ));
        let total: u64 = parts.iter().map(|part| part.bytes).sum();
        let whole = v1::MemoryPart { name: "all".to_owned(), bytes: total };
        for part in parts.iter().chain([&whole]) {
            let share = 100.0 * part.bytes as f64 / total.max(1) as f64;
            let each = part.bytes as f64 / (*relationships).max(1) as f64;
            let text = format!("{:>14} bytes  {share:>5.1} %  {each:>8.1} a relationship", part.bytes);
            output::part(&part.name, &text, style);
        }
    }
}

fn json_of((id, memory): &(LogId, v1::ReadMemoryResponse)) -> Value {
    let parts: Map<String, Value> =
        memory.parts.iter().map(|part| (part.name.clone(), Value::from(part.bytes))).collect();
    json!({
        "log": id.0, "revision": memory.revision, "relationships": memory.relationships,
        "revisions": memory.revisions, "bytes": parts,
        "allBytes": memory.parts.iter().map(|part| part.bytes).sum::<u64>(),
    })
}
