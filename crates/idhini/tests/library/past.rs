//! Earlier revisions and moments.

use idhini::{Error, Options, ReplicaError, Revision, Timestamp, Update};

use super::{BEFORE, SCHEMA, has, in_memory_and_on_disk, relationship, touch};

#[test]
fn a_revision_answers_as_it_did_and_at_this_moment() {
    in_memory_and_on_disk(|idhini, seconds| {
        let first = idhini.snapshot().revision();
        idhini.write(Update::delete(relationship("group:eng#member@user:ann"))).unwrap();
        assert!(!has(&idhini.snapshot(), "document:readme", "view", "user:ann"));
        let then = idhini.at(first).unwrap();
        assert_eq!(then.revision(), first);
        assert!(has(&then, "document:readme", "view", "user:ann"));
        // What was there then, and has expired since, is not there now.
        assert!(has(&then, "document:plan", "view", "user:ann"));
        seconds.set(1_900_000_000);
        assert!(!has(&idhini.at(first).unwrap(), "document:plan", "view", "user:ann"));
        assert!(matches!(idhini.at(Revision(1_000)), Err(Error::Refused(ReplicaError::NotYet { .. }))));
    });
}

#[test]
fn the_past_takes_no_more_memory_than_it_may_and_is_there_all_the_same() {
    const KEPT_BYTES_MAX: u64 = 20_000;
    let options = Options { kept_bytes_max: KEPT_BYTES_MAX, ..Options::default() };
    let idhini = options.in_memory().unwrap();
    idhini.write_schema(SCHEMA).unwrap();
    let pinned = idhini.snapshot();
    let revisions: Vec<Revision> =
        (0..200).map(|n| touch(&idhini, &[&format!("group:eng#member@user:u{n}")])).collect();
    let memory = idhini.memory();
    assert!(memory.history_bytes <= KEPT_BYTES_MAX && memory.history_bytes > 0, "{memory:?}");
    assert!(memory.revisions > 0 && memory.revisions < 200, "{memory:?}");
    // What a reader holds is there as long as it holds it, whether it is kept or not.
    assert!(!has(&pinned, "group:eng", "member", "user:u0"));
    for (n, revision) in revisions.iter().enumerate().step_by(20) {
        let then = idhini.at(*revision).unwrap();
        assert_eq!(then.relationship_count(), n as u64 + 1);
    }
}

#[test]
fn a_moment_answers_as_it_did_expirations_included() {
    in_memory_and_on_disk(|idhini, seconds| {
        seconds.set(BEFORE + 10);
        touch(idhini, &["document:readme#banned@user:ann"]);
        seconds.set(1_900_000_000);
        let moment = |seconds| idhini.as_of(Timestamp::from_seconds(seconds));
        let then = moment(BEFORE + 9).unwrap();
        assert!(has(&then, "document:readme", "view", "user:ann"));
        assert!(has(&then, "document:plan", "view", "user:ann"));
        assert!(!has(&moment(BEFORE + 10).unwrap(), "document:readme", "view", "user:ann"));
        assert!(!has(&moment(1_900_000_000).unwrap(), "document:plan", "view", "user:ann"));
        assert!(matches!(moment(1_900_000_001), Err(Error::StillToCome { .. })));
    });
}
