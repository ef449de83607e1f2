//! Images of generated worlds, and of a graph that is large enough for real leaves, runs and chunks.

use std::collections::HashMap;
use std::convert::Infallible;

use idhini_graph::{Content, Digest, Image, Manifest, Root};
use idhini_model::{Change, Entry, EntryKind, Filter, Relationship, Revision};
use idhini_testkit::generate::{Options, WritePlan, world};
use idhini_testkit::rng::Rng;

const SEED: u64 = 9_000_000;
const WORLDS: u64 = 300;

/// Chunks as a directory would keep them.
#[derive(Default)]
struct Kept(HashMap<Digest, Vec<u8>>);

impl Kept {
    fn sink(&mut self) -> impl FnMut(&Digest, &[u8]) -> Result<(), Infallible> {
        |digest, bytes| {
            assert!(self.0.insert(*digest, bytes.to_vec()).is_none(), "a chunk is written twice");
            Ok(())
        }
    }

    fn open(&self, image: &Image, seed: u64) -> (Root, Image) {
        let manifest = Manifest::from_bytes(&image.manifest().to_bytes()).unwrap();
        Image::open(manifest, seed, |chunk| {
            self.0.get(&chunk.digest).ok_or(std::io::Error::from(std::io::ErrorKind::NotFound))
        })
        .unwrap()
    }

    fn retain(&mut self, image: &Image) {
        let needed: Vec<Digest> = image.manifest().chunks().map(|chunk| chunk.digest).collect();
        self.0.retain(|digest, _| needed.contains(digest));
    }
}

/// The content that an image with this floor has.
fn above(root: &Root, floor: Revision) -> Content {
    let mut root = root.clone();
    root.forget_undo_below(floor);
    root.content()
}

fn applied(root: &mut Root, kind: EntryKind) -> Entry {
    let entry = Entry { revision: root.revision().next(), kind };
    root.apply(&entry).unwrap();
    entry
}

fn schema(text: &str) -> EntryKind {
    EntryKind::Schema { new: text.to_owned(), old: String::new() }
}

/// Applies further entries to both, undoes them and what came before down to the floor, and applies all again.
fn go_on_alike(own: &Root, opened: &Root, log: &[Entry], further: &WritePlan, floor: Revision) {
    let (mut own, mut opened) = (own.clone(), opened.clone());
    own.forget_undo_below(floor);
    let mut log = log.to_vec();
    for batch in &further.batches {
        log.push(applied(&mut own, EntryKind::Relationships(batch.clone())));
        opened.apply(&log[log.len() - 1]).unwrap();
    }
    assert_eq!(opened.content(), own.content());
    let last = own.content();
    let undone: Vec<&Entry> = log.iter().filter(|entry| entry.revision >= floor).collect();
    for entry in undone.iter().rev() {
        own.undo(entry).unwrap();
        opened.undo(entry).unwrap();
    }
    assert_eq!(opened.content(), own.content());
    for entry in &undone {
        opened.apply(entry).unwrap();
    }
    assert_eq!(opened.content(), last);
}

#[test]
fn images_of_generated_worlds_go_on_as_their_roots_do() {
    let (mut links, mut with_attributes) = (0, 0);
    for seed in SEED..SEED + WORLDS {
        let world = world(seed, &Options::default());
        let mut rng = Rng::new(seed);
        let mut root = Root::empty_seeded(seed);
        let mut log = vec![applied(&mut root, schema(&world.sketch.text()))];
        let mut kept = Kept::default();
        let mut image = Image::write(&root, Revision(0), kept.sink()).unwrap();
        let batches = world.write_plan(&mut rng).batches;
        for (at, batch) in batches.iter().enumerate() {
            log.push(applied(&mut root, EntryKind::Relationships(batch.clone())));
            let is_last = at + 1 == batches.len();
            if is_last || rng.chance(20) {
                let floor = Revision(rng.below(log.len() + 2) as u64);
                image = image.write_next(&root, floor, kept.sink()).unwrap();
                kept.retain(&image);
                links += 1;
                let (opened, again) = kept.open(&image, seed + 1);
                let floor = image.manifest().floor();
                assert_eq!(opened.content(), above(&root, floor), "seed {seed}");
                let next = WritePlan { batches: batches[at + 1..].iter().take(4).cloned().collect() };
                let further = if is_last { world.disturbance(&mut rng) } else { next };
                go_on_alike(&root, &opened, &log, &further, floor);
                if rng.chance(50) {
                    image = again;
                }
            }
        }
        with_attributes += u64::from(root.next_expiration().is_some());
    }
    assert!(links > 2 * WORLDS && with_attributes > WORLDS / 4, "{links} links, {with_attributes} worlds");
}

