//! How is a record a line, and how does it hang on the one before?
//!
//! ```text
//! {"seq":7,"prev":"HASH OF 6","at":"…","kind":"…", … ,"hash":"HASH OF 7"}
//! ```
//! A record's hash is BLAKE3 of its line up to the comma before `"hash"`: the number, the hash before and every byte of
//! what it says. The hash before the first record is all zeros.
//!
//! What has more details than go into a record goes on in those right behind it, of the kind `more`, which say `of` which
//! record they are and which `part` of how many `parts`.
//!
//! # Invariants
//! * What [`read`] takes is what [`Chain::push`] may have written: no other spelling of the same record is good.
//! * Texts of events are cut at a bound, so that a line has at most [`LINE_BYTES_MAX`] bytes.
//!
//! Cost: a hash of some 400 bytes a record, about half a microsecond.

use std::fmt;

use idhini_model::Timestamp;

use crate::checkpoint::Checkpoint;
use crate::event::{
    Actor, DETAIL_BYTES_MAX, DETAILS_BYTES_MAX, Detail, Event, Outcome, PARTS_MAX, RESOURCE_BYTES_MAX,
    TEXT_BYTES_MAX,
};
use crate::hex;

/// No line is longer, its end included: texts may grow sixfold as JSON, and there are ten of them beside the details, the last
/// of which may begin where there is no more room.
pub const LINE_BYTES_MAX: usize = 6 * (DETAILS_BYTES_MAX + 12 * TEXT_BYTES_MAX);
/// More than an outcome has beyond what its intent says: texts of it, numbers, names, hashes.
pub(crate) const OUTCOME_BYTES_MAX: u64 = (2 * 6 * TEXT_BYTES_MAX + 1024) as u64;
/// More than any of our own records has.
pub(crate) const OWN_BYTES_MAX: u64 = 4096;

const SEQ: &[u8] = b"{\"seq\":";
const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// BLAKE3 of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands before the first record.
    pub const ZERO: Hash = Hash([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::text(&self.0))
    }
}

/// How far a chain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The number of its last record; 0 if there is none.
    pub(crate) records: u64,
    /// Its hash.
    pub(crate) head: Hash,
}

/// What every record has, read and found to fit its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) hash: Hash,
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// It has not the form of one.
    Malformed,
    /// Its hash is not that of its bytes.
    Hash,
}

/// What a record tells.
#[derive(Debug)]
pub(crate) enum Told<'e> {
    Intent {
        event: &'e Event,
        intent: &'e str,
    },
    Outcome {
        event: &'e Event,
        intent: &'e str,
        at: Timestamp,
        outcome: &'e Outcome,
    },
    Decision {
        event: &'e Event,
        outcome: &'e Outcome,
    },
    Refusal {
        event: &'e Event,
        outcome: &'e Outcome,
    },
    Checkpoint(&'e Checkpoint),
    /// Something about the trail itself: its kind, when, and numbers or texts by name.
    Own {
        kind: &'static str,
        at: Timestamp,
        facts: &'e [(&'static str, Fact)],
    },
}

/// Of a record about the trail itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    Number(u64),
    Text(String),
}

impl Chain {
    pub(crate) const EMPTY: Chain = Chain { records: 0, head: Hash::ZERO };

    /// Appends the next record to `lines`, and those that go on with it.
    pub(crate) fn push(&mut self, lines: &mut Vec<u8>, told: &Told<'_>) {
        let Some(event) = told.event_with_details() else { return self.push_one(lines, |to| told.write(to)) };
        let details = Details::of(event);
        let (of, parts) = (self.records + 1, details.parts.len());
        self.push_one(lines, |to| {
            told.write(to);
            details.write_first(to);
        });
        for (at, part) in details.parts.iter().enumerate().skip(1) {
            self.push_one(lines, |to| {
                head(to, event.at, "more");
                for (name, value) in [("of", of), ("part", at as u64 + 1), ("parts", parts as u64)] {
                    key(to, name);
                    number(to, value);
                }
                text(to, "request", &event.request);
                write_part(to, part);
            });
        }
    }

    fn push_one(&mut self, lines: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = lines.len();
        self.records += 1;
        lines.extend(SEQ);
        number(lines, self.records);
        lines.extend(PREV);
        hex::push(lines, &self.head.0);
        lines.extend(b"\"");
        write(lines);
        self.head = Hash(*blake3::hash(lines.get(begin..).unwrap_or_default()).as_bytes());
        lines.extend(HASH);
        hex::push(lines, &self.head.0);
        lines.extend(END);
        lines.push(b'\n');
    }
}

