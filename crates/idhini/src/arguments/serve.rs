//! What can be said to `idhini serve`?

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Run a server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The directory that holds everything; made if it is not there, and held by one server at a time
    #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Keep everything in memory instead; it is gone when the server stops
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// How long the past can be asked about, such as 90m, 24h or 7d, or `forever`
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = history)]
    pub(crate) history: History,
    /// Where to listen; loopback only, port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "IP:PORT")]
    pub(crate) grpc_addr: SocketAddr,
    /// A key that clients may bring; repeat it to change keys without a pause. Better set as IDHINI_PRESHARED_KEY,
    /// where other users of the machine do not see it and a comma stands between several
    #[arg(long = "preshared-key", value_name = "KEY")]
    pub(crate) preshared_keys: Vec<String>,
    /// A schema to start with, unless something is stored already
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Relationships to start with, one a line, unless something is stored already; `//` begins a comment
    #[arg(long, value_name = "FILE", requires = "schema")]
    pub(crate) relationships: Option<PathBuf>,
    /// Write an image after so many changes; for tests, whose servers live short lives
    #[arg(long, hide = true, value_name = "COUNT")]
    pub(crate) image_changes: Option<u64>,
    /// Begin a segment of the log when one has so many bytes; for tests
    #[arg(long, hide = true, value_name = "BYTES")]
    pub(crate) segment_bytes: Option<u64>,
}

/// How long the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    Seconds(u64),
    Forever,
}

fn history(text: &str) -> Result<History, String> {
    if text == "forever" {
        return Ok(History::Forever);
    }
    let malformed = || format!("`{text}` is not a time such as 90m, 24h, 7d or forever");
    let unit = text.chars().last().ok_or_else(malformed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(malformed()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(malformed)?;
    count.checked_mul(seconds).map(History::Seconds).ok_or_else(malformed)
}
