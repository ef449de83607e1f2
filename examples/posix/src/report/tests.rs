use super::*;

fn report(allowed: u64, denied: u64, different: u64, wanted: usize) -> Report {
    Report { total: Tally { allowed, denied, different }, wanted, ..Default::default() }
}

#[test]
fn thousands_are_grouped() {
    let texts = [0, 12, 999, 1_000, 123_456, 1_234_567].map(grouped);
    assert_eq!(texts, ["0", "12", "999", "1,000", "123,456", "1,234,567"]);
}

#[test]
fn one_difference_among_many_answers_is_an_objection() {
    assert_eq!(report(150_000, 150_000, 0, QUESTIONS_DEFAULT).objections(), Vec::<String>::new());
    assert_eq!(report(150_000, 150_000, 1, QUESTIONS_DEFAULT).objections(), ["1 answers differ"]);
}

#[test]
fn answers_that_are_nearly_all_alike_are_an_objection() {
    assert_eq!(report(240_001, 60_000, 0, QUESTIONS_DEFAULT).objections().len(), 1);
    assert_eq!(report(59_999, 240_001, 0, QUESTIONS_DEFAULT).objections().len(), 1);
    assert_eq!(report(0, 0, 0, 10).objections().len(), 2);
}

#[test]
fn a_hundredth_of_answers_lost_to_changes_is_an_objection() {
    let changed = |changed| Report { changed, ..report(500, 500, 0, 1_000) }.objections().len();
    assert_eq!((changed(10), changed(11)), (0, 1));
}

#[test]
fn too_few_questions_are_an_objection_only_when_many_were_wanted() {
    assert_eq!(report(50, 50, 0, 100).objections(), Vec::<String>::new());
    assert_eq!(
        report(50, 50, 0, QUESTIONS_DEFAULT).objections(),
        ["fewer than 100,000 questions were asked"]
    );
}

#[test]
fn only_one_error_is_a_denial() {
    assert_eq!(Kernel::said(0), Kernel::Allowed);
    assert_eq!(Kernel::said(13), Kernel::Denied);
    assert_eq!(Kernel::said(2), Kernel::Error(2));
    assert_eq!(Kernel::said(30), Kernel::Error(30));
}
