//! A lock that falls on many: streams that are open are cut, calls that come after its answer are refused, all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use idhini_wire::idhini::v1 as own;
use idhini_wire::idhini::v1::permissions_service_client::PermissionsServiceClient as OwnClient;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Caller, say, why};
use crate::process::{Server, check, object, subject, touch};

const WATCHES: usize = 80;
const CHECK_STREAMS: usize = 60;
const LOOKUPS: usize = 60;
const CALLERS: usize = 64;
/// Streams, or callers, of one connection.
const SHARED: usize = 20;
const DOCUMENTS: usize = 500;
/// Between two lookups of a stream's place.
const LOOKUP_PAUSE: Duration = Duration::from_millis(25);
/// How long after a lock's answer a stream may be open. A debug build on a machine that is busy with other tests gets more.
const CUT_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });
/// The reason of what is refused for want of time, not for the lock.
const OVERLOADED: &str = "OVERLOADED";
const SCHEMA: &str =
    "definition user {}\ndefinition document {\n  relation viewer: user\n  permission view = viewer\n}";

/// Why a stream ended, and when.
type Ended = (Status, Instant);

/// When a call began, when it was answered, and how.
struct Asked {
    began: Instant,
    ended: Instant,
    refusal: Option<Status>,
}

async fn furnish(there: &Caller) {
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::new(there.channel.clone()).write_schema(there.request(schema)).await.unwrap();
    let mut permissions = PermissionsServiceClient::new(there.channel.clone());
    let all: Vec<String> = (0..DOCUMENTS).map(|n| format!("document:d{n}#viewer@user:tom")).collect();
    for part in all.chunks(1_000) {
        let texts: Vec<&str> = part.iter().map(String::as_str).collect();
        permissions.write_relationships(there.request(touch(&texts))).await.unwrap();
    }
}

/// Watches until that is refused. What it waits for never comes.
async fn watch(of: Caller) -> Ended {
    let mut client = WatchServiceClient::new(of.channel.clone());
    let request = v1::WatchRequest { optional_update_kinds: vec![1, 3], ..Default::default() };
    let mut stream = match client.watch(of.request(request)).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (status, Instant::now()),
    };
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return (Status::ok("it ended well"), Instant::now()),
            Err(status) => return (status, Instant::now()),
        }
    }
}

/// Asks on one stream, one question after the other.
async fn check_stream(of: Caller) -> Ended {
    let (asking, asked) = tokio::sync::mpsc::channel(1);
    let item = |request_id| own::CheckStreamItem {
        request_id,
        resource: object("document:d1"),
        permission: "view".to_owned(),
        subject: subject("user:tom"),
        ..Default::default()
    };
    let message =
        |id| own::CheckStreamRequest { request: Some(own::check_stream_request::Request::Check(item(id))) };
    asking.send(message(0)).await.unwrap();
    let mut client = OwnClient::new(of.channel.clone());
    let mut answers = match client.check_stream(of.request(ReceiverStream::new(asked))).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return (status, Instant::now()),
    };
    for id in 1.. {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return (Status::ok("it ended well"), Instant::now()),
            Err(status) => return (status, Instant::now()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        // A stream that is cut takes no more; its answers say why.
        let _ = asking.send(message(id)).await;
    }
    unreachable!()
}

/// Looks up, again and again.
async fn lookup(of: Caller) -> Ended {
    let mut client = PermissionsServiceClient::new(of.channel.clone());
    loop {
        let request = v1::LookupResourcesRequest {
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: subject("user:tom"),
            ..Default::default()
        };
        let mut stream = match client.lookup_resources(of.request(request)).await {
            Ok(stream) => stream.into_inner(),
            // A slow machine may have more to do than it can: it is asked again, as by any client.
            Err(status) if why(&status).0 == OVERLOADED => {
                tokio::time::sleep(LOOKUP_PAUSE).await;
                continue;
            }
            Err(status) => return (status, Instant::now()),
        };
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(status) => return (status, Instant::now()),
            }
        }
        tokio::time::sleep(LOOKUP_PAUSE).await;
    }
}

/// Calls as fast as it is answered, until told to stop.
async fn call(of: Caller, is_over: Arc<AtomicBool>) -> Vec<Asked> {
    let mut client = PermissionsServiceClient::new(of.channel.clone());
    let mut all = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = client.check_permission(of.request(check("document:d1", "view", "user:tom"))).await;
        all.push(Asked { began, ended: Instant::now(), refusal: answer.err() });
    }
    all
}

