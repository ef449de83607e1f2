//! Which chunks no longer hold what a root has there?
//!
//! Told by addresses, leaf by leaf. A chunk may be marked without need (a leaf was rebuilt as it had been), never
//! left unmarked where something differs.

use super::chunks::mark_stale;
use super::leaves::{run_key, trie_of};
use super::manifest::{Base, Part, Placed, Way};
use crate::attributes::Attributed;
use crate::leaf::OBJECTS_BITS;
use crate::names::Names;
use crate::root::{Root, TypeTable};
use crate::tree::Tree;
use crate::trie::Trie;
use crate::{ClassId, TypeId};

/// Marks the chunks of a base that held what `old` has, where `new` differs; drops parts that `new` does not have.
pub(super) fn mark_changes(base: &mut Base, old: &Root, new: &Root) {
    let table = |root: &'_ Root, id: TypeId| root.types.item(id.0 as usize).cloned();
    for (part, chunks) in base.iter_mut() {
        match *part {
            Part::Attributes(class) => mark_attributes(chunks, class, old, new),
            Part::Names(id) | Part::Births(id) | Part::Leaves(id, _) | Part::Runs(id, _) => {
                match (table(old, id), table(new, id)) {
                    (Some(old), Some(new)) if std::sync::Arc::ptr_eq(&old, &new) => {}
                    (Some(old), Some(new)) => mark_in_table(*part, chunks, &old, &new),
                    _ => mark_stale(chunks, 0, u128::MAX),
                }
            }
        }
    }
}

fn mark_in_table(part: Part, chunks: &mut [Placed], old: &TypeTable, new: &TypeTable) {
    let tries = |way: Way| (trie_of(old, way), trie_of(new, way));
    match part {
        Part::Names(_) => {
            if let Some(number) = Names::first_difference(&old.names, &new.names) {
                // Blocks are written whole.
                mark_stale(chunks, u128::from(number / Names::BLOCK_IDS * Names::BLOCK_IDS), u128::MAX);
            }
        }
        Part::Births(_) => {
            Tree::differences(old.names.births_tree(), new.names.births_tree(), &mut |revision, _, _| {
                mark_stale(chunks, u128::from(revision), u128::from(revision));
            });
        }
        Part::Leaves(_, way) => {
            let (old, new) = tries(way);
            Trie::differences(old, new, &mut |group| {
                let first = u128::from(group.start);
                mark_stale(chunks, first, first + (1 << OBJECTS_BITS) - 1);
            });
        }
        Part::Runs(_, way) => {
            let (old, new) = tries(way);
            Trie::differences(old, new, &mut |group| {
                group.moved_runs(&mut |run| {
                    let place = |number| run_key(run.object, run.class, number);
                    mark_stale(chunks, place(run.number.unwrap_or(0)), place(run.number.unwrap_or(u32::MAX)));
                });
            });
        }
        Part::Attributes(_) => {}
    }
}

fn mark_attributes(chunks: &mut [Placed], class: ClassId, old: &Root, new: &Root) {
    let empty: Tree<Attributed> = Tree::new();
    let [old, new] = [old, new].map(|root| root.attribute_tree(class).unwrap_or(&empty));
    Tree::differences(old, new, &mut |edge, _, _| mark_stale(chunks, u128::from(edge), u128::from(edge)));
}
