//! Backups taken while others write, and what is restored from them, in directories of the same disk: so a power cut
//! meets them too.
//!
//! What the command line does is done here without its connection: an image first, then the entries, log by log.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use idhini_changelog::disk::Disk;
use idhini_changelog::{Batch, EmbeddedStore, LogId, Record, Store, Writer};
use idhini_model::Revision;
use idhini_replica::{Identity, Images, MaintainError, Namespace, Node, Report, Target};

use super::compare::compare;
use super::model::Past;
use super::running::{Job, Running, Within, drive_one, open_store};
use super::world::{Answer, Copied, IDENTITY, LOGS, World};

const BACKUP: &str = "backup";
const RESTORED: &str = "restored";

/// Bytes of entries that are copied together.
const PORTION_BYTES: usize = 3_000;

/// Turns of the others before an image is written beside a backup.
const IMAGED_AFTER: usize = 3;

/// How a backup ended.
pub enum Copy {
    /// The revision of each log.
    Whole(BTreeMap<u64, u64>),
    /// The logs have been trimmed beyond its end.
    TooOld,
}

/// Adds to a backup what a node has and it has not.
async fn back_up(
    node: Arc<Node>,
    store: Arc<EmbeddedStore>,
    disk: Arc<dyn Disk>,
    report: Report,
    writer_id: u64,
) -> Result<Copy, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut heads = BTreeMap::new();
    let mut there = Vec::new();
    for id in node.store().logs().await.map_err(|error| text(&error))? {
        there.push((id, node.store().log(id).head().await.map_err(|error| text(&error))?));
    }
    let mut writer = Writer { id: writer_id, sequence: 0 };
    for (id, there) in there {
        let (from, to) = (node.store().log(id), store.log(id));
        let mut head = to.head().await.map_err(|error| text(&error))?.revision;
        if head == Revision(0) && there.oldest > Revision(1) {
            head = Revision(there.oldest.0 - 1);
            store.begin(id, head).await.map_err(|error| text(&error))?;
        } else if head.next() < there.oldest {
            return Ok(Copy::TooOld);
        }
        let namespace = node.namespace(id).await.map_err(|error| text(&error))?;
        let images =
            Images::open(Arc::clone(&disk), id, Arc::clone(&report)).map_err(|error| text(&error))?;
        let imaged = copy_image(namespace.images().ok_or("no images")?, &images)?;
        // One that came after the node was asked how far it is leads nowhere without the entries up to it.
        let last = there.revision.max(imaged);
        while head < last {
            let read = from.read(head, PORTION_BYTES).await.map_err(|error| text(&error))?;
            let read = read.into_iter().take_while(|stored| stored.revision <= last);
            let records: Vec<Record> = read.map(|stored| stored.record).collect();
            writer.sequence += 1;
            head = to.append(head, Batch { writer, records }).await.map_err(|error| text(&error))?;
        }
        heads.insert(id.0, last.0);
    }
    Ok(Copy::Whole(heads))
}

/// Copies the newest image, as far as its chunks are not there; returns its revision, 0 if there was nothing to copy.
fn copy_image(from: &Images, to: &Images) -> Result<Revision, String> {
    let Some(newest) = from.facts().pop() else { return Ok(Revision(0)) };
    let (manifest, written_at) = from.manifest(newest.revision).map_err(|error| error.to_string())?;
    if to.facts().iter().any(|facts| facts.revision >= manifest.revision()) {
        return Ok(Revision(0));
    }
    let has = to.has(&manifest).map_err(|error| error.to_string())?;
    let mut asked = HashSet::new();
    let missing = manifest.chunks().enumerate().zip(has);
    let missing = missing.filter(|((_, chunk), has)| !has && asked.insert(chunk.digest));
    let places: Vec<usize> = missing.map(|((place, _), _)| place).collect();
    let mut chunks = Vec::new();
    let each = |chunk| {
        chunks.push(chunk);
        true
    };
    from.chunks(newest.revision, &places, each).map_err(|error| error.to_string())?;
    let mut chunks = chunks.into_iter();
    let adopted =
        to.adopt(&manifest, written_at, || chunks.next().ok_or(io::ErrorKind::UnexpectedEof.into()));
    adopted.map_err(|error| error.to_string()).map(|()| newest.revision)
}

