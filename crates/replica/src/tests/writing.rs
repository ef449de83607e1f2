use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use idhini_model::{Revision, Timestamp};

use super::{ALWAYS, World, head, must_match, of_type, relationship, write};
use crate::{
    Delete, Filter, IdFilter, Operation, Options, Precondition, ReplicaError, Update, Wanted, Write,
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
        let own =
            Write { updates: vec![other], preconditions: vec![must_match(of("other"))], ..Write::default() };
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
            ..Delete::default()
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

    /// That keep all, some and none.
    fn worlds() -> [World; 3] {
        [u64::MAX, 4_000, 0]
            .map(|kept_bytes_max| World::with(Options { kept_bytes_max, ..Options::default() }))
    }

    #[test]
    fn every_revision_answers_as_it_did_whether_it_is_kept_or_rebuilt() {
        let mut kept = Vec::new();
        for world in worlds() {
            for n in 0..5 {
                world.touch(&[&format!("document:d{n}#viewer@user:tom"), "document:d#viewer@user:ann"]);
            }
            kept.push(world.namespace.inner.kept().0);
            world
                .namespace
                .write(write(Operation::Delete, &["document:d0#viewer@user:tom"]), ALWAYS)
                .unwrap();
            world.namespace.write_schema(&super::super::SCHEMA.replace("- banned", ""), ALWAYS).unwrap();
            let newest = head(&world).revision();
            assert_eq!(newest, Revision(8));
            for (revision, count) in [(8, 5), (7, 5), (6, 6), (5, 5), (2, 2), (1, 0), (0, 0), (6, 6)] {
                let published = world.namespace.at(Revision(revision)).unwrap();
                assert_eq!(published.revision(), Revision(revision));
                assert_eq!(published.root().relationship_count(), count, "at {revision}");
                assert_eq!(published.plans().is_some(), revision > 0, "at {revision}");
            }
            assert!(matches!(
                world.namespace.at(Revision(9)),
                Err(ReplicaError::NotYet { asked: Revision(9), applied: Revision(8) })
            ));
            assert!(world.namespace.at_least(Revision(9)).is_err());
            assert_eq!(world.namespace.at_least(Revision(2)).unwrap().revision(), newest);
        }
        assert!(kept[0] == 6 && (1..6).contains(&kept[1]) && kept[2] == 0, "{kept:?}");
    }

    #[test]
    fn what_was_trimmed_is_refused_by_name() {
        let world = World::with(Options { kept_bytes_max: 0, ..Options::default() });
        for n in 0..5 {
            world.touch(&[&format!("document:d{n}#viewer@user:tom")]);
        }
        world.namespace.runtime.block_on(world.log.trim(Revision(4))).unwrap();
        assert_eq!(world.namespace.at(Revision(3)).unwrap().root().relationship_count(), 2);
        assert!(matches!(
            world.namespace.at(Revision(2)),
            Err(ReplicaError::Expired { asked: Revision(2), oldest: Revision(3) })
        ));
    }

    #[test]
    fn a_moment_gives_the_revision_that_was_the_newest_then() {
        for world in worlds() {
            // The schema was written at 1,000.
            for n in 1..6 {
                world.at(1_000 + n * 10);
                world.touch(&[&format!("document:d{n}#viewer@user:tom")]);
            }
            let revision = |seconds| world.namespace.at_moment(seconds).unwrap().revision();
            for (seconds, wanted) in
                [(0, 0), (999, 0), (1_000, 1), (1_009, 1), (1_010, 2), (1_029, 3), (9_999, 6)]
            {
                assert_eq!(revision(seconds), Revision(wanted), "at {seconds}");
            }
            world.namespace.runtime.block_on(world.log.trim(Revision(4))).unwrap();
            assert_eq!(revision(1_030), Revision(4));
            assert!(matches!(
                world.namespace.at_moment(1_029),
                Err(ReplicaError::BeforeHistory { oldest, .. }) if oldest == Timestamp::from_seconds(1_030)
            ));
            world.namespace.runtime.block_on(world.log.trim(Revision(7))).unwrap();
            assert_eq!(revision(1_050), Revision(6));
            assert!(world.namespace.at_moment(1_049).is_err());
        }
    }

    #[test]
    fn a_clock_that_goes_back_does_not_take_entries_back_in_time() {
        let world = World::new();
        world.at(2_000);
        world.touch(&["document:a#viewer@user:tom"]);
        world.at(1_500);
        world.touch(&["document:b#viewer@user:tom"]);
        assert_eq!(world.namespace.at_moment(1_999).unwrap().revision(), Revision(1));
        assert_eq!(world.namespace.at_moment(2_000).unwrap().revision(), Revision(3));
    }

    #[test]
    fn rebuilding_walks_no_further_than_allowed() {
        let options = Options { kept_bytes_max: 0, rebuild_changes_max: 3, ..Options::default() };
        let world = World::with(options);
        for n in 0..9 {
            world.touch(&[&format!("document:d{n}#viewer@user:tom")]);
        }
        let refused = world.namespace.at(Revision(5)).map(|found| found.revision());
        assert!(matches!(refused, Err(ReplicaError::TooFar { changes_max: 3, .. })), "{refused:?}");
        assert_eq!(world.namespace.at(Revision(3)).unwrap().root().relationship_count(), 2);
        assert_eq!(world.namespace.at(Revision(7)).unwrap().root().relationship_count(), 6);
        // From what was just rebuilt.
        assert_eq!(world.namespace.at(Revision(5)).unwrap().root().relationship_count(), 4);
    }
}

