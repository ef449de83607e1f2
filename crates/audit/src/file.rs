//! A sink of files: which is written, where its chain stands, and when the next begins?
//!
//! ```text
//! DIRECTORY/0000000001.jsonl     the oldest that is kept
//! DIRECTORY/0000000002.jsonl     the one that is written
//! DIRECTORY/cut-0000000002-SEQ   a record that a crash left unfinished behind record SEQ; another one there has `-2` behind it
//! ```
//! The chain goes on from file to file. The first record of each is a checkpoint, so that a file that begins anywhere else
//! has lost its beginning.
//!
//! # Invariants
//! * A record that was synced is never written again or taken out, but for whole files that are surplus, after a record
//!   says so.
//! * Behind the last whole record a crash leaves the beginning of the next one, which nobody was told of: it is cut off, kept
//!   aside, and told of. If its line feed alone is missing it is kept. Whatever else is there was put or changed by somebody,
//!   or is what a power cut left of several pages: it stays for `verify` to name, and the chain goes on in a new file.
//! * Room that was reserved in one file is reserved in the next before that is used.

use std::io;

use crate::folder::{Folder, FolderFile};
use crate::hex;
use crate::line::{self, Chain, Envelope, Fact, LINE_BYTES_MAX};
use crate::outlet::{Opened, Outlet, Surplus};

/// What a file's name ends with.
pub(crate) const SUFFIX: &str = ".jsonl";
/// Digits of a file's number.
const DIGITS: usize = 10;
/// Room is reserved in such portions, so that most records need no call for it.
const PORTION_BYTES: u64 = 256 << 10;
/// The name of the chain.
pub(crate) const CHAIN: &str = "file";
/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;
/// What the names of files begin with that were cut off.
const CUT: &str = "cut-";
/// Longest rest that is looked at: a line, and room that was never written.
const REST_BYTES_MAX: u64 = 64 << 20;
/// Different rests behind one record that are kept.
const ASIDE_MAX: u32 = 1000;

/// The files.
#[derive(Debug)]
pub(crate) struct FileOutlet {
    folder: Box<dyn Folder>,
    rotate_bytes: u64,
    keep_files: Option<usize>,
    /// Files that are complete, with the number of their last record if it is known.
    older: Vec<(u64, Option<u64>)>,
    current: Option<Current>,
    /// Which file was synced last by this process, and how much of it.
    synced: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    file: Box<dyn FolderFile>,
    /// Bytes written.
    written: u64,
    /// Bytes that there is room for.
    reserved: u64,
    /// The last record written, for when the file is complete.
    last: u64,
}

/// A file's number, if it is one of ours.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_one = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| digits.parse().ok()).flatten().filter(|number| *number > 0)
}

fn name_of(number: u64) -> String {
    format!("{number:0DIGITS$}{SUFFIX}")
}

/// Whether a file of this name holds what was cut off.
pub(crate) fn is_cut(name: &str) -> bool {
    name.starts_with(CUT)
}

/// The record behind which that stood, if the name says it as ours do.
pub(crate) fn cut_behind(name: &str) -> Option<u64> {
    let mut parts = name.strip_prefix(CUT)?.split('-');
    number_of(&format!("{}{SUFFIX}", parts.next()?))?;
    let records = parts.next()?.parse().ok()?;
    let is_one = parts.next().is_none_or(|turn| turn.parse::<u32>().is_ok()) && parts.next().is_none();
    is_one.then_some(records)
}

impl FileOutlet {
    pub(crate) fn new(folder: Box<dyn Folder>, rotate_bytes: u64, keep_files: Option<usize>) -> FileOutlet {
        FileOutlet { folder, rotate_bytes, keep_files, older: Vec::new(), current: None, synced: None }
    }

