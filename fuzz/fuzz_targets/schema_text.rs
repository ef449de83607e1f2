//! Any text: a schema or an error. What parses prints canonically, and that parses to the same.
#![no_main]

use idhini_schema::{Plan, Schema};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(schema) = Schema::parse(text) {
        let canonical = schema.canonical_text();
        let again = Schema::parse(&canonical).expect("canonical text parses");
        assert_eq!(again.canonical_text(), canonical);
        assert_eq!(Plan::compile(&again), Plan::compile(&schema));
    }
});
