//! Fuel, budgets and depth: evaluation stops when told, goes on where it stopped, and never on the machine's stack.

use idhini_engine::{
    Check, CheckBulk, EXPANDED_COST_MAX, EXPLAINED_EDGES_MAX, EngineError, Expand, ExpandKind, Limits,
    Progress, Question, RuleKind,
};
use idhini_model::SubjectRef;

use crate::{HAS, NO, World, answered, with_question};

const GROUPS: &str = "definition user {} definition group { relation member: user | group#member\n relation banned: group#member\n permission access = member - banned }";

fn chain(length: usize) -> String {
    let mut relationships = String::new();
    for i in 0..length {
        relationships += &format!("group:g{i}#member@group:g{}#member\n", i + 1);
    }
    relationships + &format!("group:g{length}#member@user:ann\n")
}

#[test]
fn a_chain_of_a_hundred_thousand_groups_is_answered() {
    let world = World::new(GROUPS, &chain(100_000));
    assert_eq!(world.check("group:g0 member user:ann"), HAS);
    assert_eq!(world.check("group:g0 member user:bob"), NO);
}

#[test]
fn a_cycle_of_a_hundred_thousand_groups_is_answered() {
    let world = World::new(GROUPS, &(chain(100_000) + "group:g100000#member@group:g0#member\n"));
    assert_eq!(world.check("group:g50000 access user:ann"), HAS);
    assert_eq!(world.check("group:g50000 access user:bob"), NO);
}

#[test]
fn every_portion_size_gives_the_same_answer() {
    let relationships = chain(30) + "group:g30#member@group:g3#member\ngroup:g5#banned@group:g9#member\n";
    let world = World::new(GROUPS, &relationships);
    for question in ["group:g0 access user:ann", "group:g5 access user:ann", "group:g0 access user:bob"] {
        let whole = world.check(question);
        for fuel in [1, 2, 3, 7, 50] {
            let (answer, portions) = with_question(question, |question| {
                let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
                for portions in 1..100_000 {
                    if let Progress::Done(answer) = check.advance(fuel).unwrap() {
                        return (answer, portions);
                    }
                }
                panic!("it does not end");
            });
            assert_eq!(answer.permissionship, whole, "{question} in portions of {fuel}");
            assert!(
                fuel > 3 || portions > 5,
                "{portions} portions of {fuel} are too few: fuel is not looked at"
            );
        }
    }
}

#[test]
fn an_answer_over_its_budget_is_an_error() {
    let world = World::new(GROUPS, &chain(1_000));
    let limits = Limits { cost_max: 500, ..Limits::default() };
    let answer = with_question("group:g0 member user:ann", |question| {
        Check::open(world.snapshot(), question, limits).unwrap().answer()
    });
    assert_eq!(answer, Err(EngineError::Budget { cost_max: 500 }));
    let near = with_question("group:g990 member user:ann", |question| {
        Check::open(world.snapshot(), question, limits).unwrap().answer().unwrap()
    });
    assert_eq!(near.permissionship, HAS);
}

#[test]
fn a_hub_on_a_cycle_costs_its_edges_and_not_their_square() {
    // Every group has the hub as a member and is a member of the hub.
    let mut relationships = String::new();
    for i in 0..5_000 {
        relationships += &format!("group:hub#member@group:g{i}#member\ngroup:g{i}#member@group:hub#member\n");
    }
    let world = World::new(GROUPS, &relationships);
    let cost = with_question("group:hub member user:ann", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        assert_eq!(check.answer().unwrap().permissionship, NO);
        check.cost()
    });
    assert!(cost < 200_000, "{cost}");
}

#[test]
fn a_wide_rule_is_within_the_budget_too() {
    let wide = vec!["viewer"; 2_000].join(" + ");
    let schema =
        format!("definition user {{}} definition doc {{ relation viewer: user\n permission view = {wide} }}");
    let world = World::new(&schema, "doc:one#viewer@user:ann");
    let limits = Limits { cost_max: 500, ..Limits::default() };
    let answer = with_question("doc:one view user:bob", |q| {
        // In portions that are too small for an attempt, which would not mind how often a relation is named.
        answered(&mut Check::open(world.snapshot(), q, limits).unwrap(), 1_000).0
    });
    assert_eq!(answer, Err(EngineError::Budget { cost_max: 500 }));
}

/// One relation of many subjects, each a group, so that explaining a denial looks at all of them.
fn crowd(count: usize) -> World {
    let relationships: String = (0..count).map(|i| format!("group:all#member@group:g{i}#member\n")).collect();
    World::new(GROUPS, &relationships)
}

