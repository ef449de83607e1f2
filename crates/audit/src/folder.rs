//! What a directory of files does for a trail, no more: the seam at which tests cut, fill and fail it.
//!
//! # What is promised
//! * [`FolderFile::sync`] makes the file's bytes and its length durable.
//! * A name that was created or removed is durable when [`Folder::sync_names`] was called after that.
//! * [`FolderFile::reserve`] sees to it that so many bytes can be written without the disk being found full; the file is no
//!   longer for it. Where the file system cannot promise it, nothing is promised: a full disk then shows in a write.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory.
pub(crate) trait Folder: Send + fmt::Debug {
    /// The names in it, sorted.
    fn names(&self) -> io::Result<Vec<String>>;
    fn open(&self, name: &str) -> io::Result<Box<dyn FolderFile>>;
    /// Fails if it is there already.
    fn create(&self, name: &str) -> io::Result<Box<dyn FolderFile>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that is open for reading and writing.
pub(crate) trait FolderFile: Send + fmt::Debug {
    fn bytes_len(&self) -> io::Result<u64>;
    /// Reads until `into` is full or the file ends.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of it, or fails and may have written any part.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Room up to here.
    fn reserve(&self, bytes_len: u64) -> io::Result<()>;
    /// Makes it this long, and gives back the room beyond.
    fn set_bytes_len(&self, bytes_len: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// A real one, made if it is not there.
#[derive(Debug)]
pub(crate) struct RealFolder {
    directory: PathBuf,
}

impl RealFolder {
    pub(crate) fn new(directory: PathBuf) -> RealFolder {
        RealFolder { directory }
    }

    fn make(&self) -> io::Result<()> {
        match self.directory.is_dir() {
            true => Ok(()),
            false => DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.directory),
        }
    }
}

impl Folder for RealFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        self.make()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn FolderFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.directory.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn FolderFile>> {
        self.make()?;
        let path = self.directory.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()?;
        match self.directory.parent() {
            Some(above) if !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct RealFile(File);

impl FolderFile for RealFile {
    fn bytes_len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn reserve(&self, bytes_len: u64) -> io::Result<()> {
        if bytes_len == 0 {
            return Ok(());
        }
        let keep = FallocateFlags::KEEP_SIZE;
        match rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.0, keep, 0, bytes_len)) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_bytes_len(&self, bytes_len: u64) -> io::Result<()> {
        self.0.set_len(bytes_len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
