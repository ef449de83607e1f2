//! Schemas compared, checked, formatted and tested, mostly without a server.

use std::path::Path;

use super::asking::messages;
use crate::process::{SCHEMA, Server, folder, run};

const PASSING: &str = r#"---
schema: |
  caveat only_on(day string) {
    day == "tuesday"
  }
  definition user {}
  definition group {
    relation member: user | group#member
  }
  definition document {
    relation owner: user
    relation viewer: user | user:* | group#member | user with only_on
    relation banned: user | user with only_on
    permission view = viewer + owner - banned
  }
relationships: |-
  // whoever there is, but two
  document:open#viewer@user:*
  document:open#banned@user:bob
  document:open#banned@user:eve[only_on]

  document:plan#viewer@group:eng#member
  document:plan#owner@user:ann
  document:plan#viewer@user:ann
  document:plan#viewer@user:kim[only_on]
  group:eng#member@user:tom
assertions:
  assertTrue:
    - document:plan#view@user:tom
    - "document:open#view@user:zoe"
    - 'document:plan#view@user:kim with {"day": "tuesday"}'
  assertCaveated:
    - document:plan#view@user:kim
  assertFalse:
    - 'document:plan#view@user:kim with {"day": "friday"}'
    - document:open#view@user:bob
validation:
  document:plan#view:
    - "[group:eng#member] is <document:plan#viewer>"
    - "[user:tom] is <group:eng#member>"
    - "[user:ann] is <document:plan#owner>/<document:plan#viewer>"
    - "[user:kim[...]] is <document:plan#viewer>"
  document:open#view:
    - "[user:* - {user:bob, user:eve[...]}] is <document:open#viewer>"
  document:open#owner: []
"#;

fn test(text: &str) -> (i32, Vec<String>, String) {
    let folder = folder(&[("case.yaml", text)]);
    let path = folder.join("case.yaml");
    let outcome = run(&["schema", "test", path.to_str().unwrap()], &[], "");
    let short = |text: &str| text.replace(&format!("{}/", folder.display()), "");
    let failed = outcome.stdout.lines().filter_map(|line| line.strip_prefix("failed       "));
    let failed = failed.map(short).filter(|line| !line.contains("assertions,"));
    (outcome.status, failed.collect(), short(&outcome.stderr))
}

/// The line that holds a text, from 1.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap() + 1
}

#[test]
fn a_validation_file_whose_claims_hold_passes() {
    assert_eq!(test(PASSING), (0, Vec::new(), String::new()));
    let folder = folder(&[("case.yaml", PASSING)]);
    let path = folder.join("case.yaml");
    let told = messages(&run(&["schema", "test", path.to_str().unwrap(), "--json"], &[], "").stdout);
    assert_eq!((told[0]["assertions"].as_u64(), told[0]["expectations"].as_u64()), (Some(6), Some(5)));
}

#[test]
fn every_claim_that_does_not_hold_is_named_with_its_line_and_what_was_got() {
    let table = [
        ("document:plan#view@user:tom", "document:plan#view@user:max", "expected has, got no"),
        ("document:plan#view@user:kim\n", "document:plan#view@user:tom\n", "expected conditional, got has"),
        (
            "document:open#view@user:bob\n",
            "document:open#view@user:eve\n",
            "expected no, got conditional, missing context: day",
        ),
        (
            "document:open#view@user:zoe",
            "document:open#nothing@user:zoe",
            "no relation or permission `nothing`",
        ),
        ("[user:tom] is", "[user:max] is", "user:max does not have it"),
        ("[user:kim[...]]", "[user:kim]", "expected [user:kim], got [user:kim[...]]"),
        ("<document:plan#owner>/", "", "got <document:plan#owner>/<document:plan#viewer>"),
        ("{user:bob, user:eve[...]}", "{user:bob, user:eve}", "got without {user:bob, user:eve[...]}"),
    ];
    for (good, bad, says) in table {
        let text = PASSING.replacen(good, bad, 1);
        assert_ne!(text, PASSING);
        let (status, failed, stderr) = test(&text);
        assert_eq!((status, stderr.as_str()), (1, ""), "{bad}");
        let changed = PASSING.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap() + 1;
        let place = format!("case.yaml:{changed}: ");
        assert!(
            failed.iter().any(|line| line.starts_with(&place) && line.contains(says)),
            "{bad}: {failed:?}"
        );
    }
}