#[test]
fn an_explanation_is_made_in_portions_within_one_relation_too() {
    let world = crowd(5_000);
    let (explanation, portions) = with_question("group:all member user:ann", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        assert_eq!(check.answer().unwrap().permissionship, NO);
        (1..)
            .find_map(|portions| match check.advance_explanation(100).unwrap() {
                Progress::Done(explanation) => Some((explanation, portions)),
                Progress::More => None,
            })
            .unwrap()
    });
    assert!(portions > 50, "{portions} portions of 100 for 5,000 edges: fuel is not looked at");
    let RuleKind::Relation(edges) = &explanation.goals[0].rule.kind else { panic!("{explanation:?}") };
    assert_eq!((edges.edges.len(), edges.omitted), (EXPLAINED_EDGES_MAX, 4_000));
    let whole = with_question("group:all member user:ann", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        check.answer().unwrap();
        check.explain().unwrap()
    });
    assert_eq!(explanation, whole);
}

#[test]
fn a_grant_among_many_edges_is_explained_by_the_edge_that_gives_it() {
    let mut relationships: String =
        (0..5_000).map(|i| format!("group:all#member@group:g{i}#member\n")).collect();
    relationships += "group:g4999#member@user:ann\n";
    let world = World::new(GROUPS, &relationships);
    let explanation = with_question("group:all member user:ann", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        assert_eq!(check.answer().unwrap().permissionship, HAS);
        check.explain().unwrap()
    });
    let RuleKind::Relation(edges) = &explanation.goals[0].rule.kind else { panic!("{explanation:?}") };
    let told: Vec<_> = edges.edges.iter().map(|e| e.relationship.to_string()).collect();
    assert_eq!((told, edges.omitted), (vec!["group:all#member@group:g4999#member".to_owned()], 0));
}

#[test]
fn an_expansion_is_made_in_portions_and_never_larger_than_allowed() {
    let world = crowd(5_000);
    let all = "group:all".parse().unwrap();
    let mut expand = Expand::open(world.snapshot(), &all, "access", Limits::default()).unwrap();
    let (tree, portions) = (1..)
        .find_map(|portions| match expand.advance(100).unwrap() {
            Progress::Done(tree) => Some((tree, portions)),
            Progress::More => None,
        })
        .unwrap();
    assert!(portions >= 500, "{portions} portions of 100 for 5,000 edges: fuel is not looked at");
    let whole = Expand::open(world.snapshot(), &all, "access", Limits::default()).unwrap().tree().unwrap();
    assert_eq!(tree, whole);
    let ExpandKind::Exclusion(sides) = &tree.kind else { panic!("{tree:?}") };
    let ExpandKind::Leaf(members) = &sides[0].kind else { panic!("{tree:?}") };
    assert_eq!(members.len(), 5_000);
    let limits = Limits { cost_max: 1_000, ..Limits::default() };
    let refused = Expand::open(world.snapshot(), &all, "access", limits).unwrap().tree();
    assert_eq!(refused, Err(EngineError::Budget { cost_max: 1_000 }));
}

#[test]
fn a_tree_that_would_double_at_each_level_is_refused_whatever_the_caller_allows() {
    // Two parents on each level: 2^30 paths.
    let schema = "definition user {} definition folder { relation parent: folder\n relation viewer: user\n permission view = viewer + parent->view }";
    let mut relationships = String::new();
    for level in 0..30 {
        for (side, parent) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
            relationships += &format!("folder:{side}{level}#parent@folder:{parent}{}\n", level + 1);
        }
    }
    let world = World::new(schema, &relationships);
    let limits = Limits { cost_max: u64::MAX, ..Limits::default() };
    let refused =
        Expand::open(world.snapshot(), &"folder:a0".parse().unwrap(), "view", limits).unwrap().tree();
    assert_eq!(refused, Err(EngineError::Budget { cost_max: EXPANDED_COST_MAX }));
}

#[test]
fn a_refusal_is_reached_in_portions_and_is_the_same() {
    // Each group bans the members of the next, round: no group has a value.
    let mut relationships = String::new();
    for i in 0..200 {
        relationships += &format!("group:g{i}#banned@group:g{}#access\n", (i + 1) % 201);
        relationships += &format!("group:g{i}#member@user:ann\n");
    }
    relationships += "group:g200#banned@group:g0#access\ngroup:g200#member@user:ann\n";
    let schema = GROUPS.replace("banned: group#member", "banned: group#member | group#access");
    let world = World::new(&schema, &relationships);
    let whole = world.try_check("group:g0 access user:ann");
    assert!(matches!(whole, Err(EngineError::Cycle { .. })), "{whole:?}");
    for fuel in [1, 7, 100] {
        with_question("group:g0 access user:ann", |question| {
            let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
            let (refused, costs) = answered(&mut check, fuel);
            assert_eq!(refused, whole, "in portions of {fuel}");
            let most = costs.iter().max().unwrap();
            assert!(*most < fuel + 50, "a portion of {fuel} cost {most}");
        });
    }
}

