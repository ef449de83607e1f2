//! Backups: taken from a running server, added to, checked, gone back to.

use std::path::Path;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::idhini::admin::v1 as admin;
use idhini_wire::idhini::admin::v1::admin_service_client::AdminServiceClient;
use tonic::Code;

use crate::durable::{now, viewers, write};
use crate::process::{KEY, Outcome, Server, folder, of_type, with_key};

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
        let printed = done(&arguments);
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
        assert!(ended.message().contains("a history that a restore ended"), "{ended:?}");
        // It goes on from there, and its own past is there too.
        let token = write(&server, &["document:new#viewer@user:ann"]).await;
        let now = viewers(&server, Requirement::AtExactSnapshot(token)).await;
        assert_eq!(now.len(), wanted.len() + 1);
        // What was restored is said, and when it was written.
        let said = verified["logs"][0]["writtenAt"].as_str().unwrap();
        assert!(name != "newest" || printed.contains(&format!("revision 3 of {said}")), "{printed}");
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
    // The first revision has no entry, only an image: what was before it is not known, and is not made up.
    let first = verified["logs"][0]["oldest"].to_string();
    done(&["restore", text(&backup), "--data-dir", text(&path("first")), "--to", &first]);
    let server = Server::durable(&["--data-dir", text(&path("first"))]);
    let request =
        v1::ReadRelationshipsRequest { relationship_filter: Some(of_type("document")), ..Default::default() };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("idhini-as-of", "1980-01-01T00:00:00Z".parse().unwrap());
    let refused_moment = server.permissions().await.read_relationships(request).await.unwrap_err();
    assert_eq!(refused_moment.code(), Code::OutOfRange, "{refused_moment:?}");
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
    refused(&["debug", "memory", "--data-dir", text(&path("nowhere"))], "is not a directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_counted_in_a_running_server_and_in_what_a_directory_makes_when_it_is_opened() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let (data, schema) = (folder.join("data"), folder.join("s.zed"));
    let server = Server::durable(&["--data-dir", text(&data), "--schema", text(&schema)]);
    for n in 0..20 {
        write(&server, &[&format!("document:d{n}#viewer@user:u{n}")]).await;
    }
    let running = &json(&["--addr", &server.address, "debug", "memory"])[0];
    let opened = &json(&["debug", "memory", "--data-dir", text(&data)])[0];
    let facts = |counted: &serde_json::Value| {
        ["log", "revision", "relationships"].map(|name| counted[name].as_u64().unwrap())
    };
    assert_eq!((facts(running), facts(opened)), ([1, 21, 20], [1, 21, 20]));
    // The server has the past at hand; what was just opened has not, nor were pages asked of it.
    assert_eq!((running["revisions"].as_u64(), opened["revisions"].as_u64()), (Some(21), Some(0)));
    let bytes = |counted: &serde_json::Value, part: &str| counted["bytes"][part].as_u64();
    assert!(bytes(running, "history") > Some(0) && bytes(opened, "history") == Some(0));
    assert_eq!((bytes(running, "searches"), bytes(opened, "searches")), (Some(0), None));
    for part in ["names", "forward_edges", "reverse_edges", "catalog", "log"] {
        assert!(bytes(running, part) > Some(0) && bytes(opened, part) > Some(0), "{part}");
    }
    let parts = running["bytes"].as_object().unwrap().values();
    assert_eq!(
        parts.map(|bytes| bytes.as_u64().unwrap()).sum::<u64>(),
        running["allBytes"].as_u64().unwrap()
    );
    let told = done(&["--addr", &server.address, "debug", "memory"]);
    // The namespace's, and behind it the control plane's.
    let of_root = told.find("log 2").unwrap();
    let told = told[..of_root].trim_end();
    let names: Vec<&str> = told.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.len(), running["bytes"].as_object().unwrap().len() + 1, "{told}");
    assert!(names.contains(&"history") && names.last() == Some(&"all"), "{told}");
    // Columns are aligned.
    let ends: Vec<usize> = told.lines().skip(1).map(|line| line.find(" bytes").unwrap()).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{told}");
    server.stop();
}

/// Copies a directory, as an operator might.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let into = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &into),
            false => drop(std::fs::copy(entry.path(), into).unwrap()),
        }
    }
}

