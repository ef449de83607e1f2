use std::path::PathBuf;

use super::*;
use crate::access_list::AccessList;
use crate::accounts::IdMap;
use crate::tree::{Facts, Inode};

/// A tree of `/`, and as many files in it as given for each area; every seventh file belongs to somebody.
fn tree(roots: usize, made: usize, immutable: bool) -> Tree {
    let all = IdMap::read("0 0 4294967295");
    let mut tree = Tree::new(&all, &all);
    let mut add = |name: String, mode: u16, kind: Kind, area: Area| {
        let uid = if tree.inodes.len() % 7 == 6 { 5 } else { 0 };
        let facts = Facts { mode, uid, gid: 0, ino: 0, mount: 0, immutable, acl: None };
        let list = AccessList::of(mode, uid, 0, None).unwrap();
        tree.inodes.push(Inode { path: PathBuf::from(name), facts, kind, parent: 0, area, list });
    };
    add("/".into(), 0o040_755, Kind::Directory, Area::Way);
    (0..roots).for_each(|number| add(format!("/r{number}"), 0o100_644, Kind::File, Area::Roots));
    (0..made)
        .for_each(|number| add(format!("/made/c{}/{number}", number % 4), 0o100_644, Kind::File, Area::Made));
    tree
}

const ACCOUNTS: Accounts = Accounts { machine: 5, all: 9, root: Some(0) };

fn drawn(tree: &Tree, count: usize) -> Vec<Question> {
    draw(tree, ACCOUNTS, count, Some(Path::new("/made")), &mut Rng::new(1))
}

#[test]
fn no_question_is_asked_twice_and_accounts_come_in_order() {
    let tree = tree(500, 300, false);
    let questions = drawn(&tree, 9_000);
    assert_eq!(questions.len(), 9_000);
    let distinct: HashSet<_> =
        questions.iter().map(|question| (question.account, question.inode, question.mode)).collect();
    assert_eq!(distinct.len(), 9_000);
    assert!(questions.is_sorted_by_key(|question| question.account));
}

#[test]
fn every_inode_of_the_machine_is_asked_about_when_there_are_enough_questions() {
    let tree = tree(500, 300, false);
    let asked: HashSet<_> = drawn(&tree, 3_000).into_iter().map(|question| question.inode).collect();
    assert!((1..=500).all(|inode| asked.contains(&inode)));
    assert!(!asked.contains(&0), "the way to the trees is not asked about");
}

#[test]
fn the_machines_trees_are_asked_about_for_the_machines_accounts_only() {
    let tree = tree(500, 300, false);
    for question in drawn(&tree, 9_000) {
        let on_machine = question.inode <= 500;
        assert_eq!(on_machine, question.drawn != Drawing::Made);
        assert!(question.account < if on_machine { ACCOUNTS.machine } else { ACCOUNTS.all });
    }
}

#[test]
fn a_small_tree_is_asked_everything_and_no_more() {
    assert_eq!(drawn(&tree(0, 10, false), 100_000).len(), 10 * ACCOUNTS.all * 8);
    assert_eq!(drawn(&tree(10, 0, false), 100_000).len(), 10 * ACCOUNTS.machine * 8);
    assert_eq!(drawn(&tree(0, 0, false), 100_000).len(), 0);
}

#[test]
fn writing_to_what_is_immutable_is_not_asked() {
    let questions = drawn(&tree(100, 100, true), 2_000);
    assert!(questions.len() > 1_000 && questions.iter().all(|question| question.mode & 2 == 0));
}

#[test]
fn the_seed_decides() {
    let tree = tree(50, 50, false);
    let with = |seed| draw(&tree, ACCOUNTS, 500, Some(Path::new("/made")), &mut Rng::new(seed));
    assert_eq!(with(3), with(3));
    assert_ne!(with(3), with(4));
}
