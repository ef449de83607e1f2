//! The schema against the kernel's rule, without a kernel: what `faccessat` would answer is written down here once
//! more, from mode and ACL as they are on disk, and compared with the evaluator's answers about random trees.

use std::path::PathBuf;
use std::sync::Arc;

use idhini_changelog::{LogId, MemoryStore, Store};
use idhini_engine::{Check, Limits, Permissionship, Question};
use idhini_model::{Context, Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_replica::{Namespace, Options, Wanted};

use super::*;
use crate::access_list::AccessList;
use crate::accounts::{self, Cast, IdMap};
use crate::acl::{AclEntry, Tag};
use crate::questions::PERMISSIONS;
use crate::rng::Rng;
use crate::tree::{Area, Facts, Tree};

const DIRECTORY: u16 = 0o040_000;
const FILE: u16 = 0o100_000;
const LINK: u16 = 0o120_000;

fn empty_tree() -> Tree {
    let all = IdMap::read("0 0 4294967295");
    Tree::new(&all, &all)
}

fn add(tree: &mut Tree, parent: usize, kind: Kind, facts: Facts) -> usize {
    let place = tree.inodes.len();
    let path = match tree.inodes.get(parent) {
        Some(holder) => holder.path.join(format!("n{place}")),
        None => PathBuf::from("/"),
    };
    let list = AccessList::of(facts.mode, facts.uid, facts.gid, facts.acl.as_deref()).unwrap();
    tree.inodes.push(Inode { path, facts, kind, parent, area: Area::Made, list });
    place
}

fn facts(kind: u16, mode: u16, uid: u32, gid: u32, acl: Option<Vec<AclEntry>>) -> Facts {
    Facts { mode: kind | mode, uid, gid, ino: 0, mount: 0, immutable: false, acl }
}

/// `acl_permission_check` and `posix_acl_permission`: the class that matches first decides.
fn class_allows(facts: &Facts, account: &Account, wanted: u8) -> bool {
    let wanted = u16::from(wanted);
    let groups = account.groups();
    if facts.uid == account.uid {
        return facts.mode >> 6 & wanted == wanted;
    }
    if let Some(acl) = facts.acl.as_ref().filter(|_| facts.mode & 0o070 != 0) {
        let mask =
            acl.iter().find(|entry| entry.tag == Tag::Mask).map_or(7, |entry| u16::from(entry.bits.number()));
        let mut in_a_group = false;
        for entry in acl {
            let bits = u16::from(entry.bits.number());
            match entry.tag {
                Tag::User(id) if id == account.uid => return bits & mask & wanted == wanted,
                Tag::OwningGroup if !groups.contains(&facts.gid) => {}
                Tag::Group(id) if !groups.contains(&id) => {}
                Tag::OwningGroup | Tag::Group(_) => {
                    in_a_group = true;
                    if bits & wanted == wanted {
                        return mask & wanted == wanted;
                    }
                }
                Tag::Other => return !in_a_group && bits & wanted == wanted,
                Tag::Owner | Tag::User(_) | Tag::Mask => {}
            }
        }
        panic!("an ACL without others");
    }
    let shift = if groups.contains(&facts.gid) { 3 } else { 0 };
    facts.mode >> shift & wanted == wanted
}

/// `generic_permission`: the class, or a capability.
fn inode_allows(inode: &Inode, account: &Account, held: Capabilities, wanted: u8) -> bool {
    if wanted == 0 || class_allows(&inode.facts, account, wanted) {
        return true;
    }
    if inode.kind == Kind::Directory {
        return held.dac_override || wanted & 2 == 0 && held.dac_read_search;
    }
    let executable = wanted & 1 == 0 || inode.facts.mode & 0o111 != 0;
    wanted == 4 && held.dac_read_search || held.dac_override && executable
}

fn reaches(tree: &Tree, place: usize, account: &Account, held: Capabilities) -> bool {
    let mut at = place;
    while at != 0 {
        at = tree.inodes[at].parent;
        if !inode_allows(&tree.inodes[at], account, held, 1) {
            return false;
        }
    }
    true
}

fn kernel(tree: &Tree, place: usize, account: &Account, held: Capabilities, wanted: u8) -> bool {
    match &tree.inodes[place].kind {
        Kind::Link { steps, target } => {
            let step = |step: &usize| {
                reaches(tree, *step, account, held) && inode_allows(&tree.inodes[*step], account, held, 1)
            };
            steps.iter().all(step) && kernel(tree, *target, account, held, wanted)
        }
        _ => reaches(tree, place, account, held) && inode_allows(&tree.inodes[place], account, held, wanted),
    }
}

fn loaded(facts: &[Fact]) -> Arc<Namespace> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let relationships: Vec<Relationship> =
        facts.iter().map(|fact| fact.to_string().parse().unwrap()).collect();
    runtime.block_on(async {
        let log = MemoryStore::new().log(LogId(1));
        let clock = Arc::new(|| Timestamp::from_seconds(0));
        let namespace = Namespace::open(log, None, clock, Options::default()).await.unwrap();
        namespace.write_schema(SCHEMA.to_owned(), Wanted::always()).await.unwrap();
        namespace.import(relationships, Wanted::always()).await.unwrap();
        namespace
    })
}

