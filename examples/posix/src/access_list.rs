//! What does an inode's metadata grant, as one list? Mode and ACL in a single form, with nothing decided yet.
//!
//! A mode is an access list of three: owner, group, others. An ACL adds named users, named groups and a mask. For an
//! inode with an ACL the mode's group bits *are* the mask, so a mode alone is the list whose mask equals its group.
//!
//! # Invariants
//! * Holders, bits and classes only: who is in which group, and which class decides, is the evaluator's business.
//! * An ACL is in force only if some group bit of the mode is set. The kernel looks at the ACL of no other inode
//!   (`acl_permission_check` in `fs/namei.c`), so that named users are then judged as others.

use crate::acl::{AclEntry, Bits, Tag};

/// Who gets which bits of one inode, by class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessList {
    /// The owner's user id and bits.
    pub owner: (u32, Bits),
    /// Users with an entry of their own, each once.
    pub named: Vec<(u32, Bits)>,
    /// The owning group first, then named groups. A group may occur twice with different bits.
    pub groups: Vec<(u32, Bits)>,
    /// What named users and all groups get at most.
    pub mask: Bits,
    /// What everybody else gets.
    pub other: Bits,
}

/// The mode's group bits and the ACL's mask differ: the inode changed between reading the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mode and ACL disagree: the inode is being changed")]
pub struct Disagreement;

impl AccessList {
    /// The list of an inode with these metadata.
    ///
    /// # Errors
    /// [`Disagreement`] if `mode` and `acl` cannot belong together.
    pub fn of(mode: u16, owner: u32, group: u32, acl: Option<&[AclEntry]>) -> Result<Self, Disagreement> {
        let [owner_bits, group_bits, other] = [6, 3, 0].map(|shift| Bits::from_low(mode >> shift));
        let mut list = Self {
            owner: (owner, owner_bits),
            named: Vec::new(),
            groups: vec![(group, group_bits)],
            mask: group_bits,
            other,
        };
        let Some(acl) = acl.filter(|_| group_bits.number() != 0) else {
            return Ok(list);
        };
        list.groups.clear();
        let mut mask = None;
        for entry in acl {
            match entry.tag {
                Tag::Owner | Tag::Other => {}
                Tag::User(id) if list.named.iter().any(|(named, _)| *named == id) => {}
                Tag::User(id) => list.named.push((id, entry.bits)),
                Tag::OwningGroup => list.groups.insert(0, (group, entry.bits)),
                Tag::Group(id) => list.groups.push((id, entry.bits)),
                Tag::Mask => mask = Some(entry.bits),
            }
        }
        let stated = |tag| acl.iter().find(|entry| entry.tag == tag).map(|entry| entry.bits);
        let agrees = stated(Tag::Owner) == Some(owner_bits)
            && stated(Tag::Other) == Some(other)
            && mask.or_else(|| stated(Tag::OwningGroup)) == Some(group_bits);
        agrees.then_some(list).ok_or(Disagreement)
    }
}

#[cfg(test)]
mod tests;
