//! Which refusals are recorded, and which are only counted?
//!
//! Whoever is refused has a budget of his own each second, so that a flood of one hides nothing of another. Those who are
//! known and those who are not have nothing to do with each other: an address costs less than a token. Changes that were
//! refused have budgets beside those of questions.
//!
//! # Invariants
//! * The first refusal of an actor in a second is recorded, for as many actors as are told apart.
//! * Each refusal that is not recorded is counted, with whose it was, for as many actors as are told apart.
//! * What is kept is bounded: [`ACTORS_MAX`] actors of each kind for one second.
//!
//! Cost: a lock and a look-up, for refusals only.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::Actor;

/// Actors that are told apart within a second.
const ACTORS_MAX: usize = 1024;
/// Budgets of actors that all of them together have.
const BUDGETS_TOGETHER: u32 = 10;
/// Actors whose refusals are counted by name until that is told.
const NAMED_MAX: usize = 1024;
/// Actors that are named when it is told; the others are summed up.
const NAMED_TOLD_MAX: usize = 64;
/// What one is called of whom nothing is known.
const NOBODY: &str = "nobody";

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalOf {
    /// A change of a caller who was let in: it is always recorded.
    AdmittedChange,
    /// A change of a caller who was not.
    Change,
    /// Anything else.
    Question,
}

/// The budgets of a second.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u32,
    second: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    at: i64,
    known: Actors,
    unknown: Actors,
}

/// Of one kind.
#[derive(Debug, Default)]
struct Actors {
    /// Refusals of changes and of questions that were recorded.
    recorded: HashMap<Arc<str>, [u32; 2]>,
    /// Of all who are too many to be told apart.
    of_others: [u32; 2],
    together: u32,
}

/// What was counted and not recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Withheld {
    by_actor: HashMap<Arc<str>, u64>,
    others: u64,
}

impl Budget {
    pub(crate) fn new(max: u32) -> Budget {
        Budget { max, second: Mutex::default() }
    }

    /// Whether this refusal is recorded, in this second; otherwise whose it was.
    pub(crate) fn admits(&self, actor: &Actor, of: RefusalOf, at: i64) -> Result<(), Arc<str>> {
        if of == RefusalOf::AdmittedChange {
            return Ok(());
        }
        let (name, is_known) = who(actor);
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.at != at {
            *second = Second { at, ..Second::default() };
        }
        let actors = if is_known { &mut second.known } else { &mut second.unknown };
        let together_max = self.max.saturating_mul(BUDGETS_TOGETHER);
        let is_told_apart = actors.recorded.contains_key(&name) || actors.recorded.len() < ACTORS_MAX;
        let [of_changes, of_questions] = match is_told_apart {
            true => actors.recorded.entry(Arc::clone(&name)).or_default(),
            false => &mut actors.of_others,
        };
        let count = if of == RefusalOf::Change { of_changes } else { of_questions };
        let is_first = *count == 0 && is_told_apart;
        let is_within = *count < self.max && (is_first || actors.together < together_max);
        match is_within {
            true => {
                *count += 1;
                actors.together = actors.together.saturating_add(1);
                Ok(())
            }
            false => Err(name),
        }
    }
}

/// What somebody is called here, and whether he is known. Of an address only the host counts, and of one of IPv6 the network,
/// as whoever has one address of it has them all.
fn who(actor: &Actor) -> (Arc<str>, bool) {
    if let Some(name) = actor.accessor.as_ref().or(actor.certificate.as_ref()) {
        return (Arc::clone(name), true);
    }
    let Some(address) = &actor.address else { return (NOBODY.into(), false) };
    let host = match address.parse::<SocketAddr>().map(|address| address.ip()) {
        Ok(IpAddr::V4(host)) => host.to_string(),
        Ok(IpAddr::V6(host)) => match host.to_ipv4_mapped() {
            Some(host) => host.to_string(),
            None => {
                let [a, b, c, d, ..] = host.segments();
                format!("{}/64", std::net::Ipv6Addr::from([a, b, c, d, 0, 0, 0, 0]))
            }
        },
        Err(_) => return (Arc::clone(address), false),
    };
    (host.into(), false)
}

impl Withheld {
    /// One more of this actor.
    pub(crate) fn add(&mut self, actor: Arc<str>) {
        self.add_many(actor, 1);
    }

    fn add_many(&mut self, actor: Arc<str>, count: u64) {
        let is_named = self.by_actor.len() < NAMED_MAX || self.by_actor.contains_key(&actor);
        match is_named {
            true => *self.by_actor.entry(actor).or_default() += count,
            false => self.others += count,
        }
    }

    /// And these.
    pub(crate) fn add_all(&mut self, more: Withheld) {
        more.by_actor.into_iter().for_each(|(actor, count)| self.add_many(actor, count));
        self.others += more.others;
    }

