//! The bytes of an image's file: chunks one after the other, then the tail, then the sync.

use std::io;
use std::sync::Arc;

use idhini_changelog::disk::DiskFile;
use idhini_graph::Digest;

use super::{FORMAT, MAGIC};
use crate::broken::{Variant, is_broken};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// So many bytes from there, or an error: never more than the file has.
pub(super) fn read_exactly(file: &dyn DiskFile, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let ends_too_soon = || io::Error::from(io::ErrorKind::UnexpectedEof);
    if offset.checked_add(bytes).is_none_or(|end| file.bytes_len().is_ok_and(|have| end > have)) {
        return Err(ends_too_soon());
    }
    let mut into = vec![0; usize::try_from(bytes).map_err(|_| ends_too_soon())?];
    match file.read_at(offset, &mut into)? {
        read if read == into.len() => Ok(into),
        _ => Err(ends_too_soon()),
    }
}

/// A file of chunks being written.
pub(super) struct Pack {
    file: Arc<dyn DiskFile>,
    /// Where the next byte goes, and what is gathered before that.
    pub(super) at: u64,
    gathered: Vec<u8>,
}

impl Pack {
    pub(super) fn begin(file: Arc<dyn DiskFile>) -> io::Result<Pack> {
        let mut pack = Pack { file, at: 0, gathered: Vec::new() };
        pack.put(MAGIC)?;
        pack.put(&FORMAT.to_le_bytes())?;
        Ok(pack)
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
        if self.gathered.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.at - self.gathered.len() as u64, &self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    /// Returns the file's length.
    pub(super) fn finish(&mut self, tail: &[u8]) -> io::Result<u64> {
        self.put(tail)?;
        self.put(&(tail.len() as u64).to_le_bytes())?;
        self.put(&Digest::of(tail).0)?;
        self.flush()?;
        if !is_broken(Variant::NamesImagesUnsynced) {
            self.file.sync()?;
        }
        Ok(self.at)
    }
}
