//! What is in the files of a trail: all of them in order, a line at a time, also while a server writes to them.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file::{is_cut, number_of};
use crate::line::LINE_BYTES_MAX;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;
/// A line at the end that is being written is whole after a while.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often that is awaited.
const LOOKS: u32 = 20;

/// Why a trail cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct ReadError {
    /// Which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A file of a trail.
#[derive(Debug)]
pub(crate) struct TrailFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// A line of one.
#[derive(Debug)]
pub(crate) struct Line<'l> {
    /// From 1 on.
    pub(crate) number: u64,
    /// Without its end. One that is too long is cut.
    pub(crate) bytes: &'l [u8],
    pub(crate) has_end: bool,
}

/// The files of a directory, the oldest first.
pub(crate) fn files(directory: &Path) -> Result<Vec<TrailFile>, ReadError> {
    named(directory, |name| number_of(name).is_some())
}

/// Those that hold what was cut off.
pub(crate) fn cuts(directory: &Path) -> Result<Vec<TrailFile>, ReadError> {
    named(directory, is_cut)
}

/// The beginning of a file, as long as a line and its end may be at most.
pub(crate) fn beginning(file: &TrailFile) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError { path: file.path.clone(), source };
    let opened = File::open(&file.path).map_err(failed)?;
    let mut bytes = Vec::new();
    opened.take(LINE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn named(directory: &Path, is_one: impl Fn(&str) -> bool) -> Result<Vec<TrailFile>, ReadError> {
    let failed = |source| ReadError { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_one(&name) {
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            files.push(TrailFile { name, path: entry.path(), bytes });
        }
    }
    files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Reads a file until it ends or `each` says that it is enough; answers whether it ended. One that a server has removed
/// meanwhile is empty.
pub(crate) fn lines(
    file: &TrailFile,
    is_last: bool,
    mut each: impl FnMut(Line<'_>) -> bool,
) -> Result<bool, ReadError> {
    let failed = |source| ReadError { path: file.path.clone(), source };
    let opened = match File::open(&file.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened.map_err(failed)?,
    };
    let mut reader = BufReader::with_capacity(READ_BYTES, opened);
    let (mut line, mut number, mut looks) = (Vec::new(), 0, 0);
    loop {
        let portion = reader.fill_buf().map_err(failed)?;
        if portion.is_empty() {
            // The end of the last file may be half a line, if it is being written.
            if line.is_empty() || !is_last || looks == LOOKS {
                break;
            }
            looks += 1;
            std::thread::sleep(PATIENCE);
            continue;
        }
        let end = portion.iter().position(|byte| *byte == b'\n');
        let taken = portion.get(..end.unwrap_or(portion.len())).unwrap_or_default();
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend(taken.iter().take(room));
        let used = taken.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            number += 1;
            if !each(Line { number, bytes: &line, has_end: true }) {
                return Ok(false);
            }
            line.clear();
        }
    }
    Ok(line.is_empty() || each(Line { number: number + 1, bytes: &line, has_end: false }))
}
