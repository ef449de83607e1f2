//! How does one get at a revision that is not in memory?
//!
//! It is rebuilt with the log's entries: by undoing those between it and a root after it, or by applying those between
//! a root before it and it. A root in memory that is near is preferred, since what is made of it shares its memory;
//! then whatever is nearest by revisions, images and the empty beginning included. What proves too many changes away is
//! followed by the next way.
//!
//! # Invariants
//! * A rebuilt revision is what its readers would have seen then: undoing an entry gives the root that was before it.
//! * At most [`TURNS`] revisions are rebuilt at a time, so at most as many images are open that nobody has yet.
//! * What is held of rebuilt revisions takes no more than the newest one, or is of a single image.
//!
//! Cost: the distance in changes, at most [`crate::Options::rebuild_changes_max`] by each way that is tried, once for all who
//! ask at the same time; O(its bytes) for an image.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use idhini_changelog::LogError;
use idhini_graph::Root;
use idhini_model::{Logged, Revision, Timestamp};
use tokio::sync::{OnceCell, Semaphore};

use crate::broken::{Variant, is_broken};
use crate::follow::{self, READ_BYTES};
use crate::namespace::{RELATIONSHIP_BYTES, in_place, locked};
use crate::{FollowError, Namespace, Published, ReplicaError};

/// Rebuilt revisions that are kept for whoever asks next, and how long after they were last asked for.
const REBUILT_MAX: usize = 8;
const REBUILT_SECONDS: i64 = 60;
/// Revisions rebuilt at a time.
const TURNS: usize = 2;
/// A root in memory is near if it is no more changes away than this share of the relationships. Undoing a change takes some
/// 200 times as long as opening an image takes for a relationship, but shares its memory with the root it began from.
const NEAR_SHARE: u64 = 128;

/// Revisions that were rebuilt, or are being.
pub(crate) struct Rebuilt {
    /// Least recently asked for first.
    asked: Mutex<VecDeque<Asked>>,
    turns: Semaphore,
}

struct Asked {
    revision: Revision,
    at: Timestamp,
    cell: Arc<OnceCell<Start>>,
}

/// A revision in memory, from which others can be rebuilt.
#[derive(Clone)]
struct Start {
    published: Arc<Published>,
    /// Memory that was taken when it was opened, and that is shared by all that were rebuilt from it; `None` if that is
    /// shared with the newest revision.
    opened_bytes: Option<Arc<u64>>,
    /// What was changed to get here.
    own_bytes: u64,
}

/// Where rebuilding can start.
enum Way {
    Memory(Start),
    ImageBelow,
    ImageAbove,
    Beginning,
}

impl Default for Rebuilt {
    fn default() -> Rebuilt {
        Rebuilt { asked: Mutex::default(), turns: Semaphore::new(TURNS) }
    }
}

impl Rebuilt {
    /// Where this revision is or will be.
    fn cell(&self, revision: Revision, now: Timestamp) -> Arc<OnceCell<Start>> {
        let mut asked = locked(&self.asked);
        let known = asked.iter().position(|asked| asked.revision == revision).and_then(|at| asked.remove(at));
        let cell = known.map(|known| known.cell).unwrap_or_default();
        asked.push_back(Asked { revision, at: now, cell: Arc::clone(&cell) });
        cell
    }

    /// This revision, if it is rebuilt already.
    fn kept(&self, revision: Revision, now: Timestamp) -> Option<Arc<Published>> {
        let mut asked = locked(&self.asked);
        let at = asked.iter().position(|asked| asked.revision == revision && asked.cell.get().is_some())?;
        let known = asked.remove(at)?;
        let published = known.cell.get().map(|start| Arc::clone(&start.published));
        asked.push_back(Asked { at: now, ..known });
        published
    }

