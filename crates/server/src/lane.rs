//! Where is done what takes longer than a worker may be held up?
//!
//! A worker answers what is short and begins everything else. What goes beyond its first portion, or comes with a large
//! request, moves to the *lane*: threads of their own that give way to the workers, on which tenants take turns. So a
//! tenant at its worst takes no more from the others' short calls than a first portion at a time, and from their long ones
//! no more than its share of the lane.
//!
//! # Invariants
//! * No more runs on the lane at a time than it has turns. Who runs next is the tenant that has had least of it; within
//!   a tenant its namespaces take turns, and within a namespace whoever came first is first.
//! * A turn is one look at a task, which evaluates one portion at most; what waits for anything else holds no turn. Who has
//!   not ended then waits for the next one before that is given to anybody.
//! * Of a tenant of whose work too much waits for too long, more is refused, and of no other; and of that tenant, of those
//!   namespaces of which as much waits as of the others.
//! * A tenant that comes back has no claim on what it did not use while it was away.
//!
//! Cost: nothing for what is short; two locks and two looks at the clock for a turn.

mod moving;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use idhini_changelog::LogId;
use tokio::runtime::{self, Handle, Runtime};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

pub(crate) use self::moving::{Moving, MovingBody};

use crate::load::Load;
use crate::refusal::Refusal;

/// Tenants whose use is remembered while nothing of theirs waits or runs.
const REMEMBERED_MAX: usize = 1_024;

/// How long whoever waits for a turn may do so, and for how long they may wait longer before more of the same tenant's is
/// refused.
const WAIT_MAX: Duration = Duration::from_millis(500);
const CROWDED_MAX: Duration = Duration::from_secs(1);
/// Fewer than this of a tenant are no crowd: they wait for others, or for what is long itself.
const CROWD_MIN: usize = 16;
/// When to ask again.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Makes the thread that it is called on give way to others.
pub type GiveWay = fn();

/// The threads, and who waits for them.
#[derive(Debug)]
pub(crate) struct Lane {
    /// None in a lane that runs on somebody else's threads.
    runtime: Option<Runtime>,
    handle: Handle,
    turns: Mutex<Turns>,
}

/// Whose work something is: the namespace, and the highest one that it is in, below `root`. That is the tenant: whoever
/// makes more namespaces below has no more of the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tenancy {
    pub(crate) tenant: LogId,
    pub(crate) namespace: LogId,
}

/// A call's place on the lane, if it comes to that.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) lane: Arc<Lane>,
    pub(crate) tenancy: Tenancy,
    /// Whether the call is one that is refused if too much waits here already.
    pub(crate) is_refusable: bool,
    /// Of the worker that the call came to.
    pub(crate) load: Arc<Load>,
    /// Whether it is no stream, and so counts in that load as under way.
    pub(crate) is_counted: bool,
}

impl Tenancy {
    /// Of calls that are about no namespace, and of servers that have none.
    pub(crate) fn of_nobody() -> Tenancy {
        Tenancy { tenant: LogId(0), namespace: LogId(0) }
    }
}

#[derive(Debug, Default)]
struct Turns {
    free: usize,
    /// Those of whom something waits or runs, and some others.
    tenants: Vec<Tenant>,
    next_ticket: u64,
    /// What the tenant had that was let run last: a tenant that comes begins there.
    now: Duration,
}

#[derive(Debug)]
struct Tenant {
    id: LogId,
    /// What it had of the lane, counted from where it began.
    had: Duration,
    running: usize,
    /// Who waits, of all namespaces together.
    waiting: usize,
    /// Since when those who were called had waited too long.
    crowded_since: Option<Instant>,
    /// Those of which something waits, the next to be called first.
    namespaces: VecDeque<(LogId, VecDeque<Waiter>)>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    waker: Waker,
    since: Instant,
}

/// A task of the lane.
struct Turning<F> {
    work: F,
    place: Place,
    waits: Waits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nowhere,
    /// Until its ticket is called.
    For(u64),
}

impl Turns {
    fn tenant(&mut self, id: LogId) -> &mut Tenant {
        let now = self.now;
        let at = match self.tenants.iter().position(|tenant| tenant.id == id) {
            Some(at) => at,
            None => {
                if self.tenants.len() >= REMEMBERED_MAX {
                    self.tenants.retain(|tenant| !tenant.is_away());
                }
                let (crowded_since, namespaces) = (None, VecDeque::new());
                self.tenants.push(Tenant { id, had: now, running: 0, waiting: 0, crowded_since, namespaces });
                self.tenants.len() - 1
            }
        };
        let tenant = &mut self.tenants[at];
        if tenant.is_away() {
            tenant.had = tenant.had.max(now);
        }
        tenant
    }

    /// A turn at once, if there is one and nobody waits for it; otherwise a ticket.
    fn take(&mut self, tenancy: Tenancy, waker: &Waker, since: Instant) -> Option<u64> {
        if self.free > 0 {
            self.free -= 1;
            let tenant = self.tenant(tenancy.tenant);
            tenant.running += 1;
            self.now = self.now.max(self.least_running());
            return None;
        }
        Some(self.wait(tenancy, waker, since))
    }

