//! Relationships in bulk, in both directions and both forms.

use super::asking::messages;
use crate::process::{KEY, RELATIONSHIPS, SCHEMA, Server, folder, run};

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().filter(|l| !l.is_empty() && !l.starts_with("//")).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn with_schema() -> Server {
    let server = Server::start(&[]);
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(run(&["schema", "write", "-"], &environment, SCHEMA).status, 0);
    server
}

#[test]
fn what_is_imported_is_what_is_exported() {
    let server = with_schema();
    let folder = folder(&[("r.txt", RELATIONSHIPS)]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let imported = server.run(&["relationship", "bulk-import", &path("r.txt"), "--batch-size", "2"]);
    assert_eq!((imported.status, imported.stdout.as_str()), (0, "7 relationships\n"), "{}", imported.stderr);
    assert_eq!(sorted(&server.run(&["relationship", "bulk-export"]).stdout), sorted(RELATIONSHIPS));
    assert_eq!(server.run(&["relationship", "bulk-export", &path("out.txt")]).status, 0);
    assert_eq!(sorted(&std::fs::read_to_string(path("out.txt")).unwrap()), sorted(RELATIONSHIPS));
    let some = server.run(&["relationship", "bulk-export", "--filter", "document#viewer@user"]).stdout;
    assert_eq!(some.lines().count(), 2, "{some}");
    let json = messages(&server.run(&["relationship", "bulk-export", "--json", "--page-limit", "2"]).stdout);
    let counts: Vec<usize> = json.iter().map(|m| m["relationships"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [2, 2, 2, 1]);
}

#[test]
fn an_import_reads_standard_input() {
    let server = with_schema();
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)];
    let imported = run(&["--json", "relationship", "bulk-import"], &environment, RELATIONSHIPS);
    assert_eq!(messages(&imported.stdout)[0]["numLoaded"], "7", "{}", imported.stderr);
    assert_eq!(server.run(&["relationship", "read", "document"]).stdout.lines().count(), 5);
}

#[test]
fn whatever_is_wrong_nothing_is_imported_and_the_line_is_named() {
    let server = with_schema();
    let many: String = (0..5_000).map(|n| format!("document:d{n}#owner@user:u\n")).collect();
    let files = [
        ("malformed.txt", format!("{many}document:x#owner\n"), 3, "line 5001"),
        ("unknown.txt", format!("{many}document:x#nothing@user:u\n"), 4, "nothing"),
        ("twice.txt", format!("{many}// again\ndocument:d7#owner@user:u\n"), 4, "line 8"),
        ("long.txt", format!("{many}{}\n", "x".repeat(300_000)), 3, "long.txt:5001: "),
        ("latin.txt", format!("{many}document:x#owner@user:\n"), 3, "line 5001"),
    ];
    for (name, text, status, says) in files {
        let folder = folder(&[(name, text.as_str())]);
        let path = folder.join(name);
        let outcome =
            server.run(&["relationship", "bulk-import", path.to_str().unwrap(), "--batch-size", "100"]);
        assert_eq!(outcome.status, status, "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("next  "), "{name}: {}", outcome.stderr);
        let there = server.run(&["relationship", "read", "document"]);
        assert_eq!(there.stdout, "", "{name} left something behind");
    }
    let missing = server.run(&["relationship", "bulk-import", "/nowhere/at/all.txt"]);
    assert_eq!(missing.status, 3, "{}", missing.stderr);
}

#[test]
fn a_validation_file_goes_in_and_comes_out() {
    let server = Server::furnished();
    let folder = folder(&[]);
    let path = folder.join("all.yaml");
    let path = path.to_str().unwrap();
    let exported = server.run(&["relationship", "bulk-export", path]);
    assert_eq!(exported.status, 0, "{}", exported.stderr);
    let other = Server::start(&[]);
    let imported = other.run(&["relationship", "bulk-import", path, "--with-schema"]);
    assert_eq!((imported.status, imported.stdout.as_str()), (0, "7 relationships\n"), "{}", imported.stderr);
    assert_eq!(other.run(&["schema", "read"]).stdout, server.run(&["schema", "read"]).stdout);
    assert_eq!(other.run(&["check", "document:readme", "view", "user:tom"]).status, 0);
    // The line of the file, not that of the text in it.
    let again = other.run(&["relationship", "bulk-import", path]);
    assert_eq!(again.status, 4);
    let text = std::fs::read_to_string(path).unwrap();
    let line: usize = again.stderr.split("line ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(text.lines().nth(line - 1).unwrap().contains('@'), "{}", again.stderr);
    let of_token = ["relationship", "bulk-export", path, "--consistency-at-exactly", "x"];
    let refused = server.run(&of_token);
    assert_eq!(refused.status, 3);
    assert!(refused.stderr.contains("--as-of"), "{}", refused.stderr);
}

/// How much memory an import of so many relationships takes at most, as the kernel counts it, in KiB.
#[cfg(target_os = "linux")]
fn memory_of_import(server: &Server, count: usize) -> u64 {
    use std::process::Stdio;
    let text: String =
        (0..count).map(|n| format!("document:{count}{n:0>60}#owner@user:{n:0>60}\n")).collect();
    let folder = folder(&[("many.txt", text.as_str())]);
    let path = folder.join("many.txt");
    let mut child = crate::process::binary()
        .args(["relationship", "bulk-import", path.to_str().unwrap()])
        .envs([("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.split_whitespace().next().unwrap().parse().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_import_takes_no_more_memory_than_a_small_one() {
    let server = with_schema();
    let (small, large) = (memory_of_import(&server, 20_000), memory_of_import(&server, 160_000));
    // Held whole, the file alone would be 21 MiB, and its messages several times that.
    assert!(small > 0 && large < small + 16_000, "{small} KiB, then {large} KiB");
}

#[test]
fn a_relationship_that_stands_twice_in_a_file_is_not_said_to_be_there_already() {
    let server = Server::furnished();
    let text = "document:n#owner@user:a\ndocument:n#owner@user:b\n\ndocument:n#owner@user:a\n";
    let folder = folder(&[("r.txt", text)]);
    let outcome = server.run(&["relationship", "bulk-import", folder.join("r.txt").to_str().unwrap()]);
    assert_eq!(outcome.status, 4, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("line 4: this relationship stands in line 1 already"),
        "{}",
        outcome.stderr
    );
    assert_eq!(server.run(&["relationship", "read", "document:n"]).stdout, "");
}
