//! Checks on one stream: out of order, held back, each by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::google::rpc::Status as Answered;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::check_stream_request::Request as Asking;
use idhini_wire::idhini::v1::check_stream_response::Response;
use idhini_wire::idhini::v1::permissions_service_client::PermissionsServiceClient;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status, Streaming};

use crate::own::{exactly, import, now, own};
use crate::process::{PATIENCE, Server, object, subject, touch, with_key};

/// A stream of checks, the client's side.
struct Stream {
    sender: mpsc::Sender<v1::CheckStreamRequest>,
    answers: Streaming<v1::CheckStreamResponse>,
}

fn item(request_id: u64, resource: &str, permission: &str, by: &str) -> v1::CheckStreamItem {
    v1::CheckStreamItem {
        request_id,
        resource: object(resource),
        permission: permission.to_owned(),
        subject: subject(by),
        ..Default::default()
    }
}

fn asking(item: v1::CheckStreamItem) -> v1::CheckStreamRequest {
    v1::CheckStreamRequest { request: Some(Asking::Check(item)) }
}

fn settings(consistency: Option<authzed::Consistency>) -> v1::CheckStreamRequest {
    let settings = v1::CheckStreamSettings { consistency, optional_as_of: None };
    v1::CheckStreamRequest { request: Some(Asking::Settings(settings)) }
}

impl Stream {
    async fn open(server: &Server) -> Stream {
        Stream::with(server, |_| {}).await
    }

    async fn with(
        server: &Server,
        edit: impl FnOnce(&mut Request<ReceiverStream<v1::CheckStreamRequest>>),
    ) -> Stream {
        let (sender, receiver) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(receiver));
        edit(&mut request);
        let answers = own(server).await.check_stream(request).await.unwrap().into_inner();
        Stream { sender, answers }
    }

    async fn ask(&self, message: v1::CheckStreamRequest) {
        tokio::time::timeout(PATIENCE, self.sender.send(message)).await.unwrap().unwrap();
    }

    async fn next(&mut self) -> Result<Option<(u64, Response)>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.answers.message()).await.unwrap()?;
        Ok(message.map(|message| (message.request_id, message.response.unwrap())))
    }

    async fn answer(&mut self) -> (u64, Permissionship) {
        match self.next().await.unwrap().unwrap() {
            (id, Response::Answer(answer)) => (id, answer.permissionship()),
            (id, Response::Error(error)) => panic!("{id}: {error:?}"),
        }
    }

    /// Closes the client's side, and takes what is left.
    async fn rest(self) -> Result<Vec<(u64, Response)>, Status> {
        let Stream { sender, answers } = self;
        let (nobody, _) = mpsc::channel(1);
        drop(sender);
        let mut stream = Stream { sender: nobody, answers };
        let mut rest = Vec::new();
        while let Some(answer) = stream.next().await? {
            rest.push(answer);
        }
        Ok(rest)
    }
}

fn reason(error: &Answered) -> String {
    let Some(any) = error.details.first() else { return String::new() };
    let info = idhini_wire::google::rpc::ErrorInfo::decode(any.value.as_slice()).unwrap();
    assert_eq!(info.domain, "authzed.com");
    info.reason.trim_start_matches("ERROR_REASON_").to_owned()
}

/// Has a question that takes long, from either side: a chain of so many groups below the resource, and one above the
/// subject, that do not meet.
async fn slow(length: usize) -> Server {
    let server = Server::furnished();
    let below = (0..length).map(|n| format!("group:c{n}#member@group:c{}#member", n + 1));
    let above = (0..length).map(|n| format!("group:d{}#member@group:d{n}#member", n + 1));
    let of_subject = std::iter::once("group:d0#member@user:lost".to_owned());
    import(&server, below.chain(above).chain(of_subject)).await;
    server
}

fn slow_item(request_id: u64) -> v1::CheckStreamItem {
    item(request_id, "group:c0", "member", "user:lost")
}

