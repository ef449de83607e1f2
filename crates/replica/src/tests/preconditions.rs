//! Checks as preconditions: judged with the write, on the state that the write is judged against.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use idhini_model::{Context, Revision};

use super::{ALWAYS, Driven, World, relationship, write};
use crate::{
    Delete, Filter, Namespace, Operation, Options, PermissionQuestion, Precondition, ReplicaError, Wanted,
    Write,
};

fn question(resource: &str, permission: &str, subject: &str) -> PermissionQuestion {
    PermissionQuestion {
        resource: resource.parse().unwrap(),
        permission: permission.to_owned(),
        subject: subject.parse().unwrap(),
        context: Context::default(),
    }
}

fn has(resource: &str, permission: &str, subject: &str) -> Precondition {
    Precondition::MustHave(question(resource, permission, subject))
}

fn has_not(resource: &str, permission: &str, subject: &str) -> Precondition {
    Precondition::MustNotHave(question(resource, permission, subject))
}

fn guarded(preconditions: Vec<Precondition>, text: &str) -> Write {
    Write { preconditions, ..write(Operation::Create, &[text]) }
}

#[test]
fn a_write_is_done_where_its_checks_are_definitely_so_and_refused_where_not() {
    let world = World::new();
    world.touch(&[
        "document:a#viewer@group:eng#member",
        "group:eng#member@user:tom",
        "group:eng#member@user:ann",
        "document:a#banned@user:ann",
    ]);
    let new = "document:b#viewer@user:tom";
    for precondition in [
        has("document:a", "view", "user:ann"),
        has("document:a", "view", "user:nobody"),
        has("document:none", "view", "user:tom"),
        has_not("document:a", "view", "user:tom"),
        has_not("document:a", "viewer", "group:eng#member"),
    ] {
        let refused = world.refused(|n| n.write(guarded(vec![precondition.clone()], new), ALWAYS));
        assert!(refused.contains("does not hold"), "{precondition:?}: {refused}");
        let delete = Delete {
            filter: Filter { resource_type: Some("document".to_owned()), ..Filter::default() },
            preconditions: vec![precondition],
            ..Delete::default()
        };
        world.refused(|n| n.delete(&delete, ALWAYS));
    }
    let all = vec![
        has("document:a", "view", "user:tom"),
        has_not("document:a", "view", "user:ann"),
        has("group:eng", "member", "group:eng#member"),
    ];
    world.namespace.write(guarded(all, new), ALWAYS).unwrap();
    assert!(world.texts().contains(&new.to_owned()));
}

