//! A disk in memory that fails as disks do: at any operation, by a seed, and always the same way again.
//!
//! # What it models
//! * **Writes wait.** What is written is seen at once by whoever reads, and is durable when [`DiskFile::sync`] has
//!   succeeded after it; names are durable when their directory was synced after they changed, not before.
//! * **Power cuts** ([`FaultDisk::cut_power_at`], [`FaultDisk::after_power_cut`]). Of all that was not durable, each write,
//!   change of length, creation, rename and removal is kept or lost, on its own: so later ones may be there without
//!   earlier ones. A write may be torn: a prefix of it is there, or any of its sectors of 512 bytes.
//! * **Both at every change of one run** ([`FaultDisk::keep_forks`]): a fork is the disk as it was in the middle of a
//!   change, while the run goes on.
//! * **Killed processes** ([`FaultDisk::after_kill`]): everything written is seen by the next process, and is as durable as
//!   it was.
//! * **Failed syncs.** What was to be synced is never made durable by a later sync, although it is still read: the
//!   next power cut keeps any part of it. Only writing the same bytes again helps.
//! * **Failed writes.** Any part of them was written, or nothing, or everything.
//! * **Full disks** ([`FaultDisk::set_capacity`]): what makes a file longer fails when all files together are too long.
//! * **Slow disks** ([`FaultDisk::hold`]): operations wait until they are released.
//! * **Bits that change at rest** ([`FaultDisk::flip`]).
//!
//! Not modelled: sectors that are garbage after a power cut, reads that fail or lie once, bytes of one file that turn up
//! in another, and a disk that says that it synced and did not.
//!
//! Paths are any paths: nothing here knows what the files are for.

mod forks;
mod state;

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use idhini_changelog::disk::{Disk, DiskFile};

pub use self::forks::Fork;
use self::forks::Forks;
use self::state::{FileId, State};
use crate::rng::Rng;

/// What a disk was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Disk::create`].
    Create,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::allocate`].
    Allocate,
    /// [`DiskFile::set_bytes_len`].
    SetLength,
    /// [`DiskFile::sync`].
    Sync,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::sync_directory`].
    SyncDirectory,
    /// [`Disk::open`].
    Open,
    /// [`DiskFile::read_at`].
    Read,
    /// [`Disk::list`].
    List,
}

/// One operation that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What.
    pub kind: Kind,
    /// With what; where a renamed file went.
    pub path: String,
    /// Where it began; the new length of an allocation or of a change of length.
    pub offset: u64,
    /// How much was written or read.
    pub bytes: u64,
    /// What it failed with.
    pub error: Option<io::ErrorKind>,
}

/// Operations that are to fail.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Of this kind.
    pub kind: Kind,
    /// On paths that contain this.
    pub path: String,
    /// But for the first so many of them.
    pub skipped: u64,
    /// And no more than so many.
    pub count: u64,
    /// With this.
    pub error: io::ErrorKind,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct FaultDisk {
    shared: Arc<Shared>,
}

struct Shared {
    machine: Mutex<Machine>,
    released: Condvar,
}

/// What there is besides files.
struct Machine {
    state: State,
    rng: Rng,
    history: Vec<Operation>,
    is_recording: bool,
    /// Operations so far that change something or make it durable.
    changes: u64,
    last_failed_change: u64,
    cut_at: Option<u64>,
    is_off: bool,
    faults: Vec<Fault>,
    failing: Option<(std::ops::Range<u64>, io::ErrorKind)>,
    forks: Option<Forks>,
    held: Option<Kind>,
    /// Operations that wait for their release.
    waiting: usize,
    capacity: u64,
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    id: FileId,
    path: String,
}

impl Kind {
    /// Whether it changes what is on the disk, or makes it durable.
    #[must_use]
    pub fn is_change(self) -> bool {
        !matches!(self, Kind::Open | Kind::Read | Kind::List)
    }
}

impl FaultDisk {
    /// An empty disk on which nothing fails.
    #[must_use]
    pub fn new(seed: u64) -> FaultDisk {
        FaultDisk::with(State::default(), seed)
    }

    fn with(state: State, seed: u64) -> FaultDisk {
        let machine = Machine {
            state,
            rng: Rng::new(seed),
            history: Vec::new(),
            is_recording: false,
            changes: 0,
            last_failed_change: 0,
            cut_at: None,
            is_off: false,
            faults: Vec::new(),
            failing: None,
            forks: None,
            held: None,
            waiting: 0,
            capacity: u64::MAX,
        };
        let shared = Shared { machine: Mutex::new(machine), released: Condvar::new() };
        FaultDisk { shared: Arc::new(shared) }
    }

