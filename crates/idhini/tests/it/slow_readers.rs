//! What does a reader cost that takes its answers slowly, or not at all, or page by page?
//!
//! Each kind of stream has as many answers as there are results; none of them may be held for a reader that does not
//! take them. A quick run has fewer results than a long one, so that what is counted is the difference.

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::idhini::v1 as own;
use idhini_wire::idhini::v1::namespace_service_client::NamespaceServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::eyes::{Seen, until};
use crate::process::{KEY, Server, object, of_type, relationship, subject, with_key};

/// Results of a quick run, and the variable that says how many else.
const RESULTS: u64 = 60_000;
const RESULTS_VARIABLE: &str = "IDHINI_RESULTS";
/// Results of a page.
const PAGE: u32 = 1_000;
/// Readers of each kind, each on a connection of its own.
const READERS: u64 = 3;
/// A connection's buffers, a portion of answers, a message being made.
const READER_BYTES_MAX: u64 = 3 << 20;
/// Of an export, whose messages are as large as clients take them: one being made, and those that wait to be sent.
const EXPORTER_BYTES_MAX: u64 = 32 << 20;
/// Of a lookup, for each object: two bits and a piece of the frontier, or the byte of a subject and its neighbours.
const OBJECT_BYTES_MAX: u64 = 24;
/// What an answer takes at least, with its cursor.
const ANSWER_BYTES_MIN: u64 = 100;

const SCHEMA: &str = "
definition user {}
definition document {
  relation viewer: user
  permission view = viewer
}";

fn results() -> u64 {
    std::env::var(RESULTS_VARIABLE).map_or(RESULTS, |text| text.parse().unwrap())
}

/// One user on many documents, and many users on one.
async fn crowded(results: u64) -> Server {
    let server = Server::start(&[]);
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    server.schemas().await.write_schema(schema).await.unwrap();
    let text = move |n: u64| match n < results {
        true => format!("document:d{n}#viewer@user:tom"),
        false => format!("document:all#viewer@user:u{n}"),
    };
    let mut client = server.permissions().await;
    let page = move |page: u64| {
        let relationships = (page * 5_000..(page + 1) * 5_000).map(|n| relationship(&text(n))).collect();
        v1::ImportBulkRelationshipsRequest { relationships }
    };
    let pages = tokio_stream::iter((0..2 * results / 5_000).map(page));
    let loaded = client.import_bulk_relationships(pages).await.unwrap().into_inner();
    assert_eq!(loaded.num_loaded, 2 * results);
    server
}

/// A stream being read, whatever its messages are: how many results the next one has.
enum Reading {
    Rows(Streaming<v1::ReadRelationshipsResponse>),
    Resources(Streaming<v1::LookupResourcesResponse>),
    Subjects(Streaming<v1::LookupSubjectsResponse>),
    Export(Streaming<v1::ExportBulkRelationshipsResponse>),
}

impl Reading {
    async fn next(&mut self) -> Result<Option<u64>, Status> {
        Ok(match self {
            Reading::Rows(stream) => stream.message().await?.map(|_| 1),
            Reading::Resources(stream) => stream.message().await?.map(|_| 1),
            Reading::Subjects(stream) => stream.message().await?.map(|_| 1),
            Reading::Export(stream) => stream.message().await?.map(|m| m.relationships.len() as u64),
        })
    }
}

const KINDS: [&str; 4] = ["read", "lookup of resources", "lookup of subjects", "export"];

fn resources() -> v1::LookupResourcesRequest {
    v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:tom"),
        ..Default::default()
    }
}

fn subjects() -> v1::LookupSubjectsRequest {
    v1::LookupSubjectsRequest {
        resource: object("document:all"),
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    }
}

