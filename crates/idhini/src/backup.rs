//! Backups: taken from a running server, checked, and gone back to.
//!
//! A backup is a directory kept like a server's own: logs and images, without the identity that would make it a data
//! directory, and without the key that seals tokens. Taking one again adds what has come since.

mod facts;
mod restore;
mod verify;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{Batch, Changelog, EmbeddedStore, FileDisk, LogId, Record, Store, Writer};
use idhini_graph::Manifest;
use idhini_model::{Revision, Timestamp};
use idhini_replica::{Images, Report};
use idhini_wire::idhini::admin::v1;
use serde_json::json;

use self::facts::{Contents, FACTS_UNFINISHED, Facts, State};
use crate::arguments::{Backup, BackupCommand, Connection, Restore};
use crate::client::Server;
use crate::entropy::random;
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::progress::bar;

/// Entries appended to the backup together, in bytes.
const APPENDED_BYTES: usize = 4 << 20;
/// Chunks of an image asked for in one call.
const CHUNKS_ASKED: usize = 4096;
/// Chunks that wait to be written.
const CHUNKS_WAITING: usize = 16;

/// A backup's directory, open.
struct Directory {
    disk: Arc<dyn Disk>,
    store: Arc<EmbeddedStore>,
    facts: Facts,
    report: Report,
}

/// Runs a command about backups.
pub(crate) fn run(connection: &Connection, backup: &Backup, style: Style) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match (&backup.command, &backup.directory) {
            (Some(BackupCommand::Verify { directory }), _) => {
                verify::run(directory, connection.json, style).await
            }
            (None, Some(directory)) => take(connection, directory, style).await,
            // The command line asks for one of them.
            (None, None) => Ok(()),
        }
    })
}

/// Restores a backup to a new data directory.
pub(crate) fn restore(restore: &Restore, json: bool, style: Style) -> Result<(), Failure> {
    runtime()?.block_on(restore::run(restore, json, style))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "a runtime", source })
}

impl Directory {
    /// Looks at a backup; nothing of it is changed.
    fn look(path: &Path, style: Style) -> Result<Directory, Failure> {
        let disk: Arc<dyn Disk> = Arc::new(FileDisk::look(path));
        let unusable = |source| Failure::Backup { path: path.to_owned(), source };
        let found = if path.is_dir() { Facts::read(&*disk).map_err(unusable)? } else { None };
        let facts = found.ok_or_else(|| Failure::NoBackup { path: path.to_owned() })?;
        Directory::of(disk, facts, style)
    }

    /// Opens a backup of this store and timeline to add to it, or begins one in an empty directory.
    fn open(path: &Path, new: Facts, style: Style) -> Result<Directory, Failure> {
        let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(path)?);
        let unusable = |source| Failure::Backup { path: path.to_owned(), source };
        let facts = match Facts::read(&*disk).map_err(unusable)? {
            Some(found) if (found.store, found.timeline) != (new.store, new.timeline) => {
                return Err(Failure::OtherBackup { path: path.to_owned() });
            }
            Some(found) => found,
            None if is_empty(&*disk).map_err(unusable)? => {
                new.write(&*disk).map_err(unusable)?;
                new
            }
            None => return Err(Failure::NoBackup { path: path.to_owned() }),
        };
        Directory::of(disk, facts, style)
    }

    fn of(disk: Arc<dyn Disk>, facts: Facts, style: Style) -> Result<Directory, Failure> {
        // An open that is followed by no write writes nothing.
        let store = Arc::new(EmbeddedStore::open(Arc::clone(&disk), &LogOptions::new(facts.store))?);
        let report: Report = Arc::new(move |text| output::notice(text, style));
        Ok(Directory { disk, store, facts, report })
    }

    /// The images of a log, to be added to.
    fn images(&self, log: LogId) -> Result<Images, Failure> {
        Ok(Images::open(Arc::clone(&self.disk), log, Arc::clone(&self.report))?)
    }

    /// Says in the backup what is in it now, and was before: what is lost in the meantime stays missing.
    async fn finish(mut self, taken: Timestamp, path: &Path) -> Result<(), Failure> {
        let (mut logs, mut images) = match self.facts.contents() {
            Some(before) => (before.logs.clone(), before.images.clone()),
            None => Default::default(),
        };
        for id in self.store.logs().await.map_err(Failure::Read)? {
            let head = self.store.log(id).head().await.map_err(Failure::Read)?;
            let (oldest, newest) = logs.entry(id).or_insert((head.oldest, head.revision));
            (*oldest, *newest) = ((*oldest).min(head.oldest), (*newest).max(head.revision));
            images.extend(self.images(id)?.facts().iter().map(|facts| (id, facts.revision)));
        }
        self.store.close().await.map_err(Failure::Read)?;
        self.facts.state = State::Finished(Contents { taken, logs, images });
        self.facts.write(&*self.disk).map_err(|source| Failure::Backup { path: path.to_owned(), source })
    }
}

