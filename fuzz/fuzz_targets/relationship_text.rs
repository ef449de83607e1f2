//! Any text: a relationship or an error. What parses prints, and that parses to the same.
#![no_main]

use idhini_model::{Relationship, SubjectRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(relationship) = text.parse::<Relationship>() {
        let printed = relationship.to_string();
        assert_eq!(printed.parse::<Relationship>().as_ref(), Ok(&relationship), "{printed}");
    }
    if let Ok(subject) = text.parse::<SubjectRef>() {
        assert_eq!(subject.to_string().parse::<SubjectRef>(), Ok(subject));
    }
});