#[test]
fn a_conditional_answer_satisfies_neither_and_context_decides_it() {
    let world = World::new();
    world.touch(&[r#"document:a#viewer@user:tom[only_on:{"day":"tuesday"}]"#]);
    let asked = |level: Option<i32>| {
        let json = level.map_or("{}".to_owned(), |level| format!(r#"{{"level":{level}}}"#));
        let context = Context::from_json(&json).unwrap();
        PermissionQuestion { context, ..question("document:a", "view", "user:tom") }
    };
    let new = "document:b#viewer@user:tom";
    for precondition in [Precondition::MustHave(asked(None)), Precondition::MustNotHave(asked(None))] {
        let refused = world.namespace.write(guarded(vec![precondition.clone()], new), ALWAYS).unwrap_err();
        let ReplicaError::PermissionPreconditionFailed { precondition: named, answer } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*named, precondition);
        assert_eq!(answer.missing.into_iter().collect::<Vec<_>>(), ["level"]);
    }
    world.refused(|n| n.write(guarded(vec![Precondition::MustHave(asked(Some(1)))], new), ALWAYS));
    world.refused(|n| n.write(guarded(vec![Precondition::MustNotHave(asked(Some(9)))], new), ALWAYS));
    let both = vec![Precondition::MustHave(asked(Some(9))), Precondition::MustNotHave(asked(Some(1)))];
    world.namespace.write(guarded(both, new), ALWAYS).unwrap();
}

#[test]
fn what_has_expired_grants_nothing_from_that_moment_on() {
    let world = World::new();
    world.touch(&["document:a#viewer@user:tom[expiration:1970-01-01T00:33:20Z]"]);
    let lock = vec![has_not("document:a", "view", "user:tom")];
    world.at(1_999);
    world.refused(|n| n.write(guarded(lock.clone(), "document:b#viewer@user:tom"), ALWAYS));
    world.at(2_000);
    world.namespace.write(guarded(lock, "document:b#viewer@user:tom"), ALWAYS).unwrap();
}

#[test]
fn a_check_without_an_answer_is_an_error_and_no_failed_precondition() {
    let world = World::new();
    let new = "document:b#viewer@user:tom";
    for precondition in [
        has("nothing:a", "view", "user:tom"),
        has_not("nothing:a", "view", "user:tom"),
        has_not("document:a", "nothing", "user:tom"),
        has_not("document:a", "view", "nothing:tom"),
        has_not("document:a", "view", "user:*"),
    ] {
        let refused = world.namespace.write(guarded(vec![precondition.clone()], new), ALWAYS).unwrap_err();
        assert!(matches!(refused, ReplicaError::Unanswerable(_)), "{precondition:?}: {refused:?}");
    }
    assert!(world.texts().is_empty());
}

/// A chain of groups, so long that a check walks through all of them; `nobody` is in so many others that no search from
/// below tells at once that none of them leads there.
fn chain(world: &World, length: usize) {
    let texts = (0..length).map(|n| format!("group:g{n}#member@group:g{}#member", n + 1));
    let texts = texts.chain((0..5_000).map(|n| format!("group:x{n}#member@user:nobody")));
    let relationships = texts.map(|text| relationship(&text)).collect();
    world.namespace.import(relationships, ALWAYS).unwrap();
}

#[test]
fn the_checks_of_one_request_have_one_bounded_budget() {
    let world = World::with(Options { permission_precondition_cost_max: 10_000, ..Options::default() });
    chain(&world, 1_000);
    let check = has_not("group:g0", "member", "user:nobody");
    let new = |n: usize| format!("document:d{n}#viewer@user:tom");
    world.namespace.write(guarded(vec![check.clone()], &new(0)), ALWAYS).unwrap();
    let refused = world.namespace.write(guarded(vec![check; 20], &new(1)), ALWAYS).unwrap_err();
    assert!(matches!(refused, ReplicaError::PreconditionsTooCostly { cost_max: 10_000 }), "{refused:?}");
}

#[test]
fn a_long_check_stops_when_nobody_waits_for_it() {
    let world = World::new();
    chain(&world, 60_000);
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    // Wanted when its turn comes, and no more at the first look after that.
    let wanted = Wanted::while_so(move || counted.fetch_add(1, Ordering::SeqCst) == 0);
    let check = vec![has_not("group:g0", "member", "user:nobody")];
    let refused =
        world.namespace.write(guarded(check.clone(), "document:d#viewer@user:tom"), wanted).unwrap_err();
    assert!(matches!(refused, ReplicaError::NotWanted), "{refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    world.namespace.write(guarded(check, "document:d#viewer@user:tom"), ALWAYS).unwrap();
}

/// A counter that only checks keep from passing over a number: each takes the next only if it is free and the one before
/// is taken.
#[test]
fn requests_of_one_batch_see_what_the_earlier_ones_of_it_changed() {
    let world = World::new();
    world.touch(&["document:n0#viewer@user:tom"]);
    let take = |n: usize| {
        let preconditions = vec![
            has(&format!("document:n{}", n - 1), "view", "user:tom"),
            has_not(&format!("document:n{n}"), "view", "user:tom"),
        ];
        // Touched, so that nothing but the checks refuses it.
        let update = write(Operation::Touch, &[&format!("document:n{n}#viewer@user:tom")]);
        Write { preconditions, ..update }
    };
    let requests: Vec<Write> = (1..=20).flat_map(|n| [take(n), take(n)]).collect();
    let answers = all_at_once(&world.namespace, requests);
    let revisions: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(revisions, (3..23).map(Revision).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    for pair in answers.chunks(2) {
        assert!(matches!(pair[1], Err(ReplicaError::PermissionPreconditionFailed { .. })), "{pair:?}");
    }
    // They did share an append.
    let appended = world.namespace.runtime.block_on(world.log.read(Revision(2), usize::MAX)).unwrap();
    let batches: std::collections::BTreeSet<u64> = appended.iter().map(|s| s.writer.sequence).collect();
    assert!(batches.len() < 20, "{}", batches.len());
}

/// Whoever was judged first waits for the whole batch, so costly checks end it.
#[test]
fn a_batch_ends_when_its_checks_have_looked_at_much_however_many_wait() {
    let world = World::new();
    chain(&world, 60_000);
    let check = vec![has_not("group:g0", "member", "user:nobody")];
    let requests: Vec<Write> =
        (0..40).map(|n| guarded(check.clone(), &format!("document:d{n}#viewer@user:tom"))).collect();
    assert!(all_at_once(&world.namespace, requests).iter().all(Result::is_ok));
    let appended = world.namespace.runtime.block_on(world.log.read(Revision(2), usize::MAX)).unwrap();
    let mut writes = std::collections::BTreeMap::<u64, u32>::new();
    appended.iter().for_each(|stored| *writes.entry(stored.writer.sequence).or_default() += 1);
    // Each looks at 60,000 edges at least, twice with what leads to them.
    assert!(writes.values().all(|count| *count <= 17), "{writes:?}");
    assert!(writes.values().any(|count| *count > 1), "{writes:?}");
}

#[test]
fn a_check_goes_by_the_schema_that_an_earlier_request_of_its_batch_wrote() {
    let world = World::new();
    world.touch(&["document:a#viewer@user:ann", "document:a#banned@user:ann"]);
    let new = super::SCHEMA.replace("permission view = viewer - banned", "permission view = viewer");
    let ask = |precondition, text| {
        let (inner, write) = (Arc::clone(&world.namespace.inner), guarded(vec![precondition], text));
        async move { inner.write(write, ALWAYS).await }
    };
    let (written, has, has_not) = world.namespace.runtime.block_on(async {
        let schema = Arc::clone(&world.namespace.inner);
        let schema = tokio::spawn(async move { schema.write_schema(new, ALWAYS).await });
        let has = tokio::spawn(ask(has("document:a", "view", "user:ann"), "document:b#viewer@user:tom"));
        let has_not =
            tokio::spawn(ask(has_not("document:a", "view", "user:ann"), "document:c#viewer@user:tom"));
        (schema.await.unwrap(), has.await.unwrap(), has_not.await.unwrap())
    });
    let schema = written.unwrap();
    assert_eq!(has.unwrap(), schema.next());
    assert!(matches!(has_not, Err(ReplicaError::PermissionPreconditionFailed { .. })), "{has_not:?}");
    let after = Revision(schema.0 - 1);
    let appended = world.namespace.runtime.block_on(world.log.read(after, usize::MAX)).unwrap();
    assert_eq!(appended.iter().filter(|s| s.writer == appended[0].writer).count(), 2);
}

#[test]
fn a_request_that_no_entry_holds_leaves_nothing_to_the_later_ones_of_its_batch() {
    let world = World::with(Options { entry_bytes_max: 5_000, ..Options::default() });
    let mut large = write(Operation::Touch, &["document:a#viewer@user:tom"]);
    large.metadata = Context::from_json(&format!(r#"{{"why":"{}"}}"#, "x".repeat(9_000))).unwrap();
    let free = vec![has_not("document:a", "view", "user:tom")];
    let answers = all_at_once(
        &world.namespace,
        vec![
            write(Operation::Touch, &["document:z#viewer@user:tom"]),
            large,
            guarded(free.clone(), "document:a#viewer@user:tom"),
            guarded(free, "document:b#viewer@user:tom"),
        ],
    );
    assert!(matches!(answers[1], Err(ReplicaError::TooLarge { .. })), "{answers:?}");
    assert!(answers[2].is_ok(), "{answers:?}");
    assert!(matches!(answers[3], Err(ReplicaError::PermissionPreconditionFailed { .. })), "{answers:?}");
    assert_eq!(world.texts(), ["document:a#viewer@user:tom", "document:z#viewer@user:tom"]);
}

fn all_at_once(namespace: &Driven, requests: Vec<Write>) -> Vec<Result<Revision, ReplicaError>> {
    namespace.runtime.block_on(async {
        let ask = |request| {
            let inner: Arc<Namespace> = Arc::clone(&namespace.inner);
            tokio::spawn(async move { inner.write(request, ALWAYS).await })
        };
        let writing: Vec<_> = requests.into_iter().map(ask).collect();
        let mut answers = Vec::new();
        for writing in writing {
            answers.push(writing.await.unwrap());
        }
        answers
    })
}