#[test]
fn a_component_is_solved_in_even_portions_however_wide_its_gates_are() {
    let mut relationships = String::new();
    for i in 0..3_000 {
        relationships += &format!("group:hub#member@group:g{i}#member\ngroup:g{i}#member@group:hub#member\n");
    }
    let world = World::new(GROUPS, &(relationships + "group:g2999#member@user:ann\n"));
    for (question, value) in [("group:g0 member user:ann", HAS), ("group:g0 member user:bob", NO)] {
        with_question(question, |question| {
            let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
            let (answer, costs) = answered(&mut check, 100);
            assert_eq!(answer.unwrap().permissionship, value);
            // Also what a gate has of children is charged.
            assert!(costs.iter().sum::<u64>() > 36_000, "{costs:?}");
            // A stage ends with a charge for all gates, a 64th of what they cost.
            let most = costs.iter().max().unwrap();
            assert!(*most < 300, "a portion of 100 cost {most}");
        });
    }
}

#[test]
fn an_explanation_that_runs_over_its_budget_is_cut_and_the_answer_stays() {
    let world = crowd(5_000);
    with_question("group:all member user:ann", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        let answer = check.answer().unwrap();
        let cost = check.cost();
        let whole = check.explain().unwrap();
        assert!(!whole.is_truncated && whole.goals.len() > 900);
        // Not enough for a single goal, and enough for some.
        for (more, goals) in [(10, 1..=1), (check.cost() - cost - 500, 1..=whole.goals.len() - 1)] {
            let limits = Limits { cost_max: cost + more, ..Limits::default() };
            let mut check = Check::open(world.snapshot(), question, limits).unwrap();
            assert_eq!(check.answer().unwrap(), answer);
            let cut = check.explain().unwrap();
            assert!(cut.is_truncated && goals.contains(&cut.goals.len()), "{} goals", cut.goals.len());
            assert_eq!(cut.goals[0].rule.permissionship, Some(NO));
            assert_eq!(check.answer().unwrap(), answer);
        }
    });
}

#[test]
fn a_question_over_its_budget_tells_what_was_being_evaluated() {
    let world = World::new(GROUPS, &chain(1_000));
    with_question("group:g0 member user:ann", |question| {
        let limits = Limits { cost_max: 500, ..Limits::default() };
        let mut check = Check::open(world.snapshot(), question, limits).unwrap();
        assert_eq!(check.answer(), Err(EngineError::Budget { cost_max: 500 }));
        let told = check.explain().unwrap();
        assert!(told.is_truncated && told.goals.len() > 10);
        for (at, goal) in told.goals.iter().enumerate() {
            assert_eq!((goal.resource.to_string(), goal.rule.permissionship), (format!("group:g{at}"), None));
        }
        assert_eq!(told.goals[0].rule.kind, RuleKind::Goal(Some(1)));
        let RuleKind::Relation(edges) = &told.goals.last().unwrap().rule.kind else { panic!("{told:?}") };
        assert_eq!(edges.omitted, 1);
    });
}

#[test]
fn a_bulk_over_its_budget_answers_what_it_asked_and_refuses_the_rest_each_by_itself() {
    // Each for a subject of its own that some relationship names, so that nothing is known from the one before.
    let others: String = (0..4).map(|n| format!("\ngroup:other#member@user:u{n}")).collect();
    let world = World::new(GROUPS, &(chain(1_000) + &others));
    with_question("group:g0 member user:ann", |question| {
        let names: Vec<_> =
            (0..4).map(|n| SubjectRef { object_id: format!("u{n}"), ..question.subject.clone() }).collect();
        let questions: Vec<_> = names.iter().map(|subject| Question { subject, ..question }).collect();
        let answers = |cost_max| {
            let bulk = CheckBulk::open(world.snapshot(), questions.clone(), Limits::default());
            let mut bulk = bulk.within(cost_max);
            loop {
                if let Progress::Done(answers) = bulk.advance(100) {
                    return (answers, bulk.cost());
                }
            }
        };
        let (all, cost) = answers(u64::MAX);
        assert!(all.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.permissionship == NO)));
        let (some, spent) = answers(cost / 2);
        let refused = Err(EngineError::BulkBudget { cost_max: cost / 2 });
        assert_eq!(some, [all[0].clone(), all[1].clone(), refused.clone(), refused]);
        assert!(spent <= cost / 2 + cost / 4, "{spent} of {cost}");
    });
}