const LARGE_SCHEMA: &str = "
use expiration
caveat only_on(day int) { day == 1 }
definition user {}
definition group { relation member: user | group#member }
definition document {
    relation viewer: user | user with only_on | user with expiration | group#member
    relation owner: user
}";

/// A relationship of the large graph: mostly spread, some to one group that everybody is in, some with attributes.
fn drawn(rng: &mut Rng) -> Relationship {
    let text = match rng.below(20) {
        0..5 => format!("group:everybody#member@user:{}", rng.below(100_000)),
        5..8 => format!("group:g{}#member@user:{}", rng.below(3_000), rng.below(100_000)),
        8 => format!("document:d{}#viewer@group:g{}#member", rng.below(30_000), rng.below(3_000)),
        9 => {
            let (document, user, day) = (rng.below(30_000), rng.below(100_000), rng.below(700));
            format!(r#"document:d{document}#viewer@user:{user}[only_on:{{"day":{day}}}]"#)
        }
        10 => {
            let (document, user, day) = (rng.below(30_000), rng.below(100_000), 1 + rng.below(28));
            format!("document:d{document}#viewer@user:{user}[expiration:2030-01-{day:02}T00:00:00Z]")
        }
        11..14 => format!("document:d{}#owner@user:{}", rng.below(30_000), rng.below(100_000)),
        _ => format!("document:d{}#viewer@user:{}", rng.below(30_000), rng.below(100_000)),
    };
    text.parse().unwrap()
}

/// Changes that fit what is there, none to one relationship twice.
fn changes(rng: &mut Rng, present: &mut HashMap<String, Relationship>, count: usize) -> Vec<Change> {
    let mut changes: HashMap<String, Change> = HashMap::new();
    while changes.len() < count {
        let new = drawn(rng);
        let identity = Relationship { caveat: None, expires_at: None, ..new.clone() }.to_string();
        if changes.contains_key(&identity) {
            continue;
        }
        let change = match present.get(&identity) {
            None => {
                present.insert(identity.clone(), new.clone());
                Change::Created(new)
            }
            Some(_) if rng.chance(60) => match present.remove(&identity) {
                Some(old) => Change::Deleted(old),
                None => continue,
            },
            Some(old) if *old == new => continue,
            Some(old) => {
                let old = old.attributes();
                present.insert(identity.clone(), new.clone());
                Change::Replaced { new, old }
            }
        };
        changes.insert(identity, change);
    }
    let mut changes: Vec<(String, Change)> = changes.into_iter().collect();
    changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    changes.into_iter().map(|(_, change)| change).collect()
}

#[test]
fn a_chain_of_images_of_a_large_graph_brings_its_base_up_to_date_and_opens_at_each_link() {
    let mut rng = Rng::new(SEED);
    let mut present = HashMap::new();
    let mut root = Root::empty_seeded(1);
    applied(&mut root, schema(LARGE_SCHEMA));
    applied(&mut root, EntryKind::Relationships(changes(&mut rng, &mut present, 120_000)));
    let mut kept = Kept::default();
    let mut image = Image::write(&root, root.revision(), kept.sink()).unwrap();
    let whole = image.written();
    assert!(whole.chunks > 10, "{whole:?}");
    let (mut bases, mut patches) = (0, 0);
    for link in 0..14 {
        let count = if link % 2 == 0 { 200 } else { 3_000 };
        let before = root.clone();
        let entry = applied(&mut root, EntryKind::Relationships(changes(&mut rng, &mut present, count)));
        let next = image.write_next(&root, root.revision(), kept.sink()).unwrap();
        match next.written().is_base {
            true => bases += 1,
            false => {
                patches += 1;
                // A change takes its three numbers, and its ids and attributes if they are new.
                assert!(next.written().bytes < 40 * count as u64, "{:?}", next.written());
            }
        }
        kept.retain(&next);
        let (mut opened, again) = kept.open(&next, 2);
        assert_eq!(opened.content(), above(&root, root.revision()), "link {link}");
        opened.undo(&entry).unwrap();
        assert_eq!(opened.content(), above(&before, root.revision()), "link {link}");
        image = if link % 3 == 0 { again } else { next };
    }
    assert!(bases > 0 && patches > 4, "{bases} bases, {patches} patches");
}

/// Where the fuzz target begins: the length and the bytes of a manifest, then those of each of its chunks.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/image");

fn packed(image: &Image, kept: &Kept) -> Vec<u8> {
    let chunks = image.manifest().chunks().map(|chunk| kept.0[&chunk.digest].clone());
    let parts = [image.manifest().to_bytes()].into_iter().chain(chunks);
    parts.flat_map(|part| [&u32::try_from(part.len()).unwrap().to_le_bytes()[..], &part].concat()).collect()
}

/// Small images that have something of everything between them.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut root = Root::empty();
    applied(&mut root, schema(LARGE_SCHEMA));
    let texts = [
        "document:a#viewer@user:b",
        "document:a#viewer@group:g#member",
        r#"document:c#viewer@user:b[only_on:{"day":1,"more":[null,true,{"x":"y"}]}]"#,
        "document:c#viewer@user:d[expiration:2030-01-31T00:00:00Z]",
        "group:g#member@user:b",
    ];
    let created = |texts: &[String]| {
        let created = texts.iter().map(|text| Change::Created(text.parse().unwrap()));
        EntryKind::Relationships(created.collect())
    };
    let mut kept = Kept::default();
    applied(&mut root, created(&texts.map(str::to_owned)));
    let small = Image::write(&root, Revision(0), kept.sink()).unwrap();
    let small_bytes = packed(&small, &kept);
    let mut next = root.clone();
    applied(&mut next, EntryKind::Relationships(vec![Change::Deleted(texts[3].parse().unwrap())]));
    applied(&mut next, created(&["group:h#member@group:g#member".to_owned()]));
    let patched = small.write_next(&next, Revision(0), kept.sink()).unwrap();
    let patched_bytes = packed(&patched, &kept);
    let members: Vec<String> = (0..700).map(|at| format!("group:g#member@user:{at}")).collect();
    let owners: Vec<String> = (0..90).map(|at| format!("document:{at}#owner@user:{at}")).collect();
    applied(&mut root, created(&[members, owners].concat()));
    let mut kept = Kept::default();
    let large = Image::write(&root, Revision(0), kept.sink()).unwrap();
    let large_bytes = packed(&large, &kept);
    for (name, texts) in [("all", [None, None]), ("members", [Some("group"), Some("member")])] {
        let [resource_type, relation] = texts.map(|text| text.map(str::to_owned));
        let counted = Some(Box::new(Filter { resource_type, relation, ..Filter::default() }));
        applied(&mut next, EntryKind::Counter { name: name.to_owned(), new: counted, old: None });
    }
    let mut kept = Kept::default();
    let counted = Image::write(&next, Revision(0), kept.sink()).unwrap();
    vec![
        ("small", small_bytes),
        ("patched", patched_bytes),
        ("spilled", large_bytes),
        ("counted", packed(&counted, &kept)),
    ]
}

/// `IDHINI_WRITE_SEEDS=1` writes them.
#[test]
fn the_seeds_of_the_fuzz_target_are_images_of_this_format() {
    for (name, bytes) in seeds() {
        let path = format!("{SEEDS}/{name}");
        if std::env::var_os("IDHINI_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(SEEDS).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{path} is not what is written now");
    }
}
