use super::sketch::{all, changes, created, deleted, relationship, replaced, rooted};

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
    let uses = |root: &crate::Root| {
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
