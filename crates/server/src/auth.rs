//! Who is calling? A preshared key or the root token, as a bearer token.
//!
//! # Invariants
//! * Without a known key nothing is answered but health and reflection.
//! * Comparing keys takes a time that does not depend on where they differ; keys are kept as hashes. What a connection
//!   brought is kept as long as the connection.

use std::sync::{Mutex, PoisonError};

use blake3::Hash;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::refusal::Refusal;

/// Keys that may call.
#[derive(Clone)]
pub struct Keys {
    hashes: Vec<Hash>,
}

/// What a connection's calls brought to be let in, once it was found good: comparing it costs less than a hash. It is gone
/// with the connection.
#[derive(Default)]
pub(crate) struct Accepted(Mutex<Option<HeaderValue>>);

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
        self.check_header(metadata.as_ref().get(AUTHORIZATION))
    }

    /// Whether a call of a connection passes.
    pub(crate) fn accept(&self, headers: &HeaderMap, accepted: &Accepted) -> bool {
        let Some(given) = headers.get(AUTHORIZATION) else { return false };
        let mut accepted = accepted.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accepted.as_ref().is_some_and(|accepted| is_same(accepted.as_bytes(), given.as_bytes())) {
            return true;
        }
        let is_good = self.check_header(Some(given)).is_ok();
        if is_good {
            *accepted = Some(given.clone());
        }
        is_good
    }

    fn check_header(&self, header: Option<&HeaderValue>) -> Result<(), Refusal> {
        let token = bearer_of(header)?;
        let given = blake3::hash(token.as_bytes());
        // No early exit: the time tells nothing about which key was given.
        let known = self.hashes.iter().fold(false, |known, hash| known | (*hash == given));
        if known { Ok(()) } else { Err(Refusal::wrong_token()) }
    }
}

/// The token that a call brings.
pub(crate) fn bearer(metadata: &MetadataMap) -> Result<&str, Refusal> {
    bearer_of(metadata.as_ref().get(AUTHORIZATION))
}

fn bearer_of(header: Option<&HeaderValue>) -> Result<&str, Refusal> {
    const SCHEME: &str = "bearer ";
    let header = header.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = match header.get(..SCHEME.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => header[SCHEME.len()..].trim(),
        _ => "",
    };
    if token.is_empty() { Err(Refusal::unauthenticated()) } else { Ok(token) }
}

/// In a time that tells no more than their lengths; comparing hashes takes the same time wherever they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
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
        write!(f, "Keys({})", self.hashes.len())
    }
}

#[cfg(test)]
mod tests;
