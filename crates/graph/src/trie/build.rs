//! Making a trie of leaves that exist already, without laying anything out anew.

use std::sync::Arc;

use super::{BRANCH_BITS, Heavy, Node, Trie};
use crate::leaf::{OBJECTS_BITS, SPLIT_BITS, Spilled};

/// Takes leaves in ascending order.
#[derive(Debug, Default)]
pub(crate) struct TrieBuilder {
    /// By what they cover, in units of the largest leaves.
    groups: Vec<(u32, Node)>,
    /// Leaves are to start here or later.
    next: u64,
}

impl TrieBuilder {
    /// Whether a leaf may be added that covers 2^bits objects from `start` on.
    pub(crate) fn admits(&self, start: u32, bits: u32) -> bool {
        let is_size = [OBJECTS_BITS, OBJECTS_BITS - SPLIT_BITS, 0].contains(&bits);
        is_size && u64::from(start) >= self.next && u64::from(start).is_multiple_of(1 << bits)
    }

    /// Adds a leaf that is admitted, and that is not empty.
    pub(crate) fn push(&mut self, start: u32, bits: u32, words: Arc<[u32]>, spilled: Vec<Spilled>) {
        debug_assert!(self.admits(start, bits));
        self.next = u64::from(start) + (1 << bits);
        let leaf = if spilled.is_empty() {
            Node::Leaf(words)
        } else {
            Node::Heavy(Arc::new(Heavy { words: Box::from(&*words), spilled }))
        };
        let group = start >> OBJECTS_BITS;
        if self.groups.last().is_none_or(|(last, _)| *last != group) {
            self.groups.push((group, Node::Empty));
        }
        if let Some((_, node)) = self.groups.last_mut() {
            put(node, OBJECTS_BITS, start, bits, leaf);
        }
    }

    pub(crate) fn finish(self) -> Trie {
        let mut level = self.groups;
        let mut bits = OBJECTS_BITS;
        while level.len() > 1 || level.first().is_some_and(|(at, _)| *at > 0) {
            let mut above: Vec<(u32, Vec<Node>)> = Vec::with_capacity(level.len() / 8 + 1);
            for (at, node) in level {
                let branch = at >> BRANCH_BITS;
                if above.last().is_none_or(|(last, _)| *last != branch) {
                    above.push((branch, vec![Node::Empty; 1 << BRANCH_BITS]));
                }
                if let Some((_, children)) = above.last_mut() {
                    children[at as usize & ((1 << BRANCH_BITS) - 1)] = node;
                }
            }
            level = above.into_iter().map(|(at, children)| (at, Node::Branch(Arc::from(children)))).collect();
            bits += BRANCH_BITS;
        }
        Trie { root: level.pop().map_or(Node::Empty, |(_, node)| node), bits }
    }
}

/// Puts a leaf where a group of leaves has its place. Recurses once a split: twice at most.
fn put(node: &mut Node, bits: u32, start: u32, leaf_bits: u32, leaf: Node) {
    if bits == leaf_bits {
        *node = leaf;
        return;
    }
    if matches!(node, Node::Empty) {
        *node = Node::Branch(std::iter::repeat_n(Node::Empty, 1 << SPLIT_BITS).collect());
    }
    // INVARIANT: `admits` lets no leaf in where one lies already, so this is a branch.
    let Node::Branch(children) = node else { return };
    let below = bits - SPLIT_BITS;
    let slot = (start >> below) as usize & ((1 << SPLIT_BITS) - 1);
    put(&mut Arc::make_mut(children)[slot], below, start, leaf_bits, leaf);
}
