//! The pages of the documentation that name what the code names: nothing is left out, nothing invented.

use std::collections::BTreeSet;
use std::path::Path;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

fn reasons_of_the_contract() -> BTreeSet<String> {
    let proto = file("crates/wire/proto/authzed/api/v1/error_reason.proto");
    let named = proto.lines().filter_map(|line| line.trim().split_once(" = "));
    named.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("ERROR_REASON_")).collect()
}

#[test]
fn every_error_reason_is_explained_and_none_is_made_up() {
    let page = file("docs/errors.md");
    let explained: BTreeSet<String> =
        page.lines().filter_map(|l| l.strip_prefix("### ")).map(str::to_owned).collect();
    let contract = reasons_of_the_contract();
    assert!(contract.len() > 30, "{contract:?}");
    assert_eq!(explained, contract);
}

#[test]
fn every_reason_of_our_own_is_explained_and_none_is_made_up() {
    let page = file("docs/errors.md");
    let table = page.split_once("\n## Reasons of Idhini's own\n").unwrap().1;
    let rows = table.split_once("\n## ").unwrap().0.lines().filter_map(|line| line.strip_prefix("| `"));
    let explained: BTreeSet<&str> =
        rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name).collect();
    let source = file("crates/server/src/refusal/reason.rs");
    let named = source.lines().filter_map(|line| line.trim().strip_prefix("Own::")?.split_once("=> \""));
    let sent: BTreeSet<&str> = named.filter_map(|(_, name)| name.strip_suffix("\",")).collect();
    assert!(sent.len() > 20, "{sent:?}");
    assert_eq!(explained, sent);
}

#[test]
fn an_error_reason_that_is_sent_has_its_status_and_metadata_on_the_page() {
    let page = file("docs/errors.md");
    let not_sent = page.split_once("\n## Not sent by this server\n").unwrap().1;
    for part in page.split("\n### ").skip(1) {
        let (reason, text) = part.split_once('\n').unwrap();
        if not_sent.contains(&format!("### {reason}\n")) {
            continue;
        }
        let told = text.lines().any(|line| line.starts_with("Status: `") && line.contains(". Metadata: "));
        assert!(told, "{reason} has no line `Status: … Metadata: …`");
    }
}
