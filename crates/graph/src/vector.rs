//! A persistent vector: how do two roots share a list of which one item changed?
//!
//! # Invariants
//! * Items are dense; the tree is as low as its length allows.
//! * What nobody else holds is changed in place.
//!
//! Cost: O(log₁₆ n) for access; a change behind a kept copy clones one node of 16 a level.
//! Source: the radix-balanced vectors of Bagwell and Rompf (2011), without relaxation.

use std::sync::Arc;

use crate::memory::slice_bytes;

const BITS: u32 = 4;
const FANOUT: usize = 1 << BITS;

#[derive(Debug, Clone)]
enum Node<T> {
    Empty,
    Leaf(Arc<[T]>),
    Branch(Arc<[Node<T>]>),
}

/// A list with O(1) clone.
#[derive(Debug, Clone)]
pub(crate) struct Vector<T> {
    root: Node<T>,
    /// Bits of the index that the root's children leave to be resolved.
    shift: u32,
    len: usize,
}

impl<T: Clone> Vector<T> {
    pub(crate) fn new() -> Vector<T> {
        Vector { root: Node::Empty, shift: 0, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn item(&self, index: usize) -> Option<&T> {
        let mut node = &self.root;
        let mut shift = self.shift;
        if index >= self.len {
            return None;
        }
        loop {
            match node {
                Node::Branch(children) => {
                    node = children.get((index >> shift) & (FANOUT - 1))?;
                    shift -= BITS;
                }
                Node::Leaf(items) => return items.get(index & (FANOUT - 1)),
                Node::Empty => return None,
            }
        }
    }

    /// The item for changing: nodes on the way that others hold are cloned first.
    pub(crate) fn item_mut(&mut self, index: usize) -> Option<&mut T> {
        let mut node = &mut self.root;
        let mut shift = self.shift;
        if index >= self.len {
            return None;
        }
        loop {
            match node {
                Node::Branch(children) => {
                    node = Arc::make_mut(children).get_mut((index >> shift) & (FANOUT - 1))?;
                    shift -= BITS;
                }
                Node::Leaf(items) => return Arc::make_mut(items).get_mut(index & (FANOUT - 1)),
                Node::Empty => return None,
            }
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.len == FANOUT << self.shift {
            let root = std::mem::replace(&mut self.root, Node::Empty);
            self.root = Node::Branch(Arc::from([root]));
            self.shift += BITS;
        }
        push_into(&mut self.root, self.shift, self.len, item);
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let item = self.item(last)?.clone();
        pop_from(&mut self.root, self.shift, last);
        self.len = last;
        while self.shift > 0 && self.len <= FANOUT << (self.shift - BITS) {
            let Node::Branch(children) = &self.root else { break };
            self.root = children.first().cloned().unwrap_or(Node::Empty);
            self.shift -= BITS;
        }
        if self.len == 0 {
            *self = Vector::new();
        }
        Some(item)
    }

    /// The first index at which the items are not the same, or that only one of them has.
    pub(crate) fn first_difference(
        one: &Vector<T>,
        other: &Vector<T>,
        same: &impl Fn(&T, &T) -> bool,
    ) -> Option<usize> {
        let (low, high) = if one.shift <= other.shift { (one, other) } else { (other, one) };
        let (mut node, mut shift) = (&high.root, high.shift);
        // The higher one begins with as many items as the lower one can have.
        while shift > low.shift
            && let Node::Branch(children) = node
            && let Some(first) = children.first()
        {
            (node, shift) = (first, shift - BITS);
        }
        let found = first_difference(&low.root, node, low.shift, 0, same);
        found.or_else(|| (low.len != high.len).then(|| low.len.min(high.len)))
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len).filter_map(|index| self.item(index))
    }

    /// Bytes of the allocations that `base` does not share; items by `item`, which gets the base's item of the same
    /// index.
    pub(crate) fn bytes(&self, base: Option<&Vector<T>>, item: &impl Fn(&T, Option<&T>) -> u64) -> u64 {
        let mut of_base = base.map(|base| (&base.root, base.shift));
        while let Some((Node::Branch(children), shift)) = of_base
            && shift > self.shift
        {
            of_base = children.first().map(|first| (first, shift - BITS));
        }
        bytes_of(&self.root, self.shift, of_base, item)
    }
}

impl<T: Clone> FromIterator<T> for Vector<T> {
    /// As pushing one by one would, without the copies.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Vector<T> {
        let (mut len, mut shift, mut items) = (0, 0, items.into_iter());
        let mut level = Vec::new();
        loop {
            let leaf: Arc<[T]> = items.by_ref().take(FANOUT).collect();
            if leaf.is_empty() {
                break;
            }
            len += leaf.len();
            level.push(Node::Leaf(leaf));
        }
        while level.len() > 1 {
            let mut nodes = level.into_iter();
            let branches = (0..nodes.len().div_ceil(FANOUT)).map(|_| nodes.by_ref().take(FANOUT).collect());
            level = branches.map(Node::Branch).collect();
            shift += BITS;
        }
        Vector { root: level.pop().unwrap_or(Node::Empty), shift, len }
    }
}

/// Recurses once a level, as below; `None` also if one ends where the other goes on after its last item.
fn first_difference<T>(
    one: &Node<T>,
    other: &Node<T>,
    shift: u32,
    start: usize,
    same: &impl Fn(&T, &T) -> bool,
) -> Option<usize> {
    match (one, other) {
        (Node::Leaf(one), Node::Leaf(other)) if Arc::ptr_eq(one, other) => None,
        (Node::Branch(one), Node::Branch(other)) if Arc::ptr_eq(one, other) => None,
        (Node::Leaf(one), Node::Leaf(other)) => {
            one.iter().zip(other.iter()).position(|(one, other)| !same(one, other)).map(|at| start + at)
        }
        (Node::Branch(one), Node::Branch(other)) => {
            let pairs = one.iter().zip(other.iter()).enumerate();
            pairs.into_iter().find_map(|(at, (one, other))| {
                first_difference(one, other, shift - BITS, start + (at << shift), same)
            })
        }
        _ => None,
    }
}

/// Recurses once a level, as below.
fn bytes_of<T>(
    node: &Node<T>,
    shift: u32,
    base: Option<(&Node<T>, u32)>,
    item: &impl Fn(&T, Option<&T>) -> u64,
) -> u64 {
    match (node, base) {
        (Node::Empty, _) => 0,
        (Node::Leaf(items), Some((Node::Leaf(have), _))) if Arc::ptr_eq(items, have) => 0,
        (Node::Branch(children), Some((Node::Branch(have), _))) if Arc::ptr_eq(children, have) => 0,
        (Node::Leaf(items), base) => {
            let have = |at: usize| if let Some((Node::Leaf(have), _)) = base { have.get(at) } else { None };
            let each = items.iter().enumerate().map(|(at, own)| item(own, have(at)));
            slice_bytes(items) + each.sum::<u64>()
        }
        (Node::Branch(children), base) => {
            let have = |at: usize| match base {
                // The base is lower: all of it is what the first child covers.
                Some((_, lower)) if lower < shift => base.filter(|_| at == 0),
                Some((Node::Branch(have), _)) => have.get(at).map(|child| (child, shift - BITS)),
                _ => None,
            };
            let each =
                children.iter().enumerate().map(|(at, own)| bytes_of(own, shift - BITS, have(at), item));
            slice_bytes(children) + each.sum::<u64>()
        }
    }
}

// Both recurse once a level of the tree: at most 16 levels on 64-bit indexes.

fn push_into<T: Clone>(node: &mut Node<T>, shift: u32, index: usize, item: T) {
    if shift == 0 {
        let items: &[T] = if let Node::Leaf(items) = node { items } else { &[] };
        *node = Node::Leaf(items.iter().cloned().chain([item]).collect());
        return;
    }
    let slot = (index >> shift) & (FANOUT - 1);
    match node {
        Node::Branch(children) if slot < children.len() => {
            push_into(&mut Arc::make_mut(children)[slot], shift - BITS, index, item);
        }
        _ => {
            let mut child = Node::Empty;
            push_into(&mut child, shift - BITS, index, item);
            let children: &[Node<T>] = if let Node::Branch(children) = node { children } else { &[] };
            *node = Node::Branch(children.iter().cloned().chain([child]).collect());
        }
    }
}

fn pop_from<T: Clone>(node: &mut Node<T>, shift: u32, index: usize) {
    let slot = (index >> shift) & (FANOUT - 1);
    match node {
        Node::Leaf(items) => *node = Node::Leaf(Arc::from(&items[..slot])),
        // The child would be left empty: it goes as a whole.
        Node::Branch(children) if index.trailing_zeros() >= shift => {
            *node = Node::Branch(Arc::from(&children[..slot]));
        }
        Node::Branch(children) => pop_from(&mut Arc::make_mut(children)[slot], shift - BITS, index),
        Node::Empty => {}
    }
}
