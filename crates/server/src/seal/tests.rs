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
    assert_eq!(made_by(|o| o.store = 1), Err(SealError::Stranger(Stranger::OtherStore)));
    assert_eq!(made_by(|o| o.timeline = 2), Err(SealError::Stranger(Stranger::EndedTimeline)));
    assert_eq!(made_by(|o| o.namespace = "other".to_owned()), Err(SealError::OtherNamespace));
    assert_eq!(made_by(|o| o.key = [8; 32]), Err(SealError::Unreadable));
    assert_eq!(
        ours.open_token("GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA="),
        Err(SealError::Stranger(Stranger::Migrated))
    );
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
