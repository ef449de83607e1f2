//! Is the subject reached? A search from the resource down and from the subject up at once.
//!
//! Down it follows a rule's steps from object to object; up, the climbs from what the subject is in to what that is
//! in. Goals that no climb leads to, such as the folders above a document, are all looked at; of the others, such as
//! groups, whichever side has spent less goes on, until both meet or one of them has nothing left. So a question costs
//! no more than about twice what its cheaper direction would.
//!
//! # Invariants
//! * A goal that both sides know is found by the one that comes second: whoever marks a goal looks for the other's mark.
//! * *No* is only said where one side has ended, and no edge was passed over that may count.
//! * What was climbed is of the subject alone, and stands for all goals that it is asked about.
//!
//! Cost: O(edges visited), at most those it may; a row is found once. No allocation once its lists have grown.
//! Source: bidirectional search (Pohl 1971); the reverse index of Leopard, Zanzibar (USENIX ATC 2019), section 3.2.4.

use idhini_graph::{Root, Row};
use idhini_model::{Timestamp, WILDCARD};
use idhini_schema::{ClassIndex, PlanSubject};

use super::closures::{ClosureUse, Closures};
use super::marks::{Goal, Marks};
use super::rules::{Climb, Rule, RuleIndex, Rules, Step};
use crate::broken::{Variant, is_broken};
use crate::question::{BoundSubject, UNNAMED_RESOURCE};
use crate::{Plans, Snapshot};

/// Rows of at most this many edges are passed over whole.
const SHORT_ROW: usize = if cfg!(test) { 3 } else { 48 };
/// Edges of a long run that one side takes before the other gets its turn.
const PORTION: usize = if cfg!(test) { 2 } else { 32 };

/// Of what the subject is in itself, so much is climbed on from by what is remembered.
const CLOSURES_MAX: usize = 64;

/// What a search can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    No,
    Yes,
    /// It depends on conditions or expirations, or takes more edges than allowed.
    Open,
}

/// The lists of searches, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Climbed: what the subject is in, in the order in which it was found, and how far it is climbed on from.
    up: Marks,
    reached: Vec<Goal>,
    /// Those of them that are not climbed on from yet, behind those that are.
    ledges: Vec<Goal>,
    source: usize,
    climb: usize,
    position: usize,
    is_climbed: bool,
    is_up_open: bool,
    up_edges: u64,
    /// Asked about: all goals, those that must be looked at, and those that may be met instead.
    down: Marks,
    pending: Vec<Goal>,
    waiting: Vec<Waiting>,
    waiting_from: usize,
    is_down_open: bool,
    down_edges: u64,
    closures: Closures,
}

/// What is looked at unless it is met before.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    Goal(Goal),
    /// The targets of one long run, from a position on.
    Run {
        goal: Goal,
        local: u32,
        position: u32,
    },
}

/// Whether an edge counts.
enum Counts {
    Surely,
    Not,
    Perhaps,
}

enum Turn {
    Met,
    Goes,
    Ended,
}

/// The questions of one subject about one member, in one snapshot.
pub(crate) struct Search<'a> {
    root: &'a Root,
    plans: &'a Plans,
    rules: &'a Rules,
    instant: Timestamp,
    subject: BoundSubject,
    /// By rule: whether it may be met on the way.
    relevant: &'a [bool],
    has_attributes: bool,
    edges_max: u64,
    scratch: Box<Scratch>,
}

impl Scratch {
    /// Turns to another subject or member.
    fn begin(&mut self) {
        self.up.clear();
        self.reached.clear();
        self.ledges.clear();
        (self.source, self.climb, self.position) = (0, 0, 0);
        (self.is_climbed, self.is_up_open) = (false, false);
        (self.up_edges, self.down_edges) = (0, 0);
    }

