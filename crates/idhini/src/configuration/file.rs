//! What a file says: TOML, one key a setting, no tables.
//!
//! Paths in it are taken from the directory that the server is started in, as those of flags are.
//!
//! # Invariants
//! * No text of the file is repeated in a message but the names of keys: a value might be a key of clients.

use std::ffi::OsString;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::suggestion;
use super::table::{self, Kind, Setting};
use super::{Layer, Mistake, Origin, Said, Server};

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file.
pub(super) fn read(server: Server, path: &Path, mistakes: &mut Vec<Mistake>) -> Layer {
    match text_of(path) {
        Ok(text) => parse(server, path, &text, mistakes),
        Err(what) => {
            let remedy = "name a file of TOML that you may read, with --config FILE or IDHINI_CONFIG";
            mistakes.push(Mistake::new(path.display().to_string(), what, remedy));
            Layer::new()
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let say = |error: std::io::Error| format!("cannot be read: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(say)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(say)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        false => Ok(text),
    }
}

/// Reads its text.
pub(super) fn parse(server: Server, path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Layer {
    let place = |span: Range<usize>| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        (path, before.matches('\n').count() + 1, line.chars().count() + 1)
    };
    let (document, mut faults) = DeTable::parse_recoverable(text);
    faults.sort_by_key(|fault| fault.span().map(|span| span.start));
    let mut faulty_lines = Vec::new();
    for fault in faults {
        let at = place(fault.span().unwrap_or_default());
        faulty_lines.push(at.1);
        let remedy = "write TOML, such as history = \"24h\"".to_owned();
        mistakes.push(Mistake::in_file(at, format!("this is no TOML: {}", fault.message()), remedy));
    }
    let mut layer = Layer::new();
    let mut keys: Vec<_> = document.get_ref().iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in keys {
        let (name, at) = (key.get_ref().as_ref(), place(key.span()));
        // What was made of a line that is no TOML says nothing.
        if faulty_lines.contains(&at.1) {
            continue;
        }
        match table::settings().find(|setting| setting.name == name) {
            Some(setting) if setting.is_of(server) => match values(setting, value) {
                Ok(values) => {
                    let origin = Origin::File { path: path.to_owned(), line: at.1, column: at.2 };
                    layer.push((setting, Said { values, origin }));
                }
                Err(what) => {
                    mistakes.push(Mistake::in_file(at, format!("`{name}`: {what}"), setting.kind.remedy()));
                }
            },
            Some(_) => mistakes.push(Mistake::in_file(
                at,
                format!("`{name}` is not a setting of this command"),
                "take the line out".to_owned(),
            )),
            None => mistakes.push(unknown(server, name, value.get_ref(), at)),
        }
    }
    layer
}

fn unknown(server: Server, name: &str, value: &DeValue<'_>, at: (&Path, usize, usize)) -> Mistake {
    let remedy = match suggestion(name, table::of(server).map(|setting| setting.name.to_owned())) {
        Some(near) => format!("did you mean `{near}`?"),
        None if value.is_table() => "settings stand in no table: write `name = value`, one a line".to_owned(),
        None => "take it out; `idhini config print --toml` shows what there is".to_owned(),
    };
    Mistake::in_file(at, format!("`{name}` is not a setting"), remedy)
}

/// The value's text, as a flag would have it.
fn values(setting: &Setting, value: &Spanned<DeValue<'_>>) -> Result<Vec<OsString>, String> {
    let one = |value: &DeValue<'_>| match (&setting.kind, value) {
        (Kind::Switch { .. }, DeValue::Boolean(on)) => Ok(OsString::from(on.to_string())),
        (Kind::Number { .. }, DeValue::Integer(number)) if number.radix() == 10 => {
            Ok(OsString::from(number.as_str().replace('_', "")))
        }
        (Kind::Switch { .. }, _) => Err("it is either true or false, without quotes".to_owned()),
        (_, DeValue::String(text)) => Ok(OsString::from(text.as_ref())),
        (Kind::Number { .. }, _) => Err("it is a number".to_owned()),
        _ => Err("it is a string, in quotes".to_owned()),
    };
    match (&setting.kind, value.get_ref()) {
        (Kind::Keys { .. }, DeValue::Array(keys)) => keys.iter().map(|key| one(key.get_ref())).collect(),
        (_, value) => Ok(vec![one(value)?]),
    }
}
