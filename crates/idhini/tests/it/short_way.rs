//! Checks that go the short way and those that go the long one: nobody can tell them apart.
//!
//! The long way is taken by whoever says how the request is encoded, even if it is not.

use std::collections::{BTreeMap, HashMap};

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_bulk_permissions_pair::Response as Answered;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::google::rpc::ErrorInfo;
use prost::Message as _;
use prost_types::value::Kind;
use tonic::{Request, Response, Status};

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

/// On the short way, or on the long one.
fn going<M>(message: M, is_long: bool) -> Request<M> {
    let mut request = Request::new(message);
    if is_long {
        request.metadata_mut().insert("grpc-encoding", "identity".parse().unwrap());
    }
    request
}

fn heard_of<M: prost::Message>(answered: Result<Response<M>, Status>) -> Heard {
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

async fn heard(server: &Server, request: &v1::CheckPermissionRequest, is_long: bool) -> Heard {
    heard_of(server.permissions().await.check_permission(going(request.clone(), is_long)).await)
}

async fn heard_in_bulk(server: &Server, request: &v1::CheckBulkPermissionsRequest, is_long: bool) -> Heard {
    let answered = server.permissions().await.check_bulk_permissions(going(request.clone(), is_long)).await;
    heard_of(answered.map(|response| response.map(with_details_in_order)))
}

/// The metadata of an item's error are in no order.
fn with_details_in_order(mut response: v1::CheckBulkPermissionsResponse) -> v1::CheckBulkPermissionsResponse {
    for pair in &mut response.pairs {
        if let Some(Answered::Error(error)) = &mut pair.response {
            for detail in std::mem::take(&mut error.details) {
                let info = ErrorInfo::decode(detail.value.as_slice()).unwrap();
                let metadata: BTreeMap<_, _> = info.metadata.into_iter().collect();
                error.message +=
                    &format!(" {} {} {} {metadata:?}", detail.type_url, info.reason, info.domain);
            }
        }
    }
    response
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

fn item(of_one: &v1::CheckPermissionRequest) -> v1::CheckBulkPermissionsRequestItem {
    let v1::CheckPermissionRequest { resource, permission, subject, context, .. } = of_one.clone();
    v1::CheckBulkPermissionsRequestItem { resource, permission, subject, context }
}

/// Each single request among others, and what only a bulk can be.
fn bulks(token: &v1::ZedToken) -> Vec<v1::CheckBulkPermissionsRequest> {
    let singles = requests(token);
    let good = ["tom", "bob", "eve", "ann", "nobody"]
        .map(|user| item(&check("document:readme", "view", &format!("user:{user}"))));
    let among = |of_one: &v1::CheckPermissionRequest| {
        let mut items = good.to_vec();
        items.insert(2, item(of_one));
        items.push(item(of_one));
        let (consistency, with_tracing) = (of_one.consistency.clone(), of_one.with_tracing);
        v1::CheckBulkPermissionsRequest { consistency, items, with_tracing }
    };
    let of = |items| v1::CheckBulkPermissionsRequest { items, ..Default::default() };
    let answerable = |items: &[usize]| of(items.iter().map(|at| item(&singles[*at])).collect());
    let mut bulks: Vec<_> = singles.iter().map(among).collect();
    bulks.push(of(Vec::new()));
    // Every kind of answer, mistakes of single items among them.
    bulks.push(answerable(&[0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14, 25, 27]));
    bulks.push(of(good.iter().cycle().take(700).cloned().collect()));
    bulks.push(of(good.iter().cycle().take(3_000).cloned().collect()));
    bulks.push(of(good.iter().cycle().take(10_001).cloned().collect()));
    bulks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bulk_hears_the_same_whichever_way_it_goes() {
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let server = Server::start(&["--schema", &path("s.zed"), "--relationships", &path("r.txt")]);
    let first =
        server.permissions().await.check_permission(check("document:readme", "view", "user:tom")).await;
    let token = first.unwrap().into_inner().checked_at.unwrap();
    let bulks = bulks(&token);
    let mut refused = 0;
    for request in &bulks {
        let short = heard_in_bulk(&server, request, false).await;
        assert_eq!(short, heard_in_bulk(&server, request, true).await, "{request:?}");
        if let Ok(bytes) = &short.0 {
            let answer = v1::CheckBulkPermissionsResponse::decode(bytes.as_slice()).unwrap();
            let repeated: Vec<_> = answer.pairs.into_iter().map(|pair| pair.request.unwrap()).collect();
            assert_eq!(repeated, request.items);
        }
        refused += usize::from(short.0.is_err());
    }
    assert!((10..bulks.len() - 10).contains(&refused), "{refused} of {} are refused", bulks.len());
}
