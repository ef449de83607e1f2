use idhini_model::{Revision, Timestamp};

use super::{World, head, must_match, of_type, relationship, write};
use crate::{
    ALWAYS, Delete, Filter, IdFilter, Operation, Options, Precondition, ReplicaError, Update, Write,
};

const TOM: &str = "document:readme#viewer@user:tom";
const ANN: &str = "document:readme#viewer@user:ann";

#[test]
fn each_entry_has_the_next_revision_and_what_changes_nothing_makes_none() {
    let world = World::new();
    assert_eq!(head(&world).revision(), Revision(1));
    assert_eq!(world.namespace.write(write(Operation::Touch, &[TOM]), ALWAYS).unwrap(), Revision(2));
    assert_eq!(world.namespace.write(write(Operation::Touch, &[TOM]), ALWAYS).unwrap(), Revision(2));
    assert_eq!(world.namespace.write(write(Operation::Delete, &[ANN]), ALWAYS).unwrap(), Revision(2));
    assert_eq!(world.namespace.write(Write::default(), ALWAYS).unwrap(), Revision(2));
    assert_eq!(world.namespace.write(write(Operation::Delete, &[TOM]), ALWAYS).unwrap(), Revision(3));
    assert!(world.texts().is_empty());
}

#[test]
fn a_creation_of_what_exists_is_refused_whatever_its_attributes() {
    let world = World::new();
    world.touch(&[TOM]);
    let conditional = r#"document:readme#viewer@user:tom[only_on:{"day":"tuesday"}]"#;
    for text in [TOM, conditional] {
        assert!(
            world
                .refused(|n| n.write(write(Operation::Create, &[ANN, text]), ALWAYS))
                .contains("exists already")
        );
        assert!(
            world
                .refused(|n| n.import(vec![relationship(ANN), relationship(text)], ALWAYS))
                .contains("exists already")
        );
    }
}

#[test]
fn a_touch_replaces_attributes_and_a_delete_does_not_ask_for_them() {
    let world = World::new();
    let conditional = r#"document:readme#viewer@user:tom[only_on:{"day":"tuesday"}]"#;
    world.touch(&[TOM]);
    world.touch(&[conditional]);
    assert_eq!(world.texts(), [conditional]);
    world.namespace.write(write(Operation::Delete, &[TOM]), ALWAYS).unwrap();
    assert!(world.texts().is_empty());
}

#[test]
fn one_relationship_occurs_once_in_a_request() {
    let world = World::new();
    let conditional = "document:readme#viewer@user:tom[only_on]";
    for second in [TOM, conditional] {
        assert!(
            world
                .refused(|n| n.write(write(Operation::Touch, &[TOM, second]), ALWAYS))
                .contains("more than once")
        );
        let import = vec![relationship(TOM), relationship(second)];
        assert!(world.refused(|n| n.import(import, ALWAYS)).contains("exists already"));
    }
}

#[test]
fn what_the_schema_has_no_place_for_is_refused() {
    let world = World::new();
    for text in [
        "document:readme#view@user:tom",
        "document:readme#nothing@user:tom",
        "nothing:readme#viewer@user:tom",
        "document:readme#viewer@group:eng",
        "document:readme#banned@user:*",
        "document:readme#viewer@user:tom[nothing]",
        r#"document:readme#viewer@user:tom[only_on:{"colour":1}]"#,
        r#"document:readme#viewer@user:tom[only_on:{"day":1}]"#,
        "document:readme#banned@user:tom[expiration:2030-01-01T00:00:00Z]",
    ] {
        world.refused(|n| n.write(write(Operation::Touch, &[TOM, text]), ALWAYS));
        world.refused(|n| n.import(vec![relationship(TOM), relationship(text)], ALWAYS));
    }
    world.refused(|n| n.write(write(Operation::Delete, &["document:readme#banned@group:eng"]), ALWAYS));
}

mod expiration {
    use super::*;

    /// Expires at second 2,000.
    const EXPIRING: &str = "document:readme#viewer@user:tom[expiration:1970-01-01T00:33:20Z]";

