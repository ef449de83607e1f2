//! Metrics: what is counted, and where it is served.

use std::net::TcpListener;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::idhini::v1 as idhini_v1;
use idhini_wire::idhini::v1::check_stream_request::Request as Asking;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request};

use super::{Seen, page, ready, until, value};
use crate::own::own;
use crate::process::{KEY, SCHEMA, Server, binary, check, folder, run, touch};

/// Where metrics are served unless it is said.
const USUAL: &str = "127.0.0.1:9464";

fn ended(call: &str, code: &str) -> String {
    let service = "authzed.api.v1.PermissionsService";
    format!("idhini_requests_total{{service=\"{service}\",call=\"{call}\",code=\"{code}\"}}")
}

#[tokio::test]
async fn calls_are_counted_by_name_and_code_and_their_times_and_edges_add_up() {
    let seen = Seen::start(&[]);
    let mut permissions = seen.server.permissions().await;
    let mut edges = 0.0;
    for _ in 0..3 {
        let answer =
            permissions.check_permission(check("document:readme", "view", "user:tom")).await.unwrap();
        let cost = answer.metadata().get("io.spicedb.respmeta.dispatchedoperationscount").unwrap();
        edges += cost.to_str().unwrap().parse::<f64>().unwrap();
    }
    permissions.check_permission(check("document:readme", "nothing", "user:tom")).await.unwrap_err();
    let mut stranger = Request::new(check("document:readme", "view", "user:tom"));
    stranger.metadata_mut().insert("authorization", "Bearer wrong".parse().unwrap());
    let mut without_key =
        v1::permissions_service_client::PermissionsServiceClient::new(seen.server.channel().await);
    assert_eq!(without_key.check_permission(stranger).await.unwrap_err().code(), Code::PermissionDenied);
    let text = seen.text();
    let of = |code| value(&text, &ended("CheckPermission", code));
    assert_eq!(
        (of("OK"), of("FAILED_PRECONDITION"), of("PERMISSION_DENIED")),
        (Some(3.0), Some(1.0), Some(1.0))
    );
    assert_eq!(of("INTERNAL"), None);
    let labels = "service=\"authzed.api.v1.PermissionsService\",call=\"CheckPermission\"";
    let seconds = |part: &str| value(&text, &format!("idhini_request_duration_seconds_{part}"));
    assert_eq!(seconds(&format!("count{{{labels}}}")), Some(5.0));
    assert!(seconds(&format!("sum{{{labels}}}")).unwrap() > 0.0);
    assert_eq!(seconds(&format!("bucket{{le=\"+Inf\",{labels}}}")), Some(5.0));
    assert_eq!(value(&text, "idhini_check_edges_count"), Some(3.0));
    assert_eq!(value(&text, "idhini_check_edges_sum"), Some(edges));
    assert_eq!(value(&text, "idhini_edges_visited_total"), Some(edges));
    assert_eq!(value(&text, "idhini_requests_under_way"), Some(0.0));
}

/// Whatever answers them: one call, a bulk on either way, and a stream.
#[tokio::test]
async fn closures_that_checks_find_and_those_they_search_for_add_up_and_stand_behind_their_answers() {
    let seen = Seen::start(&["--worker-threads", "1"]);
    // A closure is remembered of groups in groups.
    let nested: Vec<String> = (0..9).map(|n| format!("group:n{}#member@group:n{n}#member", n + 1)).collect();
    let mut texts: Vec<&str> = nested.iter().map(String::as_str).collect();
    texts.extend(["group:n0#member@user:deep", "document:deep#viewer@group:n9#member"]);
    seen.server.permissions().await.write_relationships(touch(&texts)).await.unwrap();
    let asked = check("document:deep", "view", "user:deep");
    let counted = || {
        let of = |outcome| seen.metric(&format!("idhini_closures_total{{outcome=\"{outcome}\"}}")).unwrap();
        (of("found"), of("computed"))
    };
    let found_behind = |metadata: &MetadataMap| {
        let text = metadata.get("io.spicedb.respmeta.cachedoperationscount").unwrap().to_str().unwrap();
        text.parse::<f64>().unwrap()
    };
    assert_eq!(counted(), (0.0, 0.0));
    let mut permissions = seen.server.permissions().await;
    let mut found = 0.0;
    for round in 0..3 {
        let answer = permissions.check_permission(asked.clone()).await.unwrap();
        let behind = found_behind(answer.metadata());
        assert_eq!(behind > 0.0, round > 0, "{behind} in round {round}");
        found += behind;
    }
    let computed = counted().1;
    assert!(computed > 0.0, "{computed}");
    let v1::CheckPermissionRequest { resource, permission, subject, .. } = asked.clone();
    let item = v1::CheckBulkPermissionsRequestItem { resource, permission, subject, context: None };
    for is_long in [false, true] {
        let bulk = v1::CheckBulkPermissionsRequest { items: vec![item.clone()], ..Default::default() };
        let mut request = Request::new(bulk);
        if is_long {
            request.metadata_mut().insert("grpc-encoding", "identity".parse().unwrap());
        }
        let answer = permissions.check_bulk_permissions(request).await.unwrap();
        let behind = found_behind(answer.metadata());
        assert!(behind > 0.0, "long: {is_long}");
        found += behind;
    }
    let mut long = Request::new(asked.clone());
    long.metadata_mut().insert("grpc-encoding", "identity".parse().unwrap());
    found += found_behind(permissions.check_permission(long).await.unwrap().metadata());
    assert_eq!(counted(), (found, computed), "what stands behind the answers is what is counted");
    let stream = idhini_v1::CheckStreamItem {
        resource: asked.resource,
        permission: asked.permission,
        subject: asked.subject,
        ..Default::default()
    };
    let stream = idhini_v1::CheckStreamRequest { request: Some(Asking::Check(stream)) };
    let asking = tokio_stream::once(stream);
    let mut answers = own(&seen.server).await.check_stream(asking).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    assert!(counted().0 > found, "a stream's are counted");
}

