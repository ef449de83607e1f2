//! Opening an image: chunks to a root, nothing trusted.
//!
//! Each chunk is held against its digest, then against its form, then against what the other chunks say: edges name
//! objects and classes that exist, both tries of a class have the same edges, attributes are of edges, and everything
//! is as many as the manifest says.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use idhini_model::Revision;

use super::bytes::{Decoded, Reader};
use super::chunks::range_of;
use super::digest::Digest;
use super::error::{ImageError, OpenError};
use super::leaves::TrieReader;
use super::manifest::{ChunkRef, Manifest, Part, Way};
use super::patch::Pending;
use super::stale::mark_changes;
use super::tables::{
    CatalogError, CatalogRead, read_attributes, read_births, read_catalog, read_counters, read_names,
};
use super::write::{KIND_CATALOG, KIND_COUNTERS, KIND_PATCH, kind_of};
use super::{Image, Written};
use crate::attributes::AttributeTable;
use crate::catalog::Catalog;
use crate::counters::Counters;
use crate::leaf::{ClassTally, Numbers};
use crate::names::{Names, NamesBuilder};
use crate::root::{ClassTable, Root, TypeTable};
use crate::trie::Trie;
use crate::version::ClassVersion;
use crate::{ClassId, TypeId};

type Read<'r, B, E> = dyn FnMut(&ChunkRef) -> Result<B, E> + 'r;

pub(super) fn open<E, B: AsRef<[u8]>>(
    manifest: Manifest,
    seed: u64,
    read: &mut Read<'_, B, E>,
) -> Result<Image, OpenError<E>> {
    let mut chunks = Chunks { manifest: &manifest, read };
    let CatalogRead { schema_text, schema, catalog } = chunks.catalog()?;
    chunks.expect_registered(&catalog)?;
    let counters = chunks.counters()?;
    let mut base = Root {
        revision: manifest.revision,
        schema,
        schema_text,
        catalog: Arc::new(catalog),
        counters: Arc::new(counters),
        ..Root::empty_seeded(seed)
    };
    chunks.tables(&mut base)?;
    let mut root = base.clone();
    let mut pending = Pending::default();
    for patch in &manifest.patches {
        for chunk in patch {
            chunks.each(chunk, KIND_PATCH, |reader| pending.read(reader, &mut root))?;
        }
        pending.end_patch(&mut root).map_err(contradiction)?;
    }
    pending.apply(&mut root).map_err(contradiction)?;
    root.forget_undo_below(manifest.floor);
    expect_sound(&root, &manifest).map_err(contradiction)?;
    let mut manifest = manifest;
    mark_changes(&mut manifest.base, &base, &root);
    Ok(Image { manifest, root, written: Written::default() })
}

fn contradiction(what: &'static str) -> ImageError {
    ImageError::Contradiction { what }
}

/// What only the whole root shows.
fn expect_sound(root: &Root, manifest: &Manifest) -> Result<(), &'static str> {
    let objects = root.types().map(|(id, _)| root.object_count(id));
    if !objects.eq(manifest.objects.iter().copied()) {
        return Err("there are more or fewer objects than the manifest says");
    }
    let edges = root.classes().map(|(id, _)| root.class_edges(id));
    if !edges.eq(manifest.edges.iter().copied()) || root.relationships != manifest.relationships {
        return Err("there are more or fewer edges than the manifest says");
    }
    // Patches may have taken births away that a base has: of entries that were undone.
    let is_later = |(id, _)| {
        let last = root.table(id).and_then(|table| table.names.births_tree().last());
        last.is_some_and(|birth| Revision(birth.revision) > root.revision)
    };
    if root.types().any(is_later) {
        return Err("an object was named after the root");
    }
    for (class, _) in root.classes() {
        let is_edge = |resource, subject| root.subjects(class, resource).contains(subject);
        if root.attributed_edges(class).any(|(resource, subject, _)| !is_edge(resource, subject)) {
            return Err("an edge has attributes, but is not there");
        }
    }
    Ok(())
}

