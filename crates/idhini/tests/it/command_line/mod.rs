mod asking;
mod bulk;
mod following;
mod migrating;
mod misuse;
mod namespaces;
mod readers;
mod schemas;
mod terminal;

use crate::process::{KEY, Outcome, RELATIONSHIPS, SCHEMA, Server, folder, run};

fn lines(outcome: &Outcome) -> Vec<&str> {
    outcome.stdout.lines().collect()
}

#[test]
fn the_second_command_answers_the_first_check() {
    let server = Server::furnished();
    let check = |who: &str| server.run(&["check", "document:readme", "view", who]);
    let (tom, bob, eve) = (check("user:tom"), check("user:bob"), check("user:eve"));
    assert_eq!((tom.status, tom.stdout.as_str()), (0, "has          document:readme#view@user:tom\n"));
    assert_eq!((bob.status, bob.stdout.as_str()), (1, "no           document:readme#view@user:bob\n"));
    assert_eq!(eve.status, 2);
    assert_eq!(eve.stdout, "conditional  document:readme#view@user:eve, missing context: level\n");
}

#[test]
fn context_decides_a_conditional_answer() {
    let server = Server::furnished();
    let check =
        |context: &str| server.run(&["check", "document:readme", "view", "user:eve", "--context", context]);
    assert_eq!(check(r#"{"level": 4}"#).status, 0);
    assert_eq!(check(r#"{"level": 3}"#).status, 1);
    // What is stored wins over what is asked.
    assert_eq!(check(r#"{"level": 4, "day": "friday"}"#).status, 0);
    let wrong = check(r#"{"level": "high"}"#);
    assert_eq!(wrong.status, 4, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("level"), "{}", wrong.stderr);
}

#[test]
fn an_explanation_is_the_chain_of_facts() {
    let server = Server::furnished();
    let explained = server.run(&["check", "document:readme", "view", "user:tom", "--explain"]);
    let found = lines(&explained);
    for fact in [
        "document:readme#viewer@group:all#member",
        "group:all#member@group:eng#member",
        "group:eng#member@user:tom",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with("has") && line.ends_with(fact)),
            "{}",
            explained.stdout
        );
    }
    let conditional = server.run(&["check", "document:readme", "view", "user:eve", "--explain"]);
    assert!(conditional.stdout.contains("missing level"), "{}", conditional.stdout);
    assert!(!explained.stdout.contains('\x1b'), "colour is for terminals");
}

#[test]
fn an_explanation_that_is_cut_says_so_and_where_it_goes_on() {
    let server = Server::furnished();
    let chain: Vec<String> =
        (0..60).map(|n| format!("group:c{n}#member@group:c{}#member\n", n + 1)).collect();
    let chain = format!("{}group:c60#member@user:tom\n", chain.concat());
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", &chain)]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let long = Server::start(&["--schema", &path("s.zed"), "--relationships", &path("r.txt")]);
    let explain = |from: &str, who: &str| long.run(&["check", from, "member", who, "--explain"]).stdout;
    for who in ["user:tom", "user:nobody"] {
        let cut = explain("group:c0", who);
        let last = cut.lines().last().unwrap();
        let on = last.split_once("… goes on deeper; ask about ").unwrap().1;
        assert!(cut.contains(&format!("{on} (more than is shown)")), "{cut}");
        let (from, member) = on.split_once('#').unwrap();
        assert_eq!(member, "member");
        assert!(!explain("group:c50", who).contains("deeper"));
        assert!(explain(from, who).lines().count() > 10);
    }
    let whole = server.run(&["check", "document:readme", "view", "user:bob", "--explain"]).stdout;
    assert!(!whole.contains("more than is shown") && !whole.contains("deeper"), "{whole}");
}

#[test]
fn json_is_json_and_keeps_the_exit_status() {
    let server = Server::furnished();
    let json = |arguments: &[&str]| {
        let outcome = server.run(arguments);
        (outcome.status, serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap())
    };
    let (status, value) = json(&["--json", "check", "document:readme", "view", "user:eve", "--explain"]);
    assert_eq!(
        (status, value["permissionship"].as_str()),
        (2, Some("PERMISSIONSHIP_CONDITIONAL_PERMISSION"))
    );
    assert_eq!(value["partialCaveatInfo"]["missingRequiredContext"][0], "level");
    assert_eq!(value["debugTrace"]["check"]["permission"], "view");
    assert!(value["debugTrace"]["check"]["subProblems"]["traces"].is_array());
    assert!(value["checkedAt"]["token"].is_string());
    let (_, value) = json(&["schema", "read", "--json"]);
    assert!(value["schemaText"].as_str().unwrap().contains("definition document"));
    assert!(value["readAt"]["token"].is_string());
    let (_, value) = json(&["relationship", "touch", "document:x", "owner", "user:tom", "--json"]);
    let token = value["writtenAt"]["token"].as_str().unwrap();
    let ask = ["check", "document:x", "owner", "user:tom", "--consistency-at-exactly", token];
    assert_eq!(server.run(&ask).status, 0);
}

#[test]
fn what_is_written_is_seen_at_once_and_at_its_own_token() {
    let server = Server::start(&[]);
    let folder = folder(&[("s.zed", SCHEMA)]);
    let schema = folder.join("s.zed");
    let written = server.run(&["schema", "write", schema.to_str().unwrap()]);
    assert_eq!(written.status, 0, "{}", written.stderr);
    let ask = ["check", "document:d", "view", "user:tom"];
    assert_eq!(server.run(&ask).status, 1);
    let create = ["relationship", "create", "document:d", "viewer", "user:tom"];
    let created = server.run(&create);
    assert_eq!(created.status, 0, "{}", created.stderr);
    let token = lines(&created)[1].to_owned();
    assert_eq!(server.run(&ask).status, 0);
    let again = server.run(&create);
    assert_eq!(again.status, 4);
    assert!(
        again.stderr.contains("exists already") && again.stderr.contains("relationship touch"),
        "{}",
        again.stderr
    );
    assert_eq!(server.run(&["relationship", "delete", "document:d", "viewer", "user:tom"]).status, 0);
    assert_eq!(server.run(&ask).status, 1);
    let then = [&ask[..], &["--consistency-at-exactly", &token]].concat();
    assert_eq!(server.run(&then).status, 0);
}

#[test]
fn caveats_and_expirations_are_written() {
    let server = Server::furnished();
    let create = |arguments: &[&str]| {
        server.run(&[&["relationship", "create", "document:d", "viewer"], arguments].concat()).status
    };
    assert_eq!(create(&["user:a", "--caveat", r#"only_on:{"day":"tuesday","level":9}"#]), 0);
    assert_eq!(create(&["user:b", "--caveat", "only_on"]), 0);
    assert_eq!(create(&["user:c", "--expires-at", "2001-01-01T00:00:00Z"]), 0);
    assert_eq!(create(&["user:d", "--expires-at", "2999-01-01T00:00:00Z"]), 0);
    let check = |who: &str| server.run(&["check", "document:d", "view", who]).status;
    assert_eq!([check("user:a"), check("user:b"), check("user:c"), check("user:d")], [0, 2, 1, 0]);
}

#[test]
fn a_schema_is_read_from_standard_input_and_with_its_imports() {
    let server = Server::start(&[]);
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(run(&["schema", "write", "-"], &environment, "definition person {}").status, 0);
    assert!(server.run(&["schema", "read"]).stdout.contains("definition person"));
    let files = [
        (
            "main.zed",
            "use import\nimport \"parts/user.zed\"\ndefinition thing {\n\trelation owner: user\n}\n",
        ),
        ("parts/user.zed", "definition user {}\n"),
        ("parts/out.zed", "use import\nimport \"../../outside.zed\"\n"),
    ];
    let folder = folder(&files);
    let write = |name: &str| server.run(&["schema", "write", folder.join(name).to_str().unwrap()]);
    let whole = write("main.zed");
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    assert!(server.run(&["schema", "read"]).stdout.contains("definition user"));
    assert_eq!(write("parts/out.zed").status, 3);
}

#[test]
fn a_link_that_leads_out_of_the_schemas_folder_is_not_followed() {
    let outside = folder(&[("secret.zed", "definition secret {}")]);
    let folder = folder(&[("main.zed", "use import\nimport \"link.zed\"\n")]);
    std::os::unix::fs::symlink(outside.join("secret.zed"), folder.join("link.zed")).unwrap();
    let server = Server::start(&[]);
    let outcome = server.run(&["schema", "write", folder.join("main.zed").to_str().unwrap()]);
    assert_eq!(outcome.status, 3);
    assert!(outcome.stderr.contains("out of the first file's folder"), "{}", outcome.stderr);
}

#[test]
fn malformed_requests_end_with_3_and_say_what_is_wrong() {
    let server = Server::furnished();
    let table: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nothing"], "unrecognized"),
        (&["check"], "required"),
        (&["check", "document", "view", "user:tom"], "type:id"),
        (&["check", "document:readme", "view", "user"], "type:id"),
        (&["check", "document:*", "view", "user:tom"], "object id"),
        (&["check", "Document:readme", "view", "user:tom"], "type name"),
        (&["check", "document:readme", "view", "user:tom", "--context", "{"], "JSON"),
        (&["check", "document:readme", "view", "user:tom", "--context", "[1]"], "JSON object"),
        (
            &[
                "check",
                "document:readme",
                "view",
                "user:tom",
                "--consistency-at-least",
                "a",
                "--consistency-at-exactly",
                "b",
            ],
            "cannot be used",
        ),
        (&["schema", "write", "/nowhere/at/all.zed"], "cannot read"),
        (&["relationship", "create", "document:a", "viewer", "user:tom", "--caveat", "only_on:{"], "caveat"),
        (&["relationship", "create", "document:a", "Viewer", "user:tom"], "relation"),
        (
            &["relationship", "create", "document:a", "viewer", "user:tom", "--expires-at", "tomorrow"],
            "RFC 3339",
        ),
        (&["--addr", "nowhere", "schema", "read"], "HOST:PORT"),
        (&["--addr", "192.0.2.1:50051", "schema", "read"], "TLS"),
        (&["--token", "", "schema", "read"], "IDHINI_TOKEN"),
    ];
    for (arguments, says) in table {
        let outcome = server.run(arguments);
        assert_eq!(outcome.status, 3, "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains(says), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn refused_requests_end_with_4_and_name_the_next_step() {
    let server = Server::furnished();
    let table: &[(&[&str], &str)] = &[
        (&["check", "nothing:readme", "view", "user:tom"], "schema read"),
        (&["check", "document:readme", "nothing", "user:tom"], "schema read"),
        (&["check", "document:readme", "view", "user:*"], "wildcard"),
        (&["check", "document:readme", "view", "user:tom", "--consistency-at-least", "xyz"], "token"),
        (&["relationship", "create", "document:a", "view", "user:tom"], "permission"),
        (&["relationship", "create", "document:a", "banned", "user:*"], "allow"),
        (&["--token", "wrong", "check", "document:readme", "view", "user:tom"], "IDHINI_TOKEN"),
    ];
    for (arguments, says) in table {
        let outcome = server.run(arguments);
        assert_eq!(outcome.status, 4, "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains(says), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("next  "), "{arguments:?}: {}", outcome.stderr);
    }
    let empty = Server::start(&[]);
    let unread = empty.run(&["schema", "read"]);
    assert_eq!(unread.status, 4);
    assert!(unread.stderr.contains("schema write"), "{}", unread.stderr);
}

#[test]
fn an_unreachable_server_ends_with_5_and_says_how_to_start_one() {
    let outcome = run(&["schema", "read"], &[("IDHINI_ADDR", "127.0.0.1:1"), ("IDHINI_TOKEN", KEY)], "");
    assert_eq!(outcome.status, 5);
    assert!(outcome.stderr.contains("idhini serve"), "{}", outcome.stderr);
}

#[test]
fn a_server_that_cannot_serve_safely_does_not_start() {
    let taken = Server::start(&[]);
    let key = ["--preshared-key", KEY];
    let bad = folder(&[
        ("s.zed", "definition {"),
        ("good.zed", SCHEMA),
        ("r.txt", "document:a#viewer"),
        ("twice.txt", &format!("{RELATIONSHIPS}{RELATIONSHIPS}")),
    ]);
    let path = |name: &str| bad.join(name).to_str().unwrap().to_owned();
    let occupied = path("r.txt");
    let table: Vec<(Vec<&str>, i32, &str)> = vec![
        ([&["--data-dir", &occupied, "--grpc-addr", "127.0.0.1:0"], &key[..]].concat(), 6, "cannot be used"),
        (["--history", "soon"].to_vec(), 3, "90m, 24h, 7d or forever"),
        (vec!["--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", ""], 3, "it is empty"),
        (
            vec!["--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", "schlüssel"],
            3,
            "printable ASCII",
        ),
        (vec!["--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", "key "], 3, "printable ASCII"),
        ([&["--ephemeral", "--grpc-addr", "0.0.0.0:0"], &key[..]].concat(), 3, "TLS"),
        ([&["--ephemeral", "--grpc-addr", "[::]:0"], &key[..]].concat(), 3, "TLS"),
        ([&["--ephemeral", "--grpc-addr", &taken.address], &key[..]].concat(), 6, "--grpc-addr"),
        ([&["--ephemeral", "--grpc-addr", "localhost"], &key[..]].concat(), 3, "invalid"),
    ];
    for (arguments, status, says) in table {
        let outcome = run(&[&["serve"], &arguments[..]].concat(), &[], "");
        assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{arguments:?}: {}", outcome.stderr);
    }
    let (good, lines, twice, broken) = (path("good.zed"), path("r.txt"), path("twice.txt"), path("s.zed"));
    for (schema, relationships, status, says) in
        [(&broken, &lines, 3, "s.zed"), (&good, &lines, 3, "line 1"), (&good, &twice, 6, "exists already")]
    {
        let arguments = [
            "serve",
            "--ephemeral",
            "--grpc-addr",
            "127.0.0.1:0",
            "--preshared-key",
            KEY,
            "--schema",
            schema,
            "--relationships",
            relationships,
        ];
        let outcome = run(&arguments, &[], "");
        assert_eq!(outcome.status, status, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    }
}

#[test]
fn a_server_told_to_stop_stops_well() {
    assert_eq!(Server::start(&[]).terminate(), Some(0));
}

#[test]
fn help_is_no_failure() {
    for arguments in [&["--help"][..], &["--version"], &["check", "--help"]] {
        let outcome = run(arguments, &[], "");
        assert_eq!(outcome.status, 0);
        assert!(outcome.stdout.contains("idhini") && outcome.stderr.is_empty());
    }
}

#[test]
fn a_comma_parts_keys_in_the_environment_only() {
    let flagged = Server::start(&["--preshared-key", "one,two"]);
    let with = |server: &Server, token: &str| {
        let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", token)];
        run(&["schema", "write", "-"], &environment, "definition user {}").status
    };
    assert_eq!(["one,two", KEY, "one", "two"].map(|token| with(&flagged, token)), [0, 0, 4, 4]);
    let of_environment = Server::with_keys_of_environment("one,two");
    assert_eq!(["one,two", "one", "two"].map(|token| with(&of_environment, token)), [4, 0, 0]);
}

#[test]
fn relationships_are_read_by_every_part() {
    let server = Server::furnished();
    let read = |arguments: &[&str]| {
        let outcome = server.run(&[&["relationship", "read"], arguments].concat());
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let mut found: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        found.sort();
        found
    };
    assert_eq!(read(&["document"]).len(), 5);
    assert_eq!(read(&["document:other"]).len(), 0);
    assert_eq!(read(&["document:readme", "owner"]), ["document:readme#owner@user:ann"]);
    assert_eq!(read(&["document", "viewer", "user:bob"]), ["document:readme#viewer@user:bob"]);
    let members = ["document:readme#viewer@group:all#member"];
    assert_eq!(read(&["document", "viewer", "group:all#member"]), members);
    assert_eq!(read(&["document", "viewer", "group"]), members);
    assert_eq!(server.run(&["relationship", "read", "nothing"]).status, 4);
}