async fn begin(server: &Server, kind: &str) -> Reading {
    let channel: Channel =
        Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let keyed = |request: Request<()>| with_key(request);
    let mut client =
        PermissionsServiceClient::with_interceptor(channel, keyed).max_decoding_message_size(8 << 20);
    match kind {
        "read" => {
            let relationship_filter = Some(of_type("document"));
            let request = v1::ReadRelationshipsRequest { relationship_filter, ..Default::default() };
            Reading::Rows(client.read_relationships(request).await.unwrap().into_inner())
        }
        "lookup of resources" => {
            Reading::Resources(client.lookup_resources(resources()).await.unwrap().into_inner())
        }
        "lookup of subjects" => {
            Reading::Subjects(client.lookup_subjects(subjects()).await.unwrap().into_inner())
        }
        _ => {
            let request = v1::ExportBulkRelationshipsRequest::default();
            Reading::Export(client.export_bulk_relationships(request).await.unwrap().into_inner())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_take_its_answers_costs_a_bounded_memory_and_gets_them_all_later() {
    let results = results();
    let server = crowded(results).await;
    // What one reader of each kind leaves behind is not what a waiting one costs.
    for kind in KINDS {
        begin(&server, kind).await.next().await.unwrap();
    }
    for kind in KINDS {
        let before = server.memory();
        let mut idle = Vec::new();
        for _ in 0..READERS {
            let mut reading = begin(&server, kind).await;
            assert!(reading.next().await.unwrap().is_some());
            idle.push(reading);
        }
        // Until nothing grows any more.
        let mut grown = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let now = server.memory().saturating_sub(before);
            if now <= grown {
                break;
            }
            grown = now;
        }
        let of_each = match kind {
            "export" => EXPORTER_BYTES_MAX,
            "read" => READER_BYTES_MAX,
            _ => READER_BYTES_MAX + OBJECT_BYTES_MAX * results,
        };
        // All answers would be more than what is allowed for one that waits; with few of them that is no news.
        assert!(results < 500_000 || of_each < ANSWER_BYTES_MIN * results);
        let bound = READERS * of_each;
        say(&format!("{kind}: {} KiB more for {READERS} idle readers of {results} results", grown >> 10));
        assert!(grown < bound, "{kind}: {grown} bytes more, {bound} at most");
        // Whoever goes on gets everything, once.
        let mut last = idle.pop().unwrap();
        drop(idle);
        let begun = tokio::time::Instant::now();
        let mut got = 0;
        let mut messages: u64 = 0;
        while let Some(count) = last.next().await.unwrap() {
            got += count;
            messages += 1;
            if messages.is_multiple_of(results / 4) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // The first message of each was read before.
        let wanted = match kind {
            "read" => 2 * results - 1,
            "export" => got.max(2 * results - 10_000).min(2 * results),
            _ => results - 1,
        };
        assert_eq!(got, wanted, "{kind}");
        say(&format!("{kind}: the rest took {:?}", begun.elapsed()));
    }
}

/// Of one page: how many results it has, the cursor behind it, and what it visited, in edges.
async fn page(
    server: &Server,
    kind: &str,
    optional_limit: u32,
    optional_cursor: Option<v1::Cursor>,
) -> (u64, Option<v1::Cursor>, u64) {
    macro_rules! read {
        ($call:expr) => {{
            let mut stream = $call.await.unwrap().into_inner();
            let (mut count, mut behind) = (0, None);
            while let Some(message) = stream.message().await.unwrap() {
                (count, behind) = (count + 1, message.after_result_cursor);
            }
            let trailers = stream.trailers().await.unwrap().unwrap();
            let cost = trailers.get("io.spicedb.respmeta.dispatchedoperationscount").unwrap();
            (count, behind, cost.to_str().unwrap().parse().unwrap())
        }};
    }
    let mut client = server.permissions().await;
    match kind {
        "read" => {
            let relationship_filter = Some(of_type("document"));
            read!(client.read_relationships(v1::ReadRelationshipsRequest {
                relationship_filter,
                optional_limit,
                optional_cursor,
                ..Default::default()
            }))
        }
        "lookup of resources" => {
            let limits = v1::LookupResourcesRequest { optional_limit, optional_cursor, ..resources() };
            read!(client.lookup_resources(limits))
        }
        _ => {
            let optional_concrete_limit = optional_limit;
            let limits = v1::LookupSubjectsRequest { optional_concrete_limit, optional_cursor, ..subjects() };
            read!(client.lookup_subjects(limits))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_cost_the_same_wherever_they_are() {
    let results = results();
    let server = crowded(results).await;
    for (kind, wanted) in [(KINDS[0], 2 * results), (KINDS[1], results), (KINDS[2], results)] {
        let (mut all, mut cursor) = (0, None);
        let mut costs = Vec::new();
        let mut times = Vec::new();
        loop {
            let begun = tokio::time::Instant::now();
            let (count, behind, cost) = page(&server, kind, PAGE, cursor.take()).await;
            if count == 0 {
                break;
            }
            times.push(begun.elapsed());
            costs.push(cost);
            all += count;
            cursor = behind;
        }
        assert_eq!(all, wanted, "{kind}");
        let (first, last) = (costs[0], costs[costs.len() - 1]);
        times.sort_unstable();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        say(&format!(
            "{kind}: {} pages of {PAGE}, median {median:?}, slowest {slowest:?}; edges of the first {first}, of the last {last}",
            times.len()
        ));
        // Reads are not charged in edges. The first page of a lookup searches, those behind it go on with what it reached.
        let dearest = costs[1..].iter().max().unwrap();
        let is_free = kind == KINDS[0];
        assert_eq!(is_free, first == 0);
        assert!(
            is_free || (first > results && *dearest < u64::from(2 * PAGE)),
            "{kind}: {first} edges, then {dearest}"
        );
    }
}

#[expect(clippy::print_stderr, reason = "for whoever runs it with --nocapture")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_ends_with_its_deadline_and_with_a_lock() {
    let seen = Seen::start(&[]);
    let channel = seen.server.channel().await;
    let about = |mut request: Request<()>| {
        request.metadata_mut().insert("x-idhini-namespace", "a".parse().unwrap());
        with_key(request)
    };
    let mut namespaces = NamespaceServiceClient::with_interceptor(channel.clone(), with_key);
    let create = own::CreateNamespaceRequest { path: "a".to_owned(), ..Default::default() };
    namespaces.create_namespace(create).await.unwrap();
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::with_interceptor(channel.clone(), about).write_schema(schema).await.unwrap();
    let mut permissions = PermissionsServiceClient::with_interceptor(channel, about);
    let relationships =
        (0..50_000).map(|n| relationship(&format!("document:d{n}#viewer@user:tom"))).collect();
    let all = tokio_stream::once(v1::ImportBulkRelationshipsRequest { relationships });
    permissions.import_bulk_relationships(all).await.unwrap();
    // What it has room for is far less than what there is.
    let endpoint = Endpoint::from_shared(format!("http://{}", seen.server.address)).unwrap();
    let narrow = endpoint.initial_stream_window_size(Some(16 * 1024)).connect().await.unwrap();
    let mut permissions =
        PermissionsServiceClient::with_interceptor(narrow, about).max_decoding_message_size(8 << 20);
    let under_way = "idhini_requests_under_way";
    let mut lookup = Request::new(resources());
    lookup.set_timeout(Duration::from_secs(1));
    let mut unread = permissions.lookup_resources(lookup).await.unwrap().into_inner();
    unread.message().await.unwrap().unwrap();
    until("it is under way", || seen.metric(under_way) == Some(1.0)).await;
    until("its deadline has ended it", || seen.metric(under_way) == Some(0.0)).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut unread = permissions.lookup_resources(resources()).await.unwrap().into_inner();
        unread.message().await.unwrap().unwrap();
        others.push(unread);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen.metric(under_way), Some(3.0), "nothing ends them before");
    let lock = own::LockNamespaceRequest { path: "a".to_owned(), ..Default::default() };
    namespaces.lock_namespace(lock).await.unwrap();
    until("the lock has ended them", || seen.metric(under_way) == Some(0.0)).await;
    drop((unread, others));
}

/// A reader of HTTP/1 that asks for a stream as JSON and takes nothing of it.
fn unread(address: &str, timeout: &str) -> std::net::TcpStream {
    use std::io::Write as _;
    let body = "{\"resourceObjectType\":\"document\",\"permission\":\"view\",\"subject\":{\"object\":{\"objectType\":\"user\",\"objectId\":\"tom\"}}}";
    let mut reader = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/a/permissions/resources HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{timeout}content-length: {}\r\n\r\n",
        body.len()
    );
    reader.write_all((head + body).as_bytes()).unwrap();
    reader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_as_json_that_nobody_reads_ends_as_well() {
    let seen = Seen::start(&["--http-addr", "127.0.0.1:0"]);
    let http = seen.server.http_address();
    let channel = seen.server.channel().await;
    let about = |mut request: Request<()>| {
        request.metadata_mut().insert("x-idhini-namespace", "a".parse().unwrap());
        with_key(request)
    };
    let mut namespaces = NamespaceServiceClient::with_interceptor(channel.clone(), with_key);
    let create = own::CreateNamespaceRequest { path: "a".to_owned(), ..Default::default() };
    namespaces.create_namespace(create).await.unwrap();
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::with_interceptor(channel.clone(), about).write_schema(schema).await.unwrap();
    let mut permissions = PermissionsServiceClient::with_interceptor(channel, about);
    // More than the buffers of the system hold.
    let relationships =
        (0..100_000).map(|n| relationship(&format!("document:d{n}#viewer@user:tom"))).collect();
    let all = tokio_stream::once(v1::ImportBulkRelationshipsRequest { relationships });
    permissions.import_bulk_relationships(all).await.unwrap();
    let under_way = "idhini_requests_under_way";
    let late = unread(&http, "grpc-timeout: 1S\r\n");
    until("it is under way", || seen.metric(under_way) == Some(1.0)).await;
    until("its deadline has ended it", || seen.metric(under_way) == Some(0.0)).await;
    let others: Vec<_> = (0..3).map(|_| unread(&http, "")).collect();
    until("they are under way", || seen.metric(under_way) == Some(3.0)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen.metric(under_way), Some(3.0), "nothing ends them before");
    let lock = own::LockNamespaceRequest { path: "a".to_owned(), ..Default::default() };
    namespaces.lock_namespace(lock).await.unwrap();
    until("the lock has ended them", || seen.metric(under_way) == Some(0.0)).await;
    drop((late, others));
}
