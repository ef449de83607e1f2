//! The engine's rules by hand-written cases; generated ones are compared with the reference in the test kit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod exclusion;
mod expansions;
mod explanations;
mod lasting;
mod lookups;
mod portions;
mod refusals;
mod rules;
mod shapes;

use idhini_engine::{
    Answer, Check, EngineError, Explanation, Limits, LookupResources, LookupSubjects, Permissionship, Plans,
    Position, Progress, Question, Snapshot,
};
use idhini_graph::Root;
use idhini_model::{Change, Context, Entry, EntryKind, Relationship, SubjectRef, Timestamp};

pub(crate) const HAS: Permissionship = Permissionship::Has;
pub(crate) const NO: Permissionship = Permissionship::No;
pub(crate) const CONDITIONAL: Permissionship = Permissionship::Conditional;

/// What a lookup answers.
pub(crate) struct Found {
    pub(crate) object_id: String,
    pub(crate) answer: Answer,
    pub(crate) excluded: Vec<Found>,
}

impl Found {
    fn of(object_id: &str, answer: Answer) -> Found {
        Found { object_id: object_id.to_owned(), answer, excluded: Vec::new() }
    }
}

/// A schema and relationships, ready to be asked.
pub(crate) struct World {
    pub(crate) root: Root,
    pub(crate) plans: Plans,
}

impl World {
    pub(crate) fn new(schema: &str, relationships: &str) -> World {
        let lines = relationships.lines().map(str::trim).filter(|line| !line.is_empty());
        World::of(schema, lines.map(|line| line.parse().expect(line)).collect())
    }

    pub(crate) fn of(schema: &str, relationships: Vec<Relationship>) -> World {
        let mut root = Root::empty();
        let kind = EntryKind::Schema { new: schema.to_owned(), old: String::new() };
        root.apply(&Entry { revision: root.revision().next(), kind }).unwrap();
        let changes = relationships.into_iter().map(Change::Created).collect();
        root.apply(&Entry { revision: root.revision().next(), kind: EntryKind::Relationships(changes) })
            .unwrap();
        let plans = Plans::compile(&root).unwrap();
        World { root, plans }
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { root: &self.root, plans: &self.plans, instant: instant() }
    }

    /// `resource permission subject`, optionally followed by ` with {json}`.
    pub(crate) fn try_check(&self, text: &str) -> Result<Answer, EngineError> {
        with_question(text, |question| Check::open(self.snapshot(), question, Limits::default())?.answer())
    }

    pub(crate) fn check(&self, text: &str) -> Permissionship {
        self.try_check(text).expect(text).permissionship
    }

    /// All resources, in pages of `page`.
    pub(crate) fn resources(
        &self,
        resource_type: &str,
        permission: &str,
        subject: &str,
        page: usize,
    ) -> Vec<Found> {
        let (subject, context): (SubjectRef, Context) = (subject.parse().unwrap(), Context::default());
        let (mut found, mut after): (Vec<Found>, Option<Position>) = (Vec::new(), None);
        loop {
            let asked = (resource_type, permission);
            let mut lookup =
                LookupResources::open(self.snapshot(), asked, &subject, &context, after, Limits::default())
                    .unwrap();
            let items = page_of(page, || lookup.advance(7).unwrap());
            after = items.last().map(|item| item.position);
            let is_last = items.len() < page;
            found.extend(items.into_iter().map(|item| Found::of(item.object_id, item.answer)));
            if is_last {
                return found;
            }
        }
    }

    /// All subjects, in pages of `page`.
    pub(crate) fn subjects(
        &self,
        resource: &str,
        permission: &str,
        subject_type: &str,
        page: usize,
    ) -> Vec<Found> {
        let (resource, context) = (resource.parse().unwrap(), Context::default());
        let (mut found, mut after): (Vec<Found>, Option<Position>) = (Vec::new(), None);
        loop {
            let (asked, of) = ((&resource, permission), subject_type.split_once('#'));
            let of = of.map_or((subject_type, None), |(name, relation)| (name, Some(relation)));
            let mut lookup =
                LookupSubjects::open(self.snapshot(), asked, of, &context, after, Limits::default()).unwrap();
            let items = page_of(page, || lookup.advance(7).unwrap());
            after = items.last().map(|item| item.position);
            let is_last = items.len() < page;
            found.extend(items.into_iter().map(|item| {
                let excluded = item.excluded.into_iter().map(|e| Found::of(e.object_id, e.answer)).collect();
                Found { excluded, ..Found::of(item.object_id, item.answer) }
            }));
            if is_last {
                return found;
            }
        }
    }
}

pub(crate) fn instant() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn with_question<T>(text: &str, ask: impl FnOnce(Question<'_>) -> T) -> T {
    let (asked, context) = text.split_once(" with ").unwrap_or((text, "{}"));
    let [resource, permission, subject] = asked.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (resource, subject) = (resource.parse().unwrap(), subject.parse().unwrap());
    let context = Context::from_json(context).unwrap();
    ask(Question { resource: &resource, permission, subject: &subject, context: &context })
}

/// An answer in portions of `fuel`, and what each portion cost.
pub(crate) fn answered(check: &mut Check<'_>, fuel: u64) -> (Result<Answer, EngineError>, Vec<u64>) {
    in_portions(check, |check| check.advance(fuel))
}

/// An explanation in portions of `fuel`, and what each portion cost.
pub(crate) fn explained(check: &mut Check<'_>, fuel: u64) -> (Result<Explanation, EngineError>, Vec<u64>) {
    in_portions(check, |check| check.advance_explanation(fuel))
}

fn in_portions<'a, T>(
    check: &mut Check<'a>,
    mut advance: impl FnMut(&mut Check<'a>) -> Result<Progress<T>, EngineError>,
) -> (Result<T, EngineError>, Vec<u64>) {
    let mut costs = Vec::new();
    loop {
        let before = check.cost();
        let progress = advance(check);
        costs.push(check.cost() - before);
        match progress {
            Ok(Progress::More) => assert!(costs.len() < 10_000_000, "it does not end"),
            Ok(Progress::Done(done)) => return (Ok(done), costs),
            Err(error) => return (Err(error), costs),
        }
    }
}

fn page_of<T>(page: usize, mut next: impl FnMut() -> Progress<Option<T>>) -> Vec<T> {
    let mut items = Vec::new();
    while items.len() < page {
        match next() {
            Progress::More => {}
            Progress::Done(Some(item)) => items.push(item),
            Progress::Done(None) => break,
        }
    }
    items
}
