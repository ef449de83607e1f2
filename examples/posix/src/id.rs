//! How does a path become an object id? Bytes that ids may not have are written as `=` and two hex digits.
//!
//! # Invariants
//! * Two paths never share an id: `=` itself is always escaped, so an id reads back in one way only.
//! * An id is never `*`, which would mean everybody, and never longer than [`ID_BYTES_MAX`].

/// The longest object id that the API takes, in bytes.
pub const ID_BYTES_MAX: usize = 1_024;

/// The id of `path`, or `None` if it would be longer than [`ID_BYTES_MAX`].
pub fn encode(path: &[u8]) -> Option<String> {
    let mut id = String::with_capacity(path.len() + 8);
    for &byte in path {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'|' | b'-' | b'+') {
            id.push(char::from(byte));
        } else {
            id.push('=');
            id.push(hex_digit(byte >> 4));
            id.push(hex_digit(byte & 15));
        }
        if id.len() > ID_BYTES_MAX {
            return None;
        }
    }
    (!id.is_empty()).then_some(id)
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests;
