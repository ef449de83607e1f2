//! Checks that go the short way and those that go the long one: nobody can tell them apart.
//!
//! The long way is taken by whoever says how the request is encoded, even if it is not.

use std::collections::HashMap;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use prost::Message as _;
use prost_types::value::Kind;
use tonic::{Request, Status};

use crate::process::{SCHEMA, Server, check, folder, reason};

const RELATIONSHIPS: &str = r#"group:eng#member@user:tom
document:readme#viewer@group:eng#member
document:readme#viewer@user:bob
document:readme#banned@user:bob
document:readme#viewer@user:eve[only_on:{"day":"tuesday"}]
document:readme#viewer@user:ann[expiration:2100-01-01T00:00:00Z]
"#;

/// What a client hears of a call: the message, or code, text and details; and what stands beside it but for ids and costs.
type Heard = (Result<Vec<u8>, Refused>, Vec<String>);
/// Code, text, and the reason with its metadata.
type Refused = (tonic::Code, String, (String, HashMap<String, String>));

async fn heard(server: &Server, request: &v1::CheckPermissionRequest, is_long: bool) -> Heard {
    let mut request = Request::new(request.clone());
    if is_long {
        request.metadata_mut().insert("grpc-encoding", "identity".parse().unwrap());
    }
    let answered = server.permissions().await.check_permission(request).await;
    let metadata = match &answered {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    let mut beside: Vec<String> =
        metadata.keys().map(|key| format!("{key:?}")).filter(|key| !key.contains("date")).collect();
    beside.sort();
    let told = |status: Status| (status.code(), status.message().to_owned(), reason(&status));
    (answered.map(|response| response.into_inner().encode_to_vec()).map_err(told), beside)
}

fn with_context(fields: &[(&str, Kind)]) -> v1::CheckPermissionRequest {
    let value = |kind: &Kind| prost_types::Value { kind: Some(kind.clone()) };
    let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), value(kind))).collect();
    let context = Some(prost_types::Struct { fields });
    v1::CheckPermissionRequest { context, ..check("document:readme", "view", "user:eve") }
}

fn requiring(requirement: Option<Requirement>) -> v1::CheckPermissionRequest {
    let consistency = Some(v1::Consistency { requirement });
    v1::CheckPermissionRequest { consistency, ..check("document:readme", "view", "user:tom") }
}

fn requests(token: &v1::ZedToken) -> Vec<v1::CheckPermissionRequest> {
    let long = "x".repeat(1_025);
    let mut requests: Vec<_> = [
        ("document:readme", "view", "user:tom"),
        ("document:readme", "view", "user:bob"),
        ("document:readme", "view", "user:eve"),
        ("document:readme", "view", "user:ann"),
        ("document:readme", "view", "user:nobody"),
        ("document:readme", "view", "group:eng#member"),
        ("document:readme", "view", "group:eng#..."),
        ("document:readme", "view", "group:eng#nothing"),
        ("document:readme", "view", "user:*"),
        ("document:*", "view", "user:tom"),
        ("document:readme", "nothing", "user:tom"),
        ("document:readme", "", "user:tom"),
        ("document:readme", "View", "user:tom"),
        ("nothing:readme", "view", "user:tom"),
        ("document:readme", "view", "nothing:tom"),
        ("document:read me", "view", "user:tom"),
        ("document:", "view", "user:tom"),
        ("document:readme", "view", "user:ü"),
        ("d:readme", "view", "user:tom"),
        (&format!("document:{long}"), "view", "user:tom"),
    ]
    .into_iter()
    .map(|(resource, permission, subject)| check(resource, permission, subject))
    .collect();
    let whole = check("document:readme", "view", "user:tom");
    requests.push(v1::CheckPermissionRequest { resource: None, ..whole.clone() });
    requests.push(v1::CheckPermissionRequest { subject: None, ..whole.clone() });
    requests.push(v1::CheckPermissionRequest { subject: Some(v1::SubjectReference::default()), ..whole });
    requests.push(v1::CheckPermissionRequest {
        with_tracing: true,
        ..check("document:readme", "view", "user:bob")
    });
    requests.push(v1::CheckPermissionRequest::default());
    requests.push(with_context(&[("level", Kind::NumberValue(5.0))]));
    requests.push(with_context(&[("level", Kind::NumberValue(f64::NAN))]));
    requests.push(with_context(&[("level", Kind::StringValue("high".to_owned()))]));
    requests.push(with_context(&[("note", Kind::StringValue("x".repeat(5_000)))]));
    let strange = v1::ZedToken { token: "strange".to_owned() };
    requests.extend(
        [
            None,
            Some(Requirement::MinimizeLatency(true)),
            Some(Requirement::MinimizeLatency(false)),
            Some(Requirement::FullyConsistent(true)),
            Some(Requirement::FullyConsistent(false)),
            Some(Requirement::AtLeastAsFresh(token.clone())),
            Some(Requirement::AtExactSnapshot(token.clone())),
            Some(Requirement::AtLeastAsFresh(strange.clone())),
            Some(Requirement::AtExactSnapshot(strange)),
        ]
        .map(requiring),
    );
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_hears_the_same_whichever_way_it_goes() {
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let server = Server::start(&["--schema", &path("s.zed"), "--relationships", &path("r.txt")]);
    let first =
        server.permissions().await.check_permission(check("document:readme", "view", "user:tom")).await;
    let token = first.unwrap().into_inner().checked_at.unwrap();
    let mut refused = 0;
    for request in requests(&token) {
        let short = heard(&server, &request, false).await;
        assert_eq!(short, heard(&server, &request, true).await, "{request:?}");
        refused += usize::from(short.0.is_err());
    }
    assert!(refused > 15, "{refused} are refused");
}
