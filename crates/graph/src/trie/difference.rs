//! Where do two tries differ? What they share is skipped by its address, unread.
//!
//! Cost: O(what is not shared), compared leaf by leaf.

use super::{Node, Trie, branch_bits};
use crate::leaf::{LeafEdge, LeafRef, OBJECTS_BITS};
use crate::tree::Tree;

/// The leaves of up to 64 neighbouring objects that two tries do not share.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    /// The first object that the group covers, shared leaves included.
    pub(crate) start: u32,
    old: Vec<(LeafRef<'a>, u32)>,
    new: Vec<(LeafRef<'a>, u32)>,
}

/// One edge that only one of two tries has, ordered by object, local class and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EdgeDifference {
    pub(crate) object: u32,
    pub(crate) class: u32,
    pub(crate) number: u32,
    /// Whether it is the new one that has it.
    pub(crate) is_new: bool,
}

/// A run of which a part may lie elsewhere than before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MovedRun {
    pub(crate) object: u32,
    pub(crate) class: u32,
    /// The number that came or went; without one, all of the run.
    pub(crate) number: Option<u32>,
}

impl Trie {
    /// Visits the groups of leaves that differ, ascending.
    pub(crate) fn differences<'a>(old: &'a Trie, new: &'a Trie, visit: &mut impl FnMut(&Group<'a>)) {
        walk(Some((&old.root, old.bits)), Some((&new.root, new.bits)), 0, visit);
    }
}

type Side<'a> = Option<(&'a Node, u32)>;

