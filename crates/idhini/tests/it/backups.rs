//! Backups: taken from a running server, added to, checked, gone back to.

use std::path::Path;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;

use crate::durable::{now, viewers, write};
use crate::process::{KEY, Outcome, Server, folder, of_type};

const SCHEMA: &str = "definition user {} definition document { relation viewer: user }";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(arguments: &[&str]) -> Outcome {
    crate::process::run(arguments, &[("IDHINI_TOKEN", KEY)], "")
}

/// Runs a command, which must do its work.
fn done(arguments: &[&str]) -> String {
    let Outcome { status, stdout, stderr } = run(arguments);
    assert_eq!(status, 0, "{arguments:?}: {stderr}");
    stdout
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&done(&[arguments, &["--json"]].concat())).unwrap()
}

fn refused(arguments: &[&str], says: &str) {
    let Outcome { status, stderr, .. } = run(arguments);
    assert!(status >= 3 && stderr.contains(says) && stderr.contains("next"), "{arguments:?}: {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_added_to_and_gone_back_to() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let path = |name: &str| folder.join(name);
    let (data, backup, schema) = (path("data"), path("backup"), path("s.zed"));
    let server = Server::durable(&["--data-dir", text(&data), "--schema", text(&schema)]);
    let first = write(&server, &["document:a#viewer@user:ann"]).await;
    let take = ["--addr", &server.address, "backup", text(&backup)];
    let taken = json(&take);
    assert_eq!(taken["logs"][0]["newEntries"], 2);
    // What was written after, and when.
    let moment = now();
    while now() == moment {
        tokio::task::yield_now().await;
    }
    let second = write(&server, &["document:b#viewer@user:ann"]).await;
    assert_eq!(json(&take)["logs"][0]["newEntries"], 1);
    assert_eq!(json(&take)["logs"][0]["newEntries"], 0);
    let verified = json(&["backup", "verify", text(&backup)]);
    assert_eq!(
        (&verified["logs"][0]["newest"], &verified["logs"][0]["relationships"]),
        (&3.into(), &2.into())
    );
    write(&server, &["document:lost#viewer@user:ann"]).await;
    server.kill();

    for (name, to, wanted) in [
        ("newest", None, vec!["a", "b"]),
        ("revision", Some("2"), vec!["a"]),
        ("moment", Some(moment.as_str()), vec!["a"]),
    ] {
        let restored = path(name);
        let mut arguments = vec!["restore", text(&backup), "--data-dir", text(&restored)];
        arguments.extend(to.iter().flat_map(|to| ["--to", to]));
        done(&arguments);
        let server = Server::durable(&["--data-dir", text(&restored)]);
        assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await, wanted, "{name}");
        // Tokens of the history that ended ask for what is as fresh as can be; a snapshot of it is no more.
        assert_eq!(viewers(&server, Requirement::AtLeastAsFresh(second.clone())).await, wanted, "{name}");
        let request = v1::ReadRelationshipsRequest {
            consistency: Some(v1::Consistency {
                requirement: Some(Requirement::AtExactSnapshot(first.clone())),
            }),
            relationship_filter: Some(of_type("document")),
            ..Default::default()
        };
        let ended = server.permissions().await.read_relationships(request).await.unwrap_err();
        assert!(
            ended.message().contains("no longer known") || ended.message().contains("restore"),
            "{ended:?}"
        );
        // It goes on from there, and its own past is there too.
        let token = write(&server, &["document:new#viewer@user:ann"]).await;
        let now = viewers(&server, Requirement::AtExactSnapshot(token)).await;
        assert_eq!(now.len(), wanted.len() + 1);
        // A backup of another history goes to a directory of its own.
        refused(&["--addr", &server.address, "backup", text(&backup)], "a restore ended");
        server.stop();
        refused(&arguments, "not empty");
    }
    refused(&["restore", text(&backup), "--data-dir", text(&path("x")), "--to", "9"], "not in the backup");
    refused(&["restore", text(&folder), "--data-dir", text(&path("y"))], "is not a backup");
    refused(&["backup", "verify", text(&path("nothing"))], "is not a backup");
    // Whatever changes in what a backup says of itself is noticed: a restore would give it on.
    let facts = std::fs::read(backup.join("backup")).unwrap();
    for at in 0..facts.len() {
        let mut bad = facts.clone();
        bad[at] ^= 1;
        std::fs::write(backup.join("backup"), bad).unwrap();
        refused(&["backup", "verify", text(&backup)], "`backup` is damaged");
    }
    std::fs::write(backup.join("backup"), facts).unwrap();
    // A backup is no data directory, and a restore that was cut short is none either.
    refused(
        &["serve", "--data-dir", text(&backup), "--grpc-addr", "127.0.0.1:0", "--preshared-key", "k"],
        "missing",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_begins_with_an_image_when_the_log_was_trimmed() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let path = |name: &str| folder.join(name);
    let (data, backup, schema) = (path("data"), path("backup"), path("s.zed"));
    let server = Server::durable(&["--data-dir", text(&data), "--schema", text(&schema), "--history", "0s"]);
    for n in 0..5 {
        write(&server, &[&format!("document:d{n}#viewer@user:ann")]).await;
    }
    // Two images, so that the log before the first can go: each stop writes one.
    server.stop();
    let server = Server::durable(&["--data-dir", text(&data), "--history", "0s"]);
    write(&server, &["document:d5#viewer@user:ann"]).await;
    server.stop();
    let server = Server::durable(&["--data-dir", text(&data), "--history", "0s"]);
    let oldest = || -> u64 {
        let printed = done(&["debug", "log", "--data-dir", text(&data), "--entries"]);
        printed.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    // The log says so with the next write at the latest.
    let mut count = 6;
    while oldest() == 1 {
        write(&server, &[&format!("document:d{count}#viewer@user:ann")]).await;
        count += 1;
    }
    done(&["--addr", &server.address, "backup", text(&backup)]);
    server.kill();
    let verified = json(&["backup", "verify", text(&backup)]);
    assert_eq!(verified["logs"][0]["relationships"], count);
    done(&["restore", text(&backup), "--data-dir", text(&path("restored"))]);
    let server = Server::durable(&["--data-dir", text(&path("restored"))]);
    assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await.len(), count);
    server.stop();
    // Damage is found, or harms nothing: there may be files that are not needed any more.
    let whole = done(&["backup", "verify", text(&backup)]);
    let mut found = [0, 0];
    for (part, name) in ["log", "images/0000000000000001"].iter().enumerate() {
        for file in std::fs::read_dir(backup.join(name)).unwrap().map(|entry| entry.unwrap().path()) {
            let good = std::fs::read(&file).unwrap();
            let end = good.iter().rposition(|byte| *byte != 0).unwrap();
            for at in [9, end / 2, end] {
                let mut bad = good.clone();
                bad[at] ^= 4;
                std::fs::write(&file, bad).unwrap();
                let outcome = run(&["backup", "verify", text(&backup)]);
                assert!(outcome.status != 0 || outcome.stdout == whole, "{} byte {at}", file.display());
                found[part] += usize::from(outcome.status != 0);
            }
            std::fs::write(&file, good).unwrap();
        }
    }
    assert!(found.iter().all(|found| *found >= 2), "{found:?}");
    // What is there, for people.
    let images = done(&["debug", "images", "--data-dir", text(&data)]);
    assert!(images.contains("good") && images.contains("relationships"), "{images}");
    let segments = done(&["debug", "log", "--data-dir", text(&data)]);
    assert!(segments.contains("segment"), "{segments}");
    refused(&["debug", "log", "--data-dir", text(&path("nowhere"))], "is not a directory");
}
