//! Everything but edges as chunks: ids, births, attributes, the catalog with the schema, counters.
//!
//! ```text
//! names chunk       kind 1 | block…
//! block             ids 1 | bytes v | where each id starts 2… | ids        (64 ids, the last block may have fewer)
//! births chunk      kind 1 | birth…
//! birth             revision − revision before v | first number − first number before z
//! attributes chunk  kind 1 | edge…
//! edge              key − key before v | attributes         (the key is resource · 2³² + subject)
//! attributes        tags 1 | caveat v? | moment?            (a caveat: 0 and it, or its number in the chunk)
//! catalog chunk     kind 1 | schema s | types v, each: name s, since v | classes v, each: key, since v
//! counters chunk    kind 1 | counter…                      (at least one, by name)
//! counter           name s | bytes v | filter              (as entries of the log have it)
//! ```
//! Differences are to 0 at the beginning of a chunk.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use idhini_model::{CaveatUse, Filter, Revision};
use idhini_schema::{ClassKey, Schema, SubjectKind};

use super::bytes::{Decoded, Malformed, Reader, put_caveat, put_moment, put_text, put_varint, put_zigzag};
use super::chunks::Cutter;
use crate::EdgeAttributes;
use crate::attributes::{AttributeTable, Attributed};
use crate::catalog::Catalog;
use crate::counters::Counters;
use crate::names::{Birth, Names, NamesBuilder};
use crate::root::Root;

const TAG_CAVEAT: u8 = 1;
const TAG_EXPIRES: u8 = 2;

/// Writes the ids with these numbers.
pub(super) fn put_names<E>(
    names: &Names,
    numbers: Range<u128>,
    cutter: &mut Cutter<'_, '_, E>,
) -> Result<(), E> {
    let end = numbers.end.min(u128::from(names.count()));
    let mut block = Vec::new();
    for number in (numbers.start..end).step_by(Names::BLOCK_IDS as usize) {
        block.clear();
        let count = names.put_block((number / u128::from(Names::BLOCK_IDS)) as usize, &mut block);
        cutter.piece_at(number)?;
        let out = cutter.out();
        out.push(count as u8);
        put_varint(out, block.len() as u64);
        out.extend_from_slice(&block);
    }
    Ok(())
}

pub(super) fn read_names(
    reader: &mut Reader<'_>,
    numbers: &Range<u128>,
    names: &mut NamesBuilder,
) -> Decoded<()> {
    while !reader.is_at_end() {
        if !numbers.contains(&u128::from(names.count())) {
            return Err(reader.malformed("a block of ids is out of place"));
        }
        let count = usize::from(reader.byte()?);
        let bytes = reader.count(1)?;
        let packed = reader.take(bytes)?;
        names.push_block(count, packed).map_err(|what| reader.malformed(what))?;
    }
    Ok(())
}

/// Writes the births of these revisions.
pub(super) fn put_births<E>(
    names: &Names,
    revisions: Range<u128>,
    cutter: &mut Cutter<'_, '_, E>,
) -> Result<(), E> {
    let tree = names.births_tree();
    let rank = tree.rank(u64::try_from(revisions.start).unwrap_or(u64::MAX));
    let mut before = Birth { revision: 0, first: 0 };
    let births = tree.leaves_from(rank).flatten();
    for birth in births.take_while(|birth| u128::from(birth.revision) < revisions.end) {
        if cutter.piece_at(u128::from(birth.revision))? {
            before = Birth { revision: 0, first: 0 };
        }
        put_birth(cutter.out(), before, *birth);
        before = *birth;
    }
    Ok(())
}

pub(super) fn put_birth(out: &mut Vec<u8>, before: Birth, birth: Birth) {
    put_varint(out, birth.revision - before.revision);
    put_zigzag(out, i64::from(birth.first) - i64::from(before.first));
}

pub(super) fn read_birth(reader: &mut Reader<'_>, before: Birth) -> Decoded<Birth> {
    let revision = reader.varint()?.checked_add(before.revision);
    let first = reader.zigzag()?.checked_add(i64::from(before.first));
    match (revision, first.map(u32::try_from)) {
        (Some(revision), Some(Ok(first))) => Ok(Birth { revision, first }),
        _ => Err(reader.malformed("a birth is out of range")),
    }
}

