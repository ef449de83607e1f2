//! Patches: the net difference between two roots, and a root with it.
//!
//! ```text
//! patch chunk  kind 1 | section…
//! section      what 1 | type or class v | bytes v | items
//! names        first number v | id s…
//! births       (revision − revision before) · 2 + is there v | first number − first number before z, if there
//! edges        object − object before v | local class · 2 + is there v | number v        (by resource)
//! attributes   key − key before v | attributes, without any where there are none any more
//! ```
//! Differences are to 0 at the beginning of a section. In a patch, ids come before the edges that name them.
//!
//! Reading collects what several patches say of an edge and changes each leaf once.

use std::collections::BTreeMap;

use idhini_model::OBJECT_ID_BYTES_MAX;

use super::bytes::{Decoded, Reader, put_text, put_varint, put_wide_varint, put_zigzag};
use super::chunks::CHUNK_BYTES;
use super::tables::{UsesRead, UsesWritten};
use super::write::KIND_PATCH;
use crate::attributes::{AttributeChange, Attributed, Attributes};
use crate::leaf::{Effect, Numbers, Op};
use crate::names::Birth;
use crate::root::Root;
use crate::tree::{Edit, Tree};
use crate::trie::{EdgeDifference, Trie};
use crate::{ClassId, EdgeAttributes, TypeId};

const NAMES: u8 = 1;
const BIRTHS: u8 = 2;
const EDGES: u8 = 3;
const ATTRIBUTES: u8 = 4;

/// Differences of edges are collected up to this many before they are applied.
const PENDING_MAX: usize = if cfg!(test) { 8 } else { 1 << 20 };

