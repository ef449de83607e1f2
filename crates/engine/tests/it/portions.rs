//! Fuel, budgets and depth: evaluation stops when told, goes on where it stopped, and never on the machine's stack.

use idhini_engine::{Check, EngineError, Limits, Progress};

use crate::{HAS, NO, World, with_question};

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
    let limits = Limits { cost_max: 500 };
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
    let limits = Limits { cost_max: 500 };
    let answer = with_question("doc:one view user:bob", |q| {
        Check::open(world.snapshot(), q, limits).unwrap().answer()
    });
    assert_eq!(answer, Err(EngineError::Budget { cost_max: 500 }));
}
