//! Tokens and cursors of any bytes: what was not sealed under the key is refused; what was, behind its seal, is refused
//! or sealed again to what opens to the same.
//!
//! The first byte says what is done: text as it is; or bytes that get a seal, with our names in their places or not.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idhini_model::Revision;
use idhini_replica::Position;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/server/src/seal.rs"]
#[allow(dead_code)]
#[rustfmt::skip]
mod seal;

use seal::{QuestionDigest, SealOptions, Sealer};

const SEALS: u8 = 1;
const IS_OURS: u8 = 2;
const IS_CURSOR: u8 = 4;
const HEAD_BYTES: usize = 34;
const OUR_BYTES: usize = 26;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let options = SealOptions {
        key: *b"nothing that a fuzzer could know",
        key_id: 0x1234_5678,
        store: 7,
        timeline: 2,
        namespace: "root".to_owned(),
    };
    let sealer = Sealer::new(&options);
    let question = QuestionDigest::of("ReadRelationships", b"arguments");
    if choice & SEALS == 0 {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        assert!(sealer.open_token(text).is_err() && sealer.open_cursor(question, text).is_err());
        return;
    }
    let mut bytes = bytes.to_vec();
    let ours = match choice & IS_CURSOR {
        0 => sealer.token(Revision(1)),
        _ => sealer.cursor(question, &cursor()),
    };
    let ours = URL_SAFE_NO_PAD.decode(ours).expect("it is base64");
    if choice & IS_OURS != 0 && bytes.len() >= HEAD_BYTES {
        bytes[..OUR_BYTES].copy_from_slice(&ours[..OUR_BYTES]);
        // And the question's digest.
        if let (Some(to), Some(from)) = (bytes.get_mut(34..50), ours.get(34..50)) {
            to.copy_from_slice(if choice & IS_CURSOR == 0 { &[0; 16] } else { from });
        }
    }
    let bare = URL_SAFE_NO_PAD.encode(&bytes);
    assert!(sealer.open_token(&bare).is_err() && sealer.open_cursor(question, &bare).is_err());
    let seal = blake3::keyed_hash(&options.key, &bytes);
    bytes.extend_from_slice(&seal.as_bytes()[..16]);
    let text = URL_SAFE_NO_PAD.encode(&bytes);
    let (token, cursor) = (sealer.open_token(&text), sealer.open_cursor(question, &text));
    assert!(token.is_err() || cursor.is_err(), "a token is no cursor");
    if let Ok(revision) = token {
        assert_eq!(sealer.token(revision), text);
    }
    if let Ok(cursor) = cursor {
        assert_eq!(sealer.cursor(question, &cursor), text);
        let other = QuestionDigest::of("ReadRelationships", b"other arguments");
        assert!(sealer.open_cursor(other, &text).is_err());
        if let Ok(place) = <[u8; Position::BYTES]>::try_from(cursor.place) {
            assert_eq!(Position::from_bytes(place).to_bytes(), place);
        }
    }
    // Whatever else changes, the seal does not fit.
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let changed = URL_SAFE_NO_PAD.encode(&bytes);
    assert!(sealer.open_token(&changed).is_err() && sealer.open_cursor(question, &changed).is_err());
});

fn cursor() -> seal::Cursor {
    let instant = idhini_model::Timestamp::from_seconds(1_900_000_000);
    seal::Cursor { revision: Revision(1), instant, place: vec![0; Position::BYTES] }
}
