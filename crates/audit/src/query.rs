//! Which records tell of somebody, of a namespace, of an object, of a time?
//!
//! A call that changes something has two records; it is told by its outcome, with the details of its intent, or by its intent
//! where there is no outcome.
//! What goes on in further records is told as one.
//! Lines that do not fit their hash are passed over and counted: `verify` says what is wrong with them.
//!
//! Cost: two passes over the files, and the details of calls that were under way at one time in memory.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use idhini_model::Timestamp;
use serde_json::Value;

use crate::line::{self, Head};
use crate::reading::{ReadError, files, lines};

/// What is asked for; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A token's accessor (`token:ACCESSOR`, or the accessor alone), a certificate's name, or an address with or without its port.
    pub actor: Option<String>,
    /// A namespace.
    pub namespace: Option<String>,
    /// An object, or a type of objects: the call's own, or one among its updates or questions. A record whose details were
    /// too many to be recorded may be about any.
    pub resource: Option<String>,
    /// A call's name.
    pub call: Option<String>,
    /// `accepted`, `refused`, `unknown`, or `none` for calls without an outcome.
    pub outcome: Option<String>,
    /// A request id.
    pub request: Option<String>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this one.
    pub until: Option<Timestamp>,
}

/// A record that was asked for.
#[derive(Debug)]
pub struct Row<'r> {
    /// All that it says.
    pub record: &'r Value,
    /// Whether it is an intent without an outcome.
    pub is_open: bool,
}

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Records that were told.
    pub told: u64,
    /// Lines that are no record.
    pub bad: u64,
}

/// Tells each record that the filter admits, the oldest first, until `each` says that it is enough.
///
/// # Errors
/// [`ReadError`].
pub fn query(
    directory: &Path,
    filter: &Filter,
    each: &mut dyn FnMut(&Row<'_>) -> bool,
) -> Result<Asked, ReadError> {
    let files = files(directory)?;
    let mut open: HashSet<String> = HashSet::new();
    for file in &files {
        lines(file, false, |line| {
            match Head::of(line.bytes) {
                Some(Head { kind: "intent", intent: Some(intent), .. }) => {
                    open.insert(intent.to_owned());
                }
                Some(Head { kind: "outcome", intent: Some(intent), .. }) => {
                    open.remove(intent);
                }
                _ => {}
            }
            true
        })?;
    }
    let mut asked = Asked::default();
    let mut telling = Telling { filter, each, open, details: HashMap::new(), begun: None, told: 0 };
    let mut goes_on = true;
    for file in &files {
        goes_on = lines(file, false, |line| {
            if line::read(line.bytes).is_err() {
                // The end of the last line may not have been written yet.
                asked.bad += u64::from(line.has_end);
                return true;
            }
            telling.line(line.bytes)
        })?;
        if !goes_on {
            break;
        }
    }
    if goes_on {
        telling.end_begun();
    }
    asked.told = telling.told;
    Ok(asked)
}

/// Goes along the records.
struct Telling<'q> {
    filter: &'q Filter,
    each: &'q mut dyn FnMut(&Row<'_>) -> bool,
    /// Intents without an outcome.
    open: HashSet<String>,
    /// What intents told whose outcomes are still to come.
    details: HashMap<String, Value>,
    /// A record that goes on in those behind it, and how many of these are still to come.
    begun: Option<(Value, u64)>,
    told: u64,
}

