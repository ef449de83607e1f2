//! Expansions: what bounds a tree, and in which portions is it made?

use idhini_engine::{
    EXPAND_DEPTH_MAX, EXPANDED_BYTES_MAX, EXPANDED_COST_MAX, EngineError, Expand, ExpandKind, ExpandTree,
    Limits, Progress,
};
use idhini_model::{ResourceRef, SubjectRef};

use crate::World;

const GROUPS: &str = "use expiration
 definition user {} definition group { relation member: user | group#member | user with expiration
 relation banned: group#member
 permission access = member - banned }";

/// Nodes and subjects.
fn count(tree: &ExpandTree) -> u64 {
    1 + match &tree.kind {
        ExpandKind::Leaf(subjects) => subjects.len() as u64,
        ExpandKind::Union(trees) | ExpandKind::Intersection(trees) | ExpandKind::Exclusion(trees) => {
            trees.iter().map(count).sum()
        }
    }
}

/// Levels, leaves included.
fn levels(tree: &ExpandTree) -> usize {
    1 + match &tree.kind {
        ExpandKind::Leaf(_) => 0,
        ExpandKind::Union(trees) | ExpandKind::Intersection(trees) | ExpandKind::Exclusion(trees) => {
            trees.iter().map(levels).max().unwrap_or(0)
        }
    }
}

fn tree_of(
    world: &World,
    resource: &str,
    permission: &str,
    cost_max: u64,
) -> Result<ExpandTree, EngineError> {
    let resource: ResourceRef = resource.parse().unwrap();
    Expand::open(world.snapshot(), &resource, permission, Limits { cost_max, ..Limits::default() })
        .unwrap()
        .tree()
}

/// A tree in portions of `fuel`, and how many there were.
fn in_portions(world: &World, resource: &str, permission: &str, fuel: u64) -> (ExpandTree, u64) {
    let resource: ResourceRef = resource.parse().unwrap();
    let mut expand = Expand::open(world.snapshot(), &resource, permission, Limits::default()).unwrap();
    (1..)
        .find_map(|portions| match expand.advance(fuel).unwrap() {
            Progress::Done(tree) => Some((tree, portions)),
            Progress::More => None,
        })
        .unwrap()
}

fn members(count: usize, expiration: &str) -> World {
    let relationships: String =
        (0..count).map(|i| format!("group:all#member@user:u{i}{expiration}\n")).collect();
    World::new(GROUPS, &relationships)
}

#[test]
fn a_tree_has_never_more_nodes_and_subjects_than_its_caller_would_spend() {
    let schema =
        "use self\n definition user {} definition folder { relation parent: folder\n relation viewer: user | folder#view
 relation banned: user
 permission none = nil
 permission own = self
 permission upward = parent->view
 permission every = parent.all(view)
 permission view = (viewer + own + none + upward + view + upward) - (banned & every) }";
    let mut relationships = String::new();
    for i in 0..3 {
        relationships += &format!("folder:top#parent@folder:f{i}\nfolder:f{i}#parent@folder:top\n");
        relationships += &format!("folder:f{i}#viewer@user:u{i}\nfolder:f{i}#viewer@folder:top#view\n");
    }
    let world = World::new(schema, &relationships);
    let whole = tree_of(&world, "folder:top", "view", EXPANDED_COST_MAX).unwrap();
    let mut least = None;
    for cost_max in 0..2 * count(&whole) {
        match tree_of(&world, "folder:top", "view", cost_max) {
            Ok(tree) => {
                assert_eq!(tree, whole);
                assert!(count(&tree) <= cost_max, "{} nodes under {cost_max}", count(&tree));
                least.get_or_insert(cost_max);
            }
            Err(error) => assert_eq!(error, EngineError::Budget { cost_max }),
        }
    }
    // Beside nodes and subjects only followed edges are charged; here there are none.
    for permission in ["viewer", "own", "none"] {
        let tree = tree_of(&world, "folder:f0", permission, EXPANDED_COST_MAX).unwrap();
        let least = (0..).find(|cost_max| tree_of(&world, "folder:f0", permission, *cost_max).is_ok());
        assert_eq!(least, Some(count(&tree)), "{permission}");
    }
    let least = least.unwrap();
    assert!(least < count(&whole) * 3 / 2, "{least} for {}", count(&whole));
}

