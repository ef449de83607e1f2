//! What did a trail look like at a moment, and who says so?
//!
//! A checkpoint says how many records a chain has and what the hash of the last one is, and is signed. Kept elsewhere, it
//! shows whatever becomes of those records: none of them can be changed, taken out or cut off without its hash being
//! another one.
//!
//! ```text
//! idhini-audit-checkpoint-1 CHAIN RECORDS HEAD AT KEY SIGNATURE
//! ```
//! One line, six words behind the first: the chain's name, a number, 64 hexadecimal digits, a moment, the key's id, 128
//! hexadecimal digits. The signature is that of the line up to the blank before it.

use std::fmt;
use std::str::FromStr;

use idhini_model::Timestamp;

use crate::hex;
use crate::keys::{Keys, PublicKey};
use crate::line::Hash;

/// What it begins with.
const PREFIX: &str = "idhini-audit-checkpoint-1";

/// What was so when it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which chain.
    pub chain: String,
    /// The number of the last record.
    pub records: u64,
    /// Its hash.
    pub head: Hash,
    /// When.
    pub at: Timestamp,
    /// The key that signed.
    pub key: String,
    pub(crate) signature: [u8; 64],
}

/// A text that is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no checkpoint: a line that begins with `{PREFIX}`, as `idhini audit checkpoint` prints it")]
pub struct CheckpointError;

impl Checkpoint {
    pub(crate) fn sign(keys: &Keys, chain: &str, records: u64, head: Hash, at: Timestamp) -> Checkpoint {
        let key = keys.public().id();
        let mut checkpoint =
            Checkpoint { chain: chain.to_owned(), records, head, at, key, signature: [0; 64] };
        checkpoint.signature = keys.sign(checkpoint.signed().as_bytes());
        checkpoint
    }

    /// Whether the key has signed exactly this.
    #[must_use]
    pub fn is_of(&self, key: &PublicKey) -> bool {
        key.verify(self.signed().as_bytes(), &self.signature)
    }

    fn signed(&self) -> String {
        let Checkpoint { chain, records, head, at, key, .. } = self;
        format!("{PREFIX} {chain} {records} {head} {at} {key}")
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.signed(), hex::text(&self.signature))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Checkpoint, CheckpointError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [PREFIX, chain, records, head, at, key, signature] = words.as_slice() else {
            return Err(CheckpointError);
        };
        let checkpoint = Checkpoint {
            chain: (*chain).to_owned(),
            records: records.parse().map_err(|_| CheckpointError)?,
            head: Hash(hex::read(head).ok_or(CheckpointError)?),
            at: at.parse().map_err(|_| CheckpointError)?,
            key: (*key).to_owned(),
            signature: hex::read(signature).ok_or(CheckpointError)?,
        };
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use idhini_model::Timestamp;

    use super::Checkpoint;
    use crate::line::Hash;
    use crate::tests::keys;

    #[test]
    fn a_checkpoint_that_is_another_in_any_letter_is_not_signed() {
        let at = Timestamp::new(1_800_000_000, 5).unwrap();
        let checkpoint = Checkpoint::sign(&keys(), "file", 12, Hash([3; 32]), at);
        let text = checkpoint.to_string();
        assert_eq!(text.parse(), Ok(checkpoint.clone()));
        assert!(checkpoint.is_of(&keys().public()));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if let Ok(changed) = text.parse::<Checkpoint>() {
                assert!(!changed.is_of(&keys().public()), "{text}");
            }
        }
    }
}