impl Telling<'_> {
    /// The next good line; answers whether there is any use in more.
    fn line(&mut self, line: &[u8]) -> bool {
        let Some(head) = Head::of(line) else { return true };
        if head.kind == "more" {
            return self.more(line);
        }
        if !self.end_begun() {
            return false;
        }
        let is_intent = head.kind == "intent" && !self.is_open(&head);
        if !is_intent && !self.filter.admits_time(head.at) {
            head.intent.iter().for_each(|intent| drop(self.details.remove(*intent)));
            return true;
        }
        let Ok(record) = serde_json::from_slice::<Value>(line) else { return true };
        match record["parts"].as_u64() {
            Some(parts) if parts > 1 => {
                self.begun = Some((record, parts - 1));
                true
            }
            _ => self.record(record),
        }
    }

    /// A record goes on.
    fn more(&mut self, line: &[u8]) -> bool {
        // It may be one of a time that nobody asked for.
        let Some((mut record, left)) = self.begun.take() else { return true };
        let more: Value = serde_json::from_slice(line).unwrap_or_default();
        if more["of"] != record["seq"] {
            self.begun = Some((record, left));
            return self.end_begun();
        }
        add_details(&mut record["details"], &more["details"]);
        if left > 1 {
            self.begun = Some((record, left - 1));
            return true;
        }
        self.record(record)
    }

    /// A record whose other parts did not come, if there is one: what they said is not known.
    fn end_begun(&mut self) -> bool {
        let Some((mut record, left)) = self.begun.take() else { return true };
        if record["left_out"].is_null() {
            record["left_out"] = Value::from(left);
        }
        self.record(record)
    }

    fn is_open(&self, head: &Head<'_>) -> bool {
        head.intent.is_some_and(|intent| self.open.contains(intent))
    }

    /// A whole record.
    fn record(&mut self, mut record: Value) -> bool {
        let is_intent = record["kind"] == "intent";
        let intent = record["intent"].as_str().map(str::to_owned);
        let is_open = is_intent && intent.as_ref().is_some_and(|intent| self.open.contains(intent));
        match (is_intent && !is_open, intent) {
            (true, Some(intent)) => {
                self.details.insert(intent, told_by_intent(record));
                return true;
            }
            (true, None) => return true,
            (false, Some(intent)) => merge(&mut record, self.details.remove(&intent)),
            (false, None) => {}
        }
        if !self.filter.admits(&record, is_open) {
            return true;
        }
        self.told += 1;
        (self.each)(&Row { record: &record, is_open })
    }
}

/// Lists go on under their names.
fn add_details(to: &mut Value, more: &Value) {
    let (Value::Object(to), Value::Object(more)) = (to, more) else { return };
    for (name, value) in more {
        match (to.get_mut(name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.iter().cloned()),
            _ => drop(to.insert(name.clone(), value.clone())),
        }
    }
}

/// Of an intent, what its outcome does not say again.
fn told_by_intent(mut record: Value) -> Value {
    let taken = ["details", "left_out"].map(|name| (name.to_owned(), record[name].take()));
    Value::Object(taken.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

fn merge(record: &mut Value, details: Option<Value>) {
    if let (Value::Object(record), Some(Value::Object(details))) = (record, details) {
        record.extend(details);
    }
}

/// The objects that updates and questions of a record are about: each is written `WORD object#relation@subject`.
fn objects(record: &Value) -> impl Iterator<Item = &str> {
    let texts = ["updates", "questions"].into_iter().filter_map(|name| record["details"][name].as_array());
    texts.flatten().filter_map(|text| text.as_str()?.split_once(' ')?.1.split('#').next())
}

impl Filter {
    fn admits_time(&self, at: &str) -> bool {
        if self.from.is_none() && self.until.is_none() {
            return true;
        }
        let Ok(at) = at.parse::<Timestamp>() else { return false };
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }

    fn admits(&self, record: &Value, is_open: bool) -> bool {
        let text = |name: &str| record[name].as_str();
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| text(name) == Some(wanted))
        };
        let is_actor = |wanted: &str| {
            let is_of_address = |address: &str| {
                address == wanted
                    || address
                        .rsplit_once(':')
                        .is_some_and(|(host, _)| host.trim_matches(['[', ']']) == wanted)
            };
            let is_accessor =
                |accessor: &str| accessor == wanted || accessor.strip_prefix("token:") == Some(wanted);
            text("accessor").is_some_and(is_accessor)
                || text("actor").is_some_and(is_accessor)
                || text("certificate") == Some(wanted)
                || text("address").is_some_and(is_of_address)
        };
        let is_resource = |wanted: &str| {
            let of_type = |resource: &str| resource.split_once(':').is_some_and(|(kind, _)| kind == wanted);
            let is_it = |resource: &str| resource == wanted || of_type(resource);
            text("resource").is_some_and(is_it)
                || objects(record).any(is_it)
                || record["left_out"].is_number()
                || ["updates_blake3", "questions_blake3"]
                    .iter()
                    .any(|name| record["details"][name].is_string())
        };
        let is_outcome = |wanted: &str| match wanted {
            "none" => is_open,
            wanted => text("outcome") == Some(wanted),
        };
        is(&self.namespace, "namespace")
            && is(&self.call, "call")
            && is(&self.request, "request")
            && self.actor.as_deref().is_none_or(is_actor)
            && self.resource.as_deref().is_none_or(is_resource)
            && self.outcome.as_deref().is_none_or(is_outcome)
    }
}
