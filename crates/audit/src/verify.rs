//! Is every record of a trail there, as it was written, where it was written?
//!
//! # What is found
//! * A byte that was changed, a record that was taken out, put in, repeated or moved, a checkpoint that the key did not sign,
//!   a beginning that was taken off, and a stretch without checkpoints that is longer than the trail leaves any. The first
//!   place is named.
//! * Against a checkpoint kept elsewhere: an end that was cut off, and records that were written anew with all that follows.
//! * What a server cut off at a start, kept in files of their own. The beginning of a record is no fault: a crash leaves it of
//!   a write that was not synced. Whatever else was cut off may be records, and is a fault unless it was looked at.
//! * Intents without an outcome, which are no fault: the call is going on, or a crash ended it.
//!
//! Cost: a hash of each line, in one pass and little memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use idhini_model::Timestamp;
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::file::cut_behind;
use crate::keys::PublicKey;
use crate::line::{self, Envelope, Hash, Head, LineFault};
use crate::options::CHECKPOINT_SECONDS_MAX;
use crate::reading::{Line, ReadError, beginning, cuts, files, lines};

/// Records stand behind a checkpoint that is no older than this, or one follows them within it.
const UNSIGNED_SECONDS_MAX: i64 = 2 * CHECKPOINT_SECONDS_MAX as i64;
/// Intents without an outcome that are named.
const OPEN_NAMED_MAX: usize = 1000;
/// Bytes of what was cut off that are kept until the record before it comes: its number and the hash before are among them.
const CUT_KEPT_BYTES: usize = 256;

/// What a trail is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'k> {
    /// Checkpoints that were kept elsewhere.
    pub kept: &'k [Checkpoint],
    /// Whether somebody has looked at what was cut off and found nothing wrong with it.
    pub accepts_cuts: bool,
}

/// What a trail was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The first fault; `None` if there is none.
    pub fault: Option<Finding>,
    /// Records that were read.
    pub records: u64,
    /// The number of the first of them.
    pub first: u64,
    /// The number of the last that is good, and its hash.
    pub last: u64,
    /// Its hash.
    pub head: Hash,
    /// Checkpoints among them.
    pub checkpoints: u64,
    /// Records behind the last checkpoint.
    pub unsigned: u64,
    /// When the last checkpoint was signed.
    pub signed_at: Option<Timestamp>,
    /// The last checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Intents without an outcome.
    pub open: u64,
    /// The first of them.
    pub open_named: Vec<OpenIntent>,
    /// Checkpoints kept elsewhere that are about records which are kept no more.
    pub too_old: u64,
    /// What was cut off at starts, by the names of its files.
    pub cuts: Vec<Cut>,
}

/// What a server cut off at a start, and keeps in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file's name.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// Behind which record it stood, as its name says.
    pub behind: Option<u64>,
    /// Whether it is the beginning of the record that came next and nothing else: what a crash leaves of a write that nobody
    /// was told of. Not known where a fault comes before that place.
    pub is_unfinished: Option<bool>,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name; empty for what is in none.
    pub file: String,
    /// From 1 on.
    pub line: u64,
    /// The record.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Its bytes are not those that were written.
    Edited,
    /// The record behind it was written behind another one: it was replaced, with a hash that fits.
    Replaced,
    /// It is not there; the one that stands in its place is named.
    Dropped {
        /// The number found.
        found: u64,
    },
    /// It is there, but elsewhere; another one stands in its place.
    Reordered {
        /// The number found.
        found: u64,
    },
    /// It stands here again.
    Repeated,
    /// The trail begins with it, and no record says that those before it were removed.
    Beheaded,
    /// A file begins with something else than a checkpoint.
    Headless,
    /// A checkpoint that the key has not signed.
    Forged,
    /// A checkpoint of another key.
    OtherKey {
        /// That key's id.
        key: String,
    },
    /// Too much stands behind the last checkpoint.
    Unsigned,
    /// The last line is not whole.
    Torn,
    /// A checkpoint kept elsewhere says that there were more records.
    Cut {
        /// As many as it says.
        had: u64,
    },
    /// A checkpoint kept elsewhere says that it was another record.
    Rewritten,
    /// The checkpoint kept elsewhere is none of this key.
    KeptForged,
    /// The checkpoint kept elsewhere is one of another chain.
    KeptOther {
        /// That chain.
        chain: String,
    },
    /// What was cut off is not the beginning of a record alone.
    CutOff,
    /// There are no records at all.
    Empty,
}

