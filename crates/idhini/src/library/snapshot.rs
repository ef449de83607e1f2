//! May the subject? Who may? What may it reach? What is stored? All of one revision, at one instant.
//!
//! # Invariants
//! * Nothing here waits: neither for a writer nor for the disk.
//! * A snapshot answers the same however long it is kept; it holds no directory open.
//!
//! Cost: as the engine's; a check adds nothing to what evaluating allocates.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use idhini_engine::{
    Answer, Check, CheckBulk, FoundResource, FoundSubject, Limits, LookupResources, LookupSubjects,
    Permissionship, Progress, Question,
};
use idhini_model::{Context, Filter, Relationship, ResourceRef, Revision, SubjectRef, Timestamp};
use idhini_replica::{Portion, Position, Published, ReplicaError, Row, check_filter};
use idhini_schema::Schema;

use crate::Error;

/// What a question without values for caveats brings.
static NOTHING: Context = Context(BTreeMap::new());

/// Relationships fetched at a time.
const PORTION: Portion = Portion { rows_max: 512, edges_max: u64::MAX };

/// One revision at one instant, to be asked. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    published: Arc<Published>,
    instant: Timestamp,
    limits: Limits,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// No, conditional or has.
    pub permissionship: Permissionship,
    /// The caveat parameters that a conditional answer lacks; empty otherwise.
    pub missing: BTreeSet<String>,
    /// Until when it stays so, unless something is written; `None`: until then.
    pub until: Option<Timestamp>,
}

impl Checked {
    /// Whether the subject definitely has the permission.
    #[must_use]
    pub fn has(&self) -> bool {
        self.permissionship == Permissionship::Has
    }
}

impl Snapshot {
    pub(crate) fn new(published: Arc<Published>, instant: Timestamp, cost_max: u64) -> Snapshot {
        Snapshot { published, instant, limits: Limits { cost_max, ..Limits::default() } }
    }

    /// The last write that is seen.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.published.revision()
    }

    /// The moment at which expirations are judged.
    #[must_use]
    pub fn instant(&self) -> Timestamp {
        self.instant
    }

    /// The schema; `None` before the first.
    #[must_use]
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.published.schema()
    }

    /// How many relationships there are, expired ones included.
    #[must_use]
    pub fn relationship_count(&self) -> u64 {
        self.published.root().relationship_count()
    }

    /// May `subject` do `permission` on `resource`?
    ///
    /// # Errors
    /// [`Error::Unanswered`], [`Error::Refused`] before the first schema.
    pub fn check(
        &self,
        resource: &ResourceRef,
        permission: &str,
        subject: &SubjectRef,
    ) -> Result<Checked, Error> {
        self.check_with(resource, permission, subject, &NOTHING)
    }

    /// The same, with values for caveats; those stored with relationships win.
    ///
    /// ```
    /// # use idhini::{Context, Idhini, Permissionship, Update};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let idhini = Idhini::in_memory()?;
    /// # idhini.write_schema("definition user {}
    /// #     caveat office(hour int) { hour >= 9 && hour < 17 }
    /// #     definition document {
    /// #         relation viewer: user with office
    /// #         permission view = viewer
    /// #     }")?;
    /// idhini.write(Update::touch("document:readme#viewer@user:cleo[office]".parse()?))?;
    /// let (readme, cleo) = ("document:readme".parse()?, "user:cleo".parse()?);
    ///
    /// let snapshot = idhini.snapshot();
    /// let conditional = snapshot.check(&readme, "view", &cleo)?;
    /// assert_eq!(conditional.permissionship, Permissionship::Conditional);
    /// assert!(conditional.missing.contains("hour"));
    ///
    /// let at_ten = Context::from_json(r#"{"hour": 10}"#)?;
    /// assert!(snapshot.check_with(&readme, "view", &cleo, &at_ten)?.has());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::check`].
    pub fn check_with(
        &self,
        resource: &ResourceRef,
        permission: &str,
        subject: &SubjectRef,
        context: &Context,
    ) -> Result<Checked, Error> {
        let question = Question { resource, permission, subject, context };
        let mut check = Check::open(self.asked()?, question, self.limits)?;
        let Answer { permissionship, missing } = check.answer()?;
        Ok(Checked { permissionship, missing, until: check.until() })
    }

    /// Many checks, which share work; answered in the order asked, each by itself.
    ///
    /// # Errors
    /// [`Error::Refused`] before the first schema.
    pub fn check_bulk<'q>(
        &self,
        questions: impl IntoIterator<Item = Question<'q>>,
    ) -> Result<Vec<Result<Answer, Error>>, Error> {
        let mut bulk = CheckBulk::open(self.asked()?, questions.into_iter().collect(), self.limits);
        loop {
            if let Progress::Done(answers) = bulk.advance(u64::MAX) {
                return Ok(answers.into_iter().map(|answer| answer.map_err(Error::from)).collect());
            }
        }
    }

    /// The resources of a type on which a subject has a permission, each once; found as they are asked for.
    ///
    /// # Errors
    /// As [`Snapshot::check`].
    pub fn lookup_resources<'s>(
        &'s self,
        resource_type: &str,
        permission: &str,
        subject: &'s SubjectRef,
    ) -> Result<Resources<'s>, Error> {
        self.lookup_resources_with(resource_type, permission, subject, &NOTHING)
    }

    /// The same, with values for caveats.
    ///
    /// # Errors
    /// As [`Snapshot::check`].
    pub fn lookup_resources_with<'s>(
        &'s self,
        resource_type: &str,
        permission: &str,
        subject: &'s SubjectRef,
        context: &'s Context,
    ) -> Result<Resources<'s>, Error> {
        let of = (resource_type, permission);
        let lookup = LookupResources::open(self.asked()?, of, subject, context, None, self.limits)?;
        Ok(Resources(Some(lookup)))
    }

    /// The subjects of a type, or of a relation of it, that have a permission on a resource, each once, `*` first.
    ///
    /// # Errors
    /// As [`Snapshot::check`].
    pub fn lookup_subjects<'s>(
        &'s self,
        resource: &'s ResourceRef,
        permission: &str,
        subject_type: &str,
        subject_relation: Option<&str>,
    ) -> Result<Subjects<'s>, Error> {
        self.lookup_subjects_with((resource, permission), (subject_type, subject_relation), &NOTHING)
    }

    /// The same, with values for caveats.
    ///
    /// # Errors
    /// As [`Snapshot::check`].
    pub fn lookup_subjects_with<'s>(
        &'s self,
        of: (&'s ResourceRef, &str),
        subjects: (&str, Option<&str>),
        context: &'s Context,
    ) -> Result<Subjects<'s>, Error> {
        let lookup = LookupSubjects::open(self.asked()?, of, subjects, context, None, self.limits)?;
        Ok(Subjects(Some(lookup)))
    }

    /// The relationships that match a filter and have not expired.
    ///
    /// # Errors
    /// [`Error::Refused`] if the filter names what the schema does not have.
    pub fn read<'s>(&'s self, filter: &'s Filter) -> Result<Relationships<'s>, Error> {
        check_filter(filter, self.schema().map(AsRef::as_ref))?;
        Ok(Relationships { of: self, filter, read: Vec::new().into_iter(), next: Next::From(None) })
    }

    /// What questions are asked of.
    fn asked(&self) -> Result<idhini_engine::Snapshot<'_>, Error> {
        Ok(self.published.snapshot(self.instant).ok_or(ReplicaError::NoSchema)?)
    }
}

