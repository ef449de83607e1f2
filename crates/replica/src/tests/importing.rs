//! Imports that are judged in several chunks: one entry all the same.

use std::sync::Arc;

use idhini_model::Timestamp;

use super::{ALWAYS, Driven, World, head, relationship};
use crate::{Options, ReplicaError};

/// More than two chunks.
const MANY: usize = 2_000;

fn plain(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("document:d{}#viewer@user:u{}", n % 31, n)).collect()
}

fn import(world: &World, texts: &[String]) -> Result<u64, ReplicaError> {
    let relationships = texts.iter().map(|text| relationship(text)).collect();
    world.namespace.import(relationships, ALWAYS).map(|revision| revision.0)
}

#[test]
fn the_log_applied_again_gives_the_same_graph() {
    let world = World::new();
    let all = plain(MANY);
    let before = head(&world).revision().0;
    assert_eq!(import(&world, &all[..MANY - 40]).unwrap(), before + 1);
    assert_eq!(import(&world, &all[MANY - 40..]).unwrap(), before + 2);
    let clock = Arc::new(|| Timestamp::from_seconds(1));
    let again = Driven::open(Arc::clone(&world.log), clock, Options::default());
    assert_eq!(again.head().root().content(), head(&world).root().content());
    let earlier = again.at(idhini_model::Revision(before + 1)).unwrap();
    assert_eq!(earlier.root().relationship_count(), MANY as u64 - 40);
}

#[test]
fn what_is_refused_in_the_last_chunk_leaves_nothing_of_the_first() {
    let world = World::new();
    let mut twice = plain(MANY);
    twice.push(twice[0].clone());
    let mut unknown = plain(MANY);
    unknown.push("document:d1#nothing@user:tom".to_owned());
    let before = head(&world);
    for texts in [&twice, &unknown] {
        import(&world, texts).unwrap_err();
        assert!(world.texts().is_empty());
        assert_eq!(head(&world).root().content(), before.root().content());
    }
    assert!(matches!(import(&world, &twice), Err(ReplicaError::AlreadyExists { .. })));
    import(&world, &plain(MANY)).unwrap();
    assert_eq!(world.texts().len(), MANY);
}

#[test]
fn what_has_expired_is_replaced_once() {
    let expiring = |n: usize, second: i64| {
        let moment = Timestamp::from_seconds(second);
        format!("document:e{n}#viewer@user:tom[expiration:{moment}]")
    };
    let world = World::new();
    let old: Vec<String> = (0..40).map(|n| expiring(n, 100)).collect();
    world.at(1);
    import(&world, &old).unwrap();
    world.at(200);
    assert!(world.texts().is_empty());
    // The same again, one twice with others between, and others in place of all.
    let revision = head(&world).revision().0;
    assert_eq!(import(&world, &old).unwrap(), revision);
    let mut twice = vec![expiring(0, 150)];
    twice.extend(plain(MANY));
    twice.push(expiring(0, 160));
    assert!(matches!(import(&world, &twice), Err(ReplicaError::AlreadyExists { .. })));
    let mut new: Vec<String> = (0..40).map(|n| expiring(n, 300)).collect();
    new.extend(plain(MANY));
    assert_eq!(import(&world, &new).unwrap(), revision + 1);
    assert_eq!(world.texts().len(), MANY + 40);
    let clock = Arc::new(|| Timestamp::from_seconds(200));
    let again = Driven::open(Arc::clone(&world.log), clock, Options::default());
    assert_eq!(again.head().root().content(), head(&world).root().content());
}
