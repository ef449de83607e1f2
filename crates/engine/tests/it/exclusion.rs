//! Exclusions on cycles: the alternating fixpoint, and where it has no answer.

use idhini_engine::EngineError;

use crate::{HAS, NO, World};

/// Who is on the move wins if some move leads to a position that loses.
const GAME: &str = "definition user {}
    definition position {
        relation move: position
        relation player: user
        relation nobody: user
        permission wins = move->loses
        permission loses = player - wins
    }";

fn game(moves: &str) -> World {
    let mut relationships = String::new();
    for position in ["a1a", "b2b", "c3c", "d4d", "e5e"] {
        relationships += &format!("position:{position}#player@user:ann\n");
    }
    World::new(GAME, &(relationships + moves))
}

#[test]
fn a_tree_of_exclusions_alternates() {
    let world = game("position:a1a#move@position:b2b\nposition:b2b#move@position:c3c");
    assert_eq!(world.check("position:c3c wins user:ann"), NO);
    assert_eq!(world.check("position:b2b wins user:ann"), HAS);
    assert_eq!(world.check("position:a1a wins user:ann"), NO);
    assert_eq!(world.check("position:a1a loses user:ann"), HAS);
}

#[test]
fn a_cycle_with_a_way_out_has_an_answer() {
    // b can leave the cycle for d, which loses, so b wins and a loses.
    let world = game(
        "position:a1a#move@position:b2b\nposition:b2b#move@position:a1a\nposition:b2b#move@position:d4d",
    );
    assert_eq!(world.check("position:b2b wins user:ann"), HAS);
    assert_eq!(world.check("position:a1a wins user:ann"), NO);
    assert_eq!(world.check("position:a1a loses user:ann"), HAS);
}

#[test]
fn a_cycle_without_a_way_out_is_refused_by_name() {
    let world = game("position:a1a#move@position:b2b\nposition:b2b#move@position:a1a");
    match world.try_check("position:a1a wins user:ann") {
        Err(EngineError::Cycle { cycle }) => {
            assert!(cycle.contains(&"position:a1a#wins".to_owned()), "{cycle:?}");
            assert!(cycle.contains(&"position:b2b#loses".to_owned()), "{cycle:?}");
        }
        other => panic!("{other:?}"),
    }
    // Whoever is no player has an answer all the same.
    assert_eq!(world.check("position:a1a wins user:bob"), NO);
}

#[test]
fn the_value_of_a_goal_entered_from_within_a_cycle_is_not_kept() {
    let schema = "definition user {} definition doc {
            relation a: user
            relation b: user
            relation c: user
            relation x: user
            permission p = (a & q) + c
            permission q = p + b
            permission grant = x - q
            permission both = p + grant
        }"
    .replace(" a:", " aaa:")
    .replace(" b:", " bbb:")
    .replace(" c:", " ccc:")
    .replace(" x:", " xxx:")
    .replace("p = (a & q) + c", "ppp = (aaa & qqq) + ccc")
    .replace("q = p + b", "qqq = ppp + bbb")
    .replace("grant = x - q", "grant = xxx - qqq")
    .replace("both = p + grant", "both = ppp + grant");
    let world = World::new(&schema, "doc:one#aaa@user:ann\ndoc:one#bbb@user:ann\ndoc:one#xxx@user:ann");
    assert_eq!(world.check("doc:one ppp user:ann"), HAS);
    assert_eq!(world.check("doc:one grant user:ann"), NO);
    assert_eq!(world.check("doc:one both user:ann"), HAS);
}

#[test]
fn exclusion_under_an_arrow_is_kept() {
    let schema = "definition user {} definition folder { relation viewer: user | user:*\n relation banned: user\n permission view = viewer - banned }
        definition doc { relation parent: folder\n permission view = parent->view }";
    let world = World::new(
        schema,
        "folder:top#viewer@user:*\nfolder:top#banned@user:bob\ndoc:one#parent@folder:top\ndoc:one#parent@folder:other",
    );
    assert_eq!(world.check("doc:one view user:ann"), HAS);
    assert_eq!(world.check("doc:one view user:bob"), NO);
}

#[test]
fn the_cycle_that_is_named_passes_an_exclusion() {
    let schema = "definition user {} definition doc { relation viewer: user
 relation extra: user
 permission ppp = qqq + (viewer - ppp)
 permission qqq = ppp + extra }";
    let world = World::new(schema, "doc:one#viewer@user:ann");
    let error = world.try_check("doc:one ppp user:ann").unwrap_err();
    assert_eq!(error, EngineError::Cycle { cycle: vec!["doc:one#ppp".to_owned()] });
}

#[test]
fn a_cycle_too_long_to_be_found_is_refused_soon_and_without_a_name() {
    let schema = "definition user {} definition folder { relation parent: folder
 relation viewer: user
 permission view = viewer - parent->view }";
    let mut relationships = String::new();
    for i in 0..40_101 {
        relationships +=
            &format!("folder:f{i}#parent@folder:f{}\nfolder:f{i}#viewer@user:ann\n", (i + 1) % 40_101);
    }
    let world = World::new(schema, &relationships);
    let error = world.try_check("folder:f0 view user:ann").unwrap_err();
    assert_eq!(error, EngineError::Cycle { cycle: Vec::new() });
    assert!(error.to_string().contains("was not found"), "{error}");
}

#[test]
fn a_long_cycle_is_refused_in_few_words() {
    let schema = "definition user {} definition folder { relation parent: folder
 relation viewer: user
 permission view = viewer - parent->view }";
    let mut relationships = String::new();
    for i in 0..5_001 {
        relationships +=
            &format!("folder:f{i}#parent@folder:f{}\nfolder:f{i}#viewer@user:ann\n", (i + 1) % 5_001);
    }
    let error = World::new(schema, &relationships).try_check("folder:f0 view user:ann").unwrap_err();
    let EngineError::Cycle { cycle } = &error else { panic!("{error}") };
    assert_eq!((cycle.len(), cycle[12].as_str()), (13, "(4989 more)"));
    assert!(error.to_string().len() < 1_000, "{error}");
}