#[tokio::test]
async fn calls_that_are_none_share_a_row() {
    let seen = Seen::start(&[]);
    let mut grpc = tonic::client::Grpc::new(seen.server.channel().await);
    for made_up in ["/made.up.Service/One", "/made.up.Service/Two"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<v1::ReadSchemaRequest, v1::ReadSchemaResponse>::default();
        let refused =
            grpc.unary(Request::new(v1::ReadSchemaRequest {}), made_up.parse().unwrap(), codec).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    }
    let text = seen.text();
    let series = "idhini_requests_total{service=\"other\",call=\"other\",code=\"UNIMPLEMENTED\"}";
    assert_eq!(value(&text, series), Some(2.0));
    assert!(!text.contains("made.up"), "{text}");
}

#[tokio::test]
async fn writes_are_counted_from_the_request_to_the_log() {
    let seen = Seen::start(&[]);
    let before = seen.text();
    let of = |page: &str, series: &str| value(page, series).unwrap_or_else(|| panic!("{series} in {page}"));
    for at in 0..3 {
        let text = format!("document:new{at}#viewer@user:a");
        seen.server.permissions().await.write_relationships(touch(&[&text])).await.unwrap();
    }
    let after = seen.text();
    for (series, more) in [
        ("idhini_head_revision", 3.0),
        ("idhini_applied_revision", 3.0),
        ("idhini_relationships", 3.0),
        ("idhini_batch_writes_sum", 3.0),
        ("idhini_batch_writes_count", 3.0),
        ("idhini_log_sync_entries_sum", 3.0),
        ("idhini_lag_revisions", 0.0),
        ("idhini_log_write_failures_total", 0.0),
    ] {
        assert_eq!(of(&after, series) - of(&before, series), more, "{series}");
    }
    for series in [
        "idhini_log_sync_duration_seconds_sum",
        "idhini_log_written_bytes_total",
        "idhini_log_bytes",
        "idhini_log_live_bytes",
        "idhini_history_revisions",
        "idhini_memory_bytes{part=\"history\"}",
    ] {
        assert!(of(&after, series) > of(&before, series), "{series}");
    }
    for series in [
        "idhini_memory_bytes{part=\"names\"}",
        "idhini_memory_bytes{part=\"forward_edges\"}",
        "idhini_memory_bytes{part=\"log\"}",
        "idhini_log_segments",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
    ] {
        assert!(of(&after, series) > 0.0, "{series}");
    }
    #[expect(clippy::disallowed_methods, reason = "the server says when it started by the real clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - of(&after, "process_start_time_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
}

