//! Appending: on a condition, all or none, by several writers.

use std::collections::BTreeSet;

use bytes::Bytes;
use idhini_model::Revision;

use super::{LOG, LosesAnswers, Stores, all, append_somewhere, batch, by, texts};
use crate::{AppendError, Batch, CHUNK_BYTES_MAX, Head, LogId, Record, Writer};

pub async fn a_log_that_nothing_was_appended_to_is_empty(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let empty = Head { revision: Revision(0), oldest: Revision(1), writer: None };
    assert_eq!(log.head().await.unwrap(), empty);
    assert_eq!(log.read(Revision(0), 1000).await.unwrap(), []);
    assert_eq!(store.logs().await.unwrap(), []);
    log.trim(Revision(1)).await.unwrap();
    assert_eq!(log.head().await.unwrap(), empty);
}

pub async fn entries_get_dense_revisions_in_order(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    assert_eq!(log.append(Revision(0), by(1, &["a", "b"])).await.unwrap(), Revision(2));
    assert_eq!(log.append(Revision(2), by(2, &["c"])).await.unwrap(), Revision(3));
    let read = all(&*log, Revision(0)).await;
    assert_eq!(texts(&read), [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
    let writers: Vec<u64> = read.iter().map(|stored| stored.writer.id).collect();
    assert_eq!(writers, [1, 1, 2]);
    let writer = Some(Writer { id: 2, sequence: 1 });
    assert_eq!(log.head().await.unwrap(), Head { revision: Revision(3), oldest: Revision(1), writer });
    assert_eq!(store.logs().await.unwrap(), [LOG]);
}

pub async fn an_append_to_another_head_is_refused_and_writes_nothing(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    log.append(Revision(0), by(1, &["a"])).await.unwrap();
    for wrong in [0, 2, u64::MAX] {
        let refused = log.append(Revision(wrong), by(2, &["b"])).await.unwrap_err();
        assert!(matches!(refused, AppendError::HeadMoved { head: Revision(1) }), "{refused:?}");
    }
    assert_eq!(texts(&all(&*log, Revision(0)).await), [(1, "a".into())]);
    assert_eq!(log.head().await.unwrap().writer, Some(Writer { id: 1, sequence: 1 }));
}

pub async fn a_batch_that_is_none_is_refused(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let writer = Writer { id: 1, sequence: 1 };
    let too_long = Bytes::from(vec![1; CHUNK_BYTES_MAX + 1]);
    let wrong = [
        vec![],
        vec![Record { chunks: vec![] }],
        vec![Record { chunks: vec![Bytes::new()] }],
        vec![Record { chunks: vec![Bytes::from("a"), too_long] }],
    ];
    for records in wrong {
        let refused = log.append(Revision(0), Batch { writer, records }).await.unwrap_err();
        assert!(matches!(refused, AppendError::Malformed { .. }), "{refused:?}");
    }
    assert_eq!(log.head().await.unwrap().revision, Revision(0));
}

/// A caller may build on a batch of its own that is not answered yet; both are there, or the first alone, or neither.
pub async fn appends_that_build_on_each_other_may_wait_together(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let (first, second, third) = tokio::join!(
        log.append(Revision(0), by(1, &["a", "b"])),
        log.append(Revision(2), by(2, &["c"])),
        log.append(Revision(2), by(3, &["never"])),
    );
    assert_eq!(first.unwrap(), Revision(2));
    assert_eq!(second.unwrap(), Revision(3));
    assert!(matches!(third, Err(AppendError::HeadMoved { .. })), "{third:?}");
    assert_eq!(texts(&all(&*log, Revision(2)).await), [(3, "c".into())]);
}

pub async fn writers_of_one_log_take_turns(stores: &dyn Stores) {
    const WRITERS: u64 = 8;
    const BATCHES: u64 = 20;
    let store = stores.fresh().await;
    let tasks: Vec<_> = (1..=WRITERS)
        .map(|id| {
            let log = store.log(LOG);
            tokio::spawn(async move {
                for sequence in 1..=BATCHES {
                    let texts = [format!("{id}.{sequence}.0"), format!("{id}.{sequence}.1")];
                    let texts = [texts[0].as_str(), texts[1].as_str()];
                    append_somewhere(&*log, batch(Writer { id, sequence }, &texts)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let read = all(&*store.log(LOG), Revision(0)).await;
    assert_eq!(read.len() as u64, 2 * WRITERS * BATCHES);
    for (pair, revision) in read.chunks(2).zip((1..).step_by(2)) {
        let Writer { id, sequence } = pair[0].writer;
        let expected =
            [(revision, format!("{id}.{sequence}.0")), (revision + 1, format!("{id}.{sequence}.1"))];
        assert_eq!(texts(pair), expected, "a batch is whole and in one piece");
    }
    for id in 1..=WRITERS {
        let mine = read.iter().filter(|stored| stored.writer.id == id).step_by(2);
        let sequences: Vec<u64> = mine.map(|stored| stored.writer.sequence).collect();
        assert_eq!(
            sequences,
            (1..=BATCHES).collect::<Vec<_>>(),
            "each batch is there once, in its writer's order"
        );
    }
}

pub async fn logs_do_not_see_each_other(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let (one, other) = (store.log(LogId(1)), store.log(LogId(u64::MAX)));
    one.append(Revision(0), by(1, &["one"])).await.unwrap();
    assert_eq!(other.head().await.unwrap().revision, Revision(0));
    other.append(Revision(0), by(1, &["other"])).await.unwrap();
    one.append(Revision(1), by(1, &["one again"])).await.unwrap();
    assert_eq!(texts(&all(&*one, Revision(0)).await), [(1, "one".into()), (2, "one again".into())]);
    assert_eq!(texts(&all(&*other, Revision(0)).await), [(1, "other".into())]);
    assert_eq!(store.logs().await.unwrap(), [LogId(1), LogId(u64::MAX)]);
}

pub async fn a_dropped_append_is_whole_or_absent(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let mut head = Revision(0);
    for sequence in 1..=20 {
        let dropped = {
            let log = store.log(LOG);
            let append = batch(Writer { id: 1, sequence }, &["a", "b", "c"]);
            tokio::spawn(async move { log.append(head, append).await })
        };
        if sequence % 2 == 0 {
            tokio::task::yield_now().await;
        }
        dropped.abort();
        let _ = dropped.await;
        // Whatever became of it, a batch behind it settles that.
        let settled = append_somewhere(&*log, batch(Writer { id: 2, sequence }, &["settled"])).await;
        assert!([1, 4].contains(&(settled.0 - head.0)), "{settled:?} after {head:?}");
        head = settled;
    }
    let read = all(&*log, Revision(0)).await;
    let sequences: BTreeSet<u64> =
        read.iter().filter(|stored| stored.writer.id == 1).map(|stored| stored.writer.sequence).collect();
    let count = read.iter().filter(|stored| stored.writer.id == 1).count();
    assert_eq!(count, 3 * sequences.len());
}

/// Where an append was interrupted, the head tells whose batch stands there, and that stays so.
pub async fn lost_answers_are_settled_by_the_head(stores: &dyn LosesAnswers) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let other = store.log(LogId(8));
    let mut head = log.append(Revision(0), by(1, &["a"])).await.unwrap();
    let mut expected = vec![(1, "a".to_owned())];
    for sequence in 1..=10 {
        let mine = Writer { id: 2, sequence };
        stores.disturb();
        let text = format!("lost {sequence}");
        let lost = log.append(head, batch(mine, &[&text])).await;
        let other_lost = other.append(Revision(0), by(3, &["other"])).await;
        stores.heal();
        let found = log.head().await.unwrap();
        let is_there = found.writer == Some(mine);
        match lost {
            Ok(revision) => assert_eq!(found.revision, revision),
            Err(AppendError::Unknown { .. }) => {}
            Err(AppendError::Unavailable { .. }) => assert!(!is_there, "what was refused is there"),
            Err(error) => panic!("{error}"),
        }
        assert!(other_lost.is_err() || other.head().await.unwrap().revision == Revision(1));
        if is_there {
            expected.push((head.0 + 1, text));
        }
        assert_eq!(found.revision.0, head.0 + u64::from(is_there));
        assert_eq!(texts(&all(&*log, Revision(0)).await), expected);
        head = log.append(found.revision, by(4, &["after"])).await.unwrap();
        expected.push((head.0, "after".to_owned()));
    }
    assert_eq!(texts(&all(&*log, Revision(0)).await), expected);
    let store = stores.reopened(store).await;
    assert_eq!(texts(&all(&*store.log(LOG), Revision(0)).await), expected);
}