/// Reads a line without its end.
pub(crate) fn read(line: &[u8]) -> Result<Envelope, LineFault> {
    let malformed = LineFault::Malformed;
    let tail = HASH.len() + DIGITS + END.len();
    let (body, tail) = line.split_at_checked(line.len().saturating_sub(tail)).ok_or(malformed)?;
    let stated = tail.strip_prefix(HASH).and_then(|tail| tail.strip_suffix(END)).ok_or(malformed)?;
    let stated = Hash(hex::read_bytes(stated).ok_or(malformed)?);
    let rest = body.strip_prefix(SEQ).ok_or(malformed)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(digits).ok_or(malformed)?;
    let seq = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('0'));
    let seq = seq.and_then(|digits| digits.parse().ok()).ok_or(malformed)?;
    let (prev, rest) =
        rest.strip_prefix(PREV).and_then(|rest| rest.split_at_checked(DIGITS)).ok_or(malformed)?;
    let prev = Hash(hex::read_bytes(prev).ok_or(malformed)?);
    if !rest.starts_with(b"\",") {
        return Err(malformed);
    }
    match blake3::hash(body).as_bytes() == &stated.0 {
        true => Ok(Envelope { seq, prev, hash: stated }),
        false => Err(LineFault::Hash),
    }
}

/// Whether these bytes behind the last record of a chain are the beginning of the next one: what a crash leaves of a write
/// that was not synced, so that nobody heard that it was done. Zeros behind it are room that was never written.
///
/// Not a line, and nothing that has all of a record: that was whole once, and is another matter. Without `before` the hash of
/// the last record is not known.
pub(crate) fn is_begun(rest: &[u8], records: u64, before: Option<Hash>) -> bool {
    let begun = without_zeros(rest);
    let mut expected = SEQ.to_vec();
    number(&mut expected, records.saturating_add(1));
    expected.extend(PREV);
    if let Some(Hash(before)) = &before {
        hex::push(&mut expected, before);
        expected.extend(b"\",\"at\":\"");
    }
    let is_next = begun.iter().zip(&expected).all(|(byte, expected)| byte == expected);
    // No record has such bytes.
    let is_text = begun.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f);
    is_next && is_text && begun.len() <= LINE_BYTES_MAX && read(begun) == Err(LineFault::Malformed)
}

/// What was written of it.
pub(crate) fn without_zeros(rest: &[u8]) -> &[u8] {
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    rest.get(..written).unwrap_or_default()
}

/// The beginning of what a record tells, of a line that [`read`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'l> {
    pub(crate) at: &'l str,
    pub(crate) kind: &'l str,
    /// Which intent it is or ends.
    pub(crate) intent: Option<&'l str>,
}

impl<'l> Head<'l> {
    pub(crate) fn of(line: &'l [u8]) -> Option<Head<'l>> {
        let text = std::str::from_utf8(line).ok()?;
        let (_, rest) = text.split_once("\",\"at\":\"")?;
        let (at, rest) = rest.split_once("\",\"kind\":\"")?;
        let (kind, rest) = rest.split_once('"')?;
        let intent = rest.strip_prefix(",\"intent\":\"").and_then(|rest| rest.split_once('"'));
        Some(Head { at, kind, intent: intent.map(|(intent, _)| intent) })
    }
}

impl Told<'_> {
    /// Of what tells what else there is to know.
    fn event_with_details(&self) -> Option<&Event> {
        match self {
            Told::Intent { event, .. } | Told::Decision { event, .. } | Told::Refusal { event, .. } => {
                Some(event)
            }
            Told::Outcome { .. } | Told::Checkpoint(_) | Told::Own { .. } => None,
        }
    }

    /// All but the details.
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Told::Intent { event, intent } => {
                head(to, event.at, "intent");
                text(to, "intent", intent);
                write_event(to, event);
            }
            Told::Outcome { event, intent, at, outcome } => {
                head(to, *at, "outcome");
                text(to, "intent", intent);
                write_event(to, event);
                write_outcome(to, outcome);
            }
            Told::Decision { event, outcome } => {
                head(to, event.at, "decision");
                write_event(to, event);
                write_outcome(to, outcome);
            }
            Told::Refusal { event, outcome } => {
                head(to, event.at, "refusal");
                write_event(to, event);
                write_outcome(to, outcome);
            }
            Told::Checkpoint(checkpoint) => {
                head(to, checkpoint.at, "checkpoint");
                text(to, "chain", &checkpoint.chain);
                text(to, "key", &checkpoint.key);
                text(to, "signature", &hex::text(&checkpoint.signature));
            }
            Told::Own { kind, at, facts } => {
                head(to, *at, kind);
                for (name, fact) in *facts {
                    match fact {
                        Fact::Number(value) => {
                            key(to, name);
                            number(to, *value);
                        }
                        Fact::Text(value) => text(to, name, value),
                    }
                }
            }
        }
    }
}

fn head(to: &mut Vec<u8>, at: Timestamp, kind: &str) {
    text(to, "at", &at.to_string());
    text(to, "kind", kind);
}

fn write_event(to: &mut Vec<u8>, event: &Event) {
    text(to, "request", &event.request);
    let Actor { accessor, certificate, address } = &*event.actor;
    let optional = [
        ("accessor", accessor),
        ("certificate", certificate),
        ("address", address),
        ("namespace", &event.namespace),
    ];
    text(to, "call", &event.call);
    for (name, value) in optional {
        if let Some(value) = value {
            text(to, name, value);
        }
    }
    if let Some(resource) = &event.resource {
        key(to, "resource");
        quoted_to(to, resource, RESOURCE_BYTES_MAX);
    }
}

