//! A check through the library allocates what evaluating it allocates, and nothing for the library.

use idhini::{Context, Idhini, Options, Question};
use idhini_engine::{Check, Limits, Plans, Snapshot};
use idhini_graph::Root;
use idhini_model::{Change, Entry, EntryKind, Revision};

use super::{BEFORE, RELATIONSHIPS, SCHEMA, Seconds, filled, relationship, resource, subject};

/// The same graph without the library.
fn root() -> Root {
    let mut root = Root::empty();
    let new = idhini::Schema::parse(SCHEMA).unwrap().canonical_text();
    let schema = EntryKind::Schema { new, old: String::new() };
    let created = RELATIONSHIPS.iter().map(|text| Change::Created(relationship(text))).collect();
    for (revision, kind) in [(1, schema), (2, EntryKind::Relationships(created))] {
        root.apply(&Entry { revision: Revision(revision), kind }).unwrap();
    }
    root
}

#[test]
fn a_check_adds_nothing_to_what_the_engine_allocates() {
    let seconds = Seconds::default();
    seconds.set(BEFORE);
    let idhini: Idhini = filled(Options { cost_max: 1_000, ..seconds.options() }.in_memory().unwrap());
    let pinned = idhini.snapshot();
    let (root, context) = (root(), Context::default());
    let plans = Plans::compile(&root).unwrap();
    let snapshot = Snapshot { root: &root, plans: &plans, instant: pinned.instant() };
    let asked = [
        ("document:readme", "banned", "user:bob"),
        ("document:plan", "viewer", "user:ann"),
        ("document:readme", "view", "user:ann"),
        ("document:readme", "view", "user:bob"),
        ("document:nothing", "view", "user:nobody"),
    ];
    // What a thread keeps from one check to the next it makes with the first.
    for (object, permission, who) in asked {
        let (resource, subject) = (&resource(object), &subject(who));
        pinned.check(resource, permission, subject).unwrap();
        let question = Question { resource, permission, subject, context: &context };
        Check::open(snapshot, question, Limits::default()).unwrap().answer().unwrap();
    }
    for (object, permission, who) in asked {
        let (resource, subject) = (resource(object), subject(who));
        let (mut found, mut evaluated) = (None, None);
        let library = allocation_counter::measure(|| {
            found = Some(pinned.check(&resource, permission, &subject).unwrap());
        });
        let engine = allocation_counter::measure(|| {
            let question = Question { resource: &resource, permission, subject: &subject, context: &context };
            evaluated = Some(
                Check::open(snapshot, question, Limits { cost_max: 1_000, ..Limits::default() })
                    .unwrap()
                    .answer()
                    .unwrap(),
            );
        });
        assert_eq!(found.unwrap().permissionship, evaluated.unwrap().permissionship);
        assert_eq!(library.count_total, engine.count_total, "{object}#{permission}@{who}");
        if permission == "banned" {
            assert_eq!(library.count_total, 0, "a direct relationship needs none");
        }
    }
}
