//! Does every acknowledgement follow what makes it true?
//!
//! # What must hold of an acknowledged entry
//! * A write to a segment carried it, and ended; then a sync of that file began, succeeded and ended; then the answer
//!   began. A sync that was under way when the write ended says nothing of it.
//! * The segment got its name, and then a sync of the directory began, succeeded and ended, before the answer began.
//! * No sync is tried again on a file on which one failed.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::frames::{Connection, connections};
use super::trace::Call;

/// The part of an id that it has for itself: an entry leaves out what an id begins with as the id before it does.
pub const OWN_BYTES: usize = 10;

/// What is wrong with an acknowledgement, or with the file that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was answered, says the trace.
    Unanswered { id: String },
    /// Answered before a write of it ended.
    Unwritten { id: String },
    /// Answered before a sync of what was written ended; that sync came later.
    Early { id: String },
    /// Answered, and a sync of what was written never came.
    Unsynced { id: String },
    /// Answered before the name of the segment was made to last.
    Unnamed { id: String, segment: String },
    /// A sync of a file on which one failed.
    Retried { path: String },
}

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    /// Acknowledged calls at which something is wrong.
    pub faulty: usize,
    pub entries_found: usize,
    /// Syncs of segments: those that succeeded, and those that failed.
    pub syncs: usize,
    pub failed_syncs: usize,
    /// By the line on which it began: how many answers waited for a sync.
    pub groups: HashMap<usize, usize>,
    /// Segments that acknowledged entries stand in.
    pub segments: BTreeSet<String>,
    pub faults: Vec<Fault>,
}

/// Judges what the server with this data directory did; each item of `acknowledged` is the ids of one call.
pub fn judge(calls: &[Call], data: &Path, acknowledged: &[Vec<String>]) -> Verdict {
    let disk = DiskCalls::of(calls, data, acknowledged);
    let connections = connections(calls);
    let answers = answers(&connections, acknowledged);
    let mut verdict = Verdict { acknowledged: acknowledged.len(), ..Verdict::default() };
    for (path, syncs) in disk.syncs.iter().filter(|(path, _)| **path != disk.directory) {
        let good = syncs.iter().filter(|sync| sync.has_succeeded()).count();
        verdict.syncs += good;
        verdict.failed_syncs +=
            syncs.iter().filter(|sync| sync.result.is_some_and(|result| result < 0)).count();
        let failed = syncs.iter().find(|sync| sync.result.is_some_and(|result| result < 0));
        let is_retried = failed.is_some_and(|failed| syncs.iter().any(|sync| sync.began > failed.began));
        verdict.faults.extend(is_retried.then(|| Fault::Retried { path: path.to_string() }));
    }
    for ids in acknowledged {
        let Some(answered) = answers.get(ids[0].as_str()) else {
            verdict.faults.push(Fault::Unanswered { id: ids[0].clone() });
            verdict.faulty += 1;
            continue;
        };
        // The call waited for the last of its syncs.
        let (mut last, before) = (None, verdict.faults.len());
        for id in ids {
            match disk.reason(id, *answered) {
                Ok(sync) => last = last.max(Some(sync.began)),
                Err(fault) => verdict.faults.push(fault),
            }
        }
        verdict.faulty += usize::from(verdict.faults.len() > before);
        if let Some(last) = last {
            *verdict.groups.entry(last).or_default() += 1;
        }
    }
    let writes = disk.writes.values().flatten();
    verdict.segments = writes.map(|write| write.of.clone()).collect();
    verdict.entries_found = disk.writes.len();
    verdict
}

/// Where the answer to the call began that each first id was asked for by.
fn answers<'a>(connections: &[Connection], acknowledged: &'a [Vec<String>]) -> HashMap<&'a str, usize> {
    let mut answers = HashMap::new();
    let first: HashMap<&[u8], &str> =
        acknowledged.iter().map(|ids| (ids[0].as_bytes(), ids[0].as_str())).collect();
    for connection in connections {
        for (stream, asked) in &connection.asked {
            let Some(answered) = connection.answered.get(stream) else { continue };
            let bytes = acknowledged.first().map_or(1, |ids| ids[0].len());
            for id in asked.windows(bytes).filter_map(|window| first.get(window)) {
                answers.insert(*id, *answered);
            }
        }
    }
    answers
}

/// The calls that make entries last.
struct DiskCalls<'c> {
    directory: String,
    /// By the part of an id that is its own: the writes to segments that carried it.
    writes: HashMap<String, Vec<&'c Call>>,
    /// By path.
    syncs: HashMap<&'c str, Vec<&'c Call>>,
    /// By new path: what gave a segment its name.
    names: HashMap<String, Vec<&'c Call>>,
}

