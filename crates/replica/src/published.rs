//! What does a reader hold? A root and the plans of its schema, immutable.
//!
//! Reading relationships back: by class, then by the numbers of resource and subject, in portions that the caller
//! bounds by results and by edges looked at. A position means the same on the same root only.
//!
//! Cost: O(answers) with a resource's id or a subject's id; otherwise O(edges of the classes that can match).

use std::ops::ControlFlow;
use std::sync::Arc;

use idhini_engine::{Plans, Snapshot};
use idhini_graph::{ApplyError, ClassId, Root, Run};
use idhini_model::{Change, Entry, EntryKind, Relationship, Revision, Timestamp};
use idhini_schema::{ClassKey, Schema};

use crate::filter::admits_class;
use crate::{Filter, IdFilter};

/// What a revision takes by itself, reference counts and its place in the history included.
const OWN_BYTES: u64 = (size_of::<Published>() + 4 * size_of::<usize>()) as u64;
/// About what a schema takes with its plans and classes, for each byte of its text: 20 to 27 for schemas of up to 300
/// definitions.
const SCHEMA_BYTES_PER_BYTE: u64 = 25;

/// One revision of the namespace, as its readers see it.
#[derive(Debug, Clone)]
pub struct Published {
    root: Root,
    plans: Option<Arc<Plans>>,
    classes: Arc<[(ClassKey, ClassId)]>,
}

/// Where a reading of relationships stands: after this edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    class: u32,
    resource: u32,
    subject: u32,
}

/// A relationship and where reading goes on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is stored.
    pub relationship: Relationship,
    /// Where it stands.
    pub position: Position,
}

/// A portion of a reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Matching relationships, in order.
    pub rows: Vec<Row>,
    /// Where to go on; `None` when all is read.
    pub next: Option<Position>,
    /// Edges looked at.
    pub edges: u64,
}

/// What one portion may take.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    /// At most so many results.
    pub rows_max: usize,
    /// At most so many edges looked at, beyond the first.
    pub edges_max: u64,
}

impl Position {
    /// Size of [`Position::to_bytes`].
    pub const BYTES: usize = 12;

    /// For a cursor.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Position::BYTES] {
        let mut bytes = [0; Position::BYTES];
        for (into, word) in bytes.chunks_exact_mut(4).zip([self.class, self.resource, self.subject]) {
            into.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// From a cursor; any bytes are a position, though not always one where something stands.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Position::BYTES]) -> Position {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Position {
            class: u32::from_be_bytes([a, b, c, d]),
            resource: u32::from_be_bytes([e, f, g, h]),
            subject: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

impl Published {
    /// Takes over what did not change from `before`.
    pub(crate) fn new(root: Root, before: Option<&Published>) -> Published {
        let unchanged = before.filter(|b| match (b.root.schema(), root.schema()) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        });
        if let Some(before) = unchanged {
            return Published { root, plans: before.plans.clone(), classes: Arc::clone(&before.classes) };
        }
        let keys = root.schema().map(|s| s.classes()).unwrap_or_default();
        let classes = keys.into_iter().filter_map(|key| root.class_id(&key).map(|id| (key, id))).collect();
        Published { plans: Plans::compile(&root).map(Arc::new), classes, root }
    }

    /// Becomes the next revision: all of it, or, failing, nothing.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if matches!(entry.kind, EntryKind::Relationships(_)) {
            return self.root.apply(entry);
        }
        let mut root = self.root.clone();
        root.apply(entry)?;
        *self = Published::new(root, Some(self));
        Ok(())
    }

    /// Becomes what some of the next entry's changes make it; see [`Root::apply_portion`].
    pub(crate) fn apply_portion(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        self.root.apply_portion(changes)
    }

    /// Becomes the next revision, of which all changes are applied.
    pub(crate) fn complete_entry(&mut self) {
        self.root.complete_entry();
    }

    /// The graph.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The schema's plans; `None` before the first schema.
    #[must_use]
    pub fn plans(&self) -> Option<&Arc<Plans>> {
        self.plans.as_ref()
    }

    /// The schema; `None` before the first.
    #[must_use]
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.root.schema()
    }

    /// The last entry that is seen.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.root.revision()
    }

    /// What questions are asked of; `None` before the first schema.
    #[must_use]
    pub fn snapshot(&self, instant: Timestamp) -> Option<Snapshot<'_>> {
        self.plans.as_deref().map(|plans| Snapshot { root: &self.root, plans, instant })
    }

    /// What this holds that a later revision does not share: what dropping it gives back if that one stays.
    pub(crate) fn bytes_beyond(&self, later: &Published) -> u64 {
        let schema = match (self.schema(), later.schema()) {
            (Some(own), Some(later)) if Arc::ptr_eq(own, later) => 0,
            (None, _) => 0,
            (Some(_), _) => SCHEMA_BYTES_PER_BYTE * self.root.schema_text().len() as u64,
        };
        OWN_BYTES + self.root.memory_beyond(&later.root).total_bytes() + schema
    }

    pub(crate) fn classes(&self) -> &[(ClassKey, ClassId)] {
        &self.classes
    }

    /// Reads one portion of the relationships that match and are not expired at `instant`, after a position.
    #[must_use]
    pub fn read(
        &self,
        filter: &Filter,
        instant: Timestamp,
        after: Option<Position>,
        portion: Portion,
    ) -> Page {
        let mut scan = Scan { of: self, filter, instant, portion, counted: None, page: Page::default() };
        scan.all(after);
        scan.page
    }

    /// As [`Published::read`], but only how many match; with where to go on and the edges looked at.
    pub(crate) fn count_portion(
        &self,
        filter: &Filter,
        instant: Timestamp,
        after: Option<Position>,
        portion: Portion,
    ) -> (u64, Option<Position>, u64) {
        let mut scan = Scan { of: self, filter, instant, portion, counted: Some(0), page: Page::default() };
        scan.all(after);
        (scan.counted.unwrap_or_default(), scan.page.next, scan.page.edges)
    }
}