/// All that is in a directory.
fn files(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

fn images(directory: &Path) -> Vec<std::path::PathBuf> {
    let images = files(&directory.join("images")).into_iter().map(|(path, _)| path);
    images.filter(|path| path.extension().is_some_and(|extension| extension == "image")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_of_a_backup_are_two_histories() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let path = |name: &str| folder.join(name);
    let (data, backup, schema) = (path("data"), path("backup"), path("s.zed"));
    let server = Server::durable(&["--data-dir", text(&data), "--schema", text(&schema)]);
    write(&server, &["document:a#viewer@user:ann"]).await;
    done(&["--addr", &server.address, "backup", text(&backup)]);
    server.stop();
    let mut timelines = Vec::new();
    for name in ["one", "two"] {
        let printed = json(&["restore", text(&backup), "--data-dir", text(&path(name))]);
        timelines.push(printed["timeline"].as_u64().unwrap());
    }
    assert!(timelines[0] != timelines[1] && !timelines.contains(&1), "{timelines:?}");
    // The first is backed up; the second is behind that backup and then beyond it.
    let of_one = path("backup of one");
    let one = Server::durable(&["--data-dir", text(&path("one"))]);
    write(&one, &["document:one#viewer@user:ann"]).await;
    done(&["--addr", &one.address, "backup", text(&of_one)]);
    let two = Server::durable(&["--data-dir", text(&path("two"))]);
    for n in 0..2 {
        refused(&["--addr", &two.address, "backup", text(&of_one)], "a restore ended");
        write(&two, &[&format!("document:two{n}#viewer@user:ann")]).await;
    }
    refused(&["--addr", &two.address, "backup", text(&of_one)], "a restore ended");
    one.stop();
    two.stop();
    // A copy of a data directory has the same timeline, and is still told apart: behind the backup, and beyond it.
    copy(&path("one"), &path("copy"));
    let one = Server::durable(&["--data-dir", text(&path("one"))]);
    write(&one, &["document:more#viewer@user:ann"]).await;
    done(&["--addr", &one.address, "backup", text(&of_one)]);
    one.stop();
    let before = files(&of_one);
    let copied = Server::durable(&["--data-dir", text(&path("copy"))]);
    let take = ["--addr", &copied.address, "backup", text(&of_one)];
    refused(&take, "another history: it ends at revision 4, and the server at revision 3");
    write(&copied, &["document:other#viewer@user:ann"]).await;
    refused(&take, "another history: the server has another entry at revision 4");
    write(&copied, &["document:others#viewer@user:ann"]).await;
    refused(&take, "take the backup to an empty directory");
    copied.stop();
    let unlocked = |files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.ends_with("lock")).collect()
    };
    assert!(unlocked(before) == unlocked(files(&of_one)), "nothing is added to it");
    done(&["backup", "verify", text(&of_one)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_has_lost_is_named() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let path = |name: &str| folder.join(name);
    let (data, backup, schema) = (path("data"), path("backup"), path("s.zed"));
    let options = ["--data-dir", text(&data), "--schema", text(&schema)];
    for n in 0..2 {
        let server = Server::durable(&options);
        write(&server, &[&format!("document:d{n}#viewer@user:ann")]).await;
        // Each stop has written an image.
        server.stop();
        let server = Server::durable(&options);
        done(&["--addr", &server.address, "backup", text(&backup)]);
        server.stop();
    }
    done(&["backup", "verify", text(&backup)]);
    let of_backup = images(&backup);
    assert!(of_backup.len() >= 2, "{of_backup:?}");
    for file in &of_backup {
        let (name, good) = (file.file_name().unwrap().to_str().unwrap(), std::fs::read(file).unwrap());
        let bent = |at: usize| {
            let mut bent = good.clone();
            bent[at] ^= 4;
            Some(bent)
        };
        let revision = name.split('.').next().unwrap().trim_start_matches('0');
        let missing = format!("the image of revision {revision} is missing");
        for (bytes, says) in [
            (bent(good.len() - 1), name),
            (bent(14), name),
            (Some(good[..good.len() / 2].to_vec()), name),
            (Some(Vec::new()), name),
            (None, missing.as_str()),
        ] {
            match &bytes {
                Some(bytes) => std::fs::write(file, bytes).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
            refused(&["backup", "verify", text(&backup)], "is not good");
            let printed = run(&["backup", "verify", text(&backup), "--json"]);
            let printed: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
            assert!(printed["faults"].to_string().contains(says), "{says}: {printed}");
        }
        std::fs::write(file, good).unwrap();
    }
    done(&["backup", "verify", text(&backup)]);
    // A log that has lost its end is not whole, and not the newest.
    let log = path("backup").join("log");
    let kept: Vec<_> = files(&log);
    for (file, _) in &kept {
        std::fs::remove_file(file).unwrap();
    }
    let lost = "the backup was made";
    assert!(run(&["backup", "verify", text(&backup)]).status != 0);
    refused(&["restore", text(&backup), "--data-dir", text(&path("short"))], lost);
    assert!(!path("short").exists());
    for (file, bytes) in kept {
        std::fs::write(file, bytes).unwrap();
    }
    // What is damaged is in the list of images too.
    let file = images(&data).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let look = ["debug", "images", "--data-dir", text(&data)];
    let Outcome { status, stdout, stderr } = run(&look);
    assert!(status != 0 && stdout.contains("damaged") && stderr.contains("not good"), "{stdout}{stderr}");
    let printed = run(&[&look[..], &["--json"]].concat());
    let printed: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    let verdicts: Vec<bool> =
        printed.as_array().unwrap().iter().map(|image| image["verdict"] == "good").collect();
    assert!(verdicts.contains(&false), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_says_how_far_it_reaches_and_is_only_looked_at() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let path = |name: &str| folder.join(name);
    let (data, backup, schema) = (path("data"), path("backup"), path("s.zed"));
    let server = Server::durable(&["--data-dir", text(&data), "--schema", text(&schema)]);
    write(&server, &["document:a#viewer@user:ann"]).await;
    let taken = json(&["--addr", &server.address, "backup", text(&backup)])["taken"].clone();
    write(&server, &["document:b#viewer@user:ann"]).await;
    server.kill();
    let taken = taken.as_str().unwrap();
    let later = path("later");
    let to = |moment| ["restore", text(&backup), "--data-dir", text(&later), "--to", moment];
    let (soon, mut after) = (now(), now());
    while after == soon {
        after = now();
    }
    refused(&to(&after), &format!("reaches to {taken}"));
    refused(&to("2999-01-01T00:00:00Z"), &format!("reaches to {taken}"));
    assert!(!later.exists());
    // Nothing in it changes, or is made: it may be on a medium that cannot be written.
    std::fs::remove_file(backup.join("lock")).unwrap();
    let before = files(&backup);
    assert!(done(&["backup", "verify", text(&backup)]).contains(taken));
    assert!(done(&to(taken)).contains("restored to revision 2 of "));
    assert!(files(&backup) == before, "it was changed");
    refused(&["backup", "verify", text(&path("typo"))], "is not a backup");
    refused(&["restore", text(&path("typo")), "--data-dir", text(&path("new"))], "is not a backup");
    assert!(!path("typo").exists() && !path("new").exists());
    // One of a release that did not say what is in it is verified and restored all the same.
    let facts = std::fs::read_to_string(backup.join("backup")).unwrap();
    let lines: Vec<&str> = facts.lines().collect();
    let lines = format!("idhini backup 1\n{}\n{}\n", lines[1], lines[2]);
    let checksum = idhini_graph::Digest::of(lines.as_bytes());
    std::fs::write(backup.join("backup"), format!("{lines}checksum {checksum}\n")).unwrap();
    let old = json(&["backup", "verify", text(&backup)]);
    assert_eq!((&old["logs"][0]["newest"], &old["taken"]), (&2.into(), &serde_json::Value::Null));
    done(&["restore", text(&backup), "--data-dir", text(&path("old")), "--to", "2999-01-01T00:00:00Z"]);
    // One that was never finished is not good, and restored with a word about it.
    let lines = format!("idhini backup 2\n{}\n", &lines["idhini backup 1\n".len()..].trim_end());
    let checksum = idhini_graph::Digest::of(lines.as_bytes());
    std::fs::write(backup.join("backup"), format!("{lines}checksum {checksum}\n")).unwrap();
    refused(&["backup", "verify", text(&backup)], "never finished");
    let begun = run(&["restore", text(&backup), "--data-dir", text(&path("begun"))]);
    assert!(begun.status == 0 && begun.stderr.contains("never finished"), "{}", begun.stderr);
    // Entries are one JSON value a line.
    let printed = done(&["debug", "log", "--data-dir", text(&data), "--entries", "--json"]);
    let of_log = |log: u64| {
        let entries = printed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_it = entries.filter(|entry| entry["log"] == log);
        of_it.map(|entry| entry["revision"].as_u64().unwrap()).collect::<Vec<u64>>()
    };
    // The namespace's, and the control plane's: its schema, and the tree that begins with its first administrator.
    assert_eq!((of_log(1), of_log(2)), (vec![1, 2, 3], vec![1, 2]));
}

#[tokio::test]
async fn a_log_that_there_is_not_is_not_found_and_none_is_made_of_it() {
    const UNKNOWN: u64 = 0x77;
    let folder = folder(&[("s.zed", SCHEMA)]);
    let (data, schema) = (folder.join("data"), folder.join("s.zed"));
    let server = Server::durable(&["--data-dir", text(&data), "--schema", text(&schema)]);
    let mut admin = AdminServiceClient::with_interceptor(server.channel().await, with_key);
    let logs = admin.describe(admin::DescribeRequest {}).await.unwrap().into_inner().logs;
    assert!(!logs.is_empty() && logs.iter().all(|log| log.id != UNKNOWN));
    admin.read_image(admin::ReadImageRequest { log: logs[0].id }).await.unwrap();
    let refused = admin.read_image(admin::ReadImageRequest { log: UNKNOWN }).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    let chunks = admin::ReadChunksRequest { log: UNKNOWN, revision: 1, places: vec![0] };
    let refused = admin.read_chunks(chunks).await.unwrap_err();
    assert!(refused.code() == Code::NotFound && refused.message().contains("Describe"), "{refused}");
    assert!(!data.join(format!("images/{UNKNOWN:016x}")).exists());
}