/// Resources as they are found; ends with the first error.
pub struct Resources<'s>(Option<LookupResources<'s>>);

impl<'s> Iterator for Resources<'s> {
    type Item = Result<FoundResource<'s>, Error>;

    fn next(&mut self) -> Option<Result<FoundResource<'s>, Error>> {
        let lookup = self.0.as_mut()?;
        let found = found(|| lookup.advance(u64::MAX));
        if !matches!(found, Some(Ok(_))) {
            self.0 = None;
        }
        found
    }
}

/// Subjects as they are found; ends with the first error.
pub struct Subjects<'s>(Option<LookupSubjects<'s>>);

impl<'s> Iterator for Subjects<'s> {
    type Item = Result<FoundSubject<'s>, Error>;

    fn next(&mut self) -> Option<Result<FoundSubject<'s>, Error>> {
        let lookup = self.0.as_mut()?;
        let found = found(|| lookup.advance(u64::MAX));
        if !matches!(found, Some(Ok(_))) {
            self.0 = None;
        }
        found
    }
}

/// The next of a lookup.
fn found<T>(
    mut advance: impl FnMut() -> Result<Progress<Option<T>>, idhini_engine::EngineError>,
) -> Option<Result<T, Error>> {
    loop {
        match advance() {
            Ok(Progress::Done(found)) => return found.map(Ok),
            Ok(Progress::More) => {}
            Err(error) => return Some(Err(error.into())),
        }
    }
}

/// Relationships as they are read.
#[derive(Debug)]
pub struct Relationships<'s> {
    of: &'s Snapshot,
    filter: &'s Filter,
    read: std::vec::IntoIter<Row>,
    next: Next,
}

/// Where reading goes on.
#[derive(Debug)]
enum Next {
    From(Option<Position>),
    Nowhere,
}

impl Iterator for Relationships<'_> {
    type Item = Relationship;

    fn next(&mut self) -> Option<Relationship> {
        loop {
            if let Some(row) = self.read.next() {
                return Some(row.relationship);
            }
            let Next::From(after) = self.next else { return None };
            let page = self.of.published.read(self.filter, self.of.instant, after, PORTION);
            self.next = page.next.map_or(Next::Nowhere, |next| Next::From(Some(next)));
            self.read = page.rows.into_iter();
        }
    }
}
