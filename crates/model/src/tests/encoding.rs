//! Entries as bytes: there and back, and what no entry encodes to.

use crate::{
    Attributes, Cause, Change, Context, DecodeError, Entry, EntryKind, Filter, IdFilter, Logged, Origin,
    RelationFilter, Relationship, Revision, SubjectFilter, Timestamp, VALUE_DEPTH_MAX,
};

const AT: Revision = Revision(7);

fn logged(kind: EntryKind) -> Logged {
    let origin = Origin {
        written_at: Timestamp::new(-5, 999_999_999).unwrap(),
        cause: Cause::Request,
        actor: "ann".to_owned(),
        metadata: Context::from_json(r#"{"why":["é",{"n":-1.5,"b":true,"c":null}],"z":""}"#).unwrap(),
    };
    Logged { entry: Entry { revision: AT, kind }, origin }
}

fn relationship(text: &str) -> Relationship {
    text.parse().unwrap()
}

fn changes() -> Vec<Change> {
    let old =
        relationship(r#"doc:readme#viewer@user:tom[only_on:{"a":[1,2]}][expiration:2030-01-31T12:00:00Z]"#);
    vec![
        Change::Created(relationship("doc:readme#viewer@user:tom")),
        Change::Created(relationship("doc:readme2#viewer@group:eng#member")),
        Change::Replaced {
            new: relationship(r#"doc:read#viewer@user:*[only_on]"#),
            old: Attributes { caveat: old.caveat.clone(), expires_at: old.expires_at },
        },
        Change::Replaced { new: old.clone(), old: Attributes::default() },
        Change::Deleted(old),
        Change::Deleted(relationship("doc:=+#viewer@user:tommy[expiration:1960-01-31T12:00:00.000000001Z]")),
    ]
}

/// Every combination of fields that are set.
fn filters() -> Vec<Filter> {
    let text = |text: &str| Some(text.to_owned());
    let mut filters = vec![Filter::default()];
    let mut each = |set: &dyn Fn(&mut Filter)| {
        let mut more = filters.clone();
        more.iter_mut().for_each(set);
        filters.extend(more);
    };
    each(&|filter| filter.resource_type = text("document"));
    each(&|filter| filter.relation = text("viewer"));
    let ids = [None, Some(IdFilter::Exactly("readme".into())), Some(IdFilter::StartsWith("read".into()))];
    let with_ids = |filter: Filter| ids.clone().map(|resource_id| Filter { resource_id, ..filter.clone() });
    let filters: Vec<Filter> = filters.into_iter().flat_map(with_ids).collect();
    let relations = [RelationFilter::Any, RelationFilter::Absent, RelationFilter::Named("member".into())];
    let subjects = [None, text("*")].into_iter().flat_map(|subject_id| {
        relations.clone().map(|relation| SubjectFilter {
            subject_type: "group".into(),
            subject_id: subject_id.clone(),
            relation,
        })
    });
    let subjects: Vec<Option<SubjectFilter>> = [None].into_iter().chain(subjects.map(Some)).collect();
    let with_subjects = |filter: Filter| {
        subjects.clone().into_iter().map(move |subject| Filter { subject, ..filter.clone() })
    };
    filters.into_iter().flat_map(with_subjects).collect()
}

#[test]
fn filters_come_back_from_their_bytes_and_from_no_others() {
    let filters = filters();
    assert_eq!(filters.len(), 84);
    for filter in &filters {
        let bytes = filter.to_bytes();
        assert_eq!(Filter::from_bytes(&bytes).as_ref(), Ok(filter));
        for cut in 0..bytes.len() {
            assert!(Filter::from_bytes(&bytes[..cut]).is_err(), "{filter:?} cut at {cut}");
        }
        assert!(Filter::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "{filter:?} and more");
    }
    // Whatever tags are read are written again.
    for tags in 0..=u8::MAX {
        let bytes = [&[tags][..], &b"\x01a".repeat(tags.count_ones() as usize)].concat();
        for end in 1..=bytes.len() {
            if let Ok(filter) = Filter::from_bytes(&bytes[..end]) {
                assert_eq!(filter.to_bytes(), bytes[..end], "tags {tags:#b}");
            }
        }
    }
}

#[test]
fn an_earlier_release_is_told_that_a_counter_is_of_a_later_format_and_reads_everything_else() {
    for kind in kinds() {
        let is_counter = matches!(kind, EntryKind::Counter { .. });
        let chunks = logged(kind).to_chunks(100);
        assert_eq!(chunks[0][0], if is_counter { 2 } else { 1 });
        let mut other = chunks.clone();
        other[0][0] = 3 - other[0][0];
        assert!(matches!(Logged::from_chunks(AT, &other), Err(DecodeError::Malformed { .. })));
    }
}

fn kinds() -> Vec<EntryKind> {
    let counted = filters().pop().map(Box::new);
    vec![
        EntryKind::Counter { name: "viewers".into(), new: counted.clone(), old: None },
        EntryKind::Counter { name: "viewers".into(), new: Some(Box::default()), old: counted },
        EntryKind::Relationships(Vec::new()),
        EntryKind::Relationships(changes()),
        EntryKind::Schema { new: "definition user {}".repeat(40), old: String::new() },
        EntryKind::Renumbering {
            removed: vec![("user".into(), 3, "tom".into()), ("user".into(), u32::MAX, "x".into())],
        },
    ]
}

#[test]
fn entries_come_back_from_chunks_of_any_size() {
    for kind in kinds() {
        let logged = logged(kind);
        for chunk_bytes in [1, 40, 100, 1 << 20] {
            let chunks = logged.to_chunks(chunk_bytes);
            assert!(chunks.iter().all(|chunk| !chunk.is_empty()), "{logged:?}");
            assert_eq!(Logged::from_chunks(AT, &chunks).as_ref(), Ok(&logged), "in chunks of {chunk_bytes}");
            let (origin, mut kind) = Logged::begun(&chunks).unwrap();
            if let EntryKind::Relationships(changes) = &mut kind {
                for (chunk, bytes) in chunks.iter().enumerate().skip(1) {
                    changes.extend(Logged::changes_of(chunk, bytes).unwrap());
                }
            }
            assert_eq!((&origin, &kind), (&logged.origin, &logged.entry.kind), "chunk by chunk");
        }
    }
    let long = logged(EntryKind::Relationships(changes()));
    assert!(long.to_chunks(100).len() > 1, "the chunks are not cut");
}

#[test]
fn the_deepest_context_comes_back() {
    let depth = VALUE_DEPTH_MAX;
    let text = format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let mut deep = logged(EntryKind::Relationships(Vec::new()));
    deep.origin.metadata = Context::from_json(&text).unwrap();
    assert_eq!(Logged::from_chunks(AT, &deep.to_chunks(100)).as_ref(), Ok(&deep));
}

#[test]
fn a_cut_or_changed_entry_is_refused_or_another_entry_but_never_a_panic() {
    for kind in kinds() {
        let logged = logged(kind);
        let [whole] = &logged.to_chunks(1 << 20)[..] else { panic!("one chunk") };
        for cut in 0..whole.len() {
            if let Ok(shorter) = Logged::from_chunks(AT, &[&whole[..cut]]) {
                assert!(matches!(logged.entry.kind, EntryKind::Relationships(_)), "{shorter:?}");
            }
        }
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            if let Ok(other) = Logged::from_chunks(AT, &[changed]) {
                assert_ne!(other, logged, "byte {at}, bit {bit} says nothing");
            }
        }
    }
}

#[test]
fn a_later_format_is_named() {
    let mut chunks = logged(EntryKind::Relationships(Vec::new())).to_chunks(100);
    chunks[0][0] = 9;
    assert_eq!(Logged::from_chunks(AT, &chunks), Err(DecodeError::NewerFormat { found: 9 }));
    assert!(Logged::from_chunks::<Vec<u8>>(AT, &[]).is_err());
}
