//! Where does a symbolic link lead, and through which directories? Goes its way name by name, as the kernel does.
//!
//! The kernel needs the search permission of every directory in which it looks up a name. Searching a directory
//! implies searching all above it, so what a link needs is: each directory in which a name is looked up.
//!
//! Source: `link_path_walk` in `fs/namei.c`.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::{
    Area, Exclusion, Facts, FactsError, Inode, Kind, LINKS_FOLLOWED_MAX, OTHERS_WRITE_AND_STICKY, Tree,
};

impl Tree {
    /// Finds the ways and targets of all links. Call it once, when all roots are read.
    pub fn resolve_links(&mut self) {
        for link in 0..self.inodes.len() {
            let unresolved = self
                .inodes
                .get(link)
                .is_some_and(|inode| inode.kind == Kind::LostLink && inode.area != Area::Way);
            if !unresolved {
                continue;
            }
            match self.way_of(link) {
                Ok((steps, target)) => {
                    if let Some(inode) = self.inodes.get_mut(link) {
                        inode.kind = Kind::Link { steps, target };
                    }
                }
                Err(why) => self.exclude(why),
            }
        }
    }

    fn way_of(&mut self, link: usize) -> Result<(Vec<usize>, usize), Exclusion> {
        let mut at = self.inodes.get(link).ok_or(Exclusion::DanglingLink)?.parent;
        let mut steps = vec![at];
        let mut names = VecDeque::new();
        self.enter(link, &mut at, &mut names)?;
        let mut followed = 1;
        while let Some(name) = names.pop_front() {
            let here = self.inodes.get(at).ok_or(Exclusion::DanglingLink)?;
            if here.kind != Kind::Directory {
                return Err(Exclusion::DanglingLink);
            }
            // Between two slashes, or after the last: a directory must stand here, but no name is looked up in it.
            if name.is_empty() {
                continue;
            }
            if !steps.contains(&at) {
                steps.push(at);
            }
            match name.as_slice() {
                b"." => {}
                b".." => at = here.parent,
                _ => {
                    let path = here.path.join(OsStr::from_bytes(&name));
                    let next = self.look_up(&path, at)?;
                    if self
                        .inodes
                        .get(next)
                        .is_some_and(|inode| matches!(inode.kind, Kind::Link { .. } | Kind::LostLink))
                    {
                        followed += 1;
                        if followed > LINKS_FOLLOWED_MAX {
                            return Err(Exclusion::DanglingLink);
                        }
                        self.enter(next, &mut at, &mut names)?;
                    } else {
                        at = next;
                    }
                }
            }
        }
        Ok((steps, at))
    }

    /// Puts the names of a link's text before those that still wait, and starts at `/` if the text does.
    fn enter(&self, link: usize, at: &mut usize, names: &mut VecDeque<Vec<u8>>) -> Result<(), Exclusion> {
        let inode = self.inodes.get(link).ok_or(Exclusion::DanglingLink)?;
        let holder = self.inodes.get(inode.parent).ok_or(Exclusion::DanglingLink)?;
        if holder.facts.mode & OTHERS_WRITE_AND_STICKY == OTHERS_WRITE_AND_STICKY {
            return Err(Exclusion::StickyLink);
        }
        let text = std::fs::read_link(&inode.path).map_err(|_| Exclusion::Moving)?;
        let text = text.as_os_str().as_bytes();
        if text.first() == Some(&b'/') {
            *at = 0;
        }
        for name in text.split(|byte| *byte == b'/').rev() {
            names.push_front(name.to_vec());
        }
        Ok(())
    }

    fn look_up(&mut self, path: &Path, parent: usize) -> Result<usize, Exclusion> {
        if let Some(&known) = self.by_path.get(path) {
            return Ok(known);
        }
        let facts = Facts::read(path).map_err(|error| match error {
            FactsError::Kernel(Errno::ACCESS) => Exclusion::Unreadable,
            _ => Exclusion::DanglingLink,
        })?;
        if !self.mounts.contains_key(&facts.mount) {
            return Err(Exclusion::LinkOut);
        }
        let (facts, list, kind) = self.judge(path, None).map_err(|_| Exclusion::LinkOut)?;
        let place = self.inodes.len();
        self.by_path.insert(path.to_owned(), place);
        self.inodes.push(Inode { path: path.to_owned(), facts, kind, parent, area: Area::Way, list });
        Ok(place)
    }
}
