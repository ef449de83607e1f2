use std::collections::BTreeSet;

use super::Ranges;

#[test]
fn ranges_hold_what_a_set_holds_in_as_few_pieces_as_there_are() {
    let (mut ranges, mut set, mut state) = (Ranges::default(), BTreeSet::new(), 1_u64);
    for _ in 0..300 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let first = (state >> 40) % 200;
        let last = first + (state >> 20) % 4;
        ranges.insert(first, last);
        set.extend(first..=last);
        for number in 0..210 {
            assert_eq!(ranges.contains(number), set.contains(&number), "{number}");
        }
        let pieces = set.iter().filter(|number| !set.contains(&(**number + 1))).count();
        assert_eq!(ranges.iter().count(), pieces);
    }
}

#[test]
fn ranges_reach_to_both_ends_of_all_numbers() {
    let mut ranges = Ranges::default();
    ranges.insert(u64::MAX, u64::MAX);
    ranges.insert(0, 0);
    ranges.insert(u64::MAX - 1, u64::MAX - 1);
    assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 0), (u64::MAX - 1, u64::MAX)]);
    ranges.insert(0, u64::MAX);
    assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, u64::MAX)]);
}
