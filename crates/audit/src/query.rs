//! Which records tell of somebody, of a namespace, of an object, of a time?
//!
//! A call that changes something has two records; it is told by its outcome, with the details of its intent, or by its intent
//! where there is no outcome.
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
    let mut details: HashMap<String, Value> = HashMap::new();
    for file in &files {
        let goes_on = lines(file, false, |line| {
            if line::read(line.bytes).is_err() {
                // The end of the last line may not have been written yet.
                asked.bad += u64::from(line.has_end);
                return true;
            }
            let Some(head) = Head::of(line.bytes) else { return true };
            let is_open = head.kind == "intent" && head.intent.is_some_and(|intent| open.contains(intent));
            let is_intent = head.kind == "intent" && !is_open;
            if !is_intent && !filter.admits_time(head.at) {
                head.intent.iter().for_each(|intent| drop(details.remove(*intent)));
                return true;
            }
            let intent = head.intent.map(str::to_owned);
            let Ok(mut record) = serde_json::from_slice::<Value>(line.bytes) else { return true };
            match (is_intent, intent) {
                (true, Some(intent)) => {
                    details.insert(intent, told_by_intent(record));
                    return true;
                }
                (true, None) => return true,
                (false, Some(intent)) => merge(&mut record, details.remove(&intent)),
                (false, None) => {}
            }
            if !filter.admits(&record, is_open) {
                return true;
            }
            asked.told += 1;
            each(&Row { record: &record, is_open })
        })?;
        if !goes_on {
            break;
        }
    }
    Ok(asked)
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
                || text("certificate") == Some(wanted)
                || text("address").is_some_and(is_of_address)
        };
        let is_resource = |wanted: &str| {
            let of_type = |resource: &str| resource.split_once(':').is_some_and(|(kind, _)| kind == wanted);
            let is_it = |resource: &str| resource == wanted || of_type(resource);
            text("resource").is_some_and(is_it)
                || objects(record).any(is_it)
                || record["left_out"].is_number()
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
