//! All rows of one object type in one direction: object number to leaf.
//!
//! # Invariants
//! * Leaves cover 64, 8 or 1 objects, by how full they are; branches above have 16 children.
//! * A branch between leaves of different sizes has 8 children and is joined again when little is left.
//! * What nobody else holds is changed in place; leaves are rebuilt, once for all ops of a batch.
//!
//! Cost: O(log₁₆ n) for a row, with two cache misses a level at worst; a change behind a kept copy clones one
//! branch of 16 a level and one leaf.
//! Source: hash array mapped tries (Bagwell 2001) without the hash; leaf splitting as in B-trees.

mod build;
mod difference;

use std::sync::Arc;

use crate::leaf::{Encoded, LeafRef, OBJECTS_BITS, Op, Rows, SPLIT_BITS, Spilled, WORDS_MAX};
use crate::memory::{arc_bytes, slice_bytes};
use crate::row::Row;

pub(crate) use build::TrieBuilder;
pub(crate) use difference::EdgeDifference;

const BRANCH_BITS: u32 = 4;

#[derive(Debug, Clone)]
enum Node {
    Empty,
    Leaf(Arc<[u32]>),
    Heavy(Arc<Heavy>),
    Branch(Arc<[Node]>),
}

/// A leaf with spilled runs.
#[derive(Debug)]
struct Heavy {
    words: Box<[u32]>,
    spilled: Vec<Spilled>,
}

/// Rows by object number; clone shares everything.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    root: Node,
    /// The root covers 2^bits objects.
    bits: u32,
}

/// Bits of the object number that a branch over 2^bits objects resolves.
#[inline]
fn branch_bits(bits: u32) -> u32 {
    if bits > OBJECTS_BITS { BRANCH_BITS } else { SPLIT_BITS }
}

impl Trie {
    pub(crate) fn new() -> Trie {
        Trie { root: Node::Empty, bits: OBJECTS_BITS }
    }

    #[inline]
    fn leaf(&self, object: u32) -> Option<LeafRef<'_>> {
        if u64::from(object) >> self.bits != 0 {
            return None;
        }
        let mut node = &self.root;
        let mut bits = self.bits;
        loop {
            match node {
                Node::Leaf(words) => return Some(LeafRef { words, spilled: &[], bits }),
                Node::Branch(children) => {
                    bits -= branch_bits(bits);
                    node = &children[(u64::from(object) >> bits) as usize & (children.len() - 1)];
                }
                Node::Heavy(heavy) => return Some(heavy.leaf(bits)),
                Node::Empty => return None,
            }
        }
    }

    /// All edges of an object.
    #[inline]
    pub(crate) fn row(&self, object: u32) -> Row<'_> {
        match self.leaf(object) {
            Some(leaf) => leaf.row(slot_of(object, leaf.bits)),
            None => Row::EMPTY,
        }
    }

    /// The first leaf that covers this object or a later one, and the first object it covers.
    pub(crate) fn leaf_from(&self, object: u64) -> Option<(LeafRef<'_>, u64)> {
        seek(&self.root, self.bits, 0, object)
    }

    /// Applies ops: sorted, valid, no edge twice.
    pub(crate) fn update(&mut self, ops: &[Op]) {
        let Some(last) = ops.last() else { return };
        while u64::from(last.object()) >> self.bits != 0 {
            let below = std::mem::replace(&mut self.root, Node::Empty);
            if !matches!(below, Node::Empty) {
                let rest = std::iter::repeat_n(Node::Empty, (1 << BRANCH_BITS) - 1);
                self.root = Node::Branch([below].into_iter().chain(rest).collect());
            }
            self.bits += BRANCH_BITS;
        }
        update_node(&mut self.root, self.bits, ops, &mut Vec::new());
    }

    /// Bytes of the allocations that `base` does not share.
    pub(crate) fn bytes(&self, base: Option<&Trie>) -> u64 {
        let mut of_base = base.map(|base| (&base.root, base.bits));
        while let Some((Node::Branch(children), bits)) = of_base
            && bits > self.bits
        {
            of_base = children.first().map(|first| (first, bits - branch_bits(bits)));
        }
        bytes_of(&self.root, self.bits, of_base)
    }
}

impl Heavy {
    fn leaf(&self, bits: u32) -> LeafRef<'_> {
        LeafRef { words: &self.words, spilled: &self.spilled, bits }
    }
}

impl Node {
    fn leaf(&self, bits: u32) -> Option<LeafRef<'_>> {
        match self {
            Node::Leaf(words) => Some(LeafRef { words, spilled: &[], bits }),
            Node::Heavy(heavy) => Some(heavy.leaf(bits)),
            Node::Empty | Node::Branch(_) => None,
        }
    }

    fn from_words(words: &[u32], spilled: Vec<Spilled>) -> Node {
        if spilled.is_empty() {
            Node::Leaf(Arc::from(words))
        } else {
            Node::Heavy(Arc::new(Heavy { words: Box::from(words), spilled }))
        }
    }

    /// Lays rows out over 2^bits objects. Recurses once a split: twice at most.
    fn from_rows(rows: Rows, bits: u32) -> Node {
        match rows.encode(bits) {
            Encoded::Empty => Node::Empty,
            Encoded::Words(words, spilled) => Node::from_words(&words, spilled),
            Encoded::Split(parts) => {
                let below = bits - SPLIT_BITS;
                Node::Branch(parts.into_iter().map(|rows| Node::from_rows(rows, below)).collect())
            }
        }
    }
}

