use idhini_model::Timestamp;
use idhini_testkit::generate::{INSTANT_SECONDS, Options, world};

use super::*;
use crate::ours::Ours;

const OPTIONS: Options = Options { acyclic: true, spicedb: true };

#[test]
fn worlds_that_reach_a_wildcard_through_a_permission_are_valid_and_not_rare() {
    let mut changed = 0;
    for seed in 0..200 {
        let plain = world(seed, &OPTIONS);
        let mut reaching = plain.clone();
        reach_wildcard_through_permission(&mut reaching);
        let at = Timestamp::from_seconds(INSTANT_SECONDS);
        let valid = Ours::new(&reaching.sketch.text(), &reaching.relationships, at);
        assert!(valid.is_ok(), "seed {seed}");
        changed += usize::from(reaching.relationships.len() > plain.relationships.len());
    }
    assert!(changed >= 20, "only {changed} of 200 worlds");
}

#[test]
fn the_change_of_a_world_depends_on_its_seed_alone() {
    for seed in 0..20 {
        let (mut first, mut second) = (world(seed, &OPTIONS), world(seed, &OPTIONS));
        reach_wildcard_through_permission(&mut first);
        reach_wildcard_through_permission(&mut second);
        assert_eq!((first.sketch, first.relationships), (second.sketch, second.relationships));
    }
}

#[test]
fn worlds_without_caveats_name_none() {
    for seed in 0..20 {
        let mut plain = world(seed, &OPTIONS);
        drop_caveats(&mut plain);
        assert!(!plain.sketch.text().contains("caveat "));
        let at = Timestamp::from_seconds(INSTANT_SECONDS);
        assert!(Ours::new(&plain.sketch.text(), &plain.relationships, at).is_ok(), "seed {seed}");
    }
}
