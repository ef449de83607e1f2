//! What clients of OpenBao call, over HTTP: the same answers, refusals and guards as over gRPC, in the shape that they know.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::eyes::Seen;
use crate::process::{KEY, Server, binary, lasting_address};

/// Where it is asked, and what with.
#[derive(Clone)]
struct Client {
    address: String,
    headers: Vec<(&'static str, String)>,
}

/// What it heard.
#[derive(Debug)]
struct Heard {
    status: u16,
    body: Value,
}

impl Client {
    fn of(server: &Server) -> Client {
        Client::at(&server.http_address())
    }

    fn at(address: &str) -> Client {
        Client { address: address.to_owned(), headers: vec![("x-vault-token", KEY.to_owned())] }
    }

    /// The same with another token.
    fn token(&self, token: &str) -> Client {
        Client { headers: vec![("x-vault-token", token.to_owned())], ..self.clone() }
    }

    fn with(&self, name: &'static str, value: &str) -> Client {
        let mut other = self.clone();
        other.headers.push((name, value.to_owned()));
        other
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (http::response::Parts, Bytes) {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Heard {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (parts, bytes) = self.send(method, path, &text).await;
        let status = parts.status.as_u16();
        assert!(parts.headers.contains_key("x-request-id"), "{method} {path}: {parts:?}");
        if bytes.is_empty() {
            return Heard { status, body: Value::Null };
        }
        assert_eq!(parts.headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        if body.get("request_id").is_some() {
            assert_eq!(body["request_id"], parts.headers["x-request-id"].to_str().unwrap());
        }
        Heard { status, body }
    }

    /// What is answered with this status; null if that is nothing.
    async fn told(&self, status: u16, method: &str, path: &str, body: Value) -> Value {
        let heard = self.ask(method, path, body).await;
        assert_eq!(heard.status, status, "{method} {path}: {}", heard.body);
        heard.body
    }

    /// A refusal with this status and reason.
    async fn refused(&self, status: u16, reason: &str, method: &str, path: &str, body: Value) -> String {
        let heard = self.told(status, method, path, body).await;
        assert_eq!(heard["errors"].as_array().map(Vec::len), Some(1), "{heard}");
        assert_eq!(heard["reason"].as_str().unwrap_or_default(), reason, "{heard}");
        heard["errors"][0].as_str().unwrap().to_owned()
    }
}

fn serving() -> Server {
    Server::start(&["--http-addr", "127.0.0.1:0"])
}

fn keys(heard: &Value) -> Vec<&str> {
    heard["data"]["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect()
}

#[tokio::test]
async fn namespaces_are_made_listed_changed_and_deleted() {
    let server = serving();
    let root = Client::of(&server);
    // OpenBao says so of a list with nothing in it.
    let nothing = root.told(404, "LIST", "/v1/sys/namespaces", Value::Null).await;
    assert_eq!(nothing["errors"], json!([]));
    let metadata = json!({ "custom_metadata": { "owner": "ann", "tier": "1" } });
    let made = root.told(200, "POST", "/v1/sys/namespaces/team_a", metadata).await;
    assert_eq!(made["data"]["path"], "team_a/");
    assert_eq!(made["data"]["custom_metadata"], json!({ "owner": "ann", "tier": "1" }));
    for wrapping in ["lease_id", "renewable", "lease_duration", "wrap_info", "warnings", "auth"] {
        assert!(made.get(wrapping).is_some(), "{wrapping}: {made}");
    }
    for path in ["team_a/sub", "team_a/sub/div", "team_b"] {
        root.told(200, "PUT", &format!("/v1/sys/namespaces/{path}/"), Value::Null).await;
    }
    let listed = root.told(200, "LIST", "/v1/sys/namespaces/", Value::Null).await;
    assert_eq!(keys(&listed), ["team_a/", "team_b/"]);
    let info = &listed["data"]["key_info"]["team_a/"];
    assert_eq!(info["custom_metadata"]["owner"], "ann");
    assert_eq!(
        (&info["locked"], &info["tainted"], &info["id"]),
        (&json!(false), &json!(false), &made["data"]["id"])
    );
    let scanned = root.told(200, "SCAN", "/v1/sys/namespaces", Value::Null).await;
    assert_eq!(keys(&scanned), ["team_a/", "team_a/sub/", "team_a/sub/div/", "team_b/"]);
    // For who cannot send such methods; a page at a time; relative to what is listed.
    let page =
        root.told(200, "GET", "/v1/sys/namespaces?scan=true&limit=2&after=team_a%2F", Value::Null).await;
    assert_eq!(keys(&page), ["team_a/sub/", "team_a/sub/div/"]);
    let below = root.told(200, "SCAN", "/v1/sys/namespaces/team_a", Value::Null).await;
    assert_eq!(keys(&below), ["sub/", "sub/div/"]);
    assert_eq!(below["data"]["key_info"]["sub/div/"]["path"], "team_a/sub/div/");
    // The model makes what is there, and replaces its metadata.
    let again = root.told(200, "POST", "/v1/sys/namespaces/team_a", Value::Null).await;
    assert_eq!(again["data"]["custom_metadata"], json!({ "owner": "ann", "tier": "1" }));
    let replaced = json!({ "custom_metadata": { "tier": "2" } });
    let again = root.told(200, "POST", "/v1/sys/namespaces/team_a", replaced).await;
    assert_eq!(
        (&again["data"]["custom_metadata"], &again["data"]["id"]),
        (&json!({ "tier": "2" }), &made["data"]["id"])
    );
    let merging = root.with("content-type", "application/merge-patch+json; charset=utf-8");
    let patch = json!({ "custom_metadata": { "tier": null, "region": "eu" } });
    let patched = merging.told(200, "PATCH", "/v1/sys/namespaces/team_a", patch.clone()).await;
    assert_eq!(patched["data"]["custom_metadata"], json!({ "region": "eu" }));
    root.refused(415, "", "PATCH", "/v1/sys/namespaces/team_a", patch).await;
    let read = root.told(200, "GET", "/v1/sys/namespaces/team_a", Value::Null).await;
    assert_eq!(read["data"]["custom_metadata"], json!({ "region": "eu" }));
    let with_children =
        root.refused(409, "NAMESPACE_HAS_CHILDREN", "DELETE", "/v1/sys/namespaces/team_a", Value::Null).await;
    assert!(with_children.contains("team_a/sub"), "{with_children}");
    root.refused(400, "NAMESPACE_IS_ROOT", "DELETE", "/v1/sys/namespaces/root", Value::Null).await;
    for path in ["team_a/sub/div", "team_a/sub", "team_a"] {
        let gone = root.told(204, "DELETE", &format!("/v1/sys/namespaces/{path}"), Value::Null).await;
        assert_eq!(gone, Value::Null);
    }
    root.refused(404, "NAMESPACE_NOT_FOUND", "GET", "/v1/sys/namespaces/team_a", Value::Null).await;
    root.refused(404, "NAMESPACE_NOT_FOUND", "DELETE", "/v1/sys/namespaces/team_a", Value::Null).await;
    root.refused(404, "NAMESPACE_NOT_FOUND", "POST", "/v1/sys/namespaces/team_a/sub", Value::Null).await;
}

#[tokio::test]
async fn more_namespaces_than_a_page_has_are_all_listed() {
    let server = Server::start(&["--http-addr", "127.0.0.1:0", "--page-rows-max", "3"]);
    let root = Client::of(&server);
    let mut made: Vec<String> = (0..10).map(|n| format!("n{n}/")).collect();
    for name in &made {
        root.told(200, "POST", &format!("/v1/sys/namespaces/{name}"), Value::Null).await;
    }
    let listed = root.told(200, "LIST", "/v1/sys/namespaces", Value::Null).await;
    assert_eq!(keys(&listed), made);
    assert_eq!(listed["data"]["key_info"].as_object().unwrap().len(), 10);
    let page = root.told(200, "LIST", "/v1/sys/namespaces?limit=4&after=n3/", Value::Null).await;
    assert_eq!(keys(&page), made.drain(4..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_more_than_an_answer_has_room_for_a_part_is_listed_and_said_to_be_one() {
    let server = serving();
    let root = Client::of(&server);
    // As much as a namespace may have: some 40 kB each.
    let metadata: serde_json::Map<String, Value> =
        (0..64).map(|n| (format!("{n:0>128}"), Value::from("x".repeat(512)))).collect();
    let metadata = json!({ "custom_metadata": metadata });
    let made: Vec<String> = (0..250).map(|n| format!("n{n:03}/")).collect();
    for name in &made {
        root.told(200, "POST", &format!("/v1/sys/namespaces/{name}"), metadata.clone()).await;
    }
    let (mut listed, mut after, mut answers) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/v1/sys/namespaces?after={after}&limit=1000000000");
        let (_, bytes) = root.send("LIST", &path, "").await;
        assert!(bytes.len() < 10 << 20, "{}", bytes.len());
        let heard: Value = serde_json::from_slice(&bytes).unwrap();
        listed.extend(keys(&heard).into_iter().map(str::to_owned));
        answers += 1;
        if heard["warnings"].is_null() {
            break;
        }
        assert!(heard["warnings"][0].as_str().unwrap().contains("?after=KEY"), "{}", heard["warnings"]);
        after = listed.last().unwrap().clone();
    }
    assert_eq!((listed, answers), (made, 2));
    let part = root.told(200, "LIST", "/v1/sys/namespaces?limit=3", Value::Null).await;
    assert!(keys(&part).len() == 3 && part["warnings"].is_null(), "as many as were asked for");
}

#[tokio::test]
async fn locks_refuse_with_503_and_say_who_is_locked_to_whom_belongs_there() {
    let server = serving();
    let root = Client::of(&server);
    for path in ["team", "team/sub", "other"] {
        root.told(200, "POST", &format!("/v1/sys/namespaces/{path}"), Value::Null).await;
    }
    let sub = root.with("x-vault-namespace", "team/sub/");
    let made = sub.told(200, "POST", "/v1/auth/token/create", json!({ "policies": ["checker"] })).await;
    let member = root.token(made["auth"]["client_token"].as_str().unwrap());
    let made = root
        .with("x-vault-namespace", "other")
        .told(200, "POST", "/v1/auth/token/create", json!({ "policies": "admin" }))
        .await;
    let outsider = root.token(made["auth"]["client_token"].as_str().unwrap());
    let lock = json!({ "reason": "a leak", "ttl": "1h30m" });
    let locked = root.told(200, "POST", "/v1/sys/namespaces/api-lock/lock/team", lock).await;
    let key = locked["data"]["unlock_key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 24);
    for (who, path) in [
        (&member, "/v1/sys/namespaces"),
        (&sub, "/v1/sys/namespaces"),
        (&root, "/v1/team/sys/namespaces/sub"),
    ] {
        let method = if path.ends_with("sub") { "GET" } else { "LIST" };
        let text = who.refused(503, "NAMESPACE_LOCKED", method, path, Value::Null).await;
        assert!(text.contains("`team`") && text.contains("a leak"), "{text}");
    }
    // Calls of the contract, on either address, are refused the same way.
    for address in [&root.address, &server.address] {
        let at = Client { address: address.clone(), ..member.clone() };
        let (parts, body) = at.send("POST", "/v1/schema/read", "").await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((parts.status.as_u16(), &body["code"]), (503, &json!(9)), "{body}");
    }
    outsider.refused(403, "NOT_PERMITTED", "GET", "/v1/team/sys/namespaces/sub", Value::Null).await;
    outsider
        .refused(
            403,
            "NOT_PERMITTED",
            "POST",
            "/v1/team/sys/namespaces/api-lock/unlock",
            json!({ "unlock_key": key }),
        )
        .await;
    let status = member.told(200, "GET", "/v1/sys/namespaces/api-lock/status", Value::Null).await;
    let data = &status["data"];
    assert_eq!(
        (&data["locked"], &data["own"], &data["effective"]["path"]),
        (&json!(true), &Value::Null, &json!("team/"))
    );
    assert!(data["effective"]["mode"] == "all" && data["effective"]["expire_time"].is_string(), "{status}");
    // Of the lock calls, as of others, who may is judged.
    root.refused(
        400,
        "NAMESPACE_ALREADY_LOCKED",
        "POST",
        "/v1/sys/namespaces/api-lock/lock/team",
        Value::Null,
    )
    .await;
    root.refused(503, "NAMESPACE_LOCKED", "POST", "/v1/sys/namespaces/api-lock/lock/team/sub", Value::Null)
        .await;
    root.refused(400, "NAMESPACE_IS_ROOT", "POST", "/v1/sys/namespaces/api-lock/lock", Value::Null).await;
    root.refused(404, "NAMESPACE_NOT_FOUND", "POST", "/v1/sys/namespaces/api-lock/lock/x", Value::Null).await;
    root.refused(
        403,
        "UNLOCK_KEY_WRONG",
        "POST",
        "/v1/sys/namespaces/api-lock/unlock/team",
        json!({ "unlock_key": "x" }),
    )
    .await;
    let unlock = json!({ "unlock_key": key });
    assert_eq!(root.told(204, "POST", "/v1/sys/namespaces/api-lock/unlock/team", unlock).await, Value::Null);
    root.told(404, "LIST", "/v1/team/sub/sys/namespaces", Value::Null).await;
    // By the namespace of the header, and reads alone go on.
    let team = root.with("x-vault-namespace", "team");
    team.told(200, "POST", "/v1/sys/namespaces/api-lock/lock", json!({ "mode": "writes" })).await;
    team.told(200, "GET", "/v1/sys/namespaces/sub", Value::Null).await;
    team.refused(503, "NAMESPACE_LOCKED", "POST", "/v1/sys/namespaces/new", Value::Null).await;
    team.told(204, "POST", "/v1/sys/namespaces/api-lock/unlock", Value::Null).await;
    root.refused(400, "", "POST", "/v1/sys/namespaces/api-lock/lock/team", json!({ "mode": "reads" })).await;
}

#[tokio::test]
async fn tokens_are_made_looked_up_renewed_and_revoked() {
    let server = serving();
    let root = Client::of(&server);
    root.told(200, "POST", "/v1/sys/namespaces/team", Value::Null).await;
    let team = root.with("x-vault-namespace", "team");
    let asked = json!({ "policies": ["reader", "auditor"], "ttl": "1h", "display_name": "ci", "num_uses": 0, "no_parent": false });
    let made = team.told(200, "POST", "/v1/auth/token/create", asked).await;
    let auth = &made["auth"];
    let (text, accessor) = (auth["client_token"].as_str().unwrap(), auth["accessor"].as_str().unwrap());
    assert!(text.starts_with("idhini_") && auth["policies"] == json!(["auditor", "reader"]), "{made}");
    assert_eq!((&auth["renewable"], &made["warnings"]), (&json!(true), &Value::Null));
    let own = root.token(text);
    for method in ["GET", "POST"] {
        let found = own.told(200, method, "/v1/auth/token/lookup-self", Value::Null).await;
        let data = &found["data"];
        assert_eq!((&data["accessor"], &data["display_name"]), (&json!(accessor), &json!("ci")));
        assert_eq!((&data["namespace_path"], &data["creation_ttl"]), (&json!("team/"), &json!(3600)));
        assert!(data["ttl"].as_i64().is_some_and(|ttl| (3500..=3600).contains(&ttl)), "{found}");
        assert_eq!((&data["policies"], &data["id"]), (&json!(["auditor", "reader"]), &json!("")));
    }
    assert_eq!(keys(&team.told(200, "LIST", "/v1/auth/token/accessors", Value::Null).await), [accessor]);
    for (path, body) in [
        ("/v1/auth/token/lookup-accessor", json!({ "accessor": accessor })),
        ("/v1/auth/token/lookup", json!({ "token": text })),
    ] {
        let found = root.told(200, "POST", path, body).await;
        assert_eq!(found["data"]["accessor"], accessor);
    }
    // By itself it may look at itself alone.
    let made = team.told(200, "POST", "/v1/auth/token/create-orphan", json!({ "period": 60 })).await;
    assert!(made["warnings"][0].as_str().unwrap().contains("no role"), "{made}");
    let (other, others) = (made["auth"]["client_token"].clone(), made["auth"]["accessor"].clone());
    own.refused(
        403,
        "NOT_PERMITTED",
        "POST",
        "/v1/auth/token/lookup-accessor",
        json!({ "accessor": others }),
    )
    .await;
    own.refused(403, "NOT_PERMITTED", "POST", "/v1/auth/token/lookup", json!({ "token": other })).await;
    own.refused(403, "NOT_PERMITTED", "POST", "/v1/auth/token/revoke", json!({ "token": other })).await;
    own.refused(403, "", "POST", "/v1/auth/token/lookup", json!({ "token": "guessed" })).await;
    let renewed = own.told(200, "POST", "/v1/auth/token/renew-self", json!({ "increment": "2h" })).await;
    assert!(renewed["auth"]["lease_duration"].as_i64().unwrap() >= 3598, "{renewed}");
    root.told(200, "POST", "/v1/auth/token/renew", json!({ "token": other })).await;
    root.told(200, "POST", "/v1/auth/token/renew-accessor", json!({ "accessor": accessor })).await;
    root.told(204, "POST", "/v1/auth/token/revoke", json!({ "token": other })).await;
    root.refused(
        404,
        "TOKEN_NOT_FOUND",
        "POST",
        "/v1/auth/token/lookup-accessor",
        json!({ "accessor": others }),
    )
    .await;
    own.told(204, "POST", "/v1/auth/token/revoke-self", Value::Null).await;
    own.refused(403, "", "GET", "/v1/auth/token/lookup-self", Value::Null).await;
    let made = team.told(200, "POST", "/v1/auth/token/create", Value::Null).await;
    let accessor = json!({ "accessor": made["auth"]["accessor"] });
    root.told(204, "POST", "/v1/auth/token/revoke-accessor", accessor).await;
    team.told(404, "LIST", "/v1/auth/token/accessors", Value::Null).await;
    // What the key of the configuration is told of.
    let key = root.told(200, "GET", "/v1/auth/token/lookup-self", Value::Null).await;
    assert_eq!((&key["data"]["accessor"], &key["data"]["policies"]), (&json!(""), &json!(["admin"])));
    root.refused(400, "", "POST", "/v1/auth/token/revoke-self", Value::Null).await;
}

#[tokio::test]
async fn what_there_is_not_is_refused_and_not_passed_over() {
    let server = serving();
    let root = Client::of(&server);
    for (field, value) in [
        ("num_uses", json!(1)),
        ("explicit_max_ttl", json!("1h")),
        ("renewable", json!(false)),
        ("type", json!("batch")),
        ("id", json!("chosen")),
        ("meta", json!({ "a": "b" })),
        ("polices", json!(["admin"])),
        ("ttl", json!("soon")),
    ] {
        let text = root.refused(400, "", "POST", "/v1/auth/token/create", json!({ field: value })).await;
        assert!(text.contains(&format!("`{field}`")), "{text}");
    }
    root.refused(400, "ROLE_UNKNOWN", "POST", "/v1/auth/token/create", json!({ "policies": ["root"] })).await;
    let wrapped = root.with("x-vault-wrap-ttl", "60");
    wrapped.refused(400, "", "POST", "/v1/auth/token/create", Value::Null).await;
    root.told(404, "LIST", "/v1/auth/token/accessors", Value::Null).await;
    for (status, method, path, body) in [
        (400, "POST", "/v1/sys/namespaces/a", "{"),
        (400, "POST", "/v1/sys/namespaces/a", "[]"),
        (400, "POST", "/v1/sys/namespaces/a", "{\"custom_metadata\": {\"a\": 1}}"),
        (400, "POST", "/v1/sys/namespaces/a%2Fb", ""),
        (400, "POST", "/v1/sys/namespaces/a%20b", ""),
        (400, "POST", "/v1/sys/namespaces/audit", ""),
        (405, "POST", "/v1/sys/namespaces", ""),
        (405, "GET", "/v1/sys/namespaces/api-lock/lock/a", ""),
        (405, "BREW", "/v1/sys/namespaces/a", ""),
        (404, "GET", "/v1/sys/mounts", ""),
        (404, "GET", "/v1/auth/approle/login", ""),
        (400, "GET", "/v1/a%/sys/namespaces/b", ""),
    ] {
        let (parts, heard) = root.send(method, path, body).await;
        assert_eq!(parts.status.as_u16(), status, "{method} {path} {body}: {heard:?}");
        assert!(parts.headers.contains_key("x-request-id"), "{method} {path}");
    }
    let long = format!("{{\"custom_metadata\": {{\"a\": \"{}\"}}}}", "x".repeat(600_000));
    let (parts, _) = root.send("POST", "/v1/sys/namespaces/a", &long).await;
    assert_eq!(parts.status.as_u16(), 400);
}

#[tokio::test]
async fn nobody_without_a_token_is_told_anything_but_health() {
    let server = serving();
    let root = Client::of(&server);
    root.told(200, "POST", "/v1/sys/namespaces/team", Value::Null).await;
    let nobody = Client { headers: Vec::new(), ..root.clone() };
    for who in [&nobody, &root.token("wrong"), &root.token("")] {
        for (method, path) in [
            ("LIST", "/v1/sys/namespaces"),
            ("GET", "/v1/sys/namespaces/team"),
            ("GET", "/v1/sys/namespaces/nothing"),
            ("POST", "/v1/sys/namespaces/new"),
            ("POST", "/v1/sys/namespaces/api-lock/lock/team"),
            ("GET", "/v1/auth/token/lookup-self"),
            ("POST", "/v1/auth/token/create"),
            ("POST", "/v1/auth/token/lookup"),
        ] {
            who.refused(403, "", method, path, Value::Null).await;
        }
        let health = who.told(200, "GET", "/v1/sys/health", Value::Null).await;
        assert_eq!((&health["initialized"], &health["sealed"]), (&json!(true), &json!(false)));
        assert_eq!(who.told(200, "GET", "/v1/sys/init", Value::Null).await, json!({ "initialized": true }));
        assert_eq!(who.told(200, "GET", "/v1/sys/seal-status", Value::Null).await["sealed"], json!(false));
    }
    let (parts, body) = nobody.send("HEAD", "/v1/sys/health", "").await;
    assert_eq!((parts.status.as_u16(), body.len()), (200, 0));
    // Whoever does not know whose a token is, is not chosen for.
    let both = root.with("authorization", "Bearer other");
    let (parts, _) = both.send("GET", "/v1/sys/namespaces/team", "").await;
    assert_eq!(parts.status.as_u16(), 400);
    let twice = root.with("x-vault-namespace", "team").with("x-idhini-namespace", "root");
    twice.refused(400, "", "LIST", "/v1/sys/namespaces", Value::Null).await;
}

#[tokio::test]
async fn a_path_names_the_namespace_of_every_call() {
    let server = serving();
    let root = Client::of(&server);
    for path in ["team", "team/sub"] {
        root.told(200, "POST", &format!("/v1/sys/namespaces/{path}"), Value::Null).await;
    }
    let schema = json!({ "schema": "definition user {}" });
    root.told(200, "POST", "/v1/team/sub/schema/write", schema).await;
    let read = |client: Client, path: &'static str| async move {
        client.ask("POST", path, Value::Null).await.status
    };
    assert_eq!(read(root.clone(), "/v1/team/sub/schema/read").await, 200);
    assert_eq!(read(root.with("x-vault-namespace", "team/sub"), "/v1/schema/read").await, 200);
    assert_eq!(read(root.with("x-idhini-namespace", "team"), "/v1/sub/schema/read").await, 200);
    // There is no schema there.
    assert_eq!(read(root.clone(), "/v1/schema/read").await, 404);
    assert_eq!(read(root.clone(), "/v1/team/schema/read").await, 404);
    root.told(200, "GET", "/v1/team/sys/namespaces/sub", Value::Null).await;
    root.told(200, "POST", "/v1/team/sub/sys/namespaces/div", Value::Null).await;
    let below = root.told(200, "SCAN", "/v1/team/sys/namespaces", Value::Null).await;
    assert_eq!(keys(&below), ["sub/", "sub/div/"]);
}

#[tokio::test]
async fn what_is_asked_over_http_is_counted_as_the_calls_that_it_stands_for() {
    let http = lasting_address();
    let seen = Seen::start(&["--http-addr", &http]);
    let root = Client::at(&http);
    root.told(200, "POST", "/v1/sys/namespaces/team", Value::Null).await;
    root.token("wrong").refused(403, "", "DELETE", "/v1/sys/namespaces/team", Value::Null).await;
    root.told(404, "GET", "/v1/sys/nothing", Value::Null).await;
    let count = |service: &str, call: &str, code: &str| {
        seen.metric(&format!(
            "idhini_requests_total{{service=\"{service}\",call=\"{call}\",code=\"{code}\"}}"
        ))
    };
    assert_eq!(count("idhini.v1.NamespaceService", "CreateNamespace", "OK"), Some(1.0));
    assert_eq!(count("idhini.v1.NamespaceService", "DeleteNamespace", "PERMISSION_DENIED"), Some(1.0));
    assert_eq!(count("other", "other", "UNIMPLEMENTED"), Some(1.0));
}

#[test]
fn a_port_that_is_taken_is_an_error_if_it_was_asked_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = |address: &str| {
        let mut command = binary();
        command.args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
        command.args(["--http-addr", address]).output().unwrap()
    };
    let refused = serve(&address);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(6), "{text}");
    assert!(text.contains("HTTP cannot be served") && text.contains("--http-addr"), "{text}");
    let beyond = serve("0.0.0.0:0");
    assert_ne!(beyond.status.code(), Some(0));
}
