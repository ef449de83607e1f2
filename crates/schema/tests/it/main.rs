//! The schema language, asked from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod changes;
mod conformance;
mod generated;
mod hostile;
mod imports;
mod reflection;
mod relationships;
mod syntax;
mod types;

use idhini_schema::{Schema, SchemaError};

/// A schema that must be accepted.
fn accepted(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The mistake of a schema that must be refused.
fn refused(text: &str) -> SchemaError {
    match Schema::parse(text) {
        Err(e) => e,
        Ok(schema) => panic!("accepted: {text}\n{}", schema.canonical_text()),
    }
}

/// `text` is refused at `line:column` with a message that holds `fragment`.
fn refused_at(text: &str, place: &str, fragment: &str) -> SchemaError {
    let e = refused(text);
    assert_eq!(format!("{}:{}", e.line, e.column), place, "{e}\n{text}");
    assert!(e.message.contains(fragment), "`{fragment}` is not in `{}`\n{text}", e.message);
    e
}

/// A schema with the type `user` and a definition `doc` of these members; they start on line 3.
fn doc(members: &str) -> String {
    format!("definition user {{}}\ndefinition doc {{\n{members}\n}}\n")
}
