use tonic::Code;
use tonic::metadata::MetadataMap;

use super::Keys;

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