#[inline]
fn slot_of(object: u32, bits: u32) -> u32 {
    object & ((1 << bits) - 1)
}

// These recurse once a level: at most 10 levels on 32-bit numbers.

fn bytes_of(node: &Node, bits: u32, base: Option<(&Node, u32)>) -> u64 {
    match (node, base) {
        (Node::Empty, _) => 0,
        (Node::Leaf(words), Some((Node::Leaf(have), _))) if Arc::ptr_eq(words, have) => 0,
        (Node::Heavy(heavy), Some((Node::Heavy(have), _))) if Arc::ptr_eq(heavy, have) => 0,
        (Node::Branch(children), Some((Node::Branch(have), _))) if Arc::ptr_eq(children, have) => 0,
        (Node::Leaf(words), _) => slice_bytes(words),
        (Node::Heavy(heavy), base) => {
            let have = |run: &Spilled| match base {
                Some((Node::Heavy(have), _)) => {
                    have.spilled.iter().find(|have| (have.slot, have.class) == (run.slot, run.class))
                }
                _ => None,
            };
            let of_run = |run: &Spilled| run.numbers.bytes(have(run).map(|have| &have.numbers), &|_| 0);
            let vector = heavy.spilled.capacity() * size_of::<Spilled>();
            let own = arc_bytes::<Heavy>() + (size_of_val(&heavy.words[..]) + vector) as u64;
            own + heavy.spilled.iter().map(of_run).sum::<u64>()
        }
        (Node::Branch(children), base) => {
            let below = bits - branch_bits(bits);
            let have = |at: usize| match base {
                // The base is lower: all of it is what the first child covers.
                Some((_, lower)) if lower < bits => base.filter(|_| at == 0),
                Some((Node::Branch(have), _)) => have.get(at).map(|child| (child, below)),
                _ => None,
            };
            let each = children.iter().enumerate().map(|(at, own)| bytes_of(own, below, have(at)));
            slice_bytes(children) + each.sum::<u64>()
        }
    }
}

fn seek(node: &Node, bits: u32, start: u64, object: u64) -> Option<(LeafRef<'_>, u64)> {
    let Node::Branch(children) = node else {
        return (start + (1 << bits) > object).then(|| Some((node.leaf(bits)?, start))).flatten();
    };
    let below = bits - branch_bits(bits);
    let first = object.saturating_sub(start) >> below;
    (first..children.len() as u64)
        .find_map(|slot| seek(&children[slot as usize], below, start + (slot << below), object))
}

fn update_node(node: &mut Node, bits: u32, ops: &[Op], words: &mut Vec<u32>) {
    if matches!(node, Node::Empty) && bits > OBJECTS_BITS {
        *node = Node::Branch(std::iter::repeat_n(Node::Empty, 1 << BRANCH_BITS).collect());
    }
    if let Node::Branch(children) = node {
        let below = bits - branch_bits(bits);
        let slots = children.len() - 1;
        let slot_of = |op: &Op| (u64::from(op.object()) >> below) as usize & slots;
        let children = Arc::make_mut(children);
        let mut rest = ops;
        while let Some(first) = rest.first() {
            let slot = slot_of(first);
            let mine = rest.partition_point(|op| slot_of(op) == slot);
            update_node(&mut children[slot], below, &rest[..mine], words);
            rest = &rest[mine..];
        }
        tidy(node, bits);
        return;
    }
    let Some(leaf) = node.leaf(bits) else {
        let mut rows = Rows::default();
        rows.apply(bits, ops);
        *node = Node::from_rows(rows, bits);
        return;
    };
    if leaf.splice(ops, words) {
        let spilled = leaf.spilled.to_vec();
        let nothing = words.len() + leaf.row_words().len() == leaf.words.len();
        *node = if nothing && spilled.is_empty() { Node::Empty } else { Node::from_words(words, spilled) };
    } else {
        let mut rows = leaf.rows();
        rows.apply(bits, ops);
        *node = Node::from_rows(rows, bits);
    }
}

/// Drops a branch of which nothing is left, joins small leaves of a split one.
fn tidy(node: &mut Node, bits: u32) {
    let Node::Branch(children) = node else { return };
    if children.iter().all(|child| matches!(child, Node::Empty)) {
        *node = Node::Empty;
        return;
    }
    if bits > OBJECTS_BITS || children.iter().any(|child| matches!(child, Node::Branch(_) | Node::Heavy(_))) {
        return;
    }
    let below = bits - SPLIT_BITS;
    let leaves = || children.iter().zip(0u32..).filter_map(|(child, slot)| Some((child.leaf(below)?, slot)));
    if leaves().map(|(leaf, _)| leaf.row_words().len()).sum::<usize>() > WORDS_MAX / 2 {
        return;
    }
    let mut rows = Rows::default();
    for (leaf, slot) in leaves() {
        rows.edges.extend(leaf.rows().edges.iter().map(|edge| edge.at_slot(slot << below | edge.slot())));
    }
    *node = Node::from_rows(rows, bits);
}