pub(super) fn read_births(
    reader: &mut Reader<'_>,
    revisions: &Range<u128>,
    births: &mut Vec<Birth>,
) -> Decoded<()> {
    let mut before = Birth { revision: 0, first: 0 };
    while !reader.is_at_end() {
        let birth = read_birth(reader, before)?;
        let follows = births.last().is_none_or(|last| last.revision < birth.revision);
        if !follows || !revisions.contains(&u128::from(birth.revision)) {
            return Err(reader.malformed("births are out of order"));
        }
        births.push(birth);
        before = birth;
    }
    Ok(())
}

/// Caveat uses that a chunk has written already.
#[derive(Default)]
pub(super) struct UsesWritten<'a>(HashMap<*const CaveatUse, u64>, std::marker::PhantomData<&'a CaveatUse>);

impl<'a> UsesWritten<'a> {
    /// Writes what an edge has. Uses that are one allocation are written once.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, attributes: &'a EdgeAttributes) {
        let tag = |is_set: bool, tag: u8| if is_set { tag } else { 0 };
        let EdgeAttributes { caveat, expires_at } = attributes;
        out.push(tag(caveat.is_some(), TAG_CAVEAT) | tag(expires_at.is_some(), TAG_EXPIRES));
        if let Some(caveat) = caveat {
            let next = self.0.len() as u64 + 1;
            match self.0.entry(Arc::as_ptr(caveat)) {
                std::collections::hash_map::Entry::Occupied(have) => put_varint(out, *have.get()),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(next);
                    out.push(0);
                    put_caveat(out, caveat);
                }
            }
        }
        if let Some(at) = expires_at {
            put_moment(out, *at);
        }
    }
}

/// Caveat uses that a chunk has had.
#[derive(Default)]
pub(super) struct UsesRead(Vec<Arc<CaveatUse>>);

impl UsesRead {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Decoded<EdgeAttributes> {
        let tags = reader.byte()?;
        if tags & !(TAG_CAVEAT | TAG_EXPIRES) != 0 {
            return Err(reader.malformed("attributes of no known kind"));
        }
        let caveat = match tags & TAG_CAVEAT {
            0 => None,
            _ => Some(match reader.varint()? {
                0 => {
                    self.0.push(Arc::new(reader.caveat()?));
                    self.0[self.0.len() - 1].clone()
                }
                number => {
                    let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
                    let known = self.0.get(at).cloned();
                    known.ok_or_else(|| reader.malformed("a caveat that the chunk does not have"))?
                }
            }),
        };
        let expires_at = match tags & TAG_EXPIRES {
            0 => None,
            _ => Some(reader.moment()?),
        };
        Ok(EdgeAttributes { caveat, expires_at })
    }
}

/// Writes the attributes of these edges.
pub(super) fn put_attributes<E>(
    table: &AttributeTable,
    edges: Range<u128>,
    cutter: &mut Cutter<'_, '_, E>,
) -> Result<(), E> {
    let tree = table.edges();
    let rank = tree.rank(u64::try_from(edges.start).unwrap_or(u64::MAX));
    let (mut before, mut uses) = (0, UsesWritten::default());
    let attributed = tree.leaves_from(rank).flatten();
    for edge in attributed.take_while(|edge| u128::from(edge.edge) < edges.end) {
        if cutter.piece_at(u128::from(edge.edge))? {
            (before, uses) = (0, UsesWritten::default());
        }
        put_varint(cutter.out(), edge.edge - before);
        uses.put(cutter.out(), &edge.attributes);
        before = edge.edge;
    }
    Ok(())
}

pub(super) fn read_attributes(
    reader: &mut Reader<'_>,
    edges: &Range<u128>,
    attributed: &mut Vec<Attributed>,
) -> Decoded<()> {
    let (mut before, mut uses) = (0u64, UsesRead::default());
    while !reader.is_at_end() {
        let edge = reader.varint()?.checked_add(before);
        let edge = edge.filter(|edge| attributed.last().is_none_or(|last| last.edge < *edge));
        let Some(edge) = edge.filter(|edge| edges.contains(&u128::from(*edge))) else {
            return Err(reader.malformed("attributes are out of order"));
        };
        let attributes = uses.read(reader)?;
        if attributes.caveat.is_none() && attributes.expires_at.is_none() {
            return Err(reader.malformed("an edge without attributes among those with some"));
        }
        attributed.push(Attributed { edge, attributes });
        before = edge;
    }
    Ok(())
}