    /// Lets go of those that are too many or take too much, of those that were asked for before `since`, and of those
    /// that nobody waits for any more.
    fn tidy(&self, bytes_max: u64, since: Timestamp) {
        let mut gone = Vec::new();
        {
            let mut asked = locked(&self.asked);
            let (kept, old): (Vec<Asked>, Vec<Asked>) = asked.drain(..).partition(|asked| {
                let is_waited_for = Arc::strong_count(&asked.cell) > 1;
                is_waited_for || (asked.cell.get().is_some() && asked.at >= since)
            });
            asked.extend(kept);
            gone.extend(old);
            loop {
                let count = asked.iter().filter(|asked| asked.cell.get().is_some()).count();
                if count <= REBUILT_MAX && (count <= 1 || !are_too_large(&asked, bytes_max)) {
                    break;
                }
                let first = asked.iter().position(|asked| asked.cell.get().is_some());
                gone.extend(first.and_then(|at| asked.remove(at)));
            }
        }
        // Freeing a whole root takes a while.
        if !gone.is_empty() {
            in_place(true, || drop(gone));
        }
    }

    /// The nearest before and the nearest after this revision.
    fn beside(&self, revision: Revision) -> (Option<Start>, Option<Start>) {
        let asked = locked(&self.asked);
        let found = || asked.iter().filter_map(|asked| Some((asked.revision, asked.cell.get()?)));
        let below = found().filter(|(at, _)| *at < revision).max_by_key(|(at, _)| *at);
        let above = found().filter(|(at, _)| *at > revision).min_by_key(|(at, _)| *at);
        (below.map(|(_, start)| start.clone()), above.map(|(_, start)| start.clone()))
    }

    /// About what they take beside the newest revision.
    pub(crate) fn memory_bytes(&self) -> u64 {
        bytes_of(&locked(&self.asked))
    }
}

/// What was opened, each once however many were rebuilt from it, and what was changed from there.
fn parts_of(asked: &VecDeque<Asked>) -> (Vec<u64>, u64) {
    let found = || asked.iter().filter_map(|asked| asked.cell.get());
    let mut opened: Vec<&Arc<u64>> = found().filter_map(|start| start.opened_bytes.as_ref()).collect();
    opened.sort_by_key(|bytes| Arc::as_ptr(bytes));
    opened.dedup_by_key(|bytes| Arc::as_ptr(bytes));
    (opened.into_iter().map(|bytes| **bytes).collect(), found().map(|start| start.own_bytes).sum())
}

fn bytes_of(asked: &VecDeque<Asked>) -> u64 {
    let (opened, own) = parts_of(asked);
    opened.into_iter().sum::<u64>() + own
}

/// One that was opened, and what little others change of it, is never too much.
fn are_too_large(asked: &VecDeque<Asked>, bytes_max: u64) -> bool {
    let (opened, own) = parts_of(asked);
    own > bytes_max || (opened.len() > 1 && opened.into_iter().sum::<u64>() + own > bytes_max)
}

impl Start {
    /// A revision that is kept anyway.
    fn kept(published: &Arc<Published>) -> Start {
        Start { published: Arc::clone(published), opened_bytes: None, own_bytes: 0 }
    }

    fn revision(&self) -> Revision {
        self.published.revision()
    }
}

impl Namespace {
    /// Exactly this revision, if it need not be rebuilt.
    ///
    /// # Errors
    /// [`ReplicaError::NotYet`] if it is still to come.
    pub fn kept_at(&self, asked: Revision) -> Result<Option<Arc<Published>>, ReplicaError> {
        {
            let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
            let applied = history.newest.revision();
            let Some(above) = history.from(asked) else {
                return Err(ReplicaError::NotYet { asked, applied });
            };
            if above.revision() == asked {
                return Ok(Some(Arc::clone(above)));
            }
        }
        Ok(self.rebuilt.kept(asked, self.now()))
    }

    /// Exactly this revision, rebuilt if need be.
    ///
    /// # Errors
    /// [`ReplicaError::Expired`] if it is no longer kept, [`ReplicaError::NotYet`] if it is still to come,
    /// [`ReplicaError::TooFar`], [`ReplicaError::PastUnreadable`].
    pub async fn at(self: &Arc<Self>, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        match self.kept_at(asked)? {
            Some(kept) => Ok(kept),
            None => self.aside(Arc::clone(self).rebuilt_at(asked)).await,
        }
    }

