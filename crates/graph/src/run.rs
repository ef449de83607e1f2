//! One row's numbers of one class: how many, which, from where on?
//!
//! A short run is a slice of its leaf, a long one a tree of chunks; callers do not see which.
//!
//! Cost: `len` O(1); `contains`, `position` and `nth` O(log n); iteration O(1) a number.

use crate::tree::Tree;

/// Sorted object numbers of one row; borrowed from its root.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    repr: Repr<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Repr<'a> {
    /// Words of a leaf that agree in all but the bits of `mask`.
    Words {
        words: &'a [u32],
        mask: u32,
    },
    Tree(&'a Tree<u32>),
}

impl<'a> Run<'a> {
    /// Of no edges.
    pub const EMPTY: Run<'static> = Run { repr: Repr::Words { words: &[], mask: 0 } };

    pub(crate) fn words(words: &'a [u32], mask: u32) -> Run<'a> {
        Run { repr: Repr::Words { words, mask } }
    }

    pub(crate) fn tree(tree: &'a Tree<u32>) -> Run<'a> {
        Run { repr: Repr::Tree(tree) }
    }

    /// How many numbers there are: the row's degree in this class.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        match self.repr {
            Repr::Words { words, .. } => words.len(),
            Repr::Tree(tree) => tree.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether this number is among them.
    #[must_use]
    #[inline]
    pub fn contains(self, number: u32) -> bool {
        match self.repr {
            Repr::Words { words, mask } => {
                number <= mask
                    && words
                        .first()
                        .is_some_and(|first| words.binary_search(&(first & !mask | number)).is_ok())
            }
            Repr::Tree(tree) => tree.item(number).is_some(),
        }
    }

    /// The `index`th number in ascending order.
    #[must_use]
    #[inline]
    pub fn get(self, index: usize) -> Option<u32> {
        match self.repr {
            Repr::Words { words, mask } => words.get(index).map(|word| word & mask),
            Repr::Tree(tree) => tree.nth(index).copied(),
        }
    }

    /// How many numbers are below this one.
    #[must_use]
    pub fn position(self, number: u32) -> usize {
        match self.repr {
            Repr::Words { words, mask } => words.partition_point(|word| word & mask < number),
            Repr::Tree(tree) => tree.rank(number),
        }
    }

    /// All numbers, ascending.
    #[must_use]
    #[inline]
    pub fn iter(self) -> RunIter<'a> {
        self.skip_to(0)
    }

    /// The numbers from this one on, ascending.
    #[must_use]
    pub fn iter_from(self, number: u32) -> RunIter<'a> {
        self.skip_to(if number == 0 { 0 } else { self.position(number) })
    }

    fn skip_to(self, index: usize) -> RunIter<'a> {
        match self.repr {
            Repr::Words { words, mask } => {
                RunIter { words: words.get(index..).unwrap_or_default().iter(), mask, rest: None }
            }
            Repr::Tree(tree) => RunIter { words: [].iter(), mask: u32::MAX, rest: Some((tree, index)) },
        }
    }
}

impl<'a> IntoIterator for Run<'a> {
    type Item = u32;
    type IntoIter = RunIter<'a>;

    fn into_iter(self) -> RunIter<'a> {
        self.iter()
    }
}

/// Ascending numbers of a [`Run`].
#[derive(Debug, Clone)]
pub struct RunIter<'a> {
    words: std::slice::Iter<'a, u32>,
    mask: u32,
    /// The tree whose next leaf starts at this rank.
    rest: Option<(&'a Tree<u32>, usize)>,
}

impl Iterator for RunIter<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        loop {
            if let Some(word) = self.words.next() {
                return Some(word & self.mask);
            }
            let (tree, index) = self.rest?;
            let (leaf, start) = tree.leaf_at(index)?;
            self.words = leaf[index - start..].iter();
            self.rest = Some((tree, start + leaf.len()));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = self.rest.map_or(0, |(tree, index)| tree.len().saturating_sub(index));
        (self.words.len() + rest, Some(self.words.len() + rest))
    }
}

impl ExactSizeIterator for RunIter<'_> {}