/// The chunks of a manifest, verified.
struct Chunks<'m, 'r, B, E> {
    manifest: &'m Manifest,
    read: &'m mut Read<'r, B, E>,
}

impl<B: AsRef<[u8]>, E> Chunks<'_, '_, B, E> {
    /// Reads all of one chunk.
    fn each(
        &mut self,
        chunk: &ChunkRef,
        kind: u8,
        read: impl FnOnce(&mut Reader<'_>) -> Decoded<()>,
    ) -> Result<(), OpenError<E>> {
        let bytes = self.bytes(chunk)?;
        let mut reader = Reader::new(bytes.as_ref());
        let kinds = reader.byte().and_then(|found| {
            if found == kind { Ok(()) } else { Err(reader.malformed("the chunk is of another kind")) }
        });
        let read = kinds.and_then(|()| read(&mut reader)).and_then(|()| reader.expect_end());
        read.map_err(|malformed| ImageError::chunk(chunk.digest, malformed).into())
    }

    fn bytes(&mut self, chunk: &ChunkRef) -> Result<B, OpenError<E>> {
        let digest = chunk.digest;
        let bytes = (self.read)(chunk).map_err(|source| OpenError::Unreadable { digest, source })?;
        let is_whole = bytes.as_ref().len() as u64 == chunk.bytes && Digest::of(bytes.as_ref()) == digest;
        if is_whole { Ok(bytes) } else { Err(ImageError::ChunkDamaged { digest }.into()) }
    }

    fn catalog(&mut self) -> Result<CatalogRead, OpenError<E>> {
        let chunk = self.manifest.catalog;
        let revision = self.manifest.revision;
        let mut found = None;
        let mut refused = None;
        self.each(&chunk, KIND_CATALOG, |reader| match read_catalog(reader, revision) {
            Ok(catalog) => {
                found = Some(catalog);
                Ok(())
            }
            Err(CatalogError::Malformed(malformed)) => Err(malformed),
            Err(CatalogError::Schema(source)) => {
                refused = Some(source);
                Ok(())
            }
        })?;
        match (found, refused) {
            (Some(catalog), _) => Ok(catalog),
            (None, Some(source)) => Err(ImageError::Schema { digest: chunk.digest, source }.into()),
            (None, None) => Err(contradiction("there is no catalog").into()),
        }
    }

    fn counters(&mut self) -> Result<Counters, OpenError<E>> {
        let mut counters = Counters::new();
        if let Some(chunk) = self.manifest.counters {
            self.each(&chunk, KIND_COUNTERS, |reader| read_counters(reader, &mut counters))?;
        }
        Ok(counters)
    }

    /// Parts must be of types and classes that the catalog has.
    fn expect_registered(&self, catalog: &Catalog) -> Result<(), ImageError> {
        let fits = |part: &Part| match part {
            Part::Attributes(id) => (id.0 as usize) < catalog.classes().len(),
            Part::Names(id) | Part::Births(id) | Part::Leaves(id, _) | Part::Runs(id, _) => {
                (id.0 as usize) < catalog.types().len()
            }
        };
        match self.manifest.base.keys().all(fits) {
            true => Ok(()),
            false => Err(contradiction("a part is of a type or a class that is not registered")),
        }
    }

    /// Reads a part, chunk by chunk, each with the range of keys that it may hold.
    fn part(
        &mut self,
        part: Part,
        mut read: impl FnMut(&mut Reader<'_>, &Range<u128>) -> Decoded<()>,
    ) -> Result<(), OpenError<E>> {
        let chunks = self.manifest.base.get(&part).map_or(&[][..], Vec::as_slice);
        for (at, placed) in chunks.iter().enumerate() {
            let range = range_of(chunks, at);
            self.each(&placed.chunk, kind_of(part), |reader| read(reader, &range))?;
        }
        Ok(())
    }

    /// Reads what types and classes have.
    fn tables(&mut self, root: &mut Root) -> Result<(), OpenError<E>> {
        let catalog = Arc::clone(&root.catalog);
        let ids = || (0..catalog.types().len() as u32).map(TypeId);
        let mut names = Vec::new();
        for id in ids() {
            names.push(self.names(id, root.seed)?);
        }
        let mut forward_tries = Vec::new();
        let mut tallies: BTreeMap<ClassId, ClassTally> = BTreeMap::new();
        for id in ids() {
            let classes = &catalog.types()[id.0 as usize].forward;
            let (trie, of_classes) = self.trie(root, id, Way::Forward, classes, &names)?;
            forward_tries.push(trie);
            tallies.extend(classes.iter().copied().zip(of_classes));
        }
        let mut reverse_tries = Vec::new();
        for id in ids() {
            let classes = &catalog.types()[id.0 as usize].reverse;
            let (trie, of_classes) = self.trie(root, id, Way::Reverse, classes, &names)?;
            reverse_tries.push(trie);
            let agrees = |(class, tally): (&ClassId, &ClassTally)| {
                tallies.get(class).is_some_and(|forward| forward.agrees(tally))
            };
            if !classes.iter().zip(&of_classes).all(agrees) {
                return Err(contradiction("the edges by resource are not those by subject").into());
            }
        }
        let tries = forward_tries.into_iter().zip(reverse_tries);
        let tables = names.into_iter().zip(tries);
        root.types = tables
            .map(|(names, (forward, reverse))| Arc::new(TypeTable { names, forward, reverse }))
            .collect();
        let mut classes = Vec::new();
        for (at, _) in (0u32..).zip(catalog.classes()) {
            let edges = tallies.get(&ClassId(at)).map_or(0, |tally| tally.edges);
            root.relationships += edges;
            let (attributes, version) = (self.attributes(ClassId(at))?, ClassVersion::default());
            classes.push(ClassTable { edges, attributes, version });
        }
        root.classes = classes.into_iter().collect();
        root.note_attributes();
        Ok(())
    }

    fn names(&mut self, id: TypeId, seed: u64) -> Result<Names, OpenError<E>> {
        let mut builder = NamesBuilder::new(seed);
        self.part(Part::Names(id), |reader, range| read_names(reader, range, &mut builder))?;
        let mut births = Vec::new();
        self.part(Part::Births(id), |reader, range| read_births(reader, range, &mut births))?;
        Ok(builder.finish(births).map_err(contradiction)?)
    }

    /// One trie of a type, and what it has of each local class.
    fn trie(
        &mut self,
        root: &Root,
        id: TypeId,
        way: Way,
        classes: &[ClassId],
        names: &[Names],
    ) -> Result<(Trie, Vec<ClassTally>), OpenError<E>> {
        let is_forward = way == Way::Forward;
        let tally = |id: &ClassId| {
            let class = root.class(*id);
            let numbers = if is_forward {
                Numbers::of_subjects(&class.key.subject, &names[class.subject_type.0 as usize])
            } else {
                Numbers::all(&names[class.resource_type.0 as usize])
            };
            ClassTally::new(root.seed, id.0, numbers, is_forward)
        };
        let tallies = classes.iter().map(tally).collect();
        let mut tries = TrieReader::new(names[id.0 as usize].count(), tallies);
        self.part(Part::Runs(id, way), |reader, places| tries.runs(reader, places))?;
        self.part(Part::Leaves(id, way), |reader, objects| tries.leaves(reader, objects))?;
        let found = tries.finish();
        Ok(found.ok_or_else(|| contradiction("a spilled run belongs to no leaf"))?)
    }

    fn attributes(&mut self, class: ClassId) -> Result<Option<Arc<AttributeTable>>, OpenError<E>> {
        let mut edges = Vec::new();
        self.part(Part::Attributes(class), |reader, range| read_attributes(reader, range, &mut edges))?;
        Ok((!edges.is_empty()).then(|| Arc::new(AttributeTable::from_sorted(edges))))
    }
}
