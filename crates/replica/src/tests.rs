mod batches;
mod control;
mod counters;
mod driving;
mod importing;
mod on_disk;
mod opening;
mod preconditions;
mod reading;
mod rebuilding;
mod schemas;
mod set_relation;
mod watching;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use idhini_changelog::{Changelog, LogId, MemoryStore, Store};
use idhini_model::{Context, Relationship, Revision, Timestamp};

use crate::{
    Clock, Delete, Deleted, Filter, Namespace, Operation, Options, Page, Portion, Precondition, Published,
    ReplicaError, Update, Wanted, Write,
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

const ALWAYS: Wanted = Wanted::always();
const ALL: Portion = Portion { rows_max: usize::MAX, edges_max: u64::MAX };

/// A namespace whose calls are waited for.
struct Driven {
    runtime: tokio::runtime::Runtime,
    inner: Arc<Namespace>,
}

impl Driven {
    fn open(log: Arc<dyn Changelog>, clock: Clock, options: Options) -> Driven {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inner = runtime.block_on(Namespace::open(log, None, clock, options)).unwrap();
        Driven { runtime, inner }
    }

    fn write(&self, request: Write, wanted: Wanted) -> Result<Revision, ReplicaError> {
        self.runtime.block_on(self.inner.write(request, wanted))
    }

    fn import(&self, relationships: Vec<Relationship>, wanted: Wanted) -> Result<Revision, ReplicaError> {
        self.runtime.block_on(self.inner.import(relationships, wanted))
    }

    fn delete(&self, request: &Delete, wanted: Wanted) -> Result<Deleted, ReplicaError> {
        self.runtime.block_on(self.inner.delete(request.clone(), wanted))
    }

    fn write_schema(&self, text: &str, wanted: Wanted) -> Result<Revision, ReplicaError> {
        self.runtime.block_on(self.inner.write_schema(text.to_owned(), wanted))
    }

    fn at(&self, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        self.runtime.block_on(self.inner.at(asked))
    }

    fn at_moment(&self, seconds: i64) -> Result<Arc<Published>, ReplicaError> {
        self.runtime.block_on(self.inner.at_moment(Timestamp::from_seconds(seconds)))
    }

    fn at_least(&self, asked: Revision) -> Result<Arc<Published>, ReplicaError> {
        self.inner.at_least(asked)
    }

    fn head(&self) -> Arc<Published> {
        self.inner.head()
    }

    fn now(&self) -> Timestamp {
        self.inner.now()
    }
}

/// A namespace with a clock that the test turns.
struct World {
    namespace: Driven,
    log: Arc<dyn Changelog>,
    seconds: Arc<AtomicI64>,
}

impl World {
    fn with(options: Options) -> World {
        let seconds = Arc::new(AtomicI64::new(1_000));
        let clock = Arc::clone(&seconds);
        let clock: Clock = Arc::new(move || Timestamp::from_seconds(clock.load(Ordering::SeqCst)));
        let log = MemoryStore::new().log(LogId(1));
        let namespace = Driven::open(Arc::clone(&log), clock, options);
        namespace.write_schema(SCHEMA, ALWAYS).unwrap();
        World { namespace, log, seconds }
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
        attempt: impl FnOnce(&Driven) -> Result<T, ReplicaError>,
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
    Write { updates, preconditions: Vec::new(), metadata: Context::default() }
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
