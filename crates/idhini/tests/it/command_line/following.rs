//! Watch and history.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;

use super::asking::messages;
use crate::process::{KEY, PATIENCE, Server, binary};

/// A watch under way; ended when dropped.
struct Watching {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    fn start(server: &Server, arguments: &[&str]) -> Watching {
        let mut child = binary()
            .arg("watch")
            .args(arguments)
            .envs([("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Watching { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Passes over what comes before it.
    fn until(&self, sign: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(sign) {
                return line;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_tells_what_changes_and_goes_on_from_a_token() {
    let server = Server::furnished();
    let watching = Watching::start(&server, &["--from", "beginning"]);
    watching.until("touch        document:readme#owner@user:ann");
    let write =
        |what: &str, who: &str| server.run(&["relationship", what, "document:w", "owner", who]).status;
    assert_eq!([write("create", "user:a"), write("delete", "user:a"), write("create", "user:b")], [0, 0, 0]);
    watching.until("touch        document:w#owner@user:a");
    let through = watching.until("through");
    let token = through.trim().strip_prefix("through ").unwrap();
    let again = Watching::start(&server, &["--from", token, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&again.until("OPERATION")).unwrap();
    assert_eq!(told["updates"][0]["operation"], "OPERATION_DELETE");
    assert_eq!(told["updates"][0]["relationship"]["subject"]["object"]["objectId"], "a");
    again.until("\"b\"");
}

#[test]
fn a_watch_is_narrowed_by_types_filters_and_kinds() {
    let server = Server::furnished();
    let groups = Watching::start(&server, &["group", "--from", "beginning"]);
    let members = Watching::start(&server, &["--filter", "document#viewer@user", "--from", "beginning"]);
    let schemas = Watching::start(&server, &["--kinds", "schema,checkpoints", "--json"]);
    assert!(schemas.line().contains("isCheckpoint"));
    for line in [groups.until("touch"), groups.until("touch")] {
        assert!(line.contains("group:"), "{line}");
    }
    for line in [members.until("touch"), members.until("touch")] {
        assert!(line.contains("document:readme#viewer@user:"), "{line}");
    }
    let schema = format!("{}\ndefinition added {{}}", crate::process::SCHEMA);
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(crate::process::run(&["schema", "write", "-"], &environment, &schema).status, 0);
    schemas.until("schemaUpdated");
}

#[test]
fn a_watch_that_the_server_ends_says_how_to_go_on() {
    let server = Server::furnished();
    let mut child = binary()
        .args(["watch", "--from", "beginning"])
        .envs([("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("through")));
    server.stop();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("next  go on with `idhini watch --from "), "{stderr}");
}

#[test]
fn a_history_is_every_change_of_an_object_and_no_other() {
    let server = Server::furnished();
    let write = |arguments: &[&str]| {
        let outcome = server.run(&[&["relationship"], arguments].concat());
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    };
    write(&["create", "document:h", "viewer", "user:kim"]);
    write(&["touch", "document:h", "viewer", "user:kim", "--caveat", "only_on"]);
    write(&["delete", "document:h", "viewer", "user:kim"]);
    write(&["create", "document:other", "viewer", "user:kim"]);
    let told = server.run(&["history", "document:h"]);
    assert_eq!(told.status, 0, "{}", told.stderr);
    let words: Vec<&str> = told.stdout.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(words, ["created", "entry", "replaced", "entry", "deleted", "entry"], "{}", told.stdout);
    let entry = told.stdout.lines().nth(1).unwrap().trim().strip_prefix("entry ").unwrap();
    let then = ["check", "document:h", "view", "user:kim", "--consistency-at-exactly", entry];
    assert_eq!(server.run(&then).status, 0, "the entry is a token of what was so then");
    assert!(told.stdout.contains("was document:h#viewer@user:kim"), "{}", told.stdout);
    let changes = |arguments: &[&str]| {
        let told = server.run(&[&["history"], arguments].concat());
        assert_eq!(told.status, 0, "{}", told.stderr);
        told.stdout.lines().filter(|line| !line.starts_with(' ')).count()
    };
    assert_eq!(changes(&["user:kim"]), 4);
    assert_eq!(changes(&["group:eng#member"]), 2, "as the resource and as the subject");
    assert_eq!(changes(&["group:eng"]), 2);
    assert_eq!(changes(&["document:never"]), 0);
    let json = messages(&server.run(&["history", "document:h", "--json"]).stdout);
    let operations: Vec<_> = json.iter().map(|m| m["changes"][0]["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["OPERATION_CREATED", "OPERATION_REPLACED", "OPERATION_DELETED"]);
    let middle = json[1]["writtenAt"].as_str().unwrap();
    assert_eq!(
        [changes(&["document:h", "--since", middle]), changes(&["document:h", "--until", middle])],
        [1, 2]
    );
}

#[test]
fn a_relationship_of_an_object_with_itself_is_told_once() {
    let server = Server::furnished();
    assert_eq!(server.run(&["relationship", "create", "group:x", "member", "group:x#member"]).status, 0);
    let told = server.run(&["history", "group:x"]).stdout;
    assert_eq!(told.lines().filter(|line| line.starts_with("created")).count(), 1, "{told}");
}
