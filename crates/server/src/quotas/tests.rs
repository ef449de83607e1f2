use std::collections::BTreeMap;

use proptest::prelude::*;

use super::meter::Usage;
use super::*;

const SECOND: u64 = 1_000_000_000;

fn quotas(pairs: &[(QuotaKind, u64)]) -> Quotas {
    let mut quotas = Quotas::default();
    pairs.iter().for_each(|(kind, max)| quotas.set(*kind, Some(*max)));
    quotas
}

fn meter(pairs: &[(QuotaKind, u64)]) -> Meter {
    let meter = Meter::new(QuotaOf::Namespace, "a".parse().unwrap());
    meter.limit(quotas(pairs), 1);
    meter
}

#[test]
fn a_rate_lets_a_second_s_worth_begin_at_once_and_then_as_it_fills() {
    let meter = meter(&[(QuotaKind::Calls, 4)]);
    let now = 77 * SECOND;
    for _ in 0..4 {
        meter.enter(Counts::Call, now).unwrap();
    }
    let over = meter.enter(Counts::Call, now).unwrap_err();
    assert_eq!((over.kind, over.wait), (QuotaKind::Calls, Duration::from_millis(250)));
    meter.enter(Counts::Call, now + SECOND / 4).unwrap();
    assert!(meter.enter(Counts::Call, now + SECOND / 4).is_err());
    // However long nobody calls, no more than a second's worth is saved.
    for _ in 0..4 {
        meter.enter(Counts::Call, now + 100 * SECOND).unwrap();
    }
    assert!(meter.enter(Counts::Call, now + 100 * SECOND).is_err());
}

#[test]
fn what_was_visited_is_owed_until_it_is_paid() {
    let meter = meter(&[(QuotaKind::Cost, 1_000)]);
    meter.enter(Counts::Call, SECOND).unwrap();
    meter.charge(3_000, SECOND);
    let over = meter.enter(Counts::Call, SECOND).unwrap_err();
    assert_eq!((over.kind, over.wait), (QuotaKind::Cost, Duration::from_secs(2)));
    assert!(meter.enter(Counts::Call, 2 * SECOND).is_err());
    meter.enter(Counts::Call, 3 * SECOND).unwrap();
}

#[test]
fn a_limit_that_changes_begins_anew_and_an_older_one_does_not_come_back() {
    let meter = meter(&[(QuotaKind::Calls, 1)]);
    meter.enter(Counts::Call, SECOND).unwrap();
    assert!(meter.enter(Counts::Call, SECOND).is_err());
    meter.limit(quotas(&[(QuotaKind::Calls, 2)]), 3);
    meter.enter(Counts::Call, SECOND).unwrap();
    meter.limit(quotas(&[(QuotaKind::Calls, 1)]), 2);
    meter.enter(Counts::Call, SECOND).unwrap();
    assert!(meter.enter(Counts::Call, SECOND).is_err());
    meter.limit(Quotas::default(), 4);
    meter.enter(Counts::Call, SECOND).unwrap();
}

fn line(meters: Vec<Meter>) -> Arc<Line> {
    Arc::new(Line { meters: meters.into_iter().map(Arc::new).collect(), began: Instant::now() })
}

#[test]
fn a_call_counts_at_all_of_its_meters_or_at_none() {
    let line = line(vec![meter(&[(QuotaKind::Concurrent, 5)]), meter(&[(QuotaKind::Calls, 2)])]);
    let at = line.began;
    let held = [line.begin(Counts::Call, at).unwrap(), line.begin(Counts::Call, at).unwrap()];
    assert_eq!(line.begin(Counts::Call, at).unwrap_err().kind, QuotaKind::Calls);
    assert_eq!(line.meters[0].usage(), Usage { under_way: 2, watches: 0 });
    drop(held);
    assert_eq!(line.meters[0].usage(), Usage { under_way: 0, watches: 0 });
}

