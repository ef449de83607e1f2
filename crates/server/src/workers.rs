//! Which thread answers which connection?
//!
//! Each worker is a thread with a runtime of its own that has its connections to itself from their first byte to their
//! last: nothing is stolen, and nothing of a call moves from one core to another. A new connection goes to the worker that
//! has the fewest. What is not a call (images, sweeps, metrics, writes that may take long) runs elsewhere, so that neither
//! holds up the other.
//!
//! # Invariants
//! * A worker never blocks: evaluation pauses after each portion, and what may take long is done aside.
//! * Whoever connects and asks nothing is not waited for without end, nor are there many of them (`newcomers.rs`).
//! * When they are told to stop, workers finish the calls under way; when their time is over, nothing.
//!
//! Cost: handing over a connection wakes a thread, and one with TLS has its handshake there; calls cost nothing.

use std::io;
use std::net::{SocketAddr, TcpStream as Socket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::admission::Accepted;
use crate::conversation::{Conversation, NewCalls};
use crate::load::LOOK_INTERVAL;
use crate::newcomers::{Newcomer, Newcomers};
use crate::pipeline::{Connection, Pipeline};
use crate::tls::{Handshakes, Tls};

/// Calls under way on one connection.
const STREAMS_MAX: u32 = 1_000;
/// Bytes of an answer that are handed to a connection before others have their turn.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Silence after which a connection is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection on which nothing was asked may take to end.
const PARTING_MAX: Duration = Duration::from_millis(100);
/// How often a worker looks whether it holds what it does not need.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// The threads that answer.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    stage: watch::Sender<Stage>,
}

/// One of them, from outside.
struct Worker {
    sockets: mpsc::UnboundedSender<Handed>,
    open: Arc<AtomicUsize>,
}

/// A connection on its way to a worker.
struct Handed {
    socket: Socket,
    from: SocketAddr,
    tls: Option<Arc<Tls>>,
    open: Open,
}

/// A connection counts for as long as this is there.
struct Open(Arc<AtomicUsize>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// What is under way is finished, and nothing new is taken.
    Draining,
    Over,
}

impl Workers {
    /// Starts a worker for each pipeline.
    pub(crate) fn start(pipelines: Vec<Arc<Pipeline>>) -> io::Result<Workers> {
        let (stage, _) = watch::channel(Stage::Serving);
        let mut started = Workers { workers: Vec::with_capacity(pipelines.len()), stage };
        for (index, pipeline) in pipelines.into_iter().enumerate() {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let (sockets, handed) = mpsc::unbounded_channel();
            let stage = started.stage.subscribe();
            let work = move || run(&runtime, pipeline, handed, stage);
            thread::Builder::new().name(format!("worker-{index}")).spawn(work)?;
            started.workers.push(Worker { sockets, open: Arc::default() });
        }
        Ok(started)
    }

    /// Hands a connection from there to the worker with the fewest.
    pub(crate) fn take(&self, socket: TcpStream, from: SocketAddr, tls: Option<Arc<Tls>>) -> io::Result<()> {
        // One whose thread has ended takes nothing.
        let alive = self.workers.iter().filter(|worker| !worker.sockets.is_closed());
        let fewest = alive.min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let Some(worker) = fewest else { return Err(io::Error::other("no thread is left to answer")) };
        // Answers are small and must not wait for acknowledgements of earlier ones.
        socket.set_nodelay(true)?;
        worker.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&worker.open));
        // A worker that is gone has no connections; the client sees that it is closed.
        let _ = worker.sockets.send(Handed { socket: socket.into_std()?, from, tls, open });
        Ok(())
    }

    /// Lets what is under way come to its end, and waits for it.
    pub(crate) async fn drain(&self) {
        self.stage.send_replace(Stage::Draining);
        // Each worker listens until its last connection is closed; what it does then ends with all of them.
        self.stage.closed().await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Over);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run(
    runtime: &Runtime,
    pipeline: Arc<Pipeline>,
    handed: mpsc::UnboundedReceiver<Handed>,
    stage: watch::Receiver<Stage>,
) {
    // What is still under way when its time is over goes with the runtime.
    runtime.block_on(work(pipeline, handed, stage));
}

