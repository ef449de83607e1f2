//! Has a worker more to do than it can? It notices by its own delay, and then answers less, of those who ask most.
//!
//! A worker looks now and then how long it takes until something that is ready is run. As long as that stays over a target,
//! for longer than a burst lasts, it refuses a growing share of the calls of tenants that use more than an equal share of
//! it, what they were refused included; when these are refused altogether, and only then, of all. The share falls again as soon as the delay does (the idea
//! of CoDel: what counts is not how long the queue gets, but that it does not go away).
//!
//! # Invariants
//! * Nothing is refused before the delay was over the target for longer than a burst, whatever the number of calls; nor
//!   who is no crowd, whatever the delay.
//! * Who uses no more than an equal share is refused nothing as long as somebody else can be refused more.
//! * What is refused is spread evenly: of a share of a third, every third call.
//!
//! Cost: a look at a number for each call while there is no delay.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idhini_changelog::LogId;

/// How often a worker looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A delay that is no reason for anything. Timers are late by up to a millisecond by themselves.
const TARGET: Duration = Duration::from_millis(20);
/// Fewer calls than this under way are no crowd: a delay has other reasons then, and refusing them would not end it.
const CROWD_MIN: u64 = 16;
/// How long a burst may take to go away.
const BURST_MAX: Duration = Duration::from_millis(100);
/// What a look adds to the share that is refused for each target that the delay is, or takes from it.
const RISE: f64 = 0.04;
const RISE_TIMES_MAX: f64 = 8.0;
const FALL: f64 = 0.02;
/// What is left of what was used, after each look: half after a quarter of a second.
const FADING: f64 = 0.95;
/// Use below which a tenant is forgotten.
const USE_MIN: f64 = 0.5;
/// Edges that take about as long as a call without any.
const EDGES_PER_CALL: f64 = 200.0;
/// When to ask again: sooner if little is refused.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MORE: Duration = Duration::from_millis(900);

/// How much a worker has to do.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Whether it is worth knowing who uses it.
    is_delayed: AtomicBool,
    /// Calls that were let in and have not ended, without streams.
    under_way: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At the last look.
    delay: Duration,
    /// For how long the delay has been over the target.
    delayed: Duration,
    /// The share of calls that is refused: up to 1 of those who use most, beyond that also of the others.
    refused: f64,
    users: HashMap<LogId, User>,
    used: f64,
}

#[derive(Debug, Default)]
struct User {
    used: f64,
    /// What is due to be refused, up to 1.
    due: f64,
}

impl Load {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker has looked, so long after it did before: something that was ready waited for `delay`.
    pub(crate) fn felt(&self, delay: Duration, since: Duration) {
        if delay < TARGET && !self.is_delayed.load(Relaxed) {
            return;
        }
        let mut state = self.state();
        state.fade();
        let is_growing = delay >= state.delay;
        state.delay = delay;
        if delay < TARGET {
            state.delayed = Duration::ZERO;
            state.refused = (state.refused - FALL).max(0.0);
        } else {
            state.delayed = state.delayed.saturating_add(since);
            // What was let in before takes its time to be answered.
            if state.delayed > BURST_MAX && is_growing {
                let times = delay.div_duration_f64(TARGET).min(RISE_TIMES_MAX);
                state.refused = (state.refused + RISE * times).min(2.0);
            }
        }
        let is_over = delay < TARGET && state.refused == 0.0;
        if is_over {
            *state = State::default();
        }
        self.is_delayed.store(!is_over, Relaxed);
    }

    /// A call was let in that is no stream.
    pub(crate) fn began(&self) {
        self.under_way.fetch_add(1, Relaxed);
    }

