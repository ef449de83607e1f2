//! What a server starts with: both files or nothing, and only where nothing is stored.

use std::path::Path;

use idhini_wire::authzed::api::v1::consistency::Requirement;

use crate::durable::{viewers, write};
use crate::process::{KEY, Server, binary, folder, run};

const SCHEMA: &str = "definition user {} definition document { relation viewer: user }";
const OTHER: &str = "definition user {} definition document { relation viewer: user; relation owner: user }";
const GOOD: &str = "document:a#viewer@user:ann\ndocument:b#viewer@user:ann\n";

fn arguments<'a>(data: &'a Path, schema: &'a Path, relationships: &'a Path) -> Vec<&'a str> {
    let text = |path: &'a Path| path.to_str().unwrap();
    vec!["--data-dir", text(data), "--schema", text(schema), "--relationships", text(relationships)]
}

/// What a start that goes well says on standard error, and who may view.
async fn started(arguments: &[&str], said: &Path) -> (String, Vec<String>) {
    let mut command = binary();
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]).args(arguments);
    command.stderr(std::fs::File::create(said).unwrap());
    let server = Server::of(command);
    let found = viewers(&server, Requirement::FullyConsistent(true)).await;
    server.stop();
    (std::fs::read_to_string(said).unwrap(), found)
}

#[tokio::test]
async fn nothing_is_written_before_both_files_are_good() {
    for (bad, says) in [
        ("document:a#viewer@user:ann\n\ndocument:b#viewer@\n", "line 3"),
        ("// two\ndocument:a#viewer@user:ann\ndocument:b#owner@user:ann\n", "line 3"),
        ("document:a#viewer@user:ann\ndocument:a#viewer@user:ann\n", "line 2"),
    ] {
        let folder = folder(&[("s.zed", SCHEMA), ("bad.txt", bad), ("good.txt", GOOD)]);
        let (data, schema) = (folder.join("data"), folder.join("s.zed"));
        let serve = ["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY];
        let bad = folder.join("bad.txt");
        let outcome = run(&[&serve[..], &arguments(&data, &schema, &bad)].concat(), &[], "");
        assert!(outcome.status >= 3 && outcome.stderr.contains(says), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("bad.txt"), "{}", outcome.stderr);
        let entries = ["debug", "log", "--entries", "--data-dir", data.to_str().unwrap()];
        assert_eq!(run(&entries, &[], "").stdout, "");
        let good = folder.join("good.txt");
        let (said, found) = started(&arguments(&data, &schema, &good), &folder.join("said")).await;
        assert_eq!((said.as_str(), found.len()), ("", 2));
    }
}

#[tokio::test]
async fn a_start_that_ended_after_the_schema_is_made_good() {
    let folder = folder(&[("s.zed", SCHEMA), ("o.zed", OTHER), ("good.txt", GOOD)]);
    let (data, said) = (folder.join("data"), folder.join("said"));
    let (schema, other, good) = (folder.join("s.zed"), folder.join("o.zed"), folder.join("good.txt"));
    Server::durable(&arguments(&data, &schema, &good)[..4]).kill();
    let ignored = format!("are only for an empty directory: {} has data already", data.display());
    // Not with another schema.
    let (text, found) = started(&arguments(&data, &other, &good), &said).await;
    assert!(text.contains(&ignored) && found.is_empty(), "{text} {found:?}");
    let (text, found) = started(&arguments(&data, &schema, &good), &said).await;
    assert_eq!((text.as_str(), found.len()), ("", 2));
    // Never a second time.
    let server = Server::durable(&["--data-dir", data.to_str().unwrap()]);
    write(&server, &["document:c#viewer@user:ann"]).await;
    server.stop();
    let (text, found) = started(&arguments(&data, &schema, &good), &said).await;
    assert!(text.contains(&ignored) && found.len() == 3, "{text} {found:?}");
}
