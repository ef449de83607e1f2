use super::*;
use crate::ledger::LEDGER;

const DOCUMENT: &str = include_str!("../../../../docs/differences.md");

#[test]
fn our_answers_are_what_the_document_says() {
    let examples = examples(DOCUMENT).expect("a readable document");
    let wrong: Vec<String> = examples.iter().flat_map(wrong_of_ours).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_entry_of_the_ledger_has_its_section_and_a_differing_example() {
    let examples = examples(DOCUMENT).expect("a readable document");
    let differing: BTreeSet<&str> = examples
        .iter()
        .filter(|example| example.questions.iter().any(|q| q.theirs != BTreeSet::from([q.ours.clone()])))
        .map(|example| example.id.as_str())
        .collect();
    for entry in LEDGER {
        assert!(DOCUMENT.contains(&format!("### {}\n", entry.id)), "no section for {}", entry.id);
        assert!(differing.contains(entry.id), "no example that shows {}", entry.id);
    }
}

#[test]
fn a_question_without_both_answers_is_refused() {
    let text =
        "```difference half\ndefinition user {}\n---\n---\ncheck user:one#view@user:one\nSpiceDB: no\n```\n";
    assert_eq!(examples(text).expect_err("half an example").what, "a question without both answers");
}

#[test]
fn all_forms_of_questions_are_read() {
    for line in [
        "check document:one#view@user:amy with {\"flag\":true}",
        "check document:one#view@group:eng#member with {}",
        "lookup of resources document#view@user:amy with {}",
        "lookup of subjects document:one#view@user with {}",
        "lookup of subjects document:one#view@group#member with {}",
        "expand document:one#view with {}",
    ] {
        assert_eq!(posed(line).expect("a question").to_string(), line);
    }
    for line in
        ["", "check", "check document:one@user:amy", "ask document:one#view@user:amy", "expand document"]
    {
        assert_eq!(posed(line), None, "{line}");
    }
}
