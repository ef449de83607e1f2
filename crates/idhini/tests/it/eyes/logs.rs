//! Log lines: what is told of calls, and what never is.

use idhini_wire::authzed::api::v1;
use tonic::{Code, Request};

use super::{Seen, limit_files, that_survives_long_files, until};
use crate::process::{KEY, binary, check, folder, of_type, touch};

/// Bytes that a file may have once the disk is to refuse.
const NOTHING_FITS: u64 = 1;

fn with_id<T>(message: T, id: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", id.parse().unwrap());
    request
}

#[tokio::test]
async fn at_info_no_secret_and_nothing_of_a_relationship_is_told() {
    let relationships = "document:plantedresource#viewer@user:plantedsubject\n\
                         document:plantedresource#viewer@user:other[only_on:{\"day\":\"plantedcontext\"}]\n";
    let folder = folder(&[("s.zed", crate::process::SCHEMA), ("r.txt", relationships)]);
    let seen = Seen::in_folder(that_survives_long_files(), &folder, &["--log-level", "info"]);
    let mut permissions = seen.server.permissions().await;
    // Good calls, bad calls, a stranger, and failures of the server's own.
    permissions
        .check_permission(check("document:plantedresource", "view", "user:plantedsubject"))
        .await
        .unwrap();
    permissions
        .check_permission(check("document:plantedresource", "plantedpermission", "user:a"))
        .await
        .unwrap_err();
    permissions.check_permission(check("document:planted resource", "view", "user:a")).await.unwrap_err();
    permissions.write_relationships(touch(&["document:a#viewer@user:plantedsubject"])).await.unwrap();
    permissions.write_relationships(touch(&["document:plantedresource#nowhere@user:a"])).await.unwrap_err();
    let rows =
        v1::ReadRelationshipsRequest { relationship_filter: Some(of_type("document")), ..Default::default() };
    let mut rows = permissions.read_relationships(rows).await.unwrap().into_inner();
    while rows.message().await.unwrap().is_some() {}
    let wrong = crate::process::run(
        &["check", "document:plantedresource", "view", "user:plantedsubject"],
        &[("IDHINI_ADDR", &seen.server.address), ("IDHINI_TOKEN", "plantedkey")],
        "",
    );
    assert_eq!(wrong.status, 4);
    limit_files(&seen.server, Some(NOTHING_FITS));
    let refused = permissions.write_relationships(touch(&["document:b#viewer@user:plantedsubject"])).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unknown);
    limit_files(&seen.server, None);
    let data = folder.join("data");
    let (status, said) = seen.stop();
    assert_eq!(status, Some(0));
    assert!(said.contains("call failed"), "{said}");
    for planted in ["planted", KEY, "resource", "document:", "user:"] {
        assert!(!said.contains(planted), "`{planted}` in {said}");
    }
    // The key that seals tokens, as anything might print it.
    let identity = std::fs::read(data.join("identity")).unwrap();
    for part in identity.windows(12) {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!said.contains(&hex), "the identity in {said}");
    }
}

#[tokio::test]
async fn a_failure_of_the_server_is_told_once_with_its_cause_and_the_callers_request_id() {
    let seen = Seen::of(that_survives_long_files(), &["--log-level", "warn"]);
    let mut permissions = seen.server.permissions().await;
    permissions.write_relationships(with_id(touch(&["document:a#viewer@user:a"]), "good")).await.unwrap();
    assert_eq!(seen.said(), "");
    limit_files(&seen.server, Some(NOTHING_FITS));
    let refused =
        permissions.write_relationships(with_id(touch(&["document:b#viewer@user:a"]), "the id")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unknown);
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "the id");
    let told = || seen.lines().into_iter().filter(|line| line["request_id"] == "the id").collect::<Vec<_>>();
    until("the call is told", || !told().is_empty()).await;
    let told = told();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&told["level"], &told["message"]), (&"WARN".into(), &"call failed".into()), "{told}");
    assert_eq!(told["call"], "authzed.api.v1.PermissionsService/WriteRelationships");
    assert_eq!(told["code"], "UNKNOWN");
    assert!(told["duration_ms"].as_f64().unwrap() > 0.0, "{told}");
    // What the disk said is in the log, and not in the answer.
    assert!(told["cause"].as_str().unwrap().contains("File too large"), "{told}");
    assert!(!refused.message().contains("File too large"), "{refused:?}");
    // What a caller does wrong is nobody else's business.
    permissions.check_permission(check("document:a", "nothing", "user:a")).await.unwrap_err();
    limit_files(&seen.server, None);
    permissions.write_relationships(touch(&["document:b#viewer@user:a"])).await.unwrap();
    let (_, said) = seen.stop();
    assert_eq!(said.matches("call failed").count(), 1, "{said}");
}

