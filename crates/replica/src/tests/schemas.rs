use idhini_model::Revision;

use super::ALWAYS;
use super::{SCHEMA, World, head};
use crate::{ReplicaError, SchemaChange};

fn refusal(world: &World, schema: &str) -> (SchemaChange, String, u64) {
    let before = head(world).revision();
    match world.namespace.write_schema(schema, ALWAYS) {
        Err(ReplicaError::Orphans { change, example, count }) => {
            assert_eq!(head(world).revision(), before);
            (change, example.to_string(), count)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn writing_back_what_was_read_changes_nothing() {
    let world = World::new();
    let text = head(&world).schema().unwrap().canonical_text();
    assert_eq!(world.namespace.write_schema(&text, ALWAYS).unwrap(), Revision(1));
    assert_eq!(world.namespace.write_schema(SCHEMA, ALWAYS).unwrap(), Revision(1));
}

#[test]
fn what_is_in_use_cannot_be_taken_away() {
    let world = World::new();
    world.touch(&[
        "document:a#viewer@user:tom",
        "document:b#viewer@user:tom",
        r#"document:c#viewer@user:tom[only_on:{"day":"tuesday"}]"#,
    ]);
    let (definition, relation) = ("document".to_owned(), "viewer".to_owned());
    let (change, _, count) = refusal(&world, "definition user {}");
    assert_eq!((change, count), (SchemaChange::Definition { definition: definition.clone() }, 3));
    let (change, _, count) = refusal(&world, "definition user {}\ndefinition document {}");
    let gone = SchemaChange::Relation { definition: definition.clone(), relation: relation.clone() };
    assert_eq!((change, count), (gone, 3));
    let (change, _, count) = refusal(&world, &SCHEMA.replace("viewer: user | user:* |", "viewer: user:* |"));
    let allowed = "user".to_owned();
    let lost =
        SchemaChange::AllowedSubject { definition: definition.clone(), relation: relation.clone(), allowed };
    assert_eq!((change, count), (lost, 2));
    let (change, example, count) = refusal(&world, &SCHEMA.replace("| user with only_on ", ""));
    let allowed = "user with only_on".to_owned();
    assert_eq!((change, count), (SchemaChange::AllowedSubject { definition, relation, allowed }, 1));
    assert_eq!(example, r#"document:c#viewer@user:tom[only_on:{"day":"tuesday"}]"#);
}

#[test]
fn a_parameter_is_in_use_where_a_value_is_stored_for_it() {
    let world = World::new();
    world.touch(&[r#"document:c#viewer@user:tom[only_on:{"day":"tuesday"}]"#]);
    let (caveat, parameter) = ("only_on".to_owned(), "day".to_owned());
    let without = SCHEMA.replace("day string, ", "").replace(r#"day == "tuesday" && "#, "");
    let (change, ..) = refusal(&world, &without);
    assert_eq!(
        change,
        SchemaChange::ParameterRemoved { caveat: caveat.clone(), parameter: parameter.clone() }
    );
    let retyped = SCHEMA.replace("day string", "day int").replace(r#"day == "tuesday""#, "day == 2");
    let (change, ..) = refusal(&world, &retyped);
    assert_eq!(change, SchemaChange::ParameterRetyped { caveat, parameter });
    // Nobody stores a level.
    let other = SCHEMA.replace("level int", "level uint").replace("level > 3", "level > 3u");
    world.namespace.write_schema(&other, ALWAYS).unwrap();
}

#[test]
fn what_has_expired_stands_in_nobodys_way() {
    let world = World::new();
    world.touch(&["document:a#viewer@user:tom[expiration:1970-01-01T00:33:20Z]"]);
    let without = SCHEMA.replace(" | user with expiration", "");
    world.at(1_999);
    let (.., count) = refusal(&world, &without);
    assert_eq!(count, 1);
    world.at(2_000);
    world.namespace.write_schema(&without, ALWAYS).unwrap();
    assert_eq!(head(&world).root().relationship_count(), 0);
}

#[test]
fn each_revision_keeps_its_own_schema() {
    let world = World::new();
    world.namespace.write_schema("definition user {}", ALWAYS).unwrap();
    let of = |revision| world.namespace.at(Revision(revision)).unwrap();
    assert!(of(0).schema().is_none() && of(0).plans().is_none());
    assert!(of(1).schema().unwrap().definition("document").is_some());
    assert!(of(2).schema().unwrap().definition("document").is_none());
    world.namespace.write_schema("", ALWAYS).unwrap();
    assert!(head(&world).schema().is_none_or(|s| s.is_empty()));
}

#[test]
fn a_text_that_is_no_schema_is_refused() {
    let world = World::new();
    assert!(matches!(
        world.namespace.write_schema("definition user {", ALWAYS),
        Err(ReplicaError::Schema(_))
    ));
    assert_eq!(head(&world).revision(), Revision(1));
}