impl<'c> DiskCalls<'c> {
    fn of(calls: &'c [Call], data: &Path, acknowledged: &[Vec<String>]) -> DiskCalls<'c> {
        let directory = data.join("log").canonicalize().unwrap().to_str().unwrap().to_owned();
        let own: BTreeSet<&[u8]> = acknowledged.iter().flatten().map(|id| own_part(id).as_bytes()).collect();
        assert_eq!(own.len(), acknowledged.iter().flatten().count(), "ids that are not told apart");
        let mut disk =
            DiskCalls { directory, writes: HashMap::new(), syncs: HashMap::new(), names: HashMap::new() };
        for call in calls {
            let is_in_log = Path::new(&call.of).starts_with(&disk.directory);
            match call.name.as_str() {
                "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2"
                    if is_in_log && call.has_succeeded() =>
                {
                    let bytes = call.bytes();
                    for id in bytes.windows(OWN_BYTES).filter(|window| own.contains(window)) {
                        let id = String::from_utf8_lossy(id).into_owned();
                        disk.writes.entry(id).or_default().push(call);
                    }
                }
                "fsync" | "fdatasync" if is_in_log => {
                    disk.syncs.entry(call.of.as_str()).or_default().push(call);
                }
                "rename" | "renameat" | "renameat2" if call.has_succeeded() => {
                    let to = String::from_utf8_lossy(call.strings.last().unwrap()).into_owned();
                    disk.names.entry(to).or_default().push(call);
                }
                _ => {}
            }
        }
        disk
    }

    /// The sync that makes it right that this id was acknowledged by an answer that began there.
    fn reason(&self, id: &str, answered: usize) -> Result<&'c Call, Fault> {
        let writes = self.writes.get(own_part(id)).into_iter().flatten();
        let written: Vec<&&Call> =
            writes.filter(|write| write.ended.is_some_and(|ended| ended < answered)).collect();
        if written.is_empty() {
            return Err(Fault::Unwritten { id: id.to_owned() });
        }
        let later: Vec<(&&Call, &'c Call)> =
            written.iter().filter_map(|write| Some((*write, self.sync_after(&write.of, write)?))).collect();
        let in_time = later.iter().find(|(_, sync)| sync.ended.is_some_and(|ended| ended < answered));
        let Some((write, sync)) = in_time else {
            let id = id.to_owned();
            return Err(if later.is_empty() { Fault::Unsynced { id } } else { Fault::Early { id } });
        };
        let named = self.names.get(&write.of).into_iter().flatten().next_back();
        let lasts = named.and_then(|named| self.sync_after(&self.directory, named));
        if lasts.and_then(|lasts| lasts.ended).is_none_or(|ended| ended > answered) {
            return Err(Fault::Unnamed { id: id.to_owned(), segment: write.of.clone() });
        }
        Ok(sync)
    }

    /// The first good sync of a path that began after a call had ended.
    fn sync_after(&self, path: &str, call: &Call) -> Option<&'c Call> {
        let ended = call.ended?;
        let mut syncs = self.syncs.get(path)?.iter();
        syncs.find(|sync| sync.began > ended && sync.has_succeeded()).copied()
    }
}

fn own_part(id: &str) -> &str {
    &id[id.len() - OWN_BYTES..]
}

#[test]
fn only_a_good_sync_between_the_write_and_the_answer_counts() {
    let call = |of: &str, began, ended, result| Call {
        of: of.to_owned(),
        began,
        ended: Some(ended),
        result: Some(result),
        ..Call::default()
    };
    let (directory, path) = ("/d/log", "/d/log/1.segment");
    let (written, named) = (call(path, 10, 20, 100), call("", 1, 2, 0));
    let judged = |synced: &[Call], name: &Call| {
        let mut disk = DiskCalls {
            directory: directory.to_owned(),
            writes: HashMap::from([("0123456789".to_owned(), vec![&written])]),
            syncs: HashMap::from([(path, synced.iter().collect()), (directory, vec![name])]),
            names: HashMap::from([(path.to_owned(), vec![&named])]),
        };
        let before = disk.reason("id-0123456789", 40).map(|sync| sync.began);
        disk.writes.clear();
        assert_eq!(
            disk.reason("id-0123456789", 40).err(),
            Some(Fault::Unwritten { id: "id-0123456789".to_owned() })
        );
        before
    };
    let lasts = call(directory, 3, 4, 0);
    let good = call(path, 21, 30, 0);
    let (id, segment) = ("id-0123456789".to_owned(), path.to_owned());
    assert_eq!(judged(&[call(path, 5, 9, 0), good.clone()], &lasts), Ok(21));
    let unsynced = Err(Fault::Unsynced { id: id.clone() });
    // It began while the write was under way, or it failed.
    assert_eq!(judged(&[call(path, 15, 30, 0)], &lasts), unsynced);
    assert_eq!(judged(&[call(path, 21, 30, -1)], &lasts), unsynced);
    assert_eq!(judged(&[], &lasts), unsynced);
    // It was under way when the answer began.
    assert_eq!(judged(&[call(path, 21, 41, 0)], &lasts), Err(Fault::Early { id: id.clone() }));
    let unnamed = Err(Fault::Unnamed { id, segment });
    assert_eq!(judged(std::slice::from_ref(&good), &call(directory, 0, 1, 0)), unnamed);
    assert_eq!(judged(std::slice::from_ref(&good), &call(directory, 3, 41, 0)), unnamed);
}
