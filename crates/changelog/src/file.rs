//! A disk of real files under one directory, held by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::disk::{Disk, DiskFile};

/// Held for as long as a process has the directory; says which process that is.
const LOCK_NAME: &str = "lock";

/// What is stored, and the key that seals tokens, is its owner's business only.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Bytes of the lock file that are read: a process id has fewer.
const PID_BYTES_MAX: u64 = 32;

/// Files under a directory.
#[derive(Debug)]
pub struct FileDisk {
    directory: PathBuf,
    /// `None` if this only looks.
    lock: Option<File>,
}

#[derive(Debug)]
struct RealFile {
    file: File,
    may_write: bool,
}

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process has it.
    #[error(
        "{} is held by {}; stop that process, or choose another directory",
        .directory.display(),
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held {
        /// Which directory.
        directory: PathBuf,
        /// Who holds it, if that could be read.
        pid: Option<u32>,
    },
    /// It cannot be made, read or locked.
    #[error("{} cannot be used: {source}", .directory.display())]
    Unusable {
        /// Which directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileDisk {
    /// Takes a directory, making it if it is not there, for as long as this lives.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<FileDisk, DirectoryError> {
        let directory = directory.into();
        let unusable = |source| DirectoryError::Unusable { directory: directory.clone(), source };
        make_directories(&directory).map_err(unusable)?;
        let path = directory.join(LOCK_NAME);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
        let mut lock = opened.map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = lock.take(PID_BYTES_MAX).read_to_string(&mut text);
                return Err(DirectoryError::Held { directory, pid: text.trim().parse().ok() });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        let pid = format!("{}\n", std::process::id());
        let written = lock.set_len(0).and_then(|()| lock.seek(SeekFrom::Start(0)).map(drop));
        // Whose it is helps people only: a full disk is no reason not to open.
        let _ = written.and_then(|()| lock.write_all(pid.as_bytes()));
        Ok(FileDisk { directory, lock: Some(lock) })
    }

    /// Looks at a directory that another process may hold; writes are refused.
    #[must_use]
    pub fn look(directory: impl Into<PathBuf>) -> FileDisk {
        FileDisk { directory: directory.into(), lock: None }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn may_write(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }
}

/// Makes a directory that is not there yet, and those above it, so that their names last.
fn make_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = match directory.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_directories(above)?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        created => created?,
    }
    File::open(above)?.sync_all()
}

impl Disk for FileDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(self.lock.is_some()).open(self.directory.join(path))?;
        Ok(Arc::new(RealFile { file, may_write: self.lock.is_some() }))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.may_write()?;
        let path = self.directory.join(path);
        if let Some(above) = path.parent() {
            make_directories(above)?;
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(RealFile { file, may_write: true }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.directory.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.may_write()?;
        fs::remove_file(self.directory.join(path))
    }

    fn remove_directory(&self, directory: &str) -> io::Result<()> {
        self.may_write()?;
        match fs::remove_dir(self.directory.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed?;
                let above = directory.rsplit_once('/').map_or("", |(above, _)| above);
                self.sync_directory(above)
            }
        }
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let mut path = self.directory.join(directory);
        loop {
            File::open(&path)?.sync_all()?;
            if path == self.directory || !path.pop() {
                return Ok(());
            }
        }
    }
}

impl DiskFile for RealFile {
    fn bytes_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.may_write {
            true => self.file.write_all_at(bytes, offset),
            false => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    fn allocate(&self, bytes_len: u64) -> io::Result<()> {
        // A profile interrupts whoever runs.
        let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes_len);
        match rustix::io::retry_on_intr(allocate) {
            Ok(()) => Ok(()),
            // Some file systems cannot; then a full disk shows in a write, which is met as well.
            Err(rustix::io::Errno::OPNOTSUPP) if self.bytes_len()? < bytes_len => {
                self.file.set_len(bytes_len)
            }
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_bytes_len(&self, bytes_len: u64) -> io::Result<()> {
        self.file.set_len(bytes_len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
