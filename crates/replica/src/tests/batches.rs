//! How much goes into one entry, into one batch, into the queue?

use std::collections::BTreeMap;
use std::sync::Arc;

use idhini_model::{ContextValue, Revision, Timestamp};

use super::{ALWAYS, Driven, World, relationship, write};
use crate::{Namespace, Operation, Options, ReplicaError, Write};

/// A write that takes so many bytes.
fn large(n: usize, bytes: usize) -> Write {
    let mut request = write(Operation::Create, &[&format!("document:d{n}#viewer@user:tom")]);
    request.metadata.0.insert("why".to_owned(), ContextValue::String("x".repeat(bytes)));
    request
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

#[test]
fn a_batch_ends_when_it_is_long_however_many_wait() {
    let world = World::new();
    let answers = all_at_once(&world.namespace, (0..40).map(|n| large(n, 800 << 10)).collect());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let appended = world.namespace.runtime.block_on(world.log.read(Revision(1), usize::MAX)).unwrap();
    let mut batches: BTreeMap<u64, usize> = BTreeMap::new();
    for stored in &appended {
        let bytes: usize = stored.record.chunks.iter().map(bytes::Bytes::len).sum();
        *batches.entry(stored.writer.sequence).or_default() += bytes;
    }
    let longest = batches.into_values().max().unwrap();
    assert!((7 << 20..10 << 20).contains(&longest), "{longest} bytes");
}

#[test]
fn what_waits_takes_bounded_memory_and_none_when_it_is_answered() {
    let world = World::with(Options { waiting_bytes_max: 20_000, ..Options::default() });
    for round in 0..3 {
        let answers = all_at_once(&world.namespace, (0..50).map(|n| large(round * 50 + n, 1_000)).collect());
        let good = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!((10..20).contains(&good), "{good}");
        let refused = |answer: &ReplicaError| matches!(answer, ReplicaError::BusyBytes { bytes_max: 20_000 });
        assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(refused), "{answers:?}");
    }
    // One that is larger has its turn when nobody else waits.
    world.namespace.write(large(1_000, 30_000), ALWAYS).unwrap();
}

#[test]
fn a_request_that_no_entry_holds_is_refused_alone_and_says_what_to_do() {
    let world = World::with(Options { entry_bytes_max: 1_500, ..Options::default() });
    let requests = vec![large(0, 100), large(1, 6_000), large(2, 100)];
    let answers: Vec<_> = all_at_once(&world.namespace, requests)
        .into_iter()
        .map(|answer| answer.map_err(|error| error.to_string()))
        .collect();
    let [Ok(Revision(2)), Err(refused), Ok(Revision(3))] = &answers[..] else { panic!("{answers:?}") };
    assert!(refused.contains("may take 1500; send it as several"), "{refused}");
    let many = (0..500).map(|n| relationship(&format!("document:m{n}#viewer@user:tom"))).collect();
    assert!(world.refused(|n| n.import(many, ALWAYS)).contains("send it as several"));
    assert_eq!(world.texts().len(), 2);
}

#[test]
fn an_import_that_was_refused_is_refused_again_if_another_writer_was_first() {
    let options = Options { entry_bytes_max: 1_500, ..Options::default() };
    let world = World::with(options);
    let clock = Arc::new(|| Timestamp::from_seconds(1));
    let other = Driven::open(Arc::clone(&world.log), clock, Options { writer_id: 2, ..options });
    other.write(write(Operation::Create, &["document:other#viewer@user:tom"]), ALWAYS).unwrap();
    let namespace = &world.namespace;
    let many: Vec<_> = (0..500).map(|n| relationship(&format!("document:m{n}#viewer@user:tom"))).collect();
    let (imported, written) = namespace.runtime.block_on(async {
        let importing = Arc::clone(&namespace.inner);
        let importing = tokio::spawn(async move { importing.import(many, ALWAYS).await });
        let writing = Arc::clone(&namespace.inner);
        let writing = tokio::spawn(async move { writing.write(large(0, 10), ALWAYS).await });
        (importing.await.unwrap(), writing.await.unwrap())
    });
    assert!(matches!(imported, Err(ReplicaError::TooLarge { bytes_max: 1_500, .. })), "{imported:?}");
    assert_eq!(written.unwrap(), Revision(3));
}
