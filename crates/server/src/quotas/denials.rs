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
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use idhini_model::SubjectRef;
use tokio::time::Instant;

/// One refusal is given back after so long: a hundred a second.
const EACH: Duration = Duration::from_millis(10);
/// Refusals at once after a pause.
const SAVED_MAX: u32 = 1_000;
/// Callers and addresses that are told apart.
const KEPT_MAX: usize = 10_000;
/// The bits of an IPv6 address that tell a network: whoever has one address of it has all.
const NETWORK: u128 = !0 << 64;

/// What was refused of late.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    /// The moment at which all that somebody has saved up is there again.
    full_at: Mutex<HashMap<Who, Instant>>,
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

impl Denials {
    /// Counts a refusal of a caller, or of somebody unknown from there; or says when the next one is told.
    pub(crate) fn take(
        &self,
        caller: Option<&SubjectRef>,
        from: Option<IpAddr>,
        at: Instant,
    ) -> Result<(), Duration> {
        let mut who = Who::of(caller, from);
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT_MAX && !all.contains_key(&who) {
            all.retain(|_, full_at| *full_at > at);
            if all.len() >= KEPT_MAX {
                who = Who::Others;
            }
        }
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
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, full_at| *full_at > now);
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
    fn whoever_is_refused_all_the_time_hears_so_a_hundred_times_a_second_and_nobody_else_is_in_the_way() {
        let (denials, begun) = (Denials::default(), Instant::now());
        assert_eq!(taken(&denials, "one", begun), SAVED_MAX);
        assert_eq!(denials.take(Some(&somebody("one")), None, begun), Err(EACH));
        assert_eq!(taken(&denials, "one", begun + Duration::from_secs(2)), 200);
        assert_eq!(taken(&denials, "other", begun), SAVED_MAX);
        // However long the pause, no more is saved up.
        assert_eq!(taken(&denials, "one", begun + Duration::from_secs(1_000)), SAVED_MAX);
        denials.tidy(begun + Duration::from_secs(500));
        assert_eq!(denials.full_at.lock().unwrap().len(), 1);
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
        assert_eq!(denials.full_at.lock().unwrap().len(), KEPT_MAX + 1);
        // Those who came late have spent together what there is.
        assert!(denials.take(None, Some(IpAddr::V4([192, 0, 2, 1].into())), begun).is_err());
        assert_eq!(denials.take(None, Some(std::net::Ipv4Addr::from_bits(1).into()), begun), Ok(()));
        // Later there is room again.
        let later = begun + Duration::from_secs(60);
        assert_eq!(denials.take(None, Some(IpAddr::V4([192, 0, 2, 1].into())), later), Ok(()));
        assert_eq!(denials.full_at.lock().unwrap().len(), 1);
    }
}
