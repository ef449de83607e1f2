//! Why does a goal have no value? A failing caveat that it rests on, or a cycle through an exclusion.
//!
//! Walks the goals without a value below the asked one and notes which leads to which; then looks for the shortest of
//! the cycles that the first exclusions among them lie on (`cycles.rs`). Breadth first, so that what is near the
//! question is found.
//!
//! What it notes is bounded, however large the graph is, so that naming is best effort:
//! * Behind the first [`GOALS_MAX`] goals it goes depth first: each goal leads to a few more, which are looked at at
//!   once. So beyond a relation of very many undefined goals some are still followed until they close a cycle.
//! * Behind the first [`LINKS_MAX`] links it notes those that lead to a new goal or nearer to the question, since
//!   without them no cycle closes.
//! * When the budget ends, the shortest cycle so far is the answer; without one it is the budget.
//!
//! If it finds none, the refusal says so and names none. But where goals were left out, a caveat failed, and nothing that
//! was looked at leads through an exclusion, that caveat is named.
//!
//! Cost: O(edges of the goals walked) and of the links followed for each exclusion tried, charged to the question.

mod cycles;

use std::collections::{HashMap, VecDeque};

use rustc_hash::FxBuildHasher;

use crate::causes::{Cause, Causes, Like};
use crate::evaluate::{Evaluator, GoalKey};
use crate::inquire::goal_name;
use crate::refuse::cycles::{Components, Path};
use crate::{EngineError, Progress};

/// The most goals without a value that are looked at breadth first, and in all.
const GOALS_MAX: usize = 20_000;
const GOALS_DEEPER_MAX: usize = 40_000;
/// The most goals that one goal adds when it goes depth first.
const BRANCHES_DEEPER_MAX: usize = 4;
/// The most links between goals, and the most that lead nearer to the question behind these.
const LINKS_MAX: usize = 100_000;
const LINKS_BACK_MAX: usize = 100_000;
/// How many exclusions are tried for a shorter cycle once there is one.
const EXCLUSIONS_TRIED_MAX: usize = 64;
/// The most goals of a cycle that are named.
const CYCLE_NAMES_MAX: usize = 12;

/// Index of a goal without a value, in the order in which they were met.
type GoalNumber = u32;

/// The search for the reason; resumable.
pub(crate) struct Refusing {
    undefined: Undefined,
    phase: Phase,
    /// The shortest cycle so far.
    cycle: Option<Vec<GoalNumber>>,
}

enum Phase {
    /// Which goals have no value, and which leads to which?
    Walking(Walk),
    /// Which of them lie on cycles?
    Parting(Components),
    /// Which way leads back from an exclusion?
    Returning { tried: usize, path: Option<Path> },
}

/// Goals to be looked at, and the one that is.
struct Walk {
    open: VecDeque<GoalNumber>,
    running: Option<Running>,
}

struct Running {
    goal: GoalNumber,
    causes: Causes,
    /// How many goals it has added depth first.
    deeper: usize,
}

/// The goals without a value, and which of them leads to which.
#[derive(Default)]
struct Undefined {
    numbers: HashMap<GoalKey, GoalNumber, FxBuildHasher>,
    goals: Vec<UndefinedGoal>,
    links: usize,
    links_back: usize,
    /// Links through the right side of a `-`.
    exclusions: Vec<(GoalNumber, GoalNumber)>,
    /// Which goals lead to each other; equal for those that do.
    components: Vec<u32>,
    /// Whether goals were left out.
    is_cut: bool,
}

struct UndefinedGoal {
    key: GoalKey,
    /// How many links it is away from the question.
    distance: u32,
    below: Vec<GoalNumber>,
}

impl Refusing {
    /// Why have the bounds of `goal` not met?
    pub(crate) fn open(goal: GoalKey) -> Refusing {
        let mut undefined = Undefined::default();
        let open = VecDeque::from([undefined.add(goal, 0)]);
        Refusing { undefined, phase: Phase::Walking(Walk { open, running: None }), cycle: None }
    }

