//! Real randomness.

use crate::failure::Failure;

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::System { what: "randomness", source: std::io::Error::other(error) })?;
    Ok(bytes)
}