#[test]
fn references_to_what_is_being_expanded_are_charged_and_portioned() {
    let wide = vec!["view"; 100].join(" + ");
    let schema = format!(
        "definition user {{}} definition folder {{ relation parent: folder\n permission view = parent->view + {wide} }}"
    );
    let relationships: String = (0..200).map(|i| format!("folder:all#parent@folder:f{i}\n")).collect();
    let world = World::new(&schema, &relationships);
    let refused = tree_of(&world, "folder:all", "view", 20_000);
    assert_eq!(refused, Err(EngineError::Budget { cost_max: 20_000 }));
    let (tree, portions) = in_portions(&world, "folder:all", "view", 1_000);
    assert!(count(&tree) > 40_000, "{}", count(&tree));
    assert!(portions >= count(&tree) / 100, "{portions} portions for {} nodes", count(&tree));
}

#[test]
fn a_portion_makes_a_tenth_of_its_fuel() {
    let world = members(3_000, "");
    let (tree, portions) = in_portions(&world, "group:all", "access", 100);
    assert!(portions >= 300, "{portions} portions of 100 for 3,000 subjects");
    assert_eq!(tree_of(&world, "group:all", "access", EXPANDED_COST_MAX), Ok(tree.clone()));
    let (smallest, portions) = in_portions(&world, "group:all", "access", 1);
    assert!(portions >= 3_000, "{portions}");
    assert_eq!(smallest, tree);
}

#[test]
fn expired_relationships_are_passed_over_in_portions() {
    let world = members(3_000, "[expiration:2020-01-01T00:00:00Z]");
    let (tree, portions) = in_portions(&world, "group:all", "access", 100);
    assert_eq!(count(&tree), 3);
    assert!(portions >= 300, "{portions} portions of 100 for 3,000 expired relationships");
}

#[test]
fn a_portion_ends_between_nodes_that_have_no_relationships() {
    let wide = vec!["(member & member)"; 500].join(" + ");
    let schema = format!(
        "definition user {{}} definition group {{ relation member: user\n permission access = {wide} }}"
    );
    let world = World::new(&schema, "group:one#member@user:ann");
    let (tree, portions) = in_portions(&world, "group:two", "access", 100);
    assert_eq!(count(&tree), 1 + 3 * 500);
    assert!(portions >= 150, "{portions} portions of 100 for 1,500 nodes");
}

#[test]
fn what_relationships_store_is_charged_too() {
    let schema = "caveat is_named(name string) { name == \"ann\" } definition user {}
 definition group { relation member: user with is_named }";
    let stored = "x".repeat(2_560);
    let relationships: String = (0..100)
        .map(|i| format!("group:all#member@user:u{i}[is_named:{{\"name\":\"{stored}\"}}]\n"))
        .collect();
    let world = World::new(schema, &relationships);
    assert_eq!(tree_of(&world, "group:all", "member", 1_000), Err(EngineError::Budget { cost_max: 1_000 }));
    assert!(tree_of(&world, "group:all", "member", 1_200).is_ok());
}

#[test]
fn asked_again_an_expansion_is_the_same_and_a_refusal_too() {
    let world = members(50, "");
    let all: ResourceRef = "group:all".parse().unwrap();
    let mut expand = Expand::open(world.snapshot(), &all, "access", Limits::default()).unwrap();
    assert_eq!(expand.tree(), expand.tree());
    for (cost_max, is_refused) in [(1_000, false), (20, true)] {
        let mut expand =
            Expand::open(world.snapshot(), &all, "access", Limits { cost_max, ..Limits::default() }).unwrap();
        let mut ends = Vec::new();
        for _ in 0..1_000 {
            match expand.advance(100) {
                Ok(Progress::More) => {}
                end => ends.push(end),
            }
        }
        assert!(ends.len() > 10, "{}", ends.len());
        assert!(ends.iter().all(|end| *end == ends[0] && end.is_err() == is_refused), "{:?}", ends[0]);
    }
}

/// A rule of so many operators, each within the one before, around `innermost`.
fn nested(count: usize, innermost: &str) -> String {
    (0..count).fold(innermost.to_owned(), |rule, i| {
        format!("viewer {} ({rule})", if i % 2 == 0 { "&" } else { "-" })
    })
}

