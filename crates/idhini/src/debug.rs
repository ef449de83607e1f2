//! What is in a data directory, for people: the log's segments and entries, and the images. Looks only, also at what a
//! server holds. And what is in memory.

mod memory;

use std::path::Path;
use std::sync::Arc;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::{Kind, Listed, Options as LogOptions, list};
use idhini_changelog::{EmbeddedStore, FileDisk, LogId, Store};
use idhini_model::{Cause, Change, EntryKind, Logged, Revision};
use idhini_replica::{ImageFacts, Images, Report};
use serde_json::{Value, json};

use crate::arguments::{Connection, Debug};
use crate::failure::Failure;
use crate::files::{image_names, imaged_logs};
use crate::output::{self, Style};

/// Bytes of entries read at a time.
const READ_BYTES: usize = 1 << 20;

/// Prints what is there.
pub(crate) fn run(connection: &Connection, debug: &Debug, style: Style) -> Result<(), Failure> {
    let is_json = connection.json;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "a runtime", source })?;
    match debug {
        Debug::Log { data_dir, entries: false } => segments(&looked_at(data_dir)?, is_json),
        Debug::Log { data_dir, entries: true } => {
            runtime.block_on(entries(Arc::new(looked_at(data_dir)?), is_json))
        }
        Debug::Memory { data_dir: None } => runtime.block_on(memory::of_server(connection, style)),
        Debug::Memory { data_dir: Some(data_dir) } => {
            runtime.block_on(memory::of_directory(Arc::new(looked_at(data_dir)?), is_json, style))
        }
        Debug::Images { data_dir } => images(&Arc::new(looked_at(data_dir)?), is_json),
    }
}

fn looked_at(data_dir: &Path) -> Result<FileDisk, Failure> {
    match data_dir.is_dir() {
        true => Ok(FileDisk::look(data_dir)),
        false => Err(Failure::NoDirectory { path: data_dir.to_owned() }),
    }
}

/// Each segment, and what kinds of frames it has.
fn segments(disk: &FileDisk, is_json: bool) -> Result<(), Failure> {
    let unreadable = |source| Failure::Backup { path: disk.directory().to_owned(), source };
    let mut all = Vec::new();
    for segment in list(disk).map_err(unreadable)? {
        let segment = segment?;
        let (mut entries, mut chunks, mut others, mut bytes, mut rest) = (0u64, 0u64, 0u64, 0usize, None);
        let each = |listed| {
            match listed {
                Listed::Frame { facts, payload_bytes, .. } if facts.kind == Kind::Entry => {
                    chunks += 1;
                    entries += u64::from(facts.is_last_chunk);
                    bytes += payload_bytes;
                }
                Listed::Frame { .. } => others += 1,
                Listed::Rest { offset, bytes, reason } => rest = Some((offset, bytes, reason)),
            }
            true
        };
        segment.each(each).map_err(unreadable)?;
        let number = segment.number;
        if is_json {
            let rest = rest
                .map(|(offset, bytes, reason)| json!({"offset": offset, "bytes": bytes, "reason": reason}));
            all.push(json!({
                "segment": number, "bytes": segment.bytes, "entries": entries, "chunks": chunks,
                "entryBytes": bytes, "otherFrames": others, "rest": rest,
            }));
            continue;
        }
        let size = segment.bytes;
        output::line(&format!(
            "segment {number:>6}  {size:>12} bytes  {entries:>9} entries of {bytes:>12} bytes  {others:>5} other frames"
        ));
        if let Some((offset, bytes, reason)) = rest {
            output::line(&format!(
                "                from {offset} on {bytes} bytes that are no frame: {reason}"
            ));
        }
    }
    if is_json {
        output::json(&Value::from(all));
    }
    Ok(())
}

/// Each entry of each log, in a line, also as JSON: there may be too many for one array.
async fn entries(disk: Arc<FileDisk>, is_json: bool) -> Result<(), Failure> {
    let store = logs(&disk)?;
    for id in store.logs().await.map_err(Failure::Read)? {
        let log = store.log(id);
        let head = log.head().await.map_err(Failure::Read)?;
        let mut after = Revision(head.oldest.0.saturating_sub(1));
        while after < head.revision {
            let read = log.read(after, READ_BYTES).await.map_err(Failure::Read)?;
            let Some(last) = read.last().map(|stored| stored.revision) else { break };
            after = last;
            for stored in read {
                let bytes = stored.record.bytes();
                match Logged::from_chunks(stored.revision, &stored.record.chunks) {
                    Ok(logged) => entry(id, &logged, bytes, is_json),
                    Err(error) if is_json => output::json_line(&json!({
                        "log": id.0, "revision": stored.revision.0, "bytes": bytes, "error": error.to_string(),
                    })),
                    Err(error) => output::line(&format!("log {}  {}  {error}", id.0, stored.revision)),
                }
            }
        }
    }
    Ok(())
}

