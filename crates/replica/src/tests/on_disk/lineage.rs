//! Images of another past than the log's.

use idhini_changelog::Writer;

use super::*;
use crate::{BackupError, FollowError, Target, verify};

const WRITER_ID: u64 = 77;

fn left(writer_id: u64) -> Left {
    Left::new(Options { writer_id, ..Options::default() })
}

/// This log with those images.
fn opened(log: &Left, images: Images) -> Result<Arc<Namespace>, FollowError> {
    let opening = Namespace::open(log.log(), Some(images), log.clock(), log.options);
    log.runtime.block_on(opening)
}

fn imaged(left: &Left, namespace: &Arc<Namespace>) -> Option<Writer> {
    left.runtime.block_on(namespace.image()).unwrap();
    left.images().facts().pop().unwrap().writer
}

#[test]
fn an_image_says_who_wrote_its_last_entry() {
    let left = left(WRITER_ID);
    let namespace = left.furnished(5);
    assert_eq!(imaged(&left, &namespace), Some(Writer { id: WRITER_ID, sequence: 6 }));
    assert_eq!(left.open().head().revision(), Revision(6));
    // Also when all entries are gone, and when further ones came.
    left.runtime.block_on(left.log().trim(Revision(7))).unwrap();
    assert_eq!(left.open().head().revision(), Revision(6));
    left.touch(&namespace, &[viewer(7)]);
    assert_eq!(left.open().head().revision(), Revision(7));
}

#[test]
fn a_log_that_ends_before_an_image_is_refused() {
    for acknowledged in [0, 2] {
        let (shorter, longer) = (left(WRITER_ID), left(WRITER_ID));
        if acknowledged > 0 {
            shorter.furnished(acknowledged);
        }
        let namespace = longer.furnished(6);
        imaged(&longer, &namespace);
        let error = opened(&shorter, longer.images()).unwrap_err();
        assert!(matches!(error, FollowError::EndsTooSoon { imaged: Revision(7), .. }), "{error}");
        assert!(error.to_string().contains("revision 7 was acknowledged"), "{error}");
        // Its name says so too.
        std::fs::write(longer.image_files().pop().unwrap(), "damaged").unwrap();
        let error = opened(&shorter, longer.images()).unwrap_err();
        assert!(matches!(error, FollowError::EndsTooSoon { imaged: Revision(7), .. }), "{error}");
    }
}

#[test]
fn an_image_of_an_entry_that_the_log_does_not_have_is_refused() {
    // The image's entry is the log's last one, or one before it.
    for further in [0, 3] {
        let (one, other) = (left(WRITER_ID), left(WRITER_ID + 1));
        let namespace = one.furnished(6);
        other.furnished(6 + further);
        imaged(&one, &namespace);
        assert!(opened(&one, one.images()).is_ok());
        let error = opened(&other, one.images()).unwrap_err();
        assert!(matches!(error, FollowError::Replaced { revision: Revision(7) }), "{error}");
        let verified = other.runtime.block_on(verify(&*other.log(), &one.images()));
        assert!(matches!(verified, Err(BackupError::Follow(FollowError::Replaced { .. }))));
        // Of what is trimmed nothing can be said.
        other.runtime.block_on(other.log().trim(Revision(8))).unwrap();
        assert_eq!(opened(&other, one.images()).is_ok(), further > 0);
    }
}

#[test]
fn a_backup_whose_last_entries_were_not_copied_is_restored_up_to_there() {
    let (shorter, longer, new) = (left(WRITER_ID), left(WRITER_ID), left(WRITER_ID));
    let was = content(shorter.furnished(3).head().root());
    let namespace = longer.furnished(6);
    imaged(&longer, &namespace);
    let verified = shorter.runtime.block_on(verify(&*shorter.log(), &longer.images())).unwrap();
    assert_eq!(verified.newest, Revision(4));
    let (new_log, new_images) = (new.log(), new.images());
    let begin = async |head| new.store.begin(LOG, head).await;
    let from = (shorter.log(), longer.images());
    let restoring = crate::restore(from, Target::Newest, (begin, &*new_log, &new_images), WRITER_ID + 1);
    assert_eq!(new.runtime.block_on(restoring).unwrap().revision, Revision(4));
    assert_eq!(content(new.open().head().root()), was);
    // The new image is of the new log.
    let writer = new.images().facts().pop().unwrap().writer;
    assert_eq!(writer.map(|writer| writer.id), Some(WRITER_ID + 1));
}

#[test]
fn an_image_without_a_writer_is_of_any_log() {
    let (one, other) = (left(WRITER_ID), left(WRITER_ID + 1));
    let namespace = one.furnished(6);
    other.furnished(6);
    other.images().write(namespace.head().root(), Revision(1), taken_over()).unwrap();
    assert_eq!(other.open().head().revision(), Revision(7));
}

#[test]
fn a_file_of_format_1_is_read_and_says_no_writer() {
    let left = left(WRITER_ID);
    let namespace = left.furnished(6);
    imaged(&left, &namespace);
    let path = left.image_files().pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (before, end) = bytes.split_at(bytes.len() - 40);
    let length = u64::from_le_bytes(end[..8].try_into().unwrap()) as usize;
    let (chunks, tail) = before.split_at(before.len() - length);
    let tail = [&tail[..20], &tail[36..]].concat();
    let mut old = [&chunks[..8], &1u32.to_le_bytes(), &chunks[12..], &tail].concat();
    old.extend((tail.len() as u64).to_le_bytes());
    old.extend(idhini_graph::Digest::of(&tail).0);
    std::fs::write(&path, old).unwrap();
    assert_eq!(left.images().facts().pop().unwrap().writer, None);
    left.runtime.block_on(left.log().trim(Revision(8))).unwrap();
    assert_eq!(content(left.open().head().root()), content(namespace.head().root()));
}

#[test]
fn an_image_says_when_its_own_entry_was_written() {
    let left = left(WRITER_ID);
    let namespace = left.furnished(3);
    // As for a write that was judged and then not appended.
    *crate::namespace::locked(&namespace.last_written_at) = Timestamp::from_seconds(5_000);
    imaged(&left, &namespace);
    assert_eq!(left.images().facts().pop().unwrap().written_at, Timestamp::from_seconds(1_000));
    left.runtime.block_on(left.log().trim(Revision(5))).unwrap();
    let at = |seconds| left.runtime.block_on(namespace.at_moment(Timestamp::from_seconds(seconds)));
    assert_eq!(at(1_000).unwrap().revision(), Revision(4));
    assert!(at(999).is_err());
}
