//! Which images are good, and which are kept?
//!
//! An image is known from its tail; whether its chunks are good is known once they were read. An image from which nothing
//! is rebuilt any more goes, and the log below it, only when those that stay were read.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use idhini_changelog::disk::DiskFile;
use idhini_graph::Digest;
use idhini_model::Revision;

use super::facts::fallback;
use super::pack::read_exactly;
use super::{ImageFacts, ImageFileError, Images, State};
use crate::namespace::locked;

/// What is known of an image's file.
pub(super) enum Standing {
    /// Nothing, since the disk did not give it.
    Unread,
    /// Its tail is good.
    Good {
        facts: ImageFacts,
        /// Whether all its chunks were read, and nothing was found since that makes them doubtful.
        is_whole: bool,
    },
    /// It is not what was written.
    Damaged,
}

impl Standing {
    pub(super) fn facts(&self) -> Option<&ImageFacts> {
        match self {
            Standing::Good { facts, .. } => Some(facts),
            _ => None,
        }
    }
}

impl State {
    /// Those that can be used, as far as is known, oldest first.
    pub(super) fn good(&self) -> impl Iterator<Item = &ImageFacts> {
        self.known.values().filter_map(Standing::facts)
    }

    fn is_whole(&self, revision: Revision) -> bool {
        matches!(self.known.get(&revision), Some(Standing::Good { is_whole: true, .. }))
    }

    /// Nothing rests on an image that is damaged, nor on a file of it that was not read again.
    fn condemn(&mut self, revision: Revision) {
        let Some(standing) = self.known.get_mut(&revision) else { return };
        let before = std::mem::replace(standing, Standing::Damaged);
        let mut files = BTreeSet::from([revision]);
        files.extend(before.facts().into_iter().flat_map(|facts| facts.files.iter().copied()));
        for other in self.known.values_mut() {
            if let Standing::Good { facts, is_whole } = other
                && !facts.files.is_disjoint(&files)
            {
                *is_whole = false;
            }
        }
        self.newest = self.newest.take().filter(|newest| {
            let (image, places) = &**newest;
            !files.contains(&image.manifest().revision())
                && places.values().all(|place| !files.contains(&place.file))
        });
        self.is_due = true;
        self.damages += 1;
    }

    /// The files that the next image leaves chunks in.
    fn continued(&self) -> BTreeSet<Revision> {
        let newest = self.newest.iter();
        newest
            .flat_map(|newest| {
                let (image, places) = &**newest;
                places.values().map(|place| place.file).chain([image.manifest().revision()])
            })
            .collect()
    }
}

impl Images {
    /// Reads the tails that could not be read so far.
    pub(super) fn look_again(&self) {
        let unread: Vec<Revision> = {
            let state = locked(&self.state);
            let unread = state.known.iter().filter(|(_, known)| matches!(known, Standing::Unread));
            unread.map(|(revision, _)| *revision).collect()
        };
        for revision in unread {
            match self.tail(revision) {
                Ok(tail) => {
                    let good = Standing::Good { facts: tail.facts, is_whole: false };
                    locked(&self.state).known.insert(revision, good);
                }
                Err(error) => self.found(revision, &error),
            }
        }
    }

    /// All chunks of an image were good.
    pub(super) fn found_whole(&self, revision: Revision) {
        if let Some(Standing::Good { is_whole, .. }) = locked(&self.state).known.get_mut(&revision) {
            *is_whole = true;
        }
    }

    /// An image could not be read. Only what is damaged stays so.
    pub(super) fn found(&self, revision: Revision, error: &ImageFileError) {
        let mut state = locked(&self.state);
        if !state.known.contains_key(&revision) {
            // It was let go of meanwhile.
            return;
        }
        if !matches!(error, ImageFileError::Disk { .. }) {
            state.condemn(revision);
        }
        drop(state);
        (self.report)(&format!("an image cannot be used, the one before it is: {error}"));
    }

    /// Whether an image should be written whatever has changed.
    pub(crate) fn is_due(&self) -> bool {
        locked(&self.state).is_due
    }

