//! A server with a data directory: what it has acknowledged outlives it, however it ends.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;

use crate::process::{KEY, RELATIONSHIPS, SCHEMA, Server, binary, check, folder, touch};

fn consistency(requirement: Requirement) -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(requirement) })
}

pub async fn write(server: &Server, texts: &[&str]) -> v1::ZedToken {
    server
        .permissions()
        .await
        .write_relationships(touch(texts))
        .await
        .unwrap()
        .into_inner()
        .written_at
        .unwrap()
}

pub async fn viewers(server: &Server, requirement: Requirement) -> Vec<String> {
    let request = v1::ReadRelationshipsRequest {
        consistency: consistency(requirement),
        relationship_filter: Some(v1::RelationshipFilter {
            resource_type: "document".to_owned(),
            optional_relation: "viewer".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut stream = server.permissions().await.read_relationships(request).await.unwrap().into_inner();
    let mut found = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        let relationship: idhini_model::Relationship = message.relationship.unwrap().try_into().unwrap();
        found.push(relationship.resource.object_id);
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_and_after_a_stop() {
    let folder = folder(&[("s.zed", "definition user {} definition document { relation viewer: user }")]);
    let data = folder.join("data");
    let schema = folder.join("s.zed");
    let arguments = ["--data-dir", data.to_str().unwrap(), "--schema", schema.to_str().unwrap()];
    let server = Server::durable(&arguments);
    let first = write(&server, &["document:a#viewer@user:ann"]).await;
    write(&server, &["document:b#viewer@user:ann"]).await;
    server.kill();
    // The schema is there already, so it is not written a second time.
    let server = Server::durable(&arguments);
    assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await, ["a", "b"]);
    let third = write(&server, &["document:c#viewer@user:ann"]).await;
    server.stop();
    let server = Server::durable(&arguments);
    // Tokens of earlier processes are good, and the past is where it was.
    assert_eq!(viewers(&server, Requirement::AtExactSnapshot(first.clone())).await, ["a"]);
    assert_eq!(viewers(&server, Requirement::AtLeastAsFresh(third.clone())).await, ["a", "b", "c"]);
    assert_eq!(viewers(&server, Requirement::AtExactSnapshot(third)).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn the_past_is_asked_about_by_its_moment() {
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
    let data = folder.join("data");
    let (schema, relationships) = (folder.join("s.zed"), folder.join("r.txt"));
    let server = Server::durable(&[
        "--data-dir",
        data.to_str().unwrap(),
        "--schema",
        schema.to_str().unwrap(),
        "--relationships",
        relationships.to_str().unwrap(),
    ]);
    let asked = |metadata: Option<&str>| {
        let mut request = tonic::Request::new(check("document:readme", "view", "user:zoe"));
        if let Some(text) = metadata {
            request.metadata_mut().insert("idhini-as-of", text.parse().unwrap());
        }
        request
    };
    let mut client = server.permissions().await;
    let has = v1::check_permission_response::Permissionship::HasPermission as i32;
    let before = client.check_permission(asked(None)).await.unwrap().into_inner();
    assert_ne!(before.permissionship, has);
    // The server's own clock, to the millisecond: entries of one moment are not told apart.
    let moment = now();
    while now() == moment {
        tokio::task::yield_now().await;
    }
    write(&server, &["document:readme#viewer@user:zoe"]).await;
    assert_eq!(client.check_permission(asked(None)).await.unwrap().into_inner().permissionship, has);
    let past = client.check_permission(asked(Some(&moment))).await.unwrap().into_inner();
    assert_eq!((past.permissionship, past.checked_at), (before.permissionship, before.checked_at));
    for (text, says) in [("2999-01-01T00:00:00Z", "still to come"), ("yesterday", "RFC 3339")] {
        let refused = client.check_permission(asked(Some(text))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains(says), "{refused:?}");
    }
}

/// Now, as request metadata has it.
#[expect(clippy::disallowed_methods, reason = "the test asks a real server about its own time")]
pub fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (seconds, nanos) = (since.as_secs().cast_signed(), i64::from(since.subsec_nanos()));
    idhini_model::Timestamp::new(seconds, nanos).unwrap().to_string()
}

#[test]
fn a_directory_is_held_by_one_server_at_a_time_and_must_be_one_of_ours() {
    let folder = folder(&[]);
    let data = folder.join("data");
    let server = Server::durable(&["--data-dir", data.to_str().unwrap()]);
    let second = || {
        let mut command = binary();
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
        command.args(["--data-dir", data.to_str().unwrap()]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(6));
        String::from_utf8(output.stderr).unwrap()
    };
    let held = second();
    assert!(held.contains(&format!("held by process {}", server.pid())), "{held}");
    server.stop();
    let identity = data.join("identity");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, text.replace("idhini data 1", "idhini data 7")).unwrap();
    let newer = second();
    assert!(newer.contains("has format 7") && newer.contains("a later one"), "{newer}");
    std::fs::write(&identity, text.replace("timeline 1", "timeline 2")).unwrap();
    assert!(second().contains("damaged"));
    std::fs::remove_file(&identity).unwrap();
    assert!(second().contains("`identity` is missing"));
    std::fs::write(&identity, text).unwrap();
    Server::durable(&["--data-dir", data.to_str().unwrap()]).stop();
}

/// Copies a directory that an earlier release left behind.
pub fn copied(name: &str) -> std::path::PathBuf {
    fn copy(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            match entry.file_type().unwrap().is_dir() {
                true => copy(&from, &to),
                false => drop(std::fs::copy(from, to).unwrap()),
            }
        }
    }
    let to = folder(&[]).join("data");
    copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/directories").join(name), &to);
    to
}

/// Format 1, as a server left it that was stopped once and then killed: two images, a closed segment and an open one.
#[tokio::test]
async fn a_directory_of_format_1_opens_with_all_that_is_in_it() {
    let data = copied("format-1");
    let server = Server::durable(&["--data-dir", data.to_str().unwrap(), "--history", "forever"]);
    assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await, ["b", "c"]);
    let token = "AQGZAwF5VrjEPcNsgMMAAAABkqK3h6BtcnIAAAAAAAAAA45sJPfdM4s_6sKI1YxVBzU";
    let past = v1::ZedToken { token: token.to_owned() };
    assert_eq!(viewers(&server, Requirement::AtExactSnapshot(past)).await, ["a"]);
    let mut client = server.permissions().await;
    let mut asked = check("document:b", "view", "user:bob");
    asked.context =
        Some(idhini_wire::context_message(idhini_model::Context::from_json(r#"{"day":"monday"}"#).unwrap()));
    // What is stored with the relationship wins.
    let has = v1::check_permission_response::Permissionship::HasPermission as i32;
    assert_eq!(client.check_permission(asked).await.unwrap().into_inner().permissionship, has);
    write(&server, &["document:d#viewer@group:eng#member"]).await;
    assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await, ["b", "c", "d"]);
}

#[test]
fn what_is_stored_is_its_owners_business() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = folder(&[]).join("data");
    Server::durable(&["--data-dir", data.to_str().unwrap()]).stop();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}
