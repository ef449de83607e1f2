//! What is on the disk, what is durable of it, and what a power cut leaves.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::rng::Rng;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// A file, whatever it is called and even if it has no name any more.
pub(super) type FileId = usize;

/// All files and names. A copy shares the files that neither changes.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    files: Vec<Arc<File>>,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    /// Changes of names that are not durable, in order.
    renamings: Vec<Renaming>,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// As it is read.
    bytes: Vec<u8>,
    /// As it is after a power cut that loses all that waits.
    durable: Vec<u8>,
    waiting: Vec<Waiting>,
}

/// A change that is not durable.
#[derive(Debug, Clone)]
struct Waiting {
    change: Change,
    /// A sync failed since: no later one makes this durable.
    is_lost: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Makes it longer or leaves it as it is.
    Lengthen(u64),
    SetLength(u64),
}

#[derive(Debug, Clone)]
struct Renaming {
    /// The name that goes.
    from: Option<String>,
    /// The name that comes, and what it names.
    to: Option<(String, FileId)>,
}

/// How a power cut treats what is not durable.
#[derive(Debug, Clone, Copy)]
enum Mood {
    LosesAll,
    KeepsAll,
    KeepsSome,
    TearsSome,
}

impl State {
    pub(super) fn open(&self, path: &str) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<FileId> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.files.len();
        self.files.push(Arc::default());
        self.names.insert(path.to_owned(), id);
        self.renamings.push(Renaming { from: None, to: Some((path.to_owned(), id)) });
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let id = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.to_owned(), id);
        self.renamings.push(Renaming { from: Some(from.to_owned()), to: Some((to.to_owned(), id)) });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.renamings.push(Renaming { from: Some(path.to_owned()), to: None });
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, directory: &str) {
        let waiting = std::mem::take(&mut self.renamings);
        for renaming in waiting {
            let names = [renaming.from.as_deref(), renaming.to.as_ref().map(|(to, _)| to.as_str())];
            // Names in the directories above it are made durable too.
            let is_meant = names.into_iter().flatten().all(|name| {
                let above = name.rsplit_once('/').map_or("", |(above, _)| above);
                above.is_empty() || directory == above || directory.starts_with(&format!("{above}/"))
            });
            if is_meant {
                renaming.apply(&mut self.durable_names);
            } else {
                self.renamings.push(renaming);
            }
        }
    }

    pub(super) fn list(&self, directory: &str) -> Vec<String> {
        let inside = |path: &String| match directory {
            "" => Some(path.clone()),
            directory => path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned),
        };
        let names = self.names.keys().filter_map(inside);
        let mut names: Vec<String> =
            names.map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect();
        names.dedup();
        names
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|id| self.bytes_len(*id)).sum()
    }

    pub(super) fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(*self.names.get(path)?).map(|file| file.bytes.as_slice())
    }

    /// What a file is called now.
    pub(super) fn name_of(&self, id: FileId) -> Option<&str> {
        self.names.iter().find(|(_, named)| **named == id).map(|(name, _)| name.as_str())
    }

    pub(super) fn bytes_len(&self, id: FileId) -> u64 {
        self.files.get(id).map_or(0, |file| file.bytes.len() as u64)
    }

    pub(super) fn read(&self, id: FileId, offset: u64, into: &mut [u8]) -> usize {
        let file = self.files.get(id).map(|file| file.bytes.as_slice()).unwrap_or_default();
        let rest = file.get(index(offset)..).unwrap_or_default();
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        bytes
    }

    pub(super) fn write(&mut self, id: FileId, offset: u64, bytes: &[u8]) {
        self.change(id, Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn lengthen(&mut self, id: FileId, bytes_len: u64) {
        self.change(id, Change::Lengthen(bytes_len));
    }

    pub(super) fn set_length(&mut self, id: FileId, bytes_len: u64) {
        self.change(id, Change::SetLength(bytes_len));
    }

    fn file_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files.get_mut(id).map(Arc::make_mut)
    }

    fn change(&mut self, id: FileId, change: Change) {
        let Some(file) = self.file_mut(id) else { return };
        change.apply(&mut file.bytes);
        file.waiting.push(Waiting { change, is_lost: false });
    }

    pub(super) fn sync(&mut self, id: FileId) {
        let Some(file) = self.file_mut(id) else { return };
        let (mut lost, synced): (Vec<_>, Vec<_>) =
            std::mem::take(&mut file.waiting).into_iter().partition(|waiting| waiting.is_lost);
        for waiting in synced {
            waiting.change.apply(&mut file.durable);
            // The same bytes are not lost any more.
            lost.iter_mut().for_each(|lost| lost.change.give_way(&waiting.change));
        }
        // A length is made durable as it is now, whatever failed before.
        lost.retain(|lost| matches!(lost.change, Change::Write { .. }));
        file.waiting = lost;
    }

    /// The system takes all of it for written, and it may be anywhere.
    pub(super) fn sync_failed(&mut self, id: FileId) {
        let Some(file) = self.file_mut(id) else { return };
        file.waiting.iter_mut().for_each(|waiting| waiting.is_lost = true);
    }

    pub(super) fn flip(&mut self, path: &str, bit: u64) {
        let Some(file) = self.names.get(path).copied().and_then(|id| self.file_mut(id)) else { return };
        for bytes in [&mut file.bytes, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(index(bit / 8)) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    pub(super) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        let id = self.files.len();
        self.files.push(Arc::new(File { durable: bytes.clone(), bytes, waiting: Vec::new() }));
        self.names.insert(path.to_owned(), id);
        self.durable_names.insert(path.to_owned(), id);
        self.renamings.retain(|renaming| !renaming.touches(path));
    }

    /// What was durable, and of the rest what the numbers keep.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> State {
        let mood = *rng.pick(&[Mood::LosesAll, Mood::KeepsAll, Mood::KeepsSome, Mood::TearsSome]);
        let mut names = self.durable_names.clone();
        for renaming in &self.renamings {
            if mood.keeps(rng) {
                renaming.apply(&mut names);
            }
        }
        let mut left = State::default();
        for (path, id) in names {
            let Some(file) = self.files.get(id) else { continue };
            let mut bytes = file.durable.clone();
            for waiting in &file.waiting {
                mood.apply(&waiting.change, &mut bytes, rng);
            }
            left.put(&path, bytes);
        }
        left
    }
}

