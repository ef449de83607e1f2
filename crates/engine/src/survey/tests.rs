use idhini_graph::Root;
use idhini_model::{Change, Context, Entry, EntryKind, SubjectRef, Timestamp};

use super::{Keep, Survey};
use crate::evaluate::{Evaluator, GoalKey};
use crate::{Limits, Permissionship, Plans, Progress, Snapshot};

/// A group of fifty groups without anyone in them, asked for a user and surveyed.
fn surveyed<T>(keep: Keep, fuel: u64, look: impl FnOnce(&Survey, u64) -> T) -> T {
    let schema = "definition user {} definition group { relation member: user | group#member }";
    let mut root = Root::empty();
    let kind = EntryKind::Schema { new: schema.to_owned(), old: String::new() };
    root.apply(&Entry { revision: root.revision().next(), kind }).unwrap();
    let edges = (0..50).map(|i| format!("group:all#member@group:g{i}#member"));
    let created = edges.map(|edge| Change::Created(edge.parse().unwrap())).collect();
    root.apply(&Entry { revision: root.revision().next(), kind: EntryKind::Relationships(created) }).unwrap();
    let plans = Plans::compile(&root).unwrap();
    let snapshot = Snapshot { root: &root, plans: &plans, instant: Timestamp::from_seconds(0) };
    let (context, subject) = (Context::default(), "user:ann".parse::<SubjectRef>().unwrap());
    let subject = snapshot.bind_subject(&subject).unwrap();
    let group = snapshot.bind_type("group").unwrap();
    let member = snapshot.bind_member(group, "member").unwrap();
    let goal = GoalKey { member, object: snapshot.object(group, "all").unwrap() };

    let mut evaluator = Evaluator::new(snapshot, &context, subject, Limits::default());
    evaluator.ask(goal);
    assert!(matches!(evaluator.advance(u64::MAX), Ok(Progress::Done(_))));
    let mut survey = Survey::open(&evaluator, goal, keep);
    let before = evaluator.cost();
    loop {
        let end = evaluator.cost().saturating_add(fuel);
        if survey.advance(&mut evaluator, end).unwrap() {
            return look(&survey, evaluator.cost() - before);
        }
    }
}

#[test]
fn of_each_value_no_more_edges_are_remembered_than_asked_for_and_all_are_counted() {
    surveyed(Keep::PerValue(7), u64::MAX, |survey, _| {
        let found = survey.of(*survey.order.last().unwrap());
        assert_eq!(survey.edges(&found).len(), 7);
        assert_eq!(found.count(Some(Permissionship::No)), 50);
    });
}

#[test]
fn a_survey_costs_the_same_in_portions_of_any_size() {
    let whole = surveyed(Keep::PerValue(7), u64::MAX, |_, cost| cost);
    for fuel in [1, 2, 10] {
        assert_eq!(surveyed(Keep::PerValue(7), fuel, |_, cost| cost), whole);
    }
}
