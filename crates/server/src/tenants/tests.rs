use std::sync::atomic::{AtomicUsize, Ordering};

use idhini_changelog::MemoryStore;
use idhini_model::{Revision, Timestamp};
use idhini_replica::{NodeOptions, Parts};

use super::*;
use crate::auth::Keys;
use crate::seal::SealError;

/// Tenants with at most this many stores, and how many were ever made.
fn tenants(stores_max: usize) -> (Arc<Tenants>, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let new_store: NewStore = Arc::new(move || {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            disk: None,
            clock: Arc::new(|| Timestamp::from_seconds(1)),
            report: Arc::new(|_| {}),
        };
        let node = Arc::new(Node::new(parts, NodeOptions::default()));
        Ok(NewNode { node, namespace: format!("store {number}") })
    });
    let options = Options::for_tests(Keys::default());
    (Arc::new(Offered::new(&Offer::StorePerToken { new_store, stores_max }, &options).of_worker()), made)
}

async fn of(tenants: &Tenants, token: &str) -> Result<Tenant, Code> {
    tenants.of_token(token).await.map_err(|refusal| refusal.code)
}

#[tokio::test]
async fn a_token_finds_its_own_store_again_and_no_other() {
    let (tenants, made) = tenants(10);
    let (one, two) = (of(&tenants, "one").await.unwrap(), of(&tenants, "two").await.unwrap());
    assert!(Arc::ptr_eq(&one.namespace, &of(&tenants, "one").await.unwrap().namespace));
    assert!(!Arc::ptr_eq(&one.namespace, &two.namespace));
    assert_eq!(made.load(Ordering::Relaxed), 2);
    let token = one.sealer.token(Revision(0));
    assert_eq!(one.sealer.open_token(&token), Ok(Revision(0)));
    assert_eq!(two.sealer.open_token(&token), Err(SealError::OtherNamespace));
}

#[tokio::test]
async fn the_store_that_was_idle_for_longest_goes() {
    let (tenants, _) = tenants(2);
    let first = |shared: Tenant| shared.sealer.token(Revision(0));
    let one = first(of(&tenants, "one").await.unwrap());
    let two = first(of(&tenants, "two").await.unwrap());
    assert!(of(&tenants, "one").await.is_ok());
    assert!(of(&tenants, "three").await.is_ok());
    assert!(of(&tenants, "one").await.unwrap().sealer.open_token(&one).is_ok());
    // Now that of "three" went, and "two" begins anew.
    assert_eq!(of(&tenants, "two").await.unwrap().sealer.open_token(&two), Err(SealError::OtherNamespace));
}

#[tokio::test]
async fn a_store_in_use_stays_and_if_all_are_the_next_token_is_refused() {
    let (tenants, made) = tenants(2);
    let one = of(&tenants, "one").await.unwrap();
    drop(of(&tenants, "two").await.unwrap());
    let three = of(&tenants, "three").await.unwrap();
    assert_eq!(of(&tenants, "four").await.err(), Some(Code::ResourceExhausted));
    assert!(Arc::ptr_eq(&one.namespace, &of(&tenants, "one").await.unwrap().namespace));
    drop(three);
    assert!(of(&tenants, "four").await.is_ok());
    assert_eq!(made.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn many_first_calls_of_a_token_make_one_store() {
    let (tenants, made) = tenants(2);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let tenants = tenants.clone();
            tokio::spawn(async move { of(&tenants, "one").await.map(|shared| shared.namespace.clone()) })
        })
        .collect();
    let mut found = Vec::new();
    for call in calls {
        found.push(call.await.unwrap().unwrap());
    }
    assert!(found.iter().all(|namespace| Arc::ptr_eq(namespace, &found[0])));
    assert_eq!(made.load(Ordering::Relaxed), 1);
}
