//! Which keys are there beside the tokens that the control plane knows? The preshared ones, and the root token.
//!
//! # Invariants
//! * Comparing keys takes a time that does not depend on where they differ; keys are kept as hashes.
//! * What a key is known by tells nothing about it: it is a hash under a secret of the store.

use std::fmt::Write as _;

use blake3::Hash;
use http::HeaderValue;
use idhini_model::SubjectRef;

use crate::refusal::Refusal;

/// Bytes of the hash that a preshared key is known by.
const NAME_BYTES: usize = 8;

/// Keys of the configuration and the root token, which may call.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<(Hash, SubjectRef)>,
}

impl Keys {
    /// Any of these keys may call; empty ones are left out. Each is known by a hash of it under this secret.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k str>, secret: &[u8; blake3::KEY_LEN]) -> Keys {
        let known = |key: &str| {
            let mut name = String::new();
            for byte in &blake3::keyed_hash(secret, key.as_bytes()).as_bytes()[..NAME_BYTES] {
                // Writing to a string does not fail.
                let _ = write!(name, "{byte:02x}");
            }
            (blake3::hash(key.as_bytes()), SubjectRef::object("preshared_key", name))
        };
        Keys { keys: keys.into_iter().filter(|key| !key.is_empty()).map(known).collect() }
    }

    /// And the bearer of the root token, of which only this BLAKE3 hash is known; it has to be too random to be found.
    #[must_use]
    pub fn or_root_token(mut self, hash: [u8; blake3::OUT_LEN]) -> Keys {
        self.keys.push((hash.into(), SubjectRef::object("root_token", "root")));
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who the bearers of these keys are to the control plane.
    #[must_use]
    pub fn subjects(&self) -> Vec<SubjectRef> {
        self.keys.iter().map(|(_, subject)| subject.clone()).collect()
    }

    /// Who brings the key of this hash.
    pub(crate) fn subject(&self, given: &Hash) -> Option<&SubjectRef> {
        // No early exit: the time tells nothing about which key was given.
        self.keys
            .iter()
            .fold(None, |found, (hash, subject)| if hash == given { Some(subject) } else { found })
    }
}

/// The token in a call's `authorization`.
pub(crate) fn bearer_of(header: Option<&HeaderValue>) -> Result<&str, Refusal> {
    const SCHEME: &str = "bearer ";
    let header = header.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = match header.get(..SCHEME.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => header[SCHEME.len()..].trim(),
        _ => "",
    };
    if token.is_empty() { Err(Refusal::unauthenticated()) } else { Ok(token) }
}

/// In a time that tells no more than their lengths; comparing hashes takes the same time wherever they differ.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let wide = |part: &[u8]| {
        let mut wide = [0; blake3::OUT_LEN];
        wide[..part.len()].copy_from_slice(part);
        Hash::from_bytes(wide)
    };
    let parts = one.chunks(blake3::OUT_LEN).zip(other.chunks(blake3::OUT_LEN));
    one.len() == other.len() && parts.fold(true, |same, (one, other)| same & (wide(one) == wide(other)))
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests;
