use std::collections::BTreeMap;

use super::*;

const STORED: [QuotaKind; 2] = [QuotaKind::Relationships, QuotaKind::Disk];

fn limits(relationships: Option<u64>, disk_bytes: Option<u64>) -> Quotas {
    let mut limits = Quotas::default();
    limits.set(QuotaKind::Relationships, relationships);
    limits.set(QuotaKind::Disk, disk_bytes);
    limits
}

fn rows(relationships: u64) -> Stored {
    Stored { relationships, disk_bytes: 0 }
}

fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

#[test]
fn what_a_child_stores_counts_at_all_above_it() {
    let ledger = Arc::new(Ledger::default());
    let (root, a, b, c) = (LogId(1), LogId(16), LogId(17), LogId(18));
    ledger.place(root, None, &path("root"), Quotas::default());
    ledger.place(a, Some(root), &path("a"), limits(Some(10), None));
    ledger.place(b, Some(a), &path("a/b"), limits(Some(100), None));
    ledger.place(c, Some(a), &path("a/c"), Quotas::default());
    let [of_b, of_c] = [b, c].map(|log| ledger.account(log));
    of_b.reserve(rows(6)).unwrap();
    assert_eq!(of_c.reserve(rows(5)), Err(OverQuota { kind: QuotaKind::Relationships, of: path("a") }));
    of_c.reserve(rows(4)).unwrap();
    // What was reserved and not written is free again.
    of_b.settle(2, Disk::Counted(0));
    assert_eq!(ledger.stored(a), rows(6));
    of_c.settle(4, Disk::Counted(0));
    of_c.reserve(rows(4)).unwrap();
    of_c.settle(8, Disk::Counted(0));
    assert_eq!(ledger.stored(root), rows(10));
    assert!(of_b.reserve(rows(1)).is_err());
    ledger.remove(c);
    assert_eq!(ledger.stored(a), rows(2));
    of_b.reserve(rows(8)).unwrap();
}

#[test]
fn a_limit_below_what_there_is_refuses_only_what_grows() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account(LogId(1));
    account.settle(50, Disk::Counted(1_000));
    ledger.place(LogId(1), None, &path("root"), limits(Some(10), Some(500)));
    account.reserve(Stored::default()).unwrap();
    assert_eq!(account.reserve(rows(1)).unwrap_err().kind, QuotaKind::Relationships);
    assert_eq!(
        account.reserve(Stored { relationships: 0, disk_bytes: 1 }).unwrap_err().kind,
        QuotaKind::Disk
    );
    ledger.place(LogId(1), None, &path("root"), Quotas::default());
    account.reserve(rows(1_000)).unwrap();
}

#[test]
fn what_was_not_opened_is_counted_only_where_it_matters() {
    let ledger = Arc::new(Ledger::default());
    ledger.place(LogId(1), None, &path("root"), Quotas::default());
    ledger.place(LogId(16), Some(LogId(1)), &path("a"), Quotas::default());
    assert!(ledger.uncounted(10).is_empty());
    ledger.place(LogId(1), None, &path("root"), limits(Some(1), None));
    let mut uncounted = ledger.uncounted(10);
    uncounted.sort_unstable_by_key(|log| log.0);
    assert_eq!(uncounted, [LogId(1), LogId(16)]);
    ledger.account(LogId(16)).settle(5, Disk::Counted(0));
    assert_eq!((ledger.uncounted(10), ledger.stored(LogId(1))), (vec![LogId(1)], rows(5)));
}

/// A tree, plainly: what each has, and what it may.
#[derive(Default)]
struct Plain {
    parents: BTreeMap<u64, Option<u64>>,
    own: BTreeMap<u64, Stored>,
    limits: BTreeMap<u64, Quotas>,
}

impl Plain {
    fn line(&self, log: u64) -> Vec<u64> {
        std::iter::successors(Some(log), |log| self.parents[log]).collect()
    }

