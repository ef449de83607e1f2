//! Traces: what a collector gets of calls.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::transport::Server as Grpc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::Seen;
use crate::process::{check, touch};

/// A trace that a caller began, and the span in it that called.
const TRACE: [u8; 16] = [0x4b; 16];
const CALLER: [u8; 8] = [0x5c; 8];

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let of_resources = request.into_inner().resource_spans.into_iter();
        let spans = of_resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Collector, SocketAddr) {
        let collector = Collector::default();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Grpc::builder().add_service(service).serve_with_incoming(incoming));
        (collector, address)
    }

    /// Everything that it got.
    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().clone()
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found = named(spans, name);
    let [found] = found[..] else { panic!("{} spans `{name}` in {spans:#?}", found.len()) };
    found
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn traced<T>(message: T, is_sampled: bool) -> Request<T> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let flags = if is_sampled { "01" } else { "00" };
    let mut request = Request::new(message);
    let parent = format!("00-{}-{}-{flags}", hex(&TRACE), hex(&CALLER));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
}

const CHECK: &str = "authzed.api.v1.PermissionsService/CheckPermission";
const WRITE: &str = "authzed.api.v1.PermissionsService/WriteRelationships";

#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_a_write_are_trees_of_spans_below_their_callers() {
    let (collector, address) = Collector::start().await;
    let seen = Seen::start(&["--otlp-endpoint", &format!("http://{address}")]);
    let mut permissions = seen.server.permissions().await;
    let question = check("document:readme", "view", "user:tom");
    let answer = permissions.check_permission(traced(question, true)).await.unwrap();
    let id = answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    permissions.write_relationships(touch(&["document:a#viewer@user:a"])).await.unwrap();
    // What is left is sent at the end.
    let (status, said) = seen.stop();
    assert_eq!((status, said.as_str()), (Some(0), ""));
    let spans = collector.spans();

    let request = only(&spans, CHECK);
    assert_eq!((&request.trace_id[..], &request.parent_span_id[..]), (&TRACE[..], &CALLER[..]));
    assert_eq!(attribute(request, "request_id"), Some(Value::StringValue(id)));
    assert_eq!(attribute(request, "rpc.grpc.status_code"), Some(Value::IntValue(0)));
    assert!(matches!(attribute(request, "cost"), Some(Value::IntValue(edges)) if edges > 0));
    for name in ["snapshot", "evaluation"] {
        let span = only(&spans, name);
        assert_eq!((&span.trace_id, &span.parent_span_id), (&request.trace_id, &request.span_id), "{name}");
        assert!(request.start_time_unix_nano <= span.start_time_unix_nano, "{name}");
        assert!(span.end_time_unix_nano <= request.end_time_unix_nano, "{name}");
    }

    let request = only(&spans, WRITE);
    // Nobody called it from within a trace.
    assert!(request.parent_span_id.is_empty() && request.trace_id != TRACE, "{request:#?}");
    let below = |name| {
        let found = named(&spans, name).into_iter().filter(|span| span.trace_id == request.trace_id);
        let found: Vec<_> = found.collect();
        let [span] = found[..] else { panic!("{} spans `{name}`", found.len()) };
        span
    };
    let (append, sync) = (below("append"), below("sync"));
    assert_eq!(append.parent_span_id, request.span_id);
    assert_eq!(sync.parent_span_id, append.span_id);
    assert_eq!(attribute(sync, "batch.requests"), Some(Value::IntValue(1)));
    assert_eq!(attribute(sync, "batch.entries"), Some(Value::IntValue(1)));
    assert!(sync.end_time_unix_nano > sync.start_time_unix_nano);

    // Names, ids and contexts of relationships are in none.
    let all = format!("{spans:?}");
    for told in ["readme", "user:tom", "document"] {
        assert!(!all.contains(told), "`{told}` in {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_not_sent_unless_its_caller_samples_it() {
    let (collector, address) = Collector::start().await;
    let endpoint = format!("http://{address}");
    let seen = Seen::start(&["--otlp-endpoint", &endpoint, "--otlp-sampling", "0"]);
    let mut permissions = seen.server.permissions().await;
    let question = || check("document:readme", "view", "user:tom");
    permissions.check_permission(question()).await.unwrap();
    permissions.check_permission(traced(question(), false)).await.unwrap();
    permissions.check_permission(traced(question(), true)).await.unwrap();
    assert_eq!(seen.stop().0, Some(0));
    assert_eq!(only(&collector.spans(), CHECK).trace_id, TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_share_a_sync_each_have_it_in_their_own_trace() {
    const WRITES: usize = 40;
    let (collector, address) = Collector::start().await;
    let seen = Seen::start(&["--otlp-endpoint", &format!("http://{address}")]);
    let permissions = seen.server.permissions().await;
    let mut writing = tokio::task::JoinSet::new();
    for at in 0..WRITES {
        let mut permissions = permissions.clone();
        writing.spawn(async move {
            permissions
                .write_relationships(touch(&[&format!("document:d{at}#viewer@user:a")]))
                .await
                .unwrap();
        });
    }
    writing.join_all().await;
    assert_eq!(seen.stop().0, Some(0));
    let spans = collector.spans();
    for request in named(&spans, WRITE) {
        let of =
            |name| named(&spans, name).into_iter().filter(|span| span.trace_id == request.trace_id).count();
        assert_eq!((of("append"), of("sync")), (1, 1));
    }
    assert_eq!(named(&spans, WRITE).len(), WRITES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_nobody_up() {
    let began = tokio::time::Instant::now();
    let seen = Seen::start(&["--otlp-endpoint", "http://127.0.0.1:1"]);
    seen.server
        .permissions()
        .await
        .check_permission(check("document:readme", "view", "user:tom"))
        .await
        .unwrap();
    let (status, said) = seen.stop();
    assert_eq!(status, Some(0));
    assert!(began.elapsed().as_secs() < 20, "{said}");
}
