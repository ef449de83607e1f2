//! What a disk does for us, no more: the seam at which tests cut, tear, fill and fail it.
//!
//! Paths are relative to the data directory, with `/` between their parts. Calls block; whoever may not block hands
//! them to a thread that may.
//!
//! # What is promised
//! * [`DiskFile::sync`] makes the file's bytes and its length durable; nothing else does.
//! * A name that was created, renamed or removed is durable when its directory was synced after that.
//! * What was written and not synced may be there in part, in any order, or not at all after a crash.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Files under one directory, which is held for as long as this lives.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not there, and whatever the disk says.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file that is not there yet, and the directories above it.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], and whatever the disk says.
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names in a directory, files and directories, sorted; none if it is not there.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Renames a file, over another if there is one, in one step.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable, and those of the directories above it.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;

    /// Removes a directory of which all files were removed, and makes that durable; nothing if there is none. Where
    /// directories are but the beginnings of names, there is nothing else to remove.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove_directory(&self, directory: &str) -> io::Result<()> {
        self.sync_directory(directory)
    }
}

/// A file that is open.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn bytes_len(&self) -> io::Result<u64>;

    /// Reads from `offset` on until `into` is full or the file ends; returns how many bytes were read.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. When it fails, any part of them may have been written.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], and whatever the disk says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file at least this long, its new bytes zero, with room for them on the disk.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], and whatever the disk says.
    fn allocate(&self, bytes_len: u64) -> io::Result<()>;

    /// Makes the file this long.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn set_bytes_len(&self, bytes_len: u64) -> io::Result<()>;

    /// Makes bytes and length durable. After a failure, what was written since the last success may never become so:
    /// it must not be tried again on this file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync(&self) -> io::Result<()>;
}
