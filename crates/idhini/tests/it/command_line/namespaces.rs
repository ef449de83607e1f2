//! Namespaces, tokens and grants on the command line.

use std::os::unix::fs::OpenOptionsExt as _;

use serde_json::Value;

use crate::process::{KEY, Outcome, Server, folder, run};

/// With another token than the server's key, or the same.
fn as_of(server: &Server, token: &str, arguments: &[&str]) -> Outcome {
    run(arguments, &[("IDHINI_ADDR", &server.address), ("IDHINI_TOKEN", token)], "")
}

fn done(outcome: &Outcome) -> &str {
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    &outcome.stdout
}

fn refused(outcome: &Outcome, reason: &str, next: &str) {
    assert_eq!((outcome.status, outcome.stdout.as_str()), (4, ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("next  ") && last.contains(next), "{}", outcome.stderr);
}

#[test]
fn a_tree_is_made_drawn_changed_and_taken_down() {
    let server = Server::start(&[]);
    let made =
        server.run(&["namespace", "create", "team_a", "--metadata", "owner=ann", "--metadata", "tier=1"]);
    assert_eq!(done(&made), "created      team_a\n");
    for path in ["team_a/sub", "team_a/sub/div", "team_b"] {
        done(&server.run(&["namespace", "create", path]));
    }
    let tree = server.run(&["namespace", "tree"]);
    let wanted = "open         root\nopen         ├─ team_a  owner=ann tier=1\nopen         │  └─ sub\nopen         │     └─ div\nopen         └─ team_b\n";
    assert_eq!(done(&tree), wanted);
    assert_eq!(done(&server.run(&["namespace", "list", "team_a"])), "open         team_a/sub\n");
    // Relative to what is asked about, which a flag or the environment names.
    assert_eq!(
        done(&server.run(&["--namespace", "team_a/sub", "namespace", "list"])),
        "open         team_a/sub/div\n"
    );
    let environment =
        [("IDHINI_ADDR", &*server.address), ("IDHINI_TOKEN", KEY), ("IDHINI_NAMESPACE", "team_a/sub")];
    let shown = run(&["--json", "namespace", "show", "div"], &environment, "");
    let shown: Value = serde_json::from_str(done(&shown)).unwrap();
    assert_eq!(shown["namespace"]["path"], "team_a/sub/div");
    let set = server.run(&["namespace", "set", "team_a", "--metadata", "tier=2", "--drop", "owner"]);
    assert_eq!(done(&set), "changed      team_a  tier=2\n");
    refused(
        &server.run(&["namespace", "delete", "team_a"]),
        "NAMESPACE_HAS_CHILDREN",
        "idhini namespace tree",
    );
    refused(&server.run(&["namespace", "create", "team_b"]), "NAMESPACE_EXISTS", "idhini namespace show");
    refused(&server.run(&["namespace", "show", "x"]), "NAMESPACE_NOT_FOUND", "idhini namespace tree");
    for path in ["team_a/sub/div", "team_a/sub", "team_a"] {
        assert_eq!(done(&server.run(&["namespace", "delete", path])), format!("deleted      {path}\n"));
    }
    assert_eq!(done(&server.run(&["namespace", "list"])), "open         team_b\n");
    let none = server.run(&["namespace", "create", "team+c"]);
    assert_eq!(none.status, 3, "{}", none.stderr);
    assert!(none.stderr.contains("digits and ASCII punctuation"), "{}", none.stderr);
}

#[test]
fn a_lock_prints_its_key_alone_and_says_what_it_is_about() {
    let server = Server::start(&[]);
    done(&server.run(&["namespace", "create", "team"]));
    done(&server.run(&["namespace", "create", "team/sub"]));
    assert_eq!(server.run(&["namespace", "status", "team/sub"]).status, 0);
    let locked = server.run(&["namespace", "lock", "team", "--reason", "a leak", "--for", "1h"]);
    let key = done(&locked).trim_end().to_owned();
    assert!(key.len() == 24 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
    assert!(locked.stderr.contains("shown only now") && !locked.stderr.contains(&key), "{}", locked.stderr);
    let status = server.run(&["namespace", "status", "team/sub"]);
    assert_eq!(status.status, 1, "{}", status.stderr);
    assert!(
        status.stdout.starts_with("locked       by team, against everything, since ")
            && status.stdout.ends_with(": a leak\n"),
        "{}",
        status.stdout
    );
    refused(&server.run(&["--namespace", "team/sub", "schema", "read"]), "a leak", "idhini namespace status");
    refused(
        &server.run(&["namespace", "unlock", "team", "--key", "wrong"]),
        "UNLOCK_KEY_WRONG",
        "IDHINI_UNLOCK_KEY",
    );
    let environment = [("IDHINI_ADDR", &*server.address), ("IDHINI_TOKEN", KEY), ("IDHINI_UNLOCK_KEY", &key)];
    assert_eq!(done(&run(&["namespace", "unlock", "team"], &environment, "")), "unlocked     team\n");
    refused(&server.run(&["namespace", "unlock", "team"]), "NAMESPACE_NOT_LOCKED", "idhini namespace status");
}

#[test]
fn a_token_is_printed_once_and_may_what_was_granted() {
    let server = Server::start(&[]);
    done(&server.run(&["namespace", "create", "team"]));
    let made = server.run(&["token", "create", "--home", "team", "--role", "reader", "--for", "1h"]);
    let token = done(&made).trim_end().to_owned();
    assert!(token.starts_with("idhini_") && !made.stderr.contains(&token), "{}", made.stderr);
    let accessor = made.stderr.split("its name is ").nth(1).unwrap()[..24].to_owned();
    let mine = as_of(&server, &token, &["token", "show"]);
    assert!(
        done(&mine).starts_with(&format!("token        {accessor}\n  home            team\n")),
        "{}",
        mine.stdout
    );
    let yes = as_of(&server, &token, &["auth", "can-i", "read", "--explain"]);
    let because = format!("             └─ reader in team, granted to token:{accessor}\n");
    assert_eq!(done(&yes), format!("has          read\n{because}"));
    let no = as_of(&server, &token, &["auth", "can-i", "write"]);
    assert_eq!((no.status, no.stdout.as_str()), (1, "no           write\n"));
    refused(&as_of(&server, &token, &["namespace", "create", "x"]), "NOT_PERMITTED", "idhini auth can-i");
    let subject = format!("token:{accessor}");
    done(&server.run(&["auth", "grant", "writer", &subject, "team"]));
    assert_eq!(as_of(&server, &token, &["auth", "can-i", "write"]).status, 0);
    assert!(done(&server.run(&["auth", "grants", "team"])).contains(&format!("writer          {subject}\n")));
    done(&server.run(&["auth", "revoke", "writer", &subject, "team"]));
    refused(
        &server.run(&["auth", "revoke", "writer", &subject, "team"]),
        "NOT_GRANTED",
        "idhini auth grants",
    );
    let rotated = as_of(&server, &token, &["token", "rotate"]);
    let new = done(&rotated).trim_end().to_owned();
    assert_eq!(as_of(&server, &token, &["token", "show"]).status, 4);
    done(&as_of(&server, &new, &["token", "renew"]));
    assert!(done(&server.run(&["token", "list", "team"])).starts_with(&accessor));
    done(&as_of(&server, &new, &["token", "revoke", "--own"]));
    assert_eq!(done(&server.run(&["token", "list", "team"])), "");
    assert_eq!(server.run(&["token", "revoke"]).status, 3);
}

#[test]
fn the_client_file_names_a_namespace_beside_the_token() {
    let server = Server::start(&[]);
    done(&server.run(&["namespace", "create", "team"]));
    done(&server.run(&["namespace", "create", "team/sub"]));
    let file = folder(&[]).join("client.toml");
    let write = |namespace: &str| {
        let text = format!(
            "[[server]]\naddress = \"{}\"\ntoken = \"{KEY}\"\nnamespace = \"{namespace}\"\n",
            server.address
        );
        let _ = std::fs::remove_file(&file);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&file).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let environment = [("IDHINI_ADDR", &*server.address), ("IDHINI_CLIENT_FILE", file.to_str().unwrap())];
    write("team");
    assert_eq!(done(&run(&["namespace", "list"], &environment, "")), "open         team/sub\n");
    assert_eq!(
        done(&run(&["--namespace", "root", "namespace", "list"], &environment, "")),
        "open         team\n"
    );
    // A token of one's own is about its own home.
    let own = [environment[0], environment[1], ("IDHINI_TOKEN", KEY)];
    assert_eq!(done(&run(&["namespace", "list"], &own, "")), "open         team\n");
    write("a b");
    let none = run(&["namespace", "list"], &environment, "");
    assert!(none.status == 3 && none.stderr.contains("--namespace"), "{}", none.stderr);
}
