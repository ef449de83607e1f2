//! Writing an image: all of it, or what the one before it lacks.

use std::collections::HashSet;
use std::ops::Range;

use idhini_model::Revision;

use super::chunks::{Cutter, Sink, Store, refreshed};
use super::leaves::{put_leaves, put_runs, trie_of};
use super::manifest::{Base, ChunkRef, Manifest, Part, Placed, Way};
use super::patch::PatchWriter;
use super::stale::mark_changes;
use super::tables::{put_attributes, put_births, put_catalog, put_counters, put_names};
use super::{Image, Written};
use crate::root::Root;
use crate::{ClassId, TypeId};

/// A base is brought up to date when patches have grown to one part in this many of it.
const PATCH_SHARE: u64 = 16;
/// Patches may always have this many bytes: what a small base would save is not worth its writing.
const PATCH_BYTES_FREE: u64 = if cfg!(test) { 256 } else { 64 * 1024 };
/// Most patches on a base.
const PATCHES_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// The first byte of each chunk, by what it holds.
pub(super) const KIND_CATALOG: u8 = 1;
pub(super) const KIND_NAMES: u8 = 2;
pub(super) const KIND_BIRTHS: u8 = 3;
pub(super) const KIND_LEAVES: u8 = 4;
pub(super) const KIND_RUNS: u8 = 5;
pub(super) const KIND_ATTRIBUTES: u8 = 6;
pub(super) const KIND_PATCH: u8 = 7;
pub(super) const KIND_COUNTERS: u8 = 8;

pub(super) fn kind_of(part: Part) -> u8 {
    match part {
        Part::Names(_) => KIND_NAMES,
        Part::Births(_) => KIND_BIRTHS,
        Part::Leaves(..) => KIND_LEAVES,
        Part::Runs(..) => KIND_RUNS,
        Part::Attributes(_) => KIND_ATTRIBUTES,
    }
}

pub(super) fn whole<'s, E>(root: &Root, floor: Revision, sink: &'s mut Sink<'s, E>) -> Result<Image, E> {
    let root = pinned(root, floor);
    let mut store = Store::new(HashSet::new(), sink);
    let tables = tables(&root, &mut store)?;
    let base = base(&root, &Base::new(), &mut store)?;
    let written = Written { is_base: true, ..store.written };
    Ok(image(root, &tables, base, Vec::new(), written))
}

pub(super) fn next<'s, E>(
    before: &Image,
    root: &Root,
    floor: Revision,
    sink: &'s mut Sink<'s, E>,
) -> Result<Image, E> {
    let root = pinned(root, floor);
    let Manifest { base: old_base, patches, .. } = &before.manifest;
    let known = before.manifest.chunks().map(|chunk| chunk.digest).collect();
    let mut store = Store::new(known, sink);
    let tables = tables(&root, &mut store)?;
    let mut base_now = old_base.clone();
    mark_changes(&mut base_now, &before.root, &root);
    let room = (before.manifest.base_bytes() / PATCH_SHARE).max(PATCH_BYTES_FREE);
    let room = room.saturating_sub(before.manifest.patch_bytes());
    if patches.len() < PATCHES_MAX && patch_bytes(&before.root, &root).is_some_and(|bytes| bytes <= room) {
        let mut patch = Vec::new();
        let mut writer = PatchWriter::new(|bytes: &[u8]| {
            patch.push(store.put(bytes)?);
            Ok(())
        });
        writer.differences(&before.root, &root);
        writer.finish()?;
        let mut patches = patches.clone();
        patches.extend((!patch.is_empty()).then_some(patch));
        let written = store.written;
        return Ok(image(root, &tables, base_now, patches, written));
    }
    let base = base(&root, &base_now, &mut store)?;
    let written = Written { is_base: true, ..store.written };
    Ok(image(root, &tables, base, Vec::new(), written))
}

/// The root as it is imaged: without the births that are not asked for.
fn pinned(root: &Root, floor: Revision) -> Root {
    let mut root = root.clone();
    root.forget_undo_below(floor);
    root
}