/// Makes chunks of differences.
pub(super) struct PatchWriter<F, E> {
    sink: F,
    chunk: Vec<u8>,
    section: Vec<u8>,
    /// What the section is about.
    about: (u8, u32),
    failed: Option<E>,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> PatchWriter<F, E> {
    pub(super) fn new(sink: F) -> PatchWriter<F, E> {
        PatchWriter { sink, chunk: Vec::new(), section: Vec::new(), about: (0, 0), failed: None }
    }

    /// Writes what `new` has and `old` does not, and the reverse; `new` continues `old`.
    pub(super) fn differences(&mut self, old: &Root, new: &Root) {
        let ids = || (0..new.types.len() as u32).map(TypeId).filter(|id| !shares(old, new, *id));
        ids().for_each(|id| self.names(old, new, id));
        ids().for_each(|id| self.births(old, new, id));
        ids().for_each(|id| self.edges(old, new, id));
        (0..new.classes.len() as u32).map(ClassId).for_each(|class| self.attributes(old, new, class));
    }

    /// Ends the last chunk.
    pub(super) fn finish(mut self) -> Result<(), E> {
        self.end_section();
        self.end_chunk();
        self.failed.map_or(Ok(()), Err)
    }

    fn names(&mut self, old: &Root, new: &Root, id: TypeId) {
        for number in old.object_count(id)..new.object_count(id) {
            let (out, is_first) = self.item(NAMES, id.0);
            if is_first {
                put_varint(out, u64::from(number));
            }
            put_text(out, new.object_id(id, number));
        }
    }

    fn births(&mut self, old: &Root, new: &Root, id: TypeId) {
        let empty: Tree<Birth> = Tree::new();
        let [of_old, of_new] =
            [old, new].map(|root| root.table(id).map_or(&empty, |table| table.names.births_tree()));
        let mut before = Birth { revision: 0, first: 0 };
        Tree::differences(of_old, of_new, &mut |revision, _, birth| {
            // What the floor takes away need not be said.
            if birth.is_none() && revision < new.undoable_from.0 {
                return;
            }
            let (out, is_first) = self.item(BIRTHS, id.0);
            if is_first {
                before = Birth { revision: 0, first: 0 };
            }
            let step = u128::from(revision - before.revision);
            put_wide_varint(out, step << 1 | u128::from(birth.is_some()));
            before.revision = revision;
            if let Some(birth) = birth {
                put_zigzag(out, i64::from(birth.first) - i64::from(before.first));
                before.first = birth.first;
            }
        });
    }

    fn edges(&mut self, old: &Root, new: &Root, id: TypeId) {
        let (empty, mut edges, mut before) = (Trie::new(), Vec::new(), 0);
        let [old, new] = [old, new].map(|root| root.table(id).map_or(&empty, |table| &table.forward));
        Trie::differences(old, new, &mut |group| {
            group.edges(&mut edges);
            for EdgeDifference { object, class, number, is_new } in &edges {
                let (out, is_first) = self.item(EDGES, id.0);
                if is_first {
                    before = 0;
                }
                put_varint(out, u64::from(object - before));
                put_varint(out, u64::from(*class) << 1 | u64::from(*is_new));
                put_varint(out, u64::from(*number));
                before = *object;
            }
        });
    }

    fn attributes(&mut self, old: &Root, new: &Root, class: ClassId) {
        let empty: Tree<Attributed> = Tree::new();
        let [old, new] = [old, new].map(|root| root.attribute_tree(class).unwrap_or(&empty));
        let (mut before, mut uses) = (0, UsesWritten::default());
        let nothing = EdgeAttributes { caveat: None, expires_at: None };
        Tree::differences(old, new, &mut |edge, _, attributed| {
            let (out, is_first) = self.item(ATTRIBUTES, class.0);
            if is_first {
                (before, uses) = (0, UsesWritten::default());
            }
            put_varint(out, edge - before);
            uses.put(out, attributed.map_or(&nothing, |attributed| &attributed.attributes));
            before = edge;
        });
    }

    /// Where the next item goes, and whether it is the first of a section.
    fn item(&mut self, what: u8, index: u32) -> (&mut Vec<u8>, bool) {
        let is_full = self.chunk.len() + self.section.len() >= CHUNK_BYTES;
        if is_full || self.about != (what, index) {
            self.end_section();
            self.about = (what, index);
        }
        if is_full {
            self.end_chunk();
        }
        let is_first = self.section.is_empty();
        (&mut self.section, is_first)
    }

    fn end_section(&mut self) {
        if self.section.is_empty() {
            return;
        }
        if self.chunk.is_empty() {
            self.chunk.push(KIND_PATCH);
        }
        self.chunk.push(self.about.0);
        put_varint(&mut self.chunk, u64::from(self.about.1));
        put_varint(&mut self.chunk, self.section.len() as u64);
        self.chunk.append(&mut self.section);
    }

    fn end_chunk(&mut self) {
        if !self.chunk.is_empty() && self.failed.is_none() {
            self.failed = (self.sink)(&self.chunk).err();
        }
        self.chunk.clear();
    }
}

fn shares(old: &Root, new: &Root, id: TypeId) -> bool {
    let [old, new] = [old, new].map(|root| root.types.item(id.0 as usize));
    old.zip(new).is_some_and(|(old, new)| std::sync::Arc::ptr_eq(old, new))
}

/// What patches say, until it is applied.
#[derive(Default)]
pub(super) struct Pending {
    /// By resource type; with the position of its patch, so that of several the last counts.
    ops: BTreeMap<TypeId, Vec<Op>>,
    attributes: BTreeMap<ClassId, BTreeMap<u64, EdgeAttributes>>,
    patches: u32,
    items: usize,
}

impl Pending {
    /// A patch has been read; applies what was collected when that is much.
    pub(super) fn end_patch(&mut self, root: &mut Root) -> Result<(), &'static str> {
        self.patches += 1;
        if self.items >= PENDING_MAX || self.patches as usize >= Op::INDEX_END {
            self.apply(root)
        } else {
            Ok(())
        }
    }

