//! What a snapshot says, and what is refused.

use idhini::{
    Context, Delete, Error, Filter, IdFilter, Idhini, Member, Permissionship, Precondition, Question,
    ReplicaError, Set, SetRelation, Timestamp, Update, Write,
};

use super::{BEFORE, RELATIONSHIPS, has, in_memory_and_on_disk, relationship, resource, subject, touch};

#[test]
fn checks_are_has_no_or_conditional_with_what_is_missing() {
    in_memory_and_on_disk(|idhini, _| {
        let snapshot = idhini.snapshot();
        assert!(has(&snapshot, "document:readme", "view", "user:ann"));
        assert!(!has(&snapshot, "document:readme", "view", "user:bob"));
        assert!(has(&snapshot, "document:readme", "view", "group:eng#member"));
        let (readme, cleo) = (resource("document:readme"), subject("user:cleo"));
        let conditional = snapshot.check(&readme, "view", &cleo).unwrap();
        assert_eq!(conditional.permissionship, Permissionship::Conditional);
        assert_eq!(conditional.missing.iter().collect::<Vec<_>>(), ["hour"]);
        for (hour, expected) in [(10, true), (22, false)] {
            let context = Context::from_json(&format!("{{\"hour\": {hour}}}")).unwrap();
            let checked = snapshot.check_with(&readme, "view", &cleo, &context).unwrap();
            assert_eq!((checked.has(), checked.missing.is_empty()), (expected, true), "{hour}");
        }
    });
}

#[test]
fn an_answer_says_until_when_it_lasts() {
    in_memory_and_on_disk(|idhini, seconds| {
        let (plan, ann) = (resource("document:plan"), subject("user:ann"));
        let before = idhini.snapshot();
        let checked = before.check(&plan, "view", &ann).unwrap();
        let end: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!((checked.has(), checked.until), (true, Some(end)));
        seconds.set(end.seconds());
        assert!(!has(&idhini.snapshot(), "document:plan", "view", "user:ann"));
        // A snapshot stays what it was.
        assert!(before.check(&plan, "view", &ann).unwrap().has());
        seconds.set(BEFORE);
    });
}

#[test]
fn a_bulk_answers_each_as_a_check_does() {
    in_memory_and_on_disk(|idhini, _| {
        let snapshot = idhini.snapshot();
        let resources = ["document:readme", "document:plan", "document:none", "folder:howto"].map(resource);
        let subjects = ["user:ann", "user:bob", "user:cleo", "user:nobody", "group:eng#member"].map(subject);
        let context = Context::default();
        let pairs = resources.iter().flat_map(|of| subjects.iter().map(move |who| (of, who)));
        let question =
            |(resource, subject)| Question { resource, permission: "view", subject, context: &context };
        let answers = snapshot.check_bulk(pairs.clone().map(question)).unwrap();
        assert_eq!(answers.len(), resources.len() * subjects.len());
        for ((of, who), answer) in pairs.zip(answers) {
            let alone = snapshot.check(of, "view", who).unwrap();
            let answer = answer.unwrap();
            assert_eq!((answer.permissionship, answer.missing), (alone.permissionship, alone.missing));
        }
        // One that has no answer leaves the others theirs.
        let asked = [("nothing", &subjects[0]), ("view", &subjects[0])].map(|(permission, subject)| {
            Question { resource: &resources[0], permission, subject, context: &context }
        });
        let answers = snapshot.check_bulk(asked).unwrap();
        assert!(matches!(answers[0], Err(Error::Unanswered(_))) && answers[1].is_ok());
    });
}

#[test]
fn lookups_find_what_checks_allow() {
    in_memory_and_on_disk(|idhini, _| {
        touch(idhini, &["folder:open#viewer@user:*", "document:poster#folder@folder:open"]);
        let snapshot = idhini.snapshot();
        let ann = subject("user:ann");
        let found = snapshot.lookup_resources("document", "view", &ann).unwrap();
        let mut found: Vec<&str> = found.map(|found| found.unwrap().object_id).collect();
        found.sort();
        assert_eq!(found, ["plan", "poster", "readme"]);
        let readme = resource("document:readme");
        let found = snapshot.lookup_subjects(&readme, "view", "user", None).unwrap();
        let mut found: Vec<_> =
            found.map(|found| found.unwrap()).map(|f| (f.object_id, f.answer.permissionship)).collect();
        found.sort();
        let (ann, cleo) = (("ann", Permissionship::Has), "cleo");
        assert_eq!(found, [ann, (cleo, Permissionship::Conditional)]);
        let poster = resource("document:poster");
        let all: Vec<_> = snapshot.lookup_subjects(&poster, "view", "user", None).unwrap().collect();
        assert_eq!(all[0].as_ref().unwrap().object_id, "*");
    });
}