    pub(crate) fn total(&self) -> u64 {
        self.others + self.by_actor.values().sum::<u64>()
    }

    /// The most by whose they were, most of all first, and those of all others together.
    pub(crate) fn told(&self) -> (Vec<(&Arc<str>, u64)>, u64) {
        let mut named: Vec<_> = self.by_actor.iter().map(|(actor, count)| (actor, *count)).collect();
        named.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
        let surplus = named.split_off(named.len().min(NAMED_TOLD_MAX));
        let others = self.others + surplus.iter().map(|(_, count)| count).sum::<u64>();
        (named, others)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ACTORS_MAX, Actor, Budget, RefusalOf, Withheld, who};

    const AT: i64 = 1_800_000_000;

    fn of(accessor: Option<&str>, address: &str) -> Actor {
        Actor {
            accessor: accessor.map(Into::into),
            certificate: None,
            address: Some(format!("{address}:{}", 1 + address.len()).into()),
        }
    }

    #[test]
    fn a_flood_of_one_hides_nothing_of_another() {
        let budget = Budget::new(10);
        let flood = of(None, "10.0.0.1");
        let told = (0..5_000).filter(|_| budget.admits(&flood, RefusalOf::Question, AT).is_ok()).count();
        assert_eq!(told, 10);
        assert_eq!(budget.admits(&flood, RefusalOf::Question, AT), Err("10.0.0.1".into()));
        for other in [of(None, "10.0.0.2"), of(Some("token:a"), "10.0.0.1"), of(None, "[::1]")] {
            assert_eq!(budget.admits(&other, RefusalOf::Question, AT), Ok(()), "{other:?}");
        }
        // Nor does his own hide a change that he tries.
        assert_eq!(budget.admits(&flood, RefusalOf::Change, AT), Ok(()));
        assert_eq!(budget.admits(&flood, RefusalOf::AdmittedChange, AT), Ok(()));
        assert_eq!(budget.admits(&flood, RefusalOf::Question, AT + 1), Ok(()));
    }

    #[test]
    fn changes_of_callers_who_were_let_in_are_never_left_out() {
        let budget = Budget::new(1);
        let actor = of(Some("token:a"), "10.0.0.1");
        assert!((0..1_000).all(|_| budget.admits(&actor, RefusalOf::AdmittedChange, AT).is_ok()));
    }

    #[test]
    fn many_addresses_have_a_bound_together_and_hide_nobody_who_is_known() {
        let budget = Budget::new(10);
        let mut told = 0;
        for number in 0..100_000 {
            let actor = of(None, &format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255));
            told += usize::from(budget.admits(&actor, RefusalOf::Question, AT).is_ok());
        }
        assert!((ACTORS_MAX..=ACTORS_MAX + 200).contains(&told), "{told}");
        for known in 0..50 {
            let actor = of(Some(&format!("token:{known}")), "10.0.0.1");
            assert_eq!(budget.admits(&actor, RefusalOf::Question, AT), Ok(()));
        }
        let second = budget.second.lock().unwrap();
        assert_eq!(second.unknown.recorded.len(), ACTORS_MAX);
    }

    #[test]
    fn of_an_address_the_host_counts_and_of_a_long_one_the_network() {
        let name = |address: &str| {
            let actor = Actor { address: Some(address.into()), ..Actor::default() };
            who(&actor).0.to_string()
        };
        assert_eq!(name("10.1.2.3:4567"), "10.1.2.3");
        assert_eq!(name("[2001:db8:1:2:3:4:5:6]:4567"), name("[2001:db8:1:2:9::1]:1"));
        assert_eq!(name("[2001:db8:1:2::]:1"), "2001:db8:1:2::/64");
        assert_eq!(name("[::ffff:10.1.2.3]:1"), "10.1.2.3");
        assert_eq!(name("somewhere"), "somewhere");
    }

    #[test]
    fn what_is_counted_names_the_worst_and_sums_up_the_rest() {
        let mut withheld = Withheld::default();
        for number in 0..2_000_u64 {
            let name: Arc<str> = format!("10.0.{}.{}", number >> 8, number & 255).into();
            (0..=u64::from(number == 7) * 9).for_each(|_| withheld.add(Arc::clone(&name)));
        }
        let (named, others) = withheld.told();
        assert_eq!(named[0], (&"10.0.0.7".into(), 10));
        assert_eq!(named.len(), 64);
        assert_eq!(withheld.total(), 2_009);
        assert_eq!(named.iter().map(|(_, count)| count).sum::<u64>() + others, 2_009);
        let mut back = Withheld::default();
        back.add_all(withheld.clone());
        assert_eq!(back, withheld);
    }
}
