//! Renumbering: numbers that no relationship uses are reclaimed; the others move down, in their order.
//!
//! # Invariants
//! * Only objects without edges go, so that edges are never lost.
//! * Restoring is the exact inverse: the same ids stand at the same numbers as before.
//!
//! Cost: everything of the types that shrink, and of the types related to them, is rebuilt; nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attributes::{AttributeChange, Attributes};
use crate::leaf::{Effect, LeafEdge, Op};
use crate::names::Names;
use crate::trie::Trie;
use crate::version::ClassVersion;
use crate::{ApplyError, ClassId, Root, TypeId};

/// Edges are moved in batches of about this many.
const BATCH_EDGES: usize = 1 << 16;

/// One removed object, as entries record it: type, number, id.
type Removed = (String, u32, String);

/// By type, the new number of each old one (where it has one).
type Moves = BTreeMap<TypeId, Vec<Option<u32>>>;

impl Root {
    /// The objects that no relationship names: what a renumbering may remove, sorted by type and number.
    #[must_use]
    pub fn unused_objects(&self) -> Vec<(String, u32, String)> {
        let mut types: Vec<(TypeId, &str)> = self.types().collect();
        types.sort_unstable_by_key(|(_, name)| *name);
        let mut unused = Vec::new();
        for (id, name) in types {
            for number in (0..self.object_count(id)).filter(|number| !self.has_edges(id, *number)) {
                unused.push((name.to_owned(), number, self.object_id(id, number).to_owned()));
            }
        }
        unused
    }

    /// Applies a renumbering.
    pub(crate) fn remove_objects(&mut self, removed: &[Removed]) -> Result<(), ApplyError> {
        expect_sorted(removed)?;
        let mut moves = Moves::new();
        let mut names = BTreeMap::new();
        for group in removed.chunk_by(|a, b| a.0 == b.0) {
            let id = self.removed_type(&group[0])?;
            for (object_type, number, object_id) in group {
                if *number >= self.object_count(id) || self.object_id(id, *number) != object_id {
                    return Err(unknown(&(object_type.clone(), *number, object_id.clone())));
                }
                if self.has_edges(id, *number) {
                    let (object_type, object_id) = (object_type.clone(), object_id.clone());
                    return Err(ApplyError::RemovedInUse { object_type, object_id });
                }
            }
            let mut gone = group.iter().map(|(_, number, _)| *number).peekable();
            let mut next = 0;
            let new_numbers: Vec<Option<u32>> = (0..self.object_count(id))
                .map(|number| {
                    if gone.next_if_eq(&number).is_some() {
                        return None;
                    }
                    next += 1;
                    Some(next - 1)
                })
                .collect();
            let kept = (0u32..)
                .zip(&new_numbers)
                .filter(|(_, new)| new.is_some())
                .map(|(old, _)| self.object_id(id, old));
            names.insert(id, self.renamed(id, kept));
            moves.insert(id, new_numbers);
        }
        self.renumber(&moves, names);
        Ok(())
    }

    /// Takes a renumbering back.
    pub(crate) fn restore_objects(&mut self, removed: &[Removed]) -> Result<(), ApplyError> {
        expect_sorted(removed)?;
        let mut moves = Moves::new();
        let mut names = BTreeMap::new();
        for group in removed.chunk_by(|a, b| a.0 == b.0) {
            let id = self.removed_type(&group[0])?;
            let count = u64::from(self.object_count(id)) + group.len() as u64;
            let mut gone = group.iter().peekable();
            let mut ids = Vec::new();
            let mut new_numbers = Vec::new();
            for number in 0..u32::try_from(count).map_err(|_| unknown(&group[group.len() - 1]))? {
                if let Some((_, _, object_id)) = gone.next_if(|removed| removed.1 == number) {
                    // What is restored must not have come back under another number.
                    if self.object(id, object_id).is_some() {
                        return Err(unknown(&(group[0].0.clone(), number, object_id.clone())));
                    }
                    ids.push(object_id.as_str());
                } else {
                    ids.push(self.object_id(id, new_numbers.len() as u32));
                    new_numbers.push(Some(number));
                }
            }
            if let Some(left) = gone.next() {
                return Err(unknown(left));
            }
            names.insert(id, self.renamed(id, ids.into_iter()));
            moves.insert(id, new_numbers);
        }
        self.renumber(&moves, names);
        Ok(())
    }

    fn removed_type(&self, removed: &Removed) -> Result<TypeId, ApplyError> {
        self.type_id(&removed.0).ok_or_else(|| unknown(removed))
    }