fn is_empty(disk: &dyn Disk) -> io::Result<bool> {
    // The lock is the directory's own.
    Ok(disk.list("")?.iter().all(|name| name == "lock" || name == FACTS_UNFINISHED))
}

/// Adds to a backup what a server has and it has not.
async fn take(connection: &Connection, path: &Path, style: Style) -> Result<(), Failure> {
    let server = Server::connect(connection).await?.about_all();
    let described = server.admin().describe(server.request(v1::DescribeRequest {})).await?.into_inner();
    let moment = Timestamp::new(described.now_seconds, i64::from(described.now_nanos))
        .map_err(|_| Failure::Answer { missing: "moment" })?;
    let facts = Facts { store: described.store, timeline: described.timeline, state: State::Begun };
    let directory = Directory::open(path, facts, style)?;
    refuse_other_history(&server, &directory, &described.logs, path).await?;
    let mut taken = Vec::new();
    for log in &described.logs {
        let (entries, image_bytes) = take_log(&server, &directory, log, path, style).await?;
        taken.push(json!({
            "log": log.id, "revision": log.head, "newEntries": entries, "newImageBytes": image_bytes,
        }));
        if !connection.json {
            output::line(&format!(
                "log {}  revision {}  {entries} new entries  {image_bytes} bytes of images",
                log.id, log.head
            ));
        }
    }
    directory.finish(moment, path).await?;
    if connection.json {
        output::json(&json!({ "logs": taken, "taken": moment.to_string() }));
    }
    Ok(())
}

/// Nothing is added to a backup whose end the server does not have: a server's directory may have been copied, or put
/// back to an earlier state, without a restore that begins another timeline.
async fn refuse_other_history(
    server: &Server,
    directory: &Directory,
    there: &[v1::Log],
    path: &Path,
) -> Result<(), Failure> {
    for id in directory.store.logs().await.map_err(Failure::Read)? {
        let log = directory.store.log(id);
        let head = log.head().await.map_err(Failure::Read)?;
        let there = there.iter().find(|log| log.id == id.0);
        let (oldest, last) = there.map_or((1, 0), |log| (log.oldest, log.head));
        if last < head.revision.0 {
            let (path, has) = (path.to_owned(), head.revision);
            return Err(Failure::BackupAhead { path, has, head: Revision(last) });
        }
        // Where either of them has the entry no more, there is nothing to compare.
        if head.oldest > head.revision || oldest > head.revision.0 {
            continue;
        }
        let before = Revision(head.revision.0 - 1);
        let own = log.read(before, 1).await.map_err(Failure::Read)?;
        let own = own.first().map(|stored| &stored.record.chunks);
        if own != Some(&entry_of(server, id, head.revision).await?) {
            return Err(Failure::OtherHistory { path: path.to_owned(), at: head.revision });
        }
    }
    Ok(())
}

/// The chunks of an entry that the server has.
async fn entry_of(server: &Server, id: LogId, revision: Revision) -> Result<Vec<Bytes>, Failure> {
    let request = v1::ReadEntriesRequest { log: id.0, after: revision.0 - 1, last: revision.0 };
    let mut answers = server.admin().read_entries(server.request(request)).await?.into_inner();
    let mut chunks = Vec::new();
    while let Some(message) = answers.message().await? {
        chunks.extend(message.chunks.into_iter().map(|chunk| Bytes::from(chunk.bytes)));
    }
    Ok(chunks)
}

async fn take_log(
    server: &Server,
    directory: &Directory,
    there: &v1::Log,
    path: &Path,
    style: Style,
) -> Result<(u64, u64), Failure> {
    let id = LogId(there.id);
    let log = directory.store.log(id);
    let mut head = log.head().await.map_err(Failure::Read)?.revision;
    if head == Revision(0) && there.oldest > 1 {
        head = Revision(there.oldest - 1);
        directory.store.begin(id, head).await.map_err(Failure::Read)?;
    } else if head.0 + 1 < there.oldest {
        return Err(Failure::BackupTooOld {
            path: path.to_owned(),
            has: head,
            oldest: Revision(there.oldest),
        });
    }
    // An image first: without one, a log that does not begin at the beginning leads nowhere.
    let (image_bytes, imaged) = take_image(server, directory, id, style).await?;
    // One that came after the server was asked how far it is leads nowhere without the entries up to it.
    let last = Revision(there.head).max(imaged);
    let entries = take_entries(server, &*log, id, head, last, style).await?;
    Ok((entries, image_bytes))
}

