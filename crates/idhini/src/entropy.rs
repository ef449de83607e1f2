//! Real randomness.

use crate::failure::Failure;

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    fill(&mut bytes).map_err(|source| Failure::System { what: "randomness", source })?;
    Ok(bytes)
}

/// Fills bytes at random.
pub(crate) fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(std::io::Error::other)
}
