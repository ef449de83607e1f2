//! What lasts: trimming, deletion, reopening, many logs.

use idhini_model::Revision;

use super::{LOG, Stores, all, append_somewhere, batch, by, texts};
use crate::{AppendError, Head, LogError, LogId, Store, Writer};

pub async fn what_is_trimmed_is_gone_and_the_head_stays(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    log.append(Revision(0), by(1, &["a", "b", "c", "d"])).await.unwrap();
    log.trim(Revision(3)).await.unwrap();
    // Trimming less than before changes nothing.
    log.trim(Revision(2)).await.unwrap();
    let head =
        Head { revision: Revision(4), oldest: Revision(3), writer: Some(Writer { id: 1, sequence: 1 }) };
    assert_eq!(log.head().await.unwrap(), head);
    let trimmed = log.read(Revision(1), 100).await.unwrap_err();
    let is_trimmed = matches!(trimmed, LogError::Trimmed { asked: Revision(2), oldest: Revision(3) });
    assert!(is_trimmed, "{trimmed:?}");
    assert_eq!(texts(&all(&*log, Revision(2)).await), [(3, "c".into()), (4, "d".into())]);
    let beyond = log.trim(Revision(6)).await.unwrap_err();
    let is_beyond = matches!(beyond, LogError::BeyondHead { asked: Revision(6), head: Revision(4) });
    assert!(is_beyond, "{beyond:?}");
    // A trim lasts at the latest when something after it does.
    log.append(Revision(4), by(2, &["e"])).await.unwrap();
    let store = stores.reopened(store).await;
    let log = store.log(LOG);
    let head = log.head().await.unwrap();
    assert_eq!((head.oldest, head.revision), (Revision(3), Revision(5)));
    assert_eq!(all(&*log, Revision(2)).await.len(), 3);
}

pub async fn a_log_trimmed_to_its_head_goes_on(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    log.append(Revision(0), by(1, &["a", "b"])).await.unwrap();
    log.trim(Revision(3)).await.unwrap();
    let writer = Some(Writer { id: 1, sequence: 1 });
    let head = Head { revision: Revision(2), oldest: Revision(3), writer };
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.read(Revision(2), 100).await.unwrap(), []);
    assert_eq!(store.logs().await.unwrap(), [LOG]);
    // Something else makes the trim last.
    store.log(LogId(8)).append(Revision(0), by(1, &["x"])).await.unwrap();
    let store = stores.reopened(store).await;
    let log = store.log(LOG);
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.append(Revision(2), by(2, &["c"])).await.unwrap(), Revision(3));
    assert_eq!(texts(&all(&*log, Revision(2)).await), [(3, "c".into())]);
}

pub async fn a_deleted_log_is_gone_for_good(stores: &dyn Stores) {
    let store = stores.fresh().await;
    let log = store.log(LOG);
    let never_used = LogId(9);
    log.append(Revision(0), by(1, &["a"])).await.unwrap();
    store.log(LogId(8)).append(Revision(0), by(1, &["kept"])).await.unwrap();
    let waits = {
        let log = store.log(LOG);
        tokio::spawn(async move { log.grown(Revision(100)).await })
    };
    tokio::task::yield_now().await;
    store.delete(LOG).await.unwrap();
    store.delete(never_used).await.unwrap();
    store.delete(LOG).await.unwrap();
    let waited = waits.await.unwrap().unwrap_err();
    assert!(matches!(waited, LogError::Deleted { log: LOG }), "{waited:?}");
    deleted(&*store, &[LOG, never_used]).await;
    let store = stores.reopened(store).await;
    deleted(&*store, &[LOG, never_used]).await;
}

async fn deleted(store: &dyn Store, ids: &[LogId]) {
    for id in ids {
        let log = store.log(*id);
        assert!(matches!(log.head().await, Err(LogError::Deleted { .. })));
        assert!(matches!(log.read(Revision(0), 100).await, Err(LogError::Deleted { .. })));
        assert!(matches!(log.trim(Revision(1)).await, Err(LogError::Deleted { .. })));
        assert!(matches!(log.grown(Revision(0)).await, Err(LogError::Deleted { .. })));
        for head in [0, 1] {
            let refused = log.append(Revision(head), by(2, &["b"])).await;
            assert!(matches!(refused, Err(AppendError::Deleted { .. })), "{refused:?}");
        }
    }
    assert_eq!(store.logs().await.unwrap(), [LogId(8)]);
}

pub async fn a_log_begins_where_it_is_told_to(stores: &dyn Stores) {
    let store = stores.fresh().await;
    store.begin(LOG, Revision(5)).await.unwrap();
    let begun = Head { revision: Revision(5), oldest: Revision(6), writer: None };
    assert_eq!(store.log(LOG).head().await.unwrap(), begun);
    let again = store.begin(LOG, Revision(9)).await.unwrap_err();
    assert!(matches!(again, LogError::Begun { log: LOG, head: Revision(5) }), "{again:?}");
    let store = stores.reopened(store).await;
    let log = store.log(LOG);
    assert_eq!(log.head().await.unwrap(), begun);
    assert_eq!(store.logs().await.unwrap(), [LOG]);
    assert!(matches!(log.read(Revision(4), 100).await, Err(LogError::Trimmed { .. })));
    assert_eq!(log.append(Revision(5), by(1, &["a"])).await.unwrap(), Revision(6));
    assert_eq!(texts(&all(&*log, Revision(5)).await), [(6, "a".into())]);
    drop(log);
    let store = stores.reopened(store).await;
    assert_eq!(texts(&all(&*store.log(LOG), Revision(5)).await), [(6, "a".into())]);
    let deleted = LogId(8);
    store.delete(deleted).await.unwrap();
    let refused = store.begin(deleted, Revision(1)).await.unwrap_err();
    assert!(matches!(refused, LogError::Deleted { .. }), "{refused:?}");
}

pub async fn what_was_appended_is_there_after_reopening(stores: &dyn Stores) {
    let mut store = stores.fresh().await;
    let mut expected = Vec::new();
    for round in 1..=5 {
        let log = store.log(LOG);
        for sequence in 1..=10 {
            let text = format!("{round}.{sequence}");
            let writer = Writer { id: round, sequence };
            let revision = append_somewhere(&*log, batch(writer, &[&text])).await;
            expected.push((revision.0, text));
        }
        drop(log);
        store = stores.reopened(store).await;
        let log = store.log(LOG);
        assert_eq!(texts(&all(&*log, Revision(0)).await), expected);
        let head = log.head().await.unwrap();
        assert_eq!(head.writer, Some(Writer { id: round, sequence: 10 }));
        assert_eq!(head.revision.0, expected.len() as u64);
    }
}

pub async fn many_logs_live_side_by_side(stores: &dyn Stores) {
    const LOGS: u64 = 300;
    let mut store = stores.fresh().await;
    for round in 0..2 {
        let appends: Vec<_> = (0..LOGS)
            .map(|id| {
                let log = store.log(LogId(id));
                let text = format!("{id} in round {round}");
                tokio::spawn(async move { log.append(Revision(round), by(id, &[&text])).await })
            })
            .collect();
        for append in appends {
            assert_eq!(append.await.unwrap().unwrap(), Revision(round + 1));
        }
        store = stores.reopened(store).await;
    }
    assert_eq!(store.logs().await.unwrap(), (0..LOGS).map(LogId).collect::<Vec<_>>());
    for id in 0..LOGS {
        let read = texts(&all(&*store.log(LogId(id)), Revision(0)).await);
        assert_eq!(read, [(1, format!("{id} in round 0")), (2, format!("{id} in round 1"))]);
    }
}
