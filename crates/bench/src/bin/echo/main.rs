//! What does a call cost when nothing is behind it? `echo ADDRESS [--threads N] [--shared] [--token T]`
//!
//! A server of `authzed.api.v1`, and of `idhini.v1`'s CheckStream, that checks the bearer token, reads each request, and
//! always gives the same answer: as large as idhini's, with the same header and trailers around it. What a server
//! with something to say costs more than this is its own.
//!
//! Its connections live as idhini's do: each belongs to one of N threads, every one with a runtime of its own
//! (`threads.rs`). With `--shared` they all share one runtime of N threads.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program")]

mod constant;
mod services;
mod threads;
mod trailers;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use idhini_wire::authzed::api::v1::permissions_service_server::PermissionsServiceServer;
use idhini_wire::idhini::v1::permissions_service_server as own;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Status};
use tower::Layer as _;
use tower::layer::util::{Identity, Stack};

use crate::services::{Authzed, Own};
use crate::trailers::TrailersLayer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As idhini has it.
const STREAMS_MAX: u32 = 1_000;
/// As idhini has it.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A server that does nothing.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    address: SocketAddr,
    /// Threads; as many as there are processors if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// One runtime for all threads.
    #[arg(long)]
    shared: bool,
    /// The token that callers must bring.
    #[arg(long, default_value = "bench")]
    token: String,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let threads = match arguments.threads {
        Some(threads) => threads.max(1),
        None => std::thread::available_parallelism()?.get(),
    };
    let listener = TcpListener::bind(arguments.address)?;
    println!("listening on {}", listener.local_addr()?);
    let router = || router(&arguments.token);
    match arguments.shared {
        true => threads::shared(listener, threads, router()),
        false => threads::own(&listener, threads, router),
    }
}

fn router(token: &str) -> Router<Stack<TrailersLayer, Identity>> {
    let guard = InterceptorLayer::new(guard(token));
    let authzed = PermissionsServiceServer::new(Authzed).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let own = own::PermissionsServiceServer::new(Own).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .layer(TrailersLayer)
        .add_service(guard.layer(authzed))
        .add_service(guard.layer(own))
}

/// Lets a call with the token pass.
fn guard(token: &str) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    let wanted: Arc<str> = format!("Bearer {token}").into();
    move |request| match request.metadata().get("authorization") {
        Some(given) if given.as_bytes() == wanted.as_bytes() => Ok(request),
        _ => Err(Status::unauthenticated("this is not the token")),
    }
}
