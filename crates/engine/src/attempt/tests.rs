use std::collections::BTreeSet;

use idhini_graph::Root;
use idhini_model::{Change, Context, Entry, EntryKind, ResourceRef, SubjectRef, Timestamp};

use super::*;
use crate::{Check, Limits, Plans, Question};

/// What an attempt does not finish it leaves: a long run is not walked to its end when nothing may be spent any more.
#[test]
fn an_attempt_ends_within_its_edges_however_long_a_run_is() {
    const EDGES_MAX: u64 = 50;
    let schema = "definition user {}\ndefinition document {\nrelation parent: document\nrelation one: user\n\
                  relation two: user\npermission both = one & two\npermission any = parent->both\n\
                  permission all = parent.all(both)\n}";
    let mut root = Root::empty();
    let kind = EntryKind::Schema { new: schema.to_owned(), old: String::new() };
    root.apply(&Entry { revision: root.revision().next(), kind }).unwrap();
    let edges = (0..5_000).flat_map(|at| {
        let of_parent = ["one", "two"].map(|relation| format!("document:p{at}#{relation}@user:ann"));
        of_parent.into_iter().chain([format!("document:doc#parent@document:p{at}")])
    });
    let created = edges.map(|edge| Change::Created(edge.parse().unwrap())).collect();
    root.apply(&Entry { revision: root.revision().next(), kind: EntryKind::Relationships(created) }).unwrap();
    let plans = Plans::compile(&root).unwrap();
    let snapshot = Snapshot { root: &root, plans: &plans, instant: Timestamp::from_seconds(0) };
    let document = snapshot.bind_type("document").unwrap();
    let object = snapshot.object(document, "doc").unwrap();
    for (user, permission) in [("user:bob", "any"), ("user:ann", "all")] {
        let subject = snapshot.bind_subject(&user.parse::<SubjectRef>().unwrap()).unwrap();
        let member = snapshot.bind_member(document, permission).unwrap();
        let mut attempt = Attempt::open(snapshot, member, subject).unwrap();
        let attempted = attempt.ask(GoalKey { member, object }, EDGES_MAX);
        assert_eq!(attempted.permissionship, None, "{permission}");
        assert!(attempted.edges < 2 * EDGES_MAX, "{permission}: {}", attempted.edges);
    }
}

/// Nesting of two kinds, chains, exclusions under arrows, wildcards and expirations.
const SCHEMA: &str = "use expiration
use self
definition user {}
definition group { relation member: user | group#member | team#all }
definition team {
    relation lead: user | group#member | user with expiration
    permission all = lead + self
}
definition folder {
    relation parent: folder
    relation viewer: user | user:* | group#member | group#member with expiration
    relation banned: user | group#member
    permission view = viewer + parent->view
    permission strict = (viewer + parent->strict) - banned
    permission every = parent.all(view)
    permission both = view & strict
}";

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn subject(&mut self) -> String {
        match self.below(5) {
            0 => format!("team:t{}#all", self.below(3)),
            1 | 2 => format!("group:g{}#member", self.below(8)),
            _ => format!("user:u{}", self.below(6)),
        }
    }

    fn edge(&mut self) -> String {
        let group = |chance: &mut Chance| format!("group:g{}#member", chance.below(8));
        let person = |chance: &mut Chance| match chance.below(3) {
            0 => group(chance),
            _ => format!("user:u{}", chance.below(6)),
        };
        match self.below(16) {
            // Long runs, of which a search from below knows nothing before it ends.
            10.. => format!("folder:f{}#viewer@group:g{}#member", self.below(2), self.below(40)),
            0 => format!("folder:f{}#viewer@user:*", self.below(6)),
            1 => format!("group:g{}#member@team:t{}#all", self.below(8), self.below(3)),
            2 | 3 => format!("group:g{}#member@{}", self.below(8), group(self)),
            4 => format!("group:g{}#member@user:u{}", self.below(8), self.below(6)),
            5 => format!("team:t{}#lead@{}", self.below(3), person(self)),
            6 | 7 => format!("folder:f{}#parent@folder:f{}", self.below(6), self.below(6)),
            8 => format!("folder:f{}#banned@{}", self.below(6), person(self)),
            _ => format!("folder:f{}#viewer@{}", self.below(6), person(self)),
        }
    }

    /// Some that can expire do: long ago, or in a while.
    fn expiring(&mut self, edge: String) -> String {
        let can = edge.contains("#lead@user") || edge.contains("#viewer@group");
        match (can, self.below(4)) {
            (true, 0) => format!("{edge}[expiration:2020-01-01T00:00:00Z]"),
            (true, 1) => format!("{edge}[expiration:2040-01-01T00:00:00Z]"),
            _ => edge,
        }
    }
}

/// With limits that are small in these tests, so that long rows, runs that wait, closures that are too long or too many
/// and goals that are too deep all occur.
#[test]
fn what_an_attempt_tells_the_evaluator_tells_whatever_changes_meanwhile() {
    let mut settled = 0;
    for seed in 0..150 {
        let mut chance = Chance(seed);
        let mut root = Root::empty();
        let kind = EntryKind::Schema { new: SCHEMA.to_owned(), old: String::new() };
        root.apply(&Entry { revision: root.revision().next(), kind }).unwrap();
        let plans = Plans::compile(&root).unwrap();
        let mut present: BTreeSet<String> = BTreeSet::new();
        for _ in 0..60 {
            let edge = chance.edge();
            let gone = present.iter().find(|have| have.split('[').next() == Some(&edge)).cloned();
            let change = match gone {
                Some(gone) => {
                    present.remove(&gone);
                    Change::Deleted(gone.parse().unwrap())
                }
                None => {
                    let edge = chance.expiring(edge);
                    present.insert(edge.clone());
                    Change::Created(edge.parse().unwrap())
                }
            };
            let kind = EntryKind::Relationships(vec![change]);
            root.apply(&Entry { revision: root.revision().next(), kind }).unwrap();
            for _ in 0..6 {
                settled += compared(&root, &plans, &mut chance, &present);
            }
        }
    }
    assert!(settled > 20_000, "{settled}");
}

/// How many of the attempts at one question told an answer.
fn compared(root: &Root, plans: &Plans, chance: &mut Chance, present: &BTreeSet<String>) -> u32 {
    let snapshot = Snapshot { root, plans, instant: Timestamp::from_seconds(1_800_000_000) };
    let resources = ["folder:f0", "folder:f1", "folder:f2", "group:g0", "group:g1", "team:t0", "folder:none"];
    let resource: ResourceRef = resources[chance.below(7) as usize].parse().unwrap();
    let permission = match resource.object_type.as_str() {
        "folder" => ["view", "strict", "every", "both", "viewer"][chance.below(5) as usize],
        "team" => "all",
        _ => "member",
    };
    let subject: SubjectRef = chance.subject().parse().unwrap();
    let context = Context::default();
    let question = Question { resource: &resource, permission, subject: &subject, context: &context };
    let mut settled = 0;
    let answered = |attempt_max| {
        let limits = Limits { attempt_max, ..Limits::default() };
        let mut check = Check::open(snapshot, question, limits).unwrap();
        (check.answer(), check.settled().is_some())
    };
    let (wanted, _) = answered(0);
    for attempt_max in [1_000, 12, 4] {
        let (answer, is_settled) = answered(attempt_max);
        assert_eq!(answer, wanted, "{resource} {permission} {subject} of {present:?}");
        settled += u32::from(is_settled);
    }
    settled
}