/// Copies of all logs of a backup, each to its target.
async fn restore(
    from: (Arc<EmbeddedStore>, Arc<dyn Disk>),
    to: (Arc<EmbeddedStore>, Arc<dyn Disk>),
    report: Report,
    targets: BTreeMap<u64, Target>,
    writer_id: u64,
) -> Result<Copy, String> {
    let mut heads = BTreeMap::new();
    for (log, target) in targets {
        let id = LogId(log);
        let open = |disk: &Arc<dyn Disk>| {
            Images::open(Arc::clone(disk), id, Arc::clone(&report)).map_err(|error| error.to_string())
        };
        let (old, new, new_log) = (open(&from.1)?, open(&to.1)?, to.0.log(id));
        let begin = async |head| to.0.begin(id, head).await;
        let restored =
            idhini_replica::restore((from.0.log(id), old), target, (begin, &*new_log, &new), writer_id).await;
        let restored = restored.map_err(|error| format!("log {log} to {target:?}: {error}"))?;
        heads.insert(log, restored.revision.0);
    }
    to.0.close().await.map_err(|error| error.to_string())?;
    IDENTITY.write(&*to.1).map_err(|error| error.to_string())?;
    Ok(Copy::Whole(heads))
}

/// When whoever else there is has begun.
async fn image_soon(namespace: &Arc<Namespace>) -> Result<(), MaintainError> {
    for _ in 0..IMAGED_AFTER {
        tokio::task::yield_now().await;
    }
    namespace.image().await
}

impl World {
    /// Takes a backup, or adds to it, while all namespaces are written and one is imaged.
    pub(super) fn back_up(&mut self) -> Result<(), String> {
        let changes = self.disk.changes();
        if self.model.is_discarding {
            if !self.clear(BACKUP) {
                return Ok(());
            }
            self.model.is_discarding = false;
            self.model.backups.clear();
        }
        let directory = Within::of(&self.disk, BACKUP);
        let (store, mut steps) = match open_store(&directory, 7) {
            Ok(opened) => opened,
            Err(_) if self.disk.failed_since(changes) => return Ok(()),
            Err(error) => return Err(format!("the backup cannot be opened: {error}")),
        };
        let Some(running) = &self.running else { return Ok(()) };
        let (node, report) = (Arc::clone(&running.node), self.surroundings.report());
        let copying = back_up(node, Arc::clone(&store), Arc::clone(&directory), report, self.rng.number());
        let job: Job<_> = Box::pin(async move { Answer::Copied(copying.await) });
        let clients = (1..=LOGS).map(|log| self.client(log, 3)).collect();
        let mut jobs = vec![job];
        // One of the namespaces writes an image meanwhile.
        let imaged = self.any_log();
        if let Some(namespace) = self.namespace(imaged)? {
            jobs.push(Box::pin(async move { Answer::Maintained(image_soon(&namespace).await) }));
        }
        let answers = self.run(jobs, clients, vec![&mut steps])?;
        let Some(Answer::Copied(answer)) = answers.into_iter().next() else { return Ok(()) };
        match answer {
            Ok(Copy::Whole(heads)) => {
                let closing: Job<_> = Box::pin(async move { store.close().await });
                let _ = drive_one(&self.runtime, vec![&mut steps], closing);
                let is_first = self.model.backups.first().is_none_or(|backup| backup.until != u64::MAX);
                self.count(if is_first { "backup" } else { "backup again" });
                let since = self.disk.changes();
                // The one before is good for as long as this one is not whole.
                self.model.backups.truncate(2);
                self.model.backups.insert(0, Copied { since, until: u64::MAX, heads });
            }
            Ok(Copy::TooOld) => {
                let until = self.disk.changes();
                self.model.backups.iter_mut().for_each(|backup| backup.until = backup.until.min(until));
                if self.model.backups.is_empty() {
                    // One that was never finished.
                    self.model.backups.push(Copied { since: u64::MAX, until, heads: BTreeMap::new() });
                }
                self.model.is_discarding = true;
                drop(steps);
                if self.clear(BACKUP) {
                    self.model.is_discarding = false;
                    self.count("backup too old");
                }
            }
            Err(_) if self.disk.failed_since(changes) => {}
            Err(what) => return Err(format!("no backup: {what}")),
        }
        Ok(())
    }

