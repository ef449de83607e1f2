use idhini_model::{Revision, Timestamp};

use super::{Cursor, QuestionDigest, SealError, SealOptions, Sealer, Start, Stranger};

fn options() -> SealOptions {
    SealOptions { key: [7; 32], key_id: 9, store: 11, timeline: 1, namespace: "root".to_owned() }
}

fn cursor() -> Cursor {
    Cursor { revision: Revision(3), instant: Timestamp::from_seconds(-5), place: vec![1, 2, 3] }
}

#[test]
fn a_token_opens_to_its_revision() {
    let sealer = Sealer::new(&options());
    for revision in [0, 1, 77, u64::MAX] {
        assert_eq!(sealer.open_token(&sealer.token(Revision(revision))), Ok(Revision(revision)));
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    let sealer = Sealer::new(&options());
    let question = QuestionDigest::of("Read", b"x");
    for (text, is_token) in [(sealer.token(Revision(3)), true), (sealer.cursor(question, &cursor()), false)] {
        let bytes = super::decode(&text).unwrap();
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let changed = base64::Engine::encode(&super::URL_SAFE_NO_PAD, changed);
            assert!(sealer.open_token(&changed).is_err(), "bit {at}");
            assert!(sealer.open_cursor(question, &changed).is_err(), "bit {at}");
        }
        assert_eq!(sealer.open_token(&text).is_ok(), is_token);
        assert_eq!(sealer.open_cursor(question, &text).is_ok(), !is_token);
    }
}

#[test]
fn a_stamped_cursor_is_the_one_that_is_sealed_alone() {
    let sealer = Sealer::new(&options());
    let question = QuestionDigest::of("Lookup", b"x");
    let mut stamp = sealer.stamp(question, &Cursor { place: vec![9], ..cursor() });
    for position in [0, 1, 2, 255, 0x0102_0304, u64::from(u32::MAX), 1 << 32, u64::MAX, 7] {
        let mut text = Vec::new();
        stamp.write(position, &mut text);
        let place = [&[9][..], &u64::to_be_bytes(position)].concat();
        let wanted = sealer.cursor(question, &Cursor { place, ..cursor() });
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
        assert_eq!(stamp.text_len(), wanted.len());
    }
}

#[test]
fn a_place_continues_its_watch_and_is_a_token_elsewhere() {
    let sealer = Sealer::new(&options());
    let (question, other) = (QuestionDigest::of("Watch", b"x"), QuestionDigest::of("Watch", b"y"));
    let place = sealer.place(question, &cursor());
    assert_eq!(sealer.open_start(question, &place), Ok(Start::Within(cursor())));
    assert_eq!(sealer.open_start(other, &place), Err(SealError::OtherQuestion));
    assert_eq!(sealer.open_token(&place), Ok(Revision(3)));
    assert_eq!(sealer.open_cursor(question, &place), Err(SealError::Unreadable));
    let token = sealer.token(Revision(4));
    assert_eq!(sealer.open_start(question, &token), Ok(Start::After(Revision(4))));
    let bytes = super::decode(&place).unwrap();
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let changed = base64::Engine::encode(&super::URL_SAFE_NO_PAD, changed);
        assert!(sealer.open_start(question, &changed).is_err(), "bit {at}");
        assert!(sealer.open_token(&changed).is_err(), "bit {at}");
    }
}

