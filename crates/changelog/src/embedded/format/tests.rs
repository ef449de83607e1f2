use super::{FORMAT_VERSION, Facts, Flaw, HeaderFlaw, Kind, Place};
use crate::{CHUNK_BYTES_MAX, LogId, Writer};
use idhini_model::Revision;

const PLACE: Place = Place { store: 7, segment: 3 };
const OFFSET: u64 = 4096;

fn facts() -> Facts {
    Facts {
        is_last_chunk: false,
        is_relocated: true,
        durable: 4000,
        chunk: 5,
        log: LogId(1),
        revision: Revision(2),
        writer: Writer { id: 3, sequence: 4 },
        ..Facts::plain(Kind::Entry, 0)
    }
}

fn encoded(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PLACE.encode(OFFSET, &facts(), payload, &mut bytes);
    bytes
}

#[test]
fn a_frame_comes_back_as_it_was() {
    for length in [0, 1, 7, 8, 9, 1000, CHUNK_BYTES_MAX] {
        let payload = vec![9; length];
        let bytes = encoded(&payload);
        assert_eq!(bytes.len() % 8, 0);
        let frame = PLACE.decode(OFFSET, &bytes).unwrap();
        assert_eq!((frame.facts, frame.payload, frame.bytes), (facts(), payload.as_slice(), bytes.len()));
        assert_eq!(PLACE.decode_length(OFFSET, &bytes), Ok(bytes.len()));
    }
}

#[test]
fn a_frame_is_valid_nowhere_else() {
    let bytes = encoded(b"payload");
    for offset in [0, OFFSET - 8, OFFSET + 8, OFFSET + (1 << 32)] {
        assert_eq!(PLACE.decode(offset, &bytes).unwrap_err(), Flaw::Checksum, "at {offset}");
    }
    for place in [Place { store: 8, ..PLACE }, Place { segment: 2, ..PLACE }] {
        assert_eq!(place.decode(OFFSET, &bytes).unwrap_err(), Flaw::Checksum, "{place:?}");
    }
}

#[test]
fn a_frame_with_any_bit_flipped_or_its_end_cut_off_is_not_valid() {
    let whole = encoded(b"payload");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(PLACE.decode(OFFSET, &bytes).is_err(), "bit {bit}");
    }
    for length in 0..whole.len() {
        assert!(matches!(PLACE.decode(OFFSET, &whole[..length]), Err(Flaw::Short { .. })), "{length} bytes");
    }
    assert_eq!(PLACE.decode(OFFSET, &[0; 100]).unwrap_err(), Flaw::Empty);
}

#[test]
fn a_header_tells_a_newer_format_from_damage() {
    let whole = PLACE.header();
    assert_eq!(Place::of_header(&whole), Ok(PLACE));
    let mut newer = whole;
    let found = FORMAT_VERSION + 1;
    newer[8..12].copy_from_slice(&found.to_le_bytes());
    assert_eq!(Place::of_header(&newer), Err(HeaderFlaw::Newer { found }));
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Place::of_header(&bytes).is_err(), "bit {bit}");
    }
}