    /// Removes a directory with all that is in it, durably; whether that worked.
    fn clear(&self, directory: &'static str) -> bool {
        let mut paths = self.disk.paths();
        paths.retain(|path| path.starts_with(&format!("{directory}/")));
        // What says that it is whole goes first.
        let identity = format!("{directory}/identity");
        if paths.contains(&identity) && self.disk.remove(&identity).is_err() {
            return false;
        }
        paths.retain(|path| *path != identity);
        let sync = || self.disk.sync_directory(&format!("{directory}/log"));
        sync().is_ok() && paths.iter().all(|path| self.disk.remove(path).is_ok()) && sync().is_ok()
    }

    /// Restores the backup to another directory, looks at it, and removes it.
    pub(super) fn restore(&mut self) -> Result<(), String> {
        let changes = self.disk.changes();
        let Some(backup) = self.model.backups.first().filter(|backup| backup.until == u64::MAX).cloned()
        else {
            return Ok(());
        };
        if !self.clear_restored() {
            return Ok(());
        }
        let (from, to) = (Within::of(&self.disk, BACKUP), Within::of(&self.disk, RESTORED));
        let (Ok((old, mut old_steps)), Ok((new, mut new_steps))) = (open_store(&from, 7), open_store(&to, 7))
        else {
            let is_wrong = !self.disk.failed_since(changes);
            return if is_wrong { Err("the backup cannot be opened".to_owned()) } else { Ok(()) };
        };
        let mut targets = BTreeMap::new();
        for (log, head) in &backup.heads {
            let images = Images::open(Arc::clone(&from), LogId(*log), self.surroundings.report());
            let (of_log, Ok(images)) = (old.log(LogId(*log)), images) else { return Ok(()) };
            let verifying: Job<_> = Box::pin(async move { idhini_replica::verify(&*of_log, &images).await });
            let verified = match drive_one(&self.runtime, vec![&mut old_steps], verifying) {
                Ok(verified) => verified,
                Err(_) if self.disk.failed_since(changes) => return Ok(()),
                Err(error) => return Err(format!("the backup's log {log} is not good: {error}")),
            };
            let revisions = verified.oldest.0.max(1)..=*head;
            let any =
                revisions.start() + self.rng.below((revisions.end() - revisions.start() + 1) as usize) as u64;
            let target = if self.rng.chance(40) { Target::Newest } else { Target::Revision(Revision(any)) };
            targets.insert(*log, target);
        }
        // Requests to the node have nothing to do with it.
        let report = self.surroundings.report();
        let restoring = restore((old, from), (new, to), report, targets, self.rng.number());
        let job: Job<_> = Box::pin(restoring);
        let answer = drive_one(&self.runtime, vec![&mut old_steps, &mut new_steps], job);
        drop((old_steps, new_steps));
        match answer {
            Ok(Copy::Whole(heads)) => {
                self.count("restore");
                self.model.restored = Some(Copied { since: self.disk.changes(), until: u64::MAX, heads });
                match self.verify_restored() {
                    Err(_) if self.disk.failed_since(changes) => return Ok(()),
                    verified => verified?,
                }
                self.clear_restored();
                Ok(())
            }
            Ok(Copy::TooOld) => Ok(()),
            Err(_) if self.disk.failed_since(changes) => Ok(()),
            Err(what) => Err(format!("not restored: {what}")),
        }
    }

