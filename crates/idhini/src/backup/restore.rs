//! A new data directory from a backup, of which nothing is changed.
//!
//! # Invariants
//! * What was restored in part is no data directory.
//! * Every restore begins a timeline of its own: two of one backup are two histories.

use std::path::Path;
use std::sync::Arc;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Options as LogOptions;
use idhini_changelog::{EmbeddedStore, FileDisk, LogId, Store as _};
use idhini_replica::control::SYS_LOG;
use idhini_replica::{Identity, Images, Restored, Target};
use serde_json::json;

use super::facts::State;
use super::{Directory, is_empty};
use crate::arguments::{Restore, To};
use crate::entropy::random;
use crate::failure::Failure;
use crate::output::{self, Style};

/// Restores a backup.
pub(super) async fn run(restore: &Restore, is_json: bool, style: Style) -> Result<(), Failure> {
    let from = Directory::look(&restore.directory, style)?;
    if from.facts.state == State::Begun {
        output::notice(
            "the backup was begun and never finished: the newest in it is not what the server had",
            style,
        );
    }
    let logs = from.store.logs().await.map_err(Failure::Read)?;
    let target = target(restore, &from, &logs, style)?;
    if !matches!(target, Target::Revision(_)) {
        refuse_short(&restore.directory, &from).await?;
    }
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(&restore.data_dir)?);
    let unusable = |source| Failure::Backup { path: restore.data_dir.clone(), source };
    if !is_empty(&*disk).map_err(unusable)? {
        return Err(Failure::NotEmpty { path: restore.data_dir.clone() });
    }
    let store = EmbeddedStore::open(Arc::clone(&disk), &LogOptions::new(from.facts.store))?;
    let mut all = Vec::new();
    for id in logs {
        let old_images = Images::look(Arc::clone(&from.disk), id, Arc::clone(&from.report))?;
        let images = Images::open(Arc::clone(&disk), id, Arc::clone(&from.report))?;
        let new_log = store.log(id);
        let restored = idhini_replica::restore(
            (from.store.log(id), old_images),
            target_of(id, restore, target),
            (async |head| store.begin(id, head).await, &*new_log, &images),
            u64::from_be_bytes(random()?),
        );
        let Restored { revision, written_at } = restored.await?;
        let moment = written_at.map(|moment| moment.to_string());
        if !is_json {
            let of = moment.as_ref().map_or_else(String::new, |moment| format!(" of {moment}"));
            output::line(&format!("log {}  restored to revision {revision}{of}", id.0));
        }
        all.push(json!({ "log": id.0, "revision": revision.0, "writtenAt": moment }));
    }
    store.close().await.map_err(Failure::Read)?;
    // Last, so that what was restored in part is no data directory. Another history: revisions after this one will mean
    // something else than in the old one, and tokens of that one are told apart.
    let identity = Identity {
        store: from.facts.store,
        timeline: another(from.facts.timeline)?,
        key_id: u32::from_be_bytes(random()?),
        key: random()?,
    };
    identity.write(&*disk)?;
    if is_json {
        output::json(&json!({ "logs": all, "timeline": identity.timeline }));
    }
    Ok(())
}

/// Which revision is wanted.
fn target(restore: &Restore, from: &Directory, logs: &[LogId], style: Style) -> Result<Target, Failure> {
    match restore.to {
        None => Ok(Target::Newest),
        Some(To::Revision(revision)) => match logs.iter().filter(|id| **id != SYS_LOG).count() {
            0 | 1 => Ok(Target::Revision(revision)),
            namespaces => Err(Failure::RevisionOfMany { logs: namespaces }),
        },
        Some(To::Moment(asked)) => {
            match from.facts.contents().map(|contents| contents.taken) {
                Some(taken) if asked > taken => {
                    let path = restore.directory.clone();
                    return Err(Failure::AfterBackup { path, asked, taken });
                }
                Some(_) => {}
                None => output::notice("the backup does not say how far in time it reaches", style),
            }
            Ok(Target::Moment(asked))
        }
    }
}

/// The control plane does not go back unless that is asked for: a token that was revoked, or a lock, would be undone by
/// whoever restores yesterday's relationships. It never goes back to a revision, which is another namespace's.
fn target_of(id: LogId, restore: &Restore, target: Target) -> Target {
    match target {
        Target::Moment(_) if id == SYS_LOG && !restore.control_plane => Target::Newest,
        Target::Revision(_) if id == SYS_LOG => Target::Newest,
        target => target,
    }
}

/// Whoever wants the newest does not want what a damaged log still has.
async fn refuse_short(path: &Path, from: &Directory) -> Result<(), Failure> {
    for (id, (_, newest)) in from.facts.contents().into_iter().flat_map(|contents| &contents.logs) {
        let head = from.store.log(*id).head().await.map_err(Failure::Read)?;
        if head.revision < *newest {
            let (path, has, had) = (path.to_owned(), head.revision, *newest);
            return Err(Failure::CutShort { path, log: id.0, has, had });
        }
    }
    Ok(())
}

/// The number of a timeline that nobody else has: neither the old one, nor another restore of the same backup.
fn another(old: u32) -> Result<u32, Failure> {
    loop {
        let drawn = u32::from_be_bytes(random()?);
        if drawn != old && drawn != 0 {
            return Ok(drawn);
        }
    }
}
