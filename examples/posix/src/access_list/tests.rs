use super::*;

fn bits(text: &str) -> Bits {
    Bits::every().find(|bits| bits.to_string() == text).unwrap()
}

fn acl(lines: &[(Tag, &str)]) -> Vec<AclEntry> {
    lines.iter().map(|(tag, text)| AclEntry { tag: *tag, bits: bits(text) }).collect()
}

fn masked(mask: &str) -> Vec<AclEntry> {
    acl(&[
        (Tag::Owner, "rwx"),
        (Tag::User(7), "rw-"),
        (Tag::OwningGroup, "r-x"),
        (Tag::Group(9), "-w-"),
        (Tag::Mask, mask),
        (Tag::Other, "--x"),
    ])
}

#[test]
fn a_mode_is_three_entries_and_a_mask_equal_to_its_group() {
    let list = AccessList::of(0o100_754, 1, 2, None).unwrap();
    assert_eq!(list.owner, (1, bits("rwx")));
    assert_eq!(list.groups, [(2, bits("r-x"))]);
    assert_eq!((list.mask, list.other), (bits("r-x"), bits("r--")));
    assert!(list.named.is_empty());
}

#[test]
fn special_bits_of_the_mode_grant_nothing() {
    assert_eq!(AccessList::of(0o107_640, 1, 2, None), AccessList::of(0o100_640, 1, 2, None));
}

#[test]
fn with_an_acl_the_group_bits_of_the_mode_are_the_mask() {
    let list = AccessList::of(0o741, 1, 2, Some(&masked("r--"))).unwrap();
    assert_eq!(list.named, [(7, bits("rw-"))]);
    assert_eq!(list.groups, [(2, bits("r-x")), (9, bits("-w-"))]);
    assert_eq!((list.mask, list.other), (bits("r--"), bits("--x")));
}

#[test]
fn an_acl_with_an_empty_mask_is_not_in_force() {
    let list = AccessList::of(0o701, 1, 2, Some(&masked("---"))).unwrap();
    assert_eq!(Ok(list), AccessList::of(0o701, 1, 2, None));
}

#[test]
fn an_acl_without_named_entries_needs_no_mask() {
    let minimal = acl(&[(Tag::Owner, "rwx"), (Tag::OwningGroup, "r-x"), (Tag::Other, "---")]);
    assert_eq!(AccessList::of(0o750, 1, 2, Some(&minimal)), AccessList::of(0o750, 1, 2, None));
}

#[test]
fn of_two_entries_for_one_user_the_first_counts_and_of_two_for_one_group_both() {
    let doubled = acl(&[
        (Tag::Owner, "rwx"),
        (Tag::User(7), "r--"),
        (Tag::User(7), "rwx"),
        (Tag::OwningGroup, "---"),
        (Tag::Group(9), "r--"),
        (Tag::Group(9), "-w-"),
        (Tag::Mask, "rwx"),
        (Tag::Other, "---"),
    ]);
    let list = AccessList::of(0o770, 1, 2, Some(&doubled)).unwrap();
    assert_eq!(list.named, [(7, bits("r--"))]);
    assert_eq!(list.groups, [(2, bits("---")), (9, bits("r--")), (9, bits("-w-"))]);
}

#[test]
fn mode_and_acl_that_cannot_belong_together_are_refused() {
    for mode in [0o641, 0o751, 0o740] {
        assert_eq!(AccessList::of(mode, 1, 2, Some(&masked("r--"))), Err(Disagreement), "{mode:o}");
    }
}