/// Writes the schema and the numbers of types and classes.
pub(super) fn put_catalog(root: &Root, out: &mut Vec<u8>) {
    put_text(out, root.schema_text());
    put_varint(out, root.catalog.types().len() as u64);
    for record in root.catalog.types() {
        put_text(out, &record.name);
        put_varint(out, record.since.0);
    }
    put_varint(out, root.catalog.classes().len() as u64);
    for record in root.catalog.classes() {
        let ClassKey { resource_type, relation, subject_type, subject } = &record.class.key;
        [resource_type, relation, subject_type].into_iter().for_each(|name| put_text(out, name));
        match subject {
            SubjectKind::Object => out.push(0),
            SubjectKind::Wildcard => out.push(1),
            SubjectKind::Userset(relation) => {
                out.push(2);
                put_text(out, relation);
            }
        }
        put_varint(out, record.since.0);
    }
}

/// Writes the counters.
pub(super) fn put_counters(root: &Root, out: &mut Vec<u8>) {
    for (name, filter) in root.counters() {
        put_text(out, name);
        let filter = filter.to_bytes();
        put_varint(out, filter.len() as u64);
        out.extend_from_slice(&filter);
    }
}

pub(super) fn read_counters(reader: &mut Reader<'_>, counters: &mut Counters) -> Decoded<()> {
    while !reader.is_at_end() {
        let name = reader.text()?.to_owned();
        if counters.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(reader.malformed("counters are out of order"));
        }
        let bytes = reader.count(1)?;
        let filter = Filter::from_bytes(reader.take(bytes)?);
        counters.insert(name, filter.map_err(|_| reader.malformed("what a counter counts is no filter"))?);
    }
    if counters.is_empty() { Err(reader.malformed("there are no counters")) } else { Ok(()) }
}

/// What a catalog chunk says.
pub(super) struct CatalogRead {
    pub(super) schema_text: Arc<str>,
    pub(super) schema: Option<Arc<Schema>>,
    pub(super) catalog: Catalog,
}

/// Why a catalog chunk cannot be read.
pub(super) enum CatalogError {
    Malformed(Malformed),
    Schema(idhini_schema::SchemaError),
}

impl From<Malformed> for CatalogError {
    fn from(malformed: Malformed) -> CatalogError {
        CatalogError::Malformed(malformed)
    }
}

pub(super) fn read_catalog(reader: &mut Reader<'_>, revision: Revision) -> Result<CatalogRead, CatalogError> {
    let schema_text: Arc<str> = Arc::from(reader.text()?);
    let mut catalog = Catalog::default();
    let mut since = Revision(0);
    for _ in 0..reader.count(2)? {
        let name = reader.text()?;
        since = read_since(reader, since, revision)?;
        if !catalog.restore_type(since, name) {
            return Err(reader.malformed("a type is registered twice").into());
        }
    }
    let mut since = Revision(0);
    for _ in 0..reader.count(5)? {
        let key = read_class_key(reader)?;
        since = read_since(reader, since, revision)?;
        if !catalog.restore_class(since, &key) {
            return Err(reader.malformed("a class that cannot be registered").into());
        }
    }
    reader.expect_end()?;
    let schema = match &*schema_text {
        "" => None,
        text => Some(Arc::new(Schema::parse(text).map_err(CatalogError::Schema)?)),
    };
    if !catalog.restore_current(schema.as_deref()) {
        return Err(reader.malformed("the schema has a type or a class that is not registered").into());
    }
    Ok(CatalogRead { schema_text, schema, catalog })
}

fn read_since(reader: &mut Reader<'_>, before: Revision, last: Revision) -> Decoded<Revision> {
    let since = Revision(reader.varint()?);
    let fits = before <= since && since <= last;
    if fits { Ok(since) } else { Err(reader.malformed("what is registered is out of order")) }
}

fn read_class_key(reader: &mut Reader<'_>) -> Decoded<ClassKey> {
    let mut name = || reader.text().map(str::to_owned);
    let (resource_type, relation, subject_type) = (name()?, name()?, name()?);
    let subject = match reader.byte()? {
        0 => SubjectKind::Object,
        1 => SubjectKind::Wildcard,
        2 => SubjectKind::Userset(reader.text()?.to_owned()),
        _ => return Err(reader.malformed("a class of no known kind")),
    };
    Ok(ClassKey { resource_type, relation, subject_type, subject })
}
