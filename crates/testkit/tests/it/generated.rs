//! Generated questions: the engine against the reference. `./check` asks many more of the same kind.

use idhini_testkit::campaign::{Campaign, run};
use idhini_testkit::generate::{Options, world};

const QUESTIONS: u64 = 20_000;
const SEED: u64 = 7_000_000;

#[test]
fn engine_and_reference_agree_and_every_shape_has_its_share() {
    let campaign = Campaign { questions: QUESTIONS, seed: SEED, threads: 2 };
    let outcome = run(&campaign, &|_| {});
    if let Some(failure) = outcome.failures.first() {
        panic!("seed {}: {}\n{}", failure.seed, failure.difference, failure.golden);
    }
    assert!(outcome.tally.questions >= QUESTIONS);
    assert_eq!(outcome.tally.shortfalls(), "", "{}", outcome.tally);
}

#[test]
fn a_seed_makes_the_same_world_again_and_another_seed_another() {
    for options in [Options::default(), Options { acyclic: true, spicedb: true }] {
        let shown = |seed| format!("{:?}", world(seed, &options));
        assert_eq!(shown(SEED), shown(SEED));
        assert_ne!(shown(SEED), shown(SEED + 1));
    }
}

#[test]
fn worlds_without_cycles_have_none() {
    use idhini_testkit::reference::Tables;
    use idhini_testkit::shapes::{Shape, Shapes};

    for seed in 0..200 {
        let options = Options { acyclic: true, spicedb: true };
        let world = world(seed, &options);
        let schema = idhini_schema::Schema::parse(&world.sketch.text()).unwrap();
        let tables = Tables::new(&schema, &world.relationships).unwrap();
        let shapes = Shapes::new(&tables, world.instants[0]);
        for definition in &world.sketch.definitions {
            for member in definition.member_names() {
                let found = shapes.of_type(&tables, &definition.name, member);
                assert!(!found.contains(Shape::CycleWithoutExclusion), "seed {seed}");
                assert!(!found.contains(Shape::CycleThroughExclusion), "seed {seed}");
            }
        }
    }
}
