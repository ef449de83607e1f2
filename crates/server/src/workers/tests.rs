use tokio::net::TcpListener;
use tonic::service::Routes;

use super::*;
use crate::admission::Admission;
use crate::auth::Keys;
use crate::meta::{Meta, Place};
use crate::newcomers::SILENCE_MAX;
use crate::options::Options;
use crate::telemetry::Recorder;
use crate::tenants::{NewStore, Offer, Offered};

fn workers(count: usize) -> Workers {
    let new_store: NewStore = Arc::new(|| Err(io::ErrorKind::Other.into()));
    let options = Options::for_tests(Keys::default());
    let offered = Offered::new(&Offer::StorePerToken { new_store, stores_max: 0 }, &options);
    let telemetry = options.telemetry;
    let pipelines = (0..count).map(|index| {
        let meta = Meta::new(1, Place { index, of: count }, Recorder::new(&telemetry));
        let admission = Admission::new(None, &telemetry, offered.of_worker());
        Arc::new(Pipeline::new(meta, admission, Routes::default(), None))
    });
    Workers::start(pipelines.collect()).unwrap()
}

fn open(workers: &Workers) -> Vec<usize> {
    workers.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).collect()
}

/// Connections that are handed to the workers.
async fn connected(listener: &TcpListener, workers: &Workers, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (socket, from) = listener.accept().await.unwrap();
        workers.take(socket, from, None).unwrap();
    }
    clients
}

async fn until(workers: &Workers, wanted: &[usize]) {
    while open(workers) != wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn connections_are_spread_evenly_also_after_some_were_closed() {
    let (workers, listener) = (workers(3), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let mut clients = connected(&listener, &workers, 9).await;
    assert_eq!(open(&workers), [3, 3, 3]);
    // Those of the first worker.
    for at in [6, 3, 0] {
        drop(clients.remove(at));
    }
    until(&workers, &[0, 3, 3]).await;
    clients.extend(connected(&listener, &workers, 5).await);
    let mut now = open(&workers);
    now.sort_unstable();
    assert_eq!(now, [3, 4, 4]);
}

#[tokio::test]
async fn draining_ends_with_the_last_connection_and_idle_ones_are_closed() {
    let (workers, listener) = (workers(2), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let clients = connected(&listener, &workers, 4).await;
    tokio::time::timeout(Duration::from_secs(30), workers.drain()).await.unwrap();
    assert_eq!(open(&workers), [0, 0]);
    // What one began for another's connections goes on until all are gone.
    assert!(workers.workers.iter().all(|worker| !worker.sockets.is_closed()));
    drop(clients);
}

/// A connection on which nobody is answered, and how it is told to end.
fn connection(newcomers: &Arc<Newcomers>) -> Connection {
    let new_store: NewStore = Arc::new(|| Err(io::ErrorKind::Other.into()));
    let options = Options::for_tests(Keys::default());
    let offered = Offered::new(&Offer::StorePerToken { new_store, stores_max: 0 }, &options);
    let meta = Meta::new(1, Place { index: 0, of: 1 }, Recorder::new(&options.telemetry));
    let admission = Admission::new(None, &options.telemetry, offered.of_worker());
    let pipeline = Arc::new(Pipeline::new(meta, admission, Routes::default(), None));
    Connection::new(pipeline, Accepted::default(), newcomers.come())
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_no_whole_head_is_not_waited_for_without_end() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let newcomers = Arc::new(Newcomers::default());
    // The last one says that it has no settings, and asks nothing.
    let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for sent in [&b""[..], b"PRI * HT", b"GET /v1/sys/health HT", PREFACE, &settings] {
        let (mut client, server) = tokio::io::duplex(4_096);
        let (_serving, stage) = watch::channel(Stage::Serving);
        let conversing = tokio::spawn(converse(server, connection(&newcomers), stage));
        client.write_all(sent).await.unwrap();
        let begun = tokio::time::Instant::now();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        conversing.await.unwrap();
        let took = begun.elapsed();
        let text = String::from_utf8_lossy(sent);
        assert!(took <= SILENCE_MAX + Duration::from_secs(1), "{text:?}: {took:?}");
        assert!(took >= SILENCE_MAX - Duration::from_secs(1), "{text:?}: {took:?}");
    }
}