#[tokio::test]
async fn what_a_page_of_a_lookup_leaves_for_the_next_is_counted() {
    let seen = Seen::start(&[]);
    let bytes = || seen.metric("idhini_memory_bytes{part=\"searches\"}");
    assert_eq!(bytes(), Some(0.0));
    // More than are told before the search is over: a page that ends among those leaves nothing.
    let texts: Vec<String> = (0..300).map(|n| format!("document:d{n}#viewer@user:tom")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    seen.server.permissions().await.write_relationships(touch(&texts)).await.unwrap();
    for (limit, is_kept) in [(1, false), (200, true)] {
        let lookup = v1::LookupResourcesRequest {
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: check("document:readme", "view", "user:tom").subject,
            optional_limit: limit,
            consistency: Some(v1::Consistency { requirement: Some(Requirement::FullyConsistent(true)) }),
            ..Default::default()
        };
        let mut page = seen.server.permissions().await.lookup_resources(lookup).await.unwrap().into_inner();
        let mut told = 0;
        while page.message().await.unwrap().is_some() {
            told += 1;
        }
        assert_eq!((told, bytes() > Some(0.0)), (limit, is_kept), "{:?}", bytes());
    }
}

#[tokio::test]
async fn watchers_and_images_are_counted_while_they_are_there() {
    let seen = Seen::start(&["--image-changes", "1"]);
    assert_eq!(seen.metric("idhini_watchers"), Some(0.0));
    let watching = seen.server.watches().await.watch(v1::WatchRequest::default()).await.unwrap();
    assert_eq!(seen.metric("idhini_watchers"), Some(1.0));
    drop(watching);
    until("nobody watches", || seen.metric("idhini_watchers") == Some(0.0)).await;
    let newest = || seen.metric("idhini_image_revision").is_some();
    until("there is an image", newest).await;
    assert!(seen.metric("idhini_image_bytes").unwrap() > 0.0);
    assert!(seen.metric("idhini_image_age_seconds").unwrap() >= 0.0);
}

#[tokio::test]
async fn a_token_of_another_server_is_counted_where_it_is_treated_as_full_consistency() {
    let other = Server::furnished();
    let token =
        other.permissions().await.check_permission(check("document:readme", "view", "user:tom")).await;
    let token = token.unwrap().into_inner().checked_at.unwrap();
    let seen = Seen::start(&[]);
    let question = v1::CheckPermissionRequest {
        consistency: Some(v1::Consistency { requirement: Some(Requirement::AtLeastAsFresh(token)) }),
        ..check("document:readme", "view", "user:tom")
    };
    seen.server.permissions().await.check_permission(question).await.unwrap();
    assert_eq!(seen.metric("idhini_stranger_tokens_total{kind=\"other_store\"}"), Some(1.0));
    assert_eq!(seen.metric("idhini_stranger_tokens_total{kind=\"migrated\"}"), Some(0.0));
}

#[test]
fn the_format_is_named_and_other_pages_are_not_there() {
    let seen = Seen::start(&[]);
    let metrics = seen.page("/metrics");
    assert!(metrics.head.contains("application/openmetrics-text; version=1.0.0"), "{}", metrics.head);
    assert!(metrics.body.ends_with(b"# EOF\n"));
    for path in ["/", "/metrics/", "/debug/pprof/profile?seconds=1"] {
        assert_eq!(seen.page(path).status, 404, "{path}");
    }
}

#[test]
fn metrics_are_never_served_beyond_loopback() {
    let arguments = ["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY];
    let outcome = run(&[&arguments[..], &["--metrics-addr", "0.0.0.0:0"]].concat(), &[], "");
    assert!(
        outcome.status == 3 && outcome.stderr.contains("--metrics-addr: 0.0.0.0:0 is not a loopback address"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_port_that_is_taken_is_a_failure_if_it_was_asked_for_and_a_notice_if_not() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY];
    let outcome = run(&[&arguments[..], &["--metrics-addr", &address]].concat(), &[], "");
    assert!(outcome.status == 6 && outcome.stderr.contains("--metrics-addr"), "{}", outcome.stderr);

    // Whoever else has the usual port, this test included.
    let usual = TcpListener::bind(USUAL);
    let folder = folder(&[("s.zed", SCHEMA)]);
    let said = folder.join("said");
    let mut command = binary();
    command.env_remove("IDHINI_METRICS_ADDR").args(arguments).stderr(std::fs::File::create(&said).unwrap());
    let server = Server::of(command);
    assert_eq!(server.terminate(), Some(0));
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.contains("metrics are not served") && said.contains(USUAL), "{said}");
    drop(usual);
}

#[test]
fn without_a_place_nothing_is_served() {
    let folder = folder(&[("s.zed", SCHEMA)]);
    let mut command = binary();
    command.args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
    command.args(["--metrics-addr", "off"]).stderr(std::fs::File::create(folder.join("said")).unwrap());
    let server = Server::of(command);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(std::fs::read_to_string(folder.join("said")).unwrap(), "");
    // What is served in memory only has metrics as well.
    let mut command = binary();
    command.args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
    let server = Server::of({
        command.args(["--metrics-addr", "127.0.0.1:0"]);
        command
    });
    let page = page(&ready(&server), "/metrics");
    let text = String::from_utf8(page.body).unwrap();
    assert_eq!((value(&text, "idhini_ready"), value(&text, "idhini_log_bytes")), (Some(1.0), None));
}
