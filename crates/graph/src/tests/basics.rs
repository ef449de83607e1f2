use super::sketch::{SCHEMAS, all, changes, created, deleted, relationship, replaced, rooted, schema_entry};
use crate::Root;

#[test]
fn edges_are_read_in_both_directions() {
    let mut root = rooted();
    let texts = [
        "document:readme#viewer@user:tom",
        "document:readme#viewer@user:ann",
        "document:readme#viewer@group:eng#member",
        "document:readme#viewer@user:*",
        "document:plan#viewer@user:tom",
        "group:eng#member@user:tom",
    ];
    let entry = changes(&root, created(&texts));
    root.apply(&entry).unwrap();
    let class = root.class_of(&relationship(texts[0])).unwrap();
    let (document, user) = (root.class(class).resource_type, root.class(class).subject_type);
    let (readme, plan) = (root.object(document, "readme").unwrap(), root.object(document, "plan").unwrap());
    let (tom, ann) = (root.object(user, "tom").unwrap(), root.object(user, "ann").unwrap());
    assert_eq!((readme, plan, tom, ann), (0, 1, 0, 1));
    assert_eq!(root.subjects(class, readme).iter().collect::<Vec<_>>(), [tom, ann]);
    assert_eq!(root.resources(class, tom).iter().collect::<Vec<_>>(), [readme, plan]);
    assert!(root.subjects(class, readme).contains(ann) && !root.subjects(class, plan).contains(ann));
    assert_eq!(root.object(user, "*"), Some(2));
    let (row, of_tom) = (root.forward_row(document, readme), root.reverse_row(user, tom));
    assert_eq!((row.len(), of_tom.len(), root.forward_row(document, 2).len()), (4, 3, 0));
    for (class, _) in root.classes() {
        let (forward, reverse) = (root.forward_local(class), root.reverse_local(class));
        if root.class(class).resource_type == document {
            assert!(row.run(forward).iter().eq(root.subjects(class, readme).iter()));
        }
        if root.class(class).subject_type == user {
            assert!(of_tom.run(reverse).iter().eq(root.resources(class, tom).iter()));
        }
    }
    assert_eq!(root.relationship_count(), 6);
    let mut texts = texts.map(str::to_owned);
    texts.sort();
    assert_eq!(all(&root), texts);
}

#[test]
fn deleted_edges_are_gone_and_their_objects_keep_their_numbers() {
    let mut root = rooted();
    let texts = ["document:readme#viewer@user:tom", "document:plan#viewer@user:ann"];
    let entry = changes(&root, created(&texts));
    root.apply(&entry).unwrap();
    let entry = changes(&root, deleted(&texts[..1]));
    root.apply(&entry).unwrap();
    assert_eq!(all(&root), texts[1..]);
    let user = root.type_id("user").unwrap();
    assert_eq!((root.object(user, "tom"), root.object(user, "ann")), (Some(0), Some(1)));
    assert!(!root.has_edges(user, 0) && root.has_edges(user, 1));
}

#[test]
fn attributes_are_stored_replaced_and_shared() {
    let mut root = rooted();
    let first = r#"document:readme#viewer@user:tom[only_on:{"day":"monday"}]"#;
    let second = r#"document:plan#viewer@user:tom[only_on:{"day":"monday"}]"#;
    let plain = "document:readme#viewer@user:tom";
    let entry = changes(&root, created(&[first, second]));
    root.apply(&entry).unwrap();
    let (class, resource, subject) = root.edge_of(&relationship(first)).unwrap();
    let caveat = |resource| root.attributes(class, resource, subject).unwrap().caveat.clone().unwrap();
    assert!(std::sync::Arc::ptr_eq(&caveat(0), &caveat(1)));
    assert_eq!(root.find(&relationship(plain)).unwrap(), relationship(first));

    let entry = changes(&root, vec![replaced(plain, first)]);
    root.apply(&entry).unwrap();
    assert_eq!(root.attributes(class, resource, subject), None);
    assert!(root.has_attributes(class));
    let entry = changes(&root, deleted(&[second]));
    root.apply(&entry).unwrap();
    assert!(!root.has_attributes(class));
    assert_eq!(all(&root), [plain]);
}