/// A call whose end is not on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// What it is called.
    pub intent: String,
    /// The file of its record.
    pub file: String,
    /// The line.
    pub line: u64,
    /// The record.
    pub seq: u64,
    /// When, as the record says.
    pub at: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}, line {}: ", self.file, self.line)?;
        }
        let seq = self.seq;
        match &self.fault {
            Fault::Edited => write!(f, "record {seq} was edited: it does not fit its hash"),
            Fault::Replaced => {
                write!(f, "record {seq} was replaced: the one behind it was written behind another one")
            }
            Fault::Dropped { found } => {
                write!(f, "record {seq} was dropped: record {found} stands in its place")
            }
            Fault::Reordered { found } => {
                write!(f, "record {seq} was moved: record {found} stands in its place")
            }
            Fault::Repeated => write!(f, "record {seq} stands here again"),
            Fault::Beheaded => {
                write!(f, "the records before {seq} are gone, and none says that their files were removed")
            }
            Fault::Headless => {
                write!(f, "record {seq} begins a file, which a checkpoint does: what stood before it is gone")
            }
            Fault::Forged => write!(f, "record {seq} is a checkpoint that was not signed so by the key"),
            Fault::OtherKey { key } => write!(f, "record {seq} is a checkpoint of another key, {key}"),
            Fault::Unsigned => write!(
                f,
                "record {seq} stands {UNSIGNED_SECONDS_MAX} seconds behind the last checkpoint and has none behind it: checkpoints are gone"
            ),
            Fault::Torn => {
                write!(f, "record {seq} is not whole: the file was cut, or its server died while writing")
            }
            Fault::Cut { had } => {
                write!(
                    f,
                    "the trail was cut: it ends before record {seq}, and the checkpoint knows {had} records"
                )
            }
            Fault::Rewritten => write!(
                f,
                "record {seq} is not the one that the checkpoint knows: it or one before it was written anew"
            ),
            Fault::KeptForged => f.write_str("the checkpoint to compare with was not signed so by the key"),
            Fault::KeptOther { chain } => {
                write!(f, "the checkpoint to compare with is one of another chain, `{chain}`")
            }
            Fault::CutOff => write!(
                f,
                "what was cut off behind record {} is no unfinished write: it may be records; look at the file, then verify with --accept-cuts",
                seq.saturating_sub(1)
            ),
            Fault::Empty => f.write_str("there are no records"),
        }
    }
}

/// Verifies the files of a directory. `progress` hears of bytes that were read, out of [`bytes`].
///
/// # Errors
/// [`ReadError`]; what is wrong with records is no error.
pub fn verify(
    directory: &Path,
    key: &PublicKey,
    against: Against<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, ReadError> {
    // First: what is cut off meanwhile is told the next time.
    let cuts = cuts(directory)?;
    let files = files(directory)?;
    let mut verifier = Verifier::new(key, against);
    for file in &cuts {
        verifier.cut(&file.name, file.bytes, beginning(file)?);
    }
    let count = files.len();
    for (at, file) in files.iter().enumerate() {
        verifier.file(&file.name);
        let goes_on = lines(file, at + 1 == count, |line| {
            progress(line.bytes.len() as u64 + 1);
            verifier.line(&line)
        })?;
        if !goes_on {
            break;
        }
    }
    Ok(verifier.end())
}

/// Bytes that a directory's files have.
///
/// # Errors
/// [`ReadError`].
pub fn bytes(directory: &Path) -> Result<u64, ReadError> {
    Ok(files(directory)?.iter().map(|file| file.bytes).sum())
}

/// Goes along the lines.
pub(crate) struct Verifier<'k> {
    key: &'k PublicKey,
    key_id: String,
    kept: &'k [Checkpoint],
    accepts_cuts: bool,
    /// What may be unfinished behind each record: a place among all that was cut off, and its first bytes.
    cuts: BTreeMap<u64, Vec<(usize, Vec<u8>)>>,
    /// Hashes of what was cut off by the files' names, and those that the trail tells.
    cut_hashes: HashMap<String, String>,
    cuts_told: HashMap<String, String>,
    file: String,
    is_first_of_file: bool,
    chain: Option<String>,
    verified: Verified,
    open: HashMap<String, OpenIntent>,
    /// The last record that some record says was removed.
    removed: u64,
    /// The record before, and where it stands.
    before: Option<(String, u64)>,
    /// Since when records stand too far behind a checkpoint.
    late_since: Option<i64>,
    beginning: Option<Finding>,
}