fn image(root: Root, tables: &Tables, base: Base, patches: Vec<Vec<ChunkRef>>, written: Written) -> Image {
    let Tables { catalog, counters } = *tables;
    let manifest = Manifest {
        revision: root.revision,
        floor: root.undoable_from,
        relationships: root.relationships,
        objects: root.types().map(|(id, _)| root.object_count(id)).collect(),
        edges: root.classes().map(|(id, _)| root.class_edges(id)).collect(),
        catalog,
        counters,
        base,
        patches,
    };
    Image { manifest, root, written }
}

/// How long a patch between these roots would be; `None` if no patch says it.
fn patch_bytes(old: &Root, new: &Root) -> Option<u64> {
    if !new.continues(old) {
        return None;
    }
    let mut sum = 0;
    let mut writer = PatchWriter::new(|bytes: &[u8]| {
        sum += bytes.len() as u64;
        Ok::<(), std::convert::Infallible>(())
    });
    writer.differences(old, new);
    match writer.finish() {
        Ok(()) => Some(sum),
        Err(never) => match never {},
    }
}

/// What every image has whole.
struct Tables {
    catalog: ChunkRef,
    counters: Option<ChunkRef>,
}

fn tables<E>(root: &Root, store: &mut Store<'_, E>) -> Result<Tables, E> {
    let mut bytes = vec![KIND_CATALOG];
    put_catalog(root, &mut bytes);
    let catalog = store.put(&bytes)?;
    let mut counters = None;
    if !root.counters.is_empty() {
        let mut bytes = vec![KIND_COUNTERS];
        put_counters(root, &mut bytes);
        counters = Some(store.put(&bytes)?);
    }
    Ok(Tables { catalog, counters })
}

/// The parts that a root has, in the order of a base.
pub(super) fn parts(types: usize, classes: usize) -> impl Iterator<Item = Part> {
    let ids = move || (0..types as u32).map(TypeId);
    let tries = move || ids().flat_map(|id| [(id, Way::Forward), (id, Way::Reverse)]);
    let names = ids().map(Part::Names).chain(ids().map(Part::Births));
    let edges =
        tries().map(|(id, way)| Part::Leaves(id, way)).chain(tries().map(|(id, way)| Part::Runs(id, way)));
    names.chain(edges).chain((0..classes as u32).map(|id| Part::Attributes(ClassId(id))))
}

/// All of a root in chunks: those of before that are not stale, and new ones.
fn base<E>(root: &Root, before: &Base, store: &mut Store<'_, E>) -> Result<Base, E> {
    let mut after = Base::new();
    for part in parts(root.types.len(), root.classes.len()) {
        let before = before.get(&part).map_or(&[][..], Vec::as_slice);
        let encode = |range: Range<u128>, cutter: &mut Cutter<'_, '_, E>| put_part(root, part, range, cutter);
        let chunks: Vec<Placed> = refreshed(before, kind_of(part), store, encode)?;
        if !chunks.is_empty() {
            after.insert(part, chunks);
        }
    }
    Ok(after)
}

fn put_part<E>(root: &Root, part: Part, range: Range<u128>, cutter: &mut Cutter<'_, '_, E>) -> Result<(), E> {
    let (Part::Names(id) | Part::Births(id) | Part::Leaves(id, _) | Part::Runs(id, _)) = part else {
        let Part::Attributes(class) = part else { return Ok(()) };
        let table = root.classes.item(class.0 as usize).and_then(|table| table.attributes.as_deref());
        return table.map_or(Ok(()), |table| put_attributes(table, range, cutter));
    };
    let Some(table) = root.table(id) else { return Ok(()) };
    match part {
        Part::Names(_) => put_names(&table.names, range, cutter),
        Part::Births(_) => put_births(&table.names, range, cutter),
        Part::Leaves(_, way) => put_leaves(trie_of(table, way), range, cutter),
        Part::Runs(_, way) => put_runs(trie_of(table, way), range, cutter),
        Part::Attributes(_) => Ok(()),
    }
}