    async fn rebuilt_at(self: Arc<Self>, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        let cell = self.rebuilt.cell(asked, self.now());
        let found =
            cell.get_or_try_init(|| self.rebuild(asked)).await.map(|found| Arc::clone(&found.published));
        drop(cell);
        self.rebuilt.tidy(self.rebuilt_bytes_max(), Timestamp::from_seconds(i64::MIN));
        found
    }

    /// Lets go of rebuilt revisions that nobody has asked for in the minute before `now`.
    pub fn forget_rebuilt(&self, now: Timestamp) {
        let since = Timestamp::from_seconds(now.seconds().saturating_sub(REBUILT_SECONDS));
        self.rebuilt.tidy(self.rebuilt_bytes_max(), since);
    }

    fn rebuilt_bytes_max(&self) -> u64 {
        self.head().root().relationship_count() * RELATIONSHIP_BYTES
    }

    async fn rebuild(&self, asked: Revision) -> Result<Start, ReplicaError> {
        // It is never closed. Whoever stops waiting gives up its place.
        let _turn = self.rebuilt.turns.acquire().await.ok();
        let unreadable = |error: FollowError| match error {
            // It went while it was looked for.
            FollowError::Log(LogError::Trimmed { oldest, .. }) => {
                ReplicaError::Expired { asked, oldest: Revision(oldest.0.saturating_sub(1)) }
            }
            error => ReplicaError::PastUnreadable(Arc::new(error)),
        };
        let oldest = self.oldest().await.map_err(unreadable)?;
        if asked < oldest {
            return Err(ReplicaError::Expired { asked, oldest });
        }
        let newest = self.head();
        let changes_max = self.options.rebuild_changes_max;
        let near = (newest.root().relationship_count() / NEAR_SHARE).min(changes_max);
        let memory = self.in_memory(asked, oldest);
        for start in &memory {
            if let Some(found) = self.walk(start, asked, near).await.map_err(unreadable)? {
                return Ok(found);
            }
        }
        let mut is_there_a_way = !memory.is_empty();
        let memory = if near < changes_max { memory } else { Vec::new() };
        for way in self.ways(asked, oldest, memory) {
            let Some(start) = in_place(true, || self.start(way, asked, oldest)) else { continue };
            is_there_a_way = true;
            if let Some(found) = self.walk(&start, asked, changes_max).await.map_err(unreadable)? {
                return Ok(found);
            }
        }
        if is_there_a_way {
            return Err(ReplicaError::TooFar { asked, changes_max });
        }
        Err(ReplicaError::Expired {
            asked,
            oldest: Revision(newest.root().undoable_from().0.saturating_sub(1)),
        })
    }

    /// The roots in memory beside this revision from which the entries lead to it, nearest first.
    fn in_memory(&self, asked: Revision, oldest: Revision) -> Vec<Start> {
        let (below, above) = self.rebuilt.beside(asked);
        let (kept_below, kept_above) = {
            let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
            (history.before(asked).map(Start::kept), history.from(asked).map(Start::kept))
        };
        let is_undoable = |start: &Start| start.published.root().undoable_from() <= asked.next();
        let below = [kept_below, below].into_iter().flatten().filter(|start| start.revision() >= oldest);
        let above = [kept_above, above].into_iter().flatten().filter(is_undoable);
        let mut found: Vec<Start> = Vec::new();
        found.extend(above.min_by_key(Start::revision));
        found.extend(below.max_by_key(Start::revision));
        found.sort_by_key(|start| start.revision().0.abs_diff(asked.0));
        found
    }

