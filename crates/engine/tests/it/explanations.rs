//! Explanations: what bounds them, what they are charged, and in which portions are they made?

use std::collections::HashMap;
use std::sync::Arc;

use idhini_engine::{
    Check, EXPLAINED_BYTES_MAX, EXPLAINED_EDGES_TOTAL_MAX, ExplainedEdges, ExplainedRule, Explanation,
    Limits, RuleKind,
};
use idhini_model::{Context, ContextValue};

use crate::{HAS, NO, World, answered, explained, with_question};

const GROUPS: &str = "definition user {} definition group { relation member: user | group#member }";

/// Answered and then explained in portions of `fuel`; what each portion of the explanation cost.
fn explanation(world: &World, question: &str, fuel: u64) -> (Explanation, Vec<u64>) {
    with_question(question, |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        answered(&mut check, fuel).0.unwrap();
        let (explanation, costs) = explained(&mut check, fuel);
        (explanation.unwrap(), costs)
    })
}

/// The relationships listed under the rules of one goal.
fn listed(rule: &ExplainedRule) -> Vec<&ExplainedEdges> {
    match &rule.kind {
        RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => vec![edges],
        RuleKind::Union(rules) | RuleKind::Intersection(rules) => rules.iter().flat_map(listed).collect(),
        RuleKind::Exclusion { base, excluded } => {
            [base, excluded].into_iter().flatten().flat_map(|rule| listed(rule)).collect()
        }
        RuleKind::Nil | RuleKind::SelfObject | RuleKind::IsSubject | RuleKind::Goal(_) => Vec::new(),
    }
}

/// A document with `count` parents, each asked for its viewers `times` times by one permission.
fn parents(count: usize, times: usize, rule: impl Fn(&str) -> String) -> World {
    let many = vec!["parent->viewer"; times].join(" + ");
    let schema = format!(
        "definition user {{}} definition doc {{ relation parent: doc\n relation viewer: user\n relation anyone: user:*
         permission view = {} }}",
        rule(&many)
    );
    let mut relationships: String = (0..count).map(|i| format!("doc:all#parent@doc:d{i}\n")).collect();
    relationships += "doc:all#viewer@user:ann\ndoc:all#anyone@user:*\n";
    World::new(&schema, &relationships)
}

#[test]
fn caveats_that_the_answer_did_without_are_charged_and_end_a_portion() {
    let schema =
        "caveat costly(xs list<int>, least int) { xs.filter(a, xs.exists(b, b == a + 1000)).size() > least }
 definition user {} definition group { relation member: user }
 definition doc { relation viewer: user with costly | user:* with costly | group#member\n relation part: doc
 permission view = part.all(viewer) }";
    let mut relationships = String::from("group:all#member@user:ann\n");
    for i in 0..20 {
        relationships += &format!("doc:all#part@doc:d{i}\ndoc:d{i}#viewer@group:all#member\n");
        relationships += &format!("doc:d{i}#viewer@user:ann[costly:{{\"least\":{i}}}]\n");
        relationships += &format!("doc:d{i}#viewer@user:*[costly:{{\"least\":{i}}}]\n");
    }
    relationships += "doc:one#viewer@group:all#member\ndoc:one#viewer@user:ann[costly:{\"least\":20}]\n";
    let world = World::new(schema, &relationships);
    let xs: Vec<String> = (0..30).map(|x| x.to_string()).collect();
    let with = format!("user:ann with {{\"xs\":[{}]}}", xs.join(","));
    let (_, of_one) = explanation(&world, &format!("doc:one viewer {with}"), u64::MAX);
    let of_one = of_one.iter().sum::<u64>();
    assert!(of_one > 900, "{of_one}");
    let (_, costs) = explanation(&world, &format!("doc:all view {with}"), 100);
    let (whole, most) = (costs.iter().sum::<u64>(), *costs.iter().max().unwrap());
    assert!(whole > 39 * of_one, "{whole} for 40 of {of_one}");
    assert!(most < of_one + 200, "a portion of 100 cost {most}");
}

#[test]
fn a_userset_asked_for_itself_is_explained_without_its_members() {
    let relationships: String = (0..2_000).map(|i| format!("group:all#member@group:g{i}#member\n")).collect();
    let world = World::new(GROUPS, &relationships);
    with_question("group:all member group:all#member", |question| {
        let mut check =
            Check::open(world.snapshot(), question, Limits { cost_max: 100, ..Limits::default() }).unwrap();
        assert_eq!(check.answer().unwrap().permissionship, HAS);
        assert_eq!(check.explain().unwrap().goals[0].rule.kind, RuleKind::IsSubject);
    });
}

#[test]
fn the_edge_that_a_grant_in_a_cycle_rests_on_is_told_however_many_grant() {
    // All groups grant each other; only one of them, far behind, is granted from outside.
    let mut relationships = String::new();
    for i in 0..1_200 {
        relationships +=
            &format!("group:hub#member@group:g{i:04}#member\ngroup:g{i:04}#member@group:hub#member\n");
    }
    let world = World::new(GROUPS, &(relationships + "group:g1100#member@user:ann\n"));
    for fuel in [1, 1_000, u64::MAX] {
        let (explanation, _) = explanation(&world, "group:hub member user:ann", fuel);
        let told: Vec<_> = explanation
            .goals
            .iter()
            .flat_map(|goal| listed(&goal.rule))
            .flat_map(|edges| edges.edges.iter().map(|e| e.relationship.to_string()))
            .collect();
        assert_eq!(told, ["group:hub#member@group:g1100#member", "group:g1100#member@user:ann"]);
    }
}

