//! Images of a namespace on disk: roots to start from, so that not the whole log is read again.
//!
//! One file per image, written whole, synced and then given its name; it holds the chunks that no image before it had,
//! and says where all of its chunks are:
//!
//! ```text
//! images/LOG/REVISION.image
//! file    "IDHIPACK" | format 4 | chunks … | tail | tail's length 8 | BLAKE3 of the tail 32
//! tail    log 8 | written at: seconds 8, nanos 4 | writer: id 8, sequence 8 | manifest's length 8 | manifest
//!         | for each of the manifest's chunks: the revision of the file that holds it 8 | offset 8
//! ```
//! Numbers are little-endian. The format is 2; files of format 1 have no writer. The writer is who appended the entry at
//! the image's revision, of sequence 0 if that is not known: an image of another log's past is told by it. An image is a cache of the log: one that is damaged is reported, and the one before it
//! used.
//!
//! # Invariants
//! * Only durable revisions are imaged, and an image has its name only when it is durable.
//! * A file stays as long as an image that is kept needs one of its chunks.
//! * As soon as there are two images, the newest and another one that is kept share no file.
//! * What is found damaged is neither counted nor continued, nor is what shares a file with it before it was read again.
//! * That a file cannot be read now says nothing about what is in it.
//!
//! Cost: writing an image O(what changed since the last), opening one O(its bytes).

mod facts;
mod keep;
mod pack;
mod tail;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use idhini_changelog::LogId;
use idhini_changelog::disk::{Disk, DiskFile};
use idhini_graph::{Digest, Image, Manifest, OpenError, Root, Written};
use idhini_model::{Revision, Timestamp};

pub use self::facts::ImageFacts;
use self::facts::fallback;
use self::keep::Standing;
use self::pack::{Pack, read_exactly};
pub(crate) use self::tail::LastEntry;
use self::tail::Tail;
use crate::namespace::locked;

const MAGIC: &[u8; 8] = b"IDHIPACK";
const FORMAT: u32 = 2;
/// The format before: its tail does not say who wrote the last entry.
const WITHOUT_WRITER: u32 = 1;
const HEAD_BYTES: u64 = 12;
const END_BYTES: u64 = 40;
const SUFFIX: &str = ".image";
const UNFINISHED: &str = ".unfinished";
/// A smaller image is written whole: what its chunks take is not worth a second file.
const WHOLE_BYTES: u64 = 64 * 1024;
/// An image whose chunks are in more files than this, or in files so many times as long as its chunks, is written whole
/// the next time, so that the files before it can go.
const FILES_MAX: usize = 8;
const FILES_SHARE_MAX: u64 = 3;

/// Tells the operator what cannot be told to a caller.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Why an image cannot be used, or not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFileError {
    /// The disk does not do it.
    #[error("{path}: {source}")]
    Disk {
        /// The file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// It was written by a later release.
    #[error("{path} has format {found}; this release reads format {FORMAT}")]
    NewerFormat {
        /// The file.
        path: String,
        /// The format found.
        found: u32,
    },
    /// It is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: Revision,
    offset: u64,
}

/// The images of one namespace.
pub struct Images {
    disk: Arc<dyn Disk>,
    log: LogId,
    directory: String,
    report: Report,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By revision.
    known: BTreeMap<Revision, Standing>,
    /// The newest image, ready to be continued, and where its chunks are.
    newest: Option<Arc<Continued>>,
    /// Whether something was found damaged since the last image was written.
    is_due: bool,
    /// How often that was.
    damages: u64,
    /// What could not be removed of an image that could not be written.
    unfinished: Option<String>,
    /// Whether they were removed for good: no other is written.
    has_ended: bool,
}

