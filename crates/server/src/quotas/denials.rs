//! How often may somebody be refused, for not being known or for lacking a right?
//!
//! Whoever is refused has nothing that could be used up, and yet takes time. So refusals are counted for each caller, and, of
//! those whom nobody knows, for each address that they come from. Whoever is over it hears no more than that they are.
//!
//! # Invariants
//! * Only refusals are counted here, and only refusals are refused for it: what is allowed passes, whoever else is refused.
//! * No more than [`KEPT_MAX`] are told apart; what comes beside them counts together.
//!
//! Cost: nothing for what is allowed; a look-up under a lock for what is refused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idhini_model::SubjectRef;
use tokio::time::Instant;

use crate::pipeline::DENIED_AFTER;

/// One refusal is given back after so long: as long as one of who may not takes, so that whoever waits for each is never over it.
const EACH: Duration = DENIED_AFTER;
/// Refusals at once after a pause.
const SAVED_MAX: u32 = 1_000;
/// Callers and addresses that are told apart.
const KEPT_MAX: usize = 10_000;
/// How often it is looked who may be forgotten, at most, however many come.
const TIDY_PAUSE: Duration = Duration::from_millis(100);
/// The bits of an IPv6 address that tell a network: whoever has one address of it has all.
const NETWORK: u128 = !0 << 64;

/// What was refused of late.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The moment at which all that somebody has saved up is there again.
    full_at: HashMap<Who, Instant>,
    /// When it was looked last who may be forgotten.
    tidied: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Caller(SubjectRef),
    Address(IpAddr),
    Others,
}

impl Who {
    fn of(caller: Option<&SubjectRef>, from: Option<IpAddr>) -> Who {
        match (caller, from) {
            (Some(caller), _) => Who::Caller(caller.clone()),
            (None, Some(IpAddr::V6(address))) if address.to_ipv4_mapped().is_none() => {
                Who::Address(Ipv6Addr::from_bits(address.to_bits() & NETWORK).into())
            }
            (None, Some(address)) => Who::Address(address.to_canonical()),
            (None, None) => Who::Others,
        }
    }
}

impl State {
    fn tidy(&mut self, now: Instant) {
        self.tidied = Some(now);
        self.full_at.retain(|_, full_at| *full_at > now);
    }
}

impl Denials {
    /// Counts a refusal of a caller, or of somebody unknown from there; or says when the next one is told.
    pub(crate) fn take(
        &self,
        caller: Option<&SubjectRef>,
        from: Option<IpAddr>,
        at: Instant,
    ) -> Result<(), Duration> {
        let mut who = Who::of(caller, from);
        let mut state = self.state();
        if state.full_at.len() >= KEPT_MAX && !state.full_at.contains_key(&who) {
            if state.tidied.is_none_or(|tidied| at.saturating_duration_since(tidied) >= TIDY_PAUSE) {
                state.tidy(at);
            }
            if state.full_at.len() >= KEPT_MAX {
                who = Who::Others;
            }
        }
        let all = &mut state.full_at;
        let full_at = all.get(&who).map_or(at, |full_at| at.max(*full_at)) + EACH;
        let wait = full_at.saturating_duration_since(at + EACH * SAVED_MAX);
        if !wait.is_zero() {
            return Err(wait);
        }
        all.insert(who, full_at);
        Ok(())
    }

    /// Lets go of whoever has all there is again.
    pub(super) fn tidy(&self, now: Instant) {
        self.state().tidy(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(name: &str) -> SubjectRef {
        SubjectRef::object("token", name)
    }

    fn taken(denials: &Denials, who: &str, at: Instant) -> u32 {
        (0..2 * SAVED_MAX).filter(|_| denials.take(Some(&somebody(who)), None, at).is_ok()).count() as u32
    }

    #[test]
    fn whoever_is_refused_all_the_time_hears_so_so_often_and_nobody_else_is_in_the_way() {
        let (denials, begun) = (Denials::default(), Instant::now());
        assert_eq!(taken(&denials, "one", begun), SAVED_MAX);
        assert_eq!(denials.take(Some(&somebody("one")), None, begun), Err(EACH));
        assert_eq!(taken(&denials, "one", begun + 200 * EACH), 200);
        assert_eq!(taken(&denials, "other", begun), SAVED_MAX);
        // However long the pause, no more is saved up.
        assert_eq!(taken(&denials, "one", begun + Duration::from_secs(1_000)), SAVED_MAX);
        denials.tidy(begun + Duration::from_secs(500));
        assert_eq!(denials.state().full_at.len(), 1);
    }

    #[test]
    fn strangers_are_told_apart_by_their_address_and_in_ipv6_by_their_network() {
        let same = |one: &str, other: &str| {
            let of = |text: &str| Who::of(None, Some(text.parse().unwrap()));
            of(one) == of(other)
        };
        assert!(same("192.0.2.1", "192.0.2.1") && same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("2001:db8::1", "2001:db8::ffff:2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    }

    #[test]
    fn of_a_crowd_no_more_than_so_many_are_told_apart() {
        let (denials, begun) = (Denials::default(), Instant::now());
        for number in 0..2 * KEPT_MAX as u32 {
            let _ = denials.take(None, Some(std::net::Ipv4Addr::from_bits(number).into()), begun);
        }
        assert_eq!(denials.state().full_at.len(), KEPT_MAX + 1);
        // Those who came late have spent together what there is.
        assert!(denials.take(None, Some(IpAddr::V4([192, 0, 2, 1].into())), begun).is_err());
        assert_eq!(denials.take(None, Some(std::net::Ipv4Addr::from_bits(1).into()), begun), Ok(()));
        // Later there is room again.
        let later = begun + Duration::from_secs(60);
        assert_eq!(denials.take(None, Some(IpAddr::V4([192, 0, 2, 1].into())), later), Ok(()));
        assert_eq!(denials.state().full_at.len(), 1);
    }
}