    /// It has ended.
    pub(crate) fn ended(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// A call of a tenant has ended that visited so much.
    pub(crate) fn used(&self, tenant: LogId, edges: u64) {
        if self.is_delayed.load(Relaxed) {
            let mut state = self.state();
            let used = 1.0 + edges as f64 / EDGES_PER_CALL;
            state.used += used;
            state.users.entry(tenant).or_default().used += used;
        }
    }

    /// Whether a call of a tenant is refused, and when it may be made again.
    pub(crate) fn refuses(&self, tenant: LogId) -> Option<Duration> {
        if !self.is_delayed.load(Relaxed) || self.under_way.load(Relaxed) < CROWD_MIN {
            return None;
        }
        let mut state = self.state();
        let (refused, equal) = (state.refused, state.used / state.users.len().max(1) as f64);
        if refused == 0.0 {
            return None;
        }
        let user = state.users.entry(tenant).or_default();
        // Alone, a tenant has an equal share.
        let share = if user.used >= equal { refused.min(1.0) } else { (refused - 1.0).max(0.0) };
        user.due += share;
        if user.due < 1.0 {
            return None;
        }
        user.due -= 1.0;
        // Who goes on asking is not taken for one who asks little.
        user.used += 1.0;
        state.used += 1.0;
        Some(WAIT_MIN + WAIT_MORE.mul_f64(refused.min(1.0)))
    }
}

impl State {
    fn fade(&mut self) {
        self.users.retain(|_, user| {
            user.used *= FADING;
            user.used >= USE_MIN
        });
        self.used = self.users.values().map(|user| user.used).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const QUIET: LogId = LogId(16);
    const GREEDY: LogId = LogId(17);

    /// A worker that answers a call in a tenth of a millisecond, by a clock that is turned by hand.
    #[derive(Default)]
    struct World {
        load: Load,
        queue: VecDeque<(LogId, u64)>,
        /// In tenths of a millisecond.
        now: u64,
        refused: HashMap<LogId, u64>,
        answered: HashMap<LogId, u64>,
        worst_delay: u64,
    }

    impl World {
        fn ask(&mut self, tenant: LogId) {
            match self.load.refuses(tenant) {
                Some(wait) => {
                    assert!(wait >= WAIT_MIN && wait <= WAIT_MIN + WAIT_MORE);
                    *self.refused.entry(tenant).or_default() += 1;
                }
                None => {
                    self.load.began();
                    self.queue.push_back((tenant, self.now));
                }
            }
        }

        /// Goes on for so many tenths of a millisecond, with so many calls of each in each ten.
        fn go_on(&mut self, ticks: u64, per_ten: &[(LogId, u64)]) {
            for _ in 0..ticks {
                for (tenant, count) in per_ten {
                    // Spread over the ten.
                    let (now, before) = (self.now % 10 + 1, self.now % 10);
                    (before * count / 10..now * count / 10).for_each(|_| self.ask(*tenant));
                }
                if let Some((tenant, since)) = self.queue.pop_front() {
                    self.worst_delay = self.worst_delay.max(self.now - since);
                    *self.answered.entry(tenant).or_default() += 1;
                    self.load.ended();
                    self.load.used(tenant, 0);
                }
                self.now += 1;
                if self.now.is_multiple_of(200) {
                    // Whatever is ready waits for the queue.
                    let delay = Duration::from_micros(100 * self.queue.len() as u64);
                    self.load.felt(delay, LOOK_INTERVAL);
                }
            }
        }

        fn refused(&self, tenant: LogId) -> u64 {
            self.refused.get(&tenant).copied().unwrap_or(0)
        }
    }

    #[test]
    fn what_can_be_done_is_done_however_many_calls_it_is() {
        let mut world = World::default();
        world.go_on(50_000, &[(QUIET, 3), (GREEDY, 6)]);
        assert_eq!((world.refused(QUIET), world.refused(GREEDY)), (0, 0));
        assert!(!world.load.is_delayed.load(Relaxed));
    }

    #[test]
    fn a_burst_is_answered_to_its_end() {
        let mut world = World::default();
        (0..800).for_each(|_| world.ask(GREEDY));
        world.go_on(20_000, &[(QUIET, 1)]);
        assert_eq!((world.refused(QUIET), world.refused(GREEDY)), (0, 0));
        // What it left behind is forgotten.
        assert!(!world.load.is_delayed.load(Relaxed) && world.load.state().users.is_empty());
    }

    #[test]
    fn of_too_much_it_answers_what_it_can_soon_and_refuses_who_asks_most() {
        let mut world = World::default();
        world.go_on(20_000, &[(QUIET, 1), (GREEDY, 40)]);
        let (answered, refused) = (world.answered[&GREEDY], world.refused(GREEDY));
        assert_eq!(world.refused(QUIET), 0);
        assert!(refused > answered, "{answered} {refused}");
        // Once it has found its measure.
        world.worst_delay = 0;
        world.answered.clear();
        world.go_on(100_000, &[(QUIET, 1), (GREEDY, 40)]);
        assert_eq!(world.refused(QUIET), 0);
        // In tenths of a millisecond: some times the target, and not the four seconds a second that pile up otherwise.
        assert!(world.worst_delay < 2_000, "{}", world.worst_delay);
        let answered: u64 = world.answered.values().sum();
        assert!(answered > 80_000, "it answers nearly all that it could: {answered} of 100,000");
        // And when it is over, it is over.
        world.go_on(100_000, &[(QUIET, 1), (GREEDY, 5)]);
        let before = world.refused(GREEDY);
        world.go_on(20_000, &[(QUIET, 1), (GREEDY, 5)]);
        assert_eq!(world.refused(GREEDY), before);
    }

    #[test]
    fn who_is_no_crowd_is_refused_nothing_whatever_the_delay() {
        let load = Load::default();
        for _ in 0..1_000 {
            load.felt(Duration::from_secs(1), Duration::from_secs(1));
            (1..CROWD_MIN).for_each(|_| load.began());
            assert_eq!(load.refuses(GREEDY), None);
            (1..CROWD_MIN).for_each(|_| {
                load.ended();
                load.used(GREEDY, 1_000);
            });
        }
        assert!(load.is_delayed.load(Relaxed));
    }

    #[test]
    fn if_all_ask_too_much_all_are_refused_something() {
        let mut world = World::default();
        world.go_on(60_000, &[(QUIET, 20), (GREEDY, 20)]);
        assert!(world.refused(QUIET) > 0 && world.refused(GREEDY) > 0, "{:?}", world.refused);
        let (one, other) = (world.answered[&QUIET] as f64, world.answered[&GREEDY] as f64);
        assert!(one / other > 0.5 && one / other < 2.0, "{one} {other}");
    }
}
