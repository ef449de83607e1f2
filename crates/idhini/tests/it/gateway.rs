//! The calls as JSON over HTTP/1.1: the same answers, refusals and guards as over gRPC.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::eyes::Seen;
use crate::process::{KEY, SCHEMA, Server};

async fn send(server: &Server, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

fn post(path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {KEY}"))
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap()
}

async fn told(response: Response<Incoming>) -> (u16, String) {
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    assert!(response.headers().keys().all(|name| response.headers().get_all(name).iter().count() == 1));
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn ask(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let (status, text) = told(send(server, post(path, &body.to_string())).await).await;
    (status, serde_json::from_str(&text).unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn reference(text: &str) -> Value {
    let (object_type, object_id) = text.split_once(':').unwrap();
    json!({ "objectType": object_type, "objectId": object_id })
}

fn check(subject: &str) -> Value {
    json!({
        "consistency": { "fullyConsistent": true },
        "resource": reference("document:readme"),
        "permission": "view",
        "subject": { "object": reference(subject) },
    })
}

#[tokio::test]
async fn json_calls_answer_as_grpc_calls_do() {
    let server = Server::start(&[]);
    let (status, answer) = ask(&server, "/v1/schema/write", &json!({ "schema": SCHEMA })).await;
    assert!(status == 200 && answer["writtenAt"]["token"].is_string(), "{answer}");
    let update = json!({ "operation": "OPERATION_CREATE", "relationship": {
        "resource": reference("document:readme"), "relation": "viewer", "subject": { "object": reference("user:tom") } } });
    let (status, answer) = ask(&server, "/v1/relationships/write", &json!({ "updates": [update] })).await;
    assert!(status == 200 && answer["writtenAt"]["token"].is_string(), "{answer}");
    for (subject, permissionship) in
        [("user:tom", "PERMISSIONSHIP_HAS_PERMISSION"), ("user:zoe", "PERMISSIONSHIP_NO_PERMISSION")]
    {
        let (status, answer) = ask(&server, "/v1/permissions/check", &check(subject)).await;
        assert_eq!((status, &answer["permissionship"]), (200, &json!(permissionship)), "{answer}");
    }
    // Absent is empty.
    let (status, text) = told(send(&server, post("/v1/schema/read", "")).await).await;
    assert!(status == 200 && text.contains("definition document"), "{text}");
}

#[tokio::test]
async fn streams_are_lines() {
    let server = Server::start(&[]);
    ask(&server, "/v1/schema/write", &json!({ "schema": SCHEMA })).await;
    let import: String = (0..3000)
        .map(|n| {
            let relationship = json!({ "resource": reference(&format!("document:d{n}")), "relation": "viewer",
                "subject": { "object": reference("user:tom") } });
            format!("{}\n\n", json!({ "relationships": [relationship] }))
        })
        .collect();
    let (status, text) = told(send(&server, post("/v1/relationships/importbulk", &import)).await).await;
    assert_eq!((status, lines(&text)), (200, vec![json!({ "numLoaded": "3000" })]));
    let lookup = json!({ "consistency": { "fullyConsistent": true }, "resourceObjectType": "document",
        "permission": "view", "subject": { "object": reference("user:tom") } });
    let (status, text) =
        told(send(&server, post("/v1/permissions/resources", &lookup.to_string())).await).await;
    let mut found: Vec<_> = lines(&text)
        .iter()
        .map(|line| line["result"]["resourceObjectId"].as_str().unwrap().to_owned())
        .collect();
    found.sort_unstable();
    let mut expected: Vec<_> = (0..3000).map(|n| format!("d{n}")).collect();
    expected.sort_unstable();
    assert_eq!((status, found), (200, expected));
    // A broken message in the middle refuses the whole import, which is one transaction.
    let broken = import.replace("\"d", "\"e").replacen("\n\n", "\n{\"relationships\": 7}\n", 1);
    let (status, text) = told(send(&server, post("/v1/relationships/importbulk", &broken)).await).await;
    assert!(status == 400 && text.contains("expected a list") && text.contains("a line"), "{status} {text}");
    let (_, text) = told(send(&server, post("/v1/permissions/resources", &lookup.to_string())).await).await;
    assert_eq!(lines(&text).len(), 3000);
}

#[tokio::test]
async fn a_watch_goes_on_while_it_is_read() {
    let server = Server::furnished();
    let mut watch = send(&server, post("/v1/watch", "{}")).await;
    assert_eq!(watch.status(), 200);
    let update = json!({ "operation": "OPERATION_TOUCH", "relationship": {
        "resource": reference("document:new"), "relation": "viewer", "subject": { "object": reference("user:tom") } } });
    ask(&server, "/v1/relationships/write", &json!({ "updates": [update] })).await;
    let frame = watch.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    let line: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(line["result"]["updates"][0]["relationship"]["resource"]["objectId"], "new", "{line}");
}

#[tokio::test]
async fn refusals_keep_their_reason() {
    let server = Server::furnished();
    let unknown = json!({ "resource": reference("folder:x"), "permission": "view",
        "subject": { "object": reference("user:tom") } });
    let (status, answer) = ask(&server, "/v1/permissions/check", &unknown).await;
    assert_eq!((status, &answer["code"]), (400, &json!(9)), "{answer}");
    let detail = &answer["details"][0];
    assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(detail["reason"], "ERROR_REASON_UNKNOWN_DEFINITION");
    assert_eq!(detail["metadata"]["definition_name"], "folder");
    // A stream that is refused at once has the status; one that fails later ends with it.
    let lookup = json!({ "resourceObjectType": "folder", "permission": "view",
        "subject": { "object": reference("user:tom") } });
    let (status, text) =
        told(send(&server, post("/v1/permissions/resources", &lookup.to_string())).await).await;
    let last = lines(&text).pop().unwrap();
    assert!(status == 400 && last["code"] == 9 || last["error"]["code"] == 9, "{status} {text}");
    for (path, body, status, word) in [
        ("/v1/permissions/check", "{", 400, "line 1"),
        ("/v1/permissions/check", r#"{"permision": "view"}"#, 400, "permision"),
        ("/v1/permissions/check", r#"{"permission": 7}"#, 400, "line 1 column 16"),
        ("/v1/permissions/chek", "{}", 404, "/v1/permissions/check"),
        ("/authzed.api.v1.SchemaService/ReadSchema", "{}", 404, "/v1/"),
    ] {
        let (answered, text) = told(send(&server, post(path, body)).await).await;
        assert!(answered == status && text.contains(word), "{path} {body}: {answered} {text}");
    }
    let long = format!("{{\"schema\": \"{}\"}}", " ".repeat(6 << 20));
    let (status, text) = told(send(&server, post("/v1/schema/write", &long)).await).await;
    assert!(status == 400 && text.contains("bytes"), "{status} {text}");
    let get = Request::get("/v1/schema/read").header("host", "localhost").body(Full::default()).unwrap();
    assert_eq!(told(send(&server, get).await).await.0, 501);
}

#[tokio::test]
async fn whoever_may_not_call_over_grpc_may_not_here() {
    let server = Server::furnished();
    for (key, status) in [(None, 401), (Some("Bearer wrong"), 403), (Some("Basic abc"), 401)] {
        for path in [
            "/v1/permissions/check",
            "/v1/permissions/resources",
            "/v1/relationships/importbulk",
            "/v1/watch",
        ] {
            let mut request = post(path, &check("user:tom").to_string());
            request.headers_mut().remove("authorization");
            if let Some(key) = key {
                request.headers_mut().insert("authorization", key.parse().unwrap());
            }
            let response = send(&server, request).await;
            assert!(response.headers().contains_key("x-request-id"));
            assert_eq!(told(response).await.0, status, "{path} {key:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_call_is_counted_as_such_and_reaches_no_service() {
    let seen = Seen::start(&[]);
    let check = "/authzed.api.v1.PermissionsService/CheckPermission";
    for path in [check, "/v1/permissions/chek", "/v1/"] {
        let mut request = post(path, "{}");
        request.headers_mut().insert("x-request-id", "mine".parse().unwrap());
        let response = send(&seen.server, request).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["x-request-id"].to_str().unwrap()),
            (404, "mine"),
            "{path}"
        );
    }
    let others = "idhini_requests_total{service=\"other\",call=\"other\",code=\"UNIMPLEMENTED\"}";
    assert_eq!(seen.metric(others), Some(3.0));
    assert!(!seen.text().contains("call=\"CheckPermission\",code="));
}

/// As a command that finds a mistake in the middle of a file leaves; nothing of it is kept, and it is no failure of the server.
#[tokio::test]
async fn a_stream_that_breaks_off_is_the_clients_to_answer_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::furnished();
    let relationship = json!({ "resource": reference("document:half"), "relation": "viewer",
        "subject": { "object": reference("user:tom") } });
    let line = json!({ "relationships": [relationship] });
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!(
        "POST /v1/relationships/importbulk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 9999\r\n\r\n"
    );
    stream.write_all(format!("{head}{line}\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("broke off"), "{answer}");
    let (_, answer) = ask(&server, "/v1/permissions/check", &check("user:tom")).await;
    assert_eq!(answer["permissionship"], json!("PERMISSIONSHIP_HAS_PERMISSION"));
    let read = json!({ "relationshipFilter": { "resourceType": "document", "optionalResourceId": "half" } });
    let (_, text) = told(send(&server, post("/v1/relationships/read", &read.to_string())).await).await;
    assert_eq!(text, "");
}
