use idhini_model::Context;
use idhini_schema::Schema;
use idhini_testkit::generate::{Options, world};

use super::*;

#[test]
fn every_name_of_a_type_or_caveat_carries_the_prefix_and_comes_back() {
    let prefix = Prefix::of(7);
    let relationship: Relationship =
        "document:one#viewer@group:eng#member[sunny:{\"flag\":true}]".parse().expect("a relationship");
    let renamed = prefix.relationship(&relationship);
    let text = "w1007/document:one#viewer@w1007/group:eng#member[w1007/sunny:{\"flag\":true}]";
    assert_eq!(renamed.to_string(), text);
    assert_eq!(prefix.strip_all(&renamed.to_string()), relationship.to_string());
    assert_eq!(prefix.strip("w1007/document"), "document");
    assert_eq!(prefix.strip("w1008/document"), "w1008/document");
}

#[test]
fn a_question_keeps_members_ids_and_context() {
    let context = Context::from_json("{\"flag\":true}").expect("JSON");
    let query = Query::Subjects {
        resource: ResourceRef::new("document", "one"),
        permission: "view".into(),
        subject_type: "group".into(),
        subject_relation: Some("member".into()),
    };
    let posed = Prefix::of(0).posed(&Posed { query, context: context.clone() });
    assert_eq!(posed.query.to_string(), "lookup of subjects w1000/document:one#view@w1000/group#member");
    assert_eq!(posed.context, context);
}

#[test]
fn many_generated_worlds_make_one_valid_schema() {
    let options = Options { acyclic: true, spicedb: true };
    let worlds: Vec<_> = (0..30).map(|seed| world(seed, &options)).collect();
    let sketches = worlds.iter().enumerate().map(|(number, w)| Prefix::of(number).sketch(&w.sketch));
    let text = merged(sketches).text();
    let schema = Schema::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let definitions: usize = worlds.iter().map(|w| w.sketch.definitions.len()).sum();
    assert_eq!(schema.definitions().len(), definitions);
    for (number, world) in worlds.iter().enumerate() {
        let names = world.sketch.definitions.iter().map(|d| Prefix::of(number).name(&d.name));
        for name in names {
            assert!(schema.definition(&name).is_some(), "{name}");
        }
    }
}

#[test]
fn no_prefix_changes_nothing() {
    let relationship: Relationship = "document:one#viewer@user:*".parse().expect("a relationship");
    assert_eq!(Prefix::none().relationship(&relationship), relationship);
    assert_eq!(Prefix::none().strip_all("text"), "text");
}
