//! What do tokens, keys and accessors look like? Random characters, of which only a hash is kept.
//!
//! # Invariants
//! * Each character is any of the 62, with the same chance.
//! * A text is in the answer to who asked for it, and nowhere else.

use std::fmt;
use std::io;
use std::sync::Arc;

use idhini_replica::control::SecretHash;
use tonic::Code;

use crate::refusal::Refusal;

/// Fills bytes at random; fails if the system refuses.
#[derive(Clone)]
pub struct Randomness(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

impl Randomness {
    /// Drawn by this.
    pub fn new(fill: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static) -> Randomness {
        Randomness(Arc::new(fill))
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness")
    }
}

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters that are drawn: more than 2^142 texts.
const LENGTH: usize = 24;
/// What a token begins with, so that it is found where it should not be.
const TOKEN_PREFIX: &str = "idhini_";
/// The largest multiple of 62 that a byte counts to; what is above would favour some characters.
const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;

/// A name that nothing else has.
pub(super) fn name(randomness: &Randomness) -> Result<String, Refusal> {
    drawn(randomness, "")
}

/// A text that opens something, and what is kept of it.
pub(super) fn key(randomness: &Randomness) -> Result<(String, SecretHash), Refusal> {
    let text = drawn(randomness, "")?;
    let hash = hash(&text);
    Ok((text, hash))
}

/// A token's text, and what is kept of it.
pub(super) fn token(randomness: &Randomness) -> Result<(String, SecretHash), Refusal> {
    let text = drawn(randomness, TOKEN_PREFIX)?;
    let hash = hash(&text);
    Ok((text, hash))
}

pub(super) fn hash(text: &str) -> SecretHash {
    blake3::hash(text.as_bytes()).into()
}

fn drawn(randomness: &Randomness, prefix: &str) -> Result<String, Refusal> {
    let mut text = prefix.to_owned();
    let length = prefix.len() + LENGTH;
    // Ends: a byte is fair with a chance of 248 in 256.
    while text.len() < length {
        let mut bytes = [0; LENGTH];
        (randomness.0)(&mut bytes).map_err(|_| {
            Refusal::new(Code::Unavailable, "nothing can be drawn at random at present; try again")
        })?;
        let fair = bytes.into_iter().filter(|byte| *byte < FAIR).take(length - text.len());
        text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])));
    }
    Ok(text)
}

/// The same numbers each time.
#[cfg(test)]
pub(crate) fn seeded(seed: u64) -> Randomness {
    let state = std::sync::Mutex::new(seed);
    Randomness::new(move |bytes| {
        let mut state = state.lock().map_err(|_| io::ErrorKind::Other)?;
        for byte in bytes {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *byte = state.to_le_bytes()[3];
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn each_character_is_as_likely_as_any_other() {
        const TEXTS: usize = 4_000;
        let randomness = seeded(0x9E37_79B9_7F4A_7C15);
        let mut counts: HashMap<char, usize> = HashMap::new();
        for _ in 0..TEXTS {
            let (text, _) = token(&randomness).unwrap();
            let drawn = text.strip_prefix(TOKEN_PREFIX).unwrap();
            assert_eq!(drawn.len(), LENGTH);
            drawn.chars().for_each(|c| *counts.entry(c).or_default() += 1);
        }
        // 1548 each, with a deviation of 39; a byte taken modulo 62 would give the first eight a quarter more.
        let mean = TEXTS * LENGTH / ALPHABET.len();
        assert_eq!(counts.len(), ALPHABET.len());
        assert!(counts.values().all(|count| count.abs_diff(mean) < 250), "{counts:?}");
    }

    #[test]
    fn without_randomness_nothing_is_made() {
        let randomness = Randomness::new(|_| Err(io::ErrorKind::Other.into()));
        assert_eq!(token(&randomness).unwrap_err().code, Code::Unavailable);
    }
}