/// Recurses once a level of the higher trie.
fn walk<'a>(old: Side<'a>, new: Side<'a>, start: u64, visit: &mut impl FnMut(&Group<'a>)) {
    let is_shared = match (old, new) {
        (Some((Node::Branch(old), _)), Some((Node::Branch(new), _))) => std::sync::Arc::ptr_eq(old, new),
        (None | Some((Node::Empty, _)), None | Some((Node::Empty, _))) => true,
        _ => false,
    };
    if is_shared {
        return;
    }
    let bits = old.into_iter().chain(new).map(|(_, bits)| bits).max().unwrap_or(OBJECTS_BITS);
    if bits > OBJECTS_BITS {
        let below = bits - branch_bits(bits);
        for slot in 0..1u64 << branch_bits(bits) {
            walk(child(old, bits, slot), child(new, bits, slot), start + (slot << below), visit);
        }
        return;
    }
    // Objects have 32 bits.
    let mut group = Group { start: start as u32, ..Group::default() };
    leaves(old, 0, &mut group.old);
    leaves(new, 0, &mut group.new);
    let address = |leaf: &(LeafRef<'_>, u32)| (leaf.1, leaf.0.words.as_ptr());
    let [of_old, of_new] =
        [&group.old, &group.new].map(|leaves| leaves.iter().map(address).collect::<Vec<_>>());
    group.old.retain(|leaf| !of_new.contains(&address(leaf)));
    group.new.retain(|leaf| !of_old.contains(&address(leaf)));
    if !group.old.is_empty() || !group.new.is_empty() {
        visit(&group);
    }
}

fn child(side: Side<'_>, bits: u32, slot: u64) -> Side<'_> {
    let (node, own) = side?;
    match node {
        // The lower trie is what the first child of the higher one covers.
        _ if own < bits => side.filter(|_| slot == 0),
        Node::Branch(children) => children.get(slot as usize).map(|child| (child, bits - branch_bits(bits))),
        _ => None,
    }
}

fn leaves<'a>(side: Side<'a>, first_slot: u32, out: &mut Vec<(LeafRef<'a>, u32)>) {
    let Some((node, bits)) = side else { return };
    if let Node::Branch(children) = node {
        let below = bits - branch_bits(bits);
        for (child, at) in children.iter().zip(0u32..) {
            leaves(Some((child, below)), first_slot + (at << below), out);
        }
    } else if let Some(leaf) = node.leaf(bits) {
        out.push((leaf, first_slot));
    }
}

impl<'a> Group<'a> {
    /// The edges that only one of the two has, ascending.
    pub(crate) fn edges(&self, out: &mut Vec<EdgeDifference>) {
        out.clear();
        let [mut old, mut new] = [&self.old, &self.new].map(|leaves| word_edges(leaves));
        let [mut old_runs, mut new_runs] = [&self.old, &self.new].map(|leaves| runs(leaves).peekable());
        let start = self.start;
        loop {
            let place = |run: &PlacedRun<'a>| (run.slot, run.class);
            let (of_old, of_new) = (old_runs.peek().map(place), new_runs.peek().map(place));
            let Some(next) = of_old.into_iter().chain(of_new).min() else { break };
            match (old_runs.next_if(|run| place(run) == next), new_runs.next_if(|run| place(run) == next)) {
                (Some(of_old), Some(of_new)) => {
                    Tree::differences(of_old.numbers, of_new.numbers, &mut |number, old, _| {
                        let (object, class) = (start + of_old.slot, of_old.class);
                        out.push(EdgeDifference { object, class, number, is_new: old.is_none() });
                    });
                }
                (Some(run), None) => old.extend(run.edges()),
                (None, Some(run)) => new.extend(run.edges()),
                (None, None) => {}
            }
        }
        old.sort_unstable();
        new.sort_unstable();
        let difference = |edge: LeafEdge, is_new| {
            let object = start + edge.slot();
            EdgeDifference { object, class: edge.class(), number: edge.number(), is_new }
        };
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        while let Some(next) = old.peek().into_iter().chain(new.peek()).min().copied() {
            match (old.next_if_eq(&next), new.next_if_eq(&next)) {
                (Some(_), None) => out.push(difference(next, false)),
                (None, Some(_)) => out.push(difference(next, true)),
                _ => {}
            }
        }
        out.sort_unstable();
    }

    /// The spilled runs of which something changed, or that came or went as spilled ones.
    pub(crate) fn moved_runs(&self, visit: &mut impl FnMut(MovedRun)) {
        let new: Vec<PlacedRun<'_>> = runs(&self.new).collect();
        let old: Vec<PlacedRun<'_>> = runs(&self.old).collect();
        let counterpart = |of: &[PlacedRun<'a>], run: &PlacedRun<'a>| {
            let at = of.binary_search_by_key(&(run.slot, run.class), |run| (run.slot, run.class));
            at.ok().map(|at| of[at].numbers)
        };
        for run in &old {
            let (object, class) = (self.start + run.slot, run.class);
            match counterpart(&new, run) {
                Some(numbers) => Tree::differences(run.numbers, numbers, &mut |number, _, _| {
                    visit(MovedRun { object, class, number: Some(number) });
                }),
                None => visit(MovedRun { object, class, number: None }),
            }
        }
        for run in new.iter().filter(|run| counterpart(&old, run).is_none()) {
            visit(MovedRun { object: self.start + run.slot, class: run.class, number: None });
        }
    }
}

/// A spilled run in a group.
struct PlacedRun<'a> {
    slot: u32,
    class: u32,
    numbers: &'a Tree<u32>,
}

impl PlacedRun<'_> {
    fn edges(&self) -> impl Iterator<Item = LeafEdge> {
        self.numbers.iter().map(|number| LeafEdge::new(self.slot, self.class, *number))
    }
}

/// Ascending by slot and class.
fn runs<'a>(leaves: &[(LeafRef<'a>, u32)]) -> impl Iterator<Item = PlacedRun<'a>> {
    leaves.iter().flat_map(|(leaf, first)| {
        let spilled = leaf.spilled.iter();
        spilled.map(move |run| PlacedRun { slot: first + run.slot, class: run.class, numbers: &run.numbers })
    })
}

fn word_edges(leaves: &[(LeafRef<'_>, u32)]) -> Vec<LeafEdge> {
    let mut edges = Vec::new();
    for (leaf, first) in leaves {
        let from = edges.len();
        leaf.word_edges(&mut edges);
        edges[from..].iter_mut().for_each(|edge| *edge = edge.at_slot(first + edge.slot()));
    }
    edges
}
