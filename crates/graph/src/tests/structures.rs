//! The parts that a root is made of, each against the plainest collection, old copies kept.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::leaf::{Effect, Op, WORDS_MAX};
use crate::names::{Names, PAGE_FILL};
use crate::tree::{Edit, Tree};
use crate::trie::Trie;
use crate::vector::Vector;

type Edges = BTreeSet<(u32, u32, u32)>;

/// Objects, classes and numbers around every width, leaf and level boundary.
fn object() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0u32..70, 2 => 1000u32..1100, 1 => (3u32..32).prop_map(|bits| 1 << bits), 1 => any::<u32>()]
}

fn class() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0u32..3, 2 => 60u32..70, 1 => 0u32..1 << 24]
}

fn number() -> impl Strategy<Value = u32> {
    let edge = (20u32..32, 0u32..3).prop_map(|(bits, below)| (1 << bits) + 1 - below);
    prop_oneof![8 => 0u32..60, 1 => edge, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

/// Batches of edges: those present go, those absent come.
fn batches() -> impl Strategy<Value = Vec<BTreeSet<(u32, u32, u32)>>> {
    let hot = (0u32..2, 0u32..2, 0u32..90);
    let edge = prop_oneof![3 => (object(), class(), number()), 2 => hot];
    vec(vec(edge, 1..60).prop_map(|edges| edges.into_iter().collect()), 1..25)
}

fn ops(edges: &Edges, batch: &Edges) -> Vec<Op> {
    let effect = |edge| if edges.contains(edge) { Effect::Remove } else { Effect::Insert };
    batch.iter().map(|edge| Op::new(edge.0, edge.1, edge.2, 0, effect(edge))).collect()
}

fn check(trie: &Trie, edges: &Edges) {
    let mut rows: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for (object, class, number) in edges {
        rows.entry((*object, *class)).or_default().push(*number);
    }
    for ((object, class), numbers) in &rows {
        let row = trie.row(*object);
        let run = row.run(*class);
        assert_eq!(&run.iter().collect::<Vec<_>>(), numbers);
        assert_eq!(run.len(), numbers.len());
        assert_eq!(run.iter().len(), numbers.len());
        for (at, number) in numbers.iter().enumerate() {
            assert_eq!(run.get(at), Some(*number));
            assert!(run.contains(*number));
            assert!(row.contains(*class, *number));
            for near in [number.wrapping_sub(1), number.wrapping_add(1)] {
                assert_eq!(run.contains(near), numbers.binary_search(&near).is_ok());
                assert_eq!(row.contains(*class, near), numbers.binary_search(&near).is_ok());
                assert_eq!(run.position(near), numbers.partition_point(|have| *have < near));
            }
        }
        assert_eq!(run.get(numbers.len()), None);
        // Bits that a leaf has no room for are not bits of the class.
        let first = numbers[0];
        for far in (0..32).map(|bit| first | 1 << bit).chain([first | object << 8, first | class << 26]) {
            assert_eq!(run.contains(far), numbers.binary_search(&far).is_ok());
            assert_eq!(row.contains(*class, far), numbers.binary_search(&far).is_ok());
        }
        let middle = numbers[numbers.len() / 2];
        assert!(run.iter_from(middle).eq(numbers[numbers.len() / 2..].iter().copied()));
        let mut of_row: Vec<_> = row.iter().collect();
        of_row.sort_unstable();
        let of_object = edges.range((*object, 0, 0)..=(*object, u32::MAX, u32::MAX));
        assert!(of_object.map(|(_, class, number)| (*class, *number)).eq(of_row.iter().copied()));
        assert_eq!(row.len(), of_row.len());
        assert!(!row.is_empty());
        for near in [object.wrapping_sub(1), object.wrapping_add(1)] {
            assert_eq!(
                trie.row(near).is_empty(),
                edges.range((near, 0, 0)..=(near, u32::MAX, u32::MAX)).next().is_none()
            );
        }
        assert_eq!(row.run(class + 1).len(), rows.get(&(*object, class + 1)).map_or(0, Vec::len));
        let next = rows.get(&(*object, class + 1)).and_then(|numbers| numbers.first());
        assert!(next.is_none_or(|next| row.contains(class + 1, *next)));
        assert!(next.is_some() || !row.contains(class + 1, first));
    }
    let mut walked = Vec::new();
    let (mut from, mut leaf_edges) = (0, Vec::new());
    while let Some((leaf, start)) = trie.leaf_from(from) {
        leaf.edges(&mut leaf_edges);
        walked.extend(leaf_edges.iter().map(|e| (start as u32 + e.slot(), e.class(), e.number())));
        from = start + (1 << leaf.bits);
    }
    assert!(walked.iter().eq(edges.iter()));
}

/// Keys that only one of two trees has, and whether it is the new one.
fn differences(old: &Tree<u32>, new: &Tree<u32>) -> Vec<(u32, bool)> {
    let mut found = Vec::new();
    Tree::differences(old, new, &mut |key, old, new| {
        assert!(old.is_some() != new.is_some());
        found.push((key, new.is_some()));
    });
    found
}

proptest! {
    #[test]
    fn tries_hold_any_edges_whatever_their_widths(batches in batches()) {
        let (mut trie, mut edges) = (Trie::new(), Edges::new());
        let mut kept = Vec::new();
        for batch in &batches {
            trie.update(&ops(&edges, batch));
            edges = edges.symmetric_difference(batch).copied().collect();
            check(&trie, &edges);
            kept.push((trie.clone(), edges.clone()));
        }
        for (trie, edges) in &kept {
            check(trie, edges);
        }
        let all: Edges = edges.clone();
        trie.update(&ops(&edges, &all));
        check(&trie, &Edges::new());
        prop_assert_eq!(trie.bytes(None), 0);
    }

    #[test]
    fn trees_are_sorted_maps_that_know_ranks(
        batches in vec(btree_map(0u32..300, any::<bool>(), 1..120), 1..20)
    ) {
        let (mut tree, mut set) = (Tree::new(), BTreeSet::new());
        let mut kept = Vec::new();
        for batch in &batches {
            let edits: Vec<Edit<u32>> =
                batch.iter().map(|(key, put)| if *put { Edit::Put(*key) } else { Edit::Remove(*key) }).collect();
            tree.update(&edits);
            for (key, put) in batch {
                if *put { set.insert(*key) } else { set.remove(key) };
            }
            kept.push((tree.clone(), set.clone()));
        }
        for (tree, set) in &kept {
            prop_assert!(tree.iter().eq(set.iter()));
            prop_assert_eq!(tree.len(), set.len());
            prop_assert_eq!(tree.last(), set.last());
            for (rank, key) in set.iter().enumerate() {
                prop_assert_eq!(tree.nth(rank), Some(key));
            }
            prop_assert_eq!(tree.nth(set.len()), None);
            for key in 0..300 {
                prop_assert_eq!(tree.item(key).is_some(), set.contains(&key));
                prop_assert_eq!(tree.rank(key), set.range(..key).count());
            }
            let fresh = Tree::from_sorted(set.iter().copied().collect());
            prop_assert!(fresh.iter().eq(set.iter()) && fresh.len() == set.len());
            for key in [0, 1, 37, 150, 299, 300] {
                let mut rest = tree.clone();
                rest.remove_below(key);
                prop_assert!(rest.iter().eq(set.range(key..)) && rest.len() == set.range(key..).count());
                prop_assert!(tree.leaves_from(tree.rank(key)).flatten().eq(set.range(key..)));
                // What a cut tree shares is told apart from what it lacks as anything else is.
                prop_assert_eq!(differences(tree, &rest), set.range(..key).map(|key| (*key, false)).collect::<Vec<_>>());
            }
        }
        for ((old, old_set), (new, new_set)) in kept.iter().zip(&kept[kept.len() / 2..]) {
            let expected = old_set.symmetric_difference(new_set);
            let expected: Vec<_> = expected.map(|key| (*key, new_set.contains(key))).collect();
            prop_assert_eq!(differences(old, new), expected);
        }
    }

    #[test]
    fn what_tries_do_not_share_is_where_they_differ(batches in batches(), other in batches()) {
        let (mut trie, mut edges) = (Trie::new(), Edges::new());
        let mut kept = vec![(trie.clone(), edges.clone())];
        for batch in &batches {
            trie.update(&ops(&edges, batch));
            edges = edges.symmetric_difference(batch).copied().collect();
            kept.push((trie.clone(), edges.clone()));
        }
        // One that shares nothing, too.
        let (mut strange, mut strange_edges) = (Trie::new(), Edges::new());
        for batch in &other {
            strange.update(&ops(&strange_edges, batch));
            strange_edges = strange_edges.symmetric_difference(batch).copied().collect();
        }
        kept.push((strange, strange_edges));
        for ((old, old_edges), (new, new_edges)) in kept.iter().zip(&kept[kept.len() / 2..]) {
            for ((old, old_edges), (new, new_edges)) in
                [((old, old_edges), (new, new_edges)), ((new, new_edges), (old, old_edges))]
            {
                let (mut found, mut edges) = (Vec::new(), Vec::new());
                Trie::differences(old, new, &mut |group| {
                    group.edges(&mut edges);
                    assert!(edges.iter().all(|edge| edge.object & !63 == group.start));
                    found.extend(edges.iter().map(|e| (e.object, e.class, e.number, e.is_new)));
                });
                let expected = old_edges.symmetric_difference(new_edges);
                let expected: Vec<_> = expected.map(|e| (e.0, e.1, e.2, new_edges.contains(e))).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn vectors_are_lists(steps in vec(prop_oneof![3 => (0i32..400).prop_map(Some), 1 => Just(None)], 1..30)) {
        let (mut vector, mut list) = (Vector::new(), Vec::new());
        let mut kept = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            match step {
                Some(more) => for item in 0..*more { vector.push(item); list.push(item); },
                None => for _ in 0..list.len() / 2 + 1 { prop_assert_eq!(vector.pop(), list.pop()); },
            }
            if let Some(item) = vector.item_mut(at * 7) { *item = -1; list[at * 7] = -1; }
            kept.push((vector.clone(), list.clone()));
        }
        for (vector, list) in &kept {
            prop_assert!(vector.iter().eq(list.iter()));
            prop_assert_eq!(vector.len(), list.len());
            let mut fresh = Vector::new();
            list.iter().for_each(|item| fresh.push(*item));
            prop_assert_eq!(vector.bytes(None, &|_, _| 0), fresh.bytes(None, &|_, _| 0));
            for at in 0..list.len() + 2 { prop_assert_eq!(vector.item(at), list.get(at)); }
            let made: Vector<i32> = list.iter().copied().collect();
            prop_assert!(made.iter().eq(list.iter()));
            prop_assert_eq!(made.bytes(None, &|_, _| 0), fresh.bytes(None, &|_, _| 0));
            for (other, other_list) in &kept {
                let shared = list.iter().zip(other_list).take_while(|(one, other)| one == other).count();
                let expected = (list != other_list).then_some(shared);
                prop_assert_eq!(Vector::first_difference(vector, other, &|a, b| a == b), expected);
            }
        }
    }

    #[test]
    fn ids_are_found_by_number_and_by_id(
        seed in any::<u64>(), steps in vec((0usize..150, 0usize..150), 1..12)
    ) {
        let (mut names, mut list) = (Names::new(seed), Vec::<String>::new());
        let mut kept = Vec::new();
        let mut fresh = 0;
        for (more, less) in steps {
            for _ in 0..more {
                fresh += 1;
                // Lengths vary, past one hash word and two.
                let id = format!("{fresh}{}", "x".repeat(fresh * 5 % 21));
                prop_assert_eq!(names.insert(names.hash(&id), &id) as usize, list.len());
                list.push(id);
            }
            kept.push((names.clone(), list.clone()));
            list.truncate(list.len().saturating_sub(less));
            names.truncate(list.len() as u32);
            kept.push((names.clone(), list.clone()));
        }
        for (names, list) in &kept {
            prop_assert_eq!(names.count() as usize, list.len());
            for (number, id) in list.iter().enumerate() {
                prop_assert_eq!(names.id(number as u32), id);
                prop_assert_eq!(names.number(id), Some(number as u32));
            }
            prop_assert_eq!(names.pages_len(), list.len().div_ceil(PAGE_FILL));
            prop_assert_eq!(names.id(list.len() as u32), "");
            for (other, other_list) in &kept {
                let shared = list.iter().zip(other_list).take_while(|(one, other)| one == other).count();
                let expected = (list != other_list).then_some(shared as u32);
                prop_assert_eq!(Names::first_difference(names, other), expected);
            }
            for id in ["", "0", "x", "1x"] {
                prop_assert_eq!(names.number(id), list.iter().position(|have| have == id).map(|at| at as u32));
            }
        }
    }
}

#[test]
fn a_tree_from_which_most_is_removed_is_not_left_in_crumbs() {
    let (mut tree, mut fresh) = (Tree::new(), Tree::new());
    tree.update(&(0..2_000u32).map(Edit::Put).collect::<Vec<_>>());
    for key in (0..2_000).filter(|key| key % 50 != 0) {
        tree.update(&[Edit::Remove(key)]);
    }
    fresh.update(&(0..2_000u32).step_by(50).map(Edit::Put).collect::<Vec<_>>());
    assert!(tree.iter().eq(fresh.iter()));
    let (bytes, fresh) = (tree.bytes(None, &|_| 0), fresh.bytes(None, &|_| 0));
    assert!(bytes <= 5 * fresh, "{bytes} bytes for what takes {fresh}");
}

#[test]
fn a_leaf_that_split_is_joined_when_little_is_left() {
    let dense: Edges = (0..64).flat_map(|object| (0..5).map(move |number| (object, 0, number))).collect();
    let sparse: Edges =
        dense.iter().copied().filter(|(object, _, number)| object % 9 == 0 && *number == 2).collect();
    let (mut trie, mut fresh) = (Trie::new(), Trie::new());
    trie.update(&ops(&Edges::new(), &dense));
    let split = trie.bytes(None);
    for edge in dense.difference(&sparse) {
        trie.update(&ops(&dense, &[*edge].into()));
    }
    fresh.update(&ops(&Edges::new(), &sparse));
    check(&trie, &sparse);
    assert_eq!(trie.bytes(None), fresh.bytes(None));
    assert!(split > 4 * fresh.bytes(None));
}

#[test]
fn a_spilled_run_that_shrinks_returns_into_its_leaf() {
    let long: Edges = (0..WORDS_MAX as u32 * 2).map(|number| (3, 1, number)).collect();
    let few: Edges = long.iter().copied().filter(|(_, _, number)| *number < 2).collect();
    let (mut trie, mut fresh) = (Trie::new(), Trie::new());
    trie.update(&ops(&Edges::new(), &long));
    trie.update(&ops(&long, &long.difference(&few).copied().collect()));
    fresh.update(&ops(&Edges::new(), &few));
    check(&trie, &few);
    assert_eq!(trie.bytes(None), fresh.bytes(None));
}
