//! What are the values of goals that depend on each other? The least fixpoint of a component, exclusions included.
//!
//! While goals are evaluated depth first, what rests on an unfinished goal is written down as *gates*: maxima, minima
//! and negations over constants and other gates. When the component is complete, its gates are solved here: L and U
//! are the least and greatest fixpoints of Γ², where Γ(I) is the least fixpoint with negations read from I.
//! Constants are themselves bounds, so lower passes read their low ends and upper passes their high ends.
//!
//! # Invariants
//! * Children of a gate at or above the solver's base are at or above it too.
//! * Within a pass values only rise, each gate at most twice.
//!
//! Cost: O(gates and their children) per pass; two passes without negations, at most two more per negation with them.
//! Source: Van Gelder, "The alternating fixpoint of logic programs with negation", JCSS 47 (1993).

use std::ops::Range;

use crate::Permissionship;
use crate::broken::{Variant, is_broken};
use crate::value::Bounds;

/// Index of a gate.
pub(crate) type GateIndex = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateKind {
    /// The maximum of `fixed` and all children.
    Or,
    /// The minimum of `fixed` and all children.
    And,
    /// The negation of the one child.
    Not,
}

#[derive(Debug, Clone, Copy)]
struct Gate {
    kind: GateKind,
    fixed: Bounds,
    children_start: u32,
    children_end: u32,
}

/// A moment in the life of [`Gates`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatesMark {
    pub(crate) gates: GateIndex,
    children: u32,
}

/// One gate's rise, to be told to its parents.
#[derive(Debug, Clone, Copy)]
struct Rise {
    gate: u32,
    from: Permissionship,
    to: Permissionship,
    /// How many parents were told.
    told: u32,
}

/// The gates of unfinished components, innermost last.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    gates: Vec<Gate>,
    children: Vec<GateIndex>,
}

impl Gates {
    pub(crate) fn len(&self) -> GateIndex {
        index(self.gates.len())
    }

    pub(crate) fn clear(&mut self) {
        self.gates.clear();
        self.children.clear();
    }

    /// Adds a gate over `children`.
    pub(crate) fn add(&mut self, kind: GateKind, fixed: Bounds, children: &[GateIndex]) -> GateIndex {
        let gate = self.reserve();
        self.fill(gate, kind, fixed, children);
        gate
    }

    /// Adds a gate that [`Gates::fill`] completes.
    pub(crate) fn reserve(&mut self) -> GateIndex {
        let at = index(self.children.len());
        self.gates.push(Gate { kind: GateKind::Or, fixed: Bounds::NO, children_start: at, children_end: at });
        self.len() - 1
    }

    pub(crate) fn fill(&mut self, gate: GateIndex, kind: GateKind, fixed: Bounds, children: &[GateIndex]) {
        let children_start = index(self.children.len());
        self.children.extend_from_slice(children);
        let children_end = index(self.children.len());
        self.gates[gate as usize] = Gate { kind, fixed, children_start, children_end };
    }

    /// Remembers this moment for [`Gates::truncate`].
    pub(crate) fn mark(&self) -> GatesMark {
        GatesMark { gates: self.len(), children: index(self.children.len()) }
    }

    /// Forgets all gates added since `mark`; nothing may refer to them any more.
    pub(crate) fn truncate(&mut self, mark: GatesMark) {
        self.gates.truncate(mark.gates as usize);
        self.children.truncate(mark.children as usize);
    }

