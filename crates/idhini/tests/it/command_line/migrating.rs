//! Moving from one server to another. Here the one moved from is ours as well; a script beside this does it with a SpiceDB.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::asking::messages;
use crate::process::{KEY, Outcome, SCHEMA, Server, binary, folder, run};

/// A source with its own key's place taken by --from-token.
fn migrate(from: &Server, to: &Server, more: &[&str]) -> Outcome {
    let arguments =
        [&["migrate", "--from", &from.address, "--from-token", KEY, "--sample-checks", "300"], more];
    to.run(&arguments.concat())
}

fn large() -> Server {
    let mut text = crate::process::RELATIONSHIPS.to_owned();
    for n in 0..3_000 {
        text.push_str(&format!("document:d{n}#owner@user:u{}\n", n % 50));
        text.push_str(&format!("document:d{n}#viewer@group:g{}#member\n", n % 20));
        text.push_str(&format!("group:g{}#member@user:v{n}\n", n % 20));
    }
    text.push_str("document:open#viewer@user:*\n");
    text.push_str("document:open#viewer@user:late[expiration:2999-01-01T00:00:00Z]\n");
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", text.as_str())]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    Server::start(&["--schema", &path("s.zed"), "--relationships", &path("r.txt")])
}

fn everything(server: &Server) -> Vec<String> {
    let mut lines: Vec<String> =
        server.run(&["relationship", "bulk-export"]).stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_was_there_and_what_changes_is_moved_and_both_answer_the_same() {
    let (from, to) = (large(), Server::start(&[]));
    let child = binary()
        .args(["migrate", "--from", &from.address, "--token", KEY, "--sample-checks", "300", "--json"])
        .envs([("IDHINI_ADDR", to.address.as_str()), ("IDHINI_TOKEN", KEY)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let child = followed(child);
    let write = |arguments: &[&str]| assert_eq!(from.run(&[&["relationship"], arguments].concat()).status, 0);
    write(&["touch", "document:new", "owner", "user:new"]);
    write(&["delete", "document:d7", "owner", "user:u7"]);
    write(&["touch", "document:open", "viewer", "user:bob", "--caveat", "only_on:{\"day\":\"tuesday\"}"]);
    let schema = SCHEMA.replace("permission edit", "relation seen: user\n  permission edit");
    let environment = [("IDHINI_ADDR", from.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(run(&["schema", "write", "-"], &environment, &schema).status, 0);
    write(&["touch", "document:new", "seen", "user:new"]);
    assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
    let output = child.0.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = messages(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!(told["isSame"], true, "{told}");
    assert_eq!((told["updates"].as_u64(), told["schemas"].as_u64()), (Some(4), Some(1)), "{told}");
    assert_eq!(told["repaired"]["missing"], 0, "{told}");
    assert_eq!((told["checks"]["same"].as_u64(), told["checks"]["differing"].as_u64()), (Some(300), Some(0)));
    assert!(told["checks"]["has"].as_u64().unwrap() > 30, "{told}");
    assert_eq!(everything(&from), everything(&to));
    assert_eq!(from.run(&["schema", "read"]).stdout, to.run(&["schema", "read"]).stdout);
}

/// Waits until it follows what changes.
fn followed(mut child: Child) -> (Child, std::thread::JoinHandle<()>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("following")));
    // Whoever writes to nobody's pipe ends.
    (child, std::thread::spawn(move || lines.for_each(drop)))
}

#[test]
fn the_metadata_of_a_change_moves_with_it() {
    let (from, to) = (Server::furnished(), Server::start(&[]));
    let child = binary()
        .args(["migrate", "--from", &from.address, "--from-token", KEY, "--sample-checks", "10"])
        .envs([("IDHINI_ADDR", to.address.as_str()), ("IDHINI_TOKEN", KEY)])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut child, _lines) = followed(child);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut request = crate::process::touch(&["document:m#owner@user:m"]);
        let by = idhini_model::Context::from_json(r#"{"by":"the test"}"#).unwrap();
        request.optional_transaction_metadata = Some(idhini_wire::context_message(by));
        from.permissions().await.write_relationships(request).await.unwrap();
    });
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(to.run(&["history", "document:m"]).stdout.contains(r#"{"by":"the test"}"#));
}

#[test]
fn a_server_that_is_not_empty_is_only_filled_to_go_on_and_then_is_the_same() {
    let (from, to) = (large(), Server::furnished());
    assert_eq!(to.run(&["relationship", "create", "document:stale", "owner", "user:x"]).status, 0);
    let refused = migrate(&from, &to, &["--until-caught-up"]);
    assert_eq!(refused.status, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("--resume"), "{}", refused.stderr);
    assert_eq!(
        to.run(&["relationship", "read", "document:stale"]).stdout.lines().count(),
        1,
        "nothing was touched"
    );
    let resumed = migrate(&from, &to, &["--until-caught-up", "--resume"]);
    assert_eq!(resumed.status, 0, "{}{}", resumed.stdout, resumed.stderr);
    assert!(resumed.stderr.contains("deleted 1 relationships"), "{}", resumed.stderr);
    assert_eq!(everything(&from), everything(&to));
    assert!(resumed.stdout.lines().last().unwrap().starts_with("same"), "{}", resumed.stdout);
}

#[test]
fn what_answers_otherwise_is_a_difference() {
    let (from, to) = (Server::furnished(), Server::start(&[]));
    let child = binary()
        .args(["migrate", "--from", &from.address, "--from-token", KEY, "--sample-checks", "200", "--json"])
        .envs([("IDHINI_ADDR", to.address.as_str()), ("IDHINI_TOKEN", KEY)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (child, _lines) = followed(child);
    // Somebody else changes what permissions mean there, and no change of the source says otherwise.
    let schema = SCHEMA.replace("permission view = viewer + edit - banned", "permission view = banned");
    let environment = [("IDHINI_ADDR", to.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(run(&["schema", "write", "-"], &environment, &schema).status, 0);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = messages(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!((output.status.code(), told["isSame"].as_bool()), (Some(1), Some(false)), "{told}");
    assert!(told["checks"]["differing"].as_u64().unwrap() > 0, "{told}");
    assert!(told["checks"]["examples"][0]["question"].as_str().unwrap().contains("view@"), "{told}");
}

#[test]
fn a_source_that_cannot_be_moved_from_is_named() {
    let (from, to) = (Server::start(&[]), Server::start(&[]));
    let empty = migrate(&from, &to, &["--until-caught-up"]);
    assert_eq!(empty.status, 4, "{}", empty.stderr);
    assert!(empty.stderr.contains("has no schema"), "{}", empty.stderr);
    let arguments = ["migrate", "--from", &from.address, "--from-token", "wrong"];
    assert_eq!(to.run(&arguments).status, 4);
    let beyond = to.run(&["migrate", "--from", "192.0.2.1:50051", "--from-token", "x"]);
    assert_eq!(beyond.status, 3);
    assert!(beyond.stderr.contains("--from-tls"), "{}", beyond.stderr);
}

#[test]
fn the_server_to_fill_is_known_by_the_client_file_if_no_key_is_set() {
    let (from, to) = (Server::furnished(), Server::start(&[]));
    let text = format!("[[server]]\naddress = \"{}\"\ntoken = \"{KEY}\"\n", to.address);
    let folder = folder(&[("client.toml", text.as_str())]);
    let file = folder.join("client.toml");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for given in [["--token", KEY], ["--from-token", KEY]] {
        let arguments =
            ["migrate", "--from", &from.address, "--until-caught-up", "--resume", "--sample-checks", "10"];
        let environment =
            [("IDHINI_ADDR", to.address.as_str()), ("IDHINI_CLIENT_FILE", file.to_str().unwrap())];
        let outcome = run(&[&arguments[..], &given].concat(), &environment, "");
        assert_eq!(outcome.status, 0, "{given:?}: {}", outcome.stderr);
    }
    assert_eq!(everything(&from), everything(&to));
}

#[test]
fn a_second_interrupt_ends_a_migration_at_once() {
    let (from, to) = (Server::furnished(), Server::start(&[]));
    let child = binary()
        .args(["migrate", "--from", &from.address, "--from-token", KEY, "--sample-checks", "10"])
        .envs([("IDHINI_ADDR", to.address.as_str()), ("IDHINI_TOKEN", KEY)])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = child;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let interrupt = || {
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    };
    assert!(lines.any(|line| line.starts_with("following")));
    interrupt();
    assert!(lines.any(|line| line.starts_with("cutting over")));
    interrupt();
    let said: Vec<String> = lines.collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{said:?}");
    assert!(said.concat().contains("--resume"), "{said:?}");
}

#[test]
fn a_server_is_not_moved_to_itself() {
    let server = Server::furnished();
    let before = everything(&server);
    let from = server.address.replace("127.0.0.1", "localhost");
    let outcome =
        server.run(&["migrate", "--from", &from, "--from-token", KEY, "--until-caught-up", "--resume"]);
    assert_eq!(outcome.status, 3, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("IDHINI_ADDR"), "{}", outcome.stderr);
    assert_eq!(everything(&server), before);
}
