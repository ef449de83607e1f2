//! What several targets read from their inputs.

pub mod image_file;

const IS_LAST: u16 = 1 << 15;

/// The chunks of the next entry: each has a length (2, little-endian) whose highest bit says that it is the last, and
/// the bytes. What no last chunk follows is no entry.
pub fn next_entry<'i>(rest: &mut &'i [u8]) -> Option<Vec<&'i [u8]>> {
    let mut chunks = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk() {
        let head = u16::from_le_bytes(*head);
        let (chunk, behind) = behind.split_at(usize::from(head & !IS_LAST).min(behind.len()));
        chunks.push(chunk);
        *rest = behind;
        if head & IS_LAST != 0 {
            return Some(chunks);
        }
    }
    None
}
