//! Refusals and conditional answers: which cycle is named, what is missing, and in which portions that is found.

use idhini_engine::{Check, EngineError, Limits};

use crate::{CONDITIONAL, World, answered, with_question};

const DOCS: &str = "definition user {} definition doc { relation parent: doc
 relation viewer: user
 permission view = viewer - parent->view }";

/// Groups that ban who has access to others.
const BANS: &str = "definition user {} definition group { relation member: user
 relation banned: group#access
 permission access = member - banned }";

fn cycle_of(world: &World, question: &str) -> Vec<String> {
    match world.try_check(question) {
        Err(EngineError::Cycle { cycle }) => cycle,
        other => panic!("{other:?}"),
    }
}

/// Each group bans the next one.
fn ring(length: usize) -> World {
    let mut relationships = String::new();
    for i in 0..length {
        relationships += &format!("group:g{i}#banned@group:g{}#access\n", (i + 1) % length);
        relationships += &format!("group:g{i}#member@user:ann\n");
    }
    World::new(BANS, &relationships)
}

/// A group that bans many others, each of which bans it.
fn hub(count: usize) -> World {
    let mut relationships = String::from("group:hub#member@user:ann\n");
    for i in 0..count {
        relationships += &format!("group:hub#banned@group:g{i}#access\ngroup:g{i}#banned@group:hub#access\n");
        relationships += &format!("group:g{i}#member@user:ann\n");
    }
    World::new(BANS, &relationships)
}

#[test]
fn a_refusal_over_a_wide_relation_is_reached_in_even_portions_and_is_the_same() {
    let world = hub(1_500);
    let whole = world.try_check("group:hub access user:ann");
    let cycle = ["group:hub#banned", "group:g0#access", "group:g0#banned", "group:hub#access"];
    assert_eq!(whole, Err(EngineError::Cycle { cycle: cycle.map(str::to_owned).to_vec() }));
    for fuel in [1, 100] {
        with_question("group:hub access user:ann", |question| {
            let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
            let (refused, costs) = answered(&mut check, fuel);
            assert_eq!(refused, whole);
            // The solver's stages end with a charge for all of its gates.
            let most = costs.iter().max().unwrap();
            assert!(*most < fuel + 300, "a portion of {fuel} cost {most}");
        });
    }
}

#[test]
fn a_cycle_behind_more_goals_than_are_looked_at_is_named() {
    // 21,000 goals below the first one, each three more goals away from it.
    let members: Vec<String> = (0..20).map(|i| format!("side{i:02}")).collect();
    let sides: String = members.iter().map(|m| format!("permission {m} = viewer - back_{m}\npermission back_{m} = on_{m}\npermission on_{m} = hub->top\n")).collect();
    let below: Vec<String> = members.iter().map(|m| format!("parent->{m}")).collect();
    let schema = format!(
        "definition user {{}} definition doc {{ relation parent: doc\n relation hub: doc\n relation viewer: user
         permission top = viewer - ({})\n {sides} }}",
        below.join(" + ")
    );
    let mut relationships = String::from("doc:hub#viewer@user:ann\n");
    for i in 0..1_050 {
        relationships +=
            &format!("doc:hub#parent@doc:d{i}\ndoc:d{i}#hub@doc:hub\ndoc:d{i}#viewer@user:ann\n");
    }
    let cycle = cycle_of(&World::new(&schema, &relationships), "doc:hub top user:ann");
    assert_eq!(cycle, ["doc:d0#side00", "doc:d0#back_side00", "doc:d0#on_side00", "doc:hub#top"]);
}

#[test]
fn a_cycle_that_closes_behind_more_links_than_are_noted_is_named() {
    // 338 goals, each of which leads to all others; the last one leads back.
    let members: Vec<String> = (0..13).map(|i| format!("side{i:02}")).collect();
    let below: Vec<String> = members.iter().map(|m| format!("parent->{m}")).collect();
    let below = below.join(" + ");
    let sides: String = members[..12].iter().map(|m| format!("permission {m} = {below}\n")).collect();
    let schema = format!(
        "definition user {{}} definition doc {{ relation parent: doc\n relation hub: doc\n relation viewer: user
         permission top = viewer - parent->side00\n {sides} permission side12 = {below} + hub->top }}"
    );
    let mut relationships =
        String::from("doc:hub#viewer@user:ann\ndoc:hub#parent@doc:d0\ndoc:d25#hub@doc:hub\n");
    for i in 0..26 {
        for j in 0..26 {
            relationships += &format!("doc:d{i}#parent@doc:d{j}\n");
        }
    }
    let cycle = cycle_of(&World::new(&schema, &relationships), "doc:hub top user:ann");
    assert_eq!(cycle, ["doc:d0#side00", "doc:d25#side12", "doc:hub#top"]);
}

