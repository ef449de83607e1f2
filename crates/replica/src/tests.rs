mod reading;
mod schemas;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use idhini_model::{Relationship, Timestamp};

use crate::{
    ALWAYS, Filter, Namespace, Operation, Options, Page, Portion, Precondition, Published, Update, Write,
};

const SCHEMA: &str = r#"use expiration
caveat only_on(day string, level int) {
  day == "tuesday" && level > 3
}
definition user {}
definition group {
  relation member: user | group#member
}
definition document {
  relation viewer: user | user:* | group#member | user with only_on | user with expiration
  relation banned: user
  permission view = viewer - banned
}
"#;

const ALL: Portion = Portion { rows_max: usize::MAX, edges_max: u64::MAX };

/// A namespace with a clock that the test turns.
struct World {
    namespace: Namespace,
    seconds: Arc<AtomicI64>,
}

impl World {
    fn with(options: Options) -> World {
        let seconds = Arc::new(AtomicI64::new(1_000));
        let clock = Arc::clone(&seconds);
        let clock = Box::new(move || Timestamp::from_seconds(clock.load(Ordering::SeqCst)));
        let namespace = Namespace::new(clock, options);
        namespace.write_schema(SCHEMA, ALWAYS).unwrap();
        World { namespace, seconds }
    }

    fn new() -> World {
        World::with(Options::default())
    }

    fn at(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }

    fn touch(&self, texts: &[&str]) {
        self.namespace.write(write(Operation::Touch, texts), ALWAYS).unwrap();
    }

    /// Everything that counts, sorted.
    fn texts(&self) -> Vec<String> {
        texts(&self.namespace.head().read(&Filter::default(), self.namespace.now(), None, ALL))
    }

    /// Runs `attempt`, which must be refused and leave nothing behind.
    fn refused<T: std::fmt::Debug>(
        &self,
        attempt: impl FnOnce(&Namespace) -> Result<T, crate::ReplicaError>,
    ) -> String {
        let before = (self.namespace.head().revision(), self.texts());
        let error = attempt(&self.namespace).unwrap_err();
        assert_eq!((self.namespace.head().revision(), self.texts()), before);
        error.to_string()
    }
}

fn relationship(text: &str) -> Relationship {
    text.parse().unwrap()
}

fn write(operation: Operation, texts: &[&str]) -> Write {
    let updates = texts.iter().map(|text| Update { operation, relationship: relationship(text) }).collect();
    Write { updates, preconditions: Vec::new() }
}

fn texts(page: &Page) -> Vec<String> {
    let mut texts: Vec<String> = page.rows.iter().map(|row| row.relationship.to_string()).collect();
    texts.sort();
    texts
}

fn of_type(resource_type: &str) -> Filter {
    Filter { resource_type: Some(resource_type.to_owned()), ..Filter::default() }
}

fn must_match(filter: Filter) -> Precondition {
    Precondition::MustMatch(filter)
}

fn head(world: &World) -> Arc<Published> {
    world.namespace.head()
}