    /// A ticket in any case, of whom nobody is woken for yet; called at once if there is a turn.
    fn ask(&mut self, tenancy: Tenancy, since: Instant) -> u64 {
        self.take(tenancy, Waker::noop(), since).unwrap_or_else(|| {
            self.next_ticket += 1;
            self.next_ticket
        })
    }

    fn wait(&mut self, tenancy: Tenancy, waker: &Waker, since: Instant) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let waiter = Waiter { ticket, waker: waker.clone(), since };
        let tenant = self.tenant(tenancy.tenant);
        tenant.waiting += 1;
        let namespaces = &mut tenant.namespaces;
        match namespaces.iter_mut().find(|(id, _)| *id == tenancy.namespace) {
            Some((_, waiting)) => waiting.push_back(waiter),
            None => namespaces.push_back((tenancy.namespace, VecDeque::from([waiter]))),
        }
        ticket
    }

    /// How many of a namespace's wait, and the tenant that it is of, if anything of that is known.
    fn waiting_of(&self, tenancy: Tenancy) -> Option<(usize, &Tenant)> {
        let tenant = self.tenants.iter().find(|tenant| tenant.id == tenancy.tenant)?;
        let own = tenant.namespaces.iter().find(|(id, _)| *id == tenancy.namespace);
        Some((own.map_or(0, |(_, waiting)| waiting.len()), tenant))
    }

    fn refuses(&self, tenancy: Tenancy, at: Instant) -> Option<Duration> {
        let (waiting, tenant) = self.waiting_of(tenancy)?;
        let since = tenant.crowded_since.filter(|_| tenant.is_crowd_of(waiting))?;
        (at.saturating_duration_since(since) > CROWDED_MAX).then_some(RETRY_WAIT)
    }

    /// What the one had that had least, of those of whom something waits or runs.
    fn least_running(&self) -> Duration {
        self.tenants
            .iter()
            .filter(|tenant| !tenant.is_away())
            .map(|tenant| tenant.had)
            .min()
            .unwrap_or_default()
    }

    /// Whether a ticket was called; if not, whom to wake then.
    fn is_called(&mut self, tenancy: Tenancy, ticket: u64, waker: &Waker) -> bool {
        match self.waiter(tenancy, ticket) {
            Some(waiter) => {
                waiter.waker.clone_from(waker);
                false
            }
            None => true,
        }
    }

    fn waiter(&mut self, tenancy: Tenancy, ticket: u64) -> Option<&mut Waiter> {
        let tenant = self.tenants.iter_mut().find(|tenant| tenant.id == tenancy.tenant)?;
        let (_, waiting) = tenant.namespaces.iter_mut().find(|(id, _)| *id == tenancy.namespace)?;
        waiting.iter_mut().find(|waiter| waiter.ticket == ticket)
    }

    /// Somebody no longer waits. Returns whether the ticket was called before.
    fn leave(&mut self, tenancy: Tenancy, ticket: u64) -> bool {
        if self.waiter(tenancy, ticket).is_none() {
            return true;
        }
        let tenant = self.tenant(tenancy.tenant);
        for (_, waiting) in &mut tenant.namespaces {
            waiting.retain(|waiter| waiter.ticket != ticket);
        }
        tenant.namespaces.retain(|(_, waiting)| !waiting.is_empty());
        tenant.no_longer_waits();
        false
    }

    /// A turn is over that took so long; whom to wake.
    fn give_back(&mut self, tenancy: Tenancy, took: Duration, at: Instant) -> Option<Waker> {
        let tenant = self.tenant(tenancy.tenant);
        tenant.running = tenant.running.saturating_sub(1);
        tenant.had = tenant.had.saturating_add(took);
        let waiting = self.tenants.iter_mut().filter(|tenant| !tenant.namespaces.is_empty());
        let Some(next) = waiting.min_by_key(|tenant| tenant.had) else {
            self.free += 1;
            return None;
        };
        next.running += 1;
        let called = next.call(at);
        self.now = self.now.max(next.had);
        called.map(|waiter| waiter.waker)
    }
}

impl Tenant {
    fn is_away(&self) -> bool {
        self.running == 0 && self.namespaces.is_empty()
    }

    /// Whether so many who wait of one of its namespaces are a part of a crowd: no fewer than of the others, on the average.
    fn is_crowd_of(&self, waiting: usize) -> bool {
        self.waiting >= CROWD_MIN && waiting * self.namespaces.len() >= self.waiting
    }

    /// One less waits.
    fn no_longer_waits(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting < CROWD_MIN {
            self.crowded_since = None;
        }
    }

    /// The first who waits, of the namespace whose turn it is.
    fn call(&mut self, at: Instant) -> Option<Waiter> {
        let of_namespace = self.namespaces.front().map_or(0, |(_, waiting)| waiting.len());
        let is_of_crowd = self.is_crowd_of(of_namespace);
        let (id, mut waiting) = self.namespaces.pop_front()?;
        let called = waiting.pop_front()?;
        if !waiting.is_empty() {
            self.namespaces.push_back((id, waiting));
        }
        // Of the others one is called soon however long the crowd is.
        if is_of_crowd {
            match at.saturating_duration_since(called.since) > WAIT_MAX {
                true => drop(self.crowded_since.get_or_insert(at)),
                false => self.crowded_since = None,
            }
        }
        self.no_longer_waits();
        Some(called)
    }
}