#[test]
fn a_rule_that_is_too_deep_for_a_tree_stays_a_reference() {
    for (innermost, levels_of_it) in [("viewer", 1), ("nil", 1), ("parent->viewer", 2), ("view", 1)] {
        for count in 30..90 {
            let schema = format!(
                "definition user {{}} definition doc {{ relation parent: doc\n relation viewer: user
                 permission view = {}\n permission above = view\n permission upward = parent->view }}",
                nested(count, innermost)
            );
            let world = World::new(&schema, "doc:one#viewer@user:ann\ndoc:one#parent@doc:one");
            let of = |permission: &str| tree_of(&world, "doc:one", permission, EXPANDED_COST_MAX).unwrap();
            let reference = SubjectRef::userset("doc", "one", "view");
            let is_reference = |tree: &ExpandTree| matches!(&tree.kind, ExpandKind::Leaf(subjects) if subjects[0].subject == reference);
            // How many levels stand above the rule of `view`.
            for (permission, above) in [("view", 0), ("above", 1), ("upward", 2)] {
                let tree = of(permission);
                let whole = above + count + levels_of_it;
                let is_cut = whole > EXPAND_DEPTH_MAX;
                let found = levels(&tree);
                assert_eq!(found, if is_cut { above + 1 } else { whole }, "{permission} {count} {innermost}");
                let mut below = &tree;
                for _ in 0..above {
                    let ExpandKind::Union(trees) = &below.kind else { panic!("{below:?}") };
                    below = &trees[0];
                }
                assert_eq!(is_reference(below), is_cut, "{permission} {count} {innermost}");
            }
        }
    }
}

#[test]
fn a_tree_over_a_long_chain_has_as_many_levels_as_may_be() {
    for view in
        ["parent->view", "viewer + parent->view", "viewer & (viewer - parent->view)", "parent.all(view)"]
    {
        let schema = format!(
            "definition user {{}} definition doc {{ relation parent: doc\n relation viewer: user\n permission view = {view} }}"
        );
        let chain: String = (0..100).map(|i| format!("doc:d{i}#parent@doc:d{}\n", i + 1)).collect();
        let tree = tree_of(&World::new(&schema, &chain), "doc:d0", "view", EXPANDED_COST_MAX).unwrap();
        let found = levels(&tree);
        assert!(found <= EXPAND_DEPTH_MAX && found > EXPAND_DEPTH_MAX - 4, "{found} levels of {view}");
    }
}

/// What the names in a tree take.
fn bytes(tree: &ExpandTree) -> usize {
    let own = tree.resource.object_type.len() + tree.resource.object_id.len() + tree.member.len();
    own + match &tree.kind {
        ExpandKind::Leaf(subjects) => {
            let relation = |s: &SubjectRef| s.relation.as_ref().map_or(0, String::len);
            let names = |s: &SubjectRef| s.object_type.len() + s.object_id.len() + relation(s);
            subjects.iter().map(|s| names(&s.subject)).sum::<usize>()
        }
        ExpandKind::Union(trees) | ExpandKind::Intersection(trees) | ExpandKind::Exclusion(trees) => {
            trees.iter().map(bytes).sum()
        }
    }
}

/// Folders with long ids, so many levels of two that are each below both of the level above.
fn lattice(levels: usize) -> World {
    let schema = "definition user {} definition folder { relation parent: folder\n relation viewer: user
 permission view = viewer + parent->view }";
    let pad = "x".repeat(1_000);
    let mut relationships = String::new();
    for level in 0..levels {
        for (below, above) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
            relationships += &format!("folder:{below}{level}{pad}#parent@folder:{above}{}{pad}\n", level + 1);
        }
    }
    World::new(schema, &relationships)
}

#[test]
fn a_tree_whose_names_take_too_much_is_refused_like_one_of_too_many_nodes() {
    let top = format!("folder:a0{}", "x".repeat(1_000));
    let refused = Err(EngineError::Budget { cost_max: EXPANDED_COST_MAX });
    let [mut is_whole, mut is_refused] = [false; 2];
    for levels in [3, 13, 14, 15] {
        match tree_of(&lattice(levels), &top, "view", EXPANDED_COST_MAX) {
            Ok(tree) => {
                assert!(bytes(&tree) <= EXPANDED_BYTES_MAX, "{} bytes in {levels} levels", bytes(&tree));
                is_whole = !is_refused;
            }
            error => {
                assert_eq!(error, refused);
                is_refused = true;
            }
        }
    }
    assert!(is_whole && is_refused, "{is_whole} {is_refused}");
}

#[test]
fn subjects_whose_names_take_too_much_are_refused() {
    let pad = "x".repeat(1_000);
    let world = |count: usize| {
        let relationships: String =
            (0..count).map(|i| format!("group:all#member@user:u{i:05}{pad}\n")).collect();
        World::new(GROUPS, &relationships)
    };
    // "user", the id; beside them the node's own names.
    let most = (EXPANDED_BYTES_MAX - "groupallmember".len()) / ("user".len() + "u00000".len() + pad.len());
    let tree = tree_of(&world(most), "group:all", "member", EXPANDED_COST_MAX).unwrap();
    assert_eq!(count(&tree), 1 + most as u64);
    let refused = Err(EngineError::Budget { cost_max: EXPANDED_COST_MAX });
    assert_eq!(tree_of(&world(most + 1), "group:all", "member", EXPANDED_COST_MAX), refused);
}