    /// All ways there are, nearest by revisions first.
    fn ways(&self, asked: Revision, oldest: Revision, memory: Vec<Start>) -> Vec<Way> {
        let mut ways: Vec<(u64, Way)> = memory
            .into_iter()
            .map(|start| (start.revision().0.abs_diff(asked.0), Way::Memory(start)))
            .collect();
        let imaged: Vec<Revision> = self.images.as_ref().map_or_else(Vec::new, |images| {
            images.facts().iter().map(|facts| facts.revision).filter(|at| *at >= oldest).collect()
        });
        let below = imaged.iter().rev().find(|at| **at <= asked);
        ways.extend(below.map(|at| (asked.0 - at.0, Way::ImageBelow)));
        let above = imaged.iter().find(|at| **at > asked);
        ways.extend(above.map(|at| (at.0 - asked.0, Way::ImageAbove)));
        if oldest == Revision(0) {
            ways.push((asked.0, Way::Beginning));
        }
        ways.sort_by_key(|(distance, _)| *distance);
        ways.into_iter().map(|(_, way)| way).collect()
    }

    fn start(&self, way: Way, asked: Revision, oldest: Revision) -> Option<Start> {
        let seed = self.options.seed;
        let images = self.images.as_ref();
        let root = match way {
            Way::Memory(start) => return Some(start),
            Way::ImageBelow => images?.nearest(asked, oldest, seed)?,
            Way::ImageAbove => images?.undoable_to(asked, seed)?,
            Way::Beginning => Root::empty_seeded(seed),
        };
        let opened_bytes = Some(Arc::new(root.relationship_count() * RELATIONSHIP_BYTES));
        let published = Arc::new(Published::new(root, Some(&self.head())));
        Some(Start { published, opened_bytes, own_bytes: 0 })
    }

    /// Goes from `start` to `asked`; `None` if it is further than so many changes.
    async fn walk(
        &self,
        start: &Start,
        asked: Revision,
        changes_max: u64,
    ) -> Result<Option<Start>, FollowError> {
        let root = start.published.root().clone();
        let walked = match root.revision() <= asked {
            true => self.redo(root, asked, changes_max).await?,
            false => self.undo(root, asked, changes_max).await?,
        };
        let Some((root, changes)) = walked else { return Ok(None) };
        let published = in_place(true, || Arc::new(Published::new(root, Some(&start.published))));
        let own_bytes = start.own_bytes.saturating_add(changes.saturating_mul(RELATIONSHIP_BYTES));
        Ok(Some(Start { published, opened_bytes: start.opened_bytes.clone(), own_bytes }))
    }

    /// Applies the entries after `root` up to `asked`, and says how many changes it were; `None` if they are too many.
    async fn redo(
        &self,
        mut root: Root,
        asked: Revision,
        changes_max: u64,
    ) -> Result<Option<(Root, u64)>, FollowError> {
        let mut changes = 0;
        while root.revision() < asked {
            let read = self.log.read(root.revision(), READ_BYTES).await?;
            let is_near = in_place(true, || {
                for logged in follow::decoded(read, root.revision(), asked)? {
                    changes += logged.entry.kind.weight();
                    if changes > changes_max {
                        return Ok(false);
                    }
                    follow::apply(&mut root, &logged)?;
                }
                Ok::<_, FollowError>(true)
            });
            if !is_near? {
                return Ok(None);
            }
        }
        Ok(Some((root, changes)))
    }

    /// Takes the entries above `asked` back, and says how many changes it were; `None` if they are too many.
    async fn undo(
        &self,
        mut root: Root,
        asked: Revision,
        changes_max: u64,
    ) -> Result<Option<(Root, u64)>, FollowError> {
        let mut changes = 0;
        let mut above: Vec<Logged> = Vec::new();
        let mut read_to = asked;
        while read_to < root.revision() {
            let read = self.log.read(read_to, READ_BYTES).await?;
            for logged in in_place(true, || follow::decoded(read, read_to, root.revision()))? {
                changes += logged.entry.kind.weight();
                if changes > changes_max {
                    return Ok(None);
                }
                read_to = logged.entry.revision;
                above.push(logged);
            }
        }
        if is_broken(Variant::UndoesNothing) {
            above.clear();
        }
        in_place(true, || above.iter().rev().try_for_each(|logged| follow::undo(&mut root, logged)))?;
        Ok(Some((root, changes)))
    }
}
