use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::Code;
use tonic::metadata::MetadataMap;

use super::{Accepted, Keys};

fn call(keys: &[&str], header: Option<&str>) -> Option<Code> {
    let mut metadata = MetadataMap::new();
    if let Some(header) = header {
        metadata.insert("authorization", header.parse().unwrap());
    }
    Keys::new(keys.iter().copied()).check(&metadata).err().map(|r| r.code)
}

#[test]
fn a_known_key_passes_whatever_the_case_of_its_scheme() {
    assert_eq!(call(&["one", "two"], Some("Bearer two")), None);
    assert_eq!(call(&["one", "two"], Some("bearer one")), None);
}

#[test]
fn a_missing_token_is_unauthenticated_and_a_wrong_one_denied() {
    for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic one"), Some("one")] {
        assert_eq!(call(&["one"], header), Some(Code::Unauthenticated), "{header:?}");
    }
    for header in ["Bearer on", "Bearer onee", "Bearer ONE", "Bearer one two"] {
        assert_eq!(call(&["one"], Some(header)), Some(Code::PermissionDenied), "{header}");
    }
}

#[test]
fn no_keys_and_empty_keys_let_nobody_in() {
    assert_eq!(call(&[], Some("Bearer one")), Some(Code::PermissionDenied));
    assert_eq!(call(&[""], Some("Bearer ")), Some(Code::Unauthenticated));
    assert!(Keys::new([""]).is_empty());
}

#[test]
fn a_connection_is_let_in_by_what_it_brought_before_and_by_nothing_else() {
    let (keys, accepted) =
        (Keys::new(["one", "a key that is longer than one hash of it"]), Accepted::default());
    let is_let_in = |header: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|header| (AUTHORIZATION, header.parse().unwrap())));
        keys.accept(&headers, &accepted)
    };
    for _ in 0..2 {
        assert!(is_let_in(Some("Bearer one")) && is_let_in(Some("Bearer one")));
        for bad in ["Bearer onf", "Bearer two", "Bearer on", "Bearer ones", "bearer", "", "one"] {
            assert!(!is_let_in(Some(bad)), "{bad}");
        }
        assert!(!is_let_in(None));
        assert!(is_let_in(Some("Bearer a key that is longer than one hash of it")));
        assert!(!is_let_in(Some("Bearer a key that is longer than one hash of i_")));
    }
}
