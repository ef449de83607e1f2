//! Caveats and expirations of one class's edges.
//!
//! # Invariants
//! * Only edges that have an attribute are here; a class without any has no table.
//! * Equal caveat uses of a class are one allocation, which lives as long as an edge has it.
//!
//! Cost: O(log n) for an edge; nothing for a class without attributes. Inner nodes know the earliest expiration
//! below them, so that finding what has expired costs O(log n) for each edge that has, and no index.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use idhini_model::{CaveatUse, ContextValue, Timestamp};

use crate::memory::arc_bytes;
use crate::names::hash;
use crate::tree::{Edit, Item, Tree};

/// Attributes of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeAttributes {
    /// The condition under which the edge counts.
    pub caveat: Option<Arc<CaveatUse>>,
    /// The moment from which it does not count.
    pub expires_at: Option<Timestamp>,
}

/// Attributes as an entry names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    pub(crate) caveat: Option<&'a CaveatUse>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Attributes<'_> {
    pub(crate) fn is_empty(self) -> bool {
        self.caveat.is_none() && self.expires_at.is_none()
    }

    pub(crate) fn are(self, stored: Option<&EdgeAttributes>) -> bool {
        match stored {
            None => self.is_empty(),
            Some(stored) => self.caveat == stored.caveat.as_deref() && self.expires_at == stored.expires_at,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct AttributeTable {
    edges: Tree<Attributed>,
    uses: Tree<Uses>,
}

/// One edge that has attributes, by [`key`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attributed {
    pub(crate) edge: u64,
    pub(crate) attributes: EdgeAttributes,
}

/// When an edge expires; never is latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expiry {
    At(Timestamp),
    Never,
}

/// The caveat uses of one hash, each with the number of edges that have it.
#[derive(Debug, Clone)]
struct Uses {
    hash: u64,
    uses: Vec<(Arc<CaveatUse>, u32)>,
}

impl Item for Attributed {
    type Key = u64;
    type Least = Expiry;
    const LEAF_MAX: usize = if cfg!(test) { 4 } else { 64 };

    fn key(&self) -> u64 {
        self.edge
    }

    fn least(&self) -> Expiry {
        self.attributes.expires_at.map_or(Expiry::Never, Expiry::At)
    }
}

impl Item for Uses {
    type Key = u64;
    type Least = ();
    const LEAF_MAX: usize = if cfg!(test) { 4 } else { 64 };

    fn key(&self) -> u64 {
        self.hash
    }

    fn least(&self) {}
}

/// What happens to the attributes of one edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributeChange<'a> {
    pub(crate) resource: u32,
    pub(crate) subject: u32,
    /// `None`: the edge goes.
    pub(crate) attributes: Option<Attributes<'a>>,
}

pub(crate) fn key(resource: u32, subject: u32) -> u64 {
    u64::from(resource) << 32 | u64::from(subject)
}

impl AttributeTable {
    pub(crate) fn new() -> AttributeTable {
        AttributeTable { edges: Tree::new(), uses: Tree::new() }
    }

