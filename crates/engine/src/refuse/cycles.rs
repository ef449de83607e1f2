//! Which undefined goals lead to each other, and which is the shortest way from one to another?
//!
//! Both resumable, so that the most links that are noted hold nobody up.
//!
//! Cost: O(goals and links walked), charged to the question.
//! Source: Tarjan, "Depth-first search and linear graph algorithms" (1972).

use std::collections::VecDeque;

use super::{GoalNumber, Undefined};
use crate::evaluate::Evaluator;
use crate::{EngineError, Progress};

/// Not met yet, or in no component yet.
const NONE: u32 = u32::MAX;

/// The goals being parted into those that lead to each other.
pub(super) struct Components {
    /// When each goal was met, and the earliest on its way that it leads back to.
    met: Vec<u32>,
    lowest: Vec<u32>,
    clock: u32,
    /// Goals being looked at with their next link, outermost first.
    frames: Vec<(GoalNumber, usize)>,
    /// Goals met whose component is not complete.
    unfinished: Vec<GoalNumber>,
    components: Vec<u32>,
}

impl Components {
    /// Of `count` goals, all of which the first leads to.
    pub(super) fn open(count: usize) -> Components {
        let mut parting = Components {
            met: vec![NONE; count],
            lowest: vec![NONE; count],
            clock: 0,
            frames: Vec::new(),
            unfinished: Vec::new(),
            components: vec![NONE; count],
        };
        parting.meet(0);
        parting
    }

    /// Works on until each goal has its component, or the cost reaches `end` (`None`).
    pub(super) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        undefined: &Undefined,
        end: u64,
    ) -> Result<Option<Vec<u32>>, EngineError> {
        while let Some((goal, next)) = self.frames.last_mut() {
            let (goal, link) = (*goal, *next);
            *next += 1;
            match undefined.goals[goal as usize].below.get(link) {
                Some(&below) if self.met[below as usize] == NONE => self.meet(below),
                Some(&below) if self.components[below as usize] == NONE => {
                    self.lower(goal, self.met[below as usize]);
                }
                Some(_) => {}
                None => self.leave(goal),
            }
            evaluator.charge(1)?;
            if evaluator.cost() >= end {
                return Ok(None);
            }
        }
        Ok(Some(std::mem::take(&mut self.components)))
    }

    fn meet(&mut self, goal: GoalNumber) {
        self.met[goal as usize] = self.clock;
        self.lowest[goal as usize] = self.clock;
        self.clock += 1;
        self.unfinished.push(goal);
        self.frames.push((goal, 0));
    }

    fn lower(&mut self, goal: GoalNumber, met: u32) {
        let lowest = &mut self.lowest[goal as usize];
        *lowest = met.min(*lowest);
    }

    fn leave(&mut self, goal: GoalNumber) {
        self.frames.pop();
        let lowest = self.lowest[goal as usize];
        if let Some(&(above, _)) = self.frames.last() {
            self.lower(above, lowest);
        }
        if lowest < self.met[goal as usize] {
            return;
        }
        while let Some(member) = self.unfinished.pop() {
            self.components[member as usize] = goal;
            if member == goal {
                break;
            }
        }
    }
}

/// The shortest way between two goals being searched.
pub(super) struct Path {
    from: GoalNumber,
    to: GoalNumber,
    came_from: Vec<GoalNumber>,
    /// Goals reached whose links are still to be followed, and the next link of the first of them.
    open: VecDeque<GoalNumber>,
    next: usize,
}

impl Path {
    /// Between two of `count` goals of one component.
    pub(super) fn open(from: GoalNumber, to: GoalNumber, count: usize) -> Path {
        let mut came_from = vec![NONE; count];
        came_from[from as usize] = from;
        Path { from, to, came_from, open: VecDeque::from([from]), next: 0 }
    }

    /// Searches on until the way is found, both ends included, or the cost reaches `end`.
    pub(super) fn advance(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        undefined: &Undefined,
        end: u64,
    ) -> Result<Progress<Option<Vec<GoalNumber>>>, EngineError> {
        while let Some(&goal) = self.open.front() {
            if goal == self.to {
                return Ok(Progress::Done(Some(self.way())));
            }
            match undefined.goals[goal as usize].below.get(self.next) {
                Some(&below) => {
                    self.next += 1;
                    let is_near = undefined.components[below as usize] == undefined.components[goal as usize];
                    if is_near && self.came_from[below as usize] == NONE {
                        self.came_from[below as usize] = goal;
                        self.open.push_back(below);
                    }
                }
                None => {
                    self.open.pop_front();
                    self.next = 0;
                }
            }
            evaluator.charge(1)?;
            if evaluator.cost() >= end {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done(None))
    }

    fn way(&self) -> Vec<GoalNumber> {
        let mut way = vec![self.to];
        let mut goal = self.to;
        while goal != self.from {
            goal = self.came_from[goal as usize];
            way.push(goal);
        }
        way.reverse();
        way
    }
}
