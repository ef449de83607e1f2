use super::*;
use crate::rng::Rng;

fn sample() -> Vec<AclEntry> {
    let line = |tag, bits| AclEntry { tag, bits: Bits::from_low(bits) };
    vec![
        line(Tag::Owner, 7),
        line(Tag::User(1_000), 5),
        line(Tag::User(1_001), 0),
        line(Tag::OwningGroup, 4),
        line(Tag::Group(50), 6),
        line(Tag::Mask, 4),
        line(Tag::Other, 1),
    ]
}

#[test]
fn bytes_as_the_kernel_writes_them_are_read() {
    let bytes = [
        2, 0, 0, 0, //
        0x01, 0, 7, 0, 255, 255, 255, 255, //
        0x02, 0, 5, 0, 0xe8, 3, 0, 0, //
        0x02, 0, 0, 0, 0xe9, 3, 0, 0, //
        0x04, 0, 4, 0, 255, 255, 255, 255, //
        0x08, 0, 6, 0, 50, 0, 0, 0, //
        0x10, 0, 4, 0, 255, 255, 255, 255, //
        0x20, 0, 1, 0, 255, 255, 255, 255,
    ];
    assert_eq!(decode(&bytes), Ok(sample()));
    assert_eq!(encode(&sample()), bytes);
}

#[test]
fn writing_puts_entries_in_the_order_that_the_kernel_demands() {
    let mut reversed = sample();
    reversed.reverse();
    assert_eq!(encode(&reversed), encode(&sample()));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = encode(&sample());
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn an_unknown_version_tag_or_bit_is_refused_by_name() {
    let mut bytes = encode(&sample());
    bytes[0] = 3;
    assert_eq!(decode(&bytes), Err(AclError::Version(3)));
    bytes[0] = 2;
    bytes[4] = 0x40;
    assert_eq!(decode(&bytes), Err(AclError::Entry { index: 0, tag: 0x40, bits: 7 }));
    bytes[4] = 0x01;
    bytes[6] = 8;
    assert_eq!(decode(&bytes), Err(AclError::Entry { index: 0, tag: 1, bits: 8 }));
}

#[test]
fn a_class_that_is_missing_or_twice_is_refused() {
    for missing in [Tag::Owner, Tag::OwningGroup, Tag::Mask, Tag::Other] {
        let kept: Vec<_> = sample().into_iter().filter(|entry| entry.tag != missing).collect();
        assert_eq!(decode(&encode(&kept)), Err(AclError::Shape), "without {missing:?}");
        let mut twice = sample();
        twice.push(AclEntry { tag: missing, bits: Bits::from_low(7) });
        assert_eq!(decode(&encode(&twice)), Err(AclError::Shape), "{missing:?} twice");
    }
}

#[test]
fn more_entries_than_an_attribute_holds_are_refused() {
    let mut entries = sample();
    let named = u32::try_from(ENTRIES_MAX).unwrap();
    entries.extend((0..named).map(|id| AclEntry { tag: Tag::User(id), bits: Bits::from_low(7) }));
    let bytes = encode(&entries);
    assert_eq!(decode(&bytes), Err(AclError::Length(bytes.len())));
}

#[test]
fn damaged_and_random_bytes_are_read_or_refused_and_what_is_read_writes_back() {
    let mut rng = Rng::new(7);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = encode(&sample());
        for _ in 0..=rng.index(3) {
            let place = rng.index(bytes.len());
            bytes[place] = rng.number().to_le_bytes()[0] & if rng.once_in(2) { 0x3f } else { 0xff };
        }
        bytes.truncate(if rng.once_in(8) { rng.index(bytes.len()) } else { bytes.len() });
        match decode(&bytes) {
            Ok(entries) => {
                read += 1;
                assert_eq!(decode(&encode(&entries)).map(|again| again.len()), Ok(entries.len()));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 1_000 && refused > 1_000, "{read} read, {refused} refused");
}

#[test]
fn bits_print_as_ls_prints_them() {
    let all: Vec<_> = Bits::every().map(|bits| bits.to_string()).collect();
    assert_eq!(all, ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"]);
}