impl<'k> Verifier<'k> {
    pub(crate) fn new(key: &'k PublicKey, against: Against<'k>) -> Verifier<'k> {
        let Against { kept, accepts_cuts } = against;
        let verified = Verified {
            fault: None,
            records: 0,
            first: 0,
            last: 0,
            head: Hash::ZERO,
            checkpoints: 0,
            unsigned: 0,
            signed_at: None,
            checkpoint: None,
            open: 0,
            open_named: Vec::new(),
            too_old: 0,
            cuts: Vec::new(),
        };
        Verifier {
            key,
            key_id: key.id(),
            kept,
            accepts_cuts,
            cuts: BTreeMap::new(),
            cut_hashes: HashMap::new(),
            cuts_told: HashMap::new(),
            file: String::new(),
            is_first_of_file: false,
            chain: None,
            verified,
            open: HashMap::new(),
            removed: 0,
            before: None,
            late_since: None,
            beginning: None,
        }
    }

    /// A file of what was cut off: its name, its length, and its beginning. All of them before the first line.
    pub(crate) fn cut(&mut self, name: &str, bytes: u64, mut beginning: Vec<u8>) {
        let behind = cut_behind(name);
        // Zeros behind it are room that was never written.
        let is_too_long = bytes != beginning.len() as u64 && beginning.last() != Some(&0);
        let is_begun = behind.is_some_and(|behind| line::is_begun(&beginning, behind, None));
        let is_unfinished = (is_too_long || !is_begun).then_some(false);
        if bytes == beginning.len() as u64 {
            let hash = crate::hex::text(blake3::hash(&beginning).as_bytes());
            self.cut_hashes.insert(name.to_owned(), hash);
        }
        if let (Some(behind), None) = (behind, is_unfinished) {
            beginning.truncate(CUT_KEPT_BYTES);
            beginning.shrink_to_fit();
            self.cuts.entry(behind).or_default().push((self.verified.cuts.len(), beginning));
        }
        self.verified.cuts.push(Cut { file: name.to_owned(), bytes, behind, is_unfinished });
    }

    /// Looks at what was cut off behind this record.
    fn judge_cuts(&mut self, records: u64, head: Option<Hash>) {
        for (place, beginning) in self.cuts.remove(&records).unwrap_or_default() {
            if let Some(cut) = self.verified.cuts.get_mut(place) {
                cut.is_unfinished = Some(line::is_begun(&beginning, records, head));
            }
        }
    }

    /// The next file begins.
    pub(crate) fn file(&mut self, name: &str) {
        name.clone_into(&mut self.file);
        self.is_first_of_file = true;
    }

    fn finding(&self, line: u64, seq: u64, fault: Fault) -> Finding {
        Finding { file: self.file.clone(), line, seq, fault }
    }

    /// The next line; answers whether there is any use in more of them.
    pub(crate) fn line(&mut self, line: &Line<'_>) -> bool {
        if self.verified.fault.is_some() {
            return self.after_fault(line);
        }
        self.verified.fault = self.judge(line).err();
        true
    }

    /// Something is wrong already: all that is still to be learned is whether what is missing is elsewhere, and whether the
    /// beginning was removed by the server.
    fn after_fault(&mut self, line: &Line<'_>) -> bool {
        let Ok(envelope) = line::read(line.bytes) else { return true };
        if self.beginning.is_some() && Head::of(line.bytes).is_some_and(|head| head.kind == "removed") {
            self.note_removed(line);
        }
        if let Some(Finding { seq, fault, .. }) = &mut self.verified.fault
            && let Fault::Dropped { found } = *fault
        {
            if envelope.seq == *seq {
                *fault = Fault::Reordered { found };
            }
            return true;
        }
        self.beginning.is_some()
    }

    fn note_removed(&mut self, line: &Line<'_>) {
        let value = serde_json::from_slice::<Value>(line.bytes).unwrap_or_default();
        self.removed = self.removed.max(value["last"].as_u64().unwrap_or(0));
    }

    fn note_cut(&mut self, line: &Line<'_>) {
        let value = serde_json::from_slice::<Value>(line.bytes).unwrap_or_default();
        if let (Some(name), Some(hash)) = (value["kept_as"].as_str(), value["blake3"].as_str()) {
            self.cuts_told.insert(name.to_owned(), hash.to_owned());
        }
    }

    fn judge(&mut self, line: &Line<'_>) -> Result<(), Finding> {
        let expected = self.verified.last + 1;
        let is_first = self.verified.records == 0;
        let envelope = match line::read(line.bytes) {
            Ok(_) | Err(LineFault::Malformed) if !line.has_end => {
                return Err(self.finding(line.number, expected, Fault::Torn));
            }
            Err(_) => return Err(self.finding(line.number, expected, Fault::Edited)),
            Ok(envelope) => envelope,
        };
        let Envelope { seq, prev, hash } = envelope;
        if is_first {
            self.begin(line, &envelope)?;
        } else if seq > expected {
            return Err(self.finding(line.number, expected, Fault::Dropped { found: seq }));
        } else if seq < expected {
            return Err(self.finding(line.number, seq, Fault::Repeated));
        } else if prev != self.verified.head {
            let (file, number) = self.before.clone().unwrap_or_default();
            return Err(Finding { file, line: number, seq: expected - 1, fault: Fault::Replaced });
        }
        self.tell(line, &envelope)?;
        self.verified.records += 1;
        (self.verified.last, self.verified.head) = (seq, hash);
        self.before = Some((self.file.clone(), line.number));
        self.compare(line.number, seq, hash)
    }

    /// The first record of all.
    fn begin(&mut self, line: &Line<'_>, envelope: &Envelope) -> Result<(), Finding> {
        let Envelope { seq, prev, .. } = *envelope;
        if seq == 1 && prev != Hash::ZERO {
            return Err(self.finding(line.number, seq, Fault::Replaced));
        }
        self.verified.first = seq;
        (self.verified.last, self.verified.head) = (seq - 1, prev);
        if seq > 1 {
            self.beginning = Some(self.finding(line.number, seq, Fault::Beheaded));
        }
        self.compare(line.number, seq - 1, prev)
    }

    /// What the record says of itself.
    fn tell(&mut self, line: &Line<'_>, envelope: &Envelope) -> Result<(), Finding> {
        let seq = envelope.seq;
        let edited = self.finding(line.number, seq, Fault::Edited);
        let Some(head) = Head::of(line.bytes) else { return Err(edited) };
        let at: Timestamp = head.at.parse().map_err(|_| edited.clone())?;
        if std::mem::take(&mut self.is_first_of_file) && head.kind != "checkpoint" {
            return Err(self.finding(line.number, seq, Fault::Headless));
        }
        match (head.kind, head.intent) {
            ("checkpoint", _) => return self.checkpoint(line, envelope, at),
            ("intent", Some(intent)) => {
                let (file, line, at) = (self.file.clone(), line.number, head.at.to_owned());
                let open = OpenIntent { intent: intent.to_owned(), file, line, seq, at };
                self.open.insert(intent.to_owned(), open);
            }
            ("outcome", Some(intent)) => {
                self.open.remove(intent);
            }
            ("removed", _) => self.note_removed(line),
            ("cut", _) => self.note_cut(line),
            _ => {}
        }
        self.verified.unsigned += 1;
        let signed = self.verified.signed_at.map_or(at.seconds(), Timestamp::seconds);
        match self.late_since {
            _ if at.seconds() <= signed + UNSIGNED_SECONDS_MAX => {}
            None => self.late_since = Some(at.seconds()),
            Some(since) if at.seconds() > since + UNSIGNED_SECONDS_MAX => {
                return Err(self.finding(line.number, seq, Fault::Unsigned));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn checkpoint(&mut self, line: &Line<'_>, envelope: &Envelope, at: Timestamp) -> Result<(), Finding> {
        let forged = self.finding(line.number, envelope.seq, Fault::Forged);
        let value: Value = serde_json::from_slice(line.bytes).map_err(|_| forged.clone())?;
        let text = |name: &str| value[name].as_str().map(str::to_owned).ok_or_else(|| forged.clone());
        let (chain, key) = (text("chain")?, text("key")?);
        let signature = crate::hex::read(&text("signature")?).ok_or_else(|| forged.clone())?;
        if key != self.key_id {
            return Err(self.finding(line.number, envelope.seq, Fault::OtherKey { key }));
        }
        let records = envelope.seq - 1;
        let checkpoint = Checkpoint { chain, records, head: envelope.prev, at, key, signature };
        let is_of_chain = self.chain.as_ref().is_none_or(|chain| *chain == checkpoint.chain);
        if !is_of_chain || !checkpoint.is_of(self.key) {
            return Err(forged);
        }
        self.chain = Some(checkpoint.chain.clone());
        self.verified.checkpoint = Some(checkpoint);
        self.verified.checkpoints += 1;
        self.verified.unsigned = 0;
        self.verified.signed_at = Some(at);
        self.late_since = None;
        Ok(())
    }

    /// With checkpoints kept elsewhere that end here.
    fn compare(&mut self, line: u64, seq: u64, hash: Hash) -> Result<(), Finding> {
        if !self.cuts.is_empty() {
            self.judge_cuts(seq, Some(hash));
        }
        let is_other = |kept: &&Checkpoint| kept.records == seq && kept.head != hash && kept.is_of(self.key);
        match self.kept.iter().find(is_other) {
            Some(_) => Err(self.finding(line, seq, Fault::Rewritten)),
            None => Ok(()),
        }
    }

    /// All lines were told.
    pub(crate) fn end(mut self) -> Verified {
        self.file = String::new();
        if self.verified.fault.is_none() {
            // Of records that are kept no more the hash is not known.
            let first = self.verified.first;
            let older: Vec<u64> = self.cuts.keys().copied().filter(|records| *records < first).collect();
            older.into_iter().for_each(|records| self.judge_cuts(records, None));
            // What is left stands behind records that are not there.
            for (place, _) in std::mem::take(&mut self.cuts).into_values().flatten() {
                if let Some(cut) = self.verified.cuts.get_mut(place) {
                    cut.is_unfinished = Some(false);
                }
            }
        }
        for cut in &mut self.verified.cuts {
            let (is, told) = (self.cut_hashes.get(&cut.file), self.cuts_told.get(&cut.file));
            if is.zip(told).is_some_and(|(is, told)| is != told) {
                cut.is_unfinished = Some(false);
            }
        }
        let beheaded = self.beginning.take().filter(|beginning| self.removed + 1 < beginning.seq);
        let fault = beheaded.or(self.verified.fault.take()).or_else(|| self.at_the_end());
        let Verified { first, last, .. } = self.verified;
        let too_old = self.kept.iter().filter(|kept| kept.records + 1 < first).count();
        let mut open_named: Vec<OpenIntent> = self.open.into_values().collect();
        open_named.sort_unstable_by_key(|open| open.seq);
        let open = open_named.len() as u64;
        open_named.truncate(OPEN_NAMED_MAX);
        Verified { fault, last, open, open_named, too_old: too_old as u64, ..self.verified }
    }

    /// What only shows when everything was read.
    fn at_the_end(&self) -> Option<Finding> {
        let last = self.verified.last;
        for kept in self.kept {
            if !kept.is_of(self.key) {
                return Some(self.finding(0, kept.records, Fault::KeptForged));
            }
            if self.chain.as_ref().is_some_and(|chain| *chain != kept.chain) {
                let chain = kept.chain.clone();
                return Some(self.finding(0, kept.records, Fault::KeptOther { chain }));
            }
        }
        let had = self.kept.iter().map(|kept| kept.records).max().unwrap_or(0);
        if had > last {
            return Some(self.finding(0, last + 1, Fault::Cut { had }));
        }
        if self.verified.records == 0 {
            return Some(self.finding(0, 1, Fault::Empty));
        }
        let is_strange = |cut: &&Cut| cut.is_unfinished == Some(false);
        let strange = self.verified.cuts.iter().find(is_strange).filter(|_| !self.accepts_cuts)?;
        let seq = strange.behind.map_or(0, |behind| behind.saturating_add(1));
        Some(Finding { file: strange.file.clone(), line: 1, seq, fault: Fault::CutOff })
    }
}