fn evaluated(namespace: &Namespace, inode: &Inode, account: &Account, mode: u8) -> bool {
    let (kind, id) = object(inode).unwrap();
    let resource: ResourceRef = format!("{kind}:{id}").parse().unwrap();
    let subject: SubjectRef = format!("user:{}", account.uid).parse().unwrap();
    let head = namespace.head();
    let snapshot = head.snapshot(Timestamp::from_seconds(0)).unwrap();
    let context = Context::default();
    let permission = PERMISSIONS[usize::from(mode)];
    let question = Question { resource: &resource, permission, subject: &subject, context: &context };
    let answer = Check::open(snapshot, question, Limits::default()).unwrap().answer().unwrap();
    match answer.permissionship {
        Permissionship::Has => true,
        Permissionship::No => false,
        Permissionship::Conditional => panic!("{permission} on {resource} is conditional"),
    }
}

fn random_facts(rng: &mut Rng, cast: &Cast, kind: u16) -> Facts {
    let uid = if rng.once_in(6) { 0 } else { cast.uid(rng.index(12)) };
    let gid = if rng.once_in(6) { 0 } else { cast.gid(rng.index(10)) };
    let mut bits = || Bits::from_low(u16::from(rng.number().to_le_bytes()[0]));
    let mut acl =
        vec![(Tag::Owner, bits()), (Tag::OwningGroup, bits()), (Tag::Mask, bits()), (Tag::Other, bits())];
    let class = |place: usize| u16::from(acl[place].1.number());
    let mode = class(0) << 6 | class(2) << 3 | class(3);
    if rng.once_in(2) {
        return facts(kind, mode, uid, gid, None);
    }
    for number in 0..rng.index(4) {
        acl.push((Tag::User(cast.uid(number * 5 + rng.index(5))), Bits::from_low(rng.below(8) as u16)));
    }
    for _ in 0..rng.index(4) {
        acl.push((Tag::Group(cast.gid(rng.index(10))), Bits::from_low(rng.below(8) as u16)));
    }
    acl.sort_by_key(|(tag, _)| *tag);
    let acl = acl.into_iter().map(|(tag, bits)| AclEntry { tag, bits }).collect();
    facts(kind, mode, uid, gid, Some(acl))
}

