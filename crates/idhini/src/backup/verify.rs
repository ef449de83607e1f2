//! Is a backup good? Looks at everything that is in it, and at what it says is in it; changes nothing.
//!
//! Cost: reads everything once; an image that is not good a second time.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use idhini_changelog::{LogId, Store as _};
use idhini_model::Revision;
use idhini_replica::{Images, Report, Verified};
use serde_json::{Value, json};

use super::Directory;
use super::facts::State;
use crate::failure::Failure;
use crate::files::{image_names, imaged_logs};
use crate::output::{self, Style};

/// Verifies a backup, and names all that is not good.
pub(super) async fn run(path: &Path, is_json: bool, style: Style) -> Result<(), Failure> {
    let directory = Directory::look(path, style)?;
    let unusable = |source| Failure::Backup { path: path.to_owned(), source };
    let (mut good, mut faults): (Vec<Value>, Vec<(Option<LogId>, String)>) = (Vec::new(), Vec::new());
    if directory.facts.state == State::Begun {
        faults.push((None, "it was begun and never finished".to_owned()));
    }
    let mut logs: BTreeSet<LogId> =
        directory.store.logs().await.map_err(Failure::Read)?.into_iter().collect();
    logs.extend(imaged_logs(&*directory.disk).map_err(unusable)?);
    logs.extend(directory.facts.contents().into_iter().flat_map(|contents| contents.logs.keys()));
    for id in logs {
        let (verified, found) = verify_log(&directory, id, path).await?;
        if let Some(verified) = verified.filter(|_| found.is_empty()) {
            if !is_json {
                output::line(&text_of(id, &verified));
            }
            good.push(json_of(id, &verified));
        }
        faults.extend(found.into_iter().map(|fault| (Some(id), fault)));
    }
    let taken = directory.facts.contents().map(|contents| contents.taken.to_string());
    if is_json {
        let faults = faults.iter().map(|(log, what)| json!({ "log": log.map(|log| log.0), "fault": what }));
        output::json(&json!({ "logs": good, "taken": taken, "faults": faults.collect::<Vec<_>>() }));
    } else {
        for (log, what) in &faults {
            let of = log.map_or_else(String::new, |log| format!("log {}  ", log.0));
            output::line(&format!("{of}not good: {what}"));
        }
        if good.is_empty() && faults.is_empty() {
            output::line("good, and empty");
        }
        if let Some(taken) = taken {
            output::line(&format!("has what was acknowledged until {taken}"));
        }
    }
    let more = faults.len().saturating_sub(1);
    match faults.into_iter().next() {
        None => Ok(()),
        Some((_, first)) => Err(Failure::Faulty { path: path.to_owned(), first, more }),
    }
}

/// What is good of a log and its images, and all that is not.
async fn verify_log(
    directory: &Directory,
    id: LogId,
    path: &Path,
) -> Result<(Option<Verified>, Vec<String>), Failure> {
    let log = directory.store.log(id);
    let mut faults = Vec::new();
    match log.head().await {
        Ok(head) => faults.extend(
            directory.facts.contents().and_then(|contents| contents.shortage(id, head.oldest, head.revision)),
        ),
        Err(error) => return Ok((None, vec![error.to_string()])),
    }
    // What cannot be used is named among the faults.
    let silent: Report = Arc::new(|_| {});
    let images = Images::look(Arc::clone(&directory.disk), id, silent)?;
    let verified = idhini_replica::verify(&*log, &images).await;
    let reached = verified.as_ref().ok().map(|verified| verified.oldest..=verified.newest);
    let opened = |at: Revision| reached.as_ref().is_some_and(|reached| reached.contains(&at));
    let of_images = image_faults(directory, id, &images, opened);
    let of_images = of_images.map_err(|source| Failure::Backup { path: path.to_owned(), source })?;
    let verified = match verified {
        Ok(verified) => Some(verified),
        Err(error) => {
            let error = error.to_string();
            if !of_images.contains(&error) {
                faults.push(error);
            }
            None
        }
    };
    faults.extend(of_images);
    Ok((verified, faults))
}

/// Images that cannot be used, and those that should be there and are not. What was opened already is good but for its
/// end, which those that open it do not miss.
fn image_faults(
    directory: &Directory,
    id: LogId,
    images: &Images,
    opened: impl Fn(Revision) -> bool,
) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut there = BTreeSet::new();
    for (name, revision) in image_names(&*directory.disk, id)? {
        let Some(revision) = revision else {
            faults.push(format!("{name} has no revision for a name"));
            continue;
        };
        there.insert(revision);
        let looked = match opened(revision) {
            true => images.manifest(revision).map(drop),
            false => images.verify(revision).map(drop),
        };
        faults.extend(looked.err().map(|error| error.to_string()));
    }
    let named = directory.facts.contents().into_iter().flat_map(|contents| &contents.images);
    for (_, revision) in named.filter(|(log, revision)| *log == id && !there.contains(revision)) {
        faults.push(format!("the image of revision {revision} is missing"));
    }
    Ok(faults)
}

fn text_of(id: LogId, verified: &Verified) -> String {
    let Verified { oldest, newest, written_at, entries, images, relationships } = verified;
    format!(
        "log {}  good from revision {oldest} to {newest} of {written_at}: {entries} entries, {images} images, {relationships} relationships",
        id.0
    )
}

fn json_of(id: LogId, verified: &Verified) -> Value {
    let Verified { oldest, newest, written_at, entries, images, relationships } = verified;
    json!({
        "log": id.0, "oldest": oldest.0, "newest": newest.0, "writtenAt": written_at.to_string(),
        "entries": entries, "images": images, "relationships": relationships,
    })
}