    /// Reads a chunk: ids and births are put into the root, edges and attributes are collected.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, root: &mut Root) -> Decoded<()> {
        while !reader.is_at_end() {
            let what = reader.byte()?;
            let index = reader.narrow()?;
            let bytes = reader.count(1)?;
            let end = reader.remaining() - bytes;
            match what {
                NAMES => read_names(reader, end, root, TypeId(index))?,
                BIRTHS => read_births(reader, end, root, TypeId(index))?,
                EDGES => self.read_edges(reader, end, root, TypeId(index))?,
                ATTRIBUTES => self.read_attributes(reader, end, root, ClassId(index))?,
                _ => return Err(reader.malformed("a section of no known kind")),
            }
            if reader.remaining() != end {
                return Err(reader.malformed("a section does not end where it says"));
            }
        }
        Ok(())
    }

    fn read_edges(&mut self, reader: &mut Reader<'_>, end: usize, root: &Root, id: TypeId) -> Decoded<()> {
        let Some(record) = root.catalog.types().get(id.0 as usize) else {
            return Err(reader.malformed("edges of a type that is not registered"));
        };
        let objects_end = root.object_count(id);
        let subjects = |class: &ClassId| {
            let class = root.class(*class);
            let table = root.table(class.subject_type)?;
            Some(Numbers::of_subjects(&class.key.subject, &table.names))
        };
        let subjects: Vec<Option<Numbers>> = record.forward.iter().map(subjects).collect();
        let ops = self.ops.entry(id).or_default();
        let mut object = 0u32;
        while reader.remaining() > end {
            let next = object.checked_add(reader.narrow()?).filter(|object| *object < objects_end);
            let class = reader.varint()?;
            let number = reader.narrow()?;
            let admitted = usize::try_from(class >> 1).ok().and_then(|class| *subjects.get(class)?);
            let (Some(next), Some(admitted)) = (next, admitted) else {
                return Err(reader.malformed("an edge of an object or a class that does not exist"));
            };
            if !admitted.contain(number) {
                return Err(reader.malformed("an edge to an object that does not exist or is not admitted"));
            }
            let effect = if class & 1 == 1 { Effect::Insert } else { Effect::Remove };
            ops.push(Op::new(next, (class >> 1) as u32, number, self.patches, effect));
            self.items += 1;
            object = next;
        }
        Ok(())
    }

    fn read_attributes(
        &mut self,
        reader: &mut Reader<'_>,
        end: usize,
        root: &Root,
        class: ClassId,
    ) -> Decoded<()> {
        if root.catalog.class(class).is_none() {
            return Err(reader.malformed("attributes of a class that is not registered"));
        }
        let collected = self.attributes.entry(class).or_default();
        let (mut edge, mut uses) = (0u64, UsesRead::default());
        while reader.remaining() > end {
            let next = edge.checked_add(reader.varint()?);
            edge = next.ok_or_else(|| reader.malformed("attributes of an edge beyond all numbers"))?;
            collected.insert(edge, uses.read(reader)?);
            self.items += 1;
        }
        Ok(())
    }

    /// Applies what was collected.
    pub(super) fn apply(&mut self, root: &mut Root) -> Result<(), &'static str> {
        let Pending { ops, attributes, .. } = std::mem::take(self);
        let catalog = std::sync::Arc::clone(&root.catalog);
        let mut reverse: BTreeMap<TypeId, Vec<Op>> = BTreeMap::new();
        for (id, mut ops) in ops {
            ops.sort_unstable();
            let classes = &catalog.types()[id.0 as usize].forward;
            let mut net = Vec::with_capacity(ops.len());
            for ops in ops.chunk_by(|a, b| a.same_edge(*b)) {
                net.extend(net_effect(root, classes, ops)?);
            }
            for op in &net {
                let class = classes[op.class() as usize];
                let record = &catalog.classes()[class.0 as usize];
                let op = Op::new(op.number(), record.reverse_local, op.object(), 0, op.effect());
                reverse.entry(record.class.subject_type).or_default().push(op);
            }
            root.count_edges(classes, &net);
            if let Some(table) = root.table_mut(id) {
                table.forward.update(&net);
            }
        }
        for (id, mut ops) in reverse {
            ops.sort_unstable();
            if let Some(table) = root.table_mut(id) {
                table.reverse.update(&ops);
            }
        }
        for (class, edges) in attributes {
            let changes: Vec<AttributeChange<'_>> = edges
                .iter()
                .map(|(edge, EdgeAttributes { caveat, expires_at })| {
                    let attributes = Attributes { caveat: caveat.as_deref(), expires_at: *expires_at };
                    AttributeChange {
                        resource: (edge >> 32) as u32,
                        subject: *edge as u32,
                        attributes: (!attributes.is_empty()).then_some(attributes),
                    }
                })
                .collect();
            if let Some(table) = root.classes.item_mut(class.0 as usize) {
                table.change_attributes(&changes);
            }
        }
        root.note_attributes();
        Ok(())
    }
}