#[test]
fn an_explanation_lists_a_bounded_number_of_edges_and_the_witness_of_each_grant() {
    let world = parents(1_000, 102, |many| format!("(anyone - ({many})) & viewer"));
    let (explanation, _) = explanation(&world, "doc:all view user:ann", u64::MAX);
    let first = listed(&explanation.goals[0].rule);
    let told: usize = first.iter().map(|edges| edges.edges.len()).sum();
    let omitted: u64 = first.iter().map(|edges| edges.omitted).sum();
    assert_eq!((told, omitted), (EXPLAINED_EDGES_TOTAL_MAX, 2_000));
    for member in ["anyone", "viewer"] {
        let goal = explanation
            .goals
            .iter()
            .find(|goal| goal.resource.object_id == "all" && goal.member == member)
            .unwrap();
        let edges = listed(&goal.rule)[0];
        assert_eq!((edges.edges.len(), edges.omitted), (1, 0), "{member}");
    }
}

#[test]
fn telling_a_goal_is_charged_by_the_edge_and_ends_portions_between_edges() {
    let world = parents(400, 10, str::to_owned);
    let (whole, costs) = explanation(&world, "doc:all view user:bob", u64::MAX);
    assert_eq!(whole.goals[0].rule.permissionship, Some(NO));
    assert_eq!(listed(&whole.goals[0].rule).iter().map(|edges| edges.edges.len()).sum::<usize>(), 4_000);
    // Each is surveyed, and telling it takes longer than that.
    assert!(costs.iter().sum::<u64>() > 8 * 4_000, "{costs:?}");
    let (portioned, costs) = explanation(&world, "doc:all view user:bob", 100);
    assert_eq!(portioned, whole);
    let most = costs.iter().max().unwrap();
    assert!(*most < 200, "a portion of 100 cost {most}");
}

#[test]
fn edges_that_store_the_same_share_what_is_told_of_their_caveat() {
    let schema = "caveat is_in(places list<int>, at int) { at in places } definition user {}
 definition group { relation member: user | group#member with is_in }";
    let relationships: String = (0..100)
        .map(|i| format!("group:all#member@group:g{i}#member[is_in:{{\"at\":{}}}]\n", i % 2))
        .collect();
    let world = World::new(schema, &relationships);
    let (explanation, _) = explanation(&world, "group:all member user:ann with {\"places\":[7]}", u64::MAX);
    let edges = listed(&explanation.goals[0].rule)[0];
    assert_eq!(edges.edges.len(), 100);
    let told: HashMap<_, _> = edges
        .edges
        .iter()
        .flat_map(|e| &e.condition)
        .map(|c| (Arc::as_ptr(c), c.context.to_string()))
        .collect();
    let mut contexts: Vec<_> = told.into_values().collect();
    contexts.sort();
    assert_eq!(contexts, ["{\"at\":0,\"places\":[7]}", "{\"at\":1,\"places\":[7]}"]);
}

#[test]
fn an_explanation_of_large_values_is_bounded_in_bytes_and_counts_what_it_leaves_out() {
    let schema = format!(
        "caveat is_named(name string) {{ name == \"ann\" }} definition user {{}}
         definition doc {{ relation parent: doc with is_named\n relation viewer: user\n permission view = {} }}",
        vec!["parent->viewer"; 22].join(" + ")
    );
    let relationships: String = (0..100)
        .map(|i| format!("doc:all#parent@doc:d{i}[is_named:{{\"name\":\"{i}{}\"}}]\n", "x".repeat(32_000)))
        .collect();
    let world = World::new(&schema, &relationships);
    let (explanation, _) = explanation(&world, "doc:all view user:ann", u64::MAX);
    let all = listed(&explanation.goals[0].rule);
    let told: Vec<_> = all.iter().flat_map(|edges| &edges.edges).collect();
    assert_eq!(told.len() as u64 + all.iter().map(|edges| edges.omitted).sum::<u64>(), 2_200);
    // An edge stores a value, and what is told of its caveat shows it once more for all that share it.
    let length = |context: &Context| match &context.0["name"] {
        ContextValue::String(name) => name.len(),
        other => panic!("{other:?}"),
    };
    let stored = told.iter().flat_map(|edge| &edge.relationship.caveat).map(|caveat| length(&caveat.context));
    let shown: HashMap<_, _> =
        told.iter().flat_map(|e| &e.condition).map(|c| (Arc::as_ptr(c), length(&c.context))).collect();
    let bytes = stored.sum::<usize>() + shown.into_values().sum::<usize>();
    assert!(bytes <= EXPLAINED_BYTES_MAX && bytes > EXPLAINED_BYTES_MAX * 9 / 10, "{bytes}");
}

#[test]
fn goals_that_an_explanation_has_no_room_for_are_left_out() {
    // A rule of two thousand parts on each of 400 documents.
    let schema = format!(
        "definition user {{}} definition doc {{ relation parent: doc\n relation viewer: user
         permission wide = {}\n permission view = parent.all(wide) }}",
        vec!["viewer"; 2_000].join(" + ")
    );
    let relationships: String =
        (0..400).map(|i| format!("doc:all#parent@doc:d{i}\ndoc:d{i}#viewer@user:ann\n")).collect();
    let (explanation, _) =
        explanation(&World::new(&schema, &relationships), "doc:all view user:ann", u64::MAX);
    let wide = explanation.goals.iter().filter(|goal| goal.member == "wide").count();
    assert!(explanation.is_truncated && wide > 100 && wide < 400, "{wide}");
    let edges = listed(&explanation.goals[0].rule)[0];
    assert_eq!(
        (edges.edges.len(), edges.edges.iter().filter(|edge| edge.target.is_some()).count()),
        (400, wide)
    );
}