    fn current(&mut self) -> io::Result<&mut Current> {
        self.current.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn begin(&mut self, number: u64, bytes: u64) -> io::Result<Current> {
        let name = name_of(number);
        let file = self.folder.create(&name)?;
        let begun = file.reserve(bytes).and_then(|()| self.folder.sync_names());
        if let Err(error) = begun {
            // One that stays is empty, and is gone on with at the next start.
            let _ = self.folder.remove(&name);
            return Err(error);
        }
        Ok(Current { number, file, written: 0, reserved: bytes, last: 0 })
    }

    /// Looks at what is behind the last record of a file, and does with it what there is to do.
    fn mend(
        &self,
        number: u64,
        file: &dyn FolderFile,
        found: &mut Found,
        opened: &mut Opened,
    ) -> io::Result<()> {
        let aside = format!("{CUT}{number:0DIGITS$}-{}", opened.at.records);
        let rest = found.rest(file)?;
        match Rest::of(rest.as_deref(), opened.at) {
            Rest::Nothing => {
                // An earlier start may have come to its end before it could tell.
                if self.synced.is_none() && self.folder.names()?.contains(&aside) {
                    opened.cut.push(("kept_as", Fact::Text(aside)));
                }
            }
            Rest::Unended { bytes, chain } => {
                let end = found.whole_bytes + bytes;
                file.set_bytes_len(end)?;
                file.write_at(end, b"\n")?;
                file.sync()?;
                (found.whole_bytes, found.bytes) = (end + 1, end + 1);
                (opened.at, opened.is_new) = (chain, false);
            }
            Rest::Begun(rest) => {
                let aside = self.put_aside(&aside, rest)?;
                file.set_bytes_len(found.whole_bytes)?;
                file.sync()?;
                found.bytes = found.whole_bytes;
                opened.cut.push(("bytes", Fact::Number(rest.len() as u64)));
                opened.cut.push(("blake3", Fact::Text(hex::text(blake3::hash(rest).as_bytes()))));
                opened.cut.push(("kept_as", Fact::Text(aside)));
            }
            Rest::Strange => {
                opened.strange.push(("file", Fact::Text(name_of(number))));
                opened.strange.push(("bytes", Fact::Number(found.bytes - found.whole_bytes)));
            }
        }
        Ok(())
    }

    /// Keeps what is cut off under this name, or with a number behind it if something else has it; answers which.
    fn put_aside(&self, name: &str, rest: &[u8]) -> io::Result<String> {
        let names = self.folder.names()?;
        let mut aside = name.to_owned();
        let mut turn = 1;
        while names.contains(&aside) {
            let there = self.folder.open(&aside)?;
            let mut bytes = vec![0; rest.len()];
            let read = there.read_at(0, &mut bytes)?;
            if there.bytes_len()? == rest.len() as u64 && read == rest.len() && bytes == rest {
                return Ok(aside);
            }
            turn += 1;
            if turn > ASIDE_MAX {
                return Err(io::Error::other("too many unfinished records were cut off in one place"));
            }
            aside = format!("{name}-{turn}");
        }
        let kept = self.folder.create(&aside)?;
        kept.write_at(0, rest)?;
        kept.sync()?;
        self.folder.sync_names()?;
        Ok(aside)
    }
}

impl Outlet for FileOutlet {
    fn open(&mut self) -> io::Result<Opened> {
        self.current = None;
        let mut numbers: Vec<u64> = self.folder.names()?.iter().filter_map(|name| number_of(name)).collect();
        let known = std::mem::take(&mut self.older);
        let Some(mut number) = numbers.pop() else {
            self.current = Some(self.begin(1, 0)?);
            return Ok(Opened::new(CHAIN.to_owned()));
        };
        let file = self.folder.open(&name_of(number))?;
        // What this process wrote and could not sync may be gone from the disk though it can still be read.
        if let Some((_, bytes)) = self.synced.filter(|(of, _)| *of == number)
            && file.bytes_len()? > bytes
        {
            file.set_bytes_len(bytes)?;
            file.sync()?;
        }
        let mut found = Found::of(&*file)?;
        let mut at = found.chain;
        // A crash between the making of a file and its first record leaves one without any.
        let is_new = at.is_none();
        let mut before = numbers.clone();
        while let (None, Some(earlier)) = (at, before.pop()) {
            at = Found::of(&*self.folder.open(&name_of(earlier))?)?.chain;
        }
        let at = at.unwrap_or(Chain::EMPTY);
        let mut opened = Opened { at, is_new, ..Opened::new(CHAIN.to_owned()) };
        self.mend(number, &*file, &mut found, &mut opened)?;
        let last = |number: u64| known.iter().find(|(n, _)| *n == number).and_then(|(_, last)| *last);
        self.older = numbers.iter().map(|number| (*number, last(*number))).collect();
        let (mut file, mut written, last) = (file, found.bytes, opened.at.records);
        // A file that holds anything but whole records at its end is left as it is.
        if found.bytes > found.whole_bytes {
            self.older.push((number, Some(last)));
            number += 1;
            file = self.begin(number, 0)?.file;
            (written, opened.is_new) = (0, true);
        }
        self.current = Some(Current { number, file, written, reserved: written, last });
        Ok(opened)
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let current = self.current()?;
        let wanted = current.written + bytes;
        if wanted <= current.reserved {
            return Ok(());
        }
        let portion = wanted.next_multiple_of(PORTION_BYTES);
        // Whatever fits is enough.
        let reserved = match current.file.reserve(portion) {
            Ok(()) => portion,
            Err(_) => current.file.reserve(wanted).map(|()| wanted)?,
        };
        current.reserved = reserved;
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let current = self.current()?;
        current.file.write_at(current.written, lines)?;
        current.written += lines.len() as u64;
        let records = lines.iter().filter(|byte| **byte == b'\n').count();
        current.last += records as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let current = self.current()?;
        current.file.sync()?;
        self.synced = Some((current.number, current.written));
        Ok(())
    }

    fn wants_rotation(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.written >= self.rotate_bytes)
    }