type Continued = (Image, HashMap<Digest, Place>);

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Images {
    /// The images of this log; what was left unfinished is removed.
    ///
    /// # Errors
    /// [`ImageFileError::Disk`].
    pub fn open(disk: Arc<dyn Disk>, log: LogId, report: Report) -> Result<Images, ImageFileError> {
        let images = Images::look(disk, log, report)?;
        for name in images.names()?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            let path = format!("{}/{name}", images.directory);
            images.disk.remove(&path).map_err(|source| ImageFileError::Disk { path, source })?;
        }
        Ok(images)
    }

    /// The images of this log, to be looked at only.
    ///
    /// # Errors
    /// [`ImageFileError::Disk`].
    pub fn look(disk: Arc<dyn Disk>, log: LogId, report: Report) -> Result<Images, ImageFileError> {
        let images = Images::at(disk, log, report);
        let mut known = BTreeMap::new();
        for name in images.names()? {
            if let Some(revision) = name.strip_suffix(SUFFIX).and_then(|text| text.parse().ok()) {
                known.insert(Revision(revision), Standing::Unread);
            }
        }
        locked(&images.state).known = known;
        images.look_again();
        Ok(images)
    }

    fn at(disk: Arc<dyn Disk>, log: LogId, report: Report) -> Images {
        let directory = format!("images/{:016x}", log.0);
        Images { disk, log, directory, report, state: Mutex::default() }
    }

    fn names(&self) -> Result<Vec<String>, ImageFileError> {
        let listed = self.disk.list(&self.directory);
        listed.map_err(|source| ImageFileError::Disk { path: self.directory.clone(), source })
    }

    /// Removes all images of a log that nobody has open.
    pub(crate) fn remove_all(disk: Arc<dyn Disk>, log: LogId) -> Result<(), ImageFileError> {
        // What is in them does not matter, nor whether it can be read.
        Images::at(disk, log, Arc::new(|_| ())).end()
    }

    /// Removes all images; no other is written afterwards. Called where none is being written.
    pub(crate) fn end(&self) -> Result<(), ImageFileError> {
        {
            let mut state = locked(&self.state);
            state.has_ended = true;
            state.known.clear();
            state.newest = None;
        }
        let names = self.names()?;
        for name in &names {
            let path = format!("{}/{name}", self.directory);
            self.disk.remove(&path).map_err(|source| ImageFileError::Disk { path, source })?;
        }
        let gone = |source| ImageFileError::Disk { path: self.directory.clone(), source };
        self.disk.remove_directory(&self.directory).map_err(gone)
    }

    /// The images that can be used, as far as is known, oldest first.
    #[must_use]
    pub fn facts(&self) -> Vec<ImageFacts> {
        locked(&self.state).good().cloned().collect()
    }

    /// The last revision that was imaged, whether its image can be read or not: it has its name since it was durable.
    pub(crate) fn last(&self) -> Option<Revision> {
        locked(&self.state).known.last_key_value().map(|(revision, _)| *revision)
    }

    /// Leaves out what is beyond `head`: a backup may have an image whose entries were not copied yet.
    #[must_use]
    pub fn up_to(self, head: Revision) -> Images {
        locked(&self.state).known.retain(|revision, _| *revision <= head);
        self
    }

    /// The root of the newest good image that is not beyond `head`, and when its last entry was written.
    pub(crate) fn newest(&self, seed: u64, head: Revision) -> Option<(Root, Timestamp)> {
        for facts in self.facts().into_iter().rev().filter(|facts| facts.revision <= head) {
            if let Some((root, image, places)) = self.root(facts.revision, seed) {
                locked(&self.state).newest = Some(Arc::new((image, places)));
                return Some((root, facts.written_at));
            }
        }
        None
    }

    /// The root of the nearest image at or before `asked` that is not before `oldest`: an image may be there, or be there
    /// again, of which the log no longer leads on.
    pub(crate) fn nearest(&self, asked: Revision, oldest: Revision, seed: u64) -> Option<Root> {
        let facts = self.facts();
        facts
            .iter()
            .rev()
            .filter(|facts| oldest <= facts.revision && facts.revision <= asked)
            .find_map(|facts| self.root(facts.revision, seed))
            .map(|(root, ..)| root)
    }

    /// The root of the first image after `asked` from which the entries in between can be undone.
    pub(crate) fn undoable_to(&self, asked: Revision, seed: u64) -> Option<Root> {
        let is_undoable = |manifest: &Manifest| manifest.floor() <= asked.next();
        let facts = self.facts();
        let mut after = facts.iter().map(|facts| facts.revision).filter(|revision| *revision > asked);
        after.find_map(|revision| {
            self.manifest(revision).ok().filter(|(manifest, _)| is_undoable(manifest))?;
            self.root(revision, seed).map(|(root, ..)| root)
        })
    }

    /// Opens an image; reports why not.
    fn root(&self, revision: Revision, seed: u64) -> Option<(Root, Image, HashMap<Digest, Place>)> {
        match self.opened(revision, seed) {
            Ok(opened) => {
                self.found_whole(revision);
                Some(opened)
            }
            Err(error) => {
                self.found(revision, &error);
                None
            }
        }
    }

    fn opened(
        &self,
        revision: Revision,
        seed: u64,
    ) -> Result<(Root, Image, HashMap<Digest, Place>), ImageFileError> {
        let Tail { manifest, places, .. } = self.tail(revision)?;
        let mut files: HashMap<Revision, Arc<dyn DiskFile>> = HashMap::new();
        let opened = Image::open(manifest, seed, |chunk| {
            let Some(place) = places.get(&chunk.digest) else {
                return Err((self.path(revision), io::Error::from(io::ErrorKind::NotFound)));
            };
            let path = self.path(place.file);
            let file = match files.get(&place.file) {
                Some(file) => file,
                None => match self.disk.open(&path) {
                    Ok(file) => files.entry(place.file).or_insert(file),
                    Err(source) => return Err((path, source)),
                },
            };
            read_exactly(&**file, place.offset, chunk.bytes).map_err(|source| (path, source))
        });
        match opened {
            Ok((root, image)) => Ok((root, image, places)),
            Err(OpenError::Unreadable { source: (path, source), .. }) => {
                Err(self.unreadable(revision, &path, source))
            }
            Err(error) => Err(self.damaged(revision, &error.to_string())),
        }
    }

    /// Verifies every chunk of an image.
    ///
    /// # Errors
    /// [`ImageFileError`].
    pub fn verify(&self, revision: Revision) -> Result<Root, ImageFileError> {
        self.opened(revision, 0).map(|(root, ..)| root)
    }

    /// The manifest of an image, and when its last entry was written.
    ///
    /// # Errors
    /// [`ImageFileError`].
    pub fn manifest(&self, revision: Revision) -> Result<(Manifest, Timestamp), ImageFileError> {
        let Tail { manifest, facts, .. } = self.tail(revision)?;
        Ok((manifest, facts.written_at))
    }

    /// The chunks of an image at these places of its manifest, as they are: whoever opens them verifies them.
    ///
    /// # Errors
    /// [`ImageFileError`], also if the manifest has no such place.
    pub fn chunks(
        &self,
        revision: Revision,
        places: &[usize],
        mut each: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), ImageFileError> {
        let tail = self.tail(revision)?;
        let all: Vec<_> = tail.manifest.chunks().collect();
        for place in places {
            let chunk = all.get(*place).ok_or_else(|| self.damaged(revision, "it has no such chunk"))?;
            let at = tail.places.get(&chunk.digest).copied();
            let at = at.ok_or_else(|| self.damaged(revision, "it has no such chunk"))?;
            let path = self.path(at.file);
            let read = self.disk.open(&path).and_then(|file| read_exactly(&*file, at.offset, chunk.bytes));
            if !each(read.map_err(|source| ImageFileError::Disk { path, source })?) {
                break;
            }
        }
        Ok(())
    }

    /// Which of a manifest's chunks are here already, by their places.
    ///
    /// # Errors
    /// [`ImageFileError`].
    pub fn has(&self, manifest: &Manifest) -> Result<Vec<bool>, ImageFileError> {
        let have = self.own_places()?;
        Ok(manifest.chunks().map(|chunk| have.contains_key(&chunk.digest)).collect())
    }

    fn own_places(&self) -> Result<HashMap<Digest, Place>, ImageFileError> {
        let mut places = HashMap::new();
        for facts in self.facts() {
            places.extend(self.tail(facts.revision)?.places);
        }
        Ok(places)
    }

    /// Takes an image over that was written elsewhere; `chunk` gives those that are not here, in the manifest's order.
    ///
    /// # Errors
    /// [`ImageFileError`]; the images before are as good as they were.
    pub fn adopt(
        &self,
        manifest: &Manifest,
        written_at: Timestamp,
        mut chunk: impl FnMut() -> io::Result<Vec<u8>>,
    ) -> Result<(), ImageFileError> {
        let revision = manifest.revision();
        let have = self.own_places()?;
        // Whoever copies the entries appends them anew.
        let last = LastEntry { written_at, writer: None };
        self.put(revision, |pack| {
            let mut places = HashMap::new();
            for wanted in manifest.chunks() {
                if let Some(place) = have.get(&wanted.digest).copied() {
                    places.insert(wanted.digest, place);
                    continue;
                }
                if places.contains_key(&wanted.digest) {
                    continue;
                }
                let bytes = chunk()?;
                if Digest::of(&bytes) != wanted.digest {
                    return Err(io::Error::other(format!(
                        "chunk {} is not what its name says",
                        wanted.digest
                    )));
                }
                places.insert(wanted.digest, Place { file: revision, offset: pack.at });
                pack.put(&bytes)?;
            }
            self.finish(pack, manifest, &places, last).map(|facts| ((), places, facts))
        })
        .map(|_| ())
    }

    /// Writes a file and gives it its name once it is durable.
    fn put<T>(
        &self,
        revision: Revision,
        write: impl FnOnce(&mut Pack) -> io::Result<(T, HashMap<Digest, Place>, ImageFacts)>,
    ) -> Result<(T, HashMap<Digest, Place>), ImageFileError> {
        let name = self.path(revision);
        let unfinished = format!("{name}{UNFINISHED}");
        let disk_error = |path: &str| {
            let path = path.to_owned();
            move |source| ImageFileError::Disk { path, source }
        };
        if locked(&self.state).has_ended {
            let gone = io::Error::new(io::ErrorKind::NotFound, "the namespace was deleted");
            return Err(ImageFileError::Disk { path: name, source: gone });
        }
        let left = locked(&self.state).unfinished.take_if(|left| *left == unfinished);
        if let Some(left) = left {
            self.disk.remove(&left).map_err(disk_error(&left))?;
        }
        // What is there already is another's.
        let file = self.disk.create(&unfinished).map_err(disk_error(&unfinished))?;
        let (written, places, facts) = match Pack::begin(file).and_then(|mut pack| write(&mut pack)) {
            Ok(written) => written,
            Err(source) => {
                // What is left of it is removed now, before the next attempt, or when the images are opened.
                if self.disk.remove(&unfinished).is_err() {
                    locked(&self.state).unfinished = Some(unfinished.clone());
                }
                return Err(disk_error(&unfinished)(source));
            }
        };
        self.disk.rename(&unfinished, &name).map_err(disk_error(&name))?;
        self.disk.sync_directory(&self.directory).map_err(disk_error(&self.directory))?;
        locked(&self.state).known.insert(revision, Standing::Good { facts, is_whole: false });
        Ok((written, places))
    }

    /// Writes an image of a durable revision; its entries from `floor` on can be undone.
    ///
    /// # Errors
    /// [`ImageFileError`]; the images before are as good as they were.
    pub(crate) fn write(
        &self,
        root: &Root,
        floor: Revision,
        last: LastEntry,
    ) -> Result<Written, ImageFileError> {
        let is_continued = self.is_continued();
        let (before, damages) = {
            let mut state = locked(&self.state);
            if !is_continued {
                state.newest = None;
            }
            (state.newest.clone(), state.damages)
        };
        let before = before.as_deref();
        let (image, places) =
            self.put(root.revision(), |pack| self.write_file(pack, root, floor, last, before))?;
        let written = image.written();
        let mut state = locked(&self.state);
        // What was found damaged meanwhile may be what this one continues.
        let is_sound = state.damages == damages;
        state.newest = is_sound.then(|| Arc::new((image, places)));
        state.is_due &= !is_sound;
        Ok(written)
    }

    /// Whether the next image leaves chunks where they are.
    fn is_continued(&self) -> bool {
        let state = locked(&self.state);
        let good: Vec<&ImageFacts> = state.good().collect();
        // Until there is one to fall back to, whatever is damaged, nothing is shared.
        let (Some(newest), Some(_)) = (good.last(), fallback(&good)) else { return false };
        let files: u64 =
            newest.files.iter().filter_map(|file| state.known.get(file)?.facts()).map(|f| f.file_bytes).sum();
        newest.chunks_bytes >= WHOLE_BYTES
            && newest.files.len() <= FILES_MAX
            && files <= newest.chunks_bytes.saturating_mul(FILES_SHARE_MAX)
    }

    fn write_file(
        &self,
        pack: &mut Pack,
        root: &Root,
        floor: Revision,
        last: LastEntry,
        before: Option<&(Image, HashMap<Digest, Place>)>,
    ) -> io::Result<(Image, HashMap<Digest, Place>, ImageFacts)> {
        let revision = root.revision();
        let mut new = HashMap::new();
        let mut sink = |digest: &Digest, bytes: &[u8]| {
            new.insert(*digest, Place { file: revision, offset: pack.at });
            pack.put(bytes)
        };
        let image = match before {
            Some((image, _)) => image.write_next(root, floor, &mut sink)?,
            None => Image::write(root, floor, &mut sink)?,
        };
        let mut places = HashMap::new();
        for chunk in image.manifest().chunks() {
            let old = before.and_then(|(_, places)| places.get(&chunk.digest));
            let place = new.get(&chunk.digest).or(old).copied();
            places.extend(place.map(|place| (chunk.digest, place)));
        }
        let facts = self.finish(pack, image.manifest(), &places, last)?;
        Ok((image, places, facts))
    }

    fn path(&self, revision: Revision) -> String {
        format!("{}/{:020}{SUFFIX}", self.directory, revision.0)
    }

    fn damaged(&self, revision: Revision, what: &str) -> ImageFileError {
        ImageFileError::Damaged { path: self.path(revision), what: what.to_owned() }
    }

    /// A file that is gone, or ends too soon, is damaged; anything else may be over the next time.
    fn unreadable(&self, revision: Revision, path: &str, source: io::Error) -> ImageFileError {
        match source.kind() {
            io::ErrorKind::NotFound => self.damaged(revision, &format!("{path} is not there")),
            io::ErrorKind::UnexpectedEof => self.damaged(revision, &format!("{path} ends too soon")),
            _ => ImageFileError::Disk { path: path.to_owned(), source },
        }
    }
}