    /// Whether there is an image at `revision` or later that was read and is good.
    ///
    /// # Errors
    /// [`ImageFileError::Disk`]: it cannot be found out now.
    pub(crate) fn reaches(&self, revision: Revision) -> Result<bool, ImageFileError> {
        while let Some(newest) = self.facts().pop().filter(|newest| newest.revision >= revision) {
            if self.is_good(newest.revision)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all chunks of an image are good: read unless they were before. One that is damaged is not known any more.
    fn is_good(&self, revision: Revision) -> Result<bool, ImageFileError> {
        if locked(&self.state).is_whole(revision) {
            return Ok(true);
        }
        match self.read_back(revision) {
            Ok(()) => {
                self.found_whole(revision);
                Ok(true)
            }
            Err(error @ ImageFileError::Disk { .. }) => Err(error),
            Err(error) => {
                self.found(revision, &error);
                Ok(false)
            }
        }
    }

    fn read_back(&self, revision: Revision) -> Result<(), ImageFileError> {
        let tail = self.tail(revision)?;
        let mut files: HashMap<Revision, Arc<dyn DiskFile>> = HashMap::new();
        let mut read = HashMap::new();
        for chunk in tail.manifest.chunks() {
            if read.insert(chunk.digest, ()).is_some() {
                continue;
            }
            let place = tail.places.get(&chunk.digest).copied();
            let place = place.ok_or_else(|| self.damaged(revision, "it has no such chunk"))?;
            let path = self.path(place.file);
            let unreadable = |source| self.unreadable(revision, &path, source);
            let file = match files.get(&place.file) {
                Some(file) => file,
                None => files.entry(place.file).or_insert(self.disk.open(&path).map_err(unreadable)?),
            };
            let bytes = read_exactly(&**file, place.offset, chunk.bytes).map_err(unreadable)?;
            if Digest::of(&bytes) != chunk.digest {
                return Err(
                    self.damaged(revision, &format!("{path} has other bytes than chunk {}", chunk.digest))
                );
            }
        }
        Ok(())
    }

    /// The newest image and the one to fall back to, both read and good.
    fn relied_on(&self) -> Result<(Option<Revision>, Option<Revision>), ImageFileError> {
        loop {
            let (newest, sure) = {
                let state = locked(&self.state);
                let good: Vec<&ImageFacts> = state.good().collect();
                let sure = fallback(&good).map(|fallback| fallback.revision);
                (good.last().map(|newest| newest.revision), sure)
            };
            let mut both = newest.into_iter().chain(sure);
            // Each time round, one more was found damaged.
            if both.try_fold(true, |all, revision| Ok(all && self.is_good(revision)?))? {
                return Ok((newest, sure));
            }
        }
    }

    /// Lets go of images from which nothing is rebuilt any more: those before `floor`, but for the newest and one to fall
    /// back to. Returns the revision from which on the log is needed for those that stay; `None` if all of it is.
    ///
    /// # Errors
    /// [`ImageFileError::Disk`].
    pub(crate) fn retain(&self, floor: Revision) -> Result<Option<Revision>, ImageFileError> {
        self.look_again();
        let (newest, sure) = self.relied_on()?;
        let sure = sure.or(newest);
        let (gone, oldest) = {
            let state = locked(&self.state);
            // The log is what there is instead of an image that is damaged, until there is another image.
            if state.is_due || state.known.values().any(|known| matches!(known, Standing::Unread)) {
                return Ok(None);
            }
            let is_kept = |f: &&ImageFacts| {
                f.revision >= floor || Some(f.revision) == sure || Some(f.revision) == newest
            };
            let kept: Vec<&ImageFacts> = state.good().filter(is_kept).collect();
            let mut needed = state.continued();
            needed.extend(kept.iter().flat_map(|f| f.files.iter().copied()));
            let gone: Vec<Revision> = match kept.is_empty() {
                true => Vec::new(),
                false => state.known.keys().filter(|revision| !needed.contains(revision)).copied().collect(),
            };
            (gone, kept.first().map(|facts| facts.revision))
        };
        self.remove(gone)?;
        Ok(oldest)
    }

    /// Removes files, those first that need others, and those durably before the ones that they need: no image is left, or
    /// comes back with a power cut, that lacks a file.
    fn remove(&self, gone: Vec<Revision>) -> Result<(), ImageFileError> {
        let mut needed_by_removed = BTreeSet::new();
        for revision in gone.into_iter().rev() {
            let disk_error = |path: &str, source| ImageFileError::Disk { path: path.to_owned(), source };
            if needed_by_removed.contains(&revision) {
                let synced = self.disk.sync_directory(&self.directory);
                synced.map_err(|source| disk_error(&self.directory, source))?;
                needed_by_removed.clear();
            }
            // Whoever looks for an image meanwhile does not find one that goes.
            let Some(known) = locked(&self.state).known.remove(&revision) else { continue };
            let path = self.path(revision);
            match self.disk.remove(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    locked(&self.state).known.insert(revision, known);
                    return Err(disk_error(&path, source));
                }
                _ => {}
            }
            needed_by_removed.extend(known.facts().into_iter().flat_map(|facts| facts.files.iter().copied()));
        }
        Ok(())
    }
}