    /// How many operations so far changed something or made it durable.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.machine().changes
    }

    /// Whether a change failed after so many had been asked for.
    #[must_use]
    pub fn failed_since(&self, changes: u64) -> bool {
        let machine = self.machine();
        machine.is_off || machine.last_failed_change > changes
    }

    /// Keeps a history from now on.
    pub fn record(&self) {
        self.machine().is_recording = true;
    }

    /// What was asked for since [`FaultDisk::record`], in order.
    #[must_use]
    pub fn history(&self) -> Vec<Operation> {
        self.machine().history.clone()
    }

    /// Cuts the power during this change, counted from 1: it is under way, it fails, and everything after it too.
    pub fn cut_power_at(&self, change: u64) {
        self.machine().cut_at = Some(change);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.machine().is_off = true;
    }

    /// Whether the power was cut.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.machine().is_off
    }

    /// From now on, keeps what the power going during a change would leave, for each change that `is_wanted`: in so
    /// many ways each.
    pub fn keep_forks(&self, ways: u64, is_wanted: impl Fn(u64) -> bool + Send + 'static) {
        self.machine().forks = Some(Forks::new(ways, is_wanted));
    }

    /// Gives what was kept since this was last asked.
    #[must_use]
    pub fn take_forks(&self) -> Vec<Fork> {
        self.machine().forks.as_mut().map(Forks::take).unwrap_or_default()
    }

    /// What is there when the power is back: another disk, with what was durable and what the seed keeps of the rest.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> FaultDisk {
        let state = self.machine().state.after_power_cut(&mut Rng::new(seed));
        FaultDisk::with(state, seed ^ 0xD15C)
    }

    /// What the next process finds when this one is killed: another disk, on which nothing fails. Handles of this one
    /// no longer matter to it.
    #[must_use]
    pub fn after_kill(&self, seed: u64) -> FaultDisk {
        let mut machine = self.machine();
        machine.is_off = true;
        FaultDisk::with(machine.state.clone(), seed)
    }

    /// Makes operations fail.
    pub fn fail(&self, fault: Fault) {
        self.machine().faults.push(fault);
    }

    /// Makes these changes fail, counted from 1, whatever they are.
    pub fn fail_changes(&self, changes: std::ops::Range<u64>, error: io::ErrorKind) {
        self.machine().failing = Some((changes, error));
    }

    /// Nothing fails from now on, the power stays as it is.
    pub fn heal(&self) {
        let mut machine = self.machine();
        machine.faults.clear();
        machine.failing = None;
        machine.capacity = u64::MAX;
    }

    /// All files together may be so long.
    pub fn set_capacity(&self, bytes: u64) {
        self.machine().capacity = bytes;
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.machine().state.used_bytes()
    }

    /// Operations of this kind wait, until [`FaultDisk::release`].
    pub fn hold(&self, kind: Kind) {
        self.machine().held = Some(kind);
    }

    /// Blocks until an operation waits.
    pub fn wait_until_held(&self) {
        let mut machine = self.machine();
        while machine.waiting == 0 {
            machine = self.shared.released.wait(machine).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whatever waits goes on, and nothing waits any more.
    pub fn release(&self) {
        self.machine().held = None;
        self.shared.released.notify_all();
    }

    /// Flips a bit of a file that is at rest. The file is there and long enough, or nothing happens.
    pub fn flip(&self, path: &str, bit: u64) {
        self.machine().state.flip(path, bit);
    }

    /// Makes a file be what these bytes say, durably.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.machine().state.put(path, bytes);
    }

    /// What a file holds, as a process reads it.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.machine().state.bytes(path).map(<[u8]>::to_vec)
    }

    /// All files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.machine().state.paths()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.shared.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does an operation, unless it is to fail; what a failed one did all the same is up to `interrupted`.
    fn operate<T>(
        &self,
        (kind, path, offset, bytes): (Kind, &str, u64, u64),
        work: impl FnOnce(&mut State) -> io::Result<T>,
        interrupted: impl Fn(&mut State, &mut Rng),
    ) -> io::Result<T> {
        let mut machine = self.machine();
        if machine.held == Some(kind) {
            machine.waiting += 1;
            self.shared.released.notify_all();
            while machine.held == Some(kind) {
                machine = self.shared.released.wait(machine).unwrap_or_else(PoisonError::into_inner);
            }
            machine.waiting -= 1;
        }
        let machine = &mut *machine;
        let done = match machine.judge(kind, path, offset, bytes) {
            Ok(()) => {
                if let Some(forks) = machine.forks.as_mut().filter(|_| kind.is_change()) {
                    forks.keep(machine.changes, &machine.state, &interrupted);
                }
                work(&mut machine.state)
            }
            Err((error, is_under_way)) => {
                if kind.is_change() {
                    machine.last_failed_change = machine.changes;
                }
                if is_under_way {
                    interrupted(&mut machine.state, &mut machine.rng);
                }
                Err(error)
            }
        };
        if machine.is_recording {
            let error = done.as_ref().err().map(io::Error::kind);
            machine.history.push(Operation { kind, path: path.to_owned(), offset, bytes, error });
        }
        done
    }
}