#[tokio::test]
async fn every_check_is_answered_once_by_its_id_and_the_stream_ends_well() {
    use Permissionship::{ConditionalPermission, HasPermission, NoPermission};
    let server = Server::furnished();
    let stream = Stream::open(&server).await;
    let table = [
        ("user:tom", HasPermission),
        ("user:bob", NoPermission),
        ("user:eve", ConditionalPermission),
        ("group:eng#member", HasPermission),
    ];
    // Nothing reads while these are sent, so they stay within what may be in flight.
    let mut wanted = BTreeMap::new();
    for n in 0..100_u64 {
        let (by, answer) = table[(n % 4) as usize];
        let id = n * 1_000_003;
        wanted.insert(id, answer);
        stream.ask(asking(item(id, "document:readme", "view", by))).await;
    }
    let rest = stream.rest().await.unwrap();
    assert_eq!(rest.len(), 100);
    let mut got = BTreeMap::new();
    for (id, response) in rest {
        let Response::Answer(answer) = response else { panic!("{response:?}") };
        assert!(answer.checked_at.is_some());
        let missing = answer.partial_caveat_info.clone().map(|info| info.missing_required_context);
        let is_conditional = answer.permissionship() == ConditionalPermission;
        assert_eq!(missing, is_conditional.then(|| vec!["level".to_owned()]));
        got.insert(id, answer.permissionship());
    }
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn slow_questions_do_not_hold_up_quick_ones() {
    let server = slow(60_000).await;
    let mut stream = Stream::open(&server).await;
    // More than there are threads.
    for id in 0..12 {
        stream.ask(asking(slow_item(id))).await;
    }
    for id in 100..110 {
        stream.ask(asking(item(id, "document:readme", "view", "user:tom"))).await;
        // No slow one is finished before it, though they all began before.
        assert_eq!(stream.answer().await, (id, Permissionship::HasPermission));
    }
    let rest = stream.rest().await.unwrap();
    let ids: BTreeSet<u64> = rest.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (0..12).collect());
}

