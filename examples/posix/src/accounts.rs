//! Who asks? The machine's users with their groups, and users that exist only for the tree this program makes.
//!
//! An account is a user id together with the groups that it runs in, as `login` would set them: the group of
//! `/etc/passwd`, and every group of `/etc/group` that lists the user.
//!
//! # Invariants
//! * A user id occurs once. Of several names for one id the first counts; the others are counted, not asked.
//! * The ids of made accounts are used by no account and no group of the machine.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Lines of `/etc/passwd` and `/etc/group` that are read at most, each.
pub const LINES_MAX: usize = 1_000_000;

const FIRST_MADE_ID: u32 = 61_000;
const MADE_ACCOUNTS: usize = 12;
const MADE_GROUPS: usize = 10;
const WHOLE_RANGE: u64 = 4_294_967_295;

/// One who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What people call it.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The group id that it starts with.
    pub gid: u32,
    /// Its supplementary groups, sorted.
    pub supplementary: Vec<u32>,
}

impl Account {
    /// All groups that it runs in, each once.
    pub fn groups(&self) -> BTreeSet<u32> {
        self.supplementary.iter().copied().chain([self.gid]).collect()
    }
}

/// The accounts of a machine, and what of its files was passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MachineAccounts {
    /// Each user id once.
    pub accounts: Vec<Account>,
    /// Every group id that `/etc/group` defines.
    pub group_ids: BTreeSet<u32>,
    /// Names that share a user id with an earlier one.
    pub sharing_a_uid: usize,
    /// Lines that are neither an entry nor empty nor a comment.
    pub malformed_lines: usize,
}

/// Reads the texts of `/etc/passwd` and `/etc/group`.
pub fn read(passwd: &str, group: &str) -> MachineAccounts {
    let mut found = MachineAccounts::default();
    let mut groups_of: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for line in group.lines().take(LINES_MAX).filter(|line| is_entry(line)) {
        let mut fields = line.split(':').skip(2);
        let (Some(Ok(gid)), members) = (fields.next().map(str::parse::<u32>), fields.next()) else {
            found.malformed_lines += 1;
            continue;
        };
        found.group_ids.insert(gid);
        for member in members.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()) {
            groups_of.entry(member).or_default().insert(gid);
        }
    }
    let mut uids = HashSet::new();
    for line in passwd.lines().take(LINES_MAX).filter(|line| is_entry(line)) {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields.as_slice() else {
            found.malformed_lines += 1;
            continue;
        };
        let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else {
            found.malformed_lines += 1;
            continue;
        };
        if !uids.insert(uid) {
            found.sharing_a_uid += 1;
            continue;
        }
        let supplementary =
            groups_of.get(name).map(|gids| gids.iter().copied().collect()).unwrap_or_default();
        found.accounts.push(Account { name: (*name).to_owned(), uid, gid, supplementary });
    }
    found
}

fn is_entry(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with(['#', '+', '-'])
}

/// Users and groups for the made tree. They need not exist anywhere: the kernel knows ids only.
#[derive(Debug)]
pub struct Cast {
    /// Twelve users whose groups overlap in every way that the hard cases need.
    pub accounts: Vec<Account>,
    /// Ten groups; the first user is in none but the first.
    pub groups: Vec<u32>,
}

impl Cast {
    /// The cast, with ids that `machine` does not use.
    pub fn beside(machine: &MachineAccounts) -> Self {
        let taken: HashSet<u32> = machine
            .accounts
            .iter()
            .flat_map(|account| [account.uid, account.gid])
            .chain(machine.group_ids.iter().copied())
            .collect();
        let mut free = (FIRST_MADE_ID..u32::MAX).filter(|id| !taken.contains(id));
        let uids: Vec<u32> = free.by_ref().take(MADE_ACCOUNTS).collect();
        let groups: Vec<u32> = free.by_ref().take(MADE_GROUPS).collect();
        let crowd: Vec<u32> = free.take(60).collect();
        let memberships: [&[usize]; MADE_ACCOUNTS] = [
            &[0],
            &[1, 0],
            &[2, 0, 1],
            &[3, 1, 2, 4],
            &[4],
            &[0, 5],
            &[6],
            &[7],
            &[8, 0],
            &[1, 2],
            &[9, 2],
            &[5],
        ];
        let accounts = uids.iter().zip(memberships).enumerate().map(|(number, (&uid, member_of))| {
            let mut own: Vec<u32> =
                member_of.iter().filter_map(|group| groups.get(*group).copied()).collect();
            let gid = if own.is_empty() { uid } else { own.remove(0) };
            match number {
                7 => own.push(0),
                8 => own.extend(&crowd),
                _ => {}
            }
            own.sort_unstable();
            Account { name: format!("made-{number}"), uid, gid, supplementary: own }
        });
        Self { accounts: accounts.collect(), groups }
    }

    /// The user id of account `number`, wrapping around.
    pub fn uid(&self, number: usize) -> u32 {
        self.accounts.get(number % MADE_ACCOUNTS).map_or(FIRST_MADE_ID, |account| account.uid)
    }

    /// The group id of group `number`, wrapping around.
    pub fn gid(&self, number: usize) -> u32 {
        self.groups.get(number % MADE_GROUPS).copied().unwrap_or(FIRST_MADE_ID)
    }
}

/// Which ids mean something in this user namespace: `/proc/self/uid_map` or `gid_map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<(u64, u64)>,
}

impl IdMap {
    /// Reads the file's text; lines that are no range are ignored.
    pub fn read(text: &str) -> Self {
        let ranges = text.lines().take(LINES_MAX).filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u64>);
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(first)), Some(Ok(_)), Some(Ok(length))) => Some((first, length)),
                _ => None,
            }
        });
        Self { ranges: ranges.collect() }
    }

    /// Whether every id is mapped, so that no inode has an owner from outside.
    pub fn is_whole(&self) -> bool {
        self.ranges.iter().any(|(first, length)| *first == 0 && *length >= WHOLE_RANGE)
    }

    /// Whether a process here can run as `id`.
    pub fn contains(&self, id: u32) -> bool {
        let id = u64::from(id);
        self.ranges.iter().any(|(first, length)| id >= *first && id - first < *length)
    }
}

#[cfg(test)]
mod tests;