/// A chain of groups whose last one has a member under a caveat that fails.
fn failing_chain(length: usize, access: &str) -> World {
    let schema = format!(
        "caveat is_low(part int) {{ 1 / part > 0 }} definition user {{}}
         definition group {{ relation member: user with is_low | group#access
         relation banned: group#access
         permission access = {access} }}"
    );
    let mut relationships: String =
        (0..length).map(|i| format!("group:g{i}#member@group:g{}#access\n", i + 1)).collect();
    relationships += &format!("group:g{length}#member@user:ann[is_low:{{\"part\":0}}]\n");
    relationships += "group:g0#banned@group:g1#access\n";
    World::new(&schema, &relationships)
}

#[test]
fn a_caveat_that_fails_behind_more_goals_than_are_looked_at_is_named_and_no_cycle() {
    let failed = |world: &World| match world.try_check("group:g0 access user:ann") {
        Err(EngineError::Caveat(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let far = failed(&failing_chain(50_000, "member"));
    assert_eq!(far, failed(&failing_chain(10, "member")));
    assert!(far.contains("is_low"), "{far}");
    // With an exclusion in sight it might be either, so neither is claimed.
    let either = failing_chain(50_000, "member - banned").try_check("group:g0 access user:ann").unwrap_err();
    assert_eq!(either, EngineError::Cycle { cycle: Vec::new() });
    let text = either.to_string();
    assert!(!text.contains("excludes itself") && text.contains("caveats that fail"), "{text}");
}

#[test]
fn a_cycle_far_below_the_question_is_named_and_not_the_question() {
    // A chain of a hundred exclusions that leads to a ring of three.
    let mut relationships = String::new();
    for i in 0..103 {
        let next = if i == 102 { 100 } else { i + 1 };
        relationships += &format!("doc:d{i}#parent@doc:d{next}\ndoc:d{i}#viewer@user:ann\n");
    }
    let cycle = cycle_of(&World::new(DOCS, &relationships), "doc:d0 view user:ann");
    assert_eq!(cycle, ["doc:d101#view", "doc:d102#view", "doc:d100#view"]);
}

#[test]
fn links_followed_are_charged_and_a_budget_that_ends_among_them_still_names_a_cycle() {
    let world = ring(201);
    with_question("group:g0 access user:ann", |question| {
        let answer = |cost_max| {
            let mut check =
                Check::open(world.snapshot(), question, Limits { cost_max, ..Limits::default() }).unwrap();
            (check.answer(), check.cost())
        };
        let (whole, cost) = answer(u64::MAX);
        assert!(matches!(whole, Err(EngineError::Cycle { .. })), "{whole:?}");
        // 64 exclusions are tried, each round a ring of 402 goals.
        assert!(cost > 64 * 402, "{cost}");
        assert_eq!(answer(cost / 4).0, whole);
        assert_eq!(answer(1_000).0, Err(EngineError::Budget { cost_max: 1_000 }));
    });
}

#[test]
fn what_is_missing_is_named_in_even_portions() {
    let schema = "caveat is_open(open bool) { open } definition user {}
 definition group { relation member: user | group#member with is_open }";
    let mut relationships = String::new();
    for i in 0..3_000 {
        relationships +=
            &format!("group:all#member@group:g{i}#member[is_open]\ngroup:g{i}#member@user:ann\n");
    }
    let world = World::new(schema, &relationships);
    with_question("group:all member user:ann", |question| {
        let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
        let (answer, costs) = answered(&mut check, 100);
        let answer = answer.unwrap();
        assert_eq!(answer.permissionship, CONDITIONAL);
        assert_eq!(answer.missing.iter().collect::<Vec<_>>(), ["open"]);
        let most = costs.iter().max().unwrap();
        assert!(*most < 120, "a portion of 100 cost {most}");
        // Each edge with its group costs seven to visit in two passes and to survey, and one to ask for what it lacks.
        assert_eq!(costs.iter().sum::<u64>() / 3_000, 8);
    });
}

#[test]
fn asked_again_a_check_says_the_same() {
    let schema = "caveat is_open(open bool) { open } definition user {}
 definition doc { relation viewer: user | user with is_open\n permission view = viewer - view }";
    let world = World::new(schema, "doc:one#viewer@user:ann[is_open]\ndoc:one#viewer@user:bob");
    for question in ["doc:one viewer user:ann", "doc:one view user:bob", "doc:one viewer user:cid"] {
        with_question(question, |question| {
            let mut check = Check::open(world.snapshot(), question, Limits::default()).unwrap();
            let first = check.answer();
            assert_eq!(check.answer(), first);
            assert_eq!(check.answer(), first);
        });
    }
    with_question("doc:one view user:bob", |question| {
        let mut check =
            Check::open(world.snapshot(), question, Limits { cost_max: 2, ..Limits::default() }).unwrap();
        assert_eq!(check.answer(), Err(EngineError::Budget { cost_max: 2 }));
        assert_eq!(check.answer(), Err(EngineError::Budget { cost_max: 2 }));
    });
}