    #[test]
    fn an_expired_relationship_is_absent_to_creations_preconditions_deletes_and_reads() {
        let world = World::new();
        world.touch(&[EXPIRING]);
        world.at(1_999);
        world.refused(|n| n.write(write(Operation::Create, &[TOM]), ALWAYS));
        assert_eq!(world.texts(), [EXPIRING]);
        world.at(2_000);
        assert!(world.texts().is_empty());
        let guarded =
            Write { preconditions: vec![must_match(of_type("document"))], ..write(Operation::Touch, &[ANN]) };
        assert!(world.refused(|n| n.write(guarded, ALWAYS)).contains("precondition"));
        let delete = Delete { filter: of_type("document"), ..Delete::default() };
        assert_eq!(world.namespace.delete(&delete, ALWAYS).unwrap().count, 0);
        world.namespace.write(write(Operation::Create, &[TOM]), ALWAYS).unwrap();
        assert_eq!(world.texts(), [TOM]);
    }

    #[test]
    fn the_instant_of_a_reading_is_its_callers() {
        let world = World::new();
        world.touch(&[EXPIRING]);
        world.at(5_000);
        let then =
            head(&world).read(&Filter::default(), Timestamp::from_seconds(1_999), None, super::super::ALL);
        assert_eq!(then.rows.len(), 1);
    }
}

mod preconditions {
    use super::*;

    fn guarded(precondition: Precondition) -> Write {
        Write { preconditions: vec![precondition], ..write(Operation::Touch, &[ANN]) }
    }

    #[test]
    fn all_must_hold_before_the_write_itself() {
        let world = World::new();
        world.touch(&[TOM]);
        let of =
            |id: &str| Filter { resource_id: Some(IdFilter::Exactly(id.to_owned())), ..of_type("document") };
        world.refused(|n| n.write(guarded(must_match(of("other"))), ALWAYS));
        world.refused(|n| n.write(guarded(Precondition::MustNotMatch(of("readme"))), ALWAYS));
        // What the write itself brings does not count.
        let other = Update {
            operation: Operation::Touch,
            relationship: relationship("document:other#viewer@user:tom"),
        };
        let own = Write { updates: vec![other], preconditions: vec![must_match(of("other"))] };
        world.refused(|n| n.write(own, ALWAYS));
        world.namespace.write(guarded(must_match(of("readme"))), ALWAYS).unwrap();
        world.namespace.write(guarded(Precondition::MustNotMatch(of("other"))), ALWAYS).unwrap();
    }

    #[test]
    fn a_filter_that_can_never_match_is_a_mistake() {
        let world = World::new();
        let error = world
            .namespace
            .write(guarded(Precondition::MustNotMatch(of_type("nothing"))), ALWAYS)
            .unwrap_err();
        assert!(matches!(error, ReplicaError::UnknownDefinition { definition } if definition == "nothing"));
    }
}

mod deletes {
    use super::*;

    fn five() -> World {
        let world = World::new();
        world.touch(&[
            "document:a1#viewer@user:tom",
            "document:a2#viewer@user:tom",
            "document:a3#viewer@user:*",
            "document:a4#banned@user:tom",
            "document:b1#viewer@user:tom",
        ]);
        world
    }

    fn of_a() -> Filter {
        Filter { resource_id: Some(IdFilter::StartsWith("a".to_owned())), ..of_type("document") }
    }

    #[test]
    fn everything_that_matches_goes_as_one_entry() {
        let world = five();
        let before = head(&world).revision();
        let deleted =
            world.namespace.delete(&Delete { filter: of_a(), ..Delete::default() }, ALWAYS).unwrap();
        assert_eq!((deleted.revision, deleted.count, deleted.is_partial), (before.next(), 4, false));
        assert_eq!(world.texts(), ["document:b1#viewer@user:tom"]);
    }

    #[test]
    fn a_limit_refuses_more_or_leaves_the_rest() {
        let world = five();
        let limited = |limit, allow_partial| Delete {
            filter: of_a(),
            limit: Some(limit),
            allow_partial,
            preconditions: Vec::new(),
        };
        assert!(world.refused(|n| n.delete(&limited(3, false), ALWAYS)).contains("more than 3"));
        let some = world.namespace.delete(&limited(3, true), ALWAYS).unwrap();
        assert_eq!((some.count, some.is_partial), (3, true));
        let rest = world.namespace.delete(&limited(1, false), ALWAYS).unwrap();
        assert_eq!((rest.count, rest.is_partial), (1, false));
    }
}

mod history {
    use super::*;

