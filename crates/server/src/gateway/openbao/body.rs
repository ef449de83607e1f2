//! What does a body ask for? Fields by name; one that is not known here is refused, not passed over.

use serde_json::{Map, Value};
use tonic::Status;

/// Seconds of each unit of time.
const TIMES: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// Texts by name; one that is to be dropped has none.
pub(super) type Metadata = Vec<(String, Option<String>)>;

/// The fields of a body that nobody has asked for yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(fields: Map<String, Value>) -> Fields {
        Fields(fields)
    }

    /// A field; one that is `null` is absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text; an absent one is empty.
    pub(super) fn text(&mut self, name: &str) -> Result<String, Status> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(wrong(name, "is a text")),
        }
    }

    /// A switch; an absent one is as said.
    pub(super) fn switch(&mut self, name: &str, absent: bool) -> Result<bool, Status> {
        match self.take(name) {
            None => Ok(absent),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => Err(wrong(name, "is true or false")),
        }
    }

    /// A number; an absent one is 0.
    pub(super) fn number(&mut self, name: &str) -> Result<u64, Status> {
        match self.take(name) {
            None => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| wrong(name, "is a number that is not negative")),
        }
    }

    /// A list of texts; clients also write one text with commas.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Status> {
        let wrong = || wrong(name, "is a list of texts");
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()),
            Some(Value::Array(all)) => {
                all.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A span of time in seconds: 3600, "3600", "1h" or "1h30m"; `None` if it is absent or 0.
    pub(super) fn span(&mut self, name: &str) -> Result<Option<u64>, Status> {
        let seconds = match self.take(name) {
            None => Some(0),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => span(&text),
            Some(_) => None,
        };
        let seconds = seconds.ok_or_else(|| wrong(name, "is a time such as 3600, 90m or 7d"))?;
        Ok(Some(seconds).filter(|seconds| *seconds > 0))
    }

    /// Custom metadata: texts by name; one that is `null` is to be dropped.
    pub(super) fn metadata(&mut self, name: &str) -> Result<Option<Metadata>, Status> {
        let wrong = || wrong(name, "is an object of texts");
        let all = match self.take(name) {
            None => return Ok(None),
            Some(Value::Object(all)) => all,
            Some(_) => return Err(wrong()),
        };
        let one = |(key, value)| match value {
            Value::Null => Ok((key, None)),
            Value::String(text) => Ok((key, Some(text))),
            _ => Err(wrong()),
        };
        all.into_iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// Refuses what is left.
    pub(super) fn expect_no_more(self) -> Result<(), Status> {
        match self.0.into_iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let text = format!("there is no field `{}` here; leave it out", name.escape_default());
                Err(Status::invalid_argument(text))
            }
        }
    }
}

/// Refuses a field that has a value which asks for what there is not.
pub(super) fn expect_none(is_asked: bool, name: &str, why: &str) -> Result<(), Status> {
    match is_asked {
        true => Err(Status::invalid_argument(format!("`{name}` cannot be had here: {why}; leave it out"))),
        false => Ok(()),
    }
}

fn wrong(name: &str, what: &str) -> Status {
    Status::invalid_argument(format!("`{name}` {what}"))
}

/// Seconds of a text such as 3600, 90m or 1h30m.
fn span(text: &str) -> Option<u64> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(text) {
        return text.parse().ok();
    }
    let (mut seconds, mut digits) = (None, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let (_, unit) = TIMES.iter().find(|(name, _)| *name == c)?;
        let part = digits.parse::<u64>().ok()?.checked_mul(*unit)?;
        seconds = Some(seconds.unwrap_or(0_u64).checked_add(part)?);
        digits.clear();
    }
    seconds.filter(|_| digits.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Fields {
        Fields::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn times_are_written_as_clients_write_them() {
        for (text, seconds) in
            [("3600", 3600), ("90m", 5400), ("1h30m", 5400), ("7d", 604_800), ("1d2h3m4s", 93_784), ("0", 0)]
        {
            assert_eq!(span(text), Some(seconds), "{text}");
        }
        for bad in
            ["", "h", "1h30", "-1h", "1.5h", "1 h", "99999999999999999999h", "18446744073709551615d", "1é"]
        {
            assert_eq!(span(bad), None, "{bad}");
        }
        let mut read = fields(&json!({ "a": 60, "b": "0", "c": null, "d": -1, "e": 1.5, "f": [] }));
        assert_eq!(read.span("a").unwrap(), Some(60));
        assert!(["b", "c", "x"].iter().all(|name| read.span(name).unwrap().is_none()));
        assert!(["d", "e", "f"].iter().all(|name| read.span(name).is_err()));
    }

    #[test]
    fn what_nobody_asked_for_is_refused_by_its_name() {
        let mut read = fields(&json!({ "custom_metadata": { "a": "b", "c": null }, "mode": null }));
        let metadata = read.metadata("custom_metadata").unwrap().unwrap();
        assert_eq!(metadata, [("a".to_owned(), Some("b".to_owned())), ("c".to_owned(), None)]);
        assert!(read.expect_no_more().is_ok());
        let misspelt = fields(&json!({ "custom_metdata": {} })).expect_no_more().unwrap_err();
        assert!(misspelt.message().contains("`custom_metdata`"), "{misspelt:?}");
        for wrong in [json!([]), json!("a"), json!({ "a": 1 }), json!({ "a": ["b"] })] {
            assert!(fields(&json!({ "custom_metadata": wrong })).metadata("custom_metadata").is_err());
        }
        assert_eq!(fields(&json!({ "p": "a, b,," })).texts("p").unwrap(), ["a", "b"]);
        assert_eq!(fields(&json!({ "p": ["a", "b"] })).texts("p").unwrap(), ["a", "b"]);
        assert!(fields(&json!({ "p": [1] })).texts("p").is_err());
    }
}