    fn ask_anew(&mut self) {
        self.down.clear();
        self.pending.clear();
        self.waiting.clear();
        self.waiting_from = 0;
        self.is_down_open = false;
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        snapshot: Snapshot<'a>,
        subject: BoundSubject,
        relevant: &'a [bool],
        edges_max: u64,
        mut scratch: Box<Scratch>,
    ) -> Search<'a> {
        let Snapshot { root, plans, instant } = snapshot;
        scratch.begin();
        scratch.closures.turn_to(root, plans);
        let rules = &plans.rules;
        let mut search = Search {
            root,
            plans,
            rules,
            instant,
            subject,
            relevant,
            has_attributes: root.is_attributed(),
            edges_max,
            scratch,
        };
        let of_subject = match subject.member {
            None => &rules.of_object[subject.object_type as usize],
            Some(member) => &rules.of_userset[member as usize],
        };
        for &rule in of_subject.iter().filter(|rule| relevant[usize::from(**rule)]) {
            search.climb_to(Goal { rule, object: subject.object });
        }
        search
    }

    pub(crate) fn into_scratch(self) -> Box<Scratch> {
        self.scratch
    }

    /// Closures found and computed, by all searches with these lists.
    pub(crate) fn closures(&self) -> ClosureUse {
        self.scratch.closures.uses
    }

    /// Edges visited so far.
    pub(crate) fn edges(&self) -> u64 {
        self.scratch.up_edges + self.scratch.down_edges
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.edges() >= self.edges_max
    }

    /// Counts an edge that whoever asks has followed by himself.
    pub(crate) fn charge(&mut self) {
        self.scratch.down_edges += 1;
    }

    /// May so many edges more be visited than with the questions before?
    pub(crate) fn allow(&mut self, edges: u64) {
        self.edges_max = self.edges().saturating_add(edges);
    }

    /// Whether the subject is reached from an object by this rule.
    pub(crate) fn reach(&mut self, rule: RuleIndex, object: u32) -> Told {
        self.scratch.ask_anew();
        if self.ask(Goal { rule, object }) {
            return Told::Yes;
        }
        loop {
            if self.is_spent() {
                return if is_broken(Variant::SpentSearchDenies) { Told::No } else { Told::Open };
            }
            if let Some(goal) = self.scratch.pending.pop() {
                if self.look(goal) {
                    return Told::Yes;
                }
                continue;
            }
            if self.scratch.waiting_from == self.scratch.waiting.len() {
                return no_unless(self.scratch.is_down_open);
            }
            if self.scratch.is_climbed {
                return self.meet_runs();
            }
            let turn = match self.scratch.up_edges <= self.scratch.down_edges {
                true => self.climb(),
                false => self.look_on(),
            };
            match turn {
                Turn::Met => return Told::Yes,
                Turn::Ended => self.scratch.is_climbed = true,
                Turn::Goes => {}
            }
        }
    }

    /// All that the subject is in is known: are there any of it in the runs that nobody looked through?
    fn meet_runs(&mut self) -> Told {
        for at in self.scratch.waiting_from..self.scratch.waiting.len() {
            // Single goals were met when they were asked about, or never.
            let Waiting::Run { goal, local, .. } = self.scratch.waiting[at] else { continue };
            let row = self.row(goal);
            let step = &self.rules.rules[usize::from(goal.rule)].steps[local as usize];
            for of_subject in 0..self.scratch.reached.len() {
                let Goal { rule, object } = self.scratch.reached[of_subject];
                self.scratch.down_edges += 1;
                if step.targets.contains(&rule) && row.contains(local, object) {
                    match self.counts(step.class, goal.object, object) {
                        Counts::Surely => return Told::Yes,
                        Counts::Perhaps => self.scratch.is_down_open = true,
                        Counts::Not => {}
                    }
                }
            }
            if self.is_spent() {
                return Told::Open;
            }
        }
        no_unless(self.scratch.is_down_open || self.scratch.is_up_open)
    }

    /// Takes a goal in; true if the subject is in it.
    #[inline]
    fn ask(&mut self, goal: Goal) -> bool {
        let rule = &self.rules.rules[usize::from(goal.rule)];
        if !self.scratch.down.insert(goal) {
            return false;
        }
        if self.is_in(rule, goal.object) || (rule.is_climbed && self.scratch.up.contains(goal)) {
            return true;
        }
        if rule.is_climbed {
            self.scratch.waiting.push(Waiting::Goal(goal));
        } else {
            self.scratch.pending.push(goal);
        }
        false
    }

    /// Whether the subject is the object, or a userset of it, that is granted the rule without an edge.
    #[inline]
    fn is_in(&self, rule: &Rule, object: u32) -> bool {
        self.subject.object == object
            && match self.subject.member {
                None => rule.has_self && rule.object_type == self.subject.object_type,
                Some(member) => rule.members.contains(&member),
            }
    }

    fn row(&self, goal: Goal) -> Row<'a> {
        let rule = &self.rules.rules[usize::from(goal.rule)];
        self.root.forward_row(rule.type_id, goal.object)
    }

    /// Takes in what a goal's edges lead to; true if one leads to the subject.
    fn look(&mut self, goal: Goal) -> bool {
        self.scratch.down_edges += 1;
        // An object without a number has no edges.
        if goal.object >= UNNAMED_RESOURCE {
            return false;
        }
        let (row, rules) = (self.row(goal), self.rules);
        let steps = &rules.rules[usize::from(goal.rule)].steps;
        if row.len() > SHORT_ROW {
            return self.look_through(goal, row, steps);
        }
        for (local, number) in row.iter() {
            // Classes without a step are none of this rule.
            let Some(step) = steps.get(local as usize) else { continue };
            if step.is_empty() {
                continue;
            }
            self.scratch.down_edges += 1;
            let is_subject = step.is_direct && self.is_subject(step, number);
            if (is_subject || !step.targets.is_empty()) && self.follow(goal.object, step, number, is_subject)
            {
                return true;
            }
        }
        false
    }

    /// A row with long runs, class by class.
    fn look_through(&mut self, goal: Goal, row: Row<'a>, steps: &'a [Step]) -> bool {
        for (local, step) in (0..).zip(steps).filter(|(_, step)| !step.is_empty()) {
            self.scratch.down_edges += 1;
            if step.is_direct
                && let Some(number) = self.subject_in(step, local, row)
                && self.follow(goal.object, step, number, true)
            {
                return true;
            }
            if step.targets.is_empty() {
                continue;
            }
            let run = row.run(local);
            let is_met = step.targets.iter().all(|target| self.rules.rules[usize::from(*target)].is_climbed);
            if run.len() > SHORT_ROW && is_met {
                self.scratch.waiting.push(Waiting::Run { goal, local, position: 0 });
                continue;
            }
            for number in run {
                self.scratch.down_edges += 1;
                if self.is_spent() {
                    return false;
                }
                if self.follow(goal.object, step, number, false) {
                    return true;
                }
            }
        }
        false
    }

    /// One edge; true if it leads to the subject.
    #[inline]
    fn follow(&mut self, resource: u32, step: &Step, number: u32, is_subject: bool) -> bool {
        match self.counts(step.class, resource, number) {
            Counts::Not => return false,
            Counts::Perhaps => {
                self.scratch.is_down_open = true;
                return false;
            }
            Counts::Surely if is_subject => return true,
            Counts::Surely => {}
        }
        step.targets.iter().any(|&rule| self.ask(Goal { rule, object: number }))
    }

    /// Whether an edge of a direct step names the subject, or its wildcard.
    #[inline]
    fn is_subject(&self, step: &Step, number: u32) -> bool {
        match (step.subject, self.subject.member) {
            (PlanSubject::Object, None) => {
                number == self.subject.object && step.subject_type == self.subject.object_type
            }
            (PlanSubject::Wildcard, None) => step.subject_type == self.subject.object_type,
            (PlanSubject::Userset(member), Some(of_subject)) => {
                number == self.subject.object && member == of_subject
            }
            _ => false,
        }
    }

    /// Which number of a row names the subject, or its wildcard.
    fn subject_in(&self, step: &Step, local: u32, row: Row<'a>) -> Option<u32> {
        let number = match step.subject {
            PlanSubject::Wildcard => row.run(local).get(0)?,
            PlanSubject::Object | PlanSubject::Userset(_) => self.subject.object,
        };
        (self.is_subject(step, number) && row.contains(local, number)).then_some(number)
    }

    /// Looks at what waits longest.
    fn look_on(&mut self) -> Turn {
        let at = self.scratch.waiting_from;
        match self.scratch.waiting[at] {
            Waiting::Goal(goal) => {
                self.scratch.waiting_from += 1;
                if self.look(goal) { Turn::Met } else { Turn::Goes }
            }
            Waiting::Run { goal, local, position } => {
                let (row, rules) = (self.row(goal), self.rules);
                let step = &rules.rules[usize::from(goal.rule)].steps[local as usize];
                let run = row.run(local);
                let end = run.len().min(position as usize + PORTION);
                for number in (position as usize..end).filter_map(|at| run.get(at)) {
                    self.scratch.down_edges += 1;
                    if self.follow(goal.object, step, number, false) {
                        return Turn::Met;
                    }
                }
                if end == run.len() {
                    self.scratch.waiting_from += 1;
                } else {
                    // INVARIANT: a run has fewer numbers than there are numbers.
                    let position = u32::try_from(end).unwrap_or(u32::MAX);
                    self.scratch.waiting[at] = Waiting::Run { goal, local, position };
                }
                Turn::Goes
            }
        }
    }

    /// Goes on up from what the subject is in.
    fn climb(&mut self) -> Turn {
        let end = self.scratch.up_edges + PORTION as u64;
        while let Some((row, object, climbs)) = self.source() {
            self.scratch.up_edges += 1;
            while let Some(climb) = climbs.get(self.scratch.climb) {
                let run = match self.relevant[usize::from(climb.to)] {
                    true => row.run(climb.local),
                    false => Row::EMPTY.run(0),
                };
                while let Some(resource) = run.get(self.scratch.position) {
                    self.scratch.position += 1;
                    self.scratch.up_edges += 1;
                    match self.counts(climb.class, resource, object) {
                        Counts::Surely if self.step_to(Goal { rule: climb.to, object: resource }) => {
                            return Turn::Met;
                        }
                        Counts::Perhaps => self.scratch.is_up_open = true,
                        Counts::Surely | Counts::Not => {}
                    }
                    if self.scratch.up_edges >= end {
                        return Turn::Goes;
                    }
                }
                self.scratch.climb += 1;
                self.scratch.position = 0;
            }
            self.scratch.source += 1;
            self.scratch.climb = 0;
            if is_broken(Variant::SearchClimbsOneLevel) && self.scratch.source > 1 {
                return Turn::Ended;
            }
        }
        Turn::Ended
    }

    /// Where it climbs from: the subject's object, its wildcard, then what was reached, each with its row.
    fn source(&mut self) -> Option<(Row<'a>, u32, &'a [Climb])> {
        let BoundSubject { object_type, object, member } = self.subject;
        let type_id = self.plans.type_ids[object_type as usize];
        let row_of = |type_id, object: u32| match object < UNNAMED_RESOURCE {
            true => self.root.reverse_row(type_id, object),
            false => Row::EMPTY,
        };
        // Usersets are reached, not climbed to.
        let nothing = (Row::EMPTY, object, &[][..]);
        match self.scratch.source {
            0 | 1 if member.is_some() => Some(nothing),
            0 => Some((row_of(type_id, object), object, &self.rules.first[object_type as usize])),
            1 => {
                let climbs = &self.rules.first_of_wildcard[object_type as usize];
                match climbs.is_empty() {
                    true => Some(nothing),
                    false => Some(match self.root.object(type_id, WILDCARD) {
                        Some(wildcard) => (row_of(type_id, wildcard), wildcard, climbs),
                        None => nothing,
                    }),
                }
            }
            at => {
                let Goal { rule, object } = *self.scratch.ledges.get(at - 2)?;
                let rule = &self.rules.rules[usize::from(rule)];
                Some((row_of(rule.type_id, object), object, &rule.climbs))
            }
        }
    }

    /// Takes in what an edge leads up to; true if it, or what is known to contain it, was asked about.
    fn step_to(&mut self, goal: Goal) -> bool {
        // What the subject is in itself is climbed on from by what is remembered; of the rest that includes all.
        let is_first = self.scratch.source < 2 && self.scratch.position <= CLOSURES_MAX;
        if !is_first || self.rules.rules[usize::from(goal.rule)].climbs.is_empty() {
            return self.climb_to(goal);
        }
        let Scratch { closures, up_edges, .. } = &mut *self.scratch;
        let Some((start, end)) = closures.of(goal, self.root, self.plans, up_edges) else {
            return self.climb_to(goal);
        };
        let mut is_met = false;
        for place in start..end {
            let Some(goal) = self.scratch.closures.goal(place) else { break };
            is_met |= self.reached(goal);
        }
        is_met
    }

    /// Takes in what the subject is in, to be climbed on from; true if it was asked about.
    #[inline]
    fn climb_to(&mut self, goal: Goal) -> bool {
        let before = self.scratch.reached.len();
        let is_met = self.reached(goal);
        if self.scratch.reached.len() > before {
            self.scratch.ledges.push(goal);
        }
        is_met
    }

    #[inline]
    fn reached(&mut self, goal: Goal) -> bool {
        if self.scratch.up.insert(goal) {
            self.scratch.reached.push(goal);
            return self.scratch.down.contains(goal);
        }
        false
    }

    /// Whether an edge that the graph holds counts.
    #[inline]
    pub(crate) fn edge_counts(&self, class: ClassIndex, resource: u32, subject: u32) -> Option<bool> {
        match self.counts(class, resource, subject) {
            Counts::Surely => Some(true),
            Counts::Not => Some(false),
            Counts::Perhaps => None,
        }
    }

    #[inline]
    fn counts(&self, class: ClassIndex, resource: u32, subject: u32) -> Counts {
        if !self.has_attributes || is_broken(Variant::SearchTrustsConditions) {
            return Counts::Surely;
        }
        match self.root.attributes(self.plans.class_ids[class as usize], resource, subject) {
            None => Counts::Surely,
            Some(attributes) => match attributes.expires_at {
                Some(at) if at <= self.instant => Counts::Not,
                _ => Counts::Perhaps,
            },
        }
    }
}

fn no_unless(is_open: bool) -> Told {
    if is_open { Told::Open } else { Told::No }
}