/// Callers in turn about the namespace that is to be locked and the one below it, on connections of their own.
async fn callers(server: &Server, root: &Caller, count: usize) -> Vec<Caller> {
    let mut all = Vec::new();
    let mut connected = root.clone();
    for at in 0..count {
        if at % SHARED == 0 {
            connected = root.apart(server).await;
        }
        all.push(connected.about(if at % 2 == 0 { "team" } else { "team/sub" }));
    }
    all
}

fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_cuts_every_stream_and_nothing_is_allowed_after_its_answer() {
    let server = Server::start(&[]);
    let root = Caller::root(&server).await;
    for path in ["team", "team/sub", "other"] {
        root.create(path).await.unwrap();
        furnish(&root.about(path)).await;
    }
    let mut streams: Vec<(&str, JoinHandle<Ended>)> = Vec::new();
    for of in callers(&server, &root, WATCHES).await {
        streams.push(("watch", tokio::spawn(watch(of))));
    }
    for of in callers(&server, &root, CHECK_STREAMS).await {
        streams.push(("check stream", tokio::spawn(check_stream(of))));
    }
    for of in callers(&server, &root, LOOKUPS).await {
        streams.push(("lookup", tokio::spawn(lookup(of))));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let calling: Vec<_> = callers(&server, &root, CALLERS)
        .await
        .into_iter()
        .map(|of| tokio::spawn(call(of, Arc::clone(&is_over))))
        .collect();
    // Somebody else is not held up.
    let bystander = root.apart(&server).await.about("other");
    let beside = tokio::spawn(call(bystander, Arc::clone(&is_over)));
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(streams.iter().all(|(_, stream)| !stream.is_finished()), "all are open before the lock");

    // On a connection of its own, as whoever is alarmed would.
    let alarmed = root.apart(&server).await;
    let asked = Instant::now();
    let key = alarmed.lock("team", own::LockMode::All).await.unwrap();
    let answered = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    is_over.store(true, Ordering::Relaxed);

    let mut cut = Vec::new();
    let count = streams.len();
    for (kind, stream) in streams {
        let (status, ended) = tokio::time::timeout(CUT_WITHIN, stream).await.unwrap().unwrap();
        assert_eq!(why(&status).0, "NAMESPACE_LOCKED", "{kind}: {status:?}");
        cut.push(ended.saturating_duration_since(answered));
    }
    cut.sort_unstable();
    let (mut before, mut allowed, mut refusals, mut last_allowed) = (0, 0, Vec::new(), Duration::ZERO);
    for caller in calling {
        for Asked { began, ended, refusal } in caller.await.unwrap() {
            match refusal {
                None if began >= answered => allowed += 1,
                None => {
                    before += 1;
                    last_allowed = last_allowed.max(ended.saturating_duration_since(answered));
                }
                // A slow machine may have more to do than it can, until the lock takes most of it away.
                Some(status) if began < answered && why(&status).0 == OVERLOADED => {}
                Some(status) => {
                    assert_eq!(why(&status).0, "NAMESPACE_LOCKED", "{status:?}");
                    if began >= answered {
                        refusals.push(ended - began);
                    }
                }
            }
        }
    }
    refusals.sort_unstable();
    let beside = beside.await.unwrap();
    assert!(beside.iter().all(|asked| asked.refusal.is_none()), "another namespace goes on");
    say(&format!(
        "lock answered after                     {:?}\n\
         streams cut                             {count} of {count}; the last {:?} after the answer, half of them within {:?}\n\
         checks answered before                  {before}; the last answer {last_allowed:?} after the lock's\n\
         checks begun after the answer           {}: {allowed} allowed; refused within {:?} (p50), {:?} (p99)\n\
         checks of another namespace meanwhile   {}, none refused",
        answered - asked,
        cut.last().copied().unwrap_or_default(),
        quantile(&cut, 0.5),
        refusals.len() + allowed,
        quantile(&refusals, 0.5),
        quantile(&refusals, 0.99),
        beside.len(),
    ));
    assert_eq!(allowed, 0);
    assert!(refusals.len() > CALLERS, "{}", refusals.len());
    assert!(cut.last().is_some_and(|last| *last < CUT_WITHIN), "{cut:?}");

    // And back: the same connections are let in again.
    root.unlock("team", &key).await.unwrap();
    let there = root.about("team/sub");
    let mut client = PermissionsServiceClient::new(there.channel.clone());
    client.check_permission(there.request(check("document:d1", "view", "user:tom"))).await.unwrap();
}
