//! What can be written, and which state be asked?
//!
//! Cost: a clone of the handle is a reference count; a snapshot of the newest revision a shared lock and another one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use idhini_model::{Relationship, Revision, Timestamp};
use idhini_replica::{Delete, Deleted, NamespaceMemory, Set, SetRelation, Wanted, Write};

use crate::opened::Opened;
use crate::{Error, Options, Snapshot, Watch};

/// A namespace of this process: its relationships, its schema, its past. Clones are the same one; it closes with the last
/// of them.
#[derive(Clone)]
pub struct Idhini {
    opened: Arc<Opened>,
}

impl fmt::Debug for Idhini {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idhini").field("namespace", &self.opened.namespace).finish_non_exhaustive()
    }
}

impl Idhini {
    pub(crate) fn of(opened: Opened) -> Idhini {
        Idhini { opened: Arc::new(opened) }
    }

    /// A namespace that is gone with its last handle.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn in_memory() -> Result<Idhini, Error> {
        Options::default().in_memory()
    }

    /// The namespace in this directory, which is made if it is not there; as a server has it, and held like one.
    ///
    /// ```
    /// use idhini::{Error, Idhini};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("idhini-open-{}", std::process::id()));
    /// let idhini = Idhini::open(&directory)?;
    /// let revision = idhini.write_schema("definition user {}")?;
    /// // Who holds it is said: `… is held by process …; stop that process, or choose another directory`
    /// assert!(matches!(Idhini::open(&directory), Err(Error::Directory(_))));
    ///
    /// drop(idhini);
    /// assert_eq!(Idhini::open(&directory)?.snapshot().revision(), revision);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Directory`] if another process or handle holds it; [`Error::Identity`], [`Error::Log`] and
    /// [`Error::Namespace`] if it cannot be read; [`Error::System`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Idhini, Error> {
        Options::default().open(directory)
    }

    /// The newest revision, at this moment. Waits for no writer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let namespace = &self.opened.namespace;
        Snapshot::new(namespace.head(), namespace.now(), self.opened.cost_max)
    }

    /// Exactly this revision, at this moment: what is there now of what was there then.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no longer kept, or not there yet.
    pub fn at(&self, revision: Revision) -> Result<Snapshot, Error> {
        let namespace = &self.opened.namespace;
        let published = self.opened.calls().wait(namespace.at(revision))?;
        Ok(Snapshot::new(published, namespace.now(), self.opened.cost_max))
    }

    /// What was answered at a moment that has passed: the revision of then, its expirations judged then.
    ///
    /// # Errors
    /// [`Error::StillToCome`], [`Error::Refused`] if the history does not reach back so far.
    pub fn as_of(&self, moment: Timestamp) -> Result<Snapshot, Error> {
        let namespace = &self.opened.namespace;
        if moment > namespace.now() {
            return Err(Error::StillToCome { asked: moment });
        }
        let published = self.opened.calls().wait(namespace.at_moment(moment))?;
        Ok(Snapshot::new(published, moment, self.opened.cost_max))
    }

    /// Replaces the schema. Answers the revision that has it.
    ///
    /// # Errors
    /// [`Error::Refused`]: the text is no schema, or relationships stand in its way.
    pub fn write_schema(&self, text: impl Into<String>) -> Result<Revision, Error> {
        Ok(self.opened.calls().wait(self.opened.namespace.write_schema(text.into(), Wanted::always()))?)
    }

    /// Writes relationships, all of them or none. Answers the revision that has them, which is durable.
    ///
    /// ```
    /// # use idhini::{Filter, Idhini, Precondition, Relationship, Update, Write};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let idhini = Idhini::in_memory()?;
    /// # idhini.write_schema("definition user {} definition document { relation owner: user }")?;
    /// let ann: Relationship = "document:readme#owner@user:ann".parse()?;
    /// idhini.write(Update::create(ann.clone()))?;
    ///
    /// // From ann to bob, unless the readme had another owner by then.
    /// let of_ann = Precondition::MustMatch(Filter::of(&ann));
    /// let updates = vec![Update::delete(ann), Update::touch("document:readme#owner@user:bob".parse()?)];
    /// idhini.write(Write { updates, preconditions: vec![of_ann], ..Write::default() })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`]; nothing has changed, unless it is one that says that this is not known.
    pub fn write(&self, write: impl Into<Write>) -> Result<Revision, Error> {
        Ok(self.opened.calls().wait(self.opened.namespace.write(write.into(), Wanted::always()))?)
    }

    /// Creates relationships, all of them or none, as one entry of the log: how many are loaded.
    ///
    /// # Errors
    /// As [`Idhini::write`].
    pub fn import(&self, relationships: Vec<Relationship>) -> Result<Revision, Error> {
        Ok(self.opened.calls().wait(self.opened.namespace.import(relationships, Wanted::always()))?)
    }

    /// Deletes what a filter matches, as one entry of the log.
    ///
    /// # Errors
    /// As [`Idhini::write`].
    pub fn delete(&self, delete: Delete) -> Result<Deleted, Error> {
        Ok(self.opened.calls().wait(self.opened.namespace.delete(delete, Wanted::always()))?)
    }

    /// Makes a relation of one resource hold exactly the subjects given.
    ///
    /// # Errors
    /// As [`Idhini::write`], and if too much differs.
    pub fn set_relation(&self, set: SetRelation) -> Result<Set, Error> {
        Ok(self.opened.calls().wait(self.opened.namespace.set_relation(set, Wanted::always()))?)
    }

    /// What is held in memory, and for what. Walks the graph, which takes a while; nobody waits for it.
    #[must_use]
    pub fn memory(&self) -> NamespaceMemory {
        self.opened.namespace.memory()
    }

    /// Follows everything that changes after a revision: what has changed since, and then what comes.
    ///
    /// # Errors
    /// [`Error::Refused`] if what came after that revision is no longer kept, or if it is not there yet.
    pub fn watch(&self, after: Revision) -> Result<Watch, Error> {
        let changes = self.opened.calls().wait(self.opened.namespace.changes(after))?;
        Ok(Watch::new(changes, self.opened.calls().clone(), self.opened.closing()))
    }
}
