//! Random logs: after every entry the root equals the plain model, and old roots, undo and redo do too.

use std::collections::BTreeSet;

use idhini_model::{
    CaveatUse, Change, Context, ContextValue, Entry, EntryKind, Filter, Relationship, Timestamp,
};
use idhini_model::{ResourceRef, SubjectRef};
use idhini_schema::{ClassKey, SubjectKind};
use proptest::collection::vec;
use proptest::prelude::*;

use super::sketch::{SCHEMAS, Sketch, entry, identity};
use crate::{ClassId, Content, Root};

/// What a test asks of the log next; which change that is depends on what is there.
#[derive(Debug, Clone)]
pub(super) enum Command {
    Write(Vec<Touch>),
    /// Everything of one resource goes, as a filtered delete does.
    Clear(u8),
    Schema(u8),
    /// Reclaims those unused objects whose position's bit is set.
    Renumber(u64),
    /// Registers one of a few counters, makes it count something else, or takes it away.
    Counter(u8),
    /// Steps back and forth again.
    BackAndForth(u8),
    /// Steps back and goes on from there.
    Back(u8),
}

/// Which relationship, and what becomes of it.
#[derive(Debug, Clone)]
pub(super) struct Touch {
    class: u8,
    resource: u8,
    subject: u8,
    attributes: u8,
    deletes: bool,
}

fn touch() -> impl Strategy<Value = Touch> {
    // Few resources are hot, so that some runs grow long.
    let resource = prop_oneof![3 => 0u8..3, 2 => 0u8..20, 1 => 0u8..=255];
    let attributes = prop_oneof![3 => Just(0u8), 1 => 0u8..12];
    let parts = (0u8..24, resource, 0u8..=255, attributes, prop::bool::weighted(0.4));
    parts.prop_map(|(class, resource, subject, attributes, deletes)| Touch {
        class,
        resource,
        subject,
        attributes,
        deletes,
    })
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => vec(touch(), 1..4).prop_map(Command::Write),
        3 => vec(touch(), 1..80).prop_map(Command::Write),
        1 => (0u8..6).prop_map(Command::Clear),
        1 => (0u8..4).prop_map(Command::Schema),
        1 => any::<u64>().prop_map(Command::Renumber),
        1 => any::<u8>().prop_map(Command::Counter),
        1 => (1u8..8).prop_map(Command::BackAndForth),
        1 => (1u8..4).prop_map(Command::Back),
    ]
}

fn named(key: &ClassKey, touch: &Touch) -> Relationship {
    let resource = ResourceRef::new(&*key.resource_type, format!("{}{}", key.resource_type, touch.resource));
    let id = format!("{}{}", key.subject_type, touch.subject);
    let subject = match &key.subject {
        SubjectKind::Object => SubjectRef::object(&*key.subject_type, id),
        SubjectKind::Wildcard => SubjectRef::object(&*key.subject_type, "*"),
        SubjectKind::Userset(relation) => SubjectRef::userset(&*key.subject_type, id, &**relation),
    };
    let mut relationship = Relationship::new(resource, &*key.relation, subject);
    if touch.attributes % 4 > 1 {
        let number = ContextValue::Number(f64::from(touch.attributes / 4));
        let context = Context([("day".to_owned(), number)].into_iter().collect());
        relationship.caveat = Some(CaveatUse { name: "only_on".to_owned(), context });
    }
    if touch.attributes % 2 == 1 {
        relationship.expires_at = Some(Timestamp::from_seconds(i64::from(touch.attributes / 2)));
    }
    relationship
}

/// The changes that these touches are on what is there; none twice.
fn changes(sketch: &Sketch, touches: &[Touch]) -> Vec<Change> {
    let mut seen = BTreeSet::new();
    let classes = sketch.current_classes();
    let mut changes = Vec::new();
    for touch in touches {
        let Some(key) = classes.get(usize::from(touch.class) % classes.len().max(1)) else { continue };
        let new = named(key, touch);
        if !seen.insert(identity(&new)) {
            continue;
        }
        match sketch.relationships.get(&identity(&new)) {
            None => changes.push(Change::Created(new)),
            Some(old) if touch.deletes => changes.push(Change::Deleted(old.clone())),
            Some(old) if *old != new => changes.push(Change::Replaced { new, old: old.attributes() }),
            Some(_) => {}
        }
    }
    changes
}

pub(super) struct Run {
    pub(super) root: Root,
    sketch: Sketch,
    /// What was after each revision, kept as it was then.
    kept: Vec<(Root, Sketch, Content)>,
    pub(super) log: Vec<Entry>,
}

impl Run {
    pub(super) fn new() -> Run {
        let (root, sketch) = (Root::empty(), Sketch::default());
        let content = sketch.content();
        Run { kept: vec![(root.clone(), sketch.clone(), content)], root, sketch, log: Vec::new() }
    }