    /// Searches on until the cost reaches `end`. What is found is the error that answers the question.
    ///
    /// # Errors
    /// [`EngineError::Budget`], if that ends before a cycle is found.
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        end: u64,
    ) -> Result<Progress<EngineError>, EngineError> {
        match self.search(evaluator, end) {
            Err(EngineError::Budget { .. }) if self.cycle.is_some() => {}
            Err(error) => return Err(error),
            Ok(Progress::Done(None)) => {}
            Ok(Progress::Done(Some(failure))) => return Ok(Progress::Done(failure)),
            Ok(Progress::More) => return Ok(Progress::More),
        }
        let cycle = match self.cycle.take() {
            Some(cycle) => cycle,
            None => {
                // Were no goal left out, a caveat that the question rests on would have been met.
                let may_be_caveat = self.undefined.is_cut && self.undefined.exclusions.is_empty();
                let failure = may_be_caveat.then(|| evaluator.conditions.failure()).flatten();
                if let Some(error) = failure {
                    return Ok(Progress::Done(EngineError::Caveat(error)));
                }
                Vec::new()
            }
        };
        let name = |number: &GoalNumber| goal_name(evaluator, self.undefined.goals[*number as usize].key);
        let mut names: Vec<String> = cycle.iter().take(CYCLE_NAMES_MAX).map(name).collect();
        if cycle.len() > CYCLE_NAMES_MAX {
            names.push(format!("({} more)", cycle.len() - CYCLE_NAMES_MAX));
        }
        Ok(Progress::Done(EngineError::Cycle { cycle: names }))
    }

    /// Done with a failing caveat, or with `None` when `cycle` is as short as it gets.
    fn search(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        end: u64,
    ) -> Result<Progress<Option<EngineError>>, EngineError> {
        loop {
            match &mut self.phase {
                Phase::Walking(walk) => {
                    match walk.advance(evaluator, &mut self.undefined, end)? {
                        Progress::More => return Ok(Progress::More),
                        Progress::Done(Some(failure)) => return Ok(Progress::Done(Some(failure))),
                        Progress::Done(None) => {}
                    }
                    self.phase = Phase::Parting(Components::open(self.undefined.goals.len()));
                }
                Phase::Parting(parting) => {
                    let Some(components) = parting.advance(evaluator, &self.undefined, end)? else {
                        return Ok(Progress::More);
                    };
                    self.undefined.components = components;
                    self.phase = Phase::Returning { tried: 0, path: None };
                }
                Phase::Returning { tried, path } => {
                    if let Some(running) = path {
                        let Progress::Done(found) = running.advance(evaluator, &self.undefined, end)? else {
                            return Ok(Progress::More);
                        };
                        let shortest = self.cycle.as_ref().map_or(usize::MAX, Vec::len);
                        self.cycle = found.filter(|found| found.len() < shortest).or(self.cycle.take());
                        *path = None;
                    }
                    if *tried >= EXCLUSIONS_TRIED_MAX && self.cycle.is_some() {
                        return Ok(Progress::Done(None));
                    }
                    let Some(exclusion) = self.undefined.exclusions.get(*tried) else {
                        return Ok(Progress::Done(None));
                    };
                    *tried += 1;
                    *path = self.undefined.way_back(*exclusion);
                    evaluator.charge(1)?;
                }
            }
            if evaluator.cost() >= end {
                return Ok(Progress::More);
            }
        }
    }
}

impl Walk {
    /// Done with a failing caveat, which ends the search, or with `None` when all goals were looked at.
    fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        undefined: &mut Undefined,
        end: u64,
    ) -> Result<Progress<Option<EngineError>>, EngineError> {
        loop {
            let Some(running) = &mut self.running else {
                let Some(goal) = self.open.pop_front() else { return Ok(Progress::Done(None)) };
                let causes = Causes::open(evaluator, undefined.goals[goal as usize].key, Like::Undefined);
                self.running = Some(Running { goal, causes, deeper: 0 });
                continue;
            };
            let found = match running.causes.advance(evaluator, end)? {
                Progress::More => return Ok(Progress::More),
                Progress::Done(None) => {
                    self.running = None;
                    continue;
                }
                Progress::Done(Some(found)) => found,
            };
            for cause in found.into_iter().flatten() {
                match cause {
                    Cause::Failure(error) => return Ok(Progress::Done(Some(EngineError::Caveat(error)))),
                    Cause::Parameters(_) => {}
                    Cause::Goal(below, is_excluded) => {
                        let is_deeper = undefined.goals.len() >= GOALS_MAX;
                        let may_add = !is_deeper || running.deeper < BRANCHES_DEEPER_MAX;
                        match undefined.link(running.goal, below, is_excluded, may_add) {
                            Some(new) if is_deeper => {
                                running.deeper += 1;
                                self.open.push_front(new);
                            }
                            Some(new) => self.open.push_back(new),
                            None => {}
                        }
                    }
                }
            }
        }
    }
}

impl Undefined {
    fn add(&mut self, key: GoalKey, distance: u32) -> GoalNumber {
        let number = number(self.goals.len());
        self.numbers.insert(key, number);
        self.goals.push(UndefinedGoal { key, distance, below: Vec::new() });
        number
    }

    /// Notes that one goal leads to another; returns the other if it is new and so to be looked at.
    fn link(
        &mut self,
        from: GoalNumber,
        to: GoalKey,
        is_excluded: bool,
        may_add: bool,
    ) -> Option<GoalNumber> {
        let distance = self.goals[from as usize].distance;
        let (to, is_new) = match self.numbers.get(&to) {
            Some(known) if self.links < LINKS_MAX => (*known, false),
            Some(known) => {
                let is_back = *known == from || self.goals[*known as usize].distance < distance;
                if !is_back || self.links_back >= LINKS_BACK_MAX {
                    return None;
                }
                self.links_back += 1;
                (*known, false)
            }
            // A link to a goal that nobody looks at closes no cycle.
            None if !may_add || self.goals.len() >= GOALS_DEEPER_MAX => {
                self.is_cut = true;
                return None;
            }
            None => (self.add(to, distance + 1), true),
        };
        self.links += 1;
        self.goals[from as usize].below.push(to);
        if is_excluded {
            self.exclusions.push((from, to));
        }
        is_new.then_some(to)
    }

    /// The search for the way back from an exclusion, if it lies on a cycle.
    fn way_back(&self, (from, to): (GoalNumber, GoalNumber)) -> Option<Path> {
        let is_cycle = self.components[from as usize] == self.components[to as usize];
        is_cycle.then(|| Path::open(to, from, self.goals.len()))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are at most GOALS_DEEPER_MAX goals")]
fn number(position: usize) -> GoalNumber {
    position as GoalNumber
}