#[test]
fn whoever_has_a_permission_and_is_not_expected_is_named() {
    let text = PASSING.replace("    - \"[user:tom] is <group:eng#member>\"\n", "");
    let (status, failed, _) = test(&text);
    let line = line_of(&text, "document:plan#view:");
    assert_eq!(
        (status, failed),
        (1, vec![format!("case.yaml:{line}: document:plan#view: [user:tom] has it, and is not expected")])
    );
    let text = PASSING.replace("document:open#owner: []", "document:plan#owner:");
    let (status, failed, _) = test(&text);
    assert_eq!(status, 1);
    assert!(failed[0].ends_with("document:plan#owner: [user:ann] has it, and is not expected"), "{failed:?}");
}

#[test]
fn a_file_that_is_none_is_refused_where_it_is_wrong() {
    let table = [
        ("relation owner: user\n", "relation owner: person\n", "person"),
        ("document:plan#owner@user:ann", "document:plan#owner", "not a relationship"),
        ("document:plan#owner@user:ann", "document:plan#owner@group:eng#member", "does not allow"),
        ("document:plan#owner@user:ann", "document:open#banned@user:bob", "same relationship as in line"),
        ("assertCaveated", "assertMaybe", "`assertMaybe` is not known here"),
        ("validation:", "validations:", "`validations` is not known here"),
        ("with {\"day\": \"friday\"}", "with {day}", "behind `with`"),
        ("[user:tom] is", "user:tom is", "is expected here"),
        ("    - document:plan#view@user:tom", "    - *anchor", "not YAML"),
    ];
    for (good, bad, says) in table {
        let text = PASSING.replacen(good, bad, 1);
        let (status, _, stderr) = test(&text);
        assert_eq!(status, 3, "{bad}: {stderr}");
        let changed = PASSING.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap() + 1;
        assert!(
            stderr.contains(&format!("case.yaml:{changed}:")) && stderr.contains(says),
            "{bad}: {stderr}"
        );
    }
    let mistake = PASSING.replacen("relation owner: user\n", "relation owner: person\n", 1);
    let column = mistake.lines().find_map(|line| line.find("person")).unwrap() + 1;
    let (_, _, stderr) = test(&mistake);
    assert!(stderr.contains(&format!("case.yaml:{}:{column}: ", line_of(&mistake, "person"))), "{stderr}");
}

#[test]
fn a_schema_may_stand_in_a_file_of_its_own() {
    let case = "schemaFile: ./s.zed\nrelationships: group:eng#member@user:tom\nassertions:\n  assertTrue:\n    - group:eng#member@user:tom\n";
    let folder = folder(&[("case.yaml", case), ("s.zed", SCHEMA)]);
    let path = folder.join("case.yaml");
    let outcome = run(&["schema", "test", path.to_str().unwrap()], &[], "");
    assert_eq!(outcome.status, 0, "{}{}", outcome.stdout, outcome.stderr);
}

/// Where the conformance cases are there, all of them hold.
#[test]
fn conformance_cases_hold_in_process() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/cases");
    let Ok(listed) = std::fs::read_dir(&folder) else { return };
    let cases: Vec<String> = listed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    assert!(cases.len() >= 49, "{}", cases.len());
    let arguments: Vec<&str> =
        ["schema", "test"].into_iter().chain(cases.iter().map(String::as_str)).collect();
    let outcome = run(&arguments, &[], "");
    assert_eq!(outcome.status, 0, "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.stdout.lines().filter(|line| line.starts_with("passed")).count(), cases.len());
}

