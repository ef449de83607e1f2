//! Who is calling? A preshared key or the root token, as a bearer token.
//!
//! # Invariants
//! * Without a known key nothing is answered but health and reflection.
//! * Comparing keys takes a time that does not depend on where they differ; keys are kept as hashes.

use blake3::Hash;
use tonic::metadata::MetadataMap;

use crate::refusal::Refusal;

/// Keys that may call.
#[derive(Clone)]
pub struct Keys {
    hashes: Vec<Hash>,
}

impl Keys {
    /// Any of these keys may call; empty ones are left out.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k str>) -> Keys {
        Keys {
            hashes: keys.into_iter().filter(|k| !k.is_empty()).map(|k| blake3::hash(k.as_bytes())).collect(),
        }
    }

    /// And the bearer of a token of which only this BLAKE3 hash is known; the token has to be too random to be found.
    #[must_use]
    pub fn or_token_of(mut self, hash: [u8; blake3::OUT_LEN]) -> Keys {
        self.hashes.push(hash.into());
        self
    }

    /// Whether nobody may call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Lets a call pass.
    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<(), Refusal> {
        let token = bearer(metadata)?;
        let given = blake3::hash(token.as_bytes());
        // No early exit: the time tells nothing about which key was given.
        let known = self.hashes.iter().fold(false, |known, hash| known | (*hash == given));
        if known { Ok(()) } else { Err(Refusal::wrong_token()) }
    }
}

/// The token that a call brings.
pub(crate) fn bearer(metadata: &MetadataMap) -> Result<&str, Refusal> {
    const SCHEME: &str = "bearer ";
    let header = metadata.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = match header.get(..SCHEME.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => header[SCHEME.len()..].trim(),
        _ => "",
    };
    if token.is_empty() { Err(Refusal::unauthenticated()) } else { Ok(token) }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.hashes.len())
    }
}

#[cfg(test)]
mod tests;