impl Machine {
    /// Whether an operation works; if not, with what it fails and whether it was under way.
    fn judge(&mut self, kind: Kind, path: &str, offset: u64, bytes: u64) -> Result<(), (io::Error, bool)> {
        let off = || io::Error::other("the power is off");
        if self.is_off {
            return Err((off(), false));
        }
        self.changes += u64::from(kind.is_change());
        if kind.is_change() && self.cut_at == Some(self.changes) {
            self.is_off = true;
            return Err((off(), true));
        }
        if let Some((_, error)) =
            self.failing.as_ref().filter(|(changes, _)| kind.is_change() && changes.contains(&self.changes))
        {
            return Err(((*error).into(), true));
        }
        for fault in &mut self.faults {
            if fault.kind != kind || !path.contains(&fault.path) || fault.count == 0 {
                continue;
            }
            if fault.skipped > 0 {
                fault.skipped -= 1;
                continue;
            }
            fault.count = fault.count.saturating_sub(1);
            return Err((fault.error.into(), true));
        }
        let end = match kind {
            Kind::Write => offset + bytes,
            Kind::Allocate => offset,
            _ => 0,
        };
        let longer = end.saturating_sub(self.state.bytes(path).map_or(0, |bytes| bytes.len() as u64));
        if longer > 0 && self.state.used_bytes() + longer > self.capacity {
            return Err((io::ErrorKind::StorageFull.into(), false));
        }
        Ok(())
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.operate((Kind::Open, path, 0, 0), |state| state.open(path), |_, _| {})?;
        Ok(Arc::new(FaultFile { disk: self.clone(), id, path: path.to_owned() }))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let create = |state: &mut State| state.create(path);
        let id = self.operate((Kind::Create, path, 0, 0), create, |state, rng| {
            if rng.chance(50) {
                let _ = state.create(path);
            }
        })?;
        Ok(Arc::new(FaultFile { disk: self.clone(), id, path: path.to_owned() }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.operate((Kind::List, directory, 0, 0), |state| Ok(state.list(directory)), |_, _| {})
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(
            (Kind::Rename, to, 0, 0),
            |state| state.rename(from, to),
            |state, rng| {
                if rng.chance(50) {
                    let _ = state.rename(from, to);
                }
            },
        )
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.operate(
            (Kind::Remove, path, 0, 0),
            |state| state.remove(path),
            |state, rng| {
                if rng.chance(50) {
                    let _ = state.remove(path);
                }
            },
        )
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.sync_directory(directory);
            Ok(())
        };
        // Names that were to be synced stay as durable as they were: each is kept or lost.
        self.operate((Kind::SyncDirectory, directory, 0, 0), sync, |_, _| {})
    }
}

impl FaultFile {
    /// What it is called now; if it has no name any more, what it was called.
    fn path(&self) -> String {
        let machine = self.disk.machine();
        machine.state.name_of(self.id).unwrap_or(&self.path).to_owned()
    }
}

impl DiskFile for FaultFile {
    fn bytes_len(&self) -> io::Result<u64> {
        Ok(self.disk.machine().state.bytes_len(self.id))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let path = self.path();
        let what = (Kind::Read, path.as_str(), offset, into.len() as u64);
        self.disk.operate(what, |state| Ok(state.read(self.id, offset, into)), |_, _| {})
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let write = |state: &mut State| {
            state.write(self.id, offset, bytes);
            Ok(())
        };
        let path = self.path();
        let what = (Kind::Write, path.as_str(), offset, bytes.len() as u64);
        self.disk.operate(what, write, |state, rng| {
            let part = match rng.below(3) {
                0 => 0,
                1 => rng.below(bytes.len() + 1),
                _ => bytes.len(),
            };
            state.write(self.id, offset, &bytes[..part]);
        })
    }

    fn allocate(&self, bytes_len: u64) -> io::Result<()> {
        let allocate = |state: &mut State| {
            state.lengthen(self.id, bytes_len);
            Ok(())
        };
        self.disk.operate((Kind::Allocate, &self.path(), bytes_len, 0), allocate, |state, rng| {
            if rng.chance(50) {
                state.lengthen(self.id, bytes_len);
            }
        })
    }

    fn set_bytes_len(&self, bytes_len: u64) -> io::Result<()> {
        let set = |state: &mut State| {
            state.set_length(self.id, bytes_len);
            Ok(())
        };
        self.disk.operate((Kind::SetLength, &self.path(), bytes_len, 0), set, |state, rng| {
            if rng.chance(50) {
                state.set_length(self.id, bytes_len);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.sync(self.id);
            Ok(())
        };
        self.disk.operate((Kind::Sync, &self.path(), 0, 0), sync, |state, _| state.sync_failed(self.id))
    }
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine();
        f.debug_struct("FaultDisk")
            .field("changes", &machine.changes)
            .field("is_off", &machine.is_off)
            .finish()
    }
}

#[cfg(test)]
mod tests;