    fn sum(&self, log: u64) -> Stored {
        let below = self.parents.keys().filter(|other| self.line(**other).contains(&log));
        below.fold(Stored::default(), |sum, other| sum.plus(self.own[other]))
    }

    fn admits(&self, log: u64, more: Stored) -> bool {
        self.line(log).iter().all(|at| {
            STORED.iter().all(|kind| {
                let would = self.sum(*at).of(*kind) + more.of(*kind);
                more.of(*kind) == 0 || self.limits[at].max(*kind).is_none_or(|max| would <= max)
            })
        })
    }
}

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn random_trees_agree_with_a_plain_model() {
    for seed in 0..60 {
        let (mut dice, ledger, mut plain) = (Dice(seed), Arc::new(Ledger::default()), Plain::default());
        let (mut refused, mut admitted) = (0, 0);
        for step in 0..150 {
            let known: Vec<u64> = plain.parents.keys().copied().collect();
            let some = |dice: &mut Dice| known[dice.roll(known.len() as u64) as usize];
            match dice.roll(8) {
                _ if known.is_empty() => {
                    plain.parents.insert(1, None);
                    plain.own.insert(1, Stored::default());
                    plain.limits.insert(1, Quotas::default());
                    ledger.place(LogId(1), None, &path("root"), Quotas::default());
                }
                0 => {
                    let (parent, log) = (some(&mut dice), 100 + step);
                    if plain.line(parent).len() < 5 {
                        plain.parents.insert(log, Some(parent));
                        plain.own.insert(log, Stored::default());
                        plain.limits.insert(log, Quotas::default());
                        ledger.place(
                            LogId(log),
                            Some(LogId(parent)),
                            &path(&format!("n{log}")),
                            Quotas::default(),
                        );
                    }
                }
                1 | 2 => {
                    let log = some(&mut dice);
                    let one = |dice: &mut Dice| (dice.roll(3) > 0).then(|| dice.roll(60));
                    let quotas = limits(one(&mut dice), one(&mut dice));
                    plain.limits.insert(log, quotas);
                    let parent = plain.parents[&log].map(LogId);
                    ledger.place(LogId(log), parent, &path(&format!("n{log}")), quotas);
                }
                3 => {
                    let log = some(&mut dice);
                    let has_children = plain.parents.values().any(|parent| *parent == Some(log));
                    if log != 1 && !has_children {
                        plain.parents.remove(&log);
                        plain.own.remove(&log);
                        plain.limits.remove(&log);
                        ledger.remove(LogId(log));
                    }
                }
                4 => {
                    // Something is taken away.
                    let log = some(&mut dice);
                    let own = plain.own[&log];
                    let left =
                        Stored { relationships: own.relationships / 2, disk_bytes: own.disk_bytes / 3 };
                    plain.own.insert(log, left);
                    ledger.account(LogId(log)).settle(left.relationships, Disk::Counted(left.disk_bytes));
                }
                _ => {
                    let log = some(&mut dice);
                    let more = Stored { relationships: dice.roll(12), disk_bytes: dice.roll(12) };
                    let account = ledger.account(LogId(log));
                    let may = plain.admits(log, more);
                    assert_eq!(account.reserve(more).is_ok(), may, "seed {seed} step {step}");
                    if may {
                        admitted += 1;
                        let is_written = dice.roll(4) > 0;
                        let own = plain.own[&log];
                        let now = if is_written { own.plus(more) } else { own };
                        plain.own.insert(log, now);
                        let grown = if is_written { more.disk_bytes } else { 0 };
                        account.settle(now.relationships, Disk::Grown(grown));
                    } else {
                        refused += 1;
                    }
                }
            }
            for log in plain.parents.keys() {
                assert_eq!(ledger.stored(LogId(*log)), plain.sum(*log), "seed {seed} step {step} log {log}");
            }
        }
        assert!(admitted > 0 && (refused > 0 || seed % 10 != 0), "seed {seed}: {admitted} {refused}");
    }
}