    fn children(&self, gate: &Gate) -> &[GateIndex] {
        &self.children[gate.children_start as usize..gate.children_end as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

/// What a solver is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It goes through the gates one by one.
    Sweeping(Sweep),
    /// Rises are told to parents.
    Rising,
}

/// What is asked of each gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// How many parents has each gate?
    Counting,
    /// Which are they?
    Placing,
    /// Which values does the running pass begin with?
    Seeding,
}

/// A component being solved; resumable.
#[derive(Debug)]
pub(crate) struct Solver {
    base: GateIndex,
    stage: Stage,
    /// The next gate of the running sweep, and the next of its children.
    next: u32,
    next_child: u32,
    parents_start: Vec<u32>,
    parents: Vec<u32>,
    /// While placing, where each gate's next parent goes.
    places: Vec<u32>,
    has_negations: bool,
    has_intervals: bool,
    side: Side,
    /// The lower fixpoint of the last lower pass, and the upper one of the last upper pass.
    lower: Vec<Permissionship>,
    upper: Vec<Permissionship>,
    /// The running pass: values, and per `And` gate how many children are below conditional and below has.
    values: Vec<Permissionship>,
    short_of_conditional: Vec<u32>,
    short_of_has: Vec<u32>,
    rising: Vec<Rise>,
    /// The rise being told; those that follow from it wait behind it.
    telling: Option<Rise>,
    /// When a gate last rose in the running pass.
    stamps: Vec<u32>,
    clock: u32,
}

impl Solver {
    /// A solver of all gates from `base` on.
    pub(crate) fn new(gates: &Gates, base: GateIndex) -> Solver {
        let count = gates.gates.len() - base as usize;
        Solver {
            base,
            stage: Stage::Sweeping(Sweep::Counting),
            next: 0,
            next_child: 0,
            parents_start: vec![0; count + 1],
            parents: Vec::new(),
            places: Vec::new(),
            has_negations: false,
            has_intervals: false,
            side: Side::Lower,
            lower: vec![Permissionship::No; count],
            upper: vec![Permissionship::Has; count],
            values: Vec::new(),
            short_of_conditional: vec![0; count],
            short_of_has: vec![0; count],
            rising: Vec::new(),
            telling: None,
            stamps: vec![0; count],
            clock: 0,
        }
    }

    /// Works on; adds to `cost` and stops as soon as it reaches `pause_at`, but for what the end of a stage costs.
    /// Returns whether the component is solved.
    pub(crate) fn advance(&mut self, gates: &Gates, cost: &mut u64, pause_at: u64) -> bool {
        loop {
            let left = pause_at.saturating_sub(*cost).max(1);
            let spent = match self.stage {
                Stage::Rising => self.rise(gates, left),
                Stage::Sweeping(sweep) => self.sweep(gates, sweep, left),
            };
            *cost += spent.unwrap_or_else(|| index(self.lower.len() / 64).into());
            if spent.is_none() && self.end_stage() {
                return true;
            }
            if *cost >= pause_at {
                return false;
            }
        }
    }

    /// Goes on in the running sweep, about `left` children far at most; returns what that cost, `None` at its end.
    fn sweep(&mut self, gates: &Gates, sweep: Sweep, left: u64) -> Option<u64> {
        let gate = gates.gates.get((self.base + self.next) as usize)?;
        let children = gates.children(gate);
        if sweep == Sweep::Seeding {
            self.seed(gate, children);
            self.next += 1;
            return Some(1);
        }
        let part = next_part(self.next_child, index(children.len()), left);
        for child in &children[part.start as usize..part.end as usize] {
            let child = (child - self.base) as usize;
            if sweep == Sweep::Counting {
                self.parents_start[child + 1] += 1;
            } else {
                let place = &mut self.places[child];
                self.parents[*place as usize] = self.next;
                *place += 1;
            }
        }
        if sweep == Sweep::Counting {
            self.has_negations |= gate.kind == GateKind::Not;
            self.has_intervals |= !gate.fixed.is_point();
        }
        self.next_child = part.end;
        if part.end == index(children.len()) {
            self.next += 1;
            self.next_child = 0;
        }
        Some(1 + u64::from(part.end - part.start))
    }

    /// Turns to the next stage; returns whether the component is solved.
    fn end_stage(&mut self) -> bool {
        self.next = 0;
        match self.stage {
            Stage::Sweeping(Sweep::Counting) => {
                for at in 1..self.parents_start.len() {
                    self.parents_start[at] += self.parents_start[at - 1];
                }
                self.places.clone_from(&self.parents_start);
                self.parents = vec![0; self.parents_start.last().map_or(0, |end| *end as usize)];
                self.stage = Stage::Sweeping(Sweep::Placing);
                false
            }
            Stage::Sweeping(Sweep::Placing) => {
                self.places = Vec::new();
                // With negations the first pass is Γ(⊥) from above; without, the lower pass may be all.
                self.side = if self.has_negations { Side::Upper } else { Side::Lower };
                self.begin_pass();
                false
            }
            Stage::Sweeping(Sweep::Seeding) => {
                self.stage = Stage::Rising;
                false
            }
            Stage::Rising => {
                let is_solved = self.end_pass();
                if !is_solved {
                    self.begin_pass();
                }
                is_solved
            }
        }
    }

    /// A solved gate's bounds.
    pub(crate) fn bounds(&self, gate: GateIndex) -> Bounds {
        let at = (gate - self.base) as usize;
        Bounds { low: self.lower[at], high: self.upper[at] }
    }

    /// When a gate reached its low bound, relative to the others of its component; 0 for never.
    pub(crate) fn stamp(&self, gate: GateIndex) -> u32 {
        self.stamps[(gate - self.base) as usize]
    }