    /// A table of edges that ascend strictly, each with an attribute at least.
    pub(crate) fn from_sorted(edges: Vec<Attributed>) -> AttributeTable {
        let mut edges = edges;
        let mut uses: HashMap<u64, Vec<(Arc<CaveatUse>, u32)>> = HashMap::new();
        for caveat in edges.iter_mut().filter_map(|edge| edge.attributes.caveat.as_mut()) {
            let uses = uses.entry(content_hash(caveat)).or_default();
            match uses.iter_mut().find(|(have, _)| have == caveat) {
                Some((shared, count)) => {
                    *count += 1;
                    *caveat = Arc::clone(shared);
                }
                None => uses.push((Arc::clone(caveat), 1)),
            }
        }
        let mut uses: Vec<Uses> = uses.into_iter().map(|(hash, uses)| Uses { hash, uses }).collect();
        uses.sort_unstable_by_key(|uses| uses.hash);
        AttributeTable { edges: Tree::from_sorted(edges), uses: Tree::from_sorted(uses) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    pub(crate) fn edges(&self) -> &Tree<Attributed> {
        &self.edges
    }

    /// The first edge from this one on that has expired at this instant.
    pub(crate) fn next_expired(&self, from: u64, instant: Timestamp) -> Option<u64> {
        self.edges.next_at_most(from, Expiry::At(instant)).map(|edge| edge.edge)
    }

    /// When the first of all edges expires.
    pub(crate) fn next_expiration(&self) -> Option<Timestamp> {
        match self.edges.least()? {
            Expiry::At(at) => Some(at),
            Expiry::Never => None,
        }
    }

    pub(crate) fn attributes(&self, resource: u32, subject: u32) -> Option<&EdgeAttributes> {
        self.edges.item(key(resource, subject)).map(|edge| &edge.attributes)
    }

    /// Applies changes, sorted by resource and subject, none twice.
    pub(crate) fn update(&mut self, changes: &[AttributeChange<'_>]) {
        let mut uses = Recount { table: &self.uses, touched: BTreeMap::new() };
        let mut edits = Vec::with_capacity(changes.len());
        for change in changes {
            let edge = key(change.resource, change.subject);
            let old = self.edges.item(edge);
            // The new use is taken before the old one is given back, lest equal ones be freed in between.
            let new =
                change.attributes.filter(|attributes| !attributes.is_empty()).map(|new| EdgeAttributes {
                    caveat: new.caveat.map(|caveat| uses.take(caveat)),
                    expires_at: new.expires_at,
                });
            if let Some(caveat) = old.and_then(|old| old.attributes.caveat.as_deref()) {
                uses.give_back(caveat);
            }
            match new {
                Some(attributes) => edits.push(Edit::Put(Attributed { edge, attributes })),
                None if old.is_some() => edits.push(Edit::Remove(edge)),
                None => {}
            }
        }
        let recounted: Vec<Edit<Uses>> = uses
            .touched
            .into_iter()
            .map(|(hash, mut uses)| {
                uses.retain(|(_, count)| *count > 0);
                if uses.is_empty() { Edit::Remove(hash) } else { Edit::Put(Uses { hash, uses }) }
            })
            .collect();
        self.uses.update(&recounted);
        self.edges.update(&edits);
    }

    /// All edges that have attributes, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, &EdgeAttributes)> {
        self.edges.iter().map(|edge| ((edge.edge >> 32) as u32, edge.edge as u32, &edge.attributes))
    }

    /// How many different caveat uses there are.
    #[cfg(test)]
    pub(crate) fn uses_len(&self) -> usize {
        self.uses.iter().map(|uses| uses.uses.len()).sum()
    }

    /// Bytes that `base` does not share.
    pub(crate) fn bytes(&self, base: Option<&AttributeTable>) -> u64 {
        let shared = |hash: u64, caveat: &Arc<CaveatUse>| {
            let uses = base.and_then(|base| base.uses.item(hash));
            uses.is_some_and(|uses| uses.uses.iter().any(|(have, _)| Arc::ptr_eq(have, caveat)))
        };
        let of_uses = |uses: &Uses| {
            let table = (uses.uses.capacity() * size_of::<(Arc<CaveatUse>, u32)>()) as u64;
            let own = uses.uses.iter().filter(|(caveat, _)| !shared(uses.hash, caveat));
            table + own.map(|(caveat, _)| caveat_bytes(caveat)).sum::<u64>()
        };
        arc_bytes::<AttributeTable>()
            + self.edges.bytes(base.map(|base| &base.edges), &|_| 0)
            + self.uses.bytes(base.map(|base| &base.uses), &of_uses)
    }
}

fn caveat_bytes(caveat: &CaveatUse) -> u64 {
    let values = caveat.context.0.iter().map(|(key, value)| key.capacity() + value_bytes(value));
    arc_bytes::<CaveatUse>() + (caveat.name.capacity() + values.sum::<usize>()) as u64
}

/// Counts of caveat uses while a batch changes them.
struct Recount<'a> {
    table: &'a Tree<Uses>,
    touched: BTreeMap<u64, Vec<(Arc<CaveatUse>, u32)>>,
}

impl Recount<'_> {
    fn of(&mut self, caveat: &CaveatUse) -> &mut Vec<(Arc<CaveatUse>, u32)> {
        let hash = content_hash(caveat);
        let stored = || self.table.item(hash).map_or_else(Vec::new, |uses| uses.uses.clone());
        self.touched.entry(hash).or_insert_with(stored)
    }

    fn take(&mut self, caveat: &CaveatUse) -> Arc<CaveatUse> {
        let uses = self.of(caveat);
        if let Some((shared, count)) = uses.iter_mut().find(|(have, _)| **have == *caveat) {
            *count += 1;
            return Arc::clone(shared);
        }
        let shared = Arc::new(caveat.clone());
        uses.push((Arc::clone(&shared), 1));
        shared
    }

    fn give_back(&mut self, caveat: &CaveatUse) {
        if let Some((_, count)) = self.of(caveat).iter_mut().find(|(have, _)| **have == *caveat) {
            *count -= 1;
        }
    }
}

fn content_hash(caveat: &CaveatUse) -> u64 {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{}:{}", caveat.name, caveat.context);
    hash(0, text.as_bytes())
}

/// About what a value allocates. Recursion ends at the model's depth limit for values.
fn value_bytes(value: &ContextValue) -> usize {
    let own = size_of::<ContextValue>();
    own + match value {
        ContextValue::String(text) => text.capacity(),
        ContextValue::List(items) => items.iter().map(value_bytes).sum(),
        ContextValue::Map(map) => map.iter().map(|(key, value)| key.capacity() + value_bytes(value)).sum(),
        ContextValue::Null | ContextValue::Bool(_) | ContextValue::Number(_) => 0,
    }
}
