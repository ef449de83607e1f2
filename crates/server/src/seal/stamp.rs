//! Many cursors of one answer: they differ in their places only, so what stands before is sealed and written once.
//!
//! # Invariants
//! * A stamped cursor is, byte by byte, the one that [`Sealer::cursor`](super::Sealer::cursor) makes.
//!
//! Cost: one BLAKE3 compression a cursor, as the first block of what is sealed has no more of the position than its upper
//! half, and that is the same for nearly all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{SEAL_BYTES, first_bytes};

/// Half of a position: of what differs, the last eight bytes of a place.
const HALF_BYTES: usize = 4;
/// What is written anew for each cursor: what is left of a group of three bytes, half a position, the seal.
const TAIL_BYTES_MAX: usize = 2 + HALF_BYTES + SEAL_BYTES;
const TAIL_TEXT_MAX: usize = TAIL_BYTES_MAX.div_ceil(3) * 4;

/// Makes the cursors of one answer.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    hasher: blake3::Hasher,
    /// What is sealed before the position.
    sealed: Vec<u8>,
    prepared: Prepared,
}

/// With the upper half of a position.
#[derive(Debug, Clone)]
struct Prepared {
    upper: [u8; HALF_BYTES],
    hasher: blake3::Hasher,
    text: String,
    /// What is too little for a group of text.
    rest: Vec<u8>,
}

impl Stamp {
    pub(super) fn new(key: &[u8; blake3::KEY_LEN], sealed: Vec<u8>) -> Stamp {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&sealed);
        let prepared = Prepared::new(&hasher, &sealed, [0; HALF_BYTES]);
        Stamp { hasher, sealed, prepared }
    }

    /// How long a cursor's text is.
    pub(crate) fn text_len(&self) -> usize {
        let tail = self.prepared.rest.len() + HALF_BYTES + SEAL_BYTES;
        self.prepared.text.len() + (tail * 4).div_ceil(3)
    }

    /// Appends the text of the cursor of a place that ends with this position.
    pub(crate) fn write(&mut self, position: u64, into: &mut Vec<u8>) {
        let [u0, u1, u2, u3, l0, l1, l2, l3] = position.to_be_bytes();
        let (upper, lower) = ([u0, u1, u2, u3], [l0, l1, l2, l3]);
        if upper != self.prepared.upper {
            self.prepared = Prepared::new(&self.hasher, &self.sealed, upper);
        }
        let Prepared { hasher, text, rest, .. } = &self.prepared;
        let mut hasher = hasher.clone();
        let seal: [u8; SEAL_BYTES] = first_bytes(&hasher.update(&lower).finalize());
        let mut tail = [0; TAIL_BYTES_MAX];
        let mut length = 0;
        for part in [rest.as_slice(), &lower, &seal] {
            tail[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        let mut tail_text = [0; TAIL_TEXT_MAX];
        // INVARIANT: the text of the longest tail fits.
        let written = URL_SAFE_NO_PAD.encode_slice(&tail[..length], &mut tail_text).unwrap_or_default();
        into.extend_from_slice(text.as_bytes());
        into.extend_from_slice(&tail_text[..written]);
    }
}

impl Prepared {
    fn new(hasher: &blake3::Hasher, sealed: &[u8], upper: [u8; HALF_BYTES]) -> Prepared {
        let mut hasher = hasher.clone();
        hasher.update(&upper);
        let bytes = [sealed, &upper].concat();
        let (whole, rest) = bytes.split_at(bytes.len() / 3 * 3);
        Prepared { upper, hasher, text: URL_SAFE_NO_PAD.encode(whole), rest: rest.to_vec() }
    }
}