    /// One more than the greatest stamp.
    pub(crate) fn stamps_end(&self) -> u32 {
        self.clock + 1
    }

    fn begin_pass(&mut self) {
        self.stage = Stage::Sweeping(Sweep::Seeding);
        self.values.clear();
        self.values.resize(self.lower.len(), Permissionship::No);
        if self.side == Side::Lower {
            self.clock = 0;
            self.stamps.fill(0);
        }
    }

    /// What the next gate's value begins with in this pass.
    fn seed(&mut self, gate: &Gate, children: &[GateIndex]) {
        let value = match gate.kind {
            GateKind::Or => self.end(gate.fixed),
            GateKind::And if children.is_empty() => self.end(gate.fixed),
            GateKind::And => Permissionship::No,
            GateKind::Not => {
                let child = (children[0] - self.base) as usize;
                // Γ reads negations from the other interpretation.
                let is_lower = self.side == Side::Lower && !is_broken(Variant::ExclusionInCycleReadsItself);
                let other = if is_lower { &self.upper } else { &self.lower };
                other[child].negated()
            }
        };
        self.short_of_conditional[self.next as usize] = index(children.len());
        self.short_of_has[self.next as usize] = index(children.len());
        if value > Permissionship::No {
            self.raise(self.next, value);
        }
    }

    /// Takes the pass's values; returns whether nothing is left to do.
    fn end_pass(&mut self) -> bool {
        match self.side {
            Side::Lower => {
                let is_stable = self.values == self.lower;
                std::mem::swap(&mut self.lower, &mut self.values);
                if self.has_negations {
                    self.side = Side::Upper;
                    return is_stable;
                }
                if self.has_intervals {
                    self.side = Side::Upper;
                    return false;
                }
                self.upper.clone_from(&self.lower);
                true
            }
            Side::Upper => {
                std::mem::swap(&mut self.upper, &mut self.values);
                self.side = Side::Lower;
                !self.has_negations
            }
        }
    }

    /// Tells on, to about `left` parents at most; returns what that cost, `None` when all is told.
    fn rise(&mut self, gates: &Gates, left: u64) -> Option<u64> {
        let rise = self.telling.take().or_else(|| self.rising.pop())?;
        let child = rise.gate as usize;
        let (start, end) = (self.parents_start[child], self.parents_start[child + 1]);
        let part = next_part(rise.told, end - start, left);
        for slot in start + part.start..start + part.end {
            let at = self.parents[slot as usize];
            let gate = &gates.gates[(self.base + at) as usize];
            let value = match gate.kind {
                GateKind::Or => rise.to,
                GateKind::And => self.lowest_child(at, rise).min(self.end(gate.fixed)),
                GateKind::Not => continue,
            };
            if value > self.values[at as usize] {
                self.raise(at, value);
            }
        }
        if part.end < end - start {
            self.telling = Some(Rise { told: part.end, ..rise });
        }
        Some(1 + u64::from(part.end - part.start))
    }

    /// Counts a child's rise in an `And` gate; returns the least of the children's values.
    fn lowest_child(&mut self, at: u32, rise: Rise) -> Permissionship {
        if rise.from == Permissionship::No {
            self.short_of_conditional[at as usize] -= 1;
        }
        if rise.to == Permissionship::Has {
            self.short_of_has[at as usize] -= 1;
        }
        match (self.short_of_conditional[at as usize], self.short_of_has[at as usize]) {
            (_, 0) => Permissionship::Has,
            (0, _) => Permissionship::Conditional,
            _ => Permissionship::No,
        }
    }

    fn raise(&mut self, gate: u32, to: Permissionship) {
        let from = std::mem::replace(&mut self.values[gate as usize], to);
        self.rising.push(Rise { gate, from, to, told: 0 });
        if self.side == Side::Lower {
            self.clock += 1;
            self.stamps[gate as usize] = self.clock;
        }
    }

    fn end(&self, bounds: Bounds) -> Permissionship {
        if self.side == Side::Lower { bounds.low } else { bounds.high }
    }
}

/// The positions from `next` on of `count`, as far as `left` reaches.
fn next_part(next: u32, count: u32, left: u64) -> Range<u32> {
    next..count.min(next.saturating_add(u32::try_from(left).unwrap_or(u32::MAX)))
}

#[expect(clippy::cast_possible_truncation, reason = "a question's budget keeps its gates below 2^32")]
fn index(position: usize) -> u32 {
    position as u32
}