/// What the ops of one edge, in the order of their patches, come to; they must alternate, and fit what is there.
fn net_effect(root: &Root, classes: &[ClassId], ops: &[Op]) -> Result<Option<Op>, &'static str> {
    let (Some(first), Some(last)) = (ops.first(), ops.last()) else { return Ok(None) };
    let is_present = root.subjects(classes[first.class() as usize], first.object()).contains(first.number());
    if is_present != (first.effect() == Effect::Remove) {
        return Err("a patch adds an edge that there is, or removes one that there is not");
    }
    if ops.windows(2).any(|pair| pair[0].effect() == pair[1].effect() || pair[0].index() == pair[1].index()) {
        return Err("a patch says of an edge what the one before it says");
    }
    Ok((first.effect() == last.effect()).then_some(*last))
}

fn read_names(reader: &mut Reader<'_>, end: usize, root: &mut Root, id: TypeId) -> Decoded<()> {
    if u64::from(root.object_count(id)) != reader.varint()? {
        return Err(reader.malformed("ids are out of place"));
    }
    let Some(names) = root.table_mut(id).map(|table| &mut table.names) else {
        return Err(reader.malformed("ids of a type that is not registered"));
    };
    while reader.remaining() > end {
        let text = reader.text()?;
        let hash = names.hash(text);
        if text.len() > OBJECT_ID_BYTES_MAX || names.count() == u32::MAX {
            return Err(reader.malformed("an object id is too long, or one too many"));
        }
        if names.number_hashed(hash, text).is_some() {
            return Err(reader.malformed("two objects of a type have the same id"));
        }
        names.insert(hash, text);
    }
    Ok(())
}

fn read_births(reader: &mut Reader<'_>, end: usize, root: &mut Root, id: TypeId) -> Decoded<()> {
    let Some(names) = root.table_mut(id).map(|table| &mut table.names) else {
        return Err(reader.malformed("births of a type that is not registered"));
    };
    let mut edits: Vec<Edit<Birth>> = Vec::new();
    let mut before = Birth { revision: 0, first: 0 };
    while reader.remaining() > end {
        let step = reader.wide_varint()?;
        let revision = u64::try_from(step >> 1).ok().and_then(|step| step.checked_add(before.revision));
        let revision = revision.filter(|at| edits.is_empty() || *at > before.revision);
        let Some(revision) = revision else { return Err(reader.malformed("births are out of order")) };
        before.revision = revision;
        if step & 1 == 0 {
            edits.push(Edit::Remove(revision));
            continue;
        }
        let first = reader.zigzag()?.checked_add(i64::from(before.first)).map(u32::try_from);
        let Some(Ok(first)) = first else { return Err(reader.malformed("a birth is out of range")) };
        before.first = first;
        edits.push(Edit::Put(Birth { revision, first }));
    }
    names.births_tree_mut().update(&edits);
    Ok(())
}
