use super::*;

const SECRET: [u8; 32] = [7; 32];

fn brought(header: Option<&str>) -> Result<String, tonic::Code> {
    let header = header.map(|header| HeaderValue::from_str(header).unwrap());
    bearer_of(header.as_ref()).map(str::to_owned).map_err(|refusal| refusal.code)
}

fn subject(keys: &Keys, key: &str) -> Option<SubjectRef> {
    keys.subject(&blake3::hash(key.as_bytes())).cloned()
}

#[test]
fn a_token_is_found_whatever_the_case_of_its_scheme() {
    assert_eq!(brought(Some("Bearer two")), Ok("two".to_owned()));
    assert_eq!(brought(Some("bearer  one ")), Ok("one".to_owned()));
    for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic one"), Some("one")] {
        assert_eq!(brought(header), Err(tonic::Code::Unauthenticated), "{header:?}");
    }
}

#[test]
fn a_key_is_known_by_a_name_of_its_own_that_is_not_the_key() {
    let keys = Keys::new(["one", "two", ""], &SECRET).or_root_token(blake3::hash(b"root token").into());
    let (one, two) = (subject(&keys, "one").unwrap(), subject(&keys, "two").unwrap());
    assert_eq!((one.object_type.as_str(), one.object_id.len()), ("preshared_key", 16));
    assert_ne!(one, two);
    assert_eq!(subject(&keys, "root token"), Some(SubjectRef::object("root_token", "root")));
    assert_eq!(keys.subjects().len(), 3);
    assert_ne!(subject(&Keys::new(["one"], &[8; 32]), "one"), Some(one), "the secret does not count");
    for bad in ["on", "onee", "ONE", "one two", ""] {
        assert_eq!(subject(&keys, bad), None, "{bad}");
    }
    assert!(Keys::new([""], &SECRET).is_empty() && Keys::default().is_empty());
}

#[test]
fn texts_are_the_same_only_if_every_byte_is() {
    let long = "a key that is longer than one hash of it, by some bytes";
    assert!(is_same(long.as_bytes(), long.as_bytes()) && is_same(b"", b""));
    for other in ["", "a", &long[..long.len() - 1], &long.replace("bytes", "bytez"), &long.to_uppercase()] {
        assert!(!is_same(long.as_bytes(), other.as_bytes()), "{other}");
    }
}