#[test]
fn reading_tells_what_is_stored_in_portions_that_nobody_sees() {
    in_memory_and_on_disk(|idhini, _| {
        let snapshot = idhini.snapshot();
        let all = Filter::default();
        let mut read: Vec<String> = snapshot.read(&all).unwrap().map(|found| found.to_string()).collect();
        read.sort();
        let mut written = RELATIONSHIPS.to_vec();
        written.sort_unstable();
        assert_eq!(read, written);
        let many = (0..2_000).map(|n| relationship(&format!("group:many#member@user:u{n}"))).collect();
        idhini.import(many).unwrap();
        let resource_id = Some(IdFilter::Exactly("many".to_owned()));
        let of_many = Filter { resource_type: Some("group".to_owned()), resource_id, ..Filter::default() };
        assert_eq!(idhini.snapshot().read(&of_many).unwrap().count(), 2_000);
        // What was pinned before has none of them.
        assert_eq!(snapshot.read(&of_many).unwrap().count(), 0);
        let unknown = Filter { resource_type: Some("nothing".to_owned()), ..Filter::default() };
        assert!(matches!(snapshot.read(&unknown), Err(Error::Refused(_))));
    });
}

#[test]
fn a_write_is_all_or_nothing_and_its_preconditions_are_judged_with_it() {
    in_memory_and_on_disk(|idhini, _| {
        let before = idhini.snapshot().revision();
        let taken = Update::create(relationship("group:eng#member@user:ann"));
        let new = Update::create(relationship("group:eng#member@user:zoe"));
        let refused = idhini.write([new.clone(), taken]).unwrap_err();
        assert!(matches!(refused, Error::Refused(ReplicaError::AlreadyExists { .. })), "{refused}");
        let banned = relationship("document:readme#banned@user:bob");
        let unless = Precondition::MustNotMatch(Filter::of(&banned));
        let refused = idhini.write(Write {
            updates: vec![new.clone()],
            preconditions: vec![unless],
            ..Write::default()
        });
        assert!(matches!(refused, Err(Error::Refused(ReplicaError::PreconditionFailed { .. }))));
        assert_eq!(idhini.snapshot().revision(), before);
        let because = Precondition::MustMatch(Filter::of(&banned));
        idhini.write(Write { updates: vec![new], preconditions: vec![because], ..Write::default() }).unwrap();
        assert!(has(&idhini.snapshot(), "folder:handbook", "view", "user:zoe"));
        let filter = Filter { resource_type: Some("group".to_owned()), ..Filter::default() };
        let deleted = idhini.delete(Delete { filter, ..Delete::default() }).unwrap();
        assert_eq!((deleted.count, deleted.is_partial), (4, false));
        assert!(!has(&idhini.snapshot(), "folder:handbook", "view", "user:ann"));
    });
}

#[test]
fn a_relation_can_be_set_as_a_whole() {
    in_memory_and_on_disk(|idhini, _| {
        let member = |text| Member { subject: subject(text), caveat: None, expires_at: None };
        let set = idhini.set_relation(SetRelation {
            resource: resource("group:eng"),
            relation: "member".to_owned(),
            members: vec![member("user:ann"), member("user:zoe")],
            preconditions: Vec::new(),
            changes_max: 10,
            metadata: Context::default(),
        });
        let Set { revision, tally } = set.unwrap();
        assert_eq!((tally.created, tally.replaced, tally.deleted), (1, 0, 1));
        let snapshot = idhini.snapshot();
        assert_eq!(snapshot.revision(), revision);
        for (who, expected) in [("user:ann", true), ("user:zoe", true), ("user:bob", false)] {
            assert_eq!(has(&snapshot, "group:eng", "member", who), expected, "{who}");
        }
    });
}

#[test]
fn what_cannot_be_answered_is_an_error_that_says_what_to_do() {
    let idhini = Idhini::in_memory().unwrap();
    let (readme, ann) = (resource("document:readme"), subject("user:ann"));
    let told = idhini.snapshot().check(&readme, "view", &ann).unwrap_err().to_string();
    assert!(told.contains("write one first"), "{told}");
    assert!(idhini.snapshot().check_bulk([]).is_err());
    assert!(idhini.write_schema("definition user {").is_err());
    idhini.write_schema(super::SCHEMA).unwrap();
    let snapshot = idhini.snapshot();
    let told = snapshot.check(&readme, "edit", &ann).unwrap_err().to_string();
    assert!(told.contains("no relation or permission `edit`"), "{told}");
    assert!(snapshot.check(&readme, "view", &subject("user:*")).is_err());
    let mut found = snapshot.lookup_resources("document", "view", &ann).unwrap();
    assert!(found.next().is_none() && found.next().is_none());
}