/// One portion being read.
struct Scan<'a> {
    of: &'a Published,
    filter: &'a Filter,
    instant: Timestamp,
    portion: Portion,
    /// Of a scan that only counts: how many match. Its page has no rows.
    counted: Option<u64>,
    page: Page,
}

impl Scan<'_> {
    fn all(&mut self, after: Option<Position>) {
        let first = after.map_or(0, |p| p.class);
        for (index, (key, class)) in (0u32..).zip(self.of.classes.iter()) {
            if index < first || !admits_class(self.filter, key) {
                continue;
            }
            let within = after.filter(|p| p.class == index).map(|p| (p.resource, p.subject));
            if let ControlFlow::Break(at) = self.class(index, key, *class, within) {
                self.page.next = Some(at);
                break;
            }
        }
    }

    fn class(
        &mut self,
        index: u32,
        key: &ClassKey,
        class: ClassId,
        after: Option<(u32, u32)>,
    ) -> ControlFlow<Position> {
        let root = &self.of.root;
        let object = |object_type: &str, id: &str| root.type_id(object_type).and_then(|t| root.object(t, id));
        let subject = match self.filter.subject.as_ref().and_then(|s| s.subject_id.as_ref()) {
            Some(id) => match object(&key.subject_type, id) {
                Some(number) => Some(number),
                None => return ControlFlow::Continue(()),
            },
            None => None,
        };
        if let Some(IdFilter::Exactly(id)) = &self.filter.resource_id {
            let Some(resource) = object(&key.resource_type, id) else { return ControlFlow::Continue(()) };
            return self.of_resource(index, class, resource, subject, after);
        }
        if let Some(subject) = subject {
            let run = root.resources(class, subject);
            let from = after.map_or(0, |(resource, _)| above(run, resource));
            for at in from..run.len() {
                let Some(resource) = run.get(at) else { break };
                self.visit(index, class, resource, subject)?;
            }
            return ControlFlow::Continue(());
        }
        let mut from = 0;
        if let Some((resource, _)) = after {
            self.of_resource(index, class, resource, None, after)?;
            let Some(next) = resource.checked_add(1) else { return ControlFlow::Continue(()) };
            from = next;
        }
        for (resource, subject) in root.edges(class, from) {
            self.visit(index, class, resource, subject)?;
        }
        ControlFlow::Continue(())
    }

    /// The edges of one resource, one subject's or all.
    fn of_resource(
        &mut self,
        index: u32,
        class: ClassId,
        resource: u32,
        subject: Option<u32>,
        after: Option<(u32, u32)>,
    ) -> ControlFlow<Position> {
        if after.is_some_and(|(r, _)| r > resource) {
            return ControlFlow::Continue(());
        }
        let after = after.filter(|(r, _)| *r == resource).map(|(_, subject)| subject);
        let run = self.of.root.subjects(class, resource);
        if let Some(subject) = subject {
            if after.is_none_or(|a| a < subject) && run.contains(subject) {
                self.visit(index, class, resource, subject)?;
            }
            return ControlFlow::Continue(());
        }
        for at in after.map_or(0, |a| above(run, a))..run.len() {
            let Some(subject) = run.get(at) else { break };
            self.visit(index, class, resource, subject)?;
        }
        ControlFlow::Continue(())
    }

    fn visit(&mut self, index: u32, class: ClassId, resource: u32, subject: u32) -> ControlFlow<Position> {
        let position = Position { class: index, resource, subject };
        self.page.edges += 1;
        if self.matches(class, resource, subject) {
            match &mut self.counted {
                Some(counted) => *counted += 1,
                None => {
                    let relationship = self.of.root.relationship(class, resource, subject);
                    self.page.rows.extend(relationship.map(|relationship| Row { relationship, position }));
                }
            }
        }
        if self.page.rows.len() >= self.portion.rows_max || self.page.edges > self.portion.edges_max {
            return ControlFlow::Break(position);
        }
        ControlFlow::Continue(())
    }

    /// Class, exact ids and subject are settled by where the scan looks.
    fn matches(&self, class: ClassId, resource: u32, subject: u32) -> bool {
        let root = &self.of.root;
        if let Some(prefix @ IdFilter::StartsWith(_)) = &self.filter.resource_id
            && !prefix.admits(root.object_id(root.class(class).resource_type, resource))
        {
            return false;
        }
        !root.has_attributes(class)
            || root
                .attributes(class, resource, subject)
                .and_then(|a| a.expires_at)
                .is_none_or(|at| at > self.instant)
    }
}

/// The index of the first number above `number`.
fn above(run: Run<'_>, number: u32) -> usize {
    let (mut low, mut high) = (0, run.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if run.get(middle).is_some_and(|n| n <= number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