/// Sends checks until no more are taken, or there are no more; says how many. The task goes on sending.
async fn until_it_stands_still(
    sender: mpsc::Sender<v1::CheckStreamRequest>,
    next: impl Fn(u64) -> Option<v1::CheckStreamItem> + Send + 'static,
) -> (tokio::task::JoinHandle<()>, u64) {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    // Contexts of some length, so that not much fits into what lies between.
    let context = idhini_model::Context::from_json(&format!(r#"{{"day":"{}"}}"#, "x".repeat(3_900))).unwrap();
    let sending = tokio::spawn(async move {
        for id in 0.. {
            let Some(mut asked) = next(id) else { return };
            asked.context = Some(idhini_wire::context_message(context.clone()));
            if sender.send(asking(asked)).await.is_err() {
                return;
            }
            counted.store(id + 1, Ordering::SeqCst);
        }
    });
    let (mut before, mut still) = (u64::MAX, 0);
    while still < 4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = sent.load(Ordering::SeqCst);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    (sending, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_that_are_not_finished_hold_back_further_ones() {
    const MANY: u64 = 10_000;
    let server = slow(200_000).await;
    let Stream { sender, answers } = Stream::open(&server).await;
    let (sending, stalled) = until_it_stands_still(sender, |id| (id < MANY).then(|| slow_item(id))).await;
    assert!((128..1_000).contains(&stalled), "{stalled} were sent");
    sending.abort();
    drop(answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_answers_is_read_no_further_and_loses_none() {
    const MANY: u64 = 20_000;
    let server = Server::furnished();
    // A transport that holds as little as it may.
    let small = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let small = small.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let channel = small.connect().await.unwrap();
    let (sender, receiver) = mpsc::channel(1);
    let asking_for = PermissionsServiceClient::with_interceptor(channel, with_key);
    let asked = asking_for.clone().check_stream(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = asked.into_inner();
    let (sending, stalled) = until_it_stands_still(sender, |id| {
        (id < MANY).then(|| item(id, "document:readme", "view", "user:tom"))
    })
    .await;
    assert!((128..4_000).contains(&stalled), "{stalled} were sent");
    let mut ids = BTreeSet::new();
    while let Some(answer) = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap() {
        assert!(matches!(answer.response, Some(Response::Answer(_))), "{answer:?}");
        assert!(ids.insert(answer.request_id));
    }
    sending.await.unwrap();
    assert_eq!(ids, (0..MANY).collect());
}

#[tokio::test]
async fn a_check_that_has_no_answer_is_that_ones_error_and_the_stream_goes_on() {
    let server = Server::furnished();
    let mut stream = Stream::open(&server).await;
    let garbage = authzed::ZedToken { token: "garbage".to_owned() };
    let with = |id, consistency| v1::CheckStreamItem {
        consistency,
        ..item(id, "document:readme", "view", "user:tom")
    };
    let of_day = |json: &str| {
        let context = idhini_model::Context::from_json(json).unwrap();
        let context = Some(idhini_wire::context_message(context));
        v1::CheckStreamItem { context, ..item(8, "document:readme", "view", "user:eve") }
    };
    let negative = v1::CheckStreamItem {
        optional_timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..item(9, "document:readme", "view", "user:tom")
    };
    for (asked, code, wanted) in [
        (item(1, "nothing:a", "view", "user:tom"), Code::FailedPrecondition, "UNKNOWN_DEFINITION"),
        (
            item(2, "document:a", "nothing", "user:tom"),
            Code::FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
        ),
        (item(3, "document:a", "view", "user:*"), Code::InvalidArgument, "WILDCARD_NOT_ALLOWED"),
        (v1::CheckStreamItem { request_id: 4, ..Default::default() }, Code::InvalidArgument, ""),
        (with(5, exactly(&garbage)), Code::InvalidArgument, ""),
        (
            with(6, Some(authzed::Consistency { requirement: Some(Requirement::FullyConsistent(false)) })),
            Code::InvalidArgument,
            "",
        ),
        (item(7, "document:a", "view", "user:not an id"), Code::InvalidArgument, ""),
        (of_day(r#"{"level":"high"}"#), Code::InvalidArgument, "CAVEAT_PARAMETER_TYPE_ERROR"),
        (negative, Code::InvalidArgument, ""),
    ] {
        let id = asked.request_id;
        stream.ask(asking(asked)).await;
        let (of, response) = stream.next().await.unwrap().unwrap();
        let Response::Error(error) = response else { panic!("{id}: {response:?}") };
        assert_eq!(of, id);
        assert_eq!((Code::from(error.code), reason(&error).as_str()), (code, wanted), "{error:?}");
        assert!(!error.message.is_empty());
        stream.ask(asking(item(100 + id, "document:readme", "view", "user:tom"))).await;
        assert_eq!(stream.answer().await, (100 + id, Permissionship::HasPermission));
    }
    assert!(stream.rest().await.unwrap().is_empty());
}

#[tokio::test]
async fn consistency_is_the_items_or_else_the_streams() {
    use Permissionship::{HasPermission, NoPermission};
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let mut write = async |text: &str| {
        client.write_relationships(touch(&[text])).await.unwrap().into_inner().written_at.unwrap()
    };
    let before = write("document:d#viewer@user:a").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let moment = now();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let after = write("document:d#viewer@user:b").await;
    let asked = |consistency| v1::CheckStreamItem { consistency, ..item(1, "document:d", "view", "user:b") };
    let mut stream = Stream::open(&server).await;
    stream.ask(settings(exactly(&before))).await;
    let full = Some(authzed::Consistency { requirement: Some(Requirement::FullyConsistent(true)) });
    for (asked, wanted) in [
        (asked(None), NoPermission),
        (asked(exactly(&after)), HasPermission),
        (asked(full), HasPermission),
        (v1::CheckStreamItem { optional_as_of: Some(moment.into()), ..asked(None) }, NoPermission),
    ] {
        stream.ask(asking(asked)).await;
        assert_eq!(stream.answer().await.1, wanted);
    }
    assert!(stream.rest().await.unwrap().is_empty());
    // Without settings each is answered from what is newest when it is read.
    let mut stream = Stream::open(&server).await;
    stream.ask(asking(asked(None))).await;
    assert_eq!(stream.answer().await.1, HasPermission);
    client.write_relationships(touch(&["document:d#banned@user:b"])).await.unwrap();
    stream.ask(asking(asked(None))).await;
    assert_eq!(stream.answer().await.1, NoPermission);
    // Settings stand first, or not at all; and a message says something.
    for wrong in [settings(None), v1::CheckStreamRequest { request: None }] {
        let mut stream = Stream::open(&server).await;
        stream.ask(asking(asked(None))).await;
        assert_eq!(stream.answer().await.1, NoPermission);
        stream.ask(wrong).await;
        assert_eq!(stream.next().await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn deadlines_end_a_check_or_the_stream() {
    let server = slow(60_000).await;
    let mut stream = Stream::open(&server).await;
    let short = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    stream.ask(asking(v1::CheckStreamItem { optional_timeout: short, ..slow_item(1) })).await;
    let (id, response) = stream.next().await.unwrap().unwrap();
    let Response::Error(error) = response else { panic!("{response:?}") };
    assert_eq!((id, Code::from(error.code)), (1, Code::DeadlineExceeded));
    stream.ask(asking(item(2, "document:readme", "view", "user:tom"))).await;
    assert_eq!(stream.answer().await, (2, Permissionship::HasPermission));
    // Of the stream, though nothing is asked.
    let mut stream = Stream::with(&server, |request| {
        request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    })
    .await;
    stream.ask(asking(item(2, "document:readme", "view", "user:tom"))).await;
    assert_eq!(stream.answer().await, (2, Permissionship::HasPermission));
    assert_eq!(stream.next().await.unwrap_err().code(), Code::DeadlineExceeded);
}

/// What the process has used, in ticks of a hundredth of a second.
#[cfg(target_os = "linux")]
fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // State is the first behind the name; user and system time are the 14th and 15th of all.
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_leaves_takes_its_checks_with_it() {
    let server = slow(200_000).await;
    let stream = Stream::open(&server).await;
    for id in 0..100 {
        stream.ask(asking(slow_item(id))).await;
    }
    let used_in_a_second = async || {
        let before = processor_ticks(server.pid());
        tokio::time::sleep(Duration::from_secs(1)).await;
        processor_ticks(server.pid()) - before
    };
    // They take far longer than a second, all together, also where others use the machine.
    let busy = used_in_a_second().await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let left = used_in_a_second().await;
    assert!(busy >= 8 && left <= 2, "{busy} hundredths of a second with the client, {left} without");
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_read_and_says_so() {
    let server = slow(20_000).await;
    let mut stream = Stream::open(&server).await;
    stream.ask(asking(item(1, "document:readme", "view", "user:tom"))).await;
    assert_eq!(stream.answer().await, (1, Permissionship::HasPermission));
    stream.ask(asking(slow_item(2))).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stopping = std::thread::spawn(move || server.stop());
    assert_eq!(stream.answer().await, (2, Permissionship::NoPermission));
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
    stopping.join().unwrap();
}

#[tokio::test]
async fn what_the_checks_of_a_stream_visited_is_told_behind_it_as_behind_any_call() {
    const LENGTH: usize = 1_000;
    let server = slow(LENGTH).await;
    let mut stream = Stream::open(&server).await;
    stream.ask(asking(slow_item(1))).await;
    assert_eq!(stream.answer().await.0, 1);
    let Stream { sender, mut answers } = stream;
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
    let behind = answers.trailers().await.unwrap().unwrap();
    let visited = behind.get("io.spicedb.respmeta.dispatchedoperationscount").unwrap();
    assert!(visited.to_str().unwrap().parse::<usize>().unwrap() > LENGTH, "{visited:?}");
}