impl Mood {
    fn keeps(self, rng: &mut Rng) -> bool {
        match self {
            Mood::LosesAll => false,
            Mood::KeepsAll => true,
            Mood::KeepsSome | Mood::TearsSome => rng.chance(50),
        }
    }

    fn apply(self, change: &Change, to: &mut Vec<u8>, rng: &mut Rng) {
        let Change::Write { offset, bytes } = change else {
            if self.keeps(rng) {
                change.apply(to);
            }
            return;
        };
        match self {
            Mood::TearsSome if rng.chance(50) => {
                let kept = rng.below(bytes.len() + 1);
                write(to, *offset, &bytes[..kept]);
            }
            Mood::TearsSome => {
                for (at, sector) in sectors(*offset, bytes) {
                    if rng.chance(60) {
                        write(to, at, sector);
                    }
                }
            }
            _ if self.keeps(rng) => change.apply(to),
            _ => {}
        }
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write(to, *offset, bytes),
            Change::Lengthen(bytes_len) => lengthen(to, index(*bytes_len)),
            Change::SetLength(bytes_len) => {
                to.truncate(index(*bytes_len));
                lengthen(to, index(*bytes_len));
            }
        }
    }
}

impl Change {
    /// What was written later and is durable cannot be undone by what was lost before it.
    fn give_way(&mut self, later: &Change) {
        let Change::Write { offset, bytes } = self else { return };
        let end = *offset + bytes.len() as u64;
        match later {
            Change::Write { offset: from, bytes: new } => {
                let (start, stop) = ((*from).max(*offset), (*from + new.len() as u64).min(end));
                if start < stop {
                    let new = &new[index(start - *from)..index(stop - *from)];
                    bytes[index(start - *offset)..index(stop - *offset)].copy_from_slice(new);
                }
            }
            Change::SetLength(length) if *length < end => {
                bytes.truncate(index(length.saturating_sub(*offset)))
            }
            Change::SetLength(_) | Change::Lengthen(_) => {}
        }
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some((to, id)) = &self.to {
            names.insert(to.clone(), *id);
        }
    }

    fn touches(&self, path: &str) -> bool {
        self.from.as_deref() == Some(path) || self.to.as_ref().is_some_and(|(to, _)| to == path)
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut rest, mut all) = (offset, bytes, Vec::new());
    while !rest.is_empty() {
        let to_end = index(SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
        let (sector, after) = rest.split_at(to_end);
        all.push((at, sector));
        at += sector.len() as u64;
        rest = after;
    }
    all
}

fn write(to: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let (from, end) = (index(offset), index(offset) + bytes.len());
    lengthen(to, end);
    to[from..end].copy_from_slice(bytes);
}

/// Zeros to at least this length; faster than `resize` where nothing is optimized.
fn lengthen(bytes: &mut Vec<u8>, bytes_len: usize) {
    if let Some(more) = bytes_len.checked_sub(bytes.len()) {
        bytes.extend_from_slice(&vec![0; more]);
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
