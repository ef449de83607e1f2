//! What is the configuration, and where does each value come from? As a table, as JSON, or as a file to start from.
//!
//! # Invariants
//! * Keys are counted, not shown.

use serde_json::{Value, json};

use super::table::{Setting, Shown};
use super::{Configuration, Origin, Settings};
use crate::output;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Toml,
}

/// Prints every setting.
pub(crate) fn print(configuration: &Configuration, format: Format) {
    match format {
        Format::Text => output::line(text(configuration).trim_end()),
        Format::Json => output::json(&all_json(configuration)),
        Format::Toml => output::line(toml(configuration).trim_end()),
    }
}

/// A value, for people.
pub(super) fn value(setting: &Setting, settings: &Settings) -> String {
    match setting.kind.show(settings) {
        Shown::Nothing => "(not set)".to_owned(),
        Shown::Switch(on) => on.to_string(),
        Shown::Number(number) => setting.kind.number(number),
        Shown::Text(text) => text,
        Shown::Keys(0) => "(not set)".to_owned(),
        Shown::Keys(1) => "(set, 1 key)".to_owned(),
        Shown::Keys(count) => format!("(set, {count} keys)"),
    }
}

fn origin(setting: &Setting, origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File { .. } => format!("file {}", origin.place(setting)),
        Origin::Environment => format!("environment {}", origin.place(setting)),
        Origin::Flag => format!("flag {}", origin.place(setting)),
    }
}

pub(super) fn text(configuration: &Configuration) -> String {
    let rows: Vec<[String; 3]> = configuration
        .origins
        .iter()
        .map(|(setting, from)| {
            [setting.name.to_owned(), value(setting, &configuration.settings), origin(setting, from)]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (names, values) = (width(0), width(1));
    rows.iter().map(|[name, value, origin]| format!("{name:names$}  {value:values$}  {origin}\n")).collect()
}

fn all_json(configuration: &Configuration) -> Value {
    let all = configuration.origins.iter().map(|(setting, from)| {
        let value = match setting.kind.show(&configuration.settings) {
            Shown::Nothing | Shown::Keys(0) => Value::Null,
            Shown::Switch(on) => json!(on),
            Shown::Number(number) => json!(number),
            Shown::Text(text) => json!(text),
            Shown::Keys(_) => json!(value(setting, &configuration.settings)),
        };
        let origin = match from {
            Origin::Default => json!({ "kind": "default" }),
            Origin::File { path, line, column } => {
                json!({ "kind": "file", "path": path.display().to_string(), "line": line, "column": column })
            }
            Origin::Environment => json!({ "kind": "environment", "variable": setting.variable() }),
            Origin::Flag => json!({ "kind": "flag", "flag": setting.flag() }),
        };
        let facts = json!({ "value": value, "unit": setting.kind.unit(), "origin": origin });
        (setting.name.to_owned(), facts)
    });
    Value::Object(all.collect())
}

/// A file that says the same; what is as by default is commented out, and so are keys.
pub(super) fn toml(configuration: &Configuration) -> String {
    let mut text = String::new();
    let mut heading = "";
    for (setting, from) in &configuration.origins {
        if heading != setting.heading {
            heading = setting.heading;
            text.push_str(&format!("### {heading}\n\n"));
        }
        let (value, is_shown) = match setting.kind.show(&configuration.settings) {
            Shown::Nothing => (quoted(""), false),
            Shown::Switch(on) => (on.to_string(), true),
            Shown::Number(number) => match setting.kind.number(number) {
                plain if plain == number.to_string() => (plain, true),
                with_unit => (quoted(&with_unit), true),
            },
            Shown::Text(text) => (quoted(&text), true),
            Shown::Keys(_) => ("[\"…\"]".to_owned(), false),
        };
        let comment = if is_shown && *from != Origin::Default { "" } else { "# " };
        text.push_str(&format!("# {}\n{comment}{} = {value}\n\n", setting.doc, setting.name));
    }
    text
}

/// A JSON string is a TOML string, but for one control character that TOML wants escaped.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