#[test]
fn schemas_are_compared_as_files_and_with_the_server() {
    let after = SCHEMA
        .replace("permission edit = owner", "permission edit = owner + viewer")
        .replace("relation banned: user\n", "relation banned: user | group#member\n  relation seen: user\n");
    let folder = folder(&[("before.zed", SCHEMA), ("after.zed", after.as_str())]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let wanted = [
        "added        relation document#banned: group#member",
        "added        relation document#seen",
        "changed      rule of permission document#edit",
    ];
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let files = run(&["schema", "diff", &path("before.zed"), &path("after.zed")], &[], "");
    assert_eq!(
        (files.status, lines(&files.stdout)),
        (1, wanted.map(str::to_owned).to_vec()),
        "{}",
        files.stderr
    );
    let server = Server::furnished();
    let served = server.run(&["schema", "diff", &path("after.zed")]);
    assert_eq!((served.status, lines(&served.stdout)), (1, wanted.map(str::to_owned).to_vec()));
    let same = server.run(&["schema", "diff", &path("before.zed")]);
    assert_eq!((same.status, same.stdout.as_str()), (0, "nothing differs\n"));
    let json = |arguments: &[&str]| messages(&server.run(arguments).stdout).remove(0)["diffs"].clone();
    let of_files = json(&["schema", "diff", &path("before.zed"), &path("after.zed"), "--json"]);
    assert_eq!(of_files, json(&["schema", "diff", &path("after.zed"), "--json"]));
    assert_eq!(of_files.as_array().unwrap().len(), 3);
}

#[test]
fn schemas_are_validated_with_file_line_and_column() {
    let folder = folder(&[
        ("good.zed", SCHEMA),
        ("bad.zed", "definition user {}\ndefinition doc {\n  relation owner: person\n}\n"),
        ("main.zed", "use import\nimport \"parts/bad.zed\"\n"),
        ("parts/bad.zed", "definition user {\n"),
    ]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let good = run(&["schema", "validate", &path("good.zed")], &[], "");
    assert_eq!((good.status, good.stderr.as_str()), (0, ""));
    let all = run(&["schema", "validate", &path("bad.zed"), &path("good.zed"), &path("main.zed")], &[], "");
    assert_eq!(all.status, 3);
    assert!(all.stdout.contains("good.zed"), "{}", all.stdout);
    assert!(all.stderr.contains(&format!("{}:3:19: ", path("bad.zed"))), "{}", all.stderr);
    assert!(all.stderr.contains("parts/bad.zed:1:17: "), "{}", all.stderr);
    let json = run(&["schema", "validate", &path("bad.zed"), "--json"], &[], "");
    assert_eq!((json.status, messages(&json.stdout)[0]["isValid"].as_bool()), (3, Some(false)));
}

#[test]
fn schemas_are_formatted_once_and_for_all() {
    let untidy =
        "// who\ndefinition   user {}\ndefinition doc { relation owner : user\npermission view=owner }\n";
    let folder = folder(&[("s.zed", untidy)]);
    let path = folder.join("s.zed");
    let path = path.to_str().unwrap();
    assert_eq!(run(&["schema", "format", path, "--check"], &[], "").status, 1);
    let printed = run(&["schema", "format", path], &[], "");
    assert!(printed.stdout.contains("// who\ndefinition user {}"), "{}", printed.stdout);
    assert!(printed.stdout.contains("\tpermission view = owner\n"), "{}", printed.stdout);
    assert_eq!(std::fs::read_to_string(path).unwrap(), untidy, "printing changes nothing");
    assert_eq!(run(&["schema", "format", path, "--write"], &[], "").status, 0);
    assert_eq!(std::fs::read_to_string(path).unwrap(), printed.stdout);
    assert_eq!(run(&["schema", "format", path, "--check"], &[], "").status, 0);
    let of_input = run(&["schema", "format", "-"], &[], untidy);
    assert_eq!(of_input.stdout, printed.stdout);
}
