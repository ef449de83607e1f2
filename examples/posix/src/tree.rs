//! What is there? Reads directory trees: every name with its kind, owner, group, mode and ACL, and where links lead.
//!
//! A tree stays on the mount of its root. The directories above a root belong to it too, since every path is
//! searched from `/`, but no question is asked about them.
//!
//! # Invariants
//! * An inode's parent is in the tree, and before it; `/` is the first.
//! * Whatever cannot be asked about, or not modelled, is counted under its [`Exclusion`].
//! * No recursion on data: the walk has a worklist, and a link's way ends after [`LINKS_FOLLOWED_MAX`] links.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatVfsMountFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::access_list::AccessList;
use crate::accounts::IdMap;
use crate::acl::{self, AclEntry};
use crate::id;

mod links;

/// Inodes that are read at most.
pub const INODES_MAX: usize = 20_000_000;
/// The kernel gives up after as many links (`MAXSYMLINKS`).
pub const LINKS_FOLLOWED_MAX: usize = 40;

const ACL_BYTES_MAX: usize = 65_536;
const OVERFLOW_ID: u32 = 65_534;
const OTHERS_WRITE_AND_STICKY: u16 = 0o1002;

/// Why something that was seen is not asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// Another file system is mounted there.
    OtherMount,
    /// Its object id would be longer than the API takes.
    LongId,
    /// Device controllers have a say in these.
    Device,
    /// It went away, or changed, while it was read.
    Moving,
    /// This process may not read it: root without its capabilities, as in some containers.
    Unreadable,
    /// Its owner or group is unknown in this user namespace.
    Unmapped,
    /// A link to nothing, or in a circle.
    DanglingLink,
    /// A link to another file system, or to something excluded.
    LinkOut,
    /// A link in a directory where `fs.protected_symlinks` has a say.
    StickyLink,
    /// Writing only: marked immutable, or on a read-only mount.
    Unwritable,
    /// Executing only: a regular file on a `noexec` mount.
    Noexec,
}

impl Exclusion {
    /// What a report calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::OtherMount => "mount points of other file systems",
            Self::LongId => "paths whose object id would exceed 1,024 bytes",
            Self::Device => "device nodes",
            Self::Moving => "vanished or changed while being read",
            Self::Unreadable => "unreadable for this process",
            Self::Unmapped => "owned by ids outside this user namespace",
            Self::DanglingLink => "symbolic links to nothing",
            Self::LinkOut => "symbolic links out of the file systems read",
            Self::StickyLink => "symbolic links in sticky directories",
            Self::Unwritable => "immutable or read-only (not asked for writing)",
            Self::Noexec => "on noexec mounts (not asked for executing)",
        }
    }
}

/// What the kernel tells about one inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Kind and permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Its number on its file system.
    pub ino: u64,
    /// The mount that it was found on.
    pub mount: u64,
    /// Nobody may write to it, whatever the mode says.
    pub immutable: bool,
    /// Its access ACL, if it has one.
    pub acl: Option<Vec<AclEntry>>,
}

/// Why an inode could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The kernel refused.
    #[error("{0}")]
    Kernel(#[from] Errno),
    /// Its ACL is not one.
    #[error("its ACL cannot be read: {0}")]
    Acl(#[from] acl::AclError),
}

impl Facts {
    /// What the kernel tells about `path` itself, without following it if it is a link.
    ///
    /// # Errors
    /// [`FactsError`] if it cannot be read, or has an ACL that is none.
    pub fn read(path: &Path) -> Result<Self, FactsError> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, wanted)?;
        let acl = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Symlink => None,
            _ => read_acl(path)?,
        };
        Ok(Self {
            mode: stat.stx_mode,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            ino: stat.stx_ino,
            mount: stat.stx_mnt_id,
            immutable: stat.stx_attributes.contains(StatxAttributes::IMMUTABLE),
            acl,
        })
    }

    fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode.into())
    }
}

