//! Lookups: wildcards with exclusions, pages, usersets, and what no relationship names.

use idhini_engine::{EngineError, Limits, LookupResources, LookupSubjects, Progress};
use idhini_model::{Context, SubjectRef};

use crate::{CONDITIONAL, HAS, NO, World};

const SCHEMA: &str = "caveat is_open(open bool) { open }
    definition user {}
    definition group { relation member: user | group#member }
    definition doc {
        relation viewer: user | user:* | group#member
        relation banned: user | user with is_open | group#member
        permission view = viewer - banned
    }";

fn world() -> World {
    World::new(
        SCHEMA,
        "doc:open#viewer@user:*
         doc:open#banned@user:bob
         doc:open#banned@user:cay[is_open]
         doc:open#viewer@user:ann
         doc:team#viewer@group:eng#member
         group:eng#member@user:ann
         group:eng#member@group:ops#member
         group:ops#member@user:bob
         group:ops#member@user:dan",
    )
}

#[test]
fn a_wildcard_comes_first_with_all_its_exclusions() {
    let world = world();
    for page in [1, 2, 100] {
        let found = world.subjects("doc:open", "view", "user", page);
        assert_eq!(found[0].object_id, "*");
        assert_eq!(found[0].answer.permissionship, HAS);
        let excluded: Vec<_> =
            found[0].excluded.iter().map(|e| (e.object_id.as_str(), e.answer.permissionship)).collect();
        assert_eq!(excluded, [("bob", NO), ("cay", CONDITIONAL)]);
        assert_eq!(found[0].excluded[1].answer.missing.iter().collect::<Vec<_>>(), ["open"]);
        assert_eq!(found[1..].iter().map(|f| f.object_id.as_str()).collect::<Vec<_>>(), ["ann"]);
    }
}

#[test]
fn subjects_are_found_through_groups_and_usersets_through_themselves() {
    let world = world();
    let ids = |subject_type: &str| {
        let mut ids: Vec<String> =
            world.subjects("doc:team", "view", subject_type, 2).into_iter().map(|f| f.object_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("user"), ["ann", "bob", "dan"]);
    assert_eq!(ids("group#member"), ["eng", "ops"]);
    assert_eq!(ids("doc#view"), ["team"]);
}

#[test]
fn resources_are_found_through_groups_wildcards_and_exclusions() {
    let world = world();
    let ids = |subject: &str, page: usize| {
        let mut found = world.resources("doc", "view", subject, page);
        found.sort_by(|a, b| a.object_id.cmp(&b.object_id));
        found.into_iter().map(|f| (f.object_id, f.answer.permissionship)).collect::<Vec<_>>()
    };
    for page in [1, 2, 100] {
        assert_eq!(ids("user:bob", page), [("team".to_owned(), HAS)]);
        assert_eq!(ids("user:cay", page), [("open".to_owned(), CONDITIONAL)]);
        assert_eq!(ids("user:ann", page), [("open".to_owned(), HAS), ("team".to_owned(), HAS)]);
        assert_eq!(ids("user:unheard_of", page), [("open".to_owned(), HAS)]);
        assert_eq!(ids("group:ops#member", page), [("team".to_owned(), HAS)]);
        assert_eq!(ids("doc:unheard_of#view", page), [("unheard_of".to_owned(), HAS)]);
    }
}

#[test]
fn recursive_targets_are_followed() {
    let schema = "definition user {} definition folder { relation parent: folder\n relation viewer: user\n permission view = viewer + parent->view }";
    let mut relationships = "folder:f0#viewer@user:ann\n".to_owned();
    for i in 0..200 {
        relationships += &format!("folder:f{}#parent@folder:f{i}\n", i + 1);
    }
    let world = World::new(schema, &relationships);
    assert_eq!(world.resources("folder", "view", "user:ann", 7).len(), 201);
    assert_eq!(world.subjects("folder:f200", "view", "user", 7).len(), 1);
}

#[test]
fn who_may_lose_what_a_conditional_wildcard_gives_is_excluded_from_it() {
    let schema = "caveat first(one bool) { one }
        caveat second(two bool) { two }
        definition user {}
        definition doc { relation viewer: user:* with first
 relation banned: user with second
 permission view = viewer - banned }";
    let world = World::new(schema, "doc:one#viewer@user:*[first]\ndoc:one#banned@user:joe[second]");
    let found = world.subjects("doc:one", "view", "user", 10);
    assert_eq!((found[0].object_id.as_str(), found[0].answer.permissionship), ("*", CONDITIONAL));
    let excluded: Vec<_> =
        found[0].excluded.iter().map(|e| (e.object_id.as_str(), e.answer.permissionship)).collect();
    assert_eq!(excluded, [("joe", CONDITIONAL)]);
}

#[test]
fn a_long_chain_of_permissions_is_searched_in_portions() {
    let mut schema =
        "definition user {} definition doc { relation viewer: user\n permission p000 = viewer\n".to_owned();
    for i in 1..400 {
        schema += &format!(" permission p{i:03} = p{:03}\n", i - 1);
    }
    let world = World::new(&(schema + "}"), "doc:one#viewer@user:ann\ndoc:two#viewer@user:ann");
    assert_eq!(world.resources("doc", "p399", "user:ann", 1).len(), 2);
}

#[test]
fn the_smallest_portions_move_on() {
    let world = world();
    let (resource, context) = ("doc:open".parse().unwrap(), Default::default());
    let asked = (&resource, "view");
    let mut lookup =
        LookupSubjects::open(world.snapshot(), asked, ("user", None), &context, None, Limits::default())
            .unwrap();
    let mut found = 0;
    for _ in 0..1_000 {
        match lookup.advance(1).unwrap() {
            Progress::More => {}
            Progress::Done(Some(_)) => found += 1,
            Progress::Done(None) => break,
        }
    }
    assert_eq!(found, world.subjects("doc:open", "view", "user", 10).len());
}

/// Advances to the end or the first failure, and some more after that: whether it failed.
fn fails_for_good<T>(
    cost_max: u64,
    mut advance: impl FnMut() -> Result<Progress<Option<T>>, EngineError>,
) -> bool {
    let failure = loop {
        match advance() {
            Ok(Progress::Done(None)) => return false,
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(failure, EngineError::Budget { cost_max });
    for _ in 0..100 {
        assert_eq!(advance().err(), Some(failure.clone()));
    }
    true
}

#[test]
fn a_lookup_that_is_over_its_budget_stays_refused() {
    let world = world();
    let (ann, context): (SubjectRef, Context) = ("user:ann".parse().unwrap(), Context::default());
    let [open, team] = ["doc:open", "doc:team"].map(|resource| resource.parse().unwrap());
    let (mut refused, mut ended) = (0, 0);
    for cost_max in 0..100 {
        let limits = Limits { cost_max, ..Limits::default() };
        for fuel in [1, u64::MAX] {
            let asked = ("doc", "view");
            let resources = LookupResources::open(world.snapshot(), asked, &ann, &context, None, limits);
            let mut outcomes: Vec<bool> = Vec::new();
            // What it seeds may be over the budget already.
            outcomes.extend(resources.ok().map(|mut l| fails_for_good(cost_max, || l.advance(fuel))));
            for resource in [&open, &team] {
                let (asked, of) = ((resource, "view"), ("user", None));
                let mut lookup =
                    LookupSubjects::open(world.snapshot(), asked, of, &context, None, limits).unwrap();
                outcomes.push(fails_for_good(cost_max, || lookup.advance(fuel)));
            }
            refused += outcomes.iter().filter(|is_refused| **is_refused).count();
            ended += outcomes.iter().filter(|is_refused| !**is_refused).count();
        }
    }
    assert!(refused > 50 && ended > 50, "{refused} refused, {ended} ended");
}

/// Everything that a lookup finds, by id, is what checks say of each.
#[track_caller]
fn agrees_with_checks(world: &World, documents: impl Iterator<Item = String>, subject: &str) -> usize {
    let mut wanted: Vec<_> = documents
        .map(|id| (id.clone(), world.check(&format!("doc:{id} view {subject}"))))
        .filter(|(_, permissionship)| *permissionship > NO)
        .collect();
    wanted.sort();
    for page in [3, 10_000] {
        let found = world.resources("doc", "view", subject, page);
        let mut found: Vec<_> = found.into_iter().map(|f| (f.object_id, f.answer.permissionship)).collect();
        found.sort();
        assert_eq!(found, wanted, "{subject} in pages of {page}");
    }
    wanted.len()
}

/// All resources that `ann` may view, in pages: each page opened anew and asked in portions of another size.
fn in_pages(world: &World, page: usize, limits: Limits) -> Vec<String> {
    let (ann, context): (SubjectRef, Context) = ("user:ann".parse().unwrap(), Context::default());
    let (mut found, mut after) = (Vec::new(), None);
    for fuel in (1..).step_by(5) {
        let asked = ("doc", "view");
        let mut lookup =
            LookupResources::open(world.snapshot(), asked, &ann, &context, after, limits).unwrap();
        let before = found.len();
        while found.len() < before + page {
            match lookup.advance(fuel).unwrap() {
                Progress::More => {}
                Progress::Done(None) => return found,
                Progress::Done(Some(next)) => {
                    after = Some(next.position);
                    found.push(next.object_id.to_owned());
                }
            }
        }
    }
    found
}

/// `ann` reaches some by herself, and others, of higher numbers, through a group; of each there is one that bans her.
fn reached_in_two_ways() -> World {
    let mut relationships = "group:eng#member@user:ann\n".to_owned();
    for n in 0..20 {
        relationships += &format!("doc:u{n}#viewer@user:ann\n");
    }
    for n in 0..20 {
        relationships += &format!("doc:g{n}#viewer@group:eng#member\n");
    }
    World::new(SCHEMA, &(relationships + "doc:u1#banned@user:ann\ndoc:g1#banned@user:ann\n"))
}

#[test]
fn what_is_told_early_comes_in_an_order_that_positions_rest_on() {
    // A page between two releases goes on by this order: with another one, positions must be of another kind.
    let world = reached_in_two_ways();
    let limits = Limits { early_max: 4, ..Limits::default() };
    let found = in_pages(&world, usize::MAX, limits);
    assert_eq!(found[..5], ["g0", "g2", "g3", "u0", "u2"]);
    assert_eq!(found.len(), 38);
    let limits = Limits { early_edges: 5, ..Limits::default() };
    let found = in_pages(&world, usize::MAX, limits);
    assert_eq!(found[..5], ["g0", "g2", "u0", "u2", "u3"]);
}

#[test]
fn pages_of_every_size_are_the_whole_however_much_is_told_early() {
    let world = reached_in_two_ways();
    for early_max in [0, 1, 3, 21, 128] {
        for early_edges in [0, 1, 7, 4_096] {
            let limits = Limits { early_max, early_edges, ..Limits::default() };
            let whole = in_pages(&world, usize::MAX, limits);
            for page in 1..=whole.len() + 1 {
                assert_eq!(in_pages(&world, page, limits), whole, "{early_max}, {early_edges}, {page}");
            }
        }
    }
}

#[test]
fn a_position_of_an_earlier_release_goes_on_by_number() {
    let world = reached_in_two_ways();
    let by_number = in_pages(&world, usize::MAX, Limits { early_max: 0, ..Limits::default() });
    let (ann, context): (SubjectRef, Context) = ("user:ann".parse().unwrap(), Context::default());
    let asked = ("doc", "view");
    let open = |after, limits| {
        LookupResources::open(world.snapshot(), asked, &ann, &context, after, limits).unwrap()
    };
    let mut first = open(None, Limits { early_max: 0, ..Limits::default() });
    let Progress::Done(Some(told)) = first.advance(u64::MAX).unwrap() else { panic!("nothing was found") };
    // What another page has reached is of no use to it, as some of that was told early.
    let mut other = open(None, Limits::default());
    while other.advance(u64::MAX).unwrap() != Progress::Done(None) {}
    let reached = other.reached().unwrap().clone();
    let mut later = open(Some(told.position), Limits::default()).with_reached(reached);
    let mut found = vec![told.object_id];
    while let Progress::Done(Some(next)) = later.advance(u64::MAX).unwrap() {
        found.push(next.object_id);
    }
    assert_eq!(found, by_number);
}

#[test]
fn few_candidates_and_many_lose_the_same_to_exclusions() {
    // With few each is asked, with many what excludes is searched, and given up if there is far more of that.
    for (granted, banned) in [(5, 3), (40, 10), (40, 40), (20, 2_000)] {
        let mut relationships = "group:eng#member@user:ann\ngroup:out#member@user:ann\n\
             group:deep#member@group:out#member\n"
            .to_owned();
        for n in 0..granted {
            relationships += &format!("doc:d{n}#viewer@group:eng#member\n");
        }
        for n in 0..banned {
            relationships += &match n % 3 {
                0 => format!("doc:d{n}#banned@user:ann\n"),
                1 => format!("doc:d{n}#banned@group:deep#member\n"),
                _ => format!("doc:d{n}#banned@group:others#member\n"),
            };
        }
        let world = World::new(SCHEMA, &relationships);
        let documents = || (0..granted.max(banned)).map(|n| format!("d{n}"));
        let found = agrees_with_checks(&world, documents(), "user:ann");
        assert!(found > 0 && found < granted, "{found} of {granted}");
        agrees_with_checks(&world, documents(), "group:eng#member");
    }
}

#[test]
fn who_is_excluded_further_up_has_nothing_further_down() {
    let schema = "definition user {}
        definition doc { relation parent: doc
 relation viewer: user
 relation banned: user
 permission view = (viewer + parent->view) - banned }";
    let mut relationships = "doc:d0#viewer@user:ann\ndoc:d30#banned@user:ann\n".to_owned();
    for n in 0..60 {
        relationships += &format!("doc:d{}#parent@doc:d{n}\n", n + 1);
    }
    let world = World::new(schema, &relationships);
    assert_eq!(agrees_with_checks(&world, (0..=60).map(|n| format!("d{n}")), "user:ann"), 30);
}

#[test]
fn subjects_behind_an_exclusion_are_verified_and_others_are_not() {
    let schema = "definition user {}
        definition group { relation member: user | group#member }
        definition doc { relation viewer: user | group#member
 relation banned: user | user:* | group#member
 permission view = viewer - banned }";
    let mut relationships = "doc:one#viewer@group:all#member\ndoc:one#banned@user:u3\n\
         doc:one#banned@group:out#member\ngroup:out#member@user:u4\n\
         doc:none#viewer@group:all#member\ndoc:none#banned@user:*\n"
        .to_owned();
    for n in 0..100 {
        relationships += &format!("group:all#member@user:u{n}\n");
    }
    let world = World::new(schema, &relationships);
    let found = world.subjects("doc:one", "view", "user", 7);
    assert_eq!(found.len(), 98);
    assert!(found.iter().all(|f| world.check(&format!("doc:one view user:{}", f.object_id)) == HAS));
    assert_eq!(world.subjects("doc:none", "view", "user", 7).len(), 0);
    let (resource, context) = ("doc:one".parse().unwrap(), Context::default());
    let asked = (&resource, "view");
    let mut lookup =
        LookupSubjects::open(world.snapshot(), asked, ("user", None), &context, None, Limits::default())
            .unwrap();
    while !matches!(lookup.advance(u64::MAX).unwrap(), Progress::Done(None)) {}
    // An evaluation of each would visit some five edges.
    assert!(lookup.cost() < 300, "{}", lookup.cost());
}
