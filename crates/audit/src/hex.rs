//! Bytes as hexadecimal digits, and back; only the lower case that we write is read.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends the digits of `bytes`.
pub(crate) fn push(into: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            into.extend(DIGITS.get(usize::from(half)));
        }
    }
}

/// The digits of `bytes`.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|half| DIGITS.get(usize::from(half)).copied())
        .map(char::from)
        .collect()
}

/// As many bytes as digits say, exactly.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    read_bytes(text.as_bytes())
}

/// As [`read`].
pub(crate) fn read_bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for digit in pair {
            let half = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = (*byte << 4) | half;
        }
    }
    Some(bytes)
}
