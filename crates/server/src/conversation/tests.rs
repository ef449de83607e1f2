use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

/// A connection over which so many calls come at once, each of which counts itself when it ends.
fn connection(
    new: &NewCalls,
    ended: &Arc<AtomicUsize>,
    calls: usize,
    call: &impl Fn(usize) -> Call,
) -> std::future::Pending<()> {
    for number in 0..calls {
        let (call, ended) = (call(number), Arc::clone(ended));
        new.execute(async move {
            call.await;
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    std::future::pending()
}

/// How many of so many calls end, at once and after a while.
async fn ended(calls: usize, call: impl Fn(usize) -> Call) -> (usize, usize) {
    let (new, ended) = (NewCalls::default(), Arc::<AtomicUsize>::default());
    let connection = connection(&new, &ended, calls, &call);
    let mut conversation = Conversation::new(connection, new);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut conversation).poll(&mut context).is_pending());
    let at_once = ended.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(200)).await;
    (at_once, ended.load(Ordering::Relaxed))
}

#[tokio::test]
async fn calls_that_do_not_wait_end_at_once() {
    assert_eq!(ended(100, |_| Box::pin(async {})).await, (100, 100));
}

#[tokio::test]
async fn a_call_that_waits_becomes_a_task_and_so_do_those_behind_it() {
    let call = |number: usize| -> Call {
        Box::pin(async move {
            if number == 3 {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    assert_eq!(ended(10, call).await, (3, 10));
}

#[tokio::test]
async fn a_call_that_panics_takes_nobody_with_it() {
    let call =
        |number: usize| -> Call { Box::pin(async move { assert!(number != 2, "as this test wants it") }) };
    // Telling of it takes its time, and so the others may have become tasks.
    assert_eq!(ended(5, call).await.1, 4);
}

#[tokio::test]
async fn calls_that_take_their_time_leave_others_their_turn() {
    let call = |_: usize| -> Call { Box::pin(async { std::thread::sleep(2 * TURN_MAX) }) };
    // One took the turn; the others become tasks.
    let (at_once, in_the_end) = ended(10, call).await;
    assert_eq!((at_once, in_the_end), (1, 10));
}

#[tokio::test]
async fn a_call_that_nobody_takes_anything_of_ends_with_what_it_said() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (new, gone) = (NewCalls::default(), Arc::<AtomicUsize>::default());
    for number in 0..3 {
        let dropped = Dropped(Arc::clone(&gone));
        new.execute(async move {
            let _dropped = dropped;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if number > 0 {
                ends_with(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
            }
            std::future::pending::<()>().await;
        });
    }
    let mut conversation = Conversation::new(std::future::pending::<()>(), new);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut conversation).poll(&mut context).is_pending());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The one that said nothing goes on.
    assert_eq!(gone.load(Ordering::Relaxed), 2);
}

/// A connection that runs its call by itself, as those of HTTP/1 do.
struct Alone(u32);

impl Future for Alone {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0 += 1;
        match self.0 {
            1 => ends_with(Box::pin(tokio::time::sleep(Duration::from_secs(1)))),
            // Another request.
            2 => ends_with(Box::pin(tokio::time::sleep(Duration::from_secs(3)))),
            _ => return Poll::Pending,
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_runs_its_calls_by_itself_is_over_with_the_last_of_them() {
    let begun = Instant::now();
    assert_eq!(Conversation::new(Alone(0), NewCalls::default()).await, None);
    assert_eq!(begun.elapsed().as_secs(), 3);
    let ended = Conversation::new(std::future::ready(7), NewCalls::default()).await;
    assert_eq!(ended, Some(7));
}
