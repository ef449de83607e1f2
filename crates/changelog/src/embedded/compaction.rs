//! Which segments hold little that is alive, and how does that move, so that their files can go?
//!
//! What is alive in a segment is copied behind the current one's end, a portion with each group, marked as relocated;
//! when nothing alive is left, that is made durable, and the file goes. Until then both copies are there, and either
//! may be read. So an idle log pins no segment.
//!
//! Cost: with segments moved when half of them is dead, each byte is written twice at most on average.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::format::{HEADER_BYTES, Kind};
use super::group::Move;
use super::index::{Index, Segment};
use super::queue::Answer;
use super::reading::read_entry;
use super::scan::{Assembler, Scan, Step, WholeEntry};
use super::writer::{LogWriter, unavailable};
use crate::LogError;

/// Bytes of entries that move with one group; more only for one entry.
const MOVED_BYTES_MAX: u64 = 1 << 20;

/// Bytes that are looked through between two groups.
const SCANNED_BYTES_MAX: u64 = 4 << 20;

/// Sealed segments that are this part of a full one, or less, are small.
const SMALL_PART: u64 = 8;

/// So many small segments may be there; beyond, the smallest is moved.
const SMALL_SEGMENTS_MAX: usize = 8;

/// What is being moved.
#[derive(Default)]
pub(crate) struct Compaction {
    /// Something died: there may be a segment to choose.
    has_changed: bool,
    running: Option<Running>,
    /// Segments that someone asked to be cleared of all that is dead.
    wanted: BTreeSet<u32>,
    waiting: Vec<Answer<(), LogError>>,
    /// Segments that cannot be moved, and why.
    stuck: BTreeMap<u32, LogError>,
}

struct Running {
    number: u32,
    scan: Scan,
    assembler: Assembler,
    moved: usize,
}

enum Portion {
    More,
    Done,
}

impl Compaction {
    pub(crate) fn is_wanted(&self) -> bool {
        self.has_changed || self.running.is_some() || !self.wanted.is_empty()
    }

    /// Whether someone waits until nothing dead is left.
    pub(crate) fn is_asked_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn look_again(&mut self) {
        self.has_changed = true;
    }

    /// The segment is gone.
    pub(crate) fn forget(&mut self, number: u32) {
        self.wanted.remove(&number);
        self.stuck.remove(&number);
        if self.running.as_ref().is_some_and(|running| running.number == number) {
            self.running = None;
        }
    }

    /// What was to move was not written: it is chosen anew, and whoever waits is told.
    pub(crate) fn interrupted(&mut self, error: &io::Error) {
        if self.running.take().is_some() {
            self.has_changed = true;
        }
        self.wanted.clear();
        for answer in self.waiting.drain(..) {
            let error = io::Error::new(error.kind(), error.to_string());
            let _ = answer.send(Err(unavailable(error)));
        }
    }
}

impl LogWriter {
    /// Clears everything that is dead, the current segment's too.
    pub(super) fn want_compaction(&mut self, answer: Answer<(), LogError>) {
        self.clear_stale();
        let current = self.current.as_ref().map(|current| current.place.segment);
        let segments = self.shared.index.segments();
        let has_dead = |segment: &Segment| segment.entry_bytes > segment.live_bytes;
        if segments.iter().any(|(number, segment)| Some(*number) == current && has_dead(segment))
            && let Err(error) = self.begin()
        {
            let _ = answer.send(Err(unavailable(error)));
            return;
        }
        let with_dead = segments.iter().filter(|(_, segment)| has_dead(segment));
        self.compaction.wanted.extend(with_dead.map(|(number, _)| *number));
        self.compaction.waiting.push(answer);
        self.compaction.stuck.clear();
        self.is_ill = false;
        self.compaction.has_changed = true;
        self.look_for_dead();
    }

    /// Of what stood behind the ends of segments and in spare files, nothing is left either.
    fn clear_stale(&mut self) {
        self.leftovers.append(&mut self.spares);
        self.remove_leftovers();
        for (_, segment) in self.shared.index.segments() {
            if segment.is_sealed && segment.file.bytes_len().is_ok_and(|length| length > segment.end) {
                let _ = segment.file.set_bytes_len(segment.end);
            }
        }
        if let Some(current) = self.current.as_mut().filter(|current| current.is_reused)
            && current.file.set_bytes_len(current.durable).is_ok()
        {
            current.room = current.room.cut(current.durable);
            current.is_reused = false;
        }
    }

    /// Tells whoever waits for a compaction, if it is done.
    pub(super) fn finish_compaction(&mut self) {
        let compaction = &mut self.compaction;
        let is_done = compaction.running.is_none() && compaction.wanted.is_empty() && self.doomed.is_empty();
        if !is_done {
            return;
        }
        let outcome = compaction.stuck.values().next().cloned().map_or(Ok(()), Err);
        for answer in compaction.waiting.drain(..) {
            let _ = answer.send(outcome.clone());
        }
    }

    /// Segments in which nothing is alive are to go.
    pub(super) fn look_for_dead(&mut self) {
        if self.compaction.has_changed {
            self.doomed.extend(self.shared.index.dead_segments());
        }
    }