async fn work(
    pipeline: Arc<Pipeline>,
    mut handed: mpsc::UnboundedReceiver<Handed>,
    mut stage: watch::Receiver<Stage>,
) {
    let (here, mut all_gone) = mpsc::channel::<()>(1);
    let (handshakes, newcomers) = (Arc::new(Handshakes::new()), Arc::new(Newcomers::default()));
    let begin = |Handed { socket, from, tls, open }: Handed| {
        let (pipeline, draining, here) = (Arc::clone(&pipeline), stage.clone(), here.clone());
        let (handshakes, newcomer) = (Arc::clone(&handshakes), newcomers.come());
        tokio::spawn(async move {
            // Of a socket that cannot be watched there is nothing to be heard.
            match (TcpStream::from_std(socket), tls) {
                (Ok(socket), None) => {
                    let accepted = Accepted::new(Some(from), None);
                    converse(socket, Connection::new(pipeline, accepted, newcomer), draining).await;
                }
                // Its state is no part of every connection's.
                (Ok(socket), Some(tls)) => {
                    let securing = Securing { from, tls, handshakes, newcomer };
                    Box::pin(secured(socket, securing, pipeline, draining)).await;
                }
                (Err(_), _) => {}
            }
            drop((open, here));
        });
    };
    let (mut rounds, mut looks) = (every(TIDY_INTERVAL), every(LOOK_INTERVAL));
    let mut told = stage.clone();
    loop {
        tokio::select! {
            () = reached(&mut told, Stage::Draining) => break,
            next = handed.recv() => match next {
                Some(next) => begin(next),
                None => break,
            },
            _ = rounds.tick() => pipeline.tidy(),
            due = looks.tick() => {
                // Whoever is ready is run behind all that was ready before: so long it takes now.
                let delay = due.elapsed();
                pipeline.load().felt(delay, LOOK_INTERVAL + delay);
            }
        }
    }
    // What was handed over before.
    while let Ok(next) = handed.try_recv() {
        begin(next);
    }
    drop((here, told));
    tokio::select! {
        _ = all_gone.recv() => {}
        () = reached(&mut stage, Stage::Over) => {}
    }
    drop(stage);
    // Others may have theirs still, and wait for what was begun here: a batch of writes of all of them.
    while handed.recv().await.is_some() {}
}

/// Waits until they were told this, or more; whoever would tell is gone only when all is over.
async fn reached(told: &mut watch::Receiver<Stage>, stage: Stage) {
    let _ = told.wait_for(|told| *told >= stage).await;
}

fn every(interval: Duration) -> Interval {
    let mut rounds = tokio::time::interval(interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

fn protocol(calls: NewCalls) -> Builder<NewCalls> {
    let mut protocol = Builder::new(calls);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    // Besides gRPC, the calls as JSON. With a timer, whoever does not send a whole head is not waited for without end.
    protocol.http1().timer(TokioTimer::new());
    protocol
}

/// A connection whose handshake is still to come.
struct Securing {
    from: SocketAddr,
    tls: Arc<Tls>,
    handshakes: Arc<Handshakes>,
    newcomer: Newcomer,
}

/// Shakes hands first; once draining, with nobody.
async fn secured(
    socket: TcpStream,
    securing: Securing,
    pipeline: Arc<Pipeline>,
    mut stage: watch::Receiver<Stage>,
) {
    let Securing { from, tls, handshakes, newcomer } = securing;
    let shaken = tokio::select! {
        biased;
        shaken = tls.accept(socket, &handshakes) => shaken,
        () = reached(&mut stage, Stage::Draining) => None,
        () = newcomer.is_in_the_way() => None,
    };
    if let Some((stream, peer)) = shaken {
        let accepted = Accepted::new(Some(from), peer).needing_certificate(tls.needs_certificate());
        converse(stream, Connection::new(pipeline, accepted, newcomer), stage).await;
    }
}

/// Answers what comes over one connection until it is closed; once draining, no new calls.
async fn converse(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    mut stage: watch::Receiver<Stage>,
) {
    let connection = Arc::new(connection);
    let answering = Arc::clone(&connection);
    let service = service_fn(move |request| Arc::clone(&answering).answer(request));
    let calls = NewCalls::default();
    let protocol = protocol(calls.clone());
    let mut conversation = Conversation::new(protocol.serve_connection(TokioIo::new(socket), service), calls);
    let ended = tokio::select! {
        biased;
        ended = &mut conversation => ended,
        () = reached(&mut stage, Stage::Draining) => {
            conversation.connection().graceful_shutdown();
            conversation.await
        }
        () = connection.newcomer().is_silent() => {
            // Whoever speaks HTTP/2 is told; nobody is waited for.
            conversation.connection().graceful_shutdown();
            let _ = tokio::time::timeout(PARTING_MAX, conversation).await;
            return;
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, from = ?connection.accepted().address(), "a connection broke off");
    }
}

#[cfg(test)]
mod tests;
