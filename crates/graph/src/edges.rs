//! All edges of one class, by resource.

use crate::leaf::LeafRef;
use crate::run::{Run, RunIter};
use crate::trie::Trie;

/// Edges of one class in ascending (resource, subject); see [`Root::edges`](crate::Root::edges).
#[derive(Debug, Clone)]
pub struct Edges<'a> {
    rows: Rows<'a>,
    resource: u32,
    subjects: RunIter<'a>,
}

impl<'a> Edges<'a> {
    pub(crate) fn new(rows: Rows<'a>) -> Edges<'a> {
        Edges { rows, resource: 0, subjects: Run::EMPTY.iter() }
    }
}

impl Iterator for Edges<'_> {
    type Item = (u32, u32);

    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        loop {
            if let Some(subject) = self.subjects.next() {
                return Some((self.resource, subject));
            }
            let (resource, subjects) = self.rows.next()?;
            self.resource = resource;
            self.subjects = subjects.iter();
        }
    }
}

/// Rows of one class that are not empty, by object.
#[derive(Debug, Clone)]
pub(crate) struct Rows<'a> {
    trie: Option<&'a Trie>,
    local: u32,
    /// The leaf being read and the first object it covers.
    leaf: Option<(LeafRef<'a>, u64)>,
    next: u64,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(trie: Option<&'a Trie>, local: u32, from: u32) -> Rows<'a> {
        Rows { trie, local, leaf: None, next: u64::from(from) }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = (u32, Run<'a>);

    fn next(&mut self) -> Option<(u32, Run<'a>)> {
        loop {
            let Some((leaf, start)) = self.leaf else {
                let found = self.trie?.leaf_from(self.next)?;
                self.next = self.next.max(found.1);
                self.leaf = Some(found);
                continue;
            };
            while self.next < start + (1 << leaf.bits) {
                let object = self.next;
                self.next += 1;
                let run = leaf.row((object - start) as u32).run(self.local);
                if !run.is_empty() {
                    // Objects have 32 bits: no leaf holds a row of a later one.
                    return Some((object as u32, run));
                }
            }
            self.leaf = None;
        }
    }
}
