//! Files that a person names: texts, and schemas with what they import. And the images of a directory, by their names.
//!
//! # Invariants
//! * Nothing outside the first schema's folder is read, links included.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use idhini_changelog::LogId;
use idhini_changelog::disk::Disk;
use idhini_model::Revision;
use idhini_schema::{SCHEMA_BYTES_MAX, Schema};

use crate::failure::Failure;

/// Stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Where the images of logs are, and what their names end with.
const IMAGES: &str = "images";
const IMAGE_SUFFIX: &str = ".image";

/// A file's text, or standard input's for `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { path: PathBuf::from(path), source };
    if path.as_os_str() != STANDARD_INPUT {
        return std::fs::read_to_string(path).map_err(failed);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// A schema's text, checked; one that imports others becomes one text.
pub(crate) fn read_schema(path: &Path) -> Result<String, Failure> {
    let text = read_text(path)?;
    let is_file = path.as_os_str() != STANDARD_INPUT;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut imported = false;
    let mut load = |relative: &str| {
        imported = true;
        if is_file { read_import(folder, relative) } else { Err("standard input has no folder".to_owned()) }
    };
    let schema = Schema::parse_with_imports(&path.to_string_lossy(), &text, &mut load)?;
    Ok(if imported { schema.canonical_text() } else { text })
}

fn read_import(folder: &Path, relative: &str) -> Result<String, String> {
    let say = |error: std::io::Error| error.to_string();
    let folder = folder.canonicalize().map_err(say)?;
    let file = folder.join(relative).canonicalize().map_err(say)?;
    if !file.starts_with(&folder) {
        return Err("it leads out of the first file's folder".to_owned());
    }
    let length = file.metadata().map_err(say)?.len();
    if usize::try_from(length).unwrap_or(usize::MAX) > SCHEMA_BYTES_MAX {
        return Err(format!("it has {length} bytes; a schema has at most {SCHEMA_BYTES_MAX}"));
    }
    std::fs::read_to_string(file).map_err(say)
}

/// The logs that have images, or had.
pub(crate) fn imaged_logs(disk: &dyn Disk) -> std::io::Result<Vec<LogId>> {
    let ids = disk.list(IMAGES)?.into_iter().filter_map(|name| u64::from_str_radix(&name, 16).ok());
    Ok(ids.map(LogId).collect())
}

/// All files that are called images of a log, whether they can be used or not, and the revisions that they are named by.
pub(crate) fn image_names(disk: &dyn Disk, log: LogId) -> std::io::Result<Vec<(String, Option<Revision>)>> {
    let directory = format!("{IMAGES}/{:016x}", log.0);
    let mut found = Vec::new();
    for name in disk.list(&directory)? {
        if let Some(number) = name.strip_suffix(IMAGE_SUFFIX) {
            found.push((format!("{directory}/{name}"), number.parse().ok().map(Revision)));
        }
    }
    Ok(found)
}
