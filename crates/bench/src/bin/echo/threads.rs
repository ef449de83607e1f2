//! Which thread answers a connection? One of its own for as long as it lives, or whichever is free.

use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::server::{Connected, Router, TcpIncoming};
use tower::layer::util::{Identity, Stack};

use crate::Failure;
use crate::trailers::TrailersLayer;

type Layers = Stack<TrailersLayer, Identity>;

/// One runtime of `threads` threads.
pub(crate) fn shared(listener: TcpListener, threads: usize, router: Router<Layers>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
        // In a task of its own, so that accepting is not done by the thread that waits here alone.
        tokio::spawn(router.serve_with_incoming(connections)).await??;
        Ok(())
    })
}

/// A thread that answers its own connections.
struct Worker {
    connections: mpsc::UnboundedSender<Connection>,
    open: Arc<AtomicUsize>,
}

/// `threads` threads with a runtime each; a new connection goes to the one that has the fewest.
pub(crate) fn own(
    listener: &TcpListener,
    threads: usize,
    router: impl Fn() -> Router<Layers>,
) -> Result<(), Failure> {
    let workers: Vec<Worker> = (0..threads).map(|_| Worker::start(router())).collect();
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let fewest = workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let worker = fewest.ok_or("there are no threads")?;
        worker.open.fetch_add(1, Ordering::Relaxed);
        worker.connections.send(Connection { stream, open: Arc::clone(&worker.open) })?;
    }
}

impl Worker {
    fn start(router: Router<Layers>) -> Worker {
        let (connections, accepted) = mpsc::unbounded_channel::<Connection>();
        std::thread::spawn(move || -> Result<(), Failure> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let accepted = UnboundedReceiverStream::new(accepted).map(Connection::adopted);
            runtime.block_on(router.serve_with_incoming(accepted))?;
            Ok(())
        });
        Worker { connections, open: Arc::default() }
    }
}

/// Accepted, and counted while it is open.
struct Connection {
    stream: TcpStream,
    open: Arc<AtomicUsize>,
}

impl Connection {
    /// On the runtime of this thread.
    fn adopted(self) -> std::io::Result<Adopted> {
        let counted = Counted(self.open);
        Ok(Adopted { stream: tokio::net::TcpStream::from_std(self.stream)?, _counted: counted })
    }
}

struct Adopted {
    stream: tokio::net::TcpStream,
    _counted: Counted,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected for Adopted {
    type ConnectInfo = <tokio::net::TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Adopted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Adopted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
