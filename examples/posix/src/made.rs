//! Which cases are hard? Makes a tree of them, for users that exist only there, and takes it away again.
//!
//! Each directory right below the top is one case, so that a report can say how often each was asked. What the
//! answers ought to be is written nowhere: the kernel knows.
//!
//! # Invariants
//! * No file is set-user-id or set-group-id to anything but an id of the cast, which nobody can log in as.
//! * Owners and modes are set when all is there, the deepest first: root may lack the capability to make anything in a
//!   directory of mode 000.
//! * The tree is removed when its handle is dropped, unless it is kept.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use rustix::io::Errno;

use crate::accounts::Cast;
use crate::acl::{self, AclEntry, Bits, Tag};
use crate::rng::Rng;

mod cases;

const NAMES_TRIED_MAX: u64 = 100;

/// How much to make.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Every so-manieth of the 512 modes, and of the combinations of an ACL.
    pub mode_step: usize,
    /// Inodes with random owners, groups, modes and ACLs.
    pub random_inodes: usize,
}

/// Why the tree could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MadeError {
    /// Something in it.
    #[error("cannot make `{path}`: {cause}")]
    Inode {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// ACLs are a part of what is shown, so there is no going on without.
    #[error("the file system of `{0}` has no POSIX ACLs: name a directory on one that has, with --tree DIR")]
    NoAcls(PathBuf),
}

/// The tree on disk.
#[derive(Debug)]
pub struct MadeTree {
    /// Its top directory.
    pub top: PathBuf,
    keep: bool,
}

impl Drop for MadeTree {
    fn drop(&mut self) {
        if !self.keep && fs::remove_dir_all(&self.top).is_err() {
            open_up(&self.top);
            // Nothing is lost but space if this fails too.
            let _ = fs::remove_dir_all(&self.top);
        }
    }
}

impl MadeTree {
    /// Makes the tree in `directory`, the same one for the same seed.
    ///
    /// # Errors
    /// [`MadeError`] if anything cannot be made exactly as meant.
    pub fn make(directory: &Path, cast: &Cast, size: Size, seed: u64, keep: bool) -> Result<Self, MadeError> {
        let failed = |path: &Path, cause| MadeError::Inode { path: path.to_owned(), cause };
        let directory = directory.canonicalize().map_err(|cause| failed(directory, cause))?;
        let named = (0..NAMES_TRIED_MAX)
            .map(|number| directory.join(format!("idhini-posix-{}-{number}", std::process::id())));
        let mut made = Err(io::Error::other("no free name"));
        for top in named {
            made = fs::create_dir(&top).map(|()| top);
            if !matches!(&made, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
                break;
            }
        }
        let top = made.map_err(|cause| failed(&directory, cause))?;
        let tree = Self { top: top.clone(), keep };
        let mut maker = Maker { top: top.clone(), cast, rng: Rng::new(seed), size, unset: Vec::new() };
        maker.later(top, &Spec::mode(0, 0, 0o755));
        maker.everything()?;
        maker.set_all()?;
        Ok(tree)
    }
}

/// Makes every directory from `top` down root's own, so that root can remove it even without capabilities.
fn open_up(top: &Path) {
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let opened = lchown(&path, Some(0), Some(0))
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o700)));
        let Ok(entries) = opened.and_then(|()| fs::read_dir(&path)) else { continue };
        let directories =
            entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(directories.map(|entry| entry.path()));
    }
}

/// Who owns an inode, and what it grants.
#[derive(Debug, Clone)]
struct Spec {
    owner: u32,
    group: u32,
    mode: u32,
    acl: Vec<AclEntry>,
}

impl Spec {
    fn mode(owner: u32, group: u32, mode: u32) -> Self {
        Self { owner, group, mode, acl: Vec::new() }
    }

    /// With an ACL: `classes` are the bits of owner, owning group, mask and others.
    fn acl(owner: u32, group: u32, classes: [u16; 4], users: &[(u32, u16)], groups: &[(u32, u16)]) -> Self {
        let line = |tag, bits| AclEntry { tag, bits: Bits::from_low(bits) };
        let [own, owning_group, mask, other] = classes;
        let mut acl = vec![
            line(Tag::Owner, own),
            line(Tag::OwningGroup, owning_group),
            line(Tag::Mask, mask),
            line(Tag::Other, other),
        ];
        acl.extend(users.iter().map(|(id, bits)| line(Tag::User(*id), *bits)));
        acl.extend(groups.iter().map(|(id, bits)| line(Tag::Group(*id), *bits)));
        Self { owner, group, mode: 0o700, acl }
    }
}

/// The making.
struct Maker<'a> {
    top: PathBuf,
    cast: &'a Cast,
    rng: Rng,
    size: Size,
    unset: Vec<(PathBuf, Spec)>,
}

impl Maker<'_> {
    fn later(&mut self, path: PathBuf, spec: &Spec) {
        self.unset.push((path, spec.clone()));
    }

    fn set_all(&mut self) -> Result<(), MadeError> {
        while let Some((path, spec)) = self.unset.pop() {
            self.set(&path, &spec)?;
        }
        Ok(())
    }

    fn file(&mut self, name: impl AsRef<Path>, spec: &Spec) -> Result<(), MadeError> {
        let path = self.top.join(name);
        fs::File::create_new(&path).map_err(|cause| MadeError::Inode { path: path.clone(), cause })?;
        self.later(path, spec);
        Ok(())
    }

    fn directory(&mut self, name: impl AsRef<Path>, spec: &Spec) -> Result<(), MadeError> {
        let path = self.top.join(name);
        fs::create_dir(&path).map_err(|cause| MadeError::Inode { path: path.clone(), cause })?;
        self.later(path, spec);
        Ok(())
    }

    /// A directory with one file in it that everybody may use, if they get there.
    fn directory_with_file(&mut self, name: impl AsRef<Path>, spec: &Spec) -> Result<(), MadeError> {
        self.directory(name.as_ref(), spec)?;
        self.file(name.as_ref().join("inside"), &Spec::mode(0, 0, 0o777))
    }

    fn special(&mut self, name: &str, kind: FileType, spec: &Spec) -> Result<(), MadeError> {
        let path = self.top.join(name);
        rustix::fs::mknodat(CWD, &path, kind, Mode::RUSR, 0)
            .map_err(|errno| MadeError::Inode { path: path.clone(), cause: errno.into() })?;
        self.later(path, spec);
        Ok(())
    }

    fn link(&self, name: impl AsRef<Path>, text: impl AsRef<Path>) -> Result<(), MadeError> {
        let path = self.top.join(name);
        symlink(text, &path).map_err(|cause| MadeError::Inode { path, cause })
    }

    fn hard_link(&self, name: &str, existing: &str) -> Result<(), MadeError> {
        let path = self.top.join(name);
        fs::hard_link(self.top.join(existing), &path).map_err(|cause| MadeError::Inode { path, cause })
    }

    fn set(&self, path: &Path, spec: &Spec) -> Result<(), MadeError> {
        let failed = |cause| MadeError::Inode { path: path.to_owned(), cause };
        lchown(path, Some(spec.owner), Some(spec.group)).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(spec.mode)).map_err(failed)?;
        if spec.acl.is_empty() {
            return Ok(());
        }
        match rustix::fs::lsetxattr(path, acl::ATTRIBUTE, &acl::encode(&spec.acl), XattrFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => Err(MadeError::NoAcls(self.top.clone())),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}
