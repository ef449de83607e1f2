//! Why does a goal have no value? A failing caveat that it rests on, or a cycle through an exclusion.
//!
//! Walks the goals without a value below the asked one. What it reports is bounded, however large the graph is.
//!
//! Cost: O(edges of the goals walked), at most [`UNDEFINED_GOALS_MAX`] of them, and of the cycles tried, charged to
//! the question.

use std::collections::{HashMap, VecDeque};

use rustc_hash::FxBuildHasher;

use crate::evaluate::{Evaluator, GoalKey};
use crate::inquire::{Cause, Like, causes, goal_name};
use crate::survey::Survey;
use crate::{EngineError, Progress};

/// The most goals without a value that are looked at for the reason, and the most ways between them.
const UNDEFINED_GOALS_MAX: usize = 20_000;
const UNDEFINED_LINKS_MAX: usize = 100_000;
/// The most exclusions that are tried for a way back.
const EXCLUSIONS_TRIED_MAX: usize = 64;
/// The most goals of a cycle that are named.
const CYCLE_NAMES_MAX: usize = 12;

/// The search for the reason; resumable. Breadth first, so that the cycles near the question are found.
pub(crate) struct Refusing {
    goal: GoalKey,
    open: VecDeque<GoalKey>,
    running: Option<Survey>,
    undefined: Undefined,
    /// How many exclusions were tried for a way back, and the shortest cycle so far.
    tried: usize,
    cycle: Option<Vec<GoalKey>>,
}

/// The goals without a value, and which of them leads to which.
#[derive(Default)]
struct Undefined {
    below: HashMap<GoalKey, Vec<GoalKey>, FxBuildHasher>,
    links: usize,
    /// Those that lead to the other through the right side of a `-`.
    exclusions: Vec<(GoalKey, GoalKey)>,
}

impl Refusing {
    /// Why have the bounds of `goal` not met?
    pub(crate) fn open(goal: GoalKey) -> Refusing {
        let mut undefined = Undefined::default();
        undefined.below.insert(goal, Vec::new());
        let open = VecDeque::from([goal]);
        Refusing { goal, open, running: None, undefined, tried: 0, cycle: None }
    }

    /// Searches on until the cost reaches `end`. What is found is the error that answers the question.
    ///
    /// # Errors
    /// [`EngineError::Budget`].
    pub(crate) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        end: u64,
    ) -> Result<Progress<EngineError>, EngineError> {
        while let Some(mut survey) =
            self.running.take().or_else(|| Some(Like::Undefined.survey(evaluator, self.open.pop_front()?)))
        {
            if !survey.advance(evaluator, end)? {
                self.running = Some(survey);
                return Ok(Progress::More);
            }
            for cause in causes(evaluator, &survey, Like::Undefined) {
                match cause {
                    // A failing caveat ends the search.
                    Cause::Failure(error) => return Ok(Progress::Done(EngineError::Caveat(error))),
                    Cause::Parameters(_) => {}
                    Cause::Goal(below, is_excluded) => {
                        if self.undefined.link(survey.goal(), below, is_excluded) {
                            self.open.push_back(below);
                        }
                    }
                }
            }
        }
        while let Some(&(from, to)) = self.undefined.exclusions.get(self.tried) {
            if self.tried >= EXCLUSIONS_TRIED_MAX {
                break;
            }
            if evaluator.cost() >= end {
                return Ok(Progress::More);
            }
            evaluator.charge(self.undefined.links as u64)?;
            self.tried += 1;
            let found = self.undefined.path(to, from);
            let shortest = self.cycle.as_ref().map_or(usize::MAX, Vec::len);
            if let Some(cycle) = found.filter(|cycle| cycle.len() < shortest) {
                self.cycle = Some(cycle);
            }
        }
        let cycle = self.cycle.take().unwrap_or_else(|| vec![self.goal]);
        let mut names: Vec<String> =
            cycle.iter().take(CYCLE_NAMES_MAX).map(|goal| goal_name(evaluator, *goal)).collect();
        if cycle.len() > CYCLE_NAMES_MAX {
            names.push(format!("({} more)", cycle.len() - CYCLE_NAMES_MAX));
        }
        Ok(Progress::Done(EngineError::Cycle { cycle: names }))
    }
}

impl Undefined {
    /// Adds a way from one goal to another; returns whether the other is new and to be looked at.
    fn link(&mut self, from: GoalKey, to: GoalKey, is_excluded: bool) -> bool {
        if self.links >= UNDEFINED_LINKS_MAX {
            return false;
        }
        self.links += 1;
        self.below.entry(from).or_default().push(to);
        if is_excluded {
            self.exclusions.push((from, to));
        }
        if self.below.len() >= UNDEFINED_GOALS_MAX || self.below.contains_key(&to) {
            return false;
        }
        self.below.insert(to, Vec::new());
        true
    }

    /// The shortest way between two goals, both included.
    fn path(&self, from: GoalKey, to: GoalKey) -> Option<Vec<GoalKey>> {
        let mut came_from: HashMap<GoalKey, GoalKey, FxBuildHasher> = HashMap::from_iter([(from, from)]);
        let mut open = VecDeque::from([from]);
        while let Some(goal) = open.pop_front() {
            if goal == to {
                let mut path = vec![goal];
                while let Some(&last) = path.last()
                    && last != from
                {
                    path.push(*came_from.get(&last)?);
                }
                path.reverse();
                return Some(path);
            }
            for &below in self.below.get(&goal).into_iter().flatten() {
                if let std::collections::hash_map::Entry::Vacant(slot) = came_from.entry(below) {
                    slot.insert(goal);
                    open.push_back(below);
                }
            }
        }
        None
    }
}
