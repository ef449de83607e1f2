use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
# a comment

daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
+::::::
toor:x:0:0:also root:/root:/bin/sh
postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash
broken:x:many:1::/:
short:x
";
const GROUP: &str = "root:x:0:
ssl-cert:x:103:postgres,nobody-known
adm:x:4:daemon, postgres
postgres:x:104:
broken:x:many:root
bare:x:9
";

fn account(name: &str, uid: u32, gid: u32, supplementary: &[u32]) -> Account {
    Account { name: name.to_owned(), uid, gid, supplementary: supplementary.to_vec() }
}

#[test]
fn users_come_with_the_groups_that_list_them() {
    let found = read(PASSWD, GROUP);
    let expected =
        [account("root", 0, 0, &[]), account("daemon", 1, 1, &[4]), account("postgres", 101, 104, &[4, 103])];
    assert_eq!(found.accounts, expected);
    assert_eq!(found.group_ids.into_iter().collect::<Vec<_>>(), [0, 4, 9, 103, 104]);
}

#[test]
fn what_is_passed_over_is_counted() {
    let found = read(PASSWD, GROUP);
    assert_eq!((found.sharing_a_uid, found.malformed_lines), (1, 3));
}

#[test]
fn the_group_of_a_user_is_among_its_groups_once() {
    assert_eq!(account("a", 5, 6, &[6, 7]).groups().into_iter().collect::<Vec<_>>(), [6, 7]);
}

#[test]
fn the_cast_avoids_ids_that_the_machine_uses() {
    let machine = read("a:x:61000:61003::/:\n", "b:x:61012:\n");
    let cast = Cast::beside(&machine);
    let mut ids: Vec<u32> =
        cast.accounts.iter().map(|account| account.uid).chain(cast.groups.iter().copied()).collect();
    assert_eq!(ids.len(), MADE_ACCOUNTS + MADE_GROUPS);
    assert!([61_000, 61_003, 61_012].iter().all(|taken| !ids.contains(taken)));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), MADE_ACCOUNTS + MADE_GROUPS, "no id twice");
}

#[test]
fn a_map_of_all_ids_is_whole_and_a_map_of_some_is_not() {
    let whole = IdMap::read("         0          0 4294967295\n");
    assert!(whole.is_whole() && whole.contains(65_534));
    let part = IdMap::read("0 1000 1\n1 100000 65535\n");
    assert!(!part.is_whole() && part.contains(0) && part.contains(65_535) && !part.contains(65_536));
    assert!(!IdMap::read("nonsense").contains(0));
}
