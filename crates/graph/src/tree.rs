//! A persistent sorted set or map: how is one item of a million changed without copying the million?
//!
//! A B+ tree whose leaves are exact slices of items sorted by key; inner nodes know how many items each child
//! holds, so that the n-th item is found as fast as a key.
//!
//! # Invariants
//! * Keys ascend strictly; all leaves lie at one depth; no node is empty.
//! * What nobody else holds is moved, not cloned.
//!
//! Cost: O(log n) for reading; a batch of edits rebuilds each touched leaf once.
//! Source: counted B+ trees (Comer 1979; Knuth, volume 3, 6.2.4), made persistent by path copying.

mod difference;

use std::fmt::Debug;
use std::sync::Arc;

use crate::memory::slice_bytes;

/// Most children of an inner node. (Unit tests make trees narrow, so that few items make them high.)
const FANOUT_MAX: usize = if cfg!(test) { 4 } else { 32 };

/// What a [`Tree`] holds.
pub(crate) trait Item: Clone {
    type Key: Ord + Copy + Debug;
    /// By which items are found without their keys: the least of a subtree is known.
    type Least: Ord + Copy + Debug;
    /// Most items of a leaf.
    const LEAF_MAX: usize;
    fn key(&self) -> Self::Key;
    fn least(&self) -> Self::Least;
}

/// A number of a long run; 2 KiB a leaf.
impl Item for u32 {
    type Key = u32;
    type Least = ();
    const LEAF_MAX: usize = if cfg!(test) { 8 } else { 512 };

    fn key(&self) -> u32 {
        *self
    }

    fn least(&self) {}
}

/// One step of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Edit<T: Item> {
    /// Inserts, or replaces what has the same key.
    Put(T),
    /// Removes; nothing if absent.
    Remove(T::Key),
}

impl<T: Item> Edit<T> {
    fn key(&self) -> T::Key {
        match self {
            Edit::Put(item) => item.key(),
            Edit::Remove(key) => *key,
        }
    }
}

#[derive(Debug, Clone)]
enum Node<T: Item> {
    Leaf(Arc<[T]>),
    Inner(Arc<[Child<T>]>),
}

#[derive(Debug, Clone)]
struct Child<T: Item> {
    first: T::Key,
    len: usize,
    least: T::Least,
    node: Node<T>,
}

/// Sorted items with O(1) clone.
#[derive(Debug, Clone)]
pub(crate) struct Tree<T: Item> {
    root: Option<Node<T>>,
    len: usize,
}

impl<T: Item> Tree<T> {
    pub(crate) const fn new() -> Tree<T> {
        Tree { root: None, len: 0 }
    }

    /// A tree of items that ascend strictly by their keys.
    pub(crate) fn from_sorted(items: Vec<T>) -> Tree<T> {
        debug_assert!(items.is_sorted_by(|a, b| a.key() < b.key()));
        Tree::of(leaves(items))
    }

