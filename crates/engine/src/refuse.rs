//! Why does a goal have no value? A failing caveat that it rests on, or a cycle through an exclusion.
//!
//! Walks the goals without a value below the asked one. What it reports is bounded, however large the graph is.
//!
//! Cost: O(edges of the goals walked), at most [`UNDEFINED_GOALS_MAX`] of them, charged to the question.

use std::collections::{HashMap, VecDeque};

use rustc_hash::FxBuildHasher;

use crate::EngineError;
use crate::evaluate::{Evaluator, GoalKey};
use crate::inquire::{Cause, causes, goal_name};
use crate::value::Bounds;

/// The most goals without a value that are looked at for the reason.
const UNDEFINED_GOALS_MAX: usize = 20_000;
/// The most exclusions that are tried for a way back.
const EXCLUSIONS_TRIED_MAX: usize = 64;
/// The most goals of a cycle that are named.
const CYCLE_NAMES_MAX: usize = 12;

/// The goals without a value, and which of them leads to which.
#[derive(Default)]
struct Undefined {
    below: HashMap<GoalKey, Vec<GoalKey>, FxBuildHasher>,
    /// Those that lead to the other through the right side of a `-`.
    exclusions: Vec<(GoalKey, GoalKey)>,
}

/// The error that answers `goal`, whose bounds did not meet.
pub(crate) fn refusal(evaluator: &mut Evaluator<'_>, goal: GoalKey) -> EngineError {
    let undefined = match explore(evaluator, goal) {
        Ok(undefined) => undefined,
        Err(error) => return error,
    };
    let tried = undefined.exclusions.iter().take(EXCLUSIONS_TRIED_MAX);
    let cycle = tried.filter_map(|(from, to)| undefined.path(*to, *from)).min_by_key(Vec::len);
    let cycle = cycle.unwrap_or_else(|| vec![goal]);
    let mut names: Vec<String> =
        cycle.iter().take(CYCLE_NAMES_MAX).map(|goal| goal_name(evaluator, *goal)).collect();
    if cycle.len() > CYCLE_NAMES_MAX {
        names.push(format!("({} more)", cycle.len() - CYCLE_NAMES_MAX));
    }
    EngineError::Cycle { cycle: names }
}

/// Breadth first, so that the cycles near the question are found. A failing caveat ends it.
fn explore(evaluator: &mut Evaluator<'_>, goal: GoalKey) -> Result<Undefined, EngineError> {
    let mut undefined = Undefined::default();
    let mut open = VecDeque::from([goal]);
    undefined.below.insert(goal, Vec::new());
    while let Some(goal) = open.pop_front() {
        for cause in causes(evaluator, goal, Bounds::UNKNOWN)? {
            match cause {
                Cause::Failure(error) => return Err(EngineError::Caveat(error)),
                Cause::Parameters(_) => {}
                Cause::Goal(below, is_excluded) => {
                    undefined.below.entry(goal).or_default().push(below);
                    if is_excluded {
                        undefined.exclusions.push((goal, below));
                    }
                    if undefined.below.len() < UNDEFINED_GOALS_MAX && !undefined.below.contains_key(&below) {
                        undefined.below.insert(below, Vec::new());
                        open.push_back(below);
                    }
                }
            }
        }
    }
    Ok(undefined)
}

impl Undefined {
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
