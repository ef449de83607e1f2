//! Entries of any bytes, one after the other: an error, or an entry that is encoded to what decodes to the same, and
//! that a graph takes whole and gives back, or refuses and is as it was.
//!
//! The first byte says whether the graph begins empty or furnished; then entries.
#![no_main]

use std::collections::HashMap;
use std::convert::Infallible;

use idhini_fuzz::next_entry;
use idhini_graph::{Content, Image, Root};
use idhini_model::{Change, Entry, EntryKind, Logged, Revision};
use libfuzzer_sys::fuzz_target;

const SCHEMA: &str = "use expiration

caveat only_on(day string, level int) {
  day == \"tuesday\" && level > 3
}
definition user {}
definition group {
  relation member: user | group#member
}
definition document {
  relation owner: user
  relation viewer: user | user:* | group#member | user with only_on | user with expiration
  permission view = viewer + owner
}";

const RELATIONSHIPS: &[&str] = &[
    "group:eng#member@user:tom",
    "group:all#member@group:eng#member",
    "document:readme#viewer@group:all#member",
    "document:readme#owner@user:ann",
    "document:readme#viewer@user:*",
    "document:readme#viewer@user:eve[only_on:{\"day\":\"tuesday\"}]",
    "document:readme#viewer@user:bob[expiration:2030-01-31T12:00:00Z]",
];

thread_local! {
    static FURNISHED: Root = furnished();
}

fn furnished() -> Root {
    let mut root = Root::empty();
    let schema = EntryKind::Schema { new: SCHEMA.to_owned(), old: String::new() };
    root.apply(&Entry { revision: Revision(1), kind: schema }).unwrap();
    let changes = RELATIONSHIPS.iter().map(|text| Change::Created(text.parse().unwrap())).collect();
    root.apply(&Entry { revision: Revision(2), kind: EntryKind::Relationships(changes) }).unwrap();
    root
}

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let mut root = if first & 1 == 0 { Root::empty() } else { FURNISHED.with(Root::clone) };
    let begins = root.content();
    let mut applied = Vec::new();
    while let Some(chunks) = next_entry(&mut rest) {
        let read = Logged::from_chunks(root.revision().next(), &chunks);
        let Ok(logged) = read else { continue };
        encodes(&logged);
        let before = root.content();
        match root.apply(&logged.entry) {
            Ok(()) => applied.push((before, logged.entry)),
            Err(_) => assert_eq!(root.content(), before),
        }
    }
    images(&root);
    // Back to where it began, step by step, and forth again.
    let end = root.content();
    for (before, entry) in applied.iter().rev() {
        root.undo(entry).expect("what was applied can be undone");
        assert_eq!(&root.content(), before);
    }
    assert_eq!(root.content(), begins);
    for (_, entry) in &applied {
        root.apply(entry).expect("what was undone can be applied");
    }
    assert_eq!(root.content(), end);
});

/// What was decoded is encoded to what decodes to the same, however it is cut.
fn encodes(logged: &Logged) {
    for chunk_bytes in [1, 64, 1 << 20] {
        let chunks = logged.to_chunks(chunk_bytes);
        assert_eq!(Logged::written_at_of(&chunks).as_ref(), Ok(&logged.origin.written_at));
        assert_eq!(Logged::from_chunks(logged.entry.revision, &chunks).as_ref(), Ok(logged));
        assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
    }
}

fn images(root: &Root) {
    let mut written = HashMap::new();
    let Ok(image) = Image::write(root, root.undoable_from(), |digest, bytes| {
        written.insert(*digest, bytes.to_vec());
        Ok::<(), Infallible>(())
    });
    let opened = Image::open(image.manifest().clone(), 8, |chunk| written.get(&chunk.digest).ok_or(()));
    let opened: Content = opened.expect("what was written can be opened").0.content();
    assert_eq!(opened, root.content());
}