mod the_log {
    use super::*;
    use crate::tests::{Driven, texts};

    #[test]
    fn a_namespace_opened_anew_is_as_it_was() {
        let world = World::new();
        world.touch(&[TOM, ANN]);
        world.namespace.write(write(Operation::Delete, &[TOM]), ALWAYS).unwrap();
        let again = Driven::open(
            Arc::clone(&world.log),
            Arc::new(|| Timestamp::from_seconds(1)),
            Options { seed: 77, ..Options::default() },
        );
        assert_eq!(again.head().root().content(), head(&world).root().content());
        assert_eq!(again.at(Revision(2)).unwrap().root().relationship_count(), 2);
    }

    #[test]
    fn two_writers_on_one_log_take_turns_and_lose_nothing() {
        let world = World::new();
        let clock = Arc::new(|| Timestamp::from_seconds(1));
        let other =
            Driven::open(Arc::clone(&world.log), clock, Options { writer_id: 2, ..Options::default() });
        for n in 0..10 {
            let text = format!("document:d{n}#viewer@user:tom");
            let writer = if n % 2 == 0 { &world.namespace } else { &other };
            writer.write(write(Operation::Create, &[&text]), ALWAYS).unwrap();
            let import = (0..3).map(|i| relationship(&format!("document:i{n}-{i}#viewer@user:tom")));
            writer.import(import.collect(), ALWAYS).unwrap();
        }
        // Judged against what the other wrote.
        let twice = other.write(write(Operation::Create, &["document:d0#viewer@user:tom"]), ALWAYS);
        assert!(matches!(twice, Err(ReplicaError::AlreadyExists { .. })), "{twice:?}");
        world.touch(&["document:last#viewer@user:tom"]);
        assert_eq!(world.texts().len(), 41);
        let late = world.namespace.write(write(Operation::Create, &["document:d9#viewer@user:tom"]), ALWAYS);
        assert!(matches!(late, Err(ReplicaError::AlreadyExists { .. })), "{late:?}");
        let fresh =
            Driven::open(Arc::clone(&world.log), Arc::new(|| Timestamp::from_seconds(1)), Options::default());
        let all = |driven: &Driven| {
            texts(&driven.head().read(&Filter::default(), driven.now(), None, super::super::ALL))
        };
        assert_eq!(all(&fresh), world.texts());
    }

    #[test]
    fn requests_that_wait_together_share_one_append_and_each_has_its_revision() {
        let world = World::new();
        let namespace = &world.namespace;
        let revisions = namespace.runtime.block_on(async {
            let writing: Vec<_> = (0..20)
                .map(|n| {
                    let inner = Arc::clone(&namespace.inner);
                    let request =
                        write(Operation::Create, &[&format!("document:d{}#viewer@user:tom", n / 2)]);
                    tokio::spawn(async move { inner.write(request, ALWAYS).await })
                })
                .collect();
            let mut revisions = Vec::new();
            for writing in writing {
                revisions.push(writing.await.unwrap().map_err(|e| e.to_string()));
            }
            revisions
        });
        let good: Vec<_> = revisions.iter().flatten().collect();
        assert_eq!(good, (2..12).map(Revision).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        assert!(revisions.iter().flat_map(|r| r.as_ref().err()).all(|e| e.contains("exists already")));
        let appended = namespace.runtime.block_on(world.log.read(Revision(1), usize::MAX)).unwrap();
        let sequences: std::collections::BTreeSet<_> = appended.iter().map(|s| s.writer.sequence).collect();
        assert!(sequences.len() < 10, "{sequences:?}");
    }
}

#[test]
fn what_is_no_longer_wanted_changes_nothing() {
    type Attempt<'a> = &'a dyn Fn(&super::Driven) -> Result<(), ReplicaError>;
    let world = World::new();
    world.touch(&[ANN]);
    // Called off before its turn, and after it was judged.
    for answers in [0, 1] {
        let left = Arc::new(AtomicI64::new(answers));
        let counted = Arc::clone(&left);
        let wanted = Wanted::while_so(move || counted.fetch_sub(1, Ordering::SeqCst) > 0);
        let tries: [Attempt<'_>; 4] = [
            &|n| n.write(write(Operation::Touch, &[TOM]), wanted.clone()).map(|_| ()),
            &|n| n.import(vec![relationship(TOM)], wanted.clone()).map(|_| ()),
            &|n| {
                n.delete(&Delete { filter: of_type("document"), ..Delete::default() }, wanted.clone())
                    .map(|_| ())
            },
            &|n| n.write_schema(&super::SCHEMA.replace("- banned", ""), wanted.clone()).map(|_| ()),
        ];
        for attempt in tries {
            left.store(answers, Ordering::SeqCst);
            assert!(world.refused(attempt).contains("nobody waits"));
            assert_eq!(left.load(Ordering::SeqCst), -1, "asked once after each answer of yes");
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
