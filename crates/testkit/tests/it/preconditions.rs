//! Checks as preconditions of writes: the namespace against the reference, on the state in the middle of a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use idhini_changelog::{LogId, MemoryStore, Store};
use idhini_model::{Context, Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_replica::{
    Clock, Namespace, Operation, Options, PermissionQuestion, Precondition, ReplicaError, Update, Wanted,
    Write,
};
use idhini_schema::Schema;
use idhini_testkit::campaign::options_of;
use idhini_testkit::generate::{Ask, World, world};
use idhini_testkit::reference::{Answer, Refusal, Tables, Value};

const WORLDS: u64 = 60;
const SEED: u64 = 31_000_000;
/// Questions of one world.
const QUESTIONS_MAX: usize = 40;

/// How a write that only checks ended.
type Verdict = Result<(), Option<(String, Vec<String>)>>;

fn verdict(of: Result<(), ReplicaError>) -> Verdict {
    match of {
        Ok(()) => Ok(()),
        Err(ReplicaError::PermissionPreconditionFailed { answer, .. }) => {
            Err(Some((format!("{:?}", answer.permissionship), answer.missing.into_iter().collect())))
        }
        Err(ReplicaError::Unanswerable(_)) => Err(None),
        Err(other) => panic!("{other}"),
    }
}

/// What the reference says that it should be.
fn wanted(answer: &Result<Answer, Refusal>, must_have: bool) -> Verdict {
    let Ok(answer) = answer else { return Err(None) };
    let missing = answer.missing.iter().cloned().collect();
    match (answer.value, must_have) {
        (Value::Has, true) | (Value::No, false) => Ok(()),
        (value, _) => Err(Some((format!("{value:?}"), missing))),
    }
}

fn updates(operation: Operation, relationships: &[Relationship]) -> Write {
    let update = |relationship: &Relationship| Update { operation, relationship: relationship.clone() };
    Write { updates: relationships.iter().map(update).collect(), ..Write::default() }
}

/// All in one batch, in this order.
async fn together(namespace: &Arc<Namespace>, requests: Vec<Write>) -> Vec<Result<(), ReplicaError>> {
    let asking: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let namespace = Arc::clone(namespace);
            tokio::spawn(async move { namespace.write(request, Wanted::always()).await.map(|_| ()) })
        })
        .collect();
    let mut answers = Vec::new();
    for asking in asking {
        answers.push(asking.await.unwrap());
    }
    answers
}

fn asked(world: &World) -> Vec<(&ResourceRef, &str, &SubjectRef, &Context, Timestamp)> {
    let questions = world.questions.iter().filter_map(|question| {
        let Ask::Check { resource, permission, subject } = &question.ask else { return None };
        let (context, instant) = (&world.contexts[question.context], world.instants[question.instant]);
        Some((resource, permission.as_str(), subject, context, instant))
    });
    questions.take(QUESTIONS_MAX).collect()
}

#[tokio::test]
async fn a_check_in_the_middle_of_a_batch_is_the_references_on_the_state_of_that_place() {
    let mut counts = [0; 4];
    for seed in SEED..SEED + WORLDS {
        let world = world(seed, &options_of(seed));
        let schema = Schema::parse(&world.sketch.text()).unwrap();
        let seconds = Arc::new(AtomicI64::new(world.instants[0].seconds()));
        let clock: Clock = {
            let seconds = Arc::clone(&seconds);
            Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)))
        };
        let log = MemoryStore::new().log(LogId(1));
        let namespace = Namespace::open(log, None, clock, Options::default()).await.unwrap();
        namespace.write_schema(world.sketch.text(), Wanted::always()).await.unwrap();
        let (stay, come) = world.relationships.split_at(world.relationships.len() / 2);
        namespace.write(updates(Operation::Touch, stay), Wanted::always()).await.unwrap();
        let (all, few) =
            (Tables::new(&schema, &world.relationships).unwrap(), Tables::new(&schema, stay).unwrap());
        for (resource, permission, subject, context, instant) in asked(&world) {
            seconds.store(instant.seconds(), Ordering::SeqCst);
            let question = PermissionQuestion {
                resource: resource.clone(),
                permission: permission.to_owned(),
                subject: subject.clone(),
                context: context.clone(),
            };
            let check = |of: fn(PermissionQuestion) -> Precondition| Write {
                preconditions: vec![of(question.clone())],
                ..Write::default()
            };
            let answers = together(
                &namespace,
                vec![
                    updates(Operation::Touch, come),
                    check(Precondition::MustHave),
                    check(Precondition::MustNotHave),
                    updates(Operation::Delete, come),
                    check(Precondition::MustHave),
                    check(Precondition::MustNotHave),
                ],
            )
            .await;
            let mut answers = answers.into_iter();
            for tables in [&all, &few] {
                let reference = tables.view(context, instant).check(resource, permission, subject);
                counts[reference.as_ref().map_or(3, |answer| answer.value as usize)] += 1;
                answers.next().unwrap().unwrap();
                for must_have in [true, false] {
                    let got = verdict(answers.next().unwrap());
                    let text = || format!("seed {seed}: {resource}#{permission}@{subject} {context}");
                    assert_eq!(got, wanted(&reference, must_have), "{}, must have: {must_have}", text());
                }
            }
        }
    }
    // No, conditional, has and no answer: all of them came up.
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}
