//! Lookups, expansions, questions about the past, versions, completions.

use serde_json::Value;

use crate::process::{RELATIONSHIPS, Server, run};

/// A message a line.
pub(super) fn messages(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn objects_are_looked_up_with_what_they_lack() {
    let server = Server::furnished();
    let found = server.run(&["lookup-resources", "document", "view", "user:eve"]);
    assert_eq!(found.status, 0, "{}", found.stderr);
    assert_eq!(found.stdout, "conditional  document:readme, missing context: level\n");
    let found =
        server.run(&["lookup-resources", "document", "view", "user:eve", "--context", r#"{"level":9}"#]);
    assert_eq!(found.stdout, "has          document:readme\n");
    let json = server.run(&["lookup-resources", "document", "view", "user:tom", "--json"]);
    let answers = messages(&json.stdout);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["resourceObjectId"], "readme");
    assert_eq!(answers[0]["permissionship"], "LOOKUP_PERMISSIONSHIP_HAS_PERMISSION");
}

#[test]
fn pages_of_a_lookup_are_the_lookup() {
    let server = Server::furnished();
    for n in 0..5 {
        let document = format!("document:d{n}");
        assert_eq!(server.run(&["relationship", "create", &document, "owner", "user:tom"]).status, 0);
    }
    let ask = |more: &[&str]| {
        let outcome = server.run(&[&["lookup-resources", "document", "view", "user:tom"], more].concat());
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let mut found: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        found.sort();
        found
    };
    let whole = ask(&[]);
    assert_eq!(whole.len(), 6);
    for size in ["1", "2", "3", "6", "7"] {
        assert_eq!(ask(&["--page-limit", size]), whole, "pages of {size}");
    }
    let first = messages(&ask(&["--json"]).join("\n"));
    let cursors = first.iter().map(|m| m["afterResultCursor"]["token"].as_str().unwrap().to_owned());
    let left: Vec<usize> = cursors.map(|cursor| ask(&["--cursor", &cursor]).len()).collect();
    assert_eq!(left.iter().sum::<usize>(), 5 + 4 + 3 + 2 + 1);
}

#[test]
fn subjects_are_looked_up_with_whom_a_wildcard_excludes() {
    let server = Server::furnished();
    assert_eq!(server.run(&["relationship", "create", "document:readme", "viewer", "user:*"]).status, 0);
    let found = server.run(&["lookup-subjects", "document:readme", "view", "user"]);
    assert!(found.stdout.contains("has          user:* but not user:bob\n"), "{}", found.stdout);
    let without =
        server.run(&["lookup-subjects", "document:readme", "view", "user", "--exclude-wildcards"]).stdout;
    assert!(!without.contains('*') && without.contains("user:tom"), "{without}");
    let groups = server.run(&["lookup-subjects", "document:readme", "view", "group#member"]).stdout;
    assert!(groups.contains("has          group:eng#member\n"), "{groups}");
    let paged = server.run(&["lookup-subjects", "document:readme", "view", "user", "--page-limit", "1"]);
    assert_eq!(paged.stdout, found.stdout);
}

#[test]
fn an_expansion_is_drawn_whichever_argument_stands_first() {
    let server = Server::furnished();
    let drawn = server.run(&["expand", "view", "document:readme"]);
    assert_eq!(drawn.status, 0, "{}", drawn.stderr);
    let text = &drawn.stdout;
    assert!(text.starts_with("document:readme#view  the first without the others\n"), "{text}");
    assert!(text.contains("├─ group:all#member\n") || text.contains("└─ group:all#member\n"), "{text}");
    assert!(text.contains("document:readme#banned\n   └─ user:bob\n"), "{text}");
    assert_eq!(server.run(&["expand", "document:readme", "view"]).stdout, drawn.stdout);
    let json = messages(&server.run(&["expand", "view", "document:readme", "--json"]).stdout);
    assert_eq!(json[0]["treeRoot"]["intermediate"]["operation"], "OPERATION_EXCLUSION");
    let neither = server.run(&["expand", "view", "edit"]);
    assert_eq!(neither.status, 3);
    assert!(neither.stderr.contains("idhini expand view document:readme"), "{}", neither.stderr);
}

#[test]
fn every_read_answers_as_of_a_moment() {
    let server = Server::furnished();
    let history = server.run(&["history", "document:readme", "--json"]).stdout;
    let then = moment_after(&history);
    assert_eq!(server.run(&["relationship", "delete", "document:readme", "owner", "user:ann"]).status, 0);
    let write = ["relationship", "touch", "document:late", "owner", "user:ann"];
    assert_eq!(server.run(&write).status, 0);
    let both = |command: &[&str]| {
        let now = server.run(command);
        let past = server.run(&[&["as-of", then.as_str()], command].concat());
        assert_eq!(past.status, server.run(&[command, &["--as-of", &then]].concat()).status);
        assert_eq!(past.stderr, "", "{command:?}");
        (now.stdout, past.stdout)
    };
    let (now, past) = both(&["check", "document:readme", "view", "user:ann"]);
    assert!(now.starts_with("no ") && past.starts_with("has "), "{now}{past}");
    let (now, past) = both(&["lookup-resources", "document", "edit", "user:ann"]);
    assert_eq!(
        (now.as_str(), past.as_str()),
        ("has          document:late\n", "has          document:readme\n")
    );
    let (now, past) = both(&["lookup-subjects", "document:readme", "edit", "user"]);
    assert!(now.is_empty() && past.contains("user:ann"), "{now}{past}");
    let (now, past) = both(&["expand", "edit", "document:readme"]);
    assert!(!now.contains("user:ann") && past.contains("user:ann"), "{now}{past}");
    let (now, past) = both(&["relationship", "read", "document", "owner"]);
    assert_eq!(
        (now.as_str(), past.as_str()),
        ("document:late#owner@user:ann\n", "document:readme#owner@user:ann\n")
    );
    let (now, past) = both(&["relationship", "bulk-export"]);
    assert!(!past.contains("late") && now.contains("late"), "{now}{past}");
    assert_eq!(server.run(&["schema", "write", "-"]).status, 4);
    let (now, past) = both(&["schema", "read"]);
    assert_eq!(now, past);
    let twice = server.run(&["as-of", &then, "check", "document:a", "view", "user:a", "--consistency-full"]);
    assert_eq!(twice.status, 3);
    assert!(twice.stderr.contains("leave the flag out"), "{}", twice.stderr);
    let future = server.run(&["as-of", "2999-01-01T00:00:00Z", "check", "document:a", "view", "user:a"]);
    assert_eq!(future.status, 4, "{}", future.stderr);
}

/// When the last change of a history was, which is before whatever is written later.
fn moment_after(history: &str) -> String {
    let last = history.lines().last().unwrap();
    let value: Value = serde_json::from_str(last).unwrap();
    value["writtenAt"].as_str().unwrap().to_owned()
}

#[test]
fn the_version_is_ours_and_the_servers_without_a_key() {
    let server = Server::furnished();
    let environment = [("IDHINI_ADDR", server.address.as_str())];
    let told = run(&["version"], &environment, "");
    let ours = concat!("v", env!("CARGO_PKG_VERSION"));
    assert_eq!(told.status, 0, "{}", told.stderr);
    assert_eq!(told.stdout, format!("idhini  {ours}\nserver  {ours} at {}\n", server.address));
    let json = messages(&run(&["version", "--json"], &environment, "").stdout);
    assert_eq!((json[0]["idhini"].as_str(), json[0]["server"].as_str()), (Some(ours), Some(ours)));
    let alone = run(&["version"], &[("IDHINI_ADDR", "127.0.0.1:1")], "");
    assert_eq!(alone.status, 0);
    assert!(alone.stdout.starts_with(&format!("idhini  {ours}\nserver  cannot reach")), "{}", alone.stdout);
}

#[test]
fn shells_are_given_what_completes_commands() {
    for (shell, sign) in [
        ("bash", "complete -F _idhini"),
        ("zsh", "#compdef idhini"),
        ("fish", "complete -c idhini"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = run(&["completion", shell], &[], "");
        assert_eq!(script.status, 0, "{}", script.stderr);
        assert!(script.stdout.contains(sign), "{shell}");
        for word in ["lookup-resources", "bulk-import", "consistency-at-least", "until-caught-up"] {
            assert!(script.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    // What bash makes of it.
    let folder = crate::process::folder(&[("idhini.bash", &run(&["completion", "bash"], &[], "").stdout)]);
    let path = folder.join("idhini.bash");
    let ask = r#"source "$1"; COMP_WORDS=(idhini look); COMP_CWORD=1; _idhini idhini look idhini; echo "${COMPREPLY[@]}""#;
    let output =
        std::process::Command::new("bash").args(["-c", ask, "-", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "lookup-resources lookup-subjects");
}

#[test]
fn every_command_explains_itself() {
    let commands: &[&[&str]] = &[
        &["serve"],
        &["schema"],
        &["schema", "write"],
        &["schema", "read"],
        &["schema", "diff"],
        &["schema", "validate"],
        &["schema", "format"],
        &["schema", "test"],
        &["relationship"],
        &["relationship", "create"],
        &["relationship", "touch"],
        &["relationship", "delete"],
        &["relationship", "read"],
        &["relationship", "bulk-import"],
        &["relationship", "bulk-export"],
        &["check"],
        &["lookup-resources"],
        &["lookup-subjects"],
        &["expand"],
        &["as-of"],
        &["as-of", "check"],
        &["watch"],
        &["history"],
        &["backup"],
        &["restore"],
        &["migrate"],
        &["debug"],
        &["completion"],
        &["version"],
    ];
    for command in commands {
        let help = run(&[command, &["--help"][..]].concat(), &[], "");
        assert_eq!((help.status, help.stderr.as_str()), (0, ""), "{command:?}");
        assert!(
            help.stdout.contains(&format!("Usage: idhini {}", command[0])),
            "{command:?}: {}",
            help.stdout
        );
        let (first, _) = help.stdout.split_once("\n\n").unwrap();
        assert!(first.len() > 10, "{command:?} says nothing of itself: {first}");
    }
    let all = run(&["--help"], &[], "").stdout;
    assert!(commands.iter().all(|command| all.contains(&format!("  {}", command[0]))), "{all}");
}

#[test]
fn what_relationships_begin_with_filters_them() {
    let server = Server::furnished();
    let read = |what: &str| server.run(&["relationship", "read", what]).stdout.lines().count();
    let all = RELATIONSHIPS.lines().filter(|line| line.starts_with("document")).count();
    assert_eq!([read("document:read%"), read("document:x%"), read("document")], [all, 0, all]);
    let by = ["relationship", "read", "document", "--subject-filter", "user:bob", "--page-limit", "1"];
    assert_eq!(server.run(&by).stdout.lines().count(), 2);
}