#[test]
fn caveat_uses_live_as_long_as_an_edge_has_them() {
    let mut root = rooted();
    let text = |user: u32| {
        let context = format!(r#"{{"day":{}}}"#, user % 2);
        format!("document:readme#viewer@user:u{user}[only_on:{context}]")
    };
    let texts: Vec<String> = (0..6).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let entry = changes(&root, created(&texts));
    root.apply(&entry).unwrap();
    let class = root.class_of(&relationship(texts[0])).unwrap();
    let uses = |root: &Root| {
        let table = root.classes.item(class.0 as usize).unwrap();
        table.attributes.as_deref().map_or(0, crate::attributes::AttributeTable::uses_len)
    };
    assert_eq!(uses(&root), 2);
    let entry = changes(&root, deleted(&[texts[0], texts[2], texts[4]]));
    root.apply(&entry).unwrap();
    assert_eq!(uses(&root), 1);
    let entry = changes(&root, vec![replaced("document:readme#viewer@user:u1[other]", texts[1])]);
    root.apply(&entry).unwrap();
    assert_eq!(uses(&root), 2);
}

#[test]
fn undone_entries_leave_what_was_before() {
    let mut root = rooted();
    let first = changes(&root, created(&["document:readme#viewer@user:tom", "group:eng#member@user:ann"]));
    let before = root.content();
    root.apply(&first).unwrap();
    let between = root.content();
    let second = changes(&root, deleted(&["group:eng#member@user:ann"]));
    root.apply(&second).unwrap();
    root.undo(&second).unwrap();
    assert_eq!(root.content(), between);
    root.undo(&first).unwrap();
    assert_eq!(root.content(), before);
}

#[test]
fn portions_come_to_the_entry_that_they_are_of() {
    let before = rooted();
    let texts: Vec<String> =
        (0..60).map(|n| format!("document:d{}#viewer@user:u{}", n * 7 % 13, n % 23)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let entry = changes(&before, created(&texts));
    let (mut whole, mut portions) = (before.clone(), before.clone());
    whole.apply(&entry).unwrap();
    for portion in texts.chunks(7) {
        portions.apply_portion(&created(portion)).unwrap();
    }
    portions.complete_entry();
    assert_eq!(portions.content(), whole.content());
    portions.undo(&entry).unwrap();
    assert_eq!(portions.content(), before.content());
    // What a portion before has created is there.
    portions.apply_portion(&created(&texts[..7])).unwrap();
    portions.apply_portion(&created(&texts[..1])).unwrap_err();
}

#[test]
fn a_schema_that_is_parsed_already_is_put_in_force_alike() {
    let root = rooted();
    let next = schema_entry(&root, SCHEMAS[1]);
    let schema = std::sync::Arc::new(idhini_schema::Schema::parse(SCHEMAS[1]).unwrap());
    let (mut parsed, mut unparsed) = (root.clone(), root.clone());
    parsed.apply_schema_parsed(&next, schema.clone()).unwrap();
    unparsed.apply(&next).unwrap();
    assert_eq!(parsed.content(), unparsed.content());
    assert!(std::sync::Arc::ptr_eq(parsed.schema().unwrap(), &schema));
    assert_eq!(parsed.schema(), unparsed.schema());
    parsed.undo(&next).unwrap();
    assert_eq!(parsed.content(), root.content());
    assert_eq!(parsed.schema(), root.schema());
}

#[test]
fn classes_and_types_keep_their_numbers_through_schema_changes() {
    let mut root = rooted();
    let numbers = |root: &Root| -> Vec<_> { root.classes().map(|(id, class)| (id, class.clone())).collect() };
    let types = |root: &Root| -> Vec<_> { root.types().map(|(id, name)| (id, name.to_owned())).collect() };
    for text in [SCHEMAS[1], "", SCHEMAS[2], SCHEMAS[0]] {
        let (classes_before, types_before) = (numbers(&root), types(&root));
        let entry = schema_entry(&root, text);
        root.apply(&entry).unwrap();
        assert_eq!(numbers(&root)[..classes_before.len()], classes_before);
        assert_eq!(types(&root)[..types_before.len()], types_before);
        let current = root.classes().filter(|(id, _)| root.class_is_current(*id)).count();
        assert_eq!(current, root.schema().map_or(0, |schema| schema.classes().len()));
        assert_eq!(root.schema().is_none(), text.is_empty());
    }
    for (id, class) in root.classes() {
        assert_eq!(root.class_id(&class.key), Some(id));
    }
    for (id, name) in root.types() {
        assert_eq!((root.type_id(name), root.type_name(id)), (Some(id), name));
    }
}

#[test]
fn no_answer_depends_on_the_seed() {
    let texts =
        ["document:readme#viewer@user:tom", "group:eng#member@user:ann", "document:plan#viewer@user:ann"];
    let [plain, seeded] = [Root::empty(), Root::empty_seeded(0x5eed)].map(|mut root| {
        let schema = schema_entry(&root, SCHEMAS[0]);
        root.apply(&schema).unwrap();
        let edges = changes(&root, created(&texts));
        root.apply(&edges).unwrap();
        root
    });
    assert_eq!(plain.content(), seeded.content());
    let user = seeded.type_id("user").unwrap();
    assert_eq!(seeded.object(user, "ann"), plain.object(user, "ann"));
}

#[test]
fn memory_is_counted_by_part_and_only_what_is_not_shared() {
    let mut root = rooted();
    let texts: Vec<String> = (0..40)
        .map(|at| format!(r#"document:d{at}#viewer@user:u{}[only_on:{{"day":"{}"}}]"#, at % 7, at % 3))
        .collect();
    let entry = changes(&root, created(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
    let empty = root.memory();
    assert_eq!((empty.forward_bytes, empty.reverse_bytes, empty.attributes_bytes), (0, 0, 0));
    root.apply(&entry).unwrap();
    let memory = root.memory();
    let words = 4 * 40;
    assert!(
        memory.forward_bytes > words && memory.reverse_bytes > words && memory.attributes_bytes > 32 * 40
    );
    assert!(memory.names_bytes > memory.births_bytes && memory.births_bytes > 0);
    let parts = memory.names_bytes + memory.edges_bytes() + memory.attributes_bytes + memory.catalog_bytes;
    assert_eq!(memory.total_bytes(), parts);

    let before = root.clone();
    assert_eq!(root.memory_beyond(&before).total_bytes(), 0);
    let entry = changes(&root, deleted(&[&texts[3]]));
    root.apply(&entry).unwrap();
    let (beyond, memory) = (root.memory_beyond(&before), root.memory());
    assert_eq!((beyond.names_bytes, beyond.births_bytes), (0, 0));
    for (beyond, all) in [
        (beyond.forward_bytes, memory.forward_bytes),
        (beyond.reverse_bytes, memory.reverse_bytes),
        (beyond.attributes_bytes, memory.attributes_bytes),
    ] {
        assert!(0 < beyond && beyond < all, "{beyond} of {all}");
    }
}
