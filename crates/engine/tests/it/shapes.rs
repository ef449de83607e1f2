//! Bulk checks, expansion and explanations.

use idhini_engine::{Check, CheckBulk, Expand, ExpandKind, Limits, Progress, Question, RuleKind};
use idhini_model::Context;

use crate::{CONDITIONAL, HAS, NO, World, with_question};

const SCHEMA: &str = "caveat is_open(open bool) { open }
    definition user {}
    definition group { relation member: user | group#member }
    definition folder { relation parent: folder\n relation viewer: user with is_open | group#member\n permission view = viewer + parent->view }";

#[test]
fn equal_items_and_different_contexts_of_a_batch_are_answered_each_by_itself() {
    let world = World::new(SCHEMA, "folder:top#viewer@user:ann[is_open]");
    let (resource, subject) = ("folder:top".parse().unwrap(), "user:ann".parse().unwrap());
    let contexts = ["{}", r#"{"open": true}"#, r#"{"open": false}"#].map(|c| Context::from_json(c).unwrap());
    let order = [0, 1, 2, 1, 0, 1];
    let questions = order.map(|i| Question {
        resource: &resource,
        permission: "view",
        subject: &subject,
        context: &contexts[i],
    });
    let mut bulk = CheckBulk::open(world.snapshot(), questions.to_vec(), Limits::default());
    let answers = loop {
        if let Progress::Done(answers) = bulk.advance(3) {
            break answers;
        }
    };
    let values: Vec<_> = answers.into_iter().map(|a| a.unwrap().permissionship).collect();
    assert_eq!(values, [CONDITIONAL, HAS, NO, HAS, CONDITIONAL, HAS]);
}

#[test]
fn an_expansion_of_a_cycle_ends_in_a_reference() {
    let world = World::new(SCHEMA, "folder:one#parent@folder:two\nfolder:two#parent@folder:one");
    let one = "folder:one".parse().unwrap();
    let tree = Expand::open(world.snapshot(), &one, "view", Limits::default()).unwrap().tree().unwrap();
    let mut open = vec![&tree];
    let mut references = Vec::new();
    while let Some(tree) = open.pop() {
        match &tree.kind {
            ExpandKind::Leaf(subjects) => references.extend(subjects.iter().map(|s| s.subject.to_string())),
            ExpandKind::Union(trees) | ExpandKind::Intersection(trees) | ExpandKind::Exclusion(trees) => {
                open.extend(trees);
            }
        }
    }
    assert_eq!(references, ["folder:one#view"]);
}

#[test]
fn a_grant_is_explained_by_the_chain_that_gives_it() {
    let world = World::new(
        SCHEMA,
        "folder:leaf#parent@folder:top\nfolder:top#parent@folder:leaf\nfolder:top#viewer@group:eng#member\ngroup:eng#member@user:bob",
    );
    let explanation = with_question("folder:leaf view user:bob", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        check.answer().unwrap();
        check.explain().unwrap()
    });
    let mut relationships = Vec::new();
    for goal in &explanation.goals {
        assert_eq!(goal.rule.permissionship, Some(HAS));
        let mut open = vec![&goal.rule];
        while let Some(rule) = open.pop() {
            match &rule.kind {
                RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => {
                    relationships.extend(edges.edges.iter().map(|e| e.relationship.to_string()));
                }
                RuleKind::Union(rules) => open.extend(rules),
                _ => {}
            }
        }
    }
    assert_eq!(
        relationships,
        ["folder:leaf#parent@folder:top", "folder:top#viewer@group:eng#member", "group:eng#member@user:bob"]
    );
}
