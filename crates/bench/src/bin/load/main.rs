//! What the load kit's `load` does not ask: an open loop, CheckStream, and lookups told message by message.
//!
//! ```text
//! load open    --rate R    calls begin on a fixed schedule, however slowly they are answered; a latency counts from
//!                          the moment that the schedule says, so that a server that stalls cannot hide it
//! load stream  --window N  checks on CheckStream, N of each stream under way
//! load lookups --call …    every line of `lookup_resources.txt` or `lookup_subjects.txt`, one after the other
//! ```
//!
//! Options and the JSON line on standard output are named as that `load` names them. What is answered wrong is counted
//! as `mismatch`, what is not answered as `errors`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

mod folder;
mod lookups;
mod machine;
mod open;
mod outcome;
mod raw;
mod stream;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tonic::transport::{Channel, Endpoint};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Load that the load kit's client lacks.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand)]
enum Command {
    /// Calls on a fixed schedule.
    Open(open::Options),
    /// Checks on CheckStream.
    Stream(stream::Options),
    /// Lookups, one after the other.
    Lookups(lookups::Options),
}

/// Whom to ask, and for how long.
#[derive(Args)]
struct Target {
    /// The server.
    #[arg(long, global = true, default_value = "127.0.0.1:50051")]
    addr: String,
    /// The server's process.
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// The folder that the load kit's `gen` made.
    #[arg(long, global = true, default_value = "workload")]
    dir: PathBuf,
    /// Speak TLS to a server that this authority certified, as PEM.
    #[arg(long, global = true)]
    ca_file: Option<PathBuf>,
    /// A bearer token.
    #[arg(long, global = true)]
    token: Option<String>,
    /// Seconds of a window.
    #[arg(long, global = true, default_value_t = 5.0)]
    secs: f64,
    /// Seconds before the first window.
    #[arg(long, global = true, default_value_t = 1.0)]
    warm: f64,
    /// Windows at most: the first in which the machine did nothing else counts, or the one in which it did least.
    #[arg(long, global = true, default_value_t = 3)]
    tries: usize,
    /// Processors that other work may take in a window that counts at once.
    #[arg(long, global = true, default_value_t = 0.10)]
    other_max: f64,
}

impl Target {
    async fn connect(&self) -> Result<Channel, Failure> {
        let scheme = if self.ca_file.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.addr))?
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        match &self.ca_file {
            Some(file) => tls::connect(&endpoint, file).await,
            None => Ok(endpoint.connect().await?),
        }
    }

    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.secs)
    }

    fn warming(&self) -> Duration {
        Duration::from_secs_f64(self.warm)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread costs the least a call, and so leaves the most to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            match &arguments.command {
                Command::Open(options) => open::run(&arguments.target, options).await,
                Command::Stream(options) => stream::run(&arguments.target, options).await,
                Command::Lookups(options) => lookups::run(&arguments.target, options).await,
            }
        })
    });
    match ran {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
