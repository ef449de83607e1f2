use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn tenancy(tenant: u64, namespace: u64) -> Tenancy {
    Tenancy { tenant: LogId(tenant), namespace: LogId(namespace) }
}

/// Takes turns of a millisecond for as long as any waits; who had them, in order.
fn order(
    turns: &mut Turns,
    waiting: &mut Vec<(Tenancy, u64)>,
    first: Tenancy,
    took: &[(u64, u64)],
) -> Vec<u64> {
    let (mut had, mut running) = (Vec::new(), first);
    loop {
        let milliseconds =
            took.iter().find(|(id, _)| *id == running.namespace.0).map_or(1, |(_, took)| *took);
        had.push(running.namespace.0);
        turns.give_back(running, Duration::from_millis(milliseconds), Instant::now());
        let called = waiting.iter().position(|(tenancy, ticket)| turns.waiter(*tenancy, *ticket).is_none());
        let Some(called) = called else { return had };
        running = waiting.remove(called).0;
    }
}

fn crowd(turns: &mut Turns, who: &[(u64, u64)]) -> Vec<(Tenancy, u64)> {
    let waker = Waker::noop();
    who.iter()
        .map(|(tenant, namespace)| {
            let tenancy = tenancy(*tenant, *namespace);
            (tenancy, turns.take(tenancy, waker, Instant::now()).expect("no turn is free"))
        })
        .collect()
}

