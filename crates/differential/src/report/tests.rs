use super::*;

#[test]
fn counts_add_up_and_anything_unexplained_is_unclean() {
    let mut report = Report::default();
    report.count("check", "has");
    report.count("check", "no");
    report.count("expand", "tree");
    report.known.insert("lookup-repeats", 2);
    let mut sum = report.clone();
    sum.add(&report);
    assert_eq!((sum.questions(), sum.calls["check"], sum.known["lookup-repeats"]), (6, 4, 4));
    assert!(sum.is_clean());
    for dirty in [
        Report { unexplained: 1, ..sum.clone() },
        Report { own: 1, ..sum.clone() },
        Report { refused_worlds: 1, ..sum.clone() },
    ] {
        assert!(!dirty.is_clean());
    }
}

#[test]
fn an_empty_report_prints_and_an_aligned_one_lines_up() {
    assert!(Report::default().to_string().contains("0.00 %"));
    let mut report = Report::default();
    report.count("check", "has");
    report.count("lookup of subjects", "conditional");
    let text = report.to_string();
    let widths: Vec<usize> = text.lines().filter(|l| l.ends_with('%')).map(|l| l.chars().count()).collect();
    assert!(widths.iter().all(|w| *w == widths[0]), "{text}");
}