#[test]
fn watches_are_counted_by_themselves() {
    let line = line(vec![meter(&[(QuotaKind::Concurrent, 1), (QuotaKind::Watches, 1)])]);
    let at = line.began;
    let watch = line.begin(Counts::Watch, at).unwrap();
    assert_eq!(line.begin(Counts::Watch, at).unwrap_err().kind, QuotaKind::Watches);
    let call = line.begin(Counts::Call, at).unwrap();
    assert_eq!(line.begin(Counts::Call, at).unwrap_err().kind, QuotaKind::Concurrent);
    drop((watch, call));
    assert!(line.begin(Counts::Watch, at).is_ok() && line.begin(Counts::Call, at).is_ok());
}

#[test]
fn portions_that_were_paid_are_not_paid_again() {
    let line = line(vec![meter(&[(QuotaKind::Cost, 1_000)])]);
    let held = line.begin(Counts::Call, line.began).unwrap();
    held.prepay(100_000);
    held.charge(99_000);
    // A thousand more are paid already.
    held.charge(1_500);
    let owed = held.owed().unwrap();
    assert!(owed <= Duration::from_millis(99_500) && owed > Duration::from_secs(90), "{owed:?}");
}

#[test]
fn meters_are_shared_by_those_whom_they_limit_and_go_when_they_are_at_rest() {
    let meters = Meters::default();
    let limits = |whose| {
        let (namespace, path) = (NamespaceId("1".to_owned()), "a".parse().unwrap());
        Limits(vec![Limit { namespace, path, whose, quotas: quotas(&[(QuotaKind::Concurrent, 1)]) }])
    };
    let (one, other) = (SubjectRef::object("token", "one"), SubjectRef::object("token", "other"));
    let line = |whose, caller| meters.line(limits(whose), caller, 1).unwrap();
    let at = meters.began;
    let held = line(QuotaOf::Namespace, &one).begin(Counts::Call, at).unwrap();
    assert!(line(QuotaOf::Namespace, &other).begin(Counts::Call, at).is_err());
    let of_one = line(QuotaOf::Caller, &one).begin(Counts::Call, at).unwrap();
    assert!(line(QuotaOf::Caller, &other).begin(Counts::Call, at).is_ok());
    meters.tidy();
    assert_eq!(meters.meters.lock().unwrap().len(), 2);
    drop((held, of_one));
    meters.tidy();
    assert!(meters.meters.lock().unwrap().is_empty());
    assert!(meters.line(Limits::default(), &one, 1).is_none());
}

/// One bucket as a plain amount, in billionths of what a second brings.
#[derive(Debug, Clone)]
struct PlainBucket {
    holds: i128,
    at: u64,
}

impl PlainBucket {
    fn at(&mut self, now: u64, rate: u64) -> i128 {
        let full = i128::from(rate) * i128::from(SECOND);
        self.holds = (self.holds + i128::from(now - self.at) * i128::from(rate)).min(full);
        self.at = now;
        self.holds
    }
}

#[derive(Debug, Clone)]
struct PlainNode {
    parent: Option<usize>,
    calls: u64,
    concurrent: u64,
    cost: u64,
    calls_bucket: PlainBucket,
    cost_bucket: PlainBucket,
    under_way: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Wait { milliseconds: u64 },
    Begin { node: usize },
    End { which: usize },
    Charge { which: usize, edges: u64 },
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..400u64).prop_map(|milliseconds| Step::Wait { milliseconds }),
        4 => (0..nodes).prop_map(|node| Step::Begin { node }),
        2 => any::<usize>().prop_map(|which| Step::End { which }),
        1 => (any::<usize>(), 1..3_000u64).prop_map(|(which, edges)| Step::Charge { which, edges }),
    ]
}

/// Rates divide a second, so that both count without rounding.
fn rate() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 2, 4, 5, 8, 10, 20, 1_000])
}

