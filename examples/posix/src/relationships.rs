//! Which relationships state a tree's metadata? One for each fact, none for any answer.
//!
//! Entries are shared: `entry:group/0/r-x` is one object however many inodes grant `r-x` to group 0, as ext4 shares
//! equal ACLs. A plain file takes six relationships.
//!
//! # Invariants
//! * No user is named beside a path: users occur as holders of entries, members of groups, and with capabilities.
//! * Nothing is written twice: entries and bits are remembered, inodes are distinct.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::accounts::Account;
use crate::acl::Bits;
use crate::id;
use crate::tree::{Inode, Kind, Tree};

/// The schema that gives these relationships their meaning.
pub const SCHEMA: &str = include_str!("schema.zed");
/// The definitions of the schema that hold relationships.
pub const RESOURCE_TYPES: [&str; 7] = ["bits", "directory", "entry", "file", "group", "link", "machine"];

const MACHINE: &str = "this";
const EVERYBODY: &str = "*";

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The object that it is about.
    pub resource: (&'static str, String),
    /// What about it.
    pub relation: &'static str,
    /// The object related to it.
    pub subject: (&'static str, String),
    /// Empty, or the relation whose holders are meant.
    pub subject_relation: &'static str,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, relation, subject, subject_relation } = self;
        write!(f, "{}:{}#{relation}@{}:{}", resource.0, resource.1, subject.0, subject.1)?;
        if subject_relation.is_empty() { Ok(()) } else { write!(f, "#{subject_relation}") }
    }
}

/// Which capabilities an account's process was seen to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `CAP_DAC_OVERRIDE`.
    pub dac_override: bool,
    /// `CAP_DAC_READ_SEARCH`.
    pub dac_read_search: bool,
}

/// The object that stands for an inode, or `None` if its id would be too long.
pub fn object(inode: &Inode) -> Option<(&'static str, String)> {
    let kind = match inode.kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Link { .. } | Kind::LostLink => "link",
    };
    Some((kind, id::encode(inode.path.as_os_str().as_bytes())?))
}

/// All facts about `tree`, `accounts` and what their processes may override.
pub fn all(tree: &Tree, accounts: &[Account], capabilities: &[Capabilities]) -> Vec<Fact> {
    let mut facts = Vec::new();
    for bits in Bits::every() {
        for (bit, relation) in [(4, "read"), (2, "write"), (1, "execute")] {
            if bits.has(bit) {
                facts.push(fact(("bits", bits.to_string()), relation, ("user", EVERYBODY.to_owned())));
            }
        }
    }
    for (account, holds) in accounts.iter().zip(capabilities) {
        let user = || ("user", account.uid.to_string());
        facts.extend(
            account.groups().into_iter().map(|gid| fact(("group", gid.to_string()), "member", user())),
        );
        let machine = || ("machine", MACHINE.to_owned());
        if holds.dac_override {
            facts.push(fact(machine(), "dac_override", user()));
        }
        if holds.dac_read_search {
            facts.push(fact(machine(), "dac_read_search", user()));
        }
    }
    let mut entries = BTreeSet::new();
    for place in 0..tree.inodes.len() {
        facts.extend(of_inode(tree, place, &mut entries));
    }
    facts.extend(entries.iter().flat_map(Entry::facts));
    facts
}

/// What decides about one inode: its own facts and those of everything on its way, with the entries they name.
pub fn involved(tree: &Tree, place: usize) -> Vec<Fact> {
    let mut waiting = vec![place];
    let mut seen = BTreeSet::new();
    while let Some(next) = waiting.pop() {
        let Some(inode) = tree.inodes.get(next).filter(|_| seen.insert(next)) else { continue };
        waiting.push(inode.parent);
        if let Kind::Link { steps, target } = &inode.kind {
            waiting.extend(steps);
            waiting.push(*target);
        }
    }
    let mut entries = BTreeSet::new();
    let mut facts: Vec<Fact> =
        seen.into_iter().rev().flat_map(|place| of_inode(tree, place, &mut entries)).collect();
    facts.extend(entries.iter().flat_map(Entry::facts));
    facts
}

/// A line of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    for_group: bool,
    id: u32,
    bits: Bits,
}

impl Entry {
    fn object(&self) -> (&'static str, String) {
        let holder = if self.for_group { "group" } else { "user" };
        ("entry", format!("{holder}/{}/{}", self.id, self.bits))
    }

    fn facts(&self) -> [Fact; 2] {
        let id = self.id.to_string();
        let mut holder =
            fact(self.object(), "holder", if self.for_group { ("group", id) } else { ("user", id) });
        holder.subject_relation = if self.for_group { "member" } else { "" };
        [holder, fact(self.object(), "bits", ("bits", self.bits.to_string()))]
    }
}

fn of_inode(tree: &Tree, place: usize, entries: &mut BTreeSet<Entry>) -> Vec<Fact> {
    let Some((inode, object)) = tree.inodes.get(place).and_then(|inode| Some((inode, object(inode)?))) else {
        return Vec::new();
    };
    let other = |place: &usize| tree.inodes.get(*place).and_then(self::object);
    let mut facts = Vec::with_capacity(8);
    let mut add = |relation, subject| facts.push(fact(object.clone(), relation, subject));
    match &inode.kind {
        Kind::LostLink => return facts,
        Kind::Link { steps, target } => {
            steps.iter().filter_map(other).for_each(|step| add("step", step));
            other(target).into_iter().for_each(|target| add("target", target));
            return facts;
        }
        Kind::Directory if place == 0 => add("anchor", ("user", EVERYBODY.to_owned())),
        Kind::Directory | Kind::File => {
            other(&inode.parent).into_iter().for_each(|parent| add("parent", parent))
        }
    }
    let mut entry = |for_group, (id, bits): (u32, Bits)| {
        let entry = Entry { for_group, id, bits };
        entries.insert(entry);
        entry.object()
    };
    let list = &inode.list;
    add("machine", ("machine", MACHINE.to_owned()));
    add("owner", entry(false, list.owner));
    list.named.iter().for_each(|named| add("named", entry(false, *named)));
    let groups: BTreeSet<_> = list.groups.iter().copied().collect();
    groups.into_iter().for_each(|group| add("group", entry(true, group)));
    add("mask", ("bits", list.mask.to_string()));
    add("other", ("bits", list.other.to_string()));
    facts
}

fn fact(resource: (&'static str, String), relation: &'static str, subject: (&'static str, String)) -> Fact {
    Fact { resource, relation, subject, subject_relation: "" }
}

#[cfg(test)]
mod tests;
