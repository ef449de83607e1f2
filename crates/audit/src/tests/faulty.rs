//! A directory in memory whose disk can be full, broken, or stand still.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::folder::{Folder, FolderFile};

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// Writes fail after so many bytes of one, syncs fail.
    Broken,
    /// Writes work, syncs fail.
    Unsynced,
    /// Writes take their time.
    Hung,
}

#[derive(Debug)]
struct Disk {
    files: BTreeMap<String, Content>,
    mood: Mood,
    /// Bytes of all files together, reserved ones too.
    room: u64,
    syncs: u64,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
    reserved: u64,
}

impl Content {
    fn room(&self) -> u64 {
        self.reserved.max(self.bytes.len() as u64)
    }
}

/// Clones are the same directory.
#[derive(Debug, Clone)]
pub(super) struct FaultyFolder(Arc<(Mutex<Disk>, Condvar)>);

impl FaultyFolder {
    pub(super) fn new() -> FaultyFolder {
        let disk = Disk { files: BTreeMap::new(), mood: Mood::Well, room: u64::MAX, syncs: 0 };
        FaultyFolder(Arc::new((Mutex::new(disk), Condvar::new())))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.0.lock().unwrap()
    }

    pub(super) fn be(&self, mood: Mood) {
        self.disk().mood = mood;
        self.0.1.notify_all();
    }

    /// Leaves so many bytes of room beyond what is there and reserved.
    pub(super) fn leave_room(&self, bytes: u64) {
        let mut disk = self.disk();
        let used: u64 = disk.files.values().map(Content::room).sum();
        disk.room = used.saturating_add(bytes);
    }

    pub(super) fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let content = Content { bytes: bytes.to_vec(), synced: bytes.len(), reserved: 0 };
        self.disk().files.insert(name.to_owned(), content);
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        self.disk().files[name].bytes.clone()
    }

    /// The text of all files.
    pub(super) fn text(&self) -> String {
        let names = self.names().unwrap();
        let disk = self.disk();
        let texts = names.iter().filter(|name| name.ends_with(".jsonl"));
        texts.map(|name| String::from_utf8_lossy(&disk.files[name].bytes).into_owned()).collect()
    }

    /// What a power cut leaves: bytes that were synced.
    pub(super) fn cut_power(&self) {
        for content in self.disk().files.values_mut() {
            content.bytes.truncate(content.synced);
        }
    }
}

impl Folder for FaultyFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn FolderFile>> {
        match self.disk().files.contains_key(name) {
            true => Ok(Box::new(FaultyFile { folder: self.clone(), name: name.to_owned() })),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn FolderFile>> {
        if self.disk().files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.disk().files.insert(name.to_owned(), Content::default());
        self.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk().files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    folder: FaultyFolder,
    name: String,
}

impl FaultyFile {
    fn with<T>(&self, act: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        self.folder.disk().files.get_mut(&self.name).map(act).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Grows the file's room, if there is as much.
    fn grow(&self, to: u64) -> io::Result<()> {
        let mut disk = self.folder.disk();
        let used: u64 = disk.files.values().map(Content::room).sum();
        let own = disk.files[&self.name].room();
        if to > own && used - own + to > disk.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = disk.files.get_mut(&self.name).unwrap();
        content.reserved = content.reserved.max(to);
        Ok(())
    }
}

impl FolderFile for FaultyFile {
    fn bytes_len(&self) -> io::Result<u64> {
        self.with(|content| content.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|content| {
            let rest = content.bytes.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(into.len());
            into[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = self.folder.disk();
        let disk = self.folder.0.1.wait_while(disk, |disk| disk.mood == Mood::Hung).unwrap();
        let mood = disk.mood;
        drop(disk);
        let written = if mood == Mood::Broken { &bytes[..bytes.len() / 2] } else { bytes };
        self.grow(offset + written.len() as u64)?;
        self.with(|content| {
            content.bytes.resize(offset as usize, 0);
            content.bytes.extend(written);
        })?;
        if mood == Mood::Broken { Err(io::Error::other("broken")) } else { Ok(()) }
    }

    fn reserve(&self, bytes_len: u64) -> io::Result<()> {
        self.grow(bytes_len)
    }

    fn set_bytes_len(&self, bytes_len: u64) -> io::Result<()> {
        self.with(|content| {
            content.bytes.resize(bytes_len as usize, 0);
            content.reserved = bytes_len;
        })
    }

    fn sync(&self) -> io::Result<()> {
        if matches!(self.folder.disk().mood, Mood::Broken | Mood::Unsynced) {
            return Err(io::Error::other("broken"));
        }
        self.folder.disk().syncs += 1;
        self.with(|content| content.synced = content.bytes.len())
    }
}