impl Lane {
    /// On which so much runs at a time, on threads each of which gives way.
    pub(crate) fn start(at_a_time: usize, give_way: GiveWay) -> io::Result<Arc<Lane>> {
        let runtime = runtime::Builder::new_multi_thread()
            // One is always left that runs nothing: it finds out what else is ready, and has it wait with the others.
            .worker_threads(at_a_time.saturating_add(1))
            .thread_name("lane")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        let (handle, turns) = (runtime.handle().clone(), Turns { free: at_a_time, ..Turns::default() });
        Ok(Arc::new(Lane { runtime: Some(runtime), handle, turns: Mutex::new(turns) }))
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The last one to let go of it may be a task, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Place {
    /// Whether something of the namespace waits here already: what is likely to take long then begins here, too.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.lane.turns().waiting_of(self.tenancy).is_some_and(|(waiting, _)| waiting > 0)
    }

    /// The refusal of a call of whoever has too much waiting here already.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let refuses = || self.lane.turns().refuses(self.tenancy, Instant::now());
        self.is_refusable.then(refuses).flatten().map(Refusal::crowded)
    }

    /// Does something on the lane.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.lane.handle.spawn(self.turning(work))
    }

    /// The same as one of a set.
    pub(crate) fn spawn_in<T: Send + 'static>(
        &self,
        set: &mut JoinSet<T>,
        work: impl Future<Output = T> + Send + 'static,
    ) {
        set.spawn_on(self.turning(work), &self.lane.handle);
    }

    fn turning<F: Future + Send + 'static>(
        &self,
        work: F,
    ) -> impl Future<Output = F::Output> + Send + use<F> {
        // It waits from here on, not from when a thread first looks at it, and is looked at in any case.
        let ticket = self.lane.turns().ask(self.tenancy, Instant::now());
        Turning { work: Box::pin(work), place: self.clone(), waits: Waits::For(ticket) }
    }
}

impl<F: Future + Unpin> Future for Turning<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Turning { work, place: Place { lane, tenancy, .. }, waits } = self.get_mut();
        {
            let mut turns = lane.turns();
            match *waits {
                Waits::Nowhere => {
                    if let Some(ticket) = turns.take(*tenancy, context.waker(), Instant::now()) {
                        *waits = Waits::For(ticket);
                        return Poll::Pending;
                    }
                }
                Waits::For(ticket) if !turns.is_called(*tenancy, ticket, context.waker()) => {
                    return Poll::Pending;
                }
                Waits::For(_) => *waits = Waits::Nowhere,
            }
        }
        // Given back also if the work panics.
        let mut turn = Turn { lane, tenancy: *tenancy, began: Instant::now(), again: None };
        ON_LANE.set(OnLane::Works);
        let polled = Pin::new(work).poll(context);
        if polled.is_pending() && ON_LANE.get() == OnLane::GivesWay {
            turn.again = Some((context.waker(), waits));
        }
        polled
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnLane {
    Not,
    Works,
    GivesWay,
}

thread_local! {
    static ON_LANE: Cell<OnLane> = const { Cell::new(OnLane::Not) };
}

/// Lets others run; on the lane, those whose turn it is.
///
/// There what gives way waits with the others from that moment on. If it waited in the runtime's queue first, as with the
/// runtime's own way to do this, only those would take turns that happen to be ahead of it, and each task would have the same
/// share rather than each tenant.
pub(crate) async fn yield_turn() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if has_given_way || ON_LANE.get() == OnLane::Not {
            return Poll::Ready(());
        }
        has_given_way = true;
        ON_LANE.set(OnLane::GivesWay);
        // Between it and the task there may be those who look only at what was woken.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    if !has_given_way {
        tokio::task::yield_now().await;
    }
}

/// A turn that is taken.
struct Turn<'l> {
    lane: &'l Lane,
    tenancy: Tenancy,
    began: Instant,
    /// Whom to wake for the next turn, and what has its ticket then, if it waits for another.
    again: Option<(&'l Waker, &'l mut Waits)>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        ON_LANE.set(OnLane::Not);
        let ended = Instant::now();
        let took = ended.saturating_duration_since(self.began);
        let next = {
            let mut turns = self.lane.turns();
            if let Some((waker, waits)) = self.again.take() {
                *waits = Waits::For(turns.wait(self.tenancy, waker, ended));
            }
            turns.give_back(self.tenancy, took, ended)
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl<F> Drop for Turning<F> {
    fn drop(&mut self) {
        let Waits::For(ticket) = self.waits else { return };
        let Place { lane, tenancy, .. } = &self.place;
        let next = {
            let mut turns = lane.turns();
            match turns.leave(*tenancy, ticket) {
                // It was called and did not come.
                true => turns.give_back(*tenancy, Duration::ZERO, Instant::now()),
                false => None,
            }
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