fn tree() -> impl Strategy<Value = Vec<(Option<usize>, u64, u64, u64)>> {
    prop::collection::vec((any::<prop::sample::Index>(), rate(), 1..6u64, rate()), 1..7).prop_map(|nodes| {
        let node =
            |(at, (parent, calls, concurrent, cost)): (usize, (prop::sample::Index, u64, u64, u64))| {
                ((at > 0).then(|| parent.index(at)), calls, concurrent, cost)
            };
        nodes.into_iter().enumerate().map(node).collect()
    })
}

proptest! {
    /// Random trees of quotas admit what a plain model admits, in which every node has an amount that fills.
    #[test]
    fn quota_trees_agree_with_a_plain_model(
        (tree, steps) in (tree(), prop::collection::vec(step(7), 1..120))
    ) {
        let meters: Vec<Arc<Meter>> = tree.iter().map(|(_, calls, concurrent, cost)| Arc::new(meter(&[
            (QuotaKind::Calls, *calls), (QuotaKind::Concurrent, *concurrent), (QuotaKind::Cost, *cost),
        ]))).collect();
        let full = |rate: u64| PlainBucket { holds: i128::from(rate) * i128::from(SECOND), at: 0 };
        let mut nodes: Vec<PlainNode> = tree.iter().map(|(parent, calls, concurrent, cost)| PlainNode {
            parent: *parent, calls: *calls, concurrent: *concurrent, cost: *cost,
            calls_bucket: full(*calls), cost_bucket: full(*cost), under_way: 0,
        }).collect();
        let line_of = |node: usize, tree: &[PlainNode]| -> Vec<usize> {
            std::iter::successors(Some(node), |node| tree[*node].parent).collect()
        };
        let began = Instant::now();
        let lines: Vec<Arc<Line>> = (0..nodes.len()).map(|node| Arc::new(Line {
            meters: line_of(node, &nodes).into_iter().map(|at| Arc::clone(&meters[at])).collect(), began,
        })).collect();
        let (mut now, mut held): (u64, BTreeMap<usize, (usize, Held)>) = (0, BTreeMap::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Wait { milliseconds } => now += milliseconds * 1_000_000,
                Step::Begin { node } => {
                    let node = node % nodes.len();
                    let line = line_of(node, &nodes);
                    let may = line.iter().all(|at| {
                        let node = &mut nodes[*at];
                        node.cost_bucket.at(now, node.cost) >= 0
                            && node.under_way < node.concurrent
                            && node.calls_bucket.at(now, node.calls) >= i128::from(SECOND)
                    });
                    let begun = lines[node].begin(Counts::Call, began + Duration::from_nanos(now));
                    prop_assert_eq!(begun.is_ok(), may, "step {}: {:?}", number, begun);
                    if let Ok(begun) = begun {
                        for at in line {
                            let node = &mut nodes[at];
                            node.calls_bucket.at(now, node.calls);
                            node.calls_bucket.holds -= i128::from(SECOND);
                            node.under_way += 1;
                        }
                        held.insert(number, (node, begun));
                    }
                }
                Step::End { which } => {
                    let Some(key) = held.keys().nth(which % held.len().max(1)).copied() else { continue };
                    let (node, call) = held.remove(&key).unwrap();
                    drop(call);
                    line_of(node, &nodes).into_iter().for_each(|at| nodes[at].under_way -= 1);
                }
                Step::Charge { which, edges } => {
                    let Some((node, _)) = held.values().nth(which % held.len().max(1)) else { continue };
                    for at in line_of(*node, &nodes) {
                        meters[at].charge(edges, now);
                        let node = &mut nodes[at];
                        node.cost_bucket.at(now, node.cost);
                        node.cost_bucket.holds -= i128::from(edges) * i128::from(SECOND);
                    }
                }
            }
            for (node, meter) in nodes.iter().zip(&meters) {
                prop_assert_eq!(meter.usage().under_way, node.under_way);
            }
        }
    }
}
