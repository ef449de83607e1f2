//! A short text that a data directory keeps: lines with a checksum, replaced as a whole.
//!
//! ```text
//! TITLE FORMAT
//! NAME VALUE                          any number of fields
//! checksum 64 hexadecimal digits: BLAKE3 of the lines before
//! ```
//!
//! # Invariants
//! * After a crash there is the old text or the new one.
//! * No field is believed before the checksum is.

use std::io;

use idhini_changelog::disk::Disk;
use idhini_graph::Digest;

/// Such files are far shorter.
const BYTES_MAX: u64 = 4096;

/// Which file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SmallFile {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The format that is written, and the newest that is read.
    pub(crate) format: u32,
}

/// Why it cannot be read or written.
#[derive(Debug)]
pub(crate) enum Fault {
    NewerFormat { found: u32 },
    Damaged { what: &'static str },
    Disk(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Disk(error)
    }
}

impl SmallFile {
    /// The fields; `None` if there is no such file.
    pub(crate) fn read(&self, disk: &dyn Disk) -> Result<Option<String>, Fault> {
        let file = match disk.open(self.name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes_len = file.bytes_len()?;
        if bytes_len > BYTES_MAX {
            return Err(Fault::Damaged { what: "it is too long" });
        }
        let mut bytes = vec![0; usize::try_from(bytes_len).unwrap_or_default()];
        let read = file.read_at(0, &mut bytes)?;
        let text = bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.checked(text.ok_or(Fault::Damaged { what: "it is not text" })?).map(Some)
    }

    /// Replaces it by one with these fields, a line each; durable on return. If it fails, what was there before still is.
    pub(crate) fn write(&self, disk: &dyn Disk, fields: &str) -> io::Result<()> {
        let unfinished = format!("{}.unfinished", self.name);
        match disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut text = format!("{} {}\n{fields}", self.title, self.format);
        text.push_str(&format!("checksum {}\n", Digest::of(text.as_bytes())));
        let file = disk.create(&unfinished)?;
        file.write_at(0, text.as_bytes())?;
        file.sync()?;
        disk.rename(&unfinished, self.name)?;
        disk.sync_directory("")
    }

    fn checked(&self, text: &str) -> Result<String, Fault> {
        let damaged = |what| Fault::Damaged { what };
        let first = text.lines().next().and_then(|line| line.strip_prefix(self.title)?.strip_prefix(' '));
        let format = first.and_then(|format| format.parse().ok()).ok_or(damaged("its first line"))?;
        if format > self.format {
            return Err(Fault::NewerFormat { found: format });
        }
        let checked = text.rfind("checksum ").ok_or(damaged("it has no checksum"))?;
        let (lines, checksum) = text.split_at(checked);
        if checksum != format!("checksum {}\n", Digest::of(lines.as_bytes())) {
            return Err(damaged("its checksum does not fit"));
        }
        Ok(lines.to_owned())
    }
}

/// A field's value.
pub(crate) fn field<'f>(fields: &'f str, name: &str) -> Option<&'f str> {
    fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}