#[test]
fn a_tenant_with_much_to_do_waits_for_one_with_little() {
    let mut turns = Turns { free: 1, ..Turns::default() };
    assert_eq!(turns.take(tenancy(1, 1), Waker::noop(), Instant::now()), None);
    let mut waiting = crowd(&mut turns, &[(1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (1, 1), (2, 2)]);
    let had = order(&mut turns, &mut waiting, tenancy(1, 1), &[]);
    assert_eq!(had, [1, 2, 1, 2, 1, 1, 1, 1]);
    assert_eq!(turns.free, 1);
}

#[test]
fn whose_turns_take_longer_has_fewer_of_them() {
    let mut turns = Turns { free: 1, ..Turns::default() };
    assert_eq!(turns.take(tenancy(1, 1), Waker::noop(), Instant::now()), None);
    let mut waiting = crowd(&mut turns, &[(1, 1), (1, 1), (2, 2), (2, 2), (2, 2), (2, 2), (2, 2), (2, 2)]);
    let had = order(&mut turns, &mut waiting, tenancy(1, 1), &[(1, 3), (2, 1)]);
    assert_eq!(had, [1, 2, 2, 2, 1, 2, 2, 2, 1]);
}

#[test]
fn more_namespaces_are_no_more_of_a_tenant_and_take_turns_within_it() {
    let mut turns = Turns { free: 1, ..Turns::default() };
    assert_eq!(turns.take(tenancy(1, 11), Waker::noop(), Instant::now()), None);
    let mut waiting = crowd(&mut turns, &[(1, 11), (1, 11), (1, 12), (1, 13), (2, 20), (2, 20)]);
    let had = order(&mut turns, &mut waiting, tenancy(1, 11), &[]);
    assert_eq!(had, [11, 20, 11, 20, 12, 13, 11]);
}

#[test]
fn who_was_away_has_no_claim_on_what_was_not_used() {
    let mut turns = Turns { free: 1, ..Turns::default() };
    for _ in 0..100 {
        assert_eq!(turns.take(tenancy(1, 1), Waker::noop(), Instant::now()), None);
        turns.give_back(tenancy(1, 1), Duration::from_millis(1), Instant::now());
    }
    assert_eq!(turns.take(tenancy(1, 1), Waker::noop(), Instant::now()), None);
    let mut waiting = crowd(&mut turns, &[(2, 2), (2, 2), (2, 2), (1, 1), (1, 1)]);
    let had = order(&mut turns, &mut waiting, tenancy(1, 1), &[]);
    assert_eq!(had, [1, 2, 1, 2, 1, 2]);
}

#[test]
fn a_turn_that_nobody_comes_for_goes_on_to_the_next() {
    let mut turns = Turns { free: 1, ..Turns::default() };
    assert_eq!(turns.take(tenancy(1, 1), Waker::noop(), Instant::now()), None);
    let waiting = crowd(&mut turns, &[(2, 2), (3, 3), (4, 4)]);
    assert!(!turns.leave(waiting[0].0, waiting[0].1));
    turns.give_back(tenancy(1, 1), Duration::from_millis(1), Instant::now());
    // Called, and left before it came.
    assert!(turns.leave(waiting[1].0, waiting[1].1));
    turns.give_back(waiting[1].0, Duration::ZERO, Instant::now());
    assert!(turns.is_called(waiting[2].0, waiting[2].1, Waker::noop()));
    turns.give_back(waiting[2].0, Duration::ZERO, Instant::now());
    assert_eq!(turns.free, 1);
    assert!(turns.tenants.iter().all(Tenant::is_away));
}

#[test]
fn of_a_tenant_whose_work_waits_too_long_more_is_refused_and_of_no_other() {
    let (mut turns, began) = (Turns { free: 1, ..Turns::default() }, Instant::now());
    let (greedy, other) = (tenancy(1, 1), tenancy(2, 2));
    assert_eq!(turns.take(greedy, Waker::noop(), began), None);
    for _ in 0..100 {
        assert!(turns.take(greedy, Waker::noop(), began).is_some());
    }
    // Turns of 50 ms: after half a second whoever is called has waited too long, and a second later that is too much.
    let mut refused_after = None;
    for turn in 1..=60 {
        let at = began + Duration::from_millis(50 * turn);
        turns.give_back(greedy, Duration::from_millis(50), at);
        assert!(turns.take(greedy, Waker::noop(), began).is_some());
        assert_eq!(turns.refuses(other, at), None);
        if turns.refuses(greedy, at).is_some() {
            refused_after = refused_after.or(Some(turn * 50));
        }
    }
    assert_eq!(refused_after, Some(1_600));
    // It ends with the crowd.
    let mut at = began + Duration::from_secs(4);
    while turns.free == 0 {
        turns.give_back(greedy, Duration::from_millis(1), at);
        at += Duration::from_millis(1);
    }
    assert_eq!(turns.refuses(greedy, at), None);
}

/// So many of each namespace wait since a moment, one turn of a second is taken after the other, and whoever is called comes
/// again; for how many seconds.
fn crowded(waiting: &[(Tenancy, usize)], seconds: u64) -> (Turns, Instant) {
    let (mut turns, began) = (Turns { free: 1, ..Turns::default() }, Instant::now());
    let first = waiting[0].0;
    assert_eq!(turns.take(first, Waker::noop(), began), None);
    let mut tickets = Vec::new();
    for (tenancy, count) in waiting {
        tickets.extend((0..*count).map(|_| (*tenancy, turns.take(*tenancy, Waker::noop(), began).unwrap())));
    }
    let (mut running, mut at) = (first, began);
    for _ in 0..seconds {
        at += Duration::from_secs(1);
        turns.give_back(running, Duration::from_secs(1), at);
        let called = tickets.iter().position(|(tenancy, ticket)| turns.waiter(*tenancy, *ticket).is_none());
        running = tickets.remove(called.unwrap()).0;
        tickets.push((running, turns.take(running, Waker::noop(), at).unwrap()));
    }
    (turns, at)
}

#[test]
fn few_are_no_crowd_however_long_they_wait() {
    let few = tenancy(1, 1);
    // Whoever is called waits no more, so that one less than these is left behind.
    let (turns, at) = crowded(&[(few, CROWD_MIN)], 60);
    assert_eq!(turns.refuses(few, at), None);
    let (turns, at) = crowded(&[(few, CROWD_MIN + 1)], 60);
    assert!(turns.refuses(few, at).is_some());
}

#[test]
fn a_namespace_is_not_refused_for_a_crowd_of_its_sibling() {
    let (greedy, sibling) = (tenancy(1, 11), tenancy(1, 12));
    // The sibling's own come to their turn soon: that tells nothing of the crowd beside it.
    let (mut turns, at) = crowded(&[(greedy, 60), (sibling, 2)], 120);
    assert_eq!(turns.refuses(sibling, at), None);
    assert!(turns.refuses(greedy, at).is_some());
    // When nobody waits any more, nothing is known of a crowd.
    let tickets: Vec<_> = turns.tenants[0]
        .namespaces
        .iter()
        .flat_map(|(id, waiting)| waiting.iter().map(|waiter| (tenancy(1, id.0), waiter.ticket)))
        .collect();
    for (tenancy, ticket) in tickets {
        turns.leave(tenancy, ticket);
    }
    assert_eq!(turns.tenants[0].waiting, 0);
    crowd(&mut turns, &[(1, 11); 40]);
    assert_eq!(turns.refuses(greedy, at), None);
}

#[test]
fn a_crowd_that_is_spread_over_many_namespaces_is_one() {
    let spread: Vec<_> = (0..100).map(|namespace| (tenancy(1, 100 + namespace), 1)).collect();
    let (turns, at) = crowded(&spread, 300);
    let refused = spread.iter().filter(|(tenancy, _)| turns.refuses(*tenancy, at).is_some()).count();
    assert_eq!(refused, 100);
    assert_eq!(turns.refuses(tenancy(1, 1), at), None, "of which nothing waits");
}

#[test]
fn all_that_is_begun_ends_or_is_left_and_never_more_runs_than_there_are_turns() {
    let lane = Lane::start(2, || ()).unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..200u64 {
            let place = place(&lane, tenancy(number % 5, number % 7));
            let running = Arc::clone(&running);
            tasks.push(place.spawn(async move {
                for _ in 0..20 {
                    assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
                    std::hint::black_box((0..500u64).sum::<u64>());
                    running.fetch_sub(1, Ordering::SeqCst);
                    yield_turn().await;
                }
                number
            }));
        }
        for (number, task) in tasks.into_iter().enumerate() {
            match number % 3 {
                0 => task.abort(),
                _ => assert_eq!(task.await.unwrap(), number as u64),
            }
        }
        // What was left gave back what it had; ending takes a moment.
        for _ in 0..1_000 {
            if lane.turns().free == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("a turn is lost: {:?}", lane.turns());
    });
}

fn place(lane: &Arc<Lane>, tenancy: Tenancy) -> Place {
    let (lane, load) = (Arc::clone(lane), Arc::default());
    Place { lane, tenancy, load, is_refusable: true, is_counted: false }
}

#[test]
fn one_task_of_a_tenant_has_as_much_as_all_of_another() {
    let lane = Lane::start(1, || ()).unwrap();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (many, alone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let endless = |turns: &Arc<AtomicUsize>| {
        let turns = Arc::clone(turns);
        async move {
            loop {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(1) {}
                turns.fetch_add(1, Ordering::SeqCst);
                yield_turn().await;
            }
        }
    };
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..400 {
            tasks.push(place(&lane, tenancy(1, 1)).spawn(endless(&many)));
        }
        tasks.push(place(&lane, tenancy(2, 2)).spawn(endless(&alone)));
        while many.load(Ordering::SeqCst) + alone.load(Ordering::SeqCst) < 400 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for task in tasks {
            task.abort();
        }
    });
    // Half. If each task had its share it would be one.
    let alone = alone.load(Ordering::SeqCst);
    assert!(alone >= 150, "{alone} turns of 400");
}
