use super::*;

fn decode(id: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = id.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'=' {
            let digits = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

#[test]
fn an_ordinary_path_stays_readable() {
    assert_eq!(encode(b"/usr/bin/x86_64-linux-gnu-g++").as_deref(), Some("/usr/bin/x86_64-linux-gnu-g++"));
    assert_eq!(encode(b"/lib/libc.so.6").as_deref(), Some("/lib/libc=2Eso=2E6"));
    assert_eq!(encode(b"/").as_deref(), Some("/"));
}

#[test]
fn every_byte_comes_back_and_only_allowed_ones_are_used() {
    for byte in 1..=255_u8 {
        let path = [b'/', byte, b'=', byte];
        let id = encode(&path).unwrap();
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_|-=+".contains(&b)), "{id}");
        assert_eq!(decode(&id), path, "{id}");
    }
}

#[test]
fn a_path_that_looks_escaped_does_not_meet_the_path_it_looks_like() {
    assert_ne!(encode(b"/a=2Eb"), encode(b"/a.b"));
}

#[test]
fn the_longest_id_is_allowed_and_a_longer_one_refused() {
    assert_eq!(encode(&[b'a'; ID_BYTES_MAX]).map(|id| id.len()), Some(ID_BYTES_MAX));
    assert_eq!(encode(&[b'a'; ID_BYTES_MAX + 1]), None);
    assert_eq!(encode(&[b'.'; 342]), None, "342 dots are 1,026 bytes");
    assert_eq!(encode(&[b'.'; 341]).map(|id| id.len()), Some(1_023));
    assert_eq!(encode(b""), None);
}