    fn clear_restored(&mut self) -> bool {
        if let Some(restored) = &mut self.model.restored {
            restored.until = restored.until.min(self.disk.changes());
        }
        self.clear(RESTORED)
    }

    /// The backup that was finished is good, whatever happened to the next.
    pub(super) fn verify_backup(&mut self) -> Result<(), String> {
        let Some(backup) = self.model.backups.first().filter(|backup| backup.until == u64::MAX).cloned()
        else {
            return Ok(());
        };
        let disk = Within::of(&self.disk, BACKUP);
        let (store, mut steps) = open_store(&disk, 7).map_err(|error| error.to_string())?;
        for (log, head) in &backup.heads {
            let open = || Images::open(Arc::clone(&disk), LogId(*log), self.surroundings.report());
            let images = open().map_err(|error| error.to_string())?;
            let of_log = store.log(LogId(*log));
            let verifying: Job<_> = Box::pin(async move { idhini_replica::verify(&*of_log, &images).await });
            let verified = drive_one(&self.runtime, vec![&mut steps], verifying);
            let verified = verified.map_err(|error| format!("log {log} is not good: {error}"))?;
            let past = Arc::clone(&self.model.pasts[log]);
            if verified.newest.0 < *head || verified.newest.0 > past.last().0 {
                return Err(format!("log {log} ends at {} and not {head}", verified.newest));
            }
            let images = open().map_err(|error| error.to_string())?;
            self.verify_copy(&past, verified.newest.0, (&store, &mut steps), *log, images)?;
        }
        Ok(())
    }

    /// What is restored is as it was, or it is no data directory.
    pub(super) fn verify_restored(&mut self) -> Result<(), String> {
        let Some(restored) = self.model.restored.clone().filter(|restored| restored.until == u64::MAX) else {
            return Ok(());
        };
        let disk = Within::of(&self.disk, RESTORED);
        match Identity::read(&*disk) {
            Ok(Some(found)) if found == IDENTITY => {}
            _ => return Ok(()),
        }
        let Running { store, mut steps, .. } =
            Running::open(&self.disk, &disk, &self.surroundings, 7).map_err(|error| error.to_string())?;
        for (log, head) in &restored.heads {
            let images = Images::open(Arc::clone(&disk), LogId(*log), self.surroundings.report());
            let images = images.map_err(|error| error.to_string())?;
            let past = Arc::clone(&self.model.pasts[log]);
            self.verify_copy(&past, *head, (&store, &mut steps), *log, images)?;
        }
        Ok(())
    }

    /// A copied namespace ends at this revision and is what it was.
    fn verify_copy(
        &self,
        past: &Past,
        head: u64,
        (store, steps): (&Arc<EmbeddedStore>, &mut idhini_changelog::embedded::Steps),
        log: u64,
        images: Images,
    ) -> Result<(), String> {
        let (of_log, clock) = (store.log(LogId(log)), Arc::new(|| idhini_model::Timestamp::from_seconds(0)));
        let opening: Job<_> = Box::pin(Namespace::open(
            of_log,
            Some(images.up_to(Revision(head))),
            clock,
            idhini_replica::Options::default(),
        ));
        let opened = drive_one(&self.runtime, vec![steps], opening);
        let namespace = opened.map_err(|error| format!("log {log}: {error}"))?;
        let found = namespace.head();
        if found.revision().0 != head {
            return Err(format!("log {log} is at {} instead of {head}", found.revision()));
        }
        let made = past.at(head).ok_or("no such revision")?;
        compare(&found, &made.state).map_err(|what| format!("log {log}: {what}"))
    }
}