#[tokio::test]
async fn at_debug_each_call_is_told_with_the_id_that_its_answer_carries() {
    let seen = Seen::start(&["--log-level", "debug"]);
    let mut permissions = seen.server.permissions().await;
    let answer = permissions.check_permission(check("document:readme", "view", "user:tom")).await.unwrap();
    let id = answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let edges = answer.metadata().get("io.spicedb.respmeta.dispatchedoperationscount").unwrap().clone();
    let told = || {
        let told =
            |line: &serde_json::Value| line["message"] == "call ended" && line["request_id"] == id.as_str();
        seen.lines().into_iter().filter(told).collect::<Vec<_>>()
    };
    until("the call is told", || !told().is_empty()).await;
    let told = told();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!(told["call"], "authzed.api.v1.PermissionsService/CheckPermission");
    assert_eq!((&told["level"], &told["code"]), (&"DEBUG".into(), &"OK".into()));
    assert_eq!(told["cost"].to_string(), edges.to_str().unwrap());
    assert_eq!(told["span"]["request_id"], id.as_str());
}

#[tokio::test]
async fn a_request_id_stands_before_and_behind_a_streams_messages() {
    let seen = Seen::start(&[]);
    let request =
        v1::ReadRelationshipsRequest { relationship_filter: Some(of_type("document")), ..Default::default() };
    let answer = seen.server.permissions().await.read_relationships(with_id(request, "mine")).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine");
    let mut rows = answer.into_inner();
    while rows.message().await.unwrap().is_some() {}
    let trailers = rows.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("x-request-id").unwrap(), "mine");
    assert_eq!(trailers.get("io.spicedb.respmeta.requestid").unwrap(), "mine");
}

#[tokio::test]
async fn a_client_that_leaves_is_told_as_cancelled() {
    let seen = Seen::start(&["--log-level", "debug"]);
    let watching = seen.server.watches().await.watch(v1::WatchRequest::default()).await.unwrap();
    drop(watching);
    let is_cancelled = |line: &serde_json::Value| {
        line["call"] == "authzed.api.v1.WatchService/Watch" && line["code"] == "CANCELLED"
    };
    until("the watch is over", || seen.lines().iter().any(is_cancelled)).await;
    until("nobody watches", || seen.metric("idhini_watchers") == Some(0.0)).await;
}

#[test]
fn lines_for_people_are_no_json_and_a_start_that_goes_well_says_nothing() {
    let seen = Seen::start(&["--log-format", "human", "--log-level", "info"]);
    assert_eq!(seen.said(), "");
    let folder = folder(&[("s.zed", crate::process::SCHEMA), ("r.txt", crate::process::RELATIONSHIPS)]);
    Seen::in_folder(binary(), &folder, &[]).stop();
    let again = Seen::in_folder(binary(), &folder, &["--log-format", "human"]);
    let (status, said) = again.stop();
    assert_eq!(status, Some(0));
    assert!(said.contains(" WARN ") && said.contains("are only for an empty directory"), "{said}");
    assert!(!said.contains('{') && said.lines().count() == 1, "{said}");
    let (_, said) = Seen::in_folder(binary(), &folder, &[]).stop();
    let line: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(line["level"], "WARN");
}

#[test]
fn a_level_or_format_that_is_none_is_refused() {
    for (flag, wrong) in [("--log-level", "loud"), ("--log-format", "xml"), ("--otlp-sampling", "1.5")] {
        let outcome = crate::process::run(&["serve", "--ephemeral", flag, wrong], &[], "");
        assert!(outcome.status == 3 && outcome.stderr.contains(wrong), "{}", outcome.stderr);
    }
}