async fn take_entries(
    server: &Server,
    log: &dyn Changelog,
    id: LogId,
    mut head: Revision,
    last: Revision,
    style: Style,
) -> Result<u64, Failure> {
    if head >= last {
        return Ok(0);
    }
    let progress = bar(last.0 - head.0, style);
    progress.set_message("entries");
    let first = head;
    let request = v1::ReadEntriesRequest { log: id.0, after: head.0, last: last.0 };
    let mut answers = server.admin().read_entries(server.request(request)).await?.into_inner();
    let mut writer = Writer { id: u64::from_be_bytes(random()?), sequence: 0 };
    let (mut records, mut bytes, mut chunks) = (Vec::new(), 0, Vec::new());
    loop {
        let message = answers.message().await?;
        let is_end = message.is_none();
        for chunk in message.into_iter().flat_map(|message| message.chunks) {
            if chunk.revision != head.0 + records.len() as u64 + 1 {
                return Err(Failure::Answer { missing: "entry in its order" });
            }
            bytes += chunk.bytes.len();
            chunks.push(Bytes::from(chunk.bytes));
            if chunk.is_last {
                records.push(Record { chunks: std::mem::take(&mut chunks) });
            }
        }
        if !records.is_empty() && (is_end || bytes >= APPENDED_BYTES) {
            writer.sequence += 1;
            bytes = 0;
            head = log.append(head, Batch { writer, records: std::mem::take(&mut records) }).await?;
            progress.set_position(head.0 - first.0);
        }
        if is_end {
            break;
        }
    }
    progress.finish_and_clear();
    if head < last {
        return Err(Failure::Answer { missing: "last entries" });
    }
    Ok(head.0 - first.0)
}

/// Copies the newest image, as far as its chunks are not in the backup; returns how many bytes that took, and the image's
/// revision, 0 if there was nothing to copy.
async fn take_image(
    server: &Server,
    directory: &Directory,
    id: LogId,
    style: Style,
) -> Result<(u64, Revision), Failure> {
    let request = server.request(v1::ReadImageRequest { log: id.0 });
    let found = server.admin().read_image(request).await?.into_inner();
    if found.manifest.is_empty() {
        return Ok((0, Revision(0)));
    }
    let manifest =
        Manifest::from_bytes(&found.manifest).map_err(|_| Failure::Answer { missing: "readable image" })?;
    let images = directory.images(id)?;
    if images.facts().iter().any(|facts| facts.revision >= manifest.revision()) {
        return Ok((0, Revision(0)));
    }
    let written_at = Timestamp::new(found.written_at_seconds, i64::from(found.written_at_nanos))
        .map_err(|_| Failure::Answer { missing: "moment of its image" })?;
    let has = images.has(&manifest)?;
    let mut asked = std::collections::HashSet::new();
    let missing: Vec<(u32, u64)> = (0u32..)
        .zip(manifest.chunks())
        .zip(has)
        .filter(|((_, chunk), has)| !has && asked.insert(chunk.digest))
        .map(|((place, chunk), _)| (place, chunk.bytes))
        .collect();
    let bytes = missing.iter().map(|(_, bytes)| bytes).sum();
    let progress = bar(bytes, style);
    progress.set_message("image");
    let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(CHUNKS_WAITING);
    let revision = manifest.revision();
    let adopting = tokio::task::spawn_blocking(move || {
        images.adopt(&manifest, written_at, || {
            receiver.recv().map_err(|_| io::Error::other("the server sent fewer chunks than the image has"))
        })
    });
    for asked in missing.chunks(CHUNKS_ASKED) {
        let places = asked.iter().map(|(place, _)| *place).collect();
        let request = v1::ReadChunksRequest { log: id.0, revision: revision.0, places };
        let mut answers = server.admin().read_chunks(server.request(request)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            progress.inc(answer.chunk.len() as u64);
            let sender = sender.clone();
            // Waiting for the disk must not hold up the connection.
            let sent = tokio::task::spawn_blocking(move || sender.send(answer.chunk).is_ok()).await;
            if !sent.unwrap_or(false) {
                break;
            }
        }
    }
    drop(sender);
    adopting.await.map_err(|_| Failure::Answer { missing: "image" })??;
    progress.finish_and_clear();
    Ok((bytes, revision))
}