fn read_acl(path: &Path) -> Result<Option<Vec<AclEntry>>, FactsError> {
    let mut small = [0_u8; 256];
    match rustix::fs::lgetxattr(path, acl::ATTRIBUTE, &mut small) {
        Ok(length) => Ok(Some(acl::decode(small.get(..length).unwrap_or_default())?)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; ACL_BYTES_MAX];
            let length = rustix::fs::lgetxattr(path, acl::ATTRIBUTE, large.as_mut_slice())?;
            Ok(Some(acl::decode(large.get(..length).unwrap_or_default())?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Which part of the run an inode belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Only on the way to others, or the target of a link: not asked about by itself.
    Way,
    /// In one of the machine's own trees.
    Roots,
    /// In the tree that this program made.
    Made,
}

/// What an inode is, as far as permissions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Neither directory nor link.
    File,
    /// A link: the directories in which names are looked up on its way, and where it ends.
    Link {
        /// Each directory once, in the order of the first look.
        steps: Vec<usize>,
        /// A file or a directory.
        target: usize,
    },
    /// A link that leads nowhere that can be asked about.
    LostLink,
}

/// One name in the tree.
#[derive(Debug)]
pub struct Inode {
    /// Its absolute path.
    pub path: PathBuf,
    /// What the kernel told.
    pub facts: Facts,
    /// What it is.
    pub kind: Kind,
    /// The directory that holds it; `/` holds itself.
    pub parent: usize,
    /// Which part of the run it belongs to.
    pub area: Area,
    /// Its access list; a link's says nothing.
    pub list: AccessList,
}

/// What can be asked about where an inode is mounted.
#[derive(Debug, Clone, Copy, Default)]
struct MountLimits {
    read_only: bool,
    noexec: bool,
}

/// Why a tree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A root, or a directory above it.
    #[error("cannot read `{path}`: {cause}")]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Too much to hold.
    #[error("more than {INODES_MAX} inodes: give fewer or smaller roots")]
    TooLarge,
}

/// Everything that was read.
#[derive(Debug)]
pub struct Tree {
    /// Parents before children, `/` first.
    pub inodes: Vec<Inode>,
    /// How many were passed over, and why.
    pub excluded: BTreeMap<Exclusion, u64>,
    by_path: HashMap<PathBuf, usize>,
    mounts: HashMap<u64, MountLimits>,
    all_ids_mapped: bool,
}

impl Tree {
    /// A tree of nothing, for a process with these user and group ids.
    pub fn new(uids: &IdMap, gids: &IdMap) -> Self {
        Self {
            inodes: Vec::new(),
            excluded: BTreeMap::new(),
            by_path: HashMap::new(),
            mounts: HashMap::new(),
            all_ids_mapped: uids.is_whole() && gids.is_whole(),
        }
    }

    /// Adds everything below `root`, except what is below `without`. `seen` is told how many were read so far.
    ///
    /// # Errors
    /// [`TreeError`] if the root cannot be read, or there is too much.
    pub fn read(
        &mut self,
        root: &Path,
        area: Area,
        without: Option<&Path>,
        seen: impl Fn(u64),
    ) -> Result<(), TreeError> {
        let failed = |cause| TreeError::Root { path: root.to_owned(), cause };
        let root = root.canonicalize().map_err(failed)?;
        let top = self.add_way_to(&root)?;
        let mount = self.inodes.get(top).map_or(0, |inode| inode.facts.mount);
        if let Some(inode) = self.inodes.get_mut(top) {
            inode.area = area;
        }
        let mut waiting = vec![top];
        while let Some(directory) = waiting.pop() {
            if self.inodes.len() > INODES_MAX {
                return Err(TreeError::TooLarge);
            }
            seen(u64::try_from(self.inodes.len()).unwrap_or(u64::MAX));
            let Some(path) = self.inodes.get(directory).map(|inode| inode.path.clone()) else { continue };
            for name in self.names_in(&path) {
                let path = path.join(OsStr::from_bytes(&name));
                if without == Some(path.as_path()) {
                    continue;
                }
                if let Some(child) = self.add(path, directory, area, Some(mount))
                    && self.inodes.get(child).is_some_and(|inode| inode.kind == Kind::Directory)
                {
                    waiting.push(child);
                }
            }
        }
        Ok(())
    }

    /// The permission bits (4, 2, 1) that may be asked about an inode: what else decides, is counted as excluded.
    pub fn askable(&self, inode: usize) -> u8 {
        let Some(inode) = self.inodes.get(inode) else { return 0 };
        if let Kind::Link { target, .. } = inode.kind {
            return self.inodes.get(target).map_or(0, |target| self.askable_itself(target));
        }
        self.askable_itself(inode)
    }

    fn askable_itself(&self, inode: &Inode) -> u8 {
        let limits = self.mounts.get(&inode.facts.mount).copied().unwrap_or_default();
        let plain = inode.facts.file_type() == FileType::RegularFile;
        let unwritable =
            inode.facts.immutable || limits.read_only && (plain || inode.kind == Kind::Directory);
        let noexec = limits.noexec && plain;
        7 & !(if unwritable { 2 } else { 0 }) & !u8::from(noexec)
    }

    /// Counts what [`Tree::askable`] leaves out. Call it once, when all roots are read.
    pub fn count_limits(&mut self) {
        for index in 0..self.inodes.len() {
            if self.inodes.get(index).is_none_or(|inode| inode.area == Area::Way) {
                continue;
            }
            let askable = self.askable(index);
            if askable & 2 == 0 {
                self.exclude(Exclusion::Unwritable);
            }
            if askable & 1 == 0 {
                self.exclude(Exclusion::Noexec);
            }
        }
    }

    fn exclude(&mut self, why: Exclusion) {
        *self.excluded.entry(why).or_default() += 1;
    }

    /// The names in a directory, sorted, so that the same tree is always read in the same order.
    fn names_in(&mut self, path: &Path) -> Vec<Vec<u8>> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                let refused = error.kind() == io::ErrorKind::PermissionDenied;
                self.exclude(if refused { Exclusion::Unreadable } else { Exclusion::Moving });
                return Vec::new();
            }
        };
        let mut names: Vec<_> =
            entries.filter_map(Result::ok).map(|entry| entry.file_name().as_bytes().to_vec()).collect();
        names.sort_unstable();
        names
    }

    /// Adds the directories from `/` to `root`, and gives the place of the last.
    fn add_way_to(&mut self, root: &Path) -> Result<usize, TreeError> {
        let mut path = PathBuf::from("/");
        let mut place = self.add_step(path.clone(), 0)?;
        for name in root.iter().skip(1) {
            path.push(name);
            place = self.add_step(path.clone(), place)?;
        }
        Ok(place)
    }

    fn add_step(&mut self, path: PathBuf, parent: usize) -> Result<usize, TreeError> {
        let Some(place) = self.add(path.clone(), parent, Area::Way, None) else {
            let cause = io::Error::other("it changes, is a device, has a foreign owner, or too long a name");
            return Err(TreeError::Root { path, cause });
        };
        let mount = self.inodes.get(place).map_or(0, |inode| inode.facts.mount);
        if let Entry::Vacant(limits) = self.mounts.entry(mount) {
            let stat =
                rustix::fs::statvfs(&path).map_err(|errno| TreeError::Root { path, cause: errno.into() })?;
            let has = |flag| stat.f_flag.contains(flag);
            limits.insert(MountLimits {
                read_only: has(StatVfsMountFlags::RDONLY),
                noexec: has(StatVfsMountFlags::NOEXEC),
            });
        }
        Ok(place)
    }

    /// Adds one name, unless something speaks against it. `mount` is the one that it must be on.
    fn add(&mut self, path: PathBuf, parent: usize, area: Area, mount: Option<u64>) -> Option<usize> {
        if let Some(&known) = self.by_path.get(&path) {
            if let Some(inode) = self.inodes.get_mut(known) {
                inode.area = inode.area.max(area);
            }
            return Some(known);
        }
        let (facts, list, kind) = match self.judge(&path, mount) {
            Ok(accepted) => accepted,
            Err(why) => {
                self.exclude(why);
                return None;
            }
        };
        let place = self.inodes.len();
        self.by_path.insert(path.clone(), place);
        self.inodes.push(Inode { path, facts, kind, parent, area, list });
        Some(place)
    }

    fn judge(&self, path: &Path, mount: Option<u64>) -> Result<(Facts, AccessList, Kind), Exclusion> {
        if id::encode(path.as_os_str().as_bytes()).is_none() {
            return Err(Exclusion::LongId);
        }
        let facts = Facts::read(path).map_err(|error| match error {
            FactsError::Kernel(Errno::ACCESS) => Exclusion::Unreadable,
            _ => Exclusion::Moving,
        })?;
        if mount.is_some_and(|mount| mount != facts.mount) {
            return Err(Exclusion::OtherMount);
        }
        if !self.all_ids_mapped && (facts.uid == OVERFLOW_ID || facts.gid == OVERFLOW_ID) {
            return Err(Exclusion::Unmapped);
        }
        let kind = match facts.file_type() {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::LostLink,
            FileType::CharacterDevice | FileType::BlockDevice => return Err(Exclusion::Device),
            _ => Kind::File,
        };
        let list = AccessList::of(facts.mode, facts.uid, facts.gid, facts.acl.as_deref());
        Ok((facts, list.map_err(|_| Exclusion::Moving)?, kind))
    }
}

#[cfg(test)]
mod tests;