#[test]
fn strangers_are_told_apart() {
    let ours = Sealer::new(&options());
    let made_by = |change: fn(&mut SealOptions)| {
        let mut other = options();
        change(&mut other);
        ours.open_token(&Sealer::new(&other).token(Revision(1)))
    };
    assert_eq!(made_by(|o| o.key_id = 1), Err(SealError::Stranger(Stranger::UnknownKey)));
    // Each store and each restore has a key of its own.
    let other_store = |o: &mut SealOptions| (o.key_id, o.key, o.store) = (1, [8; 32], 1);
    assert_eq!(made_by(other_store), Err(SealError::Stranger(Stranger::OtherStore)));
    let restored = |o: &mut SealOptions| (o.key_id, o.key, o.timeline) = (1, [8; 32], 2);
    assert_eq!(made_by(restored), Err(SealError::Stranger(Stranger::EndedTimeline)));
    assert_eq!(made_by(|o| o.store = 1), Err(SealError::Stranger(Stranger::OtherStore)));
    assert_eq!(made_by(|o| o.timeline = 2), Err(SealError::Stranger(Stranger::EndedTimeline)));
    assert_eq!(made_by(|o| o.namespace = "other".to_owned()), Err(SealError::OtherNamespace));
    assert_eq!(made_by(|o| o.key = [8; 32]), Err(SealError::Unreadable));
    let migrated = Err(SealError::Stranger(Stranger::Migrated));
    for token in ["GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA=", "Gh8KEzE3OTU5NTA1NzUyMTc4MTI3NDESCGRhNzM0OGU5"] {
        assert_eq!(ours.open_token(token), migrated);
    }
    // Of an export, and of a lookup, whose length takes two bytes where a page of it was long.
    let question = QuestionDigest::of("Read", b"");
    let cursor = "CjkKEzE3OTU5NTA1ODg2MjEzNzU4NjUSCGRvY3VtZW50Ehhkb2N1bWVudDphI3ZpZXdlckB1c2VyOnQ=";
    assert_eq!(ours.open_cursor(question, cursor), Err(SealError::Stranger(Stranger::Migrated)));
    assert_eq!(ours.open_token(cursor), Err(SealError::Unreadable));
    let mut long = vec![0x0a, 0x95, 0x03, 0x0a, 0x13];
    long.extend([b'1'; 0x195 - 2]);
    assert!(super::is_migrated(super::MIGRATED_CURSOR, &long));
    assert!(!super::is_migrated(super::MIGRATED_CURSOR, &long[..long.len() - 1]));
}

#[test]
fn what_is_no_token_is_unreadable() {
    let sealer = Sealer::new(&options());
    for text in ["", "garbage", "AAAA", "GhUK", "é", "Gh8=", &"A".repeat(200_000)] {
        assert_eq!(sealer.open_token(text), Err(SealError::Unreadable), "{text:.20}");
        assert_eq!(sealer.open_cursor(QuestionDigest::of("Read", b""), text), Err(SealError::Unreadable));
    }
}

#[test]
fn a_cursor_opens_for_its_own_question_only() {
    let sealer = Sealer::new(&options());
    let question = QuestionDigest::of("Read", b"doc");
    let text = sealer.cursor(question, &cursor());
    assert_eq!(sealer.open_cursor(question, &text), Ok(cursor()));
    for other in [
        QuestionDigest::of("Read", b"dog"),
        QuestionDigest::of("Lookup", b"doc"),
        QuestionDigest::of("Rea", b"ddoc"),
    ] {
        assert_eq!(sealer.open_cursor(other, &text), Err(SealError::OtherQuestion));
    }
}

#[test]
fn a_cursor_of_the_longest_size_opens_and_a_longer_one_does_not() {
    let sealer = Sealer::new(&options());
    let question = QuestionDigest::of("Read", b"doc");
    let with_place = |bytes| Cursor { place: vec![5; bytes], ..cursor() };
    let around = super::HEAD_BYTES + super::CURSOR_BODY_BYTES_MIN + super::SEAL_BYTES;
    let longest = with_place(super::CURSOR_BYTES_MAX / 4 * 3 - around);
    let text = sealer.cursor(question, &longest);
    assert_eq!(text.len(), super::CURSOR_BYTES_MAX);
    assert_eq!(sealer.open_cursor(question, &text), Ok(longest.clone()));
    let longer = sealer.cursor(question, &with_place(longest.place.len() + 1));
    assert_eq!(sealer.open_cursor(question, &longer), Err(SealError::Unreadable));
}