fn random_tree(rng: &mut Rng, cast: &Cast) -> Tree {
    let mut tree = empty_tree();
    add(&mut tree, 0, Kind::Directory, facts(DIRECTORY, 0o755, 0, 0, None));
    let mut directories = vec![0];
    for _ in 0..60 {
        let parent = rng.one_of(&directories).unwrap();
        let kind = rng.below(3);
        let mut own = random_facts(rng, cast, if kind == 0 { DIRECTORY } else { FILE });
        if kind == 0 {
            if own.acl.is_none() && !rng.once_in(4) {
                own.mode |= 0o111;
            }
            directories.push(add(&mut tree, parent, Kind::Directory, own));
        } else {
            add(&mut tree, parent, Kind::File, own);
        }
    }
    for _ in 0..20 {
        let parent = rng.one_of(&directories).unwrap();
        let target = rng.index(61);
        let mut steps = vec![parent, tree.inodes[target].parent];
        steps.extend(rng.once_in(2).then(|| rng.one_of(&directories).unwrap()));
        steps.sort_unstable();
        steps.dedup();
        add(&mut tree, parent, Kind::Link { steps, target }, facts(LINK, 0o777, 0, 0, None));
    }
    tree
}

#[test]
fn random_trees_are_decided_as_the_kernels_rule_decides_them() {
    let cast = Cast::beside(&accounts::read("", ""));
    let mut accounts = cast.accounts.clone();
    accounts.extend(accounts::read("root:x:0:0:::\nother:x:9:9:::\n", "").accounts);
    let mut rng = Rng::new(11);
    let (mut allowed, mut denied) = (0, 0);
    for round in 0..3 {
        let tree = random_tree(&mut rng, &cast);
        let of_root = Capabilities { dac_override: round % 3 != 1, dac_read_search: round % 3 != 2 };
        let held = |account: &Account| if account.uid == 0 { of_root } else { Capabilities::default() };
        let all_held: Vec<_> = accounts.iter().map(held).collect();
        let namespace = loaded(&all(&tree, &accounts, &all_held));
        for place in 0..tree.inodes.len() {
            for account in &accounts {
                for mode in 0..8 {
                    let expected = kernel(&tree, place, account, held(account), mode);
                    *if expected { &mut allowed } else { &mut denied } += 1;
                    let inode = &tree.inodes[place];
                    assert_eq!(
                        evaluated(&namespace, inode, account, mode),
                        expected,
                        "{} of {inode:?} by {account:?}, round {round}",
                        PERMISSIONS[usize::from(mode)]
                    );
                }
            }
        }
    }
    let asked = allowed + denied;
    assert!(allowed * 5 > asked && denied * 5 > asked, "{allowed} allowed, {denied} denied");
}

#[test]
fn a_plain_file_takes_six_relationships_and_names_no_user() {
    let mut tree = empty_tree();
    add(&mut tree, 0, Kind::Directory, facts(DIRECTORY, 0o755, 0, 0, None));
    let file = add(&mut tree, 0, Kind::File, facts(FILE, 0o640, 7, 8, None));
    let mut entries = BTreeSet::new();
    let texts: Vec<String> = of_inode(&tree, file, &mut entries).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "file:/n1#parent@directory:/",
            "file:/n1#machine@machine:this",
            "file:/n1#owner@entry:user/7/rw-",
            "file:/n1#group@entry:group/8/r--",
            "file:/n1#mask@bits:r--",
            "file:/n1#other@bits:---",
        ]
    );
    let entries: Vec<String> = entries.iter().flat_map(Entry::facts).map(|fact| fact.to_string()).collect();
    assert_eq!(
        entries,
        [
            "entry:user/7/rw-#holder@user:7",
            "entry:user/7/rw-#bits@bits:rw-",
            "entry:group/8/r--#holder@group:8#member",
            "entry:group/8/r--#bits@bits:r--",
        ]
    );
}

#[test]
fn equal_lines_of_many_inodes_are_written_once() {
    let mut tree = empty_tree();
    add(&mut tree, 0, Kind::Directory, facts(DIRECTORY, 0o755, 0, 0, None));
    for _ in 0..50 {
        add(&mut tree, 0, Kind::File, facts(FILE, 0o644, 0, 0, None));
    }
    let facts = all(&tree, &[], &[]);
    let distinct: BTreeSet<&Fact> = facts.iter().collect();
    assert_eq!(distinct.len(), facts.len());
    let bits = 12;
    let entries = 2 * 4;
    assert_eq!(facts.len(), bits + entries + 6 + 50 * 6);
}