    /// The next portion of what is to move.
    pub(super) fn next_moves(&mut self) -> Vec<Move> {
        let mut moves = Vec::new();
        let Some(mut running) = self.compaction.running.take().or_else(|| self.choose()) else {
            return moves;
        };
        let index = &self.shared.index;
        match running.portion(index, &mut moves) {
            Ok(Portion::More) => self.compaction.running = Some(running),
            Ok(Portion::Done) => {
                let is_left = index.segment(running.number).is_some_and(|segment| segment.live_bytes > 0);
                if running.moved == 0 && is_left {
                    let damage = format!("entries of segment {} are not where they stood", running.number);
                    self.compaction.stuck.insert(running.number, LogError::Damaged { damage });
                }
                // A segment that was wanted for little may be followed by another.
                self.compaction.has_changed = true;
            }
            Err(error) => {
                self.compaction.stuck.insert(running.number, error);
            }
        }
        moves
    }

    fn choose(&mut self) -> Option<Running> {
        let index = &self.shared.index;
        let wanted = std::iter::from_fn(|| self.compaction.wanted.pop_first());
        let sealed = wanted.filter_map(|number| Some((number, index.segment(number)?)));
        let asked = sealed.into_iter().find(|(_, segment)| segment.is_sealed && segment.live_bytes > 0);
        let (number, segment) = match asked {
            Some(asked) => asked,
            None => {
                if !std::mem::take(&mut self.compaction.has_changed) {
                    return None;
                }
                let skipped = &self.compaction.stuck;
                index.sparse_segment(self.dead_percent_max, self.segment_bytes, |number| {
                    skipped.contains_key(&number)
                })?
            }
        };
        let scan = Scan::new(Arc::clone(&segment.file), segment.place, HEADER_BYTES as u64, segment.end);
        Some(Running { number, scan, assembler: Assembler::default(), moved: 0 })
    }
}

impl Running {
    fn portion(&mut self, index: &Index, moves: &mut Vec<Move>) -> Result<Portion, LogError> {
        let from = self.scan.at();
        let mut bytes = 0;
        while bytes < MOVED_BYTES_MAX && self.scan.at() - from < SCANNED_BYTES_MAX {
            let entry = match self.scan.step().map_err(unavailable)? {
                Step::End => return Ok(Portion::Done),
                Step::Flawed { flaw } => {
                    let damage = format!("segment {} at offset {}: {flaw}", self.number, self.scan.at());
                    return Err(LogError::Damaged { damage });
                }
                Step::Frame { offset, frame } if frame.facts.kind == Kind::Entry => {
                    let taken = self.assembler.take(self.number, offset, &frame);
                    taken.map_err(|damage| {
                        let damage = format!("segment {} at offset {offset}: {damage}", self.number);
                        LogError::Damaged { damage }
                    })?
                }
                Step::Frame { .. } => None,
            };
            let Some(moved) = entry.map(|entry| live(index, &entry)).transpose()?.flatten() else { continue };
            bytes += u64::from(moved.from.bytes);
            self.moved += 1;
            moves.push(moved);
        }
        Ok(Portion::More)
    }
}

/// The entry with its bytes, if it is still needed there.
fn live(index: &Index, entry: &WholeEntry) -> Result<Option<Move>, LogError> {
    let Some(log) = index.log(entry.log) else { return Ok(None) };
    let is_live = log.kept().location_mut(entry.revision).is_some_and(|at| *at == entry.location);
    if !is_live {
        return Ok(None);
    }
    let stored = read_entry(index, entry.log, entry.revision, entry.location)?;
    Ok(Some(Move {
        log,
        revision: entry.revision,
        writer: entry.writer,
        record: stored.record,
        from: entry.location,
    }))
}

impl Index {
    /// Sealed segments in which nothing is alive.
    fn dead_segments(&self) -> Vec<u32> {
        self.segments_where(|segment| segment.is_sealed && segment.live_bytes == 0)
    }

    /// A sealed segment that is worth moving.
    fn sparse_segment(
        &self,
        dead_percent_max: u64,
        segment_bytes: u64,
        is_skipped: impl Fn(u32) -> bool,
    ) -> Option<(u32, Segment)> {
        let candidates = self.segments_where(|segment| segment.is_sealed && segment.live_bytes > 0);
        let candidates = candidates.into_iter().filter(|number| !is_skipped(*number));
        let candidates: Vec<_> =
            candidates.filter_map(|number| Some((number, self.segment(number)?))).collect();
        let dead_percent = |segment: &Segment| {
            (segment.entry_bytes - segment.live_bytes.min(segment.entry_bytes)) * 100
                / segment.entry_bytes.max(1)
        };
        let deadest = candidates.iter().max_by_key(|(_, segment)| dead_percent(segment));
        if let Some(deadest) = deadest.filter(|(_, segment)| dead_percent(segment) > dead_percent_max) {
            return Some(deadest.clone());
        }
        let small = candidates.into_iter();
        let small: Vec<_> =
            small.filter(|(_, segment)| segment.entry_bytes < segment_bytes / SMALL_PART).collect();
        if small.len() <= SMALL_SEGMENTS_MAX {
            return None;
        }
        small.into_iter().min_by_key(|(_, segment)| segment.live_bytes)
    }
}

impl std::fmt::Debug for Compaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compaction").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}