    #[test]
    fn kept_revisions_answer_as_they_did_and_others_say_why_not() {
        let options = Options { history_revisions_max: 3, ..Options::default() };
        let world = World::with(options);
        for n in 0..5 {
            world.touch(&[&format!("document:d{n}#viewer@user:tom")]);
        }
        let newest = head(&world).revision();
        assert_eq!(newest, Revision(6));
        for back in 0..3 {
            let published = world.namespace.at(Revision(newest.0 - back)).unwrap();
            assert_eq!(published.root().relationship_count(), 5 - back);
        }
        assert!(matches!(
            world.namespace.at(Revision(3)),
            Err(ReplicaError::Expired { asked: Revision(3), oldest: Revision(4) })
        ));
        assert!(matches!(
            world.namespace.at(Revision(7)),
            Err(ReplicaError::NotYet { asked: Revision(7), applied: Revision(6) })
        ));
        assert!(world.namespace.at_least(Revision(7)).is_err());
        assert_eq!(world.namespace.at_least(Revision(2)).unwrap().revision(), newest);
    }

    #[test]
    fn the_budget_of_changes_lets_old_revisions_go_but_never_the_newest() {
        let options = Options { history_changes_max: 10, ..Options::default() };
        let world = World::with(options);
        let many: Vec<String> = (0..20).map(|n| format!("document:d{n}#viewer@user:tom")).collect();
        world.touch(&[TOM]);
        world.namespace.import(many.iter().map(|t| relationship(t)).collect(), ALWAYS).unwrap();
        let newest = head(&world).revision();
        assert!(world.namespace.at(newest).is_ok());
        assert!(matches!(world.namespace.at(Revision(newest.0 - 1)), Err(ReplicaError::Expired { .. })));
        world.touch(&[ANN]);
        assert!(world.namespace.at(newest).is_ok(), "one change fits the budget again");
    }
}

#[test]
fn what_is_no_longer_wanted_changes_nothing() {
    type Attempt<'a> = &'a dyn Fn(&crate::Namespace) -> Result<(), ReplicaError>;
    let world = World::new();
    world.touch(&[ANN]);
    // Called off before its turn, and after it was judged.
    for answers in [0, 1] {
        let left = std::cell::Cell::new(answers);
        let wanted = || left.replace(left.get() - 1) > 0;
        let tries: [Attempt<'_>; 4] = [
            &|n| n.write(write(Operation::Touch, &[TOM]), &wanted).map(|_| ()),
            &|n| n.import(vec![relationship(TOM)], &wanted).map(|_| ()),
            &|n| n.delete(&Delete { filter: of_type("document"), ..Delete::default() }, &wanted).map(|_| ()),
            &|n| n.write_schema(&super::SCHEMA.replace("- banned", ""), &wanted).map(|_| ()),
        ];
        for attempt in tries {
            left.set(answers);
            assert!(world.refused(attempt).contains("nobody waits"));
            assert_eq!(left.get(), -1, "asked once after each answer of yes");
        }
    }
    world.touch(&[TOM]);
}

#[test]
fn the_preconditions_of_a_request_share_one_budget_of_edges() {
    let world = World::with(Options { precondition_edges_max: 100, ..Options::default() });
    let many: Vec<String> = (0..60).map(|n| format!("document:d{n}#viewer@user:u")).collect();
    world.touch(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let absent = || {
        let id = Some(IdFilter::StartsWith("x".to_owned()));
        Precondition::MustNotMatch(Filter { resource_id: id, ..of_type("document") })
    };
    let guarded =
        |preconditions: Vec<Precondition>| Write { preconditions, ..write(Operation::Touch, &[TOM]) };
    let both = world.refused(|n| n.write(guarded(vec![absent(), absent()]), ALWAYS));
    assert!(both.contains("more than 100 relationships"), "{both}");
    let of_delete = Delete { preconditions: vec![absent(), absent()], ..Delete::default() };
    assert!(world.refused(|n| n.delete(&of_delete, ALWAYS)).contains("more than 100"));
    // What names an object costs what it finds.
    let named = (0..60).map(|n| {
        let id = Some(IdFilter::Exactly(format!("d{n}")));
        must_match(Filter { resource_id: id, ..of_type("document") })
    });
    world.namespace.write(guarded(named.collect()), ALWAYS).unwrap();
    world.namespace.write(guarded(vec![absent()]), ALWAYS).unwrap();
}

#[test]
fn answers_do_not_depend_on_the_seed_and_it_is_not_shown() {
    let options = |seed| Options { seed, ..Options::default() };
    let texts = |seed| {
        let world = World::with(options(seed));
        world.touch(&[TOM, ANN, "document:other#viewer@group:eng#member"]);
        world.texts()
    };
    assert_eq!(texts(0), texts(0x1234_5678_9abc_def0));
    assert_eq!(format!("{:?}", options(1)), format!("{:?}", options(2)));
}