    fn entry(&self, command: &Command) -> Option<Entry> {
        let kind = match command {
            Command::Write(touches) => EntryKind::Relationships(changes(&self.sketch, touches)),
            Command::Clear(resource) => {
                let of_resource = |r: &&Relationship| r.resource.object_id.ends_with(&resource.to_string());
                let gone = self.sketch.relationships.values().filter(of_resource);
                EntryKind::Relationships(gone.cloned().map(Change::Deleted).collect())
            }
            Command::Schema(at) => {
                let new = SCHEMAS.get(usize::from(*at)).copied().unwrap_or_default().to_owned();
                EntryKind::Schema { new, old: self.sketch.schema_text.clone() }
            }
            Command::Renumber(mask) => {
                let unused = self.root.unused_objects();
                assert_eq!(unused, self.sketch.unused());
                let chosen = unused.into_iter().enumerate().filter(|(at, _)| mask >> (at % 64) & 1 == 1);
                EntryKind::Renumbering { removed: chosen.map(|(_, object)| object).collect() }
            }
            Command::Counter(at) => {
                let (name, what) = (format!("counter{}", at % 4), at / 4 % 4);
                let old = self.sketch.counters.get(&name).cloned().map(Box::new);
                let counted =
                    |number: u8| Filter { relation: Some(format!("r{number}")), ..Filter::default() };
                let new = (what > 0).then(|| Box::new(counted(what)));
                EntryKind::Counter { name, new, old }
            }
            Command::BackAndForth(_) | Command::Back(_) => return None,
        };
        Some(entry(&self.root, kind))
    }

    pub(super) fn step(&mut self, command: &Command) {
        if let Some(entry) = self.entry(command) {
            self.root.apply(&entry).unwrap();
            self.sketch.apply(&entry);
            let content = self.sketch.content();
            assert_eq!(self.root.content(), content);
            assert_expirations(&self.root, &content);
            self.kept.push((self.root.clone(), self.sketch.clone(), content));
            self.log.push(entry);
            return;
        }
        let (Command::BackAndForth(steps) | Command::Back(steps)) = command else { return };
        let end = self.log.len();
        let start = end.saturating_sub(usize::from(*steps));
        for at in (start..end).rev() {
            self.root.undo(&self.log[at]).unwrap();
            assert_eq!(self.root.content(), self.kept[at].2);
        }
        if matches!(command, Command::Back(_)) {
            self.kept.truncate(start + 1);
            self.log.truncate(start);
            self.sketch = self.kept[start].1.clone();
            return;
        }
        for at in start..end {
            self.root.apply(&self.log[at]).unwrap();
            assert_eq!(self.root.content(), self.kept[at + 1].2);
        }
    }
}

/// What has expired at each instant is found, in portions too, and nothing else.
fn assert_expirations(root: &Root, content: &Content) {
    let all: Vec<((ClassId, u32, u32), Timestamp)> = (0u32..)
        .map(ClassId)
        .zip(&content.classes)
        .flat_map(|(class, of_class)| of_class.attributes.iter().map(move |(r, s, a)| ((class, *r, *s), a)))
        .filter_map(|(edge, attributes)| Some((edge, attributes.expires_at?)))
        .collect();
    assert_eq!(root.next_expiration(), all.iter().map(|(_, at)| *at).min());
    for seconds in -1..7 {
        let instant = Timestamp::from_seconds(seconds);
        let expected: Vec<_> = all.iter().filter(|(_, at)| *at <= instant).map(|(edge, _)| *edge).collect();
        let found: Vec<_> = root.expired_edges((ClassId(0), 0, 0), instant).collect();
        assert_eq!(found, expected);
        if let Some(middle) = expected.get(expected.len() / 2) {
            let rest: Vec<_> = root.expired_edges(*middle, instant).collect();
            assert_eq!(rest, expected[expected.len() / 2..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn every_root_of_a_log_is_what_the_log_amounts_to(commands in vec(command(), 1..40)) {
        let mut run = Run::new();
        run.step(&Command::Schema(0));
        for command in &commands {
            run.step(command);
        }
        // Nothing that came later reached into an older root.
        for (root, _, content) in &run.kept {
            prop_assert_eq!(&root.content(), content);
        }
        // All the way back, without the old roots: in place, where nothing is shared any more.
        let (mut root, contents) = (run.root, run.kept.into_iter().map(|kept| kept.2).collect::<Vec<_>>());
        for (entry, content) in run.log.iter().zip(&contents).rev() {
            root.undo(entry).unwrap();
            prop_assert_eq!(&root.content(), content);
        }
    }

    #[test]
    fn edges_do_not_depend_on_the_order_or_the_sizes_of_entries(
        touches in vec(touch(), 1..200), order in any::<u64>(), sizes in vec(1usize..40, 1..8)
    ) {
        let mut run = Run::new();
        run.step(&Command::Schema(0));
        let fresh = changes(&run.sketch, &touches);
        let mut one = run.root.clone();
        one.apply(&entry(&one, EntryKind::Relationships(fresh.clone()))).unwrap();
        let mut shuffled = fresh;
        shuffled.sort_by_key(|change| {
            let Change::Created(relationship) = change else { unreachable!() };
            crate::names::hash(order, relationship.to_string().as_bytes())
        });
        let mut many = run.root.clone();
        let (mut rest, mut size) = (&shuffled[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*size.next().unwrap()));
            many.apply(&entry(&many, EntryKind::Relationships(now.to_vec()))).unwrap();
            rest = later;
        }
        prop_assert_eq!(super::sketch::all(&one), super::sketch::all(&many));
        prop_assert_eq!(one.relationship_count(), many.relationship_count());
    }
}
