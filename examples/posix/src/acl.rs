//! What does the extended attribute `system.posix_acl_access` say? Its bytes, read and written.
//!
//! A 4-byte version, then entries of 8 bytes: tag, permission bits, and a user or group id; all little-endian.
//!
//! # Invariants
//! * No bytes make [`decode`] panic, and it takes at most [`ENTRIES_MAX`] entries.
//! * What it accepts has exactly one owner, owning group and others, and a mask if it has named entries.
//!
//! Source: `include/uapi/linux/posix_acl_xattr.h`; POSIX 1003.1e draft 17, section 23.

use std::fmt;

/// The name of the attribute.
pub const ATTRIBUTE: &str = "system.posix_acl_access";
/// More entries do not fit an extended attribute, which Linux limits to 64 KiB.
pub const ENTRIES_MAX: usize = 8_191;

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
const NO_ID: u32 = u32::MAX;

const TAG_OWNER: u16 = 0x01;
const TAG_USER: u16 = 0x02;
const TAG_OWNING_GROUP: u16 = 0x04;
const TAG_GROUP: u16 = 0x08;
const TAG_MASK: u16 = 0x10;
const TAG_OTHER: u16 = 0x20;

/// Permission bits: any of read (4), write (2) and execute (1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(u8);

impl Bits {
    /// The lowest three bits of `value`.
    pub const fn from_low(value: u16) -> Self {
        Self((value & 7) as u8)
    }

    /// All eight sets there are.
    pub fn every() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    /// As a number from 0 to 7.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether all of `asked` are set.
    pub const fn has(self, asked: u8) -> bool {
        self.0 & asked == asked
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(4, "r"), (2, "w"), (1, "x")] {
            f.write_str(if self.has(bit) { letter } else { "-" })?;
        }
        Ok(())
    }
}

/// Whom an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The owner of the inode.
    Owner,
    /// One user.
    User(u32),
    /// The group of the inode.
    OwningGroup,
    /// One group.
    Group(u32),
    /// What named users and all groups get at most.
    Mask,
    /// Everybody else.
    Other,
}

/// One line of an ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is for.
    pub tag: Tag,
    /// What it grants.
    pub bits: Bits,
}

/// Why bytes are not an ACL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// The length fits no whole number of entries.
    #[error("{0} bytes are not a header and whole entries")]
    Length(usize),
    /// The layout is one that this reader does not know.
    #[error("version {0} of the attribute is unknown, only 2 is")]
    Version(u32),
    /// An entry that is no entry.
    #[error("entry {index} has the unknown tag {tag:#x} or permission bits {bits:#x}")]
    Entry {
        /// Its place.
        index: usize,
        /// Its tag.
        tag: u16,
        /// Its bits.
        bits: u16,
    },
    /// Some class is missing or occurs twice.
    #[error("an ACL needs one owner, one owning group, one other, and a mask beside named entries")]
    Shape,
}

/// Reads the attribute's value.
///
/// # Errors
/// [`AclError`] if the bytes are anything but one well-formed ACL.
pub fn decode(bytes: &[u8]) -> Result<Vec<AclEntry>, AclError> {
    let wrong_length = || AclError::Length(bytes.len());
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(wrong_length)?;
    let version = u32::from_le_bytes(*header);
    if version != VERSION {
        return Err(AclError::Version(version));
    }
    let (chunks, rest) = body.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || chunks.len() > ENTRIES_MAX {
        return Err(wrong_length());
    }
    let entries = chunks.iter().enumerate().map(|(index, chunk)| entry(index, *chunk));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    well_formed(&entries).then_some(entries).ok_or(AclError::Shape)
}

/// Writes the attribute's value, entries in the order that the kernel demands.
pub fn encode(entries: &[AclEntry]) -> Vec<u8> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| entry.tag);
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for AclEntry { tag, bits } in sorted {
        let (tag, id) = match tag {
            Tag::Owner => (TAG_OWNER, NO_ID),
            Tag::User(id) => (TAG_USER, id),
            Tag::OwningGroup => (TAG_OWNING_GROUP, NO_ID),
            Tag::Group(id) => (TAG_GROUP, id),
            Tag::Mask => (TAG_MASK, NO_ID),
            Tag::Other => (TAG_OTHER, NO_ID),
        };
        bytes.extend(tag.to_le_bytes());
        bytes.extend(u16::from(bits.number()).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn entry(index: usize, [t0, t1, p0, p1, i0, i1, i2, i3]: [u8; ENTRY_BYTES]) -> Result<AclEntry, AclError> {
    let (tag, bits) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]));
    let id = u32::from_le_bytes([i0, i1, i2, i3]);
    let known = match tag {
        TAG_OWNER => Some(Tag::Owner),
        TAG_USER => Some(Tag::User(id)),
        TAG_OWNING_GROUP => Some(Tag::OwningGroup),
        TAG_GROUP => Some(Tag::Group(id)),
        TAG_MASK => Some(Tag::Mask),
        TAG_OTHER => Some(Tag::Other),
        _ => None,
    };
    match known {
        Some(tag) if bits <= 7 => Ok(AclEntry { tag, bits: Bits::from_low(bits) }),
        _ => Err(AclError::Entry { index, tag, bits }),
    }
}

fn well_formed(entries: &[AclEntry]) -> bool {
    let count = |wanted: fn(&Tag) -> bool| entries.iter().filter(|entry| wanted(&entry.tag)).count();
    let masks = count(|tag| *tag == Tag::Mask);
    let named = count(|tag| matches!(tag, Tag::User(_) | Tag::Group(_)));
    count(|tag| *tag == Tag::Owner) == 1
        && count(|tag| *tag == Tag::OwningGroup) == 1
        && count(|tag| *tag == Tag::Other) == 1
        && (masks == 1 || masks == 0 && named == 0)
}

#[cfg(test)]
mod tests;
