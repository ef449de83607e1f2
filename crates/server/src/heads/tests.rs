use idhini_changelog::{LogId, MemoryStore, Store as _};
use idhini_model::Timestamp;
use idhini_replica::{Options, Wanted};

use super::*;
use crate::seal::SealOptions;

async fn namespace() -> (Arc<Namespace>, Sealer) {
    let log = MemoryStore::new().log(LogId(1));
    let clock = Arc::new(|| Timestamp::from_seconds(1));
    let namespace = Namespace::open(log, None, clock, Options::default()).await.unwrap();
    let seal = SealOptions { key: [7; 32], key_id: 1, store: 2, timeline: 1, namespace: String::new() };
    (namespace, Sealer::new(&seal))
}

async fn change(namespace: &Arc<Namespace>, name: &str) {
    let schema = format!("definition {name} {{}}");
    namespace.write_schema(schema, Wanted::always()).await.unwrap();
}

#[tokio::test]
async fn what_is_published_is_seen_by_every_worker_and_else_nothing_is_made_anew() {
    let (namespace, sealer) = namespace().await;
    let workers = [Heads::of_worker(None), Heads::of_worker(None)];
    let newest = |heads: &Heads| heads.newest(&namespace, &sealer);
    for number in 0..5 {
        change(&namespace, &format!("user{number}")).await;
        for heads in &workers {
            let head = newest(heads);
            assert_eq!(head.published.revision(), namespace.head().revision());
            assert_eq!(sealer.open_token(&head.token), Ok(head.published.revision()));
            assert!(Arc::ptr_eq(&head, &newest(heads)));
        }
    }
}

#[tokio::test]
async fn an_old_head_is_held_by_nobody_after_a_round() {
    let (namespace, sealer) = namespace().await;
    let heads = Heads::of_worker(None);
    change(&namespace, "one").await;
    let first = Arc::downgrade(&heads.newest(&namespace, &sealer));
    heads.tidy(&namespace, &sealer);
    assert!(first.upgrade().is_some());
    change(&namespace, "two").await;
    heads.tidy(&namespace, &sealer);
    assert!(first.upgrade().is_none());
    // Nor is there an unbounded number of them between two rounds.
    let mut held = Vec::new();
    for number in 0..2 * GONE_MAX {
        change(&namespace, &format!("user{number}")).await;
        held.push(Arc::downgrade(&heads.newest(&namespace, &sealer)));
    }
    assert!(held.iter().filter(|head| head.upgrade().is_some()).count() <= GONE_MAX + 1);
}