/// Bytes of what an outcome says again of its intent.
pub(crate) fn repeated_bytes(event: &Event) -> u64 {
    let mut to = Vec::new();
    write_event(&mut to, event);
    to.len() as u64
}

fn write_outcome(to: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Accepted { revision, answer } => {
            text(to, "outcome", "accepted");
            if let Some(revision) = revision {
                key(to, "revision");
                number(to, revision.0);
            }
            if let Some(answer) = answer {
                text(to, "answer", answer);
            }
        }
        Outcome::Refused { code, why } => {
            text(to, "outcome", "refused");
            text(to, "code", code);
            text(to, "why", why);
        }
        Outcome::Unknown { why } => {
            text(to, "outcome", "unknown");
            text(to, "why", why);
        }
    }
}

/// The details of an event, as members of JSON objects of about [`DETAILS_BYTES_MAX`] each.
#[derive(Debug, Default)]
struct Details {
    parts: Vec<Vec<u8>>,
    left_out: usize,
}

impl Details {
    /// As many as there are parts for.
    fn of(event: &Event) -> Details {
        let mut details = Details::default();
        for (name, detail) in &event.details {
            details.push(name, detail);
        }
        details
    }

    fn push(&mut self, name: &str, detail: &Detail) {
        match detail {
            Detail::Text(value) => self.push_value(name, |to| quoted_to(to, value, DETAIL_BYTES_MAX)),
            Detail::Texts(values) => self.push_list(name, values),
            Detail::Number(value) => self.push_value(name, |to| number(to, *value)),
            Detail::Flag(value) => self.push_value(name, |to| to.extend(value.to_string().bytes())),
            Detail::Secret(hash) => self.push_value(name, |to| quoted(to, &hash.to_string())),
        }
    }

    fn push_value(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        match self.member(name) {
            Some(to) => write(to),
            None => self.left_out += 1,
        }
    }

    /// A list goes on under its name in the next part.
    fn push_list(&mut self, name: &str, values: &[impl AsRef<str>]) {
        let mut rest = values;
        loop {
            let Some(to) = self.member(name) else {
                self.left_out += if rest.len() < values.len() { rest.len() } else { 1 };
                return;
            };
            to.push(b'[');
            let mut is_first = true;
            while let Some((value, others)) = rest.split_first() {
                // At least one, so that it comes to an end.
                if !is_first && to.len() > DETAILS_BYTES_MAX {
                    break;
                }
                if !std::mem::take(&mut is_first) {
                    to.push(b',');
                }
                quoted_to(to, value.as_ref(), DETAIL_BYTES_MAX);
                rest = others;
            }
            to.push(b']');
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Begins a member where there is room; `None` if there is none any more.
    fn member(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        if self.parts.last().is_none_or(|part| part.len() > DETAILS_BYTES_MAX) {
            if self.parts.len() == PARTS_MAX {
                return None;
            }
            self.parts.push(Vec::new());
        }
        let to = self.parts.last_mut()?;
        if !to.is_empty() {
            to.push(b',');
        }
        quoted(to, name);
        to.push(b':');
        Some(to)
    }

    /// Those of the first record, and how many others there are.
    fn write_first(&self, to: &mut Vec<u8>) {
        let Some(part) = self.parts.first() else { return };
        write_part(to, part);
        if self.parts.len() > 1 {
            key(to, "parts");
            number(to, self.parts.len() as u64);
        }
        if self.left_out > 0 {
            key(to, "left_out");
            number(to, self.left_out as u64);
        }
    }
}

fn write_part(to: &mut Vec<u8>, part: &[u8]) {
    key(to, "details");
    to.push(b'{');
    to.extend(part);
    to.push(b'}');
}

fn key(to: &mut Vec<u8>, name: &str) {
    to.push(b',');
    quoted(to, name);
    to.push(b':');
}

fn text(to: &mut Vec<u8>, name: &str, value: &str) {
    key(to, name);
    quoted(to, value);
}

fn number(to: &mut Vec<u8>, value: u64) {
    to.extend(value.to_string().into_bytes());
}

/// A JSON string of at most [`TEXT_BYTES_MAX`] bytes of the value; one that is cut ends with `…`.
fn quoted(to: &mut Vec<u8>, value: &str) {
    quoted_to(to, value, TEXT_BYTES_MAX);
}

/// The same of at most so many bytes.
fn quoted_to(to: &mut Vec<u8>, value: &str, bytes_max: usize) {
    let kept = &value[..value.floor_char_boundary(bytes_max)];
    to.push(b'"');
    for byte in kept.bytes() {
        match byte {
            b'"' | b'\\' => to.extend([b'\\', byte]),
            0..0x20 | 0x7f => {
                to.extend(b"\\u00");
                hex::push(to, &[byte]);
            }
            _ => to.push(byte),
        }
    }
    if kept.len() < value.len() {
        to.extend("…".as_bytes());
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests;