/// The logs of a directory, to be looked at.
fn logs(disk: &Arc<FileDisk>) -> Result<EmbeddedStore, Failure> {
    // An open that is followed by no write writes nothing. A server that holds the directory may let go of a segment
    // between its being listed and its being read.
    let open = || EmbeddedStore::open(Arc::clone(disk) as Arc<dyn Disk>, &LogOptions::new(0));
    Ok(open().or_else(|_| open()).or_else(|_| open())?)
}

fn entry(id: LogId, logged: &Logged, bytes: usize, is_json: bool) {
    let Logged { entry, origin } = logged;
    let (created, replaced, deleted, what) = match &entry.kind {
        EntryKind::Relationships(changes) => {
            let count = |is: fn(&Change) -> bool| changes.iter().filter(|change| is(change)).count();
            (
                count(|change| matches!(change, Change::Created(_))),
                count(|change| matches!(change, Change::Replaced { .. })),
                count(|change| matches!(change, Change::Deleted(_))),
                "relationships",
            )
        }
        EntryKind::Schema { .. } => (0, 0, 0, "schema"),
        EntryKind::Renumbering { removed } => (0, 0, removed.len(), "renumbering"),
        EntryKind::Counter { .. } => (0, 0, 0, "counter"),
    };
    let cause = match origin.cause {
        Cause::Request => "request",
        Cause::Sweep => "sweep",
    };
    if is_json {
        output::json_line(&json!({
            "log": id.0, "revision": entry.revision.0, "writtenAt": origin.written_at.to_string(),
            "cause": cause, "kind": what, "created": created, "replaced": replaced, "deleted": deleted,
            "bytes": bytes, "metadata": origin.metadata.to_string(),
        }));
        return;
    }
    let metadata = if origin.metadata.is_empty() { String::new() } else { format!("  {}", origin.metadata) };
    output::line(&format!(
        "log {}  {:>8}  {:30}  {cause:7}  {what:13}  +{created} ~{replaced} -{deleted}  {bytes} bytes{metadata}",
        id.0,
        entry.revision,
        origin.written_at.to_string(),
    ));
}

/// Each image of each log, also those that cannot be used.
fn images(disk: &Arc<FileDisk>, is_json: bool) -> Result<(), Failure> {
    let unreadable = |source| Failure::Backup { path: disk.directory().to_owned(), source };
    let (mut all, mut bad) = (Vec::new(), 0);
    for id in imaged_logs(&**disk).map_err(unreadable)? {
        // What cannot be used is in the list.
        let silent: Report = Arc::new(|_| {});
        let images = Images::look(Arc::clone(disk) as Arc<dyn Disk>, id, silent)?;
        let known = images.facts();
        for (name, revision) in image_names(&**disk, id).map_err(unreadable)? {
            let verdict = match revision {
                Some(revision) => images.verify(revision).map(drop).map_err(|error| error.to_string()),
                None => Err(format!("{name} has no revision for a name")),
            };
            // A server that holds the directory may have let go of it in the meantime.
            let is_there = |(there, _): &(String, Option<Revision>)| *there == name;
            if verdict.is_err() && !image_names(&**disk, id).map_err(unreadable)?.iter().any(is_there) {
                continue;
            }
            bad += usize::from(verdict.is_err());
            let verdict = verdict.err().unwrap_or_else(|| "good".to_owned());
            let facts = known.iter().find(|facts| Some(facts.revision) == revision);
            match is_json {
                true => all.push(image_json(id, &name, facts, &verdict)),
                false => output::line(&image_text(id, &name, facts, &verdict)),
            }
        }
    }
    if is_json {
        output::json(&Value::from(all));
    }
    match bad {
        0 => Ok(()),
        count => Err(Failure::DamagedImages { path: disk.directory().to_owned(), count }),
    }
}

fn image_json(id: LogId, name: &str, facts: Option<&ImageFacts>, verdict: &str) -> Value {
    let Some(facts) = facts else {
        return json!({ "log": id.0, "file": name, "verdict": verdict });
    };
    json!({
        "log": id.0, "file": name, "revision": facts.revision.0, "writtenAt": facts.written_at.to_string(),
        "relationships": facts.relationships, "fileBytes": facts.file_bytes,
        "chunksBytes": facts.chunks_bytes, "patches": facts.patches, "files": facts.files.len(),
        "verdict": verdict,
    })
}

fn image_text(id: LogId, name: &str, facts: Option<&ImageFacts>, verdict: &str) -> String {
    let Some(facts) = facts else {
        return match verdict.starts_with(name) {
            true => format!("log {}  {verdict}", id.0),
            false => format!("log {}  {name}: {verdict}", id.0),
        };
    };
    format!(
        "log {}  {:>8}  {:30}  {:>10} relationships  file {:>11} bytes, image {:>11} bytes in {} files, {} patches  {verdict}",
        id.0,
        facts.revision,
        facts.written_at.to_string(),
        facts.relationships,
        facts.file_bytes,
        facts.chunks_bytes,
        facts.files.len(),
        facts.patches,
    )
}