    fn renamed<'a>(&self, id: TypeId, ids: impl Iterator<Item = &'a str>) -> Names {
        match self.table(id) {
            Some(table) => table.names.renamed(ids),
            None => Names::new(self.seed),
        }
    }

    /// Moves all numbers that `moves` names; each move is monotone, so that order in rows stays.
    fn renumber(&mut self, moves: &Moves, names: BTreeMap<TypeId, Names>) {
        let catalog = Arc::clone(&self.catalog);
        for (id, record) in (0u32..).map(TypeId).zip(catalog.types()) {
            let moved = moves.get(&id).map(Vec::as_slice);
            let others = |locals: &[ClassId], forward: bool| -> Vec<Option<&[Option<u32>]>> {
                let other = |class: &ClassId| {
                    let class = &catalog.classes()[class.0 as usize].class;
                    let other = if forward { class.subject_type } else { class.resource_type };
                    moves.get(&other).map(Vec::as_slice)
                };
                locals.iter().map(other).collect()
            };
            let (subjects, resources) = (others(&record.forward, true), others(&record.reverse, false));
            let Some(table) = self.table(id) else { continue };
            let forward = rebuilt(&table.forward, moved, &subjects);
            let reverse = rebuilt(&table.reverse, moved, &resources);
            let Some(table) = self.table_mut(id) else { continue };
            table.forward = forward.unwrap_or_else(|| table.forward.clone());
            table.reverse = reverse.unwrap_or_else(|| table.reverse.clone());
        }
        self.move_attributes(moves);
        for (id, names) in names {
            if let Some(table) = self.table_mut(id) {
                table.names = names;
            }
        }
    }

    fn move_attributes(&mut self, moves: &Moves) {
        let catalog = Arc::clone(&self.catalog);
        for (class, record) in catalog.classes().iter().enumerate() {
            let resources = moves.get(&record.class.resource_type).map(Vec::as_slice);
            let subjects = moves.get(&record.class.subject_type).map(Vec::as_slice);
            let Some(table) = self.classes.item_mut(class) else { continue };
            if resources.is_none() && subjects.is_none() {
                continue;
            }
            table.version = ClassVersion::default();
            let Some(old) = table.attributes.take() else { continue };
            let edits: Vec<AttributeChange<'_>> = old
                .iter()
                .filter_map(|(resource, subject, attributes)| {
                    let (caveat, expires_at) = (attributes.caveat.as_deref(), attributes.expires_at);
                    Some(AttributeChange {
                        resource: moved_to(resources, resource)?,
                        subject: moved_to(subjects, subject)?,
                        attributes: Some(Attributes { caveat, expires_at }),
                    })
                })
                .collect();
            table.change_attributes(&edits);
        }
        self.note_attributes();
    }
}

/// The trie with moved numbers, or nothing if none of its numbers moves.
fn rebuilt(trie: &Trie, objects: Option<&[Option<u32>]>, numbers: &[Option<&[Option<u32>]>]) -> Option<Trie> {
    if objects.is_none() && numbers.iter().all(Option::is_none) {
        return None;
    }
    let mut new = Trie::new();
    let mut ops = Vec::new();
    let mut edges: Vec<LeafEdge> = Vec::new();
    let mut from = 0;
    while let Some((leaf, start)) = trie.leaf_from(from) {
        leaf.edges(&mut edges);
        for edge in &edges {
            let object = moved_to(objects, start as u32 + edge.slot());
            let number = moved_to(numbers[edge.class() as usize], edge.number());
            // INVARIANT: what has edges was not removed, so both have a new number.
            if let (Some(object), Some(number)) = (object, number) {
                ops.push(Op::new(object, edge.class(), number, 0, Effect::Insert));
            }
        }
        if ops.len() >= BATCH_EDGES {
            new.update(&ops);
            ops.clear();
        }
        from = start + (1 << leaf.bits);
    }
    new.update(&ops);
    Some(new)
}

fn moved_to(moves: Option<&[Option<u32>]>, number: u32) -> Option<u32> {
    match moves {
        None => Some(number),
        Some(moves) => moves.get(number as usize).copied().flatten(),
    }
}

fn expect_sorted(removed: &[Removed]) -> Result<(), ApplyError> {
    match removed.windows(2).find(|pair| (&pair[0].0, pair[0].1) >= (&pair[1].0, pair[1].1)) {
        None => Ok(()),
        Some(pair) => Err(ApplyError::RemovedUnsorted { object_type: pair[1].0.clone(), number: pair[1].1 }),
    }
}

fn unknown(removed: &Removed) -> ApplyError {
    let (object_type, number, object_id) = removed.clone();
    ApplyError::RemovedUnknown { object_type, number, object_id }
}