    fn of(mut level: Vec<Child<T>>) -> Tree<T> {
        while level.len() > 1 {
            level = inner_nodes(level);
        }
        let top = level.pop();
        let len = top.as_ref().map_or(0, |child| child.len);
        Tree { root: top.map(|child| lowest(child.node)), len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn item(&self, key: T::Key) -> Option<&T> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Leaf(items) => {
                    return items.binary_search_by_key(&key, Item::key).ok().map(|at| &items[at]);
                }
                Node::Inner(children) => node = &children[child_for(children, key)].node,
            }
        }
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.len.checked_sub(1).and_then(|index| self.nth(index))
    }

    pub(crate) fn nth(&self, index: usize) -> Option<&T> {
        let (items, start) = self.leaf_at(index)?;
        items.get(index - start)
    }

    /// How many keys are below this one.
    pub(crate) fn rank(&self, key: T::Key) -> usize {
        let Some(mut node) = self.root.as_ref() else { return 0 };
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(items) => return before + items.partition_point(|item| item.key() < key),
                Node::Inner(children) => {
                    let at = child_for(children, key);
                    before += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The leaf that holds the item of this rank, and the rank of its first item.
    pub(crate) fn leaf_at(&self, index: usize) -> Option<(&[T], usize)> {
        if index >= self.len {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut start = 0;
        loop {
            match node {
                Node::Leaf(items) => return Some((items, start)),
                Node::Inner(children) => {
                    let child = children.iter().find(|child| {
                        let inside = index - start < child.len;
                        start += if inside { 0 } else { child.len };
                        inside
                    })?;
                    node = &child.node;
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.leaves_from(0).flatten()
    }

    /// The items from this rank on, a leaf at a time.
    pub(crate) fn leaves_from(&self, rank: usize) -> impl Iterator<Item = &[T]> {
        let mut next = rank;
        std::iter::from_fn(move || {
            let (items, start) = self.leaf_at(next)?;
            let rest = &items[next - start..];
            next += rest.len();
            Some(rest)
        })
    }

    /// The least of all items.
    pub(crate) fn least(&self) -> Option<T::Least> {
        match self.root.as_ref()? {
            Node::Leaf(items) => items.iter().map(Item::least).min(),
            Node::Inner(children) => children.iter().map(|child| child.least).min(),
        }
    }

    /// The first item from this key on whose own is at most `most`; subtrees without any are skipped.
    pub(crate) fn next_at_most(&self, from: T::Key, most: T::Least) -> Option<&T> {
        fn find<T: Item>(node: &Node<T>, from: T::Key, most: T::Least) -> Option<&T> {
            match node {
                Node::Leaf(items) => items.iter().find(|item| item.key() >= from && item.least() <= most),
                Node::Inner(children) => children[child_for(children, from)..]
                    .iter()
                    .filter(|child| child.least <= most)
                    .find_map(|child| find(&child.node, from, most)),
            }
        }
        self.root.as_ref().and_then(|root| find(root, from, most))
    }

    /// Applies edits, sorted by key, none twice.
    pub(crate) fn update(&mut self, edits: &[Edit<T>]) {
        debug_assert!(edits.is_sorted_by(|a, b| a.key() < b.key()));
        if edits.is_empty() {
            return;
        }
        *self = Tree::of(match self.root.take() {
            None => leaves(puts(edits)),
            Some(node) => update_node(node, edits),
        });
    }

    /// Removes all items before this key; the others stay in the nodes they are in.
    pub(crate) fn remove_below(&mut self, key: T::Key) {
        fn rest<T: Item>(node: &Node<T>, key: T::Key) -> Option<Child<T>> {
            match node {
                Node::Leaf(items) => {
                    Child::leaf(Arc::from(&items[items.partition_point(|item| item.key() < key)..]))
                }
                Node::Inner(children) => {
                    let at = child_for(children, key);
                    let first = rest(&children[at].node, key);
                    Child::inner(first.into_iter().chain(children[at + 1..].iter().cloned()).collect())
                }
            }
        }
        if self.rank(key) > 0
            && let Some(root) = self.root.take()
        {
            *self = Tree::of(rest(&root, key).into_iter().collect());
        }
    }

    /// Bytes of the allocations that `base` does not share, and of their items.
    pub(crate) fn bytes(&self, base: Option<&Tree<T>>, item: &impl Fn(&T) -> u64) -> u64 {
        fn of<T: Item>(node: &Node<T>, base: Option<&Tree<T>>, item: &impl Fn(&T) -> u64) -> u64 {
            if base.is_some_and(|base| base.holds(node)) {
                return 0;
            }
            match node {
                Node::Leaf(items) => slice_bytes(items) + items.iter().map(item).sum::<u64>(),
                Node::Inner(children) => {
                    slice_bytes(children)
                        + children.iter().map(|child| of(&child.node, base, item)).sum::<u64>()
                }
            }
        }
        self.root.as_ref().map_or(0, |root| of(root, base, item))
    }

    /// Whether this very node is part of the tree.
    fn holds(&self, node: &Node<T>) -> bool {
        let first = match node {
            Node::Leaf(items) => items.first().map(Item::key),
            Node::Inner(children) => children.first().map(|child| child.first),
        };
        let (Some(first), Some(mut own)) = (first, self.root.as_ref()) else { return false };
        loop {
            match (own, node) {
                (Node::Leaf(own), Node::Leaf(items)) => return Arc::ptr_eq(own, items),
                (Node::Inner(own), Node::Inner(children)) if Arc::ptr_eq(own, children) => return true,
                (Node::Inner(children), _) => own = &children[child_for(children, first)].node,
                (Node::Leaf(_), Node::Inner(_)) => return false,
            }
        }
    }
}

fn child_for<T: Item>(children: &[Child<T>], key: T::Key) -> usize {
    children.partition_point(|child| child.first <= key).saturating_sub(1)
}

/// A root with a single child is one level too high.
fn lowest<T: Item>(mut node: Node<T>) -> Node<T> {
    while let Node::Inner(children) = &node
        && let [only] = &children[..]
    {
        node = only.node.clone();
    }
    node
}

/// The node's replacements at its own level: none, one or several. Recurses once a level of the tree.
fn update_node<T: Item>(node: Node<T>, edits: &[Edit<T>]) -> Vec<Child<T>> {
    match node {
        Node::Leaf(items) => leaves(merged(&items, edits)),
        Node::Inner(mut children) => {
            let owned: Vec<Child<T>> = match Arc::get_mut(&mut children) {
                Some(own) => own.iter_mut().map(Child::take).collect(),
                None => children.to_vec(),
            };
            let mut changed = Vec::with_capacity(owned.len() + 1);
            let mut rest = edits;
            let mut owned = owned.into_iter().peekable();
            while let Some(child) = owned.next() {
                let mine = match owned.peek() {
                    Some(next) => rest.partition_point(|edit| edit.key() < next.first),
                    None => rest.len(),
                };
                let (here, later) = rest.split_at(mine);
                rest = later;
                if here.is_empty() {
                    changed.push(child);
                } else {
                    changed.extend(update_node(child.node, here));
                }
            }
            if edits.iter().any(|edit| matches!(edit, Edit::Remove(_))) {
                join_small(&mut changed);
            }
            inner_nodes(changed)
        }
    }
}

impl<T: Item> Child<T> {
    /// Moves the child out of a node that is about to be dropped.
    fn take(&mut self) -> Child<T> {
        let empty = Node::Leaf(Arc::from([]));
        let node = std::mem::replace(&mut self.node, empty);
        Child { first: self.first, len: self.len, least: self.least, node }
    }

    fn leaf(items: Arc<[T]>) -> Option<Child<T>> {
        let least = items.iter().map(Item::least).min()?;
        Some(Child { first: items.first()?.key(), len: items.len(), least, node: Node::Leaf(items) })
    }

    fn inner(children: Arc<[Child<T>]>) -> Option<Child<T>> {
        let len = children.iter().map(|child| child.len).sum();
        let least = children.iter().map(|child| child.least).min()?;
        Some(Child { first: children.first()?.first, len, least, node: Node::Inner(children) })
    }
}

fn puts<T: Item>(edits: &[Edit<T>]) -> Vec<T> {
    merged(&[], edits)
}

fn merged<T: Item>(items: &[T], edits: &[Edit<T>]) -> Vec<T> {
    let mut out = Vec::with_capacity(items.len() + edits.len());
    let mut rest = items;
    for edit in edits {
        let key = edit.key();
        let before = rest.partition_point(|item| item.key() < key);
        out.extend_from_slice(&rest[..before]);
        rest = &rest[before..];
        if rest.first().is_some_and(|item| item.key() == key) {
            rest = &rest[1..];
        }
        if let Edit::Put(item) = edit {
            out.push(item.clone());
        }
    }
    out.extend_from_slice(rest);
    out
}

fn leaves<T: Item>(items: Vec<T>) -> Vec<Child<T>> {
    if items.len() <= T::LEAF_MAX {
        return Child::leaf(Arc::from(items)).into_iter().collect();
    }
    evenly(items.len(), T::LEAF_MAX).filter_map(|range| Child::leaf(Arc::from(&items[range]))).collect()
}

fn inner_nodes<T: Item>(children: Vec<Child<T>>) -> Vec<Child<T>> {
    let pieces = evenly(children.len(), FANOUT_MAX);
    let mut children = children.into_iter();
    pieces.filter_map(|range| Child::inner(children.by_ref().take(range.len()).collect())).collect()
}

/// Ranges that cover `0..len` in the fewest pieces of at most `max`, as equal as can be.
fn evenly(len: usize, max: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let pieces = len.div_ceil(max);
    (0..pieces).map(move |piece| piece * len / pieces..(piece + 1) * len / pieces)
}

/// Joins neighbours that together fill at most half a node, so that removals do not leave crumbs.
fn join_small<T: Item>(children: &mut Vec<Child<T>>) {
    let mut joined: Vec<Child<T>> = Vec::with_capacity(children.len());
    for child in children.drain(..) {
        let both = match (joined.last().map(|last| &last.node), &child.node) {
            (Some(Node::Leaf(a)), Node::Leaf(b)) if a.len() + b.len() <= T::LEAF_MAX / 2 => {
                Child::leaf([&a[..], &b[..]].concat().into())
            }
            (Some(Node::Inner(a)), Node::Inner(b)) if a.len() + b.len() <= FANOUT_MAX / 2 => {
                Child::inner([&a[..], &b[..]].concat().into())
            }
            _ => None,
        };
        match both {
            Some(both) => {
                joined.pop();
                joined.push(both);
            }
            None => joined.push(child),
        }
    }
    *children = joined;
}
