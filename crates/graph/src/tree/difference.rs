//! Where do two trees differ? What they share is skipped by its address, unread.
//!
//! Both trees are walked side by side. Nodes that begin at the same place and are one allocation are skipped whole;
//! others are opened, the side that lies behind first.
//!
//! Cost: O(what is not shared · fanout).

use std::sync::Arc;

use super::{Child, Item, Node, Tree};

/// What is left of one tree: nodes by their first key, the next one last; before them, items of an opened leaf.
struct Rest<'a, T: Item> {
    items: &'a [T],
    nodes: Vec<(T::Key, &'a Node<T>)>,
}

impl<'a, T: Item> Rest<'a, T> {
    fn of(tree: &'a Tree<T>) -> Rest<'a, T> {
        let first = tree.nth(0).map(Item::key);
        Rest { items: &[], nodes: first.into_iter().zip(&tree.root).collect() }
    }

    /// The next key, and the node that begins with it if that is not opened yet.
    fn next(&self) -> Option<(T::Key, Option<&'a Node<T>>)> {
        match self.items.first() {
            Some(item) => Some((item.key(), None)),
            None => self.nodes.last().map(|(key, node)| (*key, Some(*node))),
        }
    }

    /// Opens the next node.
    fn open(&mut self) {
        match self.nodes.pop() {
            Some((_, Node::Leaf(items))) => self.items = items,
            Some((_, Node::Inner(children))) => {
                self.nodes.extend(children.iter().rev().map(|Child { first, node, .. }| (*first, node)));
            }
            None => {}
        }
    }

    fn skip_node(&mut self) {
        self.nodes.pop();
    }

    fn take_item(&mut self) -> Option<&'a T> {
        let (first, rest) = self.items.split_first()?;
        self.items = rest;
        Some(first)
    }
}

impl<T: Item + PartialEq> Tree<T> {
    /// Visits the keys that only one of two trees has, or that have other items, ascending; with the items.
    pub(crate) fn differences<'a>(
        old: &'a Tree<T>,
        new: &'a Tree<T>,
        visit: &mut impl FnMut(T::Key, Option<&'a T>, Option<&'a T>),
    ) {
        let (mut old, mut new) = (Rest::of(old), Rest::of(new));
        loop {
            match (old.next(), new.next()) {
                (None, None) => return,
                (Some((_, Some(of_old))), Some((_, Some(of_new)))) if is_shared(of_old, of_new) => {
                    old.skip_node();
                    new.skip_node();
                }
                (Some((key, of_old)), Some((other, of_new))) if key == other => match (of_old, of_new) {
                    (None, None) => {
                        let (old, new) = (old.take_item(), new.take_item());
                        if old != new {
                            visit(key, old, new);
                        }
                    }
                    // The taller node is opened, so that what lies under it may meet the other.
                    (Some(of_old), Some(of_new)) => {
                        if height(of_old) >= height(of_new) {
                            old.open();
                        }
                        if height(of_new) >= height(of_old) {
                            new.open();
                        }
                    }
                    (Some(_), None) => old.open(),
                    (None, Some(_)) => new.open(),
                },
                (Some((key, node)), other) if other.is_none_or(|(other, _)| key < other) => match node {
                    Some(_) => old.open(),
                    None => visit(key, old.take_item(), None),
                },
                (_, Some((key, node))) => match node {
                    Some(_) => new.open(),
                    None => visit(key, None, new.take_item()),
                },
                // The case above took this one.
                (Some(_), None) => return,
            }
        }
    }
}

fn is_shared<T: Item>(one: &Node<T>, other: &Node<T>) -> bool {
    match (one, other) {
        (Node::Leaf(one), Node::Leaf(other)) => Arc::ptr_eq(one, other),
        (Node::Inner(one), Node::Inner(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// Levels below a node.
fn height<T: Item>(mut node: &Node<T>) -> u32 {
    let mut levels = 0;
    while let Node::Inner(children) = node
        && let Some(first) = children.first()
    {
        node = &first.node;
        levels += 1;
    }
    levels
}