    fn rotate(&mut self, bytes: u64) -> io::Result<()> {
        let (number, last) = {
            let current = self.current()?;
            (current.number, current.last)
        };
        let mut next = self.begin(number + 1, bytes)?;
        next.last = last;
        if let Some(full) = self.current.replace(next) {
            // Room that stays reserved is no more than a portion.
            let _ = full.file.set_bytes_len(full.written);
            self.older.push((number, Some(last)));
            self.synced = Some((number + 1, 0));
        }
        Ok(())
    }

    fn surplus(&self) -> Option<Surplus> {
        let keep = self.keep_files?.saturating_sub(1);
        let (gone, kept) = self.older.split_at(self.older.len().saturating_sub(keep));
        if gone.is_empty() {
            return None;
        }
        let files = gone.iter().map(|(number, _)| name_of(*number)).collect();
        let last = match gone.last()?.1 {
            Some(last) => last,
            // Of a file of an earlier start: the next one begins where it ended.
            None => {
                let next =
                    kept.first().map(|(number, _)| *number).or(self.current.as_ref().map(|c| c.number))?;
                let file = self.folder.open(&name_of(next)).ok()?;
                first_seq(&*file)?.checked_sub(1)?
            }
        };
        Some(Surplus { files, last })
    }

    fn remove(&mut self, surplus: &Surplus) -> io::Result<()> {
        for name in &surplus.files {
            match self.folder.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.older.retain(|(number, _)| name_of(*number) != *name);
        }
        self.folder.sync_names()
    }

    fn close(&mut self) {
        if let Some(current) = self.current.take() {
            // What stays reserved is taken back by the next start.
            let _ = current.file.set_bytes_len(current.written);
        }
    }
}

/// What is in a file.
#[derive(Debug)]
struct Found {
    bytes: u64,
    /// Bytes up to the end of the last record that fits its hash.
    whole_bytes: u64,
    /// That record; `None` if there is none.
    chain: Option<Chain>,
}

/// What is behind the last record.
#[derive(Debug)]
enum Rest<'r> {
    Nothing,
    /// A record whose line feed is missing: how long it is, and where the chain stands with it.
    Unended {
        bytes: u64,
        chain: Chain,
    },
    /// The beginning of a record.
    Begun(&'r [u8]),
    /// Something that no crash of ours explains.
    Strange,
}

impl Rest<'_> {
    /// None: it is longer than any of ours.
    fn of(rest: Option<&[u8]>, at: Chain) -> Rest<'_> {
        let Some(rest) = rest else { return Rest::Strange };
        if rest.is_empty() {
            return Rest::Nothing;
        }
        let written = line::without_zeros(rest);
        match line::read(written) {
            Ok(Envelope { seq, prev, hash }) if seq == at.records + 1 && prev == at.head => {
                Rest::Unended { bytes: written.len() as u64, chain: Chain { records: seq, head: hash } }
            }
            _ if line::is_begun(rest, at.records, Some(at.head)) => Rest::Begun(rest),
            _ => Rest::Strange,
        }
    }
}

impl Found {
    /// Reads all of it: a line at a time.
    fn of(file: &dyn FolderFile) -> io::Result<Found> {
        let bytes = file.bytes_len()?;
        let mut found = Found { bytes, whole_bytes: 0, chain: None };
        let (mut offset, mut rest) = (0u64, Vec::new());
        let mut portion = vec![0; READ_BYTES];
        loop {
            let read = file.read_at(offset + rest.len() as u64, &mut portion)?;
            if read == 0 {
                return Ok(found);
            }
            rest.extend(portion.get(..read).unwrap_or_default());
            let mut begin = 0;
            while let Some(length) = rest.get(begin..).and_then(|rest| rest.iter().position(|b| *b == b'\n'))
            {
                let line = rest.get(begin..begin + length).unwrap_or_default();
                begin += length + 1;
                if let Ok(Envelope { seq, hash, .. }) = line::read(line) {
                    found.chain = Some(Chain { records: seq, head: hash });
                    found.whole_bytes = offset + begin as u64;
                }
            }
            // What is longer than any line is none of ours; it is passed over in portions.
            if rest.len() - begin > LINE_BYTES_MAX {
                begin = rest.len();
            }
            offset += begin as u64;
            rest.drain(..begin);
        }
    }

    /// What is behind the last record; `None` if it is too long to be ours.
    fn rest(&self, file: &dyn FolderFile) -> io::Result<Option<Vec<u8>>> {
        let length = self.bytes - self.whole_bytes;
        if length > REST_BYTES_MAX {
            return Ok(None);
        }
        let mut rest = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let read = file.read_at(self.whole_bytes, &mut rest)?;
        rest.truncate(read);
        Ok(Some(rest))
    }
}

/// The number of the first record of a file.
fn first_seq(file: &dyn FolderFile) -> Option<u64> {
    let mut line = vec![0; READ_BYTES];
    let read = file.read_at(0, &mut line).ok()?;
    let line = line.get(..read)?.split(|byte| *byte == b'\n').next()?;
    line::read(line).ok().map(|envelope| envelope.seq)
}
